/* The 8254, with real time: what Linux needs to calibrate its clocks, and the rest of the modes. */
#include "tests/unit/pc_rig.h"

#include "pc/pit.h"

typedef struct Bench {
    Rig rig;
    VmcPit *pit;
} Bench;

static int setup(void **state)
{
    Bench *b = g_new0(Bench, 1);
    rig_up(&b->rig);
    VmcIrq irq = rig_wire(&b->rig);
    b->pit = vmc_pit_new(b->rig.pio, b->rig.clock, &irq);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    Bench *b = *state;
    vmc_pit_free(b->pit);
    rig_down(&b->rig);
    g_free(b);
    return 0;
}

static void program(Bench *b, unsigned counter, unsigned mode, uint16_t count)
{
    out8(&b->rig, 0x43, counter << 6 | 0x30 | mode << 1);
    out8(&b->rig, 0x40 + counter, count);
    out8(&b->rig, 0x40 + counter, count >> 8);
}

static uint16_t read_latched(Bench *b, unsigned counter)
{
    out8(&b->rig, 0x43, counter << 6);
    uint16_t low = in8(&b->rig, 0x40 + counter);
    return low | in8(&b->rig, 0x40 + counter) << 8;
}

static void periodic_interrupts_keep_time(void **state)
{
    Bench *b = *state;
    uint64_t start = vmc_now_ns();
    program(b, 0, 2, 11932);      /* 100 Hz, as Linux does */
    RIG_UNTIL(b->rig.edges >= 6); /* the first is OUT going up when the mode is set */
    uint64_t took = vmc_now_ns() - start;
    assert_true(took >= 50 * 999000);
}

static void one_shot_fires_once(void **state)
{
    Bench *b = *state;
    program(b, 0, 4, 2386); /* 2 ms */
    unsigned edges = b->rig.edges;
    RIG_UNTIL(b->rig.edges == edges + 1);
    g_usleep(6000);
    assert_int_equal(b->rig.edges, edges + 1);
    program(b, 0, 0, 2386);
    assert_false(b->rig.level); /* OUT is low until the count has gone */
    RIG_UNTIL(b->rig.level);
}

static void reprogramming_stops_what_ran(void **state)
{
    Bench *b = *state;
    program(b, 0, 2, 1193);
    RIG_UNTIL(b->rig.edges >= 3);
    out8(&b->rig, 0x43, 0x30); /* mode 0, and no count */
    g_usleep(3000);
    unsigned edges = b->rig.edges;
    g_usleep(5000);
    assert_int_equal(b->rig.edges, edges);
    assert_false(b->rig.level);
}

/* Linux, pit_calibrate_tsc: counter 2 in mode 0 for 10 ms, until bit 5 of port 61h. */
static void counter_two_times_ten_milliseconds(void **state)
{
    Bench *b = *state;
    out8(&b->rig, 0x61, (in8(&b->rig, 0x61) & ~2) | 1);
    uint64_t start = vmc_now_ns();
    program(b, 2, 0, 11931);
    assert_int_equal(in8(&b->rig, 0x61) & 0x21, 0x01);
    while (!(in8(&b->rig, 0x61) & 0x20))
        ;
    uint64_t took = vmc_now_ns() - start;
    assert_true(took >= 9990000 && took < 500000000);
}

/* Linux, quick_pit_calibrate: reads of the running counter without latching, the high byte going down. */
static void unlatched_reads_alternate_bytes(void **state)
{
    Bench *b = *state;
    out8(&b->rig, 0x61, 1);
    program(b, 2, 0, 0xffff);
    in8(&b->rig, 0x42);
    assert_true(in8(&b->rig, 0x42) >= 0xf0);
    g_usleep(4000); /* 4772 ticks */
    in8(&b->rig, 0x42);
    assert_true(in8(&b->rig, 0x42) <= 0xed);
}

static void gate_stops_counter_two(void **state)
{
    Bench *b = *state;
    out8(&b->rig, 0x61, 1);
    program(b, 2, 0, 0x8000);
    out8(&b->rig, 0x61, 0);
    uint16_t held = read_latched(b, 2);
    g_usleep(3000);
    assert_int_equal(read_latched(b, 2), held);
    out8(&b->rig, 0x61, 1);
    g_usleep(3000);
    assert_true(read_latched(b, 2) < held);
}

static void latch_holds_and_reads_back(void **state)
{
    Bench *b = *state;
    program(b, 0, 2, 0xfffe);
    out8(&b->rig, 0x43, 0x00);
    uint8_t low = in8(&b->rig, 0x40);
    g_usleep(2000);
    uint16_t first = low | in8(&b->rig, 0x40) << 8, second = read_latched(b, 0);
    assert_true(first <= 0xfffe && first > second);
    out8(&b->rig, 0x43, 0xe2); /* read back: status of counter 0 */
    assert_int_equal(in8(&b->rig, 0x40) & 0x7f, 0x34);
    out8(&b->rig, 0x43, 0xc2); /* status first, then count */
    assert_int_equal(in8(&b->rig, 0x40) & 0x3f, 0x34);
    low = in8(&b->rig, 0x40);
    assert_true((low | in8(&b->rig, 0x40) << 8) <= second);
}

static void square_wave_counts_by_two(void **state)
{
    Bench *b = *state;
    program(b, 0, 3, 0);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(read_latched(b, 0) & 1, 0);
        g_usleep(100);
    }
}

static void bcd_counts_in_decimal(void **state)
{
    Bench *b = *state;
    out8(&b->rig, 0x43, 0x35);
    out8(&b->rig, 0x40, 0x00);
    out8(&b->rig, 0x40, 0x90);
    for (unsigned i = 0; i < 20; i++) {
        uint16_t value = read_latched(b, 0);
        for (unsigned digit = 0; digit < 4; digit++)
            assert_true((value >> (4 * digit) & 15) <= 9);
        assert_true(value <= 0x9000);
        g_usleep(100);
    }
}

static void one_byte_access_modes(void **state)
{
    Bench *b = *state;
    out8(&b->rig, 0x43, 0x20 | 4); /* high byte only, mode 2 */
    out8(&b->rig, 0x40, 0x80);
    uint8_t high = in8(&b->rig, 0x40);
    assert_true(high <= 0x80);
    out8(&b->rig, 0x43, 0x10 | 4); /* low byte only */
    out8(&b->rig, 0x40, 200);
    assert_true(in8(&b->rig, 0x40) <= 200);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(periodic_interrupts_keep_time),   T(one_shot_fires_once),
        T(reprogramming_stops_what_ran),    T(counter_two_times_ten_milliseconds),
        T(unlatched_reads_alternate_bytes), T(gate_stops_counter_two),
        T(latch_holds_and_reads_back),      T(square_wave_counts_by_two),
        T(bcd_counts_in_decimal),           T(one_byte_access_modes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
