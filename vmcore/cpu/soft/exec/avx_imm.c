/*
 * VEX-encoded vector instructions with an immediate or with a fourth register in its place.
 *
 * As with SSE (sse_stubs.c) there is a piece of code for each value of an immediate, to which u->imm leads;
 * bits that mean nothing are masked off by the binder. The handlers are the same for all instructions.
 */
#include "cpu/soft/exec/avx.h"

#define CALL(loads, ...)                                                                                     \
    __asm__ volatile(loads "call *%[code]\n\t" STORE_Y                                                       \
                     : [d] "+m"(XMM(c, u->reg)), [dh] "+m"(HIGH(c, u->reg))                                  \
                     : [code] "r"(u->imm), IN_A, __VA_ARGS__                                                 \
                     : "xmm0", "xmm1", "xmm2", "xmm3", "rax", "cc")

#define LOAD_B_4  "vmovd %[b], %%xmm2\n\t"
#define LOAD_B_8  "vmovq %[b], %%xmm2\n\t"
#define LOAD_B_16 "vmovdqu %[b], %%xmm2\n\t"
#define LOAD_B_32 "vmovdqu %[b], %%ymm2\n\t"
#define LOAD_M    "vmovdqa %[m], %%xmm3\n\tvinsertf128 $1, %[mh], %%ymm3, %%ymm3\n\t"
#define IN_M      [m] "m"(XMM(c, IS4(u))), [mh] "m"(HIGH(c, IS4(u)))

#define REGISTER(name, GUARD, loads, ...)                                                                    \
    AVX_OP(name)                                                                                             \
    {                                                                                                        \
        if (vmc_unlikely(c->fx_guard & (GUARD))) {                                                           \
            vmc_avx_slow_32(c, u);                                                                           \
            return;                                                                                          \
        }                                                                                                    \
        CALL(loads, __VA_ARGS__);                                                                            \
        VMC_NEXT(c, u);                                                                                      \
    }
