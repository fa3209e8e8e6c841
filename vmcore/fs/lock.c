/*
 * Record locks of the guest's processes.
 *
 * POSIX has a process own its locks on a file, whichever descriptor it took them through, and lose all of
 * them when it closes any one of its descriptors. On the host an open file description owns locks (fcntl(2),
 * F_OFD_SETLK). So each owner gets a description of its own for each file it has locks on, and closing that
 * ends them all.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fs/internal.h"

struct LockOwner {
    LockOwner *next;
    const void *session;
    uint64_t owner;
    int fd;
};

static LockOwner **find(VmcShareNode *node, const void *session, uint64_t owner)
{
    LockOwner **at = &node->lock_owners;

    while (*at && ((*at)->session != session || (*at)->owner != owner))
        at = &(*at)->next;
    return at;
}

static int open_for_locks(VmcShareNode *node)
{
    int path_fd = vmc_node_borrow(node);
    int fd = -EROFS;

    if (path_fd < 0)
        return path_fd;
    if (!node->share->readonly)
        fd = vmc_fd_reopen(path_fd, O_RDWR);
    /* Read locks are to be had even so. */
    if (fd == -EACCES || fd == -EROFS || fd == -ETXTBSY || fd == -EPERM)
        fd = vmc_fd_reopen(path_fd, O_RDONLY);
    vmc_node_return(node);
    return fd;
}

static int add_owner(VmcShareNode *node, const VmcShareLock *lock, LockOwner **owner)
{
    VmcShare *share = node->share;
    int err = vmc_share_count_file(share);

    if (err)
        return err;
    int fd = open_for_locks(node);
    if (fd < 0) {
        vmc_share_uncount_file(share);
        return fd;
    }
    *owner = g_new(LockOwner, 1);
    **owner = (LockOwner){node->lock_owners, lock->session, lock->owner, fd};
    node->lock_owners = *owner;
    return 0;
}

static void remove_owner(VmcShareNode *node, LockOwner **at)
{
    LockOwner *owner = *at;

    *at = owner->next;
    close(owner->fd);
    vmc_share_uncount_file(node->share);
    g_free(owner);
}

static bool to_flock(const VmcShareLock *lock, struct flock *fl)
{
    if (lock->start > lock->end || lock->end > INT64_MAX)
        return false;
    *fl = (struct flock){
        .l_type = (short)lock->type,
        .l_whence = SEEK_SET,
        .l_start = (off_t)lock->start,
        .l_len = lock->end == INT64_MAX ? 0 : (off_t)(lock->end - lock->start + 1),
    };
    return lock->type == F_RDLCK || lock->type == F_WRLCK || lock->type == F_UNLCK;
}

int vmc_share_setlk(VmcShareNode *node, const VmcShareLock *lock)
{
    struct flock fl;
    int err = 0;

    if (!S_ISREG(node->type) || !to_flock(lock, &fl))
        return -EINVAL;
    g_mutex_lock(&node->lock);
    LockOwner **at = find(node, lock->session, lock->owner), *owner = *at;
    if (fl.l_type == F_UNLCK && owner && !fl.l_start && !fl.l_len)
        remove_owner(node, at);
    else if (fl.l_type != F_UNLCK || owner) {
        bool added = !owner;
        if (added)
            err = add_owner(node, lock, &owner);
        if (!err)
            err = fcntl(owner->fd, F_OFD_SETLK, &fl) ? -errno : 0;
        if (err && added && owner)
            remove_owner(node, find(node, lock->session, lock->owner));
    }
    g_mutex_unlock(&node->lock);
    return err == -EACCES ? -EAGAIN : err;
}

int vmc_share_getlk(VmcShareNode *node, VmcShareLock *lock)
{
    struct flock fl;

    if (!S_ISREG(node->type) || !to_flock(lock, &fl) || fl.l_type == F_UNLCK)
        return -EINVAL;
    g_mutex_lock(&node->lock);
    LockOwner *owner = *find(node, lock->session, lock->owner);
    bool added = !owner;
    int err = added ? add_owner(node, lock, &owner) : 0;
    if (!err)
        err = fcntl(owner->fd, F_OFD_GETLK, &fl) ? -errno : 0;
    if (added && owner)
        remove_owner(node, find(node, lock->session, lock->owner));
    g_mutex_unlock(&node->lock);
    if (err)
        return err;
    lock->type = fl.l_type;
    if (fl.l_type != F_UNLCK) {
        lock->start = (uint64_t)fl.l_start;
        lock->end = fl.l_len ? (uint64_t)(fl.l_start + fl.l_len - 1) : INT64_MAX;
    }
    return 0;
}

void vmc_share_unlock_owner(VmcShareNode *node, const void *session, uint64_t owner)
{
    g_mutex_lock(&node->lock);
    LockOwner **at = find(node, session, owner);
    if (*at)
        remove_owner(node, at);
    g_mutex_unlock(&node->lock);
}

void vmc_lock_owners_free(VmcShareNode *node)
{
    while (node->lock_owners)
        remove_owner(node, &node->lock_owners);
}
