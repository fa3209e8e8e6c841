/*
 * Fused handlers (fuse.h): every conditional jump whose flags come from an instruction of the same block.
 *
 * The evaluators of flags.h fold when the producing operation is a constant, so each (producer, condition)
 * pair gets a handler of a few instructions. The compares that stand right before their jump save a dispatch
 * as well; they still record lazy flags, as the code after the jump may ask.
 */
#include "cpu/soft/exec/fuse.h"

#include "cpu/soft/exec/operand.h"

#define OP(name) static void op_##name(VmcCpu *c, const struct vmc_uop *u)
#define TARGET   (c->block_rip + (uint64_t)(int64_t)u->disp)

#define JUMP_IF(taken)                                                                                       \
    if (taken)                                                                                               \
        VMC_CHAIN(c, 0, TARGET);                                                                             \
    VMC_CHAIN(c, 1, vmc_next_rip(c, u))

/* clang-format off */
#define FOR_CONDITIONS(M, ...)                                                                               \
    M(0, __VA_ARGS__) M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__)                \
    M(5, __VA_ARGS__) M(6, __VA_ARGS__) M(7, __VA_ARGS__) M(8, __VA_ARGS__) M(9, __VA_ARGS__)                \
    M(10, __VA_ARGS__) M(11, __VA_ARGS__) M(12, __VA_ARGS__) M(13, __VA_ARGS__) M(14, __VA_ARGS__)           \
    M(15, __VA_ARGS__)
/* clang-format on */

/* ---- a conditional jump after a known producer ---- */

