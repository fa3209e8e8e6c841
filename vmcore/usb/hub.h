/* A USB 2.0 hub of eight ports (hub.c), for the controller, which plugs devices into it. All but new and free
 * on the I/O thread with the controller's lock; `dev` is the hub. */
#pragma once

#include "usb/device.h"

#define VMC_USB_HUB_PORTS 8u

/* Owns what is plugged into it, until that is pulled out. */
VmcUsbDevice *vmc_usb_hub_new(void);
/* The first port (1..) without a device, or 0. */
unsigned vmc_usb_hub_free_port(const VmcUsbDevice *dev);
/* Into a port that is free. The guest is told. */
void vmc_usb_hub_plug(VmcUsbDevice *dev, unsigned number, VmcUsbDevice *new_dev);
/* Nothing happens if it is not there. */
void vmc_usb_hub_unplug(VmcUsbDevice *dev, const VmcUsbDevice *old_dev);
