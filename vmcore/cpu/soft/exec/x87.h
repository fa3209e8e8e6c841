/* x87 handlers that move the whole environment (x87_env.c), bound by x87.c. */
#pragma once

#include "cpu/soft/exec/fx.h"

/* u->imm: the 32-bit format, not the 16-bit one. */
void vmc_x87_op_fldenv(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_op_fnstenv(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_op_frstor(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_op_fnsave(VmcCpu *c, const struct vmc_uop *u);
