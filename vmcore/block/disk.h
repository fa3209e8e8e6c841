/*
 * What a disk is, below any controller: a fixed number of bytes that can be read, written and flushed.
 *
 * A format (raw.c) embeds VmcDisk as its first member and fills in the ops. Controllers call the inline
 * functions below and know nothing of formats.
 *
 * Threads: read, write and flush may be called from several threads at once and may wait for the host's disk,
 * so never on a vCPU or the I/O thread. The caller ends all of them before vmc_disk_close.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define VMC_DISK_SECTOR 512u

typedef struct VmcDisk VmcDisk;

typedef struct VmcDiskOps {
    const char *name;
    /* Moves all bytes of the vectors, which the call may change; [offset, offset + sum) lies within the disk.
     * 0 or a negative errno value; after an error any part may have been moved. */
    int (*read)(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n_iov);
    int (*write)(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n_iov);
    /* When it returns 0, every write that had returned before it was called survives a power failure. */
    int (*flush)(VmcDisk *disk);
    void (*close)(VmcDisk *disk);
} VmcDiskOps;

struct VmcDisk {
    const VmcDiskOps *ops;
    uint64_t size; /* bytes, a multiple of VMC_DISK_SECTOR, never 0 */
    unsigned
        block_size; /* the size of the host's physical blocks, a power of two of at least VMC_DISK_SECTOR */
    bool readonly;
};

/* Opens a raw image (a regular file) or a block device and locks it: writers alone, readers together, so a
 * disk that another machine uses is refused. A regular file's size is rounded down to whole sectors, so the
 * last bytes of an odd-sized image are neither shown nor changed. NULL with `error` set (VMC_ERROR_CONFIG:
 * not a disk; VMC_ERROR_RESOURCE: cannot be opened, or in use). Nothing is created or changed. */
VmcDisk *vmc_disk_open_raw(const char *path, bool readonly, GError **error);

/* Flushes what was written, unlocks and frees. NULL is fine. */
void vmc_disk_close(VmcDisk *disk);

static inline int vmc_disk_read(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n_iov)
{
    return disk->ops->read(disk, offset, iov, n_iov);
}

static inline int vmc_disk_write(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n_iov)
{
    return disk->ops->write(disk, offset, iov, n_iov);
}

static inline int vmc_disk_flush(VmcDisk *disk)
{
    return disk->ops->flush(disk);
}
