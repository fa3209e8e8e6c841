/*
 * Running a block on both engines and comparing (lockstep.h).
 */
#include "cpu/soft/translate/lockstep.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>

#include "base/i18n.h"
#include "cpu/soft/exec/fx.h"
#include "cpu/soft/flags.h"
#include "cpu/soft/translate/context.h"
#include "vmcore/error.h"

#define NOTES      512
#define NOTE_BYTES 64

/* A block is compared that often, later on only now and then: a kernel's decompressor runs half a billion. */
#define COMPARE_ALL  1024
#define COMPARE_EACH 61

struct note {
    uint8_t *p;
    unsigned size;
    uint8_t old[NOTE_BYTES], new[NOTE_BYTES]; /* new: by the interpreter */
    uint8_t got[NOTE_BYTES];                  /* by the translated code */
};

/* What a block of translated code can change. */
struct side {
    uint64_t gpr[16], rip, rflags;
    uint32_t mxcsr;
    uint8_t xmm[16][16], high[16][16];
    bool faulted; /* left before the instruction at rip */
};

struct vmc_journal {
    bool device;
    unsigned n;
    struct note notes[NOTES];
};

struct vmc_journal *vmc_journal_new(void)
{
    return g_new0(struct vmc_journal, 1);
}

void vmc_journal_note(VmcCpu *c, const void *p, unsigned size)
{
    struct vmc_journal *j = c->journal;
    if (!c->noting)
        return;
    while (size) {
        unsigned n = MIN(size, (unsigned)NOTE_BYTES);
        if (j->n == NOTES)
            vmc_journal_device(c);
        struct note *note = &j->notes[j->n++];
        note->p = (uint8_t *)p;
        note->size = n;
        memcpy(note->old, p, n);
        p = (const uint8_t *)p + n;
        size -= n;
    }
}

void vmc_journal_device(VmcCpu *c)
{
    if (!c->noting)
        return;
    c->journal->device = true;
    _longjmp(c->fault_jmp, 1);
}

static void keep_new(struct vmc_journal *j)
{
    for (unsigned i = 0; i < j->n; i++)
        memcpy(j->notes[i].new, j->notes[i].p, j->notes[i].size);
}

static void keep_got(struct vmc_journal *j)
{
    for (unsigned i = 0; i < j->n; i++)
        memcpy(j->notes[i].got, j->notes[i].p, j->notes[i].size);
}

static void take_back(struct vmc_journal *j)
{
    for (unsigned i = j->n; i-- > 0;)
        memcpy(j->notes[i].p, j->notes[i].old, j->notes[i].size);
}

static bool same_memory(const struct vmc_journal *j)
{
    for (unsigned i = 0; i < j->n; i++)
        if (memcmp(j->notes[i].new, j->notes[i].got, j->notes[i].size) != 0)
            return false;
    return true;
}

/* ---- taking and giving back the state ---- */

static void take(VmcCpu *c, struct side *s)
{
    memcpy(s->gpr, c->gpr, sizeof s->gpr);
    s->rip = c->rip;
    s->rflags = vmc_get_rflags(c);
    s->mxcsr = vmc_mxcsr_get(c);
    memcpy(s->xmm, c->fx.xmm, sizeof s->xmm);
    memcpy(s->high, c->ymm_high, sizeof s->high);
}

static void give(VmcCpu *c, const struct side *s)
{
    memcpy(c->gpr, s->gpr, sizeof s->gpr);
    c->rip = s->rip;
    vmc_set_arith(c, s->rflags);
    vmc_set_host_mxcsr(s->mxcsr | 0x1f80u);
    memcpy(c->fx.xmm, s->xmm, sizeof s->xmm);
    memcpy(c->ymm_high, s->high, sizeof s->high);
}

/* ---- the two runs ---- */

/* Whether the part `run` of the block's shadow is what comes next. */
static bool follows(const VmcCpu *c, const struct vmc_block *b, const struct vmc_block *run, uint64_t start)
{
    return run == b->shadow || c->rip == start + (run->pa - b->pa);
}

