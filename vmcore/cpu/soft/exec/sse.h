/*
 * What the SSE and MMX handler files share: register operands, memory operands, and the shapes most handlers
 * have.
 *
 * The binder (sse_bind.c) makes u->reg and u->rm byte offsets into VmcCpu.fx.xmm or VmcCpu.fx.st for vector
 * registers, and leaves them as they are (uop.h) for general ones. Handlers are named
 * vmc_sse_<instruction>_rr and _rm, one per form of ModRM; sse_ops.h lists them all.
 *
 * Computation is the host's own instruction, in inline assembly where the order of operands matters (which
 * NaN comes out), so that results are the host's to the last bit.
 */
#pragma once

#include <smmintrin.h>

#include "cpu/soft/exec/fx.h"
#include "cpu/soft/flags.h"

/* Register operands by the offset the binder made. */
#define XMM(c, o)   (*(__m128i *)((char *)(c)->fx.xmm + (o)))
#define XMM64(c, o) (*(uint64_t *)((char *)(c)->fx.xmm + (o)))
#define XMM32(c, o) (*(uint32_t *)((char *)(c)->fx.xmm + (o)))
#define XMM16(c, o) (*(uint16_t *)((char *)(c)->fx.xmm + (o)))
#define XMM8(c, o)  (*((uint8_t *)(c)->fx.xmm + (o)))
#define MM(c, o)    (*(uint64_t *)((char *)(c)->fx.st + (o)))
/* Writing MMi makes the exponent of its x87 register all ones (SDM vol. 1, 9.5.1). */
#define MM_SET(c, o, v)                                                                                      \
    do {                                                                                                     \
        MM(c, o) = (v);                                                                                      \
        *(uint16_t *)((char *)(c)->fx.st + (o) + 8) = 0xffff;                                                \
    } while (0)
#define VEC64(v) _mm_cvtsi64_si128((long long)(v))
#define LOW64(v) ((uint64_t)_mm_cvtsi128_si64(v))

#define VMC_SSE_HANDLER(name) void vmc_sse_##name(VmcCpu *c, const struct vmc_uop *u)

/* First thing in every SSE handler without arithmetic exceptions. */
#define SSE_GUARD(c, u)                                                                                      \
    do {                                                                                                     \
        if (vmc_unlikely((c)->fx_guard & FXG_NO_SSE))                                                        \
            vmc_sse_refuse((c), (u));                                                                        \
    } while (0)
#define MMX_GUARD(c, u)                                                                                      \
    do {                                                                                                     \
        if (vmc_unlikely((c)->fx_guard & FXG_MMX))                                                           \
            vmc_mmx_in((c), (u));                                                                            \
    } while (0)
#define MMX_GUARD_MEM(c, u, size, access)                                                                    \
    do {                                                                                                     \
        if (vmc_unlikely((c)->fx_guard & FXG_MMX))                                                           \
            vmc_mmx_in_mem((c), (u), (size), (access));                                                      \
    } while (0)

/* Memory operands as vectors; what lies above the operand is zero. */
#define LD_A128(c, u) vmc_ld128((c), (u), vmc_ea_aligned((c), (u)))
#define LD_U128(c, u) vmc_ld128((c), (u), vmc_ea((c), (u)))
#define LD_64(c, u)   VEC64(vmc_ld64((c), (u), vmc_ea((c), (u))))
#define LD_32(c, u)   _mm_cvtsi32_si128((int)vmc_ld32((c), (u), vmc_ea((c), (u))))
#define LD_16(c, u)   _mm_cvtsi32_si128(vmc_ld16((c), (u), vmc_ea((c), (u))))

