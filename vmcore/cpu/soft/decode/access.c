/*
 * How many bytes an instruction's memory operand has, and whether it is written.
 *
 * Needed where an address is checked before the instruction runs: segment limits and rights of 16- and 32-bit
 * code. One byte per opcode names a kind of operand; kinds that depend on prefixes or on ModRM.reg are worked
 * out below.
 *
 * Source: Intel SDM vol. 2, appendix A and the instruction pages.
 */
#include "cpu/soft/decode/insn.h"

#include <stddef.h>

enum kind {
    NO, /* no access: LEA, NOP, prefetches; or no such instruction */
    B,
    W,
    D,
    Q,
    X,  /* 1, 2, 4, 8, 16 bytes */
    V,  /* operand size */
    Y,  /* 4, or 8 with REX.W */
    P,  /* far pointer: operand size and 2 */
    A,  /* BOUND: two of operand size */
    MX, /* 8 (MMX), or 16 with 66 */
    ML, /* 4 (MMX), or 16 with 66 */
    PS, /* 16; F3 4, F2 8: packed and scalar */
    GR, /* by ModRM.reg: group_access */
    SP, /* by prefix in its own way: prefix_access, vex_prefix_access */
    XM, /* 16, whatever the vector's length */
    X2, /* a half, quarter, eighth of the vector */
    X4,
    X8,
    WS,        /* an element: 4, or 8 with W, whatever the mode */
    WR = 0x80, /* written, perhaps read before */
};
#define w WR |

/* clang-format off */
static const uint8_t map_1[256] = {
    /*        0    1    2  3  4   5   6   7   8    9    a  b  c    d   e    f */
    /* 00 */ w B, w V, B, V, NO, NO, NO, NO, w B, w V, B, V, NO,  NO, NO,  NO,
    /* 10 */ w B, w V, B, V, NO, NO, NO, NO, w B, w V, B, V, NO,  NO, NO,  NO,
    /* 20 */ w B, w V, B, V, NO, NO, NO, NO, w B, w V, B, V, NO,  NO, NO,  NO,
    /* 30 */ w B, w V, B, V, NO, NO, NO, NO, B,   V,   B, V, NO,  NO, NO,  NO,
    [0x62] = A, [0x63] = GR, [0x69] = V, [0x6b] = V,
    [0x80] = GR, GR, GR, GR, B, V, w B, w V, w B, w V, B, V, w W, NO, W, w V,
    [0xa0] = B, V, w B, w V,
    [0xc0] = w B, w V, [0xc4] = P, P, w B, w V,
    [0xd0] = w B, w V, w B, w V, [0xd8] = GR, GR, GR, GR, GR, GR, GR, GR,
    [0xf6] = GR, GR, [0xfe] = w B, GR,
};

static const uint8_t map_0f[256] = {
    [0x00] = GR, GR, W, W,
    [0x10] = PS, w PS, SP, w Q, X, X, SP, w Q,
    [0x28] = X, w X, SP, w X, SP, SP, SP, SP,
    [0x40] = V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    [0x51] = PS, PS, PS, X, X, X, X, PS, PS, SP, X, PS, PS, PS, PS,
    [0x60] = ML, ML, ML, MX, MX, MX, MX, MX, MX, MX, MX, MX, X, X, Y, SP,
    [0x70] = SP, [0x74] = MX, MX, MX, [0x7c] = X, X, SP, SP,
    [0x90] = w B, w B, w B, w B, w B, w B, w B, w B, w B, w B, w B, w B, w B, w B, w B, w B,
    [0xa3] = V, w V, w V, [0xab] = w V, w V, w V, GR, V,
    [0xb0] = w B, w V, P, w V, P, P, B, W, V, NO, GR, w V, V, V, B, W,
    [0xc0] = w B, w V, PS, w Y, W, NO, X, GR,
    [0xd0] = X, MX, MX, MX, MX, MX, w Q, NO, MX, MX, MX, MX, MX, MX, MX, MX,
    [0xe0] = MX, MX, MX, MX, MX, MX, SP, w MX, MX, MX, MX, MX, MX, MX, MX, MX,
    [0xf0] = X, MX, MX, MX, MX, MX, MX, NO, MX, MX, MX, MX, MX, MX, MX, NO,
};

