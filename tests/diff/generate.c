/*
 * Makes cases of one instruction.
 *
 * Enumerated: every opcode of the four maps under every mandatory prefix, every ModRM.reg, a memory and a
 * register form; the same of the VEX maps under all that the prefix says; registers random (registers.c),
 * operands aimed (aim.c). Random: bytes with random prefixes.
 */
#include "diff.h"

#include <string.h>

/* Relative branches: mostly a little ahead, never back into an endless loop. */
void generate_branch(struct generator *g, struct diff_case *c, unsigned at, const struct judged *i)
{
    unsigned size = i->insn.raw.imm[0].size / 8u;
    int64_t value;

    if (!i->insn.raw.imm[0].is_relative || at + i->insn.raw.imm[0].offset + size > CODE_MAX)
        return;
    value = CHANCE(g, 85) ? (int64_t)(RND(g) % 16) : (int64_t)i->insn.raw.imm[0].value.s;
    if (value < 0 && value >= -(int64_t)i->insn.length)
        value = 3;
    memcpy(c->code + at + i->insn.raw.imm[0].offset, &value, size);
}

static void replace_prefix(struct diff_case *c, unsigned at, const struct judged *i, uint8_t from, uint8_t to)
{
    for (unsigned p = 0; p < i->insn.raw.prefix_count; p++)
        if (i->insn.raw.prefixes[p].value == from)
            c->native_code[at + p] = to;
}

static bool is_near_branch(const struct judged *i)
{
    return i->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT ||
           i->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR;
}

/* What the host gets where a prefix means something else to it. TZCNT and LZCNT are BSF and BSR to a CPU
 * without them; F2 is ignored by both kinds. 66 on a near branch in 64-bit mode is ignored by Intel and ours,
 * not by AMD. */
static void native_bytes(const struct judge *j, struct diff_case *c)
{
    unsigned at = 0;

    memcpy(c->native_code, c->code, sizeof(c->code));
    while (at < c->length) {
        struct judged i;

        judge_insn(j, (enum diff_mode)c->mode, c->code + at, c->length - at, &i);
        if (!i.valid)
            return;
        if (i.insn.mnemonic == ZYDIS_MNEMONIC_BSF || i.insn.mnemonic == ZYDIS_MNEMONIC_BSR)
            replace_prefix(c, at, &i, 0xf3, 0xf2);
        if (j->host_amd && c->mode == MODE_64 && is_near_branch(&i))
            replace_prefix(c, at, &i, 0x66, 0x3e);
        at += i.insn.length;
    }
}

void generate_finish(const struct judge *j, struct diff_case *c)
{
    unsigned room = diff_areas[AREA_CODE].pages * PAGE - c->offset;

    if (c->length > room) {
        c->length = room;
        c->expect_ud = false; /* the fetch faults first */
    }
    native_bytes(j, c);
}

/* Where the code starts: mostly the same, at times across the pages' edge or up to their end. */
static uint32_t random_offset(struct generator *g)
{
    if (CHANCE(g, 5))
        return PAGE - (uint32_t)(RND(g) % 12);
    if (CHANCE(g, 2))
        return 2 * PAGE - 1 - (uint32_t)(RND(g) % 10);
    return 0x100 + (uint32_t)(RND(g) % 8) * 7;
}

void generate_start(struct generator *g, enum diff_mode mode, struct diff_case *c)
{
    memset(c, 0, sizeof(*c));
    c->mode = mode;
    c->offset = random_offset(g);
    generate_registers(g, c);
}

/* Bytes are in c->code: everything else of a case of one instruction. */
static void finish_single(struct generator *g, struct diff_case *c)
{
    const char *reason;
    struct judged i;

    judge_insn(g->judge, (enum diff_mode)c->mode, c->code, 15, &i);
    c->length = i.valid ? i.insn.length : 15;
    if (i.valid) {
        generate_branch(g, c, 0, &i);
        judge_insn(g->judge, (enum diff_mode)c->mode, c->code, c->length, &i);
        if (i.insn.mnemonic == ZYDIS_MNEMONIC_SHLD || i.insn.mnemonic == ZYDIS_MNEMONIC_SHRD)
            if (i.ops[0].size == 16 && i.insn.raw.imm[0].size)
                c->code[i.insn.raw.imm[0].offset] &= (uint8_t)~0x10;
        if (i.insn.mnemonic == ZYDIS_MNEMONIC_ENTER && CHANCE(g, 60)) { /* a frame that fits the stack */
            c->code[i.insn.raw.imm[0].offset + 1] &= 1;
            c->code[i.insn.raw.imm[1].offset] &= 0xe3;
        }
        generate_aim(g, c, &i);
    }
    judge_case(g->judge, c, &reason);
    generate_finish(g->judge, c);
}

