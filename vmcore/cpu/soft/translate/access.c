/*
 * Guest memory from translated code.
 *
 * An address is looked up in the TLB of the running privilege: index, XOR with the tag, which leaves the
 * offset in the page if it is the right one, and one comparison that also tells whether the access stays in
 * the page. What fails goes to a stub behind the block, which brings the guest's flags up to date and asks
 * vmc_translated_access: it fills the TLB and returns, or leaves the instruction to the interpreter.
 *
 * Accesses that belong together are checked together (spans.c). Where such a span fails too often, because it
 * lies across two pages, the block is translated again with a look-up for each.
 */
#include "cpu/soft/translate/context.h"

/* Base, index and displacement of instruction i as a host operand; registers that are in VmcCpu come to S1,
 * S2. */
static struct vmc_rm address(struct vmc_tr *t, unsigned i, int32_t disp)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    unsigned base = H_NONE, index = H_NONE, scale = 0;
    if (p->base == VMC_RIP_REG) {
        vmc_load(&t->e, S1, CPU_AT(block_rip));
        base = S1;
    } else if (p->base != VMC_NO_REG) {
        base = vmc_host_reg(p->base);
        if (base == H_NONE) {
            vmc_load(&t->e, S1, vmc_gpr_slot(p->base));
            base = S1;
        }
    }
    if (vmc_explicit(d, p) && d->index != VMC_NO_REG) {
        scale = d->scale;
        index = vmc_host_reg(d->index);
        if (index == H_NONE) {
            vmc_gpr_to_s2(&t->e, d->index);
            index = S2;
        }
    }
    if (base == H_NONE) { /* none: the constant zero */
        vmc_load(&t->e, S1, CPU_AT(slot_zero));
        base = S1;
    }
    return vmc_mx(base, index, scale, disp);
}

/* S1 = linear address of instruction i's operand, `disp` instead of its own displacement. */
static void linear(struct vmc_tr *t, unsigned i, int32_t disp)
{
    const struct vmc_insn *d = &t->insn[i];
    uint8_t seg = vmc_segment(d, &t->plan[i]);
    struct vmc_rm rm = address(t, i, disp);
    bool narrow = vmc_explicit(d, &t->plan[i]) && d->addrsize == 4;
    if (narrow)
        vmc_emit(&t->e, VMC_OP(0x8d), S1, rm);
    else if (rm.index == H_NONE && disp == 0)
        vmc_store(&t->e, vmc_r(S1), rm.base);
    else
        vmc_lea(&t->e, S1, rm);
    if (seg != VMC_NO_REG)
        vmc_emit(&t->e, VMC_OP(0x03) | VMC_OP_W, S1,
                 vmc_m(H_RBP, (int32_t)(offsetof(VmcCpu, seg_base) + seg * 8u) - CPU_BIAS));
}

void vmc_address(struct vmc_tr *t, unsigned i, unsigned reg)
{
    const struct vmc_insn *d = &t->insn[i];
    struct vmc_rm rm = address(t, i, t->plan[i].disp);
    bool wide = d->opsize == 8 && d->addrsize == 8;
    vmc_emit(&t->e, VMC_OP(0x8d) | (wide ? VMC_OP_W : 0), reg, rm);
    if (rm.base == S1)
        t->in_s1 = VMC_NO_SPAN;
}

/* S1 = host address for the linear address in S1, `length` bytes from there being accessible. */
static void look_up(struct vmc_tr *t, unsigned length, bool writable, uint32_t info)
{
    int32_t entry = t->t->tlb_at[t->tlb];
    int32_t tag = entry + (int32_t)(writable ? offsetof(struct vmc_tlb_entry, tag_write)
                                             : offsetof(struct vmc_tlb_entry, tag_read));
    struct vmc_emit *e = &t->e;
    if (t->t->bmi2) { /* rorx r10d, r11d, 7 */
        static const uint8_t rorx[] = {0xc4, 0x43, 0x7b, 0xf0, 0xd3, VMC_PAGE_SHIFT - 5};
        for (unsigned i = 0; i < sizeof rorx; i++)
            vmc_put8(e, rorx[i]);
    } else {
        vmc_emit(e, VMC_OP(0x89), S1, vmc_r(S2));
        vmc_emit(e, VMC_OP(0xc1), 5, vmc_r(S2));
        vmc_put8(e, VMC_PAGE_SHIFT - 5);
    }
    vmc_emit(e, VMC_OP(0x81), 4, vmc_r(S2));
    vmc_put32(e, (VMC_TLB_SIZE - 1) * (uint32_t)sizeof(struct vmc_tlb_entry));
    vmc_emit(e, VMC_OP(0x33) | VMC_OP_W, S1, vmc_mx(H_RBP, S2, 0, tag));
    vmc_emit(e, VMC_OP(0x81) | VMC_OP_W, 7, vmc_r(S1));
    vmc_put32(e, VMC_PAGE_SIZE - length);
    struct vmc_stub *s = &t->stubs[t->n_stubs++];
    s->from = vmc_jcc_later(e, 7); /* above */
    vmc_emit(e, VMC_OP(0x03) | VMC_OP_W, S1,
             vmc_mx(H_RBP, S2, 0, entry + (int32_t)offsetof(struct vmc_tlb_entry, host)));
    s->back = e->p;
    s->info = info;
    s->tlb = (uint8_t)t->tlb;
    s->writable = writable;
    s->flags = t->flags;
}

