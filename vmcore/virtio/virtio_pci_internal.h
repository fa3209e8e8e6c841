/* The virtio-pci transport: what its files share. */
#pragma once

#include "virtio/virtio_pci.h"

#define STATUS_DRIVER_OK   0x04u
#define STATUS_FEATURES_OK 0x08u
#define STATUS_NEEDS_RESET 0x40u
#define STATUS_WRITABLE    0x8fu

#define ISR_QUEUE  1u
#define ISR_CONFIG 2u
#define NO_VECTOR  0xffffu

#define OWN_FEATURES (VMC_VIRTIO_F_VERSION_1 | VMC_VIRTIO_F_EVENT_IDX | VMC_VIRTIO_F_INDIRECT_DESC)

typedef struct VirtioPci VirtioPci;

typedef struct PciQueue {
    VirtioPci *vp;
    VmcDoorbell *bell;
    VmcVirtqueueSetup setup;
    bool enabled;
    _Atomic uint16_t vector;
} PciQueue;

struct VirtioPci {
    VmcPciDevice pci; /* first: the two are cast into one another */
    VmcVirtioDevice *dev;
    const VmcVirtioPciLayout *layout;
    uint64_t registers_size; /* of the BAR */
    unsigned n_queues, vectors, window;

    GMutex lock; /* the registers, among vCPUs */
    uint32_t device_feature_select, driver_feature_select;
    uint64_t driver_features;
    uint16_t queue_select;
    PciQueue queues[VMC_VIRTIO_QUEUES_MAX];

    _Atomic uint8_t status, generation;
    _Atomic uint16_t config_vector;
    atomic_bool resetting; /* asked for and not done */

    GMutex isr_lock; /* isr and the wire that follows it */
    uint8_t isr;
};

/* virtio_pci.c */
uint64_t vmc_virtio_pci_offered(const VirtioPci *vp);
/* Offers the bells of the queues in use to the CPUs, when the device begins to run. */
void vmc_virtio_pci_add_doorbells(VirtioPci *vp);
/* What a vector register makes of what is written: one there is, or none. */
uint16_t vmc_virtio_pci_vector(const VirtioPci *vp, uint64_t value);
void vmc_virtio_pci_bus_master(VmcPciDevice *pci, bool on);
/* virtio_pci_save.c: as in VmcPciDeviceOps */
void vmc_virtio_pci_hold(VmcPciDevice *pci);
void vmc_virtio_pci_release(VmcPciDevice *pci);
void vmc_virtio_pci_save(VmcPciDevice *pci, VmcStateWriter *w);
bool vmc_virtio_pci_load(VmcPciDevice *pci, VmcStateReader *r);
