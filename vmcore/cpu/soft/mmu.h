/*
 * Guest memory as the software CPU sees it: linear address in, value out, faults by longjmp.
 *
 * The inline part is the TLB look-up (about ten host instructions); everything else, be it a miss, a device,
 * a page crossing or a watched page, is vmc_*_slow in mmu.c. Addresses are linear: segment base added, limits
 * checked (vmc_ea does both).
 */
#pragma once

#include <emmintrin.h>
#include <string.h>

#include "cpu/soft/uop.h"

enum vmc_access { VMC_READ = 0, VMC_WRITE = 1, VMC_EXEC = 2 };

/* ---- mmu.c ---- */
uint64_t vmc_ea_slow(VmcCpu *c, const struct vmc_uop *u);
/* The linear address of offset `off` (already cut to the address size) in the operand's segment, checked. */
uint64_t vmc_ea_linear(VmcCpu *c, const struct vmc_uop *u, uint64_t off);
/* Binding: notes in u what vmc_ea_slow has to check of a segmented operand. */
void vmc_ea_note_access(const struct vmc_insn *d, struct vmc_uop *u);
void vmc_ea_note_size(struct vmc_uop *u, unsigned size, bool write);
/* Segment check + base for legacy modes: linear address of [seg:off, size), #GP/#SS if outside or not
 * allowed. */
uint64_t vmc_seg_linear(VmcCpu *c, const struct vmc_uop *u, unsigned seg, uint64_t off, unsigned size,
                        bool write);
uint64_t vmc_ld_slow(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size);
void vmc_st_slow(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size, uint64_t value);
__m128i vmc_ld128_slow(VmcCpu *c, const struct vmc_uop *u, uint64_t va);
void vmc_st128_slow(VmcCpu *c, const struct vmc_uop *u, uint64_t va, __m128i value);
/* Host pointer to [va, va+size) inside one page of RAM with the TLB filled, or NULL (device, crossing,
 * watched); faults if the access is not allowed (both pages checked when it crosses). */
void *vmc_host_slow(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size, enum vmc_access access);

/* The same without faults and side effects beyond those of an access that is going to happen: NULL whatever
 * the reason. `stores`: it writes; `writable`: only a pointer that may be written through is of use. */
void *vmc_host_try(VmcCpu *c, uint64_t va, unsigned size, bool writable, bool stores);

/* Checks that all of [va, va+len) may be accessed, faulting otherwise; then nothing commits before it can
 * fault. */
void vmc_probe(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned len, enum vmc_access access);
/* len <= 4096 bytes; all pages probed before the first byte moves. */
void vmc_read_bytes(VmcCpu *c, const struct vmc_uop *u, uint64_t va, void *buf, unsigned len);
void vmc_write_bytes(VmcCpu *c, const struct vmc_uop *u, uint64_t va, const void *buf, unsigned len);

/* Implicit supervisor accesses (GDT, IDT, TSS, stacks of inner rings): privilege 0 whatever CPL is. size 1,
 * 2, 4, 8. c->cur must be set, or be NULL between instructions. */
uint64_t vmc_sys_ld(VmcCpu *c, uint64_t va, unsigned size);
void vmc_sys_st(VmcCpu *c, uint64_t va, unsigned size, uint64_t value);

#define VMC_PHYS_BITS 46 /* MAXPHYADDR: CPUID 8000_0008 says the same */

/* TLB maintenance. */
void vmc_tlb_init(VmcCpu *c);                    /* all empty; what it gets is all zero */
void vmc_tlb_flush(VmcCpu *c);                   /* everything */
void vmc_tlb_flush_space(VmcCpu *c);             /* CR3 was written: all but global pages */
void vmc_tlb_flush_page(VmcCpu *c, uint64_t va); /* INVLPG */
/* Code of user or of all privileges may have changed or moved: nothing cached by virtual address is good any
 * more. */
void vmc_jumps_flush(VmcCpu *c, bool user_only);
/* Takes the write tag from every entry that leads to this host page. */
void vmc_tlb_protect(VmcCpu *c, uintptr_t host_page);
/* The same for all pages of [host, host + size). */
void vmc_tlb_protect_range(VmcCpu *c, uintptr_t host, uint64_t size);
/* Host address of the code at `va` for this privilege, and its physical address, or VMC_NO_PA where code must
 * not be cached (a slot that may move); NULL if there is no RAM. Faults. */
