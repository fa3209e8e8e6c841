/*
 * Where floating-point state lives and how it moves (fx.h), and the exceptions of x87, MMX and SSE
 * instructions.
 *
 * x87 moves by FXRSTOR and FXSAVE of a whole image of our own; these also move XMM registers and MXCSR, so
 * the image's MXCSR is the host's current one and the compiler is told that the XMM registers are gone.
 *
 * FIP, FDP and FOP are kept by the handlers in VmcCpu.fx and never taken from the host, whose registers would
 * tell addresses of ours. FCS and FDS read as zero, which CPUID.(7,0):EBX[13] announces.
 *
 * CR0.NE clear: a pending exception goes out on FERR#, and software answers with IGNNE#. Nothing listens on
 * that wire here, so such instructions run on as under IGNNE#: the pending flags are set aside in x87_carry,
 * for the host would fault on them, and come back with the next save.
 *
 * Sources: Intel SDM vol. 1 chapters 8 (8.1.3.3, 8.7), 9.5, 11.5; vol. 3 section 2.5 and tables 13-1, 14-2.
 */
#include "cpu/soft/exec/fx.h"

#define MXCSR_MASKS 0x1f80u
#define MXCSR_FTZ   0x8000u
#define MXCSR_HOST  0x1f80u /* what the C library expects */

#define XM_AGAIN  0x80000000u /* in the state of xm_begin/xm_end: second run */
#define XM_UE     0x10u
#define XM_BEFORE 0x7u /* IE, DE, ZE come up before the computation */

/* ---- what keeps a handler from running ---- */

void vmc_fx_update(VmcCpu *c)
{
    uint8_t g = c->fx_guard & (FXG_X87_OUT | FXG_MMX_OUT);
    if (c->cr0 & (CR0_EM | CR0_TS))
        g |= FXG_NO_X87 | FXG_NO_SSE;
    if (!(c->cr4 & CR4_OSFXSR))
        g |= FXG_NO_SSE;
    if (!vmc_has_vex(c))
        g |= FXG_NO_VEX;
    if (!vmc_has_avx(c) || (c->cr0 & CR0_TS))
        g |= FXG_NO_AVX;
    c->xm_unmasked = (c->fx.mxcsr & MXCSR_MASKS) != MXCSR_MASKS;
    if (c->xm_unmasked)
        g |= FXG_XM;
    if (~c->fx.fcw & FSW_FLAGS)
        g |= FXG_X87_UNMASKED;
    bool changed = ((g ^ c->fx_guard) & (FXG_SSE_FP | FXG_AVX_FP)) != 0;
    c->fx_guard = g;
    if (changed)
        vmc_soft_update_mode(c);
}

VMC_NOINLINE void vmc_sse_refuse(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    vmc_fault(c, (c->cr0 & CR0_EM) || !(c->cr4 & CR4_OSFXSR) ? EXC_UD : EXC_NM);
}

VMC_NOINLINE void vmc_avx_refuse(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    vmc_fault(c, vmc_has_avx(c) ? EXC_NM : EXC_UD);
}

VMC_NOINLINE void vmc_sse_unaligned(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    vmc_gp0(c);
}

uint64_t vmc_ea_aligned_slow(VmcCpu *c, const struct vmc_uop *u)
{
    if ((vmc_ea_offset(c, u) + c->seg_base[u->seg]) & 15)
        vmc_sse_unaligned(c, u);
    return vmc_ea(c, u);
}

VMC_NOINLINE void vmc_x87_check_nm(VmcCpu *c, const struct vmc_uop *u)
{
    if (!(c->fx_guard & FXG_NO_X87))
        return;
    c->cur = u;
    vmc_fault(c, EXC_NM);
}

static void check_mf(VmcCpu *c, const struct vmc_uop *u)
{
    /* In the host nothing is pending. */
    if (!(c->fx_guard & FXG_X87_OUT) || !(c->fx.fsw & FSW_ES) || !(c->cr0 & CR0_NE))
        return;
    c->cur = u;
    vmc_fault(c, EXC_MF);
}

