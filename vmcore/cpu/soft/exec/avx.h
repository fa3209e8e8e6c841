/*
 * What the handlers of VEX-encoded vector instructions share: operands, and the shapes most of them have.
 *
 * The lower half of a YMM register is in VmcCpu.fx.xmm, the upper in VmcCpu.ymm_high; a register operand is
 * the offset into either, which the binder (avx_bind.c) leaves in u->reg, u->rm and, for the register
 * VEX.vvvv names, u->x. Every instruction writes all of its destination: 128-bit forms clear the upper half.
 *
 * Computation is the host's own instruction: ymm0 = insn(ymm1, ymm2), the second operand from VEX.vvvv, the
 * third from ModRM.rm; an instruction that reads its destination finds it in ymm0. No handler leaves anything
 * in an upper half of the host's registers, which everybody else's SSE code would pay for.
 *
 * For each instruction there are fast handlers and, for what they do not do, a piece of code of two
 * instructions: the computation and a return (AVX_CODE). avx_slow.c calls it, through u->imm, where an
 * operand has to be fetched the long way or exceptions are unmasked. So the slow half of all instructions
 * exists once.
 *
 * Source: Intel SDM vol. 2 section 2.4 (exception types of VEX instructions) and the instruction pages.
 */
#pragma once

#include "cpu/soft/exec/sse.h"

#define HIGH(c, o) (*(__m128i *)((char *)(c)->ymm_high + (o)))
#define VVVV(u)    ((uint8_t)(u)->x)
#define IS4(u)     ((uint8_t)((u)->x >> 8))

/* Handlers of one instruction, each by VEX.L. NULL: there is no such form. */
struct vmc_avx_insn {
    vmc_op rr[2], rm[2]; /* ModRM.rm a register, or memory */
    vmc_op base[2];      /* or NULL: memory by base and displacement alone */
    const char *code[2]; /* what u->imm becomes; with an immediate the first of a run */
    uint8_t mask,
        shift; /* of the immediate, if there is one: values - 1, and log2 of the bytes of each code */
};

#define FXG_AVX_FP (FXG_NO_AVX | FXG_XM)

#define AVX_OP(name) static void op_avx_##name(VmcCpu *c, const struct vmc_uop *u)

#define AVX_GUARD(c, u)                                                                                      \
    do {                                                                                                     \
        if (vmc_unlikely((c)->fx_guard & FXG_NO_AVX))                                                        \
            vmc_avx_refuse((c), (u));                                                                        \
    } while (0)

/* ---- avx_slow.c: the general way, for a register or `n` bytes of memory as the third operand ---- */
void vmc_avx_slow_1(VmcCpu *c, const struct vmc_uop *u);
void vmc_avx_slow_2(VmcCpu *c, const struct vmc_uop *u);
void vmc_avx_slow_4(VmcCpu *c, const struct vmc_uop *u);
void vmc_avx_slow_8(VmcCpu *c, const struct vmc_uop *u);
void vmc_avx_slow_16(VmcCpu *c, const struct vmc_uop *u);
void vmc_avx_slow_32(VmcCpu *c, const struct vmc_uop *u);
/* The same for a general register instead of a vector. */
void vmc_avx_slow_general_4(VmcCpu *c, const struct vmc_uop *u);
void vmc_avx_slow_general_8(VmcCpu *c, const struct vmc_uop *u);
/* The code leaves a general register's worth in RAX, for ModRM.reg, or the arithmetic flags. */
void vmc_avx_to_general_4(VmcCpu *c, const struct vmc_uop *u);
void vmc_avx_to_general_8(VmcCpu *c, const struct vmc_uop *u);
void vmc_avx_to_flags_4(VmcCpu *c, const struct vmc_uop *u);
void vmc_avx_to_flags_8(VmcCpu *c, const struct vmc_uop *u);
/* Computes into c->vector_result and leaves the registers alone; may fault with #XM. `half`: what it computes
 * is VCVTPS2PH, which has underflows of its own. */
void vmc_avx_compute(VmcCpu *c, const struct vmc_uop *u, bool half);
/* The result into the destination. */
void vmc_avx_commit(VmcCpu *c, const struct vmc_uop *u);
/* Fetches ModRM.rm into c->vector_operand: a vector register, or `n` bytes of memory and zeros. */
void vmc_avx_fetch(VmcCpu *c, const struct vmc_uop *u, unsigned n);

