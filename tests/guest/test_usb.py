#!/usr/bin/env python3
"""USB with Linux's own drivers: xHCI, hub, keyboard, tablet, stick and CD-ROM, with messages and with a wire.

time-limit: 900
"""
from guest import CTL, PEER, Skip, boot_devices, check, equal, host, main, need, scratch, until

import hashlib
import os
import struct

KEYS = {"a": 30, "leftshift": 42, "102nd": 86}


def image(folder, name, megabytes):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.truncate(megabytes << 20)
    return path


def disk_of(guest, serial, present=True):
    """The name of the disk whose USB device has this serial number, once it is there; or waits until it is not."""
    # What comes up after the guest has looked for drivers gets its driver now.
    script = (f"coldplug; for d in /sys/block/s*; do p=$(readlink -f $d); while [ -n \"$p\" ]; do "
              f"[ \"$(cat $p/serial 2>/dev/null)\" = {serial} ] && echo ${{d##*/}} && break; p=${{p%/*}}; done; done; true")
    if present:
        return until(f"the disk {serial}", lambda: guest.run(script).strip())
    return until(f"the end of the disk {serial}", lambda: not guest.run(script).strip())


def event_node(guest, name, port):
    """The event device of what is plugged into a port, once it is there; in which order they come is the kernel's matter."""
    script = (f"coldplug; for e in /sys/class/input/event*; do [ \"$(cat $e/device/name)\" = '{name}' ] && "
              f"readlink -f $e | grep -q '/{port}/' && echo ${{e##*/}}; done; true")
    return until(f"the event device of {name}", lambda: guest.run(script).strip())


def listen(guest, node):
    """Begins to write down events of a device: what comes before it is opened is lost."""
    guest.run(f"cat /dev/input/{node} > /tmp/{node} & "
              f"until ls -l /proc/$!/fd | grep -q input/{node}; do sleep 0.1; done; sleep 1")


