/* Doorbells inside the PCI layer; see pci.h for what devices use. */
#pragma once

#include "pci/pci.h"

/* Of a bus: guards the bells of all its BARs. Nothing else is locked under it, and nobody who holds it waits.
 */
typedef struct VmcPciBells {
    GMutex lock;
    VmcPciDoorbellOps ops;
} VmcPciBells;

VmcPciBells *vmc_pci_bus_bells(VmcPciBus *bus);

/* The BAR is decoded elsewhere now, or (UINT64_MAX) nowhere. */
void vmc_pci_bells_moved(VmcPciBar *bar, uint64_t to);
void vmc_pci_bells_clear(VmcPciBar *bar);
