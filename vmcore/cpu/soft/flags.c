/* Lazy flags when the producing operation is known only at run time (flags.h). */
#include "cpu/soft/flags.h"

/* Expands `stmt` with OP a constant in each case, so that the inline evaluators fold. */
#define FOR_SIZES(base, stmt)                                                                                \
    case (base) + 0: {                                                                                       \
        enum { OP = (base) + 0 };                                                                            \
        stmt;                                                                                                \
    }                                                                                                        \
    case (base) + 1: {                                                                                       \
        enum { OP = (base) + 1 };                                                                            \
        stmt;                                                                                                \
    }                                                                                                        \
    case (base) + 2: {                                                                                       \
        enum { OP = (base) + 2 };                                                                            \
        stmt;                                                                                                \
    }                                                                                                        \
    case (base) + 3: {                                                                                       \
        enum { OP = (base) + 3 };                                                                            \
        stmt;                                                                                                \
    }
/* clang-format off */
#define FOR_OPS(stmt)                                                                                        \
    FOR_SIZES(CC_ADD, stmt) FOR_SIZES(CC_ADC, stmt) FOR_SIZES(CC_SUB, stmt) FOR_SIZES(CC_SBB, stmt)          \
    FOR_SIZES(CC_LOGIC, stmt) FOR_SIZES(CC_INC, stmt) FOR_SIZES(CC_DEC, stmt) FOR_SIZES(CC_SHL, stmt)        \
    FOR_SIZES(CC_SAR, stmt)
/* clang-format on */

/* AF: the carry out of bit 3. Undefined after logic operations and shifts; 0 here, as real CPUs do for logic.
 */
VMC_INLINE uint64_t auxiliary(const VmcCpu *c, unsigned op)
{
    uint64_t dst = c->cc_dst, src = c->cc_src;
    switch (op & ~3u) {
    case CC_ADD:
        return ((dst - src) ^ src ^ dst) & FL_AF;
    case CC_ADC:
        return ((dst - src - c->cc_src2) ^ src ^ dst) & FL_AF;
    case CC_SUB:
        return ((dst + src) ^ src ^ dst) & FL_AF;
    case CC_SBB:
        return ((dst + src + c->cc_src2) ^ src ^ dst) & FL_AF;
    case CC_INC:
        return (dst & 0xf) == 0 ? FL_AF : 0;
    case CC_DEC:
        return (dst & 0xf) == 0xf ? FL_AF : 0;
    }
    return 0;
}

VMC_INLINE uint64_t all_flags(const VmcCpu *c, unsigned op)
{
    return (vmc_cc_carry(c, op) ? FL_CF : 0) | (vmc_cc_parity(c, op) ? FL_PF : 0) | auxiliary(c, op) |
           (vmc_cc_zero(c, op) ? FL_ZF : 0) | (vmc_cc_negative(c, op) ? FL_SF : 0) |
           (vmc_cc_overflow(c, op) ? FL_OF : 0);
}

static uint64_t base_flags(const VmcCpu *c)
{
    switch (c->cc_op & CC_OP) {
        FOR_OPS(return all_flags(c, OP))
    default:
        return c->cc_src & FL_ARITH;
    }
}

uint64_t vmc_arith_flags(const VmcCpu *c)
{
    uint64_t flags = base_flags(c);
    if (c->cc_op & CC_CF_SET)
        flags = (flags & ~FL_CF) | (c->cc_op & CC_CF ? FL_CF : 0);
    if (c->cc_op & CC_OF_SET)
        flags = (flags & ~FL_OF) | (c->cc_op & CC_OF ? FL_OF : 0);
    return flags;
}

bool vmc_flag_carry(const VmcCpu *c)
{
    if (c->cc_op & CC_CF_SET)
        return c->cc_op & CC_CF;
    switch (c->cc_op & CC_OP) {
        FOR_OPS(return vmc_cc_carry(c, OP))
    default:
        return c->cc_src & FL_CF;
    }
}

/* A condition from the flags themselves. */
static bool condition_of(uint64_t flags, unsigned cond)
{
    bool r = false, less = !(flags & FL_SF) != !(flags & FL_OF);
    switch (cond >> 1) {
    case 0:
        r = flags & FL_OF;
        break;
    case 1:
        r = flags & FL_CF;
        break;
    case 2:
        r = flags & FL_ZF;
        break;
    case 3:
        r = flags & (FL_CF | FL_ZF);
        break;
    case 4:
        r = flags & FL_SF;
        break;
    case 5:
        r = flags & FL_PF;
        break;
    case 6:
        r = less;
        break;
    case 7:
        r = less || (flags & FL_ZF);
        break;
    }
    return r ^ (cond & 1);
}

bool vmc_condition(const VmcCpu *c, unsigned cond)
{
    if (c->cc_op & (CC_CF_SET | CC_OF_SET))
        return condition_of(vmc_arith_flags(c), cond);
    switch (c->cc_op) {
        FOR_OPS(return vmc_cc_condition(c, OP, cond))
    default:
        return vmc_cc_condition(c, CC_FLAGS, cond);
    }
}

void vmc_cc_settle(VmcCpu *c)
{
    unsigned raw = c->cc_op, size = raw & 3;
    if (!(raw & CC_RAW))
        return;
    uint64_t mask = vmc_cc_mask(size), sign = vmc_cc_sign(size);
    uint64_t dst = c->cc_dst & mask, src = c->cc_src & mask, carry = c->cc_src & 1;
    c->cc_dst = dst;
    switch (raw & CC_RAW_KIND) {
    case CC_RAW_ADD:
        c->cc_op = CC_ADD | size, c->cc_src = src;
        break;
    case CC_RAW_SUB:
        c->cc_op = CC_SUB | size, c->cc_src = src;
        break;
    case CC_RAW_CMP:
        c->cc_op = CC_SUB | size, c->cc_src = src, c->cc_dst = (dst - src) & mask;
        break;
    case CC_RAW_NEG:
        c->cc_op = CC_SUB | size, c->cc_src = -dst & mask;
        break;
    case CC_RAW_INC:
        c->cc_op = CC_INC | size, c->cc_src = carry;
        break;
    case CC_RAW_DEC:
        c->cc_op = CC_DEC | size, c->cc_src = carry;
        break;
    case CC_RAW_SHL:
        c->cc_op = CC_SHL | size, c->cc_src = carry ? sign : 0;
        break;
    case CC_RAW_SHR:
        c->cc_op = CC_SAR | size, c->cc_src = (dst << 1 & sign) | carry;
        break;
    case CC_RAW_SAR:
        c->cc_op = CC_SAR | size, c->cc_src = (dst & sign) | carry;
        break;
    case CC_RAW_HOST:
        c->cc_op = CC_FLAGS, c->cc_src = (c->cc_src & (FL_ARITH & 0xff)) | (c->cc_src & 0x100 ? FL_OF : 0);
        break;
    default:
        c->cc_op = CC_LOGIC | size, c->cc_src = 0;
    }
}
