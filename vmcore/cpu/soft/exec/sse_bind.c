/*
 * Binding of MMX and SSE instructions: a table by opcode map, mandatory prefix and opcode, made of sse_ops.h.
 *
 * Mandatory prefixes (SDM vol. 2, 2.1.2 and appendix A): F2 or F3, the last of them, wins over 66. A prefix
 * for which there is no row makes the opcode undefined. Groups told apart by ModRM.reg (0F 71-73, 0F AE) are
 * looked up beside the table.
 */
#include "cpu/soft/exec/sse_stubs.h"

enum { MAP_0F, MAP_38, MAP_3A, MAP_COUNT };
enum { PREFIX_N, PREFIX_6, PREFIX_3, PREFIX_2, PREFIX_COUNT };
enum operand { OPERAND_X, OPERAND_M, OPERAND_G };

struct row {
    vmc_op rr, rm;
    const struct vmc_stubs *stubs;
    uint8_t map, prefix, opcode, wide;
    uint8_t reg, operand; /* enum operand: of ModRM.reg and ModRM.rm */
};

/* ---- the handlers exist ---- */

#define DECLARE(handler)        void vmc_sse_##handler(VmcCpu *c, const struct vmc_uop *u);
#define OP(m, p, o, r, e, h)    DECLARE(h##_rr) DECLARE(h##_rm)
#define OR(m, p, o, r, e, h)    DECLARE(h##_rr)
#define OM(m, p, o, r, e, h)    DECLARE(h##_rm)
#define OI(m, p, o, r, e, h, s) DECLARE(h##_rr) DECLARE(h##_rm)
#define WOP                     OP
#include "cpu/soft/exec/sse_ops.h"
#undef OP
#undef OR
#undef OM
#undef OI
#undef WOP

/* ---- the rows ---- */

