/*
 * FUSE: sessions, what the guest knows, and which request goes where.
 *
 * A request is a header, arguments of a fixed size, and names that end with a NUL. The table at the end says
 * for each what it has and how long its answer is at least; a message without room for that is refused before
 * anything is done, so the guest never misses that it got to know a node.
 *
 * The guest counts how often it was told of a node and gives the count back with FORGET; until then the node
 * is in `nodes`. Node and file numbers are never used again.
 */
#include <errno.h>
#include <string.h>

#include "fs/fuse_internal.h"
#include "base/vectors.h"

#define ARGS_MAX      (VMC_SHARE_XATTR_MAX + 4096u) /* of any request but WRITE */
#define ARGS_ON_STACK 1024u
#define REPLY_SMALL   256u
#define MINOR_MIN     12u

typedef struct Known {
    VmcShareNode *node; /* a reference */
    uint64_t count;
} Known;

struct VmcFuse {
    VmcShare *share;
    VmcShareCache cache;

    GMutex lock;
    bool started; /* INIT was seen */
    uint64_t next_file;
    GHashTable *nodes; /* number -> Known */
    GHashTable *files; /* number -> VmcShareFile, a reference */
};

/* ---- what the guest knows ---- */

static void free_known(gpointer data)
{
    Known *known = data;

    vmc_share_node_unref(known->node);
    g_free(known);
}

static void unref_file(gpointer data)
{
    vmc_share_file_unref(data);
}

static void make_tables(VmcFuse *fuse)
{
    fuse->nodes = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, free_known);
    fuse->files = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, unref_file);
}

static gpointer number_key(uint64_t number)
{
    return g_memdup2(&number, sizeof(number));
}

VmcShareNode *fuse_node(VmcFuse *fuse, uint64_t nodeid)
{
    VmcShareNode *node = NULL;

    if (nodeid == FUSE_ROOT_ID)
        return vmc_share_root(fuse->share);
    g_mutex_lock(&fuse->lock);
    Known *known = g_hash_table_lookup(fuse->nodes, &nodeid);
    if (known)
        node = vmc_share_node_ref(known->node);
    g_mutex_unlock(&fuse->lock);
    return node;
}

void fuse_remember(VmcFuse *fuse, VmcShareNode *node)
{
    uint64_t id = vmc_share_node_id(node);

    g_mutex_lock(&fuse->lock);
    Known *known = g_hash_table_lookup(fuse->nodes, &id);
    if (known) {
        known->count++;
    } else if (id != FUSE_ROOT_ID) {
        known = g_new(Known, 1);
        *known = (Known){vmc_share_node_ref(node), 1};
        g_hash_table_insert(fuse->nodes, number_key(id), known);
    }
    g_mutex_unlock(&fuse->lock);
    vmc_share_node_unref(node);
}

static void forget_one(VmcFuse *fuse, uint64_t nodeid, uint64_t times)
{
    g_mutex_lock(&fuse->lock);
    Known *known = g_hash_table_lookup(fuse->nodes, &nodeid);
    if (known && known->count > times)
        known->count -= times;
    else if (known)
        g_hash_table_remove(fuse->nodes, &nodeid);
    g_mutex_unlock(&fuse->lock);
}

/* With a file that is not of the call's node the guest is mistaken. */
static bool is_of_call(const FuseCall *call, VmcShareFile *file)
{
    return file && vmc_share_node_id(vmc_share_file_node(file)) == call->nodeid;
}

VmcShareFile *fuse_file(FuseCall *call, uint64_t fh)
{
    VmcFuse *fuse = call->fuse;

    g_mutex_lock(&fuse->lock);
    VmcShareFile *file = g_hash_table_lookup(fuse->files, &fh);
    file = is_of_call(call, file) ? vmc_share_file_ref(file) : NULL;
    g_mutex_unlock(&fuse->lock);
    return file;
}

uint64_t fuse_add_file(VmcFuse *fuse, VmcShareFile *file)
{
    g_mutex_lock(&fuse->lock);
    uint64_t fh = ++fuse->next_file;
    g_hash_table_insert(fuse->files, number_key(fh), file);
    g_mutex_unlock(&fuse->lock);
    return fh;
}

