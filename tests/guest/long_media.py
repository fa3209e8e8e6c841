#!/usr/bin/env python3
"""Installation media through UEFI: the Debian installer from a disk, from a disc and from the network, each up to its list of
languages, read off the screen and moved about with keys; and a pass of memtest86+.

What is booted comes from Debian's packages, which are downloaded and unpacked into build/media, not installed. What is on
the screen is read by tesseract.

time-limit: 5400
"""
from guest import BUILD, CPU, CTL, PEER, Failure, Process, Skip, check, equal, host, main, need, scratch, until
from media import GRUB, make_disk, make_iso, need_media

import glob
import os
import re
import subprocess

MEDIA = os.path.join(BUILD, "media")
SCREEN, KEYBOARD = "1", "2"  # among the machine's devices
KEY_ENTER, KEY_UP, KEY_DOWN = "28", "103", "108"
INSTALLER = "usr/lib/debian-installer/images/12/amd64/text"


def unpacked(package):
    """The folder with a package's files."""
    folder = os.path.join(MEDIA, package)
    if not os.path.isdir(folder):
        os.makedirs(MEDIA, exist_ok=True)
        done = subprocess.run(["apt-get", "download", package], cwd=MEDIA, capture_output=True, text=True, check=False)
        files = glob.glob(os.path.join(MEDIA, package + "_*.deb"))
        if not files:
            raise Skip(f"the package {package} cannot be downloaded: {done.stderr.strip().splitlines()[-1:]}")
        host("dpkg-deb", "-x", files[0], folder + ".new")
        os.rename(folder + ".new", folder)
    return folder


class Machine(Process):
    """A machine with a screen and a keyboard, controlled by a socket."""

    def __init__(self, folder, devices, memory=1024, cpus=1):
        self.folder, self.socket = folder, os.path.join(folder, "control")
        args = [CTL, "run", "--cpu", CPU, "--cpus", str(cpus), "--memory", str(memory), "--control", self.socket, "--bootloader",
                f"efi,variable-store={os.path.join(folder, 'vars.fd')},create"]
        for device in ("uart,stdio", "virtio-gpu,width=1024,height=768", "usb-keyboard", *devices):
            args += ["--device", device]
        super().__init__(args)

    def act(self, *words):
        return host(CTL, "device", self.socket, *words)

    def press(self, key):
        self.act(KEYBOARD, "key", key)

    def picture(self, name):
        """Writes what is on the screen to build/NAME.png; returns its hash."""
        return self.act(SCREEN, "screenshot", os.path.join(BUILD, name + ".png")).split()[-1]

    def text(self, name):
        """What is written on the screen, as far as it can be read."""
        if not os.path.exists(self.socket):
            return ""
        self.picture(name)
        done = subprocess.run(["tesseract", os.path.join(BUILD, name + ".png"), "-", "--psm", "6"], capture_output=True, text=True,
                              check=False)
        return done.stdout

    def read(self, name, pattern, seconds):
        """Waits until the screen says so."""
        seen = ""

        def look():
            nonlocal seen
            check(self.child.poll() is None, f"the machine has ended: {self.tail()}")
            seen = self.text(name)
            return re.search(pattern, seen)
        try:
            return until(f"{pattern!r} on the screen", look, seconds)
        except Failure as failure:
            raise Failure(f"{failure}; what can be read there:\n{seen}") from None


def to_the_languages(machine, name):
    """From GRUB's menu to the installer's list of languages, in which keys move the selection."""
    machine.read(name + "-menu", r"Install", 180)
    machine.press(KEY_ENTER)
    machine.read(name, r"(?s)Select a language.*Language:", 600)
    until("a screen that stands still", lambda: machine.picture(name) == machine.picture(name), 60)
    before = machine.picture(name)
    machine.press(KEY_DOWN)
    after = until("another picture after a key", lambda: (seen := machine.picture(name + "-down")) != before and seen, 60)
    machine.press(KEY_UP)
    until("the first picture after the key that undoes it", lambda: machine.picture(name) == before, 60)
    check(after != before, "the selection has not moved")
    host(CTL, "stop", "--force", machine.socket)
    equal(machine.wait(), 0, "exit status")


MENU = """set timeout=-1
loadfont /boot/grub/font.pf2
menuentry "Install" {
    linux /linux vga=788 --- quiet
    initrd /initrd.gz
}
"""


def installer_files():
    base = os.path.join(unpacked("debian-installer-12-netboot-amd64"), INSTALLER, "debian-installer/amd64")
    return {"EFI/BOOT/BOOTX64.EFI": GRUB, "boot/grub/grub.cfg": MENU.encode(), "linux": os.path.join(base, "linux"),
            "initrd.gz": os.path.join(base, "initrd.gz")}


def needs():
    if PEER:
        raise Skip("only for espalierctl")
    need_media()
    need("tesseract", "apt-get", "dpkg-deb")


def installer_from_a_disk():
    needs()
    with scratch() as folder:
        disk = os.path.join(folder, "disk.img")
        make_disk(disk, installer_files(), 128)
        with Machine(folder, [f"virtio-blk,path={disk}"]) as machine:
            to_the_languages(machine, "media-disk")


def installer_from_a_disc():
    needs()
    with scratch() as folder:
        disc = os.path.join(folder, "disc.iso")
        make_iso(disc, installer_files())
        with Machine(folder, [f"usb-mass-storage,path={disc},cdrom"]) as machine:
            to_the_languages(machine, "media-disc")


def installer_from_the_network():
    needs()
    tftp = os.path.join(unpacked("debian-installer-12-netboot-amd64"), INSTALLER)
    with scratch() as folder:
        with Machine(folder, [f"virtio-net,nat,tftp={tftp},bootFile=debian-installer/amd64/bootnetx64.efi"]) as machine:
            to_the_languages(machine, "media-net")


def memtest_runs_a_pass():
    needs()
    program = os.path.join(unpacked("memtest86+"), "boot/memtest86+x64.efi")
    with scratch() as folder:
        disk = os.path.join(folder, "disk.img")
        make_disk(disk, {"EFI/BOOT/BOOTX64.EFI": program}, 40)
        with Machine(folder, [f"virtio-blk,path={disk}"], memory=128) as machine:
            machine.read("media-memtest", r"Errors: *[0oO]", 180)
            machine.read("media-memtest", r"(?i)Pass: *[1-9lI]\b|pass complete", 3000)
            check(not re.search(r"Errors: *[1-9]", machine.text("media-memtest")), "memtest86+ has found errors")
            host(CTL, "stop", "--force", machine.socket)


main(installer_from_a_disk, installer_from_a_disc, installer_from_the_network, memtest_runs_a_pass)
