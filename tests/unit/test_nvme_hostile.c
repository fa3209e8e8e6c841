/*
 * The NVMe controller and a guest that means harm, or only gives up: enabling, disabling and resets at every
 * moment, queues taken away under their commands, doorbells with any value, completions nobody reads. On a
 * disk whose reads can be held back, to see what is in flight meanwhile.
 */
#include "tests/unit/nvme_rig.h"
#include "tests/unit/slow_disk.h"

static Nr *slow_new(Gate *gate)
{
    gate_init(gate);
    Nr *n = nr_new_with(&(NrOptions){.disk = &gate->disk});

    nr_bring_up(n, 256);
    return n;
}

static NrCommand read_command(Nr *n)
{
    return nr_io(NR_READ, 0, 1, n->data, 0);
}

/* Starts `count` reads and waits until at least one is at the gate. */
static void start_reads(Nr *n, Gate *gate, unsigned count)
{
    NrCommand cmd = read_command(n);

    set_gate(gate, true);
    memset(nr_host(n, n->data, 512), 0, 512);
    for (unsigned i = 0; i < count; i++)
        nr_put(n, &n->queues[1], &cmd);
    nr_doorbell(n, 1, false, n->queues[1].tail);
    await_gate(gate, NR_WAIT);
}

static void expect_alive(Nr *n)
{
    NrCommand cmd = read_command(n);

    memset(nr_host(n, n->data, 512), 0, 512);
    assert_int_equal(nr_command(n, 1, &cmd).status, 0);
    nr_expect_all(nr_host(n, n->data, 512), 0x77, 512);
}

static void bring_up_again(Nr *n)
{
    rig_set_config(&n->rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    nr_enable_msix(n);
    nr_enable(n, 16);
    nr_create(n, 1, 16, true);
    expect_alive(n);
}

/* ---- requests in flight ---- */

/* The write that disables does not wait for the disk; the controller is ready until the last request is back,
 * and only then may the guest have its memory again. */
static void test_disabled_with_commands_in_flight(void **state)
{
    Gate gate;
    Nr *n = slow_new(&gate);

    start_reads(n, &gate, 100);
    int64_t before = g_get_monotonic_time();
    nr_write(n, NR_CC, 0);
    assert_true(g_get_monotonic_time() - before < G_TIME_SPAN_SECOND);
    g_usleep(5000);
    assert_int_equal(nr_read(n, NR_CSTS), 1);
    set_gate(&gate, false);
    nr_await_register(n, NR_CSTS, 1, 0);
    memset(nr_host(n, n->data, 512), 0, 512);
    memset(nr_host(n, n->queues[1].cq, 4096), 0, 4096);
    g_usleep(20000);
    nr_expect_all(nr_host(n, n->data, 512), 0, 512);
    nr_expect_all(nr_host(n, n->queues[1].cq, 4096), 0, 4096); /* nobody is told of them */
    bring_up_again(n);
    nr_free(n);
    assert_true(gate.disk_closed);
}

/* Off and on again, without waiting in between: it is a reset all the same. */
static void test_disabled_and_enabled_at_once(void **state)
{
    Gate gate;
    Nr *n = slow_new(&gate);

    start_reads(n, &gate, 10);
    nr_write(n, NR_CC, 0);
    NrQueue *q = nr_queue(n, 0, 16);
    nr_write(n, NR_AQA, 15 << 16 | 15);
    nr_write64(n, NR_ASQ, q->sq);
    nr_write64(n, NR_ACQ, q->cq);
    nr_write(n, NR_CC, NR_ENABLE);
    set_gate(&gate, false);
    g_usleep(20000);
    nr_await_register(n, NR_CSTS, 3, 1);
    nr_create(n, 1, 16, true);
    expect_alive(n);
    nr_free(n);
}

/* Power-on reset and the machine's end do wait: afterwards no worker touches guest memory. */
static void test_reset_and_end_with_commands_in_flight(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        Gate gate;
        Nr *n = slow_new(&gate);
        start_reads(n, &gate, 80);
        GThread *thread = g_thread_new("gate", open_gate_later, &gate);
        if (i)
            vmc_pci_bus_reset(n->rig.pci);
        else
            g_clear_pointer(&n->rig.pci, vmc_pci_bus_free);
        assert_int_equal(gate.inside, 0);
        memset(nr_host(n, n->data, 512), 0, 512);
        g_thread_join(thread);
        g_usleep(20000);
        nr_expect_all(nr_host(n, n->data, 512), 0, 512);
        nr_free(n);
        assert_true(gate.disk_closed);
    }
}

