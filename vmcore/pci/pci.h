/*
 * PCI devices and the bus they sit on, for any board: configuration space, BARs that move, INTx, MSI-X.
 * A board makes one VmcPciBus, gives it its buses and wires, and forwards configuration accesses (CF8/CFC,
 * ECAM) to vmc_pci_bus_config_read/write. A device embeds VmcPciDevice as its first member.
 *
 * Sources: PCI Local Bus 3.0; PCI Express Base 4.0 s7.5 (ECAM); MSI-X: PCI 3.0 s6.8.2.
 *
 * Threads: devices are added before the machine runs. Configuration and MSI-X table accesses come from vCPU
 * threads and are serialised by the bus lock, which is not held while a device's BAR handlers run.
 * vmc_pci_msix_notify and vmc_pci_intx may be called from any thread: they take a lock of their own, never
 * the bus lock, so a config hook may wait for the I/O thread.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/irq.h"
#include "base/memory.h"
#include "base/state.h"

typedef struct VmcPciBus VmcPciBus;
typedef struct VmcPciDevice VmcPciDevice;

/* What CPUs can do for doorbells, as in VmcCpuBackend; all NULL: nothing. */
typedef struct VmcPciDoorbellOps {
    bool (*add)(void *opaque, uint64_t address, int fd);
    void (*remove)(void *opaque, uint64_t address, int fd);
    void *opaque;
} VmcPciDoorbellOps;

typedef struct VmcPciBusParams {
    VmcBus *pio, *mmio;
    VmcMsi msi;
    VmcPciDoorbellOps doorbells;
    VmcIrq intx[8]; /* PIRQ A..H; INTx of slot d, pin p (0..3) goes to intx[(d + p) & 7] */
} VmcPciBusParams;

typedef struct VmcPciDeviceOps {
    const char *name;
    /* Accesses to BARs the device declared. `bar` 0..5. vCPU threads. */
    uint64_t (*bar_read)(VmcPciDevice *dev, unsigned bar, uint64_t offset, unsigned size);
    void (*bar_write)(VmcPciDevice *dev, unsigned bar, uint64_t offset, unsigned size, uint64_t value);
    /* After a write to configuration space outside the standard registers (may be NULL). */
    void (*config_written)(VmcPciDevice *dev, unsigned offset, unsigned size);
    /* Before a read, so a window register can be filled in (may be NULL). */
    void (*config_reading)(VmcPciDevice *dev, unsigned offset, unsigned size);
    /* Bus Master Enable changed: without it a function must not touch memory (may be NULL). vCPU threads. */
    void (*bus_master)(VmcPciDevice *dev, bool on);
    void (*reset)(VmcPciDevice *dev); /* back to power-on; vCPUs stand still */
    /* The machine goes on after having been paused; vCPUs still stand (may be NULL). The owner's thread. */
    void (*resumed)(VmcPciDevice *dev);
    void (*free)(VmcPciDevice *dev);
    /* A paused machine is about to be saved: starts nothing new, and waits until nothing it has started
     * touches guest memory or a disk any more. The owner's thread, with the I/O thread running; vCPUs stand
     * still. NULL: it does nothing but when a vCPU makes it. */
    void (*hold)(VmcPciDevice *dev);
    /* It goes on after hold, whatever became of the save. The same thread. May be NULL. */
    void (*release)(VmcPciDevice *dev);
    /* Everything but what pci.c knows (configuration space, BARs, INTx, MSI-X), on the I/O thread between
     * hold and release; and the same back into a device that was just made and reset, vCPUs stand still and
     * guest memory is there: base/state.h. Configuration space is loaded already; hooks were not called, and
     * the device does nothing before release, since what is loaded later may yet turn out to be wrong. False
     * is vmc_state_ok's, and the device is thrown away then. NULL: a machine with it cannot be saved.
     */
    void (*save)(VmcPciDevice *dev, VmcStateWriter *w);
    bool (*load)(VmcPciDevice *dev, VmcStateReader *r);
} VmcPciDeviceOps;

typedef struct VmcPciIdentity {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_code; /* 24 bits: base, sub, interface */
    uint8_t revision;
} VmcPciIdentity;

#define VMC_PCI_CONFIG_SIZE 4096u
typedef struct VmcPciBar {
    uint64_t size;           /* power of two; 0: not there */
    bool io, wide, prefetch; /* port BAR; 64-bit; prefetchable */
    uint64_t mapped_at;      /* where it is on the bus now, or UINT64_MAX */
    VmcMemory *memory;       /* not NULL: the BAR is this memory's movable slot */
    unsigned slot;
    GArray *bells; /* doorbell.c's, as is the next: where they are */
    uint64_t bells_at;
    VmcPciDevice *dev; /* whose it is and */
    unsigned index;    /* which: what the bus region's handlers are given */
} VmcPciBar;

