/*
 * Where two outcomes differ. Left out: flags the instructions leave undefined, the x87's last-instruction
 * pointers (an AMD CPU saves them only with an exception pending, and not in every generation), RF (a CPU may
 * or may not set it in the frame of a trap), the upper half of registers after 32-bit code.
 */
#include "diff.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FLAGS_COMPARED 0x244dd5ull /* arithmetic, TF, DF, NT, AC, ID */

struct out {
    char *text;
    size_t size, used;
    unsigned count;
};

__attribute__((format(printf, 2, 3))) static void say(struct out *o, const char *format, ...)
{
    va_list args;
    int n;

    o->count++;
    va_start(args, format);
    n = vsnprintf(o->text + o->used, o->size - o->used, format, args);
    va_end(args);
    if (n > 0)
        o->used = o->used + (size_t)n < o->size ? o->used + (size_t)n : o->size - 1;
}

static void number(struct out *o, const char *name, uint64_t in, uint64_t native, uint64_t soft)
{
    if (native != soft)
        say(o, "    %-8s in %016" PRIx64 "  native %016" PRIx64 "  soft %016" PRIx64 "\n", name, in, native,
            soft);
}

/* The host's kernel returns to the oracle's handler with IRET, which makes selectors 1 to 3 zero. */
static void selector(struct out *o, const char *name, uint16_t in, uint16_t native, uint16_t soft)
{
    number(o, name, in, native < 4 ? 0 : native, soft < 4 ? 0 : soft);
}

static void bytes(struct out *o, const char *name, unsigned index, const uint8_t *in, const uint8_t *native,
                  const uint8_t *soft, unsigned n)
{
    char hex[3][40];

    if (memcmp(native, soft, n) == 0)
        return;
    for (unsigned i = 0; i < n; i++) {
        sprintf(hex[0] + 2 * i, "%02x", in[n - 1 - i]);
        sprintf(hex[1] + 2 * i, "%02x", native[n - 1 - i]);
        sprintf(hex[2] + 2 * i, "%02x", soft[n - 1 - i]);
    }
    say(o, "    %s%-5u in %s  native %s  soft %s\n", name, index, hex[0], hex[1], hex[2]);
}

static void compare_fx(struct out *o, const struct diff_case *c, const struct diff_regs *native,
                       const struct diff_regs *soft)
{
    static const struct {
        const char *name;
        uint8_t at, size;
    } words[] = {{"fcw", 0, 2}, {"fsw", 2, 2}, {"ftw", 4, 1}, {"mxcsr", 24, 4}};
    unsigned n_xmm = c->mode == MODE_64 ? 16 : 8;

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        uint32_t v[3] = {0};

        memcpy(&v[0], c->in.fx + words[i].at, words[i].size);
        memcpy(&v[1], native->fx + words[i].at, words[i].size);
        memcpy(&v[2], soft->fx + words[i].at, words[i].size);
        number(o, words[i].name, v[0], v[1], v[2]);
    }
    for (unsigned i = 0; i < 8; i++)
        bytes(o, "st", i, c->in.fx + 32 + 16 * i, native->fx + 32 + 16 * i, soft->fx + 32 + 16 * i, 10);
    for (unsigned i = 0; i < n_xmm; i++)
        bytes(o, "xmm", i, c->in.fx + 160 + 16 * i, native->fx + 160 + 16 * i, soft->fx + 160 + 16 * i, 16);
    for (unsigned i = 0; i < n_xmm; i++)
        bytes(o, "ymmh", i, c->in.ymm_high[i], native->ymm_high[i], soft->ymm_high[i], 16);
}

/* In an image of the floating-point state: opcode and addresses of the last x87 instruction, which an AMD CPU
 * saves with an exception pending only, and MXCSR_MASK, which shows AMD's bit for misaligned SSE. */
static bool own_of_area(const struct diff_case *c, uint64_t address)
{
    uint64_t at = address - c->area;

    return c->area && ((at >= 6 && at < 24) || (at >= 28 && at < 32));
}

