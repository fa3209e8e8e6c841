#!/usr/bin/env python3
"""Machines of the library from the command line, by an ordinary user without a display and a session bus.

time-limit: 240
"""

import json
import os
import plistlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

from guest import CTL, Failure, PEER, check, equal, main, until

NOBODY = 65534
ESPALIER = os.path.join(os.path.dirname(CTL), "espalier")


def idle_kernel(path):
    """A kernel that halts, in a bzImage as boot protocol 2.12 wants it."""
    image = bytearray(4096)
    for offset, value in ((0x1f1, b"\x01"), (0x1f4, struct.pack("<I", 64)), (0x1fe, b"\x55\xaa"), (0x200, b"\xeb\x66"),
                          (0x202, b"HdrS"), (0x206, struct.pack("<H", 0x20c)), (0x211, b"\x01"),
                          (0x22c, struct.pack("<I", 0x7fffffff)), (0x236, b"\x01"), (0x238, struct.pack("<I", 255)),
                          (0x258, struct.pack("<Q", 0x100000)), (0x260, struct.pack("<I", 0x10000)),
                          (0x400 + 0x200, b"\xf4\xeb\xfd")):  # hlt; jmp to it
        image[offset:offset + len(value)] = value
    with open(path, "wb") as file:
        file.write(image)


