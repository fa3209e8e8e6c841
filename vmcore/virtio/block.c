/*
 * virtio-blk (VIRTIO 1.2 s5.2): parses requests and hands them to a VmcDisk; what a disk is lives in block/.
 *
 * The I/O thread takes requests off the queue, looks at their headers and passes them to a small pool of
 * worker threads, so that it never waits for a disk. A worker moves the data straight between disk and guest
 * RAM, puts the request on the `finished` list and rings a bell; the I/O thread then writes the status byte
 * and gives the chain back. At most REQUESTS_MAX requests are out; while all of them are, the rest wait in
 * the queue.
 *
 * Large requests are worked off in slices, between which the worker looks whether the driver has reset the
 * device, so that a reset is not held up by what nobody waits for any more.
 *
 * Guest memory is touched by workers only between `submit` and `finished`. Reset is done when no request is
 * left in between, power-on reset and free wait for that: see reset and drain.
 */
#include <errno.h>

#include "virtio/devices.h"
#include "virtio/virtio_pci.h"

#define F_SEG_MAX  (1ull << 2)
#define F_RO       (1ull << 5)
#define F_BLK_SIZE (1ull << 6)
#define F_FLUSH    (1ull << 9)
#define F_TOPOLOGY (1ull << 10)

#define T_IN     0u
#define T_OUT    1u
#define T_FLUSH  4u
#define T_GET_ID 8u

#define S_OK     0u
#define S_IOERR  1u
#define S_UNSUPP 2u

#define QUEUE_SIZE   256u
#define REQUESTS_MAX 64u
#define WORKERS      4
#define SLICE_BYTES  (1024 * 1024u)
#define SLICE_IOV    64u
#define ID_BYTES     20u

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
} BlockConfig;

_Static_assert(sizeof(BlockConfig) == 32, "as in s5.2.4");

typedef struct RequestHeader {
    uint32_t type, reserved;
    uint64_t sector;
} RequestHeader;

typedef struct Block Block;
typedef struct Request Request;

struct Request {
    Request *next; /* in `unused` or `finished` */
    VmcVirtqElement elem;
    uint32_t type;
    uint64_t offset; /* on the disk, bytes */
    struct iovec *data;
    unsigned n_data;
    uint64_t length;  /* of the data, bytes */
    uint32_t written; /* what the driver is told, the status byte included */
    uint8_t *status;  /* in guest memory */
    uint8_t result;
};

struct Block {
    VmcVirtioDevice dev;
    VmcDisk *disk;
    BlockConfig config;
    char id[ID_BYTES];
    bool flush_each; /* the driver cannot flush, so every write has to last (s5.2.6.2) */

    Request requests[REQUESTS_MAX];
    Request *unused; /* I/O thread only */
    unsigned out;    /* requests not in `unused`; I/O thread only */
    bool resetting;  /* I/O thread only: reset waits for `out` to become 0 */
    atomic_bool cancel;

    GThreadPool *workers;
    VmcDoorbell *bell; /* something has finished */
    GMutex lock;
    GCond idle;
    Request *finished, **finished_tail; /* with lock */
    unsigned working;                   /* with lock: submitted and not finished */
};

/* ---- worker threads ---- */

/* The next slice of a request's data: at most SLICE_BYTES of it in at most SLICE_IOV vectors. */
static unsigned take_slice(Request *req, struct iovec slice[SLICE_IOV], size_t *bytes)
{
    unsigned n = 0;

    *bytes = 0;
    while (n < SLICE_IOV && req->n_data && *bytes < SLICE_BYTES) {
        struct iovec *from = req->data;
        size_t here = MIN(from->iov_len, SLICE_BYTES - *bytes);
        slice[n++] = (struct iovec){.iov_base = from->iov_base, .iov_len = here};
        from->iov_base = (uint8_t *)from->iov_base + here;
        from->iov_len -= here;
        *bytes += here;
        if (!from->iov_len) {
            req->data++;
            req->n_data--;
        }
    }
    return n;
}

