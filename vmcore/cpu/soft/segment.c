/*
 * Segmentation: descriptors, segment registers, LDT and TSS, stacks.
 *
 * In 64-bit code the bases of ES, CS, SS and DS count as zero; seg_base[] holds what counts, seg[] what was
 * loaded, and vmc_mode_changed brings the two together whenever CS.L changes.
 *
 * Source: Intel SDM vol. 3 chapters 3, 5 and 7; vol. 2 MOV, LLDT, LTR.
 */
#include "cpu/soft/segment.h"

#include "base/i18n.h"
#include "vmcore/error.h"

#define ATTR_V86 0xf3u /* present, DPL 3, writable data, accessed */

/* ---- descriptors ---- */

bool vmc_desc_read(VmcCpu *c, uint16_t selector, struct vmc_desc *d)
{
    uint64_t base = c->gdt.base;
    uint32_t limit = c->gdt.limit, offset = selector & 0xfff8u;
    if (selector & 4) {
        if (!(c->ldt.attr & SEG_P))
            return false;
        base = c->ldt.base;
        limit = c->ldt.limit;
    }
    if (offset + 7 > limit)
        return false;
    d->selector = selector;
    d->address = base + offset;
    if (!c->long_mode)
        d->address = (uint32_t)d->address;
    uint64_t raw = vmc_sys_ld(c, d->address, 8);
    d->lo = (uint32_t)raw;
    d->hi = (uint32_t)(raw >> 32);
    return true;
}

bool vmc_desc_read_high(VmcCpu *c, const struct vmc_desc *d, uint32_t *base_high)
{
    uint32_t limit = d->selector & 4 ? c->ldt.limit : c->gdt.limit;
    if ((d->selector & 0xfff8u) + 15 > limit)
        return false;
    uint64_t raw = vmc_sys_ld(c, d->address + 8, 8);
    *base_high = (uint32_t)raw;
    return ((raw >> 40) & 0x1f) == 0;
}

/* Other CPUs may be marking the same byte: an atomic OR wherever the page can be written directly, which
 * after the first store to it is always. */
void vmc_desc_mark(VmcCpu *c, const struct vmc_desc *d, uint8_t bits)
{
    uint64_t va = d->address + 5;
    uint8_t old = (uint8_t)vmc_sys_ld(c, va, 1);
    const struct vmc_tlb_entry *e = &c->tlbs[VMC_TLB_SUPER][(va >> VMC_PAGE_SHIFT) & (VMC_TLB_SIZE - 1)];
    if (e->tag_write == (va & VMC_PAGE_MASK))
        __atomic_fetch_or((uint8_t *)(va + e->addend), bits, __ATOMIC_SEQ_CST);
    else
        vmc_sys_st(c, va, 1, old | bits);
}

void vmc_desc_to_seg(VmcCpu *c, const struct vmc_desc *d, unsigned rpl, struct vmc_seg *seg)
{
    if (!(d->hi & (SEG_ACCESSED << 8)))
        vmc_desc_mark(c, d, SEG_ACCESSED);
    seg->selector = (uint16_t)((d->selector & ~3u) | rpl);
    seg->base = vmc_desc_base(d);
    seg->limit = vmc_desc_limit(d);
    seg->attr = vmc_desc_attr(d) | SEG_ACCESSED;
}

bool vmc_seg_inside(const struct vmc_seg *seg, uint64_t off, unsigned size)
{
    uint64_t last = off + size - 1;
    if ((seg->attr & (SEG_S | SEG_CODE | SEG_EXPAND)) == (SEG_S | SEG_EXPAND))
        return off > seg->limit && last <= (seg->attr & SEG_DB ? 0xffffffffull : 0xffffull);
    return last <= seg->limit;
}

/* ---- segment registers ---- */

void vmc_set_seg(VmcCpu *c, unsigned seg, const struct vmc_seg *value)
{
    c->seg[seg] = *value;
    bool flat = c->long_mode && (c->seg[VMC_CS].attr & SEG_L) && seg != VMC_FS && seg != VMC_GS;
    c->seg_base[seg] = flat ? 0 : value->base;
}