/* A queue goes when the last of its commands has come back, each with its completion. */
static void test_deleted_with_commands_in_flight(void **state)
{
    Gate gate;
    Nr *n = slow_new(&gate);
    NrCommand delete = {.opcode = NR_DELETE_SQ, .dw10 = 1}, read = read_command(n);
    NrCompletion done;

    start_reads(n, &gate, 20);
    nr_send(n, &n->queues[0], &delete);
    assert_false(nr_wait(n, &n->queues[0], &done, 20000));
    nr_send(n, &n->queues[0], &delete); /* once is enough */
    assert_int_equal(nr_status(nr_await(n, &n->queues[0])), 0x101);
    nr_send(n, &n->queues[1], &read); /* too late: it is not looked at */
    set_gate(&gate, false);
    assert_int_equal(nr_await(n, &n->queues[0]).status, 0);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(nr_await(n, &n->queues[1]).status, 0);
    assert_false(nr_wait(n, &n->queues[1], &done, 20000));
    assert_int_equal(nr_admin(n, &(NrCommand){.opcode = NR_DELETE_CQ, .dw10 = 1}), 0);
    nr_create(n, 1, 16, true);
    expect_alive(n);
    nr_free(n);
}

static void note_ran(void *data)
{
    *(bool *)data = true;
}

/* The I/O thread goes on while the disk hangs, and so does the admin queue. */
static void test_nobody_waits_for_the_disk(void **state)
{
    Gate gate;
    Nr *n = slow_new(&gate);
    bool ran = false;

    start_reads(n, &gate, 200); /* more than are worked on at a time */
    int64_t before = g_get_monotonic_time();
    vmc_io_call_sync(n->rig.io, note_ran, &ran);
    assert_true(ran && g_get_monotonic_time() - before < G_TIME_SPAN_SECOND);
    set_gate(&gate, false);
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(nr_await(n, &n->queues[1]).status, 0);
    nr_free(n);
}

/* Flushed at a shutdown, and not if it never is. */
static void test_shutdown(void **state)
{
    Gate gate;
    Nr *n = slow_new(&gate);

    nr_write(n, NR_CC, NR_ENABLE | 1 << 14);
    nr_await_register(n, NR_CSTS, 3 << 2, 2 << 2);
    assert_int_equal(gate.flushes, 1);
    nr_disable(n);
    assert_int_equal(nr_read(n, NR_CSTS), 0);
    bring_up_again(n);
    nr_free(n);
}

/* How long a write lasts: with FUA, and with the cache switched off. */
static void test_durable_writes(void **state)
{
    Gate gate;
    Nr *n = slow_new(&gate);
    NrCommand cmd = nr_io(NR_WRITE, 0, 1, n->data, 0);

    assert_int_equal(nr_command(n, 1, &cmd).status, 0);
    assert_int_equal(gate.flushes, 0);
    cmd.dw12 |= 1u << 30;
    assert_int_equal(nr_command(n, 1, &cmd).status, 0);
    assert_int_equal(gate.flushes, 1);
    cmd.dw12 &= ~(1u << 30);
    assert_int_equal(nr_admin(n, &(NrCommand){.opcode = NR_SET_FEATURES, .dw10 = 6}), 0);
    assert_int_equal(nr_command(n, 1, &cmd).status, 0);
    assert_int_equal(gate.flushes, 2);
    /* Without discard and zeroes they are no commands. */
    assert_int_equal(nr_transfer(n, NR_ZEROES, 0, 1), 0x01);
    nr_free(n);
}

/* ---- enabling ---- */

static void expect_failure(Nr *n, uint32_t cc, uint32_t aqa, uint64_t asq, uint64_t acq)
{
    nr_disable(n);
    nr_write(n, NR_AQA, aqa);
    nr_write64(n, NR_ASQ, asq);
    nr_write64(n, NR_ACQ, acq);
    nr_write(n, NR_CC, cc);
    nr_await_register(n, NR_CSTS, 3, 2);
    nr_doorbell(n, 0, false, 1);
}