static void compare_memory(struct out *o, const struct diff_case *c, const struct diff_outcome *native,
                           const struct diff_outcome *soft)
{
    unsigned shown = 0;

    if (memcmp(native->image, soft->image, IMAGE_SIZE) == 0)
        return;
    for (unsigned a = 0; a < AREA_COUNT; a++)
        for (unsigned i = 0; i < diff_areas[a].pages * PAGE; i++) {
            unsigned at = diff_areas[a].first * PAGE + i;

            if (native->image[at] == soft->image[at])
                continue;
            if (a == AREA_CODE && at - c->offset < c->length &&
                native->image[at] == c->native_code[at - c->offset] &&
                soft->image[at] == c->code[at - c->offset])
                continue; /* given differently and left alone by both */
            if (own_of_area(c, diff_areas[a].base + i))
                continue;
            if (shown++ < 24)
                say(o, "    memory %08x  native %02x  soft %02x\n", diff_areas[a].base + i, native->image[at],
                    soft->image[at]);
        }
}

static void compare_fault(struct out *o, const struct diff_outcome *native, const struct diff_outcome *soft)
{
    uint32_t error = native->error;

    if (native->vector != soft->vector) {
        say(o, "    vector   native %u error %x cr2 %" PRIx64 "  soft %u error %x cr2 %" PRIx64 "\n",
            native->vector, native->error, native->cr2, soft->vector, soft->error, soft->cr2);
        return;
    }
    if (native->vector == 14) {
        number(o, "cr2", 0, native->cr2, soft->cr2);
        /* The host's kernel says "present" of every address of its own. */
        if (native->cr2 >= 0x7ffffffff000ull && !(soft->error & 1))
            error &= ~1u;
    }
    if (native->vector >= 8 && native->vector <= 17 && native->vector != 16)
        number(o, "error", 0, error, soft->error);
}

/* Bits that are each CPU's own. */
static uint64_t own(const struct diff_case *c, unsigned gpr)
{
    return c->own_gprs >> gpr & 1 ? 0xffffffffull : 0;
}

/* Whether 64-bit code went on in other code: what then stands in the upper halves of registers is undefined,
 * and depends on what a processor did there before it stopped. */
static bool left_64(const struct diff_outcome *native, const struct diff_outcome *soft)
{
    return native->out.cs == soft->out.cs && native->out.cs != 0x33;
}

unsigned compare_outcomes(const struct diff_case *c, const struct diff_outcome *native,
                          const struct diff_outcome *soft, char *text, size_t size)
{
    static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    struct out o = {text, size, 0, 0};
    uint64_t width = c->mode == MODE_64 && !left_64(native, soft) ? ~0ull : 0xffffffffull;
    uint64_t undefined = native->vector == 3 ? c->undefined_flags : c->undefined_flags_fault;
    uint64_t flags = FLAGS_COMPARED & ~undefined;

    text[0] = 0;
    if (native->vector == VECTOR_TIMEOUT && soft->vector == VECTOR_TIMEOUT)
        return 0;
    if (c->expect_ud) {
        if (soft->vector != 6)
            say(&o, "    not advertised, must raise #UD; soft vector %u error %x rip %" PRIx64 "\n",
                soft->vector, soft->error, soft->out.rip);
        return o.count;
    }
    compare_fault(&o, native, soft);
    number(&o, "rip", c->in.rip, native->out.rip, soft->out.rip);
    number(&o, "rflags", c->in.rflags & flags, native->out.rflags & flags, soft->out.rflags & flags);
    for (unsigned i = 0; i < (c->mode == MODE_64 ? 16u : 8u); i++)
        number(&o, names[i], c->in.gpr[i] & width, native->out.gpr[i] & width & ~own(c, i),
               soft->out.gpr[i] & width & ~own(c, i));
    number(&o, "cs", c->in.cs, native->out.cs, soft->out.cs);
    number(&o, "ss", c->in.ss, native->out.ss, soft->out.ss);
    selector(&o, "ds", c->in.ds, native->out.ds, soft->out.ds);
    selector(&o, "es", c->in.es, native->out.es, soft->out.es);
    selector(&o, "fs", c->in.fs, native->out.fs, soft->out.fs);
    selector(&o, "gs", c->in.gs, native->out.gs, soft->out.gs);
    if (c->mode == MODE_64) {
        number(&o, "fsbase", c->in.fs_base, native->out.fs_base, soft->out.fs_base);
        number(&o, "gsbase", c->in.gs_base, native->out.gs_base, soft->out.gs_base);
    }
    compare_fx(&o, c, &native->out, &soft->out);
    compare_memory(&o, c, native, soft);
    return o.count;
}

