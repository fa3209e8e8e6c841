/*
 * Micro-operations: what the interpreter runs.
 *
 * A block is an array of these. Each holds the handler and its operands, resolved once when the block was
 * made; a handler does its work and ends with VMC_NEXT, a tail call into the next one (`jmp *u[1].fn`).
 * Handlers that end a block set c->rip and return to the run loop, or go on with vmc_jump (block.h).
 *
 * Rules for handlers
 *  - Nothing architectural changes before the last thing that can fault.
 *  - Memory through mmu.h only, with `u` passed along: a fault then knows its instruction. Before calling
 * anything else that may fault: c->cur = u.
 *  - No local whose address escapes in a function that ends in VMC_NEXT: gcc would not make it a tail call
 * and the stack would grow (tests/unit checks the object code). Move such work into a VMC_NOINLINE helper.
 *  - Handlers never ask for operand size, address size or mode: the binder chose the handler for it.
 */
#pragma once

#include <stdint.h>

#include "cpu/soft/decode/insn.h"
#include "cpu/soft/state.h"

struct vmc_uop;
typedef void (*vmc_op)(VmcCpu *c, const struct vmc_uop *u);

struct vmc_uop {
    vmc_op fn;
    uint8_t reg, rm;     /* byte offsets into VmcCpu of the ModRM.reg and register-form ModRM.rm operands */
    uint8_t base, index; /* byte offsets: a GPR, VMC_SLOT_ZERO or VMC_SLOT_RIP */
    uint8_t scale;       /* with UF_SEG and UF_MEM: bits 7:2 say how many bytes are accessed (mmu.c) */
    uint8_t seg;         /* index into seg_base */
    uint8_t len;         /* of the instruction */
    uint8_t flags;       /* UF_* */
    int64_t imm;
    int32_t disp; /* RIP-relative ones include the distance from the block's start (UF_FAR) */
    uint16_t off; /* offset of the instruction from the block's first byte */
    uint16_t x;   /* whatever the handler wants: selector, condition, register number ... */
};
_Static_assert(sizeof(struct vmc_uop) == 32, "two micro-operations a cache line");

enum {
    UF_EA_SLOW = 1, /* address size below 64, or a segment to be checked: vmc_ea_slow */
    UF_A16 = 2,
    UF_FAR = UF_A16, /* with VMC_SLOT_RIP as base: 4 GiB farther than disp says, which is too small for it */
    UF_A32 = 4,
    UF_SEG = 8,    /* check limit and rights of segment `seg` (protected and real mode) */
    UF_SS = 16,    /* non-canonical addresses raise #SS(0) instead of #GP(0) */
    UF_MEM = 32,   /* the rm operand is in memory */
    UF_WRITE = 64, /* with UF_SEG: it is written */
    UF_ODD = 128,  /* no alignment check ever concerns it */
};

#define VMC_NOINLINE    __attribute__((noinline, cold))
#define VMC_OUTLINE     __attribute__((noinline)) /* the same for work that is not rare */
#define vmc_likely(x)   __builtin_expect(!!(x), 1)
#define vmc_unlikely(x) __builtin_expect(!!(x), 0)

#define VMC_NEXT(c, u)                                                                                       \
    do {                                                                                                     \
        const struct vmc_uop *next_ = (u) + 1;                                                               \
        next_->fn((c), next_);                                                                               \
        return;                                                                                              \
    } while (0)

/* Register operands. */
#define R8(c, o)  (*(uint8_t *)((char *)(c) + (o)))
#define R16(c, o) (*(uint16_t *)((char *)(c) + (o)))
#define R32(c, o) (*(uint32_t *)((char *)(c) + (o)))
#define R64(c, o) (*(uint64_t *)((char *)(c) + (o)))

/* RIP of this instruction and of the next, as offsets in CS (wrap for 16/32-bit code is the caller's). */
static inline uint64_t vmc_rip(const VmcCpu *c, const struct vmc_uop *u)
{
    return c->block_rip + u->off;
}
static inline uint64_t vmc_next_rip(const VmcCpu *c, const struct vmc_uop *u)
{
    return c->block_rip + u->off + u->len;
}

/* ---- binding: decoded instruction -> handler ---- */
enum vmc_bound {
    VMC_BIND_NO, /* not of this family */
    VMC_BIND_OK,
    VMC_BIND_END, /* and the block ends after it: it set c->rip and returned, or may change mode, paging,
                     interrupt flag */
    VMC_BIND_UD,  /* of this family, but no such instruction (or not advertised by CPUID) */
};

/* vmc_bind (bind.c) fills all operands (reg, rm = VMC_GPR(n); base, index, scale, seg, flags, disp, imm, len)
 * and asks each family in turn; a family sets u->fn and whatever it wants differently. LOCK is checked
 * before. `features`: VMC_HAS_* (features.h) of the machine. */
enum vmc_bound vmc_bind(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u);

/* exec/extensions.c: what x86-64-v2 lacks, all of VEX among it; with VEX never VMC_BIND_NO. */
enum vmc_bound vmc_bind_extension(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u);
enum vmc_bound vmc_bind_integer(const struct vmc_insn *d, struct vmc_uop *u); /* exec/integer*.c */
enum vmc_bound vmc_bind_control(const struct vmc_insn *d,
                                struct vmc_uop *u); /* exec/control.c: near jumps, calls, stack */
enum vmc_bound vmc_bind_string(const struct vmc_insn *d,
                               struct vmc_uop *u); /* exec/string.c: MOVS CMPS STOS LODS SCAS */
enum vmc_bound vmc_bind_system(const struct vmc_insn *d,
                               struct vmc_uop *u); /* exec/system*.c: all the rest of the machine */
enum vmc_bound vmc_bind_x87(const struct vmc_insn *d, struct vmc_uop *u); /* exec/x87.c: D8..DF, 9B */
enum vmc_bound vmc_bind_sse(const struct vmc_insn *d,
                            struct vmc_uop *u); /* exec/sse*.c, mmx.c, FXSAVE family */

/* Byte offset of 8-bit register n as ModRM names it: AH..BH are 4..7 without REX. */
static inline uint8_t vmc_gpr8(const struct vmc_insn *d, unsigned n)
{
    return (uint8_t)(!d->rex && n >= 4 && n < 8 ? VMC_GPR(n - 4) + 1 : VMC_GPR(n));
}

/* An instruction that does not exist: raises #UD. */
void vmc_op_ud(VmcCpu *c, const struct vmc_uop *u);
