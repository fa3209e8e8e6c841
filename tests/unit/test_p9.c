/*
 * virtio-9p as a guest's driver uses it: 9P2000.L messages through a ring, on a real folder. Message numbers
 * and layouts are written down here once more, from diod's protocol.md, not taken from the device.
 */
#include "tests/unit/virtio_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
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

static void put(P9 *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p->text[p->len++] = (uint8_t)(value >> 8 * i);
}

static void begin(P9 *p, uint8_t type)
{
    p->len = 0;
    put(p, 0, 4);
    put(p, type, 1);
    put(p, ++p->tag, 2);
}

static void add_string(P9 *p, const char *text)
{
    put(p, strlen(text), 2);
    memcpy(p->text + p->len, text, strlen(text));
    p->len += strlen(text);
}

static void say_list(P9 *p, uint8_t type, const char *form, va_list args)
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

static uint64_t get(P9 *p, unsigned bytes)
{
    uint64_t value = 0;

    assert_true(p->answer_len >= bytes);
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)p->answer[i] << 8 * i;
    p->answer += bytes;
    p->answer_len -= bytes;
    return value;
}

/* ---- the ring ---- */

/* Puts the message into the ring with a room of that size at `in` for the answer; its head. */
static uint16_t post(P9 *p, uint64_t out, uint64_t in, uint32_t in_len)
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

static struct vring_used_elem take_used(P9 *p)
{
    struct vring_used_elem used = {0};

    if (!rig_wait_used(&p->rig, QUEUE, &used, PATIENCE))
        fail_msg("no answer; status %#x", rig_status(&p->rig));
    return used;
}

/* Takes the answer at `in` apart: 0, then `answer` is behind its header, or a negative errno value. */
static int look(P9 *p, uint64_t in, uint32_t len, uint8_t type, uint16_t tag)
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

static int ask_room(P9 *p, uint32_t in_len)
{
    uint8_t type = p->text[4];
    uint16_t head = post(p, p->out, p->in, in_len);
    struct vring_used_elem used = take_used(p);

    assert_int_equal(used.id, head);
    return used.len ? look(p, p->in, used.len, type, p->tag) : -ENOMSG;
}

static int ask(P9 *p, uint8_t type, const char *form, ...)
{
    va_list args;

    va_start(args, form);
    say_list(p, type, form, args);
    va_end(args);
    return ask_room(p, ROOM);
}

/* Sends what stays out, in a slot; its head. */
static uint16_t send_slot(P9 *p, unsigned slot, uint8_t type, const char *form, ...)
{
    va_list args;

    va_start(args, form);
    say_list(p, type, form, args);
    va_end(args);
    return post(p, p->out + ROOM + 1024 * slot, p->in + ROOM + 1024 * slot, 1024);
}

static int slot_answer(P9 *p, unsigned slot, uint32_t len, uint8_t type, uint16_t tag)
{
    return look(p, p->in + ROOM + 1024 * slot, len, type, tag);
}

/* ---- setting up ---- */

static P9 *plug(bool readonly)
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

static void attach(P9 *p)
{
    assert_int_equal(ask(p, VERSION, "ds", MSIZE, "9P2000.L"), 0);
    assert_int_equal(get(p, 4), MSIZE);
    assert_int_equal(ask(p, ATTACH, "ddssd", 0, NOFID, "nobody", "", 0), 0);
}

static P9 *plug_and_attach(bool readonly)
{
    P9 *p = plug(readonly);

    rig_bring_up(&p->rig, RIG_FEATURES | 1, 1, SIZE);
    attach(p);
    return p;
}

static int setup(void **state)
{
    *state = plug_and_attach(false);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    return remove(path);
}

