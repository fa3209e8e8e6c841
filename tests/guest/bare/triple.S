/* No IDT to speak of: #UD, #GP, #DF, and then nothing is left but to shut down. SDM vol. 3 section 6.15, "Double Fault". */
#include "bare.h"

main:
    mov word ptr [idt_pointer], 0
    lidt [idt_pointer]
    ud2
    FAIL
