/* Running a software CPU: the loop of run.c and the wires into it. */
#pragma once

#include "cpu/soft/state.h"

VmcCpuExit vmc_soft_run(VmcCpu *c, GError **error);
/* Sets request bits and wakes the CPU; any thread. */
void vmc_soft_raise(VmcCpu *c, uint32_t request);
