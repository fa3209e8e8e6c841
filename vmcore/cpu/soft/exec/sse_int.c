/*
 * SSE integer arithmetic, logic, shifts, shuffles and blends: nothing here raises arithmetic exceptions, and
 * nothing but PTEST touches the flags. The bitwise and unpacking floating-point instructions (ANDPS, UNPCKLPS
 * ...) are these, too.
 */
#include "cpu/soft/exec/sse.h"

SSE_INT2(punpcklbw, "punpcklbw")
SSE_INT2(punpcklwd, "punpcklwd")
SSE_INT2(punpckldq, "punpckldq")
SSE_INT2(punpcklqdq, "punpcklqdq")
SSE_INT2(punpckhbw, "punpckhbw")
SSE_INT2(punpckhwd, "punpckhwd")
SSE_INT2(punpckhdq, "punpckhdq")
SSE_INT2(punpckhqdq, "punpckhqdq")
SSE_INT2(packsswb, "packsswb")
SSE_INT2(packssdw, "packssdw")
SSE_INT2(packuswb, "packuswb")
SSE_INT2(packusdw, "packusdw")
SSE_INT2(pcmpgtb, "pcmpgtb")
SSE_INT2(pcmpgtw, "pcmpgtw")
SSE_INT2(pcmpgtd, "pcmpgtd")
SSE_INT2(pcmpgtq, "pcmpgtq")
SSE_INT2(pcmpeqb, "pcmpeqb")
SSE_INT2(pcmpeqw, "pcmpeqw")
SSE_INT2(pcmpeqd, "pcmpeqd")
SSE_INT2(pcmpeqq, "pcmpeqq")
SSE_INT2(psrlw, "psrlw")
SSE_INT2(psrld, "psrld")
SSE_INT2(psrlq, "psrlq")
SSE_INT2(psraw, "psraw")
SSE_INT2(psrad, "psrad")
SSE_INT2(psllw, "psllw")
SSE_INT2(pslld, "pslld")
SSE_INT2(psllq, "psllq")
SSE_INT2(paddb, "paddb")
SSE_INT2(paddw, "paddw")
SSE_INT2(paddd, "paddd")
SSE_INT2(paddq, "paddq")
SSE_INT2(paddsb, "paddsb")
SSE_INT2(paddsw, "paddsw")
SSE_INT2(paddusb, "paddusb")
SSE_INT2(paddusw, "paddusw")
SSE_INT2(psubb, "psubb")
SSE_INT2(psubw, "psubw")
SSE_INT2(psubd, "psubd")
SSE_INT2(psubq, "psubq")
SSE_INT2(psubsb, "psubsb")
SSE_INT2(psubsw, "psubsw")
SSE_INT2(psubusb, "psubusb")
SSE_INT2(psubusw, "psubusw")
SSE_INT2(pmullw, "pmullw")
SSE_INT2(pmulld, "pmulld")
SSE_INT2(pmulhw, "pmulhw")
SSE_INT2(pmulhuw, "pmulhuw")
SSE_INT2(pmulhrsw, "pmulhrsw")
SSE_INT2(pmuludq, "pmuludq")
SSE_INT2(pmuldq, "pmuldq")
SSE_INT2(pmaddwd, "pmaddwd")
SSE_INT2(pmaddubsw, "pmaddubsw")
SSE_INT2(psadbw, "psadbw")
SSE_INT2(pavgb, "pavgb")
SSE_INT2(pavgw, "pavgw")
SSE_INT2(pminub, "pminub")
SSE_INT2(pminuw, "pminuw")
SSE_INT2(pminud, "pminud")
SSE_INT2(pminsb, "pminsb")
SSE_INT2(pminsw, "pminsw")
SSE_INT2(pminsd, "pminsd")
SSE_INT2(pmaxub, "pmaxub")
SSE_INT2(pmaxuw, "pmaxuw")
SSE_INT2(pmaxud, "pmaxud")
SSE_INT2(pmaxsb, "pmaxsb")
SSE_INT2(pmaxsw, "pmaxsw")
SSE_INT2(pmaxsd, "pmaxsd")
SSE_INT2(pand, "pand")
SSE_INT2(pandn, "pandn")
SSE_INT2(por, "por")
SSE_INT2(pxor, "pxor")
SSE_INT2(pshufb, "pshufb")
SSE_INT2(phaddw, "phaddw")
SSE_INT2(phaddd, "phaddd")
SSE_INT2(phaddsw, "phaddsw")
SSE_INT2(phsubw, "phsubw")
SSE_INT2(phsubd, "phsubd")
SSE_INT2(phsubsw, "phsubsw")
SSE_INT2(psignb, "psignb")
SSE_INT2(psignw, "psignw")
SSE_INT2(psignd, "psignd")
SSE_INT2(pabsb, "pabsb")
SSE_INT2(pabsw, "pabsw")
SSE_INT2(pabsd, "pabsd")
SSE_INT2(phminposuw, "phminposuw")