static int teardown(void **state)
{
    P9 *p = *state;

    rig_clear(&p->rig);
    nftw(p->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    g_free(p->folder);
    g_free(p);
    return 0;
}

static char *at(const P9 *p, const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", p->folder, name);
    return path;
}

static void host_writes(const P9 *p, const char *name, const char *text)
{
    assert_true(g_file_set_contents(at(p, name), text, -1, NULL));
}

/* ---- short ways ---- */

static int walk(P9 *p, unsigned from, unsigned to, const char *name)
{
    return name ? ask(p, WALK, "ddws", from, to, 1, name) : ask(p, WALK, "ddw", from, to, 0);
}

static int clunk(P9 *p, unsigned fid)
{
    return ask(p, CLUNK, "d", fid);
}

/* Makes a file in the root and opens it. */
static void create(P9 *p, unsigned fid, const char *name)
{
    assert_int_equal(walk(p, 0, fid, NULL), 0);
    assert_int_equal(ask(p, LCREATE, "dsddd", fid, name, O_RDWR, 0644, 0), 0);
}

static int write_file(P9 *p, unsigned fid, uint64_t offset, const void *data, uint32_t len)
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

static int read_file(P9 *p, unsigned fid, uint64_t offset, uint32_t count)
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

static int getattr(P9 *p, unsigned fid, Attr *attr)
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

/* ---- starting ---- */

static void the_device_tells_its_tag(void **state)
{
    P9 *p = *state = plug(false);
    const char *tag = "folder";

    assert_int_equal(vmc_bus_read(p->rig.mmio, p->rig.device, 2), strlen(tag));
    for (unsigned i = 0; i < strlen(tag); i++)
        assert_int_equal(vmc_bus_read(p->rig.mmio, p->rig.device + 2 + i, 1), tag[i]);
    assert_int_equal(rig_read(&p->rig, RIG_COMMON(num_queues), 2), 1);
    assert_int_equal(rig_offered(&p->rig) & 1, 1);
    assert_int_equal(rig_config(&p->rig, PCI_DEVICE_ID, 2), 0x1049);
}

static void nothing_is_served_before_a_version_is_agreed_on(void **state)
{
    P9 *p = *state = plug(false);

    rig_bring_up(&p->rig, RIG_FEATURES | 1, 1, SIZE);
    assert_int_equal(ask(p, ATTACH, "ddssd", 0, NOFID, "", "", 0), -EIO);
    assert_int_equal(ask(p, VERSION, "ds", 4096, "9P2000.L"), -EMSGSIZE);
    assert_int_equal(ask(p, VERSION, "ds", MSIZE, "9P2000.u"), 0);
    assert_int_equal(get(p, 4), MSIZE);
    assert_int_equal(get(p, 2), 7);
    assert_memory_equal(p->answer, "unknown", 7);
    assert_int_equal(ask(p, ATTACH, "ddssd", 0, NOFID, "", "", 0), -EIO);
    /* More than we take is answered with what we take. */
    assert_int_equal(ask(p, VERSION, "ds", 1u << 30, "9P2000.L"), 0);
    assert_int_equal(get(p, 4), 512 * 1024 + 24);
    assert_int_equal(get(p, 2), 8);
    assert_memory_equal(p->answer, "9P2000.L", 8);
    assert_int_equal(ask(p, AUTH, "dssd", 5, "", "", 0), -EOPNOTSUPP);
    assert_int_equal(ask(p, ATTACH, "ddssd", 0, NOFID, "", "anything", 0), 0);
    assert_int_equal(get(p, 1), 0x80);
    assert_int_equal(ask(p, ATTACH, "ddssd", 0, NOFID, "", "", 0), -EBADF);
    assert_int_equal(ask(p, ATTACH, "ddssd", NOFID, NOFID, "", "", 0), -EBADF);
    /* A new version is a new session. */
    assert_int_equal(ask(p, VERSION, "ds", MSIZE, "9P2000.L"), 0);
    assert_int_equal(clunk(p, 0), -EBADF);
}

/* ---- names ---- */

static void fids_walk_through_folders(void **state)
{
    P9 *p = *state;
    Attr root, attr;

    assert_int_equal(mkdir(at(p, "a"), 0755), 0);
    assert_int_equal(mkdir(at(p, "a/b"), 0755), 0);
    host_writes(p, "a/b/c", "text");
    assert_int_equal(ask(p, WALK, "ddwsss", 0, 1, 3, "a", "b", "c"), 0);
    assert_int_equal(get(p, 2), 3);
    assert_int_equal(p->answer_len, 3 * 13);
    assert_int_equal(p->answer[0], 0x80);
    assert_int_equal(p->answer[26], 0);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_int_equal(attr.size, 4);
    /* As far as it goes, and then there is no fid; if not one step goes, that is an error. */
    assert_int_equal(ask(p, WALK, "ddwsss", 0, 2, 3, "a", "x", "c"), 0);
    assert_int_equal(get(p, 2), 1);
    assert_int_equal(clunk(p, 2), -EBADF);
    assert_int_equal(walk(p, 0, 2, "x"), -ENOENT);
    assert_int_equal(walk(p, 1, 2, "x"), -ENOTDIR);
    assert_int_equal(walk(p, 9, 2, NULL), -EBADF);
    assert_int_equal(walk(p, 0, 1, NULL), -EBADF);
    /* A copy, and a walk in place. */
    assert_int_equal(walk(p, 1, 2, NULL), 0);
    assert_int_equal(clunk(p, 1), 0);
    assert_int_equal(getattr(p, 2, &attr), 0);
    assert_int_equal(attr.size, 4);
    assert_int_equal(walk(p, 0, 3, "a"), 0);
    assert_int_equal(walk(p, 3, 3, "b"), 0);
    assert_int_equal(walk(p, 3, 3, "c"), 0);
    assert_int_equal(getattr(p, 3, &attr), 0);
    assert_int_equal(attr.size, 4);
    /* Upwards ends at the root. */
    assert_int_equal(ask(p, WALK, "ddwssss", 0, 4, 4, "a", "b", "..", "."), 0);
    assert_int_equal(walk(p, 4, 5, "b"), 0);
    assert_int_equal(ask(p, WALK, "ddwsss", 4, 6, 3, "..", "..", ".."), 0);
    assert_int_equal(getattr(p, 0, &root), 0);
    assert_int_equal(getattr(p, 6, &attr), 0);
    assert_int_equal(attr.ino, root.ino);
}

static void nothing_outside_is_reachable(void **state)
{
    static const char *const bad[] = {"a/b", "/", "/etc", "../x", "", "a/"};
    P9 *p = *state;
    char secret[600];

    snprintf(secret, sizeof(secret), "%s-secret", p->folder);
    assert_true(g_file_set_contents(secret, "secret", -1, NULL));
    char *beside = g_path_get_basename(secret);
    assert_int_equal(mkdir(at(p, "a"), 0755), 0);
    host_writes(p, "a/b", "x");
    assert_int_equal(symlink(secret, at(p, "link")), 0);
    assert_int_equal(symlink("..", at(p, "up")), 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_int_equal(walk(p, 0, 1, bad[i]), -EINVAL);
        assert_int_equal(ask(p, MKDIR, "dsdd", 0, bad[i], 0755, 0), -EINVAL);
        assert_int_equal(ask(p, UNLINKAT, "dsd", 0, bad[i], 0), -EINVAL);
        assert_int_equal(ask(p, RENAMEAT, "dsds", 0, "a", 0, bad[i]), -EINVAL);
        assert_int_equal(ask(p, SYMLINK, "dssd", 0, bad[i], "target", 0), -EINVAL);
    }
    assert_int_equal(ask(p, RENAMEAT, "dsds", 0, "a", 0, ".."), -EINVAL);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 0, "..", 0x200), -EINVAL);
    assert_int_equal(ask(p, WALK, "ddwss", 0, 1, 2, "..", beside), 0);
    assert_int_equal(get(p, 2), 1);
    /* Links are text: they are not walked through and not opened. */
    assert_int_equal(ask(p, WALK, "ddwss", 0, 1, 2, "up", beside), 0);
    assert_int_equal(get(p, 2), 1);
    assert_int_equal(walk(p, 0, 1, "link"), 0);
    assert_int_equal(get(p, 2), 1);
    assert_int_equal(get(p, 1), 2);
    assert_int_equal(ask(p, LOPEN, "dd", 1, O_RDONLY), -ELOOP);
    assert_int_equal(ask(p, READLINK, "d", 1), 0);
    assert_int_equal(get(p, 2), strlen(secret));
    assert_memory_equal(p->answer, secret, strlen(secret));
    /* A NUL in a name does not end it. */
    begin(p, WALK);
    put(p, 0, 4);
    put(p, 2, 4);
    put(p, 1, 2);
    put(p, 3, 2);
    memcpy(p->text + p->len, "a\0b", 3);
    p->len += 3;
    assert_int_equal(ask_room(p, ROOM), -EINVAL);
    unlink(secret);
    g_free(beside);
}

