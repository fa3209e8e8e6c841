/*
 * Registers to start from, drawn from values at which instructions behave differently: ends of ranges, powers
 * of two, pointers into the data pages, and for the floating-point registers every kind of number there is.
 */
#include "diff.h"

#include <string.h>

static uint64_t random_value(struct generator *g)
{
    static const uint64_t values[] = {
        0,
        1,
        2,
        3,
        7,
        8,
        15,
        16,
        31,
        32,
        33,
        63,
        64,
        65,
        0x7f,
        0x80,
        0xff,
        0x100,
        0x7fff,
        0x8000,
        0xffff,
        0x10000,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        0x100000000,
        0x7fffffffffffffff,
        0x8000000000000000,
        0x8000000000000001,
        0xfffffffffffffffe,
        0xffffffffffffffff,
        0xffffffffffffff80,
        0xffffffffffff8000,
        0xffffffff80000000,
        0x0123456789abcdef,
        0x5555555555555555,
        0xaaaaaaaaaaaaaaaa,
    };
    uint64_t r = RND(g);

    switch (r % 8) {
    case 0:
    case 1:
    case 2:
        return PICK(g, values);
    case 3:
        return RND(g) >> (r >> 8) % 64;
    case 4:
        return DATA_BASE + ((r >> 8) % (2 * PAGE));
    case 5:
        return (RND(g) & 0xff) - 64;
    default:
        return RND(g);
    }
}

/* An 80-bit number of a random kind. */
static void random_st(struct generator *g, uint8_t *st)
{
    static const uint16_t exponents[] = {0,      0,      1,      0x3ffe, 0x3fff, 0x3fff, 0x4000, 0x4001,
                                         0x401e, 0x403e, 0x3bcd, 0x43ff, 0x7ffe, 0x7fff, 0x7fff, 0x3f80};
    static const uint64_t mantissas[] = {
        0, 0x8000000000000000, 0xc000000000000000, 0x8000000000000001, 0xffffffffffffffff, 0x4000000000000000,
        1, 0xa000000000000000, 0xc90fdaa22168c235};
    uint16_t exponent = CHANCE(g, 70) ? PICK(g, exponents) : (uint16_t)RND(g) & 0x7fff;
    uint64_t mantissa = CHANCE(g, 60) ? PICK(g, mantissas) : RND(g) | (CHANCE(g, 80) ? 1ull << 63 : 0);

    if (CHANCE(g, 30)) /* an integer that fits in registers */
        exponent = (uint16_t)(0x3fff + RND(g) % 70);
    if (CHANCE(g, 40))
        exponent |= 0x8000;
    memcpy(st, &mantissa, 8);
    memcpy(st + 8, &exponent, 2);
}

static void random_xmm(struct generator *g, uint8_t *xmm)
{
    static const uint64_t doubles[] = {0,
                                       0x8000000000000000,
                                       0x3ff0000000000000,
                                       0xbff0000000000000,
                                       0x4000000000000000,
                                       0x3fe0000000000000,
                                       0x7ff0000000000000,
                                       0xfff0000000000000,
                                       0x7ff8000000000000,
                                       0x7ff0000000000001,
                                       0x0000000000000001,
                                       0x000fffffffffffff,
                                       0x0010000000000000,
                                       0x7fefffffffffffff,
                                       0x43e0000000000000,
                                       0x41dfffffffc00000,
                                       0x41e0000000000000,
                                       0xc1e0000000200000,
                                       0x3ca0000000000000,
                                       0x3810000000000000};
    static const uint32_t floats[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x40000000, 0x3f000000,
                                      0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 1,          0x007fffff,
                                      0x00800000, 0x7f7fffff, 0x4f000000, 0x4effffff, 0xcf000000, 0x33800000};
    uint64_t kind = RND(g) % 4;

    for (unsigned i = 0; i < 16; i += 4) {
        uint32_t word = kind == 3 || CHANCE(g, 20) ? (uint32_t)RND(g) : PICK(g, floats);

        memcpy(xmm + i, &word, 4);
    }
    for (unsigned i = 0; kind < 2 && i < 16; i += 8) {
        uint64_t word = CHANCE(g, 15) ? RND(g) : PICK(g, doubles);

        memcpy(xmm + i, &word, 8);
    }
    if (CHANCE(g, 10)) /* small bytes: shuffle controls, strings */
        for (unsigned i = 0; i < 16; i++)
            xmm[i] = (uint8_t)(RND(g) % 20);
}

