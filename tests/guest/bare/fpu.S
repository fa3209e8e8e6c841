/*
 * Floating point as an operating system meets it: who may use x87, MMX and SSE when, exceptions and what they leave behind, and
 * that an instruction which faults has not begun. SDM vol. 3 section 2.5 and chapters 13 and 14; vol. 1 8.7, 9.5, 11.5.
 */
#include "bare.h"

#define CHECK_FAULT(vector, error, ...) FAULTS(vector, error); __VA_ARGS__; END_FAULTS
#define SET_CR(cr, bit)   mov rax, cr; bts rax, bit; mov cr, rax
#define CLEAR_CR(cr, bit) mov rax, cr; btr rax, bit; mov cr, rax
#define MP 1
#define EM 2
#define TS 3
#define NE 5
#define OSFXSR 9
#define OSXMMEXCPT 10
#define STATUS(value) fnstsw ax; CHECK_EQ(ax, value)
#define PAGE_A 0x60000 /* two pages of the user alias */
#define PAGE_B 0x61000
#define BORDER USER(PAGE_B)

main:
    /* Without CR4.OSFXSR there is no SSE; x87, MMX and what only looks like SSE are there. */
    CLEAR_CR(cr4, OSFXSR)
    fninit
    CHECK_FAULT(6, 0, movaps xmm0, xmm1)
    CHECK_FAULT(6, 0, addss xmm0, xmm1)
    CHECK_FAULT(6, 0, cvtpi2ps xmm0, mm1)
    CHECK_FAULT(6, 0, stmxcsr [word_a])
    CHECK_FAULT(6, 0, movups xmm0, [rip + 0x7ff00000]) /* before the page is looked at */
    fld1
    fstp st(0)
    pxor mm0, mm0
    emms
    sfence
    lfence
    mfence
    prefetchnta [word_a]
    movnti [word_a], eax
    SET_CR(cr4, OSFXSR)
    movaps xmm0, xmm1
    stmxcsr [word_a]
    CHECK_EQ(MEM32(word_a), 0x1f80)

    /* CR0.TS: everything waits for the system; FWAIT only under MP. */
    SET_CR(cr0, TS)
    CHECK_FAULT(7, 0, fnop)
    CHECK_FAULT(7, 0, fninit)
    CHECK_FAULT(7, 0, fnstsw ax)
    CHECK_FAULT(7, 0, fld dword ptr [word_a])
    CHECK_FAULT(7, 0, fnstcw [word_a])
    CHECK_FAULT(7, 0, fwait)
    CHECK_FAULT(7, 0, pxor mm0, mm0)
    CHECK_FAULT(7, 0, emms)
    CHECK_FAULT(7, 0, movq [word_a], mm0)
    CHECK_FAULT(7, 0, xorps xmm0, xmm0)
    CHECK_FAULT(7, 0, mulsd xmm0, [word_a])
    CHECK_FAULT(7, 0, movups [word_a], xmm0)
    CHECK_FAULT(7, 0, ldmxcsr [word_a])
    CHECK_FAULT(7, 0, fxsave [image])
    CHECK_FAULT(7, 0, fxrstor [image])
    sfence
    prefetcht0 [word_a]
    movnti [word_a], eax
    CLEAR_CR(cr0, MP)
    fwait
    CHECK_FAULT(7, 0, fnop)
    SET_CR(cr0, MP)
    clts
    fnop

    /* CR0.EM: no x87, #UD for what has no emulation. */
    SET_CR(cr0, EM)
    CHECK_FAULT(7, 0, fnop)
    CHECK_FAULT(7, 0, fnstsw ax)
    CHECK_FAULT(6, 0, pxor mm0, mm0)
    CHECK_FAULT(6, 0, xorps xmm0, xmm0)
    CHECK_FAULT(6, 0, addps xmm0, xmm0)
    fwait
    CLEAR_CR(cr0, EM)

    /* #MF comes with the next waiting instruction, which has not run; others run. */
    fninit
    mov word ptr [word_a], 0x037b
    fldcw [word_a]
    fld1
    fldz
