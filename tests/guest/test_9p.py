#!/usr/bin/env python3
"""virtio-9p with Linux's own driver: shared folders as a guest's programs use them, and what the host sees of it.

time-limit: 900
"""
from folders import in_guest, programs_run_and_files_are_shared, read, the_host_sees_locks, write
from guest import PEER, Skip, boot_devices, build_program, check, equal, main, scratch

import fcntl
import os
import stat

MOUNT = "mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144"


def linux_uses_shared_folders_over_9p():
    if PEER:
        raise Skip("only for espalierctl")
    with scratch() as folder:
        work, look = (os.path.join(folder, name) for name in ("work", "look"))
        for path in (work, look):
            os.mkdir(path, 0o755)
            os.chmod(path, 0o755)
        build_program("share", os.path.join(work, "share"))
        write(os.path.join(look, "there"), b"only to look at\n")
        write(os.path.join(folder, "outside"), b"not shared\n")
        devices = (f"virtio-9p,sharedDir={work},mountTag=work,uid=501,gid=20",
                   f"virtio-9p,sharedDir={look},mountTag=look,readonly")
        with boot_devices(devices=devices, cpus=2) as guest:
            guest.run("modprobe 9pnet_virtio; modprobe 9p; mkdir -p /mnt/work /mnt/look /mnt/loose")
            for tag in ("work", "look"):
                guest.run(f"{MOUNT} {tag} /mnt/{tag}")
            programs_run_and_files_are_shared(guest, work)
            seen = guest.run("grep ' /mnt/work ' /proc/mounts")
            check("msize=262144" in seen, f"the mount is {seen}")
            names_are_made_and_moved(guest, work)
            for case in ("xattr", "locks"):
                guest.run(f"mkdir /mnt/work/{case}")
                in_guest(guest, case, f"/mnt/work/{case}")
            a_thousand_files_are_listed(guest, work)
            owners_are_kept(guest, work)
            special_files_stay_closed(guest, work)
            the_host_changes_files(guest, work)
            the_host_sees_locks(guest, work)
            who_waits_for_a_lock_can_be_killed(guest, work)
            in_guest(guest, "readonly", "/mnt/look")
            equal(guest.run("cat /mnt/look/there"), "only to look at\n", "a file of the read-only share")
            mounting_again_starts_anew(guest)
            guest.send("poweroff -f\n")
            equal(guest.wait(), 0, "exit status")
        equal(sorted(os.listdir(look)), ["there"], "the read-only folder afterwards")
        equal(read(os.path.join(folder, "outside")), b"not shared\n", "the file beside the folders")


def names_are_made_and_moved(guest, work):
    guest.run("mkdir /mnt/work/names; cd /mnt/work/names; echo one > a; echo two > b; ln a c; ln -s ../target link; "
              "mv b d; mkdir folder; mv d folder/; mv a folder/d; mkdir full; touch full/x; cd /")
    path = os.path.join(work, "names")
    equal(sorted(os.listdir(path)), ["c", "folder", "full", "link"], "names on the host")
    equal(read(os.path.join(path, "folder", "d")), b"one\n", "the file that took the place of another")
    equal(os.stat(os.path.join(path, "c")).st_nlink, 2, "names of a file")
    equal(os.readlink(os.path.join(path, "link")), "../target", "a link's text")
    equal(guest.run("readlink /mnt/work/names/link; stat -c %h /mnt/work/names/c").split(), ["../target", "2"],
          "link and number of names in the guest")
    guest.run("cd /mnt/work/names; ! rmdir full 2> /dev/null && ! ln folder x 2> /dev/null && rm full/x && rmdir full "
              "&& rm -r folder && cat c > e && truncate -s 100000 e && : >> e && test $(wc -c < e) = 100000; cd /")
    equal(os.stat(os.path.join(path, "c")).st_nlink, 1, "names of the file afterwards")
    # Removed while it is open.
    equal(guest.run("cd /mnt/work/names; exec 7<> c; rm c; echo three >&7; cat < /proc/self/fd/7; exec 7>&-; cd /"),
          "three\n", "what is in a file without a name")


