/*
 * RESET, INIT, SIPI, and the software CPU as a VmcCpuState.
 *
 * Source: Intel SDM vol. 3 section 10.1.1 and table 10-1 (RESET and INIT), 9.4 (SIPI).
 */
#include "cpu/soft/reset.h"

#include "base/i18n.h"
#include "cpu/soft/cpuid.h"
#include "cpu/soft/exec/fx.h"
#include "cpu/soft/flags.h"
#include "cpu/soft/msr.h"
#include "cpu/soft/segment.h"
#include "cpu/soft/xcr.h"
#include "vmcore/error.h"

#define RFLAGS_VALID                                                                                         \
    (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | FL_VIF | FL_VIP | FL_ID | 2)
#define MXCSR_MASK 0xffffu
#define APIC_BSP   0x100u

/* ---- VmcCpuState ---- */

static VmcSegment export_seg(const struct vmc_seg *s)
{
    return (VmcSegment){.base = s->base, .limit = s->limit, .selector = s->selector, .attr = s->attr};
}

static struct vmc_seg import_seg(const VmcSegment *s)
{
    return (struct vmc_seg){.base = s->base, .limit = s->limit, .selector = s->selector, .attr = s->attr};
}

void vmc_soft_get_state(VmcCpu *c, VmcCpuState *state)
{
    memset(state, 0, sizeof *state);
    memcpy(state->gpr, c->gpr, sizeof state->gpr);
    state->rip = c->rip;
    state->rflags = vmc_get_rflags(c);
    for (unsigned i = 0; i < VMC_SEG_COUNT; i++)
        state->seg[i] = export_seg(&c->seg[i]);
    state->ldt = export_seg(&c->ldt);
    state->tr = export_seg(&c->tr);
    state->gdt.base = c->gdt.base;
    state->gdt.limit = (uint16_t)c->gdt.limit;
    state->idt.base = c->idt.base;
    state->idt.limit = (uint16_t)c->idt.limit;
    state->cr0 = c->cr0;
    state->cr2 = c->cr2;
    state->cr3 = c->cr3;
    state->cr4 = c->cr4;
    state->cr8 = c->lapic.ops ? c->lapic.ops->get_cr8(c->lapic.apic) : 0;
    state->efer = c->efer;
    state->apic_base = c->lapic.ops ? c->lapic.ops->get_base(c->lapic.apic) : c->apic_base;
    memcpy(state->dr, c->dr, sizeof state->dr);
    memcpy(state->fxsave, &c->fx, sizeof state->fxsave);
    memcpy(state->ymm_high, c->ymm_high, sizeof state->ymm_high);
    state->xcr0 = c->xcr0;
    state->halted = c->halted;
    state->wait_for_sipi = c->wait_sipi;
    state->interrupt_shadow = c->inhibit;
    state->debug_shadow = c->inhibit_db;
    state->nmi_blocked = c->nmi_blocked;
    state->nmi_pending = c->nmi_waiting;
    state->debug_pending = c->db_pending;
}

/* What is wrong with a state, or NULL. */
static const char *state_fault(const VmcCpu *c, const VmcCpuState *s)
{
    bool lma = (s->cr0 & CR0_PG) && (s->efer & EFER_LME);
    if ((s->cr0 & (CR0_PG | CR0_PE)) == CR0_PG)
        return "CR0.PG without CR0.PE";
    if ((s->cr0 & (CR0_NW | CR0_CD)) == CR0_NW || s->cr0 >> 32)
        return "CR0 has bits no processor accepts";
    if (s->cr4 & ~vmc_cr4_allowed(c))
        return "CR4 has bits this CPU does not know";
    if (s->efer & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE))
        return "EFER has bits this CPU does not know";
    if (lma != ((s->efer & EFER_LMA) != 0))
        return "EFER.LMA must be set exactly if EFER.LME and CR0.PG are";
    if (lma && !(s->cr4 & CR4_PAE))
        return "long mode without CR4.PAE";
    if (s->rflags & ~RFLAGS_VALID)
        return "RFLAGS has reserved bits";
    if (lma && (s->seg[VMC_CS].attr & SEG_L) ? !vmc_canonical(s->rip) : s->rip >> 32 != 0)
        return "RIP is outside the code's address space";
    if (s->dr[6] >> 32 || s->dr[7] >> 32)
        return "DR6 or DR7 has reserved bits";
    if (s->cr8 > 15 || (s->cr8 && !c->lapic.ops))
        return "CR8 is above 15, or set without a local APIC";
    uint32_t mxcsr;
    memcpy(&mxcsr, s->fxsave + 24, 4);
    if (mxcsr & ~MXCSR_MASK)
        return "MXCSR has reserved bits";
    if (!vmc_xcr0_valid(c, s->xcr0))
        return "XCR0 lacks bit 0 or has bits this CPU does not know";
    return NULL;
}

