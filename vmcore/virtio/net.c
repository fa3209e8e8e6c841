/*
 * virtio-net (VIRTIO 1.2 s5.1) on a cable (net/cable.h).
 *
 * Frames to be sent go from the guest's memory to the attachment as they are, vectors of its buffers behind
 * the header. One that the cable refuses stays in its chain, and its queue stands still until there is room.
 * Frames received are copied into as many buffers as they need (s5.1.6.4, mergeable) or into one; while the
 * guest has too few, the cable keeps them.
 *
 * Checksums and segmentation are the cable's matter: whatever is negotiated, it does what the other side does
 * not. So the HOST_ features are always there; the GUEST_ ones only where the cable can give such frames.
 *
 * With several pairs of queues (s5.1.6.5.5), a flow is received on the pair that it was last sent on. All of
 * them are served by the I/O thread: pairs spread the guest's work over its CPUs, not ours.
 *
 * Threads: the I/O thread, but for configuration reads and the functions at the end; what these share is
 * atomic or has `lock`.
 */
#include <glib.h>

#include "net/mac.h"
#include "net/offload.h"
#include "virtio/devices.h"
#include "virtio/net_filter.h"
#include "virtio/virtio_pci.h"

#define F_CSUM                (1ull << 0)
#define F_GUEST_CSUM          (1ull << 1)
#define F_CTRL_GUEST_OFFLOADS (1ull << 2)
#define F_MTU                 (1ull << 3)
#define F_MAC                 (1ull << 5)
#define F_GUEST_TSO4          (1ull << 7)
#define F_GUEST_TSO6          (1ull << 8)
#define F_GUEST_ECN           (1ull << 9)
#define F_HOST_TSO4           (1ull << 11)
#define F_HOST_TSO6           (1ull << 12)
#define F_HOST_ECN            (1ull << 13)
#define F_MRG_RXBUF           (1ull << 15)
#define F_STATUS              (1ull << 16)
#define F_CTRL_VQ             (1ull << 17)
#define F_CTRL_RX             (1ull << 18)
#define F_CTRL_VLAN           (1ull << 19)
#define F_CTRL_RX_EXTRA       (1ull << 20)
#define F_GUEST_ANNOUNCE      (1ull << 21)
#define F_MQ                  (1ull << 22)
#define F_CTRL_MAC_ADDR       (1ull << 23)
#define F_GUEST_USO4          (1ull << 54)
#define F_GUEST_USO6          (1ull << 55)
#define F_HOST_USO            (1ull << 56)

#define S_LINK_UP  1u
#define S_ANNOUNCE 2u

#define HDR_F_NEEDS_CSUM 1u
#define HDR_F_DATA_VALID 2u

#define CTRL_ANNOUNCE_ACK       0u
#define CTRL_MQ_VQ_PAIRS_SET    0u
#define CTRL_GUEST_OFFLOADS_SET 0u
#define CTRL_OK                 0u
#define CTRL_ERR                1u

#define QUEUE_SIZE   256u
#define CONTROL_SIZE 64u
#define PAIRS_MAX    8u
#define MTU_MIN      68u  /* s5.1.4.1 */
#define RUN_CHAINS   256u /* sent in one go, then others have their turn */
#define RUN_BYTES    (4u << 20)

/* s5.1.4, up to the last field of a feature we offer; little-endian. */
typedef struct __attribute__((packed)) NetConfig {
    uint8_t mac[VMC_MAC_BYTES];
    uint16_t status, max_virtqueue_pairs, mtu;
} NetConfig;

_Static_assert(sizeof(NetConfig) == 12, "as in s5.1.4");

/* s5.1.6; little-endian. */
typedef struct NetHeader {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
} NetHeader;

_Static_assert(sizeof(NetHeader) == 12, "as in s5.1.6");