VmcShareFile *fuse_take_file(FuseCall *call, uint64_t fh)
{
    VmcFuse *fuse = call->fuse;

    g_mutex_lock(&fuse->lock);
    VmcShareFile *file = g_hash_table_lookup(fuse->files, &fh);
    file = is_of_call(call, file) ? vmc_share_file_ref(file) : NULL;
    if (file)
        g_hash_table_remove(fuse->files, &fh);
    g_mutex_unlock(&fuse->lock);
    return file;
}

/* A new session: nothing is known, nothing open. Requests still at work hold what they need. */
static void start_anew(VmcFuse *fuse, bool started)
{
    g_mutex_lock(&fuse->lock);
    GHashTable *nodes = fuse->nodes, *files = fuse->files;
    make_tables(fuse);
    fuse->started = started;
    g_mutex_unlock(&fuse->lock);
    g_hash_table_unref(files);
    g_hash_table_unref(nodes);
}

VmcShare *fuse_share(const VmcFuse *fuse)
{
    return fuse->share;
}

VmcShareCache fuse_cache(const VmcFuse *fuse)
{
    return fuse->cache;
}

/* ---- attributes, as all requests give them ---- */

uint64_t fuse_valid_seconds(const VmcFuse *fuse)
{
    switch (fuse->cache) {
    case VMC_SHARE_CACHE_NONE:
        return 0;
    case VMC_SHARE_CACHE_ALWAYS:
        return 86400;
    default:
        return 1;
    }
}

void fuse_fill_attr(const VmcShareAttr *from, struct fuse_attr *attr)
{
    *attr = (struct fuse_attr){
        .ino = from->ino,
        .size = from->size,
        .blocks = from->blocks,
        .atime = (uint64_t)from->atime.tv_sec,
        .mtime = (uint64_t)from->mtime.tv_sec,
        .ctime = (uint64_t)from->ctime.tv_sec,
        .atimensec = (uint32_t)from->atime.tv_nsec,
        .mtimensec = (uint32_t)from->mtime.tv_nsec,
        .ctimensec = (uint32_t)from->ctime.tv_nsec,
        .mode = from->mode,
        .nlink = from->nlink,
        .uid = from->uid,
        .gid = from->gid,
        .blksize = from->blksize,
    };
}

void fuse_fill_entry(const VmcFuse *fuse, uint64_t nodeid, const VmcShareAttr *attr,
                     struct fuse_entry_out *entry)
{
    *entry = (struct fuse_entry_out){
        .nodeid = nodeid,
        .entry_valid = fuse_valid_seconds(fuse),
        .attr_valid = fuse_valid_seconds(fuse),
    };
    fuse_fill_attr(attr, &entry->attr);
}

/* ---- messages ---- */

bool vmc_fuse_read_header(VmcFuseMessage *message)
{
    struct fuse_in_header *header = &message->header;

    if (vmc_iov_copy(message->out, message->n_out, 0, header, sizeof(*header)) != sizeof(*header))
        return false;
    return header->len >= sizeof(*header) && header->len <= message->out_len;
}

bool vmc_fuse_read_args(const VmcFuseMessage *message, void *args, size_t len)
{
    size_t header = sizeof(message->header);

    return len <= message->header.len - header &&
           vmc_iov_copy(message->out, message->n_out, header, args, len) == len;
}

static size_t answer(VmcFuseMessage *message, int error, const void *data, size_t len)
{
    struct fuse_out_header header = {
        .len = (uint32_t)(sizeof(header) + len),
        .error = error,
        .unique = message->header.unique,
    };

    if (message->in_len < header.len)
        return 0;
    vmc_iov_write(message->in, message->n_in, 0, &header, sizeof(header));
    if (data)
        vmc_iov_write(message->in, message->n_in, sizeof(header), data, len);
    return header.len;
}

size_t vmc_fuse_fail(VmcFuseMessage *message, int error)
{
    return answer(message, error, NULL, 0);
}

void fuse_reply(FuseCall *call, const void *data, size_t len)
{
    g_assert(len <= call->reply_max - call->reply_len);
    memcpy(call->reply + call->reply_len, data, len);
    call->reply_len += len;
}

