/*
 * virtio-blk: requests of all types, on a disk in memory that fails where the input says, is full at times,
 * can be made larger while requests are under way, and is found by io_uring or by worker threads.
 *
 * covers: vmcore/virtio/block.c vmcore/virtio/block_request.c vmcore/block/engine.c
 * vmcore/block/change.c vmcore/virtio/linger.c
 */
#include <linux/virtio_blk.h>

#include "tests/fuzz/disk.h"

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in), what = fuzz_u8(in);
    FuzzDisk *fd = fuzz_disk_new(in, how, what);
    VmcVirtioBlockParams params = {
        .disk = &fd->disk,
        .id = what & 0x40 ? "fuzz" : NULL,
        .queues = 1 + (how >> 5) % 4,
        .cache = (VmcDiskCache)(what >> 3 & 3) % 3,
    };

    m->own = fd;
    m->host.hooks = what & 0x80 ? NULL : &fd->hooks;
    return vmc_virtio_block_new(&m->host, &params);
}

static void unmake(FuzzMachine *m)
{
    m->host.hooks = NULL;
    fuzz_disk_free(m->own);
}

/* ---- requests ---- */

static size_t request(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    static const uint32_t types[] = {VIRTIO_BLK_T_IN,     VIRTIO_BLK_T_OUT,         VIRTIO_BLK_T_FLUSH,
                                     VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_DISCARD,     VIRTIO_BLK_T_WRITE_ZEROES,
                                     VIRTIO_BLK_T_OUT,    VIRTIO_BLK_T_WRITE_ZEROES};
    uint8_t how = fuzz_u8(in);
    struct virtio_blk_outhdr header = {.type = how & 0x80 ? fuzz_u8(in) : types[how % G_N_ELEMENTS(types)],
                                       .sector = fuzz_sector(in)};
    size_t len = sizeof(header);

    memcpy(buf, &header, sizeof(header));
    if (header.type == VIRTIO_BLK_T_DISCARD || header.type == VIRTIO_BLK_T_WRITE_ZEROES) {
        for (unsigned n = fuzz_below(in, 19); n; n--, len += sizeof(struct virtio_blk_discard_write_zeroes)) {
            uint8_t flags = fuzz_u8(in);
            struct virtio_blk_discard_write_zeroes segment = {
                .sector = fuzz_sector(in),
                .num_sectors = flags & 0x40 ? fuzz_u32(in) : fuzz_below(in, 40),
                .flags = flags & 0x80 ? flags : flags & 1,
            };
            memcpy(buf + len, &segment, sizeof(segment));
        }
        if (how & 0x40)
            len -= fuzz_below(in, 17);
    } else if (header.type == VIRTIO_BLK_T_OUT) {
        size_t data = fuzz_below(in, 4) * VMC_DISK_SECTOR + (how & 0x40 ? fuzz_u8(in) : 0);
        data = MIN(data, FUZZ_MESSAGE_MAX - len);
        memset(buf + len, how, data);
        len += data;
    }
    return how == 0x3f ? fuzz_below(in, 17) : len;
}

static const FuzzMessage messages[] = {{.queue = FUZZ_ANY_QUEUE, .make = request}};

/* A read of whole sectors, which the common steps' lengths seldom are. */
static void step_read(FuzzMachine *m, FuzzInput *in)
{
    struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_IN, .sector = fuzz_sector(in)};
    unsigned queue = fuzz_below(in, m->n_queues ? m->n_queues : 1);
    FuzzChain chain = {.out = &header,
                       .len = sizeof(header),
                       .in_len = fuzz_below(in, 20) * VMC_DISK_SECTOR + 1,
                       .n_out = 1,
                       .n_in = 1 + fuzz_below(in, 4),
                       .indirect = fuzz_u8(in) & 1};

    fuzz_send(m, queue, &chain);
    fuzz_kick(m, queue);
    if (fuzz_u8(in) & 1)
        fuzz_settle(m);
}

/* ---- what happens on the host ---- */

static void step_full(FuzzMachine *m, FuzzInput *in)
{
    ((FuzzDisk *)m->own)->full = fuzz_u8(in) & 1;
}

static void step_resumed(FuzzMachine *m, FuzzInput *in)
{
    vmc_pci_bus_resumed(m->pci);
    if (fuzz_u8(in) & 1)
        fuzz_settle(m);
}

static void step_resize(FuzzMachine *m, FuzzInput *in)
{
    fuzz_disk_resize(m, in, vmc_virtio_block_changes(m->dev));
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_read, step_read, step_full, step_resumed,
                                                               step_resize};

static const FuzzTarget target = {
    .make = make,
    .unmake = unmake,
    .messages = messages,
    .n_messages = G_N_ELEMENTS(messages),
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
    .drain = true,
};

FUZZ_DEVICE(target)