void vmc_null_seg(struct vmc_seg *seg, uint16_t selector)
{
    *seg = (struct vmc_seg){.selector = selector};
}

void vmc_mode_changed(VmcCpu *c)
{
    bool flat = c->long_mode && (c->seg[VMC_CS].attr & SEG_L);
    for (unsigned i = 0; i < VMC_SEG_COUNT; i++)
        c->seg_base[i] = flat && i != VMC_FS && i != VMC_GS ? 0 : c->seg[i].base;
    vmc_soft_update_mode(c);
}

static void load_real(VmcCpu *c, unsigned seg, uint16_t selector)
{
    struct vmc_seg s = c->seg[seg];
    s.selector = selector;
    s.base = (uint32_t)selector << 4;
    if (vmc_v86(c)) {
        s.limit = 0xffff;
        s.attr = ATTR_V86;
    } else if (!(s.attr & SEG_P)) {
        /* Made null in protected mode: usable again. Otherwise limit and rights stay what they were. */
        s.limit = 0xffff;
        s.attr = 0x93;
    }
    vmc_set_seg(c, seg, &s);
}

void vmc_check_stack(VmcCpu *c, uint16_t selector, unsigned cpl, unsigned vector, unsigned ext,
                     struct vmc_seg *seg)
{
    struct vmc_desc d;
    uint32_t error = (selector & 0xfffcu) | ext;
    if (vmc_is_null(selector))
        vmc_fault_code(c, vector, ext);
    if ((selector & 3) != cpl || !vmc_desc_read(c, selector, &d))
        vmc_fault_code(c, vector, error);
    unsigned attr = vmc_desc_attr(&d);
    if (!vmc_is_writable_data(attr) || SEG_DPL(attr) != cpl)
        vmc_fault_code(c, vector, error);
    if (!(attr & SEG_P))
        vmc_fault_code(c, EXC_SS, error);
    vmc_desc_to_seg(c, &d, cpl, seg);
}

static void load_ss(VmcCpu *c, uint16_t selector)
{
    struct vmc_seg s;
    if (vmc_is_null(selector)) {
        if (c->mode != VMC_MODE_64 || c->cpl == 3 || (selector & 3) != c->cpl)
            vmc_gp0(c);
        vmc_null_seg(&s, selector);
        s.attr = (uint16_t)(c->cpl << 5);
    } else {
        vmc_check_stack(c, selector, c->cpl, EXC_GP, 0, &s);
    }
    vmc_set_seg(c, VMC_SS, &s);
}

void vmc_load_seg(VmcCpu *c, unsigned seg, uint16_t selector)
{
    struct vmc_seg s;
    struct vmc_desc d;
    uint32_t error = selector & 0xfffcu;
    if (!vmc_selectors(c)) {
        load_real(c, seg, selector);
        return;
    }
    if (seg == VMC_SS) {
        load_ss(c, selector);
        return;
    }
    if (vmc_is_null(selector)) {
        vmc_null_seg(&s, selector);
        vmc_set_seg(c, seg, &s);
        return;
    }
    if (!vmc_desc_read(c, selector, &d))
        vmc_fault_code(c, EXC_GP, error);
    unsigned attr = vmc_desc_attr(&d), rpl = selector & 3;
    if (!(attr & SEG_S) || (attr & (SEG_CODE | SEG_RW)) == SEG_CODE)
        vmc_fault_code(c, EXC_GP, error);
    bool conforming = vmc_is_code(attr) && (attr & SEG_CONFORMING);
    if (!conforming && (rpl > SEG_DPL(attr) || c->cpl > SEG_DPL(attr)))
        vmc_fault_code(c, EXC_GP, error);
    if (!(attr & SEG_P))
        vmc_fault_code(c, EXC_NP, error);
    vmc_desc_to_seg(c, &d, rpl, &s);
    vmc_set_seg(c, seg, &s);
}

