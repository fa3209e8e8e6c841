/*
 * virtio-net on a cable whose other end gives everything back: frames from a driver with headers that ask for
 * every offload, the control queue, and frames, refusals and link changes from the network.
 *
 * covers: vmcore/virtio/net.c vmcore/virtio/net_filter.c vmcore/net/cable.c
 */
#include "net/offload.h"
#include "tests/fuzz/device.h"
#include "tests/fuzz/frames.h"

/* An attachment that returns what it is sent, as a loop in a network would, but only so often. */
typedef struct Loop {
    VmcCable cable;
    uint32_t offloads; /* the NIC's */
    uint8_t refusals;  /* bits: which of the next sends are refused */
    unsigned echoes;   /* left */
    bool open, refused;
    uint8_t *copy;
} Loop;

static bool loop_send(VmcCable *cable, const struct iovec *iov, unsigned n_iov, const VmcFrameInfo *info)
{
    Loop *loop = (Loop *)cable;
    size_t len = vmc_iov_length(iov, n_iov);

    if (!vmc_offload_check(info, len))
        fuzz_finding("a frame of %zu bytes reached the network unchecked", len);
    if (vmc_offload_needs(info) & ~cable->takes)
        fuzz_finding("the network was given what it does not take: %#x", vmc_offload_needs(info));
    if (loop->refused)
        fuzz_finding("a frame after a refusal");
    bool refuse = loop->refusals & 1;
    loop->refusals >>= 1;
    if (refuse) {
        loop->refused = true;
        return false;
    }
    vmc_iov_copy(iov, n_iov, 0, loop->copy, len);
    if (loop->open && loop->echoes) {
        struct iovec whole = {loop->copy, len};
        loop->echoes--;
        loop->open = vmc_cable_deliver(cable, &whole, 1, info);
        vmc_cable_deliver_done(cable);
    }
    return true;
}

static void loop_resume(VmcCable *cable)
{
    ((Loop *)cable)->open = true;
}

static void loop_stop(VmcCable *cable)
{
    ((Loop *)cable)->open = ((Loop *)cable)->refused = false;
}

static void loop_set_offloads(VmcCable *cable, uint32_t offloads)
{
    if (offloads & ~cable->gives)
        fuzz_finding("offloads that the cable does not give: %#x", offloads);
    ((Loop *)cable)->offloads = offloads;
}

static void loop_free(VmcCable *cable)
{
    Loop *loop = (Loop *)cable;

    g_free(loop->copy);
    vmc_cable_clear(cable);
    g_free(loop);
}

static const VmcCableOps loop_ops = {
    .name = "loop",
    .send = loop_send,
    .resume = loop_resume,
    .stop = loop_stop,
    .set_offloads = loop_set_offloads,
    .free = loop_free,
};

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    static const uint32_t sets[] = {0, VMC_OFFLOAD_CSUM, VMC_OFFLOAD_CSUM | VMC_OFFLOAD_TSO4,
                                    VMC_OFFLOAD_ALL};
    Loop *loop = g_new0(Loop, 1);
    uint8_t how = fuzz_u8(in);
    VmcVirtioNetParams params = {.mac = {0x52}, .pairs = 1 + (how >> 4 & 3), .mtu = how & 64 ? 68 : 0};

    vmc_cable_init(&loop->cable, &loop_ops, m->io);
    loop->cable.takes = sets[how & 3];
    loop->cable.gives = sets[how >> 2 & 3];
    loop->cable.mtu = how & 128 ? 1500 : 0;
    loop->refusals = fuzz_u8(in);
    loop->echoes = 64;
    loop->copy = g_malloc(VMC_FRAME_MAX);
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

static size_t control_message(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    uint32_t count = fuzz_below(in, 100);

    buf[0] = (uint8_t)fuzz_below(in, 7);
    buf[1] = (uint8_t)fuzz_below(in, 7);
    if (buf[0] != 1 || buf[1] != 0) {
        fuzz_take(in, buf + 2, 8);
        return 2 + fuzz_below(in, 9);
    }
    memcpy(buf + 2, &count, 4);
    for (unsigned i = 0; i < count; i++)
        fuzz_mac(in, buf + 6 + 6 * i);
    uint32_t more = fuzz_below(in, 100);
    memcpy(buf + 6 + 6 * count, &more, 4);
    return 10 + 6 * count + fuzz_below(in, 600);
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
