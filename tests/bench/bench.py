#!/usr/bin/env python3
"""make bench: how fast the software CPU is, against QEMU's TCG and this computer itself, in the same run.

    tests/bench/bench.py [--runs N] [--engine NAME] [--only WORK]... [--small] [--no-tcg] [--qemu-cpu MODEL] [--strict]

Espalier and QEMU boot the same kernel and initrd with the same disk, a tar archive (programs.sh) that the guest unpacks
into memory; the script `work` in it then runs Debian's programs, all in one boot. The host unpacks the same archive into
memory and runs the same script with the same busybox, loader and libraries: that is native speed. What the programs wrote
has to be the same everywhere. The guest's clock measures; it has to agree with the host's about each piece of work.

The guest has two CPUs, but starts with maxcpus=1, so that it uses the second one only for the two loops at once, the last
piece of work. Runs take turns, so that a computer that is busy for a while slows all; each number is the median of N runs.

Ratios count, not seconds: those belong to this computer. A ratio is the time for the same work, so that 0.5 is twice as
fast. "CPU" is the ratio of the processor time that the two programs took; on a busy computer it is the truer one.
Memory is what of the VMM is resident, without the guest's memory; translated code is told beside it. The time to the first
guest instruction is what `espalierctl --verbose` says. At the end stands what was missed; with --strict it makes the exit
status 1.
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
from dataclasses import dataclass, field

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
from guest import BUILD, CTL, DEMO, GUEST, KERNEL, ROOT, Failure, Process  # noqa: E402

PROGRAMS = os.path.join(GUEST, "bench.tar")
QEMU = "qemu-system-x86_64"
WORK = ("loop", "fork", "sha256", "rsa", "aes", "xz", "gcc", "tcc", "memory", "switch", "two")
MEMORY = 1024  # MiB; half of it is what the guest's tmpfs may take
BOOT_LIMIT = 300  # seconds; also for a piece of work
WORK_LIMIT = 600
CLOCK_SLACK = 0.2  # seconds by which the host may see a line late
CLOCK_ERROR = 0.05  # of a piece of work's time
TARGET_MEMORY = 40.0  # MiB
TARGET_START = 20.0  # ms
STARTS = 7


@dataclass(frozen=True)
class Row:
    """What `work` calls it, the piece of work it is a part of, what it is, and how long it may take at most: in times
    native speed's time, and in times TCG's."""
    name: str
    work: str
    title: str
    native: float = None
    tcg: float = None
    rate: str = ""  # what is counted in a second, where that is shown instead of the time


ROWS = (
    Row("boot", "", "boot to the init line", tcg=0.5),
    Row("loop", "loop", "shell loop, 300,000 steps", native=3, tcg=1 / 3),
    Row("fork", "fork", "300 fork + exec of busybox", native=5),
    Row("sha256", "sha256", "sha256sum of 68 MiB", native=2.5),
    Row("rsa-sign", "rsa", "openssl rsa2048, sign", native=2.5, rate="/s"),
    Row("rsa-verify", "rsa", "openssl rsa2048, verify", native=2.5, rate="/s"),
    Row("aes", "aes", "openssl aes-128-cbc, 16 KiB each", native=2.5, rate="/s"),
    Row("xz", "xz", "xz -9 of 1 MiB", native=2.5),
    Row("gcc", "gcc", "C compile, gcc -O2", native=2.5),
    Row("tcc", "tcc", "C compile, tcc, 15 files", native=2.5),
    Row("memcpy", "memory", "stress-ng memcpy", tcg=0.5, rate="/s"),
    Row("stream", "memory", "stress-ng stream", tcg=0.5, rate="/s"),
    Row("vm", "memory", "stress-ng vm, flip", tcg=0.5, rate="/s"),
    Row("walk-vm", "memory", "stress-ng vm, walk-0a", tcg=0.5, rate="/s"),
    Row("switch", "switch", "stress-ng switch, pipe", tcg=0.5, rate="/s"),
    Row("sem-switch", "switch", "stress-ng switch, sem-sysv", tcg=0.5, rate="/s"),
    Row("context", "switch", "stress-ng context", tcg=0.5, rate="/s"),
)
TARGET_TWO = 1.15  # two loops on two CPUs, in times one loop


@dataclass
class Run:
    """What one boot, or one run on the host, gave."""
    seconds: dict = field(default_factory=dict)  # for one unit, by the row's name
    sums: dict = field(default_factory=dict)  # of what was written
    cpu: dict = field(default_factory=dict)  # the program's processor seconds, by the piece of work
    memory: float = None
    code: float = None
    problems: list = field(default_factory=list)

    def take(self, text):
        """WHAT AMOUNT SECONDS [SUM]"""
        what, amount, seconds, *digest = text.split()
        if float(amount) > 0 and float(seconds) > 0:
            self.seconds[what] = float(seconds) / float(amount)
        if digest:
            self.sums[what] = digest[0]


def guest_cmdline(works, small):
    return ("console=ttyS0 maxcpus=1 demo.run=mkdir /tmp/bench && cd /tmp/bench && tar x -f /dev/vda && "
            f"./busybox sh work {','.join(works)}{' small' if small else ''}")


def espalier_args(options, cmdline, cpus=2, memory=MEMORY):
    return [CTL, "run", "--verbose", "--cpu", f"soft:{options.engine}" if options.engine else "soft", "--cpus", str(cpus),
            "--memory", str(memory), "--bootloader", f'linux,kernel={KERNEL},initrd={DEMO},cmdline="{cmdline}"',
            "--device", "uart,stdio"]


def with_programs(args):
    return [*args, "--device", f"virtio-blk,path={PROGRAMS},readonly"]


def qemu_args(options, cmdline):
    return [QEMU, "-accel", "tcg", "-M", "q35", "-cpu", options.qemu_cpu, "-smp", "2", "-m", str(MEMORY), "-nodefaults",
            "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", KERNEL, "-initrd", DEMO, "-append", cmdline,
            "-drive", f"if=none,format=raw,id=d0,file={PROGRAMS},readonly=on,file.locking=off",
            "-device", "virtio-blk-pci,drive=d0"]


def resident_mib(pid):
    """What of a process is resident: without the guest's memory and the translator's, which are memfds, and the latter,
    which is mapped twice."""
    kib = code = 0
    guest = False
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
        for line in file:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                guest, translated = "/memfd:" in line, "/memfd:espalier-code" in line
            elif line.startswith("Rss:") and not guest:
                kib += int(line.split()[1])
            elif line.startswith("Pss:") and translated:
                code += int(line.split()[1])
    return kib / 1024, code / 1024


def cpu_seconds(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(args, works):
    """One boot with all the work in it. What goes wrong is among the problems of the run; what was measured before stays."""
    run = Run()
    start = time.monotonic()
    with Process(args) as guest:
        try:
            guest.expect(r"^espalier-demo: ready in", BOOT_LIMIT)
            run.seconds["boot"] = time.monotonic() - start
            run.cpu[""] = cpu_seconds(guest.child.pid)
            for work in works:
                watch(guest, work, run)
                run.memory, run.code = resident_mib(guest.child.pid)
            if guest.wait() != 0:
                raise Failure(f"exit status {guest.child.returncode}:\n{guest.tail()}")
        except Failure as failure:
            run.problems.append(str(failure))
    return run


def watch(guest, work, run):
    """One piece of work, on the host's clock as well."""
    guest.expect(rf"^bench start {work}$", BOOT_LIMIT)
    start, spent = time.monotonic(), cpu_seconds(guest.child.pid)
    while True:
        kind, text = guest.expect(r"^bench (result|end|failed) (.*)$", WORK_LIMIT).groups()
        if kind == "result":
            run.take(text)
        elif kind == "failed":
            run.problems.append(text)
            return
        else:
            break
    outside, inside = time.monotonic() - start, float(text.split()[1])
    run.cpu[work] = cpu_seconds(guest.child.pid) - spent
    if abs(outside - inside) > CLOCK_SLACK + CLOCK_ERROR * outside:
        run.problems.append(f"{work}: {inside:.2f} s by the guest's clock, but {outside:.2f} s by the host's")


