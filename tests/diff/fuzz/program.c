/*
 * Programs: functions of random instructions, here and there in the code pages, that call each other.
 *
 * Memory is reached through registers that point into the windows, often near the edges of pages, and are
 * seldom written. Loops count down; what loops nevertheless without end is found out by the trial. Code of
 * earlier programs stays where it is not overwritten, and is jumped to as well.
 */
#include "fuzz.h"

#include <string.h>

#define CODE_SIZE (CODE_PAGES * PAGE)
/* RBX RBP RSI RDI R12 R13 */
static const uint8_t pointers[] = {3, 5, 6, 7, 12, 13};
#define POINTERS 0x30e8u

struct builder {
    const struct judge *judge;
    struct generator g;
    struct program *p;
    struct labels *labels;
    uint32_t at;    /* offset into the code */
    uint32_t begin; /* of the function */
    bool user;
    unsigned keep; /* registers that are not to be written */
    unsigned kind; /* of random instructions: see suits */
};

#define BRND(b)          diff_random(&(b)->g.random)
#define BELOW(b, n)      ((uint32_t)(BRND(b) % (n)))
#define BCHANCE(b, perc) (BELOW(b, 100) < (perc))

static void emit(struct builder *b, const void *bytes, unsigned n)
{
    if (b->at + n > CODE_SIZE)
        b->at = b->begin = BELOW(b, CODE_SIZE - 2048);
    memcpy(b->p->area + b->at, bytes, n);
    b->at += n;
}
#define EMIT(b, bytes) emit(b, bytes, sizeof(bytes) - 1)

static void emit_imm(struct builder *b, uint64_t value, unsigned n)
{
    emit(b, &value, n);
}

static uint64_t window(const struct builder *b, uint64_t user_va)
{
    return b->user ? user_va : user_va + TO_SUPER;
}

static uint32_t some_label(struct builder *b)
{
    return b->labels->n ? b->labels->at[BELOW(b, b->labels->n)] : b->begin;
}

/* Somewhere in memory: mostly in pages that can be written to, often across an edge. */
static uint64_t some_address(struct builder *b)
{
    static const uint8_t good[] = {0, 1, 2, 3, 6, 7, 10, 13},
                         odd[] = {3, 4, 5, 8, 9, 11, 12, 14, 15, 16, 20, 21};
    uint32_t r = BELOW(b, 100);
    uint64_t page = UDATA + (uint64_t)(r < 80 ? good[BELOW(b, 8)] : odd[BELOW(b, 12)]) * PAGE;

    if (r >= 96)
        page = (BELOW(b, 2) ? ULARGE : UCODE) + BELOW(b, CODE_PAGES) * PAGE;
    page = BCHANCE(b, 3) ? page ^ TO_SUPER : window(b, page);
    if (BCHANCE(b, 20))
        return page + PAGE - BELOW(b, 24);
    return page + (BCHANCE(b, 75) ? BELOW(b, PAGE / 16) * 16 : BELOW(b, PAGE));
}

/* mov reg, imm64 */
static void load(struct builder *b, unsigned reg, uint64_t value)
{
    uint8_t code[2] = {(uint8_t)(0x48 | reg >> 3), (uint8_t)(0xb8 | (reg & 7))};

    emit(b, code, 2);
    emit_imm(b, value, 8);
}

/* ---- random instructions ---- */

enum { KIND_ANY, KIND_PLAIN, KIND_VECTOR, KIND_X87 };

static bool is_kind(const struct judged *i, unsigned kind)
{
    ZydisISASet set = i->insn.meta.isa_set;
    bool x87 = set == ZYDIS_ISA_SET_X87 || set == ZYDIS_ISA_SET_FCMOV || set == ZYDIS_ISA_SET_PENTIUMMMX;
    bool vector = false;

    for (unsigned k = 0; k < i->insn.operand_count; k++)
        vector |= i->ops[k].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                  (ZydisRegisterGetClass(i->ops[k].reg.value) == ZYDIS_REGCLASS_XMM ||
                   ZydisRegisterGetClass(i->ops[k].reg.value) == ZYDIS_REGCLASS_YMM);

    switch (kind) {
    case KIND_PLAIN:
        return !x87 && !vector;
    case KIND_VECTOR:
        return vector;
    case KIND_X87:
        return x87;
    default:
        return true;
    }
}

