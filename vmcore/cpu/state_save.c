/* VmcCpuState as bytes (base/state.h); what may be in it a backend's set_state says. */
#include "cpu/cpu.h"

static void save_segment(const VmcSegment *s, VmcStateWriter *w)
{
    vmc_state_put_u64(w, s->base);
    vmc_state_put_u32(w, s->limit);
    vmc_state_put_u16(w, s->selector);
    vmc_state_put_u16(w, s->attr);
}

static void load_segment(VmcSegment *s, VmcStateReader *r)
{
    s->base = vmc_state_get_u64(r);
    s->limit = vmc_state_get_u32(r);
    s->selector = vmc_state_get_u16(r);
    s->attr = vmc_state_get_u16(r);
}

void vmc_cpu_state_save(const VmcCpuState *s, VmcStateWriter *w)
{
    const uint64_t control[] = {s->rip, s->rflags, s->gdt.base, s->idt.base, s->cr0,       s->cr2,
                                s->cr3, s->cr4,    s->cr8,      s->efer,     s->apic_base, s->xcr0};
    const bool flags[] = {s->halted,       s->wait_for_sipi, s->interrupt_shadow,
                          s->debug_shadow, s->nmi_blocked,   s->nmi_pending};

    vmc_state_begin(w, "registers", 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(s->gpr); i++)
        vmc_state_put_u64(w, s->gpr[i]);
    for (unsigned i = 0; i < G_N_ELEMENTS(control); i++)
        vmc_state_put_u64(w, control[i]);
    vmc_state_put_u16(w, s->gdt.limit);
    vmc_state_put_u16(w, s->idt.limit);
    for (unsigned i = 0; i < VMC_SEG_COUNT; i++)
        save_segment(&s->seg[i], w);
    save_segment(&s->ldt, w);
    save_segment(&s->tr, w);
    for (unsigned i = 0; i < G_N_ELEMENTS(s->dr); i++)
        vmc_state_put_u64(w, s->dr[i]);
    vmc_state_put_bytes(w, s->fxsave, sizeof s->fxsave);
    vmc_state_put_bytes(w, s->ymm_high, sizeof s->ymm_high);
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
        vmc_state_put_bool(w, flags[i]);
    vmc_state_put_u64(w, s->debug_pending);
    vmc_state_end(w);
}

bool vmc_cpu_state_load(VmcCpuState *s, VmcStateReader *r)
{
    uint64_t *control[] = {&s->rip, &s->rflags, &s->gdt.base, &s->idt.base, &s->cr0,       &s->cr2,
                           &s->cr3, &s->cr4,    &s->cr8,      &s->efer,     &s->apic_base, &s->xcr0};
    bool *flags[] = {&s->halted,       &s->wait_for_sipi, &s->interrupt_shadow,
                     &s->debug_shadow, &s->nmi_blocked,   &s->nmi_pending};

    *s = (VmcCpuState){0};
    if (!vmc_state_enter(r, "registers", 1))
        return false;
    for (unsigned i = 0; i < G_N_ELEMENTS(s->gpr); i++)
        s->gpr[i] = vmc_state_get_u64(r);
    for (unsigned i = 0; i < G_N_ELEMENTS(control); i++)
        *control[i] = vmc_state_get_u64(r);
    s->gdt.limit = vmc_state_get_u16(r);
    s->idt.limit = vmc_state_get_u16(r);
    for (unsigned i = 0; i < VMC_SEG_COUNT; i++)
        load_segment(&s->seg[i], r);
    load_segment(&s->ldt, r);
    load_segment(&s->tr, r);
    for (unsigned i = 0; i < G_N_ELEMENTS(s->dr); i++)
        s->dr[i] = vmc_state_get_u64(r);
    vmc_state_get_bytes(r, s->fxsave, sizeof s->fxsave);
    vmc_state_get_bytes(r, s->ymm_high, sizeof s->ymm_high);
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++)
        *flags[i] = vmc_state_get_bool(r);
    s->debug_pending = vmc_state_get_u64(r);
    return vmc_state_leave(r);
}
