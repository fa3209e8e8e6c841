/*
 * virtio-net without a guest: a driver of a few lines keeps the ring of the real device full through its real
 * transport, and the cable leads nowhere, or to libslirp.
 *
 *     ring_net seconds
 *
 * Prints a line for each pattern: its name, frames a second, bytes a second. "send" and "receive" are the
 * device side alone: the cable takes every frame, and has one whenever there are buffers. "nat" are UDP
 * datagrams to a socket of this host through the device and libslirp, "slirp" the same frames given to
 * libslirp directly: what the device adds.
 */
#define RIG_RAM (64u << 20)
#define RIG_ROM 0x10000000ull

#include "tests/unit/virtio_rig.h"
#include "tests/unit/net_frames.h"

#include <linux/virtio_net.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/attach.h"
#include "net/offload.h"

#define SIZE  256u
#define DEPTH 64u /* frames under way; each has four descriptors */
#define PARTS 4u
#define SLOT  0x11000u /* bytes for one frame and its header */
#define FEATURES                                                                                             \
    (RIG_FEATURES | 1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_NET_F_CSUM |                             \
     1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4)

typedef struct Bench {
    Rig rig;
    TestFrame *frame;
    VmcFrameInfo info;
    bool giving; /* the cable gives frames */
    uint64_t memory, seconds_ns;
} Bench;

/* ---- a cable that leads nowhere ---- */

typedef struct Null {
    VmcCable cable;
    Bench *bench;
} Null;

static bool null_send(VmcCable *cable, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info)
{
    return true;
}

static void null_resume(VmcCable *cable)
{
    Bench *b = ((Null *)cable)->bench;
    struct iovec iov = {b->frame->bytes, b->frame->len};

    while (b->giving && vmc_cable_deliver(cable, &iov, 1, &b->info))
        ;
    vmc_cable_deliver_done(cable);
}

static void null_free(VmcCable *cable)
{
    vmc_cable_clear(cable);
    g_free(cable);
}

static const VmcCableOps null_ops = {
    .name = "null", .send = null_send, .resume = null_resume, .free = null_free};

static VmcCable *null_new(Bench *b)
{
    Null *null = g_new0(Null, 1);

    vmc_cable_init(&null->cable, &null_ops, b->rig.io);
    null->cable.takes = null->cable.gives = VMC_OFFLOAD_ALL;
    null->bench = b;
    return &null->cable;
}

/* ---- a driver ---- */

static void report(const Bench *b, const char *name, uint64_t frames, uint64_t ns)
{
    double rate = (double)frames * 1e9 / (double)ns;

    printf("%-14s %10.0f frames/s %8.2f GB/s\n", name, rate, rate * (double)b->frame->len / 1e9);
    fflush(stdout);
}

/* Slot `n` is a chain that starts at descriptor PARTS * n: header and frame in pieces, or room for as much.
 */
static void prepare(Bench *b, RigQueue *q, bool in)
{
    struct virtio_net_hdr_v1 header = {.flags = b->info.flags,
                                       .gso_type = b->info.gso_type,
                                       .gso_size = b->info.gso_size,
                                       .csum_start = b->info.csum_start,
                                       .csum_offset = b->info.csum_offset};
    size_t len = in ? SLOT : sizeof(header) + b->frame->len, piece = len / PARTS;

    for (unsigned n = 0; n < DEPTH; n++) {
        uint64_t at = b->memory + (uint64_t)n * SLOT;
        memcpy(rig_host(&b->rig, at, len), &header, sizeof(header));
        memcpy((uint8_t *)rig_host(&b->rig, at, len) + sizeof(header), b->frame->bytes, b->frame->len);
        for (unsigned i = 0; i < PARTS; i++) {
            bool last = i + 1 == PARTS;
            *rig_desc(&b->rig, q, PARTS * n + i) = (struct vring_desc){
                .addr = at + i * piece,
                .len = (uint32_t)(last ? len - i * piece : piece),
                .flags = (uint16_t)((in ? VRING_DESC_F_WRITE : 0) | (last ? 0 : VRING_DESC_F_NEXT)),
                .next = (uint16_t)(PARTS * n + i + 1)};
        }
    }
}

/* Offers all slots, and each again as it comes back. */
static void drive(Bench *b, const char *name, RigQueue *q, bool in)
{
    struct vring_used *used = rig_host(&b->rig, q->used, 6 + 8 * SIZE);
    struct vring_avail *avail = rig_host(&b->rig, q->avail, 6 + 2 * SIZE);
    uint64_t frames = 0, begin, now;

    prepare(b, q, in);
    for (unsigned n = 0; n < DEPTH; n++)
        rig_offer(&b->rig, q, (uint16_t)(PARTS * n));
    begin = now = vmc_now_ns();
    rig_kick(&b->rig, q);
    while (now - begin < b->seconds_ns) {
        uint16_t idx = __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE), before = q->next_avail;
        for (; q->last_used != idx; q->last_used++, frames++)
            avail->ring[q->next_avail++ % SIZE] = (uint16_t)used->ring[q->last_used % SIZE].id;
        __atomic_store_n(&avail->idx, q->next_avail, __ATOMIC_SEQ_CST);
        uint16_t event = __atomic_load_n((uint16_t *)&used->ring[SIZE], __ATOMIC_SEQ_CST);
        if ((uint16_t)(q->next_avail - event - 1) < (uint16_t)(q->next_avail - before))
            rig_kick(&b->rig, q);
        else if (q->next_avail == before)
            g_thread_yield();
        now = vmc_now_ns();
    }
    report(b, name, frames, now - begin);
}

