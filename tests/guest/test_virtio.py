#!/usr/bin/env python3
"""The demo guest with Linux's own virtio drivers: console, disk, entropy, input, and the framebuffer's console.

time-limit: 900
"""
from guest import (DEMO, PEER, Skip, boot, check, equal, host, main, need, scratch)

import hashlib
import os

READY = r"^espalier-demo: ready in [\d.]+ s$"


def demo(command=None, devices=(), cmdline="console=ttyS0", **options):
    """The demo guest with a serial port, running one command if there is one."""
    if command:
        cmdline += f" demo.run={command}"
    return boot(initrd=DEMO, cmdline=cmdline, devices=("uart,stdio", *devices), **options)


def finished(guest, seconds=100):
    """Waits for the end of demo.run; the command and the machine have to end well."""
    guest.expect(r"^espalier-demo: command ended with status 0$", seconds)
    equal(guest.wait(), 0, "exit status")


def disk(folder, megabytes=16):
    path = os.path.join(folder, "disk.img")
    with open(path, "wb") as file:
        file.truncate(megabytes << 20)
    return path


def hvc0_is_a_terminal():
    with boot(initrd=DEMO, cmdline="quiet", devices=("virtio-serial,stdio",)) as guest:
        guest.expect(READY)
        guest.expect(r"^demo:\S+# ")
        equal(guest.run("tty").strip(), "/dev/hvc0", "tty")
        # More than a ring holds at once, both ways.
        lines = guest.run("seq 1 3000").split()
        equal(lines, [str(n) for n in range(1, 3001)], "what 'seq 1 3000' printed")
        word = "0123456789abcdef" * 60
        equal(guest.run(f"echo {word} | wc -c").strip(), "961", "length of a long line that was typed")
        guest.send("poweroff\n")
        equal(guest.wait(), 0, "exit status after the guest's poweroff")


def what_the_guest_writes_is_on_the_host():
    need("e2fsck", "debugfs")
    with scratch() as folder:
        path = disk(folder)
        with demo("disk-demo", devices=(f"virtio-blk,path={path}",)) as guest:
            guest.expect(r"^disk-demo: made a file system$")
            guest.expect(r"^disk-demo: ok$")
            finished(guest)
        equal(os.path.getsize(path), 16 << 20, "size of the disk's file")
        host("e2fsck", "-fn", path)
        text = host("debugfs", "-R", "cat /hello.txt", path)
        equal(text.count("written by the demo guest"), 1, "lines in hello.txt")
        # A second boot finds the first one's file and adds to it.
        with demo("disk-demo", devices=(f"virtio-blk,path={path}",)) as guest:
            guest.expect(r"^disk-demo: ok$")
            finished(guest)
        check("made a file system" not in guest.seen, "the second boot made a new file system")
        host("e2fsck", "-fn", path)
        text = host("debugfs", "-R", "cat /hello.txt", path)
        equal(text.count("written by the demo guest"), 2, "lines in hello.txt after the second boot")


def large_transfers_keep_every_byte():
    with scratch() as folder:
        path = disk(folder, 32)
        # Random bytes go to the disk in large and in small pieces; the host sums what arrived.
        command = ("dd if=/dev/urandom of=/tmp/r bs=1M count=8; dd if=/tmp/r of=/dev/vda bs=1M; "
                   "dd if=/tmp/r of=/dev/vda bs=512 count=500 seek=20001 conv=fsync; sync; "
                   "echo whole $(sha256sum </tmp/r); echo part $(head -c 256000 /tmp/r | sha256sum)")
        with demo(command, devices=(f"virtio-blk,path={path}",)) as guest:
            whole = guest.expect(r"^whole (\w{64})").group(1)
            part = guest.expect(r"^part (\w{64})").group(1)
            finished(guest)
        with open(path, "rb") as file:
            equal(hashlib.sha256(file.read(8 << 20)).hexdigest(), whole, "sum of the first 8 MiB")
            file.seek(20001 * 512)
            equal(hashlib.sha256(file.read(256000)).hexdigest(), part, "sum of the part at sector 20001")


