#!/usr/bin/python3
"""The assistant for new machines as a person goes through it: the demo, an own image, one that is cancelled and continued.

time-limit: 400
"""

import os
import plistlib
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

from cases import check, main
from desktop import BUILD, Desktop, Failure, wait_for

PICTURES = os.path.join(BUILD, "ui")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFYAvHBw3pg7NXQxhnYoCBh0ekJWBGpIkQxuKodZCVFd ada@orchard"


def write_image(path, megabytes):
    """A raw disk as far as its first sector goes, with something that does not read as zero."""
    with open(path, "wb") as file:
        file.write(b"\0" * 510 + b"\x55\xaa")
        for megabyte in range(megabytes):
            file.seek(megabyte << 20 | 4096)
            file.write(os.urandom(1 << 19))
        file.truncate(megabytes << 20)


def open_assistant(desktop):
    desktop.start()
    desktop.find("push button", "New Virtual Machine")
    desktop.key("ctrl+n")
    desktop.find("list item", "Demo guest")
    time.sleep(0.5)


def picture(desktop, name):
    time.sleep(0.6)  # the pages slide
    desktop.save_picture(os.path.join(PICTURES, f"assistant-{name}.png"), desktop.window_id("^" + picture.title + "$"))


def at_page(desktop, title, name=None):
    """Waits for a page by the window's title, and keeps a picture of it."""
    wait_for(f"page “{title}”", lambda: desktop.windows(f"^{title}$"))
    picture.title = title
    if name:
        picture(desktop, name)


def row(desktop, name):
    desktop.click(desktop.find("list item", name))


def next_page(desktop, name="Next"):
    button = desktop.find("push button", name)
    wait_for("that one can go on", lambda: desktop.is_sensitive(button))
    desktop.press(button)


def labelled(desktop, roles, name):
    """The widget of one of the roles that has a label of that name, or one that fulfils it if it is a function."""
    def is_it(node):
        return any(name(relation.getTarget(i).name) if callable(name) else relation.getTarget(i).name == name for relation in node.getRelationSet()
                   if relation.getRelationType() == desktop.pyatspi.RELATION_LABELLED_BY
                   for i in range(relation.getNTargets()))

    return wait_for(f"{roles[0]} labelled “{name}”",
                    lambda: [node for role in roles for node in desktop.look(role) if is_it(node)])[0]


def enter(desktop, name, text):
    labelled(desktop, ("text", "password text"), name).queryEditableText().setTextContents(text)


def config_of(folder):
    with open(os.path.join(folder, "config.plist"), "rb") as file:
        return plistlib.load(file)


def drafts(desktop):
    folder = desktop.machines_dir()
    return [entry for entry in os.listdir(folder) if entry.startswith(".creating-")] if os.path.isdir(folder) else []


def test_the_demo_is_made_through_the_assistant(desktop):
    open_assistant(desktop)
    at_page(desktop, "New Virtual Machine", "kind")
    nameless = [node for node in desktop.unnamed_buttons() if desktop.pyatspi.STATE_VISIBLE in
                node.getState().getStates()]
    check(not nameless, f"{len(nameless)} buttons have no accessible name")
    row(desktop, "Demo guest")
    at_page(desktop, "Resources", "resources-demo")
    next_page(desktop)
    at_page(desktop, "Summary", "summary-demo")
    enter(desktop, "Name", "Orchard")
    next_page(desktop, "Create")
    desktop.find_text("“Orchard” is ready", 30)
    at_page(desktop, "Creating", "ready")
    check([os.path.basename(path) for path in desktop.bundles()] == ["Orchard.espalier"], f"there is {desktop.bundles()}")
    check(not drafts(desktop), "something is left of the making")
    check(config_of(desktop.bundles()[0])["Origin"] == "demo", "it is not a demo machine")
    desktop.press(desktop.find("push button", "Start"))
    desktop.window_id("^Orchard", 30)


def test_an_own_image_goes_through_all_pages(desktop):
    image = os.path.join(desktop.home, "my-image.raw")
    write_image(image, 8)
    os.makedirs(os.path.join(desktop.home, ".ssh"))
    with open(os.path.join(desktop.home, ".ssh", "id_ed25519.pub"), "w", encoding="ascii") as file:
        file.write(KEY + "\n")
    open_assistant(desktop)
    row(desktop, "Linux, ready to use")
    at_page(desktop, "Source", "source")
    check(not desktop.is_sensitive(desktop.find("push button", "Next")), "one can go on without a choice")
    row(desktop, "Debian 12")
    wait_for("that one can go on", lambda: desktop.is_sensitive(desktop.find("push button", "Next")))
    enter(desktop, "Another image", os.path.join(desktop.home, "nothing"))
    desktop.find_text("There is no such file.")
    check(not desktop.is_sensitive(desktop.find("push button", "Next")), "a file that is not there is taken")
    enter(desktop, "Another image", image)
    next_page(desktop)
    at_page(desktop, "Resources", "resources")
    next_page(desktop)
    at_page(desktop, "Language and Keyboard", "region")
    desktop.press(labelled(desktop, ("toggle button",), "Language"))
    time.sleep(1)
    desktop.type("german")
    time.sleep(0.6)
    picture(desktop, "language")
    desktop.key("Return")
    desktop.find("toggle button", "Germany")
    next_page(desktop)
    at_page(desktop, "User")
    enter(desktop, "Full name", "Ada Lovelace")
    enter(desktop, "User name", "Ada")
    desktop.find_text("small letter")
    enter(desktop, "User name", "ada")
    enter(desktop, "Password", "geheim")
    enter(desktop, "Password again", "geheimnis")
    desktop.find_text("not the same")
    picture(desktop, "user")
    check(not desktop.is_sensitive(desktop.find("push button", "Next")), "two passwords are taken")
    enter(desktop, "Password again", "geheim")
    next_page(desktop)
    at_page(desktop, "Sharing", "sharing")
    next_page(desktop)
    at_page(desktop, "Summary", "summary")
    for text in ("German (Germany)", "Ada Lovelace (ada)", "With a password, or over the network with an SSH key"):
        desktop.find_text(text)
    enter(desktop, "Name", "Medlar")
    next_page(desktop, "Create")
    desktop.find_text("“Medlar” is ready", 60)
    config = config_of(desktop.bundles()[0])
    check(config["Info"]["Locale"] == "de_DE.UTF-8" and config["Info"]["KeyboardLayout"] == "de", f"{config['Info']}")
    check(config["BootLoader"]["Type"] == "EFI", "it does not start by UEFI")
    with open(os.path.join(desktop.bundles()[0], "seed.iso"), "rb") as file:
        seed = file.read()
    for text in (b'name: "ada"', KEY.encode(), b'locale: "de_DE.UTF-8"', b'layout: "de"', b"passwd: \"$6$"):
        check(text in seed, f"{text} is not in the seed")
    check(b"geheim" not in seed, "the password itself is in the seed")
    desktop.press(desktop.find("push button", "Close"))
    desktop.find_text("Medlar")


