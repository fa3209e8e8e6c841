/*
 * xHCI rings: TRBs out of the guest's rings, events into them, and the interrupts that go with events
 * (xHCI 1.2 s4.9, s4.17).
 *
 * Nothing about a ring is remembered but where its consumer or producer stands: each TRB, each link and each
 * entry of an event ring segment table is read and checked when it is needed.
 *
 * Events the guest has left no room for wait in the interrupter, and while many wait, no command or transfer
 * is begun: so there is no Event Ring Full Error, and nothing is lost.
 */
#include <string.h>

#include "usb/xhci_internal.h"

#define SEGMENT_TRBS_MIN 16u
#define SEGMENT_TRBS_MAX 4096u

/* ---- out of the guest's rings ---- */

/* The cycle bit is the last thing a driver writes of a TRB, so the rest is read after it has been seen. */
static XhciFetch read_trb(Xhci *xhci, const XhciRing *ring, XhciTrb *trb)
{
    uint32_t raw[4];

    if (!vmc_memory_read(xhci->memory, ring->dequeue + 12, &raw[3], 4))
        return XHCI_FETCH_BAD;
    if ((GUINT32_FROM_LE(raw[3]) & TRB_CYCLE) != ring->cycle)
        return XHCI_FETCH_EMPTY;
    atomic_thread_fence(memory_order_acquire);
    if (!vmc_memory_read(xhci->memory, ring->dequeue, raw, sizeof(raw)))
        return XHCI_FETCH_BAD;
    trb->at = ring->dequeue;
    trb->parameter = GUINT32_FROM_LE(raw[0]) | (uint64_t)GUINT32_FROM_LE(raw[1]) << 32;
    trb->status = GUINT32_FROM_LE(raw[2]);
    trb->control = GUINT32_FROM_LE(raw[3]);
    return XHCI_FETCH_TRB;
}

XhciFetch xhci_fetch(Xhci *xhci, XhciRing *ring, XhciTrb *trb)
{
    for (unsigned links = 0; links <= XHCI_LINKS_MAX; links++) {
        XhciFetch result = read_trb(xhci, ring, trb);
        if (result != XHCI_FETCH_TRB)
            return result;
        if (TRB_TYPE(trb->control) != TRB_LINK) {
            ring->dequeue += TRB_SIZE;
            return XHCI_FETCH_TRB;
        }
        ring->dequeue = trb->parameter & ~15ull;
        ring->cycle ^= !!(trb->control & TRB_TOGGLE);
    }
    return XHCI_FETCH_BAD;
}

/* ---- event rings (s4.9.4) ---- */

/* Goes to a segment of the table. False: the entry is no good. */
static bool open_segment(Xhci *xhci, XhciInterrupter *intr, unsigned segment)
{
    uint64_t table = intr->erstba & ~63ull;
    uint32_t entry[4]; /* address, size, reserved */

    if (!xhci_read_dwords(xhci, table + 16ull * segment, entry, 4))
        return false;
    uint64_t base = (entry[0] | (uint64_t)entry[1] << 32) & ~63ull;
    unsigned trbs = entry[2] & 0xffff;
    if (trbs < SEGMENT_TRBS_MIN || trbs > SEGMENT_TRBS_MAX)
        return false;
    intr->segment = segment;
    intr->enqueue = base;
    intr->left = trbs;
    return true;
}

static bool open_ring(Xhci *xhci, XhciInterrupter *intr)
{
    intr->fresh = false;
    intr->cycle = true;
    intr->ready = open_segment(xhci, intr, 0);
    return intr->ready;
}

/* Moves the enqueue pointer behind the TRB it points to; through the segments round and round. */
static bool advance(Xhci *xhci, XhciInterrupter *intr)
{
    intr->enqueue += TRB_SIZE;
    if (--intr->left)
        return true;
    unsigned next = intr->segment + 1 < intr->erstsz ? intr->segment + 1 : 0;
    intr->cycle ^= !next;
    return open_segment(xhci, intr, next);
}

/* Writes one event. False: the ring is full, or broken and the controller with it. A ring is full when the
 * next event would catch up with the guest; it may move ERDP anywhere, which costs it its own events. */
