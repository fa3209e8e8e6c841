/* Starting, resetting and describing a software CPU. On the CPU's own thread, or while it does not run. */
#pragma once

#include "cpu/soft/state.h"

/* The CPU as a VmcCpuState and back. set_state refuses (VMC_ERROR_CPU) what no processor could be in, and
 * then changes nothing; MSRs that a VmcCpuState does not name stay as they are. */
void vmc_soft_get_state(VmcCpu *c, VmcCpuState *state);
bool vmc_soft_set_state(VmcCpu *c, const VmcCpuState *state, GError **error);

/* Start-up IPI: real mode at vector:0000. For a CPU in wait_sipi. */
void vmc_soft_start_sipi(VmcCpu *c, uint8_t vector);
