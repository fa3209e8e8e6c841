/*
 * Segment registers and descriptor tables: MOV, PUSH and POP of segment registers, LDS and kin, LGDT and kin,
 * LAR, LSL, VERR, VERW, ARPL, SWAPGS, RDFSBASE and kin.
 *
 * In 64-bit code a segment load changes bases only, so blocks go on behind it; in 16- and 32-bit code it ends
 * the block. A load of SS always does: it opens an interrupt shadow.
 *
 * Source: Intel SDM vol. 2, each instruction; vol. 3 section 6.8.3 (the shadow of MOV SS and POP SS).
 */
#include "cpu/soft/flags.h"
#include "cpu/soft/segment.h"

/* ---- loading ---- */

static VMC_NOINLINE void load_seg(VmcCpu *c, const struct vmc_uop *u, unsigned seg, uint16_t selector)
{
    c->cur = u;
    vmc_load_seg(c, seg, selector);
}

/* The end of a load that ends its block. */
static void finish_load(VmcCpu *c, const struct vmc_uop *u, unsigned seg)
{
    c->rip = vmc_after(c, u);
    if (seg == VMC_SS) {
        c->inhibit = c->inhibit_db = true;
        vmc_request(c, REQ_STEP);
    }
    vmc_soft_update_mode(c);
}

/* x is the segment register. */
static void op_mov_to_seg(VmcCpu *c, const struct vmc_uop *u)
{
    load_seg(c, u, u->x, R16(c, u->rm));
    VMC_NEXT(c, u);
}

static void op_mov_to_seg_mem(VmcCpu *c, const struct vmc_uop *u)
{
    load_seg(c, u, u->x, vmc_ld16(c, u, vmc_ea(c, u)));
    VMC_NEXT(c, u);
}

static void op_mov_to_seg_end(VmcCpu *c, const struct vmc_uop *u)
{
    load_seg(c, u, u->x, u->flags & UF_MEM ? vmc_ld16(c, u, vmc_ea(c, u)) : R16(c, u->rm));
    finish_load(c, u, u->x);
}

static void op_mov_from_seg(VmcCpu *c, const struct vmc_uop *u)
{
    R64(c, u->rm) = c->seg[u->x].selector;
    VMC_NEXT(c, u);
}

static void op_mov_from_seg16(VmcCpu *c, const struct vmc_uop *u)
{
    R16(c, u->rm) = c->seg[u->x].selector;
    VMC_NEXT(c, u);
}

static void op_mov_from_seg_mem(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_st16(c, u, vmc_ea(c, u), c->seg[u->x].selector);
    VMC_NEXT(c, u);
}

/* ---- PUSH, POP: x is the segment register, imm the size ---- */

/* 32-bit pushes move ESP by four and write two bytes, as processors do. */
static VMC_NOINLINE void push_seg(VmcCpu *c, const struct vmc_uop *u)
{
    struct vmc_stack s;
    unsigned size = (unsigned)u->imm;
    c->cur = u;
    vmc_stack_current(c, &s);
    if (size == 4) {
        s.sp = (s.sp - 2) & s.mask;
        size = 2;
    }
    vmc_push(&s, size, c->seg[u->x].selector);
    vmc_stack_commit(&s);
}

static void op_push_seg(VmcCpu *c, const struct vmc_uop *u)
{
    push_seg(c, u);
    VMC_NEXT(c, u);
}

static VMC_NOINLINE void pop_seg(VmcCpu *c, const struct vmc_uop *u)
{
    struct vmc_stack s;
    c->cur = u;
    vmc_stack_current(c, &s);
    uint16_t selector = (uint16_t)vmc_pop(&s, (unsigned)u->imm);
    vmc_load_seg(c, u->x, selector);
    vmc_stack_commit(&s); /* its width is that of the stack popped from */
}

static void op_pop_seg(VmcCpu *c, const struct vmc_uop *u)
{
    pop_seg(c, u);
    VMC_NEXT(c, u);
}

static void op_pop_seg_end(VmcCpu *c, const struct vmc_uop *u)
{
    pop_seg(c, u);
    finish_load(c, u, u->x);
}

