/*
 * The local APIC's timer (Intel SDM vol. 3 s11.5.4): one-shot and periodic count down a nanosecond clock
 * behind a divider, TSC-deadline compares with the guest's TSC. Nothing counts: values follow from when the
 * timer was started.
 */
#include "pc/lapic_internal.h"

/* A periodic timer is not served faster than this; periods in between merge. */
#define MIN_PERIOD_NS 20000u

static unsigned mode(const VmcLapic *apic)
{
    return atomic_load(&apic->lvt[LVT_TIMER]) >> 17 & 3;
}

/* Register value -> 1, 2, 4 .. 128 (figure 11-10; bit 2 is not used). */
static unsigned divisor(const VmcLapic *apic)
{
    unsigned code = (apic->divide & 3) | (apic->divide >> 1 & 4);
    return code == 7 ? 1 : 2u << code;
}

static uint64_t count_ns(const VmcLapic *apic)
{
    return (uint64_t)apic->initial * divisor(apic);
}

static void arm_count(VmcLapic *apic)
{
    if (!apic->initial) {
        vmc_clock_timer_disarm(apic->timer);
        return;
    }
    uint64_t deadline = apic->started + count_ns(apic);
    if (mode(apic) == TIMER_PERIODIC)
        deadline = MAX(deadline, vmc_clock_now(apic->all->clock) + MIN_PERIOD_NS);
    vmc_clock_timer_arm(apic->timer, deadline);
}

static void arm_deadline(VmcLapic *apic)
{
    if (!apic->tsc_deadline) {
        vmc_clock_timer_disarm(apic->timer);
        return;
    }
    uint64_t tsc = apic->all->backend->tsc_now(apic->all->vm), hz = apic->all->backend->tsc_hz(apic->all->vm);
    uint64_t wait =
        apic->tsc_deadline > tsc && hz ? vmc_muldiv64_up(apic->tsc_deadline - tsc, VMC_NS_PER_S, hz) : 0;
    uint64_t now = vmc_clock_now(apic->all->clock);
    vmc_clock_timer_arm(apic->timer, wait < UINT64_MAX - now ? now + wait : UINT64_MAX);
}

/* Whether the timer has gone off; if so it is set up for the next time. Lock held. */
static bool expire(VmcLapic *apic)
{
    uint64_t now = vmc_clock_now(apic->all->clock);
    switch (mode(apic)) {
    case TIMER_DEADLINE:
        if (!apic->tsc_deadline)
            return false;
        if (apic->all->backend->tsc_now(apic->all->vm) < apic->tsc_deadline) {
            arm_deadline(apic); /* set anew, or the two clocks disagree by a little */
            return false;
        }
        apic->tsc_deadline = 0;
        return true;
    case TIMER_PERIODIC:
        if (!apic->initial || now - apic->started < count_ns(apic))
            return false;
        apic->started += (now - apic->started) / count_ns(apic) * count_ns(apic);
        arm_count(apic);
        return true;
    case TIMER_ONE_SHOT:
        return apic->initial && now - apic->started >= count_ns(apic);
    default:
        return false;
    }
}

/* I/O thread. */
static void expired(void *data)
{
    VmcLapic *apic = data;
    g_mutex_lock(&apic->lock);
    bool fired = expire(apic);
    uint32_t lvt = atomic_load(&apic->lvt[LVT_TIMER]);
    g_mutex_unlock(&apic->lock);
    if (fired && !(lvt & LVT_MASKED))
        vmc_lapic_accept(apic, LVT_VECTOR(lvt), false);
}

void vmc_lapic_timer_new(VmcLapic *apic)
{
    apic->timer = vmc_clock_timer_new(apic->all->clock, expired, apic);
}

void vmc_lapic_timer_free(VmcLapic *apic)
{
    vmc_clock_timer_free(apic->timer);
    apic->timer = NULL;
}

void vmc_lapic_timer_reset(VmcLapic *apic)
{
    apic->initial = 0;
    apic->divide = 0;
    apic->started = 0;
    apic->tsc_deadline = 0;
    vmc_clock_timer_disarm(apic->timer);
}

/* A change between counting and TSC-deadline stops the timer (s11.5.4.1). */
void vmc_lapic_timer_set_lvt(VmcLapic *apic, uint32_t lvt)
{
    unsigned old = mode(apic);
    atomic_store(&apic->lvt[LVT_TIMER], lvt);
    if (old == mode(apic))
        return;
    if (old == TIMER_DEADLINE || mode(apic) == TIMER_DEADLINE) {
        apic->initial = 0;
        apic->tsc_deadline = 0;
    }
    arm_count(apic);
}

void vmc_lapic_timer_set_initial(VmcLapic *apic, uint32_t value)
{
    if (mode(apic) == TIMER_DEADLINE)
        return;
    apic->initial = value;
    apic->started = vmc_clock_now(apic->all->clock);
    arm_count(apic);
}

/* The count goes on from where it is, at the new speed. */
void vmc_lapic_timer_set_divide(VmcLapic *apic, uint32_t value)
{
    uint32_t left = vmc_lapic_timer_current(apic);
    apic->divide = value & 0xb;
    if (!apic->initial || mode(apic) == TIMER_DEADLINE)
        return;
    uint64_t now = vmc_clock_now(apic->all->clock), gone = (uint64_t)(apic->initial - left) * divisor(apic);
    apic->started = now > gone ? now - gone : 0;
    if (left)
        arm_count(apic);
}

void vmc_lapic_timer_set_deadline(VmcLapic *apic, uint64_t tsc)
{
    if (mode(apic) != TIMER_DEADLINE)
        return;
    apic->tsc_deadline = tsc;
    arm_deadline(apic);
}

uint32_t vmc_lapic_timer_current(VmcLapic *apic)
{
    if (!apic->initial || mode(apic) == TIMER_DEADLINE)
        return 0;
    uint64_t gone = (vmc_clock_now(apic->all->clock) - apic->started) / divisor(apic);
    if (mode(apic) == TIMER_PERIODIC)
        return apic->initial - (uint32_t)(gone % apic->initial);
    return gone < apic->initial ? apic->initial - (uint32_t)gone : 0;
}

void vmc_lapics_tsc_moved(VmcLapics *all)
{
    for (unsigned i = 0; i < all->n; i++) {
        VmcLapic *apic = &all->apic[i];

        g_mutex_lock(&apic->lock);
        if (mode(apic) == TIMER_DEADLINE)
            arm_deadline(apic);
        g_mutex_unlock(&apic->lock);
    }
}
