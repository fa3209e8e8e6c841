/* USB mass storage (storage.c): a stick, or a CD-ROM, over a VmcDisk. */
#pragma once

#include "block/disk.h"
#include "usb/device.h"

/* A stick, or with `cdrom` a read-only CD-ROM drive with a disc of 2048-byte sectors in it. Owns `disk` from
 * now on; vmc_usb_device_free flushes and closes it. `id` becomes the serial number, at most 32 letters and
 * digits of it, or NULL for one of our own. SuperSpeed where there is such a port. */
VmcUsbDevice *vmc_usb_storage_new(VmcDisk *disk, bool cdrom, const char *id);
