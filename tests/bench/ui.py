#!/usr/bin/python3
"""How fast the window of a machine is, by counters the program keeps.

    tests/bench/ui.py [--seconds N] [--strict]

Frames: the widget with the guest's screen at 1920 x 1080, a quarter of which changes with every frame, as the program draws
it and with OpenGL, beside a plain GtkGLArea that blits a texture of that size, on OpenGL in software (llvmpipe) and a display
of its own; they take turns, and each number is the median of three. The display shows 60 a second at most, so how much of a
CPU they take says more. Keys: from the X server's time stamp of a key, which counts whole milliseconds, until the machine has it,
while the screen changes; xdotool presses them. With --strict a missed target makes the exit status 1.
"""

import argparse
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ui"))
from desktop import BUILD, Desktop  # noqa: E402

PROGRAM = os.path.join(BUILD, "tests-ui", "display_speed")
FRAMES_TARGET = 60.0
KEY_TARGET_MS = 5.0
KEYS = 50


def frames(what, seconds, renderer=""):
    """Frames a second, and the share of a CPU that they take."""
    before = os.times()
    words = subprocess.run([PROGRAM, what, str(seconds)], capture_output=True, text=True, check=True,
                           env={**os.environ, "ESPALIER_RENDERER": renderer}).stdout.split()
    after = os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return int(words[1]) / float(words[2]), 100 * used / (after.elapsed - before.elapsed), words[3]


def keys(seconds):
    """Number, mean and longest, milliseconds."""
    with subprocess.Popen([PROGRAM, "keys", str(seconds)], stdout=subprocess.PIPE, text=True) as program:
        program.stdout.readline()
        for _ in range(KEYS):
            subprocess.run(["xdotool", "key", "a"], check=True)
        words = program.stdout.readline().split()
    return int(words[1]), int(words[2]) / 1000, int(words[3]) / 1000


def row(name, rounds):
    rate, share = (statistics.median(column) for column in list(zip(*rounds))[:2])
    print(f"{name:38} {rate:6.1f} frames a second, {share:4.0f} % of a CPU   ({rounds[0][2]})")
    return rate


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--strict", action="store_true")
    options = parser.parse_args()
    os.environ["LIBGL_ALWAYS_SOFTWARE"] = "1"
    with Desktop("bench", size="1920x1080x24", own=True):
        seconds = options.seconds
        rounds = [(frames("view", seconds), frames("view", seconds, "opengl"), frames("blit", seconds)) for _ in range(3)]
        number, mean, longest = keys(seconds)
    shown, drawn, blits = zip(*rounds)
    view = row("screen, a quarter changes", shown)
    row("the same with OpenGL", drawn)
    blit = row("plain blit of a GtkGLArea", blits)
    print(f"{'ratio of the first to the last':38} {view / blit:6.2f}   (target: 60 a second, or as many as the blit)")
    print(f"{'key to machine':38} {mean:6.2f} ms on average of {number}, {longest:.2f} at most   (target: below 5 ms)")
    good = view >= min(FRAMES_TARGET, blit) * 0.95 and number and mean < KEY_TARGET_MS
    return 0 if good or not options.strict else 1


if __name__ == "__main__":
    sys.exit(main())
