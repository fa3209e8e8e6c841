/*
 * Guest physical memory on memfds.
 *
 * Each slot is mapped shared and without reservation: the host gives pages as the guest touches them, another
 * process can be handed the descriptor (vhost-user, a saved state), and KVM takes the same mapping. A page that
 * nobody may touch stands before and behind it, so that a device which runs over ends the process. The table
 * of code words is lazily touched as well, four bytes per page of the slot that is ever looked at.
 */
#include "base/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmcore/error.h"

VmcMemory *vmc_memory_new(void)
{
    return g_new0(VmcMemory, 1);
}

static uint64_t code_words_bytes(const VmcMemSlot *slot)
{
    return (slot->size >> VMC_PAGE_SHIFT) * sizeof(uint32_t);
}

static void slot_clear(VmcMemSlot *slot)
{
    if (slot->code_words)
        munmap((void *)slot->code_words, code_words_bytes(slot));
    if (slot->host)
        munmap(slot->host - VMC_PAGE_SIZE, slot->size + 2 * VMC_PAGE_SIZE);
    if (slot->fd >= 0)
        close(slot->fd);
}

void vmc_memory_free(VmcMemory *mem)
{
    if (!mem)
        return;
    for (unsigned i = 0; i < mem->n_slots; i++)
        slot_clear(&mem->slots[i]);
    g_free(mem);
}

/* Nothing that would later make an address computation overflow may get in. */
static bool check_range(const VmcMemory *mem, const char *name, uint64_t gpa, uint64_t size, GError **error)
{
    uint64_t end;

    if (!size || ((gpa | size) & ~VMC_PAGE_MASK) || __builtin_add_overflow(gpa, size, &end)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_INTERNAL,
                    "Memory “%s” at %#" G_GINT64_MODIFIER "x, %#" G_GINT64_MODIFIER
                    "x bytes, is not a range of whole pages",
                    name, gpa, size);
        return false;
    }
    if (mem->n_slots == VMC_MEM_SLOTS_MAX) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_INTERNAL, "No room for memory “%s”: all %d slots are taken",
                    name, VMC_MEM_SLOTS_MAX);
        return false;
    }
    for (unsigned i = 0; i < mem->n_slots; i++) {
        const VmcMemSlot *slot = &mem->slots[i];

        if (gpa < slot->gpa + slot->size && slot->gpa < end) {
            g_set_error(error, VMC_ERROR, VMC_ERROR_INTERNAL,
                        "Memory “%s” at %#" G_GINT64_MODIFIER "x overlaps the memory at %#" G_GINT64_MODIFIER
                        "x",
                        name, gpa, slot->gpa);
            return false;
        }
    }
    return true;
}

/* Maps it between two guard pages. */
static bool slot_map(VmcMemSlot *slot, const char *name)
{
    void *map;

    slot->fd = memfd_create(name, MFD_CLOEXEC);
    if (slot->fd < 0 || ftruncate(slot->fd, (off_t)slot->size) < 0)
        return false;
    map = mmap(NULL, slot->size + 2 * VMC_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
               0);
    if (map == MAP_FAILED)
        return false;
    slot->host = (uint8_t *)map + VMC_PAGE_SIZE;
    map = mmap(slot->host, slot->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
               slot->fd, 0);
    if (map == MAP_FAILED)
        return false;
    map = mmap(NULL, code_words_bytes(slot), PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return false;
    slot->code_words = map;
    return true;
}

bool vmc_memory_add(VmcMemory *mem, const char *name, uint64_t gpa, uint64_t size, bool readonly,
                    GError **error)
{
    VmcMemSlot slot = {.gpa = gpa, .size = size, .fd = -1, .readonly = readonly};

    if (!check_range(mem, name, gpa, size, error))
        return false;
    if (!slot_map(&slot, name)) {
        int err = errno;

        slot_clear(&slot);
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    "Cannot get %" G_GUINT64_FORMAT " MiB of memory for “%s”: %s", size >> 20, name,
                    g_strerror(err));
        return false;
    }
    /* A core dump without the guest's memory is still of use, one with it may fill the disk with secrets. */
    madvise(slot.host, slot.size, MADV_DONTDUMP);
    mem->slots[mem->n_slots++] = slot;
    return true;
}

void *vmc_memory_host(const VmcMemory *mem, uint64_t gpa, uint64_t len)
{
    const VmcMemSlot *slot = vmc_memory_slot(mem, gpa);
    uint64_t offset;

    if (!slot || !len)
        return NULL;
    offset = gpa - slot->gpa;
    return len <= slot->size - offset ? slot->host + offset : NULL;
}

/* Whether all of [gpa, gpa+len) is memory, and writable if asked for; ranges may run on into the next slot.
 */
static bool range_ok(const VmcMemory *mem, uint64_t gpa, uint64_t len, bool write)
{
    while (len) {
        const VmcMemSlot *slot = vmc_memory_slot(mem, gpa);
        uint64_t here;

        if (!slot || (write && slot->readonly))
            return false;
        here = MIN(len, slot->size - (gpa - slot->gpa));
        gpa += here;
        len -= here;
    }
    return true;
}

bool vmc_memory_read(const VmcMemory *mem, uint64_t gpa, void *buf, uint64_t len)
{
    uint8_t *to = buf;

    if (!range_ok(mem, gpa, len, false))
        return false;
    while (len) {
        const VmcMemSlot *slot = vmc_memory_slot(mem, gpa);
        uint64_t offset = gpa - slot->gpa;
        uint64_t here = MIN(len, slot->size - offset);

        memcpy(to, slot->host + offset, here);
        to += here;
        gpa += here;
        len -= here;
    }
    return true;
}

bool vmc_memory_write(VmcMemory *mem, uint64_t gpa, const void *buf, uint64_t len)
{
    const uint8_t *from = buf;
    uint64_t start = gpa, total = len;

    if (!range_ok(mem, gpa, len, true))
        return false;
    while (len) {
        const VmcMemSlot *slot = vmc_memory_slot(mem, gpa);
        uint64_t offset = gpa - slot->gpa;
        uint64_t here = MIN(len, slot->size - offset);

        memcpy(slot->host + offset, from, here);
        from += here;
        gpa += here;
        len -= here;
    }
    vmc_memory_written(mem, start, total);
    return true;
}

void vmc_memory_written(VmcMemory *mem, uint64_t gpa, uint64_t len)
{
    uint64_t last;

    if (!len)
        return;
    if (__builtin_add_overflow(gpa, len - 1, &last))
        last = UINT64_MAX;
    /* The bytes must be there before the word says that they changed; vmc_code_word_kill releases, but only
     * when it writes. A CPU that sets bit 0 while we look will decode after our bytes are in. */
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < mem->n_slots; i++) {
        const VmcMemSlot *slot = &mem->slots[i];
        uint64_t slot_last = slot->gpa + slot->size - 1;
        uint64_t from = MAX(gpa, slot->gpa), to = MIN(last, slot_last);

        if (from > to)
            continue;
        from = (from - slot->gpa) >> VMC_PAGE_SHIFT;
        to = (to - slot->gpa) >> VMC_PAGE_SHIFT;
        for (uint64_t page = from; page <= to; page++)
            vmc_code_word_kill(&slot->code_words[page]);
    }
}
