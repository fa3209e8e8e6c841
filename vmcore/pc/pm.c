/*
 * Registers are kept and accessed as aligned 32-bit words, so that an access of any width and the
 * write-one-to-clear bits need one path only.
 */
#include "pc/pm.h"

#define EVENT_TIMER        (1u << 0)
#define EVENT_POWER_BUTTON (1u << 8)
#define EVENT_WAKE         (1u << 15)
#define EVENT_STATUS       0xcf31u /* bits that are there and cleared by writing one */
#define EVENT_ENABLE       0x4521u

#define CONTROL_SCI_EN   (1u << 0)
#define CONTROL_SLP_TYP  10 /* shift */
#define CONTROL_SLP_EN   (1u << 13)
#define CONTROL_WRITABLE 0x1c03u /* SLP_TYP, BM_RLD, SCI_EN; the others trigger only */

/* SLP_TYP values of the ICH9. Its 0 is S0, which nobody enters; OVMF, made for QEMU's chip, switches off with
 * it. */
#define SLEEP_S0 0
#define SLEEP_S1 1
#define SLEEP_S4 6

#define OFFSET_SMI_EN 0x30u

/* TMR_STS is set when bit 23 of the timer changes (ACPI s4.8.2.1). */
#define TIMER_MASK     0xffffffu
#define TIMER_OVERFLOW 23

struct VmcPm {
    GMutex lock;
    VmcBus *pio;
    VmcClock *clock;
    VmcIrq sci;
    VmcClockTimer *timer;
    void (*power_off)(void *opaque);
    void *opaque;
    uint16_t base;
    bool mapped;
    uint16_t status, enable;
    uint32_t control;
    uint32_t gpe_status[2], gpe_enable[2];
    uint32_t smi_enable;
    uint64_t overflows; /* changes of bit 23 accounted for */
};

static uint64_t timer_ticks(VmcPm *pm)
{
    return vmc_muldiv64(vmc_clock_now(pm->clock), VMC_PM_TIMER_HZ, VMC_NS_PER_S);
}

/* Lock held: TMR_STS, the SCI and the time of the next overflow if it is waited for. */
static void update(VmcPm *pm)
{
    uint64_t overflows = timer_ticks(pm) >> TIMER_OVERFLOW;
    if (overflows != pm->overflows) {
        pm->overflows = overflows;
        pm->status |= EVENT_TIMER;
    }
    bool event = pm->status & pm->enable & EVENT_ENABLE;
    bool gpe = (pm->gpe_status[0] & pm->gpe_enable[0]) | (pm->gpe_status[1] & pm->gpe_enable[1]);
    vmc_irq_set(&pm->sci, (pm->control & CONTROL_SCI_EN) && (event || gpe));

    if ((pm->enable & EVENT_TIMER) && !(pm->status & EVENT_TIMER))
        vmc_clock_timer_arm(
            pm->timer, vmc_muldiv64_up((overflows + 1) << TIMER_OVERFLOW, VMC_NS_PER_S, VMC_PM_TIMER_HZ));
    else
        vmc_clock_timer_disarm(pm->timer);
}

static void timer_expired(void *data)
{
    VmcPm *pm = data;
    g_mutex_lock(&pm->lock);
    update(pm);
    g_mutex_unlock(&pm->lock);
}

static uint32_t read_word(VmcPm *pm, unsigned offset)
{
    switch (offset) {
    case VMC_PM_EVENT:
        update(pm);
        return pm->status | (uint32_t)pm->enable << 16;
    case VMC_PM_CONTROL:
        return pm->control;
    case VMC_PM_TIMER:
        return timer_ticks(pm) & TIMER_MASK;
    case VMC_PM_GPE0:
    case VMC_PM_GPE0 + 4:
        return pm->gpe_status[(offset - VMC_PM_GPE0) / 4];
    case VMC_PM_GPE0 + 8:
    case VMC_PM_GPE0 + 12:
        return pm->gpe_enable[(offset - VMC_PM_GPE0 - 8) / 4];
    case OFFSET_SMI_EN:
        return pm->smi_enable;
    default:
        return 0;
    }
}

/* True if the machine shall be switched off. */
static bool write_control(VmcPm *pm, uint32_t value)
{
    pm->control = value & CONTROL_WRITABLE;
    if (!(value & CONTROL_SLP_EN))
        return false;
    unsigned type = value >> CONTROL_SLP_TYP & 7;
    if (type == VMC_PM_SLEEP_S5 || type == SLEEP_S4 || type == SLEEP_S0)
        return true;
    if (type == SLEEP_S1) /* not offered; who enters it all the same is woken at once */
        pm->status |= EVENT_WAKE;
    return false;
}

/* `mask` says which bits are written at all. */
static bool write_word(VmcPm *pm, unsigned offset, uint32_t value, uint32_t mask)
{
    bool off = false;
    unsigned n;
    switch (offset) {
    case VMC_PM_EVENT:
        update(pm); /* an overflow that has not been seen yet is not cleared by this write */
        pm->status &= ~(value & mask & EVENT_STATUS);
        if (mask >> 16)
            pm->enable = ((pm->enable & ~(mask >> 16)) | (value & mask) >> 16) & EVENT_ENABLE;
        break;
    case VMC_PM_CONTROL:
        off = write_control(pm, (pm->control & ~mask) | (value & mask));
        break;
    case VMC_PM_GPE0:
    case VMC_PM_GPE0 + 4:
        pm->gpe_status[(offset - VMC_PM_GPE0) / 4] &= ~(value & mask);
        break;
    case VMC_PM_GPE0 + 8:
    case VMC_PM_GPE0 + 12:
        n = (offset - VMC_PM_GPE0 - 8) / 4;
        pm->gpe_enable[n] = (pm->gpe_enable[n] & ~mask) | (value & mask);
        break;
    case OFFSET_SMI_EN:
        pm->smi_enable = (pm->smi_enable & ~mask) | (value & mask);
        break;
    }
    update(pm);
    return off;
}

