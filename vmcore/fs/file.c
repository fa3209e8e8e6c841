/*
 * Open files and directories.
 *
 * A file is opened from its node's O_PATH descriptor, whose type is known, through /proc/self/fd: what is
 * opened is what was looked at. O_DIRECT is not passed on (guest buffers have the alignment they have),
 * O_APPEND is, so that what the host appends at the same time is not written over.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/seeded.h"
#include "fs/internal.h"

#define COPY_MAX      (64u << 20)
#define ENTRIES_BYTES 32768u

/* What getdents64(2) gives. */
typedef struct DirRecord {
    uint64_t ino;
    int64_t next;
    uint16_t length;
    uint8_t type;
    char name[];
} DirRecord;

VmcShareFile *vmc_file_new(VmcShareNode *node, int fd)
{
    VmcShareFile *file = g_new0(VmcShareFile, 1);

    file->node = vmc_share_node_ref(node);
    file->fd = fd;
    file->refs = 1;
    g_mutex_init(&file->lock);
    return file;
}

static int check_openable(const VmcShareNode *node, int flags)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;

    if (S_ISLNK(node->type))
        return -ELOOP;
    if (S_ISDIR(node->type))
        return writes ? -EISDIR : 0;
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    if (!S_ISREG(node->type) && !VMC_SEEDED(SPECIAL_FILE))
        return -ENXIO;
    return writes && node->share->readonly ? -EROFS : 0;
}

/* Opens the node's file for real. */
static int open_node(VmcShareNode *node, int flags)
{
    int path_fd = vmc_node_borrow(node);

    if (path_fd < 0)
        return path_fd;
    int fd = vmc_fd_reopen(path_fd, flags);
    if ((fd == -EMFILE || fd == -ENFILE) && vmc_node_make_room(node->share))
        fd = vmc_fd_reopen(path_fd, flags);
    vmc_node_return(node);
    return fd;
}

int vmc_share_open(VmcShareNode *node, int flags, VmcShareFile **file)
{
    int err = check_openable(node, flags);

    if (!err)
        err = vmc_share_count_file(node->share);
    if (err)
        return err;
    flags &= O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC;
    if (S_ISDIR(node->type))
        flags = O_RDONLY | O_DIRECTORY;
    int fd = open_node(node, flags);
    if (fd < 0) {
        vmc_share_uncount_file(node->share);
        return fd;
    }
    *file = vmc_file_new(node, fd);
    return 0;
}

VmcShareFile *vmc_share_file_ref(VmcShareFile *file)
{
    atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
    return file;
}

void vmc_share_file_unref(VmcShareFile *file)
{
    if (!file || atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) != 1)
        return;
    close(file->fd);
    vmc_share_uncount_file(file->node->share);
    vmc_share_node_unref(file->node);
    g_mutex_clear(&file->lock);
    g_free(file->entries);
    g_free(file);
}

VmcShareNode *vmc_share_file_node(VmcShareFile *file)
{
    return file->node;
}

/* ---- data ---- */

ssize_t vmc_share_read(VmcShareFile *file, const struct iovec *iov, unsigned n_iov, uint64_t offset)
{
    if (S_ISDIR(file->node->type))
        return -EISDIR;
    if (offset > INT64_MAX || n_iov > IOV_MAX)
        return -EINVAL;
    ssize_t done = preadv(file->fd, iov, (int)n_iov, (off_t)offset);
    return done < 0 ? -errno : done;
}

ssize_t vmc_share_write(VmcShareFile *file, const struct iovec *iov, unsigned n_iov, uint64_t offset,
                        bool kill_privs)
{
    if (S_ISDIR(file->node->type))
        return -EISDIR;
    if (offset > INT64_MAX || n_iov > IOV_MAX)
        return -EINVAL;
    if (kill_privs) {
        int err = vmc_owner_kill_privs(file->node, file->fd);
        if (err)
            return err;
    }
    ssize_t done = pwritev(file->fd, iov, (int)n_iov, (off_t)offset);
    return done < 0 ? -errno : done;
}

int vmc_share_kill_privs(VmcShareFile *file)
{
    return vmc_owner_kill_privs(file->node, file->fd);
}