/* The sending half of a pair. */
typedef struct Sender {
    VmcVirtqElement elem;
    VmcFrameInfo info;
    bool out; /* `elem` has been taken and its frame not been sent */
} Sender;

typedef struct Net {
    VmcVirtioDevice dev;
    VmcCable *cable;
    uint16_t max_pairs, mtu; /* mtu 0: not told */
    uint8_t permanent_mac[VMC_MAC_BYTES];

    GMutex lock;                /* for the next four; nobody is called with it */
    uint8_t mac[VMC_MAC_BYTES]; /* the driver's own now */
    bool plugged;               /* as vmc_virtio_net_set_link has it */
    bool link;                  /* what the driver is told: plugged, and a link at the other end */
    bool announce;              /* the driver shall announce itself (s5.1.6.5.4) */
    atomic_bool passing;        /* as `link` */
    atomic_bool announces;      /* GUEST_ANNOUNCE was negotiated */

    /* I/O thread only. */
    Sender senders[PAIRS_MAX];
    bool refused;         /* the cable has no room */
    unsigned next_sender; /* who begins when it has */
    unsigned pairs;       /* in use */
    bool starved;         /* a frame waits for the guest's buffers */
    unsigned told_later;  /* pairs, as bits, that have received what the driver has not been told of */
    VmcNetFilter filter;
    uint8_t flows[VMC_NET_FLOWS]; /* the pair a flow was last sent on */
    VmcVirtqElement receiving[QUEUE_SIZE];
    uint32_t received[QUEUE_SIZE]; /* bytes in each of those */
    VmcVirtqElement control;
} Net;

static unsigned rx_queue(unsigned pair)
{
    return 2 * pair;
}

static unsigned tx_queue(unsigned pair)
{
    return 2 * pair + 1;
}

/* s5.1.2: behind all pairs that there are, or behind the first when the driver knows only of that. */
static unsigned control_queue(const Net *net)
{
    return net->dev.features & F_MQ ? 2 * net->max_pairs : 2;
}

/* ---- offloads ---- */

static const struct {
    uint64_t guest, host; /* features */
    uint32_t offload;
} offloads[] = {
    {F_GUEST_CSUM, F_CSUM, VMC_OFFLOAD_CSUM},      {F_GUEST_TSO4, F_HOST_TSO4, VMC_OFFLOAD_TSO4},
    {F_GUEST_TSO6, F_HOST_TSO6, VMC_OFFLOAD_TSO6}, {F_GUEST_ECN, F_HOST_ECN, VMC_OFFLOAD_ECN},
    {F_GUEST_USO4, F_HOST_USO, VMC_OFFLOAD_USO4},  {F_GUEST_USO6, F_HOST_USO, VMC_OFFLOAD_USO6},
};

/* What the driver takes, from the GUEST_ features. Nothing comes without checksums (s5.1.3.1). */
static uint32_t guest_offloads(uint64_t features)
{
    uint32_t all = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(offloads); i++)
        if (features & offloads[i].guest)
            all |= offloads[i].offload;
    if (!(all & (VMC_OFFLOAD_TSO4 | VMC_OFFLOAD_TSO6)))
        all &= ~VMC_OFFLOAD_ECN;
    return all & VMC_OFFLOAD_CSUM ? all : 0;
}

static uint64_t offload_features(uint32_t gives)
{
    uint64_t features = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(offloads); i++)
        features |= offloads[i].host | (gives & offloads[i].offload ? offloads[i].guest : 0);
    return features;
}

/* What a driver may ask for in a frame's header. */
static uint32_t host_offloads(uint64_t features)
{
    uint32_t all = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(offloads); i++)
        if (features & offloads[i].host)
            all |= offloads[i].offload;
    return all;
}

/* ---- sending ---- */

