#!/usr/bin/env python3
"""Keyboards, tablets and what is on USB as Debian's own programs see them: evtest, lsusb and libinput, on virtio and on USB.

time-limit: 2400
"""
from guest import CTL, PEER, TOOLS, Skip, boot_devices, check, equal, host, main, scratch, until

import os
import re

KEYBOARD, TABLET, USB_KEYBOARD, USB_TABLET = "2", "3", "4", "5"  # among the machine's devices, behind the tools disk
# What a person's keyboard has: its name by evtest, and its number.
KEYS = {"KEY_ESC": 1, "KEY_1": 2, "KEY_Q": 16, "KEY_A": 30, "KEY_ENTER": 28, "KEY_LEFTCTRL": 29, "KEY_LEFTSHIFT": 42, "KEY_LEFTALT": 56,
        "KEY_SPACE": 57, "KEY_CAPSLOCK": 58, "KEY_F1": 59, "KEY_F12": 88, "KEY_102ND": 86, "KEY_KP7": 71, "KEY_KPENTER": 96,
        "KEY_RIGHTCTRL": 97, "KEY_SYSRQ": 99, "KEY_RIGHTALT": 100, "KEY_HOME": 102, "KEY_UP": 103, "KEY_PAGEDOWN": 109,
        "KEY_DELETE": 111, "KEY_LEFTMETA": 125, "KEY_RIGHTMETA": 126, "KEY_COMPOSE": 127}
BUTTONS = {"BTN_LEFT": 272, "BTN_RIGHT": 273, "BTN_MIDDLE": 274}


def event_node(guest, bus, name):
    script = (f"for e in /sys/class/input/event*; do readlink -f $e | grep -q {bus} && grep -qi {name} $e/device/name && "
              "echo ${e##*/}; done; true")
    return until(f"the event device of a {name} on {bus}", lambda: guest.run(script).split()[:1])[0]


class Evtest:
    """evtest on a device, in the background; its output is a file in the guest."""

    def __init__(self, guest, node):
        self.guest, self.file = guest, f"/tmp/evtest-{node}"
        # With a line buffer, so that what came is there.
        guest.run(f"tools stdbuf -oL evtest /dev/input/{node} > {self.file} 2>&1 & true")
        until(f"evtest on {node}", lambda: "Testing ..." in self.read(), 120)

    def read(self):
        return self.guest.run(f"cat {self.file}")

    def events(self):
        """["EV_KEY KEY_A 1", ...]"""
        lines = re.findall(r"^Event: time [\d.]+, type \d+ \((\w+)\), code \d+ \((\w+)\), value (-?\d+)", self.read(), re.M)
        return [" ".join(line) for line in lines if line[0] in ("EV_KEY", "EV_ABS", "EV_REL", "EV_LED")]


def codes(text, kind):
    """{name: number} of what evtest lists below an event type."""
    section = re.search(rf"^  Event type \d+ \({kind}\)\n((?:    .*\n)*)", text, re.M)
    return {name: int(number) for number, name in re.findall(r"Event code (\d+) \((\w+)\)", section.group(1))} if section else {}


def keyboard_view(guest, machine, device, bus):
    node = event_node(guest, bus, "keyboard")
    evtest = Evtest(guest, node)
    text = evtest.read()
    keys = codes(text, "EV_KEY")
    missing = [name for name, number in KEYS.items() if keys.get(name) != number]
    check(not missing, f"the keyboard on {bus} has no {missing}:\n{text}")
    check({"LED_NUML", "LED_CAPSL", "LED_SCROLLL"} <= set(codes(text, "EV_LED")), f"lights of the keyboard on {bus}:\n{text}")
    check("Repeat" in text or "EV_REP" in text, f"no repetition by the keyboard on {bus}:\n{text}")
    check(not codes(text, "EV_ABS"), f"a keyboard on {bus} that has axes:\n{text}")
    # Every one of them arrives as itself.
    for number in KEYS.values():
        host(CTL, "device", machine, device, "key", str(number))
    wanted = [f"EV_KEY {name} {way}" for name in KEYS for way in (1, 0)]

    def keys_seen():
        return [event for event in evtest.events() if event.startswith("EV_KEY")]
    until(f"the keys on {bus}", lambda: len(keys_seen()) >= len(wanted))
    equal(keys_seen(), wanted, f"keys of the keyboard on {bus}")
    # The guest's console answered the one with a light.
    until(f"the light of caps lock on {bus}", lambda: any(event.startswith("EV_LED LED_CAPSL") for event in evtest.events()))
    # A key that is held is repeated by the guest.
    host(CTL, "device", machine, device, "key", "30", "down")
    until(f"a repeated key on {bus}", lambda: "EV_KEY KEY_A 2" in keys_seen())
    host(CTL, "device", machine, device, "key", "30", "up")
    until(f"its end on {bus}", lambda: keys_seen()[-1] == "EV_KEY KEY_A 0")
    lights(guest, machine, device, node, bus)


def lights(guest, machine, device, node, bus):
    """As a desktop sets them: written to the event device."""
    for code, name in enumerate(("num", "caps", "scroll")):
        for value in 1, 0:
            event = "\\000" * 16 + f"\\021\\000\\{code:03o}\\000\\{value:03o}\\000\\000\\000"
            guest.run(f"printf '{event}' > /dev/input/{node}")
            word = f"{name} {'on' if value else 'off'}"
            until(f"“{word}” on {bus}", lambda: word in host(CTL, "device", machine, device, "leds"))