/* On the interpreter, with every store noted: the shadow block, or single instructions up to `until`. False:
 * a device or too many stores. */
static bool interpret(VmcCpu *c, const struct vmc_block *b, const uint64_t *until, struct side *s)
{
    struct vmc_journal *j = c->journal;
    jmp_buf outer;
    memcpy(outer, c->fault_jmp, sizeof outer); /* cppcheck-suppress uninitvar ; it is what is written */
    volatile bool faulted = false;
    j->device = false;
    c->noting = true;
    if (!_setjmp(c->fault_jmp)) {
        struct vmc_block *run = until ? NULL : b->shadow;
        uint64_t start = c->rip;
        for (unsigned i = 0; until ? i < b->insns && c->rip != *until : run && follows(c, b, run, start);
             i++) {
            if (until)
                run = vmc_block_single(c);
            c->tlb = c->tlbs[VMC_TLB_NEVER];
            c->block = run;
            c->block_rip = c->rip;
            run->uops[0].fn(c, run->uops);
            run = until || run == b ? NULL : run->hash_next;
        }
    } else {
        faulted = true;
    }
    c->noting = false;
    memcpy(c->fault_jmp, outer, sizeof outer);
    if (c->split_held) {
        c->split_held = false;
        g_mutex_unlock(&c->vm->split_lock);
    }
    c->link_from = NULL;
    c->cur = NULL;
    vmc_soft_update_mode(c);
    take(c, s);
    s->faulted = faulted;
    return !j->device;
}

static void run_translated(VmcCpu *c, const struct vmc_block *b)
{
    c->block_rip = c->rip & VMC_PAGE_MASK;
    c->block = c->translator->none;
    c->bail = false;
    c->translator->enter(c, b->code);
    vmc_cc_settle(c);
    vmc_translator_undo_branch(c);
}

static void translated(VmcCpu *c, const struct vmc_block *b, struct side *s)
{
    run_translated(c, b);
    take(c, s);
    s->faulted = c->bail || c->narrow;
}

/* ---- comparing ---- */

/* Flags that the instruction leaves undefined. */
static unsigned undefined(const struct vmc_insn *d)
{
    unsigned op = d->opcode, ext = d->modrm >> 3 & 7;
    if (d->map == VMC_MAP_1) {
        if (op < 0x40 && (op & 7) < 6)
            return op >> 3 == 1 || op >> 3 == 4 || op >> 3 == 6 ? FL_AF : 0;
        switch (op) {
        case 0x80:
        case 0x81:
        case 0x83:
            return ext == 1 || ext == 4 || ext == 6 ? FL_AF : 0;
        case 0x84:
        case 0x85:
        case 0xa8:
        case 0xa9:
            return FL_AF;
        case 0x69:
        case 0x6b:
            return FL_SF | FL_ZF | FL_AF | FL_PF;
        case 0xf6:
        case 0xf7:
            return ext < 2 ? FL_AF : ext >= 4 ? FL_SF | FL_ZF | FL_AF | FL_PF : 0;
        case 0xc0:
        case 0xc1:
        case 0xd2:
        case 0xd3: {
            unsigned bits = (op & 1) ? d->opsize * 8u : 8u;
            bool beyond = op >= 0xd2 || ((unsigned)d->imm & 0x1f) >= bits;
            return FL_OF | FL_AF | (beyond && ext >= 4 ? FL_CF : 0);
        }
        case 0xd0:
        case 0xd1:
            return ext >= 4 ? FL_AF : 0;
        }
        return 0;
    }
    if (d->vex && d->map == VMC_MAP_0F38 && op >= 0xf2)
        return FL_AF | FL_PF | (op == 0xf7 ? FL_SF : 0);
    if (d->map != VMC_MAP_0F)
        return 0;
    switch (op) {
    case 0xa4:
    case 0xa5:
    case 0xac:
    case 0xad:
        return FL_OF | FL_AF;
    case 0xaf:
        return FL_SF | FL_ZF | FL_AF | FL_PF;
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb:
    case 0xba:
        return FL_OF | FL_SF | FL_AF | FL_PF;
    case 0xbc:
    case 0xbd:
        return FLAGS_ALL & ~FL_ZF;
    }
    return 0;
}

