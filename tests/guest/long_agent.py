#!/usr/bin/env python3
"""Debian's spice-vdagent, under an X server of the guest's own, against our agent; and spice-webdavd; and both together.

For make test-devices-long. The guest's programs come from the tools disk (make build/guest/tools.img).

time-limit: 2400
"""
from guest import CTL, GUEST, Failure, Skip, boot_devices, check, equal, host, main, scratch, until

import binascii
import hashlib
import os
import random
import shutil
import struct
import time
import zlib

TOOLS = os.path.join(GUEST, "tools.img")
PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs", "file_list_agent.py")
CURL = "tools curl -sS -m 60 -o /tmp/answer -w '%{http_code}' "
BASE = "http://127.0.0.1:9843"
# The place of each in the machine's list; 0 is the serial port.
AGENT = 3

# spice-webdavd of Debian ends when there is no avahi daemon to tell of its port, which we know.
NO_AVAHI = ("void *malloc(unsigned long);\\n"
            "void *avahi_client_new(void *a, int b, void *c, void *d, int *e) { return malloc(64); }\\n"
            "void avahi_client_free(void *c) {}\\n")

XORG = """Section "Device"
Identifier "card"
Driver "modesetting"
Option "AccelMethod" "none"
EndSection
Section "ServerFlags"
Option "AutoAddDevices" "false"
Option "BlankTime" "0"
EndSection
"""


def attempt(*args):
    """What a command of ours prints, or None if it fails."""
    try:
        return host(*args)
    except Failure:
        return None


def complaint(*args):
    """What a command of ours says when it fails."""
    try:
        host(*args)
    except Failure as failure:
        return str(failure)
    return ""


def png(side):
    """A picture that does not compress, so that it takes many chunks."""
    rows = b"".join(b"\0" + random.Random(row).randbytes(3 * side) for row in range(side))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", binascii.crc32(kind + data)) for kind, data in chunks)


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def guest_file(guest, name, text):
    """Makes a file in the guest's /tmp."""
    guest.run(f"printf '{text.replace(chr(10), chr(92) + 'n')}' > /tmp/{name}")


def digest(guest, path):
    return guest.run(f"md5sum '{path}' | cut -d ' ' -f 1").strip()


def name_ports(guest):
    """What udev does elsewhere."""
    guest.run("mkdir -p /dev/virtio-ports; for p in /sys/class/virtio-ports/*; do "
              "ln -sf /dev/${p##*/} /dev/virtio-ports/$(cat $p/name); done")


def start_agents(guest):
    """An X server, the daemon, and the session's agent."""
    guest_file(guest, "xorg.conf", XORG)
    guest.run("mkdir -p /run/spice-vdagentd /tmp/.X11-unix /tmp/Downloads; chmod 1777 /tmp/.X11-unix; modprobe uinput; true")
    guest.run("(tools Xorg :0 -config /tmp/xorg.conf -logfile /tmp/Xorg.log -nolisten tcp > /tmp/X.out 2>&1 &)")
    until("the X server", lambda: "X0" in guest.run("ls /tmp/.X11-unix"), 180)
    guest.run("(tools spice-vdagentd -x -X -d -s /dev/virtio-ports/com.redhat.spice.0 > /tmp/vdagentd.out 2>&1 &)")
    until("the daemon's socket", lambda: "spice" in guest.run("ls /run/spice-vdagentd"), 60)
    guest.run("(tools env DISPLAY=:0 HOME=/tmp spice-vdagent -x -d -s /dev/virtio-ports/com.redhat.spice.0 -f /tmp/Downloads > /tmp/vdagent.out 2>&1 &)")
    guest.run("tools env DISPLAY=:0 xrandr > /tmp/xrandr.out 2>&1; cat /tmp/xrandr.out", 120)


def clipboard_text(guest, act, folder):
    text = "Grüße vom Wirt, with “quotes”"
    act("clipboard-set", text)
    until("the host's text in the guest",
          lambda: guest.run("tools timeout 20 env DISPLAY=:0 xclip -selection clipboard -t UTF8_STRING -o 2>/dev/null || true", 120).strip() == text)
    guest.run("echo -n 'from the guest ünïcode' | tools env DISPLAY=:0 xclip -selection clipboard -t UTF8_STRING -i > /dev/null 2>&1", 60)
    equal(until("the guest's text", lambda: attempt(*act.words, "clipboard-get")).strip(), "from the guest ünïcode", "the text")


