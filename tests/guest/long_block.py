#!/usr/bin/env python3
"""Disks whose machine is killed again and again while fio writes: everything that was synced has to be there afterwards, the
journals replay, and qemu-img finds nothing wrong. Raw and qcow2, with and without a file system, on a layer and with a
snapshot from the middle of it.

Each disk has regions, which fio fills one after the other, round and round: in every other round with blocks that have a
crc32c, in the others with a pattern of where they belong and when it was; what is left of the round before is none of what is
looked for. The guest says which region was synced; the one that was under way at the kill may hold anything.

time-limit: 5400
"""
from guest import CTL, PATIENCE, PEER, TOOLS, Skip, boot_devices, check, equal, host, main, need, scratch

import os
import random
import re
import signal
import time

MIB = 1 << 20
REGIONS = 8
KILLS = 3
REGION_MIB = 2
# What fio does with a region, on the guest and on the host.
FIO = f"--name=region --bs=4k --size={REGION_MIB}m --ioengine=psync --verify_fatal=1 --fallocate=none"
WRITER = f"""cat > /tmp/writer <<'END'
# writer NAME FILE FIRST: regions from the number FIRST on; a FILE that is a folder has a file for each
n=$3
while true; do
    region=$((n % {REGIONS}))
    if [ -d "/tools$2" ]; then place="--filename=$2/region-$region"; else place="--filename=$2 --offset=$((region * {REGION_MIB}))m"; fi
    case $((n % 2)) in 0) how=write ;; *) how=randwrite ;; esac
    case $((n / {REGIONS} % 2)) in 0) check=--verify=crc32c ;; *) check="--verify=pattern --verify_pattern=0x$(printf %08x $((n + 0x10203040)))%o" ;; esac
    tools fio {FIO} --do_verify=0 --end_fsync=1 --fsync=100 --rw=$how --randseed=$n $check $place > /tmp/fio-$1 2>&1 ||
        {{ echo "broken $1 $n: $(tail -n 3 /tmp/fio-$1 | tr '\\n' ' ')" > /dev/ttyS0; exit; }}
    echo "durable $1 $n" > /dev/ttyS0
    n=$((n + 1))
done
END
cat > /tmp/churn <<'END'
# churn FOLDER: names that come and go, none of them synced
n=0
while true; do
    n=$((n + 1))
    mkdir -p $1/churn-$((n % 7)) && echo $n > $1/churn-$((n % 7))/$((n % 31)) && mv $1/churn-$((n % 7))/$((n % 31)) $1/moved-$((n % 17))
    rm -rf $1/churn-$(((n + 3) % 7))
    usleep 20000
done
END
chmod +x /tmp/writer /tmp/churn
"""


class Disk:
    """One disk: its image, where its regions are in the guest, and which of them are synced: {region: number}."""

    def __init__(self, name, path, words, folder=False):
        self.name, self.path, self.words, self.folder = name, path, words, folder
        self.durable, self.next = {}, 0
        self.where = None

    def synced(self, number):
        self.durable[number % REGIONS] = number
        # The one that comes next is being written over from now on.
        self.durable.pop((number + 1) % REGIONS, None)
        self.next = number + 1

    def verify_words(self, number, where, folder):
        region = number % REGIONS
        place = f"--filename={where}/region-{region}" if folder else f"--filename={where} --offset={region * REGION_MIB}m"
        how = "randwrite" if number % 2 else "write"
        look = f"--verify=pattern --verify_pattern=0x{number + 0x10203040:08x}%o" if number // REGIONS % 2 else "--verify=crc32c"
        return f"{FIO} --verify_only=1 --do_verify=1 --rw={how} --randseed={number} {look} {place}"


def make_disks(folder):
    def path(name):
        return os.path.join(folder, name)
    for name in ("raw.img", "rawfs.img"):
        with open(path(name), "wb") as file:
            file.truncate(96 * MIB)
    host("mke2fs", "-q", "-t", "ext4", path("rawfs.img"))
    host("qemu-img", "create", "-q", "-f", "qcow2", path("qcow2fs.qcow2"), "96M")
    # A layer over one that is full, so that each first write has to bring its surroundings along.
    with open(path("base.img"), "wb") as file:
        file.write(random.Random(1).randbytes(32 * MIB))
    host("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", path("base.img"), path("base.qcow2"))
    host("qemu-img", "create", "-q", "-f", "qcow2", "-b", path("base.qcow2"), "-F", "qcow2", path("layer.qcow2"))
    return [Disk("raw", path("raw.img"), "format=raw,queues=2"), Disk("rawfs", path("rawfs.img"), "format=raw", True),
            Disk("layer", path("layer.qcow2"), "format=qcow2,backing,queues=2"),
            Disk("qcow2fs", path("qcow2fs.qcow2"), "format=qcow2", True)]


def boot(disks, control):
    devices = [f"virtio-blk,path={disk.path},{disk.words},deviceId={disk.name}" for disk in disks]
    return boot_devices(devices=[f"virtio-blk,path={TOOLS},deviceId=tools,readonly", *devices], cpus=2, memory=768,
                        extra=("--control", control))


