/* 9P requests about names and attributes. Each takes its arguments apart, asks the share, and makes the
 * answer. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "fs/p9_internal.h"

#define MAGIC 0x01021997u /* of the file system, as Linux has it for 9P */

/* Tgetattr's request_mask and valid, Tsetattr's valid. */
enum {
    GETATTR_BASIC = 0x7ff, /* all up to blocks */
    GETATTR_BTIME = 0x800,
    SETATTR_MODE = 0x1,
    SETATTR_UID = 0x2,
    SETATTR_GID = 0x4,
    SETATTR_SIZE = 0x8,
    SETATTR_ATIME = 0x10,
    SETATTR_MTIME = 0x20,
    SETATTR_ATIME_SET = 0x80,
    SETATTR_MTIME_SET = 0x100,
};

/* ---- walking ---- */

static bool is_dots(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

/* One step. Above the root there is the root. */
static int step(VmcShareNode *from, const char *name, VmcShareNode **to, VmcShareAttr *attr)
{
    if (!S_ISDIR(vmc_share_node_type(from)))
        return -ENOTDIR;
    if (!is_dots(name))
        return vmc_share_lookup(from, name, to, attr);
    *to = name[1] ? vmc_share_node_parent(from) : vmc_share_node_ref(from);
    int err = *to ? vmc_share_getattr(*to, NULL, attr) : -ESTALE;
    if (err)
        vmc_share_node_unref(*to);
    return err;
}

typedef struct Walk {
    VmcShareNode *node, *dir;
    unsigned done;
} Walk;

/* As many steps as go; the error of the one that did not. */
static int go(P9Call *call, Walk *walk, P9Name *names, unsigned n)
{
    VmcShareAttr attr;
    VmcShareNode *to;

    while (walk->done < n) {
        int err = step(walk->node, names[walk->done], &to, &attr);
        if (err)
            return err;
        vmc_share_node_unref(walk->dir);
        walk->dir = walk->node;
        walk->node = to;
        walk->done++;
        p9_put_qid(call, &attr);
    }
    return 0;
}

/* The fid for where the walk ended; takes the node over. */
static P9Fid *arrived(P9Call *call, const P9Use *use, Walk *walk, P9Name *names)
{
    P9Fid *fid;

    if (!walk->done)
        return p9_fid_clone(call, use);
    const char *last = names[walk->done - 1];
    fid = p9_fid_new(walk->node, is_dots(last) ? NULL : walk->dir, last);
    walk->node = NULL;
    return fid;
}

/* Walking less than was asked for is no error and makes no fid (walk(5)); not one step is. */
static int walk_from(P9Call *call, const P9Use *use, uint32_t number, uint32_t new_number, P9Name *names,
                     unsigned n)
{
    Walk walk = {.node = vmc_share_node_ref(use->node)};

    p9_put_u16(call, 0);
    int err = go(call, &walk, names, n);
    if (!err) {
        P9Fid *fid = arrived(call, use, &walk, names);
        err = number == new_number ? p9_replace(call, number, use, fid) : p9_add(call, new_number, fid);
    } else if (walk.done) {
        err = 0;
    }
    uint16_t done = GUINT16_TO_LE((uint16_t)walk.done);
    memcpy(call->reply, &done, sizeof(done));
    vmc_share_node_unref(walk.node);
    vmc_share_node_unref(walk.dir);
    return err;
}

int p9_walk(P9Call *call)
{
    uint32_t number = p9_u32(call), new_number = p9_u32(call);
    uint16_t n = p9_u16(call);
    P9Name names[P9_WALK_MAX];
    P9Use use;

    if (call->bad || n > P9_WALK_MAX || p9_room(call) < 2 + (size_t)n * P9_QID_BYTES)
        return -EINVAL;
    for (unsigned i = 0; i < n; i++)
        p9_name(call, names[i]);
    if (call->bad)
        return -EINVAL;
    int err = p9_use(call, number, &use);
    if (!err)
        err = walk_from(call, &use, number, new_number, names, n);
    p9_done(call, &use);
    return err;
}

/* ---- making ---- */

/* Answers with the qid of what was made, whose reference is taken over. */
static void reply_made(P9Call *call, VmcShareNode *node, const VmcShareAttr *attr)
{
    p9_put_qid(call, attr);
    vmc_share_node_unref(node);
}

/* fid[4] name[s] symtgt[s] gid[4] */
int p9_symlink(P9Call *call)
{
    uint32_t number = p9_u32(call);
    VmcShareNode *node;
    VmcShareAttr attr;
    P9Name name;
    P9Use use;
    char target[PATH_MAX];

    p9_name(call, name);
    p9_string(call, target, sizeof(target) - 1);
    p9_u32(call);
    if (call->bad)
        return -EINVAL;
    int err = p9_use(call, number, &use);
    if (!err)
        err = vmc_share_symlink(use.node, name, &call->who, target, &node, &attr);
    p9_done(call, &use);
    if (!err)
        reply_made(call, node, &attr);
    return err;
}

/* The rest of the message has been read; `make` is vmc_share_mknod or vmc_share_mkdir. */
static int make_node(P9Call *call, uint32_t number, const char *name, uint32_t mode,
                     typeof(vmc_share_mkdir) *make)
{
    VmcShareNode *node;
    VmcShareAttr attr;
    P9Use use;

    if (call->bad)
        return -EINVAL;
    int err = p9_use(call, number, &use);
    if (!err)
        err = make(use.node, name, &call->who, mode, &node, &attr);
    p9_done(call, &use);
    if (!err)
        reply_made(call, node, &attr);
    return err;
}

/* dfid[4] name[s] mode[4] major[4] minor[4] gid[4] */
int p9_mknod(P9Call *call)
{
    uint32_t number = p9_u32(call);
    P9Name name;

    p9_name(call, name);
    uint32_t mode = p9_u32(call);
    p9_u64(call);
    p9_u32(call);
    return make_node(call, number, name, mode, vmc_share_mknod);
}

/* dfid[4] name[s] mode[4] gid[4] */
int p9_mkdir(P9Call *call)
{
    uint32_t number = p9_u32(call);
    P9Name name;

    p9_name(call, name);
    uint32_t mode = p9_u32(call);
    p9_u32(call);
    return make_node(call, number, name, mode, vmc_share_mkdir);
}

/* dfid[4] fid[4] name[s] */
int p9_link(P9Call *call)
{
    uint32_t dir_number = p9_u32(call), number = p9_u32(call);
    P9Name name;
    P9Use dir, use = {0};

    p9_name(call, name);
    if (call->bad)
        return -EINVAL;
    int err = p9_use(call, dir_number, &dir);
    if (!err)
        err = p9_use(call, number, &use);
    if (!err)
        err = vmc_share_link(use.node, dir.node, name, NULL);
    p9_done(call, &use);
    p9_done(call, &dir);
    return err;
}

/* ---- renaming and removing ---- */

static int rename_fid(P9Call *call, const P9Use *use, VmcShareNode *to, const char *new_name)
{
    char name[VMC_SHARE_NAME_MAX + 1];
    VmcShareNode *from;
    int err = p9_place(call, use, &from, name);

    if (err)
        return err;
    err = vmc_share_rename(from, name, to, new_name, 0);
    vmc_share_node_unref(from);
    if (!err)
        p9_moved(call, use, to, new_name);
    return err;
}

/* fid[4] dfid[4] name[s] */
int p9_rename(P9Call *call)
{
    uint32_t number = p9_u32(call), dir_number = p9_u32(call);
    P9Name name;
    P9Use use, dir = {0};

    p9_name(call, name);
    if (call->bad)
        return -EINVAL;
    int err = p9_use(call, number, &use);
    if (!err)
        err = p9_use(call, dir_number, &dir);
    if (!err)
        err = rename_fid(call, &use, dir.node, name);
    p9_done(call, &dir);
    p9_done(call, &use);
    return err;
}

/* olddirfid[4] oldname[s] newdirfid[4] newname[s] */
int p9_renameat(P9Call *call)
{
    P9Name name, new_name;
    P9Use from, to = {0};
    uint32_t from_number = p9_u32(call);

    p9_name(call, name);
    uint32_t to_number = p9_u32(call);
    p9_name(call, new_name);
    if (call->bad)
        return -EINVAL;
    int err = p9_use(call, from_number, &from);
    if (!err)
        err = p9_use(call, to_number, &to);
    if (!err)
        err = vmc_share_rename(from.node, name, to.node, new_name, 0);
    p9_done(call, &to);
    p9_done(call, &from);
    return err;
}

/* dirfd[4] name[s] flags[4] */
int p9_unlinkat(P9Call *call)
{
    uint32_t number = p9_u32(call);
    P9Name name;
    P9Use use;

    p9_name(call, name);
    uint32_t flags = p9_u32(call);
    if (call->bad || flags & ~(uint32_t)AT_REMOVEDIR)
        return -EINVAL;
    int err = p9_use(call, number, &use);
    if (!err)
        err = (flags ? vmc_share_rmdir : vmc_share_unlink)(use.node, name);
    p9_done(call, &use);
    return err;
}

static int remove_fid(P9Call *call, const P9Use *use)
{
    char name[VMC_SHARE_NAME_MAX + 1];
    VmcShareNode *dir;
    int err = p9_place(call, use, &dir, name);

    if (err)
        return err;
    err = (S_ISDIR(vmc_share_node_type(use->node)) ? vmc_share_rmdir : vmc_share_unlink)(dir, name);
    vmc_share_node_unref(dir);
    return err;
}

/* The fid goes even if the file does not (remove(5)). */
int p9_remove(P9Call *call)
{
    uint32_t number = p9_u32(call);
    P9Use use;

    if (call->bad)
        return -EINVAL;
    int err = p9_use(call, number, &use);
    if (!err)
        err = remove_fid(call, &use);
    p9_done(call, &use);
    int gone = p9_give_back(call, number);
    return err ? err : gone;
}

/* ---- attributes ---- */

static void put_time(P9Call *call, const struct timespec *time)
{
    p9_put_u64(call, (uint64_t)time->tv_sec);
    p9_put_u64(call, (uint64_t)time->tv_nsec);
}

/* All we know is told, whatever was asked for. */
static void put_attr(P9Call *call, const VmcShareAttr *attr)
{
    p9_put_u64(call, GETATTR_BASIC | (attr->btime.tv_sec ? GETATTR_BTIME : 0));
    p9_put_qid(call, attr);
    p9_put_u32(call, attr->mode);
    p9_put_u32(call, attr->uid);
    p9_put_u32(call, attr->gid);
    p9_put_u64(call, attr->nlink);
    p9_put_u64(call, 0); /* rdev: device nodes are never opened, so it does not matter which */
    p9_put_u64(call, attr->size);
    p9_put_u64(call, p9_iounit(call, attr->blksize)); /* programs read in blocks of this size */
    p9_put_u64(call, attr->blocks);
    put_time(call, &attr->atime);
    put_time(call, &attr->mtime);
    put_time(call, &attr->ctime);
    put_time(call, &attr->btime);
    p9_put_u64(call, 0); /* gen */
    p9_put_u64(call, 0); /* data_version */
}

/* fid[4] request_mask[8] */
int p9_getattr(P9Call *call)
{
    uint32_t number = p9_u32(call);
    VmcShareAttr attr;
    P9Use use;

    p9_u64(call);
    if (call->bad)
        return -EINVAL;
    int err = p9_use(call, number, &use);
    if (!err)
        err = vmc_share_getattr(use.node, use.file, &attr);
    p9_done(call, &use);
    if (!err)
        put_attr(call, &attr);
    return err;
}

static unsigned change_mask(uint32_t valid)
{
    unsigned mask = 0;

    mask |= valid & SETATTR_MODE ? VMC_SHARE_MODE : 0;
    mask |= valid & SETATTR_UID ? VMC_SHARE_UID : 0;
    mask |= valid & SETATTR_GID ? VMC_SHARE_GID : 0;
    mask |= valid & SETATTR_SIZE ? VMC_SHARE_SIZE | VMC_SHARE_KILL_PRIVS : 0;
    if (valid & SETATTR_ATIME)
        mask |= valid & SETATTR_ATIME_SET ? VMC_SHARE_ATIME : VMC_SHARE_ATIME_NOW;
    if (valid & SETATTR_MTIME)
        mask |= valid & SETATTR_MTIME_SET ? VMC_SHARE_MTIME : VMC_SHARE_MTIME_NOW;
    return mask;
}

static struct timespec take_time(P9Call *call)
{
    uint64_t sec = p9_u64(call), nsec = p9_u64(call);

    /* What cannot be is refused by the share. */
    return (struct timespec){(time_t)sec, nsec < 1000000000u ? (long)nsec : -1};
}

/* fid[4] valid[4] mode[4] uid[4] gid[4] size[8] atime_sec[8] atime_nsec[8] mtime_sec[8] mtime_nsec[8] */
int p9_setattr(P9Call *call)
{
    uint32_t number = p9_u32(call);
    VmcShareChange change = {.mask = change_mask(p9_u32(call))};
    P9Use use;

    change.mode = p9_u32(call) & 07777;
    change.uid = p9_u32(call);
    change.gid = p9_u32(call);
    change.size = p9_u64(call);
    change.atime = take_time(call);
    change.mtime = take_time(call);
    if (call->bad)
        return -EINVAL;
    int err = p9_use(call, number, &use);
    if (!err)
        err = vmc_share_setattr(use.node, use.file, &change, NULL);
    p9_done(call, &use);
    return err;
}

int p9_readlink(P9Call *call)
{
    uint32_t number = p9_u32(call);
    char target[PATH_MAX];
    P9Use use;

    if (call->bad)
        return -EINVAL;
    int len = p9_use(call, number, &use);
    if (!len)
        len = vmc_share_readlink(use.node, target, sizeof(target));
    p9_done(call, &use);
    if (len < 0)
        return len;
    if (p9_room(call) < 2 + (size_t)len)
        return -ENAMETOOLONG;
    p9_reply_buffer(call, 2 + (size_t)len);
    p9_put_u16(call, (uint16_t)len);
    p9_put_bytes(call, target, (size_t)len);
    return 0;
}

int p9_statfs(P9Call *call)
{
    uint32_t number = p9_u32(call);
    struct statvfs st;
    P9Use use;

    if (call->bad)
        return -EINVAL;
    int err = p9_use(call, number, &use);
    if (!err)
        err = vmc_share_statfs(use.node, &st);
    p9_done(call, &use);
    if (err)
        return err;
    p9_put_u32(call, MAGIC);
    p9_put_u32(call, (uint32_t)st.f_frsize); /* the unit of what follows, which for 9P is one with bsize */
    p9_put_u64(call, st.f_blocks);
    p9_put_u64(call, st.f_bfree);
    p9_put_u64(call, st.f_bavail);
    p9_put_u64(call, st.f_files);
    p9_put_u64(call, st.f_ffree);
    p9_put_u64(call, 0); /* fsid */
    p9_put_u32(call, VMC_SHARE_NAME_MAX);
    return 0;
}
