/*
 * virtio-console with up to five ports: consoles and named ones on socket pairs, on Unix sockets whose
 * clients come and go, and on a host's side that takes as little as it likes. The host sends, reads, resizes
 * and hangs up.
 *
 * covers: vmcore/virtio/console.c vmcore/virtio/console_port.c vmcore/virtio/console_control.c
 * vmcore/virtio/port.c vmcore/virtio/port_fd.c vmcore/virtio/port_socket.c
 */
#include "tests/fuzz/device.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/virtio_console.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/unix_socket.h"

#define PORTS_MAX 5u

enum { ON_PAIR, ON_SOCKET, ON_KEEPER, ON_PIPE, WAYS };

typedef struct Side {
    unsigned way;
    VmcPort *port;
    int ours, theirs; /* or -1 */
    size_t allowance; /* of a keeper */
    uint8_t sum;
    char path[64];
} Side;

typedef struct Own {
    Side sides[PORTS_MAX];
    unsigned n;
} Own;

static char folder[] = "/tmp/fuzz-console-XXXXXX";

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
}

/* ---- a host's side that takes what it is allowed ---- */

static size_t keeper_received(void *opaque, const void *data, size_t len)
{
    Side *side = opaque;
    size_t taken = len < side->allowance ? len : side->allowance;
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum ^= ((const uint8_t *)data)[i];
    side->sum = sum; /* all of it has been looked at */
    side->allowance -= taken;
    return taken;
}

static void keeper_writable(void *opaque)
{
    Side *side = opaque;
    uint8_t bytes[64] = {1};

    vmc_port_write(side->port, bytes, vmc_port_room(side->port) % sizeof(bytes));
}

static const VmcPortOps keeper_ops = {.received = keeper_received, .writable = keeper_writable};

/* ---- making it ---- */

static void make_side(FuzzMachine *m, Side *side, unsigned index)
{
    int pair[2];

    side->ours = side->theirs = -1;
    switch (side->way) {
    case ON_PAIR:
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
            abort();
        side->ours = pair[0];
        side->theirs = pair[1];
        side->port = vmc_port_fd_new(m->io, pair[1], pair[1]);
        break;
    case ON_PIPE:
        if (pipe2(pair, O_NONBLOCK))
            abort();
        side->ours = pair[0];
        side->theirs = pair[1];
        side->port = vmc_port_fd_new(m->io, -1, pair[1]);
        break;
    case ON_SOCKET:
        make_folder();
        snprintf(side->path, sizeof(side->path), "%s/%u", folder, index);
        side->port = vmc_port_socket_new(m->io, side->path, NULL);
        if (!side->port)
            abort();
        break;
    default:
        side->port = vmc_port_new(m->io, &keeper_ops, side);
        break;
    }
}

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    Own *own = g_new0(Own, 1);
    VmcConsolePort ports[PORTS_MAX];

    m->own = own;
    own->n = 1 + fuzz_below(in, PORTS_MAX);
    for (unsigned i = 0; i < own->n; i++) {
        uint8_t how = fuzz_u8(in);
        own->sides[i].way = how % WAYS;
        make_side(m, &own->sides[i], i);
        ports[i] = (VmcConsolePort){own->sides[i].port, how & 32 ? "org.fuzz" : NULL, how & 64};
    }
    return vmc_virtio_serial_new(&m->host, ports, own->n);
}

