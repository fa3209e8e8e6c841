/*
 * The local APIC's registers and what a CPU asks of them.
 *
 * `pending` is what a CPU calls again and again, so it takes no lock: it reads the eight words of IRR and the
 * processor priority, which is kept up to date by whoever changes TPR or ISR (always the CPU's own thread,
 * but for INIT). Everything that makes an interrupt deliverable ends in a notify, from outside (accept,
 * LINT0) or by the guest itself (EOI, a lower TPR).
 */
#include "pc/lapic_internal.h"

#include "pc/ioapic.h"

/* Version 14h, six LVT entries, EOI broadcast suppression. */
#define VERSION 0x01050014u

/* Bits of each LVT entry that can be written. */
const uint32_t vmc_lapic_lvt_writable[LVT_COUNT] = {
    [LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PERF] = 0x107ff,
    [LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff,   [LVT_ERROR] = 0x100ff,
};

static int highest(const _Atomic uint32_t *words)
{
    for (int i = 7; i >= 0; i--) {
        uint32_t word = atomic_load_explicit(&words[i], memory_order_acquire);
        if (word)
            return i * 32 + 31 - __builtin_clz(word);
    }
    return -1;
}

static void set_bit(_Atomic uint32_t *words, unsigned vector)
{
    atomic_fetch_or(&words[vector >> 5], 1u << (vector & 31));
}

static bool clear_bit(_Atomic uint32_t *words, unsigned vector)
{
    uint32_t bit = 1u << (vector & 31);
    return atomic_fetch_and(&words[vector >> 5], ~bit) & bit;
}

/* s11.8.3.1: the class of the task priority or of what is in service, whichever is higher. */
void vmc_lapic_update_ppr(VmcLapic *apic)
{
    int in_service = highest(apic->isr);
    unsigned tpr = atomic_load(&apic->tpr);
    unsigned isrv = in_service < 0 ? 0 : in_service & 0xf0;
    atomic_store(&apic->ppr, (tpr & 0xf0) >= isrv ? tpr : isrv);
}

/* The vector in IRR that may interrupt now, or -1. */
static int deliverable(const VmcLapic *apic)
{
    if (!vmc_lapic_enabled(apic))
        return -1;
    int vector = highest(apic->irr);
    unsigned ppr = atomic_load_explicit(&apic->ppr, memory_order_relaxed);
    return vector >= 0 && (vector & 0xf0) > (int)(ppr & 0xf0) ? vector : -1;
}

/* Whether the 8259 speaks to this CPU: its INTR through LINT0 (straight to the CPU with the APIC off,
 * s11.4.3), or a message of delivery mode ExtINT. */
static bool extint_wanted(const VmcLapic *apic)
{
    if (atomic_load_explicit(&apic->extint_message, memory_order_relaxed))
        return true;
    if (!atomic_load_explicit(&apic->lint0, memory_order_acquire))
        return false;
    if (!vmc_lapic_enabled(apic))
        return true;
    uint32_t lvt = atomic_load_explicit(&apic->lvt[LVT_LINT0], memory_order_relaxed);
    return !(lvt & LVT_MASKED) && LVT_MODE(lvt) == VMC_APIC_EXTINT;
}

static int lapic_pending(void *opaque)
{
    VmcLapic *apic = opaque;
    if (extint_wanted(apic) && apic->all->pic) {
        int vector = vmc_pic_peek(apic->all->pic);
        if (vector >= 0)
            return vector;
    }
    return deliverable(apic);
}

static int lapic_acknowledge(void *opaque)
{
    VmcLapic *apic = opaque;
    if (extint_wanted(apic) && apic->all->pic && vmc_pic_peek(apic->all->pic) >= 0) {
        /* INTR may stay high for a further request, for which no new message comes. */
        int vector = vmc_pic_acknowledge(apic->all->pic);
        if (vmc_pic_peek(apic->all->pic) < 0)
            atomic_store(&apic->extint_message, false);
        return vector;
    }
    g_mutex_lock(&apic->lock);
    int vector = deliverable(apic);
    if (vector >= 0) {
        clear_bit(apic->irr, vector);
        set_bit(apic->isr, vector);
        vmc_lapic_update_ppr(apic);
    }
    g_mutex_unlock(&apic->lock);
    return vector;
}

bool vmc_lapic_accept(VmcLapic *apic, uint8_t vector, bool level)
{
    if (!vmc_lapic_enabled(apic) || !vmc_lapic_software_enabled(apic))
        return false;
    if (vector < 16) {
        vmc_lapic_error(apic, ESR_RECEIVE_ILLEGAL);
        return false;
    }
    if (level)
        set_bit(apic->tmr, vector);
    else
        clear_bit(apic->tmr, vector);
    set_bit(apic->irr, vector);
    vmc_lapic_notify(apic);
    return true;
}

void vmc_lapic_error(VmcLapic *apic, uint32_t bit)
{
    uint32_t old = atomic_fetch_or(&apic->esr_collected, bit);
    uint32_t lvt = atomic_load(&apic->lvt[LVT_ERROR]);
    /* An illegal vector in the error entry itself would otherwise go round for ever. */
    if (!(old & bit) && !(lvt & LVT_MASKED) && LVT_VECTOR(lvt) >= 16)
        vmc_lapic_accept(apic, LVT_VECTOR(lvt), false);
}

static uint32_t x2_logical_id(const VmcLapic *apic)
{
    return (apic->id >> 4) << 16 | 1u << (apic->id & 15);
}

static void reset_locked(VmcLapic *apic)
{
    for (unsigned i = 0; i < 8; i++) {
        atomic_store(&apic->irr[i], 0);
        atomic_store(&apic->isr[i], 0);
        atomic_store(&apic->tmr[i], 0);
    }
    for (unsigned i = 0; i < LVT_COUNT; i++)
        atomic_store(&apic->lvt[i], LVT_MASKED);
    atomic_store(&apic->tpr, 0);
    atomic_store(&apic->svr, 0xff);
    atomic_store(&apic->ldr, vmc_lapic_is_x2(apic) ? x2_logical_id(apic) : 0);
    atomic_store(&apic->dfr, 0xffffffff);
    atomic_store(&apic->esr_collected, 0);
    atomic_store(&apic->extint_message, false);
    apic->esr = 0;
    apic->icr = apic->icr2 = 0;
    vmc_lapic_timer_reset(apic);
    vmc_lapic_update_ppr(apic);
}

void vmc_lapic_init_reset(VmcLapic *apic)
{
    g_mutex_lock(&apic->lock);
    reset_locked(apic);
    g_mutex_unlock(&apic->lock);
}

/* The end of the interrupt of highest priority; a level-triggered one is told to the IOAPIC. */
static void end_of_interrupt(VmcLapic *apic)
{
    g_mutex_lock(&apic->lock);
    int vector = highest(apic->isr);
    bool broadcast = false;
    if (vector >= 0) {
        clear_bit(apic->isr, vector);
        broadcast = (atomic_load(&apic->tmr[vector >> 5]) & 1u << (vector & 31)) &&
                    !(atomic_load(&apic->svr) & SVR_NO_BROADCAST);
        vmc_lapic_update_ppr(apic);
    }
    g_mutex_unlock(&apic->lock);
    if (broadcast && apic->all->ioapic)
        vmc_ioapic_eoi(apic->all->ioapic, vector);
    if (deliverable(apic) >= 0)
        vmc_lapic_notify(apic);
}

static void set_tpr(VmcLapic *apic, uint32_t value)
{
    g_mutex_lock(&apic->lock);
    atomic_store(&apic->tpr, value & 0xff);
    vmc_lapic_update_ppr(apic);
    g_mutex_unlock(&apic->lock);
    if (deliverable(apic) >= 0)
        vmc_lapic_notify(apic);
}

/* Disabling by software masks all LVT entries for good (s11.4.7.2). */
static void set_svr(VmcLapic *apic, uint32_t value)
{
    g_mutex_lock(&apic->lock);
    atomic_store(&apic->svr, value & 0x11ff);
    if (!(value & SVR_ENABLE))
        for (unsigned i = 0; i < LVT_COUNT; i++)
            atomic_fetch_or(&apic->lvt[i], LVT_MASKED);
    g_mutex_unlock(&apic->lock);
}

static void set_lvt(VmcLapic *apic, unsigned n, uint32_t value)
{
    value &= vmc_lapic_lvt_writable[n];
    if (!vmc_lapic_software_enabled(apic))
        value |= LVT_MASKED;
    g_mutex_lock(&apic->lock);
    if (n == LVT_TIMER)
        vmc_lapic_timer_set_lvt(apic, value);
    else
        atomic_store(&apic->lvt[n], value);
    g_mutex_unlock(&apic->lock);
    if (n == LVT_LINT0 && extint_wanted(apic))
        vmc_lapic_notify(apic);
}

/* A write to the low half of ICR sends (s11.6.1). `dest` is 8 or, in x2APIC mode, 32 bits. */
static void send_ipi(VmcLapic *apic, uint32_t icr, uint32_t dest)
{
    VmcApicMessage m = {
        .dest = dest,
        .wide = vmc_lapic_is_x2(apic),
        .logical = icr >> 11 & 1,
        .delivery = icr >> 8 & 7,
        .vector = icr & 0xff,
    };
    bool assert_level = icr >> 14 & 1, level_trigger = icr >> 15 & 1;
    bool fixed = m.delivery == VMC_APIC_FIXED || m.delivery == VMC_APIC_LOWEST;
    if (fixed && m.vector < 16) {
        vmc_lapic_error(apic, ESR_SEND_ILLEGAL);
        return;
    }
    /* INIT level de-assert only synchronised arbitration IDs; ExtINT is reserved here. */
    if ((m.delivery == VMC_APIC_INIT && level_trigger && !assert_level) || m.delivery == VMC_APIC_EXTINT)
        return;
    vmc_apic_bus_ipi(apic, &m, icr >> 18 & 3);
}

static uint32_t read_words(const _Atomic uint32_t *words, unsigned offset, unsigned base)
{
    return atomic_load(&words[(offset - base) >> 4]);
}

/* Registers that read the same in both modes. `offset` is that in the page; an x2APIC MSR is 0x800 + offset
 * / 16. */
static bool read_register(VmcLapic *apic, unsigned offset, uint32_t *value)
{
    switch (offset) {
    case LAPIC_VERSION:
        *value = VERSION;
        return true;
    case LAPIC_TPR:
        *value = atomic_load(&apic->tpr);
        return true;
    case LAPIC_PPR:
        *value = atomic_load(&apic->ppr);
        return true;
    case LAPIC_LDR:
        *value = atomic_load(&apic->ldr);
        return true;
    case LAPIC_SVR:
        *value = atomic_load(&apic->svr);
        return true;
    case LAPIC_ISR ... LAPIC_ISR + 0x70:
        *value = read_words(apic->isr, offset, LAPIC_ISR);
        return true;
    case LAPIC_TMR ... LAPIC_TMR + 0x70:
        *value = read_words(apic->tmr, offset, LAPIC_TMR);
        return true;
    case LAPIC_IRR ... LAPIC_IRR + 0x70:
        *value = read_words(apic->irr, offset, LAPIC_IRR);
        return true;
    case LAPIC_ESR:
        *value = apic->esr;
        return true;
    case LAPIC_ICR:
        *value = apic->icr;
        return true;
    case LAPIC_LVT ... LAPIC_LVT + 0x50:
        *value = atomic_load(&apic->lvt[(offset - LAPIC_LVT) >> 4]);
        return true;
    case LAPIC_TIMER_INITIAL:
        *value = apic->initial;
        return true;
    case LAPIC_TIMER_CURRENT:
        g_mutex_lock(&apic->lock);
        *value = vmc_lapic_timer_current(apic);
        g_mutex_unlock(&apic->lock);
        return true;
    case LAPIC_TIMER_DIVIDE:
        *value = apic->divide;
        return true;
    default:
        return false;
    }
}

/* Registers that are written the same in both modes. */
static bool write_register(VmcLapic *apic, unsigned offset, uint32_t value)
{
    switch (offset) {
    case LAPIC_TPR:
        set_tpr(apic, value);
        return true;
    case LAPIC_EOI:
        end_of_interrupt(apic);
        return true;
    case LAPIC_SVR:
        set_svr(apic, value);
        return true;
    case LAPIC_ESR:
        apic->esr = atomic_exchange(&apic->esr_collected, 0);
        return true;
    case LAPIC_LVT ... LAPIC_LVT + 0x50:
        set_lvt(apic, (offset - LAPIC_LVT) >> 4, value);
        return true;
    case LAPIC_TIMER_INITIAL:
        g_mutex_lock(&apic->lock);
        vmc_lapic_timer_set_initial(apic, value);
        g_mutex_unlock(&apic->lock);
        return true;
    case LAPIC_TIMER_DIVIDE:
        g_mutex_lock(&apic->lock);
        vmc_lapic_timer_set_divide(apic, value);
        g_mutex_unlock(&apic->lock);
        return true;
    default:
        return false;
    }
}

static bool mmio_usable(const VmcLapic *apic)
{
    return vmc_lapic_enabled(apic) && !vmc_lapic_is_x2(apic);
}

static uint32_t lapic_mmio_read(void *opaque, uint32_t offset)
{
    VmcLapic *apic = opaque;
    uint32_t value = 0;
    if (!mmio_usable(apic))
        return 0xffffffff;
    if (offset & 15 || offset > 0xfff)
        return 0;
    switch (offset) {
    case LAPIC_ID:
        return apic->id << 24;
    case LAPIC_APR:
        return atomic_load(&apic->ppr);
    case LAPIC_RRD:
        return 0;
    case LAPIC_DFR:
        return atomic_load(&apic->dfr);
    case LAPIC_ICR2:
        return apic->icr2;
    }
    if (!read_register(apic, offset, &value))
        vmc_lapic_error(apic, ESR_ILLEGAL_REGISTER);
    return value;
}

static void lapic_mmio_write(void *opaque, uint32_t offset, uint32_t value)
{
    VmcLapic *apic = opaque;
    if (!mmio_usable(apic) || offset & 15 || offset > 0xfff)
        return;
    switch (offset) {
    case LAPIC_ID: /* read-only, as on every processor since the Pentium 4 */
    case LAPIC_RRD:
        return;
    case LAPIC_LDR:
        atomic_store(&apic->ldr, value & 0xff000000);
        return;
    case LAPIC_DFR:
        atomic_store(&apic->dfr, value | 0x0fffffff);
        return;
    case LAPIC_ICR:
        apic->icr = value & 0xccfff; /* delivery status (bit 12) always reads as idle */
        send_ipi(apic, value, apic->icr2 >> 24);
        return;
    case LAPIC_ICR2:
        apic->icr2 = value & 0xff000000;
        return;
    }
    if (!write_register(apic, offset, value))
        vmc_lapic_error(apic, ESR_ILLEGAL_REGISTER);
}

static bool x2_read(VmcLapic *apic, unsigned offset, uint64_t *value)
{
    uint32_t low = 0;
    switch (offset) {
    case LAPIC_ID:
        *value = apic->id;
        return true;
    case LAPIC_ICR:
        *value = (uint64_t)apic->icr2 << 32 | apic->icr;
        return true;
    }
    if (!read_register(apic, offset, &low))
        return false;
    *value = low;
    return true;
}

/* In x2APIC mode setting a reserved bit is a fault (s11.12.1.2). */
static bool x2_reserved(unsigned offset, uint64_t value)
{
    switch (offset) {
    case LAPIC_TPR:
        return value & ~0xffull;
    case LAPIC_SVR:
        return value & ~0x11ffull;
    case LAPIC_EOI:
    case LAPIC_ESR:
        return value != 0;
    case LAPIC_LVT ... LAPIC_LVT + 0x50: /* bits 12 and 14 are read-only, not reserved */
        return value & ~(uint64_t)(vmc_lapic_lvt_writable[(offset - LAPIC_LVT) >> 4] | 0x5000);
    case LAPIC_TIMER_INITIAL:
        return value >> 32;
    case LAPIC_TIMER_DIVIDE:
        return value & ~0xbull;
    case LAPIC_SELF_IPI:
        return value & ~0xffull;
    case LAPIC_ICR:
        return (uint32_t)value & ~0xcdfffu;
    default:
        return false;
    }
}

static bool x2_write(VmcLapic *apic, unsigned offset, uint64_t value)
{
    if (x2_reserved(offset, value))
        return false;
    if (offset == LAPIC_ICR) {
        apic->icr = (uint32_t)value & ~(1u << 12);
        apic->icr2 = value >> 32;
        send_ipi(apic, (uint32_t)value, apic->icr2);
        return true;
    }
    if (offset == LAPIC_SELF_IPI) {
        send_ipi(apic, (uint32_t)value | 1u << 18, 0);
        return true;
    }
    return write_register(apic, offset, (uint32_t)value);
}

#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC       0x800u
#define MSR_X2APIC_LAST  0x8ffu

static bool lapic_read_msr(void *opaque, uint32_t msr, uint64_t *value)
{
    VmcLapic *apic = opaque;
    if (msr == MSR_TSC_DEADLINE) {
        g_mutex_lock(&apic->lock);
        *value = apic->tsc_deadline;
        g_mutex_unlock(&apic->lock);
        return true;
    }
    if (msr < MSR_X2APIC || msr > MSR_X2APIC_LAST || !vmc_lapic_is_x2(apic))
        return false;
    return x2_read(apic, (msr - MSR_X2APIC) << 4, value);
}

static bool lapic_write_msr(void *opaque, uint32_t msr, uint64_t value)
{
    VmcLapic *apic = opaque;
    if (msr == MSR_TSC_DEADLINE) {
        g_mutex_lock(&apic->lock);
        vmc_lapic_timer_set_deadline(apic, value);
        g_mutex_unlock(&apic->lock);
        return true;
    }
    if (msr < MSR_X2APIC || msr > MSR_X2APIC_LAST || !vmc_lapic_is_x2(apic))
        return false;
    return x2_write(apic, (msr - MSR_X2APIC) << 4, value);
}

static uint64_t lapic_get_base(void *opaque)
{
    VmcLapic *apic = opaque;
    return atomic_load(&apic->base);
}

/* Reserved: 7:0, 9 and above 52 bits of address; x2APIC mode without the APIC is none. */
bool vmc_lapic_base_valid(uint64_t base)
{
    return !(base & 0xfff00000000002ffull) &&
           (base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) != APIC_BASE_X2APIC;
}

/* The transitions of figure 11-27: x2APIC is entered from xAPIC and left through "disabled" only. */
static bool lapic_set_base(void *opaque, uint64_t value)
{
    VmcLapic *apic = opaque;
    const uint64_t mode_bits = APIC_BASE_ENABLE | APIC_BASE_X2APIC;
    uint64_t old = atomic_load(&apic->base);
    uint64_t from = old & mode_bits, to = value & mode_bits;

    if (!vmc_lapic_base_valid(value))
        return false;
    if ((from == 0 && to == mode_bits) || (from == mode_bits && to == APIC_BASE_ENABLE))
        return false;
    g_mutex_lock(&apic->lock);
    atomic_store(&apic->base, value);
    if (!to && from)
        reset_locked(apic);
    else if (to == mode_bits && from != mode_bits)
        atomic_store(&apic->ldr, x2_logical_id(apic));
    g_mutex_unlock(&apic->lock);
    vmc_lapic_notify(apic);
    return true;
}

static uint64_t lapic_get_cr8(void *opaque)
{
    VmcLapic *apic = opaque;
    return atomic_load_explicit(&apic->tpr, memory_order_relaxed) >> 4;
}

static void lapic_set_cr8(void *opaque, uint64_t value)
{
    set_tpr(opaque, (uint32_t)value << 4);
}

static const VmcLocalApicOps lapic_ops = {
    .pending = lapic_pending,
    .acknowledge = lapic_acknowledge,
    .get_base = lapic_get_base,
    .set_base = lapic_set_base,
    .get_cr8 = lapic_get_cr8,
    .set_cr8 = lapic_set_cr8,
    .read_msr = lapic_read_msr,
    .write_msr = lapic_write_msr,
    .mmio_read = lapic_mmio_read,
    .mmio_write = lapic_mmio_write,
};

/* LINT0 as the 8259's INTR. Delivery mode ExtINT is asked for by the CPU; the others act on the rising edge.
 */
static void set_lint0(VmcLapic *apic, bool level)
{
    bool old = atomic_exchange(&apic->lint0, level);
    if (!level || old)
        return;
    uint32_t lvt = atomic_load(&apic->lvt[LVT_LINT0]);
    if (vmc_lapic_enabled(apic) && !(lvt & LVT_MASKED)) {
        if (LVT_MODE(lvt) == VMC_APIC_FIXED)
            vmc_lapic_accept(apic, LVT_VECTOR(lvt), lvt >> 15 & 1);
        else if (LVT_MODE(lvt) == VMC_APIC_NMI && apic->cpu)
            apic->all->backend->nmi(apic->cpu);
    }
    if (extint_wanted(apic))
        vmc_lapic_notify(apic);
}

void vmc_lapics_set_extint(VmcLapics *all, bool level)
{
    for (unsigned i = 0; i < all->n; i++)
        set_lint0(&all->apic[i], level);
}

void vmc_lapics_reset(VmcLapics *all, bool virtual_wire)
{
    for (unsigned i = 0; i < all->n; i++) {
        VmcLapic *apic = &all->apic[i];
        g_mutex_lock(&apic->lock);
        atomic_store(&apic->base, VMC_LAPIC_BASE | APIC_BASE_ENABLE | (i == 0 ? APIC_BASE_BSP : 0));
        reset_locked(apic);
        g_mutex_unlock(&apic->lock);
    }
    if (virtual_wire) {
        VmcLapic *bsp = &all->apic[0];
        atomic_store(&bsp->svr, 0x0f | SVR_ENABLE);
        atomic_store(&bsp->lvt[LVT_LINT0], VMC_APIC_EXTINT << 8);
        atomic_store(&bsp->lvt[LVT_LINT1], VMC_APIC_NMI << 8);
    }
}

VmcLapics *vmc_lapics_new(const VmcLapicsParams *params)
{
    VmcLapics *all = g_new0(VmcLapics, 1);
    all->n = params->n_cpus;
    all->apic = g_new0(VmcLapic, params->n_cpus);
    all->backend = params->backend;
    all->vm = params->vm;
    all->clock = params->clock;
    for (unsigned i = 0; i < all->n; i++) {
        VmcLapic *apic = &all->apic[i];
        apic->all = all;
        apic->id = i;
        apic->face = (VmcLocalApic){&lapic_ops, apic};
        g_mutex_init(&apic->lock);
        vmc_lapic_timer_new(apic);
    }
    vmc_lapics_reset(all, false);
    return all;
}

void vmc_lapics_free(VmcLapics *all)
{
    if (!all)
        return;
    for (unsigned i = 0; i < all->n; i++) {
        vmc_lapic_timer_free(&all->apic[i]);
        g_mutex_clear(&all->apic[i].lock);
    }
    g_free(all->apic);
    g_free(all);
}

void vmc_lapics_connect(VmcLapics *all, VmcPic *pic, struct VmcIoapic *ioapic)
{
    all->pic = pic;
    all->ioapic = ioapic;
}

void vmc_lapics_attach_cpu(VmcLapics *all, unsigned index, VmcCpu *cpu)
{
    if (index < all->n)
        all->apic[index].cpu = cpu;
}

const VmcLocalApic *vmc_lapics_get(VmcLapics *all, unsigned index)
{
    return index < all->n ? &all->apic[index].face : NULL;
}
