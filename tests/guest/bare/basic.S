/*
 * The least a CPU must do, in instructions that even a KVM without hardware behind it knows: real mode to long mode, arithmetic,
 * exceptions with their frames, page faults, ports, privilege down and up.
 */
#include "bare.h"

main:
    /* Arithmetic and flags. */
    mov rax, 0x7fffffffffffffff
    add rax, 1
    jo 1f
    FAIL
1:  mov rdx, 0x8000000000000000
    CHECK_EQ(rax, rdx)
    mov eax, 1000003
    mov ecx, 999983
    mul ecx
    CHECK_EQ(edx, 232)
    mov ecx, 999983
    div ecx
    CHECK_EQ(eax, 1000003)
    CHECK_EQ(edx, 0)
    /* Faults, each with its frame. */
    xor ecx, ecx
    FAULTS(0, 0)
    div ecx
    END_FAULTS
    FAULTS(6, 0)
    ud2
    END_FAULTS
    mov rax, cr0
    btr rax, 0
    FAULTS(13, 0)
    mov cr0, rax
    END_FAULTS
    mov ebx, 0x3000000
    FAULTS(14, 0)
    mov al, [rbx]
    END_FAULTS
    CHECK_EQ(MEM(exc_cr2), rbx)
    FAULTS(14, 2)
    mov [rbx], al
    END_FAULTS
    CHECK_EQ(MEM(exc_count), 5)
    /* Ports and string I/O. */
    mov edx, 0x100
    in eax, dx
    mov ecx, 0x76543210
    CHECK_EQ(eax, ecx)
    mov edi, offset scratch
    mov ecx, 3
    rep insb
    CHECK_EQ(edi, offset scratch + 3)
    CHECK_EQ(word ptr [scratch], 0x1010)
    mov al, 'x'
    mov dx, PORT_LOG
    out dx, al
    /* A page of CPL 3, and what CPL 3 may not. */
    RUN_USER(user_ud2)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_EQ(MEM(exc_cs), SEL_USER64)
    CHECK_EQ(MEM(exc_rsp), USER(USER_STACK))
    RUN_USER(user_hlt)
    CHECK_EQ(MEM(exc_vector), 13)
    RUN_USER(user_super)
    CHECK_EQ(MEM(exc_vector), 14)
    CHECK_EQ(MEM(exc_error), 5)
    CHECK_EQ(MEM(exc_cr2), 0x100000)
    PASS

user_ud2:
    ud2
user_hlt:
    hlt
user_super:
    mov al, [0x100000]
    ud2
.balign 8
scratch: .quad 0
