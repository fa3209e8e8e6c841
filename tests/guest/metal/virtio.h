/*
 * A virtio driver of few instructions (VIRTIO 1.2, modern PCI, split rings): polls, takes no interrupts, and
 * lets a test write whatever it likes wherever it likes.
 */
#pragma once

#include "metal.h"

#define VIRTIO_VERSION_1   (1ull << 32)
#define VIRTIO_EVENT_IDX   (1ull << 29)
#define VIRTIO_INDIRECT    (1ull << 28)
#define VIRTIO_RING_PACKED (1ull << 34)
#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER      2
#define STATUS_DRIVER_OK   4
#define STATUS_FEATURES_OK 8
#define STATUS_NEEDS_RESET 0x40
#define DESC_NEXT          1
#define DESC_WRITE         2
#define DESC_INDIRECT      4
#define VIRTIO_QUEUES      8

typedef struct VirtioCommon {
    volatile uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
    volatile uint16_t msix_config, num_queues;
    volatile uint8_t device_status, config_generation;
    volatile uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
    volatile uint32_t queue_desc[2], queue_driver[2], queue_device[2];
} VirtioCommon;

typedef struct Desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
} Desc;

typedef struct Avail {
    volatile uint16_t flags, idx, ring[];
} Avail;

typedef struct Used {
    volatile uint16_t flags, idx;
    volatile struct {
        uint32_t id, len;
    } ring[];
} Used;

typedef struct Queue {
    unsigned index, size;
    volatile Desc *desc;
    Avail *avail;
    Used *used;
    volatile uint16_t *bell;
    uint16_t next, last_used;
} Queue;

typedef struct Virtio {
    unsigned devfn, type; /* s5 */
    VirtioCommon *common;
    volatile uint8_t *config, *isr;
    uint64_t config_size, notify, bar; /* `bar`: where its registers lie */
    unsigned multiplier, n_queues;
    Queue queues[VIRTIO_QUEUES];
} Virtio;

/* The device at this place, with decoding and bus mastering on. False: it is no virtio device. */
bool virtio_probe(Virtio *v, unsigned devfn);
/* True when the status has become 0 within two seconds. */
bool virtio_reset(Virtio *v);
uint64_t virtio_offered(Virtio *v);
/* Up to FEATURES_OK; true if the device keeps it. */
bool virtio_negotiate(Virtio *v, uint64_t features);
/* Memory for a queue of at most `size` entries, its registers, and enabled; NULL: there is no such queue. */
Queue *virtio_queue(Virtio *v, unsigned index, unsigned size);
/* The registers alone. */
void virtio_set_queue(Virtio *v, unsigned index, unsigned size, uint64_t desc, uint64_t avail, uint64_t used);
void virtio_ready(Virtio *v);
/* All of it, with what the device offers but packed rings; up to VIRTIO_QUEUES queues of `size`. */
bool virtio_bring_up(Virtio *v, unsigned size);

static inline uint8_t virtio_status(Virtio *v)
{
    return v->common->device_status;
}

/* Sets descriptor n; `next` below 0: it is the last. */
static inline void queue_desc(Queue *q, unsigned n, const volatile void *at, uint32_t len, unsigned flags,
                              int next)
{
    q->desc[n].addr = (uint64_t)at;
    q->desc[n].len = len;
    q->desc[n].flags = (uint16_t)(flags | (next >= 0 ? DESC_NEXT : 0));
    q->desc[n].next = (uint16_t)(next >= 0 ? next : 0);
}

static inline void queue_offer(Queue *q, unsigned head)
{
    q->avail->ring[q->next++ % q->size] = (uint16_t)head;
    __asm__ volatile("" ::: "memory");
    q->avail->idx = q->next;
}

static inline void queue_kick(Queue *q)
{
    __asm__ volatile("mfence" ::: "memory");
    *q->bell = (uint16_t)q->index;
}

/* The next used element's length, -1 when none came within `us`. */
int64_t queue_wait(Queue *q, uint64_t us);
