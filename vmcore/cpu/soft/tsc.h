/* The time stamp counter all software CPUs of a machine share (tsc.c). Any thread. */
#pragma once

#include <x86intrin.h>

#include "cpu/soft/state.h"
#include "cpu/soft/uop.h"

/* Measures the host's counter and begins at 0; load has it go on from another value. */
void vmc_soft_tsc_init(VmcCpuVm *vm);
void vmc_soft_tsc_clear(VmcCpuVm *vm);
void vmc_soft_tsc_load(VmcCpuVm *vm, uint64_t value);

/* VmcCpuBackend.keep_time and .slept. */
void vmc_soft_keep_time(VmcCpuVm *vm);
void vmc_soft_slept(VmcCpuVm *vm);

/* What it reads now. */
static inline uint64_t vmc_soft_tsc_now(VmcCpuVm *vm)
{
    uint64_t host = __rdtsc();

    if (vmc_unlikely(host < atomic_load_explicit(&vm->tsc.floor, memory_order_acquire))) {
        vmc_soft_slept(vm);
        host = __rdtsc();
    }
    return host - atomic_load_explicit(&vm->tsc.start, memory_order_acquire);
}
