/*
 * virtio-blk: what came after reading and writing. Several queues, DISCARD and WRITE_ZEROES with all that may
 * be wrong with them (s5.2.6), and how long a write lasts (s5.2.5.2, s5.2.6.2).
 */
#include "tests/unit/block_rig.h"

#include <sys/stat.h>

#define F(name)   (1ull << VIRTIO_BLK_F_##name)
#define SPACE     (FEATURES | F(DISCARD) | F(WRITE_ZEROES))
#define FIELD(m)  offsetof(struct virtio_blk_config, m)
#define SEGMENTS  16u
#define SPACE_MAX (1u << 21)

typedef struct virtio_blk_discard_write_zeroes Segment;

static uint64_t config_field(Block *b, unsigned offset, unsigned size)
{
    return vmc_bus_read(b->rig.mmio, b->rig.device + offset, size);
}

static void *new_space(void)
{
    Block *b = block_new(false);

    bring_up(b, SPACE);
    return b;
}

static int setup_space(void **state)
{
    *state = new_space();
    return 0;
}

static uint8_t space(Block *b, uint32_t type, const Segment *segments, unsigned n)
{
    memcpy(rig_host(&b->rig, b->data, n * sizeof(*segments)), segments, n * sizeof(*segments));
    return request(b, type, 0, n * (uint32_t)sizeof(*segments));
}

static void expect_sectors(Block *b, const char *pattern)
{
    uint8_t *data = rig_host(&b->rig, b->data, SECTORS * 512);

    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, SECTORS * 512), VIRTIO_BLK_S_OK);
    for (unsigned i = 0; i < SECTORS; i++)
        expect_all(data + i * 512, pattern[i] == '0' ? 0 : (uint8_t)i, 512);
}

static void fill_sectors(char pattern[SECTORS + 1], unsigned from, unsigned n)
{
    memset(pattern + from, '0', n);
}

static void test_limits_in_configuration(void **state)
{
    Block *b = *state;

    assert_true(rig_offered(&b->rig) & F(DISCARD));
    assert_true(rig_offered(&b->rig) & F(WRITE_ZEROES));
    assert_false(rig_offered(&b->rig) & F(MQ));
    assert_int_equal(config_field(b, FIELD(max_discard_sectors), 4), SPACE_MAX);
    assert_int_equal(config_field(b, FIELD(max_discard_seg), 4), SEGMENTS);
    assert_int_equal(config_field(b, FIELD(discard_sector_alignment), 4), 8);
    assert_int_equal(config_field(b, FIELD(max_write_zeroes_sectors), 4), SPACE_MAX);
    assert_int_equal(config_field(b, FIELD(max_write_zeroes_seg), 4), SEGMENTS);
    assert_int_equal(config_field(b, FIELD(write_zeroes_may_unmap), 1), 1);
    assert_int_equal(config_field(b, FIELD(num_queues), 2), 1);
}

static void test_write_zeroes(void **state)
{
    Block *b = *state;
    char pattern[SECTORS + 1];
    const Segment some[3] = {{3, 2, 0}, {10, 0, 0}, {20, 17, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP}};
    const Segment last = {SECTORS - 1, 1, 0};

    memset(pattern, '.', sizeof(pattern));
    assert_int_equal(space(b, VIRTIO_BLK_T_WRITE_ZEROES, some, 3), VIRTIO_BLK_S_OK);
    fill_sectors(pattern, 3, 2);
    fill_sectors(pattern, 20, 17);
    expect_sectors(b, pattern);
    assert_int_equal(space(b, VIRTIO_BLK_T_WRITE_ZEROES, &last, 1), VIRTIO_BLK_S_OK);
    fill_sectors(pattern, SECTORS - 1, 1);
    expect_sectors(b, pattern);
}

