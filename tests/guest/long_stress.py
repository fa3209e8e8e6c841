#!/usr/bin/env python3
"""The software CPU computes what stress-ng expects: every method of its CPU stressor, one after the other, with --verify
(integers of all sizes, x87, decimal and quad floating point, bits, recursion, jumps), every way in which it writes and reads
memory, and those of its other stressors that look at their own results: sorting, searching, strings, checksums, signals.

ESPALIER_STRESS_OPS says how many operations of each CPU method (200).

time-limit: 2400
"""
from guest import TOOLS, Skip, boot_devices, check, main

import os
import re
import time

OPS = int(os.environ.get("ESPALIER_STRESS_OPS", "200"))
LIMIT = 240  # seconds of the guest's for one of them, then stress-ng ends it
MEMORY_OPS = 20
# These two need minutes natively.
NOT_MEMORY = ("cache-lines", "prime-incdec")
# Stressors that verify: how many operations, and what keeps them small.
OTHERS = {
    "bsearch": (2, ""), "hsearch": (2, ""), "lsearch": (2, "--lsearch-size 1024"), "tsearch": (2, "--tsearch-size 8192"),
    "tree": (1, "--tree-size 1000"), "judy": (1, "--judy-size 16384"), "skiplist": (4, ""), "hash": (20, ""), "list": (2, ""),
    "heapsort": (2, "--heapsort-size 16384"), "mergesort": (2, "--mergesort-size 16384"), "qsort": (2, "--qsort-size 16384"),
    "radixsort": (2, "--radixsort-size 16384"), "shellsort": (2, "--shellsort-size 16384"), "sparsematrix": (1, ""),
    "str": (2000, ""), "wcs": (2000, ""), "zlib": (4, ""), "crypt": (5, ""), "memcpy": (4, ""), "cacheline": (20, ""),
    "regs": (5000, ""), "longjmp": (50, ""), "context": (5, ""), "fp-error": (100, ""), "sigfpe": (500, ""),
    "sigsegv": (500, ""), "switch": (2000, ""), "mremap": (5, "--mremap-bytes 1m"), "vm-rw": (5, "--vm-rw-bytes 1m"),
}
FAILED = re.compile(r"^stress-ng: (?:fail|error):.*", re.M)


def stress(guest, stressor, ops, words=""):
    """Fails if a stressor did not verify, or did not do as many operations as it was told to."""
    text = guest.run(f"tools stress-ng --{stressor} 1 --{stressor}-ops {ops} {words} --verify --metrics-brief --temp-path /tmp "
                     f"-t {LIMIT} > /tmp/stress 2>&1; echo status-$?; cat /tmp/stress", 2 * LIMIT)
    check("status-0\n" in text and not FAILED.search(text), f"{stressor} {words}:\n{text}")
    done = re.search(rf"metrc: \[\d+\] {stressor} +(\d+) +[\d.]+ +[\d.]+ +[\d.]+ ", text)
    check(done and int(done.group(1)) >= ops, f"{stressor} {words}: not {ops} operations in {LIMIT} s:\n{text}")


def names(guest, option):
    """What stress-ng offers for an option, as it says when it is given something else."""
    text = guest.run(f"tools stress-ng {option} nothing-like-that 2>&1; true", 120)
    found = re.search(r"must be one of: (.*)", text)
    check(found, f"stress-ng {option} names nothing:\n{text}")
    return [name for name in found.group(1).split() if name != "all"]


def all_of(title, list_them):
    """Boots, and does what `list_them` gives: (name, stressor, operations, words)."""
    if not os.path.exists(TOOLS):
        raise Skip(f"{TOOLS} is not built (make {TOOLS})")
    with boot_devices(devices=[f"virtio-blk,path={TOOLS},deviceId=tools,readonly"], memory=1024) as guest:
        check("stress-ng" in guest.run("tools stress-ng --version", 120), "the tools image has no stress-ng")
        work = list_them(guest)
        slowest = (0.0, "")
        for name, stressor, ops, words in work:
            start = time.monotonic()
            stress(guest, stressor, ops, words)
            slowest = max(slowest, (time.monotonic() - start, name))
    print(f"  {len(work)} {title}; the slowest was {slowest[1]} with {slowest[0]:.0f} s")


def every_cpu_method_verifies():
    def methods(guest):
        found = names(guest, "--cpu-method")
        check(len(found) > 60, f"stress-ng has only these CPU methods: {found}")
        return [(name, "cpu", OPS, f"--cpu-method {name}") for name in found]
    all_of("CPU methods", methods)


def every_memory_method_verifies():
    def methods(guest):
        found = [name for name in names(guest, "--vm-method") if name not in NOT_MEMORY]
        return [(name, "vm", MEMORY_OPS, f"--vm-bytes 256k --vm-method {name}") for name in found]
    all_of("memory methods", methods)


def other_stressors_verify():
    all_of("other stressors", lambda guest: [(name, name, ops, words) for name, (ops, words) in OTHERS.items()])


main(every_cpu_method_verifies, every_memory_method_verifies, other_stressors_verify)