/* dst = insn(dst, src) without arithmetic exceptions. */
#define SSE_INT2(name, insn)                                                                                 \
    VMC_SSE_HANDLER(name##_rr)                                                                               \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        __m128i d_ = XMM(c, u->reg);                                                                         \
        __asm__(insn " %1, %0" : "+x"(d_) : "xm"(XMM(c, u->rm)));                                            \
        XMM(c, u->reg) = d_;                                                                                 \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    VMC_SSE_HANDLER(name##_rm)                                                                               \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        __m128i s_ = LD_A128(c, u);                                                                          \
        __m128i d_ = XMM(c, u->reg);                                                                         \
        __asm__(insn " %1, %0" : "+x"(d_) : "x"(s_));                                                        \
        XMM(c, u->reg) = d_;                                                                                 \
        VMC_NEXT(c, u);                                                                                      \
    }

/*
 * A handler with arithmetic exceptions. LOAD declares and fetches the operands, RUN computes from them (it
 * may run twice) and COMMIT writes the result. While the guest has unmasked something the whole goes another
 * way, out of line, where the host's flags are looked at before COMMIT (fx.h).
 */
#define SSE_FP(name, LOAD, RUN, COMMIT)                                                                      \
    VMC_ALWAYS_INLINE void name##_body(VmcCpu *c, const struct vmc_uop *u, bool look)                        \
    {                                                                                                        \
        uint32_t s_ = 0;                                                                                     \
        LOAD;                                                                                                \
        do {                                                                                                 \
            if (look)                                                                                        \
                s_ = vmc_xm_begin(c, s_);                                                                    \
            RUN;                                                                                             \
        } while (look && (s_ = vmc_xm_end(c, u, s_)) != 0);                                                  \
        COMMIT;                                                                                              \
    }                                                                                                        \
    static VMC_NOINLINE void name##_looked(VmcCpu *c, const struct vmc_uop *u)                               \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        name##_body(c, u, true);                                                                             \
    }                                                                                                        \
    VMC_SSE_HANDLER(name)                                                                                    \
    {                                                                                                        \
        if (vmc_unlikely(c->fx_guard & FXG_SSE_FP))                                                          \
            name##_looked(c, u);                                                                             \
        else                                                                                                 \
            name##_body(c, u, false);                                                                        \
        VMC_NEXT(c, u);                                                                                      \
    }

/* dst = insn(dst, src) with arithmetic exceptions; LD fetches the memory operand. */
#define SSE_FP2(name, insn, LD)                                                                              \
    SSE_FP(name##_rr, __m128i a_ = XMM(c, u->reg); __m128i b_ = XMM(c, u->rm); __m128i d_, d_ = a_;          \
           __asm__ volatile(insn " %1, %0"                                                                   \
                            : "+x"(d_)                                                                       \
                            : "x"(b_)),                                                                      \
           XMM(c, u->reg) = d_)                                                                              \
    SSE_FP(name##_rm, __m128i b_ = LD(c, u); __m128i a_ = XMM(c, u->reg); __m128i d_, d_ = a_;               \
           __asm__ volatile(insn " %1, %0"                                                                   \
                            : "+x"(d_)                                                                       \
                            : "x"(b_)),                                                                      \
           XMM(c, u->reg) = d_)

/* Instructions with an immediate: one piece of code for each value (sse_stubs.c), its address in u->imm. */
typedef __m128i (*vmc_kernel)(__m128i dst, __m128i src);
#define KERNEL(u) ((vmc_kernel)(u)->imm)

/* Code for `mask + 1` values of an immediate, 1 << shift bytes each. */
struct vmc_stubs {
    const char *code;
    uint8_t mask, shift;
};

/* Sixteen times 0x80, 0..15, sixteen times 0x80: at 16 + n it shifts right n bytes by PSHUFB, at 16 - n left.
 */
extern const uint8_t vmc_byte_shift[48];

/* ---- fxsave.c: 0F AE, MOVNTI, prefetches ---- */
enum { VMC_FXSAVE_64BIT = 1, VMC_FXSAVE_W = 2 }; /* u->x of FXSAVE and FXRSTOR: 64-bit mode, REX.W */
void vmc_op_fxsave(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_fxrstor(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_ldmxcsr(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_stmxcsr(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_clflush(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_lfence(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_mfence(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_sfence(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_movnti32(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_movnti64(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_prefetch(VmcCpu *c, const struct vmc_uop *u);
