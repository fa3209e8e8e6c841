/*
 * SSE conversions: between formats, to and from general registers, to and from MMX registers.
 *
 * Those with an MMX operand are computed by their XMM relatives on the low half, with zeros above, which
 * convert without raising anything. A memory source leaves the x87 state alone, as it does on the processors
 * this was compared with.
 */
#include "cpu/soft/exec/sse.h"

SSE_FP2(cvtps2pd, "cvtps2pd", LD_64)
SSE_FP2(cvtpd2ps, "cvtpd2ps", LD_A128)
SSE_FP2(cvtss2sd, "cvtss2sd", LD_32)
SSE_FP2(cvtsd2ss, "cvtsd2ss", LD_64)
SSE_FP2(cvtdq2ps, "cvtdq2ps", LD_A128)
SSE_FP2(cvtps2dq, "cvtps2dq", LD_A128)
SSE_FP2(cvttps2dq, "cvttps2dq", LD_A128)
SSE_FP2(cvtdq2pd, "cvtdq2pd", LD_64)
SSE_FP2(cvtpd2dq, "cvtpd2dq", LD_A128)
SSE_FP2(cvttpd2dq, "cvttpd2dq", LD_A128)

/* ---- general register -> scalar ---- */

#define FROM_GENERAL(name, insn, bits)                                                                       \
    SSE_FP(name##_rr, uint##bits##_t i_ = R##bits(c, u->rm); __m128i a_ = XMM(c, u->reg);                    \
           __m128i d_, d_ = a_; __asm__ volatile(insn " %1, %0"                                              \
                                                 : "+x"(d_)                                                  \
                                                 : "r"(i_)),                                                 \
                                XMM(c, u->reg) = d_)                                                         \
    SSE_FP(name##_rm, uint##bits##_t i_ = vmc_ld##bits(c, u, vmc_ea(c, u)); __m128i a_ = XMM(c, u->reg);     \
           __m128i d_, d_ = a_; __asm__ volatile(insn " %1, %0"                                              \
                                                 : "+x"(d_)                                                  \
                                                 : "r"(i_)),                                                 \
                                XMM(c, u->reg) = d_)
FROM_GENERAL(cvtsi2ss, "cvtsi2ssl", 32)
FROM_GENERAL(cvtsi2sd, "cvtsi2sdl", 32)
FROM_GENERAL(cvtsi2ssq, "cvtsi2ssq", 64)
FROM_GENERAL(cvtsi2sdq, "cvtsi2sdq", 64)

/* ---- scalar -> general register; 32-bit results clear the upper half ---- */

#define TO_GENERAL(name, insn, bits, LD)                                                                     \
    SSE_FP(name##_rr, __m128i b_ = XMM(c, u->rm); uint##bits##_t i_,                                         \
                                                  __asm__ volatile(insn " %1, %0"                            \
                                                                   : "=r"(i_)                                \
                                                                   : "x"(b_)),                               \
                                                  R64(c, u->reg) = i_)                                       \
    SSE_FP(name##_rm, __m128i b_ = LD(c, u); uint##bits##_t i_,                                              \
                                             __asm__ volatile(insn " %1, %0"                                 \
                                                              : "=r"(i_)                                     \
                                                              : "x"(b_)),                                    \
                                             R64(c, u->reg) = i_)
TO_GENERAL(cvtss2si, "cvtss2si", 32, LD_32)
TO_GENERAL(cvtss2siq, "cvtss2si", 64, LD_32)
TO_GENERAL(cvttss2si, "cvttss2si", 32, LD_32)
TO_GENERAL(cvttss2siq, "cvttss2si", 64, LD_32)
TO_GENERAL(cvtsd2si, "cvtsd2si", 32, LD_64)
TO_GENERAL(cvtsd2siq, "cvtsd2si", 64, LD_64)
TO_GENERAL(cvttsd2si, "cvttsd2si", 32, LD_64)
TO_GENERAL(cvttsd2siq, "cvttsd2si", 64, LD_64)

/* ---- MMX -> XMM ---- */

SSE_FP(cvtpi2ps_rr, SSE_GUARD(c, u); MMX_GUARD(c, u); __m128i b_ = VEC64(MM(c, u->rm));
       __m128i d_,
       __asm__ volatile("cvtdq2ps %1, %0"
                        : "=x"(d_)
                        : "x"(b_)),
       XMM(c, u->reg) = _mm_blend_epi16(XMM(c, u->reg), d_, 0x0f))
SSE_FP(cvtpi2ps_rm, __m128i b_ = LD_64(c, u); __m128i d_,
                                              __asm__ volatile("cvtdq2ps %1, %0"
                                                               : "=x"(d_)
                                                               : "x"(b_)),
                                              XMM(c, u->reg) = _mm_blend_epi16(XMM(c, u->reg), d_, 0x0f))
SSE_FP(cvtpi2pd_rr, SSE_GUARD(c, u); MMX_GUARD(c, u); __m128i b_ = VEC64(MM(c, u->rm));
       __m128i d_,
       __asm__ volatile("cvtdq2pd %1, %0"
                        : "=x"(d_)
                        : "x"(b_)),
       XMM(c, u->reg) = d_)
SSE_FP(cvtpi2pd_rm, __m128i b_ = LD_64(c, u); __m128i d_,
                                              __asm__ volatile("cvtdq2pd %1, %0"
                                                               : "=x"(d_)
                                                               : "x"(b_)),
                                              XMM(c, u->reg) = d_)

/* ---- XMM -> MMX ---- */

#define TO_MMX(name, insn, low, LD, size)                                                                    \
    SSE_FP(name##_rr, MMX_GUARD(c, u); __m128i b_ = low(XMM(c, u->rm)); __m128i d_,                          \
                                                                        __asm__ volatile(insn " %1, %0"      \
                                                                                         : "=x"(d_)          \
                                                                                         : "x"(b_)),         \
                                                                        MM_SET(c, u->reg, LOW64(d_)))        \
    SSE_FP(name##_rm, MMX_GUARD_MEM(c, u, size, VMC_READ); __m128i b_ = LD(c, u);                            \
           __m128i d_,                                                                                       \
           __asm__ volatile(insn " %1, %0"                                                                   \
                            : "=x"(d_)                                                                       \
                            : "x"(b_)),                                                                      \
           MM_SET(c, u->reg, LOW64(d_)))
TO_MMX(cvtps2pi, "cvtps2dq", _mm_move_epi64, LD_64, 8)
TO_MMX(cvttps2pi, "cvttps2dq", _mm_move_epi64, LD_64, 8)
TO_MMX(cvtpd2pi, "cvtpd2dq", , LD_A128, 16)
TO_MMX(cvttpd2pi, "cvttpd2dq", , LD_A128, 16)
