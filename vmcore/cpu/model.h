/*
 * CPU models: what a guest sees of the CPU that a backend has, by CPUID and by those model-specific registers
 * that describe the CPU. Nothing here is of one backend: a backend asks CPUID of what it runs on, hands over
 * the answer and shows the guest what comes back.
 *
 * Any thread; no state.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmcore/cpu.h"

typedef struct VmcCpuidRegs {
    uint32_t a, b, c, d; /* EAX.. */
} VmcCpuidRegs;

typedef struct VmcCpuModelParams {
    VmcCpuModel model;
    unsigned cpus;      /* of the machine; their APIC IDs count from 0 */
    uint64_t tsc_hz;    /* what the guest's TSC runs at */
    uint64_t apic_hz;   /* what the local APICs' timers count at before their dividers */
    uint32_t signature; /* of the backend's own CPU: CPUID.1:EAX */
} VmcCpuModelParams;

/* What CPUID of `leaf` and `subleaf` says on CPU `index`. `regs` has what the backend's CPU answers (0 if it
 * has no such leaf), and gets what the guest is shown. VMC_CPU_MODEL_HOST changes nothing. Bits that follow
 * the state of a CPU (OSXSAVE, APIC, the sizes in leaf DH) keep what they were where the model has them. */
void vmc_cpu_model_cpuid(const VmcCpuModelParams *params, unsigned index, uint32_t leaf, uint32_t subleaf,
                         VmcCpuidRegs *regs);

/* Leaves that the model answers whatever the backend's CPU has, for backends that give the guest a list. The
 * sub-leaves of each are 0..subleaves - 1; `*n` is 0 for a model that adds none. */
typedef struct VmcCpuidLeaf {
    uint32_t leaf, subleaves;
} VmcCpuidLeaf;
const VmcCpuidLeaf *vmc_cpu_model_leaves(VmcCpuModel model, unsigned *n);

/* CPUID.1:EAX, which is in EDX after reset, too. */
uint32_t vmc_cpu_model_signature(const VmcCpuModelParams *params);

/* How many CPUs are in a package: all but for macOS, which wants packages of equal size, a power of two. */
unsigned vmc_cpu_model_cores(VmcCpuModel model, unsigned cpus);

/* Registers that a guest of this model expects beyond those the backend has. False: none of them, or it
 * cannot be written. Writing changes nothing. */
bool vmc_cpu_model_read_msr(const VmcCpuModelParams *params, uint32_t msr, uint64_t *value);
bool vmc_cpu_model_write_msr(const VmcCpuModelParams *params, uint32_t msr);

/* CPUID 15H: the TSC as a fraction of the APIC timer's clock; all 0 if there is none that fits. */
void vmc_cpu_model_crystal(uint64_t tsc_hz, uint64_t apic_hz, VmcCpuidRegs *regs);

/* Deterministic cache parameters of CPUID 4 for packages of `cores`: two first-level caches and a second
 * level per core, a third one shared. */
void vmc_cpu_model_caches(unsigned cores, unsigned subleaf, VmcCpuidRegs *regs);

/* Whether the host's CPU has what the model promises; `error` names what is missing. */
bool vmc_cpu_model_check_host(VmcCpuModel model, GError **error);
