#!/usr/bin/env python3
"""Disk and network as a Linux guest's programs see them: fio and iperf3, with Debian's kernel on our software CPU and on
QEMU's TCG, on the same files. What counts here is the CPU more than the devices (devices.py measures those), so that nothing is
expected of the ratios. With --kvm both run on KVM, and it is the devices that count; `make test-kvm` has that.

    tests/bench/guest_io.py [--kvm] [--seconds N] [--folder F]

The disk is a raw file in the host's cache, the network NAT by libslirp for both; iperf3's server is a process of the host.
"of CPU" is what the two programs took of the processor for the same amount, QEMU's divided by ours.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
from guest import BUILD, CTL, DEVICES, KERNEL, TOOLS, Failure, Process, check  # noqa: E402

CMDLINE = "console=ttyS0"
SLOW = 4  # how many times longer a command may take than it should

# Name: what it is called in the table, and fio's words.
FIO = {
    "read-1m": ("fio, sequential reads of 1 MiB", "--rw=read --bs=1m", "bytes"),
    "write-1m": ("fio, sequential writes of 1 MiB", "--rw=write --bs=1m", "bytes"),
    "randread-4k": ("fio, random reads of 4 KiB, 16 at once", "--rw=randread --bs=4k --iodepth=16", "operations"),
    "randwrite-4k": ("fio, random writes of 4 KiB, 16 at once", "--rw=randwrite --bs=4k --iodepth=16", "operations"),
}
IPERF = {
    "send": ("iperf3, guest to host", ""),
    "receive": ("iperf3, host to guest", "--reverse"),
}


class Soft:
    """The two without KVM, as `make bench` has them."""

    cpu, peer, peer_options = "soft", "QEMU TCG", ["-accel", "tcg"]
    cpus, memory, disk_mib = 2, 1024, 256
    cmdline = CMDLINE


class Kvm:
    """The two on KVM, on an emulated host of one processor and little memory."""

    cpu, peer, peer_options = "kvm", "QEMU KVM", ["-accel", "kvm", "-cpu", "host"]
    cpus, memory, disk_mib = 1, 512, 64
    cmdline = CMDLINE + " quiet"  # a character is an exit, and each of those is long there


def espalier_args(way, disk):
    return [CTL, "run", "--cpu", way.cpu, "--cpu-stats", "--cpus", str(way.cpus), "--memory", str(way.memory), "--bootloader",
            f'linux,kernel={KERNEL},initrd={DEVICES},cmdline="{way.cmdline}"', "--device", "uart,stdio",
            "--device", f"virtio-blk,path={TOOLS},deviceId=tools,readonly", "--device", f"virtio-blk,path={disk},deviceId=bench",
            "--device", "virtio-net,nat"]


def qemu_args(way, disk):
    """Both go through the host's page cache. QEMU's default for that is threads, ours an io_uring; it gets the same."""
    return ["qemu-system-x86_64", *way.peer_options, "-M", "q35", "-smp", str(way.cpus), "-m", str(way.memory), "-nodefaults",
            "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", KERNEL, "-initrd", DEVICES, "-append", way.cmdline,
            "-drive", f"if=none,format=raw,id=d0,file={TOOLS},readonly=on,file.locking=off", "-device", "virtio-blk-pci,drive=d0,serial=tools",
            "-drive", f"if=none,format=raw,id=d1,file={disk},cache=writeback,aio=io_uring", "-device", "virtio-blk-pci,drive=d1,serial=bench",
            "-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="]


def cpu_seconds(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def json_of(guest, command, seconds):
    """What a program of the guest's prints as JSON, and the processor time of the machine meanwhile. Only then is it shown,
    for a byte on the serial line takes a machine longer than one on a disk."""
    print(f"bench: {command}", file=sys.stderr)
    before = cpu_seconds(guest.child.pid)
    guest.run(f"{command} > /tmp/json 2>&1 || true", SLOW * seconds + 60)
    spent = cpu_seconds(guest.child.pid) - before
    text = guest.run("tr -s ' \\t\\n' ' ' < /tmp/json; echo")
    try:
        return json.loads(text[text.index("{"):text.rindex("}") + 1]), spent
    except ValueError:
        raise Failure(f"{command} printed:\n{text}") from None


def measure(args, port, seconds):
    """{name: (in a second, processor seconds for each of them)}, and what the machine printed"""
    result = {}
    with Process(args) as guest:
        print(f"bench: {os.path.basename(args[0])} boots Linux", file=sys.stderr)
        guest.expect(r"^espalier-serial: ready in [\d.]+ s$", 400)
        guest.expect(r"^serial# ")
        disk = guest.run("for d in /sys/block/vd*; do [ \"$(cat $d/serial)\" = bench ] && echo ${d##*/}; done; true").strip()
        for name, (_, words, unit) in FIO.items():
            data, spent = json_of(guest, f"tools fio --name=bench --filename=/dev/{disk} --direct=1 --ioengine=libaio {words} "
                                         f"--runtime={seconds} --time_based --gtod_reduce=1 --output-format=json", seconds)
            side = data["jobs"][0]["write" if "write" in name else "read"]
            result[name] = (side["bw_bytes"] if unit == "bytes" else side["iops"],
                            spent / max(side["io_bytes"] if unit == "bytes" else side["total_ios"], 1))
        guest.run("ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2")
        for name, (_, words) in IPERF.items():
            data, spent = json_of(guest, f"tools iperf3 -c 10.0.2.2 -p {port} -t {seconds} {words} -i 0 --json", seconds)
            if "error" in data:
                raise Failure(f"iperf3 in the guest: {data['error']}")
            total = data["end"]["sum_received"]
            result[name] = (total["bits_per_second"] / 8, spent / max(total["bytes"], 1))
        guest.send("poweroff -f\n")
        guest.wait(60)
    for name, (amount, _) in result.items():
        check(amount > 0, f"{name}: nothing was moved")
    return result, guest.seen


def check_kvm(output):
    """By the kernel's counters, KVM_RUN was what ran it."""
    for what in "entries into KVM", "exits from the guest":
        counted = re.search(rf"^  {what} +([\d,]+)", output, re.MULTILINE)
        check(counted and int(counted.group(1).replace(",", "")) > 10000, f"it did not run on KVM: hardly any {what}")
        print(f"bench: {counted.group(1)} {what}", file=sys.stderr)