static void hang_up(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void unmake(FuzzMachine *m)
{
    Own *own = m->own;

    for (unsigned i = 0; i < own->n; i++) {
        hang_up(&own->sides[i].ours);
        hang_up(&own->sides[i].theirs);
    }
    g_free(own);
}

/* ---- what the driver says ---- */

static size_t control(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    static const uint16_t events[] = {VIRTIO_CONSOLE_DEVICE_READY, VIRTIO_CONSOLE_PORT_READY,
                                      VIRTIO_CONSOLE_PORT_OPEN};
    uint8_t how = fuzz_u8(in);
    struct virtio_console_control message = {
        .id = how & 128 ? fuzz_u32(in) : how % (PORTS_MAX + 1),
        .event = how & 64 ? fuzz_u16(in) : events[(how >> 4) % 3],
        .value = how & 64  ? fuzz_u16(in)
                 : how & 8 ? 0
                           : 1,
    };

    memcpy(buf, &message, sizeof(message));
    return sizeof(message);
}

static size_t text(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    size_t len = fuzz_below(in, FUZZ_MESSAGE_MAX);

    memset(buf, 'x', len);
    return len;
}

static const FuzzMessage messages[] = {{.queue = 3, .make = control},
                                       {.queue = FUZZ_ANY_QUEUE, .make = text}};

/* ---- what the host does ---- */

static Side *pick(FuzzMachine *m, FuzzInput *in)
{
    Own *own = m->own;

    return &own->sides[fuzz_below(in, own->n)];
}

static void step_send(FuzzMachine *m, FuzzInput *in)
{
    Side *side = pick(m, in);
    uint8_t bytes[600] = {0};
    size_t len = fuzz_below(in, sizeof(bytes));

    if (side->way == ON_KEEPER)
        vmc_port_write(side->port, bytes, len);
    else if (side->ours >= 0 && side->way != ON_PIPE)
        (void)!send(side->ours, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    fuzz_settle(m);
}

static void step_read(FuzzMachine *m, FuzzInput *in)
{
    Side *side = pick(m, in);
    uint8_t bytes[4096];

    if (side->way == ON_KEEPER) {
        side->allowance = fuzz_u16(in);
        vmc_port_resume(side->port);
    } else if (side->ours >= 0) {
        (void)!read(side->ours, bytes, 1 + fuzz_below(in, sizeof(bytes)));
    }
    fuzz_settle(m);
}

/* Comes, goes or ends its half. */
static void step_client(FuzzMachine *m, FuzzInput *in)
{
    Side *side = pick(m, in);
    uint8_t what = fuzz_u8(in);

    if (side->way == ON_KEEPER)
        vmc_port_set_host_open(side->port, what & 1);
    else if (side->way == ON_SOCKET && side->ours < 0)
        side->ours = vmc_unix_connect(side->path);
    else if (what & 1)
        hang_up(&side->ours);
    else if (side->ours >= 0)
        shutdown(side->ours, what & 2 ? SHUT_WR : SHUT_RD);
    if (!(what & 4))
        fuzz_settle(m);
}

static void step_size(FuzzMachine *m, FuzzInput *in)
{
    uint8_t number = fuzz_u8(in);

    vmc_virtio_console_set_size(m->dev, number % (PORTS_MAX + 1), fuzz_u8(in), 24);
    fuzz_settle(m);
}

static void step_emergency(FuzzMachine *m, FuzzInput *in)
{
    for (unsigned n = 1 + fuzz_u8(in) * 2u; n; n--)
        vmc_bus_write(m->mmio, m->device + offsetof(struct virtio_console_config, emerg_wr), 4, 'e');
    fuzz_settle(m);
}

static void say(FuzzMachine *m, uint32_t id, uint16_t event)
{
    struct virtio_console_control message = {.id = id, .event = event, .value = 1};

    fuzz_send(m, 3, &(FuzzChain){.out = &message, .len = sizeof(message), .n_out = 1});
}

/* What a driver says first, with buffers for the answers. */
static void step_introduce(FuzzMachine *m, FuzzInput *in)
{
    unsigned n = ((Own *)m->own)->n;

    for (unsigned i = 0; i < 8; i++)
        fuzz_send(m, 2, &(FuzzChain){.in_len = 64, .n_in = 1});
    say(m, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY);
    for (unsigned i = 0; i < n; i++) {
        say(m, i, VIRTIO_CONSOLE_PORT_READY);
        say(m, i, VIRTIO_CONSOLE_PORT_OPEN);
        fuzz_send(m, i ? 2 * i + 2 : 0, &(FuzzChain){.in_len = 1 + fuzz_u8(in), .n_in = 1});
    }
    fuzz_kick(m, 2);
    fuzz_kick(m, 3);
    fuzz_settle(m);
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_introduce, step_send, step_read,
                                                               step_client,    step_size, step_emergency};

static const FuzzTarget target = {
    .make = make,
    .unmake = unmake,
    .messages = messages,
    .n_messages = G_N_ELEMENTS(messages),
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
};

FUZZ_DEVICE(target)
