/*
 * What kernels run all the time beside plain arithmetic: the interrupt flag, pushing the flags, reading a
 * segment register, CMPXCHG16B; and division.
 *
 * What may fault is looked at before: a privilege that is not 0, a quotient that may not fit, an operand that
 * is not aligned leave the instruction to the interpreter.
 *
 * Source: Intel SDM vol. 2, each instruction; the interpreter's handlers in exec/system.c, far.c, muldiv.c.
 */
#include "cpu/soft/translate/context.h"

#define EQUAL_OR_BELOW 6
#define NOT_EQUAL      5

static unsigned extension(const struct vmc_insn *d)
{
    return d->modrm >> 3 & 7;
}

/* The instruction is the interpreter's unless the byte, or with `word` the four bytes, at `rm` are 0. */
static void bail_unless_zero(struct vmc_tr *t, unsigned i, struct vmc_rm rm, bool word)
{
    vmc_emit(&t->e, VMC_OP(word ? 0x83 : 0x80), 7, rm);
    vmc_put8(&t->e, 0);
    vmc_add_bail(t, i, vmc_jcc_later(&t->e, NOT_EQUAL));
}

/* CPL 1 and 2 are for the interpreter, who knows IOPL. */
static void cli(struct vmc_tr *t, unsigned i)
{
    vmc_flags_release(t);
    bail_unless_zero(t, i, CPU_AT(cpl), false);
    vmc_emit(&t->e, VMC_OP(0x81), 4, CPU_AT(eflags));
    vmc_put32(&t->e, ~(uint32_t)FL_IF);
}

/* With anything waiting it is the interpreter's. Otherwise nobody looks for what comes from now on before the
 * next instruction is done: not in the block, and not if that instruction is left to the interpreter
 * (translator.c). Behind the block's last it is the run loop's affair, as with the interpreter's STI. */
static void sti(struct vmc_tr *t, unsigned i)
{
    bool last = i + 1 == t->n;
    if (last)
        vmc_flags_store(t);
    vmc_flags_release(t);
    bail_unless_zero(t, i, CPU_AT(cpl), false);
    bail_unless_zero(t, i, CPU_AT(request), true);
    bail_unless_zero(t, i, CPU_AT(intr_waiting), false);
    vmc_emit(&t->e, VMC_OP(0x81), 1, CPU_AT(eflags));
    vmc_put32(&t->e, (uint32_t)FL_IF);
    if (!last)
        return;
    vmc_emit(&t->e, VMC_OP(0xc6), 0, CPU_AT(sti_shadow));
    vmc_put8(&t->e, 1);
    vmc_load(&t->e, S1, CPU_AT(block_rip));
    vmc_lea(&t->e, S1, vmc_m(S1, t->off[t->n]));
    vmc_jump(&t->e, t->t->leave_rip);
}

static void pushf(struct vmc_tr *t, unsigned i)
{
    unsigned rsp = vmc_host_reg(VMC_RSP);
    struct vmc_emit *e = &t->e;
    struct vmc_rm slot = vmc_operand(t, i);
    vmc_flags_require(t, FLAGS_ALL);
    vmc_flags_release(t);
    vmc_flags_before_writes(t, i);
    vmc_put8(e, 0x9c); /* pushf */
    vmc_put8(e, 0x41); /* pop r10 */
    vmc_put8(e, 0x5a);
    vmc_emit(e, VMC_OP(0x81), 4, vmc_r(S2));
    vmc_put32(e, FLAGS_ALL);
    vmc_emit(e, VMC_OP(0x0b), S2, CPU_AT(eflags));
    vmc_emit(e, VMC_OP(0x81), 4, vmc_r(S2));
    vmc_put32(e, ~(uint32_t)(FL_VM | FL_RF));
    vmc_store(e, slot, S2);
    vmc_lea(e, rsp, vmc_m(rsp, -8));
}

static void mov_from_segment(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    unsigned reg = vmc_host_reg(d->rm);
    size_t at = offsetof(VmcCpu, seg) + extension(d) * sizeof(struct vmc_seg);
    vmc_flags_before_writes(t, i);
    vmc_emit(&t->e, VMC_OP0F(0xb7), reg == H_NONE ? S2 : reg,
             vmc_m(H_RBP, (int32_t)(at + offsetof(struct vmc_seg, selector)) - CPU_BIAS));
    if (reg == H_NONE)
        vmc_store(&t->e, vmc_gpr_slot(d->rm), S2);
}

static void cmpxchg16b(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    struct vmc_rm rm = vmc_operand(t, i);
    vmc_flags_release(t);
    vmc_lea(&t->e, S2, rm);
    vmc_emit(&t->e, VMC_OP(0xf6) | VMC_OP_RM8, 0, vmc_r(S2)); /* test */
    vmc_put8(&t->e, 15);
    vmc_add_bail(t, i, vmc_jcc_later(&t->e, NOT_EQUAL));
    vmc_flags_before(t, i);
    vmc_emit(&t->e, VMC_OP0F(0xc7) | VMC_OP_W | (d->lock ? VMC_OP_LOCK : 0), 1, rm);
    vmc_flags_after(t, i);
}

/* The divisor is in S2, read once. Unsigned: the quotient fits if the upper half is below it. Signed: if the
 * upper half is but the sign, any divisor will do but 0 and -1; other dividends are rare. */
static void bail_if_too_large(struct vmc_tr *t, unsigned i, uint32_t w, bool is_signed)
{
    struct vmc_emit *e = &t->e;
    if (is_signed) {
        vmc_emit(e, VMC_OP(0x8b) | w, S1, vmc_r(H_RAX));
        vmc_emit(e, VMC_OP(0xc1) | w, 7, vmc_r(S1)); /* sar */
        vmc_put8(e, w ? 63 : 31);
        vmc_emit(e, VMC_OP(0x3b) | w, S1, vmc_r(H_RDX));
        vmc_add_bail(t, i, vmc_jcc_later(e, NOT_EQUAL));
        vmc_emit(e, VMC_OP(0x8d) | w, S1, vmc_m(S2, 1));
        vmc_emit(e, VMC_OP(0x83) | w, 7, vmc_r(S1));
        vmc_put8(e, 1);
        t->in_s1 = VMC_NO_SPAN;
    } else {
        vmc_emit(e, VMC_OP(0x3b) | w, S2, vmc_r(H_RDX));
    }
    vmc_add_bail(t, i, vmc_jcc_later(e, EQUAL_OR_BELOW));
}

/* Flags stay as they were, which is one of the values that undefined ones may have, and the interpreter's. */
static void divide(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    uint32_t w = d->opsize == 8 ? VMC_OP_W : 0;
    struct vmc_rm rm = d->is_mem ? vmc_operand(t, i) : vmc_gpr_rm(d->rm);
    vmc_flags_store(t);
    vmc_flags_release(t);
    vmc_emit(&t->e, VMC_OP(0x8b) | w, S2, rm);
    bail_if_too_large(t, i, w, extension(d) == 7);
    vmc_emit(&t->e, VMC_OP(0xf7) | w, extension(d), vmc_r(S2));
}

void vmc_gen_system(struct vmc_tr *t, unsigned i)
{
    switch (t->plan[i].form) {
    case FORM_CLI:
        cli(t, i);
        break;
    case FORM_STI:
        sti(t, i);
        break;
    case FORM_PUSHF:
        pushf(t, i);
        break;
    case FORM_MOV_FROM_SEG:
        mov_from_segment(t, i);
        break;
    case FORM_CMPXCHG16B:
        cmpxchg16b(t, i);
        break;
    case FORM_DIVIDE:
        divide(t, i);
        break;
    }
}