static void set_fx(VmcCpu *c, const uint8_t *image)
{
    memcpy(&c->fx, image, sizeof c->fx);
    c->fx.mxcsr_mask = MXCSR_MASK;
    c->xm_unmasked = (~c->fx.mxcsr & 0x1f80) != 0;
}

bool vmc_soft_set_state(VmcCpu *c, const VmcCpuState *s, GError **error)
{
    const char *fault = state_fault(c, s);
    if (fault) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CPU, _("CPU %u cannot be put into the given state: %s"),
                    c->index, fault);
        return false;
    }
    memcpy(c->gpr, s->gpr, sizeof c->gpr);
    c->rip = s->rip;
    vmc_set_rflags(c, s->rflags);
    for (unsigned i = 0; i < VMC_SEG_COUNT; i++)
        c->seg[i] = import_seg(&s->seg[i]);
    c->ldt = import_seg(&s->ldt);
    c->tr = import_seg(&s->tr);
    c->gdt.base = s->gdt.base;
    c->gdt.limit = s->gdt.limit;
    c->idt.base = s->idt.base;
    c->idt.limit = s->idt.limit;
    c->cr0 = s->cr0 | CR0_ET;
    c->cr2 = s->cr2;
    c->cr3 = s->cr3;
    c->cr4 = s->cr4;
    c->efer = s->efer;
    c->long_mode = s->efer & EFER_LMA;
    memcpy(c->dr, s->dr, sizeof c->dr);
    set_fx(c, s->fxsave);
    memcpy(c->ymm_high, s->ymm_high, sizeof c->ymm_high);
    c->xcr0 = s->xcr0;
    c->cpl = !(s->cr0 & CR0_PE) ? 0 : s->rflags & FL_VM ? 3 : (uint8_t)SEG_DPL(s->seg[VMC_SS].attr);
    if (c->lapic.ops) {
        c->lapic.ops->set_base(c->lapic.apic, s->apic_base);
        c->lapic.ops->set_cr8(c->lapic.apic, s->cr8);
        c->apic_base = c->lapic.ops->get_base(c->lapic.apic);
    } else {
        c->apic_base = s->apic_base;
    }
    c->halted = s->halted;
    c->wait_sipi = s->wait_for_sipi;
    c->inhibit = s->interrupt_shadow;
    c->inhibit_db = s->debug_shadow;
    c->nmi_blocked = s->nmi_blocked;
    c->nmi_waiting = s->nmi_pending;
    c->db_pending = s->debug_pending;
    c->shutdown = false;
    c->delivering = -1;
    c->cur = NULL;
    if ((c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE) && !c->long_mode)
        vmc_load_pdptes(c, c->cr3);
    vmc_tlb_flush(c);
    vmc_mode_changed(c);
    vmc_flags_loaded(c);
    uint32_t requests = REQ_INTR;
    if (c->halted || c->wait_sipi)
        requests |= REQ_HALT;
    vmc_request(c, requests);
    return true;
}

/* ---- RESET, INIT, SIPI ---- */

static uint64_t apic_base(const VmcCpu *c, const VmcCpuState *s)
{
    uint64_t base = c->lapic.ops ? c->lapic.ops->get_base(c->lapic.apic) : s->apic_base;
    return c->index ? base & ~(uint64_t)APIC_BSP : base | APIC_BSP;
}

void vmc_soft_reset(VmcCpu *c, bool init)
{
    VmcCpuState s;
    if (init)
        vmc_fx_leave(c); /* INIT comes while running: the floating-point state may be in the host */
    vmc_cpu_state_reset(&s);
    s.gpr[VMC_RDX] = vmc_cpu_model_signature(&c->vm->model);
    s.apic_base = apic_base(c, &s);
    s.wait_for_sipi = c->index != 0;
    if (init) {
        memcpy(s.fxsave, &c->fx, sizeof s.fxsave);
        memcpy(s.ymm_high, c->ymm_high, sizeof s.ymm_high);
        s.xcr0 = c->xcr0;
        s.cr0 = (s.cr0 & ~(CR0_CD | CR0_NW)) | (c->cr0 & (CR0_CD | CR0_NW));
    } else {
        vmc_msr_reset(c);
    }
    g_clear_error(&c->fatal);
    vmc_soft_set_state(c, &s, NULL);
    if (init)
        vmc_fx_enter(c);
}

void vmc_soft_start_sipi(VmcCpu *c, uint8_t vector)
{
    c->seg[VMC_CS].selector = (uint16_t)(vector << 8);
    c->seg[VMC_CS].base = (uint32_t)vector << 12;
    c->rip = 0;
    c->wait_sipi = c->halted = false;
    vmc_mode_changed(c);
}
