/*
 * 32-bit protected mode, which Linux for x86-64 never shows: segment limits, rings through a 32-bit TSS, call gates with
 * parameters, 16-bit gates, virtual-8086 mode, two-level and PAE paging. SDM vol. 3 chapters 3 to 6 and 21.
 */
#include "bare.h"

#define T(n) (SEL_TEST + 8 * (n))
#define DESC(n, low, high) mov dword ptr [gdt + T(n)], low; mov dword ptr [gdt + T(n) + 4], high
#define VM 0x20000
#define GATE32(n) (idt + (n) * 8)
#define SEL_TSS32 T(15)
#define exc_ds exc_flags_in
#define TABLES 0x110000
#define ANDN_EAX .byte 0xc4, 0xe2, 0x60, 0xf2, 0xc1 /* andn eax, ebx, ecx */

main:
    .byte 0xff, 0x2c, 0x25
    .long to_protected

#undef MEM
#define MEM(x) dword ptr [x]
#undef FAIL
#define FAIL FAIL_AT(fail32, eax)
#undef RUN_USER_AS
#define RUN_USER_AS(label, cs, flags) \
    mov MEM(resume), offset 97f; \
    push SEL_UDATA; push USER_STACK; push flags; push cs; push offset label; iretd; \
97:
#undef RUN_USER
#define RUN_USER(label) RUN_USER_AS(label, SEL_USER32, 2)

.code32
protected_again:
    mov eax, cr0
    btr eax, 31
    mov cr0, eax
    mov ecx, 0xc0000080
    mov eax, 0x801 /* NXE stays, LME goes */
    xor edx, edx
    wrmsr
    xor eax, eax
    mov cr4, eax
    mov ax, SEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, STACK_TOP
    /* IDT: 64 interrupt gates of 32 bits, open to all from 30h on; 40h is a 16-bit one. */
    mov edi, offset idt
    mov eax, offset stubs32
    xor ecx, ecx
1:  mov [edi], ax
    mov word ptr [edi + 2], SEL_CODE32
    mov word ptr [edi + 4], 0x8e00
    cmp ecx, 0x30
    jb 2f
    mov byte ptr [edi + 5], 0xee
2:  mov edx, eax
    shr edx, 16
    mov [edi + 6], dx
    add eax, 16
    add edi, 8
    inc ecx
    cmp ecx, 64
    jb 1b
    lidt [idt32_pointer]
    mov dword ptr [tss32 + 4], STACK_TOP
    mov dword ptr [tss32 + 8], SEL_DATA
    mov word ptr [tss32 + 0x66], 0x68
    mov eax, offset tss32
    mov word ptr [gdt + SEL_TSS32], tss32_end - tss32 - 1
    mov [gdt + SEL_TSS32 + 2], ax
    shr eax, 16
    mov [gdt + SEL_TSS32 + 4], al
    mov [gdt + SEL_TSS32 + 7], ah
    mov byte ptr [gdt + SEL_TSS32 + 5], 0x89
    mov byte ptr [gdt + SEL_TSS32 + 6], 0
    mov ax, SEL_TSS32
    ltr ax
    CHECK_EQ(byte ptr [gdt + SEL_TSS32 + 5], 0x8b)

    /* Limits: #GP(0) for data, #SS(0) for the stack; the last byte counts. */
    DESC(0, 0x00000fff, 0x00409310) /* base 100000h, 4 KiB */
    mov eax, T(0)
    mov es, ax
    mov al, es:[0xfff]
    FAULTS(13, 0)
    mov al, es:[0x1000]
    END_FAULTS
    mov eax, T(0)
    mov es, ax
    mov byte ptr es:[0x10], 0x77
    CHECK_EQ(byte ptr [0x100010], 0x77)
    FAULTS(13, 0) /* read-only data */
    mov byte ptr cs:[0], 1
    END_FAULTS
    /* Vectors: 32 bytes at once, under a mask those that count, of an XSAVE area what XCR0 enables. */
    mov eax, 1
    cpuid
    bt ecx, 28
    jnc 1f
    mov eax, cr4
    bts eax, 18
    mov cr4, eax
    xor ecx, ecx
    mov eax, 7
    xor edx, edx
    xsetbv
    mov eax, T(0)
    mov es, ax
    vmovups ymm0, es:[0xfe0]
    vmovups es:[0xfe0], ymm0
    vpcmpeqd xmm1, xmm1, xmm1
    vpsrldq xmm2, xmm1, 8
    vmaskmovps xmm0, xmm2, es:[0xff8]
    vmaskmovps es:[0xff8], xmm2, xmm0
    vmovss xmm0, es:[0xffc]
    mov eax, 7
    xsave es:[0xcc0]
    FAULTS(13, 0)
    vmovups ymm0, es:[0xfe1]
    END_FAULTS
    mov eax, T(0)
    mov es, ax
    FAULTS(13, 0) /* QEMU: checks no limits */
    vmaskmovps es:[0xff8], xmm1, xmm0
    END_FAULTS
    mov eax, T(0)
    mov es, ax
    FAULTS(13, 0) /* QEMU: checks no limits */
    vmovss xmm0, es:[0xffd]
    END_FAULTS
    mov eax, T(0)
    mov es, ax
    mov eax, 7
    FAULTS(13, 0)
    xsave es:[0xd00]
    END_FAULTS
    mov eax, T(0)
    mov es, ax
    mov eax, 3
    xsave es:[0xd00]
