/* Snapshots of a disk that a machine uses; for all others see vmcore/disk.h. */
#pragma once

#include "block/disk.h"

/* As vmc_snapshot_take, for an open qcow2 disk: what it has open becomes the layer, and the disk goes on with
 * the new image on top. The caller has nothing in flight or mapped. When it fails the disk goes on as before.
 */
bool vmc_disk_take_snapshot(VmcDisk *disk, const char *name, GError **error);
