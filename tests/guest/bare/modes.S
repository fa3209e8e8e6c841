/*
 * From real mode to protected mode to long mode and back, twice, with what is special about each on the way. SDM vol. 3 sections
 * 10.8.5 (IA-32e mode), 10.9 (mode switching), 21 (real-address mode).
 */
#define START_REAL
#include "bare.h"

#undef FAIL
#define FAIL FAIL_AT(fail16, eax)
#define IVT(n, label) mov word ptr [(n) * 4], offset label; mov word ptr [(n) * 4 + 2], 0

.code16
real_main:
    cmp byte ptr [round], 0
    jne real_again
    /* INT pushes FLAGS, CS, IP and clears IF; IRET brings them back. */
    IVT(0x21, int21)
    IVT(0, int0)
    IVT(6, int6)
    IVT(13, int13)
    sti
    std
    int 0x21
after_int21:
    pushf
    pop ax
    and ax, 0x600
    CHECK_EQ(ax, 0x600)
    cli
    cld
    CHECK_EQ(byte ptr [seen21], 1)
    /* A fault's IP is the instruction's. No error codes here. */
    mov dx, 0
    mov ax, 5
    xor cl, cl
de_here:
    div cl
    CHECK_EQ(word ptr [fault_ip], offset de_here)
    /* Segments: sixteen times the selector. */
    mov ax, 0x1234
    mov es, ax
    mov byte ptr es:[0x10], 0x5a
    mov ax, 0x1235
    mov es, ax
    CHECK_EQ(byte ptr es:[0], 0x5a)
    /* ... and 64 KiB long. */
    mov word ptr [faults], 0
gp_here:
    .byte 0x26, 0xa1, 0xff, 0xff /* MOV AX, ES:[FFFF] */
    CHECK_EQ(word ptr [fault_ip], offset gp_here)
    mov esi, 0x10000
gp_here2:
    .byte 0x67, 0x26, 0x8b, 0x06 /* MOV AX, ES:[ESI] */
    CHECK_EQ(word ptr [fault_ip], offset gp_here2)
    CHECK_EQ(word ptr [faults], 2)
    /* Instructions of protected mode do not exist. */
ud_here:
    .byte 0x0f, 0x00, 0xd0, 0x90 /* LLDT AX; NOP */
    CHECK_EQ(word ptr [fault_ip], offset ud_here)
ud_here2:
    .byte 0x63, 0xc0, 0x90, 0x90 /* ARPL */
    CHECK_EQ(word ptr [fault_ip], offset ud_here2)
    /* Far calls; 32-bit operands. */
    push 0x7777
    push ds
    push 0x5555
    call far16
    add sp, 2
    pop ax
    CHECK_EQ(ax, 0)
    pop ax
    CHECK_EQ(ax, 0x7777)
    mov eax, 0x12345678
    push eax
    pop bx
    pop cx
    CHECK_EQ(bx, 0x5678)
    CHECK_EQ(cx, 0x1234)
    smsw ax
    CHECK_ZERO(al, 1)
    pushfd
    pop eax
    CHECK_ZERO(eax, 0x20000)

    /* 16-bit protected mode, and back with a 4 GiB limit in ES ("unreal"). */
    lgdt [gdt_pointer]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0xea
    .word protected16, SEL_CODE16
protected16:
    mov ax, SEL_DATA
    mov es, ax
    mov ax, SEL_DATA16
    mov ss, ax
    push 0x1111
    pop ax
    CHECK_EQ(ax, 0x1111)
    mov eax, cs
    CHECK_EQ(eax, SEL_CODE16)
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    .byte 0xea
    .word unreal, 0
