/*
 * Binding of VEX-encoded vector instructions: a table by opcode map, W, pp and opcode, made of avx_ops.h.
 *
 * A form that names no second operand wants VEX.vvvv to be 1111 (0 as decoded); L and W have to be as the row
 * says. Whatever has no row is no instruction. Groups told apart by ModRM.reg are looked up beside the table.
 */
#include "cpu/soft/exec/avx.h"
#include "cpu/soft/exec/extensions.h"

enum { MAP_0F, MAP_38, MAP_3A, MAP_COUNT };
enum { PP_N, PP_6, PP_3, PP_2, PP_COUNT };
enum { L_0, L_I, L_A };
enum feature { FEATURE_F, FEATURE_I, FEATURE_B, FEATURE_2, FEATURE_M, FEATURE_H, FEATURE_E, FEATURE_C };
enum operand {
    OPERAND_X,
    OPERAND_C,
    OPERAND_G,
    OPERAND_g,
    OPERAND_S,
    OPERAND_V,
    OPERAND_K,
    OPERAND_4,
    OPERAND__,
    OPERAND_M
};

struct row {
    const struct vmc_avx_insn *insn;
    uint8_t l, feature, reg, vvvv, rm;
};

/* ---- the instructions exist; a few share their handlers ---- */

#define OP(m, p, o, w, l, f, r, v, e, name) extern const struct vmc_avx_insn vmc_avx_##name;
#include "cpu/soft/exec/avx_ops.h"
#undef OP

/* ---- the rows ---- */

