#!/usr/bin/env python3
"""What espalierctl says to wrong input: one sentence that names the thing, exit status 2, nothing made or changed.

sanitize: yes
"""
from guest import CPU, CTL, DEMO, KERNEL, PEER, SERIAL, Skip, check, equal, main, scratch

import os
import subprocess

GOOD_LOADER = f"linux,kernel={KERNEL},initrd={SERIAL},cmdline=console=ttyS0"


def refuse(*args, names, loader=GOOD_LOADER, base=("--cpu", CPU)):
    """Runs espalierctl run; it has to refuse, quickly, in words that have all of `names`."""
    if PEER:
        raise Skip("only for espalierctl")
    line = [CTL, "run", *base] + (["--bootloader", loader] if loader else []) + list(args)
    done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20,
                          check=False)
    text = done.stderr.decode("utf-8", "replace").strip()
    what = " ".join(args) or loader
    equal(done.returncode, 2, f"exit status for {what} ({text})")
    equal(done.stdout, b"", f"standard output for {what}")
    for name in names:
        check(name in text, f"the message for {what} does not name {name!r}: {text!r}")
    # One fault is one line; too little memory, say, may have others behind it.
    lines = text.splitlines()
    check(1 <= len(lines) <= 3 and all(len(line) < 400 for line in lines), f"not clear for {what}: {text!r}")


def make(folder, name, content):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(content)
    return path


def kernels_that_are_none():
    with scratch() as folder:
        text = make(folder, "readme", b"not a kernel\n" * 1000)
        empty = make(folder, "empty", b"")
        with open(KERNEL, "rb") as file:
            short = make(folder, "short", file.read(20000))
        for path in (text, empty, short, folder, os.path.join(folder, "nowhere")):
            refuse(loader=f"linux,kernel={path}", names=[path])
        fifo = os.path.join(folder, "fifo")
        os.mkfifo(fifo)
        refuse(loader=f"linux,kernel={fifo}", names=[fifo])


def initrds_that_are_missing_or_cut():
    with scratch() as folder:
        gone = os.path.join(folder, "gone")
        refuse(loader=f"linux,kernel={KERNEL},initrd={gone}", names=[gone])
        refuse(loader=f"linux,kernel={KERNEL},initrd={folder}", names=[folder])
        with open(DEMO, "rb") as file:
            cut = make(folder, "cut", file.read(300000))
        refuse(loader=f"linux,kernel={KERNEL},initrd={cut}", names=[cut])
        equal(os.path.getsize(cut), 300000, "size of the initrd afterwards")


def disks_that_cannot_be():
    with scratch() as folder:
        gone = os.path.join(folder, "gone.img")
        refuse("--device", f"virtio-blk,path={gone}", names=[gone])
        check(not os.path.exists(gone), "the missing disk was created")
        refuse("--device", f"virtio-blk,path={folder}", names=[folder])
        empty = make(folder, "empty.img", b"")
        refuse("--device", f"virtio-blk,path={empty}", names=[empty])
        good = make(folder, "disk.img", bytes(1 << 20))
        refuse("--device", f"virtio-blk,path={good}", "--device", f"virtio-blk,path={good}", names=[good])
        refuse("--device", f"virtio-blk,path={good},deviceId={'x' * 21}", names=["virtio-blk", "20"])
        equal(open(good, "rb").read(), bytes(1 << 20), "the disk afterwards")


def numbers_out_of_range():
    for cpus in ("0", "10000", "-1", "two", "1x", "", "99999999999999999999"):
        refuse("--cpus", cpus, names=["cpus"])
    for memory in ("0", "1", "-5", "lots", "99999999", "18446744073709551615", "99999999999999999999999"):
        refuse("--memory", memory, names=["memory"])


def words_nobody_knows():
    refuse("--device", "flux-capacitor", names=["flux-capacitor"])
    refuse("--device", "virtio-rng,speed=9", names=["speed"])
    refuse("--device", "", names=["device"])
    refuse("--device", "uart", names=["uart"])
    refuse("--device", "uart,stdio,logFilePath=/tmp/x", names=["uart"])
    refuse("--device", "virtio-input,joystick", names=["joystick"])
    refuse("--device", "virtio-gpu,width=0,height=600", names=["virtio-gpu", "width cannot be 0; give 320 to 8192"])
    refuse("--device", "virtio-gpu,width=1e9,height=600", names=["width"])
    refuse("--device", "virtio-gpu,width=2000000000,height=2000000000", names=["virtio-gpu"])
    refuse("--frobnicate", names=["frobnicate"])
    refuse("--cpu", "quantum", names=["quantum"])
    refuse("--cpus", names=["cpus"])
    refuse("--cpu-stats=3", names=["--cpu-stats", "takes no value"])
    refuse("stray", names=["stray"])
    refuse(loader="macos", names=["macos"])
    refuse(loader="linux", names=["kernel"])
    refuse(loader=None, names=["bootloader"])


def cpus_that_cannot_be():
    for cpu, name in (("soft:jit", "jit"), ("soft:", "interpreter or translator"), ("kvm:translator", ":translator"),
                      ("auto,lockstep", "lockstep"), ("soft,speed=9", "speed"), ("soft,code-cache=1M", "8M to 1024M"),
                      ("soft:translator,code-cache=2048M", "8M to 1024M"), ("soft,code-cache=lots", "lots"),
                      ("soft:interpreter,lockstep", "lockstep"), ("soft,lockstep,lockstep", "twice")):
        refuse("--cpu", cpu, base=(), names=["--cpu", name])


def log_files_that_cannot_be_written():
    with scratch() as folder:
        path = os.path.join(folder, "no", "such", "folder.log")
        refuse("--device", f"uart,logFilePath={path}", names=[path])
        refuse("--device", f"uart,logFilePath={folder}", names=[folder])


def nothing_is_left_behind():
    with scratch() as folder:
        before = sorted(os.listdir(folder))
        path = os.path.join(folder, "serial.log")
        # Two things wrong: the log must not be made on the way to finding the second.
        refuse("--device", f"uart,logFilePath={path}", "--device", f"virtio-blk,path={folder}/gone", names=["gone"])
        equal(sorted(os.listdir(folder)), before, "files in the folder")


main(kernels_that_are_none, initrds_that_are_missing_or_cut, disks_that_cannot_be, numbers_out_of_range,
     words_nobody_knows, cpus_that_cannot_be, log_files_that_cannot_be_written, nothing_is_left_behind)