static int transfer(Block *block, Request *req)
{
    struct iovec slice[SLICE_IOV];
    uint64_t offset = req->offset;
    int err = 0;

    while (!err && req->n_data) {
        size_t bytes;
        unsigned n = take_slice(req, slice, &bytes);
        if (atomic_load_explicit(&block->cancel, memory_order_relaxed))
            return -ECANCELED;
        err = req->type == T_IN ? vmc_disk_read(block->disk, offset, slice, n)
                                : vmc_disk_write(block->disk, offset, slice, n);
        offset += bytes;
    }
    return err;
}

static void work(gpointer data, gpointer user_data)
{
    Block *block = user_data;
    Request *req = data;
    int err = 0;

    if (req->type != T_FLUSH)
        err = transfer(block, req);
    if (!err && (req->type == T_FLUSH || (req->type == T_OUT && block->flush_each)))
        err = vmc_disk_flush(block->disk);
    req->result = err ? S_IOERR : S_OK;

    g_mutex_lock(&block->lock);
    req->next = NULL;
    *block->finished_tail = req;
    block->finished_tail = &req->next;
    if (!--block->working)
        g_cond_broadcast(&block->idle);
    vmc_doorbell_ring(block->bell);
    g_mutex_unlock(&block->lock);
}

/* ---- requests (I/O thread) ---- */

/* Even while a reset waits for it: guest memory is ours to write until the reset is done. */
static void complete(Block *block, Request *req)
{
    if (req->status)
        *req->status = req->result;
    vmc_virtio_push(&block->dev, 0, &req->elem, req->written);
    req->next = block->unused;
    block->unused = req;
    block->out--;
}

static void submit(Block *block, Request *req)
{
    g_mutex_lock(&block->lock);
    block->working++;
    g_mutex_unlock(&block->lock);
    g_thread_pool_push(block->workers, req, NULL);
}

/* s5.2.6: whole sectors, within the disk; written only if it may be. */
static bool data_acceptable(const Block *block, const Request *req, uint64_t sector)
{
    uint64_t offset, end;

    if (req->length % VMC_DISK_SECTOR || (req->type == T_OUT && block->disk->readonly))
        return false;
    return !__builtin_mul_overflow(sector, (uint64_t)VMC_DISK_SECTOR, &offset) &&
           !__builtin_add_overflow(offset, req->length, &end) && end <= block->disk->size;
}

/* Starts a request whose header has been copied. True if it is on its way, false if `result` stands already.
 */
static bool start_request(Block *block, Request *req, uint64_t sector)
{
    bool to_guest = req->type == T_IN;

    req->data = to_guest ? req->elem.in : req->elem.out;
    req->n_data = to_guest ? req->elem.n_in : req->elem.n_out;
    req->length = to_guest ? req->elem.in_len : req->elem.out_len;
    req->result = S_IOERR;
    switch (req->type) {
    case T_IN:
    case T_OUT:
        if (!data_acceptable(block, req, sector))
            return false;
        req->offset = sector * VMC_DISK_SECTOR;
        return true;
    case T_FLUSH:
        return true;
    case T_GET_ID:
        vmc_virtq_element_write(&req->elem, block->id, sizeof(block->id));
        req->result = S_OK;
        return false;
    default:
        req->result = S_UNSUPP;
        return false;
    }
}

/* False: the chain is no request at all, there is nowhere to say so and the device needs a reset. */
static bool take_request(Block *block, Request *req)
{
    RequestHeader header;
    uint64_t in_len = req->elem.in_len;

    block->unused = req->next;
    block->out++;
    req->written = 0;
    req->status = vmc_virtq_element_take_last(&req->elem);
    if (!req->status || vmc_virtq_element_read(&req->elem, &header, sizeof(header)) != sizeof(header)) {
        vmc_virtio_needs_reset(&block->dev);
        complete(block, req);
        return false;
    }
    req->type = GUINT32_FROM_LE(header.type);
    req->written = (uint32_t)in_len;
    if (start_request(block, req, GUINT64_FROM_LE(header.sector)))
        submit(block, req);
    else
        complete(block, req);
    return true;
}

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    Block *block = (Block *)dev;
    VmcVirtqueue *vq = &dev->queues[0];

    vmc_virtqueue_set_notification(vq, false);
    /* As many as the queue holds, then others have their turn; while all requests are out, one that comes
     * back calls again. */
    for (unsigned n = 0; n < QUEUE_SIZE && block->unused; n++)
        if (!vmc_virtio_pop(dev, 0, &block->unused->elem) || !take_request(block, block->unused))
            break;
    vmc_virtio_notify(dev, 0);
    if (!block->unused)
        return;
    vmc_virtqueue_set_notification(vq, true);
    if (vmc_virtqueue_available(vq))
        vmc_virtio_kick(dev, 0);
}

