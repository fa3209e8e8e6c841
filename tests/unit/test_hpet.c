/* The high precision event timer, with real time: as Linux programs it, as its specification describes it,
 * and as nobody should. */
#include "tests/unit/pc_rig.h"

#include "pc/hpet.h"

#define CONFIG     0x010
#define STATUS     0x020
#define COUNTER    0x0f0
#define TIMER(n)   (0x100u + 0x20u * (n))
#define COMPARE(n) (0x108u + 0x20u * (n))
#define FSB(n)     (0x110u + 0x20u * (n))

#define ENABLE   1u
#define LEGACY   2u
#define LEVEL    (1u << 1)
#define INT_ENB  (1u << 2)
#define PERIODIC (1u << 3)
#define SET_VAL  (1u << 6)
#define ONLY_32  (1u << 8)
#define PIN(n)   ((n) << 9)
#define BY_FSB   (1u << 14)

#define MS 100000ull /* ticks */

typedef struct Bench {
    Rig rig;
    VmcWires *wires;
    VmcHpet *hpet;
    _Atomic unsigned rises[VMC_GSI_COUNT];
    _Atomic bool levels[VMC_GSI_COUNT];
    _Atomic unsigned messages;
    uint64_t address;
    uint32_t data;
    bool pit_muted;
} Bench;

static void set_wire(void *opaque, unsigned gsi, bool level)
{
    Bench *b = opaque;
    if (level)
        b->rises[gsi]++;
    b->levels[gsi] = level;
}

static void send_message(void *opaque, uint64_t address, uint32_t data)
{
    Bench *b = opaque;
    b->address = address;
    b->data = data;
    b->messages++;
}

static void mute_pit(void *opaque, bool muted)
{
    ((Bench *)opaque)->pit_muted = muted;
}

static int setup(void **state)
{
    Bench *b = g_new0(Bench, 1);
    rig_up(&b->rig);
    b->wires = vmc_wires_new(set_wire, b);
    VmcHpetParams params = {
        b->rig.mmio, b->rig.clock, b->wires, {.send = send_message, .opaque = b}, mute_pit, b};
    b->hpet = vmc_hpet_new(&params);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    Bench *b = *state;
    vmc_hpet_free(b->hpet);
    vmc_wires_free(b->wires);
    rig_down(&b->rig);
    g_free(b);
    return 0;
}

static uint64_t get(Bench *b, unsigned offset, unsigned size)
{
    return vmc_bus_read(b->rig.mmio, VMC_HPET_BASE + offset, size);
}

static void put(Bench *b, unsigned offset, unsigned size, uint64_t value)
{
    vmc_bus_write(b->rig.mmio, VMC_HPET_BASE + offset, size, value);
}

/* As Linux does (arch/x86/kernel/hpet.c): 32-bit accesses, the comparator twice. */
static void start_periodic(Bench *b, unsigned n, uint32_t more, uint32_t ticks)
{
    uint32_t now = (uint32_t)get(b, COUNTER, 4);
    put(b, TIMER(n), 4, INT_ENB | PERIODIC | SET_VAL | ONLY_32 | more);
    put(b, COMPARE(n), 4, now + ticks);
    put(b, COMPARE(n), 4, ticks);
}

static void start_one_shot(Bench *b, unsigned n, uint32_t more, uint32_t ticks)
{
    put(b, TIMER(n), 4, INT_ENB | ONLY_32 | more);
    put(b, COMPARE(n), 4, (uint32_t)get(b, COUNTER, 4) + ticks);
}

static void capabilities_are_what_kernels_accept(void **state)
{
    Bench *b = *state;
    uint64_t id = get(b, 0, 8);
    assert_int_equal(id & 0xff, 1);           /* a revision that is not 0 */
    assert_int_equal(id >> 8 & 31, 2);        /* the last timer */
    assert_int_equal(id >> 13 & 5, 5);        /* 64 bits, legacy replacement */
    assert_int_equal(id >> 32, 10000000);     /* fs; at most 100 ns are allowed */
    assert_int_equal(get(b, 4, 4), id >> 32); /* as Linux reads it */
    assert_int_equal(get(b, 0, 4), VMC_HPET_BLOCK_ID);
    for (unsigned n = 0; n < 3; n++) {
        uint64_t caps = get(b, TIMER(n), 8);
        assert_int_equal(caps & 0x8030, 0x8030); /* FSB, 64 bits, periodic */
        assert_int_equal(caps >> 32, 0xf00000);
        assert_int_equal(get(b, COMPARE(n), 8), UINT64_MAX);
    }
    put(b, 0, 8, 0);
    assert_int_equal(get(b, 0, 8), id);
}

