/*
 * Makes the operands of one instruction interesting: base registers such that addresses fall into the data
 * pages, some across their edges, some on the read-only page and some nowhere; comparands that compare equal;
 * selectors, far pointers and return frames that lead somewhere.
 */
#include "diff.h"

#include <string.h>

#define XSAVE_LEGACY 512u /* bytes of the legacy region; the header is behind it */

static uint64_t any_target(struct generator *g, unsigned size)
{
    static const uint64_t nowhere[] = {0,
                                       8,
                                       0x7ffffffffff8,
                                       0x800000000000,
                                       0xffff7ffffffffff8,
                                       0xffff800000000000,
                                       0xfffffffffffffff8,
                                       0x3fff0000,
                                       0x20003ff8};
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
    case 8: /* what is wider than a register is accessed in pieces, and which of them faults is nobody's
               business */
        address = PICK(g, nowhere);
        return size > 8 ? address & ~0xfffull : address;
    default:
        return DATA_BASE + (CHANCE(g, 75) ? at & ~15u : at);
    }
}

static uint64_t random_target(struct generator *g, unsigned size)
{
    uint64_t address = any_target(g, size);

    if (size < XSAVE_LEGACY || CHANCE(g, 10))
        return address;
    return CHANCE(g, 20) ? address & ~63ull : DATA_BASE + (RND(g) % (2 * PAGE - POKE_MAX) & ~63ull);
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

/* Returns the linear address aimed at. */
static uint64_t aim_operand(struct generator *g, struct diff_case *c, const struct judged *i,
                            const ZydisDecodedOperand *op)
{
    uint64_t *base = register_of(c, op->mem.base), *index = register_of(c, op->mem.index);
    uint64_t linear = random_target(g, op->size / 8u), target = linear, rest, index_value = 0;
    int64_t disp = op->mem.disp.has_displacement ? op->mem.disp.value : 0;

    if (op->mem.type == ZYDIS_MEMOP_TYPE_AGEN && CHANCE(g, 70))
        return linear;
    target -= segment_base(c, op->mem.segment);
    if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP) {
        patch_disp(c, 0, i, target - (c->in.rip + i->insn.length));
        return linear;
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
    return linear;
}

/* Small bit offsets for BT and its kin, which reach far from their operand. */
static void aim_bit_offset(struct generator *g, struct diff_case *c, const struct judged *i)
{
    ZydisMnemonic m = i->insn.mnemonic;
    uint64_t *offset;

    if (m != ZYDIS_MNEMONIC_BT && m != ZYDIS_MNEMONIC_BTS && m != ZYDIS_MNEMONIC_BTR &&
        m != ZYDIS_MNEMONIC_BTC)
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
        if (i->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER && CHANCE(g, 50) &&
            register_of(c, i->ops[0].reg.value))
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

    if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || op->mem.index != ZYDIS_REGISTER_NONE || CHANCE(g, 50) ||
        size > 16)
        return;
    base = register_of(c, op->mem.base);
    if (!base ||
        !peek(c, *base + (uint64_t)op->mem.disp.value + segment_base(c, op->mem.segment), value, size))
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

/* ---- selectors, far pointers, frames ---- */

static uint16_t random_selector(struct generator *g, bool code)
{
    static const uint16_t codes[] = {0x33,       0x33, 0x23, 0x23, LDT_SEL(0), LDT_SEL(0),
                                     LDT_SEL(8), 0x30, 0x10, 0x2b, 0x22};
    static const uint16_t datas[] = {0x2b,       0x2b,       0x28,       0x2a,       LDT_SEL(1),
                                     LDT_SEL(2), LDT_SEL(3), LDT_SEL(4), LDT_SEL(5), LDT_SEL(7),
                                     0x7b,       0x33,       LDT_SEL(0), LDT_SEL(8)};
    static const uint16_t odd[] = {0,    1,    2,    3,    0x08,   0x18,       0x40,
                                   0x50, 0x63, 0x7b, 0x80, 0xffff, LDT_SEL(6), LDT_SEL(9)};

    if (CHANCE(g, 25))
        return PICK(g, odd);
    return code ? PICK(g, codes) : PICK(g, datas);
}

/* An address inside the breakpoints before the snippet, as an offset in the code segment. */
static uint64_t random_code_address(struct generator *g, uint16_t selector)
{
    if (CHANCE(g, 10))
        return CHANCE(g, 50) ? 0x800000000000 : RND(g) & 0xffffffff;
    return CODE_BASE + 0x40 + RND(g) % 64 - diff_segment_base(selector);
}

static void poke(struct diff_case *c, uint64_t linear, const void *bytes, unsigned n)
{
    c->poke_at = (uint32_t)linear;
    c->poke_length = linear >> 32 ? 0 : n;
    memcpy(c->poke, bytes, n);
}

static void poke_words(struct diff_case *c, uint64_t linear, const uint64_t *words, unsigned n, unsigned size)
{
    uint8_t bytes[48];

    for (unsigned i = 0; i < n; i++)
        memcpy(bytes + i * size, &words[i], size);
    poke(c, linear, bytes, n * size);
}

static uint64_t stack_linear(const struct diff_case *c)
{
    uint64_t sp = c->in.gpr[4];

    return (c->mode == MODE_16 ? sp & 0xffff : sp) + diff_segment_base(c->in.ss);
}

/* A frame for RETF (offset, CS, then RSP and SS) or IRET (flags between). */
static void poke_frame(struct generator *g, struct diff_case *c, const struct judged *i, bool iret)
{
    uint16_t cs = random_selector(g, true), ss = CHANCE(g, 60) ? 0x2b : random_selector(g, false);
    uint64_t words[6], sp = STACK_BASE + 0x800 + RND(g) % 64 - diff_segment_base(ss);
    unsigned n = 0;

    words[n++] = random_code_address(g, cs);
    words[n++] = cs;
    if (iret)
        words[n++] = (RND(g) & 0x244cd5) | 0x202 | (CHANCE(g, 10) ? RND(g) & 0x3ff000 : 0);
    words[n++] = sp;
    words[n++] = ss;
    poke_words(c, stack_linear(c), words, n, i->insn.operand_width / 8u);
}

static void poke_far_pointer(struct generator *g, struct diff_case *c, const struct judged *i,
                             uint64_t linear, bool code)
{
    uint16_t selector = random_selector(g, code);
    uint64_t offset = code ? random_code_address(g, selector) : RND(g);
    unsigned size = i->insn.operand_width / 8u;
    uint8_t bytes[10];

    memcpy(bytes, &offset, size);
    memcpy(bytes + size, &selector, 2);
    poke(c, linear, bytes, size + 2);
}

static bool is_segment_register(const ZydisDecodedOperand *op)
{
    return op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

/* A selector to where the instruction takes it from: memory at `linear`, the stack, or a register. */
static void give_selector(struct generator *g, struct diff_case *c, const ZydisDecodedOperand *op,
                          uint64_t linear)
{
    uint16_t selector = random_selector(g, false);
    uint64_t *reg;

    if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        poke(c, linear, &selector, 2);
    } else {
        reg = op->type == ZYDIS_OPERAND_TYPE_REGISTER ? register_of(c, op->reg.value) : NULL;
        if (reg)
            *reg = (*reg & ~0xffffull) | selector;
    }
}

/* Selector and offset of JMP and CALL ptr16:16, ptr16:32, in the code itself. */
static void patch_pointer(struct generator *g, struct diff_case *c, const struct judged *i)
{
    uint16_t selector = random_selector(g, true);
    uint64_t offset = random_code_address(g, selector);
    unsigned at = i->insn.raw.imm[0].offset, size = i->insn.raw.imm[0].size / 8u;

    memcpy(c->code + at, &offset, size);
    memcpy(c->code + at + size, &selector, 2);
}

static void aim_selectors(struct generator *g, struct diff_case *c, const struct judged *i, uint64_t linear)
{
    bool far_branch = i->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;

    if (CHANCE(g, 25))
        return;
    switch (i->insn.mnemonic) {
    case ZYDIS_MNEMONIC_RET:
        if (far_branch)
            poke_frame(g, c, i, false);
        break;
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
        poke_frame(g, c, i, true);
        break;
    case ZYDIS_MNEMONIC_JMP:
    case ZYDIS_MNEMONIC_CALL:
        if (i->ops[0].type == ZYDIS_OPERAND_TYPE_POINTER)
            patch_pointer(g, c, i);
        else if (far_branch)
            poke_far_pointer(g, c, i, linear, true);
        break;
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_LSS:
        poke_far_pointer(g, c, i, linear, false);
        break;
    case ZYDIS_MNEMONIC_POP:
        if (is_segment_register(&i->ops[0])) {
            uint16_t selector = random_selector(g, false);

            poke(c, stack_linear(c), &selector, 2);
        }
        break;
    case ZYDIS_MNEMONIC_MOV:
        if (is_segment_register(&i->ops[0]))
            give_selector(g, c, &i->ops[1], linear);
        break;
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
        give_selector(g, c, &i->ops[1], linear);
        break;
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
        give_selector(g, c, &i->ops[0], linear);
        break;
    default:
        break;
    }
}

static bool is_xsave(const struct judged *i)
{
    return i->insn.meta.isa_set == ZYDIS_ISA_SET_XSAVE || i->insn.meta.isa_set == ZYDIS_ISA_SET_XSAVEOPT ||
           i->insn.meta.isa_set == ZYDIS_ISA_SET_XSAVEC;
}

/* XSAVE and its kin: the components both worlds know, the host has more; and for XRSTOR an area that can be
 * loaded, now and then with something wrong in its header. */
static void aim_xsave(struct generator *g, struct diff_case *c, const struct judged *i, uint64_t linear)
{
    uint64_t header[8] = {RND(g) & 7};

    if (!is_xsave(i))
        return;
    c->in.gpr[0] = CHANCE(g, 50) ? 7 : (c->in.gpr[0] & ~0xe7ull);
    c->in.gpr[0] |= RND(g) & 7;
    c->in.gpr[2] &= ~0xffffffffull;
    if ((i->insn.mnemonic != ZYDIS_MNEMONIC_XRSTOR && i->insn.mnemonic != ZYDIS_MNEMONIC_XRSTOR64) ||
        CHANCE(g, 10))
        return;
    if (CHANCE(g, 40))
        header[1] = 1ull << 63 | header[0] | (RND(g) & 7);
    if (CHANCE(g, 20))
        header[RND(g) % 8] |= 1ull << RND(g) % 64;
    generate_fx(g, c->poke);
    memcpy(c->poke + XSAVE_LEGACY, header, sizeof(header));
    for (unsigned n = XSAVE_LEGACY + sizeof(header); n < POKE_MAX; n++)
        c->poke[n] = (uint8_t)(RND(g) >> 20);
    c->poke_at = (uint32_t)linear;
    c->poke_length = linear >> 32 ? 0 : POKE_MAX;
}

/* The indices of a gather within reach of its base mostly, so that some of them fault and not all do. */
static void aim_gather(struct generator *g, struct diff_case *c, const struct judged *i,
                       const ZydisDecodedOperand *op)
{
    unsigned reg = (unsigned)ZydisRegisterGetId(op->mem.index), opcode = i->insn.opcode;
    unsigned size = opcode & 1 ? 8 : 4; /* of an index */
    bool far = CHANCE(g, 25);

    for (unsigned at = 0; at < 32; at += size) {
        int64_t index = (int64_t)(RND(g) % (far ? 4096 : 256)) - (far ? 2048 : 128);
        uint8_t *half = at < 16 ? c->in.fx + 160 + reg * 16 + at : c->in.ymm_high[reg] + at - 16;

        if (!CHANCE(g, 5))
            memcpy(half, &index, size);
    }
}

/* MOVS with source and destination near each other, and now and then a long run. */
static void aim_string(struct generator *g, struct diff_case *c, const struct judged *i)
{
    if (i->insn.meta.category != ZYDIS_CATEGORY_STRINGOP)
        return;
    if (CHANCE(g, 15))
        c->in.gpr[7] = c->in.gpr[6] + RND(g) % 65 - 32;
    if (i->insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE) &&
        CHANCE(g, 90))
        c->in.gpr[1] = RND(g) % (CHANCE(g, 12) ? 6000 : 40);
}

void generate_aim(struct generator *g, struct diff_case *c, const struct judged *i)
{
    uint64_t linear = 0;

    aim_bit_offset(g, c, i);
    for (unsigned k = 0; k < i->insn.operand_count; k++) {
        const ZydisDecodedOperand *op = &i->ops[k];
        bool stack;

        if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        stack = op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
                ZydisRegisterGetId(op->mem.base) == 4; /* what pushes and pops touch */
        if (op->mem.type == ZYDIS_MEMOP_TYPE_VSIB)
            aim_gather(g, c, i, op);
        if (!stack && CHANCE(g, 90))
            linear = aim_operand(g, c, i, op);
    }
    aim_xsave(g, c, i, linear);
    aim_string(g, c, i);
    aim_values(g, c, i);
    aim_exchange(g, c, i);
    aim_selectors(g, c, i, linear);
    if (c->mode != MODE_64)
        for (unsigned r = 0; r < 8; r++)
            c->in.gpr[r] = (uint32_t)c->in.gpr[r];
}
