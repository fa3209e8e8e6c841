/* Other CPUs started by INIT and start-up IPIs, and all of them counting with LOCK. */
#define AP_MAIN ap_main
#include "bare.h"

#define APIC 0xfee00000
#define ROUNDS 2000
#define N_APS 2

main:
    mov dword ptr [PDPT + 24], 0x106000 + 7
    mov eax, APIC | PTE_P | PTE_W | PTE_PS | 0x18
    mov [0x106000 + 0x1f7 * 8], rax
    mov rax, cr3
    mov cr3, rax
    mov ebx, APIC
    mov dword ptr [rbx + 0xf0], 0x1ff
    mov dword ptr [rbx + 0x300], 0xc4500
    mov dword ptr [rbx + 0x300], 0xc4608
    call count
1:  pause
    cmp dword ptr [done], N_APS
    jne 1b
    CHECK_EQ(dword ptr [number], (N_APS + 1) * ROUNDS)
    CHECK_EQ(dword ptr [cpus_up], N_APS + 1)
    PASS

ap_main:
    mov eax, 0x1000
    lock xadd [stacks], eax
    mov esp, eax
    call count
    lock inc dword ptr [done]
1:  cli
    hlt
    jmp 1b

count:
    mov ecx, ROUNDS
1:  lock inc dword ptr [number]
    dec ecx
    jnz 1b
    ret

.balign 4096
number: .long 0
done: .long 0
stacks: .long AP_STACK
