/*
 * VEX-encoded moves under a mask, and gathers: each element has an address of its own, and one that the mask
 * leaves out is not accessed at all.
 *
 * A masked store changes nothing if any of its elements faults. A gather goes from the lowest element up and
 * is done with each as it goes: the element is in the destination and that of the mask zero, so that an
 * exception leaves behind what is needed to go on, and nothing is read twice.
 *
 * Source: Intel SDM vol. 2 VMASKMOV, VPMASKMOV, VGATHER; section 2.3.12 (VSIB).
 */
#include "cpu/soft/exec/avx.h"

/* The element's address: an offset from the operand's own, cut to the address size, in its segment. */
static uint64_t element_address(VmcCpu *c, const struct vmc_uop *u, uint64_t offset)
{
    return vmc_ea_linear(c, u, vmc_ea_cut(u, vmc_ea_offset(c, u) + offset));
}

/* Element i of a register of `size`-byte elements. */
static void *element(VmcCpu *c, unsigned reg, unsigned i, unsigned size)
{
    unsigned at = i * size;
    return at < 16 ? c->fx.xmm[reg / 16] + at : c->ymm_high[reg / 16] + at - 16;
}

static bool is_wanted(VmcCpu *c, unsigned mask, unsigned i, unsigned size)
{
    const uint8_t *p = element(c, mask, i, size);
    return p[size - 1] & 0x80;
}

static void load_element(VmcCpu *c, const struct vmc_uop *u, uint64_t va, void *to, unsigned size)
{
    uint64_t v = size == 8 ? vmc_ld64(c, u, va) : vmc_ld32(c, u, va);
    memcpy(to, &v, size);
}

static void clear_high(VmcCpu *c, unsigned reg)
{
    memset(c->ymm_high[reg / 16], 0, 16);
}

/* ---- masked moves: the mask is what VEX.vvvv names ---- */

static VMC_NOINLINE void masked_load(VmcCpu *c, const struct vmc_uop *u, unsigned bytes, unsigned size)
{
    AVX_GUARD(c, u);
    c->cur = u;
    memset(c->vector_result, 0, sizeof c->vector_result);
    for (unsigned i = 0; i < bytes / size; i++)
        if (is_wanted(c, VVVV(u), i, size))
            load_element(c, u, element_address(c, u, i * size), c->vector_result + i * size, size);
    memcpy(element(c, u->reg, 0, 16), c->vector_result, 16);
    memcpy(element(c, u->reg, 1, 16), c->vector_result + 16, 16);
}

static VMC_NOINLINE void masked_store(VmcCpu *c, const struct vmc_uop *u, unsigned bytes, unsigned size)
{
    AVX_GUARD(c, u);
    c->cur = u;
    for (unsigned i = 0; i < bytes / size; i++)
        if (is_wanted(c, VVVV(u), i, size))
            vmc_probe(c, u, element_address(c, u, i * size), size, VMC_WRITE);
    for (unsigned i = 0; i < bytes / size; i++) {
        if (!is_wanted(c, VVVV(u), i, size))
            continue;
        const void *p = element(c, u->reg, i, size);
        if (size == 8)
            vmc_st64(c, u, element_address(c, u, i * size), *(const uint64_t *)p);
        else
            vmc_st32(c, u, element_address(c, u, i * size), *(const uint32_t *)p);
    }
}

#define MASKED(name, function, size)                                                                         \
    AVX_OP(name##_x)                                                                                         \
    {                                                                                                        \
        function(c, u, 16, size);                                                                            \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    AVX_OP(name##_y)                                                                                         \
    {                                                                                                        \
        function(c, u, 32, size);                                                                            \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    const struct vmc_avx_insn vmc_avx_##name = {.rm = {op_avx_##name##_x, op_avx_##name##_y}};
MASKED(maskmov_32, masked_load, 4)
MASKED(maskmov_64, masked_load, 8)
MASKED(maskmov_st_32, masked_store, 4)
MASKED(maskmov_st_64, masked_store, 8)

AVX_OP(maskmovdqu)
{
    AVX_GUARD(c, u);
    vmc_store_masked(c, u, vmc_ea(c, u), 16, XMM(c, u->reg), (unsigned)_mm_movemask_epi8(XMM(c, u->rm)));
    VMC_NEXT(c, u);
}
const struct vmc_avx_insn vmc_avx_maskmovdqu = {.rr = {op_avx_maskmovdqu}};

/* ---- gathers: the register of indices is where is4 would be ---- */

/* Indices of `index` bytes, `n` elements of `size` bytes; the destination has no more than these. */
static VMC_NOINLINE void gather(VmcCpu *c, const struct vmc_uop *u, unsigned n, unsigned index, unsigned size)
{
    unsigned dst = u->reg, mask = VVVV(u), indices = IS4(u), scale = u->scale & 3;
    AVX_GUARD(c, u);
    c->cur = u;
    for (unsigned i = 0; i < n; i++) {
        const void *p = element(c, indices, i, index);
        uint64_t offset = (uint64_t)(index == 8 ? *(const int64_t *)p : *(const int32_t *)p) << scale;
        if (is_wanted(c, mask, i, size))
            load_element(c, u, element_address(c, u, offset), element(c, dst, i, size), size);
        memset(element(c, mask, i, size), 0, size);
    }
    if (n * size < 16)
        memset(element(c, dst, n, size), 0, 16 - n * size);
    if (n * size <= 16)
        clear_high(c, dst);
    memset(element(c, mask, 0, 16), 0, 16);
    clear_high(c, mask);
}

#define GATHER(name, n_x, n_y, index, size)                                                                  \
    AVX_OP(name##_x)                                                                                         \
    {                                                                                                        \
        gather(c, u, n_x, index, size);                                                                      \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    AVX_OP(name##_y)                                                                                         \
    {                                                                                                        \
        gather(c, u, n_y, index, size);                                                                      \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    const struct vmc_avx_insn vmc_avx_##name = {.rm = {op_avx_##name##_x, op_avx_##name##_y}};
GATHER(gather_dd, 4, 8, 4, 4)
GATHER(gather_dq, 2, 4, 4, 8)
GATHER(gather_qd, 2, 4, 8, 4)
GATHER(gather_qq, 2, 4, 8, 8)
