/*
 * The middle of a cable (cable.h): counts and looks at frames, finishes those that one side has left
 * unfinished and the other does not take, and keeps the pieces of one that was cut up until they have all
 * been taken.
 *
 * A frame becomes pieces only here, and while pieces of one wait, no other frame is accepted in that
 * direction: so what waits is never more than one frame makes.
 */
#include "net/cable.h"

#include <glib.h>
#include <string.h>

#include "net/offload.h"

/* A finished frame that waits. */
typedef struct Piece {
    size_t len;
    uint8_t bytes[];
} Piece;

/* One direction. */
typedef struct Way {
    bool (*give)(VmcCable *cable, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info);
    VmcCable *cable;
    GQueue waiting;   /* Piece */
    uint8_t *scratch; /* VMC_FRAME_MAX bytes, once needed */
} Way;

typedef struct VmcCableInner {
    Way out, in;
    bool receiving; /* from resume until the NIC refuses or stops */
    VmcWatch watch;
} VmcCableInner;

static const VmcFrameInfo finished = {0};

/* ---- one direction ---- */

static bool give_piece(Way *way, const Piece *piece)
{
    struct iovec iov = {(void *)(uintptr_t)piece->bytes, piece->len};

    return way->give(way->cable, &iov, 1, &finished);
}

/* True when nothing waits any more. */
static bool give_waiting(Way *way)
{
    Piece *piece;

    while ((piece = g_queue_peek_head(&way->waiting))) {
        if (!give_piece(way, piece))
            return false;
        /* It may have been dropped meanwhile by a stop that giving it led to. */
        if (g_queue_peek_head(&way->waiting) == piece)
            g_free(g_queue_pop_head(&way->waiting));
    }
    return true;
}

static void drop_waiting(Way *way)
{
    g_queue_clear_full(&way->waiting, g_free);
}

static bool take_piece(void *data, const struct iovec *iov, unsigned n_iov)
{
    Way *way = data;

    if (g_queue_is_empty(&way->waiting) && way->give(way->cable, iov, n_iov, &finished))
        return true;
    size_t len = vmc_iov_length(iov, n_iov);
    Piece *piece = g_malloc(sizeof(*piece) + len);
    piece->len = vmc_iov_copy(iov, n_iov, 0, piece->bytes, len);
    g_queue_push_tail(&way->waiting, piece);
    return true;
}

/* Gives a frame that asks for more than the other side does: as one when only its sum is to be made, else in
 * pieces. */
static bool give_finished(Way *way, const struct iovec *iov, unsigned n_iov, size_t len,
                          const VmcFrameInfo *info)
{
    if (!way->scratch)
        way->scratch = g_malloc(VMC_FRAME_MAX);
    vmc_iov_copy(iov, n_iov, 0, way->scratch, len);
    if (info->gso_type != VMC_GSO_NONE) {
        vmc_offload_segment(way->scratch, len, info, take_piece, way);
        return true; /* or malformed, and dropped */
    }
    vmc_offload_checksum(way->scratch, len, info);
    struct iovec whole = {way->scratch, len};
    return way->give(way->cable, &whole, 1, &finished);
}

static bool give(Way *way, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info, uint32_t takes)
{
    size_t len = vmc_iov_length(iov, n_iov);

    if (!vmc_offload_check(info, len))
        return true;
    if (!g_queue_is_empty(&way->waiting))
        return false;
    if (vmc_offload_needs(info) & ~takes)
        return give_finished(way, iov, n_iov, len, info);
    return way->give(way->cable, iov, n_iov, info);
}

static void way_clear(Way *way)
{
    drop_waiting(way);
    g_free(way->scratch);
}

/* ---- from the NIC to the network ---- */

static bool give_out(VmcCable *cable, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info)
{
    if (!cable->ops->send(cable, iov, n_iov, info))
        return false;
    atomic_fetch_add_explicit(&cable->sent_frames, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&cable->sent_bytes, vmc_iov_length(iov, n_iov), memory_order_relaxed);
    return true;
}

bool vmc_cable_send(VmcCable *cable, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info)
{
    if (!give(&cable->inner->out, iov, n_iov, info ? info : &finished, cable->takes))
        return false;
    vmc_watch_sent(&cable->inner->watch, iov, n_iov);
    return true;
}

void vmc_cable_send_done(VmcCable *cable)
{
    if (cable->ops->send_done)
        cable->ops->send_done(cable);
}

void vmc_cable_room(VmcCable *cable)
{
    if (give_waiting(&cable->inner->out) && cable->nic)
        cable->nic_ops->room(cable->nic);
}

