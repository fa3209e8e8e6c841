/*
 * A driver that means harm (tests/guest/test_hostile.py). Every virtio device found is attacked in each way
 * of the table, on each of its queues; after each attack the device has to answer, to be in order or to ask
 * for a reset, and to work after one. Where the device reads a queue as soon as it is notified (`reads`), a
 * malformed ring must be answered by DEVICE_NEEDS_RESET (s2.1.1).
 *
 * Prints "ok TYPE: ATTACK" or "not ok TYPE: ATTACK: WHY" for each, at the end "hostile: done".
 */
#include "virtio.h"

#define SIZE     16u
#define PATIENCE 2000000u /* microseconds */
#define IOAPIC   0xfec00000ull
#define NOWHERE  0x700000000000ull
#define STORM    5000u
#define ROUNDS   40u

/* ---- the devices ---- */

static const struct Kind {
    unsigned type;
    const char *name;
    uint32_t reads; /* bit n: queue n is read when notified */
} kinds[] = {
    // clang-format off
    {1, "net", 1u << 1 | 1u << 2}, /* of one pair: then the control queue is the third */
    {2, "block", 1u << 0},
    {3, "console", 1u << 1},
    {4, "entropy", 1u << 0},
    {5, "balloon", 1u << 0 | 1u << 1},
    {9, "9p", 1u << 0},
    {16, "gpu", 1u << 0 | 1u << 1},
    {18, "input", 1u << 1},
    {19, "vsock", 1u << 1},
    {25, "sound", 1u << 0},
    {26, "fs", 1u << 0 | 1u << 1},
    // clang-format on
};

static const struct Kind unknown = {0, "another", 0};

static const struct Kind *kind_of(unsigned type)
{
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].type == type)
            return &kinds[i];
    return &unknown;
}

/* ---- what attacks have in common ---- */

static uint8_t *page; /* harmless memory */

static void give(Queue *q, unsigned head)
{
    queue_offer(q, head);
    queue_kick(q);
}

/* A chain of one buffer to read and one to write; what becomes of it does not matter. */
static void give_some(Queue *q)
{
    queue_desc(q, 0, page, 64, 0, 1);
    queue_desc(q, 1, page + 2048, 512, DESC_WRITE, -1);
    give(q, 0);
}

/* ---- rings that are wrong: the device has to say so ---- */

static void loop_of_two(Virtio *v, Queue *q)
{
    queue_desc(q, 0, page, 4, 0, 1);
    queue_desc(q, 1, page, 4, 0, 0);
    give(q, 0);
}

static void loop_of_one(Virtio *v, Queue *q)
{
    queue_desc(q, 0, page, 0, 0, 0);
    give(q, 0);
}

static void next_beyond(Virtio *v, Queue *q)
{
    queue_desc(q, 0, page, 16, 0, 0x7fff);
    give(q, 0);
}

static void head_beyond(Virtio *v, Queue *q)
{
    give(q, 0xfff0);
}

static void huge_length(Virtio *v, Queue *q)
{
    queue_desc(q, 0, page, 0xffffffff, 0, -1);
    give(q, 0);
}

static void huge_sum(Virtio *v, Queue *q)
{
    for (unsigned i = 0; i < q->size; i++)
        queue_desc(q, i, (void *)0x100000, 0x20000000, DESC_WRITE, i + 1 < q->size ? (int)i + 1 : -1);
    give(q, 0);
}

static void nowhere(Virtio *v, Queue *q)
{
    queue_desc(q, 0, (void *)NOWHERE, 64, DESC_WRITE, -1);
    give(q, 0);
}

static void wraps(Virtio *v, Queue *q)
{
    queue_desc(q, 0, (void *)(UINT64_MAX - 15), 64, 0, -1);
    give(q, 0);
}

static void own_registers(Virtio *v, Queue *q)
{
    queue_desc(q, 0, (void *)v->bar, 64, 0, 1);
    queue_desc(q, 1, (void *)v->bar, 64, DESC_WRITE, -1);
    give(q, 0);
}

