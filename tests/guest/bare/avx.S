/*
 * AVX and extended state as an operating system meets them: who may use VEX when, XCR0, where XSAVE puts what, and what a gather
 * leaves behind that faults. Passes at once on a processor without AVX2. SDM vol. 1 chapter 13 and section 14.3; vol. 2 section 2.4;
 * vol. 3 section 2.6.
 */
#define START_REAL
#include "bare.h"

#undef FAIL
#define FAIL FAIL_AT(fail16, eax)
#define ANDN_EAX .byte 0xc4, 0xe2, 0x60, 0xf2, 0xc1 /* andn eax, ebx, ecx */

.code16
real_main:
    mov word ptr [6 * 4], offset int6
    mov word ptr [6 * 4 + 2], 0
    mov byte ptr [real_faults], 0
ud_here:
    ANDN_EAX
    CHECK_EQ(byte ptr [real_faults], 1)
    .byte 0xc5, 0xf8, 0x77, 0x90, 0x90 /* VZEROUPPER */
    CHECK_EQ(byte ptr [real_faults], 2)
    .byte 0x66, 0xc4, 0x07, 0x90, 0x90 /* LES is still there */
    CHECK_EQ(byte ptr [real_faults], 2)
    xor ax, ax
    mov es, ax
    jmp to_long
int6: /* goes on five bytes further on */
    push bp
    mov bp, sp
    add word ptr [bp + 2], 5
    pop bp
    inc byte ptr [real_faults]
    iret
fail16:
    mov eax, edi
    mov dx, PORT_EXIT
    out dx, eax
1:  hlt
    jmp 1b

#undef FAIL
#define FAIL FAIL_AT(fail, rax)
#define CHECK_FAULT(vector, error, ...) FAULTS(vector, error); __VA_ARGS__; END_FAULTS
#define SET_CR(cr, bit)   mov rax, cr; bts rax, bit; mov cr, rax
#define CLEAR_CR(cr, bit) mov rax, cr; btr rax, bit; mov cr, rax
#define EM 2
#define TS 3
#define OSFXSR 9
#define OSXMMEXCPT 10
#define OSXSAVE 18
#define XSETBV(value) xor ecx, ecx; mov eax, value; xor edx, edx; xsetbv
#define XSETBV_FAULT(value) xor ecx, ecx; mov eax, value; xor edx, edx; CHECK_FAULT(13, 0, xsetbv)
#define CPUID(leaf, sub) mov eax, leaf; mov ecx, sub; cpuid
#define PAGE_A 0x60000 /* two pages of the user alias */
#define PAGE_B 0x61000
#define BORDER USER(PAGE_B)

.code64
long_main:
    CPUID(7, 0)
    bt ebx, 5
    jc 1f
    PASS
