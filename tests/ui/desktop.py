"""A desktop for tests and the demo: display, session bus, window manager, and a person's hands and eyes.

Where there is a display it is used; otherwise Xvfb, a session bus and openbox are started and ended with the
program. Widgets are found through AT-SPI by role and name, as a screen reader finds them; keys and the pointer go
through the X server, as from real hardware. The program's data are in a folder of their own, so that nothing of the
user's is touched.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("ESPALIER_BUILD", "build"))
PROGRAM = os.path.join(BUILD, "espalier")
PATIENCE = float(os.environ.get("ESPALIER_PATIENCE", "1"))  # of a busy machine; tests/run sets it


class Failure(Exception):
    """A step did not do what it should; the text says what was seen."""


def wait_for(what, look, seconds=10.0, interval=0.05):
    """Calls look() until it gives something true, and returns that. `what` completes "there is no ..."."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure(f"waited {seconds:.0f} s, and there is no {what}")
        time.sleep(interval)


class Desktop:
    def __init__(self, name, size="1280x1024x24", own=None):
        self.children = []
        self.programs = []
        self.home = tempfile.mkdtemp(prefix=f"espalier-{name}-")
        self.own = "DISPLAY" not in os.environ if own is None else own
        self.size = size

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.programs:
            self._end(process)
        for bundle in self._running_pids():
            try:
                os.kill(bundle, signal.SIGTERM)
            except ProcessLookupError:
                pass
        time.sleep(0.2)
        for process in reversed(self.children):
            self._end(process)
        shutil.rmtree(self.home, ignore_errors=True)

    @staticmethod
    def _end(process):
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _running_pids(self):
        """Processes of machines that the library started, from the locks in their bundles."""
        pids = []
        for folder in self.bundles():
            try:
                with open(os.path.join(folder, "lock"), encoding="ascii") as lock:
                    pids.append(int(lock.read().split()[0]))
            except (OSError, ValueError, IndexError):
                pass
        return pids

    # --- Set-up

    def _start(self):
        env = os.environ
        for key, folder in (("HOME", ""), ("XDG_DATA_HOME", "data"), ("XDG_CONFIG_HOME", "config"),
                            ("XDG_CACHE_HOME", "cache"), ("XDG_STATE_HOME", "state")):
            path = os.path.join(self.home, folder)
            os.makedirs(path, exist_ok=True)
            env[key] = path
        env["GSETTINGS_BACKEND"] = "keyfile"
        self.set_settings({"welcome-seen": "true"})
        env["GDK_BACKEND"] = "x11"
        env["LC_ALL"] = "C.UTF-8"
        env.pop("NO_AT_BRIDGE", None)
        if self.own:
            runtime = os.path.join(self.home, "runtime")
            os.makedirs(runtime, mode=0o700)
            env["XDG_RUNTIME_DIR"] = runtime
            env.pop("WAYLAND_DISPLAY", None)
            settings = os.path.join(self.home, "config", "gtk-3.0")
            os.makedirs(settings)
            with open(os.path.join(settings, "settings.ini"), "w", encoding="ascii") as file:
                file.write("[Settings]\ngtk-font-name=Cantarell 11\n")
            self._start_display()
            self._start_bus()
            self._start_window_manager()
        elif "DBUS_SESSION_BUS_ADDRESS" not in env:
            self._start_bus()
        self._load()

    def set_settings(self, values):
        """The program's settings when it starts next, as texts of GVariants; all others are as they come."""
        folder = os.path.join(self.home, "config", "glib-2.0", "settings")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "keyfile"), "w", encoding="utf-8") as file:
            file.write("[org/espalier/Espalier]\n" + "".join(f"{key}={value}\n" for key, value in values.items()))

    def _start_display(self):
        read, write = os.pipe()
        command = ["Xvfb", "-displayfd", str(write), "-screen", "0", self.size, "-nolisten", "tcp", "+extension",
                   "GLX", "-noreset"]
        self.children.append(subprocess.Popen(command, pass_fds=[write], stdout=subprocess.DEVNULL,
                                              stderr=subprocess.DEVNULL))
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise Failure("Xvfb did not start")
        os.environ["DISPLAY"] = ":" + number

    def _start_bus(self):
        bus = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.children.append(bus)
        os.environ["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().strip()
        if not os.environ["DBUS_SESSION_BUS_ADDRESS"]:
            raise Failure("dbus-daemon did not start")

    def _start_window_manager(self):
        if not shutil.which("openbox"):
            return
        log = open(os.path.join(self.home, "openbox.log"), "wb")
        self.children.append(subprocess.Popen(["openbox", "--sm-disable"], stdout=log, stderr=log))
        wait_for("window manager", self._has_window_manager)

    @staticmethod
    def _has_window_manager():
        return subprocess.run(["xdotool", "get_desktop"], capture_output=True, check=False).returncode == 0

    def _load(self):
        """The bindings look at the environment when they are imported, so that has to come last."""
        import gi
        gi.require_version("Gdk", "3.0")
        gi.require_version("GdkX11", "3.0")
        gi.require_version("Gtk", "3.0")
        gi.require_version("Atspi", "2.0")
        import pyatspi
        from gi.repository import Atspi
        # A program on a busy machine answers late; the 0.8 s of old would make its widgets look as if they were not.
        Atspi.set_timeout(int(2000 * PATIENCE), 15000)
        from gi.repository import Gdk, GdkPixbuf, GdkX11, Gtk
        Gtk.init([])
        self.pyatspi, self.Gdk, self.GdkX11, self.GdkPixbuf, self.Gtk = pyatspi, Gdk, GdkX11, GdkPixbuf, Gtk

    # --- The program

    def start(self, *arguments, program=PROGRAM, env=None):
        log_path = os.path.join(self.home, f"program-{len(self.programs)}.log")
        with open(log_path, "wb") as log:
            process = subprocess.Popen([program, *arguments], stdout=log, stderr=subprocess.STDOUT,
                                       env={**os.environ, **(env or {})})
        process.log_path = log_path
        self.programs.append(process)
        return process

    def output(self):
        """What all programs printed."""
        text = ""
        for process in self.programs:
            with open(process.log_path, encoding="utf-8", errors="replace") as log:
                text += log.read()
        return text

    def check_health(self):
        """Fails if a program crashed or complained about itself."""
        for process in self.programs:
            status = process.poll()
            if status is not None and status < 0 and -status not in (signal.SIGTERM, signal.SIGKILL):
                raise Failure(f"a program was ended by signal {-status}")
        for line in self.output().splitlines():
            if any(word in line for word in ("-CRITICAL **", "AddressSanitizer", "runtime error:", "assertion")):
                raise Failure(f"a program said: {line}")

    def machines_dir(self):
        return os.path.join(self.home, "data", "espalier", "machines")

    def bundles(self):
        folder = self.machines_dir()
        if not os.path.isdir(folder):
            return []
        return sorted(os.path.join(folder, entry) for entry in os.listdir(folder)
                      if entry.endswith(".espalier") and not entry.startswith("."))

    # --- Eyes

    def _walk(self, node, depth=0):
        try:
            children = [child for child in node if child]
        except Exception:  # whatever went away while we looked
            return
        for child in children:
            yield child
            if depth < 40:
                yield from self._walk(child, depth + 1)

    def programs_seen(self):
        """Our programs among all accessible ones."""
        for app in self.pyatspi.Registry.getDesktop(0):
            try:
                if app and "espalier" in app.name.lower():
                    yield app
            except Exception:
                continue

    def look(self, role, name=None, visible=True):
        """All widgets of a role ("push button") whose name is `name`, or fulfils it if it is a function."""
        found = []
        for app in self.programs_seen():
            for node in self._walk(app):
                try:
                    if node.getRoleName() != role:
                        continue
                    if name is not None and not (name(node.name) if callable(name) else node.name == name):
                        continue
                    if visible and not node.getState().contains(self.pyatspi.STATE_SHOWING):
                        continue
                    found.append(node)
                except Exception:
                    continue
        return found

    def find(self, role, name=None, seconds=10.0):
        shown = name if isinstance(name, str) else "as wanted" if name else "any"
        return wait_for(f"{role} “{shown}” on the screen", lambda: self.look(role, name), seconds, 0.1)[0]

    def gone(self, role, name=None, seconds=10.0):
        wait_for(f"end of {role} “{name}”", lambda: not self.look(role, name), seconds, 0.1)

    def is_sensitive(self, node):
        state = node.getState()
        return state.contains(self.pyatspi.STATE_SENSITIVE) and state.contains(self.pyatspi.STATE_ENABLED)

    def texts(self):
        """Every text on the screen."""
        found = []
        for label in self.look("label"):
            try:
                found.append(label.name)
            except Exception:  # it has gone meanwhile
                continue
        return found

    def find_text(self, part, seconds=10.0):
        wait_for(f"text with “{part}” on the screen (there is: {' | '.join(self.texts())[:300]})",
                 lambda: [text for text in self.texts() if part in text], seconds, 0.1)

    def unnamed_buttons(self):
        """Buttons a screen reader could not speak of."""
        nameless = []
        for role in ("push button", "toggle button", "menu button"):
            nameless += [node for node in self.look(role, visible=False) if not node.name.strip()]
        return nameless

    def window_id(self, title_part, seconds=10.0):
        return wait_for(f"window titled “{title_part}”", lambda: self.windows(title_part), seconds)[-1]

    @staticmethod
    def windows(title_part):
        result = subprocess.run(["xdotool", "search", "--onlyvisible", "--name", title_part], capture_output=True,
                                text=True, check=False)
        return [int(number) for number in result.stdout.split()]

    def close(self, window):
        """Asks a window to close, as its close button does."""
        display = self.Gdk.Display.get_default()

        def look():
            gdk_window = self.GdkX11.X11Window.foreign_new_for_display(display, window)
            x, y, width = gdk_window.get_origin()[1], gdk_window.get_origin()[2], gdk_window.get_width()
            return [node for node in self.look("push button", "Close")
                    if x <= self.extents(node)[0] < x + width and y <= self.extents(node)[1] < y + 80]

        self.press(wait_for(f"close button of window {window}", look)[-1])

    def manages_windows(self):
        return self._has_window_manager()

    def window_title(self, window):
        return subprocess.run(["xdotool", "getwindowname", str(window)], capture_output=True, text=True,
                              check=False).stdout.strip()

    def picture(self, window=None):
        """A GdkPixbuf of a window, or of the whole screen."""
        display = self.Gdk.Display.get_default()
        if window:
            gdk_window = self.GdkX11.X11Window.foreign_new_for_display(display, window)
        else:
            gdk_window = self.Gdk.get_default_root_window()
        if not gdk_window:
            raise Failure("the window has gone")
        width, height = gdk_window.get_geometry()[2:4]
        return self.Gdk.pixbuf_get_from_window(gdk_window, 0, 0, width, height)

    def save_picture(self, path, window=None):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.picture(window).savev(path, "png", [], [])

    def clipboard(self):
        return self.Gtk.Clipboard.get(self.Gdk.SELECTION_CLIPBOARD).wait_for_text() or ""

    # --- Hands

    def press(self, node):
        """Presses a button as assistive technology does."""
        node.queryAction().doAction(0)

    def click(self, node, button=1):
        """Moves the pointer onto a widget and clicks."""
        box = node.queryComponent().getExtents(self.pyatspi.DESKTOP_COORDS)
        self.pointer(box.x + box.width // 2, box.y + box.height // 2)
        self.xdotool("click", str(button))

    def pointer(self, x, y):
        self.xdotool("mousemove", "--sync", str(int(x)), str(int(y)))

    def extents(self, node):
        box = node.queryComponent().getExtents(self.pyatspi.DESKTOP_COORDS)
        return box.x, box.y, box.width, box.height

    def type(self, text, delay_ms=40):
        """Types text; a line's end is the Return key."""
        for line in text.splitlines(keepends=True):
            self.xdotool("type", "--delay", str(delay_ms), line.rstrip("\n"))
            if line.endswith("\n"):
                self.key("Return")

    def key(self, *keys):
        self.xdotool("key", *keys)

    @staticmethod
    def xdotool(*arguments):
        result = subprocess.run(["xdotool", *arguments], capture_output=True, text=True, check=False, timeout=120)
        if result.returncode:
            raise Failure(f"xdotool {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout


def say(text):
    print(text)
    sys.stdout.flush()
