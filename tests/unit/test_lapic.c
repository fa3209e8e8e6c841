/* Local APICs and the IOAPIC: priorities, ends, messages between CPUs, modes, the timer. */
#include "tests/unit/pc_rig.h"

#include "pc/ioapic.h"
#include "pc/lapic.h"

typedef struct Bench {
    Rig rig;
    VmcLapics *lapics;
    VmcIoapic *ioapic;
    const VmcLocalApicOps *ops;
    void *apic[RIG_CPUS];
} Bench;

#define SVR       0x0f0
#define EOI       0x0b0
#define TPR       0x080
#define LDR       0x0d0
#define DFR       0x0e0
#define ICR       0x300
#define ICR2      0x310
#define LVT_TIMER 0x320
#define INITIAL   0x380
#define CURRENT   0x390
#define DIVIDE    0x3e0

static void wr(Bench *b, unsigned cpu, uint32_t offset, uint32_t value)
{
    b->ops->mmio_write(b->apic[cpu], offset, value);
}

static uint32_t rd(Bench *b, unsigned cpu, uint32_t offset)
{
    return b->ops->mmio_read(b->apic[cpu], offset);
}

static int pending(Bench *b, unsigned cpu)
{
    return b->ops->pending(b->apic[cpu]);
}

static int take(Bench *b, unsigned cpu)
{
    return b->ops->acknowledge(b->apic[cpu]);
}

static bool send(Bench *b, uint32_t dest, uint8_t vector)
{
    VmcApicMessage m = {.dest = dest, .vector = vector};
    return vmc_lapics_deliver(b->lapics, &m);
}

static int setup(void **state)
{
    Bench *b = g_new0(Bench, 1);
    rig_up(&b->rig);
    VmcLapicsParams params = {RIG_CPUS, &rig_backend, &b->rig.vm, b->rig.clock};
    b->lapics = vmc_lapics_new(&params);
    b->ioapic = vmc_ioapic_new(b->rig.mmio, b->lapics);
    vmc_lapics_connect(b->lapics, NULL, b->ioapic);
    for (unsigned i = 0; i < RIG_CPUS; i++) {
        vmc_lapics_attach_cpu(b->lapics, i, &b->rig.vm.cpus[i]);
        const VmcLocalApic *face = vmc_lapics_get(b->lapics, i);
        b->ops = face->ops;
        b->apic[i] = face->apic;
        wr(b, i, SVR, 0x1ff);
        wr(b, i, LDR, 1u << (24 + i));
    }
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    Bench *b = *state;
    vmc_ioapic_free(b->ioapic);
    vmc_lapics_free(b->lapics);
    rig_down(&b->rig);
    g_free(b);
    return 0;
}

static void fixed_interrupt_is_taken_and_ended(void **state)
{
    Bench *b = *state;
    assert_int_equal(pending(b, 1), -1);
    assert_true(send(b, 1, 0x41));
    assert_true(b->rig.vm.cpus[1].notified > 0);
    assert_int_equal(b->rig.vm.cpus[0].notified, 0);
    assert_int_equal(pending(b, 1), 0x41);
    assert_int_equal(rd(b, 1, 0x220), 1u << 1); /* IRR, vectors 40..5f */
    assert_int_equal(take(b, 1), 0x41);
    assert_int_equal(rd(b, 1, 0x220), 0);
    assert_int_equal(rd(b, 1, 0x120), 1u << 1); /* ISR */
    assert_int_equal(rd(b, 1, 0x0a0), 0x40);    /* PPR */
    wr(b, 1, EOI, 0);
    assert_int_equal(rd(b, 1, 0x120), 0);
    assert_int_equal(rd(b, 1, 0x0a0), 0);
}

static void class_in_service_blocks_its_like(void **state)
{
    Bench *b = *state;
    send(b, 0, 0x41);
    assert_int_equal(take(b, 0), 0x41);
    send(b, 0, 0x4f); /* same class */
    assert_int_equal(pending(b, 0), -1);
    send(b, 0, 0x50);
    assert_int_equal(take(b, 0), 0x50);
    unsigned before = b->rig.vm.cpus[0].notified;
    wr(b, 0, EOI, 0);
    assert_int_equal(pending(b, 0), -1);
    wr(b, 0, EOI, 0);
    assert_int_equal(pending(b, 0), 0x4f);
    assert_true(b->rig.vm.cpus[0].notified > before); /* the end made it deliverable */
}

