#!/usr/bin/env python3
"""NVMe disks, with Linux's own driver: queues, data, caches, deallocating, growing, errors, resets; with the wire
instead of messages; and with UEFI firmware's.

time-limit: 600
"""
import hashlib
import os
import re

from disks import MIB, content, disk, space, waits_for_room, zero_program
from guest import CPU, CTL, PEER, Failure, Process, Skip, boot_devices, check, equal, host, main, need, scratch

FIRMWARE = "/usr/share/OVMF/OVMF_CODE_4M.fd"

def host_sum(data):
    return hashlib.sha256(data).hexdigest()


def controllers(guest):
    """Waits until all disks are there: the driver brings them up one beside the other."""
    guest.run("until [ -e /sys/block/nvme0n1 ] && [ -e /sys/block/nvme1n1 ] && [ -e /sys/block/nvme2n1 ]; "
              "do sleep 0.1; done")
    found = guest.run("for i in 0 1 2; do cat /sys/class/nvme/nvme$i/serial; done").split()
    return {serial: f"nvme{number}n1" for number, serial in enumerate(found)}


def shows_what_it_is(guest, name):
    """What the driver found out, and that it found nothing to complain of."""
    queue = f"/sys/block/{name}/queue"
    controller = f"/sys/class/nvme/{name[:-2]}"
    equal(guest.run(f"cat {controller}/model").strip(), "Espalier NVMe", "model")
    equal(guest.run(f"ls /sys/block/{name}/mq | sort | tr '\\n' ' '").split(), ["0", "1"], "queues on two CPUs")
    equal(guest.run(f"cat {queue}/logical_block_size {queue}/minimum_io_size {queue}/max_hw_sectors_kb").split(),
          ["512", "4096", "1024"], "block sizes")
    equal(guest.run(f"cat {queue}/write_cache").strip(), "write back", "cache")
    check(re.fullmatch(r"eui\.525400[0-9a-f]{10}", guest.run(f"cat /sys/block/{name}/wwid").strip()), "identifier")
    check(int(guest.run(f"cat {queue}/discard_max_bytes")) > 0, "no discard")
    check(int(guest.run(f"cat {queue}/write_zeroes_max_bytes")) > 0, "no write zeroes")
    check(int(guest.run("grep -c nvme.q /proc/interrupts")) >= 3, "no messages of several queues")
    complaints = guest.run("dmesg | grep -i nvme | grep -iE 'fail|error|timeout|abort|duplicate|ignor|invalid' || true")
    equal(complaints, "", "complaints of the driver")


def moves_data(guest, name, path):
    """Both ways, through the page cache and beside it, in parallel."""
    guest.run("dd if=/dev/urandom of=/tmp/r bs=1M count=8")
    guest.run(f"dd if=/tmp/r of=/dev/{name} bs=1M conv=fsync")
    with open(path, "rb") as file:
        seen = file.read(8 * MIB)
    equal(guest.run("sha256sum < /tmp/r").split()[0], host_sum(seen), "what is on the host")
    guest.run("echo 3 > /proc/sys/vm/drop_caches")
    for size in ("512", "4096", "65536", "1M"):
        count = {"512": 2048, "4096": 1024, "65536": 128, "1M": 8}[size]
        length = {"512": 512, "4096": 4096, "65536": 65536, "1M": MIB}[size] * count
        equal(guest.run(f"dd if=/dev/{name} bs={size} count={count} iflag=direct 2> /dev/null | sha256sum").split()[0],
              host_sum(seen[:length]), f"read beside the page cache in pieces of {size}")
    guest.run("for i in 0 1 2 3; do dd if=/tmp/r of=/dev/%s bs=64k seek=$((128 * (i + 1))) oflag=direct & done; wait" %
              name, 200)
    for i in range(1, 5):
        equal(host_sum(content(path, 8 * i * MIB, 8 * MIB)), host_sum(seen), f"part {i} of four written at once")


