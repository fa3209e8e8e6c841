/* The ring reader by itself: rings are built in guest memory by hand, right ones and wrong ones. */
#include "tests/unit/virtio_rig.h"

#include "virtio/linger.h"
#include "virtio/queue.h"

#define SIZE     16u
#define DESC     0x1000ull
#define AVAIL    0x2000ull
#define USED     0x3000ull
#define DATA     0x10000ull
#define TABLE    0x8000ull
#define FEATURES (VMC_VIRTIO_F_VERSION_1 | VMC_VIRTIO_F_EVENT_IDX | VMC_VIRTIO_F_INDIRECT_DESC)

typedef struct Ring {
    VmcMemory *memory;
    VmcVirtqueue vq;
    VmcVirtqElement elem;
    struct vring_desc *desc, *table;
    struct vring_avail *avail;
    struct vring_used *used;
} Ring;

static const VmcVirtqueueSetup good_setup = {.size = SIZE, .desc = DESC, .driver = AVAIL, .device = USED};

static void start(Ring *r, uint64_t features)
{
    memset(r->avail, 0, 4096);
    memset(r->used, 0, 4096);
    memset(r->desc, 0, 4096);
    assert_true(vmc_virtqueue_start(&r->vq, &good_setup, features));
}

static int setup(void **state)
{
    Ring *r = g_new0(Ring, 1);

    r->memory = vmc_memory_new();
    assert_true(vmc_memory_add(r->memory, "ram", 0, RIG_RAM, false, NULL));
    assert_true(vmc_memory_add(r->memory, "more", RIG_RAM, 0x10000, false, NULL));
    assert_true(vmc_memory_add(r->memory, "rom", RIG_ROM, 4096, true, NULL));
    assert_true(vmc_memory_add(r->memory, "huge", RIG_HIGH, 8ull << 30, false, NULL));
    vmc_virtqueue_init(&r->vq, r->memory, 64);
    r->desc = vmc_memory_host(r->memory, DESC, 4096);
    r->table = vmc_memory_host(r->memory, TABLE, 4096);
    r->avail = vmc_memory_host(r->memory, AVAIL, 4096);
    r->used = vmc_memory_host(r->memory, USED, 4096);
    start(r, FEATURES);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    Ring *r = *state;

    vmc_virtq_element_clear(&r->elem);
    vmc_memory_free(r->memory);
    g_free(r);
    return 0;
}

static void offer(Ring *r, uint16_t head)
{
    r->avail->ring[r->avail->idx % SIZE] = head;
    r->avail->idx++;
}

