#!/usr/bin/python3
"""The demo on Wayland, as an ordinary user: made with a click, typed into, pointed at.

time-limit: 240
"""

import os
import sys
import time

import cases
from cases import check
from demo import BOOT_SECONDS, Console, bundle_path
from desktop import wait_for
from mouse_guest import MouseGuest
from wayland import MISSING, WaylandDesktop, as_ordinary_user


def titled(desktop, part):
    return [title for title in desktop.titles() if part in title]


def test_the_demo_is_made_and_typed_into(desktop):
    desktop.start()
    desktop.press(desktop.find("push button", "Try the demo guest", 30))
    wait_for("window of the machine", lambda: titled(desktop, "Demo"), 30)
    console = Console(os.path.join(bundle_path(desktop), "console.log"))
    ready = console.expect(r"espalier-demo: ready in", BOOT_SECONDS)
    console.expect(r"^demo:.*# ", 60, ready.end())
    desktop.show_alone("^Demo")
    time.sleep(1)  # the shell on the screen starts after the one on hvc0

    desktop.pointer(640, 500)
    desktop.click_here()
    wait_for("word in the title on how to release the keyboard", lambda: titled(desktop, "Ctrl+Alt"))
    start = len(console.text())
    desktop.type("echo light-42 > /dev/hvc0\n")  # wayvnc has keys of their own for some characters
    console.expect(r"light-42\r?$", 60, start)

    start = len(console.text())
    desktop.type("pointer-test 60\n")
    console.expect(r"pointer-test: reading", 60, start)
    desktop.pointer(700, 534)
    console.expect(r"^pointer 179\d\d 17[01]\d\d\r?$", 20, start)
    desktop.click_here(3)
    console.expect(r"button right down\r?$", 20, start)
    picture = os.path.join(desktop.home, "screen.png")
    desktop.save_picture(picture)
    check(os.path.getsize(picture) > 10000, "the picture of the screen is empty")

    desktop.key("ctrl+alt")
    wait_for("title after the release", lambda: titled(desktop, "Running"))


def test_a_mouse_goes_further_than_the_screen(desktop):
    guest = MouseGuest(desktop, "Vole")
    desktop.show_alone("^Vole")
    time.sleep(1)
    desktop.pointer(640, 400)
    desktop.click_here()
    wait_for("word in the title on how to release the keyboard", lambda: titled(desktop, "Ctrl+Alt"))
    check(guest.events() == [], f"the click that takes the pointer is the guest's: {guest.events()}")
    for _ in range(10):  # a virtual pointer is put somewhere, and the compositor tells how far that is
        desktop.pointer(740, 400)
        time.sleep(0.1)
        desktop.pointer(640, 400)
        time.sleep(0.1)
    desktop.click_here()
    wait_for("the click", lambda: (1, 272, 0) in guest.events(), 30)
    steps = [value for kind, code, value in guest.events() if (kind, code) == (2, 0)]
    check(sum(abs(step) for step in steps) > 500, f"it moved by {steps}")
    desktop.key("ctrl+alt")
    wait_for("title after the release", lambda: not titled(desktop, "Ctrl+Alt"))


if __name__ == "__main__":
    if MISSING:
        print(f"there is no {' or '.join(MISSING)} here")
        sys.exit(77)
    as_ordinary_user()
    sys.exit(cases.main(globals(), lambda: WaylandDesktop("wayland")))
