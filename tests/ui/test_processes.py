#!/usr/bin/python3
"""The process of a machine outlives its window, its display, its session bus and the library; and when it dies itself,
the library says how.

time-limit: 400
"""

import json
import os
import signal
import struct
import subprocess
import sys

import cases
from cases import check, is_alive, make_bundle, runner, wait_state
from desktop import BUILD, Desktop, wait_for

CTL = os.path.join(BUILD, "espalierctl")


def make_idle(desktop, name):
    """A machine that does nothing at all, so that it leaves this computer to those who are tested: a kernel that halts,
    in a bzImage as boot protocol 2.12 wants it."""
    image = bytearray(4096)
    for offset, value in ((0x1f1, b"\x01"), (0x1f4, struct.pack("<I", 64)), (0x1fe, b"\x55\xaa"), (0x200, b"\xeb\x66"),
                          (0x202, b"HdrS"), (0x206, struct.pack("<H", 0x20c)), (0x211, b"\x01"),
                          (0x22c, struct.pack("<I", 0x7fffffff)), (0x236, b"\x01"), (0x238, struct.pack("<I", 255)),
                          (0x258, struct.pack("<Q", 0x100000)), (0x260, struct.pack("<I", 0x10000)),
                          (0x400 + 0x200, b"\xf4\xeb\xfd")):  # hlt; jmp to it
        image[offset:offset + len(value)] = value
    kernel = os.path.join(desktop.home, "idle")
    with open(kernel, "wb") as file:
        file.write(image)
    return make_bundle(desktop, name, MemorySize=64, BootLoader={"Type": "Linux", "Kernel": kernel})


def ctl(*words, env=None, status=0):
    """Standard output of espalierctl, which is to end with that status."""
    result = subprocess.run([CTL, *words], capture_output=True, text=True, timeout=120, check=False,
                            env={**os.environ, **(env or {})})
    check(result.returncode == status,
          f"espalierctl {' '.join(words)} ended with {result.returncode}: {result.stdout}{result.stderr}")
    return result.stdout if status == 0 else result.stderr


def without_display():
    return {key: value for key, value in os.environ.items() if key != "DISPLAY"}


def status_of(name):
    return json.loads(ctl("status", "--json", name))


def end(folder):
    """Ends a machine's process in order."""
    pid = runner(folder)[0]
    if pid:
        os.kill(pid, signal.SIGTERM)
        wait_for("end of the machine's process", lambda: not is_alive(pid))


def log(folder):
    with open(os.path.join(folder, "machine.log"), encoding="utf-8") as file:
        return file.read()


# --- Windows that come and go


def test_a_machine_started_without_a_display_gets_its_window_later(desktop):
    folder = make_idle(desktop, "Sloe")
    result = subprocess.run([CTL, "start", "Sloe"], env=without_display(), capture_output=True, text=True, timeout=120,
                            check=False)
    check(result.returncode == 0, f"it was not started: {result.stderr}")
    check(status_of("Sloe")["state"] == "running", f"it is {status_of('Sloe')}")
    pid = runner(folder)[0]
    check(not desktop.windows("Sloe"), "there is a window")
    with open(f"/proc/{pid}/environ", encoding="latin-1") as environ:
        knows = "\0DISPLAY=" in environ.read()
    check(not knows,
          "it knows of the display")

    desktop.start()
    desktop.press(desktop.find("push button", "Show “Sloe”"))
    window = desktop.window_id("^Sloe — Running")
    check(runner(folder) == (pid, "running"), "another process shows it")
    desktop.save_picture(os.path.join(BUILD, "ui", "presented.png"), window)
    desktop.close(window)
    wait_for("end of the window", lambda: not desktop.windows("^Sloe"))
    check(runner(folder) == (pid, "running"), "closing the window stopped the machine")
    desktop.press(desktop.find("push button", "Show “Sloe”"))
    desktop.window_id("^Sloe — Running")

    check("started already" in ctl("start", "Sloe", status=1), "a second start is no failure")
    ctl("stop", "--force", "Sloe")
    desktop.find_text("“Sloe” is off")
    ctl("start", "Sloe")
    wait_state(folder, "running")
    check(runner(folder)[0] == pid, "it was started in another process")
    end(folder)


def test_the_window_moves_to_another_display(desktop):
    folder = make_idle(desktop, "Rowan")
    desktop.start("--run", folder)
    wait_state(folder, "running")
    desktop.window_id("^Rowan — Running")
    pid = runner(folder)[0]
    with Other() as other:
        result = subprocess.run([os.path.join(BUILD, "espalier"), "--run", folder], timeout=60, check=False,
                                env={**os.environ, "DISPLAY": other.name})
        check(result.returncode == 0, f"asking for the window ended with {result.returncode}")
        wait_for("window on the other display", lambda: other.windows("^Rowan"))
        wait_for("end of the window on this one", lambda: not desktop.windows("^Rowan"))
        check(runner(folder) == (pid, "running"), "the machine is another one")
    # That display has gone now, with the window.
    wait_for("word in the log", lambda: "has gone" in log(folder))
    check(runner(folder) == (pid, "running") and is_alive(pid), "the machine ended with the display")
    ctl("start", "--window", "Rowan", status=1)
    ctl("pause", "Rowan")
    wait_state(folder, "paused")
    end(folder)


class Other:
    """Another display."""

    def __enter__(self):
        read, write = os.pipe()
        self.server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "1024x768x24"],
                                       pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as pipe:
            self.name = ":" + pipe.readline().strip()
        return self

    def __exit__(self, *_):
        self.server.kill()
        self.server.wait()

    def windows(self, title):
        result = subprocess.run(["xdotool", "search", "--onlyvisible", "--name", title], capture_output=True,
                                text=True, check=False, env={**os.environ, "DISPLAY": self.name})
        return result.stdout.split()