def events(guest, node):
    """(type, code, value) of what has been written down, without SYN and MSC."""
    data = bytes.fromhex("".join(guest.run(f"xxd -p /tmp/{node}").split()))
    found = [struct.unpack_from("<HHi", data, at + 16) for at in range(0, len(data) // 24 * 24, 24)]
    return [event for event in found if event[0] not in (0, 4)]


def usb_view(guest):
    text = guest.run("for d in /sys/bus/usb/devices/*; do [ -e $d/product ] && echo \"${d##*/} $(cat $d/speed) $(cat $d/product)\"; done; true")
    return [line.split(" ", 2) for line in text.splitlines()]


def act(socket, *words):
    return host(CTL, "device", socket, *words)


def keyboard_and_tablet(guest, socket, view):
    """Devices 1 and 2 of the machine; the latter's sisters are 3 and 4."""
    # What is behind the fourth port is a hub, and the last tablet on it.
    check(["1-4", "480", "Hub"] in view, f"no hub on port 4: {view}")
    check(["1-4.1", "480", "Tablet"] in view, f"no tablet behind the hub: {view}")
    keyboard, tablet = event_node(guest, "Espalier Keyboard", "1-1"), event_node(guest, "Espalier Tablet", "1-2")
    listen(guest, keyboard)
    listen(guest, tablet)
    act(socket, "1", "key", str(KEYS["leftshift"]), "down")
    act(socket, "1", "key", str(KEYS["a"]))
    act(socket, "1", "key", str(KEYS["leftshift"]), "up")
    act(socket, "1", "key", str(KEYS["102nd"]))
    wanted = [(1, 42, 1), (1, 30, 1), (1, 30, 0), (1, 42, 0), (1, 86, 1), (1, 86, 0)]
    until("keys in the guest", lambda: len(events(guest, keyboard)) >= len(wanted))
    equal(events(guest, keyboard), wanted, "key events")

    act(socket, "2", "move", "12345", "321")
    act(socket, "2", "click", "272")
    act(socket, "2", "wheel", "-3", "2")
    wanted = [(3, 0, 12345), (3, 1, 321), (1, 272, 1), (1, 272, 0), (2, 8, -3), (2, 11, -360), (2, 6, 2), (2, 12, 240)]
    until("pointer events in the guest", lambda: len(events(guest, tablet)) >= len(wanted))
    equal(sorted(events(guest, tablet)), sorted(wanted), "pointer events")

    # Lights come back.
    check("caps off" in act(socket, "1", "leds"), "caps lock's light is on")
    zeros = "\\000" * 16  # the time, of which the kernel takes no note; then EV_LED, LED_CAPSL, on
    guest.run(f"printf '{zeros}\\021\\000\\001\\000\\001\\000\\000\\000' > /dev/input/{keyboard}")
    until("caps lock's light", lambda: "caps on" in act(socket, "1", "leds"))

    # Asleep when nothing happens, and awake again.
    guest.run("kill $(pidof cat)")
    port = "/sys/bus/usb/devices/1-2/power"
    guest.run(f"echo 0 > {port}/autosuspend_delay_ms; echo auto > {port}/control")
    until("the tablet asleep", lambda: guest.run(f"cat {port}/runtime_status").strip() == "suspended")
    guest.run(f"echo on > {port}/control")
    equal(guest.run(f"cat {port}/runtime_status").strip(), "active", "state of the tablet")
    listen(guest, tablet)
    act(socket, "2", "move", "777", "888")
    until("a move after sleep", lambda: (3, 0, 777) in events(guest, tablet))


def stick(guest):
    """Written, read and mounted; larger than any buffer on the way."""
    disk = disk_of(guest, "STICK0000001")
    equal(guest.run(f"cat /sys/block/{disk}/size /sys/block/{disk}/removable").split(), ["65536", "1"], "size, removable")
    guest.run(f"dd if=/dev/urandom of=/tmp/r bs=1M count=6 2>/dev/null; dd if=/tmp/r of=/dev/{disk} bs=1M seek=2 conv=fsync 2>/dev/null", 120)
    guest.run("echo 3 > /proc/sys/vm/drop_caches")
    sums = guest.run(f"sha256sum < /tmp/r; dd if=/dev/{disk} bs=1M skip=2 count=6 2>/dev/null | sha256sum", 120).split()
    equal(sums[0], sums[2], "sum of what came back")
    guest.run(f"mke2fs -F /dev/{disk} >/dev/null 2>&1; modprobe -q ext4; mkdir -p /mnt/s; mount -t ext2 /dev/{disk} /mnt/s 2>/dev/null || mount -t ext4 /dev/{disk} /mnt/s", 120)
    guest.run("cp /tmp/r /mnt/s/r; echo from the guest > /mnt/s/hello; umount /mnt/s", 120)
    return sums[0]


def cdrom(guest):
    disk = disk_of(guest, "CDROM0000001")
    check(disk.startswith("sr"), f"the CD-ROM is {disk}")
    guest.run(f"modprobe -q isofs; mkdir -p /mnt/c; mount -t iso9660 -o ro /dev/{disk} /mnt/c", 120)
    equal(guest.run("cat /mnt/c/hello.txt").strip(), "from the disc", "the file on the disc")
    number = guest.run("sha256sum < /mnt/c/large.bin", 120).split()[0]
    guest.run("umount /mnt/c")
    return number


def plugging(guest, socket, path):
    """A stick comes, is pulled out while it is mounted, and comes again."""
    word = f"usb-mass-storage,path={path},deviceId=PLUGGED00001"
    number = host(CTL, "attach", socket, word).strip()
    check("PLUGGED00001" in host(CTL, "devices", socket), "the stick is not in the list of devices")
    disk = disk_of(guest, "PLUGGED00001")
    guest.run(f"mkdosfs /dev/{disk} >/dev/null; modprobe -q nls_cp437; modprobe -q nls_ascii; modprobe -q vfat; mkdir -p /mnt/p; mount -t vfat /dev/{disk} /mnt/p", 120)
    guest.run("echo kept > /mnt/p/kept.txt; sync; (while true; do dd if=/dev/zero of=/mnt/p/busy bs=4k count=64 conv=fsync 2>/dev/null || break; done) & sleep 1", 120)
    host(CTL, "detach", socket, number)
    disk_of(guest, "PLUGGED00001", present=False)
    check("PLUGGED00001" not in host(CTL, "devices", socket), "the stick is still in the list of devices")
    guest.run("umount -l /mnt/p; true")
    # Nobody holds the image any more, so it can be given again.
    host(CTL, "attach", socket, word)
    disk = disk_of(guest, "PLUGGED00001")
    guest.run(f"mount -t vfat -o ro /dev/{disk} /mnt/p", 120)
    equal(guest.run("cat /mnt/p/kept.txt").strip(), "kept", "the file that was synced before")
    guest.run("umount /mnt/p")


def all_of_it_with_messages():
    need("genisoimage", "debugfs", "e2fsck")
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        socket, path = os.path.join(folder, "control"), image(folder, "stick.img", 32)
        tree, disc = os.path.join(folder, "tree"), os.path.join(folder, "disc.iso")
        os.mkdir(tree)
        with open(os.path.join(tree, "hello.txt"), "w", encoding="utf-8") as file:
            file.write("from the disc\n")
        large = os.urandom(3 << 20)
        with open(os.path.join(tree, "large.bin"), "wb") as file:
            file.write(large)
        host("genisoimage", "-quiet", "-R", "-o", disc, tree)
        devices = ("usb-keyboard,layout=iso", "usb-tablet", "usb-tablet", "usb-tablet",
                   f"usb-mass-storage,path={path},deviceId=STICK0000001",
                   f"usb-mass-storage,path={disc},cdrom,deviceId=CDROM0000001")
        with boot_devices(devices=devices, extra=("--control", socket), cpus=2) as guest:
            disk_of(guest, "STICK0000001")
            view = usb_view(guest)
            check(["1-1", "480", "Keyboard"] in view, f"no keyboard on port 1: {view}")
            check(["2-1", "5000", "Stick"] in view, f"no stick at SuperSpeed: {view}")
            check(["2-2", "5000", "CD-ROM"] in view, f"no CD-ROM at SuperSpeed: {view}")
            check("MSI" in guest.run("grep xhci /proc/interrupts"), "no messages")
            keyboard_and_tablet(guest, socket, view)
            whole = stick(guest)
            equal(cdrom(guest), hashlib.sha256(large).hexdigest(), "sum of the large file on the disc")
            plugging(guest, socket, image(folder, "plugged.img", 16))
            guest.run("dmesg | grep -i 'xhci.*\\(error\\|warn\\|died\\|timeout\\)' && exit 1; true")
            guest.send("poweroff -f\n")
            equal(guest.wait(60), 0, "exit status")
        host("e2fsck", "-fn", path)
        equal(host("debugfs", "-R", "cat /hello", path).count("from the guest"), 1, "lines in the stick's file")
        check(whole in host("sh", "-c", f"debugfs -R 'cat /r' {path} 2>/dev/null | sha256sum"), "the stick's large file")


def with_a_wire():
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        socket, path = os.path.join(folder, "control"), image(folder, "stick.img", 16)
        devices = ("usb-keyboard", "usb-mouse", f"usb-mass-storage,path={path},deviceId=STICK0000001,readonly")
        with boot_devices(devices=devices, extra=("--control", socket), cmdline="console=ttyS0 pci=nomsi") as guest:
            disk = disk_of(guest, "STICK0000001")
            check("MSI" not in guest.run("grep xhci /proc/interrupts"), "messages")
            equal(guest.run(f"cat /sys/block/{disk}/ro").strip(), "1", "read-only")
            guest.run(f"dd if=/dev/{disk} of=/dev/null bs=64k count=32 2>/dev/null", 120)
            keyboard = event_node(guest, "Espalier Keyboard", "1-1")
            listen(guest, keyboard)
            act(socket, "1", "key", str(KEYS["a"]))
            until("a key", lambda: (1, 30, 0) in events(guest, keyboard))
            mouse = event_node(guest, "Espalier Mouse", "1-2")
            listen(guest, mouse)
            act(socket, "2", "move", "5", "-300")
            act(socket, "2", "click", "272")
            act(socket, "2", "wheel", "1", "0")
            until("a turn of the wheel", lambda: (2, 8, 1) in events(guest, mouse))
            seen = events(guest, mouse)
            equal(sum(value for kind, code, value in seen if (kind, code) == (2, 0)), 5, "to the right")
            equal(sum(value for kind, code, value in seen if (kind, code) == (2, 1)), -300, "upwards")
            check((1, 272, 1) in seen and (1, 272, 0) in seen, f"no click: {seen}")


main(all_of_it_with_messages, with_a_wire)
