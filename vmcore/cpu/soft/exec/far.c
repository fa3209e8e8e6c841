/*
 * Far transfers: JMP, CALL, RET and IRET between segments and privilege levels, software interrupts, SYSCALL
 * and SYSENTER.
 *
 * Each reads and checks everything first, with the new stack in a struct vmc_stack, and then commits CS, SS,
 * CPL and RIP together. All of them end their block: the mode may have changed.
 *
 * Source: Intel SDM vol. 2, the pseudocode of each instruction; vol. 3 chapters 5 and 6. Task switches are
 * refused (vmc_refuse).
 */
#include "base/i18n.h"
#include "cpu/soft/exception.h"
#include "cpu/soft/flags.h"
#include "cpu/soft/segment.h"

/* ---- code segments ---- */

/* A transfer's target, checked and not yet loaded. */
struct target {
    struct vmc_seg cs;
    unsigned cpl;
    uint64_t rip;
};

static uint64_t width_mask(unsigned size)
{
    return size == 8 ? ~0ull : size == 4 ? 0xffffffffull : 0xffffull;
}

static bool is_long_code(const VmcCpu *c, unsigned attr)
{
    return c->long_mode && (attr & SEG_L);
}

static void check_rip(VmcCpu *c, const struct target *t)
{
    if (is_long_code(c, t->cs.attr) ? !vmc_canonical(t->rip) : t->rip > t->cs.limit)
        vmc_gp0(c);
}

static void commit_target(VmcCpu *c, const struct target *t)
{
    c->seg[VMC_CS] = t->cs;
    c->cpl = (uint8_t)t->cpl;
    c->rip = t->rip;
}

/* A code segment as a direct far jump or call may reach it: at the same privilege. */
static void direct_target(VmcCpu *c, const struct vmc_desc *d, struct target *t)
{
    unsigned attr = vmc_desc_attr(d), dpl = SEG_DPL(attr), rpl = d->selector & 3;
    uint32_t error = d->selector & 0xfffcu;
    if (c->long_mode && (attr & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB))
        vmc_fault_code(c, EXC_GP, error);
    if (attr & SEG_CONFORMING ? dpl > c->cpl : rpl > c->cpl || dpl != c->cpl)
        vmc_fault_code(c, EXC_GP, error);
    if (!(attr & SEG_P))
        vmc_fault_code(c, EXC_NP, error);
    vmc_desc_to_seg(c, d, c->cpl, &t->cs);
    t->cpl = c->cpl;
    check_rip(c, t);
}

struct call_gate {
    uint64_t offset;
    uint16_t selector;
    unsigned size;   /* of what it pushes */
    unsigned params; /* to copy, in units of size */
};

static void read_gate(VmcCpu *c, const struct vmc_desc *d, struct call_gate *g)
{
    unsigned attr = vmc_desc_attr(d), type = attr & 0xf, dpl = SEG_DPL(attr);
    uint32_t error = d->selector & 0xfffcu, high = 0;
    if (dpl < c->cpl || dpl < (d->selector & 3u))
        vmc_fault_code(c, EXC_GP, error);
    if (c->long_mode && !vmc_desc_read_high(c, d, &high))
        vmc_fault_code(c, EXC_GP, error);
    if (!(attr & SEG_P))
        vmc_fault_code(c, EXC_NP, error);
    g->selector = (uint16_t)(d->lo >> 16);
    g->offset = d->lo & 0xffff;
    if (type == SYS_CALL)
        g->offset |= d->hi & 0xffff0000u;
    g->offset |= (uint64_t)high << 32;
    g->size = c->long_mode ? 8 : type == SYS_CALL ? 4 : 2;
    g->params = c->long_mode ? 0 : d->hi & 31;
}

