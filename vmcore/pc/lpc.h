/*
 * The ICH9's LPC bridge, 00:1f.0 8086:2918 (ICH9 data sheet s13.1): where the PM block is, and which ISA
 * interrupts the PCI interrupt wires PIRQ A..H also go to for guests without the IOAPIC. With it they are
 * GSI 16..23.
 *
 * Threads: vmc_lpc_pirq from any. Its lock is held while wires are set.
 */
#pragma once

#include <stdbool.h>

#include "pc/pm.h"
#include "pc/wires.h"
#include "pci/pci.h"

typedef struct VmcLpc VmcLpc;

#define VMC_LPC_SLOT 31

/* The bridge belongs to the PCI bus once vmc_lpc_add has put it there; it is made before because the bus
 * needs its PIRQs. */
VmcLpc *vmc_lpc_new(VmcPm *pm, VmcWires *wires, VmcBus *mmio);
void vmc_lpc_add(VmcLpc *lpc, VmcPciBus *bus);

/* PIRQ A..H (0..7); the `set` of a VmcIrq whose opaque is the VmcLpc. */
void vmc_lpc_pirq(void *lpc, unsigned pirq, bool level);

/* What firmware programs after reset: the PM block at VMC_PM_BASE, PIRQs to the ISA interrupts of
 * `irq_of_pirq`. */
void vmc_lpc_firmware_setup(VmcLpc *lpc, const uint8_t irq_of_pirq[8]);
