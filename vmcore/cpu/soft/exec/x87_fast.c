/*
 * x87 the usual way: registers in the host, every exception masked, operands in RAM.
 *
 * One handler for each of the some five hundred encodings, with the very opcode in it, so that running it is
 * a test, the opcode and the jump to the next; a common handler calling the opcode (x87.c) was measured at up
 * to five times that, because its indirect calls and jumps are hard to predict. Everything unusual leaves for
 * the slow handler, which starts again from nothing.
 */
#include "cpu/soft/exec/x87.h"

#include "cpu/soft/flags.h"

#define USUAL(slow)                                                                                          \
    if (vmc_unlikely(c->fx_guard & (FXG_X87 | FXG_X87_UNMASKED))) {                                          \
        slow(c, u);                                                                                          \
        return;                                                                                              \
    }
/* u->x is the opcode as FOP holds it. */
#define DONE                                                                                                 \
    c->fx.fip = vmc_rip(c, u);                                                                               \
    c->fx.fop = u->x;                                                                                        \
    VMC_NEXT(c, u)

/* D8 + op, C0 + 8 * hi + lo */
#define BYTES(op, hi, lo) ".byte 0xd8 + " #op ", 0xc0 + 8 * " #hi " + " #lo

#define REGISTERS(op, hi, lo)                                                                                \
    static void op_##op##_##hi##_##lo(VmcCpu *c, const struct vmc_uop *u)                                    \
    {                                                                                                        \
        USUAL(vmc_x87_slow_registers)                                                                        \
        __asm__ volatile(BYTES(op, hi, lo));                                                                 \
        DONE;                                                                                                \
    }
/* FCOMI and its kin: OF, SF and AF are cleared. */
#define COMPARES(op, hi, lo)                                                                                 \
    static void op_##op##_##hi##_##lo(VmcCpu *c, const struct vmc_uop *u)                                    \
    {                                                                                                        \
        uint32_t flags;                                                                                      \
        USUAL(vmc_x87_slow_compare)                                                                          \
        __asm__ volatile(BYTES(op, hi, lo) "\n\tlahf\n\tmovzbl %%ah, %0" : "=a"(flags) : : "cc");            \
        vmc_set_arith(c, flags &(FL_ZF | FL_PF | FL_CF));                                                    \
        DONE;                                                                                                \
    }
/* FCMOVcc */
#define MOVES(op, hi, lo)                                                                                    \
    static void op_##op##_##hi##_##lo(VmcCpu *c, const struct vmc_uop *u)                                    \
    {                                                                                                        \
        USUAL(vmc_x87_slow_move)                                                                             \
        __asm__ volatile("sahf\n\t" BYTES(op, hi, lo) : : "a"((uint32_t)vmc_arith_flags(c) << 8) : "cc");    \
        DONE;                                                                                                \
    }
