/* Saving and loading, as cpu.h has it (save.c). */
#pragma once

#include "cpu/soft/state.h"

char *vmc_soft_describe(VmcCpuVm *vm);
void vmc_soft_save_vm(VmcCpuVm *vm, VmcStateWriter *w);
bool vmc_soft_load_vm(VmcCpuVm *vm, uint64_t elapsed_ns, VmcStateReader *r);
void vmc_soft_save_cpu(VmcCpu *c, VmcStateWriter *w);
bool vmc_soft_load_cpu(VmcCpu *c, VmcStateReader *r);
