/*
 * The slow way of VEX-encoded vector instructions (avx.h), the same for all: fetch the operands, call the
 * piece of code that u->imm leads to, look at the exception flags if the guest has unmasked any, store.
 *
 * The code finds the destination in ymm0, the other operands in ymm1 and ymm2 and the fourth, if there is
 * one, in ymm3; it leaves the result in ymm0 (or RAX) and changes nothing else.
 */
#include "cpu/soft/exec/avx.h"

#define MXCSR_UE 0x10u

#define OPERANDS                                                                                             \
    [code] "r"(u->imm), [a] "m"(XMM(c, VVVV(u))), [ah] "m"(HIGH(c, VVVV(u))), [b] "m"(c->vector_operand),    \
        [d] "m"(XMM(c, u->reg)), [dh] "m"(HIGH(c, u->reg)), [m] "m"(XMM(c, IS4(u))),                         \
        [mh] "m"(HIGH(c, IS4(u)))
#define LOAD_ALL                                                                                             \
    LOAD_D_Y LOAD_A_Y "vmovdqa %[b], %%ymm2\n\t"                                                             \
                      "vmovdqa %[m], %%xmm3\n\tvinsertf128 $1, %[mh], %%ymm3, %%ymm3\n\t"

static void call(VmcCpu *c, const struct vmc_uop *u)
{
    __asm__ volatile(LOAD_ALL "call *%[code]\n\t"
                              "vmovdqa %%ymm0, %[r]\n\tvzeroupper"
                     : [r] "=m"(c->vector_result)
                     : OPERANDS
                     : "xmm0", "xmm1", "xmm2", "xmm3", "rax", "cc");
}

/* With a general register as destination: u->reg is none of ours, so nothing is loaded from there. */
static uint64_t call_general(VmcCpu *c, const struct vmc_uop *u)
{
    uint64_t result;
    __asm__ volatile("vmovdqa %[a], %%xmm1\n\tvmovdqa %[b], %%xmm2\n\tcall *%[code]"
                     : "=&a"(result)
                     : [code] "r"(u->imm), [a] "m"(XMM(c, VVVV(u))), [b] "m"(c->vector_operand)
                     : "xmm0", "xmm1", "xmm2", "cc");
    return result;
}

#define LOOKED(COMPUTE)                                                                                      \
    do {                                                                                                     \
        bool look_ = c->fx_guard & FXG_XM;                                                                   \
        uint32_t s_ = 0;                                                                                     \
        do {                                                                                                 \
            if (look_)                                                                                       \
                s_ = vmc_xm_begin(c, s_);                                                                    \
            COMPUTE;                                                                                         \
        } while (look_ && (s_ = vmc_xm_end(c, u, s_)) != 0);                                                 \
    } while (0)

/* While underflow is unmasked, a tiny result is one even if it is exact. Flush-to-zero, which tells of those
 * elsewhere (fx.h), does not concern VCVTPS2PH. */
static void note_tiny_halves(VmcCpu *c)
{
    if ((c->fx.mxcsr >> 7) & MXCSR_UE)
        return;
    for (unsigned i = 0; i < sizeof c->vector_result; i += 2) {
        uint16_t h;
        memcpy(&h, c->vector_result + i, 2);
        if ((h & 0x7fff) && !(h & 0x7c00))
            vmc_set_host_mxcsr(vmc_host_mxcsr() | MXCSR_UE);
    }
}

void vmc_avx_compute(VmcCpu *c, const struct vmc_uop *u, bool half)
{
    LOOKED(call(c, u); if (half && look_) note_tiny_halves(c));
}

void vmc_avx_fetch(VmcCpu *c, const struct vmc_uop *u, unsigned n)
{
    if (!(u->flags & UF_MEM)) {
        memcpy(c->vector_operand, &XMM(c, u->rm), 16);
        memcpy(c->vector_operand + 16, &HIGH(c, u->rm), 16);
        return;
    }
    memset(c->vector_operand, 0, sizeof c->vector_operand);
    vmc_read_bytes(c, u, vmc_ea(c, u), c->vector_operand, n);
}

void vmc_avx_commit(VmcCpu *c, const struct vmc_uop *u)
{
    memcpy(&XMM(c, u->reg), c->vector_result, 16);
    memcpy(&HIGH(c, u->reg), c->vector_result + 16, 16);
}

static VMC_NOINLINE void slow(VmcCpu *c, const struct vmc_uop *u, unsigned n)
{
    AVX_GUARD(c, u);
    vmc_avx_fetch(c, u, n);
    vmc_avx_compute(c, u, false);
    vmc_avx_commit(c, u);
}

static VMC_NOINLINE void slow_general(VmcCpu *c, const struct vmc_uop *u, unsigned n)
{
    uint64_t value;
    AVX_GUARD(c, u);
    if (u->flags & UF_MEM)
        value = n == 8 ? vmc_ld64(c, u, vmc_ea(c, u)) : vmc_ld32(c, u, vmc_ea(c, u));
    else
        value = R64(c, u->rm);
    memcpy(c->vector_operand, &value, 8);
    vmc_avx_compute(c, u, false);
    vmc_avx_commit(c, u);
}

static VMC_NOINLINE uint64_t to_general(VmcCpu *c, const struct vmc_uop *u, unsigned n)
{
    uint64_t result;
    AVX_GUARD(c, u);
    vmc_avx_fetch(c, u, n);
    LOOKED(result = call_general(c, u));
    return result;
}

#define SLOW(name, DO)                                                                                       \
    void vmc_avx_##name(VmcCpu *c, const struct vmc_uop *u)                                                  \
    {                                                                                                        \
        DO;                                                                                                  \
        VMC_NEXT(c, u);                                                                                      \
    }
SLOW(slow_1, slow(c, u, 1))
SLOW(slow_2, slow(c, u, 2))
SLOW(slow_4, slow(c, u, 4))
SLOW(slow_8, slow(c, u, 8))
SLOW(slow_16, slow(c, u, 16))
SLOW(slow_32, slow(c, u, 32))
SLOW(slow_general_4, slow_general(c, u, 4))
SLOW(slow_general_8, slow_general(c, u, 8))
SLOW(to_general_4, R64(c, u->reg) = to_general(c, u, 4))
SLOW(to_general_8, R64(c, u->reg) = to_general(c, u, 8))
SLOW(to_flags_4, vmc_set_arith(c, to_general(c, u, 4)))
SLOW(to_flags_8, vmc_set_arith(c, to_general(c, u, 8)))
