/*
 * Model-specific and control registers: what they accept, what is fixed, and that CPUID promises no more than there is.
 * SDM vol. 4; vol. 2 CPUID; vol. 3 sections 2.2.1, 2.5, 12.11, 12.12.
 */
#include "bare.h"

#define RDMSR(n)  mov ecx, n; rdmsr
#define WRMSR(n, low, high) mov ecx, n; mov eax, low; mov edx, high; wrmsr
#define BAD_RDMSR(n) mov ecx, n; FAULTS(13, 0); rdmsr; END_FAULTS
#define BAD_WRMSR(n, low, high) mov ecx, n; mov eax, low; mov edx, high; FAULTS(13, 0); wrmsr; END_FAULTS
/* Keeps what is written. */
#define KEEPS(n, low, high) WRMSR(n, low, high); xor eax, eax; xor edx, edx; RDMSR(n); \
    CHECK_EQ(eax, low); CHECK_EQ(edx, high)
#define CPUID(leaf, sub) mov eax, leaf; mov ecx, sub; cpuid

main:
    /* No such register. */
    BAD_RDMSR(0x12345678)
    BAD_WRMSR(0x12345678, 0, 0)
    CHECK_EQ(ecx, 0x12345678)
    BAD_RDMSR(0xc0010015)

    /* EFER: LMA is read-only, LME cannot change under paging, reserved bits are refused. */
    RDMSR(0xc0000080)
    CHECK_EQ(eax, 0xd01)
    CHECK_EQ(edx, 0)
    BAD_WRMSR(0xc0000080, 0xc01, 0)
    BAD_WRMSR(0xc0000080, 0x8d01, 0)
    BAD_WRMSR(0xc0000080, 0xd01, 1)
    WRMSR(0xc0000080, 0xd00, 0)
    RDMSR(0xc0000080)
    CHECK_EQ(eax, 0xd00)
    WRMSR(0xc0000080, 0xd01, 0)

    /* Canonical addresses only. */
    KEEPS(0xc0000082, 0x12345678, 0x7fff)
    KEEPS(0xc0000082, 0x12345678, 0xffff8000)
    BAD_WRMSR(0xc0000082, 0, 0x8000)
    BAD_WRMSR(0xc0000083, 0, 0x8000)
    BAD_WRMSR(0xc0000100, 0, 0x8000)
    BAD_WRMSR(0xc0000102, 0, 0xffff0000)
    BAD_WRMSR(0x175, 0, 0x8000)
    BAD_WRMSR(0x176, 0, 0x8000)
    KEEPS(0xc0000081, 0x11223344, 0x55667788)
    KEEPS(0xc0000084, 0x47700, 0)
    KEEPS(0xc0000103, 0x4711, 0)
    BAD_WRMSR(0xc0000103, 0, 1)
    rdtscp
    CHECK_EQ(ecx, 0x4711)

    /* Speculation controls are kept, and only those CPUID knows. */
    KEEPS(0x48, 0x403, 0)
    BAD_WRMSR(0x48, 4, 0)
    WRMSR(0x48, 0, 0)
    WRMSR(0x49, 1, 0)
    BAD_WRMSR(0x49, 2, 0)
    RDMSR(0x10a)
    CHECK_SET(eax, 1)
    BAD_WRMSR(0x10a, 0, 0)
    /* PAT: eight types, 2 and 3 do not exist. */
    RDMSR(0x277)
    CHECK_EQ(eax, 0x00070406)
    CHECK_EQ(edx, 0x00070406)
    KEEPS(0x277, 0x07050406, 0x01000406)
    BAD_WRMSR(0x277, 0x00000002, 0)
    BAD_WRMSR(0x277, 0, 0x03000000)
    BAD_WRMSR(0x277, 0x08, 0)
    /* MTRRs. */
    RDMSR(0xfe)
    CHECK_EQ(al, 8)
    CHECK_SET(eax, 0x100)
    KEEPS(0x2ff, 0xc06, 0)
    BAD_WRMSR(0x2ff, 0xc02, 0)
    BAD_WRMSR(0x2ff, 0x1006, 0)
    KEEPS(0x200, 0xc0000000, 1)
    BAD_WRMSR(0x200, 0xc0000003, 0)
    BAD_WRMSR(0x200, 0xc0000100, 0)
    BAD_WRMSR(0x200, 0, 0x80000000)
    KEEPS(0x201, 0xc0000800, 0xf)
    BAD_WRMSR(0x201, 0xc0000400, 0)
    KEEPS(0x250, 0x06060606, 0x06060606)
    KEEPS(0x26f, 0x05050505, 0x05050505)
    BAD_WRMSR(0x26f, 0x02, 0)
    BAD_WRMSR(0xfe, 0, 0)

    /* What CPUID promises exists. */
    CPUID(0, 0)
    cmp eax, 0xb
    jae 1f
    FAIL