/* Takes the header off. False: no frame that can be sent. */
static bool read_header(const Net *net, VmcVirtqElement *elem, VmcFrameInfo *info)
{
    NetHeader header;

    if (vmc_virtq_element_read(elem, &header, sizeof(header)) != sizeof(header))
        return false;
    *info = (VmcFrameInfo){
        .flags = header.flags & HDR_F_NEEDS_CSUM ? VMC_FRAME_NEEDS_CSUM : 0,
        .gso_type = header.gso_type,
        .hdr_len = GUINT16_FROM_LE(header.hdr_len),
        .gso_size = GUINT16_FROM_LE(header.gso_size),
        .csum_start = GUINT16_FROM_LE(header.csum_start),
        .csum_offset = GUINT16_FROM_LE(header.csum_offset),
    };
    return !(vmc_offload_needs(info) & ~host_offloads(net->dev.features));
}

static void note_flow(Net *net, const VmcVirtqElement *elem, unsigned pair)
{
    uint8_t head[VMC_NET_FLOW_BYTES];

    if (net->pairs > 1)
        net->flows[vmc_net_flow(head, vmc_iov_copy(elem->out, elem->n_out, 0, head, sizeof(head)))] =
            (uint8_t)pair;
}

/* Takes a chain with a frame if none is waiting; those without one go straight back. False: there is none. */
static bool have_frame(Net *net, unsigned pair, unsigned *chains)
{
    Sender *sender = &net->senders[pair];

    while (!sender->out && *chains < RUN_CHAINS) {
        if (!vmc_virtio_pop(&net->dev, tx_queue(pair), &sender->elem))
            return false;
        ++*chains;
        if (read_header(net, &sender->elem, &sender->info)) {
            note_flow(net, &sender->elem, pair);
            sender->out = true;
        } else {
            vmc_virtio_push(&net->dev, tx_queue(pair), &sender->elem, 0);
        }
    }
    return sender->out;
}

/* False: refused, and it stays. Without a link it goes nowhere. */
static bool send_frame(Net *net, Sender *sender)
{
    return !atomic_load_explicit(&net->passing, memory_order_relaxed) ||
           vmc_cable_send(net->cable, sender->elem.out, sender->elem.n_out, &sender->info);
}

static void transmit(Net *net, unsigned pair)
{
    VmcVirtioDevice *dev = &net->dev;
    Sender *sender = &net->senders[pair];
    unsigned queue = tx_queue(pair), chains = 0;
    uint64_t bytes = 0;

    if (net->refused || !dev->running)
        return;
    vmc_virtqueue_set_notification(&dev->queues[queue], false);
    while (bytes < RUN_BYTES && have_frame(net, pair, &chains)) {
        net->refused = !send_frame(net, sender);
        if (net->refused)
            break;
        bytes += sender->elem.out_len;
        vmc_virtio_push(dev, queue, &sender->elem, 0);
        sender->out = false;
    }
    vmc_cable_send_done(net->cable);
    vmc_virtio_notify(dev, queue);
    if (net->refused)
        return;
    vmc_virtqueue_set_notification(&dev->queues[queue], true);
    if (sender->out || vmc_virtqueue_available(&dev->queues[queue]))
        vmc_virtio_kick(dev, queue);
}

/* Everybody in turn begins, so that one busy pair does not take all the room. */
static void room(void *nic)
{
    Net *net = nic;
    unsigned first = net->next_sender++;

    net->refused = false;
    for (unsigned i = 0; i < net->max_pairs && !net->refused; i++)
        transmit(net, (first + i) % net->max_pairs);
}

/* ---- receiving ---- */

static bool mergeable(const Net *net)
{
    return net->dev.features & F_MRG_RXBUF;
}

/* Takes chains for `need` bytes into net->receiving; returns how many, or 0: there are too few, and they stay
 * where they are. `hopeless`: more than the driver could ever offer. */
