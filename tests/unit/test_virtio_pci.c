/*
 * The virtio-pci transport, driven as a guest does with an entropy device behind it (the smallest there is),
 * and the same by a driver that means harm.
 */
#include "tests/unit/virtio_rig.h"

#define SIZE 16u

static int setup(void **state)
{
    Rig *rig = g_new0(Rig, 1);

    rig_init(rig);
    rig_plug(rig, vmc_virtio_rng_new(&rig->host));
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    rig_clear(*state);
    g_free(*state);
    return 0;
}

/* Asks for 32 random bytes; true if they came. */
static void expect_working(Rig *rig)
{
    RigQueue *q = &rig->queues[0];
    uint64_t at = rig_alloc(rig, 32);
    uint8_t zero[32] = {0};

    rig_add(rig, q, &(RigBuffer){at, 32}, 0, 1);
    rig_kick(rig, q);
    assert_int_equal(rig_used(rig, q).len, 32);
    assert_memory_not_equal(rig_host(rig, at, 32), zero, 32);
}

static void test_identity(void **state)
{
    Rig *rig = *state;

    assert_int_equal(rig_config(rig, PCI_VENDOR_ID, 4), 0x10441af4);
    assert_true(rig_config(rig, PCI_REVISION_ID, 1) >= 1);
    assert_true(rig_config(rig, PCI_SUBSYSTEM_ID, 2) >= 0x40);
    assert_int_equal(rig_config(rig, PCI_INTERRUPT_PIN, 1), 1);
    assert_int_equal(rig_read(rig, RIG_COMMON(num_queues), 2), 1);
    assert_int_equal(rig_read(rig, RIG_COMMON(queue_size), 2), 64);
    assert_int_equal(rig_read(rig, RIG_COMMON(msix_config), 2), VIRTIO_MSI_NO_VECTOR);
    rig_write(rig, RIG_COMMON(queue_select), 2, 1);
    assert_int_equal(rig_read(rig, RIG_COMMON(queue_size), 2), 0); /* not there */
    assert_int_equal(rig_read(rig, sizeof(struct virtio_pci_common_cfg), 4), 0);
}

