#!/usr/bin/env python3
"""One boot with everything attached: the first to fail when something is wrong, and the one that also runs with the
sanitizers.

sanitize: yes
time-limit: 200
"""
from guest import DEMO, boot, check, equal, main, scratch

import os


def boots_with_every_device():
    with scratch() as folder:
        hvc, disk = os.path.join(folder, "hvc.log"), os.path.join(folder, "disk.img")
        with open(disk, "wb") as file:
            file.truncate(8 << 20)
        devices = ("uart,stdio", f"virtio-serial,logFilePath={hvc}", f"virtio-blk,path={disk}", "virtio-rng",
                   "virtio-input,keyboard", "virtio-input,pointing", "virtio-gpu,width=800,height=600")
        with boot(initrd=DEMO, cpus=2, memory=256, devices=devices, cmdline="console=ttyS0 demo.run=disk-demo") as guest:
            guest.expect(r"^espalier-demo: ready in [\d.]+ s$")
            guest.expect(r"^disk-demo: ok$")
            guest.expect(r"^espalier-demo: command ended with status 0$")
            equal(guest.wait(), 0, "exit status")
        with open(hvc, encoding="utf-8") as file:
            check("disk-demo: ok" in file.read(), "hvc0's log does not have the same")


main(boots_with_every_device)
