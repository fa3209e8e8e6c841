/*
 * virtio-net as a guest's driver uses it. The network is the other end of a datagram socket, each datagram a
 * frame, or NAT with a small guest that speaks DHCP, ARP and TCP to a server on this host.
 */
#include "tests/unit/virtio_rig.h"
#include "tests/unit/net_frames.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/attach.h"

#define RX     0u
#define TX     1u
#define CTRL   2u
#define SIZE   64u
#define BIT(n) (1ull << (n))

#define BASIC                                                                                                \
    (RIG_FEATURES | BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MRG_RXBUF) |         \
     BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |               \
     BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE))
#define HOST_OFFLOADS                                                                                        \
    (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |                    \
     BIT(VIRTIO_NET_F_HOST_ECN))

static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 0, 0, 1};

typedef struct Net {
    Rig rig;
    int peer; /* the other end of the cable, or -1 */
    uint64_t buffers[1024];
    unsigned buffer_len;
} Net;

static void plug(Net *n, VmcCable *cable, const VmcVirtioNetParams *params)
{
    assert_non_null(cable);
    rig_plug(&n->rig, vmc_virtio_net_new(&n->rig.host, cable, params));
}

static Net *on_socket(const VmcVirtioNetParams *more)
{
    VmcVirtioNetParams params = more ? *more : (VmcVirtioNetParams){0};
    Net *n = g_new0(Net, 1);
    int pair[2];

    memcpy(params.mac, guest_mac, 6);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    rig_init(&n->rig);
    plug(n, vmc_cable_fd_new(n->rig.io, pair[1], NULL), &params);
    close(pair[1]);
    n->peer = pair[0];
    return n;
}

static void net_free(Net *n)
{
    rig_clear(&n->rig);
    if (n->peer >= 0)
        close(n->peer);
    g_free(n);
}

/* ---- what a driver does ---- */

static void offer(Net *n, unsigned queue, uint32_t len)
{
    uint64_t at = rig_alloc(&n->rig, len);
    uint16_t head = rig_add(&n->rig, &n->rig.queues[queue], &(RigBuffer){at, len}, 0, 1);

    n->buffers[head] = at;
}

static void offer_many(Net *n, unsigned count, uint32_t len)
{
    for (unsigned i = 0; i < count; i++)
        offer(n, RX, len);
    rig_kick(&n->rig, &n->rig.queues[RX]);
}

static void bring_up(Net *n, uint64_t features, unsigned queues)
{
    rig_bring_up(&n->rig, features, queues, SIZE);
}

static void send_frame_on(Net *n, unsigned queue, const struct virtio_net_hdr_v1 *header, const void *frame,
                          size_t len)
{
    uint64_t head = rig_alloc(&n->rig, sizeof(*header)), body = rig_alloc(&n->rig, len);
    static const struct virtio_net_hdr_v1 none;
    RigBuffer buffers[3] = {
        {head, sizeof(*header)}, {body, (uint32_t)(len / 2)}, {body + len / 2, (uint32_t)(len - len / 2)}};

    memcpy(rig_host(&n->rig, head, sizeof(none)), header ? header : &none, sizeof(none));
    memcpy(rig_host(&n->rig, body, len), frame, len);
    rig_add(&n->rig, &n->rig.queues[queue], buffers, 3, 0);
    rig_kick(&n->rig, &n->rig.queues[queue]);
}

static void send_frame(Net *n, const struct virtio_net_hdr_v1 *header, const void *frame, size_t len)
{
    send_frame_on(n, TX, header, frame, len);
    rig_used(&n->rig, &n->rig.queues[TX]);
}

/* Takes the next frame out of as many buffers as it came in. */
static size_t receive_on(Net *n, unsigned queue, struct virtio_net_hdr_v1 *header, uint8_t *frame)
{
    struct vring_used_elem used = rig_used(&n->rig, &n->rig.queues[queue]);
    uint8_t *host = rig_host(&n->rig, n->buffers[used.id], used.len);
    size_t len;

    assert_true(used.len >= sizeof(*header));
    memcpy(header, host, sizeof(*header));
    len = used.len - sizeof(*header);
    memcpy(frame, host + sizeof(*header), len);
    for (unsigned i = 1; i < header->num_buffers; i++) {
        used = rig_used(&n->rig, &n->rig.queues[queue]);
        memcpy(frame + len, rig_host(&n->rig, n->buffers[used.id], used.len), used.len);
        len += used.len;
    }
    return len;
}

