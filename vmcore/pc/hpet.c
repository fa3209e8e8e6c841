/*
 * A counter that is computed when somebody looks, and comparators that know the tick of the board's clock at
 * which it reaches them (`due`). A host timer runs for a comparator only while it may interrupt.
 *
 * A real comparator that is written too late is reached only after the counter has wrapped. A guest's CPU can
 * lose milliseconds between reading the counter and writing the comparator, so here a value just written that
 * lies behind the counter by less than half of its range is due at once (`fresh`).
 *
 * Periods that were missed, because the host was busy or the machine paused, are not made up for.
 */
#include "pc/hpet.h"

#define NS_PER_TICK (VMC_HPET_PERIOD_FS / 1000000u)
#define NEVER       UINT64_MAX

/* Registers, each of 64 bits (specification s2.3). */
enum {
    REG_CAPABILITIES = 0x000,
    REG_CONFIG = 0x010,
    REG_STATUS = 0x020,
    REG_COUNTER = 0x0f0,
    REG_TIMERS = 0x100, /* 20h bytes each */
    TIMER_CONFIG = 0x00,
    TIMER_COMPARATOR = 0x08,
    TIMER_FSB = 0x10,
};

#define CAPABILITIES ((uint64_t)VMC_HPET_PERIOD_FS << 32 | VMC_HPET_BLOCK_ID)

#define CONFIG_ENABLE   0x1u
#define CONFIG_LEGACY   0x2u
#define CONFIG_WRITABLE 0x3u

#define TIMER_LEVEL    (1u << 1)
#define TIMER_ENABLE   (1u << 2)
#define TIMER_PERIODIC (1u << 3)
#define TIMER_SET_VAL  (1u << 6)
#define TIMER_32BIT    (1u << 8)
#define TIMER_ROUTE(c) ((c) >> 9 & 31)
#define TIMER_BY_FSB   (1u << 14)
#define TIMER_WRITABLE 0x7f4eu
/* Periodic, 64 bits, FSB; and the pins it can be routed to. */
#define FIRST_PIN          20u
#define N_PINS             4u
#define TIMER_CAPABILITIES (1u << 4 | 1u << 5 | 1u << 15 | (uint64_t)((1u << N_PINS) - 1) << (32 + FIRST_PIN))

#define GSI_PIT 0u
#define GSI_RTC 8u

typedef struct Timer {
    VmcHpet *hpet;
    VmcClockTimer *host;
    uint32_t config; /* the writable bits */
    bool fresh;      /* the comparator was written and has not been reached since */
    uint64_t comparator, period, fsb;
    uint64_t due; /* tick of the clock at which the counter reaches the comparator, or NEVER */
    VmcIrq pins[N_PINS];
    const VmcIrq *held; /* the wire this one keeps high, or NULL */
} Timer;

typedef struct Gate {
    VmcHpet *hpet;
    VmcIrq out;
    bool level;
} Gate;

struct VmcHpet {
    GMutex lock;
    VmcHpetParams params;
    uint32_t config;
    uint32_t status;
    uint64_t counter; /* its value at `started`, or for good while it stands still */
    uint64_t started; /* tick of the clock */
    Timer timers[VMC_HPET_TIMERS];
    VmcIrq legacy[2]; /* of timers 0 and 1 */
    Gate gates[VMC_HPET_GATES];
};

static uint64_t now_tick(VmcHpet *hpet)
{
    return vmc_clock_now(hpet->params.clock) / NS_PER_TICK;
}

static uint64_t counter_at(const VmcHpet *hpet, uint64_t tick)
{
    return hpet->config & CONFIG_ENABLE ? hpet->counter + (tick - hpet->started) : hpet->counter;
}

static uint64_t width(const Timer *t)
{
    return t->config & TIMER_32BIT ? UINT32_MAX : UINT64_MAX;
}

/* ---- interrupts ---- */

static uint32_t status_bit(const Timer *t)
{
    return 1u << (t - t->hpet->timers);
}

