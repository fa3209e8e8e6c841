/*
 * RDRAND and RDSEED: random numbers of the host's kernel, fetched a few at a time. They never run dry, so CF
 * is always set.
 *
 * Source: Intel SDM vol. 2, RDRAND; vol. 1 section 7.3.17.
 */
#include <sys/random.h>

#include "cpu/soft/exec/extensions.h"
#include "cpu/soft/exec/operand.h"

/* The next eight bytes; false if the kernel has none to give. */
static VMC_NOINLINE bool draw(VmcCpu *c, uint64_t *value)
{
    if (c->random.left == 0) {
        if (getrandom(c->random.words, sizeof c->random.words, 0) != sizeof c->random.words)
            return false;
        c->random.left = G_N_ELEMENTS(c->random.words);
    }
    c->random.left--;
    *value = c->random.words[c->random.left];
    c->random.words[c->random.left] = 0;
    return true;
}

static VMC_NOINLINE uint64_t next(VmcCpu *c)
{
    uint64_t value = 0;
    vmc_set_arith(c, draw(c, &value) ? FL_CF : 0);
    return value;
}

#define DEFINE_RANDOM(BITS)                                                                                  \
    static void op_random_##BITS(VmcCpu *c, const struct vmc_uop *u)                                         \
    {                                                                                                        \
        PUT##BITS(c, u->rm, next(c));                                                                        \
        VMC_NEXT(c, u);                                                                                      \
    }
FOR_WIDE(DEFINE_RANDOM)

/* 0F C7 /6 and /7 on registers. */
enum vmc_bound vmc_bind_random(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u)
{
    static const vmc_op ops[3] = {op_random_16, op_random_32, op_random_64};
    unsigned ext = d->modrm >> 3 & 7;

    if (d->map != VMC_MAP_0F || d->vex || d->opcode != 0xc7 || d->is_mem || ext < 6)
        return VMC_BIND_NO;
    if (!(features & (ext == 6 ? VMC_HAS_RDRAND : VMC_HAS_RDSEED)) || d->rep)
        return VMC_BIND_UD;
    u->fn = ops[vmc_width_index(d, false) - 1];
    return VMC_BIND_OK;
}
