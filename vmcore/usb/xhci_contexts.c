/*
 * xHCI device contexts: what a driver says of slots and endpoints, and what we tell it of them (xHCI 1.2
 * s4.3, s4.6.5 to s4.6.7, s6.2).
 *
 * The guest's copy is for the guest: we read an input context once, check it and keep what matters in
 * XhciSlot; output contexts are only ever written. Contexts have 32 bytes.
 */
#include "usb/xhci_internal.h"

#define DWORDS (XHCI_CONTEXT / 4)

#define SLOT_ROUTE(d0)   ((d0)&0xfffffu)
#define SLOT_ENTRIES(d0) ((d0) >> 27)
#define SLOT_PORT(d1)    (((d1) >> 16) & 0xffu)

bool xhci_read_dwords(Xhci *xhci, uint64_t gpa, uint32_t *dwords, unsigned n)
{
    if (!vmc_memory_read(xhci->memory, gpa, dwords, 4ull * n))
        return false;
    for (unsigned i = 0; i < n; i++)
        dwords[i] = GUINT32_FROM_LE(dwords[i]);
    return true;
}

bool xhci_write_dwords(Xhci *xhci, uint64_t gpa, const uint32_t *dwords, unsigned n)
{
    uint32_t le[DWORDS];

    for (unsigned i = 0; i < n; i++)
        le[i] = GUINT32_TO_LE(dwords[i]);
    return vmc_memory_write(xhci->memory, gpa, le, 4ull * n);
}

/* ---- output contexts ---- */

bool xhci_context(Xhci *xhci, unsigned slot, unsigned index, uint64_t *gpa)
{
    uint32_t raw[2], probe[DWORDS];

    if (!xhci_read_dwords(xhci, xhci->dcbaap + 8ull * slot, raw, 2))
        return false;
    uint64_t base = (raw[0] | (uint64_t)raw[1] << 32) & ~63ull;
    *gpa = base + XHCI_CONTEXT * (uint64_t)index;
    return base && xhci_read_dwords(xhci, *gpa, probe, DWORDS);
}

void xhci_write_endpoint(Xhci *xhci, unsigned slot, unsigned index)
{
    const XhciEndpoint *ep = &xhci->slots[slot].endpoints[index];
    uint32_t raw[4];
    uint64_t at;

    if (!xhci_context(xhci, slot, index, &at) || !xhci_read_dwords(xhci, at, raw, 4))
        return;
    raw[0] = (raw[0] & ~7u) | ep->state;
    raw[2] = (uint32_t)ep->ring.dequeue | ep->ring.cycle;
    raw[3] = (uint32_t)(ep->ring.dequeue >> 32);
    xhci_write_dwords(xhci, at, raw, 4);
}

void xhci_write_slot(Xhci *xhci, unsigned n)
{
    const XhciSlot *slot = &xhci->slots[n];
    uint32_t raw;
    uint64_t at;

    if (!xhci_context(xhci, n, 0, &at))
        return;
    raw = slot->state << 27 | (slot->state >= SLOT_ADDRESSED ? n : 0);
    xhci_write_dwords(xhci, at + 12, &raw, 1);
}

/* ---- input contexts ---- */

typedef struct Input {
    uint64_t at;
    uint32_t drop, add;
    uint32_t slot[DWORDS];
} Input;

static bool read_input(Xhci *xhci, uint64_t gpa, Input *in)
{
    uint32_t control[2];

    in->at = gpa & ~15ull;
    if (!xhci_read_dwords(xhci, in->at, control, 2) ||
        !xhci_read_dwords(xhci, in->at + XHCI_CONTEXT, in->slot, DWORDS))
        return false;
    in->drop = control[0];
    in->add = control[1];
    return true;
}

static bool read_endpoint(Xhci *xhci, const Input *in, unsigned index, uint32_t raw[DWORDS])
{
    return xhci_read_dwords(xhci, in->at + XHCI_CONTEXT * (1ull + index), raw, DWORDS);
}