void vmc_drop_segs(VmcCpu *c)
{
    static const uint8_t segs[4] = {VMC_ES, VMC_DS, VMC_FS, VMC_GS};
    for (unsigned i = 0; i < 4; i++) {
        struct vmc_seg *s = &c->seg[segs[i]];
        bool conforming = vmc_is_code(s->attr) && (s->attr & SEG_CONFORMING);
        if ((s->attr & SEG_P) && !conforming && SEG_DPL(s->attr) < c->cpl)
            vmc_null_seg(s, 0);
        else if (vmc_is_null(s->selector) && (s->attr & SEG_P) && SEG_DPL(s->attr) < c->cpl)
            vmc_null_seg(s, 0);
    }
}

/* ---- LDT and TSS ---- */

/* LDT and TSS descriptors: 8 bytes, or 16 in long mode. */
static void system_seg(VmcCpu *c, const struct vmc_desc *d, struct vmc_seg *seg)
{
    uint32_t high = 0;
    if (c->long_mode && !vmc_desc_read_high(c, d, &high))
        vmc_fault_code(c, EXC_GP, d->selector & 0xfffcu);
    seg->selector = d->selector;
    seg->base = vmc_desc_base(d) | (uint64_t)high << 32;
    seg->limit = vmc_desc_limit(d);
    seg->attr = vmc_desc_attr(d);
    if (c->long_mode && !vmc_canonical(seg->base))
        vmc_fault_code(c, EXC_GP, d->selector & 0xfffcu);
}

void vmc_load_ldt(VmcCpu *c, uint16_t selector)
{
    struct vmc_desc d;
    uint32_t error = selector & 0xfffcu;
    if (vmc_is_null(selector)) {
        vmc_null_seg(&c->ldt, selector);
        return;
    }
    if ((selector & 4) || !vmc_desc_read(c, selector, &d))
        vmc_fault_code(c, EXC_GP, error);
    unsigned attr = vmc_desc_attr(&d);
    if ((attr & (SEG_S | 0xf)) != SYS_LDT)
        vmc_fault_code(c, EXC_GP, error);
    if (!(attr & SEG_P))
        vmc_fault_code(c, EXC_NP, error);
    struct vmc_seg s;
    system_seg(c, &d, &s);
    c->ldt = s;
}

void vmc_load_tr(VmcCpu *c, uint16_t selector)
{
    struct vmc_desc d;
    uint32_t error = selector & 0xfffcu;
    if (vmc_is_null(selector))
        vmc_gp0(c);
    if ((selector & 4) || !vmc_desc_read(c, selector, &d))
        vmc_fault_code(c, EXC_GP, error);
    unsigned attr = vmc_desc_attr(&d), type = attr & (SEG_S | 0xf);
    if (type != SYS_TSS && (type != SYS_TSS16 || c->long_mode))
        vmc_fault_code(c, EXC_GP, error);
    if (!(attr & SEG_P))
        vmc_fault_code(c, EXC_NP, error);
    struct vmc_seg s;
    system_seg(c, &d, &s);
    vmc_desc_mark(c, &d, 2);
    s.attr |= 2;
    c->tr = s;
}

static uint64_t tss_read(VmcCpu *c, unsigned offset, unsigned size, unsigned ext)
{
    if (!(c->tr.attr & SEG_P) || offset + size - 1 > c->tr.limit)
        vmc_fault_code(c, EXC_TS, (c->tr.selector & 0xfffcu) | ext);
    return vmc_sys_ld(c, c->tr.base + offset, size);
}

void vmc_tss_stack(VmcCpu *c, unsigned cpl, unsigned ext, uint64_t *sp, uint16_t *ss)
{
    *ss = 0;
    if (c->long_mode) {
        *sp = tss_read(c, 4 + 8 * cpl, 8, ext);
    } else if (c->tr.attr & 8) {
        *sp = tss_read(c, 4 + 8 * cpl, 4, ext);
        *ss = (uint16_t)tss_read(c, 8 + 8 * cpl, 2, ext);
    } else {
        *sp = tss_read(c, 2 + 4 * cpl, 2, ext);
        *ss = (uint16_t)tss_read(c, 4 + 4 * cpl, 2, ext);
    }
}