static bool faults(const struct diff_outcome *o)
{
    return (o->vector >= 12 && o->vector <= 14) || o->vector == 17;
}

/* Of bytes that are no instruction. */
static const char *known_invalid(const struct diff_case *c, const struct diff_outcome *native,
                                 const struct diff_outcome *soft)
{
    unsigned at = 0;
    bool lock = false;

    if (c->offset + c->length >= 2 * PAGE &&
        (native->vector == 14 || native->vector == 13 || soft->vector == 14 || soft->vector == 13))
        return "what is no instruction, at the end of a page or segment: how far it is read";
    while (at + 2 < c->length && c->code[at] != 0x0f)
        lock |= c->code[at++] == 0xf0;
    if (lock && soft->vector == 6 && (c->code[at + 1] == 0 || (c->code[at + 1] & 0xfd) == 0x20))
        return "LOCK where it may not be: whether that or the privilege is looked at first";
    if (soft->vector == 6 && c->code[at + 1] == 1 && (c->code[at + 2] == 0xc1 || c->code[at + 2] == 0xd9))
        return "the host's hypervisor answers VMCALL";
    return NULL;
}

/* The software CPU computes with exceptions masked, and a masked overflow is always inexact, as is an
 * underflow that is flushed to zero to be noticed. */
static bool only_overflow_precision(const struct diff_outcome *native, const struct diff_outcome *soft)
{
    uint32_t mxcsr[2];

    memcpy(&mxcsr[0], native->out.fx + 24, 4);
    memcpy(&mxcsr[1], soft->out.fx + 24, 4);
    return native->vector == 19 && soft->vector == 19 && (mxcsr[0] ^ mxcsr[1]) == 0x20 && mxcsr[0] & 0x18;
}

/* A hypervisor that runs the host's kernel without the processor's help answers CPUID and goes on behind it,
 * without the trap that TF asks for. */
static bool cpuid_stepped(const struct diff_case *c, const struct diff_outcome *native,
                          const struct diff_outcome *soft)
{
    uint64_t end = soft->out.rip - c->in.rip;

    return soft->vector == 1 && native->vector != 1 && end >= 2 && end <= c->length &&
           c->code[end - 2] == 0x0f && c->code[end - 1] == 0xa2;
}

static bool sha_at(const struct judge *j, const struct diff_case *c, uint64_t rip)
{
    uint64_t at = rip - c->in.rip;
    struct judged i;

    if (at >= c->length)
        return false;
    judge_insn(j, (enum diff_mode)c->mode, c->code + at, c->length - (unsigned)at, &i);
    return i.valid && i.insn.meta.isa_set == ZYDIS_ISA_SET_SHA;
}

static bool loops(const struct judge *j, const struct diff_case *c)
{
    struct judged i;

    for (unsigned at = 0; at < c->length; at += i.insn.length) {
        judge_insn(j, (enum diff_mode)c->mode, c->code + at, c->length - at, &i);
        if (!i.valid)
            return false;
        if (i.insn.raw.imm[0].is_relative && i.insn.raw.imm[0].value.s < 0)
            return true;
    }
    return false;
}

/* On a host that is no AMD: what the tables here, written on one, cannot know. Results are still compared in
 * full. */
static const char *known_elsewhere(const struct diff_case *c, const struct judged *i,
                                   const struct diff_outcome *native, const struct diff_outcome *soft)
{
    bool masked =
        i->insn.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ || i->insn.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU;

    if (faults(native) && faults(soft))
        return "two things wrong with one instruction: which is reported";
    if (c->in.rflags & 0x40000 && (native->vector == 17 || soft->vector == 17))
        return "alignment checks of what is wider than a register";
    if (masked && (faults(native) || faults(soft)))
        return "a masked store that writes nothing: whether it may fault";
    if (i->insn.meta.category == ZYDIS_CATEGORY_IOSTRINGOP && soft->vector == 13)
        return "REP INS and OUTS of nothing: whether permission is asked";
    return NULL;
}

