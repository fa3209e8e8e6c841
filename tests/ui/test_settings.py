#!/usr/bin/python3
"""The settings window as a person uses it: what is changed in it is in config.plist, and what is wrong is said.

The machine has a kernel that is not there, so nothing boots: the window is reached from the menu of its own window.

time-limit: 300
"""

import os
import plistlib
import sys

import cases
from cases import check, make_bundle, wait_state
from desktop import BUILD, wait_for


def config(folder):
    with open(os.path.join(folder, "config.plist"), "rb") as file:
        return plistlib.load(file)


def open_settings(desktop, name, **changes):
    changes.setdefault("BootLoader", {"Type": "Linux", "Kernel": "/nowhere/vmlinuz"})
    folder = make_bundle(desktop, name, **changes)
    desktop.start("--run", folder)
    desktop.find_text("cannot start", 40)
    desktop.press(desktop.find("toggle button", "Menu"))
    desktop.press(wait_for("item “Settings” in the menu", lambda: [
        node for role in ("menu item", "push button") for node in desktop.look(role, "Settings")])[0])
    desktop.find("list item", "General", 40)
    return folder


def page(desktop, name):
    item = desktop.find("list item", name)
    item.queryComponent().grabFocus()
    desktop.window_id(f"^Settings of")
    desktop.click(item)


def window(desktop):
    return desktop.window_id("^Settings of")


def picture(desktop, name):
    desktop.save_picture(os.path.join(BUILD, "ui", f"settings-{name}.png"), window(desktop))


def spin(desktop, name):
    return desktop.find("spin button", name)


def set_entry(desktop, node, text):
    """As typed: all of the old text away, the new one in, Enter."""
    node.queryComponent().grabFocus()
    desktop.key("ctrl+a")
    desktop.type(text)
    desktop.key("Return")


def test_numbers_and_switches_are_written_at_once(desktop):
    folder = open_settings(desktop, "Pear")
    picture(desktop, "general")
    page(desktop, "System")
    set_entry(desktop, spin(desktop, "CPUs"), "3")
    wait_for("3 CPUs in config.plist", lambda: config(folder)["CPUCount"] == 3)
    set_entry(desktop, spin(desktop, "Memory"), "1024")
    wait_for("1024 MiB in config.plist", lambda: config(folder)["MemorySize"] == 1024)
    picture(desktop, "system")
    page(desktop, "General")
    set_entry(desktop, desktop.find("text", "Name"), "Quince")
    wait_for("the name in config.plist", lambda: config(folder)["Name"] == "Quince")
    desktop.find_text("Quince")
    check(config(folder)["CPUCount"] == 3, "one change took another back")


def test_what_is_wrong_is_said_and_not_written(desktop):
    folder = open_settings(desktop, "Plum", Devices=[{"Type": "VirtioNet", "NAT": True}])
    page(desktop, "Network")
    set_entry(desktop, desktop.find("text", "Hardware address"), "52:54:00")
    desktop.find_text("Hardware address:")
    picture(desktop, "wrong")
    check(not config(folder)["Devices"][0].get("MAC"), "a wrong address was written")
    set_entry(desktop, desktop.find("text", "Hardware address"), "52:54:00:12:34:56")
    wait_for("the address in config.plist", lambda: config(folder)["Devices"][0].get("MAC") == "52:54:00:12:34:56")
    wait_for("end of the sentence", lambda: not [text for text in desktop.texts() if "Hardware address:" in text])


def test_a_port_is_forwarded(desktop):
    folder = open_settings(desktop, "Cherry", Devices=[{"Type": "VirtioNet", "NAT": True}])
    page(desktop, "Network")
    desktop.press(desktop.find("push button", "Forward a Port"))
    desktop.find("text", "Port of this computer")
    desktop.type("8080")
    desktop.find("text", "Port of the guest").queryComponent().grabFocus()
    desktop.type("80")
    wait_for("the forward in config.plist", lambda: config(folder)["Devices"][0].get("Forwards") == ["tcp:8080-80"])
    picture(desktop, "network")
    desktop.press(desktop.find("push button", "Remove"))
    wait_for("no forward in config.plist", lambda: not config(folder)["Devices"][0].get("Forwards"))


