/*
 * A high-speed USB 2.0 hub (USB 2.0 chapter 11): eight ports, always powered, one transaction translator that
 * nobody needs, because whatever is plugged in works at high speed.
 *
 * Port states and their changes are in wPortStatus and wPortChange as s11.24.2.7 has them. What has changed
 * is reported as a bitmap on the status change endpoint for as long as it has not been cleared.
 *
 * Threads: I/O thread, with the controller's lock.
 */
#include <glib.h>

#include "usb/hub.h"

#define STATUS_ENDPOINT 0x81u
#define DESC_HUB        0x29u

#define PORT_CONNECTION 0x0001u
#define PORT_ENABLE     0x0002u
#define PORT_SUSPEND    0x0004u
#define PORT_RESET      0x0010u
#define PORT_POWER      0x0100u
#define PORT_HIGH_SPEED 0x0400u

/* s11.24.2, table 11-17 */
#define FEATURE_ENABLE       1u
#define FEATURE_SUSPEND      2u
#define FEATURE_RESET        4u
#define FEATURE_POWER        8u
#define FEATURE_C_CONNECTION 16u
#define FEATURE_C_RESET      20u
#define FEATURE_TEST         21u
#define FEATURE_INDICATOR    22u

typedef struct Port {
    VmcUsbDevice *dev;
    uint16_t status, change;
} Port;

typedef struct Hub {
    VmcUsbDevice dev;
    Port ports[VMC_USB_HUB_PORTS];
} Hub;

/* ---- ports ---- */

static void changed(Hub *hub, Port *port, uint16_t bits)
{
    port->change |= bits;
    vmc_usb_ready(&hub->dev, STATUS_ENDPOINT);
    vmc_usb_wake(&hub->dev);
}

static void find(Port *port)
{
    port->status = PORT_POWER;
    if (port->dev)
        port->status |= PORT_CONNECTION | PORT_HIGH_SPEED;
}

/* s11.24.2.13. A reset takes no time here. */
static VmcUsbStatus set_port_feature(Hub *hub, Port *port, unsigned feature)
{
    switch (feature) {
    case FEATURE_RESET:
        if (!port->dev)
            return VMC_USB_OK;
        vmc_usb_device_reset(port->dev);
        find(port);
        port->status |= PORT_ENABLE;
        changed(hub, port, PORT_RESET);
        return VMC_USB_OK;
    case FEATURE_SUSPEND:
        if (port->status & PORT_ENABLE)
            port->status |= PORT_SUSPEND;
        return VMC_USB_OK;
    case FEATURE_POWER:
    case FEATURE_INDICATOR:
    case FEATURE_TEST:
        return VMC_USB_OK;
    default:
        return VMC_USB_STALL;
    }
}

/* s11.24.2.2 */
static VmcUsbStatus clear_port_feature(Hub *hub, Port *port, unsigned feature)
{
    switch (feature) {
    case FEATURE_ENABLE:
        port->status &= ~(PORT_ENABLE | PORT_SUSPEND);
        return VMC_USB_OK;
    case FEATURE_SUSPEND:
        if (port->status & PORT_SUSPEND) {
            port->status &= ~PORT_SUSPEND;
            changed(hub, port, PORT_SUSPEND);
        }
        return VMC_USB_OK;
    case FEATURE_POWER:
    case FEATURE_INDICATOR:
        return VMC_USB_OK;
    default:
        if (feature < FEATURE_C_CONNECTION || feature > FEATURE_C_RESET)
            return VMC_USB_STALL;
        port->change &= ~(1u << (feature - FEATURE_C_CONNECTION));
        return VMC_USB_OK;
    }
}

/* ---- requests (s11.24.2) ---- */

