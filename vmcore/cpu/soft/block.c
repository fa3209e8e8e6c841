/*
 * The block cache (block.h): finding, decoding, chaining and dropping blocks.
 *
 * Three steps, fastest first: the jump cache by virtual address (shared with VMC_JUMP), the hash by physical
 * address and mode, and decoding. Decoding a page for the first time is the delicate one. Its code word gets
 * bit 0, so that writes notice; but other CPUs may hold a write tag for the page from before. They are asked
 * to drop it (REQ_CODE), and the bytes are read only when each has done so or sleeps. From then on a write by
 * anyone moves the word on.
 *
 * An instruction that crosses into the next page is a block by itself, good for the words of both pages. In
 * 16- and 32-bit code it is decoded each time into a scratch block.
 *
 * A block that has been translated is moved to where its head alone is kept: its uops are hardly ever needed
 * again. Decoded blocks and translated ones have room and generations of their own then.
 *
 * Room is made at one place, when a block is looked for and before its page is: whatever then remembers the
 * block does so with tags that the eviction has not made stale.
 */
#include "cpu/soft/block.h"

#include "cpu/soft/debug.h"

#include <sched.h>
#include <sys/mman.h>

#include "cpu/soft/exec/fuse.h"
#include "cpu/soft/exec/flagless.h"
#include "cpu/soft/translate/translator.h"

#define HASH_BITS    16
#define HASH_SIZE    (1u << HASH_BITS)
#define MAX_INSN_LEN 15

#define WORST_CASE (sizeof(struct vmc_block) + (VMC_BLOCK_INSNS + 1) * sizeof(struct vmc_uop))
/* What one search for a block, and its translation, may need at most: two blocks, and for lockstep one behind
 * each conditional jump. */
#define ROOM (10 * WORST_CASE)

/* A generation's part of an arena. */
struct part {
    uint8_t *from, *used, *end;
    bool begun; /* it has been the current one */
};

struct arena {
    uint8_t *memory; /* touched as it fills */
    size_t size;
    struct part part[VMC_GENERATIONS], *now;
};

struct vmc_block_cache {
    struct arena decoded;
    struct arena heads; /* of translated blocks without their uops, in step with the code; or of size 0 */
    struct vmc_block *hash[HASH_SIZE];
    _Atomic uint32_t no_word; /* for blocks that die with their use */
    union {
        struct vmc_block block;
        uint8_t room[sizeof(struct vmc_block) + 3 * sizeof(struct vmc_uop)];
    } scratch;
    union {
        struct vmc_block block;
        uint8_t room[WORST_CASE];
    } again;
};

static void empty(struct arena *a)
{
    size_t size = a->size / VMC_GENERATIONS & ~(size_t)63;
    for (unsigned g = 0; g < VMC_GENERATIONS; g++) {
        uint8_t *from = a->memory + g * size;
        a->part[g] = (struct part){.from = from, .used = from, .end = from + size};
    }
    a->now = &a->part[0];
    a->now->begun = true;
}

static bool make_arena(struct arena *a, size_t size)
{
    a->size = size;
    a->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (a->memory == MAP_FAILED)
        a->memory = NULL;
    else
        empty(a);
    return a->memory;
}

static void free_arena(struct arena *a)
{
    if (a->memory)
        munmap(a->memory, a->size);
}

/* The interpreter needs the uops of all blocks, lockstep as well. */
static bool has_heads(const VmcCpu *c)
{
    return c->vm->engine == VMC_ENGINE_TRANSLATOR && !c->vm->lockstep;
}

bool vmc_blocks_init(VmcCpu *c)
{
    size_t size = (size_t)c->vm->block_arena_kib << 10, least = VMC_GENERATIONS * 2 * ROOM;
    c->blocks = g_new0(struct vmc_block_cache, 1);
    if (!has_heads(c))
        return make_arena(&c->blocks->decoded, MAX(size, least));
    return make_arena(&c->blocks->decoded, MAX(size / 3, least)) &&
           make_arena(&c->blocks->heads, MAX((size_t)c->vm->code_cache_kib << 8, least));
}

void vmc_blocks_clear(VmcCpu *c)
{
    if (!c->blocks)
        return;
    free_arena(&c->blocks->decoded);
    free_arena(&c->blocks->heads);
    g_free(c->blocks);
    c->blocks = NULL;
}

