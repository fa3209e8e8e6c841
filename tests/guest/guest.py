"""What the guest tests share: start espalierctl with a guest, talk to its console, look at what happened.

A test file is a list of functions and a call of main(); each function is one case. `espalierctl` is run as a
user runs it; nothing here looks inside it. ESPALIER_PEER=qemu runs the same cases on QEMU instead, to tell a
mistake in a test from one in the machine.
"""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("ESPALIER_BUILD", "build"))
CTL = os.path.join(BUILD, "espalierctl")
GUEST = os.path.join(BUILD, "guest")
KERNEL = os.path.join(GUEST, "vmlinuz")
DEMO = os.path.join(GUEST, "initrd.img")
SERIAL = os.path.join(GUEST, "initrd-serial.img")
DEVICES = os.path.join(GUEST, "initrd-devices.img")
TOOLS = os.path.join(GUEST, "tools.img")
PEER = os.environ.get("ESPALIER_PEER", "")
CPU = os.environ.get("ESPALIER_CPU", "soft")
# A guest on an interpreter is slow on a machine that does other things, too; more so with sanitizers (tests/run).
PATIENCE = float(os.environ.get("ESPALIER_PATIENCE", "1"))
BOOT_SECONDS = 100


class Failure(Exception):
    """The case failed; the message says what was expected and what was seen."""


class Skip(Exception):
    """The case cannot run here; the message says why."""


