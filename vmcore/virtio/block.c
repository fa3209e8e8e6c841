/*
 * virtio-blk (VIRTIO 1.2 s5.2): the device. What a request may ask for is in block_request.c, what a disk is
 * and how its bytes are moved without anybody waiting in block/.
 *
 * All queues are served on the I/O thread, since that is where the disk's ring is: it takes requests off a
 * queue, hands them to the engine in batches, gives back those that are done already (their data was in the
 * host's page cache) with one interrupt for all, and looks at the queue again before it lets the driver
 * notify it. At most REQUESTS_MAX requests are out; while all of them are, the rest wait in their queues.
 *
 * Guest memory is touched by others only between submit and done. Reset is over when no request is left in
 * between; power-on reset and free wait for that: see reset and drain.
 *
 * A write for which the host has no room is kept until the machine is resumed, and tried again; all other
 * errors are the guest's to know (S_IOERR), and the user's: see block/report.h.
 *
 * The disk may be made larger under the driver (s5.2.5) or become a layer: see block/change.h.
 *
 * Threads: everything on the I/O thread, except that vCPUs read the configuration (`config_lock`) and write
 * `writeback`.
 */
#include "base/seeded.h"
#include "block/change.h"
#include "block/report.h"
#include "virtio/block.h"

#include <errno.h>

#include "base/i18n.h"
#include "virtio/devices.h"
#include "virtio/linger.h"
#include "virtio/virtio_pci.h"

#define QUEUE_SIZE   256u
#define REQUESTS_MAX 128u
#define BATCH_BYTES  (1u << 20)       /* after so many the engine starts */
#define TURN_MAX     (4 * QUEUE_SIZE) /* requests of one queue until others have their turn */

/* s5.2.4, up to the last field of a feature we offer; little-endian. */
typedef struct __attribute__((packed)) BlockConfig {
    uint64_t capacity; /* sectors of 512 bytes */
    uint32_t size_max, seg_max;
    struct {
        uint16_t cylinders;
        uint8_t heads, sectors;
    } geometry;
    uint32_t blk_size;
    struct {
        uint8_t physical_block_exp, alignment_offset;
        uint16_t min_io_size;
        uint32_t opt_io_size;
    } topology;
    uint8_t writeback, unused;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap, unused2[3];
} BlockConfig;

_Static_assert(sizeof(BlockConfig) == 60 && offsetof(BlockConfig, num_queues) == 34, "as in s5.2.4");

typedef struct Block {
    VmcVirtioDevice dev;
    VmcDisk *disk;
    VmcBlockEngine *engine;
    VmcDiskReport report;
    VmcDiskCache cache;
    char id[VMC_BLOCK_ID_BYTES];

    GMutex config_lock;
    BlockConfig config; /* with config_lock; changed by the I/O thread */
    atomic_bool writeback;

    VmcVirtioBlockRequest requests[REQUESTS_MAX];
    VmcVirtioBlockRequest *unused;
    unsigned out;                             /* not in `unused` */
    VmcVirtioBlockRequest *kept, **kept_tail; /* until there is room on the host's disk */
    unsigned n_kept;
    uint64_t size; /* what requests are held against, bytes */
    uint64_t features;
    bool resetting;   /* reset waits for `out` to become 0 */
    uint32_t starved; /* queues that wait for an unused request, or for the end of a change; a bit each */
    uint32_t pushed;  /* queues with something the driver has not been told of */
    VmcLinger linger[VMC_VIRTIO_BLOCK_QUEUES_MAX];
    VmcDiskChanges changes;
} Block;

/* ---- requests that come back ---- */

/* Even while a reset waits for it: guest memory is ours to write until the reset is done. */
static void complete(Block *block, VmcVirtioBlockRequest *req)
{
    if (req->status)
        *req->status = req->result;
    vmc_virtio_push(&block->dev, req->queue, &req->elem, req->written);
    block->pushed |= 1u << req->queue;
    req->next = block->unused;
    block->unused = req;
    block->out--;
}

