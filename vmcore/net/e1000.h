/*
 * The Intel 82545EM network card (8086:100F), for guests that know no virtio: macOS before 11, and most
 * others.
 *
 * Source: "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" (317453), called SDM
 * below with its sections.
 *
 * Threads: registers are accessed by vCPUs and by the I/O thread under the card's lock, which is never held
 * while anybody else is called but the PCI interrupt line; rings are worked on by the I/O thread alone.
 */
#pragma once

#include "base/io.h"
#include "base/memory.h"
#include "net/cable.h"
#include "pci/pci.h"

/* A card with its cable, which it owns from now on. NULL when the host has no file descriptor left; the cable
 * is freed then, too. */
VmcPciDevice *vmc_e1000_new(VmcMemory *memory, VmcIo *io, VmcCable *cable, const uint8_t mac[VMC_MAC_BYTES]);

/* Pulls the cable or plugs it in. Any thread. */
void vmc_e1000_set_link(VmcPciDevice *card, bool up);
bool vmc_e1000_link(VmcPciDevice *card); /* any thread */
/* The address the card was made with. */
void vmc_e1000_get_mac(VmcPciDevice *card, uint8_t mac[VMC_MAC_BYTES]);
/* Its cable, for counters and addresses; the card's. */
VmcCable *vmc_e1000_cable(VmcPciDevice *card);
