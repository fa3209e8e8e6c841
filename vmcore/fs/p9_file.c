/* 9P requests about open files, their data, and locks. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fs/p9_internal.h"
#include "base/vectors.h"

#define READDIR_MAX (256u << 10)
#define ENTRY_BYTES 24u /* qid[13] offset[8] type[1] and the length of the name[s] */

/* Open flags, which are Linux' on most processors. */
enum {
    OPEN_ACCESS = 03,
    OPEN_EXCL = 0200,
    OPEN_TRUNC = 01000,
    OPEN_APPEND = 02000,
    OPEN_DSYNC = 010000,
    OPEN_DIRECTORY = 0200000,
    OPEN_SYNC = 04000000,
};

/* Tlock's flags. Its types are 0, 1 and 2 for F_RDLCK, F_WRLCK and F_UNLCK. */
#define LOCK_FLAG_BLOCK 1u

/* ---- opening ---- */

/* What the guest's kernel does itself (O_CREAT on what it looked up, O_DIRECT, O_NONBLOCK ...) is dropped. */
static int open_flags(uint32_t theirs)
{
    int flags = (int)(theirs & OPEN_ACCESS);

    flags |= theirs & OPEN_EXCL ? O_EXCL : 0;
    flags |= theirs & OPEN_TRUNC ? O_TRUNC : 0;
    flags |= theirs & OPEN_APPEND ? O_APPEND : 0;
    flags |= theirs & OPEN_DSYNC ? O_DSYNC : 0;
    flags |= theirs & OPEN_SYNC ? O_SYNC : 0;
    flags |= theirs & OPEN_DIRECTORY ? O_DIRECTORY : 0;
    return flags;
}

static int open_fid(P9Call *call, const P9Use *use, int flags)
{
    VmcShareAttr attr;
    VmcShareFile *file;

    if (use->file)
        return -EBADF;
    int err = vmc_share_open(use->node, flags, &file);
    if (err)
        return err;
    if (flags & O_TRUNC)
        err = vmc_share_kill_privs(file);
    if (!err)
        err = vmc_share_getattr(use->node, file, &attr);
    if (err) {
        vmc_share_file_unref(file);
        return err;
    }
    p9_put_qid(call, &attr);
    p9_put_u32(call, p9_iounit(call, attr.blksize));
    return p9_opened(call, use, file, NULL, NULL);
}

/* fid[4] flags[4] */
int p9_lopen(P9Call *call)
{
    uint32_t number = p9_u32(call), flags = p9_u32(call);
    P9Use use;

    if (call->bad || (flags & OPEN_ACCESS) == OPEN_ACCESS)
        return -EINVAL;
    int err = p9_use(call, number, &use);
    if (!err)
        err = open_fid(call, &use, open_flags(flags));
    p9_done(call, &use);
    return err;
}

/* fid[4] name[s] flags[4] mode[4] gid[4]: the fid is a directory's and then the new file's. */
int p9_lcreate(P9Call *call)
{
    uint32_t number = p9_u32(call);
    VmcShareAttr attr = {0};
    VmcShareFile *file;
    VmcShareNode *node;
    P9Name name;
    P9Use use;

    p9_name(call, name);
    uint32_t flags = p9_u32(call), mode = p9_u32(call);
    p9_u32(call);
    if (call->bad || (flags & OPEN_ACCESS) == OPEN_ACCESS)
        return -EINVAL;
    int err = p9_use(call, number, &use);
    if (!err && use.file)
        err = -EBADF;
    if (!err)
        err = vmc_share_create(use.node, name, &call->who, open_flags(flags), mode & 07777, &node, &attr,
                               &file);
    if (!err) {
        p9_put_qid(call, &attr);
        p9_put_u32(call, p9_iounit(call, attr.blksize));
        err = p9_opened(call, &use, file, node, name);
    }
    p9_done(call, &use);
    return err;
}

/* ---- data ---- */

/* How much fits: into a message, and into what this one has. */
static uint32_t data_room(const P9Call *call, uint32_t count)
{
    return (uint32_t)MIN(count, p9_room(call) - 4);
}