static unsigned take_buffers(Net *net, unsigned queue, size_t need, bool *hopeless)
{
    VmcVirtqueue *vq = &net->dev.queues[queue];
    unsigned n = 0, most = mergeable(net) ? vmc_virtqueue_size(vq) : 1;
    uint64_t have = 0;

    while (have < need && n < most && vmc_virtio_pop(&net->dev, queue, &net->receiving[n]))
        have += net->receiving[n++].in_len;
    if (have >= need)
        return n;
    *hopeless = n == most;
    while (n)
        vmc_virtqueue_unpop(vq, &net->receiving[--n]);
    return 0;
}

/* Buffers for a frame, or, where there are none, the driver's word that it will say when there are. */
static unsigned want_buffers(Net *net, unsigned queue, size_t need, bool *hopeless)
{
    VmcVirtqueue *vq = &net->dev.queues[queue];
    unsigned n = take_buffers(net, queue, need, hopeless);

    if (n || *hopeless)
        return n;
    vmc_virtqueue_set_notification(vq, true);
    n = take_buffers(net, queue, need, hopeless);
    net->starved = !n && !*hopeless;
    if (!net->starved)
        vmc_virtqueue_set_notification(vq, false);
    return n;
}

/* Writes on into the chains taken, from chain `*at`; there is room. */
static void fill(Net *net, unsigned *at, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;

    while (len) {
        size_t done = vmc_virtq_element_write(&net->receiving[*at], from, len);
        net->received[*at] += (uint32_t)done;
        from += done;
        len -= done;
        if (len)
            net->received[++*at] = 0;
    }
}

static NetHeader make_header(const VmcFrameInfo *info, unsigned n_buffers)
{
    bool sum = info->flags & VMC_FRAME_NEEDS_CSUM;

    return (NetHeader){
        .flags = sum                                  ? HDR_F_NEEDS_CSUM
                 : info->flags & VMC_FRAME_DATA_VALID ? HDR_F_DATA_VALID
                                                      : 0,
        .gso_type = info->gso_type,
        .hdr_len = GUINT16_TO_LE(info->hdr_len),
        .gso_size = GUINT16_TO_LE(info->gso_size),
        .csum_start = GUINT16_TO_LE(sum ? info->csum_start : 0),
        .csum_offset = GUINT16_TO_LE(sum ? info->csum_offset : 0),
        .num_buffers = GUINT16_TO_LE((uint16_t)n_buffers),
    };
}

/* s5.1.6.4: all buffers of a frame become visible at once. False: too few. */
static bool put_frame(Net *net, unsigned pair, const struct iovec *iov, unsigned n_iov, size_t len,
                      const VmcFrameInfo *info)
{
    bool hopeless = false;
    unsigned at = 0, n = want_buffers(net, rx_queue(pair), sizeof(NetHeader) + len, &hopeless);

    if (!n)
        return hopeless;
    NetHeader header = make_header(info, n);
    net->received[0] = 0;
    fill(net, &at, &header, sizeof(header));
    for (unsigned i = 0; i < n_iov; i++)
        fill(net, &at, iov[i].iov_base, iov[i].iov_len);
    vmc_virtqueue_push_together(&net->dev.queues[rx_queue(pair)], net->receiving, net->received, n);
    net->told_later |= 1u << pair;
    return true;
}

/* s5.1.4.1: one negotiated MTU is a promise. */
static bool too_long(const Net *net, const uint8_t *head, size_t len, const VmcFrameInfo *info)
{
    size_t header = head[12] == 0x81 && head[13] == 0 ? VMC_FRAME_MIN + 4 : VMC_FRAME_MIN;

    return net->dev.features & F_MTU && info->gso_type == VMC_GSO_NONE && len > header + net->mtu;
}