static void expect_frame(Net *n, const void *wanted, size_t len)
{
    struct virtio_net_hdr_v1 header;
    uint8_t *frame = g_malloc(FRAME_MAX);

    assert_int_equal(receive_on(n, RX, &header, frame), len);
    assert_memory_equal(frame, wanted, len);
    g_free(frame);
}

static void expect_no_frame(Net *n)
{
    struct vring_used_elem used;

    assert_false(rig_wait_used(&n->rig, &n->rig.queues[RX], &used, 30000));
}

static uint8_t command_on(Net *n, unsigned queue, uint8_t class, uint8_t what, const void *data, uint32_t len)
{
    Rig *rig = &n->rig;
    uint64_t at = rig_alloc(rig, 2 + len), ack = rig_alloc(rig, 1);
    uint8_t *bytes = rig_host(rig, at, 2 + len), *answer = rig_host(rig, ack, 1);
    RigBuffer buffers[3] = {{at, 2}, {at + 2, len}, {ack, 1}};

    bytes[0] = class;
    bytes[1] = what;
    memcpy(bytes + 2, data, len);
    *answer = 0x77;
    if (!len)
        buffers[1] = buffers[2];
    rig_add(rig, &rig->queues[queue], buffers, len ? 2 : 1, 1);
    rig_kick(rig, &rig->queues[queue]);
    assert_int_equal(rig_used(rig, &rig->queues[queue]).len, 1);
    return *answer;
}

static uint8_t command(Net *n, uint8_t class, uint8_t what, const void *data, uint32_t len)
{
    return command_on(n, CTRL, class, what, data, len);
}

static uint64_t config(Net *n, size_t offset, unsigned size)
{
    return vmc_bus_read(n->rig.mmio, n->rig.device + offset, size);
}

/* ---- what the network does ---- */

static size_t from_wire(Net *n, uint8_t *frame)
{
    struct pollfd ready = {.fd = n->peer, .events = POLLIN};

    assert_int_equal(poll(&ready, 1, 10000), 1);
    ssize_t got = recv(n->peer, frame, FRAME_MAX, 0);
    assert_true(got > 0);
    return (size_t)got;
}

static void expect_nothing_on_wire(Net *n)
{
    struct pollfd ready = {.fd = n->peer, .events = POLLIN};

    assert_int_equal(poll(&ready, 1, 20), 0);
}

static void to_wire(Net *n, const void *frame, size_t len)
{
    assert_int_equal(send(n->peer, frame, len, 0), len);
}

/* ---- frames ---- */

static void test_frames_both_ways(void **state)
{
    Net *n = on_socket(NULL);
    TestFrame *f = g_new0(TestFrame, 1);
    uint8_t *got = g_malloc(FRAME_MAX);

    assert_int_equal(rig_config(&n->rig, PCI_DEVICE_ID, 2), 0x1041);
    for (unsigned round = 0; round < 2; round++) { /* reset and again, as a reboot does */
        bring_up(n, BASIC, 3);
        for (unsigned i = 0; i < 6; i++)
            assert_int_equal(config(n, i, 1), guest_mac[i]);
        assert_int_equal(config(n, 6, 2), VIRTIO_NET_S_LINK_UP);
        offer_many(n, 8, 1600);
        for (size_t payload = 1; payload < 1400; payload += 333) {
            make_frame(f, false, 17, 0, false, payload);
            send_frame(n, NULL, f->bytes, f->len);
            assert_int_equal(from_wire(n, got), f->len);
            assert_memory_equal(got, f->bytes, f->len);
            to_wire(n, f->bytes, f->len);
            expect_frame(n, f->bytes, f->len);
        }
    }
    g_free(got);
    g_free(f);
    net_free(n);
}

