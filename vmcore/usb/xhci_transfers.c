/*
 * xHCI transfer rings (xHCI 1.2 s3.2.8 to s3.2.10, s4.10, s4.11): what the driver wants moved, and what it is
 * told of it.
 *
 * A transfer descriptor is taken off the ring whole: all TRBs that are chained, and for a control endpoint
 * all stages, are copied and checked before the device hears of any of it. One that is not whole yet is
 * looked at again with the next doorbell. An endpoint has one descriptor at a time; while its device answers
 * NAK the descriptor stays here, and bytes already moved stay moved.
 *
 * A driver gets one event for a descriptor, or for a stage of a control transfer: at the first TRB that
 * interrupts on completion, at the one where a packet came short and that is to say so (ISP), or at the one
 * where the transfer failed.
 */
#include "base/seeded.h"
#include "usb/xhci_internal.h"

/* ---- moving bytes ---- */

static bool has_data(const XhciTrb *trb)
{
    return TRB_TYPE(trb->control) == TRB_NORMAL || TRB_TYPE(trb->control) == TRB_DATA;
}

static bool is_in(const XhciTd *td)
{
    return td->transfer.endpoint & VMC_USB_IN;
}

/* VmcUsbTransfer.move. What lies where was checked when the descriptor was taken. */
static void move(VmcUsbTransfer *transfer, void *buf, uint32_t len)
{
    XhciTd *td = (XhciTd *)transfer;
    uint8_t *bytes = buf;

    while (len && td->move_trb < td->n) {
        const XhciTrb *trb = &td->trbs[td->move_trb];
        uint32_t size = has_data(trb) ? TRB_LENGTH(trb->status) : 0;
        uint32_t here = MIN(len, size - td->move_offset);

        if (trb->control & TRB_IMMEDIATE) {
            uint64_t le = GUINT64_TO_LE(trb->parameter);
            if (here) /* at most 8 and never to the guest, see check_trb */
                memcpy(bytes, (uint8_t *)&le + td->move_offset, here);
        } else if (is_in(td)) {
            vmc_memory_write(td->xhci->memory, trb->parameter + td->move_offset, bytes, here);
        } else {
            vmc_memory_read(td->xhci->memory, trb->parameter + td->move_offset, bytes, here);
        }
        bytes += here;
        len -= here;
        td->move_offset += here;
        if (td->move_offset == size) {
            td->move_trb++;
            td->move_offset = 0;
        }
    }
}

/* ---- taking a descriptor off the ring ---- */

/* Whether [gpa, gpa + len) is RAM, and writable if it has to be. */
static bool is_ram(const Xhci *xhci, uint64_t gpa, uint32_t len, bool write)
{
    while (len) {
        const VmcMemSlot *slot = vmc_memory_slot(xhci->memory, gpa);
        if (!slot || (write && slot->readonly))
            return false;
        uint64_t here = MIN((uint64_t)len, slot->size - (gpa - slot->gpa));
        gpa += here;
        len -= (uint32_t)here;
    }
    return true;
}

static bool check_data(const Xhci *xhci, const XhciTrb *trb, bool in)
{
    uint32_t len = TRB_LENGTH(trb->status);

    if (trb->control & TRB_IMMEDIATE)
        return len <= 8 && !in;
    return len <= TRB_BYTES_MAX && is_ram(xhci, trb->parameter, len, in);
}

/* Whether a TRB may stand at this place of a descriptor. The first of a control transfer is its setup stage,
 * which says which way data goes. */
static bool check_trb(const Xhci *xhci, const XhciTd *td, const XhciTrb *trb, bool control)
{
    bool data_in = trb->control & TRB_DIR_IN;

    switch (TRB_TYPE(trb->control)) {
    case TRB_NORMAL:
        return (!control || td->setup) && check_data(xhci, trb, is_in(td));
    case TRB_DATA:
        return td->setup && data_in == is_in(td) && check_data(xhci, trb, data_in);
    case TRB_SETUP:
        return control && !td->n && (trb->control & TRB_IMMEDIATE) && TRB_LENGTH(trb->status) == 8;
    case TRB_STATUS:
        return td->setup;
    case TRB_EVENT_DATA:
    case TRB_NOOP:
        return true;
    default: /* isochronous transfers among them: no endpoint is of that type */
        return false;
    }
}

