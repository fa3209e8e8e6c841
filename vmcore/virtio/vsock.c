/*
 * virtio-vsock (VIRTIO 1.2 s5.10): stream sockets between the guest and programs of the host, which meet them
 * at Unix sockets. In vfkit's words, a port of the configuration either
 *
 *   listens   for the guest: what it connects to (CID 2 and that port) is passed on to a Unix socket that
 * somebody else listens on, or connects  to the guest: we listen on the Unix socket, and who connects to it
 * gets to that port of the guest.
 *
 * This file has the device, its three queues and our sockets; a connection is in vsock_connection.c.
 *
 * Everything is bounded: the number of connections, what waits for a socket (s5.10.6.3), and the answers to
 * packets that belong to no connection: when no more of those can be kept, the guest's packets wait in its
 * queue until it makes room for answers.
 */
#include "virtio/vsock.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio/virtio_pci.h"

#define F_STREAM (1ull << 0)

enum { QUEUE_RX, QUEUE_TX, QUEUE_EVENT };

#define EVENT_TRANSPORT_RESET 0u

#define RUN_PACKETS    64u
#define RUN_BYTES      (256 * 1024u)
#define BACKLOG        128
#define ANSWER_NS      30000000000ull /* how long the guest may take to answer a connection of ours */
#define SWEEP_NS       5000000000ull
#define CID_RESERVED   3u  /* the first that is a guest's (s5.10.4) */
#define BUFFERS_SPOILT 64u /* receive buffers too short to be of use that are passed over in one go */

/* ---- the receive queue ---- */

/* Takes a buffer with room for a header and `more` bytes. A device that may not use memory must not even ask
 * for notifications in it; when it may again, all queues are notified. */
static bool pop_rx(VmcVsock *vsock, size_t more)
{
    VmcVirtioDevice *dev = &vsock->dev;

    if (!dev->running || !atomic_load(&dev->dma))
        return false;
    for (unsigned i = 0; i < BUFFERS_SPOILT && vmc_virtio_pop(dev, QUEUE_RX, &vsock->rx); i++) {
        if (vsock->rx.in_len >= sizeof(VmcVsockHeader) + more)
            return true;
        vmc_virtio_push(dev, QUEUE_RX, &vsock->rx, 0);
    }
    vmc_virtqueue_set_notification(&dev->queues[QUEUE_RX], true);
    if (vmc_virtqueue_available(&dev->queues[QUEUE_RX]))
        vmc_virtio_kick(dev, QUEUE_RX);
    return false;
}

static VmcVsockHeader swapped(const VmcVsockHeader *h)
{
    return (VmcVsockHeader){
        .src_cid = GUINT64_TO_LE(h->src_cid),
        .dst_cid = GUINT64_TO_LE(h->dst_cid),
        .src_port = GUINT32_TO_LE(h->src_port),
        .dst_port = GUINT32_TO_LE(h->dst_port),
        .len = GUINT32_TO_LE(h->len),
        .type = GUINT16_TO_LE(h->type),
        .op = GUINT16_TO_LE(h->op),
        .flags = GUINT32_TO_LE(h->flags),
        .buf_alloc = GUINT32_TO_LE(h->buf_alloc),
        .fwd_cnt = GUINT32_TO_LE(h->fwd_cnt),
    };
}

static void push_rx(VmcVsock *vsock, const VmcVsockHeader *header, const void *body, size_t len)
{
    VmcVsockHeader le = swapped(header);

    vmc_virtq_element_write(&vsock->rx, &le, sizeof(le));
    vmc_virtq_element_write(&vsock->rx, body, len);
    vmc_virtio_push(&vsock->dev, QUEUE_RX, &vsock->rx, (uint32_t)(sizeof(le) + len));
}

bool vmc_vsock_send(VmcVsock *vsock, const VmcVsockHeader *header)
{
    if (!pop_rx(vsock, 0))
        return false;
    push_rx(vsock, header, NULL, 0);
    return true;
}

