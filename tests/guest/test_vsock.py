#!/usr/bin/env python3
"""virtio-vsock with Linux's own driver, and Unix sockets on the host: both ways round.

time-limit: 900
"""
from guest import PATIENCE, PEER, Failure, Skip, boot_devices, build_program, check, equal, main, scratch

import hashlib
import os
import random
import socket
import threading

OUT, IN, NOBODY = 5, 6, 7  # the guest connects to the first and listens at the second
MIB = 1 << 20


def tool(folder):
    """The guest's program as a disk: there is no other way in."""
    path = os.path.join(folder, "tool")
    build_program("vsock", path)
    return path


class Service:
    """A server on a Unix socket, each connection in a thread of its own; what goes wrong is kept for the end."""

    def __init__(self, path, handler):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(128)
        self.handler = handler
        self.done = []
        self.threads = []
        self.changed = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            with client:
                client.settimeout(100 * PATIENCE)
                result = self.handler(client)
        except Exception as error:  # seen by whoever waits
            result = error
        with self.changed:
            self.done.append(result)
            self.changed.notify_all()

    def result(self):
        with self.changed:
            if not self.changed.wait_for(lambda: self.done, 100 * PATIENCE):
                raise Failure("the service had no connection")
            result = self.done.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


def read_all(client):
    data = b""
    while True:
        piece = client.recv(65536)
        if not piece:
            return data
        data += piece


def client(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)  # waits when there are many
    s.settimeout(100 * PATIENCE)
    return s


def both_ways_round():
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        out, door, lone = (os.path.join(folder, name) for name in ("out", "in", "nobody"))
        devices = (f"virtio-vsock,port={OUT},socketURL={out}", f"virtio-vsock,port={IN},socketURL=unix:{door},connect",
                   f"virtio-vsock,port={NOBODY},socketURL={lone},listen", f"virtio-blk,path={tool(folder)}")
        with boot_devices(devices, cpus=2) as guest:
            equal(os.stat(door).st_mode & 0o777, 0o600, "mode of the socket")
            guest.run("cat /dev/vda > /tmp/vsock; chmod +x /tmp/vsock")
            guest_connects(guest, out)
            refusals(guest)
            host_connects(guest, door)
            large_transfers(guest, out, door)
            many_connections(guest, out, door)
            guest.send("poweroff -f\n")
            equal(guest.wait(), 0, "exit status")
        check(not os.path.exists(door), "the socket is left behind")


def guest_connects(guest, path):
    def greet(peer):
        word = read_all(peer)  # until the guest has ended its half
        peer.sendall(b"heard: " + word)
        return word

    service = Service(path, greet)
    equal(guest.run(f"echo good morning | /tmp/vsock connect {OUT}").strip(), "heard: good morning", "the answer")
    equal(service.result(), b"good morning\n", "what the service heard")
    service.listener.close()
    os.unlink(path)


def refusals(guest):
    """Ports that are not there, a socket nobody listens on, another direction, an address that is not the host's."""
    for what in (f"{NOBODY}", "99", f"{IN}", f"{OUT}"):
        text = guest.run(f"! /tmp/vsock connect {what} < /dev/null 2>&1")
        check("reset" in text.lower(), f"connecting to port {what}: {text}")


def host_connects(guest, path):
    with client(path) as nobody:
        equal(nobody.recv(1), b"", "end of a connection to a port at which nobody listens")
    guest.send(f"/tmp/vsock echo {IN} 1; echo served-\"\"one\n")
    guest.expect(r"^vsock: listening$")
    with client(path) as one:
        one.sendall(b"echo this")
        equal(one.recv(9), b"echo this", "the echo")
        one.shutdown(socket.SHUT_WR)
        equal(read_all(one), b"", "what comes after the end")
    guest.expect(r"^served-one$")
    # A client that says its word and is gone before the guest has answered.
    guest.send(f"/tmp/vsock sink {IN} 1; echo served-\"\"two\n")
    guest.expect(r"^vsock: listening$")
    with client(path) as one:
        one.sendall(b"gone at once\n")
    guest.expect(r"^gone at once$")
    guest.expect(r"^served-two$")


def large_transfers(guest, out, door, size=6 * MIB):
    """Megabytes each way and both ways at once; the sums have to agree, also with a service that is slow to read."""
    data = random.Random(4).randbytes(size)
    total = hashlib.sha256(data).hexdigest()

    def slow(peer):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        threading.Event().wait(1)
        return hashlib.sha256(read_all(peer)).hexdigest()

    service = Service(out, slow)
    guest.run(f"head -c {size} /dev/urandom > /tmp/data; /tmp/vsock connect {OUT} < /tmp/data", 200)
    equal(service.result(), guest.run("sha256sum < /tmp/data").split()[0], "sum of what the guest sent")
    service.listener.close()
    os.unlink(out)

    service = Service(out, lambda peer: peer.sendall(data))
    equal(guest.run(f"/tmp/vsock connect {OUT} < /dev/null | sha256sum", 200).split()[0], total, "sum of what it got")
    service.result()
    service.listener.close()
    os.unlink(out)

    guest.send(f"/tmp/vsock echo {IN} 1; echo served-\"\"three\n")
    guest.expect(r"^vsock: listening$")
    with client(door) as one:
        def send():
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)
        threading.Thread(target=send, daemon=True).start()
        equal(hashlib.sha256(read_all(one)).hexdigest(), total, "sum of what came back")
    guest.expect(r"^served-three$")


def many_connections(guest, out, door, count=100):
    def echo(peer):
        peer.sendall(read_all(peer))

    service = Service(out, echo)
    equal(guest.run(f"/tmp/vsock many {OUT} {count}", 200).strip(), f"{count} connections, each with its own answer",
          "many connections of the guest at once")
    for _ in range(count):
        service.result()
    service.listener.close()

    guest.send(f"/tmp/vsock echo {IN} {count}; echo served-\"\"many\n")
    guest.expect(r"^vsock: listening$")
    clients = [client(door) for _ in range(count)]
    for number, one in enumerate(clients):
        one.sendall(f"number {number}".encode())
        one.shutdown(socket.SHUT_WR)
    for number, one in enumerate(clients):
        equal(read_all(one), f"number {number}".encode(), f"what client {number} got")
        one.close()
    guest.expect(r"^served-many$", 200)


main(both_ways_round)
