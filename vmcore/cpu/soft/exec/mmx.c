/*
 * MMX: 64-bit integer vectors that live in the x87 registers (SDM vol. 1 chapter 9).
 *
 * They are computed in the low half of XMM registers with the SSE form of the same instruction; the host's
 * own MMX registers, which are the host's x87 registers, are never touched. Where SSE differs on the low half
 * (packing, horizontal sums, high unpacking, shuffles) the operands are arranged first.
 */
#include "cpu/soft/exec/sse.h"

/* Both forms of a = EXPR of a and b, the operands in the low halves; KIND is 64 or 32, the bits read from
 * memory. */
#define MMX_OP(name, KIND, EXPR)                                                                             \
    VMC_SSE_HANDLER(mmx_##name##_rr)                                                                         \
    {                                                                                                        \
        MMX_GUARD(c, u);                                                                                     \
        __m128i a = VEC64(MM(c, u->reg)), b = VEC64(MM(c, u->rm));                                           \
        EXPR;                                                                                                \
        MM_SET(c, u->reg, LOW64(a));                                                                         \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    static VMC_NOINLINE void slow_##name(VmcCpu *c, const struct vmc_uop *u)                                 \
    {                                                                                                        \
        MMX_GUARD_MEM(c, u, KIND / 8, VMC_READ);                                                             \
        __m128i b = LD_##KIND(c, u), a = VEC64(MM(c, u->reg));                                               \
        EXPR;                                                                                                \
        MM_SET(c, u->reg, LOW64(a));                                                                         \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    VMC_SSE_HANDLER(mmx_##name##_rm)                                                                         \
    {                                                                                                        \
        FAST_KIND(FXG_MMX, KIND, tag_read, slow_##name);                                                     \
        __m128i b = HOST_##KIND(p_), a = VEC64(MM(c, u->reg));                                               \
        EXPR;                                                                                                \
        MM_SET(c, u->reg, LOW64(a));                                                                         \
        VMC_NEXT(c, u);                                                                                      \
    }

/* Lane by lane. */
#define MMX_LANES(name) MMX_OP(name, 64, VEC_OP(#name, a, b))
/* The two operands one behind the other, then once over both. */
#define MMX_JOINED(name) MMX_OP(name, 64, a = _mm_unpacklo_epi64(a, b); VEC_OP(#name, a, a))
/* High unpacking: what the low form leaves in the upper half. */
#define MMX_HIGH(name, low) MMX_OP(name, 64, VEC_OP(low, a, b); a = _mm_unpackhi_epi64(a, a))
/* Low unpacking reads 32 bits of memory only. */
#define MMX_LOW(name) MMX_OP(name, 32, VEC_OP(#name, a, b))

MMX_LOW(punpcklbw)
MMX_LOW(punpcklwd)
MMX_LOW(punpckldq)
MMX_HIGH(punpckhbw, "punpcklbw")
MMX_HIGH(punpckhwd, "punpcklwd")
MMX_HIGH(punpckhdq, "punpckldq")
MMX_JOINED(packsswb)
MMX_JOINED(packssdw)
MMX_JOINED(packuswb)
MMX_JOINED(phaddw)
MMX_JOINED(phaddd)
MMX_JOINED(phaddsw)
MMX_JOINED(phsubw)
MMX_JOINED(phsubd)
MMX_JOINED(phsubsw)
MMX_LANES(pcmpgtb)
MMX_LANES(pcmpgtw)
MMX_LANES(pcmpgtd)
MMX_LANES(pcmpeqb)
MMX_LANES(pcmpeqw)
MMX_LANES(pcmpeqd)
MMX_LANES(psrlw)
MMX_LANES(psrld)
MMX_LANES(psrlq)
MMX_LANES(psraw)
MMX_LANES(psrad)
MMX_LANES(psllw)
MMX_LANES(pslld)
MMX_LANES(psllq)
MMX_LANES(paddb)
MMX_LANES(paddw)
MMX_LANES(paddd)
MMX_LANES(paddq)
MMX_LANES(paddsb)
MMX_LANES(paddsw)
MMX_LANES(paddusb)
MMX_LANES(paddusw)
MMX_LANES(psubb)
MMX_LANES(psubw)
MMX_LANES(psubd)
MMX_LANES(psubq)
MMX_LANES(psubsb)
MMX_LANES(psubsw)
MMX_LANES(psubusb)
MMX_LANES(psubusw)
MMX_LANES(pmullw)
MMX_LANES(pmulhw)
MMX_LANES(pmulhuw)
MMX_LANES(pmulhrsw)
MMX_LANES(pmuludq)
MMX_LANES(pmaddwd)
MMX_LANES(pmaddubsw)
MMX_LANES(psadbw)
MMX_LANES(pavgb)
MMX_LANES(pavgw)
MMX_LANES(pminub)
MMX_LANES(pminsw)
MMX_LANES(pmaxub)
MMX_LANES(pmaxsw)
MMX_LANES(pand)
MMX_LANES(pandn)
MMX_LANES(por)
MMX_LANES(pxor)
MMX_LANES(psignb)
MMX_LANES(psignw)
MMX_LANES(psignd)
MMX_LANES(pabsb)
MMX_LANES(pabsw)
MMX_LANES(pabsd)
/* Eight bytes to choose from, not sixteen. */
MMX_OP(pshufb, 64, b = _mm_and_si128(b, _mm_set1_epi8((char)0x87)); VEC_OP("pshufb", a, b))
/* The immediate, capped at 16 by the binder, shifts destination:source right. */
MMX_OP(palignr, 64, a = _mm_unpacklo_epi64(b, a);
       a = _mm_shuffle_epi8(a, _mm_loadu_si128((const void *)(vmc_byte_shift + 16 + u->imm))))
/* PSHUFW: the code for the immediate is in u->imm (sse_stubs.c). */
MMX_OP(imm, 64, a = KERNEL(u)(a, b))

/* ---- shifts by immediate ---- */

#define SHIFT_IMM(name)                                                                                      \
    VMC_SSE_HANDLER(mmx_##name##_imm)                                                                        \
    {                                                                                                        \
        MMX_GUARD(c, u);                                                                                     \
        __m128i a = VEC64(MM(c, u->rm));                                                                     \
        __asm__(#name " %1, %0" : "+x"(a) : "x"(_mm_cvtsi32_si128((int)u->imm)));                            \
        MM_SET(c, u->rm, LOW64(a));                                                                          \
        VMC_NEXT(c, u);                                                                                      \
    }
SHIFT_IMM(psrlw)
SHIFT_IMM(psrld)
SHIFT_IMM(psrlq)
SHIFT_IMM(psraw)
SHIFT_IMM(psrad)
SHIFT_IMM(psllw)
SHIFT_IMM(pslld)
SHIFT_IMM(psllq)

/* ---- moves ---- */

VMC_SSE_HANDLER(mmx_movq_rr)
{
    MMX_GUARD(c, u);
    MM_SET(c, u->reg, MM(c, u->rm));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mmx_movq_rm)
{
    MMX_GUARD_MEM(c, u, 8, VMC_READ);
    uint64_t v = LD_I64(c, u);
    MM_SET(c, u->reg, v);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mmx_movq_st_rr)
{
    MMX_GUARD(c, u);
    MM_SET(c, u->rm, MM(c, u->reg));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mmx_movq_st_rm)
{
    MMX_GUARD_MEM(c, u, 8, VMC_WRITE);
    vmc_st64(c, u, vmc_ea(c, u), MM(c, u->reg));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mmx_movd_rr)
{
    MMX_GUARD(c, u);
    MM_SET(c, u->reg, R32(c, u->rm));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mmx_movd_rm)
{
    MMX_GUARD_MEM(c, u, 4, VMC_READ);
    uint32_t v = LD_I32(c, u);
    MM_SET(c, u->reg, v);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mmx_movd_q_rr)
{
    MMX_GUARD(c, u);
    MM_SET(c, u->reg, R64(c, u->rm));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mmx_movd_q_rm)
{
    MMX_GUARD_MEM(c, u, 8, VMC_READ);
    uint64_t v = LD_I64(c, u);
    MM_SET(c, u->reg, v);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mmx_movd_st_rr)
{
    MMX_GUARD(c, u);
    R64(c, u->rm) = (uint32_t)MM(c, u->reg);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mmx_movd_st_rm)
{
    MMX_GUARD_MEM(c, u, 4, VMC_WRITE);
    vmc_st32(c, u, vmc_ea(c, u), (uint32_t)MM(c, u->reg));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mmx_movd_q_st_rr)
{
    MMX_GUARD(c, u);
    R64(c, u->rm) = MM(c, u->reg);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mmx_movd_q_st_rm)
{
    MMX_GUARD_MEM(c, u, 8, VMC_WRITE);
    vmc_st64(c, u, vmc_ea(c, u), MM(c, u->reg));
    VMC_NEXT(c, u);
}

/* ---- to and from general registers ---- */

VMC_SSE_HANDLER(mmx_pmovmskb_rr)
{
    MMX_GUARD(c, u);
    R64(c, u->reg) = (uint32_t)_mm_movemask_epi8(VEC64(MM(c, u->rm)));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mmx_pextrw_rr)
{
    MMX_GUARD(c, u);
    R64(c, u->reg) = (uint16_t)(MM(c, u->rm) >> (u->imm & 3) * 16);
    VMC_NEXT(c, u);
}

static inline uint64_t with_word(uint64_t v, int64_t imm, uint16_t word)
{
    unsigned shift = (imm & 3) * 16;
    return (v & ~(0xffffull << shift)) | (uint64_t)word << shift;
}
VMC_SSE_HANDLER(mmx_pinsrw_rr)
{
    MMX_GUARD(c, u);
    MM_SET(c, u->reg, with_word(MM(c, u->reg), u->imm, R16(c, u->rm)));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mmx_pinsrw_rm)
{
    MMX_GUARD_MEM(c, u, 2, VMC_READ);
    uint16_t v = vmc_ld16(c, u, vmc_ea(c, u));
    MM_SET(c, u->reg, with_word(MM(c, u->reg), u->imm, v));
    VMC_NEXT(c, u);
}

/* EMMS: all tags empty; the next x87 instruction finds an empty stack with TOP = 0. */
VMC_SSE_HANDLER(emms)
{
    MMX_GUARD(c, u);
    c->fx.ftw = 0;
    c->fx_guard |= FXG_MMX_OUT;
    VMC_NEXT(c, u);
}
