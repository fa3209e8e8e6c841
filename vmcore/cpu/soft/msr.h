/* Model-specific registers. False: no such register, or not this value: #GP(0). On the CPU's own thread. */
#pragma once

#include "cpu/soft/state.h"

bool vmc_msr_read(VmcCpu *c, uint32_t msr, uint64_t *value);
/* May change the mode (EFER, the segment bases); the caller ends its block. */
bool vmc_msr_write(VmcCpu *c, uint32_t msr, uint64_t value);
/* Power-on values; `init` keeps what INIT keeps. */
void vmc_msr_reset(VmcCpu *c);

/* The guest's time-stamp counter now. */
uint64_t vmc_soft_tsc(const VmcCpu *c);
/* All that are kept, as bytes (base/state.h). */
void vmc_msr_save(VmcCpu *c, VmcStateWriter *w);
bool vmc_msr_load(VmcCpu *c, VmcStateReader *r);