/* Where its interrupts go; NULL: to no pin. */
static const VmcIrq *route(const Timer *t)
{
    unsigned n = (unsigned)(t - t->hpet->timers), pin = TIMER_ROUTE(t->config) - FIRST_PIN;
    if ((t->hpet->config & CONFIG_LEGACY) && n < G_N_ELEMENTS(t->hpet->legacy))
        return &t->hpet->legacy[n];
    return pin < N_PINS ? &t->pins[pin] : NULL;
}

static bool is_level(const Timer *t)
{
    return (t->config & TIMER_LEVEL) && !(t->config & TIMER_BY_FSB); /* messages are edges (s2.4.6) */
}

/* The wire it should keep high, or NULL. */
static const VmcIrq *wire_to_hold(const Timer *t)
{
    const VmcHpet *hpet = t->hpet;
    bool high = (hpet->config & CONFIG_ENABLE) && (t->config & TIMER_ENABLE) && is_level(t) &&
                (hpet->status & status_bit(t));
    return high ? route(t) : NULL;
}

/* After a change of what decides about a level interrupt. */
static void update_wire(Timer *t)
{
    const VmcIrq *wire = wire_to_hold(t);
    if (t->held == wire)
        return;
    if (t->held)
        vmc_irq_set(t->held, false);
    if (wire)
        vmc_irq_set(wire, true);
    t->held = wire;
}

/* The counter has reached the comparator. */
static void match(Timer *t)
{
    t->fresh = false;
    if (is_level(t)) {
        t->hpet->status |= status_bit(t);
        update_wire(t);
        return;
    }
    if (!(t->config & TIMER_ENABLE))
        return;
    const VmcIrq *wire = route(t);
    if (t->config & TIMER_BY_FSB)
        vmc_msi_send(&t->hpet->params.msi, t->fsb >> 32, (uint32_t)t->fsb);
    else if (wire)
        vmc_irq_pulse(wire);
}

/* ---- time ---- */

/* Works out when the counter reaches the comparator. */
static void aim(Timer *t, uint64_t tick)
{
    t->due = NEVER;
    if (!(t->hpet->config & CONFIG_ENABLE))
        return;
    uint64_t ahead = (t->comparator - counter_at(t->hpet, tick)) & width(t);
    if (t->fresh && ahead > width(t) / 2)
        ahead = 0;
    else if (!t->fresh && !ahead && __builtin_add_overflow(width(t), 1, &ahead))
        return;
    if (__builtin_add_overflow(tick, ahead, &t->due))
        t->due = NEVER;
}

/* Accounts for what has happened until now. */
static void advance(Timer *t, uint64_t tick)
{
    if (t->due == NEVER || tick < t->due)
        return;
    match(t);
    if (!(t->config & TIMER_PERIODIC) || !t->period) {
        aim(t, tick);
        return;
    }
    uint64_t periods = (tick - t->due) / t->period + 1;
    if (__builtin_add_overflow(t->due, periods * t->period, &t->due))
        t->due = NEVER;
    else
        t->comparator = counter_at(t->hpet, t->due) & width(t);
}

static void arm(Timer *t)
{
    if (t->due == NEVER || !(t->config & TIMER_ENABLE)) {
        vmc_clock_timer_disarm(t->host);
        return;
    }
    uint64_t deadline = vmc_muldiv64(t->due, NS_PER_TICK, 1);
    if (t->config & TIMER_PERIODIC)
        deadline = MAX(deadline, vmc_clock_now(t->hpet->params.clock) + VMC_HPET_MIN_TICKS * NS_PER_TICK);
    vmc_clock_timer_arm(t->host, deadline);
}

/* I/O thread. What was programmed anew since then is not due. */
static void timer_expired(void *data)
{
    Timer *t = data;
    g_mutex_lock(&t->hpet->lock);
    advance(t, now_tick(t->hpet));
    arm(t);
    g_mutex_unlock(&t->hpet->lock);
}

