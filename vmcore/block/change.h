/*
 * What is done to the disk of a controller that is in use: it is made larger, or kept as it is and gone on
 * with in a new image on top (layers.h). Both need that nothing is in flight.
 *
 * Somebody asks, on a thread that may wait. From then on (vmc_disk_change_pending) the controller takes no
 * new requests from its driver; those under way come back, a worker does what was asked, and the controller
 * goes on.
 *
 * Threads: the I/O thread, but for the two functions that wait.
 */
#pragma once

#include "block/engine.h"

typedef struct VmcDiskChange VmcDiskChange;

/* Embedded in a controller, which fills in all but the last. */
typedef struct VmcDiskChanges {
    VmcIo *io;
    VmcDisk *disk;
    VmcBlockEngine *engine;
    bool (*idle)(void *opaque);    /* whether nothing of the controller's is in the engine */
    void (*changed)(void *opaque); /* it is over, and disk->size may be another; requests are taken again */
    void *opaque;
    VmcDiskChange *change; /* asked for and not done, or NULL */
} VmcDiskChanges;

static inline bool vmc_disk_change_pending(const VmcDiskChanges *changes)
{
    return changes->change;
}

/* To be called when requests have come back: begins what was asked for if the controller is idle. */
void vmc_disk_change_begin(VmcDiskChanges *changes);
/* To be asked first of each request that the engine gives back: true if it was not the controller's. */
bool vmc_disk_change_finish(VmcDiskChanges *changes, const VmcBlockRequest *io);

/* Makes the disk larger. `size` is in bytes, a multiple of VMC_DISK_SECTOR and not less than it is. Any
 * thread but a vCPU's and the I/O thread, which has to run; waits for requests in flight and for the host's
 * disk. False with `error` set (VMC_ERROR_CONFIG: such a size cannot be; VMC_ERROR_STATE: something is being
 * done already; VMC_ERROR_RESOURCE: the host cannot) and nothing changed. */
bool vmc_disk_change_size(VmcDiskChanges *changes, uint64_t size, GError **error);
/* Keeps a qcow2 disk as it is, in a snapshot of that name (vmcore/disk.h); the guest, which may go on,
 * notices a pause at most. What it has not flushed may be in it or not, as after a power failure. Threads as
 * above. */
bool vmc_disk_change_to_snapshot(VmcDiskChanges *changes, const char *name, GError **error);
