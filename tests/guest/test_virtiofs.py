#!/usr/bin/env python3
"""virtio-fs with Linux's own driver: shared folders as a guest's programs use them, and what the host sees of it.

time-limit: 900
"""
from guest import PEER, ROOT, Skip, boot_devices, check, equal, main, need, scratch

import fcntl
import hashlib
import os
import stat
import subprocess


def tool(path):
    need("gcc")
    built = subprocess.run(["gcc", "-static", "-O1", "-D_GNU_SOURCE", "-o", path,
                            os.path.join(ROOT, "tests/guest/programs/share.c")], capture_output=True, check=False)
    if built.returncode:
        raise Skip(f"a static program cannot be built: {built.stderr.decode()[-300:]}")


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def in_guest(guest, case, folder, seconds=200):
    """A case of the guest's program (tests/guest/programs/share.c)."""
    text = guest.run(f"/mnt/work/share {case} {folder} || true", seconds)
    check(text.splitlines()[-1:] == [f"{case}: ok"], f"in the guest, on {folder}: {text}")


def linux_uses_shared_folders():
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        work, look, direct = (os.path.join(folder, name) for name in ("work", "look", "direct"))
        for path in (work, look, direct):
            os.mkdir(path, 0o755)
            os.chmod(path, 0o755)
        tool(os.path.join(work, "share"))
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


def programs_run_and_files_are_shared(guest, work):
    """The program comes from the share itself: exec and mmap of its pages."""
    data = os.urandom(8 << 20)
    write(os.path.join(work, "from-host"), data)
    digest = hashlib.sha256(data).hexdigest()
    equal(guest.run("sha256sum < /mnt/work/from-host").split()[0], digest, "a file of the host's, read in the guest")
    guest.run("cp /mnt/work/from-host /mnt/work/from-guest; cd /mnt/work; mkdir -p deep/er; mv from-guest deep/er/; cd /")
    equal(hashlib.sha256(read(os.path.join(work, "deep/er/from-guest"))).hexdigest(), digest, "and copied back")
    seen = guest.run("df -k /mnt/work | tail -1").split()
    check(seen[0] == "work" and int(seen[1]) > 0, f"df says {seen}")


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


def the_host_sees_locks(guest, work):
    path = os.path.join(work, "locked")
    write(path, b"x")
    guest.send("/mnt/work/share hold /mnt/work/locked\n")
    guest.expect(r"^hold: locked$")
    with open(path, "r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            check(False, "the host got a lock that a program in the guest has")
        except BlockingIOError:
            pass
        guest.send("q\n")
        guest.run("true")
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The other way round: the guest waits for the host.
        guest.send("/mnt/work/share hold /mnt/work/locked\n")
        guest.expect(r"hold /mnt/work/locked\n")
        guest.send("\n")
    guest.expect(r"^hold: locked$")
    guest.send("q\n")
    guest.run("true")


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
