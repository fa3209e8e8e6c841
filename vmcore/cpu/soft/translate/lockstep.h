/*
 * Lockstep: every translated block runs on the interpreter first, and both must leave the same behind.
 *
 * The interpreter's stores are noted and taken back, then the translated code does the block again, and
 * registers, flags, vector registers and the bytes stored are compared; each block's first thousand times,
 * and then every few dozen. The first difference stops the machine with both sides in the log. Slow: for
 * tests.
 *
 * CPUs take turns, so that what one block reads does not change between the two runs; a device that writes
 * just then is given the benefit of the doubt by trying again.
 */
#pragma once

#include "cpu/soft/block.h"

struct vmc_journal;

struct vmc_journal *vmc_journal_new(void);
/* The interpreter is about to write `size` bytes at `p`. */
void vmc_journal_note(VmcCpu *c, const void *p, unsigned size);
/* The interpreter reached a device: the block cannot be run twice. Does not return while a journal is kept.
 */
void vmc_journal_device(VmcCpu *c);

/* Runs block `b`, which has code for its first `insns` instructions, both ways. */
void vmc_lockstep(VmcCpu *c, struct vmc_block *b);
/* Blocks of a turn: another CPU may be what this one waits for. */
#define VMC_LOCKSTEP_TURN 10000
/* Around everything a CPU executes. */
void vmc_lockstep_enter(VmcCpu *c);
void vmc_lockstep_leave(VmcCpu *c);
