"""Locales of the C library, made where a test needs them."""

import os
import subprocess


def make_locale(folder, name):
    """One in `folder`, which LOCPATH is to name. Returns why it cannot be made, or None."""
    path = os.path.join(folder, name + ".UTF-8")
    done = subprocess.run(["localedef", "-i", name, "-f", "UTF-8", path], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    return None if os.path.isdir(path) else done.stdout.decode("utf-8", "replace").strip()