static const struct row rows[] = {
#define OP(m, p, o, w, l, f, r, v, e, name)                                                                  \
    {&vmc_avx_##name, L_##l, FEATURE_##f, OPERAND_##r, OPERAND_##v, OPERAND_##e},
#include "cpu/soft/exec/avx_ops.h"
#undef OP
};

/* ---- where a row is, plus one ---- */

enum {
    NO_ROW,
#define OP(m, p, o, w, l, f, r, v, e, name) ROW_##m##_##p##_##o##_##w,
#include "cpu/soft/exec/avx_ops.h"
#undef OP
    ROWS_END,
};
_Static_assert(ROWS_END - 1 == sizeof(rows) / sizeof(rows[0]), "one name for each row");

#define AT_0(m, p, o, row) [MAP_##m][0][PP_##p][o] = row,
#define AT_1(m, p, o, row) [MAP_##m][1][PP_##p][o] = row,
#define AT_I(m, p, o, row) AT_0(m, p, o, row) AT_1(m, p, o, row)
static const uint16_t row_of[MAP_COUNT][2][PP_COUNT][256] = {
#define OP(m, p, o, w, l, f, r, v, e, name) AT_##w(m, p, o, ROW_##m##_##p##_##o##_##w)
#include "cpu/soft/exec/avx_ops.h"
#undef OP
};

static unsigned pp_of(const struct vmc_insn *d)
{
    return d->rep == 0xf3 ? PP_3 : d->rep == 0xf2 ? PP_2 : d->prefix66 ? PP_6 : PP_N;
}

static bool is_general(const struct row *r)
{
    return r->reg == OPERAND_G || r->rm == OPERAND_G || r->rm == OPERAND_g;
}

static const struct row *find_row(const struct vmc_insn *d)
{
    const uint16_t(*map)[PP_COUNT][256] = row_of[d->map - VMC_MAP_0F];
    unsigned pp = pp_of(d), i = map[d->vex_w][pp][d->opcode];
    if (i && d->vex_w && d->mode != VMC_MODE_64 && is_general(&rows[i - 1]))
        i = map[0][pp][d->opcode];
    return i ? &rows[i - 1] : NULL;
}

/* ---- binding ---- */

static bool has_feature(const struct vmc_insn *d, enum feature feature, uint32_t features)
{
    uint32_t need = VMC_HAS_AVX;
    switch (feature) {
    case FEATURE_F:
        break;
    case FEATURE_I:
        need = d->vex_l ? VMC_HAS_AVX2 : VMC_HAS_AVX;
        break;
    case FEATURE_B:
        need = d->is_mem ? VMC_HAS_AVX : VMC_HAS_AVX2;
        break;
    case FEATURE_2:
        need = VMC_HAS_AVX2;
        break;
    case FEATURE_M:
        need = VMC_HAS_FMA;
        break;
    case FEATURE_H:
        need = VMC_HAS_F16C;
        break;
    case FEATURE_E:
        need = VMC_HAS_AVX | VMC_HAS_AES;
        break;
    case FEATURE_C:
        need = VMC_HAS_AVX | VMC_HAS_PCLMUL;
        break;
    }
    return (features & need) == need;
}

static uint8_t vector(unsigned n)
{
    return (uint8_t)(n * 16);
}

/* Registers, as the handlers want them; false if they may not be so. */
static bool bind_operands(const struct row *r, const struct vmc_insn *d, struct vmc_uop *u)
{
    bool third = r->vvvv == OPERAND_X || (r->vvvv == OPERAND_M && !d->is_mem);
    if (!third && d->vvvv)
        return false;
    u->x = vector(r->reg == OPERAND_C ? d->reg : vmc_insn_vvvv(d));
    if (r->reg != OPERAND_G)
        u->reg = vector(d->reg);
    if (!d->is_mem && r->rm != OPERAND_G && r->rm != OPERAND_g)
        u->rm = vector(d->rm);
    if (r->rm == OPERAND_S && !d->is_mem) {
        u->reg = vector(d->rm);
        u->rm = vector(d->reg);
    }
    if (r->rm == OPERAND_K || r->rm == OPERAND_V)
        u->flags |= UF_ODD;
    if (r->rm == OPERAND_4)
        u->x |= (uint16_t)(vector(vmc_insn_is4(d)) << 8);
    if (r->rm == OPERAND_V) {
        if (!d->is_mem || d->reg == vmc_insn_vvvv(d) || d->reg == d->index || vmc_insn_vvvv(d) == d->index)
            return false;
        u->x |= (uint16_t)(vector(d->index) << 8);
        u->index = VMC_SLOT_ZERO;
    }
    return true;
}

static void bind_immediate(const struct row *r, const struct vmc_insn *d, struct vmc_uop *u, unsigned l)
{
    const struct vmc_avx_insn *insn = r->insn;
    unsigned imm = (uint8_t)d->imm & (insn->mask ? insn->mask : 0xffu);
    u->imm = imm;
    if (insn == &vmc_avx_insertps && d->is_mem)
        imm &= 0x3f; /* there is one element in memory: COUNT_S does not count */
    if (insn == &vmc_avx_extractf128 && d->is_mem)
        u->x = (uint16_t)imm;
    if (insn->code[l])
        u->imm = (int64_t)(uintptr_t)(insn->code[l] + ((size_t)(insn->mask ? imm : 0) << insn->shift));
}

static enum vmc_bound use(struct vmc_uop *u, vmc_op fn)
{
    u->fn = fn;
    return fn ? VMC_BIND_OK : VMC_BIND_UD;
}

static enum vmc_bound bind_row(const struct row *r, const struct vmc_insn *d, uint32_t features,
                               struct vmc_uop *u)
{
    unsigned l = r->l == L_I ? 0 : d->vex_l;
    if ((r->l == L_0 && d->vex_l) || !has_feature(d, r->feature, features) || !bind_operands(r, d, u))
        return VMC_BIND_UD;
    bind_immediate(r, d, u, l);
    if (r->insn == &vmc_avx_maskmovdqu)
        vmc_bind_rdi(d, u);
    if (!d->is_mem)
        return use(u, r->insn->rr[l]);
    bool plain = !(u->flags & UF_EA_SLOW) && u->index == VMC_SLOT_ZERO && u->seg == VMC_SEG_FLAT;
    return use(u, plain && r->insn->base[l] ? r->insn->base[l] : r->insn->rm[l]);
}

/* ---- groups ---- */

#define SHIFTS(D)     D(psrlw) D(psrld) D(psrlq) D(psraw) D(psrad) D(psllw) D(pslld) D(psllq) D(psrldq) D(pslldq)
#define DECLARE(name) extern const struct vmc_avx_insn vmc_avx_##name##_imm;
SHIFTS(DECLARE)
extern const struct vmc_avx_insn vmc_avx_zero;

/* 0F 71, 72, 73: shifts by an immediate, whose destination is the register VEX.vvvv names. */
static enum vmc_bound bind_shift(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u)
{
#define IMM(name) &vmc_avx_##name##_imm
    static const struct vmc_avx_insn *const groups[3][8] = {
        {[2] = IMM(psrlw), [4] = IMM(psraw), [6] = IMM(psllw)},
        {[2] = IMM(psrld), [4] = IMM(psrad), [6] = IMM(pslld)},
        {[2] = IMM(psrlq), [3] = IMM(psrldq), [6] = IMM(psllq), [7] = IMM(pslldq)},
    };
    unsigned ext = d->modrm >> 3 & 7;
    const struct vmc_avx_insn *insn = groups[d->opcode - 0x71][ext];
    if (!insn || d->is_mem || pp_of(d) != PP_6 || !has_feature(d, FEATURE_I, features))
        return VMC_BIND_UD;
    u->reg = vector(vmc_insn_vvvv(d));
    u->rm = vector(d->rm);
    u->disp = (uint8_t)d->imm;
    if ((insn == IMM(psrldq) || insn == IMM(pslldq)) && u->disp > 16)
        u->disp = 16;
    return use(u, insn->rr[d->vex_l]);
}

enum vmc_bound vmc_bind_avx(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u)
{
    static const vmc_op control[8] = {[2] = vmc_op_vldmxcsr, [3] = vmc_op_vstmxcsr};
    const struct row *r;
    bool plain = pp_of(d) == PP_N && !d->vvvv && features & VMC_HAS_AVX;

    if (!d->vex)
        return VMC_BIND_NO;
    if (d->map == VMC_MAP_0F && d->opcode >= 0x71 && d->opcode <= 0x73)
        return bind_shift(d, features, u);
    if (d->map == VMC_MAP_0F && d->opcode == 0x77) {
        u->x = d->mode == VMC_MODE_64 ? 256 : 128;
        return plain ? use(u, vmc_avx_zero.rr[d->vex_l]) : VMC_BIND_UD;
    }
    if (d->map == VMC_MAP_0F && d->opcode == 0xae)
        return plain && d->is_mem && !d->vex_l ? use(u, control[d->modrm >> 3 & 7]) : VMC_BIND_UD;
    r = find_row(d);
    return r ? bind_row(r, d, features, u) : VMC_BIND_NO;
}
