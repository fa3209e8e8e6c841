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

/*
 * Memory operands by kind: A128 has to be aligned, U128 not; what lies above 64, 32 and 16 bits is zero; I64
 * and I32 are integers. LD_ is the general way, HOST_ what to do with a host pointer.
 */
#define LD_A128(c, u) vmc_ld128((c), (u), vmc_ea_aligned((c), (u)))
#define LD_U128(c, u) vmc_ld128((c), (u), vmc_ea((c), (u)))
#define LD_64(c, u)   VEC64(LD_I64(c, u))
#define LD_32(c, u)   _mm_cvtsi32_si128((int)LD_I32(c, u))
#define LD_16(c, u)   _mm_cvtsi32_si128(vmc_ld16((c), (u), vmc_ea((c), (u))))
#define LD_I64(c, u)  vmc_ld64((c), (u), vmc_ea((c), (u)))
#define LD_I32(c, u)  vmc_ld32((c), (u), vmc_ea((c), (u)))
#define HOST_A128(p)  _mm_loadu_si128((const __m128i *)(p))
#define HOST_U128(p)  HOST_A128(p)
#define HOST_64(p)    _mm_loadl_epi64((const __m128i *)(p))
#define HOST_32(p)    _mm_cvtsi32_si128((int)HOST_I32(p))
#define HOST_16(p)    _mm_cvtsi32_si128(*(const uint16_t *)(p))
#define HOST_I64(p)   (*(const uint64_t *)(p))
#define HOST_I32(p)   (*(const uint32_t *)(p))
#define SIZE_A128     16
#define SIZE_U128     16
#define SIZE_64       8
#define SIZE_32       4
#define SIZE_16       2
#define SIZE_I64      8
#define SIZE_I32      4
#define ODD_A128      15
#define ODD_U128      0
#define ODD_64        0
#define ODD_32        0
#define ODD_16        0
#define ODD_I64       0
#define ODD_I32       0

#define FAST_KIND(GUARD, KIND, TAG, slow) FAST_HOST_ALIGNED(GUARD, SIZE_##KIND, ODD_##KIND, TAG, slow)

