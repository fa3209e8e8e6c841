/*
 * Raw images and block devices: the bytes of the file are the bytes of the disk.
 *
 * The host's page cache is used: a write is on the disk after flush, not before, which is what a drive with a
 * write cache promises its guest.
 *
 * Files are sparse: what was never written takes no space, and what the guest discards is given back as a
 * hole (fallocate(2), which does for a block device what its BLKZEROOUT does). Not every file system can:
 * then a discard does nothing, which is allowed, and zeroes are written.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/i18n.h"
#include "block/format.h"
#include "vmcore/error.h"

#define ZEROES_BYTES (64 * 1024u)

typedef struct RawDisk {
    VmcDisk disk;
    int fd;
    bool device;     /* a block device */
    unsigned sector; /* what a device discards in, bytes */
} RawDisk;

/* Takes `done` bytes off the front of a vector. */
static void advance(struct iovec **iov, unsigned *n, size_t done)
{
    while (*n && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        ++*iov;
        --*n;
    }
    if (done) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
}

static int move(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n, bool write)
{
    int fd = ((RawDisk *)disk)->fd;

    advance(&iov, &n, 0);
    while (n) {
        int count = (int)MIN(n, IOV_MAX);
        ssize_t done = write ? pwritev(fd, iov, count, (off_t)offset) : preadv(fd, iov, count, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        if (!done)
            return -EIO; /* the file has become shorter than it was */
        offset += (uint64_t)done;
        advance(&iov, &n, (size_t)done);
    }
    return 0;
}

static int raw_read(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n_iov)
{
    return move(disk, offset, iov, n_iov, false);
}

static int raw_write(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n_iov)
{
    return disk->readonly ? -EROFS : move(disk, offset, iov, n_iov, true);
}

static int raw_flush(VmcDisk *disk)
{
    if (disk->readonly)
        return 0;
    return fdatasync(((RawDisk *)disk)->fd) ? -errno : 0;
}

/* ---- space: holes and zeroes ---- */

static int allocate(const RawDisk *raw, int mode, uint64_t offset, uint64_t length)
{
    int result;

    do
        result = fallocate(raw->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
    while (result && errno == EINTR);
    return result ? -errno : 0;
}

/* Whether an error says that this file cannot be done that to, rather than that it failed. */
static bool not_for_this_file(int err)
{
    return err == -EOPNOTSUPP || err == -ENOSYS || err == -ENODEV || err == -EINVAL || err == -ENOTTY;
}

static int discard_on_device(const RawDisk *raw, uint64_t offset, uint64_t length)
{
    uint64_t end = (offset + length) / raw->sector * raw->sector;
    uint64_t start = (offset + raw->sector - 1) / raw->sector * raw->sector;
    uint64_t range[2] = {start, end - start};

    if (start >= end)
        return 0;
    return ioctl(raw->fd, BLKDISCARD, range) ? -errno : 0;
}

static int raw_discard(VmcDisk *disk, uint64_t offset, uint64_t length)
{
    const RawDisk *raw = (const RawDisk *)disk;

    if (disk->readonly)
        return -EROFS;
    int err = raw->device ? discard_on_device(raw, offset, length)
                          : allocate(raw, FALLOC_FL_PUNCH_HOLE, offset, length);
    return not_for_this_file(err) ? 0 : err;
}

static int write_zero_bytes(VmcDisk *disk, uint64_t offset, uint64_t length)
{
    static const uint8_t zeroes[ZEROES_BYTES];
    int err = 0;

    while (length && !err) {
        size_t here = MIN(length, sizeof(zeroes));
        struct iovec iov = {(void *)(uintptr_t)zeroes, here};
        err = move(disk, offset, &iov, 1, true);
        offset += here;
        length -= here;
    }
    return err;
}

static int raw_write_zeroes(VmcDisk *disk, uint64_t offset, uint64_t length, bool unmap)
{
    const RawDisk *raw = (const RawDisk *)disk;
    int err = -EOPNOTSUPP;

    if (disk->readonly)
        return -EROFS;
    if (unmap)
        err = allocate(raw, FALLOC_FL_PUNCH_HOLE, offset, length);
    if (not_for_this_file(err))
        err = allocate(raw, FALLOC_FL_ZERO_RANGE, offset, length);
    return not_for_this_file(err) ? write_zero_bytes(disk, offset, length) : err;
}

/* A file is made longer, with a hole; it may have been already, by whoever asks for this. A device has to
 * have grown by itself. */
static int raw_grow(VmcDisk *disk, uint64_t size)
{
    const RawDisk *raw = (const RawDisk *)disk;
    uint64_t there;
    struct stat st;

    if (disk->readonly)
        return -EROFS;
    if (raw->device) {
        if (ioctl(raw->fd, BLKGETSIZE64, &there))
            return -errno;
        if (there < size)
            return -ENOSPC;
    } else if (size > INT64_MAX) {
        return -EFBIG;
    } else {
        if (fstat(raw->fd, &st))
            return -errno;
        if ((uint64_t)st.st_size < size && ftruncate(raw->fd, (off_t)size))
            return -errno;
    }
    disk->size = size;
    return 0;
}

/* ---- the way without a thread ---- */

static bool raw_map(VmcDisk *disk, uint64_t offset, uint64_t length, bool write, VmcDiskExtent *extent)
{
    if (write && disk->readonly)
        return false;
    *extent =
        (VmcDiskExtent){.fd = ((RawDisk *)disk)->fd, .offset = offset, .length = length, .write = write};
    return true;
}

/* ---- lifecycle ---- */

static void raw_close(VmcDisk *disk)
{
    RawDisk *raw = (RawDisk *)disk;

    raw_flush(disk);
    close(raw->fd);
    g_free(raw);
}

static const VmcDiskOps raw_ops = {
    .name = "raw",
    .read = raw_read,
    .write = raw_write,
    .flush = raw_flush,
    .discard = raw_discard,
    .write_zeroes = raw_write_zeroes,
    .grow = raw_grow,
    .map = raw_map,
    .close = raw_close,
};

static bool measure(RawDisk *raw, const char *path, GError **error)
{
    uint64_t size;
    int sector;

    if (!vmc_disk_file_measure(raw->fd, path, raw->disk.readonly, &size, &raw->disk.block_size, error))
        return false;
    raw->sector = VMC_DISK_SECTOR;
    raw->disk.buffered_writes = !raw->device;
    if (raw->device && !ioctl(raw->fd, BLKSSZGET, &sector) && sector > (int)VMC_DISK_SECTOR)
        raw->sector = (unsigned)sector;
    raw->disk.size = size / VMC_DISK_SECTOR * VMC_DISK_SECTOR;
    if (raw->disk.size)
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                _("Disk “%s” has no room: %" PRIu64 " bytes, but a disk has at least %u"), path, size,
                VMC_DISK_SECTOR);
    return false;
}

static VmcDisk *raw_open(const VmcDiskOpen *params, GError **error)
{
    struct stat st;
    int fd = vmc_disk_file_open(params->path, params->readonly, &st, error);

    if (fd < 0)
        return NULL;
    RawDisk *raw = g_new0(RawDisk, 1);
    raw->disk.ops = &raw_ops;
    raw->disk.readonly = params->readonly;
    raw->fd = fd;
    raw->device = S_ISBLK(st.st_mode);
    if (measure(raw, params->path, error))
        return &raw->disk;
    close(fd);
    g_free(raw);
    return NULL;
}

/* ---- making one ---- */

static bool raw_create(int fd, const char *path, const VmcDiskCreate *params, GError **error)
{
    if (!ftruncate(fd, (off_t)params->size))
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("Disk “%s” cannot have %" PRIu64 " bytes: %s"), path,
                params->size, g_strerror(errno));
    return false;
}

static bool raw_info(int fd, const char *path, VmcDiskInfo *info, GError **error)
{
    unsigned block_size;

    return vmc_disk_file_measure(fd, path, true, &info->size, &block_size, error);
}

const VmcDiskFormatOps vmc_disk_format_raw = {"raw", raw_open, raw_create, raw_info};
