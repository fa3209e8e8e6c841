#!/usr/bin/env python3
"""A machine that runs, seen and handled from another process through its control socket. time-limit: 400"""

import json
import os
import stat
import time

from guest import CTL, Failure, Skip, PEER, boot_devices, check, equal, host, main, scratch


def refused(*args):
    """What espalierctl says when it will not."""
    try:
        host(CTL, *args)
    except Failure as failure:
        return str(failure)
    raise Failure(f"espalierctl {' '.join(args)} ended with status 0")


def devices_are_listed_and_the_machine_is_paused_and_stopped():
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        socket = os.path.join(folder, "control")
        log = os.path.join(folder, "a,log")
        with boot_devices(devices=("virtio-rng", f'virtio-serial,logFilePath="{log}"'),
                          extra=("--control", socket)) as guest:
            equal(stat.S_IMODE(os.stat(socket).st_mode), 0o600, "mode of the socket")
            listed = host(CTL, "devices", socket)
            check("  0  uart,stdio\n" in listed and "  1  virtio-rng\n" in listed, f"listed: {listed}")
            check(f'  2  virtio-serial,logFilePath="{log}"\n' in listed, f"listed: {listed}")
            check("size COLUMNS ROWS" in listed, f"the console's actions are not in: {listed}")

            host(CTL, "device", socket, "2", "size", "99", "41")
            equal(guest.run("sleep 1; stty size < /dev/hvc0").strip(), "41 99", "size of hvc0 in the guest")
            check("there is no device 9" in refused("device", socket, "9", "x").lower(), "no such device")
            check("does not know “frob”" in refused("device", socket, "2", "frob"), "no such action")
            check("takes COLUMNS ROWS" in refused("device", socket, "2", "size", "1"), "too few arguments")

            host(CTL, "pause", socket)
            check("it is paused" in refused("pause", socket), "pausing twice")
            host(CTL, "resume", socket)
            equal(guest.run("echo back").strip(), "back", "what the guest says after resume")
            host(CTL, "stop", "--force", socket)
            equal(guest.wait(), 0, "exit status")
            check(not os.path.exists(socket), "the socket is left behind")
            check("there is no machine" in refused("devices", socket), "a machine that is gone")


def a_file_in_the_sockets_place_is_left_alone():
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        path = os.path.join(folder, "precious")
        with open(path, "w", encoding="utf-8") as file:
            file.write("data")
        try:
            with boot_devices(extra=("--control", path)):
                raise Failure("the machine started")
        except Failure as failure:
            check("there is a file of that name" in str(failure), f"said: {failure}")
        with open(path, encoding="utf-8") as file:
            equal(file.read(), "data", "the file")


def its_addresses_are_known_and_it_can_be_reset():
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        socket = os.path.join(folder, "control")
        with boot_devices(devices=("virtio-net,nat", "virtio-gpu", "virtio-input,keyboard"),
                          extra=("--control", socket)) as guest:
            check("no address" in refused("ip", socket), "a guest without a network has an address")
            guest.run("ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ping -c 1 10.0.2.2 || true")
            equal(host(CTL, "ip", "--wait", "20", socket).split()[0], "10.0.2.15", "the address that was heard of last")
            check("10.0.2.15" in json.loads(host(CTL, "ip", "--json", socket)), "it is not there for programs")

            picture = os.path.join(folder, "picture.png")
            host(CTL, "screenshot", socket, picture)
            with open(picture, "rb") as file:
                equal(file.read(8), b"\x89PNG\r\n\x1a\n", "the picture's first bytes")
            event = guest.run("grep -il keyboard /sys/class/input/event*/device/name").split("/")[4]
            guest.send(f'echo read""y; dd if=/dev/input/{event} bs=24 count=1 of=/tmp/key; wc -c /tmp/key\n')
            guest.expect("ready\n")
            time.sleep(2)  # dd opens the keyboard, and nobody says when it has
            host(CTL, "send-key", socket, "a", "ctrl-b")
            guest.expect("24 /tmp/key")
            check("no key “any”" in refused("send-key", socket, "any"), "a key that there is not")
            host(CTL, "reset", socket)
            guest.expect(r"^espalier-serial: ready in", 120)
            host(CTL, "stop", "--force", "--wait", "20", socket)


main(devices_are_listed_and_the_machine_is_paused_and_stopped, a_file_in_the_sockets_place_is_left_alone,
     its_addresses_are_known_and_it_can_be_reset)
