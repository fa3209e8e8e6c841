#!/usr/bin/env python3
"""Debian's kernel and the HPET: as the clock, and as the only source of ticks.

time-limit: 300
"""
from guest import boot_serial, check, equal, main

import re
import time


def keeps_the_time_of_day():
    with boot_serial(cmdline="console=ttyS0 clocksource=hpet") as guest:
        clocks = "/sys/devices/system/clocksource/clocksource0"
        check("hpet" in guest.run(f"cat {clocks}/available_clocksource"), f"clock sources:\n{guest.tail()}")
        equal(guest.run(f"cat {clocks}/current_clocksource").strip(), "hpet", "the clock in use")
        check("hpet0: 3 comparators, 64-bit 100.000000 MHz counter" in guest.run("dmesg | grep hpet"), guest.tail())
        before, start = float(guest.run("cut -d' ' -f1 /proc/uptime")), time.monotonic()
        guest.run("sleep 3")
        after, end = float(guest.run("cut -d' ' -f1 /proc/uptime")), time.monotonic()
        check(abs((after - before) - (end - start)) < 1, f"{end - start} s on the host were {after - before} s in the guest")
        guest.send("poweroff -f\n")
        equal(guest.wait(), 0, "exit status")


def ticks_when_the_local_apic_does_not():
    with boot_serial(cmdline="console=ttyS0 nolapic_timer") as guest:
        first = int(re.search(r"0: +(\d+) +IO-APIC +2-edge +timer", guest.run("cat /proc/interrupts")).group(1))
        guest.run("sleep 1")
        second = int(re.search(r"0: +(\d+) +IO-APIC", guest.run("cat /proc/interrupts")).group(1))
        check(second > first, f"timer interrupts: {first}, a second later {second}")
        check("Clock Event Device: hpet" in guest.run("cat /proc/timer_list"), guest.tail())
        guest.send("poweroff -f\n")
        equal(guest.wait(), 0, "exit status")


main(keeps_the_time_of_day, ticks_when_the_local_apic_does_not)
