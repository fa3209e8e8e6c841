/*
 * Which accesses of a block are looked up together.
 *
 * Operands by the same base and index, at distances that are known, are a span: its first access looks up the
 * bytes of all. The host pointer stays in S1 until something else needs that; if the span is used again after
 * that, the pointer is parked in VmcCpu and comes back from there, which also leaves the flags alone. A base
 * or index that moves by a constant is followed; one that is written otherwise ends the span, and so does an
 * instruction that the interpreter does, which may change what is mapped where.
 *
 * All this is settled before code is generated, because an access that is not looked up cannot fault, so that
 * nobody looks at the flags there (lazy.c).
 */
#include "cpu/soft/translate/context.h"

#define SPAN_MAX 256

/* Displacements and steps are as large as the guest likes, and their sums larger than 32 bits. */
struct open {
    uint8_t span; /* VMC_NO_SPAN: none */
    uint8_t base, index, scale, seg;
    int64_t delta; /* by which base and index have moved since the look-up */
    unsigned used; /* the instruction that did so last */
};

struct planner {
    struct vmc_tr *t;
    struct open open[VMC_PARKED];
    uint8_t in_s1;
};

bool vmc_explicit(const struct vmc_insn *d, const struct vmc_plan *p)
{
    return d->has_modrm && d->is_mem && !p->pushes;
}

uint8_t vmc_segment(const struct vmc_insn *d, const struct vmc_plan *p)
{
    return vmc_explicit(d, p) && (d->seg == VMC_FS || d->seg == VMC_GS) ? d->seg : VMC_NO_REG;
}

bool vmc_pushes_too(const struct vmc_insn *d, const struct vmc_plan *p)
{
    return (p->form == FORM_PUSH || p->form == FORM_CALL_INDIRECT) && d->has_modrm && d->is_mem;
}

static struct open key(const struct vmc_insn *d, const struct vmc_plan *p)
{
    struct open k = {.base = p->base, .index = VMC_NO_REG, .seg = vmc_segment(d, p)};
    if (vmc_explicit(d, p) && d->index != VMC_NO_REG) {
        k.index = d->index;
        k.scale = d->scale;
    }
    return k;
}

static bool same(const struct open *a, const struct open *b)
{
    return a->base == b->base && a->index == b->index && a->scale == b->scale && a->seg == b->seg;
}

/* Bytes from the address the span had at its look-up, which it now reaches as well. */
static bool join(struct vmc_span *s, const struct vmc_plan *p, int64_t from)
{
    int64_t lo = MIN(s->lo, from), hi = MAX(s->hi, from + p->size);
    if (hi - lo > SPAN_MAX || lo < INT32_MIN || lo > INT32_MAX)
        return false;
    s->lo = lo;
    s->hi = hi;
    s->stores |= p->stores;
    s->several = true;
    return true;
}

static void start(struct planner *n, unsigned i, struct open *o, const struct open *k)
{
    struct vmc_tr *t = n->t;
    const struct vmc_plan *p = &t->plan[i];
    uint8_t at = (uint8_t)t->n_spans++;
    t->spans[at] = (struct vmc_span){
        .lo = p->disp, .hi = (int64_t)p->disp + p->size, .stores = p->stores, .slot = (uint8_t)(o - n->open)};
    *o = *k;
    o->span = at;
    o->used = i;
    t->reach[i] = (struct vmc_reach){.span = at, .looks_up = true, .at = p->disp};
    n->in_s1 = at;
}

/* The place for a new span: that of one like it, a free one, or the one not used for longest. */
static struct open *place(struct planner *n, const struct open *k)
{
    struct open *best = &n->open[0];
    for (unsigned s = 0; s < VMC_PARKED; s++) {
        struct open *o = &n->open[s];
        if (o->span != VMC_NO_SPAN && same(o, k))
            return o;
        if (best->span != VMC_NO_SPAN && (o->span == VMC_NO_SPAN || o->used < best->used))
            best = o;
    }
    return best;
}

static void reach(struct planner *n, unsigned i)
{
    struct vmc_tr *t = n->t;
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    struct open k = key(d, p), *o = place(n, &k);
    bool plain = !t->narrow && (!vmc_explicit(d, p) || d->addrsize == 8);
    if (o->span != VMC_NO_SPAN && same(o, &k) && plain) {
        struct vmc_span *s = &t->spans[o->span];
        int64_t from = p->disp + o->delta;
        if (join(s, p, from)) {
            t->reach[i] = (struct vmc_reach){.span = o->span, .reloads = n->in_s1 != o->span, .at = from};
            s->parked |= n->in_s1 != o->span;
            o->used = i;
            n->in_s1 = o->span;
            return;
        }
    }
    start(n, i, o, &k);
    if (!plain)
        o->span = VMC_NO_SPAN;
}

/* An instruction that is done by way of S1 (integer.c, system.c, vmc_address). */
static bool uses_s1(const struct vmc_insn *d, const struct vmc_plan *p)
{
    if (p->form == FORM_LEA)
        return p->base >= 16 || vmc_host_reg(p->base) == H_NONE;
    if (p->form == FORM_DIVIDE)
        return (d->modrm >> 3 & 7) == 7; /* IDIV */
    return p->form == FORM_GENERIC && !d->is_mem && p->rm_write && vmc_host_reg(d->rm) == H_NONE &&
           !p->extension && vmc_host_reg(d->reg) == H_NONE;
}

static void moved(struct planner *n, const struct vmc_plan *p)
{
    for (unsigned s = 0; s < VMC_PARKED; s++) {
        struct open *o = &n->open[s];
        bool base = o->base < 16 && (p->gpr_write >> o->base & 1);
        bool index = o->index < 16 && (p->gpr_write >> o->index & 1);
        if (o->span == VMC_NO_SPAN || !(base || index))
            continue;
        unsigned both = (base ? 1u << o->base : 0) | (index ? 1u << o->index : 0);
        if (!p->steps || both != 1u << p->stepped) {
            o->span = VMC_NO_SPAN;
            continue;
        }
        o->delta += base ? p->step : 0;
        o->delta += index ? p->step * (INT64_C(1) << o->scale) : 0;
    }
}

void vmc_plan_spans(struct vmc_tr *t)
{
    struct planner n = {.t = t, .in_s1 = VMC_NO_SPAN};
    for (unsigned s = 0; s < VMC_PARKED; s++)
        n.open[s].span = VMC_NO_SPAN;
    t->n_spans = 0;
    for (unsigned i = 0; i < t->n; i++) {
        const struct vmc_plan *p = &t->plan[i];
        struct vmc_plan pushed;
        if (p->form == FORM_HELPER) {
            for (unsigned s = 0; s < VMC_PARKED; s++)
                n.open[s].span = VMC_NO_SPAN;
            n.in_s1 = VMC_NO_SPAN;
            continue;
        }
        if (p->memory)
            reach(&n, i);
        if (vmc_pushes_too(&t->insn[i], p)) {
            pushed = *p;
            vmc_plan_push(&pushed);
            p = &pushed;
            n.in_s1 = VMC_NO_SPAN;
        }
        if (uses_s1(&t->insn[i], p))
            n.in_s1 = VMC_NO_SPAN;
        moved(&n, p);
    }
}
