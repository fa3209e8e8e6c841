/*
 * The software MMU: page walks for every paging mode, TLB fills, and all accesses the inline look-up of mmu.h
 * cannot serve.
 *
 * A walk reads page tables through host pointers and sets A and D atomically, as other CPUs walk too. A TLB
 * entry gets its read tag on any data access, its write tag only once D is set and the page holds no decoded
 * code, its execute tag on fetches alone: whatever must be noticed has no tag and comes here.
 *
 * A write to a page with code kills the code's word first and writes then. That is safe against another CPU
 * decoding in between, because whoever marks a page as code waits until all other CPUs have passed an
 * instruction boundary (block.c).
 *
 * Source: Intel SDM vol. 3 chapter 4; data breakpoints: section 17.2.
 */
#include "cpu/soft/mmu.h"

#include "cpu/soft/block.h"
#include "cpu/soft/debug.h"
#include "cpu/soft/translate/lockstep.h"

#define PTE_P  0x1ull
#define PTE_W  0x2ull
#define PTE_U  0x4ull
#define PTE_A  0x20ull
#define PTE_D  0x40ull
#define PTE_PS 0x80ull
#define PTE_G  0x100ull
#define PTE_NX (1ull << 63)

#define PF_P    1u
#define PF_W    2u
#define PF_U    4u
#define PF_RSVD 8u
#define PF_I    16u

/* Physical bits an entry may use, and those that must be zero. */
#define PHYS_MASK ((1ull << VMC_PHYS_BITS) - 1)
#define ADDR_MASK (PHYS_MASK & VMC_PAGE_MASK)
#define RSVD_HIGH ((1ull << 52) - 1 - PHYS_MASK)

struct mapping {
    uint64_t pa;
    bool writable; /* for this privilege, D already set */
    bool global;
    uint32_t error; /* page-fault code when the walk failed */
};

struct walk {
    VmcCpu *c;
    uint64_t rights; /* AND of W and U over the levels */
    bool nx;
    bool long_entries;
};

static void *phys_host(const VmcCpu *c, uint64_t pa)
{
    uint64_t offset;
    const VmcMemSlot *s = vmc_memory_find(c->vm->memory, pa, &offset);
    return s ? s->host + offset : NULL;
}

/* Reads the entry at `pa` and folds its rights in. False: not present (error 0) or reserved bit set
 * (PF_RSVD). */
static bool walk_entry(struct walk *w, uint64_t pa, uint64_t reserved, uint64_t *entry, void **host,
                       uint32_t *error)
{
    void *p = phys_host(w->c, pa);
    uint64_t e = 0;
    if (p)
        e = w->long_entries ? __atomic_load_n((uint64_t *)p, __ATOMIC_RELAXED)
                            : __atomic_load_n((uint32_t *)p, __ATOMIC_RELAXED);
    *host = p;
    *entry = e;
    *error = 0;
    if (!(e & PTE_P))
        return false;
    if (w->long_entries && !(w->c->efer & EFER_NXE))
        reserved |= PTE_NX;
    if (e & reserved) {
        *error = PF_RSVD | PF_P;
        return false;
    }
    w->rights &= e;
    if (w->long_entries && (e & PTE_NX))
        w->nx = true;
    return true;
}

