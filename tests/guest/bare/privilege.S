/* Privilege in long mode: what CPL 3 may not do, gates, SYSCALL and SYSENTER, IRET, I/O permission. SDM vol. 3 chapters 5, 6. */
#include "bare.h"

#define EFLAGS_IF 0x200
#define USER_MUST_GP(label) RUN_USER(label); CHECK_EQ(MEM(exc_vector), 13); CHECK_EQ(MEM(exc_error), 0); \
    CHECK_EQ(MEM(exc_rip), offset label + USER_BASE); CHECK_EQ(MEM(exc_cs), SEL_USER64)
#define GATE(vector) (idt + (vector) * 16)
#define OPEN_GATE(vector) mov byte ptr [GATE(vector) + 5], 0xee

main:
    /* The way in: stack from the TSS, SS null, flags as pushed. */
    RUN_USER(u_ud2)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_EQ(MEM(exc_cs), SEL_USER64)
    CHECK_EQ(MEM(exc_ss), SEL_UDATA)
    CHECK_EQ(MEM(exc_rsp), USER(USER_STACK))
    CHECK_EQ(MEM(exc_rip), offset u_ud2 + USER_BASE)
    CHECK_EQ(MEM(exc_frame), STACK_TOP - 6 * 8)
    CHECK_EQ(MEM(exc_cpl_cs), SEL_CODE64)
    CHECK_EQ(MEM(exc_ss_in), 0)
    CHECK_SET(MEM32(exc_rflags), 0x10000) /* RF: it was a fault */
    CHECK_ZERO(MEM32(exc_flags_in), 0x10000)

    /* Instructions of CPL 0. */
    USER_MUST_GP(u_hlt)
    USER_MUST_GP(u_mov_cr0)
    USER_MUST_GP(u_mov_to_cr3)
    USER_MUST_GP(u_mov_cr8)
    USER_MUST_GP(u_mov_dr)
    USER_MUST_GP(u_clts)
    USER_MUST_GP(u_lgdt)
    USER_MUST_GP(u_lidt)
    USER_MUST_GP(u_lldt)
    USER_MUST_GP(u_ltr)
    USER_MUST_GP(u_lmsw)
    USER_MUST_GP(u_invlpg)
    USER_MUST_GP(u_wbinvd)
    USER_MUST_GP(u_invd)
    USER_MUST_GP(u_rdmsr)
    USER_MUST_GP(u_wrmsr)
    USER_MUST_GP(u_swapgs)
    USER_MUST_GP(u_sysret)
    USER_MUST_GP(u_cli)
    USER_MUST_GP(u_sti)
    mov edx, 0x100
    USER_MUST_GP(u_in)
    USER_MUST_GP(u_out)
    USER_MUST_GP(u_insb)
    RUN_USER(u_stac) /* #UD outside CPL 0 */
    CHECK_EQ(MEM(exc_vector), 6)
    RUN_USER(u_rdtsc) /* allowed ... */
    CHECK_EQ(MEM(exc_vector), 6)
    mov rax, cr4
    or rax, 4
    mov cr4, rax
    USER_MUST_GP(u_rdtsc) /* ... unless CR4.TSD */
    USER_MUST_GP(u_rdtscp)
    rdtsc
    mov rax, cr4
    and rax, ~4
    mov cr4, rax
    /* UMIP */
    RUN_USER(u_sgdt)
    CHECK_EQ(MEM(exc_vector), 6)
    RUN_USER(u_smsw)
    CHECK_EQ(MEM(exc_vector), 6)
    mov rax, cr4
    or rax, 0x800
    mov cr4, rax
    USER_MUST_GP(u_sgdt)
    USER_MUST_GP(u_sidt)
    USER_MUST_GP(u_sldt)
    USER_MUST_GP(u_str)
    USER_MUST_GP(u_smsw)
    sgdt [scratch]
    CHECK_EQ(word ptr [scratch], gdt_end - gdt - 1)
    CHECK_EQ(MEM(scratch + 2), offset gdt)
    mov rax, cr4
    and rax, ~0x800
    mov cr4, rax

    /* IOPL 3: CLI, STI and ports are free. POPF at CPL 3 never changes IOPL. */
    RUN_USER_AS(u_cli_sti, SEL_USER64, 0x3002)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_SET(MEM32(exc_rflags), EFLAGS_IF)
    mov edx, 0x100
    RUN_USER_AS(u_in, SEL_USER64, 0x3002)
    CHECK_EQ(MEM(exc_vector), 6)
    RUN_USER_AS(u_popf, SEL_USER64, 2) /* tries IF, IOPL 3 */
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_ZERO(MEM32(exc_rflags), 0x3000 | EFLAGS_IF)
    CHECK_SET(MEM32(exc_rflags), 1)
    RUN_USER_AS(u_popf, SEL_USER64, 0x3002) /* IOPL 3: IF may change */
    CHECK_SET(MEM32(exc_rflags), EFLAGS_IF)

    /* The permission bitmap: port 100h is beyond it, 42h inside. */
    and byte ptr [tss_bitmap + 0x42 / 8], ~(1 << (0x42 & 7))
    RUN_USER(u_in_42)
    CHECK_EQ(MEM(exc_vector), 6)
    USER_MUST_GP(u_in_42_word) /* needs 43h as well */
    and byte ptr [tss_bitmap + 0x43 / 8], ~(1 << (0x43 & 7))
    RUN_USER(u_in_42_word)
    CHECK_EQ(MEM(exc_vector), 6)
    mov edx, 0x100
    USER_MUST_GP(u_in)
    and byte ptr [tss_bitmap + 0xff / 8], 0x7f
    USER_MUST_GP(u_in_ff_word)

    /* Software interrupts: gates of DPL 0 are closed, and say which they are. */
    RUN_USER(u_int80)
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_error), 0x80 * 8 + 2)
    CHECK_EQ(MEM(exc_rip), offset u_int80 + USER_BASE)
    RUN_USER(u_int3)
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_error), 3 * 8 + 2)
    OPEN_GATE(0x80)
    OPEN_GATE(3)
    RUN_USER(u_int80)
    CHECK_EQ(MEM(exc_vector), 0x80)
    CHECK_EQ(MEM(exc_rip), offset u_int80 + USER_BASE + 2)
    CHECK_ZERO(MEM32(exc_rflags), 0x10000)
    RUN_USER(u_int3)
    CHECK_EQ(MEM(exc_vector), 3)
    CHECK_EQ(MEM(exc_rip), offset u_int3 + USER_BASE + 1)
    RUN_USER(u_int1) /* no DPL check */
    CHECK_EQ(MEM(exc_vector), 1)
    CHECK_EQ(MEM(exc_rip), offset u_int1 + USER_BASE + 1)
    /* A gate that is not present, not a gate, or beyond the limit. */
    mov byte ptr [GATE(0x80) + 5], 0x6e
    RUN_USER(u_int80)
    CHECK_EQ(MEM(exc_vector), 11)
    CHECK_EQ(MEM(exc_error), 0x80 * 8 + 2)
    mov byte ptr [GATE(0x80) + 5], 0xe5
    RUN_USER(u_int80)
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_error), 0x80 * 8 + 2)
    OPEN_GATE(0x80)
    mov word ptr [idt_pointer], 0x80 * 16 - 1
    lidt [idt_pointer]
    RUN_USER(u_int80)
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_error), 0x80 * 8 + 2)
    mov word ptr [idt_pointer], 256 * 16 - 1
    lidt [idt_pointer]
    /* A gate to something that is not 64-bit code of this privilege. */
    mov word ptr [GATE(0x80) + 2], SEL_DATA
    FAULTS(13, SEL_DATA)
    int 0x80
    END_FAULTS
    mov word ptr [GATE(0x80) + 2], SEL_CODE32
    FAULTS(13, SEL_CODE32)
    int 0x80
    END_FAULTS
    mov word ptr [GATE(0x80) + 2], SEL_USER64 & ~3
    FAULTS(13, SEL_USER64 & ~3)
    int 0x80
    END_FAULTS
    mov word ptr [GATE(0x80) + 2], 0
    FAULTS(13, 0)
    int 0x80
    END_FAULTS
    mov word ptr [GATE(0x80) + 2], SEL_CODE64
    mov dword ptr [GATE(0x80) + 8], 0x8000 /* not canonical */
    FAULTS(13, 0)
    int 0x80
    END_FAULTS
    mov dword ptr [GATE(0x80) + 8], 0

    /* SYSCALL and SYSRET. */
    mov ecx, 0xc0000081
    xor eax, eax
    mov edx, SEL_CODE64 | (SEL_USER32 << 16) /* SYSRET: 30h for 64 bits, SS 28h */
    wrmsr
    mov ecx, 0xc0000082
    mov eax, offset syscall_entry
    xor edx, edx
    wrmsr
    mov ecx, 0xc0000084
    mov eax, 0x40600 /* AC, DF, IF */
    wrmsr
    RUN_USER_AS(u_syscall, SEL_USER64, 0x40602 | 1)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_EQ(MEM(exc_rip), offset u_syscall_done + USER_BASE)
    CHECK_EQ(MEM(exc_cs), SEL_USER64)
    CHECK_EQ(MEM(exc_ss), SEL_UDATA)
    CHECK_EQ(MEM(syscall_cs), SEL_CODE64)
    CHECK_EQ(MEM(syscall_ss), SEL_CODE64 + 8)
    CHECK_ZERO(MEM32(syscall_flags), 0x40600)
    CHECK_SET(MEM32(syscall_flags), 1)
    CHECK_EQ(MEM(syscall_rcx), offset u_syscall_back + USER_BASE)
    mov eax, [exc_rflags]
    and eax, 0x40e03
    CHECK_EQ(eax, 0x40603)
    /* SYSRET to 32-bit code. */
    mov ecx, offset u32_ud2 + USER_BASE
    mov r11d, 2
    mov MEM(resume), offset 1f
    .byte 0x0f, 0x07
    FAIL