void generate_fx(struct generator *g, uint8_t fx[512])
{
    static const uint16_t fcws[] = {0x37f, 0x37f, 0x37f, 0x27f, 0x07f, 0xf7f, 0xb7f, 0x77f, 0xe7f, 0x17f};
    static const uint32_t mxcsrs[] = {0x1f80, 0x1f80, 0x1f80, 0x3f80, 0x5f80,
                                      0x7f80, 0x9f80, 0x9fc0, 0x1fc0, 0xffc0};
    uint16_t fcw = PICK(g, fcws), fsw = 0;
    uint32_t mxcsr = PICK(g, mxcsrs);

    memset(fx, 0, 512);
    if (CHANCE(g, 10))
        fcw = (uint16_t)((fcw & ~0x3f) | (RND(g) & 0x3f));
    if (CHANCE(g, 30))
        fsw |= (uint16_t)(RND(g) & 0x4700); /* condition codes */
    if (CHANCE(g, 10))
        fsw |= (uint16_t)(RND(g) & 0x7f);
    fsw |= (uint16_t)((RND(g) % 8) << 11);
    if (fsw & ~fcw & 0x3f)
        fsw |= 0x8080; /* ES and B follow from the rest */
    if (CHANCE(g, 10))
        mxcsr = (uint32_t)((mxcsr & ~0x1f80u) | (RND(g) & 0x1f80));
    if (CHANCE(g, 10))
        mxcsr |= (uint32_t)(RND(g) & 0x3f);
    memcpy(fx, &fcw, 2);
    memcpy(fx + 2, &fsw, 2);
    fx[4] = CHANCE(g, 70) ? 0xff : (uint8_t)RND(g);
    memcpy(fx + 24, &mxcsr, 4);
    for (unsigned i = 6; i < 24; i++) /* opcode and addresses of the last instruction, for who stores them */
        fx[i] = i == 7 ? RND(g) & 7 : (i >= 14 && i < 16) || i >= 22 ? 0 : (uint8_t)(RND(g) >> 8);
    for (unsigned i = 0; i < 8; i++)
        random_st(g, fx + 32 + 16 * i);
    for (unsigned i = 0; i < 16; i++)
        random_xmm(g, fx + 160 + 16 * i);
}

/* Data segments: the usual one of the mode mostly, else any of the GDT's and LDT's. */
static uint16_t random_segment(struct generator *g, const struct diff_case *c)
{
    static const uint16_t others[] = {0,          0x2b,       LDT_SEL(1), LDT_SEL(2), LDT_SEL(3),
                                      LDT_SEL(4), LDT_SEL(5), LDT_SEL(7), LDT_SEL(0)};

    if (CHANCE(g, c->mode == MODE_16 ? 60 : 85))
        return c->mode == MODE_16 ? LDT_DATA16 : 0x2b;
    return PICK(g, others);
}

static void legacy_segments(struct generator *g, struct diff_case *c)
{
    struct diff_regs *in = &c->in;

    in->fs_base = in->gs_base = 0;
    in->cs = c->mode == MODE_32 ? 0x23 : LDT_CODE16;
    in->ss = c->mode == MODE_32 ? 0x2b : LDT_STACK16;
    in->ds = random_segment(g, c);
    in->es = random_segment(g, c);
    in->fs = random_segment(g, c);
    in->gs = random_segment(g, c);
    for (unsigned i = 0; i < 16; i++)
        in->gpr[i] = i < 8 ? (uint32_t)in->gpr[i] : 0;
    if (c->mode == MODE_16) {
        in->gpr[4] -= STACK_BASE;
        if (CHANCE(g, 30))
            in->gpr[4] |= (uint32_t)RND(g) << 16;
        in->rflags &= ~0x100ull; /* it would trap on the way in */
    }
}

void generate_registers(struct generator *g, struct diff_case *c)
{
    struct diff_regs *in = &c->in;

    c->memory_seed = RND(g) % 16;
    c->seed = g->random;
    generate_fx(g, in->fx);
    for (unsigned i = 0; i < 16; i++)
        if (g->judge->host[ZYDIS_ISA_SET_AVX] && CHANCE(g, 90))
            random_xmm(g, in->ymm_high[i]);
    for (unsigned i = 0; i < 16; i++)
        in->gpr[i] = random_value(g);
    in->gpr[4] = STACK_BASE + PAGE + (CHANCE(g, 90) ? 0 : RND(g) % 64) - (RND(g) % 8) * 16;
    if (CHANCE(g, 2))
        in->gpr[4] = CHANCE(g, 50) ? STACK_BASE + RND(g) % 16 : STACK_BASE + 2 * PAGE - RND(g) % 16;
    in->rflags = 0x202 | (RND(g) & 0x8d5);
    if (CHANCE(g, 15))
        in->rflags |= 0x400; /* DF */
    if (CHANCE(g, 3))
        in->rflags |= 0x40000; /* AC */
    if (CHANCE(g, 5))
        in->rflags |= 0x200000; /* ID */
    if (CHANCE(g, 1))
        in->rflags |= 0x100; /* TF */
    in->fs_base = CHANCE(g, 80) ? DATA_BASE + 0x200 : RND(g) & 0x7fffffffffff;
    in->gs_base = CHANCE(g, 80) ? DATA_BASE + 0x1200 : RND(g) & 0x7fffffffffff;
    in->fs = in->gs = 0;
    in->cs = 0x33;
    in->ss = 0x2b;
    in->ds = in->es = 0;
    if (c->mode != MODE_64)
        legacy_segments(g, c);
    in->rip = diff_start_rip(c);
}
