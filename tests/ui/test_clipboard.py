#!/usr/bin/python3
"""Runs clipboard.c, the tests of the host's clipboard and a guest's, on a display of its own."""

import os
import sys

from desktop import BUILD, PATIENCE, Desktop

with Desktop("clipboard", own=True) as desktop:
    process = desktop.start(*sys.argv[1:], program=os.path.join(BUILD, "tests-ui", "clipboard"))
    status = process.wait(100 * PATIENCE)
    print(desktop.output())
    desktop.check_health()
sys.exit(1 if status else 0)