static void names_are_made_moved_and_removed(void **state)
{
    P9 *p = *state;
    Attr attr;
    struct stat st;

    assert_int_equal(ask(p, MKDIR, "dsdd", 0, "d", 0750, 0), 0);
    assert_int_equal(get(p, 1), 0x80);
    assert_int_equal(ask(p, MKDIR, "dsdd", 0, "d", 0750, 0), -EEXIST);
    assert_int_equal(walk(p, 0, 1, "d"), 0);
    create(p, 2, "file");
    assert_int_equal(ask(p, LINK, "dds", 1, 2, "second"), 0);
    assert_int_equal(getattr(p, 2, &attr), 0);
    assert_int_equal(attr.nlink, 2);
    assert_int_equal(attr.uid, UID);
    assert_int_equal(attr.gid, GID);
    assert_int_equal(attr.mode, S_IFREG | 0644);
    assert_int_equal(ask(p, SYMLINK, "dssd", 1, "link", "../file", 0), 0);
    assert_int_equal(ask(p, MKNOD, "dsdddd", 1, "pipe", S_IFIFO | 0600, 0, 0, 0), 0);
    assert_int_equal(ask(p, MKNOD, "dsdddd", 1, "disk", S_IFBLK | 0600, 8, 0, 0), -EPERM);
    assert_int_equal(ask(p, MKNOD, "dsdddd", 1, "tty", S_IFCHR | 0600, 5, 0, 0), -EPERM);
    assert_int_equal(lstat(at(p, "d/pipe"), &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(walk(p, 1, 3, "pipe"), 0);
    assert_int_equal(ask(p, LOPEN, "dd", 3, O_RDWR), -ENXIO);
    assert_int_equal(ask(p, RENAMEAT, "dsds", 0, "file", 1, "moved"), 0);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 0, "d", 0), -EISDIR);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 0, "d", 0x200), -ENOTEMPTY);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 1, "moved", 0), 0);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 1, "second", 7), -EINVAL);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 1, "second", 0), 0);
    /* Open still, without a name. */
    assert_int_equal(write_file(p, 2, 0, "text", 4), 4);
    assert_int_equal(getattr(p, 2, &attr), 0);
    assert_int_equal(attr.nlink, 0);
    assert_int_equal(attr.size, 4);
}

/* By fid: the name it was walked to, of several; and another one if that has gone. */
static void fids_are_renamed_and_removed(void **state)
{
    P9 *p = *state;

    host_writes(p, "one", "x");
    char *one = g_strdup(at(p, "one"));
    assert_int_equal(link(one, at(p, "two")), 0);
    assert_int_equal(mkdir(at(p, "d"), 0755), 0);
    assert_int_equal(walk(p, 0, 1, "one"), 0);
    assert_int_equal(walk(p, 0, 2, "two"), 0);
    assert_int_equal(walk(p, 0, 3, "d"), 0);
    assert_int_equal(ask(p, REMOVE, "d", 1), 0);
    assert_int_equal(access(one, F_OK), -1);
    assert_int_equal(access(at(p, "two"), F_OK), 0);
    assert_int_equal(clunk(p, 1), -EBADF);
    assert_int_equal(ask(p, RENAME, "dds", 2, 3, "three"), 0);
    assert_int_equal(access(at(p, "d/three"), F_OK), 0);
    /* The fid went where the file went, also if another fid took it there. */
    assert_int_equal(ask(p, RENAME, "dds", 2, 0, "four"), 0);
    assert_int_equal(access(at(p, "four"), F_OK), 0);
    assert_int_equal(ask(p, RENAMEAT, "dsds", 0, "four", 3, "five"), 0);
    host_writes(p, "four", "not this one");
    assert_int_equal(ask(p, REMOVE, "d", 2), 0);
    assert_int_equal(access(at(p, "d/five"), F_OK), -1);
    assert_int_equal(access(at(p, "four"), F_OK), 0);
    assert_int_equal(ask(p, RENAME, "dds", 0, 3, "root"), -EBUSY);
    /* The fid goes even if the folder does not. */
    host_writes(p, "d/x", "x");
    assert_int_equal(ask(p, REMOVE, "d", 3), -ENOTEMPTY);
    assert_int_equal(clunk(p, 3), -EBADF);
    g_free(one);
}