VMC_NOINLINE void vmc_x87_check(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_x87_check_nm(c, u);
    check_mf(c, u);
}

/* ---- MXCSR ---- */

uint32_t vmc_mxcsr_get(VmcCpu *c)
{
    return (c->fx.mxcsr & ~FSW_FLAGS) | (vmc_host_mxcsr() & FSW_FLAGS);
}

void vmc_mxcsr_set(VmcCpu *c, uint32_t value)
{
    c->fx.mxcsr = value & VMC_MXCSR_VALID;
    vmc_set_host_mxcsr(c->fx.mxcsr | MXCSR_MASKS);
    vmc_fx_update(c);
}

void vmc_fx_enter(VmcCpu *c)
{
    c->fx_guard = FXG_X87_OUT | FXG_MMX_OUT;
    c->x87_carry = 0;
    c->fx.mxcsr_mask = VMC_MXCSR_VALID;
    vmc_mxcsr_set(c, c->fx.mxcsr);
    vmc_x87_set_control(c, c->fx.fcw);
    vmc_x87_set_status(c, c->fx.fsw);
}

void vmc_fx_leave(VmcCpu *c)
{
    vmc_x87_sync(c);
    c->fx.mxcsr = vmc_mxcsr_get(c);
    vmc_set_host_mxcsr(MXCSR_HOST);
}

/* ---- x87 ---- */

struct fx_image {
    struct vmc_fx fx;
};
_Static_assert(sizeof(struct fx_image) == 512, "FXSAVE image");

static uint16_t with_es(uint16_t fcw, uint16_t fsw)
{
    fsw &= (uint16_t) ~(FSW_ES | FSW_B);
    return fsw & ~fcw & FSW_FLAGS ? fsw | FSW_ES | FSW_B : fsw;
}

void vmc_x87_set_control(VmcCpu *c, uint16_t fcw)
{
    c->fx.fcw = (fcw & 0x1f7f) | 0x40; /* reserved bits read as they do on hardware */
    c->fx.fsw = with_es(c->fx.fcw, c->fx.fsw);
    vmc_fx_update(c);
}

void vmc_x87_set_status(VmcCpu *c, uint16_t fsw)
{
    unsigned turn = ((fsw ^ c->fx.fsw) & FSW_TOP) ? ((fsw >> 11) - (c->fx.fsw >> 11)) & 7 : 0;
    c->fx.fsw = with_es(c->fx.fcw, fsw);
    if (!turn)
        return;
    /* st[] is in stack order: another TOP gives the same physical registers other places. */
    uint8_t old[8][16];
    memcpy(old, c->fx.st, sizeof(old));
    for (unsigned i = 0; i < 8; i++)
        memcpy(c->fx.st[i], old[(i + turn) & 7], 16);
}

void vmc_x87_init(VmcCpu *c)
{
    vmc_x87_set_status(c, 0);
    c->fx.ftw = 0;
    c->fx.fop = 0;
    c->fx.fip = c->fx.fdp = 0;
    vmc_x87_set_control(c, VMC_FCW_INIT);
}

#define ALL_XMM                                                                                              \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",        \
        "xmm12", "xmm13", "xmm14", "xmm15"

VMC_NOINLINE void vmc_x87_sync(VmcCpu *c)
{
    struct fx_image image;
    if (!(c->fx_guard & FXG_X87_OUT)) {
        __asm__ volatile("fxsave %0\n\tfninit" : "=m"(image));
        c->fx.ftw = image.fx.ftw;
        memcpy(c->fx.st, image.fx.st, sizeof(c->fx.st));
        c->fx.fsw = with_es(c->fx.fcw, image.fx.fsw | c->x87_carry);
        c->x87_carry = 0;
    }
    c->fx_guard |= FXG_X87_OUT | FXG_MMX_OUT;
}

