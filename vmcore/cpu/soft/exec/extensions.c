/* Extensions of the instruction set that CPUID may or may not show: asked before the families of x86-64-v2,
 * whose opcodes some of them gave another meaning (TZCNT was BSF). */
#include "cpu/soft/exec/extensions.h"

enum vmc_bound vmc_bind_extension(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u)
{
    static enum vmc_bound (*const parts[])(const struct vmc_insn *, uint32_t, struct vmc_uop *) = {
        vmc_bind_avx, vmc_bind_bmi, vmc_bind_xsave, vmc_bind_crypto, vmc_bind_random,
    };
    if (d->map == VMC_MAP_1)
        return VMC_BIND_NO;
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        enum vmc_bound r = parts[i](d, features, u);
        if (r != VMC_BIND_NO)
            return r;
    }
    return d->vex ? VMC_BIND_UD : VMC_BIND_NO;
}
