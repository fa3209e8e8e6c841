/*
 * Links: jumps of translated code that lead straight to another block of their page.
 *
 * A link is made when its jump has left the code for want of a target and that target then has code. Each
 * block lists the links that lead to it, so that they can be taken back, to their way out to C, when its code
 * is evicted. A link dies with the code it lies beside, so the lists of all blocks lose those that lie in
 * what is evicted. Blocks that die because their page was written to take nothing back: all links to them
 * are from the same page and die with them.
 */
#include "cpu/soft/translate/context.h"

/* Bytes of the way out before a link. */
#define CALL_LENGTH 5u

static struct vmc_link *link_at(const struct vmc_translator *t, uint32_t offset)
{
    return offset ? (struct vmc_link *)(t->rw + offset) : NULL;
}

void vmc_link_to(const struct vmc_translator *t, const struct vmc_link *link, struct vmc_block *b)
{
    uint32_t offset = (uint32_t)((const uint8_t *)link - t->rx);
    struct vmc_link *l = link_at(t, offset);
    if ((l->to ^ b->pa) & VMC_PAGE_MASK)
        return; /* the address leads to another page by now */
    vmc_patch(t->rw + l->site, t->rw + (b->door - t->rx));
    l->next = b->incoming;
    b->incoming = offset;
}

static bool lies_in(const struct vmc_code_part *part, ptrdiff_t offset)
{
    return offset >= (ptrdiff_t)part->from && offset < (ptrdiff_t)part->end;
}

/* Takes from the list of `b` the links of `part`; if its code is to be forgotten all of them, and those that
 * stay in force lead out again. */
static void unlink_from(const struct vmc_translator *t, struct vmc_block *b, const struct vmc_code_part *part,
                        bool forget)
{
    struct vmc_link *kept = NULL;
    uint32_t offset = b->incoming;
    b->incoming = 0;
    while (offset) {
        struct vmc_link *l = link_at(t, offset);
        uint32_t next = l->next;
        bool evicted = lies_in(part, offset);
        if (forget && !evicted)
            vmc_patch(t->rw + l->site, t->rw + offset - CALL_LENGTH);
        if (!forget && !evicted) {
            l->next = 0;
            if (kept)
                kept->next = offset;
            else
                b->incoming = offset;
            kept = l;
        }
        offset = next;
    }
}

void vmc_links_evict(struct vmc_translator *t, struct vmc_block *b, unsigned generation, bool gone)
{
    const struct vmc_code_part *part = &t->part[generation];
    bool forget = gone || (b->code && lies_in(part, b->code - t->rx));
    unlink_from(t, b, part, forget);
    if (!forget)
        return;
    b->code = b->door = NULL;
    b->shadow = NULL;
}
