/*
 * The host's sleep (suspend to RAM or to idle): how long it was, and being told of it.
 *
 * vmc_now_ns, and with it every timer of the I/O thread, stands still while the host sleeps. For a guest's
 * devices a sleep is therefore what a pause is: nothing was missed, nothing is late. Only what a guest tells
 * the time of day by has to go on, and that is a CPU's counter, which some hosts lose in a sleep
 * (cpu/anchor.h).
 */
#pragma once

#include "base/io.h"

/* The same moment by two clocks. */
typedef struct VmcHostTime {
    uint64_t boot_ns;  /* CLOCK_BOOTTIME: goes on during sleep, and nobody sets it */
    uint64_t slept_ns; /* what of that the host has slept */
} VmcHostTime;

/* Two times with no sleep between them differ by less in slept_ns: the clocks are not read at once. */
#define VMC_SLEEP_MIN_NS 20000000u

void vmc_host_time(VmcHostTime *now);
/* The host has slept between the two. */
static inline bool vmc_host_slept(const VmcHostTime *then, const VmcHostTime *now)
{
    return (int64_t)(now->slept_ns - then->slept_ns) >= VMC_SLEEP_MIN_NS;
}

typedef struct VmcHostSleep VmcHostSleep;

/* Has woken(data) called on the I/O thread soon after each sleep of the host. NULL: *error says why not. */
VmcHostSleep *vmc_host_sleep_new(VmcIo *io, void (*woken)(void *data), void *data, GError **error);
/* Not on the I/O thread; woken does not run any more afterwards. NULL is fine. */
void vmc_host_sleep_free(VmcHostSleep *sleep);
