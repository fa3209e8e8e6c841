/*
 * VEX-encoded integer arithmetic, logic, shifts and permutations: nothing here raises arithmetic exceptions.
 * The bitwise and unpacking floating-point instructions are these, too, as they are the same.
 */
#include "cpu/soft/exec/avx.h"

#define INT3(name) AVX_3(name, "v" #name, FXG_NO_AVX)
INT3(punpcklbw)
INT3(punpcklwd)
INT3(punpckldq)
INT3(punpcklqdq)
INT3(punpckhbw)
INT3(punpckhwd)
INT3(punpckhdq)
INT3(punpckhqdq)
INT3(packsswb)
INT3(packssdw)
INT3(packuswb)
INT3(packusdw)
INT3(pcmpgtb)
INT3(pcmpgtw)
INT3(pcmpgtd)
INT3(pcmpgtq)
INT3(pcmpeqb)
INT3(pcmpeqw)
INT3(pcmpeqd)
INT3(pcmpeqq)
INT3(paddb)
INT3(paddw)
INT3(paddd)
INT3(paddq)
INT3(paddsb)
INT3(paddsw)
INT3(paddusb)
INT3(paddusw)
INT3(psubb)
INT3(psubw)
INT3(psubd)
INT3(psubq)
INT3(psubsb)
INT3(psubsw)
INT3(psubusb)
INT3(psubusw)
INT3(pmullw)
INT3(pmulld)
INT3(pmulhw)
INT3(pmulhuw)
INT3(pmulhrsw)
INT3(pmuludq)
INT3(pmuldq)
INT3(pmaddwd)
INT3(pmaddubsw)
INT3(psadbw)
INT3(pavgb)
INT3(pavgw)
INT3(pminub)
INT3(pminuw)
INT3(pminud)
INT3(pminsb)
INT3(pminsw)
INT3(pminsd)
INT3(pmaxub)
INT3(pmaxuw)
INT3(pmaxud)
INT3(pmaxsb)
INT3(pmaxsw)
INT3(pmaxsd)
INT3(pand)
INT3(pandn)
INT3(por)
INT3(pxor)
INT3(pshufb)
INT3(phaddw)
INT3(phaddd)
INT3(phaddsw)
INT3(phsubw)
INT3(phsubd)
INT3(phsubsw)
INT3(psignb)
INT3(psignw)
INT3(psignd)
INT3(psllvd)
INT3(psllvq)
INT3(psrlvd)
INT3(psrlvq)
INT3(psravd)

AVX_3_COUNT(psrlw, "vpsrlw")
AVX_3_COUNT(psrld, "vpsrld")
AVX_3_COUNT(psrlq, "vpsrlq")
AVX_3_COUNT(psraw, "vpsraw")
AVX_3_COUNT(psrad, "vpsrad")
AVX_3_COUNT(psllw, "vpsllw")
AVX_3_COUNT(pslld, "vpslld")
AVX_3_COUNT(psllq, "vpsllq")

AVX_2(pabsb, "vpabsb", FXG_NO_AVX)
AVX_2(pabsw, "vpabsw", FXG_NO_AVX)
AVX_2(pabsd, "vpabsd", FXG_NO_AVX)
AVX_2_X(phminposuw, "vphminposuw")

/* ---- permutations by a register; across the lanes there are 256 bits only ---- */

INT3(permilps)
INT3(permilpd)
AVX_3_Y(permd, "vpermd")
AVX_3_Y(permps, "vpermps")

/* ---- widening moves and broadcasts ---- */

#define PMOVX(name, bytes_x, bytes_y) AVX_2_WIDEN(name, "v" #name, bytes_x, bytes_y, FXG_NO_AVX)
PMOVX(pmovsxbw, 8, 16)
PMOVX(pmovsxbd, 4, 8)
PMOVX(pmovsxbq, 2, 4)
PMOVX(pmovsxwd, 8, 16)
PMOVX(pmovsxwq, 4, 8)
PMOVX(pmovsxdq, 8, 16)
PMOVX(pmovzxbw, 8, 16)
PMOVX(pmovzxbd, 4, 8)
PMOVX(pmovzxbq, 2, 4)
PMOVX(pmovzxwd, 8, 16)
PMOVX(pmovzxwq, 4, 8)
PMOVX(pmovzxdq, 8, 16)

AVX_2_WIDEN(broadcastss, "vbroadcastss", 4, 4, FXG_NO_AVX)
AVX_2_WIDEN(pbroadcastd, "vpbroadcastd", 4, 4, FXG_NO_AVX)
AVX_2_WIDEN(pbroadcastq, "vpbroadcastq", 8, 8, FXG_NO_AVX)