1:
    DESC(1, 0x0000ffff, 0x00409110) /* read-only */
    mov eax, T(1)
    mov es, ax
    FAULTS(13, 0)
    mov byte ptr es:[0], 1
    END_FAULTS
    xor eax, eax
    mov es, ax
    FAULTS(13, 0) /* null */
    mov al, es:[0]
    END_FAULTS
    /* Expand-down: valid above the limit. */
    DESC(2, 0x00000fff, 0x00409710)
    mov eax, T(2)
    mov es, ax
    mov al, es:[0x1000]
    FAULTS(13, 0)
    mov al, es:[0xfff]
    END_FAULTS
    mov eax, T(2)
    mov es, ax
    FAULTS(13, 0)
    mov eax, es:[0xffffffff]
    END_FAULTS

    /* Ring 3 and back by #GP, INT and #UD. */
    RUN_USER(u_hlt)
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_rip), offset u_hlt)
    CHECK_EQ(MEM(exc_cs), SEL_USER32)
    CHECK_EQ(MEM(exc_ss), SEL_UDATA)
    CHECK_EQ(MEM(exc_rsp), USER_STACK)
    CHECK_EQ(MEM(exc_frame), STACK_TOP - 5 * 4)
    RUN_USER(u_int30)
    CHECK_EQ(MEM(exc_vector), 0x30)
    CHECK_EQ(MEM(exc_rip), offset u_int30 + 2)
    RUN_USER(u_int20)
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_error), 0x20 * 8 + 2)
    RUN_USER(u_bound)
    CHECK_EQ(MEM(exc_vector), 5)
    CHECK_EQ(MEM(exc_rip), offset u_bound_here)
    mov byte ptr [GATE32(4) + 5], 0xee
    RUN_USER(u_into)
    CHECK_EQ(MEM(exc_vector), 4)
    CHECK_EQ(MEM(exc_rip), offset u_into_here + 1)
    /* A return outwards makes data segments of the inner ring null. */
    mov eax, SEL_DATA
    mov fs, ax
    mov eax, SEL_UDATA
    mov gs, ax
    RUN_USER(u_segs)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_EQ(eax, 0)
    CHECK_EQ(edx, SEL_UDATA)
    /* A 16-bit interrupt gate pushes words. */
    mov byte ptr [GATE32(0x31) + 5], 0xe6
    mov eax, offset gate16
    mov [GATE32(0x31)], ax
    mov MEM(resume), offset 1f
    push 0
    popfd
    mov ebx, esp
    int 0x31
