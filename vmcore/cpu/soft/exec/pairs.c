/*
 * Pair handlers (pairs.h). Dispatch is about half of what a register instruction costs; every ordered pair of
 * eleven kinds has a handler that does the work of both uops and goes on with the third. None of the kinds
 * can fault or looks at flags.
 */
#include "cpu/soft/exec/pairs.h"

#include "cpu/soft/exec/operand.h"

#define ROTATE_RIGHT(v, n) ((v) >> (n) | (v) << (-(n)&31))

/* What each kind does with uop p. */
#define DO_mov32(p) R64(c, (p)->reg) = R32(c, (p)->rm)
#define DO_mov64(p) R64(c, (p)->reg) = R64(c, (p)->rm)
#define DO_add32(p) R64(c, (p)->reg) = (uint32_t)(R32(c, (p)->reg) + R32(c, (p)->rm))
#define DO_add64(p) R64(c, (p)->reg) += R64(c, (p)->rm)
#define DO_and32(p) R64(c, (p)->reg) = R32(c, (p)->reg) & R32(c, (p)->rm)
#define DO_or32(p)  R64(c, (p)->reg) = R32(c, (p)->reg) | R32(c, (p)->rm)
#define DO_xor32(p) R64(c, (p)->reg) = R32(c, (p)->reg) ^ R32(c, (p)->rm)
#define DO_xor64(p) R64(c, (p)->reg) ^= R64(c, (p)->rm)
#define DO_ror32(p) R64(c, (p)->rm) = ROTATE_RIGHT(R32(c, (p)->rm), (unsigned)(p)->imm & 31)
#define DO_rol32(p) R64(c, (p)->rm) = ROTATE_RIGHT(R32(c, (p)->rm), -(unsigned)(p)->imm & 31)
#define DO_shr32(p) R64(c, (p)->rm) = R32(c, (p)->rm) >> ((unsigned)(p)->imm & 31)

/* clang-format off */
#define FOR_KINDS(M, ...)                                                                                    \
    M(mov32, __VA_ARGS__) M(mov64, __VA_ARGS__) M(add32, __VA_ARGS__) M(add64, __VA_ARGS__)                  \
    M(and32, __VA_ARGS__) M(or32, __VA_ARGS__) M(xor32, __VA_ARGS__) M(xor64, __VA_ARGS__)                   \
    M(ror32, __VA_ARGS__) M(rol32, __VA_ARGS__) M(shr32, __VA_ARGS__)
/* clang-format on */

#define KIND(name, _) KIND_##name,
enum kind { FOR_KINDS(KIND, _) N_KINDS, NO_KIND };

#define DEFINE_PAIR(second, first)                                                                           \
    static void op_##first##_##second(VmcCpu *c, const struct vmc_uop *u)                                    \
    {                                                                                                        \
        DO_##first(u);                                                                                       \
        DO_##second(u + 1);                                                                                  \
        u++;                                                                                                 \
        VMC_NEXT(c, u);                                                                                      \
    }
#define ENTRY(second, first) [KIND_##second] = op_##first##_##second,
/* The list once more, as a macro cannot expand itself. */
#define FOR_FIRST(M)                                                                                         \
    M(mov32) M(mov64) M(add32) M(add64) M(and32) M(or32) M(xor32) M(xor64) M(ror32) M(rol32) M(shr32)
#define DEFINE_PAIRS(first) FOR_KINDS(DEFINE_PAIR, first)
#define ROW(first)          [KIND_##first] = {FOR_KINDS(ENTRY, first)},
FOR_FIRST(DEFINE_PAIRS)
static const vmc_op pairs[N_KINDS][N_KINDS] = {FOR_FIRST(ROW)};

static enum kind shift_kind(const struct vmc_insn *d)
{
    switch (d->modrm >> 3 & 7) {
    case 0:
        return KIND_rol32;
    case 1:
        return KIND_ror32;
    case 5:
        return KIND_shr32;
    }
    return NO_KIND;
}

/* The kind of an instruction known to be silent. */
static enum kind kind_of(const struct vmc_insn *d)
{
    bool wide = d->opsize == 8;
    if (d->map != VMC_MAP_1 || !d->has_modrm || d->is_mem || d->opsize < 4)
        return NO_KIND;
    switch (d->opcode) {
    case 0x89:
    case 0x8b:
        return wide ? KIND_mov64 : KIND_mov32;
    case 0x01:
    case 0x03:
        return wide ? KIND_add64 : KIND_add32;
    case 0x21:
    case 0x23:
        return wide ? NO_KIND : KIND_and32;
    case 0x09:
    case 0x0b:
        return wide ? NO_KIND : KIND_or32;
    case 0x31:
    case 0x33:
        return d->reg == d->rm ? NO_KIND : wide ? KIND_xor64 : KIND_xor32;
    case 0xc1:
    case 0xd1:
        return wide ? NO_KIND : shift_kind(d);
    }
    return NO_KIND;
}

void vmc_pair_up(const struct vmc_insn *list, const uint8_t *uop_of, const bool *silent, unsigned n,
                 struct vmc_block *b)
{
    for (unsigned i = 0; i + 1 < n; i++) {
        if (!silent[i] || !silent[i + 1] || uop_of[i + 1] != uop_of[i] + 1)
            continue;
        enum kind first = kind_of(&list[i]), second = kind_of(&list[i + 1]);
        if (first == NO_KIND || second == NO_KIND)
            continue;
        b->uops[uop_of[i]].fn = pairs[first][second];
        i++;
    }
}
