#!/usr/bin/env python3
"""Disk and network as a Linux guest's programs see them: fio and iperf3, with Debian's kernel on our software CPU and on
QEMU's TCG, on the same files. What counts here is the CPU more than the devices (devices.py measures those), so that nothing is
expected of the ratios.

    tests/bench/guest_io.py [--seconds N]

The disk is a raw file in the host's cache, the network NAT by libslirp for both; iperf3's server is a process of the host.
"of CPU" is what the two programs took of the processor for the same amount, QEMU's divided by ours.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
from guest import BUILD, CTL, DEVICES, KERNEL, TOOLS, Failure, Process  # noqa: E402

DISK_MIB = 256
CPUS, MEMORY = 2, 1024
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


def espalier_args(disk):
    return [CTL, "run", "--cpu", "soft", "--cpus", str(CPUS), "--memory", str(MEMORY), "--bootloader",
            f'linux,kernel={KERNEL},initrd={DEVICES},cmdline="{CMDLINE}"', "--device", "uart,stdio",
            "--device", f"virtio-blk,path={TOOLS},deviceId=tools,readonly", "--device", f"virtio-blk,path={disk},deviceId=bench",
            "--device", "virtio-net,nat"]


def qemu_args(disk):
    return ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-smp", str(CPUS), "-m", str(MEMORY), "-nodefaults",
            "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", KERNEL, "-initrd", DEVICES, "-append", CMDLINE,
            "-drive", f"if=none,format=raw,id=d0,file={TOOLS},readonly=on,file.locking=off", "-device", "virtio-blk-pci,drive=d0,serial=tools",
            "-drive", f"if=none,format=raw,id=d1,file={disk}", "-device", "virtio-blk-pci,drive=d1,serial=bench",
            "-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="]


def cpu_seconds(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def json_of(guest, command, seconds):
    """What a program of the guest's prints as JSON, and the processor time of the machine meanwhile."""
    before = cpu_seconds(guest.child.pid)
    text = guest.run(f"{command} > /tmp/json 2>&1; cat /tmp/json", SLOW * seconds + 60)
    spent = cpu_seconds(guest.child.pid) - before
    try:
        return json.loads(text[text.index("{"):text.rindex("}") + 1]), spent
    except ValueError:
        raise Failure(f"{command} printed:\n{text}") from None


def measure(args, port, seconds):
    """{name: (in a second, processor seconds for each of them)}"""
    result = {}
    with Process(args) as guest:
        guest.expect(r"^espalier-serial: ready in [\d.]+ s$", 400)
        guest.expect(r"^serial# ")
        disk = guest.run("for d in /sys/block/vd*; do [ \"$(cat $d/serial)\" = bench ] && echo ${d##*/}; done; true").strip()
        for name, (_, words, unit) in FIO.items():
            data, spent = json_of(guest, f"tools fio --name=bench --filename=/dev/{disk} --direct=1 --ioengine=libaio {words} "
                                         f"--runtime={seconds} --time_based --output-format=json", seconds)
            side = data["jobs"][0]["write" if "write" in name else "read"]
            result[name] = (side["bw_bytes"] if unit == "bytes" else side["iops"],
                            spent / max(side["io_bytes"] if unit == "bytes" else side["total_ios"], 1))
        guest.run("ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2")
        for name, (_, words) in IPERF.items():
            data, spent = json_of(guest, f"tools iperf3 -c 10.0.2.2 -p {port} -t {seconds} {words} --json", seconds)
            if "error" in data:
                raise Failure(f"iperf3 in the guest: {data['error']}")
            total = data["end"]["sum_received"]
            result[name] = (total["bits_per_second"] / 8, spent / max(total["bytes"], 1))
        guest.send("poweroff -f\n")
        guest.wait(60)
    return result


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


def print_table(ours, theirs):
    row("Linux in a guest", "Espalier", "QEMU TCG", "ratio", "of CPU")
    row("---", "---:", "---:", "---:", "---:")
    for name, (title, unit) in {**{name: (title, unit) for name, (title, _, unit) in FIO.items()},
                                **{name: (title, "bytes") for name, (title, _) in IPERF.items()}}.items():
        (mine, my_cost), (other, their_cost) = ours[name], theirs[name]
        row(title, shown(mine, unit), shown(other, unit), f"{mine / other:.2f}" if other else "?",
            f"{their_cost / my_cost:.2f}" if my_cost else "?")


def main():
    parser = argparse.ArgumentParser(description="Disk and network in a Linux guest, on Espalier and on QEMU")
    parser.add_argument("--seconds", type=int, default=8, help="for each measurement (8)")
    options = parser.parse_args()
    for needed, hint in ((CTL, "make"), (KERNEL, "make guest"), (TOOLS, f"make {os.path.relpath(TOOLS)}")):
        if not os.path.exists(needed):
            sys.exit(f"bench: {needed} is missing; run '{hint}'")
    for needed in "qemu-system-x86_64", "iperf3":
        if not shutil.which(needed):
            sys.exit(f"bench: {needed} is missing; 'make bench' installs it")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as folder, Server() as server:
        disk = os.path.join(folder, "disk.img")
        with open(disk, "wb") as file:  # real bytes, so that nobody reads holes
            for _ in range(DISK_MIB):
                file.write(os.urandom(1 << 20))
        print("bench: Linux in a guest, QEMU then Espalier", file=sys.stderr)
        theirs = measure(qemu_args(disk), server.port, options.seconds)
        ours = measure(espalier_args(disk), server.port, options.seconds)
    print_table(ours, theirs)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"bench: {failure}")
