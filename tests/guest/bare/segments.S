/*
 * Segment registers in 64-bit and compatibility mode: what may be loaded, which fault with which selector, accessed and busy bits,
 * LAR, LSL, VERR, VERW, LLDT, LTR, far transfers. SDM vol. 3 chapters 3, 5; vol. 2.
 */
#include "bare.h"

#define T(n) (SEL_TEST + 8 * (n))
#define DESC(n, low, high) mov dword ptr [gdt + T(n)], low; mov dword ptr [gdt + T(n) + 4], high
#define LOAD_FAULTS(reg, selector, vector, error) mov eax, selector; FAULTS(vector, error); mov reg, eax; END_FAULTS

main:
    /* Null is good for DS, ES, FS, GS; bases go to zero. */
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov eax, 3
    mov fs, eax
    mov eax, fs
    CHECK_EQ(eax, 3)
    mov eax, ds
    CHECK_EQ(eax, 0)
    mov al, [gdt] /* and they can be used */
    LOAD_FAULTS(ss, 3, 13, 0) /* for SS at CPL 0 only with RPL 0 */
    xor eax, eax
    mov ss, eax
    push rax
    pop rax
    mov eax, SEL_DATA
    mov ss, eax
    LOAD_FAULTS(ss, 1, 13, 0)

    /* Beyond the table; a system descriptor; code for a stack; wrong privileges; not present. */
    LOAD_FAULTS(ds, 0x1000, 13, 0x1000)
    LOAD_FAULTS(ds, 0x1003, 13, 0x1000)
    LOAD_FAULTS(es, SEL_TSS, 13, SEL_TSS)
    LOAD_FAULTS(ss, SEL_CODE64, 13, SEL_CODE64)
    LOAD_FAULTS(ss, SEL_UDATA, 13, SEL_UDATA & ~3)
    LOAD_FAULTS(ss, SEL_DATA + 3, 13, SEL_DATA)
    LOAD_FAULTS(ds, 4, 13, 4) /* no LDT */
    DESC(0, 0xffff, 0x00cf9900) /* execute-only code, accessed */
    LOAD_FAULTS(ds, T(0), 13, T(0))
    DESC(0, 0xffff, 0x00cf1200) /* writable data, not present */
    LOAD_FAULTS(ds, T(0), 11, T(0))
    LOAD_FAULTS(gs, T(0), 11, T(0))
    LOAD_FAULTS(ss, T(0), 12, T(0))
    DESC(0, 0xffff, 0x00cf9000) /* read-only data */
    LOAD_FAULTS(ss, T(0), 13, T(0))
    mov eax, T(0)
    mov ds, eax
    CHECK_SET(byte ptr [gdt + T(0) + 5], 1) /* accessed now */
    mov eax, SEL_DATA + 3 /* RPL 3 on a DPL 0 segment */
    FAULTS(13, SEL_DATA)
    mov ds, eax
    END_FAULTS
    DESC(0, 0xffff, 0x00cf9e00) /* conforming code: any RPL */
    mov eax, T(0) + 3
    mov es, eax
    mov eax, es
    CHECK_EQ(eax, T(0) + 3)
    FAULTS(6, 0) /* LSS needs memory */
    .byte 0x0f, 0xb2, 0xc0
    END_FAULTS

    /* FS takes the descriptor's base, DS does not count. */
    DESC(1, 0x8000ffff, 0x00cf9301)
    mov eax, T(1) /* base 18000h */
    mov fs, eax
    mov dword ptr [0x18010], 0x1234
    CHECK_EQ(dword ptr fs:[0x10], 0x1234)
    mov ds, eax
    CHECK_EQ(dword ptr ds:[0x18010], 0x1234)
    push fs
    pop rax
    CHECK_EQ(rax, T(1))
    push rax
    pop gs
    CHECK_EQ(dword ptr gs:[0x10], 0x1234)
    mov ecx, 0xc0000101
    rdmsr
    CHECK_EQ(eax, 0x18000)
    lfs esi, [far_data]
    CHECK_EQ(esi, 0x4711)
    mov eax, fs
    CHECK_EQ(eax, SEL_DATA)
    mov word ptr [far_data + 4], 0x1000
    mov esi, 1
    FAULTS(13, 0x1000)
    lgs esi, [far_data]
    END_FAULTS
    CHECK_EQ(esi, 1) /* nothing half done */

    /* LAR, LSL, VERR, VERW. */
    mov eax, SEL_CODE64
    lar edx, eax
    CHECK_EQ(edx, 0x00af9b00)
    jz 1f
    FAIL
1:  lsl edx, eax
    CHECK_EQ(edx, -1)
    mov eax, 0x1000
    mov edx, 7
    lar edx, eax
    jnz 1f
    FAIL
1:  CHECK_EQ(edx, 7)
    mov eax, SEL_TSS
    lar edx, eax
    jz 1f
    FAIL
1:  and edx, 0xff00
    CHECK_EQ(edx, 0x8b00) /* busy */
    lsl edx, eax
    CHECK_EQ(edx, tss_end - tss - 1)
    DESC(2, 0xffff, 0x00008600) /* a 16-bit interrupt gate: not for LAR */
    mov eax, T(2)
    lar edx, eax
    jnz 1f
    FAIL
1:  mov eax, SEL_DATA
    verr ax
    jz 1f
    FAIL
1:  verw ax
    jz 1f
    FAIL
1:  mov eax, SEL_CODE64
    verw ax
    jnz 1f
    FAIL