static void test_discard_gives_space_back(void **state)
{
    Block *b = *state;
    const Segment all = {0, SECTORS, 0};
    struct stat before, after;
    char sectors[SECTORS * 512];

    assert_int_equal(stat(b->path, &before), 0);
    assert_int_equal(space(b, VIRTIO_BLK_T_DISCARD, &all, 1), VIRTIO_BLK_S_OK);
    assert_int_equal(stat(b->path, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    if (after.st_blocks == before.st_blocks) {
        print_message("this file system makes no holes\n");
        skip();
    }
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, sizeof(sectors)), VIRTIO_BLK_S_OK);
    expect_all(rig_host(&b->rig, b->data, sizeof(sectors)), 0, sizeof(sectors));
}

/* Nothing is done of a request of which any segment is wrong. */
static void test_wrong_segments(void **state)
{
    Block *b = *state;
    const struct {
        uint32_t type;
        Segment second;
        uint8_t status;
    } cases[] = {
        {VIRTIO_BLK_T_DISCARD, {0, 1, 1}, VIRTIO_BLK_S_UNSUPP}, /* unmap is for write zeroes */
        {VIRTIO_BLK_T_DISCARD, {0, 1, 2}, VIRTIO_BLK_S_UNSUPP},
        {VIRTIO_BLK_T_WRITE_ZEROES, {0, 1, 2}, VIRTIO_BLK_S_UNSUPP},
        {VIRTIO_BLK_T_WRITE_ZEROES, {0, 1, 0x80000001}, VIRTIO_BLK_S_UNSUPP},
        {VIRTIO_BLK_T_DISCARD, {SECTORS, 1, 0}, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_DISCARD, {SECTORS - 1, 2, 0}, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_WRITE_ZEROES, {UINT64_MAX, 2, 0}, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_WRITE_ZEROES, {UINT64_MAX / 512, 1, 0}, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_WRITE_ZEROES, {1ull << 55, 1, 0}, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_DISCARD, {0, UINT32_MAX, 0}, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_WRITE_ZEROES, {0, SPACE_MAX + 1, 0}, VIRTIO_BLK_S_IOERR},
    };
    char untouched[SECTORS + 1];

    memset(untouched, '.', sizeof(untouched));
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        Segment both[2] = {{5, 8, 0}, cases[i].second};
        uint8_t status = space(b, cases[i].type, both, 2);
        if (status != cases[i].status)
            fail_msg("case %u ended with %u, not %u", i, status, cases[i].status);
    }
    expect_sectors(b, untouched);
}

static void test_wrong_number_of_segments(void **state)
{
    Block *b = *state;
    Segment many[SEGMENTS + 1];
    char untouched[SECTORS + 1];

    for (unsigned i = 0; i <= SEGMENTS; i++)
        many[i] = (Segment){i, 1, 0};
    memset(untouched, '.', sizeof(untouched));
    assert_int_equal(space(b, VIRTIO_BLK_T_WRITE_ZEROES, many, SEGMENTS + 1), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_WRITE_ZEROES, 0, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_WRITE_ZEROES, 0, 15), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_DISCARD, 0, 17), VIRTIO_BLK_S_IOERR);
    expect_sectors(b, untouched);
    assert_int_equal(space(b, VIRTIO_BLK_T_WRITE_ZEROES, many, SEGMENTS), VIRTIO_BLK_S_OK);
    fill_sectors(untouched, 0, SEGMENTS);
    expect_sectors(b, untouched);
}

