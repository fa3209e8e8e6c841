/*
 * Split virtqueues (VIRTIO 1.2 s2.7), read as if the guest meant harm; see queue.h for what is checked when.
 *
 * Why it cannot be led astray:
 *  - the three areas are checked against RAM when the queue starts, and slots of RAM never move or go;
 *  - indices are taken modulo the size we stored, never one read again;
 *  - a descriptor is copied whole and only the copy is looked at, so it may change under us without effect;
 *  - a chain takes at most `size` descriptors from the ring and `max_size` altogether, which ends every loop;
 *  - an indirect table is RAM, is the last of its chain and holds no other table;
 *  - no more chains are out than the queue has entries, though a driver may offer one head many times.
 *
 * Order of memory: the driver's writes to ring and buffers are behind its store to avail.idx, which we load
 * with acquire; ours are before used.idx, which we store with release. EVENT_IDX and the flags need a full
 * fence between our store and the load of what the other side wrote (s2.7.13.4.1), and have one.
 */
#include "virtio/queue.h"

#include <glib.h>
#include <string.h>

#include "base/i18n.h"
#include "base/seeded.h"

#define DESC_F_NEXT     1u
#define DESC_F_WRITE    2u
#define DESC_F_INDIRECT 4u

#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY     1u

#define DESC_SIZE 16u

typedef struct Desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
} Desc;

_Static_assert(sizeof(Desc) == DESC_SIZE, "as in s2.7.5");

/* The rings are little-endian and their parts naturally aligned (checked at start). */
static uint16_t load16(const uint8_t *p, int order)
{
    return GUINT16_FROM_LE(__atomic_load_n((const uint16_t *)p, order));
}

static void store16(uint8_t *p, uint16_t value, int order)
{
    __atomic_store_n((uint16_t *)p, GUINT16_TO_LE(value), order);
}

static uint8_t *avail_flags(const VmcVirtqueue *vq)
{
    return vq->avail;
}

static uint8_t *avail_idx(const VmcVirtqueue *vq)
{
    return vq->avail + 2;
}

static uint8_t *avail_entry(const VmcVirtqueue *vq, uint16_t n)
{
    return vq->avail + 4 + 2 * (n & (vq->size - 1));
}

static uint8_t *used_event(const VmcVirtqueue *vq)
{
    return vq->avail + 4 + 2 * vq->size;
}

static uint8_t *used_flags(const VmcVirtqueue *vq)
{
    return vq->used;
}

static uint8_t *used_idx(const VmcVirtqueue *vq)
{
    return vq->used + 2;
}

static unsigned used_entry_offset(const VmcVirtqueue *vq, uint16_t n)
{
    return 4 + 8 * (n & (vq->size - 1));
}

static unsigned avail_event_offset(const VmcVirtqueue *vq)
{
    return 4 + 8 * vq->size;
}

static bool fault(VmcVirtqueue *vq, const char *why)
{
    vq->broken = true;
    vq->fault = why;
    return false;
}

/* ---- lifecycle ---- */

void vmc_virtqueue_init(VmcVirtqueue *vq, VmcMemory *memory, uint16_t max_size)
{
    g_return_if_fail(max_size && max_size <= VMC_VIRTQ_SIZE_MAX && !(max_size & (max_size - 1)));
    *vq = (VmcVirtqueue){.memory = memory, .max_size = max_size};
}

static uint8_t *ring_area(const VmcVirtqueue *vq, uint64_t gpa, unsigned align, uint64_t len, bool write)
{
    const VmcMemSlot *slot = vmc_memory_slot(vq->memory, gpa);

    if (gpa % align || !slot || (write && slot->readonly))
        return NULL;
    return vmc_memory_host(vq->memory, gpa, len);
}

bool vmc_virtqueue_start(VmcVirtqueue *vq, const VmcVirtqueueSetup *setup, uint64_t features)
{
    uint16_t size = setup->size;

    vmc_virtqueue_init(vq, vq->memory, vq->max_size);
    if (!size || size > vq->max_size || (size & (size - 1)))
        return fault(vq, "queue size");
    vq->size = size;
    vq->indirect = features & VMC_VIRTIO_F_INDIRECT_DESC;
    vq->event_idx = features & VMC_VIRTIO_F_EVENT_IDX;
    unsigned event = vq->event_idx ? 2 : 0;
    vq->desc = ring_area(vq, setup->desc, 16, (uint64_t)DESC_SIZE * size, false);
    vq->avail = ring_area(vq, setup->driver, 2, 4 + 2ull * size + event, false);
    vq->used = ring_area(vq, setup->device, 4, 4 + 8ull * size + event, true);
    if (!vq->desc || !vq->avail || !vq->used)
        return fault(vq, "queue address");
    vq->used_gpa = setup->device;
    vq->started = vq->notifications = true;
    return true;
}