#define DEFINE_JCC(COND, NAME, BITS)                                                                         \
    OP(jcc_##NAME##_##BITS##_##COND)                                                                         \
    {                                                                                                        \
        JUMP_IF(vmc_cc_condition(c, CC_##NAME | LG##BITS, COND));                                            \
    }
/* clang-format off */
#define DEFINE_JCCS(BITS)                                                                                    \
    FOR_CONDITIONS(DEFINE_JCC, ADD, BITS) FOR_CONDITIONS(DEFINE_JCC, SUB, BITS)                              \
    FOR_CONDITIONS(DEFINE_JCC, LOGIC, BITS) FOR_CONDITIONS(DEFINE_JCC, INC, BITS)                            \
    FOR_CONDITIONS(DEFINE_JCC, DEC, BITS) FOR_CONDITIONS(DEFINE_JCC, SHL, BITS)                              \
    FOR_CONDITIONS(DEFINE_JCC, SAR, BITS)
/* clang-format on */
FOR_WIDTHS(DEFINE_JCCS)

#define ENTRY(COND, NAME, BITS) op_jcc_##NAME##_##BITS##_##COND,
#define ROW(NAME)                                                                                            \
    [CC_##NAME] = {FOR_CONDITIONS(ENTRY, NAME, 8)}, [CC_##NAME + 1] = {FOR_CONDITIONS(ENTRY, NAME, 16)},     \
    [CC_##NAME + 2] = {FOR_CONDITIONS(ENTRY, NAME, 32)}, [CC_##NAME + 3] = {FOR_CONDITIONS(ENTRY, NAME, 64)}
static const vmc_op jcc_after[CC_COUNT][16] = {
    ROW(ADD), ROW(SUB), ROW(LOGIC), ROW(INC), ROW(DEC), ROW(SHL), ROW(SAR),
};

/* ---- SETcc and CMOVcc after a known producer: the compares and tests alone ---- */

#define DEFINE_CONDITIONAL(COND, NAME, BITS)                                                                 \
    OP(setcc_##NAME##_##BITS##_##COND)                                                                       \
    {                                                                                                        \
        R8(c, u->rm) = vmc_cc_condition(c, CC_##NAME | LG##BITS, COND);                                      \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(cmov32_##NAME##_##BITS##_##COND)                                                                      \
    {                                                                                                        \
        R64(c, u->reg) = vmc_cc_condition(c, CC_##NAME | LG##BITS, COND) ? R32(c, u->rm) : R32(c, u->reg);   \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(cmov64_##NAME##_##BITS##_##COND)                                                                      \
    {                                                                                                        \
        R64(c, u->reg) = vmc_cc_condition(c, CC_##NAME | LG##BITS, COND) ? R64(c, u->rm) : R64(c, u->reg);   \
        VMC_NEXT(c, u);                                                                                      \
    }
#define DEFINE_CONDITIONALS(BITS)                                                                            \
    FOR_CONDITIONS(DEFINE_CONDITIONAL, SUB, BITS) FOR_CONDITIONS(DEFINE_CONDITIONAL, LOGIC, BITS)
FOR_WIDTHS(DEFINE_CONDITIONALS)

#define CONDITIONAL_ENTRY(COND, NAME, WHAT, BITS) op_##WHAT##_##NAME##_##BITS##_##COND,
#define CONDITIONAL_ROW(NAME, BITS)                                                                          \
    [CC_##NAME | LG##BITS] = {                                                                               \
        {FOR_CONDITIONS(CONDITIONAL_ENTRY, NAME, setcc, BITS)},                                              \
        {FOR_CONDITIONS(CONDITIONAL_ENTRY, NAME, cmov32, BITS)},                                             \
        {FOR_CONDITIONS(CONDITIONAL_ENTRY, NAME, cmov64, BITS)},                                             \
    },
#define CONDITIONAL_ROWS(BITS) CONDITIONAL_ROW(SUB, BITS) CONDITIONAL_ROW(LOGIC, BITS)
/* [producer][SETcc, CMOV r32, CMOV r64][condition] */
static const vmc_op conditional_after[CC_COUNT][3][16] = {FOR_WIDTHS(CONDITIONAL_ROWS)};

/* Gives SETcc r8 and CMOVcc r, r the handler for this producer, if there is one. */
static void specialise_conditional(int producer, const struct vmc_insn *d, struct vmc_uop *u)
{
    if (producer < 0 || d->map != VMC_MAP_0F || d->is_mem || d->vex || d->lock)
        return;
    unsigned kind;
    if ((d->opcode & 0xf0) == 0x90)
        kind = 0;
    else if ((d->opcode & 0xf0) == 0x40 && d->opsize >= 4)
        kind = d->opsize == 8 ? 2 : 1;
    else
        return;
    vmc_op fn = conditional_after[producer][kind][d->opcode & 15];
    if (fn)
        u->fn = fn;
}

/* ---- compare and jump in one ---- */

#define COMPARE_CMP(BITS)                                                                                    \
    T##BITS r = (T##BITS)(a - b);                                                                            \
    SET_CC(CC_SUB, BITS, r, b)
#define COMPARE_TEST(BITS)                                                                                   \
    T##BITS r = (T##BITS)(a & b);                                                                            \
    SET_CC(CC_LOGIC, BITS, r, 0)
#define KIND_CMP  CC_SUB
#define KIND_TEST CC_LOGIC

#define DEFINE_FUSED(COND, NAME, BITS)                                                                       \
    OP(NAME##_rr_##BITS##_j##COND)                                                                           \
    {                                                                                                        \
        T##BITS a = GET##BITS(c, u->reg), b = GET##BITS(c, u->rm);                                           \
        COMPARE_##NAME(BITS);                                                                                \
        JUMP_IF(vmc_cc_condition(c, KIND_##NAME | LG##BITS, COND));                                          \
    }                                                                                                        \
    OP(NAME##_ri_##BITS##_j##COND)                                                                           \
    {                                                                                                        \
        T##BITS a = GET##BITS(c, u->reg), b = (T##BITS)u->imm;                                               \
        COMPARE_##NAME(BITS);                                                                                \
        JUMP_IF(vmc_cc_condition(c, KIND_##NAME | LG##BITS, COND));                                          \
    }
#define DEFINE_FUSEDS(BITS) FOR_CONDITIONS(DEFINE_FUSED, CMP, BITS) FOR_CONDITIONS(DEFINE_FUSED, TEST, BITS)
DEFINE_FUSEDS(8)
DEFINE_FUSEDS(32)
DEFINE_FUSEDS(64)

#define FUSED_ENTRY(COND, NAME, FORM, BITS) op_##NAME##_##FORM##_##BITS##_j##COND,
#define FUSED_ROW(NAME, FORM)                                                                                \
    {                                                                                                        \
        {FOR_CONDITIONS(FUSED_ENTRY, NAME, FORM, 8)}, {FOR_CONDITIONS(FUSED_ENTRY, NAME, FORM, 32)},         \
            {FOR_CONDITIONS(FUSED_ENTRY, NAME, FORM, 64)},                                                   \
    }
/* [CMP, TEST][register, immediate][8, 32, 64][condition] */
static const vmc_op fused[2][2][3][16] = {
    {FUSED_ROW(CMP, rr), FUSED_ROW(CMP, ri)},
    {FUSED_ROW(TEST, rr), FUSED_ROW(TEST, ri)},
};

/* ---- classification ---- */

enum { KEEPS = -2, UNKNOWN = -1 };

/* The same of VEX-encoded instructions. */
static int vex_producer(const struct vmc_insn *d)
{
    unsigned op = d->opcode;
    bool plain = !d->prefix66 && !d->rep;
    switch (d->map) {
    case VMC_MAP_0F:
        return op == 0x2e || op == 0x2f ? UNKNOWN : KEEPS;
    case VMC_MAP_0F38: /* VTESTPS, VTESTPD, VPTEST; ANDN, BLSR and kin, BZHI, BEXTR */
        if (op == 0xf2)
            return CC_LOGIC | (int)vmc_width_index(d, false);
        return op == 0x0e || op == 0x0f || op == 0x17 || op == 0xf3 || ((op == 0xf5 || op == 0xf7) && plain)
                   ? UNKNOWN
                   : KEEPS;
    default: /* VPCMPESTRI and kin */
        return (op & 0xfc) == 0x60 ? UNKNOWN : KEEPS;
    }
}

/* The lazy-flag operation an instruction leaves behind, KEEPS if it does not touch flags, UNKNOWN otherwise.
 */
static int producer(const struct vmc_insn *d)
{
    unsigned op = d->opcode, ext = d->modrm >> 3 & 7;
    bool byte = !(op & 1);
    int width = (int)vmc_width_index(d, byte), wide = (int)vmc_width_index(d, false);
    static const int group1[8] = {CC_ADD, CC_LOGIC, UNKNOWN, UNKNOWN, CC_LOGIC, CC_SUB, CC_LOGIC, CC_SUB};
    if (d->vex)
        return vex_producer(d);
    if (d->map == VMC_MAP_0F) {
        if ((op >= 0x10 && op <= 0x17) || op == 0x28 || op == 0x29 || op == 0x6f || op == 0x7f ||
            op == 0x6e || op == 0x7e || op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf || op == 0xef ||
            op == 0x1f)
            return KEEPS;
        return (op & 0xf0) == 0x40 || (op & 0xf0) == 0x90 ? KEEPS : UNKNOWN;
    }
    if (d->map != VMC_MAP_1)
        return UNKNOWN;
    if (op < 0x40 && (op & 7) < 6) {
        int kind = group1[op >> 3];
        if (d->has_modrm && !d->is_mem && d->reg == d->rm && (op >> 3 == 6 || op >> 3 == 5) && width >= 2)
            return UNKNOWN; /* op_zero records a logic result for either */
        return kind < 0 ? kind : kind | width;
    }
    if ((op >= 0x50 && op < 0x60) || op == 0x63 || (op >= 0x88 && op <= 0x8b) || op == 0x8d ||
        (op >= 0xb0 && op < 0xc0) || op == 0xc6 || op == 0xc7 || op == 0x68 || op == 0x6a || op == 0x90)
        return KEEPS;
    switch (op) {
    case 0x80:
    case 0x81:
    case 0x83:
        return group1[ext] < 0 ? UNKNOWN : group1[ext] | width;
    case 0x84:
    case 0x85:
    case 0xa8:
    case 0xa9:
        return CC_LOGIC | width;
    case 0xc0:
    case 0xc1:
    case 0xd0:
    case 0xd1: {
        unsigned count = op < 0xd0 ? (unsigned)d->imm & (width == 3 ? 63u : 31u) : 1;
        if (count == 0 || ext < 4)
            return UNKNOWN;
        return (ext == 5 || ext == 7 ? CC_SAR : CC_SHL) | width;
    }
    case 0xf6:
    case 0xf7:
        return ext < 2 ? CC_LOGIC | width : ext == 2 ? KEEPS : ext == 3 ? CC_SUB | width : UNKNOWN;
    case 0xfe:
        return ext == 0 ? CC_INC : ext == 1 ? CC_DEC : UNKNOWN;
    case 0xff:
        return ext == 0 ? CC_INC | wide : ext == 1 ? CC_DEC | wide : ext == 6 ? KEEPS : UNKNOWN;
    }
    return UNKNOWN;
}

/* Index into fused[][][] of a compare without memory operand; false if it is none. */
static bool compare_form(const struct vmc_insn *d, unsigned *kind, unsigned *immediate, unsigned *width)
{
    unsigned op = d->opcode, ext = d->modrm >> 3 & 7, w = vmc_width_index(d, !(op & 1));
    if (d->map != VMC_MAP_1 || (d->has_modrm && d->is_mem) || w == 1)
        return false;
    *width = w == 0 ? 0 : w - 1;
    if (op >= 0x38 && op <= 0x3b) {
        *kind = 0, *immediate = 0;
    } else if (op == 0x3c || op == 0x3d || ((op == 0x80 || op == 0x81 || op == 0x83) && ext == 7)) {
        *kind = 0, *immediate = 1;
    } else if (op == 0x84 || op == 0x85) {
        *kind = 1, *immediate = 0;
    } else if (op == 0xa8 || op == 0xa9 || ((op == 0xf6 || op == 0xf7) && ext < 2)) {
        *kind = 1, *immediate = 1;
    } else {
        return false;
    }
    return true;
}

/* A conditional jump whose target u->disp says. */
static bool is_jcc(const struct vmc_insn *d, const struct vmc_uop *u)
{
    return d->mode == VMC_MODE_64 && !d->vex && !d->lock &&
           (d->opcode & 0xf0) == (d->map == VMC_MAP_0F ? 0x80u : 0x70u) &&
           (d->map == VMC_MAP_0F || d->map == VMC_MAP_1) && u->disp == u->off + d->length + d->imm;
}

void vmc_fuse(struct vmc_fuse *f, const struct vmc_insn *d, struct vmc_block *b)
{
    struct vmc_uop *jump = &b->uops[b->n_uops - 1]; /* or whatever d became */
    unsigned kind, immediate, width;
    if (!is_jcc(d, jump)) {
        int p = producer(d);
        specialise_conditional(f->producer, d, jump);
        if (p != KEEPS)
            f->producer = p;
        f->last = *d;
        f->have_last = true;
        return;
    }
    unsigned cond = d->opcode & 15;
    if (f->have_last && compare_form(&f->last, &kind, &immediate, &width)) {
        struct vmc_uop *compare = jump - 1;
        compare->fn = fused[kind][immediate][width][cond];
        compare->disp = jump->disp;
        compare->len = (uint8_t)(compare->len + jump->len);
        b->n_uops--;
    } else if (f->producer >= 0 && jcc_after[f->producer][cond]) {
        jump->fn = jcc_after[f->producer][cond];
    }
    f->have_last = false;
}
