#!/usr/bin/env python3
"""qcow2 disks under Linux: a file system on layers, a snapshot while it is written to, two disks at one moment,
a machine that is killed.

time-limit: 600
"""
import os
import signal

from guest import CTL, PEER, Failure, Skip, boot_devices, check, equal, host, main, need, scratch


def image(folder, name, size="256M"):
    """An ext4 file system in a compressed qcow2 image, and an empty layer of ours over it."""
    raw, base, path = (os.path.join(folder, name + end) for end in (".raw", ".base", ".qcow2"))
    host("truncate", "-s", size, raw)
    host("mke2fs", "-q", "-t", "ext4", raw)
    host("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw, base)
    host(CTL, "disk", "create", path, "--backing", base, "--backing-format", "qcow2")
    os.unlink(raw)
    return path


def sound(folder, path):
    """qemu-img finds nothing wrong, nor does e2fsck in what the guest sees. The bytes, as a raw image."""
    raw = os.path.join(folder, "seen.raw")
    host("sh", "-c", f"qemu-img check -f qcow2 '{path}' || [ $? = 3 ]")
    host("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw)
    host("sh", "-c", f"e2fsck -fy '{raw}' || [ $? = 1 ]")  # 1: the journal was replayed
    return raw


def shown(raw, name):
    return host("sh", "-c", f"debugfs -R 'cat {name}' '{raw}' 2> /dev/null")


def a_file_system_on_layers():
    if PEER:
        raise Skip("only for espalierctl")
    need("qemu-img", "mke2fs", "e2fsck", "debugfs")
    with scratch() as folder:
        path, crash = image(folder, "disk"), image(folder, "crash")
        socket = os.path.join(folder, "control")
        devices = [f"virtio-blk,path={p},format=qcow2,backing" for p in (path, crash)]
        with boot_devices(devices=devices, cpus=2, extra=("--control", socket)) as guest:
            guest.run("modprobe ext4; mkdir -p /a /b; mount -t ext4 -o discard /dev/vda /a; mount -t ext4 /dev/vdb /b")
            guest.run("echo before > /a/file; dd if=/dev/urandom of=/a/big bs=1M count=24; sync", 200)
            guest.run("(while :; do dd if=/dev/zero of=/a/busy bs=64k count=40; sync; done) > /dev/null 2>&1 & true")
            host(CTL, "device", socket, "1", "snapshot", "while running")
            guest.run("echo after > /a/file; rm /a/big; sync; fstrim /a", 200)
            try:
                host(CTL, "disk", "snapshot", path, "from outside")
                raise Failure("a disk in use was taken a snapshot of")
            except Failure as failure:
                check("in use" in str(failure), f"said: {failure}")
            guest.run("echo synced > /b/file; sync; dd if=/dev/urandom of=/b/lost bs=64k count=200", 200)
            guest.signal(signal.SIGKILL)
            guest.wait()
        equal(shown(sound(folder, crash), "/file"), "synced\n", "what was synced before the kill")
        equal(shown(sound(folder, path), "/file"), "after\n", "what the disk has")
        check("while running" in host(CTL, "disk", "snapshots", path), "the snapshot is not listed")
        host(CTL, "disk", "clone", path, os.path.join(folder, "clone.qcow2"), "--snapshot", "while running")
        equal(shown(sound(folder, os.path.join(folder, "clone.qcow2")), "/file"), "before\n", "what the snapshot kept")
        os.unlink(os.path.join(folder, "clone.qcow2"))
        host(CTL, "disk", "delete-snapshot", path, "while running")
        equal(shown(sound(folder, path), "/file"), "after\n", "what the disk has without the snapshot")


def a_machine_at_one_moment():
    """Two disks that are written to in turn: whenever the snapshot is taken, the first is as far as the second or one
    step ahead."""
    if PEER:
        raise Skip("only for espalierctl")
    need("qemu-img", "mke2fs")
    with scratch() as folder:
        paths = [os.path.join(folder, name) for name in ("first.qcow2", "second.qcow2")]
        for path in paths:
            host(CTL, "disk", "create", path, "16M")
        socket = os.path.join(folder, "control")
        devices = [f"virtio-blk,path={path},format=qcow2" for path in paths]
        with boot_devices(devices=devices, cpus=2, extra=("--control", socket)) as guest:
            guest.run("(i=1; while :; do for d in vda vdb; do printf '%-512d' $i | dd of=/dev/$d bs=512 oflag=direct; done;"
                      " i=$((i+1)); done) > /dev/null 2>&1 & sleep 2")
            for name in ("one", "two", "three"):
                host(CTL, "snapshot", socket, name)
                guest.run("sleep 1")
            try:
                host(CTL, "snapshot", socket, "two")
                raise Failure("a name was taken twice")
            except Failure as failure:
                check("already has a snapshot" in str(failure), f"said: {failure}")
        steps = []
        for number, name in enumerate(("one", "two", "three"), 1):
            at = [counter(path.replace(".qcow2", f".snapshot-{number}.qcow2")) for path in paths]
            check(at[0] - at[1] in (0, 1), f"{name}: the disks are at {at[0]} and {at[1]}")
            steps.append(at[0])
        check(0 < steps[0] < steps[1] < steps[2], f"the snapshots are at {steps}")


def counter(path):
    """What the first sector says."""
    raw = path + ".raw"
    host("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw)
    with open(raw, "rb") as file:
        return int(file.read(512))


main(a_file_system_on_layers, a_machine_at_one_moment)
