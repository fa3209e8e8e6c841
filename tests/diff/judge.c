/*
 * What is an instruction, which CPUID bit it belongs to, which flags it leaves undefined: libzydis says.
 *
 * An instruction whose instruction-set bit our CPUID shows is run on both CPUs. One whose bit we do not show
 * must raise #UD on ours, and the host is not asked, because the host may have it. What the two cannot agree
 * on by nature (time, identity, what the host's kernel does for a process) is excluded, by name and with the
 * reason, here.
 *
 * Undefined flags: libzydis's table, which is Intel XED's; for shifts and rotates it cannot know the count,
 * so those follow the instruction pages of the SDM (vol. 2B, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD).
 */
#include "diff.h"

#include <cpuid.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ARITH 0x8d5ull
#define F_CF  0x001ull
#define F_AF  0x010ull
#define F_OF  0x800ull

enum { LEAF_1, LEAF_7, LEAF_D1, LEAF_EXT1 };
enum { EAX, EBX, ECX, EDX };

/* The CPUID bit of each instruction set; those not here and not in `baseline` are beyond anything we
 * advertise. */
static const struct {
    ZydisISASet set;
    uint8_t leaf, reg, bit;
} cpuid_bits[] = {
    {ZYDIS_ISA_SET_CMOV, LEAF_1, EDX, 15},        {ZYDIS_ISA_SET_FCMOV, LEAF_1, EDX, 15},
    {ZYDIS_ISA_SET_CLFSH, LEAF_1, EDX, 19},       {ZYDIS_ISA_SET_PENTIUMMMX, LEAF_1, EDX, 23},
    {ZYDIS_ISA_SET_FXSAVE, LEAF_1, EDX, 24},      {ZYDIS_ISA_SET_FXSAVE64, LEAF_1, EDX, 24},
    {ZYDIS_ISA_SET_SSE, LEAF_1, EDX, 25},         {ZYDIS_ISA_SET_SSEMXCSR, LEAF_1, EDX, 25},
    {ZYDIS_ISA_SET_SSE2, LEAF_1, EDX, 26},        {ZYDIS_ISA_SET_SSE2MMX, LEAF_1, EDX, 26},
    {ZYDIS_ISA_SET_SSE3, LEAF_1, ECX, 0},         {ZYDIS_ISA_SET_SSE3X87, LEAF_1, ECX, 0},
    {ZYDIS_ISA_SET_PCLMULQDQ, LEAF_1, ECX, 1},    {ZYDIS_ISA_SET_MONITOR, LEAF_1, ECX, 3},
    {ZYDIS_ISA_SET_VTX, LEAF_1, ECX, 5},          {ZYDIS_ISA_SET_SSSE3, LEAF_1, ECX, 9},
    {ZYDIS_ISA_SET_SSSE3MMX, LEAF_1, ECX, 9},     {ZYDIS_ISA_SET_CMPXCHG16B, LEAF_1, ECX, 13},
    {ZYDIS_ISA_SET_SSE4, LEAF_1, ECX, 19},        {ZYDIS_ISA_SET_SSE42, LEAF_1, ECX, 20},
    {ZYDIS_ISA_SET_MOVBE, LEAF_1, ECX, 22},       {ZYDIS_ISA_SET_POPCNT, LEAF_1, ECX, 23},
    {ZYDIS_ISA_SET_AES, LEAF_1, ECX, 25},         {ZYDIS_ISA_SET_XSAVE, LEAF_1, ECX, 26},
    {ZYDIS_ISA_SET_BMI1, LEAF_7, EBX, 3},         {ZYDIS_ISA_SET_BMI2, LEAF_7, EBX, 8},
    {ZYDIS_ISA_SET_LZCNT, LEAF_EXT1, ECX, 5},     {ZYDIS_ISA_SET_AVX, LEAF_1, ECX, 28},
    {ZYDIS_ISA_SET_AVXAES, LEAF_1, ECX, 25},      {ZYDIS_ISA_SET_AVX2, LEAF_7, EBX, 5},
    {ZYDIS_ISA_SET_AVX2GATHER, LEAF_7, EBX, 5},   {ZYDIS_ISA_SET_FMA, LEAF_1, ECX, 12},
    {ZYDIS_ISA_SET_F16C, LEAF_1, ECX, 29},        {ZYDIS_ISA_SET_RDRAND, LEAF_1, ECX, 30},
    {ZYDIS_ISA_SET_RDWRFSGS, LEAF_7, EBX, 0},     {ZYDIS_ISA_SET_INVPCID, LEAF_7, EBX, 10},
    {ZYDIS_ISA_SET_RDSEED, LEAF_7, EBX, 18},      {ZYDIS_ISA_SET_ADOX_ADCX, LEAF_7, EBX, 19},
    {ZYDIS_ISA_SET_SMAP, LEAF_7, EBX, 20},        {ZYDIS_ISA_SET_CLFLUSHOPT, LEAF_7, EBX, 23},
    {ZYDIS_ISA_SET_CLWB, LEAF_7, EBX, 24},        {ZYDIS_ISA_SET_SHA, LEAF_7, EBX, 29},
    {ZYDIS_ISA_SET_RDPID, LEAF_7, ECX, 22},       {ZYDIS_ISA_SET_GFNI, LEAF_7, ECX, 8},
    {ZYDIS_ISA_SET_XSAVEOPT, LEAF_D1, EAX, 0},    {ZYDIS_ISA_SET_XSAVEC, LEAF_D1, EAX, 1},
    {ZYDIS_ISA_SET_XSAVES, LEAF_D1, EAX, 3},      {ZYDIS_ISA_SET_LAHF, LEAF_EXT1, ECX, 0},
    {ZYDIS_ISA_SET_SVM, LEAF_EXT1, ECX, 2},       {ZYDIS_ISA_SET_SSE4A, LEAF_EXT1, ECX, 6},
    {ZYDIS_ISA_SET_MONITORX, LEAF_EXT1, ECX, 29}, {ZYDIS_ISA_SET_RDTSCP, LEAF_EXT1, EDX, 27},
    {ZYDIS_ISA_SET_AMD3DNOW, LEAF_EXT1, EDX, 31},
};

