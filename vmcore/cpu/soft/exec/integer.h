/* The parts of the integer family; vmc_bind_integer (integer.c) asks them in turn. */
#pragma once

#include "cpu/soft/exec/operand.h"

enum vmc_bound vmc_bind_alu(const struct vmc_insn *d, struct vmc_uop *u); /* alu.c */
enum vmc_bound vmc_bind_move(const struct vmc_insn *d,
                             struct vmc_uop *u); /* move.c: MOV, MOVX, LEA, XCHG, CMOV, SETcc */
enum vmc_bound vmc_bind_shift(const struct vmc_insn *d, struct vmc_uop *u); /* shift.c */
enum vmc_bound vmc_bind_muldiv(const struct vmc_insn *d,
                               struct vmc_uop *u); /* muldiv.c: MUL, DIV, sign extension, BCD */
enum vmc_bound vmc_bind_bit(const struct vmc_insn *d,
                            struct vmc_uop *u); /* bit.c: BT*, BSF, POPCNT, CRC32, BSWAP */
enum vmc_bound vmc_bind_xchg(const struct vmc_insn *d, struct vmc_uop *u); /* xchg.c: XCHG, XADD, CMPXCHG* */
