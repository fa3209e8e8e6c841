#!/usr/bin/python3
"""A machine's window with a real guest: keys and texts, consoles, screens, media, what closing it does.

time-limit: 900
"""

import os
import plistlib
import re
import subprocess
import sys
import time

import cases
from cases import GUEST, check, is_alive, log_text, make_bundle, runner, wait_state
from desktop import BUILD, wait_for
from mouse_guest import MouseGuest

BOOT_SECONDS = 240


def devices(*more):
    return [{"Type": "VirtioGPU", "Width": 800, "Height": 600}, {"Type": "VirtioKeyboard"}, {"Type": "VirtioTablet"},
            {"Type": "VirtioConsole", "LogFile": "console.log"}, *more]


class Guest:
    """A demo guest in a window, and what it says on hvc0, which is in a file of its bundle."""

    def __init__(self, desktop, name, **changes):
        changes.setdefault("Devices", devices())
        self.desktop, self.name = desktop, name
        self.folder = make_bundle(desktop, name, **changes)
        self.start()

    def start(self):
        self.desktop.start("--run", self.folder)
        wait_state(self.folder, "running", 60)
        self.window = self.desktop.window_id(f"^{self.name} — Running", 30)

    def text(self):
        return log_text(self.folder, "console.log")

    def expect(self, pattern, seconds=60.0, after=0):
        return wait_for(f"“{pattern}” on the guest's console (its last words: {self.text()[-300:]!r})",
                        lambda: re.compile(pattern, re.M).search(self.text(), after), seconds, 0.2)

    def boot(self):
        self.expect(r"espalier-demo: ready", BOOT_SECONDS)
        self.expect(r"^demo:.*# ", 60)
        time.sleep(1)  # the shell on the screen starts after the one on hvc0

    def picture(self, name):
        time.sleep(0.4)
        self.desktop.save_picture(os.path.join(BUILD, "ui", name + ".png"))  # menus are windows of their own


def find_item(desktop, name):
    """A menu's item, whose role depends on what it does."""
    roles = ("push button", "check box", "radio button", "menu item", "check menu item", "toggle button")
    return wait_for(f"item “{name}”", lambda: [node for role in roles for node in desktop.look(role, name)])[0]


def press_menu(desktop, button, item):
    desktop.press(desktop.find("toggle button", button))
    desktop.press(find_item(desktop, item))
    time.sleep(0.8)  # it fades, and its items can be seen meanwhile


