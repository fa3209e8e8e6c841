#!/usr/bin/env python3
"""Debian's kernel on each model of CPU.

time-limit: 300
"""
from guest import CTL, boot_serial, check, equal, main

import re
import subprocess

V3 = {"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
BEYOND = {"aes", "pclmulqdq", "rdrand", "rdseed", "sha_ni", "adx"}


def host_has(flag):
    with open("/proc/cpuinfo", encoding="ascii") as file:
        return flag in re.search(r"^flags\s*:(.*)$", file.read(), re.M).group(1).split()


def boot_on(model, cpus):
    """Boots; the guest's /proc/cpuinfo."""
    with boot_serial(cpus=cpus, extra=("--cpu-model", model)) as guest:
        info = guest.run("cat /proc/cpuinfo")
        said = guest.run("dmesg | grep -iE 'smpboot: .*(package|Total)|tsc:|unchecked MSR|WARNING|BUG:'")
        check("WARNING" not in said and "BUG:" not in said and "unchecked MSR" not in said, said)
        guest.send("poweroff -f\n")
        equal(guest.wait(), 0, "exit status")
    return info, said


def flags_of(info):
    return set(re.search(r"^flags\s*:(.*)$", info.replace("\r", ""), re.M).group(1).split())


def level_2_has_no_more():
    info, _ = boot_on("x86-64-v2", 2)
    flags = flags_of(info)
    check({"cx16", "popcnt", "sse4_2", "ssse3", "lahf_lm"} <= flags, f"flags: {sorted(flags)}")
    equal(flags & (V3 | BEYOND | {"avx", "xsave"}), set(), "flags beyond x86-64-v2")


def level_3_has_avx2():
    if not host_has("avx2"):
        done = subprocess.run([CTL, "run", "--cpu-model", "x86-64-v3", "--bootloader", "linux,kernel=/none"],
                              capture_output=True, text=True, timeout=20, check=False)
        check("x86-64-v2" in done.stderr, done.stderr)
        return
    flags = flags_of(boot_on("x86-64-v3", 1)[0])
    check(V3 <= flags, f"flags: {sorted(flags)}")
    equal(flags & BEYOND, set(), "flags beyond x86-64-v3")


def macos_is_an_intel_in_packages_of_two():
    info, said = boot_on("macos", 6)
    equal(re.search(r"vendor_id\s*: (\w+)", info).group(1), "GenuineIntel", "vendor")
    equal(re.search(r"cpu family\s*: (\d+)", info).group(1), "6", "family")
    equal(re.search(r"model\s*: (\d+)", info).group(1), str(0x5e), "model")
    flags = flags_of(info)
    check({"constant_tsc", "nonstop_tsc"} <= flags, f"flags: {sorted(flags)}")
    check("pdpe1gb" not in flags, "there are pages of 1 GiB")
    equal(len(set(re.findall(r"physical id\s*: (\d+)", info))), 3, "packages")
    equal(set(re.findall(r"cpu cores\s*: (\d+)", info)), {"2"}, "cores of each")
    check("Total of 6 processors activated" in said, said)


main(level_2_has_no_more, level_3_has_avx2, macos_is_an_intel_in_packages_of_two)