/* S1 = host address of the bytes [lo, hi) around the operand's base, `at` being the operand's first. */
static void check(struct vmc_tr *t, unsigned i, const struct vmc_span *s, int64_t at)
{
    const struct vmc_plan *p = &t->plan[i];
    uint32_t info = t->off[i] | (uint32_t)(s->hi - s->lo - 1) << VMC_ACCESS_LENGTH_SHIFT |
                    (p->stores ? VMC_ACCESS_STORES : 0) | (s->stores ? VMC_ACCESS_WRITABLE : 0) |
                    (s->several ? VMC_ACCESS_SEVERAL : 0);
    if (p->aligned)
        info |= ((uint32_t)(at - s->lo) & VMC_ACCESS_AT_MASK) << VMC_ACCESS_AT_SHIFT |
                p->size / 16u << VMC_ACCESS_ALIGNED_SHIFT;
    vmc_flags_release(t);
    linear(t, i, (int32_t)s->lo);
    look_up(t, (unsigned)(s->hi - s->lo), s->stores, info);
}

static struct vmc_rm parked(const struct vmc_span *s)
{
    return vmc_m(H_RBP, (int32_t)(offsetof(VmcCpu, parked) + s->slot * sizeof(void *)) - CPU_BIAS);
}

struct vmc_rm vmc_operand(struct vmc_tr *t, unsigned i)
{
    const struct vmc_plan *p = &t->plan[i];
    const struct vmc_reach *r = &t->reach[i];
    const struct vmc_span *s = &t->spans[r->span];
    if (p->pushes) { /* beside an operand of its own, which is not planned for */
        struct vmc_span one = {.lo = p->disp, .hi = p->disp + p->size, .stores = true};
        check(t, i, &one, p->disp);
        t->in_s1 = VMC_NO_SPAN;
        return vmc_m(S1, 0);
    }
    if (r->looks_up) {
        check(t, i, s, r->at);
        if (s->parked)
            vmc_store(&t->e, parked(s), S1);
    } else if (t->in_s1 != r->span) {
        t->e.full |= !r->reloads; /* the plan and this would be at odds */
        vmc_load(&t->e, S1, parked(s));
    }
    t->in_s1 = r->span;
    return vmc_m(S1, (int32_t)(r->at - s->lo));
}

void vmc_emit_stubs(struct vmc_tr *t)
{
    struct vmc_emit *e = &t->e;
    for (unsigned i = 0; i < t->n_stubs; i++) {
        struct vmc_stub *s = &t->stubs[i];
        vmc_patch(s->from, e->p);
        if (s->flags.described && !s->flags.stored) { /* which takes S2 */
            size_t tag = s->writable ? offsetof(struct vmc_tlb_entry, tag_write)
                                     : offsetof(struct vmc_tlb_entry, tag_read);
            vmc_emit(e, VMC_OP(0x33) | VMC_OP_W, S1,
                     vmc_mx(H_RBP, S2, 0, t->t->tlb_at[s->tlb] + (int32_t)tag));
            vmc_flags_emit_stores(t, &s->flags);
            vmc_call(e, t->t->access);
        } else {
            vmc_call(e, t->t->missed_access[s->tlb][s->writable]);
        }
        int32_t back = (int32_t)(s->back - e->p);
        vmc_put32(e, s->info);
        vmc_put32(e, (uint32_t)back);
    }
    for (unsigned i = 0; i < t->n_bails; i++) {
        vmc_patch(t->bails[i].from, e->p);
        if (t->bails[i].flags.described && !t->bails[i].flags.stored)
            vmc_flags_emit_stores(t, &t->bails[i].flags);
        vmc_load(e, S1, CPU_AT(block_rip));
        vmc_lea(e, S1, vmc_m(S1, t->off[t->bails[i].insn]));
        vmc_emit(e, VMC_OP(0xc6), 0, CPU_AT(bail));
        vmc_put8(e, 1);
        vmc_jump(e, t->t->leave_rip);
    }
}

void vmc_add_bail(struct vmc_tr *t, unsigned i, uint8_t *from)
{
    t->bails[t->n_bails].from = from;
    t->bails[t->n_bails].insn = i;
    t->bails[t->n_bails++].flags = t->flags;
}
