/*
 * virtio-fs for tests as a guest's driver uses it: FUSE messages through rings, on a real folder. Structures
 * come from the kernel's header.
 */
#pragma once

#include "tests/unit/folder.h"
#include "tests/unit/virtio_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE    256u
#define OUT     0x10000u  /* room for what the guest says ... */
#define IN      0x200000u /* ... and for answers */
#define HIPRIO  (&f->rig.queues[0])
#define QUEUE   (&f->rig.queues[1])
#define MEBI    (1u << 20)
#define WAITING (G_TIME_SPAN_MILLISECOND * 60)
/* The host's disk may have other things to do. */
#define PATIENCE (60 * G_TIME_SPAN_SECOND)

typedef struct Fs {
    Rig rig;
    char *folder;
    uint64_t out, in, unique;
    unsigned others; /* answers that came before the one that was waited for */
} Fs;

static inline void say_init(Fs *f);

static inline Fs *plug(bool readonly, VmcShareCache cache, unsigned queues)
{
    Fs *f = g_new0(Fs, 1);
    GError *error = NULL;
    VmcShareOptions options = {.readonly = readonly, .uid = 1000, .gid = 1000};

    f->folder = g_dir_make_tmp("virtio-fs-XXXXXX", NULL);
    rig_init(&f->rig);
    VmcShare *share = vmc_share_new(f->folder, &options, &error);
    if (!share)
        fail_msg("%s", error->message);
    rig_plug(&f->rig, vmc_virtio_fs_new(&f->rig.host, share, "my-folder", cache, queues));
    f->out = rig_alloc(&f->rig, 2 * MEBI);
    f->in = rig_alloc(&f->rig, IN);
    return f;
}

static inline Fs *plug_and_mount(bool readonly, VmcShareCache cache)
{
    Fs *f = plug(readonly, cache, 1);

    rig_bring_up(&f->rig, RIG_FEATURES, 2, SIZE);
    say_init(f);
    return f;
}

static inline int setup(void **state)
{
    *state = plug_and_mount(false, VMC_SHARE_CACHE_AUTO);
    return 0;
}

static inline int teardown(void **state)
{
    Fs *f = *state;

    rig_clear(&f->rig);
    remove_folder(f->folder);
    g_free(f->folder);
    g_free(f);
    return 0;
}

static inline char *at(const Fs *f, const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", f->folder, name);
    return path;
}

static inline void put(const Fs *f, const char *name, const char *text)
{
    assert_true(g_file_set_contents(at(f, name), text, -1, NULL));
}

/* ---- messages ---- */

/* Puts a message at `out`, split where drivers split it; the answer goes to `in`. */
static inline uint64_t send_at(Fs *f, RigQueue *q, uint64_t out, uint64_t in, uint32_t in_len,
                               uint32_t opcode, uint64_t nodeid, const void *args, size_t args_len,
                               const void *more, size_t more_len)
{
    struct fuse_in_header header = {
        .len = (uint32_t)(sizeof(header) + args_len + more_len),
        .opcode = opcode,
        .unique = ++f->unique,
        .nodeid = nodeid,
        .uid = 1000,
        .gid = 1000,
        .pid = 7,
    };
    uint8_t *host = rig_host(&f->rig, out, header.len);
    RigBuffer buffers[4] = {{out, sizeof(header)}};
    unsigned n = 1;

    memcpy(host, &header, sizeof(header));
    if (args_len) {
        memcpy(host + sizeof(header), args, args_len);
        buffers[n++] = (RigBuffer){out + sizeof(header), (uint32_t)args_len};
    }
    if (more_len) {
        memcpy(host + sizeof(header) + args_len, more, more_len);
        buffers[n++] = (RigBuffer){out + sizeof(header) + args_len, (uint32_t)more_len};
    }
    if (in_len)
        buffers[n] = (RigBuffer){in, in_len};
    rig_add(&f->rig, q, buffers, n, in_len != 0);
    rig_kick(&f->rig, q);
    return header.unique;
}

static inline struct fuse_out_header answer_at(Fs *f, uint64_t in)
{
    struct fuse_out_header header;

    memcpy(&header, rig_host(&f->rig, in, sizeof(header)), sizeof(header));
    return header;
}

