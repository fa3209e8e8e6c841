/*
 * SSE data movement: loads, stores, moves between halves, moves to and from general registers, non-temporal
 * and masked stores.
 *
 * Non-temporal hints mean nothing here. An XMM register is always written as a whole 16 bytes where that can
 * be had: a later 16-byte load of two smaller stores would have to wait for both.
 */
#include "cpu/soft/exec/sse.h"

/* ---- whole registers ---- */

VMC_SSE_HANDLER(mova_rr)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = XMM(c, u->rm);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mova_rm)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = LD_A128(c, u);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mova_st_rr)
{
    SSE_GUARD(c, u);
    XMM(c, u->rm) = XMM(c, u->reg);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(mova_st_rm)
{
    SSE_GUARD(c, u);
    vmc_st128(c, u, vmc_ea_aligned(c, u), XMM(c, u->reg));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movu_rr)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = XMM(c, u->rm);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movu_rm)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = LD_U128(c, u);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movu_st_rr)
{
    SSE_GUARD(c, u);
    XMM(c, u->rm) = XMM(c, u->reg);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movu_st_rm)
{
    SSE_GUARD(c, u);
    vmc_st128(c, u, vmc_ea(c, u), XMM(c, u->reg));
    VMC_NEXT(c, u);
}

/* ---- scalars ---- */

static inline __m128i merge32(__m128i dst, __m128i src)
{
    return _mm_blend_epi16(dst, src, 0x03);
}
static inline __m128i merge64(__m128i dst, __m128i src)
{
    return _mm_blend_epi16(dst, src, 0x0f);
}

VMC_SSE_HANDLER(movss_rr)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = merge32(XMM(c, u->reg), XMM(c, u->rm));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movss_rm)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = LD_32(c, u);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movss_st_rr)
{
    SSE_GUARD(c, u);
    XMM(c, u->rm) = merge32(XMM(c, u->rm), XMM(c, u->reg));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movss_st_rm)
{
    SSE_GUARD(c, u);
    vmc_st32(c, u, vmc_ea(c, u), XMM32(c, u->reg));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movsd_rr)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = merge64(XMM(c, u->reg), XMM(c, u->rm));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movsd_rm)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = LD_64(c, u);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movsd_st_rr)
{
    SSE_GUARD(c, u);
    XMM(c, u->rm) = merge64(XMM(c, u->rm), XMM(c, u->reg));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movsd_st_rm)
{
    SSE_GUARD(c, u);
    vmc_st64(c, u, vmc_ea(c, u), XMM64(c, u->reg));
    VMC_NEXT(c, u);
}

/* MOVQ clears the upper half of an XMM destination. */
VMC_SSE_HANDLER(movq_rr)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = _mm_move_epi64(XMM(c, u->rm));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movq_rm)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = LD_64(c, u);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movq_st_rr)
{
    SSE_GUARD(c, u);
    XMM(c, u->rm) = _mm_move_epi64(XMM(c, u->reg));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movq_st_rm)
{
    SSE_GUARD(c, u);
    vmc_st64(c, u, vmc_ea(c, u), XMM64(c, u->reg));
    VMC_NEXT(c, u);
}

/* ---- halves ---- */

VMC_SSE_HANDLER(movlp_rr) /* MOVHLPS */
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = _mm_unpackhi_epi64(XMM(c, u->rm), XMM(c, u->reg));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movlp_rm)
{
    SSE_GUARD(c, u);
    __m128i s = LD_64(c, u);
    XMM(c, u->reg) = merge64(XMM(c, u->reg), s);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movlp_st_rm)
{
    SSE_GUARD(c, u);
    vmc_st64(c, u, vmc_ea(c, u), XMM64(c, u->reg));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movhp_rr) /* MOVLHPS */
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = _mm_unpacklo_epi64(XMM(c, u->reg), XMM(c, u->rm));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movhp_rm)
{
    SSE_GUARD(c, u);
    __m128i s = LD_64(c, u);
    XMM(c, u->reg) = _mm_unpacklo_epi64(XMM(c, u->reg), s);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movhp_st_rm)
{
    SSE_GUARD(c, u);
    vmc_st64(c, u, vmc_ea(c, u), XMM64(c, u->reg + 8u));
    VMC_NEXT(c, u);
}

VMC_SSE_HANDLER(movddup_rr)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = _mm_unpacklo_epi64(XMM(c, u->rm), XMM(c, u->rm));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movddup_rm)
{
    SSE_GUARD(c, u);
    __m128i s = LD_64(c, u);
    XMM(c, u->reg) = _mm_unpacklo_epi64(s, s);
    VMC_NEXT(c, u);
}
SSE_INT2(movsldup, "movsldup")
SSE_INT2(movshdup, "movshdup")

/* ---- general registers ---- */

VMC_SSE_HANDLER(movd_rr)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = _mm_cvtsi32_si128((int)R32(c, u->rm));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movd_rm)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = LD_32(c, u);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movd_q_rr)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = VEC64(R64(c, u->rm));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movd_q_rm)
{
    SSE_GUARD(c, u);
    XMM(c, u->reg) = LD_64(c, u);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movd_st_rr)
{
    SSE_GUARD(c, u);
    R64(c, u->rm) = XMM32(c, u->reg);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movd_st_rm)
{
    SSE_GUARD(c, u);
    vmc_st32(c, u, vmc_ea(c, u), XMM32(c, u->reg));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movd_q_st_rr)
{
    SSE_GUARD(c, u);
    R64(c, u->rm) = XMM64(c, u->reg);
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(movd_q_st_rm)
{
    SSE_GUARD(c, u);
    vmc_st64(c, u, vmc_ea(c, u), XMM64(c, u->reg));
    VMC_NEXT(c, u);
}

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

static VMC_NOINLINE void store_masked(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size,
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
    store_masked(c, u, vmc_ea(c, u), 16, XMM(c, u->reg), (unsigned)_mm_movemask_epi8(XMM(c, u->rm)));
    VMC_NEXT(c, u);
}

/* The MMX state is set up by whatever loaded the registers, as a rule; a fault after setting it up here is of
 * no consequence to the MMX registers themselves. */
VMC_SSE_HANDLER(maskmovq_rr)
{
    MMX_GUARD(c, u);
    store_masked(c, u, vmc_ea(c, u), 8, VEC64(MM(c, u->reg)),
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