#define ROW(m, p, o, w, r, e, h_rr, h_rm, s)                                                                 \
    {h_rr, h_rm, s, MAP_##m, PREFIX_##p, o, w, OPERAND_##r, OPERAND_##e},
#define OP(m, p, o, r, e, h)    ROW(m, p, o, 0, r, e, vmc_sse_##h##_rr, vmc_sse_##h##_rm, NULL)
#define OR(m, p, o, r, e, h)    ROW(m, p, o, 0, r, e, vmc_sse_##h##_rr, NULL, NULL)
#define OM(m, p, o, r, e, h)    ROW(m, p, o, 0, r, e, NULL, vmc_sse_##h##_rm, NULL)
#define OI(m, p, o, r, e, h, s) ROW(m, p, o, 0, r, e, vmc_sse_##h##_rr, vmc_sse_##h##_rm, &vmc_stubs_##s)
#define WOP(m, p, o, r, e, h)   ROW(m, p, o, 1, r, e, vmc_sse_##h##_rr, vmc_sse_##h##_rm, NULL)
static const struct row rows[] = {
#include "cpu/soft/exec/sse_ops.h"
};
#undef OP
#undef OR
#undef OM
#undef OI
#undef WOP
#undef ROW

/* ---- where a row is, plus one ---- */

enum {
#define NAME(m, p, o, w)        ROW_##m##_##p##_##o##_##w,
#define OP(m, p, o, r, e, h)    NAME(m, p, o, 0)
#define OR(m, p, o, r, e, h)    NAME(m, p, o, 0)
#define OM(m, p, o, r, e, h)    NAME(m, p, o, 0)
#define OI(m, p, o, r, e, h, s) NAME(m, p, o, 0)
#define WOP(m, p, o, r, e, h)   NAME(m, p, o, 1)
    NO_ROW,
#include "cpu/soft/exec/sse_ops.h"
#undef NAME
    ROWS_END,
};
_Static_assert(ROWS_END - 1 == sizeof(rows) / sizeof(rows[0]), "one name for each row");

#define NAME(m, p, o, w) [MAP_##m][w][PREFIX_##p][o] = ROW_##m##_##p##_##o##_##w,
static const uint16_t row_of[MAP_COUNT][2][PREFIX_COUNT][256] = {
#include "cpu/soft/exec/sse_ops.h"
};
#undef NAME
#undef OP
#undef OR
#undef OM
#undef OI
#undef WOP

/* ---- binding ---- */

static unsigned prefix_of(const struct vmc_insn *d)
{
    return d->rep == 0xf3 ? PREFIX_3 : d->rep == 0xf2 ? PREFIX_2 : d->prefix66 ? PREFIX_6 : PREFIX_N;
}

static const struct row *find_row(unsigned map, const struct vmc_insn *d)
{
    unsigned prefix = prefix_of(d), i = 0;
    if (d->rex & 8)
        i = row_of[map][1][prefix][d->opcode];
    if (!i)
        i = row_of[map][0][prefix][d->opcode];
    return i ? &rows[i - 1] : NULL;
}

/* The opcode is one of ours with some other prefix. */
static bool has_rows(unsigned map, uint8_t opcode)
{
    for (unsigned p = 0; p < PREFIX_COUNT; p++)
        if (row_of[map][0][p][opcode])
            return true;
    return false;
}

static uint8_t bind_register(enum operand kind, unsigned n)
{
    return (uint8_t)(kind == OPERAND_X ? n * 16 : kind == OPERAND_M ? (n & 7) * 16 : VMC_GPR(n));
}

static enum vmc_bound ok(struct vmc_uop *u, vmc_op fn)
{
    u->fn = fn;
    return fn ? VMC_BIND_OK : VMC_BIND_UD;
}

void vmc_bind_rdi(const struct vmc_insn *d, struct vmc_uop *u)
{
    u->base = VMC_GPR(VMC_RDI);
    if (d->addrsize != 8)
        u->flags |= UF_EA_SLOW | (d->addrsize == 4 ? UF_A32 : UF_A16);
    if (d->mode == VMC_MODE_64) {
        u->seg = d->seg == VMC_FS || d->seg == VMC_GS ? d->seg : VMC_SEG_FLAT;
        return;
    }
    u->seg = d->seg != VMC_NO_REG ? d->seg : VMC_DS;
    u->flags |= UF_EA_SLOW | UF_SEG;
    vmc_ea_note_size(u, d->prefix66 ? 16 : 8, true);
}

/* Handlers of which there is a second one for addresses of base and displacement only (sse.h). */
#define WITH_BASE(X)                                                                                         \
    X(mova_rm)                                                                                               \
    X(mova_st_rm)                                                                                            \
    X(movhp_rm)                                                                                              \
    X(movhp_st_rm)                                                                                           \
    X(movq_rm)                                                                                               \
    X(movq_st_rm)                                                                                            \
    X(movsd_rm)                                                                                              \
    X(movsd_st_rm)                                                                                           \
    X(movss_rm)                                                                                              \
    X(movss_st_rm)                                                                                           \
    X(movu_rm)                                                                                               \
    X(movu_st_rm)

#define DECLARE_BASE(name) DECLARE(name##_base)
#define BASE_PAIR(name)    {vmc_sse_##name, vmc_sse_##name##_base},
WITH_BASE(DECLARE_BASE)

static vmc_op for_address(const struct vmc_uop *u, vmc_op fn)
{
    static const struct {
        vmc_op any, base;
    } pairs[] = {WITH_BASE(BASE_PAIR)};
    if ((u->flags & UF_EA_SLOW) || u->index != VMC_SLOT_ZERO || u->seg != VMC_SEG_FLAT)
        return fn;
    for (unsigned i = 0; i < G_N_ELEMENTS(pairs); i++)
        if (pairs[i].any == fn)
            return pairs[i].base;
    return fn;
}

static enum vmc_bound bind_row(unsigned map, const struct vmc_insn *d, struct vmc_uop *u)
{
    const struct row *r = find_row(map, d);
    if (!r)
        return has_rows(map, d->opcode) ? VMC_BIND_UD : VMC_BIND_NO;
    u->reg = bind_register(r->reg, d->reg);
    if (!d->is_mem)
        u->rm = bind_register(r->operand, d->rm);
    u->imm = (uint8_t)d->imm;
    if (r->stubs == &vmc_stubs_insertps && d->is_mem)
        u->imm &= 0x3f; /* there is one element in memory: COUNT_S does not count */
    if (r->stubs)
        u->imm = vmc_stub(r->stubs, (unsigned)u->imm);
    if (map == MAP_3A && d->opcode == 0x0f && !r->stubs && u->imm > 16)
        u->imm = 16; /* PALIGNR of MMX registers */
    if (map == MAP_0F && d->opcode == 0xf7)
        vmc_bind_rdi(d, u);
    return ok(u, d->is_mem ? for_address(u, r->rm) : r->rr);
}

/* ---- groups ---- */

#define SHIFTS(D)           D(psrlw) D(psrld) D(psrlq) D(psraw) D(psrad) D(psllw) D(pslld) D(psllq)
#define DECLARE_SHIFT(name) DECLARE(name##_imm) DECLARE(mmx_##name##_imm)
SHIFTS(DECLARE_SHIFT)
DECLARE(psrldq_imm)
DECLARE(pslldq_imm)
DECLARE(emms)

/* 0F 71, 72, 73: shifts by an immediate. */
static enum vmc_bound bind_shift(const struct vmc_insn *d, struct vmc_uop *u)
{
    static const struct {
        vmc_op mmx, sse;
    } groups[3][8] = {
        {[2] = {vmc_sse_mmx_psrlw_imm, vmc_sse_psrlw_imm},
         [4] = {vmc_sse_mmx_psraw_imm, vmc_sse_psraw_imm},
         [6] = {vmc_sse_mmx_psllw_imm, vmc_sse_psllw_imm}},
        {[2] = {vmc_sse_mmx_psrld_imm, vmc_sse_psrld_imm},
         [4] = {vmc_sse_mmx_psrad_imm, vmc_sse_psrad_imm},
         [6] = {vmc_sse_mmx_pslld_imm, vmc_sse_pslld_imm}},
        {[2] = {vmc_sse_mmx_psrlq_imm, vmc_sse_psrlq_imm},
         [3] = {NULL, vmc_sse_psrldq_imm},
         [6] = {vmc_sse_mmx_psllq_imm, vmc_sse_psllq_imm},
         [7] = {NULL, vmc_sse_pslldq_imm}},
    };
    unsigned ext = d->modrm >> 3 & 7, prefix = prefix_of(d);
    if (d->is_mem || prefix > PREFIX_6)
        return VMC_BIND_UD;
    u->imm = (uint8_t)d->imm;
    if (d->opcode == 0x73 && (ext & 1) && u->imm > 16)
        u->imm = 16;
    u->rm = bind_register(prefix == PREFIX_6 ? OPERAND_X : OPERAND_M, d->rm);
    return ok(u, prefix == PREFIX_6 ? groups[d->opcode - 0x71][ext].sse : groups[d->opcode - 0x71][ext].mmx);
}

/* 0F AE (fxsave.c). The register forms with F3 are RDFSBASE and its kin, which are not of this family. */
static enum vmc_bound bind_state(const struct vmc_insn *d, struct vmc_uop *u)
{
    static const vmc_op memory[8] = {vmc_op_fxsave, vmc_op_fxrstor, vmc_op_ldmxcsr,
                                     vmc_op_stmxcsr, [7] = vmc_op_clflush};
    static const vmc_op fences[8] = {[5] = vmc_op_lfence, [6] = vmc_op_mfence, [7] = vmc_op_sfence};
    unsigned ext = d->modrm >> 3 & 7;
    if (d->rep == 0xf3 && !d->is_mem)
        return VMC_BIND_NO;
    if (prefix_of(d) != PREFIX_N)
        return VMC_BIND_UD;
    u->x = (uint16_t)((d->mode == VMC_MODE_64 ? VMC_FXSAVE_64BIT : 0) | (d->rex & 8 ? VMC_FXSAVE_W : 0));
    return ok(u, d->is_mem ? memory[ext] : fences[ext]);
}

enum vmc_bound vmc_bind_sse(const struct vmc_insn *d, struct vmc_uop *u)
{
    if (d->map == VMC_MAP_1)
        return VMC_BIND_NO;
    if (d->map == VMC_MAP_0F38)
        return bind_row(MAP_38, d, u);
    if (d->map == VMC_MAP_0F3A)
        return bind_row(MAP_3A, d, u);
    switch (d->opcode) {
    case 0x0d: /* PREFETCH, PREFETCHW: nothing to do, but memory forms only */
        return d->is_mem ? ok(u, vmc_op_prefetch) : VMC_BIND_UD;
    case 0x18:
        return ok(u, vmc_op_prefetch);
    case 0x71:
    case 0x72:
    case 0x73:
        return bind_shift(d, u);
    case 0x77:
        return prefix_of(d) == PREFIX_N ? ok(u, vmc_sse_emms) : VMC_BIND_UD;
    case 0xae:
        return bind_state(d, u);
    case 0xc3:
        if (prefix_of(d) != PREFIX_N || !d->is_mem)
            return VMC_BIND_UD;
        return ok(u, d->rex & 8 ? vmc_op_movnti64 : vmc_op_movnti32);
    }
    return bind_row(MAP_0F, d, u);
}
