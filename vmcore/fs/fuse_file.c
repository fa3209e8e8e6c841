/* FUSE requests about open files and locks. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>

#include "fs/fuse_internal.h"
#include "base/vectors.h"

/* ---- opening and closing ---- */

static uint32_t open_flags(const VmcFuse *fuse, bool directory)
{
    switch (fuse_cache(fuse)) {
    case VMC_SHARE_CACHE_NONE:
        return directory ? 0 : FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
    case VMC_SHARE_CACHE_ALWAYS:
        return FOPEN_KEEP_CACHE | (directory ? FOPEN_CACHE_DIR : 0);
    default:
        return 0;
    }
}

/* The reference is taken over. */
static void reply_open(FuseCall *call, VmcShareFile *file, bool directory)
{
    struct fuse_open_out out = {
        .fh = fuse_add_file(call->fuse, file),
        .open_flags = open_flags(call->fuse, directory),
    };

    fuse_reply(call, &out, sizeof(out));
}

static int open_node(FuseCall *call, int flags, VmcShareFile **file)
{
    VmcShareNode *node = fuse_node(call->fuse, call->nodeid);
    int err = node ? vmc_share_open(node, flags, file) : -ESTALE;

    vmc_share_node_unref(node);
    return err;
}

int fuse_open(FuseCall *call)
{
    const struct fuse_open_in *in = call->args;
    VmcShareFile *file;
    int err = open_node(call, (int)in->flags & ~O_DIRECTORY, &file);

    if (!err && in->flags & O_TRUNC && in->open_flags & FUSE_OPEN_KILL_SUIDGID &&
        (err = vmc_share_kill_privs(file)))
        vmc_share_file_unref(file);
    if (!err)
        reply_open(call, file, false);
    return err;
}

int fuse_opendir(FuseCall *call)
{
    VmcShareFile *file;
    int err = open_node(call, O_RDONLY | O_DIRECTORY, &file);

    if (!err)
        reply_open(call, file, true);
    return err;
}

static int reply_created(FuseCall *call, VmcShareNode *node, const VmcShareAttr *attr, VmcShareFile *file)
{
    struct fuse_entry_out entry;

    fuse_fill_entry(call->fuse, vmc_share_node_id(node), attr, &entry);
    fuse_remember(call->fuse, node);
    fuse_reply(call, &entry, sizeof(entry));
    reply_open(call, file, false);
    return 0;
}

int fuse_create(FuseCall *call)
{
    const struct fuse_create_in *in = call->args;
    VmcShareNode *dir = fuse_node(call->fuse, call->nodeid), *node;
    VmcShareAttr attr;
    VmcShareFile *file;

    if (!dir)
        return -ESTALE;
    int err =
        vmc_share_create(dir, call->name, &call->who, (int)in->flags, in->mode & 07777, &node, &attr, &file);
    vmc_share_node_unref(dir);
    return err ? err : reply_created(call, node, &attr, file);
}

int fuse_tmpfile(FuseCall *call)
{
    const struct fuse_create_in *in = call->args;
    VmcShareNode *dir = fuse_node(call->fuse, call->nodeid), *node;
    VmcShareAttr attr;
    VmcShareFile *file;

    if (!dir)
        return -ESTALE;
    int err = vmc_share_tmpfile(dir, &call->who, (int)in->flags, in->mode & 07777, &node, &attr, &file);
    vmc_share_node_unref(dir);
    return err ? err : reply_created(call, node, &attr, file);
}

int fuse_flush(FuseCall *call)
{
    const struct fuse_flush_in *in = call->args;
    VmcShareFile *file = fuse_file(call, in->fh);

    int err = 0;

    if (!file)
        return -EBADF;
    if (call->at_once)
        err = vmc_share_unlock_owner_at_once(vmc_share_file_node(file));
    else
        vmc_share_unlock_owner(vmc_share_file_node(file), call->fuse, in->lock_owner);
    vmc_share_file_unref(file);
    return err;
}

int fuse_release(FuseCall *call)
{
    const struct fuse_release_in *in = call->args;
    VmcShareFile *file = fuse_take_file(call, in->fh);

    if (!file)
        return -EBADF;
    /* Others may still be at work on the file; its lock ends now. */
    if (in->release_flags & FUSE_RELEASE_FLOCK_UNLOCK)
        vmc_share_flock(file, LOCK_UN);
    vmc_share_file_unref(file);
    return 0;
}

/* ---- data ---- */

int fuse_read(FuseCall *call)
{
    const struct fuse_read_in *in = call->args;
    VmcFuseMessage *message = call->message;
    size_t size = MIN(in->size, fuse_room(call));
    VmcShareFile *file;
    VmcIovWindow window;

    if (call->at_once && size > VMC_FUSE_AT_ONCE_MAX)
        return -EAGAIN;
    if (!(file = fuse_file(call, in->fh)))
        return -EBADF;
    vmc_iov_window_open(&window, message->in, message->n_in, sizeof(struct fuse_out_header), size);
    ssize_t done = call->at_once ? vmc_share_read_at_once(file, window.iov, window.n, in->offset)
                                 : vmc_share_read(file, window.iov, window.n, in->offset);
    vmc_iov_window_close(&window);
    vmc_share_file_unref(file);
    if (done < 0)
        return (int)done;
    call->in_place = true;
    call->reply_len = (size_t)done;
    return 0;
}