unreal:
    xor ax, ax
    mov ss, ax
    mov ds, ax
    mov esi, 0x180000
    mov dword ptr es:[esi], 0x600df00d
    mov eax, es:[esi]
    CHECK_EQ(eax, 0x600df00d)
    mov ax, 0x1000
    mov es, ax /* a new base, the limit stays */
    mov eax, es:[esi - 0x10000]
    CHECK_EQ(eax, 0x600df00d)
    xor ax, ax
    mov es, ax
    inc byte ptr [round]
    jmp to_long

/* Second time: from long mode back into real mode. */
real_again:
    jmp to_long
back_in_real:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, REAL_STACK
    lidt [real_idt_pointer]
    mov byte ptr [seen21], 0
    mov word ptr [expect21], offset after_int21b
    int 0x21
after_int21b:
    CHECK_EQ(byte ptr [seen21], 1)
    inc byte ptr [round]
    jmp real_again

far16:
    push bp
    mov bp, sp
    CHECK_EQ(word ptr [bp + 4], 0x5555)
    pop bp
    .byte 0x9a
    .word far16b, 0
    ret
far16b:
    mov ax, cs
    CHECK_EQ(ax, 0)
    push 1
    push 2
    push cs
    push offset far16c
    retf 4 /* drops 2 and 1 */
far16c:
    retf

int21:
    push bp
    mov bp, sp
    mov ax, [bp + 2]
    CHECK_EQ(ax, [expect21])
    CHECK_EQ(word ptr [bp + 4], 0)
    pushf
    pop ax
    CHECK_ZERO(ah, 3) /* IF, TF */
    inc byte ptr [seen21]
    pop bp
    iret
/* Faults: note where, skip the instruction (the tests know its length). */
int0:
    push bp
    mov bp, sp
    push word ptr [bp + 2]
    pop word ptr [fault_ip]
    add word ptr [bp + 2], 2
    pop bp
    iret
int6:
int13:
    push bp
    mov bp, sp
    push word ptr [bp + 2]
    pop word ptr [fault_ip]
    add word ptr [bp + 2], 4
    inc word ptr [faults]
    pop bp
    iret

fail16:
    mov eax, edi
    mov dx, PORT_EXIT
    out dx, eax
1:  cli
    hlt
    jmp 1b

#undef FAIL
#define FAIL FAIL_AT(fail, rax)
.code64
long_main:
    mov ecx, 0xc0000080
    rdmsr
    CHECK_EQ(eax, 0xd01) /* NXE, LMA, LME, SCE */
    mov rax, 0x123456789abcdef0
    mov r15, rax
    CHECK_EQ(r15, rax)
    FAULTS(6, 0)
    ud2
    END_FAULTS
    cmp byte ptr [round], 2
    jae passed
    /* Paging cannot be left from 64-bit code. */
    mov rax, cr0
    btr rax, 31
    FAULTS(13, 0)
    mov cr0, rax
    END_FAULTS
    .byte 0xff, 0x2c, 0x25 /* JMP far [to_compat] */
    .long to_compat
passed:
    PASS

.code32
#undef FAIL
#define FAIL FAIL_AT(fail32, eax)
compat:
    mov eax, cr0
    btr eax, 31
    mov cr0, eax
    jmp 1f
1:  mov ecx, 0xc0000080
    rdmsr
    CHECK_EQ(eax, 0x901) /* LMA has gone */
    mov eax, cr4
    btr eax, 5 /* which PAE may now, too */
    mov cr4, eax
    btr eax, 5
    xor eax, eax
    mov ecx, 0xc0000080
    xor edx, edx
    wrmsr
    mov ax, SEL_DATA16
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    .byte 0xea
    .long leave_protected
    .word SEL_CODE16
fail32:
    mov eax, edi
    mov edx, PORT_EXIT
    out dx, eax
1:  cli
    hlt
    jmp 1b
.code16
leave_protected:
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    .byte 0xea
    .word back_in_real, 0

.balign 8
to_compat:
    .long compat
    .word SEL_CODE32
expect21: .word after_int21
fault_ip: .word 0
faults: .word 0
round: .byte 0
seen21: .byte 0