static void test_negotiation(void **state)
{
    Rig *rig = *state;

    assert_true(rig_offered(rig) == RIG_FEATURES);
    rig_write(rig, RIG_COMMON(device_feature_select), 4, 2);
    assert_int_equal(rig_read(rig, RIG_COMMON(device_feature), 4), 0);
    assert_false(rig_negotiate(rig, 0));                               /* legacy */
    assert_false(rig_negotiate(rig, 1ull << VIRTIO_RING_F_EVENT_IDX)); /* legacy */
    assert_false(rig_negotiate(rig, RIG_FEATURES | 1));                /* not offered */
    assert_false(rig_negotiate(rig, RIG_FEATURES | 1ull << 63));
    assert_true(rig_negotiate(rig, RIG_FEATURES));
    /* Taken, so no longer to be changed. */
    rig_write(rig, RIG_COMMON(guest_feature_select), 4, 0);
    rig_write(rig, RIG_COMMON(guest_feature), 4, 0xffffffff);
    assert_int_equal(rig_read(rig, RIG_COMMON(guest_feature), 4), (uint32_t)RIG_FEATURES);
    /* Bits cannot be taken back one by one. */
    rig_write(rig, RIG_COMMON(device_status), 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_int_equal(rig_status(rig),
                     VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
    rig_reset(rig);
    rig_set_status(rig, VIRTIO_CONFIG_S_DRIVER_OK); /* without FEATURES_OK: no */
    assert_int_equal(rig_status(rig), 0);
}

static void test_msix(void **state)
{
    Rig *rig = *state;

    for (unsigned round = 0; round < 3; round++) {
        rig_bring_up(rig, RIG_FEATURES, 1, SIZE);
        for (unsigned i = 0; i < 3 * SIZE; i++)
            expect_working(rig);
        assert_true(rig->interrupts[1] > 0);
        assert_int_equal(rig->interrupts[0], 0);
        assert_int_equal(rig->intx_rises, 0);
    }
    rig_write(rig, RIG_COMMON(queue_msix_vector), 2, 2); /* there are two */
    assert_int_equal(rig_read(rig, RIG_COMMON(queue_msix_vector), 2), VIRTIO_MSI_NO_VECTOR);
}

static void test_features_off(void **state)
{
    rig_bring_up(*state, 1ull << VIRTIO_F_VERSION_1, 1, SIZE);
    for (unsigned i = 0; i < 3 * SIZE; i++)
        expect_working(*state);
}

static void test_intx(void **state)
{
    Rig *rig = *state;

    assert_true(rig_negotiate(rig, RIG_FEATURES));
    rig_setup_queue(rig, 0, SIZE);
    rig_set_status(rig, VIRTIO_CONFIG_S_DRIVER_OK);
    for (unsigned i = 1; i <= 3; i++) {
        expect_working(rig);
        /* The interrupt follows the used index. */
        g_mutex_lock(&rig->lock);
        while (!rig->intx)
            assert_true(g_cond_wait_until(&rig->cond, &rig->lock, g_get_monotonic_time() + RIG_TIMEOUT));
        g_mutex_unlock(&rig->lock);
        assert_int_equal(vmc_bus_read(rig->mmio, rig->isr, 1), 1);
        assert_false(rig->intx);
        assert_int_equal(vmc_bus_read(rig->mmio, rig->isr, 1), 0);
        assert_int_equal(rig->intx_rises, i);
    }
}

static void test_64_bit_addresses(void **state)
{
    Rig *rig = *state;

    assert_true(rig_negotiate(rig, RIG_FEATURES));
    rig_enable_msix(rig);
    rig->next_free = 0x20000;
    RigQueue *q = rig_setup_queue(rig, 0, SIZE);
    q->desc += RIG_HIGH;
    q->avail += RIG_HIGH;
    q->used += RIG_HIGH;
    /* Enabled already: frozen. */
    rig_set_address(rig, RIG_COMMON(queue_desc_lo), q->desc);
    assert_int_equal(rig_read(rig, RIG_COMMON(queue_desc_hi), 4), 0);
    rig_reset(rig);
    assert_true(rig_negotiate(rig, RIG_FEATURES));
    rig_enable_msix(rig);
    q = rig_setup_queue(rig, 0, SIZE);
    rig_reset(rig);

    assert_true(rig_negotiate(rig, RIG_FEATURES));
    *q = (RigQueue){.size = SIZE, .desc = RIG_HIGH, .avail = RIG_HIGH + 0x1000, .used = RIG_HIGH + 0x2000};
    rig_write(rig, RIG_COMMON(queue_size), 2, SIZE);
    rig_set_address(rig, RIG_COMMON(queue_desc_lo), q->desc);
    rig_write(rig, RIG_COMMON(queue_avail_lo), 8, q->avail); /* in one piece is fine too */
    rig_write(rig, RIG_COMMON(queue_used_lo), 8, q->used);
    assert_true(rig_read(rig, RIG_COMMON(queue_used_lo), 8) == q->used);
    assert_int_equal(rig_read(rig, RIG_COMMON(queue_used_hi), 4), 1);
    rig_write(rig, RIG_COMMON(queue_msix_vector), 2, 1);
    rig_write(rig, RIG_COMMON(queue_enable), 2, 1);
    q->notify = rig->notify;
    rig_set_status(rig, VIRTIO_CONFIG_S_DRIVER_OK);
    expect_working(rig);
}

/* The window in configuration space reaches the same registers. */
static void test_window(void **state)
{
    Rig *rig = *state;
    unsigned cap = rig->window_cap;

    rig_set_config(rig, cap + VIRTIO_PCI_CAP_BAR, 1, 0);
    rig_set_config(rig, cap + VIRTIO_PCI_CAP_OFFSET, 4, RIG_COMMON(device_status));
    rig_set_config(rig, cap + VIRTIO_PCI_CAP_LENGTH, 4, 1);
    rig_set_config(rig, cap + sizeof(struct virtio_pci_cap), 4, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_int_equal(rig_status(rig), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    rig_set_status(rig, VIRTIO_CONFIG_S_DRIVER);
    assert_int_equal(rig_config(rig, cap + sizeof(struct virtio_pci_cap), 1), 3);
    rig_set_config(rig, cap + sizeof(struct virtio_pci_cap), 1, 0);
    assert_int_equal(rig_status(rig), 0);

    rig_set_config(rig, cap + VIRTIO_PCI_CAP_OFFSET, 4, RIG_COMMON(queue_size));
    rig_set_config(rig, cap + VIRTIO_PCI_CAP_LENGTH, 4, 2);
    assert_int_equal(rig_config(rig, cap + sizeof(struct virtio_pci_cap), 2), 64);
    /* Nonsense in it goes nowhere. */
    static const uint32_t offsets[] = {1, 0x3fff, 0x4000, 0xfffffffe}, lengths[] = {0, 2, 3, 8, 0xffffffff};
    for (unsigned i = 0; i < G_N_ELEMENTS(offsets) * G_N_ELEMENTS(lengths); i++) {
        rig_set_config(rig, cap + VIRTIO_PCI_CAP_OFFSET, 4, offsets[i % 4]);
        rig_set_config(rig, cap + VIRTIO_PCI_CAP_LENGTH, 4, lengths[i / 4]);
        rig_set_config(rig, cap + sizeof(struct virtio_pci_cap), 4, 0xffffffff);
        rig_config(rig, cap + sizeof(struct virtio_pci_cap), 4);
    }
    rig_set_config(rig, cap + VIRTIO_PCI_CAP_BAR, 1, 5);
    rig_config(rig, cap + sizeof(struct virtio_pci_cap), 4);
    assert_int_equal(rig_status(rig), 0);
}

/* Without Bus Master Enable no memory is touched; with it, what has waited is done. */
static void test_bus_master(void **state)
{
    Rig *rig = *state;
    struct vring_used_elem elem;

    rig_bring_up(rig, RIG_FEATURES, 1, SIZE);
    expect_working(rig);
    rig_set_config(rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    uint64_t at = rig_alloc(rig, 32);
    rig_add(rig, &rig->queues[0], &(RigBuffer){at, 32}, 0, 1);
    rig_kick(rig, &rig->queues[0]);
    assert_false(rig_wait_used(rig, &rig->queues[0], &elem, 50000));
    rig_set_config(rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_int_equal(rig_used(rig, &rig->queues[0]).len, 32);
}

/* As a CPU that has the bell does it: no register is written to. */
static void expect_bell_works(Rig *rig)
{
    RigQueue *q = &rig->queues[0];
    uint64_t at = rig_alloc(rig, 32), one = 1;

    assert_int_equal(rig->n_bells, 1);
    assert_int_equal(rig->bells[0].at, q->notify);
    rig_add(rig, q, &(RigBuffer){at, 32}, 0, 1);
    assert_int_equal(write(rig->bells[0].fd, &one, sizeof one), sizeof one);
    assert_int_equal(rig_used(rig, q).len, 32);
}

static void test_cpus_are_given_the_bell_of_a_queue_that_runs(void **state)
{
    Rig *rig = *state;
    uint64_t moved = RIG_WINDOW + 0x200000;

    assert_int_equal(rig->n_bells, 0);
    rig_bring_up(rig, RIG_FEATURES, 1, SIZE);
    expect_bell_works(rig);
    expect_working(rig); /* who does not have it writes the register */

    rig_set_config(rig, PCI_BASE_ADDRESS_0, 4, (uint32_t)moved);
    assert_int_equal(rig->n_bells, 1);
    assert_int_equal(rig->bells[0].at, moved + (rig->queues[0].notify - rig->common));
    rig_set_config(rig, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
    assert_int_equal(rig->n_bells, 0);
    rig_set_config(rig, PCI_BASE_ADDRESS_0, 4, (uint32_t)rig->common);
    rig_set_config(rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    expect_bell_works(rig);

    rig_reset(rig);
    assert_int_equal(rig->n_bells, 0);
    rig_bring_up(rig, RIG_FEATURES, 1, SIZE);
    expect_bell_works(rig);
    vmc_pci_bus_reset(rig->pci);
    assert_int_equal(rig->n_bells, 0);
}

static void test_power_on_reset(void **state)
{
    Rig *rig = *state;
    static const uint8_t lines[8] = {0};

    rig_bring_up(rig, RIG_FEATURES, 1, SIZE);
    expect_working(rig);
    vmc_pci_bus_reset(rig->pci);
    assert_int_equal(vmc_bus_read(rig->mmio, rig->common, 4), 0xffffffff);
    vmc_pci_bus_assign(rig->pci, RIG_WINDOW + 0x100000, RIG_WINDOW + 0x200000, 0xc000, lines);
    rig_find_structures(rig);
    rig_set_config(rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_int_equal(rig_status(rig), 0);
    assert_int_equal(rig_read(rig, RIG_COMMON(queue_desc_lo), 4), 0);
    rig_bring_up(rig, RIG_FEATURES, 1, SIZE);
    expect_working(rig);
}

/* ---- drivers that mean harm ---- */

/* A ring that is malformed costs the device until its next reset, and the driver is told. */
static void expect_refused_then_mended(Rig *rig)
{
    unsigned before = rig->interrupts[0];

    rig_kick(rig, &rig->queues[0]);
    rig_expect_needs_reset(rig);
    g_mutex_lock(&rig->lock);
    while (rig->interrupts[0] == before)
        assert_true(g_cond_wait_until(&rig->cond, &rig->lock, g_get_monotonic_time() + RIG_TIMEOUT));
    g_mutex_unlock(&rig->lock);
    rig_bring_up(rig, RIG_FEATURES, 1, SIZE);
    expect_working(rig);
}

static void test_malformed_rings(void **state)
{
    Rig *rig = *state;
    static const struct vring_desc bad[] = {
        {.addr = 0x1000, .len = 16, .flags = VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, .next = 0}, /* a loop */
        {.addr = RIG_HOLE, .len = 16, .flags = VRING_DESC_F_WRITE},                              /* no RAM */
        {.addr = RIG_WINDOW, .len = 16, .flags = VRING_DESC_F_WRITE}, /* the device's own registers */
        {.addr = 0x1000, .len = 0xffffffff, .flags = VRING_DESC_F_WRITE},
        {.addr = 0x1000, .len = 16, .flags = VRING_DESC_F_NEXT, .next = 999},
        {.addr = 0x1000, .len = 7, .flags = VRING_DESC_F_INDIRECT},
        {.addr = RIG_ROM, .len = 16, .flags = VRING_DESC_F_WRITE},
    };

    rig_bring_up(rig, RIG_FEATURES, 1, SIZE);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        RigQueue *q = &rig->queues[0];
        *rig_desc(rig, q, 0) = bad[i];
        rig_offer(rig, q, 0);
        expect_refused_then_mended(rig);
    }
    rig->queues[0].next_avail = 1000;
    rig_offer(rig, &rig->queues[0], 0);
    expect_refused_then_mended(rig);
    /* An indirect table that names itself. */
    uint64_t table = rig_alloc(rig, 16);
    *(struct vring_desc *)rig_host(rig, table, 16) =
        (struct vring_desc){.addr = table, .len = 16, .flags = VRING_DESC_F_INDIRECT};
    *rig_desc(rig, &rig->queues[0], 0) = *(struct vring_desc *)rig_host(rig, table, 16);
    rig_offer(rig, &rig->queues[0], 0);
    expect_refused_then_mended(rig);
}

static void test_bad_queue_addresses(void **state)
{
    Rig *rig = *state;
    static const uint64_t bad[] = {RIG_HOLE, RIG_WINDOW, UINT64_MAX - 15, RIG_RAM - 16, 0x1008};

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_true(rig_negotiate(rig, RIG_FEATURES));
        rig_enable_msix(rig);
        rig_write(rig, RIG_COMMON(queue_size), 2, SIZE);
        rig_write(rig, RIG_COMMON(queue_desc_lo), 8, bad[i]);
        rig_write(rig, RIG_COMMON(queue_avail_lo), 8, 0x2000);
        rig_write(rig, RIG_COMMON(queue_used_lo), 8, 0x3000);
        rig_write(rig, RIG_COMMON(queue_enable), 2, 1);
        rig_set_status(rig, VIRTIO_CONFIG_S_DRIVER_OK);
        if (!(rig_status(rig) & VIRTIO_CONFIG_S_NEEDS_RESET))
            fail_msg("descriptors at %#" G_GINT64_MODIFIER "x were taken", bad[i]);
        vmc_bus_write(rig->mmio, rig->notify, 2, 0);
    }
    rig_bring_up(rig, RIG_FEATURES, 1, SIZE);
    expect_working(rig);
}

/* Everything about a queue is settled at DRIVER_OK. */
static void test_queue_rewritten_after_driver_ok(void **state)
{
    Rig *rig = *state;

    rig_bring_up(rig, RIG_FEATURES, 1, SIZE);
    expect_working(rig);
    rig_write(rig, RIG_COMMON(queue_size), 2, 64);
    rig_write(rig, RIG_COMMON(queue_enable), 2, 0);
    rig_write(rig, RIG_COMMON(queue_desc_lo), 8, RIG_HOLE);
    rig_write(rig, RIG_COMMON(queue_avail_lo), 8, RIG_HOLE);
    rig_write(rig, RIG_COMMON(queue_used_lo), 8, RIG_HOLE);
    assert_int_equal(rig_read(rig, RIG_COMMON(queue_size), 2), SIZE);
    assert_int_equal(rig_read(rig, RIG_COMMON(queue_enable), 2), 1);
    assert_true(rig_read(rig, RIG_COMMON(queue_used_lo), 8) == rig->queues[0].used);
    for (unsigned i = 0; i < 2 * SIZE; i++)
        expect_working(rig);
}

/* Several CPUs write anything anywhere in the registers while rings are rung. */
static gpointer write_garbage(gpointer data)
{
    Rig *rig = data;
    GRand *rand = g_rand_new();

    for (unsigned i = 0; i < 3000; i++) {
        uint64_t at = rig->common + (g_rand_int(rand) % 4) * 4096 + g_rand_int(rand) % 64;
        unsigned size = 1u << g_rand_int(rand) % 4;
        if (i % 3 == 0)
            rig_set_status(rig, (uint8_t)g_rand_int(rand));
        vmc_bus_write(rig->mmio, at, size, g_rand_int(rand) % 0x20000);
        vmc_bus_read(rig->mmio, at, size);
    }
    g_rand_free(rand);
    return NULL;
}

static void test_garbage_from_several_cpus(void **state)
{
    Rig *rig = *state;
    GThread *cpus[3];

    GRand *rand = g_rand_new_with_seed(3);
    for (uint32_t *word = rig_host(rig, 0, 0x20000), *end = word + 0x8000; word < end; word++)
        *word = g_rand_int(rand);
    g_rand_free(rand);
    rig_bring_up(rig, RIG_FEATURES, 1, SIZE);
    for (unsigned i = 0; i < G_N_ELEMENTS(cpus); i++)
        cpus[i] = g_thread_new("cpu", write_garbage, rig);
    for (unsigned i = 0; i < G_N_ELEMENTS(cpus); i++)
        g_thread_join(cpus[i]);
    rig_reset(rig);
    rig->next_free = 0x100000;
    rig_bring_up(rig, RIG_FEATURES, 1, SIZE);
    expect_working(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_negotiation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_msix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_features_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_intx, setup, teardown),
        cmocka_unit_test_setup_teardown(test_64_bit_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_window, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bus_master, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cpus_are_given_the_bell_of_a_queue_that_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_power_on_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_rings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_queue_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_rewritten_after_driver_ok, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage_from_several_cpus, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
