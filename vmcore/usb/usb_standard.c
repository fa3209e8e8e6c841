/*
 * Standard requests and descriptors, the same for every device (USB 2.0 s9.4 and s9.6; for SuperSpeed USB 3.2
 * s9.4 and s9.6: BOS, endpoint companions, SET_SEL).
 *
 * A device has one configuration (value 1) with one interface of one setting. Its speed is what the port it
 * is plugged into gives it: descriptors say then what is true at that speed.
 */
#include <glib.h>
#include <string.h>

#include "usb/device.h"

#define DESC_DEVICE      1u
#define DESC_CONFIG      2u
#define DESC_STRING      3u
#define DESC_INTERFACE   4u
#define DESC_ENDPOINT    5u
#define DESC_QUALIFIER   6u
#define DESC_OTHER_SPEED 7u
#define DESC_BOS         15u
#define DESC_CAPABILITY  16u
#define DESC_COMPANION   48u

#define STRING_VENDOR  1u
#define STRING_PRODUCT 2u
#define STRING_SERIAL  3u

#define FEATURE_HALT          0u
#define FEATURE_REMOTE_WAKEUP 1u
#define FEATURE_U1_ENABLE     48u
#define FEATURE_U2_ENABLE     49u
#define FEATURE_LTM_ENABLE    50u

#define LANGUAGE_US 0x0409u

/* A descriptor that is being put together; what does not fit into a control request is cut off there, but
 * no model of ours comes near. */
typedef struct Out {
    uint8_t *data;
    uint32_t len;
} Out;

static void put8(Out *out, unsigned value)
{
    if (out->len < VMC_USB_CONTROL_MAX)
        out->data[out->len++] = (uint8_t)value;
}

static void put16(Out *out, unsigned value)
{
    put8(out, value);
    put8(out, value >> 8);
}

/* ---- descriptors (s9.6) ---- */

static void device_descriptor(const VmcUsbDevice *dev, Out *out)
{
    const VmcUsbModel *model = dev->model;
    bool super = dev->speed == VMC_USB_SUPER;

    put8(out, 18);
    put8(out, DESC_DEVICE);
    put16(out, super ? 0x0320 : 0x0200);
    put8(out, model->device_class);
    put8(out, 0);
    put8(out, model->device_protocol);
    put8(out, super ? 9 : 64); /* SuperSpeed: 2^9 */
    put16(out, model->vendor);
    put16(out, model->product);
    put16(out, model->release);
    put8(out, STRING_VENDOR);
    put8(out, STRING_PRODUCT);
    put8(out, dev->serial ? STRING_SERIAL : 0);
    put8(out, 1);
}

/* s9.6.2: what would differ at the other of full and high speed. Ours work the same at both. */
static void qualifier_descriptor(const VmcUsbDevice *dev, Out *out)
{
    put8(out, 10);
    put8(out, DESC_QUALIFIER);
    put16(out, 0x0200);
    put8(out, dev->model->device_class);
    put8(out, 0);
    put8(out, dev->model->device_protocol);
    put8(out, 64);
    put8(out, 1);
    put8(out, 0);
}

static void endpoint_descriptor(const VmcUsbDevice *dev, const VmcUsbEndpointModel *ep, Out *out)
{
    bool super = dev->speed == VMC_USB_SUPER;

    put8(out, 7);
    put8(out, DESC_ENDPOINT);
    put8(out, ep->address);
    put8(out, ep->attributes);
    put16(out, super && ep->max_packet_super ? ep->max_packet_super : ep->max_packet);
    put8(out, ep->interval);
    if (!super)
        return;
    put8(out, 6);
    put8(out, DESC_COMPANION);
    put8(out, ep->burst);
    put8(out, 0);
    put16(out, ep->attributes == VMC_USB_TRANSFER_INTERRUPT ? ep->max_packet * (ep->burst + 1u) : 0);
}

static void config_descriptor(const VmcUsbDevice *dev, unsigned type, Out *out)
{
    const VmcUsbModel *model = dev->model;

    put8(out, 9);
    put8(out, type);
    put16(out, 0); /* the length of it all, below */
    put8(out, 1);
    put8(out, 1);
    put8(out, 0);
    put8(out, 0x80 | (model->self_powered ? 0x40 : 0) | (model->remote_wakeup ? 0x20 : 0));
    put8(out, model->self_powered ? 0 : 50); /* 100 mA, or 400 mA at SuperSpeed */
    put8(out, 9);
    put8(out, DESC_INTERFACE);
    put8(out, 0);
    put8(out, 0);
    put8(out, model->n_endpoints);
    put8(out, model->interface_class);
    put8(out, model->interface_subclass);
    put8(out, model->interface_protocol);
    put8(out, 0);
    for (unsigned i = 0; i < model->extra_len; i++)
        put8(out, model->extra[i]);
    for (unsigned i = 0; i < model->n_endpoints; i++)
        endpoint_descriptor(dev, &model->endpoints[i], out);
    out->data[2] = (uint8_t)out->len;
    out->data[3] = (uint8_t)(out->len >> 8);
}

