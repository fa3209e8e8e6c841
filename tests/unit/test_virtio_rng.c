/* virtio-rng as a guest uses it. The transport is tested in test_virtio_pci.c. */
#include "tests/unit/virtio_rig.h"

#define SIZE 64u

static int setup(void **state)
{
    Rig *rig = g_new0(Rig, 1);

    rig_init(rig);
    rig_plug(rig, vmc_virtio_rng_new(&rig->host));
    rig_bring_up(rig, RIG_FEATURES, 1, SIZE);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    rig_clear(*state);
    g_free(*state);
    return 0;
}

static uint32_t ask(Rig *rig, const RigBuffer *buffers, unsigned n)
{
    rig_add(rig, &rig->queues[0], buffers, 0, n);
    rig_kick(rig, &rig->queues[0]);
    return rig_used(rig, &rig->queues[0]).len;
}

static void test_bytes(void **state)
{
    Rig *rig = *state;
    uint64_t at = rig_alloc(rig, 4096);
    uint8_t *bytes = rig_host(rig, at, 4096);

    /* Exactly what was asked for, across buffers, and every byte of it different from time to time. */
    RigBuffer buffers[] = {{at, 3}, {at + 100, 1}, {at + 200, 700}};
    uint8_t seen[700] = {0};
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(ask(rig, buffers, 3), 704);
        for (unsigned n = 0; n < 700; n++)
            seen[n] |= bytes[200 + n];
    }
    for (unsigned n = 0; n < 700; n++)
        assert_int_not_equal(seen[n], 0);
    assert_int_equal(bytes[3], 0);
    assert_int_equal(bytes[101], 0);
    assert_int_equal(bytes[900], 0);
}

/* A request for megabytes gets a part, as s5.4.6.2 allows, and no more of the I/O thread's time. */
static void test_requests_are_bounded(void **state)
{
    Rig *rig = *state;
    uint64_t at = rig_alloc(rig, 8 << 20);
    uint32_t len = ask(rig, &(RigBuffer){at, 8 << 20}, 1);

    assert_in_range(len, 1, 65536);
    const uint8_t *bytes = rig_host(rig, at, 8 << 20);
    for (uint32_t i = len; i < 8 << 20; i += 512)
        assert_int_equal(bytes[i], 0);
}

static void test_many_at_once(void **state)
{
    Rig *rig = *state;
    uint64_t at = rig_alloc(rig, SIZE * 4096);

    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < SIZE; i++)
            rig_add(rig, &rig->queues[0], &(RigBuffer){at + i * 4096, 4096}, 0, 1);
        rig_kick(rig, &rig->queues[0]);
        for (unsigned i = 0; i < SIZE; i++)
            assert_int_equal(rig_used(rig, &rig->queues[0]).len, 4096);
    }
}

static void test_nothing_to_fill(void **state)
{
    Rig *rig = *state;
    uint64_t at = rig_alloc(rig, 16);

    assert_int_equal(ask(rig, &(RigBuffer){at, 0}, 1), 0);
    rig_add(rig, &rig->queues[0], &(RigBuffer){at, 16}, 1, 0); /* to be read, not filled */
    rig_kick(rig, &rig->queues[0]);
    assert_int_equal(rig_used(rig, &rig->queues[0]).len, 0);
    assert_int_equal(ask(rig, &(RigBuffer){at, 16}, 1), 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_to_fill, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
