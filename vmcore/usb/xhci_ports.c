/*
 * xHCI root ports (xHCI 1.2 s4.15, s4.19, s5.4.8) and what is plugged into them.
 *
 * Ports 1 to 4 are USB 2, ports 5 to 8 SuperSpeed. A USB 2 port is enabled by a reset, a SuperSpeed port as
 * soon as something is there. A reset that a driver asks for is done by the I/O thread, since it reaches into
 * the device; the driver sees it as taking a moment.
 *
 * A device goes to a SuperSpeed port if it can use one, else to a USB 2 port, else to a port of a hub. The
 * last USB 2 port is kept for the first hub, and the last port of a hub for the next one.
 */
#include "usb/hub.h"
#include "usb/xhci_internal.h"

#define HUB_TIERS 5u /* USB 2.0 s4.1.1 */

/* ---- port state ---- */

static unsigned link_state(const XhciPort *port)
{
    return (port->portsc & PORT_PLS_MASK) >> PORT_PLS_SHIFT;
}

static void set_link_state(XhciPort *port, unsigned state)
{
    port->portsc = (port->portsc & ~PORT_PLS_MASK) | state << PORT_PLS_SHIFT;
}

/* Sets change bits and tells the driver of those that are new. */
static void changed(Xhci *xhci, XhciPort *port, uint32_t bits)
{
    XhciEvent event = {
        .parameter = (uint64_t)(port - xhci->ports + 1) << 24,
        .status = (uint32_t)CC_SUCCESS << 24,
        .control = TRB_PORT_EVENT << 10,
    };

    if ((port->portsc & bits) == bits)
        return;
    port->portsc |= bits;
    if (!xhci_running(xhci))
        return;
    xhci->usbsts |= STS_PCD;
    xhci_post(xhci, 0, &event);
}

/* What the port says of its device when it has just been plugged in or the controller reset. */
static void find(Xhci *xhci, XhciPort *port)
{
    port->portsc = PORT_PP | (port->portsc & PORT_WAKES);
    port->reset = port->warm = false;
    if (!port->dev) {
        set_link_state(port, PLS_RX_DETECT);
        return;
    }
    port->portsc |= PORT_CCS | (uint32_t)port->dev->speed << 10;
    if (port->usb3)
        port->portsc |= PORT_PED;
    set_link_state(port, port->usb3 ? PLS_U0 : PLS_POLLING);
}

void xhci_init_ports(Xhci *xhci)
{
    for (unsigned i = 0; i < XHCI_PORTS; i++) {
        xhci->ports[i].usb3 = i >= XHCI_PORTS_USB2;
        find(xhci, &xhci->ports[i]);
    }
}

void xhci_reset_ports(Xhci *xhci)
{
    for (unsigned i = 0; i < XHCI_PORTS; i++) {
        XhciPort *port = &xhci->ports[i];
        port->portsc = port->portpmsc = 0;
        if (port->dev)
            vmc_usb_device_reset(port->dev);
        find(xhci, port);
        if (port->dev)
            port->portsc |= PORT_CSC;
    }
}

static void finish_reset(Xhci *xhci, XhciPort *port)
{
    uint32_t changes = PORT_PRC | (port->warm && port->usb3 ? PORT_WRC : 0);

    port->reset = port->warm = false;
    port->portsc &= ~PORT_PR;
    if (!port->dev)
        return;
    vmc_usb_device_reset(port->dev);
    set_link_state(port, PLS_U0);
    port->portsc |= PORT_PED;
    changed(xhci, port, changes);
}

/* A device that may wake the bus does so: the driver sees the port resume, and takes it to U0 itself. */
static void serve_wake(Xhci *xhci, XhciPort *port)
{
    if (!port->dev || !atomic_exchange(&port->dev->wake, false))
        return;
    if (!port->dev->wakeup_enabled || link_state(port) != PLS_U3)
        return;
    set_link_state(port, PLS_RESUME);
    changed(xhci, port, PORT_PLC);
}

void xhci_serve_ports(Xhci *xhci)
{
    for (unsigned i = 0; i < XHCI_PORTS; i++) {
        if (xhci->ports[i].reset)
            finish_reset(xhci, &xhci->ports[i]);
        serve_wake(xhci, &xhci->ports[i]);
    }
}

/* ---- the register (vCPUs) ---- */

/* s4.15.2, s4.19.1: a write to PLS, with LWS. */
static void write_link_state(Xhci *xhci, XhciPort *port, unsigned state)
{
    unsigned old = link_state(port);

    switch (state) {
    case PLS_U0:
        if (!(port->portsc & PORT_PED) || (old != PLS_U3 && old != PLS_RESUME))
            return;
        set_link_state(port, PLS_U0);
        changed(xhci, port, PORT_PLC);
        break;
    case PLS_U3:
        if ((port->portsc & PORT_PED) && old < PLS_U3)
            set_link_state(port, PLS_U3);
        break;
    case PLS_RESUME:
        if (!port->usb3 && old == PLS_U3)
            set_link_state(port, PLS_RESUME);
        break;
    case PLS_DISABLED:
        if (!port->usb3)
            return;
        port->portsc &= ~PORT_PED;
        set_link_state(port, PLS_DISABLED);
        break;
    case PLS_RX_DETECT:
        if (!port->usb3 || old != PLS_DISABLED)
            return;
        find(xhci, port);
        if (port->dev)
            changed(xhci, port, PORT_CSC);
        break;
    default:
        break;
    }
}

