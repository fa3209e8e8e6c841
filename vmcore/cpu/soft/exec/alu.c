/*
 * ADD OR ADC SBB AND SUB XOR CMP TEST, INC DEC NEG NOT: every width, every form, plain and locked.
 *
 * One template per form; an operation is a macro that computes r from a (first operand) and b and one that
 * records flags.
 */
#include "cpu/soft/exec/integer.h"

/* r from a, b; k is the carry in. */
#define DO_ADD(BITS) r = (T##BITS)(a + b)
#define DO_ADC(BITS) r = (T##BITS)(a + b + k)
#define DO_SUB(BITS) r = (T##BITS)(a - b)
#define DO_SBB(BITS) r = (T##BITS)(a - b - k)
#define DO_AND(BITS) r = (T##BITS)(a & b)
#define DO_OR(BITS)  r = (T##BITS)(a | b)
#define DO_XOR(BITS) r = (T##BITS)(a ^ b)

#define K_ADD 0
#define K_ADC vmc_flag_carry(c)
#define K_SUB 0
#define K_SBB vmc_flag_carry(c)
#define K_AND 0
#define K_OR  0
#define K_XOR 0

#define CC_OF_ADD(BITS) SET_CC(CC_ADD, BITS, r, b)
#define CC_OF_ADC(BITS)                                                                                      \
    do {                                                                                                     \
        SET_CC(CC_ADC, BITS, r, b);                                                                          \
        c->cc_src2 = k;                                                                                      \
    } while (0)
#define CC_OF_SUB(BITS) SET_CC(CC_SUB, BITS, r, b)
#define CC_OF_SBB(BITS)                                                                                      \
    do {                                                                                                     \
        SET_CC(CC_SBB, BITS, r, b);                                                                          \
        c->cc_src2 = k;                                                                                      \
    } while (0)
#define CC_OF_AND(BITS) SET_CC(CC_LOGIC, BITS, r, 0)
#define CC_OF_OR(BITS)  SET_CC(CC_LOGIC, BITS, r, 0)
#define CC_OF_XOR(BITS) SET_CC(CC_LOGIC, BITS, r, 0)

#define OP(name) static void op_##name(VmcCpu *c, const struct vmc_uop *u)

#define BODY_RM(P, S, E, NAME, BITS)                                                                         \
    uint64_t va = P##_##E(S);                                                                                \
    T##BITS b = P##_LD(BITS, S, va), a = GET##BITS(c, u->reg), r;                                            \
    uint64_t k = K_##NAME;                                                                                   \
    (void)k;                                                                                                 \
    DO_##NAME(BITS);                                                                                         \
    CC_OF_##NAME(BITS);                                                                                      \
    PUT##BITS(c, u->reg, r);
#define BODY_RMW(P, S, E, NAME, BITS, SOURCE)                                                                \
    uint64_t va = P##_##E(S), k = K_##NAME;                                                                  \
    T##BITS a, b = SOURCE, r;                                                                                \
    (void)k;                                                                                                 \
    P##_RW(BITS, S, va, DO_##NAME(BITS));                                                                    \
    CC_OF_##NAME(BITS);
#define BODY_COMPARE(P, S, E, NAME, BITS, FIRST, SECOND)                                                     \
    uint64_t va = P##_##E(S);                                                                                \
    T##BITS m = P##_LD(BITS, S, va), a = FIRST, b = SECOND, r;                                               \
    DO_##NAME(BITS);