static void task_priority_holds_back(void **state)
{
    Bench *b = *state;
    b->ops->set_cr8(b->apic[0], 5);
    assert_int_equal(rd(b, 0, TPR), 0x50);
    send(b, 0, 0x5f);
    assert_int_equal(pending(b, 0), -1);
    unsigned before = b->rig.vm.cpus[0].notified;
    wr(b, 0, TPR, 0x4f);
    assert_int_equal(b->ops->get_cr8(b->apic[0]), 4);
    assert_true(b->rig.vm.cpus[0].notified > before);
    assert_int_equal(pending(b, 0), 0x5f);
}

static void disabled_apic_takes_no_vectors(void **state)
{
    Bench *b = *state;
    wr(b, 2, SVR, 0xff);
    assert_false(send(b, 2, 0x60));
    wr(b, 2, LVT_TIMER, 0x31);
    assert_int_equal(rd(b, 2, LVT_TIMER), 0x10031); /* masked for good */
}

static void illegal_vector_is_an_error(void **state)
{
    Bench *b = *state;
    wr(b, 0, 0x370, 0xfe); /* LVT error */
    wr(b, 0, ICR2, 1u << 24);
    wr(b, 0, ICR, 0x05);
    assert_int_equal(pending(b, 0), 0xfe);
    wr(b, 0, 0x280, 0);
    assert_int_equal(rd(b, 0, 0x280), 1u << 5);
    wr(b, 0, 0x280, 0);
    assert_int_equal(rd(b, 0, 0x280), 0);
}

static void ipis_reach_who_is_meant(void **state)
{
    Bench *b = *state;
    VmcCpu *cpus = b->rig.vm.cpus;
    wr(b, 0, ICR2, 2u << 24);
    wr(b, 0, ICR, 0x4042);
    assert_int_equal(pending(b, 2), 0x42);
    assert_int_equal(pending(b, 0), -1);
    wr(b, 0, ICR, 0x44043); /* self */
    assert_int_equal(pending(b, 0), 0x43);
    wr(b, 0, ICR, 0xc4044); /* all but self */
    assert_int_equal(pending(b, 0), 0x43);
    assert_int_equal(pending(b, 1), 0x44);
    assert_int_equal(pending(b, 3), 0x44);
    wr(b, 0, ICR2, 0xau << 24);
    wr(b, 0, ICR, 0x4855); /* logical, flat: CPUs 1 and 3 */
    assert_int_equal(pending(b, 1), 0x55);
    assert_int_equal(pending(b, 2), 0x44);
    assert_int_equal(pending(b, 3), 0x55);
    wr(b, 0, ICR2, 1u << 24);
    wr(b, 0, ICR, 0x4400);
    assert_int_equal(cpus[1].nmis, 1);
    wr(b, 0, ICR, 0xc500); /* INIT, assert */
    wr(b, 0, ICR, 0x8500); /* INIT, de-assert: nothing */
    assert_int_equal(cpus[1].inits, 1);
    assert_int_equal(pending(b, 1), -1); /* INIT has cleared it */
    wr(b, 0, ICR, 0x4699);
    assert_int_equal(cpus[1].sipis, 1);
    assert_int_equal(cpus[1].sipi_vector, 0x99);
    assert_int_equal(cpus[0].inits + cpus[2].inits + cpus[3].inits, 0);
}

static void cluster_destinations(void **state)
{
    Bench *b = *state;
    for (unsigned i = 0; i < RIG_CPUS; i++) {
        wr(b, i, DFR, 0x0fffffff);
        wr(b, i, LDR, (i / 2) << 28 | 1u << (24 + i % 2));
    }
    wr(b, 0, ICR2, 0x13u << 24); /* both of cluster 1 */
    wr(b, 0, ICR, 0x4861);
    assert_int_equal(pending(b, 0), -1);
    assert_int_equal(pending(b, 1), -1);
    assert_int_equal(pending(b, 2), 0x61);
    assert_int_equal(pending(b, 3), 0x61);
}

