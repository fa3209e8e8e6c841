/*
 * The guest's flags during translation: in the host's flags as long as nothing disturbs them, told from
 * operands when they are lost there, stored in VmcCpu only where somebody may look.
 *
 * Every look-up of an address loses the host's flags, and every one may end in a fault whose handler sees the
 * guest's. Most results can be told from operands that are still in registers then, so the stores stand in
 * the slow path beside the look-up; only when an operand is about to change, or the block ends, are they
 * made. What cannot be told that way is saved with LAHF and SETO. VmcCpu holds flags in the lazy form of
 * flags.h; forms with CC_RAW have operands that are not cut to size yet (vmc_cc_settle).
 */
#include "cpu/soft/translate/context.h"

/* The second byte of cc_src. */
#define OF_AT vmc_m(H_RBP, (int32_t)offsetof(VmcCpu, cc_src) + 1 - CPU_BIAS)

unsigned vmc_condition_flags(unsigned cond)
{
    static const uint16_t flags[8] = {
        FL_OF, FL_CF, FL_ZF, FL_CF | FL_ZF, FL_SF, FL_PF, FL_SF | FL_OF, FL_SF | FL_OF | FL_ZF,
    };
    return flags[cond >> 1 & 7];
}

/* Whether the interpreter, or a handler of faults, may come to see the guest's flags there. */
static bool may_fault(const struct vmc_tr *t, unsigned i)
{
    const struct vmc_plan *p = &t->plan[i];
    return t->reach[i].looks_up || p->aligned || vmc_pushes_too(&t->insn[i], p);
}

void vmc_flags_liveness(struct vmc_tr *t)
{
    unsigned need = FLAGS_ALL;
    for (unsigned i = t->n; i-- > 0;) {
        const struct vmc_plan *p = &t->plan[i];
        t->need[i] = (uint16_t)need;
        if (p->form == FORM_HELPER || p->form == FORM_JCC || p->bails || (p->memory && may_fault(t, i)))
            need = FLAGS_ALL;
        else
            need = (need & ~(unsigned)p->flags_kill) | p->flags_read;
    }
}

static void store_operand(struct vmc_emit *e, struct vmc_rm to, const struct vmc_operand *o)
{
    if (o->place == PLACE_IMM) {
        vmc_store_imm64(e, to, o->imm);
    } else if (o->place == PLACE_GPR) {
        unsigned h = vmc_host_reg(o->gpr);
        if (h == H_NONE) {
            vmc_load(e, S2, vmc_gpr_slot(o->gpr));
            h = S2;
        }
        if (o->imm) {
            vmc_lea(e, S2, vmc_m(h, o->imm));
            h = S2;
        }
        vmc_store(e, to, h);
    }
}

void vmc_flags_emit_stores(struct vmc_tr *t, const struct vmc_flags_state *f)
{
    struct vmc_emit *e = &t->e;
    if (f->carry_stored) { /* often by another INC or DEC: then it is where it belongs */
        vmc_emit(e, VMC_OP(0x81), 7, CPU_AT(cc_op));
        vmc_put32(e, CC_RAW_INC);
        uint8_t *there = vmc_jcc_later(e, 3);
        vmc_call(e, t->t->load_carry);
        vmc_emit(e, VMC_OP0F(0x92) | VMC_OP_RM8, 0, CPU_AT(cc_src));
        vmc_patch(there, e->p);
    }
    store_operand(e, CPU_AT(cc_dst), &f->dst);
    store_operand(e, CPU_AT(cc_src), &f->src);
    vmc_store_imm32(e, CPU_AT(cc_op), f->op);
}

/* The carry that a description lacks: SETC into cc_src. */
static void capture(struct vmc_tr *t)
{
    if (!t->flags.capture)
        return;
    vmc_emit(&t->e, VMC_OP0F(0x92) | VMC_OP_RM8, 0, CPU_AT(cc_src));
    t->flags.capture = false;
}

void vmc_load_saved_flags(struct vmc_emit *e)
{
    vmc_emit(e, VMC_OP(0x8a), 4, CPU_AT(cc_src)); /* ah */
    vmc_emit(e, VMC_OP(0x8a), H_RAX, OF_AT);      /* al */
    vmc_put8(e, 0x04);                            /* add al, 7fh: overflows from 1 */
    vmc_put8(e, 0x7f);
    vmc_put8(e, 0x9e); /* sahf */
}

/* PUSHF would do it in one instruction, which takes as long as twenty. */
static void save_flags(struct vmc_tr *t)
{
    struct vmc_emit *e = &t->e;
    vmc_store(e, vmc_r(S2), H_RAX);
    vmc_put8(e, 0x9f);                                         /* lahf */
    vmc_emit(e, VMC_OP0F(0x90) | VMC_OP_RM8, 0, vmc_r(H_RAX)); /* seto al */
    vmc_emit(e, VMC_OP(0x88), 4, CPU_AT(cc_src));              /* ah */
    vmc_emit(e, VMC_OP(0x88), H_RAX, OF_AT);                   /* al */
    vmc_store(e, vmc_r(H_RAX), S2);
    vmc_store_imm32(e, CPU_AT(cc_op), CC_RAW_HOST);
    t->flags.stored = t->flags.saved = true;
}