static bool receive(void *nic, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info)
{
    Net *net = nic;
    uint8_t head[VMC_NET_FLOW_BYTES];
    size_t len = vmc_iov_length(iov, n_iov), head_len = vmc_iov_copy(iov, n_iov, 0, head, sizeof(head));

    if (!net->dev.running)
        return false;
    if (!atomic_load_explicit(&net->passing, memory_order_relaxed) || head_len < VMC_FRAME_MIN ||
        !vmc_net_filter_wants(&net->filter, head, head_len) || too_long(net, head, len, info))
        return true;
    unsigned pair = net->pairs > 1 ? net->flows[vmc_net_flow(head, head_len)] : 0;
    return put_frame(net, pair < net->pairs ? pair : 0, iov, n_iov, len, info);
}

static void receive_done(void *nic)
{
    Net *net = nic;

    for (unsigned pair = 0; net->told_later; pair++, net->told_later >>= 1)
        if (net->told_later & 1)
            vmc_virtio_notify(&net->dev, rx_queue(pair));
}

static void buffers_added(Net *net, unsigned queue)
{
    if (!net->starved)
        return;
    net->starved = false;
    vmc_virtqueue_set_notification(&net->dev.queues[queue], false);
    vmc_cable_resume(net->cable);
}

/* ---- link and address ---- */

/* Any thread: after `plugged` or the cable's link may have changed. */
static void update_link(Net *net)
{
    g_mutex_lock(&net->lock);
    bool link = net->plugged && vmc_cable_link(net->cable), changed = link != net->link;
    net->link = link;
    if (changed)
        net->announce = link && net->announces;
    atomic_store(&net->passing, link);
    g_mutex_unlock(&net->lock);
    if (changed)
        vmc_virtio_config_changed(&net->dev);
}

static void link_changed(void *nic)
{
    update_link(nic);
}

static const VmcNicOps nic_ops = {
    .receive = receive,
    .receive_done = receive_done,
    .room = room,
    .link_changed = link_changed,
};

static void set_mac(Net *net, const uint8_t mac[VMC_MAC_BYTES])
{
    g_mutex_lock(&net->lock);
    memcpy(net->mac, mac, VMC_MAC_BYTES);
    g_mutex_unlock(&net->lock);
}

/* ---- the control queue (s5.1.6.5) ---- */

static bool set_pairs(Net *net, VmcVirtqElement *elem)
{
    uint16_t pairs;

    if (vmc_virtq_element_read(elem, &pairs, sizeof(pairs)) != sizeof(pairs))
        return false;
    pairs = GUINT16_FROM_LE(pairs);
    if (!pairs || pairs > net->max_pairs)
        return false;
    net->pairs = pairs;
    return true;
}

static bool set_guest_offloads(Net *net, VmcVirtqElement *elem)
{
    uint64_t wanted;

    if (vmc_virtq_element_read(elem, &wanted, sizeof(wanted)) != sizeof(wanted))
        return false;
    wanted = GUINT64_FROM_LE(wanted);
    if (wanted & ~(net->dev.features & offload_features(VMC_OFFLOAD_ALL)))
        return false;
    vmc_cable_set_offloads(net->cable, guest_offloads(wanted));
    return true;
}

static bool acknowledge(Net *net)
{
    g_mutex_lock(&net->lock);
    net->announce = false;
    g_mutex_unlock(&net->lock);
    vmc_virtio_config_changed(&net->dev);
    return true;
}

static bool set_filter(Net *net, uint8_t class, uint8_t command, VmcVirtqElement *elem)
{
    if (!vmc_net_filter_command(&net->filter, class, command, elem))
        return false;
    set_mac(net, net->filter.mac);
    return true;
}

