/*
 * Sequences of three to a dozen instructions: what single ones do not show. Flags that are worked out only
 * when somebody asks, compare-and-branch pairs run as one, loops, code that changes itself.
 *
 * Memory operands go through RBX, RBP, RSI or RDI, which point into the data pages and are seldom written, so
 * that most sequences run to their end. No instruction may read a flag that one before it left undefined.
 */
#include "diff.h"

#include <string.h>

#define POINTERS ((1u << 3) | (1u << 4) | (1u << 5) | (1u << 6) | (1u << 7))

struct builder {
    struct generator *g;
    struct diff_case *c;
    enum { ANY, PLAIN, X87, VECTOR } kind; /* PLAIN: general registers and flags only */
    bool in_call;
    unsigned keep;                 /* registers not to be written: bit n */
    unsigned starts[40], n_starts; /* of the instructions */
};

bool sequence_writes(const struct judged *i, unsigned mask)
{
    for (unsigned k = 0; k < i->insn.operand_count; k++) {
        const ZydisDecodedOperand *op = &i->ops[k];
        unsigned id;

        if (op->type != ZYDIS_OPERAND_TYPE_REGISTER || !(op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            continue;
        switch (ZydisRegisterGetClass(op->reg.value)) {
        case ZYDIS_REGCLASS_GPR64:
        case ZYDIS_REGCLASS_GPR32:
        case ZYDIS_REGCLASS_GPR16:
            id = (unsigned)ZydisRegisterGetId(op->reg.value);
            break;
        case ZYDIS_REGCLASS_GPR8: /* AL..BL, AH..BH, SPL..DIL, R8B.. */
            id = op->reg.value <= ZYDIS_REGISTER_BL   ? op->reg.value - ZYDIS_REGISTER_AL
                 : op->reg.value <= ZYDIS_REGISTER_BH ? op->reg.value - ZYDIS_REGISTER_AH
                                                      : op->reg.value - ZYDIS_REGISTER_SPL + 4u;
            break;
        default:
            continue;
        }
        if (mask >> id & 1 && !(id == 4 && op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN))
            return true;
    }
    return false;
}

static bool is_plain(const struct judged *i)
{
    switch (i->insn.meta.isa_set) {
    case ZYDIS_ISA_SET_I86:
    case ZYDIS_ISA_SET_I186:
    case ZYDIS_ISA_SET_I386:
    case ZYDIS_ISA_SET_I486REAL:
    case ZYDIS_ISA_SET_PENTIUMREAL:
    case ZYDIS_ISA_SET_CMOV:
    case ZYDIS_ISA_SET_LAHF:
    case ZYDIS_ISA_SET_POPCNT:
    case ZYDIS_ISA_SET_CMPXCHG16B:
    case ZYDIS_ISA_SET_LONGMODE:
    case ZYDIS_ISA_SET_BMI1:
    case ZYDIS_ISA_SET_BMI2:
    case ZYDIS_ISA_SET_LZCNT:
    case ZYDIS_ISA_SET_MOVBE:
    case ZYDIS_ISA_SET_ADOX_ADCX:
        return true;
    default:
        return false;
    }
}

static bool is_kind(const struct builder *b, const struct judged *i)
{
    ZydisISASet set = i->insn.meta.isa_set;
    bool x87 = set == ZYDIS_ISA_SET_X87 || set == ZYDIS_ISA_SET_FCMOV || set == ZYDIS_ISA_SET_SSE3X87;

    switch (b->kind) {
    case PLAIN:
        return is_plain(i);
    case X87:
        return x87 || (set == ZYDIS_ISA_SET_PENTIUMMMX && CHANCE(b->g, 5));
    case VECTOR:
        return !x87 && !is_plain(i);
    default:
        return true;
    }
}

/* Instructions that belong in the middle of a sequence: run to their end mostly, and not branches. */
static bool suits(struct builder *b, const struct judged *i)
{
    if (!i->valid || i->verdict != VERDICT_RUN || !is_kind(b, i))
        return false;
    if (judge_branch_or_system(i))
        return false;
    if (b->in_call &&
        (i->insn.meta.category == ZYDIS_CATEGORY_PUSH || i->insn.meta.category == ZYDIS_CATEGORY_POP))
        return false; /* RET is to find its address */
    switch (i->insn.mnemonic) {
    case ZYDIS_MNEMONIC_FXSAVE: /* MXCSR_MASK differs */
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XRSTOR: /* more components than we have */
    case ZYDIS_MNEMONIC_XRSTOR64:
    case ZYDIS_MNEMONIC_FNSTENV: /* code and data selectors of the last x87 instruction */
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_ENTER:
    case ZYDIS_MNEMONIC_LEAVE:
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
        return false;
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
        return CHANCE(b->g, 20);
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
        return i->ops[0].size != 16;
    default:
        break;
    }
    if (i->insn.attributes & ZYDIS_ATTRIB_HAS_LOCK && CHANCE(b->g, 50))
        return false;
    return !sequence_writes(i, b->keep);
}

static bool room(const struct builder *b, unsigned n)
{
    return b->c->length + n <= CODE_MAX - 32 && b->n_starts < 36;
}

static void append(struct builder *b, const void *bytes, unsigned n)
{
    memcpy(b->c->code + b->c->length, bytes, n);
    b->starts[b->n_starts++] = b->c->length;
    b->c->length += n;
}

/* One random instruction that suits. */
static void add_random(struct builder *b)
{
    static const uint8_t pointers_32[] = {3, 5, 6, 7}, pointers_16[] = {4, 5, 6, 7};
    enum diff_mode mode = (enum diff_mode)b->c->mode;
    const uint8_t *pointers = mode == MODE_16 ? pointers_16 : pointers_32;
    struct judged i;
    uint8_t code[16];

    for (unsigned tries = 0; tries < 60 && room(b, 15); tries++) {
        bool vex = b->kind != X87 && CHANCE(b->g, b->kind == VECTOR ? 60 : 20);
        unsigned modrm = vex ? generate_vex_bytes(b->g, mode, code) : generate_bytes(b->g, mode, code);

        if (b->kind == X87) { /* mostly that to begin with */
            code[modrm - 1] = 0xd8 | (code[modrm - 1] & 7);
            if (modrm >= 2 && code[modrm - 2] == 0x0f)
                code[modrm - 2] = 0x2e;
        }

        if (CHANCE(b->g, 45)) { /* [pointer + disp8] */
            code[modrm] = (uint8_t)(0x40 | (code[modrm] & 0x38) | pointers[RND(b->g) % 4]);
            if (CHANCE(b->g, 70))
                code[modrm + 1] &= 0x70;
            if (vex && modrm >= 4 && code[modrm - 4] == 0xc4)
                code[modrm - 3] |= 0x20;
            else if (!vex && modrm >= 2 && (code[modrm - 2] & 0xf0) == 0x40)
                code[modrm - 2] &= 0xfe;
        } else {
            code[modrm] |= 0xc0;
        }
        judge_insn(b->g->judge, mode, code, 15, &i);
        if (!suits(b, &i))
            continue;
        append(b, code, i.insn.length);
        return;
    }
}

/* A compare (or any other flag setter) and a conditional branch over the next few instructions. */
static void add_branch(struct builder *b)
{
    static const uint8_t setters[][4] = {{0x39, 0xc8}, {0x85, 0xc0},    {0x3b, 0xca}, {0x84, 0xd2},
                                         {0x38, 0xd1}, {0x83, 0xf9, 3}, {0xa8, 0x10}, {0xff, 0xc9},
                                         {0x29, 0xd0}, {0x21, 0xc8}};
    static const uint8_t lengths[] = {2, 2, 2, 2, 2, 3, 2, 2, 2, 2};
    unsigned which = (unsigned)(RND(b->g) % 10), n = 1 + (unsigned)(RND(b->g) % 3), jump;
    uint8_t jcc[6] = {(uint8_t)(0x70 | (RND(b->g) & 15)), 0};

    if (!room(b, 60))
        return;
    if (CHANCE(b->g, 80) && !(which == 7 && b->keep & 2))
        append(b, setters[which], lengths[which]);
    if (CHANCE(b->g, 30)) {
        memset(jcc, 0, sizeof(jcc));
        jcc[0] = 0x0f;
        jcc[1] = (uint8_t)(0x80 | (RND(b->g) & 15));
        append(b, jcc, b->c->mode == MODE_16 ? 4 : 6);
    } else {
        append(b, jcc, 2);
    }
    jump = b->c->length;
    while (n--)
        add_random(b);
    if (jcc[0] == 0x0f)
        b->c->code[jump - (b->c->mode == MODE_16 ? 2 : 4)] = (uint8_t)(b->c->length - jump);
    else
        b->c->code[jump - 1] = (uint8_t)(b->c->length - jump);
}

/* Writes over the immediate of an instruction a little further on: mov byte [rip + d], n; ...; mov eax, imm.
 */
static void add_self_modifying(struct builder *b)
{
    uint8_t store[8] = {0xc6, 0x05}, load[5] = {(uint8_t)(0xb8 | (RND(b->g) & 1) * 2)};
    unsigned at, target, length = 7;
    uint32_t disp;

    if (!room(b, 60))
        return;
    at = b->c->length;
    store[6] = (uint8_t)RND(b->g);
    append(b, store, length);
    for (unsigned n = (unsigned)(RND(b->g) % 3); n; n--)
        add_random(b);
    target = b->c->length + 1 + (unsigned)(RND(b->g) % 4);
    append(b, load, 5);
    disp = b->c->mode == MODE_64 ? target - (at + length) : CODE_BASE + b->c->offset + target;
    memcpy(b->c->code + at + 2, &disp, 4);
}

/* call sub; jmp over it; sub: ...; ret */
static void add_call(struct builder *b)
{
    uint8_t call[5] = {0xe8, 2}, over[2] = {0xeb};
    unsigned at;

    if (!room(b, 70))
        return;
    append(b, call, b->c->mode == MODE_16 ? 3 : 5);
    append(b, over, 2);
    at = b->c->length;
    b->in_call = true;
    for (unsigned n = 1 + (unsigned)(RND(b->g) % 3); n; n--)
        add_random(b);
    b->in_call = false;
    append(b, "\xc3", 1);
    b->c->code[at - 1] = (uint8_t)(b->c->length - at);
}

static int random_kind(struct generator *g)
{
    unsigned r = (unsigned)(RND(g) % 100);

    return r < 50 ? PLAIN : r < 65 ? X87 : r < 80 ? VECTOR : ANY;
}

static void set_pointers(struct generator *g, struct diff_case *c)
{
    static const uint8_t pointers[] = {3, 5, 6, 7};

    uint64_t data = c->mode == MODE_16 ? 0 : DATA_BASE, stack = c->mode == MODE_16 ? 0 : STACK_BASE;

    for (unsigned i = 0; i < 4; i++)
        c->in.gpr[pointers[i]] = data + 0x100 + i * 0x600 + (CHANCE(g, 80) ? 0 : RND(g) % 16);
    c->in.gpr[4] = stack + PAGE - 64;
    if (c->mode != MODE_64) {
        c->in.ds = c->mode == MODE_16 ? LDT_DATA16 : 0x2b;
        c->in.es = c->in.fs = c->in.gs = c->in.ds;
    }
    c->in.rflags &= ~0x100ull;
}

/* Everything so far once more, as often as ECX says: LOOP or DEC and JNZ at the end. */
static void close_loop(struct builder *b)
{
    uint8_t back[4] = {0xe2, 0};

    if (CHANCE(b->g, 50)) {
        append(b, "\xff\xc9", 2); /* dec ecx */
        back[0] = 0x75;
    }
    back[1] = (uint8_t) - (int)(b->c->length + 2);
    if (b->c->length + 2 < 128)
        append(b, back, 2);
}

void generate_sequence(struct generator *g, enum diff_mode mode, struct diff_case *c)
{
    const char *reason;

    do {
        struct builder b = {.g = g, .c = c, .keep = CHANCE(g, 90) ? POINTERS : 0, .kind = random_kind(g)};
        unsigned n = 3 + (unsigned)(RND(g) % 10);
        bool loop = CHANCE(g, 15);

        generate_start(g, mode, c);
        set_pointers(g, c);
        if (c->offset > PAGE)
            c->offset = 0x100;
        if (loop) {
            b.keep |= 2;
            c->in.gpr[1] = 1 + RND(g) % 5;
        }
        c->in.rip = diff_start_rip(c);
        while (n--) {
            if (CHANCE(g, 15))
                add_branch(&b);
            else if (mode != MODE_16 && CHANCE(g, loop ? 8 : 3))
                add_self_modifying(&b);
            else if (CHANCE(g, 4))
                add_call(&b);
            else
                add_random(&b);
        }
        if (loop)
            close_loop(&b);
    } while (judge_case(g->judge, c, &reason) != VERDICT_RUN);
    generate_finish(g->judge, c);
}
