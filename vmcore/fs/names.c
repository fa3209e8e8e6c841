/*
 * Looking up, making, removing and renaming: everything that has a name in a directory.
 *
 * Each call here acts on one component in a directory that is open, and no call that changes anything follows
 * a link at the end, so it does not matter what somebody else puts there in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/internal.h"

/* The directory's descriptor, if it is one and `name` is a name. */
static int borrow_dir(VmcShareNode *dir, const char *name)
{
    if (!S_ISDIR(dir->type))
        return -ENOTDIR;
    if (strnlen(name, VMC_SHARE_NAME_MAX + 1) > VMC_SHARE_NAME_MAX)
        return -ENAMETOOLONG;
    if (!vmc_walk_name_valid(name))
        return -EINVAL;
    return vmc_node_borrow(dir);
}

/* The same, for what changes the directory. */
static int borrow_dir_to_change(VmcShareNode *dir, const char *name)
{
    int fd = borrow_dir(dir, name);

    if (fd >= 0 && dir->share->readonly) {
        vmc_node_return(dir);
        return -EROFS;
    }
    return fd;
}

static int lookup_at(VmcShareNode *dir, int dir_fd, const char *name, VmcShareNode **node)
{
    VmcShare *share = dir->share;
    int fd = vmc_walk_path(&share->walk, dir_fd, name);

    if ((fd == -EMFILE || fd == -ENFILE) && vmc_node_make_room(share))
        fd = vmc_walk_path(&share->walk, dir_fd, name);
    return fd < 0 ? fd : vmc_node_intern(share, fd, dir, name, node);
}

static int attr_of(VmcShareNode *node, VmcShareAttr *attr)
{
    return vmc_share_getattr(node, NULL, attr);
}

int vmc_share_lookup(VmcShareNode *dir, const char *name, VmcShareNode **node, VmcShareAttr *attr)
{
    int fd = borrow_dir(dir, name);

    if (fd < 0)
        return fd;
    int err = lookup_at(dir, fd, name, node);
    vmc_node_return(dir);
    if (!err && (err = attr_of(*node, attr)))
        vmc_share_node_unref(*node);
    return err;
}

/* ---- making ---- */

/* Gives what was just made its owner and mode. */
static int finish(VmcShareNode *dir, int dir_fd, VmcShareNode *node, const VmcShareCaller *who, uint32_t mode,
                  VmcShareAttr *attr)
{
    VmcOwner dir_owner;
    int err = vmc_node_attr(dir, dir_fd, NULL, &dir_owner);
    int fd = err ? err : vmc_node_borrow(node);

    if (fd < 0)
        return fd;
    err = vmc_owner_init(node, fd, &dir_owner, who, mode);
    if (!err)
        err = vmc_node_attr(node, fd, attr, NULL);
    vmc_node_return(node);
    return err;
}

/* The node of something made under that name. If it is not of that type any more, somebody was quicker. */
static int made(VmcShareNode *dir, int dir_fd, const char *name, mode_t type, const VmcShareCaller *who,
                uint32_t mode, VmcShareNode **node, VmcShareAttr *attr)
{
    int err = lookup_at(dir, dir_fd, name, node);

    if (err)
        return err;
    err = (*node)->type == type ? finish(dir, dir_fd, *node, who, mode, attr) : -ESTALE;
    if (err)
        vmc_share_node_unref(*node);
    return err;
}

int vmc_share_mkdir(VmcShareNode *dir, const char *name, const VmcShareCaller *who, uint32_t mode,
                    VmcShareNode **node, VmcShareAttr *attr)
{
    int fd = borrow_dir_to_change(dir, name);

    if (fd < 0)
        return fd;
    mode &= 01777;
    int err = mkdirat(fd, name, vmc_owner_real_mode(S_IFDIR, mode)) ? -errno : 0;
    if (!err)
        err = made(dir, fd, name, S_IFDIR, who, mode, node, attr);
    vmc_node_return(dir);
    return err;
}