/* ---- files ---- */

static void a_file_is_made_written_and_read(void **state)
{
    P9 *p = *state;
    uint8_t *data = g_malloc(60000);
    Attr attr;

    for (unsigned i = 0; i < 60000; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 8));
    assert_int_equal(walk(p, 0, 1, NULL), 0);
    assert_int_equal(ask(p, LCREATE, "dsddd", 1, "f", O_RDWR | O_EXCL, 0644, 0), 0);
    get(p, 13);
    uint32_t iounit = (uint32_t)get(p, 4);
    assert_true(iounit && iounit <= MSIZE - 24 && iounit % 4096 == 0);
    assert_int_equal(write_file(p, 1, 5, data, 60000), 60000);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_int_equal(attr.size, 60005);
    assert_true(attr.version);
    assert_int_equal(read_file(p, 1, 5, 60000), 60000);
    assert_memory_equal(p->answer, data, 60000);
    assert_int_equal(read_file(p, 1, 60000, 100), 5);
    assert_int_equal(read_file(p, 1, 70000, 100), 0);
    /* No more than a message holds, or than there is room for. */
    assert_int_equal(write_file(p, 1, 60000, data, 60000), 60000);
    assert_int_equal(read_file(p, 1, 0, 1u << 31), MSIZE - 11);
    begin(p, READ);
    put(p, 1, 4), put(p, 0, 8), put(p, 100, 4);
    assert_int_equal(ask_room(p, 31), 0);
    assert_int_equal(get(p, 4), 20);
    assert_int_equal(ask(p, FSYNC, "d", 1), 0);
    assert_int_equal(ask(p, FSYNC, "dd", 1, 1), 0);
    assert_int_equal(read_file(p, 1, UINT64_MAX, 1), -EINVAL);
    /* Opened once, made once. */
    assert_int_equal(ask(p, LOPEN, "dd", 1, O_RDONLY), -EBADF);
    assert_int_equal(ask(p, LCREATE, "dsddd", 1, "g", O_RDWR, 0644, 0), -EBADF);
    assert_int_equal(walk(p, 1, 1, NULL), -EBADF);
    assert_int_equal(walk(p, 0, 2, NULL), 0);
    assert_int_equal(ask(p, LCREATE, "dsddd", 2, "f", O_RDWR | O_EXCL, 0644, 0), -EEXIST);
    assert_int_equal(read_file(p, 2, 0, 1), -EBADF);
    assert_int_equal(write_file(p, 2, 0, "x", 1), -EBADF);
    assert_int_equal(walk(p, 2, 2, "f"), 0);
    assert_int_equal(ask(p, LOPEN, "dd", 2, O_WRONLY | O_TRUNC), 0);
    assert_int_equal(read_file(p, 2, 0, 1), -EBADF);
    assert_int_equal(getattr(p, 2, &attr), 0);
    assert_int_equal(attr.size, 0);
    g_free(data);
}

static void attributes_change(void **state)
{
    const char *form = "dddddqqqqq";
    const uint64_t none = 0;
    P9 *p = *state;
    Attr attr;
    struct stat st;
    char kept[64] = "";

    create(p, 1, "f");
    assert_int_equal(ask(p, SETATTR, form, 1, 1, 04751, 0, 0, none, none, none, none, none), 0);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_int_equal(attr.mode, S_IFREG | 04751);
    assert_int_equal(stat(at(p, "f"), &st), 0);
    assert_int_equal(st.st_mode & 07000, 0);
    /* Whoever writes ends setuid. */
    assert_int_equal(write_file(p, 1, 0, "text", 4), 4);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_int_equal(attr.mode, S_IFREG | 0751);
    assert_int_equal(ask(p, SETATTR, form, 1, 6, 0, 12, 34, none, none, none, none, none), 0);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_int_equal(attr.uid, 12);
    assert_int_equal(attr.gid, 34);
    assert_true(getxattr(at(p, "f"), "user.espalier.owner", kept, sizeof(kept) - 1) > 0);
    assert_int_equal(stat(at(p, "f"), &st), 0);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(ask(p, SETATTR, form, 1, 8 | 0x20 | 0x100, 0, 0, 0, UINT64_C(9), none, none,
                         UINT64_C(1000), UINT64_C(5)),
                     0);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_int_equal(attr.size, 9);
    assert_int_equal(attr.mtime, 1000);
    assert_int_equal(ask(p, SETATTR, form, 1, 0x20, 0, 0, 0, none, none, none, none, none), 0);
    assert_int_equal(getattr(p, 1, &attr), 0);
    assert_true(attr.mtime > 1000);
    assert_int_equal(ask(p, SETATTR, form, 1, 0x20 | 0x100, 0, 0, 0, none, none, none, none, UINT64_MAX),
                     -EINVAL);
    assert_int_equal(ask(p, STATFS, "d", 0), 0);
    assert_int_equal(get(p, 4), 0x01021997);
    assert_true(get(p, 4) >= 512);
    assert_true(get(p, 8) > 0);
    assert_int_equal(p->answer_len, 44);
}