static bool obey(Net *net, uint8_t class, uint8_t command, VmcVirtqElement *elem)
{
    static const uint64_t needs[] = {
        [VMC_NET_CTRL_RX] = F_CTRL_RX,     [VMC_NET_CTRL_MAC] = F_CTRL_VQ,
        [VMC_NET_CTRL_VLAN] = F_CTRL_VLAN, [VMC_NET_CTRL_ANNOUNCE] = F_GUEST_ANNOUNCE,
        [VMC_NET_CTRL_MQ] = F_MQ,          [VMC_NET_CTRL_GUEST_OFFLOADS] = F_CTRL_GUEST_OFFLOADS,
    };

    if (class >= G_N_ELEMENTS(needs) || !(net->dev.features & needs[class]))
        return false;
    switch (class) {
    case VMC_NET_CTRL_ANNOUNCE:
        return command == CTRL_ANNOUNCE_ACK && acknowledge(net);
    case VMC_NET_CTRL_MQ:
        return command == CTRL_MQ_VQ_PAIRS_SET && set_pairs(net, elem);
    case VMC_NET_CTRL_GUEST_OFFLOADS:
        return command == CTRL_GUEST_OFFLOADS_SET && set_guest_offloads(net, elem);
    default:
        return set_filter(net, class, command, elem);
    }
}

static void control(Net *net, unsigned queue)
{
    VmcVirtioDevice *dev = &net->dev;
    VmcVirtqElement *elem = &net->control;

    for (unsigned i = 0; i < CONTROL_SIZE && vmc_virtio_pop(dev, queue, elem); i++) {
        uint8_t head[2], ack = CTRL_ERR;
        if (vmc_virtq_element_read(elem, head, sizeof(head)) == sizeof(head) &&
            obey(net, head[0], head[1], elem))
            ack = CTRL_OK;
        vmc_virtio_push(dev, queue, elem, (uint32_t)vmc_virtq_element_write(elem, &ack, sizeof(ack)));
    }
    vmc_virtio_notify(dev, queue);
    vmc_virtqueue_set_notification(&dev->queues[queue], true);
    if (vmc_virtqueue_available(&dev->queues[queue]))
        vmc_virtio_kick(dev, queue);
}

/* ---- configuration and lifecycle ---- */

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    Net *net = (Net *)dev;

    if (!dev->running)
        return;
    if (dev->features & F_CTRL_VQ && queue == control_queue(net))
        control(net, queue);
    else if (queue >= 2u * net->max_pairs)
        return;
    else if (queue % 2)
        transmit(net, queue / 2);
    else
        buffers_added(net, queue);
}

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    Net *net = (Net *)dev;
    NetConfig config = {
        .max_virtqueue_pairs = GUINT16_TO_LE(net->max_pairs),
        .mtu = GUINT16_TO_LE(net->mtu),
    };

    g_mutex_lock(&net->lock);
    memcpy(config.mac, net->mac, sizeof(config.mac));
    config.status = GUINT16_TO_LE((net->link ? S_LINK_UP : 0) | (net->announce ? S_ANNOUNCE : 0));
    g_mutex_unlock(&net->lock);
    memcpy(buf, (uint8_t *)&config + offset, len);
}

/* As when just made. */
static void forget_driver(Net *net)
{
    net->announces = false;
    net->refused = net->starved = false;
    net->told_later = 0;
    net->pairs = 1;
    for (unsigned i = 0; i < net->max_pairs; i++)
        net->senders[i].out = false;
    memset(net->flows, 0, sizeof(net->flows));
    set_mac(net, net->permanent_mac);
    g_mutex_lock(&net->lock);
    net->announce = false;
    g_mutex_unlock(&net->lock);
}

static void driver_ok(VmcVirtioDevice *dev)
{
    Net *net = (Net *)dev;

    vmc_net_filter_reset(&net->filter, net->permanent_mac, dev->features & F_CTRL_VLAN);
    net->announces = dev->features & F_GUEST_ANNOUNCE && dev->features & F_CTRL_VQ;
    for (unsigned i = 0; i < net->max_pairs; i++)
        vmc_virtqueue_set_notification(&dev->queues[rx_queue(i)], false);
    vmc_cable_set_offloads(net->cable, guest_offloads(dev->features));
    vmc_cable_resume(net->cable);
}

