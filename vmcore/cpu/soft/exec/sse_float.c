/*
 * SSE floating-point arithmetic and comparison, run by the host's own instructions with the guest's MXCSR
 * (fx.h).
 */
#include "cpu/soft/exec/sse.h"

#define SSE_FP_ALL(op)                                                                                       \
    SSE_FP2(op##ps, #op "ps", LD_A128)                                                                       \
    SSE_FP2(op##pd, #op "pd", LD_A128)                                                                       \
    SSE_FP2(op##ss, #op "ss", LD_32)                                                                         \
    SSE_FP2(op##sd, #op "sd", LD_64)

SSE_FP_ALL(add)
SSE_FP_ALL(sub)
SSE_FP_ALL(mul)
SSE_FP_ALL(div)
SSE_FP_ALL(min)
SSE_FP_ALL(max)
SSE_FP_ALL(sqrt)

SSE_FP2(haddps, "haddps", LD_A128)
SSE_FP2(haddpd, "haddpd", LD_A128)
SSE_FP2(hsubps, "hsubps", LD_A128)
SSE_FP2(hsubpd, "hsubpd", LD_A128)
SSE_FP2(addsubps, "addsubps", LD_A128)
SSE_FP2(addsubpd, "addsubpd", LD_A128)

/* The approximations raise nothing. */
SSE_INT2(rcpps, "rcpps")
SSE_INT2(rsqrtps, "rsqrtps")

#define APPROXIMATE(name)                                                                                    \
    VMC_SSE_HANDLER(name##_rr)                                                                               \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        __m128i d = XMM(c, u->reg);                                                                          \
        __asm__(#name " %1, %0" : "+x"(d) : "x"(XMM(c, u->rm)));                                             \
        XMM(c, u->reg) = d;                                                                                  \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    VMC_SSE_HANDLER(name##_rm)                                                                               \
    {                                                                                                        \
        SSE_GUARD(c, u);                                                                                     \
        __m128i s = LD_32(c, u), d = XMM(c, u->reg);                                                         \
        __asm__(#name " %1, %0" : "+x"(d) : "x"(s));                                                         \
        XMM(c, u->reg) = d;                                                                                  \
        VMC_NEXT(c, u);                                                                                      \
    }
APPROXIMATE(rcpss)
APPROXIMATE(rsqrtss)

/* ---- with an immediate: CMPxx, ROUNDxx, DPxx; the code is in u->imm (sse_stubs.c) ---- */

#define SSE_FP_IMM(name, LD)                                                                                 \
    SSE_FP(name##_rr, __m128i a_ = XMM(c, u->reg); __m128i b_ = XMM(c, u->rm);                               \
           __m128i d_, d_ = KERNEL(u)(a_, b_), XMM(c, u->reg) = d_)                                          \
    SSE_FP(name##_rm, __m128i b_ = LD(c, u); __m128i a_ = XMM(c, u->reg);                                    \
           __m128i d_, d_ = KERNEL(u)(a_, b_), XMM(c, u->reg) = d_)
SSE_FP_IMM(fimm, LD_A128)
SSE_FP_IMM(fimm32, LD_32)
SSE_FP_IMM(fimm64, LD_64)

/* ---- COMISx, UCOMISx: ZF PF CF by the comparison, OF SF AF cleared ---- */

#define COMPARE_RUN(insn)                                                                                    \
    __asm__ volatile(insn " %2, %1\n\tlahf\n\tmovzbl %%ah, %0" : "=&a"(f_) : "x"(a_), "x"(b_) : "cc")
#define COMPARE(name, LD)                                                                                    \
    SSE_FP(name##_rr, __m128i a_ = XMM(c, u->reg); __m128i b_ = XMM(c, u->rm);                               \
           uint32_t f_, COMPARE_RUN(#name), vmc_set_arith(c, f_))                                            \
    SSE_FP(name##_rm, __m128i b_ = LD(c, u); __m128i a_ = XMM(c, u->reg);                                    \
           uint32_t f_, COMPARE_RUN(#name), vmc_set_arith(c, f_))
COMPARE(comiss, LD_32)
COMPARE(comisd, LD_64)
COMPARE(ucomiss, LD_32)
COMPARE(ucomisd, LD_64)