/* Code of the guest at `rip`, up to the first byte that is not there: for looking at, without traces. */
static unsigned code_bytes(VmcCpu *c, uint64_t rip, uint8_t *bytes, unsigned size)
{
    uint64_t pa, offset;
    for (unsigned i = 0; i < size; i++) {
        const VmcMemSlot *slot =
            vmc_translate_debug(c, rip + i, &pa) ? vmc_memory_find(c->vm->memory, pa, &offset) : NULL;
        if (!slot)
            return i;
        bytes[i] = slot->host[offset];
    }
    return size;
}

static bool is_conditional_jump(const struct vmc_insn *d)
{
    return (d->map == VMC_MAP_1 && (d->opcode & 0xf0) == 0x70) ||
           (d->map == VMC_MAP_0F && (d->opcode & 0xf0) == 0x80);
}

/* Flags that are undefined where the block was left: before the instruction at y->rip, by a conditional jump
 * to there, or at its end. */
static uint64_t undefined_where_left(VmcCpu *c, const struct vmc_block *b, uint64_t start,
                                     const struct side *y)
{
    unsigned mask = 0, side = 0;
    uint64_t rip = start;
    for (unsigned i = 0; i < b->insns; i++) {
        uint8_t bytes[15];
        struct vmc_insn d;
        struct vmc_plan plan;
        if (y->faulted && rip == y->rip)
            return mask;
        if (vmc_decode(bytes, code_bytes(c, rip, bytes, sizeof bytes), VMC_MODE_64, &d) != VMC_DECODE_OK)
            return 0;
        vmc_classify(&d, 0, c->vm->features, &plan);
        rip += d.length;
        mask = (mask & ~(unsigned)plan.flags_kill) | undefined(&d);
        if (is_conditional_jump(&d) && rip + (uint64_t)d.imm == y->rip)
            side |= mask;
    }
    return mask | side;
}

static bool same(VmcCpu *c, const struct vmc_block *b, uint64_t start, const struct side *x,
                 const struct side *y)
{
    if (x->faulted != y->faulted || x->rip != y->rip || x->mxcsr != y->mxcsr ||
        memcmp(x->gpr, y->gpr, sizeof x->gpr) || memcmp(x->xmm, y->xmm, sizeof x->xmm) ||
        memcmp(x->high, y->high, sizeof x->high))
        return false;
    uint64_t flags = x->rflags ^ y->rflags;
    return !flags || !(flags & ~undefined_where_left(c, b, start, y));
}

static void print_bytes(GString *out, VmcCpu *c, uint64_t rip)
{
    uint8_t bytes[96];
    unsigned n = code_bytes(c, rip, bytes, sizeof bytes);
    for (unsigned i = 0; i < n; i++)
        g_string_append_printf(out, "%02x", bytes[i]);
}

