"""What the tests of disks share: images, a look at them from the host, and a host's disk that is full."""

import os
import subprocess

from guest import PEER, Skip, boot_devices, check, host, need, scratch

MIB = 1 << 20


def disk(folder, name, mib, fill=None):
    """An image of so many MiB, sparse or full of one byte."""
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        if fill is None:
            file.truncate(mib * MIB)
        else:
            file.write(bytes([fill]) * (mib * MIB))
    return path


def space(path):
    """Bytes the file takes on the host."""
    return os.stat(path).st_blocks * 512


def content(path, offset, length):
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(length)


ZERO_C = r"""
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>

int main(int argc, char **argv)
{
    uint64_t range[2] = {strtoull(argv[2], 0, 0), strtoull(argv[3], 0, 0)};

    return ioctl(open(argv[1], O_RDWR), BLKZEROOUT, range) != 0;
}
"""


def zero_program(folder):
    """BLKZEROOUT for a shell (busybox has none), on a disk of its own."""
    source, path = os.path.join(folder, "zero.c"), os.path.join(folder, "zero")
    with open(source, "w", encoding="utf-8") as file:
        file.write(ZERO_C)
    host("cc", "-static", "-Os", "-s", "-o", path, source)
    with open(path, "ab") as file:
        file.truncate((os.path.getsize(path) + 4095) // 4096 * 4096)
    return path


class SmallFileSystem:
    """A tmpfs that a guest's disk lies on. It is another process's, in a mount namespace of its own: its files are
    reached through /proc."""

    def __init__(self, mib):
        script = (f"mkdir /tmp/small.$$ && mount -t tmpfs -o size={mib}m small /tmp/small.$$ && echo /tmp/small.$$ && "
                  "read -r _; umount /tmp/small.$$; rmdir /tmp/small.$$")
        unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
        self.holder = subprocess.Popen(unshare + ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL)
        self.inside = self.holder.stdout.readline().decode().strip()
        self.path = f"/proc/{self.holder.pid}/root{self.inside}"

    def __enter__(self):
        if not self.inside or not os.path.isdir(self.path):
            self.holder.kill()
            self.holder.wait()
            raise Skip("no small file system can be mounted here")
        return self

    def __exit__(self, *_):
        self.holder.stdin.close()
        self.holder.wait()


def waits_for_room(kind, name):
    """A disk that has more to write than the host has room for, until something there is removed."""
    if PEER:
        raise Skip("only for espalierctl")
    need("unshare")
    with scratch() as folder, SmallFileSystem(6) as small:
        path, ballast = disk(small.path, "disk.img", 16), os.path.join(small.path, "ballast")
        with open(ballast, "wb") as file:
            file.write(b"x" * (4 * MIB))
        socket = os.path.join(folder, "control")
        with boot_devices(devices=(f"{kind},path={path}",), extra=("--control", socket)) as guest:
            guest.run(f"until [ -e /sys/block/{name} ]; do coldplug; sleep 0.1; done")
            guest.run("dd if=/dev/urandom of=/tmp/r bs=1M count=4; sha256sum /tmp/r > /tmp/sum")
            guest.send(f"dd if=/tmp/r of=/dev/{name} bs=1M conv=fsync; echo written-$?-\n")
            guest.expect("espalierctl: Disk “[^”]*disk.img” has no room on this computer", 200)
            before = guest.mark
            os.remove(ballast)
            # Whichever comes first.
            for _ in range(2):
                guest.expect(r"written-0-|espalierctl: there is room again, the machine goes on", 200)
            check("has no room" not in guest.seen[before:], "the message came more than once")
            check("error" not in guest.run(f"dmesg | grep {name} || true").lower(), "the guest's kernel saw an error")
            guest.run("echo 3 > /proc/sys/vm/drop_caches; cut -d' ' -f1 /tmp/sum > /tmp/a; "
                      f"dd if=/dev/{name} bs=1M count=4 | sha256sum | cut -d' ' -f1 > /tmp/b; cmp /tmp/a /tmp/b")
