#!/usr/bin/env python3
"""A cloud image of Debian becomes a machine that nobody has to set up: user, password, SSH key, locale, keyboard, time
zone, shared folder and the size of the disk, as the guest itself has them after its first start.

For make test-cloud. The image is made of Debian's packages (make build/guest/cloud.raw.zst).

time-limit: 3000
"""
from guest import BUILD, CTL, GUEST, Failure, Process, Skip, check, equal, main, scratch

import os
import plistlib
import subprocess
import time

from media import need_uefi

IMAGE = os.environ.get("ESPALIER_CLOUD_IMAGE", os.path.join(GUEST, "cloud.raw.zst"))
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFYAvHBw3pg7NXQxhnYoCBh0ekJWBGpIkQxuKodZCVFd ada@orchard"
PASSWORD = 'ge"heim: \\x'
FIRST_START = 1500


def create(folder, *words):
    env = {**os.environ, "XDG_DATA_HOME": os.path.join(folder, "data")}
    done = subprocess.run([CTL, "create", *words], env=env, input=PASSWORD + "\n", capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"create ended with {done.returncode}: {done.stderr}")
    return done.stdout.strip()


def run_bundle(bundle):
    """The machine of a bundle with its serial line here. Sound and the like have no part in this."""
    with open(os.path.join(bundle, "config.plist"), "rb") as file:
        config = plistlib.load(file)
    args = [CTL, "run", "--cpus", str(config["CPUCount"]), "--memory", str(config["MemorySize"]), "--bootloader",
            f"efi,variable-store={os.path.join(bundle, config['BootLoader']['VariableStore'])},create",
            "--device", "uart,stdio"]
    for device in config["Devices"]:
        path = os.path.join(bundle, device.get("Path", ""))
        if device["Type"] == "VirtioBlock":
            options = [f"virtio-blk,path={path}", f"format={device.get('Format', 'raw')}"]
            options += ["readonly"] if device.get("ReadOnly") else []
            options += ["backing"] if device.get("Backing") else []
            args += ["--device", ",".join(options)]
        elif device["Type"] == "VirtioNet":
            args += ["--device", f"virtio-net,nat,mac={device['MAC']}"]
        elif device["Type"] == "VirtioFileSystem":
            args += ["--device", f"virtio-fs,sharedDir={path},mountTag={device['Tag']}"]
        elif device["Type"] == "VirtioEntropy":
            args += ["--device", "virtio-rng"]
    return Process(args)


def log_in(guest):
    guest.expect(r"Cloud-init v\. [\d.]+ finished.*DataSourceNoCloud", FIRST_START)
    guest.send("\n")
    guest.expect(r"quince-tree login: ", 120)
    guest.send("ada\n")
    guest.expect(r"(Password|Passwort): ", 120)
    guest.send(PASSWORD + "\n")
    guest.expect(r"[$#] ?$|[$#] ", 180)


def test_a_first_start_without_questions():
    need_uefi()
    if not os.path.exists(IMAGE):
        raise Skip("the cloud image is not made (make build/guest/cloud.raw.zst)")
    with scratch() as folder:
        shared = os.path.join(folder, "shared")
        os.mkdir(shared)
        with open(os.path.join(shared, "hello"), "w", encoding="ascii") as file:
            file.write("from the host")
        start = time.monotonic()
        bundle = create(folder, "--linux", "--image", IMAGE, "--name", "Quince tree", "--user", "ada", "--full-name",
                        "Ada “Love” Lovelace", "--ssh-key", KEY, "--password-file", "-", "--locale", "de_CH.UTF-8",
                        "--keyboard", "ch:fr", "--keyboard-type", "iso", "--timezone", "Europe/Zurich", "--cpus", "2",
                        "--memory", "1024", "--disk", "5", "--share", shared)
        print(f"  made in {time.monotonic() - start:.1f} s: {os.path.basename(bundle)}")
        with run_bundle(bundle) as guest:
            log_in(guest)
            print(f"  logged in after {time.monotonic() - start:.0f} s")
            equal(guest.run("id -un").strip(), "ada", "the user")
            check("Ada “Love” Lovelace" in guest.run("getent passwd ada"), "the full name is another")
            equal(guest.run("cat ~/.ssh/authorized_keys").strip(), KEY, "the SSH key")
            check("LANG=de_CH.UTF-8" in guest.run("cat /etc/default/locale").replace('"', ""), "the locale is another")
            check("de_CH" in guest.run("locale -a"), "the locale was not made")
            keyboard = guest.run("cat /etc/default/keyboard").replace('"', "")
            for line in ("XKBLAYOUT=ch", "XKBVARIANT=fr", "XKBMODEL=pc105"):
                check(line in keyboard, f"{line} is not in the guest's {keyboard}")
            equal(guest.run("readlink -f /etc/localtime").strip(), "/usr/share/zoneinfo/Europe/Zurich", "the time zone")
            equal(guest.run("hostname").strip(), "quince-tree", "the name")
            equal(guest.run("cat /mnt/shared/hello").strip(), "from the host", "the shared folder")
            size = int(guest.run("df --output=size -B 1M / | tail -n 1"))
            check(size > 4000, f"the root file system has {size} MiB of the disk's 5 GiB")
            check("inet 10." in guest.run("ip -4 addr show"), "the guest has no address")
            check("done" in guest.run("cloud-init status 2>&1 || true", 120), "cloud-init is not done")
            guest.send("sudo poweroff\n")
            guest.expect(r"Power down", 300)


if __name__ == "__main__":
    main(test_a_first_start_without_questions)