/* Nothing that is remembered outside of the cache leads into it any more. */
static void forget_ways_in(VmcCpu *c)
{
    memset(c->jump, 0, VMC_JUMP_SIZE * sizeof *c->jump);
    c->link_from = NULL;
    c->block = NULL;
}

void vmc_blocks_drop(VmcCpu *c)
{
    empty(&c->blocks->decoded);
    if (c->blocks->heads.size)
        empty(&c->blocks->heads);
    memset(c->blocks->hash, 0, sizeof c->blocks->hash);
    forget_ways_in(c);
    if (c->translator)
        vmc_translator_reset(c);
}

static uint16_t mode_key(const VmcCpu *c)
{
    return (uint16_t)(c->kind | (c->narrow ? VMC_KIND_NARROW : 0));
}

static struct vmc_block **hash_at(VmcCpu *c, uint64_t pa, uint16_t key)
{
    uint64_t h = (pa ^ ((uint64_t)key << 58)) * 0x9e3779b97f4a7c15ull;
    return &c->blocks->hash[h >> (64 - HASH_BITS)];
}

/* ---- generations ---- */

static bool lies_in(const struct part *part, const struct vmc_block *b)
{
    return (const uint8_t *)b >= part->from && (const uint8_t *)b < part->end;
}

static void emptied(VmcCpu *c, struct part *part)
{
    part->used = part->from;
    forget_ways_in(c);
    c->stats.evictions++;
}

/* With generation `code` of the code, which goes with it. Blocks that died with their page may have left the
 * hash already: nothing leads to them but others that died with them. */
static void evict(VmcCpu *c, struct part *part, unsigned code)
{
    struct vmc_block_cache *cache = c->blocks;
    for (unsigned i = 0; i < HASH_SIZE; i++) {
        struct vmc_block **at = &cache->hash[i], *b;
        while ((b = *at)) {
            bool gone = lies_in(part, b);
            if (c->translator)
                vmc_links_evict(c->translator, b, code, gone);
            for (unsigned k = 0; k < G_N_ELEMENTS(b->link); k++)
                if (lies_in(part, b->link[k]))
                    b->link[k] = NULL;
            if (gone)
                *at = b->hash_next;
            else
                at = &b->hash_next;
        }
    }
    emptied(c, part);
    vmc_jumps_flush(c, false);
}

static size_t room_of(const struct vmc_block *b)
{
    return (sizeof *b + b->n_uops * sizeof(struct vmc_uop) + 31) & ~31ul;
}

/* A part of those that wait to be translated: nothing leads to them but the hash. */
static void evict_waiting(VmcCpu *c, struct part *part)
{
    const struct vmc_block *b;
    for (const uint8_t *p = part->from; p < part->used; p += room_of(b)) {
        b = (const struct vmc_block *)p;
        struct vmc_block **at = hash_at(c, b->pa, b->mode_key);
        while (*at && *at != b)
            at = &(*at)->hash_next;
        if (*at)
            *at = b->hash_next;
    }
    emptied(c, part);
}

static bool room_for(const struct arena *a, size_t size)
{
    return (size_t)(a->now->end - a->now->used) >= size;
}

static bool room_for_blocks(const VmcCpu *c)
{
    return room_for(&c->blocks->decoded, ROOM);
}

static bool room_for_code(const VmcCpu *c)
{
    const struct arena *heads = &c->blocks->heads;
    return !c->translator || (vmc_translator_has_room(c->translator) &&
                              (!heads->size || room_for(heads, sizeof(struct vmc_block))));
}

/* The next generation becomes the current one, and empty. */
static void advance(VmcCpu *c, struct arena *a, bool with_code)
{
    unsigned next = (unsigned)(a->now - a->part + 1) % VMC_GENERATIONS;
    struct part *part = &a->part[next];
    if (part->begun && with_code)
        evict(c, part, next);
    else if (part->begun)
        evict_waiting(c, part);
    a->now = part;
    part->begun = true;
    if (c->translator && with_code)
        vmc_translator_advance(c, next);
}

static void make_room(VmcCpu *c)
{
    struct vmc_block_cache *cache = c->blocks;
    if (!cache->heads.size) {
        advance(c, &cache->decoded, true);
        return;
    }
    if (!room_for_blocks(c))
        advance(c, &cache->decoded, false);
    if (!room_for_code(c))
        advance(c, &cache->heads, true);
}

