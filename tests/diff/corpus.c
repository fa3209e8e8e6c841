/*
 * Cases as lines of text:
 *
 *     64 48d3e0 off=100 mem=3 rax=1 rcx=21 flags=202 xmm3=... # what was wrong
 *
 * Mode, bytes, then in any order and all in hexadecimal: off (where in the code pages), mem (seed of memory),
 * the general registers, flags, fsbase, gsbase, fcw, fsw, ftw, mxcsr, st0..st7 (20 digits), xmm0..xmm15 (32
 * digits), ymmh0..ymmh15 (upper halves), cs, ss, ds, es, fs, gs, and poke=ADDRESS:BYTES. What is not named
 * has its usual value: 0, a stack pointer in the middle of the stack, masked exceptions.
 */
#include "diff.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const gpr_names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
static const char *const mode_names[MODE_COUNT] = {"64", "32", "16"};

#define FIELD(name, member)                                                                                  \
    {                                                                                                        \
        name, offsetof(struct diff_case, member), sizeof(((struct diff_case *)0)->member)                    \
    }
static const struct {
    const char *name;
    size_t at, size;
} fields[] = {
    FIELD("off", offset),
    FIELD("mem", memory_seed),
    FIELD("flags", in.rflags),
    FIELD("fsbase", in.fs_base),
    FIELD("gsbase", in.gs_base),
    FIELD("cs", in.cs),
    FIELD("ss", in.ss),
    FIELD("ds", in.ds),
    FIELD("es", in.es),
    FIELD("fs", in.fs),
    FIELD("gs", in.gs),
    {"fcw", offsetof(struct diff_case, in.fx[0]), 2},
    {"fsw", offsetof(struct diff_case, in.fx[2]), 2},
    {"ftw", offsetof(struct diff_case, in.fx[4]), 1},
    {"mxcsr", offsetof(struct diff_case, in.fx[24]), 4},
};

static void defaults(struct diff_case *c, enum diff_mode mode)
{
    uint16_t fcw = 0x37f;
    uint32_t mxcsr = 0x1f80;

    memset(c, 0, sizeof(*c));
    c->mode = mode;
    c->offset = 0x100;
    c->in.gpr[4] = STACK_BASE + PAGE;
    c->in.rflags = 0x202;
    c->in.cs = mode == MODE_64 ? 0x33 : mode == MODE_32 ? 0x23 : LDT_CODE16;
    c->in.ss = mode == MODE_16 ? LDT_STACK16 : 0x2b;
    c->in.ds = c->in.es = mode == MODE_64 ? 0 : mode == MODE_32 ? 0x2b : LDT_DATA16;
    if (mode == MODE_16)
        c->in.gpr[4] = PAGE;
    memcpy(c->in.fx, &fcw, 2);
    memcpy(c->in.fx + 24, &mxcsr, 4);
}

static size_t put(char *text, size_t size, size_t n, const char *name, uint64_t value)
{
    return n + (size_t)snprintf(text + n, size - n, " %s=%" PRIx64, name, value);
}

static size_t put_bytes(char *text, size_t size, size_t n, const char *name, unsigned index,
                        const uint8_t *bytes, unsigned length)
{
    static const uint8_t zero[16];

    if (memcmp(bytes, zero, length) == 0)
        return n;
    n += (size_t)snprintf(text + n, size - n, " %s%u=", name, index);
    for (unsigned i = length; i-- > 0;)
        n += (size_t)snprintf(text + n, size - n, "%02x", bytes[i]);
    return n;
}

void corpus_print(const struct diff_case *c, char *text, size_t size)
{
    struct diff_case usual;
    size_t n;

    defaults(&usual, (enum diff_mode)c->mode);
    n = (size_t)snprintf(text, size, "%s ", mode_names[c->mode]);
    for (unsigned i = 0; i < c->length; i++)
        n += (size_t)snprintf(text + n, size - n, "%02x", c->code[i]);
    for (unsigned f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
        uint64_t value = 0;

        memcpy(&value, (const char *)c + fields[f].at, fields[f].size);
        if (memcmp((const char *)c + fields[f].at, (const char *)&usual + fields[f].at, fields[f].size) != 0)
            n = put(text, size, n, fields[f].name, value);
    }
    for (unsigned i = 0; i < 16; i++)
        if (c->in.gpr[i] != usual.in.gpr[i])
            n = put(text, size, n, gpr_names[i], c->in.gpr[i]);
    if (c->poke_length) {
        n += (size_t)snprintf(text + n, size - n, " poke=%x:", c->poke_at);
        for (unsigned i = 0; i < c->poke_length; i++)
            n += (size_t)snprintf(text + n, size - n, "%02x", c->poke[i]);
    }
    for (unsigned i = 0; i < 8; i++)
        n = put_bytes(text, size, n, "st", i, c->in.fx + 32 + 16 * i, 10);
    for (unsigned i = 0; i < 16; i++)
        n = put_bytes(text, size, n, "xmm", i, c->in.fx + 160 + 16 * i, 16);
    for (unsigned i = 0; i < 16; i++)
        n = put_bytes(text, size, n, "ymmh", i, c->in.ymm_high[i], 16);
}

