/*
 * The translator: blocks of 64-bit guest code become host code.
 *
 * A block that has been interpreted a few times is translated. Its code keeps guest registers in host
 * registers, runs the guest's own instructions wherever their meaning is the same and leaves everything
 * unusual, be it a page fault, a device or an access across pages, to the interpreter, one instruction at a
 * time: the state is then whole, and nothing of the instruction has happened yet.
 *
 * Threads: a translator belongs to one CPU and its thread; the code it writes is run by that thread alone.
 */
#pragma once

#include "cpu/soft/block.h"

struct vmc_translator;

/* A jump from the end of one block to another in the same page: `site` are the four bytes of its distance,
 * which point to a way out until the target has been translated, and again when it is evicted. Stands right
 * behind that way out, the call of a thunk; places are offsets in the code memory. */
struct vmc_link {
    uint64_t to; /* physical address of the target, when this was made */
    uint32_t site;
    uint32_t next; /* of those that lead to the same block; 0: none */
} __attribute__((packed));

/* Next to every CPU: where indirect jumps find their target. Always a canonical RIP; `kind` is the tag of its
 * kind of code (VmcCpu.jump_key), 0: none. */
struct vmc_target {
    uint64_t rip, page;
    const uint8_t *code;
    uint64_t kind;
};
/* In the kind of a block that checks every access by itself, whose place in the table is the neighbour's. */
#define VMC_TARGET_NARROW (1ull << 63)
#define VMC_TARGET_BITS   16
#define VMC_TARGETS       (1u << VMC_TARGET_BITS)

/* And a place for each jump that is not linked, with the last target it had. The first is nobody's. */
#define VMC_SITES (1u << 18)

/* Index of a RIP in the table. */
static inline uint32_t vmc_target_index(uint64_t rip)
{
    return (uint32_t)rip * 0x9e3779b1u >> (32 - VMC_TARGET_BITS);
}
/* All cached targets are forgotten. */
void vmc_targets_clear(VmcCpu *c);

/* VmcCpu.branch: offset in its page of an indirect jump, VMC_BRANCH, and the bytes a return has popped; set
 * when its target was not found at once. 0: another jump. */
#define VMC_BRANCH              (1u << 12)
#define VMC_BRANCH_POPPED_SHIFT 13
#define VMC_BRANCH_POPPED_MASK  0x1ffffu

/* NULL with a message if the host does not let us run code of our own. `kib`: of code memory, more if that is
 * too little to work with. */
struct vmc_translator *vmc_translator_new(VmcCpu *c, unsigned kib, GError **error);
void vmc_translator_free(struct vmc_translator *t);

/* Runs from c->rip until something has to be looked at: like running one block of the interpreter, but more.
 */
void vmc_translator_run(VmcCpu *c);
/* All code is forgotten: the blocks it was made from are. */
void vmc_translator_reset(VmcCpu *c);
/* Whether any block that is not larger than blocks can be still fits into the current generation. */
bool vmc_translator_has_room(const struct vmc_translator *t);
/* This generation (block.h) is the current one from now on, and empty; nothing leads to its code any more. */
void vmc_translator_advance(VmcCpu *c, unsigned generation);
/* Bytes of code memory that hold code of blocks. */
size_t vmc_translator_code_bytes(const struct vmc_translator *t);

/* ---- links.c ---- */
/* `b`, one of all blocks that can be found, when a generation is evicted: its code is forgotten if it lies
 * there or if the block is `gone`, and links between what goes and what stays are taken back. */
void vmc_links_evict(struct vmc_translator *t, struct vmc_block *b, unsigned generation, bool gone);
