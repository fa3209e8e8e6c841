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

/* ---- net (s5.1), on a cable that brings every frame back ---- */

#define NET_RX      0u
#define NET_TX      1u
#define NET_HEADER  12u
#define NET_FRAME   1514u
#define NET_BUFFER  2048u
#define NET_BUFFERS 128u
#define NET_WINDOW  64u /* frames under way at most; fewer than there are buffers for */
#define PING_OPS    20000u
#define STREAM_OPS  200000u

typedef struct Net {
    Queue *rx, *tx;
    uint8_t *in, *out; /* NET_BUFFERS of NET_BUFFER each */
    unsigned sent, received;
} Net;

static void net_give(Net *n, unsigned i)
{
    queue_desc(n->rx, i, n->in + (uint64_t)i * NET_BUFFER, NET_BUFFER, DESC_WRITE, -1);
    queue_offer(n->rx, i);
}

/* To everybody, of a type for experiments (IEEE Std 802, 0x88b5). */
static void net_send(Net *n, unsigned bytes)
{
    unsigned i = n->sent++ % NET_BUFFERS;
    uint8_t *frame = n->out + (uint64_t)i * NET_BUFFER;

    memset(frame, 0, NET_HEADER);
    memset(frame + NET_HEADER, 0xff, 6);
    memcpy(frame + NET_HEADER + 6, "\x02\x00\x00\x00\x00\x01\x88\xb5", 8);
    queue_desc(n->tx, i, frame, NET_HEADER + bytes, 0, -1);
    queue_offer(n->tx, i);
}

/* Takes what has come and gives the buffers back. False: nothing came for long. */
static bool net_receive(Net *n)
{
    if (queue_wait(n->rx, PATIENCE) < 0)
        return false;
    do {
        net_give(n, n->rx->used->ring[(uint16_t)(n->rx->last_used - 1) % n->rx->size].id);
        n->received++;
    } while (n->rx->used->idx != n->rx->last_used && queue_wait(n->rx, 0) >= 0);
    notify(n->rx); /* it may have stopped for want of buffers */
    return true;
}

static void net_measure(Net *n, const char *name, unsigned bytes, unsigned operations, unsigned window)
{
    uint64_t start = now_us();

    n->sent = n->received = 0;
    while (n->received < operations) {
        bool new = false;
        for (; n->sent < operations && n->sent - n->received < window; new = true)
            net_send(n, bytes);
        if (new)
            notify(n->tx);
        if (!net_receive(n)) {
            print("bench: %s: frame %u of %u does not come back\n", name, n->received, operations);
            return;
        }
    }
    print("bench %s %u %U %U\n", name, operations, (uint64_t)operations * bytes, now_us() - start);
}

static void bench_net(Virtio *v)
{
    Net n = {0};

    if (!virtio_reset(v) || !virtio_negotiate(v, virtio_offered(v) & VIRTIO_VERSION_1))
        return;
    n.rx = virtio_queue(v, NET_RX, 256);
    n.tx = virtio_queue(v, NET_TX, 256);
    n.rx->avail->flags = n.tx->avail->flags = 1;
    n.in = metal_alloc(NET_BUFFERS * NET_BUFFER, 4096);
    n.out = metal_alloc(NET_BUFFERS * NET_BUFFER, 4096);
    virtio_ready(v);
    for (unsigned i = 0; i < NET_BUFFERS; i++)
        net_give(&n, i);
    notify(n.rx);

    net_measure(&n, "net-ping-64", 64, PING_OPS, 1);
    net_measure(&n, "net-stream-64", 64, STREAM_OPS, NET_WINDOW);
    net_measure(&n, "net-stream-1514", NET_FRAME, STREAM_OPS, NET_WINDOW);
    virtio_reset(v);
}

/* ---- file system (s5.11; FUSE 7.31): the file "data" of the shared folder ---- */

#define FUSE_LOOKUP  1u
#define FUSE_GETATTR 3u
#define FUSE_OPEN    14u
#define FUSE_READ    15u
#define FUSE_INIT    26u
#define FUSE_BIG     (1u << 22 | 1u << 0) /* MAX_PAGES, ASYNC_READ */
#define FS_QUEUE     1u                   /* 0 is for what cannot wait */
#define FS_OPS       20000u

typedef struct FuseRequest {
    uint32_t len, opcode;
    uint64_t unique, nodeid;
    uint32_t uid, gid, pid, padding;
    union {
        struct {
            uint32_t major, minor, max_readahead, flags;
        } init;
        struct {
            uint32_t flags, padding;
        } open;
        struct {
            uint64_t fh, offset;
            uint32_t size, read_flags;
            uint64_t owner;
            uint32_t flags, padding;
        } read;
        struct {
            uint32_t flags, padding;
            uint64_t fh;
        } getattr;
        char name[8];
    };
} FuseRequest;

typedef struct FuseReply {
    uint32_t len;
    int32_t error;
    uint64_t unique;
    uint64_t words[18]; /* nodeid of an entry, fh of a file */
} FuseReply;

typedef struct Fs {
    Queue *q;
    FuseRequest *requests;
    FuseReply *replies;
    uint8_t *data;
    uint64_t node, fh, size, done, failed;
    uint32_t bytes;
} Fs;

/* Request n with `args` bytes behind the header, to be answered by `reply` bytes behind that and then data.
 */