static const uint8_t map_0f38[256] = {
    [0x00] = MX, MX, MX, MX, MX, MX, MX, MX, MX, MX, MX, MX,
    [0x10] = X, [0x14] = X, X, [0x17] = X, [0x1c] = MX, MX, MX,
    [0x20] = Q, D, W, Q, D, Q, [0x28] = X, X, X, X,
    [0x30] = Q, D, W, Q, D, Q, [0x37] = X, X, X, X, X, X, X, X, X, X, X,
    [0xc8] = X, X, X, X, X, X, [0xdb] = X, X, X, X, X,
    [0xf0] = SP, SP, [0xf6] = Y,
};

static const uint8_t map_0f3a[256] = {
    [0x08] = X, X, D, Q, X, X, X, MX,
    [0x14] = w B, w W, w Y, w D,
    [0x20] = B, D, Y, [0x40] = X, X, X, [0x44] = X, [0x60] = X, X, X, X, [0xcc] = X, [0xdf] = X,
};

/* ---- VEX: X, MX and ML are as long as the vector here ---- */

static const uint8_t vex_0f[256] = {
    [0x10] = PS, w PS, SP, w Q, X, X, SP, w Q,
    [0x28] = X, w X, Y, w X, PS, PS, SP, SP,
    [0x51] = PS, PS, PS, X, X, X, X, PS, PS, SP, X, PS, PS, PS, PS,
    [0x60] = X, X, X, X, X, X, X, X, X, X, X, X, X, X, Y, X,
    [0x70] = X, [0x74] = X, X, X, [0x7c] = X, X, SP, w X,
    [0xae] = SP, [0xc2] = PS, [0xc4] = W, [0xc6] = X,
    [0xd0] = X, XM, XM, XM, X, X, w Q, NO, X, X, X, X, X, X, X, X,
    [0xe0] = X, XM, XM, X, X, X, SP, w X, X, X, X, X, X, X, X, X,
    [0xf0] = X, XM, XM, XM, X, X, X, NO, X, X, X, X, X, X, X, NO,
};

#define FMA_ROW X, X, X, WS, X, WS, X, WS, X, WS
static const uint8_t vex_0f38[256] = {
    [0x00] = X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
    [0x13] = X2, [0x16] = X, X, D, Q, XM, [0x1c] = X, X, X,
    [0x20] = X2, X4, X8, X2, X4, X2, [0x28] = X, X, X, X, D, Q, w D, w Q,
    [0x30] = X2, X4, X8, X2, X4, X2, X, X, X, X, X, X, X, X, X, X,
    [0x40] = X, X, [0x45] = X, X, X, [0x58] = D, Q, XM, [0x78] = B, W,
    [0x8c] = WS, [0x8e] = w WS,
    [0x90] = WS, WS, WS, WS, [0x96] = FMA_ROW, [0xa6] = FMA_ROW, [0xb6] = FMA_ROW,
    [0xdb] = X, X, X, X, X, [0xf2] = Y, Y, [0xf5] = Y, Y, Y,
};

static const uint8_t vex_0f3a[256] = {
    [0x00] = X, X, X, [0x04] = X, X, X,
    [0x08] = X, X, D, Q, X, X, X, X,
    [0x14] = w B, w W, w Y, w D, XM, w XM, [0x1d] = w X2,
    [0x20] = B, D, Y, [0x38] = XM, w XM,
    [0x40] = X, X, X, [0x44] = X, [0x46] = X, [0x4a] = X, X, X,
    [0x60] = X, X, X, X, [0xdf] = X, [0xf0] = Y,
};
/* clang-format on */

static unsigned ext(const struct vmc_insn *d)
{
    return d->modrm >> 3 & 7;
}

/* x87: D8 to DF by ModRM.reg, sizes in bytes; environments are 14 bytes with 16-bit operands, 28 otherwise,
 * FSAVE's 94 and 108. */
