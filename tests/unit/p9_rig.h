/*
 * virtio-9p for tests as a guest's driver uses it: 9P2000.L messages through a ring, on a real folder.
 * Message numbers and layouts are written down here once more, from diod's protocol.md, not taken from the
 * device.
 */
#pragma once

#include "tests/unit/folder.h"
#include "tests/unit/virtio_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE     128u
#define ROOM     0x100000u /* for what the guest says, and for an answer */
#define SLOTS    40u       /* of 1 KiB each, for requests that stay out; they have 3 descriptors */
#define MSIZE    65536u
#define NOFID    0xffffffffu
#define QUEUE    (&p->rig.queues[0])
#define WAITING  (G_TIME_SPAN_MILLISECOND * 60)
#define PATIENCE (60 * G_TIME_SPAN_SECOND) /* the host's disk may have other things to do */
#define UID      501u
#define GID      20u
#define FIDS     65536u

enum {
    STATFS = 8,
    LOPEN = 12,
    LCREATE = 14,
    SYMLINK = 16,
    MKNOD = 18,
    RENAME = 20,
    READLINK = 22,
    GETATTR = 24,
    SETATTR = 26,
    XATTRWALK = 30,
    XATTRCREATE = 32,
    READDIR = 40,
    FSYNC = 50,
    LOCK = 52,
    GETLOCK = 54,
    LINK = 70,
    MKDIR = 72,
    RENAMEAT = 74,
    UNLINKAT = 76,
    VERSION = 100,
    AUTH = 102,
    ATTACH = 104,
    FLUSH = 108,
    WALK = 110,
    READ = 116,
    WRITE = 118,
    CLUNK = 120,
    REMOVE = 122,
};

typedef struct P9 {
    Rig rig;
    char *folder;
    uint64_t out, in;
    uint16_t tag;
    /* The message being made, and the answer being read. */
    uint8_t text[ROOM];
    size_t len;
    const uint8_t *answer;
    size_t answer_len;
} P9;

/* ---- making messages: b, w, d, q: 1, 2, 4, 8 bytes; s: a string ---- */

static inline void put(P9 *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p->text[p->len++] = (uint8_t)(value >> 8 * i);
}

static inline void begin(P9 *p, uint8_t type)
{
    p->len = 0;
    put(p, 0, 4);
    put(p, type, 1);
    put(p, ++p->tag, 2);
}

static inline void add_string(P9 *p, const char *text)
{
    put(p, strlen(text), 2);
    memcpy(p->text + p->len, text, strlen(text));
    p->len += strlen(text);
}

static inline void say_list(P9 *p, uint8_t type, const char *form, va_list args)
{
    begin(p, type);
    for (; *form; form++) {
        switch (*form) {
        case 'b':
            put(p, va_arg(args, unsigned), 1);
            break;
        case 'w':
            put(p, va_arg(args, unsigned), 2);
            break;
        case 'd':
            put(p, va_arg(args, unsigned), 4);
            break;
        case 'q':
            put(p, va_arg(args, uint64_t), 8);
            break;
        default:
            add_string(p, va_arg(args, const char *));
        }
    }
}

/* Of what is longer than a number, such as a qid, its first eight bytes. */
static inline uint64_t get(P9 *p, unsigned bytes)
{
    uint64_t value = 0;

    assert_true(p->answer_len >= bytes);
    for (unsigned i = 0; i < MIN(bytes, 8); i++)
        value |= (uint64_t)p->answer[i] << 8 * i;
    p->answer += bytes;
    p->answer_len -= bytes;
    return value;
}

/* ---- the ring ---- */

/* Puts the message into the ring with a room of that size at `in` for the answer; its head. */
static inline uint16_t post(P9 *p, uint64_t out, uint64_t in, uint32_t in_len)
{
    RigBuffer buffers[3] = {{out, 7}, {out + 7, (uint32_t)p->len - 7}, {in, in_len}};
    uint32_t size = (uint32_t)p->len;

    memcpy(p->text, &size, 4);
    memcpy(rig_host(&p->rig, out, p->len), p->text, p->len);
    memset(rig_host(&p->rig, in, 16), 0, 16);
    uint16_t head = p->len > 7
                        ? rig_add(&p->rig, QUEUE, buffers, 2, in_len != 0)
                        : rig_add(&p->rig, QUEUE, (RigBuffer[]){buffers[0], buffers[2]}, 1, in_len != 0);
    rig_kick(&p->rig, QUEUE);
    return head;
}

static inline struct vring_used_elem take_used(P9 *p)
{
    struct vring_used_elem used = {0};

    if (!rig_wait_used(&p->rig, QUEUE, &used, PATIENCE))
        fail_msg("no answer; status %#x", rig_status(&p->rig));
    return used;
}

/* Takes the answer at `in` apart: 0, then `answer` is behind its header, or a negative errno value. */
static inline int look(P9 *p, uint64_t in, uint32_t len, uint8_t type, uint16_t tag)
{
    p->answer = rig_host(&p->rig, in, len);
    p->answer_len = len;
    assert_true(len >= 7);
    assert_int_equal(get(p, 4), len);
    uint8_t what = (uint8_t)get(p, 1);
    assert_int_equal(get(p, 2), tag);
    if (what == 7) {
        assert_int_equal(len, 11);
        return -(int)get(p, 4);
    }
    assert_int_equal(what, type + 1);
    return 0;
}