/* Bits that stand for no instruction a user could run; tests/guest and tests/unit look after what they
 * promise. */
static const struct {
    uint8_t leaf, reg;
    uint32_t bits;
} system_bits[] = {
    /* FPU DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA PAT PSE36 HTT */
    {LEAF_1, EDX,
     1u << 0 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 9 | 1u << 11 |
         1u << 12 | 1u << 13 | 1u << 14 | 1u << 16 | 1u << 17 | 1u << 28},
    /* x2APIC, TSC deadline, a hypervisor is there */
    {LEAF_1, ECX, 1u << 21 | 1u << 24 | 1u << 31},
    /* TSC_ADJUST SMEP ERMS, x87 selectors read as zero */
    {LEAF_7, EBX, 1u << 1 | 1u << 7 | 1u << 9 | 1u << 13},
    {LEAF_1, ECX, 1u << 27},                                     /* OSXSAVE */
    {LEAF_D1, EAX, 1u << 2},                                     /* XGETBV with ECX = 1 */
    {LEAF_7, ECX, 1u << 2},                                      /* UMIP */
    {LEAF_7, EDX, 1u << 26 | 1u << 27 | 1u << 29 | 1u << 31},    /* speculation controls, ARCH_CAPABILITIES */
    {LEAF_EXT1, EDX, 1u << 11 | 1u << 20 | 1u << 26 | 1u << 29}, /* SYSCALL NX 1 GiB pages, long mode */
};

static const ZydisISASet baseline[] = {
    ZYDIS_ISA_SET_I86,          ZYDIS_ISA_SET_I186,
    ZYDIS_ISA_SET_I286REAL,     ZYDIS_ISA_SET_I286PROTECTED,
    ZYDIS_ISA_SET_I386,         ZYDIS_ISA_SET_I486,
    ZYDIS_ISA_SET_I486REAL,     ZYDIS_ISA_SET_PENTIUMREAL,
    ZYDIS_ISA_SET_PPRO,         ZYDIS_ISA_SET_X87,
    ZYDIS_ISA_SET_FAT_NOP,      ZYDIS_ISA_SET_PAUSE,
    ZYDIS_ISA_SET_LONGMODE,     ZYDIS_ISA_SET_PREFETCH_NOP,
    ZYDIS_ISA_SET_AMD,          ZYDIS_ISA_SET_RDPMC,
    ZYDIS_ISA_SET_SSE_PREFETCH, ZYDIS_ISA_SET_PREFETCHWT1, /* a hint by any other name */
};