struct VmcPciDevice {
    const VmcPciDeviceOps *ops;
    VmcPciBus *bus;
    unsigned devfn; /* slot << 3 | function */
    uint8_t config[VMC_PCI_CONFIG_SIZE];
    uint8_t writable[VMC_PCI_CONFIG_SIZE]; /* bits software may change */
    VmcPciBar bars[6];
    unsigned next_capability; /* where the next capability goes */
    struct VmcMsix *msix;     /* NULL: none */
    bool intx_level;          /* what the device drives */
    bool intx_asserted;       /* what arrives at the wire: not with MSI-X or Interrupt Disable */
    bool intx_disabled;       /* Command bit 10, kept under the interrupt lock */
    uint8_t *power_on;        /* configuration space as it was when the device was put on the bus */
};

VmcPciBus *vmc_pci_bus_new(const VmcPciBusParams *params);
void vmc_pci_bus_free(VmcPciBus *bus); /* frees its devices through ops->free */

/* Configuration access; `devfn` bits 7:0, offset < 4096. Absent devices read as all ones. */
uint32_t vmc_pci_bus_config_read(VmcPciBus *bus, unsigned devfn, unsigned offset, unsigned size);
void vmc_pci_bus_config_write(VmcPciBus *bus, unsigned devfn, unsigned offset, unsigned size, uint32_t value);
void vmc_pci_bus_reset(VmcPciBus *bus);
/* Tells every device that a paused machine is about to go on. */
void vmc_pci_bus_resumed(VmcPciBus *bus);
/* Saving and loading all devices; threads and order as their ops say. */
void vmc_pci_bus_hold(VmcPciBus *bus);
void vmc_pci_bus_release(VmcPciBus *bus);
void vmc_pci_bus_save(VmcPciBus *bus, VmcStateWriter *w);
bool vmc_pci_bus_load(VmcPciBus *bus, VmcStateReader *r);
/* For firmware-less boots: gives every BAR an address from the windows, sets interrupt lines and enables
 * decoding, as a BIOS would. `irq_of_pirq` maps PIRQ A..H to the value of the Interrupt Line register. */
void vmc_pci_bus_assign(VmcPciBus *bus, uint64_t mmio_base, uint64_t mmio_end, uint16_t io_base,
                        const uint8_t irq_of_pirq[8]);

/* From the lowest to the highest address above 4 GiB that firmware has given to a BAR; false: to none. */
bool vmc_pci_bus_high_range(VmcPciBus *bus, uint64_t *first, uint64_t *last);

/* Sets up a device the caller allocated: identity, header type 0. Not on a bus yet. */
void vmc_pci_device_init(VmcPciDevice *dev, const VmcPciDeviceOps *ops, const VmcPciIdentity *identity);
void vmc_pci_device_clear(VmcPciDevice *dev);
void vmc_pci_device_add_bar(VmcPciDevice *dev, unsigned bar, uint64_t size, bool io, bool wide,
                            bool prefetch);
/* Makes memory of a memory BAR: accesses go to a movable slot of the BAR's size, which must outlive the
 * device, and no handler is called. */
void vmc_pci_device_set_bar_memory(VmcPciDevice *dev, unsigned bar, VmcMemory *memory, unsigned slot);
/* A write to this place of a memory BAR does no more than ring the eventfd `fd`, so CPUs may do that
 * themselves, now and wherever the BAR moves. Those that cannot go on calling bar_write. Any thread. */
void vmc_pci_device_add_doorbell(VmcPciDevice *dev, unsigned bar, uint64_t offset, int fd);
/* All of a BAR's. When it returns, the CPUs ring none any more. Any thread. */
void vmc_pci_device_remove_doorbells(VmcPciDevice *dev, unsigned bar);
/* Where a BAR is decoded now, or UINT64_MAX. */
uint64_t vmc_pci_device_bar_address(VmcPciDevice *dev, unsigned bar);
/* Reserves `size` bytes for a capability and returns its offset; the two header bytes are filled in. */
unsigned vmc_pci_device_add_capability(VmcPciDevice *dev, uint8_t id, unsigned size);
/* MSI-X with its table and PBA in a BAR of their own. */
void vmc_pci_device_add_msix(VmcPciDevice *dev, unsigned bar, unsigned vectors);
/* Puts it on the bus, which owns it from now on. `slot` 0..31, or -1 for the next free one from 1 on. False:
 * full. */
bool vmc_pci_bus_add(VmcPciBus *bus, VmcPciDevice *dev, int slot, unsigned function);

bool vmc_pci_msix_enabled(VmcPciDevice *dev);
/* Sends vector n; remembers it in the PBA while masked. No-op when n is out of range. */
void vmc_pci_msix_notify(VmcPciDevice *dev, unsigned n);
void vmc_pci_intx(VmcPciDevice *dev, bool level);
