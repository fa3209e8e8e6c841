/*
 * What every bare-metal test starts from. tests/unit/test_bare.c loads the flat binary at 8000h, starts CPU 0 there in real
 * mode and waits for a word at the exit port: 0 for success, the source line of the check that failed, or
 * 8000_0000h | vector << 16 for an exception nobody expected (its record lies at EXC).
 *
 * A test defines `main` (64-bit, CPL 0, interrupts off, IDT and TSS loaded, stack at STACK_TOP). With START_REAL it defines
 * `real_main` instead, reached at once, in real mode, and may later jump to to_long. With AP_MAIN it names where other CPUs go.
 *
 * Physical memory: image 8000h.., stacks below 80000h, page tables from 100000h. The first 16 MiB are mapped one to one for
 * CPL 0; USER(x) is the same byte of the first 2 MiB seen through 4 KiB pages that CPL 3 may use and tests may spoil: their
 * entries start at PT.
 */
.intel_syntax noprefix

#define PORT_LOG  0xe9
#define PORT_EXIT 0xf4

#define PML4 0x100000
#define PDPT 0x101000
#define PD   0x102000
#define PD_USER 0x103000
#define PT   0x104000
#define USER_BASE 0x40000000
#define USER(x)   (USER_BASE + (x))
#define PTE(x)    (PT + ((x) >> 12) * 8) /* entry of USER(x) */

#define STACK_TOP  0x80000
#define IST1_TOP   0x78000
#define IST2_TOP   0x74000
#define USER_STACK 0x70000
#define AP_STACK   0x68000
#define REAL_STACK 0x7000

#define PTE_P 1
#define PTE_W 2
#define PTE_U 4
#define PTE_A 0x20
#define PTE_D 0x40
#define PTE_PS 0x80
#define PTE_G 0x100

#define SEL_CODE32 0x08
#define SEL_DATA   0x10
#define SEL_CODE64 0x18
#define SEL_USER32 (0x20 | 3)
#define SEL_UDATA  (0x28 | 3)
#define SEL_USER64 (0x30 | 3)
#define SEL_TSS    0x38 /* 16 bytes */
#define SEL_CODE16 0x48
#define SEL_DATA16 0x50
#define SEL_TEST   0x58 /* from here on: for tests to fill, 16 entries */

/* The last exception. */
#define EXC        0x7800
#define exc_vector (EXC + 0x00)
#define exc_error  (EXC + 0x08)
#define exc_rip    (EXC + 0x10)
#define exc_cs     (EXC + 0x18)
#define exc_rflags (EXC + 0x20)
#define exc_rsp    (EXC + 0x28)
#define exc_ss     (EXC + 0x30)
#define exc_cr2    (EXC + 0x38)
#define exc_frame  (EXC + 0x40) /* RSP in the handler, at the error code's place */
#define exc_count  (EXC + 0x48)
#define exc_flags_in (EXC + 0x50) /* RFLAGS in the handler */
#define exc_cpl_cs (EXC + 0x58) /* CS in the handler */
#define exc_ss_in  (EXC + 0x60)
#define resume     (EXC + 0x68) /* where to go on after an expected exception, 0: none expected */
#define exc_rax    (EXC + 0x70)
#define hooks      (EXC + 0x78) /* table of 64 handlers, 0: none; they end in IRETQ */
#define MEM(x)     qword ptr [x]
#define MEM32(x)   dword ptr [x]

/*
 * A check that failed ends the test; or, in guests made with GO_ON, writes its line to the log port as four digits and a
 * blank, and goes on: what differs between two processors is then seen in one run (tests/guest/kvm-host). `a` is RAX or EAX.
 */
#ifdef GO_ON
#define DIGIT(n) mov al, 48 + __LINE__ / n - __LINE__ / (n * 10) * 10; out PORT_LOG, al;
#define FAIL_AT(label, a) push a; DIGIT(1000) DIGIT(100) DIGIT(10) DIGIT(1) mov al, 32; out PORT_LOG, al; pop a; \
    mov dword ptr [resume], 0
