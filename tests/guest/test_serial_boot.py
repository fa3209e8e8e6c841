#!/usr/bin/env python3
"""The stock Debian kernel with one serial port: boots, talks, counts its CPUs, reboots, powers off.

time-limit: 900
"""
from guest import CPU, PATIENCE, Failure, PEER, Skip, boot, boot_serial, check, equal, main, scratch

import os
import re
import signal
import time


def boots_to_a_shell_and_powers_off():
    with boot_serial() as guest:
        equal(guest.run("nproc").strip(), "1", "nproc")
        check("x86_64" in guest.run("uname -a"), f"uname:\n{guest.tail()}")
        guest.send("poweroff -f\n")
        equal(guest.wait(), 0, "exit status after the guest's poweroff")


def sees_the_memory_it_was_given():
    # Little, and more than there is room for below the addresses of devices (2 GiB).
    for memory in 128, 512, 3072, 6144:
        with boot_serial(memory=memory) as guest:
            total = int(re.search(r"MemTotal: +(\d+) kB", guest.run("cat /proc/meminfo")).group(1)) // 1024
            check(memory * 0.96 - 64 < total < memory, f"MemTotal of a guest with {memory} MiB: {total} MiB")
            above = re.findall(r"^([0-9a-f]{9,})-[0-9a-f]+ : System RAM", guest.run("cat /proc/iomem"), re.M)
            equal([int(start, 16) for start in above], [1 << 32] if memory > 2048 else [], "what is above 4 GiB")
            guest.send("poweroff -f\n")
            equal(guest.wait(), 0, "exit status")


def two_cpus_run_at_once():
    with boot_serial(cpus=2) as guest:
        equal(guest.run("nproc").strip(), "2", "nproc")
        # Each CPU keeps busy by itself, and its own clock tick has to arrive there.
        guest.run("for c in 0 1; do taskset -c $c sh -c "
                  "'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done' & done; wait")
        ticks = re.search(r"LOC: +(\d+) +(\d+)", guest.run("cat /proc/interrupts"))
        check(ticks and int(ticks.group(1)) > 0 and int(ticks.group(2)) > 0, f"timer ticks:\n{guest.tail()}")
        guest.send("poweroff -f\n")
        equal(guest.wait(), 0, "exit status")


def list_of(text):
    """The numbers of a list as Linux writes one: 0-2,5."""
    numbers = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def as_many_cpus_as_a_large_computer_has():
    with boot_serial(cpus=32) as guest:
        equal(guest.run("nproc").strip(), "32", "nproc")
        folder = "/sys/devices/system/cpu/cpu"
        for name, wanted in ("core_siblings_list", [*range(32)]), ("thread_siblings_list", [31]):
            equal(list_of(guest.run(f"cat {folder}31/topology/{name}")), wanted, f"{name} of the last CPU")
        cores = sorted(int(number) for number in guest.run(f"cat {folder}*/topology/core_id").split())
        equal(cores, [*range(32)], "core_id of all CPUs")
        # Each gets interrupts of the others and of its own timer.
        guest.run("for c in $(seq 0 31); do taskset -c $c sh -c 'sleep 0.1' & done; wait")
        ticks = re.search(r"LOC:((?: +\d+)+)", guest.run("cat /proc/interrupts")).group(1).split()
        check(len(ticks) == 32 and all(int(number) > 0 for number in ticks), f"timer ticks: {ticks}")
        log = guest.run("dmesg")
        check("BUG:" not in log and "stall" not in log and "WARNING" not in log, f"the kernel says:\n{log[-3000:]}")
        guest.send("poweroff -f\n")
        equal(guest.wait(), 0, "exit status")


FIGURES = ("blocks decoded", "returns to the run loop", "requests served there", "blocks looked up there", "TLB flushes",
           "accesses the TLB did not serve")


def check_figures(guest, cpus):
    """The table of --cpu-stats: a column for the sum, which it is, and one for each CPU, which all did something."""
    text = guest.seen[guest.expect(r"espalierctl: CPU figures \(soft, interpreter\):$", 5).end():]
    heads = text.splitlines()[1].split("  ")
    equal([head.strip() for head in heads if head], ["sum"] + [f"CPU {n}" for n in range(cpus)], "columns")
    for name in FIGURES:
        row = re.search(rf"^ +{name} +([\d, ]+)$", text, re.M)
        check(row, f"no figures of {name!r}:\n{text}")
        total, *each = [int(number.replace(",", "")) for number in row.group(1).split()]
        check(len(each) == cpus and total == sum(each) and all(number > 0 for number in each),
              f"{name}: {total} should be the sum of {each}, none of which 0")
    share = re.search(r"found in the jump cache +(\d+\.\d) %", text)
    check(share and 0 <= float(share.group(1)) <= 100, f"share of the jump cache:\n{text}")
    check(all(len(line) <= 80 for line in text.splitlines()), f"a line of more than 80 columns:\n{text}")


def counts_what_its_cpus_did():
    if PEER or CPU != "soft":
        raise Skip("only for the software CPU")
    with boot_serial(cpus=2, cpu="soft:interpreter", extra=["--cpu-stats"]) as guest:
        guest.run("for c in 0 1; do taskset -c $c sh -c 'i=0; while [ $i -lt 200 ]; do i=$((i+1)); done'; done")
        guest.send("poweroff -f\n")
        equal(guest.wait(), 0, "exit status")
        check_figures(guest, 2)


def counts_them_up_to_a_signal():
    if PEER or CPU != "soft":
        raise Skip("only for the software CPU")
    with boot(cpu="soft:interpreter", extra=["--cpu-stats"]) as guest:
        guest.expect(r"^\[.*Linux version")
        guest.signal(signal.SIGTERM)
        equal(guest.wait(), 128 + signal.SIGTERM, "exit status after SIGTERM")
        check_figures(guest, 1)


def reboot_boots_again():
    with boot_serial() as guest:
        guest.send("reboot -f\n")
        guest.expect(r"^espalier-serial: ready in [\d.]+ s$")
        guest.expect(r"^serial# ")
        guest.send("poweroff -f\n")
        equal(guest.wait(), 0, "exit status")


def time_goes_by_as_on_the_host():
    with boot_serial() as guest:
        start = time.monotonic()
        guest.run("sleep 3")
        spent = time.monotonic() - start
        check(2.9 < spent < 6, f"'sleep 3' took {spent:.1f} s")
        guest_now = int(guest.run("date -u +%s"))
        check(abs(guest_now - time.time()) < 5, f"the guest's date is off by {guest_now - time.time():.0f} s")
        guest.send("poweroff -f\n")
        equal(guest.wait(), 0, "exit status")


def kernel_finds_nothing_wrong():
    with boot_serial(cpus=2) as guest:
        log = guest.run("dmesg")
        for bad in ("BUG:", "Oops", "Call Trace", "WARNING:", "ACPI Error", "ACPI BIOS Error", "Firmware Bug",
                    "rcu_sched self-detected", "clocksource: timekeeping watchdog", "unchecked MSR access"):
            line = re.search(f"^.*{re.escape(bad)}.*$", log, re.M)
            check(not line, f"the kernel says: {line.group(0) if line else ''}")
        guest.send("poweroff -f\n")
        equal(guest.wait(), 0, "exit status")


def serial_output_goes_to_a_log_file():
    with scratch() as folder:
        log = os.path.join(folder, "serial.log")
        with boot(devices=(f"uart,logFilePath={log}",), cmdline="console=ttyS0 panic=-1 rdinit=/none root=none") as guest:
            # Without an init the kernel panics and resets at once; over and over, which the log shows.
            for _ in range(int(300 * PATIENCE)):
                time.sleep(0.2)
                if os.path.exists(log) and open(log, "rb").read().count(b"Linux version") >= 2:
                    break
            else:
                raise Failure(f"the log does not show a second boot; it ends with:\n"
                              f"{open(log, 'rb').read()[-600:].decode('utf-8', 'replace')}")
            equal(guest.child.poll(), None, "exit status while the guest reboots")


def auto_takes_a_cpu_that_boots_linux():
    if PEER:
        raise Skip("only for espalierctl")
    # With a KVM that works it takes that; with none, or a peculiar one, the software CPU; Linux boots on each.
    with boot(cpu="auto", extra=("--verbose",)) as guest:
        guest.expect(r"\b(soft|kvm)\b")
        guest.expect(r"^espalier-serial: ready in [\d.]+ s$")
        guest.send("poweroff -f\n")
        equal(guest.wait(), 0, "exit status")


main(boots_to_a_shell_and_powers_off, sees_the_memory_it_was_given, two_cpus_run_at_once, as_many_cpus_as_a_large_computer_has,
     reboot_boots_again, time_goes_by_as_on_the_host, kernel_finds_nothing_wrong, serial_output_goes_to_a_log_file,
     auto_takes_a_cpu_that_boots_linux, counts_what_its_cpus_did, counts_them_up_to_a_signal)
