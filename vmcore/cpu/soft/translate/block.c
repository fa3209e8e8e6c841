/*
 * Translating one block: decode, look ahead, write the code, then what stands behind it.
 *
 * Apart from the code stand the stubs of its memory accesses, the ways out with their links, and the
 * interpreter's uops of instructions that its handlers run. All of that is addressed relative to the code.
 */
#include "cpu/soft/debug.h"
#include "cpu/soft/translate/context.h"

/* MOVS CMPS STOS LODS SCAS: the interpreter ends its blocks there for the sake of requests. */
static bool is_string(const struct vmc_insn *d)
{
    unsigned op = d->opcode;
    return d->map == VMC_MAP_1 && ((op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf));
}

/* Whether a relative operand or target lies farther than 32 bits from the page's begin, from which the code
 * counts. */
static bool reaches_far(const struct vmc_insn *d, const struct vmc_plan *p, unsigned next)
{
    bool branches = p->form == FORM_CALL || p->form == FORM_JMP || p->form == FORM_JCC;
    int64_t distance = branches ? d->imm : p->base == VMC_RIP_REG ? p->disp : 0;

    return distance > INT32_MAX - (int64_t)next;
}

/* One instruction of which `have` bytes are there joins the block. False: it does not, and the block ends
 * before. */
static bool add(struct vmc_tr *t, const uint8_t *bytes, unsigned have, unsigned off)
{
    struct vmc_insn *d = &t->insn[t->n];
    struct vmc_plan *p = &t->plan[t->n];
    struct vmc_uop uop = {.off = (uint16_t)off};
    if (vmc_decode(bytes, have, VMC_MODE_64, d) != VMC_DECODE_OK)
        return false;
    uop.len = d->length;
    enum vmc_bound bound = vmc_bind(d, t->c->vm->features, &uop);
    if (bound == VMC_BIND_OK || bound == VMC_BIND_END) {
        vmc_classify(d, t->c->kind, t->c->vm->features, p);
        if (t->c->vm->lockstep && (p->form == FORM_CLI || p->form == FORM_STI))
            p->form = FORM_HELPER; /* lockstep does not take IF back */
    } else {
        *p = (struct vmc_plan){.form = FORM_HELPER};
        uop.fn = vmc_op_ud;
    }
    if (reaches_far(d, p, off + d->length))
        return false;
    if (p->form == FORM_HELPER) {
        if (t->c->vm->lockstep)
            return false;                                  /* cannot be done twice */
        p->leaves = bound != VMC_BIND_OK && !is_string(d); /* and has set rip */
        p->ends = p->leaves || (d->map == VMC_MAP_0F && d->opcode == 0xae);
        t->helpers[t->n_helpers++].uop = uop;
    }
    if (p->base == VMC_RIP_REG)
        p->disp += (int32_t)(off + d->length);
    t->off[t->n++] = (uint16_t)off;
    return true;
}

static bool decode(struct vmc_tr *t, const uint8_t *bytes, unsigned start)
{
    unsigned off = start, sides = 0;
    while (t->n < VMC_BLOCK_INSNS && off < VMC_PAGE_SIZE) {
        uint8_t copy[15];
        unsigned have = MIN(VMC_PAGE_SIZE - off, 15u);
        if (vmc_debug_breaks_at(t->c, off))
            break;
        memcpy(copy, bytes + (off - start), have); /* once: the guest may be writing */
        if (!add(t, copy, have, off))
            break;
        off += t->insn[t->n - 1].length;
        const struct vmc_plan *p = &t->plan[t->n - 1];
        bool nowhere = !t->insn[t->n - 1].imm; /* lockstep could not tell it from going on */
        if (p->ends && (p->form != FORM_JCC || nowhere || sides++ == VMC_SIDE_EXITS))
            break;
    }
    t->off[t->n] = (uint16_t)off;
    return t->n > 0;
}

/* The block of an instruction that lies across two pages. */
static bool decode_crossing(struct vmc_tr *t, const uint8_t *bytes, unsigned start)
{
    uint8_t copy[15];
    unsigned have = VMC_PAGE_SIZE - start;
    uint64_t pa;
    if (have >= sizeof copy)
        return false;
    const uint8_t *next = vmc_code_host(t->c, t->c->rip + have, &pa);
    if (!next)
        return false;
    memcpy(copy, bytes, have);
    memcpy(copy + have, next, sizeof copy - have);
    if (!add(t, copy, sizeof copy, start))
        return false;
    t->off[1] = (uint16_t)(start + t->insn[0].length);
    return true;
}