static void append(XhciTd *td, const XhciTrb *trb)
{
    if (td->n == td->room) {
        td->room = td->room ? td->room * 2 : 8;
        td->trbs = g_renew(XhciTrb, td->trbs, td->room);
    }
    td->trbs[td->n++] = *trb;
}

/* A descriptor ends where nothing is chained; a control transfer with its status stage, or what is chained to
 * that. */
static bool is_whole(const XhciTd *td, bool status_seen)
{
    if (td->trbs[td->n - 1].control & TRB_CHAIN)
        return false;
    return !td->setup || status_seen;
}

static void begin(XhciTd *td, unsigned index)
{
    td->n = 0;
    td->setup = false;
    td->move_trb = td->move_offset = 0;
    td->transfer = (VmcUsbTransfer){
        .endpoint = (uint8_t)(index / 2 | (index % 2 && index > 1 ? VMC_USB_IN : 0)),
        .move = move,
    };
}

/* BAD: `bad` is the TRB that is to blame, or where there is none. */
static XhciFetch take_td(Xhci *xhci, XhciEndpoint *ep, unsigned index, XhciTrb *bad)
{
    XhciTd *td = &ep->td;
    XhciRing at = ep->ring;
    bool control = ep->type == EP_TYPE_CONTROL, status_seen = false;

    begin(td, index);
    td->xhci = xhci;
    do {
        XhciTrb trb;
        XhciFetch result = xhci_fetch(xhci, &at, &trb);
        *bad = result == XHCI_FETCH_TRB ? trb : (XhciTrb){.at = at.dequeue};
        if (result != XHCI_FETCH_TRB)
            return result;
        if (td->n == XHCI_TD_TRBS_MAX || !check_trb(xhci, td, &trb, control))
            return XHCI_FETCH_BAD;
        append(td, &trb);
        if (TRB_TYPE(trb.control) == TRB_SETUP) {
            td->setup = true;
            td->transfer.endpoint = trb.parameter & VMC_USB_IN;
        } else if (TRB_TYPE(trb.control) == TRB_STATUS) {
            status_seen = true;
        } else if (has_data(&trb)) {
            td->transfer.length += TRB_LENGTH(trb.status);
        }
    } while (!is_whole(td, status_seen));
    td->after = at;
    td->pending = true;
    return XHCI_FETCH_TRB;
}

/* ---- events (s4.10.1 to s4.10.4, s6.4.2.1) ---- */

static void post(Xhci *xhci, unsigned slot, unsigned index, const XhciTrb *trb, unsigned code,
                 uint32_t length, bool event_data)
{
    XhciEvent event = {
        .parameter = event_data ? trb->parameter : trb->at,
        .status = code << 24 | (length & 0xffffffu),
        .control = TRB_TRANSFER_EVENT << 10 | index << 16 | slot << 24 | (event_data ? TRB_EVENT_ED : 0),
        .quiet = trb->control & TRB_BEI,
    };

    xhci_post(xhci, TRB_TARGET(trb->status), &event);
}

/* How a walk over the TRBs of a descriptor that is done stands. */
typedef struct Report {
    unsigned code;
    uint32_t left;  /* bytes moved beyond the TRBs seen */
    uint32_t moved; /* since the last event data TRB: EDTLA, s4.11.5.2 */
    bool shortfall, told;
    bool last; /* the TRB looked at */
} Report;

