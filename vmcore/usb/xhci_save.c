/*
 * The xHCI as bytes (base/state.h), with everything that is plugged in.
 *
 * A transfer that waits for its device is not written down: what it is stands in the guest's ring, from which
 * it is taken again, and what is kept is how much of it has been moved.
 *
 * Devices are known by their number in the order of ports, through hubs. What sits where follows from the
 * order in which devices were plugged in; if that was another one, the state does not fit.
 */
#include <string.h>

#include "base/i18n.h"
#include "usb/xhci_internal.h"

#define SEGMENT_TRBS_MAX 4096u
#define DEVICES_MAX      64u

/* ---- what is plugged in ---- */

static void collect(GPtrArray *devices, VmcUsbDevice *dev)
{
    if (!dev)
        return;
    g_ptr_array_add(devices, dev);
    for (unsigned port = 1; dev->ops->plugged && port <= dev->ops->n_ports; port++)
        collect(devices, dev->ops->plugged(dev, port));
}

static GPtrArray *all_devices(const Xhci *xhci)
{
    GPtrArray *devices = g_ptr_array_new();

    for (unsigned i = 0; i < XHCI_PORTS; i++)
        collect(devices, xhci->ports[i].dev);
    return devices;
}

/* From 1 on; 0: none. */
static unsigned number_of(GPtrArray *devices, const VmcUsbDevice *dev)
{
    guint index;

    return dev && g_ptr_array_find(devices, dev, &index) ? index + 1 : 0;
}

static void save_device(VmcUsbDevice *dev, VmcStateWriter *w)
{
    vmc_state_begin(w, dev->ops->name, 1);
    vmc_state_put_u8(w, (uint8_t)dev->speed);
    vmc_state_put_u8(w, dev->address);
    vmc_state_put_u8(w, dev->configuration);
    vmc_state_put_bool(w, dev->wakeup_enabled);
    vmc_state_put_u32(w, dev->halted);
    if (dev->ops->save)
        dev->ops->save(dev, w);
    else
        vmc_state_refuse(w, _("The machine cannot be saved with a “%s”"), dev->ops->name);
    vmc_state_end(w);
}

static bool load_device(VmcUsbDevice *dev, VmcStateReader *r)
{
    if (!vmc_state_enter(r, dev->ops->name, 1))
        return false;
    vmc_state_check(r, vmc_state_get_u8(r) == dev->speed, "how fast it is");
    dev->address = vmc_state_get_u8_max(r, 127);
    dev->configuration = vmc_state_get_u8_max(r, 1);
    dev->wakeup_enabled = vmc_state_get_bool(r);
    dev->halted = vmc_state_get_u32(r);
    if (!vmc_state_check(r, dev->ops->load, "its kind") || !dev->ops->load(dev, r))
        return false;
    return vmc_state_leave(r);
}

/* ---- the controller ---- */

static void save_ring(const XhciRing *ring, VmcStateWriter *w)
{
    vmc_state_put_u64(w, ring->dequeue);
    vmc_state_put_bool(w, ring->cycle);
}

static void load_ring(XhciRing *ring, VmcStateReader *r)
{
    ring->dequeue = vmc_state_get_u64(r);
    ring->cycle = vmc_state_get_bool(r);
}

static void save_registers(const Xhci *xhci, VmcStateWriter *w)
{
    vmc_state_put_bool(w, xhci->reset_wanted);
    vmc_state_put_bool(w, xhci->saved);
    vmc_state_put_u32(w, xhci->usbcmd);
    vmc_state_put_u32(w, xhci->usbsts);
    vmc_state_put_u32(w, xhci->dnctrl);
    vmc_state_put_u32(w, xhci->config);
    vmc_state_put_u32(w, xhci->legacy);
    vmc_state_put_u32(w, xhci->legacy_control);
    vmc_state_put_u64(w, xhci->dcbaap);
    vmc_state_put_u64(w, xhci->usbcmd & CMD_RUN ? vmc_now_ns() - xhci->started : 0);
    vmc_state_put_bool(w, xhci->command_running);
    save_ring(&xhci->commands, w);
}

static void load_registers(Xhci *xhci, VmcStateReader *r)
{
    xhci->reset_wanted = vmc_state_get_bool(r);
    xhci->saved = vmc_state_get_bool(r);
    xhci->usbcmd = vmc_state_get_u32(r) & CMD_KEPT;
    xhci->usbsts = vmc_state_get_u32(r);
    xhci->dnctrl = vmc_state_get_u32(r);
    xhci->config = vmc_state_get_u32(r);
    xhci->legacy = vmc_state_get_u32(r);
    xhci->legacy_control = vmc_state_get_u32(r);
    xhci->dcbaap = vmc_state_get_u64(r);
    xhci->started = vmc_now_ns() - vmc_state_get_u64(r);
    xhci->command_running = vmc_state_get_bool(r);
    load_ring(&xhci->commands, r);
}