static void aim_all(VmcHpet *hpet, uint64_t tick)
{
    for (unsigned i = 0; i < VMC_HPET_TIMERS; i++) {
        aim(&hpet->timers[i], tick);
        arm(&hpet->timers[i]);
    }
}

static void update_all_wires(VmcHpet *hpet)
{
    for (unsigned i = 0; i < VMC_HPET_TIMERS; i++)
        update_wire(&hpet->timers[i]);
}

/* ---- the legacy replacement route ---- */

static void gate_set(void *opaque, unsigned line, bool level)
{
    Gate *gate = opaque;
    g_mutex_lock(&gate->hpet->lock);
    gate->level = level;
    if (!(gate->hpet->config & CONFIG_LEGACY))
        vmc_irq_set(&gate->out, level);
    g_mutex_unlock(&gate->hpet->lock);
}

VmcIrq vmc_hpet_gate(VmcHpet *hpet, VmcHpetGate which, const VmcIrq *out)
{
    Gate *gate = &hpet->gates[which];
    *gate = (Gate){.hpet = hpet, .out = *out};
    return (VmcIrq){gate_set, gate, 0};
}

/* After a change of the configuration. */
static void switch_legacy(VmcHpet *hpet)
{
    bool on = hpet->config & CONFIG_LEGACY;
    for (unsigned i = 0; i < VMC_HPET_GATES; i++)
        vmc_irq_set(&hpet->gates[i].out, !on && hpet->gates[i].level);
    if (hpet->params.mute_pit)
        hpet->params.mute_pit(hpet->params.opaque, on);
}

/* ---- registers ---- */

static void write_config(VmcHpet *hpet, uint32_t value, uint64_t tick)
{
    uint32_t changed = value ^ hpet->config;
    if (changed & CONFIG_ENABLE) {
        hpet->counter = counter_at(hpet, tick);
        hpet->started = tick;
    }
    hpet->config = value;
    if (changed & CONFIG_ENABLE)
        aim_all(hpet, tick);
    if (changed)
        update_all_wires(hpet);
    if (changed & CONFIG_LEGACY)
        switch_legacy(hpet);
}

static void write_counter(VmcHpet *hpet, uint64_t value, uint64_t tick)
{
    hpet->counter = value;
    hpet->started = tick;
    aim_all(hpet, tick);
}

static void write_timer_config(Timer *t, uint32_t value, uint64_t tick)
{
    t->config = value & TIMER_WRITABLE;
    if (!(t->config & TIMER_PERIODIC))
        t->config &= ~TIMER_SET_VAL;
    t->comparator &= width(t);
    t->period &= width(t);
    if (!is_level(t))
        t->hpet->status &= ~status_bit(t);
    update_wire(t);
    aim(t, tick);
    arm(t);
}

/* A periodic timer takes what is written as its period, and after VAL_SET_CNF as its comparator, too
 * (s2.3.9.2.2). `mask`: the half, or both, that is written. */
static void write_comparator(Timer *t, uint64_t value, uint64_t mask, uint64_t tick)
{
    if (!(t->config & TIMER_PERIODIC) || (t->config & TIMER_SET_VAL))
        t->comparator = ((t->comparator & ~mask) | (value & mask)) & width(t);
    if (t->config & TIMER_PERIODIC)
        t->period = ((t->period & ~mask) | (value & mask)) & width(t);
    t->config &= ~TIMER_SET_VAL;
    t->fresh = true;
    aim(t, tick);
    arm(t);
}

static uint64_t merge(uint64_t old, uint64_t value, uint64_t mask)
{
    return (old & ~mask) | (value & mask);
}

static Timer *timer_at(VmcHpet *hpet, unsigned reg)
{
    unsigned n = (reg - REG_TIMERS) / 0x20;
    return reg >= REG_TIMERS && n < VMC_HPET_TIMERS ? &hpet->timers[n] : NULL;
}

