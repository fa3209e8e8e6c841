/*
 * virtio-blk as a guest uses it, on a real file; and on a disk whose operations can be held back, to see what
 * is in flight when the guest resets the device or the machine stops.
 */
#include "tests/unit/block_rig.h"
#include "tests/unit/slow_disk.h"

#include <errno.h>
#include <seccomp.h>

static void test_config(void **state)
{
    Block *b = *state;
    Rig *rig = &b->rig;
    uint64_t offered = rig_offered(rig);

    assert_int_equal(rig_config(rig, PCI_DEVICE_ID, 2), 0x1042);
    assert_int_equal(vmc_bus_read(rig->mmio, rig->device + offsetof(struct virtio_blk_config, capacity), 8),
                     SECTORS);
    assert_int_equal(vmc_bus_read(rig->mmio, rig->device + offsetof(struct virtio_blk_config, blk_size), 4),
                     512);
    assert_int_equal(vmc_bus_read(rig->mmio, rig->device + offsetof(struct virtio_blk_config, seg_max), 4),
                     SIZE - 2);
    assert_int_equal(
        vmc_bus_read(rig->mmio, rig->device + offsetof(struct virtio_blk_config, physical_block_exp), 1), 3);
    assert_int_equal(vmc_bus_read(rig->mmio, rig->device + 4000, 8), 0);
    assert_true(offered & 1ull << VIRTIO_BLK_F_FLUSH);
    assert_false(offered & 1ull << VIRTIO_BLK_F_RO);
}

static void test_read_write(void **state)
{
    Block *b = *state;
    uint8_t *data = rig_host(&b->rig, b->data, 1 << 20);

    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 5, 1024), VIRTIO_BLK_S_OK);
    expect_all(data, 5, 512);
    expect_all(data + 512, 6, 512);
    expect_all(data + 1024, 0, 512);
    memset(data, 0xa5, 1024);
    assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 7, 1024), VIRTIO_BLK_S_OK);
    assert_int_equal(request(b, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 6, 2048), VIRTIO_BLK_S_OK);
    expect_all(data, 6, 512);
    expect_all(data + 512, 0xa5, 1024);
    expect_all(data + 1536, 9, 512);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, SECTORS * 512), VIRTIO_BLK_S_OK);
    expect_all(data + (SECTORS - 1) * 512, SECTORS - 1, 512);

    char *file;
    assert_true(g_file_get_contents(b->path, &file, NULL, NULL));
    expect_all((uint8_t *)file + 7 * 512, 0xa5, 1024);
    g_free(file);
}

static void test_get_id(void **state)
{
    Block *b = *state;
    uint8_t *data = rig_host(&b->rig, b->data, 64);

    memset(data, '.', 64);
    assert_int_equal(request(b, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES), VIRTIO_BLK_S_OK);
    assert_memory_equal(data, "a-serial-number-of-m.", 21);
    memset(data, '.', 64);
    assert_int_equal(request(b, VIRTIO_BLK_T_GET_ID, 0, 8), VIRTIO_BLK_S_OK);
    assert_memory_equal(data, "a-serial.", 9);
}

static void test_errors(void **state)
{
    Block *b = *state;

    assert_int_equal(request(b, VIRTIO_BLK_T_IN, SECTORS, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_OUT, SECTORS - 1, 1024), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, UINT64_MAX, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, UINT64_MAX / 512, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 1ull << 55, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, 511), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 0, 513), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, 99, 0, 512), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(request(b, VIRTIO_BLK_T_DISCARD, 0, 16), VIRTIO_BLK_S_UNSUPP);
    /* The file has become shorter. */
    assert_int_equal(truncate(b->path, 10 * 512), 0);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 20, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 9, 512), VIRTIO_BLK_S_OK);
}