/* The code segment behind a call gate. `call`: may go inwards. */
static void gate_target(VmcCpu *c, const struct call_gate *g, bool call, struct target *t)
{
    struct vmc_desc d;
    uint32_t error = g->selector & 0xfffcu;
    if (vmc_is_null(g->selector))
        vmc_gp0(c);
    if (!vmc_desc_read(c, g->selector, &d))
        vmc_fault_code(c, EXC_GP, error);
    unsigned attr = vmc_desc_attr(&d), dpl = SEG_DPL(attr);
    if (!vmc_is_code(attr) || dpl > c->cpl)
        vmc_fault_code(c, EXC_GP, error);
    if (c->long_mode && (attr & (SEG_L | SEG_DB)) != SEG_L)
        vmc_fault_code(c, EXC_GP, error);
    if (!call && !(attr & SEG_CONFORMING) && dpl != c->cpl)
        vmc_fault_code(c, EXC_GP, error);
    if (!(attr & SEG_P))
        vmc_fault_code(c, EXC_NP, error);
    t->cpl = attr & SEG_CONFORMING ? c->cpl : dpl;
    vmc_desc_to_seg(c, &d, t->cpl, &t->cs);
    t->rip = g->offset;
}

/* What a far pointer's selector names, when it is not code: a call gate (true), or something that ends here.
 */
static bool system_target(VmcCpu *c, const struct vmc_desc *d)
{
    unsigned attr = vmc_desc_attr(d), type = attr & 0xf;
    uint32_t error = d->selector & 0xfffcu;
    if (attr & SEG_S)
        vmc_fault_code(c, EXC_GP, error);
    if (type == SYS_CALL || (type == SYS_CALL16 && !c->long_mode))
        return true;
    if (c->long_mode || (type != SYS_TASK_GATE && type != SYS_TSS && type != SYS_TSS16))
        vmc_fault_code(c, EXC_GP, error);
    if (SEG_DPL(attr) < c->cpl || SEG_DPL(attr) < (d->selector & 3u))
        vmc_fault_code(c, EXC_GP, error);
    if (!(attr & SEG_P))
        vmc_fault_code(c, EXC_NP, error);
    vmc_refuse(c, N_("CPU %u: the guest asked for a task switch at %s, which the software CPU does not do; "
                     "use --cpu kvm for this guest"));
    return false;
}

/* ---- JMP and CALL ---- */

static void load_cs_real(VmcCpu *c, uint16_t selector, uint64_t rip)
{
    c->seg[VMC_CS].selector = selector;
    c->seg[VMC_CS].base = (uint32_t)selector << 4;
    c->rip = rip;
}

static void far_jump(VmcCpu *c, uint16_t selector, uint64_t offset)
{
    struct vmc_desc d;
    struct target t = {.rip = offset};
    if (!vmc_selectors(c)) {
        if (offset > c->seg[VMC_CS].limit)
            vmc_gp0(c);
        load_cs_real(c, selector, offset);
        vmc_mode_changed(c);
        return;
    }
    if (vmc_is_null(selector))
        vmc_gp0(c);
    if (!vmc_desc_read(c, selector, &d))
        vmc_fault_code(c, EXC_GP, selector & 0xfffcu);
    if (vmc_is_code(vmc_desc_attr(&d))) {
        direct_target(c, &d, &t);
    } else {
        struct call_gate g;
        if (!system_target(c, &d))
            return;
        read_gate(c, &d, &g);
        gate_target(c, &g, false, &t);
        check_rip(c, &t);
    }
    commit_target(c, &t);
    vmc_mode_changed(c);
}

static void call_same(VmcCpu *c, struct target *t, unsigned size, uint64_t after)
{
    struct vmc_stack s;
    vmc_stack_current(c, &s);
    vmc_push(&s, size, c->seg[VMC_CS].selector);
    vmc_push(&s, size, after);
    check_rip(c, t);
    commit_target(c, t);
    vmc_stack_commit(&s);
    vmc_mode_changed(c);
}