static bool reset(VmcVirtioDevice *dev)
{
    Net *net = (Net *)dev;

    vmc_cable_stop(net->cable);
    vmc_cable_set_offloads(net->cable, 0);
    forget_driver(net);
    return true;
}

/* A frame that the cable has refused is taken anew, and sent. */
static unsigned kept(VmcVirtioDevice *dev, unsigned queue)
{
    const Net *net = (Net *)dev;

    return queue % 2 && queue / 2 < net->max_pairs && net->senders[queue / 2].out;
}

static void save(VmcVirtioDevice *dev, VmcStateWriter *w)
{
    Net *net = (Net *)dev;

    vmc_state_put_bytes(w, net->permanent_mac, VMC_MAC_BYTES);
    g_mutex_lock(&net->lock);
    vmc_state_put_bytes(w, net->mac, VMC_MAC_BYTES);
    vmc_state_put_bool(w, net->plugged);
    vmc_state_put_bool(w, net->link);
    g_mutex_unlock(&net->lock);
    vmc_state_put_u8(w, (uint8_t)net->pairs);
    vmc_state_put_u32(w, net->cable->nic_takes);
    vmc_net_filter_save(&net->filter, w);
    vmc_state_put_bytes(w, net->flows, sizeof(net->flows));
}

/* The cable is another one, and may lead elsewhere: the driver is to announce itself there (s5.1.6.5.4). */
static void plug_in_anew(Net *net)
{
    net->announces = net->dev.features & F_GUEST_ANNOUNCE && net->dev.features & F_CTRL_VQ;
    g_mutex_lock(&net->lock);
    atomic_store(&net->passing, net->link);
    net->announce = net->announces && net->link;
    bool tell = net->announce;
    g_mutex_unlock(&net->lock);
    if (tell)
        vmc_virtio_config_changed(&net->dev);
    update_link(net);
    if (net->dev.running)
        vmc_cable_resume(net->cable);
}

static bool load(VmcVirtioDevice *dev, VmcStateReader *r)
{
    Net *net = (Net *)dev;

    vmc_state_get_bytes(r, net->permanent_mac, VMC_MAC_BYTES);
    g_mutex_lock(&net->lock);
    vmc_state_get_bytes(r, net->mac, VMC_MAC_BYTES);
    net->plugged = vmc_state_get_bool(r);
    net->link = vmc_state_get_bool(r);
    g_mutex_unlock(&net->lock);
    net->pairs = vmc_state_get_u8_max(r, (uint8_t)net->max_pairs);
    uint32_t takes = vmc_state_get_u32_max(r, VMC_OFFLOAD_ALL);
    vmc_net_filter_load(&net->filter, r);
    vmc_state_get_bytes(r, net->flows, sizeof(net->flows));
    vmc_state_check(r, net->pairs, "how many pairs of queues it uses");
    if (!vmc_state_check(r, !(takes & ~guest_offloads(dev->features | offload_features(0))),
                         "what it takes unfinished"))
        return false;
    vmc_cable_set_offloads(net->cable, takes);
    plug_in_anew(net);
    return true;
}

static void net_free(VmcVirtioDevice *dev)
{
    Net *net = (Net *)dev;

    vmc_cable_free(net->cable);
    for (unsigned i = 0; i < PAIRS_MAX; i++)
        vmc_virtq_element_clear(&net->senders[i].elem);
    for (unsigned i = 0; i < QUEUE_SIZE; i++)
        vmc_virtq_element_clear(&net->receiving[i]);
    vmc_virtq_element_clear(&net->control);
    g_mutex_clear(&net->lock);
    g_free(net);
}

static const VmcVirtioOps net_ops = {
    .name = "virtio-net",
    .type = VMC_VIRTIO_ID_NET,
    .pci_class = 0x020000,
    .config_size = sizeof(NetConfig),
    .n_queues = 2,
    .queue_sizes = {QUEUE_SIZE, QUEUE_SIZE},
    .config_read = config_read,
    .driver_ok = driver_ok,
    .queue_notified = queue_notified,
    .reset = reset,
    .free = net_free,
    .kept = kept,
    .save = save,
    .load = load,
};

