/*
 * The file or block device below a disk: opened with care and locked.
 *
 * The lock is an open file description lock on the whole file (fcntl(2), F_OFD_SETLK): it belongs to our
 * descriptor, so two machines in one process exclude each other too, it goes away with the process however
 * that ends, and it agrees with the locks QEMU takes. A block device that is to be written is opened with
 * O_EXCL, which the kernel refuses while it is mounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/i18n.h"
#include "block/format.h"
#include "vmcore/error.h"

static bool check_kind(const char *path, const struct stat *st, GError **error)
{
    if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                S_ISDIR(st->st_mode)
                    ? _("“%s” is a directory: a disk must be an image file or a block device")
                    : _("“%s” is not a disk: a disk must be an image file or a block device"),
                path);
    return false;
}

bool vmc_disk_file_failed(const char *path, bool readonly, int err, GError **error)
{
    if (err == EBUSY)
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("Disk “%s” is in use by this computer: unmount it, or attach it read-only"), path);
    else if (!readonly && (err == EACCES || err == EPERM || err == EROFS))
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("Disk “%s” cannot be opened for writing: %s; make it writable, or attach it read-only"),
                    path, g_strerror(err));
    else
        g_set_error(error, VMC_ERROR, err == ENOENT || err == ENOTDIR ? VMC_ERROR_CONFIG : VMC_ERROR_RESOURCE,
                    _("Disk “%s” cannot be opened: %s"), path, g_strerror(err));
    return false;
}

/* Looks before opening, since opening a FIFO or a tape does something; and again after, since it may have
 * been exchanged in between. O_NONBLOCK is for that case. It is taken back, for it means nothing to files and
 * disks but to an io_uring, which would say EAGAIN instead of waiting for them. */
static bool open_checked(const char *path, bool readonly, int *fd, struct stat *st, GError **error)
{
    int flags = (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

    if (stat(path, st))
        return vmc_disk_file_failed(path, readonly, errno, error);
    if (!check_kind(path, st, error))
        return false;
    if (S_ISBLK(st->st_mode) && !readonly)
        flags |= O_EXCL;
    *fd = open(path, flags);
    if (*fd < 0 || fstat(*fd, st) || fcntl(*fd, F_SETFL, flags & ~O_NONBLOCK))
        return vmc_disk_file_failed(path, readonly, errno, error);
    return check_kind(path, st, error);
}

static bool lock_file(int fd, const char *path, bool readonly, GError **error)
{
    struct flock lock = {.l_type = readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

    if (!fcntl(fd, F_OFD_SETLK, &lock))
        return true;
    if (errno == EAGAIN || errno == EACCES)
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_RESOURCE,
            _("Disk “%s” is in use by another virtual machine: stop that one first, or attach the disk "
              "read-only to both"),
            path);
    else
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_RESOURCE,
            _("Disk “%s” cannot be locked against use by another virtual machine (%s): move it to a file "
              "system with locks"),
            path, g_strerror(errno));
    return false;
}

int vmc_disk_file_open(const char *path, bool readonly, struct stat *st, GError **error)
{
    int fd = -1;

    if (open_checked(path, readonly, &fd, st, error) && lock_file(fd, path, readonly, error))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

int vmc_disk_file_look(const char *path, struct stat *st, GError **error)
{
    int fd = -1;

    if (open_checked(path, true, &fd, st, error))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

bool vmc_disk_file_measure(int fd, const char *path, bool readonly, uint64_t *size, unsigned *block_size,
                           GError **error)
{
    unsigned block = VMC_DISK_SECTOR;
    struct stat st;

    if (fstat(fd, &st))
        return vmc_disk_file_failed(path, readonly, errno, error);
    *size = (uint64_t)st.st_size;
    if (S_ISBLK(st.st_mode)) {
        if (ioctl(fd, BLKGETSIZE64, size))
            return vmc_disk_file_failed(path, readonly, errno, error);
        if (ioctl(fd, BLKPBSZGET, &block))
            block = VMC_DISK_SECTOR;
    } else {
        block = 4096; /* what file systems are made of */
    }
    if (block < VMC_DISK_SECTOR || block > 65536 || (block & (block - 1)))
        block = VMC_DISK_SECTOR;
    *block_size = block;
    return true;
}
