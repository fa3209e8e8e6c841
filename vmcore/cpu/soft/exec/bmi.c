/*
 * Bit manipulation: BMI1, BMI2, LZCNT and TZCNT, MOVBE.
 *
 * The VEX-encoded ones have a third operand in u->x: a general register's offset. They exist in protected
 * mode only, which the guard asks at run time, as real-mode and virtual-8086 code share blocks with 16-bit
 * protected code. Flags that an instruction leaves undefined are those that were easiest.
 *
 * Source: Intel SDM vol. 2, each instruction; table 2-29 (type 13: VEX instructions on general registers).
 */
#include "cpu/soft/exec/extensions.h"
#include "cpu/soft/exec/operand.h"

#define OP(name) static void op_##name(VmcCpu *c, const struct vmc_uop *u)

#define VEX_GUARD_SLOW(S)                                                                                    \
    if (c->fx_guard & FXG_NO_VEX)                                                                            \
    vmc_avx_refuse(c, u)
#define VEX_GUARD_FAST(S)                                                                                    \
    if (vmc_unlikely(c->fx_guard & FXG_NO_VEX))                                                              \
    FAST_LEAVE(S)
#define NO_GUARD_SLOW(S)
#define NO_GUARD_FAST(S)

/* A handler for a register and one for a memory operand `s` of width BITS; DO is a macro DO(BITS) that ends
 * in the result. */
#define BODY_OPERAND(P, S, BITS, GUARD, DO)                                                                  \
    GUARD##_##P(S);                                                                                          \
    T##BITS s = P##_LD(BITS, S, P##_EA(S));                                                                  \
    DO(BITS);
