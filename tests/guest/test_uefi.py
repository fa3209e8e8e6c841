#!/usr/bin/env python3
"""UEFI firmware as Debian packages it (OVMF): its shell, disks and discs, the boot order, and variables that survive.

time-limit: 900
"""
from guest import CPU, CTL, DEVICES, KERNEL, PEER, SERIAL, Failure, Process, Skip, check, equal, main, scratch
from media import FIRMWARE, linux_files, linux_menu, make_disk, make_iso, need_media, need_uefi

import os
import re
import subprocess

SHELL_SECONDS = 120
OWN_GUID = "5b0c5aa8-4c7e-4f6a-9d10-3e6a8cbd7a11"  # made up
GUID = "8be4df61-93ca-11d2-aa0d-00e098032b8c"  # of the variables that UEFI names itself


def store(folder, name="vars.fd"):
    return f"efi,variable-store={os.path.join(folder, name)},create"


def boot(bootloader, devices=(), cpus=1, memory=512, extra=()):
    if PEER:
        raise Skip("only for espalierctl")
    need_uefi()
    args = [CTL, "run", "--cpu", CPU, "--cpus", str(cpus), "--memory", str(memory), "--bootloader", bootloader]
    for device in ("uart,stdio", *devices):
        args += ["--device", device]
    return Process(args + list(extra))


def shell(guest):
    """Up to the prompt of the firmware's shell, which waits five seconds for a key."""
    guest.expect(r"Press .*ESC.* in \d seconds", SHELL_SECONDS)
    guest.send("\r")  # not ESC, of which the terminal driver makes a sequence with what follows
    guest.expect(r"Shell> ", SHELL_SECONDS)


def ask(guest, command, seconds=30):
    """What a command of the firmware's shell prints, without its colours and places on the screen."""
    start = guest.mark
    guest.send(command + "\r")
    end = guest.expect(r"(Shell|FS\d:[^>]*)> ", seconds).start()
    return re.sub(r"\x1b\[[0-9;=?]*[A-Za-z]", "", guest.seen[start:end])


def linux(guest):
    guest.expect(r"^espalier-serial: ready in [\d.]+ s$", 200)
    guest.expect(r"^serial# ")


def shell_comes_up_and_variables_survive():
    with scratch() as folder:
        with boot(store(folder), cpus=2) as guest:
            shell(guest)
            check("UEFI v2" in ask(guest, "ver"), "the shell does not say its version")
            ask(guest, f"setvar Espalier -guid {OWN_GUID} -bs -rt -nv =0xC0FFEE")
            equal(os.path.getsize(os.path.join(folder, "vars.fd")), 540672, "size of the variable store")
            guest.send("reset -s\r")
            equal(guest.wait(30), 0, "exit status after “reset -s”")
        with boot(f"efi,variable-store={os.path.join(folder, 'vars.fd')},firmware={FIRMWARE}", memory=128) as guest:
            shell(guest)
            seen = ask(guest, f"dmpstore Espalier -guid {OWN_GUID}")
            check("EE FF C0 00" in seen, f"the variable is not what was stored:\n{seen}")


def every_medium_boots():
    need_media()
    with scratch() as folder:
        files = linux_files(linux_menu("medium"))
        disk, disc = os.path.join(folder, "disk.img"), os.path.join(folder, "disc.iso")
        make_disk(disk, files)
        make_iso(disc, files)
        for device in (f"virtio-blk,path={disk}", f"usb-mass-storage,path={disk},readonly",
                       f"usb-mass-storage,path={disc},cdrom", f"usb-mass-storage,path={disc},readonly",
                       f"virtio-blk,path={disc},readonly"):
            with boot(store(folder, "new.fd"), (device,)) as guest:
                try:
                    guest.expect(r"grub-was-here-medium", SHELL_SECONDS)
                    linux(guest)
                except Failure as failure:
                    raise Failure(f"{device}: {failure}") from None
                guest.run("[ -d /sys/firmware/efi ]")
                guest.send("poweroff -f\n")
                equal(guest.wait(), 0, f"exit status with {device}")
            os.unlink(os.path.join(folder, "new.fd"))


