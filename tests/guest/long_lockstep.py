#!/usr/bin/env python3
"""Debian's programs on the translator in lockstep with the interpreter, on two CPUs: what stress-ng computes and verifies,
compressors, sorting, awk. The first block about which the two disagree ends the machine.

time-limit: 900
"""
from guest import CPU, PEER, TOOLS, Skip, boot_devices, check, equal, main

import os
import re

SECONDS = 400
CPU_METHODS = ("int128longdouble", "float80", "correlate", "fft", "crc16", "hanoi", "idct", "matrixprod", "prime", "queens",
               "trig", "union", "bitops", "callfunc", "decimal64", "stats", "gray", "hyperbolic", "fletcher16", "rgb",
               "int32double", "floatconversion", "jmp")
STRESSORS = ("str", "wcs", "qsort", "tree", "zlib", "memcpy", "longjmp", "sigsegv", "switch")
FAILED = re.compile(r"^stress-ng: (?:fail|error):.*", re.M)


def stress(guest, words):
    text = guest.run(f"tools stress-ng {words} --verify --temp-path /tmp -t {SECONDS} > /tmp/stress 2>&1; echo status-$?; "
                     "cat /tmp/stress", 2 * SECONDS)
    check("status-0\n" in text and not FAILED.search(text), f"stress-ng {words}:\n{text}")


def debian_runs_in_lockstep():
    if PEER or CPU != "soft":
        raise Skip("only for the software CPU")
    if not os.path.exists(TOOLS):
        raise Skip(f"{TOOLS} is not built (make {TOOLS})")
    with boot_devices(devices=[f"virtio-blk,path={TOOLS},deviceId=tools,readonly"], memory=1024, cpus=2,
                      cpu="soft:translator,lockstep", extra=["--cpu-stats"]) as guest:
        for method in CPU_METHODS:
            stress(guest, f"--cpu 1 --cpu-method {method} --cpu-ops 1")
        for stressor in STRESSORS:
            stress(guest, f"--{stressor} 1 --{stressor}-ops 2")
        guest.run("head -c 300000 /dev/urandom > /tmp/a; gzip -c /tmp/a | gunzip -c | cmp - /tmp/a", SECONDS)
        guest.run("seq 3000 | sort -r | awk '{ s += $1 } END { exit s != 4501500 }'", SECONDS)
        guest.send("poweroff -f\n")
        equal(guest.wait(SECONDS), 0, "exit status after the guest's poweroff")
        compared = re.search(r"^ +blocks compared in lockstep +([\d,]+)", guest.seen, re.M)
        check(compared and int(compared.group(1).replace(",", "")) > 50_000_000, f"too little compared:\n{guest.tail()}")


main(debian_runs_in_lockstep)