static void call_inner(VmcCpu *c, const struct call_gate *g, struct target *t, uint64_t after)
{
    struct vmc_stack s, outer;
    struct vmc_seg ss;
    uint64_t sp, params[32] = {0};
    uint16_t selector;
    vmc_tss_stack(c, t->cpl, 0, &sp, &selector);
    if (c->long_mode) {
        vmc_null_seg(&ss, (uint16_t)t->cpl);
        ss.attr = (uint16_t)(t->cpl << 5);
        vmc_stack_new(c, &s, &ss, sp, true, t->cpl);
    } else {
        vmc_check_stack(c, selector, t->cpl, EXC_TS, 0, &ss);
        vmc_stack_new(c, &s, &ss, sp, false, t->cpl);
        s.error = selector & 0xfffcu;
    }
    vmc_stack_current(c, &outer);
    for (unsigned i = 0; i < g->params; i++)
        params[i] = vmc_pop(&outer, g->size);
    vmc_push(&s, g->size, c->seg[VMC_SS].selector);
    vmc_push(&s, g->size, c->gpr[VMC_RSP]);
    for (unsigned i = g->params; i-- > 0;)
        vmc_push(&s, g->size, params[i]);
    vmc_push(&s, g->size, c->seg[VMC_CS].selector);
    vmc_push(&s, g->size, after);
    check_rip(c, t);
    commit_target(c, t);
    c->seg[VMC_SS] = ss;
    vmc_stack_commit(&s);
    vmc_mode_changed(c);
}

static void far_call(VmcCpu *c, uint16_t selector, uint64_t offset, unsigned size, uint64_t after)
{
    struct vmc_desc d;
    struct target t = {.rip = offset};
    if (!vmc_selectors(c)) {
        struct vmc_stack s;
        vmc_stack_current(c, &s);
        vmc_push(&s, size, c->seg[VMC_CS].selector);
        vmc_push(&s, size, after);
        if (offset > c->seg[VMC_CS].limit)
            vmc_gp0(c);
        load_cs_real(c, selector, offset);
        vmc_stack_commit(&s);
        vmc_mode_changed(c);
        return;
    }
    if (vmc_is_null(selector))
        vmc_gp0(c);
    if (!vmc_desc_read(c, selector, &d))
        vmc_fault_code(c, EXC_GP, selector & 0xfffcu);
    if (vmc_is_code(vmc_desc_attr(&d))) {
        direct_target(c, &d, &t);
        call_same(c, &t, size, after);
        return;
    }
    struct call_gate g;
    if (!system_target(c, &d))
        return;
    read_gate(c, &d, &g);
    gate_target(c, &g, true, &t);
    if (t.cpl < c->cpl)
        call_inner(c, &g, &t, after);
    else
        call_same(c, &t, g.size, after);
}

/* A refused task switch leaves RIP at the instruction. */
static void begin(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    c->rip = vmc_rip(c, u);
}

static void op_jmp_ptr(VmcCpu *c, const struct vmc_uop *u)
{
    begin(c, u);
    far_jump(c, u->x, (uint64_t)u->imm & width_mask(u->scale));
}

static void op_call_ptr(VmcCpu *c, const struct vmc_uop *u)
{
    begin(c, u);
    far_call(c, u->x, (uint64_t)u->imm & width_mask(u->scale), u->scale, vmc_after(c, u));
}

/* m16:16, m16:32, m16:64; u->x is the size of the offset. */
static uint64_t load_pointer(VmcCpu *c, const struct vmc_uop *u, uint16_t *selector)
{
    uint64_t va = vmc_ea(c, u), offset;
    if (u->x == 8)
        offset = vmc_ld64(c, u, va);
    else if (u->x == 4)
        offset = vmc_ld32(c, u, va);
    else
        offset = vmc_ld16(c, u, va);
    *selector = vmc_ld16(c, u, va + u->x);
    return offset;
}

static void op_jmp_mem(VmcCpu *c, const struct vmc_uop *u)
{
    uint16_t selector;
    begin(c, u);
    uint64_t offset = load_pointer(c, u, &selector);
    far_jump(c, selector, offset);
}