/* ---- widening moves: less than 16 bytes are read ---- */

#define PMOVX(name, KIND) SSE_BOTH(name, KIND, SSE_DST(#name))
PMOVX(pmovsxbw, 64)
PMOVX(pmovsxbd, 32)
PMOVX(pmovsxbq, 16)
PMOVX(pmovsxwd, 64)
PMOVX(pmovsxwq, 32)
PMOVX(pmovsxdq, 64)
PMOVX(pmovzxbw, 64)
PMOVX(pmovzxbd, 32)
PMOVX(pmovzxbq, 16)
PMOVX(pmovzxwd, 64)
PMOVX(pmovzxwq, 32)
PMOVX(pmovzxdq, 64)

/* ---- blends by XMM0 ---- */

#define BLENDV(name, fn, cast, back)                                                                         \
    SSE_BOTH(name, A128, XMM(c, u->reg) = back(fn(cast(XMM(c, u->reg)), cast(s_), cast(XMM(c, 0)))))
BLENDV(pblendvb, _mm_blendv_epi8, , )
BLENDV(blendvps, _mm_blendv_ps, _mm_castsi128_ps, _mm_castps_si128)
BLENDV(blendvpd, _mm_blendv_pd, _mm_castsi128_pd, _mm_castpd_si128)

/* ---- PTEST ---- */

static inline void ptest(VmcCpu *c, __m128i d, __m128i s)
{
    vmc_set_arith(c, (_mm_testz_si128(d, s) ? FL_ZF : 0) | (_mm_testc_si128(d, s) ? FL_CF : 0));
}
SSE_BOTH(ptest, A128, ptest(c, XMM(c, u->reg), s_))

/* ---- shuffles of dwords by immediate, as PSHUFB with a table ---- */

#define D4(k) (k) * 4, (k)*4 + 1, (k)*4 + 2, (k)*4 + 3
#define ROW(i)                                                                                               \
    {                                                                                                        \
        D4((i)&3), D4((i) >> 2 & 3), D4((i) >> 4 & 3), D4((i) >> 6 & 3)                                      \
    }
#define ROWS4(i)  ROW(i), ROW((i) + 1), ROW((i) + 2), ROW((i) + 3)
#define ROWS16(i) ROWS4(i), ROWS4((i) + 4), ROWS4((i) + 8), ROWS4((i) + 12)
#define ROWS64(i) ROWS16(i), ROWS16((i) + 16), ROWS16((i) + 32), ROWS16((i) + 48)
static const uint8_t dword_shuffle[256][16]
    __attribute__((aligned(16))) = {ROWS64(0), ROWS64(64), ROWS64(128), ROWS64(192)};

static inline __m128i shuffle_dwords(__m128i v, int64_t imm)
{
    return _mm_shuffle_epi8(v, *(const __m128i *)dword_shuffle[(uint8_t)imm]);
}

SSE_BOTH(pshufd, A128, XMM(c, u->reg) = shuffle_dwords(s_, u->imm))

/* The low two dwords come from the destination, the high two from the source. */
static inline __m128i shuffle_two(__m128i d, __m128i s, int64_t imm)
{
    return _mm_blend_epi16(shuffle_dwords(d, imm), shuffle_dwords(s, imm), 0xf0);
}
SSE_BOTH(shufps, A128, XMM(c, u->reg) = shuffle_two(XMM(c, u->reg), s_, u->imm))

/* ---- everything else with an immediate: the code is in u->imm (sse_stubs.c) ---- */

SSE_BOTH(imm, A128, XMM(c, u->reg) = KERNEL(u)(XMM(c, u->reg), s_))
SSE_BOTH(insertps, 32, XMM(c, u->reg) = KERNEL(u)(XMM(c, u->reg), s_))

/* ---- shifts by immediate: groups 12, 13, 14 ---- */

#define Z16 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80
const uint8_t vmc_byte_shift[48] = {Z16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, Z16};

#define SHIFT_IMM(name)                                                                                      \
    VMC_SSE_HANDLER(name##_imm)                                                                              \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        __m128i d = XMM(c, u->rm);                                                                           \
        __asm__(#name " %1, %0" : "+x"(d) : "x"(_mm_cvtsi32_si128((int)u->imm)));                            \
        XMM(c, u->rm) = d;                                                                                   \
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

/* The binder has capped the count at 16. */
VMC_SSE_HANDLER(psrldq_imm)
{
    SSE_GUARD(c, u);
    XMM(c, u->rm) =
        _mm_shuffle_epi8(XMM(c, u->rm), _mm_loadu_si128((const void *)(vmc_byte_shift + 16 + u->imm)));
    VMC_NEXT(c, u);
}
VMC_SSE_HANDLER(pslldq_imm)
{
    SSE_GUARD(c, u);
    XMM(c, u->rm) =
        _mm_shuffle_epi8(XMM(c, u->rm), _mm_loadu_si128((const void *)(vmc_byte_shift + 16 - u->imm)));
    VMC_NEXT(c, u);
}
