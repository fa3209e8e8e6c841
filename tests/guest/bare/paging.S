/* Paging in long mode: who may do what, error codes and CR2, accessed and dirty bits, the TLB. SDM vol. 3 chapter 4. */
#include "bare.h"

#define DATA 0x180000 /* a page for the tests */
#define NX   0x8000000000000000

/* Gives the page of DATA an entry and forgets the old one. */
#define SET_PTE(low) mov MEM(PTE(DATA)), DATA | (low); invlpg [USER(DATA)]
#define SET_CR4(bits) mov rax, cr4; or rax, bits; mov cr4, rax
#define CLEAR_CR4(bits) mov rax, cr4; and rax, ~(bits); mov cr4, rax
#define CR4_SMEP 0x100000
#define CR4_SMAP 0x200000
#define CR4_PGE 0x80

main:
    /* Accessed, then dirty, as late as possible. */
    SET_PTE(PTE_P | PTE_W | PTE_U)
    mov ebx, USER(DATA)
    CHECK_ZERO(MEM32(PTE(DATA)), PTE_A | PTE_D)
    mov al, [rbx]
    CHECK_SET(MEM32(PTE(DATA)), PTE_A)
    CHECK_ZERO(MEM32(PTE(DATA)), PTE_D)
    mov byte ptr [rbx], 1
    CHECK_SET(MEM32(PTE(DATA)), PTE_D)
    CHECK_SET(MEM32(PD_USER), PTE_A)
    /* A read-modify-write that changes nothing is a write. */
    SET_PTE(PTE_P | PTE_W | PTE_U)
    lock or byte ptr [rbx], 0
    CHECK_SET(MEM32(PTE(DATA)), PTE_D)
    /* CMPXCHG that fails writes the old value back. */
    SET_PTE(PTE_P | PTE_W | PTE_U)
    mov eax, 0x77
    lock cmpxchg [rbx], ecx
    CHECK_SET(MEM32(PTE(DATA)), PTE_D)

    /* Not present. */
    SET_PTE(0)
    FAULTS(14, 0)
    mov al, [rbx]
    END_FAULTS
    CHECK_EQ(MEM(exc_cr2), USER(DATA))
    FAULTS(14, 2)
    mov [rbx + 5], al
    END_FAULTS
    CHECK_EQ(MEM(exc_cr2), USER(DATA) + 5)
    /* A store across the end of the page before: nothing is written, CR2 is the first byte of the bad page. */
    mov qword ptr [rbx - 8], 0
    FAULTS(14, 2)
    mov dword ptr [rbx - 2], 0x12345678
    END_FAULTS
    CHECK_EQ(MEM(exc_cr2), USER(DATA))
    CHECK_EQ(MEM(USER(DATA) - 8), 0)
    /* The accessed bit stays clear where the walk failed. */
    CHECK_EQ(MEM(PTE(DATA)), DATA)

    /* Read-only: CR0.WP decides for CPL 0. */
    SET_PTE(PTE_P | PTE_U)
    mov al, [rbx]
    FAULTS(14, 3)
    mov [rbx], al
    END_FAULTS
    CHECK_ZERO(MEM32(PTE(DATA)), PTE_D)
    mov rax, cr0
    and eax, ~0x10000
    mov cr0, rax
    mov byte ptr [rbx], 9
    CHECK_SET(MEM32(PTE(DATA)), PTE_D)
    mov rax, cr0
    or eax, 0x10000
    mov cr0, rax
    FAULTS(14, 3)
    mov [rbx], al
    END_FAULTS

    /* The rights of all levels are ANDed. */
    SET_PTE(PTE_P | PTE_U | PTE_W)
    and byte ptr [PD_USER], ~PTE_W
    mov rax, cr3
    mov cr3, rax
    FAULTS(14, 3)
    mov [rbx], al
    END_FAULTS
    or byte ptr [PD_USER], PTE_W
    mov cr3, rax

    /* Reserved bits: bit 51 is above MAXPHYADDR. */
    SET_PTE(PTE_P | PTE_W | PTE_U)
    mov rax, [PTE(DATA)]
    bts rax, 51
    mov [PTE(DATA)], rax
    invlpg [rbx]
    FAULTS(14, 9)
    mov al, [rbx]
    END_FAULTS
    mov rax, [PD_USER]
    push rax
    bts rax, 51
    mov [PD_USER], rax
    mov rcx, cr3
    mov cr3, rcx
    FAULTS(14, 11)
    mov byte ptr [rbx], 1
    END_FAULTS
    mov rax, PT + 7
    mov [PD_USER], rax
    mov cr3, rcx

    /* No execute. */
    SET_PTE(PTE_P | PTE_W | PTE_U)
    mov byte ptr [rbx], 0xc3
    call rbx
    mov rax, NX | DATA | PTE_P | PTE_W | PTE_U
    mov [PTE(DATA)], rax
    invlpg [rbx]
    mov MEM(resume), offset 1f
    call rbx
    FAIL