VmcPciDevice *vmc_virtio_net_new(const VmcVirtioHost *host, VmcCable *cable, const VmcVirtioNetParams *params)
{
    static const uint8_t none[VMC_MAC_BYTES];
    Net *net = g_new0(Net, 1);
    VmcVirtioDevice *dev = &net->dev;

    vmc_virtio_device_init(dev, &net_ops, host->memory, host->io);
    g_mutex_init(&net->lock);
    net->cable = cable;
    net->max_pairs = (uint16_t)CLAMP(params->pairs, 1, PAIRS_MAX);
    net->mtu = params->mtu ? MAX(params->mtu, MTU_MIN) : cable->mtu;
    if (memcmp(params->mac, none, sizeof(none)))
        memcpy(net->permanent_mac, params->mac, sizeof(net->permanent_mac));
    else
        vmc_mac_random(net->permanent_mac);
    vmc_virtio_device_add_queues(dev, 2u * (net->max_pairs - 1u), QUEUE_SIZE);
    vmc_virtio_device_add_queues(dev, 1, CONTROL_SIZE);
    dev->offered = F_MAC | F_STATUS | F_MRG_RXBUF | F_CTRL_VQ | F_CTRL_RX | F_CTRL_RX_EXTRA | F_CTRL_VLAN |
                   F_CTRL_MAC_ADDR | F_GUEST_ANNOUNCE | offload_features(cable->gives) |
                   (cable->gives & VMC_OFFLOAD_CSUM ? F_CTRL_GUEST_OFFLOADS : 0) | (net->mtu ? F_MTU : 0) |
                   (net->max_pairs > 1 ? F_MQ : 0);
    net->plugged = true;
    forget_driver(net);
    net->link = vmc_cable_link(cable);
    atomic_store(&net->passing, net->link);
    vmc_cable_plug(cable, &nic_ops, net);
    return vmc_virtio_pci_new(dev);
}

/* ---- from outside, any thread ---- */

void vmc_virtio_net_set_link(VmcPciDevice *pci, bool up)
{
    Net *net = (Net *)vmc_virtio_pci_device(pci, &net_ops);

    if (!net)
        return;
    g_mutex_lock(&net->lock);
    net->plugged = up;
    g_mutex_unlock(&net->lock);
    update_link(net);
}

bool vmc_virtio_net_link(VmcPciDevice *pci)
{
    Net *net = (Net *)vmc_virtio_pci_device(pci, &net_ops);

    return net && net->passing;
}

void vmc_virtio_net_get_mac(VmcPciDevice *pci, uint8_t mac[VMC_MAC_BYTES])
{
    Net *net = (Net *)vmc_virtio_pci_device(pci, &net_ops);

    memset(mac, 0, VMC_MAC_BYTES);
    if (net)
        memcpy(mac, net->permanent_mac, VMC_MAC_BYTES);
}

unsigned vmc_virtio_net_get_addresses(VmcPciDevice *pci, VmcNetAddress *addresses, unsigned max)
{
    Net *net = (Net *)vmc_virtio_pci_device(pci, &net_ops);
    uint8_t mac[VMC_MAC_BYTES];

    if (!net)
        return 0;
    g_mutex_lock(&net->lock);
    memcpy(mac, net->mac, sizeof(mac));
    g_mutex_unlock(&net->lock);
    return vmc_cable_addresses(net->cable, mac, addresses, max);
}

void vmc_virtio_net_counters(VmcPciDevice *pci, VmcCableCounters *sent, VmcCableCounters *received)
{
    Net *net = (Net *)vmc_virtio_pci_device(pci, &net_ops);

    *sent = *received = (VmcCableCounters){0};
    if (net)
        vmc_cable_counters(net->cable, sent, received);
}