def clipboard_image(guest, act, folder):
    there, back = os.path.join(folder, "there.png"), os.path.join(folder, "back.png")
    write(there, png(200))
    wanted = hashlib.md5(open(there, "rb").read()).hexdigest()
    act("clipboard-set-image", there)
    until("the host's picture in the guest", lambda: guest.run(
        "tools timeout 60 env DISPLAY=:0 xclip -selection clipboard -t image/png -o 2>/dev/null > /tmp/got.png; md5sum < /tmp/got.png",
        180).split()[0] == wanted)
    guest.run("tools env DISPLAY=:0 xclip -selection clipboard -t image/png -i /tmp/got.png > /dev/null 2>&1", 60)
    until("the guest's picture", lambda: attempt(*act.words, "clipboard-get-image", back) is not None)
    equal(hashlib.md5(open(back, "rb").read()).hexdigest(), wanted, "the picture")


def files(guest, act, folder):
    path = os.path.join(folder, "a file.bin")
    write(path, random.Random(1).randbytes(700000))
    equal(act("send-file", path).strip(), "1", "its number")
    until("its arrival", lambda: "file 1 700000/700000 arrived" in act("status"), 180)
    equal(digest(guest, "/tmp/Downloads/a file.bin"), hashlib.md5(open(path, "rb").read()).hexdigest(), "the file")


def monitors(guest, act, folder):
    act("monitors", "800x600")
    until("the size in the guest", lambda: "current 800 x 600" in guest.run("tools env DISPLAY=:0 xrandr 2>/dev/null | head -1", 60), 120)


def file_list_nobody_knows(guest, act, folder):
    """Debian builds its session agent --with-gtk, whose clipboard has no file lists: neither does it take one (the
    conversion in src/vdagent/webdav-cb.c is only called by the one without GTK), nor is there any that gives one. It
    says so, passes the list over, and what comes next is taken again."""
    act("clipboard-set-files", "copy", os.path.join(folder, "secret"))
    until("that it knows no such type", lambda: "no type supported" in guest.run("cat /tmp/vdagent.out"), 60)
    act("clipboard-set", "after the files")
    until("a text after it",
          lambda: guest.run("tools timeout 20 env DISPLAY=:0 xclip -selection clipboard -t UTF8_STRING -o 2>/dev/null || true", 120).strip() == "after the files")


def start_webdavd(guest):
    guest.run(f"printf '{NO_AVAHI}' > /tmp/no-avahi.c; tools tcc -shared -o /tmp/no-avahi.so /tmp/no-avahi.c")
    guest.run("(tools env LD_PRELOAD=/tmp/no-avahi.so spice-webdavd -p 9843 > /tmp/webdavd.out 2>&1 &)")
    until("the folder", lambda: guest.run(f"{CURL} -X PROPFIND -H 'Depth: 1' {BASE}/ || true", 120).strip().endswith("207"), 120)


def webdav(guest, act, folder):
    """curl in the guest, through spice-webdavd, on a folder of the host's with a way out of it."""
    shared = os.path.join(folder, "shared")
    curl, base = CURL, BASE
    start_webdavd(guest)
    seen = guest.run("cat /tmp/answer")
    check("there.bin" in seen and "way-out" not in seen, f"the listing is not what it should be: {seen}")
    equal(guest.run(f"{curl} {base}/there.bin", 120).strip(), "200", "reading")
    equal(digest(guest, "/tmp/answer"), hashlib.md5(open(os.path.join(shared, "there.bin"), "rb").read()).hexdigest(), "the file")
    for path in ("way-out/passwd", "way-out", "%2e%2e/secret", "fifo"):
        check(guest.run(f"{curl} --path-as-is {base}/{path}", 120).strip() in ("400", "403", "404"), f"{path} can be reached")
    guest.run("head -c 500000 /dev/urandom > /tmp/back.bin")
    check(guest.run(f"{curl} -H 'Expect:' -T /tmp/back.bin {base}/back.bin", 120).strip() in ("200", "201"), "writing failed")
    until("the file on the host", lambda: os.path.exists(os.path.join(shared, "back.bin")))
    equal(hashlib.md5(open(os.path.join(shared, "back.bin"), "rb").read()).hexdigest(), digest(guest, "/tmp/back.bin"), "what came back")
    equal(guest.run(f"{curl} -X DELETE {base}/back.bin", 120).strip(), "204", "deleting")
    check(not os.path.exists(os.path.join(shared, "back.bin")), "it is still there")


