/*
 * What a debugger asked of a software CPU (cpu/cpu.h, set_debug); nothing of it is seen by the guest.
 *
 * c->debug is NULL unless something is asked for, and each place that looks is off the fast paths.
 *
 * A single step runs one instruction by itself, as for EFLAGS.TF.
 *
 * With watchpoints every instruction runs so, with the TLB that is never filled, as for the guest's own data
 * breakpoints: the slow paths of mmu.c tell of each access.
 *
 * Breakpoints let code run in blocks, translated or not. No block holds an instruction at an offset within
 * its page at which some breakpoint is; there stands one of its own instead, that has the CPU run this
 * instruction by itself, and only then the whole address is compared. So it does not matter how often a page
 * is mapped, where, or since when.
 */
#pragma once

#include "cpu/soft/mmu.h"

struct vmc_debug {
    VmcCpuDebug want;
    VmcDebugEvent event;
    bool one_by_one;      /* every instruction by itself: a step or watchpoints */
    bool ran;             /* the instruction of a single step was begun */
    uint64_t offsets[64]; /* a bit for each byte of a page where blocks end for a breakpoint */
};

bool vmc_soft_set_debug(VmcCpu *c, const VmcCpuDebug *debug, GError **error);
void vmc_soft_get_debug_event(VmcCpu *c, VmcDebugEvent *event);
bool vmc_soft_translate(VmcCpu *c, uint64_t va, uint64_t *pa);

/* Between instructions: whether run has to return VMC_EXIT_DEBUG. */
bool vmc_debug_due(VmcCpu *c);
/* Before the instruction at c->rip runs by itself: whether it must not, as there is a breakpoint. c->debug is
 * there. */
bool vmc_debug_before(VmcCpu *c);
/* The running instruction accesses these bytes. c->debug is there. */
void vmc_debug_access(VmcCpu *c, uint64_t va, unsigned size, enum vmc_access access);
/* The instruction did not complete, so what it would have accessed does not count. c->debug is there. */
void vmc_debug_fault(VmcCpu *c);

/* Stands in a block for an instruction that may have a breakpoint. */
void vmc_op_break(VmcCpu *c, const struct vmc_uop *u);

/* Whether an instruction at this linear address has to run by itself for a breakpoint's sake. */
static inline bool vmc_debug_breaks_at(const VmcCpu *c, uint64_t linear)
{
    return vmc_unlikely(c->debug) && (c->debug->offsets[linear >> 6 & 63] >> (linear & 63) & 1);
}

static inline bool vmc_debug_one_by_one(const VmcCpu *c)
{
    return vmc_unlikely(c->debug) && c->debug->one_by_one;
}

static inline bool vmc_debug_watches(const VmcCpu *c)
{
    return vmc_unlikely(c->debug) && c->debug->want.n_watchpoints;
}

/* While a single instruction runs, interrupts wait; but one that waits for them must get them. */
static inline bool vmc_debug_holds_interrupts(const VmcCpu *c)
{
    return vmc_unlikely(c->debug) && c->debug->want.single_step && !c->halted;
}
