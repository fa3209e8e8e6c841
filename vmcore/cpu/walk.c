/*
 * A page walk that leaves no trace, for debuggers: no rights are checked, no entry is marked.
 *
 * Source: Intel SDM vol. 3 chapter 4: long mode with four or five levels, PAE, and 32-bit paging with large
 * pages.
 */
#include "cpu/cpu.h"

#define CR0_PG    (1ull << 31)
#define CR4_PSE   (1ull << 4)
#define CR4_PAE   (1ull << 5)
#define CR4_LA57  (1ull << 12)
#define EFER_LMA  (1ull << 10)
#define PTE_P     0x1ull
#define PTE_PS    0x80ull
#define ADDR_MASK 0x000ffffffffff000ull

static bool canonical(uint64_t va, unsigned bits)
{
    return (uint64_t)((int64_t)(va << (64 - bits)) >> (64 - bits)) == va;
}

static bool walk_32(const VmcCpuState *s, const VmcMemory *memory, uint64_t va, uint64_t *pa)
{
    uint32_t entry;

    if (!vmc_memory_read(memory, (s->cr3 & 0xfffff000u) + (va >> 22) * 4, &entry, 4) || !(entry & PTE_P))
        return false;
    if ((entry & PTE_PS) && (s->cr4 & CR4_PSE)) { /* PSE-36: bits 20:13 are address bits 39:32 */
        *pa = (entry & 0xffc00000u) | (uint64_t)(entry >> 13 & 0xff) << 32 | (va & 0x3fffff);
        return true;
    }
    if (!vmc_memory_read(memory, (entry & 0xfffff000u) + (va >> 12 & 1023) * 4, &entry, 4) ||
        !(entry & PTE_P))
        return false;
    *pa = (entry & 0xfffff000u) | (va & 0xfff);
    return true;
}

/* Tables of 64-bit entries, from the one that `shift` indexes. */
static bool walk_64(const VmcMemory *memory, uint64_t table, unsigned shift, bool pae, uint64_t va,
                    uint64_t *pa)
{
    for (;; shift -= 9) {
        uint64_t index = va >> shift & (pae && shift == 30 ? 3 : 511), entry;

        if (!vmc_memory_read(memory, table + index * 8, &entry, 8) || !(entry & PTE_P))
            return false;
        bool large = (entry & PTE_PS) && (shift == 21 || (shift == 30 && !pae));
        if (shift == 12 || large) {
            uint64_t offset = (1ull << shift) - 1;

            *pa = (entry & ADDR_MASK & ~offset) | (va & offset);
            return true;
        }
        table = entry & ADDR_MASK;
    }
}

bool vmc_cpu_walk(const VmcCpuState *state, const VmcMemory *memory, uint64_t va, uint64_t *pa)
{
    if (!(state->efer & EFER_LMA) && va >> 32)
        return false;
    if (!(state->cr0 & CR0_PG)) {
        *pa = va;
        return true;
    }
    if (!(state->cr4 & CR4_PAE))
        return walk_32(state, memory, va, pa);
    if (!(state->efer & EFER_LMA))
        return walk_64(memory, state->cr3 & 0xffffffe0u, 30, true, va, pa);
    bool five = state->cr4 & CR4_LA57;
    if (!canonical(va, five ? 57 : 48))
        return false;
    return walk_64(memory, state->cr3 & ADDR_MASK, five ? 48 : 39, false, va, pa);
}
