#!/usr/bin/env python3
"""The device side of virtio-blk alone, against fio on the same file: `ring_block` and fio's io_uring engine take turns,
32 requests at a time, both through the host's page cache. The best of each is compared; at least 90 % is expected.

    tests/bench/ring_block.py [--strict] [ROUNDS [SECONDS]]

With --strict the exit status is 1 if one of them is slower than that. Writes are shown, not judged: what they cost is the host's.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, os.environ.get("ESPALIER_BUILD", "build"), "bench", "ring_block")
PATTERNS = {"read-1m": ("read", "1M"), "randread-4k": ("randread", "4k"), "write-1m": ("write", "1M"),
            "randwrite-4k": ("randwrite", "4k")}
SIZE = 256 << 20
ENOUGH = 0.9


def ours(path, seconds):
    text = subprocess.run([PROGRAM, path, str(seconds)], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {line.split()[0]: float(line.split()[2]) for line in text.splitlines()}


def fio(path, seconds):
    result = {}
    for name, (kind, size) in PATTERNS.items():
        done = subprocess.run(["fio", "--name=x", f"--filename={path}", f"--rw={kind}", f"--bs={size}", "--iodepth=32",
                               "--ioengine=io_uring", "--direct=0", "--invalidate=0", "--time_based=1",
                               f"--runtime={seconds}", "--norandommap=1", "--thread=1", "--output-format=json"],
                              stdout=subprocess.PIPE, text=True, check=True)
        job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
        result[name] = float(job["write" if "write" in kind else "read"]["bw_bytes"])
    return result


def best(results):
    return {name: max(result[name] for result in results) for name in PATTERNS}


def main():
    numbers = [word for word in sys.argv[1:] if word != "--strict"]
    rounds = int(numbers[0]) if numbers else 3
    seconds = int(numbers[1]) if len(numbers) > 1 else 2
    if not shutil.which("fio"):
        print("ring_block: fio is not installed; 'make bench' installs it")
        return 1
    with tempfile.TemporaryDirectory(prefix="espalier-bench-", dir=os.environ.get("ESPALIER_BENCH_FOLDER")) as folder:
        path = os.path.join(folder, "disk.img")
        with open(path, "wb") as file:
            for _ in range(SIZE >> 20):
                file.write(os.urandom(1 << 20))
        pairs = [(ours(path, seconds), fio(path, seconds)) for _ in range(rounds)]
    device, peer = best([pair[0] for pair in pairs]), best([pair[1] for pair in pairs])
    slow = False
    print(f"{'virtio-blk, device side':26}{'device':>12}{'fio':>12}   device/fio")
    for name in PATTERNS:
        ratio = device[name] / peer[name]
        judged = "write" not in name
        slow |= judged and ratio < ENOUGH
        print(f"{name:26}{device[name] / 1e6:8.0f} MB/s{peer[name] / 1e6:8.0f} MB/s   {ratio:.2f}"
              f"{'  TOO SLOW' if judged and ratio < ENOUGH else ''}")
    return 1 if slow and "--strict" in sys.argv else 0


sys.exit(main())
