/*
 * A small xHCI driver for tests: it brings a controller on a real PCI bus up as a guest does, through its
 * registers and rings in guest memory, gives devices addresses and moves data. Numbers are written down here
 * again, from the specification, not taken from the controller's own header.
 *
 * Built on virtio_rig.h's machine: memory, bus, I/O thread, interrupts.
 */
#pragma once

#include "tests/unit/virtio_rig.h"

#include "usb/xhci.h"

#define XR_PORTS 8u
#define XR_TRBS  32u /* of every ring; the last is a link */
#define XR_WAIT  (20 * G_TIME_SPAN_SECOND)

enum { XR_OP = 0x40, XR_PORTSC = 0x440, XR_RT = 0x1000, XR_DB = 0x2000 };
enum {
    XR_SUCCESS = 1,
    XR_TRANSACTION_ERROR = 4,
    XR_TRB_ERROR = 5,
    XR_STALL = 6,
    XR_NO_SLOTS = 9,
    XR_NOT_ENABLED = 11,
    XR_SHORT = 13,
    XR_PARAMETER = 17,
    XR_CONTEXT_STATE = 19,
    XR_RING_STOPPED = 24,
    XR_STOPPED = 26,
};

typedef struct XrTrb {
    uint64_t parameter;
    uint32_t status, control;
} XrTrb;

typedef struct XrRing {
    uint64_t base;
    unsigned next;
    bool cycle;
} XrRing;

typedef struct XrEvents {
    uint64_t base, table;
    unsigned segments, size, next; /* size: TRBs of all segments */
    bool cycle;
} XrEvents;

typedef struct Xr {
    Rig rig;
    uint64_t bar, dcbaa;
    XrRing commands;
    XrEvents events[8];
    unsigned vectors;
    uint64_t scratch; /* 64 KiB for data */
    GArray *ports;    /* of unsigned: port events that came while something else was waited for */
} Xr;

/* A device with an address. */
typedef struct XrDevice {
    unsigned slot;
    uint64_t context, input;
    XrRing rings[32];
} XrDevice;

static inline uint32_t xr_read(Xr *x, unsigned offset)
{
    return (uint32_t)vmc_bus_read(x->rig.mmio, x->bar + offset, 4);
}

static inline void xr_write(Xr *x, unsigned offset, uint32_t value)
{
    vmc_bus_write(x->rig.mmio, x->bar + offset, 4, value);
}

static inline void xr_write64(Xr *x, unsigned offset, uint64_t value)
{
    xr_write(x, offset, (uint32_t)value);
    xr_write(x, offset + 4, (uint32_t)(value >> 32));
}

/* Polls a register, as drivers do. */
static inline void xr_await(Xr *x, unsigned offset, uint32_t mask, uint32_t value)
{
    for (int64_t end = g_get_monotonic_time() + XR_WAIT; (xr_read(x, offset) & mask) != value; g_usleep(200))
        if (g_get_monotonic_time() > end)
            fail_msg("register %#x is %#x; its bits %#x should become %#x", offset, xr_read(x, offset), mask,
                     value);
}

static inline uint64_t xr_zeroed(Xr *x, uint64_t len)
{
    uint64_t at = rig_alloc(&x->rig, len);

    memset(rig_host(&x->rig, at, len), 0, len);
    return at;
}

static inline XrTrb *xr_trb(Xr *x, uint64_t at)
{
    return rig_host(&x->rig, at, sizeof(XrTrb));
}

/* ---- rings ---- */

static inline XrRing xr_ring(Xr *x)
{
    XrRing ring = {.base = xr_zeroed(x, XR_TRBS * 16), .cycle = true};

    return ring;
}

/* Writes one TRB; its cycle bit last, unless `hold`: then it is still the driver's. */
static inline uint64_t xr_put_held(Xr *x, XrRing *ring, uint64_t parameter, uint32_t status, uint32_t control,
                                   bool hold)
{
    uint64_t at = ring->base + 16 * ring->next;
    XrTrb *trb = xr_trb(x, at);

    trb->parameter = parameter;
    trb->status = status;
    __atomic_store_n(&trb->control, control | (ring->cycle != hold), __ATOMIC_RELEASE);
    if (++ring->next == XR_TRBS - 1) {
        XrTrb *link = xr_trb(x, ring->base + 16 * ring->next);
        link->parameter = ring->base;
        __atomic_store_n(&link->control, 6 << 10 | 2 | (control & 16) | ring->cycle, __ATOMIC_RELEASE);
        ring->next = 0;
        ring->cycle = !ring->cycle;
    }
    return at;
}

