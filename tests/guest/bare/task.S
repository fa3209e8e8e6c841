/* A jump to a TSS: a task switch. The software CPU refuses it with a sentence instead of doing half of one. */
#include "bare.h"

main:
    mov dword ptr [gdt + SEL_TEST], 0x00000067
    mov dword ptr [gdt + SEL_TEST + 4], 0x00008900
    .byte 0xff, 0x2c, 0x25
    .long to_protected
.code32
protected_again:
    mov eax, cr0
    btr eax, 31
    mov cr0, eax
    .byte 0xea
    .long 0
    .word SEL_TEST
    mov eax, __LINE__
    mov edx, PORT_EXIT
    out dx, eax
    hlt
to_protected:
    .long protected_again
    .word SEL_CODE32