def order_next_and_reset():
    need_media()
    with scratch() as folder:
        disks = []
        for name in "one", "two":
            disks.append(os.path.join(folder, name + ".img"))
            make_disk(disks[-1], linux_files(linux_menu(name), DEVICES))
        with boot(store(folder), (f"virtio-blk,path={disks[0]},bootIndex=2", f"virtio-blk,path={disks[1]},bootIndex=1"),
                  cpus=2) as guest:
            equal(guest.expect(r"grub-was-here-(one|two)", SHELL_SECONDS).group(1), "two", "the disk that was booted")
            linux(guest)
            guest.send("reboot -f\n")
            equal(guest.expect(r"grub-was-here-(one|two)", SHELL_SECONDS).group(1), "two", "the disk that was booted again")
            linux(guest)
            guest.send("poweroff -f\n")
            equal(guest.wait(), 0, "exit status")
        # Without any bootIndex the firmware's own order holds, and BootNext once.
        with boot(store(folder, "own.fd"), [f"virtio-blk,path={disk}" for disk in disks]) as guest:
            guest.expect(r"grub-was-here-(one|two)", SHELL_SECONDS)
            linux(guest)
            guest.run("modprobe efivarfs; mount -t efivarfs none /sys/firmware/efi/efivars")
            number = guest.run("cd /sys/firmware/efi/efivars; for v in Boot0*; do tr -d '\\0' < $v | grep -q 'Internal Shell' && "
                               "echo ${v%%-*} | cut -c5-; done; cd /").split()[0]
            low, high = int(number[2:], 16), int(number[:2], 16)
            guest.run(f"printf '\\007\\000\\000\\000\\{low:03o}\\{high:03o}' > /sys/firmware/efi/efivars/BootNext-{GUID}")
            guest.send("reboot -f\n")
            shell(guest)
            guest.send("reset\r")
            guest.expect(r"grub-was-here-(one|two)", SHELL_SECONDS)


def kernel_by_the_firmware():
    with scratch() as folder:
        for cpus, memory in (32, 256), (1, 6144):
            with boot(f"{store(folder)},kernel={KERNEL},initrd={SERIAL},cmdline=\"console=ttyS0\"", cpus=cpus,
                      memory=memory) as guest:
                linux(guest)
                equal(guest.run("nproc").strip(), str(cpus), "CPUs")
                total = int(guest.run("grep MemTotal /proc/meminfo").split()[1]) // 1024
                check(memory * 0.6 < total <= memory, f"{total} MiB of {memory} are there")
                guest.send("poweroff -f\n")
                equal(guest.wait(), 0, "exit status")


def mistakes_are_told():
    if PEER:
        raise Skip("only for espalierctl")
    need_uefi()
    with scratch() as folder:
        cut, small, empty = (os.path.join(folder, name) for name in ("CODE.fd", "small.fd", "empty.fd"))
        with open(FIRMWARE, "rb") as file, open(cut, "wb") as short:
            short.write(file.read(1 << 20))
        with open("/usr/share/OVMF/OVMF_VARS.fd", "rb") as file, open(small, "wb") as other:
            other.write(file.read())
        with open(empty, "wb") as file:
            file.truncate(540672)
        for options, words in ((f"{store(folder)},firmware={cut}", "cut short"), (f"efi,variable-store={small}", "does not go with"),
                               (f"efi,variable-store={empty}", "does not begin with a firmware volume"),
                               (f"efi,variable-store={folder}/none.fd", "add create"), (f"efi,variable-store={folder}", "directory")):
            done = subprocess.run([CTL, "run", "--bootloader", options], capture_output=True, text=True, check=False, timeout=60)
            equal(done.returncode, 2, f"exit status with {options}")
            check(words in done.stderr, f"“{words}” is not in:\n{done.stderr}")
        with open(small, "rb") as file, open("/usr/share/OVMF/OVMF_VARS.fd", "rb") as other:
            check(file.read() == other.read(), "the store that was refused has been changed")


main(mistakes_are_told, shell_comes_up_and_variables_survive, every_medium_boots, order_next_and_reset, kernel_by_the_firmware)
