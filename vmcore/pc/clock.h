/*
 * The board's clock: nanoseconds of guest time, which stand still while the machine is paused, and timers in
 * that time. PIT, RTC, PM timer and LAPIC timers all count by it, so pausing is one call and nobody sees a
 * jump.
 *
 * Threads: any, for every function; timer callbacks run on the I/O thread, with no lock of the clock held.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"
#include "base/state.h"

typedef struct VmcClock VmcClock;
typedef struct VmcClockTimer VmcClockTimer;

#define VMC_NS_PER_S 1000000000ull

/* Runs from the start. Its timers must be freed before it. */
VmcClock *vmc_clock_new(VmcIo *io);
void vmc_clock_free(VmcClock *clock);

/* Nanoseconds of guest time since the clock was made. */
uint64_t vmc_clock_now(VmcClock *clock);

/* Both are harmless when already so. */
void vmc_clock_pause(VmcClock *clock);
void vmc_clock_resume(VmcClock *clock);

/* One-shot timers: func(data) at or just after `deadline` (guest time). A callback may already be under way
 * when a timer is disarmed or armed anew, so callbacks look at their device's state, under its lock, before
 * they act. Do not hold a lock the callback takes while freeing. NULL is fine for free. */
VmcClockTimer *vmc_clock_timer_new(VmcClock *clock, void (*func)(void *data), void *data);
void vmc_clock_timer_free(VmcClockTimer *timer);
void vmc_clock_timer_arm(VmcClockTimer *timer, uint64_t deadline);
void vmc_clock_timer_disarm(VmcClockTimer *timer);

/* The time, of a clock that is paused; and the same of a timer, which waits in a machine that was restored as
 * it did in the one that was saved. */
void vmc_clock_save(VmcClock *clock, VmcStateWriter *w);
void vmc_clock_load(VmcClock *clock, VmcStateReader *r);
void vmc_clock_timer_save(VmcClockTimer *timer, VmcStateWriter *w);
void vmc_clock_timer_load(VmcClockTimer *timer, VmcStateReader *r);

/* value * mul / div without overflow in between; saturates at UINT64_MAX. `div` is not 0. */
static inline uint64_t vmc_muldiv64(uint64_t value, uint64_t mul, uint64_t div)
{
    unsigned __int128 result = (unsigned __int128)value * mul / div;
    return result > UINT64_MAX ? UINT64_MAX : (uint64_t)result;
}

/* The same, rounded up: the first nanosecond at which a counter of `hz` has reached `ticks` is
 * vmc_muldiv64_up(ticks, VMC_NS_PER_S, hz). */
static inline uint64_t vmc_muldiv64_up(uint64_t value, uint64_t mul, uint64_t div)
{
    unsigned __int128 result = ((unsigned __int128)value * mul + (div - 1)) / div;
    return result > UINT64_MAX ? UINT64_MAX : (uint64_t)result;
}
