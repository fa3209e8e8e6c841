#!/usr/bin/python3
"""Runs display_view.c, the tests of the widget with the guest's screen, on a display of its own: once with OpenGL
and once without, where cairo draws."""

import os
import sys

from desktop import BUILD, Desktop

PROGRAM = os.path.join(BUILD, "tests-ui", "display_view")

failed = 0
with Desktop("display-view", own=True) as desktop:
    for renderer, env in (("OpenGL", {}), ("cairo", {"GDK_GL": "disable"})):
        process = desktop.start(program=PROGRAM, env=env)
        status = process.wait(100)
        with open(process.log_path, encoding="utf-8", errors="replace") as log:
            text = log.read()
        drew_without = "drawn without OpenGL" in text
        print(f"--- {renderer}\n{text}")
        if drew_without != (renderer == "cairo"):
            print(f"not ok {renderer}: it was drawn {'without' if drew_without else 'with'} OpenGL")
            failed = 1
        failed = failed or status
sys.exit(1 if failed else 0)