/* lea r11, [rip + something]: the place of the distance. */
static uint8_t *lea_s1_later(struct vmc_emit *e)
{
    vmc_put8(e, 0x4c);
    vmc_put8(e, 0x8d);
    vmc_put8(e, 0x1d);
    vmc_put32(e, 0);
    return e->p - 4;
}

static void helper(struct vmc_tr *t, unsigned i, unsigned n)
{
    struct vmc_emit *e = &t->e;
    vmc_flags_store(t);
    t->helpers[n].from = lea_s1_later(e);
    vmc_call(e, t->t->helper);
    memset(&t->flags, 0, sizeof t->flags);
    t->flags.stored = true;
    t->in_s1 = VMC_NO_SPAN;
    t->vectors = VMC_VECTORS_NONE;
    const struct vmc_insn *d = &t->insn[i];
    if (d->map == VMC_MAP_0F && d->opcode == 0x01 && t->tlb != VMC_TLB_USER) { /* STAC, CLAC */
        if (d->modrm == 0xcb)
            t->tlb = VMC_TLB_SUPER_AC;
        else if (d->modrm == 0xca)
            t->tlb = VMC_TLB_SUPER;
    }
    if (t->plan[i].ends) { /* who knows what it changed: kind of code, paging, interrupts */
        if (!t->plan[i].leaves) {
            vmc_load(e, S1, CPU_AT(block_rip));
            vmc_lea(e, S1, vmc_m(S1, t->off[i + 1]));
            vmc_store(e, CPU_AT(rip), S1);
        }
        vmc_jump(e, t->t->leave);
        return;
    }
    vmc_emit(e, VMC_OP(0x83), 7, CPU_AT(request));
    vmc_put8(e, 0);
    t->exits[t->n_exits].site = vmc_jcc_later(e, 5);
    t->exits[t->n_exits++].target = ~(int32_t)t->off[i + 1];
}

static void generate(struct vmc_tr *t)
{
    unsigned helpers = 0;
    t->flags.stored = true;
    unsigned level = VMC_VECTORS_NONE;
    for (unsigned i = 0; i < t->n; i++)
        if (t->plan[i].form == FORM_SSE || t->plan[i].form == FORM_AVX)
            level = MAX(level, t->plan[i].form == FORM_SSE ? VMC_VECTORS_XMM : (unsigned)VMC_VECTORS_YMM);
    vmc_vectors_check(t, level);
    for (unsigned i = 0; i < t->n; i++) {
        unsigned form = t->plan[i].form;
        if (form == FORM_HELPER)
            helper(t, i, helpers++);
        else if (form == FORM_SSE || form == FORM_AVX)
            vmc_gen_vector(t, i);
        else if (form == FORM_BMI)
            vmc_gen_bmi(t, i);
        else if (form >= FORM_CALL)
            vmc_gen_control(t, i);
        else if (form >= FORM_CLI && form <= FORM_DIVIDE)
            vmc_gen_system(t, i);
        else
            vmc_gen_integer(t, i);
    }
    unsigned last = t->plan[t->n - 1].form;
    if (last < FORM_CALL && !(last == FORM_HELPER && t->plan[t->n - 1].ends))
        vmc_gen_end(t);
}

static void align(struct vmc_emit *e, unsigned to)
{
    while ((uintptr_t)e->p & (to - 1))
        vmc_put8(e, 0xcc);
}

/* Out to C with the RIP of a jump's target; if a link is wanted it is told where the jump stands. */
static void emit_exits(struct vmc_tr *t)
{
    struct vmc_emit *e = &t->e;
    for (unsigned i = 0; i < t->n_exits; i++) {
        int32_t target = t->exits[i].target;
        vmc_patch(t->exits[i].site, e->p);
        if (target < 0) {
            vmc_call(e, t->t->leave_at);
            vmc_put8(e, (unsigned)~target & 0xff);
            vmc_put8(e, (unsigned)~target >> 8);
            continue;
        }
        struct vmc_link link = {.to = (t->b->pa & VMC_PAGE_MASK) | (uint32_t)target,
                                .site = (uint32_t)(t->exits[i].site - t->t->rw)};
        vmc_call(e, t->t->leave_link);
        if ((size_t)(e->end - e->p) >= sizeof link) {
            memcpy(e->p, &link, sizeof link);
            e->p += sizeof link;
        } else {
            e->full = true;
        }
    }
}