static void a_folder_is_listed_in_pieces(void **state)
{
    enum { FILES = 300 };
    P9 *p = *state;
    bool seen[FILES] = {false};
    unsigned n = 0, dots = 0, rounds = 0;
    uint64_t offset = 0;
    char name[256] = "";

    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "file-%u", i);
        host_writes(p, name, "x");
    }
    assert_int_equal(walk(p, 0, 1, NULL), 0);
    assert_int_equal(ask(p, READDIR, "dqd", 1, UINT64_C(0), 4096), -EBADF);
    assert_int_equal(ask(p, LOPEN, "dd", 1, 0200000), 0);
    assert_int_equal(ask(p, READDIR, "dqd", 1, UINT64_C(0), 10), -EINVAL);
    assert_int_equal(read_file(p, 1, 0, 100), -EISDIR);
    for (;; rounds++) {
        assert_int_equal(ask(p, READDIR, "dqd", 1, offset, 2000), 0);
        size_t len = (size_t)get(p, 4);
        assert_int_equal(len, p->answer_len);
        assert_true(len <= 2000);
        if (!p->answer_len)
            break;
        while (p->answer_len) {
            uint8_t type = (uint8_t)get(p, 1);
            get(p, 4), get(p, 8);
            offset = get(p, 8);
            assert_int_equal(get(p, 1), type ? DT_DIR : DT_REG);
            unsigned name_len = (unsigned)get(p, 2), number = FILES;
            memcpy(name, p->answer, name_len);
            name[name_len] = 0;
            p->answer += name_len;
            p->answer_len -= name_len;
            dots += name[0] == '.';
            if (sscanf(name, "file-%u", &number) == 1) {
                assert_true(number < FILES && !seen[number]);
                seen[number] = true;
                n++;
            }
        }
    }
    assert_int_equal(n, FILES);
    assert_int_equal(dots, 2);
    assert_true(rounds > 4);
}

/* ---- extended attributes ---- */

static int set_xattr(P9 *p, unsigned fid, const char *name, const char *value, unsigned flags)
{
    int err = walk(p, fid, 90, NULL);

    if (!err)
        err = ask(p, XATTRCREATE, "dsqd", 90, name, (uint64_t)strlen(value), flags);
    if (!err && *value)
        assert_int_equal(write_file(p, 90, 0, value, (uint32_t)strlen(value)), strlen(value));
    int end = clunk(p, 90);
    return err ? err : end;
}

static int get_xattr(P9 *p, unsigned fid, const char *name)
{
    int err = ask(p, XATTRWALK, "dds", fid, 91, name);

    if (err)
        return err;
    uint64_t size = get(p, 8);
    int len = read_file(p, 91, 0, 65536);
    assert_int_equal(len, size);
    uint8_t copy[1024];
    assert_true(len >= 0 && (size_t)len < sizeof(copy));
    memcpy(copy, p->answer, (size_t)len);
    assert_int_equal(read_file(p, 91, size + 5, 10), 0);
    assert_int_equal(write_file(p, 91, 0, "x", 1), -EBADF);
    assert_int_equal(clunk(p, 91), 0);
    memcpy(p->text, copy, (size_t)len);
    return len;
}

static void extended_attributes_are_kept(void **state)
{
    P9 *p = *state;

    host_writes(p, "f", "x");
    assert_int_equal(walk(p, 0, 1, "f"), 0);
    assert_int_equal(get_xattr(p, 1, "user.a"), -ENODATA);
    assert_int_equal(set_xattr(p, 1, "user.a", "value", 0), 0);
    assert_int_equal(get_xattr(p, 1, "user.a"), 5);
    assert_memory_equal(p->text, "value", 5);
    assert_int_equal(set_xattr(p, 1, "user.a", "value", XATTR_CREATE), -EEXIST);
    assert_int_equal(set_xattr(p, 1, "user.b", "value", XATTR_REPLACE), -ENODATA);
    assert_int_equal(set_xattr(p, 1, "com.apple.x", "mac", 0), 0);
    assert_int_equal(set_xattr(p, 1, "user.espalier.owner", "0:0:777", 0), -EPERM);
    assert_int_equal(set_xattr(p, 1, "system.posix_acl_access", "x", 0), -EOPNOTSUPP);
    assert_int_equal(get_xattr(p, 1, ""), 7 + 12);
    /* Nothing in it is a value, too; with XATTR_REPLACE it is the end of the attribute. */
    assert_int_equal(set_xattr(p, 1, "user.a", "", 0), 0);
    assert_int_equal(get_xattr(p, 1, "user.a"), 0);
    assert_int_equal(set_xattr(p, 1, "user.a", "", XATTR_REPLACE), 0);
    assert_int_equal(get_xattr(p, 1, "user.a"), -ENODATA);
    assert_int_equal(set_xattr(p, 1, "user.a", "", XATTR_REPLACE), -ENODATA);
    /* A value that does not come, or too much of it. */
    assert_int_equal(ask(p, XATTRCREATE, "dsqd", 1, "user.c", UINT64_C(1) << 40, 0), -E2BIG);
    assert_int_equal(walk(p, 1, 2, NULL), 0);
    assert_int_equal(ask(p, XATTRCREATE, "dsqd", 2, "user.c", UINT64_C(4), 0), 0);
    assert_int_equal(write_file(p, 2, 0, "12345", 5), -ENOSPC);
    assert_int_equal(write_file(p, 2, 1, "1", 1), -ENOSPC);
    assert_int_equal(write_file(p, 2, UINT64_MAX, "1", 1), -ENOSPC);
    assert_int_equal(write_file(p, 2, 0, "12", 2), 2);
    assert_int_equal(read_file(p, 2, 0, 2), -EBADF);
    assert_int_equal(walk(p, 2, 3, NULL), -EBADF);
    assert_int_equal(ask(p, LOPEN, "dd", 2, O_RDONLY), -EBADF);
    assert_int_equal(clunk(p, 2), -EINVAL);
    assert_int_equal(clunk(p, 2), -EBADF);
    assert_int_equal(get_xattr(p, 1, "user.c"), -ENODATA);
}

