/*
 * The bus between local APICs: who a message is for, and what it does there (Intel SDM vol. 3 s11.6).
 *
 * Destinations are matched against each APIC in turn, by that APIC's own mode. With at most 64 CPUs this is
 * cheaper than keeping tables right while guests reprogram LDR and DFR.
 */
#include "pc/lapic_internal.h"

#define BROADCAST_8  0xffu
#define BROADCAST_32 0xffffffffu

static bool matches_logical_8(const VmcLapic *apic, uint32_t dest)
{
    uint32_t ldr = atomic_load(&apic->ldr) >> 24;
    if (atomic_load(&apic->dfr) >> 28 == 0xf) /* flat */
        return ldr & dest & 0xff;
    unsigned cluster = dest >> 4 & 15; /* 15: all clusters */
    return (cluster == 15 || cluster == ldr >> 4) && (ldr & dest & 15);
}

static bool matches_logical_32(const VmcLapic *apic, uint32_t dest)
{
    uint32_t ldr = atomic_load(&apic->ldr);
    return ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff);
}

static bool matches(const VmcLapic *apic, const VmcApicMessage *m)
{
    if (!vmc_lapic_enabled(apic))
        return false;
    if (m->dest == (m->wide ? BROADCAST_32 : BROADCAST_8))
        return true;
    if (!m->logical)
        return m->dest == apic->id;
    return vmc_lapic_is_x2(apic) ? matches_logical_32(apic, m->dest) : matches_logical_8(apic, m->dest);
}

static bool bring(VmcLapic *apic, const VmcApicMessage *m)
{
    const VmcCpuBackend *backend = apic->all->backend;
    switch (m->delivery) {
    case VMC_APIC_FIXED:
    case VMC_APIC_LOWEST:
        return vmc_lapic_accept(apic, m->vector, m->level);
    case VMC_APIC_NMI:
        if (apic->cpu)
            backend->nmi(apic->cpu);
        return true;
    case VMC_APIC_INIT:
        vmc_lapic_init_reset(apic);
        if (apic->cpu)
            backend->init(apic->cpu);
        return true;
    case VMC_APIC_SIPI:
        if (apic->cpu)
            backend->sipi(apic->cpu, m->vector);
        return true;
    case VMC_APIC_EXTINT:
        atomic_store(&apic->extint_message, true);
        vmc_lapic_notify(apic);
        return true;
    default: /* SMI: there is no system management mode to enter; the rest is reserved */
        return false;
    }
}

/* The one of those meant that works on the least important thing. Equals take turns. */
static VmcLapic *find_lowest(VmcLapics *all, const VmcApicMessage *m)
{
    VmcLapic *best = NULL;
    unsigned first = atomic_fetch_add(&all->next_lowest, 1) % all->n;
    for (unsigned i = 0; i < all->n; i++) {
        VmcLapic *apic = &all->apic[(first + i) % all->n];
        if (!matches(apic, m) || !vmc_lapic_software_enabled(apic))
            continue;
        if (!best || atomic_load(&apic->ppr) < atomic_load(&best->ppr))
            best = apic;
    }
    return best;
}

bool vmc_lapics_deliver(VmcLapics *all, const VmcApicMessage *m)
{
    if (m->delivery == VMC_APIC_LOWEST) {
        VmcLapic *apic = find_lowest(all, m);
        return apic && bring(apic, m);
    }
    bool taken = false;
    for (unsigned i = 0; i < all->n; i++)
        if (matches(&all->apic[i], m))
            taken |= bring(&all->apic[i], m);
    return taken;
}

void vmc_apic_bus_ipi(VmcLapic *from, const VmcApicMessage *m, unsigned shorthand)
{
    VmcLapics *all = from->all;
    switch (shorthand) {
    case 0:
        vmc_lapics_deliver(all, m);
        break;
    case 1: /* self */
        bring(from, m);
        break;
    default: /* all including self, all excluding self */
        for (unsigned i = 0; i < all->n; i++)
            if (vmc_lapic_enabled(&all->apic[i]) && (shorthand == 2 || &all->apic[i] != from))
                bring(&all->apic[i], m);
    }
}

void vmc_lapics_msi(VmcLapics *all, uint64_t address, uint32_t data)
{
    if ((address & ~0xfffffull) != VMC_LAPIC_BASE)
        return;
    /* The redirection hint (bit 3) asks for lowest priority among a logical destination, which the delivery
     * mode says too; the chip sets Linux was written on go by the delivery mode. */
    VmcApicMessage m = {
        .dest = address >> 12 & 0xff,
        .logical = address & 4,
        .level = data >> 15 & 1,
        .delivery = data >> 8 & 7,
        .vector = data & 0xff,
    };
    if (m.delivery == VMC_APIC_SIPI) /* reserved in a message */
        return;
    vmc_lapics_deliver(all, &m);
}
