"""A desktop on Wayland: a headless sway, and wayvnc, through which keyboard and pointer are virtual devices of its.

sway does not run as root; as_ordinary_user() sees to that.
"""

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time

from desktop import Desktop, Failure, wait_for

NOBODY = 65534
MISSING = [name for name in ("sway", "swaymsg", "wayvnc", "grim") if not shutil.which(name)]
SHIFTED = '~!@#$%^&*()_+{}|:"<>?'
KEYSYMS = {"Return": 0xff0d, "Escape": 0xff1b, "F11": 0xffc8, "shift": 0xffe1, "ctrl": 0xffe3, "alt": 0xffe9}


def as_ordinary_user():
    """As root: the program once more, as somebody else."""
    if os.geteuid() != 0:
        return
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        os.environ.pop(name, None)
    os.execvp("setpriv", ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable,
                          *sys.argv])


class Hands:
    """A VNC client that sends keys and pointer events (RFC 6143 s7.1, s7.5)."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(path)
        self.x = self.y = 0
        version = self._read(12)
        self.socket.sendall(version)
        kinds = self._read(self._read(1)[0])
        if 1 not in kinds:
            raise Failure("wayvnc wants a password")
        self.socket.sendall(b"\x01")
        if self._read(4) != bytes(4):
            raise Failure("wayvnc lets nobody in")
        self.socket.sendall(b"\x01")
        header = self._read(24)
        self._read(struct.unpack(">I", header[20:])[0])

    def _read(self, length):
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise Failure("wayvnc has hung up")
            data += part
        return data

    def move(self, x, y, buttons=0):
        self.x, self.y = int(x), int(y)
        self.socket.sendall(struct.pack(">BBHH", 5, buttons, self.x, self.y))

    def click(self, button):
        self.move(self.x, self.y, 1 << (button - 1))
        time.sleep(0.05)
        self.move(self.x, self.y)

    def key(self, keysym, down):
        self.socket.sendall(struct.pack(">BBHI", 4, down, 0, keysym))


class WaylandDesktop(Desktop):
    """The same eyes; the hands are the compositor's."""

    def __init__(self, name):
        super().__init__(name, own=True)

    def _start_display(self):
        """sway is display and window manager in one; it comes after the bus."""

    def _start_window_manager(self):
        config = os.path.join(self.home, "sway.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write("output HEADLESS-1 resolution 1280x1024\ndefault_border none\n")
        env = os.environ
        env.pop("DISPLAY", None)
        env.update(GDK_BACKEND="wayland", WLR_BACKENDS="headless", WLR_LIBINPUT_NO_DEVICES="1", WLR_RENDERER="pixman")
        self._daemon("sway", "-c", config)
        runtime = env["XDG_RUNTIME_DIR"]
        env["SWAYSOCK"] = os.path.join(runtime, wait_for("socket of sway", lambda: [
            name for name in os.listdir(runtime) if name.startswith("sway-ipc")])[0])
        env["WAYLAND_DISPLAY"] = wait_for("Wayland display", lambda: [
            name for name in os.listdir(runtime) if re.fullmatch(r"wayland-\d+", name)])[0]
        path = os.path.join(runtime, "vnc")
        self._daemon("wayvnc", "-u", path)
        wait_for("socket of wayvnc", lambda: os.path.exists(path))
        self.hands = Hands(path)

    def _daemon(self, *command):
        with open(os.path.join(self.home, command[0] + ".log"), "wb") as log:
            self.children.append(subprocess.Popen(command, stdout=log, stderr=log))

    @staticmethod
    def run(*command):
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if result.returncode:
            raise Failure(f"{' '.join(command)}: {(result.stderr or result.stdout).strip()}")
        return result.stdout

    def titles(self):
        """Of all windows."""
        found, left = [], [json.loads(self.run("swaymsg", "-t", "get_tree"))]
        while left:
            node = left.pop()
            left += node["nodes"] + node["floating_nodes"]
            if node.get("pid"):
                found.append(node["name"] or "")
        return found

    def show_alone(self, title):
        """Brings a window to the front, as large as the screen."""
        self.run("swaymsg", f'[title="{title}"] focus, fullscreen enable')

    def pointer(self, x, y):
        self.hands.move(x, y)

    def click_here(self, button=1):
        self.hands.click(button)

    def type(self, text, delay_ms=40):
        """On a keyboard of the United States."""
        for letter in text:
            keysym = KEYSYMS["Return"] if letter == "\n" else ord(letter)
            shift = letter in SHIFTED or letter.isupper()
            if shift:
                self.hands.key(KEYSYMS["shift"], True)
            self.hands.key(keysym, True)
            time.sleep(delay_ms / 1000)
            self.hands.key(keysym, False)
            if shift:
                self.hands.key(KEYSYMS["shift"], False)

    def key(self, *keys):
        for combination in keys:
            keysyms = [KEYSYMS.get(name) or ord(name) for name in combination.split("+")]
            for keysym in keysyms:
                self.hands.key(keysym, True)
            for keysym in reversed(keysyms):
                self.hands.key(keysym, False)

    def save_picture(self, path, window=None):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.run("grim", path)
