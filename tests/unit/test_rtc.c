/* The real-time clock and the ACPI power management block. */
#include "tests/unit/pc_rig.h"

#include <time.h>

#include "pc/pm.h"
#include "pc/rtc.h"

typedef struct Bench {
    Rig rig;
    VmcRtc *rtc;
    VmcPm *pm;
    unsigned power_offs;
} Bench;

static void power_off(void *opaque)
{
    ((Bench *)opaque)->power_offs++;
}

static int setup_rtc(void **state)
{
    Bench *b = g_new0(Bench, 1);
    rig_up(&b->rig);
    VmcIrq irq = rig_wire(&b->rig);
    b->rtc = vmc_rtc_new(b->rig.pio, b->rig.clock, &irq);
    *state = b;
    return 0;
}

static int setup_pm(void **state)
{
    Bench *b = g_new0(Bench, 1);
    rig_up(&b->rig);
    VmcPmParams params = {b->rig.pio, b->rig.clock, rig_wire(&b->rig), power_off, b};
    b->pm = vmc_pm_new(&params);
    vmc_pm_map(b->pm, VMC_PM_BASE, true);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    Bench *b = *state;
    vmc_rtc_free(b->rtc);
    vmc_pm_free(b->pm);
    rig_down(&b->rig);
    g_free(b);
    return 0;
}

static uint8_t get(Bench *b, uint8_t index)
{
    out8(&b->rig, 0x70, index);
    return in8(&b->rig, 0x71);
}

static void set(Bench *b, uint8_t index, uint8_t value)
{
    out8(&b->rig, 0x70, index);
    out8(&b->rig, 0x71, value);
}

static unsigned bcd(uint8_t value)
{
    return (value >> 4) * 10 + (value & 15);
}

/* As Linux reads it: wait until no update is in progress, read, and again if the second has changed. */
static time_t read_time(Bench *b)
{
    struct tm tm;
    do {
        while (get(b, 0x0a) & 0x80)
            ;
        tm = (struct tm){.tm_sec = bcd(get(b, 0)),
                         .tm_min = bcd(get(b, 2)),
                         .tm_hour = bcd(get(b, 4)),
                         .tm_mday = bcd(get(b, 7)),
                         .tm_mon = (int)bcd(get(b, 8)) - 1,
                         .tm_year = (int)(bcd(get(b, 9)) + 100 * bcd(get(b, 0x32))) - 1900};
    } while (bcd(get(b, 0)) != (unsigned)tm.tm_sec);
    return timegm(&tm);
}

static void tells_the_hosts_time_in_utc(void **state)
{
    Bench *b = *state;
    time_t before = time(NULL), shown = read_time(b), after = time(NULL);
    assert_true(shown >= before && shown <= after);
    assert_int_equal(get(b, 0x0d), 0x80);
}

static void keeps_what_the_guest_sets(void **state)
{
    Bench *b = *state;
    set(b, 0x0b, 0x82); /* SET, 24 hours, BCD */
    static const uint8_t fields[][2] = {{0, 0x30}, {2, 0x59}, {4, 0x23},   {7, 0x31},
                                        {8, 0x12}, {9, 0x99}, {0x32, 0x19}};
    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
        set(b, fields[i][0], fields[i][1]);
    assert_int_equal(get(b, 0), 0x30); /* stands still */
    set(b, 0x0b, 0x02);
    time_t shown = read_time(b);
    assert_true(shown >= 946684770 && shown <= 946684772); /* 1999-12-31 23:59:30 */
    vmc_rtc_reset(b->rtc);
    shown = read_time(b);
    assert_true(shown >= 946684770 && shown <= 946684773); /* the battery keeps it */
}

static void twelve_hours_and_binary(void **state)
{
    Bench *b = *state;
    set(b, 0x0b, 0x86); /* converts nothing: all fields have to be written */
    static const uint8_t fields[][2] = {{0, 10}, {2, 47}, {4, 13}, {7, 28}, {8, 10}, {9, 26}, {0x32, 20}};
    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
        set(b, fields[i][0], fields[i][1]);
    set(b, 0x0b, 0x06);
    assert_int_equal(get(b, 4), 13);
    assert_int_equal(get(b, 2), 47);
    set(b, 0x0b, 0x04);
    assert_int_equal(get(b, 4), 0x81); /* 1 p.m. */
}

static void periodic_interrupt_waits_for_register_c(void **state)
{
    Bench *b = *state;
    set(b, 0x0a, 0x26);
    set(b, 0x0b, 0x42); /* 1024 Hz */
    for (unsigned i = 1; i <= 4; i++) {
        RIG_UNTIL(b->rig.level);
        assert_int_equal(b->rig.edges, i);
        assert_int_equal(get(b, 0x0c) & 0xc0, 0xc0);
        assert_false(b->rig.level);
    }
    set(b, 0x0b, 0x02);
    get(b, 0x0c);
    unsigned edges = b->rig.edges;
    g_usleep(4000);
    assert_int_equal(b->rig.edges, edges);
}