static bool suits(struct builder *b, const struct judged *i)
{
    if (!i->valid || i->verdict == VERDICT_UD)
        return BCHANCE(b, 1);
    if (judge_branch_or_system(i))
        return BCHANCE(b, 1);
    if (!is_kind(i, b->kind) && BCHANCE(b, 97))
        return false;
    switch (i->insn.mnemonic) {
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
    case ZYDIS_MNEMONIC_ENTER:
    case ZYDIS_MNEMONIC_LEAVE:
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
        if (BCHANCE(b, 85))
            return false;
        break;
    default:
        break;
    }
    if (i->insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE) &&
        BCHANCE(b, 90)) /* RCX is anything */
        return false;
    return !sequence_writes(i, b->keep) || BCHANCE(b, 4);
}

/* ModRM (and SIB) at `modrm`, the opcode's or VEX's bits before it: pointer plus a short distance. */
static void through_pointer(struct builder *b, uint8_t *code, unsigned modrm, bool vex)
{
    unsigned reg = pointers[BELOW(b, sizeof(pointers))];
    uint8_t *rex = NULL, *rxb = vex && modrm >= 4 && code[modrm - 4] == 0xc4 ? &code[modrm - 3] : NULL;

    for (unsigned k = 0; !vex && k + 1 < modrm; k++)
        if ((code[k] & 0xf0) == 0x40)
            rex = &code[k];
    if (!rex && !rxb && reg >= 8)
        reg = 3;
    if (rex)
        *rex = (uint8_t)((*rex & 0xfc) | reg >> 3);
    if (rxb) /* inverted there */
        *rxb = (uint8_t)(*rxb | 0x60) ^ (reg >= 8 ? 0x20 : 0);
    code[modrm] = (uint8_t)(0x40 | (code[modrm] & 0x38) | (reg & 7));
    if ((reg & 7) == 4) {
        memmove(code + modrm + 2, code + modrm + 1, 15 - modrm - 1);
        code[modrm + 1] = 0x24;
        modrm++;
    }
    if (BCHANCE(b, 75))
        code[modrm + 1] &= 0x70;
    else
        code[modrm + 1] = (uint8_t)BELOW(b, 40);
}

static void add_random(struct builder *b)
{
    for (unsigned tries = 0; tries < 60; tries++) {
        uint8_t code[32] = {0};
        bool vex = b->kind != KIND_X87 && BCHANCE(b, b->kind == KIND_VECTOR ? 45 : 12);
        unsigned modrm =
            vex ? generate_vex_bytes(&b->g, MODE_64, code) : generate_bytes(&b->g, MODE_64, code);
        unsigned opcode = modrm - 1;
        struct judged i;

        if (b->kind == KIND_X87 && BCHANCE(b, 80)) {
            code[opcode] = 0xd8 | (code[opcode] & 7);
            if (opcode && code[opcode - 1] == 0x0f)
                code[opcode - 1] = 0x2e;
        }
        if (BCHANCE(b, 45))
            through_pointer(b, code, modrm, vex);
        else if (BCHANCE(b, 90))
            code[modrm] |= 0xc0;
        judge_insn(b->judge, MODE_64, code, 15, &i);
        if (!suits(b, &i))
            continue;
        emit(b, code, i.valid ? i.insn.length : 3);
        return;
    }
}

/* vpgatherdd and its kin by a pointer, mostly with indices that stay within a page or two: a fault in the
 * middle leaves the elements before it done. */