/* USB 3.2 s9.6.2: the USB 2.0 extension and SuperSpeed capabilities. */
static void bos_descriptor(Out *out)
{
    static const uint8_t bos[] = {
        5,  DESC_BOS,        22, 0, 2,                    /* 22 bytes, two capabilities */
        7,  DESC_CAPABILITY, 2,  0, 0, 0, 0,              /* USB 2.0 extension: no LPM */
        10, DESC_CAPABILITY, 3,  0, 8, 0, 3, 10, 0xff, 7, /* 5 Gb/s only, U1 in 10 us, U2 in 2047 us */
    };

    memcpy(out->data, bos, sizeof(bos));
    out->len = sizeof(bos);
}

static bool string_descriptor(const VmcUsbDevice *dev, unsigned index, Out *out)
{
    const char *text = index == STRING_VENDOR    ? "Espalier"
                       : index == STRING_PRODUCT ? dev->model->product_name
                       : index == STRING_SERIAL  ? dev->serial
                                                 : NULL;

    if (index && !text)
        return false;
    put8(out, 0);
    put8(out, DESC_STRING);
    if (!index)
        put16(out, LANGUAGE_US);
    for (unsigned i = 0; text && text[i] && i < 126; i++)
        put16(out, (uint8_t)text[i]);
    out->data[0] = (uint8_t)out->len;
    return true;
}

static VmcUsbStatus get_descriptor(const VmcUsbDevice *dev, const VmcUsbSetup *setup, uint8_t *data,
                                   uint32_t *length)
{
    Out out = {data, 0};
    unsigned type = setup->value >> 8, index = setup->value & 0xff;
    bool super = dev->speed == VMC_USB_SUPER;

    if (type == DESC_STRING) {
        if (!string_descriptor(dev, index, &out))
            return VMC_USB_STALL;
    } else if (index) {
        return VMC_USB_STALL;
    } else if (type == DESC_DEVICE) {
        device_descriptor(dev, &out);
    } else if (type == DESC_CONFIG) {
        config_descriptor(dev, type, &out);
    } else if (type == DESC_QUALIFIER && !super) {
        qualifier_descriptor(dev, &out);
    } else if (type == DESC_OTHER_SPEED && !super) {
        config_descriptor(dev, type, &out);
    } else if (type == DESC_BOS && super) {
        bos_descriptor(&out);
    } else {
        return VMC_USB_STALL;
    }
    *length = MIN(*length, out.len);
    return VMC_USB_OK;
}

/* ---- requests (s9.4) ---- */

static const VmcUsbEndpointModel *find_endpoint(const VmcUsbDevice *dev, unsigned address)
{
    for (unsigned i = 0; dev->configuration && i < dev->model->n_endpoints; i++)
        if (dev->model->endpoints[i].address == address)
            return &dev->model->endpoints[i];
    return NULL;
}

static VmcUsbStatus reply(uint8_t *data, uint32_t *length, unsigned value, uint32_t size)
{
    data[0] = (uint8_t)value;
    data[1] = (uint8_t)(value >> 8);
    *length = MIN(*length, size);
    return VMC_USB_OK;
}

static VmcUsbStatus set_configuration(VmcUsbDevice *dev, unsigned value)
{
    if (value > 1)
        return VMC_USB_STALL;
    dev->configuration = (uint8_t)value;
    dev->halted = 0;
    if (dev->ops->reset)
        dev->ops->reset(dev);
    return VMC_USB_OK;
}

static VmcUsbStatus device_feature(VmcUsbDevice *dev, unsigned feature, bool set)
{
    switch (feature) {
    case FEATURE_REMOTE_WAKEUP:
        if (!dev->model->remote_wakeup)
            return VMC_USB_STALL;
        dev->wakeup_enabled = set;
        return VMC_USB_OK;
    case FEATURE_U1_ENABLE: /* link states have no meaning here */
    case FEATURE_U2_ENABLE:
    case FEATURE_LTM_ENABLE:
        return dev->speed == VMC_USB_SUPER ? VMC_USB_OK : VMC_USB_STALL;
    default:
        return VMC_USB_STALL;
    }
}

static VmcUsbStatus endpoint_halt(VmcUsbDevice *dev, const VmcUsbSetup *setup, bool set)
{
    uint8_t address = setup->index & 0x8f;

    if (setup->value != FEATURE_HALT)
        return VMC_USB_STALL;
    if (!(address & 15))
        return VMC_USB_OK; /* endpoint 0 recovers by itself */
    if (!find_endpoint(dev, address))
        return VMC_USB_STALL;
    if (set) {
        dev->halted |= vmc_usb_endpoint_bit(address);
        return VMC_USB_OK;
    }
    dev->halted &= ~vmc_usb_endpoint_bit(address);
    if (dev->ops->halt_cleared)
        dev->ops->halt_cleared(dev, address);
    return VMC_USB_OK;
}