def tablet_view(guest, machine, device, bus):
    evtest = Evtest(guest, event_node(guest, bus, "tablet"))
    text = evtest.read()
    buttons = codes(text, "EV_KEY")
    check(all(buttons.get(name) == number for name, number in BUTTONS.items()), f"buttons of the tablet on {bus}:\n{text}")
    for axis in "ABS_X", "ABS_Y":
        found = re.search(rf"Event code \d+ \({axis}\)\n\s+Value\s+\d+\n\s+Min\s+(\d+)\n\s+Max\s+(\d+)", text)
        check(found and found.groups() == ("0", "32767"), f"{axis} of the tablet on {bus}:\n{text}")
    check("REL_WHEEL" in codes(text, "EV_REL"), f"no wheel on the tablet on {bus}:\n{text}")
    host(CTL, "device", machine, device, "move", "100", "200")
    host(CTL, "device", machine, device, "move", "32767", "32766")
    for number in BUTTONS.values():
        host(CTL, "device", machine, device, "click", str(number))
    host(CTL, "device", machine, device, "wheel", "2", "0")
    wanted = ["EV_ABS ABS_X 100", "EV_ABS ABS_Y 200", "EV_ABS ABS_X 32767", "EV_ABS ABS_Y 32766"]
    wanted += [f"EV_KEY {name} {way}" for name in BUTTONS for way in (1, 0)] + ["EV_REL REL_WHEEL 2"]
    until(f"events of the tablet on {bus}", lambda: wanted[-1] in evtest.events())
    seen = [event for event in evtest.events() if "HI_RES" not in event]
    # The button by its other name: a device may call it either.
    equal(seen, wanted, f"events of the tablet on {bus}")


def descriptors(guest):
    """lsusb -v reads every descriptor there is; what does not fit the specification it says. Names of classes it would have
    from a database that is not on the disk."""
    text = guest.run("tools lsusb -v 2>&1", 300)
    for complaint in "Couldn't", "** UNRECOGNIZED", "can't get", "unable to", "unavailable", "invalid", "Warning", "too short", "Bad":
        check(complaint not in text or not re.search(rf"^.*{re.escape(complaint)}(?!.*debug)", text, re.M),
              f"lsusb says “{complaint}”:\n" + "\n".join(line for line in text.splitlines() if complaint in line) + "\n" + text[-3000:])
    devices = re.split(r"^Bus \d+ Device \d+: ", text, flags=re.M)[1:]

    def one(word):
        found = [device for device in devices if re.search(rf"iProduct +\d+ .*{word}", device)]
        check(len(found) == 1, f"{len(found)} USB devices with “{word}” in their name:\n{text}")
        return found[0]

    def has(device, *patterns):
        for pattern in patterns:
            check(re.search(pattern, device, re.M), f"no “{pattern}” in:\n{device}")
    has(one("Keyboard"), r"bInterfaceClass +3\b", r"bInterfaceSubClass +1\b", r"bInterfaceProtocol +1\b",
        r"Transfer Type +Interrupt", r"bcdHID +1\.1", r"bNumConfigurations +1")
    has(one("Tablet"), r"bInterfaceClass +3\b", r"Transfer Type +Interrupt")
    stick = one("Stick")
    has(stick, r"bInterfaceClass +8\b", r"bInterfaceSubClass +6\b", r"bInterfaceProtocol +80\b", r"iSerial +\d+ STICK0000001",
        r"EP 1 IN|EP 2 IN|bEndpointAddress +0x8", r"bMaxPacketSize0 +9", r"bMaxBurst", r"Binary Object Store Descriptor")
    hubs = len([device for device in devices if re.search(r"bDeviceClass +9\b", device)])
    check(hubs >= 2, f"{hubs} hubs, but there is a root of either speed:\n{text}")
    tree = guest.run("tools lsusb -t 2>&1", 120)
    check("5000M" in tree or "10000M" in tree, f"nothing at SuperSpeed:\n{tree}")
    check("Driver=usbhid" in tree and "Driver=usb-storage" in tree, f"drivers:\n{tree}")


def as_debian_sees_them():
    if PEER:
        raise Skip("only for espalierctl")
    if not os.path.exists(TOOLS):
        raise Skip(f"{TOOLS} is not built (make {TOOLS})")
    with scratch() as folder:
        machine, stick = os.path.join(folder, "control"), os.path.join(folder, "stick.img")
        with open(stick, "wb") as file:
            file.truncate(16 << 20)
        devices = (f"virtio-blk,path={TOOLS},deviceId=tools,readonly", "virtio-input,keyboard", "virtio-input,pointing", "usb-keyboard",
                   "usb-tablet", f"usb-mass-storage,path={stick},deviceId=STICK0000001")
        with boot_devices(devices=devices, cpus=2, memory=768, extra=("--control", machine)) as guest:
            keyboard_view(guest, machine, KEYBOARD, "virtio")
            keyboard_view(guest, machine, USB_KEYBOARD, "usb")
            tablet_view(guest, machine, TABLET, "virtio")
            tablet_view(guest, machine, USB_TABLET, "usb")
            descriptors(guest)
            guest.run("kill $(pidof evtest)")
            guest.send("poweroff -f\n")
            equal(guest.wait(60), 0, "exit status")


main(as_debian_sees_them)
