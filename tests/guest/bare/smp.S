/*
 * Several CPUs: INIT and start-up IPIs, LOCKed instructions that lose nothing, interrupts from one CPU to another, TLB
 * shoot-down, code changed by another CPU, INIT of a running CPU. SDM vol. 3 chapters 9 and 11.
 */
#define AP_MAIN ap_main
#include "bare.h"

#define APIC      0xfee00000
#define REG(r)    dword ptr [rbx + r]
#define OTHERS    0xc0000 /* all excluding self */
#define IPI_INIT  mov REG(0x300), OTHERS | 0x4500
#define IPI_SIPI  mov REG(0x300), OTHERS | 0x4608 /* 8000h */
#define IPI(v)    mov REG(0x300), OTHERS | 0x4000 | (v)
#define N_APS     2
#define ROUNDS    20000
#define DATA      0x180000
/* Waits, but not for ever: the host's time limit is the judge. */
#define WAIT_FOR(x, n) 91: pause; cmp dword ptr [x], n; jne 91b

main:
    call map_apic
    mov REG(0xf0), 0x1ff
    mov ecx, 0x1b
    rdmsr
    CHECK_SET(eax, 0x100) /* this is the bootstrap processor */
    IPI_INIT
    IPI_SIPI
    WAIT_FOR(ready, N_APS)
    CHECK_EQ(dword ptr [cpus_up], N_APS + 1)
    CHECK_EQ(dword ptr [aps_bsp], 0)
    CHECK_EQ(dword ptr [ids], 7) /* APIC IDs 0, 1, 2 by CPUID */
    /* A second SIPI does nothing to a CPU that runs. */
    IPI_SIPI
    mov ecx, 100000
1:  dec ecx
    jnz 1b
    CHECK_EQ(dword ptr [cpus_up], N_APS + 1)

    /* All add to the same numbers. */
    mov dword ptr [go], 1
    call add_up
    WAIT_FOR(finished, N_APS)
    CHECK_EQ(MEM(sum_add), (N_APS + 1) * ROUNDS)
    CHECK_EQ(MEM(sum_inc), (N_APS + 1) * ROUNDS)
    CHECK_EQ(MEM(sum_xadd), (N_APS + 1) * ROUNDS)
    CHECK_EQ(MEM(sum_cmpxchg), (N_APS + 1) * ROUNDS)
    CHECK_EQ(MEM(sum_locked), (N_APS + 1) * ROUNDS)
    CHECK_EQ(MEM(split_page + 4096 - 4), (N_APS + 1) * ROUNDS)
    CHECK_EQ(MEM(sum_16b), (N_APS + 1) * ROUNDS)
    CHECK_EQ(MEM(sum_16b + 8), (N_APS + 1) * ROUNDS)

    /* Store buffering is the only reordering x86 allows; message passing must hold. */
    mov dword ptr [finished], 0
    mov dword ptr [go], 2
    mov ecx, ROUNDS
1:  mov [message], rcx
    mov [flag], rcx
    dec rcx
    jnz 1b
    mov MEM(flag), -1
    WAIT_FOR(finished, N_APS)
    CHECK_EQ(dword ptr [disorder], 0)

    /* Interrupts to the others, out of HLT. */
    mov dword ptr [finished], 0
    mov dword ptr [go], 3
    WAIT_FOR(finished, N_APS)
    IPI(0x40)
    WAIT_FOR(taken, N_APS)

    /* A page taken away: the others drop it when told. */
    mov dword ptr [finished], 0
    mov dword ptr [go], 4 /* they read the page until it is another one */
    mov byte ptr [DATA], 0x11
    mov byte ptr [DATA + 0x1000], 0x22
    WAIT_FOR(reading, N_APS)
    mov MEM(PTE(DATA)), DATA + 0x1000 + 7
    IPI(0x41)
    WAIT_FOR(finished, N_APS)

    /* Code that another CPU changes under the ones that run it. */
    mov dword ptr [finished], 0
    mov dword ptr [go], 5
    WAIT_FOR(calling, N_APS)
    mov dword ptr [changing + 1], 2 /* MOV EAX, 1 becomes MOV EAX, 2 */
    WAIT_FOR(finished, N_APS)

    /* INIT stops a running CPU for good; it starts anew with the next SIPI. */
    mov dword ptr [go], 6
    WAIT_FOR(spinning, N_APS)
    mov dword ptr [cpus_up], 1
    mov dword ptr [ready], 0
    IPI_INIT
    /* They stop as soon as the host lets them; the counter then stands still. */
1:  mov rax, [spins]
    mov ecx, 2000000
2:  dec ecx
    jnz 2b
    cmp rax, [spins]
    jne 1b
    mov dword ptr [go], 0
    IPI_SIPI
    WAIT_FOR(ready, N_APS)
    CHECK_EQ(dword ptr [cpus_up], N_APS + 1)
    PASS