/* ---- LDS, LES, LSS, LFS, LGS: x is the segment register, imm the offset's size ---- */

static VMC_NOINLINE void load_far_pointer(VmcCpu *c, const struct vmc_uop *u)
{
    uint64_t va = vmc_ea(c, u);
    unsigned size = (unsigned)u->imm;
    uint64_t offset = size == 8 ? vmc_ld64(c, u, va) : size == 4 ? vmc_ld32(c, u, va) : vmc_ld16(c, u, va);
    uint16_t selector = vmc_ld16(c, u, va + size);
    load_seg(c, u, u->x, selector);
    if (size == 2)
        R16(c, u->reg) = (uint16_t)offset;
    else
        R64(c, u->reg) = offset;
}

static void op_load_far_pointer(VmcCpu *c, const struct vmc_uop *u)
{
    load_far_pointer(c, u);
    c->rip = vmc_after(c, u);
    vmc_soft_update_mode(c);
}

/* ---- LGDT, LIDT, SGDT, SIDT, LLDT, LTR, SLDT, STR ---- */

static void check_umip(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    if (vmc_unlikely((c->cr4 & CR4_UMIP) && c->cpl))
        vmc_gp0(c);
}

/* x: operand size; reg: 2 for the GDT, 3 for the IDT. */
static void op_load_table(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_need_cpl0(c, u);
    uint64_t va = vmc_ea(c, u), base;
    uint16_t limit = vmc_ld16(c, u, va);
    if (c->mode == VMC_MODE_64) {
        base = vmc_ld64(c, u, va + 2);
        if (!vmc_canonical(base))
            vmc_gp0(c);
    } else {
        base = vmc_ld32(c, u, va + 2);
        if (u->x == 2)
            base &= 0xffffff;
    }
    if (u->reg == 2) {
        c->gdt.base = base;
        c->gdt.limit = limit;
    } else {
        c->idt.base = base;
        c->idt.limit = limit;
    }
    VMC_NEXT(c, u);
}

/* Two stores that must both be possible before the first. */
static VMC_NOINLINE void store_table(VmcCpu *c, const struct vmc_uop *u)
{
    bool is64 = c->mode == VMC_MODE_64;
    uint64_t va = vmc_ea(c, u), base = u->reg == 0 ? c->gdt.base : c->idt.base;
    uint32_t limit = u->reg == 0 ? c->gdt.limit : c->idt.limit;
    vmc_probe(c, u, va, is64 ? 10 : 6, VMC_WRITE);
    vmc_st16(c, u, va, (uint16_t)limit);
    if (is64)
        vmc_st64(c, u, va + 2, base);
    else
        vmc_st32(c, u, va + 2, (uint32_t)base);
}

static void op_store_table(VmcCpu *c, const struct vmc_uop *u)
{
    check_umip(c, u);
    store_table(c, u);
    VMC_NEXT(c, u);
}

static void check_selectors(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    if (!vmc_selectors(c))
        vmc_ud(c);
}

static uint16_t rm16(VmcCpu *c, const struct vmc_uop *u)
{
    return u->flags & UF_MEM ? vmc_ld16(c, u, vmc_ea(c, u)) : R16(c, u->rm);
}

static void op_lldt(VmcCpu *c, const struct vmc_uop *u)
{
    check_selectors(c, u);
    vmc_need_cpl0(c, u);
    uint16_t selector = rm16(c, u);
    c->cur = u;
    vmc_load_ldt(c, selector);
    VMC_NEXT(c, u);
}

static void op_ltr(VmcCpu *c, const struct vmc_uop *u)
{
    check_selectors(c, u);
    vmc_need_cpl0(c, u);
    uint16_t selector = rm16(c, u);
    c->cur = u;
    vmc_load_tr(c, selector);
    VMC_NEXT(c, u);
}

