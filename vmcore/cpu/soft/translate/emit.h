/*
 * Writing x86-64 instructions: prefixes, REX, ModRM and SIB from registers and numbers.
 *
 * An instruction is named by one word: opcode in the low byte, map and mandatory prefix above (VMC_OP...).
 * The emitter writes through the writable mapping of the code memory; addresses are those of the executable
 * one only where something absolute is written, which nothing here does, so code can be placed anywhere.
 *
 * Source: Intel SDM vol. 2 chapter 2.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Host registers. */
enum {
    H_RAX,
    H_RCX,
    H_RDX,
    H_RBX,
    H_RSP,
    H_RBP,
    H_RSI,
    H_RDI,
    H_R8,
    H_R9,
    H_R10,
    H_R11,
    H_R12,
    H_R13,
    H_R14,
    H_R15,
    H_NONE = 0xff,
};

/* Opcode words. */
#define VMC_OP(op)   ((uint32_t)(op))
#define VMC_OP0F(op) ((uint32_t)(op) | 1u << 8)
#define VMC_OP38(op) ((uint32_t)(op) | 2u << 8)
#define VMC_OP3A(op) ((uint32_t)(op) | 3u << 8)
#define VMC_OP_MAP   (3u << 8)
#define VMC_OP_66    (1u << 10)
#define VMC_OP_F2    (1u << 11)
#define VMC_OP_F3    (1u << 12)
#define VMC_OP_W     (1u << 13)
#define VMC_OP_LOCK  (1u << 14)
#define VMC_OP_REG8  (1u << 15) /* the reg operand is a byte register, never AH to BH */
#define VMC_OP_RM8   (1u << 16)

/* A ModRM operand: a register, or base + index * 2^scale + disp. */
struct vmc_rm {
    uint8_t reg; /* H_NONE: memory */
    uint8_t base, index, scale;
    int32_t disp;
};

struct vmc_emit {
    uint8_t *p, *end; /* writable; what does not fit is not written */
    bool full;
    /* What R10 is known to hold, in the caller's terms: forgotten by any instruction that has it for an
     * operand, and by calls; not by the few whose bytes are written one by one. */
    uint8_t r10_holds;
};
#define VMC_R10_UNKNOWN 0xff

static inline void vmc_put8(struct vmc_emit *e, unsigned byte)
{
    if (e->p < e->end)
        *e->p++ = (uint8_t)byte;
    else
        e->full = true;
}
static inline void vmc_put32(struct vmc_emit *e, uint32_t value)
{
    if (e->end - e->p >= 4) {
        memcpy(e->p, &value, 4);
        e->p += 4;
    } else {
        e->full = true;
    }
}
static inline void vmc_put64(struct vmc_emit *e, uint64_t value)
{
    vmc_put32(e, (uint32_t)value);
    vmc_put32(e, (uint32_t)(value >> 32));
}

static inline struct vmc_rm vmc_r(unsigned reg)
{
    return (struct vmc_rm){.reg = (uint8_t)reg, .base = H_NONE, .index = H_NONE};
}
static inline struct vmc_rm vmc_m(unsigned base, int32_t disp)
{
    return (struct vmc_rm){.reg = H_NONE, .base = (uint8_t)base, .index = H_NONE, .disp = disp};
}
static inline struct vmc_rm vmc_mx(unsigned base, unsigned index, unsigned scale, int32_t disp)
{
    return (struct vmc_rm){
        .reg = H_NONE, .base = (uint8_t)base, .index = (uint8_t)index, .scale = (uint8_t)scale, .disp = disp};
}

/* One instruction up to its ModRM operand; an immediate may follow. */
void vmc_emit(struct vmc_emit *e, uint32_t op, unsigned reg, struct vmc_rm rm);
/* A VEX-encoded one: `op` without lock and byte marks, L (256 bits), and the register of the vvvv field, 0 if
 * none. */
void vmc_emit_vex(struct vmc_emit *e, uint32_t op, bool l, unsigned vvvv, unsigned reg, struct vmc_rm rm);

/* ---- the host's instructions that a translator itself uses ---- */

static inline void vmc_load(struct vmc_emit *e, unsigned reg, struct vmc_rm rm) /* mov r64, rm */
{
    vmc_emit(e, VMC_OP(0x8b) | VMC_OP_W, reg, rm);
}
static inline void vmc_store(struct vmc_emit *e, struct vmc_rm rm, unsigned reg)
{
    vmc_emit(e, VMC_OP(0x89) | VMC_OP_W, reg, rm);
}
static inline void vmc_lea(struct vmc_emit *e, unsigned reg, struct vmc_rm rm)
{
    vmc_emit(e, VMC_OP(0x8d) | VMC_OP_W, reg, rm);
}
static inline void vmc_store_imm32(struct vmc_emit *e, struct vmc_rm rm, uint32_t imm) /* 4 bytes */
{
    vmc_emit(e, VMC_OP(0xc7), 0, rm);
    vmc_put32(e, imm);
}
static inline void vmc_store_imm64(struct vmc_emit *e, struct vmc_rm rm, int32_t imm) /* sign-extended to 8 */
{
    vmc_emit(e, VMC_OP(0xc7) | VMC_OP_W, 0, rm);
    vmc_put32(e, (uint32_t)imm);
}

/* Jumps and calls to a place that is known, or that is filled in later: the place of their four bytes. */
static inline uint8_t *vmc_jump_later(struct vmc_emit *e)
{
    vmc_put8(e, 0xe9);
    vmc_put32(e, 0);
    return e->p - 4;
}
static inline uint8_t *vmc_jcc_later(struct vmc_emit *e, unsigned cond)
{
    vmc_put8(e, 0x0f);
    vmc_put8(e, 0x80 | cond);
    vmc_put32(e, 0);
    return e->p - 4;
}
static inline void vmc_patch(uint8_t *at, const uint8_t *target)
{
    int32_t distance = (int32_t)(target - (at + 4));
    memcpy(at, &distance, 4);
}
static inline void vmc_jump(struct vmc_emit *e, const uint8_t *target)
{
    vmc_patch(vmc_jump_later(e), target);
}
static inline void vmc_call(struct vmc_emit *e, const uint8_t *target)
{
    e->r10_holds = VMC_R10_UNKNOWN;
    vmc_put8(e, 0xe8);
    vmc_put32(e, 0);
    vmc_patch(e->p - 4, target);
}