static void op_call_mem(VmcCpu *c, const struct vmc_uop *u)
{
    uint16_t selector;
    begin(c, u);
    uint64_t offset = load_pointer(c, u, &selector);
    far_call(c, selector, offset, u->x, vmc_after(c, u));
}

/* ---- RET and IRET ---- */

/* The code segment a far return names: RPL is the privilege to return to. */
static void return_target(VmcCpu *c, uint16_t selector, struct target *t)
{
    struct vmc_desc d;
    uint32_t error = selector & 0xfffcu;
    unsigned rpl = selector & 3;
    if (vmc_is_null(selector))
        vmc_gp0(c);
    if (!vmc_desc_read(c, selector, &d))
        vmc_fault_code(c, EXC_GP, error);
    unsigned attr = vmc_desc_attr(&d), dpl = SEG_DPL(attr);
    if (!vmc_is_code(attr) || rpl < c->cpl)
        vmc_fault_code(c, EXC_GP, error);
    if (c->long_mode && (attr & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB))
        vmc_fault_code(c, EXC_GP, error);
    if (attr & SEG_CONFORMING ? dpl > rpl : dpl != rpl)
        vmc_fault_code(c, EXC_GP, error);
    if (!(attr & SEG_P))
        vmc_fault_code(c, EXC_NP, error);
    vmc_desc_to_seg(c, &d, rpl, &t->cs);
    t->cpl = rpl;
}

/* The stack segment popped with it; null is good enough for 64-bit code inside the kernel. */
static void return_stack(VmcCpu *c, uint16_t selector, const struct target *t, struct vmc_seg *ss)
{
    if (vmc_is_null(selector) && is_long_code(c, t->cs.attr) && t->cpl != 3 && (selector & 3) == t->cpl) {
        vmc_null_seg(ss, selector);
        ss->attr = (uint16_t)(t->cpl << 5);
        return;
    }
    vmc_check_stack(c, selector, t->cpl, EXC_GP, 0, ss);
}

/* RSP popped by a return outwards, as wide as the stack it is for; `extra` is RET's immediate. */
static void return_sp(VmcCpu *c, uint64_t sp, unsigned extra)
{
    uint64_t *rsp = &c->gpr[VMC_RSP];
    if (is_long_code(c, c->seg[VMC_CS].attr))
        *rsp = sp + extra;
    else if (c->seg[VMC_SS].attr & SEG_DB)
        *rsp = (uint32_t)(sp + extra);
    else
        *rsp = (*rsp & ~0xffffull) | ((sp + extra) & 0xffff);
}

static void far_return(VmcCpu *c, unsigned size, unsigned extra)
{
    struct vmc_stack s;
    struct target t;
    vmc_stack_current(c, &s);
    t.rip = vmc_pop(&s, size);
    uint16_t selector = (uint16_t)vmc_pop(&s, size);
    if (!vmc_selectors(c)) {
        if (t.rip > c->seg[VMC_CS].limit)
            vmc_gp0(c);
        s.sp = (s.sp + extra) & s.mask;
        vmc_stack_commit(&s);
        load_cs_real(c, selector, t.rip);
        vmc_mode_changed(c);
        return;
    }
    return_target(c, selector, &t);
    s.sp = (s.sp + extra) & s.mask;
    if (t.cpl == c->cpl) {
        check_rip(c, &t);
        vmc_stack_commit(&s);
        commit_target(c, &t);
        vmc_mode_changed(c);
        return;
    }
    struct vmc_seg ss;
    uint64_t sp = vmc_pop(&s, size);
    return_stack(c, (uint16_t)vmc_pop(&s, size), &t, &ss);
    check_rip(c, &t);
    commit_target(c, &t);
    c->seg[VMC_SS] = ss;
    return_sp(c, sp, extra);
    vmc_drop_segs(c);
    vmc_mode_changed(c);
}