1:  CHECK_EQ(ebx, 0x756e6547) /* Genu */
    CHECK_EQ(edx, 0x49656e69)
    CHECK_EQ(ecx, 0x6c65746e)
    CPUID(1, 0)
    mov esi, edx
    mov edi, ecx
    and esi, 0x0781ab79 /* fpu pse tsc msr pae cx8 apic sep pge cmov pat pse36 mmx fxsr sse sse2 */
    CHECK_EQ(esi, 0x0781ab79)
    CHECK_SET(edi, 1 << 0)  /* SSE3 */
    CHECK_SET(edi, 1 << 9)  /* SSSE3 */
    CHECK_SET(edi, 1 << 13) /* CMPXCHG16B */
    CHECK_SET(edi, 1 << 19)
    CHECK_SET(edi, 1 << 20)
    CHECK_SET(edi, 1 << 23)
    CHECK_SET(edi, 1 << 31)
    CPUID(0x80000001, 0)
    CHECK_SET(edx, 1 << 11)
    CHECK_SET(edx, 1 << 20)
    CHECK_SET(edx, 1 << 27)
    CHECK_SET(edx, 1 << 29)
    CHECK_SET(ecx, 1)
    CPUID(0x80000008, 0)
    CHECK_EQ(ah, 48)
    CPUID(0x40000000, 0)
    CHECK_NE(ebx, 0)
    /* Beyond the last leaf: as the last one, and no fault. */
    CPUID(0x1234, 0)
    CPUID(0x8fffffff, 0)

    /* Time goes on, at least for a while after it was set; TSC_ADJUST follows. */
    rdtsc
    mov esi, eax
    rdtsc
    CHECK_NE(esi, eax)
    CPUID(7, 0)
    test ebx, 2
    jz 1f
    WRMSR(0x3b, 0, 0)
    WRMSR(0x10, 0, 0x1000)
    rdtsc
    CHECK_EQ(edx, 0x1000)
    RDMSR(0x3b)
    CHECK_NE(edx, 0)
    WRMSR(0x3b, 0, 0)
    rdtsc
    cmp edx, 0x1000
    jb 1f
    FAIL
1:
    /* CR4: features that CPUID does not show are refused. */
    CPUID(1, 0)
    test ecx, 1 << 17 /* PCID */
    jnz 1f
    mov rax, cr4
    bts rax, 17
    FAULTS(13, 0)
    mov cr4, rax
    END_FAULTS
1:  mov rax, cr4
    bts rax, 63
    FAULTS(13, 0)
    mov cr4, rax
    END_FAULTS
    /* CR0.ET is fixed, reserved bits below 32 are dropped. */
    mov rax, cr0
    btr rax, 4
    bts rax, 7
    mov cr0, rax
    mov rax, cr0
    CHECK_SET(eax, 0x10)
    CHECK_ZERO(eax, 0x80)
    /* LMSW sets PE, TS and kin but never clears PE; SMSW shows CR0. */
    mov eax, 0x3a
    lmsw ax
    mov rax, cr0
    and eax, 0xf
    CHECK_EQ(eax, 0xb)
    smsw edx
    mov rax, cr0
    CHECK_EQ(edx, eax)
    clts
    mov rax, cr0
    CHECK_ZERO(eax, 8)
    /* CR2 is plain; CR3 below MAXPHYADDR. */
    mov rax, 0x123456789abcdef0
    mov cr2, rax
    mov rdx, cr2
    CHECK_EQ(rax, rdx)

    /* RFLAGS: bit 1 is one, 3, 5 and 15 zero, VM and RF cannot be popped, ID can change. */
    push -1 & ~0x40300
    popfq
    cld
    pushfq
    pop rax
    and eax, ~0x1000000
    CHECK_ZERO(eax, 0x38028 | 0x8000)
    CHECK_SET(eax, 2)
    CHECK_SET(eax, 0x200000)
    push 2
    popfq
    pushfq
    pop rax
    CHECK_EQ(eax, 2)
    /* A 16-bit POPF leaves the upper half. */
    push 0x200002
    popfq
    pushw 2
    popfw
    pushfq
    pop rax
    CHECK_EQ(eax, 0x200002)

    /* String I/O: the scratch ports read 10h 32h 54h 76h ... */
    mov edx, 0x100
    in al, dx
    CHECK_EQ(al, 0x10)
    in ax, dx
    CHECK_EQ(ax, 0x3210)
    mov rax, -1
    in eax, dx
    mov ecx, 0x76543210
    CHECK_EQ(rax, rcx) /* 32 bits clear the rest */
    mov edx, 0x102
    mov edi, offset scratch
    mov ecx, 3
    rep insw
    CHECK_EQ(ecx, 0)
    CHECK_EQ(edi, offset scratch + 6)
    mov eax, [scratch]
    CHECK_EQ(eax, 0x76547654)
    mov esi, offset scratch
    mov ecx, 2
    rep outsd
    CHECK_EQ(esi, offset scratch + 8)
    std
    mov edi, offset scratch + 1
    insb
    cld
    CHECK_EQ(edi, offset scratch)
    /* INS to a page that is not there reads no port and moves nothing. */
    mov edi, 0x3000000
    FAULTS(14, 2)
    insb
    END_FAULTS
    CHECK_EQ(edi, 0x3000000)
    PASS

.balign 8
scratch: .quad 0, 0