/* Of the interface of a USB 3 device: function remote wake and the like, of which there is none. */
static VmcUsbStatus to_interface(VmcUsbDevice *dev, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length)
{
    if (setup->index & 0xff || !dev->configuration)
        return VMC_USB_STALL;
    switch (setup->request) {
    case VMC_USB_GET_STATUS:
        return reply(data, length, 0, 2);
    case VMC_USB_GET_INTERFACE:
        return reply(data, length, 0, 1);
    case VMC_USB_SET_INTERFACE:
        return setup->value ? VMC_USB_STALL : VMC_USB_OK;
    default:
        return dev->ops->control(dev, setup, data, length);
    }
}

static VmcUsbStatus to_endpoint(VmcUsbDevice *dev, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length)
{
    uint8_t address = setup->index & 0x8f;

    switch (setup->request) {
    case VMC_USB_GET_STATUS:
        if ((address & 15) && !find_endpoint(dev, address))
            return VMC_USB_STALL;
        return reply(data, length, !!(dev->halted & vmc_usb_endpoint_bit(address)), 2);
    case VMC_USB_CLEAR_FEATURE:
        return endpoint_halt(dev, setup, false);
    case VMC_USB_SET_FEATURE:
        return endpoint_halt(dev, setup, true);
    default:
        return VMC_USB_STALL;
    }
}

static VmcUsbStatus to_device(VmcUsbDevice *dev, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length)
{
    switch (setup->request) {
    case VMC_USB_GET_STATUS:
        return reply(data, length, (dev->model->self_powered ? 1 : 0) | (dev->wakeup_enabled ? 2 : 0), 2);
    case VMC_USB_CLEAR_FEATURE:
        return device_feature(dev, setup->value, false);
    case VMC_USB_SET_FEATURE:
        return device_feature(dev, setup->value, true);
    case VMC_USB_SET_ADDRESS:
        if (setup->value > 127)
            return VMC_USB_STALL;
        dev->address = (uint8_t)setup->value;
        return VMC_USB_OK;
    case VMC_USB_GET_DESCRIPTOR:
        return get_descriptor(dev, setup, data, length);
    case VMC_USB_GET_CONFIGURATION:
        return reply(data, length, dev->configuration, 1);
    case VMC_USB_SET_CONFIGURATION:
        return set_configuration(dev, setup->value);
    case VMC_USB_SET_SEL: /* exit latencies mean nothing here */
    case VMC_USB_SET_ISOCH_DELAY:
        return dev->speed == VMC_USB_SUPER ? VMC_USB_OK : VMC_USB_STALL;
    default:
        return VMC_USB_STALL;
    }
}

/* Which way data goes for each standard request: a request the wrong way round is none. */
static bool direction_fits(const VmcUsbSetup *setup)
{
    bool in = setup->type & VMC_USB_IN;

    switch (setup->request) {
    case VMC_USB_GET_STATUS:
    case VMC_USB_GET_DESCRIPTOR:
    case VMC_USB_GET_CONFIGURATION:
    case VMC_USB_GET_INTERFACE:
        return in;
    default:
        return !in;
    }
}

VmcUsbStatus vmc_usb_control(VmcUsbDevice *dev, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length)
{
    unsigned recipient = setup->type & 0x1f;

    if (*length > VMC_USB_CONTROL_MAX)
        return VMC_USB_STALL;
    if (setup->type & (VMC_USB_CLASS | VMC_USB_VENDOR))
        return dev->ops->control(dev, setup, data, length);
    if (!direction_fits(setup))
        return VMC_USB_STALL;
    switch (recipient) {
    case VMC_USB_DEVICE:
        return to_device(dev, setup, data, length);
    case VMC_USB_INTERFACE:
        return to_interface(dev, setup, data, length);
    case VMC_USB_ENDPOINT:
        return to_endpoint(dev, setup, data, length);
    default:
        return VMC_USB_STALL;
    }
}

VmcUsbStatus vmc_usb_transfer(VmcUsbDevice *dev, VmcUsbTransfer *transfer)
{
    uint32_t bit = vmc_usb_endpoint_bit(transfer->endpoint);
    VmcUsbStatus status;

    if (!find_endpoint(dev, transfer->endpoint) || (dev->halted & bit))
        return VMC_USB_STALL;
    status = dev->ops->transfer(dev, transfer);
    if (status == VMC_USB_STALL)
        dev->halted |= bit;
    return status;
}

/* ---- lifecycle ---- */

void vmc_usb_device_reset(VmcUsbDevice *dev)
{
    dev->address = dev->configuration = 0;
    dev->wakeup_enabled = false;
    dev->halted = 0;
    atomic_store(&dev->wake, false);
    if (dev->ops->reset)
        dev->ops->reset(dev);
}

void vmc_usb_device_machine_resumed(VmcUsbDevice *dev)
{
    if (dev && dev->ops->machine_resumed)
        dev->ops->machine_resumed(dev);
}

void vmc_usb_device_init(VmcUsbDevice *dev, const VmcUsbOps *ops, const VmcUsbModel *model,
                         const char *serial)
{
    dev->ops = ops;
    dev->model = model;
    dev->serial = g_strdup(serial);
    dev->speed = VMC_USB_HIGH;
}

void vmc_usb_device_clear(VmcUsbDevice *dev)
{
    g_free(dev->serial);
}

void vmc_usb_device_free(VmcUsbDevice *dev)
{
    if (dev)
        dev->ops->free(dev);
}
