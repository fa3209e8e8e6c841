/*
 * Exchanges: XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B. On memory XCHG is always locked; the others when
 * told. Locked ones are host atomics on the guest's memory.
 */
#include "cpu/soft/exec/integer.h"

#define OP(name) static void op_##name(VmcCpu *c, const struct vmc_uop *u)

#define DEFINE_XCHG(BITS)                                                                                    \
    OP(xchg_r_##BITS)                                                                                        \
    {                                                                                                        \
        T##BITS a = GET##BITS(c, u->reg), b = GET##BITS(c, u->rm);                                           \
        PUT##BITS(c, u->reg, b);                                                                             \
        PUT##BITS(c, u->rm, a);                                                                              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(xchg_m_##BITS)                                                                                        \
    {                                                                                                        \
        uint64_t va = vmc_ea(c, u);                                                                          \
        T##BITS a, b = GET##BITS(c, u->reg), r;                                                              \
        RMW_LOCKED(BITS, va, r = b);                                                                         \
        PUT##BITS(c, u->reg, a);                                                                             \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(xadd_r_##BITS)                                                                                        \
    {                                                                                                        \
        T##BITS a = GET##BITS(c, u->rm), b = GET##BITS(c, u->reg), r = (T##BITS)(a + b);                     \
        SET_CC(CC_ADD, BITS, r, b);                                                                          \
        PUT##BITS(c, u->reg, a);                                                                             \
        PUT##BITS(c, u->rm, r);                                                                              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    DEFINE_XADD(BITS, m, RMW) DEFINE_XADD(BITS, m_lock, RMW_LOCKED) OP(cmpxchg_r_##BITS)                     \
    {                                                                                                        \
        T##BITS a = GET##BITS(c, VMC_GPR(VMC_RAX)), b = GET##BITS(c, u->rm);                                 \
        SET_CC(CC_SUB, BITS, (T##BITS)(a - b), b);                                                           \
        if (a == b)                                                                                          \
            PUT##BITS(c, u->rm, GET##BITS(c, u->reg));                                                       \
        else                                                                                                 \
            PUT##BITS(c, VMC_GPR(VMC_RAX), b);                                                               \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    DEFINE_CMPXCHG(BITS, m, RMW) DEFINE_CMPXCHG(BITS, m_lock, RMW_LOCKED)

#define DEFINE_XADD(BITS, FORM, ACCESS)                                                                      \
    OP(xadd_##FORM##_##BITS)                                                                                 \
    {                                                                                                        \
        uint64_t va = vmc_ea(c, u);                                                                          \
        T##BITS a, b = GET##BITS(c, u->reg), r;                                                              \
        ACCESS(BITS, va, r = (T##BITS)(a + b));                                                              \
        SET_CC(CC_ADD, BITS, r, b);                                                                          \
        PUT##BITS(c, u->reg, a);                                                                             \
        VMC_NEXT(c, u);                                                                                      \
    }

/* The destination is written in any case: back with itself when the comparison fails. */
#define DEFINE_CMPXCHG(BITS, FORM, ACCESS)                                                                   \
    OP(cmpxchg_##FORM##_##BITS)                                                                              \
    {                                                                                                        \
        uint64_t va = vmc_ea(c, u);                                                                          \
        T##BITS a, b = GET##BITS(c, VMC_GPR(VMC_RAX)), n = GET##BITS(c, u->reg), r;                          \
        ACCESS(BITS, va, r = a == b ? n : a);                                                                \
        SET_CC(CC_SUB, BITS, (T##BITS)(b - a), a);                                                           \
        if (a != b)                                                                                          \
            PUT##BITS(c, VMC_GPR(VMC_RAX), a);                                                               \
        VMC_NEXT(c, u);                                                                                      \
    }
FOR_WIDTHS(DEFINE_XCHG)

OP(cmpxchg8b)
{
    uint64_t va = vmc_ea(c, u);
    uint64_t b = R32(c, VMC_GPR(VMC_RAX)) | (uint64_t)R32(c, VMC_GPR(VMC_RDX)) << 32;
    uint64_t n = R32(c, VMC_GPR(VMC_RBX)) | (uint64_t)R32(c, VMC_GPR(VMC_RCX)) << 32;
    uint64_t a, r;
    RMW_LOCKED(64, va, r = a == b ? n : a);
    if (a != b) {
        R64(c, VMC_GPR(VMC_RAX)) = (uint32_t)a;
        R64(c, VMC_GPR(VMC_RDX)) = a >> 32;
    }
    vmc_set_zero(c, a == b);
    VMC_NEXT(c, u);
}

typedef unsigned __int128 uint128;

/* LOCK CMPXCHG16B on the host; returns what was there. */
static inline uint128 cas128(void *p, uint128 expected, uint128 desired)
{
    uint64_t lo = (uint64_t)expected, hi = (uint64_t)(expected >> 64);
    __asm__ volatile("lock cmpxchg16b %2"
                     : "+a"(lo), "+d"(hi), "+m"(*(uint128 *)p)
                     : "b"((uint64_t)desired), "c"((uint64_t)(desired >> 64))
                     : "cc", "memory");
    return (uint128)hi << 64 | lo;
}

VMC_NOINLINE static bool cmpxchg16b(VmcCpu *c, const struct vmc_uop *u, uint64_t va)
{
    uint128 b = (uint128)R64(c, VMC_GPR(VMC_RDX)) << 64 | R64(c, VMC_GPR(VMC_RAX)), a;
    uint128 n = (uint128)R64(c, VMC_GPR(VMC_RCX)) << 64 | R64(c, VMC_GPR(VMC_RBX));
    c->cur = u;
    if (va & 15)
        vmc_gp0(c);
    void *p = vmc_rmw(c, u, va, 16);
    if (p) {
        a = cas128(p, b, n);
    } else { /* devices have no 16-byte registers: two halves under the lock */
        vmc_split_lock(c);
        a = vmc_ld_slow(c, u, va, 8) | (uint128)vmc_ld_slow(c, u, va + 8, 8) << 64;
        vmc_st_slow(c, u, va, 8, (uint64_t)(a == b ? n : a));
        vmc_st_slow(c, u, va + 8, 8, (uint64_t)((a == b ? n : a) >> 64));
        vmc_split_unlock(c);
    }
    if (a != b) {
        R64(c, VMC_GPR(VMC_RAX)) = (uint64_t)a;
        R64(c, VMC_GPR(VMC_RDX)) = (uint64_t)(a >> 64);
    }
    return a == b;
}

OP(cmpxchg16b)
{
    vmc_set_zero(c, cmpxchg16b(c, u, vmc_ea(c, u)));
    VMC_NEXT(c, u);
}

#define BY_WIDTH(name)                                                                                       \
    {                                                                                                        \
        op_##name##_8, op_##name##_16, op_##name##_32, op_##name##_64                                        \
    }
static const vmc_op xchg[2][4] = {BY_WIDTH(xchg_r), BY_WIDTH(xchg_m)};
static const vmc_op xadd[3][4] = {BY_WIDTH(xadd_r), BY_WIDTH(xadd_m), BY_WIDTH(xadd_m_lock)};
static const vmc_op cmpxchg[3][4] = {BY_WIDTH(cmpxchg_r), BY_WIDTH(cmpxchg_m), BY_WIDTH(cmpxchg_m_lock)};

enum vmc_bound vmc_bind_xchg(const struct vmc_insn *d, struct vmc_uop *u)
{
    unsigned op = d->opcode, form = !d->is_mem ? 0 : d->lock ? 2 : 1;
    bool byte = !(op & 1);
    if (d->map == VMC_MAP_1 && op >= 0x90 && op < 0x98) {
        u->reg = VMC_GPR(VMC_RAX);
        u->fn = xchg[0][vmc_width_index(d, false)];
        return VMC_BIND_OK;
    }
    if (!((d->map == VMC_MAP_1 && (op == 0x86 || op == 0x87)) ||
          (d->map == VMC_MAP_0F && (op == 0xb0 || op == 0xb1 || op == 0xc0 || op == 0xc1 || op == 0xc7))))
        return VMC_BIND_NO;
    if (op == 0xc7) {
        if ((d->modrm >> 3 & 7) != 1)
            return VMC_BIND_NO;
        if (!d->is_mem)
            return VMC_BIND_UD;
        u->fn = d->opsize == 8 ? op_cmpxchg16b : op_cmpxchg8b;
        return VMC_BIND_OK;
    }
    if (byte) {
        u->reg = vmc_gpr8(d, d->reg);
        u->rm = vmc_gpr8(d, d->rm);
    }
    unsigned w = vmc_width_index(d, byte);
    if (d->map == VMC_MAP_1)
        u->fn = xchg[d->is_mem][w];
    else
        u->fn = (op < 0xc0 ? cmpxchg : xadd)[form][w];
    return VMC_BIND_OK;
}
