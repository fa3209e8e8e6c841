/*
 * Bits: BT BTS BTR BTC, BSF BSR, POPCNT, CRC32.
 *
 * A bit test with a register index reaches memory far from its operand: the index is signed and counts bits
 * from the effective address. Only CF is defined after BT*; the others are left as they were.
 */
#include "cpu/soft/exec/integer.h"

#define OP(name) static void op_##name(VmcCpu *c, const struct vmc_uop *u)

#define DO_BT(BITS)  r = a
#define DO_BTS(BITS) r = (T##BITS)(a | (T##BITS)1 << bit)
#define DO_BTR(BITS) r = (T##BITS)(a & ~((T##BITS)1 << bit))
#define DO_BTC(BITS) r = (T##BITS)(a ^ (T##BITS)1 << bit)

/* Byte distance of the BITS-wide cell that holds bit `n`, by address size: the offset wraps with the address.
 */
#define CELL(BITS, n) ((uint64_t)(((int64_t)(S##BITS)(n) >> (LG##BITS + 3)) * (BITS / 8)))

/* Effective address plus a bit-string displacement: the sum is cut to the address size before the segment is
 * added. */
static inline uint64_t bit_address(VmcCpu *c, const struct vmc_uop *u, uint64_t cell)
{
    if (vmc_likely(!(u->flags & UF_EA_SLOW)))
        return vmc_ea(c, u) + cell;
    return vmc_ea_linear(c, u, vmc_ea_cut(u, vmc_ea_offset(c, u) + cell));
}