/* A frame that is longer than one buffer comes in several, all of them at once. */
static void test_mergeable_buffers(void **state)
{
    Net *n = on_socket(NULL);
    TestFrame *f = g_new0(TestFrame, 1);
    uint8_t *got = g_malloc(FRAME_MAX);
    struct virtio_net_hdr_v1 header;

    bring_up(n, BASIC, 3);
    offer_many(n, 40, 250);
    make_frame(f, false, 17, 0, false, 1400);
    to_wire(n, f->bytes, f->len);
    assert_int_equal(receive_on(n, RX, &header, got), f->len);
    assert_int_equal(header.num_buffers, (f->len + sizeof(header) + 249) / 250);
    assert_memory_equal(got, f->bytes, f->len);
    make_frame(f, false, 17, 0, false, 10);
    to_wire(n, f->bytes, f->len);
    assert_int_equal(receive_on(n, RX, &header, got), f->len);
    assert_int_equal(header.num_buffers, 1);

    /* Without them, a frame that does not fit one buffer is lost and the next arrives. */
    bring_up(n, BASIC & ~BIT(VIRTIO_NET_F_MRG_RXBUF), 3);
    offer_many(n, 4, 250);
    make_frame(f, false, 17, 0, false, 1000);
    to_wire(n, f->bytes, f->len);
    make_frame(f, false, 17, 0, false, 100);
    to_wire(n, f->bytes, f->len);
    expect_frame(n, f->bytes, f->len);
    g_free(got);
    g_free(f);
    net_free(n);
}

/* Frames wait where they are until the driver has room, and none is lost or out of order. */
static void test_frames_wait_for_buffers(void **state)
{
    Net *n = on_socket(NULL);
    TestFrame *f = g_new0(TestFrame, 1);

    bring_up(n, BASIC, 3);
    for (size_t i = 0; i < 5; i++) {
        make_frame(f, false, 17, 0, false, 100 + i);
        to_wire(n, f->bytes, f->len);
    }
    expect_no_frame(n);
    for (size_t i = 0; i < 5; i++) {
        offer_many(n, 1, 100); /* half of what is needed */
        if (i == 0)
            expect_no_frame(n);
        offer_many(n, 1, 100);
        make_frame(f, false, 17, 0, false, 100 + i);
        expect_frame(n, f->bytes, f->len);
    }
    /* All of a small ring is too little for it: it is lost, and what comes behind is not. */
    rig_bring_up(&n->rig, BASIC, 3, 4);
    offer_many(n, 4, 100);
    make_frame(f, false, 17, 0, false, 1000);
    to_wire(n, f->bytes, f->len);
    make_frame(f, false, 17, 0, false, 200);
    to_wire(n, f->bytes, f->len);
    expect_frame(n, f->bytes, f->len);
    g_free(f);
    net_free(n);
}

/* A network that takes no more holds the driver's frames up, and loses none. */
static void test_sending_waits_for_the_network(void **state)
{
    Net *n = on_socket(NULL);
    TestFrame *f = g_new0(TestFrame, 1);
    uint8_t *got = g_malloc(FRAME_MAX);
    struct vring_used_elem used;
    unsigned sent = 0, done = 0;

    bring_up(n, BASIC, 3);
    make_frame(f, false, 17, 0, false, 1400);
    for (; sent < 4000; sent++) {
        put32(f->bytes + f->payload, sent);
        send_frame_on(n, TX, NULL, f->bytes, f->len);
        n->rig.next_free = 0x400000 + sent % SIZE * 0x4000; /* memory goes round as the ring does */
        if (!rig_wait_used(&n->rig, &n->rig.queues[TX], &used, 200000))
            break;
        done++;
    }
    assert_true(sent < 4000);
    for (unsigned i = 0; i <= sent; i++) {
        assert_int_equal(from_wire(n, got), f->len);
        assert_int_equal(get32(got + f->payload), i);
    }
    rig_used(&n->rig, &n->rig.queues[TX]);
    assert_int_equal(done, sent);
    /* Reset while one is held up. */
    for (sent = 0; sent < 4000; sent++) {
        send_frame_on(n, TX, NULL, f->bytes, f->len);
        n->rig.next_free = 0x400000 + sent % SIZE * 0x4000;
        if (!rig_wait_used(&n->rig, &n->rig.queues[TX], &used, 100000))
            break;
    }
    n->rig.next_free = 0x800000;
    bring_up(n, BASIC, 3);
    while (recv(n->peer, got, FRAME_MAX, MSG_DONTWAIT) > 0)
        ;
    make_frame(f, false, 17, 0, false, 7);
    send_frame(n, NULL, f->bytes, f->len);
    assert_int_equal(from_wire(n, got), f->len);
    g_free(got);
    g_free(f);
    net_free(n);
}