int vmc_share_mknod(VmcShareNode *dir, const char *name, const VmcShareCaller *who, uint32_t mode,
                    VmcShareNode **node, VmcShareAttr *attr)
{
    mode_t type = mode & S_IFMT ? mode & S_IFMT : S_IFREG;

    if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
        return -EPERM;
    int fd = borrow_dir_to_change(dir, name);
    if (fd < 0)
        return fd;
    mode &= 07777;
    mode_t real = type == S_IFREG ? vmc_owner_real_mode(type, mode) : mode & 0777;
    int err = mknodat(fd, name, type | real, 0) ? -errno : 0;
    if (!err)
        err = made(dir, fd, name, type, who, mode, node, attr);
    vmc_node_return(dir);
    return err;
}

int vmc_share_symlink(VmcShareNode *dir, const char *name, const VmcShareCaller *who, const char *target,
                      VmcShareNode **node, VmcShareAttr *attr)
{
    int fd = borrow_dir_to_change(dir, name);

    if (fd < 0)
        return fd;
    int err = symlinkat(target, fd, name) ? -errno : 0;
    if (!err)
        err = made(dir, fd, name, S_IFLNK, who, 0777, node, attr);
    vmc_node_return(dir);
    return err;
}

/* ---- making and opening ---- */

static int open_flags(int flags)
{
    return flags & (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC);
}

/* Node and file around a descriptor of a new regular file, which is taken over with its count, on errors too.
 * `name` may be NULL. */
static int adopt(VmcShareNode *dir, int dir_fd, const char *name, int fd, const VmcShareCaller *who,
                 uint32_t mode, VmcShareNode **node, VmcShareAttr *attr, VmcShareFile **file)
{
    char path[VMC_FD_PATH];

    vmc_fd_path(fd, path);
    int path_fd = open(path, O_PATH | O_CLOEXEC);
    int err = path_fd < 0 ? -errno : vmc_node_intern(dir->share, path_fd, name ? dir : NULL, name, node);
    if (err) {
        close(fd);
        vmc_share_uncount_file(dir->share);
        return err;
    }
    *file = vmc_file_new(*node, fd);
    err = finish(dir, dir_fd, *node, who, mode, attr);
    if (err) {
        vmc_share_file_unref(*file);
        vmc_share_node_unref(*node);
    }
    return err;
}

static int open_existing(VmcShareNode *dir, int dir_fd, const char *name, int flags, VmcShareNode **node,
                         VmcShareAttr *attr, VmcShareFile **file)
{
    int err = lookup_at(dir, dir_fd, name, node);

    if (err)
        return err;
    err = S_ISDIR((*node)->type) ? -EISDIR : vmc_share_open(*node, flags & ~O_DIRECTORY, file);
    if (!err && (err = attr_of(*node, attr)))
        vmc_share_file_unref(*file);
    if (err)
        vmc_share_node_unref(*node);
    return err;
}

static int create_new(VmcShareNode *dir, int dir_fd, const char *name, const VmcShareCaller *who, int flags,
                      uint32_t mode, VmcShareNode **node, VmcShareAttr *attr, VmcShareFile **file)
{
    VmcShare *share = dir->share;
    mode_t real = vmc_owner_real_mode(S_IFREG, mode);
    int err = vmc_share_count_file(share);

    if (err)
        return err;
    flags = open_flags(flags) & ~O_TRUNC;
    int fd = vmc_walk_create(&share->walk, dir_fd, name, flags, real);
    if ((fd == -EMFILE || fd == -ENFILE) && vmc_node_make_room(share))
        fd = vmc_walk_create(&share->walk, dir_fd, name, flags, real);
    if (fd < 0) {
        vmc_share_uncount_file(share);
        return fd;
    }
    return adopt(dir, dir_fd, name, fd, who, mode, node, attr, file);
}

int vmc_share_create(VmcShareNode *dir, const char *name, const VmcShareCaller *who, int flags, uint32_t mode,
                     VmcShareNode **node, VmcShareAttr *attr, VmcShareFile **file)
{
    bool readonly = dir->share->readonly;
    int fd = borrow_dir(dir, name);
    int err;

    if (fd < 0)
        return fd;
    /* If it comes and goes under our hands, a few tries are enough. */
    for (int tries = 0; tries < 8; tries++) {
        err = readonly ? -EEXIST : create_new(dir, fd, name, who, flags, mode & 07777, node, attr, file);
        if (err != -EEXIST || (flags & O_EXCL && !readonly))
            break;
        err = open_existing(dir, fd, name, flags, node, attr, file);
        if (err != -ENOENT || readonly)
            break;
    }
    vmc_node_return(dir);
    return err == -ENOENT && readonly ? -EROFS : err;
}