class Home:
    """A home of the user's own, and a library in it."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="espalier-home-")
        self.env = {key: value for key, value in os.environ.items()
                    if key not in ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS")}
        run = os.path.join(self.path, "run")
        os.mkdir(run, 0o700)
        self.env.update(HOME=self.path, XDG_DATA_HOME=os.path.join(self.path, "data"), XDG_RUNTIME_DIR=run,
                        XDG_CONFIG_HOME=os.path.join(self.path, "config"), LC_ALL="C.UTF-8")
        idle_kernel(os.path.join(self.path, "idle"))
        return self

    def __exit__(self, *_):
        for machine in json.loads(self.ctl("list", "--json")):
            if "pid" in machine:
                os.kill(machine["pid"], signal.SIGTERM)
        shutil.rmtree(self.path, ignore_errors=True)

    def make(self, name, **changes):
        folder = os.path.join(self.env["XDG_DATA_HOME"], "espalier", "machines", name + ".espalier")
        os.makedirs(folder)
        config = {"Version": 1, "Name": name, "CPUCount": 1, "MemorySize": 64, "CPU": "soft",
                  "BootLoader": {"Type": "Linux", "Kernel": os.path.join(self.path, "idle")},
                  "Devices": [{"Type": "VGA", "Width": 640, "Height": 480}, {"Type": "VirtioKeyboard"}]}
        with open(os.path.join(folder, "config.plist"), "wb") as file:
            plistlib.dump({**config, **changes}, file)
        return folder

    def call(self, *words):
        return subprocess.run([CTL, *words], env=self.env, capture_output=True, text=True, timeout=120, check=False,
                              cwd="/")

    def ctl(self, *words):
        """What it prints; it is to end well."""
        result = self.call(*words)
        if result.returncode:
            raise Failure(f"espalierctl {' '.join(words)} ended with {result.returncode}: {result.stderr}")
        return result.stdout

    def refused(self, status, *words):
        """What it says when it will not."""
        result = self.call(*words)
        equal(result.returncode, status, f"exit status of espalierctl {' '.join(words)} ({result.stderr})")
        equal(result.stdout, "", "what it printed")
        return result.stderr

    def status(self, name):
        return json.loads(self.ctl("status", "--json", name))


def a_machine_is_started_looked_at_and_stopped():
    with Home() as home:
        check("there is no machine" in home.call("list").stderr, "an empty library is listed")
        folder = home.make("Apple tree")
        home.make("Pear")
        equal([machine["name"] for machine in json.loads(home.ctl("list", "--json"))], ["Apple tree", "Pear"], "names")
        equal(home.status("Apple tree")["state"], "stopped", "state before the start")
        check("does not run" in home.refused(2, "pause", "Apple tree"), "what is off was paused")

        equal(home.ctl("start", "Apple tree"), "", "what start prints")
        status = home.status("Apple tree")
        equal((status["state"], status["name"], status["path"], status["cpus"], status["memory"]),
              ("running", "Apple tree", folder, 1, 64 << 20), "status")
        check(status["memoryUse"] > 1 << 20 and status["cpuUse"] >= 0, f"it takes {status}")
        table = home.ctl("list").splitlines()
        check(table[0].startswith("NAME") and "STATE" in table[0] and "running" in table[1], f"the table is {table}")
        equal(table[0].index("STATE"), table[2].index("stopped"), "column of the state")
        check("started already" in home.refused(1, "start", "Apple tree"), "it was started twice")

        picture = os.path.join(home.path, "picture.png")
        home.ctl("screenshot", folder, picture)
        with open(picture, "rb") as file:
            equal(file.read(8), b"\x89PNG\r\n\x1a\n", "the picture's first bytes")
        check("no display 7" in home.refused(1, "screenshot", "--display", "7", "Apple tree", picture), "display 7")
        home.ctl("send-key", "Apple tree", "ctrl-alt-del", "Return")
        check("no key “frob”" in home.refused(1, "send-key", "Apple tree", "frob"), "a key that there is not")
        check("no address" in home.refused(1, "ip", "Apple tree"), "it has an address")
        home.ctl("pause", "Apple tree")
        equal(home.status("Apple tree")["state"], "paused", "state")
        home.ctl("resume", "Apple tree")
        home.ctl("reset", "Apple tree")

        home.ctl("stop", "--force", "--wait", "30", "Apple tree")
        until("its process has ended", lambda: "pid" not in home.status("Apple tree"), 30)
        equal(home.status("Apple tree")["state"], "stopped", "state")
        check(not home.status("Apple tree")["crashed"], "a machine that was stopped counts as crashed")
        check("The machine is now: running" in home.ctl("log", "Apple tree"), "the log does not know that it ran")


def what_cannot_start_says_why():
    with Home() as home:
        home.make("Plum", BootLoader={"Type": "Linux", "Kernel": "/nowhere/vmlinuz"}, CPUCount=1000)
        said = home.refused(1, "start", "Plum")
        check("/nowhere/vmlinuz" in said and "cpus" in said, f"it says: {said}")
        check("/nowhere/vmlinuz" in home.ctl("log", "Plum"), "the log does not say why")
        check(not home.status("Plum")["crashed"], "that counts as a crash")
        check("there is no machine “Cherry”" in home.refused(2, "start", "Cherry"), "no such machine")


def a_machine_without_a_display_has_no_window():
    with Home() as home:
        home.make("Quince")
        home.ctl("start", "--window", "Quince")  # it runs, and says that it has no window
        check("no display to open a window on" in home.ctl("log", "Quince"), "the log does not say it")
        check("no display" in home.refused(1, "start", "--window", "Quince"), "a window was shown")
        home.ctl("stop", "--force", "--wait", "30", "Quince")


def a_process_that_was_killed_is_told_from_one_that_ended():
    with Home() as home:
        home.make("Larch")
        home.ctl("start", "Larch")
        os.kill(home.status("Larch")["pid"], signal.SIGKILL)
        until("it counts as crashed", lambda: home.status("Larch").get("crashed"), 30)
        check("ended unexpectedly" in home.ctl("list"), "people are not told")
        home.ctl("start", "Larch")
        check("crashed" not in home.status("Larch"), "it still counts as crashed")


def a_saved_machine_goes_on_without_a_display():
    with Home() as home:
        folder = home.make("Teal")
        saved = os.path.join(folder, "saved-state")
        home.ctl("start", "Teal")
        check("give a FILE" in home.refused(2, "save", "--keep-running", "Teal"), "it goes on, and is saved")
        equal(home.ctl("save", "Teal"), "", "what save prints")
        until("its process has ended", lambda: "pid" not in home.status("Teal"), 30)
        check(os.path.exists(saved), "there is no saved state")
        home.ctl("start", "--no-window", "Teal")
        equal(home.status("Teal")["state"], "running", "state")
        until("the end of the saved state", lambda: not os.path.exists(saved), 30)
        check("Bringing the saved state back" in home.ctl("log", "Teal"), "it started anew")
        home.ctl("stop", "--force", "--wait", "30", "Teal")


def what_an_isolated_machine_changed_is_thrown_away():
    with Home() as home:
        folder = home.make("Sloe", Info={"Isolated": True},
                           Devices=[{"Type": "VGA"}, {"Type": "VirtioBlock", "Path": "disk.img"}])
        with open(os.path.join(folder, "disk.img"), "wb") as disk:
            disk.truncate(1 << 20)

        def layers():
            return [name for _, _, names in os.walk(os.path.join(home.path, ".cache", "espalier", "isolated"))
                    for name in names]

        home.ctl("start", "Sloe")
        check(layers(), "nothing lies on its disk")
        check("Sloe" in home.refused(1, "throw-away", "Sloe"), "that of a running machine was thrown away")
        home.ctl("stop", "--force", "--wait", "30", "Sloe")
        until("its process has ended", lambda: "pid" not in home.status("Sloe"), 30)
        check(layers(), "it was thrown away without being asked")
        equal(home.ctl("throw-away", "Sloe"), "", "what it prints")
        equal(layers(), [], "layers that are left")
        home.ctl("start", "Sloe")
        home.ctl("stop", "--force", "--wait", "30", "Sloe")
        until("its process has ended", lambda: "pid" not in home.status("Sloe"), 30)
        home.ctl("trash", "Sloe")
        equal(layers(), [], "layers of a machine in the trash")


if PEER:
    raise SystemExit(77)
if not os.path.exists(ESPALIER):
    print("there is no program with windows, which runs the machines")
    raise SystemExit(77)
if os.geteuid() == 0:
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.execvp("setpriv", ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable,
                          *sys.argv])
main(a_machine_is_started_looked_at_and_stopped, what_cannot_start_says_why, a_machine_without_a_display_has_no_window,
     a_process_that_was_killed_is_told_from_one_that_ended, a_saved_machine_goes_on_without_a_display, what_an_isolated_machine_changed_is_thrown_away)