/* ---- offloads ---- */

static struct virtio_net_hdr_v1 tso_header(const TestFrame *f, bool six, uint16_t size)
{
    return (struct virtio_net_hdr_v1){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                      .gso_type = six ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
                                      .hdr_len = (uint16_t)f->payload,
                                      .gso_size = size,
                                      .csum_start = (uint16_t)f->transport,
                                      .csum_offset = 16};
}

/* A socket takes only finished frames: the large segment arrives in pieces with sums. */
static void test_large_segments_are_cut_up(void **state)
{
    Net *n = on_socket(NULL);
    TestFrame *f = g_new0(TestFrame, 1);
    uint8_t *got = g_malloc(FRAME_MAX);

    bring_up(n, BASIC | HOST_OFFLOADS, 3);
    for (unsigned six = 0; six < 2; six++) {
        make_frame(f, six, 6, 0, false, 60000);
        leave_sum(f, 6);
        struct virtio_net_hdr_v1 header = tso_header(f, six, 1400);
        send_frame(n, &header, f->bytes, f->len);
        for (size_t offset = 0; offset < 60000;) {
            size_t len = from_wire(n, got), payload = len - f->payload;
            assert_int_equal(payload, MIN(60000 - offset, 1400));
            assert_int_equal(transport_sum(got, len, f->ip, f->transport, 6), 0xffff);
            assert_memory_equal(got + f->payload, f->bytes + f->payload + offset, payload);
            offset += payload;
        }
    }
    VmcCableCounters sent, received;
    vmc_virtio_net_counters(n->rig.dev, &sent, &received);
    assert_int_equal(sent.frames, 2 * ((60000 + 1399) / 1400));
    expect_nothing_on_wire(n);
    g_free(got);
    g_free(f);
    net_free(n);
}

/* What was not negotiated or makes no sense goes nowhere, and the next frame does. */
static void test_bad_headers_are_dropped(void **state)
{
    Net *n = on_socket(NULL);
    TestFrame *f = g_new0(TestFrame, 1);
    uint8_t *got = g_malloc(FRAME_MAX);

    make_frame(f, false, 6, 0, false, 4000);
    leave_sum(f, 6);
    struct virtio_net_hdr_v1 header = tso_header(f, false, 1000), wrong;
    bring_up(n, BASIC, 3);
    send_frame(n, &header, f->bytes, f->len);
    bring_up(n, BASIC | HOST_OFFLOADS, 3);
    wrong = header;
    wrong.gso_size = 0;
    send_frame(n, &wrong, f->bytes, f->len);
    wrong = header;
    wrong.gso_type = 3; /* UFO */
    send_frame(n, &wrong, f->bytes, f->len);
    wrong = header;
    wrong.csum_start = 60000;
    send_frame(n, &wrong, f->bytes, f->len);
    wrong = header;
    wrong.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
    send_frame(n, &wrong, f->bytes, f->len);
    send_frame(n, NULL, f->bytes, 13);
    uint64_t at = rig_alloc(&n->rig, 16);
    rig_add(&n->rig, &n->rig.queues[TX], &(RigBuffer){at, 11}, 1, 0); /* not even a header */
    rig_add(&n->rig, &n->rig.queues[TX], &(RigBuffer){at, 16}, 0, 1); /* nothing to read */
    rig_kick(&n->rig, &n->rig.queues[TX]);
    rig_used(&n->rig, &n->rig.queues[TX]);
    rig_used(&n->rig, &n->rig.queues[TX]);
    expect_nothing_on_wire(n);
    make_frame(f, false, 17, 0, false, 4);
    send_frame(n, NULL, f->bytes, f->len);
    assert_int_equal(from_wire(n, got), f->len);
    g_free(got);
    g_free(f);
    net_free(n);
}