static bool write_event(Xhci *xhci, XhciInterrupter *intr, const XhciEvent *event)
{
    XhciInterrupter next = {
        .erstba = intr->erstba,
        .erstsz = intr->erstsz,
        .segment = intr->segment,
        .left = intr->left,
        .enqueue = intr->enqueue,
        .cycle = intr->cycle,
    };
    uint32_t control = event->control | (intr->cycle ? TRB_CYCLE : 0);
    uint32_t raw[4] = {GUINT32_TO_LE((uint32_t)event->parameter),
                       GUINT32_TO_LE((uint32_t)(event->parameter >> 32)), GUINT32_TO_LE(event->status),
                       GUINT32_TO_LE(control)};

    if (!advance(xhci, &next)) {
        xhci_die(xhci);
        return false;
    }
    if (next.enqueue == (intr->erdp & ~15ull))
        return false;
    if (!vmc_memory_write(xhci->memory, intr->enqueue, raw, 12)) {
        xhci_die(xhci);
        return false;
    }
    atomic_thread_fence(memory_order_release);
    if (!vmc_memory_write(xhci->memory, intr->enqueue + 12, &raw[3], 4)) {
        xhci_die(xhci);
        return false;
    }
    intr->segment = next.segment;
    intr->left = next.left;
    intr->enqueue = next.enqueue;
    intr->cycle = next.cycle;
    return true;
}

/* ---- interrupts (s4.17) ---- */

/* With MSI-X, a message goes out when IP and IE come together, and IP falls by that (s4.17.3). */
void xhci_update_interrupts(Xhci *xhci)
{
    bool msix = vmc_pci_msix_enabled(&xhci->pci), level = false;

    for (unsigned i = 0; i < XHCI_INTERRUPTERS; i++) {
        XhciInterrupter *intr = &xhci->interrupters[i];
        if (!(xhci->usbcmd & CMD_INTE) || (intr->iman & (IMAN_IP | IMAN_IE)) != (IMAN_IP | IMAN_IE))
            continue;
        if (msix) {
            intr->iman &= ~IMAN_IP;
            vmc_pci_msix_notify(&xhci->pci, i);
        } else {
            level = true;
        }
    }
    vmc_pci_intx(&xhci->pci, level);
}

/* EHB: no further interrupt until the handler has cleared it. The moderation interval (IMOD) is kept and not
 * waited for: EHB alone makes one interrupt of many events. */
static void raise_interrupt(Xhci *xhci, XhciInterrupter *intr)
{
    if (intr->erdp & ERDP_EHB)
        return;
    intr->erdp |= ERDP_EHB;
    intr->iman |= IMAN_IP;
    xhci->usbsts |= STS_EINT;
    xhci_update_interrupts(xhci);
}

void xhci_handler_done(Xhci *xhci, unsigned n)
{
    XhciInterrupter *intr = &xhci->interrupters[n];

    if (intr->ready && !intr->fresh && intr->enqueue != (intr->erdp & ~15ull))
        raise_interrupt(xhci, intr);
}

/* ---- posting ---- */

bool xhci_drain(Xhci *xhci, unsigned n)
{
    XhciInterrupter *intr = &xhci->interrupters[n];
    bool held_up = intr->count >= XHCI_WAITING_LIMIT, loud = false;

    while (intr->count && write_event(xhci, intr, &intr->waiting[intr->first])) {
        loud |= !intr->waiting[intr->first].quiet;
        intr->first = (intr->first + 1) % XHCI_WAITING_MAX;
        intr->count--;
    }
    if (loud)
        raise_interrupt(xhci, intr);
    return held_up && intr->count < XHCI_WAITING_LIMIT;
}

/* Without MSI-X there is one wire, and by s4.17.1 all events go to the first interrupter. */
void xhci_post(Xhci *xhci, unsigned target, const XhciEvent *event)
{
    unsigned n = vmc_pci_msix_enabled(&xhci->pci) ? target % XHCI_INTERRUPTERS : 0;
    XhciInterrupter *intr = &xhci->interrupters[n];

    if (!xhci_running(xhci) || !intr->erstsz)
        return;
    if ((intr->fresh && !open_ring(xhci, intr)) || !intr->ready) {
        xhci_die(xhci);
        return;
    }
    /* The last in the queue are dropped only if they come from ports, whose registers say the same. */
    if (intr->count == XHCI_WAITING_MAX)
        return;
    intr->waiting[(intr->first + intr->count++) % XHCI_WAITING_MAX] = *event;
    xhci_drain(xhci, n);
}

bool xhci_can_post(const Xhci *xhci)
{
    for (unsigned i = 0; i < XHCI_INTERRUPTERS; i++)
        if (xhci->interrupters[i].count >= XHCI_WAITING_LIMIT)
            return false;
    return true;
}
