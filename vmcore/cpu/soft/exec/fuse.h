/*
 * Fusing: what the block builder can know about neighbouring instructions and a single handler cannot.
 */
#pragma once

#include "cpu/soft/block.h"

struct vmc_fuse {
    int producer;         /* enum vmc_cc with size of the instruction the flags come from, or -1: not known */
    struct vmc_insn last; /* the instruction before, if the last uop of the block is its */
    bool have_last;
};

static inline void vmc_fuse_begin(struct vmc_fuse *f)
{
    f->producer = -1;
    f->have_last = false;
}

/* Called when `d` has been appended as the last uop of `b`. A compare of registers or an immediate and the
 * conditional jump after it become one handler; a conditional jump after any other known flag producer gets a
 * handler for just that producer. */
void vmc_fuse(struct vmc_fuse *f, const struct vmc_insn *d, struct vmc_block *b);