/* A chain that is malformed ends in DEVICE_NEEDS_RESET, and after the reset all is well. */
static void test_malformed_ring(void **state)
{
    Net *n = on_socket(NULL);
    TestFrame *f = g_new0(TestFrame, 1);

    make_frame(f, false, 17, 0, false, 4);
    bring_up(n, BASIC, 3);
    rig_add(&n->rig, &n->rig.queues[RX], &(RigBuffer){RIG_HOLE, 2000}, 0, 1);
    rig_kick(&n->rig, &n->rig.queues[RX]);
    to_wire(n, f->bytes, f->len);
    rig_expect_needs_reset(&n->rig);
    bring_up(n, BASIC, 3);
    offer_many(n, 1, 2000);
    to_wire(n, f->bytes, f->len);
    expect_frame(n, f->bytes, f->len);
    g_free(f);
    net_free(n);
}

/* ---- the control queue ---- */

static void expect_wanted(Net *n, const char *to, unsigned vlan, bool wanted)
{
    uint8_t frame[64] = {0}, last[20] = "\xff\xff\xff\xff\xff\xff";

    memcpy(frame, to, 6);
    if (vlan) {
        put16(frame + 12, 0x8100);
        put16(frame + 14, vlan);
    }
    to_wire(n, frame, sizeof(frame));
    if (wanted)
        expect_frame(n, frame, sizeof(frame));
    to_wire(n, last, sizeof(last)); /* comes behind it */
    expect_frame(n, last, sizeof(last));
    offer_many(n, 2, 256);
}

#define OWN       "\x52\x54\0\0\0\1"
#define OTHER     "\x52\x54\0\0\0\2"
#define MULTICAST "\1\0\x5e\0\0\1"

