/* Snapshots of a disk that a machine uses; for all others see vmcore/disk.h. */
#pragma once

#include "block/disk.h"

/* Whether an image named `backing` below the image `path` is a snapshot of the same disk: beside it, and
 * named as snapshots are. */
bool vmc_disk_is_layer_of(const char *path, const char *backing);

/* As vmc_snapshot_take, for an open qcow2 disk: what it has open becomes the layer, and the disk goes on with
 * the new image on top. The caller has nothing in flight or mapped. When it fails the disk goes on as before.
 */
bool vmc_disk_take_snapshot(VmcDisk *disk, const char *name, GError **error);