divide:
    fdivp st(1), st
    STATUS(0xb084)
    fnstcw [word_b]
    CHECK_EQ(word ptr [word_b], 0x037b)
    CHECK_FAULT(16, 0, fld1)
    CHECK_FAULT(16, 0, fnop)
    CHECK_FAULT(16, 0, fwait)
    CHECK_FAULT(16, 0, fstp qword ptr [word_b])
    CHECK_FAULT(16, 0, fldcw [word_a])
    CHECK_FAULT(16, 0, movd mm0, eax)
    CHECK_FAULT(16, 0, emms)
    xorps xmm0, xmm0 /* SSE does not care */
    STATUS(0xb084)
    fnstenv [image]
    CHECK_EQ(word ptr [image + 4], 0xb084)
    CHECK_EQ(MEM32(image + 12), offset divide)
    CHECK_EQ(word ptr [image + 18], 0x6f9)
    STATUS(0x3004) /* which has masked everything */
    fnstcw [word_b]
    CHECK_EQ(word ptr [word_b], 0x037f)
    fldenv [image]
    STATUS(0xb084)
    CHECK_FAULT(16, 0, fld1)
    fnclex
    STATUS(0x3000)
    fldcw [word_a]
    fld1
    STATUS(0x2800)
    /* Unmasking what has been flagged. */
    fninit
    fld1
    fldz
    fdivp st(1), st
    STATUS(0x3804)
    fldcw [word_a]
    STATUS(0xb884)
    CHECK_FAULT(16, 0, fnop)
    fnsave [image]
    STATUS(0)
    CHECK_EQ(word ptr [image + 4], 0xb884)
    frstor [image]
    CHECK_FAULT(16, 0, fwait)
    fninit
    fwait

    /* The data pointer, and a store that an unmasked exception keeps from happening, in one page and over two. */
    mov rbx, BORDER - 2
    mov word ptr [word_a], 0x037e
    mov MEM(word_b), 0x11223344
    mov qword ptr [rbx], 0x55667788
    fld tbyte ptr [huge]
    fldcw [word_a]
    fistp dword ptr [word_b]
    STATUS(0xb881)
    CHECK_EQ(MEM32(word_b), 0x11223344)
    fnclex
    fistp dword ptr [rbx]
    STATUS(0xb881)
    CHECK_EQ(dword ptr [rbx], 0x55667788)
    fnstenv [image]
    CHECK_EQ(MEM32(image + 20), BORDER - 2) /* QEMU: XSAVE forgets the pointer */
    fninit
    /* Operands over two pages. */
    fld1
    fldpi
    fstp tbyte ptr [rbx]
    fld tbyte ptr [rbx]
    fldpi
    fcomip st, st(1)
    je 1f
    FAIL
1:  fstp qword ptr [rbx]
    fld qword ptr [rbx]
    fstp dword ptr [rbx]
    CHECK_EQ(dword ptr [rbx], 0x40490fdb)
    STATUS(0x3a20)

    /* A page fault has changed nothing: neither stack nor MMX mode. */
    mov rdx, PTE(PAGE_B)
    and qword ptr [rdx], ~PTE_P
    invlpg [BORDER]
    CHECK_FAULT(14, 2, fstp tbyte ptr [rbx])
    CHECK_FAULT(14, 2, fstp qword ptr [rbx])
    CHECK_FAULT(14, 0, fld dword ptr [rbx])
    CHECK_FAULT(14, 0, movq mm0, [rbx])
    CHECK_FAULT(14, 2, movq [rbx], mm0)
    CHECK_FAULT(14, 0, cvtps2pi mm0, [rbx])
    CHECK_FAULT(14, 0, paddb mm0, [rbx])
    CHECK_FAULT(14, 2, movups [rbx], xmm0)
    CHECK_FAULT(14, 2, fnsave [rbx])
    CHECK_FAULT(14, 0, frstor [rbx])
    STATUS(0x3a20)
    CHECK_EQ(word ptr [BORDER - 2], 0x0fdb)
    or qword ptr [rdx], PTE_P
    invlpg [BORDER]
    fld1
    fcomip st, st(1)
    je 1f
    FAIL