int vmc_share_fallocate(VmcShareFile *file, int mode, uint64_t offset, uint64_t length)
{
    if (S_ISDIR(file->node->type))
        return -EISDIR;
    if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
        return -EOPNOTSUPP;
    if (offset > INT64_MAX || length > INT64_MAX)
        return -EFBIG;
    return fallocate(file->fd, mode, (off_t)offset, (off_t)length) ? -errno : 0;
}

int64_t vmc_share_lseek(VmcShareFile *file, int64_t offset, int whence)
{
    if (!S_ISREG(file->node->type) || (whence != SEEK_DATA && whence != SEEK_HOLE && whence != SEEK_END))
        return -EINVAL;
    off_t at = lseek(file->fd, offset, whence);
    return at < 0 ? -errno : at;
}

ssize_t vmc_share_copy(VmcShareFile *from, uint64_t from_offset, VmcShareFile *to, uint64_t to_offset,
                       uint64_t length)
{
    loff_t in = (loff_t)from_offset, out = (loff_t)to_offset;

    if (!S_ISREG(from->node->type) || !S_ISREG(to->node->type) || in < 0 || out < 0)
        return -EINVAL;
    int err = vmc_owner_kill_privs(to->node, to->fd);
    if (err)
        return err;
    ssize_t done = copy_file_range(from->fd, &in, to->fd, &out, MIN(length, COPY_MAX), 0);
    return done < 0 ? -errno : done;
}

int vmc_share_fsync(VmcShareFile *file, bool data_only)
{
    return (data_only ? fdatasync(file->fd) : fsync(file->fd)) ? -errno : 0;
}

int vmc_share_syncfs(VmcShare *share)
{
    int fd = open_node(share->root, O_RDONLY | O_DIRECTORY);

    if (fd < 0)
        return fd;
    int err = syncfs(fd) ? -errno : 0;
    close(fd);
    return err;
}

int vmc_share_flock(VmcShareFile *file, int operation)
{
    if (operation != LOCK_SH && operation != LOCK_EX && operation != LOCK_UN)
        return -EINVAL;
    return flock(file->fd, operation | LOCK_NB) ? -errno : 0;
}

/* ---- directories ---- */

/* Moves to `offset` unless we stand there. From the start means to look again. */
static int go_to(VmcShareFile *dir, uint64_t offset)
{
    if (!dir->entries)
        dir->entries = g_malloc(ENTRIES_BYTES);
    else if (offset && offset == dir->position)
        return 0;
    dir->at = dir->filled = 0;
    dir->position = offset;
    return lseek(dir->fd, (off_t)offset, SEEK_SET) < 0 ? -errno : 0;
}

/* More entries: how many bytes, 0 at the end. */
static int more(VmcShareFile *dir)
{
    long filled = syscall(SYS_getdents64, dir->fd, dir->entries, ENTRIES_BYTES);

    dir->at = 0;
    dir->filled = filled > 0 ? (size_t)filled : 0;
    return filled < 0 ? -errno : (int)filled;
}

int vmc_share_readdir(VmcShareFile *dir, uint64_t offset,
                      bool (*each)(void *opaque, const VmcShareDirEntry *entry), void *opaque)
{
    bool go_on = true;

    if (!S_ISDIR(dir->node->type))
        return -ENOTDIR;
    if (offset > INT64_MAX)
        return -EINVAL;
    g_mutex_lock(&dir->lock);
    int err = go_to(dir, offset);
    while (!err && go_on) {
        if (dir->at == dir->filled) {
            int filled = more(dir);
            err = MIN(filled, 0);
            if (filled <= 0)
                break;
        }
        const DirRecord *record = (const DirRecord *)(dir->entries + dir->at);
        VmcShareDirEntry entry = {
            .name = record->name,
            .name_len = strlen(record->name),
            .ino = record->ino,
            .next = (uint64_t)record->next,
            .type = record->type,
        };
        go_on = each(opaque, &entry);
        if (go_on) {
            dir->at += record->length;
            dir->position = entry.next;
        }
    }
    g_mutex_unlock(&dir->lock);
    return err;
}