/* On the bootstrap processor: the APIC's page, uncached. All use the same tables. */
map_apic:
    mov dword ptr [PDPT + 24], 0x106000 + 7
    mov eax, APIC | PTE_P | PTE_W | PTE_PS | 0x18
    mov [0x106000 + 0x1f7 * 8], rax
    mov rax, cr3
    mov cr3, rax
    mov ebx, APIC
    mov eax, offset handle_40
    mov [idt + 0x40 * 16], ax
    shr eax, 16
    mov [idt + 0x40 * 16 + 6], ax
    mov eax, offset handle_41
    mov [idt + 0x41 * 16], ax
    shr eax, 16
    mov [idt + 0x41 * 16 + 6], ax
    ret

handle_40:
    lock inc dword ptr [taken]
    push rax
    mov eax, APIC + 0xb0
    mov dword ptr [rax], 0
    pop rax
    iretq
handle_41:
    invlpg [USER(DATA)]
    push rax
    mov eax, APIC + 0xb0
    mov dword ptr [rax], 0
    pop rax
    iretq

ap_main:
    mov ebx, APIC
    mov eax, 0x1000
    lock xadd [stacks], eax
    mov esp, eax
    lidt [idt_pointer]
    mov REG(0xf0), 0x1ff
    mov ecx, 0x1b
    rdmsr
    and eax, 0x100
    lock or [aps_bsp], eax
    mov eax, 1
    cpuid
    shr ebx, 24
    mov ecx, ebx
    mov eax, 1
    shl eax, cl
    lock or [ids], eax
    mov ebx, APIC
    mov eax, REG(0x20)
    shr eax, 24
    mov ecx, eax
    mov eax, 1
    shl eax, cl
    lock or [ids], eax
    lock inc dword ptr [ready]

    WAIT_FOR(go, 1)
    call add_up
    lock inc dword ptr [finished]

    WAIT_FOR(go, 2)
1:  mov rax, [flag]
    mov rdx, [message]
    cmp rax, -1
    je 2f
    test rax, rax
    jz 1b
    cmp rdx, rax /* counts down: the message is at least as new as the flag */
    jbe 1b
    lock inc dword ptr [disorder]
2:  lock inc dword ptr [finished]

    WAIT_FOR(go, 3)
    lock inc dword ptr [finished]
    sti
    hlt
    cli

    WAIT_FOR(go, 4)
    mov edx, USER(DATA)
    mov al, [rdx]
    lock inc dword ptr [reading]
    sti
3:  cmp byte ptr [rdx], 0x22
    jne 3b
    cli
    lock inc dword ptr [finished]

    WAIT_FOR(go, 5)
    call changing
    lock inc dword ptr [calling]
4:  call changing
    cmp eax, 2
    jne 4b
    lock inc dword ptr [finished]

    WAIT_FOR(go, 6)
    lock inc dword ptr [spinning]
5:  inc MEM(spins)
    jmp 5b

.balign 64
changing:
    mov eax, 1
    ret

.balign 64
add_up:
    mov ecx, ROUNDS
1:  lock add MEM(sum_add), 1
    lock inc MEM(sum_inc)
    mov eax, 1
    lock xadd [sum_xadd], rax
    mov rax, [sum_cmpxchg]
2:  lea rdx, [rax + 1]
    lock cmpxchg [sum_cmpxchg], rdx
    jne 2b
    /* a lock of our own around a plain addition */
3:  mov eax, 1
    xchg [mutex], eax
    test eax, eax
    jz 4f
    pause
    jmp 3b
4:  inc MEM(sum_locked)
    mov dword ptr [mutex], 0
    /* across a page boundary */
    lock inc MEM(split_page + 4096 - 4)
    push rbx
    push rcx
    mov rax, [sum_16b]
    mov rdx, [sum_16b + 8]
5:  lea rbx, [rax + 1]
    lea rcx, [rdx + 1]
    lock cmpxchg16b [sum_16b]
    jne 5b
    pop rcx
    pop rbx
    dec ecx
    jnz 1b
    ret

.balign 4096 /* away from the code */
sum_add: .quad 0
sum_inc: .quad 0
sum_xadd: .quad 0
sum_cmpxchg: .quad 0
sum_locked: .quad 0
spins: .quad 0
.balign 16
sum_16b: .quad 0, 0
message: .quad ROUNDS + 1
.balign 64
flag: .quad 0
.balign 64
mutex: .long 0
go: .long 0
ready: .long 0
finished: .long 0
taken: .long 0
reading: .long 0
calling: .long 0
spinning: .long 0
disorder: .long 0
aps_bsp: .long 0
ids: .long 1
stacks: .long AP_STACK
.balign 4096
split_page: .fill 4096 + 8, 1, 0