int vmc_share_tmpfile(VmcShareNode *dir, const VmcShareCaller *who, int flags, uint32_t mode,
                      VmcShareNode **node, VmcShareAttr *attr, VmcShareFile **file)
{
    VmcShare *share = dir->share;
    char path[VMC_FD_PATH];

    if (share->readonly)
        return -EROFS;
    if (!S_ISDIR(dir->type))
        return -ENOTDIR;
    int dir_fd = vmc_node_borrow(dir);
    if (dir_fd < 0)
        return dir_fd;
    int err = vmc_share_count_file(share);
    if (!err) {
        vmc_fd_path(dir_fd, path);
        flags = (open_flags(flags) & ~O_TRUNC) | O_TMPFILE | O_CLOEXEC;
        int fd = open(path, flags, vmc_owner_real_mode(S_IFREG, mode));
        err = -errno;
        if (fd < 0)
            vmc_share_uncount_file(share);
        else
            err = adopt(dir, dir_fd, NULL, fd, who, mode, node, attr, file);
    }
    vmc_node_return(dir);
    return err;
}

/* ---- further names ---- */

int vmc_share_link(VmcShareNode *node, VmcShareNode *dir, const char *name, VmcShareAttr *attr)
{
    char path[VMC_FD_PATH];

    if (S_ISDIR(node->type))
        return -EPERM;
    int dir_fd = borrow_dir_to_change(dir, name);
    if (dir_fd < 0)
        return dir_fd;
    int fd = vmc_node_borrow(node);
    int err = fd;
    if (fd >= 0) {
        vmc_fd_path(fd, path);
        err = linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
        if (!err && !vmc_node_has_name(node))
            vmc_node_renamed(node, dir, name);
        if (!err && attr)
            err = vmc_node_attr(node, fd, attr, NULL);
        vmc_node_return(node);
    }
    vmc_node_return(dir);
    return err;
}

/* ---- removing and renaming ---- */

static int remove_name(VmcShareNode *dir, const char *name, int flags)
{
    int fd = borrow_dir_to_change(dir, name);

    if (fd < 0)
        return fd;
    VmcShareNode *target = vmc_node_hold_target(dir, fd, name);
    int err = unlinkat(fd, name, flags) ? -errno : 0;
    if (!err && target)
        vmc_node_unnamed(target, dir, name);
    vmc_node_release_target(target);
    vmc_node_return(dir);
    return err;
}

int vmc_share_unlink(VmcShareNode *dir, const char *name)
{
    return remove_name(dir, name, 0);
}

int vmc_share_rmdir(VmcShareNode *dir, const char *name)
{
    return remove_name(dir, name, AT_REMOVEDIR);
}

static int rename_at(VmcShareNode *from, int from_fd, const char *name, VmcShareNode *to, int to_fd,
                     const char *new_name, unsigned flags)
{
    VmcShareNode *moved = vmc_node_hold_target(from, from_fd, name);
    VmcShareNode *replaced = vmc_node_hold_target(to, to_fd, new_name);
    int err = renameat2(from_fd, name, to_fd, new_name, flags) ? -errno : 0;

    /* Two names of one file: nothing happens (rename(2)). */
    if (!err && moved != replaced) {
        if (replaced && flags & RENAME_EXCHANGE)
            vmc_node_renamed(replaced, from, name);
        else if (replaced)
            vmc_node_unnamed(replaced, to, new_name);
        if (moved)
            vmc_node_renamed(moved, to, new_name);
    }
    vmc_node_release_target(moved);
    vmc_node_release_target(replaced);
    return err;
}

int vmc_share_rename(VmcShareNode *from, const char *name, VmcShareNode *to, const char *new_name,
                     unsigned flags)
{
    if (flags && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE)
        return -EINVAL;
    int from_fd = borrow_dir_to_change(from, name);
    if (from_fd < 0)
        return from_fd;
    int to_fd = borrow_dir_to_change(to, new_name);
    int err = to_fd;
    if (to_fd >= 0) {
        err = rename_at(from, from_fd, name, to, to_fd, new_name, flags);
        vmc_node_return(to);
    }
    vmc_node_return(from);
    return err;
}
