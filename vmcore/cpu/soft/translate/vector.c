/*
 * SSE instructions: the guest's own, on the host's registers of the same number.
 */
#include "cpu/soft/translate/context.h"

bool vmc_vector_known(const struct vmc_insn *d, struct vmc_plan *p)
{
    return false;
}

void vmc_gen_vector(struct vmc_tr *t, unsigned i)
{
}
