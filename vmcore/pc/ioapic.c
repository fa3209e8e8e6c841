/*
 * Pins to messages. An edge pin sends when it rises unmasked; a level pin sends while it is high, unmasked
 * and its last message has been ended (remote IRR).
 */
#include "pc/ioapic.h"

#define REG_SELECT 0x00
#define REG_WINDOW 0x10
#define REG_EOI    0x40

#define INDEX_ID          0x00
#define INDEX_VERSION     0x01
#define INDEX_ARBITRATION 0x02
#define INDEX_TABLE       0x10

#define VERSION (0x20u | (VMC_IOAPIC_PINS - 1) << 16)

/* Redirection entry (82093AA s3.2.4). */
#define ENTRY_LOGICAL    (1ull << 11)
#define ENTRY_PENDING    (1ull << 12) /* delivery status: always idle here */
#define ENTRY_REMOTE_IRR (1ull << 14)
#define ENTRY_LEVEL      (1ull << 15)
#define ENTRY_MASKED     (1ull << 16)
#define ENTRY_WRITABLE   0xff0000000001afffull

struct VmcIoapic {
    GMutex lock;
    VmcBus *mmio;
    VmcLapics *lapics;
    uint8_t select;
    uint32_t id;
    uint32_t pins; /* levels */
    uint64_t entry[VMC_IOAPIC_PINS];
};

static void send(VmcIoapic *ioapic, unsigned pin)
{
    uint64_t entry = ioapic->entry[pin];
    VmcApicMessage m = {
        .dest = entry >> 56,
        .logical = entry & ENTRY_LOGICAL,
        .level = entry & ENTRY_LEVEL,
        .delivery = entry >> 8 & 7,
        .vector = entry & 0xff,
    };
    if (m.delivery == VMC_APIC_SIPI) /* reserved here */
        return;
    bool taken = vmc_lapics_deliver(ioapic->lapics, &m);
    /* Only vectors are ended; the other delivery modes are edges whatever the entry says. */
    if (m.level && taken && m.delivery <= VMC_APIC_LOWEST)
        ioapic->entry[pin] |= ENTRY_REMOTE_IRR;
}

static void serve_level(VmcIoapic *ioapic, unsigned pin)
{
    uint64_t entry = ioapic->entry[pin];
    bool high = ioapic->pins & 1u << pin;
    if (high && (entry & ENTRY_LEVEL) && !(entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)))
        send(ioapic, pin);
}

void vmc_ioapic_set_pin(VmcIoapic *ioapic, unsigned pin, bool level)
{
    if (pin >= VMC_IOAPIC_PINS)
        return;
    uint32_t bit = 1u << pin;
    g_mutex_lock(&ioapic->lock);
    bool rising = level && !(ioapic->pins & bit);
    ioapic->pins = level ? ioapic->pins | bit : ioapic->pins & ~bit;
    if (rising) {
        if (ioapic->entry[pin] & ENTRY_LEVEL)
            serve_level(ioapic, pin);
        else if (!(ioapic->entry[pin] & ENTRY_MASKED))
            send(ioapic, pin);
    }
    g_mutex_unlock(&ioapic->lock);
}

static void eoi_locked(VmcIoapic *ioapic, uint8_t vector)
{
    for (unsigned pin = 0; pin < VMC_IOAPIC_PINS; pin++) {
        uint64_t *entry = &ioapic->entry[pin];
        if ((*entry & 0xff) != vector || !(*entry & ENTRY_REMOTE_IRR))
            continue;
        *entry &= ~ENTRY_REMOTE_IRR;
        serve_level(ioapic, pin);
    }
}

void vmc_ioapic_eoi(VmcIoapic *ioapic, uint8_t vector)
{
    g_mutex_lock(&ioapic->lock);
    eoi_locked(ioapic, vector);
    g_mutex_unlock(&ioapic->lock);
}

static void write_entry(VmcIoapic *ioapic, unsigned pin, bool high_half, uint32_t value)
{
    uint64_t old = ioapic->entry[pin], entry;
    if (high_half)
        entry = (old & 0xffffffff) | (uint64_t)value << 32;
    else
        entry = (old & ~0xffffffffull) | value;
    entry = (entry & ENTRY_WRITABLE) | (old & ENTRY_REMOTE_IRR);
    if (!(entry & ENTRY_LEVEL))
        entry &= ~ENTRY_REMOTE_IRR; /* how software ends an interrupt on chips without an EOI register */
    ioapic->entry[pin] = entry;
    serve_level(ioapic, pin);
}

