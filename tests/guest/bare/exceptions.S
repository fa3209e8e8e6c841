/*
 * Exceptions in long mode: which vector, which error code, which RIP, what the frame looks like, IST and alignment, what a
 * fault during delivery becomes. SDM vol. 3 chapter 6.
 */
#include "bare.h"

#define GATE(vector) (idt + (vector) * 16)
#define CHECK_FAULT(vector, error, ...) FAULTS(vector, error); __VA_ARGS__; END_FAULTS
#define PRESENT(vector) mov byte ptr [GATE(vector) + 5], 0x8e
#define ABSENT(vector)  mov byte ptr [GATE(vector) + 5], 0x0e

main:
    /* Each where it belongs. */
    xor ecx, ecx
    CHECK_FAULT(0, 0, div ecx)
    mov eax, 0x80000000
    cdq
    or ecx, -1
    CHECK_FAULT(0, 0, idiv ecx)
    CHECK_FAULT(6, 0, ud2)
    CHECK_FAULT(6, 0, .byte 0x0f, 0xff, 0xc0)
    CHECK_FAULT(6, 0, .byte 0x0f, 0x0a)
    CHECK_FAULT(6, 0, .byte 0x06) /* PUSH ES: not in 64-bit code */
    CHECK_FAULT(6, 0, .byte 0x62, 0, 0, 0, 0, 0)
    CHECK_FAULT(6, 0, .byte 0xf0, 0x90) /* LOCK NOP */
    CHECK_FAULT(6, 0, .byte 0xf0, 0x01, 0xc0) /* LOCK ADD to a register */
    IF_KVM(1f)
    CHECK_FAULT(6, 0, .byte 0x0f, 0x01, 0xc1) /* VMCALL */
1:
    CHECK_FAULT(6, 0, .byte 0x0f, 0x01, 0xc8) /* MONITOR */
    CHECK_FAULT(6, 0, .byte 0x0f, 0x01, 0xd0) /* XGETBV */
    CHECK_FAULT(6, 0, .byte 0x0f, 0xaa) /* RSM */
    CHECK_FAULT(6, 0, .byte 0x8e, 0xc8) /* MOV CS, EAX */
    CHECK_FAULT(6, 0, .byte 0x0f, 0x20, 0xc8) /* MOV EAX, CR1 */
    CHECK_FAULT(6, 0, .byte 0x0f, 0x00, 0xf0) /* 0F 00 /6 */
    /* Too long: fifteen bytes are the most. */
    CHECK_FAULT(13, 0, .fill 15, 1, 0x66; nop)
    .fill 14, 1, 0x66
    nop
    /* #NM */
    mov rax, cr0
    or eax, 8
    mov cr0, rax
    CHECK_FAULT(7, 0, fnop)
    CHECK_FAULT(7, 0, fwait)
    clts
    /* Privileged registers with wrong contents. */
    mov rax, cr0
    mov rdx, rax
    btr rdx, 0 /* PG without PE */
    CHECK_FAULT(13, 0, mov cr0, rdx)
    mov rdx, rax
    bts rdx, 29 /* NW without CD */
    CHECK_FAULT(13, 0, mov cr0, rdx)
    mov rdx, rax
    bts rdx, 32
    CHECK_FAULT(13, 0, mov cr0, rdx)
    mov rdx, rax
    btr rdx, 31 /* leaving paging in 64-bit code */
    CHECK_FAULT(13, 0, mov cr0, rdx)
    mov rax, cr4
    mov rdx, rax
    btr rdx, 5 /* PAE off in long mode */
    CHECK_FAULT(13, 0, mov cr4, rdx)
    mov rdx, rax
    bts rdx, 30
    CHECK_FAULT(13, 0, mov cr4, rdx)
    mov edx, 16
    CHECK_FAULT(13, 0, mov cr8, rdx) /* QEMU: no such check */
    CHECK_FAULT(13, 0, rdpmc)

    /* #AC: CPL 3, CR0.AM and EFLAGS.AC. */
    mov rax, cr0
    bts rax, 18
    mov cr0, rax
    RUN_USER_AS(user_unaligned, SEL_USER64, 0x40002)
    CHECK_EQ(MEM(exc_vector), 17) /* QEMU: has no #AC */
    CHECK_EQ(MEM(exc_error), 0)
    CHECK_EQ(MEM(exc_rip), offset user_unaligned + USER_BASE) /* QEMU: has no #AC */
    RUN_USER_AS(user_unaligned, SEL_USER64, 2)
    CHECK_EQ(MEM(exc_vector), 6)
    mov rax, cr0
    btr rax, 18
    mov cr0, rax
    RUN_USER_AS(user_unaligned, SEL_USER64, 0x40002)
    CHECK_EQ(MEM(exc_vector), 6)

    /* INT3 is a trap, its RIP the next instruction; flags as they were, RF clear. */
    mov MEM(resume), offset 1f
    int3
1:  CHECK_EQ(MEM(exc_vector), 3)
    CHECK_EQ(MEM(exc_rip), offset 1b)
    CHECK_ZERO(MEM32(exc_rflags), 0x10000)

    /* The frame: pushed on an aligned stack whatever RSP was; error codes make no difference to that. */
    mov esp, STACK_TOP - 3
    mov MEM(resume), offset 1f
    ud2
1:  CHECK_EQ(MEM(exc_rsp), STACK_TOP - 3)
    CHECK_EQ(MEM(exc_frame), STACK_TOP - 16 - 48)
    mov esp, STACK_TOP - 24
    mov MEM(resume), offset 1f
    mov al, [0x3000000]
