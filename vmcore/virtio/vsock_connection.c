/*
 * One connection between a port of the guest and a Unix socket (VIRTIO 1.2 s5.10.6).
 *
 * To the host: what the socket does not take at once waits in `waiting`. The guest may send as much ahead as
 * that holds (s5.10.6.3); we tell it how much has gone on. To the guest: the socket is read only for as many
 * bytes as the guest has said it has room for and its receive queue has buffers, so there is nothing to keep.
 *
 * Ends: each side says that it will not send, or not receive, any more (SHUTDOWN); who hears both answers
 * with RST, and the connection is gone. We answer when all that the guest has sent is written out. A guest
 * that does not wait for that long sends RST itself: then the rest is written out all the same, by a
 * connection that its ports do not lead to any more.
 *
 * Whatever has changed, `settle` is called last: it says what has to be said, watches what has to be watched,
 * and may free the connection.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio/vsock.h"

#define RUN_BYTES (128 * 1024u) /* to the guest in one go, then others have their turn */

/* Packets that wait for room in the guest, in the order in which they are sent. */
enum {
    SEND_REQUEST = 1 << 0,
    SEND_RESPONSE = 1 << 1,
    SEND_CREDIT_UPDATE = 1 << 2,
    SEND_CREDIT_REQUEST = 1 << 3,
    SEND_SHUTDOWN = 1 << 4,
    SEND_RST = 1 << 5, /* and then it is gone */
};

struct VmcVsockConnection {
    VmcVsock *vsock;
    uint64_t key; /* host port << 32, guest port */
    GList in_all, in_starved;
    bool starved;
    bool open;   /* the guest has answered, or asked */
    bool orphan; /* only to be written out */
    uint64_t since_ns;
    unsigned pending;

    int fd;                                    /* -1: closed */
    bool write_shut, read_shut;                /* that direction of the socket */
    GSource *in_watch, *out_watch, *end_watch; /* bytes, room, that the other end has gone */

    uint8_t *waiting; /* for the socket; of VMC_VSOCK_BUFFER bytes, or NULL */
    size_t waiting_at, waiting_len;
    uint32_t received, forwarded, told_forwarded; /* bytes from the guest, modulo 2^32 */

    uint32_t sent, guest_forwarded, guest_buffer; /* bytes to the guest, and what it says of them */
    bool asked_credit;

    unsigned guest_shut, host_shut, told_shut; /* VMC_VSOCK_SHUT_... */
};

static void settle(VmcVsockConnection *c);

/* ---- life ---- */

static void want_watch(VmcVsockConnection *c, GSource **watch, bool want, GIOCondition condition,
                       GUnixFDSourceFunc func)
{
    if (want)
        vmc_io_watch(c->vsock->dev.io, watch, c->fd, condition, func, c);
    else
        vmc_io_unwatch(watch);
}

static void close_socket(VmcVsockConnection *c)
{
    vmc_io_unwatch(&c->in_watch);
    vmc_io_unwatch(&c->out_watch);
    vmc_io_unwatch(&c->end_watch);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    g_clear_pointer(&c->waiting, g_free);
    c->waiting_len = 0;
}

static void forget_ports(VmcVsockConnection *c)
{
    if (!c->orphan)
        g_hash_table_remove(c->vsock->by_ports, &c->key);
    c->orphan = true;
}

static void starve(VmcVsockConnection *c)
{
    if (!c->starved)
        g_queue_push_tail_link(&c->vsock->starved, &c->in_starved);
    c->starved = true;
}

static void connection_free(VmcVsockConnection *c)
{
    close_socket(c);
    forget_ports(c);
    if (c->starved)
        g_queue_unlink(&c->vsock->starved, &c->in_starved);
    g_queue_unlink(&c->vsock->all, &c->in_all);
    g_free(c);
}

static VmcVsockConnection *connection_new(VmcVsock *vsock, uint32_t host_port, uint32_t guest_port, int fd)
{
    VmcVsockConnection *c = g_new0(VmcVsockConnection, 1);

    c->vsock = vsock;
    c->key = (uint64_t)host_port << 32 | guest_port;
    c->fd = fd;
    c->since_ns = vmc_now_ns();
    c->in_all.data = c->in_starved.data = c;
    g_queue_push_tail_link(&vsock->all, &c->in_all);
    g_hash_table_insert(vsock->by_ports, &c->key, c);
    return c;
}

VmcVsockConnection *vmc_vsock_connection_find(VmcVsock *vsock, uint32_t host_port, uint32_t guest_port)
{
    uint64_t key = (uint64_t)host_port << 32 | guest_port;

    return g_hash_table_lookup(vsock->by_ports, &key);
}

