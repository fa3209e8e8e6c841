/*
 * The PCI bus and what all its devices have in common: a configuration space with a mask of the bits software
 * may change, BARs that follow it onto the port and memory buses, and INTx wires shared by OR.
 *
 * Sizing a BAR needs no code of its own: the bits below its size are simply not writable, so all ones read
 * back as the size mask (PCI 3.0 s6.2.5.1). A BAR decodes while its space is enabled in Command and its
 * address makes sense; zero and anything that reaches the very top of the address space (which is what a BAR
 * holds while it is being sized) do not.
 *
 * Two locks. The access lock serialises configuration accesses, hooks included, and the moving of BARs. The
 * interrupt lock guards INTx levels and MSI-X state and is the only one taken by vmc_pci_intx and
 * vmc_pci_msix_notify. Order: access before interrupt. A hook may therefore wait for the I/O thread, which
 * only ever takes the second.
 */
#include <stdio.h>
#include <string.h>

#include "base/i18n.h"
#include "pci/doorbell.h"
#include "pci/msix.h"
#include "pci/pci.h"

#define REG_COMMAND        0x04
#define REG_STATUS         0x06
#define REG_HEADER_TYPE    0x0e
#define REG_BAR0           0x10
#define REG_BAR_END        0x28
#define REG_CAP_POINTER    0x34
#define REG_INTERRUPT_LINE 0x3c
#define REG_INTERRUPT_PIN  0x3d
#define REG_STANDARD_END   0x40

#define COMMAND_IO           0x0001u
#define COMMAND_MEMORY       0x0002u
#define COMMAND_MASTER       0x0004u
#define COMMAND_INTX_DISABLE 0x0400u
#define STATUS_INTERRUPT     0x08u
#define STATUS_CAPABILITIES  0x10u

#define UNMAPPED UINT64_MAX

struct VmcPciBus {
    VmcPciBusParams params;
    GMutex access;
    GMutex interrupt;
    VmcPciBells bells;
    unsigned line_users[8]; /* how many devices hold each PIRQ up */
    VmcPciDevice *devices[256];
};