static void add_gather(struct builder *b)
{
    uint8_t to = (uint8_t)BELOW(b, 8), mask = (uint8_t)BELOW(b, 8), index = (uint8_t)BELOW(b, 8);
    uint8_t length = (uint8_t)(BELOW(b, 2) << 2), wide = (uint8_t)(BELOW(b, 2) << 7);
    uint8_t base = pointers[BELOW(b, 4)], opcode = (uint8_t)(0x90 + BELOW(b, 4));

    if (BCHANCE(b, 70)) { /* vpcmpeqd mask, mask, mask */
        uint8_t ones[] = {0xc5, (uint8_t)(0xfd ^ mask << 3), 0x76, (uint8_t)(0xc0 | mask * 9)};

        emit(b, ones, sizeof(ones));
    }
    if (BCHANCE(b, 90)) { /* vpsrld or vpsrlq index, index, n */
        bool quad = opcode & 1;
        uint8_t shift[] = {0xc5, (uint8_t)(0xfd ^ index << 3), quad ? 0x73 : 0x72, (uint8_t)(0xd0 | index),
                           (uint8_t)((quad ? 50 : 18) + BELOW(b, 14))};

        emit(b, shift, sizeof(shift));
    }
    uint8_t gather[] = {0xc4,
                        0xe2,
                        (uint8_t)((0x79 ^ mask << 3) | wide | length),
                        opcode,
                        (uint8_t)(0x44 | to << 3),
                        (uint8_t)(BELOW(b, 4) << 6 | index << 3 | base),
                        (uint8_t)BELOW(b, 128)};
    emit(b, gather, sizeof(gather));
}

/* [base + disp8], or with RCX as index. */
static void emit_operand(struct builder *b, unsigned reg, unsigned base, bool indexed, unsigned scale,
                         unsigned disp)
{
    if (indexed) {
        emit_imm(b, 0x44 | reg << 3, 1);
        emit_imm(b, scale << 6 | 1u << 3 | base, 1);
    } else {
        emit_imm(b, 0x40 | reg << 3 | base, 1);
    }
    emit_imm(b, disp & 0x7f, 1);
}

/* A base or the index moves on by a little: ADD, LEA or INC. */
static void add_move(struct builder *b, unsigned reg)
{
    unsigned by = (BELOW(b, 24) - 8) & 0xff;

    switch (BELOW(b, 3)) {
    case 0:
        emit_imm(b, 0xc08348u | reg << 16 | by << 24, 4);
        break;
    case 1:
        emit_imm(b, 0x408d48u | reg * 9 << 16 | by << 24, 4);
        break;
    default:
        emit_imm(b, 0xc0ff48u | reg << 16, 3);
    }
}

/* Accesses that compilers put next to each other: by one base or two by turns, at distances that lie close
 * together. */
static void add_span(struct builder *b)
{
    static const uint8_t opcodes[] = {0x8b, 0x89, 0x03, 0x01, 0x3b, 0x39, 0x2b,
                                      0x33, 0x0b, 0x85, 0x8a, 0x88, 0x87};
    unsigned bases[2] = {pointers[BELOW(b, 4)], pointers[BELOW(b, 4)]}, n = 2 + BELOW(b, 7),
             scale = BELOW(b, 3);
    unsigned turns = BCHANCE(b, 50) ? 2 : 1, from = BELOW(b, 32);
    bool indices = BCHANCE(b, 25);

    if (indices)
        EMIT(b, "\x83\xe1\x1c"); /* and ecx, 28 */
    while (n--) {
        uint8_t opcode = opcodes[BELOW(b, sizeof(opcodes))], size = (uint8_t)BELOW(b, 4);
        uint8_t rex = (uint8_t)(0x40 | (BELOW(b, 2) ? 8 : 0) | BELOW(b, 2) << 2);
        unsigned reg = indices ? BELOW(b, 2) * 2 : BELOW(b, 3), base = bases[BELOW(b, turns)];
        bool indexed = indices && BCHANCE(b, 70);

        if (size == 0)
            EMIT(b, "\x66");
        if (size || BELOW(b, 2))
            emit(b, &rex, 1);
        emit(b, &opcode, 1);
        emit_operand(b, reg, base, indexed, scale, from + BELOW(b, 48));
        if (BCHANCE(b, 12))
            add_move(b, indexed && BELOW(b, 2) ? 1 : base);
        if (BCHANCE(b, 10))
            add_random(b);
    }
}