void vmc_vsock_connections_clear(VmcVsock *vsock)
{
    while (vsock->all.head)
        connection_free(vsock->all.head->data);
}

/* One whose socket has gone only waits for the guest to say so, too, and an orphan for a program that does
 * not read: they may make room for others. */
bool vmc_vsock_connections_left(VmcVsock *vsock)
{
    if (vsock->all.length < VMC_VSOCK_CONNECTIONS_MAX)
        return true;
    for (GList *link = vsock->all.head; link; link = link->next) {
        VmcVsockConnection *c = link->data;
        if (c->fd < 0 || c->orphan) {
            connection_free(c);
            return true;
        }
    }
    return false;
}

/* ---- what is said to the guest ---- */

static VmcVsockHeader header_for(VmcVsockConnection *c, uint16_t op)
{
    return (VmcVsockHeader){
        .src_cid = VMC_VSOCK_CID_HOST,
        .dst_cid = c->vsock->cid,
        .src_port = (uint32_t)(c->key >> 32),
        .dst_port = (uint32_t)c->key,
        .type = VMC_VSOCK_TYPE_STREAM,
        .op = op,
        .flags = op == VMC_VSOCK_OP_SHUTDOWN ? c->host_shut : 0,
        .buf_alloc = VMC_VSOCK_BUFFER,
        .fwd_cnt = c->forwarded,
    };
}

static uint16_t op_of(unsigned pending)
{
    switch (pending) {
    case SEND_REQUEST:
        return VMC_VSOCK_OP_REQUEST;
    case SEND_RESPONSE:
        return VMC_VSOCK_OP_RESPONSE;
    case SEND_CREDIT_UPDATE:
        return VMC_VSOCK_OP_CREDIT_UPDATE;
    case SEND_CREDIT_REQUEST:
        return VMC_VSOCK_OP_CREDIT_REQUEST;
    case SEND_SHUTDOWN:
        return VMC_VSOCK_OP_SHUTDOWN;
    default:
        return VMC_VSOCK_OP_RST;
    }
}

/* False: there was no room for all of it. */
static bool send_pending(VmcVsockConnection *c)
{
    while (c->pending) {
        unsigned what = c->pending & -c->pending;
        VmcVsockHeader header = header_for(c, op_of(what));
        if (!vmc_vsock_send(c->vsock, &header))
            return false;
        c->told_forwarded = c->forwarded;
        if (what == SEND_SHUTDOWN)
            c->told_shut = c->host_shut;
        c->pending &= ~what;
    }
    return true;
}

/* Ends with RST, which a connection the guest knows nothing of any more does not need. */
static void end(VmcVsockConnection *c)
{
    close_socket(c);
    c->pending = SEND_RST;
}

/* How many bytes the guest has room for. */
static uint32_t credit(const VmcVsockConnection *c)
{
    uint32_t on_the_way = c->sent - c->guest_forwarded;

    return on_the_way < c->guest_buffer ? c->guest_buffer - on_the_way : 0;
}

/* ---- from the guest to the socket ---- */

/* Writes what it can of `data`; returns how much, all of it if nobody reads there any more. */
static size_t write_out(VmcVsockConnection *c, const uint8_t *data, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = send(c->fd, data + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            c->host_shut |= VMC_VSOCK_SHUT_RCV;
            done = len;
        }
    }
    c->forwarded += (uint32_t)done;
    return done;
}

/* Behind what waits already; there is room, as the credit has been looked at. */
static void keep(VmcVsockConnection *c, const uint8_t *data, size_t len)
{
    if (!c->waiting)
        c->waiting = g_malloc(VMC_VSOCK_BUFFER);
    if (c->waiting_at + c->waiting_len + len > VMC_VSOCK_BUFFER) {
        memmove(c->waiting, c->waiting + c->waiting_at, c->waiting_len);
        c->waiting_at = 0;
    }
    memcpy(c->waiting + c->waiting_at + c->waiting_len, data, len);
    c->waiting_len += len;
}

static void write_waiting(VmcVsockConnection *c)
{
    size_t done = write_out(c, c->waiting + c->waiting_at, c->waiting_len);

    c->waiting_at += done;
    c->waiting_len -= done;
    if (c->waiting_len)
        return;
    g_clear_pointer(&c->waiting, g_free);
    c->waiting_at = 0;
}

