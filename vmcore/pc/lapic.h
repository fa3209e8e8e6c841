/*
 * The local APICs of a machine and the bus between them (Intel SDM vol. 3, chapters 11 "APIC" and 11.12
 * "x2APIC"). Version 14h with EOI broadcast suppression, six LVT entries, xAPIC and x2APIC mode, timer in all
 * three modes.
 *
 * Each CPU asks its own through a VmcLocalApic. Interrupts are brought with vmc_lapics_deliver; the board's
 * 8259 reaches every LINT0.
 *
 * Threads: the VmcLocalApicOps of a CPU on that CPU's thread; everything else from any, except where it says
 * "while no CPU runs". Locks: one per APIC, never held while another APIC, the IOAPIC, the PIC or the CPU
 * backend is called.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"
#include "cpu/cpu.h"
#include "pc/clock.h"
#include "pc/pic.h"

#define VMC_LAPIC_BASE 0xfee00000ull
/* What the timer counts before its divider: one tick a nanosecond. A CPUID leaf that tells the crystal clock
 * (15h) must say the same. */
#define VMC_LAPIC_TIMER_HZ 1000000000ull

typedef struct VmcLapics VmcLapics;
struct VmcIoapic;

typedef enum VmcApicDelivery {
    VMC_APIC_FIXED = 0,
    VMC_APIC_LOWEST = 1,
    VMC_APIC_SMI = 2,
    VMC_APIC_NMI = 4,
    VMC_APIC_INIT = 5,
    VMC_APIC_SIPI = 6,
    VMC_APIC_EXTINT = 7,
} VmcApicDelivery;

/* An interrupt message on its way to one or more APICs. */
typedef struct VmcApicMessage {
    uint32_t dest;
    bool logical;     /* destination mode */
    bool wide;        /* `dest` has 32 bits (ICR in x2APIC mode), else 8 */
    bool level;       /* trigger mode */
    uint8_t delivery; /* VmcApicDelivery */
    uint8_t vector;
} VmcApicMessage;

typedef struct VmcLapicsParams {
    unsigned n_cpus;
    const VmcCpuBackend *backend;
    VmcCpuVm *vm;
    VmcClock *clock;
} VmcLapicsParams;

VmcLapics *vmc_lapics_new(const VmcLapicsParams *params);
void vmc_lapics_free(VmcLapics *lapics);

/* Where ExtINT takes its vectors from and where EOIs go; either may be NULL. While no CPU runs. */
void vmc_lapics_connect(VmcLapics *lapics, VmcPic *pic, struct VmcIoapic *ioapic);
/* While no CPU runs. An APIC without a CPU keeps its interrupts to itself. */
void vmc_lapics_attach_cpu(VmcLapics *lapics, unsigned index, VmcCpu *cpu);

const VmcLocalApic *vmc_lapics_get(VmcLapics *lapics, unsigned index);

/* RESET: all of them to power-on. With `virtual_wire` the bootstrap processor's is then set up as a BIOS
 * leaves it (MP specification s3.6.2.2): enabled, LINT0 ExtINT, LINT1 NMI. While no CPU runs. */
void vmc_lapics_reset(VmcLapics *lapics, bool virtual_wire);

/* Time has passed for the CPUs' TSC only; timers that wait for that look anew. Any thread. */
void vmc_lapics_tsc_moved(VmcLapics *lapics);

/* Saving and loading all of them, while no CPU runs and the clock is paused: base/state.h. CPUs are loaded
 * before (they tell their APICs a base address and CR8) and notified by it. */
void vmc_lapics_save(VmcLapics *lapics, VmcStateWriter *w);
bool vmc_lapics_load(VmcLapics *lapics, VmcStateReader *r);

/* Brings a message to whom it is for; true if at least one APIC took it. */
bool vmc_lapics_deliver(VmcLapics *lapics, const VmcApicMessage *message);
/* A memory write to FEEx_xxxxh (SDM vol. 3 s11.11). Writes elsewhere are ignored. */
void vmc_lapics_msi(VmcLapics *lapics, uint64_t address, uint32_t data);
/* INTR of the 8259. */
void vmc_lapics_set_extint(VmcLapics *lapics, bool level);