#else
#define FAIL_AT(label, a) mov edi, __LINE__; jmp label
#endif
#define FAIL FAIL_AT(fail, rax)
#define CHECK_EQ(a, b) cmp a, b; je 90f; FAIL; 90:
#define CHECK_NE(a, b) cmp a, b; jne 90f; FAIL; 90:
#define CHECK_ZERO(a, mask) test a, mask; jz 90f; FAIL; 90:
#define CHECK_SET(a, mask) test a, mask; jnz 90f; FAIL; 90:
/* Goes to `label` unless this is an Intel CPU: there SYSCALL and SYSENTER divide the modes among them differently. */
#define UNLESS_INTEL(label) xor eax, eax; cpuid; cmp ebx, 0x756e6547; jne label
/* Goes to `label` on KVM: some of what a processor does the hypervisor does instead, otherwise. */
#define IF_KVM(label) mov eax, 0x40000000; cpuid; cmp ebx, 0x4b4d564b; je label
#define PASS xor edi, edi; jmp fail

/* The instruction between FAULTS and END_FAULTS must raise this exception with this error code and its own RIP. */
#define FAULTS(vector, error) \
    mov MEM(resume), offset 97f; jmp 98f; \
97: CHECK_EQ(MEM(exc_vector), vector); CHECK_EQ(MEM(exc_error), error); \
    CHECK_EQ(MEM(exc_rip), offset 98f); jmp 99f; \
98:
#define END_FAULTS FAIL; 99:

/* Runs `label` at CPL 3 through the user alias; any exception ends it, and goes on behind. */
#define RUN_USER(label) RUN_USER_AS(label, SEL_USER64, 2)
#define RUN_USER_AS(label, cs, flags) \
    mov MEM(resume), offset 97f; \
    push SEL_UDATA; push USER(USER_STACK); push flags; push cs; push offset label + USER_BASE; iretq; \
97:

.code16
.text
.globl start
start:
    .byte 0xea
    .word flat_start, 0 /* a start-up IPI comes with CS = 800h */
flat_start:
    cli
    cld
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, REAL_STACK
#ifdef START_REAL
    jmp real_main
#endif
to_long:
    lgdt [gdt_pointer]
    mov eax, cr0
    or eax, 1
    mov cr0, eax
    .byte 0x66, 0xea
    .long protected
    .word SEL_CODE32

.code32
protected:
    mov ax, SEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    cmp dword ptr [tables_made], 0
    jne long_on
    mov dword ptr [tables_made], 1
    call make_tables
long_on:
    mov eax, 0x20 /* PAE */
    mov cr4, eax
    mov eax, PML4
    mov cr3, eax
    mov ecx, 0xc0000080
    mov eax, 0x901 /* NXE, LME, SCE */
    xor edx, edx
    wrmsr
    mov eax, 0x80010033 /* PG, WP, NE, ET, MP, PE */
    mov cr0, eax
    .byte 0xea
    .long long_start
    .word SEL_CODE64

make_tables:
    mov edi, PML4
    mov ecx, 0x6000 / 4
    xor eax, eax
    rep stosd
    mov dword ptr [PML4], PDPT + 7
    mov dword ptr [PDPT], PD + 7
    mov dword ptr [PDPT + 8], PD_USER + 7
    mov dword ptr [PD_USER], PT + 7
    xor ecx, ecx
1:  mov eax, ecx /* 8 large pages */
    shl eax, 21
    or eax, PTE_P | PTE_W | PTE_PS
    mov [PD + ecx * 8], eax
    inc ecx
    cmp ecx, 8
    jb 1b
    xor ecx, ecx
2:  mov eax, ecx
    shl eax, 12
    or eax, PTE_P | PTE_W | PTE_U
    mov [PT + ecx * 8], eax
    inc ecx
    cmp ecx, 512
    jb 2b
    ret

.code64
long_start:
#ifdef AP_MAIN
    lock inc dword ptr [cpus_up]
    cmp dword ptr [cpus_up], 1
    jne AP_MAIN
#endif
    mov esp, STACK_TOP
    mov edi, EXC
    mov ecx, 0x300 / 8
    xor eax, eax
    rep stosq
    /* IDT: 256 interrupt gates, DPL 0 */
    mov edi, offset idt
    mov eax, offset stubs
    mov ecx, 256