/* ---- from the network to the NIC ---- */

static bool give_in(VmcCable *cable, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info)
{
    if (!cable->inner->receiving)
        return false;
    if (!cable->nic_ops->receive(cable->nic, iov, n_iov, info)) {
        cable->inner->receiving = false;
        return false;
    }
    atomic_fetch_add_explicit(&cable->received_frames, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&cable->received_bytes, vmc_iov_length(iov, n_iov), memory_order_relaxed);
    return true;
}

bool vmc_cable_deliver(VmcCable *cable, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info)
{
    if (!cable->inner->receiving)
        return false;
    /* DATA_VALID is for those who let sums be checked for them. */
    if (!info || (!(cable->nic_takes & VMC_OFFLOAD_CSUM) && !(info->flags & VMC_FRAME_NEEDS_CSUM)))
        info = &finished;
    if (!give(&cable->inner->in, iov, n_iov, info, cable->nic_takes))
        return false;
    vmc_watch_received(&cable->inner->watch, iov, n_iov);
    return true;
}

void vmc_cable_deliver_done(VmcCable *cable)
{
    if (cable->nic && cable->nic_ops->receive_done)
        cable->nic_ops->receive_done(cable->nic);
}

void vmc_cable_resume(VmcCable *cable)
{
    cable->inner->receiving = cable->nic != NULL;
    if (!g_queue_is_empty(&cable->inner->in.waiting)) {
        bool all = give_waiting(&cable->inner->in);
        vmc_cable_deliver_done(cable);
        if (!all)
            return;
    }
    if (cable->inner->receiving)
        cable->ops->resume(cable);
}

void vmc_cable_stop(VmcCable *cable)
{
    cable->inner->receiving = false;
    drop_waiting(&cable->inner->in);
    drop_waiting(&cable->inner->out);
    if (cable->ops->stop)
        cable->ops->stop(cable);
}

void vmc_cable_set_offloads(VmcCable *cable, uint32_t offloads)
{
    cable->nic_takes = offloads & cable->gives;
    if (cable->ops->set_offloads)
        cable->ops->set_offloads(cable, cable->nic_takes);
}

/* ---- what is known of it ---- */

bool vmc_cable_link(VmcCable *cable)
{
    return cable->link;
}

void vmc_cable_set_link(VmcCable *cable, bool up)
{
    if (atomic_exchange(&cable->link, up) == up)
        return;
    if (!up)
        vmc_watch_reset(&cable->inner->watch);
    if (cable->nic && cable->nic_ops->link_changed)
        cable->nic_ops->link_changed(cable->nic);
}

void vmc_cable_counters(VmcCable *cable, VmcCableCounters *sent, VmcCableCounters *received)
{
    *sent = (VmcCableCounters){cable->sent_frames, cable->sent_bytes};
    *received = (VmcCableCounters){cable->received_frames, cable->received_bytes};
}

unsigned vmc_cable_addresses(VmcCable *cable, const uint8_t *mac, VmcNetAddress *addresses, unsigned max)
{
    return vmc_watch_addresses(&cable->inner->watch, mac, addresses, max);
}

/* ---- lifecycle ---- */

void vmc_cable_init(VmcCable *cable, const VmcCableOps *ops, VmcIo *io)
{
    VmcCableInner *inner = g_new0(VmcCableInner, 1);

    cable->ops = ops;
    cable->io = io;
    cable->link = true;
    inner->out = (Way){.give = give_out, .cable = cable};
    inner->in = (Way){.give = give_in, .cable = cable};
    g_queue_init(&inner->out.waiting);
    g_queue_init(&inner->in.waiting);
    vmc_watch_init(&inner->watch);
    cable->inner = inner;
}

void vmc_cable_clear(VmcCable *cable)
{
    way_clear(&cable->inner->out);
    way_clear(&cable->inner->in);
    vmc_watch_clear(&cable->inner->watch);
    g_free(cable->inner);
    cable->inner = NULL;
}

void vmc_cable_plug(VmcCable *cable, const VmcNicOps *ops, void *nic)
{
    cable->nic_ops = ops;
    cable->nic = nic;
}

static void free_cable(void *data)
{
    VmcCable *cable = data;

    cable->nic = NULL;
    cable->inner->receiving = false;
    cable->ops->free(cable);
}

void vmc_cable_free(VmcCable *cable)
{
    if (cable)
        vmc_io_call_sync(cable->io, free_cable, cable);
}