/* Left out, and why. */
static const struct {
    ZydisMnemonic mnemonic;
    const char *reason;
} excluded[] = {
    {ZYDIS_MNEMONIC_RDRAND, "random by nature"},
    {ZYDIS_MNEMONIC_RDSEED, "random by nature"},
    {ZYDIS_MNEMONIC_RDPMC, "the host's kernel decides whether a process may"},
    {ZYDIS_MNEMONIC_SGDT, "the host's kernel emulates it (UMIP)"},
    {ZYDIS_MNEMONIC_SIDT, "the host's kernel emulates it (UMIP)"},
    {ZYDIS_MNEMONIC_SLDT, "the host's kernel emulates it (UMIP)"},
    {ZYDIS_MNEMONIC_STR, "the host's kernel emulates it (UMIP)"},
    {ZYDIS_MNEMONIC_SMSW, "the host's kernel emulates it (UMIP)"},
    {ZYDIS_MNEMONIC_SYSCALL, "enters the host's kernel"},
    {ZYDIS_MNEMONIC_SYSENTER, "enters the host's kernel"},
    {ZYDIS_MNEMONIC_XGETBV, "shows what the host has enabled"},
};

static void read_host(struct judge *j)
{
    uint32_t regs[4][4] = {{0}};
    uint32_t vendor[4];

    __cpuid(0, vendor[0], vendor[1], vendor[2], vendor[3]);
    j->host_amd = vendor[1] == 0x68747541 || vendor[1] == 0x6f677948; /* Authentic, HygonGen */
    __get_cpuid(1, &regs[0][0], &regs[0][1], &regs[0][2], &regs[0][3]);
    __get_cpuid_count(7, 0, &regs[1][0], &regs[1][1], &regs[1][2], &regs[1][3]);
    __get_cpuid_count(13, 1, &regs[2][0], &regs[2][1], &regs[2][2], &regs[2][3]);
    __get_cpuid(0x80000001, &regs[3][0], &regs[3][1], &regs[3][2], &regs[3][3]);
    for (unsigned i = 0; i < sizeof(cpuid_bits) / sizeof(cpuid_bits[0]); i++)
        j->host[cpuid_bits[i].set] = regs[cpuid_bits[i].leaf][cpuid_bits[i].reg] >> cpuid_bits[i].bit & 1;
    for (unsigned i = 0; i < sizeof(baseline) / sizeof(baseline[0]); i++)
        j->host[baseline[i]] = true;
}

void judge_init(struct judge *j)
{
    static const struct {
        ZydisMachineMode mode;
        ZydisStackWidth stack;
    } kinds[MODE_COUNT] = {
        [MODE_64] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
        [MODE_32] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32},
        [MODE_16] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16},
    };

    memset(j, 0, sizeof(*j));
    read_host(j);
    for (unsigned m = 0; m < MODE_COUNT; m++) {
        ZydisDecoder *d = &j->decoder[m];

        ZydisDecoderInit(d, kinds[m].mode, kinds[m].stack);
        /* Not advertised, and then what they were before: NOPs, BSF and BSR (see judge_set_advertised),
         * WBINVD. */
        ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
        ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
        ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_LZCNT, ZYAN_FALSE);
        ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_TZCNT, ZYAN_FALSE);
        ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_WBNOINVD, ZYAN_FALSE);
        ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
    }
    ZydisFormatterInit(&j->formatter, ZYDIS_FORMATTER_STYLE_INTEL);
}

