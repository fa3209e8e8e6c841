#!/usr/bin/env python3
"""Every input that is kept in tests/fuzz/corpus, once through its fuzz target: what was found stays found.

sanitize: yes
time-limit: 300
"""

import glob
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("ESPALIER_BUILD", "build"))
PATIENCE = float(os.environ.get("ESPALIER_PATIENCE", "1"))
SECONDS = 60


def main():
    os.chdir(ROOT)
    failed = False
    for source in sorted(glob.glob("tests/fuzz/fuzz_*.c")):
        target = os.path.splitext(os.path.basename(source))[0]
        corpus = f"tests/fuzz/corpus/{target}"
        if not os.path.isdir(corpus):
            print(f"skip {target}: has no corpus yet")
            continue
        try:
            done = subprocess.run([os.path.join(BUILD, "fuzz-replay", target), corpus], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                  timeout=SECONDS * PATIENCE, check=False)
            status, output = done.returncode, done.stdout
        except subprocess.TimeoutExpired:
            status, output = None, f"not done after {SECONDS * PATIENCE:.0f} seconds"
        if status == 0:
            print(f"ok {target}")
        else:
            failed = True
            print(f"not ok {target}: status {status}\n{output[-4000:]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
