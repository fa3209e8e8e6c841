#!/usr/bin/python3
"""What `make install` puts into a prefix, as a desktop, a shell and a packager look at it.

time-limit: 240
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from desktop import BUILD, ROOT


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, **options)


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def agree(result, text):
    check(result.returncode == 0, f"{text}: {(result.stderr + result.stdout)[-600:]}")


class Prefix:
    """An installation in a folder of its own, made once."""

    def __init__(self, folder):
        self.root = folder
        self.usr = os.path.join(folder, "usr")
        result = run("make", "WAY=1", f"B={os.path.relpath(BUILD, ROOT)}", "PREFIX=/usr", f"DESTDIR={folder}", "install",
                     cwd=ROOT)
        agree(result, "make install")

    def share(self, *parts):
        return os.path.join(self.usr, "share", *parts)


def test_the_programs_run_from_there(prefix):
    for name in ("espalier", "espalierctl"):
        agree(run(os.path.join(prefix.usr, "bin", name), "--version"), name)


def test_the_desktop_takes_the_entry_and_the_metainfo(prefix):
    agree(run("desktop-file-validate", prefix.share("applications", "org.espalier.Espalier.desktop")), "desktop entry")
    agree(run("appstreamcli", "validate", "--no-net", prefix.share("metainfo", "org.espalier.Espalier.metainfo.xml")),
          "metainfo")
    agree(run("glib-compile-schemas", "--strict", "--dry-run", prefix.share("glib-2.0", "schemas")), "settings' schema")
    for folder, _, names in os.walk(prefix.share("icons")):
        for name in names:
            agree(run("xmllint", "--noout", os.path.join(folder, name)), name)


def test_the_bus_starts_the_program(prefix):
    with open(prefix.share("dbus-1", "services", "org.espalier.Espalier.service"), encoding="ascii") as file:
        text = file.read()
    check("Name=org.espalier.Espalier\n" in text and re.search(r"^Exec=/usr/bin/espalier\b", text, re.M), text)


def test_manual_pages_have_no_mistakes(prefix):
    pages = [os.path.join(folder, name) for folder, _, names in os.walk(prefix.share("man")) for name in names]
    check(len(pages) >= 3, f"there are only {pages}")
    for page in pages:
        result = run("groff", "-Kutf8", "-man", "-ww", "-Wbreak", "-Tutf8", page)
        agree(result, page)
        check(not result.stderr.strip(), f"{page}: {result.stderr}")


COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
compopt() { :; }
_espalierctl
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_bash_completes_commands_options_and_machines(prefix):
    script = prefix.share("bash-completion", "completions", "espalierctl")
    home = os.path.join(prefix.root, "home")
    folder = os.path.join(home, "espalier", "machines", "Two words.espalier")
    os.makedirs(folder)
    with open(os.path.join(folder, "config.plist"), "w", encoding="ascii") as file:
        file.write("<plist version='1.0'><dict><key>Version</key><integer>1</integer></dict></plist>\n")
    env = {**os.environ, "PATH": os.path.join(prefix.usr, "bin") + ":" + os.environ["PATH"], "XDG_DATA_HOME": home}

    def complete(*words):
        result = run("bash", "-c", COMPLETE, "bash", script, "espalierctl", *words, env=env)
        agree(result, "bash")
        return result.stdout.split("\n")[:-1]

    check(complete("sn") == ["snapshot", "snapshots"], f"commands: {complete('sn')}")
    check("--force" in complete("stop", "--"), f"options: {complete('stop', '--')}")
    check(complete("stop", "Tw") == ["Two\\ words"], f"machines: {complete('stop', 'Tw')}")
    check("memory=" in complete("set", "Two words", "mem"), f"settings: {complete('set', 'Two words', 'mem')}")


def test_the_package_is_built_with_all_that_a_build_needs(prefix):
    with open(os.path.join(ROOT, "debian", "control"), encoding="utf-8") as file:
        control = file.read()
    depends = re.search(r"Build-Depends:(.*?)^\S", control, re.S | re.M).group(1)
    named = {word.split()[0] for word in depends.replace("\n", " ").split(",")}
    needed = set()
    for lists in ("tools/packages.txt", "ui/packages.txt"):
        with open(os.path.join(ROOT, lists), encoding="utf-8") as file:
            needed |= {line.split()[1] for line in file if line.startswith(("build ", "ui ", "guest "))}
    essential = {"gcc", "libc6-dev", "apt", "dpkg", "gzip"}  # build-essential and what every Debian has
    running = {"adwaita-icon-theme", "librsvg2-common", "libgl1-mesa-dri", "xkb-data", "iso-codes", "tzdata"}
    check(needed - essential - running <= named, f"debian/control lacks {sorted(needed - essential - running - named)}")


def main():
    failed = 0
    with tempfile.TemporaryDirectory(prefix="espalier-package-") as folder:
        prefix = Prefix(folder)
        for name, test in [(name, value) for name, value in globals().items() if name.startswith("test_")]:
            if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
                continue
            shown = name[5:].replace("_", " ")
            try:
                test(prefix)
                print(f"ok {shown}")
            except AssertionError as error:
                print(f"not ok {shown}: {error}")
                failed = 1
    return failed


if __name__ == "__main__":
    if not shutil.which("groff"):
        print("there is no groff here")
        sys.exit(77)
    sys.exit(main())