static inline struct vring_used_elem take_used(Fs *f, RigQueue *q)
{
    struct vring_used_elem used = {0};

    if (!rig_wait_used(&f->rig, q, &used, PATIENCE))
        fail_msg("queue %u: no answer; status %#x", q->index, rig_status(&f->rig));
    return used;
}

static inline void *payload(Fs *f)
{
    return (uint8_t *)rig_host(&f->rig, f->in, IN) + sizeof(struct fuse_out_header);
}

/* One request and its answer. The error (negative errno value) or the answer's length without the header. */
static inline int ask_room(Fs *f, uint32_t in_len, uint32_t opcode, uint64_t nodeid, const void *args,
                           size_t args_len, const void *more, size_t more_len)
{
    struct vring_used_elem used;
    struct fuse_out_header header;

    uint64_t unique =
        send_at(f, QUEUE, f->out, f->in, in_len, opcode, nodeid, args, args_len, more, more_len);
    unsigned head = (f->rig.queues[1].next_desc + SIZE - 2 - !!args_len - !!more_len) % SIZE;
    while ((used = take_used(f, QUEUE)).id != head)
        f->others++;
    header = answer_at(f, f->in);
    assert_int_equal(header.unique, unique);
    assert_int_equal(header.len, used.len);
    assert_true(header.error <= 0);
    if (header.error)
        assert_int_equal(header.len, sizeof(header));
    return header.error ? header.error : (int)(header.len - sizeof(header));
}

static inline int ask(Fs *f, uint32_t opcode, uint64_t nodeid, const void *args, size_t args_len,
                      const void *more, size_t more_len)
{
    return ask_room(f, IN, opcode, nodeid, args, args_len, more, more_len);
}

#define ASK(f, opcode, nodeid, in)        ask(f, opcode, nodeid, &(in), sizeof(in), NULL, 0)
#define ASK_NAME(f, opcode, nodeid, name) ask(f, opcode, nodeid, name, strlen(name) + 1, NULL, 0)
#define ASK_BOTH(f, opcode, nodeid, in, name)                                                                \
    ask(f, opcode, nodeid, &(in), sizeof(in), name, strlen(name) + 1)

static inline void say_init(Fs *f)
{
    struct fuse_init_in in = {.major = 7, .minor = 38, .max_readahead = 65536, .flags = ~0u};

    assert_int_equal(ASK(f, FUSE_INIT, 0, in), sizeof(struct fuse_init_out));
}

static inline struct fuse_entry_out lookup(Fs *f, uint64_t dir, const char *name)
{
    struct fuse_entry_out entry;

    assert_int_equal(ASK_NAME(f, FUSE_LOOKUP, dir, name), sizeof(entry));
    memcpy(&entry, payload(f), sizeof(entry));
    return entry;
}

typedef struct Open {
    uint64_t nodeid, fh;
} Open;

static inline Open create(Fs *f, const char *name)
{
    struct fuse_create_in in = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0644};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;

    assert_int_equal(ASK_BOTH(f, FUSE_CREATE, 1, in, name), sizeof(out));
    memcpy(&out, payload(f), sizeof(out));
    return (Open){out.entry.nodeid, out.open.fh};
}

static inline struct fuse_open_out open_node(Fs *f, uint32_t opcode, uint64_t nodeid, uint32_t flags)
{
    struct fuse_open_in in = {.flags = flags};
    struct fuse_open_out out;

    assert_int_equal(ASK(f, opcode, nodeid, in), sizeof(out));
    memcpy(&out, payload(f), sizeof(out));
    return out;
}

static inline int write_file(Fs *f, Open file, uint64_t offset, const void *data, uint32_t len)
{
    struct fuse_write_in in = {.fh = file.fh, .offset = offset, .size = len};
    struct fuse_write_out out;
    int answer = ask(f, FUSE_WRITE, file.nodeid, &in, sizeof(in), data, len);

    if (answer < 0)
        return answer;
    memcpy(&out, payload(f), sizeof(out));
    return (int)out.size;
}

static inline int read_file(Fs *f, Open file, uint64_t offset, uint32_t len)
{
    struct fuse_read_in in = {.fh = file.fh, .offset = offset, .size = len};

    return ASK(f, FUSE_READ, file.nodeid, in);
}

static inline int release(Fs *f, Open file)
{
    struct fuse_release_in in = {.fh = file.fh};

    return ASK(f, FUSE_RELEASE, file.nodeid, in);
}

#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define PLAIN(name) cmocka_unit_test_teardown(name, teardown)
