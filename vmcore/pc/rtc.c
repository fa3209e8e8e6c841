/*
 * A clock that is computed when somebody looks: `offset_us` says how far the guest's wall clock is from the
 * host's. The registers in cmos[] are filled in on reads, and turned into a new offset on writes. While SET
 * is on they stand still, as the data sheet asks. The timer runs only while the guest wants interrupts.
 */
#include "pc/rtc.h"

#include <string.h>
#include <time.h>

enum {
    REG_SECONDS,
    REG_SECONDS_ALARM,
    REG_MINUTES,
    REG_MINUTES_ALARM,
    REG_HOURS,
    REG_HOURS_ALARM,
    REG_WEEKDAY,
    REG_DAY,
    REG_MONTH,
    REG_YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    REG_CENTURY = 0x32,
};

#define A_UIP  0x80
#define B_SET  0x80
#define B_PIE  0x40
#define B_AIE  0x20
#define B_UIE  0x10
#define B_DM   0x04 /* binary instead of BCD */
#define B_24H  0x02
#define C_IRQF 0x80
#define C_PF   0x40
#define C_AF   0x20
#define C_UF   0x10
#define D_VRT  0x80 /* the battery is good */

#define US_PER_S 1000000ll
/* UIP goes up this long before the second changes. */
#define UIP_US 244

struct VmcRtc {
    GMutex lock;
    VmcBus *pio;
    VmcClock *clock;
    VmcIrq irq;
    VmcClockTimer *timer;
    uint8_t index;
    bool nmi_masked;
    uint8_t cmos[128];
    int64_t offset_us;      /* guest wall clock minus host wall clock */
    int64_t update_second;  /* the last second whose update was accounted for */
    uint64_t periodic_from; /* guest-time ns of the last periodic tick accounted for */
};

static int64_t wall_us(const VmcRtc *rtc)
{
    return g_get_real_time() + rtc->offset_us;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static uint8_t encode(const VmcRtc *rtc, unsigned value)
{
    return rtc->cmos[REG_B] & B_DM ? value : (value / 10) << 4 | value % 10;
}

static unsigned decode(const VmcRtc *rtc, uint8_t value)
{
    return rtc->cmos[REG_B] & B_DM ? value : (value >> 4) * 10 + (value & 15);
}

static uint8_t encode_hour(const VmcRtc *rtc, unsigned hour)
{
    if (rtc->cmos[REG_B] & B_24H)
        return encode(rtc, hour);
    return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0);
}

static unsigned decode_hour(const VmcRtc *rtc, uint8_t value)
{
    if (rtc->cmos[REG_B] & B_24H)
        return decode(rtc, value);
    return decode(rtc, value & 0x7f) % 12 + (value & 0x80 ? 12 : 0);
}

/* Time -> registers. */
static void refresh(VmcRtc *rtc)
{
    if (rtc->cmos[REG_B] & B_SET)
        return;
    time_t seconds = floor_div(wall_us(rtc), US_PER_S);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm))
        return;
    unsigned year = tm.tm_year + 1900;
    rtc->cmos[REG_SECONDS] = encode(rtc, tm.tm_sec);
    rtc->cmos[REG_MINUTES] = encode(rtc, tm.tm_min);
    rtc->cmos[REG_HOURS] = encode_hour(rtc, tm.tm_hour);
    rtc->cmos[REG_WEEKDAY] = encode(rtc, tm.tm_wday + 1);
    rtc->cmos[REG_DAY] = encode(rtc, tm.tm_mday);
    rtc->cmos[REG_MONTH] = encode(rtc, tm.tm_mon + 1);
    rtc->cmos[REG_YEAR] = encode(rtc, year % 100);
    rtc->cmos[REG_CENTURY] = encode(rtc, year / 100 % 100);
}