static inline int ask_room(P9 *p, uint32_t in_len)
{
    uint8_t type = p->text[4];
    uint16_t head = post(p, p->out, p->in, in_len);
    struct vring_used_elem used = take_used(p);

    assert_int_equal(used.id, head);
    return used.len ? look(p, p->in, used.len, type, p->tag) : -ENOMSG;
}

static inline int ask(P9 *p, uint8_t type, const char *form, ...)
{
    va_list args;

    va_start(args, form);
    say_list(p, type, form, args);
    va_end(args);
    return ask_room(p, ROOM);
}

/* Sends what stays out, in a slot; its head. */
static inline uint16_t send_slot(P9 *p, unsigned slot, uint8_t type, const char *form, ...)
{
    va_list args;

    va_start(args, form);
    say_list(p, type, form, args);
    va_end(args);
    return post(p, p->out + ROOM + 1024 * slot, p->in + ROOM + 1024 * slot, 1024);
}

static inline int slot_answer(P9 *p, unsigned slot, uint32_t len, uint8_t type, uint16_t tag)
{
    return look(p, p->in + ROOM + 1024 * slot, len, type, tag);
}

/* ---- setting up ---- */

static inline P9 *plug(bool readonly)
{
    P9 *p = g_new0(P9, 1);
    GError *error = NULL;
    VmcShareOptions options = {.readonly = readonly, .uid = UID, .gid = GID};

    p->folder = g_dir_make_tmp("virtio-9p-XXXXXX", NULL);
    rig_init(&p->rig);
    VmcShare *share = vmc_share_new(p->folder, &options, &error);
    if (!share)
        fail_msg("%s", error->message);
    rig_plug(&p->rig, vmc_virtio_p9_new(&p->rig.host, share, "folder", (VmcShareCaller){UID, GID}));
    p->out = rig_alloc(&p->rig, ROOM + 1024 * SLOTS);
    p->in = rig_alloc(&p->rig, ROOM + 1024 * SLOTS);
    return p;
}

static inline void attach(P9 *p)
{
    assert_int_equal(ask(p, VERSION, "ds", MSIZE, "9P2000.L"), 0);
    assert_int_equal(get(p, 4), MSIZE);
    assert_int_equal(ask(p, ATTACH, "ddssd", 0, NOFID, "nobody", "", 0), 0);
}

static inline P9 *plug_and_attach(bool readonly)
{
    P9 *p = plug(readonly);

    rig_bring_up(&p->rig, RIG_FEATURES | 1, 1, SIZE);
    attach(p);
    return p;
}

static inline int setup(void **state)
{
    *state = plug_and_attach(false);
    return 0;
}

static inline int teardown(void **state)
{
    P9 *p = *state;

    rig_clear(&p->rig);
    remove_folder(p->folder);
    g_free(p->folder);
    g_free(p);
    return 0;
}

static inline char *at(const P9 *p, const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", p->folder, name);
    return path;
}

static inline void host_writes(const P9 *p, const char *name, const char *text)
{
    assert_true(g_file_set_contents(at(p, name), text, -1, NULL));
}

/* ---- short ways ---- */

static inline int walk(P9 *p, unsigned from, unsigned to, const char *name)
{
    return name ? ask(p, WALK, "ddws", from, to, 1, name) : ask(p, WALK, "ddw", from, to, 0);
}

static inline int clunk(P9 *p, unsigned fid)
{
    return ask(p, CLUNK, "d", fid);
}

/* Makes a file in the root and opens it. */
static inline void create(P9 *p, unsigned fid, const char *name)
{
    assert_int_equal(walk(p, 0, fid, NULL), 0);
    assert_int_equal(ask(p, LCREATE, "dsddd", fid, name, O_RDWR, 0644, 0), 0);
}

static inline int write_file(P9 *p, unsigned fid, uint64_t offset, const void *data, uint32_t len)
{
    begin(p, WRITE);
    put(p, fid, 4);
    put(p, offset, 8);
    put(p, len, 4);
    memcpy(p->text + p->len, data, len);
    p->len += len;
    int err = ask_room(p, 11);
    return err ? err : (int)get(p, 4);
}

static inline int read_file(P9 *p, unsigned fid, uint64_t offset, uint32_t count)
{
    int err = ask(p, READ, "dqd", fid, offset, count);

    if (err)
        return err;
    uint32_t len = (uint32_t)get(p, 4);
    assert_int_equal(len, p->answer_len);
    return (int)len;
}

typedef struct Attr {
    uint64_t valid, ino, nlink, size, blksize, mtime;
    uint8_t type;
    uint32_t mode, uid, gid, version;
} Attr;

static inline int getattr(P9 *p, unsigned fid, Attr *attr)
{
    int err = ask(p, GETATTR, "dq", fid, UINT64_C(0x7ff));

    if (err)
        return err;
    assert_int_equal(p->answer_len, 153);
    attr->valid = get(p, 8);
    attr->type = (uint8_t)get(p, 1);
    attr->version = (uint32_t)get(p, 4);
    attr->ino = get(p, 8);
    attr->mode = (uint32_t)get(p, 4);
    attr->uid = (uint32_t)get(p, 4);
    attr->gid = (uint32_t)get(p, 4);
    attr->nlink = get(p, 8);
    get(p, 8);
    attr->size = get(p, 8);
    attr->blksize = get(p, 8);
    get(p, 8 * 1);
    get(p, 8), get(p, 8);
    attr->mtime = get(p, 8);
    return 0;
}

#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define PLAIN(name) cmocka_unit_test_teardown(name, teardown)
