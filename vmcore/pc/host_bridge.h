/*
 * The memory controller hub's host bridge, 00:00.0 8086:29C0 (Intel 3 Series Express Chipset data sheet
 * s5.1), and both ways to configuration space: CF8h/CFCh and the memory-mapped one (ECAM) where PCIEXBAR
 * says.
 *
 * Threads: any.
 */
#pragma once

#include "base/bus.h"
#include "pc/legacy.h"
#include "pci/pci.h"

typedef struct VmcHostBridge VmcHostBridge;

/* Makes the bridge and puts it on `pci`, which owns it. `legacy` answers for CF9h. */
VmcHostBridge *vmc_host_bridge_new(VmcPciBus *pci, VmcBus *pio, VmcBus *mmio, VmcLegacy *legacy);

/* Where ECAM is now, or 0. Any thread. */
uint64_t vmc_host_bridge_ecam(VmcHostBridge *bridge);

/* What firmware programs after reset: ECAM of 256 buses at `base`, which is 256 MiB aligned. */
void vmc_host_bridge_firmware_setup(VmcHostBridge *bridge, uint64_t base);