def make_shared(folder):
    shared = os.path.join(folder, "shared")
    os.mkdir(shared)
    write(os.path.join(shared, "there.bin"), random.Random(2).randbytes(300000))
    write(os.path.join(folder, "secret"), b"secret")
    os.symlink("/etc", os.path.join(shared, "way-out"))
    os.mkfifo(os.path.join(shared, "fifo"))
    return shared


def mount_davfs(guest):
    """The folder at /tmp/dav, with the user and group of a system that has davfs2 set up."""
    guest_file(guest, "davfs2.conf", "dav_user root\ndav_group root\nask_auth 0\nuse_locks 0\n")
    guest.run("modprobe fuse 2>/dev/null; cp -a /tools/etc /tmp/etc; ln -sf /proc/self/mounts /tmp/etc/mtab; cp /tmp/davfs2.conf /tmp/etc/davfs2/; "
              "mount --bind /tmp/etc /tools/etc && mount -t tmpfs none /tools/var && "
              "mkdir -p /tmp/dav /run/mount.davfs /tools/var/run/mount.davfs /tools/var/cache/davfs2 && chmod 1775 /tools/var/run/mount.davfs /run/mount.davfs")
    guest.run(f"tools mount.davfs {BASE}/ /tmp/dav > /tmp/davfs2.out 2>&1 < /dev/null || (cat /tmp/davfs2.out; false)", 120)


def files_to_guest(guest, act, folder):
    """What the host offers is found where the list says, as curl and as a mounted folder has it."""
    album = os.path.join(folder, "an album")
    os.makedirs(os.path.join(album, "deep"))
    write(os.path.join(album, "deep", "three"), random.Random(3).randbytes(400000))
    write(os.path.join(folder, "one.bin"), random.Random(4).randbytes(300000))
    os.symlink("/etc/passwd", os.path.join(album, "way-out"))
    act("clipboard-set-files", "cut", os.path.join(folder, "one.bin"), album)
    items = guest.run("tools python3 /tmp/agent.py get", 180).strip().splitlines()
    equal([items[0]] + [item.split("/")[-1] for item in items[1:]], ["cut", "one.bin", "an album"], "the list")
    check(items[1].startswith("/.spice-clipboard/"), f"{items[1]} is not where it should be")
    wanted = [hashlib.md5(open(os.path.join(folder, name), "rb").read()).hexdigest() for name in ("one.bin", "an album/deep/three")]
    paths = [items[1], items[2] + "/deep/three"]
    for path, digest_wanted in zip(paths, wanted):
        equal(guest.run(f"{CURL} '{BASE}{path.replace(' ', '%20')}'", 120).strip(), "200", path)
        equal(digest(guest, "/tmp/answer"), digest_wanted, path)
    equal(guest.run(f"{CURL} '{BASE}{items[2].replace(' ', '%20')}/way-out'", 120).strip(), "404", "a link")
    check(guest.run(f"{CURL} -X DELETE {BASE}{items[1]}", 120).strip() in ("403", "500", "207"), "it can be deleted")
    check(os.path.exists(os.path.join(folder, "one.bin")), "it was deleted")
    mount_davfs(guest)
    for path, digest_wanted in zip(paths, wanted):
        equal(guest.run(f"tools md5sum '/tmp/dav{path}' | cut -d ' ' -f 1", 120).strip(), digest_wanted, f"{path} through davfs2")
    check(guest.run(f"echo changed 2>/dev/null > '/tmp/dav{paths[0]}' || echo refused", 120).strip() == "refused" or
          open(os.path.join(folder, "one.bin"), "rb").read(7) != b"changed", "it was written to")
    guest.run("tools umount /tmp/dav; true", 120)