static void lowest_priority_goes_to_the_idlest(void **state)
{
    Bench *b = *state;
    for (unsigned i = 0; i < RIG_CPUS; i++)
        wr(b, i, TPR, i == 2 ? 0x10 : 0x30);
    VmcApicMessage m = {.dest = 0x0f, .logical = true, .delivery = VMC_APIC_LOWEST, .vector = 0x71};
    assert_true(vmc_lapics_deliver(b->lapics, &m));
    assert_int_equal(pending(b, 2), 0x71);
    assert_int_equal(pending(b, 0), -1);
    assert_int_equal(pending(b, 1), -1);
    assert_int_equal(pending(b, 3), -1);
}

static void messages_by_memory_write(void **state)
{
    Bench *b = *state;
    vmc_lapics_msi(b->lapics, 0xfee03000, 0x0082);
    assert_int_equal(pending(b, 3), 0x82);
    vmc_lapics_msi(b->lapics, 0xfee06004, 0x0083); /* logical, CPUs 1 and 2 */
    assert_int_equal(pending(b, 1), 0x83);
    assert_int_equal(pending(b, 2), 0x83);
    assert_int_equal(pending(b, 3), 0x82);
    vmc_lapics_msi(b->lapics, 0xfed00000, 0x0084); /* no APIC there */
    assert_int_equal(pending(b, 0), -1);
}

static void x2apic_has_its_own_rules(void **state)
{
    Bench *b = *state;
    void *a = b->apic[1];
    uint64_t value, base = b->ops->get_base(a);
    assert_int_equal(base, 0xfee00800);
    assert_false(b->ops->read_msr(a, 0x802, &value)); /* not yet */
    assert_false(b->ops->set_base(a, 0xfee00400));
    assert_false(b->ops->set_base(a, 0xfee00801));
    assert_true(b->ops->set_base(a, 0xfee00c00));
    assert_false(b->ops->set_base(a, 0xfee00800)); /* back to xAPIC only by way of disabled */
    assert_int_equal(rd(b, 1, 0x20), 0xffffffff);
    assert_true(b->ops->read_msr(a, 0x802, &value));
    assert_int_equal(value, 1);
    assert_true(b->ops->read_msr(a, 0x80d, &value));
    assert_int_equal(value, 2);
    assert_false(b->ops->write_msr(a, 0x802, 5));
    assert_false(b->ops->write_msr(a, 0x80b, 1));
    assert_false(b->ops->write_msr(a, 0x808, 0x100));
    assert_false(b->ops->read_msr(a, 0x831, &value));
    assert_true(b->ops->write_msr(a, 0x83f, 0x91)); /* self IPI */
    assert_int_equal(take(b, 1), 0x91);
    assert_true(b->ops->write_msr(a, 0x80b, 0));
    assert_true(b->ops->write_msr(a, 0x830, 3ull << 32 | 0x4092));
    assert_int_equal(pending(b, 3), 0x92);
    assert_true(b->ops->read_msr(a, 0x830, &value));
    assert_int_equal(value, 3ull << 32 | 0x4092);
    assert_true(b->ops->set_base(a, 0xfee00000));
    assert_false(b->ops->set_base(a, 0xfee00c00)); /* disabled -> x2APIC in one go */
    assert_false(send(b, 1, 0x93));
    assert_true(b->ops->set_base(a, 0xfee00800));
    assert_int_equal(rd(b, 1, SVR), 0xff); /* off and on is a reset */
}

static void x2apic_logical_destinations(void **state)
{
    Bench *b = *state;
    for (unsigned i = 0; i < RIG_CPUS; i++)
        assert_true(b->ops->set_base(b->apic[i], b->ops->get_base(b->apic[i]) | 0xc00));
    assert_true(b->ops->write_msr(b->apic[0], 0x830, 0x00000006ull << 32 | 0x4871));
    assert_int_equal(pending(b, 0), -1);
    assert_int_equal(pending(b, 1), 0x71);
    assert_int_equal(pending(b, 2), 0x71);
    assert_int_equal(pending(b, 3), -1);
    assert_true(b->ops->write_msr(b->apic[0], 0x830, 0xffffffffull << 32 | 0x4072));
    for (unsigned i = 0; i < RIG_CPUS; i++)
        assert_int_equal(pending(b, i), 0x72);
}

