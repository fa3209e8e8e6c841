#!/usr/bin/python3
"""A machine outlives the Wayland compositor that its window is on.

time-limit: 120
"""

import sys

import cases
from cases import check, is_alive, runner, wait_state
from desktop import wait_for
from test_processes import ctl, end, log, make_idle
from wayland import MISSING, WaylandDesktop, as_ordinary_user


def test_a_machine_outlives_its_compositor(desktop):
    folder = make_idle(desktop, "Alder")
    desktop.start("--run", folder)
    wait_state(folder, "running")
    wait_for("window", lambda: any("Alder" in title for title in desktop.titles()))
    pid = runner(folder)[0]
    sway = [child for child in desktop.children if child.args[0] == "sway"][0]
    sway.kill()
    sway.wait()
    wait_for("word in the log", lambda: "has gone" in log(folder))
    check(is_alive(pid) and runner(folder) == (pid, "running"), "the machine ended with the compositor")
    ctl("pause", "Alder")
    wait_state(folder, "paused")
    end(folder)


if __name__ == "__main__":
    if MISSING:
        print(f"there is no {' or '.join(MISSING)} here")
        sys.exit(77)
    as_ordinary_user()
    sys.exit(cases.main(globals(), lambda: WaylandDesktop("compositor")))