VMC_NOINLINE void vmc_x87_in(VmcCpu *c, const struct vmc_uop *u)
{
    struct fx_image image;
    vmc_x87_check(c, u);
    if (!(c->fx_guard & FXG_X87_OUT))
        return;
    if (c->fx.fsw & FSW_ES) { /* CR0.NE is clear */
        c->x87_carry = c->fx.fsw & (FSW_FLAGS | FSW_SF);
        c->fx.fsw &= (uint16_t) ~(FSW_FLAGS | FSW_SF | FSW_ES | FSW_B);
    }
    memcpy(&image, &c->fx, offsetof(struct vmc_fx, xmm));
    memset(image.fx.xmm, 0, sizeof(image) - offsetof(struct vmc_fx, xmm));
    image.fx.fip = image.fx.fdp = image.fx.fop = 0;
    image.fx.mxcsr = vmc_host_mxcsr();
    __asm__ volatile("fxrstor %0" : : "m"(image) : ALL_XMM);
    c->fx_guard = (c->fx_guard & ~FXG_X87_OUT) | FXG_MMX_OUT;
}

VMC_NOINLINE void vmc_x87_after(VmcCpu *c)
{
    uint16_t fsw;
    if (c->fx_guard & FXG_X87_OUT)
        return;
    __asm__ volatile("fnstsw %0" : "=a"(fsw));
    if ((fsw & FSW_ES) || c->x87_carry)
        vmc_x87_sync(c);
}

/* ---- MMX ---- */

static void mmx_check(VmcCpu *c, const struct vmc_uop *u)
{
    if (c->fx_guard & FXG_NO_X87) {
        c->cur = u;
        vmc_fault(c, c->cr0 & CR0_EM ? EXC_UD : EXC_NM);
    }
    check_mf(c, u);
}

static void mmx_set_up(VmcCpu *c)
{
    vmc_x87_sync(c);
    vmc_x87_set_status(c, c->fx.fsw & ~FSW_TOP);
    c->fx.ftw = 0xff;
    c->fx_guard &= ~FXG_MMX_OUT;
}

VMC_NOINLINE void vmc_mmx_in(VmcCpu *c, const struct vmc_uop *u)
{
    mmx_check(c, u);
    if (c->fx_guard & FXG_MMX_OUT)
        mmx_set_up(c);
}

VMC_NOINLINE void vmc_mmx_in_mem(VmcCpu *c, const struct vmc_uop *u, unsigned size, enum vmc_access access)
{
    mmx_check(c, u);
    if (c->fx_guard & FXG_MMX_OUT) {
        vmc_probe(c, u, size == 16 ? vmc_ea_aligned(c, u) : vmc_ea(c, u), size, access);
        mmx_set_up(c);
    }
}

/* ---- #XM ---- */

/*
 * The host computes with everything masked, from clean flags. With underflow unmasked a tiny result is an
 * exception even when it is exact, which masked flags do not tell; but flushing to zero does (UE is then set
 * for every tiny result and nothing else changes), so the first run flushes and only a run that found
 * something tiny is repeated without, for its PE.
 */
uint32_t vmc_xm_begin_value(VmcCpu *c, uint32_t s)
{
    uint32_t host = (s & 0xffff) & ~FSW_FLAGS;
    if ((c->fx.mxcsr >> 7) & XM_UE)
        return host;
    return s & XM_AGAIN ? host & ~MXCSR_FTZ : host | MXCSR_FTZ;
}

uint32_t vmc_xm_finish(VmcCpu *c, const struct vmc_uop *u, uint32_t s, uint32_t flags)
{
    uint32_t unmasked = ~(c->fx.mxcsr >> 7) & FSW_FLAGS;
    if (s & XM_AGAIN)
        flags |= XM_UE;
    else if ((flags & unmasked & XM_UE) && !(flags & unmasked & XM_BEFORE))
        return s | XM_AGAIN;
    /* An unmasked exception from before the computation leaves nothing to find after it (SDM vol. 1, 11.5.3).
     */
    if (flags & unmasked & XM_BEFORE)
        flags &= XM_BEFORE;
    vmc_set_host_mxcsr((s & 0xffff) | flags);
    if (flags & unmasked) {
        c->cur = u;
        vmc_fault(c, c->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
    }
    return 0;
}