/* A byte or a word in memory. */
AVX_2_WIDEN(pbroadcastw, "vpbroadcastw", 2, 2, FXG_NO_AVX)
AVX_2_WIDEN(pbroadcastb, "vpbroadcastb", 1, 1, FXG_NO_AVX)

/* Double, and two of them: to 256 bits only. */
AVX_CODE(broadcastsd_y, "vbroadcastsd %xmm2, %ymm0")
AVX_REGISTER(broadcastsd_rr_y, FXG_NO_AVX, 8,
             "vmovdqa %[b], %%xmm2\n\tvbroadcastsd %%xmm2, %%ymm0\n\t" STORE_Y, IN_B)
AVX_MEMORY(broadcastsd_rm_y, FXG_NO_AVX, 8, "vbroadcastsd %[b], %%ymm0\n\t" STORE_Y, IN_P)
const struct vmc_avx_insn vmc_avx_broadcastsd = {
    .rr = {NULL, op_avx_broadcastsd_rr_y},
    .rm = {NULL, op_avx_broadcastsd_rm_y},
    .code = {NULL, vmc_avx_code_broadcastsd_y},
};
AVX_CODE(broadcast128_y, "vinsertf128 $1, %xmm2, %ymm2, %ymm0")
AVX_MEMORY(broadcast128_rm_y, FXG_NO_AVX, 16, "vbroadcastf128 %[b], %%ymm0\n\t" STORE_Y, IN_P)
const struct vmc_avx_insn vmc_avx_broadcast128 = {
    .rm = {NULL, op_avx_broadcast128_rm_y},
    .code = {NULL, vmc_avx_code_broadcast128_y},
};

/* ---- shifts by immediate: the count is in u->disp, which is free as there is no memory operand ---- */

#define SHIFT_IMM(name)                                                                                      \
    AVX_OP(name##_imm_x)                                                                                     \
    {                                                                                                        \
        AVX_GUARD(c, u);                                                                                     \
        AVX_RUN("vmovd %[count], %%xmm2\n\tvmovdqa %[b], %%xmm1\n\tv" #name                                  \
                " %%xmm2, %%xmm1, %%xmm0\n\t" STORE_X,                                                       \
                [count] "m"(u->disp), IN_B);                                                                 \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    AVX_OP(name##_imm_y)                                                                                     \
    {                                                                                                        \
        AVX_GUARD(c, u);                                                                                     \
        AVX_RUN("vmovd %[count], %%xmm1\n\t" LOAD_B_Y "v" #name " %%xmm1, %%ymm2, %%ymm0\n\t" STORE_Y,       \
                [count] "m"(u->disp), IN_B);                                                                 \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    const struct vmc_avx_insn vmc_avx_##name##_imm = {.rr = {op_avx_##name##_imm_x, op_avx_##name##_imm_y}};
SHIFT_IMM(psrlw)
SHIFT_IMM(psrld)
SHIFT_IMM(psrlq)
SHIFT_IMM(psraw)
SHIFT_IMM(psrad)
SHIFT_IMM(psllw)
SHIFT_IMM(pslld)
SHIFT_IMM(psllq)

/* By bytes, within each lane: as PSHUFB with a table. The binder has capped the count at 16. */
#define SHIFT_BYTES(name, at)                                                                                \
    AVX_OP(name##_imm_x)                                                                                     \
    {                                                                                                        \
        AVX_GUARD(c, u);                                                                                     \
        __m128i by = _mm_loadu_si128((const void *)(vmc_byte_shift + (at)));                                 \
        SET_X(c, u->reg, _mm_shuffle_epi8(XMM(c, u->rm), by));                                               \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    AVX_OP(name##_imm_y)                                                                                     \
    {                                                                                                        \
        AVX_GUARD(c, u);                                                                                     \
        __m128i by = _mm_loadu_si128((const void *)(vmc_byte_shift + (at)));                                 \
        XMM(c, u->reg) = _mm_shuffle_epi8(XMM(c, u->rm), by);                                                \
        HIGH(c, u->reg) = _mm_shuffle_epi8(HIGH(c, u->rm), by);                                              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    const struct vmc_avx_insn vmc_avx_##name##_imm = {.rr = {op_avx_##name##_imm_x, op_avx_##name##_imm_y}};
SHIFT_BYTES(psrldq, 16 + u->disp)
SHIFT_BYTES(pslldq, 16 - u->disp)

/* ---- AES, 128 bits ---- */

AVX_3_X(aesenc, "vaesenc", 16, FXG_NO_AVX)
AVX_3_X(aesenclast, "vaesenclast", 16, FXG_NO_AVX)
AVX_3_X(aesdec, "vaesdec", 16, FXG_NO_AVX)
AVX_3_X(aesdeclast, "vaesdeclast", 16, FXG_NO_AVX)
AVX_2_X(aesimc, "vaesimc")