static void fs_submit(Fs *fs, unsigned n, unsigned opcode, uint32_t args, uint32_t reply, uint32_t data)
{
    FuseRequest *request = &fs->requests[n];

    request->len = 40 + args;
    request->opcode = opcode;
    request->unique = 2 * (uint64_t)n + 2;
    request->nodeid = opcode == FUSE_INIT || opcode == FUSE_LOOKUP ? 1 : fs->node;
    queue_desc(fs->q, 3 * n, request, request->len, 0, 3 * (int)n + 1);
    queue_desc(fs->q, 3 * n + 1, &fs->replies[n], 16 + reply, DESC_WRITE, data ? 3 * (int)n + 2 : -1);
    if (data)
        queue_desc(fs->q, 3 * n + 2, fs->data + (uint64_t)n * fs->bytes, data, DESC_WRITE, -1);
    queue_offer(fs->q, 3 * n);
}

static int fs_reap(Fs *fs)
{
    if (queue_wait(fs->q, PATIENCE) < 0)
        return -1;
    unsigned n = fs->q->used->ring[(uint16_t)(fs->q->last_used - 1) % fs->q->size].id / 3;
    fs->failed += fs->replies[n].error != 0;
    return (int)n;
}

static bool fs_call(Fs *fs, const char *what, unsigned opcode, uint32_t args, uint32_t reply)
{
    fs->failed = 0;
    fs_submit(fs, 0, opcode, args, reply, 0);
    notify(fs->q);
    if (fs_reap(fs) == 0 && !fs->failed)
        return true;
    print("bench: fs: %s failed, error %u\n", what, (unsigned)-fs->replies[0].error);
    return false;
}

/* A session with the file open. */
static bool fs_begin(Fs *fs)
{
    FuseRequest *request = &fs->requests[0];

    request->init.major = 7;
    request->init.minor = 31;
    request->init.max_readahead = MIB;
    request->init.flags = FUSE_BIG;
    if (!fs_call(fs, "INIT", FUSE_INIT, 16, 64))
        return false;
    memcpy(request->name, "data", 5);
    if (!fs_call(fs, "LOOKUP", FUSE_LOOKUP, 5, 128))
        return false;
    fs->node = fs->replies[0].words[0];
    fs->size =
        fs->replies[0].words[6]; /* entry_out: five words, then the attributes, of which it is the second */
    request->open.flags = 0;
    if (!fs_call(fs, "OPEN", FUSE_OPEN, 8, 16))
        return false;
    fs->fh = fs->replies[0].words[0];
    return true;
}

static void fs_next(Fs *fs, unsigned n, unsigned opcode, unsigned i, bool random)
{
    FuseRequest *request = &fs->requests[n];
    uint64_t blocks = fs->size / fs->bytes;

    if (opcode == FUSE_READ) {
        request->read.fh = fs->fh;
        request->read.offset = (random ? next_random() : i) % blocks * fs->bytes;
        request->read.size = fs->bytes;
        fs_submit(fs, n, opcode, 40, 0, fs->bytes);
    } else {
        request->getattr.flags = 0;
        fs_submit(fs, n, opcode, 16, 104, 0);
    }
}

static void fs_measure(Fs *fs, const char *name, unsigned opcode, bool random, unsigned operations,
                       unsigned depth)
{
    uint64_t start = now_us();
    unsigned sent = 0;

    fs->failed = 0;
    for (; sent < depth; sent++)
        fs_next(fs, sent, opcode, sent, random);
    notify(fs->q);
    for (unsigned done = 0; done < operations; done++) {
        int n = fs_reap(fs);
        if (n < 0) {
            print("bench: %s: a request does not come back\n", name);
            return;
        }
        if (opcode == FUSE_READ && fs->replies[n].len != 16 + fs->bytes)
            fs->failed++;
        if (sent < operations) {
            fs_next(fs, (unsigned)n, opcode, sent++, random);
            notify(fs->q);
        }
    }
    uint64_t took = now_us() - start;
    if (fs->failed)
        print("bench: %s: %U requests failed\n", name, fs->failed);
    else
        print("bench %s %u %U %U\n", name, operations, (uint64_t)operations * fs->bytes, took);
}

static void bench_fs(Virtio *v)
{
    Fs fs = {0};

    if (!virtio_reset(v) || !virtio_negotiate(v, virtio_offered(v) & VIRTIO_VERSION_1))
        return;
    virtio_queue(v, 0, 64);
    fs.q = virtio_queue(v, FS_QUEUE, 64);
    fs.q->avail->flags = 1;
    fs.requests = metal_alloc(sizeof(FuseRequest) * SLOTS, 64);
    fs.replies = metal_alloc(sizeof(FuseReply) * SLOTS, 64);
    fs.data = metal_alloc(SLOTS * MIB, 4096);
    virtio_ready(v);
    if (!fs_begin(&fs))
        return;
    fs.bytes = MIB;
    fs_measure(&fs, "warm-up", FUSE_READ, false, (unsigned)(fs.size / MIB), SEQ_DEPTH);
    fs_measure(&fs, "fs-read-1m", FUSE_READ, false, SEQ_TOTAL, SEQ_DEPTH);
    fs.bytes = 4096;
    fs_measure(&fs, "fs-read-4k-1", FUSE_READ, true, FS_OPS, 1);
    fs_measure(&fs, "fs-read-4k-16", FUSE_READ, true, FS_OPS, SLOTS);
    fs_measure(&fs, "fs-getattr-1", FUSE_GETATTR, false, FS_OPS, 1);
    virtio_reset(v);
}

void metal_run(const char *cmdline)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        Virtio v;
        if (!virtio_probe(&v, devfn))
            continue;
        metal_free_all();
        if (v.type == 2)
            bench_block(&v);
        else if (v.type == 1)
            bench_net(&v);
        else if (v.type == 26)
            bench_fs(&v);
    }
    print("bench: done\n");
}
