#!/usr/bin/python3
"""Runs display_view.c, the tests of the widget with the guest's screen, on a display of its own: with OpenGL and
without, where cairo draws, each also at a scale factor of two."""

import os
import sys

from desktop import BUILD, Desktop

PROGRAM = os.path.join(BUILD, "tests-ui", "display_view")

failed = 0
with Desktop("display-view", own=True) as desktop:
    for renderer, env, words in (("OpenGL", {"ESPALIER_RENDERER": "opengl"}, []),
                                 ("cairo", {"ESPALIER_RENDERER": "cairo"}, []),
                                 # There is no graphics card behind this display.
                                 ("cairo", {}, ["every_pixel*"]),
                                 ("cairo", {"ESPALIER_RENDERER": "opengl", "GDK_GL": "disable"}, ["every_pixel*"]),
                                 ("OpenGL", {"ESPALIER_RENDERER": "opengl", "GDK_SCALE": "2"}, ["the_pixels_of*"]),
                                 ("cairo", {"GDK_SCALE": "2"}, ["the_pixels_of*"])):
        process = desktop.start(*words, program=PROGRAM, env={"G_MESSAGES_DEBUG": "espalier", **env})
        status = process.wait(100)
        with open(process.log_path, encoding="utf-8", errors="replace") as log:
            text = log.read()
        drew_without = "drawn without OpenGL" in text
        text = "".join(line for line in text.splitlines(keepends=True) if "drawn without OpenGL" not in line)
        print(f"--- {renderer} {env}\n{text}")
        if drew_without != (renderer == "cairo"):
            print(f"not ok {renderer}: it was drawn {'without' if drew_without else 'with'} OpenGL")
            failed = 1
        failed = failed or status
sys.exit(1 if failed else 0)
