/*
 * An 8254 that counts by looking at the clock instead of counting.
 *
 * A counter knows the tick at which it began (`start`, of the 1.193182 MHz the chip is fed with); value and
 * output follow from how many ticks have gone since. A timer runs only for counter 0, to the next rising edge
 * of its output. All in ticks, so periods do not drift by rounding.
 */
#include "pc/pit.h"

#include "pc/byteport.h"

/* No guest gets edges faster than this; those in between merge, as they would behind a slow processor. */
#define MIN_EDGE_NS 50000u

typedef enum Access { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH } Access;

typedef struct Counter {
    uint8_t mode; /* 0..5 */
    uint8_t access;
    bool bcd;
    bool gate;
    bool running;               /* a count has been loaded (and, in modes 1 and 5, a trigger seen) */
    bool held;                  /* gate low in a mode in which that stops counting */
    uint32_t count;             /* 1..65536 (10000 in BCD) */
    uint64_t start;             /* tick at which counting began */
    uint64_t held_for;          /* ticks that had gone when it was held */
    uint8_t low_byte;           /* the first half of a count being written */
    bool write_high, read_high; /* which half comes next with ACCESS_BOTH */
    bool count_latched, status_latched;
    uint16_t latch;
    uint8_t status;
} Counter;

struct VmcPit {
    GMutex lock;
    VmcBus *pio;
    VmcClock *clock;
    VmcIrq irq;
    VmcClockTimer *timer;
    Counter counter[3];
    uint8_t port61; /* bits 3:0 as written */
};

static uint64_t now_ticks(VmcPit *pit)
{
    return vmc_muldiv64(vmc_clock_now(pit->clock), VMC_PIT_HZ, VMC_NS_PER_S);
}

static uint64_t elapsed(const Counter *c, uint64_t now)
{
    if (!c->running)
        return 0;
    return c->held ? c->held_for : now - c->start;
}

static bool is_periodic(const Counter *c)
{
    return c->mode == 2 || c->mode == 3;
}

/* OUT (data sheet, "Mode definitions"). */
static bool output(const Counter *c, uint64_t now)
{
    uint64_t t = elapsed(c, now);
    switch (c->mode) {
    case 0:
    case 1:
        return c->running ? t >= c->count : c->mode == 1;
    case 2:
        return !c->running || c->held || t % c->count != c->count - 1;
    case 3:
        return !c->running || c->held || t % c->count < (c->count + 1) / 2;
    default:
        return !c->running || t != c->count;
    }
}

static uint16_t to_bcd(unsigned value)
{
    return (value / 1000 % 10) << 12 | (value / 100 % 10) << 8 | (value / 10 % 10) << 4 | value % 10;
}

/* The counting element as the guest reads it. Beyond zero the one-shot modes go on counting from the top. */
static uint16_t counter_value(const Counter *c, uint64_t now)
{
    uint64_t t = elapsed(c, now);
    uint32_t modulus = c->bcd ? 10000 : 65536, value;

    if (c->mode == 2)
        value = c->count - t % c->count;
    else if (c->mode == 3)
        value = c->count - (2 * t) % c->count;
    else
        value = (c->count + modulus - t % modulus) % modulus;
    value %= modulus;
    return c->bcd ? to_bcd(value) : value;
}

/* The next tick after `now` at which OUT of counter 0 rises; false if never. */
static bool next_rise(const Counter *c, uint64_t now, uint64_t *tick)
{
    if (!c->running || c->held)
        return false;
    uint64_t t = now - c->start;
    if (is_periodic(c))
        *tick = c->start + (t / c->count + 1) * c->count;
    else
        *tick = c->start + c->count + (c->mode >= 4);
    return *tick > now;
}

static void arm_counter0(VmcPit *pit, uint64_t now)
{
    uint64_t tick;
    if (!next_rise(&pit->counter[0], now, &tick)) {
        vmc_clock_timer_disarm(pit->timer);
        return;
    }
    uint64_t deadline = vmc_muldiv64_up(tick, VMC_NS_PER_S, VMC_PIT_HZ);
    vmc_clock_timer_arm(pit->timer, MAX(deadline, vmc_clock_now(pit->clock) + MIN_EDGE_NS));
}

/* After counter 0 was programmed: its output as it is now, and when it rises next. */
static void counter0_changed(VmcPit *pit, uint64_t now)
{
    vmc_irq_set(&pit->irq, output(&pit->counter[0], now));
    arm_counter0(pit, now);
}

/* I/O thread: OUT of counter 0 has risen. Programming it anew since then moves the edge into the future. */
static void counter0_expired(void *data)
{
    VmcPit *pit = data;
    g_mutex_lock(&pit->lock);
    Counter *c = &pit->counter[0];
    uint64_t now = now_ticks(pit), t = elapsed(c, now);
    if (c->running && !c->held && t >= c->count) {
        vmc_irq_set(&pit->irq, false);
        vmc_irq_set(&pit->irq, true);
    }
    arm_counter0(pit, now);
    g_mutex_unlock(&pit->lock);
}

