"""A guest with a mouse in a window, which writes down what the mouse tells it."""

import gzip
import os
import re
import struct
import subprocess

from cases import GUEST, log_text, make_bundle, wait_state
from desktop import wait_for

INIT = """#!/bin/busybox sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
export PATH=/usr/bin:/bin:/sbin
echo 1 > /proc/sys/kernel/printk
modprobe -q evdev
node=
until [ "$node" ]; do
    coldplug
    for event in /sys/class/input/event*; do
        [ "$(cat $event/device/name 2> /dev/null)" = "Espalier Mouse" ] && node=${event##*/}
    done
done
echo "mouse: reading" > /dev/ttyS0
while true; do
    dd bs=1536 count=1 2> /dev/null | xxd -p -c 24
done < /dev/input/$node > /dev/ttyS0
"""


class MouseGuest:
    """The kernel with the drivers of the device tests, started in a window."""

    def __init__(self, desktop, name):
        initrd = os.path.join(desktop.home, "initrd-mouse.img")
        self._make_initrd(desktop.home, initrd)
        self.folder = make_bundle(
            desktop, name,
            BootLoader={"Type": "Linux", "Kernel": os.path.join(GUEST, "vmlinuz"), "InitialRamdisk": initrd,
                        "CommandLine": "console=tty0 quiet rdinit=/watch-mouse"},
            Devices=[{"Type": "VGA", "Width": 800, "Height": 600}, {"Type": "USBKeyboard"}, {"Type": "USBMouse"},
                     {"Type": "UART", "LogFile": "serial.log"}])
        desktop.start("--run", self.folder)
        wait_state(self.folder, "running", 60)
        wait_for("the guest's reader", lambda: "mouse: reading" in self.text(), 120, 0.5)

    @staticmethod
    def _make_initrd(folder, path):
        """Theirs, and a start of our own behind it, as the kernel allows."""
        with open(os.path.join(folder, "watch-mouse"), "w", encoding="ascii") as file:
            file.write(INIT)
        os.chmod(file.name, 0o755)
        ours = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=b"watch-mouse\n", cwd=folder,
                              capture_output=True, check=True).stdout
        with open(os.path.join(GUEST, "initrd-devices.img"), "rb") as theirs, open(path, "wb") as file:
            file.write(theirs.read() + gzip.compress(ours))

    def text(self):
        return log_text(self.folder, "serial.log")

    def events(self):
        """(type, code, value) without SYN and MSC."""
        found = [struct.unpack_from("<HHi", bytes.fromhex(line), 16)
                 for line in re.findall(r"^([0-9a-f]{48})$", self.text(), re.M)]
        return [event for event in found if event[0] not in (0, 4)]

    def moved(self):
        """How far to the right, and down, so far."""
        return tuple(sum(value for kind, code, value in self.events() if (kind, code) == (2, axis)) for axis in (0, 1))