ssize_t vmc_vsock_send_from(VmcVsock *vsock, VmcVsockHeader *header, int fd, size_t max)
{
    if (!pop_rx(vsock, 1))
        return VMC_VSOCK_NO_ROOM;
    size_t room = MIN(vsock->rx.in_len - sizeof(*header), sizeof(vsock->bounce));
    ssize_t n = recv(fd, vsock->bounce, MIN(room, max), MSG_DONTWAIT);
    if (n > 0) {
        header->len = (uint32_t)n;
        push_rx(vsock, header, vsock->bounce, (size_t)n);
    } else {
        int err = errno;
        vmc_virtqueue_unpop(&vsock->dev.queues[QUEUE_RX], &vsock->rx);
        errno = err;
    }
    return n;
}

void vmc_vsock_flush(VmcVsock *vsock)
{
    vmc_virtio_notify(&vsock->dev, QUEUE_RX);
}

/* ---- packets without a connection ---- */

static bool send_replies(VmcVsock *vsock)
{
    unsigned sent = 0;

    while (sent < vsock->n_replies && vmc_vsock_send(vsock, &vsock->replies[sent]))
        sent++;
    vsock->n_replies -= sent;
    memmove(vsock->replies, vsock->replies + sent, vsock->n_replies * sizeof(*vsock->replies));
    return !vsock->n_replies;
}

static void reply_rst(VmcVsock *vsock, const VmcVsockHeader *to)
{
    vsock->replies[vsock->n_replies++] = (VmcVsockHeader){
        .src_cid = to->dst_cid,
        .dst_cid = to->src_cid,
        .src_port = to->dst_port,
        .dst_port = to->src_port,
        .type = to->type,
        .op = VMC_VSOCK_OP_RST,
    };
    send_replies(vsock);
}

static const VmcVsockEntry *find_listening(const VmcVsock *vsock, uint32_t port)
{
    for (unsigned i = 0; i < vsock->n_entries; i++)
        if (!vsock->entries[i].config.connect && vsock->entries[i].config.port == port)
            return &vsock->entries[i];
    return NULL;
}

static bool accept_request(VmcVsock *vsock, const VmcVsockHeader *request)
{
    const VmcVsockEntry *entry = find_listening(vsock, request->dst_port);

    if (!entry || !vmc_vsock_connections_left(vsock))
        return false;
    int fd = vmc_unix_connect(entry->config.path);
    if (fd < 0)
        return false;
    vmc_vsock_connection_accept(vsock, request, fd);
    return true;
}

/* ---- the transmit queue ---- */

/* s5.10.6.4: what comes from another address than the guest's is dropped; what leads nowhere is answered. */
static void handle_packet(VmcVsock *vsock, const VmcVsockHeader *header)
{
    if (header->src_cid != vsock->cid)
        return;
    if (header->dst_cid == VMC_VSOCK_CID_HOST && header->type == VMC_VSOCK_TYPE_STREAM &&
        header->len <= vsock->tx.out_len) {
        VmcVsockConnection *connection = vmc_vsock_connection_find(vsock, header->dst_port, header->src_port);
        if (connection) {
            vmc_vsock_connection_packet(connection, header, &vsock->tx);
            return;
        }
        if (header->op == VMC_VSOCK_OP_REQUEST && accept_request(vsock, header))
            return;
    }
    if (header->op != VMC_VSOCK_OP_RST)
        reply_rst(vsock, header);
}

static void transmit(VmcVsock *vsock)
{
    VmcVirtioDevice *dev = &vsock->dev;
    VmcVirtqueue *vq = &dev->queues[QUEUE_TX];
    size_t bytes = 0;

    vsock->tx_stopped = false;
    for (unsigned i = 0; i < RUN_PACKETS && bytes < RUN_BYTES; i++) {
        VmcVsockHeader le;
        if (vsock->n_replies == VMC_VSOCK_REPLIES_MAX && !send_replies(vsock) &&
            vsock->n_replies == VMC_VSOCK_REPLIES_MAX) {
            vsock->tx_stopped = true;
            break;
        }
        if (!vmc_virtio_pop(dev, QUEUE_TX, &vsock->tx))
            break;
        bytes += vsock->tx.out_len;
        if (vmc_virtq_element_read(&vsock->tx, &le, sizeof(le)) == sizeof(le)) {
            VmcVsockHeader header = swapped(&le);
            handle_packet(vsock, &header);
        }
        vmc_virtio_push(dev, QUEUE_TX, &vsock->tx, 0);
    }
    vmc_virtqueue_set_notification(vq, !vsock->tx_stopped);
    vmc_virtio_notify(dev, QUEUE_TX);
    vmc_vsock_flush(vsock);
    if (!vsock->tx_stopped && vmc_virtqueue_available(vq))
        vmc_virtio_kick(dev, QUEUE_TX);
}