static void add_stack(struct builder *b)
{
    unsigned n = 1 + BELOW(b, 4);

    for (unsigned k = 0; k < n; k++)
        emit_imm(b, 0x50 + (BELOW(b, 8) & 7), 1);
    for (unsigned k = BELOW(b, 3); k; k--)
        add_random(b);
    for (unsigned k = 0; k < n; k++)
        emit_imm(b, 0x58 + BELOW(b, 3), 1);
}

static void add_pointer(struct builder *b)
{
    unsigned reg = pointers[BELOW(b, sizeof(pointers))];

    switch (BELOW(b, 3)) {
    case 0:
        load(b, reg, some_address(b));
        break;
    case 1: /* lea reg, [reg + disp8] */
        if (reg == 12)
            break;
        emit_imm(b, 0x48 | (reg >> 3) * 5, 1);
        EMIT(b, "\x8d");
        emit_imm(b, 0x40 | (reg & 7) * 9, 1);
        emit_imm(b, BELOW(b, 64) - 32, 1);
        break;
    default: /* and reg, ~15 */
        emit_imm(b, 0x48 | reg >> 3, 1);
        EMIT(b, "\x83");
        emit_imm(b, 0xe0 | (reg & 7), 1);
        EMIT(b, "\xf0");
    }
}

/* The same with 32 bits of displacement: distances whose sums and differences do not fit 32 bits. */
static void add_far(struct builder *b)
{
    static const uint32_t distances[] = {0x40000000, 0x60000000, 0x7fffffff, 0x80000000, 0xc0000000};
    unsigned reg = pointers[BELOW(b, 4)], n = 1 + BELOW(b, 4);
    uint32_t back = 0;

    for (unsigned k = 1 + BELOW(b, 3); k; k--) { /* lea reg, [reg + disp32] */
        uint32_t step = distances[BELOW(b, G_N_ELEMENTS(distances))];

        EMIT(b, "\x48\x8d");
        emit_imm(b, 0x80 | reg * 9, 1);
        emit_imm(b, step, 4);
        back -= step;
    }
    while (n--) {
        emit_imm(b, BELOW(b, 2) ? 0x8b : 0x89, 1);
        emit_imm(b, 0x80 | BELOW(b, 3) << 3 | reg, 1);
        emit_imm(b, (BCHANCE(b, 60) ? back : distances[BELOW(b, 5)]) + BELOW(b, 32), 4);
    }
    EMIT(b, "\x48\x8d"); /* home, as far as one step leads there */
    emit_imm(b, 0x80 | reg * 9, 1);
    emit_imm(b, back, 4);
}

/* movs, stos and so on, a few times. */
static void add_string(struct builder *b)
{
    static const uint8_t opcodes[] = {0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xa6, 0xae};

    EMIT(b, "\xb9");
    emit_imm(b, BELOW(b, 20), 4);
    emit_imm(b, BCHANCE(b, 80) ? 0xf3 : 0xf2, 1);
    if (BELOW(b, 2))
        EMIT(b, "\x48");
    emit(b, &opcodes[BELOW(b, sizeof(opcodes))], 1);
    if (BCHANCE(b, 40))
        load(b, BELOW(b, 2) ? 6 : 7, some_address(b));
}

/* ---- jumps ---- */

static void add_setter(struct builder *b)
{
    static const uint8_t setters[][4] = {
        {0x39, 0xc8}, {0x85, 0xc0}, {0x3b, 0xca}, {0x84, 0xd2}, {0x38, 0xd1}, {0x83, 0xf9, 3},
        {0xa8, 0x10}, {0xff, 0xc9}, {0x29, 0xd0}, {0x21, 0xc8}, {0x3b, 0x03}, {0x80, 0x7e, 0x08, 0x20}};
    static const uint8_t lengths[] = {2, 2, 2, 2, 2, 3, 2, 2, 2, 2, 2, 4};
    unsigned which = BELOW(b, sizeof(lengths));

    emit(b, setters[which], lengths[which]);
}