1:  CHECK_EQ(MEM(exc_vector), 6)
    CHECK_EQ(MEM(exc_cs), SEL_USER32)
    CHECK_EQ(MEM(exc_rip), offset u32_ud2 + USER_BASE)
    /* From 32-bit code SYSCALL does not exist on an Intel CPU. */
    UNLESS_INTEL(1f)
    RUN_USER_AS(u_syscall_only, SEL_USER32, 2)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_EQ(MEM(exc_rip), offset u_syscall_only + USER_BASE)
1:  /* SYSRETQ to a non-canonical address faults before it leaves. */
    mov rcx, 0x800000000000
    FAULTS(13, 0)
    .byte 0x48, 0x0f, 0x07
    END_FAULTS
    CHECK_EQ(MEM(exc_cs), SEL_CODE64)
    /* Without EFER.SCE: #UD. */
    mov ecx, 0xc0000080
    rdmsr
    and eax, ~1
    wrmsr
    FAULTS(6, 0)
    syscall
    END_FAULTS
    mov ecx, 0xc0000080
    rdmsr
    or eax, 1
    wrmsr

    /* SYSENTER and SYSEXIT. */
    UNLESS_INTEL(no_sysenter)
    FAULTS(13, 0) /* SYSENTER_CS is null */
    sysenter
    END_FAULTS
    mov ecx, 0x174
    mov eax, SEL_TEST
    xor edx, edx
    wrmsr
    mov ecx, 0x175
    mov eax, STACK_TOP - 0x1000
    wrmsr
    mov ecx, 0x176
    mov eax, offset sysenter_entry
    wrmsr
    RUN_USER_AS(u_sysenter, SEL_USER64, EFLAGS_IF | 2)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_EQ(MEM(exc_cs), SEL_TEST + 35)
    CHECK_EQ(MEM(exc_ss), SEL_TEST + 43)
    CHECK_EQ(MEM(exc_rip), offset u_ud2 + USER_BASE)
    CHECK_EQ(MEM(syscall_cs), SEL_TEST)
    CHECK_EQ(MEM(syscall_ss), SEL_TEST + 8)
    CHECK_ZERO(MEM32(syscall_flags), EFLAGS_IF)
    CHECK_EQ(MEM(syscall_rsp), STACK_TOP - 0x1000)
    RUN_USER_AS(u_sysenter, SEL_USER32, 2)
    CHECK_EQ(MEM(exc_vector), 6)

