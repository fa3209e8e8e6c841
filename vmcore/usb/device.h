/*
 * What a USB device is, between the host controller (xhci.h) that brings it to the guest and the device files
 * that do the work. The controller does not know the devices, the devices do not know the controller.
 *
 * A device embeds VmcUsbDevice as its first member and has one const VmcUsbOps. Standard requests and
 * descriptors are done once, in usb_standard.c, from the tables in VmcUsbModel (USB 2.0 chapter 9, USB 3.2
 * chapter 9).
 *
 * A device never holds on to a transfer. It is asked to take or give bytes, and if it cannot yet, it answers
 * VMC_USB_NAK, as on the wire; when it can, it calls vmc_usb_ready, and is asked again. Bytes it has moved
 * stay moved. So the controller may forget a transfer at any time without telling the device, and a device
 * may work on something elsewhere (a disk) without anybody waiting for it.
 *
 * Threads: the home thread is the I/O thread of the machine, and the controller's lock is held while any op
 * but drain and free runs, so ops never wait and never call back into the controller. vmc_usb_ready and
 * vmc_usb_wake are for any thread. What a device shares with other threads (front ends, workers) it protects
 * itself.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>

#include "base/io.h"
#include "base/state.h"

typedef struct VmcUsbDevice VmcUsbDevice;

/* The protocol speed IDs of xHCI 1.2 s7.2.2.1.1, which port registers and slot contexts use too. */
typedef enum VmcUsbSpeed {
    VMC_USB_FULL = 1,
    VMC_USB_LOW = 2,
    VMC_USB_HIGH = 3,
    VMC_USB_SUPER = 4,
} VmcUsbSpeed;

typedef enum VmcUsbStatus {
    VMC_USB_OK,    /* all of it, or a short packet */
    VMC_USB_NAK,   /* not yet: vmc_usb_ready will be called */
    VMC_USB_STALL, /* the endpoint halts; of a control endpoint: no such request */
} VmcUsbStatus;

/* ---- requests (USB 2.0 s9.3) ---- */

typedef struct VmcUsbSetup {
    uint8_t type, request; /* bmRequestType, bRequest */
    uint16_t value, index, length;
} VmcUsbSetup;

#define VMC_USB_IN        0x80u /* of bmRequestType and of endpoint addresses */
#define VMC_USB_CLASS     0x20u
#define VMC_USB_VENDOR    0x40u
#define VMC_USB_DEVICE    0x00u
#define VMC_USB_INTERFACE 0x01u
#define VMC_USB_ENDPOINT  0x02u
#define VMC_USB_OTHER     0x03u

#define VMC_USB_GET_STATUS        0u
#define VMC_USB_CLEAR_FEATURE     1u
#define VMC_USB_SET_FEATURE       3u
#define VMC_USB_SET_ADDRESS       5u
#define VMC_USB_GET_DESCRIPTOR    6u
#define VMC_USB_GET_CONFIGURATION 8u
#define VMC_USB_SET_CONFIGURATION 9u
#define VMC_USB_GET_INTERFACE     10u
#define VMC_USB_SET_INTERFACE     11u
#define VMC_USB_SET_SEL           48u
#define VMC_USB_SET_ISOCH_DELAY   49u

/* The most a control request can move, in bytes: longer ones are refused. */
#define VMC_USB_CONTROL_MAX 1024u

/* bmRequestType and bRequest in one, for switches. */
#define VMC_USB_REQUEST(type, request) ((uint16_t)((type) << 8 | (request)))

/* ---- what a device says of itself ---- */

#define VMC_USB_TRANSFER_BULK      2u
#define VMC_USB_TRANSFER_INTERRUPT 3u

typedef struct VmcUsbEndpointModel {
    uint8_t address;    /* with VMC_USB_IN */
    uint8_t attributes; /* VMC_USB_TRANSFER_... */
    uint16_t max_packet;
    uint16_t max_packet_super; /* 0: the same */
    uint8_t interval;          /* bInterval at high speed: 2^(n-1) microframes of 125 us */
    uint8_t burst;             /* bMaxBurst at SuperSpeed */
} VmcUsbEndpointModel;

/* A device of one configuration and one interface, as all of ours are. */
typedef struct VmcUsbModel {
    uint16_t vendor, product, release;
    uint8_t device_class, device_protocol;
    uint8_t interface_class, interface_subclass, interface_protocol;
    bool self_powered, remote_wakeup;
    const char *product_name; /* ASCII */
    const uint8_t *extra;     /* class descriptors behind the interface's, or NULL */
    uint8_t extra_len;
    uint8_t n_endpoints;
    VmcUsbEndpointModel endpoints[2];
} VmcUsbModel;

/* ---- transfers ---- */

/* Bytes between a device and guest memory. `move` is the controller's: it copies the next `len` bytes, which
 * are within length, to or from `buf`. */
typedef struct VmcUsbTransfer VmcUsbTransfer;
struct VmcUsbTransfer {
    uint8_t endpoint; /* address, with VMC_USB_IN */
    uint32_t length;  /* bytes the guest has room for, or sends */
    uint32_t actual;  /* bytes moved so far; kept while the device answers NAK */
    void (*move)(VmcUsbTransfer *transfer, void *buf, uint32_t len);
};

/* Moves min(len, what is left) bytes and returns how many that was: put to the guest, get from it. */
static inline uint32_t vmc_usb_transfer_put(VmcUsbTransfer *t, const void *buf, uint32_t len)
{
    uint32_t n = len < t->length - t->actual ? len : t->length - t->actual;

    if (n)
        t->move(t, (void *)buf, n);
    t->actual += n;
    return n;
}