size_t fuse_room(const FuseCall *call)
{
    size_t all = call->message->in_len, header = sizeof(struct fuse_out_header);

    return all > header ? all - header : 0;
}

/* ---- starting and ending ---- */

/* What we have; the guest says what it has. */
static uint64_t wanted_flags(const VmcFuse *fuse)
{
    uint64_t flags = FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
                     FUSE_FLOCK_LOCKS | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |
                     FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_HANDLE_KILLPRIV_V2;

    /* Link texts never change; pages do when the host writes the file, and that shows in its time. */
    if (fuse->cache != VMC_SHARE_CACHE_NONE)
        flags |= FUSE_CACHE_SYMLINKS;
    if (fuse->cache != VMC_SHARE_CACHE_ALWAYS)
        flags |= FUSE_AUTO_INVAL_DATA;
    return flags;
}

static int fuse_init(FuseCall *call)
{
    struct fuse_init_in in = {0};
    struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION};
    size_t size = sizeof(out);

    /* Older ones have only the first 16 bytes. */
    memcpy(&in, call->rest, MIN(call->rest_len, sizeof(in)));
    if (in.major < FUSE_KERNEL_VERSION || (in.major == FUSE_KERNEL_VERSION && in.minor < MINOR_MIN))
        return -EPROTO;
    if (in.major == FUSE_KERNEL_VERSION) {
        start_anew(call->fuse, true);
        out.minor = MIN(in.minor, FUSE_KERNEL_MINOR_VERSION);
        out.max_readahead = in.max_readahead;
        out.flags = (uint32_t)(in.flags & wanted_flags(call->fuse));
        out.max_background = 64;
        out.congestion_threshold = 48;
        out.max_write = VMC_FUSE_WRITE_MAX;
        out.time_gran = 1;
        out.max_pages = VMC_FUSE_WRITE_MAX / 4096;
        if (in.minor < 23)
            size = FUSE_COMPAT_22_INIT_OUT_SIZE;
    }
    fuse_reply(call, &out, MIN(size, fuse_room(call)));
    return 0;
}

static int fuse_destroy(FuseCall *call)
{
    start_anew(call->fuse, false);
    return 0;
}

static int fuse_not_here(FuseCall *call)
{
    return -ENOSYS;
}

/* ---- the requests ---- */

typedef struct Request {
    FuseHandler handle;
    uint16_t args;   /* bytes of the fixed part */
    uint8_t names;   /* strings behind it */
    uint16_t answer; /* bytes there must be room for */
    bool at_once;    /* the handler knows FuseCall.at_once */
} Request;

#define ENTRY sizeof(struct fuse_entry_out)
#define OPEN  sizeof(struct fuse_open_out)

