/*
 * A bench for the board's chips: buses, an I/O thread, a guest clock, and CPUs that execute nothing but write
 * down what reaches them. Their TSC is the host's monotonic clock, so it runs at 1 GHz.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>

#include "base/bus.h"
#include "base/io.h"
#include "base/irq.h"
#include "cpu/cpu.h"
#include "pc/clock.h"

#define RIG_CPUS 4u

struct VmcCpu {
    GMutex lock;
    GCond changed;
    unsigned notified, nmis, inits, sipis;
    uint8_t sipi_vector;
    VmcCpuState state;
    bool has_state;
};

struct VmcCpuVm {
    VmcCpu cpus[RIG_CPUS];
};

static inline void rig_count(VmcCpu *cpu, unsigned *what)
{
    g_mutex_lock(&cpu->lock);
    ++*what;
    g_cond_broadcast(&cpu->changed);
    g_mutex_unlock(&cpu->lock);
}

static inline void rig_notify(VmcCpu *cpu)
{
    rig_count(cpu, &cpu->notified);
}

static inline void rig_nmi(VmcCpu *cpu)
{
    rig_count(cpu, &cpu->nmis);
}

static inline void rig_init(VmcCpu *cpu)
{
    rig_count(cpu, &cpu->inits);
}

static inline void rig_sipi(VmcCpu *cpu, uint8_t vector)
{
    cpu->sipi_vector = vector;
    rig_count(cpu, &cpu->sipis);
}

static inline void rig_reset(VmcCpu *cpu)
{
    cpu->has_state = false;
}

static inline bool rig_set_state(VmcCpu *cpu, const VmcCpuState *state, GError **error)
{
    cpu->state = *state;
    cpu->has_state = true;
    return true;
}

static inline uint64_t rig_tsc_hz(VmcCpuVm *vm)
{
    return VMC_NS_PER_S;
}

static inline uint64_t rig_tsc_now(VmcCpuVm *vm)
{
    return vmc_now_ns();
}

static const VmcCpuBackend rig_backend = {
    .name = "rig",
    .notify = rig_notify,
    .nmi = rig_nmi,
    .init = rig_init,
    .sipi = rig_sipi,
    .reset = rig_reset,
    .set_state = rig_set_state,
    .tsc_hz = rig_tsc_hz,
    .tsc_now = rig_tsc_now,
};

typedef struct Rig {
    VmcBus *pio, *mmio;
    VmcIo *io;
    VmcClock *clock;
    VmcCpuVm vm;
    _Atomic unsigned edges; /* rises of `wire` */
    _Atomic bool level;     /* of `wire` */
} Rig;

static inline void rig_set_wire(void *opaque, unsigned line, bool level)
{
    Rig *rig = opaque;
    if (level && !rig->level)
        rig->edges++;
    rig->level = level;
}

static inline VmcIrq rig_wire(Rig *rig)
{
    return (VmcIrq){rig_set_wire, rig, 0};
}

static inline void rig_up(Rig *rig)
{
    memset(rig, 0, sizeof *rig);
    rig->pio = vmc_bus_new("pio");
    rig->mmio = vmc_bus_new("mmio");
    rig->io = vmc_io_new(NULL);
    assert_non_null(rig->io);
    rig->clock = vmc_clock_new(rig->io);
}

static inline void rig_down(Rig *rig)
{
    vmc_clock_free(rig->clock);
    vmc_io_free(rig->io);
    vmc_bus_free(rig->pio);
    vmc_bus_free(rig->mmio);
}

static inline void out8(Rig *rig, uint16_t port, uint8_t value)
{
    vmc_bus_write(rig->pio, port, 1, value);
}

static inline uint8_t in8(Rig *rig, uint16_t port)
{
    return vmc_bus_read(rig->pio, port, 1);
}

/* Waits until `*what` has reached `wanted`, at most five seconds. */
static inline bool rig_wait(VmcCpu *cpu, const unsigned *what, unsigned wanted)
{
    gint64 until = g_get_monotonic_time() + 5 * G_TIME_SPAN_SECOND;
    bool ok = true;
    g_mutex_lock(&cpu->lock);
    while (ok && *what < wanted)
        ok = g_cond_wait_until(&cpu->changed, &cpu->lock, until);
    ok = *what >= wanted;
    g_mutex_unlock(&cpu->lock);
    return ok;
}

/* Waits for `condition`, at most five seconds. */
#define RIG_UNTIL(condition)                                                                                 \
    do {                                                                                                     \
        gint64 until_ = g_get_monotonic_time() + 5 * G_TIME_SPAN_SECOND;                                     \
        while (!(condition) && g_get_monotonic_time() < until_)                                              \
            g_usleep(500);                                                                                   \
        assert_true(condition);                                                                              \
    } while (0)
