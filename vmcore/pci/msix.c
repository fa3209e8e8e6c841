/*
 * MSI-X (PCI 3.0 s6.8.2): a table of messages and an array of pending bits, in a BAR of their own.
 *
 * The table is the first half of the BAR and the pending bits the second, so neither shares a page with the
 * other or with device registers. A vector that fires while it may not be sent is remembered in its pending
 * bit and goes out when the last of the masks falls: its own, the function's, or a missing Bus Master Enable.
 *
 * Messages are sent with the interrupt lock held. That is what makes masking exact: once the write that masks
 * a vector has returned, no message of that vector is on its way.
 *
 * Where whoever runs the CPUs has wires for messages (base/irq.h), a vector is given one when it sends, not
 * when it is unmasked: many never do, and a driver that moves one writes its message in three pieces, none of
 * which costs anything so. It keeps the wire while it is masked, as drivers mask and unmask for a moment,
 * until MSI-X is switched off or the function is reset. What was sent to several CPUs by a wire may arrive a
 * moment after it is masked, as on a real bus.
 */
#include <string.h>
#include <unistd.h>

#include "base/seeded.h"
#include "pci/msix.h"

static bool may_send(const VmcMsix *msix, const VmcMsixEntry *entry)
{
    return !msix->function_masked && msix->bus_master && !(entry->control & VMC_MSIX_ENTRY_MASKED);
}

static void send_message(VmcPciDevice *dev, VmcMsixEntry *entry)
{
    const VmcMsi *msi = vmc_pci_bus_msi(dev->bus);
    const uint64_t one = 1;

    if (!entry->wired && msi->wire)
        entry->wire = msi->wire(msi->opaque, entry->wire, entry->address, entry->data);
    entry->wired = true;
    if (entry->wire < 0 || write(entry->wire, &one, sizeof(one)) != sizeof(one))
        vmc_msi_send(msi, entry->address, entry->data);
}

static void release_wires(VmcPciDevice *dev)
{
    for (unsigned n = 0; n < dev->msix->vectors; n++) {
        VmcMsixEntry *entry = &dev->msix->table[n];
        if (entry->wire >= 0)
            vmc_pci_bus_msi(dev->bus)->unwire(vmc_pci_bus_msi(dev->bus)->opaque, entry->wire);
        entry->wire = -1;
        entry->wired = false;
    }
}

static void send_if_pending(VmcPciDevice *dev, unsigned n)
{
    VmcMsix *msix = dev->msix;
    VmcMsixEntry *entry = &msix->table[n];
    uint64_t bit = 1ull << (n % 64);

    if (!(msix->pending[n / 64] & bit) || !msix->enabled || !may_send(msix, entry))
        return;
    msix->pending[n / 64] &= ~bit;
    send_message(dev, entry);
}

static uint32_t table_word(const VmcMsixEntry *entry, unsigned word)
{
    switch (word) {
    case 0:
        return (uint32_t)entry->address;
    case 1:
        return (uint32_t)(entry->address >> 32);
    case 2:
        return entry->data;
    default:
        return entry->control;
    }
}

static uint32_t read_dword(const VmcMsix *msix, uint64_t offset)
{
    if (offset < (uint64_t)msix->vectors * VMC_MSIX_ENTRY_SIZE || VMC_SEEDED(MSIX_SIZE))
        return table_word(&msix->table[offset / VMC_MSIX_ENTRY_SIZE], offset % VMC_MSIX_ENTRY_SIZE / 4);
    uint64_t pba = offset - msix->pba_offset;
    if (offset >= msix->pba_offset && pba < (msix->vectors + 63) / 64 * 8)
        return (uint32_t)(msix->pending[pba / 8] >> (pba % 8 * 8));
    return 0;
}

static void set_message(VmcMsixEntry *entry, uint64_t address, uint32_t data)
{
    entry->wired &= address == entry->address && data == entry->data;
    entry->address = address;
    entry->data = data;
}

static void write_dword(VmcPciDevice *dev, uint64_t offset, uint32_t value)
{
    VmcMsix *msix = dev->msix;

    if (offset >= (uint64_t)msix->vectors * VMC_MSIX_ENTRY_SIZE)
        return; /* pending bits are read-only */
    unsigned n = offset / VMC_MSIX_ENTRY_SIZE;
    VmcMsixEntry *entry = &msix->table[n];
    switch (offset % VMC_MSIX_ENTRY_SIZE / 4) {
    case 0:
        set_message(entry, (entry->address & ~0xffffffffull) | (value & ~3u), entry->data);
        break;
    case 1:
        set_message(entry, (entry->address & 0xffffffffull) | (uint64_t)value << 32, entry->data);
        break;
    case 2:
        set_message(entry, entry->address, value);
        break;
    default:
        entry->control = value & VMC_MSIX_ENTRY_MASKED;
        send_if_pending(dev, n);
        break;
    }
}

/* Table and PBA are for aligned accesses of 4 and 8 bytes; narrower reads are served, narrower writes
 * dropped. */
static uint64_t region_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcPciDevice *dev = ((VmcPciBar *)opaque)->dev;
    uint64_t value;

    vmc_pci_interrupt_lock(dev->bus);
    value = read_dword(dev->msix, offset & ~3ull);
    if (size == 8 && !(offset & 7))
        value |= (uint64_t)read_dword(dev->msix, offset + 4) << 32;
    vmc_pci_interrupt_unlock(dev->bus);
    return value >> (offset % 4 * 8);
}