void vmc_virtqueue_stop(VmcVirtqueue *vq)
{
    vmc_virtqueue_init(vq, vq->memory, vq->max_size);
}

void vmc_virtqueue_save(const VmcVirtqueue *vq, unsigned kept, VmcStateWriter *w)
{
    if (vq->in_flight != kept)
        vmc_state_refuse(
            w,
            ngettext("The machine cannot be saved: a device works on %u request that should be done",
                     "The machine cannot be saved: a device works on %u requests that should be done",
                     vq->in_flight - kept),
            vq->in_flight - kept);
    vmc_state_put_bool(w, vq->broken);
    vmc_state_put_bool(w, vq->notifications);
    vmc_state_put_u16(w, (uint16_t)(vq->last_avail - kept));
    vmc_state_put_u16(w, vq->used_idx);
    vmc_state_put_u16(w, vq->last_signalled);
}

/* Any indexes will do: if they do not go with the guest's ring, the queue breaks as soon as it is used. */
void vmc_virtqueue_load(VmcVirtqueue *vq, VmcStateReader *r)
{
    if (vmc_state_get_bool(r))
        fault(vq, "what it was broken by when it was saved");
    vq->notifications = vmc_state_get_bool(r);
    vq->last_avail = vmc_state_get_u16(r);
    vq->used_idx = vmc_state_get_u16(r);
    vq->last_signalled = vmc_state_get_u16(r);
}

/* ---- taking chains ---- */

unsigned vmc_virtqueue_available(VmcVirtqueue *vq)
{
    if (!vq->started || vq->broken)
        return 0;
    uint16_t n = load16(avail_idx(vq), __ATOMIC_ACQUIRE) - vq->last_avail;
    return MIN(n, vq->size);
}

static void element_reserve(VmcVirtqElement *elem, unsigned n)
{
    if (n <= elem->capacity)
        return;
    unsigned capacity = MAX(elem->capacity * 2, 16);
    elem->iov = g_renew(struct iovec, elem->iov, capacity);
    elem->ranges = g_renew(VmcVirtqRange, elem->ranges, capacity);
    elem->capacity = capacity;
}

/* Adds one buffer: one vector, or more where it runs on from one slot of RAM into the next. */
static bool add_buffer(VmcVirtqueue *vq, VmcVirtqElement *elem, const Desc *desc)
{
    bool write = desc->flags & DESC_F_WRITE;
    uint64_t *total = write ? &elem->in_len : &elem->out_len;
    uint64_t gpa = desc->addr, left = desc->len;

    if (!write && elem->n_in)
        return fault(vq, "a readable buffer behind a writable one");
    *total += left;
    if (elem->in_len + elem->out_len > UINT32_MAX)
        return fault(vq, "a chain of more than 4 GiB");
    while (left) {
        uint64_t offset;
        const VmcMemSlot *slot = vmc_memory_find(vq->memory, gpa, &offset);
        if (!slot || (write && slot->readonly && !VMC_SEEDED(DMA_TARGET)))
            return fault(vq, "a buffer outside RAM");
        uint64_t here = MIN(left, slot->size - offset);
        unsigned n = elem->n_out + elem->n_in;
        element_reserve(elem, n + 1);
        elem->iov[n] = (struct iovec){.iov_base = slot->host + offset, .iov_len = here};
        elem->ranges[n] = (VmcVirtqRange){.gpa = gpa, .len = here};
        if (write)
            elem->n_in++;
        else
            elem->n_out++;
        gpa += here;
        left -= here;
    }
    return true;
}

/* A table of descriptors: the ring's own, or an indirect one. */
typedef struct Table {
    const uint8_t *ring; /* the ring's, or NULL */
    uint64_t gpa;        /* the indirect table's address */
    unsigned entries;
} Table;

static bool read_desc(VmcVirtqueue *vq, const Table *table, unsigned index, Desc *desc)
{
    if (index >= table->entries && !VMC_SEEDED(DESC_INDEX))
        return fault(vq, "a descriptor index beyond its table");
    if (table->ring)
        memcpy(desc, table->ring + (size_t)index * DESC_SIZE, DESC_SIZE);
    else if (!vmc_memory_read(vq->memory, table->gpa + (uint64_t)index * DESC_SIZE, desc, DESC_SIZE))
        return fault(vq, "an indirect table outside RAM");
    desc->addr = GUINT64_FROM_LE(desc->addr);
    desc->len = GUINT32_FROM_LE(desc->len);
    desc->flags = GUINT16_FROM_LE(desc->flags);
    desc->next = GUINT16_FROM_LE(desc->next);
    return true;
}