/* D8 + op /ext with the operand at [RAX] */
#define MEMORY(op, ext, kind, size, tag)                                                                     \
    static void op_##op##_m##ext(VmcCpu *c, const struct vmc_uop *u)                                         \
    {                                                                                                        \
        FAST_HOST(FXG_X87 | FXG_X87_UNMASKED, size, tag, vmc_x87_slow_##kind##size);                         \
        __asm__ volatile(".byte 0xd8 + " #op ", 8 * " #ext : : "a"(p_) : "memory");                          \
        c->fx.fdp = va_ - c->seg_base[u->seg];                                                               \
        DONE;                                                                                                \
    }
#define LOADS(op, ext, size)  MEMORY(op, ext, load, size, tag_read)
#define STORES(op, ext, size) MEMORY(op, ext, store, size, tag_write)

/* clang-format off */
/* ---- which there are; those that do not exist within a row of eight are the binder's business ---- */

#define ALL_REGISTERS(R)                                                                                     \
    R(REGISTERS, 0, 0) R(REGISTERS, 0, 1) R(REGISTERS, 0, 2) R(REGISTERS, 0, 3)                              \
    R(REGISTERS, 0, 4) R(REGISTERS, 0, 5) R(REGISTERS, 0, 6) R(REGISTERS, 0, 7)                              \
    R(REGISTERS, 1, 0) R(REGISTERS, 1, 1) R(REGISTERS, 1, 2) R(REGISTERS, 1, 3)                              \
    R(REGISTERS, 1, 4) R(REGISTERS, 1, 5) R(REGISTERS, 1, 6) R(REGISTERS, 1, 7)                              \
    R(MOVES, 2, 0) R(MOVES, 2, 1) R(MOVES, 2, 2) R(MOVES, 2, 3) R(REGISTERS, 2, 5)                           \
    R(MOVES, 3, 0) R(MOVES, 3, 1) R(MOVES, 3, 2) R(MOVES, 3, 3) R(COMPARES, 3, 5) R(COMPARES, 3, 6)          \
    R(REGISTERS, 4, 0) R(REGISTERS, 4, 1) R(REGISTERS, 4, 2) R(REGISTERS, 4, 3)                              \
    R(REGISTERS, 4, 4) R(REGISTERS, 4, 5) R(REGISTERS, 4, 6) R(REGISTERS, 4, 7)                              \
    R(REGISTERS, 5, 0) R(REGISTERS, 5, 1) R(REGISTERS, 5, 2) R(REGISTERS, 5, 3)                              \
    R(REGISTERS, 5, 4) R(REGISTERS, 5, 5)                                                                    \
    R(REGISTERS, 6, 0) R(REGISTERS, 6, 1) R(REGISTERS, 6, 2) R(REGISTERS, 6, 3)                              \
    R(REGISTERS, 6, 4) R(REGISTERS, 6, 5) R(REGISTERS, 6, 6) R(REGISTERS, 6, 7)                              \
    R(REGISTERS, 7, 0) R(REGISTERS, 7, 1) R(REGISTERS, 7, 2) R(REGISTERS, 7, 3)                              \
    R(COMPARES, 7, 5) R(COMPARES, 7, 6)

#define EIGHT_LOADS(R, op, size)                                                                             \
    R(LOADS, op, 0, size) R(LOADS, op, 1, size) R(LOADS, op, 2, size) R(LOADS, op, 3, size)                  \
    R(LOADS, op, 4, size) R(LOADS, op, 5, size) R(LOADS, op, 6, size) R(LOADS, op, 7, size)
#define ALL_MEMORY(R)                                                                                        \
    EIGHT_LOADS(R, 0, 4) EIGHT_LOADS(R, 2, 4) EIGHT_LOADS(R, 4, 8) EIGHT_LOADS(R, 6, 2)                      \
    R(LOADS, 1, 0, 4) R(STORES, 1, 2, 4) R(STORES, 1, 3, 4)                                                  \
    R(LOADS, 3, 0, 4) R(STORES, 3, 1, 4) R(STORES, 3, 2, 4) R(STORES, 3, 3, 4)                               \
    R(LOADS, 3, 5, 10) R(STORES, 3, 7, 10)                                                                   \
    R(LOADS, 5, 0, 8) R(STORES, 5, 1, 8) R(STORES, 5, 2, 8) R(STORES, 5, 3, 8)                               \
    R(LOADS, 7, 0, 2) R(STORES, 7, 1, 2) R(STORES, 7, 2, 2) R(STORES, 7, 3, 2)                               \
    R(LOADS, 7, 4, 10) R(LOADS, 7, 5, 8) R(STORES, 7, 6, 10) R(STORES, 7, 7, 8)

#define MAKE_EIGHT(KIND, op, hi)                                                                             \
    KIND(op, hi, 0) KIND(op, hi, 1) KIND(op, hi, 2) KIND(op, hi, 3)                                          \
    KIND(op, hi, 4) KIND(op, hi, 5) KIND(op, hi, 6) KIND(op, hi, 7)
#define MAKE_MEMORY(KIND, op, ext, size) KIND(op, ext, size)
ALL_REGISTERS(MAKE_EIGHT)
ALL_MEMORY(MAKE_MEMORY)

/* clang-format on */

#define ROW(KIND, op, hi)                                                                                    \
    [op][hi] = {op_##op##_##hi##_0, op_##op##_##hi##_1, op_##op##_##hi##_2, op_##op##_##hi##_3,              \
                op_##op##_##hi##_4, op_##op##_##hi##_5, op_##op##_##hi##_6, op_##op##_##hi##_7},
#define CELL(KIND, op, ext, size) [op][ext] = op_##op##_m##ext,
const vmc_op vmc_x87_fast_registers[8][8][8] = {ALL_REGISTERS(ROW)};
const vmc_op vmc_x87_fast_memory[8][8] = {ALL_MEMORY(CELL)};
