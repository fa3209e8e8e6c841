/*
 * Configuration registers that move the PM block and route interrupts.
 */
#include "pc/lpc.h"

#define REG_PMBASE    0x40
#define REG_ACPI_CNTL 0x44
#define REG_PIRQ_A    0x60 /* four of them */
#define REG_PIRQ_E    0x68 /* four more */
#define REG_RCBA      0xf0

#define ACPI_CNTL_ENABLE 0x80
#define RCBA_ENABLE      0x01u
#define RCBA_SIZE        0x4000u
#define RCBA_HPTC        0x3404u /* high precision timer configuration */
#define HPTC_ENABLE      0x80u
#define PIRQ_NO_ROUTE    0x80

/* ISA interrupts a PIRQ may go to: not 0, 1, 2, 8 and 13. */
#define ROUTABLE 0xdef8u

struct VmcLpc {
    VmcPciDevice pci;
    VmcPm *pm;
    VmcBus *mmio;
    uint32_t root_complex; /* where that is, or 0; the PCI bus' access lock */
    GMutex lock;
    uint8_t pirqs;     /* levels */
    uint8_t route[8];  /* ISA interrupt, or PIRQ_NO_ROUTE */
    uint16_t isa_high; /* ISA interrupts we hold up */
    VmcIrq gsi[8], isa[16];
};

static unsigned pirq_register(unsigned pirq)
{
    return pirq < 4 ? REG_PIRQ_A + pirq : REG_PIRQ_E + pirq - 4;
}

/* Lock held. */
static void update_isa(VmcLpc *lpc)
{
    uint16_t high = 0;
    for (unsigned i = 0; i < 8; i++)
        if ((lpc->pirqs & 1u << i) && !(lpc->route[i] & PIRQ_NO_ROUTE))
            high |= 1u << (lpc->route[i] & 15);
    high &= ROUTABLE;
    uint16_t changed = high ^ lpc->isa_high;
    lpc->isa_high = high;
    for (unsigned irq = 0; irq < 16; irq++)
        if (changed & 1u << irq)
            vmc_irq_set(&lpc->isa[irq], high & 1u << irq);
}

void vmc_lpc_pirq(void *opaque, unsigned pirq, bool level)
{
    VmcLpc *lpc = opaque;
    uint8_t bit = 1u << (pirq & 7);
    g_mutex_lock(&lpc->lock);
    lpc->pirqs = level ? lpc->pirqs | bit : lpc->pirqs & ~bit;
    vmc_irq_set(&lpc->gsi[pirq & 7], level);
    update_isa(lpc);
    g_mutex_unlock(&lpc->lock);
}

/* ---- the root complex block (ICH9 data sheet s10.1) ---- */

/* A stub: firmware turns it on, and systems look in it for the HPET's switch, which is always on, at its
 * usual address; all else reads as zero, which is "no such thing", and cannot be changed. */
static uint64_t root_complex_read(void *opaque, uint64_t offset, unsigned size)
{
    uint64_t word = (offset & ~3ull) == RCBA_HPTC ? HPTC_ENABLE : 0;

    return size <= 4 ? word >> (8 * (offset & 3)) : word;
}

static void root_complex_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
}

static const VmcRegionOps root_complex_ops = {root_complex_read, root_complex_write};

static void move_root_complex(VmcLpc *lpc)
{
    const uint8_t *reg = &lpc->pci.config[REG_RCBA];
    uint32_t value = reg[0] | reg[1] << 8 | reg[2] << 16 | (uint32_t)reg[3] << 24;
    uint32_t base = value & RCBA_ENABLE ? value & ~(RCBA_SIZE - 1) : 0;

    if (base == lpc->root_complex)
        return;
    if (lpc->root_complex)
        vmc_bus_remove(lpc->mmio, lpc->root_complex, &root_complex_ops, lpc);
    lpc->root_complex = base;
    if (base)
        vmc_bus_add(lpc->mmio, "root complex", base, RCBA_SIZE, &root_complex_ops, lpc);
}