1:  mov [rdi], ax
    mov word ptr [rdi + 2], SEL_CODE64
    mov word ptr [rdi + 4], 0x8e00
    mov edx, eax
    shr edx, 16
    mov [rdi + 6], dx
    mov qword ptr [rdi + 8], 0
    add eax, 16
    add edi, 16
    dec ecx
    jnz 1b
    lidt [idt_pointer]
    /* TSS */
    mov qword ptr [tss + 4], STACK_TOP
    mov qword ptr [tss + 0x24], IST1_TOP
    mov qword ptr [tss + 0x2c], IST2_TOP
    mov word ptr [tss + 0x66], tss_bitmap - tss
    mov eax, offset tss
    mov [gdt + SEL_TSS + 2], ax
    shr eax, 16
    mov [gdt + SEL_TSS + 4], al
    mov [gdt + SEL_TSS + 7], ah
    mov byte ptr [gdt + SEL_TSS + 5], 0x89
    mov ax, SEL_TSS
    ltr ax
#ifdef START_REAL
    jmp long_main
#else
    jmp main
#endif

fail:
    mov eax, edi
    mov dx, PORT_EXIT
    out dx, eax
1:  cli
    hlt
    jmp 1b

/* Sixteen bytes for each vector. */
.balign 16
stubs:
.set vec, 0
.rept 256
    .balign 16
    .if !((vec >= 10 && vec <= 14) || vec == 8 || vec == 17)
    push 0
    .endif
    push vec
    .byte 0xe9
    .long common - . - 4
    .set vec, vec + 1
.endr
.balign 16
common:
    mov [exc_rax], rax
    pushfq
    pop rax
    mov [exc_flags_in], rax
    pop rax
    mov [exc_vector], rax
    mov [exc_frame], rsp
    pop rax
    mov [exc_error], rax
    mov rax, [rsp]
    mov [exc_rip], rax
    mov rax, [rsp + 8]
    mov [exc_cs], rax
    mov rax, [rsp + 16]
    mov [exc_rflags], rax
    mov rax, [rsp + 24]
    mov [exc_rsp], rax
    mov rax, [rsp + 32]
    mov [exc_ss], rax
    mov rax, cr2
    mov [exc_cr2], rax
    mov eax, cs
    mov [exc_cpl_cs], rax
    mov eax, ss
    mov [exc_ss_in], rax
    inc MEM(exc_count)
    mov rax, [exc_vector]
    cmp eax, 64
    jae 1f
    mov rax, [hooks + rax * 8]
    test rax, rax
    jz 1f
    push rax
    mov rax, [exc_rax]
    ret
1:  mov rax, [resume]
    test rax, rax
    jz unexpected
    mov esp, STACK_TOP
    push rax
    mov MEM(resume), 0
    mov eax, SEL_DATA
    mov ss, eax
    mov ds, eax
    mov es, eax
    mov rax, [exc_rax]
    ret
unexpected:
    mov edi, [exc_vector]
    shl edi, 16
    or edi, 0x80000000
    jmp fail

.balign 16
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff /* 08 code, 32 bits */
    .quad 0x00cf93000000ffff /* 10 data */
    .quad 0x00af9b000000ffff /* 18 code, 64 bits */
    .quad 0x00cffb000000ffff /* 20 user code, 32 bits */
    .quad 0x00cff3000000ffff /* 28 user data */
    .quad 0x00affb000000ffff /* 30 user code, 64 bits */
    .quad 0x0000890000000000 + (tss_end - tss - 1), 0 /* 38 TSS */
    .quad 0x00009b000000ffff /* 48 code, 16 bits */
    .quad 0x000093000000ffff /* 50 data, 16 bits */
    .fill 16, 8, 0           /* 58 tests' own */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt, 0
idt_pointer:
    .word 256 * 16 - 1
    .quad idt
real_idt_pointer:
    .word 0x3ff
    .long 0
tables_made: .long 0
cpus_up: .long 0
.balign 16
tss:
    .fill 0x68, 1, 0
tss_bitmap:
    .fill 0x20, 1, 0xff /* ports 0..ff: none allowed */
    .byte 0xff
tss_end:
.balign 16
idt:
    .fill 256 * 16, 1, 0
