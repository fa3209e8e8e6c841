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

void vmc_link_to(const struct vmc_translator *t, const struct vmc_link *link, struct vmc_block *b)
{
    struct vmc_link *l = (struct vmc_link *)(t->rw + ((const uint8_t *)link - t->rx));
    if ((l->pa ^ b->pa) & VMC_PAGE_MASK)
        return; /* the address leads to another page by now */
    vmc_patch(l->site, t->rw + (b->door - t->rx));
    l->next = b->incoming;
    b->incoming = l;
}

static bool lies_in(const struct vmc_code_part *part, ptrdiff_t offset)
{
    return offset >= (ptrdiff_t)part->from && offset < (ptrdiff_t)part->end;
}

void vmc_links_evict(struct vmc_translator *t, struct vmc_block *b, unsigned generation, bool gone)
{
    const struct vmc_code_part *part = &t->part[generation];
    bool forget = gone || (b->code && lies_in(part, b->code - t->rx));
    struct vmc_link **at = &b->incoming, *l;
    while ((l = *at)) {
        bool evicted = lies_in(part, (uint8_t *)l - t->rw);
        if (forget && !evicted)
            vmc_patch(l->site, l->back);
        if (forget || evicted)
            *at = l->next;
        else
            at = &l->next;
    }
    if (!forget)
        return;
    b->code = b->door = NULL;
    b->shadow = NULL;
}
