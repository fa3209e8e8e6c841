/*
 * 9P: sessions, messages, and which request goes where.
 *
 * A request is size[4] type[1] tag[2] and arguments, all little-endian; a string is its length[2] and its
 * bytes. Handlers take arguments one by one from a copy; asking for more than there is marks the call as bad
 * and gives zeros, so a handler looks once, before it does anything. The table at the end says how long the
 * answer of each may be at least; a message without room for that is refused before anything is done.
 */
#include <errno.h>
#include <string.h>

#include "fs/p9_internal.h"
#include "base/vectors.h"

#define VERSION       "9P2000.L"
#define ARGS_MAX      16384u /* of any request but Twrite: 16 names, or a name and a link's text */
#define ARGS_ON_STACK 512u

/* ---- requests ---- */

static bool take(P9Call *call, void *buf, size_t len)
{
    if (len > call->args_len) {
        call->bad = true;
        memset(buf, 0, len);
        return false;
    }
    memcpy(buf, call->args, len);
    call->args += len;
    call->args_len -= len;
    return true;
}

uint8_t p9_u8(P9Call *call)
{
    uint8_t value;

    take(call, &value, sizeof(value));
    return value;
}

uint16_t p9_u16(P9Call *call)
{
    uint16_t value;

    take(call, &value, sizeof(value));
    return GUINT16_FROM_LE(value);
}

uint32_t p9_u32(P9Call *call)
{
    uint32_t value;

    take(call, &value, sizeof(value));
    return GUINT32_FROM_LE(value);
}

uint64_t p9_u64(P9Call *call)
{
    uint64_t value;

    take(call, &value, sizeof(value));
    return GUINT64_FROM_LE(value);
}

const char *p9_bytes(P9Call *call, uint16_t *len)
{
    const char *bytes;

    *len = p9_u16(call);
    if (*len > call->args_len) {
        call->bad = true;
        *len = 0;
    }
    bytes = (const char *)call->args;
    call->args += *len;
    call->args_len -= *len;
    return bytes;
}

void p9_string(P9Call *call, char *buf, size_t max)
{
    uint16_t len;
    const char *bytes = p9_bytes(call, &len);

    if (len > max || memchr(bytes, 0, len)) {
        call->bad = true;
        len = 0;
    }
    memcpy(buf, bytes, len);
    buf[len] = 0;
}

void p9_name(P9Call *call, P9Name name)
{
    uint16_t len;
    const char *bytes = p9_bytes(call, &len);
    size_t kept = MIN(len, sizeof(P9Name) - 1);

    if (memchr(bytes, 0, len)) {
        call->bad = true;
        kept = 0;
    }
    memcpy(name, bytes, kept);
    name[kept] = 0;
}

/* ---- answers ---- */

size_t p9_room(const P9Call *call)
{
    size_t all = MIN(call->message->in_len, call->msize);

    return all > VMC_P9_HEADER ? all - VMC_P9_HEADER : 0;
}

void p9_put_bytes(P9Call *call, const void *data, size_t len)
{
    g_assert(len <= call->reply_max - call->reply_len);
    memcpy(call->reply + call->reply_len, data, len);
    call->reply_len += len;
}

void p9_put_u8(P9Call *call, uint8_t value)
{
    p9_put_bytes(call, &value, sizeof(value));
}

void p9_put_u16(P9Call *call, uint16_t value)
{
    value = GUINT16_TO_LE(value);
    p9_put_bytes(call, &value, sizeof(value));
}

void p9_put_u32(P9Call *call, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    p9_put_bytes(call, &value, sizeof(value));
}

void p9_put_u64(P9Call *call, uint64_t value)
{
    value = GUINT64_TO_LE(value);
    p9_put_bytes(call, &value, sizeof(value));
}

/* A file's identity: type[1] version[4] path[8]. The version is another when the file has changed, and never
 * 0, by which Linux (since 6.4) knows files that must not be cached. */
void p9_put_qid(P9Call *call, const VmcShareAttr *attr)
{
    uint64_t changed =
        (uint64_t)attr->mtime.tv_sec * 1000000000u + (uint64_t)attr->mtime.tv_nsec + (attr->size << 8);
    uint32_t version = (uint32_t)(changed ^ changed >> 32);

    p9_put_u8(call, S_ISDIR(attr->mode) ? P9_QTDIR : S_ISLNK(attr->mode) ? P9_QTSYMLINK : P9_QTFILE);
    p9_put_u32(call, version ? version : 1);
    p9_put_u64(call, attr->ino);
}

void p9_reply_buffer(P9Call *call, size_t max)
{
    if (max > call->reply_max) {
        call->reply = g_malloc(max);
        call->reply_max = max;
    }
    call->reply_len = 0;
}