1:  CHECK_EQ(MEM(exc_vector), 14)
    CHECK_EQ(MEM(exc_error), 0x11)
    CHECK_EQ(MEM(exc_rip), USER(DATA))
    CHECK_EQ(MEM(exc_cr2), USER(DATA))
    mov al, [rbx] /* data is fine */
    /* With NXE clear the bit is reserved. */
    mov ecx, 0xc0000080
    rdmsr
    btr eax, 11
    wrmsr
    FAULTS(14, 9) /* QEMU: error code 8 */
    mov al, [rbx]
    END_FAULTS
    mov ecx, 0xc0000080
    rdmsr
    bts eax, 11
    wrmsr

    /* User pages and supervisor pages, seen from CPL 3. */
    SET_PTE(PTE_P | PTE_W)
    RUN_USER(user_read)
    CHECK_EQ(MEM(exc_vector), 14)
    CHECK_EQ(MEM(exc_error), 5)
    CHECK_EQ(MEM(exc_cr2), USER(DATA))
    RUN_USER(user_write)
    CHECK_EQ(MEM(exc_error), 7)
    RUN_USER(user_jump)
    CHECK_EQ(MEM(exc_vector), 14)
    CHECK_EQ(MEM(exc_error), 0x15)
    SET_PTE(PTE_P | PTE_U)
    RUN_USER(user_read) /* now it may, and ends in UD2 */
    CHECK_EQ(MEM(exc_vector), 6)
    RUN_USER(user_write)
    CHECK_EQ(MEM(exc_vector), 14)
    CHECK_EQ(MEM(exc_error), 7)

    /* SMEP: CPL 0 does not run user pages. */
    SET_PTE(PTE_P | PTE_W | PTE_U)
    mov byte ptr [rbx], 0xc3
    call rbx
    SET_CR4(CR4_SMEP)
    mov MEM(resume), offset 1f
    call rbx
    FAIL
