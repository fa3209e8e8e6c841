/*
 * Exceptions and interrupts: raising them, and delivering them through the IVT or IDT.
 *
 * A fault is a long jump to the run loop, which calls vmc_deliver_fault. Delivery itself may fault; the run
 * loop then comes again, and c->delivering says what was under way: that makes double and triple faults (SDM
 * vol. 3 table 6-5). Every check and every store to the new stack comes before the first change of the CPU,
 * so a failed delivery leaves it as it was.
 *
 * Source: Intel SDM vol. 3 chapter 6 (delivery), section 17.3.1.1 (RF), vol. 2 "INT n".
 */
#include "cpu/soft/exception.h"

#include "base/i18n.h"
#include "cpu/soft/flags.h"
#include "cpu/soft/segment.h"

static bool pushes_error(unsigned vector)
{
    return vector == EXC_DF || (vector >= EXC_TS && vector <= EXC_PF) || vector == EXC_AC;
}

static _Noreturn void throw_fault(VmcCpu *c, unsigned vector, uint32_t error, uint64_t extra)
{
    if (c->cur) {
        c->rip = vmc_rip(c, c->cur);
        if (c->mode != VMC_MODE_64)
            c->rip = (uint32_t)c->rip;
    }
    c->fault.vector = (uint8_t)vector;
    c->fault.has_error = pushes_error(vector);
    c->fault.error = error;
    c->fault.cr2_or_dr6 = extra;
    _longjmp(c->fault_jmp, 1);
}

_Noreturn void vmc_fault(VmcCpu *c, unsigned vector)
{
    throw_fault(c, vector, 0, 0);
}

_Noreturn void vmc_fault_code(VmcCpu *c, unsigned vector, uint32_t error)
{
    throw_fault(c, vector, error, 0);
}

_Noreturn void vmc_page_fault(VmcCpu *c, uint64_t address, uint32_t error)
{
    throw_fault(c, EXC_PF, error, c->long_mode ? address : (uint32_t)address);
}

_Noreturn void vmc_fault_db(VmcCpu *c, uint64_t dr6)
{
    throw_fault(c, EXC_DB, 0, dr6);
}

/* ---- delivery ---- */

struct event {
    enum vmc_event kind;
    unsigned vector;
    bool has_error;
    uint32_t error;
    bool check_dpl; /* INT n, INT3, INTO */
    unsigned ext;   /* bit 0 of error codes of faults on the way */
    uint64_t flags; /* image to push */
};

/* What every IDT gate says, whatever its size. */
struct gate {
    uint64_t offset;
    uint16_t selector;
    uint8_t type, ist;
    bool masks; /* an interrupt gate: clears IF */
};

static uint32_t idt_error(const struct event *e)
{
    return e->vector * 8 + 2 + e->ext;
}

/* The parts of delivery all modes share once everything has been checked. */
static void commit_flags(VmcCpu *c, uint64_t clear)
{
    uint64_t flags = c->eflags & ~clear;
    c->eflags = flags;
}

static void deliver_real(VmcCpu *c, const struct event *e)
{
    struct vmc_stack s;
    if (e->vector * 4 + 3 > c->idt.limit)
        vmc_fault_code(c, EXC_GP, idt_error(e));
    uint32_t entry = (uint32_t)vmc_sys_ld(c, c->idt.base + e->vector * 4, 4);

    vmc_stack_current(c, &s);
    vmc_push(&s, 2, e->flags);
    vmc_push(&s, 2, c->seg[VMC_CS].selector);
    vmc_push(&s, 2, c->rip);

    vmc_stack_commit(&s);
    commit_flags(c, FL_IF | FL_TF | FL_AC | FL_RF);
    c->seg[VMC_CS].selector = (uint16_t)(entry >> 16);
    c->seg[VMC_CS].base = (entry >> 16) << 4;
    c->rip = entry & 0xffff;
}

/* Checks the gate's type, privilege and presence, in that order. */
static void check_gate(VmcCpu *c, const struct event *e, uint32_t hi, bool good_type)
{
    if (!good_type)
        vmc_fault_code(c, EXC_GP, idt_error(e));
    if (e->check_dpl && ((hi >> 13) & 3) < c->cpl)
        vmc_fault_code(c, EXC_GP, idt_error(e));
    if (!(hi & (SEG_P << 8)))
        vmc_fault_code(c, EXC_NP, idt_error(e));
}