static void noise(struct generator *g, struct diff_case *c)
{
    for (unsigned i = 0; i < 16; i++)
        c->code[i] = (uint8_t)(RND(g) >> 20);
}

/* opcode 256 x map 4 x prefix 8 x ModRM.reg 8 x {memory, register}; all register forms of some groups; VEX
 * opcode 256 x map 3 x pp 4 x W x L x ModRM.reg 8 x {memory, register} */
#define ENUM_MAIN (256ul * 4 * 8 * 8 * 2)
#define ENUM_X87  (8ul * 256)
#define ENUM_REST (2ul * 256 * 4)
#define ENUM_VEX  (256ul * 3 * 4 * 2 * 2 * 8 * 2)

unsigned long generate_enumerated_count(void)
{
    return ENUM_MAIN + ENUM_X87 + ENUM_REST + ENUM_VEX;
}

static const uint8_t escape_bytes[4][2] = {{0, 0}, {0x0f, 0}, {0x0f, 0x38}, {0x0f, 0x3a}};

static bool is_prefix_or_escape(enum diff_mode mode, unsigned map, unsigned opcode)
{
    if (map == 1)
        return opcode == 0x38 || opcode == 0x3a;
    if (map != 0)
        return false;
    if (mode == MODE_64 && (opcode & 0xf0) == 0x40)
        return true;
    return opcode == 0x0f || opcode == 0x26 || opcode == 0x2e || opcode == 0x36 || opcode == 0x3e ||
           opcode == 0x64 || opcode == 0x65 || opcode == 0x66 || opcode == 0x67 || opcode == 0xf0 ||
           opcode == 0xf2 || opcode == 0xf3;
}

static void enumerated_main(struct generator *g, enum diff_mode mode, unsigned long n, struct diff_case *c)
{
    static const uint8_t mandatory[4] = {0, 0x66, 0xf2, 0xf3};
    unsigned memory = n & 1, reg = n >> 1 & 7, prefix = n >> 4 & 3, wide = n >> 6 & 1, map = n >> 7 & 3,
             opcode = n >> 9 & 255, at = 0;

    if (is_prefix_or_escape(mode, map, opcode) || (wide && mode != MODE_64)) {
        c->length = 0;
        return;
    }
    if (mandatory[prefix])
        c->code[at++] = mandatory[prefix];
    if (wide)
        c->code[at++] = 0x48 | (uint8_t)(CHANCE(g, 50) ? RND(g) & 7 : 0);
    else if (mode == MODE_64 && CHANCE(g, 30))
        c->code[at++] = 0x40 | (uint8_t)(RND(g) & 7);
    for (unsigned e = 0; e < 2 && escape_bytes[map][e]; e++)
        c->code[at++] = escape_bytes[map][e];
    c->code[at++] = (uint8_t)opcode;
    c->code[at] = (uint8_t)(reg << 3 | (RND(g) & 7) | (memory ? (RND(g) % 3) << 6 : 0xc0));
    c->length = 1;
}

/* A VEX prefix at code[0], of two bytes where that will do at times; returns its length. Outside 64-bit mode
 * R and X have to be zero, or it is LES or LDS. vvvv is unused half of the time, as most instructions want it
 * one way or the other. */
static unsigned vex_prefix(struct generator *g, enum diff_mode mode, unsigned map, unsigned w, unsigned l,
                           unsigned pp, uint8_t *code)
{
    uint64_t r = RND(g);
    uint8_t rxb = (uint8_t)((mode == MODE_64 ? r & 0xe0 : 0xc0) | (CHANCE(g, 50) ? 0xe0 : 0));
    uint8_t rest = (uint8_t)((CHANCE(g, 50) ? 0x78 : r >> 8 & 0x78) | l << 2 | pp);

    if (map == 1 && !w && CHANCE(g, 50)) {
        code[0] = 0xc5;
        code[1] = (rxb & 0x80) | (mode == MODE_64 ? rest : rest | 0x40);
        return 2;
    }
    code[0] = 0xc4;
    code[1] = rxb | (uint8_t)map;
    code[2] = (uint8_t)(w << 7) | rest;
    return 3;
}

