/*
 * SSE conversions: between formats, to and from general registers, to and from MMX registers.
 *
 * Those with an MMX operand are computed by their XMM relatives on the low half, with zeros above, which
 * convert without raising anything. A memory source leaves the x87 state alone, as it does on the processors
 * this was compared with.
 */
#include "cpu/soft/exec/sse.h"

SSE_FP2(cvtps2pd, "cvtps2pd", 64)
SSE_FP2(cvtpd2ps, "cvtpd2ps", A128)
SSE_FP2(cvtss2sd, "cvtss2sd", 32)
SSE_FP2(cvtsd2ss, "cvtsd2ss", 64)
SSE_FP2(cvtdq2ps, "cvtdq2ps", A128)
SSE_FP2(cvtps2dq, "cvtps2dq", A128)
SSE_FP2(cvttps2dq, "cvttps2dq", A128)
SSE_FP2(cvtdq2pd, "cvtdq2pd", 64)
SSE_FP2(cvtpd2dq, "cvtpd2dq", A128)
SSE_FP2(cvttpd2dq, "cvttpd2dq", A128)

/* ---- general register -> scalar ---- */

#define SCALAR_OF(insn, d, i) __asm__ volatile(insn " %1, %0" : "+x"(d) : "r"(i))
#define FROM_GENERAL(name, insn, bits)                                                                       \
    SSE_FP_REGISTER(name##_rr, uint##bits##_t, R##bits(c, u->rm), SSE_FP_SETUP, d_ = a_;                     \
                    SCALAR_OF(insn, d_, s_), SSE_FP_COMMIT)                                                  \
    SSE_FP_LOAD(name##_rm, uint##bits##_t, I##bits, SSE_FP_SETUP, d_ = a_;                                   \
                SCALAR_OF(insn, d_, s_), SSE_FP_COMMIT)
FROM_GENERAL(cvtsi2ss, "cvtsi2ssl", 32)
FROM_GENERAL(cvtsi2sd, "cvtsi2sdl", 32)
FROM_GENERAL(cvtsi2ssq, "cvtsi2ssq", 64)
FROM_GENERAL(cvtsi2sdq, "cvtsi2sdq", 64)

/* ---- scalar -> general register; 32-bit results clear the upper half ---- */

#define INTEGER_OF(insn, i, s) __asm__ volatile(insn " %1, %0" : "=r"(i) : "x"(s))
#define TO_GENERAL(name, insn, bits, KIND)                                                                   \
    SSE_FP_BOTH(name, KIND, uint##bits##_t i_, INTEGER_OF(insn, i_, s_), R64(c, u->reg) = i_)
TO_GENERAL(cvtss2si, "cvtss2si", 32, 32)
TO_GENERAL(cvtss2siq, "cvtss2si", 64, 32)
TO_GENERAL(cvttss2si, "cvttss2si", 32, 32)
TO_GENERAL(cvttss2siq, "cvttss2si", 64, 32)
TO_GENERAL(cvtsd2si, "cvtsd2si", 32, 64)
TO_GENERAL(cvtsd2siq, "cvtsd2si", 64, 64)
TO_GENERAL(cvttsd2si, "cvttsd2si", 32, 64)
TO_GENERAL(cvttsd2siq, "cvttsd2si", 64, 64)

/* ---- with MMX registers ---- */

#define CONVERTED(insn, d, s) __asm__ volatile(insn " %1, %0" : "=x"(d) : "x"(s))
/* GUARD sets up the MMX state; the operand is READ. */
#define WITH_MMX(name, GUARD, READ, insn, COMMIT)                                                            \
    SSE_FP_BODY(name, __m128i, __m128i d_, CONVERTED(insn, d_, s_), COMMIT)                                  \
    VMC_SSE_HANDLER(name)                                                                                    \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        GUARD;                                                                                               \
        name##_either(c, u, READ);                                                                           \
        VMC_NEXT(c, u);                                                                                      \
    }

#define LOW_HALF(c, u) XMM(c, u->reg) = _mm_blend_epi16(XMM(c, u->reg), d_, 0x0f)
WITH_MMX(cvtpi2ps_rr, MMX_GUARD(c, u), VEC64(MM(c, u->rm)), "cvtdq2ps", LOW_HALF(c, u))
WITH_MMX(cvtpi2ps_rm, , LD_64(c, u), "cvtdq2ps", LOW_HALF(c, u))
WITH_MMX(cvtpi2pd_rr, MMX_GUARD(c, u), VEC64(MM(c, u->rm)), "cvtdq2pd", XMM(c, u->reg) = d_)
WITH_MMX(cvtpi2pd_rm, , LD_64(c, u), "cvtdq2pd", XMM(c, u->reg) = d_)

#define TO_MMX(name, insn, LOW, KIND)                                                                        \
    WITH_MMX(name##_rr, MMX_GUARD(c, u), LOW(XMM(c, u->rm)), insn, MM_SET(c, u->reg, LOW64(d_)))             \
    WITH_MMX(name##_rm, MMX_GUARD_MEM(c, u, SIZE_##KIND, VMC_READ), LD_##KIND(c, u), insn,                   \
             MM_SET(c, u->reg, LOW64(d_)))
TO_MMX(cvtps2pi, "cvtps2dq", _mm_move_epi64, 64)
TO_MMX(cvttps2pi, "cvttps2dq", _mm_move_epi64, 64)
TO_MMX(cvtpd2pi, "cvtpd2dq", , A128)
TO_MMX(cvttpd2pi, "cvttpd2dq", , A128)
