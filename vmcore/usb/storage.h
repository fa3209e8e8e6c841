/* USB mass storage (storage.c): a stick, or a CD-ROM, over a VmcDisk. */
#pragma once

#include "base/host.h"
#include "block/disk.h"
#include "usb/device.h"

/* A stick, or with `cdrom` a read-only CD-ROM drive with a disc of 2048-byte sectors in it. Owns `disk` from
 * now on; vmc_usb_device_free flushes and closes it. `id` becomes the serial number, at most 32 letters and
 * digits of it, or NULL for one of our own. SuperSpeed where there is such a port. */
VmcUsbDevice *vmc_usb_storage_new(VmcDisk *disk, bool cdrom, const char *id);

/* Whom to tell of errors of the disk, and to ask for room on the host; see block/report.h. Before it is
 * plugged in; `hooks` outlive it. Otherwise nobody hears, and a write without room fails as any other. */
void vmc_usb_storage_set_hooks(VmcUsbDevice *storage, const VmcHostHooks *hooks);
