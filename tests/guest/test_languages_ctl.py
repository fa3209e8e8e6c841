#!/usr/bin/env python3
"""What espalierctl says in another language: its own sentences, vmcore's, tables; and that programs read what they read.

The locale and the catalogue are made here, and found beside a copy of the program. Of the catalogue's words some are
Japanese, whose letters take two columns each.

sanitize: yes
"""
from guest import CTL, PEER, Skip, check, equal, main, need, scratch

import contextlib
import json
import os
import plistlib
import shutil
import subprocess
import sys
import unicodedata

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ui"))
from locales import make_locale  # noqa: E402

HEADER = ('msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n'
          'Plural-Forms: nplurals=2; plural=n != 1;\\n"\n')
WORDS = {
    "there is no command “%s”; see espalierctl --help": "es gibt keinen Befehl „%s“; siehe espalierctl --help",
    "list the machines of the library": "die Maschinen der Bibliothek auflisten",
    "cannot use the kernel “%s”: %s": "der Kern „%s“ ist unbrauchbar: %s",
    "it is a directory; give a file": "er ist ein Ordner; gib eine Datei an",
    "%<PRIu64> MiB is too little to boot; give at least %<PRIu64> MiB": "%<PRIu64> MiB sind zu wenig; gib %<PRIu64> MiB",
    "Lists the machines of the library.": "Listet die Maschinen der Bibliothek auf.",
    "For programs": "Für Programme",
    "disk for guests without virtio, NVMe": "Platte für Gäste ohne virtio, NVMe",
    "NAME": "名前", "STATE": "ZUSTAND", "CPUS": "プロセッサ", "MEMORY": "SPEICHER",
    ("state of a machine", "stopped"): "停止",
    ("%d word cannot follow “%s”; give %s", "%d words cannot follow “%s”; give %s"):
        ("%d Wort kann nicht auf „%s“ folgen; gib %s", "%d Wörter können nicht auf „%s“ folgen; gib %s"),
}


