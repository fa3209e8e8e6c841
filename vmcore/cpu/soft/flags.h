/*
 * Lazy flags (state.h, enum vmc_cc): asked for here, one flag, a condition or all of them.
 */
#pragma once

#include "cpu/soft/state.h"

/* The six arithmetic bits as the last flag-setting operation left them. */
uint64_t vmc_arith_flags(const VmcCpu *c);
/* RFLAGS whole. */
static inline uint64_t vmc_get_rflags(const VmcCpu *c)
{
    return c->eflags | vmc_arith_flags(c);
}
/* The six bits from `flags`; the rest untouched. */
static inline void vmc_set_arith(VmcCpu *c, uint64_t flags)
{
    c->cc_op = CC_FLAGS;
    c->cc_src = flags & FL_ARITH;
}
/* RFLAGS whole (bit 1 forced); the caller has masked what may not change and calls vmc_soft_update_mode if AC, VM or TF did. */
static inline void vmc_set_rflags(VmcCpu *c, uint64_t flags)
{
    vmc_set_arith(c, flags);
    c->eflags = (flags & ~FL_ARITH) | 2u;
}
bool vmc_flag_carry(const VmcCpu *c);
/* Condition code 0..15 as in Jcc, SETcc, CMOVcc. */
bool vmc_condition(const VmcCpu *c, unsigned cond);