/* ---- code words ---- */

void vmc_block_page_written(VmcCpu *c, _Atomic uint32_t *word)
{
    if (!(atomic_load_explicit(word, memory_order_relaxed) & 1))
        return;
    vmc_code_word_kill(word);
    if (c->translator) {
        vmc_jumps_flush(c, false);
        for (unsigned i = 0; i < c->vm->n_cpus; i++)
            if (c->vm->cpus[i]) /* this one too: it may be on its way back into code of that page */
                atomic_fetch_or(&c->vm->cpus[i]->request, REQ_STALE);
    }
    if (c->block && c->block->word == word && c->cur) {
        /* The running block is dead and ours alone: make its next step the way out. */
        struct vmc_uop *last = &c->block->uops[c->block->n_uops - 1];
        for (struct vmc_uop *u = (struct vmc_uop *)c->cur + 1; u <= last; u++)
            u->fn = vmc_op_block_end;
    }
}

void vmc_block_serve_code_request(VmcCpu *c)
{
    atomic_fetch_and(&c->request, ~REQ_CODE);
    uint32_t epoch = atomic_load(&c->vm->code_epoch);
    uint32_t seen = atomic_load(&c->code_epoch_seen);
    if (seen == epoch)
        return;
    if (epoch - seen == 1)
        vmc_tlb_protect(c, __atomic_load_n(&c->vm->code_host, __ATOMIC_ACQUIRE));
    else /* and nothing else: the caller may have looked up a page of code already */
        vmc_tlb_protect_range(c, 0, UINT64_MAX);
    /* A newer epoch may have begun meanwhile; then its request bit is set again and this acknowledges the
     * older. */
    atomic_store(&c->code_epoch_seen, epoch);
}

/* Makes every other CPU drop its write tags for the page; on return none can write to it unnoticed. */
static void ask_others(VmcCpu *c, uintptr_t host_page)
{
    VmcCpuVm *vm = c->vm;
    __atomic_store_n(&vm->code_host, host_page, __ATOMIC_RELEASE);
    uint32_t epoch = atomic_fetch_add(&vm->code_epoch, 1) + 1;
    atomic_store(&c->code_epoch_seen, epoch);
    for (unsigned i = 0; i < vm->n_cpus; i++)
        if (vm->cpus[i] && vm->cpus[i] != c)
            atomic_fetch_or(&vm->cpus[i]->request, REQ_CODE);
    for (unsigned i = 0; i < vm->n_cpus; i++) {
        VmcCpu *other = vm->cpus[i];
        if (!other || other == c)
            continue;
        for (unsigned spin = 0;
             atomic_load(&other->running) && (int32_t)(atomic_load(&other->code_epoch_seen) - epoch) < 0;
             spin++) {
            if (spin > 200)
                sched_yield();
            else
                __builtin_ia32_pause();
        }
    }
}

/* Makes sure the page is known to hold code and returns the word its blocks are valid for. */
static uint32_t mark_code(VmcCpu *c, _Atomic uint32_t *word, uintptr_t host_page)
{
    VmcCpuVm *vm = c->vm;
    if (vm->n_cpus == 1) {
        uint32_t old = atomic_fetch_or(word, 1);
        if (!(old & 1))
            vmc_tlb_protect(c, host_page);
        return old | 1;
    }
    while (!g_mutex_trylock(&vm->code_lock)) { /* its holder may be waiting for us */
        vmc_block_serve_code_request(c);
        sched_yield();
    }
    uint32_t old = atomic_fetch_or(word, 1);
    if (!(old & 1)) {
        vmc_block_serve_code_request(c);
        vmc_tlb_protect(c, host_page);
        ask_others(c, host_page);
    }
    g_mutex_unlock(&vm->code_lock);
    return old | 1;
}

/* ---- decoding ---- */

void vmc_op_block_end(VmcCpu *c, const struct vmc_uop *u)
{
    c->rip = c->block_rip + u->off;
    if (c->mode == VMC_MODE_64)
        VMC_JUMP(c, c->rip);
    c->link_from = NULL;
}

static void end_block(struct vmc_block *b, unsigned off)
{
    struct vmc_uop *u = &b->uops[b->n_uops++];
    memset(u, 0, sizeof *u);
    u->fn = vmc_op_block_end;
    u->off = (uint16_t)off;
    u->base = u->index = VMC_SLOT_ZERO;
    u->seg = VMC_SEG_FLAT;
}

