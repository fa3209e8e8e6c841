/*
 * Guest physical memory.
 *
 * RAM is a handful of slots, each a memfd mapped once and never moved in this process, so a host pointer into
 * a slot stays good for the life of the VmcMemory. Nothing is zeroed up front: the kernel gives zero pages on
 * first touch, so a 64 GiB guest costs what it touches.
 *
 * Every 4 KiB page of a slot has one atomic "code word". Bit 0 says that some CPU holds decoded blocks
 * of that page, the bits above are a generation. Whoever changes a page that has bit 0 set, be it a CPU
 * or a device, moves the word on (vmc_memory_written), and every block made from the old word is dead.
 *
 * A movable slot (video memory behind a PCI BAR) has no place of its own: vmc_memory_move gives it one,
 * another one or none while the machine runs. Nobody is stopped for that. Who looks an address up reads the
 * slot's place once (vmc_memory_find) and gets an offset that lies inside the slot whatever happens
 * meanwhile; the memory itself stays where it is, so an access that overlaps with the move lands in the slot
 * or in nothing, as on a board. CPUs are told through VmcMemoryOps and have forgotten the old place at the
 * latest when they next look for requests.
 *
 * A slot with a dirty log knows which of its pages were written since the log was last taken
 * (vmc_memory_take_dirty). CPUs and vmc_memory_written set the bits; nothing is missed, some pages are told
 * twice.
 *
 * Threads: slots are added before the machine runs; after that every function may be called from any
 * thread. vmc_memory_take_dirty is for one thread at a time for each slot.
 */
#pragma once

#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define VMC_PAGE_SHIFT 12
#define VMC_PAGE_SIZE  4096u
#define VMC_PAGE_MASK  (~(uint64_t)0xfff)

#define VMC_MEM_UNMAPPED UINT64_MAX

typedef struct VmcMemSlot {
    _Atomic uint64_t gpa;         /* guest physical address of the first byte, page aligned, or UNMAPPED */
    uint64_t size;                /* bytes, page aligned */
    uint8_t *host;                /* where it is mapped in this process */
    int fd;                       /* the memfd behind it */
    bool readonly;                /* ROM: writes by CPUs go to the bus instead */
    bool movable;                 /* code in it is never cached */
    _Atomic uint32_t *code_words; /* one per page */
    _Atomic uint64_t *dirty;      /* a bit per page, or NULL: no log */

    /* Private to vmc_memory_take_dirty: pages that CPUs may still write to without saying so, until `ticket`
     * is settled. */
    uint64_t *unsettled;
    uint64_t ticket;
} VmcMemSlot;

/* What whoever runs CPUs on this memory does when it changes. All may be called from any thread and must not
 * wait for a CPU. */
typedef struct VmcMemoryOps {
    /* The slot was given another place. */
    void (*moved)(void *opaque, unsigned slot);
    /* Brings what hardware has noted into slot->dirty. May be NULL. */
    void (*sync_dirty)(void *opaque, unsigned slot);
    /* Dirty bits were cleared: has CPUs note writes again. From when on they all do, settled(ticket) tells.
     * Both may be NULL: sync_dirty does that as well. */
    uint64_t (*protect)(void *opaque, unsigned slot);
    bool (*settled)(void *opaque, uint64_t ticket);
    /* A page with code was written to by something other than a CPU; its code word has moved on. May be NULL.
     */
    void (*code_written)(void *opaque);
} VmcMemoryOps;

#define VMC_MEM_SLOTS_MAX 8

typedef struct VmcMemory {
    VmcMemSlot slots[VMC_MEM_SLOTS_MAX];
    unsigned n_slots;
    GMutex move_lock;        /* vmc_memory_move */
    const VmcMemoryOps *ops; /* set by the CPUs' backend before they run, or NULL */
    void *ops_opaque;
} VmcMemory;

/* A new, empty memory. Free with vmc_memory_free (NULL is fine). */
VmcMemory *vmc_memory_new(void);
void vmc_memory_free(VmcMemory *mem);

/* Maps `size` bytes of fresh memory at `gpa` (both page aligned, not overlapping another slot).
 * `name` appears in /proc/self/maps and in errors. Before the machine runs only. */
bool vmc_memory_add(VmcMemory *mem, const char *name, uint64_t gpa, uint64_t size, bool readonly,
                    GError **error);

