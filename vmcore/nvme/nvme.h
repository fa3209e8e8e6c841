/*
 * An NVMe controller with one namespace: a disk for guests that know no virtio, as UEFI firmware, Windows and
 * macOS bring a driver for it.
 *
 * Source: NVM Express Base Specification 1.4, of which the comments in this folder name the sections.
 *
 * Threads: vCPUs access registers and doorbells and never wait; commands are worked on by the I/O thread.
 * Freeing (vmc_pci_bus_free) waits for requests in flight, with the I/O thread running.
 */
#pragma once

#include "base/host.h"
#include "base/io.h"
#include "base/memory.h"
#include "block/change.h"
#include "pci/pci.h"
#include "vmcore/config.h"

#define VMC_NVME_QUEUES_MAX   16u
#define VMC_NVME_SERIAL_BYTES 20u

typedef struct VmcNvmeParams {
    VmcMemory *memory;
    VmcIo *io;
    const VmcHostHooks *hooks; /* or NULL: there is nobody to tell; outlives the device */
    VmcDisk *disk;             /* the controller's from now on, also when it cannot be made */
    const char *serial; /* ASCII, VMC_NVME_SERIAL_BYTES of it at most; the namespace's identifier follows
                         * from it, so no two disks of a machine may have the same */
    unsigned queues;    /* pairs for I/O, 1 to VMC_NVME_QUEUES_MAX */
    VmcDiskCache cache;
} VmcNvmeParams;

/* NULL: the host has no file descriptor or thread left. */
VmcPciDevice *vmc_nvme_new(const VmcNvmeParams *params);

/* The namespace's identifier, its first octet in the highest bits. `dev` is such a device. Any thread. */
uint64_t vmc_nvme_eui64(VmcPciDevice *dev);

/* For making the disk larger, of which the driver hears (s5.2), or keeping it as it is, while the machine
 * runs or is paused. NULL: it is no such device. Any thread. */
VmcDiskChanges *vmc_nvme_changes(VmcPciDevice *dev);