static unsigned endpoint_type(const uint32_t *raw)
{
    return raw[1] >> 3 & 7;
}

/* s6.2.3: a type that goes with the index and that we have (no isochronous ones), a packet size, no streams.
 */
static bool endpoint_good(const uint32_t *raw, unsigned index)
{
    unsigned type = endpoint_type(raw), packet = raw[1] >> 16;

    if (!packet || packet > 1024 || (raw[0] >> 10 & 31))
        return false;
    if (index == 1)
        return type == EP_TYPE_CONTROL;
    return index % 2 ? type == EP_TYPE_BULK_IN || type == EP_TYPE_INT_IN
                     : type == EP_TYPE_BULK_OUT || type == EP_TYPE_INT_OUT;
}

static void start_endpoint(Xhci *xhci, unsigned slot, unsigned index, uint32_t raw[DWORDS])
{
    XhciEndpoint *ep = &xhci->slots[slot].endpoints[index];
    uint64_t at;

    ep->state = EP_RUNNING;
    ep->type = endpoint_type(raw);
    ep->ring.dequeue = (raw[2] | (uint64_t)raw[3] << 32) & ~15ull;
    ep->ring.cycle = raw[2] & 1;
    ep->td.pending = false;
    raw[0] = (raw[0] & ~7u) | EP_RUNNING;
    if (xhci_context(xhci, slot, index, &at))
        xhci_write_dwords(xhci, at, raw, DWORDS);
}

void xhci_drop_endpoint(Xhci *xhci, unsigned slot, unsigned index)
{
    XhciEndpoint *ep = &xhci->slots[slot].endpoints[index];

    g_free(ep->td.trbs);
    *ep = (XhciEndpoint){.state = EP_DISABLED};
    xhci->slots[slot].rung &= ~(1u << index);
    xhci->slots[slot].more &= ~(1u << index);
}

/* s4.6.5: a slot for a device that is there and has none. */
static bool claim_device(Xhci *xhci, unsigned n, const Input *in)
{
    VmcUsbDevice *dev = xhci_find_device(xhci, SLOT_PORT(in->slot[1]), SLOT_ROUTE(in->slot[0]));

    for (unsigned i = 1; i <= XHCI_SLOTS; i++)
        if (i != n && xhci->slots[i].enabled && xhci->slots[i].dev == dev)
            dev = NULL;
    xhci->slots[n].dev = dev;
    return dev;
}

unsigned xhci_address_device(Xhci *xhci, unsigned n, uint64_t input, bool block)
{
    XhciSlot *slot = &xhci->slots[n];
    uint32_t ep[DWORDS];
    uint64_t at;
    Input in;

    if (slot->state > (block ? SLOT_DISABLED_OR_ENABLED : SLOT_DEFAULT))
        return CC_CONTEXT_STATE_ERROR;
    if (!read_input(xhci, input, &in) || !read_endpoint(xhci, &in, 1, ep) || !xhci_context(xhci, n, 0, &at))
        return CC_PARAMETER_ERROR;
    if (in.drop || (in.add & 3) != 3 || !endpoint_good(ep, 1))
        return CC_PARAMETER_ERROR;
    if (!claim_device(xhci, n, &in))
        return CC_USB_TRANSACTION_ERROR;

    slot->state = block ? SLOT_DEFAULT : SLOT_ADDRESSED;
    slot->dev->address = block ? 0 : (uint8_t)n; /* as SET_ADDRESS would */
    in.slot[3] = 0;
    xhci_write_dwords(xhci, at, in.slot, DWORDS);
    xhci_write_slot(xhci, n);
    start_endpoint(xhci, n, 1, ep);
    return CC_SUCCESS;
}

