/* FUSE requests about nodes and names. Each takes its arguments apart, asks the share, and makes the answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fs/fuse_internal.h"

/* ---- answers ---- */

/* Tells the guest of a node, whose reference is taken over. */
static int reply_entry(FuseCall *call, VmcShareNode *node, const VmcShareAttr *attr)
{
    struct fuse_entry_out out;

    fuse_fill_entry(call->fuse, vmc_share_node_id(node), attr, &out);
    fuse_remember(call->fuse, node);
    fuse_reply(call, &out, sizeof(out));
    return 0;
}

static int reply_attr(FuseCall *call, const VmcShareAttr *attr)
{
    struct fuse_attr_out out = {.attr_valid = fuse_valid_seconds(call->fuse)};

    fuse_fill_attr(attr, &out.attr);
    fuse_reply(call, &out, sizeof(out));
    return 0;
}

/* ---- names ---- */

int fuse_lookup(FuseCall *call)
{
    VmcShareNode *dir = fuse_node(call->fuse, call->nodeid), *node;
    VmcShareAttr attr;

    if (!dir)
        return -ESTALE;
    int err = call->at_once ? vmc_share_lookup_at_once(dir, call->name, &node, &attr)
                            : vmc_share_lookup(dir, call->name, &node, &attr);
    vmc_share_node_unref(dir);
    return err ? err : reply_entry(call, node, &attr);
}

int fuse_symlink(FuseCall *call)
{
    VmcShareNode *dir = fuse_node(call->fuse, call->nodeid), *node;
    VmcShareAttr attr;

    if (!dir)
        return -ESTALE;
    int err = vmc_share_symlink(dir, call->name, &call->who, call->name2, &node, &attr);
    vmc_share_node_unref(dir);
    return err ? err : reply_entry(call, node, &attr);
}

/* `make` is vmc_share_mknod or vmc_share_mkdir. */
static int make_node(FuseCall *call, uint32_t mode, typeof(vmc_share_mkdir) *make)
{
    VmcShareNode *dir = fuse_node(call->fuse, call->nodeid), *node;
    VmcShareAttr attr;

    if (!dir)
        return -ESTALE;
    int err = make(dir, call->name, &call->who, mode, &node, &attr);
    vmc_share_node_unref(dir);
    return err ? err : reply_entry(call, node, &attr);
}

int fuse_mknod(FuseCall *call)
{
    const struct fuse_mknod_in *in = call->args;

    return make_node(call, in->mode, vmc_share_mknod);
}

int fuse_mkdir(FuseCall *call)
{
    const struct fuse_mkdir_in *in = call->args;

    return make_node(call, in->mode, vmc_share_mkdir);
}

int fuse_link(FuseCall *call)
{
    const struct fuse_link_in *in = call->args;
    VmcShareNode *dir = fuse_node(call->fuse, call->nodeid), *node = fuse_node(call->fuse, in->oldnodeid);
    VmcShareAttr attr;

    int err = dir && node ? vmc_share_link(node, dir, call->name, &attr) : -ESTALE;
    vmc_share_node_unref(dir);
    if (!err)
        return reply_entry(call, node, &attr);
    vmc_share_node_unref(node);
    return err;
}

static int remove_name(FuseCall *call, int (*remove)(VmcShareNode *dir, const char *name))
{
    VmcShareNode *dir = fuse_node(call->fuse, call->nodeid);

    if (!dir)
        return -ESTALE;
    int err = remove(dir, call->name);
    vmc_share_node_unref(dir);
    return err;
}

int fuse_unlink(FuseCall *call)
{
    return remove_name(call, vmc_share_unlink);
}

int fuse_rmdir(FuseCall *call)
{
    return remove_name(call, vmc_share_rmdir);
}

static int rename_to(FuseCall *call, uint64_t newdir, unsigned flags)
{
    VmcShareNode *from = fuse_node(call->fuse, call->nodeid), *to = fuse_node(call->fuse, newdir);
    int err = from && to ? vmc_share_rename(from, call->name, to, call->name2, flags) : -ESTALE;

    vmc_share_node_unref(from);
    vmc_share_node_unref(to);
    return err;
}

int fuse_rename(FuseCall *call)
{
    const struct fuse_rename_in *in = call->args;

    return rename_to(call, in->newdir, 0);
}

int fuse_rename2(FuseCall *call)
{
    const struct fuse_rename2_in *in = call->args;

    return rename_to(call, in->newdir, in->flags);
}

/* ---- attributes ---- */

int fuse_getattr(FuseCall *call)
{
    const struct fuse_getattr_in *in = call->args;
    VmcShareNode *node = fuse_node(call->fuse, call->nodeid);
    VmcShareFile *file = in->getattr_flags & FUSE_GETATTR_FH ? fuse_file(call, in->fh) : NULL;
    VmcShareAttr attr;

    int err = -ESTALE;
    if (node)
        err = call->at_once ? vmc_share_getattr_at_once(node, file, &attr)
                            : vmc_share_getattr(node, file, &attr);
    vmc_share_file_unref(file);
    vmc_share_node_unref(node);
    return err ? err : reply_attr(call, &attr);
}

