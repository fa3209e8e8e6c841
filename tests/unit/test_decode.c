/*
 * The decoder against libzydis, an independent one: every opcode of every map with every ModRM byte under a
 * choice of prefixes, then random bytes, in all three code sizes. Wherever libzydis sees an instruction the
 * two must agree on its length and on all its parts; everywhere the decoder must stay inside the bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <Zydis/Zydis.h>

#include "cpu/cpu.h"
#include "cpu/soft/decode/insn.h"

struct tally {
    unsigned long tried, instructions, vex, refused;
};

struct judge {
    ZydisDecoder decoder;
    enum vmc_width mode;
    const char *name;
    struct tally tally;
};

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1dull;
}

static void judge_init(struct judge *j, enum vmc_width mode)
{
    static const struct {
        const char *name;
        ZydisMachineMode mode;
        ZydisStackWidth stack;
    } kinds[] = {
        [VMC_MODE_16] = {"16-bit", ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16},
        [VMC_MODE_32] = {"32-bit", ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32},
        [VMC_MODE_64] = {"64-bit", ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
    };

    memset(j, 0, sizeof(*j));
    j->mode = mode;
    j->name = kinds[mode].name;
    assert_true(ZYAN_SUCCESS(ZydisDecoderInit(&j->decoder, kinds[mode].mode, kinds[mode].stack)));
    ZydisDecoderEnableMode(&j->decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE); /* its opcodes are NOPs to us */
    ZydisDecoderEnableMode(&j->decoder, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE); /* so that 3E means DS */
}

static void fail_with(const struct judge *j, const uint8_t *bytes, const char *what, int64_t want,
                      int64_t got)
{
    char hex[64];

    for (unsigned i = 0; i < 15; i++)
        sprintf(hex + 3 * i, "%02x ", bytes[i]);
    fail_msg("%s %s: %s should be 0x%llx and is 0x%llx", j->name, hex, what, (unsigned long long)want,
             (unsigned long long)got);
}

#define AGREE(what, want, got)                                                                               \
    do {                                                                                                     \
        if ((int64_t)(want) != (int64_t)(got))                                                               \
            fail_with(j, bytes, what, (int64_t)(want), (int64_t)(got));                                      \
    } while (0)

/* In the order of the registers' encoding, whatever libzydis counts in the name of: XMM3 and YMM3 are both 3.
 */
static unsigned register_number(ZydisRegister reg)
{
    if (reg == ZYDIS_REGISTER_NONE)
        return VMC_NO_REG;
    if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
        return VMC_RIP_REG;
    return (unsigned)ZydisRegisterGetId(reg);
}

static void compare_memory(const struct judge *j, const uint8_t *bytes, const struct vmc_insn *d,
                           const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op)
{
    unsigned seg = d->seg != VMC_NO_REG ? d->seg : d->ss_default ? VMC_SS : VMC_DS;
    unsigned base = register_number(op->mem.base), index = register_number(op->mem.index);

    AGREE("is_mem", 1, d->is_mem);
    /* SDM table 2-5: SIB base 101 with mod 00 has no base, whatever REX.B says; libzydis 4.0 names R13. */
    if (!(base == 13 && d->modrm >> 6 == 0 && d->base == VMC_NO_REG))
        AGREE("base", base, d->base);
    AGREE("address size", z->address_width / 8u, d->addrsize);
    AGREE("index", index, d->index);
    if (d->index != VMC_NO_REG)
        AGREE("scale", op->mem.scale ? op->mem.scale : 1, 1 << d->scale);
    if (op->mem.disp.has_displacement)
        AGREE("displacement", op->mem.disp.value, d->disp);
    if (op->mem.segment != ZYDIS_REGISTER_NONE && op->mem.type == ZYDIS_MEMOP_TYPE_MEM)
        AGREE("segment", ZydisRegisterGetId(op->mem.segment), seg);
}

static bool is_masked_move(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_VMASKMOVPS || m == ZYDIS_MNEMONIC_VMASKMOVPD ||
           m == ZYDIS_MNEMONIC_VPMASKMOVD || m == ZYDIS_MNEMONIC_VPMASKMOVQ;
}