static void notify_pushed(Block *block)
{
    for (unsigned queue = 0; block->pushed; queue++)
        if (block->pushed & 1u << queue) {
            block->pushed &= ~(1u << queue);
            vmc_virtio_notify(&block->dev, queue);
        }
}

/* Whether a request that failed is one to try again when the user has made room. Without a length it is the
 * flush behind a write that failed. */
static bool can_be_kept(const Block *block, const VmcBlockRequest *io)
{
    return (io->op == VMC_BLOCK_WRITE || io->op == VMC_BLOCK_WRITE_ZEROES) && io->length &&
           block->dev.running;
}

static void keep(Block *block, VmcVirtioBlockRequest *req)
{
    req->next = NULL;
    *block->kept_tail = req;
    block->kept_tail = &req->next;
    block->n_kept++;
}

static VmcVirtioBlockRequest *take_kept(Block *block)
{
    VmcVirtioBlockRequest *req = block->kept;

    block->kept = NULL;
    block->kept_tail = &block->kept;
    block->n_kept = 0;
    return req;
}

static void drop_kept(Block *block)
{
    for (VmcVirtioBlockRequest *req = take_kept(block), *next; req; req = next) {
        next = req->next;
        req->result = VMC_BLOCK_S_IOERR;
        complete(block, req);
    }
}

static void request_done(void *opaque, VmcBlockRequest *io)
{
    Block *block = opaque;
    VmcVirtioBlockRequest *req = (VmcVirtioBlockRequest *)io;

    if (vmc_disk_change_finish(&block->changes, io)) {
        return;
    } else if (io->error && can_be_kept(block, io) && vmc_disk_ask_for_room(&block->report, io->error)) {
        keep(block, req);
    } else if (!io->error && vmc_virtio_block_next_segment(req)) {
        vmc_block_engine_submit(block->engine, io);
    } else {
        if (io->error && io->error != -ECANCELED)
            vmc_disk_report_error(&block->report, io->op, io->offset, io->error);
        req->result = io->error ? VMC_BLOCK_S_IOERR : VMC_BLOCK_S_OK;
        complete(block, req);
    }
}

/* ---- requests from the driver ---- */

/* s5.2.5.2, s5.2.6.2: with CONFIG_WCE the field says whether writes need a flush to last; without it, there
 * being a flush does. */
static bool is_write_through(const Block *block)
{
    if (block->cache == VMC_CACHE_WRITE_THROUGH)
        return true;
    if (block->features & VMC_BLOCK_F_CONFIG_WCE)
        return !atomic_load(&block->writeback);
    return !(block->features & VMC_BLOCK_F_FLUSH);
}

static VmcBlockRules rules_now(const Block *block)
{
    return (VmcBlockRules){
        .features = block->features,
        .size = block->size,
        .readonly = block->disk->readonly,
        .durable = block->cache != VMC_CACHE_UNSAFE && is_write_through(block),
        .ignore_flush = block->cache == VMC_CACHE_UNSAFE,
        .id = block->id,
    };
}

/* Takes the next request of a queue; false when there is none, or it was none. */
static bool take_request(Block *block, const VmcBlockRules *rules, unsigned queue, uint64_t *bytes)
{
    VmcVirtioBlockRequest *req = block->unused;

    if (!vmc_virtio_pop(&block->dev, queue, &req->elem))
        return false;
    block->unused = req->next;
    block->out++;
    req->queue = queue;
    if (!vmc_virtio_block_parse(rules, req)) {
        vmc_virtio_needs_reset(&block->dev);
        complete(block, req);
        return false;
    }
    if (req->result == VMC_BLOCK_NO_STATUS) {
        *bytes += req->io.length;
        vmc_block_engine_submit(block->engine, &req->io);
    } else {
        complete(block, req);
    }
    return true;
}

/* A batch: off the queue, into the engine, and what is done already back to the driver. */
static unsigned serve_batch(Block *block, unsigned queue)
{
    VmcBlockRules rules = rules_now(block);
    uint64_t bytes = 0;
    unsigned n = 0;

    while (block->unused && bytes < BATCH_BYTES && take_request(block, &rules, queue, &bytes))
        n++;
    vmc_block_engine_run(block->engine);
    notify_pushed(block);
    return n;
}