static const Request requests[] = {
    [FUSE_LOOKUP] = {fuse_lookup, 0, 1, ENTRY, true},
    [FUSE_GETATTR] = {fuse_getattr, sizeof(struct fuse_getattr_in), 0, sizeof(struct fuse_attr_out), true},
    [FUSE_SETATTR] = {fuse_setattr, sizeof(struct fuse_setattr_in), 0, sizeof(struct fuse_attr_out)},
    [FUSE_READLINK] = {fuse_readlink, 0, 0, 0},
    [FUSE_SYMLINK] = {fuse_symlink, 0, 2, ENTRY},
    [FUSE_MKNOD] = {fuse_mknod, sizeof(struct fuse_mknod_in), 1, ENTRY},
    [FUSE_MKDIR] = {fuse_mkdir, sizeof(struct fuse_mkdir_in), 1, ENTRY},
    [FUSE_UNLINK] = {fuse_unlink, 0, 1, 0},
    [FUSE_RMDIR] = {fuse_rmdir, 0, 1, 0},
    [FUSE_RENAME] = {fuse_rename, sizeof(struct fuse_rename_in), 2, 0},
    [FUSE_LINK] = {fuse_link, sizeof(struct fuse_link_in), 1, ENTRY},
    [FUSE_OPEN] = {fuse_open, sizeof(struct fuse_open_in), 0, OPEN},
    [FUSE_READ] = {fuse_read, sizeof(struct fuse_read_in), 0, 0, true},
    [FUSE_WRITE] = {fuse_write, sizeof(struct fuse_write_in), 0, sizeof(struct fuse_write_out)},
    [FUSE_STATFS] = {fuse_statfs, 0, 0, sizeof(struct fuse_statfs_out)},
    [FUSE_RELEASE] = {fuse_release, sizeof(struct fuse_release_in), 0, 0},
    [FUSE_FSYNC] = {fuse_fsync, sizeof(struct fuse_fsync_in), 0, 0},
    [FUSE_SETXATTR] = {fuse_setxattr, FUSE_COMPAT_SETXATTR_IN_SIZE, 1, 0},
    [FUSE_GETXATTR] = {fuse_getxattr, sizeof(struct fuse_getxattr_in), 1, 0},
    [FUSE_LISTXATTR] = {fuse_listxattr, sizeof(struct fuse_getxattr_in), 0, 0},
    [FUSE_REMOVEXATTR] = {fuse_removexattr, 0, 1, 0},
    [FUSE_FLUSH] = {fuse_flush, sizeof(struct fuse_flush_in), 0, 0, true},
    [FUSE_INIT] = {fuse_init, 0, 0, FUSE_COMPAT_22_INIT_OUT_SIZE},
    [FUSE_OPENDIR] = {fuse_opendir, sizeof(struct fuse_open_in), 0, OPEN},
    [FUSE_READDIR] = {fuse_readdir, sizeof(struct fuse_read_in), 0, 0},
    [FUSE_RELEASEDIR] = {fuse_release, sizeof(struct fuse_release_in), 0, 0},
    [FUSE_FSYNCDIR] = {fuse_fsync, sizeof(struct fuse_fsync_in), 0, 0},
    [FUSE_GETLK] = {fuse_getlk, sizeof(struct fuse_lk_in), 0, sizeof(struct fuse_lk_out)},
    [FUSE_SETLK] = {fuse_setlk, sizeof(struct fuse_lk_in), 0, 0},
    [FUSE_SETLKW] = {fuse_setlkw, sizeof(struct fuse_lk_in), 0, 0},
    [FUSE_ACCESS] = {fuse_access, sizeof(struct fuse_access_in), 0, 0},
    [FUSE_CREATE] = {fuse_create, sizeof(struct fuse_create_in), 1, ENTRY + OPEN},
    [FUSE_DESTROY] = {fuse_destroy, 0, 0, 0},
    [FUSE_IOCTL] = {fuse_not_here, 0, 0, 0},
    [FUSE_FALLOCATE] = {fuse_fallocate, sizeof(struct fuse_fallocate_in), 0, 0},
    [FUSE_READDIRPLUS] = {fuse_readdirplus, sizeof(struct fuse_read_in), 0, 0},
    [FUSE_RENAME2] = {fuse_rename2, sizeof(struct fuse_rename2_in), 2, 0},
    [FUSE_LSEEK] = {fuse_lseek, sizeof(struct fuse_lseek_in), 0, sizeof(struct fuse_lseek_out)},
    [FUSE_COPY_FILE_RANGE] = {fuse_copy_file_range, sizeof(struct fuse_copy_file_range_in), 0,
                              sizeof(struct fuse_write_out)},
    [FUSE_SYNCFS] = {fuse_syncfs, 0, 0, 0},
    [FUSE_TMPFILE] = {fuse_tmpfile, sizeof(struct fuse_create_in), 1, ENTRY + OPEN},
};

/* The next string of the rest; NULL if it does not end. */
static const char *take_name(FuseCall *call)
{
    const char *name = (const char *)call->rest;
    const uint8_t *end = memchr(call->rest, 0, call->rest_len);

    if (!end)
        return NULL;
    call->rest_len -= (size_t)(end + 1 - call->rest);
    call->rest = end + 1;
    return name;
}

/* Takes the copied arguments apart. */
static bool parse(FuseCall *call, const Request *request, const uint8_t *args, size_t len)
{
    if (len < request->args)
        return false;
    call->args = args;
    call->rest = args + request->args;
    call->rest_len = len - request->args;
    if (request->names && !(call->name = take_name(call)))
        return false;
    return request->names < 2 || (call->name2 = take_name(call));
}