static int read_file(P9Call *call, VmcShareFile *file, uint64_t offset, uint32_t count)
{
    VmcP9Message *message = call->message;
    VmcIovWindow window;

    vmc_iov_window_open(&window, message->in, message->n_in, P9_DATA_HEADER, data_room(call, count));
    ssize_t done = vmc_share_read(file, window.iov, window.n, offset);
    vmc_iov_window_close(&window);
    if (done < 0)
        return (int)done;
    uint32_t length = GUINT32_TO_LE((uint32_t)done);
    vmc_iov_write(message->in, message->n_in, VMC_P9_HEADER, &length, sizeof(length));
    call->in_place = true;
    call->reply_len = sizeof(length) + (size_t)done;
    return 0;
}

/* fid[4] offset[8] count[4] */
int p9_read(P9Call *call)
{
    uint32_t number = p9_u32(call);
    uint64_t offset = p9_u64(call);
    uint32_t count = p9_u32(call);
    P9Use use;
    int err;

    if (call->bad)
        return -EINVAL;
    P9Xattr *xattr = p9_use_xattr(call, number, &use);
    if (xattr)
        err = p9_xattr_read(call, xattr, offset, data_room(call, count));
    else
        err = use.file ? read_file(call, use.file, offset, count) : -EBADF;
    p9_done(call, &use);
    return err;
}

static int write_file(P9Call *call, VmcShareFile *file, uint64_t offset, uint32_t count)
{
    VmcP9Message *message = call->message;
    VmcIovWindow window;

    vmc_iov_window_open(&window, message->out, message->n_out, VMC_P9_HEADER + P9_READ_ARGS, count);
    ssize_t done = vmc_share_write(file, window.iov, window.n, offset, true);
    vmc_iov_window_close(&window);
    if (done >= 0)
        p9_put_u32(call, (uint32_t)done);
    return (int)MIN(done, 0);
}

/* fid[4] offset[8] count[4] data[count] */
int p9_write(P9Call *call)
{
    uint32_t number = p9_u32(call);
    uint64_t offset = p9_u64(call);
    uint32_t count = p9_u32(call);
    P9Use use;
    int err;

    if (call->bad || count > call->message->size - VMC_P9_HEADER - P9_READ_ARGS)
        return -EINVAL;
    P9Xattr *xattr = p9_use_xattr(call, number, &use);
    if (xattr)
        err = p9_xattr_write(call, xattr, offset, count);
    else
        err = use.file ? write_file(call, use.file, offset, count) : -EBADF;
    p9_done(call, &use);
    return err;
}

/* fid[4] datasync[4], which older clients leave out */
int p9_fsync(P9Call *call)
{
    uint32_t number = p9_u32(call), data_only = call->args_len ? p9_u32(call) : 0;
    P9Use use;

    if (call->bad)
        return -EINVAL;
    int err = p9_use_open(call, number, &use);
    if (!err)
        err = vmc_share_fsync(use.file, data_only);
    p9_done(call, &use);
    return err;
}

/* ---- directories ---- */

typedef struct Listing {
    P9Call *call;
    size_t max; /* of the answer */
    bool full;  /* not one more record fits */
} Listing;

static mode_t mode_of_entry(unsigned type)
{
    return type == DT_DIR ? S_IFDIR : type == DT_LNK ? S_IFLNK : S_IFREG;
}

/* The qid's version is not known without a look at the file; nobody asks for it here. */
static bool add_entry(void *opaque, const VmcShareDirEntry *entry)
{
    Listing *listing = opaque;
    P9Call *call = listing->call;
    VmcShareAttr attr = {.ino = entry->ino, .mode = mode_of_entry(entry->type)};

    listing->full = ENTRY_BYTES + entry->name_len > listing->max - call->reply_len;
    if (listing->full)
        return false;
    p9_put_qid(call, &attr);
    p9_put_u64(call, entry->next);
    p9_put_u8(call, (uint8_t)entry->type);
    p9_put_u16(call, (uint16_t)entry->name_len);
    p9_put_bytes(call, entry->name, entry->name_len);
    return true;
}

static int list(P9Call *call, VmcShareFile *file, uint64_t offset, uint32_t count)
{
    Listing listing = {.call = call, .max = 4 + MIN(data_room(call, count), READDIR_MAX)};

    p9_reply_buffer(call, listing.max);
    p9_put_u32(call, 0);
    int err = vmc_share_readdir(file, offset, add_entry, &listing);
    uint32_t length = (uint32_t)call->reply_len - 4;
    if (!length && (err || listing.full))
        return err ? err : -EINVAL;
    length = GUINT32_TO_LE(length);
    memcpy(call->reply, &length, sizeof(length));
    return 0;
}