static void save_interrupter(const XhciInterrupter *intr, VmcStateWriter *w)
{
    vmc_state_put_u32(w, intr->iman);
    vmc_state_put_u32(w, intr->imod);
    vmc_state_put_u32(w, intr->erstsz);
    vmc_state_put_u64(w, intr->erstba);
    vmc_state_put_u64(w, intr->erdp);
    vmc_state_put_bool(w, intr->fresh);
    vmc_state_put_bool(w, intr->ready);
    vmc_state_put_u32(w, intr->segment);
    vmc_state_put_u32(w, intr->left);
    vmc_state_put_u64(w, intr->enqueue);
    vmc_state_put_bool(w, intr->cycle);
    vmc_state_put_u32(w, intr->count);
    for (unsigned i = 0; i < intr->count; i++) {
        const XhciEvent *event = &intr->waiting[(intr->first + i) % XHCI_WAITING_MAX];
        vmc_state_put_u64(w, event->parameter);
        vmc_state_put_u32(w, event->status);
        vmc_state_put_u32(w, event->control);
        vmc_state_put_bool(w, event->quiet);
    }
}

static void load_interrupter(XhciInterrupter *intr, VmcStateReader *r)
{
    intr->iman = vmc_state_get_u32_max(r, IMAN_IP | IMAN_IE);
    intr->imod = vmc_state_get_u32(r);
    intr->erstsz = vmc_state_get_u32_max(r, 1u << XHCI_ERST_SHIFT);
    intr->erstba = vmc_state_get_u64(r);
    intr->erdp = vmc_state_get_u64(r);
    intr->fresh = vmc_state_get_bool(r);
    intr->ready = vmc_state_get_bool(r);
    intr->segment = vmc_state_get_u32_max(r, 1u << XHCI_ERST_SHIFT);
    intr->left = vmc_state_get_u32_max(r, SEGMENT_TRBS_MAX);
    intr->enqueue = vmc_state_get_u64(r);
    intr->cycle = vmc_state_get_bool(r);
    intr->first = 0;
    intr->count = vmc_state_get_u32_max(r, XHCI_WAITING_MAX);
    vmc_state_check(r, !intr->ready || intr->left, "how much of an event ring is left");
    for (unsigned i = 0; i < intr->count; i++) {
        XhciEvent *event = &intr->waiting[i];
        event->parameter = vmc_state_get_u64(r);
        event->status = vmc_state_get_u32(r);
        event->control = vmc_state_get_u32(r);
        event->quiet = vmc_state_get_bool(r);
    }
}

static void save_port(const XhciPort *port, GPtrArray *devices, VmcStateWriter *w)
{
    vmc_state_put_u32(w, port->portsc);
    vmc_state_put_u32(w, port->portpmsc);
    vmc_state_put_bool(w, port->reset);
    vmc_state_put_bool(w, port->warm);
    vmc_state_put_u8(w, (uint8_t)number_of(devices, port->dev));
}

static void load_port(XhciPort *port, GPtrArray *devices, VmcStateReader *r)
{
    port->portsc = vmc_state_get_u32(r);
    port->portpmsc = vmc_state_get_u32(r);
    port->reset = vmc_state_get_bool(r);
    port->warm = vmc_state_get_bool(r);
    vmc_state_check(r, vmc_state_get_u8(r) == number_of(devices, port->dev), "what is plugged in where");
    vmc_state_check(r, !port->reset || port->dev, "a port's state");
}

static void save_endpoint(const XhciEndpoint *ep, VmcStateWriter *w)
{
    vmc_state_put_u8(w, (uint8_t)ep->state);
    vmc_state_put_u8(w, (uint8_t)ep->type);
    vmc_state_put_u32(w, ep->credit);
    save_ring(&ep->ring, w);
    vmc_state_put_u32(w, ep->td.pending ? ep->td.transfer.actual : 0);
}

static void load_endpoint(Xhci *xhci, unsigned slot, unsigned index, VmcStateReader *r)
{
    XhciEndpoint *ep = &xhci->slots[slot].endpoints[index];

    ep->state = vmc_state_get_u8_max(r, EP_ERROR);
    ep->type = vmc_state_get_u8_max(r, EP_TYPE_INT_IN);
    ep->credit = vmc_state_get_u32_max(r, XHCI_CREDIT);
    load_ring(&ep->ring, r);
    uint32_t moved = vmc_state_get_u32(r);
    /* A guest that has changed its ring meanwhile gets what stands there now. */
    if (moved && vmc_state_ok(r))
        xhci_take_again(xhci, slot, index, moved);
}