static uint32_t get32(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t *p, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

static unsigned command_of(const VmcPciDevice *dev)
{
    return dev->config[REG_COMMAND] | dev->config[REG_COMMAND + 1] << 8;
}

void vmc_pci_interrupt_lock(VmcPciBus *bus)
{
    g_mutex_lock(&bus->interrupt);
}

void vmc_pci_interrupt_unlock(VmcPciBus *bus)
{
    g_mutex_unlock(&bus->interrupt);
}

const VmcMsi *vmc_pci_bus_msi(VmcPciBus *bus)
{
    return &bus->params.msi;
}

VmcPciBells *vmc_pci_bus_bells(VmcPciBus *bus)
{
    return &bus->bells;
}

/* ---- devices ---- */

void vmc_pci_device_init(VmcPciDevice *dev, const VmcPciDeviceOps *ops, const VmcPciIdentity *identity)
{
    memset(dev, 0, sizeof(*dev));
    dev->ops = ops;
    dev->next_capability = REG_STANDARD_END;
    for (unsigned i = 0; i < G_N_ELEMENTS(dev->bars); i++)
        dev->bars[i] = (VmcPciBar){.mapped_at = UNMAPPED, .bells_at = UNMAPPED, .dev = dev, .index = i};

    put32(&dev->config[0x00], identity->vendor | (uint32_t)identity->device << 16);
    put32(&dev->config[0x08], identity->revision | identity->class_code << 8);
    put32(&dev->config[0x2c], identity->subsystem_vendor | (uint32_t)identity->subsystem << 16);
    /* Command: I/O, memory, master, parity, SERR, interrupt disable. */
    dev->writable[REG_COMMAND] = 0x47;
    dev->writable[REG_COMMAND + 1] = 0x05;
    dev->writable[0x0c] = 0xff; /* cache line size: ours to store, of no effect */
    dev->writable[REG_INTERRUPT_LINE] = 0xff;
}

void vmc_pci_device_clear(VmcPciDevice *dev)
{
    vmc_msix_free(dev);
    for (unsigned i = 0; i < G_N_ELEMENTS(dev->bars); i++)
        vmc_pci_bells_clear(&dev->bars[i]);
    g_clear_pointer(&dev->power_on, g_free);
}

void vmc_pci_device_add_bar(VmcPciDevice *dev, unsigned bar, uint64_t size, bool io, bool wide, bool prefetch)
{
    g_return_if_fail(bar < 6 && !(wide && (bar == 5 || io)) && size >= (io ? 4 : 16) && !(size & (size - 1)));
    g_return_if_fail(wide || size <= 0x80000000u);
    VmcPciBar *b = &dev->bars[bar];
    unsigned reg = REG_BAR0 + bar * 4;

    b->size = size;
    b->io = io;
    b->wide = wide;
    b->prefetch = prefetch;
    put32(&dev->config[reg], (io ? 1u : 0u) | (wide ? 4u : 0u) | (prefetch ? 8u : 0u));
    put32(&dev->writable[reg], (uint32_t) ~(size - 1));
    if (wide)
        put32(&dev->writable[reg + 4], (uint32_t)(~(size - 1) >> 32));
}

void vmc_pci_device_set_bar_memory(VmcPciDevice *dev, unsigned bar, VmcMemory *memory, unsigned slot)
{
    VmcPciBar *b = &dev->bars[bar];

    g_return_if_fail(b->size == memory->slots[slot].size && !b->io && b->size >= VMC_PAGE_SIZE);
    b->memory = memory;
    b->slot = slot;
}

unsigned vmc_pci_device_add_capability(VmcPciDevice *dev, uint8_t id, unsigned size)
{
    unsigned offset = (dev->next_capability + 3) & ~3u;

    g_return_val_if_fail(size >= 2 && size <= 0x100 && offset + size <= 0x100, 0);
    dev->next_capability = offset + size;
    dev->config[offset] = id;
    dev->config[offset + 1] = 0;
    dev->config[REG_STATUS] |= STATUS_CAPABILITIES;

    /* At the end of the list, so that a guest meets capabilities in the order they were added. */
    uint8_t *link = &dev->config[REG_CAP_POINTER];
    while (*link)
        link = &dev->config[*link + 1];
    *link = (uint8_t)offset;
    return offset;
}

/* ---- interrupts ---- */

/* With the interrupt lock held: bring the wire to what it should be. */
static void update_intx(VmcPciDevice *dev)
{
    VmcPciBus *bus = dev->bus;
    unsigned pin = dev->config[REG_INTERRUPT_PIN];
    bool level = dev->intx_level && !dev->intx_disabled && !(dev->msix && dev->msix->enabled);

    if (!pin || pin > 4 || level == dev->intx_asserted)
        return;
    dev->intx_asserted = level;
    unsigned line = ((dev->devfn >> 3) + pin - 1) & 7;
    if (level ? bus->line_users[line]++ == 0 : --bus->line_users[line] == 0)
        vmc_irq_set(&bus->params.intx[line], level);
}

void vmc_pci_intx(VmcPciDevice *dev, bool level)
{
    if (!dev->bus)
        return;
    g_mutex_lock(&dev->bus->interrupt);
    dev->intx_level = level;
    update_intx(dev);
    g_mutex_unlock(&dev->bus->interrupt);
}

/* Command or a capability was written: everything about interrupts that depends on them. */
static void interrupts_changed(VmcPciDevice *dev)
{
    g_mutex_lock(&dev->bus->interrupt);
    dev->intx_disabled = command_of(dev) & COMMAND_INTX_DISABLE;
    if (dev->msix)
        vmc_msix_control_changed(dev);
    update_intx(dev);
    g_mutex_unlock(&dev->bus->interrupt);
}

/* ---- BARs ---- */

static uint64_t bar_region_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcPciBar *bar = opaque;

    return bar->dev->ops->bar_read ? bar->dev->ops->bar_read(bar->dev, bar->index, offset, size) : UINT64_MAX;
}

static void bar_region_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcPciBar *bar = opaque;

    if (bar->dev->ops->bar_write)
        bar->dev->ops->bar_write(bar->dev, bar->index, offset, size, value);
}

static const VmcRegionOps bar_region_ops = {.read = bar_region_read, .write = bar_region_write};

static const VmcRegionOps *region_ops_of(const VmcPciBar *bar)
{
    const VmcMsix *msix = bar->dev->msix;

    return msix && msix->bar == bar->index ? &vmc_msix_region_ops : &bar_region_ops;
}

