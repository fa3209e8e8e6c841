/*
 * What can be done without waiting, so that a device may do it at once on its own thread. To hand a request
 * to another thread and to be told when it is done costs several times what the small ones take themselves.
 *
 * Only on local file systems, whose calls below never ask a server or another program: what the folder lies
 * on is looked at once, and what is mounted below it, which has another device number or mount, is left to
 * threads that may wait. So is overlayfs: of what its layers are there is no telling.
 *
 * - Attributes: statx of an inode that is held (the descriptor is open) is answered from memory by these file
 *   systems. The owner attribute may have to be read from the disk; only a remembered one will do (owner.c).
 * - Looking up: openat2 with RESOLVE_CACHED never leaves the kernel's cache of names.
 * - Reading: preadv2 with RWF_NOWAIT takes what is in the page cache. A short read may be the end of the
 * file, and is if the file's size says so.
 * - A file that is closed in the guest has its process's locks undone; mostly there are none.
 *
 * Not here: opening and closing for real (a file whose last name is gone is freed then), listing (reads the
 * disk), all attributes but the owner, and everything that changes something (waits for the journal).
 *
 * The locks taken are share->lock, which is never held by one who waits, and node->lock only if it is free.
 */
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include "fs/internal.h"

void vmc_quick_init(VmcShare *share, int fd)
{
    struct statfs st;

    if (fstatfs(fd, &st))
        return;
    switch ((uint32_t)st.f_type) {
    case EXT4_SUPER_MAGIC: /* ext2 and ext3, too */
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case TMPFS_MAGIC:
        share->local = true;
    }
}

bool vmc_quick_node(const VmcShareNode *node)
{
    const VmcShare *share = node->share;

    return share->local && share->root && node->key.dev == share->root->key.dev &&
           node->key.mount == share->root->key.mount;
}

int vmc_share_getattr_at_once(VmcShareNode *node, VmcShareFile *file, VmcShareAttr *attr)
{
    if (!vmc_quick_node(node))
        return -EAGAIN;
    int fd = file ? file->fd : vmc_node_borrow_open(node);
    if (fd < 0)
        return fd;
    int err = vmc_node_attr_at_once(node, fd, attr);
    if (!file)
        vmc_node_return(node);
    return err;
}

int vmc_share_lookup_at_once(VmcShareNode *dir, const char *name, VmcShareNode **node, VmcShareAttr *attr)
{
    if (!S_ISDIR(dir->type) || !vmc_quick_node(dir))
        return -EAGAIN;
    int dir_fd = vmc_node_borrow_open(dir);
    if (dir_fd < 0)
        return dir_fd;
    int fd = vmc_walk_cached(&dir->share->walk, dir_fd, name);
    int err = fd < 0 ? fd : vmc_node_intern(dir->share, fd, dir, name, node);
    vmc_node_return(dir);
    if (!err && (err = vmc_share_getattr_at_once(*node, NULL, attr)))
        vmc_share_node_unref(*node);
    return err;
}

/* Whether a file ends where a read did. */
static bool ends_at(VmcShareFile *file, uint64_t offset)
{
    struct statx st;

    return !vmc_fd_statx(file->fd, &st) && offset >= st.stx_size;
}

ssize_t vmc_share_read_at_once(VmcShareFile *file, const struct iovec *iov, unsigned n_iov, uint64_t offset)
{
    VmcShare *share = file->node->share;
    size_t wanted = 0;

    if (!S_ISREG(file->node->type) || !vmc_quick_node(file->node) || offset > INT64_MAX || n_iov > IOV_MAX ||
        atomic_load_explicit(&share->no_nowait, memory_order_relaxed))
        return -EAGAIN;
    for (unsigned i = 0; i < n_iov; i++)
        wanted += iov[i].iov_len;
    ssize_t done = preadv2(file->fd, iov, (int)n_iov, (off_t)offset, RWF_NOWAIT);
    if (done < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        atomic_store_explicit(&share->no_nowait, true, memory_order_relaxed);
    if (done < 0 || ((size_t)done < wanted && !ends_at(file, offset + (uint64_t)done)))
        return -EAGAIN;
    return done;
}

int vmc_share_unlock_owner_at_once(VmcShareNode *node)
{
    if (!g_mutex_trylock(&node->lock))
        return -EAGAIN;
    bool any = node->lock_owners;
    g_mutex_unlock(&node->lock);
    return any ? -EAGAIN : 0;
}