static gboolean out_ready(gint fd, GIOCondition condition, gpointer data)
{
    VmcVsockConnection *c = data;
    VmcVsock *vsock = c->vsock;

    write_waiting(c);
    settle(c);
    vmc_vsock_flush(vsock);
    return G_SOURCE_CONTINUE;
}

static void receive(VmcVsockConnection *c, uint32_t len, VmcVirtqElement *body)
{
    VmcVsock *vsock = c->vsock;

    if (!c->open || (c->guest_shut & VMC_VSOCK_SHUT_SEND) ||
        len > VMC_VSOCK_BUFFER - (c->received - c->forwarded)) {
        end(c); /* against the rules */
        return;
    }
    c->received += len;
    while (len) {
        size_t here = vmc_virtq_element_read(body, vsock->bounce, MIN(len, sizeof(vsock->bounce)));
        size_t done = 0;
        len -= (uint32_t)here;
        if (c->fd < 0 || (c->host_shut & VMC_VSOCK_SHUT_RCV))
            c->forwarded += (uint32_t)here; /* to nobody */
        else if (c->waiting_len || (done = write_out(c, vsock->bounce, here)) < here)
            keep(c, vsock->bounce + done, here - done);
    }
}

/* ---- from the socket to the guest ---- */

static void read_some(VmcVsockConnection *c, GIOCondition condition)
{
    for (size_t bytes = 0; bytes < RUN_BYTES && credit(c);) {
        VmcVsockHeader header = header_for(c, VMC_VSOCK_OP_RW);
        ssize_t n = vmc_vsock_send_from(c->vsock, &header, c->fd, credit(c));
        if (n == VMC_VSOCK_NO_ROOM) {
            starve(c);
            return;
        }
        if (n > 0) {
            c->sent += (uint32_t)n;
            c->told_forwarded = c->forwarded;
            bytes += (size_t)n;
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        c->host_shut |= VMC_VSOCK_SHUT_SEND;
        if (n < 0 || (condition & (G_IO_HUP | G_IO_ERR)))
            c->host_shut |= VMC_VSOCK_SHUT_RCV;
        return;
    }
}

static gboolean in_ready(gint fd, GIOCondition condition, gpointer data)
{
    VmcVsockConnection *c = data;
    VmcVsock *vsock = c->vsock;

    read_some(c, condition);
    settle(c);
    vmc_vsock_flush(vsock);
    return G_SOURCE_CONTINUE;
}

/* The other end of the socket is closed both ways. */
static gboolean end_ready(gint fd, GIOCondition condition, gpointer data)
{
    VmcVsockConnection *c = data;
    VmcVsock *vsock = c->vsock;

    c->host_shut = VMC_VSOCK_SHUT_BOTH;
    settle(c);
    vmc_vsock_flush(vsock);
    return G_SOURCE_CONTINUE;
}

/* ---- all together ---- */

/* Passes on to the socket that the guest will not send any more, once it has all, or not receive. */
static void settle_shutdown(VmcVsockConnection *c)
{
    if (c->fd >= 0 && !c->waiting_len && (c->guest_shut & VMC_VSOCK_SHUT_SEND) && !c->write_shut) {
        shutdown(c->fd, SHUT_WR);
        c->write_shut = true;
    }
    if (c->fd >= 0 && (c->guest_shut & VMC_VSOCK_SHUT_RCV) && !c->read_shut) {
        shutdown(c->fd, SHUT_RD);
        c->read_shut = true;
    }
    if (c->guest_shut == VMC_VSOCK_SHUT_BOTH && !c->waiting_len && c->pending != SEND_RST)
        end(c);
    else if (c->fd >= 0 && c->host_shut == VMC_VSOCK_SHUT_BOTH)
        close_socket(c);
}

static void settle_pending(VmcVsockConnection *c)
{
    if (c->pending == SEND_RST || !c->open)
        return;
    if (c->forwarded - c->told_forwarded >= VMC_VSOCK_BUFFER / 4)
        c->pending |= SEND_CREDIT_UPDATE;
    if (c->host_shut & ~c->told_shut)
        c->pending |= SEND_SHUTDOWN;
    if (credit(c)) {
        c->asked_credit = false;
    } else if (!c->asked_credit && c->fd >= 0) {
        c->asked_credit = true;
        c->pending |= SEND_CREDIT_REQUEST;
    }
}

static void settle_watches(VmcVsockConnection *c)
{
    bool there = c->fd >= 0 && c->open;
    bool readable = there && !(c->guest_shut & VMC_VSOCK_SHUT_RCV) && !(c->host_shut & VMC_VSOCK_SHUT_SEND);

    want_watch(c, &c->in_watch, readable && credit(c) && !c->starved, G_IO_IN | G_IO_HUP | G_IO_ERR,
               in_ready);
    want_watch(c, &c->end_watch, there && !readable && !c->waiting_len, G_IO_HUP | G_IO_ERR, end_ready);
    want_watch(c, &c->out_watch, c->fd >= 0 && c->waiting_len, G_IO_OUT, out_ready);
}

static void settle(VmcVsockConnection *c)
{
    if (c->orphan) {
        if (c->waiting_len && !(c->host_shut & VMC_VSOCK_SHUT_RCV))
            want_watch(c, &c->out_watch, true, G_IO_OUT, out_ready);
        else
            connection_free(c);
        return;
    }
    settle_shutdown(c);
    settle_pending(c);
    bool last = c->pending == SEND_RST;
    if (!send_pending(c)) {
        starve(c);
    } else if (last) {
        connection_free(c);
        return;
    }
    settle_watches(c);
}

bool vmc_vsock_connection_fed(VmcVsockConnection *c)
{
    g_queue_unlink(&c->vsock->starved, &c->in_starved);
    c->starved = false;
    const GQueue *starved = &c->vsock->starved;
    guint before = starved->length;
    settle(c);
    return starved->length == before;
}

void vmc_vsock_connection_accept(VmcVsock *vsock, const VmcVsockHeader *request, int fd)
{
    VmcVsockConnection *c = connection_new(vsock, request->dst_port, request->src_port, fd);

    c->open = true;
    c->guest_buffer = request->buf_alloc;
    c->guest_forwarded = request->fwd_cnt;
    c->pending = SEND_RESPONSE;
    settle(c);
}

/* Our own ports are those no service has. A guest could have connected from one of its own to that very port
 * of ours, so one that is taken is passed over. */
bool vmc_vsock_connection_request(VmcVsock *vsock, uint32_t guest_port, int fd)
{
    if (!vmc_vsock_connections_left(vsock))
        return false;
    do
        vsock->next_port = vsock->next_port < 0x40000000 || vsock->next_port >= 0x7fffffff
                               ? 0x40000000
                               : vsock->next_port + 1;
    while (vmc_vsock_connection_find(vsock, vsock->next_port, guest_port));
    VmcVsockConnection *c = connection_new(vsock, vsock->next_port, guest_port, fd);
    c->pending = SEND_REQUEST;
    settle(c);
    vmc_vsock_flush(vsock);
    return true;
}

bool vmc_vsock_connections_sweep(VmcVsock *vsock, uint64_t before_ns)
{
    bool others = false;

    for (GList *link = vsock->all.head, *next; link; link = next) {
        VmcVsockConnection *c = link->data;
        next = link->next;
        if (c->open || c->orphan || c->pending == SEND_RST)
            continue;
        if (c->since_ns >= before_ns) {
            others = true;
            continue;
        }
        end(c);
        settle(c);
    }
    vmc_vsock_flush(vsock);
    return others;
}

/* The guest knows it no longer. What it has sent in good order is still written out. */
static void reset_by_guest(VmcVsockConnection *c)
{
    forget_ports(c);
    c->pending = 0;
    if (!(c->guest_shut & VMC_VSOCK_SHUT_SEND)) {
        connection_free(c);
        return;
    }
    vmc_io_unwatch(&c->in_watch);
    vmc_io_unwatch(&c->end_watch);
    settle(c);
}

void vmc_vsock_connection_packet(VmcVsockConnection *c, const VmcVsockHeader *header, VmcVirtqElement *body)
{
    c->guest_buffer = header->buf_alloc;
    c->guest_forwarded = header->fwd_cnt;
    if (c->pending == SEND_RST && header->op != VMC_VSOCK_OP_RST)
        return; /* it will hear soon */
    switch (header->op) {
    case VMC_VSOCK_OP_RST:
        reset_by_guest(c);
        return;
    case VMC_VSOCK_OP_RESPONSE:
        if (c->open)
            end(c);
        c->open = true;
        break;
    case VMC_VSOCK_OP_SHUTDOWN:
        c->guest_shut |= header->flags & VMC_VSOCK_SHUT_BOTH;
        if (!c->open)
            end(c);
        break;
    case VMC_VSOCK_OP_RW:
        receive(c, header->len, body);
        break;
    case VMC_VSOCK_OP_CREDIT_REQUEST:
        c->pending |= SEND_CREDIT_UPDATE;
        break;
    case VMC_VSOCK_OP_CREDIT_UPDATE:
        break;
    default: /* a second REQUEST, or none we know */
        end(c);
        break;
    }
    settle(c);
}
