/*
 * Shifts and rotates: SHL SHR SAR ROL ROR RCL RCR by immediate, 1 or CL; SHLD, SHRD.
 *
 * Counts are masked to five bits (six for 64-bit operands); a count of zero leaves all flags alone. Shifts
 * record lazy flags, rotates change CF and OF alone, on top of the flags recorded before.
 */
#include "cpu/soft/exec/integer.h"

#define OP(name) static void op_##name(VmcCpu *c, const struct vmc_uop *u)

#define COUNT_MASK(BITS) ((BITS) == 64 ? 63u : 31u)

/* Each STMT: from a and n (1..63) make r; FLAGS records, after the value is stored. */
#define DO_SHL(BITS)    r = (T##BITS)(n < BITS ? (uint64_t)a << n : 0)
#define DO_SHR(BITS)    r = (T##BITS)(n < BITS ? (uint64_t)a >> n : 0)
#define DO_SAR(BITS)    r = (T##BITS)((S##BITS)a >> (n < BITS ? n : BITS - 1))
#define CC_OF_SHL(BITS) SET_CC(CC_SHL, BITS, r, (uint64_t)a << (n - 1))
#define CC_OF_SHR(BITS) SET_CC(CC_SAR, BITS, r, (uint64_t)a >> (n - 1))
#define CC_OF_SAR(BITS) SET_CC(CC_SAR, BITS, r, (int64_t)(S##BITS)a >> (n - 1))

#define DO_ROL(BITS)    r = (T##BITS)((n % BITS) ? (a << (n % BITS)) | (a >> (BITS - n % BITS)) : a)
#define DO_ROR(BITS)    r = (T##BITS)((n % BITS) ? (a >> (n % BITS)) | (a << (BITS - n % BITS)) : a)
#define TOP(BITS, v)    ((v) >> (BITS - 1) & 1)
#define CC_OF_ROL(BITS) vmc_set_carry_overflow(c, r & 1, TOP(BITS, r) ^ (r & 1))
#define CC_OF_ROR(BITS) vmc_set_carry_overflow(c, TOP(BITS, r), TOP(BITS, r) ^ (r >> (BITS - 2) & 1))

#define DEFINE_SHIFT(NAME, BITS)                                                                             \
    DEFINE_SHIFT_COUNT(NAME, BITS, i, (unsigned)u->imm)                                                      \
    DEFINE_SHIFT_COUNT(NAME, BITS, c, R8(c, VMC_GPR(VMC_RCX)))

