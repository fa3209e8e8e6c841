/*
 * Guest physical memory on memfds.
 *
 * Each slot is mapped shared and without reservation: the host gives pages as the guest touches them, another
 * process can be handed the descriptor (vhost-user, a saved state), and KVM takes the same mapping. A page
 * that nobody may touch stands before and behind it, so that a device which runs over ends the process. The
 * table of code words is lazily touched as well, four bytes per page of the slot that is ever looked at.
 */
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "base/i18n.h"
#include "vmcore/error.h"

#define HUGE_PAGE (2u << 20)

VmcMemory *vmc_memory_new(void)
{
    VmcMemory *mem = g_new0(VmcMemory, 1);

    g_mutex_init(&mem->move_lock);
    return mem;
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
    g_free((void *)slot->dirty);
    g_free(slot->unsettled);
}

void vmc_memory_free(VmcMemory *mem)
{
    if (!mem)
        return;
    for (unsigned i = 0; i < mem->n_slots; i++)
        slot_clear(&mem->slots[i]);
    g_mutex_clear(&mem->move_lock);
    g_free(mem);
}

/* A slot other than `self` that has something of [gpa, end), or NULL. */
static const VmcMemSlot *in_the_way(const VmcMemory *mem, const VmcMemSlot *self, uint64_t gpa, uint64_t end)
{
    for (unsigned i = 0; i < mem->n_slots; i++) {
        const VmcMemSlot *slot = &mem->slots[i];

        if (slot != self && slot->gpa != VMC_MEM_UNMAPPED && gpa < slot->gpa + slot->size && slot->gpa < end)
            return slot;
    }
    return NULL;
}

/* Nothing that would later make an address computation overflow may get in. */
static bool check_range(const VmcMemory *mem, const char *name, uint64_t gpa, uint64_t size, GError **error)
{
    const VmcMemSlot *other;
    uint64_t end;

    if (!size || ((gpa | size) & ~VMC_PAGE_MASK) || __builtin_add_overflow(gpa, size, &end)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_INTERNAL,
                    _("Memory “%s” at %#" PRIx64 ", %#" PRIx64 " bytes, is not a range of whole pages"), name,
                    gpa, size);
        return false;
    }
    if (mem->n_slots == VMC_MEM_SLOTS_MAX) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_INTERNAL,
                    _("No room for memory “%s”: all %d slots are taken"), name, VMC_MEM_SLOTS_MAX);
        return false;
    }
    other = in_the_way(mem, NULL, gpa, end);
    if (other) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_INTERNAL,
                    _("Memory “%s” at %#" PRIx64 " overlaps the memory at %#" PRIx64 ""), name, gpa,
                    other->gpa);
        return false;
    }
    return true;
}

/* Address space for a slot and the page before and behind it, the slot at a multiple of a huge page: only
 * where host, file and guest agree in the bits below can a huge page of the host's serve the guest as one,
 * too. NULL: there is none. */
