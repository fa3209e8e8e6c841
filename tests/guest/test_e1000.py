#!/usr/bin/env python3
"""The 82545EM with Linux's e1000 driver: NAT, transfers both ways to the last byte, link, reload. time-limit: 400"""

import hashlib
import os
import socket
import threading

from guest import CTL, PEER, Skip, boot_devices, check, equal, host, main, scratch

MAC = "52:54:00:6e:10:00"
MEGABYTES = 4


class Server:
    """A TCP server on this computer: sends `data` to the first who connects, takes all from the second."""

    def __init__(self, data):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.data = data
        self.received = b""
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with self.socket.accept()[0] as peer:
            peer.sendall(self.data)
        with self.socket.accept()[0] as peer:
            while part := peer.recv(65536):
                self.received += part


def linux_driver_over_nat():
    if PEER:
        raise Skip("only for espalierctl")
    data = os.urandom(MEGABYTES << 20)
    server = Server(data)
    with scratch() as folder:
        control = os.path.join(folder, "control")
        with boot_devices(devices=(f"e1000,nat,mac={MAC}",), extra=("--control", control)) as guest:
            text = guest.run("cat /sys/class/net/eth0/address; readlink /sys/class/net/eth0/device/driver; "
                             "cat /sys/class/net/eth0/device/device")
            check(MAC in text and "/e1000\n" in text and "0x100f" in text, f"the card in the guest: {text}")
            text = guest.run("ip link set eth0 up; udhcpc -i eth0 -n -q -s /bin/true 2>&1; "
                             "ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2; "
                             "cat /sys/class/net/eth0/speed /sys/class/net/eth0/carrier")
            check("lease of 10.0.2.15 obtained" in text and "1000\n1\n" in text, f"DHCP and link: {text}")

            text = guest.run(f"nc 10.0.2.2 {server.port} < /dev/null > /tmp/data; sha256sum < /tmp/data", seconds=120)
            equal(text.split()[0], hashlib.sha256(data).hexdigest(), "what the guest received")
            guest.run(f"nc 10.0.2.2 {server.port} < /tmp/data", seconds=120)
            server.thread.join(30)
            check(server.received == data, f"the guest sent {len(server.received)} bytes, not what it had received")
            # Large segments were cut up by the card: more frames left it than the driver gave it packets.
            frames = int(host(CTL, "device", control, "1", "status").split("sent ")[1].split()[0])
            check(frames > MEGABYTES << 20 >> 11, f"{frames} frames were sent")
            check("address 10.0.2.15" in host(CTL, "device", control, "1", "status"), "the guest's address is not known")

            host(CTL, "device", control, "1", "link", "down")
            guest.run("for n in $(seq 50); do [ $(cat /sys/class/net/eth0/carrier) = 0 ] && break; sleep 0.2; done; "
                      "[ $(cat /sys/class/net/eth0/carrier) = 0 ]")
            host(CTL, "device", control, "1", "link", "up")
            guest.run("for n in $(seq 50); do [ $(cat /sys/class/net/eth0/carrier) = 1 ] && break; sleep 0.2; done; "
                      "ping -c 2 10.0.2.2")

            guest.run("rmmod e1000 && modprobe e1000 && ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 && "
                      "ping -c 2 -W 10 10.0.2.2", seconds=90)
            guest.run("ip link set eth0 down; ip link set eth0 mtu 4000; ip link set eth0 up; sleep 1; "
                      "ping -c 2 -W 10 -s 1400 10.0.2.2", seconds=60)


main(linux_driver_over_nat)
