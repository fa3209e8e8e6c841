/*
 * virtio-net on a cable whose other end gives everything back: frames from a driver with headers that ask for
 * every offload, the control queue, and frames, refusals and link changes from the network.
 *
 * covers: vmcore/virtio/net.c vmcore/virtio/net_filter.c vmcore/net/cable.c
 */
#include "tests/fuzz/frames.h"
#include "tests/fuzz/loop_cable.h"

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    uint8_t how = fuzz_u8(in);
    Loop *loop = loop_new(m, how, fuzz_u8(in));
    VmcVirtioNetParams params = {.mac = {0x52}, .pairs = 1 + (how >> 4 & 3), .mtu = how & 64 ? 68 : 0};

    loop->cable.mtu = how & 128 ? 1500 : 0;
    m->own = loop; /* the card's, with which it goes */
    return vmc_virtio_net_new(&m->host, &loop->cable, &params);
}

/* ---- what a driver sends ---- */

static size_t frame_message(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    size_t transport = 0, len = fuzz_frame(in, buf + 12, FUZZ_MESSAGE_MAX - 12, &transport);
    VmcFrameInfo info = fuzz_info(in, transport);

    buf[0] = info.flags;
    buf[1] = info.gso_type;
    memcpy(buf + 4, &info.gso_size, 2);
    memcpy(buf + 6, &info.csum_start, 2);
    memcpy(buf + 8, &info.csum_offset, 2);
    return 12 + len;
}

/* The table of addresses: two counts, each with so many. */
static size_t mac_table(FuzzInput *in, uint8_t *buf)
{
    uint32_t count = fuzz_below(in, 100);

    memcpy(buf + 2, &count, 4);
    for (unsigned i = 0; i < count; i++)
        fuzz_mac(in, buf + 6 + 6 * i);
    uint32_t more = fuzz_below(in, 100);
    memcpy(buf + 6 + 6 * count, &more, 4);
    return 10 + 6 * count + fuzz_below(in, 600);
}

static size_t control_message(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    static const struct {
        uint8_t commands, len;
    } classes[] = {{6, 1}, {2, 6}, {2, 2}, {1, 0}, {1, 2}, {1, 8}};
    uint8_t how = fuzz_u8(in), class = (uint8_t)fuzz_below(in, G_N_ELEMENTS(classes));

    buf[0] = class;
    buf[1] = (uint8_t)fuzz_below(in, how & 2 ? 256 : classes[class].commands);
    if (class == 1 && buf[1] == 0)
        return mac_table(in, buf);
    if (how & 4)
        buf[0] = fuzz_u8(in);
    fuzz_take(in, buf + 2, 8);
    if (class == 4 && !(how & 8)) { /* pairs */
        buf[2] &= 7;
        buf[3] = 0;
    }
    return 2 + (how & 16 ? fuzz_below(in, 9) : classes[class].len);
}

static const FuzzMessage messages[] = {
    {.queue = 1, .make = frame_message},
    {.queue = 3, .make = frame_message},
    {.queue = 2, .make = control_message},
    {.queue = FUZZ_ANY_QUEUE, .make = control_message},
};

/* ---- what the network does ---- */

static void step_frame(FuzzMachine *m, FuzzInput *in)
{
    Loop *loop = m->own;
    size_t transport = 0, len = fuzz_frame(in, loop->copy, VMC_FRAME_MAX, &transport);
    VmcFrameInfo info = fuzz_info(in, transport);
    unsigned times = 1 + fuzz_below(in, 3);
    struct iovec iov = {loop->copy, len};

    for (; times && loop->open; times--)
        loop->open = vmc_cable_deliver(&loop->cable, &iov, 1, &info);
    vmc_cable_deliver_done(&loop->cable);
    fuzz_settle(m);
}

static void step_room(FuzzMachine *m, FuzzInput *in)
{
    Loop *loop = m->own;

    loop->refusals = fuzz_u8(in);
    if (loop->refused) {
        loop->refused = false;
        vmc_cable_room(&loop->cable);
    }
    fuzz_settle(m);
}

static void step_link(FuzzMachine *m, FuzzInput *in)
{
    VmcNetAddress addresses[4];
    VmcCableCounters sent, received;
    Loop *loop = m->own;
    uint8_t how = fuzz_u8(in);

    if (how & 1)
        vmc_virtio_net_set_link(m->dev, how & 2);
    else
        vmc_cable_set_link(&loop->cable, how & 2);
    vmc_virtio_net_link(m->dev);
    vmc_virtio_net_get_addresses(m->dev, addresses, G_N_ELEMENTS(addresses));
    vmc_virtio_net_counters(m->dev, &sent, &received);
    fuzz_settle(m);
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_frame, step_room, step_link};

static const FuzzTarget target = {
    .make = make,
    .messages = messages,
    .n_messages = G_N_ELEMENTS(messages),
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
};

FUZZ_DEVICE(target)