def test_what_is_cancelled_is_continued_after_a_restart(desktop):
    image = os.path.join(desktop.home, "large.raw")
    write_image(image, 600)
    open_assistant(desktop)
    row(desktop, "Import a disk")
    at_page(desktop, "Source", "import")
    enter(desktop, "Disk", image)
    next_page(desktop)
    at_page(desktop, "Resources", "resources-import")
    next_page(desktop)
    at_page(desktop, "Sharing")
    next_page(desktop)
    at_page(desktop, "Summary")
    enter(desktop, "Name", "Sloe")
    next_page(desktop, "Create")
    at_page(desktop, "Creating")
    desktop.press(desktop.find("push button", "Cancel"))
    desktop.find_text("“Sloe” is not finished", 30)
    picture(desktop, "cancelled")
    check(not desktop.bundles() and len(drafts(desktop)) == 1, f"there is {os.listdir(desktop.machines_dir())}")
    desktop.programs[0].terminate()
    desktop.programs[0].wait(10)

    open_assistant(desktop)
    at_page(desktop, "New Virtual Machine")
    desktop.find("list item", "Continue with “Sloe”")
    picture(desktop, "continue")
    row(desktop, "Continue with “Sloe”")
    desktop.find_text("“Sloe” is ready", 60)
    check([os.path.basename(path) for path in desktop.bundles()] == ["Sloe.espalier"], f"there is {desktop.bundles()}")
    check(not drafts(desktop), "something is left of the making")


def test_what_is_discarded_is_gone(desktop):
    os.makedirs(os.path.join(desktop.machines_dir(), ".creating-Pear-abcdef"))
    with open(os.path.join(desktop.machines_dir(), ".creating-Pear-abcdef", "creation.plist"), "wb") as file:
        plistlib.dump({"Kind": "demo", "Name": "Pear", "CPUCount": 1, "MemorySize": 256}, file)
    open_assistant(desktop)
    desktop.find("list item", "Continue with “Pear”")
    desktop.press(desktop.find("push button", "Discard “Pear”"))
    desktop.find_text("Discard what has been done?")
    desktop.press(desktop.find("push button", "Cancel"))
    check(len(drafts(desktop)) == 1, "“Cancel” did not keep it")
    desktop.press(desktop.find("push button", "Discard “Pear”"))
    desktop.find_text("Discard what has been done?")
    desktop.press(desktop.find("push button", "Discard"))
    desktop.gone("list item", "Continue with “Pear”")
    check(not drafts(desktop), "it is still there")


class Slow(BaseHTTPRequestHandler):
    """A disk at a walking pace."""

    def do_GET(self):
        data = b"\0" * 510 + b"\x55\xaa" + os.urandom((8 << 20) - 512)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        try:
            for at in range(0, len(data), 32768):
                self.wfile.write(data[at:at + 32768])
                time.sleep(0.03)
        except OSError:
            pass

    def log_message(self, *_):
        pass


def test_a_download_is_watched_and_closing_asks(desktop):
    server = HTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    open_assistant(desktop)
    row(desktop, "Import a disk")
    at_page(desktop, "Source")
    enter(desktop, "Disk", f"http://127.0.0.1:{server.server_port}/pear.raw")
    next_page(desktop)
    at_page(desktop, "Resources")
    next_page(desktop)
    at_page(desktop, "Sharing")
    next_page(desktop)
    at_page(desktop, "Summary")
    next_page(desktop, "Create")
    desktop.find_text("Downloading")
    desktop.find_text("/s), ", 8)  # speed, and the time that is left
    at_page(desktop, "Creating", "progress")
    desktop.key("Escape")
    desktop.find_text("Stop making the machine?")
    buttons = desktop.look("push button", "Cancel")
    desktop.press(buttons[-1])
    desktop.find_text("“pear” is ready", 30)
    server.shutdown()


def test_macos_says_what_can_be_done(desktop):
    open_assistant(desktop)
    row(desktop, "macOS")
    at_page(desktop, "Source", "macos")
    desktop.find_text("later one")
    check(not desktop.is_sensitive(desktop.find("push button", "Next")), "one can go on without a version")
    desktop.press(desktop.find("push button", "Back"))
    at_page(desktop, "New Virtual Machine")
    desktop.key("Escape")
    wait_for("end of the assistant", lambda: not desktop.windows("^New Virtual Machine$"))


if __name__ == "__main__":
    sys.exit(main(globals(), lambda: Desktop("assistant", own=True)))