/* SLDT, STR: x the operand size; reg 0 or 1. */
static void op_store_system_selector(VmcCpu *c, const struct vmc_uop *u)
{
    check_selectors(c, u);
    check_umip(c, u);
    uint16_t selector = u->reg == 0 ? c->ldt.selector : c->tr.selector;
    if (u->flags & UF_MEM)
        vmc_st16(c, u, vmc_ea(c, u), selector);
    else if (u->x == 2)
        R16(c, u->rm) = selector;
    else
        R64(c, u->rm) = selector;
    VMC_NEXT(c, u);
}

/* ---- LAR, LSL, VERR, VERW, ARPL ---- */

static void set_zf(VmcCpu *c, bool zf)
{
    vmc_set_arith(c, (vmc_arith_flags(c) & ~FL_ZF) | (zf ? FL_ZF : 0));
}

/* Whether this CPL may see the descriptor at all. */
static bool visible(const VmcCpu *c, const struct vmc_desc *d)
{
    unsigned attr = vmc_desc_attr(d), dpl = SEG_DPL(attr);
    if (vmc_is_code(attr) && (attr & SEG_CONFORMING))
        return true;
    return dpl >= c->cpl && dpl >= (d->selector & 3u);
}

/* System descriptor types LAR and LSL know, as bit sets. */
static bool known_system_type(const VmcCpu *c, unsigned type, bool lsl)
{
    static const uint16_t types[2][2] = {
        /* legacy: TSSs, LDT, call gates, task gate */
        {1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 9 | 1u << 11 | 1u << 12,
         1u << 1 | 1u << 2 | 1u << 3 | 1u << 9 | 1u << 11},
        {1u << 2 | 1u << 9 | 1u << 11 | 1u << 12, 1u << 2 | 1u << 9 | 1u << 11},
    };
    return types[c->long_mode][lsl] >> type & 1;
}

static bool readable_descriptor(VmcCpu *c, uint16_t selector, bool lsl, struct vmc_desc *d)
{
    if (vmc_is_null(selector) || !vmc_desc_read(c, selector, d))
        return false;
    unsigned attr = vmc_desc_attr(d);
    if (!(attr & SEG_S) && !known_system_type(c, attr & 0xf, lsl))
        return false;
    return visible(c, d);
}

/* reg: destination; x: operand size; imm: 1 for LSL. */
static VMC_NOINLINE void lar_lsl(VmcCpu *c, const struct vmc_uop *u)
{
    struct vmc_desc d;
    uint16_t selector = rm16(c, u);
    c->cur = u;
    bool ok = readable_descriptor(c, selector, u->imm, &d);
    set_zf(c, ok);
    if (!ok)
        return;
    uint32_t value = u->imm ? vmc_desc_limit(&d) : d.hi & 0x00ffff00u;
    if (u->x == 2)
        R16(c, u->reg) = (uint16_t)value;
    else
        R64(c, u->reg) = value;
}

static void op_lar_lsl(VmcCpu *c, const struct vmc_uop *u)
{
    check_selectors(c, u);
    lar_lsl(c, u);
    VMC_NEXT(c, u);
}

/* imm: 1 for VERW. */
static VMC_NOINLINE void verify(VmcCpu *c, const struct vmc_uop *u)
{
    struct vmc_desc d;
    uint16_t selector = rm16(c, u);
    c->cur = u;
    bool ok = !vmc_is_null(selector) && vmc_desc_read(c, selector, &d) && (vmc_desc_attr(&d) & SEG_S) &&
              visible(c, &d);
    if (ok) {
        unsigned attr = vmc_desc_attr(&d);
        ok = u->imm ? vmc_is_writable_data(attr) : !vmc_is_code(attr) || (attr & SEG_RW);
    }
    set_zf(c, ok);
}

static void op_verify(VmcCpu *c, const struct vmc_uop *u)
{
    check_selectors(c, u);
    verify(c, u);
    VMC_NEXT(c, u);
}

