/*
 * Inside the local APICs: shared by lapic.c (registers), lapic_timer.c and apic_bus.c (who a message is for).
 */
#pragma once

#include <glib.h>
#include <stdatomic.h>

#include "pc/lapic.h"

enum {
    LAPIC_ID = 0x20,
    LAPIC_VERSION = 0x30,
    LAPIC_TPR = 0x80,
    LAPIC_APR = 0x90,
    LAPIC_PPR = 0xa0,
    LAPIC_EOI = 0xb0,
    LAPIC_RRD = 0xc0,
    LAPIC_LDR = 0xd0,
    LAPIC_DFR = 0xe0,
    LAPIC_SVR = 0xf0,
    LAPIC_ISR = 0x100,
    LAPIC_TMR = 0x180,
    LAPIC_IRR = 0x200,
    LAPIC_ESR = 0x280,
    LAPIC_ICR = 0x300,
    LAPIC_ICR2 = 0x310,
    LAPIC_LVT = 0x320, /* six of them: timer, thermal, performance, LINT0, LINT1, error */
    LAPIC_TIMER_INITIAL = 0x380,
    LAPIC_TIMER_CURRENT = 0x390,
    LAPIC_TIMER_DIVIDE = 0x3e0,
    LAPIC_SELF_IPI = 0x3f0,
};

enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

#define LVT_MASKED      (1u << 16)
#define LVT_VECTOR(lvt) ((lvt)&0xff)
#define LVT_MODE(lvt)   ((lvt) >> 8 & 7)

#define TIMER_ONE_SHOT 0u
#define TIMER_PERIODIC 1u
#define TIMER_DEADLINE 2u

#define APIC_BASE_BSP    (1ull << 8)
#define APIC_BASE_X2APIC (1ull << 10)
#define APIC_BASE_ENABLE (1ull << 11)

#define SVR_ENABLE       (1u << 8)
#define SVR_NO_BROADCAST (1u << 12)

#define ESR_SEND_ILLEGAL     (1u << 5)
#define ESR_RECEIVE_ILLEGAL  (1u << 6)
#define ESR_ILLEGAL_REGISTER (1u << 7)

/*
 * What other threads read or change, and what `pending` reads, is atomic; `lock` makes the changes of several
 * of them one step. IRR and TMR are set by whoever brings an interrupt, without the lock.
 */
typedef struct VmcLapic {
    VmcLapics *all;
    unsigned id; /* index of the CPU */
    VmcCpu *cpu;
    VmcLocalApic face;

    GMutex lock;
    _Atomic uint32_t irr[8], isr[8], tmr[8];
    _Atomic uint8_t ppr;
    _Atomic uint64_t base;
    _Atomic uint32_t tpr, svr, ldr, dfr, lvt[LVT_COUNT];
    _Atomic uint32_t esr_collected; /* errors since the last write to ESR */
    _Atomic bool lint0;             /* level of the input */
    _Atomic bool extint_message;    /* an ExtINT message waits for its INTA cycle */
    uint32_t esr;
    uint32_t icr, icr2;

    /* The timer; `lock`. */
    VmcClockTimer *timer;
    uint32_t initial, divide;
    uint64_t started;      /* guest time, ns */
    uint64_t tsc_deadline; /* 0: off */
} VmcLapic;

struct VmcLapics {
    unsigned n;
    VmcLapic *apic; /* n of them */
    const VmcCpuBackend *backend;
    VmcCpuVm *vm;
    VmcClock *clock;
    VmcPic *pic;
    struct VmcIoapic *ioapic;
    _Atomic unsigned next_lowest; /* where the search for the lowest priority begins */
};

static inline bool vmc_lapic_enabled(const VmcLapic *apic)
{
    return atomic_load_explicit(&apic->base, memory_order_relaxed) & APIC_BASE_ENABLE;
}

static inline bool vmc_lapic_is_x2(const VmcLapic *apic)
{
    return atomic_load_explicit(&apic->base, memory_order_relaxed) & APIC_BASE_X2APIC;
}

static inline bool vmc_lapic_software_enabled(const VmcLapic *apic)
{
    return atomic_load_explicit(&apic->svr, memory_order_relaxed) & SVR_ENABLE;
}

/* Tells the CPU that `pending` may have changed. No lock held. */
static inline void vmc_lapic_notify(VmcLapic *apic)
{
    if (apic->cpu)
        apic->all->backend->notify(apic->cpu);
}

/* lapic.c: into IRR and TMR; any thread. False if the APIC does not take it. */
bool vmc_lapic_accept(VmcLapic *apic, uint8_t vector, bool level);
/* lapic.c: the state after INIT (SDM vol. 3 s11.4.7.3): all but base and ID. Takes the lock. */
void vmc_lapic_init_reset(VmcLapic *apic);
/* lapic.c: collects an error and raises the error interrupt. */
void vmc_lapic_error(VmcLapic *apic, uint32_t bit);

/* lapic.c: bits of each LVT entry that can be written. */
extern const uint32_t vmc_lapic_lvt_writable[LVT_COUNT];
/* lapic.c: works out `ppr` anew. */
void vmc_lapic_update_ppr(VmcLapic *apic);
/* lapic.c: whether these bits may be in IA32_APIC_BASE. */
bool vmc_lapic_base_valid(uint64_t base);

/* lapic_timer.c; all but new and free with the lock held. */
void vmc_lapic_timer_new(VmcLapic *apic);
void vmc_lapic_timer_free(VmcLapic *apic); /* without the lock */
void vmc_lapic_timer_reset(VmcLapic *apic);
void vmc_lapic_timer_set_lvt(VmcLapic *apic, uint32_t lvt);
void vmc_lapic_timer_set_initial(VmcLapic *apic, uint32_t value);
void vmc_lapic_timer_set_divide(VmcLapic *apic, uint32_t value);
void vmc_lapic_timer_set_deadline(VmcLapic *apic, uint64_t tsc);
uint32_t vmc_lapic_timer_current(VmcLapic *apic);

/* apic_bus.c: a message out of an ICR. `shorthand` is its bits 19:18. */
void vmc_apic_bus_ipi(VmcLapic *from, const VmcApicMessage *message, unsigned shorthand);
