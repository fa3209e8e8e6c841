#!/usr/bin/env python3
"""UEFI firmware as Debian packages it (OVMF): its shell, disks and discs, the boot order, and variables that survive.

time-limit: 900
"""
from guest import CPU, CTL, DEVICES, KERNEL, PEER, SERIAL, Failure, Process, Skip, check, equal, host, main, scratch, until
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


def refused(bootloader, words, *devices):
    line = [CTL, "run", "--cpu", CPU, "--bootloader", bootloader]
    for device in devices:
        line += ["--device", device]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    check(done.returncode in (1, 2), f"exit status with {bootloader}: {done.returncode}")
    check(words in done.stderr, f"“{words}” is not in:\n{done.stderr}")
    equal(done.stderr.count("\n"), 1, f"lines about {bootloader}:\n{done.stderr}")


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def mistakes_are_told():
    if PEER:
        raise Skip("only for espalierctl")
    need_uefi()
    template = contents("/usr/share/OVMF/OVMF_VARS_4M.fd")
    with scratch() as folder:
        def file(name, content):
            path = os.path.join(folder, name)
            with open(path, "wb") as new:
                new.write(content)
            return path

        cut = file("CODE.fd", contents(FIRMWARE)[:1 << 20])
        refused(f"{store(folder)},firmware={cut}", "cut short")
        refused(f"efi,variable-store={folder}/none.fd", "add create")
        refused(f"efi,variable-store={folder}", "directory")
        good = file("good.fd", template)
        secure = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
        if os.path.exists(secure):
            refused(f"efi,variable-store={good},firmware={secure}",
                    f"“{secure}” cannot be used: it needs System Management Mode (for Secure Boot)")
        equal(contents(good), template, "the store that firmware was refused with")
        equal(sorted(os.listdir(folder)), ["CODE.fd", "good.fd"], "files, of which none is new")
        for name, content, words in (("small", contents("/usr/share/OVMF/OVMF_VARS.fd"), "does not go with"),
                                     ("empty", bytes(540672), "does not begin with a firmware volume"),
                                     ("short", template[:540672 - 4096], "does not go with"),
                                     ("shorter", template[:540672 - 100], "does not go with"),
                                     ("nothing", b"", "is empty")):
            path = file(name, content)
            refused(f"efi,variable-store={path},create", words)
            equal(contents(path), content, f"the store that was refused ({name})")


def another_machines_variables_are_left_alone():
    with scratch() as folder:
        path = os.path.join(folder, "vars.fd")
        with boot(store(folder)) as guest:
            until("the store is there", lambda: os.path.exists(path))
            guest.expect(r"Shell> ", SHELL_SECONDS)  # from here on it writes nothing of its own accord
            before = contents(path)
            refused(store(folder), f"“{path}” is in use by another virtual machine; each needs one of its own")
            equal(contents(path), before, "the store")
            equal(guest.child.poll(), None, "exit status of the machine it belongs to")


def media_that_do_not_boot_are_named():
    need_media()
    with scratch() as folder:
        tree, data, bios, disk = (os.path.join(folder, name) for name in ("tree", "data.iso", "bios.iso", "disk.img"))
        os.mkdir(tree)
        for name in "readme", "bios":
            with open(os.path.join(tree, name), "wb") as new:
                new.write(bytes(4096))
        host("xorriso", "-as", "mkisofs", "-quiet", "-o", data, tree)
        host("xorriso", "-as", "mkisofs", "-quiet", "-b", "bios", "-no-emul-boot", "-o", bios, tree)
        make_disk(disk, {"EFI/BOOT/BOOTX64.EFI": b"MZ"})
        said = r"“{}” cannot be booted by UEFI firmware: .*{}"
        for devices, words in (((f"usb-mass-storage,path={data},cdrom",), said.format(data, "without any boot entry")),
                               ((f"usb-mass-storage,path={bios},cdrom",), said.format(bios, "BIOS only")),
                               ((f"virtio-blk,path={bios},readonly",), said.format(bios, "BIOS only")),
                               ((f"virtio-blk,path={disk}", f"usb-mass-storage,path={data},readonly,bootIndex=1"),
                                said.format(data, "without any boot entry"))):
            with boot(store(folder, "new.fd"), devices) as guest:
                guest.expect(words, 30)
            os.unlink(os.path.join(folder, "new.fd"))
        # A disc with data beside a disk that boots is as it should be.
        with boot(store(folder, "new.fd"), (f"virtio-blk,path={disk}", f"usb-mass-storage,path={data},cdrom")) as guest:
            guest.expect(r"BdsDxe", SHELL_SECONDS)
            check("cannot be booted" not in guest.seen, guest.tail())


def a_machine_in_its_firmware_comes_back():
    with scratch() as folder:
        control, state = os.path.join(folder, "control"), os.path.join(folder, "state")
        with boot(store(folder), cpus=2, extra=("--control", control)) as guest:
            shell(guest)
            ask(guest, f"setvar Before -guid {OWN_GUID} -bs -rt -nv =0x1122")
            host(CTL, "save", control, state)
            equal(guest.wait(), 0, "exit status of the machine that was saved")
        with boot(store(folder), cpus=2, extra=("--control", control, "--restore", state)) as guest:
            guest.send("\r")
            guest.expect(r"Shell> ", 30)
            check("22 11" in ask(guest, f"dmpstore Before -guid {OWN_GUID}"), "the variable is gone")
            ask(guest, f"setvar After -guid {OWN_GUID} -bs -rt -nv =0x3344")
            guest.send("reset\r")  # the firmware starts anew, from what is in the store
            shell(guest)
            seen = ask(guest, f"dmpstore -guid {OWN_GUID}")
            check("22 11" in seen and "44 33" in seen, f"the variables afterwards:\n{seen}")
            guest.send("reset -s\r")
            equal(guest.wait(30), 0, "exit status")


main(mistakes_are_told, another_machines_variables_are_left_alone, media_that_do_not_boot_are_named,
     shell_comes_up_and_variables_survive, a_machine_in_its_firmware_comes_back, every_medium_boots, order_next_and_reset,
     kernel_by_the_firmware)