/* Where software has put a BAR, or UNMAPPED when it does not decode. */
static uint64_t bar_address(const VmcPciBar *bar)
{
    const VmcPciDevice *dev = bar->dev;
    const uint8_t *reg = &dev->config[REG_BAR0 + bar->index * 4];
    uint64_t address, last, limit;

    if (!(command_of(dev) & (bar->io ? COMMAND_IO : COMMAND_MEMORY)))
        return UNMAPPED;
    address = get32(reg) & (bar->io ? ~3u : ~15u);
    if (bar->wide)
        address |= (uint64_t)get32(reg + 4) << 32;
    limit = bar->io ? 0xffff : bar->wide ? UINT64_MAX - 1 : 0xfffffffe;
    if (!address || __builtin_add_overflow(address, bar->size - 1, &last) || last > limit)
        return UNMAPPED;
    return address;
}

static void move_bar(VmcPciBar *bar, uint64_t to)
{
    VmcPciBus *bus = bar->dev->bus;
    VmcBus *space = bar->io ? bus->params.pio : bus->params.mmio;

    if (to == bar->mapped_at)
        return;
    if (bar->memory) {
        /* Where something else is, the BAR decodes nothing. */
        vmc_memory_move(bar->memory, bar->slot, to == UNMAPPED ? VMC_MEM_UNMAPPED : to);
        bar->mapped_at = to;
        return;
    }
    if (!space)
        return;
    if (!bar->io)
        vmc_pci_bells_moved(bar, to);
    if (bar->mapped_at != UNMAPPED)
        vmc_bus_remove(space, bar->mapped_at, region_ops_of(bar), bar);
    bar->mapped_at = to;
    if (to != UNMAPPED)
        vmc_bus_add(space, bar->dev->ops->name, to, bar->size, region_ops_of(bar), bar);
}

uint64_t vmc_pci_device_bar_address(VmcPciDevice *dev, unsigned bar)
{
    g_mutex_lock(&dev->bus->access);
    uint64_t at = dev->bars[bar].mapped_at;
    g_mutex_unlock(&dev->bus->access);
    return at;
}

static void update_bars(VmcPciDevice *dev)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(dev->bars); i++)
        if (dev->bars[i].size)
            move_bar(&dev->bars[i], bar_address(&dev->bars[i]));
}

static void unmap_bars(VmcPciDevice *dev)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(dev->bars); i++)
        if (dev->bars[i].size)
            move_bar(&dev->bars[i], UNMAPPED);
}

/* ---- configuration space ---- */

static bool touches(unsigned offset, unsigned size, unsigned start, unsigned end)
{
    return offset < end && offset + size > start;
}

static bool valid_access(unsigned offset, unsigned size)
{
    return (size == 1 || size == 2 || size == 4) && offset <= VMC_PCI_CONFIG_SIZE - size;
}

static uint32_t device_read(VmcPciDevice *dev, unsigned offset, unsigned size)
{
    uint32_t value = 0;

    if (dev->ops->config_reading)
        dev->ops->config_reading(dev, offset, size);
    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)dev->config[offset + i] << (8 * i);
    if (touches(offset, size, REG_STATUS, REG_STATUS + 1)) {
        g_mutex_lock(&dev->bus->interrupt);
        if (dev->intx_level)
            value |= STATUS_INTERRUPT << (8 * (REG_STATUS - offset));
        g_mutex_unlock(&dev->bus->interrupt);
    }
    return value;
}

static void device_write(VmcPciDevice *dev, unsigned offset, unsigned size, uint32_t value)
{
    bool master = command_of(dev) & COMMAND_MASTER;

    for (unsigned i = 0; i < size; i++) {
        uint8_t mask = dev->writable[offset + i];
        dev->config[offset + i] = (dev->config[offset + i] & ~mask) | ((uint8_t)(value >> (8 * i)) & mask);
    }
    if (touches(offset, size, REG_COMMAND, REG_COMMAND + 2) || touches(offset, size, REG_BAR0, REG_BAR_END))
        update_bars(dev);
    if (touches(offset, size, REG_COMMAND, REG_COMMAND + 2) ||
        (dev->msix && touches(offset, size, dev->msix->capability + 2, dev->msix->capability + 4)))
        interrupts_changed(dev);
    if (master != !!(command_of(dev) & COMMAND_MASTER) && dev->ops->bus_master)
        dev->ops->bus_master(dev, !master);
    if (offset + size > REG_STANDARD_END && dev->ops->config_written)
        dev->ops->config_written(dev, offset, size);
}