static void counter_runs_at_its_period_and_can_be_set(void **state)
{
    Bench *b = *state;
    assert_int_equal(get(b, COUNTER, 8), 0);
    put(b, COUNTER, 8, 0xfffffff0ull);
    assert_int_equal(get(b, COUNTER, 8), 0xfffffff0ull); /* stands still */
    put(b, CONFIG, 4, ENABLE);
    uint64_t start = vmc_now_ns(), from = get(b, COUNTER, 8);
    g_usleep(3000);
    uint64_t to = get(b, COUNTER, 8), took = vmc_now_ns() - start;
    assert_in_range(to - from, 3 * MS, took / 10 + 1);
    assert_true(to > UINT32_MAX && get(b, COUNTER + 4, 4) == to >> 32);
    put(b, CONFIG, 4, 0);
    uint64_t stopped = get(b, COUNTER, 8);
    put(b, COUNTER + 4, 4, 7);
    assert_int_equal(get(b, COUNTER, 8), 7ull << 32 | (uint32_t)stopped);
}

static void counter_stands_still_in_a_pause(void **state)
{
    Bench *b = *state;
    put(b, CONFIG, 4, ENABLE);
    start_one_shot(b, 0, PIN(20), 2 * MS);
    vmc_clock_pause(b->rig.clock);
    uint64_t before = get(b, COUNTER, 8);
    g_usleep(5000);
    assert_int_equal(get(b, COUNTER, 8), before);
    assert_int_equal(b->rises[20], 0);
    vmc_clock_resume(b->rig.clock);
    RIG_UNTIL(b->rises[20] == 1);
}

static void one_shot_fires_once_on_its_pin(void **state)
{
    Bench *b = *state;
    put(b, CONFIG, 4, ENABLE);
    start_one_shot(b, 2, PIN(22), 2 * MS);
    uint64_t start = vmc_now_ns();
    RIG_UNTIL(b->rises[22] == 1);
    assert_true(vmc_now_ns() - start >= 1900000);
    g_usleep(4000);
    assert_int_equal(b->rises[22], 1);
    assert_false(b->levels[22]);
}

static void comparator_in_the_past_is_due_at_once(void **state)
{
    Bench *b = *state;
    put(b, CONFIG, 4, ENABLE);
    put(b, COUNTER, 8, 50 * MS);
    put(b, TIMER(0), 4, INT_ENB | PIN(20));
    g_usleep(3000);
    assert_int_equal(b->rises[20], 0); /* the one of reset is none */
    put(b, COMPARE(0), 8, 10 * MS);
    RIG_UNTIL(b->rises[20] == 1);
    g_usleep(3000);
    assert_int_equal(b->rises[20], 1);
}

static void periodic_keeps_time(void **state)
{
    Bench *b = *state;
    put(b, CONFIG, 4, ENABLE | LEGACY);
    uint64_t start = vmc_now_ns();
    start_periodic(b, 0, 0, 4 * MS);
    RIG_UNTIL(b->rises[0] >= 6);
    assert_true(vmc_now_ns() - start >= 6 * 3990000ull);
    put(b, TIMER(0), 4, PERIODIC | ONLY_32);
    unsigned rises = b->rises[0];
    g_usleep(10000);
    assert_int_equal(b->rises[0], rises);
}

/* Specification s2.3.9.2.2: counter stopped and cleared, VAL_SET, one write of 64 bits, on. */
static void periodic_by_the_book(void **state)
{
    Bench *b = *state;
    put(b, TIMER(1), 8, INT_ENB | PERIODIC | SET_VAL | PIN(21));
    put(b, COMPARE(1), 8, 3 * MS);
    assert_int_equal(get(b, TIMER(1), 4) & SET_VAL, 0);
    put(b, COUNTER, 8, 0);
    put(b, CONFIG, 8, ENABLE);
    RIG_UNTIL(b->rises[21] >= 4);
    uint64_t next = get(b, COMPARE(1), 8); /* moves on by whole periods */
    assert_int_equal(next % (3 * MS), 0);
    assert_true(next >= 5 * 3 * MS);
}

static void missed_periods_are_not_made_up_for(void **state)
{
    Bench *b = *state;
    put(b, CONFIG, 4, ENABLE);
    start_periodic(b, 0, PIN(20), 1); /* faster than anything can serve */
    uint64_t start = vmc_now_ns();
    g_usleep(10000);
    uint64_t us = (vmc_now_ns() - start) / 1000;
    assert_true(b->rises[20] >= 1 && b->rises[20] <= us / 50 + 2);
}

static void level_interrupt_stays_until_it_is_cleared(void **state)
{
    Bench *b = *state;
    put(b, CONFIG, 4, ENABLE);
    start_one_shot(b, 1, LEVEL | PIN(23), MS);
    RIG_UNTIL(b->levels[23]);
    assert_int_equal(get(b, STATUS, 4), 2);
    put(b, STATUS, 4, 1); /* another's */
    assert_true(b->levels[23]);
    put(b, TIMER(1), 4, INT_ENB | ONLY_32 | LEVEL | PIN(21)); /* moves to another pin */
    assert_true(!b->levels[23] && b->levels[21]);
    put(b, STATUS, 4, 2);
    assert_false(b->levels[21]);
    assert_int_equal(get(b, STATUS, 4), 0);
}

static void status_can_be_polled_without_interrupts(void **state)
{
    Bench *b = *state;
    put(b, CONFIG, 4, ENABLE);
    put(b, TIMER(0), 4, LEVEL | PIN(20));
    put(b, COMPARE(0), 8, get(b, COUNTER, 8) + MS);
    assert_int_equal(get(b, STATUS, 4), 0);
    RIG_UNTIL(get(b, STATUS, 4) == 1);
    assert_int_equal(b->rises[20], 0);
}

