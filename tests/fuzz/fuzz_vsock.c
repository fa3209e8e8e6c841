/*
 * virtio-vsock between a guest that keeps no rule and programs that connect, serve, send, stall and hang up.
 *
 * covers: vmcore/virtio/vsock.c vmcore/virtio/vsock_connection.c
 */
#include "tests/fuzz/device.h"

#include <glib/gstdio.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/unix_socket.h"

#define OUT     5u
#define IN      6u
#define NOBODY  7u
#define SOCKETS 8u
#define PORTS   4u /* of the guest, mostly */

typedef struct Own {
    VmcUnixListener *service;
    int fds[SOCKETS]; /* -1: free */
} Own;

static char folder[] = "/tmp/fuzz-vsock-XXXXXX", service[64], door[64], nobody[64];

static void remove_folder(void)
{
    g_rmdir(folder);
}

static void make_folder(void)
{
    static bool made;

    if (made)
        return;
    if (!mkdtemp(folder))
        abort();
    made = true;
    atexit(remove_folder);
    snprintf(service, sizeof(service), "%s/s", folder);
    snprintf(door, sizeof(door), "%s/d", folder);
    snprintf(nobody, sizeof(nobody), "%s/n", folder);
}

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    Own *own = g_new0(Own, 1);

    make_folder();
    m->own = own;
    own->service = vmc_unix_listener_new(service, SOCKETS, NULL);
    for (unsigned i = 0; i < SOCKETS; i++)
        own->fds[i] = -1;
    VmcVsockPort ports[] = {{OUT, service, false}, {IN, door, true}, {NOBODY, nobody, false}};
    VmcPciDevice *dev = vmc_virtio_vsock_new(&m->host, fuzz_u8(in) & 1 ? 77 : 0, ports, 3, NULL);
    if (!own->service || !dev)
        abort();
    return dev;
}

static void unmake(FuzzMachine *m)
{
    Own *own = m->own;

    for (unsigned i = 0; i < SOCKETS; i++)
        if (own->fds[i] >= 0)
            close(own->fds[i]);
    vmc_unix_listener_free(own->service);
    g_free(own);
}

/* ---- what the driver sends ---- */

/* Ports of connections of ours count up from the first. */
static uint32_t host_port(FuzzInput *in, uint8_t how)
{
    if (how & 128)
        return how & 64 ? fuzz_u32(in) : NOBODY;
    return how & 32 ? 0x40000000u + (how & 7) : OUT;
}

static size_t packet(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    uint8_t how = fuzz_u8(in), what = fuzz_u8(in), size = fuzz_u8(in);
    size_t body = (what & 15) == VIRTIO_VSOCK_OP_RW ? fuzz_below(in, FUZZ_MESSAGE_MAX - 64) : 0;
    struct virtio_vsock_hdr header = {
        .src_cid = vmc_bus_read(m->mmio, m->device, 8),
        .dst_cid = 2,
        .dst_port = host_port(in, how),
        .len = (uint32_t)body,
        .type = VIRTIO_VSOCK_TYPE_STREAM,
        .op = what & 15,
        .flags = what >> 4,
        .buf_alloc = size & 128 ? 1u << (size & 31) : 65536,
        .fwd_cnt = size & 64 ? fuzz_u32(in) : 0,
    };

    header.src_port = how & 32 ? IN : 1000 + (how >> 3) % PORTS;
    if (size == 0x3f) { /* a header that is wrong somewhere */
        uint8_t at = (uint8_t)fuzz_below(in, sizeof(header));
        ((uint8_t *)&header)[at] ^= (uint8_t)(1 + fuzz_below(in, 255));
    }
    memcpy(buf, &header, sizeof(header));
    memset(buf + sizeof(header), 'v', body);
    return sizeof(header) + body;
}

static const FuzzMessage messages[] = {{.queue = 1, .make = packet}};

/* ---- what the host does ---- */

static int *pick(FuzzMachine *m, FuzzInput *in, bool open)
{
    Own *own = m->own;
    unsigned first = fuzz_u8(in);

    for (unsigned i = 0; i < SOCKETS; i++)
        if ((own->fds[(first + i) % SOCKETS] >= 0) == open)
            return &own->fds[(first + i) % SOCKETS];
    return NULL;
}