uint32_t vmc_pci_bus_config_read(VmcPciBus *bus, unsigned devfn, unsigned offset, unsigned size)
{
    VmcPciDevice *dev = devfn < 256 ? bus->devices[devfn] : NULL;

    if (!dev || !valid_access(offset, size))
        return size == 1 ? 0xff : size == 2 ? 0xffff : 0xffffffff;
    g_mutex_lock(&bus->access);
    uint32_t value = device_read(dev, offset, size);
    g_mutex_unlock(&bus->access);
    return value;
}

void vmc_pci_bus_config_write(VmcPciBus *bus, unsigned devfn, unsigned offset, unsigned size, uint32_t value)
{
    VmcPciDevice *dev = devfn < 256 ? bus->devices[devfn] : NULL;

    if (!dev || !valid_access(offset, size))
        return;
    g_mutex_lock(&bus->access);
    device_write(dev, offset, size, value);
    g_mutex_unlock(&bus->access);
}

/* ---- the bus ---- */

VmcPciBus *vmc_pci_bus_new(const VmcPciBusParams *params)
{
    VmcPciBus *bus = g_new0(VmcPciBus, 1);

    bus->params = *params;
    g_mutex_init(&bus->access);
    g_mutex_init(&bus->interrupt);
    g_mutex_init(&bus->bells.lock);
    bus->bells.ops = params->doorbells;
    return bus;
}

void vmc_pci_bus_free(VmcPciBus *bus)
{
    if (!bus)
        return;
    for (unsigned i = 0; i < G_N_ELEMENTS(bus->devices); i++) {
        VmcPciDevice *dev = bus->devices[i];
        if (!dev)
            continue;
        unmap_bars(dev);
        bus->devices[i] = NULL;
        dev->ops->free(dev);
    }
    g_mutex_clear(&bus->access);
    g_mutex_clear(&bus->interrupt);
    g_mutex_clear(&bus->bells.lock);
    g_free(bus);
}

static bool slot_is_free(const VmcPciBus *bus, unsigned slot)
{
    for (unsigned function = 0; function < 8; function++)
        if (bus->devices[slot << 3 | function])
            return false;
    return true;
}

/* PCI 3.0 s6.2.1: software looks for functions 1 to 7 only where function 0 says there are some. */
static void mark_multifunction(VmcPciBus *bus, unsigned slot)
{
    VmcPciDevice *first = bus->devices[slot << 3];

    if (!first)
        return;
    for (unsigned function = 1; function < 8; function++)
        if (bus->devices[slot << 3 | function])
            first->config[REG_HEADER_TYPE] = first->power_on[REG_HEADER_TYPE] |= 0x80;
}

bool vmc_pci_bus_add(VmcPciBus *bus, VmcPciDevice *dev, int slot, unsigned function)
{
    g_return_val_if_fail(slot < 32 && function < 8 && !dev->bus, false);
    if (slot < 0)
        for (slot = 1; slot < 32 && !slot_is_free(bus, (unsigned)slot); slot++)
            ;
    if (slot == 32 || bus->devices[slot << 3 | function])
        return false;
    dev->devfn = (unsigned)slot << 3 | function;
    dev->bus = bus;
    dev->power_on = g_memdup2(dev->config, sizeof(dev->config));
    bus->devices[dev->devfn] = dev;
    mark_multifunction(bus, (unsigned)slot);
    return true;
}

void vmc_pci_bus_reset(VmcPciBus *bus)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(bus->devices); i++) {
        VmcPciDevice *dev = bus->devices[i];
        if (!dev)
            continue;
        g_mutex_lock(&bus->access);
        bool master = command_of(dev) & COMMAND_MASTER;
        unmap_bars(dev);
        memcpy(dev->config, dev->power_on, sizeof(dev->config));
        g_mutex_lock(&bus->interrupt);
        dev->intx_level = dev->intx_disabled = false;
        if (dev->msix)
            vmc_msix_reset(dev);
        update_intx(dev);
        g_mutex_unlock(&bus->interrupt);
        if (master && dev->ops->bus_master)
            dev->ops->bus_master(dev, false);
        g_mutex_unlock(&bus->access);
        if (dev->ops->reset)
            dev->ops->reset(dev);
    }
}