static void test_what_cannot_be_enabled(void **state)
{
    Gate gate;
    Nr *n = slow_new(&gate);
    uint64_t asq = n->queues[0].sq, acq = n->queues[0].cq;

    expect_failure(n, NR_ENABLE, 0, asq, acq);
    expect_failure(n, NR_ENABLE, 7 << 16, asq, acq);
    expect_failure(n, NR_ENABLE, 7, asq, acq);
    expect_failure(n, NR_ENABLE, 7 << 16 | 7, RIG_HOLE, acq);
    expect_failure(n, NR_ENABLE, 7 << 16 | 7, asq, RIG_HOLE);
    expect_failure(n, NR_ENABLE, 7 << 16 | 7, asq, RIG_ROM);
    expect_failure(n, NR_ENABLE, 7 << 16 | 7, n->bar, acq);
    expect_failure(n, NR_ENABLE, 0xfff << 16 | 7, asq, RIG_RAM - 4096);
    expect_failure(n, NR_ENABLE, 0xffffu << 16 | 0xffff, UINT64_MAX, UINT64_MAX);
    expect_failure(n, NR_ENABLE | 1 << 7, 7 << 16 | 7, asq, acq);  /* pages of 8 KiB */
    expect_failure(n, NR_ENABLE | 6 << 4, 7 << 16 | 7, asq, acq);  /* another command set */
    expect_failure(n, NR_ENABLE | 1 << 11, 7 << 16 | 7, asq, acq); /* weighted round robin */
    nr_disable(n);
    bring_up_again(n);
    nr_free(n);
}

static void test_registers_are_frozen_while_enabled(void **state)
{
    Gate gate;
    Nr *n = slow_new(&gate);
    uint32_t aqa = nr_read(n, NR_AQA);
    uint64_t asq = vmc_bus_read(n->rig.mmio, n->bar + NR_ASQ, 8);

    nr_write(n, NR_AQA, 3 << 16 | 3);
    vmc_bus_write(n->rig.mmio, n->bar + NR_ASQ, 8, RIG_HOLE);
    nr_write64(n, NR_ACQ, RIG_HOLE);
    nr_write(n, NR_CAP, 0);
    nr_write(n, NR_CSTS, 0);
    for (unsigned offset = 0; offset < 0x4000; offset += offset < 0x40 ? 1 : 509)
        vmc_bus_write(n->rig.mmio, n->bar + offset, offset % 3 ? 1 : 2, 0xff);
    assert_int_equal(nr_read(n, NR_AQA), aqa);
    assert_int_equal(vmc_bus_read(n->rig.mmio, n->bar + NR_ASQ, 8), asq);
    expect_alive(n);
    assert_int_equal(nr_admin(n, &(NrCommand){.opcode = NR_GET_FEATURES, .dw10 = 7}), 0);
    /* I/O queues need to know the size of their entries. */
    nr_disable(n);
    nr_enable(n, 8);
    nr_write(n, NR_CC, 1);
    NrQueue *q = nr_queue(n, 1, 8);
    assert_int_equal(nr_create_cq(n, q, 1), 0x102);
    assert_int_equal(nr_create_sq(n, q, 1), 0x102);
    nr_free(n);
}

/* ---- doorbells, and completions nobody reads ---- */

static void test_doorbells_of_any_value(void **state)
{
    Gate gate;
    Nr *n = slow_new(&gate);
    static const uint32_t values[] = {256, 257, 0xffff, 0x10000, UINT32_MAX, 0x80000000};

    for (unsigned doorbell = 0; doorbell < 0x3000 / 4; doorbell++) {
        unsigned queue = doorbell / 2;
        if (queue == 0 || (queue == 1 && !(doorbell & 1)))
            continue;
        for (unsigned i = 0; i < G_N_ELEMENTS(values); i++)
            nr_write(n, NR_DOORBELLS + 4 * doorbell, values[i]);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++)
        nr_doorbell(n, 1, false, values[i]);
    expect_alive(n);
    /* A tail that goes around has all of the queue worked on, as it is. */
    nr_doorbell(n, 1, false, 0);
    g_usleep(20000);
    nr_disable(n);
    bring_up_again(n);
    nr_free(n);
}

