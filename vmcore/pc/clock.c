/*
 * Guest time that can stop: the host's monotonic clock minus what was spent before the start and in pauses.
 *
 * `offset` is what to subtract; while paused `frozen` holds the time instead. Readers take no lock: the two
 * only change in pause and resume, when no CPU of the guest runs.
 */
#include "pc/clock.h"

#include <glib.h>
#include <stdatomic.h>

#define NOT_ARMED UINT64_MAX
#define RUNNING   UINT64_MAX

struct VmcClock {
    VmcIo *io;
    GMutex lock; /* timers' deadlines, the list, pausing */
    _Atomic uint64_t offset;
    _Atomic uint64_t frozen; /* the time while paused, else RUNNING */
    VmcClockTimer *timers;
};

struct VmcClockTimer {
    VmcClock *clock;
    VmcClockTimer *next;
    VmcTimer *timer;
    uint64_t deadline; /* guest time, or NOT_ARMED */
    void (*func)(void *data);
    void *data;
};

VmcClock *vmc_clock_new(VmcIo *io)
{
    VmcClock *clock = g_new0(VmcClock, 1);
    clock->io = io;
    g_mutex_init(&clock->lock);
    atomic_init(&clock->offset, vmc_now_ns());
    atomic_init(&clock->frozen, RUNNING);
    return clock;
}

void vmc_clock_free(VmcClock *clock)
{
    if (!clock)
        return;
    g_mutex_clear(&clock->lock);
    g_free(clock);
}

uint64_t vmc_clock_now(VmcClock *clock)
{
    uint64_t frozen = atomic_load_explicit(&clock->frozen, memory_order_acquire);
    if (G_UNLIKELY(frozen != RUNNING))
        return frozen;
    return vmc_now_ns() - atomic_load_explicit(&clock->offset, memory_order_relaxed);
}

/* The host time of a guest time that was armed, clock lock held. */
static void arm_host_timer(VmcClockTimer *timer)
{
    uint64_t host;
    if (__builtin_add_overflow(timer->deadline, atomic_load(&timer->clock->offset), &host))
        host = UINT64_MAX - 1;
    vmc_timer_arm(timer->timer, host);
}

void vmc_clock_pause(VmcClock *clock)
{
    g_mutex_lock(&clock->lock);
    if (atomic_load(&clock->frozen) == RUNNING) {
        atomic_store(&clock->frozen, vmc_now_ns() - atomic_load(&clock->offset));
        for (VmcClockTimer *t = clock->timers; t; t = t->next)
            vmc_timer_disarm(t->timer);
    }
    g_mutex_unlock(&clock->lock);
}

void vmc_clock_resume(VmcClock *clock)
{
    g_mutex_lock(&clock->lock);
    uint64_t frozen = atomic_load(&clock->frozen);
    if (frozen != RUNNING) {
        atomic_store(&clock->offset, vmc_now_ns() - frozen);
        atomic_store_explicit(&clock->frozen, RUNNING, memory_order_release);
        for (VmcClockTimer *t = clock->timers; t; t = t->next)
            if (t->deadline != NOT_ARMED)
                arm_host_timer(t);
    }
    g_mutex_unlock(&clock->lock);
}

/* I/O thread. A timer that was disarmed, re-armed for later or paused since it expired is not due any more.
 */
static void timer_expired(void *data)
{
    VmcClockTimer *timer = data;
    VmcClock *clock = timer->clock;
    g_mutex_lock(&clock->lock);
    bool due = timer->deadline != NOT_ARMED && atomic_load(&clock->frozen) == RUNNING &&
               vmc_clock_now(clock) >= timer->deadline;
    if (due)
        timer->deadline = NOT_ARMED;
    g_mutex_unlock(&clock->lock);
    if (due)
        timer->func(timer->data);
}

VmcClockTimer *vmc_clock_timer_new(VmcClock *clock, void (*func)(void *data), void *data)
{
    VmcClockTimer *timer = g_new0(VmcClockTimer, 1);
    timer->clock = clock;
    timer->deadline = NOT_ARMED;
    timer->func = func;
    timer->data = data;
    timer->timer = vmc_timer_new(clock->io, timer_expired, timer);
    g_mutex_lock(&clock->lock);
    timer->next = clock->timers;
    clock->timers = timer;
    g_mutex_unlock(&clock->lock);
    return timer;
}

void vmc_clock_timer_free(VmcClockTimer *timer)
{
    if (!timer)
        return;
    VmcClock *clock = timer->clock;
    g_mutex_lock(&clock->lock);
    for (VmcClockTimer **link = &clock->timers; *link; link = &(*link)->next)
        if (*link == timer) {
            *link = timer->next;
            break;
        }
    g_mutex_unlock(&clock->lock);
    vmc_timer_free(timer->timer);
    g_free(timer);
}

void vmc_clock_timer_arm(VmcClockTimer *timer, uint64_t deadline)
{
    g_mutex_lock(&timer->clock->lock);
    timer->deadline = MIN(deadline, NOT_ARMED - 1);
    if (atomic_load(&timer->clock->frozen) == RUNNING)
        arm_host_timer(timer);
    g_mutex_unlock(&timer->clock->lock);
}

void vmc_clock_timer_disarm(VmcClockTimer *timer)
{
    g_mutex_lock(&timer->clock->lock);
    timer->deadline = NOT_ARMED;
    vmc_timer_disarm(timer->timer);
    g_mutex_unlock(&timer->clock->lock);
}

void vmc_clock_save(VmcClock *clock, VmcStateWriter *w)
{
    vmc_state_put_u64(w, vmc_clock_now(clock));
}

/* A guest may run for 146 years. */
void vmc_clock_load(VmcClock *clock, VmcStateReader *r)
{
    uint64_t now = vmc_state_get_u64_max(r, UINT64_MAX / 4);

    g_return_if_fail(atomic_load(&clock->frozen) != RUNNING);
    g_mutex_lock(&clock->lock);
    atomic_store(&clock->frozen, now);
    g_mutex_unlock(&clock->lock);
}

void vmc_clock_timer_save(VmcClockTimer *timer, VmcStateWriter *w)
{
    g_mutex_lock(&timer->clock->lock);
    vmc_state_put_u64(w, timer->deadline);
    g_mutex_unlock(&timer->clock->lock);
}

void vmc_clock_timer_load(VmcClockTimer *timer, VmcStateReader *r)
{
    uint64_t deadline = vmc_state_get_u64(r);

    if (vmc_state_ok(r) && deadline != NOT_ARMED)
        vmc_clock_timer_arm(timer, deadline);
    else
        vmc_clock_timer_disarm(timer);
}