1:  verr ax
    jz 1f
    FAIL
1:  xor eax, eax
    verr ax
    jnz 1f
    FAIL
1:
    /* LLDT, LTR. */
    DESC(4, 0x00000017, 0x00008200) /* LDT of three entries, 16 bytes; its base */
    mov eax, offset ldt
    mov [gdt + T(4) + 2], ax
    shr eax, 16
    mov [gdt + T(4) + 4], al
    DESC(5, 0, 0)
    mov eax, T(4)
    lldt ax
    sldt edx
    CHECK_EQ(edx, T(4))
    mov eax, 4 | 8
    mov es, eax
    LOAD_FAULTS(es, 0x1c, 13, 0x1c) /* beyond it */
    mov eax, T(5) + 4
    FAULTS(13, T(5) + 4) /* an LDT's descriptor is in the GDT */
    lldt ax
    END_FAULTS
    mov eax, SEL_DATA
    FAULTS(13, SEL_DATA)
    lldt ax
    END_FAULTS
    and byte ptr [gdt + T(4) + 5], 0x7f
    mov eax, T(4)
    FAULTS(11, T(4))
    lldt ax
    END_FAULTS
    or byte ptr [gdt + T(4) + 5], 0x80
    mov dword ptr [gdt + T(5)], 0x8000 /* base not canonical */
    mov eax, T(4)
    FAULTS(13, T(4))
    lldt ax
    END_FAULTS
    xor eax, eax
    lldt ax
    LOAD_FAULTS(es, 4 | 8, 13, 4 | 8)
    mov eax, SEL_TSS
    FAULTS(13, SEL_TSS) /* busy */
    ltr ax
    END_FAULTS
    str edx
    CHECK_EQ(edx, SEL_TSS)
    xor eax, eax
    FAULTS(13, 0)
    ltr ax
    END_FAULTS
    mov byte ptr [gdt + SEL_TSS + 5], 0x89
    mov eax, SEL_TSS
    ltr ax
    CHECK_EQ(byte ptr [gdt + SEL_TSS + 5], 0x8b)

    /* Far jumps and calls. */
    mov word ptr [far_code + 4], 0
    FAULTS(13, 0)
    .byte 0xff, 0x2c, 0x25 /* JMP far [far_code] */
    .long far_code
    END_FAULTS
    mov word ptr [far_code + 4], SEL_DATA
    FAULTS(13, SEL_DATA)
    .byte 0xff, 0x2c, 0x25
    .long far_code
    END_FAULTS
    mov word ptr [far_code + 4], SEL_USER64
    FAULTS(13, SEL_USER64 & ~3)
    .byte 0xff, 0x2c, 0x25
    .long far_code
    END_FAULTS
#ifndef GO_ON /* QEMU's processor takes it, and then cannot be entered */
    DESC(6, 0xffff, 0x00ef9b00) /* L and D */
    mov word ptr [far_code + 4], T(6)
    FAULTS(13, T(6))
    .byte 0xff, 0x2c, 0x25
    .long far_code
    END_FAULTS
#endif
    DESC(6, 0xffff, 0x00af1b00) /* not present */
    FAULTS(11, T(6))
    .byte 0xff, 0x2c, 0x25
    .long far_code
    END_FAULTS
    mov word ptr [far_code + 4], SEL_TSS /* task switches do not exist in long mode */
    FAULTS(13, SEL_TSS)
    .byte 0xff, 0x2c, 0x25
    .long far_code
    END_FAULTS
    FAULTS(6, 0)
    .byte 0xea, 0, 0, 0, 0, 0, 0
    END_FAULTS
    FAULTS(6, 0)
    .byte 0x9a, 0, 0, 0, 0, 0, 0
    END_FAULTS

    /* Into compatibility mode and back: 32-bit code, segment bases and limits count again. */
    mov eax, SEL_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov dword ptr [far_code], offset compat
    mov word ptr [far_code + 4], SEL_CODE32
    mov MEM(hooks + 13 * 8), offset skip_bad
    mov rax, 0xffffffff00000001
    .byte 0xff, 0x1c, 0x25 /* CALL far: pushes 4 + 4 bytes */
    .long far_code
    CHECK_EQ(dword ptr [compat_inc], 2)
    CHECK_EQ(dword ptr [compat_base], 0x1234)
    CHECK_EQ(dword ptr [compat_fault], 1)
    CHECK_EQ(esp, STACK_TOP)
    PASS

/* #GP in compatibility mode: noted, and the instruction skipped. */
skip_bad:
    cmp MEM(exc_cs), SEL_CODE32
    jne 1f
    cmp MEM(exc_error), 0x1234
    jne 1f
    cmp MEM(exc_rip), offset compat_bad
    jne 1f
    inc dword ptr [compat_fault]
1:  add MEM(rsp), 2
    iretq

.code32
compat:
    inc eax /* 40h: a REX prefix in 64-bit code */
    mov [compat_inc], eax
    mov ecx, T(1)
    mov fs, ecx
    mov ecx, fs:[0x10]
    mov [compat_base], ecx
compat_bad:
    mov es, ecx /* 1234h: beyond the table; the handler is 64-bit code and comes back here */
    retf
.code64

.balign 8
far_data:
    .long 0x4711
    .word SEL_DATA
.balign 8
far_code:
    .long 0
    .word 0
.balign 8
ldt:
    .quad 0
    .quad 0x00cf93000000ffff
    .quad 0x00cf93000000ffff
compat_inc: .long 0
compat_base: .long 0
compat_fault: .long 0
