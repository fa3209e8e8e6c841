/*
 * Lazy flags (state.h, enum vmc_cc): asked for here, one flag, a condition or all of them.
 *
 * The evaluators take the operation as a parameter and are always inlined: with a constant operation, as in
 * the conditional jumps whose flag producer stands in the same block, they fold to two or three instructions.
 */
#pragma once

#include "cpu/soft/state.h"

#define VMC_INLINE static inline __attribute__((always_inline))

/* The first operand of an addition or subtraction, worked out from result and second operand, cut to size. */
VMC_INLINE uint64_t vmc_cc_mask(unsigned op)
{
    return ~0ull >> (64 - (8u << (op & 3)));
}
VMC_INLINE uint64_t vmc_cc_sign(unsigned op)
{
    return 1ull << ((8u << (op & 3)) - 1);
}

VMC_INLINE bool vmc_cc_carry(const VmcCpu *c, unsigned op)
{
    uint64_t dst = c->cc_dst, src = c->cc_src, mask = vmc_cc_mask(op);
    switch (op & ~3u) {
    case CC_FLAGS:
        return src & FL_CF;
    case CC_ADD:
        return dst < src;
    case CC_ADC:
        return c->cc_src2 ? dst <= src : dst < src;
    case CC_SUB:
        return ((dst + src) & mask) < src;
    case CC_SBB: {
        uint64_t a = (dst + src + c->cc_src2) & mask;
        return c->cc_src2 ? a <= src : a < src;
    }
    case CC_LOGIC:
        return false;
    case CC_INC:
    case CC_DEC:
        return src;
    case CC_SHL:
        return src & vmc_cc_sign(op);
    case CC_SAR:
        return src & 1;
    }
    return false;
}

VMC_INLINE bool vmc_cc_overflow(const VmcCpu *c, unsigned op)
{
    uint64_t dst = c->cc_dst, src = c->cc_src, sign = vmc_cc_sign(op), a;
    switch (op & ~3u) {
    case CC_FLAGS:
        return src & FL_OF;
    case CC_ADD:
        a = dst - src;
        return (a ^ dst) & (src ^ dst) & sign;
    case CC_ADC:
        a = dst - src - c->cc_src2;
        return (a ^ dst) & (src ^ dst) & sign;
    case CC_SUB:
        a = dst + src;
        return (a ^ src) & (a ^ dst) & sign;
    case CC_SBB:
        a = dst + src + c->cc_src2;
        return (a ^ src) & (a ^ dst) & sign;
    case CC_LOGIC:
        return false;
    case CC_INC:
        return dst == sign;
    case CC_DEC:
        return dst == sign - 1;
    case CC_SHL:
    case CC_SAR:
        return (dst ^ src) & sign;
    }
    return false;
}

VMC_INLINE bool vmc_cc_zero(const VmcCpu *c, unsigned op)
{
    return (op & ~3u) == CC_FLAGS ? (c->cc_src & FL_ZF) != 0 : c->cc_dst == 0;
}
VMC_INLINE bool vmc_cc_negative(const VmcCpu *c, unsigned op)
{
    return (op & ~3u) == CC_FLAGS ? (c->cc_src & FL_SF) != 0 : (c->cc_dst & vmc_cc_sign(op)) != 0;
}
VMC_INLINE bool vmc_cc_parity(const VmcCpu *c, unsigned op)
{
    return (op & ~3u) == CC_FLAGS ? (c->cc_src & FL_PF) != 0 : !__builtin_parity((uint8_t)c->cc_dst);
}

/* Condition code 0..15 (SDM vol. 1 appendix B) after operation `op`. */
VMC_INLINE bool vmc_cc_condition(const VmcCpu *c, unsigned op, unsigned cond)
{
    bool r = false;
    unsigned sh = 64 - (8u << (op & 3));
    if ((op & ~3u) == CC_SUB && cond >= 2) { /* compare the operands themselves */
        uint64_t b = c->cc_src, a = (c->cc_dst + b) & vmc_cc_mask(op);
        switch (cond >> 1) {
        case 1:
            r = a < b;
            return r ^ (cond & 1);
        case 3:
            r = a <= b;
            return r ^ (cond & 1);
        case 6:
            r = (int64_t)(a << sh) < (int64_t)(b << sh);
            return r ^ (cond & 1);
        case 7:
            r = (int64_t)(a << sh) <= (int64_t)(b << sh);
            return r ^ (cond & 1);
        }
    }
    switch (cond >> 1) {
    case 0:
        r = vmc_cc_overflow(c, op);
        break;
    case 1:
        r = vmc_cc_carry(c, op);
        break;
    case 2:
        r = vmc_cc_zero(c, op);
        break;
    case 3:
        r = vmc_cc_carry(c, op) || vmc_cc_zero(c, op);
        break;
    case 4:
        r = vmc_cc_negative(c, op);
        break;
    case 5:
        r = vmc_cc_parity(c, op);
        break;
    case 6:
        r = vmc_cc_negative(c, op) != vmc_cc_overflow(c, op);
        break;
    case 7:
        r = vmc_cc_zero(c, op) || vmc_cc_negative(c, op) != vmc_cc_overflow(c, op);
        break;
    }
    return r ^ (cond & 1);
}

/* The six arithmetic bits as the last flag-setting operation left them. */
uint64_t vmc_arith_flags(const VmcCpu *c);
/* Flags as translated code left them become those of enum vmc_cc. */
void vmc_cc_settle(VmcCpu *c);
/* RFLAGS whole. */
static inline uint64_t vmc_get_rflags(const VmcCpu *c)
{
    return c->eflags | vmc_arith_flags(c);
}
/* The six bits from `flags`; the rest untouched. */
static inline void vmc_set_arith(VmcCpu *c, uint64_t flags)
{
    c->cc_op = CC_FLAGS;
    c->cc_src = flags & FL_ARITH;
}
/* CF, or CF and OF, changed and nothing else. */
static inline void vmc_set_carry(VmcCpu *c, bool carry)
{
    c->cc_op = (c->cc_op & ~(uint32_t)(CC_CF_SET | CC_CF)) | CC_CF_SET | (carry ? CC_CF : 0);
}
static inline void vmc_set_carry_overflow(VmcCpu *c, bool carry, bool overflow)
{
    c->cc_op = (c->cc_op & CC_OP) | CC_CF_SET | CC_OF_SET | (carry ? CC_CF : 0) | (overflow ? CC_OF : 0);
}
/* ZF changed and nothing else. */
static inline void vmc_set_zero(VmcCpu *c, bool zero)
{
    vmc_set_arith(c, (vmc_arith_flags(c) & ~FL_ZF) | (zero ? FL_ZF : 0));
}
/* RFLAGS whole (bit 1 forced); the caller has masked what may not change and calls vmc_soft_update_mode if
 * AC, VM or TF did. */
static inline void vmc_set_rflags(VmcCpu *c, uint64_t flags)
{
    vmc_set_arith(c, flags);
    c->eflags = (flags & ~FL_ARITH) | 2u;
}
bool vmc_flag_carry(const VmcCpu *c);
/* Condition code 0..15 as in Jcc, SETcc, CMOVcc. */
bool vmc_condition(const VmcCpu *c, unsigned cond);
