/* The state every x86 processor wakes up in. */
#include "cpu/cpu.h"

#include <string.h>

/* Access rights of the real-mode segments: present, accessed, writable data or readable code. */
#define ATTR_DATA 0x93
#define ATTR_CODE 0x9b
#define ATTR_LDT  0x82
#define ATTR_TSS  0x8b

/* Family 6, as CPUID.1:EAX; a backend puts its own signature here. */
#define RESET_EDX 0x600

void vmc_cpu_state_reset(VmcCpuState *state)
{
    static const uint16_t fcw = 0x37f;
    static const uint32_t mxcsr = 0x1f80, mxcsr_mask = 0xffff;

    memset(state, 0, sizeof(*state));
    state->gpr[VMC_RDX] = RESET_EDX;
    state->rip = 0xfff0;
    state->rflags = 0x2;
    for (unsigned i = 0; i < VMC_SEG_COUNT; i++)
        state->seg[i] = (VmcSegment){.limit = 0xffff, .attr = ATTR_DATA};
    state->seg[VMC_CS] =
        (VmcSegment){.base = 0xffff0000, .limit = 0xffff, .selector = 0xf000, .attr = ATTR_CODE};
    state->ldt = (VmcSegment){.limit = 0xffff, .attr = ATTR_LDT};
    state->tr = (VmcSegment){.limit = 0xffff, .attr = ATTR_TSS};
    state->gdt.limit = state->idt.limit = 0xffff;
    state->cr0 = 0x60000010;
    state->xcr0 = 1;
    state->apic_base = 0xfee00900; /* enabled, bootstrap processor; others clear bit 8 */
    state->dr[6] = 0xffff0ff0;
    state->dr[7] = 0x400;
    /* After RESET the x87 control word is 0040H; everybody starts with FNINIT, and boot loaders that enter an
     * operating system directly want what FNINIT leaves. */
    memcpy(state->fxsave, &fcw, sizeof(fcw));
    memcpy(state->fxsave + 24, &mxcsr, sizeof(mxcsr));
    memcpy(state->fxsave + 28, &mxcsr_mask, sizeof(mxcsr_mask));
}
