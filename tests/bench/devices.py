#!/usr/bin/env python3
"""How fast the devices are, against QEMU's on TCG: one bare-metal guest (tests/guest/metal/bench.c), the same binary on
both, whose driver is so short that the devices count and not the CPU. The disk is a raw file in the host's cache; the
network a datagram socket connected to itself, which gives every frame back; the shared folder holds one file, and QEMU
has its virtiofsd for it.

    tests/bench/devices.py [--runs N] [--strict]

Runs alternate between the two; each number is the median of N runs, as the guest's clock saw it. A ratio above 1 means
that Espalier moves more in the same time; the target is 1.0. "of CPU" is what the two programs took of the processor for
it, QEMU's divided by ours. With --strict a missed target makes the exit status 1.
"""

import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
from guest import BUILD, CTL, Failure, Process  # noqa: E402

GUEST = os.path.join(BUILD, "metal", "bench")
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
DISK_MIB = 128
TARGET = 1.0
TIME_LIMIT = 120

# What the guest calls it: how it reads, and what counts.
ROWS = {
    "block-read-1m": ("block, sequential reads of 1 MiB", "bytes"),
    "block-write-1m": ("block, sequential writes of 1 MiB", "bytes"),
    "block-read-4k-1": ("block, random reads of 4 KiB", "operations"),
    "block-read-4k-16": ("block, random reads of 4 KiB, 16 at once", "operations"),
    "block-write-4k-16": ("block, random writes of 4 KiB, 16 at once", "operations"),
    "net-ping-64": ("net, a frame there and back", "operations"),
    "net-stream-64": ("net, frames of 64 bytes, 64 under way", "operations"),
    "net-stream-1514": ("net, frames of 1514 bytes, 64 under way", "bytes"),
    "fs-read-1m": ("folder, sequential reads of 1 MiB", "bytes"),
    "fs-read-4k-1": ("folder, random reads of 4 KiB", "operations"),
    "fs-read-4k-16": ("folder, random reads of 4 KiB, 16 at once", "operations"),
    "fs-getattr-1": ("folder, attributes of a file", "operations"),
}


class Peer:
    """One run's program, and what has to run beside it."""

    def __init__(self, folder):
        self.folder = folder
        self.disk = os.path.join(folder, "disk.img")
        self.shared = os.path.join(folder, "shared")
        self.helpers = []
        # A socket that receives what it sends.
        self.cable = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = os.path.join(folder, "cable")
        self.cable.bind(path)
        self.cable.connect(path)
        os.unlink(path)

    def end(self):
        self.cable.close()
        for helper in self.helpers:
            helper.kill()
            helper.wait()


class Espalier(Peer):
    def args(self):
        return [CTL, "run", "--cpu", "soft", "--cpus", "1", "--memory", "64", "--bootloader", f"linux,kernel={GUEST}",
                "--device", "uart,stdio", "--device", f"virtio-blk,path={self.disk}",
                "--device", f"virtio-net,fd={self.cable.fileno()}",
                "--device", f"virtio-fs,sharedDir={self.shared},mountTag=bench"]


class Qemu(Peer):
    def args(self):
        args = ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35,memory-backend=ram", "-m", "64", "-nodefaults",
                "-object", "memory-backend-memfd,id=ram,size=64M,share=on",
                "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", GUEST,
                "-drive", f"if=none,format=raw,id=d0,file={self.disk}",
                "-device", "virtio-blk-pci,drive=d0,disable-legacy=on",
                "-netdev", f"dgram,id=n0,local.type=fd,local.str={self.cable.fileno()}",
                "-device", "virtio-net-pci,netdev=n0,disable-legacy=on,romfile="]
        path = os.path.join(self.folder, "fs.sock")
        if self.start_virtiofsd(path):
            args += ["-chardev", f"socket,id=fs0,path={path}", "-device", "vhost-user-fs-pci,chardev=fs0,tag=bench"]
        return args

    def start_virtiofsd(self, path):
        """QEMU's own, which Debian has in qemu-system-common; it wants to be root."""
        if not os.access(VIRTIOFSD, os.X_OK) or os.geteuid() != 0:
            return False
        self.helpers.append(subprocess.Popen([VIRTIOFSD, f"--socket-path={path}", "-o", f"source={self.shared}",
                                              "-o", "sandbox=chroot"],
                                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                             stderr=subprocess.DEVNULL))
        for _ in range(200):
            if os.path.exists(path):
                return True
            time.sleep(0.05)
        return False