static void test_filters(void **state)
{
    Net *n = on_socket(NULL);
    const uint8_t on = 1, off = 0;
    const uint16_t vlan = 5, bad_vlan = 5000;
    const struct __attribute__((packed)) {
        uint32_t unicasts;
        uint8_t unicast[6];
        uint32_t multicasts;
        uint8_t multicast[6];
    } table = {1, {0x52, 0x54, 0, 0, 0, 2}, 1, {1, 0, 0x5e, 0, 0, 1}};

    bring_up(n, BASIC, 3);
    offer_many(n, 20, 256);
    expect_wanted(n, OTHER, 0, true); /* until the driver says what it wants, all */
    assert_int_equal(command(n, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1), 0);
    expect_wanted(n, OWN, 0, true);
    expect_wanted(n, OTHER, 0, false);
    expect_wanted(n, MULTICAST, 0, false);
    assert_int_equal(command(n, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1), 0);
    expect_wanted(n, MULTICAST, 0, true);
    assert_int_equal(command(n, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &off, 1), 0);
    assert_int_equal(command(n, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, &table, sizeof(table)),
                     0);
    expect_wanted(n, OTHER, 0, true);
    expect_wanted(n, MULTICAST, 0, true);
    assert_int_equal(command(n, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, &table, 9), 1);
    expect_wanted(n, OTHER, 0, true); /* a wrong command changes nothing */

    expect_wanted(n, OWN, 5, false);
    assert_int_equal(command(n, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &vlan, 2), 0);
    assert_int_equal(command(n, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &bad_vlan, 2), 1);
    expect_wanted(n, OWN, 5, true);
    assert_int_equal(command(n, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, &vlan, 2), 0);
    expect_wanted(n, OWN, 5, false);

    assert_int_equal(command(n, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\x52\x54\0\0\0\x42", 6),
                     0);
    assert_int_equal(config(n, 5, 1), 0x42);
    expect_wanted(n, "\x52\x54\0\0\0\x42", 0, true);
    expect_wanted(n, OWN, 0, false);
    assert_int_equal(command(n, VIRTIO_NET_CTRL_RX, 9, &on, 1), 1);
    assert_int_equal(command(n, 77, 0, &on, 1), 1);
    assert_int_equal(command(n, VIRTIO_NET_CTRL_MQ, 0, &vlan, 2), 1); /* not negotiated */
    rig_reset(&n->rig);
    assert_int_equal(config(n, 5, 1), 1); /* its own again */
    net_free(n);
}

static void test_several_pairs(void **state)
{
    Net *n = on_socket(&(VmcVirtioNetParams){.pairs = 3});
    TestFrame *f = g_new0(TestFrame, 1);
    uint8_t *got = g_malloc(FRAME_MAX);
    struct virtio_net_hdr_v1 header;
    uint16_t pairs = 3, none = 0, many = 4;

    bring_up(n, BASIC | BIT(VIRTIO_NET_F_MQ), 7);
    assert_int_equal(config(n, 8, 2), 3);
    for (unsigned i = 0; i < 3; i++) {
        offer(n, 2 * i, 2000);
        offer(n, 2 * i, 2000);
    }
    assert_int_equal(command_on(n, 6, VIRTIO_NET_CTRL_MQ, 0, &none, 2), 1);
    assert_int_equal(command_on(n, 6, VIRTIO_NET_CTRL_MQ, 0, &many, 2), 1);
    assert_int_equal(command_on(n, 6, VIRTIO_NET_CTRL_MQ, 0, &pairs, 2), 0);
    /* The answer to what was sent on pair 2 comes on pair 2. */
    make_frame(f, false, 17, 0, false, 50);
    send_frame_on(n, 5, NULL, f->bytes, f->len);
    rig_used(&n->rig, &n->rig.queues[5]);
    from_wire(n, got);
    uint8_t addresses[8];
    memcpy(addresses, f->bytes + f->ip + 12, 8);
    memcpy(f->bytes + f->ip + 12, addresses + 4, 4);
    memcpy(f->bytes + f->ip + 16, addresses, 4);
    put16(f->bytes + f->transport, 80);
    put16(f->bytes + f->transport + 2, 40000);
    to_wire(n, f->bytes, f->len);
    n->rig.queues[4].index = 4;
    assert_int_equal(receive_on(n, 4, &header, got), f->len);
    /* A driver that knows one pair has its control queue behind that. */
    bring_up(n, BASIC, 3);
    assert_int_equal(command(n, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1), 0);
    g_free(got);
    g_free(f);
    net_free(n);
}

static void test_link(void **state)
{
    Net *n = on_socket(NULL);
    TestFrame *f = g_new0(TestFrame, 1);

    make_frame(f, false, 17, 0, false, 50);
    bring_up(n, BASIC, 3);
    offer_many(n, 2, 2000);
    unsigned before = n->rig.interrupts[0];
    vmc_virtio_net_set_link(n->rig.dev, false);
    assert_int_equal(config(n, 6, 2), 0);
    assert_int_equal(n->rig.interrupts[0], before + 1);
    assert_false(vmc_virtio_net_link(n->rig.dev));
    send_frame(n, NULL, f->bytes, f->len);
    expect_nothing_on_wire(n);
    to_wire(n, f->bytes, f->len);
    expect_no_frame(n);
    vmc_virtio_net_set_link(n->rig.dev, true);
    assert_int_equal(config(n, 6, 2), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
    assert_int_equal(command(n, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, "", 0), 0);
    assert_int_equal(config(n, 6, 2), VIRTIO_NET_S_LINK_UP);
    to_wire(n, f->bytes, f->len);
    expect_frame(n, f->bytes, f->len);

    /* The other end goes away for good. */
    close(n->peer);
    n->peer = -1;
    send_frame(n, NULL, f->bytes, f->len);
    for (int64_t end = g_get_monotonic_time() + RIG_TIMEOUT; config(n, 6, 2) & VIRTIO_NET_S_LINK_UP;
         g_usleep(500))
        assert_true(g_get_monotonic_time() < end);
    send_frame(n, NULL, f->bytes, f->len);
    g_free(f);
    net_free(n);
}

static void test_mtu(void **state)
{
    Net *n = on_socket(&(VmcVirtioNetParams){.mtu = 1000});
    TestFrame *f = g_new0(TestFrame, 1);

    bring_up(n, BASIC | BIT(VIRTIO_NET_F_MTU), 3);
    assert_int_equal(config(n, 10, 2), 1000);
    offer_many(n, 4, 2000);
    make_frame(f, false, 17, 0, false, 1001 - 28);
    to_wire(n, f->bytes, f->len); /* too long */
    make_frame(f, false, 17, 0, false, 1000 - 28);
    to_wire(n, f->bytes, f->len);
    expect_frame(n, f->bytes, f->len);
    g_free(f);
    net_free(n);
}

/* ---- NAT ---- */

static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};

/* Waits for a frame for which `wanted` is true, and gives its buffers back to the device. */
static size_t await(Net *n, uint8_t *frame, bool (*wanted)(const uint8_t *frame, size_t len))
{
    struct virtio_net_hdr_v1 header;
    size_t len;

    do {
        len = receive_on(n, RX, &header, frame);
        n->rig.next_free = MAX(n->rig.next_free, 0x100000);
        offer_many(n, header.num_buffers, 2048);
        if (n->rig.next_free > 0x900000)
            n->rig.next_free = 0x100000;
    } while (!wanted(frame, len));
    return len;
}

static bool is_dhcp_reply(const uint8_t *f, size_t len)
{
    return len > 282 && get16(f + 12) == 0x0800 && f[23] == 17 && get16(f + 36) == 68;
}

static bool is_arp_reply(const uint8_t *f, size_t len)
{
    return get16(f + 12) == 0x0806 && f[21] == 2;
}

static bool is_tcp(const uint8_t *f, size_t len)
{
    return get16(f + 12) == 0x0800 && f[23] == 6;
}

static void dhcp(Net *n, uint8_t type, uint8_t *reply)
{
    TestFrame *f = g_new0(TestFrame, 1);
    uint8_t *message;

    make_frame(f, false, 17, 0, false, 300);
    memcpy(f->bytes, broadcast, 6);
    memcpy(f->bytes + 6, guest_mac, 6);
    memset(f->bytes + f->ip + 12, 0, 4);
    memset(f->bytes + f->ip + 16, 255, 4);
    put16(f->bytes + f->ip + 10, 0);
    put16(f->bytes + f->ip + 10, ~plain_sum(0, f->bytes + f->ip, 20));
    put16(f->bytes + f->transport, 68);
    put16(f->bytes + f->transport + 2, 67);
    message = f->bytes + f->payload;
    memset(message, 0, 300);
    memcpy(message, "\1\1\6\0abcd", 8);
    memcpy(message + 28, guest_mac, 6);
    memcpy(message + 236, "\x63\x82\x53\x63\x35\1", 6);
    message[242] = type;
    memcpy(message + 243, "\x32\4\12\0\2\17\xff", 7); /* 10.0.2.15, please */
    send_frame(n, NULL, f->bytes, f->len);
    await(n, reply, is_dhcp_reply);
    g_free(f);
}

/* Sends a TCP segment to 10.0.2.2, with the sum left to the device if asked for. */
static void tcp(Net *n, const uint8_t *gateway, uint16_t port, uint8_t flags, uint32_t seq, uint32_t ack,
                size_t payload, uint16_t gso)
{
    TestFrame *f = g_new0(TestFrame, 1);
    struct virtio_net_hdr_v1 header;

    make_frame(f, false, 6, 0, false, payload);
    memcpy(f->bytes, gateway, 6);
    memcpy(f->bytes + 6, guest_mac, 6);
    put16(f->bytes + f->ip + 10, 0);
    put16(f->bytes + f->ip + 10, ~plain_sum(0, f->bytes + f->ip, 20));
    put16(f->bytes + f->transport + 2, port);
    put32(f->bytes + f->transport + 4, seq);
    put32(f->bytes + f->transport + 8, ack);
    f->bytes[f->transport + 13] = flags;
    leave_sum(f, 6);
    header = tso_header(f, false, gso);
    if (!gso)
        header.gso_type = 0;
    send_frame(n, &header, f->bytes, f->len);
    g_free(f);
}

static int listen_on_loopback(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* A guest that asks for an address, finds the host and sends it 40,000 bytes in one segment: all arrives, and
 * what the server says comes back. */
static void test_nat(void **state)
{
    Net *n = g_new0(Net, 1);
    uint8_t *frame = g_malloc(FRAME_MAX), gateway[6], *data = g_malloc(40000);
    VmcVirtioNetParams params = {.pairs = 1};
    VmcNetAddress addresses[4];
    uint16_t port;
    int server = listen_on_loopback(&port);

    n->peer = -1;
    memcpy(params.mac, guest_mac, 6);
    rig_init(&n->rig);
    plug(n, vmc_cable_nat_new(n->rig.io, NULL, NULL), &params);
    bring_up(n, BASIC | HOST_OFFLOADS | BIT(VIRTIO_NET_F_GUEST_CSUM), 3);
    offer_many(n, 32, 2048);
    dhcp(n, 1, frame);
    dhcp(n, 3, frame);
    assert_memory_equal(frame + 42 + 16, "\12\0\2\17", 4);
    assert_int_equal(vmc_virtio_net_get_addresses(n->rig.dev, addresses, 4), 1);
    assert_memory_equal(addresses[0].bytes, "\12\0\2\17", 4);

    memset(frame, 0, 60);
    memcpy(frame, broadcast, 6);
    memcpy(frame + 6, guest_mac, 6);
    memcpy(frame + 12, "\x08\x06\0\1\10\0\6\4\0\1", 10);
    memcpy(frame + 22, guest_mac, 6);
    memcpy(frame + 28, "\12\0\2\17", 4);
    memcpy(frame + 38, "\12\0\2\2", 4);
    send_frame(n, NULL, frame, 42);
    await(n, frame, is_arp_reply);
    memcpy(gateway, frame + 22, 6);

    tcp(n, gateway, port, 2, 1000, 0, 0, 0); /* SYN */
    await(n, frame, is_tcp);
    assert_int_equal(frame[47], 0x12);
    uint32_t theirs = get32(frame + 38) + 1;
    tcp(n, gateway, port, 0x10, 1001, theirs, 0, 0);
    tcp(n, gateway, port, 0x18, 1001, theirs, 40000, 1400);
    int peer = accept(server, NULL, NULL);
    for (size_t done = 0; done < 40000;) {
        struct pollfd ready = {.fd = peer, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, 10000), 1);
        ssize_t got = recv(peer, data + done, 40000 - done, 0);
        assert_true(got > 0);
        done += (size_t)got;
    }
    for (size_t i = 0; i < 40000; i++)
        if (data[i] != (uint8_t)(i * 7 + (i >> 8)))
            fail_msg("byte %zu is %#x", i, data[i]);
    assert_int_equal(send(peer, "and back", 8, 0), 8);
    do
        await(n, frame, is_tcp);
    while (get16(frame + 16) <= 40);
    assert_memory_equal(frame + 54, "and back", 8);
    VmcCableCounters sent, received;
    vmc_virtio_net_counters(n->rig.dev, &sent, &received);
    assert_int_equal(sent.frames, 6); /* the large segment was one */
    close(peer);
    close(server);
    g_free(data);
    g_free(frame);
    net_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_both_ways),
        cmocka_unit_test(test_mergeable_buffers),
        cmocka_unit_test(test_frames_wait_for_buffers),
        cmocka_unit_test(test_sending_waits_for_the_network),
        cmocka_unit_test(test_large_segments_are_cut_up),
        cmocka_unit_test(test_bad_headers_are_dropped),
        cmocka_unit_test(test_malformed_ring),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_several_pairs),
        cmocka_unit_test(test_link),
        cmocka_unit_test(test_mtu),
        cmocka_unit_test(test_nat),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