static void op_ret_far(VmcCpu *c, const struct vmc_uop *u)
{
    begin(c, u);
    far_return(c, u->x, (uint16_t)u->imm);
}

/* The flags IRET and POPF may change at this privilege. */
static uint64_t loadable_flags(const VmcCpu *c, unsigned size)
{
    uint64_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT;
    if (size > 2)
        mask |= FL_AC | FL_ID;
    if (!vmc_protected(c) || c->cpl == 0)
        mask |= FL_IOPL;
    if (!vmc_protected(c) || c->cpl <= vmc_iopl(c))
        mask |= FL_IF;
    return mask;
}

static uint64_t merge_flags(const VmcCpu *c, uint64_t flags, uint64_t mask)
{
    return (vmc_get_rflags(c) & ~mask) | (flags & mask);
}

/* Done with an IRET: flags last, as their mask depends on the old CPL. */
static void finish_iret(VmcCpu *c, uint64_t flags)
{
    vmc_set_rflags(c, flags);
    c->nmi_blocked = false;
    if (vmc_unlikely(c->nmi_waiting)) {
        c->nmi_waiting = false;
        vmc_request(c, REQ_NMI);
    }
    vmc_flags_loaded(c);
    vmc_mode_changed(c);
}

static void iret_real(VmcCpu *c, unsigned size)
{
    struct vmc_stack s;
    if (vmc_v86(c) && vmc_iopl(c) < 3)
        vmc_gp0(c);
    vmc_stack_current(c, &s);
    uint64_t rip = vmc_pop(&s, size);
    uint16_t selector = (uint16_t)vmc_pop(&s, size);
    uint64_t flags = vmc_pop(&s, size), mask = loadable_flags(c, size);
    if (size > 2)
        mask |= FL_RF;
    if (rip > c->seg[VMC_CS].limit)
        vmc_gp0(c);
    vmc_stack_commit(&s);
    load_cs_real(c, selector, rip);
    finish_iret(c, merge_flags(c, flags, mask));
}

/* IRETD from ring 0 into a virtual-8086 task. */
static void iret_to_v86(VmcCpu *c, struct vmc_stack *s, uint64_t rip, uint16_t cs, uint64_t flags)
{
    static const uint8_t order[4] = {VMC_ES, VMC_DS, VMC_FS, VMC_GS};
    uint16_t sel[VMC_SEG_COUNT];
    sel[VMC_CS] = cs;
    uint64_t sp = vmc_pop(s, 4);
    sel[VMC_SS] = (uint16_t)vmc_pop(s, 4);
    for (unsigned i = 0; i < 4; i++)
        sel[order[i]] = (uint16_t)vmc_pop(s, 4);
    if (rip > 0xffff)
        vmc_gp0(c);
    for (unsigned i = 0; i < VMC_SEG_COUNT; i++)
        c->seg[i] = (struct vmc_seg){
            .base = (uint32_t)sel[i] << 4, .limit = 0xffff, .selector = sel[i], .attr = 0xf3};
    c->gpr[VMC_RSP] = sp;
    c->rip = rip;
    c->cpl = 3;
    finish_iret(c, flags & (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC |
                            FL_VIF | FL_VIP | FL_ID));
}

