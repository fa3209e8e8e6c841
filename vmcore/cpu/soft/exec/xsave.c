/*
 * Extended state: XSAVE, XSAVEOPT, XSAVEC, XRSTOR, XGETBV, XSETBV, for x87, SSE and AVX.
 *
 * The legacy region of the area is VmcCpu.fx as FXSAVE has it, the AVX component at 576 is VmcCpu.ymm_high;
 * being the first extended component it lies there in the compacted format too. A component is in use
 * (XINUSE) when it is not what RESET and VZEROUPPER leave. 16- and 32-bit code has eight vector registers: it
 * saves and restores no more.
 *
 * Source: Intel SDM vol. 1 chapter 13; vol. 2 the instructions.
 */
#include "cpu/soft/exec/extensions.h"
#include "cpu/soft/exec/sse.h"
#include "cpu/soft/xcr.h"

#define XF_X87 1u
#define XF_SSE 2u
#define XF_AVX 4u

#define COMPACTED    (1ull << 63)
#define MXCSR_INIT   0x1f80u
#define AREA_MXCSR   24u
#define AREA_ST      32u
#define AREA_XMM     160u
#define AREA_HEADER  512u
#define AREA_AVX     VMC_XSAVE_AVX
#define HEADER_BV    0 /* XSTATE_BV, XCOMP_BV: words of the header */
#define HEADER_XCOMP 1
#define HEADER_WORDS 8

enum { OP_SAVE, OP_SAVE_OPT, OP_SAVE_COMPACT };

/* ---- what both directions share ---- */

/* #UD and #NM; the features asked for in EDX:EAX that are enabled. */
static uint64_t requested(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    if (!(c->cr4 & CR4_OSXSAVE))
        vmc_ud(c);
    if (c->cr0 & CR0_TS)
        vmc_fault(c, EXC_NM);
    return ((c->gpr[VMC_RDX] << 32) | (uint32_t)c->gpr[VMC_RAX]) & c->xcr0;
}

/* Linear address of the area, `size` bytes of which are used. Not lying on 64 bytes is found before the
 * segment's limit. */
static uint64_t area(VmcCpu *c, const struct vmc_uop *u, unsigned size, bool write)
{
    uint64_t off = vmc_ea_offset(c, u), linear = off + c->seg_base[u->seg];
    if ((linear & 3) && c->cpl == 3 && (c->cr0 & CR0_AM) && (c->eflags & FL_AC))
        vmc_fault_code(c, EXC_AC, 0);
    if (linear & 63)
        vmc_gp0(c);
    return u->flags & UF_SEG ? vmc_seg_linear(c, u, u->seg, off, size, write) : linear;
}

static unsigned n_registers(const struct vmc_uop *u)
{
    return u->x & VMC_FXSAVE_64BIT ? 16 : 8;
}

static bool is_zero(const void *p, size_t size)
{
    const uint8_t *bytes = p;
    while (size && !*bytes)
        bytes++, size--;
    return !size;
}

/* XINUSE; the state is in the image. */
static uint64_t in_use(const VmcCpu *c)
{
    const struct vmc_fx *fx = &c->fx;
    bool x87 = fx->fcw != VMC_FCW_INIT || fx->fsw || fx->ftw || fx->fop || fx->fip || fx->fdp ||
               !is_zero(fx->st, sizeof fx->st);
    return (x87 ? XF_X87 : 0) | (is_zero(fx->xmm, sizeof fx->xmm) ? 0 : XF_SSE) |
           (is_zero(c->ymm_high, sizeof c->ymm_high) ? 0 : XF_AVX);
}

static void bring_home(VmcCpu *c)
{
    vmc_x87_sync(c);
    c->fx.mxcsr = vmc_mxcsr_get(c);
}

/* ---- saving ---- */

static void save_legacy(VmcCpu *c, const struct vmc_uop *u, uint64_t va, uint64_t parts, bool mxcsr)
{
    if (parts & XF_X87) {
        struct vmc_fx image = c->fx;
        if (!(u->x & VMC_FXSAVE_W)) {
            image.fip = (uint32_t)image.fip;
            image.fdp = (uint32_t)image.fdp;
        }
        image.reserved = 0;
        vmc_write_bytes(c, u, va, &image, AREA_MXCSR);
        vmc_write_bytes(c, u, va + AREA_ST, image.st, sizeof image.st);
    }
    if (mxcsr)
        vmc_write_bytes(c, u, va + AREA_MXCSR, &c->fx.mxcsr, 8); /* and its mask */
    if (parts & XF_SSE)
        vmc_write_bytes(c, u, va + AREA_XMM, c->fx.xmm, 16 * n_registers(u));
}

