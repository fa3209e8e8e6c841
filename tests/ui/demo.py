#!/usr/bin/python3
"""`make demo`: starts Espalier, tries the demo guest as a person would, and says what it did and how long it took.

Without a display it brings its own (Xvfb). Nothing of the user's is touched: the machine is made in a temporary
folder. Ends with status 1 at the first step that fails. Pictures: build/demo.png, the guest's window, and
build/demo-library.png.
"""

import os
import re
import sys
import time

from desktop import BUILD, ROOT, Desktop, Failure, say, wait_for

BOOT_SECONDS = 240
PICTURES = BUILD


class Steps:
    """Prints each step with its time; the first that fails ends the demo."""

    def __init__(self):
        self.begin = self.last = time.monotonic()
        self.number = 0

    def done(self, text):
        now = time.monotonic()
        self.number += 1
        say(f"{self.number:3}. {text:<88} {now - self.last:7.2f} s")
        self.last = now

    def total(self):
        return time.monotonic() - self.begin


class Console:
    """What the guest says on hvc0, which the demo machine writes to a file in its bundle."""

    def __init__(self, path):
        self.path = path

    def text(self):
        try:
            with open(self.path, encoding="utf-8", errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def expect(self, pattern, seconds=30.0, after=0):
        """The first match behind position `after`. The guest's tty ends its lines with CR LF."""
        return wait_for(f"“{pattern}” on the guest's console (its last words: {self.text()[-300:]!r})",
                        lambda: re.compile(pattern, re.M).search(self.text(), after), seconds, 0.1)


def bundle_path(desktop):
    return os.path.join(desktop.machines_dir(), "Demo.espalier")


def colours(picture):
    """How many different pixels a picture has in every eighth row and column: black has one."""
    pixels, stride, channels = picture.get_pixels(), picture.get_rowstride(), picture.get_n_channels()
    return len({pixels[y * stride + x * channels:y * stride + x * channels + 3]
                for y in range(60, picture.get_height(), 2) for x in range(0, picture.get_width(), 2)})


def point_at(desktop, console, screen, part_x, part_y):
    """Moves the real pointer to a point of the guest's screen and finds it in what the guest saw."""
    x, y, width, height = desktop.extents(screen)
    # The screen has the proportions of its 1024 x 768 and lies in the middle of the widget.
    scale = min(width / 1024, height / 768)
    left, top = x + (width - 1024 * scale) / 2, y + (height - 768 * scale) / 2
    start = len(console.text())
    desktop.pointer(left + part_x * 1024 * scale, top + part_y * 768 * scale)
    wanted = round(part_x * 32767), round(part_y * 32767)

    def arrived():
        seen = [(int(a), int(b)) for a, b in re.findall(r"^pointer (\d+) (\d+)\r?$", console.text()[start:], re.M)]
        arrived.seen = seen
        return [s for s in seen if abs(s[0] - wanted[0]) < 120 and abs(s[1] - wanted[1]) < 120]

    try:
        return wait_for("pointer event", arrived, 20)[-1]
    except Failure as error:
        raise Failure(f"the pointer should be at {wanted}; the guest saw {arrived.seen[-5:]}") from error


def run(desktop, steps):
    desktop.start()
    button = desktop.find("push button", "Try the demo guest", 30)
    steps.done("Opened the library: it is empty and offers “Try the demo guest”")
    time.sleep(0.5)  # for the picture: the window manager may still be placing it
    desktop.save_picture(os.path.join(PICTURES, "demo-library.png"), desktop.window_id("^Espalier$"))

    steps.last = time.monotonic()
    desktop.press(button)
    window = desktop.window_id("^Demo", 30)
    screen = desktop.find("canvas", "Screen of “Demo”", 30)
    steps.done("Pressed it: the machine “Demo” was made and its window opened")

    console = Console(os.path.join(bundle_path(desktop), "console.log"))
    ready = console.expect(r"espalier-demo: ready in ([\d.]+) s", BOOT_SECONDS)
    steps.done(f"A stock Debian kernel booted; the guest says it took {ready.group(1)} s")

    prompt = r"^demo:.*# "  # behind it the shell asks the terminal where its cursor is
    console.expect(prompt, 60, ready.end())
    wait_for("text on the guest's screen", lambda: colours(desktop.picture(window)) > 2, 60, 0.5)
    steps.done("The shell's prompt is on hvc0, and the guest's screen has text on it")

    desktop.click(screen)
    wait_for("word in the title on how to release the keyboard", lambda: "Ctrl+Alt" in desktop.window_title(window))
    start = len(console.text())
    time.sleep(1)  # the shell on the screen starts after the one on hvc0
    desktop.type("echo light-$((6*7)) > /dev/hvc0\n")
    console.expect(r"light-42\r?$", 60, start)
    steps.done("Typed “echo light-$((6*7)) > /dev/hvc0” on the keyboard; the console says light-42")

    start = len(console.text())
    desktop.type("pointer-test 90\n")
    console.expect(r"pointer-test: reading", 60, start)
    seen = [point_at(desktop, console, screen, *part) for part in ((0.25, 0.25), (0.75, 0.5), (0.5, 0.75))]
    steps.done(f"Moved the pointer; the guest saw it at {', '.join(f'{x},{y}' for x, y in seen)}")
    at = len(console.text())
    desktop.xdotool("click", "1")
    console.expect(r"button left down\r?$", 20, at)
    console.expect(r"button left up\r?$", 20, at)
    steps.done("Clicked; the guest saw the left button go down and up")
    desktop.key("ctrl+c")
    start = len(console.text())
    desktop.type("disk-demo > /dev/hvc0\n")
    console.expect(r"disk-demo: ok\r?$", 90, start)
    steps.done("The guest made a file system on its disk and read back what it wrote")

    start = len(console.text())
    desktop.type("help; nproc; free -m; uname -a | tee /dev/hvc0\n")
    console.expect(r"GNU/Linux\r?$", 60, start)
    time.sleep(0.5)  # until the window shows it, too
    desktop.save_picture(os.path.join(PICTURES, "demo.png"), window)
    steps.done(f"Took a picture of the window: {os.path.relpath(PICTURES, ROOT)}/demo.png")

    desktop.key("ctrl+alt")
    wait_for("title after the release", lambda: "Running" in desktop.window_title(window))
    desktop.press(desktop.find("toggle button", "Pause"))
    veil = desktop.find("push button", "Resume")
    desktop.press(veil)
    wait_for("running guest again", lambda: "Running" in desktop.window_title(window))
    steps.done("Gave the keyboard back with Ctrl+Alt, paused the machine and let it go on")

    desktop.press(desktop.find("toggle button", "Stop"))
    desktop.press(desktop.find("push button", "Shut Down"))
    desktop.find_text("“Demo” is off", 60)
    steps.done("Shut it down with the power button; the window says that it is off")


def main():
    steps = Steps()
    try:
        with Desktop("demo") as desktop:
            where = f"a display of its own ({os.environ['DISPLAY']})" if desktop.own else "your display"
            steps.done(f"Ready to show Espalier on {where}")
            try:
                run(desktop, steps)
            except Failure:
                desktop.save_picture(os.path.join(PICTURES, "demo-failed.png"))
                print(desktop.output(), file=sys.stderr)
                for name in ("serial.log", "console.log"):
                    path = os.path.join(bundle_path(desktop), name)
                    if os.path.exists(path):
                        with open(path, encoding="utf-8", errors="replace") as log:
                            print(f"--- the end of {name}:\n{log.read()[-1500:]}", file=sys.stderr)
                raise
    except Failure as error:
        print(f"FAILED after {steps.total():.1f} s: {error}", file=sys.stderr)
        return 1
    say(f"     All of it took {steps.total():.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
