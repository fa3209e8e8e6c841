/*
 * The high precision event timer (IA-PC HPET specification 1.0a): one block of three 64-bit timers at
 * FED0_0000h, counting at 100 MHz, with the legacy replacement route, level and edge interrupts on IOAPIC
 * pins 20..23 and message ("FSB") delivery.
 *
 * Threads: any. One lock inside; wires are set, messages sent and `mute_pit` is called with it held.
 */
#pragma once

#include "base/bus.h"
#include "base/irq.h"
#include "base/state.h"
#include "pc/clock.h"
#include "pc/wires.h"

#define VMC_HPET_BASE      0xfed00000ull
#define VMC_HPET_SIZE      0x400u
#define VMC_HPET_TIMERS    3u
#define VMC_HPET_PERIOD_FS 10000000u /* of the counter: 10 ns */
/* The lower half of the capabilities register, which the ACPI table repeats: revision 1, three timers, 64
 * bits, legacy replacement, vendor 8086h. */
#define VMC_HPET_BLOCK_ID (0x80860000u | 1u << 15 | 1u << 13 | (VMC_HPET_TIMERS - 1) << 8 | 1u)
/* No periodic interrupts faster than this many ticks; those in between merge. */
#define VMC_HPET_MIN_TICKS 5000u

typedef struct VmcHpet VmcHpet;

typedef struct VmcHpetParams {
    VmcBus *mmio;
    VmcClock *clock;
    VmcWires *wires;
    VmcMsi msi;
    /* NULL unless the PIT is not behind vmc_hpet_gate: it shall (or shall not) keep IRQ 0 to itself. */
    void (*mute_pit)(void *opaque, bool muted);
    void *opaque;
} VmcHpetParams;

VmcHpet *vmc_hpet_new(const VmcHpetParams *params);
/* What is behind its gates must be gone. */
void vmc_hpet_free(VmcHpet *hpet);
void vmc_hpet_reset(VmcHpet *hpet);
/* base/state.h; the wires are loaded before. */
void vmc_hpet_save(VmcHpet *hpet, VmcStateWriter *w);
bool vmc_hpet_load(VmcHpet *hpet, VmcStateReader *r);

typedef enum VmcHpetGate { VMC_HPET_GATE_PIT, VMC_HPET_GATE_RTC, VMC_HPET_GATES } VmcHpetGate;

/* A wire for a device that the legacy replacement route puts out of work: what it sets goes on to `out`
 * except while that is on. Once for each gate, before the machine runs. */
VmcIrq vmc_hpet_gate(VmcHpet *hpet, VmcHpetGate which, const VmcIrq *out);