def set_clipboard(text):
    subprocess.run(["xclip", "-selection", "clipboard", "-i"], input=text.encode(), check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


KERNEL_ON_SERIAL = {"Type": "Linux", "Kernel": os.path.join(GUEST, "vmlinuz"),
                    "InitialRamdisk": os.path.join(GUEST, "initrd.img"), "CommandLine": "console=ttyS0 console=tty0"}


def test_texts_combinations_and_consoles_reach_the_guest(desktop):
    guest = Guest(desktop, "Quill", Info={"KeyboardLayout": "us"})
    guest.boot()
    screen = desktop.find("canvas", "Screen of “Quill”")
    desktop.click(screen)
    wait_for("word on how to release the keyboard", lambda: "Ctrl+Alt" in desktop.window_title(guest.window))

    set_clipboard("echo \"Typed-$((6*7)) {|}~\" > /dev/hvc0\n")
    desktop.key("ctrl+alt")
    press_menu(desktop, "Send Key", "Type the Text on the Clipboard")
    guest.expect(r"Typed-42 \{\|\}~$", 60)

    set_clipboard("echo left-€-out > /dev/hvc0\n")
    at = len(guest.text())
    press_menu(desktop, "Send Key", "Type the Text on the Clipboard")
    desktop.find_text("Not all of the text can be typed")
    desktop.find_text("€")
    desktop.save_picture(os.path.join(BUILD, "ui", "type-rest.png"))
    check("left-" not in guest.text()[at:], "it was typed before the answer")
    desktop.press(desktop.find("push button", "Type the Rest"))
    guest.expect(r"^left--out$", 60, at)

    desktop.click(screen)
    desktop.type("input-events /dev/input/event0 60 > /dev/hvc0\n")
    time.sleep(2)
    at = len(guest.text())
    desktop.key("ctrl+alt")
    for name, code in (("Alt+Tab", 15), ("Print Screen", 99), ("Super", 125)):
        press_menu(desktop, "Send Key", name)
        guest.expect(rf"^1 {code} 1$", 60, at)
        guest.expect(rf"^1 {code} 0$", 60, at)

    press_menu(desktop, "Menu", "Serial Consoles")
    terminal = desktop.find("terminal", "Console (hvc0)")
    desktop.click(terminal)
    desktop.type("echo seen-$((6*7))\n")
    guest.expect(r"^seen-42$", 60)
    wait_for("the answer on the terminal", lambda: "seen-42" in terminal.queryText().getText(0, -1), 20, 0.5)
    at = len(guest.text())
    desktop.type("stty size\n")
    size = guest.expect(r"^(\d+ \d+)$", 60, at).group(1)
    check(size not in ("24 80", "0 0"), f"the guest's terminal has the size {size}")
    guest.picture("console")


def test_a_mouse_goes_further_than_the_screen(desktop):
    guest = MouseGuest(desktop, "Vole")
    screen = desktop.find("canvas", "Screen of “Vole”")
    desktop.click(screen)
    window = desktop.window_id("Ctrl.Alt", 20)
    check(guest.events() == [], f"the click that takes the pointer is the guest's: {guest.events()}")
    for _ in range(30):
        desktop.xdotool("mousemove_relative", "--sync", "60", "20")
        time.sleep(0.02)
    desktop.xdotool("click", "1")
    wait_for("the click", lambda: (1, 272, 0) in guest.events(), 30)
    right, down = guest.moved()
    # A guest's steps are as long as the host's pixels; one of them may be a host's that came while it was put back.
    check(1700 <= right <= 1900 and 550 <= down <= 650, f"it moved by {right}, {down}")
    desktop.key("ctrl+alt")
    wait_for("title after the release", lambda: "Ctrl" not in desktop.window_title(window))
    seen = guest.moved()
    desktop.xdotool("mousemove_relative", "--", "-40", "-40")
    time.sleep(1)
    check(guest.moved() == seen, "it moves after the release")


# What follows needs a machine that runs, and no guest that has come up.


def test_a_picture_goes_to_the_clipboard(desktop):
    guest = Guest(desktop, "Lens")
    wait_for("picture to take", lambda: desktop.is_sensitive(desktop.find("push button", "Screenshot")), 60)
    desktop.press(desktop.find("toggle button", "Send Key"))
    guest.picture("send-key")
    desktop.press(desktop.find("toggle button", "Send Key"))
    press_menu(desktop, "Menu", "Copy a Picture of the Screen")
    desktop.find_text("The picture is on the clipboard")
    picture = desktop.Gtk.Clipboard.get(desktop.Gdk.SELECTION_CLIPBOARD).wait_for_image()
    check(picture and (picture.get_width(), picture.get_height()) == (800, 600), f"the clipboard has {picture}")
    desktop.press(desktop.find("toggle button", "Menu"))
    guest.picture("window-menu")


def test_serial_ports_are_terminals_in_tabs(desktop):
    guest = Guest(desktop, "Teletype", Devices=devices({"Type": "UART", "LogFile": "serial.log"}), BootLoader=KERNEL_ON_SERIAL)
    press_menu(desktop, "Menu", "Serial Consoles")
    desktop.find("terminal", "Console (hvc0)")
    desktop.press(desktop.find("radio button", "Serial Port (ttyS0)"))
    terminal = desktop.find("terminal", "Serial Port (ttyS0)")
    wait_for("the guest's words on the terminal", lambda: "espalier-demo: ready" in terminal.queryText().getText(0, -1), 120, 0.5)
    check("Linux version" in log_text(guest.folder, "serial.log"), "the log of the serial port is not kept")
    guest.picture("console-serial")
    press_menu(desktop, "Menu", "Serial Consoles")
    desktop.find("canvas", "Screen of “Teletype”")


def test_every_screen_has_a_window(desktop):
    guest = Guest(desktop, "Argus", Devices=[{"Type": "VirtioGPU", "Width": 640, "Height": 480, "Displays": 2},
                                             *devices()[1:]])
    press_menu(desktop, "Menu", "Show Screen 2")
    second = desktop.window_id("^Argus — Screen 2")
    desktop.find("canvas", "Screen 2 of “Argus”")
    check(len(desktop.windows("^Argus")) == 2, "there should be two windows")
    time.sleep(1)
    desktop.save_picture(os.path.join(BUILD, "ui", "screen-2.png"))
    desktop.close(second)
    wait_for("end of the second window", lambda: not desktop.windows("Screen 2"))
    check(runner(guest.folder)[1] == "running", "closing the second screen stopped the machine")


def test_a_state_is_saved_and_brought_back(desktop):
    guest = Guest(desktop, "Dormouse", MemorySize=128, Info={})
    guest.boot()
    desktop.click(desktop.find("canvas", "Screen of “Dormouse”"))
    desktop.type("while sleep 1; do echo tick > /dev/hvc0; done\n")
    guest.expect("tick")
    desktop.key("ctrl+alt")
    pid = runner(guest.folder)[0]
    desktop.close(guest.window)
    desktop.find_text("“Dormouse” is still running")
    time.sleep(0.5)
    desktop.save_picture(os.path.join(BUILD, "ui", "close-dialog.png"))
    desktop.press(desktop.find("push button", "Cancel"))
    check(runner(guest.folder) == (pid, "running"), "“Cancel” did not cancel")

    desktop.close(guest.window)
    desktop.press(desktop.find("radio button", lambda name: name.startswith("Save its state")))
    desktop.press(desktop.find("check box", lambda name: name.startswith("Do this always")))
    desktop.press(desktop.find("push button", "Close the Window"))
    wait_for("end of the process", lambda: not is_alive(pid), 120)
    saved = os.path.join(guest.folder, "saved-state")
    check(os.path.exists(saved), "there is no saved state")

    before = len(guest.text())
    guest.start()
    wait_for("end of the saved state", lambda: not os.path.exists(saved), 30)
    guest.expect("tick\ntick", 60, before)
    check(guest.text().count("espalier-demo: ready") == 1, "the guest started anew")
    guest.picture("restored")

    # It is remembered: no question this time.
    pid = runner(guest.folder)[0]
    desktop.close(guest.window)
    wait_for("end of the process", lambda: not is_alive(pid), 120)
    check(os.path.exists(saved), "there is no saved state the second time")

    # Another configuration: it does not fit, and is not thrown away by itself.
    path = os.path.join(guest.folder, "config.plist")
    with open(path, "rb") as file:
        config = plistlib.load(file)
    check(config["Info"]["OnClose"] == "save", f"the bundle says {config['Info']}")
    config["MemorySize"] = 192
    with open(path, "wb") as file:
        plistlib.dump(config, file)
    desktop.start("--run", guest.folder)
    desktop.find_text("Its saved state cannot be brought back", 60)
    time.sleep(0.5)
    desktop.save_picture(os.path.join(BUILD, "ui", "misfit.png"))
    check(os.path.exists(saved), "a state that does not fit is gone")
    desktop.press(desktop.find("push button", lambda name: name.startswith("Throw the Saved State Away")))
    desktop.press(desktop.find("push button", "Throw Away and Start"))
    wait_state(guest.folder, "running", 60)
    check(not os.path.exists(saved), "the state is still there")


if __name__ == "__main__":
    sys.exit(cases.main(globals()))