1:  CHECK_EQ(eax, 6)

    /* Call gates: parameters are copied, RETF n drops them on both sides. */
    DESC(3, 0, 0x0000ec02) /* two parameters */
    mov eax, offset gate_entry
    mov [gdt + T(3)], ax
    mov word ptr [gdt + T(3) + 2], SEL_CODE32
    shr eax, 16
    mov [gdt + T(3) + 6], ax
    RUN_USER(u_call_gate)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_EQ(MEM(exc_rip), offset u_call_gate_done)
    CHECK_EQ(MEM(exc_rsp), USER_STACK)
    CHECK_EQ(MEM(exc_cs), SEL_USER32)
    CHECK_EQ(MEM(gate_params), 0x1111)
    CHECK_EQ(MEM(gate_params + 4), 0x2222)
    CHECK_EQ(MEM(gate_esp), STACK_TOP - 24)
    RUN_USER(u_jmp_gate) /* JMP cannot go inwards */
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_error), SEL_CODE32)

    /* Conforming code runs at the caller's privilege. */
    DESC(4, 0x0000ffff, 0x00cf9e00)
    RUN_USER_AS(u_hlt, T(4) + 3, 2)
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_cs), T(4) + 3)
    CHECK_EQ(MEM(exc_error), 0)

    /* SYSENTER, SYSEXIT. */
    mov ecx, 0x174
    mov eax, SEL_CODE32
    xor edx, edx
    wrmsr
    mov ecx, 0x175
    mov eax, STACK_TOP - 0x100
    wrmsr
    mov ecx, 0x176
    mov eax, offset sysenter_entry
    wrmsr
    RUN_USER(u_sysenter)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_EQ(MEM(exc_rip), offset u_call_gate_done)
    CHECK_EQ(MEM(exc_rsp), USER_STACK - 16)
    CHECK_EQ(MEM(exc_cs), SEL_CODE32 + 19)
    UNLESS_INTEL(1f)
    FAULTS(6, 0) /* SYSCALL is for 64-bit code */
    syscall
    END_FAULTS
1:

    /* Virtual-8086 mode. */
#define RUN_V86(label, flags) mov MEM(resume), offset 97f; \
    push 0x44; push 0x33; push 0x22; push 0x11; push 0; push REAL_STACK; push VM | (flags); push 0; push offset label; iretd; 97:
    RUN_V86(v_segments, 2)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_SET(MEM(exc_rflags), VM)
    CHECK_EQ(MEM(exc_rip), offset v_segments_done)
    CHECK_EQ(MEM(exc_ds), 0) /* null in the handler */
    CHECK_EQ(MEM(exc_frame), STACK_TOP - 9 * 4)
    CHECK_EQ(MEM(STACK_TOP - 4), 0x44) /* GS */
    CHECK_EQ(MEM(STACK_TOP - 16), 0x1235) /* ES, as the code left it */
    CHECK_EQ(byte ptr [0x12350], 0x5a)
    RUN_V86(v_cli, 2)
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_error), 0)
    CHECK_EQ(MEM(exc_rip), offset v_cli)
    RUN_V86(v_cli, 0x3002)
    CHECK_EQ(MEM(exc_vector), 6)
    RUN_V86(v_pushf, 2)
    CHECK_EQ(MEM(exc_vector), 13)
    RUN_V86(v_int, 2) /* IOPL below 3: to the monitor */
    CHECK_EQ(MEM(exc_vector), 13)
    CHECK_EQ(MEM(exc_error), 0)
    CHECK_EQ(MEM(exc_rip), offset v_int)
    RUN_V86(v_int, 0x3002)
    CHECK_EQ(MEM(exc_vector), 0x30)
    CHECK_EQ(MEM(exc_rip), offset v_int + 2)
    RUN_V86(v_hlt, 0x3002)
    CHECK_EQ(MEM(exc_vector), 13)
    RUN_V86(v_lldt, 0x3002)
    CHECK_EQ(MEM(exc_vector), 6)
    RUN_V86(v_in, 0x3002) /* ports always by the bitmap: none is allowed */
    CHECK_EQ(MEM(exc_vector), 13)
    and byte ptr [tss32 + 0x68 + 0x42 / 8], ~(1 << (0x42 & 7))
    RUN_V86(v_in, 2)
    CHECK_EQ(MEM(exc_vector), 6)
    /* VEX is for protected mode: here C4 is LES, and of a register LES does not exist. */
    mov eax, 7
    xor ecx, ecx
    cpuid
    bt ebx, 3
    jnc 1f
    mov ebx, 0x0f
    mov ecx, 0x3c
    ANDN_EAX
    CHECK_EQ(eax, 0x30)
    RUN_V86(v_vex, 2)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_EQ(MEM(exc_rip), offset v_vex)
    ANDN_EAX