static VMC_NOINLINE void arpl(VmcCpu *c, const struct vmc_uop *u)
{
    struct vmc_uop reading =
        *u; /* a segment that cannot be written is at fault only if there is something to write */
    reading.flags &= (uint8_t)~UF_WRITE;
    uint64_t va = u->flags & UF_MEM ? vmc_ea(c, &reading) : 0;
    uint16_t dst = u->flags & UF_MEM ? vmc_ld16(c, u, va) : R16(c, u->rm), src = R16(c, u->reg);
    bool raise = (dst & 3) < (src & 3);
    if (raise)
        dst = (uint16_t)((dst & ~3) | (src & 3));
    if (u->flags & UF_MEM) {
        if (raise)
            vmc_st16(c, u, vmc_ea(c, u), dst);
    } else {
        R16(c, u->rm) = dst;
    }
    set_zf(c, raise);
}

static void op_arpl(VmcCpu *c, const struct vmc_uop *u)
{
    check_selectors(c, u);
    arpl(c, u);
    VMC_NEXT(c, u);
}

/* ---- FS and GS bases ---- */

static void op_swapgs(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_need_cpl0(c, u);
    uint64_t base = c->seg[VMC_GS].base;
    c->seg[VMC_GS].base = c->seg_base[VMC_GS] = c->msr.kernel_gs_base;
    c->msr.kernel_gs_base = base;
    VMC_NEXT(c, u);
}

static void check_fsgsbase(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    if (!(c->cr4 & CR4_FSGSBASE))
        vmc_ud(c);
}

/* x: FS or GS; imm: operand size. */
static void op_rdbase(VmcCpu *c, const struct vmc_uop *u)
{
    check_fsgsbase(c, u);
    uint64_t base = c->seg[u->x].base;
    R64(c, u->rm) = u->imm == 8 ? base : (uint32_t)base;
    VMC_NEXT(c, u);
}

static void op_wrbase(VmcCpu *c, const struct vmc_uop *u)
{
    check_fsgsbase(c, u);
    uint64_t base = u->imm == 8 ? R64(c, u->rm) : R32(c, u->rm);
    if (!vmc_canonical(base))
        vmc_gp0(c);
    c->seg[u->x].base = c->seg_base[u->x] = base;
    VMC_NEXT(c, u);
}

/* ---- binding ---- */

static enum vmc_bound bind_mov(const struct vmc_insn *d, struct vmc_uop *u)
{
    u->x = d->modrm >> 3 & 7; /* REX.R does not count */
    if (u->x > VMC_GS || (d->opcode == 0x8e && u->x == VMC_CS))
        return VMC_BIND_UD;
    if (d->opcode == 0x8c) {
        u->fn = d->is_mem ? op_mov_from_seg_mem : d->opsize == 2 ? op_mov_from_seg16 : op_mov_from_seg;
        return VMC_BIND_OK;
    }
    if (d->mode != VMC_MODE_64 || u->x == VMC_SS) {
        u->fn = op_mov_to_seg_end;
        return VMC_BIND_END;
    }
    u->fn = d->is_mem ? op_mov_to_seg_mem : op_mov_to_seg;
    return VMC_BIND_OK;
}

static enum vmc_bound bind_push_pop(const struct vmc_insn *d, struct vmc_uop *u, unsigned seg, bool pop)
{
    u->x = (uint16_t)seg;
    u->imm = d->mode == VMC_MODE_64 && d->opsize != 2 ? 8 : d->opsize;
    u->flags |= UF_SS;
    if (!pop) {
        u->fn = op_push_seg;
        return VMC_BIND_OK;
    }
    if (d->mode != VMC_MODE_64 || seg == VMC_SS) {
        u->fn = op_pop_seg_end;
        return VMC_BIND_END;
    }
    u->fn = op_pop_seg;
    return VMC_BIND_OK;
}

static enum vmc_bound bind_far_pointer(const struct vmc_insn *d, struct vmc_uop *u, unsigned seg)
{
    if (!d->is_mem)
        return VMC_BIND_UD;
    u->x = (uint16_t)seg;
    u->imm = d->opsize;
    u->fn = op_load_far_pointer;
    return VMC_BIND_END;
}

