"""What tests of the windows share: machines to look at, and one test after the other, each on a desktop of its own."""

import os
import plistlib
import sys
import traceback

from desktop import BUILD, Desktop, Failure, wait_for

GUEST = os.path.join(BUILD, "guest")


def make_bundle(desktop, name, **changes):
    """A bundle as a user would write it by hand; changes replace or (None) remove keys."""
    folder = os.path.join(desktop.machines_dir(), name + ".espalier")
    os.makedirs(folder)
    config = {
        "Version": 1,
        "Name": name,
        "CPUCount": 1,
        "MemorySize": 256,
        "BootLoader": {"Type": "Linux", "Kernel": os.path.join(GUEST, "vmlinuz"),
                       "InitialRamdisk": os.path.join(GUEST, "initrd.img"), "CommandLine": "console=tty0"},
        "Devices": [{"Type": "Framebuffer", "Width": 800, "Height": 600}, {"Type": "VirtioKeyboard"},
                    {"Type": "VirtioTablet"}],
        "Info": {"OnClose": "keep-running"},  # no question when a window is closed
    }
    config.update(changes)
    config = {key: value for key, value in config.items() if value is not None}
    with open(os.path.join(folder, "config.plist"), "wb") as file:
        plistlib.dump(config, file)
    return folder


def check(condition, text):
    if not condition:
        raise Failure(text)


def runner(folder):
    """Process number and state from a bundle's lock file, or (0, "")."""
    try:
        with open(os.path.join(folder, "lock"), encoding="ascii") as lock:
            pid, state = lock.read().split(maxsplit=1)
            return int(pid), state.strip()
    except (OSError, ValueError):
        return 0, ""


def wait_state(folder, state, seconds=20.0):
    wait_for(f"state “{state}” (it is “{runner(folder)[1]}”)", lambda: runner(folder)[1] == state, seconds)


def log_text(folder, name):
    """What a guest has written into a log of its bundle so far."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as log:
            return log.read().replace("\r", "")
    except FileNotFoundError:
        return ""


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# --- Running tests


def run(name, test, make_desktop):
    """One test on a desktop of its own. True if it passed."""
    shown = name[5:].replace("_", " ")
    with make_desktop() as desktop:
        try:
            test(desktop)
            desktop.check_health()
            print(f"ok {shown}")
            return True
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)
            line = ([frame.lineno for frame in where if frame.name == test.__name__] or ["its end"])[-1]
            print(f"not ok {shown}: {error} (line {line})")
            print("".join("    " + text + "\n" for text in desktop.output().splitlines()[-20:]))
            try:
                desktop.save_picture(os.path.join(BUILD, "ui", f"failed-{name}.png"))
            except Exception:
                pass
            return False


def main(names, make_desktop=lambda: Desktop("ui", own=True)):
    """Runs what begins with test_ among `names`, a module's globals(), in its order; words on the command line pick
    some. The exit status for the program."""
    words = sys.argv[1:]
    failed = 0
    for name, test in [(name, value) for name, value in names.items() if name.startswith("test_")]:
        if words and not any(word in name for word in words):
            continue
        sys.stdout.flush()
        # The bindings know one display and one bus for all their life, so each test gets a process.
        child = os.fork()
        if child == 0:
            passed = run(name, test, make_desktop)
            sys.stdout.flush()
            os._exit(0 if passed else 1)
        failed += os.waitpid(child, 0)[1] != 0
    return 1 if failed else 0
