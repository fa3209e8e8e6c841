#!/usr/bin/env python3
"""The guest's wall clock, which a pause of the machine must not leave behind. time-limit: 300"""

import os
import time

from guest import CPU, CTL, PEER, Skip, boot_devices, check, host, main, scratch

PAUSE = int(os.environ.get("ESPALIER_PAUSE", "20"))
# What is asked for is one second. Reading the clock is a command in the guest, which takes its time.
TOLERANCE = 1.0


def offset(guest):
    """Between how many and how many seconds the guest's clock is behind the host's."""
    best = None
    for _ in range(3):
        before = time.time()
        seen = int(guest.run("date +%s"))
        after = time.time()
        # The guest's second may have begun up to a second before.
        low, high = before - seen - 1, after - seen
        best = (low, high) if best is None else (max(best[0], low), min(best[1], high))
    return best


def the_clock_is_right_after_a_pause():
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        socket = os.path.join(folder, "control")
        with boot_devices(extra=("--control", socket)) as guest:
            low, high = offset(guest)
            check(low <= TOLERANCE and high >= -TOLERANCE,
                  f"before the pause the guest is {low:.2f} to {high:.2f} s behind the host")
            uptime = float(guest.run("cut -d' ' -f1 /proc/uptime").split()[0])
            host(CTL, "pause", socket)
            time.sleep(PAUSE)
            host(CTL, "resume", socket)
            low, high = offset(guest)
            check(low <= TOLERANCE and high >= -TOLERANCE,
                  f"after a pause of {PAUSE} s the guest is {low:.2f} to {high:.2f} s behind the host ({CPU})")
            later = float(guest.run("cut -d' ' -f1 /proc/uptime").split()[0])
            check(later - uptime >= PAUSE, f"the guest's own time went on by {later - uptime:.1f} s only")
            said = guest.run("dmesg | grep -i 'unstable\\|soft lockup\\|rcu.*stall' || true").strip()
            check(not said, f"the guest complains: {said}")


main(the_clock_is_right_after_a_pause)
