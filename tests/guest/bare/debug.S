/* Single-stepping, debug registers, INT1, RF: what stops where, and what DR6 then says. SDM vol. 3 chapter 17. */
#include "bare.h"

#define BS 0x4000
#define BD 0x2000
#define DR6_INIT 0xffff0ff0
/* L0 and the control field of breakpoint 0: 0 code, 1 write, 2 port, 3 read or write; length 0: 1, 1: 2, 3: 4, 2: 8 bytes. */
#define DR7_0(type, length) (0x401 | (type) << 16 | (length) << 18)
#define SET_DR(n, value) mov eax, value; mov dr##n, rax
#define TRAPS_HERE(...) mov MEM(resume), offset 97f; __VA_ARGS__; 97: CHECK_EQ(MEM(exc_vector), 1); \
    CHECK_EQ(MEM(exc_rip), offset 97b)
#define CHECK_DR6(value) mov rax, dr6; mov ecx, DR6_INIT | (value); CHECK_EQ(rax, rcx); SET_DR(6, 0)

main:
    mov rax, dr6
    mov ecx, DR6_INIT
    CHECK_EQ(rax, rcx)
    mov rax, dr7
    CHECK_EQ(rax, 0x400)
    /* Fixed bits. */
    SET_DR(6, 0xffffffff)
    mov rax, dr6
    and eax, 0xffff
    CHECK_EQ(eax, 0xefff)
    SET_DR(6, 0)
    mov rax, dr6
    mov ecx, DR6_INIT
    CHECK_EQ(rax, rcx)
    mov rdx, 1 << 32
    FAULTS(13, 0)
    mov dr6, rdx
    END_FAULTS
    FAULTS(13, 0)
    mov dr7, rdx
    END_FAULTS
    mov dr0, rdx /* addresses have 64 bits */
    mov rax, dr0
    CHECK_EQ(rax, rdx)
    /* DR4 is DR6 without CR4.DE, and does not exist with it. */
    .byte 0x0f, 0x21, 0xe0 /* MOV RAX, DR4 */
    mov ecx, DR6_INIT
    CHECK_EQ(rax, rcx)
    mov rax, cr4
    or rax, 8
    mov cr4, rax
    FAULTS(6, 0)
    .byte 0x0f, 0x21, 0xe0
    END_FAULTS

    /* INT1 is a trap and leaves DR6 alone. */
    TRAPS_HERE(.byte 0xf1)
    CHECK_DR6(0)

    /* TF: one trap after each instruction, from the one after POPFQ on; also after the POPFQ that clears it. */
    mov MEM(hooks + 8), offset count_steps
    mov dword ptr [steps], 0
    pushfq
    or dword ptr [rsp], 0x100
    popfq
    nop        /* 1 */
    mov eax, 5 /* 2 */
1:  dec eax
    jnz 1b     /* 12 */
    pushfq     /* 13 */
    and dword ptr [rsp], ~0x100
    popfq      /* 15 */
after_steps:
    nop
    CHECK_EQ(dword ptr [steps], 15)
    CHECK_EQ(MEM(last_rip), offset after_steps)
    CHECK_DR6(BS)

    /* REP MOVSB traps after every step, with RIP at itself until the last. */
    mov MEM(hooks + 8), offset count_steps
    mov dword ptr [steps], 0
    mov dword ptr [at_rep], 0
    mov esi, offset scratch
    mov edi, offset scratch + 16
    mov ecx, 3
    pushfq
    or dword ptr [rsp], 0x100
    popfq
rep_here:
    rep movsb
    pushfq
    and dword ptr [rsp], ~0x100
    popfq
    CHECK_EQ(dword ptr [at_rep], 2)
    CHECK_EQ(dword ptr [steps], 3 + 3)
    SET_DR(6, 0)

    /* INT n under TF: the handler starts with TF clear, and no trap comes for the INT itself. */
    mov MEM(hooks + 8), 0
    mov dword ptr [steps], 0
    mov MEM(resume), offset 1f
    pushfq
    or dword ptr [rsp], 0x100
    popfq
    int 0x50