/* The same for an address of base and displacement, 64 bits, no segment: the commonest of all. */
#define FAST_BASE_KIND(GUARD, KIND, TAG, slow)                                                               \
    uint64_t va_ = R64(c, u->base) + (uint64_t)(int64_t)u->disp;                                             \
    FAST_HOST_AT(va_, GUARD, SIZE_##KIND, ODD_##KIND, TAG, slow)

/* d = insn(d, s) */
#define VEC_OP(insn, d, s) __asm__ volatile(insn " %1, %0" : "+x"(d) : "x"(s))

/* A handler whose memory operand is s_, of KIND and type TYPE, and which ends in STMT. */
#define SSE_LOAD(name, TYPE, KIND, STMT)                                                                     \
    static VMC_NOINLINE void slow_##name(VmcCpu *c, const struct vmc_uop *u)                                 \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        TYPE s_ = LD_##KIND(c, u);                                                                           \
        STMT;                                                                                                \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    VMC_SSE_HANDLER(name)                                                                                    \
    {                                                                                                        \
        FAST_KIND(FXG_NO_SSE, KIND, tag_read, slow_##name);                                                  \
        TYPE s_ = HOST_##KIND(p_);                                                                           \
        STMT;                                                                                                \
        VMC_NEXT(c, u);                                                                                      \
    }
/* Beside it, for the hottest: the handler name_base, which the binder takes where base and displacement are
 * all. */
#define SSE_LOAD_BASE(name, TYPE, KIND, STMT)                                                                \
    SSE_LOAD(name, TYPE, KIND, STMT)                                                                         \
    VMC_SSE_HANDLER(name##_base)                                                                             \
    {                                                                                                        \
        FAST_BASE_KIND(FXG_NO_SSE, KIND, tag_read, slow_##name);                                             \
        TYPE s_ = HOST_##KIND(p_);                                                                           \
        STMT;                                                                                                \
        VMC_NEXT(c, u);                                                                                      \
    }
/* The same without a memory operand: s_ is READ. */
#define SSE_REGISTER(name, TYPE, READ, STMT)                                                                 \
    VMC_SSE_HANDLER(name)                                                                                    \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        TYPE s_ = READ;                                                                                      \
        STMT;                                                                                                \
        VMC_NEXT(c, u);                                                                                      \
    }
/* Both forms of an instruction with an XMM register or memory as s_. */
#define SSE_BOTH(name, KIND, STMT)                                                                           \
    SSE_REGISTER(name##_rr, __m128i, XMM(c, u->rm), STMT)                                                    \
    SSE_LOAD(name##_rm, __m128i, KIND, STMT)

/* dst = insn(dst, src) without arithmetic exceptions. */
#define SSE_DST(insn)                                                                                        \
    __m128i d_ = XMM(c, u->reg);                                                                             \
    VEC_OP(insn, d_, s_);                                                                                    \
    XMM(c, u->reg) = d_
#define SSE_INT2(name, insn) SSE_BOTH(name, A128, SSE_DST(insn))

/*
 * Handlers with arithmetic exceptions. s_ is the operand as above; SETUP comes first, RUN computes (it may
 * run twice) and COMMIT writes the result. While the guest has unmasked something all goes another way, where
 * the host's flags are looked at before COMMIT (fx.h).
 */
#define SSE_FP_BODY(name, TYPE, SETUP, RUN, COMMIT)                                                          \
    VMC_ALWAYS_INLINE void name##_body(VmcCpu *c, const struct vmc_uop *u, TYPE s_, bool look)               \
    {                                                                                                        \
        uint32_t look_ = 0;                                                                                  \
        SETUP;                                                                                               \
        do {                                                                                                 \
            if (look)                                                                                        \
                look_ = vmc_xm_begin(c, look_);                                                              \
            RUN;                                                                                             \
        } while (look && (look_ = vmc_xm_end(c, u, look_)) != 0);                                            \
        COMMIT;                                                                                              \
    }                                                                                                        \
    static VMC_NOINLINE void name##_looked(VmcCpu *c, const struct vmc_uop *u, TYPE s_)                      \
    {                                                                                                        \
        name##_body(c, u, s_, true);                                                                         \
    }                                                                                                        \
    G_GNUC_UNUSED VMC_ALWAYS_INLINE void name##_either(VmcCpu *c, const struct vmc_uop *u, TYPE s_)          \
    {                                                                                                        \
        if (vmc_unlikely(c->fx_guard & FXG_XM))                                                              \
            name##_looked(c, u, s_);                                                                         \
        else                                                                                                 \
            name##_body(c, u, s_, false);                                                                    \
    }

#define SSE_FP_REGISTER(name, TYPE, READ, SETUP, RUN, COMMIT)                                                \
    SSE_FP_BODY(name, TYPE, SETUP, RUN, COMMIT)                                                              \
    static VMC_NOINLINE void slow_##name(VmcCpu *c, const struct vmc_uop *u)                                 \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        name##_looked(c, u, READ);                                                                           \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    VMC_SSE_HANDLER(name)                                                                                    \
    {                                                                                                        \
        if (vmc_unlikely(c->fx_guard & FXG_SSE_FP)) {                                                        \
            slow_##name(c, u);                                                                               \
            return;                                                                                          \
        }                                                                                                    \
        name##_body(c, u, READ, false);                                                                      \
        VMC_NEXT(c, u);                                                                                      \
    }
#define SSE_FP_LOAD(name, TYPE, KIND, SETUP, RUN, COMMIT)                                                    \
    SSE_FP_BODY(name, TYPE, SETUP, RUN, COMMIT)                                                              \
    static VMC_NOINLINE void slow_##name(VmcCpu *c, const struct vmc_uop *u)                                 \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        name##_either(c, u, LD_##KIND(c, u));                                                                \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    VMC_SSE_HANDLER(name)                                                                                    \
    {                                                                                                        \
        FAST_KIND(FXG_SSE_FP, KIND, tag_read, slow_##name);                                                  \
        name##_body(c, u, HOST_##KIND(p_), false);                                                           \
        VMC_NEXT(c, u);                                                                                      \
    }
#define SSE_FP_BOTH(name, KIND, SETUP, RUN, COMMIT)                                                          \
    SSE_FP_REGISTER(name##_rr, __m128i, XMM(c, u->rm), SETUP, RUN, COMMIT)                                   \
    SSE_FP_LOAD(name##_rm, __m128i, KIND, SETUP, RUN, COMMIT)

/* dst = insn(dst, src) with arithmetic exceptions. */
#define SSE_FP_SETUP                                                                                         \
    __m128i a_ = XMM(c, u->reg);                                                                             \
    __m128i d_
#define SSE_FP_COMMIT XMM(c, u->reg) = d_
#define SSE_FP2(name, insn, KIND)                                                                            \
    SSE_FP_BOTH(name, KIND, SSE_FP_SETUP, d_ = a_; VEC_OP(insn, d_, s_), SSE_FP_COMMIT)

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

/* MASKMOVDQU and MASKMOVQ, also VEX-encoded: stores those bytes of `value` whose bit in `mask` is set
 * (sse_move.c). */
void vmc_store_masked(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size, __m128i value,
                      unsigned mask);
/* Their memory operand: DS:rDI, another segment if a prefix says so (sse_bind.c). */
void vmc_bind_rdi(const struct vmc_insn *d, struct vmc_uop *u);

/* ---- fxsave.c: 0F AE, MOVNTI, prefetches ---- */
enum { VMC_FXSAVE_64BIT = 1, VMC_FXSAVE_W = 2 }; /* u->x of FXSAVE and FXRSTOR: 64-bit mode, REX.W */
void vmc_op_fxsave(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_fxrstor(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_ldmxcsr(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_stmxcsr(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_vldmxcsr(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_vstmxcsr(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_clflush(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_lfence(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_mfence(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_sfence(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_movnti32(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_movnti64(VmcCpu *c, const struct vmc_uop *u);
void vmc_op_prefetch(VmcCpu *c, const struct vmc_uop *u);
