/* MSI-X inside the PCI layer; see pci.h for what devices use. */
#pragma once

#include "pci/pci.h"

#define VMC_PCI_CAP_MSIX       0x11
#define VMC_MSIX_VECTORS_MAX   2048u
#define VMC_MSIX_CTRL_ENABLE   0x8000u
#define VMC_MSIX_CTRL_MASK_ALL 0x4000u
#define VMC_MSIX_ENTRY_SIZE    16u
#define VMC_MSIX_ENTRY_MASKED  1u

typedef struct VmcMsixEntry {
    uint64_t address;
    uint32_t data, control;
    int wire;   /* an eventfd that sends it, or -1 */
    bool wired; /* `wire` is for this message; -1: there is none to be had */
} VmcMsixEntry;

/* Everything here is guarded by the bus's interrupt lock, except what never changes. */
typedef struct VmcMsix {
    unsigned bar, vectors, capability;
    uint64_t pba_offset;
    bool enabled, function_masked;
    bool bus_master; /* a message is a memory write, so it needs Bus Master Enable */
    VmcMsixEntry *table;
    uint64_t *pending; /* one bit per vector */
} VmcMsix;

extern const VmcRegionOps vmc_msix_region_ops; /* opaque: the VmcPciBar */

/* With the interrupt lock held: copy the control word and Bus Master Enable out of configuration space, and
 * send what was pending and is now free to go. */
void vmc_msix_control_changed(VmcPciDevice *dev);
void vmc_msix_reset(VmcPciDevice *dev);
void vmc_msix_free(VmcPciDevice *dev); /* no lock, with its bus still there */
/* With the interrupt lock held; after load vmc_msix_control_changed is called. */
void vmc_msix_save(const VmcPciDevice *dev, VmcStateWriter *w);
void vmc_msix_load(VmcPciDevice *dev, VmcStateReader *r);

void vmc_pci_interrupt_lock(VmcPciBus *bus);
void vmc_pci_interrupt_unlock(VmcPciBus *bus);
const VmcMsi *vmc_pci_bus_msi(VmcPciBus *bus);
