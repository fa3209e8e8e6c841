/*
 * Jumps, calls and returns, and what a block does at its end.
 *
 * A jump within the page goes straight to the target's code once that is there (struct vmc_link). Everything
 * else looks the target up by its address, in the table of vmc_target. The request word is looked at where a
 * loop can close: on jumps backwards and in that table's look-up.
 */
#include "cpu/soft/translate/context.h"

static void page_relative(struct vmc_tr *t, unsigned reg, int32_t off)
{
    vmc_load(&t->e, reg, CPU_AT(block_rip));
    vmc_lea(&t->e, reg, vmc_m(reg, off));
}

static bool in_page(int32_t off)
{
    return off >= 0 && off < (int32_t)VMC_PAGE_SIZE;
}

static void add_exit(struct vmc_tr *t, uint8_t *site, int32_t target)
{
    t->exits[t->n_exits].site = site;
    t->exits[t->n_exits++].target = target;
}

/* Goes to `target`, an offset from the page, from the instruction at `from`. */
static void go(struct vmc_tr *t, int32_t from, int32_t target)
{
    if (in_page(target)) {
        if (target <= from) { /* a loop may close */
            vmc_emit(&t->e, VMC_OP(0x83), 7, CPU_AT(request));
            vmc_put8(&t->e, 0);
            add_exit(t, vmc_jcc_later(&t->e, 5), ~target);
        }
        add_exit(t, vmc_jump_later(&t->e), target);
    } else {
        page_relative(t, S1, target);
        vmc_store_imm32(&t->e, CPU_AT(branch), 0);
        vmc_jump(&t->e, t->t->indirect);
    }
}

void vmc_gen_end(struct vmc_tr *t)
{
    vmc_flags_store(t);
    go(t, t->off[t->n - 1], t->off[t->n]);
}

/* The block goes on behind the jump: what is to be done when it is taken stands in a stub. */
static void jcc_side(struct vmc_tr *t, unsigned i, int32_t target)
{
    uint8_t *taken = vmc_jcc_later(&t->e, t->insn[i].opcode & 15);
    if (t->flags.stored && in_page(target) && target > t->off[i]) {
        add_exit(t, taken, target);
        return;
    }
    t->sides[t->n_sides].from = taken;
    t->sides[t->n_sides].at = t->off[i];
    t->sides[t->n_sides].target = target;
    t->sides[t->n_sides++].flags = t->flags;
}

void vmc_emit_sides(struct vmc_tr *t)
{
    for (unsigned i = 0; i < t->n_sides; i++) {
        vmc_patch(t->sides[i].from, t->e.p);
        t->flags = t->sides[i].flags;
        vmc_flags_store(t);
        go(t, t->sides[i].at, t->sides[i].target);
    }
}

static void jcc(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    int32_t next = t->off[i + 1], target = next + (int32_t)d->imm;
    vmc_flags_require(t, t->plan[i].flags_read);
    if (i + 1 < t->n) {
        jcc_side(t, i, target);
        return;
    }
    unsigned cond = d->opcode & 15;
    vmc_flags_store(t);
    if (in_page(target) && target > t->off[i]) {
        add_exit(t, vmc_jcc_later(&t->e, cond), target);
        go(t, t->off[i], next);
        return;
    }
    uint8_t *not_taken = vmc_jcc_later(&t->e, cond ^ 1);
    go(t, t->off[i], target);
    vmc_patch(not_taken, t->e.p);
    go(t, t->off[i], next);
}

static void move_rsp(struct vmc_tr *t, int32_t by)
{
    unsigned rsp = vmc_host_reg(VMC_RSP);
    vmc_lea(&t->e, rsp, vmc_m(rsp, by));
}

static void push_return(struct vmc_tr *t, unsigned i)
{
    struct vmc_rm slot = vmc_operand(t, i);
    vmc_flags_before_writes(t, i);
    page_relative(t, S2, t->off[i + 1]);
    vmc_store(&t->e, slot, S2);
    move_rsp(t, -8);
}

static void call(struct vmc_tr *t, unsigned i)
{
    push_return(t, i);
    vmc_flags_store(t);
    go(t, t->off[i], t->off[i + 1] + (int32_t)t->insn[i].imm);
}

/* Goes to the address in S1. One that is not canonical is this instruction's fault, with RSP as it was. */
static void go_indirect(struct vmc_tr *t, unsigned i, int32_t popped)
{
    vmc_store_imm32(&t->e, CPU_AT(branch),
                    t->off[i] | (uint32_t)popped << VMC_BRANCH_POPPED_SHIFT | VMC_BRANCH);
    vmc_jump(&t->e, t->t->indirect);
}

static void ret(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    int32_t popped = 8 + (d->opcode == 0xc2 ? (uint16_t)d->imm : 0);
    struct vmc_rm slot = vmc_operand(t, i);
    vmc_load(&t->e, S1, slot);
    vmc_flags_store(t); /* before RSP moves, which they may be told from */
    move_rsp(t, popped);
    go_indirect(t, i, popped);
}

static void jmp_indirect(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    struct vmc_rm rm = d->is_mem ? vmc_operand(t, i) : vmc_gpr_rm(d->rm);
    vmc_load(&t->e, S1, rm);
    vmc_flags_store(t);
    go_indirect(t, i, 0);
}

/* The target is looked at before the call is done: a store to the stack could not be taken back. */
static void call_indirect(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    struct vmc_emit *e = &t->e;
    struct vmc_rm target = vmc_gpr_rm(d->rm);
    if (d->is_mem) { /* two accesses: the target waits in VmcCpu for the second */
        vmc_load(e, S2, vmc_operand(t, i));
        target = CPU_AT(target);
        vmc_store(e, target, S2);
        vmc_plan_push(&t->plan[i]);
    }
    struct vmc_rm slot = vmc_operand(t, i);
    vmc_flags_store(t);
    vmc_load(e, S2, target);
    vmc_emit(e, VMC_OP(0xc1) | VMC_OP_W, 7, vmc_r(S2)); /* sar 47 */
    vmc_put8(e, 47);
    vmc_emit(e, VMC_OP(0x83) | VMC_OP_W, 0, vmc_r(S2));
    vmc_put8(e, 1);
    vmc_emit(e, VMC_OP(0x83) | VMC_OP_W, 7, vmc_r(S2));
    vmc_put8(e, 1);
    vmc_add_bail(t, i, vmc_jcc_later(e, 7)); /* not canonical */
    page_relative(t, S2, t->off[i + 1]);
    vmc_store(e, slot, S2);
    move_rsp(t, -8);
    vmc_load(e, S1, target);
    go_indirect(t, i, 0);
}

void vmc_gen_control(struct vmc_tr *t, unsigned i)
{
    switch (t->plan[i].form) {
    case FORM_JCC:
        jcc(t, i);
        break;
    case FORM_JMP:
        vmc_flags_store(t);
        go(t, t->off[i], t->off[i + 1] + (int32_t)t->insn[i].imm);
        break;
    case FORM_CALL:
        call(t, i);
        break;
    case FORM_RET:
        ret(t, i);
        break;
    case FORM_JMP_INDIRECT:
        jmp_indirect(t, i);
        break;
    case FORM_CALL_INDIRECT:
        call_indirect(t, i);
        break;
    }
}