def mount(guest, disks, first):
    """Finds the disks by their ids and mounts what has a file system."""
    guest.run("modprobe ext4")
    for disk in disks:
        node = guest.run(f"for d in /sys/block/vd*; do [ \"$(cat $d/serial)\" = {disk.name} ] && echo ${{d##*/}}; done; true").strip()
        check(node, f"the guest has no disk {disk.name}")
        disk.where = f"/dev/{node}"
        if disk.folder:
            if first and disk.name == "qcow2fs":
                guest.run(f"tools mkfs.ext4 -q /dev/{node}", 120)
            guest.run(f"mkdir -p /tools/mnt/{disk.name}; mount -t ext4 /dev/{node} /tools/mnt/{disk.name}", 120)
            disk.where = f"/mnt/{disk.name}"
    if not first:
        text = guest.run("dmesg | grep -c 'recovery complete'; dmesg | grep 'EXT4-fs error' || true")
        equal(text.split(), [str(sum(disk.folder for disk in disks))], "journals that were replayed, and errors")


def verify(guest, disks):
    """All that was synced, by the guest's own fio."""
    count = 0
    for disk in disks:
        for number in sorted(disk.durable.values()):
            text = guest.run(f"tools fio {disk.verify_words(number, disk.where, disk.folder)} > /tmp/v 2>&1; r=$?; "
                             "[ $r = 0 ] || cat /tmp/v; true", 300)
            check(not text.strip(), f"region {number % REGIONS} of {disk.name}, number {number}, is not what was synced:\n{text}")
            count += 1
    return count


def verify_on_the_host(image, disk, durable):
    """The same by the host's fio, on a raw copy."""
    for number in durable.values():
        host("sh", "-c", f"cd {os.path.dirname(image)} && fio {disk.verify_words(number, image, False)}")


def write_until_killed(guest, disks, control, rng, snapshot):
    """Returns what was synced before the snapshot."""
    by_name = {disk.name: disk for disk in disks}
    before = None
    guest.run(WRITER.strip())
    for disk in disks:
        guest.run(f"/tmp/writer {disk.name} {disk.where} {disk.next} > /dev/null 2>&1 & true")
        if disk.folder:
            guest.run(f"/tmp/churn /tools{disk.where} > /dev/null 2>&1 & true")
        disk.durable.pop(disk.next % REGIONS, None)
    left = rng.randrange(18, 30)
    end = time.monotonic() + 600 * PATIENCE
    while left or any(disk.next == 0 for disk in disks):
        check(time.monotonic() < end, "the guest synced too few regions")
        found = guest.expect(r"^(durable (\S+) (\d+)|broken .*)$", 300)
        check(found.group(2), f"in the guest: {found.group(1)}")
        by_name[found.group(2)].synced(int(found.group(3)))
        left = max(left - 1, 0)
        if left == 9 and snapshot:
            before = dict(by_name["layer"].durable)
            number = str(1 + 1 + disks.index(by_name["layer"]))
            host(CTL, "device", control, number, "snapshot", "middle")
    time.sleep(rng.random())
    guest.signal(signal.SIGKILL)
    equal(guest.wait(), -signal.SIGKILL, "end of the machine")
    # What it said at last counts as well.
    for name, number in re.findall(r"^durable (\S+) (\d+)$", guest.seen[guest.mark:], re.M):
        by_name[name].synced(int(number))
    return before


def images_are_sound(disks):
    """qemu-img has nothing to say but that clusters are not used."""
    for disk in disks:
        if disk.path.endswith(".qcow2"):
            host("sh", "-c", f"qemu-img check -f qcow2 '{disk.path}' || [ $? = 3 ]")


def killed_again_and_again():
    if PEER:
        raise Skip("only for espalierctl")
    if not os.path.exists(TOOLS):
        raise Skip(f"{TOOLS} is not built (make {TOOLS})")
    need("fio", "qemu-img", "mke2fs", "e2fsck")
    seed = int(os.environ.get("ESPALIER_SEED", time.time()))
    print(f"  seed {seed} (ESPALIER_SEED)")
    rng = random.Random(seed)
    has_snapshots = "snapshot" in host(CTL, "disk", "--help")
    with scratch() as folder:
        disks, control = make_disks(folder), os.path.join(folder, "control")
        before = None
        for turn in range(KILLS):
            with boot(disks, control) as guest:
                mount(guest, disks, turn == 0)
                count = verify(guest, disks)
                seen = write_until_killed(guest, disks, control, rng, has_snapshots and turn == 1)
                before = seen or before
                print(f"  kill {turn + 1}: {count} regions verified, then {', '.join(f'{d.name} to {d.next}' for d in disks)}")
            images_are_sound(disks)
        with boot(disks, control) as guest:
            mount(guest, disks, False)
            print(f"  at last: {verify(guest, disks)} regions verified")
            guest.run("umount /tools/mnt/rawfs /tools/mnt/qcow2fs; sync")
            guest.send("poweroff -f\n")
            equal(guest.wait(60), 0, "exit status")
        the_host_agrees(folder, disks, before)


def the_host_agrees(folder, disks, before):
    """The images without us: qemu-img makes them raw; fio, e2fsck look."""
    images_are_sound(disks)
    for disk in disks:
        image = disk.path
        if image.endswith(".qcow2"):
            image = os.path.join(folder, disk.name + ".flat")
            host("qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk.path, image)
        if disk.folder:
            host("e2fsck", "-fn", image)
        else:
            verify_on_the_host(image, disk, disk.durable)
    if before:
        clone, flat = os.path.join(folder, "clone.qcow2"), os.path.join(folder, "clone.flat")
        layer = next(disk for disk in disks if disk.name == "layer")
        host(CTL, "disk", "clone", layer.path, clone, "--snapshot", "middle")
        host("qemu-img", "convert", "-f", "qcow2", "-O", "raw", clone, flat)
        verify_on_the_host(flat, layer, before)
        print(f"  the snapshot from the middle: {len(before)} regions verified")


main(killed_again_and_again)