void vmc_pci_bus_resumed(VmcPciBus *bus)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(bus->devices); i++)
        if (bus->devices[i] && bus->devices[i]->ops->resumed)
            bus->devices[i]->ops->resumed(bus->devices[i]);
}

/* ---- saving ---- */

void vmc_pci_bus_hold(VmcPciBus *bus)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(bus->devices); i++)
        if (bus->devices[i] && bus->devices[i]->ops->hold)
            bus->devices[i]->ops->hold(bus->devices[i]);
}

void vmc_pci_bus_release(VmcPciBus *bus)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(bus->devices); i++)
        if (bus->devices[i] && bus->devices[i]->ops->release)
            bus->devices[i]->ops->release(bus->devices[i]);
}

/* "pci 03.0" */
static void section_name(const VmcPciDevice *dev, char name[16])
{
    snprintf(name, 16, "pci %02x.%u", dev->devfn >> 3 & 31, dev->devfn & 7);
}

/* Without the zeros most of a configuration space ends in. */
static void save_config(const VmcPciDevice *dev, VmcStateWriter *w)
{
    size_t n = sizeof(dev->config);

    while (n && !dev->config[n - 1])
        n--;
    vmc_state_put_blob(w, dev->config, n);
}

/* What software cannot write stays as it is: it says what the device is. */
static void load_config(VmcPciDevice *dev, VmcStateReader *r)
{
    size_t n;
    const uint8_t *saved = vmc_state_get_blob(r, sizeof(dev->config), &n);

    if (!vmc_state_check(r, n >= 4 && memcmp(saved, dev->config, 4) == 0, "what device it is"))
        return;
    for (size_t i = 0; i < sizeof(dev->config); i++) {
        uint8_t mask = dev->writable[i];
        dev->config[i] = (dev->config[i] & ~mask) | ((i < n ? saved[i] : 0) & mask);
    }
}

static void save_interrupts(VmcPciDevice *dev, VmcStateWriter *w)
{
    g_mutex_lock(&dev->bus->interrupt);
    vmc_state_put_bool(w, dev->intx_level);
    vmc_state_put_u16(w, dev->msix ? (uint16_t)dev->msix->vectors : 0);
    if (dev->msix)
        vmc_msix_save(dev, w);
    g_mutex_unlock(&dev->bus->interrupt);
}

static void load_interrupts(VmcPciDevice *dev, VmcStateReader *r)
{
    g_mutex_lock(&dev->bus->interrupt);
    dev->intx_level = vmc_state_get_bool(r);
    unsigned vectors = vmc_state_get_u16(r);
    if (vmc_state_check(r, vectors == (dev->msix ? dev->msix->vectors : 0), "how many vectors it has") &&
        dev->msix)
        vmc_msix_load(dev, r);
    g_mutex_unlock(&dev->bus->interrupt);
}

void vmc_pci_bus_save(VmcPciBus *bus, VmcStateWriter *w)
{
    vmc_state_begin(w, "pci", 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(bus->devices); i++) {
        VmcPciDevice *dev = bus->devices[i];
        char name[16];
        if (!dev)
            continue;
        section_name(dev, name);
        vmc_state_begin(w, name, 1);
        save_config(dev, w);
        save_interrupts(dev, w);
        if (dev->ops->save)
            dev->ops->save(dev, w);
        else
            vmc_state_refuse(w, _("The machine cannot be saved with a “%s” device in it (at PCI %s)"),
                             dev->ops->name, name + strlen("pci "));
        vmc_state_end(w);
    }
    vmc_state_end(w);
}

/* Where it is on the buses and what it does to interrupts follows from its configuration space. */
static bool load_device(VmcPciDevice *dev, VmcStateReader *r)
{
    char name[16];

    section_name(dev, name);
    if (!vmc_state_enter(r, name, 1))
        return false;
    load_config(dev, r);
    load_interrupts(dev, r);
    if (!vmc_state_ok(r))
        return false;
    update_bars(dev);
    interrupts_changed(dev);
    if (!vmc_state_check(r, dev->ops->load, "its kind") || !dev->ops->load(dev, r))
        return false;
    return vmc_state_leave(r);
}