static void iret_protected(VmcCpu *c, unsigned size)
{
    struct vmc_stack s;
    struct target t;
    if (c->eflags & FL_NT) {
        if (c->long_mode)
            vmc_gp0(c);
        vmc_refuse(c, N_("CPU %u: the guest asked for a return from a nested task at %s, which the software "
                         "CPU does not do; use --cpu kvm for this guest"));
        return;
    }
    vmc_stack_current(c, &s);
    t.rip = vmc_pop(&s, size);
    uint16_t selector = (uint16_t)vmc_pop(&s, size);
    uint64_t flags = vmc_pop(&s, size), mask = loadable_flags(c, size);
    if (size > 2) {
        mask |= FL_RF;
        if (c->cpl == 0)
            mask |= FL_VIF | FL_VIP;
    }
    if ((flags & FL_VM) && size == 4 && c->cpl == 0 && !c->long_mode) {
        iret_to_v86(c, &s, t.rip, selector, flags);
        return;
    }
    bool outer = (selector & 3) != c->cpl, pops_stack = outer || c->mode == VMC_MODE_64;
    struct vmc_seg ss;
    uint64_t sp = 0;
    uint16_t ss_selector = 0;
    if (c->mode == VMC_MODE_64) { /* the whole frame is read before CS is looked at */
        sp = vmc_pop(&s, size);
        ss_selector = (uint16_t)vmc_pop(&s, size);
    }
    return_target(c, selector, &t);
    if (pops_stack && c->mode != VMC_MODE_64) {
        sp = vmc_pop(&s, size);
        ss_selector = (uint16_t)vmc_pop(&s, size);
    }
    if (pops_stack)
        return_stack(c, ss_selector, &t, &ss);
    check_rip(c, &t);

    flags = merge_flags(c, flags, mask);
    commit_target(c, &t);
    if (pops_stack) {
        c->seg[VMC_SS] = ss;
        return_sp(c, sp, 0);
    } else {
        vmc_stack_commit(&s);
    }
    if (outer)
        vmc_drop_segs(c);
    finish_iret(c, flags);
}

static void op_iret(VmcCpu *c, const struct vmc_uop *u)
{
    begin(c, u);
    if (vmc_selectors(c))
        iret_protected(c, u->x);
    else
        iret_real(c, u->x);
}

/* ---- software interrupts ---- */

static void soft_int(VmcCpu *c, const struct vmc_uop *u, unsigned vector)
{
    c->cur = u;
    c->rip = vmc_after(c, u);
    vmc_deliver(c, VMC_EVENT_SOFT_INT, vector, false, 0);
}

static void op_int(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    if (vmc_v86(c) && vmc_iopl(c) < 3)
        vmc_gp0(c);
    soft_int(c, u, (uint8_t)u->imm);
}

static void op_int3(VmcCpu *c, const struct vmc_uop *u)
{
    soft_int(c, u, EXC_BP);
}

static void op_into(VmcCpu *c, const struct vmc_uop *u)
{
    if (vmc_condition(c, 0))
        soft_int(c, u, EXC_OF);
    else
        c->rip = vmc_after(c, u);
}

static void op_int1(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    c->rip = vmc_after(c, u);
    vmc_deliver_int1(c);
}

/* ---- SYSCALL, SYSENTER ---- */

/* The flat segments these instructions load without looking at a table. */
static void flat_cs(VmcCpu *c, unsigned selector, unsigned cpl, bool is_long)
{
    c->seg[VMC_CS] = (struct vmc_seg){
        .limit = 0xffffffffu,
        .selector = (uint16_t)selector,
        .attr = (uint16_t)(SEG_G | SEG_P | SEG_S | 0xb | cpl << 5 | (is_long ? SEG_L : SEG_DB)),
    };
}

static void flat_ss(VmcCpu *c, unsigned selector, unsigned cpl)
{
    c->seg[VMC_SS] = (struct vmc_seg){
        .limit = 0xffffffffu,
        .selector = (uint16_t)selector,
        .attr = (uint16_t)(SEG_G | SEG_DB | SEG_P | SEG_S | 0x3 | cpl << 5),
    };
}

/* In 64-bit code only: elsewhere Intel's processors raise #UD. */
static void op_syscall(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    if (!(c->efer & EFER_SCE))
        vmc_ud(c);
    unsigned selector = (unsigned)(c->msr.star >> 32) & 0xfffc;
    uint64_t flags = vmc_get_rflags(c);
    c->gpr[VMC_RCX] = vmc_next_rip(c, u);
    c->gpr[11] = flags & ~FL_RF;
    c->rip = c->msr.lstar;
    vmc_set_rflags(c, flags & ~(c->msr.sfmask | FL_RF));
    flat_cs(c, selector, 0, true);
    flat_ss(c, selector + 8, 0);
    c->cpl = 0;
    vmc_soft_update_mode(c);
}