static void region_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcPciDevice *dev = ((VmcPciBar *)opaque)->dev;

    if (size < 4 || offset % size)
        return;
    vmc_pci_interrupt_lock(dev->bus);
    write_dword(dev, offset, (uint32_t)value);
    if (size == 8)
        write_dword(dev, offset + 4, (uint32_t)(value >> 32));
    vmc_pci_interrupt_unlock(dev->bus);
}

const VmcRegionOps vmc_msix_region_ops = {.read = region_read, .write = region_write};

void vmc_msix_control_changed(VmcPciDevice *dev)
{
    VmcMsix *msix = dev->msix;
    unsigned control = dev->config[msix->capability + 2] | dev->config[msix->capability + 3] << 8;

    msix->enabled = control & VMC_MSIX_CTRL_ENABLE;
    msix->function_masked = control & VMC_MSIX_CTRL_MASK_ALL;
    msix->bus_master = dev->config[4] & 4;
    if (!msix->enabled)
        release_wires(dev);
    for (unsigned n = 0; n < msix->vectors; n++)
        send_if_pending(dev, n);
}

void vmc_msix_reset(VmcPciDevice *dev)
{
    VmcMsix *msix = dev->msix;

    release_wires(dev);
    memset(msix->pending, 0, (msix->vectors + 63) / 64 * 8);
    for (unsigned n = 0; n < msix->vectors; n++)
        msix->table[n] = (VmcMsixEntry){.control = VMC_MSIX_ENTRY_MASKED, .wire = -1};
    vmc_msix_control_changed(dev);
}

void vmc_msix_save(const VmcPciDevice *dev, VmcStateWriter *w)
{
    const VmcMsix *msix = dev->msix;

    for (unsigned n = 0; n < msix->vectors; n++) {
        vmc_state_put_u64(w, msix->table[n].address);
        vmc_state_put_u32(w, msix->table[n].data);
        vmc_state_put_bool(w, msix->table[n].control & VMC_MSIX_ENTRY_MASKED);
        vmc_state_put_bool(w, msix->pending[n / 64] >> (n % 64) & 1);
    }
}

void vmc_msix_load(VmcPciDevice *dev, VmcStateReader *r)
{
    VmcMsix *msix = dev->msix;

    for (unsigned n = 0; n < msix->vectors; n++) {
        VmcMsixEntry *entry = &msix->table[n];
        uint64_t bit = 1ull << (n % 64);
        uint64_t address = vmc_state_get_u64(r) & ~3ull;
        set_message(entry, address, vmc_state_get_u32(r));
        entry->control = vmc_state_get_bool(r) ? VMC_MSIX_ENTRY_MASKED : 0;
        msix->pending[n / 64] =
            vmc_state_get_bool(r) ? msix->pending[n / 64] | bit : msix->pending[n / 64] & ~bit;
    }
}

void vmc_pci_device_add_msix(VmcPciDevice *dev, unsigned bar, unsigned vectors)
{
    g_return_if_fail(!dev->msix && vectors >= 1 && vectors <= VMC_MSIX_VECTORS_MAX);
    uint64_t half = 2048;
    while (half < vectors * VMC_MSIX_ENTRY_SIZE)
        half *= 2;

    VmcMsix *msix = g_new0(VmcMsix, 1);
    msix->bar = bar;
    msix->vectors = vectors;
    msix->pba_offset = half;
    msix->table = g_new0(VmcMsixEntry, vectors);
    for (unsigned n = 0; n < vectors; n++)
        msix->table[n].wire = -1;
    msix->pending = g_new0(uint64_t, (vectors + 63) / 64);
    msix->capability = vmc_pci_device_add_capability(dev, VMC_PCI_CAP_MSIX, 12);
    dev->msix = msix;
    vmc_pci_device_add_bar(dev, bar, half * 2, false, false, false);

    uint8_t *cap = &dev->config[msix->capability];
    cap[2] = (vectors - 1) & 0xff;
    cap[3] = (vectors - 1) >> 8;
    dev->writable[msix->capability + 3] = (VMC_MSIX_CTRL_ENABLE | VMC_MSIX_CTRL_MASK_ALL) >> 8;
    uint32_t table = GUINT32_TO_LE(bar), pba = GUINT32_TO_LE((uint32_t)half | bar);
    memcpy(cap + 4, &table, 4);
    memcpy(cap + 8, &pba, 4);
    vmc_msix_reset(dev);
}

void vmc_msix_free(VmcPciDevice *dev)
{
    if (!dev->msix)
        return;
    release_wires(dev);
    g_free(dev->msix->table);
    g_free(dev->msix->pending);
    g_clear_pointer(&dev->msix, g_free);
}

bool vmc_pci_msix_enabled(VmcPciDevice *dev)
{
    if (!dev->msix || !dev->bus)
        return false;
    vmc_pci_interrupt_lock(dev->bus);
    bool enabled = dev->msix->enabled;
    vmc_pci_interrupt_unlock(dev->bus);
    return enabled;
}

void vmc_pci_msix_notify(VmcPciDevice *dev, unsigned n)
{
    VmcMsix *msix = dev->msix;

    if (!msix || !dev->bus || n >= msix->vectors)
        return;
    vmc_pci_interrupt_lock(dev->bus);
    if (msix->enabled) {
        msix->pending[n / 64] |= 1ull << (n % 64);
        send_if_pending(dev, n);
    }
    vmc_pci_interrupt_unlock(dev->bus);
}
