/*
 * Jumps, calls and returns, and what a block does at its end.
 *
 * A jump within the page goes straight to the target's code once that is there (struct vmc_link). Everything
 * else looks the target up by its address, in the table of vmc_target. The request word is looked at where a
 * loop can close: on jumps backwards and in that table's look-up.
 *
 * Where an address that is not canonical is jumped to, the jump itself faults. Targets are canonical and
 * compared whole, so only a jump that misses has to tell (VmcCpu.branch) what is to be undone.
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

/* A site of one's own, as a distance from RBP. */
static int32_t new_site(struct vmc_tr *t)
{
    const struct vmc_translator *tr = t->t;
    struct vmc_code_part *now = tr->now;
    unsigned n = now->next_site < now->end_site ? now->next_site++ : 0;
    return tr->sites_at + (int32_t)(n * sizeof(struct vmc_target));
}

static struct vmc_miss *add_miss(struct vmc_tr *t, uint32_t branch)
{
    struct vmc_miss *m = &t->misses[t->n_misses++];
    *m = (struct vmc_miss){.branch = branch};
    return m;
}

static void emit_miss(struct vmc_tr *t, const struct vmc_miss *m)
{
    struct vmc_emit *e = &t->e;
    if (m->requested) {
        vmc_patch(m->requested, e->p);
        vmc_store_imm32(e, CPU_AT(branch), m->branch);
        vmc_jump(e, t->t->leave_rip);
    }
    if (m->other_kind) {
        vmc_patch(m->other_kind, e->p);
        if (!m->site)
            vmc_load(e, S1, vmc_m(S2, (int32_t)offsetof(struct vmc_target, rip)));
    }
    vmc_patch(m->other_rip, e->p);
    vmc_store_imm32(e, CPU_AT(branch), m->branch);
    if (m->site)
        vmc_lea(e, S2, vmc_m(H_RBP, m->site));
    vmc_jump(e, t->t->missed);
}

void vmc_emit_misses(struct vmc_tr *t)
{
    for (unsigned i = 0; i < t->n_misses; i++)
        emit_miss(t, &t->misses[i]);
}

static uint8_t *check_request(struct vmc_tr *t)
{
    vmc_emit(&t->e, VMC_OP(0x83), 7, CPU_AT(request));
    vmc_put8(&t->e, 0);
    return vmc_jcc_later(&t->e, 5);
}

/* Goes to the RIP in S1 by way of a site. */
static void go_by_site(struct vmc_tr *t, bool check, uint32_t branch)
{
    struct vmc_emit *e = &t->e;
    int32_t site = new_site(t);
    struct vmc_miss *m = add_miss(t, branch);
    m->site = site;
    if (check)
        m->requested = check_request(t);
    vmc_emit(e, VMC_OP(0x3b) | VMC_OP_W, S1, vmc_m(H_RBP, site));
    m->other_rip = vmc_jcc_later(e, 5);
    vmc_load(e, S2, CPU_AT(jump_key));
    vmc_emit(e, VMC_OP(0x3b) | VMC_OP_W, S2, vmc_m(H_RBP, site + (int32_t)offsetof(struct vmc_target, kind)));
    m->other_kind = vmc_jcc_later(e, 5);
    vmc_load(e, S1, vmc_m(H_RBP, site + (int32_t)offsetof(struct vmc_target, page)));
    vmc_store(e, CPU_AT(block_rip), S1);
    vmc_emit(e, VMC_OP(0xff), 4, vmc_m(H_RBP, site + (int32_t)offsetof(struct vmc_target, code)));
}

/* S2 = an index into the ring of returns. */
static void ring_index(struct vmc_tr *t)
{
    _Static_assert(sizeof(((VmcCpu *)NULL)->returns) == 256, "a byte goes round");
    vmc_emit(&t->e, VMC_OP0F(0xb6), S2, CPU_AT(return_top));
}

/* The ring's newest entry is the next one, or the one before. */
static void turn_ring(struct vmc_tr *t, int8_t by)
{
    vmc_emit(&t->e, VMC_OP(0x80), 0, CPU_AT(return_top));
    vmc_put8(&t->e, (uint8_t)(by * (int8_t)sizeof(void *)));
}

/* A call remembers where it returns to. Loses both scratch registers. */
static void remember_return(struct vmc_tr *t)
{
    struct vmc_emit *e = &t->e;
    int32_t ring = (int32_t)offsetof(VmcCpu, returns) - CPU_BIAS;
    turn_ring(t, 1);
    ring_index(t);
    vmc_lea(e, S1, vmc_m(H_RBP, new_site(t)));
    vmc_store(e, vmc_mx(H_RBP, S2, 0, ring), S1);
}

/* Goes to the RIP in S1, which a return has popped. */
static void go_by_ring(struct vmc_tr *t, uint32_t branch)
{
    struct vmc_emit *e = &t->e;
    int32_t ring = (int32_t)offsetof(VmcCpu, returns) - CPU_BIAS;
    struct vmc_miss *m = add_miss(t, branch);
    m->requested = check_request(t);
    ring_index(t);
    turn_ring(t, -1);
    vmc_load(e, S2, vmc_mx(H_RBP, S2, 0, ring));
    vmc_emit(e, VMC_OP(0x3b) | VMC_OP_W, S1, vmc_m(S2, (int32_t)offsetof(struct vmc_target, rip)));
    m->other_rip = vmc_jcc_later(e, 5);
    vmc_load(e, S1, vmc_m(S2, (int32_t)offsetof(struct vmc_target, kind)));
    vmc_emit(e, VMC_OP(0x3b) | VMC_OP_W, S1, CPU_AT(jump_key));
    m->other_kind = vmc_jcc_later(e, 5);
    vmc_load(e, S1, vmc_m(S2, (int32_t)offsetof(struct vmc_target, page)));
    vmc_store(e, CPU_AT(block_rip), S1);
    vmc_emit(e, VMC_OP(0xff), 4, vmc_m(S2, (int32_t)offsetof(struct vmc_target, code)));
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
        go_by_site(t, target <= from, 0);
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
    if (i + 1 == t->n && t->flags.carry_stored)
        vmc_flags_store(t); /* which loses the host's */
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
    t->in_s1 = VMC_NO_SPAN;
    remember_return(t);
    go(t, t->off[i], t->off[i + 1] + (int32_t)t->insn[i].imm);
}

/* Goes to the address in S1. One that is not canonical is this instruction's fault, with RSP as it was. */
static void go_indirect(struct vmc_tr *t, unsigned i, int32_t popped)
{
    uint32_t branch = t->off[i] | (uint32_t)popped << VMC_BRANCH_POPPED_SHIFT | VMC_BRANCH;
    if (popped)
        go_by_ring(t, branch);
    else
        go_by_site(t, true, branch);
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
    remember_return(t);
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
