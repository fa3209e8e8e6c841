/*
 * Fuzzing the ring reader: the input is a guest's memory and what it does with it.
 *
 * The first bytes choose features, sizes and where the three parts of the ring lie; the rest becomes RAM,
 * over and over where it is shorter. Then chains are taken, written to, given back or put back as further
 * bytes say, and between them the "guest" goes on changing ring memory. Whatever comes out of the reader is
 * touched byte by byte, so that anything beyond RAM is noticed by the sanitizer or the guard pages that stand
 * behind each slot.
 *
 * Memory is two slots that touch, a ROM and a hole between; it is made once and filled anew for each input.
 *
 * covers: vmcore/virtio/queue.c
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/queue.h"

#define LOW_SIZE   0x4000u
#define MORE_SIZE  0x1000u
#define ROM_AT     0x8000u
#define HIGH_AT    0x100000000ull
#define HIGH_SIZE  0x2000u
#define ELEMENTS   4
#define CHAINS_MAX 512

typedef struct Input {
    const uint8_t *data;
    size_t size, at;
} Input;

static uint8_t next_byte(Input *in)
{
    return in->at < in->size ? in->data[in->at++] : 0;
}

static uint32_t next_word(Input *in)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < 4; i++)
        value = value << 8 | next_byte(in);
    return value;
}

static VmcMemory *make_memory(void)
{
    VmcMemory *memory = vmc_memory_new();

    if (!vmc_memory_add(memory, "low", 0, LOW_SIZE, false, NULL) ||
        !vmc_memory_add(memory, "more", LOW_SIZE, MORE_SIZE, false, NULL) ||
        !vmc_memory_add(memory, "rom", ROM_AT, 0x1000, true, NULL) ||
        !vmc_memory_add(memory, "high", HIGH_AT, HIGH_SIZE, false, NULL))
        abort();
    return memory;
}

static void fill(VmcMemory *memory, const uint8_t *data, size_t size)
{
    for (unsigned i = 0; i < memory->n_slots; i++) {
        VmcMemSlot *slot = &memory->slots[i];
        memset(slot->host, 0, slot->size);
        for (uint64_t at = 0; size && at < slot->size; at += size)
            memcpy(slot->host + at, data, size < slot->size - at ? size : slot->size - at);
    }
}

/* Mostly somewhere in RAM and aligned, so that the ring starts; sometimes anywhere. */
static uint64_t ring_address(Input *in, unsigned align)
{
    uint8_t how = next_byte(in);
    uint64_t at = (uint64_t)next_byte(in) << 8 | next_byte(in);

    if (how & 0x80)
        return (uint64_t)next_word(in) << (how & 31) | at;
    at = at % (LOW_SIZE + MORE_SIZE) & ~(uint64_t)(align - 1);
    return how & 1 ? HIGH_AT + at % HIGH_SIZE : at;
}

static bool is_ram(const VmcMemory *memory, const uint8_t *host, size_t len, bool write)
{
    for (unsigned i = 0; i < memory->n_slots; i++) {
        const VmcMemSlot *slot = &memory->slots[i];
        if (host >= slot->host && host < slot->host + slot->size)
            return len <= slot->size - (size_t)(host - slot->host) && !(write && slot->readonly);
    }
    return false;
}

/* Every vector is RAM, is what the device may do with it, and they add up. */
static void check_vectors(const VmcMemory *memory, const struct iovec *iov, unsigned n, uint64_t len,
                          bool write)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < n; i++) {
        if (!iov[i].iov_len || !is_ram(memory, iov[i].iov_base, iov[i].iov_len, write))
            abort();
        if (write)
            memset(iov[i].iov_base, (int)i, iov[i].iov_len);
        sum += iov[i].iov_len;
    }
    if (sum != len || len > UINT32_MAX)
        abort();
}

/* Uses an element in one of the ways devices do. */
static void use(Input *in, const VmcMemory *memory, VmcVirtqElement *elem)
{
    uint8_t buf[64] = {0};

    check_vectors(memory, elem->out, elem->n_out, elem->out_len, false);
    check_vectors(memory, elem->in, elem->n_in, elem->in_len, true);
    vmc_virtq_element_read(elem, buf, next_byte(in) % sizeof(buf));
    vmc_virtq_element_skip(elem, next_byte(in));
    vmc_virtq_element_write(elem, buf, next_byte(in) % sizeof(buf));
    uint8_t *last = vmc_virtq_element_take_last(elem);
    if (last)
        *last = 1;
    check_vectors(memory, elem->out, elem->n_out, elem->out_len, false);
    check_vectors(memory, elem->in, elem->n_in, elem->in_len, true);
}

static void scribble(Input *in, VmcMemory *memory)
{
    VmcMemSlot *slot = &memory->slots[next_byte(in) % memory->n_slots];
    uint32_t at = next_word(in) % (uint32_t)slot->size;

    slot->host[at] = next_byte(in);
}

static void run(Input *in, VmcMemory *memory)
{
    VmcVirtqueue vq;
    VmcVirtqElement elements[ELEMENTS] = {0};
    unsigned out = 0;
    uint64_t features = (next_byte(in) & 1 ? VMC_VIRTIO_F_EVENT_IDX : 0) |
                        (next_byte(in) & 1 ? VMC_VIRTIO_F_INDIRECT_DESC : 0);

    vmc_virtqueue_init(&vq, memory, (uint16_t)(1u << next_byte(in) % 9));
    VmcVirtqueueSetup setup = {.size = (uint16_t)(1u << next_byte(in) % 17)};
    setup.desc = ring_address(in, 16);
    setup.driver = ring_address(in, 2);
    setup.device = ring_address(in, 4);
    fill(memory, in->data + (in->at < in->size ? in->at : 0), in->size - in->at);

    bool started = vmc_virtqueue_start(&vq, &setup, features);
    for (unsigned i = 0; started && i < CHAINS_MAX && in->at < in->size; i++) {
        uint8_t action = next_byte(in);
        if (vmc_virtqueue_available(&vq) > setup.size)
            abort();
        if (action & 1)
            scribble(in, memory);
        if (out < ELEMENTS && vmc_virtqueue_pop(&vq, &elements[out]) == VMC_VIRTQ_POPPED) {
            if (action & 2)
                vmc_virtqueue_unpop(&vq, &elements[out]);
            else
                use(in, memory, &elements[out++]);
        } else if (out) {
            vmc_virtqueue_push(&vq, &elements[--out], next_word(in));
        } else if (!(action & 1)) {
            break;
        }
        if (action & 4)
            vmc_virtqueue_should_notify(&vq);
        if (action & 8)
            vmc_virtqueue_set_notification(&vq, action & 16);
    }
    vmc_virtqueue_stop(&vq);
    while (out)
        vmc_virtqueue_push(&vq, &elements[--out], UINT32_MAX);
    for (unsigned i = 0; i < ELEMENTS; i++)
        vmc_virtq_element_clear(&elements[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static VmcMemory *memory;
    Input in = {.data = data, .size = size};

    if (!memory)
        memory = make_memory();
    run(&in, memory);
    return 0;
}