static void patch(struct builder *b, uint32_t at, uint32_t value, unsigned n)
{
    memcpy(b->p->area + at - n, &value, n);
}

static void add_few(struct builder *b, unsigned n)
{
    while (n--)
        switch (BELOW(b, 8)) {
        case 0:
            add_span(b);
            break;
        case 1:
            add_setter(b);
            break;
        default:
            add_random(b);
        }
}

static void add_branch(struct builder *b)
{
    uint32_t jump;

    if (BCHANCE(b, 80))
        add_setter(b);
    if (BCHANCE(b, 15)) { /* to another function, mostly not */
        uint32_t target = some_label(b);

        emit_imm(b, 0x0f | 0x80u << 8 | BELOW(b, 16) << 8, 2);
        emit_imm(b, 0, 4);
        patch(b, b->at, target - b->at, 4);
        return;
    }
    emit_imm(b, 0x70 | BELOW(b, 16), 1);
    emit_imm(b, 0, 1);
    jump = b->at;
    add_few(b, 1 + BELOW(b, 3));
    if (b->at - jump < 128)
        patch(b, jump, b->at - jump, 1);
}

/* Counts a register down: RCX, or one that little else uses. */
static void add_loop(struct builder *b)
{
    bool rcx = BCHANCE(b, 40);
    unsigned keep = b->keep;
    uint32_t start;

    EMIT(b, "\x41\xbf"); /* mov r15d, n */
    emit_imm(b, 2 + BELOW(b, 14), 4);
    if (rcx) {
        EMIT(b, "\x44\x89\xf9"); /* mov ecx, r15d */
    }
    start = b->at;
    b->keep |= rcx ? 2 : 0x8000;
    add_few(b, 1 + BELOW(b, 5));
    if (BCHANCE(b, 25))
        add_branch(b);
    if (start > b->at)
        return;
    if (rcx && b->at - start < 110) {
        EMIT(b, "\xe2");
        emit_imm(b, 0, 1);
        patch(b, b->at, start - b->at, 1);
    } else {
        EMIT(b, "\x41\xff\xcf\x0f\x85"); /* dec r15d; jnz */
        emit_imm(b, 0, 4);
        patch(b, b->at, start - b->at, 4);
    }
    b->keep = keep;
}

static void add_direct(struct builder *b, const char *opcode)
{
    uint32_t target = some_label(b);

    if (BCHANCE(b, 4)) /* into the middle of its first instruction */
        target += 1 + BELOW(b, 3);
    emit(b, opcode, 1);
    emit_imm(b, 0, 4);
    patch(b, b->at, target - b->at, 4);
}

/* Call or jump by a register or by memory; at times to where there is nothing. */
static void add_indirect(struct builder *b)
{
    static const uint64_t nowhere[] = {0, 0x800000000000, 0xdeadbeefdeadbeef, 0xffff7fffffffffff, 0x12345000};
    uint64_t target = window(b, UCODE) + some_label(b);
    bool call = BCHANCE(b, 70);

    if (BCHANCE(b, 6))
        target = BCHANCE(b, 30) && b->user ? UEDGE + PAGE - BELOW(b, 20) : nowhere[BELOW(b, 5)];
    if (BCHANCE(b, 10))
        target =
            window(b, UCODE) + BELOW(b, 16) * PAGE + (target & 0xfff); /* the same place of another page */
    load(b, 0, target);
    switch (BELOW(b, 4)) {
    case 0: /* push rax; ret */
        EMIT(b, "\x50\xc3");
        break;
    case 1: /* mov [rsp - 64], rax; call or jmp [rsp - 64] */
        EMIT(b, "\x48\x89\x44\x24\xc0\xff");
        emit(b, call ? "\x54\x24\xc0" : "\x64\x24\xc0", 3);
        break;
    default:
        emit(b, call ? "\xff\xd0" : "\xff\xe0", 2);
    }
}

