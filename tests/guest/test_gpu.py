#!/usr/bin/env python3
"""Displays with Linux's own drivers: virtio-gpu taking over from the firmware's framebuffer, sizes a window asks
for, monitors, the pointer; and the standard VGA. Pictures go to build/. time-limit: 1200
"""

import hashlib
import os
import re
import struct
import subprocess
import time

from guest import (BUILD, CTL, PATIENCE, PEER, Failure, Skip, boot_devices, build_program, check, equal, host, main,
                   need, scratch)

# The console goes to the screen as well, so that there is something to see.
CMDLINE = "console=tty0 console=ttyS0"
DISPLAY = "1"  # the second device: the serial line is the first


class Screen:
    """What is on a display of a machine, through its control socket."""

    def __init__(self, socket, name, number=0):
        self.socket, self.number, self.reply = socket, str(number), ""
        self.png = os.path.join(BUILD, f"gpu-{name}.png")

    def look(self):
        """The size, and a hash of the picture."""
        self.reply = host(CTL, "device", self.socket, DISPLAY, "screenshot", self.png, self.number)
        width, height, digest = re.match(r"(\d+) x (\d+) ([0-9a-f]{64})$", self.reply.splitlines()[0]).groups()
        return (int(width), int(height)), digest

    def pointer(self):
        self.look()
        found = re.search(r"^pointer (.*)$", self.reply, re.M)
        return found and found.group(1)

    def resize(self, width, height):
        host(CTL, "device", self.socket, DISPLAY, "resize", str(width), str(height), self.number)

    def wait(self, what, condition, seconds=30):
        end = time.monotonic() + seconds * PATIENCE
        while not condition():
            check(time.monotonic() < end, f"{what}: not within {seconds} s; last: {self.reply}")
            time.sleep(0.2)


def blank(size):
    """The hash of a black picture."""
    return hashlib.sha256(struct.pack("<II", *size) + bytes(size[0] * size[1] * 4)).hexdigest()


def boot_display(folder, device, *more):
    if PEER:
        raise Skip("only for espalierctl")
    socket = os.path.join(folder, "control")
    return socket, boot_devices(devices=(device, *more), cmdline=CMDLINE, extra=("--control", socket))


def modes(guest, connector="Virtual-1"):
    return guest.run(f"cat /sys/class/drm/card0-{connector}/modes").split()


def edid(guest, connector="Virtual-1"):
    """What edid-decode makes of what the monitor says."""
    text = guest.run(f"hexdump -ve '1/1 \"%02x\"' /sys/class/drm/card0-{connector}/edid")
    return subprocess.run(["edid-decode", "--check"], input=bytes.fromhex(text), capture_output=True,
                          check=False).stdout.decode()


def text_changes_the_picture(guest, screen, size):
    """What is written on the console is seen, and taken away again."""
    guest.run("printf '\\033c\\033[?25l' > /dev/tty0")
    screen.wait("a black screen", lambda: screen.look() == (size, blank(size)))
    guest.run("printf 'Espalier was here' > /dev/tty0")
    screen.wait("text", lambda: screen.look()[1] != blank(size))
    check(screen.look()[0] == size, "the size changed with the text")


def pointer_program(folder):
    path = os.path.join(folder, "pointer")
    build_program("pointer", path, "-I/usr/include/libdrm")
    return path


def the_pointer_is_shown_moved_and_hidden(guest, screen):
    guest.run("cp /dev/vda /tmp/pointer; chmod +x /tmp/pointer")
    check(screen.pointer() is None, f"a pointer from the start: {screen.reply}")
    image = b"".join(struct.pack("<I", 0xff000000 | y << 8 | x) for y in range(64) for x in range(64))
    digest = hashlib.sha256(image).hexdigest()
    guest.send("/tmp/pointer\n")
    guest.expect(r"^shown$")
    screen.wait("the pointer", lambda: screen.pointer() == f"64 x 64 at 100 50, hot spot 3 7, {digest}")
    guest.send("\n")
    guest.expect(r"^moved$")
    screen.wait("the move", lambda: (screen.pointer() or "").startswith("64 x 64 at 200 50,"))
    guest.send("\n")
    guest.expect(r"^hidden$")
    screen.wait("no pointer", lambda: screen.pointer() is None)
    guest.send("\n")


def virtio_gpu_takes_over_and_follows_the_window():
    need("gcc", "edid-decode")
    with scratch() as folder:
        program = pointer_program(folder)
        socket, boot = boot_display(folder, "virtio-gpu,width=1024,height=768,displays=2",
                                    f"virtio-blk,path={program},readonly")
        with boot as guest:
            screen, second = Screen(socket, "virtio"), Screen(socket, "virtio-second", 1)
            log = guest.run("dmesg | grep -E 'efifb: mode|fb0:|virtio-vga detected'")
            check(re.search(r"mode is 1024x768x32.*EFI VGA frame buffer.*virtio-vga detected.*virtio_gpudrmfb",
                            log, re.S), f"the kernel says: {log}")
            text_changes_the_picture(guest, screen, (1024, 768))
            equal(modes(guest)[0], "1024x768", "the preferred mode")

            # The monitor changes with the window. The kernel's console follows as far as its picture, made for the
            # first size, has the room; of a larger one only the monitor's own word is there.
            for size in (800, 600), (1201, 803):
                screen.resize(*size)
                screen.wait(f"an EDID for {size}", lambda: "%dx%d " % size in edid(guest))
                check("EDID conformity: PASS" in edid(guest), edid(guest))
                if size[0] <= 1024:
                    screen.wait(f"{size}", lambda: screen.look()[0] == size)
                    equal(modes(guest)[0], "%dx%d" % size, "the preferred mode")
                    text_changes_the_picture(guest, screen, size)

            # The second monitor is one of its own.
            equal(modes(guest, "Virtual-2")[0], "1024x768", "the second monitor's mode")
            equal(second.look()[0], (1024, 768), "the second display's size")
            second.resize(640, 480)
            screen.wait("an EDID for 640x480", lambda: " 640x480 " in edid(guest, "Virtual-2").partition("DTD 1:")[2])
            the_pointer_is_shown_moved_and_hidden(guest, screen)

            # Without its driver it is a VGA again.
            guest.run("echo 0 > /sys/class/vtconsole/vtcon1/bind; "
                      "echo virtio0 > /sys/bus/virtio/drivers/virtio_gpu/unbind")
            screen.wait("the framebuffer", lambda: screen.look()[0] == (1024, 768))
            try:
                screen.resize(800, 600)
                raise Failure("a size was asked for, but there is no driver")
            except Failure as failure:
                check("has no driver for this display" in str(failure), f"said: {failure}")
            host(CTL, "stop", "--force", socket)
            equal(guest.wait(), 0, "exit status")


def bochs_drives_the_vga():
    with scratch() as folder:
        socket, boot = boot_display(folder, "vga,width=1280,height=800")
        with boot as guest:
            screen = Screen(socket, "vga")
            log = guest.run("dmesg | grep -E 'efifb: mode|fb0:|Found bochs'")
            check(re.search(r"mode is 1280x800x32.*EFI VGA.*Found bochs VGA, ID 0xb0c5.*bochs-drm", log, re.S),
                  f"the kernel says: {log}")
            equal(modes(guest)[0], "1280x800", "the preferred mode")
            text_changes_the_picture(guest, screen, (1280, 800))
            host(CTL, "stop", "--force", socket)
            equal(guest.wait(), 0, "exit status")


main(virtio_gpu_takes_over_and_follows_the_window, bochs_drives_the_vga)
