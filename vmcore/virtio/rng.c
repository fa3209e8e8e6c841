/*
 * virtio-rng (VIRTIO 1.2 s5.4): the host's random numbers for the guest.
 *
 * A request gets at most REQUEST_MAX bytes, which s5.4.6.2 allows and any driver asks again after; and a run
 * of the queue handler gives at most RUN_MAX, so that a guest which never stops asking gets no more than its
 * turn on the I/O thread.
 */
#include <errno.h>
#include <sys/random.h>

#include "virtio/devices.h"
#include "virtio/virtio_pci.h"

#define REQUEST_MAX 4096u
#define RUN_MAX     (64 * 1024u)

typedef struct Rng {
    VmcVirtioDevice dev;
    VmcVirtqElement elem;
} Rng;

/* Fills up to REQUEST_MAX bytes of the element's buffers; returns how many. */
static uint32_t fill(VmcVirtqElement *elem)
{
    uint8_t bytes[256]; /* as much as getrandom gives without ever stopping half way */
    uint32_t done = 0;

    while (done < REQUEST_MAX && elem->in_len) {
        size_t want = MIN(MIN(sizeof(bytes), elem->in_len), REQUEST_MAX - done);
        ssize_t got = getrandom(bytes, want, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        done += (uint32_t)vmc_virtq_element_write(elem, bytes, (size_t)got);
    }
    explicit_bzero(bytes, sizeof(bytes));
    return done;
}

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    Rng *rng = (Rng *)dev;
    uint32_t given = 0;

    while (given < RUN_MAX && vmc_virtio_pop(dev, queue, &rng->elem)) {
        uint32_t len = fill(&rng->elem);
        vmc_virtio_push(dev, queue, &rng->elem, len);
        given += len + 256; /* an empty request is work too */
    }
    vmc_virtqueue_set_notification(&dev->queues[queue], true);
    vmc_virtio_notify(dev, queue);
    if (vmc_virtqueue_available(&dev->queues[queue]))
        vmc_virtio_kick(dev, queue);
}

static void rng_free(VmcVirtioDevice *dev)
{
    Rng *rng = (Rng *)dev;

    vmc_virtq_element_clear(&rng->elem);
    g_free(rng);
}

static const VmcVirtioOps rng_ops = {
    .name = "virtio-rng",
    .type = VMC_VIRTIO_ID_RNG,
    .pci_class = 0xff0000,
    .n_queues = 1,
    .queue_sizes = {64},
    .queue_notified = queue_notified,
    .free = rng_free,
    .save = vmc_virtio_save_nothing,
    .load = vmc_virtio_load_nothing,
};

VmcPciDevice *vmc_virtio_rng_new(const VmcVirtioHost *host)
{
    Rng *rng = g_new0(Rng, 1);

    vmc_virtio_device_init(&rng->dev, &rng_ops, host->memory, host->io);
    return vmc_virtio_pci_new(&rng->dev);
}