no_sysenter:
    /* IRETQ refuses what is not right; selectors are in the error code. */
    sub rsp, 512
    mov MEM(rsp), offset never
    mov MEM(rsp + 8), SEL_CODE64
    mov MEM(rsp + 16), 2
    mov MEM(rsp + 24), STACK_TOP
    mov MEM(rsp + 32), SEL_DATA
    mov rbp, rsp
    mov MEM(rbp + 8), 0
    FAULTS(13, 0)
    iretq
    END_FAULTS
    mov rsp, rbp
    mov MEM(rbp + 8), SEL_DATA
    FAULTS(13, SEL_DATA)
    iretq
    END_FAULTS
    mov rsp, rbp
    mov MEM(rbp + 8), SEL_USER64 & ~3 /* DPL 3, RPL 0 */
    FAULTS(13, SEL_USER64 & ~3)
    iretq
    END_FAULTS
    mov rsp, rbp
    mov MEM(rbp + 8), SEL_USER64
    FAULTS(13, SEL_DATA) /* SS of another privilege */
    iretq
    END_FAULTS
    mov rsp, rbp
    mov MEM(rbp + 32), 3 /* null SS at CPL 3 */
    FAULTS(13, 0)
    iretq
    END_FAULTS
    mov rsp, rbp
    mov MEM(rbp + 32), SEL_UDATA
    mov rax, 0x800000000000
    mov [rbp], rax
    FAULTS(13, 0)
    iretq
    END_FAULTS
    mov rsp, rbp
    mov MEM(rbp), offset never
    mov MEM(rbp + 16), 0x4002 /* NT in the image is fine; NT now is not */
    pushfq
    or dword ptr [rsp], 0x4000
    popfq
    FAULTS(13, 0)
    iretq
    END_FAULTS
    pushfq
    and dword ptr [rsp], ~0x4000
    popfq
    /* Null SS is good for CPL 0. */
    push 0
    push STACK_TOP - 64
    push 2
    push SEL_CODE64
    push offset 1f
    iretq