def cpu_seconds(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(peer):
    """{name: (in a second, processor seconds)}"""
    result = {}
    try:
        with Process(peer.args(), pass_fds=(peer.cable.fileno(),)) as guest:
            pids = [guest.child.pid] + [helper.pid for helper in peer.helpers]
            spent = 0.0
            while True:
                line = guest.expect(r"^bench(?: (\S+) (\d+) (\d+) (\d+)|: (.*))$", TIME_LIMIT)
                if line.group(5) == "done":
                    break
                if line.group(5):
                    raise Failure(line.group(5))
                now = sum(cpu_seconds(pid) for pid in pids)
                if line.group(1) in ROWS:
                    amount = int(line.group(3 if ROWS[line.group(1)][1] == "bytes" else 2))
                    result[line.group(1)] = (amount / (int(line.group(4)) / 1e6), now - spent)
                spent = now
            guest.wait()
    finally:
        peer.end()
    return result


def make_files(folder):
    """Real bytes, so that nobody reads holes."""
    os.mkdir(os.path.join(folder, "shared"))
    for name in ("disk.img", "shared/data"):
        with open(os.path.join(folder, name), "wb") as file:
            for _ in range(DISK_MIB):
                file.write(os.urandom(1 << 20))


def row(*cells):
    print(f"| {cells[0]:<42} | " + " | ".join(f"{cell:>12}" for cell in cells[1:]) + " |")


def shown(value, unit):
    return f"{value / (1 << 20):.0f} MiB/s" if unit == "bytes" else f"{value:.0f} /s"


def print_table(ours, theirs):
    """Returns whether every target was met."""
    met = True
    row("", "Espalier", "QEMU TCG", "ratio", "of CPU", "target", "")
    row("---", "---:", "---:", "---:", "---:", "---:", "---")
    for name, (title, unit) in ROWS.items():
        if not all(name in run for run in ours + theirs):
            row(title, *["not measured"] * 2, *[""] * 4)
            continue
        mine = statistics.median(run[name][0] for run in ours)
        other = statistics.median(run[name][0] for run in theirs)
        cpu = sum(run[name][1] for run in theirs) / max(sum(run[name][1] for run in ours), 0.01)
        passed = mine / other >= TARGET
        met &= passed
        row(title, shown(mine, unit), shown(other, unit), f"{mine / other:.2f}", f"{cpu:.2f}", f">= {TARGET:.1f}",
            "pass" if passed else "missed")
    return met


def main():
    parser = argparse.ArgumentParser(description="Espalier's devices against QEMU's")
    parser.add_argument("--runs", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--strict", action="store_true", help="exit status 1 when a target is missed")
    options = parser.parse_args()

    for needed, hint in ((CTL, "make"), (GUEST, "make metal")):
        if not os.path.exists(needed):
            sys.exit(f"bench: {needed} is missing; run '{hint}'")
    if not shutil.which("qemu-system-x86_64"):
        sys.exit("bench: qemu-system-x86_64 is missing; 'make bench' installs it")

    ours, theirs = [], []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as folder:
        make_files(folder)
        for run in range(1, options.runs + 1):
            print(f"bench: devices, run {run} of {options.runs}", file=sys.stderr)
            theirs.append(measure(Qemu(folder)))
            ours.append(measure(Espalier(folder)))
    met = print_table(ours, theirs)
    sys.exit(1 if options.strict and not met else 0)


if __name__ == "__main__":
    main()
