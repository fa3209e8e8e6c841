#!/usr/bin/env python3
"""How long UEFI firmware takes to its shell, against QEMU's TCG in the same run, and how long a machine of 1 GiB takes to be
saved and to be back.

    tests/bench/firmware.py [--runs N] [--strict]

Runs alternate between the two; each number is the median of N. The firmware is Debian's OVMF, with a serial port and nothing
else; its shell has no medium to look at. A saved machine is Linux at an idle prompt. With --strict a missed target makes the
exit status 1.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
from guest import CTL, GUEST, KERNEL, Failure, Process  # noqa: E402

CODE, VARIABLES = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
SHELL = r"Press .*ESC.* in 5 seconds"
SHELL_TARGET, SAVE_TARGET = 3.0, 2.0
MIB = 1 << 20


def espalier(folder):
    return [CTL, "run", "--cpu", "soft", "--memory", "256", "--bootloader",
            f"efi,variable-store={os.path.join(folder, 'vars.fd')},firmware={CODE}", "--device", "uart,stdio"]


def qemu(folder):
    return ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-cpu", "max", "-nodefaults", "-display", "none", "-m", "256",
            "-serial", "stdio", "-drive", f"if=pflash,format=raw,readonly=on,file={CODE}",
            "-drive", f"if=pflash,format=raw,file={os.path.join(folder, 'vars.fd')}"]


def to_the_shell(command):
    """Seconds until the firmware's shell asks for a key, from a new variable store."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(VARIABLES, os.path.join(folder, "vars.fd"))
        start = time.monotonic()
        with Process(command(folder)) as machine:
            machine.expect(SHELL, 300)
            return time.monotonic() - start


def command(*words):
    start = time.monotonic()
    subprocess.run([CTL, *words], check=True, capture_output=True)
    return time.monotonic() - start


def save_and_restore():
    """(seconds to save, seconds until the shell answers again, MiB of the file)"""
    with tempfile.TemporaryDirectory() as folder:
        control, state = os.path.join(folder, "control"), os.path.join(folder, "state")
        run = [CTL, "run", "--cpu", "soft", "--memory", "1024", "--bootloader",
               f'linux,kernel={KERNEL},initrd={os.path.join(GUEST, "initrd-serial.img")},cmdline="console=ttyS0"',
               "--device", "uart,stdio", "--control", control]
        with Process(run) as machine:
            machine.expect(r"^serial# ")
            time.sleep(2)
            save = command("save", control, state)
            machine.wait()
        start = time.monotonic()
        with Process(run + ["--restore", state]) as machine:
            machine.send("echo it is $((40 + 2))\n")
            machine.expect(r"it is 42", 60)
            restore = time.monotonic() - start
        return save, restore, os.path.getsize(state) / MIB


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--strict", action="store_true")
    options = parser.parse_args()
    ours, peers, saves = [], [], []
    try:
        for _ in range(options.runs):
            ours.append(to_the_shell(espalier))
            peers.append(to_the_shell(qemu))
            saves.append(save_and_restore())
    except Failure as failure:
        sys.exit(f"bench: {failure}")
    shell, peer = statistics.median(ours), statistics.median(peers)
    save, restore, size = (statistics.median(column) for column in zip(*saves))
    rows = [(f"firmware to its shell: {shell:.2f} s, QEMU TCG {peer:.2f} s, ratio", shell / peer, SHELL_TARGET),
            (f"1 GiB idle guest saved ({size:.0f} MiB), s", save, SAVE_TARGET), ("and back, its shell answering, s", restore, SAVE_TARGET)]
    missed = False
    for what, value, target in rows:
        missed |= value > target
        print(f"{what:<64} {value:6.2f}   <= {target:.2f}   {'missed' if value > target else 'pass'}")
    sys.exit(1 if missed and options.strict else 0)


if __name__ == "__main__":
    main()