1:  mov eax, ss
    CHECK_EQ(eax, 0)
    CHECK_EQ(rsp, STACK_TOP - 64)
    push rax
    pop rax
    mov eax, SEL_DATA
    mov ss, eax
    mov esp, STACK_TOP

    /* A call gate inwards: 64-bit gate, stack from the TSS, SS null. */
    mov eax, offset gate_entry
    mov [gdt + SEL_TEST], ax
    mov word ptr [gdt + SEL_TEST + 2], SEL_CODE64
    mov word ptr [gdt + SEL_TEST + 4], 0xec00
    shr eax, 16
    mov [gdt + SEL_TEST + 6], ax
    mov MEM(gdt + SEL_TEST + 8), 0
    RUN_USER(u_call_gate)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_EQ(MEM(exc_rip), offset u_call_gate_done + USER_BASE)
    CHECK_EQ(MEM(exc_cs), SEL_USER64)
    CHECK_EQ(MEM(exc_rsp), USER(USER_STACK))
    CHECK_EQ(MEM(syscall_cs), SEL_CODE64)
    CHECK_EQ(MEM(syscall_ss), 0)
    CHECK_EQ(MEM(syscall_rsp), STACK_TOP - 32)
    mov byte ptr [gdt + SEL_TEST + 5], 0x8c /* DPL 0 */
    RUN_USER(u_call_gate)
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_error), SEL_TEST)
    mov byte ptr [gdt + SEL_TEST + 5], 0x6c /* not present */
    RUN_USER(u_call_gate)
    CHECK_EQ(MEM(exc_vector), 11)
    CHECK_EQ(MEM(exc_error), SEL_TEST)

    /* SWAPGS, FSGSBASE. */
    mov ecx, 0xc0000101
    mov eax, 0x11110000
    mov edx, 0xffff8000
    wrmsr
    mov ecx, 0xc0000102
    mov eax, 0x22220000
    xor edx, edx
    wrmsr
    swapgs
    mov ecx, 0xc0000101
    rdmsr
    CHECK_EQ(eax, 0x22220000)
    CHECK_EQ(edx, 0)
    swapgs
    rdmsr
    CHECK_EQ(edx, 0xffff8000)
    mov edx, 0x8000 /* not canonical */
    FAULTS(13, 0)
    wrmsr
    END_FAULTS
    FAULTS(6, 0)
    rdfsbase rax
    END_FAULTS
    mov rax, cr4
    or rax, 0x10000
    mov cr4, rax
    rdgsbase rax
    mov rdx, 0xffff800011110000
    CHECK_EQ(rax, rdx)
    mov eax, 0x12345678
    wrfsbase eax
    rdfsbase rdx
    CHECK_EQ(rdx, 0x12345678)
    mov rax, 0x800000000000
    FAULTS(13, 0)
    wrgsbase rax
    END_FAULTS
    mov MEM(scratch), 0x4242
    mov eax, offset scratch - 0x10
    wrgsbase rax
    CHECK_EQ(qword ptr gs:[0x10], 0x4242)
    PASS