#define DEFINE_BIT_REG(NAME, BITS)                                                                           \
    OP(NAME##_rr_##BITS)                                                                                     \
    {                                                                                                        \
        T##BITS a = GET##BITS(c, u->rm), r;                                                                  \
        unsigned bit = GET##BITS(c, u->reg) & (BITS - 1);                                                    \
        DO_##NAME(BITS);                                                                                     \
        vmc_set_carry(c, a >> bit & 1);                                                                      \
        if (r != a || (BITS == 32 && u->x))                                                                  \
            PUT##BITS(c, u->rm, r);                                                                          \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(NAME##_ri_##BITS)                                                                                     \
    {                                                                                                        \
        T##BITS a = GET##BITS(c, u->rm), r;                                                                  \
        unsigned bit = (unsigned)u->imm & (BITS - 1);                                                        \
        DO_##NAME(BITS);                                                                                     \
        vmc_set_carry(c, a >> bit & 1);                                                                      \
        if (r != a || (BITS == 32 && u->x))                                                                  \
            PUT##BITS(c, u->rm, r);                                                                          \
        VMC_NEXT(c, u);                                                                                      \
    }

#define DEFINE_BIT_MEM(NAME, BITS, SUFFIX, ACCESS)                                                           \
    OP(NAME##_mr##SUFFIX##_##BITS)                                                                           \
    {                                                                                                        \
        T##BITS n = GET##BITS(c, u->reg), a, r;                                                              \
        uint64_t va = bit_address(c, u, CELL(BITS, n));                                                      \
        unsigned bit = n & (BITS - 1);                                                                       \
        ACCESS(BITS, va, DO_##NAME(BITS));                                                                   \
        vmc_set_carry(c, a >> bit & 1);                                                                      \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(NAME##_mi##SUFFIX##_##BITS)                                                                           \
    {                                                                                                        \
        uint64_t va = vmc_ea(c, u);                                                                          \
        unsigned bit = (unsigned)u->imm & (BITS - 1);                                                        \
        T##BITS a, r;                                                                                        \
        ACCESS(BITS, va, DO_##NAME(BITS));                                                                   \
        vmc_set_carry(c, a >> bit & 1);                                                                      \
        VMC_NEXT(c, u);                                                                                      \
    }

/* BT only reads. */
#define READ_ONLY(BITS, va, STMT)                                                                            \
    do {                                                                                                     \
        a = vmc_ld##BITS(c, u, (va));                                                                        \
        STMT;                                                                                                \
        (void)r;                                                                                             \
    } while (0)

/* clang-format off */
#define ALL_BITS(BITS)                                                                                       \
    DEFINE_BIT_REG(BT, BITS) DEFINE_BIT_REG(BTS, BITS) DEFINE_BIT_REG(BTR, BITS) DEFINE_BIT_REG(BTC, BITS)   \
    DEFINE_BIT_MEM(BT, BITS, , READ_ONLY) DEFINE_BIT_MEM(BTS, BITS, , RMW) DEFINE_BIT_MEM(BTR, BITS, , RMW)  \
    DEFINE_BIT_MEM(BTC, BITS, , RMW) DEFINE_BIT_MEM(BTS, BITS, _lock, RMW_LOCKED)                            \
    DEFINE_BIT_MEM(BTR, BITS, _lock, RMW_LOCKED) DEFINE_BIT_MEM(BTC, BITS, _lock, RMW_LOCKED)
/* clang-format on */
FOR_WIDE(ALL_BITS)

/* BSF, BSR: a source of zero sets ZF and leaves the destination (a documented habit of real CPUs). The other
 * flags are undefined: unchanged here but for ZF. */
#define SCAN(BITS, value, EXPR)                                                                              \
    {                                                                                                        \
        T##BITS v = (value);                                                                                 \
        vmc_set_zero(c, v == 0);                                                                             \
        if (v)                                                                                               \
            PUT##BITS(c, u->reg, EXPR);                                                                      \
    }
#define POPULATION(BITS, value)                                                                              \
    {                                                                                                        \
        T##BITS v = (value);                                                                                 \
        PUT##BITS(c, u->reg, __builtin_popcountll(v));                                                       \
        vmc_set_arith(c, v ? 0 : FL_ZF);                                                                     \
    }
#define DEFINE_SCAN(BITS)                                                                                    \
    OP(bsf_r_##BITS)                                                                                         \
    {                                                                                                        \
        SCAN(BITS, GET##BITS(c, u->rm), __builtin_ctzll(v));                                                 \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(bsf_m_##BITS)                                                                                         \
    {                                                                                                        \
        SCAN(BITS, vmc_ld##BITS(c, u, vmc_ea(c, u)), __builtin_ctzll(v));                                    \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(bsr_r_##BITS)                                                                                         \
    {                                                                                                        \
        SCAN(BITS, GET##BITS(c, u->rm), 63 - __builtin_clzll(v));                                            \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(bsr_m_##BITS)                                                                                         \
    {                                                                                                        \
        SCAN(BITS, vmc_ld##BITS(c, u, vmc_ea(c, u)), 63 - __builtin_clzll(v));                               \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(popcnt_r_##BITS)                                                                                      \
    {                                                                                                        \
        POPULATION(BITS, GET##BITS(c, u->rm));                                                               \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(popcnt_m_##BITS)                                                                                      \
    {                                                                                                        \
        POPULATION(BITS, vmc_ld##BITS(c, u, vmc_ea(c, u)));                                                  \
        VMC_NEXT(c, u);                                                                                      \
    }
FOR_WIDE(DEFINE_SCAN)

/* CRC32C, reflected polynomial 0x82f63b78, by the host's instruction where it has one. */
__attribute__((target("sse4.2"))) static uint32_t crc_bytes(uint32_t crc, uint64_t data, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        crc = __builtin_ia32_crc32qi(crc, (uint8_t)(data >> (8 * i)));
    return crc;
}
#define DEFINE_CRC(BITS)                                                                                     \
    OP(crc32_r_##BITS)                                                                                       \
    {                                                                                                        \
        R64(c, u->reg) = crc_bytes(R32(c, u->reg), GET##BITS(c, u->rm), BITS / 8);                           \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(crc32_m_##BITS)                                                                                       \
    {                                                                                                        \
        uint64_t v = vmc_ld##BITS(c, u, vmc_ea(c, u));                                                       \
        R64(c, u->reg) = crc_bytes(R32(c, u->reg), v, BITS / 8);                                             \
        VMC_NEXT(c, u);                                                                                      \
    }
FOR_WIDTHS(DEFINE_CRC)

#define BY_WIDE(name)                                                                                        \
    {                                                                                                        \
        op_##name##_16, op_##name##_32, op_##name##_64                                                       \
    }
#define BY_WIDTH(name)                                                                                       \
    {                                                                                                        \
        op_##name##_8, op_##name##_16, op_##name##_32, op_##name##_64                                        \
    }
/* [BT, BTS, BTR, BTC][register index: reg, mem, locked][width]; the immediate ones after. */
static const vmc_op by_register[4][3][3] = {
    {BY_WIDE(BT_rr), BY_WIDE(BT_mr), BY_WIDE(BT_mr)},
    {BY_WIDE(BTS_rr), BY_WIDE(BTS_mr), BY_WIDE(BTS_mr_lock)},
    {BY_WIDE(BTR_rr), BY_WIDE(BTR_mr), BY_WIDE(BTR_mr_lock)},
    {BY_WIDE(BTC_rr), BY_WIDE(BTC_mr), BY_WIDE(BTC_mr_lock)},
};
static const vmc_op by_immediate[4][3][3] = {
    {BY_WIDE(BT_ri), BY_WIDE(BT_mi), BY_WIDE(BT_mi)},
    {BY_WIDE(BTS_ri), BY_WIDE(BTS_mi), BY_WIDE(BTS_mi_lock)},
    {BY_WIDE(BTR_ri), BY_WIDE(BTR_mi), BY_WIDE(BTR_mi_lock)},
    {BY_WIDE(BTC_ri), BY_WIDE(BTC_mi), BY_WIDE(BTC_mi_lock)},
};
static const vmc_op bsf[2][3] = {BY_WIDE(bsf_r), BY_WIDE(bsf_m)},
                    bsr[2][3] = {BY_WIDE(bsr_r), BY_WIDE(bsr_m)},
                    popcnt[2][3] = {BY_WIDE(popcnt_r), BY_WIDE(popcnt_m)};
static const vmc_op crc32[2][4] = {BY_WIDTH(crc32_r), BY_WIDTH(crc32_m)};

static enum vmc_bound bind_test(const struct vmc_insn *d, struct vmc_uop *u, const vmc_op table[4][3][3],
                                unsigned which)
{
    u->x = which != 0; /* a 32-bit destination is written even when the bit does not change */
    u->fn = table[which][!d->is_mem ? 0 : d->lock ? 2 : 1][vmc_width_index(d, false) - 1];
    return VMC_BIND_OK;
}

enum vmc_bound vmc_bind_bit(const struct vmc_insn *d, struct vmc_uop *u)
{
    unsigned op = d->opcode, ext = d->modrm >> 3 & 7;
    unsigned wide = vmc_width_index(d, false) - 1;
    if (d->map == VMC_MAP_0F38 && (op == 0xf0 || op == 0xf1)) {
        if (d->rep != 0xf2)
            return VMC_BIND_UD; /* MOVBE, where it is offered: bmi.c */
        if (op == 0xf0)
            u->rm = vmc_gpr8(d, d->rm);
        u->fn = crc32[d->is_mem][vmc_width_index(d, op == 0xf0)];
        return VMC_BIND_OK;
    }
    if (d->map != VMC_MAP_0F)
        return VMC_BIND_NO;
    switch (op) {
    case 0xa3:
        return bind_test(d, u, by_register, 0);
    case 0xab:
        return bind_test(d, u, by_register, 1);
    case 0xb3:
        return bind_test(d, u, by_register, 2);
    case 0xbb:
        return bind_test(d, u, by_register, 3);
    case 0xba:
        if (ext < 4)
            return VMC_BIND_UD;
        return bind_test(d, u, by_immediate, ext - 4);
    case 0xb8:
        if (d->rep != 0xf3)
            return VMC_BIND_UD;
        u->fn = popcnt[d->is_mem][wide];
        return VMC_BIND_OK;
    case 0xbc: /* with F3 TZCNT and LZCNT where offered (bmi.c); here the prefix is ignored */
        u->fn = bsf[d->is_mem][wide];
        return VMC_BIND_OK;
    case 0xbd:
        u->fn = bsr[d->is_mem][wide];
        return VMC_BIND_OK;
    }
    return VMC_BIND_NO;
}
