/*
 * The ring reader with a guest that writes what it likes: the input is the memory around a ring, and how it
 * is set up. All that is popped must lie in guest memory, be bounded, and end.
 */
#include <stdlib.h>
#include <string.h>

#include "virtio/queue.h"

#define RAM      (256u << 10)
#define ROM_BASE (1u << 20)
#define AREA     (16u << 10) /* what the input fills, from address 0 */

typedef struct Fuzz {
    VmcMemory *memory;
    uint8_t *ram, *rom;
} Fuzz;

static Fuzz *fuzz_new(void)
{
    Fuzz *fuzz = g_new0(Fuzz, 1);

    fuzz->memory = vmc_memory_new();
    if (!vmc_memory_add(fuzz->memory, "ram", 0, RAM, false, NULL) ||
        !vmc_memory_add(fuzz->memory, "rom", ROM_BASE, 4096, true, NULL))
        abort();
    fuzz->ram = vmc_memory_host(fuzz->memory, 0, RAM);
    fuzz->rom = vmc_memory_host(fuzz->memory, ROM_BASE, 4096);
    return fuzz;
}

/* Every byte the element offers has to be ours to touch; ASan cannot know that, so look. */
static void check_vector(const Fuzz *fuzz, const struct iovec *iov, unsigned n, bool writes)
{
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *base = iov[i].iov_base;
        bool in_ram = base >= fuzz->ram && iov[i].iov_len <= RAM && base + iov[i].iov_len <= fuzz->ram + RAM;
        bool in_rom =
            base >= fuzz->rom && iov[i].iov_len <= 4096 && base + iov[i].iov_len <= fuzz->rom + 4096;

        if (!in_ram && !(in_rom && !writes))
            abort();
        if (writes)
            memset(iov[i].iov_base, 0x5a, MIN(iov[i].iov_len, 64));
    }
}

static void serve(const Fuzz *fuzz, VmcVirtqueue *vq)
{
    VmcVirtqElement elem = {0};

    /* The guest does not run while we do, so there are at most 64Ki chains in the ring. */
    for (unsigned n = 0; vmc_virtqueue_pop(vq, &elem) == VMC_VIRTQ_POPPED; n++) {
        uint8_t header[16];

        if (n > 65536 || elem.n_out + elem.n_in > VMC_VIRTQ_SIZE_MAX)
            abort();
        check_vector(fuzz, elem.out, elem.n_out, false);
        check_vector(fuzz, elem.in, elem.n_in, true);
        if (n % 7 == 3) {
            vmc_virtqueue_unpop(vq, &elem);
            continue;
        }
        vmc_virtq_element_read(&elem, header, sizeof header);
        vmc_virtq_element_write(&elem, header, sizeof header);
        vmc_virtqueue_push(vq, &elem, (uint32_t)MIN(elem.in_len, sizeof header));
        vmc_virtqueue_should_notify(vq);
    }
    vmc_virtq_element_clear(&elem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Fuzz *fuzz;
    VmcVirtqueueSetup setup;
    VmcVirtqueue vq;

    if (size < sizeof setup + 1)
        return 0;
    if (!fuzz)
        fuzz = fuzz_new();
    memcpy(&setup, data, sizeof setup);
    uint8_t features = data[sizeof setup];
    data += sizeof setup + 1;
    size -= sizeof setup + 1;
    /* Half of the time a ring that can start, so that what is in it is looked at. */
    if (features & 0x80)
        setup = (VmcVirtqueueSetup){.size = 16, .desc = 0, .driver = 0x400, .device = 0x800};
    memset(fuzz->ram, 0, AREA);
    memcpy(fuzz->ram, data, MIN(size, AREA));

    vmc_virtqueue_init(&vq, fuzz->memory, 256);
    if (vmc_virtqueue_start(&vq, &setup,
                            VMC_VIRTIO_F_VERSION_1 | (features & 1 ? VMC_VIRTIO_F_EVENT_IDX : 0) |
                                (features & 2 ? VMC_VIRTIO_F_INDIRECT_DESC : 0))) {
        serve(fuzz, &vq);
        vmc_virtqueue_set_notification(&vq, true);
        serve(fuzz, &vq);
    }
    vmc_virtqueue_stop(&vq);
    return 0;
}