/* ---- code for the slow way ---- */

#define AVX_CODE(name, text)                                                                                 \
    __asm__(".pushsection .text\n"                                                                           \
            ".balign 8\n"                                                                                    \
            ".globl vmc_avx_code_" #name "\n"                                                                \
            ".hidden vmc_avx_code_" #name "\n"                                                               \
            "vmc_avx_code_" #name ":\n    " text "\n"                                                        \
            "    ret\n"                                                                                      \
            ".popsection");                                                                                  \
    extern const char vmc_avx_code_##name[] __attribute__((visibility("hidden")));
/* `count` of them, of 1 << shift bytes, with vmc_i for the immediate. */
#define AVX_CODES(name, count, shift, text)                                                                  \
    __asm__(".pushsection .text\n"                                                                           \
            ".balign 16\n"                                                                                   \
            ".globl vmc_avx_code_" #name "\n"                                                                \
            ".hidden vmc_avx_code_" #name "\n"                                                               \
            "vmc_avx_code_" #name ":\n"                                                                      \
            ".set vmc_i, 0\n"                                                                                \
            ".rept " #count "\n    " text "\n"                                                               \
            "    ret\n"                                                                                      \
            ".balign 1 << " #shift ", 0xcc\n"                                                                \
            ".set vmc_i, vmc_i + 1\n"                                                                        \
            ".endr\n"                                                                                        \
            ".popsection");                                                                                  \
    extern const char vmc_avx_code_##name[] __attribute__((visibility("hidden")));

/* ---- pieces of the fast way ---- */

#define LOAD_D_X  "vmovdqa %[d], %%xmm0\n\t"
#define LOAD_D_Y  "vmovdqa %[d], %%xmm0\n\tvinsertf128 $1, %[dh], %%ymm0, %%ymm0\n\t"
#define LOAD_A_X  "vmovdqa %[a], %%xmm1\n\t"
#define LOAD_A_Y  "vmovdqa %[a], %%xmm1\n\tvinsertf128 $1, %[ah], %%ymm1, %%ymm1\n\t"
#define LOAD_B_Y  "vmovdqa %[b], %%xmm2\n\tvinsertf128 $1, %[bh], %%ymm2, %%ymm2\n\t"
#define STORE_X   "vmovdqa %%xmm0, %[d]\n\tvpxor %%xmm1, %%xmm1, %%xmm1\n\tvmovdqa %%xmm1, %[dh]"
#define STORE_Y   "vmovdqa %%xmm0, %[d]\n\tvextractf128 $1, %%ymm0, %[dh]\n\tvzeroupper"
#define STORE_Y_X STORE_X "\n\tvzeroupper" /* a 128-bit result of 256-bit operands */

#define IN_A [a] "m"(XMM(c, VVVV(u))), [ah] "m"(HIGH(c, VVVV(u)))
#define IN_B [b] "m"(XMM(c, u->rm)), [bh] "m"(HIGH(c, u->rm))
#define IN_P [b] "m"(*(const char(*)[32])p_)

#define AVX_RUN(text, ...)                                                                                   \
    __asm__ volatile(text                                                                                    \
                     : [d] "+m"(XMM(c, u->reg)), [dh] "+m"(HIGH(c, u->reg))                                  \
                     : __VA_ARGS__                                                                           \
                     : "xmm0", "xmm1", "xmm2")

#define AVX_REGISTER(name, GUARD, bytes, text, ...)                                                          \
    AVX_OP(name)                                                                                             \
    {                                                                                                        \
        if (vmc_unlikely(c->fx_guard & (GUARD))) {                                                           \
            vmc_avx_slow_##bytes(c, u);                                                                      \
            return;                                                                                          \
        }                                                                                                    \
        AVX_RUN(text, __VA_ARGS__);                                                                          \
        VMC_NEXT(c, u);                                                                                      \
    }