static void test_not_negotiated(void **state)
{
    Block *b = *state;
    const Segment one = {0, 1, 0};

    bring_up(b, FEATURES);
    assert_int_equal(space(b, VIRTIO_BLK_T_DISCARD, &one, 1), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(space(b, VIRTIO_BLK_T_WRITE_ZEROES, &one, 1), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
}

static void test_read_only_disk_offers_neither(void **state)
{
    Block *b = block_new(true);

    assert_true(rig_offered(&b->rig) & F(RO));
    assert_false(rig_offered(&b->rig) & (F(DISCARD) | F(WRITE_ZEROES)));
    assert_int_equal(config_field(b, FIELD(max_discard_sectors), 4), 0);
    block_end(b);
}

/* ---- queues ---- */

static void test_four_queues(void **state)
{
    Block *b = block_new_with(&(BlockOptions){.queues = 4});
    Rig *rig = &b->rig;

    assert_true(rig_offered(rig) & F(MQ));
    assert_int_equal(config_field(b, FIELD(num_queues), 2), 4);
    assert_int_equal(rig_read(rig, RIG_COMMON(num_queues), 2), 4);
    bring_up_queues(b, FEATURES | F(MQ), 4);
    for (unsigned queue = 0; queue < 4; queue++) {
        unsigned interrupts = rig->interrupts[queue + 1];
        send_request(b, queue, VIRTIO_BLK_T_IN, 10 + queue, 512);
        assert_int_equal(await_request(b, queue), VIRTIO_BLK_S_OK);
        expect_all(rig_host(rig, b->data, 512), (uint8_t)(10 + queue), 512);
        assert_true(rig->interrupts[queue + 1] > interrupts);
    }
    block_end(b);
}

/* More than the device has out, on all queues at once: none is forgotten. */
static void test_four_busy_queues(void **state)
{
    Block *b = block_new_with(&(BlockOptions){.queues = 4});
    Rig *rig = &b->rig;
    uint64_t area[4];

    bring_up_queues(b, FEATURES | F(MQ), 4);
    for (unsigned queue = 0; queue < 4; queue++) {
        area[queue] = rig_alloc(rig, 80 * 1024);
        for (unsigned i = 0; i < 80; i++) {
            uint64_t at = area[queue] + i * 1024;
            RigBuffer buffers[3] = {{at, 16}, {at + 512, 512}, {at + 16, 1}};
            put_header(rig, at, VIRTIO_BLK_T_IN, (i + queue) % SECTORS);
            rig_add(rig, &rig->queues[queue], buffers, 1, 2);
        }
    }
    for (unsigned queue = 0; queue < 4; queue++)
        rig_kick(rig, &rig->queues[queue]);
    for (unsigned i = 0; i < 80; i++)
        for (unsigned queue = 0; queue < 4; queue++) {
            unsigned id = rig_used(rig, &rig->queues[queue]).id / 3;
            assert_true(id < 80);
            expect_all(rig_host(rig, area[queue] + id * 1024 + 512, 512), (uint8_t)((id + queue) % SECTORS),
                       512);
        }
    block_end(b);
}

/* ---- how long a write lasts ---- */

/* A disk that counts: what was written since the last flush. */
typedef struct Counter {
    VmcDisk disk;
    _Atomic unsigned writes, zeroes, flushes;
    atomic_bool closed;
} Counter;

static int count_write(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n)
{
    ((Counter *)disk)->writes++;
    return 0;
}

static int count_read(VmcDisk *disk, uint64_t offset, struct iovec *iov, unsigned n)
{
    return 0;
}

static int count_zeroes(VmcDisk *disk, uint64_t offset, uint64_t length, bool unmap)
{
    ((Counter *)disk)->zeroes++;
    return 0;
}

static int count_flush(VmcDisk *disk)
{
    ((Counter *)disk)->flushes++;
    return 0;
}

static void count_close(VmcDisk *disk)
{
    ((Counter *)disk)->closed = true;
}

static const VmcDiskOps counter_ops = {
    .name = "counter",
    .read = count_read,
    .write = count_write,
    .flush = count_flush,
    .write_zeroes = count_zeroes,
    .close = count_close,
};

static Block *counter_new(Counter *counter, VmcDiskCache cache)
{
    Block *b = g_new0(Block, 1);

    *counter = (Counter){.disk = {.ops = &counter_ops, .size = 1 << 20, .block_size = 512}};
    rig_init(&b->rig);
    VmcVirtioBlockParams params = {.disk = &counter->disk, .queues = 1, .cache = cache};
    rig_plug(&b->rig, vmc_virtio_block_new(&b->rig.host, &params));
    return b;
}

/* Flushes that the device made of its own for a write and for zeroes. */
static unsigned flushes_of_writes(Block *b, Counter *counter)
{
    const Segment one = {0, 1, 0};
    unsigned before = counter->flushes;

    assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(space(b, VIRTIO_BLK_T_WRITE_ZEROES, &one, 1), VIRTIO_BLK_S_OK);
    return counter->flushes - before;
}

static void set_writeback(Block *b, uint8_t value)
{
    vmc_bus_write(b->rig.mmio, b->rig.device + FIELD(wce), 1, value);
}

static void test_cache_as_the_driver_says(void **state)
{
    Counter counter;
    Block *b = counter_new(&counter, VMC_CACHE_WRITE_BACK);
    uint64_t base = RIG_FEATURES | F(WRITE_ZEROES);

    assert_false(rig_offered(&b->rig) & F(DISCARD)); /* this disk cannot */
    bring_up(b, base);
    assert_int_equal(flushes_of_writes(b, &counter), 2);
    bring_up(b, base | F(FLUSH));
    assert_int_equal(flushes_of_writes(b, &counter), 0);
    set_writeback(b, 0); /* not negotiated: no effect */
    assert_int_equal(flushes_of_writes(b, &counter), 0);
    bring_up(b, base | F(FLUSH) | F(CONFIG_WCE));
    assert_int_equal(config_field(b, FIELD(wce), 1), 1);
    assert_int_equal(flushes_of_writes(b, &counter), 0);
    set_writeback(b, 0);
    assert_int_equal(config_field(b, FIELD(wce), 1), 0);
    assert_int_equal(flushes_of_writes(b, &counter), 2);
    set_writeback(b, 1);
    assert_int_equal(flushes_of_writes(b, &counter), 0);
    bring_up(b, base | F(CONFIG_WCE));
    assert_int_equal(config_field(b, FIELD(wce), 1),
                     0); /* a driver that cannot flush has no cache at first */
    assert_int_equal(flushes_of_writes(b, &counter), 2);
    block_end(b);
    assert_true(counter.closed);
}

static void test_write_through_by_configuration(void **state)
{
    Counter counter;
    Block *b = counter_new(&counter, VMC_CACHE_WRITE_THROUGH);

    bring_up(b, RIG_FEATURES | F(WRITE_ZEROES) | F(FLUSH) | F(CONFIG_WCE));
    assert_int_equal(config_field(b, FIELD(wce), 1), 0);
    assert_int_equal(flushes_of_writes(b, &counter), 2);
    set_writeback(b, 1); /* the user's word counts for more */
    assert_int_equal(flushes_of_writes(b, &counter), 2);
    block_end(b);
}

static void test_unsafe_by_configuration(void **state)
{
    Counter counter;
    Block *b = counter_new(&counter, VMC_CACHE_UNSAFE);

    bring_up(b, RIG_FEATURES | F(WRITE_ZEROES) | F(FLUSH));
    assert_int_equal(flushes_of_writes(b, &counter), 0);
    assert_int_equal(request(b, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(counter.flushes, 0);
    block_end(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_limits_in_configuration, setup_space, teardown),
        cmocka_unit_test_setup_teardown(test_write_zeroes, setup_space, teardown),
        cmocka_unit_test_setup_teardown(test_discard_gives_space_back, setup_space, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_segments, setup_space, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_number_of_segments, setup_space, teardown),
        cmocka_unit_test_setup_teardown(test_not_negotiated, setup_space, teardown),
        cmocka_unit_test(test_read_only_disk_offers_neither),
        cmocka_unit_test(test_four_queues),
        cmocka_unit_test(test_four_busy_queues),
        cmocka_unit_test(test_cache_as_the_driver_says),
        cmocka_unit_test(test_write_through_by_configuration),
        cmocka_unit_test(test_unsafe_by_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