#define DEFINE_SHIFT_COUNT(NAME, BITS, FROM, COUNT)                                                          \
    OP(NAME##_r##FROM##_##BITS)                                                                              \
    {                                                                                                        \
        unsigned n = COUNT & COUNT_MASK(BITS);                                                               \
        T##BITS a = GET##BITS(c, u->rm), r;                                                                  \
        if (vmc_unlikely(n == 0)) {                                                                          \
            PUT##BITS(c, u->rm, a);                                                                          \
            VMC_NEXT(c, u);                                                                                  \
        }                                                                                                    \
        DO_##NAME(BITS);                                                                                     \
        CC_OF_##NAME(BITS);                                                                                  \
        PUT##BITS(c, u->rm, r);                                                                              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(NAME##_m##FROM##_##BITS)                                                                              \
    {                                                                                                        \
        uint64_t va = vmc_ea(c, u);                                                                          \
        unsigned n = COUNT & COUNT_MASK(BITS);                                                               \
        T##BITS a, r;                                                                                        \
        if (vmc_unlikely(n == 0)) {                                                                          \
            RMW(BITS, va, r = a);                                                                            \
            VMC_NEXT(c, u);                                                                                  \
        }                                                                                                    \
        RMW(BITS, va, DO_##NAME(BITS));                                                                      \
        CC_OF_##NAME(BITS);                                                                                  \
        VMC_NEXT(c, u);                                                                                      \
    }

#define ALL_SHIFTS(BITS)                                                                                     \
    DEFINE_SHIFT(SHL, BITS)                                                                                  \
    DEFINE_SHIFT(SHR, BITS) DEFINE_SHIFT(SAR, BITS) DEFINE_SHIFT(ROL, BITS) DEFINE_SHIFT(ROR, BITS)
FOR_WIDTHS(ALL_SHIFTS)

/*
 * RCL and RCR turn width + 1 bits. For 8 and 16 bits the masked count is taken modulo 9 or 17; zero then
 * changes nothing.
 */
struct rotated {
    uint64_t value;
    bool carry;
};

static struct rotated rotate_carry_left(uint64_t a, bool carry, unsigned n, unsigned bits)
{
    for (unsigned i = 0; i < n; i++) {
        bool top = a >> (bits - 1) & 1;
        a = a << 1 | carry;
        carry = top;
    }
    return (struct rotated){bits == 64 ? a : a & ((1ull << bits) - 1), carry};
}

static struct rotated rotate_carry_right(uint64_t a, bool carry, unsigned n, unsigned bits)
{
    for (unsigned i = 0; i < n; i++) {
        bool low = a & 1;
        a = a >> 1 | (uint64_t)carry << (bits - 1);
        carry = low;
    }
    return (struct rotated){a, carry};
}

/* The new value of an operand `a`; flags set. Rare, so one routine for all widths. */
VMC_NOINLINE static uint64_t rotate_through_carry(VmcCpu *c, uint64_t a, unsigned n, unsigned bits,
                                                  bool right)
{
    n &= COUNT_MASK(bits);
    if (bits < 32)
        n %= bits + 1;
    if (n == 0)
        return a;
    bool carry = vmc_flag_carry(c);
    struct rotated r = right ? rotate_carry_right(a, carry, n, bits) : rotate_carry_left(a, carry, n, bits);
    bool top = r.value >> (bits - 1) & 1, second = r.value >> (bits - 2) & 1;
    vmc_set_carry_overflow(c, r.carry, right ? top ^ second : top ^ r.carry);
    return r.value;
}

/* u->x: bit 0 right; bit 1 count from CL. */
#define DEFINE_RC(BITS)                                                                                      \
    OP(rc_r_##BITS)                                                                                          \
    {                                                                                                        \
        unsigned n = u->x & 2 ? R8(c, VMC_GPR(VMC_RCX)) : (unsigned)u->imm;                                  \
        PUT##BITS(c, u->rm, rotate_through_carry(c, GET##BITS(c, u->rm), n, BITS, u->x & 1));                \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(rc_m_##BITS)                                                                                          \
    {                                                                                                        \
        uint64_t va = vmc_ea(c, u);                                                                          \
        unsigned n = u->x & 2 ? R8(c, VMC_GPR(VMC_RCX)) : (unsigned)u->imm;                                  \
        T##BITS a, r;                                                                                        \
        RMW(BITS, va, r = (T##BITS)rotate_through_carry(c, a, n, BITS, u->x & 1));                           \
        VMC_NEXT(c, u);                                                                                      \
    }
FOR_WIDTHS(DEFINE_RC)

/*
 * Double shifts. `before` is the value one step before the last: the lazy flags want it. Worked out on 128
 * bits; 16-bit operands by more than 16 are undefined and take the second operand's bits again, as hardware
 * does.
 */
typedef unsigned __int128 uint128;

VMC_INLINE uint64_t double_left(uint64_t a, uint64_t b, unsigned n, unsigned bits)
{
    if (bits == 16) { /* a : b : a */
        uint64_t v = a << 32 | b << 16 | a;
        return (uint16_t)(v << n >> 32);
    }
    uint128 v = (uint128)a << bits | b;
    return (uint64_t)(v << n >> bits);
}
VMC_INLINE uint64_t double_right(uint64_t a, uint64_t b, unsigned n, unsigned bits)
{
    if (bits == 16) {
        uint64_t v = a << 32 | b << 16 | a;
        return (uint16_t)(v >> n);
    }
    uint128 v = (uint128)b << bits | a;
    return (uint64_t)(v >> n);
}

#define DEFINE_DOUBLE(NAME, BITS, CC)                                                                        \
    DEFINE_DOUBLE_COUNT(NAME, BITS, CC, i, (unsigned)u->imm)                                                 \
    DEFINE_DOUBLE_COUNT(NAME, BITS, CC, c, R8(c, VMC_GPR(VMC_RCX)))
#define DEFINE_DOUBLE_COUNT(NAME, BITS, CC, FROM, COUNT)                                                     \
    OP(NAME##_r##FROM##_##BITS)                                                                              \
    {                                                                                                        \
        unsigned n = COUNT & COUNT_MASK(BITS);                                                               \
        T##BITS a = GET##BITS(c, u->rm), b = GET##BITS(c, u->reg), r = a;                                    \
        if (n) {                                                                                             \
            r = (T##BITS)NAME(a, b, n, BITS);                                                                \
            SET_CC(CC, BITS, r, NAME(a, b, n - 1, BITS));                                                    \
        }                                                                                                    \
        PUT##BITS(c, u->rm, r);                                                                              \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(NAME##_m##FROM##_##BITS)                                                                              \
    {                                                                                                        \
        uint64_t va = vmc_ea(c, u);                                                                          \
        unsigned n = COUNT & COUNT_MASK(BITS);                                                               \
        T##BITS a, b = GET##BITS(c, u->reg), r;                                                              \
        RMW(BITS, va, r = n ? (T##BITS)NAME(a, b, n, BITS) : a);                                             \
        if (n)                                                                                               \
            SET_CC(CC, BITS, r, NAME(a, b, n - 1, BITS));                                                    \
        VMC_NEXT(c, u);                                                                                      \
    }
#define ALL_DOUBLES(BITS) DEFINE_DOUBLE(double_left, BITS, CC_SHL) DEFINE_DOUBLE(double_right, BITS, CC_SAR)
FOR_WIDE(ALL_DOUBLES)

#define BY_WIDTH(name)                                                                                       \
    {                                                                                                        \
        op_##name##_8, op_##name##_16, op_##name##_32, op_##name##_64                                        \
    }
/* [operation][memory][count in CL] */
#define SHIFT_FORMS(NAME)                                                                                    \
    {                                                                                                        \
        {BY_WIDTH(NAME##_ri), BY_WIDTH(NAME##_rc)},                                                          \
        {                                                                                                    \
            BY_WIDTH(NAME##_mi), BY_WIDTH(NAME##_mc)                                                         \
        }                                                                                                    \
    }
enum { ROL, ROR, RCL, RCR, SHL, SHR, SAL, SAR };
static const vmc_op shift_table[8][2][2][4] = {
    [ROL] = SHIFT_FORMS(ROL), [ROR] = SHIFT_FORMS(ROR), [SHL] = SHIFT_FORMS(SHL),
    [SHR] = SHIFT_FORMS(SHR), [SAL] = SHIFT_FORMS(SHL), [SAR] = SHIFT_FORMS(SAR),
};
static const vmc_op rc_table[2][4] = {BY_WIDTH(rc_r), BY_WIDTH(rc_m)};
#define BY_WIDE(name)                                                                                        \
    {                                                                                                        \
        op_##name##_16, op_##name##_32, op_##name##_64                                                       \
    }
static const vmc_op double_table[2][2][2][3] = {
    {{BY_WIDE(double_left_ri), BY_WIDE(double_left_rc)}, {BY_WIDE(double_left_mi), BY_WIDE(double_left_mc)}},
    {{BY_WIDE(double_right_ri), BY_WIDE(double_right_rc)},
     {BY_WIDE(double_right_mi), BY_WIDE(double_right_mc)}},
};

enum vmc_bound vmc_bind_shift(const struct vmc_insn *d, struct vmc_uop *u)
{
    unsigned op = d->opcode, ext = d->modrm >> 3 & 7;
    if (d->map == VMC_MAP_0F && (op == 0xa4 || op == 0xa5 || op == 0xac || op == 0xad)) {
        u->fn = double_table[op >= 0xac][d->is_mem][op & 1][vmc_width_index(d, false) - 1];
        return VMC_BIND_OK;
    }
    if (d->map != VMC_MAP_1 || !(op == 0xc0 || op == 0xc1 || (op >= 0xd0 && op <= 0xd3)))
        return VMC_BIND_NO;
    bool byte = !(op & 1), by_cl = op >= 0xd2;
    if (op == 0xd0 || op == 0xd1)
        u->imm = 1;
    if (byte)
        u->rm = vmc_gpr8(d, d->rm);
    if (ext == RCL || ext == RCR) {
        u->x = (uint16_t)((ext == RCR) | by_cl << 1);
        u->fn = rc_table[d->is_mem][vmc_width_index(d, byte)];
    } else {
        u->fn = shift_table[ext][d->is_mem][by_cl][vmc_width_index(d, byte)];
    }
    return VMC_BIND_OK;
}