def test_a_drive_comes_and_goes(desktop):
    folder = open_settings(desktop, "Medlar")
    page(desktop, "Drives")
    desktop.press(desktop.find("toggle button", "Add a device"))
    desktop.press(desktop.find("push button", "New Disk…"))
    set_entry(desktop, spin(desktop, "Size"), "2")

    def drives():
        return [device for device in config(folder)["Devices"] if device["Type"] == "VirtioBlock"]
    wait_for("a drive in config.plist", drives)
    path = os.path.join(folder, drives()[0]["Path"])
    check(drives()[0]["Format"] == "qcow2" and os.path.getsize(path) > 0, f"there is {drives()}")
    desktop.find_text("2.0\u00a0GiB, takes")
    desktop.find("push button", "Remove: Disk “disk.qcow2”")
    picture(desktop, "drives")

    # Kept, and put back with Undo.
    desktop.press(desktop.find("push button", "Remove: Disk “disk.qcow2”"))
    desktop.find_text("keep its file?")
    desktop.press(desktop.find("push button", "Keep File"))
    wait_for("no drive in config.plist", lambda: not drives())
    picture(desktop, "undo")
    desktop.press(desktop.find("push button", "Undo"))
    wait_for("the drive again", drives)
    check(os.path.exists(path), "the file has gone")

    # To the trash.
    desktop.press(desktop.find("push button", "Remove: Disk “disk.qcow2”"))
    desktop.press(desktop.find("push button", "Move File to Trash"))
    wait_for("no drive in config.plist", lambda: not drives())
    wait_for("no file, or a word on why it stays",
             lambda: not os.path.exists(path) or [text for text in desktop.texts() if "its file stays" in text])


def test_an_isolated_machine_is_marked_and_forgotten(desktop):
    folder = make_bundle(desktop, "Sloe", Info={"Isolated": True}, Devices=[
        {"Type": "VirtioGPU"}, {"Type": "VirtioNet", "NAT": True}, {"Type": "VirtioBlock", "Path": "disk.img"}])
    with open(os.path.join(folder, "disk.img"), "wb") as disk:
        disk.truncate(1 << 20)
    desktop.start("--run", folder)
    wait_state(folder, "running", 60)
    desktop.window_id("^Sloe — Isolated — Running", 20)
    cache = os.path.join(desktop.home, "cache", "espalier", "isolated")
    layers = [name for _, _, names in os.walk(cache) for name in names]
    check("disk-2.qcow2" in layers, f"the layers are {layers}")
    check(len(config(folder)["Devices"]) == 3, "the bundle was changed")
    desktop.press(desktop.find("toggle button", "Stop"))
    desktop.press(desktop.find("push button", lambda name: name.startswith("Force Off")))
    desktop.press(desktop.find("push button", "Force Off"))
    desktop.find_text("Throw away what changed?", 20)
    desktop.save_picture(os.path.join(BUILD, "ui", "isolated-question.png"))
    desktop.press(desktop.find("push button", "Throw Away"))
    wait_for("end of the layers", lambda: not [name for _, _, names in os.walk(cache) for name in names])


def test_the_library_opens_them(desktop):
    make_bundle(desktop, "Apple")
    desktop.start()
    desktop.press(desktop.find("push button", "More for “Apple”"))
    desktop.press(wait_for("item “Settings” in the menu", lambda: [
        node for role in ("menu item", "push button") for node in desktop.look(role, "Settings")])[0])
    desktop.find("list item", "Drives", 40)
    window(desktop)


def test_every_page_is_named_and_looked_at(desktop):
    open_settings(desktop, "Damson", Devices=[
        {"Type": "VirtioGPU"}, {"Type": "USBKeyboard"}, {"Type": "VirtioTablet"},
        {"Type": "VirtioFileSystem", "Path": desktop.home, "Tag": "home"},
        {"Type": "SpiceAgent"}, {"Type": "VirtioNet", "NAT": True}, {"Type": "VirtioSound"},
        {"Type": "UART", "LogFile": "serial.log"}, {"Type": "VirtioEntropy"}])
    for name in ("General", "System", "Display", "Input", "Region", "Sharing", "Network", "Sound", "Drives", "Serial",
                 "Advanced"):
        page(desktop, name)
        picture(desktop, "page-" + name.lower())
        nameless = [node for role in ("spin button", "text", "combo box", "push button", "toggle button", "switch")
                    for node in desktop.look(role) if not node.name.strip()]
        check(not nameless, f"{name}: {[node.getRoleName() for node in nameless]} have no name")


if __name__ == "__main__":
    sys.exit(cases.main(globals()))