/* Binds one decoded instruction as the next uop; true if the block ends with it. */
static bool append(const VmcCpu *c, struct vmc_block *b, const struct vmc_insn *d, unsigned off)
{
    struct vmc_uop *u = &b->uops[b->n_uops++];
    u->off = (uint16_t)off;
    u->len = d->length;
    enum vmc_bound bound = vmc_bind(d, c->vm->features, u);
    if (bound != VMC_BIND_OK && bound != VMC_BIND_END) {
        u->fn = vmc_op_ud;
        return true;
    }
    return bound == VMC_BIND_END;
}

/* A block of nothing but a look for a debugger's breakpoint. */
static void break_block(struct vmc_block *b)
{
    b->n_uops = 0;
    end_block(b, 0);
    b->uops[0].fn = vmc_op_break;
}

/* Decodes from `bytes` (`avail` of them in this page) into b. False: the very first instruction crosses the
 * page. */
static bool decode_block(VmcCpu *c, struct vmc_block *b, const uint8_t *bytes, unsigned avail, unsigned limit)
{
    unsigned off = 0, n;
    bool ended = false;
    struct vmc_insn list[VMC_BLOCK_INSNS];
    uint8_t uop_of[VMC_BLOCK_INSNS];
    struct vmc_fuse fuse;
    if (vmc_debug_breaks_at(c, VMC_PAGE_SIZE - avail)) {
        break_block(b);
        return true;
    }
    b->n_uops = 0;
    vmc_fuse_begin(&fuse);
    for (n = 0; n < limit && off < avail && !ended; n++) {
        uint8_t copy[MAX_INSN_LEN];
        unsigned have = MIN(avail - off, (unsigned)MAX_INSN_LEN);
        if (vmc_debug_breaks_at(c, VMC_PAGE_SIZE - avail + off))
            break;
        memcpy(copy, bytes + off, have); /* once: the guest may be writing */
        if (vmc_decode(copy, have, c->mode, &list[n]) != VMC_DECODE_OK)
            break;
        ended = append(c, b, &list[n], off);
        vmc_fuse(&fuse, &list[n], b);
        uop_of[n] = (uint8_t)(b->n_uops - 1);
        off += list[n].length;
    }
    if (n == 0)
        return false;
    if (!ended)
        end_block(b, off);
    vmc_drop_dead_flags(list, uop_of, n, b);
    return true;
}

static void start_block(struct vmc_block *b)
{
    b->link[0] = b->link[1] = NULL;
    b->code = NULL;
    b->shadow = NULL;
    b->lockstep_runs = 0;
    b->incoming = 0;
    b->heat = 0;
    b->cached = false;
    b->word2 = NULL;
}

static void take_room(VmcCpu *c, const struct vmc_block *b)
{
    c->blocks->decoded.now->used += room_of(b);
}

static void enter_block(VmcCpu *c, struct vmc_block *b)
{
    struct vmc_block **head = hash_at(c, b->pa, b->mode_key);
    take_room(c, b);
    c->stats.blocks_decoded++;
    b->hash_next = *head;
    b->cached = true;
    *head = b;
}

static struct vmc_block *new_block(VmcCpu *c)
{
    return (struct vmc_block *)c->blocks->decoded.now->used;
}

/* The code word of the page at `pa`, which now holds code, and its value. */
static _Atomic uint32_t *code_word(VmcCpu *c, uint64_t pa, const uint8_t *host, uint32_t *value)
{
    uint64_t offset;
    const VmcMemSlot *slot = vmc_memory_find(c->vm->memory, pa, &offset);
    _Atomic uint32_t *word = &slot->code_words[offset >> VMC_PAGE_SHIFT];
    *value = mark_code(c, word, (uintptr_t)host & VMC_PAGE_MASK);
    return word;
}

static struct vmc_block *build(VmcCpu *c, uint64_t linear, const uint8_t *host, uint64_t pa)
{
    struct vmc_block *b = new_block(c);
    b->pa = pa;
    b->mode_key = mode_key(c);
    b->word = code_word(c, pa, host, &b->word_value);
    start_block(b);
    if (!decode_block(c, b, host, VMC_PAGE_SIZE - (unsigned)(linear & ~VMC_PAGE_MASK), VMC_BLOCK_INSNS))
        return NULL;
    enter_block(c, b);
    return b;
}