void judge_set_advertised(struct judge *j, const uint32_t leaf1[4], const uint32_t leaf7[4],
                          const uint32_t leafd1[4], const uint32_t ext1[4])
{
    const uint32_t *leaves[] = {leaf1, leaf7, leafd1, ext1};

    for (unsigned leaf = 0; leaf < 4; leaf++)
        memcpy(j->cpuid[leaf], leaves[leaf], sizeof(j->cpuid[leaf]));
    memset(j->advertised, 0, sizeof(j->advertised));
    for (unsigned i = 0; i < sizeof(cpuid_bits) / sizeof(cpuid_bits[0]); i++)
        j->advertised[cpuid_bits[i].set] =
            leaves[cpuid_bits[i].leaf][cpuid_bits[i].reg] >> cpuid_bits[i].bit & 1;
    for (unsigned i = 0; i < sizeof(baseline) / sizeof(baseline[0]); i++)
        j->advertised[baseline[i]] = true;
    for (unsigned m = 0; m < MODE_COUNT; m++) {
        ZydisDecoderEnableMode(&j->decoder[m], ZYDIS_DECODER_MODE_LZCNT, j->advertised[ZYDIS_ISA_SET_LZCNT]);
        ZydisDecoderEnableMode(&j->decoder[m], ZYDIS_DECODER_MODE_TZCNT, j->advertised[ZYDIS_ISA_SET_BMI1]);
    }
}

/* Leaf, register and bit of each that our CPUID shows and nobody here knows; returns how many. */
static unsigned unknown_bits(const struct judge *j, char *text, size_t size)
{
    static const char *const leaves[] = {"1", "7", "D.1", "80000001"}, *const regs[] = {"EAX", "EBX", "ECX",
                                                                                        "EDX"};
    unsigned count = 0;
    size_t n = 0;

    for (unsigned leaf = LEAF_1; leaf <= LEAF_EXT1; leaf++)
        for (unsigned reg = EAX; reg <= EDX; reg++) {
            uint32_t left = j->cpuid[leaf][reg];

            if (((leaf == LEAF_1 || leaf == LEAF_EXT1) && reg < ECX) || (leaf == LEAF_7 && reg == EAX) ||
                (leaf == LEAF_D1 && reg > EAX))
                continue; /* numbers, not bits */
            for (unsigned i = 0; i < sizeof(cpuid_bits) / sizeof(cpuid_bits[0]); i++)
                if (cpuid_bits[i].leaf == leaf && cpuid_bits[i].reg == reg)
                    left &= ~(1u << cpuid_bits[i].bit);
            for (unsigned i = 0; i < sizeof(system_bits) / sizeof(system_bits[0]); i++)
                if (system_bits[i].leaf == leaf && system_bits[i].reg == reg)
                    left &= ~system_bits[i].bits;
            for (unsigned bit = 0; bit < 32 && n + 48 < size; bit++)
                if (left >> bit & 1) {
                    n += (size_t)snprintf(text + n, size - n, " leaf %s %s bit %u", leaves[leaf], regs[reg],
                                          bit);
                    count++;
                }
        }
    return count;
}

unsigned judge_untested(const struct judge *j, const unsigned long *run, char *text, size_t size)
{
    unsigned count = unknown_bits(j, text, size);
    size_t n = strlen(text);

    for (unsigned i = 0; i < sizeof(cpuid_bits) / sizeof(cpuid_bits[0]); i++) {
        ZydisISASet set = cpuid_bits[i].set;
        bool random = set == ZYDIS_ISA_SET_RDRAND || set == ZYDIS_ISA_SET_RDSEED; /* tests/guest/bare/avx.S */

        if (j->advertised[set] && j->host[set] && !run[set] && !random && n + 48 < size) {
            n += (size_t)snprintf(text + n, size - n, " %s", ZydisISASetGetString(set));
            count++;
        }
    }
    return count;
}

static bool has_prefix(const struct judged *i, uint8_t byte)
{
    for (unsigned p = 0; p < i->insn.raw.prefix_count; p++)
        if (i->insn.raw.prefixes[p].value == byte)
            return true;
    return false;
}

