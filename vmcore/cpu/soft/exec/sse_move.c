/*
 * SSE data movement: loads, stores, moves between halves, moves to and from general registers, non-temporal
 * and masked stores.
 *
 * Non-temporal hints mean nothing here. An XMM register is always written as a whole 16 bytes where that can
 * be had: a later 16-byte load of two smaller stores would have to wait for both.
 */
#include "cpu/soft/exec/sse.h"

/* A handler that stores VALUE of type TYPE to memory. */
#define SSE_STORE(name, TYPE, KIND, VALUE)                                                                   \
    static VMC_NOINLINE void slow_##name(VmcCpu *c, const struct vmc_uop *u)                                 \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        ST_##KIND(c, u, VALUE);                                                                              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    VMC_SSE_HANDLER(name)                                                                                    \
    {                                                                                                        \
        FAST_KIND(FXG_NO_SSE, KIND, tag_write, slow_##name);                                                 \
        *(TYPE *)p_ = VALUE;                                                                                 \
        VMC_NEXT(c, u);                                                                                      \
    }
#define SSE_STORE_BASE(name, TYPE, KIND, VALUE)                                                              \
    SSE_STORE(name, TYPE, KIND, VALUE)                                                                       \
    VMC_SSE_HANDLER(name##_base)                                                                             \
    {                                                                                                        \
        FAST_BASE_KIND(FXG_NO_SSE, KIND, tag_write, slow_##name);                                            \
        *(TYPE *)p_ = VALUE;                                                                                 \
        VMC_NEXT(c, u);                                                                                      \
    }
#define ST_A128(c, u, v) vmc_st128((c), (u), vmc_ea_aligned((c), (u)), (v))
#define ST_U128(c, u, v) vmc_st128((c), (u), vmc_ea((c), (u)), (v))
#define ST_I64(c, u, v)  vmc_st64((c), (u), vmc_ea((c), (u)), (v))
#define ST_I32(c, u, v)  vmc_st32((c), (u), vmc_ea((c), (u)), (v))

static inline __m128i merge32(__m128i dst, __m128i src)
{
    return _mm_blend_epi16(dst, src, 0x03);
}
static inline __m128i merge64(__m128i dst, __m128i src)
{
    return _mm_blend_epi16(dst, src, 0x0f);
}

/* ---- whole registers ---- */

SSE_REGISTER(mova_rr, __m128i, XMM(c, u->rm), XMM(c, u->reg) = s_)
SSE_REGISTER(movu_rr, __m128i, XMM(c, u->rm), XMM(c, u->reg) = s_)
SSE_LOAD_BASE(mova_rm, __m128i, A128, XMM(c, u->reg) = s_)
SSE_LOAD_BASE(movu_rm, __m128i, U128, XMM(c, u->reg) = s_)
SSE_REGISTER(mova_st_rr, __m128i, XMM(c, u->reg), XMM(c, u->rm) = s_)
SSE_REGISTER(movu_st_rr, __m128i, XMM(c, u->reg), XMM(c, u->rm) = s_)
SSE_STORE_BASE(mova_st_rm, __m128i_u, A128, XMM(c, u->reg))
SSE_STORE_BASE(movu_st_rm, __m128i_u, U128, XMM(c, u->reg))

/* ---- scalars: between registers the rest stays, from memory it is cleared ---- */

SSE_REGISTER(movss_rr, __m128i, XMM(c, u->rm), XMM(c, u->reg) = merge32(XMM(c, u->reg), s_))
SSE_REGISTER(movsd_rr, __m128i, XMM(c, u->rm), XMM(c, u->reg) = merge64(XMM(c, u->reg), s_))
SSE_REGISTER(movss_st_rr, __m128i, XMM(c, u->reg), XMM(c, u->rm) = merge32(XMM(c, u->rm), s_))
SSE_REGISTER(movsd_st_rr, __m128i, XMM(c, u->reg), XMM(c, u->rm) = merge64(XMM(c, u->rm), s_))
SSE_LOAD_BASE(movss_rm, __m128i, 32, XMM(c, u->reg) = s_)
SSE_LOAD_BASE(movsd_rm, __m128i, 64, XMM(c, u->reg) = s_)
SSE_STORE_BASE(movss_st_rm, uint32_t, I32, XMM32(c, u->reg))
SSE_STORE_BASE(movsd_st_rm, uint64_t, I64, XMM64(c, u->reg))

/* MOVQ clears the upper half of an XMM destination. */
SSE_REGISTER(movq_rr, __m128i, XMM(c, u->rm), XMM(c, u->reg) = _mm_move_epi64(s_))
SSE_LOAD_BASE(movq_rm, __m128i, 64, XMM(c, u->reg) = s_)
SSE_REGISTER(movq_st_rr, __m128i, XMM(c, u->reg), XMM(c, u->rm) = _mm_move_epi64(s_))
SSE_STORE_BASE(movq_st_rm, uint64_t, I64, XMM64(c, u->reg))

/* ---- halves: the register forms are MOVHLPS and MOVLHPS ---- */

SSE_REGISTER(movlp_rr, __m128i, XMM(c, u->rm), XMM(c, u->reg) = _mm_unpackhi_epi64(s_, XMM(c, u->reg)))
SSE_REGISTER(movhp_rr, __m128i, XMM(c, u->rm), XMM(c, u->reg) = _mm_unpacklo_epi64(XMM(c, u->reg), s_))
SSE_LOAD(movlp_rm, __m128i, 64, XMM(c, u->reg) = merge64(XMM(c, u->reg), s_))
SSE_LOAD_BASE(movhp_rm, __m128i, 64, XMM(c, u->reg) = _mm_unpacklo_epi64(XMM(c, u->reg), s_))
SSE_STORE(movlp_st_rm, uint64_t, I64, XMM64(c, u->reg))
SSE_STORE_BASE(movhp_st_rm, uint64_t, I64, XMM64(c, u->reg + 8u))

SSE_BOTH(movddup, 64, XMM(c, u->reg) = _mm_unpacklo_epi64(s_, s_))
SSE_INT2(movsldup, "movsldup")
SSE_INT2(movshdup, "movshdup")

/* ---- general registers ---- */

SSE_REGISTER(movd_rr, uint32_t, R32(c, u->rm), XMM(c, u->reg) = _mm_cvtsi32_si128((int)s_))
SSE_REGISTER(movd_q_rr, uint64_t, R64(c, u->rm), XMM(c, u->reg) = VEC64(s_))
SSE_LOAD(movd_rm, __m128i, 32, XMM(c, u->reg) = s_)
SSE_LOAD(movd_q_rm, __m128i, 64, XMM(c, u->reg) = s_)
SSE_REGISTER(movd_st_rr, uint32_t, XMM32(c, u->reg), R64(c, u->rm) = s_)
SSE_REGISTER(movd_q_st_rr, uint64_t, XMM64(c, u->reg), R64(c, u->rm) = s_)
SSE_STORE(movd_st_rm, uint32_t, I32, XMM32(c, u->reg))
SSE_STORE(movd_q_st_rm, uint64_t, I64, XMM64(c, u->reg))

#define MOVMSK(name, insn)                                                                                   \
    VMC_SSE_HANDLER(name##_rr)                                                                               \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        uint32_t r;                                                                                          \
        __asm__(insn " %1, %0" : "=r"(r) : "x"(XMM(c, u->rm)));                                              \
        R64(c, u->reg) = r;                                                                                  \
        VMC_NEXT(c, u);                                                                                      \
    }
MOVMSK(movmskps, "movmskps")
MOVMSK(movmskpd, "movmskpd")
MOVMSK(pmovmskb, "pmovmskb")

/* PEXTRx and PINSRx: the element is chosen by the immediate's low bits. */
#define PEXTR(name, bits, lanes)                                                                             \
    VMC_SSE_HANDLER(name##_rr)                                                                               \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        R64(c, u->rm) = XMM##bits(c, u->reg + (u->imm & ((lanes)-1)) * (bits / 8));                          \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    VMC_SSE_HANDLER(name##_rm)                                                                               \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        vmc_st##bits(c, u, vmc_ea(c, u), XMM##bits(c, u->reg + (u->imm & ((lanes)-1)) * (bits / 8)));        \
        VMC_NEXT(c, u);                                                                                      \
    }
PEXTR(pextrb, 8, 16)
PEXTR(pextrw_3a, 16, 8)
PEXTR(pextrd, 32, 4)
PEXTR(pextrq, 64, 2)

VMC_SSE_HANDLER(pextrw_rr) /* 0F C5: the general register is in ModRM.reg */
{
    SSE_GUARD(c, u);
    R64(c, u->reg) = XMM16(c, u->rm + (u->imm & 7) * 2);
    VMC_NEXT(c, u);
}

#define PINSR(name, bits, lanes)                                                                             \
    VMC_SSE_HANDLER(name##_rr)                                                                               \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        XMM##bits(c, u->reg + (u->imm & ((lanes)-1)) * (bits / 8)) = R##bits(c, u->rm);                      \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    VMC_SSE_HANDLER(name##_rm)                                                                               \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        uint##bits##_t v = vmc_ld##bits(c, u, vmc_ea(c, u));                                                 \
        XMM##bits(c, u->reg + (u->imm & ((lanes)-1)) * (bits / 8)) = v;                                      \
        VMC_NEXT(c, u);                                                                                      \
    }
PINSR(pinsrb, 8, 16)
PINSR(pinsrw, 16, 8)
PINSR(pinsrd, 32, 4)
PINSR(pinsrq, 64, 2)

/* ---- masked store ---- */

VMC_NOINLINE void vmc_store_masked(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size,
                                   __m128i value, unsigned mask)
{
    uint8_t bytes[16];
    memcpy(bytes, &value, sizeof(bytes));
    for (unsigned i = 0; i < size; i += 8) /* all of it must be writable, whatever the mask says */
        vmc_probe(c, u, va + i, 8, VMC_WRITE);
    for (unsigned i = 0; i < size; i++)
        if (mask >> i & 1)
            vmc_st8(c, u, va + i, bytes[i]);
}

VMC_SSE_HANDLER(maskmovdqu_rr)
{
    SSE_GUARD(c, u);
    vmc_store_masked(c, u, vmc_ea(c, u), 16, XMM(c, u->reg), (unsigned)_mm_movemask_epi8(XMM(c, u->rm)));
    VMC_NEXT(c, u);
}

/* The MMX state is set up by whatever loaded the registers, as a rule; a fault after setting it up here is of
 * no consequence to the MMX registers themselves. */
VMC_SSE_HANDLER(maskmovq_rr)
{
    MMX_GUARD(c, u);
    vmc_store_masked(c, u, vmc_ea(c, u), 8, VEC64(MM(c, u->reg)),
                     (unsigned)_mm_movemask_epi8(VEC64(MM(c, u->rm))));
    VMC_NEXT(c, u);
}

/* ---- between XMM and MMX ---- */

VMC_SSE_HANDLER(movq2dq_rr)
{
    SSE_GUARD(c, u);
    MMX_GUARD(c, u);
    XMM(c, u->reg) = VEC64(MM(c, u->rm));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movdq2q_rr)
{
    SSE_GUARD(c, u);
    MMX_GUARD(c, u);
    MM_SET(c, u->reg, XMM64(c, u->rm));
    VMC_NEXT(c, u);
}