1:  CHECK_EQ(MEM(exc_vector), 14)
    CHECK_EQ(MEM(exc_rsp), STACK_TOP - 24)
    CHECK_EQ(MEM(exc_frame), STACK_TOP - 32 - 48)
    CHECK_EQ(MEM(exc_ss), SEL_DATA)
    CHECK_EQ(MEM(exc_ss_in), SEL_DATA) /* same privilege: SS stays */

    /* IST: at once, same privilege or not. */
    mov byte ptr [GATE(6) + 4], 2
    FAULTS(6, 0)
    ud2
    END_FAULTS
    CHECK_EQ(MEM(exc_frame), IST2_TOP - 48)
    RUN_USER(user_ud2)
    CHECK_EQ(MEM(exc_frame), IST2_TOP - 48)
    /* An IST entry that is not canonical: #SS(0 + EXT) at the faulting instruction. It is not contributory to anything as #UD
     * is benign. */
    mov byte ptr [GATE(6) + 4], 3
    mov rax, 0x800000000100
    mov [tss + 0x34], rax
    FAULTS(12, 1) /* QEMU: #GP */
    ud2
    END_FAULTS
    FAULTS(12, 0) /* INT n is not external */
    int 6
    END_FAULTS
    mov byte ptr [GATE(6) + 4], 0

    /* Interrupt gates clear IF, trap gates do not; both clear NT. DF stays. */
#define WITH_FLAGS(bits) pushfq; or dword ptr [rsp], bits; popfq
    mov MEM(resume), offset 1f
    WITH_FLAGS(0x4600)
    int 0x50
1:  CHECK_EQ(MEM(exc_vector), 0x50)
    mov eax, [exc_rflags]
    and eax, 0x4600
    CHECK_EQ(eax, 0x4600)
    mov eax, [exc_flags_in]
    and eax, 0x4600
    CHECK_EQ(eax, 0x400)
    cld
    mov byte ptr [GATE(0x50) + 5], 0x8f
    mov MEM(resume), offset 1f
    WITH_FLAGS(0x200)
    int 0x50
1:  cli
    CHECK_SET(MEM32(exc_flags_in), 0x200)

    /* Faults during delivery. #UD is benign: the second fault is delivered, with EXT and the IDT's index. */
    ABSENT(6)
    FAULTS(11, 6 * 8 + 3) /* QEMU: EXT is not set */
    ud2
    END_FAULTS
    /* A contributory one on top of a contributory one: #DF, error 0. */
    ABSENT(0)
    xor ecx, ecx
    mov byte ptr [GATE(11) + 5], 0x0e
    FAULTS(8, 0)
    div ecx
    END_FAULTS
    PRESENT(11)
    FAULTS(8, 0) /* #DE, then #NP for its gate */
    div ecx
    END_FAULTS
    /* A contributory one during an INT n is just itself. */
    FAULTS(11, 0 * 8 + 2)
    int 0
    END_FAULTS
    PRESENT(0)
    PRESENT(6)
    /* #PF, then #NP for its gate: #DF. CR2 has the address. */
    ABSENT(14)
    FAULTS(8, 0)
    mov al, [0x3000000]
    END_FAULTS
    CHECK_EQ(MEM(exc_cr2), 0x3000000)
    PRESENT(14)
    /* #PF on the stack the #PF is to be delivered on: #DF, on a good stack by IST; CR2 is the second address. */
    mov byte ptr [GATE(8) + 4], 1
    mov esp, 0x3001000
    FAULTS(8, 0)
    mov al, [0x3002000]
    END_FAULTS
    CHECK_EQ(MEM(exc_cr2), 0x3001000 - 8)
    CHECK_EQ(MEM(exc_rsp), 0x3001000)
    CHECK_EQ(MEM(exc_frame), IST1_TOP - 48)
    /* #GP, then #PF on the stack: a contributory fault and a page fault make no double fault: the #PF is delivered, on
     * an IST stack. */
    mov byte ptr [GATE(14) + 4], 2
    mov esp, 0x3001000
    mov rax, 0x800000000000
    FAULTS(14, 2)
    mov al, [rax]
    END_FAULTS
    CHECK_EQ(MEM(exc_frame), IST2_TOP - 48)
    /* #PF, then #GP: #DF. The IDT's limit ends before vector 14. */
    mov word ptr [idt_pointer], 14 * 16 - 1
    lidt [idt_pointer]
    FAULTS(8, 0)
    mov al, [0x3002000]
    END_FAULTS
    mov word ptr [idt_pointer], 256 * 16 - 1
    lidt [idt_pointer]

    /* A fault in the middle of REP MOVSB leaves the registers at the byte that failed. */
    mov byte ptr [GATE(14) + 4], 0
    mov esi, offset start
    mov edi, USER(0x180000) - 5
    mov MEM(PTE(0x180000)), 0
    invlpg [USER(0x180000)]
    mov ecx, 100
    FAULTS(14, 2)
    rep movsb
    END_FAULTS
    CHECK_EQ(ecx, 95)
    CHECK_EQ(edi, USER(0x180000))
    CHECK_EQ(esi, offset start + 5)
    CHECK_EQ(MEM(exc_cr2), USER(0x180000))
    /* And goes on from there. */
    mov MEM(PTE(0x180000)), 0x180000 | 7
    rep movsb
    CHECK_EQ(ecx, 0)
    CHECK_EQ(edi, USER(0x180000) + 95)
    PASS

.balign 16
user_unaligned:
    mov eax, [rsp - 7]
    ud2
user_ud2:
    ud2