static uint8_t *reserve(uint64_t size)
{
    uint64_t whole = size + 2 * VMC_PAGE_SIZE;
    uint8_t *map =
        mmap(NULL, whole + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (map == MAP_FAILED)
        return NULL;
    uint64_t first = -(uint64_t)(uintptr_t)(map + VMC_PAGE_SIZE) & (HUGE_PAGE - 1);
    if (first)
        munmap(map, first);
    munmap(map + first + whole, HUGE_PAGE - first);
    return map + first + VMC_PAGE_SIZE;
}

/* Maps it between two guard pages. */
static bool slot_map(VmcMemSlot *slot, const char *name)
{
    void *map;

    slot->fd = memfd_create(name, MFD_CLOEXEC);
    if (slot->fd < 0 || ftruncate(slot->fd, (off_t)slot->size) < 0)
        return false;
    slot->host = reserve(slot->size);
    if (!slot->host)
        return false;
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

/* Gives the slot its memory and puts it into the table. */
static bool add_slot(VmcMemory *mem, const char *name, VmcMemSlot slot, GError **error)
{
    if (!slot_map(&slot, name)) {
        int err = errno;

        slot_clear(&slot);
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE,
                    _("Cannot get %" PRIu64 " MiB of memory for “%s”: %s"), slot.size >> 20, name,
                    g_strerror(err));
        return false;
    }
    /* Of use where /sys/kernel/mm/transparent_hugepage/shmem_enabled says “advise”; most kernels come with
     * “never”, which is then what they do. */
    if (slot.size >= HUGE_PAGE)
        madvise(slot.host, slot.size, MADV_HUGEPAGE);
    /* A core dump without the guest's memory is still of use, one with it may fill the disk with secrets. */
    madvise(slot.host, slot.size, MADV_DONTDUMP);
    mem->slots[mem->n_slots++] = slot;
    return true;
}

bool vmc_memory_add(VmcMemory *mem, const char *name, uint64_t gpa, uint64_t size, bool readonly,
                    GError **error)
{
    VmcMemSlot slot = {.gpa = gpa, .size = size, .fd = -1, .readonly = readonly};

    return check_range(mem, name, gpa, size, error) && add_slot(mem, name, slot, error);
}

/* ---- slots that move, and their dirty log ---- */

static size_t dirty_words(const VmcMemSlot *slot)
{
    return ((slot->size >> VMC_PAGE_SHIFT) + 63) / 64;
}

bool vmc_memory_add_movable(VmcMemory *mem, const char *name, uint64_t size, unsigned *number, GError **error)
{
    VmcMemSlot slot = {.gpa = VMC_MEM_UNMAPPED, .size = size, .fd = -1, .movable = true};

    /* Checked as if it were at an address where nothing is in the way. */
    if (!check_range(mem, name, 1ull << 63, size, error))
        return false;
    slot.dirty = (_Atomic uint64_t *)g_new0(uint64_t, dirty_words(&slot));
    slot.unsettled = g_new0(uint64_t, dirty_words(&slot));
    if (!add_slot(mem, name, slot, error))
        return false;
    *number = mem->n_slots - 1;
    return true;
}

bool vmc_memory_move(VmcMemory *mem, unsigned number, uint64_t gpa)
{
    VmcMemSlot *slot = &mem->slots[number];
    uint64_t end;

    g_return_val_if_fail(number < mem->n_slots && slot->movable, false);
    g_mutex_lock(&mem->move_lock);
    bool good = gpa != VMC_MEM_UNMAPPED && !(gpa & ~VMC_PAGE_MASK) &&
                !__builtin_add_overflow(gpa, slot->size, &end) && !in_the_way(mem, slot, gpa, end);
    uint64_t place = good ? gpa : VMC_MEM_UNMAPPED;
    if (place != slot->gpa) {
        atomic_store(&slot->gpa, place);
        if (mem->ops)
            mem->ops->moved(mem->ops_opaque, number);
        /* Logs of hardware go with the mapping. */
        for (size_t i = 0; i < dirty_words(slot); i++)
            atomic_store(&slot->dirty[i], UINT64_MAX);
    }
    g_mutex_unlock(&mem->move_lock);
    return good || gpa == VMC_MEM_UNMAPPED;
}

bool vmc_memory_take_dirty(VmcMemory *mem, unsigned number, uint64_t first, uint64_t n, uint64_t *pages)
{
    VmcMemSlot *slot = &mem->slots[number];
    const VmcMemoryOps *ops = mem->ops;
    uint64_t from = first / 64, to = MIN((first + n + 63) / 64, dirty_words(slot));
    bool settled = !ops || !ops->settled || ops->settled(mem->ops_opaque, slot->ticket);
    bool any = false, cleared = false;

    if (ops && ops->sync_dirty)
        ops->sync_dirty(mem->ops_opaque, number);
    for (uint64_t i = from; i < to; i++) {
        uint64_t fresh = atomic_load_explicit(&slot->dirty[i], memory_order_relaxed);

        if (fresh)
            fresh = atomic_exchange(&slot->dirty[i], 0);
        pages[i] = fresh | slot->unsettled[i];
        slot->unsettled[i] = fresh | (settled ? 0 : slot->unsettled[i]);
        any |= pages[i] != 0;
        cleared |= fresh != 0;
    }
    /* A CPU that has found its page dirty goes on writing to it until it is asked to look again. So a page is
     * told once more after every CPU has been. */
    if (cleared && ops && ops->protect)
        slot->ticket = ops->protect(mem->ops_opaque, number);
    return any;
}

void *vmc_memory_host(const VmcMemory *mem, uint64_t gpa, uint64_t len)
{
    uint64_t offset;
    const VmcMemSlot *slot = vmc_memory_find(mem, gpa, &offset);

    if (!slot || !len)
        return NULL;
    return len <= slot->size - offset ? slot->host + offset : NULL;
}

/* Whether all of [gpa, gpa+len) is memory, and writable if asked for; ranges may run on into the next slot.
 */
static bool range_ok(const VmcMemory *mem, uint64_t gpa, uint64_t len, bool write)
{
    while (len) {
        uint64_t here, offset;
        const VmcMemSlot *slot = vmc_memory_find(mem, gpa, &offset);

        if (!slot || (write && slot->readonly))
            return false;
        here = MIN(len, slot->size - offset);
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
        uint64_t offset;
        const VmcMemSlot *slot = vmc_memory_find(mem, gpa, &offset);

        if (!slot) /* it has moved away just now */
            return false;
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
        uint64_t offset;
        const VmcMemSlot *slot = vmc_memory_find(mem, gpa, &offset);

        if (!slot)
            return false;
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
    bool code = false;

    if (!len)
        return;
    if (__builtin_add_overflow(gpa, len - 1, &last))
        last = UINT64_MAX;
    /* The bytes must be there before the word says that they changed; vmc_code_word_kill releases, but only
     * when it writes. A CPU that sets bit 0 while we look will decode after our bytes are in. */
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < mem->n_slots; i++) {
        const VmcMemSlot *slot = &mem->slots[i];
        uint64_t base = slot->gpa;
        uint64_t from = MAX(gpa, base), to = MIN(last, base + slot->size - 1);

        if (base == VMC_MEM_UNMAPPED || from > to)
            continue;
        from = (from - base) >> VMC_PAGE_SHIFT;
        to = (to - base) >> VMC_PAGE_SHIFT;
        for (uint64_t page = from; page <= to; page++) {
            code |= vmc_code_word_kill(&slot->code_words[page]);
            if (slot->dirty)
                vmc_memory_note_dirty(slot, page << VMC_PAGE_SHIFT);
        }
    }
    if (code && mem->ops && mem->ops->code_written)
        mem->ops->code_written(mem->ops_opaque);
}

/* Some of `len` bytes of `fd` to where the memfd's file offset stands. File systems that cannot splice are
 * read through the mapping. */
static ssize_t load_some(const VmcMemSlot *slot, uint64_t at, int fd, uint64_t offset, uint64_t len)
{
    size_t size = MIN(len, 1u << 30);
    off_t from = (off_t)offset;
    ssize_t n = sendfile(slot->fd, fd, &from, size);

    if (n < 0 && (errno == EINVAL || errno == ENOSYS))
        n = pread(fd, slot->host + at, size, (off_t)offset);
    return n;
}

int64_t vmc_memory_load(VmcMemory *mem, uint64_t gpa, uint64_t len, int fd, uint64_t offset)
{
    uint64_t at, done = 0;
    const VmcMemSlot *slot = vmc_memory_find(mem, gpa, &at);

    if (!slot || len > slot->size - at) {
        errno = EFAULT;
        return -1;
    }
    while (done < len) {
        if (lseek(slot->fd, (off_t)(at + done), SEEK_SET) < 0)
            return -1;
        ssize_t n = load_some(slot, at + done, fd, offset + done, len - done);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n == 0)
            break;
        done += (uint64_t)MAX(n, 0);
    }
    vmc_memory_written(mem, gpa, done);
    return (int64_t)done;
}

/* A hole in the memfd and not madvise: the pages belong to the file, and a mapping that lets go of them (this
 * one, another process's) does not free them. */
uint64_t vmc_memory_discard(VmcMemory *mem, uint64_t gpa, uint64_t len)
{
    uint64_t end, done = 0;

    if (__builtin_add_overflow(gpa, len, &end) || gpa > UINT64_MAX - VMC_PAGE_SIZE)
        return 0;
    gpa = (gpa + VMC_PAGE_SIZE - 1) & VMC_PAGE_MASK;
    end &= VMC_PAGE_MASK;
    while (gpa < end) {
        const VmcMemSlot *slot = vmc_memory_slot(mem, gpa);

        if (!slot || slot->readonly || slot->movable) /* a slot that may move just now is no RAM */
            break;
        uint64_t offset = gpa - slot->gpa, here = MIN(end - gpa, slot->size - offset);
        if (fallocate(slot->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)here) < 0)
            break;
        vmc_memory_written(mem, gpa, here);
        gpa += here;
        done += here;
    }
    return done;
}