/* Hex digits, most significant first, into little-endian bytes. */
static bool parse_bytes(const char *hex, uint8_t *bytes, unsigned length)
{
    if (strlen(hex) != 2 * (size_t)length)
        return false;
    for (unsigned i = 0; i < length; i++) {
        unsigned value;

        if (sscanf(hex + 2 * i, "%2x", &value) != 1)
            return false;
        bytes[length - 1 - i] = (uint8_t)value;
    }
    return true;
}

static bool parse_poke(struct diff_case *c, const char *text)
{
    int used = 0;

    if (sscanf(text, "%x:%n", &c->poke_at, &used) != 1 || !used)
        return false;
    for (text += used; *text; text += 2) {
        unsigned value;

        if (c->poke_length == sizeof(c->poke) || sscanf(text, "%2x", &value) != 1)
            return false;
        c->poke[c->poke_length++] = (uint8_t)value;
    }
    return true;
}

static bool parse_field(struct diff_case *c, char *word)
{
    char *equals = strchr(word, '=');
    uint64_t value;
    unsigned index;
    int used = 0;

    if (!equals)
        return false;
    *equals = 0;
    if (sscanf(word, "xmm%u%n", &index, &used) == 1 && !word[used] && index < 16)
        return parse_bytes(equals + 1, c->in.fx + 160 + 16 * index, 16);
    if (sscanf(word, "ymmh%u%n", &index, &used) == 1 && !word[used] && index < 16)
        return parse_bytes(equals + 1, c->in.ymm_high[index], 16);
    if (sscanf(word, "st%u%n", &index, &used) == 1 && !word[used] && index < 8)
        return parse_bytes(equals + 1, c->in.fx + 32 + 16 * index, 10);
    if (strcmp(word, "poke") == 0)
        return parse_poke(c, equals + 1);
    value = strtoull(equals + 1, NULL, 16);
    for (unsigned i = 0; i < 16; i++)
        if (strcmp(word, gpr_names[i]) == 0) {
            c->in.gpr[i] = value;
            return true;
        }
    for (unsigned f = 0; f < sizeof(fields) / sizeof(fields[0]); f++)
        if (strcmp(word, fields[f].name) == 0) {
            memcpy((char *)c + fields[f].at, &value, fields[f].size);
            return true;
        }
    return false;
}

static bool parse_code(struct diff_case *c, const char *hex)
{
    size_t n = strlen(hex) / 2;

    if (n == 0 || n > CODE_MAX || strlen(hex) % 2)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned value;

        if (sscanf(hex + 2 * i, "%2x", &value) != 1)
            return false;
        c->code[i] = (uint8_t)value;
    }
    c->length = (uint32_t)n;
    return true;
}

bool corpus_parse(const struct judge *j, const char *line, struct diff_case *c, const char **why)
{
    char copy[4096], *save = NULL, *word;
    unsigned mode = 0;

    *why = NULL;
    snprintf(copy, sizeof(copy), "%s", line);
    copy[strcspn(copy, "#\r\n")] = 0;
    word = strtok_r(copy, " \t", &save);
    if (!word)
        return false; /* an empty line */
    while (mode < MODE_COUNT && strcmp(word, mode_names[mode]) != 0)
        mode++;
    *why = "begins with 64, 32 or 16";
    if (mode == MODE_COUNT)
        return false;
    defaults(c, (enum diff_mode)mode);
    word = strtok_r(NULL, " \t", &save);
    *why = "second is the code in hexadecimal";
    if (!word || !parse_code(c, word))
        return false;
    *why = "then come name=value pairs";
    while ((word = strtok_r(NULL, " \t", &save)))
        if (!parse_field(c, word))
            return false;
    *why = "off must be inside the code pages";
    if (c->offset >= 2 * PAGE)
        return false;
    c->in.rip = diff_start_rip(c);
    generate_finish(j, c);
    *why = NULL;
    return true;
}
