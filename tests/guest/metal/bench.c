/*
 * The guest of tests/bench/devices.py: how much a device moves for a driver of few instructions, so that the
 * CPU which interprets them counts little. It polls, wants no interrupts, and takes few features: VERSION_1
 * and what a fair comparison needs. Prints "bench NAME OPERATIONS BYTES MICROSECONDS" for each measurement.
 */
#include "virtio.h"

#define MIB        0x100000u
#define PATIENCE   20000000u /* microseconds for one request */
#define SLOTS      16u       /* requests in flight at most */
#define SEQ_TOTAL  512u      /* MiB */
#define SEQ_DEPTH  4u
#define RANDOM_OPS 20000u

/* ---- block (s5.2) ---- */

#define BLK_IN      0u
#define BLK_OUT     1u
#define BLK_F_FLUSH (1ull << 9)

typedef struct BlkHeader {
    uint32_t type, reserved;
    uint64_t sector;
} BlkHeader;

typedef struct Blk {
    Queue *q;
    uint64_t sectors;
    BlkHeader *headers;
    volatile uint8_t *status;
    uint8_t *data;
    uint32_t bytes; /* of a request */
    unsigned failed;
} Blk;

static void notify(Queue *q)
{
    __asm__ volatile("mfence" ::: "memory");
    if (!(q->used->flags & 1))
        *q->bell = (uint16_t)q->index;
}

/* Request in slot n, with descriptors 3n to 3n + 2. */
static void blk_submit(Blk *b, unsigned n, unsigned type, uint64_t sector)
{
    b->headers[n] = (BlkHeader){.type = type, .sector = sector};
    b->status[n] = 0xff;
    queue_desc(b->q, 3 * n, &b->headers[n], sizeof(BlkHeader), 0, 3 * (int)n + 1);
    queue_desc(b->q, 3 * n + 1, b->data + (uint64_t)n * b->bytes, b->bytes, type == BLK_IN ? DESC_WRITE : 0,
               3 * (int)n + 2);
    queue_desc(b->q, 3 * n + 2, &b->status[n], 1, DESC_WRITE, -1);
    queue_offer(b->q, 3 * n);
}

/* The slot of the next request that comes back, -1: none does. */
static int blk_reap(Blk *b)
{
    if (queue_wait(b->q, PATIENCE) < 0)
        return -1;
    unsigned n = b->q->used->ring[(uint16_t)(b->q->last_used - 1) % b->q->size].id / 3;
    b->failed += b->status[n] != 0;
    return (int)n;
}

static uint64_t next_random(void)
{
    static uint64_t state = 88172645463325252ull;

    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static uint64_t sector_of(const Blk *b, unsigned i, bool random)
{
    uint64_t per = b->bytes / 512, n = b->sectors / per;

    return (random ? next_random() % n : i % n) * per;
}

static void blk_measure(Blk *b, const char *name, unsigned type, bool random, unsigned operations,
                        unsigned depth)
{
    uint64_t start = now_us();
    unsigned sent = 0, done = 0;

    b->failed = 0;
    for (; sent < depth; sent++)
        blk_submit(b, sent, type, sector_of(b, sent, random));
    notify(b->q);
    while (done < operations) {
        int n = blk_reap(b);
        if (n < 0) {
            print("bench: %s: a request does not come back\n", name);
            return;
        }
        done++;
        if (sent < operations) {
            blk_submit(b, (unsigned)n, type, sector_of(b, sent++, random));
            notify(b->q);
        }
    }
    uint64_t took = now_us() - start;
    if (b->failed)
        print("bench: %s: %u requests failed\n", name, b->failed);
    else
        print("bench %s %u %U %U\n", name, operations, (uint64_t)operations * b->bytes, took);
}

static void bench_block(Virtio *v)
{
    Blk b = {0};

    if (!virtio_reset(v) || !virtio_negotiate(v, virtio_offered(v) & (VIRTIO_VERSION_1 | BLK_F_FLUSH)))
        return;
    b.q = virtio_queue(v, 0, 64);
    b.q->avail->flags = 1;
    b.sectors = *(volatile uint64_t *)v->config;
    b.headers = metal_alloc(sizeof(BlkHeader) * SLOTS, 64);
    b.status = metal_alloc(SLOTS, 64);
    b.data = metal_alloc(SLOTS * MIB, 4096);
    virtio_ready(v);

    b.bytes = MIB;
    blk_measure(&b, "warm-up", BLK_IN, false, (unsigned)(b.sectors / 2048), SEQ_DEPTH);
    blk_measure(&b, "block-read-1m", BLK_IN, false, SEQ_TOTAL, SEQ_DEPTH);
    blk_measure(&b, "block-write-1m", BLK_OUT, false, SEQ_TOTAL, SEQ_DEPTH);
    b.bytes = 4096;
    blk_measure(&b, "block-read-4k-1", BLK_IN, true, RANDOM_OPS, 1);
    blk_measure(&b, "block-read-4k-16", BLK_IN, true, RANDOM_OPS, SLOTS);
    blk_measure(&b, "block-write-4k-16", BLK_OUT, true, RANDOM_OPS, SLOTS);
    virtio_reset(v);
}

void metal_run(const char *cmdline)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        Virtio v;
        if (!virtio_probe(&v, devfn))
            continue;
        if (v.type == 2)
            bench_block(&v);
    }
    print("bench: done\n");
}
