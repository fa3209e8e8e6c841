/*
 * MUL, IMUL, DIV, IDIV, the sign extensions CBW..CQO, and the decimal adjustments of 16- and 32-bit code.
 *
 * Multiplications define CF and OF; the other flags are undefined and left as they were.
 */
#include "cpu/soft/exec/integer.h"

#define OP(name) static void op_##name(VmcCpu *c, const struct vmc_uop *u)

typedef unsigned __int128 T128;
typedef __int128 S128;
#define WIDER8(t)  t##16
#define WIDER16(t) t##32
#define WIDER32(t) t##64
#define WIDER64(t) t##128

#define RAX VMC_GPR(VMC_RAX)
#define RDX VMC_GPR(VMC_RDX)

/* The double-width product of 8-bit operands is AX, of wider ones RDX:RAX. */
#define PUT_PRODUCT8(lo, hi)  R16(c, RAX) = (uint16_t)((lo) | (hi) << 8)
#define PUT_PRODUCT16(lo, hi) PUT16(c, RAX, lo), PUT16(c, RDX, hi)
#define PUT_PRODUCT32(lo, hi) PUT32(c, RAX, lo), PUT32(c, RDX, hi)
#define PUT_PRODUCT64(lo, hi) PUT64(c, RAX, lo), PUT64(c, RDX, hi)

#define MULTIPLY(BITS, source)                                                                               \
    {                                                                                                        \
        WIDER##BITS(T) p = (WIDER##BITS(T))GET##BITS(c, RAX) * (T##BITS)(source);                            \
        T##BITS lo = (T##BITS)p, hi = (T##BITS)(p >> BITS);                                                  \
        PUT_PRODUCT##BITS(lo, hi);                                                                           \
        vmc_set_carry_overflow(c, hi != 0, hi != 0);                                                         \
    }