#define MEMORY(name, GUARD, bytes, loads, ...)                                                               \
    AVX_OP(name)                                                                                             \
    {                                                                                                        \
        FAST_HOST(GUARD, bytes, tag_read, vmc_avx_slow_##bytes);                                             \
        CALL(loads, __VA_ARGS__);                                                                            \
        VMC_NEXT(c, u);                                                                                      \
    }
REGISTER(imm_rr, FXG_NO_AVX, LOAD_A_Y LOAD_B_Y, IN_B)
MEMORY(imm_4, FXG_NO_AVX, 4, LOAD_A_Y LOAD_B_4, IN_P)
MEMORY(imm_16, FXG_NO_AVX, 16, LOAD_A_Y LOAD_B_16, IN_P)
MEMORY(imm_32, FXG_NO_AVX, 32, LOAD_A_Y LOAD_B_32, IN_P)
REGISTER(imm_fp_rr, FXG_AVX_FP, LOAD_A_Y LOAD_B_Y, IN_B)
MEMORY(imm_fp_4, FXG_AVX_FP, 4, LOAD_A_Y LOAD_B_4, IN_P)
MEMORY(imm_fp_8, FXG_AVX_FP, 8, LOAD_A_Y LOAD_B_8, IN_P)
MEMORY(imm_fp_16, FXG_AVX_FP, 16, LOAD_A_Y LOAD_B_16, IN_P)
MEMORY(imm_fp_32, FXG_AVX_FP, 32, LOAD_A_Y LOAD_B_32, IN_P)
REGISTER(is4_rr, FXG_NO_AVX, LOAD_A_Y LOAD_B_Y LOAD_M, IN_B, IN_M)
MEMORY(is4_16, FXG_NO_AVX, 16, LOAD_A_Y LOAD_B_16 LOAD_M, IN_P, IN_M)
MEMORY(is4_32, FXG_NO_AVX, 32, LOAD_A_Y LOAD_B_32 LOAD_M, IN_P, IN_M)

/* ---- instructions; kind: imm or imm_fp ---- */

#define LOG2_CODE 3
#define IMM(name, count, kind, text_x, text_y)                                                               \
    AVX_CODES(name##_x, count, 3, text_x)                                                                    \
    AVX_CODES(name##_y, count, 3, text_y)                                                                    \
    const struct vmc_avx_insn vmc_avx_##name = {                                                             \
        .rr = {op_avx_##kind##_rr, op_avx_##kind##_rr},                                                      \
        .rm = {op_avx_##kind##_16, op_avx_##kind##_32},                                                      \
        .code = {vmc_avx_code_##name##_x, vmc_avx_code_##name##_y},                                          \
        .mask = (count)-1,                                                                                   \
        .shift = LOG2_CODE,                                                                                  \
    };
#define IMM_X(name, count, kind, bytes, text)                                                                \
    AVX_CODES(name##_x, count, 3, text)                                                                      \
    const struct vmc_avx_insn vmc_avx_##name = {                                                             \
        .rr = {op_avx_##kind##_rr},                                                                          \
        .rm = {op_avx_##kind##_##bytes},                                                                     \
        .code = {vmc_avx_code_##name##_x},                                                                   \
        .mask = (count)-1,                                                                                   \
        .shift = LOG2_CODE,                                                                                  \
    };
#define IMM_Y(name, count, kind, bytes, text)                                                                \
    AVX_CODES(name##_y, count, 3, text)                                                                      \
    const struct vmc_avx_insn vmc_avx_##name = {                                                             \
        .rr = {NULL, op_avx_##kind##_rr},                                                                    \
        .rm = {NULL, op_avx_##kind##_##bytes},                                                               \
        .code = {NULL, vmc_avx_code_##name##_y},                                                             \
        .mask = (count)-1,                                                                                   \
        .shift = LOG2_CODE,                                                                                  \
    };
/* d = insn(a, b, immediate), d = insn(b, immediate) */
#define IMM3(name, count, kind)                                                                              \
    IMM(name, count, kind, "v" #name " $vmc_i, %xmm2, %xmm1, %xmm0", "v" #name " $vmc_i, %ymm2, %ymm1, %ymm0")
#define IMM2(name, count, kind)                                                                              \
    IMM(name, count, kind, "v" #name " $vmc_i, %xmm2, %xmm0", "v" #name " $vmc_i, %ymm2, %ymm0")
#define IMM3_X(name, count, kind, bytes)                                                                     \
    IMM_X(name, count, kind, bytes, "v" #name " $vmc_i, %xmm2, %xmm1, %xmm0")

IMM2(pshufd, 256, imm)
IMM2(pshufhw, 256, imm)
IMM2(pshuflw, 256, imm)
IMM3(shufps, 256, imm)
IMM3(shufpd, 16, imm)
IMM3(blendps, 256, imm)
IMM3(blendpd, 16, imm)
IMM3(pblendw, 256, imm)
IMM3(pblendd, 256, imm)
IMM3(palignr, 256, imm)
IMM3(mpsadbw, 64, imm)
IMM3_X(insertps, 256, imm, 4)
IMM(permilps_imm, 256, imm, "vpermilps $vmc_i, %xmm2, %xmm0", "vpermilps $vmc_i, %ymm2, %ymm0")
IMM(permilpd_imm, 16, imm, "vpermilpd $vmc_i, %xmm2, %xmm0", "vpermilpd $vmc_i, %ymm2, %ymm0")
IMM_Y(permq, 256, imm, 32, "vpermq $vmc_i, %ymm2, %ymm0")
IMM_Y(permpd, 256, imm, 32, "vpermpd $vmc_i, %ymm2, %ymm0")
IMM_Y(perm2f128, 256, imm, 32, "vperm2f128 $vmc_i, %ymm2, %ymm1, %ymm0")
IMM_Y(insertf128, 2, imm, 16, "vinsertf128 $vmc_i, %xmm2, %ymm1, %ymm0")

IMM3(cmpps, 32, imm_fp)
IMM3(cmppd, 32, imm_fp)
IMM3_X(cmpss, 32, imm_fp, 4)
IMM3_X(cmpsd, 32, imm_fp, 8)
IMM2(roundps, 16, imm_fp)
IMM2(roundpd, 16, imm_fp)
IMM3_X(roundss, 16, imm_fp, 4)
IMM3_X(roundsd, 16, imm_fp, 8)
IMM3(dpps, 256, imm_fp)
IMM3_X(dppd, 256, imm_fp, 16)

/* Bits 0 and 4 choose the halves. */
IMM3_X(pclmulqdq, 32, imm, 16)
IMM_X(aeskeygenassist, 256, imm, 16, "vaeskeygenassist $vmc_i, %xmm2, %xmm0")

/* ---- blends by a register ---- */

#define BLENDV(name)                                                                                         \
    AVX_CODE(name##_x, "v" #name " %xmm3, %xmm2, %xmm1, %xmm0")                                              \
    AVX_CODE(name##_y, "v" #name " %ymm3, %ymm2, %ymm1, %ymm0")                                              \
    const struct vmc_avx_insn vmc_avx_##name = {                                                             \
        .rr = {op_avx_is4_rr, op_avx_is4_rr},                                                                \
        .rm = {op_avx_is4_16, op_avx_is4_32},                                                                \
        .code = {vmc_avx_code_##name##_x, vmc_avx_code_##name##_y},                                          \
    };
BLENDV(blendvps)
BLENDV(blendvpd)
BLENDV(pblendvb)

/* ---- those whose destination is ModRM.rm: for memory u->reg is the source ---- */

/* u->x: which half. */
static VMC_NOINLINE void slow_avx_extract(VmcCpu *c, const struct vmc_uop *u)
{
    AVX_GUARD(c, u);
    vmc_st128(c, u, vmc_ea(c, u), u->x ? HIGH(c, u->reg) : XMM(c, u->reg));
    VMC_NEXT(c, u);
}
AVX_OP(extract)
{
    FAST_HOST(FXG_NO_AVX, 16, tag_write, slow_avx_extract);
    _mm_storeu_si128(p_, u->x ? HIGH(c, u->reg) : XMM(c, u->reg));
    VMC_NEXT(c, u);
}
AVX_CODES(extractf128_y, 2, 3, "vextractf128 $vmc_i, %ymm2, %xmm0")
const struct vmc_avx_insn vmc_avx_extractf128 = {
    .rr = {NULL, op_avx_imm_rr},
    .rm = {NULL, op_avx_extract},
    .code = {NULL, vmc_avx_code_extractf128_y},
    .mask = 1,
    .shift = LOG2_CODE,
};

/* The store is known to succeed before the conversion may raise anything. */
static VMC_NOINLINE void store_halves(VmcCpu *c, const struct vmc_uop *u, unsigned n)
{
    AVX_GUARD(c, u);
    uint64_t va = vmc_ea(c, u);
    vmc_probe(c, u, va, n, VMC_WRITE);
    memcpy(c->vector_operand, &XMM(c, u->reg), 16);
    memcpy(c->vector_operand + 16, &HIGH(c, u->reg), 16);
    vmc_avx_compute(c, u, true);
    vmc_write_bytes(c, u, va, c->vector_result, n);
}
static VMC_NOINLINE void slow_avx_cvtps2ph(VmcCpu *c, const struct vmc_uop *u)
{
    AVX_GUARD(c, u);
    vmc_avx_fetch(c, u, 32);
    vmc_avx_compute(c, u, true);
    vmc_avx_commit(c, u);
    VMC_NEXT(c, u);
}
AVX_OP(cvtps2ph_rr)
{
    if (vmc_unlikely(c->fx_guard & FXG_AVX_FP)) {
        slow_avx_cvtps2ph(c, u);
        return;
    }
    CALL(LOAD_A_Y LOAD_B_Y, IN_B);
    VMC_NEXT(c, u);
}
AVX_OP(cvtps2ph_8)
{
    store_halves(c, u, 8);
    VMC_NEXT(c, u);
}
AVX_OP(cvtps2ph_16)
{
    store_halves(c, u, 16);
    VMC_NEXT(c, u);
}
AVX_CODES(cvtps2ph_x, 8, 3, "vcvtps2ph $vmc_i, %xmm2, %xmm0")
AVX_CODES(cvtps2ph_y, 8, 3, "vcvtps2ph $vmc_i, %ymm2, %xmm0")
const struct vmc_avx_insn vmc_avx_cvtps2ph = {
    .rr = {op_avx_cvtps2ph_rr, op_avx_cvtps2ph_rr},
    .rm = {op_avx_cvtps2ph_8, op_avx_cvtps2ph_16},
    .code = {vmc_avx_code_cvtps2ph_x, vmc_avx_code_cvtps2ph_y},
    .mask = 7,
    .shift = LOG2_CODE,
};