/* No more is taken than there is room to tell of; when the driver reads, it goes on. */
static void test_a_full_completion_queue(void **state)
{
    Gate gate;
    Nr *n = slow_new(&gate);
    NrQueue *two = nr_queue(n, 2, 4), *three = nr_queue(n, 3, 64);
    NrCommand cmd = read_command(n);
    NrCompletion done;

    assert_int_equal(nr_create_cq(n, two, 2), 0);
    assert_int_equal(nr_create_sq(n, three, 2), 0); /* 64 entries, told of in 4 */
    for (unsigned i = 0; i < 50; i++)
        nr_put(n, three, &cmd);
    nr_doorbell(n, 3, false, three->tail);
    g_usleep(20000);
    NrCompletion *entries = nr_host(n, two->cq, 64);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(entries[i].status & 1, i < 3);
    for (unsigned i = 0; i < 50; i++) {
        assert_true(nr_wait(n, two, &done, NR_WAIT));
        assert_int_equal(done.status, 0);
        assert_int_equal(done.sq, 3);
    }
    assert_int_equal(done.sq_head, 50);
    nr_free(n);
}

/* An admin queue of two entries with an event request held in it, as small as firmware makes them. */
static void test_the_smallest_admin_queue(void **state)
{
    Gate gate;
    Nr *n = slow_new(&gate);

    nr_disable(n);
    nr_enable(n, 2);
    nr_send(n, &n->queues[0], &(NrCommand){.opcode = NR_EVENT});
    g_usleep(20000); /* nothing says that it was taken, and there is room for no other */
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(nr_admin(n, &(NrCommand){.opcode = NR_GET_FEATURES, .dw10 = 7}), 0);
    nr_create(n, 1, 2, true);
    for (unsigned i = 0; i < 5; i++)
        expect_alive(n);
    nr_doorbell(n, 9, true, 1);
    assert_int_equal(nr_await(n, &n->queues[0]).result, 1 << 16);
    nr_free(n);
}

static void test_without_bus_master(void **state)
{
    Gate gate;
    Nr *n = slow_new(&gate);
    NrCommand cmd = read_command(n);
    NrCompletion done;

    rig_set_config(&n->rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    nr_send(n, &n->queues[1], &cmd);
    assert_false(nr_wait(n, &n->queues[1], &done, 20000));
    nr_expect_all(nr_host(n, n->data, 512), 0, 512);
    rig_set_config(&n->rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_int_equal(nr_await(n, &n->queues[1]).status, 0);
    nr_free(n);
}

/* Entries of noise, on both queues. */
static void test_noise(void **state)
{
    Gate gate;
    Nr *n = slow_new(&gate);
    GRand *random = g_rand_new_with_seed(1);

    for (unsigned round = 0; round < 300; round++) {
        NrQueue *q = &n->queues[round & 1];
        NrCommand cmd;
        NrCompletion done;
        for (unsigned i = 0; i < sizeof(cmd); i++)
            ((uint8_t *)&cmd)[i] = (uint8_t)g_rand_int_range(random, 0, 256);
        cmd.opcode &= 15;
        cmd.flags = 0;
        cmd.nsid = 1;
        if (round & 2)
            cmd.prp1 = n->data + (cmd.prp1 & 0xfffff);
        if (q->id == 0 && (cmd.opcode == NR_EVENT || cmd.opcode < NR_GET_LOG))
            continue;
        nr_send(n, q, &cmd);
        assert_true(nr_wait(n, q, &done, NR_WAIT));
    }
    g_rand_free(random);
    expect_alive(n);
    nr_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disabled_with_commands_in_flight),
        cmocka_unit_test(test_disabled_and_enabled_at_once),
        cmocka_unit_test(test_reset_and_end_with_commands_in_flight),
        cmocka_unit_test(test_deleted_with_commands_in_flight),
        cmocka_unit_test(test_nobody_waits_for_the_disk),
        cmocka_unit_test(test_shutdown),
        cmocka_unit_test(test_durable_writes),
        cmocka_unit_test(test_what_cannot_be_enabled),
        cmocka_unit_test(test_registers_are_frozen_while_enabled),
        cmocka_unit_test(test_doorbells_of_any_value),
        cmocka_unit_test(test_a_full_completion_queue),
        cmocka_unit_test(test_the_smallest_admin_queue),
        cmocka_unit_test(test_without_bus_master),
        cmocka_unit_test(test_noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
