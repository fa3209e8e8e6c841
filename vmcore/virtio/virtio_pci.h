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

/* The virtio device behind a PCI device if it is one with these ops (NULL: with any), else NULL. */
VmcVirtioDevice *vmc_virtio_pci_device(VmcPciDevice *pci, const VmcVirtioOps *ops);