static inline uint64_t xr_put(Xr *x, XrRing *ring, uint64_t parameter, uint32_t status, uint32_t control)
{
    return xr_put_held(x, ring, parameter, status, control, false);
}

/* ---- events ---- */

static inline void xr_set_events(Xr *x, unsigned n, unsigned segments, unsigned trbs)
{
    XrEvents *events = &x->events[n];
    unsigned regs = XR_RT + 0x20 + 32 * n;

    *events = (XrEvents){.segments = segments, .size = segments * trbs, .cycle = true};
    events->base = xr_zeroed(x, 16ull * segments * trbs);
    events->table = xr_zeroed(x, 16 * segments);
    uint32_t *table = rig_host(&x->rig, events->table, 16 * segments);
    for (unsigned i = 0; i < segments; i++) {
        table[4 * i] = (uint32_t)(events->base + 16ull * trbs * i);
        table[4 * i + 2] = trbs;
    }
    xr_write(x, regs + 8, segments);
    xr_write64(x, regs + 0x18, events->base);
    xr_write64(x, regs + 0x10, events->table);
    xr_write(x, regs, 2);
}

static inline bool xr_event_there(Xr *x, unsigned n, XrTrb *event)
{
    XrEvents *events = &x->events[n];
    XrTrb *trb = xr_trb(x, events->base + 16ull * events->next);

    if ((__atomic_load_n(&trb->control, __ATOMIC_ACQUIRE) & 1) != events->cycle)
        return false;
    *event = *trb;
    return true;
}

/* The handler is through with one event: moves on and clears EHB. */
static inline void xr_event_done(Xr *x, unsigned n)
{
    XrEvents *events = &x->events[n];

    if (++events->next == events->size) {
        events->next = 0;
        events->cycle = !events->cycle;
    }
    xr_write64(x, XR_RT + 0x20 + 32 * n + 0x18, (events->base + 16ull * events->next) | 8);
}

/* The next event of interrupter `n`. */
static inline XrTrb xr_event_at(Xr *x, unsigned n)
{
    XrTrb event;

    for (int64_t end = g_get_monotonic_time() + XR_WAIT; !xr_event_there(x, n, &event); g_usleep(100))
        if (g_get_monotonic_time() > end)
            fail_msg("no event on interrupter %u; USBSTS %#x", n, xr_read(x, XR_OP + 4));
    xr_event_done(x, n);
    return event;
}

static inline unsigned xr_type(XrTrb event)
{
    return event.control >> 10 & 63;
}

static inline unsigned xr_code(XrTrb event)
{
    return event.status >> 24;
}

/* The next that is not about a port; those are kept. */
static inline XrTrb xr_event(Xr *x)
{
    for (;;) {
        XrTrb event = xr_event_at(x, 0);
        unsigned port = (unsigned)(event.parameter >> 24);
        if (xr_type(event) != 34)
            return event;
        g_array_append_val(x->ports, port);
    }
}

/* Nothing comes for a while. */
static inline void xr_expect_quiet(Xr *x, unsigned n)
{
    XrTrb event;

    g_usleep(30000);
    if (xr_event_there(x, n, &event))
        fail_msg("an event of type %u, code %u, that should not have come", xr_type(event), xr_code(event));
}

/* ---- commands ---- */

static inline XrTrb xr_command_event(Xr *x, uint64_t parameter, uint32_t control)
{
    uint64_t at = xr_put(x, &x->commands, parameter, 0, control);

    xr_write(x, XR_DB, 0);
    XrTrb event = xr_event(x);
    assert_int_equal(xr_type(event), 33);
    assert_int_equal(event.parameter, at);
    return event;
}

static inline unsigned xr_command(Xr *x, uint64_t parameter, unsigned type, unsigned slot, uint32_t more)
{
    return xr_code(xr_command_event(x, parameter, type << 10 | slot << 24 | more));
}

/* ---- bring-up ---- */

static inline void xr_start(Xr *x)
{
    xr_write(x, XR_OP, 2);
    xr_await(x, XR_OP, 2, 0);
    xr_await(x, XR_OP + 4, 1 << 11, 0);
    xr_write(x, XR_OP + 0x38, 64);
    x->dcbaa = xr_zeroed(x, 8 * 65);
    xr_write64(x, XR_OP + 0x30, x->dcbaa);
    x->commands = xr_ring(x);
    xr_write64(x, XR_OP + 0x18, x->commands.base | 1);
    xr_set_events(x, 0, 1, 64);
    xr_write(x, XR_OP, 5);
    xr_await(x, XR_OP + 4, 1, 0);
}