static void attributes_take_only_so_much_memory(void **state)
{
    P9 *p = *state;
    unsigned n = 0;

    for (int err = 0; !err && n < 1000; n += !err) {
        assert_int_equal(walk(p, 0, 100 + n, NULL), 0);
        err = ask(p, XATTRCREATE, "dsqd", 100 + n, "user.a", UINT64_C(65536), 0);
        if (err)
            assert_int_equal(err, -ENOMEM);
    }
    assert_int_equal(n, 256);
    assert_int_equal(clunk(p, 100), -EINVAL);
    assert_int_equal(ask(p, XATTRCREATE, "dsqd", 100 + n, "user.a", UINT64_C(65536), 0), 0);
}

/* ---- locks and flushing ---- */

#define LOCK_FORM "dbdqqds"

static int lock(P9 *p, unsigned fid, unsigned type, unsigned process)
{
    int err = ask(p, LOCK, LOCK_FORM, fid, type, 0, UINT64_C(0), UINT64_C(0), process, "guest");

    return err ? err : (int)get(p, 1);
}

static void wait_for_lock(P9 *p, unsigned slot, unsigned fid, unsigned process)
{
    send_slot(p, slot, LOCK, LOCK_FORM, fid, 1, 1, UINT64_C(0), UINT64_C(0), process, "guest");
}

static void waiting_for_a_lock_holds_nobody_up(void **state)
{
    enum { WAITERS = 12 };
    P9 *p = *state;
    struct vring_used_elem used;
    Attr attr;

    create(p, 1, "f");
    assert_int_equal(lock(p, 1, 1, 1), 0);
    assert_int_equal(lock(p, 1, 1, 2), 1);
    assert_int_equal(lock(p, 1, 3, 2), -EINVAL);
    assert_int_equal(ask(p, LOCK, LOCK_FORM, 1, 1, 0, UINT64_MAX, UINT64_MAX, 1, "guest"), -EINVAL);
    assert_int_equal(ask(p, GETLOCK, "dbqqds", 1, 0, UINT64_C(5), UINT64_C(1), 2, "guest"), 0);
    assert_int_equal(get(p, 1), 1);
    assert_int_equal(get(p, 8), 0);
    assert_int_equal(get(p, 8), 0);
    /* What Linux asks when none of its own is in the way. */
    assert_int_equal(ask(p, GETLOCK, "dbqqds", 1, 2, UINT64_C(5), UINT64_C(1), 2, "guest"), 0);
    assert_int_equal(get(p, 1), 2);
    for (unsigned i = 0; i < WAITERS; i++)
        wait_for_lock(p, i, 1, 10 + i);
    assert_false(rig_wait_used(&p->rig, QUEUE, &used, WAITING));
    assert_int_equal(write_file(p, 1, 0, "text", 4), 4);
    assert_int_equal(getattr(p, 1, &attr), 0);
    /* Each in turn gets it, when the one before gives it up. */
    send_slot(p, SLOTS - 1, LOCK, LOCK_FORM, 1, 2, 0, UINT64_C(0), UINT64_C(0), 1, "guest");
    for (unsigned i = 0, got = 0; got < WAITERS; i++) {
        used = take_used(p);
        assert_int_equal(used.len, 8);
        for (unsigned n = 0; n < WAITERS; n++) {
            uint8_t *answer = rig_host(&p->rig, p->in + ROOM + 1024 * n, 8);
            if (!answer[0])
                continue;
            assert_int_equal(answer[4], LOCK + 1);
            assert_int_equal(answer[7], 0);
            memset(answer, 0, 8);
            got++;
            send_slot(p, SLOTS - 1, LOCK, LOCK_FORM, 1, 2, 0, UINT64_C(0), UINT64_C(0), 10 + n, "guest");
        }
        assert_true(i < 2 * WAITERS + 2);
    }
}

/* The places in the queue are also for the one that will unlock. */
static void only_so_many_wait(void **state)
{
    enum { WAITERS = 32 };
    P9 *p = *state;
    struct vring_used_elem used;

    create(p, 1, "f");
    assert_int_equal(lock(p, 1, 1, 1), 0);
    for (unsigned i = 0; i < WAITERS; i++)
        wait_for_lock(p, i, 1, 10 + i);
    assert_false(rig_wait_used(&p->rig, QUEUE, &used, WAITING));
    for (unsigned i = 0; i < 3; i++) {
        wait_for_lock(p, WAITERS, 1, 9);
        used = take_used(p);
        assert_int_equal(slot_answer(p, WAITERS, used.len, LOCK, p->tag), 0);
        assert_int_equal(get(p, 1), 1);
    }
    /* One is given up: there is room for another. */
    send_slot(p, WAITERS, FLUSH, "w", p->tag - 3 - WAITERS + 1);
    take_used(p), take_used(p);
    wait_for_lock(p, 0, 1, 9);
    assert_false(rig_wait_used(&p->rig, QUEUE, &used, WAITING));
}