static void test_readonly(void **state)
{
    Block *b = block_new(true);

    assert_true(rig_offered(&b->rig) & 1ull << VIRTIO_BLK_F_RO);
    bring_up(b, FEATURES | 1ull << VIRTIO_BLK_F_RO);
    memset(rig_host(&b->rig, b->data, 512), 0xff, 512);
    assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 3, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 3, 512), VIRTIO_BLK_S_OK);
    expect_all(rig_host(&b->rig, b->data, 512), 3, 512);
    assert_int_equal(request(b, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
    void *again = b;
    teardown(&again);
}

/* How a request is cut into buffers is the driver's business (s2.7.4). */
static void test_any_layout(void **state)
{
    Block *b = *state;
    Rig *rig = &b->rig;
    RigBuffer buffers[] = {
        {b->header, 1}, {b->header + 1, 15}, {b->data, 100}, {b->data + 100, 13}, {b->data + 113, 400}};

    put_header(rig, b->header, VIRTIO_BLK_T_IN, 11);
    rig_add(rig, &rig->queues[0], buffers, 2, 3);
    rig_kick(rig, &rig->queues[0]);
    assert_int_equal(rig_used(rig, &rig->queues[0]).len, 513);
    expect_all(rig_host(rig, b->data, 512), 11, 512);
    assert_int_equal(*(uint8_t *)rig_host(rig, b->data + 512, 1), VIRTIO_BLK_S_OK);

    /* Header and data in one. */
    put_header(rig, b->data, VIRTIO_BLK_T_OUT, 12);
    memset(rig_host(rig, b->data + 16, 512), 0x5a, 512);
    RigBuffer joined[] = {{b->data, 528}, {b->status, 1}};
    rig_add(rig, &rig->queues[0], joined, 1, 1);
    rig_kick(rig, &rig->queues[0]);
    assert_int_equal(rig_used(rig, &rig->queues[0]).len, 1);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 12, 512), VIRTIO_BLK_S_OK);
    expect_all(rig_host(rig, b->data, 512), 0x5a, 512);
}

/* As Linux does it: one indirect table for each request, many requests at once, more than the device has out.
 */
static void test_many_in_flight(void **state)
{
    Block *b = *state;
    Rig *rig = &b->rig;
    RigQueue *q = &rig->queues[0];
    uint64_t area = rig_alloc(rig, SIZE * 1024);
    unsigned seen[SIZE] = {0};

    for (unsigned i = 0; i < SIZE; i++) {
        uint64_t at = area + i * 1024;
        struct vring_desc *table = rig_host(rig, at + 64, 48);
        put_header(rig, at, VIRTIO_BLK_T_IN, i % SECTORS);
        *(uint8_t *)rig_host(rig, at + 32, 1) = 0xee;
        table[0] = (struct vring_desc){at, 16, VRING_DESC_F_NEXT, 1};
        table[1] = (struct vring_desc){at + 512, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2};
        table[2] = (struct vring_desc){at + 32, 1, VRING_DESC_F_WRITE, 0};
        *rig_desc(rig, q, i) = (struct vring_desc){at + 64, 48, VRING_DESC_F_INDIRECT, 0};
        rig_offer(rig, q, (uint16_t)i);
        if (i % 50 == 0)
            rig_kick(rig, q);
    }
    rig_kick(rig, q);
    for (unsigned i = 0; i < SIZE; i++) {
        unsigned id = rig_used(rig, q).id;
        assert_true(id < SIZE && !seen[id]++);
        assert_int_equal(*(uint8_t *)rig_host(rig, area + id * 1024 + 32, 1), VIRTIO_BLK_S_OK);
        expect_all(rig_host(rig, area + id * 1024 + 512, 512), (uint8_t)(id % SECTORS), 512);
    }
}

static void test_not_a_request(void **state)
{
    Block *b = *state;
    Rig *rig = &b->rig;
    const RigBuffer bad[][2] = {
        {{b->header, 15}, {b->status, 1}}, /* half a header */
        {{b->header, 16}, {b->status, 0}}, /* nowhere to put the status */
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        rig_add(rig, &rig->queues[0], bad[i], 1, 1);
        rig_kick(rig, &rig->queues[0]);
        rig_expect_needs_reset(rig);
        rig_bring_up(rig, FEATURES, 1, SIZE);
        assert_int_equal(request(b, VIRTIO_BLK_T_IN, 1, 512), VIRTIO_BLK_S_OK);
    }
}

/* A request of gigabytes onto the same few pages is refused for its size, not attempted. */
static void test_huge_request(void **state)
{
    Block *b = *state;
    Rig *rig = &b->rig;
    RigBuffer buffers[200];

    put_header(rig, b->header, VIRTIO_BLK_T_IN, 0);
    buffers[0] = (RigBuffer){b->header, 16};
    for (unsigned i = 1; i < 199; i++)
        buffers[i] = (RigBuffer){0, RIG_RAM};
    buffers[199] = (RigBuffer){b->status, 1};
    rig_add(rig, &rig->queues[0], buffers, 1, 199);
    rig_kick(rig, &rig->queues[0]);
    rig_used(rig, &rig->queues[0]);
    assert_int_equal(*(uint8_t *)rig_host(rig, b->status, 1), VIRTIO_BLK_S_IOERR);
}

/* ---- requests in flight ---- */

static Block *slow_block_new(Gate *gate)
{
    Block *b = g_new0(Block, 1);

    gate_init(gate);
    rig_init(&b->rig);
    rig_plug(&b->rig, vmc_virtio_block_new(&b->rig.host, &(VmcVirtioBlockParams){.disk = &gate->disk}));
    bring_up(b, FEATURES);
    return b;
}

