"""Disks and discs that firmware boots from, made with Debian's tools: GRUB on a FAT partition or on an ISO.

GRUB comes from the package grub-efi-amd64-bin: its program for CDs, which looks for /boot/grub/grub.cfg beside itself.
"""
import os
import shutil
import subprocess

from guest import KERNEL, SERIAL, Skip, host, need

GRUB = "/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi"
FIRMWARE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
MIB = 1 << 20

# The firmware's console is on the serial line as well.
MENU = """set timeout={timeout}
echo grub-was-here-{name}
{entries}
"""
LINUX = """menuentry "Linux" {{
    linux /vmlinuz {cmdline}
    initrd /initrd.img
}}
"""


def need_uefi():
    if not os.path.exists(FIRMWARE):
        raise Skip("there is no UEFI firmware (package ovmf)")


def need_media():
    need_uefi()
    need("mcopy", "mkfs.vfat", "sfdisk", "xorriso")
    if not os.path.exists(GRUB):
        raise Skip("there is no GRUB for UEFI (package grub-efi-amd64-bin)")


def linux_menu(name, cmdline="console=ttyS0", timeout=0):
    return MENU.format(name=name, timeout=timeout, entries=LINUX.format(cmdline=cmdline))


def linux_files(menu, initrd=SERIAL):
    """What a medium holds that boots Linux by GRUB: path on it, and a file or text."""
    return {"EFI/BOOT/BOOTX64.EFI": GRUB, "boot/grub/grub.cfg": menu.encode(), "vmlinuz": KERNEL, "initrd.img": initrd}


def write_files(folder, files):
    for name, source in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if isinstance(source, bytes):
            with open(path, "wb") as file:
                file.write(source)
        else:
            shutil.copyfile(source, path)


def make_fat(path, files, megabytes):
    """A FAT file system with these files and nothing around it."""
    folder = path + ".files"
    write_files(folder, files)
    with open(path, "wb") as file:
        file.truncate(megabytes * MIB)
    host("mkfs.vfat", "-F", "32" if megabytes >= 34 else "12", path)
    host("mcopy", "-s", "-i", path, *(os.path.join(folder, name) for name in sorted(os.listdir(folder))), "::/")
    shutil.rmtree(folder)


def make_disk(path, files, megabytes=64):
    """A disk with a GUID partition table and one EFI system partition."""
    fat = path + ".fat"
    make_fat(fat, files, megabytes - 2)
    with open(path, "wb") as disk:
        disk.truncate(megabytes * MIB)
        disk.seek(MIB)
        with open(fat, "rb") as file:
            shutil.copyfileobj(file, disk)
    os.unlink(fat)
    table = f"label: gpt\nstart=2048, size={(megabytes - 2) * 2048}, type={ESP_TYPE}\n"
    subprocess.run(["/sbin/sfdisk", "-q", path], input=table.encode(), check=True, stdout=subprocess.DEVNULL)


def make_iso(path, files):
    """A disc that UEFI boots (El Torito): a small FAT image with the loader in it, and the files beside it."""
    folder, efi = path + ".tree", {name: source for name, source in files.items() if name.startswith("EFI/")}
    write_files(folder, files)
    make_fat(os.path.join(folder, "efi.img"), efi, 8)
    host("xorriso", "-as", "mkisofs", "-quiet", "-V", "ESPALIER", "-r", "-J", "-e", "efi.img", "-no-emul-boot", "-o", path, folder)
    shutil.rmtree(folder)