static void own_doorbell(Virtio *v, Queue *q)
{
    queue_desc(q, 0, page, 64, 0, 1);
    queue_desc(q, 1, (void *)v->notify, 64, DESC_WRITE, -1);
    give(q, 0);
}

static void interrupt_controller(Virtio *v, Queue *q)
{
    queue_desc(q, 0, (void *)IOAPIC, 64, DESC_WRITE, -1);
    give(q, 0);
}

static void read_after_write(Virtio *v, Queue *q)
{
    queue_desc(q, 0, page, 64, DESC_WRITE, 1);
    queue_desc(q, 1, page, 64, 0, -1);
    give(q, 0);
}

/* An indirect table at `page`, and a descriptor for it. */
static volatile Desc *indirect(Queue *q, uint32_t bytes, unsigned flags)
{
    memset(page, 0, 4096);
    queue_desc(q, 0, page, bytes, DESC_INDIRECT | flags, -1);
    return (volatile Desc *)page;
}

static void nested_indirect(Virtio *v, Queue *q)
{
    volatile Desc *table = indirect(q, 32, 0);

    table[0] = (Desc){(uint64_t)page, 32, DESC_INDIRECT, 0};
    give(q, 0);
}

static void indirect_loop(Virtio *v, Queue *q)
{
    volatile Desc *table = indirect(q, 32, 0);

    table[0] = (Desc){(uint64_t)page + 2048, 4, DESC_NEXT, 1};
    table[1] = (Desc){(uint64_t)page + 2048, 4, DESC_NEXT, 0};
    give(q, 0);
}

static void indirect_odd(Virtio *v, Queue *q)
{
    indirect(q, 17, 0);
    give(q, 0);
}

static void indirect_huge(Virtio *v, Queue *q)
{
    indirect(q, 0xfffffff0, 0);
    give(q, 0);
}

static void indirect_registers(Virtio *v, Queue *q)
{
    queue_desc(q, 0, (void *)v->bar, 64, DESC_INDIRECT, -1);
    give(q, 0);
}

static void indirect_and_more(Virtio *v, Queue *q)
{
    indirect(q, 16, DESC_NEXT);
    give(q, 0);
}

static void available_jumps(Virtio *v, Queue *q)
{
    queue_desc(q, 0, page, 64, 0, -1);
    q->avail->idx = 0x8000;
    queue_kick(q);
}

/* ---- what is merely rude: the device may do as it likes, but goes on ---- */

static void same_head(Virtio *v, Queue *q)
{
    queue_desc(q, 0, page, 64, 0, 1);
    queue_desc(q, 1, page + 2048, 512, DESC_WRITE, -1);
    for (unsigned i = 0; i < q->size; i++)
        queue_offer(q, 0);
    queue_kick(q);
    for (unsigned i = 0; i < q->size; i++)
        queue_offer(q, 0);
    queue_kick(q);
}

static void changes_its_mind(Virtio *v, Queue *q)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        give_some(q);
        for (unsigned n = 0; n < 50; n++) {
            q->desc[1].addr = n & 1 ? v->bar : NOWHERE;
            q->desc[0].next = (uint16_t)n;
            q->desc[1].len = ~n;
        }
    }
}

static void resets_in_flight(Virtio *v, Queue *q)
{
    unsigned index = q->index;

    for (unsigned i = 0; i < ROUNDS; i++) {
        give_some(&v->queues[index]);
        metal_free_all();
        page = metal_alloc(0x10000, 4096);
        if (!virtio_bring_up(v, SIZE))
            return;
    }
}

static void storm(Virtio *v, Queue *q)
{
    give_some(q);
    for (unsigned i = 0; i < STORM; i++)
        *(volatile uint16_t *)(v->notify + (i % (2 * VIRTIO_QUEUES)) * v->multiplier) = (uint16_t)i;
}

static void no_bus_master(Virtio *v, Queue *q)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        give_some(q);
        pci_write(v->devfn, 4, 2, 2);
        queue_kick(q);
        pci_write(v->devfn, 4, 2, 6 | 0x400);
    }
}