static void with_device(Bench *b, const char *name, VmcCable *cable, bool in)
{
    VmcVirtioNetParams params = {.pairs = 1};

    rig_plug(&b->rig, vmc_virtio_net_new(&b->rig.host, cable, &params));
    b->memory = rig_alloc(&b->rig, (uint64_t)DEPTH * SLOT);
    b->giving = in;
    rig_bring_up(&b->rig, FEATURES & rig_offered(&b->rig), 2, SIZE);
    drive(b, name, &b->rig.queues[in ? 0 : 1], in);
    rig_clear(&b->rig);
}

/* ---- libslirp by itself ---- */

static ssize_t drop(const void *bytes, size_t len, void *opaque)
{
    return (ssize_t)len;
}

static void ignore(const char *message, void *opaque)
{
}

static int64_t clock_ns(void *opaque)
{
    return (int64_t)vmc_now_ns();
}

static void *no_timer(SlirpTimerId id, void *data, void *opaque)
{
    return opaque;
}

static void no_timer_free(void *timer, void *opaque)
{
}

static void no_timer_mod(void *timer, int64_t when, void *opaque)
{
}

static void no_poll(int fd, void *opaque)
{
}

static void no_notify(void *opaque)
{
}

static void slirp_alone(Bench *b)
{
    static const SlirpCb callbacks = {.send_packet = drop,
                                      .guest_error = ignore,
                                      .clock_get_ns = clock_ns,
                                      .timer_free = no_timer_free,
                                      .timer_mod = no_timer_mod,
                                      .register_poll_fd = no_poll,
                                      .unregister_poll_fd = no_poll,
                                      .notify = no_notify,
                                      .timer_new_opaque = no_timer};
    SlirpConfig config = {.version = 4, .in_enabled = true};
    uint64_t frames = 0, begin, now;

    inet_pton(AF_INET, VMC_NAT_NETWORK, &config.vnetwork);
    inet_pton(AF_INET, VMC_NAT_NETMASK, &config.vnetmask);
    inet_pton(AF_INET, VMC_NAT_HOST, &config.vhost);
    inet_pton(AF_INET, VMC_NAT_GUEST, &config.vdhcp_start);
    inet_pton(AF_INET, VMC_NAT_DNS, &config.vnameserver);
    Slirp *slirp = slirp_new(&config, &callbacks, b);
    begin = now = vmc_now_ns();
    for (; now - begin < b->seconds_ns; frames++, now = vmc_now_ns())
        slirp_input(slirp, b->frame->bytes, (int)b->frame->len);
    report(b, "slirp-1500", frames, now - begin);
    slirp_cleanup(slirp);
}

/* ---- all of them ---- */

static void large_segment(Bench *b)
{
    make_frame(b->frame, false, 6, 0, false, 65535 - 40);
    leave_sum(b->frame, 6);
    b->info = (VmcFrameInfo){.flags = VMC_FRAME_NEEDS_CSUM,
                             .gso_type = VMC_GSO_TCPV4,
                             .gso_size = 1448,
                             .csum_start = (uint16_t)b->frame->transport,
                             .csum_offset = 16};
}

static void datagram(Bench *b, uint16_t port)
{
    make_frame(b->frame, false, 17, 0, false, 1472);
    put16(b->frame->bytes + b->frame->transport + 2, port);
    uint8_t *ip = b->frame->bytes + b->frame->ip;
    put16(ip + 6, 0);
    put16(ip + 10, ~plain_sum(0, ip, 20) & 0xffff);
    b->info = (VmcFrameInfo){0};
}

static int sink(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) ||
        getsockname(fd, (struct sockaddr *)&address, &size))
        exit(1);
    *port = ntohs(address.sin_port);
    return fd;
}

int main(int argc, char **argv)
{
    Bench *b = g_new0(Bench, 1);
    uint16_t port;
    int fd = sink(&port);

    b->seconds_ns = (uint64_t)((argc > 1 ? g_ascii_strtod(argv[1], NULL) : 1) * 1e9);
    b->frame = g_new0(TestFrame, 1);
    for (unsigned in = 0; in < 2; in++)
        for (unsigned large = 0; large < 2; large++) {
            large ? large_segment(b) : datagram(b, port);
            rig_init(&b->rig);
            with_device(b,
                        in      ? large ? "receive-64k" : "receive-1500"
                        : large ? "send-64k"
                                : "send-1500",
                        null_new(b), in);
        }
    datagram(b, port);
    slirp_alone(b);
    rig_init(&b->rig);
    with_device(b, "nat-1500", vmc_cable_nat_new(b->rig.io, NULL, NULL), false);
    close(fd);
    g_free(b->frame);
    g_free(b);
    return 0;
}
