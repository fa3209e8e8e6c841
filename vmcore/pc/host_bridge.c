/*
 * Configuration cycles. There is one bus, number 0; the others are empty and read as all ones.
 */
#include "pc/host_bridge.h"

#include <stdatomic.h>

#define REG_PCIEXBAR 0x60 /* 64 bits */
#define REG_PAM      0x90 /* seven */
#define REG_SMRAM    0x9d /* and ESMRAMC */

#define PCIEXBAR_ENABLE 1u
#define CONFIG_ENABLE   0x80000000u

struct VmcHostBridge {
    VmcPciDevice pci;
    VmcBus *pio, *mmio;
    VmcLegacy *legacy;
    _Atomic uint32_t address;   /* CONFIG_ADDRESS */
    _Atomic uint64_t ecam_base; /* where ECAM is mapped; written under the PCI bus' access lock */
    uint64_t ecam_size;         /* 0: nowhere */
};

static uint32_t config_read(VmcHostBridge *bridge, unsigned bus, unsigned devfn, unsigned offset,
                            unsigned size)
{
    return bus ? 0xffffffff : vmc_pci_bus_config_read(bridge->pci.bus, devfn, offset, size);
}

static void config_write(VmcHostBridge *bridge, unsigned bus, unsigned devfn, unsigned offset, unsigned size,
                         uint32_t value)
{
    if (!bus)
        vmc_pci_bus_config_write(bridge->pci.bus, devfn, offset, size, value);
}

/* CF8h: only a 32-bit access is CONFIG_ADDRESS (PCI 3.0 s3.2.2.3.2); a byte at CF9h is the reset register. */
static uint64_t cf8_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcHostBridge *bridge = opaque;
    if (size == 4)
        return atomic_load(&bridge->address);
    if (size == 1 && offset == 1)
        return vmc_legacy_read_cf9(bridge->legacy);
    return UINT64_MAX;
}

static void cf8_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcHostBridge *bridge = opaque;
    if (size == 4)
        atomic_store(&bridge->address, (uint32_t)value & 0x80fffffc);
    else if (size == 1 && offset == 1)
        vmc_legacy_write_cf9(bridge->legacy, value);
}

static uint64_t cfc_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcHostBridge *bridge = opaque;
    uint32_t a = atomic_load(&bridge->address);
    if (!(a & CONFIG_ENABLE) || size > 4)
        return UINT64_MAX;
    return config_read(bridge, a >> 16 & 0xff, a >> 8 & 0xff, (a & 0xfc) + (unsigned)offset, size);
}

static void cfc_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcHostBridge *bridge = opaque;
    uint32_t a = atomic_load(&bridge->address);
    if ((a & CONFIG_ENABLE) && size <= 4)
        config_write(bridge, a >> 16 & 0xff, a >> 8 & 0xff, (a & 0xfc) + (unsigned)offset, size,
                     (uint32_t)value);
}

/* ECAM: bus 27:20, device and function 19:12, register 11:0. */
static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned size)
{
    VmcHostBridge *bridge = opaque;
    unsigned bus = offset >> 20 & 0xff, devfn = offset >> 12 & 0xff, reg = offset & 0xfff;
    if (size <= 4)
        return config_read(bridge, bus, devfn, reg, size);
    uint64_t low = config_read(bridge, bus, devfn, reg, 4);
    return low | (uint64_t)config_read(bridge, bus, devfn, reg + 4, 4) << 32;
}

static void ecam_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VmcHostBridge *bridge = opaque;
    unsigned bus = offset >> 20 & 0xff, devfn = offset >> 12 & 0xff, reg = offset & 0xfff;
    config_write(bridge, bus, devfn, reg, MIN(size, 4), (uint32_t)value);
    if (size > 4)
        config_write(bridge, bus, devfn, reg + 4, 4, value >> 32);
}

static const VmcRegionOps cf8_ops = {cf8_read, cf8_write};
static const VmcRegionOps cfc_ops = {cfc_read, cfc_write};
static const VmcRegionOps ecam_ops = {ecam_read, ecam_write};

