/*
 * The floating-point and vector unit of a software CPU: where its state is, and what keeps a handler from
 * running.
 *
 * While a CPU runs, the host's MXCSR holds the guest's rounding, DAZ and FTZ bits with every exception
 * masked; the guest's sticky flags gather there by themselves. x87 registers are in one of three places, told
 * by two bits of fx_guard:
 *
 * - in the image: VmcCpu.fx, FXSAVE layout; X87_OUT and MMX_OUT set. Everybody may look.
 * - in the host: X87_OUT clear. x87 handlers run the guest's opcodes one after the other without loading or
 *   saving. No exception is ever pending there: one that the guest has unmasked brings the state back to the
 *   image at once.
 * - as MMX: MMX_OUT clear. In the image, TOP = 0, all tags valid, so that MMi is st[i].
 *
 * So each handler tests one byte, and the usual answer is "go on". The host's units are clean again after
 * vmc_fx_leave; until then no code on the CPU's thread may compute in long double, and float and double round
 * as the guest wants it (devices reached from the CPU's thread have no use for either).
 */
#pragma once

#include "cpu/soft/mmu.h"

enum {
    FXG_NO_X87 = 1,        /* CR0.EM or CR0.TS */
    FXG_NO_SSE = 2,        /* CR0.EM, CR0.TS, or CR4.OSFXSR clear */
    FXG_XM = 4,            /* the guest's MXCSR unmasks something */
    FXG_X87_OUT = 8,       /* x87 registers are not in the host */
    FXG_MMX_OUT = 16,      /* the image is not set up for MMX */
    FXG_X87_UNMASKED = 32, /* the guest's x87 control word unmasks something */
    FXG_NO_VEX = 64,       /* real or virtual-8086 mode: there is no VEX */
    FXG_NO_AVX = 128,      /* that, or CR4.OSXSAVE or XCR0 do not enable AVX, or CR0.TS */
};
#define FXG_X87    (FXG_NO_X87 | FXG_X87_OUT)
#define FXG_MMX    (FXG_NO_X87 | FXG_MMX_OUT)
#define FXG_SSE_FP (FXG_NO_SSE | FXG_XM)
#define FXG_AVX_FP (FXG_NO_AVX | FXG_XM)

#define VMC_FCW_INIT    0x037fu
#define VMC_MXCSR_VALID 0xffffu
#define FSW_FLAGS       0x3fu /* IE DE ZE OE UE PE */
#define FSW_SF          0x40u
#define FSW_ES          0x80u
#define FSW_TOP         0x3800u
#define FSW_B           0x8000u

/* On the CPU's thread, around running: loads the guest's control bits into the host, and brings all state
 * back to VmcCpu.fx. */
void vmc_fx_enter(VmcCpu *c);
void vmc_fx_leave(VmcCpu *c);
/* After any change of CR0.PE, CR0.EM, CR0.TS, CR4.OSFXSR, CR4.OSXSAVE, XCR0 or EFLAGS.VM. */
void vmc_fx_update(VmcCpu *c);
/* The guest's MXCSR, between enter and leave. `set`: the caller has checked reserved bits (VMC_MXCSR_VALID).
 */
uint32_t vmc_mxcsr_get(VmcCpu *c);
void vmc_mxcsr_set(VmcCpu *c, uint32_t value);

/* ---- for the handlers ---- */
/* x87 registers into the image; MMX must be set up anew afterwards. */
void vmc_x87_sync(VmcCpu *c);
/* A waiting x87 instruction is about to run: #NM, #MF, else the registers are in the host. */
void vmc_x87_in(VmcCpu *c, const struct vmc_uop *u);
/* #NM and #MF only; the registers stay where they are. */
void vmc_x87_check(VmcCpu *c, const struct vmc_uop *u);
/* #NM only: for instructions that do not wait. */
void vmc_x87_check_nm(VmcCpu *c, const struct vmc_uop *u);
/* After an instruction under FXG_X87_UNMASKED: an exception that became pending brings the registers to the
 * image. */
void vmc_x87_after(VmcCpu *c);
/* Control word, status word (ES worked out anew) and tags of the image; the registers keep their physical
 * places. */
void vmc_x87_set_control(VmcCpu *c, uint16_t fcw);
void vmc_x87_set_status(VmcCpu *c, uint16_t fsw);
void vmc_x87_init(VmcCpu *c); /* FNINIT on the image */

/* An MMX instruction is about to run: #UD, #NM, #MF, else MMi is st[i]. The second form is for memory
 * operands: the access is checked first, so that a page fault leaves the x87 state alone. */