static void op_sysret(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    if (!(c->efer & EFER_SCE))
        vmc_ud(c);
    if (c->cpl)
        vmc_gp0(c);
    unsigned selector = (unsigned)(c->msr.star >> 48);
    bool to_long = u->x == 8;
    if (to_long && !vmc_canonical(c->gpr[VMC_RCX]))
        vmc_gp0(c);
    c->rip = to_long ? c->gpr[VMC_RCX] : (uint32_t)c->gpr[VMC_RCX];
    vmc_set_rflags(c, c->gpr[11] & 0x3c7fd7);
    flat_cs(c, (selector + (to_long ? 16 : 0)) | 3, 3, to_long);
    flat_ss(c, (selector + 8) | 3, 3);
    c->cpl = 3;
    vmc_flags_loaded(c);
    vmc_mode_changed(c);
}

static void op_sysenter(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned selector = c->msr.sysenter_cs & 0xfffc;
    c->cur = u;
    if (!vmc_protected(c) || !selector)
        vmc_gp0(c);
    c->eflags &= ~(FL_VM | FL_IF | FL_RF);
    c->gpr[VMC_RSP] = c->long_mode ? c->msr.sysenter_esp : (uint32_t)c->msr.sysenter_esp;
    c->rip = c->long_mode ? c->msr.sysenter_eip : (uint32_t)c->msr.sysenter_eip;
    flat_cs(c, selector, 0, c->long_mode);
    flat_ss(c, selector + 8, 0);
    c->cpl = 0;
    vmc_mode_changed(c);
}

static void op_sysexit(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned selector = c->msr.sysenter_cs & 0xfffc;
    bool to_long = u->x == 8;
    c->cur = u;
    if (!vmc_protected(c) || c->cpl || !selector)
        vmc_gp0(c);
    if (to_long && (!vmc_canonical(c->gpr[VMC_RDX]) || !vmc_canonical(c->gpr[VMC_RCX])))
        vmc_gp0(c);
    c->gpr[VMC_RSP] = to_long ? c->gpr[VMC_RCX] : (uint32_t)c->gpr[VMC_RCX];
    c->rip = to_long ? c->gpr[VMC_RDX] : (uint32_t)c->gpr[VMC_RDX];
    selector += to_long ? 32 : 16;
    flat_cs(c, selector | 3, 3, to_long);
    flat_ss(c, (selector + 8) | 3, 3);
    c->cpl = 3;
    vmc_mode_changed(c);
}

/* ---- PUSHF, POPF: kin of IRET ---- */

static void check_v86_iopl(VmcCpu *c)
{
    if (vmc_v86(c) && vmc_iopl(c) < 3)
        vmc_gp0(c);
}

static VMC_NOINLINE void pushf_slow(VmcCpu *c, const struct vmc_uop *u)
{
    struct vmc_stack s;
    c->cur = u;
    check_v86_iopl(c);
    vmc_stack_current(c, &s);
    vmc_push(&s, u->x, vmc_get_rflags(c) & ~(FL_VM | FL_RF));
    vmc_stack_commit(&s);
}

static void op_pushf(VmcCpu *c, const struct vmc_uop *u)
{
    pushf_slow(c, u);
    VMC_NEXT(c, u);
}

static void op_pushfq(VmcCpu *c, const struct vmc_uop *u)
{
    uint64_t sp = c->gpr[VMC_RSP] - 8;
    vmc_st64(c, u, sp, vmc_get_rflags(c) & ~(FL_VM | FL_RF));
    c->gpr[VMC_RSP] = sp;
    VMC_NEXT(c, u);
}