/* Our CPUID says Intel. What an AMD host does otherwise: */
static const char *amd_exclusion(const struct judged *i)
{
    const ZydisDecodedInstruction *z = &i->insn;
    bool wide = z->attributes & ZYDIS_ATTRIB_HAS_REX && z->raw.rex.W;

    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
        return wide ? "AMD has no 64-bit far pointers in memory" : NULL;
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_JMP:
        return wide && z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR
                   ? "AMD has no 64-bit far pointers in memory"
                   : NULL;
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_SYSEXIT:
        return z->machine_mode != ZYDIS_MACHINE_MODE_LONG_64
                   ? "AMD has SYSRET and not SYSEXIT here, Intel the reverse"
                   : NULL;
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
        return has_prefix(i, 0xf2) || has_prefix(i, 0xf3)
                   ? "AMD lets F2 and F3 choose the condition of LOOPcc"
                   : NULL;
    case ZYDIS_MNEMONIC_NOP:
        return z->opcode_map == ZYDIS_OPCODE_MAP_0F && z->opcode == 0x0d
                   ? "AMD has no register form of PREFETCH"
                   : NULL;
    case ZYDIS_MNEMONIC_PUSH:
        return z->machine_mode != ZYDIS_MACHINE_MODE_LONG_64 && z->operand_width == 32 &&
                       i->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                       ZydisRegisterGetClass(i->ops[0].reg.value) == ZYDIS_REGCLASS_SEGMENT
                   ? "AMD pushes a selector as four bytes, Intel writes two of them"
                   : NULL;
    case ZYDIS_MNEMONIC_INT1:
        return "the host's hypervisor gives it back as a fault";
    default:
        return NULL;
    }
}

/* Whether it loads, looks at or goes through a descriptor, shows a selector (FNSAVE's of the last
 * instruction), or sets a base behind the kernel's back. */
static bool uses_descriptors(const struct judged *i)
{
    switch (i->insn.mnemonic) {
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_SYSEXIT:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_WRFSBASE:
    case ZYDIS_MNEMONIC_WRGSBASE:
        return true;
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_POP:
        return i->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
               ZydisRegisterGetClass(i->ops[0].reg.value) == ZYDIS_REGCLASS_SEGMENT;
    default:
        return i->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
    }
}

static const char *flat_exclusion(const struct judged *i)
{
    if (i->insn.machine_mode != ZYDIS_MACHINE_MODE_LONG_64)
        return "the host's kernel, a paravirtual guest, has no 16- and 32-bit code";
    return uses_descriptors(i) ? "what segments are is the business of the hypervisor below the host's kernel"
                               : NULL;
}

static const char *exclusion(const struct judge *j, const struct judged *i)
{
    const char *amd = j->host_amd ? amd_exclusion(i) : NULL;

    const char *flat = j->host_flat ? flat_exclusion(i) : NULL;

    if (amd || flat)
        return amd ? amd : flat;
    for (unsigned n = 0; n < sizeof(excluded) / sizeof(excluded[0]); n++)
        if (excluded[n].mnemonic == i->insn.mnemonic)
            return excluded[n].reason;
    if (i->insn.mnemonic == ZYDIS_MNEMONIC_INT && (i->insn.raw.imm[0].value.u & 0xff) == 0x80)
        return "enters the host's kernel";
    if (!j->host[i->insn.meta.isa_set])
        return "the host's CPU does not have it";
    return NULL;
}

/* Whether the bytes, which libzydis does not know, begin like one of the extensions that we have none of; the
 * host may know more. */
static bool is_vex(enum diff_mode mode, const uint8_t *bytes, unsigned length)
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};
    unsigned at = 0;

    while (at + 1 < length &&
           (memchr(prefixes, bytes[at], sizeof(prefixes)) || (mode == MODE_64 && (bytes[at] & 0xf0) == 0x40)))
        at++;
    if (at + 1 >= length)
        return false;
    if (bytes[at] == 0x8f)
        return (bytes[at + 1] & 0x1f) >= 8;
    return (bytes[at] == 0xc4 || bytes[at] == 0xc5 || bytes[at] == 0x62) &&
           (mode == MODE_64 || bytes[at + 1] >= 0xc0);
}

/* VEX forms of AES and PCLMULQDQ need two bits; libzydis names one. */
static bool lacks_second(const struct judge *j, const struct judged *i)
{
    return (i->insn.meta.isa_set == ZYDIS_ISA_SET_AVXAES && !j->advertised[ZYDIS_ISA_SET_AVX]) ||
           (i->insn.mnemonic == ZYDIS_MNEMONIC_VPCLMULQDQ && !j->advertised[ZYDIS_ISA_SET_PCLMULQDQ]);
}

