#!/usr/bin/env python3
"""Shared folders for longer: some hundred answers that POSIX asks for, fio's verification, and processes that work at once, on
virtio-fs with and without a cache, and on 9P.

time-limit: 5400
"""
from guest import CTL, PEER, TOOLS, Skip, boot_devices, build_program, check, equal, host, main, need, scratch

import hashlib
import os
import re
import stat

REFERENCE = "reference"  # ext4 on a disk: a tmpfs of this kernel knows no user.* attributes
KINDS = {"none": "direct", "nine": "nine"}  # whose answers differ; see posix.c
PROGRAMS = ("posix", "stress")


def build(folder):
    """The guest's programs, into a folder it gets."""
    need("mke2fs")
    for name in PROGRAMS:
        build_program(name, os.path.join(folder, name))


class Shares:
    """Folders of the host, how the guest gets them, and where it mounts them: where programs of the tools disk see them too."""

    def __init__(self, folder):
        self.folders, self.mounts, self.devices = {}, {}, []
        self.at = "/tools/mnt"
        kinds = {"auto": "virtio-fs,sharedDir={},mountTag=auto,queues=2",
                 "none": "virtio-fs,sharedDir={},mountTag=none,cache=none",
                 "always": "virtio-fs,sharedDir={},mountTag=always,cache=always"}
        if "virtio-9p" in host(CTL, "run", "--help"):
            kinds["nine"] = "virtio-9p,sharedDir={},mountTag=nine,uid=0,gid=0"
        for name, words in kinds.items():
            self.folders[name] = os.path.join(folder, name)
            os.mkdir(self.folders[name], 0o755)
            self.devices.append(words.format(self.folders[name]))
            self.mounts[name] = f"{self.at}/{name}"

    def mount(self, guest):
        guest.run("modprobe virtiofs")
        if "nine" in self.folders:
            guest.run("modprobe -a 9pnet_virtio 9p")
        for name, where in self.mounts.items():
            options = "-t 9p -o trans=virtio,version=9p2000.L,msize=262144" if name == "nine" else "-t virtiofs"
            guest.run(f"mkdir -p {where}; mount {options} {name} {where}")
        guest.run(f"modprobe ext4; mkdir -p {self.at}/{REFERENCE}; mount -t ext4 /dev/vdb {self.at}/{REFERENCE}")


def answers(guest, where, kind):
    """What was not as it should be, each a line; and how many answers were."""
    text = guest.run(f"mkdir {where}/posix && /tmp/posix {where}/posix {kind} || true", 600)
    found = re.search(r"^posix: (\d+) as they should be, (\d+) not$", text, re.M)
    check(found, f"no result on {where}: {text[-1000:]}")
    return int(found.group(1)), [line for line in text.splitlines() if line.startswith("posix: ") and line != found.group(0)]


def what_posix_asks(guest, shares):
    """The reference first: a line that ext4 does not agree to is wrong."""
    good, bad = answers(guest, f"{shares.at}/{REFERENCE}", "reference")
    check(not bad and good > 700, f"{good} answers of the reference were right; not so:\n" + "\n".join(bad))
    problems = []
    for name, where in shares.mounts.items():
        good, bad = answers(guest, where, KINDS.get(name, "share"))
        print(f"  {name}: {good} of {good + len(bad)} answers")
        problems += [f"{name}: {line}" for line in bad]
    check(not problems, "not as POSIX asks:\n" + "\n".join(problems))


def fio_verifies(guest, where):
    for pattern in ("write", "randwrite"):
        text = guest.run(f"tools fio --name={pattern} --directory={where.removeprefix('/tools')} --rw={pattern} --bsrange=1k-128k "
                         "--size=12m --numjobs=2 --verify=crc32c --do_verify=1 --verify_fatal=1 --ioengine=psync --fsync=64 "
                         "--output-format=terse > /tmp/fio.out 2>&1; r=$?; grep -i 'verify\\|error' /tmp/fio.out; [ $r = 0 ]", 900)
        check("verify: bad" not in text, f"fio on {where}: {text}")
    guest.run(f"rm {where}/*write*")


def digests(folder):
    """{name: sha256} of all files below a folder of the host."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            whole = os.path.join(path, name)
            check(stat.S_ISREG(os.lstat(whole).st_mode), f"“{whole}” is no file")
            with open(whole, "rb") as file:
                found[os.path.relpath(whole, folder)] = hashlib.sha256(file.read()).hexdigest()
    return found


def many_work_at_once(guest, where, folder):
    """Eight processes, each with its own idea of what is in its files; then the host's view against the guest's."""
    text = guest.run(f"mkdir {where}/stress && /tmp/stress {where}/stress 8 400 || true", 1200)
    check("stress: ok" in text, f"on {where}: {text}")
    listing = guest.run(f"cd {where}/stress; find . -type f -exec sha256sum {{}} + ; cd /", 600)
    seen = {name[2:]: digest for digest, name in (line.split() for line in listing.splitlines())}
    check(len(seen) > 40, f"only {len(seen)} files on {where}")
    equal(digests(os.path.join(folder, "stress")), seen, f"files of the host, against those of {where}")


def shared_folders_for_longer():
    if PEER:
        raise Skip("only for espalierctl")
    if not os.path.exists(TOOLS):
        raise Skip(f"{TOOLS} is not built (make {TOOLS})")
    with scratch() as folder:
        os.chmod(folder, 0o755)
        shares = Shares(folder)
        build(shares.folders["auto"])
        reference = os.path.join(folder, "reference.img")
        with open(reference, "wb") as file:
            file.truncate(64 << 20)
        host("mke2fs", "-q", "-t", "ext4", reference)
        devices = (f"virtio-blk,path={TOOLS},deviceId=tools,readonly", f"virtio-blk,path={reference}", *shares.devices)
        with boot_devices(devices=devices, cpus=2, memory=1024, extra=("--control", os.path.join(folder, "control"))) as guest:
            shares.mount(guest)
            guest.run(f"cd {shares.mounts['auto']}; mv {' '.join(PROGRAMS)} /tmp; cd /")
            what_posix_asks(guest, shares)
            for name, where in shares.mounts.items():
                fio_verifies(guest, where)
                many_work_at_once(guest, where, shares.folders[name])
            guest.run("dmesg | grep -iE 'BUG:|WARNING:|call trace|I/O error' && exit 1; true")
            guest.send("poweroff -f\n")
            equal(guest.wait(60), 0, "exit status")


main(shared_folders_for_longer)