static void scribbled_config(Virtio *v, Queue *q)
{
    if (!v->config)
        return;
    for (unsigned at = 0; at < 4096; at++) {
        if (at % 4 == 0)
            *(volatile uint32_t *)(v->config + at) = 0xffffffff;
        v->config[at] = (uint8_t)(v->config[at] ^ 0xff);
    }
}

static void features_late(Virtio *v, Queue *q)
{
    for (unsigned i = 0; i < 2; i++) {
        v->common->driver_feature_select = i;
        v->common->driver_feature = 0xffffffff;
    }
    v->common->device_status = 0xff;
    give_some(q);
}

static void queues_of_nobody(Virtio *v, Queue *q)
{
    for (unsigned i = 0; i < 0x10000; i += 0xff) {
        v->common->queue_select = (uint16_t)i;
        v->common->queue_msix_vector = (uint16_t)i;
        (void)v->common->queue_size;
    }
    v->common->msix_config = 0xfffe;
    give_some(q);
}

static const struct Attack {
    const char *name;
    void (*attack)(Virtio *v, Queue *q);
    bool malformed; /* a device that reads the queue has to ask for a reset */
} attacks[] = {
    // clang-format off
    {"a chain that loops", loop_of_two, true},
    {"an empty descriptor that follows itself", loop_of_one, true},
    {"a next index beyond the table", next_beyond, true},
    {"a head beyond the table", head_beyond, true},
    {"a buffer of 4 GiB", huge_length, true},
    {"buffers of 8 GiB together", huge_sum, true},
    {"a buffer where there is nothing", nowhere, true},
    {"a buffer across the end of the address space", wraps, true},
    {"buffers in the device's own registers", own_registers, true},
    {"a buffer in the device's own doorbell", own_doorbell, true},
    {"a buffer in the interrupt controller", interrupt_controller, true},
    {"a readable buffer behind a writable one", read_after_write, true},
    {"an indirect table in an indirect table", nested_indirect, true},
    {"a loop in an indirect table", indirect_loop, true},
    {"an indirect table of 17 bytes", indirect_odd, true},
    {"an indirect table of 4 GiB", indirect_huge, true},
    {"an indirect table in the device's own registers", indirect_registers, true},
    {"an available index that jumps", available_jumps, true},
    {"an indirect table with another descriptor behind it", indirect_and_more, false},
    {"one head offered again and again", same_head, false},
    {"descriptors that change behind the notification", changes_its_mind, false},
    {"resets while requests are out", resets_in_flight, false},
    {"a storm of notifications", storm, false},
    {"bus mastering taken away and given back", no_bus_master, false},
    {"a configuration written all over", scribbled_config, false},
    {"features and status bits after DRIVER_OK", features_late, false},
    {"queues and vectors that do not exist", queues_of_nobody, false},
    // clang-format on
};

/* ---- judging ---- */

static unsigned failures;

static bool wait_needs_reset(Virtio *v)
{
    for (uint64_t end = now_us() + PATIENCE; !(virtio_status(v) & STATUS_NEEDS_RESET);) {
        if (now_us() > end)
            return false;
        cpu_pause();
    }
    return true;
}

static void result(Virtio *v, const char *name, unsigned queue, const char *why)
{
    const char *device = kind_of(v->type)->name;

    if (!why) {
        print("ok %s, queue %u: %s\n", device, queue, name);
        return;
    }
    failures++;
    print("not ok %s, queue %u: %s: %s, status %x\n", device, queue, name, why, virtio_status(v));
}

static bool fresh(Virtio *v)
{
    metal_free_all();
    page = metal_alloc(0x10000, 4096);
    return virtio_bring_up(v, SIZE);
}