1:  movd mm0, eax /* now it changes */
    STATUS(0x0020)
    fnstenv [image]
    mov eax, [image + 8]
    and eax, 0xc003
    CHECK_EQ(eax, 2) /* nothing is empty: R7 is a number, R0 (MM0) none */
    emms
    fnstenv [image]
    CHECK_EQ(word ptr [image + 8], 0xffff)

    /* #XM, #UD without CR4.OSXMMEXCPT; the destination stays, the flag is set. */
    SET_CR(cr4, OSXMMEXCPT)
    mov MEM32(word_a), 0x1d80 /* division by zero */
    ldmxcsr [word_a]
    movaps xmm1, [ones]
    xorps xmm2, xmm2
    CHECK_FAULT(19, 0, divps xmm1, xmm2)
    CHECK_FAULT(19, 0, divss xmm1, [zero])
    stmxcsr [word_b]
    CHECK_EQ(MEM32(word_b), 0x1d84)
    cvtps2dq xmm3, xmm1
    movd eax, xmm3
    CHECK_EQ(eax, 1)
    divps xmm2, xmm1 /* flagged already, but not raised by this one */
    CLEAR_CR(cr4, OSXMMEXCPT)
    CHECK_FAULT(6, 0, divps xmm1, xmm2)
    SET_CR(cr4, OSXMMEXCPT)
    /* An exact tiny result: underflow if it is unmasked, nothing if not. */
    mov MEM32(word_a), 0x1780
    ldmxcsr [word_a]
    movss xmm1, [smallest]
    CHECK_FAULT(19, 0, mulss xmm1, [half])
    stmxcsr [word_b]
    CHECK_EQ(MEM32(word_b), 0x1790)
    mov MEM32(word_a), 0x1f80
    ldmxcsr [word_a]
    mulss xmm1, [half]
    stmxcsr [word_b]
    CHECK_EQ(MEM32(word_b), 0x1f80)
    movd eax, xmm1
    CHECK_EQ(eax, 0x00400000)

    /* What MXCSR and images may hold, where they may lie. */
    mov MEM32(word_a), 0x11f80
    CHECK_FAULT(13, 0, ldmxcsr [word_a])
    fxsave [image]
    CHECK_EQ(MEM32(image + 24), 0x1f80)
    CHECK_EQ(MEM32(image + 28), 0xffff)
    mov MEM32(image + 24), 0x11f80
    CHECK_FAULT(13, 0, fxrstor [image])
    mov MEM32(image + 24), 0x1fbf
    fxrstor [image]
    stmxcsr [word_b]
    CHECK_EQ(MEM32(word_b), 0x1fbf)
    CHECK_FAULT(13, 0, fxsave [image + 8])
    CHECK_FAULT(13, 0, movaps xmm0, [ones + 8])
    CHECK_FAULT(13, 0, paddb xmm0, [ones + 1])
    CHECK_FAULT(13, 0, movntps [image + 4], xmm0)
    movups xmm0, [ones + 8]
    PASS

.balign 16
ones:     .long 0x3f800000, 0x3f800000, 0x3f800000, 0x3f800000, 0, 0
zero:     .long 0
half:     .long 0x3f000000
smallest: .long 0x00800000 /* normal */
huge:     .quad 0x8000000000000000
          .short 0x7ffe
.balign 16
word_a:   .quad 0
word_b:   .quad 0
.balign 16
image:    .fill 512, 1, 0