never:
    FAIL

syscall_entry:
    mov [syscall_rcx], rcx
    call note
    mov ecx, offset u_syscall_done + USER_BASE
    .byte 0x48, 0x0f, 0x07 /* SYSRETQ; RSP is still the user's */
sysenter_entry:
    mov [syscall_rsp], rsp
    call note
    mov edx, offset u_ud2 + USER_BASE
    mov ecx, USER(USER_STACK)
    .byte 0x48, 0x0f, 0x35 /* SYSEXITQ */
gate_entry:
    mov [syscall_rsp], rsp
    call note
    .byte 0x48, 0xcb /* RETFQ */

note: /* uses a stack that is anybody's */
    pushfq
    pop rax
    mov [syscall_flags], rax
    mov eax, cs
    mov [syscall_cs], rax
    mov eax, ss
    mov [syscall_ss], rax
    ret

/* What runs at CPL 3, each ending in an exception. */
#define U(name, ...) name: __VA_ARGS__; ud2
U(u_ud2, )
U(u_hlt, hlt)
U(u_mov_cr0, mov rax, cr0)
U(u_mov_to_cr3, mov cr3, rax)
U(u_mov_cr8, mov rax, cr8)
U(u_mov_dr, mov rax, dr6)
U(u_clts, clts)
U(u_lgdt, lgdt [rip + 0])
U(u_lidt, lidt [rip + 0])
U(u_lldt, lldt ax)
U(u_ltr, ltr ax)
U(u_lmsw, lmsw ax)
U(u_invlpg, invlpg [rax])
U(u_wbinvd, wbinvd)
U(u_invd, invd)
U(u_rdmsr, rdmsr)
U(u_wrmsr, wrmsr)
U(u_swapgs, swapgs)
u_sysret:
    .byte 0x48, 0x0f, 0x07
    ud2
U(u_cli, cli)
U(u_sti, sti)
U(u_cli_sti, cli; sti)
U(u_stac, stac)
U(u_rdtsc, rdtsc)
U(u_rdtscp, rdtscp)
U(u_sgdt, sgdt [rsp - 16])
U(u_sidt, sidt [rsp - 16])
U(u_sldt, sldt eax)
U(u_str, str eax)
U(u_smsw, smsw eax)
u_in:
    in al, dx
    ud2
u_out:
    out dx, al
    ud2
u_insb:
    insb
    ud2
U(u_in_42, in al, 0x42)
U(u_in_42_word, in ax, 0x42)
U(u_in_ff_word, in ax, 0xff)
U(u_popf, push 0x3203; popfq)
U(u_int80, int 0x80)
U(u_int3, int3)
u_int1:
    .byte 0xf1
    ud2
u_syscall:
    syscall
u_syscall_back:
    hlt
u_syscall_done:
    ud2
u_syscall_only:
    syscall
    ud2
u_sysenter:
    sysenter
    ud2
u_call_gate:
    .byte 0xff, 0x1c, 0x25 /* call far [gate_pointer] */
    .long gate_pointer + USER_BASE
u_call_gate_done:
    ud2
u32_ud2:
    ud2

gate_pointer:
    .long 0
    .word SEL_TEST | 3
.balign 8
scratch: .quad 0, 0
syscall_cs: .quad 0
syscall_ss: .quad 0
syscall_flags: .quad 0
syscall_rcx: .quad 0
syscall_rsp: .quad 0