1:  CHECK_EQ(MEM(exc_vector), 14)
    CHECK_EQ(MEM(exc_error), 0x11)
    RUN_USER(user_read)
    CHECK_EQ(MEM(exc_vector), 6)
    CLEAR_CR4(CR4_SMEP)
    call rbx

    /* SMAP: CPL 0 does not touch user pages, unless EFLAGS.AC. */
    mov al, [rbx]
    SET_CR4(CR4_SMAP)
    FAULTS(14, 1)
    mov al, [rbx]
    END_FAULTS
    FAULTS(14, 3)
    mov [rbx], al
    END_FAULTS
    stac
    mov al, [rbx]
    mov [rbx], al
    clac
    FAULTS(14, 1)
    mov al, [rbx]
    END_FAULTS
    pushfq
    or dword ptr [rsp], 0x40000
    popfq
    mov al, [rbx]
    clac
    /* Supervisor pages are not its concern; nor is CPL 3. */
    SET_PTE(PTE_P | PTE_W)
    mov al, [rbx]
    SET_PTE(PTE_P | PTE_U | PTE_W)
    RUN_USER(user_write)
    CHECK_EQ(MEM(exc_vector), 6)
    /* CPL 3 with AC set interrupts into the kernel with AC set: the handler's RFLAGS keep it. */
    RUN_USER_AS(user_read, SEL_USER64, 0x40002)
    CHECK_EQ(MEM(exc_vector), 6)
    CHECK_SET(MEM32(exc_flags_in), 0x40000)
    clac
    CLEAR_CR4(CR4_SMAP)

    /* The TLB: an entry changed without INVLPG may still be used, with INVLPG or a CR3 load it may not. */
    SET_PTE(PTE_P | PTE_W | PTE_U)
    mov al, [rbx]
    mov MEM(PTE(DATA)), 0
    mov rax, cr3
    mov cr3, rax
    FAULTS(14, 0)
    mov al, [rbx]
    END_FAULTS
    /* Global pages survive a load of CR3 (may, not must), and not one of CR4.PGE. */
    SET_CR4(CR4_PGE)
    SET_PTE(PTE_P | PTE_W | PTE_U | PTE_G)
    mov al, [rbx]
    mov MEM(PTE(DATA)), 0
    CLEAR_CR4(CR4_PGE)
    FAULTS(14, 0)
    mov al, [rbx]
    END_FAULTS
    /* Another page frame behind the same address. */
    SET_PTE(PTE_P | PTE_W | PTE_U)
    mov byte ptr [DATA], 0x11
    mov byte ptr [DATA + 0x1000], 0x22
    CHECK_EQ(byte ptr [rbx], 0x11)
    mov MEM(PTE(DATA)), DATA + 0x1000 + 7
    invlpg [rbx]
    CHECK_EQ(byte ptr [rbx], 0x22)
    SET_PTE(PTE_P | PTE_W | PTE_U)

    /* A large page, split while in use: INVLPG of one address drops all of it. */
    mov MEM(PD_USER + 8), 0x200000 | PTE_P | PTE_W | PTE_PS
    mov byte ptr [USER_BASE + 0x200000], 1
    CHECK_SET(MEM32(PD_USER + 8), PTE_D)
    mov byte ptr [USER_BASE + 0x3ff000], 1
    mov MEM(PD_USER + 8), 0
    invlpg [USER_BASE + 0x200000]
    FAULTS(14, 0)
    mov al, [USER_BASE + 0x3ff000]
    END_FAULTS
    /* Reserved bits of a large page's address. */
    mov MEM(PD_USER + 8), 0x202000 | PTE_P | PTE_W | PTE_PS
    FAULTS(14, 9)
    mov al, [USER_BASE + 0x200000]
    END_FAULTS

    /* Non-canonical: #GP, or #SS through the stack. */
    mov rbx, 0x800000000000
    FAULTS(13, 0)
    mov al, [rbx]
    END_FAULTS
    mov rbp, rbx
    FAULTS(12, 0)
    mov al, [rbp]
    END_FAULTS
    invlpg [rbx] /* does nothing */
#ifndef GO_ON /* QEMU's processor ends in a triple fault */
    mov byte ptr [idt + 12 * 16 + 4], 1 /* such a fault needs a stack of its own */
    lea rsp, [rbx + 64]
    FAULTS(12, 0)
    push rax
    END_FAULTS
    mov rax, [exc_rsp]
    sub rax, 64
    CHECK_EQ(rax, rbx)
    mov byte ptr [idt + 12 * 16 + 4], 0
#endif
    /* An access that runs from the last canonical byte into the hole. */
    FAULTS(13, 0)
    mov eax, [rbx - 1]
    END_FAULTS

    /* CR3 with bits above MAXPHYADDR. */
#ifndef GO_ON /* QEMU's processor takes it, and can do no more */
    mov rax, 1 << 51 | PML4
    FAULTS(13, 0)
    mov cr3, rax
    END_FAULTS
#endif
    PASS

user_read:
    mov ebx, USER(DATA)
    mov al, [rbx]
    ud2
user_write:
    mov ebx, USER(DATA)
    mov [rbx], al
    ud2
user_jump:
    mov ebx, USER(DATA)
    jmp rbx