static void reap(Block *block)
{
    g_mutex_lock(&block->lock);
    Request *req = block->finished;
    block->finished = NULL;
    block->finished_tail = &block->finished;
    g_mutex_unlock(&block->lock);

    while (req) {
        Request *next = req->next;
        complete(block, req);
        req = next;
    }
}

static void requests_finished(void *data)
{
    Block *block = data;

    reap(block);
    if (block->resetting && !block->out) {
        block->resetting = false;
        vmc_virtio_reset_done(&block->dev);
    } else if (block->dev.running) {
        vmc_virtio_notify(&block->dev, 0);
        queue_notified(&block->dev, 0);
    }
}

/* ---- configuration and lifecycle ---- */

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    memcpy(buf, (const uint8_t *)&((Block *)dev)->config + offset, len);
}

static void driver_ok(VmcVirtioDevice *dev)
{
    Block *block = (Block *)dev;

    block->cancel = false;
    block->flush_each = !(dev->features & F_FLUSH);
}

static bool reset(VmcVirtioDevice *dev)
{
    Block *block = (Block *)dev;

    block->cancel = true;
    reap(block);
    block->resetting = block->out;
    return !block->resetting;
}

static void drain(VmcVirtioDevice *dev)
{
    Block *block = (Block *)dev;

    g_mutex_lock(&block->lock);
    while (block->working)
        g_cond_wait(&block->idle, &block->lock);
    g_mutex_unlock(&block->lock);
}

static void block_free(VmcVirtioDevice *dev)
{
    Block *block = (Block *)dev;

    /* A worker that has finished its last request may still be about to leave the lock. */
    g_thread_pool_free(block->workers, FALSE, TRUE);
    vmc_doorbell_free(block->bell);
    for (unsigned i = 0; i < REQUESTS_MAX; i++)
        vmc_virtq_element_clear(&block->requests[i].elem);
    vmc_disk_close(block->disk);
    g_mutex_clear(&block->lock);
    g_cond_clear(&block->idle);
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
    .driver_ok = driver_ok,
    .queue_notified = queue_notified,
    .reset = reset,
    .drain = drain,
    .free = block_free,
};

static void fill_config(Block *block)
{
    const VmcDisk *disk = block->disk;

    block->config.capacity = GUINT64_TO_LE(disk->size / VMC_DISK_SECTOR);
    /* Header and status take a descriptor each. */
    block->config.seg_max = GUINT32_TO_LE(QUEUE_SIZE - 2);
    block->config.blk_size = GUINT32_TO_LE(VMC_DISK_SECTOR);
    block->config.topology.physical_block_exp = (uint8_t)__builtin_ctz(disk->block_size / VMC_DISK_SECTOR);
    block->config.topology.min_io_size = GUINT16_TO_LE(disk->block_size / VMC_DISK_SECTOR);
}

VmcPciDevice *vmc_virtio_block_new(const VmcVirtioHost *host, VmcDisk *disk, const char *id)
{
    Block *block = g_new0(Block, 1);

    vmc_virtio_device_init(&block->dev, &block_ops, host->memory, host->io);
    block->dev.offered = F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | (disk->readonly ? F_RO : 0);
    block->disk = disk;
    fill_config(block);
    if (id)
        memcpy(block->id, id, strnlen(id, sizeof(block->id)));
    for (unsigned i = 0; i < REQUESTS_MAX; i++) {
        block->requests[i].next = block->unused;
        block->unused = &block->requests[i];
    }
    g_mutex_init(&block->lock);
    g_cond_init(&block->idle);
    block->finished_tail = &block->finished;
    block->workers = g_thread_pool_new(work, block, WORKERS, FALSE, NULL);
    block->bell = vmc_doorbell_new(host->io, requests_finished, block);
    if (!block->bell) {
        block_free(&block->dev);
        return NULL;
    }
    return vmc_virtio_pci_new(&block->dev);
}
