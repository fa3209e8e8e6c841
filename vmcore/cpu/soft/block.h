/*
 * Blocks: decoded instructions of one physical page, from an entry point to the next branch.
 *
 * A block is keyed by physical address and code mode and remembers the code word of its page (base/memory.h);
 * when the word has moved on the block is dead. A jump within a page is chained: source and target die
 * together.
 *
 * Each CPU has its own blocks, in generations: the arena, the translator's code memory and its sites are cut
 * into as many parts. New blocks and code go to the current generation; when any part of it is full the next
 * one, which is the oldest, is evicted and becomes current. Blocks that are not translated yet and those that
 * are have generations of their own, but for lockstep, where a block may be older than its code.
 */
#pragma once

#include "cpu/soft/mmu.h"

#define VMC_GENERATIONS 4u

/* Instructions of a block at most. */
#define VMC_BLOCK_INSNS 64

struct vmc_block {
    /* What is looked at whenever it is looked for, together. */
    uint64_t pa;
    struct vmc_block *hash_next;
    _Atomic uint32_t *word; /* of its page */
    uint32_t word_value;    /* as it was when the bytes were read */
    uint16_t mode_key;
    uint16_t n_uops;     /* 0: translated, and its uops are gone */
    const uint8_t *code; /* translated, or NULL */
    const uint8_t *door; /* where jumps within the page enter it */
    /* A single instruction that lies across two pages: the second one. Found by vmc_block_find alone, never
     * chained and never by virtual address without a tag. */
    _Atomic uint32_t *word2;
    uint64_t pa2;
    uint32_t word2_value;
    bool cached;               /* vmc_block_find will find it again */
    uint16_t heat;             /* how often it was run before it had code */
    uint16_t insns;            /* of which it has code */
    uint16_t lockstep_runs;    /* in lockstep, until it wraps */
    struct vmc_block *shadow;  /* and just those instructions for the interpreter */
    struct vmc_block *link[2]; /* chained successors: taken, not taken */
    uint32_t incoming;         /* the first of the links (translate/links.c) that lead to it, or 0 */
    struct vmc_uop uops[];
};

bool vmc_blocks_init(VmcCpu *c);
void vmc_blocks_clear(VmcCpu *c);
/* Forgets all blocks: what they are made by has changed. Not while one runs. */
void vmc_blocks_drop(VmcCpu *c);

/* The block at c->rip, from the caches or decoded now. Faults as an instruction fetch does (c->rip is then
 * the fault's RIP). */
struct vmc_block *vmc_block_find(VmcCpu *c);
/* A block of the one instruction at c->rip, not cached, good until the next call: single-stepping and
 * interrupt shadows. */
struct vmc_block *vmc_block_single(VmcCpu *c);

/* `b` has got code: the block that stands for it from now on, perhaps without uops. */
struct vmc_block *vmc_block_translated(VmcCpu *c, struct vmc_block *b);
/* For the interpreter: the block at c->rip, which is `b`, with uops; good until the next call. */
struct vmc_block *vmc_block_again(VmcCpu *c, struct vmc_block *b);

/* `insns` instructions from `offset` bytes into the block at c->rip, which is `b`, as a block of their own
 * that is not found by anybody. NULL: no room. */
struct vmc_block *vmc_block_part(VmcCpu *c, const struct vmc_block *b, unsigned offset, unsigned insns);

/* A CPU is about to write to the page of `word`: its blocks die, and the running block ends after this
 * instruction if it is among them. */
void vmc_block_page_written(VmcCpu *c, _Atomic uint32_t *word);
/* Serves REQ_CODE: another CPU made a page hold code. */
void vmc_block_serve_code_request(VmcCpu *c);

/* Ends a block that ran to its last instruction without a branch. */
void vmc_op_block_end(VmcCpu *c, const struct vmc_uop *u);

static inline bool vmc_block_valid(const struct vmc_block *b)
{
    return atomic_load_explicit(b->word, memory_order_acquire) == b->word_value;
}

static inline struct vmc_jump_entry *vmc_jump_at(VmcCpu *c, uint64_t rip)
{
    return &c->jump[((rip >> 6) ^ (rip & 63)) & (VMC_JUMP_SIZE - 1)];
}

static inline bool vmc_requested(VmcCpu *c)
{
    return atomic_load_explicit(&c->request, memory_order_relaxed) != 0;
}

/* Something is to be done before the next block. */
static inline bool vmc_attention(VmcCpu *c)
{
    return vmc_requested(c) || (c->intr_waiting && (c->eflags & FL_IF)) || c->shutdown || c->fatal;
}

/* Goes on at `rip` (64-bit code: linear = offset): straight into the block if it is known, else by way of the
 * run loop. */
#define VMC_JUMP(c, target)                                                                                  \
    do {                                                                                                     \
        uint64_t jump_rip_ = (target);                                                                       \
        const struct vmc_jump_entry *jump_ = vmc_jump_at(c, jump_rip_);                                      \
        struct vmc_block *jump_b_ = jump_->block;                                                            \
        (c)->rip = jump_rip_;                                                                                \
        (c)->link_from = NULL;                                                                               \
        if (vmc_unlikely(jump_->rip != jump_rip_ || jump_->key != (c)->jump_key || vmc_requested(c) ||       \
                         !vmc_block_valid(jump_b_)))                                                         \
            return;                                                                                          \
        (c)->block = jump_b_;                                                                                \
        (c)->block_rip = jump_rip_;                                                                          \
        jump_b_->uops[0].fn((c), jump_b_->uops);                                                             \
        return;                                                                                              \
    } while (0)

/* The same for a target in the same page, chained through block->link[slot]. */
#define VMC_CHAIN(c, slot, target)                                                                           \
    do {                                                                                                     \
        uint64_t chain_rip_ = (target);                                                                      \
        struct vmc_block *chain_b_ = (c)->block->link[slot];                                                 \
        if (vmc_unlikely(!chain_b_ || vmc_requested(c) || !vmc_block_valid(chain_b_))) {                     \
            if ((chain_rip_ ^ (c)->block_rip) & VMC_PAGE_MASK)                                               \
                VMC_JUMP(c, chain_rip_); /* never chained: another page */                                   \
            (c)->rip = chain_rip_;                                                                           \
            (c)->link_from = &(c)->block->link[slot];                                                        \
            return;                                                                                          \
        }                                                                                                    \
        (c)->block = chain_b_;                                                                               \
        (c)->block_rip = chain_rip_;                                                                         \
        chain_b_->uops[0].fn((c), chain_b_->uops);                                                           \
        return;                                                                                              \
    } while (0)