static void report(VmcCpu *c, const struct vmc_block *b, const struct side *before, const struct side *x,
                   const struct side *y)
{
    g_autoptr(GString) out = g_string_new(NULL);
    g_string_append_printf(out, "lockstep: CPU %u, block at %" PRIx64 " of %u instructions: ", c->index,
                           before->rip, b->insns);
    print_bytes(out, c, before->rip);
    g_string_append(out, "\n          before            interpreter       translator\n");
    for (unsigned i = 0; i < 16; i++)
        g_string_append_printf(out, "  r%-5u  %016" PRIx64 "  %016" PRIx64 "  %016" PRIx64 "%s\n", i,
                               before->gpr[i], x->gpr[i], y->gpr[i], x->gpr[i] != y->gpr[i] ? " <" : "");
    g_string_append_printf(out, "  rip     %016" PRIx64 "  %016" PRIx64 "  %016" PRIx64 "%s\n", before->rip,
                           x->rip, y->rip, x->rip != y->rip ? " <" : "");
    g_string_append_printf(out, "  rflags  %016" PRIx64 "  %016" PRIx64 "  %016" PRIx64 " (undefined %x)\n",
                           before->rflags, x->rflags, y->rflags,
                           (unsigned)undefined_where_left(c, b, before->rip, y));
    g_string_append_printf(out, "  mxcsr   %16x  %16x  %16x\n  left early      %d %d\n", before->mxcsr,
                           x->mxcsr, y->mxcsr, x->faulted, y->faulted);
    for (unsigned i = 0; i < 16; i++)
        if (memcmp(x->xmm[i], y->xmm[i], 16) || memcmp(x->high[i], y->high[i], 16))
            g_string_append_printf(out, "  ymm%u differs\n", i);
    const struct vmc_journal *j = c->journal;
    for (unsigned i = 0; i < j->n; i++)
        if (memcmp(j->notes[i].new, j->notes[i].got, j->notes[i].size) != 0)
            g_string_append_printf(out, "  store %u of %u bytes differs\n", i, j->notes[i].size);
    fprintf(stderr, "%s", out->str);
    if (!c->fatal)
        g_set_error(&c->fatal, VMC_ERROR, VMC_ERROR_CPU,
                    _("lockstep: translator and interpreter disagree about the block at %" PRIx64),
                    before->rip);
}

/* The translated code left an instruction in the middle to the interpreter, which had done the whole block,
 * or more of it. It does the part before that instruction again, and is left there. */
static bool same_so_far(VmcCpu *c, const struct vmc_block *b, const struct side *before, struct side *x,
                        const struct side *y)
{
    struct vmc_journal *j = c->journal;
    unsigned n = j->n;
    take_back(j);
    give(c, before);
    if (!interpret(c, b, &y->rip, x))
        return false;
    x->faulted = true;
    for (unsigned i = 0; i < n; i++)
        memcpy(j->notes[i].new, j->notes[i].p, j->notes[i].size);
    j->n = n;
    return same(c, b, before->rip, x, y) && same_memory(j);
}

void vmc_lockstep(VmcCpu *c, struct vmc_block *b)
{
    struct vmc_journal *j = c->journal;
    struct side before, x, y;
    if (++b->lockstep_runs > COMPARE_ALL && b->lockstep_runs % COMPARE_EACH) {
        run_translated(c, b);
        return;
    }
    vmc_cc_settle(c);
    take(c, &before);
    c->stats.lockstep_blocks++;
    for (unsigned tries = 0; tries < 3; tries++) {
        j->n = 0;
        bool done = interpret(c, b, NULL, &x);
        if (!vmc_block_valid(b)) { /* it wrote to itself, which ended it: there is nothing to compare with */
            if (!done || x.faulted) {
                take_back(j);
                give(c, &before);
                c->bail = true;
            }
            return;
        }
        keep_new(j);
        take_back(j);
        give(c, &before);
        if (!done) {
            c->bail = true; /* instruction by instruction */
            return;
        }
        translated(c, b, &y);
        keep_got(j);
        if (y.faulted && (!x.faulted || x.rip != y.rip)) {
            if (same_so_far(c, b, &before, &x, &y)) {
                c->bail = !c->narrow;
                return;
            }
        } else if (same(c, b, before.rip, &x, &y) && same_memory(j)) {
            return;
        }
        c->narrow = c->bail = false;
        if (tries < 2) { /* perhaps a device wrote what one of them read */
            take_back(j);
            give(c, &before);
        }
    }
    report(c, b, &before, &x, &y);
}

/* ---- taking turns ---- */

void vmc_lockstep_enter(VmcCpu *c)
{
    while (!g_mutex_trylock(&c->vm->lockstep_lock)) {
        if (atomic_load(&c->request) & REQ_CODE)
            vmc_block_serve_code_request(c);
        sched_yield();
    }
    c->lockstep_held = true;
}

void vmc_lockstep_leave(VmcCpu *c)
{
    if (!c->lockstep_held)
        return;
    c->lockstep_held = false;
    g_mutex_unlock(&c->vm->lockstep_lock);
    if (c->vm->n_cpus > 1)
        sched_yield();
}