/* `mask`: the bits of the 64-bit register that are written. */
static void write_register(VmcHpet *hpet, unsigned reg, uint64_t value, uint64_t mask)
{
    uint64_t tick = now_tick(hpet);
    Timer *t = timer_at(hpet, reg);
    for (unsigned i = 0; i < VMC_HPET_TIMERS; i++)
        advance(&hpet->timers[i], tick);
    if (t) {
        unsigned which = reg & 0x1f;
        if (which == TIMER_CONFIG)
            write_timer_config(t, (uint32_t)merge(t->config, value, mask), tick);
        else if (which == TIMER_COMPARATOR)
            write_comparator(t, value, mask, tick);
        else if (which == TIMER_FSB)
            t->fsb = merge(t->fsb, value, mask);
    } else if (reg == REG_CONFIG) {
        write_config(hpet, merge(hpet->config, value, mask) & CONFIG_WRITABLE, tick);
    } else if (reg == REG_STATUS) {
        hpet->status &= ~(uint32_t)(value & mask);
        update_all_wires(hpet);
    } else if (reg == REG_COUNTER) {
        write_counter(hpet, merge(counter_at(hpet, tick), value, mask), tick);
    }
}

static uint64_t read_timer(Timer *t, unsigned which, uint64_t tick)
{
    advance(t, tick);
    switch (which) {
    case TIMER_CONFIG:
        return TIMER_CAPABILITIES | t->config;
    case TIMER_COMPARATOR:
        return t->comparator;
    case TIMER_FSB:
        return t->fsb;
    default:
        return 0;
    }
}

static uint64_t read_register(VmcHpet *hpet, unsigned reg)
{
    uint64_t tick = now_tick(hpet);
    Timer *t = timer_at(hpet, reg);
    if (t)
        return read_timer(t, reg & 0x1f, tick);
    switch (reg) {
    case REG_CAPABILITIES:
        return CAPABILITIES;
    case REG_CONFIG:
        return hpet->config;
    case REG_STATUS:
        for (unsigned i = 0; i < VMC_HPET_TIMERS; i++)
            advance(&hpet->timers[i], tick);
        return hpet->status;
    case REG_COUNTER:
        return counter_at(hpet, tick);
    default:
        return 0;
    }
}

/* ---- the bus ---- */

/* Accesses of 32 and 64 bits, aligned (s2.3.1). Bytes and words can be read; writing them does nothing. */
static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcHpet *hpet = opaque;
    unsigned shift = 8 * (offset & 7);
    g_mutex_lock(&hpet->lock);
    uint64_t value = read_register(hpet, (unsigned)offset & ~7u) >> shift;
    g_mutex_unlock(&hpet->lock);
    return size == 8 ? value : value & ((1ull << (8 * size)) - 1);
}

static void hpet_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcHpet *hpet = opaque;
    if (size < 4 || offset & (size - 1))
        return;
    unsigned shift = 8 * (offset & 7);
    uint64_t mask = (size == 8 ? UINT64_MAX : UINT32_MAX) << shift;
    g_mutex_lock(&hpet->lock);
    write_register(hpet, (unsigned)offset & ~7u, value << shift, mask);
    g_mutex_unlock(&hpet->lock);
}

void vmc_hpet_reset(VmcHpet *hpet)
{
    g_mutex_lock(&hpet->lock);
    hpet->config = hpet->status = 0;
    hpet->counter = 0;
    for (unsigned i = 0; i < VMC_HPET_TIMERS; i++) {
        Timer *t = &hpet->timers[i];
        t->config = 0;
        t->comparator = UINT64_MAX;
        t->period = t->fsb = 0;
        t->fresh = false;
        update_wire(t);
    }
    aim_all(hpet, now_tick(hpet));
    switch_legacy(hpet);
    g_mutex_unlock(&hpet->lock);
}

/* ---- saving ---- */

static void save_timer(const Timer *t, VmcStateWriter *w)
{
    vmc_state_put_u32(w, t->config);
    vmc_state_put_bool(w, t->fresh);
    vmc_state_put_u64(w, t->comparator);
    vmc_state_put_u64(w, t->period);
    vmc_state_put_u64(w, t->fsb);
    vmc_state_put_u64(w, t->due);
}