/* True: this was the failure, the walk is over. */
static bool report_trb(Xhci *xhci, unsigned slot, unsigned index, const XhciTrb *trb, Report *r)
{
    unsigned type = TRB_TYPE(trb->control);
    uint32_t size = has_data(trb) ? TRB_LENGTH(trb->status) : 0, here = MIN(size, r->left);
    bool failed;

    r->left -= here;
    r->moved += here;
    r->shortfall |= here < size;
    if (type == TRB_STATUS)
        r->told = r->shortfall = false;
    /* It failed where bytes are missing, or in the end if none are. */
    failed = r->code != CC_SUCCESS && !r->left && type != TRB_SETUP && (here < size || !size || r->last);
    if (failed || (!r->told && ((trb->control & TRB_IOC) || (r->shortfall && (trb->control & TRB_ISP))))) {
        unsigned code = failed ? r->code : r->shortfall ? CC_SHORT_PACKET : CC_SUCCESS;
        bool event_data = type == TRB_EVENT_DATA;
        post(xhci, slot, index, trb, code, event_data ? r->moved : size - here, event_data);
        if (event_data)
            r->moved = 0;
        r->told = true;
    }
    if (type == TRB_SETUP)
        r->told = false;
    return failed;
}

static void report(Xhci *xhci, unsigned slot, unsigned index, unsigned code)
{
    const XhciTd *td = &xhci->slots[slot].endpoints[index].td;
    Report r = {.code = code, .left = td->transfer.actual};

    for (unsigned i = 0; i < td->n; i++) {
        r.last = i + 1 == td->n;
        if (report_trb(xhci, slot, index, &td->trbs[i], &r))
            return;
    }
}

/* ---- doing it ---- */

static void parse_setup(uint64_t raw, VmcUsbSetup *setup)
{
    *setup = (VmcUsbSetup){
        .type = (uint8_t)raw,
        .request = (uint8_t)(raw >> 8),
        .value = (uint16_t)(raw >> 16),
        .index = (uint16_t)(raw >> 32),
        .length = (uint16_t)(raw >> 48),
    };
}

/* The request's length and the driver's buffers both bound what is moved; so does our buffer, whose size
 * requests to a device must not exceed. SET_ADDRESS is the controller's alone (s4.5.4.1). */
static VmcUsbStatus control_transfer(VmcUsbDevice *dev, XhciTd *td)
{
    uint8_t data[VMC_USB_CONTROL_MAX];
    uint32_t length;
    VmcUsbSetup setup;
    VmcUsbStatus status;
    bool in = is_in(td);

    parse_setup(td->trbs[0].parameter, &setup);
    length = MIN(setup.length, td->transfer.length);
    if (!in && length > sizeof(data) && !VMC_SEEDED(USB_LENGTH))
        return VMC_USB_STALL;
    if (!(setup.type & 0x7f) && setup.request == VMC_USB_SET_ADDRESS)
        return VMC_USB_STALL;
    if (!VMC_SEEDED(USB_LENGTH))
        length = MIN(length, sizeof(data));
    if (!in)
        vmc_usb_transfer_get(&td->transfer, data, length);
    status = vmc_usb_control(dev, &setup, data, &length);
    if (in && status == VMC_USB_OK)
        vmc_usb_transfer_put(&td->transfer, data, MIN(length, sizeof(data)));
    return status;
}

static VmcUsbStatus execute(VmcUsbDevice *dev, XhciEndpoint *ep, unsigned *code)
{
    VmcUsbStatus status;

    if (!dev) {
        *code = CC_USB_TRANSACTION_ERROR;
        return VMC_USB_STALL;
    }
    if (ep->td.setup)
        status = control_transfer(dev, &ep->td);
    else if (ep->type == EP_TYPE_CONTROL) /* nothing but no-ops and event data */
        status = VMC_USB_OK;
    else
        status = vmc_usb_transfer(dev, &ep->td.transfer);
    *code = status == VMC_USB_OK ? CC_SUCCESS : CC_STALL;
    return status;
}

/* Only no-ops and event data: nothing for a device. */
static bool is_idle_td(const XhciTd *td)
{
    for (unsigned i = 0; i < td->n; i++)
        if (has_data(&td->trbs[i]) || TRB_TYPE(td->trbs[i].control) == TRB_SETUP)
            return false;
    return !td->setup;
}