/* The handler's code segment: *seg ready to load, the new CPL returned. */
static unsigned check_handler(VmcCpu *c, const struct event *e, const struct gate *g, struct vmc_seg *seg)
{
    struct vmc_desc d;
    uint32_t error = (g->selector & 0xfffcu) | e->ext;
    if (vmc_is_null(g->selector))
        vmc_fault_code(c, EXC_GP, e->ext);
    if (!vmc_desc_read(c, g->selector, &d))
        vmc_fault_code(c, EXC_GP, error);
    unsigned attr = vmc_desc_attr(&d);
    if (!vmc_is_code(attr) || SEG_DPL(attr) > c->cpl)
        vmc_fault_code(c, EXC_GP, error);
    if (c->long_mode && (attr & (SEG_L | SEG_DB)) != SEG_L)
        vmc_fault_code(c, EXC_GP, error);
    unsigned cpl = attr & SEG_CONFORMING ? c->cpl : SEG_DPL(attr);
    if (vmc_v86(c) && cpl != 0)
        vmc_fault_code(c, EXC_GP, error);
    if (!(attr & SEG_P))
        vmc_fault_code(c, EXC_NP, error);
    vmc_desc_to_seg(c, &d, cpl, seg);
    return cpl;
}

static void deliver_long(VmcCpu *c, const struct event *e)
{
    uint64_t at = c->idt.base + e->vector * 16;
    struct vmc_seg cs, ss;
    struct vmc_stack s;
    if (e->vector * 16 + 15 > c->idt.limit)
        vmc_fault_code(c, EXC_GP, idt_error(e));
    uint64_t low = vmc_sys_ld(c, at, 8), high = vmc_sys_ld(c, at + 8, 8);
    uint32_t hi = (uint32_t)(low >> 32);
    unsigned type = (hi >> 8) & 0x1f;
    struct gate g = {
        .offset = (low & 0xffff) | ((uint64_t)(hi & 0xffff0000u)) | (high << 32),
        .selector = (uint16_t)(low >> 16),
        .ist = hi & 7,
        .masks = type == SYS_INT,
    };
    check_gate(c, e, hi, (type == SYS_INT || type == SYS_TRAP) && ((high >> 40) & 0x1f) == 0);
    unsigned cpl = check_handler(c, e, &g, &cs);
    bool inner = cpl < c->cpl;

    uint64_t sp = c->gpr[VMC_RSP];
    uint16_t ignored;
    if (g.ist)
        sp = vmc_tss_ist(c, g.ist, e->ext);
    else if (inner)
        vmc_tss_stack(c, cpl, e->ext, &sp, &ignored);
    ss = c->seg[VMC_SS];
    if (inner) {
        vmc_null_seg(&ss, (uint16_t)cpl);
        ss.attr = (uint16_t)(cpl << 5);
    }
    vmc_stack_new(c, &s, &ss, sp & ~15ull, true, cpl);
    s.error = e->ext;
    vmc_push(&s, 8, c->seg[VMC_SS].selector);
    vmc_push(&s, 8, c->gpr[VMC_RSP]);
    vmc_push(&s, 8, e->flags);
    vmc_push(&s, 8, c->seg[VMC_CS].selector);
    vmc_push(&s, 8, c->rip);
    if (e->has_error)
        vmc_push(&s, 8, e->error);
    if (!vmc_canonical(g.offset))
        vmc_fault_code(c, EXC_GP, e->ext);

    c->gpr[VMC_RSP] = s.sp;
    c->seg[VMC_CS] = cs;
    c->seg[VMC_SS] = ss;
    c->cpl = (uint8_t)cpl;
    c->rip = g.offset;
    commit_flags(c, FL_TF | FL_NT | FL_RF | FL_VM | (g.masks ? FL_IF : 0));
}

/* Virtual-8086 code is left: its data segments go to the handler's stack and become null. */
static const uint8_t v86_segs[4] = {VMC_GS, VMC_FS, VMC_DS, VMC_ES};

static void deliver_protected(VmcCpu *c, const struct event *e)
{
    struct vmc_seg cs, ss;
    struct vmc_stack s;
    if (e->vector * 8 + 7 > c->idt.limit)
        vmc_fault_code(c, EXC_GP, idt_error(e));
    uint64_t raw = vmc_sys_ld(c, c->idt.base + e->vector * 8, 8);
    uint32_t hi = (uint32_t)(raw >> 32);
    unsigned type = (hi >> 8) & 0x1f;
    check_gate(c, e, hi, type == SYS_TASK_GATE || (type & ~9u) == SYS_INT16);
    if (type == SYS_TASK_GATE) {
        vmc_refuse(c, N_("CPU %u: the guest asked for an interrupt through a task gate at %s, which the "
                         "software CPU does not do; use --cpu kvm for this guest"));
        return;
    }
    bool gate32 = type & 8;
    unsigned width = gate32 ? 4 : 2;
    struct gate g = {
        .offset = (raw & 0xffff) | (gate32 ? hi & 0xffff0000u : 0),
        .selector = (uint16_t)(raw >> 16),
        .masks = !(type & 1),
    };
    unsigned cpl = check_handler(c, e, &g, &cs);
    bool inner = cpl < c->cpl, v86 = vmc_v86(c);

    if (inner) {
        uint64_t sp;
        uint16_t selector;
        vmc_tss_stack(c, cpl, e->ext, &sp, &selector);
        vmc_check_stack(c, selector, cpl, EXC_TS, e->ext, &ss);
        vmc_stack_new(c, &s, &ss, sp, false, cpl);
        s.error = (selector & 0xfffcu) | e->ext;
        if (v86)
            for (unsigned i = 0; i < 4; i++)
                vmc_push(&s, width, c->seg[v86_segs[i]].selector);
        vmc_push(&s, width, c->seg[VMC_SS].selector);
        vmc_push(&s, width, c->gpr[VMC_RSP]);
    } else {
        vmc_stack_current(c, &s);
        s.error = e->ext;
    }
    vmc_push(&s, width, e->flags);
    vmc_push(&s, width, c->seg[VMC_CS].selector);
    vmc_push(&s, width, c->rip);
    if (e->has_error)
        vmc_push(&s, width, e->error);
    if (g.offset > cs.limit)
        vmc_fault_code(c, EXC_GP, e->ext);

    if (inner)
        c->seg[VMC_SS] = ss;
    vmc_stack_commit(&s);
    c->seg[VMC_CS] = cs;
    c->cpl = (uint8_t)cpl;
    c->rip = g.offset;
    if (v86)
        for (unsigned i = 0; i < 4; i++)
            vmc_null_seg(&c->seg[v86_segs[i]], 0);
    commit_flags(c, FL_TF | FL_NT | FL_RF | FL_VM | (g.masks ? FL_IF : 0));
}