static void giving_a_file_back_gives_up_its_locks(void **state)
{
    P9 *p = *state;

    create(p, 1, "f");
    assert_int_equal(walk(p, 0, 2, "f"), 0);
    assert_int_equal(lock(p, 2, 1, 1), -EBADF);
    assert_int_equal(ask(p, LOPEN, "dd", 2, O_RDWR), 0);
    assert_int_equal(lock(p, 2, 1, 1), 0);
    assert_int_equal(lock(p, 1, 1, 2), 1);
    assert_int_equal(clunk(p, 2), 0);
    assert_int_equal(lock(p, 1, 1, 2), 0);
}

static void a_flush_ends_the_waiting(void **state)
{
    P9 *p = *state;
    struct vring_used_elem used;

    create(p, 1, "f");
    assert_int_equal(lock(p, 1, 1, 1), 0);
    assert_int_equal(ask(p, FLUSH, "w", 4711), 0);
    for (unsigned round = 0; round < 50; round++) {
        uint16_t head = (uint16_t)(p->rig.queues[0].next_desc);
        wait_for_lock(p, 0, 1, 2);
        uint16_t tag = p->tag;
        if (round % 2)
            g_usleep(round * 100); /* so that it comes while the lock is tried, too */
        uint16_t flush_head = send_slot(p, 1, FLUSH, "w", tag);
        used = take_used(p);
        assert_int_equal(used.id, head);
        assert_int_equal(slot_answer(p, 0, used.len, LOCK, tag), -EINTR);
        used = take_used(p);
        assert_int_equal(used.id, flush_head);
        assert_int_equal(slot_answer(p, 1, used.len, FLUSH, p->tag), 0);
    }
}

/* Of requests that are being done the answer comes, and before that to the flush. */
static void a_flush_is_answered_after_what_it_names(void **state)
{
    P9 *p = *state;
    Attr attr;

    for (unsigned round = 0; round < 30; round++) {
        uint16_t heads[2 * 8], order[2 * 8];
        for (unsigned i = 0; i < 8; i++) {
            heads[2 * i] = send_slot(p, 2 * i, STATFS, "d", 0);
            heads[2 * i + 1] = send_slot(p, 2 * i + 1, FLUSH, "w", p->tag);
        }
        for (unsigned i = 0; i < 16; i++)
            order[i] = (uint16_t)take_used(p).id;
        for (unsigned i = 0; i < 8; i++) {
            unsigned request = 16, flush = 16;
            for (unsigned n = 0; n < 16; n++) {
                request = order[n] == heads[2 * i] ? n : request;
                flush = order[n] == heads[2 * i + 1] ? n : flush;
            }
            assert_true(request < flush && flush < 16);
        }
    }
    assert_int_equal(getattr(p, 0, &attr), 0);
}

static void a_reset_ends_waiting_and_forgets_everything(void **state)
{
    P9 *p = *state;
    Attr attr;

    for (unsigned round = 0; round < 5; round++) {
        create(p, 1, "f");
        assert_int_equal(lock(p, 1, 1, 1), 0);
        for (unsigned i = 0; i < 8; i++)
            wait_for_lock(p, i, 1, 2 + i);
        assert_int_equal(getattr(p, 1, &attr), 0);
        for (unsigned i = 8; i < 16; i++)
            send_slot(p, i, STATFS, "d", 0);
        p->rig.next_free = p->in + ROOM + 1024 * SLOTS; /* the rings of the round before */
        rig_bring_up(&p->rig, RIG_FEATURES | 1, 1, SIZE);
        assert_int_equal(getattr(p, 1, &attr), -EIO);
        attach(p);
        assert_int_equal(read_file(p, 1, 0, 1), -EBADF);
    }
    /* And the device goes away with some out. */
    create(p, 1, "f");
    assert_int_equal(lock(p, 1, 1, 1), 0);
    wait_for_lock(p, 0, 1, 2);
    send_slot(p, 1, FLUSH, "w", p->tag);
    for (unsigned i = 2; i < 10; i++)
        send_slot(p, i, STATFS, "d", 0);
}

/* ---- what cannot be ---- */