static unsigned x87_access(const struct vmc_insn *d, bool *write)
{
    static const uint8_t sizes[8][8] = {
        {4, 4, 4, 4, 4, 4, 4, 4},   {4, 0, 4, 4, 28, 2, 28, 2}, {4, 4, 4, 4, 4, 4, 4, 4},
        {4, 4, 4, 4, 0, 10, 0, 10}, {8, 8, 8, 8, 8, 8, 8, 8},   {8, 8, 8, 8, 108, 0, 108, 2},
        {2, 2, 2, 2, 2, 2, 2, 2},   {2, 2, 2, 2, 10, 8, 10, 8},
    };
    /* Bit n: /n stores. */
    static const uint8_t stores[8] = {0, 0xcc, 0, 0x8e, 0, 0xce, 0, 0xce};
    unsigned op = d->opcode & 7, size = sizes[op][ext(d)];

    *write = stores[op] >> ext(d) & 1;
    if (d->opsize == 2 && size >= 28)
        size -= 14;
    return size;
}

static unsigned group_0f_access(const struct vmc_insn *d, bool *write)
{
    static const uint8_t descriptor_tables[8] = {6, 6, 6, 6, 2, 0, 2, 0};

    switch (d->opcode) {
    case 0x00: /* SLDT STR LLDT LTR VERR VERW */
        *write = ext(d) < 2;
        return ext(d) < 6 ? 2 : 0;
    case 0x01: /* SGDT SIDT LGDT LIDT SMSW LMSW INVLPG */
        *write = ext(d) < 2 || ext(d) == 4;
        return descriptor_tables[ext(d)] + (d->mode == VMC_MODE_64 && ext(d) < 4 ? 4u : 0u);
    case 0xae: /* FXSAVE FXRSTOR LDMXCSR STMXCSR XSAVE XRSTOR XSAVEOPT CLFLUSH */
        *write = ext(d) == 0 || ext(d) == 3;
        return ext(d) < 2 ? 512 : ext(d) < 4 ? 4 : ext(d) == 7 ? 1 : 0;
    case 0xba: /* BT BTS BTR BTC */
        *write = ext(d) > 4;
        return ext(d) >= 4 ? d->opsize : 0;
    default: /* C7: CMPXCHG8B CMPXCHG16B */
        *write = true;
        return ext(d) != 1 ? 0 : d->rex & 8 ? 16 : 8;
    }
}

static unsigned group_access(const struct vmc_insn *d, bool *write)
{
    unsigned size = d->opcode & 1 ? d->opsize : 1;

    *write = true;
    if (d->map == VMC_MAP_0F)
        return group_0f_access(d, write);
    switch (d->opcode) {
    case 0x63: /* MOVSXD, or ARPL */
        *write = d->mode != VMC_MODE_64;
        return *write ? 2 : 4; /* four even for a 16-bit destination, as AMD has it */
    case 0x80:
    case 0x81:
    case 0x82:
    case 0x83: /* CMP */
        *write = ext(d) != 7;
        return size;
    case 0xf6:
    case 0xf7: /* TEST, NOT, NEG, then those with an implicit destination */
        *write = ext(d) == 2 || ext(d) == 3;
        return size;
    case 0xff: /* INC DEC CALL CALLF JMP JMPF PUSH */
        *write = ext(d) < 2;
        if (ext(d) == 3 || ext(d) == 5)
            return size + 2;
        if (ext(d) == 2 || ext(d) == 4)
            return d->mode == VMC_MODE_64 ? 8 : size;
        return ext(d) == 7 ? 0 : ext(d) == 6 ? vmc_insn_stack_size(d) : size;
    default:
        return x87_access(d, write);
    }
}

/* Those SSE instructions whose operand depends on the prefix in a way of their own: none, 66, F3, F2. */
static unsigned prefix_access(const struct vmc_insn *d, bool *write)
{
    static const struct {
        uint8_t opcode, none, p66, f3, f2;
    } table[] = {
        {0x12, 8, 8, 16, 8},   {0x16, 8, 8, 16, 0},  {0x2c, 8, 16, 4, 8},  {0x2d, 8, 16, 4, 8},
        {0x2e, 4, 8, 0, 0},    {0x2f, 4, 8, 0, 0},   {0x5a, 8, 16, 4, 8},  {0x6f, 8, 16, 16, 0},
        {0x70, 8, 16, 16, 16}, {0x7f, 8, 16, 16, 0}, {0xe6, 0, 16, 8, 16},
    };

    if (d->map == VMC_MAP_0F38) { /* MOVBE, or CRC32 */
        *write = d->opcode == 0xf1 && d->rep != 0xf2;
        return d->opcode == 0xf0 && d->rep == 0xf2 ? 1 : d->opsize;
    }
    *write = d->opcode == 0x7f || (d->opcode == 0x7e && d->rep != 0xf3);
    if (d->opcode == 0x7e)
        return d->rep == 0xf3 || d->rex & 8 ? 8 : 4;
    if (d->opcode == 0x2a) /* from MMX, or from a general register's worth */
        return !d->rep || d->rex & 8 ? 8 : 4;
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].opcode == d->opcode)
            return d->rep == 0xf3   ? table[i].f3
                   : d->rep == 0xf2 ? table[i].f2
                   : d->prefix66    ? table[i].p66
                                    : table[i].none;
    return 0;
}