static uint32_t byte_mask(unsigned shift, unsigned bytes)
{
    return (uint32_t)(((1ull << (8 * bytes)) - 1) << shift);
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcPm *pm = opaque;
    uint64_t value = 0;
    g_mutex_lock(&pm->lock);
    for (unsigned done = 0, n; done < size; done += n) {
        unsigned at = (unsigned)offset + done, shift = (at & 3) * 8;
        n = MIN(size - done, 4 - (at & 3));
        uint64_t part = (read_word(pm, at & ~3u) & byte_mask(shift, n)) >> shift;
        value |= part << (8 * done);
    }
    g_mutex_unlock(&pm->lock);
    return value;
}

static void pm_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcPm *pm = opaque;
    bool off = false;
    g_mutex_lock(&pm->lock);
    for (unsigned done = 0, n; done < size; done += n) {
        unsigned at = (unsigned)offset + done, shift = (at & 3) * 8;
        n = MIN(size - done, 4 - (at & 3));
        uint32_t part = (uint32_t)(value >> (8 * done)) << shift;
        off |= write_word(pm, at & ~3u, part, byte_mask(shift, n));
    }
    g_mutex_unlock(&pm->lock);
    if (off)
        pm->power_off(pm->opaque);
}

static const VmcRegionOps pm_ops = {pm_read, pm_write};

void vmc_pm_map(VmcPm *pm, uint16_t base, bool enabled)
{
    g_mutex_lock(&pm->lock);
    bool change = enabled != pm->mapped || (enabled && base != pm->base);
    uint16_t old = pm->base;
    bool was_mapped = pm->mapped;
    if (change) {
        pm->mapped = enabled;
        pm->base = base;
    }
    g_mutex_unlock(&pm->lock);
    if (change && was_mapped)
        vmc_bus_remove(pm->pio, old, &pm_ops, pm);
    if (change && enabled)
        vmc_bus_add(pm->pio, "acpi pm", base, VMC_PM_SIZE, &pm_ops, pm);
}

void vmc_pm_power_button(VmcPm *pm)
{
    g_mutex_lock(&pm->lock);
    pm->status |= EVENT_POWER_BUTTON;
    update(pm);
    g_mutex_unlock(&pm->lock);
}

void vmc_pm_reset(VmcPm *pm)
{
    vmc_pm_map(pm, 0, false);
    g_mutex_lock(&pm->lock);
    pm->status = pm->enable = 0;
    pm->control = CONTROL_SCI_EN;
    pm->gpe_status[0] = pm->gpe_status[1] = pm->gpe_enable[0] = pm->gpe_enable[1] = 0;
    pm->smi_enable = 0;
    pm->overflows = timer_ticks(pm) >> TIMER_OVERFLOW;
    update(pm);
    g_mutex_unlock(&pm->lock);
}

VmcPm *vmc_pm_new(const VmcPmParams *params)
{
    VmcPm *pm = g_new0(VmcPm, 1);
    g_mutex_init(&pm->lock);
    pm->pio = params->pio;
    pm->clock = params->clock;
    pm->sci = params->sci;
    pm->power_off = params->power_off;
    pm->opaque = params->opaque;
    pm->timer = vmc_clock_timer_new(params->clock, timer_expired, pm);
    vmc_pm_reset(pm);
    return pm;
}

void vmc_pm_free(VmcPm *pm)
{
    if (!pm)
        return;
    vmc_pm_map(pm, 0, false);
    vmc_clock_timer_free(pm->timer);
    g_mutex_clear(&pm->lock);
    g_free(pm);
}

/* Where the block is, the LPC bridge's registers say. */
void vmc_pm_save(VmcPm *pm, VmcStateWriter *w)
{
    vmc_state_begin(w, "pm", 1);
    vmc_state_put_u16(w, pm->status);
    vmc_state_put_u16(w, pm->enable);
    vmc_state_put_u32(w, pm->control);
    for (unsigned i = 0; i < 2; i++) {
        vmc_state_put_u32(w, pm->gpe_status[i]);
        vmc_state_put_u32(w, pm->gpe_enable[i]);
    }
    vmc_state_put_u32(w, pm->smi_enable);
    vmc_state_put_u64(w, pm->overflows);
    vmc_clock_timer_save(pm->timer, w);
    vmc_state_end(w);
}

bool vmc_pm_load(VmcPm *pm, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "pm", 1))
        return false;
    g_mutex_lock(&pm->lock);
    pm->status = vmc_state_get_u16(r) & EVENT_STATUS;
    pm->enable = vmc_state_get_u16(r) & EVENT_ENABLE;
    pm->control = vmc_state_get_u32(r) & CONTROL_WRITABLE;
    for (unsigned i = 0; i < 2; i++) {
        pm->gpe_status[i] = vmc_state_get_u32(r);
        pm->gpe_enable[i] = vmc_state_get_u32(r);
    }
    pm->smi_enable = vmc_state_get_u32(r);
    pm->overflows = vmc_state_get_u64(r);
    vmc_clock_timer_load(pm->timer, r);
    g_mutex_unlock(&pm->lock);
    return vmc_state_leave(r);
}