def a_thousand_files_are_listed(guest, work):
    guest.run("mkdir /mnt/work/thousand; cd /mnt/work/thousand; i=0; while [ $i -lt 1000 ]; do : > a-file-number-$i; "
              "i=$((i + 1)); done; cd /", 400)
    wanted = sorted(f"a-file-number-{i}" for i in range(1000))
    equal(sorted(os.listdir(os.path.join(work, "thousand"))), wanted, "files on the host")
    equal(sorted(guest.run("ls /mnt/work/thousand", 200).split()), wanted, "files in the guest")
    guest.run("rm -r /mnt/work/thousand", 400)
    check(not os.path.exists(os.path.join(work, "thousand")), "the folder is still there")


def owners_are_kept(guest, work):
    """Whoever makes a file, it belongs to the configured owner; what chown says is kept, but not on the host."""
    seen = guest.run("mkdir /mnt/work/owners; cd /mnt/work/owners; touch f; mkdir d; stat -c %u:%g . f d; "
                     "chown 12:34 f; chmod 4711 f; stat -c %u:%g:%a f; cd /")
    equal(seen.split(), ["501:20"] * 3 + ["12:34:4711"], "owners in the guest")
    path = os.path.join(work, "owners", "f")
    st = os.stat(path)
    equal(st.st_uid, os.geteuid(), "the host's owner")
    equal(st.st_mode & (stat.S_ISUID | stat.S_ISGID), 0, "setuid on the host")
    equal(os.getxattr(path, "user.espalier.owner"), b"12:34:4711:711",
          "the owner that is kept")


def special_files_stay_closed(guest, work):
    path = os.path.join(work, "special")
    os.mkdir(path)
    os.mkfifo(os.path.join(path, "pipe"))
    os.symlink(os.path.join(os.path.dirname(work), "outside"), os.path.join(path, "escape"))
    in_guest(guest, "special", "/mnt/work/special")
    guest.run("! mknod /mnt/work/special/disk b 8 0 2> /dev/null && mkfifo /mnt/work/special/mine")
    check(stat.S_ISFIFO(os.lstat(os.path.join(path, "mine")).st_mode), "the guest's pipe is none on the host")


def the_host_changes_files(guest, work):
    """Without a cache in the guest, which is what the driver does unless told otherwise, changes are seen at once."""
    path = os.path.join(work, "changing")
    write(path, b"first\n")
    equal(guest.run("cat /mnt/work/changing"), "first\n", "a file")
    write(path, b"second, and longer\n")
    os.rename(path, os.path.join(work, "changed"))
    write(path, b"third\n")
    equal(guest.run("cat /mnt/work/changing /mnt/work/changed"), "third\nsecond, and longer\n",
          "files after the host changed them")
    os.unlink(path)
    guest.run("test ! -e /mnt/work/changing")


def who_waits_for_a_lock_can_be_killed(guest, work):
    """Linux sends a Tflush; its virtio-fs, which has no interrupts, would wait on."""
    with open(os.path.join(work, "locked"), "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        guest.run("/mnt/work/share hold /mnt/work/locked < /dev/null > /dev/null & waiter=$!; sleep 1; kill -9 $waiter; "
                  "wait $waiter; test $? = 137")


def mounting_again_starts_anew(guest):
    """Also with the guest's cache, which writes behind, and maps files for writing."""
    guest.run(f"umount /mnt/work; {MOUNT},cache=loose work /mnt/loose; test -x /mnt/loose/share; mkdir /mnt/loose/again")
    text = guest.run("/mnt/loose/share maps /mnt/loose/again || true", 200)
    check(text.splitlines()[-1:] == ["maps: ok"], f"in the guest, with a cache: {text}")
    guest.run("umount /mnt/loose")
    guest.run("dmesg | grep -iE '9p.*(fail|error)|BUG|WARNING' && false || true")


main(linux_uses_shared_folders_over_9p)