void judge_insn(const struct judge *j, enum diff_mode mode, const uint8_t *bytes, unsigned length,
                struct judged *r)
{
    r->valid = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&j->decoder[mode], bytes, length, &r->insn, r->ops));
    r->verdict = VERDICT_RUN;
    r->reason = NULL;
    if (!r->valid) {
        if (is_vex(mode, bytes, length)) {
            r->verdict = VERDICT_UD;
            r->reason = "VEX, EVEX or XOP";
        }
        return;
    }
    if (!j->advertised[r->insn.meta.isa_set] || lacks_second(j, r)) {
        r->verdict = VERDICT_UD;
        r->reason = ZydisISASetGetString(r->insn.meta.isa_set);
        return;
    }
    r->reason = exclusion(j, r);
    if (r->reason)
        r->verdict = VERDICT_EXCLUDED;
}

/* ---- flags ---- */

static bool is_double_shift(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_SHLD || m == ZYDIS_MNEMONIC_SHRD;
}

static bool is_rotate(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_ROL || m == ZYDIS_MNEMONIC_ROR || m == ZYDIS_MNEMONIC_RCL ||
           m == ZYDIS_MNEMONIC_RCR;
}

static bool is_shift(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_SHL || m == ZYDIS_MNEMONIC_SHR || m == ZYDIS_MNEMONIC_SAR;
}

static uint64_t shift_undefined(const struct judged *i, const struct diff_regs *in)
{
    ZydisMnemonic m = i->insn.mnemonic;
    const ZydisDecodedOperand *op = &i->ops[is_double_shift(m) ? 2 : 1];
    unsigned size = i->ops[0].size, count;
    uint64_t undefined = is_rotate(m) ? 0 : F_AF;

    if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        count = (unsigned)op->imm.value.u;
    else if (in)
        count = (unsigned)in->gpr[1];
    else
        return is_double_shift(m) ? ARITH : undefined | F_OF | F_CF;
    count &= size == 64 ? 63 : 31;
    if (count == 0)
        return 0;
    if (count != 1)
        undefined |= F_OF;
    if (is_double_shift(m) && count > size)
        undefined = ARITH;
    else if (!is_rotate(m) && m != ZYDIS_MNEMONIC_SAR && count >= size)
        undefined |= F_CF;
    return undefined;
}

uint64_t judge_undefined(const struct judged *i, const struct diff_regs *in)
{
    ZydisMnemonic m = i->insn.mnemonic;

    if (!i->valid)
        return 0;
    if (is_shift(m) || is_rotate(m) || is_double_shift(m))
        return shift_undefined(i, in);
    if (m == ZYDIS_MNEMONIC_SBB) /* libzydis 4.0 says AF is undefined; the SDM does not */
        return 0;
    return i->insn.cpu_flags ? i->insn.cpu_flags->undefined & ARITH : 0;
}

uint64_t judge_tested(const struct judged *i)
{
    return i->insn.cpu_flags ? i->insn.cpu_flags->tested : 0;
}

/* Flags that hold a defined value after it, whatever its operands were. */
uint64_t judge_written(const struct judged *i)
{
    const ZydisAccessedFlags *f = i->insn.cpu_flags;
    ZydisMnemonic m = i->insn.mnemonic;

    if (!f || is_shift(m) || is_rotate(m) || is_double_shift(m) ||
        i->insn.meta.category == ZYDIS_CATEGORY_STRINGOP)
        return 0;
    return (f->modified | f->set_0 | f->set_1) & ~judge_undefined(i, NULL);
}

/* General registers whose low halves hold what differs from CPU to CPU and from moment to moment. */
static uint32_t own_registers(const struct judged *i)
{
    switch (i->insn.mnemonic) {
    case ZYDIS_MNEMONIC_RDTSC:
        return 1u << 0 | 1u << 2;
    case ZYDIS_MNEMONIC_RDTSCP:
        return 1u << 0 | 1u << 1 | 1u << 2;
    case ZYDIS_MNEMONIC_CPUID:
        return 0xf;
    default:
        return 0;
    }
}

/* ---- whole cases ---- */