static void alarm_matches_the_clock(void **state)
{
    Bench *b = *state;
    set(b, 1, 0xff); /* any second, minute, hour */
    set(b, 3, 0xff);
    set(b, 5, 0xff);
    set(b, 0x0b, 0x22);
    RIG_UNTIL(b->rig.level);
    assert_int_equal(get(b, 0x0c) & 0xb0, 0xb0); /* alarm and update */
    assert_int_equal(get(b, 0x0c), 0);
}

static void memory_sizes_for_firmware(void **state)
{
    Bench *b = *state;
    vmc_rtc_set_memory(b->rtc, 512u << 20, 1ull << 32, 4);
    assert_int_equal(get(b, 0x15) | get(b, 0x16) << 8, 640);
    assert_int_equal(get(b, 0x34) | get(b, 0x35) << 8, (512 - 16) * 16);
    assert_int_equal(get(b, 0x5b) | get(b, 0x5c) << 8 | get(b, 0x5d) << 16, 0x10000);
    assert_int_equal(get(b, 0x5f), 3);
    assert_int_equal(get(b, 0x80 | 0x15), 128); /* bit 7 is the NMI mask, not an address */
}

/* ---- PM block ---- */

static uint32_t pm_in(Bench *b, unsigned offset, unsigned size)
{
    return vmc_bus_read(b->rig.pio, VMC_PM_BASE + offset, size);
}

static void pm_out(Bench *b, unsigned offset, unsigned size, uint32_t value)
{
    vmc_bus_write(b->rig.pio, VMC_PM_BASE + offset, size, value);
}

static void pm_timer_runs_at_its_rate(void **state)
{
    Bench *b = *state;
    uint64_t t0 = vmc_now_ns();
    uint32_t first = pm_in(b, 8, 4);
    uint64_t t1 = vmc_now_ns();
    g_usleep(20000);
    uint64_t t2 = vmc_now_ns();
    uint32_t second = pm_in(b, 8, 4);
    uint64_t t3 = vmc_now_ns();
    uint64_t ticks = (second - first) & 0xffffff;
    assert_true(ticks + 2 >= (t2 - t1) * 3579545 / 1000000000);
    assert_true(ticks <= (t3 - t0) * 3579545 / 1000000000 + 2);
    assert_int_equal(second >> 24, 0);
}

static void power_button_raises_the_sci(void **state)
{
    Bench *b = *state;
    vmc_pm_power_button(b->pm);
    assert_false(b->rig.level); /* not enabled */
    assert_int_equal(pm_in(b, 0, 2) & 0x100, 0x100);
    pm_out(b, 2, 2, 0x100);
    assert_true(b->rig.level);
    pm_out(b, 0, 2, 0x100);
    assert_false(b->rig.level);
    assert_int_equal(pm_in(b, 0, 2) & 0x100, 0);
    assert_int_equal(pm_in(b, 2, 2), 0x100);
}

static void soft_off_switches_off(void **state)
{
    Bench *b = *state;
    assert_int_equal(pm_in(b, 4, 2) & 1, 1); /* ACPI mode from the start */
    pm_out(b, 4, 2, VMC_PM_SLEEP_S5 << 10 | 1);
    assert_int_equal(b->power_offs, 0);
    pm_out(b, 4, 2, VMC_PM_SLEEP_S5 << 10 | 1 << 13 | 1);
    assert_int_equal(b->power_offs, 1);
    assert_int_equal(pm_in(b, 4, 2) & 1 << 13, 0); /* write-only */
}

static void block_can_be_moved(void **state)
{
    Bench *b = *state;
    vmc_pm_map(b->pm, 0xb000, true);
    assert_int_equal(vmc_bus_read(b->rig.pio, VMC_PM_BASE + 4, 2), 0xffff);
    assert_int_equal(vmc_bus_read(b->rig.pio, 0xb004, 2), 1);
}

static void general_purpose_events_are_there(void **state)
{
    Bench *b = *state;
    pm_out(b, 0x28, 4, 0x12345678);
    assert_int_equal(pm_in(b, 0x28, 4), 0x12345678);
    assert_int_equal(pm_in(b, 0x29, 1), 0x56); /* byte access, as ACPICA does */
    pm_out(b, 0x29, 1, 0);
    assert_int_equal(pm_in(b, 0x28, 4), 0x12340078);
    assert_int_equal(pm_in(b, 0x20, 4), 0);
}

int main(void)
{
#define R(f) cmocka_unit_test_setup_teardown(f, setup_rtc, teardown)
#define P(f) cmocka_unit_test_setup_teardown(f, setup_pm, teardown)
    const struct CMUnitTest tests[] = {
        R(tells_the_hosts_time_in_utc),
        R(keeps_what_the_guest_sets),
        R(twelve_hours_and_binary),
        R(periodic_interrupt_waits_for_register_c),
        R(alarm_matches_the_clock),
        R(memory_sizes_for_firmware),
        P(pm_timer_runs_at_its_rate),
        P(power_button_raises_the_sci),
        P(soft_off_switches_off),
        P(block_can_be_moved),
        P(general_purpose_events_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