/* In their turn, so that one busy queue does not starve the others. */
static void wake_starved(Block *block)
{
    uint32_t starved = block->starved;

    if (!starved || !block->unused || vmc_disk_change_pending(&block->changes))
        return;
    block->starved = 0;
    for (unsigned queue = 0; queue < block->dev.n_queues; queue++)
        if (starved & 1u << queue)
            vmc_virtio_kick(&block->dev, queue);
}

/* Whether a queue that requests were just taken from has others; nothing waits for them while some are out.
 */
static bool more_comes(Block *block, unsigned queue)
{
    VmcVirtqueue *vq = &block->dev.queues[queue];

    return block->out ? vmc_virtqueue_available(vq) : vmc_linger(&block->linger[queue], vq);
}

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    Block *block = (Block *)dev;
    VmcVirtqueue *vq = &dev->queues[queue];
    unsigned n = 0, batch;

    vmc_virtqueue_set_notification(vq, false);
    do {
        if (vmc_disk_change_pending(&block->changes) || !block->unused) {
            block->starved |= 1u << queue; /* somebody comes back and sees to it */
            return;
        }
        batch = serve_batch(block, queue);
        n += batch;
    } while (batch && n < TURN_MAX && more_comes(block, queue));
    wake_starved(block); /* something may have come back meanwhile */
    vmc_virtqueue_set_notification(vq, true);
    if (vmc_virtqueue_available(vq))
        vmc_virtio_kick(dev, queue);
}

/* Some requests have come back by themselves. */
static void batch_done(void *opaque)
{
    Block *block = opaque;

    vmc_disk_change_begin(&block->changes);
    if (block->resetting && !block->out) {
        block->resetting = false;
        vmc_virtio_reset_done(&block->dev);
    } else if (block->dev.running) {
        notify_pushed(block);
        wake_starved(block);
    }
}

static void resumed(VmcVirtioDevice *dev)
{
    Block *block = (Block *)dev;

    block->report.asked = false;
    for (VmcVirtioBlockRequest *req = take_kept(block), *next; req; req = next) {
        next = req->next;
        vmc_block_engine_submit(block->engine, &req->io);
    }
    if (vmc_block_engine_run(block->engine))
        batch_done(block);
}

/* ---- changes to the disk ---- */

static bool is_idle(void *opaque)
{
    const Block *block = opaque;

    return block->out == block->n_kept;
}

static void disk_changed(void *opaque)
{
    Block *block = opaque;
    bool larger = block->size != block->disk->size;

    block->size = block->disk->size;
    g_mutex_lock(&block->config_lock);
    block->config.capacity = GUINT64_TO_LE(block->size / VMC_DISK_SECTOR);
    g_mutex_unlock(&block->config_lock);
    if (larger)
        vmc_virtio_config_changed(&block->dev);
}

static const VmcVirtioOps block_ops;

VmcDiskChanges *vmc_virtio_block_changes(VmcPciDevice *dev)
{
    Block *block = (Block *)vmc_virtio_pci_device(dev, &block_ops);

    return block ? &block->changes : NULL;
}

/* ---- configuration (vCPUs) ---- */

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    Block *block = (Block *)dev;

    g_mutex_lock(&block->config_lock);
    BlockConfig config = block->config;
    g_mutex_unlock(&block->config_lock);
    config.writeback = atomic_load(&block->writeback);
    memcpy(buf, (const uint8_t *)&config + offset, len);
}

/* The one field a driver may write; without CONFIG_WCE it has no effect. */
static void config_write(VmcVirtioDevice *dev, uint32_t offset, const void *buf, size_t len)
{
    if (offset == offsetof(BlockConfig, writeback) && len == 1)
        atomic_store(&((Block *)dev)->writeback, *(const uint8_t *)buf == 1);
}