/* A slot without a place, with a dirty log. Before the machine runs only. Its number goes to *slot. */
bool vmc_memory_add_movable(VmcMemory *mem, const char *name, uint64_t size, unsigned *slot, GError **error);
/* Puts a movable slot at `gpa`, or takes it away (VMC_MEM_UNMAPPED). False: something else is there or the
 * address makes no sense, and the slot has no place now. */
bool vmc_memory_move(VmcMemory *mem, unsigned slot, uint64_t gpa);

/* Which of the `n` pages from page `first` of a slot with a dirty log were written since the last call: sets
 * or clears the bits of these pages in `pages`, a bit per page of the whole slot, in words of 64; bits of
 * other pages in the same words have no meaning. Whatever was written before the call is in memory to be
 * compared, and what is written after it will be told by the next. False: none was. */
bool vmc_memory_take_dirty(VmcMemory *mem, unsigned slot, uint64_t first, uint64_t n, uint64_t *pages);

/* To be called before a page of a slot with a dirty log is written to. */
static inline void vmc_memory_note_dirty(const VmcMemSlot *slot, uint64_t offset)
{
    uint64_t page = offset >> VMC_PAGE_SHIFT, bit = 1ull << (page % 64);

    if (!(atomic_load_explicit(&slot->dirty[page / 64], memory_order_relaxed) & bit))
        atomic_fetch_or(&slot->dirty[page / 64], bit);
}

/* The slot that holds `gpa` and where in it, or NULL. */
static inline const VmcMemSlot *vmc_memory_find(const VmcMemory *mem, uint64_t gpa, uint64_t *offset)
{
    for (unsigned i = 0; i < mem->n_slots; i++) {
        uint64_t base = atomic_load_explicit(&mem->slots[i].gpa, memory_order_relaxed);

        *offset = gpa - base;
        if (*offset < mem->slots[i].size && base != VMC_MEM_UNMAPPED)
            return &mem->slots[i];
    }
    return NULL;
}

/* The slot that holds `gpa`, or NULL. */
static inline const VmcMemSlot *vmc_memory_slot(const VmcMemory *mem, uint64_t gpa)
{
    uint64_t offset;

    return vmc_memory_find(mem, gpa, &offset);
}

/* Host address of [gpa, gpa+len) if all of it lies in one slot, else NULL. len 0 is NULL. */
void *vmc_memory_host(const VmcMemory *mem, uint64_t gpa, uint64_t len);

/* Copies to and from guest memory. False, with nothing copied, if any byte is not RAM (device memory is
 * never a DMA target) or, for writes, is read-only. Writes call vmc_memory_written themselves. */
bool vmc_memory_read(const VmcMemory *mem, uint64_t gpa, void *buf, uint64_t len);
bool vmc_memory_write(VmcMemory *mem, uint64_t gpa, const void *buf, uint64_t len);

/* Fills guest memory from `fd`, from its byte `offset` on, without this process touching the pages: the host
 * copies into the memfd, at a tenth of the cost of as many page faults. Returns the bytes filled, fewer than
 * `len` when the file ends; -1 with errno set if it cannot be read, EFAULT if not all of the range lies in
 * one slot. For one thread at a time. Calls vmc_memory_written itself. */
int64_t vmc_memory_load(VmcMemory *mem, uint64_t gpa, uint64_t len, int fd, uint64_t offset);

/* To be called after something other than a guest CPU changed guest memory through a host pointer:
 * decoded code in these pages dies. Bytes outside RAM are ignored. */
void vmc_memory_written(VmcMemory *mem, uint64_t gpa, uint64_t len);

/* Gives the whole pages within [gpa, gpa+len) back to the host: their contents are gone and read as zero, and
 * they take up no memory until they are touched again. May be used while the guest runs; decoded code there
 * dies. Returns the bytes given back; ranges outside RAM, or in memory that is read-only or movable, are left
 * alone. */
uint64_t vmc_memory_discard(VmcMemory *mem, uint64_t gpa, uint64_t len);

/* Moves one page's code word on if it says that there is code; false: it did not. */
static inline bool vmc_code_word_kill(_Atomic uint32_t *word)
{
    uint32_t old = atomic_load_explicit(word, memory_order_relaxed);
    while ((old & 1u) && !atomic_compare_exchange_weak_explicit(word, &old, (old + 2u) & ~1u,
                                                                memory_order_release, memory_order_relaxed))
        ;
    return old & 1u;
}
