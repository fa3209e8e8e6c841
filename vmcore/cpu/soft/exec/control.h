/* Near control flow and stack: the two halves of the family. */
#pragma once

#include "cpu/soft/exec/operand.h"

/* control_legacy.c: 16- and 32-bit code. */
enum vmc_bound vmc_bind_control_legacy(const struct vmc_insn *d, struct vmc_uop *u);