static void step_connect(FuzzMachine *m, FuzzInput *in)
{
    int *fd = pick(m, in, false);

    if (fd)
        *fd = vmc_unix_connect(door);
    fuzz_settle(m);
}

static void step_accept(FuzzMachine *m, FuzzInput *in)
{
    Own *own = m->own;
    int *fd = pick(m, in, false);

    if (fd)
        *fd = vmc_unix_listener_accept(own->service);
}

static void step_send(FuzzMachine *m, FuzzInput *in)
{
    static uint8_t bytes[32768];
    int *fd = pick(m, in, true);

    if (fd)
        (void)!send(*fd, bytes, 1 + fuzz_below(in, sizeof(bytes) - 1), MSG_NOSIGNAL | MSG_DONTWAIT);
    fuzz_settle(m);
}

static void step_read(FuzzMachine *m, FuzzInput *in)
{
    static uint8_t bytes[65536];
    int *fd = pick(m, in, true);

    if (fd)
        (void)!recv(*fd, bytes, 1 + fuzz_u16(in), MSG_DONTWAIT);
    fuzz_settle(m);
}

static void step_hang_up(FuzzMachine *m, FuzzInput *in)
{
    int *fd = pick(m, in, true);
    uint8_t how = fuzz_u8(in);

    if (fd && how < 100) {
        shutdown(*fd, how & 1 ? SHUT_WR : SHUT_RD);
    } else if (fd) {
        close(*fd);
        *fd = -1;
    }
    if (how & 2)
        fuzz_settle(m);
}

/* Data in a good many pieces, so that sockets fill up. */
static void step_flood(FuzzMachine *m, FuzzInput *in)
{
    uint8_t guest_port = fuzz_u8(in), times = fuzz_u8(in) % 32;
    static uint8_t bytes[sizeof(struct virtio_vsock_hdr) + 16384];
    struct virtio_vsock_hdr header = {
        .src_cid = vmc_bus_read(m->mmio, m->device, 8),
        .dst_cid = 2,
        .src_port = guest_port & 8 ? IN : 1000 + guest_port % PORTS,
        .dst_port = guest_port & 8 ? 0x40000000u + guest_port % 8 : OUT,
        .len = 16384,
        .type = VIRTIO_VSOCK_TYPE_STREAM,
        .op = VIRTIO_VSOCK_OP_RW,
        .buf_alloc = 65536,
    };

    memcpy(bytes, &header, sizeof(header));
    while (times--) {
        fuzz_send(m, 1, &(FuzzChain){.out = bytes, .len = sizeof(bytes), .n_out = 2});
        fuzz_kick(m, 1);
        fuzz_settle(m);
    }
}

static void step_reset_transport(FuzzMachine *m, FuzzInput *in)
{
    vmc_virtio_vsock_reset_transport(m->dev);
    fuzz_settle(m);
}

/* A driver that takes part: buffers to receive in, and connections that come to stand, of its own or of a
 * client. */
static void step_establish(FuzzMachine *m, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);
    uint32_t buffer = 64u << (how >> 5);
    struct virtio_vsock_hdr header = {
        .src_cid = vmc_bus_read(m->mmio, m->device, 8),
        .dst_cid = 2,
        .src_port = how & 8 ? IN : 1000 + how % PORTS,
        .dst_port = how & 8 ? 0x40000000u + how % 4 : OUT,
        .type = VIRTIO_VSOCK_TYPE_STREAM,
        .op = how & 8 ? VIRTIO_VSOCK_OP_RESPONSE : VIRTIO_VSOCK_OP_REQUEST,
        .buf_alloc = 65536,
    };

    for (unsigned i = 0; i < 4; i++)
        fuzz_send(m, 0, &(FuzzChain){.in_len = buffer, .n_in = 1});
    fuzz_kick(m, 0);
    fuzz_settle(m);
    if (how & 8)
        step_connect(m, in);
    fuzz_send(m, 1, &(FuzzChain){.out = &header, .len = sizeof(header), .n_out = 1});
    fuzz_kick(m, 1);
    fuzz_settle(m);
    if (!(how & 8))
        step_accept(m, in);
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {
    step_establish, step_connect, step_accept, step_send,
    step_read,      step_hang_up, step_flood,  step_reset_transport,
};

static const FuzzTarget target = {
    .make = make,
    .unmake = unmake,
    .messages = messages,
    .n_messages = G_N_ELEMENTS(messages),
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
};

FUZZ_DEVICE(target)