/* Sets A (and D) in an entry that is still what we read; false: it changed, walk again. */
static bool walk_mark(const struct walk *w, void *host, uint64_t entry, uint64_t bits)
{
    if ((entry & bits) == bits)
        return true;
    if (w->long_entries) {
        uint64_t old = entry;
        return __atomic_compare_exchange_n((uint64_t *)host, &old, entry | bits, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_RELAXED);
    }
    uint32_t old = (uint32_t)entry;
    return __atomic_compare_exchange_n((uint32_t *)host, &old, (uint32_t)(entry | bits), false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* Whether the rights found allow the access; the page-fault code if not. */
static bool allowed(const VmcCpu *c, const struct walk *w, enum vmc_access access, bool user, bool smap)
{
    bool page_user = w->rights & PTE_U, page_write = w->rights & PTE_W;
    if (user && !page_user)
        return false;
    if (access == VMC_EXEC)
        return !w->nx && !(page_user && !user && (c->cr4 & CR4_SMEP));
    if (smap && page_user && !user)
        return false;
    return access != VMC_WRITE || page_write || (!user && !(c->cr0 & CR0_WP));
}

struct level {
    unsigned shift;    /* of the index in the linear address */
    bool can_be_large; /* PS means a page */
    uint64_t reserved; /* always */
    uint64_t large_reserved;
};

static const struct level levels_long[] = {
    {39, false, RSVD_HIGH | PTE_PS, 0},
    {30, true, RSVD_HIGH, 0x3fffe000ull},
    {21, true, RSVD_HIGH, 0x001fe000ull},
    {12, false, RSVD_HIGH, 0},
};
/* PAE: bits 62:52 are reserved as well. */
#define PAE_HIGH (RSVD_HIGH | 0x7ff0000000000000ull)
static const struct level levels_pae[] = {
    {21, true, PAE_HIGH, 0x001fe000ull},
    {12, false, PAE_HIGH, 0},
};
static const struct level levels_32[] = {
    {22, true, 0, 0x00200000ull}, /* PSE-36: bits 20:13 are address bits 39:32 */
    {12, false, 0, 0},
};

/* Remembers that entries of a large page may be in the TLB (state.h, large). */
static void note_large(VmcCpu *c, uint64_t va, unsigned shift)
{
    struct vmc_large *large = &c->large[va >> 47 & 1];
    if (shift == 30)
        large->gib |= 1ull << (va >> 30 & 63);
    else if (shift > VMC_PAGE_SHIFT)
        for (unsigned i = 0; i < (shift == 22 ? 2 : 1); i++) {
            unsigned n = (unsigned)(((va >> shift << shift >> 21) + (shift == 22 ? i : 0)) & 1023);
            large->mib[n / 64] |= 1ull << (n % 64);
        }
}

static bool in_large(const VmcCpu *c, uint64_t va)
{
    const struct vmc_large *large = &c->large[va >> 47 & 1];
    unsigned n = (unsigned)(va >> 21 & 1023);
    return (large->mib[n / 64] >> (n % 64) & 1) || (large->gib >> (va >> 30 & 63) & 1);
}

/* One walk. 1: done; 0: fault, m->error set; -1: an entry changed under us. */
static int walk_once(VmcCpu *c, uint64_t va, enum vmc_access access, bool user, bool smap, bool mark,
                     struct mapping *m)
{
    struct walk w = {.c = c, .rights = PTE_U | PTE_W, .long_entries = c->cr4 & CR4_PAE};
    const struct level *level;
    unsigned n;
    uint64_t table;
    uint32_t base_error =
        (access == VMC_WRITE ? PF_W : 0) | (user ? PF_U : 0) |
        (access == VMC_EXEC && ((c->efer & EFER_NXE && w.long_entries) || (c->cr4 & CR4_SMEP)) ? PF_I : 0);
    m->error = base_error;
    if (c->long_mode) {
        level = levels_long, n = 4, table = c->cr3 & ADDR_MASK;
    } else if (w.long_entries) {
        uint64_t pdpte = c->pdpte[(va >> 30) & 3];
        if (!(pdpte & PTE_P))
            return 0;
        level = levels_pae, n = 2, table = pdpte & ADDR_MASK;
    } else {
        level = levels_32, n = 2, table = c->cr3 & 0xfffff000u;
    }

    for (unsigned i = 0; i < n; i++, level++) {
        unsigned index_bits = w.long_entries ? 9 : 10;
        uint64_t index = (va >> level->shift) & ((1u << index_bits) - 1);
        uint64_t entry;
        uint32_t error;
        void *host;
        if (!walk_entry(&w, table + index * (w.long_entries ? 8 : 4), level->reserved, &entry, &host,
                        &error)) {
            m->error |= error;
            return 0;
        }
        bool leaf =
            i == n - 1 || (level->can_be_large && (entry & PTE_PS) && (w.long_entries || (c->cr4 & CR4_PSE)));
        if (!leaf) {
            if (mark && !walk_mark(&w, host, entry, PTE_A))
                return -1;
            table = w.long_entries ? entry & ADDR_MASK : entry & 0xfffff000u;
            continue;
        }
        if (i < n - 1 && (entry & level->large_reserved)) {
            m->error |= PF_RSVD | PF_P;
            return 0;
        }
        if (!allowed(c, &w, access, user, smap)) {
            m->error |= PF_P;
            return 0;
        }
        uint64_t bits = PTE_A | (access == VMC_WRITE ? PTE_D : 0);
        if (mark && !walk_mark(&w, host, entry, bits))
            return -1;
        uint64_t offset_mask = (1ull << level->shift) - 1;
        uint64_t frame = entry & ADDR_MASK & ~offset_mask;
        if (!w.long_entries && i == 0)
            frame = (entry & 0xffc00000u) | ((entry >> 13 & 0xffull) << 32);
        m->pa = frame | (va & offset_mask);
        note_large(c, va, level->shift);
        m->global = (entry & PTE_G) && (c->cr4 & CR4_PGE);
        m->writable = ((entry | bits) & PTE_D) && allowed(c, &w, VMC_WRITE, user, smap);
        return 1;
    }
    return 0;
}

static bool translate(VmcCpu *c, uint64_t va, enum vmc_access access, bool user, bool smap, bool mark,
                      struct mapping *m)
{
    if (!(c->cr0 & CR0_PG)) {
        *m = (struct mapping){.pa = va, .writable = true};
        return true;
    }
    int r;
    do
        r = walk_once(c, va, access, user, smap, mark, m);
    while (r < 0);
    return r > 0;
}

bool vmc_translate_debug(VmcCpu *c, uint64_t va, uint64_t *pa)
{
    struct mapping m;
    if (!translate(c, va, VMC_READ, false, false, false, &m))
        return false;
    *pa = m.pa;
    return true;
}

bool vmc_load_pdptes(VmcCpu *c, uint64_t cr3)
{
    uint64_t pdpte[4];
    for (unsigned i = 0; i < 4; i++) {
        const uint64_t *p = phys_host(c, (cr3 & 0xffffffe0u) + i * 8);
        pdpte[i] = p ? *p : 0;
        if ((pdpte[i] & PTE_P) && (pdpte[i] & (~PHYS_MASK | 0x1e6)))
            return false;
    }
    memcpy(c->pdpte, pdpte, sizeof pdpte);
    return true;
}

/* ---- TLB ---- */

static void clear_entry(VmcCpu *c, unsigned t, unsigned i)
{
    c->tlbs[t][i].tag_read = c->tlbs[t][i].tag_write = VMC_TLB_NO_TAG(i);
}

/* Clears what has been filled; but for `global`, if given. */
static void clear_used(VmcCpu *c, unsigned t, bool keep_global)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(c->tlb_words[t]); i++)
        for (uint64_t words = c->tlb_words[t][i]; words; words &= words - 1) {
            unsigned w = i * 64 + (unsigned)__builtin_ctzll(words);
            uint64_t kept = keep_global ? c->tlb_global[t][w] : 0;
            uint64_t gone = c->tlb_used[t][w] & ~kept;
            c->tlb_used[t][w] &= kept;
            c->tlb_global[t][w] = kept;
            if (!c->tlb_used[t][w])
                c->tlb_words[t][i] &= ~(words & -words);
            for (; gone; gone &= gone - 1)
                clear_entry(c, t, w * 64 + (unsigned)__builtin_ctzll(gone));
        }
}