static unsigned vex_prefix_access(const struct vmc_insn *d, bool *write)
{
    unsigned vector = d->vex_l ? 32 : 16;

    switch (d->opcode) {
    case 0x12: /* VMOVLPS, VMOVSLDUP, VMOVDDUP */
    case 0x16:
        return d->rep == 0xf3 || (d->rep == 0xf2 && d->vex_l) ? vector : 8;
    case 0x2e:
    case 0x2f:
        return d->prefix66 ? 8 : 4;
    case 0x5a: /* VCVTPS2PD, VCVTPD2PS and the scalars */
        return d->rep == 0xf3 ? 4 : d->rep == 0xf2 ? 8 : d->prefix66 ? vector : vector / 2;
    case 0x7e: /* VMOVQ, or VMOVD to memory */
        *write = d->rep != 0xf3;
        return d->rep == 0xf3 || d->rex & 8 ? 8 : 4;
    case 0xae: /* VLDMXCSR, VSTMXCSR */
        *write = ext(d) == 3;
        return 4;
    default: /* E6: VCVTDQ2PD, VCVTPD2DQ */
        return d->rep == 0xf3 ? vector / 2 : vector;
    }
}

static unsigned vex_access(const struct vmc_insn *d, bool *write)
{
    static const uint8_t *const maps[] = {NULL, vex_0f, vex_0f38, vex_0f3a};
    unsigned kind = d->vex_refused ? NO : maps[d->map][d->opcode], vector = d->vex_l ? 32 : 16;

    *write = kind & WR;
    switch (kind & ~(unsigned)WR) {
    case B:
        return 1;
    case W:
        return 2;
    case D:
        return 4;
    case Q:
        return 8;
    case X:
        return vector;
    case XM:
        return 16;
    case X2:
        return vector / 2;
    case X4:
        return vector / 4;
    case X8:
        return vector / 8;
    case Y:
        return d->rex & 8 ? 8 : 4;
    case WS:
        return d->vex_w ? 8 : 4;
    case PS:
        return d->rep == 0xf3 ? 4 : d->rep == 0xf2 ? 8 : vector;
    case SP:
        return vex_prefix_access(d, write);
    default:
        return 0;
    }
}

unsigned vmc_insn_access(const struct vmc_insn *d, bool *write)
{
    static const uint8_t *const maps[] = {map_1, map_0f, map_0f38, map_0f3a};
    unsigned kind, wide = d->rex & 8 ? 8 : 4;

    if (d->vex)
        return vex_access(d, write);
    kind = maps[d->map][d->opcode];

    *write = kind & WR;
    switch (kind & ~(unsigned)WR) {
    case B:
        return 1;
    case W:
        return 2;
    case D:
        return 4;
    case Q:
        return 8;
    case X:
        return 16;
    case V:
        return d->map == VMC_MAP_1 && d->opcode == 0x8f ? vmc_insn_stack_size(d) : d->opsize;
    case Y:
        return wide;
    case P:
        return d->opsize + 2u;
    case A:
        return d->opsize * 2u;
    case MX:
        return d->prefix66 ? 16 : 8;
    case ML:
        return d->prefix66 ? 16 : 4;
    case PS:
        return d->rep == 0xf3 ? 4 : d->rep == 0xf2 ? 8 : 16;
    case GR:
        return group_access(d, write);
    case SP:
        return prefix_access(d, write);
    default:
        return 0;
    }
}