1:
    /* Before the operating system asks for it: #UD for vectors, not for general registers. */
    SET_CR(cr4, OSFXSR)
    SET_CR(cr4, OSXMMEXCPT)
    CHECK_FAULT(6, 0, vpaddd xmm0, xmm1, xmm2)
    CHECK_FAULT(6, 0, vzeroupper)
    CHECK_FAULT(6, 0, vmovups ymm0, [rip + 0x7ff00000]) /* before the page is looked at */
    CHECK_FAULT(6, 0, vldmxcsr [word_a])
    CHECK_FAULT(6, 0, xgetbv)
    CHECK_FAULT(6, 0, xsetbv)
    CHECK_FAULT(6, 0, xsave [area])
    CHECK_FAULT(6, 0, xrstor [area + 1])
    mov ebx, 0x0f
    mov ecx, 0x3c
    ANDN_EAX
    CHECK_EQ(eax, 0x30)
    CPUID(1, 0)
    CHECK_ZERO(ecx, 1 << 27)
    SET_CR(cr4, OSXSAVE)
    CPUID(1, 0)
    CHECK_SET(ecx, 1 << 27)

    /* XCR0: x87 always, AVX with SSE only, nothing that is not there, by CPL 0 alone. */
    xor ecx, ecx
    xgetbv
    CHECK_EQ(eax, 1)
    CHECK_EQ(edx, 0)
    CPUID(13, 0)
    CHECK_EQ(ebx, 576)
    CHECK_EQ(ecx, 832)
    CHECK_EQ(eax, 7)
    XSETBV_FAULT(0)
    XSETBV_FAULT(2)
    XSETBV_FAULT(5)
    XSETBV_FAULT(15)
    xor ecx, ecx
    mov eax, 7
    mov edx, 1
    CHECK_FAULT(13, 0, xsetbv)
    mov ecx, 1
    xor edx, edx
    CHECK_FAULT(13, 0, xsetbv)
    mov ecx, 2
    CHECK_FAULT(13, 0, xgetbv)
    CHECK_FAULT(6, 0, .byte 0x66, 0x0f, 0x01, 0xd0)
    CHECK_FAULT(6, 0, .byte 0xf3, 0x0f, 0x01, 0xd1)
    RUN_USER(u_xsetbv)
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_rip), offset u_xsetbv + USER_BASE)
    XSETBV(3)
    CHECK_FAULT(6, 0, vpaddd xmm0, xmm1, xmm2)
    XSETBV(7)
    vpaddd xmm0, xmm1, xmm2
    CPUID(13, 0)
    CHECK_EQ(ebx, 832)
    CPUID(13, 2)
    CHECK_EQ(eax, 256)
    CHECK_EQ(ebx, 576)
    CPUID(13, 3)
    CHECK_EQ(eax, 0)

    /* What stops it, and what does not. */
    SET_CR(cr0, TS)
    CHECK_FAULT(7, 0, vpaddd ymm0, ymm1, ymm2)
    CHECK_FAULT(7, 0, vmovups [word_a], xmm0)
    CHECK_FAULT(7, 0, vmulps ymm0, ymm1, [ones])
    CHECK_FAULT(7, 0, vzeroall)
    CHECK_FAULT(7, 0, xsave [area])
    CHECK_FAULT(7, 0, xrstor [area])
    andn eax, ebx, ecx
    clts
    SET_CR(cr0, EM)
    vpaddd ymm0, ymm1, ymm2
    CHECK_FAULT(6, 0, paddd xmm0, xmm1)
    CLEAR_CR(cr0, EM)
    CLEAR_CR(cr4, OSFXSR)
    vmovd xmm0, eax
    vptest xmm0, xmm0
    SET_CR(cr4, OSFXSR)
    CHECK_FAULT(6, 0, .byte 0x66, 0xc5, 0xf9, 0xfe, 0xc0) /* prefixes that do not go with VEX */
    CHECK_FAULT(6, 0, .byte 0xf3, 0xc5, 0xf9, 0xfe, 0xc0)
    CHECK_FAULT(6, 0, .byte 0xf0, 0xc5, 0xf9, 0xfe, 0xc0)
    CHECK_FAULT(6, 0, .byte 0x48, 0xc5, 0xf9, 0xfe, 0xc0)
    CHECK_FAULT(6, 0, .byte 0xc5, 0xf1, 0x6f, 0xc0) /* VMOVDQA with a second operand */
    CHECK_FAULT(6, 0, .byte 0xc4, 0xe4, 0x79, 0xfe, 0xc0) /* no such map */

    /* Upper halves: legacy SSE leaves them, VEX clears them. */
    vmovups ymm1, [ones]
    movaps xmm1, xmm2
    vextractf128 xmm3, ymm1, 1
    vmovd eax, xmm3
    CHECK_EQ(eax, 0x3f800000)
    vmovaps xmm1, xmm1
    vextractf128 xmm3, ymm1, 1
    vptest xmm3, xmm3
    jz 1f
    FAIL
1:  vmovups ymm15, [ones]
    vzeroupper
    vextractf128 xmm3, ymm15, 1
    vptest xmm3, xmm3
    jz 1f
    FAIL
