#!/usr/bin/env python3
"""Every device in one machine, each exercised from inside by Linux's own driver; then the machine idles, and ends.

What a device does in all its detail is in the test of its own; here they share interrupts, memory and threads.

time-limit: 900
"""
from guest import CTL, PATIENCE, PEER, Failure, Skip, boot_devices, build_program, check, equal, host, main, need, scratch, until

import hashlib
import os
import re
import socket
import struct
import threading
import time

MIB = 1 << 20
SIZE = 2 * MIB  # of what is moved to and fro
PORT = "org.espalier.test"
IDLE_SECONDS = 10
IDLE_BOUND = 0.01  # of a core
FROM_GUEST, TO_GUEST = 5, 6  # vsock ports


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def serve(listener, handler):
    """Each connection in a thread of its own."""
    def accept():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=handler, args=(peer,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()


def echo(peer):
    """Sends back what comes, until it ends."""
    with peer:
        try:
            while data := peer.recv(65536):
                peer.sendall(data)
        except OSError:
            pass


def local(path):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(60 * PATIENCE)
    peer.connect(path)
    return peer


def receive(peer, length):
    data = b""
    while len(data) < length:
        piece = peer.recv(length - len(data))
        check(piece, f"the line ended after {len(data)} of {length} bytes: {data[-100:]!r}")
        data += piece
    return data


class Machine:
    """What the machine is made of: files, sockets, and the words for its devices."""

    def __init__(self, folder):
        self.folder = folder
        self.control = self.path("control")
        self.raw, self.qcow2, self.stick = self.path("raw.img"), self.path("disk.qcow2"), self.path("stick.img")
        self.shared, self.shared9p = self.path("shared"), self.path("shared9p")
        for path in (self.shared, self.shared9p, self.path("dav")):
            os.mkdir(path)
        with open(self.path("dav/hello"), "w", encoding="utf-8") as file:
            file.write("over WebDAV\n")
        for path in (self.raw, self.stick):
            with open(path, "wb") as file:
                file.truncate(64 * MIB)
        host("mke2fs", "-q", "-t", "ext4", self.raw)
        host("qemu-img", "create", "-q", "-f", "qcow2", self.qcow2, "128M")
        self.tcp = socket.create_server(("127.0.0.1", 0))
        serve(self.tcp, echo)
        self.vsock = socket.socket(socket.AF_UNIX)
        self.vsock.bind(self.path("vsock"))
        self.vsock.listen()
        serve(self.vsock, echo)
        self.names = {}
        self.devices = []
        self._list()

    def path(self, name):
        return os.path.join(self.folder, name)

    def _add(self, name, words):
        self.devices.append(words)
        self.names[name] = str(len(self.devices))  # behind the serial port

    def _list(self):
        self._add("raw", f"virtio-blk,path={self.raw},deviceId=rawdisk,queues=2")
        self._add("qcow2", f"virtio-blk,path={self.qcow2},format=qcow2,deviceId=qcow2disk,queues=2")
        self._add("fs", f"virtio-fs,sharedDir={self.shared},mountTag=shared")
        self._add("net", "virtio-net,nat,mac=52:54:00:00:00:01")
        self._add("e1000", "e1000,nat,mac=52:54:00:00:00:02")
        self._add("console", f"virtio-serial,socketPath={self.path('hvc0')}")
        self._add("console2", f"virtio-serial,logFilePath={self.path('hvc1')}")
        self._add("port", f"virtio-serial,socketPath={self.path('port')},name={PORT}")
        self._add("vsock", f"virtio-vsock,port={FROM_GUEST},socketURL={self.path('vsock')}")
        self._add("vsock-in", f"virtio-vsock,port={TO_GUEST},socketURL={self.path('vsock-in')},connect")
        self._add("balloon", "virtio-balloon")
        self._add("rng", "virtio-rng")
        self._add("sound", "virtio-sound,backend=silent")
        self._add("keys", "virtio-input,keyboard")
        self._add("tablet", "virtio-input,pointing")
        self._add("usb-keys", "usb-keyboard")
        self._add("usb-tablet", "usb-tablet")
        self._add("stick", f"usb-mass-storage,path={self.stick},deviceId=STICK0000001")
        self._add("gpu", "virtio-gpu,width=1024,height=768")
        self._add("9p", f"virtio-9p,sharedDir={self.shared9p},mountTag=nine")
        self._add("agent", "spice-agent")
        self._add("webdav", f"spice-webdav,sharedDir={self.path('dav')}")

    def act(self, name, *words):
        return host(CTL, "device", self.control, self.names[name], *words)


def all_are_listed(guest, machine):
    """By espalierctl with the words they were given, and by the guest on its buses."""
    text = host(CTL, "devices", machine.control)
    for words in machine.devices:
        kind = words.split(",")[0]
        wanted = sum(kind == other.split(",")[0] for other in machine.devices)
        check(len(re.findall(rf"\b{kind}\b", text)) >= wanted, f"not {wanted} of “{kind}” in the list of devices:\n{text}")
    ids = guest.run("cat /sys/bus/virtio/devices/*/device").split()
    kinds = {int(number, 16) for number in ids}
    wanted = {1, 2, 3, 4, 5, 9, 16, 18, 19, 25, 26}
    check(wanted <= kinds, f"virtio devices in the guest: {sorted(kinds)}, expected {sorted(wanted)}")


def disk_of(guest, serial):
    return guest.run(f"for d in /sys/block/vd*; do [ \"$(cat $d/serial)\" = {serial} ] && echo ${{d##*/}}; done; true").strip()


def stick_of(guest):
    return until("the stick", lambda: guest.run(
        "coldplug; for d in /sys/block/sd*; do [ -e $d ] && readlink -f $d | grep -q usb && echo ${d##*/}; done; true").strip())


def file_systems(guest, machine):
    """The same file through each file system; sums of what comes back once the guest's cache is empty."""
    guest.run(f"head -c {SIZE} /dev/urandom > /tmp/data; sha256sum < /tmp/data")
    digest = guest.run("sha256sum < /tmp/data").split()[0]
    raw, qcow2, stick = disk_of(guest, "rawdisk"), disk_of(guest, "qcow2disk"), stick_of(guest)
    check(raw and qcow2, f"disks: {raw!r} and {qcow2!r}")
    equal(guest.run(f"ls /sys/block/{raw}/mq /sys/block/{qcow2}/mq | grep -c '^[01]$'").strip(), "4", "queues of both disks")
    guest.run("modprobe ext4; modprobe virtiofs; for m in raw qcow2 stick shared nine; do mkdir -p /mnt/$m; done")
    guest.run(f"mke2fs -F /dev/{qcow2} >/dev/null 2>&1; mke2fs -F /dev/{stick} >/dev/null 2>&1", 120)
    guest.run(f"mount -t ext4 /dev/{raw} /mnt/raw; mount -t ext4 /dev/{qcow2} /mnt/qcow2; mount -t ext4 /dev/{stick} /mnt/stick; "
              "mount -t virtiofs shared /mnt/shared")
    guest.run("modprobe -a 9pnet_virtio 9p; mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 nine /mnt/nine")
    mounts = ["raw", "qcow2", "stick", "shared", "nine"]
    # All at once, so that they are under way together.
    guest.run("p=; for m in " + " ".join(mounts) + "; do (cp /tmp/data /mnt/$m/data && mkdir /mnt/$m/folder && "
              "echo in $m > /mnt/$m/folder/name && sync) & p=\"$p $!\"; done; r=0; for i in $p; do wait $i || r=1; done; [ $r = 0 ]", 120)
    guest.run("sync; echo 3 > /proc/sys/vm/drop_caches")
    for name in mounts:
        equal(guest.run(f"sha256sum < /mnt/{name}/data; cat /mnt/{name}/folder/name", 60).split(), [digest, "-", "in", name],
              f"what came back from {name}")
    for mount, folder in ("shared", machine.shared), ("nine", machine.shared9p):
        with open(os.path.join(folder, "data"), "rb") as file:
            equal(sha256(file.read()), digest, f"sum of the file on the host, of {mount}")
    guest.run("umount " + " ".join(f"/mnt/{name}" for name in mounts))
    return digest


def cards(guest, machine):
    """Both network cards; each in turn has the only way out."""
    drivers = guest.run("for d in /sys/class/net/*; do [ -e $d/device ] && echo $(basename $(readlink $d/device/driver)) ${d##*/}; done; true")
    cards = dict(line.split() for line in drivers.splitlines())
    equal(sorted(cards), ["e1000", "virtio_net"], "network drivers")
    for driver, name in sorted(cards.items()):
        text = guest.run(f"ip link set {name} up; udhcpc -i {name} -n -q -s /bin/true 2>&1", 60)
        check("lease of 10.0.2.15 obtained" in text, f"DHCP on {driver}: {text}")
        guest.run(f"ip addr add 10.0.2.15/24 dev {name}; ip route add default via 10.0.2.2; ping -c 2 -W 10 10.0.2.2", 60)
        # nc ends when the server does, which ends with what it hears: busybox's nc closes its half at the end of input.
        text = guest.run(f"nc 10.0.2.2 {machine.tcp.getsockname()[1]} < /tmp/data | sha256sum; sha256sum < /tmp/data", 120).split()
        equal(text[0], text[2], f"sum of what came back through {driver}")
        guest.run(f"ip addr flush dev {name}; ip link set {name} down")
        status = machine.act("net" if driver == "virtio_net" else "e1000", "status")
        check("10.0.2.15" in status, f"the address of the guest on {driver}: {status}")


def port_of(guest, name):
    port = guest.run(f"for p in /sys/class/virtio-ports/*; do [ \"$(cat $p/name 2>/dev/null)\" = {name} ] && echo ${{p##*/}}; done; true").strip()
    check(port, f"no port is called {name}")
    return port


def lines(guest, machine):
    """Two consoles and a named port."""
    port = port_of(guest, PORT)
    with local(machine.path("hvc0")) as first, local(machine.path("port")) as line:
        guest.run("exec 6<>/dev/hvc0; stty raw -echo <&6; echo to the first >&6; echo to the second > /dev/hvc1")
        equal(receive(first, 13), b"to the first\n", "what came out of hvc0")
        first.sendall(b"word\n")
        equal(guest.run("head -n 1 <&6; exec 6>&-").strip(), "word", "what hvc0 read")
        data = os.urandom(SIZE)
        guest.send(f"head -c {SIZE} < /dev/{port} > /tmp/in; cat /tmp/in > /dev/{port}; echo through-\"\"port\n")
        line.sendall(data)
        equal(sha256(receive(line, SIZE)), sha256(data), "sum of what went through the port and back")
        guest.expect(r"^through-port$", 60)
    with open(machine.path("hvc1"), encoding="utf-8") as file:
        equal(file.read().replace("\r", ""), "to the second\n", "what came out of hvc1")


def sockets(guest, machine, program):
    guest.run(f"mount -t virtiofs shared /mnt/shared; cp /mnt/shared/{program} /tmp/vsock; umount /mnt/shared")
    text = guest.run(f"/tmp/vsock connect {FROM_GUEST} < /tmp/data | sha256sum; sha256sum < /tmp/data", 120).split()
    equal(text[0], text[2], "sum of what came back through vsock")
    guest.send(f"/tmp/vsock echo {TO_GUEST} 1; echo served-\"\"vsock\n")
    guest.expect(r"^vsock: listening$")
    with local(machine.path("vsock-in")) as peer:
        peer.sendall(b"from the host")
        equal(receive(peer, 13), b"from the host", "the guest's echo")
    guest.expect(r"^served-vsock$")


def octal(data):
    """For printf in a shell."""
    return "".join(f"\\{byte:03o}" for byte in data)


def agent_and_webdav(guest, machine):
    """Without the guest's daemons, the first words of either protocol (long_agent.py has the daemons)."""
    # A chunk for the client's port: VD_AGENT_ANNOUNCE_CAPABILITIES, which asks for the other's.
    announce = struct.pack("<IIIIQIII", 1, 28, 1, 6, 0, 8, 1, 0)
    guest.run(f"exec 5<>/dev/{port_of(guest, 'com.redhat.spice.0')}; printf '{octal(announce)}' >&5; head -c 28 <&5 > /tmp/agent; exec 5>&-", 60)
    seen = bytes.fromhex("".join(guest.run("xxd -p /tmp/agent").split()))
    port, _, protocol, kind = struct.unpack("<IIII", seen[:16])
    equal((port, protocol, kind), (1, 1, 6), "the agent's answer to an announcement: port, protocol, type")
    # One client of the web server: its number, how many bytes, the bytes.
    request = b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    guest.run(f"exec 5<>/dev/{port_of(guest, 'org.spice-space.webdav.0')}; printf '{octal(struct.pack('<QH', 1, len(request)) + request)}' >&5; "
              "until strings /tmp/dav 2>/dev/null | grep -q 'over WebDAV'; do dd bs=4096 count=1 <&5 >> /tmp/dav 2>/dev/null; done; exec 5>&-", 60)
    check("200 OK" in guest.run("strings /tmp/dav"), f"the web server's answer: {guest.run('strings /tmp/dav')}")


def memory_and_entropy(guest, machine):
    check("virtio" in guest.run("cat /sys/class/misc/hw_random/rng_current"), "the guest's source of entropy is not virtio")
    bits = [guest.run("dd if=/dev/hwrng bs=512 count=4 2>/dev/null | sha256sum") for _ in range(2)]
    check(bits[0] != bits[1], "the same random bytes twice")

    def actual():
        return float(re.search(r"^actual ([\d.]+)", machine.act("balloon", "statistics"), re.M).group(1))
    machine.act("balloon", "target", "768")
    until("the balloon full", lambda: actual() <= 768 * MIB, 60)
    machine.act("balloon", "target", "1024")
    until("the balloon empty", lambda: actual() == 1024 * MIB, 60)


def event_node(guest, path):
    """The event device whose sysfs path has this in it, and the name."""
    word, name = path
    script = (f"for e in /sys/class/input/event*; do readlink -f $e | grep -q {word} && grep -qi {name} $e/device/name && "
              "echo ${e##*/}; done; true")
    return until(f"the event device of a {name} on {word}", lambda: guest.run(script).split()[:1])[0]


def events(guest, node):
    """(type, code, value) of what has been written down, without SYN and MSC."""
    data = bytes.fromhex("".join(guest.run(f"xxd -p /tmp/{node}").split()))
    found = [struct.unpack_from("<HHi", data, at + 16) for at in range(0, len(data) // 24 * 24, 24)]
    return [event for event in found if event[0] not in (0, 4)]


def keys_and_pointers(guest, machine):
    nodes = {name: event_node(guest, where) for name, where in {
        "keys": ("virtio", "keyboard"), "tablet": ("virtio", "tablet"),
        "usb-keys": ("usb", "keyboard"), "usb-tablet": ("usb", "tablet")}.items()}
    equal(len(set(nodes.values())), 4, f"event devices {nodes}")
    for node in nodes.values():
        guest.run(f"cat /dev/input/{node} > /tmp/{node} & true")
    guest.run("sleep 1")
    for name in "keys", "usb-keys":
        machine.act(name, "key", "30")
        until(f"a key of {name}", lambda: events(guest, nodes[name]) == [(1, 30, 1), (1, 30, 0)])
    for name in "tablet", "usb-tablet":
        machine.act(name, "move", "1234", "4321")
        until(f"a move of {name}", lambda: sorted(events(guest, nodes[name])) == [(3, 0, 1234), (3, 1, 4321)])
    guest.run("kill $(pidof cat)")


def display(guest, machine):
    def picture():
        return machine.act("gpu", "screenshot", machine.path("screen.png"), "0").split("\n")[0].split()
    guest.run("printf '\\033c\\033[?25l' > /dev/tty1; chvt 1")
    blank = sha256(struct.pack("<II", 1024, 768) + bytes(1024 * 768 * 4))
    until("a black screen", lambda: picture() == ["1024", "x", "768", blank])
    guest.run("echo all devices > /dev/tty1")
    until("text on the screen", lambda: picture()[3] != blank)


def ticks(pid):
    """User and system time of the process so far, in ticks."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def by_thread(pid):
    found = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat", encoding="utf-8") as file:
            text = file.read()
        fields = text.rpartition(")")[2].split()
        found[thread, text[text.index("(") + 1:text.rindex(")")]] = int(fields[11]) + int(fields[12])
    return found


def idles(guest, machine):
    """Nothing polls: all threads together take less than a hundredth of a core, once the guest has come to rest."""
    per_second = os.sysconf("SC_CLK_TCK")
    seen = []
    for _ in range(4):
        before, threads = ticks(guest.child.pid), by_thread(guest.child.pid)
        time.sleep(IDLE_SECONDS)
        used = (ticks(guest.child.pid) - before) / per_second / IDLE_SECONDS
        seen.append(f"{used:.1%}")
        if used < IDLE_BOUND:
            print(f"  idle: {used:.1%} of a core over {IDLE_SECONDS} s")
            return
        busy = {name[1]: now - threads.get(name, 0) for name, now in by_thread(guest.child.pid).items() if now > threads.get(name, 0)}
    interrupts = guest.run(f"cat /proc/interrupts > /tmp/a; sleep {IDLE_SECONDS}; cat /proc/interrupts | diff /tmp/a - ; true")
    raise Failure(f"an idle machine takes {', '.join(seen)} of a core over {IDLE_SECONDS} s each; ticks by thread: {busy}; "
                  f"interrupts:\n{interrupts}")


def images_are_whole(machine, digest):
    """What the host finds on the disks afterwards."""
    host("e2fsck", "-fn", machine.raw)
    host("e2fsck", "-fn", machine.stick)
    host("qemu-img", "check", machine.qcow2)
    flat = machine.path("flat.img")
    host("qemu-img", "convert", "-O", "raw", machine.qcow2, flat)
    host("e2fsck", "-fn", flat)
    for image in machine.raw, machine.stick, flat:
        host("debugfs", "-R", f"dump /data {machine.path('out')}", image)
        with open(machine.path("out"), "rb") as file:
            equal(sha256(file.read()), digest, f"sum of the file in {os.path.basename(image)}")


def all_devices_in_one_machine():
    if PEER:
        raise Skip("only for espalierctl")
    need("mke2fs", "e2fsck", "debugfs", "qemu-img", "gcc")
    with scratch() as folder:
        machine = Machine(folder)
        # From the source that test_vsock.py has.
        build_program("vsock", os.path.join(machine.shared, "vsock"))
        with boot_devices(devices=machine.devices, cpus=2, memory=1024, extra=("--control", machine.control)) as guest:
            all_are_listed(guest, machine)
            digest = file_systems(guest, machine)
            cards(guest, machine)
            lines(guest, machine)
            sockets(guest, machine, "vsock")
            agent_and_webdav(guest, machine)
            memory_and_entropy(guest, machine)
            keys_and_pointers(guest, machine)
            display(guest, machine)
            guest.run("dmesg | grep -iE 'BUG:|WARNING:|call trace|I/O error|timed? ?out|xhci.*died' && exit 1; true")
            idles(guest, machine)
            guest.send("sync; poweroff -f\n")
            equal(guest.wait(60), 0, "exit status")
        images_are_whole(machine, digest)


main(all_devices_in_one_machine)