def quote(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def entry(words, translation):
    if isinstance(translation, tuple):
        return (f"#, c-format\nmsgid {quote(words[0])}\nmsgid_plural {quote(words[1])}\n"
                f"msgstr[0] {quote(translation[0])}\nmsgstr[1] {quote(translation[1])}\n")
    context = f"msgctxt {quote(words[0])}\n" if isinstance(words, tuple) else ""
    words = words[1] if isinstance(words, tuple) else words
    form = "#, c-format\n" if "%" in words else ""
    return f"{form}{context}msgid {quote(words)}\nmsgstr {quote(translation)}\n"


class Program:
    """A copy of espalierctl with a German catalogue beside it, and a library of its own."""

    def __init__(self, folder):
        self.ctl = os.path.join(folder, "espalierctl")
        self.library = os.path.join(folder, "data", "espalier", "machines")
        os.makedirs(self.library)
        shutil.copy(CTL, self.ctl)
        catalogue = os.path.join(folder, "locale", "de", "LC_MESSAGES")
        os.makedirs(catalogue)
        source = os.path.join(folder, "de.po")
        with open(source, "w", encoding="utf-8") as file:
            file.write("\n".join([HEADER] + [entry(*pair) for pair in WORDS.items()]))
        subprocess.run(["msgfmt", "--check-format", "-o", os.path.join(catalogue, "espalier.mo"), source], check=True)
        locales = os.path.join(folder, "locales")
        os.mkdir(locales)
        why = make_locale(locales, "de_DE")
        if why:
            raise Skip(f"localedef cannot make de_DE: {why}")
        self.env = {key: value for key, value in os.environ.items()
                    if not key.startswith("LC_") and key not in ("LANG", "LANGUAGE")}
        self.env.update(LOCPATH=locales, XDG_DATA_HOME=os.path.join(folder, "data"),
                        XDG_RUNTIME_DIR=os.path.join(folder, "run"))
        os.mkdir(self.env["XDG_RUNTIME_DIR"], 0o700)

    def run(self, *words, language="de_DE.UTF-8"):
        return subprocess.run([self.ctl, *words], env={**self.env, "LC_ALL": language}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False,
                              encoding="utf-8")

    def make(self, name):
        folder = os.path.join(self.library, name + ".espalier")
        os.mkdir(folder)
        with open(os.path.join(folder, "config.plist"), "wb") as file:
            plistlib.dump({"Version": 1, "Name": name, "CPUCount": 2, "MemorySize": 1536, "CPU": "soft",
                           "BootLoader": {"Type": "Linux", "Kernel": "vmlinuz"},
                           "Devices": [{"Type": "NVMExpress", "Path": "disk.raw"}]}, file)


@contextlib.contextmanager
def german():
    if PEER:
        raise Skip("only for espalierctl")
    need("msgfmt", "localedef")
    if not os.path.exists("/usr/share/i18n/locales/de_DE"):
        raise Skip("there is no source of the locale de_DE (package locales)")
    with scratch() as folder:
        yield Program(folder)


def its_own_sentences_are_translated():
    with german() as program:
        said = program.run("frob").stderr
        equal(said, "espalierctl: es gibt keinen Befehl „frob“; siehe espalierctl --help\n", "what it says")
        said = program.run("disk", "info", "a", "b").stderr
        equal(said, "espalierctl: 2 Wörter können nicht auf „info“ folgen; gib FILE\n", "a plural")
        said = program.run("frob", language="C.UTF-8").stderr
        equal(said, "espalierctl: there is no command “frob”; see espalierctl --help\n", "what it says in English")


def vmcores_sentences_are_translated():
    with german() as program:
        done = program.run("run", "--memory", "1", "--bootloader", "linux,kernel=/")
        equal(done.returncode, 2, "exit status")
        check("der Kern „/“ ist unbrauchbar: er ist ein Ordner; gib eine Datei an" in done.stderr, done.stderr)
        check("1 MiB sind zu wenig; gib " in done.stderr, done.stderr)


def help_is_translated_and_its_names_are_not():
    with german() as program:
        text = program.run("--help").stdout
        check("\n  list         die Maschinen der Bibliothek auflisten\n" in text, text)
        names = [line.split()[0] for line in text.splitlines() if line.startswith("  ")]
        english = program.run("--help", language="C.UTF-8").stdout
        equal(names, [line.split()[0] for line in english.splitlines() if line.startswith("  ")], "names")
        text = program.run("list", "--help").stdout
        check("Listet die Maschinen der Bibliothek auf." in text and "Für Programme" in text, text)
        check("Platte für Gäste ohne virtio, NVMe" in program.run("run", "--help").stdout, "the help of a device")


def column_of(line, word):
    at = line.index(word)
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line[:at])


def tables_align_by_what_letters_take():
    with german() as program:
        program.make("リンゴの木")
        program.make("Pear")
        table = program.run("list").stdout.splitlines()
        equal(len(table), 3, f"lines of {table}")
        for line in table[1:]:
            equal(column_of(line, "停止"), column_of(table[0], "ZUSTAND"), f"column of the state in {table}")
            equal(column_of(line, "2  "), column_of(table[0], "プロセッサ"), f"column of the CPUs in {table}")
            equal(column_of(line, "1,5"), column_of(table[0], "SPEICHER"), f"column of the memory in {table}")


def programs_read_the_same_in_every_language():
    with german() as program:
        program.make("Pear")
        for words in (["list", "--json"], ["status", "Pear", "--json"], ["show", "Pear", "--json"],
                      ["show", "--json", "Pear"], ["devices", "Pear", "--json"]):
            here, english = program.run(*words), program.run(*words, language="C.UTF-8")
            json.loads(here.stdout)
            equal(here.stdout, english.stdout, " ".join(words))
        equal(json.loads(program.run("status", "Pear", "--json").stdout)["state"], "stopped", "the state")
        help_of = json.loads(program.run("devices", "Pear", "--json").stdout)[0]["help"]
        equal(help_of, "disk for guests without virtio, NVMe", "help in JSON")
        check("Platte für Gäste" in program.run("devices", "Pear").stdout, "help for people")
        levels = [line["level"] for line in json.loads(program.run("check", "--json").stdout)]
        check(levels and set(levels) <= {"good", "warning", "problem"}, f"levels: {levels}")
        equal(program.run("set", "--print-manual").stdout,
              program.run("set", "--print-manual", language="C.UTF-8").stdout, "the manual page")


main(its_own_sentences_are_translated, vmcores_sentences_are_translated, help_is_translated_and_its_names_are_not,
     tables_align_by_what_letters_take, programs_read_the_same_in_every_language)