static VMC_NOINLINE void xsave(VmcCpu *c, const struct vmc_uop *u)
{
    uint64_t rfbm = requested(c, u), header[HEADER_WORDS], parts = rfbm, used;
    unsigned kind = u->x >> 8, size = rfbm & XF_AVX ? VMC_XSAVE_SIZE : VMC_XSAVE_MIN;
    uint64_t va = area(c, u, size, true);
    vmc_probe(c, u, va, size, VMC_WRITE);
    vmc_read_bytes(c, u, va + AREA_HEADER, header, sizeof header);
    bring_home(c);
    used = in_use(c);
    if (kind != OP_SAVE)
        parts &= used;
    if (kind == OP_SAVE_COMPACT && rfbm & XF_SSE && c->fx.mxcsr != MXCSR_INIT)
        used |= XF_SSE, parts |= XF_SSE;
    save_legacy(c, u, va, parts, kind == OP_SAVE_COMPACT ? parts & XF_SSE : rfbm & (XF_SSE | XF_AVX));
    if (parts & XF_AVX)
        vmc_write_bytes(c, u, va + AREA_AVX, c->ymm_high, 16 * n_registers(u));
    header[HEADER_BV] = kind == OP_SAVE_COMPACT ? used & rfbm : (header[HEADER_BV] & ~rfbm) | (used & rfbm);
    header[HEADER_XCOMP] = COMPACTED | rfbm;
    vmc_write_bytes(c, u, va + AREA_HEADER, header, kind == OP_SAVE_COMPACT ? 16 : 8);
}

static void op_xsave(VmcCpu *c, const struct vmc_uop *u)
{
    xsave(c, u);
    VMC_NEXT(c, u);
}

/* ---- restoring ---- */

static void check_header(VmcCpu *c, const uint64_t *header)
{
    uint64_t bv = header[HEADER_BV], xcomp = header[HEADER_XCOMP];
    /* The standard format leaves bytes 63:24 of the header to software. */
    const unsigned last = xcomp & COMPACTED ? HEADER_WORDS : 3;
    bool wrong = xcomp & COMPACTED ? xcomp & ~COMPACTED & ~c->xcr0 || bv & ~xcomp : xcomp || bv & ~c->xcr0;
    for (unsigned i = 2; i < last; i++)
        wrong |= header[i] != 0;
    if (wrong)
        vmc_gp0(c);
}

static void restore_x87(VmcCpu *c, const struct vmc_uop *u, const struct vmc_fx *image)
{
    vmc_x87_sync(c);
    if (!image) {
        vmc_x87_init(c);
        memset(c->fx.st, 0, sizeof c->fx.st);
        return;
    }
    memcpy(c->fx.st, image->st, sizeof c->fx.st);
    for (unsigned i = 0; i < 8; i++)
        memset(c->fx.st[i] + 10, 0, 6);
    c->fx.ftw = image->ftw;
    c->fx.fop = image->fop & 0x7ff;
    c->fx.fip = u->x & VMC_FXSAVE_W ? image->fip : (uint32_t)image->fip;
    c->fx.fdp = u->x & VMC_FXSAVE_W ? image->fdp : (uint32_t)image->fdp;
    c->fx.fsw = image->fsw; /* with its TOP: st[] came in that order */
    vmc_x87_set_control(c, image->fcw);
}

/* A vector component from the area, or to its initial state. */
static void restore_vector(void *to, const void *from, unsigned size)
{
    if (from)
        memcpy(to, from, size);
    else
        memset(to, 0, size);
}

static VMC_NOINLINE void xrstor(VmcCpu *c, const struct vmc_uop *u)
{
    uint64_t rfbm = requested(c, u), bv;
    unsigned size = rfbm & XF_AVX ? VMC_XSAVE_SIZE : VMC_XSAVE_MIN, vectors = 16 * n_registers(u);
    uint64_t va = area(c, u, size, false), header[HEADER_WORDS];
    struct vmc_fx image;
    uint8_t high[sizeof c->ymm_high];
    uint32_t mxcsr = MXCSR_INIT;
    bool loads_mxcsr = false;

    vmc_probe(c, u, va, VMC_XSAVE_MIN, VMC_READ);
    vmc_read_bytes(c, u, va + AREA_HEADER, header, sizeof header);
    check_header(c, header);
    bv = header[HEADER_BV];
    /* What the standard format has room for is accessed, even if it is to be initialised. */
    if (!(header[HEADER_XCOMP] & COMPACTED))
        vmc_probe(c, u, va, size, VMC_READ);
    vmc_read_bytes(c, u, va, &image, sizeof image);
    if (rfbm & bv & XF_AVX)
        vmc_read_bytes(c, u, va + AREA_AVX, high, vectors);
    /* The compacted format has MXCSR with SSE, the standard one beside SSE and AVX, whatever XSTATE_BV says.
     */
    if (header[HEADER_XCOMP] & COMPACTED)
        loads_mxcsr = rfbm & XF_SSE;
    else
        loads_mxcsr = rfbm & (XF_SSE | XF_AVX);
    if (loads_mxcsr && (!(header[HEADER_XCOMP] & COMPACTED) || bv & XF_SSE))
        mxcsr = image.mxcsr;
    if (mxcsr & ~VMC_MXCSR_VALID)
        vmc_gp0(c);
    if (rfbm & XF_X87)
        restore_x87(c, u, bv & XF_X87 ? &image : NULL);
    if (rfbm & XF_SSE)
        restore_vector(c->fx.xmm, bv & XF_SSE ? image.xmm : NULL, vectors);
    if (rfbm & XF_AVX)
        restore_vector(c->ymm_high, bv & XF_AVX ? high : NULL, vectors);
    if (loads_mxcsr)
        vmc_mxcsr_set(c, mxcsr);
}

