/*
 * Makes cases: bytes of code, and registers under which they do something worth comparing.
 *
 * Enumerated: every opcode of the four maps under every mandatory prefix, every ModRM.reg, a memory and a
 * register form; registers random. Random: bytes with random prefixes. Sequences (sequence.c) are built from these.
 *
 * Registers are random too, but drawn from values at which instructions behave differently; then the base registers
 * of memory operands are set so that most addresses fall into the data pages, some across their edges, some on
 * the read-only page and some nowhere.
 */
#include "diff.h"

#include <string.h>

#define RND(g)          diff_random(&(g)->random)
#define CHANCE(g, perc) (RND(g) % 100 < (perc))
#define PICK(g, array)  ((array)[RND(g) % (sizeof(array) / sizeof((array)[0]))])

/* ---- registers ---- */

static uint64_t random_value(struct generator *g)
{
    static const uint64_t values[] = {
        0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000,
        0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, 0x8000000000000001,
        0xfffffffffffffffe, 0xffffffffffffffff, 0xffffffffffffff80, 0xffffffffffff8000, 0xffffffff80000000,
        0x0123456789abcdef, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa,
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
    static const uint64_t mantissas[] = {0,
                                         0x8000000000000000,
                                         0xc000000000000000,
                                         0x8000000000000001,
                                         0xffffffffffffffff,
                                         0x4000000000000000,
                                         1,
                                         0xa000000000000000,
                                         0xc90fdaa22168c235};
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

static void random_fx(struct generator *g, uint8_t *fx)
{
    static const uint16_t fcws[] = {0x37f, 0x37f, 0x37f, 0x27f, 0x07f, 0xf7f, 0xb7f, 0x77f, 0xe7f, 0x17f};
    static const uint32_t mxcsrs[] = {0x1f80, 0x1f80, 0x1f80, 0x3f80, 0x5f80, 0x7f80, 0x9f80, 0x9fc0, 0x1fc0, 0xffc0};
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
    random_fx(g, in->fx);
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

/* ---- memory operands ---- */

static uint64_t random_target(struct generator *g, unsigned size)
{
    static const uint64_t nowhere[] = {0, 8, 0x7ffffffffff8, 0x800000000000, 0xffff7ffffffffff8, 0xffff800000000000,
                                       0xfffffffffffffff8, 0x3fff0000, 0x20003ff8};
    unsigned at = (unsigned)(RND(g) % (2 * PAGE - 512));
    uint64_t address;

    switch (RND(g) % 32) {
    case 0:
    case 1:
    case 2: /* over the edge between the two data pages */
        return DATA_BASE + PAGE - RND(g) % (size + 1);
    case 3:
    case 4: /* over the last edge, over the first */
        return DATA_BASE + 2 * PAGE - RND(g) % (size + 1);
    case 5:
        return DATA_BASE - RND(g) % (size + 1);
    case 6:
        return RO_BASE + RND(g) % (PAGE - 16);
    case 7:
        return CODE_BASE + 0x1800 + RND(g) % 512;
    case 8: /* what is wider than a register is accessed in pieces, and which of them faults is nobody's business */
        address = PICK(g, nowhere);
        return size > 8 ? address & ~0xfffull : address;
    default:
        return DATA_BASE + (CHANCE(g, 75) ? at & ~15u : at);
    }
}

static uint64_t segment_base(const struct diff_case *c, ZydisRegister segment)
{
    const struct diff_regs *in = &c->in;
    const uint16_t selectors[6] = {in->es, in->cs, in->ss, in->ds, in->fs, in->gs};

    if (c->mode != MODE_64)
        return segment == ZYDIS_REGISTER_NONE ? 0 : diff_segment_base(selectors[ZydisRegisterGetId(segment)]);
    return segment == ZYDIS_REGISTER_FS ? c->in.fs_base : segment == ZYDIS_REGISTER_GS ? c->in.gs_base : 0;
}

static uint64_t *register_of(struct diff_case *c, ZydisRegister reg)
{
    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR64:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR16:
        return &c->in.gpr[ZydisRegisterGetId(reg)];
    case ZYDIS_REGCLASS_GPR8:
        return reg <= ZYDIS_REGISTER_BL ? &c->in.gpr[ZydisRegisterGetId(reg)] : NULL;
    default:
        return NULL;
    }
}

/* Rewrites a displacement inside the code. */
static void patch_disp(struct diff_case *c, unsigned at, const struct judged *i, uint64_t value)
{
    unsigned size = i->insn.raw.disp.size / 8u;

    if (at + i->insn.raw.disp.offset + size <= c->length)
        memcpy(c->code + at + i->insn.raw.disp.offset, &value, size);
}

static void aim_operand(struct generator *g, struct diff_case *c, const struct judged *i, const ZydisDecodedOperand *op)
{
    uint64_t *base = register_of(c, op->mem.base), *index = register_of(c, op->mem.index);
    uint64_t target = random_target(g, op->size / 8u), rest, index_value = 0;
    int64_t disp = op->mem.disp.has_displacement ? op->mem.disp.value : 0;

    if (op->mem.type == ZYDIS_MEMOP_TYPE_AGEN && CHANCE(g, 70))
        return;
    target -= segment_base(c, op->mem.segment);
    if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP) {
        patch_disp(c, 0, i, target - (c->in.rip + i->insn.length));
        return;
    }
    if (index) {
        index_value = *index;
        if (i->insn.address_width == 32)
            index_value = (uint32_t)index_value;
        if (op->mem.index == ZYDIS_REGISTER_AL)
            index_value &= 0xff;
        index_value *= op->mem.scale ? op->mem.scale : 1;
    }
    rest = target - (uint64_t)disp;
    if (!base && !index) {
        if (op->mem.disp.has_displacement && i->insn.raw.disp.size >= 16)
            patch_disp(c, 0, i, target);
    } else if (!base) {
        *index = rest / (op->mem.scale ? op->mem.scale : 1);
    } else if (base == index && op->mem.index != ZYDIS_REGISTER_AL) {
        *base = rest / (1u + (op->mem.scale ? op->mem.scale : 1));
    } else {
        *base = rest - index_value;
    }
}

/* Small bit offsets for BT and its kin, which reach far from their operand. */
static void aim_bit_offset(struct generator *g, struct diff_case *c, const struct judged *i)
{
    ZydisMnemonic m = i->insn.mnemonic;
    uint64_t *offset;

    if (m != ZYDIS_MNEMONIC_BT && m != ZYDIS_MNEMONIC_BTS && m != ZYDIS_MNEMONIC_BTR && m != ZYDIS_MNEMONIC_BTC)
        return;
    offset = i->ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER ? register_of(c, i->ops[1].reg.value) : NULL;
    if (offset && CHANCE(g, 80))
        *offset = (RND(g) % 2048) - 512;
}

/* Makes compare-and-exchange and division succeed now and then. */
static void aim_values(struct generator *g, struct diff_case *c, const struct judged *i)
{
    static const uint64_t quotients[] = {0, 0, 1, ~0ull};

    switch (i->insn.mnemonic) {
    case ZYDIS_MNEMONIC_CMPXCHG:
        if (i->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER && CHANCE(g, 50) && register_of(c, i->ops[0].reg.value))
            c->in.gpr[0] = *register_of(c, i->ops[0].reg.value);
        break;
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
        if (CHANCE(g, 70))
            c->in.gpr[2] = PICK(g, quotients);
        if (CHANCE(g, 30))
            c->in.gpr[0] &= 0xff;
        break;
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
        /* A count beyond 16-bit operands leaves all undefined, the result too. */
        if (i->ops[0].size == 16 && i->ops[2].type == ZYDIS_OPERAND_TYPE_REGISTER)
            c->in.gpr[1] &= ~0x10ull;
        break;
    default:
        break;
    }
}

/* What memory at a linear address holds at the start, if it is ours. */
static bool peek(const struct diff_case *c, uint64_t va, void *value, unsigned size)
{
    static uint8_t image[IMAGE_SIZE];
    bool found = false;

    for (unsigned a = AREA_DATA; a < AREA_COUNT && !found; a++) {
        const struct area *area = &diff_areas[a];

        if (va - area->base <= area->pages * PAGE - size) {
            diff_image(c, false, image);
            memcpy(value, image + area->first * PAGE + (va - area->base), size);
            found = true;
        }
    }
    return found;
}

/* CMPXCHG, CMPXCHG8B, CMPXCHG16B on memory: what is there into the accumulator. */
static void aim_exchange(struct generator *g, struct diff_case *c, const struct judged *i)
{
    const ZydisDecodedOperand *op = &i->ops[0];
    uint64_t value[2] = {0}, *base;
    unsigned size = op->size / 8u;

    if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || op->mem.index != ZYDIS_REGISTER_NONE || CHANCE(g, 50) || size > 16)
        return;
    base = register_of(c, op->mem.base);
    if (!base || !peek(c, *base + (uint64_t)op->mem.disp.value + segment_base(c, op->mem.segment), value, size))
        return;
    if (base == &c->in.gpr[0] || base == &c->in.gpr[2])
        return;
    if (i->insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B) {
        c->in.gpr[0] = value[0];
        c->in.gpr[2] = value[1];
    } else if (i->insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B) {
        c->in.gpr[0] = (uint32_t)value[0];
        c->in.gpr[2] = value[0] >> 32;
    } else if (i->insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG) {
        c->in.gpr[0] = value[0];
    }
}

