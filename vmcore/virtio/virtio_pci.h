/*
 * The modern virtio-pci transport (VIRTIO 1.2 s4.1): makes a PCI device of a virtio device.
 *
 * Threads: registers are accessed by vCPUs. Anything that starts or stops the device is done on the I/O
 * thread while the vCPU waits for it; the I/O thread never waits for a vCPU, and never for the lock vCPUs
 * hold meanwhile.
 */
#pragma once

#include "pci/pci.h"
#include "virtio/device.h"

/* Wraps `dev`, which it owns from now on (ops->free). NULL when the host has no file descriptor left for a
 * doorbell; `dev` is freed then too. */
VmcPciDevice *vmc_virtio_pci_new(VmcVirtioDevice *dev);

/* Where the structures of a device are that is something else as well. */
typedef struct VmcVirtioPciLayout {
    unsigned registers_bar, msix_bar;
    uint32_t registers_at; /* bytes, whole pages: the BAR begins with something of the device's own */
    /* Accesses to the BAR below that, vCPUs. May be NULL if it is 0. */
    uint64_t (*read)(VmcVirtioDevice *dev, uint64_t offset, unsigned size);
    void (*write)(VmcVirtioDevice *dev, uint64_t offset, unsigned size, uint64_t value);
    /* After a reset of the board, when vCPUs stand still; may be NULL. */
    void (*power_on)(VmcVirtioDevice *dev);
} VmcVirtioPciLayout;

/* The same as vmc_virtio_pci_new with another layout, which must outlive the device. The device may add more
 * BARs to what it gets. */
VmcPciDevice *vmc_virtio_pci_new_at(VmcVirtioDevice *dev, const VmcVirtioPciLayout *layout);

/* The virtio device behind a PCI device if it is one with these ops (NULL: with any), else NULL. */
VmcVirtioDevice *vmc_virtio_pci_device(VmcPciDevice *pci, const VmcVirtioOps *ops);
