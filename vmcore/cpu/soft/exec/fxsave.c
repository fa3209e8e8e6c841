/*
 * FXSAVE, FXRSTOR, LDMXCSR, STMXCSR, and what shares their opcodes: fences, CLFLUSH; MOVNTI and prefetches
 * beside them.
 *
 * The image is VmcCpu.fx itself (SDM vol. 1 section 10.5, vol. 2 FXSAVE). 32-bit formats keep the low halves
 * of FIP and FDP with zero selectors; XMM8-15 exist in 64-bit mode only; without CR4.OSFXSR neither XMM
 * registers nor MXCSR take part, which is what AMD does and Intel allows. Bytes 416 to 511 are never touched.
 */
#include "cpu/soft/exec/sse.h"

#define IMAGE_SIZE  416u /* header, eight ST, sixteen XMM */
#define IMAGE_XMM   160u
#define IMAGE_XMM8  288u
#define IMAGE_WHOLE 512u /* what is checked for access */

static uint64_t image_address(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    if (c->fx_guard & FXG_NO_X87)
        vmc_fault(c, EXC_NM);
    uint64_t va = vmc_ea(c, u);
    if ((va & 3) && c->cpl == 3 && (c->cr0 & CR0_AM) && (c->eflags & FL_AC))
        vmc_fault_code(c, EXC_AC, 0);
    if (va & 15)
        vmc_gp0(c);
    return va;
}

static unsigned image_size(const VmcCpu *c, const struct vmc_uop *u)
{
    if (!(c->cr4 & CR4_OSFXSR))
        return IMAGE_XMM;
    return u->x & VMC_FXSAVE_64BIT ? IMAGE_SIZE : IMAGE_XMM8;
}

static VMC_NOINLINE void fxsave(VmcCpu *c, const struct vmc_uop *u)
{
    uint64_t va = image_address(c, u);
    struct vmc_fx image;
    vmc_probe(c, u, va + IMAGE_WHOLE - 1, 1, VMC_WRITE); /* the end is looked at first */
    vmc_probe(c, u, va, IMAGE_WHOLE, VMC_WRITE);
    vmc_x87_sync(c);
    c->fx.mxcsr = vmc_mxcsr_get(c);
    image = c->fx;
    if (!(u->x & VMC_FXSAVE_W)) {
        image.fip = (uint32_t)image.fip;
        image.fdp = (uint32_t)image.fdp;
    }
    image.reserved = 0;
    vmc_write_bytes(c, u, va, &image, image_size(c, u));
}

static VMC_NOINLINE void fxrstor(VmcCpu *c, const struct vmc_uop *u)
{
    uint64_t va = image_address(c, u);
    unsigned size = image_size(c, u);
    struct vmc_fx image;
    vmc_probe(c, u, va + IMAGE_WHOLE - 1, 1, VMC_READ); /* the end is looked at first */
    vmc_read_bytes(c, u, va, &image, IMAGE_WHOLE);
    if (size > IMAGE_XMM && (image.mxcsr & ~VMC_MXCSR_VALID))
        vmc_gp0(c);
    vmc_x87_sync(c);
    memcpy(c->fx.st, image.st, sizeof(c->fx.st));
    for (unsigned i = 0; i < 8; i++)
        memset(c->fx.st[i] + 10, 0, 6);
    c->fx.ftw = image.ftw;
    c->fx.fop = image.fop & 0x7ff;
    c->fx.fip = u->x & VMC_FXSAVE_W ? image.fip : (uint32_t)image.fip;
    c->fx.fdp = u->x & VMC_FXSAVE_W ? image.fdp : (uint32_t)image.fdp;
    c->fx.fsw = image.fsw; /* with its TOP: st[] came in that order */
    vmc_x87_set_control(c, image.fcw);
    if (size > IMAGE_XMM) {
        memcpy(c->fx.xmm, image.xmm, size - IMAGE_XMM);
        vmc_mxcsr_set(c, image.mxcsr);
    }
}

void vmc_op_fxsave(VmcCpu *c, const struct vmc_uop *u)
{
    fxsave(c, u);
    VMC_NEXT(c, u);
}
void vmc_op_fxrstor(VmcCpu *c, const struct vmc_uop *u)
{
    fxrstor(c, u);
    VMC_NEXT(c, u);
}

/* ---- MXCSR ---- */

static VMC_NOINLINE void ldmxcsr(VmcCpu *c, const struct vmc_uop *u, uint32_t value)
{
    c->cur = u;
    if (value & ~VMC_MXCSR_VALID)
        vmc_gp0(c);
    vmc_mxcsr_set(c, value);
}
static VMC_NOINLINE uint32_t stmxcsr(VmcCpu *c)
{
    return vmc_mxcsr_get(c);
}

void vmc_op_ldmxcsr(VmcCpu *c, const struct vmc_uop *u)
{
    SSE_GUARD(c, u);
    ldmxcsr(c, u, vmc_ld32(c, u, vmc_ea(c, u)));
    VMC_NEXT(c, u);
}
void vmc_op_stmxcsr(VmcCpu *c, const struct vmc_uop *u)
{
    SSE_GUARD(c, u);
    vmc_st32(c, u, vmc_ea(c, u), stmxcsr(c));
    VMC_NEXT(c, u);
}

void vmc_op_vldmxcsr(VmcCpu *c, const struct vmc_uop *u)
{
    if (vmc_unlikely(c->fx_guard & FXG_NO_AVX))
        vmc_avx_refuse(c, u);
    ldmxcsr(c, u, vmc_ld32(c, u, vmc_ea(c, u)));
    VMC_NEXT(c, u);
}
void vmc_op_vstmxcsr(VmcCpu *c, const struct vmc_uop *u)
{
    if (vmc_unlikely(c->fx_guard & FXG_NO_AVX))
        vmc_avx_refuse(c, u);
    vmc_st32(c, u, vmc_ea(c, u), stmxcsr(c));
    VMC_NEXT(c, u);
}

/* ---- caches and order; none of these minds CR0.TS, CR0.EM or CR4.OSFXSR ---- */

void vmc_op_clflush(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_probe(c, u, vmc_ea(c, u), 1, VMC_READ);
    VMC_NEXT(c, u);
}
void vmc_op_lfence(VmcCpu *c, const struct vmc_uop *u)
{
    _mm_lfence();
    VMC_NEXT(c, u);
}
void vmc_op_mfence(VmcCpu *c, const struct vmc_uop *u)
{
    _mm_mfence();
    VMC_NEXT(c, u);
}
void vmc_op_sfence(VmcCpu *c, const struct vmc_uop *u)
{
    _mm_sfence();
    VMC_NEXT(c, u);
}
void vmc_op_movnti32(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_st32(c, u, vmc_ea(c, u), R32(c, u->reg));
    VMC_NEXT(c, u);
}
void vmc_op_movnti64(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_st64(c, u, vmc_ea(c, u), R64(c, u->reg));
    VMC_NEXT(c, u);
}
void vmc_op_prefetch(VmcCpu *c, const struct vmc_uop *u)
{
    VMC_NEXT(c, u);
}
