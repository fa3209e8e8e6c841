/*
 * SSE floating-point arithmetic and comparison, run by the host's own instructions with the guest's MXCSR
 * (fx.h).
 */
#include "cpu/soft/exec/sse.h"

#define SSE_FP_ALL(op)                                                                                       \
    SSE_FP2(op##ps, #op "ps", A128)                                                                          \
    SSE_FP2(op##pd, #op "pd", A128)                                                                          \
    SSE_FP2(op##ss, #op "ss", 32)                                                                            \
    SSE_FP2(op##sd, #op "sd", 64)

SSE_FP_ALL(add)
SSE_FP_ALL(sub)
SSE_FP_ALL(mul)
SSE_FP_ALL(div)
SSE_FP_ALL(min)
SSE_FP_ALL(max)
SSE_FP_ALL(sqrt)

SSE_FP2(haddps, "haddps", A128)
SSE_FP2(haddpd, "haddpd", A128)
SSE_FP2(hsubps, "hsubps", A128)
SSE_FP2(hsubpd, "hsubpd", A128)
SSE_FP2(addsubps, "addsubps", A128)
SSE_FP2(addsubpd, "addsubpd", A128)

/* The approximations raise nothing. */
SSE_INT2(rcpps, "rcpps")
SSE_INT2(rsqrtps, "rsqrtps")

SSE_BOTH(rcpss, 32, SSE_DST("rcpss"))
SSE_BOTH(rsqrtss, 32, SSE_DST("rsqrtss"))

/* ---- with an immediate: CMPxx, ROUNDxx, DPxx; the code is in u->imm (sse_stubs.c) ---- */

#define SSE_FP_IMM(name, KIND) SSE_FP_BOTH(name, KIND, SSE_FP_SETUP, d_ = KERNEL(u)(a_, s_), SSE_FP_COMMIT)
SSE_FP_IMM(fimm, A128)
SSE_FP_IMM(fimm32, 32)
SSE_FP_IMM(fimm64, 64)

/* ---- COMISx, UCOMISx: ZF PF CF by the comparison, OF SF AF cleared ---- */

#define COMPARE_RUN(insn, f, a, s)                                                                           \
    __asm__ volatile(insn " %2, %1\n\tlahf\n\tmovzbl %%ah, %0" : "=&a"(f) : "x"(a), "x"(s) : "cc")
#define COMPARE(name, KIND)                                                                                  \
    SSE_FP_BOTH(name, KIND, __m128i a_ = XMM(c, u->reg);                                                     \
                uint32_t f_, COMPARE_RUN(#name, f_, a_, s_), vmc_set_arith(c, f_))
COMPARE(comiss, 32)
COMPARE(comisd, 64)
COMPARE(ucomiss, 32)
COMPARE(ucomisd, 64)
