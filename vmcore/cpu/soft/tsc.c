/*
 * The guest's time stamp counter is the host's, counted from the machine's birth, so that time in the guest
 * costs nothing to read.
 *
 * The host's may lose the time the host sleeps (cpu/anchor.h), and the guest's wall clock would with it. What
 * it lost is added when the machine hears of the sleep. A host's that began at 0 again would have the guest's
 * run back until then; so whoever reads it and finds it below what it was minutes ago does not wait for the
 * machine.
 */
#include "cpu/soft/tsc.h"

#include <time.h>

struct instant {
    uint64_t tsc, ns;
};

/* TSC and clock at the same moment: the closest of a few tries, so that being interrupted does not count. */
static struct instant take_instant(void)
{
    struct instant best = {0};
    uint64_t closest = UINT64_MAX;
    for (unsigned i = 0; i < 8; i++) {
        struct timespec t;
        uint64_t before = __rdtsc();
        clock_gettime(CLOCK_MONOTONIC_RAW, &t);
        uint64_t after = __rdtsc();
        if (after - before < closest) {
            closest = after - before;
            best.tsc = before + closest / 2;
            best.ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
        }
    }
    return best;
}

/* Host TSC ticks per second, measured over two milliseconds: good to some ten parts in a million. */
static uint64_t measure_tsc(void)
{
    struct timespec pause = {.tv_nsec = 2000000};
    struct instant a = take_instant();
    nanosleep(&pause, NULL);
    struct instant b = take_instant();
    uint64_t hz = (uint64_t)((unsigned __int128)(b.tsc - a.tsc) * 1000000000u / (b.ns - a.ns));
    return (hz + 50000) / 100000 * 100000;
}

/* Called locked. The host's processors need not count quite alike, so there is some room below. */
static void drop_anchor(VmcCpuVm *vm)
{
    struct vmc_soft_tsc *t = &vm->tsc;
    uint64_t room = vm->tsc_hz / 10;

    vmc_host_time(&t->anchor.at);
    t->anchor.tsc = __rdtsc();
    atomic_store_explicit(&t->floor, t->anchor.tsc > room ? t->anchor.tsc - room : 0, memory_order_release);
}

void vmc_soft_tsc_init(VmcCpuVm *vm)
{
    vm->tsc_hz = measure_tsc();
    g_mutex_init(&vm->tsc.lock);
    drop_anchor(vm);
    atomic_store(&vm->tsc.start, vm->tsc.anchor.tsc);
}

void vmc_soft_tsc_clear(VmcCpuVm *vm)
{
    g_mutex_clear(&vm->tsc.lock);
}

void vmc_soft_tsc_load(VmcCpuVm *vm, uint64_t value)
{
    g_mutex_lock(&vm->tsc.lock);
    drop_anchor(vm);
    atomic_store(&vm->tsc.start, vm->tsc.anchor.tsc - value);
    g_mutex_unlock(&vm->tsc.lock);
}

/* After a sleep nobody has told of yet the old anchor is needed. */
void vmc_soft_keep_time(VmcCpuVm *vm)
{
    VmcHostTime now;

    vmc_host_time(&now);
    g_mutex_lock(&vm->tsc.lock);
    if (!vmc_host_slept(&vm->tsc.anchor.at, &now))
        drop_anchor(vm);
    g_mutex_unlock(&vm->tsc.lock);
}

void vmc_soft_slept(VmcCpuVm *vm)
{
    struct vmc_soft_tsc *t = &vm->tsc;
    VmcHostTime now;

    g_mutex_lock(&t->lock);
    uint64_t host = __rdtsc();
    vmc_host_time(&now);
    bool went_back = host < atomic_load(&t->floor);
    if (went_back || vmc_host_slept(&t->anchor.at, &now)) { /* else somebody else was faster */
        uint64_t lost = vmc_anchor_lost(&t->anchor, host, &now, vm->tsc_hz);
        atomic_store_explicit(&t->start, atomic_load(&t->start) - lost, memory_order_release);
        drop_anchor(vm);
    }
    g_mutex_unlock(&t->lock);
}