static void op_popf(VmcCpu *c, const struct vmc_uop *u)
{
    struct vmc_stack s;
    c->cur = u;
    check_v86_iopl(c);
    vmc_stack_current(c, &s);
    uint64_t flags = vmc_pop(&s, u->x), mask = loadable_flags(c, u->x);
    uint64_t clear = FL_RF;
    if (u->x > 2 && !vmc_v86(c) && (!vmc_protected(c) || c->cpl == 0))
        clear |= FL_VIF | FL_VIP;
    vmc_stack_commit(&s);
    vmc_set_rflags(c, merge_flags(c, flags, mask) & ~clear);
    c->rip = vmc_after(c, u);
    vmc_flags_loaded(c);
    vmc_soft_update_mode(c);
}

/* ---- binding ---- */

/* Operand size of stack instructions whose default in 64-bit mode is 64 bits. */
static unsigned stack_size(const struct vmc_insn *d)
{
    return d->mode == VMC_MODE_64 && d->opsize != 2 ? 8 : d->opsize;
}

static enum vmc_bound end_with(struct vmc_uop *u, vmc_op fn, unsigned x)
{
    u->fn = fn;
    u->x = (uint16_t)x;
    return VMC_BIND_END;
}

static enum vmc_bound bind_pointer(const struct vmc_insn *d, struct vmc_uop *u, vmc_op fn)
{
    if (d->mode == VMC_MODE_64)
        return VMC_BIND_UD;
    u->scale = d->opsize;
    return end_with(u, fn, d->imm2);
}

static enum vmc_bound bind_one_byte(const struct vmc_insn *d, struct vmc_uop *u)
{
    bool is64 = d->mode == VMC_MODE_64;
    switch (d->opcode) {
    case 0x9a:
        return bind_pointer(d, u, op_call_ptr);
    case 0xea:
        return bind_pointer(d, u, op_jmp_ptr);
    case 0xff:
        if ((d->modrm >> 3 & 6) != 2 && (d->modrm >> 3 & 6) != 4)
            return VMC_BIND_NO;
        if ((d->modrm >> 3 & 7) == 3)
            return d->is_mem ? end_with(u, op_call_mem, d->opsize) : VMC_BIND_UD;
        if ((d->modrm >> 3 & 7) == 5)
            return d->is_mem ? end_with(u, op_jmp_mem, d->opsize) : VMC_BIND_UD;
        return VMC_BIND_NO;
    case 0xca:
    case 0xcb:
        if (d->opcode == 0xcb)
            u->imm = 0;
        u->flags |= UF_SS;
        return end_with(u, op_ret_far, d->opsize);
    case 0xcf:
        u->flags |= UF_SS;
        return end_with(u, op_iret, d->opsize);
    case 0xcc:
        return end_with(u, op_int3, 0);
    case 0xcd:
        return end_with(u, op_int, 0);
    case 0xce:
        return is64 ? VMC_BIND_UD : end_with(u, op_into, 0);
    case 0xf1:
        return end_with(u, op_int1, 0);
    case 0x9c:
        u->flags |= UF_SS;
        u->x = (uint16_t)stack_size(d);
        u->fn = u->x == 8 ? op_pushfq : op_pushf;
        return VMC_BIND_OK;
    case 0x9d:
        u->flags |= UF_SS;
        return end_with(u, op_popf, stack_size(d));
    }
    return VMC_BIND_NO;
}

enum vmc_bound vmc_bind_far(const struct vmc_insn *d, struct vmc_uop *u)
{
    bool is64 = d->mode == VMC_MODE_64;
    if (d->map == VMC_MAP_1)
        return bind_one_byte(d, u);
    if (d->map != VMC_MAP_0F)
        return VMC_BIND_NO;
    switch (d->opcode) {
    case 0x05:
        return is64 ? end_with(u, op_syscall, 0) : VMC_BIND_UD;
    case 0x07:
        return is64 ? end_with(u, op_sysret, d->opsize) : VMC_BIND_UD;
    case 0x34:
        return end_with(u, op_sysenter, 0);
    case 0x35:
        return end_with(u, op_sysexit, d->opsize);
    }
    return VMC_BIND_NO;
}