def test_a_machine_outlives_its_display_and_its_session_bus(desktop):
    folder = make_idle(desktop, "Hazel")
    bus = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1"],
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    address = bus.stdout.readline().strip()
    with Other() as other:
        desktop.start("--run", folder, env={"DISPLAY": other.name, "DBUS_SESSION_BUS_ADDRESS": address})
        wait_state(folder, "running")
        wait_for("window on the other display", lambda: other.windows("^Hazel"))
        pid = runner(folder)[0]
        bus.kill()
        bus.wait()
    wait_for("word in the log", lambda: "has gone" in log(folder))
    check(is_alive(pid) and runner(folder) == (pid, "running"), "the machine ended")
    ctl("pause", "Hazel")
    ctl("resume", "Hazel")
    result = subprocess.run([os.path.join(BUILD, "espalier"), folder], timeout=60, check=False)
    check(result.returncode == 0, f"asking for the window ended with {result.returncode}")
    desktop.window_id("^Hazel — Running")
    check(runner(folder) == (pid, "running"), "the machine is another one")
    end(folder)


def test_a_machine_outlives_the_library(desktop):
    folder = make_idle(desktop, "Elder")
    library = desktop.start()
    desktop.press(desktop.find("push button", "Start “Elder”"))
    wait_state(folder, "running")
    pid = runner(folder)[0]
    library.terminate()
    library.wait(20)
    check(is_alive(pid) and runner(folder) == (pid, "running"), "the machine ended with the library")
    desktop.start()
    desktop.find("push button", "Show “Elder”")
    end(folder)


def test_the_desktop_starts_the_library_by_its_name(desktop):
    services = os.path.join(os.environ["XDG_DATA_HOME"], "dbus-1", "services")
    os.makedirs(services)
    with open(os.path.join(services, "org.espalier.Espalier.service"), "w", encoding="ascii") as file:
        file.write(f"[D-BUS Service]\nName=org.espalier.Espalier\nExec={BUILD}/espalier --gapplication-service\n")
    for method in ("org.freedesktop.DBus / org.freedesktop.DBus.ReloadConfig",
                   "org.espalier.Espalier /org/espalier/Espalier org.freedesktop.Application.Activate {}"):
        name, path, call, *words = method.split()
        result = subprocess.run(["gdbus", "call", "--session", "-d", name, "-o", path, "-m", call, *words],
                                capture_output=True, text=True, check=False, timeout=60)
        check(result.returncode == 0, f"{call} ended with {result.stderr}")
    window = desktop.window_id("^Espalier$")
    check(desktop.start().wait(20) == 0, "a second start did not hand over to the first")
    check(desktop.windows("^Espalier$") == [window], "there are two library windows")
    subprocess.run(["gdbus", "call", "--session", "-d", "org.espalier.Espalier", "-o", "/org/espalier/Espalier", "-m",
                    "org.freedesktop.Application.ActivateAction", "quit", "[]", "{}"], check=False, timeout=60,
                   stdout=subprocess.DEVNULL)
    wait_for("end of the window", lambda: not desktop.windows("^Espalier$"))


# --- A process that dies


def test_a_crash_is_shown_and_the_machine_started_again(desktop):
    folder = make_idle(desktop, "Aspen")
    desktop.start()
    desktop.press(desktop.find("push button", "Start “Aspen”"))
    wait_state(folder, "running")
    pid = runner(folder)[0]
    os.kill(pid, signal.SIGSEGV)
    desktop.find_text("“Aspen” ended unexpectedly")
    desktop.find_text("signal 11")
    desktop.find_text("Ended unexpectedly")  # in the list
    window = desktop.window_id("ended unexpectedly")
    copy = desktop.find("push button", "Copy Details")
    desktop.save_picture(os.path.join(BUILD, "ui", "crash.png"), window)
    desktop.press(copy)
    text = desktop.clipboard()
    for part in ("Machine: Aspen", f"Process: {pid}", "signal 11", "machine.log:", "The machine is now: running"):
        check(part in text, f"“{part}” is not in the details: {text[:600]!r}")
    check(status_of("Aspen")["crashed"], "espalierctl does not know")

    desktop.press(desktop.find("push button", "Start Again"))
    wait_for("another process", lambda: runner(folder)[0] not in (0, pid))
    wait_state(folder, "running")
    wait_for("end of the crash window", lambda: not desktop.windows("ended unexpectedly"))
    check("crashed" not in status_of("Aspen"), "it still counts as crashed")
    end(folder)


def test_a_crash_that_nobody_saw_is_known_later(desktop):
    folder = make_idle(desktop, "Larch")
    ctl("start", "Larch")
    pid = runner(folder)[0]
    os.kill(pid, signal.SIGKILL)
    wait_for("its end", lambda: not is_alive(pid))
    check("ended unexpectedly" in ctl("list"), "espalierctl does not know")
    desktop.start()
    desktop.find_text("Ended unexpectedly")
    check(not desktop.windows("ended unexpectedly"), "the library opens with a crash of yesterday")
    desktop.press(desktop.find("push button", "See what happened to “Larch”"))
    desktop.find_text("“Larch” ended unexpectedly")
    desktop.press(desktop.find("push button", "Start Again"))
    wait_for("another process", lambda: runner(folder)[0] not in (0, pid))
    wait_state(folder, "running")
    end(folder)
    desktop.find("push button", "Start “Larch”")


if __name__ == "__main__":
    sys.exit(cases.main(globals(), lambda: Desktop("processes", own=True)))