#define VMC_NO_PA UINT64_MAX
const uint8_t *vmc_code_host(VmcCpu *c, uint64_t va, uint64_t *pa);
/* PAE paging: loads and checks the four PDPTEs; false: #GP (reserved bits). */
bool vmc_load_pdptes(VmcCpu *c, uint64_t cr3);
/* Translates without side effects on A/D or faults, for debuggers and tests. */
bool vmc_translate_debug(VmcCpu *c, uint64_t va, uint64_t *pa);

static inline uint64_t vmc_ea(VmcCpu *c, const struct vmc_uop *u)
{
    if (vmc_unlikely(u->flags & UF_EA_SLOW))
        return vmc_ea_slow(c, u);
    return R64(c, u->base) + (R64(c, u->index) << u->scale) + (uint64_t)(int64_t)u->disp +
           c->seg_base[u->seg];
}
/* An offset cut to the address size. */
static inline uint64_t vmc_ea_cut(const struct vmc_uop *u, uint64_t offset)
{
    if (u->flags & UF_A32)
        return (uint32_t)offset;
    return (u->flags & UF_A16) && u->base != VMC_SLOT_RIP ? (uint16_t)offset : offset;
}
/* The same without segment base and checks: LEA. Truncated to the address size. */
static inline uint64_t vmc_ea_offset(VmcCpu *c, const struct vmc_uop *u)
{
    uint64_t ea = R64(c, u->base) + (R64(c, u->index) << (u->scale & 3)) + (uint64_t)(int64_t)u->disp;
    if ((u->flags & UF_FAR) && u->base == VMC_SLOT_RIP)
        ea += 1ull << 32;
    return vmc_ea_cut(u, ea);
}

static inline struct vmc_tlb_entry *vmc_tlb_at(VmcCpu *c, uint64_t va)
{
    return &c->tlb[(va >> VMC_PAGE_SHIFT) & (VMC_TLB_SIZE - 1)];
}
static inline uint64_t vmc_tlb_want(uint64_t va, unsigned size)
{
    return (va + size - 1) & VMC_PAGE_MASK;
}
static inline void *vmc_host_r(VmcCpu *c, uint64_t va, unsigned size)
{
    const struct vmc_tlb_entry *e = vmc_tlb_at(c, va);
    return vmc_likely(e->tag_read == vmc_tlb_want(va, size)) ? (void *)(va + e->addend) : NULL;
}
static inline void *vmc_host_w(VmcCpu *c, uint64_t va, unsigned size)
{
    const struct vmc_tlb_entry *e = vmc_tlb_at(c, va);
    return vmc_likely(e->tag_write == vmc_tlb_want(va, size)) ? (void *)(va + e->addend) : NULL;
}

#define VMC_DEFINE_ACCESS(bits, type)                                                                        \
    static inline type vmc_ld##bits(VmcCpu *c, const struct vmc_uop *u, uint64_t va)                         \
    {                                                                                                        \
        const type *p = vmc_host_r(c, va, sizeof(type));                                                     \
        return vmc_likely(p) ? *p : (type)vmc_ld_slow(c, u, va, sizeof(type));                               \
    }                                                                                                        \
    static inline void vmc_st##bits(VmcCpu *c, const struct vmc_uop *u, uint64_t va, type v)                 \
    {                                                                                                        \
        type *p = vmc_host_w(c, va, sizeof(type));                                                           \
        if (vmc_likely(p))                                                                                   \
            *p = v;                                                                                          \
        else                                                                                                 \
            vmc_st_slow(c, u, va, sizeof(type), v);                                                          \
    }
VMC_DEFINE_ACCESS(8, uint8_t)
VMC_DEFINE_ACCESS(16, uint16_t)
VMC_DEFINE_ACCESS(32, uint32_t)
VMC_DEFINE_ACCESS(64, uint64_t)

static inline __m128i vmc_ld128(VmcCpu *c, const struct vmc_uop *u, uint64_t va)
{
    const __m128i *p = vmc_host_r(c, va, 16);
    return vmc_likely(p) ? _mm_loadu_si128(p) : vmc_ld128_slow(c, u, va);
}
static inline void vmc_st128(VmcCpu *c, const struct vmc_uop *u, uint64_t va, __m128i v)
{
    __m128i *p = vmc_host_w(c, va, 16);
    if (vmc_likely(p))
        _mm_storeu_si128(p, v);
    else
        vmc_st128_slow(c, u, va, v);
}
