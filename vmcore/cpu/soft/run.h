/* Running a software CPU: the loop of run.c and the wires into it. */
#pragma once

#include "cpu/soft/state.h"

/* Decides how a machine's CPUs execute guest code and keeps that in vm->engine, lockstep and the sizes of
 * caches.
 * False with VMC_ERROR_CONFIG: this version does not do what is asked (backend.c). */
bool vmc_soft_engine(VmcCpuVm *vm, const VmcCpuVmParams *params, GError **error);
VmcCpuExit vmc_soft_run(VmcCpu *c, GError **error);
/* Sets request bits and wakes the CPU; any thread. */
void vmc_soft_raise(VmcCpu *c, uint32_t request);