/* The linear address of a memory operand made of general registers, in 64-bit mode. */
static uint64_t operand_address(const struct judged *i, const ZydisDecodedOperand *op,
                                const struct diff_case *c)
{
    uint64_t ea = (uint64_t)op->mem.disp.value;

    if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP)
        ea += c->in.rip + i->insn.length;
    else if (op->mem.base != ZYDIS_REGISTER_NONE)
        ea += c->in.gpr[ZydisRegisterGetId(op->mem.base)];
    if (op->mem.index != ZYDIS_REGISTER_NONE)
        ea += c->in.gpr[ZydisRegisterGetId(op->mem.index)] * op->mem.scale;
    if (i->insn.address_width == 32)
        ea = (uint32_t)ea;
    return ea + (op->mem.segment == ZYDIS_REGISTER_FS   ? c->in.fs_base
                 : op->mem.segment == ZYDIS_REGISTER_GS ? c->in.gs_base
                                                        : 0);
}

/* Where the first instruction writes an image of the floating-point state. */
static uint64_t area_of(const struct judged *i, const struct diff_case *c)
{
    switch (i->insn.mnemonic) {
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
        return c->mode == MODE_64 ? operand_address(i, &i->ops[0], c) : 0;
    default:
        return 0;
    }
}

#define JUMPS_MAX 16

struct walk {
    uint64_t undefined, ever;
    struct {
        unsigned target;
        uint64_t undefined;
    } jumps[JUMPS_MAX]; /* forward ones not yet reached */
    unsigned n_jumps;
    uint8_t starts[CODE_MAX / 8]; /* bit n: an instruction begins at byte n */
    bool backward;                /* a jump back: what is undefined at the end is so at the start too */
    bool reads_undefined;
};

static void walk_insn(struct walk *w, const struct judged *i, unsigned at, const struct diff_regs *in)
{
    uint64_t undefined = judge_undefined(i, in);

    w->starts[at / 8] |= (uint8_t)(1u << at % 8);
    for (unsigned n = 0; n < w->n_jumps; n++)
        if (w->jumps[n].target == at)
            w->undefined |= w->jumps[n].undefined;
    if (judge_tested(i) & w->undefined)
        w->reads_undefined = true;
    w->undefined = (w->undefined & ~judge_written(i)) | undefined;
    w->ever |= undefined;
    if (i->insn.meta.category == ZYDIS_CATEGORY_RET) /* what a forward jump behind the call comes back with */
        for (unsigned n = 0; n < w->n_jumps; n++)
            w->jumps[n].undefined |= w->undefined;
    if (i->insn.raw.imm[0].is_relative) {
        int64_t target = at + i->insn.length + i->insn.raw.imm[0].value.s;

        if (target <= (int64_t)at)
            w->backward |= target >= 0;
        else if (w->n_jumps < JUMPS_MAX) {
            w->jumps[w->n_jumps].target = (unsigned)target;
            w->jumps[w->n_jumps++].undefined = w->undefined;
        }
    }
}

enum verdict judge_case(const struct judge *j, struct diff_case *c, const char **reason)
{
    struct walk w = {0};
    unsigned n_insns = 0;

    *reason = NULL;
    c->own_gprs = 0;
    for (unsigned pass = 0; pass == 0 || (pass == 1 && w.backward); pass++) {
        w.n_jumps = 0;
        for (unsigned at = 0; at < c->length;) {
            struct judged i;

            judge_insn(j, (enum diff_mode)c->mode, c->code + at, c->length - at, &i);
            if (!i.valid && i.verdict == VERDICT_RUN)
                break;
            if (i.verdict == VERDICT_UD) {
                c->expect_ud = n_insns == 0;
                *reason = i.reason;
                return VERDICT_UD;
            }
            if (i.verdict == VERDICT_EXCLUDED) {
                *reason = i.reason;
                return VERDICT_EXCLUDED;
            }
            c->own_gprs |= own_registers(&i);
            if (at == 0)
                c->area = area_of(&i, c);
            walk_insn(&w, &i, at, at == 0 && pass == 0 ? &c->in : NULL);
            at += i.insn.length;
            n_insns++;
        }
    }
    for (unsigned n = 0; n < w.n_jumps; n++) {
        unsigned target = w.jumps[n].target;

        w.undefined |= w.jumps[n].undefined;
        if (n_insns > 1 && target < c->length && !(w.starts[target / 8] >> target % 8 & 1)) {
            *reason = "jumps into the middle of an instruction";
            return VERDICT_EXCLUDED;
        }
    }
    c->undefined_flags = w.undefined;
    c->undefined_flags_fault = w.ever;
    if (n_insns > 1 && c->own_gprs) {
        *reason = "computes with the time or CPUID";
        return VERDICT_EXCLUDED;
    }
    if (w.reads_undefined) {
        *reason = "reads a flag that is undefined there";
        return VERDICT_EXCLUDED;
    }
    return VERDICT_RUN;
}