static bool may_be_served(VmcFuse *fuse, uint32_t opcode)
{
    g_mutex_lock(&fuse->lock);
    bool started = fuse->started;
    g_mutex_unlock(&fuse->lock);
    return started || opcode == FUSE_INIT || opcode == FUSE_DESTROY;
}

static const Request *find_request(const VmcFuseMessage *message)
{
    uint32_t opcode = message->header.opcode;

    return opcode < G_N_ELEMENTS(requests) && requests[opcode].handle ? &requests[opcode] : NULL;
}

/* The message's arguments, copied: all there are, or for WRITE what comes before the data. NULL: too many. */
static void *copy_args(const VmcFuseMessage *message, const Request *request, void *on_stack, size_t *len)
{
    const struct fuse_in_header *header = &message->header;

    *len = header->len - sizeof(*header);
    if (request->handle == fuse_write)
        *len = MIN(*len, request->args);
    if (*len > ARGS_MAX)
        return NULL;
    void *args = *len <= ARGS_ON_STACK ? on_stack : g_malloc(*len);
    vmc_iov_copy(message->out, message->n_out, sizeof(*header), args, *len);
    return args;
}

static VmcFuseResult serve(VmcFuse *fuse, VmcFuseMessage *message, bool at_once, size_t *written)
{
    const struct fuse_in_header *header = &message->header;
    const Request *request = find_request(message);
    uint64_t small[REPLY_SMALL / 8], args_small[ARGS_ON_STACK / 8];
    FuseCall call = {
        .fuse = fuse,
        .message = message,
        .nodeid = header->nodeid,
        .who = {header->uid, header->gid},
        .at_once = at_once,
        .reply = (uint8_t *)small,
        .reply_max = sizeof(small),
    };
    void *args = NULL;
    size_t len;
    int err;

    if (!request)
        err = -ENOSYS;
    else if (!may_be_served(fuse, header->opcode))
        err = -EIO;
    else if (message->in_len < sizeof(struct fuse_out_header) + request->answer)
        err = -EINVAL;
    else if (!(args = copy_args(message, request, args_small, &len)))
        err = -E2BIG;
    else
        err = parse(&call, request, args, len) ? request->handle(&call) : -EINVAL;

    bool later = at_once && err == -EAGAIN;
    if (err != FUSE_CALL_WAIT && !later)
        *written =
            answer(message, MIN(err, 0), call.in_place || err ? NULL : call.reply, err ? 0 : call.reply_len);
    if (args != args_small)
        g_free(args);
    if (call.reply != (uint8_t *)small)
        g_free(call.reply);
    return later ? VMC_FUSE_LATER : err == FUSE_CALL_WAIT ? VMC_FUSE_WAIT : VMC_FUSE_DONE;
}

VmcFuseResult vmc_fuse_serve(VmcFuse *fuse, VmcFuseMessage *message, size_t *written)
{
    return serve(fuse, message, false, written);
}

VmcFuseResult vmc_fuse_serve_at_once(VmcFuse *fuse, VmcFuseMessage *message, size_t *written)
{
    const Request *request = find_request(message);

    return request && request->at_once ? serve(fuse, message, true, written) : VMC_FUSE_LATER;
}

uint8_t *fuse_reply_buffer(FuseCall *call, size_t max)
{
    if (max > call->reply_max) {
        call->reply = g_malloc(max);
        call->reply_max = max;
    }
    return call->reply;
}

bool vmc_fuse_forget(VmcFuse *fuse, VmcFuseMessage *message)
{
    const struct fuse_in_header *header = &message->header;
    struct fuse_forget_in forget;
    struct fuse_batch_forget_in batch;
    struct fuse_forget_one one;
    size_t at = sizeof(*header);

    if (header->opcode == FUSE_FORGET) {
        if (vmc_fuse_read_args(message, &forget, sizeof(forget)))
            forget_one(fuse, header->nodeid, forget.nlookup);
        return true;
    }
    if (header->opcode != FUSE_BATCH_FORGET)
        return false;
    if (!vmc_fuse_read_args(message, &batch, sizeof(batch)))
        return true;
    at += sizeof(batch);
    for (uint32_t i = 0; i < batch.count && at + sizeof(one) <= MIN(header->len, ARGS_MAX); i++) {
        vmc_iov_copy(message->out, message->n_out, at, &one, sizeof(one));
        forget_one(fuse, one.nodeid, one.nlookup);
        at += sizeof(one);
    }
    return true;
}