/* Starts `n` reads and waits until at least one is at the gate. */
static void start_reads(Block *b, Gate *gate, unsigned n)
{
    Rig *rig = &b->rig;
    RigBuffer buffers[3] = {{b->header, 16}, {b->data, 512}, {b->status, 1}};

    set_gate(gate, true);
    put_header(rig, b->header, VIRTIO_BLK_T_IN, 0);
    memset(rig_host(rig, b->data, 512), 0, 512);
    for (unsigned i = 0; i < n; i++)
        rig_add(rig, &rig->queues[0], buffers, 1, 2);
    rig_kick(rig, &rig->queues[0]);
    await_gate(gate, RIG_TIMEOUT);
}

/* The guest's reset does not wait for the disk; status stays up until the last request is back, and only then
 * may the guest have its memory back (s4.1.4.3.2). */
static void test_reset_with_requests_in_flight(void **state)
{
    Gate gate;
    Block *b = slow_block_new(&gate);
    Rig *rig = &b->rig;

    start_reads(b, &gate, 50);
    int64_t before = g_get_monotonic_time();
    rig_write(rig, RIG_COMMON(device_status), 1, 0);
    assert_true(g_get_monotonic_time() - before < G_TIME_SPAN_SECOND);
    assert_int_not_equal(rig_status(rig), 0);
    rig_set_status(rig, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    set_gate(&gate, false);
    rig_reset(rig);
    memset(rig_host(rig, b->data, 512), 0, 512);
    g_usleep(20000);
    expect_all(rig_host(rig, b->data, 512), 0, 512);
    bring_up(b, FEATURES);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
    expect_all(rig_host(rig, b->data, 512), 0x77, 512);
    void *again = b;
    teardown(&again);
    assert_true(gate.disk_closed);
}

/* Power-on reset and the machine's end do wait: afterwards no worker touches guest memory. */
static void test_end_with_requests_in_flight(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        Gate gate;
        Block *b = slow_block_new(&gate);
        start_reads(b, &gate, 80);
        GThread *thread = g_thread_new("gate", open_gate_later, &gate);
        if (i)
            vmc_pci_bus_reset(b->rig.pci);
        else
            g_clear_pointer(&b->rig.pci, vmc_pci_bus_free);
        assert_int_equal(gate.inside, 0);
        memset(rig_host(&b->rig, b->data, 512), 0, 512);
        g_thread_join(thread);
        g_usleep(20000);
        expect_all(rig_host(&b->rig, b->data, 512), 0, 512);
        void *again = b;
        teardown(&again);
        assert_true(gate.disk_closed);
    }
}

/* The I/O thread goes on while the disk hangs. */
static void note_ran(void *data)
{
    *(bool *)data = true;
}

static void test_io_thread_never_waits(void **state)
{
    Gate gate;
    Block *b = slow_block_new(&gate);
    bool ran = false;

    start_reads(b, &gate, 200 / 3);
    int64_t before = g_get_monotonic_time();
    vmc_io_call_sync(b->rig.io, note_ran, &ran);
    assert_true(ran && g_get_monotonic_time() - before < G_TIME_SPAN_SECOND);
    set_gate(&gate, false);
    for (unsigned i = 0; i < 200 / 3; i++)
        rig_used(&b->rig, &b->rig.queues[0]);
    void *again = b;
    teardown(&again);
}

/* A driver that cannot flush is promised that its writes last (s5.2.6.2). */
static void test_write_through(void **state)
{
    Gate gate;
    Block *b = slow_block_new(&gate);

    assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(gate.flushes, 0);
    bring_up(b, RIG_FEATURES);
    assert_int_equal(request(b, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(gate.flushes, 1);
    void *again = b;
    teardown(&again);
}

/* As a container does; for this thread and those it starts. */
static bool deny_io_uring(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    bool denied = filter && !seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0) &&
                  !seccomp_load(filter);

    seccomp_release(filter);
    return denied;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_config, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_get_id, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test(test_readonly),
        cmocka_unit_test_setup_teardown(test_any_layout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_in_flight, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_huge_request, setup, teardown),
        cmocka_unit_test(test_reset_with_requests_in_flight),
        cmocka_unit_test(test_end_with_requests_in_flight),
        cmocka_unit_test(test_io_thread_never_waits),
        cmocka_unit_test(test_write_through),
    };

    int failed = cmocka_run_group_tests_name("with what the host has", tests, NULL, NULL);
    if (!deny_io_uring()) {
        print_message("io_uring cannot be denied here: not tested without it\n");
        return failed;
    }
    return failed + cmocka_run_group_tests_name("without io_uring", tests, NULL, NULL);
}