/* s2.7.5.3.1: only where negotiated, never within one another, and nothing behind it. The table's WRITE flag
 * is of no meaning. */
static bool enter_indirect(VmcVirtqueue *vq, Table *table, const Desc *desc)
{
    uint64_t last;

    if (!vq->indirect)
        return fault(vq, "an indirect table though none was negotiated");
    if (!table->ring)
        return fault(vq, "an indirect table within another");
    if (desc->flags & DESC_F_NEXT)
        return fault(vq, "a descriptor behind an indirect table");
    if (!desc->len || desc->len % DESC_SIZE || desc->len / DESC_SIZE > vq->max_size ||
        __builtin_add_overflow(desc->addr, desc->len - 1, &last))
        return fault(vq, "the size of an indirect table");
    *table = (Table){.gpa = desc->addr, .entries = desc->len / DESC_SIZE};
    return true;
}

static bool walk_chain(VmcVirtqueue *vq, VmcVirtqElement *elem, unsigned head)
{
    Table table = {.ring = vq->desc, .entries = vq->size};
    unsigned index = head, taken = 0;
    Desc desc;

    for (;;) {
        if (!read_desc(vq, &table, index, &desc))
            return false;
        if (desc.flags & DESC_F_INDIRECT) {
            if (!enter_indirect(vq, &table, &desc))
                return false;
            index = 0;
            continue;
        }
        if (++taken > (table.ring ? vq->size : vq->max_size) && !VMC_SEEDED(DESC_LOOP))
            return fault(vq, "a chain that is too long");
        if (!add_buffer(vq, elem, &desc))
            return false;
        if (!(desc.flags & DESC_F_NEXT))
            return true;
        index = desc.next;
    }
}

VmcVirtqPop vmc_virtqueue_pop(VmcVirtqueue *vq, VmcVirtqElement *elem)
{
    if (vq->broken)
        return VMC_VIRTQ_BROKEN;
    if (!vq->started)
        return VMC_VIRTQ_EMPTY;
    uint16_t waiting = load16(avail_idx(vq), __ATOMIC_ACQUIRE) - vq->last_avail;
    if (!waiting)
        return VMC_VIRTQ_EMPTY;
    if (waiting > vq->size) {
        fault(vq, "the available index");
        return VMC_VIRTQ_BROKEN;
    }
    if (vq->in_flight >= vq->size && !VMC_SEEDED(IN_FLIGHT)) {
        fault(vq, "more chains than descriptors");
        return VMC_VIRTQ_BROKEN;
    }

    uint16_t head = load16(avail_entry(vq, vq->last_avail), __ATOMIC_RELAXED);
    elem->head = head;
    elem->n_out = elem->n_in = 0;
    elem->out_len = elem->in_len = 0;
    if (!walk_chain(vq, elem, head))
        return VMC_VIRTQ_BROKEN;
    elem->out = elem->iov;
    elem->in = elem->iov ? elem->iov + elem->n_out : NULL;
    elem->n_written = elem->n_in;
    if (elem->n_out && elem->ranges)
        memmove(elem->ranges, elem->ranges + elem->n_out, elem->n_in * sizeof(*elem->ranges));
    vq->last_avail++;
    vq->in_flight++;
    return VMC_VIRTQ_POPPED;
}

void vmc_virtqueue_unpop(VmcVirtqueue *vq, VmcVirtqElement *elem)
{
    if (!vq->started || !vq->in_flight)
        return;
    elem->n_written = 0;
    vq->last_avail--;
    vq->in_flight--;
}

/* ---- giving them back ---- */

/* Writes the used element of a chain; publish makes it known. */
static void use(VmcVirtqueue *vq, VmcVirtqElement *elem, uint32_t len)
{
    uint64_t left = len;

    for (unsigned i = 0; i < elem->n_written && left; i++) {
        uint64_t here = MIN(left, elem->ranges[i].len);
        vmc_memory_written(vq->memory, elem->ranges[i].gpa, here);
        left -= here;
    }
    elem->n_written = 0;
    if (!vq->started || vq->broken || !vq->in_flight)
        return;

    unsigned offset = used_entry_offset(vq, vq->used_idx);
    uint32_t entry[2] = {GUINT32_TO_LE(elem->head), GUINT32_TO_LE(len)};
    memcpy(vq->used + offset, entry, sizeof(entry));
    vmc_memory_written(vq->memory, vq->used_gpa + offset, sizeof(entry));
    vq->used_idx++;
    vq->in_flight--;
}

static void publish(VmcVirtqueue *vq)
{
    if (!vq->started || vq->broken)
        return;
    store16(used_idx(vq), vq->used_idx, __ATOMIC_RELEASE);
    vmc_memory_written(vq->memory, vq->used_gpa, 4);
}

