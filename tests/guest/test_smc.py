#!/usr/bin/env python3
"""Debian's kernel finds the SMC where ACPI says, and bad keys are refused.

time-limit: 120
"""
from guest import CTL, DEMO, KERNEL, boot_serial, check, equal, main, scratch

import os
import subprocess


def is_where_acpi_says():
    with scratch() as folder:
        key = os.path.join(folder, "key")
        with open(key, "w", encoding="ascii") as file:
            file.write("k" * 64 + "\n")
        with boot_serial(devices=("uart,stdio", f"apple-smc,keyFile={key}")) as guest:
            equal(guest.run("cat /sys/bus/acpi/devices/APP0001:00/hid").strip(), "APP0001", "the ACPI device")
            check("0300-031f : APP0001:00" in guest.run("cat /proc/ioports"), guest.tail())
            guest.send("poweroff -f\n")
            equal(guest.wait(), 0, "exit status")


def bad_key_is_one_sentence():
    with scratch() as folder:
        key = os.path.join(folder, "key")
        with open(key, "w", encoding="ascii") as file:
            file.write("too short\n")
        done = subprocess.run([CTL, "run", "--bootloader", f"linux,kernel={KERNEL},initrd={DEMO}", "--device",
                               f"apple-smc,keyFile={key}"], capture_output=True, text=True, timeout=20, check=False)
        equal(done.returncode, 2, "exit status")
        check("has 9 characters; a key has exactly 64" in done.stderr, done.stderr)


main(is_where_acpi_says, bad_key_is_one_sentence)