uint32_t p9_iounit(const P9Call *call, uint32_t blksize)
{
    uint32_t most = call->msize - P9_IO_HEADER;

    return blksize && blksize <= most ? most - most % blksize : most;
}

bool vmc_p9_read_header(VmcP9Message *message)
{
    uint8_t header[VMC_P9_HEADER];
    uint32_t size;

    message->type = 0;
    message->tag = 0;
    if (vmc_iov_copy(message->out, message->n_out, 0, header, sizeof(header)) != sizeof(header))
        return false;
    memcpy(&size, header, sizeof(size));
    memcpy(&message->tag, header + 5, sizeof(message->tag));
    message->size = GUINT32_FROM_LE(size);
    message->tag = GUINT16_FROM_LE(message->tag);
    message->type = header[4];
    return message->size >= sizeof(header) && message->size <= message->out_len;
}

/* `data` is NULL if it stands in the message already. */
static size_t answer(VmcP9Message *message, uint8_t type, const void *data, size_t len)
{
    uint8_t header[VMC_P9_HEADER];
    uint32_t size = GUINT32_TO_LE((uint32_t)(sizeof(header) + len));
    uint16_t tag = GUINT16_TO_LE(message->tag);

    if (message->in_len < sizeof(header) + len)
        return 0;
    memcpy(header, &size, sizeof(size));
    header[4] = type;
    memcpy(header + 5, &tag, sizeof(tag));
    vmc_iov_write(message->in, message->n_in, 0, header, sizeof(header));
    if (data)
        vmc_iov_write(message->in, message->n_in, sizeof(header), data, len);
    return sizeof(header) + len;
}

size_t vmc_p9_fail(VmcP9Message *message, int error)
{
    uint32_t code = GUINT32_TO_LE((uint32_t)-error);

    return answer(message, P9_TLERROR + 1, &code, sizeof(code));
}

size_t vmc_p9_flushed(VmcP9Message *message)
{
    return answer(message, P9_TFLUSH + 1, NULL, 0);
}

size_t vmc_p9_blocked(VmcP9Message *message)
{
    uint8_t status = P9_LOCK_BLOCKED;

    return answer(message, P9_TLOCK + 1, &status, sizeof(status));
}

bool vmc_p9_is_flush(const VmcP9Message *message, uint16_t *oldtag)
{
    uint16_t tag;

    if (message->type != P9_TFLUSH || message->size < VMC_P9_HEADER + sizeof(tag))
        return false;
    vmc_iov_copy(message->out, message->n_out, VMC_P9_HEADER, &tag, sizeof(tag));
    *oldtag = GUINT16_FROM_LE(tag);
    return true;
}

bool vmc_p9_may_unlock(const VmcP9Message *message)
{
    switch (message->type) {
    case P9_TLOCK:
    case P9_TCLUNK:
    case P9_TREMOVE:
    case P9_TVERSION:
        return true;
    default:
        return false;
    }
}

/* ---- starting and ending ---- */

static int p9_version(P9Call *call)
{
    uint32_t msize = p9_u32(call);
    uint16_t len;
    const char *wanted = p9_bytes(call, &len), *version = VERSION;

    if (call->bad)
        return -EINVAL;
    if (msize < VMC_P9_MSIZE_MIN)
        return -EMSGSIZE;
    msize = MIN(msize, VMC_P9_MSIZE_MAX);
    if (len == strlen(VERSION) && !memcmp(wanted, VERSION, len)) {
        p9_start_anew(call->p9, msize);
    } else {
        p9_start_anew(call->p9, 0);
        version = "unknown";
    }
    p9_put_u32(call, msize);
    p9_put_u16(call, (uint16_t)strlen(version));
    p9_put_bytes(call, version, strlen(version));
    return 0;
}

/* Nobody has to prove anything: the machine's whole guest may use the share. */
static int p9_auth(P9Call *call)
{
    return -EOPNOTSUPP;
}

/* fid[4] afid[4] uname[s] aname[s] n_uname[4]: all but the first ignored, see p9.h. */
static int p9_attach(P9Call *call)
{
    uint32_t number = p9_u32(call);
    VmcShareAttr attr;

    if (call->bad)
        return -EINVAL;
    VmcShareNode *root = vmc_share_root(call->p9->share);
    int err = vmc_share_getattr(root, NULL, &attr);
    if (err) {
        vmc_share_node_unref(root);
        return err;
    }
    err = p9_add(call, number, p9_fid_new(root, NULL, NULL));
    if (!err)
        p9_put_qid(call, &attr);
    return err;
}

static int p9_clunk(P9Call *call)
{
    uint32_t number = p9_u32(call);

    return call->bad ? -EINVAL : p9_give_back(call, number);
}

/* ---- the requests ---- */

typedef struct Request {
    P9Handler handle;
    uint16_t answer; /* bytes there must be room for, without the header */
} Request;