static void timer_counts_down_once(void **state)
{
    Bench *b = *state;
    wr(b, 0, LVT_TIMER, 0x31);
    wr(b, 0, DIVIDE, 0xb); /* by 1 */
    wr(b, 0, INITIAL, 1000000000);
    uint32_t first = rd(b, 0, CURRENT);
    g_usleep(2000);
    uint32_t second = rd(b, 0, CURRENT);
    assert_true(first <= 1000000000 && first - second >= 2000000);
    wr(b, 0, INITIAL, 2000000); /* 2 ms */
    assert_true(rig_wait(&b->rig.vm.cpus[0], &b->rig.vm.cpus[0].notified, 1));
    assert_int_equal(take(b, 0), 0x31);
    assert_int_equal(rd(b, 0, CURRENT), 0);
    wr(b, 0, EOI, 0);
    g_usleep(5000);
    assert_int_equal(pending(b, 0), -1);
}

static void timer_repeats_and_divides(void **state)
{
    Bench *b = *state;
    VmcCpu *cpu = &b->rig.vm.cpus[0];
    wr(b, 0, DIVIDE, 0x3); /* by 16 */
    wr(b, 0, LVT_TIMER, 0x20032);
    uint64_t start = vmc_now_ns();
    wr(b, 0, INITIAL, 62500); /* 1 ms */
    for (unsigned i = 0; i < 5; i++) {
        RIG_UNTIL(pending(b, 0) >= 0); /* periods may merge on a busy host, but never come early */
        assert_int_equal(take(b, 0), 0x32);
        wr(b, 0, EOI, 0);
    }
    uint64_t took = vmc_now_ns() - start;
    assert_true(took >= 5000000);
    wr(b, 0, INITIAL, 0); /* stops it */
    take(b, 0);
    wr(b, 0, EOI, 0);
    unsigned before = cpu->notified;
    g_usleep(5000);
    assert_int_equal(cpu->notified, before);
}

static void timer_fires_at_a_tsc_deadline(void **state)
{
    Bench *b = *state;
    VmcCpu *cpu = &b->rig.vm.cpus[0];
    uint64_t value, deadline = vmc_now_ns() + 3000000;
    assert_true(b->ops->write_msr(b->apic[0], 0x6e0, deadline)); /* not in that mode: nothing */
    assert_true(b->ops->read_msr(b->apic[0], 0x6e0, &value));
    assert_int_equal(value, 0);
    wr(b, 0, LVT_TIMER, 0x40033);
    assert_true(b->ops->write_msr(b->apic[0], 0x6e0, deadline));
    assert_true(rig_wait(cpu, &cpu->notified, 1));
    assert_true(vmc_now_ns() >= deadline);
    assert_int_equal(take(b, 0), 0x33);
    assert_true(b->ops->read_msr(b->apic[0], 0x6e0, &value));
    assert_int_equal(value, 0);                           /* disarmed by firing */
    assert_true(b->ops->write_msr(b->apic[0], 0x6e0, 1)); /* long past: at once */
    assert_true(rig_wait(cpu, &cpu->notified, 2));
}

static void timer_stands_still_in_a_pause(void **state)
{
    Bench *b = *state;
    VmcCpu *cpu = &b->rig.vm.cpus[0];
    wr(b, 0, LVT_TIMER, 0x34);
    wr(b, 0, DIVIDE, 0xb);
    wr(b, 0, INITIAL, 3000000);
    vmc_clock_pause(b->rig.clock);
    uint32_t left = rd(b, 0, CURRENT);
    g_usleep(8000);
    assert_int_equal(rd(b, 0, CURRENT), left);
    assert_int_equal(cpu->notified, 0);
    vmc_clock_resume(b->rig.clock);
    assert_true(rig_wait(cpu, &cpu->notified, 1));
}

/* ---- IOAPIC ---- */

static void io_write(Bench *b, unsigned index, uint32_t value)
{
    vmc_bus_write(b->rig.mmio, VMC_IOAPIC_BASE, 4, index);
    vmc_bus_write(b->rig.mmio, VMC_IOAPIC_BASE + 0x10, 4, value);
}

static uint32_t io_read(Bench *b, unsigned index)
{
    vmc_bus_write(b->rig.mmio, VMC_IOAPIC_BASE, 4, index);
    return vmc_bus_read(b->rig.mmio, VMC_IOAPIC_BASE + 0x10, 4);
}

static void route(Bench *b, unsigned pin, unsigned cpu, uint32_t low)
{
    io_write(b, 0x11 + 2 * pin, cpu << 24);
    io_write(b, 0x10 + 2 * pin, low);
}