/* The other way round. */
static void restore_flags(struct vmc_tr *t)
{
    struct vmc_emit *e = &t->e;
    vmc_store(e, vmc_r(S2), H_RAX);
    vmc_load_saved_flags(e);
    vmc_store(e, vmc_r(H_RAX), S2);
}

void vmc_flags_store(struct vmc_tr *t)
{
    struct vmc_flags_state *f = &t->flags;
    if (f->stored)
        return;
    if (f->described) {
        capture(t);
        vmc_flags_emit_stores(t, f);
        if (f->carry_stored)
            f->carry_stored = f->host_but_carry = false;
        f->stored = true;
        if (f->dst.place == PLACE_GPR)
            f->dst.place = PLACE_STORED;
        if (f->src.place == PLACE_GPR)
            f->src.place = PLACE_STORED;
    } else if (f->host) {
        save_flags(t);
    }
}

void vmc_flags_release(struct vmc_tr *t)
{
    struct vmc_flags_state *f = &t->flags;
    if (f->host && !f->stored) {
        if (f->described)
            capture(t);
        else
            save_flags(t);
    }
    f->host = f->host_but_carry = false;
}

/* CMP or TEST again, from the operands. */
static void compare_again(struct vmc_tr *t, bool test)
{
    struct vmc_flags_state *f = &t->flags;
    unsigned size = f->op & 3;
    uint32_t width = size == 3 ? VMC_OP_W : size == 1 ? VMC_OP_66 : 0;
    struct vmc_rm dst = f->dst.place == PLACE_STORED ? CPU_AT(cc_dst) : vmc_gpr_rm(f->dst.gpr);
    if (test || f->src.place == PLACE_IMM) {
        vmc_emit(&t->e, VMC_OP(size ? 0x81 : 0x80) | width | (size ? 0 : VMC_OP_RM8), 7, dst);
        int32_t imm = test ? 0 : f->src.imm;
        for (unsigned i = 0; i < (size == 0 ? 1u : size == 1 ? 2u : 4u); i++)
            vmc_put8(&t->e, (uint32_t)imm >> (8 * i) & 0xff);
        return;
    }
    unsigned src = f->src.place == PLACE_STORED ? H_NONE : vmc_host_reg(f->src.gpr);
    if (src == H_NONE) {
        src = S2;
        vmc_load(&t->e, S2, f->src.place == PLACE_STORED ? CPU_AT(cc_src) : vmc_gpr_slot(f->src.gpr));
    }
    vmc_emit(&t->e, VMC_OP(size ? 0x39 : 0x38) | width | (size ? 0 : VMC_OP_REG8 | VMC_OP_RM8), src, dst);
}

/* CF after an addition or a subtraction, from the operands. */
static bool carry_again(struct vmc_tr *t)
{
    const struct vmc_flags_state *f = &t->flags;
    struct vmc_emit *e = &t->e;
    unsigned kind = f->op & CC_RAW_KIND, size = f->op & 3;
    uint32_t w = size == 3 ? VMC_OP_W : 0;
    if (!f->described || size < 2 || (kind != CC_RAW_ADD && kind != CC_RAW_SUB))
        return false;
    struct vmc_rm dst = f->dst.place == PLACE_STORED ? CPU_AT(cc_dst) : vmc_gpr_rm(f->dst.gpr);
    struct vmc_rm src = f->src.place == PLACE_STORED ? CPU_AT(cc_src) : vmc_gpr_rm(f->src.gpr);
    bool imm = f->src.place == PLACE_IMM;
    if (kind == CC_RAW_SUB || dst.reg == H_NONE) {
        vmc_load(e, S2, dst);
        dst = vmc_r(S2);
    }
    for (unsigned add = kind == CC_RAW_SUB ? 0 : 1; add < 2; add++) { /* add, cmp */
        if (imm) {
            vmc_emit(e, VMC_OP(0x81) | w, add ? 7 : 0, dst);
            vmc_put32(e, (uint32_t)f->src.imm);
        } else {
            vmc_emit(e, VMC_OP(add ? 0x3b : 0x03) | w, dst.reg, src);
        }
    }
    return true;
}

/* Only CF is asked for. */
static void require_carry(struct vmc_tr *t)
{
    struct vmc_emit *e = &t->e;
    if (t->flags.saved) {
        vmc_emit(e, VMC_OP0F(0xb6), S2, CPU_AT(cc_src)); /* movzx, shr 1 */
        vmc_emit(e, VMC_OP(0xd1), 5, vmc_r(S2));
    } else if (!carry_again(t)) {
        vmc_flags_store(t);
        vmc_call(e, t->t->load_carry);
        t->flags.described = false; /* they may have got another form there */
    }
}