void vmc_mmx_in(VmcCpu *c, const struct vmc_uop *u);
void vmc_mmx_in_mem(VmcCpu *c, const struct vmc_uop *u, unsigned size, enum vmc_access access);
/* #UD or #NM of an SSE instruction, fx_guard having FXG_NO_SSE. */
_Noreturn void vmc_sse_refuse(VmcCpu *c, const struct vmc_uop *u);
_Noreturn void vmc_sse_unaligned(VmcCpu *c, const struct vmc_uop *u);
/* #UD or #NM of a VEX instruction, fx_guard having FXG_NO_VEX or FXG_NO_AVX. */
_Noreturn void vmc_avx_refuse(VmcCpu *c, const struct vmc_uop *u);

/* Whether code of now may have VEX prefixes at all, and name vector registers with them. */
static inline bool vmc_has_vex(const VmcCpu *c)
{
    return (c->cr0 & CR0_PE) && !(c->eflags & FL_VM);
}
static inline bool vmc_has_avx(const VmcCpu *c)
{
    return vmc_has_vex(c) && (c->cr4 & CR4_OSXSAVE) && (c->xcr0 & 6) == 6;
}

#define VMC_ALWAYS_INLINE static inline __attribute__((always_inline))

/* Address of an operand that has to lie on 16 bytes. Not doing so is found before the segment's limit. */
uint64_t vmc_ea_aligned_slow(VmcCpu *c, const struct vmc_uop *u);
VMC_ALWAYS_INLINE uint64_t vmc_ea_aligned(VmcCpu *c, const struct vmc_uop *u)
{
    if (vmc_unlikely(u->flags & UF_EA_SLOW))
        return vmc_ea_aligned_slow(c, u);
    uint64_t va = vmc_ea(c, u);
    if (vmc_unlikely(va & 15))
        vmc_sse_unaligned(c, u);
    return va;
}

/*
 * The fast way to a memory operand, for handlers without a stack frame: leaves p_ a host pointer. Whatever is
 * not a plain TLB hit, and whatever the guard stops, is done by the slow handler, which starts again from
 * nothing.
 */
#define FAST_HOST_ALIGNED(GUARD, size, odd, TAG, slow)                                                       \
    if (vmc_unlikely(u->flags & UF_EA_SLOW)) {                                                               \
        slow(c, u);                                                                                          \
        return;                                                                                              \
    }                                                                                                        \
    uint64_t va_ =                                                                                           \
        R64(c, u->base) + (R64(c, u->index) << u->scale) + (uint64_t)(int64_t)u->disp + c->seg_base[u->seg]; \
    FAST_HOST_AT(va_, GUARD, size, odd, TAG, slow)
#define FAST_HOST_AT(va, GUARD, size, odd, TAG, slow)                                                        \
    const struct vmc_tlb_entry *tlb_ = vmc_tlb_at(c, va);                                                    \
    if (vmc_unlikely(c->fx_guard & (GUARD)) ||                                                               \
        vmc_unlikely(tlb_->TAG != vmc_tlb_want(va, size) || ((va) & (odd)))) {                               \
        slow(c, u);                                                                                          \
        return;                                                                                              \
    }                                                                                                        \
    void *p_ = (void *)((va) + tlb_->addend)
#define FAST_HOST(GUARD, size, TAG, slow) FAST_HOST_ALIGNED(GUARD, size, 0, TAG, slow)

/*
 * Around an SSE computation while the guest has unmasked exceptions, as
 *     s = 0; do { s = vmc_xm_begin(c, s); compute; } while ((s = vmc_xm_end(c, u, s)) != 0); commit
 * The end raises #XM (or #UD) instead of returning if an unmasked exception came up; the computation is run a
 * second time when that is needed to tell its flags.
 */
uint32_t vmc_xm_begin_value(VmcCpu *c, uint32_t s);
uint32_t vmc_xm_finish(VmcCpu *c, const struct vmc_uop *u, uint32_t s, uint32_t flags);

static inline uint32_t vmc_host_mxcsr(void)
{
    uint32_t v = 0;
    __asm__ volatile("stmxcsr %0" : "=m"(v) : : "memory");
    return v;
}
static inline void vmc_set_host_mxcsr(uint32_t v)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(v) : "memory");
}
static inline __attribute__((always_inline)) uint32_t vmc_xm_begin(VmcCpu *c, uint32_t s)
{
    if (!s)
        s = vmc_host_mxcsr();
    vmc_set_host_mxcsr(vmc_xm_begin_value(c, s));
    return s;
}
static inline __attribute__((always_inline)) uint32_t vmc_xm_end(VmcCpu *c, const struct vmc_uop *u,
                                                                 uint32_t s)
{
    return vmc_xm_finish(c, u, s, vmc_host_mxcsr() & FSW_FLAGS);
}