static void enumerated_vex(struct generator *g, enum diff_mode mode, unsigned long n, struct diff_case *c)
{
    unsigned memory = n & 1, reg = n >> 1 & 7, pp = n >> 4 & 3, l = n >> 6 & 1, w = n >> 7 & 1,
             opcode = n >> 8 & 255, map = 1 + (unsigned)(n >> 16), at;

    at = vex_prefix(g, mode, map, w, l, pp, c->code);
    c->code[at++] = (uint8_t)opcode;
    c->code[at] = (uint8_t)(reg << 3 | (RND(g) & 7) | (memory ? (RND(g) % 3) << 6 : 0xc0));
}

bool generate_enumerated(struct generator *g, enum diff_mode mode, unsigned long n, struct diff_case *c)
{
    if (n >= generate_enumerated_count())
        return false;
    generate_start(g, mode, c);
    noise(g, c);
    if (n < ENUM_MAIN) {
        enumerated_main(g, mode, n, c);
        if (!c->length)
            return true;
    } else if (n < ENUM_MAIN + ENUM_X87) {
        n -= ENUM_MAIN;
        c->code[0] = 0xd8 | (uint8_t)(n >> 8);
        c->code[1] = (uint8_t)n;
    } else if (n >= ENUM_MAIN + ENUM_X87 + ENUM_REST) {
        enumerated_vex(g, mode, n - (ENUM_MAIN + ENUM_X87 + ENUM_REST), c);
    } else {
        static const uint8_t prefixes[4] = {0x3e, 0x66, 0xf2, 0xf3};

        n -= ENUM_MAIN + ENUM_X87;
        c->code[0] = prefixes[n >> 9];
        c->code[1] = 0x0f;
        c->code[2] = n >> 8 & 1 ? 0xae : 0x01;
        c->code[3] = (uint8_t)n;
    }
    finish_single(g, c);
    return true;
}

/* Random prefixes, opcode and ModRM into c->code from `at`; returns where the opcode's operands begin. */
unsigned generate_bytes(struct generator *g, enum diff_mode mode, uint8_t *code)
{
    static const uint8_t prefixes[] = {0x66, 0x66, 0x67, 0xf2, 0xf3, 0xf0,
                                       0x64, 0x65, 0x2e, 0x36, 0x3e, 0x26};
    unsigned at = 0, n = CHANCE(g, 55) ? 0 : (unsigned)(RND(g) % 3) + CHANCE(g, 10), map;

    for (unsigned i = 0; i < 16; i++)
        code[i] = (uint8_t)(RND(g) >> 20);
    while (n--)
        code[at++] = PICK(g, prefixes);
    if (mode == MODE_64 && CHANCE(g, 55))
        code[at++] = 0x40 | (uint8_t)(RND(g) & 15);
    map = CHANCE(g, 45) ? 0 : CHANCE(g, 75) ? 1 : CHANCE(g, 60) ? 2 : 3;
    for (unsigned e = 0; e < 2 && escape_bytes[map][e]; e++)
        code[at++] = escape_bytes[map][e];
    at++; /* the opcode is random already */
    return at;
}

/* The same for VEX; mostly opcodes where something is. */
unsigned generate_vex_bytes(struct generator *g, enum diff_mode mode, uint8_t *code)
{
    unsigned map = 1 + (unsigned)(RND(g) % 3), at = 0;

    for (unsigned i = 0; i < 16; i++)
        code[i] = (uint8_t)(RND(g) >> 20);
    if (CHANCE(g, 5))
        code[at++] = CHANCE(g, 50) ? 0x64 : 0x67;
    else if (CHANCE(g, 1))
        code[at++] = 0x66; /* which no VEX suffers before it */
    at += vex_prefix(g, mode, map, (unsigned)(RND(g) & 1), (unsigned)(RND(g) & 1),
                     CHANCE(g, 60) ? 1 : (unsigned)(RND(g) & 3), code + at);
    if (map == 3)
        code[at] &= 0x7f;
    return at + 1;
}

void generate_random(struct generator *g, enum diff_mode mode, struct diff_case *c)
{
    generate_start(g, mode, c);
    noise(g, c);
    if (CHANCE(g, 25))
        generate_vex_bytes(g, mode, c->code);
    else
        generate_bytes(g, mode, c->code);
    finish_single(g, c);
}
