#!/usr/bin/env python3
"""A bare-metal driver that means harm (tests/guest/metal/hostile.c) against every virtio device there is: the machine
lives on, the device says that it needs a reset where the ring was malformed, and works after one.

sanitize: yes
time-limit: 240
"""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guest as rig  # noqa: E402
from guest import BUILD, PEER, Process, Skip, check, equal, main, scratch  # noqa: E402

HOSTILE = os.path.join(BUILD, "metal", "hostile")


def attack(devices):
    """Boots the driver with these devices; returns what it printed."""
    if PEER:
        raise Skip("QEMU asks for a reset less often, and after a while for none")
    args = [rig.CTL, "run", "--cpu", rig.CPU, "--cpus", "1", "--memory", "64", "--bootloader",
            f"linux,kernel={HOSTILE}", "--device", "uart,stdio"]
    for device in devices:
        args += ["--device", device]
    with Process(args) as guest:
        guest.expect(r"^hostile: done, \d+ devices, \d+ failures$", 200)
        equal(guest.wait(), 0, "exit status")
        return guest.seen


def survives(devices, names):
    seen = attack(devices)
    failed = re.findall(r"^not ok .*$", seen, re.M)
    check(not failed, "\n".join(failed[:20]))
    equal(re.findall(r"^hostile: (.*) at slot", seen, re.M), names, "the devices found")
    for name in set(names):
        attacks = len(re.findall(rf"^ok {name}, ", seen, re.M))
        check(attacks >= 35, f"only {attacks} attacks on {name}")
        print(f"{name}: {attacks} attacks")


def devices_of_the_io_thread_survive_a_driver_that_means_harm():
    survives(["virtio-rng", "virtio-input,keyboard", "virtio-input,pointing", "virtio-balloon"],
             ["entropy", "input", "input", "balloon"])


def a_disk_survives_a_driver_that_means_harm():
    with scratch() as folder:
        disk = os.path.join(folder, "disk.img")
        with open(disk, "wb") as file:
            file.truncate(4 << 20)
        survives([f"virtio-blk,path={disk}"], ["block"])


def a_console_survives_a_driver_that_means_harm():
    with scratch() as folder:
        survives([f"virtio-serial,logFilePath={folder}/log"], ["console"])


def a_network_card_survives_a_driver_that_means_harm():
    survives(["virtio-net,nat"], ["net"])


def a_shared_folder_survives_a_driver_that_means_harm():
    with scratch() as folder:
        survives([f"virtio-fs,sharedDir={folder},mountTag=tag", f"virtio-9p,sharedDir={folder},mountTag=tag"],
                 ["fs", "9p"])


def sockets_survive_a_driver_that_means_harm():
    with scratch() as folder:
        survives([f"virtio-vsock,port=1024,socketURL={folder}/socket"], ["vsock"])


def a_display_survives_a_driver_that_means_harm():
    survives(["virtio-gpu"], ["gpu"])


def a_sound_card_survives_a_driver_that_means_harm():
    survives(["virtio-sound,backend=silent"], ["sound"])


main(devices_of_the_io_thread_survive_a_driver_that_means_harm, a_disk_survives_a_driver_that_means_harm,
     a_console_survives_a_driver_that_means_harm, a_network_card_survives_a_driver_that_means_harm,
     a_shared_folder_survives_a_driver_that_means_harm, sockets_survive_a_driver_that_means_harm,
     a_display_survives_a_driver_that_means_harm, a_sound_card_survives_a_driver_that_means_harm)