static void put16(uint8_t *p, unsigned value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

/* s11.23.2.1: ports are not powered one by one, nor is over-current watched. */
static VmcUsbStatus hub_descriptor(uint8_t *data, uint32_t *length)
{
    static const uint8_t descriptor[] = {
        11, DESC_HUB, VMC_USB_HUB_PORTS, 0x12, 0, 1, 0, 0, 0, 0xff, 0xff,
    };

    memcpy(data, descriptor, sizeof(descriptor));
    *length = MIN(*length, sizeof(descriptor));
    return VMC_USB_OK;
}

static VmcUsbStatus hub_request(Hub *hub, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length)
{
    switch (VMC_USB_REQUEST(setup->type, setup->request)) {
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_CLASS | VMC_USB_DEVICE, VMC_USB_GET_DESCRIPTOR):
        return hub_descriptor(data, length);
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_CLASS | VMC_USB_DEVICE, VMC_USB_GET_STATUS):
        memset(data, 0, 4);
        *length = MIN(*length, 4);
        return VMC_USB_OK;
    case VMC_USB_REQUEST(VMC_USB_CLASS | VMC_USB_DEVICE, VMC_USB_SET_FEATURE):
    case VMC_USB_REQUEST(VMC_USB_CLASS | VMC_USB_DEVICE, VMC_USB_CLEAR_FEATURE):
        return setup->value <= 1 ? VMC_USB_OK : VMC_USB_STALL;
    default: /* those for a transaction translator (s11.24.2) are for slow devices */
        return VMC_USB_STALL;
    }
}

static VmcUsbStatus control(VmcUsbDevice *dev, const VmcUsbSetup *setup, uint8_t *data, uint32_t *length)
{
    Hub *hub = (Hub *)dev;
    unsigned number = setup->index & 0xff;

    if ((setup->type & 0x1f) != VMC_USB_OTHER)
        return hub_request(hub, setup, data, length);
    if (!number || number > VMC_USB_HUB_PORTS)
        return VMC_USB_STALL;
    Port *port = &hub->ports[number - 1];
    switch (VMC_USB_REQUEST(setup->type, setup->request)) {
    case VMC_USB_REQUEST(VMC_USB_IN | VMC_USB_CLASS | VMC_USB_OTHER, VMC_USB_GET_STATUS):
        put16(data, port->status);
        put16(data + 2, port->change);
        *length = MIN(*length, 4);
        return VMC_USB_OK;
    case VMC_USB_REQUEST(VMC_USB_CLASS | VMC_USB_OTHER, VMC_USB_SET_FEATURE):
        return set_port_feature(hub, port, setup->value);
    case VMC_USB_REQUEST(VMC_USB_CLASS | VMC_USB_OTHER, VMC_USB_CLEAR_FEATURE):
        return clear_port_feature(hub, port, setup->value);
    default:
        return VMC_USB_STALL;
    }
}

/* s11.12.4: a bit for each port, from bit 1 on. */
static VmcUsbStatus transfer(VmcUsbDevice *dev, VmcUsbTransfer *t)
{
    Hub *hub = (Hub *)dev;
    uint8_t bitmap[2] = {0};
    bool any = false;

    for (unsigned i = 0; i < VMC_USB_HUB_PORTS; i++) {
        if (!hub->ports[i].change)
            continue;
        bitmap[(i + 1) / 8] |= (uint8_t)(1u << (i + 1) % 8);
        any = true;
    }
    if (!any)
        return VMC_USB_NAK;
    vmc_usb_transfer_put(t, bitmap, sizeof(bitmap));
    return VMC_USB_OK;
}

static VmcUsbDevice *child(VmcUsbDevice *dev, unsigned number)
{
    Hub *hub = (Hub *)dev;

    if (!number || number > VMC_USB_HUB_PORTS || !(hub->ports[number - 1].status & PORT_ENABLE))
        return NULL;
    return hub->ports[number - 1].dev;
}

static VmcUsbDevice *plugged(VmcUsbDevice *dev, unsigned number)
{
    return ((Hub *)dev)->ports[number - 1].dev;
}

static void save(VmcUsbDevice *dev, VmcStateWriter *w)
{
    const Hub *hub = (Hub *)dev;

    for (unsigned i = 0; i < VMC_USB_HUB_PORTS; i++) {
        vmc_state_put_u16(w, hub->ports[i].status);
        vmc_state_put_u16(w, hub->ports[i].change);
    }
}