static void messages_go_where_they_are_sent(void **state)
{
    Bench *b = *state;
    put(b, CONFIG, 4, ENABLE | LEGACY);
    put(b, FSB(2), 4, 0x4042);
    put(b, FSB(2) + 4, 4, 0xfee01000);
    start_one_shot(b, 2, BY_FSB | LEVEL, MS);
    RIG_UNTIL(b->messages == 1);
    assert_int_equal(b->address, 0xfee01000);
    assert_int_equal(b->data, 0x4042);
    assert_int_equal(get(b, STATUS, 4), 0);
}

/* While the HPET stands in for them, PIT and RTC are not heard; what they say then counts again. */
static void legacy_replacement_silences_pit_and_rtc(void **state)
{
    Bench *b = *state;
    VmcIrq wire0 = vmc_wires_add(b->wires, 0), wire8 = vmc_wires_add(b->wires, 8);
    VmcIrq pit = vmc_hpet_gate(b->hpet, VMC_HPET_GATE_PIT, &wire0);
    VmcIrq rtc = vmc_hpet_gate(b->hpet, VMC_HPET_GATE_RTC, &wire8);
    vmc_irq_set(&pit, true);
    assert_true(b->levels[0] && !b->pit_muted);
    put(b, CONFIG, 4, ENABLE | LEGACY);
    assert_true(!b->levels[0] && b->pit_muted);
    vmc_irq_pulse(&rtc);
    vmc_irq_set(&rtc, true);
    assert_int_equal(b->rises[8], 0);
    start_one_shot(b, 1, 0, MS);
    RIG_UNTIL(b->rises[8] == 1);
    put(b, CONFIG, 4, ENABLE);
    assert_true(b->levels[0] && b->levels[8] && !b->pit_muted);
    vmc_hpet_reset(b->hpet);
    vmc_irq_set(&pit, false);
    assert_false(b->levels[0]);
}

static void reset_lets_go_of_everything(void **state)
{
    Bench *b = *state;
    put(b, CONFIG, 4, ENABLE);
    start_one_shot(b, 0, LEVEL | PIN(20), 1);
    start_periodic(b, 1, PIN(21), MS);
    RIG_UNTIL(b->levels[20]);
    vmc_hpet_reset(b->hpet);
    assert_false(b->levels[20]);
    unsigned rises = b->rises[21];
    g_usleep(4000);
    assert_int_equal(b->rises[21], rises);
    assert_int_equal(get(b, COUNTER, 8), 0);
    assert_int_equal(get(b, STATUS, 8) | get(b, CONFIG, 8), 0);
}

/* Whatever is written anywhere, it goes on; afterwards a reset makes it usable again. */
static void garbage_does_no_harm(void **state)
{
    Bench *b = *state;
    GRand *rand = g_rand_new_with_seed(1);
    for (unsigned i = 0; i < 200000; i++) {
        unsigned size = 1u << g_rand_int_range(rand, 0, 4);
        unsigned offset = (unsigned)g_rand_int_range(rand, 0, VMC_HPET_SIZE);
        uint64_t value = (uint64_t)g_rand_int(rand) << g_rand_int_range(rand, 0, 33);
        if (g_rand_boolean(rand))
            offset &= 0x178; /* where the registers are */
        put(b, offset, size, g_rand_boolean(rand) ? value : UINT64_MAX - value);
        get(b, offset, size);
    }
    g_rand_free(rand);
    vmc_hpet_reset(b->hpet);
    put(b, CONFIG, 4, ENABLE);
    unsigned rises = b->rises[20];
    start_one_shot(b, 0, PIN(20), MS);
    RIG_UNTIL(b->rises[20] == rises + 1);
}

static void narrow_and_misaligned_accesses(void **state)
{
    Bench *b = *state;
    assert_int_equal(get(b, 2, 2), 0x8086);
    put(b, CONFIG, 1, ENABLE);
    put(b, CONFIG, 2, ENABLE);
    assert_int_equal(get(b, CONFIG, 4), 0);
    put(b, CONFIG + 2, 4, UINT32_MAX);
    assert_int_equal(get(b, CONFIG, 4), 0);
    assert_int_equal(get(b, 0x3f8, 8), 0);
    assert_int_equal(get(b, TIMER(3), 8), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(capabilities_are_what_kernels_accept),
        T(counter_runs_at_its_period_and_can_be_set),
        T(counter_stands_still_in_a_pause),
        T(one_shot_fires_once_on_its_pin),
        T(comparator_in_the_past_is_due_at_once),
        T(periodic_keeps_time),
        T(periodic_by_the_book),
        T(missed_periods_are_not_made_up_for),
        T(level_interrupt_stays_until_it_is_cleared),
        T(status_can_be_polled_without_interrupts),
        T(messages_go_where_they_are_sent),
        T(legacy_replacement_silences_pit_and_rtc),
        T(reset_lets_go_of_everything),
        T(garbage_does_no_harm),
        T(narrow_and_misaligned_accesses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
