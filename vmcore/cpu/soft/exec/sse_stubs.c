/*
 * Instructions whose operand is an immediate in the instruction itself: the host's has to be in its code too.
 *
 * For each such instruction there is a run of tiny functions, one per value of the immediate, of equal size,
 * so that the binder finds the right one by arithmetic and leaves its address in u->imm. They follow the C
 * calling convention for
 * __m128i f(__m128i dst, __m128i src).
 */
#include "cpu/soft/exec/sse_stubs.h"

/* `count` functions of 1 << shift bytes; BODY uses \i for the immediate. */
#define STUBS(name, count, shift, body)                                                                      \
    __asm__(".pushsection .text\n"                                                                           \
            ".balign 16\n"                                                                                   \
            ".globl vmc_code_" #name "\n"                                                                    \
            ".hidden vmc_code_" #name "\n"                                                                   \
            "vmc_code_" #name ":\n"                                                                          \
            ".set vmc_i, 0\n"                                                                                \
            ".rept " #count "\n" body "\n"                                                                   \
            "    ret\n"                                                                                      \
            ".balign 1 << " #shift ", 0xcc\n"                                                                \
            ".set vmc_i, vmc_i + 1\n"                                                                        \
            ".endr\n"                                                                                        \
            ".popsection");                                                                                  \
    extern const char vmc_code_##name[] __attribute__((visibility("hidden")));                               \
    const struct vmc_stubs vmc_stubs_##name = {vmc_code_##name, (count)-1, (shift)};

#define IMM2(name, count) STUBS(name, count, 3, "    " #name " $vmc_i, %xmm1, %xmm0")

IMM2(pshuflw, 256)
IMM2(pshufhw, 256)
IMM2(shufpd, 4)
IMM2(cmpps, 8)
IMM2(cmppd, 8)
IMM2(cmpss, 8)
IMM2(cmpsd, 8)
IMM2(roundps, 16)
IMM2(roundpd, 16)
IMM2(roundss, 16)
IMM2(roundsd, 16)
IMM2(blendps, 16)
IMM2(blendpd, 4)
IMM2(pblendw, 256)
IMM2(palignr, 256)
IMM2(insertps, 256)
IMM2(dpps, 256)
IMM2(dppd, 256)
IMM2(mpsadbw, 8)
IMM2(aeskeygenassist, 256)
IMM2(pclmulqdq, 32)
IMM2(sha1rnds4, 4)

/*
 * The string compares. The index and flags form takes lengths in its third and fourth argument (here the
 * first two integer ones) and returns flags in the low and ECX in the high half; the mask form returns XMM0.
 */
STUBS(pcmpestri, 256, 5,
      "    mov %edi, %eax\n    mov %esi, %edx\n    pcmpestri $vmc_i, %xmm1, %xmm0\n"
      "    pushfq\n    pop %rax\n    shl $32, %rcx\n    or %rcx, %rax")
STUBS(pcmpestrm, 256, 4, "    mov %edi, %eax\n    mov %esi, %edx\n    pcmpestrm $vmc_i, %xmm1, %xmm0")
STUBS(pcmpistri, 256, 4,
      "    pcmpistri $vmc_i, %xmm1, %xmm0\n    pushfq\n    pop %rax\n    shl $32, %rcx\n    or %rcx, %rax")
STUBS(pcmpistrm, 256, 3, "    pcmpistrm $vmc_i, %xmm1, %xmm0")
