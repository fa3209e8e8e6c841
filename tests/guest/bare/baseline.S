/*
 * A processor that is told to be of the x86-64-v2 level: nothing beyond is shown, and what is not shown does not exist.
 */
#include "bare.h"

#define CHECK_FAULT(vector, error, ...) FAULTS(vector, error); __VA_ARGS__; END_FAULTS
#define CPUID(leaf, sub) mov eax, leaf; mov ecx, sub; cpuid

main:
    CPUID(1, 0)
    CHECK_SET(ecx, 1 << 20) /* SSE4.2 */
    CHECK_ZERO(ecx, 1 << 1 | 1 << 12 | 1 << 22 | 1 << 25 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 29 | 1 << 30)
    CPUID(7, 0)
    CHECK_ZERO(ebx, 1 << 3 | 1 << 5 | 1 << 8 | 1 << 18 | 1 << 19 | 1 << 29)
    CPUID(13, 0)
    CHECK_EQ(eax, 0)
    CPUID(0x80000001, 0)
    CHECK_ZERO(ecx, 1 << 5)
    mov rax, cr4
    bts rax, 9 /* OSFXSR */
    mov cr4, rax
    bts rax, 18 /* OSXSAVE */
    CHECK_FAULT(13, 0, mov cr4, rax)
    CHECK_FAULT(6, 0, xsave [area])
    CHECK_FAULT(6, 0, xrstor [area])
    CHECK_FAULT(6, 0, xsavec [area])
    CHECK_FAULT(6, 0, xgetbv)
    CHECK_FAULT(6, 0, vzeroupper)
    CHECK_FAULT(6, 0, vaddps xmm0, xmm1, xmm2)
    CHECK_FAULT(6, 0, andn eax, ebx, ecx)
    CHECK_FAULT(6, 0, mulx eax, ebx, ecx)
    CHECK_FAULT(6, 0, movbe eax, [area])
    CHECK_FAULT(6, 0, adcx eax, ebx)
    CHECK_FAULT(6, 0, aesenc xmm0, xmm1)
    CHECK_FAULT(6, 0, pclmulqdq xmm0, xmm1, 0)
    CHECK_FAULT(6, 0, sha256msg1 xmm0, xmm1)
    CHECK_FAULT(6, 0, rdrand eax)
    CHECK_FAULT(6, 0, rdseed eax)
    mov ecx, 0x10
    lzcnt eax, ecx /* BSR */
    CHECK_EQ(eax, 4)
    xor ecx, ecx
    mov eax, 77
    tzcnt eax, ecx /* BSF */
    CHECK_EQ(eax, 77)
    PASS

.balign 64
area: .fill 832, 1, 0