void vmc_hpet_save(VmcHpet *hpet, VmcStateWriter *w)
{
    vmc_state_begin(w, "hpet", 1);
    g_mutex_lock(&hpet->lock);
    vmc_state_put_u32(w, hpet->config);
    vmc_state_put_u32(w, hpet->status);
    vmc_state_put_u64(w, hpet->counter);
    vmc_state_put_u64(w, hpet->started);
    for (unsigned i = 0; i < VMC_HPET_TIMERS; i++)
        save_timer(&hpet->timers[i], w);
    for (unsigned i = 0; i < VMC_HPET_GATES; i++)
        vmc_state_put_bool(w, hpet->gates[i].level);
    g_mutex_unlock(&hpet->lock);
    vmc_state_end(w);
}

/* The wires are as they were already: nothing is set. */
static void load_timer(Timer *t, VmcStateReader *r)
{
    t->config = vmc_state_get_u32(r);
    vmc_state_check(r, !(t->config & ~TIMER_WRITABLE), "a timer");
    t->fresh = vmc_state_get_bool(r);
    t->comparator = vmc_state_get_u64(r) & width(t);
    t->period = vmc_state_get_u64(r) & width(t);
    t->fsb = vmc_state_get_u64(r);
    t->due = vmc_state_get_u64(r);
    if (!(t->hpet->config & CONFIG_ENABLE))
        t->due = NEVER;
    t->held = wire_to_hold(t);
    arm(t);
}

bool vmc_hpet_load(VmcHpet *hpet, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "hpet", 1))
        return false;
    g_mutex_lock(&hpet->lock);
    hpet->config = vmc_state_get_u32_max(r, CONFIG_WRITABLE);
    hpet->status = vmc_state_get_u32_max(r, (1u << VMC_HPET_TIMERS) - 1);
    hpet->counter = vmc_state_get_u64(r);
    hpet->started = vmc_state_get_u64_max(r, now_tick(hpet));
    for (unsigned i = 0; i < VMC_HPET_TIMERS; i++)
        load_timer(&hpet->timers[i], r);
    for (unsigned i = 0; i < VMC_HPET_GATES; i++)
        hpet->gates[i].level = vmc_state_get_bool(r);
    if (hpet->params.mute_pit)
        hpet->params.mute_pit(hpet->params.opaque, hpet->config & CONFIG_LEGACY);
    g_mutex_unlock(&hpet->lock);
    return vmc_state_leave(r);
}

static const VmcRegionOps hpet_ops = {hpet_read, hpet_write};

VmcHpet *vmc_hpet_new(const VmcHpetParams *params)
{
    VmcHpet *hpet = g_new0(VmcHpet, 1);
    g_mutex_init(&hpet->lock);
    hpet->params = *params;
    hpet->legacy[0] = vmc_wires_add(params->wires, GSI_PIT);
    hpet->legacy[1] = vmc_wires_add(params->wires, GSI_RTC);
    for (unsigned i = 0; i < VMC_HPET_TIMERS; i++) {
        Timer *t = &hpet->timers[i];
        t->hpet = hpet;
        t->host = vmc_clock_timer_new(params->clock, timer_expired, t);
        for (unsigned pin = 0; pin < N_PINS; pin++)
            t->pins[pin] = vmc_wires_add(params->wires, FIRST_PIN + pin);
    }
    vmc_hpet_reset(hpet);
    vmc_bus_add(params->mmio, "hpet", VMC_HPET_BASE, VMC_HPET_SIZE, &hpet_ops, hpet);
    return hpet;
}

void vmc_hpet_free(VmcHpet *hpet)
{
    if (!hpet)
        return;
    vmc_bus_remove(hpet->params.mmio, VMC_HPET_BASE, &hpet_ops, hpet);
    for (unsigned i = 0; i < VMC_HPET_TIMERS; i++)
        vmc_clock_timer_free(hpet->timers[i].host);
    g_mutex_clear(&hpet->lock);
    g_free(hpet);
}
