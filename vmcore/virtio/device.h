/*
 * What a virtio device is, between the transport (virtio_pci.c) that brings it to the guest and the device
 * files that do the work. The transport does not know the devices, the devices do not know the transport.
 *
 * A device embeds VmcVirtioDevice as its first member and has one const VmcVirtioOps. In the order of its
 * life:
 *
 *   vmc_virtio_device_init    the maker's thread
 *   [ driver_ok               the driver has set DRIVER_OK; features and queues stay as they are until reset
 *     queue_notified ...      there may be new chains in a queue
 *     reset ]                 stop; any number of times round
 *   drain, free               the end
 *
 * Threads: the home thread of every device is the I/O thread. driver_ok, queue_notified, resumed and reset
 * run there, and the functions of this file are for it alone where they do not say any thread. config_read
 * and config_write run on vCPU threads, one at a time for a device, and must not wait; what they share with
 * the I/O thread the device protects. Only drain may wait, and may be called from any thread but a vCPU's.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/io.h"
#include "base/memory.h"
#include "base/state.h"
#include "virtio/queue.h"

#define VMC_VIRTIO_QUEUES_MAX   64u
#define VMC_VIRTIO_QUEUES_FIXED 8u

/* s5: device types. */
#define VMC_VIRTIO_ID_NET     1u
#define VMC_VIRTIO_ID_BLOCK   2u
#define VMC_VIRTIO_ID_CONSOLE 3u
#define VMC_VIRTIO_ID_RNG     4u
#define VMC_VIRTIO_ID_BALLOON 5u
#define VMC_VIRTIO_ID_9P      9u
#define VMC_VIRTIO_ID_GPU     16u
#define VMC_VIRTIO_ID_INPUT   18u
#define VMC_VIRTIO_ID_VSOCK   19u
#define VMC_VIRTIO_ID_SOUND   25u
#define VMC_VIRTIO_ID_FS      26u

typedef struct VmcVirtioDevice VmcVirtioDevice;

typedef struct VmcVirtioOps {
    const char *name;
    uint16_t type;        /* VMC_VIRTIO_ID_... */
    uint32_t pci_class;   /* 24 bits */
    uint32_t config_size; /* bytes of device configuration */
    /* The queues a device of this kind always has; more are added with vmc_virtio_device_add_queues. */
    unsigned n_queues;
    uint16_t queue_sizes[VMC_VIRTIO_QUEUES_FIXED]; /* powers of two, at most VMC_VIRTQ_SIZE_MAX */

    /* [offset, offset + len) lies within config_size; len is 1 to 8. config_write may be NULL. */
    void (*config_read)(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len);
    void (*config_write)(VmcVirtioDevice *dev, uint32_t offset, const void *buf, size_t len);

    void (*driver_ok)(VmcVirtioDevice *dev); /* may be NULL */
    void (*queue_notified)(VmcVirtioDevice *dev, unsigned queue);
    /* Starts nothing new and lets go of every chain. True when that is done; false while some are still being
     * worked on: then it is called again after drain, or the device calls vmc_virtio_reset_done when the last
     * has come back. May be NULL: nothing to do. */
    bool (*reset)(VmcVirtioDevice *dev);
    /* The machine goes on after having been paused. May be NULL. */
    void (*resumed)(VmcVirtioDevice *dev);
    /* Waits until nobody works on a chain any more, after which reset is true. Required if reset can be
     * false. */
    void (*drain)(VmcVirtioDevice *dev);
    /* After reset and drain, not on a vCPU: frees the device itself. Nothing calls it any more. */
    void (*free)(VmcVirtioDevice *dev);

    /* Saving (base/state.h). For as long as that takes vmc_virtio_pop gives nothing (dma is false), as with a
     * driver that offers nothing; afterwards queue_notified is called for every queue. */
    /* Nothing works on a chain any more (drain): gives back what has come back. May be NULL. */
    void (*settle)(VmcVirtioDevice *dev);
    /* How many chains of a queue it has taken and not given back, when it has settled. They have to be the
     * last that were taken from it: they count as not taken, and a device that is loaded takes them again.
     * NULL: none of any queue. */
    unsigned (*kept)(VmcVirtioDevice *dev, unsigned queue);
    /* What the transport and the queues do not know; the device goes on after save as if nothing had been.
     * NULL: a machine with it cannot be saved. */
    void (*save)(VmcVirtioDevice *dev, VmcStateWriter *w);
    /* Into a device that has been reset. Features and queues are those of the driver, `running` says whether
     * there is one; driver_ok is not called. queue_notified will be, for every queue that is in use. */
    bool (*load)(VmcVirtioDevice *dev, VmcStateReader *r);
} VmcVirtioOps;

