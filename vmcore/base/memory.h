/*
 * Guest physical memory.
 *
 * RAM is a handful of slots, each a memfd mapped once and never moved, so a host pointer into a slot
 * stays good for the life of the VmcMemory. Nothing is zeroed up front: the kernel gives zero pages on
 * first touch, so a 64 GiB guest costs what it touches.
 *
 * Every 4 KiB page of a slot has one atomic "code word". Bit 0 says that some CPU holds decoded blocks
 * of that page, the bits above are a generation. Whoever changes a page that has bit 0 set, be it a CPU
 * or a device, moves the word on (vmc_memory_written), and every block made from the old word is dead.
 *
 * Threads: slots are added before the machine runs; after that every function may be called from any
 * thread.
 */
#pragma once

#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define VMC_PAGE_SHIFT 12
#define VMC_PAGE_SIZE  4096u
#define VMC_PAGE_MASK  (~(uint64_t)0xfff)

typedef struct VmcMemSlot {
    uint64_t gpa;                 /* guest physical address of the first byte, page aligned */
    uint64_t size;                /* bytes, page aligned */
    uint8_t *host;                /* where it is mapped in this process */
    int fd;                       /* the memfd behind it */
    bool readonly;                /* ROM: writes by CPUs are dropped */
    _Atomic uint32_t *code_words; /* one per page */
} VmcMemSlot;

#define VMC_MEM_SLOTS_MAX 8

typedef struct VmcMemory {
    VmcMemSlot slots[VMC_MEM_SLOTS_MAX];
    unsigned n_slots;
} VmcMemory;

/* A new, empty memory. Free with vmc_memory_free (NULL is fine). */
VmcMemory *vmc_memory_new(void);
void vmc_memory_free(VmcMemory *mem);

/* Maps `size` bytes of fresh memory at `gpa` (both page aligned, not overlapping another slot).
 * `name` appears in /proc/self/maps and in errors. Before the machine runs only. */
bool vmc_memory_add(VmcMemory *mem, const char *name, uint64_t gpa, uint64_t size, bool readonly,
                    GError **error);

/* The slot that holds `gpa`, or NULL. */
static inline const VmcMemSlot *vmc_memory_slot(const VmcMemory *mem, uint64_t gpa)
{
    for (unsigned i = 0; i < mem->n_slots; i++)
        if (gpa - mem->slots[i].gpa < mem->slots[i].size)
            return &mem->slots[i];
    return NULL;
}

/* Host address of [gpa, gpa+len) if all of it lies in one slot, else NULL. len 0 is NULL. */
void *vmc_memory_host(const VmcMemory *mem, uint64_t gpa, uint64_t len);

/* Copies to and from guest memory. False, with nothing copied, if any byte is not RAM (device memory is
 * never a DMA target) or, for writes, is read-only. Writes call vmc_memory_written themselves. */
bool vmc_memory_read(const VmcMemory *mem, uint64_t gpa, void *buf, uint64_t len);
bool vmc_memory_write(VmcMemory *mem, uint64_t gpa, const void *buf, uint64_t len);

/* To be called after something other than a guest CPU changed guest memory through a host pointer:
 * decoded code in these pages dies. Bytes outside RAM are ignored. */
void vmc_memory_written(VmcMemory *mem, uint64_t gpa, uint64_t len);

/* Moves one page's code word on; `word` must have been read from it or not, both are fine. */
static inline void vmc_code_word_kill(_Atomic uint32_t *word)
{
    uint32_t old = atomic_load_explicit(word, memory_order_relaxed);
    while ((old & 1u) && !atomic_compare_exchange_weak_explicit(word, &old, (old + 2u) & ~1u,
                                                                memory_order_release, memory_order_relaxed))
        ;
}
