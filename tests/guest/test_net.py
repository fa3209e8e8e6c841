#!/usr/bin/env python3
"""virtio-net with Linux's own driver: NAT, port forwards, DNS and IPv6; a tap; two guests on a network of their own.

As root the file runs in a network namespace of its own, where it makes a tap and answers for the name server; an
ordinary user has neither, and what needs them is skipped.

time-limit: 1500
"""
from guest import CTL, PATIENCE, PEER, Failure, Skip, boot_devices, check, equal, host, main, scratch
from guest import until as seen

import ctypes
import hashlib
import http.server
import os
import re
import socket
import subprocess
import threading
import time
import urllib.request

MIB = 1 << 20
MAC = "52:54:00:12:34:01"
CLONE_NEWNET = 0x40000000
UDHCPC = """cat > /tmp/lease <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/24 dev $interface
ip route add default via $router
echo "nameserver $dns" > /etc/resolv.conf
END
chmod +x /tmp/lease
"""


def own_network():
    """Moves this process, and with it all that it starts, into a namespace of its own."""
    if os.geteuid() != 0 or ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        return False
    try:
        host("ip", "link", "set", "lo", "up")
        host("ip", "tuntap", "add", "dev", "esptest0", "mode", "tap", "multi_queue")
        host("ip", "addr", "add", "10.9.1.1/24", "dev", "esptest0")
        host("ip", "link", "set", "esptest0", "mtu", "1400", "up")
    except (Failure, FileNotFoundError):
        return False
    return True


def name_server():
    """Answers all questions at the address that this host asks for names, which is ours in the namespace."""
    with open("/etc/resolv.conf", encoding="utf-8") as file:
        found = re.search(r"^nameserver\s+([\d.]+)", file.read(), re.M)
    if not found:
        return False
    address = found.group(1)
    if not address.startswith("127."):
        host("ip", "addr", "add", f"{address}/32", "dev", "lo")
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))

    def serve():
        while True:
            question, client = server.recvfrom(1500)
            asked = question[12:question.index(0, 12) + 5]
            answers = asked[-4:] == b"\0\1\0\1"  # A, IN
            record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x2a"
            server.sendto(question[:2] + b"\x81\x80\0\1" + (b"\0\1" if answers else b"\0\0") + b"\0\0\0\0" + asked +
                          (record if answers else b""), client)

    threading.Thread(target=serve, daemon=True).start()
    return True


class Files(http.server.BaseHTTPRequestHandler):
    data = os.urandom(3 * MIB)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.data)))
        self.end_headers()
        self.wfile.write(self.data)

    def log_message(self, *_):
        pass


def web_server():
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


class Sink:
    """A server that sums up what one client sends."""

    def __init__(self):
        self.listener = socket.create_server(("0.0.0.0", 0))
        self.port = self.listener.getsockname()[1]
        self.digest = hashlib.sha256()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        client, _ = self.listener.accept()
        while data := client.recv(65536):
            self.digest.update(data)

    def result(self):
        self.thread.join(120 * PATIENCE)
        check(not self.thread.is_alive(), "the guest's bytes did not all come")
        return self.digest.hexdigest()


def status(machine, device):
    """What is known of a card: a dictionary; addresses is a list."""
    text = host(CTL, "device", machine, str(device), "status")
    values = {"addresses": re.findall(r"^address (\S+)$", text, re.M)}
    for name, pattern in (("mac", r"^mac (\S+)"), ("link", r"^link (\S+)"), ("sent", r"^sent (\d+ frames \d+)"),
                          ("received", r"^received (\d+ frames \d+)")):
        values[name] = re.search(pattern, text, re.M).group(1)
    for name in "sent", "received":
        values[name] = [int(number) for number in values[name].split(" frames ")]
    return values


def until(guest, command, wanted, seconds=60):
    """Asks the guest until it says so."""
    end = time.monotonic() + seconds * PATIENCE
    while (seen := guest.run(f"{command} || true").strip()) != wanted:
        check(time.monotonic() < end, f"{command}: expected {wanted!r}, saw {seen!r}")
        time.sleep(0.3)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def frame_bytes(before, after):
    """How long frames were on average, between two looks at a counter."""
    return (after[1] - before[1]) / max(after[0] - before[0], 1)


def lease(guest, machine):
    guest.run(UDHCPC + "ip link set eth0 up; udhcpc -i eth0 -n -q -s /tmp/lease", 120)
    check("inet 10.0.2.15/24" in guest.run("ip addr show eth0"), "the guest's address is another")
    seen = status(machine, 1)
    equal(seen["mac"], MAC, "MAC address")
    check("10.0.2.15" in seen["addresses"], f"the addresses known are {seen['addresses']}")


def download(guest, address, port):
    got = guest.run(f"wget -q -O - http://{address}:{port}/file | sha256sum", 200).split()[0]
    equal(got, hashlib.sha256(Files.data).hexdigest(), f"sum of the file from {address}")


def upload(guest, address):
    """Bytes from the guest to the host; returns nothing, or fails."""
    sink = Sink()
    wanted = guest.run(f"head -c {4 * MIB} /dev/urandom > /tmp/r; sha256sum < /tmp/r; nc {address} {sink.port} < /tmp/r",
                       200).split()[0]
    equal(sink.result(), wanted, "sum of what the guest sent")


def fetch(address, port, guest):
    """What upload has left in the guest, from the web server there, which gives the kernel much at a time; nc writes 1 KiB
    and waits, and how much of that becomes one frame is a matter of pace."""
    wanted = guest.run("sha256sum < /tmp/r").split()[0]
    with urllib.request.urlopen(f"http://{address}:{port}/r", timeout=120 * PATIENCE) as answer:
        equal(hashlib.sha256(answer.read()).hexdigest(), wanted, "sum of what the guest's server sent")