1:

    /* Two-level paging: 4 MiB pages with CR4.PSE, 4 KiB pages, rights. */
    mov edi, TABLES
    mov ecx, 0x6000 / 4
    xor eax, eax
    rep stosd
    mov MEM(TABLES), 0x83 /* 4 MiB, one to one */
    mov MEM(TABLES + 4), 0x400083
    mov MEM(TABLES + 0x400), TABLES + 0x1007 /* 40000000h: 4 KiB pages */
    mov MEM(TABLES + 0x1000), 0x180007
    mov MEM(TABLES + 0x1004), 0x181005 /* read-only */
    mov MEM(TABLES + 0x1008), 0x182003 /* supervisor */
    mov eax, 0x10
    mov cr4, eax
    mov eax, TABLES
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80010000
    mov cr0, eax
    mov MEM(0x180000), 0xabcd
    CHECK_EQ(MEM(0x40000000), 0xabcd)
    CHECK_SET(MEM(TABLES + 0x1000), PTE_A)
    CHECK_ZERO(MEM(TABLES + 0x1000), PTE_D)
    mov MEM(0x40000000), 1
    CHECK_SET(MEM(TABLES + 0x1000), PTE_D)
    CHECK_SET(MEM(TABLES), PTE_D)
    FAULTS(14, 3)
    mov MEM(0x40001000), 1
    END_FAULTS
    CHECK_EQ(MEM(exc_cr2), 0x40001000)
    FAULTS(14, 2)
    mov MEM(0x40003ffe), 1
    END_FAULTS
    CHECK_EQ(MEM(exc_cr2), 0x40003ffe)
    or byte ptr [TABLES], 4 /* the code's own page for all */
    mov eax, cr3
    mov cr3, eax
    RUN_USER(u_read_super)
    CHECK_EQ(MEM(exc_vector), 14)
    CHECK_EQ(MEM(exc_error), 5)
    CHECK_EQ(MEM(exc_cr2), 0x40002000)
    mov MEM(0x40000ffc), 0 /* across two pages that lie apart in memory: the second is not writable */
    FAULTS(14, 3)
    mov MEM(0x40000ffe), -1
    END_FAULTS
    CHECK_EQ(MEM(0x40000ffc), 0)

    /* PAE: three levels, PDPTEs loaded with CR3 and checked then, NX. */
    mov eax, cr0
    btr eax, 31
    mov cr0, eax
    mov MEM(TABLES + 0x2000), TABLES + 0x3001
    mov MEM(TABLES + 0x2008), TABLES + 0x4001
    mov MEM(TABLES + 0x3000), 0x87
    mov MEM(TABLES + 0x3008), 0x200087
    mov MEM(TABLES + 0x4000), TABLES + 0x5007
    mov MEM(TABLES + 0x5000), 0x180007
    mov MEM(TABLES + 0x5008), 0x181007
    mov MEM(TABLES + 0x500c), 0x80000000
    mov eax, 0x20
    mov cr4, eax
    mov eax, TABLES + 0x2000
    mov cr3, eax
    mov eax, cr0
    bts eax, 31
    mov cr0, eax
    CHECK_EQ(MEM(0x40000000), 1)
    mov byte ptr [0x40000000], 0xc3
    mov eax, 0x40000000
    call eax
    mov byte ptr [0x40001000], 0xc3
    mov MEM(resume), offset 1f
    mov eax, 0x40001000
    call eax
    FAIL
1:  CHECK_EQ(MEM(exc_vector), 14)
    CHECK_EQ(MEM(exc_error), 0x11)
    /* PDPTEs are not looked at again until the next load of CR3; with AMD's nested paging they are (APM vol. 2 15.25.10),
     * and then no load of CR3 checks them. */
    UNLESS_INTEL(1f)
    mov MEM(TABLES + 0x2008), 0
    mov al, [0x40000000]
    invlpg [0x40000000]
    mov al, [0x40000000]
    mov eax, cr3
    mov cr3, eax
    FAULTS(14, 0)
    mov al, [0x40000000]
    END_FAULTS
    /* ... which refuses reserved bits. */
    mov MEM(TABLES + 0x2008), TABLES + 0x4003
    mov eax, cr3
    FAULTS(13, 0)
    mov cr3, eax
    END_FAULTS
    mov MEM(TABLES + 0x2008), TABLES + 0x4001
    mov eax, cr3
    mov cr3, eax
    mov al, [0x40000000]