/* Registers -> time. Nonsense in them gives some time or other: timegm normalises. */
static void commit(VmcRtc *rtc)
{
    struct tm tm = {
        .tm_sec = decode(rtc, rtc->cmos[REG_SECONDS]),
        .tm_min = decode(rtc, rtc->cmos[REG_MINUTES]),
        .tm_hour = decode_hour(rtc, rtc->cmos[REG_HOURS]),
        .tm_mday = decode(rtc, rtc->cmos[REG_DAY]),
        .tm_mon = (int)decode(rtc, rtc->cmos[REG_MONTH]) - 1,
        .tm_year = decode(rtc, rtc->cmos[REG_CENTURY]) * 100 + decode(rtc, rtc->cmos[REG_YEAR]) - 1900,
    };
    rtc->offset_us = (int64_t)timegm(&tm) * US_PER_S - g_get_real_time();
    rtc->update_second = floor_div(wall_us(rtc), US_PER_S);
}

/* ns between periodic ticks, 0 for none (register A, RS bits, 32.768 kHz time base). */
static uint64_t period_ns(const VmcRtc *rtc)
{
    unsigned rate = rtc->cmos[REG_A] & 15;
    if (!rate)
        return 0;
    if (rate < 3)
        rate += 7;
    return (VMC_NS_PER_S << (rate - 1)) / 32768;
}

static bool alarm_field(uint8_t alarm, uint8_t now)
{
    return (alarm & 0xc0) == 0xc0 || alarm == now;
}

static bool alarm_matches(const VmcRtc *rtc)
{
    return alarm_field(rtc->cmos[REG_SECONDS_ALARM], rtc->cmos[REG_SECONDS]) &&
           alarm_field(rtc->cmos[REG_MINUTES_ALARM], rtc->cmos[REG_MINUTES]) &&
           alarm_field(rtc->cmos[REG_HOURS_ALARM], rtc->cmos[REG_HOURS]);
}

/* Sets the flags of what has happened since the last time. */
static void account(VmcRtc *rtc)
{
    uint64_t period = period_ns(rtc), now = vmc_clock_now(rtc->clock);
    if (period && now - rtc->periodic_from >= period) {
        rtc->cmos[REG_C] |= C_PF;
        rtc->periodic_from += (now - rtc->periodic_from) / period * period;
    }
    int64_t second = floor_div(wall_us(rtc), US_PER_S);
    if (!(rtc->cmos[REG_B] & B_SET) && second != rtc->update_second) {
        rtc->update_second = second;
        rtc->cmos[REG_C] |= C_UF;
        refresh(rtc);
        if (alarm_matches(rtc))
            rtc->cmos[REG_C] |= C_AF;
    }
}

/* The IRQ line and the next time to look. */
static void update(VmcRtc *rtc)
{
    account(rtc);
    bool irq = rtc->cmos[REG_C] & rtc->cmos[REG_B] & (C_PF | C_AF | C_UF);
    rtc->cmos[REG_C] = irq ? rtc->cmos[REG_C] | C_IRQF : rtc->cmos[REG_C] & ~C_IRQF;
    vmc_irq_set(&rtc->irq, irq);

    uint64_t next = UINT64_MAX, now = vmc_clock_now(rtc->clock);
    uint64_t period = period_ns(rtc);
    if ((rtc->cmos[REG_B] & B_PIE) && period)
        next = rtc->periodic_from + period;
    if ((rtc->cmos[REG_B] & (B_AIE | B_UIE)) && !(rtc->cmos[REG_B] & B_SET)) {
        int64_t wall = wall_us(rtc);
        uint64_t to_go = US_PER_S - (wall - floor_div(wall, US_PER_S) * US_PER_S);
        next = MIN(next, now + to_go * 1000);
    }
    if (next == UINT64_MAX)
        vmc_clock_timer_disarm(rtc->timer);
    else
        vmc_clock_timer_arm(rtc->timer, next);
}

static void timer_expired(void *data)
{
    VmcRtc *rtc = data;
    g_mutex_lock(&rtc->lock);
    update(rtc);
    g_mutex_unlock(&rtc->lock);
}

static bool is_time_register(unsigned index)
{
    return index == REG_SECONDS || index == REG_MINUTES || index == REG_HOURS ||
           (index >= REG_WEEKDAY && index <= REG_YEAR) || index == REG_CENTURY;
}