/* The place of a page in the sets of those with code. */
static unsigned code_bit(uint64_t va)
{
    _Static_assert(VMC_CODE_PAGES == 1u << 16, "the upper bits of the product");
    return (unsigned)((va >> VMC_PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> 48);
}

static bool has_code(const VmcCpu *c, unsigned t, uint64_t va)
{
    unsigned bit = code_bit(va);
    return c->code_pages[t][bit / 64] >> (bit % 64) & 1;
}

static void clear_code(VmcCpu *c, unsigned t)
{
    for (unsigned i = 0; i < VMC_TLB_CODE_SIZE; i++)
        c->tlb_code[t][i].tag = 1;
    memset(c->code_pages[t], 0, sizeof c->code_pages[t]);
}

void vmc_tlb_init(VmcCpu *c)
{
    /* The tag zero, which all have, belongs to the first entry, and the page before it to the last one. */
    for (unsigned t = 0; t < VMC_TLB_COUNT; t++) {
        clear_entry(c, t, 0);
        clear_entry(c, t, VMC_TLB_SIZE - 1);
    }
    for (unsigned t = 0; t < VMC_CODE_COUNT; t++)
        clear_code(c, t);
}

void vmc_jumps_flush(VmcCpu *c, bool user_only)
{
    for (unsigned i = 0; i < VMC_KINDS; i++)
        if (!user_only || (i & VMC_KIND_USER))
            c->kind_tags[i] = 0;
    clear_code(c, VMC_CODE_USER);
    if (!user_only) {
        clear_code(c, VMC_CODE_SUPER);
        c->code_not_global = false;
    }
    vmc_soft_update_mode(c);
}

void vmc_tlb_flush(VmcCpu *c)
{
    c->stats.flushes++;
    for (unsigned t = 0; t < VMC_TLB_NEVER; t++)
        clear_used(c, t, false);
    memset(c->large, 0, sizeof c->large);
    vmc_jumps_flush(c, false);
}

void vmc_tlb_flush_space(VmcCpu *c)
{
    c->stats.flushes++;
    for (unsigned t = 0; t < VMC_TLB_NEVER; t++)
        clear_used(c, t, true);
    memset(&c->large[0], 0, sizeof c->large[0]);
    vmc_jumps_flush(c, !c->code_not_global);
}

void vmc_tlb_flush_page(VmcCpu *c, uint64_t va)
{
    uint64_t page = va >> VMC_PAGE_SHIFT;
    if (in_large(c, va)) {
        vmc_tlb_flush(c);
        return;
    }
    for (unsigned i = 0; i < VMC_TLB_COUNT; i++)
        clear_entry(c, i, page & (VMC_TLB_SIZE - 1));
    bool super = has_code(c, VMC_CODE_SUPER, va);
    if (super || has_code(c, VMC_CODE_USER, va))
        vmc_jumps_flush(c, !super);
}

void vmc_tlb_protect(VmcCpu *c, uintptr_t host_page)
{
    vmc_tlb_protect_range(c, host_page, VMC_PAGE_SIZE);
}

void vmc_tlb_protect_range(VmcCpu *c, uintptr_t host, uint64_t size)
{
    for (unsigned t = 0; t < VMC_TLB_NEVER; t++)
        for (unsigned at = 0; at < G_N_ELEMENTS(c->tlb_words[t]); at++)
            for (uint64_t words = c->tlb_words[t][at]; words; words &= words - 1) {
                unsigned w = at * 64 + (unsigned)__builtin_ctzll(words);
                for (uint64_t used = c->tlb_used[t][w]; used; used &= used - 1) {
                    unsigned i = w * 64 + (unsigned)__builtin_ctzll(used);
                    if (c->tlbs[t][i].host - host < size)
                        c->tlbs[t][i].tag_write = VMC_TLB_NO_TAG(i);
                }
            }
}

/* Enters a translation into table `t`. Writes tell the owner of decoded code. */
static void fill(VmcCpu *c, unsigned t, uint64_t va, enum vmc_access access, const struct mapping *m,
                 const VmcMemSlot *slot, uint64_t offset)
{
    unsigned i = (va >> VMC_PAGE_SHIFT) & (VMC_TLB_SIZE - 1);
    struct vmc_tlb_entry *e = &c->tlbs[t][i];
    uint64_t tag = va & VMC_PAGE_MASK, bit = 1ull << (i % 64);
    uint64_t addend = (uint64_t)(slot->host + offset) - va;
    if (e->addend != addend || (e->tag_read != tag && e->tag_write != tag)) {
        clear_entry(c, t, i);
        e->addend = addend;
        e->host = tag + addend;
    }
    c->tlb_used[t][i / 64] |= bit;
    c->tlb_words[t][i / 4096] |= 1ull << (i / 64 % 64);
    c->tlb_global[t][i / 64] &= ~bit;
    if (m->global)
        c->tlb_global[t][i / 64] |= bit;
    e->tag_read = tag;
    _Atomic uint32_t *word = &slot->code_words[offset >> VMC_PAGE_SHIFT];
    if (access == VMC_WRITE)
        vmc_block_page_written(c, word);
    if (slot->dirty) {
        if (access != VMC_WRITE)
            return; /* the first write shall be noticed */
        vmc_memory_note_dirty(slot, offset);
    }
    if (m->writable && !slot->readonly && !(atomic_load_explicit(word, memory_order_acquire) & 1))
        e->tag_write = tag;
}

/* ---- accesses ---- */

static unsigned data_table(const VmcCpu *c)
{
    return c->cpl == 3 ? VMC_TLB_USER : (c->eflags & FL_AC) ? VMC_TLB_SUPER_AC : VMC_TLB_SUPER;
}

static bool canonical(uint64_t va)
{
    return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}

/* Data breakpoints: notes hits for the trap after this instruction. */
static void check_watchpoints(VmcCpu *c, uint64_t va, unsigned size, enum vmc_access access)
{
    for (unsigned i = 0; i < 4; i++) {
        unsigned ctl = (unsigned)(c->dr[7] >> (16 + i * 4)) & 0xf;
        if (!(c->dr[7] & (3u << (i * 2))) || (ctl & 3) == 0 || (ctl & 3) == 2)
            continue;
        if ((ctl & 3) == 1 && access != VMC_WRITE)
            continue;
        static const uint8_t lengths[4] = {1, 2, 8, 4};
        uint64_t len = lengths[ctl >> 2], start = c->dr[i] & ~(len - 1);
        if (va < start + len && start < va + size) {
            c->db_pending |= 1u << i;
            atomic_fetch_or(&c->request, REQ_STEP);
        }
    }
}

/* Translates a data access of the current instruction inside one page; faults. Host pointer, or NULL with *pa
 * for devices. */
static void *access_page(VmcCpu *c, uint64_t va, enum vmc_access access, bool sys, uint64_t *pa)
{
    struct mapping m;
    bool user = !sys && c->cpl == 3;
    bool smap = (c->cr4 & CR4_SMAP) && (sys || !(c->eflags & FL_AC));
    unsigned table = sys ? VMC_TLB_SUPER : data_table(c);
    const struct vmc_tlb_entry *e = &c->tlbs[table][(va >> VMC_PAGE_SHIFT) & (VMC_TLB_SIZE - 1)];
    uint64_t tag = va & VMC_PAGE_MASK;
    if ((access == VMC_WRITE ? e->tag_write : e->tag_read) == tag)
        return (void *)(va + e->addend);
    if (!translate(c, va, access, user, smap, true, &m))
        vmc_page_fault(c, va, m.error);
    *pa = m.pa;
    uint64_t offset;
    const VmcMemSlot *slot = vmc_memory_find(c->vm->memory, m.pa, &offset);
    if (!slot)
        return NULL;
    fill(c, table, va, access, &m, slot, offset);
    if (access == VMC_WRITE && slot->readonly)
        return NULL;
    return slot->host + offset;
}

static bool is_apic_page(const VmcCpu *c, uint64_t pa)
{
    return (c->apic_base & 0xc00) == 0x800 && ((pa ^ c->apic_base) & ADDR_MASK) == 0 && c->lapic.ops;
}

/* The local APIC answers aligned 32-bit accesses; others are assembled from them. */
static uint64_t device_read(VmcCpu *c, uint64_t pa, unsigned size)
{
    if (vmc_unlikely(c->journal != NULL))
        vmc_journal_device(c);
    if (!is_apic_page(c, pa))
        return vmc_bus_read(c->vm->mmio, pa, size);
    uint32_t off = pa & 0xffc, shift = (uint32_t)(pa & 3) * 8;
    uint64_t v = c->lapic.ops->mmio_read(c->lapic.apic, off);
    if (shift / 8 + size > 4)
        v |= (uint64_t)c->lapic.ops->mmio_read(c->lapic.apic, (off + 4) & 0xffc) << 32;
    return v >> shift;
}

static void device_write(VmcCpu *c, uint64_t pa, unsigned size, uint64_t value)
{
    if (vmc_unlikely(c->journal != NULL))
        vmc_journal_device(c);
    if (is_apic_page(c, pa)) {
        if (!(pa & 3) && size >= 4)
            c->lapic.ops->mmio_write(c->lapic.apic, pa & 0xffc, (uint32_t)value);
        return;
    }
    const VmcMemSlot *slot = vmc_memory_slot(c->vm->memory, pa);
    if (!slot || slot->readonly) /* who is under a ROM may want to know */
        vmc_bus_write(c->vm->mmio, pa, size, value);
}

/* The boundary an operand of `size` bytes has to lie on while alignment is checked (SDM vol. 3 table 6-7). */
static unsigned natural_alignment(unsigned size)
{
    switch (size) {
    case 10:
        return 8;
    case 14: /* x87 environments and states */
    case 94:
        return 2;
    case 28:
    case 108:
    case 512:
        return 4;
    case 32:
        return 16;
    default:
        return size <= 16 && !(size & (size - 1)) ? size : 1;
    }
}

/* What comes before any slow access: canonical form, alignment check, breakpoints. */
static void check_access(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size,
                         enum vmc_access access)
{
    c->cur = u;
    if (c->long_mode && (!canonical(va) || !canonical(va + size - 1))) {
        if (u && (u->flags & UF_SS))
            vmc_fault_code(c, EXC_SS, 0);
        vmc_gp0(c);
    }
    if (c->tlb != c->tlbs[VMC_TLB_NEVER])
        return;
    if (c->cpl == 3 && (c->cr0 & CR0_AM) && (c->eflags & FL_AC) && (va & (natural_alignment(size) - 1)) &&
        !(u && (u->flags & UF_ODD)))
        vmc_fault_code(c, EXC_AC, 0);
    if (c->dr[7] & 0xff)
        check_watchpoints(c, va, size, access);
    if (vmc_unlikely(c->debug))
        vmc_debug_access(c, va, size, access);
}

static unsigned bytes_to_page_end(uint64_t va)
{
    return VMC_PAGE_SIZE - (unsigned)(va & ~VMC_PAGE_MASK);
}

uint64_t vmc_ld_slow(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size)
{
    uint64_t pa, value = 0;
    c->stats.tlb_slow++;
    check_access(c, u, va, size, VMC_READ);
    if (bytes_to_page_end(va) < size) {
        vmc_read_bytes(c, u, va, &value, size);
        return value;
    }
    const void *p = access_page(c, va, VMC_READ, false, &pa);
    if (!p)
        return device_read(c, pa, size);
    memcpy(&value, p, size);
    return value;
}

static inline void note(VmcCpu *c, const void *p, unsigned size)
{
    if (vmc_unlikely(c->journal != NULL))
        vmc_journal_note(c, p, size);
}

/* The store itself; fixed sizes so that an aligned one stays a single host store. */
static void put(VmcCpu *c, void *p, unsigned size, uint64_t value)
{
    note(c, p, size);
    switch (size) {
    case 1:
        *(volatile uint8_t *)p = (uint8_t)value;
        break;
    case 2:
        *(volatile uint16_t *)p = (uint16_t)value;
        break;
    case 4:
        *(volatile uint32_t *)p = (uint32_t)value;
        break;
    default:
        *(volatile uint64_t *)p = value;
        break;
    }
}

void vmc_st_slow(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size, uint64_t value)
{
    uint64_t pa;
    c->stats.tlb_slow++;
    check_access(c, u, va, size, VMC_WRITE);
    if (bytes_to_page_end(va) < size) {
        vmc_write_bytes(c, u, va, &value, size);
        return;
    }
    void *p = access_page(c, va, VMC_WRITE, false, &pa);
    if (p)
        put(c, p, size, value);
    else
        device_write(c, pa, size, value);
}

__m128i vmc_ld128_slow(VmcCpu *c, const struct vmc_uop *u, uint64_t va)
{
    __m128i v;
    c->stats.tlb_slow++;
    vmc_read_bytes(c, u, va, &v, 16);
    return v;
}

void vmc_st128_slow(VmcCpu *c, const struct vmc_uop *u, uint64_t va, __m128i value)
{
    c->stats.tlb_slow++;
    vmc_write_bytes(c, u, va, &value, 16);
}

void *vmc_host_slow(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size, enum vmc_access access)
{
    uint64_t pa;
    c->stats.tlb_slow++;
    check_access(c, u, va, size, access);
    if (bytes_to_page_end(va) < size) {
        vmc_probe(c, u, va, size, access);
        return NULL;
    }
    void *p = access_page(c, va, access, false, &pa);
    if (p && access == VMC_WRITE)
        note(c, p, size);
    return p;
}

void *vmc_host_try(VmcCpu *c, uint64_t va, unsigned size, bool writable, bool stores)
{
    struct mapping m;
    uint64_t offset;
    unsigned table = data_table(c);
    bool smap = (c->cr4 & CR4_SMAP) && !(c->eflags & FL_AC);
    if (c->tlb == c->tlbs[VMC_TLB_NEVER] || bytes_to_page_end(va) < size || !canonical(va))
        return NULL;
    if (!translate(c, va, stores ? VMC_WRITE : VMC_READ, c->cpl == 3, smap, true, &m))
        return NULL;
    const VmcMemSlot *slot = vmc_memory_find(c->vm->memory, m.pa, &offset);
    if (!slot)
        return NULL;
    if (writable && (slot->readonly || (slot->code_words[offset >> VMC_PAGE_SHIFT] & 1)))
        return NULL;
    fill(c, table, va, stores ? VMC_WRITE : VMC_READ, &m, slot, offset);
    const struct vmc_tlb_entry *e = &c->tlbs[table][(va >> VMC_PAGE_SHIFT) & (VMC_TLB_SIZE - 1)];
    return writable && e->tag_write != (va & VMC_PAGE_MASK) ? NULL : slot->host + offset;
}

void vmc_probe(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned len, enum vmc_access access)
{
    check_access(c, u, va, len, access);
    while (len) {
        uint64_t pa;
        unsigned n = MIN(bytes_to_page_end(va), len);
        access_page(c, va, access, false, &pa);
        va += n;
        len -= n;
    }
}

/* A byte range within one page, RAM or device. */
static void copy_page(VmcCpu *c, uint64_t va, uint8_t *buf, unsigned len, enum vmc_access access)
{
    uint64_t pa;
    uint8_t *p = access_page(c, va, access, false, &pa);
    if (p) {
        if (access == VMC_WRITE)
            note(c, p, len), memcpy(p, buf, len);
        else
            memcpy(buf, p, len);
        return;
    }
    while (len) { /* devices: in the largest aligned pieces */
        unsigned n = 8;
        while (n > len || (pa & (n - 1)))
            n >>= 1;
        uint64_t v = 0;
        if (access == VMC_WRITE) {
            memcpy(&v, buf, n);
            device_write(c, pa, n, v);
        } else {
            v = device_read(c, pa, n);
            memcpy(buf, &v, n);
        }
        pa += n;
        buf += n;
        len -= n;
    }
}

void vmc_read_bytes(VmcCpu *c, const struct vmc_uop *u, uint64_t va, void *buf, unsigned len)
{
    check_access(c, u, va, len, VMC_READ);
    unsigned n = MIN(bytes_to_page_end(va), len);
    if (n < len)
        vmc_probe(c, u, va, len, VMC_READ);
    copy_page(c, va, buf, n, VMC_READ);
    if (n < len)
        copy_page(c, va + n, (uint8_t *)buf + n, len - n, VMC_READ);
}

void vmc_write_bytes(VmcCpu *c, const struct vmc_uop *u, uint64_t va, const void *buf, unsigned len)
{
    check_access(c, u, va, len, VMC_WRITE);
    unsigned n = MIN(bytes_to_page_end(va), len);
    if (n < len)
        vmc_probe(c, u, va, len, VMC_WRITE);
    copy_page(c, va, (uint8_t *)buf, n, VMC_WRITE);
    if (n < len)
        copy_page(c, va + n, (uint8_t *)buf + n, len - n, VMC_WRITE);
}

/* ---- implicit supervisor accesses ---- */

uint64_t vmc_sys_ld(VmcCpu *c, uint64_t va, unsigned size)
{
    uint64_t value = 0, pa;
    uint8_t *out = (uint8_t *)&value;
    if (c->long_mode && !canonical(va))
        vmc_gp0(c);
    if (vmc_unlikely(c->debug))
        vmc_debug_access(c, va, size, VMC_READ);
    while (size) {
        unsigned n = MIN(bytes_to_page_end(va), size);
        const void *p = access_page(c, va, VMC_READ, true, &pa);
        if (p) {
            memcpy(out, p, n);
        } else {
            uint64_t v = device_read(c, pa, n);
            memcpy(out, &v, n);
        }
        va += n;
        out += n;
        size -= n;
    }
    return value;
}

void vmc_sys_st(VmcCpu *c, uint64_t va, unsigned size, uint64_t value)
{
    uint64_t pa;
    if (c->long_mode && !canonical(va))
        vmc_gp0(c);
    if (vmc_unlikely(c->debug))
        vmc_debug_access(c, va, size, VMC_WRITE);
    if (bytes_to_page_end(va) < size) {
        access_page(c, va + size - 1, VMC_WRITE, true, &pa); /* both pages before the first byte */
        for (unsigned i = 0; i < size; i++)
            vmc_sys_st(c, va + i, 1, value >> (8 * i));
        return;
    }
    void *p = access_page(c, va, VMC_WRITE, true, &pa);
    if (p)
        put(c, p, size, value);
    else
        device_write(c, pa, size, value);
}

/* ---- code ---- */

const uint8_t *vmc_code_host(VmcCpu *c, uint64_t va, uint64_t *pa)
{
    struct mapping m;
    bool user = c->cpl == 3;
    uint64_t page = va >> VMC_PAGE_SHIFT, in_page = va & ~VMC_PAGE_MASK;
    struct vmc_tlb_code *e = &c->tlb_code[user ? VMC_CODE_USER : VMC_CODE_SUPER][page % VMC_TLB_CODE_SIZE];
    if (c->long_mode && !canonical(va))
        vmc_gp0(c);
    if (e->tag != (va & VMC_PAGE_MASK)) {
        if (!translate(c, va, VMC_EXEC, user, false, true, &m))
            vmc_page_fault(c, va, m.error);
        uint64_t offset;
        const VmcMemSlot *slot = vmc_memory_find(c->vm->memory, m.pa, &offset);
        if (!slot)
            return NULL;
        e->tag = va & VMC_PAGE_MASK;
        e->host = slot->host + (offset & VMC_PAGE_MASK);
        e->pa = slot->movable ? VMC_NO_PA : m.pa & VMC_PAGE_MASK;
        unsigned bit = code_bit(va);
        c->code_pages[user ? VMC_CODE_USER : VMC_CODE_SUPER][bit / 64] |= 1ull << (bit % 64);
        c->code_not_global |= !user && !m.global;
    }
    *pa = e->pa == VMC_NO_PA ? VMC_NO_PA : e->pa | in_page;
    return e->host + in_page;
}

/* ---- segmentation of 16- and 32-bit code ---- */

uint64_t vmc_seg_linear(VmcCpu *c, const struct vmc_uop *u, unsigned seg, uint64_t off, unsigned size,
                        bool write)
{
    const struct vmc_seg *s = &c->seg[seg];
    unsigned vector = seg == VMC_SS ? EXC_SS : EXC_GP;
    c->cur = u;
    if (c->mode == VMC_MODE_64)
        return off + c->seg_base[seg];
    if ((c->cr0 & CR0_PE) && !(c->eflags & FL_VM)) {
        if (!(s->attr & SEG_P) || (write && (SEG_TYPE(s->attr) & 0xa) != 2) ||
            (!write && (SEG_TYPE(s->attr) & 0xa) == 8))
            vmc_fault_code(c, EXC_GP, 0);
    }
    uint64_t last = off + size - 1;
    bool inside;
    if ((SEG_TYPE(s->attr) & 0xc) == 4) /* expand-down data */
        inside = off > s->limit && last <= ((s->attr & SEG_DB) ? 0xffffffffull : 0xffffull);
    else
        inside = last <= s->limit;
    if (!inside)
        vmc_fault_code(c, vector, 0);
    return (uint32_t)(off + s->base);
}

/* Sizes of segmented operands, as uop.scale names them; LEA and the like access nothing and are not checked.
 */
static const uint16_t access_sizes[] = {0, 1, 2, 4, 6, 8, 10, 12, 14, 16, 28, 32, 94, 108, 512};

void vmc_ea_note_access(const struct vmc_insn *d, struct vmc_uop *u)
{
    bool write;
    unsigned size = vmc_insn_access(d, &write);
    vmc_ea_note_size(u, size, write);
}

void vmc_ea_note_size(struct vmc_uop *u, unsigned size, bool write)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(access_sizes); i++)
        if (access_sizes[i] == size)
            u->scale |= (uint8_t)(i << 2);
    if (write)
        u->flags |= UF_WRITE;
}

uint64_t vmc_ea_linear(VmcCpu *c, const struct vmc_uop *u, uint64_t off)
{
    if (!(u->flags & UF_SEG))
        return off + c->seg_base[u->seg];
    unsigned size = access_sizes[u->scale >> 2];
    return vmc_seg_linear(c, u, u->seg, off, size ? size : 1, u->flags & UF_WRITE);
}

uint64_t vmc_ea_slow(VmcCpu *c, const struct vmc_uop *u)
{
    return vmc_ea_linear(c, u, vmc_ea_offset(c, u));
}
