#!/usr/bin/env python3
"""x86-64-v3 in a guest: Linux enables AVX and keeps its registers, programs use it. The guest has of it what the host has.

time-limit: 300
"""
from guest import PEER, Skip, boot_devices, build_program, check, equal, main, scratch

import os
import re

# What the software CPU offers if the host has it.
WANTED = ("avx avx2 fma f16c bmi1 bmi2 movbe abm aes pclmulqdq sha_ni rdrand rdseed xsave xsaveopt xsavec xgetbv1").split()


def flags(text):
    return set(re.search(r"^flags\s*: (.*)$", text, re.M).group(1).split())


def host_flags():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        return flags(file.read())


def linux_has_it_and_programs_use_it():
    if PEER:
        raise Skip("only for espalierctl")
    if "avx2" not in host_flags():
        raise Skip("the host has no AVX2")
    with scratch() as folder:
        program = os.path.join(folder, "avx")
        build_program("avx", program, "-O2")
        with boot_devices(devices=(f"virtio-blk,path={program}",), cpus=2) as guest:
            has = flags(guest.run("cat /proc/cpuinfo").replace("\r", ""))
            lacking = [name for name in WANTED if name in host_flags() and name not in has]
            check(not lacking, f"the host has, the guest lacks: {' '.join(lacking)}")
            check("avx512f" not in has, "the guest sees AVX-512")
            log = guest.run("dmesg")
            check(re.search(r"x86/fpu: Enabled xstate features 0x7,", log), "no line of the kernel's about xstate features 0x7")
            guest.run("cp /dev/vda /tmp/avx; chmod +x /tmp/avx")
            said = guest.run("/tmp/avx 5 60", 200)
            check("avx: all right" in said, f"the program says:\n{said}")
            guest.send("poweroff -f\n")
            equal(guest.wait(), 0, "exit status")


main(linux_has_it_and_programs_use_it)
