#!/usr/bin/env python3
"""Debian's kernel finds out what machine it is on.

time-limit: 120
"""
from guest import boot_serial, check, equal, main


def is_named_after_its_maker():
    with boot_serial() as guest:
        check("DMI: Espalier Virtual Machine" in guest.run("dmesg"), f"dmesg has no line about DMI:\n{guest.tail()}")
        equal(guest.run("cat /sys/class/dmi/id/sys_vendor").strip(), "Espalier", "sys_vendor")
        check(int(guest.run("wc -c < /sys/firmware/dmi/tables/DMI")) > 300, guest.tail())
        guest.send("poweroff -f\n")
        equal(guest.wait(), 0, "exit status")


main(is_named_after_its_maker)