void generate_aim(struct generator *g, struct diff_case *c, const struct judged *i)
{
    aim_bit_offset(g, c, i);
    for (unsigned k = 0; k < i->insn.operand_count; k++) {
        const ZydisDecodedOperand *op = &i->ops[k];
        bool stack;

        if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        stack = op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
                ZydisRegisterGetId(op->mem.base) == 4; /* what pushes and pops touch */
        if (!stack && CHANCE(g, 90))
            aim_operand(g, c, i, op);
    }
    if (i->insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE) && CHANCE(g, 85))
        c->in.gpr[1] = RND(g) % 40;
    aim_values(g, c, i);
    aim_exchange(g, c, i);
    if (c->mode != MODE_64)
        for (unsigned r = 0; r < 8; r++)
            c->in.gpr[r] = (uint32_t)c->in.gpr[r];
}

/* ---- code ---- */

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
    return i->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT || i->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR;
}

/* What the host gets where a prefix means something else to it. TZCNT and LZCNT are BSF and BSR to a CPU without them;
 * F2 is ignored by both kinds. 66 on a near branch in 64-bit mode is ignored by Intel and ours, not by AMD. */
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

/* opcode 256 x map 4 x prefix 8 x ModRM.reg 8 x {memory, register}; then all register forms of some groups */
#define ENUM_MAIN (256ul * 4 * 8 * 8 * 2)
#define ENUM_X87  (8ul * 256)
#define ENUM_REST (2ul * 256 * 4)

unsigned long generate_enumerated_count(void)
{
    return ENUM_MAIN + ENUM_X87 + ENUM_REST;
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
    return opcode == 0x0f || opcode == 0x26 || opcode == 0x2e || opcode == 0x36 || opcode == 0x3e || opcode == 0x64 ||
           opcode == 0x65 || opcode == 0x66 || opcode == 0x67 || opcode == 0xf0 || opcode == 0xf2 || opcode == 0xf3;
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
    static const uint8_t prefixes[] = {0x66, 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x64, 0x65, 0x2e, 0x36, 0x3e, 0x26};
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

void generate_random(struct generator *g, enum diff_mode mode, struct diff_case *c)
{
    generate_start(g, mode, c);
    noise(g, c);
    generate_bytes(g, mode, c->code);
    finish_single(g, c);
}
