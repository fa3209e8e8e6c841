/*
 * The host sleeps under a machine that runs, or is paused: its clocks go on when the host has woken up.
 *
 * The rest of the machine has not noticed: its timers stood still like the host's (base/host_sleep.h). CPUs
 * may run for some milliseconds by clocks that are late, until all of them stand and the clocks are set.
 */
#include "cpu/anchor.h"
#include "machine/private.h"

static void woken(void *data)
{
    VmcGuest *guest = data;

    vmc_vcpus_request_wake(&guest->vcpus);
}

static void keep_time(void *data)
{
    VmcGuest *guest = data;

    guest->backend->keep_time(guest->vm);
    vmc_timer_arm(guest->keep_time, vmc_now_ns() + VMC_ANCHOR_NS);
}

bool vmc_guest_watch_sleep(VmcGuest *guest, GError **error)
{
    guest->host_sleep = vmc_host_sleep_new(guest->io, woken, guest, error);
    if (!guest->host_sleep)
        return false;
    if (guest->backend->keep_time) {
        guest->keep_time = vmc_timer_new(guest->io, keep_time, guest);
        vmc_timer_arm(guest->keep_time, vmc_now_ns() + VMC_ANCHOR_NS);
    }
    return true;
}

void vmc_guest_unwatch_sleep(VmcGuest *guest)
{
    vmc_timer_free(g_steal_pointer(&guest->keep_time));
    vmc_host_sleep_free(g_steal_pointer(&guest->host_sleep));
}
