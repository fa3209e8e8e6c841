/* What a guest sees of a node, and how it changes that. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/internal.h"

static struct timespec time_of(const struct statx_timestamp *t)
{
    return (struct timespec){t->tv_sec, t->tv_nsec};
}

/* `attr` from what is known already. */
static void fill(const VmcShareNode *node, const struct statx *st, const VmcOwner *owner, VmcShareAttr *attr)
{
    *attr = (VmcShareAttr){
        .ino = node->shown_ino,
        .size = st->stx_size,
        .blocks = st->stx_blocks,
        .atime = time_of(&st->stx_atime),
        .mtime = time_of(&st->stx_mtime),
        .ctime = time_of(&st->stx_ctime),
        .btime = node->birth,
        .mode = node->type | owner->mode,
        .nlink = st->stx_nlink,
        .uid = owner->uid,
        .gid = owner->gid,
        .blksize = st->stx_blksize,
    };
}

int vmc_node_attr(VmcShareNode *node, int fd, VmcShareAttr *attr, VmcOwner *owner)
{
    struct timespec then;
    struct statx st;
    VmcOwner mine = {0};

    clock_gettime(CLOCK_REALTIME_COARSE, &then);
    int err = vmc_fd_statx(fd, &st);
    if (err)
        return err;
    owner = owner ? owner : &mine;
    if (vmc_owner_read(node, fd, &st, owner) && vmc_quick_node(node))
        vmc_owner_remember(node, &then, &st, owner);
    if (attr)
        fill(node, &st, owner, attr);
    return 0;
}

int vmc_node_attr_at_once(VmcShareNode *node, int fd, VmcShareAttr *attr)
{
    struct statx st;
    VmcOwner owner;
    int err = vmc_fd_statx(fd, &st);

    if (err)
        return err;
    if (!vmc_owner_recall(node, &st, &owner))
        return -EAGAIN;
    fill(node, &st, &owner, attr);
    return 0;
}

/* A descriptor for calls on the node's inode: the file's, or the node's own, borrowed. */
static int any_fd(VmcShareNode *node, VmcShareFile *file)
{
    return file ? file->fd : vmc_node_borrow(node);
}

static void done_with_fd(VmcShareNode *node, VmcShareFile *file)
{
    if (!file)
        vmc_node_return(node);
}

int vmc_share_getattr(VmcShareNode *node, VmcShareFile *file, VmcShareAttr *attr)
{
    int fd = any_fd(node, file);

    if (fd < 0)
        return fd;
    int err = vmc_node_attr(node, fd, attr, NULL);
    done_with_fd(node, file);
    return err;
}

/* ---- changing ---- */

static int change_owner(VmcShareNode *node, int fd, const VmcShareChange *change)
{
    struct statx st;
    VmcOwner now;

    g_mutex_lock(&node->lock);
    int err = vmc_fd_statx(fd, &st);
    if (!err) {
        vmc_owner_read(node, fd, &st, &now);
        VmcOwner wanted = now;
        if (change->mask & (VMC_SHARE_UID | VMC_SHARE_GID) && !S_ISDIR(node->type)) {
            wanted.mode &= ~(uint32_t)S_ISUID;
            if (wanted.mode & S_IXGRP)
                wanted.mode &= ~(uint32_t)S_ISGID;
        }
        if (change->mask & VMC_SHARE_UID)
            wanted.uid = change->uid;
        if (change->mask & VMC_SHARE_GID)
            wanted.gid = change->gid;
        if (change->mask & VMC_SHARE_MODE) {
            wanted.mode = change->mode & 07777;
            atomic_store_explicit(&node->no_privs, false, memory_order_release);
        }
        err = vmc_owner_write(node, fd, &st, &now, &wanted);
    }
    g_mutex_unlock(&node->lock);
    return err;
}

