#!/usr/bin/env python3
"""virtio-serial with Linux's own driver: several consoles, named ports on sockets, sizes.

time-limit: 900
"""
from guest import (CTL, DEMO, KERNEL, CPU, PEER, BOOT_SECONDS, PATIENCE, Failure, Process, Skip, boot_devices, check, equal,
                   main, scratch)

import fcntl
import hashlib
import os
import pty
import random
import signal
import socket
import struct
import subprocess
import termios
import time
import tty


class Line:
    """A client of a port's socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60 * PATIENCE)
        self.socket.connect(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self, length):
        data = b""
        while len(data) < length:
            piece = self.socket.recv(min(length - len(data), 65536))
            if not piece:
                raise Failure(f"the line ended after {len(data)} of {length} bytes")
            data += piece
        return data


def until(guest, command, wanted, seconds=30):
    """Runs a command in the guest until it prints what is wanted."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        seen = guest.run(command).strip()
        if seen == wanted:
            return
        check(time.monotonic() < end, f"{command!r} in the guest: expected {wanted!r}, saw {seen!r}")
        time.sleep(0.2)


def port_of(guest, name):
    """The device file of a named port: there is no udev in this guest to make /dev/virtio-ports."""
    return guest.run(f"for p in /sys/class/virtio-ports/*; do [ \"$(cat $p/name 2>/dev/null)\" = {name} ] && "
                     "echo /dev/${p##*/}; done; true").strip()


def consoles_and_ports():
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        first, second, port, log = (os.path.join(folder, name) for name in ("hvc0", "hvc1", "port", "log"))
        devices = (f"virtio-serial,socketPath={port},name=org.espalier.test", f"virtio-serial,socketPath={first}",
                   f"virtio-serial,logFilePath={log},name=log", f"virtio-serial,socketPath={second}")
        with boot_devices(devices) as guest:
            check(all(os.stat(path).st_mode & 0o777 == 0o600 for path in (first, second, port)), "a socket's mode")
            # Held open: the last one to close a hvc sets it back.
            guest.run("exec 6<>/dev/hvc0 7<>/dev/hvc1; stty raw -echo <&6; stty raw -echo <&7")
            two_consoles(guest, first, second)
            both_ways(guest, port)
            large_transfers(guest, port)
            clients_come_and_go(guest, port)
            guest.run(f"echo this is kept > {port_of(guest, 'log')}")
            guest.send("poweroff -f\n")
            equal(guest.wait(), 0, "exit status")
        equal(open(log, encoding="utf-8").read(), "this is kept\n", "what the guest wrote to the port “log”")
        equal(os.listdir(folder), ["log"], "what is left of the sockets")


def two_consoles(guest, first, second):
    with Line(first) as one, Line(second) as two:
        guest.run("echo to the first > /dev/hvc0; echo to the second > /dev/hvc1")
        equal(one.receive(13), b"to the first\n", "what came out of hvc0")
        equal(two.receive(14), b"to the second\n", "what came out of hvc1")
        two.send(b"from the second\n")
        one.send(b"from the first\n")
        equal(guest.run("head -n 1 < /dev/hvc0").strip(), "from the first", "what hvc0 read")
        equal(guest.run("head -n 1 < /dev/hvc1").strip(), "from the second", "what hvc1 read")
        equal(guest.run("stty -F /dev/hvc1 size").strip(), "24 80", "size of hvc1 at first")


def both_ways(guest, path):
    device = port_of(guest, "org.espalier.test")
    check(device, "no port is called org.espalier.test")
    with Line(path) as line:
        line.send(b"good morning\n")  # before anybody in the guest has it open
        guest.run(f"exec 5<>{device}; read -r word <&5; echo \"heard $word\" >&5; exec 5>&-")
        equal(line.receive(19), b"heard good morning\n", "the guest's answer")


def large_transfers(guest, path, size=6 << 20):
    """A few megabytes each way; the sums have to agree."""
    device = port_of(guest, "org.espalier.test")
    data = random.Random(3).randbytes(size)
    with Line(path) as line:
        guest.send(f"head -c {size} < {device} | sha256sum > /tmp/sum; echo done-\"\"in\n")
        line.send(data)
        guest.expect(r"^done-in$")
        equal(guest.run("cut -d ' ' -f 1 /tmp/sum").strip(), hashlib.sha256(data).hexdigest(), "sum of what went in")
        guest.send(f"head -c {size} /dev/urandom > /tmp/out; cat /tmp/out > {device}; echo done-\"\"out\n")
        seen = line.receive(size)
        guest.expect(r"^done-out$")
        equal(hashlib.sha256(seen).hexdigest(), guest.run("sha256sum < /tmp/out").split()[0], "sum of what came out")


def clients_come_and_go(guest, path):
    device = port_of(guest, "org.espalier.test")
    guest.run(f"exec 5<>{device}")
    for number in range(5):
        with Line(path) as line:
            guest.run(f"echo client {number} >&5")
            equal(line.receive(9), f"client {number}\n".encode(), "what a client read")
            line.send(b"bye\n")
        equal(guest.run("read -r word <&5; echo $word").strip(), "bye", "what a client sent last")
    guest.run("exec 5>&-")


class Terminal(Process):
    """espalierctl on a pseudo-terminal."""

    def __init__(self, args, columns, rows):
        self.args, self.seen, self.mark = args, "", 0
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.resize(columns, rows)
        self.child = subprocess.Popen(args, stdin=slave, stdout=slave, stderr=slave, cwd=os.getcwd())
        self.child.stdin = open(os.dup(self.master), "wb", buffering=0)
        self.child.stdout = open(os.dup(self.master), "rb", buffering=0)
        os.close(slave)

    def __exit__(self, *args):
        super().__exit__(*args)
        os.close(self.master)

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self, seconds):
        try:
            return super()._read(seconds)
        except OSError:  # the other side is closed
            return False


def size_follows_the_terminal():
    """With one console and with two."""
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        for more in (("--device", f"virtio-serial,logFilePath={folder}/log"), ()):
            args = [CTL, "run", "--cpu", CPU, "--memory", "512", "--bootloader",
                    f'linux,kernel={KERNEL},initrd={DEMO},cmdline="quiet"', "--device", "virtio-serial,stdio", *more]
            with Terminal(args, 100, 30) as guest:
                guest.expect(r"^espalier-demo: ready in [\d.]+ s$", BOOT_SECONDS)
                guest.expect(r"^demo:\S+# ")
                equal(guest.run("stty size").strip(), "30 100", f"size at first {more}")
                guest.resize(132, 43)
                guest.signal(signal.SIGWINCH)
                until(guest, "stty size", "43 132")
                guest.send("poweroff\n")
                equal(guest.wait(), 0, "exit status")


main(consoles_and_ports, size_follows_the_terminal)