def files_to_host(guest, act, folder):
    """What the guest has put into the shared folder and names on its clipboard is what the host is told; nothing else."""
    shared = os.path.join(folder, "shared")
    equal(guest.run(f"head -c 100000 /dev/urandom > /tmp/mine; {CURL} -H 'Expect:' -T /tmp/mine {BASE}/mine.bin", 120).strip()[-3:], "201", "writing")
    give = "(tools timeout 120 python3 /tmp/agent.py give copy %s > /tmp/give.out 2>&1 &)"
    guest.run(give % "/mine.bin /there.bin")
    until("the list", lambda: (attempt(*act.words, "clipboard-get-files") or "").splitlines() ==
          ["copy", os.path.join(shared, "mine.bin"), os.path.join(shared, "there.bin")], 120)
    equal(hashlib.md5(open(os.path.join(shared, "mine.bin"), "rb").read()).hexdigest(), digest(guest, "/tmp/mine"), "the file")
    guest.run("tools pkill -f agent.py; sleep 2")
    guest.run(give % "/there.bin /../secret")
    until("a list that is refused", lambda: "not in the shared folder" in complaint(*act.words, "clipboard-get-files"), 120)
    guest.run("tools pkill -f agent.py; true")


class Act:
    """Actions of one device."""

    def __init__(self, socket, device):
        self.words = (CTL, "device", socket, str(device))

    def __call__(self, *words):
        return host(*self.words, *words)


def test_vdagent_of_the_guest_and_ours():
    if not os.path.exists(TOOLS):
        raise Skip("the tools disk is not built (make build/guest/tools.img)")
    with scratch() as folder:
        socket = os.path.join(folder, "control")
        devices = [f"virtio-blk,path={TOOLS},deviceId=tools,readonly", "virtio-gpu,width=1024,height=768", "spice-agent",
                   f"spice-webdav,sharedDir={make_shared(folder)}"]
        with boot_devices(devices, memory=1024, extra=["--control", socket]) as guest:
            act = Act(socket, AGENT)
            check("agent absent" in act("status"), "an agent before there is one")
            check("install spice-vdagent" in (attempt(*act.words, "status") or ""), "what to do without one is not said")
            try:
                name_ports(guest)
                start_agents(guest)
                until("the agent", lambda: "agent present clipboard monitors files" in act("status"), 120)
                for part in (webdav, clipboard_text, clipboard_image, file_list_nobody_knows, files, monitors):
                    start = time.monotonic()
                    part(guest, act, folder)
                    print(f"  {part.__name__}: {time.monotonic() - start:.0f} s")
            except Failure as failure:
                print(failure)
                print(act("status"))
                print(guest.run("tail -n 15 /tmp/*.out /tmp/Xorg.log; true"))
                raise


def test_files_on_clipboards():
    """Debian's spice-vdagentd and spice-webdavd, with a session agent that knows file lists."""
    if not os.path.exists(TOOLS):
        raise Skip("the tools disk is not built (make build/guest/tools.img)")
    with scratch() as folder:
        socket = os.path.join(folder, "control")
        shared = make_shared(folder)
        shutil.copy(PEER, os.path.join(shared, "agent.py"))
        devices = [f"virtio-blk,path={TOOLS},deviceId=tools,readonly", "spice-agent", f"spice-webdav,sharedDir={shared}"]
        with boot_devices(devices, memory=512, extra=["--control", socket]) as guest:
            act = Act(socket, AGENT - 1)
            check("install spice-webdavd" in complaint(*act.words, "clipboard-set-files", "copy", PEER), "what is missing is not said")
            try:
                name_ports(guest)
                start_webdavd(guest)
                guest.run(f"{CURL} {BASE}/agent.py; mv /tmp/answer /tmp/agent.py", 120)
                guest.run("mkdir -p /run/spice-vdagentd; modprobe uinput; true")
                guest.run("(tools spice-vdagentd -x -X -d -s /dev/virtio-ports/com.redhat.spice.0 > /tmp/vdagentd.out 2>&1 &)")
                until("the daemon's socket", lambda: "spice" in guest.run("ls /run/spice-vdagentd"), 60)
                for part in (files_to_guest, files_to_host):
                    start = time.monotonic()
                    part(guest, act, folder)
                    print(f"  {part.__name__}: {time.monotonic() - start:.0f} s")
            except Failure as failure:
                print(failure)
                print(act("status"))
                print(guest.run("tail -n 15 /tmp/*.out; true"))
                raise


main(test_files_on_clipboards, test_vdagent_of_the_guest_and_ours)
