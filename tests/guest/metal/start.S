/*
 * The way from a boot loader to metal_main(boot_params), in a file that every loader of Linux takes: ours enters at
 * 64 bits (boot.rst, "64-bit Boot Protocol"), QEMU's firmware at 16 bits with the setup sectors at 10000h. There the
 * boot_params are those sectors themselves, which have the command line's address at the same place.
 *
 * Memory: page tables from 9000h (all 4 GiB one to one), this image from 100000h, its stack behind it.
 */
.intel_syntax noprefix

#define PML4 0x9000
#define STACK_SIZE 0x10000
#define SETUP_AT 0x10000
#define LOAD_AT 0x100000

.section .setup, "ax"
.code16
setup_start:
    .org 0x1f1
    .byte 1                     /* setup sectors */
    .word 0
    .long image_paragraphs
    .word 0, 0, 0, 0xaa55
    .byte 0xeb, real_start - . - 1 /* the header's length is told by this jump */
    .ascii "HdrS"
    .word 0x20c, 0, 0, 0, 0
    .byte 0                     /* 210: which loader */
    .byte 1                     /* loaded high */
    .word 0
    .long LOAD_AT
    .org 0x22c
    .long 0x7fffffff            /* initrd_addr_max */
    .org 0x236
    .word 1                     /* has a 64-bit entry */
    .long 255                   /* longest command line */
    .org 0x258
    .quad LOAD_AT
    .long image_memory
    .org 0x268
real_start:
    cli
    mov ax, SETUP_AT >> 4
    mov ds, ax
    lgdt [gdt_pointer - setup_start]
    mov eax, cr0
    or eax, 1
    mov cr0, eax
    .byte 0x66, 0xea
    .long LOAD_AT
    .word 0x08
.balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff /* 08 code, 32 bits */
    .quad 0x00af9b000000ffff /* 10 code, 64 bits */
    .quad 0x00cf93000000ffff /* 18 data */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long SETUP_AT + (gdt - setup_start)
    .org 0x400

.section .head, "ax"
.code32
    mov ax, 0x18
    mov ds, ax
    mov es, ax
    mov ss, ax
    /* PML4, one PDPT, four page directories of 2 MiB pages */
    mov edi, PML4
    mov ecx, 0x2000 / 4
    xor eax, eax
    cld
    rep stosd
    mov dword ptr [PML4], PML4 + 0x1000 + 3
    mov ecx, 4
1:  lea eax, [ecx + 1]
    shl eax, 12
    add eax, PML4 + 3
    mov [PML4 + 0x1000 - 8 + ecx * 8], eax
    dec ecx
    jnz 1b
    mov eax, 0x83
    mov edi, PML4 + 0x2000
    mov ecx, 2048
2:  mov [edi], eax
    mov dword ptr [edi + 4], 0
    add eax, 0x200000
    add edi, 8
    dec ecx
    jnz 2b
    mov eax, 0x20
    mov cr4, eax
    mov eax, PML4
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, 0x80000031
    mov cr0, eax
    mov esi, SETUP_AT
    ljmp 0x10, offset start64

    .org 0x200 /* where a 64-bit loader goes */
.code64
start64:
    mov esp, offset stack_top
    mov edi, offset bss_start
    mov ecx, offset bss_end
    sub ecx, edi
    xor eax, eax
    cld
    rep stosb
    mov rdi, rsi
    call metal_main
1:  cli
    hlt
    jmp 1b
