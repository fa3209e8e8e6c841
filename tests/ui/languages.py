"""A desktop in another language: widgets are found by the translation of their English names, and what their labels look
like is known from inside the program (layout_spy.c)."""

import gettext
import os
import re
import signal
import time

from desktop import BUILD, Desktop, Failure, wait_for
from locales import make_locale

SPY = os.path.join(BUILD, "tests-ui", "layout_spy.so")
LOCALES = {"de": "de_DE", "ja": "ja_JP", "ar": "ar_EG", "en": "C"}
RIGHT_TO_LEFT = ("ar",)


def plain(text):
    """Without the mark of a mnemonic, markup, and line breaks, as a label shows it."""
    text = re.sub(r"\(_?[A-Z0-9]\)", "", text)  # 名前(_N)
    text = re.sub(r"_(.)", r"\1", text)
    text = re.sub(r"</?(b|i|small|tt|big|span)[^>]*>", "", text)
    return " ".join(text.replace("&amp;", "&").replace("&lt;", "<").split())


class Words:
    """The catalogue of a language."""

    FORMAT = re.compile(r"%(?:\d+\$)?[-0-9.l]*[sdu]")

    def __init__(self, language):
        self.catalogue, self.formats = {}, []
        if language == "en":
            return
        with open(os.path.join(BUILD, "locale", language, "LC_MESSAGES", "espalier.mo"), "rb") as file:
            translations = gettext.GNUTranslations(file)._catalog  # there is no other way to list them
        for key, value in translations.items():
            message = key[0] if isinstance(key, tuple) else key
            message = message.split("\x04")[-1]
            if not message or not value:
                continue
            if self.FORMAT.search(message):
                self.formats.append((message, value))
            self.catalogue.setdefault(plain(message), []).append(plain(value))

    def all_of(self, text):
        """Every way in which an English text of the program may stand there."""
        found = self.catalogue.get(plain(text), [])
        if found:
            return found
        for message, value in self.formats:
            pattern = self.FORMAT.sub("\0", plain(message))
            match = re.fullmatch(re.escape(pattern).replace("\0", "(.*)"), plain(text))
            if match and len(re.sub(r"[^a-zA-Z]", "", pattern)) >= 3:
                found.append(self._fill(plain(value), match.groups()))
        return found or [plain(text)]

    def _fill(self, value, arguments):
        rest = list(arguments)

        def argument(match):
            number = re.match(r"%(\d+)\$", match.group(0))
            return arguments[int(number.group(1)) - 1] if number else rest.pop(0)
        return self.FORMAT.sub(argument, value)

    def is_english(self, text):
        """Whether that is something that has another translation."""
        found = self.catalogue.get(plain(text))
        return bool(found) and plain(text) not in found


class ForeignDesktop(Desktop):
    """Names given in English are found in the desktop's language; report() says what is wrong with what is shown."""

    def __init__(self, language, pictures):
        super().__init__("lang-" + language, own=True)
        self.language, self.words, self.pictures = language, Words(language), pictures
        self.faults = []

    def _start_display(self):
        locales = os.path.join(self.home, "locales")
        os.mkdir(locales)
        name = LOCALES[self.language]
        if name != "C":
            why = make_locale(locales, name)
            if why:
                raise Failure(f"localedef cannot make {name}: {why}")
            os.environ["LOCPATH"] = locales
            os.environ["LC_ALL"] = name + ".UTF-8"
        os.environ["GTK_MODULES"] = SPY
        super()._start_display()

    def start(self, *arguments, **options):
        spy = os.path.join(self.home, f"spy-{len(self.programs)}")
        process = super().start(*arguments, env={"ESPALIER_SPY": spy, **options.pop("env", {})}, **options)
        process.spy = spy
        return process

    def look(self, role, name=None, visible=True):
        if isinstance(name, str):
            names = self.words.all_of(name)
            return super().look(role, lambda shown: plain(shown) in names, visible)
        return super().look(role, name, visible)

    def report(self, process, picture, title=None, pid=None):
        """Keeps a picture, and notes what is wrong with the labels that are there now."""
        time.sleep(0.5)
        if os.path.exists(process.spy):
            os.remove(process.spy)
        os.kill(pid or process.pid, signal.SIGUSR2)
        wait_for("answer of the spy", lambda: os.path.exists(process.spy))
        folder = os.path.join(self.pictures, self.language)
        self.save_picture(os.path.join(folder, picture + ".png"), self.windows(title)[-1] if title else None)
        with open(process.spy, encoding="utf-8") as file:
            for line in file:
                for fault in self._faults_of(line.rstrip("\n").split("\t")):
                    self.faults.append(f"{picture}: {fault}")

    def _faults_of(self, fields):
        wanted = "rtl" if self.language in RIGHT_TO_LEFT else "ltr"
        if fields[0] == "window":
            _, direction, width, height, title = fields
            if direction != wanted:
                yield f"the window “{title}” goes from {direction}"
            if int(width) > 1024 or int(height) > 768:
                yield f"the window “{title}” needs {width} x {height}"
            return
        _, direction, unknown, size, text = fields
        if direction != wanted:
            yield f"“{text}” goes {direction}"
        if unknown != "0":
            yield f"“{text}” has {unknown} letters that no font has"
        if size != "-":
            yield f"“{text}” is {size}"
        if self.words.is_english(text):
            yield f"“{text}” is English"