static inline uint32_t vmc_usb_transfer_get(VmcUsbTransfer *t, void *buf, uint32_t len)
{
    uint32_t n = len < t->length - t->actual ? len : t->length - t->actual;

    if (n)
        t->move(t, buf, n);
    t->actual += n;
    return n;
}

/* ---- devices ---- */

typedef struct VmcUsbOps {
    const char *name;
    /* A class or vendor request, or a standard one to an interface that usb_standard.c does not know. For IN:
     * fills `data` (VMC_USB_CONTROL_MAX bytes of room) and sets *length, at first setup->length at most that,
     * to how many bytes there are. For OUT: data holds *length bytes. Never NAK. */
    VmcUsbStatus (*control)(VmcUsbDevice *dev, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length);
    /* On an endpoint of the model, when configured and not halted. */
    VmcUsbStatus (*transfer)(VmcUsbDevice *dev, VmcUsbTransfer *transfer);
    /* Bus reset, and SET_CONFIGURATION of whatever value: back to how it was when plugged in, but for what
     * belongs to the world outside (keys held down, the disk). May be NULL. */
    void (*reset)(VmcUsbDevice *dev);
    /* CLEAR_FEATURE(ENDPOINT_HALT). May be NULL. */
    void (*halt_cleared)(VmcUsbDevice *dev, uint8_t endpoint);
    /* The machine goes on after having been paused; nothing to do with a bus that was suspended. May be NULL.
     */
    void (*machine_resumed)(VmcUsbDevice *dev);
    /* The device behind an enabled port (1..) of a hub, or NULL. NULL: not a hub. */
    VmcUsbDevice *(*child)(VmcUsbDevice *dev, unsigned port);
    /* The device plugged into a port (1..n_ports) of a hub, whatever state that is in, or NULL. NULL: not a
     * hub. */
    VmcUsbDevice *(*plugged)(VmcUsbDevice *dev, unsigned port);
    unsigned n_ports;
    /* Waits until nobody works for the device elsewhere. May be NULL: nobody ever does. */
    void (*drain)(VmcUsbDevice *dev);
    /* The end; not on a bus any more, without the controller's lock, not on a vCPU or the I/O thread while a
     * guest runs: it may wait for a disk. Frees the device itself. */
    void (*free)(VmcUsbDevice *dev);
    /* What standard state does not say (base/state.h), after drain; and back into a device that was just
     * plugged in. Its endpoints are asked again afterwards. NULL: a machine with it cannot be saved. */
    void (*save)(VmcUsbDevice *dev, VmcStateWriter *w);
    bool (*load)(VmcUsbDevice *dev, VmcStateReader *r);
} VmcUsbOps;

struct VmcUsbDevice {
    const VmcUsbOps *ops;
    const VmcUsbModel *model;
    char *serial; /* iSerialNumber, owned, ASCII, or NULL */
    bool super;   /* can SuperSpeed */

    /* Set by whoever it is plugged into; the bell is the controller's. */
    VmcUsbSpeed speed;
    VmcDoorbell *bell;
    _Atomic uint32_t ready; /* endpoints to be asked again, see vmc_usb_endpoint_bit */
    atomic_bool wake;       /* remote wake-up is wanted */

    /* Standard state (USB 2.0 s9.1), usb_standard.c. */
    uint8_t address, configuration;
    bool wakeup_enabled;
    uint32_t halted; /* vmc_usb_endpoint_bit */
};

/* Endpoint number * 2, + 1 for IN: xHCI's device context index. */
static inline unsigned vmc_usb_endpoint_index(uint8_t address)
{
    return (address & 15u) * 2 + (address >> 7);
}

static inline uint32_t vmc_usb_endpoint_bit(uint8_t address)
{
    return 1u << vmc_usb_endpoint_index(address);
}

/* Sets up the base; its memory was zeroed by the caller. `serial` is copied. */
void vmc_usb_device_init(VmcUsbDevice *dev, const VmcUsbOps *ops, const VmcUsbModel *model,
                         const char *serial);
void vmc_usb_device_clear(VmcUsbDevice *dev);
/* ops->free. NULL is fine. */
void vmc_usb_device_free(VmcUsbDevice *dev);

/* A transfer on this endpoint (address with VMC_USB_IN) may get on now. Any thread. */
static inline void vmc_usb_ready(VmcUsbDevice *dev, uint8_t endpoint)
{
    atomic_fetch_or(&dev->ready, vmc_usb_endpoint_bit(endpoint));
    if (dev->bell)
        vmc_doorbell_ring(dev->bell);
}

/* Something has happened for which a suspended bus is to be woken, if the guest has allowed that. Any thread.
 */
static inline void vmc_usb_wake(VmcUsbDevice *dev)
{
    atomic_store(&dev->wake, true);
    if (dev->bell)
        vmc_doorbell_ring(dev->bell);
}

/* ---- for controllers and hubs: the I/O thread, with the controller's lock (usb_standard.c) ---- */

/* Bus reset: address 0, not configured. */
void vmc_usb_device_reset(VmcUsbDevice *dev);
/* ops->machine_resumed. NULL is fine. */
void vmc_usb_device_machine_resumed(VmcUsbDevice *dev);
/* A control request, standard ones included; `data` and `length` as in ops->control. */
VmcUsbStatus vmc_usb_control(VmcUsbDevice *dev, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length);
/* A transfer on another endpoint. */
VmcUsbStatus vmc_usb_transfer(VmcUsbDevice *dev, VmcUsbTransfer *transfer);