void vmc_flags_require(struct vmc_tr *t, unsigned mask)
{
    struct vmc_flags_state *f = &t->flags;
    if (f->host || (f->host_but_carry && !(mask & FL_CF)))
        return;
    if (f->carry_stored && mask == FL_CF) {
        vmc_call(&t->e, t->t->load_carry);
        f->host_but_carry = false;
        return;
    }
    if ((f->dst.place == PLACE_GPR && f->dst.imm) || (f->src.place == PLACE_GPR && f->src.imm))
        vmc_flags_store(t);
    unsigned kind = f->op & CC_RAW_KIND;
    if (f->described && kind == CC_RAW_CMP) {
        compare_again(t, false);
        f->host = true;
        return;
    }
    if (f->described && (kind == CC_RAW_LOGIC || !(mask & ~(unsigned)(FL_ZF | FL_SF | FL_PF)))) {
        compare_again(t, true);
        f->host = kind == CC_RAW_LOGIC;
        return;
    }
    if (mask == FL_CF) {
        require_carry(t);
        return;
    }
    vmc_flags_store(t);
    if (f->saved)
        restore_flags(t);
    else
        vmc_call(&t->e, t->t->load_flags);
    f->host = true;
    f->described = false; /* they may have got another form there */
}

/* INC or DEC of a register that leaves the carry where it is: in VmcCpu. */
static bool carry_can_wait(const struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    const struct vmc_flags_state *f = &t->flags;
    bool step = p->form == FORM_GENERIC && d->map == VMC_MAP_1 && d->opcode == 0xff && !d->is_mem;
    return step && !f->host && (f->stored || f->carry_stored) && (t->need[i] & p->flags_write) &&
           (t->need[i] & ~(unsigned)p->flags_kill) == FL_CF;
}

void vmc_flags_before(struct vmc_tr *t, unsigned i)
{
    const struct vmc_plan *p = &t->plan[i];
    unsigned mask = p->flags_read;
    t->carry_waits = carry_can_wait(t, i);
    if (t->carry_waits)
        return;
    if (t->need[i] & p->flags_write)
        mask |= t->need[i] & ~(unsigned)p->flags_kill; /* to pass through unchanged */
    if (mask && t->flags.carry_stored && p->gpr_write)
        vmc_flags_store(t); /* loses the host's, so not in between */
    if (mask)               /* at once: for a second set of them the first would be lost */
        vmc_flags_require(t, mask);
    vmc_flags_before_writes(t, i);
}

void vmc_flags_describe(struct vmc_tr *t, uint32_t op, struct vmc_operand dst, struct vmc_operand src)
{
    struct vmc_flags_state *f = &t->flags;
    if ((!f->host && !f->carry_stored) || f->stored)
        return;
    f->described = true;
    f->capture = !f->carry_stored && (op & CC_RAW_KIND) >= CC_RAW_INC;
    f->op = op;
    f->dst = dst;
    f->src = src;
}

/* Whether the instruction takes the operand away. One that moves by a constant can still be told. */
static bool changes(struct vmc_operand *o, const struct vmc_plan *p)
{
    if (o->place != PLACE_GPR || !(p->gpr_write >> o->gpr & 1))
        return false;
    if (!p->steps || p->stepped != o->gpr || p->flags_write)
        return true;
    return __builtin_sub_overflow(o->imm, p->step, &o->imm); /* too far */
}

/* Whether the host's flags can be expected to last until nobody needs them any more. If they do not after
 * all, they are saved then. */
static bool host_will_do(const struct vmc_tr *t, unsigned i)
{
    unsigned needed = t->need[i] & ~(unsigned)t->plan[i].flags_kill;
    for (unsigned j = i + 1; t->flags.host && j < t->n; j++) {
        const struct vmc_plan *p = &t->plan[j];
        if (p->form == FORM_HELPER || p->form >= FORM_CALL || p->bails || (p->memory && may_fault(t, j)))
            return false;
        needed &= t->need[j] & ~(unsigned)p->flags_kill;
        if (!needed)
            return true;
    }
    return false;
}

void vmc_flags_before_writes(struct vmc_tr *t, unsigned i)
{
    struct vmc_flags_state *f = &t->flags;
    const struct vmc_plan *p = &t->plan[i];
    if (!f->described || f->stored)
        return;
    struct vmc_operand dst = f->dst, src = f->src;
    bool dst_goes = changes(&dst, p), src_goes = changes(&src, p);
    if (!dst_goes && !src_goes) {
        f->dst = dst, f->src = src;
        return;
    }
    if ((t->need[i] & ~(unsigned)p->flags_kill) && !host_will_do(t, i))
        vmc_flags_store(t);
    else
        f->described = f->carry_stored = f->host_but_carry = false;
}

void vmc_flags_after(struct vmc_tr *t, unsigned i)
{
    const struct vmc_plan *p = &t->plan[i];
    if (!p->flags_write)
        return;
    if (!(t->need[i] & p->flags_write)) { /* what is needed was not touched, wherever it is */
        if (!t->need[i])
            memset(&t->flags, 0, sizeof t->flags);
        return;
    }
    memset(&t->flags, 0, sizeof t->flags);
    t->flags.host = !t->carry_waits;
    t->flags.carry_stored = t->flags.host_but_carry = t->carry_waits;
    t->carry_waits = false;
}