static uint32_t decode_count(const Counter *c, uint16_t value)
{
    if (!c->bcd)
        return value ? value : 65536;
    uint32_t count = (value >> 12) * 1000 + (value >> 8 & 15) * 100 + (value >> 4 & 15) * 10 + (value & 15);
    return count && count <= 10000 ? count : 10000;
}

/* A complete count has been written. Modes 2 and 3 would finish the running period first; starting a new one
 * at once differs by less than a period. Modes 1 and 5 wait for the gate. */
static void load_count(VmcPit *pit, Counter *c, uint16_t value)
{
    uint64_t now = now_ticks(pit);
    c->count = decode_count(c, value);
    if (is_periodic(c) && c->count < 2)
        c->count = 2; /* 1 is illegal in both */
    c->start = now;
    c->held_for = 0;
    c->running = c->mode != 1 && c->mode != 5;
    c->held = c->running && !c->gate;
    if (c == &pit->counter[0])
        counter0_changed(pit, now);
}

static void write_counter(VmcPit *pit, Counter *c, uint8_t value)
{
    switch (c->access) {
    case ACCESS_LOW:
        load_count(pit, c, value);
        break;
    case ACCESS_HIGH:
        load_count(pit, c, value << 8);
        break;
    case ACCESS_BOTH:
        if (c->write_high)
            load_count(pit, c, c->low_byte | value << 8);
        else
            c->low_byte = value;
        c->write_high = !c->write_high;
        break;
    }
}

static uint8_t read_counter(VmcPit *pit, Counter *c)
{
    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    uint16_t value = c->count_latched ? c->latch : counter_value(c, now_ticks(pit));
    switch (c->access) {
    case ACCESS_LOW:
        c->count_latched = false;
        return value;
    case ACCESS_HIGH:
        c->count_latched = false;
        return value >> 8;
    default:
        c->read_high = !c->read_high;
        if (c->read_high)
            return value;
        c->count_latched = false;
        return value >> 8;
    }
}

static void latch_count(VmcPit *pit, Counter *c)
{
    if (c->count_latched)
        return; /* the first latch holds until it is read */
    c->latch = counter_value(c, now_ticks(pit));
    c->count_latched = true;
}

static void latch_status(VmcPit *pit, Counter *c)
{
    if (c->status_latched)
        return;
    bool null_count = !c->running || c->write_high;
    c->status = output(c, now_ticks(pit)) << 7 | null_count << 6 | c->access << 4 | c->mode << 1 | c->bcd;
    c->status_latched = true;
}

static void read_back(VmcPit *pit, uint8_t value)
{
    for (unsigned i = 0; i < 3; i++) {
        if (!(value & (2u << i)))
            continue;
        if (!(value & 0x20))
            latch_count(pit, &pit->counter[i]);
        if (!(value & 0x10))
            latch_status(pit, &pit->counter[i]);
    }
}

static void write_control(VmcPit *pit, uint8_t value)
{
    unsigned which = value >> 6;
    if (which == 3) {
        read_back(pit, value);
        return;
    }
    Counter *c = &pit->counter[which];
    Access access = (value >> 4) & 3;
    if (access == ACCESS_LATCH) {
        latch_count(pit, c);
        return;
    }
    c->access = access;
    c->mode = (value >> 1) & 7;
    if (c->mode > 5)
        c->mode -= 4; /* bit 2 is "don't care" in modes 2 and 3 */
    c->bcd = value & 1;
    c->running = c->held = false;
    c->write_high = c->read_high = false;
    c->count_latched = c->status_latched = false;
    if (which == 0)
        counter0_changed(pit, now_ticks(pit));
}

/* Counter 2's gate: high lets it count, and its rise restarts the modes that a gate triggers. */
static void set_gate(VmcPit *pit, Counter *c, bool gate)
{
    uint64_t now = now_ticks(pit);
    bool rising = gate && !c->gate;
    c->gate = gate;
    if (c->mode == 1 || c->mode == 5) {
        if (rising) {
            c->start = now;
            c->running = true;
        }
        return;
    }
    if (!c->running)
        return;
    if (!gate && !c->held) {
        c->held_for = is_periodic(c) ? 0 : now - c->start;
        c->held = true;
    } else if (rising && c->held) {
        c->start = now - c->held_for;
        c->held = false;
    }
}

static uint8_t pit_byte_read(void *opaque, unsigned offset)
{
    VmcPit *pit = opaque;
    if (offset >= 3)
        return 0xff; /* the control word cannot be read */
    g_mutex_lock(&pit->lock);
    uint8_t value = read_counter(pit, &pit->counter[offset]);
    g_mutex_unlock(&pit->lock);
    return value;
}

static void pit_byte_write(void *opaque, unsigned offset, uint8_t value)
{
    VmcPit *pit = opaque;
    g_mutex_lock(&pit->lock);
    if (offset < 3)
        write_counter(pit, &pit->counter[offset], value);
    else
        write_control(pit, value);
    g_mutex_unlock(&pit->lock);
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size)
{
    return vmc_bytes_read(pit_byte_read, opaque, offset, size);
}