#define MULTIPLY_SIGNED(BITS, source)                                                                        \
    {                                                                                                        \
        WIDER##BITS(S) p = (WIDER##BITS(S))(S##BITS)GET##BITS(c, RAX) * (S##BITS)(source);                   \
        T##BITS lo = (T##BITS)p, hi = (T##BITS)(p >> BITS);                                                  \
        PUT_PRODUCT##BITS(lo, hi);                                                                           \
        vmc_set_carry_overflow(c, p != (S##BITS)p, p != (S##BITS)p);                                         \
    }

#define DEFINE_MUL(BITS)                                                                                     \
    OP(mul_r_##BITS)                                                                                         \
    {                                                                                                        \
        MULTIPLY(BITS, GET##BITS(c, u->rm));                                                                 \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(mul_m_##BITS)                                                                                         \
    {                                                                                                        \
        T##BITS b = vmc_ld##BITS(c, u, vmc_ea(c, u));                                                        \
        MULTIPLY(BITS, b);                                                                                   \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(imul_r_##BITS)                                                                                        \
    {                                                                                                        \
        MULTIPLY_SIGNED(BITS, GET##BITS(c, u->rm));                                                          \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(imul_m_##BITS)                                                                                        \
    {                                                                                                        \
        T##BITS b = vmc_ld##BITS(c, u, vmc_ea(c, u));                                                        \
        MULTIPLY_SIGNED(BITS, b);                                                                            \
        VMC_NEXT(c, u);                                                                                      \
    }
FOR_WIDTHS(DEFINE_MUL)

/* IMUL r, r/m and IMUL r, r/m, imm. */
#define TRUNCATING_MULTIPLY(BITS, x, y)                                                                      \
    {                                                                                                        \
        WIDER##BITS(S) p = (WIDER##BITS(S))(S##BITS)(x) * (S##BITS)(y);                                      \
        PUT##BITS(c, u->reg, p);                                                                             \
        vmc_set_carry_overflow(c, p != (S##BITS)p, p != (S##BITS)p);                                         \
    }
#define DEFINE_IMUL(BITS)                                                                                    \
    OP(imul2_r_##BITS)                                                                                       \
    {                                                                                                        \
        TRUNCATING_MULTIPLY(BITS, GET##BITS(c, u->reg), GET##BITS(c, u->rm));                                \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(imul2_m_##BITS)                                                                                       \
    {                                                                                                        \
        T##BITS b = vmc_ld##BITS(c, u, vmc_ea(c, u));                                                        \
        TRUNCATING_MULTIPLY(BITS, GET##BITS(c, u->reg), b);                                                  \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(imul3_r_##BITS)                                                                                       \
    {                                                                                                        \
        TRUNCATING_MULTIPLY(BITS, GET##BITS(c, u->rm), u->imm);                                              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(imul3_m_##BITS)                                                                                       \
    {                                                                                                        \
        T##BITS b = vmc_ld##BITS(c, u, vmc_ea(c, u));                                                        \
        TRUNCATING_MULTIPLY(BITS, b, u->imm);                                                                \
        VMC_NEXT(c, u);                                                                                      \
    }
FOR_WIDE(DEFINE_IMUL)

/* #DE for a divisor of zero and for a quotient that does not fit. Flags are undefined: unchanged. */
#define GET_DIVIDEND8()  R16(c, RAX)
#define GET_DIVIDEND16() ((T32)GET16(c, RDX) << 16 | GET16(c, RAX))
#define GET_DIVIDEND32() ((T64)GET32(c, RDX) << 32 | GET32(c, RAX))
#define GET_DIVIDEND64() ((T128)GET64(c, RDX) << 64 | GET64(c, RAX))

_Noreturn VMC_NOINLINE static void divide_error(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    vmc_fault(c, EXC_DE);
}

#define DIVIDE(BITS, divisor)                                                                                \
    {                                                                                                        \
        T##BITS b = (divisor);                                                                               \
        WIDER##BITS(T) a = GET_DIVIDEND##BITS(), q;                                                          \
        if (b == 0 || (T##BITS)(a >> BITS) >= b)                                                             \
            divide_error(c, u);                                                                              \
        q = a / b;                                                                                           \
        T##BITS lo = (T##BITS)q, hi = (T##BITS)(a % b);                                                      \
        PUT_PRODUCT##BITS(lo, hi);                                                                           \
    }
/* The one quotient C cannot compute is the most negative dividend by -1; it does not fit anyway. */
#define DIVIDE_SIGNED(BITS, divisor)                                                                         \
    {                                                                                                        \
        S##BITS b = (S##BITS)(divisor);                                                                      \
        WIDER##BITS(S) a = (WIDER##BITS(S))GET_DIVIDEND##BITS(), q;                                          \
        if (b == 0 || (b == -1 && a == (WIDER##BITS(S))((WIDER##BITS(T))1 << (2 * BITS - 1))))               \
            divide_error(c, u);                                                                              \
        q = (WIDER##BITS(S))(a / b);                                                                         \
        if (q != (S##BITS)q)                                                                                 \
            divide_error(c, u);                                                                              \
        T##BITS lo = (T##BITS)q, hi = (T##BITS)(a % b);                                                      \
        PUT_PRODUCT##BITS(lo, hi);                                                                           \
    }
#define DEFINE_DIV(BITS)                                                                                     \
    OP(div_r_##BITS)                                                                                         \
    {                                                                                                        \
        DIVIDE(BITS, GET##BITS(c, u->rm));                                                                   \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(div_m_##BITS)                                                                                         \
    {                                                                                                        \
        DIVIDE(BITS, vmc_ld##BITS(c, u, vmc_ea(c, u)));                                                      \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(idiv_r_##BITS)                                                                                        \
    {                                                                                                        \
        DIVIDE_SIGNED(BITS, GET##BITS(c, u->rm));                                                            \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(idiv_m_##BITS)                                                                                        \
    {                                                                                                        \
        DIVIDE_SIGNED(BITS, vmc_ld##BITS(c, u, vmc_ea(c, u)));                                               \
        VMC_NEXT(c, u);                                                                                      \
    }
FOR_WIDTHS(DEFINE_DIV)

#define DEFINE_EXTEND(BITS, HALF)                                                                            \
    OP(extend_##BITS) /* CBW, CWDE, CDQE */                                                                  \
    {                                                                                                        \
        PUT##BITS(c, RAX, (S##BITS)(S##HALF)GET##HALF(c, RAX));                                              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(split_##BITS) /* CWD, CDQ, CQO */                                                                     \
    {                                                                                                        \
        PUT##BITS(c, RDX, (S##BITS)GET##BITS(c, RAX) >> (BITS - 1));                                         \
        VMC_NEXT(c, u);                                                                                      \
    }
DEFINE_EXTEND(16, 8)
DEFINE_EXTEND(32, 16)
DEFINE_EXTEND(64, 32)

/* ---- decimal and ASCII adjustment (SDM vol. 2: DAA, DAS, AAA, AAS, AAM, AAD) ---- */

static void set_result_flags(VmcCpu *c, uint8_t al, uint64_t others)
{
    vmc_set_arith(c, others | (al == 0 ? FL_ZF : 0) | (al & 0x80 ? FL_SF : 0) |
                         (__builtin_parity(al) ? 0 : FL_PF));
}

VMC_NOINLINE static void decimal_adjust(VmcCpu *c, bool subtract)
{
    uint64_t flags = vmc_arith_flags(c), out = 0;
    uint8_t al = R8(c, RAX), old = al;
    bool carry = flags & FL_CF;
    if ((al & 0xf) > 9 || (flags & FL_AF)) {
        if (subtract ? carry || old < 6 : carry || old > 0xf9)
            out |= FL_CF;
        al = (uint8_t)(subtract ? al - 6 : al + 6);
        out |= FL_AF;
    }
    if (old > 0x99 || carry) {
        al = (uint8_t)(subtract ? al - 0x60 : al + 0x60);
        out |= FL_CF;
    } else if (!subtract) {
        out &= ~FL_CF;
    }
    R8(c, RAX) = al;
    set_result_flags(c, al, out);
}

VMC_NOINLINE static void ascii_adjust(VmcCpu *c, bool subtract)
{
    uint64_t out = 0;
    if ((R8(c, RAX) & 0xf) > 9 || (vmc_arith_flags(c) & FL_AF)) {
        R16(c, RAX) = (uint16_t)(subtract ? R16(c, RAX) - 0x106 : R16(c, RAX) + 0x106);
        out = FL_AF | FL_CF;
    }
    R8(c, RAX) &= 0xf;
    set_result_flags(c, R8(c, RAX), out);
}

OP(daa)
{
    decimal_adjust(c, false);
    VMC_NEXT(c, u);
}
OP(das)
{
    decimal_adjust(c, true);
    VMC_NEXT(c, u);
}
OP(aaa)
{
    ascii_adjust(c, false);
    VMC_NEXT(c, u);
}
OP(aas)
{
    ascii_adjust(c, true);
    VMC_NEXT(c, u);
}
OP(aam)
{
    uint8_t al = R8(c, RAX), base = (uint8_t)u->imm;
    if (base == 0)
        divide_error(c, u);
    R16(c, RAX) = (uint16_t)((al / base) << 8 | al % base);
    set_result_flags(c, R8(c, RAX), 0);
    VMC_NEXT(c, u);
}
OP(aad)
{
    R16(c, RAX) = (uint8_t)(R8(c, RAX) + R8(c, RAX + 1) * (uint8_t)u->imm);
    set_result_flags(c, R8(c, RAX), 0);
    VMC_NEXT(c, u);
}

#define BY_WIDTH(name)                                                                                       \
    {                                                                                                        \
        op_##name##_8, op_##name##_16, op_##name##_32, op_##name##_64                                        \
    }
#define BY_WIDE(name)                                                                                        \
    {                                                                                                        \
        op_##name##_16, op_##name##_32, op_##name##_64                                                       \
    }
/* Group 3 /4../7: [operation][memory] */
static const vmc_op group3[4][2][4] = {
    {BY_WIDTH(mul_r), BY_WIDTH(mul_m)},
    {BY_WIDTH(imul_r), BY_WIDTH(imul_m)},
    {BY_WIDTH(div_r), BY_WIDTH(div_m)},
    {BY_WIDTH(idiv_r), BY_WIDTH(idiv_m)},
};
static const vmc_op imul2[2][3] = {BY_WIDE(imul2_r), BY_WIDE(imul2_m)};
static const vmc_op imul3[2][3] = {BY_WIDE(imul3_r), BY_WIDE(imul3_m)};
static const vmc_op extend[3] = BY_WIDE(extend), split[3] = BY_WIDE(split);

static enum vmc_bound legacy_only(const struct vmc_insn *d, struct vmc_uop *u, vmc_op fn)
{
    u->fn = fn;
    return d->mode == VMC_MODE_64 ? VMC_BIND_UD : VMC_BIND_OK;
}

enum vmc_bound vmc_bind_muldiv(const struct vmc_insn *d, struct vmc_uop *u)
{
    unsigned op = d->opcode, ext = d->modrm >> 3 & 7;
    unsigned wide = vmc_width_index(d, false) - 1;
    if (d->map == VMC_MAP_0F && op == 0xaf) {
        u->fn = imul2[d->is_mem][wide];
        return VMC_BIND_OK;
    }
    if (d->map != VMC_MAP_1)
        return VMC_BIND_NO;
    switch (op) {
    case 0x69:
    case 0x6b:
        u->fn = imul3[d->is_mem][wide];
        return VMC_BIND_OK;
    case 0x98:
        u->fn = extend[wide];
        return VMC_BIND_OK;
    case 0x99:
        u->fn = split[wide];
        return VMC_BIND_OK;
    case 0xf6:
    case 0xf7:
        if (ext < 4)
            return VMC_BIND_NO;
        if (op == 0xf6)
            u->rm = vmc_gpr8(d, d->rm);
        u->fn = group3[ext - 4][d->is_mem][vmc_width_index(d, op == 0xf6)];
        return VMC_BIND_OK;
    case 0x27:
        return legacy_only(d, u, op_daa);
    case 0x2f:
        return legacy_only(d, u, op_das);
    case 0x37:
        return legacy_only(d, u, op_aaa);
    case 0x3f:
        return legacy_only(d, u, op_aas);
    case 0xd4:
        return legacy_only(d, u, op_aam);
    case 0xd5:
        return legacy_only(d, u, op_aad);
    }
    return VMC_BIND_NO;
}
