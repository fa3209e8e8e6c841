/*
 * Raw images and block devices: the bytes of the file are the bytes of the disk.
 *
 * The lock is an open file description lock on the whole file (fcntl(2), F_OFD_SETLK): it belongs to our
 * descriptor, so two machines in one process exclude each other too, it goes away with the process however
 * that ends, and it agrees with the locks QEMU takes. A block device that is to be written is opened with
 * O_EXCL, which the kernel refuses while it is mounted.
 *
 * The host's page cache is used: a write is on the disk after flush, not before, which is what a drive with a
 * write cache promises its guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/disk.h"
#include "vmcore/error.h"

typedef struct RawDisk {
    VmcDisk disk;
    int fd;
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
    .close = raw_close,
};

/* ---- opening ---- */

static bool check_kind(const char *path, const struct stat *st, GError **error)
{
    if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                "“%s” is %s: a disk must be a raw image file or a block device", path,
                S_ISDIR(st->st_mode) ? "a directory" : "not a disk");
    return false;
}

static bool open_failed(const char *path, bool readonly, int err, GError **error)
{
    if (err == EBUSY)
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    "Disk “%s” is in use by this computer: unmount it, or attach it read-only", path);
    else if (!readonly && (err == EACCES || err == EPERM || err == EROFS))
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    "Disk “%s” cannot be opened for writing: %s; make it writable, or attach it read-only",
                    path, g_strerror(err));
    else
        g_set_error(error, VMC_ERROR, err == ENOENT || err == ENOTDIR ? VMC_ERROR_CONFIG : VMC_ERROR_RESOURCE,
                    "Disk “%s” cannot be opened: %s", path, g_strerror(err));
    return false;
}

/* Looks before opening, since opening a FIFO or a tape does something; and again after, since it may have
 * been exchanged in between. O_NONBLOCK is for that case and means nothing for files and disks. */
static bool open_file(RawDisk *raw, const char *path, struct stat *st, GError **error)
{
    int flags = (raw->disk.readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

    if (stat(path, st))
        return open_failed(path, raw->disk.readonly, errno, error);
    if (!check_kind(path, st, error))
        return false;
    if (S_ISBLK(st->st_mode) && !raw->disk.readonly)
        flags |= O_EXCL;
    raw->fd = open(path, flags);
    if (raw->fd < 0 || fstat(raw->fd, st))
        return open_failed(path, raw->disk.readonly, errno, error);
    return check_kind(path, st, error);
}

static bool lock_file(RawDisk *raw, const char *path, GError **error)
{
    struct flock lock = {.l_type = raw->disk.readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

    if (!fcntl(raw->fd, F_OFD_SETLK, &lock))
        return true;
    if (errno == EAGAIN || errno == EACCES)
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    "Disk “%s” is in use by another virtual machine: stop that one first, or attach the disk "
                    "read-only to both",
                    path);
    else
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_RESOURCE,
            "Disk “%s” cannot be locked against use by another virtual machine (%s): move it to a file "
            "system with locks",
            path, g_strerror(errno));
    return false;
}

static bool measure(RawDisk *raw, const char *path, const struct stat *st, GError **error)
{
    uint64_t size = (uint64_t)st->st_size;
    unsigned block = VMC_DISK_SECTOR;

    if (S_ISBLK(st->st_mode)) {
        if (ioctl(raw->fd, BLKGETSIZE64, &size))
            return open_failed(path, raw->disk.readonly, errno, error);
        if (ioctl(raw->fd, BLKPBSZGET, &block))
            block = VMC_DISK_SECTOR;
    } else {
        block = 4096; /* what file systems are made of */
    }
    if (block < VMC_DISK_SECTOR || block > 65536 || (block & (block - 1)))
        block = VMC_DISK_SECTOR;
    raw->disk.size = size / VMC_DISK_SECTOR * VMC_DISK_SECTOR;
    raw->disk.block_size = block;
    if (raw->disk.size)
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                "Disk “%s” has no room: %" G_GUINT64_FORMAT " bytes, but a disk has at least %u", path, size,
                VMC_DISK_SECTOR);
    return false;
}

VmcDisk *vmc_disk_open_raw(const char *path, bool readonly, GError **error)
{
    RawDisk *raw = g_new0(RawDisk, 1);
    struct stat st;

    raw->disk.ops = &raw_ops;
    raw->disk.readonly = readonly;
    raw->fd = -1;
    if (open_file(raw, path, &st, error) && lock_file(raw, path, error) && measure(raw, path, &st, error))
        return &raw->disk;
    if (raw->fd >= 0)
        close(raw->fd);
    g_free(raw);
    return NULL;
}

void vmc_disk_close(VmcDisk *disk)
{
    if (disk)
        disk->ops->close(disk);
}