bool vmc_pci_bus_load(VmcPciBus *bus, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "pci", 1))
        return false;
    for (unsigned i = 0; i < G_N_ELEMENTS(bus->devices); i++)
        if (bus->devices[i] && !load_device(bus->devices[i], r))
            return false;
    return vmc_state_leave(r);
}

/* ---- resource assignment ---- */

static gint by_size_descending(gconstpointer a, gconstpointer b)
{
    const VmcPciBar *x = *(VmcPciBar *const *)a, *y = *(VmcPciBar *const *)b;

    return x->size < y->size ? 1 : x->size > y->size ? -1 : 0;
}

/* The largest first: then everything is aligned and nothing is wasted between two BARs. */
static GPtrArray *sorted_bars(VmcPciBus *bus, bool io)
{
    GPtrArray *bars = g_ptr_array_new();

    for (unsigned i = 0; i < G_N_ELEMENTS(bus->devices); i++)
        for (unsigned n = 0; bus->devices[i] && n < 6; n++)
            if (bus->devices[i]->bars[n].size && bus->devices[i]->bars[n].io == io)
                g_ptr_array_add(bars, &bus->devices[i]->bars[n]);
    g_ptr_array_sort(bars, by_size_descending);
    return bars;
}

/* A BAR for which the window has no room is left at 0, so it does not decode. */
static void assign_window(VmcPciBus *bus, bool io, uint64_t next, uint64_t end)
{
    GPtrArray *bars = sorted_bars(bus, io);

    for (unsigned i = 0; i < bars->len; i++) {
        VmcPciBar *bar = g_ptr_array_index(bars, i);
        uint64_t step = !io && bar->size < 4096 ? 4096 : bar->size;
        uint64_t at = (next + step - 1) & ~(step - 1);
        if (at < next || at > end || end - at < step)
            continue;
        uint8_t *reg = &bar->dev->config[REG_BAR0 + bar->index * 4];
        put32(reg, (uint32_t)at | (get32(reg) & (io ? 3u : 15u)));
        if (bar->wide)
            put32(reg + 4, (uint32_t)(at >> 32));
        next = at + step;
    }
    g_ptr_array_unref(bars);
}

void vmc_pci_bus_assign(VmcPciBus *bus, uint64_t mmio_base, uint64_t mmio_end, uint16_t io_base,
                        const uint8_t irq_of_pirq[8])
{
    g_mutex_lock(&bus->access);
    assign_window(bus, false, mmio_base, mmio_end);
    assign_window(bus, true, io_base, 0x10000);
    for (unsigned i = 0; i < G_N_ELEMENTS(bus->devices); i++) {
        VmcPciDevice *dev = bus->devices[i];
        if (!dev)
            continue;
        unsigned pin = dev->config[REG_INTERRUPT_PIN];
        if (pin >= 1 && pin <= 4)
            dev->config[REG_INTERRUPT_LINE] = irq_of_pirq[((dev->devfn >> 3) + pin - 1) & 7];
        dev->config[REG_COMMAND] |= COMMAND_IO | COMMAND_MEMORY;
        update_bars(dev);
    }
    g_mutex_unlock(&bus->access);
}

/* Decoding or not: firmware turns it off for a moment now and then. */
static uint64_t high_address(const VmcPciBar *bar)
{
    const uint8_t *reg = &bar->dev->config[REG_BAR0 + bar->index * 4];

    return bar->size && bar->wide ? (uint64_t)get32(reg + 4) << 32 | (get32(reg) & ~15u) : 0;
}

bool vmc_pci_bus_high_range(VmcPciBus *bus, uint64_t *first, uint64_t *last)
{
    *first = UINT64_MAX;
    *last = 0;
    g_mutex_lock(&bus->access);
    for (unsigned i = 0; i < G_N_ELEMENTS(bus->devices); i++)
        for (unsigned n = 0; bus->devices[i] && n < 6; n++) {
            const VmcPciBar *bar = &bus->devices[i]->bars[n];
            uint64_t at = high_address(bar), end;
            if (at < 1ull << 32 || __builtin_add_overflow(at, bar->size - 1, &end))
                continue;
            *first = MIN(*first, at);
            *last = MAX(*last, end);
        }
    g_mutex_unlock(&bus->access);
    return *last != 0;
}
