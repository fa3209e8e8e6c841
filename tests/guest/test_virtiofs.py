#!/usr/bin/env python3
"""virtio-fs with Linux's own driver: shared folders as a guest's programs use them, and what the host sees of it.

time-limit: 900
"""
from folders import in_guest, programs_run_and_files_are_shared, read, the_host_sees_locks, write
from guest import PEER, Skip, boot_devices, build_program, check, equal, main, scratch

import os
import stat


def linux_uses_shared_folders():
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        work, look, direct = (os.path.join(folder, name) for name in ("work", "look", "direct"))
        for path in (work, look, direct):
            os.mkdir(path, 0o755)
            os.chmod(path, 0o755)
        build_program("share", os.path.join(work, "share"))
        write(os.path.join(look, "there"), b"only to look at\n")
        write(os.path.join(folder, "outside"), b"not shared\n")
        devices = (f"virtio-fs,sharedDir={work},mountTag=work",
                   f"virtio-fs,sharedDir={look},mountTag=look,readonly",
                   f"virtio-fs,sharedDir={direct},mountTag=direct,cache=none,uid=501,gid=20,queues=2")
        with boot_devices(devices=devices, cpus=2) as guest:
            guest.run("modprobe virtiofs; mkdir -p /mnt/work /mnt/look /mnt/direct")
            for tag in ("work", "look", "direct"):
                guest.run(f"mount -t virtiofs {tag} /mnt/{tag}")
            programs_run_and_files_are_shared(guest, work)
            for case in ("xattr", "locks", "maps", "renames", "data", "many"):
                guest.run(f"mkdir /mnt/work/{case}; chown 1000:1000 /mnt/work/{case}")
                in_guest(guest, case, f"/mnt/work/{case}")
            owners_are_the_guests(guest, work)
            special_files_stay_closed(guest, work)
            the_host_changes_files(guest, work, direct)
            the_host_sees_locks(guest, work)
            in_guest(guest, "readonly", "/mnt/look")
            equal(guest.run("cat /mnt/look/there"), "only to look at\n", "a file of the read-only share")
            uncached_is_uncached(guest, direct)
            mounting_again_starts_anew(guest)
            guest.send("poweroff -f\n")
            equal(guest.wait(), 0, "exit status")
        equal(sorted(os.listdir(look)), ["there"], "the read-only folder afterwards")
        equal(read(os.path.join(folder, "outside")), b"not shared\n", "the file beside the folders")


def owners_are_the_guests(guest, work):
    guest.run("mkdir /mnt/work/owners; chown 1000:1000 /mnt/work/owners")
    in_guest(guest, "owners", "/mnt/work/owners")
    for name in ("roots", "mine", "group", "group/child"):
        path = os.path.join(work, "owners", name)
        st = os.stat(path)
        equal(st.st_uid, os.geteuid(), f"the host's owner of {name}")
        equal(st.st_mode & (stat.S_ISUID | stat.S_ISGID), 0, f"setuid and setgid of {name} on the host")
    equal(os.getxattr(os.path.join(work, "owners", "roots"), "user.espalier.owner"), b"12:34:4711:711",
          "the owner that is kept")


def special_files_stay_closed(guest, work):
    path = os.path.join(work, "special")
    os.mkdir(path)
    os.mkfifo(os.path.join(path, "pipe"))
    os.symlink(os.path.join(os.path.dirname(work), "outside"), os.path.join(path, "escape"))
    if os.geteuid() == 0:
        try:
            os.mknod(os.path.join(path, "device"), stat.S_IFCHR | 0o666, os.makedev(1, 5))
        except PermissionError:
            pass
    in_guest(guest, "special", "/mnt/work/special")


def the_host_changes_files(guest, work, direct):
    """What the host writes is seen: at once without a cache, after a second with the automatic one."""
    for folder, mount in ((work, "/mnt/work"), (direct, "/mnt/direct")):
        path = os.path.join(folder, "changing")
        write(path, b"first\n")
        equal(guest.run(f"cat {mount}/changing"), "first\n", f"a file on {mount}")
        write(path, b"second, and longer\n")
        os.rename(os.path.join(folder, "changing"), os.path.join(folder, "changed"))
        write(path, b"third\n")
        guest.run("sleep 1.1" if folder == work else "true")
        equal(guest.run(f"cat {mount}/changing {mount}/changed"), "third\nsecond, and longer\n",
              f"files on {mount} after the host changed them")
        os.unlink(path)
        guest.run("sleep 1.1" if folder == work else "true")
        guest.run(f"test ! -e {mount}/changing")


def uncached_is_uncached(guest, direct):
    guest.run("mkdir /mnt/direct/d; chown 501:20 /mnt/direct/d")
    equal(guest.run("stat -c %u:%g /mnt/direct /mnt/direct/d /mnt/direct/changed").split(), ["501:20"] * 3,
          "owners on a share with an owner of its own")
    for case in ("xattr", "locks", "renames", "data"):
        guest.run(f"mkdir /mnt/direct/{case}")
        in_guest(guest, case, f"/mnt/direct/{case}")
    guest.run("cp /mnt/work/share /mnt/direct/; /mnt/direct/share none none || test $? = 1")
    check(os.path.exists(os.path.join(direct, "share")), "the copied program is not in the folder")


def mounting_again_starts_anew(guest):
    guest.run("umount /mnt/work; mount -t virtiofs work /mnt/work; ls -l /mnt/work > /dev/null")
    guest.run("test -x /mnt/work/share")
    guest.run("dmesg | grep -iE 'virtio.*(fail|error)|BUG|WARNING' && false || true")


main(linux_uses_shared_folders)