class Process:
    """A child whose terminal is a pair of pipes, with an expect for what it prints."""

    def __init__(self, args, pass_fds=()):
        self.args = args
        self.seen = ""
        self.mark = 0
        self.child = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, cwd=ROOT, pass_fds=pass_fds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()

    def _read(self, seconds):
        """Takes in what there is, waiting at most that long. False at the end of the output."""
        ready, _, _ = select.select([self.child.stdout], [], [], max(seconds, 0))
        if not ready:
            return True
        data = os.read(self.child.stdout.fileno(), 65536)
        self.seen += data.decode("utf-8", "replace").replace("\r", "")
        return bool(data)

    def expect(self, pattern, seconds=BOOT_SECONDS):
        """Waits until the output since the last match has this regular expression; returns the match. A line's
        end ($) has to have come: what is there so far is not taken for a line."""
        if pattern.endswith("$") and not pattern.endswith("\\$"):
            pattern = pattern[:-1] + r"(?=\n)"
        end = time.monotonic() + seconds * PATIENCE
        alive = True
        while True:
            match = re.compile(pattern, re.M).search(self.seen, self.mark)
            if match:
                self.mark = match.end()
                return match
            if not alive:
                raise Failure(f"expected {pattern!r}, but the output ended (exit status {self.wait(5)}):\n{self.tail()}")
            if time.monotonic() > end:
                raise Failure(f"expected {pattern!r} within {seconds} s; the output ends with:\n{self.tail()}")
            alive = self._read(end - time.monotonic())

    def send(self, text):
        self.child.stdin.write(text.encode())
        self.child.stdin.flush()

    def run(self, command, seconds=60):
        """Types a shell command in the guest; returns what it printed. Its status has to be 0."""
        # The quotes keep the echo of what is typed from looking like the markers.
        self.send(f'echo begin""-mark; {command}; echo end""-mark-$?-\n')
        start = self.expect(r"begin-mark\n", seconds).end()
        end = self.expect(r"end-mark-(\d+)-\n", seconds)
        text = self.seen[start:end.start()]
        check(end.group(1) == "0", f"in the guest, {command!r} ended with status {end.group(1)}:\n{text}")
        return text

    def wait(self, seconds=30):
        """Waits for the end; returns the exit status (negative: a signal)."""
        end = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < end and self._read(min(end - time.monotonic(), 0.5)):
            pass
        try:
            return self.child.wait(max(end - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            raise Failure(f"still running after {seconds} s; the output ends with:\n{self.tail()}") from None

    def signal(self, number):
        self.child.send_signal(number)

    def tail(self):
        return "\n".join(self.seen.splitlines()[-25:])


def qemu_args(initrd, cmdline, cpus, memory, devices):
    """The same machine for QEMU, from our own grammar."""
    args = ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-nodefaults", "-display", "none", "-m", str(memory),
            "-smp", str(cpus), "-kernel", KERNEL, "-initrd", initrd, "-append", cmdline]
    for number, device in enumerate(devices):
        kind, *options = device.split(",")
        values = dict(option.split("=", 1) for option in options if "=" in option)
        backend = ["-chardev", f"stdio,id=c{number},signal=off"] if "stdio" in options else \
            ["-chardev", f"file,id=c{number},append=on,path={values.get('logFilePath')}"]
        if kind == "uart":
            args += backend + ["-serial", f"chardev:c{number}"]
        elif kind == "virtio-serial":
            args += backend + ["-device", "virtio-serial-pci", "-device", f"virtconsole,chardev=c{number}"]
        elif kind == "virtio-blk":
            readonly = "on" if "readonly" in options else "off"
            serial = f",serial={values['deviceId']}" if "deviceId" in values else ""
            args += ["-drive", f"if=none,format=raw,id=d{number},file={values['path']},readonly={readonly}",
                     "-device", f"virtio-blk-pci,drive=d{number}{serial}"]
        elif kind == "virtio-rng":
            args += ["-device", "virtio-rng-pci"]
        elif kind == "virtio-input":
            args += ["-device", "virtio-tablet-pci" if "pointing" in options else "virtio-keyboard-pci"]
        elif kind == "virtio-gpu":
            args += ["-device", "VGA"]
        else:
            raise ValueError(device)
    return args


def boot(initrd=SERIAL, cmdline="console=ttyS0", cpus=1, memory=512, devices=("uart,stdio",), cpu=CPU, extra=()):
    """Starts a guest; use it in a with statement."""
    if PEER == "qemu":
        return Process(qemu_args(initrd, cmdline, cpus, memory, devices))
    args = [CTL, "run", "--cpu", cpu, "--cpus", str(cpus), "--memory", str(memory), "--bootloader",
            f'linux,kernel={KERNEL},initrd={initrd},cmdline="{cmdline}"']
    for device in devices:
        args += ["--device", device]
    return Process(args + list(extra))


def boot_serial(**options):
    """The guest of one serial port, up to its prompt."""
    guest = boot(**options)
    guest.expect(r"^espalier-serial: ready in [\d.]+ s$")
    guest.expect(r"^serial# ")
    return guest


def boot_devices(devices=(), **options):
    """The guest with the drivers of every device, up to its prompt on ttyS0 (tests/guest/devices)."""
    return boot_serial(initrd=DEVICES, devices=("uart,stdio", *devices), **options)


def need(*tools):
    """Skips the case when a tool of the host is missing."""
    for tool in tools:
        if not shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            raise Skip(f"{tool} is not installed")


def host(*args):
    """Runs a tool of the host; returns its output; its status has to be 0."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60,
                          env={**os.environ, "PATH": path}, check=False)
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise Failure(f"{' '.join(args)} ended with status {done.returncode}:\n{text}")
    return text


def check(condition, message):
    if not condition:
        raise Failure(message)


def equal(seen, wanted, what):
    check(seen == wanted, f"{what}: expected {wanted!r}, saw {seen!r}")


def until(what, look, seconds=60):
    """Waits until `look` gives something; returns that."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        seen = look()
        if seen:
            return seen
        check(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(0.3)


def build_program(name, path, *flags):
    """A program of tests/guest/programs for the guest, static, and as large as whole sectors: it may be a disk."""
    need("gcc")
    built = subprocess.run(["gcc", "-static", "-O1", "-D_GNU_SOURCE", *flags, "-o", path,
                            os.path.join(ROOT, f"tests/guest/programs/{name}.c")], capture_output=True, check=False)
    if built.returncode:
        raise Skip(f"a static program cannot be built: {built.stderr.decode()[-300:]}")
    os.truncate(path, (os.path.getsize(path) + 511) // 512 * 512)


def scratch():
    """A folder that is gone after the with statement."""
    return tempfile.TemporaryDirectory(prefix="espalier-test-")


def main(*cases):
    """Runs the cases, prints a line for each, exits with 1 when one failed. Words on the command line pick."""
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    failed = False
    for case in cases:
        name = case.__name__
        if len(sys.argv) > 1 and not any(word in name for word in sys.argv[1:]):
            continue
        start = time.monotonic()
        try:
            if not os.path.exists(KERNEL):
                raise Skip("the demo guest is not built (make guest)")
            case()
            print(f"ok {name} ({time.monotonic() - start:.1f} s)")
        except Skip as reason:
            print(f"skip {name}: {reason}")
        except Failure as failure:
            failed = True
            print(f"not ok {name}: {failure}")
        except Exception:  # a broken test is a failed one
            failed = True
            print(f"not ok {name}: {traceback.format_exc()}")
    sys.exit(1 if failed else 0)