static void ioapic_has_24_masked_pins(void **state)
{
    Bench *b = *state;
    assert_int_equal(io_read(b, 1), 0x170020);
    for (unsigned pin = 0; pin < 24; pin++)
        assert_int_equal(io_read(b, 0x10 + 2 * pin), 0x10000);
    vmc_ioapic_set_pin(b->ioapic, 5, true);
    for (unsigned i = 0; i < RIG_CPUS; i++)
        assert_int_equal(b->rig.vm.cpus[i].notified, 0);
}

static void ioapic_edge_sends_once(void **state)
{
    Bench *b = *state;
    route(b, 2, 0, 0x30);
    vmc_ioapic_set_pin(b->ioapic, 2, true);
    assert_int_equal(take(b, 0), 0x30);
    wr(b, 0, EOI, 0);
    vmc_ioapic_set_pin(b->ioapic, 2, true);
    assert_int_equal(pending(b, 0), -1);
    vmc_ioapic_set_pin(b->ioapic, 2, false);
    vmc_ioapic_set_pin(b->ioapic, 2, true);
    assert_int_equal(pending(b, 0), 0x30);
}

static void ioapic_level_comes_again_after_the_end(void **state)
{
    Bench *b = *state;
    route(b, 17, 1, 0x8051);
    vmc_ioapic_set_pin(b->ioapic, 17, true);
    assert_int_equal(io_read(b, 0x10 + 34), 0xc051); /* remote IRR */
    assert_int_equal(take(b, 1), 0x51);
    vmc_ioapic_set_pin(b->ioapic, 17, false);
    vmc_ioapic_set_pin(b->ioapic, 17, true); /* not sent: the first is not ended */
    assert_int_equal(pending(b, 1), -1);
    wr(b, 1, EOI, 0);
    assert_int_equal(take(b, 1), 0x51); /* still high */
    vmc_ioapic_set_pin(b->ioapic, 17, false);
    wr(b, 1, EOI, 0);
    assert_int_equal(pending(b, 1), -1);
    assert_int_equal(io_read(b, 0x10 + 34), 0x8051);
}

static void ioapic_is_ended_directly_when_broadcast_is_off(void **state)
{
    Bench *b = *state;
    wr(b, 1, SVR, 0x11ff);
    route(b, 18, 1, 0x8052);
    vmc_ioapic_set_pin(b->ioapic, 18, true);
    vmc_ioapic_set_pin(b->ioapic, 18, false);
    assert_int_equal(take(b, 1), 0x52);
    wr(b, 1, EOI, 0);
    assert_int_equal(io_read(b, 0x10 + 36), 0xc052);
    vmc_bus_write(b->rig.mmio, VMC_IOAPIC_BASE + 0x40, 4, 0x52);
    assert_int_equal(io_read(b, 0x10 + 36), 0x8052);
}

static void ioapic_level_is_sent_when_unmasked(void **state)
{
    Bench *b = *state;
    route(b, 19, 2, 0x18053);
    vmc_ioapic_set_pin(b->ioapic, 19, true);
    assert_int_equal(pending(b, 2), -1);
    route(b, 19, 2, 0x8053);
    assert_int_equal(pending(b, 2), 0x53);
    route(b, 19, 2, 0x10053); /* masked, edge: clears remote IRR */
    route(b, 19, 2, 0x18053);
    assert_int_equal(io_read(b, 0x10 + 38), 0x18053);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(fixed_interrupt_is_taken_and_ended),
        T(class_in_service_blocks_its_like),
        T(task_priority_holds_back),
        T(disabled_apic_takes_no_vectors),
        T(illegal_vector_is_an_error),
        T(ipis_reach_who_is_meant),
        T(cluster_destinations),
        T(lowest_priority_goes_to_the_idlest),
        T(messages_by_memory_write),
        T(x2apic_has_its_own_rules),
        T(x2apic_logical_destinations),
        T(timer_counts_down_once),
        T(timer_repeats_and_divides),
        T(timer_fires_at_a_tsc_deadline),
        T(timer_stands_still_in_a_pause),
        T(ioapic_has_24_masked_pins),
        T(ioapic_edge_sends_once),
        T(ioapic_level_comes_again_after_the_end),
        T(ioapic_is_ended_directly_when_broadcast_is_off),
        T(ioapic_level_is_sent_when_unmasked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