static int change_size(VmcShareNode *node, VmcShareFile *file, int fd, const VmcShareChange *change)
{
    char path[VMC_FD_PATH];

    if (S_ISDIR(node->type))
        return -EISDIR;
    if (!S_ISREG(node->type) || change->size > INT64_MAX)
        return -EINVAL;
    if (change->mask & VMC_SHARE_KILL_PRIVS) {
        int err = vmc_owner_kill_privs(node, fd);
        if (err)
            return err;
    }
    /* An open file may be changed even if its mode would not let it be opened again. */
    if (file && (fcntl(file->fd, F_GETFL) & O_ACCMODE) != O_RDONLY)
        return ftruncate(file->fd, (off_t)change->size) ? -errno : 0;
    vmc_fd_path(fd, path);
    return truncate(path, (off_t)change->size) ? -errno : 0;
}

static struct timespec new_time(unsigned mask, unsigned set, unsigned now, const struct timespec *value)
{
    if (mask & now)
        return (struct timespec){.tv_nsec = UTIME_NOW};
    if (!(mask & set))
        return (struct timespec){.tv_nsec = UTIME_OMIT};
    return *value;
}

static int change_times(int fd, const VmcShareChange *change)
{
    char path[VMC_FD_PATH];
    struct timespec times[2] = {
        new_time(change->mask, VMC_SHARE_ATIME, VMC_SHARE_ATIME_NOW, &change->atime),
        new_time(change->mask, VMC_SHARE_MTIME, VMC_SHARE_MTIME_NOW, &change->mtime),
    };

    /* Of a link, the magic link's target is the link itself. */
    vmc_fd_path(fd, path);
    return utimensat(AT_FDCWD, path, times, 0) ? -errno : 0;
}

static bool nsec_valid(const struct timespec *t)
{
    return t->tv_nsec >= 0 && t->tv_nsec < 1000000000;
}

int vmc_share_setattr(VmcShareNode *node, VmcShareFile *file, const VmcShareChange *change,
                      VmcShareAttr *attr)
{
    unsigned mask = change->mask;

    if (node->share->readonly)
        return -EROFS;
    if ((mask & VMC_SHARE_ATIME && !nsec_valid(&change->atime)) ||
        (mask & VMC_SHARE_MTIME && !nsec_valid(&change->mtime)))
        return -EINVAL;
    int fd = any_fd(node, file);
    if (fd < 0)
        return fd;
    int err = 0;
    if (mask & (VMC_SHARE_UID | VMC_SHARE_GID | VMC_SHARE_MODE))
        err = change_owner(node, fd, change);
    if (!err && mask & VMC_SHARE_SIZE)
        err = change_size(node, file, fd, change);
    if (!err && mask & (VMC_SHARE_ATIME | VMC_SHARE_MTIME | VMC_SHARE_ATIME_NOW | VMC_SHARE_MTIME_NOW))
        err = change_times(fd, change);
    if (!err && attr)
        err = vmc_node_attr(node, fd, attr, NULL);
    done_with_fd(node, file);
    return err;
}

/* ---- the rest ---- */

int vmc_share_readlink(VmcShareNode *node, char *buf, size_t size)
{
    if (!S_ISLNK(node->type))
        return -EINVAL;
    int fd = vmc_node_borrow(node);
    if (fd < 0)
        return fd;
    ssize_t len = readlinkat(fd, "", buf, size);
    int err = len < 0 ? -errno : (int)len;
    vmc_node_return(node);
    return err;
}

int vmc_share_statfs(VmcShareNode *node, struct statvfs *st)
{
    int fd = vmc_node_borrow(node);

    if (fd < 0)
        return fd;
    int err = fstatvfs(fd, st) ? -errno : 0;
    vmc_node_return(node);
    return err;
}

int vmc_share_access(VmcShareNode *node, const VmcShareCaller *who, int mask)
{
    VmcShareAttr attr;
    int err = vmc_share_getattr(node, NULL, &attr);

    if (err)
        return err;
    if (mask & ~(R_OK | W_OK | X_OK))
        return -EINVAL;
    if (mask & W_OK && node->share->readonly)
        return -EROFS;
    if (!who->uid)
        return mask & X_OK && S_ISREG(attr.mode) && !(attr.mode & 0111) ? -EACCES : 0;
    unsigned shift = who->uid == attr.uid ? 6 : who->gid == attr.gid ? 3 : 0;
    return (unsigned)mask & ~(attr.mode >> shift & 7) ? -EACCES : 0;
}