def measure_native(works, small):
    """The same work on the host."""
    run = Run()
    cpus = sorted(os.sched_getaffinity(0))[:2]
    environment = {"BENCH_NATIVE": "1", "BENCH_CPUS": f"{1 << cpus[0]:x} {1 << cpus[-1]:x}", "PATH": "/usr/bin:/bin"}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        subprocess.run(["tar", "-x", "-C", folder, "-f", PROGRAMS], check=True)
        done = subprocess.run(["./busybox", "sh", "work", ",".join(works), *(["small"] if small else [])], cwd=folder,
                              env=environment, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    for kind, text in re.findall(r"^bench (result|failed) (.*)$", done.stdout, re.M):
        if kind == "result":
            run.take(text)
        else:
            run.problems.append(text)
    return run


def measure_start(options):
    """From start to the first guest instruction in milliseconds, the median of STARTS machines that end at once."""
    values = []
    for _ in range(STARTS):
        with Process(espalier_args(options, "console=ttyS0", cpus=1, memory=512)) as guest:
            try:
                guest.expect(r"Linux version", 60)
            except Failure:
                return None
            guest.signal(signal.SIGTERM)
            guest.wait()
            latency = re.search(r"first instruction ran ([\d.]+) ms", guest.seen)
            values.append(float(latency.group(1)) if latency else None)
    return median(values)


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def divided(one, other):
    return one / other if one is not None and other else None


def number(value, form="{:.2f}"):
    return "" if value is None else form.format(value)


class Table:
    """The table of all numbers; keeps what was missed."""

    def __init__(self, ours, theirs, native):
        self.ours, self.theirs, self.native = ours, theirs, native
        self.missed = []
        self.verdicts = []

    def line(self, *cells):
        print(f"| {cells[0]:<33} | " + " | ".join(f"{cell:>9}" for cell in cells[1:7]) + f" | {cells[7]:<34} | {cells[8]:<12} |")

    def shown(self, seconds, row, absent=""):
        if seconds is None:
            return absent
        return f"{1 / seconds:.0f} {row.rate}" if row.rate else f"{seconds:.2f} s"

    def verdict(self, title, pairs):
        """pairs: (value, at most, of what). Says what they are worth."""
        bad = [f"{value:.2f}{of} instead of {limit:.2f}" for value, limit, of in pairs if value is not None and value > limit]
        if bad:
            self.missed.append(f"{title}: {', '.join(bad)}")
        unknown = any(value is None for value, _, _ in pairs)
        self.verdicts.append("missed" if bad else "not measured" if unknown else "pass")
        return self.verdicts[-1]

    def cpu(self, row):
        """Only where a piece of work is one row, and not as long as it is told to be."""
        if row.rate:
            return None
        return divided(median([run.cpu.get(row.work) for run in self.ours]),
                       median([run.cpu.get(row.work) for run in self.theirs]))

    def row(self, row):
        mine, other, bare = (median([run.seconds.get(row.name) for run in runs])
                             for runs in (self.ours, self.theirs, self.native))
        to_tcg, to_native = divided(mine, other), divided(mine, bare)
        pairs = [(ratio, limit, of) for ratio, limit, of in
                 ((to_native, row.native, " of native"), (to_tcg, row.tcg, " of TCG")) if limit]
        self.line(row.title, self.shown(mine, row, "-"), self.shown(other, row, "-" if self.theirs else "no QEMU"),
                  self.shown(bare, row), number(to_tcg), number(self.cpu(row)), number(to_native),
                  ", ".join(f"<= {limit:.2f}{of}" for _, limit, of in pairs), self.verdict(row.title, pairs))

    def two(self):
        mine, other, bare = (median([divided(run.seconds.get("two"), run.seconds.get("one")) for run in runs])
                             for runs in (self.ours, self.theirs, self.native))
        title = "two loops on two CPUs, to one"
        self.line(title, number(mine) or "-", number(other) or ("-" if self.theirs else "no QEMU"), number(bare), "", "", "",
                  f"<= {TARGET_TWO}", self.verdict(title, [(mine, TARGET_TWO, "")]))

    def show(self, works, start):
        self.line("", "Espalier", "QEMU TCG", "native", "to TCG", "CPU", "to native", "target", "")
        self.line("---", *["---:"] * 6, "---", "---")
        for row in ROWS:
            if not row.work or row.work in works:
                self.row(row)
        if "two" in works:
            self.two()
        memory = median([run.memory for run in self.ours])
        title = "memory beyond the guest's"
        self.line(title, number(memory, "{:.1f} MiB") or "-", *[""] * 5, f"<= {TARGET_MEMORY:.0f} MiB",
                  self.verdict(title, [(memory, TARGET_MEMORY, " MiB")]))
        self.line("and its translated code", number(median([run.code for run in self.ours]), "{:.1f} MiB") or "-",
                  *[""] * 5, "the limit is a setting", "")
        title = "start to first guest instruction"
        self.line(title, number(start, "{:.1f} ms") or "-", *[""] * 5, f"<= {TARGET_START:.0f} ms",
                  self.verdict(title, [(start, TARGET_START, " ms")]))


def wrong_sums(runs, native):
    """What did not come out as on the host."""
    for run in runs:
        for name, digest in run.sums.items():
            if any(other.sums.get(name, digest) != digest for other in native):
                run.problems.append(f"{name}: the result is not what the same program gives on the host")


def parse():
    parser = argparse.ArgumentParser(description="Espalier's software CPU against QEMU's TCG and native speed")
    parser.add_argument("--runs", type=int, default=5, help="boots of each (5)")
    parser.add_argument("--engine", help="the software CPU's engine: interpreter or translator (espalierctl's default)")
    parser.add_argument("--only", metavar="WORK", action="append", choices=WORK, help=f"of {', '.join(WORK)}; may be repeated")
    parser.add_argument("--small", action="store_true", help="a tenth of the work, to try things")
    parser.add_argument("--no-tcg", action="store_true", help="without QEMU")
    parser.add_argument("--qemu-cpu", default="Nehalem", metavar="MODEL", help="QEMU's CPU (Nehalem: x86-64-v2)")
    parser.add_argument("--strict", action="store_true", help="exit status 1 when a target is missed")
    return parser.parse_args()


def heading(options):
    if not shutil.which(QEMU):
        version = f"{QEMU} is missing ('make bench' installs it)"
    elif options.no_tcg:
        version = "without QEMU"
    else:
        version = subprocess.run([QEMU, "--version"], stdout=subprocess.PIPE, text=True, check=False).stdout.splitlines()[0]
    print(f"Medians of {options.runs} runs; software CPU: {options.engine or 'as it is by default'}; "
          f"kernel and initrd as in {os.path.relpath(BUILD, ROOT)}/guest; {version}; {'a tenth of the work; ' if options.small else ''}"
          f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    print()


def main():
    options = parse()
    for needed, hint in ((CTL, "make"), (KERNEL, "make guest"), (PROGRAMS, f"make {os.path.relpath(PROGRAMS)}")):
        if not os.path.exists(needed):
            sys.exit(f"bench: {needed} is missing; run '{hint}'")
    works = [work for work in WORK if not options.only or work in options.only]
    cmdline = guest_cmdline(works, options.small)
    native, theirs, ours = [], [], []
    for run in range(1, options.runs + 1):
        print(f"bench: run {run} of {options.runs}", file=sys.stderr)
        native.append(measure_native(works, options.small))
        if not options.no_tcg and shutil.which(QEMU):
            theirs.append(measure(qemu_args(options, cmdline), works))
        ours.append(measure(with_programs(espalier_args(options, cmdline)), works))
    wrong_sums(theirs + ours, native)
    start = measure_start(options)
    heading(options)
    table = Table(ours, theirs, native)
    table.show(works, start)
    print()
    problems = [f"{who}, run {number + 1}: {problem}" for who, runs in (("native", native), ("QEMU", theirs), ("Espalier", ours))
                for number, run in enumerate(runs) for problem in run.problems]
    for problem in problems:
        print(f"bench: {problem}")
    print(f"bench: of {len(table.verdicts)} targets, {table.verdicts.count('pass')} met, "
          f"{table.verdicts.count('not measured')} not measured, {len(table.missed)} missed")
    for missed in table.missed:
        print(f"  {missed}")
    sys.exit(1 if options.strict and (table.missed or problems) else 0)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"bench: {failure}")