def resets(guest, name, path):
    """The driver resets the controller under a reader and a writer; both go on."""
    controller = f"/sys/class/nvme/{name[:-2]}"
    guest.run(f"(while [ ! -e /tmp/stop ]; do dd if=/dev/{name} of=/dev/null bs=64k count=64 iflag=direct; done; "
              "echo $? > /tmp/read) 2> /dev/null & true")
    for _ in range(5):
        guest.run(f"echo 1 > {controller}/reset_controller")
        equal(guest.run(f"cat {controller}/state").strip(), "live", "state behind a reset")
    guest.run("touch /tmp/stop; until [ -e /tmp/read ]; do sleep 0.1; done")
    equal(guest.run("cat /tmp/read").strip(), "0", "status of the reader")
    guest.run(f"echo behind the reset | dd of=/dev/{name} bs=512 seek=7 conv=fsync,sync")
    equal(content(path, 7 * 512, 16), b"behind the reset", "what was written then")


def file_system(guest, name, path):
    """ext4 with discard: mounted, filled, checked on the host; removing gives the space back."""
    guest.run(f"modprobe ext4; mkdir -p /mnt; mount -t ext4 -o discard /dev/{name} /mnt")
    guest.run("dd if=/dev/urandom of=/mnt/big bs=1M count=12 && sync && sha256sum /mnt/big > /tmp/sum", 200)
    guest.run("umount /mnt && mount -t ext4 /dev/%s /mnt && sha256sum -c /tmp/sum" % name, 200)
    full = space(path)
    guest.run("rm /mnt/big && sync && fstrim /mnt && umount /mnt", 200)
    empty = space(path)
    check(empty <= full - 10 * MIB, f"{empty} bytes on the host after fstrim, {full} before")
    host("e2fsck", "-fn", path)


def zeroes_without_sending_them(guest, name, path):
    guest.run("dd if=/dev/vda of=/tmp/zero bs=4096 && chmod +x /tmp/zero")
    guest.run(f"/tmp/zero /dev/{name} 1048576 2097152")
    equal(set(content(path, MIB, 2 * MIB)), {0}, "bytes of the zeroed range")
    equal(set(content(path, 3 * MIB, MIB)), {0x5a}, "bytes behind it")


def grows(guest, name, socket, path):
    """The driver hears of a larger disk while it uses it."""
    host(CTL, "device", socket, "2", "resize", "24")
    guest.run(f"until [ $(cat /sys/block/{name}/size) = 49152 ]; do sleep 0.1; done")
    guest.run(f"echo at the end | dd of=/dev/{name} bs=512 seek=49151 conv=fsync,sync")
    equal(content(path, 24 * MIB - 512, 10), b"at the end", "what was written to the last sector")
    try:
        host(CTL, "device", socket, "2", "resize", "8")
        raise Failure("the disk was made smaller")
    except Failure as failure:
        check("cannot be made smaller" in str(failure), f"said: {failure}")


def errors_reach_guest_and_user(guest, name, path):
    """A file that is cut short under the machine, read-only."""
    equal(guest.run(f"cat /sys/block/{name}/ro").strip(), "1", "read-only")
    os.truncate(path, 4 * MIB)
    text = guest.run(f"dd if=/dev/{name} of=/dev/null bs=4096 skip=1500 count=1 2>&1 || true")
    check("error" in text.lower(), f"dd said: {text}")
    check(re.search("espalierctl: Reading from disk “[^”]*third.img” failed at byte 6144000", guest.seen),
          f"the user was not told:\n{guest.tail()}")
    guest.run(f"dd if=/dev/{name} of=/dev/null bs=4096 skip=100 count=1")


