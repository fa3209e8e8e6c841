/* virtio-balloon as a guest uses it; that memory has gone back is seen in what the host counts. */
#include "tests/unit/virtio_rig.h"

#include <linux/virtio_balloon.h>
#include <sys/stat.h>

#define INFLATE  0u
#define DEFLATE  1u
#define STATS    2u
#define REPORT   3u
#define SIZE     16u
#define MEMORY   (2ull * RIG_RAM)
#define FEATURES (RIG_FEATURES | 0x37) /* all but free page hints */
#define PAGE     4096u
#define AREA     0x800000u /* where pages are given away; the rig's own buffers lie below */
#define PAGES    1024u

typedef struct Balloon {
    Rig rig;
    VmcMemSlot *slot;
} Balloon;

/* Bytes of the first slot that take up memory. */
static uint64_t held(const Balloon *b)
{
    struct stat st;

    assert_int_equal(fstat(b->slot->fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static int setup(void **state)
{
    Balloon *b = g_new0(Balloon, 1);

    rig_init(&b->rig);
    rig_plug(&b->rig, vmc_virtio_balloon_new(&b->rig.host, MEMORY));
    rig_bring_up(&b->rig, FEATURES, 5, SIZE);
    b->slot = &b->rig.memory->slots[0];
    memset(b->slot->host + AREA, 0x5a, PAGES * PAGE);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    Balloon *b = *state;

    rig_clear(&b->rig);
    g_free(b);
    return 0;
}

static void give(Balloon *b, unsigned queue, const uint32_t *pfns, unsigned n)
{
    uint64_t at = rig_alloc(&b->rig, n * sizeof(*pfns));

    memcpy(rig_host(&b->rig, at, n * sizeof(*pfns)), pfns, n * sizeof(*pfns));
    rig_add(&b->rig, &b->rig.queues[queue], &(RigBuffer){at, n * (uint32_t)sizeof(*pfns)}, 1, 0);
    rig_kick(&b->rig, &b->rig.queues[queue]);
    rig_used(&b->rig, &b->rig.queues[queue]);
}

static void test_offers_what_it_should(void **state)
{
    Balloon *b = *state;

    assert_int_equal(rig_offered(&b->rig) & 0xffffff, 0x37);
    assert_int_equal(vmc_bus_read(b->rig.mmio, b->rig.device, 4), 0);
}

static void test_pages_go_back_to_the_host(void **state)
{
    Balloon *b = *state;
    uint64_t before = held(b);
    uint32_t pfns[PAGES];

    /* Upwards, downwards and with gaps: every second page of the first half, all of the second. */
    unsigned n = 0;
    for (unsigned i = 0; i < PAGES / 2; i += 2)
        pfns[n++] = AREA / PAGE + i;
    for (unsigned i = PAGES; i > PAGES / 2; i--)
        pfns[n++] = AREA / PAGE + i - 1;
    give(b, INFLATE, pfns, n);
    uint64_t given = (uint64_t)n * PAGE;
    assert_in_range(held(b), before - given, before - given + 16 * PAGE); /* and the request itself */
    assert_int_equal(vmc_virtio_balloon_get_discarded(b->rig.dev), given);
    const uint8_t *area = b->slot->host + AREA;
    for (unsigned i = 0; i < PAGES; i++)
        assert_int_equal(area[i * PAGE + 7], i >= PAGES / 2 || i % 2 == 0 ? 0 : 0x5a);

    /* Taking them back needs nothing but saying so. */
    give(b, DEFLATE, pfns, n);
    b->slot->host[AREA] = 1;
    assert_int_equal(b->slot->host[AREA], 1);
}

static void test_code_in_a_page_that_went_dies(void **state)
{
    Balloon *b = *state;
    _Atomic uint32_t *word = &b->slot->code_words[AREA / PAGE];
    uint32_t pfn = AREA / PAGE;

    *word = 8 | 1;
    give(b, INFLATE, &pfn, 1);
    assert_int_equal(*word & 1, 0);
    assert_int_not_equal(*word, 8);
}

static void test_pages_that_are_not_ram_are_left_alone(void **state)
{
    Balloon *b = *state;
    uint8_t *rom = b->rig.memory->slots[1].host;
    uint32_t pfns[] = {RIG_ROM / PAGE, RIG_HOLE / PAGE, 0xffffffff,
                       0xfffffffe,     RIG_RAM / PAGE,  RIG_HIGH / PAGE};

    memset(rom, 0x77, PAGE);
    memset(b->rig.memory->slots[2].host, 0x77, PAGE);
    give(b, INFLATE, pfns, G_N_ELEMENTS(pfns));
    assert_int_equal(rom[0], 0x77);
    assert_int_equal(b->rig.memory->slots[2].host[0], 0); /* that one is */
    assert_int_equal(vmc_virtio_balloon_get_discarded(b->rig.dev), PAGE);

    /* Requests that are no list of pages. */
    uint64_t at = rig_alloc(&b->rig, 16);
    rig_add(&b->rig, &b->rig.queues[INFLATE], &(RigBuffer){at, 3}, 1, 0);
    rig_add(&b->rig, &b->rig.queues[INFLATE], &(RigBuffer){at, 16}, 0, 1);
    rig_kick(&b->rig, &b->rig.queues[INFLATE]);
    rig_used(&b->rig, &b->rig.queues[INFLATE]);
    rig_used(&b->rig, &b->rig.queues[INFLATE]);
    assert_int_equal(vmc_virtio_balloon_get_discarded(b->rig.dev), PAGE);
}

static void report(Balloon *b, unsigned queue, const RigBuffer *ranges, unsigned n)
{
    rig_add(&b->rig, &b->rig.queues[queue], ranges, 0, n);
    rig_kick(&b->rig, &b->rig.queues[queue]);
    rig_used(&b->rig, &b->rig.queues[queue]);
}

/* Less than a page changes nothing, but that the rings have been touched and take up their memory. */
static uint64_t held_with_rings(Balloon *b)
{
    report(b, REPORT, &(RigBuffer){AREA, 100}, 1);
    report(b, REPORT + 1, &(RigBuffer){AREA, 100}, 1);
    return held(b);
}

static void test_free_pages_that_are_reported_go_back(void **state)
{
    Balloon *b = *state;
    const uint8_t *area = b->slot->host + AREA;
    uint64_t before = held_with_rings(b);

    report(b, REPORT, (RigBuffer[]){{AREA, 256 * PAGE}, {AREA + 512 * PAGE, 128 * PAGE}}, 2);
    assert_int_equal(held(b), before - 384ull * PAGE);
    /* Only whole pages: what lies beside them is not free. */
    report(b, REPORT, &(RigBuffer){AREA + 256 * PAGE + 100, 2 * PAGE}, 1);
    assert_int_equal(held(b), before - 385ull * PAGE);
    /* By the number the specification gives the queue, too. */
    report(b, REPORT + 1, &(RigBuffer){AREA + 300 * PAGE, PAGE}, 1);
    assert_int_equal(held(b), before - 386ull * PAGE);

    /* From here on, looking at a page makes it take up memory again. */
    assert_int_equal(area[0], 0);
    assert_int_equal(area[256 * PAGE], 0x5a);
    assert_int_equal(area[256 * PAGE + 100], 0x5a);
    assert_int_equal(area[257 * PAGE], 0);
    assert_int_equal(area[258 * PAGE], 0x5a);
    assert_int_equal(area[512 * PAGE], 0);
}

static void test_poisoned_pages_stay_as_they_are(void **state)
{
    Balloon *b = *state;
    uint64_t before = held_with_rings(b);

    vmc_bus_write(b->rig.mmio, b->rig.device + offsetof(struct virtio_balloon_config, poison_val), 4,
                  0xaaaaaaaa);
    report(b, REPORT, &(RigBuffer){AREA, 256 * PAGE}, 1);
    assert_int_equal(held(b), before);
    assert_int_equal(b->slot->host[AREA], 0x5a);
}

static void test_target_and_actual(void **state)
{
    Balloon *b = *state;
    uint64_t config = b->rig.device;

    assert_int_equal(vmc_virtio_balloon_get_target(b->rig.dev), MEMORY);
    assert_int_equal(vmc_virtio_balloon_get_actual(b->rig.dev), MEMORY);
    vmc_virtio_balloon_set_target(b->rig.dev, MEMORY / 2);
    assert_int_equal(vmc_bus_read(b->rig.mmio, config, 4), MEMORY / 2 / PAGE);
    assert_int_equal(b->rig.interrupts[0], 1);
    vmc_bus_write(b->rig.mmio, config + 4, 4, 100);
    assert_int_equal(vmc_virtio_balloon_get_actual(b->rig.dev), MEMORY - 100 * PAGE);
    vmc_bus_write(b->rig.mmio, config + 4, 4, 0xffffffff);
    assert_int_equal(vmc_virtio_balloon_get_actual(b->rig.dev), 0);
    vmc_virtio_balloon_set_target(b->rig.dev, UINT64_MAX);
    assert_int_equal(vmc_bus_read(b->rig.mmio, config, 4), 0);
    vmc_virtio_balloon_set_target(b->rig.dev, 0);
    assert_int_equal(vmc_bus_read(b->rig.mmio, config, 4), MEMORY / PAGE);
    /* What the driver said ends with the driver, what we want of it does not. */
    rig_reset(&b->rig);
    assert_int_equal(vmc_virtio_balloon_get_actual(b->rig.dev), MEMORY);
    assert_int_equal(vmc_virtio_balloon_get_target(b->rig.dev), 0);
}

static uint64_t put_stats(Balloon *b, uint16_t tag, uint64_t value)
{
    struct virtio_balloon_stat stats[] = {{tag, value}, {0x7fff, 1}, {VIRTIO_BALLOON_S_MEMTOT, 1234}};
    uint64_t at = rig_alloc(&b->rig, sizeof(stats));

    memcpy(rig_host(&b->rig, at, sizeof(stats)), stats, sizeof(stats));
    rig_add(&b->rig, &b->rig.queues[STATS], &(RigBuffer){at, sizeof(stats)}, 1, 0);
    rig_kick(&b->rig, &b->rig.queues[STATS]);
    return at;
}

static VmcBalloonStatistics wait_stats(Balloon *b, VmcBalloonStat what, uint64_t value)
{
    VmcBalloonStatistics statistics;
    int64_t end = g_get_monotonic_time() + RIG_TIMEOUT;

    do {
        vmc_virtio_balloon_get_statistics(b->rig.dev, &statistics);
        if ((statistics.known & 1u << what) && statistics.values[what] == value)
            return statistics;
        g_usleep(1000);
    } while (g_get_monotonic_time() < end);
    fail_msg("no statistics %u of that value", what);
    return statistics;
}

static void test_statistics(void **state)
{
    Balloon *b = *state;
    struct vring_used_elem elem;
    VmcBalloonStatistics statistics;

    vmc_virtio_balloon_get_statistics(b->rig.dev, &statistics);
    assert_int_equal(statistics.updated_ns, 0);
    put_stats(b, VIRTIO_BALLOON_S_MEMFREE, 5000);
    statistics = wait_stats(b, VMC_BALLOON_FREE, 5000);
    assert_int_equal(statistics.known, 1u << VMC_BALLOON_FREE | 1u << VMC_BALLOON_TOTAL);
    assert_int_equal(statistics.values[VMC_BALLOON_TOTAL], 1234);
    assert_true(statistics.updated_ns && statistics.updated_ns <= vmc_now_ns());
    /* The buffer stays with the device until it wants to know again. */
    assert_false(rig_wait_used(&b->rig, &b->rig.queues[STATS], &elem, 30000));
    vmc_virtio_balloon_poll(b->rig.dev, 0);
    rig_used(&b->rig, &b->rig.queues[STATS]);
    put_stats(b, VIRTIO_BALLOON_S_MEMFREE, 6000);
    wait_stats(b, VMC_BALLOON_FREE, 6000);
    assert_false(rig_wait_used(&b->rig, &b->rig.queues[STATS], &elem, 30000));
    /* Every second, by itself. */
    vmc_virtio_balloon_poll(b->rig.dev, 1);
    rig_used(&b->rig, &b->rig.queues[STATS]);
    put_stats(b, VIRTIO_BALLOON_S_CACHES, 1);
    rig_used(&b->rig, &b->rig.queues[STATS]);
    vmc_virtio_balloon_poll(b->rig.dev, 0);
    /* A driver that puts two there gets the first one back. */
    put_stats(b, VIRTIO_BALLOON_S_MEMFREE, 1);
    put_stats(b, VIRTIO_BALLOON_S_MEMFREE, 2);
    rig_used(&b->rig, &b->rig.queues[STATS]);
    wait_stats(b, VMC_BALLOON_FREE, 2);
    rig_reset(&b->rig);
    vmc_virtio_balloon_get_statistics(b->rig.dev, &statistics);
    assert_int_equal(statistics.updated_ns, 0);
}

static void test_discarding_memory(void **state)
{
    Balloon *b = *state;
    VmcMemory *memory = b->rig.memory;
    unsigned video;

    /* Video memory behind a BAR is no RAM, wherever it lies just now. */
    assert_true(vmc_memory_add_movable(memory, "video", 4 * PAGE, &video, NULL));
    assert_true(vmc_memory_move(memory, video, RIG_HOLE));
    memset(memory->slots[video].host, 0x33, 4 * PAGE);
    assert_int_equal(vmc_memory_discard(memory, RIG_HOLE, 4 * PAGE), 0);
    assert_int_equal(memory->slots[video].host[0], 0x33);
    assert_int_equal(vmc_memory_discard(memory, AREA + 1, 2 * PAGE), PAGE);
    assert_int_equal(vmc_memory_discard(memory, AREA + 1, PAGE), 0);
    assert_int_equal(vmc_memory_discard(memory, AREA, PAGE - 1), 0);
    assert_int_equal(vmc_memory_discard(memory, AREA, 0), 0);
    assert_int_equal(vmc_memory_discard(memory, RIG_ROM, PAGE), 0);
    assert_int_equal(vmc_memory_discard(memory, RIG_HOLE + 4 * PAGE, PAGE), 0);
    assert_int_equal(vmc_memory_discard(memory, RIG_RAM - PAGE, 2 * PAGE), PAGE);
    assert_int_equal(vmc_memory_discard(memory, UINT64_MAX - 5, 5), 0);
    assert_int_equal(vmc_memory_discard(memory, UINT64_MAX, UINT64_MAX), 0);
    assert_int_equal(vmc_memory_discard(memory, 0, UINT64_MAX), RIG_RAM);
    assert_int_equal(held(b), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_offers_what_it_should),
        CASE(test_pages_go_back_to_the_host),
        CASE(test_code_in_a_page_that_went_dies),
        CASE(test_pages_that_are_not_ram_are_left_alone),
        CASE(test_free_pages_that_are_reported_go_back),
        CASE(test_poisoned_pages_stay_as_they_are),
        CASE(test_target_and_actual),
        CASE(test_statistics),
        CASE(test_discarding_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