static void deliver(VmcCpu *c, struct event *e)
{
    e->flags = vmc_get_rflags(c);
    /* Faults push RF set, so that IRET gets past the instruction's breakpoint; but an instruction breakpoint
     * itself leaves that to its handler. */
    bool breakpoint = e->vector == EXC_DB && !(c->fault.cr2_or_dr6 & DR6_BD);
    if (e->kind == VMC_EVENT_FAULT && !breakpoint)
        e->flags |= FL_RF;
    if (!vmc_protected(c))
        deliver_real(c, e);
    else if (c->long_mode)
        deliver_long(c, e);
    else
        deliver_protected(c, e);
    c->delivering = -1;
    c->event_taken = true;
    if (c->fatal)
        return;
    c->inhibit = c->inhibit_db = false;
    c->halted = false;
    if (e->kind == VMC_EVENT_NMI)
        c->nmi_blocked = true;
    vmc_mode_changed(c);
}

/* DR6 and DR7 as a debug exception leaves them: the condition bits are of this exception alone, the rest
 * stays. */
static void note_debug(VmcCpu *c, uint64_t bits)
{
    if (bits)
        c->dr[6] = (c->dr[6] & ~0xfull) | bits;
    c->dr[7] &= ~(uint64_t)DR7_GD;
}

void vmc_deliver(VmcCpu *c, enum vmc_event kind, unsigned vector, bool has_error, uint32_t error)
{
    struct event e = {
        .kind = kind,
        .vector = vector,
        .has_error = has_error,
        .error = error,
        .check_dpl = kind == VMC_EVENT_SOFT_INT,
        .ext = kind != VMC_EVENT_SOFT_INT,
    };
    if (kind != VMC_EVENT_SOFT_INT)
        c->cur = NULL;
    c->delivering = kind == VMC_EVENT_FAULT || kind == VMC_EVENT_TRAP ? (int)vector : -1;
    if (kind == VMC_EVENT_TRAP && vector == EXC_DB) {
        note_debug(c, c->db_pending);
        c->db_pending = 0;
    }
    deliver(c, &e);
}

void vmc_deliver_int1(VmcCpu *c)
{
    struct event e = {.kind = VMC_EVENT_TRAP, .vector = EXC_DB, .ext = 1};
    c->delivering = -1;
    note_debug(c, 0);
    deliver(c, &e);
}

/* ---- double and triple faults ---- */

static bool contributory(unsigned vector)
{
    return vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP);
}

static bool makes_double(unsigned first, unsigned second)
{
    if (contributory(first))
        return contributory(second);
    return first == EXC_PF && (contributory(second) || second == EXC_PF);
}

void vmc_deliver_fault(VmcCpu *c)
{
    struct event e = {
        .kind = VMC_EVENT_FAULT,
        .vector = c->fault.vector,
        .has_error = c->fault.has_error,
        .error = c->fault.error,
        .ext = 1,
    };
    c->cur = NULL;
    c->db_pending = 0; /* the instruction did not complete */
    if (e.vector == EXC_PF)
        c->cr2 = c->fault.cr2_or_dr6;
    if (c->delivering == EXC_DF) {
        c->shutdown = true;
        c->delivering = -1;
        return;
    }
    if (c->delivering >= 0 && makes_double((unsigned)c->delivering, e.vector)) {
        e.vector = EXC_DF;
        e.has_error = true;
        e.error = 0;
    }
    c->delivering = (int)e.vector;
    if (e.vector == EXC_DB)
        note_debug(c, c->fault.cr2_or_dr6);
    deliver(c, &e);
}