static void write_window(VmcIoapic *ioapic, uint32_t value)
{
    unsigned index = ioapic->select;
    if (index == INDEX_ID)
        ioapic->id = value & 0x0f000000;
    else if (index >= INDEX_TABLE && index < INDEX_TABLE + 2 * VMC_IOAPIC_PINS)
        write_entry(ioapic, (index - INDEX_TABLE) >> 1, index & 1, value);
}

static uint32_t read_window(const VmcIoapic *ioapic)
{
    unsigned index = ioapic->select;
    switch (index) {
    case INDEX_ID:
    case INDEX_ARBITRATION:
        return ioapic->id;
    case INDEX_VERSION:
        return VERSION;
    }
    if (index >= INDEX_TABLE && index < INDEX_TABLE + 2 * VMC_IOAPIC_PINS) {
        uint64_t entry = ioapic->entry[(index - INDEX_TABLE) >> 1];
        return index & 1 ? entry >> 32 : entry;
    }
    return 0;
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcIoapic *ioapic = opaque;
    uint64_t value = 0;
    g_mutex_lock(&ioapic->lock);
    if (offset == REG_SELECT)
        value = ioapic->select;
    else if (offset == REG_WINDOW)
        value = read_window(ioapic);
    g_mutex_unlock(&ioapic->lock);
    return value;
}

static void ioapic_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcIoapic *ioapic = opaque;
    g_mutex_lock(&ioapic->lock);
    if (offset == REG_SELECT)
        ioapic->select = value;
    else if (offset == REG_WINDOW && size >= 4)
        write_window(ioapic, value);
    else if (offset == REG_EOI)
        eoi_locked(ioapic, value);
    g_mutex_unlock(&ioapic->lock);
}

void vmc_ioapic_reset(VmcIoapic *ioapic)
{
    g_mutex_lock(&ioapic->lock);
    ioapic->select = 0;
    ioapic->id = 0;
    for (unsigned pin = 0; pin < VMC_IOAPIC_PINS; pin++)
        ioapic->entry[pin] = ENTRY_MASKED;
    g_mutex_unlock(&ioapic->lock);
}

static const VmcRegionOps ioapic_ops = {ioapic_read, ioapic_write};

VmcIoapic *vmc_ioapic_new(VmcBus *mmio, VmcLapics *lapics)
{
    VmcIoapic *ioapic = g_new0(VmcIoapic, 1);
    g_mutex_init(&ioapic->lock);
    ioapic->mmio = mmio;
    ioapic->lapics = lapics;
    vmc_ioapic_reset(ioapic);
    vmc_bus_add(mmio, "ioapic", VMC_IOAPIC_BASE, 0x1000, &ioapic_ops, ioapic);
    return ioapic;
}

void vmc_ioapic_free(VmcIoapic *ioapic)
{
    if (!ioapic)
        return;
    vmc_bus_remove(ioapic->mmio, VMC_IOAPIC_BASE, &ioapic_ops, ioapic);
    g_mutex_clear(&ioapic->lock);
    g_free(ioapic);
}

void vmc_ioapic_save(VmcIoapic *ioapic, VmcStateWriter *w)
{
    vmc_state_begin(w, "ioapic", 1);
    vmc_state_put_u8(w, ioapic->select);
    vmc_state_put_u32(w, ioapic->id);
    vmc_state_put_u32(w, ioapic->pins);
    for (unsigned pin = 0; pin < VMC_IOAPIC_PINS; pin++)
        vmc_state_put_u64(w, ioapic->entry[pin]);
    vmc_state_end(w);
}

bool vmc_ioapic_load(VmcIoapic *ioapic, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "ioapic", 1))
        return false;
    ioapic->select = vmc_state_get_u8(r);
    ioapic->id = vmc_state_get_u32(r) & 0x0f000000;
    ioapic->pins = vmc_state_get_u32_max(r, (1u << VMC_IOAPIC_PINS) - 1);
    for (unsigned pin = 0; pin < VMC_IOAPIC_PINS; pin++)
        ioapic->entry[pin] = vmc_state_get_u64(r) & (ENTRY_WRITABLE | ENTRY_REMOTE_IRR);
    return vmc_state_leave(r);
}