static void pit_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    vmc_bytes_write(pit_byte_write, opaque, offset, size, value);
}

/* NMI status and control: bit 4 toggles with every memory refresh (15 us), bit 5 is OUT of counter 2. */
static uint64_t port61_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcPit *pit = opaque;
    g_mutex_lock(&pit->lock);
    uint64_t now = now_ticks(pit);
    uint64_t value = pit->port61 | (now / 18 & 1) << 4 | (uint64_t)output(&pit->counter[2], now) << 5;
    g_mutex_unlock(&pit->lock);
    return value;
}

static void port61_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcPit *pit = opaque;
    g_mutex_lock(&pit->lock);
    pit->port61 = value & 0x0f;
    set_gate(pit, &pit->counter[2], value & 1);
    g_mutex_unlock(&pit->lock);
}

void vmc_pit_reset(VmcPit *pit)
{
    g_mutex_lock(&pit->lock);
    for (unsigned i = 0; i < 3; i++)
        pit->counter[i] = (Counter){.access = ACCESS_BOTH, .mode = 3, .count = 65536, .gate = i != 2};
    pit->port61 = 0;
    vmc_irq_set(&pit->irq, false);
    vmc_clock_timer_disarm(pit->timer);
    g_mutex_unlock(&pit->lock);
}

static const VmcRegionOps pit_ops = {pit_read, pit_write};
static const VmcRegionOps port61_ops = {port61_read, port61_write};

VmcPit *vmc_pit_new(VmcBus *pio, VmcClock *clock, const VmcIrq *irq)
{
    VmcPit *pit = g_new0(VmcPit, 1);
    g_mutex_init(&pit->lock);
    pit->pio = pio;
    pit->clock = clock;
    pit->irq = *irq;
    pit->timer = vmc_clock_timer_new(clock, counter0_expired, pit);
    vmc_pit_reset(pit);
    vmc_bus_add(pio, "pit", 0x40, 4, &pit_ops, pit);
    vmc_bus_add(pio, "port 61h", 0x61, 1, &port61_ops, pit);
    return pit;
}

void vmc_pit_free(VmcPit *pit)
{
    if (!pit)
        return;
    vmc_bus_remove(pit->pio, 0x40, &pit_ops, pit);
    vmc_bus_remove(pit->pio, 0x61, &port61_ops, pit);
    vmc_clock_timer_free(pit->timer);
    g_mutex_clear(&pit->lock);
    g_free(pit);
}

static void save_counter(const Counter *c, VmcStateWriter *w)
{
    const bool flags[] = {c->bcd,        c->gate,      c->running,       c->held,
                          c->write_high, c->read_high, c->count_latched, c->status_latched};

    vmc_state_put_u8(w, c->mode);
    vmc_state_put_u8(w, c->access);
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
        vmc_state_put_bool(w, flags[i]);
    vmc_state_put_u32(w, c->count);
    vmc_state_put_u64(w, c->start);
    vmc_state_put_u64(w, c->held_for);
    vmc_state_put_u8(w, c->low_byte);
    vmc_state_put_u16(w, c->latch);
    vmc_state_put_u8(w, c->status);
}

static void load_counter(Counter *c, uint64_t now, VmcStateReader *r)
{
    bool *flags[] = {&c->bcd,        &c->gate,      &c->running,       &c->held,
                     &c->write_high, &c->read_high, &c->count_latched, &c->status_latched};

    c->mode = vmc_state_get_u8_max(r, 5);
    c->access = vmc_state_get_u8_max(r, ACCESS_BOTH);
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
        *flags[i] = vmc_state_get_bool(r);
    c->count = vmc_state_get_u32_max(r, 65536);
    c->start = vmc_state_get_u64_max(r, now);
    c->held_for = vmc_state_get_u64(r);
    c->low_byte = vmc_state_get_u8(r);
    c->latch = vmc_state_get_u16(r);
    c->status = vmc_state_get_u8(r);
    vmc_state_check(r, c->access != ACCESS_LATCH, "how a counter is accessed");
    vmc_state_check(r, c->count >= (is_periodic(c) ? 2 : 1), "what a counter counts from");
}

void vmc_pit_save(VmcPit *pit, VmcStateWriter *w)
{
    vmc_state_begin(w, "pit", 1);
    for (unsigned i = 0; i < 3; i++)
        save_counter(&pit->counter[i], w);
    vmc_state_put_u8(w, pit->port61);
    vmc_clock_timer_save(pit->timer, w);
    vmc_state_end(w);
}

bool vmc_pit_load(VmcPit *pit, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "pit", 1))
        return false;
    g_mutex_lock(&pit->lock);
    for (unsigned i = 0; i < 3; i++)
        load_counter(&pit->counter[i], now_ticks(pit), r);
    pit->port61 = vmc_state_get_u8_max(r, 0x0f);
    vmc_clock_timer_load(pit->timer, r);
    g_mutex_unlock(&pit->lock);
    return vmc_state_leave(r);
}
