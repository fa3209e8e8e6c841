/*
 * virtio-blk without a guest: a driver of a few lines keeps so many requests in the ring of the real device,
 * through its real transport, as fast as they come back. For tests/bench/ring_block.py, which compares it
 * with fio on the same file.
 *
 *     ring_block FILE seconds
 *
 * Prints a line for each pattern: its name, requests a second, bytes a second. The driver spins for a moment
 * before it waits for an interrupt, as a guest's does that has other work.
 */
#define RIG_RAM (128u << 20)
#define RIG_ROM 0x10000000ull

#include "tests/unit/virtio_rig.h"

#include <linux/virtio_blk.h>
#include <stdio.h>

#define DEPTH     32u
#define SIZE      256u
#define SPINS_MAX 1000u

typedef struct Pattern {
    const char *name;
    uint32_t bytes;
    bool write, random;
} Pattern;

static const Pattern patterns[] = {
    {"read-1m", 1 << 20, false, false},
    {"randread-4k", 4096, false, true},
    {"write-1m", 1 << 20, true, false},
    {"randwrite-4k", 4096, true, true},
};

typedef struct Bench {
    Rig rig;
    RigQueue *q;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t kicked; /* avail index of the last kick */
    uint64_t headers, status, data, sectors, next, random;
} Bench;

/* Three descriptors for each slot, which stay; only the sector changes. */
static void prepare(Bench *b, const Pattern *pattern)
{
    for (unsigned i = 0; i < DEPTH; i++) {
        uint16_t flags = pattern->write ? 0 : VRING_DESC_F_WRITE;
        *rig_desc(&b->rig, b->q, 3 * i) =
            (struct vring_desc){b->headers + 16 * i, 16, VRING_DESC_F_NEXT, (uint16_t)(3 * i + 1)};
        *rig_desc(&b->rig, b->q, 3 * i + 1) =
            (struct vring_desc){b->data + ((uint64_t)i << 20), pattern->bytes,
                                (uint16_t)(VRING_DESC_F_NEXT | flags), (uint16_t)(3 * i + 2)};
        *rig_desc(&b->rig, b->q, 3 * i + 2) = (struct vring_desc){b->status + i, 1, VRING_DESC_F_WRITE, 0};
    }
}

static uint64_t next_sector(Bench *b, const Pattern *pattern)
{
    uint64_t length = pattern->bytes / 512, slots = b->sectors / length;

    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    uint64_t slot = pattern->random ? (b->random >> 33) % slots : b->next++ % slots;
    return slot * length;
}

static void send(Bench *b, const Pattern *pattern, unsigned slot)
{
    struct virtio_blk_outhdr *header = rig_host(&b->rig, b->headers + 16 * slot, 16);

    *header = (struct virtio_blk_outhdr){.type = pattern->write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
                                         .sector = next_sector(b, pattern)};
    b->avail->ring[b->q->next_avail++ % SIZE] = (uint16_t)(3 * slot);
}

static void publish(Bench *b)
{
    __atomic_store_n(&b->avail->idx, b->q->next_avail, __ATOMIC_SEQ_CST);
    uint16_t event = __atomic_load_n((uint16_t *)&b->used->ring[SIZE], __ATOMIC_SEQ_CST);
    if (vring_need_event(event, b->q->next_avail, b->kicked))
        rig_kick(&b->rig, b->q);
    b->kicked = b->q->next_avail;
}

static bool something_used(Bench *b)
{
    return __atomic_load_n(&b->used->idx, __ATOMIC_ACQUIRE) != b->q->last_used;
}

static void await_used(Bench *b)
{
    for (unsigned i = 0; i < SPINS_MAX; i++) {
        if (something_used(b))
            return;
        __builtin_ia32_pause();
    }
    rig_want_interrupt(&b->rig, b->q);
    g_mutex_lock(&b->rig.lock);
    while (!something_used(b))
        if (!g_cond_wait_until(&b->rig.cond, &b->rig.lock, g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND))
            g_error("the device does not answer");
    g_mutex_unlock(&b->rig.lock);
}

/* Takes all that has come back; returns how many slots are in `slots`. */
static unsigned take_used(Bench *b, const Pattern *pattern, unsigned slots[DEPTH])
{
    unsigned n = 0;

    while (n < DEPTH && something_used(b)) {
        struct vring_used_elem elem = b->used->ring[b->q->last_used++ % SIZE];
        unsigned slot = elem.id / 3;
        if (slot >= DEPTH || elem.len != 1 + (pattern->write ? 0 : pattern->bytes) ||
            *(uint8_t *)rig_host(&b->rig, b->status + slot, 1) != VIRTIO_BLK_S_OK)
            g_error("request %u came back with %u bytes and an error", elem.id, elem.len);
        slots[n++] = slot;
    }
    return n;
}

static void run(Bench *b, const Pattern *pattern, double seconds)
{
    gint64 start = g_get_monotonic_time(), end = start + (gint64)(seconds * G_TIME_SPAN_SECOND), now = start;
    unsigned slots[DEPTH], out = DEPTH;
    uint64_t done = 0;

    prepare(b, pattern);
    b->next = 0;
    for (unsigned i = 0; i < DEPTH; i++)
        send(b, pattern, i);
    publish(b);
    while (out) {
        await_used(b);
        unsigned n = take_used(b, pattern, slots);
        now = g_get_monotonic_time();
        done += now < end ? n : 0;
        for (unsigned i = 0; i < n && now < end; i++)
            send(b, pattern, slots[i]);
        if (now < end)
            publish(b);
        else
            out -= n;
    }
    printf("%s %.0f %.0f\n", pattern->name, (double)done / seconds, (double)done / seconds * pattern->bytes);
}

int main(int argc, char **argv)
{
    static Bench b;
    GError *error = NULL;

    if (argc != 3)
        g_error("ring_block FILE SECONDS");
    rig_init(&b.rig);
    VmcVirtioBlockParams params = {.disk = vmc_disk_open_raw(argv[1], false, &error), .queues = 1};
    if (!params.disk)
        g_error("%s", error->message);
    b.sectors = params.disk->size / 512;
    rig_plug(&b.rig, vmc_virtio_block_new(&b.rig.host, &params));
    rig_bring_up(&b.rig, RIG_FEATURES | 1ull << VIRTIO_BLK_F_FLUSH, 1, SIZE);
    b.q = &b.rig.queues[0];
    b.avail = rig_host(&b.rig, b.q->avail, 6 + 2 * SIZE);
    b.used = rig_host(&b.rig, b.q->used, 6 + 8 * SIZE);
    b.headers = rig_alloc(&b.rig, 16 * DEPTH);
    b.status = rig_alloc(&b.rig, DEPTH);
    b.data = rig_alloc(&b.rig, (uint64_t)DEPTH << 20);
    b.random = 1;
    for (unsigned i = 0; i < G_N_ELEMENTS(patterns); i++)
        run(&b, &patterns[i], g_ascii_strtod(argv[2], NULL));
    rig_clear(&b.rig);
    return 0;
}
