/* The integer family as a whole: asks its parts in the order of how often they are right. */
#include "cpu/soft/exec/integer.h"

enum vmc_bound vmc_bind_integer(const struct vmc_insn *d, struct vmc_uop *u)
{
    static enum vmc_bound (*const parts[])(const struct vmc_insn *, struct vmc_uop *) = {
        vmc_bind_move, vmc_bind_alu, vmc_bind_shift, vmc_bind_bit, vmc_bind_muldiv, vmc_bind_xchg,
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        enum vmc_bound r = parts[i](d, u);
        if (r != VMC_BIND_NO)
            return r;
    }
    return VMC_BIND_NO;
}