static void op_xrstor(VmcCpu *c, const struct vmc_uop *u)
{
    xrstor(c, u);
    VMC_NEXT(c, u);
}

/* ---- XCR0 ---- */

uint64_t vmc_xcr0_allowed(const VmcCpu *c)
{
    return c->vm->features & VMC_HAS_AVX ? XF_X87 | XF_SSE | XF_AVX : XF_X87 | XF_SSE;
}

bool vmc_xcr0_valid(const VmcCpu *c, uint64_t value)
{
    return value & XF_X87 && !(value & ~vmc_xcr0_allowed(c)) && (!(value & XF_AVX) || value & XF_SSE);
}

unsigned vmc_xsave_size(uint64_t features)
{
    return features & XF_AVX ? VMC_XSAVE_SIZE : VMC_XSAVE_MIN;
}

static VMC_NOINLINE uint64_t xgetbv(VmcCpu *c, const struct vmc_uop *u)
{
    uint32_t n = (uint32_t)c->gpr[VMC_RCX];
    c->cur = u;
    if (!(c->cr4 & CR4_OSXSAVE))
        vmc_ud(c);
    if (n > 1)
        vmc_gp0(c);
    if (n == 0)
        return c->xcr0;
    bring_home(c);
    return (in_use(c) | (c->fx.mxcsr != MXCSR_INIT ? XF_SSE : 0)) & c->xcr0;
}

static void op_xgetbv(VmcCpu *c, const struct vmc_uop *u)
{
    uint64_t value = xgetbv(c, u);
    c->gpr[VMC_RAX] = (uint32_t)value;
    c->gpr[VMC_RDX] = value >> 32;
    VMC_NEXT(c, u);
}

static void op_xsetbv(VmcCpu *c, const struct vmc_uop *u)
{
    uint64_t value = (c->gpr[VMC_RDX] << 32) | (uint32_t)c->gpr[VMC_RAX];
    c->cur = u;
    if (!(c->cr4 & CR4_OSXSAVE))
        vmc_ud(c);
    if (c->cpl || (uint32_t)c->gpr[VMC_RCX] || !vmc_xcr0_valid(c, value))
        vmc_gp0(c);
    c->xcr0 = value;
    vmc_fx_update(c);
    VMC_NEXT(c, u);
}

/* ---- binding ---- */

/* 0F AE /4 /5 /6 on memory, 0F C7 /4. */
static enum vmc_bound bind_area(const struct vmc_insn *d, struct vmc_uop *u)
{
    unsigned ext = d->modrm >> 3 & 7;
    bool restore = d->opcode == 0xae && ext == 5;
    unsigned kind = d->opcode == 0xc7 ? OP_SAVE_COMPACT : ext == 6 ? OP_SAVE_OPT : OP_SAVE;

    if (d->prefix66 || d->rep)
        return VMC_BIND_UD;
    u->x = (uint16_t)((d->mode == VMC_MODE_64 ? VMC_FXSAVE_64BIT : 0) | (d->rex & 8 ? VMC_FXSAVE_W : 0) |
                      kind << 8);
    u->fn = restore ? op_xrstor : op_xsave;
    return VMC_BIND_OK;
}

enum vmc_bound vmc_bind_xsave(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u)
{
    unsigned ext = d->modrm >> 3 & 7;

    if (d->map != VMC_MAP_0F || d->vex || !(features & VMC_HAS_XSAVE))
        return VMC_BIND_NO;
    switch (d->opcode) {
    case 0x01:
        if (d->modrm != 0xd0 && d->modrm != 0xd1)
            return VMC_BIND_NO;
        u->fn = d->modrm & 1 ? op_xsetbv : op_xgetbv;
        return d->prefix66 || d->rep ? VMC_BIND_UD : VMC_BIND_OK;
    case 0xae:
        return d->is_mem && ext >= 4 && ext <= 6 ? bind_area(d, u) : VMC_BIND_NO;
    case 0xc7:
        return d->is_mem && ext == 4 ? bind_area(d, u) : VMC_BIND_NO;
    default:
        return VMC_BIND_NO;
    }
}