static enum vmc_bound bind_one_byte(const struct vmc_insn *d, struct vmc_uop *u)
{
    bool is64 = d->mode == VMC_MODE_64;
    switch (d->opcode) {
    case 0x06:
    case 0x07:
    case 0x0e:
    case 0x16:
    case 0x17:
    case 0x1e:
    case 0x1f:
        return is64 ? VMC_BIND_UD : bind_push_pop(d, u, d->opcode >> 3, d->opcode & 1);
    case 0x63:
        if (is64)
            return VMC_BIND_NO;
        u->fn = op_arpl;
        return VMC_BIND_OK;
    case 0x8c:
    case 0x8e:
        return bind_mov(d, u);
    case 0xc4:
    case 0xc5:
        return is64 ? VMC_BIND_UD : bind_far_pointer(d, u, d->opcode == 0xc4 ? VMC_ES : VMC_DS);
    }
    return VMC_BIND_NO;
}

/* 0F 00: SLDT, STR, LLDT, LTR, VERR, VERW. */
static enum vmc_bound bind_group_6(const struct vmc_insn *d, struct vmc_uop *u)
{
    unsigned n = d->modrm >> 3 & 7;
    u->x = d->opsize;
    u->reg = (uint8_t)n;
    switch (n) {
    case 0:
    case 1:
        u->fn = op_store_system_selector;
        return VMC_BIND_OK;
    case 2:
        u->fn = op_lldt;
        return VMC_BIND_OK;
    case 3:
        u->fn = op_ltr;
        return VMC_BIND_OK;
    case 4:
    case 5:
        u->fn = op_verify;
        u->imm = n == 5;
        return VMC_BIND_OK;
    }
    return VMC_BIND_UD;
}

static enum vmc_bound bind_group_7(const struct vmc_insn *d, struct vmc_uop *u)
{
    unsigned n = d->modrm >> 3 & 7;
    if (d->is_mem && n <= 3) {
        u->x = d->opsize;
        u->reg = (uint8_t)n;
        u->fn = n < 2 ? op_store_table : op_load_table;
        return VMC_BIND_OK;
    }
    if (d->modrm == 0xf8 && d->mode == VMC_MODE_64) {
        u->fn = op_swapgs;
        return VMC_BIND_OK;
    }
    return VMC_BIND_NO;
}

static enum vmc_bound bind_fsgsbase(const struct vmc_insn *d, struct vmc_uop *u)
{
    unsigned n = d->modrm >> 3 & 7;
    if (d->is_mem || d->rep != 0xf3 || n > 3)
        return VMC_BIND_NO;
    if (d->mode != VMC_MODE_64)
        return VMC_BIND_UD;
    u->x = n & 1 ? VMC_GS : VMC_FS;
    u->imm = d->rex & 8 ? 8 : 4;
    u->fn = n < 2 ? op_rdbase : op_wrbase;
    return VMC_BIND_OK;
}

enum vmc_bound vmc_bind_segments(const struct vmc_insn *d, struct vmc_uop *u)
{
    if (d->map == VMC_MAP_1)
        return bind_one_byte(d, u);
    if (d->map != VMC_MAP_0F)
        return VMC_BIND_NO;
    switch (d->opcode) {
    case 0x00:
        return bind_group_6(d, u);
    case 0x01:
        return bind_group_7(d, u);
    case 0x02:
    case 0x03:
        u->x = d->opsize;
        u->imm = d->opcode == 0x03;
        u->fn = op_lar_lsl;
        return VMC_BIND_OK;
    case 0xa0:
    case 0xa8:
        return bind_push_pop(d, u, d->opcode == 0xa0 ? VMC_FS : VMC_GS, false);
    case 0xa1:
    case 0xa9:
        return bind_push_pop(d, u, d->opcode == 0xa1 ? VMC_FS : VMC_GS, true);
    case 0xae:
        return bind_fsgsbase(d, u);
    case 0xb2:
        return bind_far_pointer(d, u, VMC_SS);
    case 0xb4:
        return bind_far_pointer(d, u, VMC_FS);
    case 0xb5:
        return bind_far_pointer(d, u, VMC_GS);
    }
    return VMC_BIND_NO;
}
