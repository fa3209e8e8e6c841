/*
 * What a disk is, below any controller: a number of bytes that can be read, written, flushed, given back to
 * the host and, from outside, made more.
 *
 * A format embeds VmcDisk as its first member and fills in the ops. Controllers call the inline functions
 * below and know nothing of formats.
 *
 * Two ways lead to the bytes. Every op may wait for the host's disk and is for worker threads. For the common
 * case there is a way without a thread: `map` says, without waiting, where in which file the bytes of a
 * request lie, and whoever asked then moves them itself (io_uring). A format answers only when nothing else
 * than the data would change: raw always, qcow2 for clusters that are allocated and its own.
 *
 * Threads: all ops but map, unmap and close may be called from several threads at once and may wait, so never
 * on a vCPU or the I/O thread. map and unmap never wait and may be called on any thread. The caller ends all
 * of them before vmc_disk_close.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <vmcore/disk.h>

typedef struct VmcDisk VmcDisk;

/* Where the bytes of a request lie. */
typedef struct VmcDiskExtent {
    int fd;
    uint64_t offset; /* in that file */
    uint64_t length; /* as asked for */
    bool write;
    uint64_t cookie[2]; /* the format's */
} VmcDiskExtent;

typedef struct VmcDiskOps {
    const char *name;
    /* Moves all bytes of the vectors, which the call may change; [offset, offset + sum) lies within the disk.
     * 0 or a negative errno value; after an error any part may have been moved. */
    int (*read)(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n_iov);
    int (*write)(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n_iov);
    /* When it returns 0, every write that had returned before it was called survives a power failure. */
    int (*flush)(VmcDisk *disk);
    /* The bytes are not needed any more: they read as zero or as they were. NULL: no such thing. */
    int (*discard)(VmcDisk *disk, uint64_t offset, uint64_t length);
    /* The bytes read as zero from now on; with `unmap` their space may be given back to the host. */
    int (*write_zeroes)(VmcDisk *disk, uint64_t offset, uint64_t length, bool unmap);
    /* Makes the disk larger (bytes, a multiple of VMC_DISK_SECTOR, not less than disk->size). The caller has
     * nothing in flight and is the only one to change disk->size. NULL: cannot be done. */
    int (*grow)(VmcDisk *disk, uint64_t size);
    /* See above; NULL: there is no such way. True: `extent` says where [offset, offset + length) lies, and it
     * stays there, whatever else happens to the disk, until unmap. */
    bool (*map)(VmcDisk *disk, uint64_t offset, uint64_t length, bool write, VmcDiskExtent *extent);
    void (*unmap)(VmcDisk *disk, const VmcDiskExtent *extent);
    void (*close)(VmcDisk *disk);
} VmcDiskOps;

struct VmcDisk {
    const VmcDiskOps *ops;
    char *path;    /* as it was opened, for messages; NULL: none. vmc_disk_close frees it */
    uint64_t size; /* bytes, a multiple of VMC_DISK_SECTOR, never 0 */
    unsigned
        block_size; /* the size of the host's physical blocks, a power of two of at least VMC_DISK_SECTOR */
    bool readonly;
    /* A write through the kernel's page cache: io_uring gives each to a thread of the kernel's, which costs
     * more than one of ours. */
    bool buffered_writes;
};

/* What is to be opened, and how. */
typedef struct VmcDiskOpen {
    const char *path;
    const char *format; /* "raw", "qcow2": what the user says it is, never guessed from what is in it */
    bool readonly;
    bool backing; /* an image may name another one below it, which is then opened read-only */
} VmcDiskOpen;

/* Opens an image (a regular file) or a block device and locks it: writers alone, readers together, so a disk
 * that another machine uses is refused. A raw file's size is rounded down to whole sectors, so the last bytes
 * of an odd-sized image are neither shown nor changed. NULL with `error` set (VMC_ERROR_CONFIG: not a disk,
 * no such format; VMC_ERROR_IMAGE: not an image of that format, or a damaged one; VMC_ERROR_RESOURCE: cannot
 * be opened, or in use). Nothing is created or changed. May wait for the host's disk. */
VmcDisk *vmc_disk_open(const VmcDiskOpen *params, GError **error);
/* The same for a raw image or block device. */
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

/* Whether discarding means anything to this disk. */
static inline bool vmc_disk_can_discard(const VmcDisk *disk)
{
    return disk->ops->discard && !disk->readonly;
}

static inline int vmc_disk_discard(VmcDisk *disk, uint64_t offset, uint64_t length)
{
    return disk->ops->discard(disk, offset, length);
}

static inline bool vmc_disk_can_write_zeroes(const VmcDisk *disk)
{
    return disk->ops->write_zeroes && !disk->readonly;
}

static inline int vmc_disk_write_zeroes(VmcDisk *disk, uint64_t offset, uint64_t length, bool unmap)
{
    return disk->ops->write_zeroes(disk, offset, length, unmap);
}

static inline bool vmc_disk_can_grow(const VmcDisk *disk)
{
    return disk->ops->grow && !disk->readonly;
}

static inline int vmc_disk_grow(VmcDisk *disk, uint64_t size)
{
    return disk->ops->grow(disk, size);
}

static inline bool vmc_disk_map(VmcDisk *disk, uint64_t offset, uint64_t length, bool write,
                                VmcDiskExtent *extent)
{
    return disk->ops->map && disk->ops->map(disk, offset, length, write, extent);
}

static inline void vmc_disk_unmap(VmcDisk *disk, const VmcDiskExtent *extent)
{
    if (disk->ops->unmap)
        disk->ops->unmap(disk, extent);
}