void vmc_virtqueue_push(VmcVirtqueue *vq, VmcVirtqElement *elem, uint32_t len)
{
    use(vq, elem, len);
    publish(vq);
}

void vmc_virtqueue_push_together(VmcVirtqueue *vq, VmcVirtqElement *elems, const uint32_t *lens, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        use(vq, &elems[i], lens[i]);
    publish(vq);
}

/* s2.7.7.2 and s2.7.10: has used_idx passed the index the driver waits for? */
static bool event_passed(uint16_t event, uint16_t now, uint16_t before)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

bool vmc_virtqueue_should_notify(VmcVirtqueue *vq)
{
    bool wanted;

    if (!vq->started || vq->broken || vq->used_idx == vq->last_signalled)
        return false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!vq->event_idx) {
        wanted = !(load16(avail_flags(vq), __ATOMIC_RELAXED) & AVAIL_F_NO_INTERRUPT);
    } else {
        uint16_t before = vq->last_signalled;
        wanted = event_passed(load16(used_event(vq), __ATOMIC_RELAXED), vq->used_idx, before);
    }
    vq->last_signalled = vq->used_idx;
    return wanted;
}

/* s2.7.10: the driver notifies when its index passes the one we leave here. That must be the index it has
 * now, not how far we have got: while chains are left because they are too few, the driver is beyond ours
 * already and would never pass it. If the index moves while we do this, it may not have seen ours. A driver
 * moves it at most a queue ahead. */
static void await_event(VmcVirtqueue *vq)
{
    unsigned offset = avail_event_offset(vq);
    uint16_t now = load16(avail_idx(vq), __ATOMIC_RELAXED), before;

    for (unsigned i = 0; i <= vq->size; i++) {
        before = now;
        store16(vq->used + offset, before, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        now = load16(avail_idx(vq), __ATOMIC_RELAXED);
        if (now == before)
            break;
    }
    vmc_memory_written(vq->memory, vq->used_gpa + offset, 2);
}

void vmc_virtqueue_set_notification(VmcVirtqueue *vq, bool enable)
{
    if (!vq->started || vq->broken)
        return;
    vq->notifications = enable;
    if (vq->event_idx) {
        /* Not wanting any is leaving the index where it is: in the past. */
        if (enable)
            await_event(vq);
    } else {
        store16(used_flags(vq), enable ? 0 : USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
        vmc_memory_written(vq->memory, vq->used_gpa, 2);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* ---- elements ---- */

void vmc_virtq_element_clear(VmcVirtqElement *elem)
{
    g_free(elem->iov);
    g_free(elem->ranges);
    memset(elem, 0, sizeof(*elem));
}

typedef enum Move { MOVE_FROM_GUEST, MOVE_TO_GUEST, MOVE_NOTHING } Move;

/* Takes up to `len` bytes off the front of a vector, copying them out of or into it. */
static size_t move_front(struct iovec **vec, unsigned *n, void *buf, size_t len, Move how)
{
    uint8_t *host = buf;
    size_t done = 0;

    while (*n && done < len) {
        struct iovec *first = *vec;
        size_t here = MIN(first->iov_len, len - done);
        if (how == MOVE_TO_GUEST)
            memcpy(first->iov_base, host + done, here);
        else if (how == MOVE_FROM_GUEST)
            memcpy(host + done, first->iov_base, here);
        done += here;
        first->iov_base = (uint8_t *)first->iov_base + here;
        first->iov_len -= here;
        if (!first->iov_len) {
            ++*vec;
            --*n;
        }
    }
    return done;
}

size_t vmc_virtq_element_read(VmcVirtqElement *elem, void *buf, size_t len)
{
    size_t done = move_front(&elem->out, &elem->n_out, buf, len, MOVE_FROM_GUEST);

    elem->out_len -= done;
    return done;
}

void vmc_virtq_element_skip(VmcVirtqElement *elem, size_t len)
{
    elem->out_len -= move_front(&elem->out, &elem->n_out, NULL, len, MOVE_NOTHING);
}

size_t vmc_virtq_element_write(VmcVirtqElement *elem, const void *buf, size_t len)
{
    size_t done = move_front(&elem->in, &elem->n_in, (void *)(uintptr_t)buf, len, MOVE_TO_GUEST);

    elem->in_len -= done;
    return done;
}

uint8_t *vmc_virtq_element_take_last(VmcVirtqElement *elem)
{
    if (!elem->n_in)
        return NULL;
    struct iovec *last = &elem->in[elem->n_in - 1];
    last->iov_len--;
    elem->in_len--;
    uint8_t *byte = (uint8_t *)last->iov_base + last->iov_len;
    if (!last->iov_len)
        elem->n_in--;
    return byte;
}
