#!/usr/bin/env python3
"""espalierctl create as a user types it: what it refuses, what it makes, and what can be continued after Ctrl-C."""
from guest import CTL, check, equal, main, scratch

import os
import plistlib
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFYAvHBw3pg7NXQxhnYoCBh0ekJWBGpIkQxuKodZCVFd ada@orchard"
MACHINE = ("--linux", "--name", "Quince tree", "--user", "ada", "--ssh-key", KEY, "--disk", "1", "--memory", "256")


def environment(folder):
    return {**os.environ, "XDG_DATA_HOME": folder, "LC_ALL": "C.UTF-8"}


def create(folder, *words, given=""):
    return subprocess.run([CTL, "create", *words], env=environment(folder), input=given, capture_output=True, text=True,
                          timeout=100, check=False)


def entries(folder):
    machines = os.path.join(folder, "espalier", "machines")
    return sorted(os.listdir(machines)) if os.path.isdir(machines) else []


def write_image(path, megabytes=4):
    with open(path, "wb") as file:
        file.write(b"\0" * 510 + b"\x55\xaa")
        file.write(os.urandom((megabytes << 20) - 512))


def test_wrong_words_end_with_status_2_and_make_nothing():
    wrong = (([], "give one of"), (["--linux", "--demo"], "give one of"), (["--linux"], "needs a name"), (["--no-such"], "--no-such"),
             ([*MACHINE], "choose an image"), ([*MACHINE, "--image", "/nothing"], "no file"),
             ([*MACHINE, "--image", "/etc/passwd", "--cpus", "1000"], "CPUs"),
             ([*MACHINE, "--image", "/etc/passwd", "--timezone", "../../etc"], "--timezone"),
             ([*MACHINE, "--image", "/etc/passwd", "--ssh-key", "-----BEGIN"], "public SSH key"),
             ([*MACHINE, "--image", "/etc/passwd", "--user", "root"], "root"),
             (["--demo", "more"], "more"))
    with scratch() as folder:
        for words, sentence in wrong:
            done = create(folder, *words)
            check(done.returncode == 2 and sentence in done.stderr, f"{words}: status {done.returncode}, {done.stderr!r}")
        equal(entries(folder), [], "what is there")


def test_a_dry_run_makes_nothing():
    with scratch() as folder:
        image = os.path.join(folder, "image")
        write_image(image)
        done = create(folder, *MACHINE, "--image", image, "--locale", "de_CH.UTF-8", "--password-file", "-", "--dry-run", given="geheim\n")
        check(done.returncode == 0, done.stderr)
        for text in ("Quince tree", image, "de_CH.UTF-8", "ch", "password:    set"):
            check(text in done.stdout, f"{text!r} is not in {done.stdout}")
        check("geheim" not in done.stdout, "the password is printed")
        equal(entries(folder), [], "what is there")


def test_the_demo_and_its_folder():
    with scratch() as folder:
        done = create(folder, "--demo", "--name", "Orchard", "--memory", "256")
        check(done.returncode == 0, done.stderr)
        equal(done.stdout.strip(), os.path.join(folder, "espalier", "machines", "Orchard.espalier"), "what it prints")
        with open(os.path.join(done.stdout.strip(), "config.plist"), "rb") as file:
            equal(plistlib.load(file)["MemorySize"], 256, "its memory")
        done = create(folder, "--demo", "--name", "Orchard")
        check(done.returncode == 2 and "already" in done.stderr, f"a second one: {done.stderr}")


class Slow(BaseHTTPRequestHandler):
    """A file at a walking pace, with ranges."""
    data, pause, ranges = b"", 0.02, []

    def do_GET(self):
        start = 0
        if self.headers.get("Range") and self.headers.get("If-Range") == '"one"':
            start = int(self.headers["Range"][6:].split("-")[0])
            Slow.ranges.append(start)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}")
        self.send_header("Content-Length", str(len(self.data) - start))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("ETag", '"one"')
        self.end_headers()
        try:
            for at in range(start, len(self.data), 65536):
                self.wfile.write(self.data[at:at + 65536])
                time.sleep(Slow.pause)
        except OSError:
            pass  # the other side has had enough

    def log_message(self, *_):
        pass


def interrupted(folder, link, number):
    """Begins to make a machine of a link and ends that with a signal in the middle of the download."""
    process = subprocess.Popen([CTL, "create", *MACHINE, "--image", link], env=environment(folder), stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    part = None
    for _ in range(400):
        part = [os.path.join(root, name) for root, _, names in os.walk(folder) for name in names if name == "download.part"]
        if part and os.path.getsize(part[0]) > 500000:
            break
        time.sleep(0.05)
    check(part, "the download did not begin")
    process.send_signal(number)
    complaint = process.communicate(timeout=60)[1]
    return process.returncode, complaint


def test_what_is_interrupted_is_continued():
    with scratch() as folder:
        image = os.path.join(folder, "image")
        write_image(image, 8)
        with open(image, "rb") as file:
            Slow.data = file.read()
        server = HTTPServer(("127.0.0.1", 0), Slow)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        link = f"http://127.0.0.1:{server.server_port}/image.raw"
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)):
            Slow.pause, Slow.ranges = 0.02, []
            seen, complaint = interrupted(folder, link, number)
            equal(seen, status, f"its status after signal {number} ({complaint})")
            check(number == signal.SIGKILL or "--continue" in complaint, f"it said {complaint!r}")
            check(len(entries(folder)) == 1 and entries(folder)[0].startswith(".creating-"), f"there is {entries(folder)}")
            Slow.pause = 0
            done = create(folder, "--continue")
            check(done.returncode == 0, done.stderr)
            equal(entries(folder), ["Quince tree.espalier"], "what is there")
            check(Slow.ranges and Slow.ranges[0] > 400000, f"it did not go on where it was: {Slow.ranges}")
            subprocess.run(["rm", "-r", os.path.join(folder, "espalier")], check=True)
        Slow.pause = 0.02
        interrupted(folder, link, signal.SIGINT)
        done = create(folder, "--discard", "--name", "Quince tree")
        check(done.returncode == 0 and not entries(folder), f"{done.stderr}; there is {entries(folder)}")
        check(create(folder, "--continue").returncode == 1, "there is something to continue all the same")
        server.shutdown()


if __name__ == "__main__":
    main(test_wrong_words_end_with_status_2_and_make_nothing, test_a_dry_run_makes_nothing, test_the_demo_and_its_folder,
         test_what_is_interrupted_is_continued)
