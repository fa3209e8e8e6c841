/*
 * VEX-encoded floating-point arithmetic, comparison and conversion, run by the host's own instructions with
 * the guest's MXCSR (fx.h).
 */
#include "cpu/soft/exec/avx.h"

#define ALL(op)                                                                                              \
    AVX_3(op##ps, "v" #op "ps", FXG_AVX_FP)                                                                  \
    AVX_3(op##pd, "v" #op "pd", FXG_AVX_FP)                                                                  \
    AVX_3_X(op##ss, "v" #op "ss", 4, FXG_AVX_FP)                                                             \
    AVX_3_X(op##sd, "v" #op "sd", 8, FXG_AVX_FP)
ALL(add)
ALL(sub)
ALL(mul)
ALL(div)
ALL(min)
ALL(max)

AVX_2(sqrtps, "vsqrtps", FXG_AVX_FP)
AVX_2(sqrtpd, "vsqrtpd", FXG_AVX_FP)
AVX_3_X(sqrtss, "vsqrtss", 4, FXG_AVX_FP)
AVX_3_X(sqrtsd, "vsqrtsd", 8, FXG_AVX_FP)

AVX_3(haddps, "vhaddps", FXG_AVX_FP)
AVX_3(haddpd, "vhaddpd", FXG_AVX_FP)
AVX_3(hsubps, "vhsubps", FXG_AVX_FP)
AVX_3(hsubpd, "vhsubpd", FXG_AVX_FP)
AVX_3(addsubps, "vaddsubps", FXG_AVX_FP)
AVX_3(addsubpd, "vaddsubpd", FXG_AVX_FP)

/* The approximations raise nothing. */
AVX_2(rcpps, "vrcpps", FXG_NO_AVX)
AVX_2(rsqrtps, "vrsqrtps", FXG_NO_AVX)
AVX_3_X(rcpss, "vrcpss", 4, FXG_NO_AVX)
AVX_3_X(rsqrtss, "vrsqrtss", 4, FXG_NO_AVX)

/* Bitwise operations and shuffles that AVX2's integer forms could not stand in for: without AVX2 they have
 * 256 bits too. */
AVX_3(andps, "vandps", FXG_NO_AVX)
AVX_3(andnps, "vandnps", FXG_NO_AVX)
AVX_3(orps, "vorps", FXG_NO_AVX)
AVX_3(xorps, "vxorps", FXG_NO_AVX)
AVX_3(unpcklps, "vunpcklps", FXG_NO_AVX)
AVX_3(unpckhps, "vunpckhps", FXG_NO_AVX)
AVX_3(unpcklpd, "vunpcklpd", FXG_NO_AVX)
AVX_3(unpckhpd, "vunpckhpd", FXG_NO_AVX)

/* ---- conversions ---- */

AVX_2_WIDEN(cvtps2pd, "vcvtps2pd", 8, 16, FXG_AVX_FP)
AVX_2_WIDEN(cvtdq2pd, "vcvtdq2pd", 8, 16, FXG_NO_AVX)
AVX_2_WIDEN(cvtph2ps, "vcvtph2ps", 8, 16, FXG_AVX_FP)
AVX_2_NARROW(cvtpd2ps, "vcvtpd2ps")
AVX_2_NARROW(cvtpd2dq, "vcvtpd2dq")
AVX_2_NARROW(cvttpd2dq, "vcvttpd2dq")
AVX_2(cvtdq2ps, "vcvtdq2ps", FXG_AVX_FP)
AVX_2(cvtps2dq, "vcvtps2dq", FXG_AVX_FP)
AVX_2(cvttps2dq, "vcvttps2dq", FXG_AVX_FP)
AVX_3_X(cvtss2sd, "vcvtss2sd", 4, FXG_AVX_FP)
AVX_3_X(cvtsd2ss, "vcvtsd2ss", 8, FXG_AVX_FP)

/* From a general register, or as many bytes of memory. */
#define FROM_GENERAL(name, insn, bytes, mov, reg)                                                            \
    AVX_CODE(name##_x, mov " %xmm2, %" reg "\n    " insn " %" reg ", %xmm1, %xmm0")                          \
    const struct vmc_avx_insn vmc_avx_##name = {                                                             \
        .rr = {vmc_avx_slow_general_##bytes},                                                                \
        .rm = {vmc_avx_slow_general_##bytes},                                                                \
        .code = {vmc_avx_code_##name##_x},                                                                   \
    };
FROM_GENERAL(cvtsi2ss, "vcvtsi2ssl", 4, "vmovd", "eax")
FROM_GENERAL(cvtsi2ssq, "vcvtsi2ssq", 8, "vmovq", "rax")
FROM_GENERAL(cvtsi2sd, "vcvtsi2sdl", 4, "vmovd", "eax")
FROM_GENERAL(cvtsi2sdq, "vcvtsi2sdq", 8, "vmovq", "rax")

/* To one: 32-bit results clear the upper half. */
#define TO_GENERAL(name, insn, bytes, reg)                                                                   \
    AVX_CODE(name##_x, insn " %xmm2, %" reg)                                                                 \
    const struct vmc_avx_insn vmc_avx_##name = {                                                             \
        .rr = {vmc_avx_to_general_##bytes},                                                                  \
        .rm = {vmc_avx_to_general_##bytes},                                                                  \
        .code = {vmc_avx_code_##name##_x},                                                                   \
    };
TO_GENERAL(cvtss2si, "vcvtss2si", 4, "eax")
TO_GENERAL(cvtss2siq, "vcvtss2si", 4, "rax")
TO_GENERAL(cvttss2si, "vcvttss2si", 4, "eax")
TO_GENERAL(cvttss2siq, "vcvttss2si", 4, "rax")
TO_GENERAL(cvtsd2si, "vcvtsd2si", 8, "eax")
TO_GENERAL(cvtsd2siq, "vcvtsd2si", 8, "rax")
TO_GENERAL(cvttsd2si, "vcvttsd2si", 8, "eax")
TO_GENERAL(cvttsd2siq, "vcvttsd2si", 8, "rax")

/* ---- VCOMISx, VUCOMISx: ZF PF CF by the comparison, OF SF AF cleared ---- */

#define COMPARE(name, bytes)                                                                                 \
    AVX_CODE(name##_x, "v" #name " %xmm2, %xmm1\n    lahf\n    movzbl %ah, %eax")                            \
    const struct vmc_avx_insn vmc_avx_##name = {                                                             \
        .rr = {vmc_avx_to_flags_##bytes},                                                                    \
        .rm = {vmc_avx_to_flags_##bytes},                                                                    \
        .code = {vmc_avx_code_##name##_x},                                                                   \
    };
COMPARE(comiss, 4)
COMPARE(comisd, 8)
COMPARE(ucomiss, 4)
COMPARE(ucomisd, 8)