/* The guest has made room: first for answers, then for connections in the order in which they ran out. */
static void room_to_send(VmcVsock *vsock)
{
    VmcVirtioDevice *dev = &vsock->dev;

    vmc_virtqueue_set_notification(&dev->queues[QUEUE_RX], false);
    bool more = send_replies(vsock);
    for (guint n = vsock->starved.length; more && n; n--)
        more = vmc_vsock_connection_fed(vsock->starved.head->data);
    vmc_vsock_flush(vsock);
    if (vsock->tx_stopped)
        vmc_virtio_kick(dev, QUEUE_TX);
}

/* ---- the event queue ---- */

static void send_event(VmcVsock *vsock)
{
    uint32_t id = GUINT32_TO_LE(EVENT_TRANSPORT_RESET);

    if (!vsock->event_pending || !vmc_virtio_pop(&vsock->dev, QUEUE_EVENT, &vsock->event))
        return;
    size_t n = vmc_virtq_element_write(&vsock->event, &id, sizeof(id));
    vmc_virtio_push(&vsock->dev, QUEUE_EVENT, &vsock->event, (uint32_t)n);
    vmc_virtio_notify(&vsock->dev, QUEUE_EVENT);
    vsock->event_pending = false;
}

static void reset_transport(void *data)
{
    VmcVsock *vsock = data;

    vmc_vsock_connections_clear(vsock);
    vsock->n_replies = 0;
    vsock->event_pending = true;
    if (vsock->dev.running)
        send_event(vsock);
}

/* ---- clients of our sockets ---- */

static void sweep_later(VmcVsock *vsock)
{
    if (vsock->sweeping)
        return;
    vsock->sweeping = true;
    vmc_timer_arm(vsock->sweep, vmc_now_ns() + SWEEP_NS);
}

static gboolean client_waits(gint fd, GIOCondition condition, gpointer data);

static void watch_listener(VmcVsockEntry *entry)
{
    if (entry->listener)
        vmc_io_watch(entry->vsock->dev.io, &entry->watch, vmc_unix_listener_fd(entry->listener), G_IO_IN,
                     client_waits, entry);
}

/* A guest without a driver has no port to connect to, and nobody knows when it will: the client is turned
 * away, as with a port nobody listens at. */
static gboolean client_waits(gint fd, GIOCondition condition, gpointer data)
{
    VmcVsockEntry *entry = data;
    VmcVsock *vsock = entry->vsock;
    int client = vmc_unix_listener_accept(entry->listener);

    if (client >= 0) {
        if (!vsock->dev.running || !vmc_vsock_connection_request(vsock, entry->config.port, client))
            close(client);
        sweep_later(vsock);
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        vmc_io_unwatch(&entry->watch); /* no descriptor is left: sweep looks again */
        sweep_later(vsock);
    }
    return G_SOURCE_CONTINUE;
}

static void sweep(void *data)
{
    VmcVsock *vsock = data;
    uint64_t now = vmc_now_ns();

    vsock->sweeping = false;
    for (unsigned i = 0; i < vsock->n_entries; i++)
        watch_listener(&vsock->entries[i]);
    if (now > ANSWER_NS && vmc_vsock_connections_sweep(vsock, now - ANSWER_NS))
        sweep_later(vsock);
}

/* ---- configuration and lifecycle ---- */

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    uint64_t cid = GUINT64_TO_LE(((VmcVsock *)dev)->cid);

    memcpy(buf, (uint8_t *)&cid + offset, len);
}

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    VmcVsock *vsock = (VmcVsock *)dev;

    if (queue == QUEUE_TX)
        transmit(vsock);
    else if (queue == QUEUE_RX)
        room_to_send(vsock);
    else
        send_event(vsock);
}

