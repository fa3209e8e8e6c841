/*
 * External interrupts in long mode, from the CPU's own local APIC: when they are taken, shadows of STI and MOV SS, HLT,
 * task priority, NMI. SDM vol. 3 sections 6.3, 6.7, 6.8, 11.8.
 */
#include "bare.h"

#define APIC      0xfee00000
#define APIC_TPR  0x80
#define APIC_EOI  0xb0
#define APIC_SVR  0xf0
#define APIC_ICR  0x300
#define APIC_TIMER 0x320
#define APIC_COUNT 0x380
#define APIC_DIVIDE 0x3e0
#define VECTOR    0x40
#define REG(r)    dword ptr [rbx + r]
#define SELF(v)   mov REG(APIC_ICR), 0x40000 | (v)
/* A physical NMI to APIC 0: "self" knows only fixed vectors. */
#define NMI_TO_ME mov REG(APIC_ICR + 0x10), 0; mov REG(APIC_ICR), 0x4400
#define TAKEN(n)  CHECK_EQ(dword ptr [count], n)

main:
    /* The APIC's page: the last 2 MiB below 4 GiB's top, through an entry of its own. */
    mov dword ptr [PDPT + 24], 0x106000 + 7
    mov eax, 0xfee00000 | PTE_P | PTE_W | PTE_PS | 0x18
    mov [0x106000 + 0x1f7 * 8], rax
    mov rax, cr3
    mov cr3, rax
    mov ebx, APIC
    mov REG(APIC_SVR), 0x1ff
    mov MEM(resume), 0
    /* Gates 40h and 41h of our own; the NMI's as well. */
    mov eax, offset handler
    mov [idt + VECTOR * 16], ax
    shr eax, 16
    mov [idt + VECTOR * 16 + 6], ax
    mov eax, offset handler_nmi
    mov [idt + 2 * 16], ax
    shr eax, 16
    mov [idt + 2 * 16 + 6], ax

    /* Nothing comes while IF is clear. */
    SELF(VECTOR)
    nop
    nop
    TAKEN(0)
    /* STI covers one more instruction. */
    sti
    nop
taken_here:
    nop
    cli
    TAKEN(1)
    CHECK_EQ(MEM(where), offset taken_here)
    /* STI, CLI: no window at all. */
    SELF(VECTOR)
    sti
    cli
    TAKEN(1)
    /* POPFQ has no shadow. */
    pushfq
    or dword ptr [rsp], 0x200
    popfq
popped_here:
    cli
    TAKEN(2)
    CHECK_EQ(MEM(where), offset popped_here)
    /* MOV SS covers the next instruction, with IF set already. */
    mov eax, ss
    sti
    nop
    cli
    mov edx, eax
    SELF(VECTOR)
    pushfq
    or dword ptr [rsp], 0x200
    mov MEM(where), 0
    popfq
    cli
    TAKEN(3)
    sti
    nop
    mov ecx, 0x40000 | VECTOR
    mov ss, edx
    mov [rbx + APIC_ICR], ecx /* runs in the shadow; the interrupt comes behind it */
after_ss:
    nop
    cli
    TAKEN(4)
    CHECK_EQ(MEM(where), offset after_ss)

    /* HLT sleeps until the interrupt, and goes on behind. */
    SELF(VECTOR)
    sti
    hlt
after_hlt:
    cli
    TAKEN(5)
    CHECK_EQ(MEM(where), offset after_hlt)
    /* ... also when it comes later: the APIC's timer. */
    mov REG(APIC_DIVIDE), 0xb
    mov REG(APIC_TIMER), VECTOR
    mov REG(APIC_COUNT), 3000000
    sti
1:  hlt
    cmp dword ptr [count], 6
    jb 1b
    cli
    TAKEN(6)

    /* Priorities: CR8 keeps 4xh away, lets 5xh through. */
    mov eax, 4
    mov cr8, rax
    CHECK_EQ(REG(APIC_TPR), 0x40)
    SELF(VECTOR)
    sti
    nop
    nop
    cli
    TAKEN(6)
    xor eax, eax
    sti
    mov cr8, rax
    nop
    cli
    TAKEN(7)
    mov REG(APIC_TPR), 0x70
    mov rax, cr8
    CHECK_EQ(eax, 7)
    mov REG(APIC_TPR), 0

    /* A busy loop that never leaves its block's chain is interrupted as well. */
    mov REG(APIC_COUNT), 3000000
    sti
2:  cmp dword ptr [count], 8
    jb 2b
    cli
    TAKEN(8)

    /* NMI: not masked by IF, not nested until IRET. */
    NMI_TO_ME
2:  cmp dword ptr [nmis], 2 /* the handler sends one more to itself */
    jb 2b
    CHECK_EQ(dword ptr [deepest], 1)

    /* From CPL 3, onto the stack of the TSS. */
    push SEL_UDATA
    push USER(USER_STACK)
    push 0x202
    push SEL_USER64
    push offset user_loop + USER_BASE
    SELF(VECTOR)
    mov MEM(resume), offset 3f
    iretq
3:  TAKEN(9)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_EQ(MEM(where), offset user_loop + USER_BASE)
    PASS

user_loop:
    cmp dword ptr [count + USER_BASE], 9
    jb user_loop
    ud2

/* Counts, notes where it came, ends the interrupt. */
handler:
    push rax
    inc dword ptr [count]
    mov rax, [rsp + 8]
    mov [where], rax
    mov eax, APIC
    mov dword ptr [rax + APIC_EOI], 0
    pop rax
    iretq

handler_nmi:
    inc dword ptr [nmis]
    inc dword ptr [depth]
    push rax
    mov eax, [depth]
    cmp eax, [deepest]
    jbe 1f
    mov [deepest], eax
1:  cmp dword ptr [nmis], 1
    jne 2f
    NMI_TO_ME
    mov eax, 1000 /* time to come in, if it could */
3:  dec eax
    jnz 3b
2:  pop rax
    dec dword ptr [depth]
    iretq

.balign 8
where: .quad 0
count: .long 0
nmis: .long 0
depth: .long 0
deepest: .long 0
