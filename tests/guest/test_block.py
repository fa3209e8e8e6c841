#!/usr/bin/env python3
"""Disks, with Linux's own driver: queues, discard, zeroes, resizing, errors, and a host's disk that is full.

time-limit: 600
"""
import os
import re

from disks import MIB, content, disk, space, waits_for_room, zero_program
from guest import CTL, PEER, Failure, Skip, boot_devices, check, equal, host, main, need, scratch

def shows_what_it_is(guest):
    """Queues, limits, cache and topology as the driver found them."""
    queue = "/sys/block/vda/queue"
    equal(guest.run("ls /sys/block/vda/mq | sort | tr '\\n' ' '").split(), ["0", "1"], "queues of vda on two CPUs")
    equal(guest.run("ls /sys/block/vdb/mq").split(), ["0"], "queues of vdb")
    equal(guest.run("cat /sys/block/vda/serial").strip(), "apple-tree", "serial")
    equal(guest.run(f"cat {queue}/physical_block_size {queue}/logical_block_size {queue}/minimum_io_size").split(),
          ["4096", "512", "4096"], "block sizes")
    equal(guest.run(f"cat {queue}/discard_max_bytes {queue}/write_zeroes_max_bytes {queue}/discard_granularity").split(),
          [str(1 << 30), str(1 << 30), "4096"], "limits of discard and write zeroes")
    equal(guest.run(f"cat {queue}/write_cache /sys/block/vdb/queue/write_cache").split("\n")[:2],
          ["write back", "write through"], "caches")
    equal(guest.run("cat /sys/block/vda/ro /sys/block/vdc/ro").split(), ["0", "1"], "read-only")
    equal(guest.run("cat /sys/block/vdc/queue/discard_max_bytes").strip(), "0", "discard of a read-only disk")


def gives_space_back(guest, path):
    """fstrim in the guest makes holes in the host's file."""
    guest.run("modprobe ext4; mkdir -p /mnt; mount -t ext4 -o discard /dev/vda /mnt")
    guest.run("dd if=/dev/urandom of=/mnt/big bs=1M count=12 && sync", 200)
    full = space(path)
    check(full >= 12 * MIB, f"{full} bytes on the host after 12 MiB were written")
    guest.run("rm /mnt/big && sync && fstrim /mnt && umount /mnt", 200)
    empty = space(path)
    check(empty <= full - 10 * MIB, f"{empty} bytes on the host after fstrim, {full} before")
    host("e2fsck", "-fn", path)


def zeroes_without_sending_them(guest, path):
    """A zeroed range arrives as zeroes, and nothing beside it."""
    guest.run("dd if=/dev/vdd of=/tmp/zero bs=4096 && chmod +x /tmp/zero")
    guest.run("/tmp/zero /dev/vdb 1048576 2097152")
    equal(set(content(path, MIB, 2 * MIB)), {0}, "bytes of the zeroed range")
    equal(set(content(path, 0, MIB)), {0x5a}, "bytes before it")
    equal(set(content(path, 3 * MIB, MIB)), {0x5a}, "bytes behind it")


def grows(guest, socket, path):
    """The driver hears of a larger disk while it uses it."""
    equal(guest.run("cat /sys/block/vdb/size").strip(), str(8 * MIB // 512), "sectors before")
    host(CTL, "device", socket, "2", "resize", "24")
    guest.run("until [ $(cat /sys/block/vdb/size) = 49152 ]; do sleep 0.1; done")
    equal(os.path.getsize(path), 24 * MIB, "size of the file")
    guest.run("echo at the end | dd of=/dev/vdb bs=512 seek=49151 conv=fsync,sync")
    equal(content(path, 24 * MIB - 512, 10), b"at the end", "what was written to the last sector")
    try:
        host(CTL, "device", socket, "2", "resize", "8")
        raise Failure("the disk was made smaller")
    except Failure as failure:
        check("cannot be made smaller" in str(failure), f"said: {failure}")


def errors_reach_guest_and_user(guest, path):
    """A file that is cut short under the machine."""
    os.truncate(path, 4 * MIB)
    text = guest.run("dd if=/dev/vdc of=/dev/null bs=4096 skip=1500 count=1 2>&1 || true")
    check("I/O error" in text or "Input/output" in text, f"dd said: {text}")
    told = re.search("espalierctl: Reading from disk “[^”]*third.img” failed at byte 6144000: Input/output error",
                     guest.seen)
    check(told, f"the user was not told:\n{guest.tail()}")
    guest.run("dd if=/dev/vdc of=/dev/null bs=4096 skip=100 count=1")


def a_disk_with_everything():
    if PEER:
        raise Skip("only for espalierctl")
    need("mke2fs", "e2fsck", "cc")
    with scratch() as folder:
        first, third = disk(folder, "first.img", 64), disk(folder, "third.img", 8)
        second = disk(folder, "second.img", 8, 0x5a)
        host("mke2fs", "-q", "-t", "ext4", "-E", "nodiscard", first)
        socket = os.path.join(folder, "control")
        devices = (f"virtio-blk,path={first},deviceId=apple-tree",
                   f"virtio-blk,path={second},queues=1,cache=writethrough", f"virtio-blk,path={third},readonly", f"virtio-blk,path={zero_program(folder)},readonly")
        with boot_devices(devices=devices, cpus=2, extra=("--control", socket)) as guest:
            shows_what_it_is(guest)
            zeroes_without_sending_them(guest, second)
            grows(guest, socket, second)
            gives_space_back(guest, first)
            errors_reach_guest_and_user(guest, third)
            guest.run("sync")


def a_full_disk_of_the_host_pauses_the_machine():
    waits_for_room("virtio-blk", "vda")


def a_full_disk_below_a_stick_does_so_too():
    waits_for_room("usb-mass-storage", "sda")


main(a_disk_with_everything, a_full_disk_of_the_host_pauses_the_machine, a_full_disk_below_a_stick_does_so_too)