static bool load(VmcUsbDevice *dev, VmcStateReader *r)
{
    Hub *hub = (Hub *)dev;

    for (unsigned i = 0; i < VMC_USB_HUB_PORTS; i++) {
        Port *port = &hub->ports[i];
        port->status = vmc_state_get_u16(r);
        port->change = vmc_state_get_u16(r);
        vmc_state_check(r, !(port->status & PORT_CONNECTION) == !port->dev, "what is plugged into it");
    }
    return vmc_state_ok(r);
}

/* What is plugged in is found anew. */
static void reset(VmcUsbDevice *dev)
{
    Hub *hub = (Hub *)dev;

    for (unsigned i = 0; i < VMC_USB_HUB_PORTS; i++) {
        Port *port = &hub->ports[i];
        if (port->dev)
            vmc_usb_device_reset(port->dev);
        find(port);
        port->change = port->dev ? PORT_CONNECTION : 0;
    }
}

static void machine_resumed(VmcUsbDevice *dev)
{
    for (unsigned i = 0; i < VMC_USB_HUB_PORTS; i++)
        vmc_usb_device_machine_resumed(((Hub *)dev)->ports[i].dev);
}

/* ---- plugging ---- */

unsigned vmc_usb_hub_free_port(const VmcUsbDevice *dev)
{
    const Hub *hub = (const Hub *)dev;

    for (unsigned i = 0; i < VMC_USB_HUB_PORTS; i++)
        if (!hub->ports[i].dev)
            return i + 1;
    return 0;
}

void vmc_usb_hub_plug(VmcUsbDevice *dev, unsigned number, VmcUsbDevice *new_dev)
{
    Hub *hub = (Hub *)dev;
    Port *port = &hub->ports[number - 1];

    port->dev = new_dev;
    find(port);
    changed(hub, port, PORT_CONNECTION);
}

void vmc_usb_hub_unplug(VmcUsbDevice *dev, const VmcUsbDevice *old_dev)
{
    Hub *hub = (Hub *)dev;

    for (unsigned i = 0; i < VMC_USB_HUB_PORTS; i++) {
        if (hub->ports[i].dev != old_dev)
            continue;
        hub->ports[i].dev = NULL;
        find(&hub->ports[i]);
        changed(hub, &hub->ports[i], PORT_CONNECTION);
    }
}

static void hub_free(VmcUsbDevice *dev)
{
    Hub *hub = (Hub *)dev;

    for (unsigned i = 0; i < VMC_USB_HUB_PORTS; i++)
        vmc_usb_device_free(hub->ports[i].dev);
    vmc_usb_device_clear(dev);
    g_free(hub);
}

static const VmcUsbOps hub_ops = {
    .name = "USB hub",
    .control = control,
    .transfer = transfer,
    .reset = reset,
    .machine_resumed = machine_resumed,
    .child = child,
    .free = hub_free,
    .plugged = plugged,
    .n_ports = VMC_USB_HUB_PORTS,
    .save = save,
    .load = load,
};

static const VmcUsbModel hub_model = {
    .vendor = 0x1d6b, /* Linux Foundation */
    .product = 0x0105,
    .release = 0x0100,
    .device_class = 9,
    .device_protocol = 1, /* one transaction translator */
    .interface_class = 9,
    .self_powered = true,
    .remote_wakeup = true,
    .product_name = "Hub",
    .n_endpoints = 1,
    .endpoints = {{.address = STATUS_ENDPOINT,
                   .attributes = VMC_USB_TRANSFER_INTERRUPT,
                   .max_packet = 2,
                   .interval = 12}},
};

VmcUsbDevice *vmc_usb_hub_new(void)
{
    Hub *hub = g_new0(Hub, 1);

    vmc_usb_device_init(&hub->dev, &hub_ops, &hub_model, NULL);
    for (unsigned i = 0; i < VMC_USB_HUB_PORTS; i++)
        find(&hub->ports[i]);
    return &hub->dev;
}