#define AVX_MEMORY(name, GUARD, bytes, text, ...)                                                            \
    AVX_OP(name)                                                                                             \
    {                                                                                                        \
        FAST_HOST(GUARD, bytes, tag_read, vmc_avx_slow_##bytes);                                             \
        AVX_RUN(text, __VA_ARGS__);                                                                          \
        VMC_NEXT(c, u);                                                                                      \
    }
#define AVX_INSN(name)                                                                                       \
    const struct vmc_avx_insn vmc_avx_##name = {                                                             \
        .rr = {op_avx_##name##_rr_x, op_avx_##name##_rr_y},                                                  \
        .rm = {op_avx_##name##_rm_x, op_avx_##name##_rm_y},                                                  \
        .code = {vmc_avx_code_##name##_x, vmc_avx_code_##name##_y},                                          \
    };
/* Without a 256-bit form. */
#define AVX_INSN_X(name)                                                                                     \
    const struct vmc_avx_insn vmc_avx_##name = {                                                             \
        .rr = {op_avx_##name##_rr_x},                                                                        \
        .rm = {op_avx_##name##_rm_x},                                                                        \
        .code = {vmc_avx_code_##name##_x},                                                                   \
    };

/* ---- shapes; GUARD is FXG_NO_AVX, or FXG_AVX_FP where arithmetic exceptions come up ---- */

/* d = insn(a, b), all of them vectors of either length. */
#define AVX_3(name, insn, GUARD)                                                                             \
    AVX_CODE(name##_x, insn " %xmm2, %xmm1, %xmm0")                                                          \
    AVX_CODE(name##_y, insn " %ymm2, %ymm1, %ymm0")                                                          \
    AVX_REGISTER(name##_rr_x, GUARD, 16, LOAD_A_X insn " %[b], %%xmm1, %%xmm0\n\t" STORE_X, IN_A, IN_B)      \
    AVX_MEMORY(name##_rm_x, GUARD, 16, LOAD_A_X insn " %[b], %%xmm1, %%xmm0\n\t" STORE_X, IN_A, IN_P)        \
    AVX_REGISTER(name##_rr_y, GUARD, 32, LOAD_A_Y LOAD_B_Y insn " %%ymm2, %%ymm1, %%ymm0\n\t" STORE_Y, IN_A, \
                 IN_B)                                                                                       \
    AVX_MEMORY(name##_rm_y, GUARD, 32, LOAD_A_Y insn " %[b], %%ymm1, %%ymm0\n\t" STORE_Y, IN_A, IN_P)        \
    AVX_INSN(name)

/* The same with b always of 16 bytes: shifts by a register. */
#define AVX_3_COUNT(name, insn)                                                                              \
    AVX_CODE(name##_x, insn " %xmm2, %xmm1, %xmm0")                                                          \
    AVX_CODE(name##_y, insn " %xmm2, %ymm1, %ymm0")                                                          \
    AVX_REGISTER(name##_rr_x, FXG_NO_AVX, 16, LOAD_A_X insn " %[b], %%xmm1, %%xmm0\n\t" STORE_X, IN_A, IN_B) \
    AVX_MEMORY(name##_rm_x, FXG_NO_AVX, 16, LOAD_A_X insn " %[b], %%xmm1, %%xmm0\n\t" STORE_X, IN_A, IN_P)   \
    AVX_REGISTER(name##_rr_y, FXG_NO_AVX, 16, LOAD_A_Y insn " %[b], %%ymm1, %%ymm0\n\t" STORE_Y, IN_A, IN_B) \
    AVX_MEMORY(name##_rm_y, FXG_NO_AVX, 16, LOAD_A_Y insn " %[b], %%ymm1, %%ymm0\n\t" STORE_Y, IN_A, IN_P)   \
    AVX_INSN(name)

/* The same for 128 bits and `bytes` of memory: scalars, and what has no longer form. */
#define AVX_3_X(name, insn, bytes, GUARD)                                                                    \
    AVX_CODE(name##_x, insn " %xmm2, %xmm1, %xmm0")                                                          \
    AVX_REGISTER(name##_rr_x, GUARD, bytes,                                                                  \
                 LOAD_A_X "vmovdqa %[b], %%xmm2\n\t" insn " %%xmm2, %%xmm1, %%xmm0\n\t" STORE_X, IN_A, IN_B) \
    AVX_MEMORY(name##_rm_x, GUARD, bytes, LOAD_A_X insn " %[b], %%xmm1, %%xmm0\n\t" STORE_X, IN_A, IN_P)     \
    AVX_INSN_X(name)

/* 256 bits only. */
#define AVX_3_Y(name, insn)                                                                                  \
    AVX_CODE(name##_y, insn " %ymm2, %ymm1, %ymm0")                                                          \
    AVX_REGISTER(name##_rr_y, FXG_NO_AVX, 32, LOAD_A_Y LOAD_B_Y insn " %%ymm2, %%ymm1, %%ymm0\n\t" STORE_Y,  \
                 IN_A, IN_B)                                                                                 \
    AVX_MEMORY(name##_rm_y, FXG_NO_AVX, 32, LOAD_A_Y insn " %[b], %%ymm1, %%ymm0\n\t" STORE_Y, IN_A, IN_P)   \
    const struct vmc_avx_insn vmc_avx_##name = {                                                             \
        .rr = {NULL, op_avx_##name##_rr_y},                                                                  \
        .rm = {NULL, op_avx_##name##_rm_y},                                                                  \
        .code = {NULL, vmc_avx_code_##name##_y},                                                             \
    };

/* d = insn(d, a, b): fused multiplication and addition. */
#define AVX_FMA(name, insn)                                                                                  \
    AVX_CODE(name##_x, insn " %xmm2, %xmm1, %xmm0")                                                          \
    AVX_CODE(name##_y, insn " %ymm2, %ymm1, %ymm0")                                                          \
    AVX_REGISTER(name##_rr_x, FXG_AVX_FP, 16, LOAD_D_X LOAD_A_X insn " %[b], %%xmm1, %%xmm0\n\t" STORE_X,    \
                 IN_A, IN_B)                                                                                 \
    AVX_MEMORY(name##_rm_x, FXG_AVX_FP, 16, LOAD_D_X LOAD_A_X insn " %[b], %%xmm1, %%xmm0\n\t" STORE_X,      \
               IN_A, IN_P)                                                                                   \
    AVX_REGISTER(name##_rr_y, FXG_AVX_FP, 32,                                                                \
                 LOAD_D_Y LOAD_A_Y LOAD_B_Y insn " %%ymm2, %%ymm1, %%ymm0\n\t" STORE_Y, IN_A, IN_B)          \
    AVX_MEMORY(name##_rm_y, FXG_AVX_FP, 32, LOAD_D_Y LOAD_A_Y insn " %[b], %%ymm1, %%ymm0\n\t" STORE_Y,      \
               IN_A, IN_P)                                                                                   \
    AVX_INSN(name)
#define AVX_FMA_X(name, insn, bytes)                                                                         \
    AVX_CODE(name##_x, insn " %xmm2, %xmm1, %xmm0")                                                          \
    AVX_REGISTER(name##_rr_x, FXG_AVX_FP, bytes,                                                             \
                 LOAD_D_X LOAD_A_X "vmovdqa %[b], %%xmm2\n\t" insn " %%xmm2, %%xmm1, %%xmm0\n\t" STORE_X,    \
                 IN_A, IN_B)                                                                                 \
    AVX_MEMORY(name##_rm_x, FXG_AVX_FP, bytes, LOAD_D_X LOAD_A_X insn " %[b], %%xmm1, %%xmm0\n\t" STORE_X,   \
               IN_A, IN_P)                                                                                   \
    AVX_INSN_X(name)

/* d = insn(b), both vectors of either length. */
#define AVX_2(name, insn, GUARD)                                                                             \
    AVX_CODE(name##_x, insn " %xmm2, %xmm0")                                                                 \
    AVX_CODE(name##_y, insn " %ymm2, %ymm0")                                                                 \
    AVX_REGISTER(name##_rr_x, GUARD, 16, insn " %[b], %%xmm0\n\t" STORE_X, IN_B)                             \
    AVX_MEMORY(name##_rm_x, GUARD, 16, insn " %[b], %%xmm0\n\t" STORE_X, IN_P)                               \
    AVX_REGISTER(name##_rr_y, GUARD, 32, LOAD_B_Y insn " %%ymm2, %%ymm0\n\t" STORE_Y, IN_B)                  \
    AVX_MEMORY(name##_rm_y, GUARD, 32, insn " %[b], %%ymm0\n\t" STORE_Y, IN_P)                               \
    AVX_INSN(name)
#define AVX_2_X(name, insn)                                                                                  \
    AVX_CODE(name##_x, insn " %xmm2, %xmm0")                                                                 \
    AVX_REGISTER(name##_rr_x, FXG_NO_AVX, 16, insn " %[b], %%xmm0\n\t" STORE_X, IN_B)                        \
    AVX_MEMORY(name##_rm_x, FXG_NO_AVX, 16, insn " %[b], %%xmm0\n\t" STORE_X, IN_P)                          \
    AVX_INSN_X(name)

/* d = insn(b) that widens: b is at most 16 bytes, of which the forms read `bytes_x` and `bytes_y`. */
#define AVX_2_WIDEN(name, insn, bytes_x, bytes_y, GUARD)                                                     \
    AVX_CODE(name##_x, insn " %xmm2, %xmm0")                                                                 \
    AVX_CODE(name##_y, insn " %xmm2, %ymm0")                                                                 \
    AVX_REGISTER(name##_rr_x, GUARD, bytes_x, "vmovdqa %[b], %%xmm2\n\t" insn " %%xmm2, %%xmm0\n\t" STORE_X, \
                 IN_B)                                                                                       \
    AVX_MEMORY(name##_rm_x, GUARD, bytes_x, insn " %[b], %%xmm0\n\t" STORE_X, IN_P)                          \
    AVX_REGISTER(name##_rr_y, GUARD, bytes_y, "vmovdqa %[b], %%xmm2\n\t" insn " %%xmm2, %%ymm0\n\t" STORE_Y, \
                 IN_B)                                                                                       \
    AVX_MEMORY(name##_rm_y, GUARD, bytes_y, insn " %[b], %%ymm0\n\t" STORE_Y, IN_P)                          \
    AVX_INSN(name)

/* d = insn(b) that narrows doubles: d is 128 bits. */
#define AVX_2_NARROW(name, insn)                                                                             \
    AVX_CODE(name##_x, insn "x %xmm2, %xmm0")                                                                \
    AVX_CODE(name##_y, insn "y %ymm2, %xmm0")                                                                \
    AVX_REGISTER(name##_rr_x, FXG_AVX_FP, 16, insn "x %[b], %%xmm0\n\t" STORE_X, IN_B)                       \
    AVX_MEMORY(name##_rm_x, FXG_AVX_FP, 16, insn "x %[b], %%xmm0\n\t" STORE_X, IN_P)                         \
    AVX_REGISTER(name##_rr_y, FXG_AVX_FP, 32, LOAD_B_Y insn "y %%ymm2, %%xmm0\n\t" STORE_Y_X, IN_B)          \
    AVX_MEMORY(name##_rm_y, FXG_AVX_FP, 32, insn "y %[b], %%xmm0\n\t" STORE_Y_X, IN_P)                       \
    AVX_INSN(name)

/* ---- handlers in C: s_ is the third operand of KIND (sse.h), STMT does the work; never 256 bits ---- */

#define AVX_C_REGISTER(name, TYPE, READ, STMT)                                                               \
    AVX_OP(name)                                                                                             \
    {                                                                                                        \
        AVX_GUARD(c, u);                                                                                     \
        TYPE s_ = READ;                                                                                      \
        STMT;                                                                                                \
        VMC_NEXT(c, u);                                                                                      \
    }
#define AVX_C_LOAD(name, TYPE, KIND, STMT)                                                                   \
    static VMC_NOINLINE void slow_avx_##name(VmcCpu *c, const struct vmc_uop *u)                             \
    {                                                                                                        \
        AVX_GUARD(c, u);                                                                                     \
        TYPE s_ = LD_##KIND(c, u);                                                                           \
        STMT;                                                                                                \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    AVX_OP(name)                                                                                             \
    {                                                                                                        \
        FAST_KIND(FXG_NO_AVX, KIND, tag_read, slow_avx_##name);                                              \
        TYPE s_ = HOST_##KIND(p_);                                                                           \
        STMT;                                                                                                \
        VMC_NEXT(c, u);                                                                                      \
    }
/* Writes all of a destination. */
#define SET_X(c, o, value)                                                                                   \
    do {                                                                                                     \
        XMM(c, o) = (value);                                                                                 \
        HIGH(c, o) = _mm_setzero_si128();                                                                    \
    } while (0)