def disks_with_everything():
    if PEER:
        raise Skip("only for espalierctl")
    need("mke2fs", "e2fsck", "cc")
    with scratch() as folder:
        first, third = disk(folder, "first.img", 64), disk(folder, "third.img", 8)
        second = disk(folder, "second.img", 8, 0x5a)
        socket = os.path.join(folder, "control")
        devices = (f"nvme,path={first},deviceId=apple", f"nvme,path={second},deviceId=pear",
                   f"nvme,path={third},deviceId=plum,readonly", f"virtio-blk,path={zero_program(folder)},readonly")
        with boot_devices(devices=devices, cpus=2, extra=("--control", socket)) as guest:
            names = controllers(guest)
            shows_what_it_is(guest, names["apple"])
            moves_data(guest, names["apple"], first)
            resets(guest, names["apple"], first)
            zeroes_without_sending_them(guest, names["pear"], second)
            grows(guest, names["pear"], socket, second)
            errors_reach_guest_and_user(guest, names["plum"], third)
            host("mke2fs", "-q", "-F", "-t", "ext4", "-E", "nodiscard", first)
            guest.run("echo 3 > /proc/sys/vm/drop_caches")
            file_system(guest, names["apple"], first)
            guest.run("sync")


def without_messages():
    """The wire, which several queues share."""
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        path = disk(folder, "disk.img", 16)
        with boot_devices(devices=(f"nvme,path={path}",), cmdline="console=ttyS0 pci=nomsi") as guest:
            guest.run("until [ -e /sys/block/nvme0n1 ]; do sleep 0.1; done")
            check("MSI" not in guest.run("grep nvme /proc/interrupts"), "messages all the same")
            guest.run("dd if=/dev/urandom of=/tmp/r bs=1M count=8; dd if=/tmp/r of=/dev/nvme0n1 bs=64k oflag=direct")
            equal(guest.run("dd if=/dev/nvme0n1 bs=4096 count=2048 iflag=direct | cmp - /tmp/r && echo same").strip()
                  .splitlines()[-1], "same", "what was read")


def restarts():
    """A guest that starts again finds the disk as it was."""
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        path = disk(folder, "disk.img", 16)
        with boot_devices(devices=(f"nvme,path={path}",)) as guest:
            guest.run("until [ -e /sys/block/nvme0n1 ]; do sleep 0.1; done")
            guest.run("echo kept | dd of=/dev/nvme0n1 bs=512 conv=sync,fsync")
            guest.send("reboot -f\n")
            guest.expect(r"^espalier-serial: ready in [\d.]+ s$")
            guest.expect(r"^serial# ")
            guest.run("until [ -e /sys/block/nvme0n1 ]; do sleep 0.1; done")
            equal(guest.run("dd if=/dev/nvme0n1 bs=4 count=1 2> /dev/null").strip(), "kept", "the first bytes")


def firmware_reads_it():
    """OVMF's own driver, and its boot order: the second disk is tried first, then the shell runs a script from the
    first. Neither has a boot loader."""
    if PEER:
        raise Skip("only for espalierctl")
    need("mkfs.vfat", "mcopy")
    if not os.path.exists(FIRMWARE):
        raise Skip("ovmf is not installed")
    with scratch() as folder:
        first, second = disk(folder, "first.img", 40), disk(folder, "second.img", 40)
        script = os.path.join(folder, "startup.nsh")
        with open(script, "w", encoding="ascii") as file:
            file.write("echo from-the-first-disk\r\n")
        for path in (first, second):
            host("mkfs.vfat", "-F", "32", path)
        host("mcopy", "-i", first, script, "::")
        with Process([CTL, "run", "--cpu", CPU, "--memory", "256", "--bootloader",
                      f"efi,variable-store={folder}/variables,create", "--device", "uart,stdio",
                      "--device", f"nvme,path={first},deviceId=first",
                      "--device", f"nvme,path={second},deviceId=second,bootIndex=1"]) as guest:
            guest.expect('failed to load Boot0001 "UEFI Espalier NVMe second 1" from', 200)
            guest.expect('failed to load Boot0002 "UEFI Espalier NVMe first 1" from', 60)
            guest.expect("echo from-the-first-disk", 100)
            guest.expect("from-the-first-disk", 60)


def a_full_disk_of_the_host_pauses_the_machine():
    waits_for_room("nvme", "nvme0n1")


main(disks_with_everything, without_messages, restarts, firmware_reads_it, a_full_disk_of_the_host_pauses_the_machine)
