/*
 * A bus: who answers at which address. One instance for port I/O (64 KiB), one for memory-mapped I/O.
 *
 * Devices register regions; CPUs call vmc_bus_read and vmc_bus_write from their own threads. A region may be
 * added, moved or removed while CPUs run (PCI BARs): look-ups take a reader lock that is dropped before
 * the device is called, so a device may itself change the map from inside its handler.
 *
 * An access nobody claims reads as all ones and is dropped on write, as on a PC.
 * Handlers get an offset inside their region and a size of 1, 2, 4 or 8 bytes; an access that straddles a
 * region's end is split into bytes by the bus. Handlers run on vCPU threads and must not wait.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct VmcRegionOps {
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value);
} VmcRegionOps;

typedef struct VmcBus VmcBus;

VmcBus *vmc_bus_new(const char *name);
void vmc_bus_free(VmcBus *bus);

/* Adds a region. `name` must outlive it. If regions overlap, the one added last answers. */
void vmc_bus_add(VmcBus *bus, const char *name, uint64_t base, uint64_t size, const VmcRegionOps *ops,
                 void *opaque);
/* Removes every region with this ops/opaque pair and base. When it returns no new call will start; a call
 * under way on another vCPU may still be running, so free devices only once the CPUs have stopped. */
void vmc_bus_remove(VmcBus *bus, uint64_t base, const VmcRegionOps *ops, void *opaque);

uint64_t vmc_bus_read(VmcBus *bus, uint64_t addr, unsigned size);
void vmc_bus_write(VmcBus *bus, uint64_t addr, unsigned size, uint64_t value);