/* The one instruction at `linear`, which begins in the page at `host` and ends in the next; `known` is what
 * was found for the first page. NULL: not to be cached. */
static struct vmc_block *crossing(VmcCpu *c, struct vmc_block *known, uint64_t linear, const uint8_t *host,
                                  uint64_t pa)
{
    unsigned have = VMC_PAGE_SIZE - (unsigned)(linear & ~VMC_PAGE_MASK);
    uint8_t bytes[MAX_INSN_LEN];
    struct vmc_insn d;
    uint64_t pa2;
    if (c->mode != VMC_MODE_64 || have >= MAX_INSN_LEN)
        return NULL;
    const uint8_t *next = vmc_code_host(c, linear + have, &pa2);
    if (!next || pa2 == VMC_NO_PA)
        return NULL;
    if (known && known->pa2 == pa2 &&
        atomic_load_explicit(known->word2, memory_order_acquire) == known->word2_value)
        return known;
    struct vmc_block *b = new_block(c);
    b->pa = pa;
    b->mode_key = mode_key(c);
    b->word = code_word(c, pa, host, &b->word_value);
    start_block(b);
    b->pa2 = pa2;
    b->word2 = code_word(c, pa2, next, &b->word2_value);
    memcpy(bytes, host, have);
    memcpy(bytes + have, next, MAX_INSN_LEN - have);
    if (vmc_decode(bytes, MAX_INSN_LEN, c->mode, &d) != VMC_DECODE_OK)
        return NULL;
    b->n_uops = 0;
    if (!append(c, b, &d, 0))
        end_block(b, d.length);
    enter_block(c, b);
    return b;
}

struct vmc_block *vmc_block_part(VmcCpu *c, const struct vmc_block *b, unsigned offset, unsigned insns)
{
    uint64_t pa;
    const uint8_t *host = vmc_code_host(c, c->rip, &pa);
    if (!host || !room_for(&c->blocks->decoded, WORST_CASE))
        return NULL;
    struct vmc_block *p = new_block(c);
    *p = *b;
    p->incoming = 0;
    p->pa = b->pa + offset;
    p->hash_next = NULL;
    if (!decode_block(c, p, host + offset, VMC_PAGE_SIZE - (unsigned)(p->pa & ~VMC_PAGE_MASK), insns))
        return NULL;
    take_room(c, p);
    return p;
}

struct vmc_block *vmc_block_translated(VmcCpu *c, struct vmc_block *b)
{
    struct arena *heads = &c->blocks->heads;
    struct vmc_block **at = hash_at(c, b->pa, b->mode_key), *head;
    if (!heads->size)
        return b;
    head = (struct vmc_block *)heads->now->used;
    heads->now->used += (sizeof *head + 7) & ~7ul;
    while (*at != b)
        at = &(*at)->hash_next;
    *head = *b;
    head->n_uops = 0;
    *at = head;
    return head;
}

struct vmc_block *vmc_block_again(VmcCpu *c, struct vmc_block *b)
{
    struct vmc_block *again = &c->blocks->again.block;
    uint64_t pa;
    if (b->n_uops)
        return b;
    const uint8_t *host = b->word2 ? NULL : vmc_code_host(c, c->rip, &pa);
    *again = *b;
    again->cached = false;
    if (!host ||
        !decode_block(c, again, host, VMC_PAGE_SIZE - (unsigned)(c->rip & ~VMC_PAGE_MASK), VMC_BLOCK_INSNS))
        return vmc_block_single(c);
    return again;
}

static struct vmc_block *look_up(VmcCpu *c, uint64_t pa, uint16_t key)
{
    struct vmc_block **at = hash_at(c, pa, key);
    while (*at) {
        struct vmc_block *b = *at;
        if (b->pa == pa && b->mode_key == key) {
            if (vmc_block_valid(b))
                return b;
            *at = b->hash_next; /* dead: out of the way */
            continue;
        }
        at = &b->hash_next;
    }
    return NULL;
}

/* Chains the block just found behind the jump that asked for it, if both lie in one page, linear and
 * physical. */
