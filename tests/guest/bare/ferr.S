/*
 * CR0.NE clear. A pending x87 exception then goes out on a wire that nobody listens to here; the instruction runs as
 * under IGNNE#, with the flags kept. (That a machine without the wire does this is our own choice.) SDM vol. 1, 8.7.2.
 */
#include "bare.h"

#define STATUS(value) fnstsw ax; CHECK_EQ(ax, value)

main:
    mov rax, cr0
    btr rax, 5
    mov cr0, rax
    fninit
    mov word ptr [control], 0x0372 /* IE, ZE, DE unmasked */
    fldcw [control]
    fld1
    fldz
    fdivp st(1), st /* not run to the end: ST keeps both */
    fnstsw [status]
    CHECK_SET(word ptr [status], 0x8084)
    /* Others run, and the flag stays. */
    fld1
    fld1
    faddp st(1), st
    fnstsw ax
    CHECK_SET(ax, 0x8000)
    CHECK_SET(ax, 4)
    fist dword ptr [result]
    CHECK_EQ(dword ptr [result], 2)
    fwait
    fstp st(0)
    /* So they do when an operand is not in one piece, and when the page is not there. */
    fld1
    and qword ptr [PTE(0x61000)], ~PTE_P
    invlpg [USER(0x61000)]
    FAULTS(14, 2)
    fstp qword ptr [USER(0x61000) - 4]
    END_FAULTS
    fnstsw ax
    CHECK_SET(ax, 0x8000)
    CHECK_SET(ax, 4)
    movd mm0, eax
    emms
    fnstsw ax
    CHECK_SET(ax, 4)
    fnclex
    fnstsw ax
    CHECK_ZERO(ax, 0x80ff)
    fld1
    fstp st(0)
    /* With NE it is an exception again. */
    mov word ptr [control], 0x037b
    fninit
    fld1
    fldz
    fdivp st(1), st
    fldcw [control]
    mov rax, cr0
    bts rax, 5
    mov cr0, rax
    FAULTS(16, 0)
    fnop
    END_FAULTS
    PASS

control: .short 0
status:  .short 0
result:  .long 0