/* PCIEXBAR: base, length in bits 2:1 (256, 128 or 64 MiB), enable. */
static void move_ecam(VmcHostBridge *bridge)
{
    const uint8_t *reg = &bridge->pci.config[REG_PCIEXBAR];
    uint64_t value = 0, size = 0;
    for (unsigned i = 0; i < 8; i++)
        value |= (uint64_t)reg[i] << (8 * i);
    unsigned length = value >> 1 & 3;
    if ((value & PCIEXBAR_ENABLE) && length < 3)
        size = 0x10000000ull >> length;
    uint64_t base = size ? value & 0xffc000000ull & ~(size - 1) : 0;
    if (base == bridge->ecam_base && size == bridge->ecam_size)
        return;
    if (bridge->ecam_size)
        vmc_bus_remove(bridge->mmio, bridge->ecam_base, &ecam_ops, bridge);
    bridge->ecam_base = base;
    bridge->ecam_size = size;
    if (size)
        vmc_bus_add(bridge->mmio, "ecam", base, size, &ecam_ops, bridge);
}

static void bridge_config_written(VmcPciDevice *dev, unsigned offset, unsigned size)
{
    move_ecam((VmcHostBridge *)dev);
}

static void bridge_reset(VmcPciDevice *dev)
{
    VmcHostBridge *bridge = (VmcHostBridge *)dev;
    atomic_store(&bridge->address, 0);
    move_ecam(bridge);
}

static void bridge_free(VmcPciDevice *dev)
{
    VmcHostBridge *bridge = (VmcHostBridge *)dev;
    vmc_bus_remove(bridge->pio, 0xcf8, &cf8_ops, bridge);
    vmc_bus_remove(bridge->pio, 0xcfc, &cfc_ops, bridge);
    if (bridge->ecam_size)
        vmc_bus_remove(bridge->mmio, bridge->ecam_base, &ecam_ops, bridge);
    vmc_pci_device_clear(dev);
    g_free(bridge);
}

static void bridge_save(VmcPciDevice *dev, VmcStateWriter *w)
{
    vmc_state_put_u32(w, atomic_load(&((VmcHostBridge *)dev)->address));
}

static bool bridge_load(VmcPciDevice *dev, VmcStateReader *r)
{
    VmcHostBridge *bridge = (VmcHostBridge *)dev;

    atomic_store(&bridge->address, vmc_state_get_u32(r) & 0x80fffffc);
    move_ecam(bridge);
    return vmc_state_ok(r);
}

static const VmcPciDeviceOps bridge_ops = {
    .name = "host bridge",
    .config_written = bridge_config_written,
    .reset = bridge_reset,
    .free = bridge_free,
    .save = bridge_save,
    .load = bridge_load,
};

VmcHostBridge *vmc_host_bridge_new(VmcPciBus *pci, VmcBus *pio, VmcBus *mmio, VmcLegacy *legacy)
{
    static const VmcPciIdentity identity = {
        .vendor = 0x8086,
        .device = 0x29c0,
        .class_code = 0x060000,
    };
    VmcHostBridge *bridge = g_new0(VmcHostBridge, 1);
    bridge->pio = pio;
    bridge->mmio = mmio;
    bridge->legacy = legacy;
    VmcPciDevice *dev = &bridge->pci;
    vmc_pci_device_init(dev, &bridge_ops, &identity);
    dev->writable[REG_PCIEXBAR] = 0x07;
    dev->writable[REG_PCIEXBAR + 3] = 0xfc;
    dev->writable[REG_PCIEXBAR + 4] = 0x0f;
    /* PAM and SMRAM can be programmed; all of low memory is RAM whatever they say, as there is no ROM to
     * shadow. */
    for (unsigned i = 0; i < 7; i++)
        dev->writable[REG_PAM + i] = 0x33;
    dev->writable[REG_SMRAM] = 0x78;
    dev->writable[REG_SMRAM + 1] = 0x87;
    dev->config[REG_SMRAM] = 0x02;
    vmc_pci_bus_add(pci, dev, 0, 0);
    vmc_bus_add(pio, "pci config address", 0xcf8, 4, &cf8_ops, bridge);
    vmc_bus_add(pio, "pci config data", 0xcfc, 4, &cfc_ops, bridge);
    return bridge;
}

void vmc_host_bridge_firmware_setup(VmcHostBridge *bridge, uint64_t base)
{
    VmcPciBus *bus = bridge->pci.bus;
    vmc_pci_bus_config_write(bus, bridge->pci.devfn, REG_PCIEXBAR + 4, 4, base >> 32);
    vmc_pci_bus_config_write(bus, bridge->pci.devfn, REG_PCIEXBAR, 4, (uint32_t)base | PCIEXBAR_ENABLE);
}

uint64_t vmc_host_bridge_ecam(VmcHostBridge *bridge)
{
    return atomic_load(&bridge->ecam_base);
}