const char *compare_known(const struct judge *j, const struct diff_case *c, const struct diff_outcome *native,
                          const struct diff_outcome *soft)
{
    struct judged i;
    unsigned at = 0;

    if (only_overflow_precision(native, soft))
        return "an unmasked SSE overflow or underflow: whether PE is set beside it";
    if (native->vector == 1 && soft->vector == 1 && soft->out.rip == native->out.rip + 1)
        return "INT1 jumped to: the host's hypervisor gives it back as a fault";
    if (j->host_flat && cpuid_stepped(c, native, soft))
        return "CPUID in single steps: the host's hypervisor goes on behind it";
    if (soft->vector == VECTOR_TIMEOUT && native->vector != VECTOR_TIMEOUT && loops(j, c))
        return "a loop too long for the software CPU's time limit";
    if ((native->vector == soft->vector || (faults(native) && faults(soft))) && native->vector != 3 &&
        native->out.rip == soft->out.rip) /* in a sequence: the one that faulted */
        at =
            (unsigned)(native->out.rip - c->in.rip) < c->length ? (unsigned)(native->out.rip - c->in.rip) : 0;
    judge_insn(j, (enum diff_mode)c->mode, c->code + at, c->length - at, &i);
    if (!i.valid)
        return known_invalid(c, native, soft);
    if (!j->host_amd)
        return known_elsewhere(c, &i, native, soft);
    if (soft->vector == 13 && sha_at(j, c, soft->out.rip))
        return "AMD lets the memory operand of SHA be misaligned";
    if (native->vector == 13 && soft->vector == 14 && c->mode == MODE_64 &&
        i.insn.attributes & (ZYDIS_ATTRIB_HAS_SEGMENT_FS | ZYDIS_ATTRIB_HAS_SEGMENT_GS))
        return "AMD faults on a non-canonical offset even if FS or GS base make it canonical";
    if ((i.insn.mnemonic == ZYDIS_MNEMONIC_DPPS || i.insn.mnemonic == ZYDIS_MNEMONIC_DPPD ||
         i.insn.mnemonic == ZYDIS_MNEMONIC_VDPPS || i.insn.mnemonic == ZYDIS_MNEMONIC_VDPPD) &&
        native->vector == 19 && soft->vector == 19)
        return "DPPS stopped by an unmasked exception: how far its multiplications and additions had come";
    if (native->vector == 14 && i.insn.mnemonic == ZYDIS_MNEMONIC_CALL && soft->out.cs == 0x33 &&
        c->mode != MODE_64)
        return "a far call into 64-bit code: AMD pushes without the base of SS";
    if (c->mode == MODE_16 && i.insn.mnemonic == ZYDIS_MNEMONIC_RET && native->out.cs == 0x33 &&
        soft->out.cs == 0x33)
        return "a far return from 16-bit into 64-bit code: AMD adds the immediate to all of RSP";
    if (!faults(native) || !faults(soft))
        return NULL;
    if (i.ops[0].type == ZYDIS_OPERAND_TYPE_MEMORY && i.ops[0].size >= 80 && i.ops[0].size != 128)
        return "a long operand partly out of bounds: which part is reported";
    switch (i.insn.mnemonic) {
    case ZYDIS_MNEMONIC_RET:
        if (i.insn.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR)
            return NULL;
        return "a far return that faults twice: AMD reads CS first, and the outer stack pointer before it "
               "looks at CS";
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
        return "an IRET that faults twice: AMD reads flags and outer stack pointer before it looks at CS";
    case ZYDIS_MNEMONIC_BOUND:
    case ZYDIS_MNEMONIC_LDS:
    case ZYDIS_MNEMONIC_LES:
    case ZYDIS_MNEMONIC_LSS:
    case ZYDIS_MNEMONIC_LFS:
    case ZYDIS_MNEMONIC_LGS:
    case ZYDIS_MNEMONIC_JMP:
    case ZYDIS_MNEMONIC_CALL:
        return i.ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER ||
                       i.insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR
                   ? "a pair or far pointer partly out of bounds: AMD checks its halves one after the other"
                   : NULL;
    case ZYDIS_MNEMONIC_POPA:
    case ZYDIS_MNEMONIC_POPAD:
        return "a POPA that faults halfway: AMD has loaded some registers by then";
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ:
        return "CMPS with both operands at fault: which is reported first";
    default:
        return NULL;
    }
}