static void chain(const VmcCpu *c, struct vmc_block **link, struct vmc_block *b)
{
    if (link && !c->translator && !((b->pa ^ c->block->pa) & VMC_PAGE_MASK) &&
        !((c->rip ^ c->block_rip) & VMC_PAGE_MASK))
        *link = b;
}

static uint64_t linear_rip(const VmcCpu *c)
{
    if (c->mode == VMC_MODE_64)
        return c->rip;
    return (uint32_t)(c->seg[VMC_CS].base + c->rip);
}

struct vmc_block *vmc_block_single(VmcCpu *c)
{
    struct vmc_block *b = &c->blocks->scratch.block;
    uint8_t bytes[MAX_INSN_LEN];
    struct vmc_insn d;
    uint64_t linear = linear_rip(c), pa;
    unsigned have = MIN(VMC_PAGE_SIZE - (unsigned)(linear & ~VMC_PAGE_MASK), (unsigned)MAX_INSN_LEN);

    memset(b, 0, sizeof *b);
    b->word = &c->blocks->no_word;
    c->link_from = NULL;
    if (c->mode != VMC_MODE_64 && c->rip > c->seg[VMC_CS].limit)
        vmc_gp0(c);
    const uint8_t *host = vmc_code_host(c, linear, &pa);
    if (!host)
        vmc_ud(c);             /* nothing answers there: all ones, which is no instruction */
    memcpy(bytes, host, have); /* cppcheck-suppress nullPointerRedundantCheck ; vmc_ud does not return */
    enum vmc_decode_status status = vmc_decode(bytes, have, c->mode, &d);
    if (status == VMC_DECODE_MORE && have < MAX_INSN_LEN) {
        if (c->mode != VMC_MODE_64 && c->rip + have > c->seg[VMC_CS].limit)
            vmc_gp0(c);
        host = vmc_code_host(c, linear + have, &pa);
        if (host)
            memcpy(bytes + have, host, MAX_INSN_LEN - have);
        else
            memset(bytes + have, 0xff, MAX_INSN_LEN - have);
        status = vmc_decode(bytes, MAX_INSN_LEN, c->mode, &d);
    }
    if (status != VMC_DECODE_OK)
        vmc_gp0(c);
    if (!append(c, b, &d, 0))
        end_block(b, d.length);
    return b;
}

struct vmc_block *vmc_block_find(VmcCpu *c)
{
    uint64_t linear = linear_rip(c), pa;
    struct vmc_jump_entry *jump = vmc_jump_at(c, c->rip);
    struct vmc_block **link = c->link_from;

    c->link_from = NULL;
    c->cur = NULL;
    c->stats.lookups++;
    if (c->mode != VMC_MODE_64 && c->rip > c->seg[VMC_CS].limit)
        vmc_gp0(c);
    if (!c->translator && jump->rip == c->rip && jump->key == c->jump_key && c->mode == VMC_MODE_64 &&
        vmc_block_valid(jump->block)) {
        chain(c, link, jump->block);
        return jump->block;
    }
    c->stats.lookup_misses++;
    if (vmc_unlikely(!room_for_blocks(c) || !room_for_code(c))) {
        make_room(c);
        link = NULL; /* it may have been evicted */
    }
    const uint8_t *host = vmc_code_host(c, linear, &pa);
    if ((!host || pa == VMC_NO_PA) && vmc_debug_breaks_at(c, linear)) {
        c->blocks->scratch.block.word = &c->blocks->no_word;
        break_block(&c->blocks->scratch.block);
        return &c->blocks->scratch.block;
    }
    if (!host || pa == VMC_NO_PA)
        return vmc_block_single(c);
    /* After a TLB flush most entries still say the truth; only the translation had to be asked again. */
    struct vmc_block *b = !c->translator && jump->rip == c->rip ? jump->block : NULL;
    if (!b || b->pa != pa || b->mode_key != mode_key(c) || !vmc_block_valid(b))
        b = look_up(c, pa, mode_key(c));
    if (!b)
        b = build(c, linear, host, pa);
    if (!b || b->word2)
        b = crossing(c, b, linear, host, pa);
    if (!b)
        return vmc_block_single(c);
    if (c->mode == VMC_MODE_64 && !c->translator && !b->word2) {
        *jump = (struct vmc_jump_entry){.rip = c->rip, .key = c->jump_key, .block = b};
        chain(c, link, b);
    }
    return b;
}
