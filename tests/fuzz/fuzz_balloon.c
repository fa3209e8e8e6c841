/*
 * virtio-balloon: page numbers of anything, reports of ranges, statistics of all shapes, targets that change.
 *
 * covers: vmcore/virtio/balloon.c
 */
#include "tests/fuzz/device.h"

#include <linux/virtio_balloon.h>

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    return vmc_virtio_balloon_new(&m->host, fuzz_u8(in) & 1 ? FUZZ_LOW + FUZZ_HIGH_SZ : UINT64_MAX);
}

/* Runs of page numbers up and down, mostly of buffers: a guest that gives its rings away does no more harm
 * than one that scribbles on them. */
static size_t pages(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    uint32_t *pfns = (uint32_t *)buf;
    unsigned n = 0, runs = 1 + fuzz_below(in, 4);

    while (runs-- && n < FUZZ_MESSAGE_MAX / 4) {
        uint8_t how = fuzz_u8(in);
        uint32_t pfn = how & 128 ? fuzz_u32(in) : FUZZ_BUFFERS / 4096 + how % 40;
        unsigned len = fuzz_u8(in) % 64;
        for (unsigned i = 0; i < len && n < FUZZ_MESSAGE_MAX / 4; i++)
            pfns[n++] = how & 64 ? pfn - i : pfn + i;
    }
    return 4 * n + (n % 7 == 6 ? 3 : 0) * (n < 500);
}

static size_t stats(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    size_t len = 0;

    for (unsigned n = fuzz_below(in, 100); n; n--, len += sizeof(struct virtio_balloon_stat)) {
        struct virtio_balloon_stat stat = {.tag = (uint16_t)(n % 13), .val = fuzz_u8(in)};
        memcpy(buf + len, &stat, sizeof(stat));
    }
    return len;
}

static const FuzzMessage messages[] = {
    {.queue = 0, .make = pages}, {.queue = 1, .make = pages}, {.queue = 2, .make = stats}};

static void step_target(FuzzMachine *m, FuzzInput *in)
{
    vmc_virtio_balloon_set_target(m->dev, fuzz_u32(in));
    vmc_virtio_balloon_get_target(m->dev);
    vmc_virtio_balloon_get_actual(m->dev);
    fuzz_settle(m);
}

static void step_poll(FuzzMachine *m, FuzzInput *in)
{
    VmcBalloonStatistics statistics;

    vmc_virtio_balloon_poll(m->dev, fuzz_u8(in));
    fuzz_settle(m);
    vmc_virtio_balloon_get_statistics(m->dev, &statistics);
    vmc_virtio_balloon_get_discarded(m->dev);
}

/* More pages than the device looks at in one go. */
static void step_many_pages(FuzzMachine *m, FuzzInput *in)
{
    static uint32_t pfns[12000];
    unsigned n = fuzz_u16(in) % G_N_ELEMENTS(pfns);

    for (unsigned i = 0; i < n; i++)
        pfns[i] = FUZZ_BUFFERS / 4096 + i % 8;
    fuzz_send(m, 0, &(FuzzChain){.out = pfns, .len = 4 * n, .n_out = 3});
    fuzz_kick(m, 0);
    fuzz_settle(m);
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_target, step_poll, step_many_pages};

static const FuzzTarget target = {
    .make = make,
    .messages = messages,
    .n_messages = G_N_ELEMENTS(messages),
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
};

FUZZ_DEVICE(target)