static void deconfigure(Xhci *xhci, unsigned n)
{
    for (unsigned i = 2; i < XHCI_ENDPOINTS; i++) {
        if (xhci->slots[n].endpoints[i].state == EP_DISABLED)
            continue;
        xhci_drop_endpoint(xhci, n, i);
        xhci_write_endpoint(xhci, n, i);
    }
    xhci->slots[n].state = SLOT_ADDRESSED;
    xhci_write_slot(xhci, n);
}

/* s4.6.6. All is checked before anything is changed, and what was checked is what is used. */
unsigned xhci_configure_endpoint(Xhci *xhci, unsigned n, uint64_t input, bool all_off)
{
    XhciSlot *slot = &xhci->slots[n];
    uint32_t eps[XHCI_ENDPOINTS][DWORDS], old[DWORDS];
    uint64_t at;
    Input in;

    if (slot->state < SLOT_ADDRESSED)
        return CC_CONTEXT_STATE_ERROR;
    if (all_off) {
        deconfigure(xhci, n);
        return CC_SUCCESS;
    }
    if (!read_input(xhci, input, &in) || !xhci_context(xhci, n, 0, &at) ||
        !xhci_read_dwords(xhci, at, old, DWORDS))
        return CC_PARAMETER_ERROR;
    if ((in.drop & 3) || (in.add & 3) != 1)
        return CC_PARAMETER_ERROR;
    for (unsigned i = 2; i < XHCI_ENDPOINTS; i++)
        if ((in.add & 1u << i) && (!read_endpoint(xhci, &in, i, eps[i]) || !endpoint_good(eps[i], i)))
            return CC_PARAMETER_ERROR;

    for (unsigned i = 2; i < XHCI_ENDPOINTS; i++) {
        if (!((in.drop | in.add) & 1u << i))
            continue;
        xhci_drop_endpoint(xhci, n, i);
        if (in.add & 1u << i)
            start_endpoint(xhci, n, i, eps[i]);
        else
            xhci_write_endpoint(xhci, n, i);
    }
    slot->state = SLOT_CONFIGURED;
    /* Hub, its ports and the number of contexts come from the driver; where the device is does not. */
    old[0] = (old[0] & 0x00ffffffu) | (in.slot[0] & 0xff000000u);
    old[1] = (old[1] & 0x00ff0000u) | (in.slot[1] & 0xff00ffffu);
    old[2] = in.slot[2];
    xhci_write_dwords(xhci, at, old, 3);
    xhci_write_slot(xhci, n);
    return CC_SUCCESS;
}

/* s4.6.7: the slot's interrupter and exit latency, the packet size of endpoint 0. */
unsigned xhci_evaluate_context(Xhci *xhci, unsigned n, uint64_t input)
{
    uint32_t old[DWORDS], ep[DWORDS];
    uint64_t at, ep_at;
    Input in;

    if (xhci->slots[n].state < SLOT_DEFAULT)
        return CC_CONTEXT_STATE_ERROR;
    if (!read_input(xhci, input, &in) || !xhci_context(xhci, n, 0, &at) ||
        !xhci_context(xhci, n, 1, &ep_at) || !xhci_read_dwords(xhci, at, old, DWORDS))
        return CC_PARAMETER_ERROR;
    if (in.drop || (in.add & ~3u) || !in.add)
        return CC_PARAMETER_ERROR;
    if ((in.add & 2) && (!read_endpoint(xhci, &in, 1, ep) || !endpoint_good(ep, 1)))
        return CC_PARAMETER_ERROR;
    if (in.add & 1) {
        old[1] = (old[1] & 0xffff0000u) | (in.slot[1] & 0xffffu);
        old[2] = (old[2] & 0x003fffffu) | (in.slot[2] & 0xffc00000u);
        xhci_write_dwords(xhci, at, old, 3);
    }
    if (in.add & 2) {
        uint32_t now[2];
        if (xhci_read_dwords(xhci, ep_at, now, 2)) {
            now[1] = (now[1] & 0xffffu) | (ep[1] & 0xffff0000u);
            xhci_write_dwords(xhci, ep_at, now, 2);
        }
    }
    return CC_SUCCESS;
}
