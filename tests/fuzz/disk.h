/*
 * The disk of the fuzzers of controllers: in memory, it fails where the input says, is full at times, can be
 * made larger while requests are under way, and is found by io_uring or by worker threads.
 */
#pragma once

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block/change.h"
#include "tests/fuzz/device.h"

#define FUZZ_SECTORS_FIRST 96u
#define FUZZ_SECTORS_MAX   128u

typedef struct FuzzDisk {
    VmcDisk disk;
    uint8_t *bytes; /* FUZZ_SECTORS_MAX of them, also in `fd` if there is one */
    int fd;
    unsigned bad_sector, bad_error;
    atomic_bool full;
    VmcHostHooks hooks;
} FuzzDisk;

/* ---- the disk (worker threads) ---- */

static inline int failure(FuzzDisk *fd, uint64_t offset, uint64_t length, bool write)
{
    uint64_t bad = (uint64_t)fd->bad_sector * VMC_DISK_SECTOR;

    if (offset + length < offset || offset + length > fd->disk.size)
        fuzz_finding("the disk is asked for %" G_GUINT64_FORMAT " bytes at %" G_GUINT64_FORMAT, length,
                     offset);
    if (write && fd->disk.readonly)
        fuzz_finding("a read-only disk is written");
    if (write && fd->full)
        return -ENOSPC;
    return fd->bad_error && bad >= offset && bad < offset + length ? -(int)fd->bad_error : 0;
}

static inline int fuzz_disk_move(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n, bool write)
{
    FuzzDisk *fd = (FuzzDisk *)disk;
    uint64_t length = 0;

    for (unsigned i = 0; i < n; i++)
        length += iov[i].iov_len;
    int err = failure(fd, offset, length, write);
    for (unsigned i = 0; i < n && !err; i++) {
        if (write)
            memcpy(fd->bytes + offset, iov[i].iov_base, iov[i].iov_len);
        else
            memcpy(iov[i].iov_base, fd->bytes + offset, iov[i].iov_len);
        offset += iov[i].iov_len;
    }
    return err;
}

static inline int disk_read(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n)
{
    return fuzz_disk_move(disk, offset, iov, n, false);
}

static inline int disk_write(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n)
{
    return fuzz_disk_move(disk, offset, iov, n, true);
}

static inline int disk_flush(VmcDisk *disk)
{
    FuzzDisk *fd = (FuzzDisk *)disk;

    return fd->full && fd->bad_error ? -ENOSPC : 0;
}

static inline int disk_discard(VmcDisk *disk, uint64_t offset, uint64_t length)
{
    return failure((FuzzDisk *)disk, offset, length, true);
}

static inline int disk_write_zeroes(VmcDisk *disk, uint64_t offset, uint64_t length, bool unmap)
{
    FuzzDisk *fd = (FuzzDisk *)disk;
    int err = failure(fd, offset, length, true);

    if (!err)
        memset(fd->bytes + offset, 0, length);
    return err;
}

static inline int disk_grow(VmcDisk *disk, uint64_t size)
{
    if (size > FUZZ_SECTORS_MAX * VMC_DISK_SECTOR)
        return -EFBIG;
    disk->size = size;
    return 0;
}

static inline bool disk_map(VmcDisk *disk, uint64_t offset, uint64_t length, bool write,
                            VmcDiskExtent *extent)
{
    FuzzDisk *fd = (FuzzDisk *)disk;

    if (fd->full || failure(fd, offset, length, write))
        return false;
    /* Where the input has made the file shorter than the disk, the ring finds less than it looks for. */
    *extent = (VmcDiskExtent){.fd = fd->fd, .offset = offset, .length = length, .write = write};
    return true;
}

static inline void disk_close(VmcDisk *disk)
{
}

#define DISK_OPS                                                                                             \
    .name = "fuzz", .read = disk_read, .write = disk_write, .flush = disk_flush, .close = disk_close

static const VmcDiskOps plain_ops = {DISK_OPS};
static const VmcDiskOps full_ops = {DISK_OPS, .discard = disk_discard, .write_zeroes = disk_write_zeroes,
                                    .grow = disk_grow};
static const VmcDiskOps mapped_ops = {DISK_OPS, .discard = disk_discard, .write_zeroes = disk_write_zeroes,
                                      .grow = disk_grow, .map = disk_map};

static inline void hear(void *opaque, const char *line)
{
    if (strchr(line, '\n') || !strstr(line, "“fuzz”"))
        fuzz_finding("the user is told “%s”", line);
}

/* A ring is dear to make, so only few inputs have one. */
static inline void make_bytes(FuzzDisk *fd, bool mapped)
{
    size_t size = FUZZ_SECTORS_MAX * VMC_DISK_SECTOR;

    fd->fd = mapped ? memfd_create("fuzz-disk", MFD_CLOEXEC) : -1;
    if (mapped && ftruncate(fd->fd, (off_t)size))
        fuzz_finding("there is no memory for a disk");
    fd->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, mapped ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS,
                     fd->fd, 0);
}

/* Before what is asked of the controller, `how` and `what` say which disk it is. */
static inline FuzzDisk *fuzz_disk_new(FuzzInput *in, uint8_t how, uint8_t what)
{
    static const unsigned errors[] = {0, 0, EIO, ENOSPC, EDQUOT, EAGAIN};
    FuzzDisk *fd = g_new0(FuzzDisk, 1);
    bool mapped = how >= 0xf0;

    make_bytes(fd, mapped);
    fd->disk.ops = mapped ? &mapped_ops : how & 1 ? &plain_ops : &full_ops;
    fd->disk.size = FUZZ_SECTORS_FIRST * VMC_DISK_SECTOR;
    fd->disk.block_size = how & 2 ? 4096 : VMC_DISK_SECTOR;
    fd->disk.readonly = (how & 0x1c) == 4;
    fd->bad_sector = fuzz_below(in, FUZZ_SECTORS_MAX);
    fd->bad_error = errors[what % G_N_ELEMENTS(errors)];
    fd->hooks = (VmcHostHooks){hear, hear, fd};
    return fd;
}

static inline void fuzz_disk_free(FuzzDisk *fd)
{
    munmap(fd->bytes, FUZZ_SECTORS_MAX * VMC_DISK_SECTOR);
    if (fd->fd >= 0)
        close(fd->fd);
    g_free(fd);
}

static inline uint64_t fuzz_sector(FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);

    if (how < 0xe0)
        return how % (FUZZ_SECTORS_MAX + 2);
    return how < 0xf0 ? UINT64_MAX >> (how & 15) : fuzz_u64(in);
}

typedef struct FuzzResize {
    VmcDiskChanges *disk;
    uint64_t size;
    atomic_bool done;
} FuzzResize;

static inline gpointer fuzz_resize_thread(gpointer data)
{
    FuzzResize *resize = data;

    vmc_disk_change_size(resize->disk, resize->size, NULL);
    resize->done = true;
    return NULL;
}

/* Makes the disk larger, or tries something else. */
static inline void fuzz_disk_resize(FuzzMachine *m, FuzzInput *in, VmcDiskChanges *disk)
{
    FuzzResize resize = {
        disk, (uint64_t)fuzz_below(in, FUZZ_SECTORS_MAX + 2) * VMC_DISK_SECTOR + (fuzz_u8(in) == 0xff),
        false};
    GThread *thread = g_thread_new("resize", fuzz_resize_thread, &resize);

    while (!resize.done)
        g_main_context_iteration(vmc_io_context(m->io), FALSE);
    g_thread_join(thread);
}
