/*
 * The xHCI command ring (xHCI 1.2 s4.6): slots and endpoints come and go.
 *
 * Every command is done when it is taken, so at any time at most one is under way and none has to be aborted.
 */
#include "usb/xhci_internal.h"

#define COMMAND_SLOT(c)     ((c) >> 24)
#define COMMAND_ENDPOINT(c) (((c) >> 16) & 31u)

static void complete(Xhci *xhci, uint64_t trb, unsigned code, unsigned slot)
{
    XhciEvent event = {
        .parameter = trb,
        .status = (uint32_t)code << 24,
        .control = TRB_COMMAND_EVENT << 10 | slot << 24,
    };

    xhci_post(xhci, 0, &event);
}

/* ---- slots ---- */

static unsigned enable_slot(Xhci *xhci, unsigned *slot)
{
    unsigned enabled = MIN(xhci->config & 0xff, XHCI_SLOTS);

    for (unsigned i = 1; i <= enabled; i++) {
        if (xhci->slots[i].enabled)
            continue;
        xhci->slots[i].enabled = true;
        *slot = i;
        return CC_SUCCESS;
    }
    return CC_NO_SLOTS;
}

static unsigned disable_slot(Xhci *xhci, unsigned n)
{
    XhciSlot *slot = &xhci->slots[n];

    for (unsigned i = 1; i < XHCI_ENDPOINTS; i++)
        xhci_drop_endpoint(xhci, n, i);
    if (slot->state != SLOT_DISABLED_OR_ENABLED) {
        slot->state = SLOT_DISABLED_OR_ENABLED;
        xhci_write_slot(xhci, n);
    }
    slot->dev = NULL;
    slot->rung = slot->more = 0;
    slot->enabled = false;
    return CC_SUCCESS;
}

/* s4.6.11: the driver has reset the device, or is about to. */
static unsigned reset_device(Xhci *xhci, unsigned n)
{
    XhciSlot *slot = &xhci->slots[n];

    if (slot->state < SLOT_ADDRESSED)
        return CC_CONTEXT_STATE_ERROR;
    for (unsigned i = 2; i < XHCI_ENDPOINTS; i++) {
        if (slot->endpoints[i].state == EP_DISABLED)
            continue;
        xhci_drop_endpoint(xhci, n, i);
        xhci_write_endpoint(xhci, n, i);
    }
    slot->endpoints[1].td.pending = false;
    slot->state = SLOT_DEFAULT;
    if (slot->dev)
        slot->dev->address = 0;
    xhci_write_slot(xhci, n);
    return CC_SUCCESS;
}

/* ---- endpoints ---- */

static unsigned reset_endpoint(Xhci *xhci, unsigned slot, unsigned index)
{
    XhciEndpoint *ep = &xhci->slots[slot].endpoints[index];

    if (ep->state != EP_HALTED)
        return CC_CONTEXT_STATE_ERROR;
    ep->state = EP_STOPPED;
    xhci_write_endpoint(xhci, slot, index);
    return CC_SUCCESS;
}

static unsigned stop_endpoint(Xhci *xhci, unsigned slot, unsigned index)
{
    XhciEndpoint *ep = &xhci->slots[slot].endpoints[index];

    if (ep->state != EP_RUNNING)
        return CC_CONTEXT_STATE_ERROR;
    xhci_stop_endpoint(xhci, slot, index);
    ep->state = EP_STOPPED;
    xhci->slots[slot].rung &= ~(1u << index);
    xhci->slots[slot].more &= ~(1u << index);
    xhci_write_endpoint(xhci, slot, index);
    return CC_SUCCESS;
}

static unsigned set_dequeue(Xhci *xhci, unsigned slot, unsigned index, uint64_t pointer)
{
    XhciEndpoint *ep = &xhci->slots[slot].endpoints[index];

    if (ep->state != EP_STOPPED && ep->state != EP_ERROR)
        return CC_CONTEXT_STATE_ERROR;
    ep->ring.dequeue = pointer & ~15ull;
    ep->ring.cycle = pointer & 1;
    ep->td.pending = false;
    ep->state = EP_STOPPED;
    xhci_write_endpoint(xhci, slot, index);
    return CC_SUCCESS;
}

