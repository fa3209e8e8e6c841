/*
 * The translator of one CPU: its code memory, and running what it wrote (translator.h).
 *
 * The code memory is a memfd mapped twice, writable at one address and executable at another; no page is
 * both. Behind the thunks it is cut into generations like the blocks (block.h).
 */
#include "cpu/soft/translate/translator.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/i18n.h"
#include "cpu/soft/flags.h"
#include "cpu/soft/translate/context.h"
#include "cpu/soft/translate/lockstep.h"
#include "vmcore/error.h"

static bool map_twice(struct vmc_translator *t, GError **error)
{
    int fd = memfd_create("espalier-code", MFD_CLOEXEC);
    bool ok = fd >= 0 && ftruncate(fd, (off_t)t->size) == 0;
    t->rw = t->rx = MAP_FAILED;
    if (ok) {
        t->rw = mmap(NULL, t->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        t->rx = mmap(NULL, t->size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
        ok = t->rw != MAP_FAILED && t->rx != MAP_FAILED;
    }
    if (!ok)
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_RESOURCE,
            _("this system does not let the software CPU run translated code: %s; --cpu soft:interpreter "
              "works without"),
            g_strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok;
}

/* Of a part's memory, in parts of 64: what is for code. */
#define CODE_SHARE 38u

static void empty(struct vmc_code_part *part)
{
    part->used = part->from;
    part->apart_used = part->apart;
    part->next_site = part->first_site;
}

/* The parts of the generations, all empty. The first site is in none. */
static void cut(struct vmc_translator *t)
{
    size_t from = (t->thunks_end + VMC_PAGE_SIZE - 1) & VMC_PAGE_MASK;
    size_t size = (t->size - from) / VMC_GENERATIONS & VMC_PAGE_MASK;
    unsigned sites = (VMC_SITES - 1) / VMC_GENERATIONS;
    for (unsigned g = 0; g < VMC_GENERATIONS; g++) {
        struct vmc_code_part *part = &t->part[g];
        part->from = from + g * size;
        part->apart = part->from + (size / 64 * CODE_SHARE & VMC_PAGE_MASK);
        part->end = part->from + size;
        part->first_site = 1 + g * sites;
        part->end_site = part->first_site + sites;
        empty(part);
    }
    t->now = &t->part[0];
}

struct vmc_translator *vmc_translator_new(VmcCpu *c, unsigned kib, GError **error)
{
    struct vmc_translator *t = g_new0(struct vmc_translator, 1);
    t->cpu = c;
    t->size = MAX((size_t)kib << 10, (6 * VMC_GENERATIONS + 1) * (size_t)VMC_CODE_WORST_CASE);
    if (!map_twice(t, error)) {
        vmc_translator_free(t);
        return NULL;
    }
    t->bmi2 = __builtin_cpu_supports("bmi2");
    if (c->vm->lockstep)
        c->journal = vmc_journal_new();
    t->work = g_new0(struct vmc_tr, 1);
    t->none = g_new0(struct vmc_block, 1);
    t->none->word = &t->no_word;
    t->targets = c->targets;
    t->sites_at = (int32_t)((uint8_t *)c->sites - (uint8_t *)c) - CPU_BIAS;
    vmc_targets_clear(c);
    t->targets_at = (int32_t)((uint8_t *)t->targets - (uint8_t *)c) - CPU_BIAS;
    for (unsigned i = 0; i < VMC_TLB_COUNT; i++)
        t->tlb_at[i] = (int32_t)((uint8_t *)c->tlbs[i] - (uint8_t *)c) - CPU_BIAS;
    struct vmc_emit e = {.p = t->rw, .end = t->rw + t->size};
    vmc_make_thunks(t, &e);
    t->thunks_end = (size_t)(e.p - t->rw);
    cut(t);
    return t;
}

void vmc_translator_free(struct vmc_translator *t)
{
    if (!t)
        return;
    if (t->rw != MAP_FAILED)
        munmap(t->rw, t->size);
    if (t->rx != MAP_FAILED)
        munmap(t->rx, t->size);
    g_clear_pointer(&t->cpu->journal, g_free);
    g_free(t->work);
    g_free(t->none);
    g_free(t);
}

void vmc_translator_reset(VmcCpu *c)
{
    struct vmc_translator *t = c->translator;
    vmc_targets_clear(c);
    cut(t);
    t->forgotten++;
    c->exit_link = NULL;
}

bool vmc_translator_has_room(const struct vmc_translator *t)
{
    return t->now->apart - t->now->used >= VMC_CODE_WORST_CASE &&
           t->now->end - t->now->apart_used >= VMC_CODE_WORST_CASE &&
           t->now->end_site - t->now->next_site >= VMC_SITES_WORST_CASE;
}

static void clear_sites(VmcCpu *c, const struct vmc_code_part *part)
{
    memset(&c->sites[part->first_site], 0, (part->next_site - part->first_site) * sizeof *c->sites);
}

void vmc_translator_advance(VmcCpu *c, unsigned generation)
{
    struct vmc_translator *t = c->translator;
    t->now = &t->part[generation];
    clear_sites(c, t->now);
    empty(t->now);
    t->forgotten++;
    c->exit_link = NULL;
}

size_t vmc_translator_code_bytes(const struct vmc_translator *t)
{
    size_t sum = 0;
    for (unsigned g = 0; g < VMC_GENERATIONS; g++)
        sum += t->part[g].used - t->part[g].from + t->part[g].apart_used - t->part[g].apart;
    return sum;
}

void vmc_targets_clear(VmcCpu *c)
{
    memset(c->targets, 0, VMC_TARGETS * sizeof *c->targets);
    memset(c->sites, 0, sizeof *c->sites);
    for (unsigned g = 0; c->translator && g < VMC_GENERATIONS; g++)
        clear_sites(c, &c->translator->part[g]);
    for (unsigned i = 0; i < G_N_ELEMENTS(c->returns); i++)
        c->returns[i] = &c->sites[0];
}

/* ---- called by thunks ---- */

bool vmc_translated_helper(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_cc_settle(c);
    c->block = c->translator->none;
    c->helper_done = false;
    c->rip = 0;
    u->fn(c, u);
    return c->helper_done || c->rip == vmc_next_rip(c, u); /* the latter of string instructions alone */
}

void vmc_translated_return(VmcCpu *c, const struct vmc_uop *u)
{
    c->helper_done = true;
}

void vmc_translated_flags(VmcCpu *c)
{
    vmc_cc_settle(c);
    uint32_t flags = vmc_arith_flags(c);
    c->cc_src = (flags & 0xff) | (flags & FL_OF ? 1u << 8 : 0);
    c->cc_op = CC_RAW_HOST;
}

static const uint8_t *known_page(const VmcCpu *c, uint64_t va)
{
    const struct vmc_tlb_entry *e = &c->tlb[(va >> VMC_PAGE_SHIFT) & (VMC_TLB_SIZE - 1)];
    return e->tag_read == (va & VMC_PAGE_MASK) ? (const uint8_t *)e->host : NULL;
}

/* A load across two pages that are both in the TLB: a copy of its bytes. */
static void *load_across(VmcCpu *c, uint64_t va, unsigned length)
{
    unsigned first = (unsigned)(VMC_PAGE_SIZE - (va & ~VMC_PAGE_MASK));
    const uint8_t *low = known_page(c, va), *high = known_page(c, va + first);
    if (first >= length || length > sizeof c->across || !low || !high || va + first == 0)
        return NULL;
    memcpy(c->across, low + (va & ~VMC_PAGE_MASK), first);
    memcpy(c->across + first, high, length - first);
    return c->across;
}

void *vmc_translated_access(VmcCpu *c, uint64_t va, uint32_t info)
{
    unsigned length = (info >> VMC_ACCESS_LENGTH_SHIFT & VMC_ACCESS_LENGTH_MASK) + 1;
    uint64_t at = va + (info >> VMC_ACCESS_AT_SHIFT & VMC_ACCESS_AT_MASK);
    bool misaligned = at & VMC_ACCESS_ALIGNED(info); /* faults, and leaves no mark in the page tables */
    void *p = NULL;
    c->stats.tlb_slow++;
    if (!misaligned)
        p = vmc_host_try(c, va, length, info & VMC_ACCESS_WRITABLE, info & VMC_ACCESS_STORES);
    if (!p && !misaligned && !(info & (VMC_ACCESS_WRITABLE | VMC_ACCESS_SEVERAL)))
        p = load_across(c, va, length);
    if (p)
        return p;
    c->rip = c->block_rip + (info & ~VMC_PAGE_MASK);
    if ((info & VMC_ACCESS_SEVERAL) && !misaligned)
        c->narrow = true;
    else
        c->bail = true;
    return NULL;
}

/* ---- running ---- */

void vmc_translator_undo_branch(VmcCpu *c)
{
    uint32_t branch = c->branch;
    c->branch = 0;
    if (!(branch & VMC_BRANCH) || (uint64_t)((int64_t)(c->rip << 16) >> 16) == c->rip)
        return;
    c->gpr[VMC_RSP] -= branch >> VMC_BRANCH_POPPED_SHIFT & VMC_BRANCH_POPPED_MASK;
    c->rip = c->block_rip + (branch & ~VMC_PAGE_MASK);
    c->bail = true;
}

static void interpret(VmcCpu *c, struct vmc_block *b)
{
    c->block = b;
    c->block_rip = c->rip;
    b->uops[0].fn(c, b->uops);
}

static void remember_target(VmcCpu *c, const struct vmc_block *b)
{
    bool narrow = b->mode_key & VMC_KIND_NARROW;
    struct vmc_target *at = &c->targets[vmc_target_index(c->rip) ^ narrow];
    uint64_t kind = c->jump_key | (narrow ? VMC_TARGET_NARROW : 0);
    *at = (struct vmc_target){c->rip, c->rip & VMC_PAGE_MASK, b->code, kind};
}

/* The block at c->rip with code, or it has been interpreted and NULL is returned. */
static struct vmc_block *next_block(VmcCpu *c)
{
    struct vmc_block *b = vmc_block_find(c);
    bool narrow = c->narrow;
    c->narrow = false;
    if (c->mode != VMC_MODE_64 || c->tlb == c->tlbs[VMC_TLB_NEVER]) {
        interpret(c, vmc_block_again(c, b));
        return NULL;
    }
    if (b->code)
        return b;
    if (b->cached && (narrow || b->heat++ >= c->vm->translate_after) && vmc_translate(c->translator, b))
        return vmc_block_translated(c, b);
    c->stats.blocks_interpreted++;
    interpret(c, b);
    return NULL;
}

/* Right behind STI. With nothing waiting the next block is entered without another look: what comes meanwhile
 * is seen only when its first instruction is done. Otherwise false: that instruction is to be stepped over.
 */
static bool pass_shadow(VmcCpu *c)
{
    c->sti_shadow = false;
    if (!vmc_attention(c))
        return true;
    c->inhibit = true;
    atomic_fetch_or(&c->request, REQ_STEP);
    return false;
}

/* In lockstep, where one CPU runs at a time, it is another one's turn. */
static bool turn_is_over(const VmcCpu *c, unsigned *blocks)
{
    return c->vm->lockstep && ++*blocks > VMC_LOCKSTEP_TURN && !c->sti_shadow;
}

/* An instruction that was left to the interpreter, or to a block of its own, is done before anything else:
 * it may be the one behind STI. */
static bool may_go_on(VmcCpu *c)
{
    if (c->bail || c->narrow)
        return true;
    return c->sti_shadow ? pass_shadow(c) : !vmc_attention(c);
}

static void run(VmcCpu *c)
{
    unsigned blocks = 0;
    c->exit_link = NULL;
    struct vmc_translator *t = c->translator;
    while (!turn_is_over(c, &blocks) && may_go_on(c)) {
        struct vmc_link *link = c->exit_link;
        c->exit_link = NULL;
        if (c->bail) {
            c->bail = false;
            c->stats.bails++;
            interpret(c, vmc_block_single(c));
            continue;
        }
        uint64_t from = c->block_rip;
        unsigned forgotten = t->forgotten;
        struct vmc_block *b = next_block(c);
        if (!b)
            continue;
        if (c->vm->lockstep) {
            vmc_lockstep(c, b);
            continue;
        }
        if (link && t->forgotten == forgotten && !((from ^ c->rip) & VMC_PAGE_MASK))
            vmc_link_to(t, link, b);
        remember_target(c, b);
        c->block_rip = c->rip & VMC_PAGE_MASK;
        c->block = t->none;
        c->stats.exits++;
        t->enter(c, b->code);
        vmc_cc_settle(c);
        if (c->branch)
            vmc_translator_undo_branch(c);
    }
}

void vmc_translator_run(VmcCpu *c)
{
    if (c->vm->lockstep)
        vmc_lockstep_enter(c);
    run(c);
    vmc_lockstep_leave(c);
}