static void fail_endpoint(Xhci *xhci, unsigned slot, unsigned index, unsigned state)
{
    XhciEndpoint *ep = &xhci->slots[slot].endpoints[index];

    ep->state = state;
    ep->td.pending = false;
    xhci_write_endpoint(xhci, slot, index);
}

/* One descriptor. True: it is done, and the next may follow. */
static bool run_one(Xhci *xhci, unsigned slot, unsigned index)
{
    XhciEndpoint *ep = &xhci->slots[slot].endpoints[index];
    unsigned code = CC_SUCCESS;
    VmcUsbStatus status = VMC_USB_OK;
    XhciTrb bad;

    if (!ep->td.pending) {
        XhciFetch result = take_td(xhci, ep, index, &bad);
        if (result == XHCI_FETCH_EMPTY)
            return false;
        if (result == XHCI_FETCH_BAD) {
            post(xhci, slot, index, &bad, CC_TRB_ERROR, 0, false);
            fail_endpoint(xhci, slot, index, EP_ERROR);
            return false;
        }
    }
    if (!is_idle_td(&ep->td))
        status = execute(xhci->slots[slot].dev, ep, &code);
    if (status == VMC_USB_NAK)
        return false;
    report(xhci, slot, index, code);
    if (code != CC_SUCCESS) {
        fail_endpoint(xhci, slot, index, EP_HALTED);
        return false;
    }
    ep->td.pending = false;
    ep->ring = ep->td.after;
    return true;
}

bool xhci_run_endpoint(Xhci *xhci, unsigned slot, unsigned index, bool rung)
{
    XhciEndpoint *ep = &xhci->slots[slot].endpoints[index];

    if (rung)
        ep->credit = XHCI_CREDIT;
    if (rung && ep->state == EP_STOPPED) {
        ep->state = EP_RUNNING;
        xhci_write_endpoint(xhci, slot, index);
    }
    for (unsigned n = 0; n < XHCI_TURN; n++) {
        if (!xhci_running(xhci) || ep->state != EP_RUNNING)
            return false;
        if (!xhci_can_post(xhci) || !ep->credit)
            return false;
        if (!run_one(xhci, slot, index))
            return false;
        ep->credit--;
    }
    return true;
}

/* s4.6.9: where the descriptor under way has come to. It is begun anew if the driver leaves it where it is.
 */
void xhci_stop_endpoint(Xhci *xhci, unsigned slot, unsigned index)
{
    XhciTd *td = &xhci->slots[slot].endpoints[index].td;
    uint32_t left = td->transfer.actual;

    if (!td->pending)
        return;
    td->pending = false;
    for (unsigned i = 0; i < td->n; i++) {
        uint32_t size = has_data(&td->trbs[i]) ? TRB_LENGTH(td->trbs[i].status) : 0;
        if (size <= left && i + 1 < td->n) {
            left -= size;
            continue;
        }
        post(xhci, slot, index, &td->trbs[i], CC_STOPPED, size - MIN(left, size), false);
        return;
    }
}

bool xhci_take_again(Xhci *xhci, unsigned slot, unsigned index, uint32_t moved)
{
    XhciEndpoint *ep = &xhci->slots[slot].endpoints[index];
    XhciTd *td = &ep->td;
    XhciTrb bad;

    if (take_td(xhci, ep, index, &bad) != XHCI_FETCH_TRB)
        return false;
    if (td->setup || moved > td->transfer.length) {
        td->pending = false;
        return false;
    }
    td->transfer.actual = moved;
    while (moved && td->move_trb < td->n) {
        const XhciTrb *trb = &td->trbs[td->move_trb];
        uint32_t size = has_data(trb) ? TRB_LENGTH(trb->status) : 0, here = MIN(moved, size);
        moved -= here;
        td->move_offset = here;
        if (here == size) {
            td->move_trb++;
            td->move_offset = 0;
        }
    }
    return true;
}