static struct vring_desc desc(uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
    return (struct vring_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

static void expect_pop(Ring *r, VmcVirtqPop what)
{
    VmcVirtqPop got = vmc_virtqueue_pop(&r->vq, &r->elem);

    if (got != what)
        fail_msg("pop gave %d (%s), not %d", got, r->vq.fault ? r->vq.fault : "no fault", what);
}

/* The chain at descriptor 0 must break the queue, and it must stay broken. */
static void expect_broken(Ring *r)
{
    offer(r, 0);
    expect_pop(r, VMC_VIRTQ_BROKEN);
    assert_non_null(r->vq.fault);
    expect_pop(r, VMC_VIRTQ_BROKEN);
    assert_int_equal(vmc_virtqueue_available(&r->vq), 0);
    assert_int_equal(r->used->idx, 0);
    start(r, FEATURES);
}

static void test_chain(void **state)
{
    Ring *r = *state;
    uint8_t *data = vmc_memory_host(r->memory, DATA, 4096);

    r->desc[3] = desc(DATA, 4, VRING_DESC_F_NEXT, 7);
    r->desc[7] = desc(DATA + 4, 8, VRING_DESC_F_NEXT, 1);
    r->desc[1] = desc(DATA + 0x100, 16, VRING_DESC_F_WRITE, 0);
    memcpy(data, "abcdefghijkl", 12);
    expect_pop(r, VMC_VIRTQ_EMPTY);
    offer(r, 3);
    assert_int_equal(vmc_virtqueue_available(&r->vq), 1);
    expect_pop(r, VMC_VIRTQ_POPPED);
    assert_int_equal(r->elem.n_out, 2);
    assert_int_equal(r->elem.n_in, 1);
    assert_int_equal(r->elem.out_len, 12);
    assert_int_equal(r->elem.in_len, 16);

    char text[16] = "";
    assert_int_equal(vmc_virtq_element_read(&r->elem, text, 6), 6);
    assert_string_equal(text, "abcdef");
    vmc_virtq_element_skip(&r->elem, 2);
    assert_int_equal(vmc_virtq_element_read(&r->elem, text, sizeof(text)), 4);
    assert_memory_equal(text, "ijkl", 4);
    assert_int_equal(vmc_virtq_element_read(&r->elem, text, 1), 0);

    uint8_t *last = vmc_virtq_element_take_last(&r->elem);
    assert_ptr_equal(last, data + 0x10f);
    assert_int_equal(vmc_virtq_element_write(&r->elem, "0123456789abcdefXYZ", 19), 15);
    assert_memory_equal(data + 0x100, "0123456789abcde", 15);
    assert_int_equal(data[0x10f], 0);

    vmc_virtqueue_push(&r->vq, &r->elem, 16);
    assert_int_equal(r->used->idx, 1);
    assert_int_equal(r->used->ring[0].id, 3);
    assert_int_equal(r->used->ring[0].len, 16);
    expect_pop(r, VMC_VIRTQ_EMPTY);
}

static void test_unpop(void **state)
{
    Ring *r = *state;

    r->desc[0] = desc(DATA, 4, 0, 0);
    r->desc[1] = desc(DATA + 0x1000, 5, 0, 0);
    offer(r, 0);
    offer(r, 1);
    expect_pop(r, VMC_VIRTQ_POPPED);
    vmc_virtqueue_unpop(&r->vq, &r->elem);
    expect_pop(r, VMC_VIRTQ_POPPED);
    assert_int_equal(r->elem.out_len, 4);
    vmc_virtqueue_push(&r->vq, &r->elem, 0);
    expect_pop(r, VMC_VIRTQ_POPPED);
    assert_int_equal(r->elem.out_len, 5);
}

/* More than 65,536 chains: all indices wrap. */
static void test_indices_wrap(void **state)
{
    Ring *r = *state;

    for (unsigned i = 0; i < 70000; i++) {
        r->desc[i % SIZE] = desc(DATA + i % 512, 1, VRING_DESC_F_WRITE, 0);
        offer(r, i % SIZE);
        expect_pop(r, VMC_VIRTQ_POPPED);
        vmc_virtqueue_push(&r->vq, &r->elem, 1);
        assert_int_equal(r->used->idx, (uint16_t)(i + 1));
        assert_int_equal(r->used->ring[i % SIZE].id, i % SIZE);
    }
}

static void test_indirect(void **state)
{
    Ring *r = *state;

    /* A direct descriptor, then a table of three; the WRITE flag of the table itself means nothing. */
    r->desc[0] = desc(DATA, 1, VRING_DESC_F_NEXT, 5);
    r->desc[5] = desc(TABLE, 3 * 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 9);
    r->table[0] = desc(DATA + 0x100, 2, VRING_DESC_F_NEXT, 2);
    r->table[2] = desc(DATA + 0x200, 3, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
    r->table[1] = desc(DATA + 0x300, 4, VRING_DESC_F_WRITE, 0);
    offer(r, 0);
    expect_pop(r, VMC_VIRTQ_POPPED);
    assert_int_equal(r->elem.n_out, 2);
    assert_int_equal(r->elem.n_in, 2);
    assert_int_equal(r->elem.out_len, 3);
    assert_int_equal(r->elem.in_len, 7);
    vmc_virtqueue_push(&r->vq, &r->elem, 7);

    /* A table may be longer than the driver's ring, up to the device's own limit. */
    for (unsigned i = 0; i < 64; i++)
        r->table[i] = desc(DATA + i, 1, i < 63 ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
    r->desc[0] = desc(TABLE, 64 * 16, VRING_DESC_F_INDIRECT, 0);
    offer(r, 0);
    expect_pop(r, VMC_VIRTQ_POPPED);
    assert_int_equal(r->elem.n_out, 64);
}

static void test_bad_indirect(void **state)
{
    Ring *r = *state;

    r->table[0] = desc(TABLE, 16, VRING_DESC_F_INDIRECT, 0);
    r->desc[0] = desc(TABLE, 16, VRING_DESC_F_INDIRECT, 0);
    expect_broken(r); /* a table in itself */

    r->table[0] = desc(DATA, 1, 0, 0);
    static const uint32_t lengths[] = {0, 15, 17, 65 * 16, 0xfffffff0};
    for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
        r->desc[0] = desc(TABLE, lengths[i], VRING_DESC_F_INDIRECT, 0);
        expect_broken(r);
    }
    static const uint64_t places[] = {RIG_HOLE, UINT64_MAX - 7, UINT64_MAX - 15, RIG_ROM + 4096};
    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
        r->desc[0] = desc(places[i], 16, VRING_DESC_F_INDIRECT, 0);
        expect_broken(r);
    }
    r->desc[0] = desc(TABLE, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1);
    r->desc[1] = desc(DATA, 1, 0, 0);
    expect_broken(r); /* something behind it */

    r->table[0] = desc(DATA, 1, VRING_DESC_F_NEXT, 0);
    r->desc[0] = desc(TABLE, 16, VRING_DESC_F_INDIRECT, 0);
    expect_broken(r); /* a loop in it */

    r->table[0] = desc(DATA, 1, VRING_DESC_F_NEXT, 1);
    r->desc[0] = desc(TABLE, 16, VRING_DESC_F_INDIRECT, 0);
    expect_broken(r); /* beyond its end */

    r->table[0] = desc(DATA, 1, 0, 0);
    r->desc[0] = desc(TABLE, 16, VRING_DESC_F_INDIRECT, 0);
    start(r, VMC_VIRTIO_F_VERSION_1);
    r->desc[0] = desc(TABLE, 16, VRING_DESC_F_INDIRECT, 0);
    expect_broken(r); /* not negotiated */
}

static void test_bad_chains(void **state)
{
    Ring *r = *state;

    r->desc[0] = desc(DATA, 1, VRING_DESC_F_NEXT, 0);
    expect_broken(r); /* to itself */
    r->desc[0] = desc(DATA, 1, VRING_DESC_F_NEXT, 1);
    r->desc[1] = desc(DATA, 1, VRING_DESC_F_NEXT, 0);
    expect_broken(r); /* in a circle */
    r->desc[0] = desc(DATA, 0, VRING_DESC_F_NEXT, 0);
    expect_broken(r); /* in a circle of nothing */
    r->desc[0] = desc(DATA, 1, VRING_DESC_F_NEXT, SIZE);
    expect_broken(r);
    r->desc[0] = desc(DATA, 1, VRING_DESC_F_NEXT, 0xffff);
    expect_broken(r);
    r->desc[0] = desc(DATA, 1, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
    r->desc[1] = desc(DATA, 1, 0, 0);
    expect_broken(r); /* readable behind writable */
    r->desc[0] = desc(RIG_HIGH, 0xffffffff, VRING_DESC_F_NEXT, 1);
    r->desc[1] = desc(RIG_HIGH, 1, 0, 0);
    expect_broken(r); /* 4 GiB */

    offer(r, SIZE);
    expect_pop(r, VMC_VIRTQ_BROKEN); /* the head itself */
    start(r, FEATURES);
    r->avail->idx = SIZE + 1;
    expect_pop(r, VMC_VIRTQ_BROKEN);
    start(r, FEATURES);
    r->avail->idx = 0xffff;
    expect_pop(r, VMC_VIRTQ_BROKEN);
}

static void test_bad_buffers(void **state)
{
    Ring *r = *state;
    static const struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags;
    } bad[] = {
        {RIG_HOLE, 1, 0},
        {RIG_HOLE, 1, VRING_DESC_F_WRITE},
        {RIG_WINDOW, 4096, VRING_DESC_F_WRITE}, /* a BAR */
        {0xfee00000, 4, VRING_DESC_F_WRITE},    /* the local APIC */
        {RIG_RAM + 0xffff, 2, 0},               /* out of the end of RAM */
        {RIG_ROM, 16, VRING_DESC_F_WRITE},      /* ROM is only read */
        {RIG_ROM + 4095, 2, 0},
        {0, 0xffffffff, VRING_DESC_F_WRITE}, /* all there is and more */
        {UINT64_MAX, 1, 0},
        {UINT64_MAX - 1, 16, VRING_DESC_F_WRITE}, /* round the corner */
        {RIG_HIGH + (8ull << 30) - 1, 2, 0},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        r->desc[0] = desc(bad[i].addr, bad[i].len, bad[i].flags, 0);
        expect_broken(r);
    }
    r->desc[0] = desc(RIG_ROM, 16, 0, 0);
    offer(r, 0);
    expect_pop(r, VMC_VIRTQ_POPPED);
    vmc_virtqueue_push(&r->vq, &r->elem, 0);

    r->desc[0] = desc(RIG_HOLE, 0, VRING_DESC_F_NEXT, 1); /* nothing, nowhere, is no harm */
    r->desc[1] = desc(DATA, 3, 0, 0);
    offer(r, 0);
    expect_pop(r, VMC_VIRTQ_POPPED);
    assert_int_equal(r->elem.n_out, 1);
    assert_int_equal(r->elem.out_len, 3);
}

static void test_buffer_across_slots(void **state)
{
    Ring *r = *state;

    r->desc[0] = desc(RIG_RAM - 3, 8, VRING_DESC_F_WRITE, 0);
    offer(r, 0);
    expect_pop(r, VMC_VIRTQ_POPPED);
    assert_int_equal(r->elem.n_in, 2);
    assert_int_equal(vmc_virtq_element_write(&r->elem, "ABCDEFGH", 8), 8);
    vmc_virtqueue_push(&r->vq, &r->elem, 8);
    char text[9] = "";
    assert_true(vmc_memory_read(r->memory, RIG_RAM - 3, text, 8));
    assert_string_equal(text, "ABCDEFGH");
}

/* One head offered again and again without waiting for it is not more work than the queue has entries. */
static void test_in_flight_is_capped(void **state)
{
    Ring *r = *state;
    unsigned popped = 0;

    r->desc[0] = desc(DATA, 1, 0, 0);
    for (; popped < 2 * SIZE; popped++) {
        offer(r, 0);
        if (vmc_virtqueue_pop(&r->vq, &r->elem) != VMC_VIRTQ_POPPED)
            break;
    }
    assert_int_equal(popped, SIZE);
    expect_pop(r, VMC_VIRTQ_BROKEN);
}

static void test_bad_setup(void **state)
{
    Ring *r = *state;
    static const VmcVirtqueueSetup bad[] = {
        {.size = 0, .desc = DESC, .driver = AVAIL, .device = USED},
        {.size = 3, .desc = DESC, .driver = AVAIL, .device = USED},
        {.size = 128, .desc = DESC, .driver = AVAIL, .device = USED},
        {.size = 0x8000, .desc = DESC, .driver = AVAIL, .device = USED},
        {.size = SIZE, .desc = DESC + 8, .driver = AVAIL, .device = USED},
        {.size = SIZE, .desc = DESC, .driver = AVAIL + 1, .device = USED},
        {.size = SIZE, .desc = DESC, .driver = AVAIL, .device = USED + 2},
        {.size = SIZE, .desc = RIG_HOLE, .driver = AVAIL, .device = USED},
        {.size = SIZE, .desc = DESC, .driver = RIG_HOLE, .device = USED},
        {.size = SIZE, .desc = DESC, .driver = AVAIL, .device = RIG_HOLE},
        {.size = SIZE, .desc = DESC, .driver = AVAIL, .device = RIG_ROM},
        {.size = SIZE, .desc = RIG_RAM + 0x10000 - 16, .driver = AVAIL, .device = USED},
        {.size = SIZE, .desc = DESC, .driver = AVAIL, .device = UINT64_MAX - 3},
        {.size = SIZE, .desc = UINT64_MAX - 15, .driver = AVAIL, .device = USED},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        if (vmc_virtqueue_start(&r->vq, &bad[i], FEATURES))
            fail_msg("setup %u was taken", i);
        expect_pop(r, VMC_VIRTQ_BROKEN);
        assert_false(vmc_virtqueue_should_notify(&r->vq));
        vmc_virtqueue_set_notification(&r->vq, true);
    }
    vmc_virtqueue_stop(&r->vq);
    expect_pop(r, VMC_VIRTQ_EMPTY);
}

static void test_interrupt_suppression(void **state)
{
    Ring *r = *state;
    uint16_t *used_event = &r->avail->ring[SIZE];

    r->desc[0] = desc(DATA, 1, 0, 0);
    assert_false(vmc_virtqueue_should_notify(&r->vq)); /* nothing yet */
    *used_event = 2;                                   /* tell me when the third is there */
    for (unsigned i = 0; i < 5; i++) {
        offer(r, 0);
        expect_pop(r, VMC_VIRTQ_POPPED);
        vmc_virtqueue_push(&r->vq, &r->elem, 0);
        assert_int_equal(vmc_virtqueue_should_notify(&r->vq), i == 2);
    }

    start(r, VMC_VIRTIO_F_VERSION_1);
    r->desc[0] = desc(DATA, 1, 0, 0);
    for (unsigned i = 0; i < 4; i++) {
        r->avail->flags = i & 1 ? VRING_AVAIL_F_NO_INTERRUPT : 0;
        offer(r, 0);
        expect_pop(r, VMC_VIRTQ_POPPED);
        vmc_virtqueue_push(&r->vq, &r->elem, 0);
        assert_int_equal(vmc_virtqueue_should_notify(&r->vq), !(i & 1));
        assert_false(vmc_virtqueue_should_notify(&r->vq));
    }
}

static void test_notification_suppression(void **state)
{
    Ring *r = *state;
    const uint16_t *avail_event = (uint16_t *)&r->used->ring[SIZE];

    r->desc[0] = desc(DATA, 1, 0, 0);
    offer(r, 0);
    offer(r, 0);
    expect_pop(r, VMC_VIRTQ_POPPED);
    vmc_virtqueue_set_notification(&r->vq, true);
    assert_int_equal(*avail_event, 2); /* the second is known of: the driver shall tell of the third */
    offer(r, 0);
    expect_pop(r, VMC_VIRTQ_POPPED);
    vmc_virtqueue_set_notification(&r->vq, false);
    assert_int_equal(*avail_event, 2);
    expect_pop(r, VMC_VIRTQ_POPPED);
    vmc_virtqueue_set_notification(&r->vq, true);
    assert_int_equal(*avail_event, 3);

    start(r, VMC_VIRTIO_F_VERSION_1);
    vmc_virtqueue_set_notification(&r->vq, false);
    assert_int_equal(r->used->flags, VRING_USED_F_NO_NOTIFY);
    vmc_virtqueue_set_notification(&r->vq, true);
    assert_int_equal(r->used->flags, 0);
}

/* Code that was decoded from a page a device writes must die, and only that. */
static void test_written_pages_are_told(void **state)
{
    Ring *r = *state;
    _Atomic uint32_t *words = r->memory->slots[0].code_words;
    unsigned page = DATA >> VMC_PAGE_SHIFT;

    words[page] |= 1;
    words[page + 1] |= 1;
    r->desc[0] = desc(DATA, 8192, VRING_DESC_F_WRITE, 0);
    offer(r, 0);
    expect_pop(r, VMC_VIRTQ_POPPED);
    vmc_virtq_element_write(&r->elem, "x", 1);
    vmc_virtqueue_push(&r->vq, &r->elem, 1);
    assert_int_equal(words[page] & 1, 0);
    assert_int_equal(words[page + 1] & 1, 1);
}

/* The guest rewrites descriptors as fast as it can while we read them: whatever comes out is in RAM. */
static gpointer scribble(gpointer data)
{
    Ring *r = data;
    static const uint64_t places[] = {DATA, RIG_HOLE, UINT64_MAX, RIG_RAM - 8, TABLE};
    GRand *rand = g_rand_new_with_seed(1);

    while (!g_atomic_int_get((gint *)&r->table[255].len))
        r->desc[g_rand_int(rand) % SIZE] =
            desc(places[g_rand_int(rand) % 5], g_rand_int(rand) % 64, g_rand_int(rand) % 8,
                 (uint16_t)(g_rand_int(rand) % (SIZE + 1)));
    g_rand_free(rand);
    return NULL;
}

static void test_descriptors_change_under_us(void **state)
{
    Ring *r = *state;
    unsigned popped = 0, broken = 0;

    r->table[255].len = 0;
    GThread *thread = g_thread_new("scribble", scribble, r);
    /* However slowly the other thread gets going. */
    int64_t end = g_get_monotonic_time() + RIG_TIMEOUT;
    for (unsigned i = 0; i < 100000 || popped < 1000 || broken < 1000; i++) {
        assert_true(g_get_monotonic_time() < end);
        offer(r, i % SIZE);
        if (vmc_virtqueue_pop(&r->vq, &r->elem) == VMC_VIRTQ_POPPED) {
            for (unsigned n = 0; n < r->elem.n_in; n++)
                memset(r->elem.in[n].iov_base, (int)i, r->elem.in[n].iov_len);
            vmc_virtqueue_push(&r->vq, &r->elem, 0);
            popped++;
        } else {
            memset(r->avail, 0, 64);
            assert_true(vmc_virtqueue_start(&r->vq, &good_setup, FEATURES));
            broken++;
        }
    }
    g_atomic_int_set((gint *)&r->table[255].len, 1);
    g_thread_join(thread);
}

/* Looks at used.idx as a driver on another CPU would, until told to stop; returns whether it saw half a pair.
 */
static gpointer watch_for_halves(gpointer data)
{
    Ring *r = data;
    uint16_t idx;

    do {
        idx = __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE);
    } while (!(idx & 1) && !__atomic_load_n(&r->table[0].flags, __ATOMIC_ACQUIRE));
    return GINT_TO_POINTER(idx & 1);
}

/* Chains given back together become visible together, in order and each with its length. */
static void test_push_together(void **state)
{
    Ring *r = *state;
    VmcVirtqElement elems[2] = {0};
    static const uint32_t lens[2] = {3, 16};

    r->desc[0] = desc(DATA, 16, VRING_DESC_F_WRITE, 0);
    r->desc[1] = desc(DATA + 16, 16, VRING_DESC_F_WRITE, 0);
    r->table[0].flags = 0;
    GThread *driver = g_thread_new("driver", watch_for_halves, r);
    for (unsigned i = 0; i < 30000; i++) {
        offer(r, 0);
        offer(r, 1);
        assert_int_equal(vmc_virtqueue_pop(&r->vq, &elems[0]), VMC_VIRTQ_POPPED);
        assert_int_equal(vmc_virtqueue_pop(&r->vq, &elems[1]), VMC_VIRTQ_POPPED);
        vmc_virtqueue_push_together(&r->vq, elems, lens, 2);
    }
    __atomic_store_n(&r->table[0].flags, 1, __ATOMIC_RELEASE);
    assert_ptr_equal(g_thread_join(driver), NULL);
    assert_int_equal(r->used->idx, (uint16_t)60000);
    assert_int_equal(r->used->ring[(60000 - 2) % SIZE].id, 0);
    assert_int_equal(r->used->ring[(60000 - 2) % SIZE].len, 3);
    assert_int_equal(r->used->ring[(60000 - 1) % SIZE].id, 1);
    assert_int_equal(r->used->ring[(60000 - 1) % SIZE].len, 16);
    for (unsigned i = 0; i < 2; i++)
        vmc_virtq_element_clear(&elems[i]);
}

/* ---- waiting a moment for the driver (linger.h) ---- */

static uint64_t waited_ns(Ring *r, VmcLinger *linger, bool *found)
{
    uint64_t start = vmc_now_ns();

    *found = vmc_linger(linger, &r->vq);
    return vmc_now_ns() - start;
}

static void test_waits_in_vain_become_rare(void **state)
{
    Ring *r = *state;
    VmcLinger linger = {0};
    unsigned waits = 0;
    bool found;

    for (unsigned i = 0; i < 1000; i++) {
        uint64_t ns = waited_ns(r, &linger, &found);
        assert_false(found);
        waits += ns >= 20000;
    }
    /* One in 2, 3, 5, 9 ...; a busy host may hold up some of the others as long. */
    if (g_get_num_processors() > 1)
        assert_in_range(waits, 9, 100);
}

static void test_what_is_there_is_not_waited_for(void **state)
{
    Ring *r = *state;
    VmcLinger linger = {.skip = 5, .vain = 8};
    bool found;

    offer(r, 0);
    waited_ns(r, &linger, &found);
    assert_true(found);
    assert_int_equal(linger.skip, 5); /* that says nothing about waits */
}

static gpointer offer_soon(gpointer data)
{
    Ring *r = data;

    g_usleep(200);
    __atomic_store_n(&r->avail->idx, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* What the driver offers comes in a wait, or between two of them; in most tries the former. */
static bool found_while_waiting(Ring *r)
{
    VmcLinger linger = {.vain = 512};
    bool found;

    start(r, FEATURES);
    GThread *driver = g_thread_new("driver", offer_soon, r);
    do {
        linger = (VmcLinger){.vain = 512};
        waited_ns(r, &linger, &found);
    } while (!found);
    g_thread_join(driver);
    return linger.vain == 0 && linger.skip == 0;
}

static void test_a_wait_that_pays_is_followed_by_others(void **state)
{
    bool found = false;

    if (g_get_num_processors() == 1)
        skip();
    for (unsigned tries = 0; !found && tries < 100; tries++)
        found = found_while_waiting(*state);
    assert_true(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_chain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_push_together, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unpop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_indices_wrap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_indirect, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_indirect, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_chains, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_buffers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_buffer_across_slots, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_flight_is_capped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_setup, setup, teardown),
        cmocka_unit_test_setup_teardown(test_interrupt_suppression, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notification_suppression, setup, teardown),
        cmocka_unit_test_setup_teardown(test_written_pages_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptors_change_under_us, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waits_in_vain_become_rare, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_there_is_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_wait_that_pays_is_followed_by_others, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