def read_only_disk_is_not_written():
    need("mke2fs", "debugfs")
    with scratch() as folder:
        path = disk(folder)
        host("mke2fs", "-q", path)
        before = open(path, "rb").read()
        command = "cat /sys/block/vda/ro; disk-demo && ! dd if=/dev/zero of=/dev/vda bs=512 count=1 conv=fsync"
        with demo(command, devices=(f"virtio-blk,path={path},readonly",)) as guest:
            guest.expect(r"^1$")
            guest.expect(r"^disk-demo: ok$")
            finished(guest)
        check(open(path, "rb").read() == before, "the file of a read-only disk changed")


def device_id_and_second_disk():
    with scratch() as folder:
        first, second = disk(folder, 8), os.path.join(folder, "second.img")
        with open(second, "wb") as file:
            file.truncate(24 << 20)
        devices = (f"virtio-blk,path={first},deviceId=apple-tree", f"virtio-blk,path={second}")
        with demo("cat /sys/block/vda/serial /sys/block/vda/size /sys/block/vdb/size", devices=devices) as guest:
            guest.expect(r"^apple-tree\n?16384$")
            guest.expect(r"^49152$")
            finished(guest)


def a_disk_in_use_is_refused():
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        path = disk(folder)
        with demo(devices=(f"virtio-blk,path={path}",)) as first:
            first.expect(READY)
            with demo(devices=(f"virtio-blk,path={path}",)) as second:
                equal(second.wait(10), 2, "exit status of the second machine")
                check(path in second.seen, f"the message does not name the disk:\n{second.seen}")
            equal(first.child.poll(), None, "exit status of the first machine, which goes on")


def entropy_device_gives_bytes():
    command = "cat /sys/class/misc/hw_random/rng_current; dd if=/dev/hwrng bs=512 count=4 2>/dev/null | sha256sum; " \
              "dd if=/dev/hwrng bs=512 count=4 2>/dev/null | sha256sum"
    with demo(command, devices=("virtio-rng",)) as guest:
        guest.expect(r"^virtio_rng")
        first = guest.expect(r"^(\w{64})  -$").group(1)
        second = guest.expect(r"^(\w{64})  -$").group(1)
        check(first != second, "the same bytes twice")
        check(not first.startswith("e5a00aa9991ac8a5ee3109844d84a555"), "all bytes are zero")
        finished(guest)


def input_devices_are_found():
    devices = ("virtio-input,keyboard", "virtio-input,pointing")
    with demo("for d in /sys/class/input/event*; do echo $d $(cat $d/device/name $d/device/capabilities/abs); done",
              devices=devices) as guest:
        guest.expect(r"^/sys/class/input/event\d+ .*[Kk]eyboard 0$")
        guest.expect(r"^/sys/class/input/event\d+ .* 3$")
        finished(guest)


def all_devices_together_on_two_cpus():
    with scratch() as folder:
        hvc = os.path.join(folder, "hvc.log")
        devices = (f"virtio-serial,logFilePath={hvc}", f"virtio-blk,path={disk(folder)}", "virtio-rng",
                   "virtio-input,keyboard", "virtio-input,pointing")
        command = "nproc; disk-demo; grep -c virtio /proc/interrupts"
        with demo(command, devices=devices, cpus=2) as guest:
            guest.expect(r"^2$")
            guest.expect(r"^disk-demo: ok$")
            check(int(guest.expect(r"^(\d+)$").group(1)) >= 5, f"virtio interrupts:\n{guest.tail()}")
            finished(guest)
        with open(hvc, encoding="utf-8") as file:
            text = file.read()
        check("espalier-demo: command ended with status 0" in text, f"hvc0's log ends with:\n{text[-500:]}")


main(hvc0_is_a_terminal, what_the_guest_writes_is_on_the_host, large_transfers_keep_every_byte,
     read_only_disk_is_not_written, device_id_and_second_disk, a_disk_in_use_is_refused, entropy_device_gives_bytes,
     input_devices_are_found, all_devices_together_on_two_cpus)