1:  CHECK_EQ(MEM(exc_vector), 0x50)
    CHECK_SET(MEM32(exc_rflags), 0x100)
    CHECK_ZERO(MEM32(exc_flags_in), 0x100)

    /* A data breakpoint is a trap: the store is done, RIP is behind it. */
    SET_DR(6, 0)
    SET_DR(0, offset scratch)
    SET_DR(7, DR7_0(1, 3))
    mov eax, [scratch] /* only reads */
    TRAPS_HERE(mov dword ptr [scratch], 0x55)
    CHECK_EQ(dword ptr [scratch], 0x55)
    CHECK_DR6(1)
    TRAPS_HERE(mov byte ptr [scratch + 3], 1)
    CHECK_DR6(1)
    mov byte ptr [scratch + 4], 1
    mov byte ptr [scratch - 1], 1
    TRAPS_HERE(mov qword ptr [scratch - 5], 1) /* overlaps by three bytes */
    CHECK_DR6(1)
    SET_DR(7, DR7_0(3, 0))
    TRAPS_HERE(mov al, [scratch])
    CHECK_DR6(1)
    TRAPS_HERE(push qword ptr [scratch])
    CHECK_DR6(1)
    /* Two at once. */
    SET_DR(3, offset scratch)
    SET_DR(7, DR7_0(3, 0) | 0x80 | 3 << 28)
    TRAPS_HERE(mov al, [scratch])
    CHECK_DR6(9)
    SET_DR(7, 0x400)
    mov al, [scratch]

    /* Ports, with CR4.DE. KVM does the access itself and does not look at breakpoints. */
    IF_KVM(1f)
    SET_DR(0, 0x100)
    SET_DR(7, DR7_0(2, 1))
    mov edx, 0x101
    TRAPS_HERE(in al, dx)
    CHECK_DR6(1)
    mov edx, 0x102
    in al, dx
    SET_DR(7, 0x400)
1:

    /* A code breakpoint is a fault: before the instruction. RF in the frame's image would skip it. */
    SET_DR(0, offset broken_here)
    SET_DR(7, DR7_0(0, 0))
    xor ebx, ebx
    mov MEM(resume), offset 1f
broken_here:
    inc ebx
    FAIL
1:  CHECK_EQ(MEM(exc_vector), 1)
    CHECK_EQ(MEM(exc_rip), offset broken_here)
    CHECK_EQ(ebx, 0)
    CHECK_DR6(1)
    push SEL_DATA
    push STACK_TOP - 64
    push 0x10002 /* RF */
    push SEL_CODE64
    push offset broken_here2
    SET_DR(0, offset broken_here2)
    iretq
broken_here2:
    inc ebx
    CHECK_EQ(ebx, 1)
    pushfq
    pop rax
    CHECK_ZERO(eax, 0x10000)
    /* RF was good for one instruction. */
    mov MEM(resume), offset 1f
    jmp broken_here2
1:  CHECK_EQ(MEM(exc_vector), 1)
    CHECK_EQ(ebx, 1)
    CHECK_DR6(1)
    /* An interrupted fault brings RF: the breakpoint does not strike again after the handler. */
    mov MEM(hooks + 8), offset return_with_rf
    mov dword ptr [steps], 0
    jmp broken_here3
    .balign 16
broken_here3:
    SET_DR(0, offset broken_here4)
broken_here4:
    inc ebx
    CHECK_EQ(ebx, 2)
    CHECK_EQ(dword ptr [steps], 1)
    SET_DR(6, 0)
    mov MEM(hooks + 8), 0

    /* MOV SS delays the trap of a data breakpoint by one instruction. */
    SET_DR(0, offset scratch)
    SET_DR(7, DR7_0(3, 1))
    mov word ptr [scratch + 8], SEL_DATA
    SET_DR(0, offset scratch + 8)
    mov MEM(resume), offset 1f
    mov ss, [scratch + 8]
    nop
1:  CHECK_EQ(MEM(exc_vector), 1)
    CHECK_EQ(MEM(exc_rip), offset 1b)
    CHECK_DR6(1)

    /* DR7.GD guards the registers themselves, and #DB clears it. */
    SET_DR(7, 0x2400)
    FAULTS(1, 0)
    mov rax, dr0
    END_FAULTS
    CHECK_DR6(BD)
    mov rax, dr7
    CHECK_EQ(eax, 0x400)
    PASS

/* #DB: counts, and goes on. */
count_steps:
    inc dword ptr [steps]
    push rax
    mov rax, [rsp + 8]
    mov [last_rip], rax
    cmp rax, offset rep_here
    jne 1f
    inc dword ptr [at_rep]
1:  pop rax
    iretq

return_with_rf:
    inc dword ptr [steps]
    or dword ptr [rsp + 16], 0x10000
    iretq

.balign 8
last_rip: .quad 0
scratch_before: .quad 0
scratch: .quad 0, 0, 0, 0
steps: .long 0
at_rep: .long 0
