#!/usr/bin/python3
"""Every window in German, Japanese and Arabic: no letter missing, none cut off, nothing in English, right to left where
that is how it is read. And the catalogues: whole, and in order.

    tests/ui/test_languages.py [LANGUAGE]...      those alone, in this process

Pictures of all windows, in English too, are in build/screens.

time-limit: 600
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

from cases import GUEST, make_bundle, runner, wait_state
from desktop import BUILD, ROOT, Failure, wait_for
from languages import LOCALES, ForeignDesktop, plain
from test_assistant import labelled, write_image
from test_library import ctl

PICTURES = os.path.join(BUILD, "screens")
GROUPS = ("General", "System", "Display", "Input", "Region", "Sharing", "Network", "Sound", "Drives", "Serial", "Advanced")
COMMAND_LINE = ("app/ctl/", "app/vfkit", "app/cpu_figures.c", "app/keys.c", "app/control.c", "vmcore/")
DEVICES = [{"Type": "VirtioGPU", "Width": 800, "Height": 600}, {"Type": "USBKeyboard"}, {"Type": "USBTablet"},
           {"Type": "VirtioBlock", "Path": "disk.qcow2", "Format": "qcow2"}, {"Type": "VirtioNet", "NAT": True},
           {"Type": "VirtioSound"}, {"Type": "VirtioConsole", "LogFile": "console.log"}, {"Type": "SpiceAgent"},
           {"Type": "VirtioEntropy"}, {"Type": "VirtioBalloon"}]


def make_machine(desktop, name, **changes):
    folder = make_bundle(desktop, name, **{"Devices": DEVICES, **changes})
    ctl("disk", "create", os.path.join(folder, "disk.qcow2"), "1M")
    return folder


def end(process):
    process.terminate()
    process.wait(20)


def press_item(desktop, name):
    """An item of a menu, whatever its role."""
    roles = ("push button", "menu item", "check box", "radio button", "check menu item", "radio menu item",
             "toggle button")
    desktop.press(wait_for(f"item “{name}”", lambda: [node for role in roles for node in desktop.look(role, name)])[0])
    time.sleep(0.8)  # menus fade


def field(desktop, role, name):
    names = desktop.words.all_of(name)
    return labelled(desktop, (role,), lambda shown: plain(shown) in names).queryEditableText()


def the_first_time(desktop):
    desktop.set_settings({})
    process = desktop.start()
    button = desktop.find("push button", "Begin", 20)
    time.sleep(1)
    desktop.report(process, "welcome")
    desktop.press(button)
    desktop.find("push button", "Try the demo guest")
    desktop.report(process, "library-empty")
    end(process)
    desktop.set_settings({"welcome-seen": "true"})


def the_assistant(desktop, process):
    desktop.key("ctrl+n")
    desktop.find("list item", "Demo guest")
    desktop.report(process, "assistant-kind")
    for kind in ("macOS", "From an installer’s disc", "Import a disk"):
        desktop.click(desktop.find("list item", kind))
        time.sleep(1)
        desktop.report(process, "assistant-" + kind.split()[-1].lower())
        desktop.press(desktop.find("push button", "Back"))
        desktop.find("list item", "Demo guest")
        time.sleep(0.5)
    image = os.path.join(desktop.home, "my-image.raw")
    write_image(image, 8)
    desktop.click(desktop.find("list item", "Linux, ready to use"))
    field(desktop, "text", "Another image").setTextContents(image)
    for page in ("source", "resources", "region", "user", "sharing", "summary"):
        time.sleep(0.8)
        desktop.report(process, "assistant-" + page)
        if page == "user":
            field(desktop, "text", "User name").setTextContents("ada")
            for label in ("Password", "Password again"):
                field(desktop, "password text", label).setTextContents("geheim")
        button = desktop.find("push button", "Create" if page == "summary" else "Next")
        wait_for(f"way on from the page {page}", lambda: desktop.is_sensitive(button))
        desktop.press(button)
    desktop.find("push button", "Start", 60)
    desktop.report(process, "assistant-ready")
    desktop.press(desktop.find("push button", "Close"))
    time.sleep(1)


def the_library(desktop):
    process = desktop.start()
    desktop.find("push button", "More for “Apple”", 20)
    desktop.report(process, "library-cards")
    desktop.press(desktop.find("push button", "More for “Apple”"))
    time.sleep(0.6)
    desktop.report(process, "library-menu")
    desktop.key("Escape")
    for item, button in (("Rename…", "Cancel"), ("Duplicate…", "Cancel"), ("Snapshots…", None)):
        desktop.press(desktop.find("push button", "More for “Apple”"))
        press_item(desktop, item)
        time.sleep(0.8)
        desktop.report(process, "library-" + item.strip("…").lower())
        if button:
            desktop.press(desktop.find("push button", button))
        else:
            desktop.key("Escape")
        time.sleep(0.5)
    desktop.press(desktop.find("push button", "Show as a list"))
    desktop.find("push button", "Show as cards")
    desktop.report(process, "library-list")
    desktop.press(desktop.find("toggle button", "Menu"))
    time.sleep(0.6)
    desktop.report(process, "library-main-menu")
    desktop.key("Escape")
    time.sleep(0.5)
    for item in ("Keyboard Shortcuts", "About Espalier", "Check This Computer"):
        desktop.press(desktop.find("toggle button", "Menu"))
        time.sleep(0.5)
        found = [node for role in ("push button", "menu item") for node in desktop.look(role, item)]
        if not found:
            raise Failure(f"there is no “{item}” in the menu")
        desktop.press(found[0])
        time.sleep(1)
        desktop.report(process, "library-" + item.split()[0].lower())
        desktop.key("Escape")
        time.sleep(0.5)
    the_assistant(desktop, process)
    end(process)


def a_machine(desktop):
    folder = make_machine(desktop, "Pear", BootLoader={"Type": "Linux", "Kernel": "/nowhere/vmlinuz"})
    process = desktop.start("--run", folder)
    menu = desktop.find("toggle button", "Menu", 40)
    time.sleep(1)
    desktop.report(process, "machine-cannot-start")
    desktop.press(menu)
    press_item(desktop, "Settings")
    for group in (*GROUPS, "Drives"):
        item = desktop.find("list item", group, 40)
        item.queryComponent().grabFocus()
        time.sleep(0.2)
        desktop.click(item)
        desktop.report(process, "settings-" + group.lower())
    desktop.press(desktop.find("toggle button", "Add a device"))
    time.sleep(0.6)
    desktop.report(process, "settings-add")
    press_item(desktop, "New Disk…")
    desktop.report(process, "settings-new-disk")
    end(process)


def a_running_machine(desktop):
    folder = make_machine(desktop, "Quince", Info={})
    process = desktop.start("--run", folder)
    wait_state(folder, "running", 60)
    desktop.find("toggle button", "Send Key", 30)
    time.sleep(2)
    desktop.report(process, "machine")
    for button in ("Send Key", "Media and Folders", "Menu"):
        desktop.press(desktop.find("toggle button", button))
        time.sleep(0.6)
        desktop.report(process, "machine-" + button.split()[0].lower())
        desktop.press(desktop.find("toggle button", button))
        time.sleep(0.5)
    desktop.press(desktop.find("toggle button", "Stop"))
    time.sleep(0.6)
    desktop.report(process, "machine-stop")
    desktop.key("Escape")
    desktop.press(desktop.find("push button", "Close"))
    time.sleep(1)
    desktop.report(process, "machine-close")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    library = desktop.start()
    desktop.find("push button", "More for “Quince”", 20)
    desktop.report(library, "library-crashed")
    end(library)


def look_at(language):
    with ForeignDesktop(language, PICTURES) as desktop:
        the_first_time(desktop)
        for name in ("Apple", "Banana"):
            make_machine(desktop, name)
        make_bundle(desktop, "Broken", CPUCount="many")
        for step in (the_library, a_machine, a_running_machine):
            step(desktop)
        text = desktop.output()
        for fault in sorted(set(desktop.faults)):
            print(f"not ok {language}: {fault}")
        if "-CRITICAL **" in text or "-WARNING **" in text:
            print(f"not ok {language}: the program said {[line for line in text.splitlines() if '**' in line][:3]}")
            return False
        if not desktop.faults:
            print(f"ok {language}")
        return not desktop.faults


def untranslated(catalogue):
    """Of the windows, a list; and of what only espalierctl and vmcore say, how many."""
    missing, behind = [], 0
    for option in ("--untranslated", "--only-fuzzy"):
        text = subprocess.run(["msgattrib", option, "--no-wrap"], input=catalogue, capture_output=True,
                              check=True).stdout.decode()
        for message in text.split("\n\n")[1:]:
            places = [place for line in message.split("\n") if line.startswith("#: ") for place in line[3:].split()]
            words = re.search(r"^msgid (.*)$", message, re.M).group(1)
            if all(place.startswith(COMMAND_LINE) for place in places):
                behind += 1
            else:
                missing.append(words)
    return missing, behind


def catalogues():
    """Those in po/ against the sources as they are. What the windows say is whole; the rest may be behind by a release."""
    with open(os.path.join(ROOT, "po", "LINGUAS"), encoding="ascii") as file:
        languages = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    template = os.path.join(BUILD, "gen", "espalier.pot")
    subprocess.run(["make", "-s", "WAY=1", "pot"], cwd=ROOT, check=True)
    good = True
    for language in languages:
        source = os.path.join(ROOT, "po", language + ".po")
        result = subprocess.run(["msgfmt", "-c", "-o", "/dev/null", source], capture_output=True, text=True, check=False)
        merged = subprocess.run(["msgmerge", "-q", "--no-fuzzy-matching", "-o", "-", source, template],
                                capture_output=True, check=True).stdout
        missing, behind = untranslated(merged)
        if result.returncode:
            print(f"not ok catalogue {language}: {result.stderr.strip()}")
        elif missing:
            print(f"not ok catalogue {language}: {len(missing)} sentences have no translation, such as {missing[0]}")
        else:
            print(f"ok catalogue {language}" + (f", but for {behind} of espalierctl and vmcore" if behind else ""))
        good = good and not result.returncode and not missing
    return good


def main(words):
    if words:
        return 0 if all([look_at(language) for language in words]) else 1
    if not shutil.which("localedef") or not os.path.isdir("/usr/share/i18n/locales"):
        print("there are no sources of locales (package locales)")
        return 77
    good = catalogues()
    # Each has a display of its own.
    children = [subprocess.Popen([sys.executable, os.path.abspath(__file__), language]) for language in LOCALES]
    statuses = [child.wait() for child in children]
    return 0 if good and not any(statuses) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
