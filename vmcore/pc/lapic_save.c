/*
 * The local APICs as bytes (base/state.h). What follows from the rest is left out: the processor priority,
 * and the ID, which is the CPU's number.
 */
#include <stdio.h>

#include "pc/lapic_internal.h"

/* "lapic 3" */
static void section_name(const VmcLapic *apic, char name[16])
{
    snprintf(name, 16, "lapic %u", apic->id & 0xffff);
}

static void save_words(const _Atomic uint32_t *words, VmcStateWriter *w)
{
    for (unsigned i = 0; i < 8; i++)
        vmc_state_put_u32(w, atomic_load(&words[i]));
}

static void load_words(_Atomic uint32_t *words, VmcStateReader *r)
{
    for (unsigned i = 0; i < 8; i++)
        atomic_store(&words[i], vmc_state_get_u32(r));
}

static void save_one(VmcLapic *apic, VmcStateWriter *w)
{
    char name[16];

    section_name(apic, name);
    vmc_state_begin(w, name, 1);
    save_words(apic->irr, w);
    save_words(apic->isr, w);
    save_words(apic->tmr, w);
    vmc_state_put_u64(w, atomic_load(&apic->base));
    vmc_state_put_u8(w, (uint8_t)atomic_load(&apic->tpr));
    vmc_state_put_u32(w, atomic_load(&apic->svr));
    vmc_state_put_u32(w, atomic_load(&apic->ldr));
    vmc_state_put_u32(w, atomic_load(&apic->dfr));
    for (unsigned i = 0; i < LVT_COUNT; i++)
        vmc_state_put_u32(w, atomic_load(&apic->lvt[i]));
    vmc_state_put_u32(w, atomic_load(&apic->esr_collected));
    vmc_state_put_bool(w, atomic_load(&apic->lint0));
    vmc_state_put_bool(w, atomic_load(&apic->extint_message));
    vmc_state_put_u32(w, apic->esr);
    vmc_state_put_u32(w, apic->icr);
    vmc_state_put_u32(w, apic->icr2);
    vmc_state_put_u32(w, apic->initial);
    vmc_state_put_u32(w, apic->divide);
    vmc_state_put_u64(w, apic->started);
    vmc_state_put_u64(w, apic->tsc_deadline);
    vmc_clock_timer_save(apic->timer, w);
    vmc_state_end(w);
}

static void load_lvt(VmcLapic *apic, VmcStateReader *r)
{
    for (unsigned i = 0; i < LVT_COUNT; i++) {
        uint32_t lvt = vmc_state_get_u32(r);
        vmc_state_check(r, !(lvt & ~(vmc_lapic_lvt_writable[i] | LVT_MASKED)),
                        "an entry of the local vector table");
        atomic_store(&apic->lvt[i], lvt);
    }
}

static void load_timer(VmcLapic *apic, VmcStateReader *r)
{
    apic->initial = vmc_state_get_u32(r);
    apic->divide = vmc_state_get_u32(r);
    apic->started = vmc_state_get_u64_max(r, vmc_clock_now(apic->all->clock));
    apic->tsc_deadline = vmc_state_get_u64(r);
    vmc_clock_timer_load(apic->timer, r);
    vmc_state_check(r, !(apic->divide & ~0xbu), "the timer's divider");
}

static bool load_one(VmcLapic *apic, VmcStateReader *r)
{
    char name[16];

    section_name(apic, name);
    if (!vmc_state_enter(r, name, 1))
        return false;
    g_mutex_lock(&apic->lock);
    load_words(apic->irr, r);
    load_words(apic->isr, r);
    load_words(apic->tmr, r);
    atomic_store(&apic->base, vmc_state_get_u64(r));
    vmc_state_check(r, vmc_lapic_base_valid(atomic_load(&apic->base)), "the base address");
    atomic_store(&apic->tpr, vmc_state_get_u8(r));
    atomic_store(&apic->svr, vmc_state_get_u32(r) & 0x11ff);
    atomic_store(&apic->ldr, vmc_state_get_u32(r));
    atomic_store(&apic->dfr, vmc_state_get_u32(r) | 0x0fffffff);
    load_lvt(apic, r);
    atomic_store(&apic->esr_collected, vmc_state_get_u32(r));
    atomic_store(&apic->lint0, vmc_state_get_bool(r));
    atomic_store(&apic->extint_message, vmc_state_get_bool(r));
    apic->esr = vmc_state_get_u32(r);
    apic->icr = vmc_state_get_u32(r);
    apic->icr2 = vmc_state_get_u32(r);
    load_timer(apic, r);
    vmc_lapic_update_ppr(apic);
    g_mutex_unlock(&apic->lock);
    vmc_lapic_notify(apic);
    return vmc_state_leave(r);
}

void vmc_lapics_save(VmcLapics *all, VmcStateWriter *w)
{
    for (unsigned i = 0; i < all->n; i++)
        save_one(&all->apic[i], w);
}

bool vmc_lapics_load(VmcLapics *all, VmcStateReader *r)
{
    for (unsigned i = 0; i < all->n; i++)
        if (!load_one(&all->apic[i], r))
            return false;
    return true;
}
