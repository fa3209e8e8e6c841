/*
 * The virtio-pci transport, and the ring reader below it, with a device that does everything a device may: it
 * echoes on queue 0, holds chains of queue 1 until queue 2 is notified, takes its time over resets, changes
 * its configuration, and calls a ring malformed when told so.
 *
 * covers: vmcore/virtio/virtio_pci.c vmcore/virtio/queue.c
 */
#include "tests/fuzz/device.h"
#include "virtio/virtio_pci.h"

#define HELD        8 /* as many as queue 1 has entries: more cannot be out, whatever the driver offers */
#define F_FIRST     (1ull << 0)
#define F_SECOND    (1ull << 37)
#define CONFIG_SIZE 12u

enum { QUEUE_ECHO, QUEUE_HOLD, QUEUE_ORDERS };

typedef struct Echo {
    VmcVirtioDevice dev;
    VmcVirtqElement elem, held[HELD];
    unsigned n_held;
    bool slow_reset, resetting;
    uint8_t config[CONFIG_SIZE];
} Echo;

static void give_back(Echo *echo)
{
    while (echo->n_held)
        vmc_virtio_push(&echo->dev, QUEUE_HOLD, &echo->held[--echo->n_held], 0);
    vmc_virtio_notify(&echo->dev, QUEUE_HOLD);
}

static void obey(Echo *echo, uint8_t order)
{
    if (order & 1)
        give_back(echo);
    if (order & 2)
        vmc_virtio_config_changed(&echo->dev);
    if (order & 4)
        vmc_virtqueue_set_notification(&echo->dev.queues[QUEUE_ECHO], order & 8);
    if (order & 16)
        vmc_virtio_kick(&echo->dev, QUEUE_HOLD);
    if (order & 32)
        vmc_virtio_needs_reset(&echo->dev);
    echo->slow_reset = order & 64;
}

static void echo_once(Echo *echo)
{
    uint8_t bytes[64];
    uint32_t written = 0;
    size_t n;

    uint8_t *last = vmc_virtq_element_take_last(&echo->elem);
    while ((n = vmc_virtq_element_read(&echo->elem, bytes, sizeof(bytes))))
        written += (uint32_t)vmc_virtq_element_write(&echo->elem, bytes, n);
    if (last)
        *last = 1;
    vmc_virtio_push(&echo->dev, QUEUE_ECHO, &echo->elem, written);
}

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    Echo *echo = (Echo *)dev;
    uint8_t order = 0;

    if (queue == QUEUE_ECHO)
        while (vmc_virtio_pop(dev, queue, &echo->elem))
            echo_once(echo);
    else if (queue == QUEUE_HOLD)
        while (vmc_virtio_pop(dev, queue, &echo->elem)) {
            VmcVirtqElement *held = &echo->held[echo->n_held++], spare = *held;
            *held = echo->elem;
            echo->elem = spare;
        }
    else if (vmc_virtio_pop(dev, queue, &echo->elem)) {
        vmc_virtq_element_read(&echo->elem, &order, 1);
        if (order & 128)
            vmc_virtqueue_unpop(&dev->queues[queue], &echo->elem);
        else
            vmc_virtio_push(dev, queue, &echo->elem, 0);
        obey(echo, order);
    }
    vmc_virtio_notify(dev, queue);
}

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    memcpy(buf, ((Echo *)dev)->config + offset, len);
}

static void config_write(VmcVirtioDevice *dev, uint32_t offset, const void *buf, size_t len)
{
    memcpy(((Echo *)dev)->config + offset, buf, len);
}

static bool reset(VmcVirtioDevice *dev)
{
    Echo *echo = (Echo *)dev;

    echo->resetting = echo->slow_reset && echo->n_held;
    if (!echo->resetting)
        give_back(echo);
    return !echo->resetting;
}

static void finish_reset(void *data)
{
    Echo *echo = data;

    give_back(echo);
    if (echo->resetting) {
        echo->resetting = false;
        vmc_virtio_reset_done(&echo->dev);
    }
}

static void drain(VmcVirtioDevice *dev)
{
    vmc_io_call_sync(dev->io, finish_reset, dev);
}

static void echo_free(VmcVirtioDevice *dev)
{
    Echo *echo = (Echo *)dev;

    vmc_virtq_element_clear(&echo->elem);
    for (unsigned i = 0; i < HELD; i++)
        vmc_virtq_element_clear(&echo->held[i]);
    g_free(echo);
}

static const VmcVirtioOps echo_ops = {
    .name = "echo",
    .type = VMC_VIRTIO_ID_RNG,
    .config_size = CONFIG_SIZE,
    .n_queues = 3,
    .queue_sizes = {64, HELD, 4},
    .config_read = config_read,
    .config_write = config_write,
    .queue_notified = queue_notified,
    .reset = reset,
    .drain = drain,
    .free = echo_free,
};

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    Echo *echo = g_new0(Echo, 1);

    vmc_virtio_device_init(&echo->dev, &echo_ops, m->memory, m->io);
    echo->dev.offered = F_FIRST | F_SECOND;
    return vmc_virtio_pci_new(&echo->dev);
}

/* A reset that was slow comes to its end. */
static void step_finish_reset(FuzzMachine *m, FuzzInput *in)
{
    finish_reset(m->virtio);
    fuzz_settle(m);
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_finish_reset};

static const FuzzTarget target = {.make = make, .steps = steps, .n_steps = G_N_ELEMENTS(steps)};

FUZZ_DEVICE(target)
