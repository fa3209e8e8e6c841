/*
 * The xHCI host controller (xHCI 1.2; it says 1.0 of itself): four USB 2 ports, four SuperSpeed ports, eight
 * interrupters, MSI-X or INTx.
 *
 * All USB devices of a machine hang on one controller. When its root ports run out, hubs take the last ones:
 * that is done here, whoever attaches a device says nothing of ports.
 *
 * Threads: attach and detach on any thread but a vCPU's, while the I/O thread runs; they wait for it, not for
 * the guest.
 */
#pragma once

#include "base/io.h"
#include "base/memory.h"
#include "pci/pci.h"
#include "usb/device.h"

/* A controller without devices, for vmc_pci_bus_add; frees with the devices on it. Both must outlive it.
 * NULL only when the host has no file descriptor left. */
VmcPciDevice *vmc_xhci_new(VmcMemory *memory, VmcIo *io);

/* Plugs a device in, and owns it from then on. False with `error` set (VMC_ERROR_CONFIG) when there is no
 * port left; the device is still the caller's. */
bool vmc_xhci_attach(VmcPciDevice *xhci, VmcUsbDevice *dev, GError **error);

/* Pulls a device out: the guest sees it gone, its transfers end with errors, and it is the caller's again,
 * to be freed with vmc_usb_device_free (which waits until what it was doing is done). A hub that was made for
 * it stays. `dev` is on this controller. */
void vmc_xhci_detach(VmcPciDevice *xhci, VmcUsbDevice *dev);