/* ---- lifecycle ---- */

static void driver_ok(VmcVirtioDevice *dev)
{
    Block *block = (Block *)dev;

    vmc_block_engine_cancel(block->engine, false);
    block->features = dev->features;
    if (!(dev->features &
          VMC_BLOCK_F_FLUSH)) /* a driver that cannot flush starts without a cache (s5.2.5.2) */
        atomic_store(&block->writeback, false);
}

static bool reset(VmcVirtioDevice *dev)
{
    Block *block = (Block *)dev;

    vmc_block_engine_cancel(block->engine, true);
    drop_kept(block);
    vmc_block_engine_run(block->engine);
    vmc_disk_change_begin(&block->changes);
    block->starved = block->pushed = 0;
    block->report.asked = false;
    atomic_store(&block->writeback, block->cache != VMC_CACHE_WRITE_THROUGH);
    block->resetting = block->out && !VMC_SEEDED(FREED_IN_USE);
    return !block->resetting;
}

static void drain(VmcVirtioDevice *dev)
{
    vmc_block_engine_drain(((Block *)dev)->engine);
}

/* ---- saving ---- */

/* A request may have more to do when a part of it has come back. */
static void settle(VmcVirtioDevice *dev)
{
    Block *block = (Block *)dev;

    vmc_block_engine_run(block->engine);
    while (block->out != block->n_kept) {
        vmc_block_engine_drain(block->engine);
        vmc_block_engine_run(block->engine);
    }
    batch_done(block);
}

static unsigned kept(VmcVirtioDevice *dev, unsigned queue)
{
    unsigned n = 0;

    for (const VmcVirtioBlockRequest *req = ((Block *)dev)->kept; req; req = req->next)
        n += req->queue == queue;
    return n;
}

/* What the guest has written is on the disk, whose state of now the saved machine belongs to. */
static void save(VmcVirtioDevice *dev, VmcStateWriter *w)
{
    Block *block = (Block *)dev;
    int err = block->disk->readonly ? 0 : vmc_disk_flush(block->disk);

    if (block->n_kept)
        vmc_state_refuse(
            w, _("The machine cannot be saved while its disk “%s” waits for room on the host; make some"),
            vmc_disk_name(block->disk));
    if (err)
        vmc_state_refuse(w, _("The disk “%s” cannot be written: %s"), vmc_disk_name(block->disk),
                         g_strerror(-err));
    vmc_state_put_u64(w, block->size);
    vmc_state_put_bool(w, atomic_load(&block->writeback));
}

static bool load(VmcVirtioDevice *dev, VmcStateReader *r)
{
    Block *block = (Block *)dev;

    vmc_state_check(r, vmc_state_get_u64(r) == block->size, "the size of its disk");
    atomic_store(&block->writeback, vmc_state_get_bool(r));
    block->features = dev->features;
    vmc_block_engine_cancel(block->engine, false);
    return vmc_state_ok(r);
}

static void block_free(VmcVirtioDevice *dev)
{
    Block *block = (Block *)dev;

    vmc_block_engine_free(block->engine);
    for (unsigned i = 0; i < REQUESTS_MAX; i++)
        vmc_virtq_element_clear(&block->requests[i].elem);
    vmc_disk_close(block->disk);
    g_mutex_clear(&block->config_lock);
    g_free(block);
}

static const VmcVirtioOps block_ops = {
    .name = "virtio-blk",
    .type = VMC_VIRTIO_ID_BLOCK,
    .pci_class = 0x010000,
    .config_size = sizeof(BlockConfig),
    .n_queues = 1,
    .queue_sizes = {QUEUE_SIZE},
    .config_read = config_read,
    .config_write = config_write,
    .driver_ok = driver_ok,
    .queue_notified = queue_notified,
    .resumed = resumed,
    .reset = reset,
    .drain = drain,
    .free = block_free,
    .settle = settle,
    .kept = kept,
    .save = save,
    .load = load,
};

