/*
 * Fusing: what the block builder can know about neighbouring instructions and a single handler cannot.
 */
#pragma once

#include "cpu/soft/block.h"

/* Called when `now` has been appended as the last uop of `b` and `prev` stands before it. A compare of registers or
 * immediates and the conditional jump after it become one handler; a conditional jump after any other known flag producer
 * gets a handler for just that producer. */
void vmc_fuse(const struct vmc_insn *prev, const struct vmc_insn *now, struct vmc_block *b);
