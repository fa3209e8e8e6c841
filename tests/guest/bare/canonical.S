/*
 * Near jumps, calls and returns to where addresses are not canonical: #GP(0) of the jump itself, with RSP as it was, however
 * often the code has run and whatever runs at the same address but for its upper bits. SDM vol. 2, JMP, CALL, RET.
 */
#include "bare.h"

#define TIMES 700

main:
    /* Code that has run often, for CPL 0 and for CPL 3. */
    mov ebx, 100
1:  mov eax, offset target
    call rax
    RUN_USER(user_warm)
    CHECK_EQ(MEM(exc_vector), 6)
    dec ebx
    jnz 1b

    mov esp, STACK_TOP /* as after every exception */
    mov ebx, 1
again:
    mov r12, rbx
    shl r12, 48
    FAULTS(13, 0)
    jmp r12
    END_FAULTS
    lea rax, [r12 + target]
    FAULTS(13, 0)
    jmp rax
    END_FAULTS
    FAULTS(13, 0)
    call rax
    END_FAULTS
    CHECK_EQ(MEM(exc_rsp), STACK_TOP)
    push rax
    FAULTS(13, 0)
    ret
    END_FAULTS
    CHECK_EQ(MEM(exc_rsp), STACK_TOP - 8)
    push rax
    FAULTS(13, 0)
    ret 16
    END_FAULTS
    CHECK_EQ(MEM(exc_rsp), STACK_TOP - 8)
    mov MEM(word), rax
    FAULTS(13, 0)
    jmp MEM(word)
    END_FAULTS
    FAULTS(13, 0)
    call MEM(word)
    END_FAULTS
    CHECK_EQ(MEM(exc_rsp), STACK_TOP)
    RUN_USER(user_jump)
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_rip), offset user_jump + USER_BASE)
    RUN_USER(user_return)
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_rip), offset user_return + USER_BASE + 1)
    CHECK_EQ(MEM(exc_rsp), USER(USER_STACK) - 8)
    inc ebx
    cmp ebx, TIMES
    jb again
    PASS

.balign 64
target:
    ret

.balign 64
user_warm:
    mov ecx, 50
1:  lea rax, target[rip]
    call rax
    dec ecx
    jnz 1b
    ud2
user_jump:
    jmp rax
user_return:
    push rax
    ret

.balign 8
word:
    .quad 0
