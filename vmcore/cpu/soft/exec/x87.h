/* x87 handlers by file; x87.c binds them. */
#pragma once

#include "cpu/soft/exec/fx.h"

/* x87_env.c; u->imm: the 32-bit format, not the 16-bit one. */
void vmc_x87_op_fldenv(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_op_fnstenv(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_op_frstor(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_op_fnsave(VmcCpu *c, const struct vmc_uop *u);

/* x87_fast.c: by D8..DF and ModRM; NULL where there is no such instruction or it is none of the usual kind.
 */
extern const vmc_op vmc_x87_fast_registers[8][8][8], vmc_x87_fast_memory[8][8];

/* x87.c: the same in every circumstance; u->imm is the instruction's code. */
void vmc_x87_slow_registers(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_slow_compare(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_slow_move(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_slow_load2(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_slow_load4(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_slow_load8(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_slow_load10(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_slow_store2(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_slow_store4(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_slow_store8(VmcCpu *c, const struct vmc_uop *u);
void vmc_x87_slow_store10(VmcCpu *c, const struct vmc_uop *u);
