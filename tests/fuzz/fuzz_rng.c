/*
 * virtio-rng: requests of every shape.
 *
 * covers: vmcore/virtio/rng.c
 */
#include "tests/fuzz/device.h"

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    return vmc_virtio_rng_new(&m->host);
}

/* Many at once, so that the device has to stop in between. */
static void step_many(FuzzMachine *m, FuzzInput *in)
{
    uint32_t len = fuzz_u16(in);

    for (unsigned n = fuzz_u8(in) % 48; n; n--)
        fuzz_send(m, 0, &(FuzzChain){.in_len = len, .n_in = 1 + n % 3});
    fuzz_kick(m, 0);
    fuzz_settle(m);
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_many};

static const FuzzTarget target = {.make = make, .steps = steps, .n_steps = G_N_ELEMENTS(steps)};

FUZZ_DEVICE(target)