static void offer(Block *block)
{
    const VmcDisk *disk = block->disk;

    block->dev.offered = VMC_BLOCK_F_SEG_MAX | VMC_BLOCK_F_BLK_SIZE | VMC_BLOCK_F_FLUSH |
                         VMC_BLOCK_F_TOPOLOGY | VMC_BLOCK_F_CONFIG_WCE;
    if (disk->readonly)
        block->dev.offered |= VMC_BLOCK_F_RO;
    if (block->dev.n_queues > 1)
        block->dev.offered |= VMC_BLOCK_F_MQ;
    if (vmc_disk_can_discard(disk))
        block->dev.offered |= VMC_BLOCK_F_DISCARD;
    if (vmc_disk_can_write_zeroes(disk))
        block->dev.offered |= VMC_BLOCK_F_WRITE_ZEROES;
}

static void fill_config(Block *block)
{
    const VmcDisk *disk = block->disk;
    unsigned sectors = disk->block_size / VMC_DISK_SECTOR;

    block->config = (BlockConfig){
        .capacity = GUINT64_TO_LE(disk->size / VMC_DISK_SECTOR),
        .seg_max = GUINT32_TO_LE(QUEUE_SIZE - 2), /* header and status take a descriptor each */
        .blk_size = GUINT32_TO_LE(VMC_DISK_SECTOR),
        .topology = {.physical_block_exp = (uint8_t)__builtin_ctz(sectors),
                     .min_io_size = GUINT16_TO_LE(sectors)},
        .num_queues = GUINT16_TO_LE(block->dev.n_queues),
    };
    if (block->dev.offered & VMC_BLOCK_F_DISCARD) {
        block->config.max_discard_sectors = GUINT32_TO_LE(VMC_BLOCK_SPACE_MAX);
        block->config.max_discard_seg = GUINT32_TO_LE(VMC_BLOCK_SEGMENTS_MAX);
        block->config.discard_sector_alignment = GUINT32_TO_LE(sectors);
    }
    if (block->dev.offered & VMC_BLOCK_F_WRITE_ZEROES) {
        block->config.max_write_zeroes_sectors = GUINT32_TO_LE(VMC_BLOCK_SPACE_MAX);
        block->config.max_write_zeroes_seg = GUINT32_TO_LE(VMC_BLOCK_SEGMENTS_MAX);
        block->config.write_zeroes_may_unmap = vmc_disk_can_discard(disk);
    }
}

VmcPciDevice *vmc_virtio_block_new(const VmcVirtioHost *host, const VmcVirtioBlockParams *params)
{
    Block *block = g_new0(Block, 1);
    VmcBlockEngineParams engine = {
        .io = host->io,
        .disk = params->disk,
        .depth = REQUESTS_MAX,
        .done = request_done,
        .batch = batch_done,
        .opaque = block,
    };

    vmc_virtio_device_init(&block->dev, &block_ops, host->memory, host->io);
    vmc_virtio_device_add_queues(&block->dev, CLAMP(params->queues, 1, VMC_VIRTIO_BLOCK_QUEUES_MAX) - 1,
                                 QUEUE_SIZE);
    block->disk = params->disk;
    block->report = (VmcDiskReport){.disk = params->disk, .hooks = host->hooks};
    block->cache = params->cache;
    block->size = params->disk->size;
    block->writeback = params->cache != VMC_CACHE_WRITE_THROUGH;
    if (params->id)
        memcpy(block->id, params->id, strnlen(params->id, sizeof(block->id)));
    for (unsigned i = 0; i < REQUESTS_MAX; i++) {
        block->requests[i].next = block->unused;
        block->unused = &block->requests[i];
    }
    block->kept_tail = &block->kept;
    g_mutex_init(&block->config_lock);
    offer(block);
    fill_config(block);
    block->engine = vmc_block_engine_new(&engine);
    if (!block->engine) {
        block_free(&block->dev);
        return NULL;
    }
    block->changes =
        (VmcDiskChanges){host->io, block->disk, block->engine, is_idle, disk_changed, block, NULL};
    return vmc_virtio_pci_new(&block->dev);
}
