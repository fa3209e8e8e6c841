#!/usr/bin/env python3
"""virtio-balloon with Linux's own driver: memory really returns to the host.

time-limit: 900
"""
from guest import CTL, PATIENCE, PEER, Skip, boot_devices, check, equal, host, main, scratch

import os
import re
import time

MIB = 1 << 20
BALLOON = "1"  # its number among the devices: behind ttyS0


def rss(guest):
    """Bytes of memory that the machine's process holds: the guest's is shared memory."""
    with open(f"/proc/{guest.child.pid}/status", encoding="ascii") as file:
        return int(re.search(r"^RssShmem:\s+(\d+) kB", file.read(), re.M).group(1)) * 1024


def mib(value):
    return f"{value / MIB:.0f} MiB"


def poll(what, condition, seconds=120):
    end = time.monotonic() + seconds * PATIENCE
    while not condition():
        check(time.monotonic() < end, what())
        time.sleep(0.2)


def statistics(control, *args):
    text = host(CTL, "device", control, BALLOON, "statistics", *args)
    return {name: float(value) for name, value in (line.split() for line in text.splitlines())}


def available(guest):
    return int(guest.run("awk '/MemAvailable/ { print $2 }' /proc/meminfo")) * 1024


def memory_returns_to_the_host():
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        control = os.path.join(folder, "control")
        with boot_devices(devices=("virtio-balloon",), memory=768, extra=("--control", control)) as guest:
            free_pages_are_reported(guest)
            balloon_takes_half(guest, control)
            statistics_are_told(guest, control)
            guest.send("poweroff -f\n")
            equal(guest.wait(), 0, "exit status")


def free_pages_are_reported(guest, size=200 * MIB):
    """The guest fills 200 MiB and frees them; nobody asks it for anything."""
    before = rss(guest)
    guest.run(f"dd if=/dev/zero of=/tmp/fill bs=1M count={size // MIB} 2>/dev/null", 200)
    full = rss(guest)
    check(full > before + size * 0.6, f"200 MiB were filled, but RSS went from {mib(before)} to {mib(full)} only")
    guest.run("rm /tmp/fill")
    poll(lambda: f"200 MiB were freed, but RSS is {mib(rss(guest))}, after {mib(full)} when they were full",
         lambda: rss(guest) < full - size * 0.6)
    print(f"  reporting: RSS {mib(before)}, filled {mib(full)}, freed {mib(rss(guest))}")
    guest.run("echo still well")


def balloon_takes_half(guest, control):
    """Half of the memory, just used, of which the guest holds on to what it can."""
    guest.run("dd if=/dev/zero of=/tmp/fill bs=1M count=340 2>/dev/null", 300)
    guest.run("rm /tmp/fill")
    before, could = rss(guest), available(guest)
    host(CTL, "device", control, BALLOON, "target", "384")
    poll(lambda: f"the guest was to make do with 384 MiB but has {mib(statistics(control)['actual'])}",
         lambda: statistics(control)["actual"] <= 384 * MIB)
    equal(statistics(control)["target"], 384 * MIB, "target")
    after, can = rss(guest), available(guest)
    check(can < could - 300 * MIB, f"MemAvailable in the guest went from {mib(could)} to {mib(can)} only")
    check(after < 400 * MIB, f"RSS is {mib(after)} with the balloon at half of 768 MiB")
    print(f"  balloon: RSS {mib(before)}, at half {mib(after)}; MemAvailable {mib(could)}, {mib(can)}")
    # And back: the guest can use all of it again.
    host(CTL, "device", control, BALLOON, "target", "768")
    poll(lambda: f"the guest may have all again but has {mib(statistics(control)['actual'])}",
         lambda: statistics(control)["actual"] == 768 * MIB)
    equal(guest.run("dd if=/dev/zero bs=1M count=340 2>/dev/null | tr '\\0' x > /tmp/fill; "
                    "tr -d x < /tmp/fill | wc -c; ls -l /tmp/fill | awk '{ print $5 }'", 300).split(),
          ["0", str(340 * MIB)], "what is in a large file afterwards")
    guest.run("rm /tmp/fill")


def statistics_are_told(guest, control):
    statistics(control, "1")
    poll(lambda: f"no fresh statistics: {statistics(control)}", lambda: statistics(control).get("age", 99) < 3)
    seen = statistics(control, "0")
    total = int(guest.run("awk '/MemTotal/ { print $2 }' /proc/meminfo")) * 1024
    equal(seen["total"], total, "total memory by the statistics, against /proc/meminfo")
    check(0 < seen["free"] <= total and 0 < seen["available"] <= total, f"statistics make no sense: {seen}")
    check(seen["minor-faults"] > 100, f"statistics count no faults: {seen}")


main(memory_returns_to_the_host)
