"""What the tests of shared folders share: both mount one as /mnt/work, with a program in it (programs/share.c)."""

import fcntl
import hashlib
import os

from guest import check, equal


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