class Server:
    """iperf3 on this computer, for one machine after the other."""

    def __enter__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(["iperf3", "-s", "-B", "127.0.0.1", "-p", str(self.port)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise Failure("iperf3's server does not start")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def row(*cells):
    print(f"| {cells[0]:<42} | " + " | ".join(f"{cell:>12}" for cell in cells[1:]) + " |")


def shown(value, unit):
    return f"{value / (1 << 20):.1f} MiB/s" if unit == "bytes" else f"{value:.0f} /s"


def print_table(way, ours, theirs):
    row("Linux in a guest", "Espalier", way.peer, "ratio", "of CPU")
    row("---", "---:", "---:", "---:", "---:")
    for name, (title, unit) in {**{name: (title, unit) for name, (title, _, unit) in FIO.items()},
                                **{name: (title, "bytes") for name, (title, _) in IPERF.items()}}.items():
        (mine, my_cost), (other, their_cost) = ours[name], theirs[name]
        row(title, shown(mine, unit), shown(other, unit), f"{mine / other:.2f}" if other else "?",
            f"{their_cost / my_cost:.2f}" if my_cost else "?")


def main():
    parser = argparse.ArgumentParser(description="Disk and network in a Linux guest, on Espalier and on QEMU")
    parser.add_argument("--seconds", type=int, default=8, help="for each measurement (8)")
    parser.add_argument("--kvm", action="store_true", help="on KVM, not on the software CPU and TCG")
    parser.add_argument("--folder", default=BUILD, help="where the disk is for the time being (the build folder)")
    options = parser.parse_args()
    way = Kvm if options.kvm else Soft
    for needed, hint in ((CTL, "make"), (KERNEL, "make guest"), (TOOLS, f"make {os.path.relpath(TOOLS)}")):
        if not os.path.exists(needed):
            sys.exit(f"bench: {needed} is missing; run '{hint}'")
    for needed in "qemu-system-x86_64", "iperf3":
        if not shutil.which(needed):
            sys.exit(f"bench: {needed} is missing; 'make bench' installs it")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder, Server() as server:
        disk = os.path.join(folder, "disk.img")
        with open(disk, "wb") as file:  # real bytes, so that nobody reads holes
            for _ in range(way.disk_mib):
                file.write(os.urandom(1 << 20))
        ours, output = measure(espalier_args(way, disk), server.port, options.seconds)
        theirs, _ = measure(qemu_args(way, disk), server.port, options.seconds)
    if options.kvm:
        check_kvm(output)
    print_table(way, ours, theirs)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"bench: {failure}")