/* Size and direction of the memory operand, as far as libzydis knows them: it has whole structures for some
 * system instructions and nothing for BT's reach. Only what we could run: the later extensions are no
 * instructions to us. */
static void compare_access(const struct judge *j, const uint8_t *bytes, const struct vmc_insn *d,
                           const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op)
{
    bool write;
    unsigned size = vmc_insn_access(d, &write);

    switch (z->meta.isa_set) {
    case ZYDIS_ISA_SET_I86:
    case ZYDIS_ISA_SET_I186:
    case ZYDIS_ISA_SET_I286PROTECTED:
    case ZYDIS_ISA_SET_I386:
    case ZYDIS_ISA_SET_I486REAL:
    case ZYDIS_ISA_SET_PENTIUMREAL:
    case ZYDIS_ISA_SET_CMOV:
    case ZYDIS_ISA_SET_X87:
    case ZYDIS_ISA_SET_PENTIUMMMX:
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
    case ZYDIS_ISA_SET_SSE3:
    case ZYDIS_ISA_SET_SSSE3:
    case ZYDIS_ISA_SET_SSSE3MMX:
    case ZYDIS_ISA_SET_SSE4:
    case ZYDIS_ISA_SET_SSE42:
    case ZYDIS_ISA_SET_SSEMXCSR:
    case ZYDIS_ISA_SET_FXSAVE:
    case ZYDIS_ISA_SET_FXSAVE64:
    case ZYDIS_ISA_SET_CMPXCHG16B:
    case ZYDIS_ISA_SET_POPCNT:
    case ZYDIS_ISA_SET_LONGMODE:
    case ZYDIS_ISA_SET_MOVBE:
    case ZYDIS_ISA_SET_LZCNT:
    case ZYDIS_ISA_SET_ADOX_ADCX:
    case ZYDIS_ISA_SET_BMI1:
    case ZYDIS_ISA_SET_BMI2:
    case ZYDIS_ISA_SET_AES:
    case ZYDIS_ISA_SET_PCLMULQDQ:
    case ZYDIS_ISA_SET_SHA:
    case ZYDIS_ISA_SET_AVX:
    case ZYDIS_ISA_SET_AVXAES:
    case ZYDIS_ISA_SET_AVX2:
    case ZYDIS_ISA_SET_FMA:
    case ZYDIS_ISA_SET_F16C:
        break;
    case ZYDIS_ISA_SET_AVX2GATHER:
        AGREE("size of a gathered element", op->size / 8u, size);
        AGREE("written", 0, write);
        return;
    default:
        return;
    }
    if (is_masked_move(z->mnemonic)) {
        AGREE("size of a masked element", op->element_size / 8u, size);
        AGREE("memory written", (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0, write);
        return;
    }
    if (op->mem.type != ZYDIS_MEMOP_TYPE_MEM || z->meta.category == ZYDIS_CATEGORY_SYSTEM)
        return;
    AGREE("size of memory operand", op->size / 8u, size);
    if (size)
        AGREE("memory written", (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0, write);
}

static void compare_operands(const struct judge *j, const uint8_t *bytes, const struct vmc_insn *d,
                             const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    for (unsigned i = 0; i < z->operand_count; i++) {
        unsigned class_bits;

        if (ops[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM && ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
            compare_memory(j, bytes, d, z, &ops[i]);
        if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            ops[i].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
            compare_access(j, bytes, d, z, &ops[i]);
        if (ops[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        switch (ZydisRegisterGetClass(ops[i].reg.value)) {
        case ZYDIS_REGCLASS_GPR64:
        case ZYDIS_REGCLASS_GPR32:
        case ZYDIS_REGCLASS_GPR16:
        case ZYDIS_REGCLASS_XMM:
        case ZYDIS_REGCLASS_YMM:
            class_bits = 15;
            break;
        default:
            class_bits = 7;
            break;
        }
        if (ops[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
            ops[i].encoding == ZYDIS_OPERAND_ENCODING_OPCODE) {
            if (class_bits == 15 && !(d->opcode == 0x90 && d->map == VMC_MAP_1))
                AGREE("rm register", ZydisRegisterGetId(ops[i].reg.value), d->rm);
        } else if (ops[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG && class_bits == 15) {
            AGREE("reg register", ZydisRegisterGetId(ops[i].reg.value), d->reg);
        } else if (ops[i].encoding == ZYDIS_OPERAND_ENCODING_NDSNDD && class_bits == 15) {
            AGREE("vvvv register", ZydisRegisterGetId(ops[i].reg.value), vmc_insn_vvvv(d));
        } else if (ops[i].encoding == ZYDIS_OPERAND_ENCODING_IS4) {
            AGREE("is4 register", ZydisRegisterGetId(ops[i].reg.value), vmc_insn_is4(d));
        }
    }
}

static uint64_t low_bytes(uint64_t value, unsigned size)
{
    return size >= 8 ? value : value & ((1ull << (8 * size)) - 1);
}

static void compare_immediates(const struct judge *j, const uint8_t *bytes, const struct vmc_insn *d,
                               const ZydisDecodedInstruction *z)
{
    bool offset = d->map == VMC_MAP_1 && d->opcode >= 0xa0 && d->opcode <= 0xa3;
    bool suffix = z->encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW;
    unsigned size = offset ? z->raw.disp.size / 8u : z->raw.imm[0].size / 8u;
    uint64_t value = offset ? (uint64_t)z->raw.disp.value : z->raw.imm[0].value.u;

    if (suffix)
        return;
    AGREE("immediate size", size, d->imm_size);
    AGREE("immediate", low_bytes(value, size), low_bytes((uint64_t)d->imm, size));
    if (offset)
        AGREE("offset's upper bits", low_bytes((uint64_t)d->imm, size), d->imm);
    if (z->raw.imm[1].size)
        AGREE("second immediate", low_bytes(z->raw.imm[1].value.u, z->raw.imm[1].size / 8u), d->imm2);
    if (!offset)
        AGREE("displacement size", z->raw.disp.size / 8u, d->disp_size);
}

/* What libzydis read of the prefix itself; it keeps R, X and B as they are stored, inverted. */
static void compare_vex(const struct judge *j, const uint8_t *bytes, const struct vmc_insn *d,
                        const ZydisDecodedInstruction *z)
{
    static const uint8_t rep[4] = {0, 0, 0xf3, 0xf2};
    bool long_mode = j->mode == VMC_MODE_64;
    unsigned rex = 0x40u | (z->raw.vex.W ? 8u : 0) | (z->raw.vex.R ? 0 : 4u) | (z->raw.vex.X ? 0 : 2u) |
                   (z->raw.vex.B ? 0 : 1u);

    AGREE("66 of pp", z->raw.vex.pp == 1, d->prefix66);
    AGREE("rep of pp", rep[z->raw.vex.pp & 3], d->rep);
    AGREE("W", z->raw.vex.W, d->vex_w);
    AGREE("L", z->raw.vex.L, d->vex_l);
    AGREE("R, X, B as rex", long_mode ? rex : 0, d->rex);
    AGREE("opsize", long_mode && z->raw.vex.W ? 8 : 4, d->opsize);
    AGREE("vvvv", ~z->raw.vex.vvvv & 15, d->vvvv);
    AGREE("lock", 0, d->lock);
}

static void compare_prefixes(const struct judge *j, const uint8_t *bytes, const struct vmc_insn *d,
                             const ZydisDecodedInstruction *z)
{
    bool lock = false, opsize = false;
    uint8_t rep = 0;

    for (unsigned i = 0; i < z->raw.prefix_count; i++) {
        uint8_t byte = z->raw.prefixes[i].value;

        lock |= byte == 0xf0;
        opsize |= byte == 0x66;
        if (byte == 0xf2 || byte == 0xf3)
            rep = byte;
    }
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
        compare_vex(j, bytes, d, z);
        return;
    }
    AGREE("lock", lock, d->lock);
    AGREE("66", opsize, d->prefix66);
    AGREE("rep", rep, d->rep);
    AGREE("vvvv", 0, d->vvvv);
    AGREE("L", 0, d->vex_l);
    AGREE("W", 0, d->vex_w);
    AGREE("rex", z->attributes & ZYDIS_ATTRIB_HAS_REX ? bytes[z->raw.rex.offset] : 0, d->rex);
}

/* EVEX and XOP; and VEX map 0, which only Knights Corner has. */
static bool is_refused(const ZydisDecodedInstruction *z)
{
    switch (z->encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
    case ZYDIS_INSTRUCTION_ENCODING_3DNOW:
        return false;
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
        return z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT;
    default:
        return true;
    }
}

static void compare(struct judge *j, const uint8_t bytes[15])
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    struct vmc_insn d, again;
    enum vmc_decode_status status = vmc_decode(bytes, 15, j->mode, &d);
    unsigned map;

    j->tally.tried++;
    if (status != VMC_DECODE_OK)
        AGREE("status of bytes without end", VMC_DECODE_TOO_LONG, status);
    else if (d.length < 1 || d.length > 15)
        AGREE("length within bounds", 15, d.length);

    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&j->decoder, bytes, 15, &z, ops)))
        return;
    j->tally.instructions++;
    AGREE("status", VMC_DECODE_OK, status);
    if (is_refused(&z)) {
        j->tally.refused++;
        AGREE("vex", 1, d.vex);
        AGREE("refused", 1, d.vex_refused);
        return;
    }
    j->tally.vex += z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    AGREE("vex", z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX, d.vex);
    AGREE("refused", 0, d.vex_refused);
    AGREE("length", z.length, d.length);
    map = z.opcode_map == ZYDIS_OPCODE_MAP_0F0F ? VMC_MAP_0F : z.opcode_map - ZYDIS_OPCODE_MAP_DEFAULT;
    AGREE("map", map, d.map);
    if (z.opcode_map != ZYDIS_OPCODE_MAP_0F0F)
        AGREE("opcode", z.opcode, d.opcode);
    AGREE("has_modrm", (z.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0, d.has_modrm);
    if (d.has_modrm)
        AGREE("modrm", bytes[z.raw.modrm.offset], d.modrm);
    compare_prefixes(j, bytes, &d, &z);
    compare_immediates(j, bytes, &d, &z);
    compare_operands(j, bytes, &d, &z, ops);

    /* One byte fewer is not enough, exactly as many are. */
    AGREE("status of a cut instruction", VMC_DECODE_MORE, vmc_decode(bytes, d.length - 1u, j->mode, &again));
    AGREE("status of just enough", VMC_DECODE_OK, vmc_decode(bytes, d.length, j->mode, &again));
}

static void report(const struct judge *j, const char *what)
{
    print_message(
        "%s %s: %lu forms tried, %lu are instructions and agree, %lu of them VEX, %lu EVEX or XOP\n", j->name,
        what, j->tally.tried, j->tally.instructions, j->tally.vex, j->tally.refused);
    assert_true(j->tally.instructions > 1000);
    assert_true(j->tally.vex > 1000);
}

static void enumerate(struct judge *j)
{
    static const char *const prefixes[] = {"",         "\x66",     "\x67",     "\xf2",     "\xf3", "\xf0",
                                           "\x64",     "\x36",     "\x66\xf2", "\x66\x67", "\x48", "\x47",
                                           "\x66\x4f", "\x67\x41", "\xf3\x48", "\x48\x66"};
    static const char *const maps[] = {"", "\x0f", "\x0f\x38", "\x0f\x3a"};
    uint8_t bytes[15];

    for (unsigned p = 0; p < sizeof(prefixes) / sizeof(prefixes[0]); p++)
        for (unsigned m = 0; m < 4; m++)
            for (unsigned op = 0; op < 256; op++)
                for (unsigned modrm = 0; modrm < 256; modrm++) {
                    size_t at = strlen(prefixes[p]);

                    for (unsigned i = 0; i < 15; i++)
                        bytes[i] = (uint8_t)(next_random() >> 32);
                    memcpy(bytes, prefixes[p], at);
                    memcpy(bytes + at, maps[m], strlen(maps[m]));
                    at += strlen(maps[m]);
                    bytes[at] = (uint8_t)op;
                    bytes[at + 1] = (uint8_t)modrm;
                    compare(j, bytes);
                }
}

/* Every opcode of the VEX maps with every ModRM byte, under all that the prefix can say of W, L and pp; R, X,
 * B and vvvv at random. Every fourth has a prefix before it that may or may not go with it. */
static void enumerate_vex(struct judge *j)
{
    static const uint8_t before[] = {0x64, 0x67, 0x3e, 0x66, 0xf2, 0xf3, 0xf0, 0x48};
    uint8_t bytes[15];

    for (unsigned n = 0; n < 2u * 2 * 4 * 3 * 256 * 256; n++) {
        unsigned modrm = n & 255, op = n >> 8 & 255, kind = n >> 16, at = 0, map = kind / 16 % 3 + 1;

        for (unsigned i = 0; i < 15; i++)
            bytes[i] = (uint8_t)(next_random() >> 32);
        if (bytes[14] % 4 == 0)
            bytes[at++] = before[bytes[13] % sizeof(before)];
        if (map == 1 && !(kind & 8) && bytes[12] % 2) {
            bytes[at++] = 0xc5;
            bytes[at] = (uint8_t)((bytes[at] & 0xf8) | (kind & 7));
        } else {
            bytes[at++] = 0xc4;
            bytes[at] = (uint8_t)((bytes[at] & 0xe0) | map);
            at++;
            bytes[at] = (uint8_t)((bytes[at] & 0x78) | (kind & 7) | (kind & 8) << 4);
        }
        if (j->mode != VMC_MODE_64) { /* else it is LES or LDS */
            bytes[at - (bytes[at - 1] == 0xc5 ? 0 : 1)] |= 0xc0;
        }
        bytes[at + 1] = (uint8_t)op;
        bytes[at + 2] = (uint8_t)modrm;
        compare(j, bytes);
    }
}

static void randomly(struct judge *j, unsigned count)
{
    static const uint8_t common[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x0f, 0x2e,
                                     0x64, 0x65, 0x48, 0x41, 0x4f, 0xc4, 0xc5};
    uint8_t bytes[15];

    for (unsigned n = 0; n < count; n++) {
        unsigned salted = (unsigned)(next_random() % 6);

        for (unsigned i = 0; i < 15; i++)
            bytes[i] = (uint8_t)(next_random() >> 32);
        for (unsigned i = 0; i < salted; i++)
            bytes[i] = common[next_random() % sizeof(common)];
        compare(j, bytes);
    }
}

static void test_enumerated(void **state)
{
    struct judge j;

    (void)state;
    for (unsigned mode = VMC_MODE_16; mode <= VMC_MODE_64; mode++) {
        judge_init(&j, (enum vmc_width)mode);
        enumerate(&j);
        enumerate_vex(&j);
        report(&j, "enumerated");
    }
}

static void test_random(void **state)
{
    struct judge j;

    (void)state;
    for (unsigned mode = VMC_MODE_16; mode <= VMC_MODE_64; mode++) {
        judge_init(&j, (enum vmc_width)mode);
        randomly(&j, 500000);
        report(&j, "random");
    }
}

static void test_only_prefixes(void **state)
{
    struct vmc_insn d;
    uint8_t bytes[15];

    (void)state;
    memset(bytes, 0x66, sizeof(bytes));
    for (unsigned n = 0; n < 15; n++)
        assert_int_equal(vmc_decode(bytes, n, VMC_MODE_64, &d), VMC_DECODE_MORE);
    assert_int_equal(vmc_decode(bytes, 15, VMC_MODE_64, &d), VMC_DECODE_TOO_LONG);
    bytes[14] = 0x90;
    assert_int_equal(vmc_decode(bytes, 15, VMC_MODE_64, &d), VMC_DECODE_OK);
    assert_int_equal(d.length, 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enumerated),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_only_prefixes),
    };

    random_state = (uint64_t)time(NULL) * 0x9e3779b97f4a7c15ull | 1;
    print_message("random seed %llx\n", (unsigned long long)random_state);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
