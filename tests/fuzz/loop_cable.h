/*
 * A cable for the fuzzers of network cards: its other end gives back what it is sent, refuses when the input
 * says so, and checks that the seam's promises are kept (net/cable.h).
 */
#pragma once

#include "net/offload.h"
#include "tests/fuzz/device.h"

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

/* A cable whose offloads and refusals come from the input; `how` is one byte of it. The NIC's from then on.
 */
static inline Loop *loop_new(FuzzMachine *m, uint8_t how, uint8_t refusals)
{
    static const uint32_t sets[] = {0, VMC_OFFLOAD_CSUM, VMC_OFFLOAD_CSUM | VMC_OFFLOAD_TSO4,
                                    VMC_OFFLOAD_ALL};
    Loop *loop = g_new0(Loop, 1);

    vmc_cable_init(&loop->cable, &loop_ops, m->io);
    loop->cable.takes = sets[how & 3];
    loop->cable.gives = sets[how >> 2 & 3];
    loop->refusals = refusals;
    loop->echoes = 64;
    loop->copy = g_malloc(VMC_FRAME_MAX);
    return loop;
}