1:  xor edi, edi
    jmp fail32

gate16:
    mov eax, ebx
    sub eax, esp
    mov ecx, [resume]
    mov MEM(resume), 0
    mov esp, STACK_TOP
    jmp ecx

gate_entry:
    mov [gate_esp], esp
    mov eax, [esp + 8]
    mov [gate_params], eax
    mov eax, [esp + 12]
    mov [gate_params + 4], eax
    retf 8
sysenter_entry:
    CHECK_EQ(esp, STACK_TOP - 0x100)
    mov edx, offset u_call_gate_done
    mov ecx, USER_STACK - 16
    sysexit

u_hlt:
    hlt
u_int30:
    int 0x30
u_int20:
    int 0x20
u_bound:
    mov eax, SEL_UDATA
    mov ds, ax
    mov eax, 5
    bound eax, [bounds]
    mov eax, 7
u_bound_here:
    bound eax, [bounds]
    ud2
u_into:
    xor eax, eax
    into
    mov al, 0x7f
    inc al
u_into_here:
    into
    ud2
u_segs:
    mov eax, fs
    mov edx, gs
    ud2
u_call_gate:
    mov eax, SEL_UDATA
    mov ds, ax
    push 0x2222
    push 0x1111
    .byte 0x9a
    .long 0
    .word T(3) + 3
u_call_gate_done:
    ud2
u_jmp_gate:
    .byte 0xea
    .long 0
    .word T(3) + 3
    ud2
u_sysenter:
    sysenter
u_read_super:
    mov eax, SEL_UDATA
    mov ds, ax
    mov al, [0x40000000]
    mov al, [0x40002000]
    ud2

.code16
v_segments:
    mov ax, 0x1234
    mov ds, ax
    mov byte ptr [0x10], 0x5a
    mov ax, 0x1235
    mov es, ax
    cmp byte ptr es:[0], 0x5a
    jne 1f
    pushw 5
    popw ax
v_segments_done:
    ud2
1:  hlt
v_cli:
    cli
    sti
    ud2
v_pushf:
    pushf
    ud2
v_int:
    int 0x30
v_hlt:
    hlt
v_lldt:
    .byte 0x0f, 0x00, 0xd0
v_in:
    in al, 0x42
    ud2
v_vex:
    ANDN_EAX
    ud2

.code32
fail32:
    mov eax, edi
    mov edx, PORT_EXIT
    out dx, eax
1:  cli
    hlt
    jmp 1b

.balign 16
stubs32:
.set vec, 0
.rept 64
    .balign 16
    .if !((vec >= 10 && vec <= 14) || vec == 8 || vec == 17)
    push 0
    .endif
    push vec
    .byte 0xe9
    .long common32 - . - 4
    .set vec, vec + 1
.endr
common32:
    push eax
    mov eax, ds
    mov ss:[exc_ds], eax
    mov eax, SEL_DATA
    mov ds, ax
    mov es, ax
    pop dword ptr [exc_rax]
    pop dword ptr [exc_vector]
    mov [exc_frame], esp
    add dword ptr [exc_frame], 4
    pop dword ptr [exc_error]
    mov eax, [esp]
    mov [exc_rip], eax
    mov eax, [esp + 4]
    mov [exc_cs], eax
    mov eax, [esp + 8]
    mov [exc_rflags], eax
    mov eax, [esp + 12]
    mov [exc_rsp], eax
    mov eax, [esp + 16]
    mov [exc_ss], eax
    mov eax, cr2
    mov [exc_cr2], eax
    mov ecx, [resume]
    test ecx, ecx
    jz 1f
    mov MEM(resume), 0
    mov eax, SEL_DATA
    mov ss, ax
    mov esp, STACK_TOP
    mov eax, [exc_rax]
    jmp ecx
1:  mov edi, [exc_vector]
    shl edi, 16
    or edi, 0x80000000
    jmp fail32

.balign 8
to_protected:
    .long protected_again
    .word SEL_CODE32
idt32_pointer:
    .word 64 * 8 - 1
    .long idt
.balign 8
bounds: .long 3, 6
gate_params: .long 0, 0
gate_esp: .long 0
.balign 16
tss32:
    .fill 0x68, 1, 0
    .fill 0x20, 1, 0xff
    .byte 0xff
tss32_end:
