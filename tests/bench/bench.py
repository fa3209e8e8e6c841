#!/usr/bin/env python3
"""make bench: how fast the software CPU is, against QEMU's TCG in the same run and on the same machine.

    tests/bench/bench.py [--runs N] [--strict]

Both boot the same kernel and initrd with one CPU, 512 MiB and one serial port, and run the same script
(data/demo/bin/bench, timed by the guest's own clock, in a tmpfs). The script then runs natively with the same static
busybox, for the ratio to native speed. Runs alternate between the two, so that a machine that is busy for a while
slows both; each number is the median of N runs. Ratios count, not seconds: those belong to this machine. The
column "of CPU" is the ratio of the processor time that the two programs took; on a busy machine it is the truer one.

Memory is what of the VMM is resident, without the guest's memory. The time to the first guest instruction is what
`espalierctl --verbose` says. With --strict a missed target makes the exit status 1.
"""

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
from guest import BUILD, CTL, DEMO, GUEST, KERNEL, ROOT, Failure, Process  # noqa: E402

WORK = ("loop", "sha256", "fork")
NAMES = {
    "boot": "boot to the init line",
    "loop": "shell loop, 100,000 turns",
    "sha256": "sha256sum of 64 MiB",
    "fork": "300 fork + exec",
}
TARGET_RATIO = 4.0
TARGET_MEMORY = 40.0  # MiB
TARGET_START = 20.0  # ms
STARTS = 7
LOOPS = 100000
NATIVE_FACTOR = 20  # the loop is too short natively for a clock of 10 ms
GUEST_CMDLINE = "console=ttyS0 demo.run=bench"


def espalier_args():
    return [CTL, "run", "--verbose", "--cpu", "soft", "--cpus", "1", "--memory", "512", "--bootloader",
            f'linux,kernel={KERNEL},initrd={DEMO},cmdline="{GUEST_CMDLINE}"', "--device", "uart,stdio"]


def qemu_args():
    return ["qemu-system-x86_64", "-accel", "tcg,thread=single", "-M", "q35", "-cpu", "Nehalem", "-smp", "1",
            "-m", "512", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
            "-kernel", KERNEL, "-initrd", DEMO, "-append", GUEST_CMDLINE]


def resident_mib(pid):
    """What of a process is resident, without the guest's memory, which is a memfd."""
    kib = 0
    guest = False
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
        for line in file:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                guest = "/memfd:" in line
            elif line.startswith("Rss:") and not guest:
                kib += int(line.split()[1])
    return kib / 1024


def cpu_seconds(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(args):
    """One boot with the work in it: {"boot": s, "cpu boot": s, "loop": s, ..., "memory": MiB}."""
    result = {}
    start = time.monotonic()
    with Process(args) as guest:
        guest.expect(r"^espalier-demo: ready in", 200)
        result["boot"] = time.monotonic() - start
        result["cpu boot"] = spent = cpu_seconds(guest.child.pid)
        for name in WORK:
            result[name] = float(guest.expect(rf"^bench {name} ([\d.]+)$", 200).group(1))
            result["cpu " + name] = cpu_seconds(guest.child.pid) - spent
            spent += result["cpu " + name]
            result["memory"] = resident_mib(guest.child.pid)
        if guest.wait() != 0:
            raise Failure(f"exit status {guest.child.returncode}:\n{guest.tail()}")
    return result


def measure_start():
    """From start to the first guest instruction in milliseconds, the median of STARTS machines that end at once."""
    values = []
    for _ in range(STARTS):
        with Process(espalier_args()) as guest:
            guest.expect(r"Linux version", 60)
            guest.signal(signal.SIGTERM)
            guest.wait()
            latency = re.search(r"first instruction ran ([\d.]+) ms", guest.seen)
            if latency:
                values.append(float(latency.group(1)))
    return statistics.median(values) if values else None


def measure_native():
    """The same script on the host."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        busybox = os.path.join(GUEST, "busybox")
        env = {"BUSYBOX": busybox, "SCRATCH": scratch, "LOOPS": str(LOOPS * NATIVE_FACTOR), "PATH": "/bin:/usr/bin"}
        text = subprocess.run([busybox, "sh", os.path.join(ROOT, "data/demo/bin/bench")], env=env, check=True,
                              stdout=subprocess.PIPE, text=True, timeout=120).stdout
    result = {name: float(re.search(rf"^bench {name} ([\d.]+)$", text, re.M).group(1)) for name in WORK}
    result["loop"] /= NATIVE_FACTOR
    return result


def median(results, name):
    values = [result[name] for result in results if result.get(name) is not None]
    return statistics.median(values) if values else None


def row(*cells):
    print(f"| {cells[0]:<34} | " + " | ".join(f"{cell:>10}" for cell in cells[1:]) + " |")


def verdict(value, target):
    if value is None:
        return "no value"
    return "pass" if value <= target else "missed"


def print_table(ours, theirs, native, start):
    """Prints all; returns whether every target was met."""
    verdicts = []
    row("", "Espalier", "QEMU TCG", "ratio", "of CPU", "target", "", "to native")
    row("---", "---:", "---:", "---:", "---:", "---:", "---", "---:")
    for name, title in NAMES.items():
        mine, other = median(ours, name), median(theirs, name)
        bare = median(native, name) if name in WORK else None
        ratio = mine / other
        verdicts.append(verdict(ratio, TARGET_RATIO))
        row(title, f"{mine:.2f} s", f"{other:.2f} s", f"{ratio:.2f}",
            f"{median(ours, 'cpu ' + name) / median(theirs, 'cpu ' + name):.2f}", f"<= {TARGET_RATIO:.0f}", verdicts[-1],
            f"{mine / bare:.0f}" if bare else "")
    memory = median(ours, "memory")
    verdicts.append(verdict(memory, TARGET_MEMORY))
    row("memory beyond the guest's", f"{memory:.1f} MiB", "", "", "", f"< {TARGET_MEMORY:.0f} MiB", verdicts[-1], "")
    verdicts.append(verdict(start, TARGET_START))
    row("start to first guest instruction", "?" if start is None else f"{start:.1f} ms", "", "", "",
        f"< {TARGET_START:.0f} ms", verdicts[-1], "")
    return all(verdict == "pass" for verdict in verdicts)


def main():
    parser = argparse.ArgumentParser(description="Espalier's software CPU against QEMU's TCG")
    parser.add_argument("--runs", type=int, default=3, help="boots of each (3)")
    parser.add_argument("--strict", action="store_true", help="exit status 1 when a target is missed")
    options = parser.parse_args()

    for needed, hint in ((CTL, "make"), (KERNEL, "make guest")):
        if not os.path.exists(needed):
            sys.exit(f"bench: {needed} is missing; run '{hint}'")
    if not shutil.which("qemu-system-x86_64"):
        sys.exit("bench: qemu-system-x86_64 is missing; 'make bench' installs it")

    ours, theirs, native = [], [], []
    for run in range(1, options.runs + 1):
        print(f"bench: run {run} of {options.runs}", file=sys.stderr)
        native.append(measure_native())
        theirs.append(measure(qemu_args()))
        ours.append(measure(espalier_args()))
    version = subprocess.run(["qemu-system-x86_64", "--version"], stdout=subprocess.PIPE, text=True, check=False)
    print(f"Medians of {options.runs} runs; kernel and initrd as in {os.path.relpath(BUILD, ROOT)}/guest; "
          f"{version.stdout.splitlines()[0]}; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    print()
    good = print_table(ours, theirs, native, measure_start())
    sys.exit(1 if options.strict and not good else 0)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"bench: {failure}")
