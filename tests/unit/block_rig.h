/*
 * A virtio disk on a real file for tests, with one-request-at-a-time helpers. Sector n of the file is full of
 * bytes n.
 */
#pragma once

#include "tests/unit/virtio_rig.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/virtio_blk.h>
#include <unistd.h>

#include "vmcore/error.h"

#define SIZE     256u
#define SECTORS  64u
#define FEATURES (RIG_FEATURES | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_SEG_MAX)

typedef struct Block {
    Rig rig;
    char *path;
    uint64_t header, data, status; /* guest memory of the synchronous requests */
} Block;

typedef struct BlockOptions {
    bool readonly;
    unsigned queues; /* 0: one */
    VmcDiskCache cache;
    bool sparse;        /* all zeroes and takes no space */
    const char *folder; /* where the file shall be; NULL: where temporary files are */
    const VmcHostHooks *hooks;
} BlockOptions;

static inline void bring_up_queues(Block *b, uint64_t features, unsigned queues)
{
    Rig *rig = &b->rig;

    rig_bring_up(rig, features, queues, SIZE);
    b->header = rig_alloc(rig, sizeof(struct virtio_blk_outhdr));
    b->data = rig_alloc(rig, 1 << 20);
    b->status = rig_alloc(rig, 1);
}

static inline void bring_up(Block *b, uint64_t features)
{
    bring_up_queues(b, features, 1);
}

static inline char *make_sectors(const char *folder, bool sparse)
{
    char *path = g_build_filename(folder ? folder : g_get_tmp_dir(), "vmcore-blk-XXXXXX", NULL);
    char sector[512];
    int fd = g_mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, SECTORS * 512), 0);
    for (unsigned i = 0; i < SECTORS && !sparse; i++) {
        memset(sector, (int)i, 512);
        assert_int_equal(write(fd, sector, 512), 512);
    }
    close(fd);
    return path;
}

static inline Block *block_new_with(const BlockOptions *options)
{
    Block *b = g_new0(Block, 1);
    GError *error = NULL;

    b->path = make_sectors(options->folder, options->sparse);
    rig_init(&b->rig);
    b->rig.host.hooks = options->hooks;
    VmcVirtioBlockParams params = {
        .disk = vmc_disk_open_raw(b->path, options->readonly, &error),
        .id = "a-serial-number-of-more-than-20-bytes",
        .queues = MAX(options->queues, 1),
        .cache = options->cache,
    };
    assert_null(error);
    rig_plug(&b->rig, vmc_virtio_block_new(&b->rig.host, &params));
    return b;
}

static inline Block *block_new(bool readonly)
{
    return block_new_with(&(BlockOptions){.readonly = readonly});
}

static inline int setup(void **state)
{
    Block *b = block_new(false);

    bring_up(b, FEATURES);
    *state = b;
    return 0;
}

static inline int teardown(void **state)
{
    Block *b = *state;

    rig_clear(&b->rig);
    if (b->path)
        g_remove(b->path);
    g_free(b->path);
    g_free(b);
    return 0;
}

/* For tests that make a disk of their own. */
static inline void block_end(Block *b)
{
    void *state = b;

    teardown(&state);
}

static inline void put_header(Rig *rig, uint64_t at, uint32_t type, uint64_t sector)
{
    *(struct virtio_blk_outhdr *)rig_host(rig, at, 16) =
        (struct virtio_blk_outhdr){.type = type, .sector = sector};
}

/* Sends one request, header and data and status in one buffer each. */
static inline void send_request(Block *b, unsigned queue, uint32_t type, uint64_t sector, uint32_t len)
{
    Rig *rig = &b->rig;
    bool to_guest =
        type != VIRTIO_BLK_T_OUT && type != VIRTIO_BLK_T_DISCARD && type != VIRTIO_BLK_T_WRITE_ZEROES;
    RigBuffer buffers[3] = {{b->header, 16}, {b->data, len}, {b->status, 1}};

    put_header(rig, b->header, type, sector);
    if (!len)
        buffers[1] = buffers[2];
    *(uint8_t *)rig_host(rig, b->status, 1) = 0xee;
    rig_add(rig, &rig->queues[queue], buffers, 1 + (len && !to_guest), 1 + (len && to_guest));
    rig_kick(rig, &rig->queues[queue]);
}

/* Waits until it has come back; returns the status byte. */
static inline uint8_t await_request(Block *b, unsigned queue)
{
    Rig *rig = &b->rig;

    assert_true(rig_used(rig, &rig->queues[queue]).len >= 1);
    return *(uint8_t *)rig_host(rig, b->status, 1);
}

static inline uint8_t request(Block *b, uint32_t type, uint64_t sector, uint32_t len)
{
    send_request(b, 0, type, sector, len);
    return await_request(b, 0);
}

static inline void expect_all(const uint8_t *bytes, uint8_t what, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != what)
            fail_msg("byte %zu is %#x, not %#x", i, bytes[i], what);
}