uint64_t vmc_tss_ist(VmcCpu *c, unsigned ist, unsigned ext)
{
    return tss_read(c, 0x1c + 8 * ist, 8, ext);
}

void vmc_refuse(VmcCpu *c, const char *sentence)
{
    g_autofree char *place = g_strdup_printf("%04x:%016" PRIx64, c->seg[VMC_CS].selector, c->rip);

    if (!c->fatal)
        g_set_error(&c->fatal, VMC_ERROR, VMC_ERROR_CPU, _(sentence), c->index, place);
    vmc_request(c, REQ_KICK);
}

/* ---- stacks ---- */

void vmc_stack_current(VmcCpu *c, struct vmc_stack *s)
{
    s->c = c;
    s->seg = c->seg[VMC_SS];
    s->flat = c->mode == VMC_MODE_64;
    s->mask = s->flat ? ~0ull : c->stack32 ? 0xffffffffull : 0xffffull;
    s->sp = c->gpr[VMC_RSP] & s->mask;
    s->user = c->cpl == 3;
    s->error = 0;
}

void vmc_stack_new(VmcCpu *c, struct vmc_stack *s, const struct vmc_seg *seg, uint64_t sp, bool flat,
                   unsigned cpl)
{
    s->c = c;
    s->seg = *seg;
    s->flat = flat;
    s->mask = flat ? ~0ull : seg->attr & SEG_DB ? 0xffffffffull : 0xffffull;
    s->sp = sp & s->mask;
    s->user = cpl == 3;
    s->error = 0;
}

static uint64_t stack_linear(const struct vmc_stack *s, uint64_t off, unsigned size)
{
    if (s->flat) {
        if (!vmc_canonical(off) || !vmc_canonical(off + size - 1))
            vmc_fault_code(s->c, EXC_SS, s->error);
        return off;
    }
    if (!vmc_seg_inside(&s->seg, off, size))
        vmc_fault_code(s->c, EXC_SS, s->error);
    return (uint32_t)(s->seg.base + off);
}

void vmc_push(struct vmc_stack *s, unsigned size, uint64_t value)
{
    VmcCpu *c = s->c;
    uint64_t sp = (s->sp - size) & s->mask, va = stack_linear(s, sp, size);
    if (!s->user)
        vmc_sys_st(c, va, size, value);
    else if (size == 8)
        vmc_st64(c, c->cur, va, value);
    else if (size == 4)
        vmc_st32(c, c->cur, va, (uint32_t)value);
    else
        vmc_st16(c, c->cur, va, (uint16_t)value);
    s->sp = sp;
}

uint64_t vmc_pop(struct vmc_stack *s, unsigned size)
{
    VmcCpu *c = s->c;
    uint64_t va = stack_linear(s, s->sp, size), value;
    if (!s->user)
        value = vmc_sys_ld(c, va, size);
    else if (size == 8)
        value = vmc_ld64(c, c->cur, va);
    else if (size == 4)
        value = vmc_ld32(c, c->cur, va);
    else
        value = vmc_ld16(c, c->cur, va);
    s->sp = (s->sp + size) & s->mask;
    return value;
}

void vmc_stack_commit(const struct vmc_stack *s)
{
    uint64_t *rsp = &s->c->gpr[VMC_RSP];
    *rsp = s->mask == 0xffff ? (*rsp & ~0xffffull) | s->sp : s->sp;
}

/* ---- flags ---- */

void vmc_flags_loaded(VmcCpu *c)
{
    /* RF matters only to breakpoints. Every return from a page fault sets it: without breakpoints, do not
     * single-step for it. */
    if (c->eflags & FL_RF) {
        if (c->dr[7] & 0xff)
            vmc_request(c, REQ_STEP);
        else
            c->eflags &= ~FL_RF;
    }
    if (c->eflags & FL_TF)
        vmc_request(c, REQ_STEP);
}