def listen(guest, port):
    """Somebody in the guest listens who writes what comes to /tmp/got."""
    guest.run(f"sleep 9999 | nc -l -p {port} > /tmp/got & true")  # with the terminal as its input it would be stopped
    until(guest, f"cat /proc/net/tcp /proc/net/tcp6 | grep -c ':{port:04X} .* 0A '", "1")


def forward(guest, port):
    listen(guest, 7777)
    with socket.create_connection(("127.0.0.1", port), timeout=60 * PATIENCE) as client:
        client.sendall(b"through the door\n")
        until(guest, "cat /tmp/got", "through the door")


def link_goes_and_comes(guest, machine):
    host(CTL, "device", machine, "1", "link", "down")
    until(guest, "cat /sys/class/net/eth0/carrier", "0")
    equal(status(machine, 1)["link"], "down", "link")
    host(CTL, "device", machine, "1", "link", "up")
    until(guest, "cat /sys/class/net/eth0/carrier", "1")


def over_the_tap(guest, machine, port):
    equal(guest.run("cat /sys/class/net/eth1/mtu").strip(), "1400", "MTU of the tap's card")
    equal(guest.run("ls /sys/class/net/eth1/queues").split(), ["rx-0", "rx-1", "tx-0", "tx-1"], "queues")
    guest.run("ip addr add 10.9.1.2/24 dev eth1; ip link set eth1 up")
    guest.run("ping -c 3 -W 20 10.9.1.1", 120)
    check("10.9.1.2" in status(machine, 2)["addresses"], "the address on the tap is not known")
    upload(guest, "10.9.1.1")
    for way, move in (("received", lambda: download(guest, "10.9.1.1", port)),
                      ("sent", lambda: fetch("10.9.1.2", 7777, guest))):
        before = status(machine, 2)[way]
        move()
        length = frame_bytes(before, status(machine, 2)[way])
        check(length > 2000, f"{way}: {length:.0f} bytes in a frame; large segments are not used")


def nat_and_tap():
    if PEER:
        raise Skip("only for espalierctl")
    port, web = free_port(), web_server()
    with scratch() as folder:
        machine = os.path.join(folder, "control")
        devices = [f"virtio-net,nat,mac={MAC},forward=tcp:{port}-7777"]
        if NETWORK:
            devices.append("virtio-net,tap=esptest0,queues=2")
        with boot_devices(devices=devices, cpus=2, extra=("--control", machine)) as guest:
            lease(guest, machine)
            download(guest, "10.0.2.2", web)
            upload(guest, "10.0.2.2")
            forward(guest, port)
            guest.run("httpd -p 7777 -h /tmp")
            before = status(machine, 1)["sent"]
            fetch("127.0.0.1", port, guest)
            length = frame_bytes(before, status(machine, 1)["sent"])
            check(length > 2000, f"{length:.0f} bytes in a frame; large segments are not used")
            until(guest, "ip -6 addr show eth0 | grep -c fec0::", "1")
            seen("an IPv6 address in the status",  # known once the guest has asked whether somebody else has it
                        lambda: any(address.startswith("fec0::") for address in status(machine, 1)["addresses"]))
            if NETWORK and NAMES:
                check("192.0.2.42" in guest.run("nslookup guest.test 10.0.2.3 || true", 120), "the name is not found")
            else:
                guest.run("nslookup guest.test 10.0.2.3 || true", 120)
            link_goes_and_comes(guest, machine)
            download(guest, "10.0.2.2", web)
            if NETWORK:
                over_the_tap(guest, machine, web)
            host(CTL, "stop", "--force", machine)
            equal(guest.wait(), 0, "exit status")


def two_guests_alone():
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        card = ("virtio-net,hostOnly=lab",)
        with boot_devices(devices=card) as one, boot_devices(devices=card) as two:
            for guest, number in (one, 1), (two, 2):
                guest.run(f"ip addr add 10.7.0.{number}/24 dev eth0; ip link set eth0 up")
            one.run("ping -c 2 -W 30 10.7.0.2", 120)
            listen(one, 99)
            wanted = two.run(f"head -c {2 * MIB} /dev/urandom > /tmp/r; sha256sum < /tmp/r; nc 10.7.0.1 99 < /tmp/r",
                             200).split()[0]
            until(one, "sha256sum < /tmp/got | cut -d ' ' -f 1", wanted)


def mistakes_are_told():
    if PEER:
        raise Skip("only for espalierctl")
    for device, words in (("virtio-net,nat,mac=01:00:5e:00:00:01", "multicast"), ("virtio-net,nat,mac=1", "52:54:00"),
                          ("virtio-net,tap=espnone0", "sudo ip tuntap add"), ("virtio-net,fd=77", "77"),
                          ("virtio-net,hostOnly=../x", "host-only"), ("virtio-net,nat,forward=80", "tcp:8080-80"),
                          ("virtio-net,bridge=espnobr", "espnobr"), ("virtio-net,nat,mtu=60", "mtu cannot be 60; give 68 to 65535"),
                          ("virtio-net,unixSocketPath=/nonexistent/s", "/nonexistent/s"),
                          ("virtio-net,nat,queues=9", "queues cannot be 9; give 1 to 8")):
        done = subprocess.run([CTL, "run", "--bootloader", "linux,kernel=build/guest/vmlinuz", "--device", device],
                              capture_output=True, text=True, check=False, timeout=60 * PATIENCE)
        check(done.returncode not in (0, -6, -11), f"{device} ended with status {done.returncode}")
        check(words in done.stderr, f"{device}: “{words}” is not in:\n{done.stderr}")


NETWORK = not PEER and own_network()
NAMES = NETWORK and name_server()
main(mistakes_are_told, nat_and_tap, two_guests_alone)