/* ---- code that changes ---- */

/* mov byte [rip + d], n and so on into what comes soon, or into a loop's body again. */
static void add_self_modifying(struct builder *b)
{
    unsigned size = 1u << BELOW(b, 3);
    uint32_t store_end, target;

    if (BCHANCE(b, 30)) { /* by a pointer, through any window */
        uint64_t base = BELOW(b, 3) ? UCODE : BELOW(b, 2) ? ULARGE : UDATA + 14 * PAGE - 5 * PAGE;

        load(b, 3, window(b, base) + ((b->at + BELOW(b, 64)) & 0xffff));
        emit(b, size == 1 ? "\xc6\x03" : "\x66\xc7\x03", size == 1 ? 2 : 3);
        emit_imm(b, BRND(b), size == 1 ? 1 : 2);
        return;
    }
    if (size == 2)
        EMIT(b, "\x66");
    emit(b, size == 1 ? "\xc6\x05" : "\xc7\x05", 2);
    emit_imm(b, 0, 4);
    emit_imm(b, BRND(b), size);
    store_end = b->at;
    add_few(b, BELOW(b, 3));
    target = b->at + 1 + BELOW(b, 3);
    if (BCHANCE(b, 30))
        target = b->begin + BELOW(b, b->at - b->begin + 1);
    emit_imm(b, 0xb8 | BELOW(b, 3), 1); /* mov reg, imm32 */
    emit_imm(b, BRND(b), 4);
    patch(b, store_end - size, target - store_end, 4);
}

/* ---- what the kernel and devices do ---- */

static void add_system(struct builder *b)
{
    static const char *const instructions[] = {
        "\xcd\x80", "\xcd\x80", "\xcd\x80", "\xcd\x80", "\xcc", "\xe6\xe2", "\xe7\xe3", "\xe4\xe2",
        "\xfa",     "\xfb",     "\xfb\x90", "\x9c\x9d", "\x9f", "\x9e",     "\xfc",     "\xfd",
    };
    const char *bytes = instructions[BELOW(b, G_N_ELEMENTS(instructions))];

    if (!b->user && BCHANCE(b, 15)) { /* stac, clac, clts, invlpg [rbx] */
        static const char *const privileged[] = {"\x0f\x01\xcb", "\x0f\x01\xca", "\x0f\x06", "\x0f\x01\x3b"};
        bytes = privileged[BELOW(b, 4)];
    }
    emit(b, bytes, (unsigned)strlen(bytes));
}

static void add_statement(struct builder *b)
{
    uint32_t r = BELOW(b, 200);

    if (BCHANCE(b, 8))
        b->kind = BELOW(b, 4);
    if (r < 2)
        add_gather(b);
    else if (r < 90)
        add_random(b);
    else if (r < 112)
        add_span(b);
    else if (r < 132)
        add_branch(b);
    else if (r < 142)
        add_loop(b);
    else if (r < 150)
        add_stack(b);
    else if (r < 159)
        add_pointer(b);
    else if (r < 160)
        add_far(b);
    else if (r < 164)
        add_string(b);
    else if (r < 172)
        add_direct(b, "\xe8");
    else if (r < 175)
        add_direct(b, "\xe9");
    else if (r < 181)
        add_indirect(b);
    else if (r < 187)
        add_self_modifying(b);
    else
        add_system(b);
}

static void add_function(struct builder *b)
{
    unsigned n = 3 + BELOW(b, 14);
    unsigned slot =
        b->labels->n < G_N_ELEMENTS(b->labels->at) ? b->labels->n++ : BELOW(b, G_N_ELEMENTS(b->labels->at));

    b->begin = b->labels->at[slot] = b->at;
    b->keep = BCHANCE(b, 90) ? POINTERS | 1u << 4 | 0x8000 : 0;
    b->kind = BCHANCE(b, 60) ? KIND_PLAIN : BELOW(b, 4);
    while (n--)
        add_statement(b);
    if (BCHANCE(b, 60))
        EMIT(b, "\xc3");
    else if (BCHANCE(b, 10))
        EMIT(b, "\xc2\x08\x00");
    else if (BCHANCE(b, 60))
        add_direct(b, "\xe9");
    else
        EMIT(b, "\xcd\x81");
}