1:  vmovd eax, xmm15
    CHECK_EQ(eax, 0x3f800000)

    /* 32-bit code has eight registers, and W counts for nothing with general ones. */
    vmovups ymm8, [ones]
    vmovups ymm7, [ones]
    .byte 0xff, 0x1c, 0x25 /* call far */
    .long to_compatibility
    CHECK_EQ(eax, 0x3f800000)
    CHECK_EQ(edx, 0)
    vextractf128 xmm3, ymm8, 1
    vmovd eax, xmm3
    CHECK_EQ(eax, 0x3f800000)

    /* Unaligned is well, but for moves that say otherwise. */
    vaddps ymm0, ymm1, [ones + 1]
    vmovups ymm0, [ones + 4]
    CHECK_FAULT(13, 0, vmovaps ymm0, [ones + 16])
    vmovaps xmm0, [ones + 16]
    CHECK_FAULT(13, 0, vmovdqa [area + 8], xmm0)
    CHECK_FAULT(13, 0, vmovntps [area + 16], ymm0)
    CHECK_FAULT(13, 0, vmovntdqa ymm0, [ones + 16])

    /* Unmasked exceptions. */
    mov MEM32(word_a), 0x1d80 /* division by zero */
    vldmxcsr [word_a]
    vmovups ymm1, [ones]
    vxorps ymm2, ymm2, ymm2
    CHECK_FAULT(19, 0, vdivps ymm1, ymm1, ymm2)
    vstmxcsr [word_b]
    CHECK_EQ(MEM32(word_b), 0x1d84)
    vmovd eax, xmm1
    CHECK_EQ(eax, 0x3f800000)
    CLEAR_CR(cr4, OSXMMEXCPT)
    CHECK_FAULT(6, 0, vdivss xmm1, xmm1, xmm2)
    SET_CR(cr4, OSXMMEXCPT)
    mov MEM32(word_a), 0x1f80
    vldmxcsr [word_a]

    /* XSAVE and XRSTOR: all of it away and back, from the initial state and to it. */
    CHECK_FAULT(13, 0, xsave [area + 32])
    fninit
    fld1
    vmovups ymm5, [ones]
    mov edi, offset area
    mov ecx, 1024 / 8
    mov rax, -1
    rep stosq
    mov qword ptr [area + 512], 0
    mov qword ptr [area + 520], 0
    mov qword ptr [area + 528], 0
    mov eax, 7
    xor edx, edx
    xsave [area]
    CHECK_EQ(qword ptr [area + 512], 7)
    CHECK_EQ(MEM32(area + 160 + 5 * 16), 0x3f800000)
    CHECK_EQ(MEM32(area + 576 + 5 * 16 + 12), 0x3f800000)
    CHECK_EQ(qword ptr [area + 832], -1)
    vzeroall
    fninit
    mov eax, 7
    xrstor [area]
    vextractf128 xmm3, ymm5, 1
    vmovd eax, xmm3
    CHECK_EQ(eax, 0x3f800000)
    fnstsw ax
    CHECK_EQ(ax, 0x3800)
    mov qword ptr [area + 512], 1 /* SSE and AVX to be initialised */
    mov eax, 6
    xrstor [area]
    vptest ymm5, ymm5
    jz 1f
    FAIL
1:  fnstsw ax
    CHECK_EQ(ax, 0x3800) /* not asked for */
    mov qword ptr [area + 512], 8 /* not enabled */
    CHECK_FAULT(13, 0, xrstor [area])
    mov qword ptr [area + 512], 3
    mov qword ptr [area + 520], 1
    CHECK_FAULT(13, 0, xrstor [area])
    mov qword ptr [area + 520], 0
    mov MEM32(area + 24), 0x11f80
    mov eax, 4
    CHECK_FAULT(13, 0, xrstor [area]) /* MXCSR belongs to AVX too */
    mov MEM32(area + 24), 0x1f80
    CPUID(13, 1)
    CHECK_SET(eax, 1)
    bt eax, 1
    jnc no_xsavec
    vzeroall
    vmovups ymm6, [ones]
    mov eax, 6
    xor edx, edx
    xsavec [area]
    CHECK_EQ(qword ptr [area + 512], 6)
    mov rax, 0x8000000000000006
    CHECK_EQ(qword ptr [area + 520], rax)
    mov edi, offset area + 528
    mov ecx, 48 / 8
    xor eax, eax
    rep stosq
    vzeroall
    mov eax, 6
    xrstor [area]
    vextractf128 xmm3, ymm6, 1
    vmovd eax, xmm3
    CHECK_EQ(eax, 0x3f800000)
    vzeroall
    mov ecx, 1
    xgetbv
    CHECK_ZERO(eax, 6) /* nothing of it is in use */
