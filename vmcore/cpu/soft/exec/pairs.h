/*
 * Pairs: two register instructions in one handler, for one dispatch less.
 */
#pragma once

#include "cpu/soft/block.h"

/* Called for a finished block once it is settled which instructions record no flags (`silent[i]`): neighbours
 * of the kinds that fill the inner loops of checksums and ciphers get one handler. Each keeps its own uop. */
void vmc_pair_up(const struct vmc_insn *list, const uint8_t *uop_of, const bool *silent, unsigned n,
                 struct vmc_block *b);
