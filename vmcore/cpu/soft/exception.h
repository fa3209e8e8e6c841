/*
 * What exception.c offers beyond state.h.
 */
#pragma once

#include "cpu/soft/state.h"

#define DR6_BD (1u << 13)
#define DR6_BS (1u << 14)
#define DR7_GD (1u << 13)

/* A debug exception of the fault kind (instruction breakpoint, general detect) with these DR6 bits. */
_Noreturn void vmc_fault_db(VmcCpu *c, uint64_t dr6);
/* INT1 (F1): a #DB without a descriptor privilege check; c->rip is the next instruction, c->cur this one. */
void vmc_deliver_int1(VmcCpu *c);