int fuse_write(FuseCall *call)
{
    const struct fuse_write_in *in = call->args;
    VmcFuseMessage *message = call->message;
    size_t before = sizeof(message->header) + sizeof(*in);
    struct fuse_write_out out = {0};
    VmcShareFile *file;
    VmcIovWindow window;

    if (in->size > message->header.len - before)
        return -EINVAL;
    if (!(file = fuse_file(call, in->fh)))
        return -EBADF;
    vmc_iov_window_open(&window, message->out, message->n_out, before, in->size);
    ssize_t done =
        vmc_share_write(file, window.iov, window.n, in->offset, in->write_flags & FUSE_WRITE_KILL_SUIDGID);
    vmc_iov_window_close(&window);
    vmc_share_file_unref(file);
    if (done < 0)
        return (int)done;
    out.size = (uint32_t)done;
    fuse_reply(call, &out, sizeof(out));
    return 0;
}

int fuse_fsync(FuseCall *call)
{
    const struct fuse_fsync_in *in = call->args;
    VmcShareFile *file = fuse_file(call, in->fh);
    int err = file ? vmc_share_fsync(file, in->fsync_flags & FUSE_FSYNC_FDATASYNC) : -EBADF;

    vmc_share_file_unref(file);
    return err;
}

int fuse_syncfs(FuseCall *call)
{
    return vmc_share_syncfs(fuse_share(call->fuse));
}

int fuse_fallocate(FuseCall *call)
{
    const struct fuse_fallocate_in *in = call->args;
    VmcShareFile *file = fuse_file(call, in->fh);
    int err = file ? vmc_share_fallocate(file, (int)in->mode, in->offset, in->length) : -EBADF;

    vmc_share_file_unref(file);
    return err;
}

int fuse_lseek(FuseCall *call)
{
    const struct fuse_lseek_in *in = call->args;
    VmcShareFile *file = fuse_file(call, in->fh);

    if (!file)
        return -EBADF;
    int64_t at = vmc_share_lseek(file, (int64_t)in->offset, (int)in->whence);
    vmc_share_file_unref(file);
    if (at < 0)
        return (int)at;
    struct fuse_lseek_out out = {.offset = (uint64_t)at};
    fuse_reply(call, &out, sizeof(out));
    return 0;
}

int fuse_copy_file_range(FuseCall *call)
{
    const struct fuse_copy_file_range_in *in = call->args;
    FuseCall other = *call;
    struct fuse_write_out out = {0};

    if (in->flags)
        return -EINVAL;
    other.nodeid = in->nodeid_out;
    VmcShareFile *from = fuse_file(call, in->fh_in), *to = fuse_file(&other, in->fh_out);
    ssize_t done = from && to ? vmc_share_copy(from, in->off_in, to, in->off_out, in->len) : (ssize_t)-EBADF;
    vmc_share_file_unref(from);
    vmc_share_file_unref(to);
    if (done < 0)
        return (int)done;
    out.size = (uint32_t)done;
    fuse_reply(call, &out, sizeof(out));
    return 0;
}

/* ---- locks ---- */

/* To and from "to the end of the file", which the guest's kernel writes as its OFFSET_MAX. */
static VmcShareLock lock_of(const FuseCall *call, const struct fuse_lk_in *in)
{
    return (VmcShareLock){
        .session = call->fuse,
        .owner = in->owner,
        .type = (int)in->lk.type,
        .start = in->lk.start,
        .end = MIN(in->lk.end, (uint64_t)INT64_MAX),
    };
}

int fuse_getlk(FuseCall *call)
{
    const struct fuse_lk_in *in = call->args;
    VmcShareNode *node = fuse_node(call->fuse, call->nodeid);
    VmcShareLock lock = lock_of(call, in);
    int err = node ? vmc_share_getlk(node, &lock) : -ESTALE;

    vmc_share_node_unref(node);
    if (err)
        return err;
    /* Whose lock it is cannot be told: it may be a process of the host. */
    struct fuse_lk_out out = {.lk = {.start = lock.start, .end = lock.end, .type = (uint32_t)lock.type}};
    fuse_reply(call, &out, sizeof(out));
    return 0;
}

static int flock_operation(uint32_t type)
{
    return type == F_RDLCK ? LOCK_SH : type == F_WRLCK ? LOCK_EX : type == F_UNLCK ? LOCK_UN : 0;
}

/* The file must be open still: a process's locks on it end when it closes it. */
int fuse_setlk(FuseCall *call)
{
    const struct fuse_lk_in *in = call->args;
    VmcShareFile *file = fuse_file(call, in->fh);
    VmcShareLock lock = lock_of(call, in);
    int err;

    if (!file)
        return -EBADF;
    if (in->lk_flags & FUSE_LK_FLOCK)
        err = vmc_share_flock(file, flock_operation(in->lk.type));
    else
        err = vmc_share_setlk(vmc_share_file_node(file), &lock);
    vmc_share_file_unref(file);
    return err;
}

int fuse_setlkw(FuseCall *call)
{
    int err = fuse_setlk(call);

    return err == -EAGAIN ? FUSE_CALL_WAIT : err;
}