static void write_register_b(VmcRtc *rtc, uint8_t value)
{
    bool was_set = rtc->cmos[REG_B] & B_SET;
    refresh(rtc);
    if (value & B_SET)
        value &= ~B_UIE; /* SET clears it (data sheet, register B) */
    rtc->cmos[REG_B] = value;
    if (was_set && !(value & B_SET))
        commit(rtc);
}

static void write_cmos(VmcRtc *rtc, uint8_t value)
{
    unsigned index = rtc->index;
    account(rtc);
    if (index == REG_A) {
        if ((value ^ rtc->cmos[REG_A]) & 0x0f)
            rtc->periodic_from = vmc_clock_now(rtc->clock);
        rtc->cmos[REG_A] = value & 0x7f;
    } else if (index == REG_B) {
        if (value & ~rtc->cmos[REG_B] & B_PIE)
            rtc->periodic_from = vmc_clock_now(rtc->clock);
        write_register_b(rtc, value);
    } else if (is_time_register(index)) {
        refresh(rtc);
        rtc->cmos[index] = value;
        if (!(rtc->cmos[REG_B] & B_SET) && index != REG_WEEKDAY)
            commit(rtc);
    } else if (index != REG_C && index != REG_D) {
        rtc->cmos[index] = value;
    }
    update(rtc);
}

static uint8_t read_cmos(VmcRtc *rtc)
{
    unsigned index = rtc->index;
    if (is_time_register(index))
        refresh(rtc);
    if (index == REG_A) {
        int64_t wall = wall_us(rtc);
        bool soon = wall - floor_div(wall, US_PER_S) * US_PER_S >= US_PER_S - UIP_US;
        return rtc->cmos[REG_A] | (soon && !(rtc->cmos[REG_B] & B_SET) ? A_UIP : 0);
    }
    if (index == REG_C) {
        update(rtc);
        uint8_t value = rtc->cmos[REG_C];
        rtc->cmos[REG_C] = 0;
        vmc_irq_set(&rtc->irq, false);
        return value;
    }
    return rtc->cmos[index];
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcRtc *rtc = opaque;
    uint64_t value = 0;
    g_mutex_lock(&rtc->lock);
    for (unsigned i = 0; i < size; i++) {
        /* The index register cannot be read on a PC. */
        uint64_t byte = offset + i == 1 ? read_cmos(rtc) : 0xff;
        value |= byte << (8 * i);
    }
    g_mutex_unlock(&rtc->lock);
    return value;
}

static void rtc_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcRtc *rtc = opaque;
    g_mutex_lock(&rtc->lock);
    for (unsigned i = 0; i < size; i++, value >>= 8) {
        if (offset + i == 0) {
            rtc->index = value & 0x7f;
            rtc->nmi_masked = value & 0x80;
        } else {
            write_cmos(rtc, value);
        }
    }
    g_mutex_unlock(&rtc->lock);
}

void vmc_rtc_reset(VmcRtc *rtc)
{
    g_mutex_lock(&rtc->lock);
    if (rtc->cmos[REG_B] & B_SET) { /* left half set: fall back to the time it had */
        rtc->cmos[REG_B] &= ~B_SET;
        commit(rtc);
    }
    rtc->index = 0;
    rtc->nmi_masked = false;
    rtc->cmos[REG_A] = 0x26; /* 32.768 kHz, 1024 Hz */
    rtc->cmos[REG_B] = B_24H;
    rtc->cmos[REG_C] = 0;
    rtc->cmos[REG_D] = D_VRT;
    rtc->cmos[0x0f] = 0; /* shutdown status: a normal start */
    rtc->periodic_from = vmc_clock_now(rtc->clock);
    rtc->update_second = floor_div(wall_us(rtc), US_PER_S);
    update(rtc);
    g_mutex_unlock(&rtc->lock);
}