/* ---- names ---- */

static size_t operand_name(const ZydisDecodedOperand *op, char *out, size_t size)
{
    const char *kind = "r";

    switch (op->type) {
    case ZYDIS_OPERAND_TYPE_MEMORY:
        kind = "m";
        break;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        kind = op->imm.is_relative ? "rel" : "imm";
        break;
    case ZYDIS_OPERAND_TYPE_POINTER:
        return (size_t)snprintf(out, size, "ptr");
    default:
        switch (ZydisRegisterGetClass(op->reg.value)) {
        case ZYDIS_REGCLASS_X87:
            return (size_t)snprintf(out, size, "st");
        case ZYDIS_REGCLASS_MMX:
            return (size_t)snprintf(out, size, "mm");
        case ZYDIS_REGCLASS_XMM:
            return (size_t)snprintf(out, size, "xmm");
        case ZYDIS_REGCLASS_YMM:
            return (size_t)snprintf(out, size, "ymm");
        case ZYDIS_REGCLASS_SEGMENT:
        case ZYDIS_REGCLASS_CONTROL:
        case ZYDIS_REGCLASS_DEBUG:
            return (size_t)snprintf(out, size, "%s", ZydisRegisterGetString(op->reg.value));
        default:
            break;
        }
    }
    return (size_t)snprintf(out, size, "%s%u", kind, op->size);
}

void judge_form(const struct judged *i, enum diff_mode mode, char *name, size_t size)
{
    static const char *const modes[] = {"", "32: ", "16: "};
    char text[160];
    size_t n;

    if (!i->valid) {
        snprintf(name, size, "%s(no instruction)", modes[mode]);
        return;
    }
    n = (size_t)snprintf(text, sizeof(text), "%s%s%s%s", modes[mode],
                         i->insn.attributes & ZYDIS_ATTRIB_HAS_LOCK ? "lock " : "",
                         i->insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE) ? "rep "
                         : i->insn.attributes & ZYDIS_ATTRIB_HAS_REPNE                       ? "repne "
                                                                                             : "",
                         ZydisMnemonicGetString(i->insn.mnemonic));
    for (unsigned k = 0; k < i->insn.operand_count_visible && n < sizeof(text) - 24; k++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, k ? ", " : " ");
        n += operand_name(&i->ops[k], text + n, sizeof(text) - n);
    }
    snprintf(name, size, "%s", text);
}

void judge_disassemble(const struct judge *j, const struct diff_case *c, char *text, size_t size)
{
    unsigned at = 0;
    size_t n = 0;

    text[0] = 0;
    while (at < c->length && n + 128 < size) {
        struct judged i;
        char line[96] = "(no instruction)";

        judge_insn(j, (enum diff_mode)c->mode, c->code + at, c->length - at, &i);
        if (i.valid)
            ZydisFormatterFormatInstruction(&j->formatter, &i.insn, i.ops, i.insn.operand_count_visible, line,
                                            sizeof(line), CODE_BASE + c->offset + at, NULL);
        n += (size_t)snprintf(text + n, size - n, "%s%s", n ? "; " : "", line);
        if (!i.valid)
            break;
        at += i.insn.length;
    }
}

bool judge_branch_or_system(const struct judged *i)
{
    switch (i->insn.meta.category) {
    case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_IOSTRINGOP:
    case ZYDIS_CATEGORY_SEGOP:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_COND_BR:
        return true;
    default:
        return false;
    }
}