/* Destination register in u->reg; source in u->rm, memory or the immediate. */
#define DEFINE_ALU(NAME, BITS)                                                                               \
    OP(NAME##_rr_##BITS)                                                                                     \
    {                                                                                                        \
        T##BITS a = GET##BITS(c, u->reg), b = GET##BITS(c, u->rm), r;                                        \
        uint64_t k = K_##NAME;                                                                               \
        (void)k;                                                                                             \
        DO_##NAME(BITS);                                                                                     \
        CC_OF_##NAME(BITS);                                                                                  \
        PUT##BITS(c, u->reg, r);                                                                             \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    MEM_OP(NAME##_rm_##BITS, BODY_RM, EA, NAME, BITS)                                                        \
    MEM_OP(NAME##_rb_##BITS, BODY_RM, EB, NAME, BITS)                                                        \
    OP(NAME##_ri_##BITS)                                                                                     \
    {                                                                                                        \
        T##BITS a = GET##BITS(c, u->reg), b = (T##BITS)u->imm, r;                                            \
        uint64_t k = K_##NAME;                                                                               \
        (void)k;                                                                                             \
        DO_##NAME(BITS);                                                                                     \
        CC_OF_##NAME(BITS);                                                                                  \
        PUT##BITS(c, u->reg, r);                                                                             \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    MEM_OP(NAME##_mr_##BITS, BODY_RMW, EA, NAME, BITS, GET##BITS(c, u->reg))                                 \
    MEM_OP(NAME##_br_##BITS, BODY_RMW, EB, NAME, BITS, GET##BITS(c, u->reg))                                 \
    MEM_OP(NAME##_mi_##BITS, BODY_RMW, EA, NAME, BITS, (T##BITS)u->imm)                                      \
    MEM_OP(NAME##_bi_##BITS, BODY_RMW, EB, NAME, BITS, (T##BITS)u->imm)                                      \
    DEFINE_ALU_LOCKED(NAME, BITS, mr_lock, GET##BITS(c, u->reg))                                             \
    DEFINE_ALU_LOCKED(NAME, BITS, mi_lock, (T##BITS)u->imm)

#define DEFINE_ALU_LOCKED(NAME, BITS, FORM, SOURCE)                                                          \
    OP(NAME##_##FORM##_##BITS)                                                                               \
    {                                                                                                        \
        uint64_t va = vmc_ea(c, u), k = K_##NAME;                                                            \
        T##BITS a, b = SOURCE, r;                                                                            \
        (void)k;                                                                                             \
        RMW_LOCKED(BITS, va, DO_##NAME(BITS));                                                               \
        CC_OF_##NAME(BITS);                                                                                  \
        VMC_NEXT(c, u);                                                                                      \
    }

/* CMP and TEST: flags only. */
#define DO_CMP(BITS)                                                                                         \
    r = (T##BITS)(a - b);                                                                                    \
    SET_CC(CC_SUB, BITS, r, b)
#define DO_TEST(BITS)                                                                                        \
    r = (T##BITS)(a & b);                                                                                    \
    SET_CC(CC_LOGIC, BITS, r, 0)
#define DEFINE_COMPARE(NAME, BITS)                                                                           \
    OP(NAME##_rr_##BITS)                                                                                     \
    {                                                                                                        \
        T##BITS a = GET##BITS(c, u->reg), b = GET##BITS(c, u->rm), r;                                        \
        DO_##NAME(BITS);                                                                                     \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(NAME##_ri_##BITS)                                                                                     \
    {                                                                                                        \
        T##BITS a = GET##BITS(c, u->reg), b = (T##BITS)u->imm, r;                                            \
        DO_##NAME(BITS);                                                                                     \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    MEM_OP(NAME##_rm_##BITS, BODY_COMPARE, EA, NAME, BITS, GET##BITS(c, u->reg), m)                          \
    MEM_OP(NAME##_rb_##BITS, BODY_COMPARE, EB, NAME, BITS, GET##BITS(c, u->reg), m)                          \
    MEM_OP(NAME##_mr_##BITS, BODY_COMPARE, EA, NAME, BITS, m, GET##BITS(c, u->reg))                          \
    MEM_OP(NAME##_br_##BITS, BODY_COMPARE, EB, NAME, BITS, m, GET##BITS(c, u->reg))                          \
    MEM_OP(NAME##_mi_##BITS, BODY_COMPARE, EA, NAME, BITS, m, (T##BITS)u->imm)                               \
    MEM_OP(NAME##_bi_##BITS, BODY_COMPARE, EB, NAME, BITS, m, (T##BITS)u->imm)

/* INC, DEC, NEG, NOT: operand in u->rm. */
#define DO_INC(BITS)    r = (T##BITS)(a + 1)
#define DO_DEC(BITS)    r = (T##BITS)(a - 1)
#define DO_NEG(BITS)    r = (T##BITS)(0 - a)
#define DO_NOT(BITS)    r = (T##BITS) ~a
#define CC_OF_INC(BITS) SET_CC(CC_INC, BITS, r, k)
#define CC_OF_DEC(BITS) SET_CC(CC_DEC, BITS, r, k)
#define CC_OF_NEG(BITS) SET_CC(CC_SUB, BITS, r, a)
#define CC_OF_NOT(BITS) (void)0
#define K_INC           vmc_flag_carry(c)
#define K_DEC           vmc_flag_carry(c)
#define K_NEG           0
#define K_NOT           0
#define DEFINE_UNARY(NAME, BITS)                                                                             \
    OP(NAME##_r_##BITS)                                                                                      \
    {                                                                                                        \
        T##BITS a = GET##BITS(c, u->rm), r;                                                                  \
        uint64_t k = K_##NAME;                                                                               \
        (void)k;                                                                                             \
        DO_##NAME(BITS);                                                                                     \
        CC_OF_##NAME(BITS);                                                                                  \
        PUT##BITS(c, u->rm, r);                                                                              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    DEFINE_UNARY_RMW(NAME, BITS, m, RMW)                                                                     \
    DEFINE_UNARY_RMW(NAME, BITS, m_lock, RMW_LOCKED)
#define DEFINE_UNARY_RMW(NAME, BITS, FORM, ACCESS)                                                           \
    OP(NAME##_##FORM##_##BITS)                                                                               \
    {                                                                                                        \
        uint64_t va = vmc_ea(c, u), k = K_##NAME;                                                            \
        T##BITS a, r;                                                                                        \
        (void)k;                                                                                             \
        ACCESS(BITS, va, DO_##NAME(BITS));                                                                   \
        CC_OF_##NAME(BITS);                                                                                  \
        VMC_NEXT(c, u);                                                                                      \
    }

/* clang-format off */
#define ALL_ALU(BITS)                                                                                        \
    DEFINE_ALU(ADD, BITS) DEFINE_ALU(OR, BITS) DEFINE_ALU(ADC, BITS) DEFINE_ALU(SBB, BITS)                   \
    DEFINE_ALU(AND, BITS) DEFINE_ALU(SUB, BITS) DEFINE_ALU(XOR, BITS) DEFINE_COMPARE(CMP, BITS)              \
    DEFINE_COMPARE(TEST, BITS) DEFINE_UNARY(INC, BITS) DEFINE_UNARY(DEC, BITS) DEFINE_UNARY(NEG, BITS)       \
    DEFINE_UNARY(NOT, BITS)
/* clang-format on */
FOR_WIDTHS(ALL_ALU)

/* XOR r,r and SUB r,r of 32 or 64 bits: the way compilers spell zero. */
OP(zero)
{
    c->cc_op = CC_LOGIC | LG64;
    c->cc_dst = 0;
    R64(c, u->reg) = 0;
    VMC_NEXT(c, u);
}
/* TEST r,r needs no AND. */
OP(TEST_same_32)
{
    SET_CC(CC_LOGIC, 32, R32(c, u->reg), 0);
    VMC_NEXT(c, u);
}
OP(TEST_same_64)
{
    SET_CC(CC_LOGIC, 64, R64(c, u->reg), 0);
    VMC_NEXT(c, u);
}

/* The three plain memory forms are each followed by their base-and-displacement variant. */
enum form { RR, RI, RM, RB, MR, BR, MI, BI, MR_LOCK, MI_LOCK, N_FORMS };
#define WIDTHS(NAME, FORM)                                                                                   \
    {                                                                                                        \
        op_##NAME##_##FORM##_8, op_##NAME##_##FORM##_16, op_##NAME##_##FORM##_32, op_##NAME##_##FORM##_64    \
    }
#define FORMS(NAME)                                                                                          \
    {                                                                                                        \
        [RR] = WIDTHS(NAME, rr), [RM] = WIDTHS(NAME, rm), [RI] = WIDTHS(NAME, ri), [MR] = WIDTHS(NAME, mr),  \
        [RB] = WIDTHS(NAME, rb), [BR] = WIDTHS(NAME, br), [BI] = WIDTHS(NAME, bi), [MI] = WIDTHS(NAME, mi),  \
        [MR_LOCK] = WIDTHS(NAME, mr_lock), [MI_LOCK] = WIDTHS(NAME, mi_lock)                                 \
    }
#define COMPARE_FORMS(NAME)                                                                                  \
    {                                                                                                        \
        [RR] = WIDTHS(NAME, rr), [RM] = WIDTHS(NAME, rm), [RI] = WIDTHS(NAME, ri), [MR] = WIDTHS(NAME, mr),  \
        [RB] = WIDTHS(NAME, rb), [BR] = WIDTHS(NAME, br), [BI] = WIDTHS(NAME, bi), [MI] = WIDTHS(NAME, mi)   \
    }

/* In the order of the opcode's bits 5:3 and of group 1; TEST is the ninth. */
static const vmc_op alu_table[9][N_FORMS][4] = {
    FORMS(ADD), FORMS(OR),  FORMS(ADC),         FORMS(SBB),          FORMS(AND),
    FORMS(SUB), FORMS(XOR), COMPARE_FORMS(CMP), COMPARE_FORMS(TEST),
};
enum { ALU_SUB = 5, ALU_XOR = 6, ALU_CMP = 7, ALU_TEST = 8 };

enum { R, M, M_LOCK, N_UNARY };
#define UNARY_FORMS(NAME)                                                                                    \
    {                                                                                                        \
        [R] = WIDTHS(NAME, r), [M] = WIDTHS(NAME, m), [M_LOCK] = WIDTHS(NAME, m_lock)                        \
    }
static const vmc_op unary_table[4][N_UNARY][4] = {UNARY_FORMS(INC), UNARY_FORMS(DEC), UNARY_FORMS(NOT),
                                                  UNARY_FORMS(NEG)};

static enum vmc_bound bind_unary(const struct vmc_insn *d, struct vmc_uop *u, unsigned op, bool byte)
{
    unsigned w = vmc_width_index(d, byte);
    if (byte)
        u->rm = vmc_gpr8(d, d->rm);
    u->fn = unary_table[op][!d->is_mem ? R : d->lock ? M_LOCK : M][w];
    return VMC_BIND_OK;
}

/* reg OP= r/m */
static enum vmc_bound bind_to_reg(const struct vmc_insn *d, struct vmc_uop *u, unsigned op, bool byte)
{
    unsigned w = vmc_width_index(d, byte);
    if (byte) {
        u->reg = vmc_gpr8(d, d->reg);
        u->rm = vmc_gpr8(d, d->rm);
    }
    u->fn = alu_table[op][d->is_mem ? RM + vmc_has_plain_base(u) : RR][w];
    return VMC_BIND_OK;
}

/* r/m OP= reg */
static enum vmc_bound bind_from_reg(const struct vmc_insn *d, struct vmc_uop *u, unsigned op, bool byte)
{
    unsigned w = vmc_width_index(d, byte);
    if (byte) {
        u->reg = vmc_gpr8(d, d->reg);
        u->rm = vmc_gpr8(d, d->rm);
    }
    if (d->is_mem) {
        u->fn = alu_table[op][d->lock ? MR_LOCK : MR + vmc_has_plain_base(u)][w];
        return VMC_BIND_OK;
    }
    bool same = u->reg == u->rm && w >= 2;
    uint8_t source = u->reg;
    u->reg = u->rm;
    u->rm = source;
    if (same && (op == ALU_XOR || op == ALU_SUB))
        u->fn = op_zero;
    else if (same && op == ALU_TEST)
        u->fn = w == 2 ? op_TEST_same_32 : op_TEST_same_64;
    else
        u->fn = alu_table[op][RR][w];
    return VMC_BIND_OK;
}

/* r/m OP= imm; without ModRM the accumulator */
static enum vmc_bound bind_immediate(const struct vmc_insn *d, struct vmc_uop *u, unsigned op, bool byte)
{
    unsigned w = vmc_width_index(d, byte);
    if (d->has_modrm && d->is_mem) {
        u->fn = alu_table[op][d->lock ? MI_LOCK : MI + vmc_has_plain_base(u)][w];
        return VMC_BIND_OK;
    }
    unsigned n = d->has_modrm ? d->rm : VMC_RAX;
    u->reg = byte ? vmc_gpr8(d, n) : VMC_GPR(n);
    u->fn = alu_table[op][RI][w];
    return VMC_BIND_OK;
}

enum vmc_bound vmc_bind_alu(const struct vmc_insn *d, struct vmc_uop *u)
{
    unsigned op = d->opcode, ext = d->modrm >> 3 & 7;
    bool byte = !(op & 1);
    if (d->map != VMC_MAP_1)
        return VMC_BIND_NO;
    if (op < 0x40) {
        switch (op & 7) {
        case 0:
        case 1:
            return bind_from_reg(d, u, op >> 3, byte);
        case 2:
        case 3:
            return bind_to_reg(d, u, op >> 3, byte);
        case 4:
        case 5:
            return bind_immediate(d, u, op >> 3, byte);
        }
        return VMC_BIND_NO;
    }
    if (op < 0x50 && d->mode != VMC_MODE_64)
        return bind_unary(d, u, op >> 3 & 1, false);
    switch (op) {
    case 0x82:
        if (d->mode == VMC_MODE_64)
            return VMC_BIND_UD;
        return bind_immediate(d, u, ext, true);
    case 0x80:
    case 0x81:
    case 0x83:
        return bind_immediate(d, u, ext, op == 0x80);
    case 0x84:
    case 0x85:
        return bind_from_reg(d, u, ALU_TEST, byte);
    case 0xa8:
    case 0xa9:
        return bind_immediate(d, u, ALU_TEST, byte);
    case 0xf6:
    case 0xf7:
        if (ext < 2)
            return bind_immediate(d, u, ALU_TEST, byte);
        return ext < 4 ? bind_unary(d, u, ext, byte) : VMC_BIND_NO;
    case 0xfe:
    case 0xff:
        if (ext < 2)
            return bind_unary(d, u, ext, byte);
        return op == 0xfe ? VMC_BIND_UD : VMC_BIND_NO;
    }
    return VMC_BIND_NO;
}