no_xsavec:

    /* A gather that faults has done what came before; a masked store that faults nothing. */
    mov rbx, BORDER - 8
    mov dword ptr [rbx], 0x11
    mov dword ptr [rbx + 4], 0x22
    mov rdx, PTE(PAGE_B)
    and qword ptr [rdx], ~PTE_P
    invlpg [BORDER]
    vpcmpeqd xmm1, xmm1, xmm1
    vpxor xmm0, xmm0, xmm0
    vmovdqu xmm2, [indices]
    CHECK_FAULT(14, 0, vpgatherdd xmm0, [rbx + xmm2 * 4], xmm1)
    CHECK_EQ(MEM(exc_cr2), BORDER)
    vmovdqu [word_a], xmm0
    CHECK_EQ(MEM32(word_a), 0x11)
    CHECK_EQ(MEM32(word_a + 4), 0x22)
    CHECK_EQ(MEM32(word_a + 8), 0)
    vmovmskps eax, xmm1
    CHECK_EQ(eax, 12)
    vpcmpeqd xmm1, xmm1, xmm1
    vpxor xmm0, xmm0, xmm0
    CHECK_FAULT(14, 2, vmaskmovps [rbx], xmm1, xmm0)
    CHECK_EQ(MEM32(BORDER - 8), 0x11)
    vpslldq xmm1, xmm1, 8
    vpsrldq xmm1, xmm1, 8
    vmaskmovps [rbx], xmm1, xmm0
    CHECK_EQ(MEM32(BORDER - 8), 0)
    vmovups ymm5, [ones]
    CHECK_FAULT(14, 2, vmovups [rbx], ymm5)
    CHECK_EQ(MEM32(BORDER - 8), 0)
    or qword ptr [rdx], PTE_P
    invlpg [BORDER]
    vmovups [rbx], ymm5
    CHECK_EQ(MEM32(BORDER + 4), 0x3f800000)
    vmovups ymm4, [rbx]
    vpcmpeqd ymm4, ymm4, ymm5
    vpmovmskb eax, ymm4
    CHECK_EQ(eax, -1)
    CHECK_FAULT(6, 0, .byte 0xc4, 0xe2, 0x79, 0x90, 0x04, 0x8b) /* destination and mask the same */

    /* Random numbers. */
    CPUID(1, 0)
    bt ecx, 30
    jnc 1f
    rdrand rax
    jc 2f
    FAIL
2:  rdrand rcx
    jc 2f
    FAIL
2:  CHECK_NE(rax, rcx)
    mov rax, -1
    rdrand eax
    shr rax, 32
    CHECK_EQ(eax, 0)
    mov rax, 0x1122334455667788
    rdrand ax
    shr rax, 16
    CHECK_EQ(eax, 0x33445566)
1:
    PASS

.code32
compatibility:
    .byte 0xc4, 0xe1, 0xf9, 0x7e, 0xf8 /* vmovq rax, xmm7: vmovd here */
    .byte 0xc4, 0xe2, 0xe0, 0xf2, 0xd3 /* andn rdx, rbx, rbx: andn edx here */
    .byte 0xc5, 0xfc, 0x77             /* vzeroall */
    retf

.code64
u_xsetbv:
    xsetbv

to_compatibility:
    .long compatibility
    .word SEL_CODE32
real_faults: .byte 0
.balign 32
ones:     .fill 16, 4, 0x3f800000
indices:  .long 0, 1, 2, 3
word_a:   .quad 0, 0
word_b:   .quad 0, 0
.balign 64
area:     .fill 1024, 1, 0
