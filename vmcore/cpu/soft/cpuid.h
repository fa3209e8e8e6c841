/* What the software CPU says it is. cpuid.c and features.c are where its features are listed. */
#pragma once

#include "cpu/soft/state.h"

/* Family 6, model 2CH, stepping 2: CPUID.1:EAX and EDX after reset. */
#define VMC_CPUID_SIGNATURE 0x000206c2u
/* Local APIC timer input, as CPUID 15H (crystal) and 4000_0010H say. */
#define VMC_APIC_TIMER_HZ 1000000000ull

/* CPUID: reads EAX and ECX, writes all four. */
void vmc_cpuid(VmcCpu *c);
/* The bits MOV to CR4 accepts; they follow from the features. */
uint64_t vmc_cr4_allowed(const VmcCpu *c);