static void save_slot(const XhciSlot *slot, GPtrArray *devices, VmcStateWriter *w)
{
    vmc_state_put_bool(w, slot->enabled);
    if (!slot->enabled)
        return;
    vmc_state_put_u8(w, (uint8_t)slot->state);
    vmc_state_put_u8(w, (uint8_t)number_of(devices, slot->dev));
    vmc_state_put_u32(w, slot->rung);
    for (unsigned i = 0; i < XHCI_ENDPOINTS; i++)
        save_endpoint(&slot->endpoints[i], w);
}

/* All endpoints are looked at once more: their devices have nothing to say if they had not. */
static void load_slot(Xhci *xhci, unsigned n, GPtrArray *devices, VmcStateReader *r)
{
    XhciSlot *slot = &xhci->slots[n];

    slot->enabled = vmc_state_get_bool(r);
    if (!slot->enabled)
        return;
    slot->state = vmc_state_get_u8_max(r, SLOT_CONFIGURED);
    unsigned number = vmc_state_get_u8_max(r, (uint8_t)devices->len);
    slot->dev = number ? g_ptr_array_index(devices, number - 1) : NULL;
    slot->rung = vmc_state_get_u32(r);
    slot->more = UINT32_MAX;
    for (unsigned i = 0; i < XHCI_ENDPOINTS && vmc_state_ok(r); i++)
        load_endpoint(xhci, n, i, r);
}

void xhci_save(VmcPciDevice *pci, VmcStateWriter *w)
{
    Xhci *xhci = (Xhci *)pci;

    g_mutex_lock(&xhci->lock);
    g_autoptr(GPtrArray) devices = all_devices(xhci);
    vmc_state_begin(w, "xhci", 1);
    vmc_state_put_u8(w, (uint8_t)MIN(devices->len, DEVICES_MAX));
    for (guint i = 0; i < devices->len; i++)
        save_device(g_ptr_array_index(devices, i), w);
    save_registers(xhci, w);
    for (unsigned i = 0; i < XHCI_INTERRUPTERS; i++)
        save_interrupter(&xhci->interrupters[i], w);
    for (unsigned i = 0; i < XHCI_PORTS; i++)
        save_port(&xhci->ports[i], devices, w);
    for (unsigned i = 1; i <= XHCI_SLOTS; i++)
        save_slot(&xhci->slots[i], devices, w);
    vmc_state_end(w);
    g_mutex_unlock(&xhci->lock);
}

static bool load_all(Xhci *xhci, GPtrArray *devices, VmcStateReader *r)
{
    vmc_state_check(r, vmc_state_get_u8(r) == devices->len, "how many devices are plugged in");
    for (guint i = 0; i < devices->len && vmc_state_ok(r); i++)
        load_device(g_ptr_array_index(devices, i), r);
    load_registers(xhci, r);
    for (unsigned i = 0; i < XHCI_INTERRUPTERS; i++)
        load_interrupter(&xhci->interrupters[i], r);
    for (unsigned i = 0; i < XHCI_PORTS; i++)
        load_port(&xhci->ports[i], devices, r);
    for (unsigned i = 1; i <= XHCI_SLOTS && vmc_state_ok(r); i++)
        load_slot(xhci, i, devices, r);
    return vmc_state_leave(r);
}

bool xhci_load(VmcPciDevice *pci, VmcStateReader *r)
{
    Xhci *xhci = (Xhci *)pci;

    if (!vmc_state_enter(r, "xhci", 1))
        return false;
    g_mutex_lock(&xhci->lock);
    g_autoptr(GPtrArray) devices = all_devices(xhci);
    bool good = load_all(xhci, devices, r);
    if (good) {
        xhci_arm_wrap(xhci);
    }
    g_mutex_unlock(&xhci->lock);
    return good;
}

/* ---- standing still ---- */

/* Nothing is begun without leave to use memory. */
void xhci_hold(VmcPciDevice *pci)
{
    Xhci *xhci = (Xhci *)pci;

    g_mutex_lock(&xhci->lock);
    xhci->dma = false;
    g_autoptr(GPtrArray) devices = all_devices(xhci);
    g_mutex_unlock(&xhci->lock);
    for (guint i = 0; i < devices->len; i++) {
        VmcUsbDevice *dev = g_ptr_array_index(devices, i);
        if (dev->ops->drain)
            dev->ops->drain(dev);
    }
}

void xhci_release(VmcPciDevice *pci)
{
    Xhci *xhci = (Xhci *)pci;

    g_mutex_lock(&xhci->lock);
    xhci->dma = pci->config[4] & 4;
    g_mutex_unlock(&xhci->lock);
    vmc_doorbell_ring(xhci->bell);
}