static const Request requests[P9_TYPES] = {
    [P9_TSTATFS] = {p9_statfs, 60},
    [P9_TLOPEN] = {p9_lopen, P9_QID_BYTES + 4},
    [P9_TLCREATE] = {p9_lcreate, P9_QID_BYTES + 4},
    [P9_TSYMLINK] = {p9_symlink, P9_QID_BYTES},
    [P9_TMKNOD] = {p9_mknod, P9_QID_BYTES},
    [P9_TRENAME] = {p9_rename, 0},
    [P9_TREADLINK] = {p9_readlink, 2},
    [P9_TGETATTR] = {p9_getattr, 153},
    [P9_TSETATTR] = {p9_setattr, 0},
    [P9_TXATTRWALK] = {p9_xattrwalk, 8},
    [P9_TXATTRCREATE] = {p9_xattrcreate, 0},
    [P9_TREADDIR] = {p9_readdir, 4},
    [P9_TFSYNC] = {p9_fsync, 0},
    [P9_TLOCK] = {p9_lock, 1},
    [P9_TGETLOCK] = {p9_getlock, 23},
    [P9_TLINK] = {p9_link, 0},
    [P9_TMKDIR] = {p9_mkdir, P9_QID_BYTES},
    [P9_TRENAMEAT] = {p9_renameat, 0},
    [P9_TUNLINKAT] = {p9_unlinkat, 0},
    [P9_TVERSION] = {p9_version, 6 + sizeof(VERSION) - 1},
    [P9_TAUTH] = {p9_auth, 0},
    [P9_TATTACH] = {p9_attach, P9_QID_BYTES},
    [P9_TWALK] = {p9_walk, 2},
    [P9_TREAD] = {p9_read, 4},
    [P9_TWRITE] = {p9_write, 4},
    [P9_TCLUNK] = {p9_clunk, 0},
    [P9_TREMOVE] = {p9_remove, 0},
};

/* The message's arguments, copied: all there are, or for Twrite what comes before the data. NULL: too many.
 */
static uint8_t *copy_args(P9Call *call, uint8_t *on_stack)
{
    const VmcP9Message *message = call->message;
    size_t len = message->size - VMC_P9_HEADER;

    if (message->type == P9_TWRITE)
        len = MIN(len, P9_READ_ARGS);
    if (len > ARGS_MAX)
        return NULL;
    uint8_t *args = len <= ARGS_ON_STACK ? on_stack : g_malloc(len);
    vmc_iov_copy(message->out, message->n_out, VMC_P9_HEADER, args, len);
    call->args = args;
    call->args_len = len;
    return args;
}

static uint32_t msize_of(VmcP9 *p9)
{
    g_mutex_lock(&p9->lock);
    uint32_t msize = p9->msize;
    g_mutex_unlock(&p9->lock);
    return msize;
}

VmcP9Result vmc_p9_serve(VmcP9 *p9, VmcP9Message *message, size_t *written)
{
    const Request *request = message->type < P9_TYPES ? &requests[message->type] : NULL;
    uint8_t small[P9_REPLY_SMALL], args_small[ARGS_ON_STACK], *args = NULL;
    P9Call call = {
        .p9 = p9,
        .message = message,
        .who = p9->owner,
        .msize = msize_of(p9),
        .reply = small,
        .reply_max = sizeof(small),
    };
    bool starts = message->type == P9_TVERSION;
    int err;

    if (starts)
        call.msize = VMC_P9_MSIZE_MAX;
    if (!request || !request->handle)
        err = -EOPNOTSUPP;
    else if (!call.msize)
        err = -EIO;
    else if (message->size > call.msize)
        err = -EMSGSIZE;
    else if (message->in_len < VMC_P9_HEADER + request->answer)
        err = -EINVAL;
    else if (!(args = copy_args(&call, args_small)))
        err = -E2BIG;
    else
        err = request->handle(&call);

    if (!err)
        *written = answer(message, message->type + 1, call.in_place ? NULL : call.reply, call.reply_len);
    else if (err != P9_CALL_WAIT)
        *written = vmc_p9_fail(message, err);
    if (args != args_small)
        g_free(args);
    if (call.reply != small)
        g_free(call.reply);
    return err == P9_CALL_WAIT ? VMC_P9_WAIT : VMC_P9_DONE;
}

/* ---- lifecycle ---- */

VmcP9 *vmc_p9_new(VmcShare *share, VmcShareCaller owner)
{
    VmcP9 *p9 = g_new0(VmcP9, 1);

    p9->share = share;
    p9->owner = owner;
    g_mutex_init(&p9->lock);
    p9_start_anew(p9, 0);
    return p9;
}

void vmc_p9_free(VmcP9 *p9)
{
    if (!p9)
        return;
    p9_start_anew(p9, 0);
    g_hash_table_unref(p9->fids);
    g_mutex_clear(&p9->lock);
    g_free(p9);
}