static void emit_helpers(struct vmc_tr *t)
{
    struct vmc_emit *e = &t->e;
    struct vmc_uop end = {.fn = vmc_translated_return, .base = VMC_SLOT_ZERO, .index = VMC_SLOT_ZERO};
    align(e, 32);
    for (unsigned i = 0; i < t->n_helpers && !e->full; i++) {
        if ((size_t)(e->end - e->p) < 2 * sizeof end) {
            e->full = true;
            return;
        }
        vmc_patch(t->helpers[i].from, e->p);
        memcpy(e->p, &t->helpers[i].uop, sizeof end);
        memcpy(e->p + sizeof end, &end, sizeof end);
        e->p += 2 * sizeof end;
    }
}

/* Where jumps within its first page enter such a block: by way of the table, which knows whether the second
 * page is still the same. */
static void make_door(struct vmc_tr *t, struct vmc_block *b, unsigned off)
{
    struct vmc_emit *e = &t->e;
    align(e, 16);
    b->door = t->t->rx + (e->p - t->t->rw);
    vmc_load(e, S1, CPU_AT(block_rip));
    vmc_lea(e, S1, vmc_m(S1, (int32_t)off));
    vmc_jump(e, t->t->indirect);
}

/* For lockstep: the same instructions for the interpreter, whose blocks end at every conditional jump. */
static bool make_shadows(struct vmc_tr *t, struct vmc_block *b)
{
    struct vmc_block **last = &b->shadow;
    *last = NULL;
    for (unsigned i = 0, first = 0; i < t->n; i++) {
        if (t->plan[i].form != FORM_JCC && i + 1 < t->n)
            continue;
        struct vmc_block *s =
            b->word2 ? b : vmc_block_part(t->c, b, t->off[first] - t->off[0], i + 1 - first);
        if (!s)
            return false;
        if (s != b)
            *last = s, last = &s->hash_next;
        else
            b->shadow = b;
        first = i + 1;
    }
    return true;
}

static bool translate(struct vmc_translator *tr, struct vmc_block *b)
{
    VmcCpu *c = tr->cpu;
    uint64_t pa;
    const uint8_t *host = vmc_code_host(c, c->rip, &pa);
    if (!host || !vmc_block_valid(b))
        return false;
    struct vmc_tr *t = tr->work;
    t->n = t->n_stubs = t->n_helpers = t->n_exits = t->n_bails = t->n_sides = t->n_misses = 0;
    memset(&t->flags, 0, sizeof t->flags);
    t->in_s1 = VMC_NO_SPAN;
    t->vectors = VMC_VECTORS_NONE;
    t->c = c;
    t->t = tr;
    t->b = b;
    t->narrow = b->mode_key & VMC_KIND_NARROW;
    t->tlb = c->cpl == 3 ? VMC_TLB_USER : c->kind & VMC_KIND_AC ? VMC_TLB_SUPER_AC : VMC_TLB_SUPER;
    struct vmc_code_part *now = tr->now;
    t->e =
        (struct vmc_emit){.p = tr->rw + now->used, .end = tr->rw + now->apart, .r10_holds = VMC_R10_UNKNOWN};
    align(&t->e, 16);
    uint8_t *start = t->e.p;
    unsigned at = (unsigned)(c->rip & ~VMC_PAGE_MASK);
    if (b->word2 ? !decode_crossing(t, host, at) : !decode(t, host, at))
        return false;
    vmc_plan_spans(t);
    vmc_flags_liveness(t);
    generate(t);
    size_t used = (size_t)(t->e.p - tr->rw);
    t->e.p = tr->rw + now->apart_used;
    t->e.end = tr->rw + now->end;
    vmc_emit_sides(t);
    vmc_emit_misses(t);
    vmc_emit_stubs(t);
    emit_exits(t);
    emit_helpers(t);
    if (t->e.full || !vmc_block_valid(b))
        return false;
    if (b->word2 && atomic_load(b->word2) != b->word2_value)
        return false;
    if (c->vm->lockstep && !make_shadows(t, b))
        return false;
    if (b->word2)
        make_door(t, b, at);
    b->insns = (uint16_t)t->n;
    if (!b->word2)
        b->door = tr->rx + (start - tr->rw);
    size_t apart_used = (size_t)(t->e.p - tr->rw);
    c->stats.code_bytes_total += used - now->used + apart_used - now->apart_used;
    now->used = used;
    now->apart_used = apart_used;
    b->code = tr->rx + (start - tr->rw);
    c->stats.blocks_translated++;
    c->stats.insns_translated += t->n;
    return true;
}

bool vmc_translate(struct vmc_translator *tr, struct vmc_block *b)
{
    unsigned next_site = tr->now->next_site;
    if (translate(tr, b))
        return true;
    tr->now->next_site = next_site; /* what failed once may do so whenever it runs */
    return false;
}