/* fid[4] offset[8] count[4] */
int p9_readdir(P9Call *call)
{
    uint32_t number = p9_u32(call);
    uint64_t offset = p9_u64(call);
    uint32_t count = p9_u32(call);
    P9Use use;

    if (call->bad)
        return -EINVAL;
    int err = p9_use_open(call, number, &use);
    if (!err)
        err = list(call, use.file, offset, count);
    p9_done(call, &use);
    return err;
}

/* ---- locks ---- */

/* start[8] length[8] proc_id[4] client_id[s]. Length 0: to the end of the file. The process is known by its
 * number and by the name of the computer it runs on. */
static VmcShareLock take_lock(P9Call *call, uint8_t type, const char **client, uint16_t *client_len)
{
    uint64_t start = p9_u64(call), length = p9_u64(call), end = INT64_MAX;
    uint32_t process = p9_u32(call), computer = 5381;

    *client = p9_bytes(call, client_len);
    for (unsigned i = 0; i < *client_len; i++)
        computer = computer * 33 + (uint8_t)(*client)[i];
    if (length && (__builtin_add_overflow(start, length - 1, &end) || end > INT64_MAX))
        call->bad = true;
    if (type > 2)
        call->bad = true;
    return (VmcShareLock){
        .session = call->p9,
        .owner = (uint64_t)computer << 32 | process,
        .type = type == 0   ? F_RDLCK
                : type == 1 ? F_WRLCK
                            : F_UNLCK,
        .start = start,
        .end = end,
    };
}

static int set_lock(P9Call *call, const P9Use *use, const VmcShareLock *lock)
{
    bool unlocks = lock->type == F_UNLCK;
    int err = unlocks ? 0 : p9_note_owner(call, use, lock->owner, true);

    if (!err)
        err = vmc_share_setlk(use->node, lock);
    if (!err && unlocks && !lock->start && lock->end == INT64_MAX)
        p9_note_owner(call, use, lock->owner, false);
    return err;
}

/* fid[4] type[1] flags[4] start[8] length[8] proc_id[4] client_id[s]. Linux' client asks again after half a
 * minute when it hears that a lock is blocked, so one that may wait gets its answer when it has the lock. */
int p9_lock(P9Call *call)
{
    uint32_t number = p9_u32(call);
    uint8_t type = p9_u8(call);
    uint32_t flags = p9_u32(call);
    const char *client;
    uint16_t client_len;
    VmcShareLock lock = take_lock(call, type, &client, &client_len);
    P9Use use;

    if (call->bad)
        return -EINVAL;
    int err = p9_use_open(call, number, &use);
    if (!err)
        err = set_lock(call, &use, &lock);
    p9_done(call, &use);
    if (err == -EAGAIN && flags & LOCK_FLAG_BLOCK)
        return P9_CALL_WAIT;
    if (err && err != -EAGAIN)
        return err;
    p9_put_u8(call, err ? P9_LOCK_BLOCKED : P9_LOCK_SUCCESS);
    return 0;
}

/* fid[4] type[1] start[8] length[8] proc_id[4] client_id[s], and so is the answer, without the fid. */
int p9_getlock(P9Call *call)
{
    uint32_t number = p9_u32(call);
    uint8_t type = p9_u8(call);
    const char *client;
    uint16_t client_len;
    VmcShareLock lock = take_lock(call, type, &client, &client_len);
    size_t max = 23 + (size_t)client_len;
    P9Use use;

    if (call->bad || p9_room(call) < max)
        return -EINVAL;
    int err = p9_use_open(call, number, &use);
    /* Linux' client first looks among its own locks and then sends the type that this look left: nothing. */
    if (!err && lock.type != F_UNLCK)
        err = vmc_share_getlk(use.node, &lock);
    p9_done(call, &use);
    if (err)
        return err;
    p9_reply_buffer(call, max);
    p9_put_u8(call, lock.type == F_RDLCK ? 0 : lock.type == F_WRLCK ? 1 : 2);
    p9_put_u64(call, lock.start);
    p9_put_u64(call, lock.end == INT64_MAX ? 0 : lock.end - lock.start + 1);
    /* Whose lock it is cannot be told: it may be a process of the host. */
    p9_put_u32(call, 0);
    p9_put_u16(call, client_len);
    p9_put_bytes(call, client, client_len);
    return 0;
}