static inline void xr_init(Xr *x)
{
    memset(x, 0, sizeof(*x));
    rig_init(&x->rig);
    x->ports = g_array_new(FALSE, FALSE, sizeof(unsigned));
    x->rig.dev = vmc_xhci_new(x->rig.memory, x->rig.io);
    assert_non_null(x->rig.dev);
    assert_true(vmc_pci_bus_add(x->rig.pci, x->rig.dev, -1, 0));
    static const uint8_t lines[8] = {10, 11, 10, 11, 10, 11, 10, 11};
    vmc_pci_bus_assign(x->rig.pci, RIG_WINDOW, RIG_WINDOW + 0x1000000, 0xc000, lines);
    rig_set_config(&x->rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    x->bar = rig_bar(&x->rig, 0);
    x->scratch = rig_alloc(&x->rig, 65536);
}

/* Vector n sends data n. */
static inline void xr_enable_msix(Xr *x)
{
    Rig *rig = &x->rig;
    unsigned cap = rig_config(rig, PCI_CAPABILITY_LIST, 1);

    while (rig_config(rig, cap, 1) != PCI_CAP_ID_MSIX)
        cap = rig_config(rig, cap + 1, 1);
    uint32_t where = rig_config(rig, cap + PCI_MSIX_TABLE, 4);
    uint64_t table = rig_bar(rig, where & 7) + (where & ~7u);
    x->vectors = (rig_config(rig, cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
    rig_set_config(rig, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
    for (unsigned i = 0; i < x->vectors; i++) {
        vmc_bus_write(rig->mmio, table + 16 * i, 4, RIG_MSI);
        vmc_bus_write(rig->mmio, table + 16 * i + 8, 4, i);
        vmc_bus_write(rig->mmio, table + 16 * i + 12, 4, 0);
    }
}

static inline void xr_clear(Xr *x)
{
    rig_clear(&x->rig);
    g_array_unref(x->ports);
}

/* ---- ports ---- */

static inline uint32_t xr_portsc(Xr *x, unsigned port)
{
    return xr_read(x, XR_PORTSC + 16 * (port - 1));
}

/* Writes the bits and clears no change. */
static inline void xr_set_portsc(Xr *x, unsigned port, uint32_t bits)
{
    xr_write(x, XR_PORTSC + 16 * (port - 1), bits);
}

static inline void xr_reset_port(Xr *x, unsigned port)
{
    xr_set_portsc(x, port, 1 << 4);
    xr_await(x, XR_PORTSC + 16 * (port - 1), 1 << 21, 1 << 21);
    xr_set_portsc(x, port, 1 << 21);
    assert_true(xr_portsc(x, port) & 2);
}

/* ---- devices ---- */

static inline uint32_t *xr_context(Xr *x, uint64_t base, unsigned index)
{
    return rig_host(&x->rig, base + 32ull * index, 32);
}

static inline void xr_fill_endpoint(Xr *x, XrDevice *dev, unsigned index, unsigned type, unsigned packet)
{
    uint32_t *ep = xr_context(x, dev->input, index + 1);

    dev->rings[index] = xr_ring(x);
    memset(ep, 0, 32);
    ep[0] = 4 << 16;
    ep[1] = packet << 16 | type << 3 | 3 << 1;
    ep[2] = (uint32_t)dev->rings[index].base | 1;
    ep[4] = 512;
}

/* A slot, and an input context for the device at a root port and the route below it. */
static inline void xr_enable_slot(Xr *x, XrDevice *dev, unsigned port, uint32_t route)
{
    XrTrb event = xr_command_event(x, 0, 9 << 10);

    assert_int_equal(xr_code(event), XR_SUCCESS);
    *dev = (XrDevice){.slot = event.control >> 24};
    dev->context = xr_zeroed(x, 32 * 32);
    dev->input = xr_zeroed(x, 33 * 32);
    ((uint64_t *)rig_host(&x->rig, x->dcbaa, 8 * 65))[dev->slot] = dev->context;
    xr_context(x, dev->input, 0)[1] = 3;
    uint32_t *slot = xr_context(x, dev->input, 1);
    slot[0] = 1u << 27 | (port > 4 ? 4 : 3) << 20 | route;
    slot[1] = port << 16;
    xr_fill_endpoint(x, dev, 1, 4, port > 4 ? 512 : 64);
}

static inline void xr_address(Xr *x, XrDevice *dev, unsigned port, uint32_t route)
{
    xr_enable_slot(x, dev, port, route);
    assert_int_equal(xr_command(x, dev->input, 11, dev->slot, 0), XR_SUCCESS);
    assert_int_equal(xr_context(x, dev->context, 0)[3], 2u << 27 | dev->slot);
}

static inline unsigned xr_endpoint_state(Xr *x, const XrDevice *dev, unsigned index)
{
    return xr_context(x, dev->context, index)[0] & 7;
}

/* Adds an endpoint, by Configure Endpoint. */
static inline unsigned xr_add_endpoint(Xr *x, XrDevice *dev, unsigned index, unsigned type, unsigned packet)
{
    xr_context(x, dev->input, 0)[0] = 0;
    xr_context(x, dev->input, 0)[1] = 1 | 1u << index;
    xr_context(x, dev->input, 1)[0] |= 31u << 27;
    xr_fill_endpoint(x, dev, index, type, packet);
    return xr_command(x, dev->input, 12, dev->slot, 0);
}

/* ---- transfers ---- */

static inline void xr_ring_endpoint(Xr *x, const XrDevice *dev, unsigned index)
{
    xr_write(x, XR_DB + 4 * dev->slot, index);
}

typedef struct XrDone {
    unsigned code;
    uint32_t moved;
} XrDone;

/* A control request with its data in the scratch memory. */
static inline XrDone xr_control(Xr *x, XrDevice *dev, uint8_t type, uint8_t request, uint16_t value,
                                uint16_t index, uint16_t length)
{
    XrRing *ring = &dev->rings[1];
    bool in = type & 0x80;
    uint64_t setup =
        type | request << 8 | (uint64_t)value << 16 | (uint64_t)index << 32 | (uint64_t)length << 48;
    uint32_t moved = 0;

    xr_put(x, ring, setup, 8, 2 << 10 | 1 << 6 | (length ? (in ? 3 : 2) << 16 : 0));
    if (length)
        xr_put(x, ring, x->scratch, length, 3 << 10 | (uint32_t)in << 16 | 1 << 2 | 1 << 5);
    xr_put(x, ring, 0, 0, 4 << 10 | (uint32_t)(!length || !in) << 16 | 1 << 5);
    xr_ring_endpoint(x, dev, 1);
    XrTrb event = xr_event(x);
    if (length && (xr_code(event) == XR_SUCCESS || xr_code(event) == XR_SHORT)) {
        moved = length - (event.status & 0xffffff);
        event = xr_event(x);
    }
    assert_int_equal(xr_type(event), 32);
    assert_int_equal(event.control >> 24, dev->slot);
    return (XrDone){xr_code(event), moved};
}

static inline void *xr_data(Xr *x, uint64_t len)
{
    return rig_host(&x->rig, x->scratch, len);
}

static inline void xr_request(Xr *x, XrDevice *dev, uint8_t type, uint8_t request, uint16_t value,
                              uint16_t index, uint16_t length)
{
    XrDone done = xr_control(x, dev, type, request, value, index, length);

    if (done.code != XR_SUCCESS)
        fail_msg("request %02x %02x %04x ended with code %u", type, request, value, done.code);
}

/* After a halt: Reset Endpoint, and on behind what failed. */
static inline void xr_recover(Xr *x, XrDevice *dev, unsigned index)
{
    XrRing *ring = &dev->rings[index];

    assert_int_equal(xr_endpoint_state(x, dev, index), 2);
    assert_int_equal(xr_command(x, 0, 14, dev->slot, index << 16), XR_SUCCESS);
    assert_int_equal(xr_endpoint_state(x, dev, index), 3);
    assert_int_equal(
        xr_command(x, (ring->base + 16ull * ring->next) | ring->cycle, 16, dev->slot, index << 16),
        XR_SUCCESS);
}

/* Queues one Normal TRB, for an event on completion and on a short packet. */
static inline uint64_t xr_queue(Xr *x, XrDevice *dev, unsigned index, uint64_t gpa, uint32_t len)
{
    uint64_t at = xr_put(x, &dev->rings[index], gpa, len, 1 << 10 | 1 << 5 | 1 << 2);

    xr_ring_endpoint(x, dev, index);
    return at;
}

static inline XrDone xr_transfer(Xr *x, XrDevice *dev, unsigned index, uint64_t gpa, uint32_t len)
{
    uint64_t at = xr_queue(x, dev, index, gpa, len);
    XrTrb event = xr_event(x);

    assert_int_equal(xr_type(event), 32);
    assert_int_equal(event.parameter, at);
    assert_int_equal(event.control >> 16 & 31, index);
    return (XrDone){xr_code(event), len - (event.status & 0xffffff)};
}
