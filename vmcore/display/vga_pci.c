/*
 * 1234:1111, the standard VGA as a PCI device: what firmware and macOS draw on. BAR 0 is the video memory
 * itself, BAR 2 the page of registers; no interrupt, no DMA.
 */
#include "display/vga.h"

#define BAR_VRAM 0u
#define BAR_MMIO 2u

typedef struct VgaPci {
    VmcPciDevice pci; /* first: the two are cast into one another */
    VmcVga *vga;
} VgaPci;

static uint64_t bar_read(VmcPciDevice *pci, unsigned bar, uint64_t offset, unsigned size)
{
    return vmc_vga_mmio_read(((VgaPci *)pci)->vga, offset, size);
}

static void bar_write(VmcPciDevice *pci, unsigned bar, uint64_t offset, unsigned size, uint64_t value)
{
    vmc_vga_mmio_write(((VgaPci *)pci)->vga, offset, size, value);
}

static void reset(VmcPciDevice *pci)
{
    vmc_vga_reset(((VgaPci *)pci)->vga);
}

static void vga_pci_free(VmcPciDevice *pci)
{
    vmc_vga_free(((VgaPci *)pci)->vga);
    vmc_pci_device_clear(pci);
    g_free(pci);
}

static void save(VmcPciDevice *pci, VmcStateWriter *w)
{
    vmc_vga_save(((VgaPci *)pci)->vga, w);
}

static bool load(VmcPciDevice *pci, VmcStateReader *r)
{
    return vmc_vga_load(((VgaPci *)pci)->vga, r);
}

static const VmcPciDeviceOps ops = {
    .name = "vga",
    .bar_read = bar_read,
    .bar_write = bar_write,
    .reset = reset,
    .free = vga_pci_free,
    .save = save,
    .load = load,
};

VmcPciDevice *vmc_vga_pci_new(VmcVga *vga)
{
    VgaPci *card = g_new0(VgaPci, 1);
    VmcPciIdentity identity = {
        .vendor = 0x1234,
        .device = 0x1111,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100, /* by which drivers tell it from Bochs' and others' */
        .class_code = 0x030000,
        .revision = 2, /* has the page of registers */
    };

    vmc_pci_device_init(&card->pci, &ops, &identity);
    card->vga = vga;
    vmc_vga_set_bar(vga, &card->pci, BAR_VRAM);
    vmc_pci_device_add_bar(&card->pci, BAR_MMIO, VMC_VGA_MMIO_SIZE, false, false, false);
    return &card->pci;
}