static bool reset(VmcVirtioDevice *dev)
{
    VmcVsock *vsock = (VmcVsock *)dev;

    vmc_vsock_connections_clear(vsock);
    vsock->n_replies = 0;
    vsock->tx_stopped = vsock->event_pending = false;
    return true;
}

/* Connections end with the process that has them: s5.10.6.7 is how the guest is told. */
static bool load(VmcVirtioDevice *dev, VmcStateReader *r)
{
    ((VmcVsock *)dev)->event_pending = dev->running;
    return vmc_state_ok(r);
}

static void end_listening(void *data)
{
    VmcVsock *vsock = data;

    for (unsigned i = 0; i < vsock->n_entries; i++) {
        vmc_io_unwatch(&vsock->entries[i].watch);
        vmc_unix_listener_free(vsock->entries[i].listener);
    }
}

static void vsock_free(VmcVirtioDevice *dev)
{
    VmcVsock *vsock = (VmcVsock *)dev;

    vmc_io_call_sync(dev->io, end_listening, vsock);
    vmc_timer_free(vsock->sweep);
    for (unsigned i = 0; i < vsock->n_entries; i++)
        g_free((char *)vsock->entries[i].config.path);
    g_free(vsock->entries);
    g_hash_table_unref(vsock->by_ports);
    vmc_virtq_element_clear(&vsock->tx);
    vmc_virtq_element_clear(&vsock->rx);
    vmc_virtq_element_clear(&vsock->event);
    g_free(vsock);
}

static const VmcVirtioOps vsock_ops = {
    .name = "virtio-vsock",
    .type = VMC_VIRTIO_ID_VSOCK,
    .pci_class = 0x078000,
    .config_size = sizeof(uint64_t),
    .n_queues = 3,
    .queue_sizes = {256, 256, 64},
    .config_read = config_read,
    .queue_notified = queue_notified,
    .reset = reset,
    .free = vsock_free,
    .save = vmc_virtio_save_nothing,
    .load = load,
};

static bool add_entry(VmcVsock *vsock, const VmcVsockPort *config, GError **error)
{
    VmcVsockEntry *entry = &vsock->entries[vsock->n_entries];

    if (config->connect) {
        entry->listener = vmc_unix_listener_new(config->path, BACKLOG, error);
        if (!entry->listener)
            return false;
    }
    entry->vsock = vsock;
    entry->config = *config;
    entry->config.path = g_strdup(config->path);
    vsock->n_entries++;
    return true;
}

static void begin_listening(void *data)
{
    sweep(data);
}

VmcPciDevice *vmc_virtio_vsock_new(const VmcVirtioHost *host, uint64_t cid, const VmcVsockPort *ports,
                                   unsigned n, GError **error)
{
    VmcVsock *vsock = g_new0(VmcVsock, 1);

    vmc_virtio_device_init(&vsock->dev, &vsock_ops, host->memory, host->io);
    vsock->dev.offered = F_STREAM;
    vsock->cid = cid ? cid : CID_RESERVED;
    vsock->by_ports = g_hash_table_new(g_int64_hash, g_int64_equal);
    vsock->sweep = vmc_timer_new(host->io, sweep, vsock);
    vsock->entries = g_new0(VmcVsockEntry, n);
    for (unsigned i = 0; i < n; i++)
        if (!add_entry(vsock, &ports[i], error)) {
            vsock_free(&vsock->dev);
            return NULL;
        }
    VmcPciDevice *pci = vmc_virtio_pci_new(&vsock->dev);
    if (pci)
        vmc_io_call_sync(host->io, begin_listening, vsock);
    return pci;
}

void vmc_virtio_vsock_reset_transport(VmcPciDevice *pci)
{
    VmcVsock *vsock = (VmcVsock *)vmc_virtio_pci_device(pci, &vsock_ops);

    if (vsock)
        vmc_io_call_sync(vsock->dev.io, reset_transport, vsock);
}
