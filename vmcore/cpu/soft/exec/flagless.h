/*
 * Flags nobody will see: most arithmetic sets flags that the next arithmetic overwrites.
 */
#pragma once

#include "cpu/soft/block.h"

/* Gives register-only instructions of a finished block handlers that record no flags, where all six are
 * written again before anything could look: a condition, a fault (any memory access counts), or the end of
 * the block. `uop_of[i]` is the uop of instruction i. */
void vmc_drop_dead_flags(const struct vmc_insn *list, const uint8_t *uop_of, unsigned n, struct vmc_block *b);