/* Where the next function goes: anywhere, often before the edge of a page. */
static uint32_t some_place(struct builder *b)
{
    uint32_t page = BELOW(b, CODE_PAGES - 1) * PAGE;

    return page + (BCHANCE(b, 40) ? PAGE - BELOW(b, 200) : BELOW(b, PAGE));
}

static void make_start(struct builder *b)
{
    struct diff_case c = {.mode = MODE_64};
    struct program *p = b->p;

    generate_registers(&b->g, &c);
    p->start = (struct frame){.vector = VECTOR_END,
                              .rip = window(b, UCODE) + b->labels->at[BELOW(b, b->labels->n)],
                              .cs = b->user ? 0x33 : 0x10,
                              .ss = b->user ? 0x2b : 0x18,
                              .rflags = (c.in.rflags & ~FL_TF) | (BCHANCE(b, 30) ? FL_IOPL : 0)};
    memcpy(p->start.gpr, c.in.gpr, sizeof(p->start.gpr));
    for (unsigned i = 0; i < sizeof(pointers); i++)
        p->start.gpr[pointers[i]] = some_address(b);
    p->start.rsp = window(b, STACK_TOP) + (BCHANCE(b, 90) ? 0 : BELOW(b, 16)) - BELOW(b, 64) * 8;
    memset(p->fx, 0, sizeof(p->fx));
    memcpy(p->fx, c.in.fx, FX_HEADER);
    memcpy(p->fx + FX_YMM, c.in.ymm_high, sizeof(c.in.ymm_high));
    p->fs_base = some_address(b) & ~0xfffull;
    p->gs_base = BCHANCE(b, 80) ? some_address(b) : c.in.gs_base;
    p->cr0 = 0x80010033 | (BCHANCE(b, 20) ? CR0_AM : 0) | (BCHANCE(b, 8) ? CR0_TS : 0);
    p->cr0 ^= BCHANCE(b, 10) ? CR0_WP : 0;
    p->cr4 = 0x10ea0 | (BCHANCE(b, 50) ? CR4_SMEP : 0) | (BCHANCE(b, 40) ? CR4_SMAP : 0);
}

/* The end of the last code page is also that of the lower half: RIP goes over the edge, or jumps there. */
static void make_edge(struct builder *b)
{
    static const char *const ends[] = {"\x90\x90\x90", "\xeb\x10\x90", "\x74\x04\x75", "\x48\x89\xc0",
                                       "\x0f\x84\x00"};

    for (unsigned i = 0; i < 20; i++)
        b->p->area[CODE_SIZE - 1 - i] = 0x90;
    memcpy(b->p->area + CODE_SIZE - 3, ends[BELOW(b, G_N_ELEMENTS(ends))], 3);
}

void program_make(const struct judge *judge, struct program *p, struct labels *labels)
{
    struct builder b = {.judge = judge, .g = {judge, p->seed}, .p = p, .labels = labels};
    unsigned places = 1 + BELOW(&b, 3);

    p->labels = labels;
    b.user = BCHANCE(&b, 65);
    if (!labels->n) /* the first: all of memory has something in it */
        for (unsigned at = 0; at < AREA_SIZE; at += 8) {
            uint64_t value = at < CODE_SIZE ? 0xccccccccccccccccull : BRND(&b) >> (BELOW(&b, 4) * 16);

            memcpy(p->area + at, &value, 8);
        }
    while (places--) {
        b.at = some_place(&b);
        for (unsigned n = 2 + BELOW(&b, 5); n; n--)
            add_function(&b);
    }
    if (BCHANCE(&b, 20))
        make_edge(&b);
    make_start(&b);
}
