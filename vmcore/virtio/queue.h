/*
 * The one reader of guest rings: split virtqueues (VIRTIO 1.2 s2.7), for every virtio device.
 *
 * The guest is taken to be hostile. vmc_virtqueue_start checks once that all three parts of the ring lie in
 * RAM and keeps host pointers to them; from then on nothing the guest writes to its registers reaches the
 * queue. Each field of a ring or descriptor is read once, into our memory, and checked there. Chains are
 * capped in length and in bytes, so loops end; every buffer must be RAM, and writable RAM if the device is to
 * write it. Whatever breaks the rules breaks the queue: vmc_virtqueue_pop says so, and the queue gives
 * nothing more until it is started anew.
 *
 * Threads: a queue belongs to one thread at a time (its device's home thread), which is the only one to call
 * these functions. The host memory of a popped element may be used from other threads until the element is
 * pushed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/memory.h"
#include "base/state.h"

#define VMC_VIRTQ_SIZE_MAX 1024u

#define VMC_VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VMC_VIRTIO_F_EVENT_IDX     (1ull << 29)
#define VMC_VIRTIO_F_VERSION_1     (1ull << 32)

/* What the driver says of a queue before it starts (s4.1.4.3); guest physical addresses. */
typedef struct VmcVirtqueueSetup {
    uint16_t size;
    uint64_t desc, driver, device;
} VmcVirtqueueSetup;

typedef struct VmcVirtqueue {
    VmcMemory *memory;
    uint16_t max_size; /* power of two, at most VMC_VIRTQ_SIZE_MAX; also the longest chain, indirect or not */

    /* All below is private to queue.c. */
    uint16_t size;
    bool started, broken;
    bool indirect, event_idx;
    bool notifications; /* whether the driver shall notify us */
    uint16_t last_avail, used_idx;
    uint16_t last_signalled; /* used_idx when the driver was last told */
    unsigned in_flight;      /* popped and not pushed */
    uint64_t used_gpa;
    uint8_t *desc, *avail, *used;
    const char *fault; /* why it broke */
} VmcVirtqueue;

typedef struct VmcVirtqRange {
    uint64_t gpa, len;
} VmcVirtqRange;

/* One chain of buffers, `out` for the device to read and `in` for it to write, as host memory. The vectors
 * are the device's to change (iov_base, iov_len, n_out, n_in). Memory of an element is kept from one use to
 * the next. */
typedef struct VmcVirtqElement {
    struct iovec *out, *in;
    unsigned n_out, n_in;
    uint64_t out_len, in_len; /* bytes; each below 4 GiB */

    /* Private to queue.c. */
    uint16_t head;
    unsigned n_written, capacity;
    struct iovec *iov;
    VmcVirtqRange *ranges; /* guest addresses; those of the `in` part are kept for push */
} VmcVirtqElement;

typedef enum VmcVirtqPop { VMC_VIRTQ_EMPTY, VMC_VIRTQ_POPPED, VMC_VIRTQ_BROKEN } VmcVirtqPop;

void vmc_virtqueue_init(VmcVirtqueue *vq, VmcMemory *memory, uint16_t max_size);

/* Takes a queue into use; `features` are those negotiated. False, with the queue broken, if size, alignment
 * or addresses are wrong. */
bool vmc_virtqueue_start(VmcVirtqueue *vq, const VmcVirtqueueSetup *setup, uint64_t features);
/* Ends all use of guest memory by the queue; elements still out must not be pushed any more (push ignores
 * them). */
void vmc_virtqueue_stop(VmcVirtqueue *vq);

/* Where the device stands in a queue, and back again right after vmc_virtqueue_start. The last `kept` chains
 * that were popped and not pushed count as not popped; there must be no others. */
void vmc_virtqueue_save(const VmcVirtqueue *vq, unsigned kept, VmcStateWriter *w);
void vmc_virtqueue_load(VmcVirtqueue *vq, VmcStateReader *r);

/* Takes the next chain. POPPED: `elem` (zeroed or used before) is filled in and must be pushed or un-popped.
 * BROKEN: the ring is malformed, vq->fault says how. A queue that is not started is EMPTY. */
VmcVirtqPop vmc_virtqueue_pop(VmcVirtqueue *vq, VmcVirtqElement *elem);
/* Puts back the element that was popped last, as if it had not been taken. */
void vmc_virtqueue_unpop(VmcVirtqueue *vq, VmcVirtqElement *elem);
/* Gives a chain back. Everything the device wrote lies in the first `len` bytes of the `in` part: decoded
 * code there dies. Works on a stopped or broken queue too, where the guest is told nothing. */
void vmc_virtqueue_push(VmcVirtqueue *vq, VmcVirtqElement *elem, uint32_t len);
/* Gives `n` chains back so that the driver sees all of them or none: the buffers of one packet, which
 * virtio-net's driver takes for lost if they are not all there. */
void vmc_virtqueue_push_together(VmcVirtqueue *vq, VmcVirtqElement *elems, const uint32_t *lens, unsigned n);

/* How many entries the driver has given a started queue: the most chains it can offer. */
static inline unsigned vmc_virtqueue_size(const VmcVirtqueue *vq)
{
    return vq->size;
}
/* How many chains wait to be popped, at most the queue's size; 0 when not started or broken. */
unsigned vmc_virtqueue_available(VmcVirtqueue *vq);
/* Whether the driver wants an interrupt for what was pushed since the last time this was true. */
bool vmc_virtqueue_should_notify(VmcVirtqueue *vq);
/* Asks the driver to notify us of chains beyond those that vmc_virtqueue_available counts now, or not to.
 * After asking, look for work once more: it may have come just before. */
void vmc_virtqueue_set_notification(VmcVirtqueue *vq, bool enable);

/* Frees what an element owns, not the element. */
void vmc_virtq_element_clear(VmcVirtqElement *elem);
/* Copies up to `len` bytes from the front of the `out` part, or to the front of the `in` part, and takes them
 * off. Returns the number copied. */
size_t vmc_virtq_element_read(VmcVirtqElement *elem, void *buf, size_t len);
size_t vmc_virtq_element_write(VmcVirtqElement *elem, const void *buf, size_t len);
/* Takes `len` bytes off the front of the `out` part, as after having used them. */
void vmc_virtq_element_skip(VmcVirtqElement *elem, size_t len);
/* Takes the last `in` byte off and returns where it is; NULL when there is none. */
uint8_t *vmc_virtq_element_take_last(VmcVirtqElement *elem);