/* Registers -> what they control. */
static void apply(VmcLpc *lpc)
{
    const uint8_t *config = lpc->pci.config;
    move_root_complex(lpc);
    unsigned base = (config[REG_PMBASE] | config[REG_PMBASE + 1] << 8) & 0xff80;
    vmc_pm_map(lpc->pm, base, base && (config[REG_ACPI_CNTL] & ACPI_CNTL_ENABLE));
    g_mutex_lock(&lpc->lock);
    for (unsigned i = 0; i < 8; i++)
        lpc->route[i] = config[pirq_register(i)];
    update_isa(lpc);
    g_mutex_unlock(&lpc->lock);
}

static void lpc_config_written(VmcPciDevice *dev, unsigned offset, unsigned size)
{
    apply((VmcLpc *)dev);
}

static void lpc_reset(VmcPciDevice *dev)
{
    apply((VmcLpc *)dev);
}

static void lpc_free(VmcPciDevice *dev)
{
    VmcLpc *lpc = (VmcLpc *)dev;
    if (lpc->root_complex)
        vmc_bus_remove(lpc->mmio, lpc->root_complex, &root_complex_ops, lpc);
    vmc_pci_device_clear(dev);
    g_mutex_clear(&lpc->lock);
    g_free(lpc);
}

/* All there is to it follows from its registers and from what others drive. */
static void lpc_save(VmcPciDevice *dev, VmcStateWriter *w)
{
}

static bool lpc_load(VmcPciDevice *dev, VmcStateReader *r)
{
    apply((VmcLpc *)dev);
    return vmc_state_ok(r);
}

static const VmcPciDeviceOps lpc_ops = {
    .name = "lpc bridge",
    .config_written = lpc_config_written,
    .reset = lpc_reset,
    .free = lpc_free,
    .save = lpc_save,
    .load = lpc_load,
};

static void make_registers(VmcPciDevice *dev)
{
    dev->config[REG_PMBASE] = 0x01; /* an I/O address */
    dev->writable[REG_PMBASE] = 0x80;
    dev->writable[REG_PMBASE + 1] = 0xff;
    dev->writable[REG_ACPI_CNTL] = ACPI_CNTL_ENABLE; /* the SCI stays on IRQ 9 */
    for (unsigned i = 0; i < 8; i++) {
        dev->config[pirq_register(i)] = PIRQ_NO_ROUTE;
        dev->writable[pirq_register(i)] = 0x8f;
    }
    dev->writable[REG_RCBA] = RCBA_ENABLE;
    dev->writable[REG_RCBA + 1] = 0xc0;
    dev->writable[REG_RCBA + 2] = dev->writable[REG_RCBA + 3] = 0xff;
}

VmcLpc *vmc_lpc_new(VmcPm *pm, VmcWires *wires, VmcBus *mmio)
{
    static const VmcPciIdentity identity = {
        .vendor = 0x8086,
        .device = 0x2918,
        .class_code = 0x060100,
        .revision = 2,
    };
    VmcLpc *lpc = g_new0(VmcLpc, 1);
    lpc->pm = pm;
    lpc->mmio = mmio;
    g_mutex_init(&lpc->lock);
    for (unsigned i = 0; i < 8; i++) {
        lpc->route[i] = PIRQ_NO_ROUTE;
        lpc->gsi[i] = vmc_wires_add(wires, 16 + i);
    }
    for (unsigned irq = 0; irq < 16; irq++)
        if (ROUTABLE & 1u << irq)
            lpc->isa[irq] = vmc_wires_add(wires, irq);
    vmc_pci_device_init(&lpc->pci, &lpc_ops, &identity);
    make_registers(&lpc->pci);
    return lpc;
}

void vmc_lpc_add(VmcLpc *lpc, VmcPciBus *bus)
{
    vmc_pci_bus_add(bus, &lpc->pci, VMC_LPC_SLOT, 0);
}

void vmc_lpc_firmware_setup(VmcLpc *lpc, const uint8_t irq_of_pirq[8])
{
    VmcPciBus *bus = lpc->pci.bus;
    unsigned devfn = lpc->pci.devfn;
    vmc_pci_bus_config_write(bus, devfn, REG_PMBASE, 4, VMC_PM_BASE);
    vmc_pci_bus_config_write(bus, devfn, REG_ACPI_CNTL, 1, ACPI_CNTL_ENABLE);
    for (unsigned i = 0; i < 8; i++)
        vmc_pci_bus_config_write(bus, devfn, pirq_register(i), 1, irq_of_pirq[i]);
}
