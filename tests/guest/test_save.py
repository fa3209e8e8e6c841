#!/usr/bin/env python3
"""Machines saved in the middle of something and brought back by another process, as they were.

time-limit: 900
"""
import os
import re
import shutil
import time

from guest import (CPU, CTL, DEVICES, Failure, PEER, SERIAL, Skip, boot, boot_serial, check, equal, host, main, scratch)

MIB = 1 << 20
COUNT = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo tick-$i; sleep 0.1; done\n"


def refusal(*args):
    try:
        host(CTL, *args)
    except Failure as failure:
        return str(failure)
    raise Failure(f"espalierctl {' '.join(args)} ended with status 0")


def machine(folder, start=boot_serial, devices=(), more=(), extra=(), **options):
    """A machine with a control socket, booted or, with more=("--restore", FILE), brought back."""
    if PEER:
        raise Skip("only for espalierctl")
    control = os.path.join(folder, "control")
    return start(devices=("uart,stdio", *devices), extra=("--control", control, *more, *extra), **options)


def save(folder, guest):
    """Saves the machine, which ends it; returns how long that took and how large the file is."""
    start = time.monotonic()
    host(CTL, "save", os.path.join(folder, "control"), os.path.join(folder, "state"))
    took = time.monotonic() - start
    equal(guest.wait(), 0, "exit status of the machine that was saved")
    return took, os.path.getsize(os.path.join(folder, "state"))


def restored(folder, **options):
    return machine(folder, start=boot, more=("--restore", os.path.join(folder, "state")), **options)


def power_off(guest):
    guest.send("poweroff -f\n")
    equal(guest.wait(), 0, "exit status after the guest's poweroff")


def a_loop_goes_on(**options):
    """Saves a machine in the middle of a loop of its shell; not a turn of it is lost or done twice."""
    with scratch() as folder:
        with machine(folder, **options) as guest:
            guest.send(COUNT)
            guest.expect(r"^tick-7$")
            figures = save(folder, guest)
            last = int(re.findall(r"^tick-(\d+)$", guest.seen, re.M)[-1])
        start = time.monotonic()
        with restored(folder, **options) as guest:
            first = int(guest.expect(r"^tick-(\d+)$", 30).group(1))
            took = time.monotonic() - start
            # What was on its way through the serial port may come in either.
            check(last <= first <= last + 1, f"tick {first} after tick {last}")
            guest.expect(r"^tick-60$", 60)
            ticks = [int(tick) for tick in re.findall(r"^tick-(\d+)$", guest.seen, re.M)]
            equal(ticks, list(range(first, 61)), "ticks after the restore")
            equal(guest.run("echo still $((6*7))").strip(), "still 42", "the shell afterwards")
            power_off(guest)
        return *figures, took


def a_shell_comes_back_in_the_middle_of_a_command():
    a_loop_goes_on()


def two_cpus_come_back():
    a_loop_goes_on(cpus=2)


def a_state_of_one_engine_goes_on_in_the_other():
    if CPU != "soft":
        raise Skip("only the software CPU has two engines")
    with scratch() as folder:
        with machine(folder, cpu="soft:interpreter") as guest:
            guest.send(COUNT)
            guest.expect(r"^tick-3$")
            save(folder, guest)
        with restored(folder, cpu="soft:translator") as guest:
            guest.expect(r"^tick-20$", 60)
            save(folder, guest)
        with restored(folder, cpu="soft:interpreter") as guest:
            guest.expect(r"^tick-60$", 60)
            power_off(guest)


def a_gigabyte_is_saved_and_restored_quickly_and_small():
    save_took, size, restore_took = a_loop_goes_on(memory=1024)
    print(f"# saved in {save_took:.2f} s, back and talking in {restore_took:.2f} s, {size / MIB:.0f} MiB")
    # An idle guest has touched some 100 MiB; the times are wide, as other things may run on this computer.
    check(size < 200 * MIB, f"the file has {size / MIB:.0f} MiB")
    check(save_took < 10 and restore_took < 10, f"it took {save_took:.1f} s and {restore_took:.1f} s")


def the_clock_is_right_afterwards():
    with scratch() as folder:
        with machine(folder) as guest:
            save(folder, guest)
        time.sleep(5)
        with restored(folder) as guest:
            guest.send("\n")
            guest.expect(r"^serial# ", 30)
            before = time.time()
            seen = float(guest.run("date +%s").strip())
            check(before - 2 <= seen <= time.time() + 2, f"the guest's clock is off by {seen - before:.1f} s")
            power_off(guest)


# ---- devices ----

BACKGROUND = "(while :; do dd if=/dev/{0} of=/dev/null bs=64k count=64 iflag=direct 2>/dev/null || exit; done) &\n"


NETWORK = ("ip link set eth0 up; udhcpc -i eth0 -n -q -s /bin/true >/dev/null 2>&1; ip addr add 10.0.2.15/24 dev eth0; "
           "ip route add default via 10.0.2.2")


def wait_for_prompt(guest):
    guest.send("\n")
    guest.expect(r"^serial# ", 30)