/* ---- saving ---- */

void vmc_fuse_save(VmcFuse *fuse, VmcStateWriter *w)
{
    GHashTableIter at;
    gpointer key, value;

    vmc_state_begin(w, "fuse", 1);
    vmc_state_put_bool(w, fuse->started);
    vmc_state_put_u64(w, vmc_share_next_id(fuse->share));
    vmc_state_put_u64(w, fuse->next_file);
    vmc_state_put_u32(w, g_hash_table_size(fuse->nodes));
    g_hash_table_iter_init(&at, fuse->nodes);
    while (g_hash_table_iter_next(&at, &key, &value)) {
        const Known *known = value;
        vmc_state_put_u64(w, *(const uint64_t *)key);
        vmc_state_put_u64(w, known->count);
        vmc_share_node_save(known->node, w);
    }
    vmc_state_put_u32(w, g_hash_table_size(fuse->files));
    g_hash_table_iter_init(&at, fuse->files);
    while (g_hash_table_iter_next(&at, &key, &value)) {
        vmc_state_put_u64(w, *(const uint64_t *)key);
        vmc_state_put_u64(w, vmc_share_node_id(vmc_share_file_node(value)));
        vmc_share_file_save(value, w);
    }
    vmc_state_end(w);
}

/* One that is not found, or is another node of the guest's by now, is not known any more: ESTALE. */
static void load_node(VmcFuse *fuse, VmcStateReader *r)
{
    uint64_t id = vmc_state_get_u64(r), count = vmc_state_get_u64(r);
    VmcShareNode *node = vmc_share_node_load(fuse->share, r);

    if (!node)
        return;
    if (g_hash_table_contains(fuse->nodes, &id) || id == FUSE_ROOT_ID || !vmc_share_node_renumber(node, id)) {
        vmc_share_node_unref(node);
        return;
    }
    Known *known = g_new(Known, 1);
    *known = (Known){node, count};
    g_hash_table_insert(fuse->nodes, number_key(id), known);
}

static void load_file(VmcFuse *fuse, VmcStateReader *r)
{
    uint64_t fh = vmc_state_get_u64(r), id = vmc_state_get_u64(r);
    VmcShareNode *node = vmc_state_ok(r) ? fuse_node(fuse, id) : NULL;
    VmcShareFile *file = vmc_share_file_load(node, r);

    vmc_share_node_unref(node);
    if (file && fh && fh <= fuse->next_file)
        g_hash_table_insert(fuse->files, number_key(fh), file);
    else
        vmc_share_file_unref(file);
}

bool vmc_fuse_load(VmcFuse *fuse, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "fuse", 1))
        return false;
    fuse->started = vmc_state_get_bool(r);
    vmc_share_set_next_id(fuse->share, vmc_state_get_u64_max(r, UINT64_MAX / 2));
    fuse->next_file = vmc_state_get_u64_max(r, UINT64_MAX / 2);
    for (uint32_t n = vmc_state_get_u32(r); n && vmc_state_ok(r); n--)
        load_node(fuse, r);
    for (uint32_t n = vmc_state_get_u32(r); n && vmc_state_ok(r); n--)
        load_file(fuse, r);
    return vmc_state_leave(r);
}

/* ---- lifecycle ---- */

VmcFuse *vmc_fuse_new(VmcShare *share, VmcShareCache cache)
{
    VmcFuse *fuse = g_new0(VmcFuse, 1);

    fuse->share = share;
    fuse->cache = cache;
    g_mutex_init(&fuse->lock);
    make_tables(fuse);
    return fuse;
}

void vmc_fuse_free(VmcFuse *fuse)
{
    if (!fuse)
        return;
    g_hash_table_unref(fuse->files);
    g_hash_table_unref(fuse->nodes);
    g_mutex_clear(&fuse->lock);
    g_free(fuse);
}