/* What a transport does for a device. */
typedef struct VmcVirtioTransport {
    void (*interrupt_queue)(void *opaque, unsigned queue);
    void (*interrupt_config)(void *opaque);
    void (*kick)(void *opaque, unsigned queue); /* any thread: have queue_notified called soon */
    void (*needs_reset)(void *opaque);
    void (*reset_done)(void *opaque);
} VmcVirtioTransport;

struct VmcVirtioDevice {
    const VmcVirtioOps *ops;
    VmcMemory *memory;
    VmcIo *io;
    uint64_t
        offered; /* feature bits besides the transport's and queue's own; set before the device is used */
    uint64_t features; /* negotiated; good from driver_ok to reset */
    bool running;      /* from driver_ok to reset, unless a ring was found malformed */
    atomic_bool dma;   /* the transport lets the device use memory */
    unsigned n_queues;
    VmcVirtqueue queues[VMC_VIRTIO_QUEUES_MAX];

    const VmcVirtioTransport *transport;
    void *transport_opaque;
};

/* Sets up the base of a device; its memory was zeroed by the caller. */
static inline void vmc_virtio_device_init(VmcVirtioDevice *dev, const VmcVirtioOps *ops, VmcMemory *memory,
                                          VmcIo *io)
{
    dev->ops = ops;
    dev->memory = memory;
    dev->io = io;
    dev->n_queues = ops->n_queues;
    for (unsigned i = 0; i < ops->n_queues; i++)
        vmc_virtqueue_init(&dev->queues[i], memory, ops->queue_sizes[i]);
}

/* `n` more queues of `size` behind those there are, as of a device with several pairs or ports. Before the
 * device is given to its transport; all of them together at most VMC_VIRTIO_QUEUES_MAX. */
static inline void vmc_virtio_device_add_queues(VmcVirtioDevice *dev, unsigned n, uint16_t size)
{
    for (unsigned i = 0; i < n; i++)
        vmc_virtqueue_init(&dev->queues[dev->n_queues++], dev->memory, size);
}

/* A ring or a request is beyond repair (s2.1.1): the device stands still until the driver resets it. */
static inline void vmc_virtio_needs_reset(VmcVirtioDevice *dev)
{
    dev->running = false;
    dev->transport->needs_reset(dev->transport_opaque);
}

/* Takes the next chain of a queue, false when there is none. A malformed ring ends in DEVICE_NEEDS_RESET. */
static inline bool vmc_virtio_pop(VmcVirtioDevice *dev, unsigned queue, VmcVirtqElement *elem)
{
    if (!dev->running || !atomic_load_explicit(&dev->dma, memory_order_relaxed))
        return false;
    VmcVirtqPop result = vmc_virtqueue_pop(&dev->queues[queue], elem);
    if (result == VMC_VIRTQ_BROKEN)
        vmc_virtio_needs_reset(dev);
    return result == VMC_VIRTQ_POPPED;
}

static inline void vmc_virtio_push(VmcVirtioDevice *dev, unsigned queue, VmcVirtqElement *elem, uint32_t len)
{
    vmc_virtqueue_push(&dev->queues[queue], elem, len);
}

/* Interrupts the driver if it wants that for what was pushed. Once after a batch. */
static inline void vmc_virtio_notify(VmcVirtioDevice *dev, unsigned queue)
{
    if (vmc_virtqueue_should_notify(&dev->queues[queue]))
        dev->transport->interrupt_queue(dev->transport_opaque, queue);
}

/* To be called with queue_notified again, after other sources of the I/O thread have had their turn. Any
 * thread. */
static inline void vmc_virtio_kick(VmcVirtioDevice *dev, unsigned queue)
{
    dev->transport->kick(dev->transport_opaque, queue);
}

/* After the device configuration has changed. Any thread. */
static inline void vmc_virtio_config_changed(VmcVirtioDevice *dev)
{
    dev->transport->interrupt_config(dev->transport_opaque);
}

/* save and load of devices that know nothing but their queues. */
static inline void vmc_virtio_save_nothing(VmcVirtioDevice *dev, VmcStateWriter *w)
{
    (void)dev, (void)w;
}

static inline bool vmc_virtio_load_nothing(VmcVirtioDevice *dev, VmcStateReader *r)
{
    (void)dev;
    return vmc_state_ok(r);
}

static inline void vmc_virtio_reset_done(VmcVirtioDevice *dev)
{
    dev->transport->reset_done(dev->transport_opaque);
}
