/*
 * Handlers without flags, and the backward pass that finds where they may stand (flagless.h).
 *
 * The pass keeps one bit, `dead`: all flags will be overwritten before anyone looks. Only instructions that
 * cannot fault let it pass, so that whatever an exception handler of the guest sees is exact.
 */
#include "cpu/soft/exec/flagless.h"

#include "cpu/soft/exec/operand.h"
#include "cpu/soft/exec/pairs.h"

#define OP(name) static void op_##name(VmcCpu *c, const struct vmc_uop *u)

#define DEFINE_ARITH(NAME, OPERATOR, BITS)                                                                   \
    OP(NAME##_rr_##BITS)                                                                                     \
    {                                                                                                        \
        PUT##BITS(c, u->reg, GET##BITS(c, u->reg) OPERATOR GET##BITS(c, u->rm));                             \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(NAME##_ri_##BITS)                                                                                     \
    {                                                                                                        \
        PUT##BITS(c, u->reg, GET##BITS(c, u->reg) OPERATOR(T##BITS) u->imm);                                 \
        VMC_NEXT(c, u);                                                                                      \
    }
#define DEFINE_SHIFT(NAME, EXPR, BITS)                                                                       \
    OP(NAME##_i_##BITS)                                                                                      \
    {                                                                                                        \
        T##BITS a = GET##BITS(c, u->rm);                                                                     \
        unsigned n = (unsigned)u->imm & (BITS - 1);                                                          \
        PUT##BITS(c, u->rm, EXPR);                                                                           \
        VMC_NEXT(c, u);                                                                                      \
    }
#define DEFINE_ALL(BITS)                                                                                     \
    DEFINE_ARITH(add, +, BITS)                                                                               \
    DEFINE_ARITH(or, |, BITS)                                                                                \
    DEFINE_ARITH(and, &, BITS)                                                                               \
    DEFINE_ARITH(sub, -, BITS)                                                                               \
    DEFINE_ARITH(xor, ^, BITS) DEFINE_SHIFT(shl, a << n, BITS) DEFINE_SHIFT(shr, a >> n, BITS)               \
        DEFINE_SHIFT(sar, (S##BITS)a >> n, BITS) DEFINE_SHIFT(rol, a << n | a >> (-n & (BITS - 1)), BITS)    \
            DEFINE_SHIFT(ror, a >> n | a << (-n & (BITS - 1)), BITS) OP(inc_##BITS)                          \
    {                                                                                                        \
        PUT##BITS(c, u->rm, GET##BITS(c, u->rm) + 1);                                                        \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(dec_##BITS)                                                                                           \
    {                                                                                                        \
        PUT##BITS(c, u->rm, GET##BITS(c, u->rm) - 1);                                                        \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    OP(neg_##BITS)                                                                                           \
    {                                                                                                        \
        PUT##BITS(c, u->rm, 0 - GET##BITS(c, u->rm));                                                        \
        VMC_NEXT(c, u);                                                                                      \
    }
DEFINE_ALL(32)
DEFINE_ALL(64)

OP(clear)
{
    R64(c, u->reg) = 0;
    VMC_NEXT(c, u);
}

#define WIDE(name)                                                                                           \
    {                                                                                                        \
        op_##name##_32, op_##name##_64                                                                       \
    }
#define ARITH(name)                                                                                          \
    {                                                                                                        \
        WIDE(name##_rr), WIDE(name##_ri)                                                                     \
    }
/* By bits 5:3 of the opcode or of ModRM: [operation][immediate][64-bit] */
static const vmc_op arithmetic[8][2][2] = {
    [0] = ARITH(add), [1] = ARITH(or), [4] = ARITH(and), [5] = ARITH(sub), [6] = ARITH(xor),
};
static const vmc_op shifts[8][2] = {
    [0] = WIDE(rol_i), [1] = WIDE(ror_i), [4] = WIDE(shl_i),
    [5] = WIDE(shr_i), [6] = WIDE(shl_i), [7] = WIDE(sar_i),
};
static const vmc_op unary[3][2] = {WIDE(inc), WIDE(dec), WIDE(neg)};

/* What an instruction means for the pass. */
enum effect {
    LOOKS,       /* reads flags, may fault, or is not known: everything before it must be exact */
    PASSES,      /* leaves all flags alone and cannot fault */
    WRITES,      /* writes all six, reads none, cannot fault */
    WRITES_SOME, /* writes some, reads none that matter if all are dead, cannot fault */
};

struct judgement {
    enum effect effect;
    vmc_op without; /* handler that records no flags, or NULL */
};

static struct judgement judge_0f(const struct vmc_insn *d)
{
    unsigned op = d->opcode;
    if (!d->is_mem && (op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf))
        return (struct judgement){PASSES, NULL};
    if (op >= 0xc8 && op < 0xd0)
        return (struct judgement){PASSES, NULL};
    if (op == 0xaf && !d->is_mem)
        return (struct judgement){WRITES_SOME, NULL};
    return (struct judgement){LOOKS, NULL};
}

static struct judgement judge_shift(const struct vmc_insn *d, bool wide, unsigned w)
{
    unsigned op = d->opcode, kind = d->modrm >> 3 & 7;
    unsigned count = op < 0xd0 ? (unsigned)d->imm & (d->opsize == 8 && (op & 1) ? 63u : 31u) : 1;
    if (count == 0 || kind == 2 || kind == 3)
        return (struct judgement){LOOKS, NULL};
    return (struct judgement){kind < 2 ? WRITES_SOME : WRITES, wide ? shifts[kind][w] : NULL};
}

static struct judgement judge(const struct vmc_insn *d)
{
    unsigned op = d->opcode, ext = d->modrm >> 3 & 7;
    bool wide = (op & 1) && d->opsize >= 4, memory = d->has_modrm && d->is_mem;
    unsigned w = d->opsize == 8;
    if (d->map == VMC_MAP_0F && !d->vex)
        return judge_0f(d);
    if (d->map != VMC_MAP_1 || d->lock)
        return (struct judgement){LOOKS, NULL};
    if (op == 0x8d || (op >= 0xb0 && op < 0xc0) || op == 0x98 || op == 0x99)
        return (struct judgement){PASSES, NULL};
    if (memory)
        return (struct judgement){LOOKS, NULL};
    if (op == 0x63 && d->mode == VMC_MODE_64)
        return (struct judgement){PASSES, NULL};
    if ((op >= 0x88 && op <= 0x8b) || ((op == 0xc6 || op == 0xc7) && ext == 0))
        return (struct judgement){PASSES, NULL};
    if (op < 0x40 && (op & 7) < 6) {
        unsigned kind = op >> 3;
        if (kind == 2 || kind == 3)
            return (struct judgement){LOOKS, NULL}; /* ADC, SBB */
        if (wide && d->has_modrm && d->reg == d->rm && kind >= 5 && kind <= 6)
            return (struct judgement){WRITES, op_clear};
        return (struct judgement){WRITES, wide ? arithmetic[kind][(op & 7) >= 4][w] : NULL};
    }
    switch (op) {
    case 0x80:
    case 0x81:
    case 0x83:
        if (ext == 2 || ext == 3)
            return (struct judgement){LOOKS, NULL};
        return (struct judgement){WRITES, wide ? arithmetic[ext][1][w] : NULL};
    case 0x84:
    case 0x85:
    case 0xa8:
    case 0xa9:
        return (struct judgement){WRITES, NULL};
    case 0xc0:
    case 0xc1:
    case 0xd0:
    case 0xd1:
        return judge_shift(d, wide, w);
    case 0xf6:
    case 0xf7:
        if (ext < 2)
            return (struct judgement){WRITES, NULL};
        if (ext == 2)
            return (struct judgement){PASSES, NULL};
        if (ext == 3)
            return (struct judgement){WRITES, wide ? unary[2][w] : NULL};
        return (struct judgement){ext < 6 ? WRITES_SOME : LOOKS, NULL};
    case 0xff:
        if (ext < 2)
            return (struct judgement){WRITES_SOME, wide ? unary[ext][w] : NULL};
    }
    return (struct judgement){LOOKS, NULL};
}

void vmc_drop_dead_flags(const struct vmc_insn *list, const uint8_t *uop_of, unsigned n, struct vmc_block *b)
{
    bool dead = false, silent[VMC_BLOCK_INSNS];
    for (unsigned i = n; i-- > 0;) {
        /* A fused compare shares its uop with the jump, which comes after it and reads what it computed
         * itself. */
        bool fused = i + 1 < n && uop_of[i] == uop_of[i + 1];
        struct judgement j = judge(&list[i]);
        silent[i] = false;
        if (fused) {
            dead = true;
            continue;
        }
        if (dead && j.without && (j.effect == WRITES || j.effect == WRITES_SOME)) {
            b->uops[uop_of[i]].fn = j.without;
            silent[i] = true;
        }
        silent[i] |= j.effect == PASSES;
        if (j.effect == LOOKS)
            dead = false;
        else if (j.effect == WRITES)
            dead = true;
    }
    vmc_pair_up(list, uop_of, silent, n, b);
}