static void put16(uint8_t *at, uint64_t value)
{
    value = MIN(value, 0xffff);
    at[0] = value;
    at[1] = value >> 8;
}

void vmc_rtc_set_memory(VmcRtc *rtc, uint64_t low, uint64_t high, unsigned n_cpus)
{
    g_mutex_lock(&rtc->lock);
    uint64_t above_1m = low > (1u << 20) ? low - (1u << 20) : 0;
    uint64_t above_16m = low > (16u << 20) ? low - (16u << 20) : 0;
    put16(&rtc->cmos[0x15], 640);            /* base memory, KiB */
    put16(&rtc->cmos[0x17], above_1m >> 10); /* extended memory, KiB */
    put16(&rtc->cmos[0x30], above_1m >> 10);
    put16(&rtc->cmos[0x34], above_16m >> 16); /* above 16 MiB, 64 KiB units */
    uint64_t high_units = MIN(high >> 16, 0xffffff);
    rtc->cmos[0x5b] = high_units;
    rtc->cmos[0x5c] = high_units >> 8;
    rtc->cmos[0x5d] = high_units >> 16;
    rtc->cmos[0x5f] = n_cpus - 1;
    rtc->cmos[0x14] = 0x02; /* equipment: an FPU */
    g_mutex_unlock(&rtc->lock);
}

static const VmcRegionOps rtc_ops = {rtc_read, rtc_write};

VmcRtc *vmc_rtc_new(VmcBus *pio, VmcClock *clock, const VmcIrq *irq)
{
    VmcRtc *rtc = g_new0(VmcRtc, 1);
    g_mutex_init(&rtc->lock);
    rtc->pio = pio;
    rtc->clock = clock;
    rtc->irq = *irq;
    rtc->timer = vmc_clock_timer_new(clock, timer_expired, rtc);
    vmc_rtc_reset(rtc);
    vmc_bus_add(pio, "rtc", 0x70, 2, &rtc_ops, rtc);
    return rtc;
}

void vmc_rtc_free(VmcRtc *rtc)
{
    if (!rtc)
        return;
    vmc_bus_remove(rtc->pio, 0x70, &rtc_ops, rtc);
    vmc_clock_timer_free(rtc->timer);
    g_mutex_clear(&rtc->lock);
    g_free(rtc);
}

/* The wall clock goes on while a machine is saved: what is kept is how far it is from the host's. */
void vmc_rtc_save(VmcRtc *rtc, VmcStateWriter *w)
{
    vmc_state_begin(w, "rtc", 1);
    vmc_state_put_u8(w, rtc->index);
    vmc_state_put_bool(w, rtc->nmi_masked);
    vmc_state_put_bytes(w, rtc->cmos, sizeof rtc->cmos);
    vmc_state_put_u64(w, (uint64_t)rtc->offset_us);
    vmc_state_put_u64(w, (uint64_t)rtc->update_second);
    vmc_state_put_u64(w, rtc->periodic_from);
    vmc_clock_timer_save(rtc->timer, w);
    vmc_state_end(w);
}

bool vmc_rtc_load(VmcRtc *rtc, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "rtc", 1))
        return false;
    g_mutex_lock(&rtc->lock);
    rtc->index = vmc_state_get_u8_max(r, sizeof rtc->cmos - 1);
    rtc->nmi_masked = vmc_state_get_bool(r);
    vmc_state_get_bytes(r, rtc->cmos, sizeof rtc->cmos);
    rtc->offset_us = (int64_t)vmc_state_get_u64(r);
    rtc->update_second = (int64_t)vmc_state_get_u64(r);
    rtc->periodic_from = vmc_state_get_u64_max(r, vmc_clock_now(rtc->clock));
    vmc_clock_timer_load(rtc->timer, r);
    /* The century register goes to 16665 or so. */
    bool good =
        vmc_state_check(r, ABS(rtc->offset_us >> 20) < 1ll << 40, "how far its time is from the host's");
    if (!good)
        rtc->offset_us = 0;
    g_mutex_unlock(&rtc->lock);
    return vmc_state_leave(r);
}