/* s4.6.15: percent free for each port; the first byte is reserved. Nothing is ever reserved here. */
static unsigned get_bandwidth(Xhci *xhci, uint64_t pointer)
{
    uint8_t free_percent[1 + XHCI_PORTS] = {0};

    for (unsigned i = 0; i < XHCI_PORTS; i++)
        free_percent[1 + i] = xhci->ports[i].usb3 ? 90 : 80;
    return vmc_memory_write(xhci->memory, pointer & ~15ull, free_percent, sizeof(free_percent))
               ? CC_SUCCESS
               : CC_PARAMETER_ERROR;
}

/* ---- the ring ---- */

static unsigned endpoint_command(Xhci *xhci, const XhciTrb *trb, unsigned slot)
{
    unsigned index = COMMAND_ENDPOINT(trb->control);

    if (!index)
        return CC_TRB_ERROR;
    switch (TRB_TYPE(trb->control)) {
    case TRB_RESET_ENDPOINT:
        return reset_endpoint(xhci, slot, index);
    case TRB_STOP_ENDPOINT:
        return stop_endpoint(xhci, slot, index);
    default:
        return set_dequeue(xhci, slot, index, trb->parameter);
    }
}

/* A command for a slot that is enabled. */
static unsigned slot_command(Xhci *xhci, const XhciTrb *trb, unsigned slot)
{
    switch (TRB_TYPE(trb->control)) {
    case TRB_DISABLE_SLOT:
        return disable_slot(xhci, slot);
    case TRB_ADDRESS_DEVICE:
        return xhci_address_device(xhci, slot, trb->parameter, trb->control & TRB_BSR);
    case TRB_CONFIGURE_ENDPOINT:
        return xhci_configure_endpoint(xhci, slot, trb->parameter, trb->control & TRB_DC);
    case TRB_EVALUATE_CONTEXT:
        return xhci_evaluate_context(xhci, slot, trb->parameter);
    case TRB_RESET_DEVICE:
        return reset_device(xhci, slot);
    default:
        return endpoint_command(xhci, trb, slot);
    }
}

/* What we are not (virtualisation, bandwidth negotiation, latency tolerance, headers) is a TRB Error. */
static unsigned execute(Xhci *xhci, const XhciTrb *trb, unsigned *slot)
{
    switch (TRB_TYPE(trb->control)) {
    case TRB_NOOP_COMMAND:
        return CC_SUCCESS;
    case TRB_GET_BANDWIDTH:
        return get_bandwidth(xhci, trb->parameter);
    case TRB_ENABLE_SLOT:
        return enable_slot(xhci, slot);
    case TRB_DISABLE_SLOT:
    case TRB_ADDRESS_DEVICE:
    case TRB_CONFIGURE_ENDPOINT:
    case TRB_EVALUATE_CONTEXT:
    case TRB_RESET_ENDPOINT:
    case TRB_STOP_ENDPOINT:
    case TRB_SET_DEQUEUE:
    case TRB_RESET_DEVICE:
        *slot = COMMAND_SLOT(trb->control);
        if (!*slot || *slot > XHCI_SLOTS || !xhci->slots[*slot].enabled)
            return CC_SLOT_NOT_ENABLED;
        return slot_command(xhci, trb, *slot);
    default:
        return CC_TRB_ERROR;
    }
}

bool xhci_run_commands(Xhci *xhci)
{
    for (unsigned n = 0; n < XHCI_TURN; n++) {
        unsigned slot = 0;
        XhciTrb trb;

        if (!xhci_running(xhci) || !xhci->command_running || !xhci_can_post(xhci))
            return false;
        switch (xhci_fetch(xhci, &xhci->commands, &trb)) {
        case XHCI_FETCH_EMPTY:
            return false;
        case XHCI_FETCH_BAD:
            xhci_die(xhci);
            return false;
        case XHCI_FETCH_TRB:
            break;
        }
        unsigned code = execute(xhci, &trb, &slot);
        complete(xhci, trb.at, code, slot);
    }
    return true;
}

/* s4.6.1.1, s4.6.1.2: there is nothing to wait for, so both are the same. */
void xhci_stop_commands(Xhci *xhci)
{
    xhci->command_running = false;
    complete(xhci, xhci->commands.dequeue, CC_COMMAND_RING_STOPPED, 0);
}