def virtio_devices_go_on():
    with scratch() as folder:
        disk = os.path.join(folder, "disk")
        with open(disk, "wb") as file:
            file.write(bytes(range(256)) * (16 * MIB // 256))
        devices = (f"virtio-blk,path={disk}", "virtio-net,nat", "virtio-rng", "virtio-balloon", "virtio-input,keyboard",
                   "virtio-input,pointing", "virtio-gpu", "virtio-sound,backend=silent",
                   f"virtio-vsock,port=1024,socketURL={folder}/vsock,listen",
                   f"virtio-serial,logFilePath={folder}/log", f"virtio-serial,socketPath={folder}/port,name=a.port")
        options = dict(initrd=DEVICES, devices=devices, cpus=2)
        with machine(folder, **options) as guest:
            guest.run(NETWORK)
            guest.run("md5sum /dev/vda > /tmp/sum; dd if=/dev/hwrng of=/dev/null bs=16 count=1 2>/dev/null")
            guest.run("echo before > /dev/hvc0")
            guest.send(BACKGROUND.format("vda"))
            guest.send("dd if=/dev/urandom of=/tmp/new bs=1M count=2 2>/dev/null; "
                       "while :; do dd if=/tmp/new of=/dev/vda bs=64k seek=100 oflag=direct 2>/dev/null; done & sleep 1; "
                       "echo wri\"\"ting\n")
            guest.expect(r"^writing$")
            save(folder, guest)
        with restored(folder, **options) as guest:
            wait_for_prompt(guest)
            guest.run("kill %1 %2; sleep 1; sync; dd if=/tmp/new of=/dev/vda bs=64k seek=100 oflag=direct 2>/dev/null; "
                      "dd if=/dev/vda bs=64k skip=100 count=32 2>/dev/null | cmp - /tmp/new")
            guest.run("ping -c 2 -W 5 10.0.2.2 >/dev/null")
            guest.run("dd if=/dev/hwrng of=/dev/null bs=16 count=1 2>/dev/null")
            guest.run("echo after > /dev/hvc0")
            check("error" not in guest.run("dmesg | grep -i 'virtio.*error\\|blk.*error' || true"), guest.tail())
            power_off(guest)
        with open(os.path.join(folder, "log"), encoding="utf-8") as log:
            text = log.read()
        check("before" in text and "after" in text, f"the console's log has {text!r}")


def usb_e1000_and_nvme_go_on():
    with scratch() as folder:
        disk = os.path.join(folder, "disk")
        with open(disk, "wb") as file:
            file.write(os.urandom(8 * MIB))
        stick = os.path.join(folder, "stick")
        with open(stick, "wb") as file:
            file.write(os.urandom(8 * MIB))
        devices = (f"usb-mass-storage,path={stick}", "usb-keyboard", "usb-tablet", "e1000,nat", "vga",
                   f"nvme,path={disk}")
        options = dict(initrd=DEVICES, devices=devices)
        with machine(folder, **options) as guest:
            guest.run("modprobe -q nvme; until [ -b /dev/nvme0n1 ]; do sleep 0.2; done; md5sum /dev/nvme0n1 > /tmp/nvme")
            guest.run("modprobe -a usb-storage sd_mod; until [ -b /dev/sda ]; do sleep 0.2; done; md5sum /dev/sda > /tmp/sum")
            guest.run(NETWORK)
            guest.send(BACKGROUND.format("sda"))
            guest.send(BACKGROUND.format("nvme0n1"))
            guest.run("sleep 1")
            save(folder, guest)
        with restored(folder, **options) as guest:
            wait_for_prompt(guest)
            guest.run("kill %1 %2; echo 3 > /proc/sys/vm/drop_caches; md5sum -c /tmp/sum; md5sum -c /tmp/nvme")
            guest.run("dd if=/dev/urandom of=/tmp/new bs=64k count=8; dd if=/tmp/new of=/dev/nvme0n1 bs=64k oflag=direct; "
                      "dd if=/dev/nvme0n1 bs=64k count=8 iflag=direct | cmp - /tmp/new")
            guest.run("sleep 3; ping -c 2 -W 5 10.0.2.2 >/dev/null", 90)
            equal(guest.run("dmesg | grep -i 'usb.*reset\\|nvme.*timeout\\|nvme.*abort' || true").strip(), "", "complaints")
            power_off(guest)


def shared_folders_go_on():
    """Files that were open in the guest still are, and what is gone meanwhile is stale and no more than that."""
    with scratch() as folder:
        devices = []
        for kind in ("fs", "9p"):
            os.mkdir(os.path.join(folder, kind))
            devices.append(f"virtio-{kind},sharedDir={folder}/{kind},mountTag={kind}")
            for name in ("read", "gone"):
                with open(os.path.join(folder, kind, name), "w", encoding="utf-8") as file:
                    file.writelines(f"{name} {line}\n" for line in range(1000))
        options = dict(initrd=DEVICES, devices=devices)
        with machine(folder, **options) as guest:
            guest.run("modprobe -a virtiofs 9pnet_virtio 9p; mkdir -p /fs /9p; mount -t virtiofs fs /fs && mount -t 9p -o trans=virtio,version=9p2000.L 9p /9p")
            guest.run("exec 3</fs/read 4</9p/read 5>>/fs/written 6>>/9p/written 7</fs/gone 8</9p/gone; "
                      "for n in 3 4; do read a <&$n; done; for n in 5 6; do echo before >&$n; done")
            save(folder, guest)
        for kind in ("fs", "9p"):
            os.unlink(os.path.join(folder, kind, "gone"))
        with restored(folder, **options) as guest:
            wait_for_prompt(guest)
            equal(guest.run("for n in 3 4; do read a <&$n; echo $a; done").split("\n")[:2], ["read 1"] * 2, "lines read on")
            guest.run("for n in 5 6; do echo after >&$n; done; exec 3<&- 4<&- 5>&- 6>&-")
            guest.run("! cat <&7 >/dev/null 2>&1; ! cat <&8 > /dev/null 2>&1; exec 7<&- 8<&-")
            guest.run("[ ! -e /fs/gone -a ! -e /9p/gone ]; echo new > /fs/new; echo new > /9p/new; umount /fs /9p")
            power_off(guest)
        for kind in ("fs", "9p"):
            with open(os.path.join(folder, kind, "written"), encoding="utf-8") as file:
                equal(file.read(), "before\nafter\n", f"what was written through {kind}")


# ---- what does not fit ----

def what_does_not_fit_is_refused():
    """One boot, and then all that can be wrong with what it was saved to."""
    with scratch() as folder:
        disk = os.path.join(folder, "disk")
        state = os.path.join(folder, "state")
        with open(disk, "wb") as file:
            file.truncate(MIB)
        devices = (f"virtio-blk,path={disk}",)
        with machine(folder, devices=devices) as guest:
            check("cannot be made: No such file" in
                  refusal("save", os.path.join(folder, "control"), os.path.join(folder, "nowhere", "state")),
                  "a folder that is not there")
            equal(guest.run("echo alive").strip(), "alive", "the machine after a save that failed")
            guest.send("echo go\"\"ne\n")
            guest.expect(r"^gone$")
            save(folder, guest)

        def refused(what, sentence, status=2, **options):
            options.setdefault("devices", devices)
            with restored(folder, **options) as guest:
                equal(guest.wait(), status, f"exit status of a restore with {what}")
                check(re.search(sentence, guest.seen), f"{what}: said {guest.seen!r}")
                equal(guest.seen.count("\n"), 1, f"sentences about {what}")
            check(os.path.exists(state), f"the state is gone after {what}")

        refused("two CPUs", "of a machine with 1 CPU, and this one has 2 CPUs", cpus=2)
        refused("another CPU", "CPUs of the model host, and this one has CPUs of the model x86-64-v2",
                extra=("--cpu-model", "x86-64-v2"))
        refused("less memory", "of a machine with 512 MiB of memory, and this one has 256 MiB", memory=256)
        refused("no disk", "of a machine with a virtio-blk as device 1, at PCI 01.0, and this one has no such", devices=())
        refused("one device more", "This machine has a virtio-rng as device 2", devices=(*devices, "virtio-rng"))

        whole = os.path.join(folder, "whole")
        shutil.copyfile(state, whole)
        os.truncate(state, os.path.getsize(state) - 1000)
        refused("a file cut short", "“.*” has been cut short, to \\d+ bytes")
        shutil.copyfile(whole, state)
        with open(state, "r+b") as file:
            file.seek(os.path.getsize(state) // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 4]))
        refused("a bit flipped", "“.*” is damaged at byte \\d+")
        with open(state, "w", encoding="utf-8") as file:
            file.write("something else altogether, and not a short one\n")
        refused("something else", "“.*” is not the saved state of a virtual machine")
        shutil.copyfile(whole, state)
        times = os.stat(disk)
        os.utime(disk, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
        refused("a disk that has changed", "The disk “.*” has changed since the machine was saved")
        os.utime(disk, ns=(times.st_atime_ns, times.st_mtime_ns))

        with restored(folder, devices=devices) as guest:
            wait_for_prompt(guest)
            power_off(guest)


def a_machine_may_go_on_after_it_was_saved():
    with scratch() as folder:
        with machine(folder) as guest:
            guest.send(COUNT)
            guest.expect(r"^tick-3$")
            host(CTL, "save", "--keep-running", os.path.join(folder, "control"), os.path.join(folder, "state"))
            guest.expect(r"^tick-60$", 60)
            power_off(guest)
        with restored(folder) as guest:
            guest.expect(r"^tick-60$", 60)
            power_off(guest)


main(
    a_shell_comes_back_in_the_middle_of_a_command,
    two_cpus_come_back,
    a_state_of_one_engine_goes_on_in_the_other,
    a_gigabyte_is_saved_and_restored_quickly_and_small,
    the_clock_is_right_afterwards,
    virtio_devices_go_on,
    usb_e1000_and_nvme_go_on,
    shared_folders_go_on,
    what_does_not_fit_is_refused,
    a_machine_may_go_on_after_it_was_saved,
)