/* A request that must work: random numbers, the first sector. Others: that the device is there is all. */
static const char *works(Virtio *v)
{
    Queue *q = &v->queues[0];

    if (!fresh(v))
        return "does not come up after a reset";
    if (v->type == 4) {
        queue_desc(q, 0, page, 64, DESC_WRITE, -1);
        give(q, 0);
        return queue_wait(q, PATIENCE) > 0 ? NULL : "gives no numbers after a reset";
    }
    if (v->type == 2) {
        queue_desc(q, 0, page, 16, 0, 1);
        queue_desc(q, 1, page + 512, 512, DESC_WRITE, 2);
        queue_desc(q, 2, page + 2048, 1, DESC_WRITE, -1);
        page[2048] = 0xff;
        give(q, 0);
        return queue_wait(q, PATIENCE) == 513 && page[2048] == 0 ? NULL : "reads no sector after a reset";
    }
    return NULL;
}

static void run_attack(Virtio *v, const struct Attack *attack, unsigned queue)
{
    const char *why = NULL;

    if (!fresh(v)) {
        result(v, attack->name, queue, "does not come up");
        return;
    }
    if (queue >= v->n_queues || !v->queues[queue].size)
        return;
    attack->attack(v, &v->queues[queue]);
    if (attack->malformed && kind_of(v->type)->reads & 1u << queue && !wait_needs_reset(v))
        why = "does not ask for a reset";
    if (!why)
        why = works(v);
    result(v, attack->name, queue, why);
}

/* Registers of a queue in use, and then rings in places where there may be none. */
static void rewrite_queues(Virtio *v)
{
    const char *why = NULL;

    if (!fresh(v))
        return;
    virtio_set_queue(v, 0, 8, v->bar, NOWHERE, IOAPIC);
    if (v->common->queue_size == 8 || v->common->queue_desc[0] == (uint32_t)v->bar ||
        v->common->queue_device[0] == IOAPIC)
        why = "takes other addresses while it runs";
    give_some(&v->queues[0]);
    if (!why)
        why = works(v);
    result(v, "queue registers rewritten while it runs", 0, why);
}

static void bad_ring(Virtio *v, const char *name, unsigned size, uint64_t desc, uint64_t avail, uint64_t used)
{
    const char *why = NULL;

    fresh(v);
    uint64_t at = (uint64_t)page;
    if (!virtio_reset(v) || !virtio_negotiate(v, virtio_offered(v) & ~VIRTIO_RING_PACKED))
        why = "cannot be reset";
    virtio_set_queue(v, 0, size, desc ? desc : at, avail ? avail : at + 0x8000, used ? used : at + 0xc000);
    virtio_ready(v);
    if (!why && !wait_needs_reset(v))
        why = "does not ask for a reset";
    if (!why)
        why = works(v);
    result(v, name, 0, why);
}

static void attack_device(Virtio *v)
{
    print("hostile: %s at slot %u\n", kind_of(v->type)->name, v->devfn >> 3);
    for (unsigned i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
        for (unsigned queue = 0; queue < VIRTIO_QUEUES && (!queue || queue < v->n_queues); queue++)
            run_attack(v, &attacks[i], queue);
    rewrite_queues(v);
    bad_ring(v, "descriptors in the device's own registers", SIZE, v->bar, 0, 0);
    bad_ring(v, "an available ring where there is nothing", SIZE, 0, NOWHERE, 0);
    bad_ring(v, "a used ring in the interrupt controller", SIZE, 0, 0, IOAPIC);
    bad_ring(v, "a ring across the end of the address space", SIZE, 0, 0, UINT64_MAX - 15);
    bad_ring(v, "descriptors at an odd address", SIZE, METAL_HEAP + 1, 0, 0);
    bad_ring(v, "a queue of 15 entries", 15, 0, 0, 0);
    bad_ring(v, "a queue of 32768 entries", 32768, 0, 0, 0);
    virtio_reset(v);
}

void metal_run(const char *cmdline)
{
    unsigned found = 0;

    print("hostile: begin\n");
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        Virtio v;
        if (!virtio_probe(&v, devfn))
            continue;
        found++;
        attack_device(&v);
    }
    print("hostile: done, %u devices, %u failures\n", found, failures);
}
