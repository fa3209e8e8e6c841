/*
 * The driver of virtio.h.
 */
#include "virtio.h"

static void find_structure(Virtio *v, unsigned at)
{
    unsigned bar = pci_read(v->devfn, at + 4, 1);
    uint64_t where = pci_bar(v->devfn, bar) + pci_read(v->devfn, at + 8, 4);

    switch (pci_read(v->devfn, at + 3, 1)) {
    case 1:
        v->common = (VirtioCommon *)where;
        v->bar = pci_bar(v->devfn, bar);
        break;
    case 2:
        v->notify = where;
        v->multiplier = pci_read(v->devfn, at + 16, 4);
        break;
    case 3:
        v->isr = (volatile uint8_t *)where;
        break;
    case 4:
        v->config = (volatile uint8_t *)where;
        v->config_size = pci_read(v->devfn, at + 12, 4);
        break;
    }
}

bool virtio_probe(Virtio *v, unsigned devfn)
{
    if (pci_read(devfn, 0, 2) != 0x1af4 || pci_read(devfn, 2, 2) < 0x1040)
        return false;
    memset(v, 0, sizeof(*v));
    v->devfn = devfn;
    v->type = pci_read(devfn, 2, 2) - 0x1040;
    pci_write(devfn, 4, 2, 6 | 0x400); /* memory, bus master, no INTx */
    for (unsigned at = pci_read(devfn, 0x34, 1); at; at = pci_read(devfn, at + 1, 1))
        if (pci_read(devfn, at, 1) == 9)
            find_structure(v, at);
    return v->common && v->notify;
}

bool virtio_reset(Virtio *v)
{
    v->common->device_status = 0;
    for (uint64_t end = now_us() + 2000000; v->common->device_status;)
        if (now_us() > end)
            return false;
    return true;
}

uint64_t virtio_offered(Virtio *v)
{
    v->common->device_feature_select = 0;
    uint64_t features = v->common->device_feature;
    v->common->device_feature_select = 1;
    return features | (uint64_t)v->common->device_feature << 32;
}

bool virtio_negotiate(Virtio *v, uint64_t features)
{
    v->common->device_status = STATUS_ACKNOWLEDGE;
    v->common->device_status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
    for (unsigned i = 0; i < 2; i++) {
        v->common->driver_feature_select = i;
        v->common->driver_feature = (uint32_t)(features >> (32 * i));
    }
    v->common->device_status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK;
    return v->common->device_status & STATUS_FEATURES_OK;
}

static void set_address(volatile uint32_t field[2], uint64_t value)
{
    field[0] = (uint32_t)value;
    field[1] = (uint32_t)(value >> 32);
}

void virtio_set_queue(Virtio *v, unsigned index, unsigned size, uint64_t desc, uint64_t avail, uint64_t used)
{
    v->common->queue_select = (uint16_t)index;
    v->common->queue_size = (uint16_t)size;
    set_address(v->common->queue_desc, desc);
    set_address(v->common->queue_driver, avail);
    set_address(v->common->queue_device, used);
    v->common->queue_enable = 1;
}

Queue *virtio_queue(Virtio *v, unsigned index, unsigned size)
{
    Queue *q = &v->queues[index];

    v->common->queue_select = (uint16_t)index;
    unsigned most = v->common->queue_size;
    if (!most)
        return NULL;
    *q = (Queue){.index = index, .size = size < most ? size : most};
    q->desc = metal_alloc(16 * q->size, 4096);
    q->avail = metal_alloc(6 + 2 * q->size, 4096);
    q->used = metal_alloc(6 + 8 * q->size, 4096);
    q->bell = (volatile uint16_t *)(v->notify + (uint64_t)v->common->queue_notify_off * v->multiplier);
    virtio_set_queue(v, index, q->size, (uint64_t)q->desc, (uint64_t)q->avail, (uint64_t)q->used);
    return q;
}

void virtio_ready(Virtio *v)
{
    v->common->device_status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK;
}

bool virtio_bring_up(Virtio *v, unsigned size)
{
    if (!virtio_reset(v) || !virtio_negotiate(v, virtio_offered(v) & ~VIRTIO_RING_PACKED))
        return false;
    v->n_queues = v->common->num_queues;
    for (unsigned i = 0; i < v->n_queues && i < VIRTIO_QUEUES; i++)
        virtio_queue(v, i, size);
    virtio_ready(v);
    return virtio_status(v) == (STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
}

int64_t queue_wait(Queue *q, uint64_t us)
{
    uint64_t end = 0;

    for (unsigned n = 1; q->used->idx == q->last_used; n++) {
        cpu_pause();
        if (n % 1024)
            continue;
        if (!end)
            end = now_us() + us;
        else if (now_us() > end)
            return -1;
    }
    return q->used->ring[q->last_used++ % q->size].len;
}