void xhci_write_port(Xhci *xhci, unsigned n, uint32_t value)
{
    XhciPort *port = &xhci->ports[n];

    port->portsc &= ~(value & PORT_CHANGES);
    port->portsc = (port->portsc & ~PORT_WAKES) | (value & PORT_WAKES);
    if ((value & PORT_PED) && (port->portsc & PORT_PED)) {
        port->portsc &= ~PORT_PED;
        set_link_state(port, port->usb3 ? PLS_DISABLED : PLS_POLLING);
        return;
    }
    if ((value & PORT_PR) || (port->usb3 && (value & PORT_WPR))) {
        if (!port->dev)
            return;
        port->warm = value & PORT_WPR;
        port->reset = true;
        port->portsc = (port->portsc & ~PORT_PED) | PORT_PR;
        vmc_doorbell_ring(xhci->bell);
        return;
    }
    if (value & PORT_LWS)
        write_link_state(xhci, port, (value & PORT_PLS_MASK) >> PORT_PLS_SHIFT);
}

/* ---- what is plugged in ---- */

VmcUsbDevice *xhci_find_device(Xhci *xhci, unsigned root_port, uint32_t route)
{
    VmcUsbDevice *dev;

    if (!root_port || root_port > XHCI_PORTS || !(xhci->ports[root_port - 1].portsc & PORT_PED))
        return NULL;
    dev = xhci->ports[root_port - 1].dev;
    for (; dev && route; route >>= 4)
        dev = dev->ops->child && (route & 15) ? dev->ops->child(dev, route & 15) : NULL;
    return dev;
}

/* Whoever is told of a device learns that it is there; its old words mean nothing. */
static void prepare(Xhci *xhci, VmcUsbDevice *dev, VmcUsbSpeed speed)
{
    dev->speed = speed;
    dev->bell = xhci->bell;
    vmc_usb_device_reset(dev);
}

static void plug_root(Xhci *xhci, unsigned n, VmcUsbDevice *dev)
{
    XhciPort *port = &xhci->ports[n];

    prepare(xhci, dev, port->usb3 ? VMC_USB_SUPER : VMC_USB_HIGH);
    port->dev = dev;
    port->portsc &= PORT_CHANGES | PORT_WAKES;
    uint32_t changes = port->portsc & PORT_CHANGES;
    find(xhci, port);
    port->portsc |= changes;
    changed(xhci, port, PORT_CSC);
}

static bool plug_usb3(Xhci *xhci, VmcUsbDevice *dev)
{
    for (unsigned i = XHCI_PORTS_USB2; dev->super && i < XHCI_PORTS; i++) {
        if (xhci->ports[i].dev)
            continue;
        plug_root(xhci, i, dev);
        return true;
    }
    return false;
}

static bool plug_usb2(Xhci *xhci, VmcUsbDevice *dev)
{
    for (unsigned i = 0; i < XHCI_PORTS_USB2 - 1; i++) {
        if (xhci->ports[i].dev)
            continue;
        plug_root(xhci, i, dev);
        return true;
    }
    return false;
}

/* Into the first hub that has a port free besides its last. */
static bool plug_hub(Xhci *xhci, VmcUsbDevice *dev)
{
    for (unsigned i = 0; i < xhci->hubs->len; i++) {
        VmcUsbDevice *hub = g_ptr_array_index(xhci->hubs, i);
        unsigned port = vmc_usb_hub_free_port(hub);
        if (!port || port == VMC_USB_HUB_PORTS)
            continue;
        prepare(xhci, dev, VMC_USB_HIGH);
        vmc_usb_hub_plug(hub, port, dev);
        return true;
    }
    return false;
}

static bool add_hub(Xhci *xhci)
{
    VmcUsbDevice *hub;

    if (xhci->hubs->len == HUB_TIERS)
        return false;
    hub = vmc_usb_hub_new();
    if (!xhci->hubs->len) {
        plug_root(xhci, XHCI_PORTS_USB2 - 1, hub);
    } else {
        prepare(xhci, hub, VMC_USB_HIGH);
        vmc_usb_hub_plug(g_ptr_array_index(xhci->hubs, xhci->hubs->len - 1), VMC_USB_HUB_PORTS, hub);
    }
    g_ptr_array_add(xhci->hubs, hub);
    return true;
}

bool xhci_plug(Xhci *xhci, VmcUsbDevice *dev)
{
    return plug_usb3(xhci, dev) || plug_usb2(xhci, dev) || plug_hub(xhci, dev) ||
           (add_hub(xhci) && plug_hub(xhci, dev));
}

/* Slots of the device: what they wait for ends with a transaction error. */
static void orphan_slots(Xhci *xhci, const VmcUsbDevice *dev)
{
    for (unsigned i = 1; i <= XHCI_SLOTS; i++) {
        XhciSlot *slot = &xhci->slots[i];
        if (slot->dev != dev)
            continue;
        slot->dev = NULL;
        for (unsigned index = 1; index < XHCI_ENDPOINTS; index++)
            if (slot->endpoints[index].td.pending)
                xhci_run_endpoint(xhci, i, index, false);
    }
}

void xhci_unplug(Xhci *xhci, VmcUsbDevice *dev)
{
    orphan_slots(xhci, dev);
    for (unsigned i = 0; i < xhci->hubs->len; i++)
        vmc_usb_hub_unplug(g_ptr_array_index(xhci->hubs, i), dev);
    for (unsigned i = 0; i < XHCI_PORTS; i++) {
        XhciPort *port = &xhci->ports[i];
        if (port->dev != dev)
            continue;
        port->dev = NULL;
        uint32_t kept = port->portsc & PORT_CHANGES;
        find(xhci, port);
        port->portsc |= kept;
        changed(xhci, port, PORT_CSC);
    }
}