static void requests_that_are_wrong_are_refused(void **state)
{
    P9 *p = *state;
    uint64_t zero = 0;

    create(p, 1, "f");
    assert_int_equal(ask(p, 98, ""), -EOPNOTSUPP);
    assert_int_equal(ask(p, 250, ""), -EOPNOTSUPP);
    assert_int_equal(ask(p, 6, ""), -EOPNOTSUPP);
    for (unsigned type = 8; type < 124; type += 2) {
        /* Without arguments nothing can be done, and nothing is. */
        int err = ask(p, (uint8_t)type, "");
        assert_true(err == -EINVAL || err == -EOPNOTSUPP);
    }
    assert_int_equal(ask(p, WALK, "ddw", 0, 2, 17), -EINVAL);
    assert_int_equal(ask(p, WALK, "ddws", 0, 2, 2, "a"), -EINVAL);
    assert_int_equal(ask(p, LOPEN, "dd", 0, 3), -EINVAL);
    /* More data is announced than there is. */
    assert_int_equal(ask(p, WRITE, "dqdd", 1, zero, 5, 0), -EINVAL);
    assert_int_equal(ask(p, WRITE, "dqdd", 1, zero, 0xffffffff, 0), -EINVAL);
    /* A string that is longer than the message. */
    assert_int_equal(ask(p, UNLINKAT, "dw", 0, 0xffff), -EINVAL);
    /* Answers that do not fit. */
    begin(p, STATFS);
    put(p, 0, 4);
    assert_int_equal(ask_room(p, 20), -EINVAL);
    begin(p, STATFS);
    put(p, 0, 4);
    assert_int_equal(ask_room(p, 10), -ENOMSG);
    begin(p, STATFS);
    put(p, 0, 4);
    post(p, p->out, p->in, 0);
    assert_int_equal(take_used(p).len, 0);
    char name[300];
    memset(name, 'n', sizeof(name));
    name[256] = 0;
    assert_int_equal(ask(p, MKDIR, "dsdd", 0, name, 0755, 0), -ENAMETOOLONG);
    name[255] = 0;
    assert_int_equal(ask(p, MKDIR, "dsdd", 0, name, 0755, 0), 0);
}

static void headers_that_lie_are_refused(void **state)
{
    P9 *p = *state;
    static const uint32_t sizes[] = {0, 6, 12, 0xffffffff};

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        begin(p, STATFS);
        put(p, 0, 4);
        uint8_t *text = rig_host(&p->rig, p->out, p->len);
        memcpy(text, p->text, p->len);
        memcpy(text, &sizes[i], 4);
        RigBuffer buffers[] = {{p->out, (uint32_t)p->len}, {p->in, ROOM}};
        rig_add(&p->rig, QUEUE, buffers, 1, 1);
        rig_kick(&p->rig, QUEUE);
        assert_int_equal(look(p, p->in, take_used(p).len, STATFS, p->tag), -EINVAL);
    }
    /* Longer than was agreed on. */
    begin(p, WALK);
    p->len = MSIZE + 1;
    assert_int_equal(ask_room(p, ROOM), -EMSGSIZE);
}

static void a_read_only_share_stays_as_it_is(void **state)
{
    P9 *p = *state = plug_and_attach(true);
    const uint64_t none = 0;

    host_writes(p, "f", "text");
    assert_int_equal(walk(p, 0, 1, "f"), 0);
    assert_int_equal(ask(p, LOPEN, "dd", 1, O_RDWR), -EROFS);
    assert_int_equal(ask(p, MKDIR, "dsdd", 0, "d", 0755, 0), -EROFS);
    assert_int_equal(ask(p, UNLINKAT, "dsd", 0, "f", 0), -EROFS);
    assert_int_equal(ask(p, RENAMEAT, "dsds", 0, "f", 0, "g"), -EROFS);
    assert_int_equal(ask(p, SETATTR, "dddddqqqqq", 1, 1, 0600, 0, 0, none, none, none, none, none), -EROFS);
    assert_int_equal(set_xattr(p, 1, "user.a", "b", 0), -EROFS);
    assert_int_equal(walk(p, 0, 2, NULL), 0);
    assert_int_equal(ask(p, LCREATE, "dsddd", 2, "new", O_RDWR, 0644, 0), -EROFS);
    assert_int_equal(ask(p, LOPEN, "dd", 1, O_RDONLY), 0);
    assert_int_equal(read_file(p, 1, 0, 10), 4);
    assert_int_equal(write_file(p, 1, 0, "x", 1), -EBADF);
    assert_int_equal(ask(p, REMOVE, "d", 1), -EROFS);
}

static void there_are_only_so_many_fids(void **state)
{
    P9 *p = *state;

    for (unsigned n = 1; n < FIDS;) {
        unsigned batch = MIN(SLOTS, FIDS - n);
        for (unsigned i = 0; i < batch; i++)
            send_slot(p, i, WALK, "ddw", 0, n + i, 0);
        for (unsigned i = 0; i < batch; i++)
            assert_int_equal(take_used(p).len, 9);
        n += batch;
    }
    assert_int_equal(walk(p, 0, FIDS, NULL), -EMFILE);
    assert_int_equal(clunk(p, 17), 0);
    assert_int_equal(walk(p, 0, FIDS, NULL), 0);
}

#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define PLAIN(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(the_device_tells_its_tag),
        PLAIN(nothing_is_served_before_a_version_is_agreed_on),
        CASE(fids_walk_through_folders),
        CASE(nothing_outside_is_reachable),
        CASE(names_are_made_moved_and_removed),
        CASE(fids_are_renamed_and_removed),
        CASE(a_file_is_made_written_and_read),
        CASE(attributes_change),
        CASE(a_folder_is_listed_in_pieces),
        CASE(extended_attributes_are_kept),
        CASE(attributes_take_only_so_much_memory),
        CASE(waiting_for_a_lock_holds_nobody_up),
        CASE(only_so_many_wait),
        CASE(giving_a_file_back_gives_up_its_locks),
        CASE(a_flush_ends_the_waiting),
        CASE(a_flush_is_answered_after_what_it_names),
        CASE(a_reset_ends_waiting_and_forgets_everything),
        CASE(requests_that_are_wrong_are_refused),
        CASE(headers_that_lie_are_refused),
        PLAIN(a_read_only_share_stays_as_it_is),
        CASE(there_are_only_so_many_fids),
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