#define DEFINE_OPERAND(NAME, BITS, GUARD, DO)                                                                \
    OP(NAME##_r_##BITS)                                                                                      \
    {                                                                                                        \
        GUARD##_SLOW(unused);                                                                                \
        T##BITS s = GET##BITS(c, u->rm);                                                                     \
        DO(BITS);                                                                                            \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    MEM_OP(NAME##_m_##BITS, BODY_OPERAND, BITS, GUARD, DO)

#define X(BITS)            GET##BITS(c, u->x)
#define COUNT(BITS, value) ((unsigned)(value) & (BITS - 1))
#define SIGN_FLAG(BITS, r) ((r) >> (BITS - 1) ? FL_SF : 0)
#define ZERO_FLAG(r)       ((r) == 0 ? FL_ZF : 0)
#define CARRY_FLAG(yes)    ((yes) ? FL_CF : 0)

/* ---- BMI1 ---- */

#define DO_ANDN(BITS)                                                                                        \
    T##BITS r = (T##BITS)(~X(BITS) & s);                                                                     \
    PUT##BITS(c, u->reg, r);                                                                                 \
    SET_CC(CC_LOGIC, BITS, r, 0)

/* Start in bits 7:0 of the third operand, length in 15:8. */
#define DO_BEXTR(BITS)                                                                                       \
    unsigned start_ = (uint8_t)X(BITS), length_ = (uint8_t)(X(BITS) >> 8);                                   \
    T##BITS r = start_ < BITS ? s >> start_ : 0;                                                             \
    if (length_ < BITS)                                                                                      \
        r &= ((T##BITS)1 << length_) - 1;                                                                    \
    PUT##BITS(c, u->reg, r);                                                                                 \
    vmc_set_arith(c, ZERO_FLAG(r))

/* The lowest bit that is set: their destination is the VEX register. */
#define LOWEST(BITS, EXPR, FLAGS)                                                                            \
    T##BITS r = (T##BITS)(EXPR);                                                                             \
    uint64_t flags_ = (FLAGS) | SIGN_FLAG(BITS, r);                                                          \
    PUT##BITS(c, u->x, r);                                                                                   \
    vmc_set_arith(c, flags_)
#define DO_BLSR(BITS)   LOWEST(BITS, s &(s - 1), ZERO_FLAG(r) | CARRY_FLAG(s == 0))
#define DO_BLSMSK(BITS) LOWEST(BITS, s ^ (s - 1), CARRY_FLAG(s == 0))
#define DO_BLSI(BITS)   LOWEST(BITS, s & -s, ZERO_FLAG(r) | CARRY_FLAG(s != 0))

#define DO_COUNT(BITS, EXPR)                                                                                 \
    unsigned r = s ? (unsigned)(EXPR) : BITS;                                                                \
    vmc_set_arith(c, CARRY_FLAG(s == 0) | ZERO_FLAG(r));                                                     \
    PUT##BITS(c, u->reg, r)
#define DO_TZCNT(BITS) DO_COUNT(BITS, __builtin_ctzll(s))
#define DO_LZCNT(BITS) DO_COUNT(BITS, __builtin_clzll(s) - (64 - BITS))

/* ---- BMI2: no flags, but for BZHI ---- */

#define DO_BZHI(BITS)                                                                                        \
    unsigned n_ = (uint8_t)X(BITS);                                                                          \
    T##BITS r = n_ < BITS ? s & (((T##BITS)1 << n_) - 1) : s;                                                \
    PUT##BITS(c, u->reg, r);                                                                                 \
    vmc_set_arith(c, ZERO_FLAG(r) | SIGN_FLAG(BITS, r) | CARRY_FLAG(n_ >= BITS))

#define DO_SHLX(BITS) PUT##BITS(c, u->reg, s << COUNT(BITS, X(BITS)))
#define DO_SHRX(BITS) PUT##BITS(c, u->reg, s >> COUNT(BITS, X(BITS)))
#define DO_SARX(BITS) PUT##BITS(c, u->reg, (S##BITS)s >> COUNT(BITS, X(BITS)))
#define DO_RORX(BITS)                                                                                        \
    unsigned n_ = COUNT(BITS, u->imm);                                                                       \
    PUT##BITS(c, u->reg, s >> n_ | s << COUNT(BITS, -n_))

#define DO_BY_MASK(BITS, insn)                                                                               \
    T##BITS r;                                                                                               \
    __asm__(insn " %2, %1, %0" : "=r"(r) : "r"(X(BITS)), "r"(s));                                            \
    PUT##BITS(c, u->reg, r)
#define DO_PDEP(BITS) DO_BY_MASK(BITS, "pdep")
#define DO_PEXT(BITS) DO_BY_MASK(BITS, "pext")

/* Both destinations the same: the upper half stays. */
#define WIDER32 uint64_t
#define WIDER64 unsigned __int128
#define DO_MULX(BITS)                                                                                        \
    WIDER##BITS r = (WIDER##BITS)s * GET##BITS(c, VMC_GPR(VMC_RDX));                                         \
    PUT##BITS(c, u->x, r);                                                                                   \
    PUT##BITS(c, u->reg, r >> BITS)

#define FOR_VEX(M)                                                                                           \
    M(ANDN) M(BEXTR) M(BLSR) M(BLSMSK) M(BLSI) M(BZHI) M(SHLX) M(SHRX) M(SARX) M(RORX) M(PDEP) M(PEXT) M(MULX)
#define DEFINE_VEX(NAME)                                                                                     \
    DEFINE_OPERAND(NAME, 32, VEX_GUARD, DO_##NAME) DEFINE_OPERAND(NAME, 64, VEX_GUARD, DO_##NAME)
FOR_VEX(DEFINE_VEX)

#define DEFINE_COUNTS(BITS)                                                                                  \
    DEFINE_OPERAND(TZCNT, BITS, NO_GUARD, DO_TZCNT) DEFINE_OPERAND(LZCNT, BITS, NO_GUARD, DO_LZCNT)
FOR_WIDE(DEFINE_COUNTS)

/* ---- MOVBE ---- */

#define BODY_MOVBE_LOAD(P, S, BITS)                                                                          \
    T##BITS v = P##_LD(BITS, S, P##_EA(S));                                                                  \
    PUT##BITS(c, u->reg, __builtin_bswap##BITS(v));
#define BODY_MOVBE_STORE(P, S, BITS) P##_ST(BITS, S, P##_EA(S), __builtin_bswap##BITS(GET##BITS(c, u->reg)));
#define DEFINE_MOVBE(BITS)                                                                                   \
    MEM_OP(movbe_rm_##BITS, BODY_MOVBE_LOAD, BITS) MEM_OP(movbe_mr_##BITS, BODY_MOVBE_STORE, BITS)
FOR_WIDE(DEFINE_MOVBE)

/* ---- binding ---- */

#define ENTRY(NAME, BITS)                                                                                    \
    {                                                                                                        \
        op_##NAME##_r_##BITS, op_##NAME##_m_##BITS                                                           \
    }
/* [64 bits][memory] */
#define WIDE(NAME)                                                                                           \
    {                                                                                                        \
        ENTRY(NAME, 32), ENTRY(NAME, 64)                                                                     \
    }
typedef vmc_op handlers[2][2];

enum pp { PP_NONE, PP_66, PP_F3, PP_F2 };

static enum pp pp_of(const struct vmc_insn *d)
{
    return d->rep == 0xf3 ? PP_F3 : d->rep == 0xf2 ? PP_F2 : d->prefix66 ? PP_66 : PP_NONE;
}

static enum vmc_bound use(const struct vmc_insn *d, struct vmc_uop *u, const handlers table)
{
    u->fn = table[d->opsize == 8][d->is_mem];
    return u->fn ? VMC_BIND_OK : VMC_BIND_UD;
}

/* 0F38 F2, F3, F5 to F7 and 0F3A F0. */
static enum vmc_bound bind_vex(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u)
{
    static const handlers lowest[8] = {[1] = WIDE(BLSR), [2] = WIDE(BLSMSK), [3] = WIDE(BLSI)};
    static const struct {
        uint32_t feature;
        handlers handlers;
    } table[3][4] = {
        {{VMC_HAS_BMI2, WIDE(BZHI)}, {0}, {VMC_HAS_BMI2, WIDE(PEXT)}, {VMC_HAS_BMI2, WIDE(PDEP)}},
        {{0}, {0}, {0}, {VMC_HAS_BMI2, WIDE(MULX)}},
        {{VMC_HAS_BMI1, WIDE(BEXTR)},
         {VMC_HAS_BMI2, WIDE(SHLX)},
         {VMC_HAS_BMI2, WIDE(SARX)},
         {VMC_HAS_BMI2, WIDE(SHRX)}},
    };
    static const handlers andn = WIDE(ANDN), rorx = WIDE(RORX);
    unsigned op = d->opcode, pp = pp_of(d);

    if (d->vex_l)
        return VMC_BIND_UD;
    if (d->map == VMC_MAP_0F3A)
        return features & VMC_HAS_BMI2 && pp == PP_F2 && !d->vvvv ? use(d, u, rorx) : VMC_BIND_UD;
    if (op >= 0xf5)
        return features & table[op - 0xf5][pp].feature ? use(d, u, table[op - 0xf5][pp].handlers)
                                                       : VMC_BIND_UD;
    if (pp != PP_NONE || !(features & VMC_HAS_BMI1))
        return VMC_BIND_UD;
    return use(d, u, op == 0xf2 ? andn : lowest[d->modrm >> 3 & 7]);
}

static enum vmc_bound bind_movbe(const struct vmc_insn *d, struct vmc_uop *u)
{
    static const vmc_op load[3] = {op_movbe_rm_16, op_movbe_rm_32, op_movbe_rm_64},
                        store[3] = {op_movbe_mr_16, op_movbe_mr_32, op_movbe_mr_64};

    if (!d->is_mem || d->rep)
        return VMC_BIND_UD;
    u->fn = (d->opcode & 1 ? store : load)[vmc_width_index(d, false) - 1];
    return VMC_BIND_OK;
}

static enum vmc_bound bind_count(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u)
{
    static const vmc_op tzcnt[2][3] = {{op_TZCNT_r_16, op_TZCNT_r_32, op_TZCNT_r_64},
                                       {op_TZCNT_m_16, op_TZCNT_m_32, op_TZCNT_m_64}},
                        lzcnt[2][3] = {{op_LZCNT_r_16, op_LZCNT_r_32, op_LZCNT_r_64},
                                       {op_LZCNT_m_16, op_LZCNT_m_32, op_LZCNT_m_64}};
    bool leading = d->opcode & 1;

    if (d->rep != 0xf3 || !(features & (leading ? VMC_HAS_LZCNT : VMC_HAS_BMI1)))
        return VMC_BIND_NO;
    u->fn = (leading ? lzcnt : tzcnt)[d->is_mem][vmc_width_index(d, false) - 1];
    return VMC_BIND_OK;
}

enum vmc_bound vmc_bind_bmi(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u)
{
    unsigned op = d->opcode;

    if (d->vex) {
        bool ours = d->map == VMC_MAP_0F38 ? op == 0xf2 || op == 0xf3 || (op >= 0xf5 && op <= 0xf7)
                                           : d->map == VMC_MAP_0F3A && op == 0xf0;
        if (!ours)
            return VMC_BIND_NO;
        u->x = VMC_GPR(vmc_insn_vvvv(d));
        return bind_vex(d, features, u);
    }
    if (d->map == VMC_MAP_0F && (op == 0xbc || op == 0xbd))
        return bind_count(d, features, u);
    if (d->map != VMC_MAP_0F38)
        return VMC_BIND_NO;
    bool movbe = (op == 0xf0 || op == 0xf1) && d->rep != 0xf2 && features & VMC_HAS_MOVBE;
    return movbe ? bind_movbe(d, u) : VMC_BIND_NO;
}
