/*
 * Data movement: MOV, MOVZX, MOVSX, MOVSXD, LEA, CMOVcc, SETcc, BSWAP, XLAT, LAHF, SAHF and the carry and
 * direction flags. Half of all instructions a guest runs are here, so the common MOV forms have tight
 * handlers.
 */
#include <sched.h>

#include "cpu/soft/exec/integer.h"

#define OP(name) static void op_##name(VmcCpu *c, const struct vmc_uop *u)

#define BODY_LOAD(P, S, E, BITS)                                                                             \
    uint64_t va = P##_##E(S);                                                                                \
    T##BITS v = P##_LD(BITS, S, va);                                                                         \
    PUT##BITS(c, u->reg, v);
#define BODY_STORE(P, S, E, BITS, SOURCE)                                                                    \
    uint64_t va = P##_##E(S);                                                                                \
    P##_ST(BITS, S, va, SOURCE);

#define DEFINE_MOV(BITS)                                                                                     \
    OP(mov_rr_##BITS)                                                                                        \
    {                                                                                                        \
        PUT##BITS(c, u->reg, GET##BITS(c, u->rm));                                                           \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    MEM_OP(mov_rm_##BITS, BODY_LOAD, EA, BITS)                                                               \
    MEM_OP(mov_mr_##BITS, BODY_STORE, EA, BITS, GET##BITS(c, u->reg))                                        \
    MEM_OP(mov_mi_##BITS, BODY_STORE, EA, BITS, (T##BITS)u->imm)                                             \
    OP(mov_ri_##BITS)                                                                                        \
    {                                                                                                        \
        PUT##BITS(c, u->reg, u->imm);                                                                        \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    /* MOV accumulator, moffs: the address is the immediate, the segment in u->seg. */                       \
    OP(mov_load_moffs_##BITS)                                                                                \
    {                                                                                                        \
        uint64_t va = u->flags & UF_SEG ? vmc_seg_linear(c, u, u->seg, (uint64_t)u->imm, BITS / 8, false)    \
                                        : (uint64_t)u->imm + c->seg_base[u->seg];                            \
        PUT##BITS(c, VMC_GPR(VMC_RAX), vmc_ld##BITS(c, u, va));                                              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(mov_store_moffs_##BITS)                                                                               \
    {                                                                                                        \
        uint64_t va = u->flags & UF_SEG ? vmc_seg_linear(c, u, u->seg, (uint64_t)u->imm, BITS / 8, true)     \
                                        : (uint64_t)u->imm + c->seg_base[u->seg];                            \
        vmc_st##BITS(c, u, va, GET##BITS(c, VMC_GPR(VMC_RAX)));                                              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(lea_##BITS)                                                                                           \
    {                                                                                                        \
        PUT##BITS(c, u->reg, vmc_ea_offset(c, u));                                                           \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    /* CMOVcc reads its source whether or not it moves, and a 32-bit one always clears the upper half. */    \
    OP(cmov_rr_##BITS)                                                                                       \
    {                                                                                                        \
        T##BITS v = GET##BITS(c, u->rm);                                                                     \
        PUT##BITS(c, u->reg, vmc_condition(c, u->x) ? v : GET##BITS(c, u->reg));                             \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(cmov_rm_##BITS)                                                                                       \
    {                                                                                                        \
        T##BITS v = vmc_ld##BITS(c, u, vmc_ea(c, u));                                                        \
        PUT##BITS(c, u->reg, vmc_condition(c, u->x) ? v : GET##BITS(c, u->reg));                             \
        VMC_NEXT(c, u);                                                                                      \
    }
FOR_WIDTHS(DEFINE_MOV)

/* The commonest address of all: base + displacement in 64-bit code, no segment. */
#define DEFINE_MOV_BASE(BITS)                                                                                \
    MEM_OP(mov_rb_##BITS, BODY_LOAD, EB, BITS)                                                               \
    MEM_OP(mov_br_##BITS, BODY_STORE, EB, BITS, GET##BITS(c, u->reg))
FOR_WIDTHS(DEFINE_MOV_BASE)

/* LEA r64, [base + disp]: an addition. */
OP(lea_base_64)
{
    R64(c, u->reg) = R64(c, u->base) + (uint64_t)(int64_t)u->disp;
    VMC_NEXT(c, u);
}

#define BODY_MOVX(P, S, E, FROM, TO, FROM_T, TO_T)                                                           \
    uint64_t va = P##_##E(S);                                                                                \
    T##FROM v = P##_LD(FROM, S, va);                                                                         \
    PUT##TO(c, u->reg, (TO_T)(FROM_T)v);
#define DEFINE_MOVX(NAME, FROM, TO, FROM_T, TO_T)                                                            \
    OP(NAME##_rr_##FROM##_##TO)                                                                              \
    {                                                                                                        \
        PUT##TO(c, u->reg, (TO_T)(FROM_T)GET##FROM(c, u->rm));                                               \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    MEM_OP(NAME##_rm_##FROM##_##TO, BODY_MOVX, EA, FROM, TO, FROM_T, TO_T)                                   \
    MEM_OP(NAME##_rb_##FROM##_##TO, BODY_MOVX, EB, FROM, TO, FROM_T, TO_T)
DEFINE_MOVX(movzx, 8, 16, T8, T16)
DEFINE_MOVX(movzx, 8, 32, T8, T32)
DEFINE_MOVX(movzx, 8, 64, T8, T64)
DEFINE_MOVX(movzx, 16, 16, T16, T16)
DEFINE_MOVX(movzx, 16, 32, T16, T32)
DEFINE_MOVX(movzx, 16, 64, T16, T64)
DEFINE_MOVX(movsx, 8, 16, S8, S16)
DEFINE_MOVX(movsx, 8, 32, S8, S32)
DEFINE_MOVX(movsx, 8, 64, S8, S64)
DEFINE_MOVX(movsx, 16, 16, S16, S16)
DEFINE_MOVX(movsx, 16, 32, S16, S32)
DEFINE_MOVX(movsx, 16, 64, S16, S64)
DEFINE_MOVX(movsx, 32, 16, S32, S16)
DEFINE_MOVX(movsx, 32, 32, S32, S32)
DEFINE_MOVX(movsx, 32, 64, S32, S64)

OP(setcc_r)
{
    R8(c, u->rm) = vmc_condition(c, u->x);
    VMC_NEXT(c, u);
}
OP(setcc_m)
{
    vmc_st8(c, u, vmc_ea(c, u), vmc_condition(c, u->x));
    VMC_NEXT(c, u);
}

OP(bswap_16) /* undefined; real CPUs give zero */
{
    R16(c, u->rm) = 0;
    VMC_NEXT(c, u);
}
OP(bswap_32)
{
    R64(c, u->rm) = __builtin_bswap32(R32(c, u->rm));
    VMC_NEXT(c, u);
}
OP(bswap_64)
{
    R64(c, u->rm) = __builtin_bswap64(R64(c, u->rm));
    VMC_NEXT(c, u);
}

/* XLAT: the binder made base RBX and index AL's slot; AL alone is the index. */
OP(xlat)
{
    uint64_t off = R64(c, VMC_GPR(VMC_RBX)) + R8(c, VMC_GPR(VMC_RAX));
    if (u->flags & UF_A32)
        off = (uint32_t)off;
    else if (u->flags & UF_A16)
        off = (uint16_t)off;
    uint64_t va = u->flags & UF_SEG ? vmc_seg_linear(c, u, u->seg, off, 1, false) : off + c->seg_base[u->seg];
    R8(c, VMC_GPR(VMC_RAX)) = vmc_ld8(c, u, va);
    VMC_NEXT(c, u);
}

#define FL_LAHF (FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF)
OP(lahf)
{
    R8(c, VMC_GPR(VMC_RAX) + 1) = (uint8_t)((vmc_arith_flags(c) & FL_LAHF) | 2);
    VMC_NEXT(c, u);
}
OP(sahf)
{
    vmc_set_arith(c, (vmc_arith_flags(c) & FL_OF) | (R8(c, VMC_GPR(VMC_RAX) + 1) & FL_LAHF));
    VMC_NEXT(c, u);
}
OP(clc)
{
    vmc_set_carry(c, false);
    VMC_NEXT(c, u);
}
OP(stc)
{
    vmc_set_carry(c, true);
    VMC_NEXT(c, u);
}
OP(cmc)
{
    vmc_set_carry(c, !vmc_flag_carry(c));
    VMC_NEXT(c, u);
}
OP(cld)
{
    c->eflags &= ~FL_DF;
    VMC_NEXT(c, u);
}
OP(std)
{
    c->eflags |= FL_DF;
    VMC_NEXT(c, u);
}
OP(nop)
{
    VMC_NEXT(c, u);
}

/* What is waited for is often a CPU that the host has no room to run just now. With fewer than that many in a
 * row the wait was short; they take some thousand cycles, as the pause-loop exits of hypervisors do. */
#define PAUSES_BEFORE_YIELD 32

OP(pause)
{
    __builtin_ia32_pause();
    if (c->vm->crowded && ++c->pauses % PAUSES_BEFORE_YIELD == 0)
        sched_yield();
    VMC_NEXT(c, u);
}

#define BY_WIDTH(name)                                                                                       \
    {                                                                                                        \
        op_##name##_8, op_##name##_16, op_##name##_32, op_##name##_64                                        \
    }
static const vmc_op mov_rr[4] = BY_WIDTH(mov_rr), mov_rm[4] = BY_WIDTH(mov_rm), mov_mr[4] = BY_WIDTH(mov_mr),
                    mov_ri[4] = BY_WIDTH(mov_ri), mov_mi[4] = BY_WIDTH(mov_mi), mov_rb[4] = BY_WIDTH(mov_rb),
                    mov_br[4] = BY_WIDTH(mov_br), mov_load_moffs[4] = BY_WIDTH(mov_load_moffs),
                    mov_store_moffs[4] = BY_WIDTH(mov_store_moffs), lea[4] = BY_WIDTH(lea),
                    cmov_rr[4] = BY_WIDTH(cmov_rr), cmov_rm[4] = BY_WIDTH(cmov_rm);

/* [from 8, 16, 32][register, memory, base][to 16, 32, 64] */
#define MOVX(name, from)                                                                                     \
    {                                                                                                        \
        {op_##name##_rr_##from##_16, op_##name##_rr_##from##_32, op_##name##_rr_##from##_64},                \
            {op_##name##_rm_##from##_16, op_##name##_rm_##from##_32, op_##name##_rm_##from##_64},            \
            {op_##name##_rb_##from##_16, op_##name##_rb_##from##_32, op_##name##_rb_##from##_64},            \
    }
static const vmc_op movzx[2][3][3] = {MOVX(movzx, 8), MOVX(movzx, 16)};
static const vmc_op movsx[3][3][3] = {MOVX(movsx, 8), MOVX(movsx, 16), MOVX(movsx, 32)};

static enum vmc_bound use(struct vmc_uop *u, vmc_op fn)
{
    u->fn = fn;
    return VMC_BIND_OK;
}

/* Register, memory, memory by base and displacement. */
static unsigned memory_form(const struct vmc_insn *d, const struct vmc_uop *u)
{
    return !d->is_mem ? 0 : vmc_has_plain_base(u) ? 2 : 1;
}

static enum vmc_bound bind_mov(const struct vmc_insn *d, struct vmc_uop *u, bool to_reg, bool byte)
{
    unsigned w = vmc_width_index(d, byte);
    if (byte) {
        u->reg = vmc_gpr8(d, d->reg);
        u->rm = vmc_gpr8(d, d->rm);
    }
    if (!d->is_mem) {
        if (!to_reg) {
            uint8_t source = u->reg;
            u->reg = u->rm;
            u->rm = source;
        }
        return use(u, mov_rr[w]);
    }
    if (vmc_has_plain_base(u))
        return use(u, to_reg ? mov_rb[w] : mov_br[w]);
    return use(u, to_reg ? mov_rm[w] : mov_mr[w]);
}

static void bind_data_segment(const struct vmc_insn *d, struct vmc_uop *u)
{
    if (d->mode == VMC_MODE_64) {
        u->seg = d->seg == VMC_FS || d->seg == VMC_GS ? d->seg : VMC_SEG_FLAT;
        return;
    }
    u->seg = d->seg != VMC_NO_REG ? d->seg : VMC_DS;
    u->flags |= UF_SEG;
}

static enum vmc_bound bind_moffs(const struct vmc_insn *d, struct vmc_uop *u)
{
    bool byte = !(d->opcode & 1), store = d->opcode & 2;
    bind_data_segment(d, u);
    return use(u, (store ? mov_store_moffs : mov_load_moffs)[vmc_width_index(d, byte)]);
}

static enum vmc_bound bind_map_1(const struct vmc_insn *d, struct vmc_uop *u)
{
    unsigned op = d->opcode;
    bool byte = !(op & 1);
    switch (op) {
    case 0x63:
        if (d->mode != VMC_MODE_64)
            return VMC_BIND_NO; /* ARPL */
        return use(u, movsx[2][memory_form(d, u)][vmc_width_index(d, false) - 1]);
    case 0x88:
    case 0x89:
        return bind_mov(d, u, false, byte);
    case 0x8a:
    case 0x8b:
        return bind_mov(d, u, true, byte);
    case 0x8d:
        if (!d->is_mem)
            return VMC_BIND_UD;
        if (d->opsize == 8 && u->index == VMC_SLOT_ZERO && !(u->flags & (UF_A16 | UF_A32)))
            return use(u, op_lea_base_64);
        return use(u, lea[vmc_width_index(d, false)]);
    case 0x90:
        if (d->rex & 1) /* XCHG R8, with F3 too */
            return VMC_BIND_NO;
        return use(u, d->rep == 0xf3 ? op_pause : op_nop);
    case 0x9e:
    case 0x9f:
        return use(u, op == 0x9e ? op_sahf : op_lahf);
    case 0xa0:
    case 0xa1:
    case 0xa2:
    case 0xa3:
        return bind_moffs(d, u);
    case 0xc6:
    case 0xc7:
        if (d->modrm >> 3 & 7)
            return VMC_BIND_UD;
        if (byte)
            u->rm = vmc_gpr8(d, d->rm);
        u->reg = u->rm;
        return use(u, (d->is_mem ? mov_mi : mov_ri)[vmc_width_index(d, byte)]);
    case 0xd7:
        bind_data_segment(d, u);
        u->flags |= d->addrsize == 4 ? UF_A32 : d->addrsize == 2 ? UF_A16 : 0;
        return use(u, op_xlat);
    case 0xf5:
        return use(u, op_cmc);
    case 0xf8:
        return use(u, op_clc);
    case 0xf9:
        return use(u, op_stc);
    case 0xfc:
        return use(u, op_cld);
    case 0xfd:
        return use(u, op_std);
    }
    if (op >= 0xb0 && op < 0xb8) {
        u->reg = vmc_gpr8(d, d->rm);
        return use(u, mov_ri[0]);
    }
    if (op >= 0xb8 && op < 0xc0) {
        u->reg = u->rm;
        return use(u, mov_ri[vmc_width_index(d, false)]);
    }
    return VMC_BIND_NO;
}

enum vmc_bound vmc_bind_move(const struct vmc_insn *d, struct vmc_uop *u)
{
    unsigned op = d->opcode;
    if (d->map == VMC_MAP_1)
        return bind_map_1(d, u);
    if (d->map != VMC_MAP_0F)
        return VMC_BIND_NO;
    if (op >= 0x40 && op < 0x50) {
        u->x = op & 15;
        return use(u, (d->is_mem ? cmov_rm : cmov_rr)[vmc_width_index(d, false)]);
    }
    if (op >= 0x90 && op < 0xa0) {
        u->x = op & 15;
        u->rm = vmc_gpr8(d, d->rm);
        return use(u, d->is_mem ? op_setcc_m : op_setcc_r);
    }
    if (op >= 0xc8 && op < 0xd0)
        return use(u, d->opsize == 8 ? op_bswap_64 : d->opsize == 4 ? op_bswap_32 : op_bswap_16);
    switch (op) {
    case 0xb6:
    case 0xb7:
    case 0xbe:
    case 0xbf: {
        bool word = op & 1;
        if (!word)
            u->rm = vmc_gpr8(d, d->rm);
        return use(u, (op < 0xb8 ? movzx : movsx)[word][memory_form(d, u)][vmc_width_index(d, false) - 1]);
    }
    }
    return VMC_BIND_NO;
}