static unsigned change_mask(uint32_t valid)
{
    static const struct {
        uint32_t theirs;
        unsigned ours;
    } bits[] = {
        {FATTR_MODE, VMC_SHARE_MODE},
        {FATTR_UID, VMC_SHARE_UID},
        {FATTR_GID, VMC_SHARE_GID},
        {FATTR_SIZE, VMC_SHARE_SIZE},
        {FATTR_ATIME, VMC_SHARE_ATIME},
        {FATTR_MTIME, VMC_SHARE_MTIME},
        {FATTR_ATIME_NOW, VMC_SHARE_ATIME_NOW},
        {FATTR_MTIME_NOW, VMC_SHARE_MTIME_NOW},
        {FATTR_KILL_SUIDGID, VMC_SHARE_KILL_PRIVS},
    };
    unsigned mask = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(bits); i++)
        mask |= valid & bits[i].theirs ? bits[i].ours : 0;
    return mask;
}

int fuse_setattr(FuseCall *call)
{
    const struct fuse_setattr_in *in = call->args;
    VmcShareNode *node = fuse_node(call->fuse, call->nodeid);
    VmcShareFile *file = in->valid & FATTR_FH ? fuse_file(call, in->fh) : NULL;
    VmcShareAttr attr;
    VmcShareChange change = {
        .mask = change_mask(in->valid),
        .mode = in->mode & 07777,
        .uid = in->uid,
        .gid = in->gid,
        .size = in->size,
        .atime = {(time_t)in->atime, in->atimensec},
        .mtime = {(time_t)in->mtime, in->mtimensec},
    };

    int err = node ? vmc_share_setattr(node, file, &change, &attr) : -ESTALE;
    vmc_share_file_unref(file);
    vmc_share_node_unref(node);
    return err ? err : reply_attr(call, &attr);
}

int fuse_readlink(FuseCall *call)
{
    VmcShareNode *node = fuse_node(call->fuse, call->nodeid);
    size_t room = MIN(fuse_room(call), PATH_MAX);

    if (!node)
        return -ESTALE;
    int len = room ? vmc_share_readlink(node, (char *)fuse_reply_buffer(call, room), room) : -EINVAL;
    vmc_share_node_unref(node);
    if (len < 0)
        return len;
    call->reply_len = (size_t)len;
    return 0;
}

int fuse_statfs(FuseCall *call)
{
    VmcShareNode *node = fuse_node(call->fuse, call->nodeid);
    struct statvfs st;

    int err = node ? vmc_share_statfs(node, &st) : -ESTALE;
    vmc_share_node_unref(node);
    if (err)
        return err;
    struct fuse_statfs_out out = {.st = {
                                      .blocks = st.f_blocks,
                                      .bfree = st.f_bfree,
                                      .bavail = st.f_bavail,
                                      .files = st.f_files,
                                      .ffree = st.f_ffree,
                                      .bsize = (uint32_t)st.f_bsize,
                                      .namelen = VMC_SHARE_NAME_MAX,
                                      .frsize = (uint32_t)st.f_frsize,
                                  }};
    fuse_reply(call, &out, sizeof(out));
    return 0;
}

int fuse_access(FuseCall *call)
{
    const struct fuse_access_in *in = call->args;
    VmcShareNode *node = fuse_node(call->fuse, call->nodeid);
    int err = node ? vmc_share_access(node, &call->who, (int)in->mask) : -ESTALE;

    vmc_share_node_unref(node);
    return err;
}

/* ---- extended attributes ---- */

int fuse_setxattr(FuseCall *call)
{
    const struct fuse_setxattr_in *in = call->args; /* the first two fields: SETXATTR_EXT is not ours */
    VmcShareNode *node = fuse_node(call->fuse, call->nodeid);
    int err;

    if (!node)
        err = -ESTALE;
    else if (in->size > call->rest_len)
        err = -EINVAL;
    else
        err = vmc_share_setxattr(node, call->name, call->rest, in->size, (int)in->flags);
    vmc_share_node_unref(node);
    return err;
}

/* The length alone if the guest asked with size 0, else the value; `len` may be an error. */
static int reply_xattr(FuseCall *call, uint32_t size, ssize_t len)
{
    struct fuse_getxattr_out out = {.size = (uint32_t)len};

    if (len < 0)
        return (int)len;
    if (size)
        call->reply_len = (size_t)len;
    else if (fuse_room(call) >= sizeof(out))
        fuse_reply(call, &out, sizeof(out));
    else
        return -EINVAL;
    return 0;
}

static size_t xattr_room(FuseCall *call, uint32_t size)
{
    return MIN(MIN(size, VMC_SHARE_XATTR_MAX), fuse_room(call));
}

int fuse_getxattr(FuseCall *call)
{
    const struct fuse_getxattr_in *in = call->args;
    VmcShareNode *node = fuse_node(call->fuse, call->nodeid);
    size_t room = xattr_room(call, in->size);

    if (!node || (in->size && !room)) {
        vmc_share_node_unref(node);
        return node ? -ERANGE : -ESTALE;
    }
    ssize_t len = vmc_share_getxattr(node, call->name, fuse_reply_buffer(call, room), room);
    vmc_share_node_unref(node);
    return reply_xattr(call, in->size, len);
}

int fuse_listxattr(FuseCall *call)
{
    const struct fuse_getxattr_in *in = call->args;
    VmcShareNode *node = fuse_node(call->fuse, call->nodeid);
    size_t room = xattr_room(call, in->size);

    if (!node || (in->size && !room)) {
        vmc_share_node_unref(node);
        return node ? -ERANGE : -ESTALE;
    }
    ssize_t len = vmc_share_listxattr(node, (char *)fuse_reply_buffer(call, room), room);
    vmc_share_node_unref(node);
    return reply_xattr(call, in->size, len);
}

int fuse_removexattr(FuseCall *call)
{
    return remove_name(call, vmc_share_removexattr);
}
