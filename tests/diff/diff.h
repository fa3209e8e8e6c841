/*
 * The differential test: the same few bytes run on the host's CPU and on the software CPU, from the same
 * registers, flags, FXSAVE image, upper halves of YMM registers and memory, and must leave the same behind.
 *
 *   generate.c  makes cases of one instruction: every encoding, random ones
 *   registers.c, aim.c  what they start from
 *   sequence.c  makes sequences of them
 *   judge.c     asks libzydis what the bytes are: to be run, to raise #UD, or left out under a name
 *   native.c    runs cases on the host's CPU, in a child process
 *   soft.c      runs them on the software CPU, in long mode with paging on
 *   compare.c   says where two outcomes differ, undefined flags left out
 *   report.c    counts by form of instruction and prints
 *   memory.c    what memory holds at the start
 *   corpus.c    reads cases from files: the bugs that were found
 *   main.c      options, and the order of things
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <Zydis/Zydis.h>

#include "vmcore/cpu.h"

/* Where code, data and stack live, in both worlds; below 2 GiB so that 32-bit code reaches them too. All
 * around is unmapped. */
#define CODE_BASE  0x10000000u
#define DATA_BASE  0x20000000u
#define RO_BASE    0x20004000u
#define STACK_BASE 0x30000000u

enum { AREA_CODE, AREA_DATA, AREA_RO, AREA_STACK, AREA_COUNT };

struct area {
    uint32_t base, pages, first; /* first: page index in a memory image */
    bool write, exec;
};
extern const struct area diff_areas[AREA_COUNT];

#define PAGE        4096u
#define IMAGE_PAGES 7u
#define IMAGE_SIZE  (IMAGE_PAGES * PAGE)

enum diff_mode { MODE_64, MODE_32, MODE_16, MODE_COUNT };

/* Local descriptors for 16- and 32-bit code: 16-bit segments, small ones, expand-down ones, read-only and
 * absent ones. Both worlds have the same. */
struct descriptor {
    uint32_t base, limit;
    uint8_t contents; /* 0 data, 1 expand-down data, 2 code */
    bool wide, read_only, pages, absent;
};
#define LDT_COUNT   9
#define LDT_SEL(n)  ((uint16_t)((n)*8 + 7))
#define LDT_CODE16  LDT_SEL(0)
#define LDT_STACK16 LDT_SEL(1)
#define LDT_DATA16  LDT_SEL(2)
extern const struct descriptor diff_ldt[LDT_COUNT];

/* Registers as FXSAVE and the exception frame show them. */
struct diff_regs {
    uint8_t fx[512] __attribute__((aligned(16)));
    uint8_t ymm_high[16][16]; /* zeros where a CPU has none */
    uint64_t gpr[16];         /* in encoding order: RAX RCX RDX RBX RSP ... */
    uint64_t rip, rflags, fs_base, gs_base;
    uint16_t cs, ss, ds, es, fs, gs;
};

#define CODE_MAX 192
#define POKE_MAX 832 /* an XSAVE area */

struct diff_case {
    struct diff_regs in;
    uint64_t memory_seed;    /* what data, read-only and stack pages hold */
    uint64_t seed;           /* that made the registers, for the report */
    uint32_t mode;           /* enum diff_mode */
    uint32_t length, offset; /* of the code, and where in the code pages it starts */
    uint8_t code[CODE_MAX];
    /* What the native side gets where a prefix means something else to a CPU with more extensions; equal to
     * `code` otherwise. */
    uint8_t native_code[CODE_MAX];
    /* Bytes put into memory after it was filled, at a linear address; outside the areas they go nowhere. */
    uint32_t poke_at, poke_length;
    uint8_t poke[POKE_MAX];
    uint64_t undefined_flags;       /* left out of the comparison when the code ran to its end */
    uint64_t undefined_flags_fault; /* and when it did not */
    uint64_t area;                  /* linear address of what FXSAVE or XSAVE writes, or 0 */
    uint32_t own_gprs;              /* bit n: only the upper half of general register n is compared */
    bool expect_ud;                 /* not advertised: #UD, whatever the host thinks of it */
};

/* Vectors beyond the architecture's. */
#define VECTOR_SYSCALL 0x100 /* the snippet entered the kernel */
#define VECTOR_TIMEOUT 0x101
#define VECTOR_CRASH   0x102 /* the native child died, or the software CPU gave up */

struct diff_outcome {
    struct diff_regs out;
    uint32_t vector;
    uint32_t error;
    uint64_t cr2;
    uint8_t image[IMAGE_SIZE];
};

/* ---- memory.c ---- */
/* Fills an image: code pages with INT3 and the snippet, the others from the seed. Remembers the last one
 * made. */
void diff_image(const struct diff_case *c, bool native, uint8_t image[IMAGE_SIZE]);
uint64_t diff_random(uint64_t *state);
/* Where a segment begins; 0 for those of the GDT. */
uint32_t diff_segment_base(uint16_t selector);
/* RIP of the first instruction, as an offset in CS. */
uint64_t diff_start_rip(const struct diff_case *c);

/* ---- native.c ---- */
struct native;
/* Starts the child. NULL and a sentence in *why if the host cannot do it. */
struct native *native_new(const char **why);
void native_free(struct native *n);
/* Runs n_cases (at most NATIVE_BATCH) and fills outcomes. */
#define NATIVE_BATCH 128
void native_run(struct native *n, const struct diff_case *cases, struct diff_outcome *outcomes,
                unsigned n_cases);
/* The host's kernel is a guest without segments of its own (paravirtual): no 16- and 32-bit code, and what a
 * selector or a software interrupt means is its hypervisor's business. */
bool native_is_flat(void);
/* Limit of the segment that holds the CPU number, as LSL shows it to user code; both worlds must have it. */
uint32_t native_cpu_limit(const struct native *n);
/* The host's CPU and kernel have AVX. */
bool native_has_avx(void);

/* ---- soft.c ---- */
struct soft;
/* `avx`: with all the host has, and AVX enabled; else x86-64-v2. */
struct soft *soft_new(uint32_t cpu_limit, bool avx, VmcCpuEngine engine, bool lockstep);
void soft_free(struct soft *s);
/* Instructions that became host code so far. */
uint64_t soft_translated(const struct soft *s);
void soft_run(struct soft *s, const struct diff_case *c, struct diff_outcome *outcome);

/* ---- judge.c ---- */
enum verdict { VERDICT_RUN, VERDICT_UD, VERDICT_EXCLUDED };

struct judge {
    ZydisDecoder decoder[MODE_COUNT];
    ZydisFormatter formatter;
    bool advertised[ZYDIS_ISA_SET_MAX_VALUE + 1];
    bool host[ZYDIS_ISA_SET_MAX_VALUE + 1];
    uint32_t cpuid[4][4]; /* what ours shows in leaves 1, 7, D.1 and 80000001 */
    bool host_amd;
    bool host_flat; /* native_is_flat */
};

struct judged {
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    bool valid; /* libzydis takes it for an instruction */
    enum verdict verdict;
    const char *reason; /* why excluded, or why #UD */
};

void judge_init(struct judge *j);
/* Decodes and judges one instruction. */
void judge_insn(const struct judge *j, enum diff_mode mode, const uint8_t *bytes, unsigned length,
                struct judged *result);
/* One that leaves the sequence it stands in, or is about the machine. */
bool judge_branch_or_system(const struct judged *i);
/* RFLAGS bits left undefined by it and bits it reads; registers needed for shift counts may be NULL. */
uint64_t judge_undefined(const struct judged *i, const struct diff_regs *in);
uint64_t judge_tested(const struct judged *i);
uint64_t judge_written(const struct judged *i);
/* A name for the form of an instruction, like "add r32, m32". */
void judge_form(const struct judged *i, enum diff_mode mode, char *name, size_t size);
/* Judges a whole case: sets its undefined flags and expect_ud. VERDICT_EXCLUDED with *reason if any
 * instruction of it is, or if one reads a flag that another left undefined. */
enum verdict judge_case(const struct judge *j, struct diff_case *c, const char **reason);
void judge_disassemble(const struct judge *j, const struct diff_case *c, char *text, size_t size);
/* Leaves of CPUID as the software CPU answers them. */
void judge_set_advertised(struct judge *j, const uint32_t leaf1[4], const uint32_t leaf7[4],
                          const uint32_t leafd1[4], const uint32_t ext1[4]);

/* CPUID advertises nothing untested: how many of its bits are neither known as no instruction's nor, by
 * instruction set, have been run (`run` counts cases by ZydisISASet); `text` gets their names. */
unsigned judge_untested(const struct judge *j, const unsigned long *run, char *text, size_t size);

/* ---- registers.c, aim.c, generate.c ---- */
#define RND(g)          diff_random(&(g)->random)
#define CHANCE(g, perc) (RND(g) % 100 < (perc))
#define PICK(g, array)  ((array)[RND(g) % (sizeof(array) / sizeof((array)[0]))])

struct generator {
    const struct judge *judge;
    uint64_t random;
};

/* Random registers, flags and vector state, mostly harmless. */
void generate_registers(struct generator *g, struct diff_case *c);
/* An FXSAVE image of any contents that can be loaded. */
void generate_fx(struct generator *g, uint8_t fx[512]);
/* Points the memory operands of one instruction somewhere interesting by setting their base registers. */
void generate_aim(struct generator *g, struct diff_case *c, const struct judged *i);
/* The n-th of the enumerated encodings in c->code; returns false past the last. */
bool generate_enumerated(struct generator *g, enum diff_mode mode, unsigned long n, struct diff_case *c);
unsigned long generate_enumerated_count(void);
void generate_random(struct generator *g, enum diff_mode mode, struct diff_case *c);
/* A case with nothing but registers. */
void generate_start(struct generator *g, enum diff_mode mode, struct diff_case *c);

/* The last touches once c->code and c->length stand: cut at the end of the pages, what the host gets instead.
 */
void generate_finish(const struct judge *j, struct diff_case *c);
/* Random prefixes, opcode and noise behind; returns where the ModRM byte is, if there is one. */
unsigned generate_bytes(struct generator *g, enum diff_mode mode, uint8_t *code);
unsigned generate_vex_bytes(struct generator *g, enum diff_mode mode, uint8_t *code);
void generate_branch(struct generator *g, struct diff_case *c, unsigned at, const struct judged *i);

/* ---- sequence.c ---- */
void generate_sequence(struct generator *g, enum diff_mode mode, struct diff_case *c);
/* Whether it writes one of these general registers (bit n), but for the stack pointer by the way. */
bool sequence_writes(const struct judged *i, unsigned mask);

/* ---- compare.c ---- */
/* Writes the differences, one a line, into `text`; returns how many there are. */
unsigned compare_outcomes(const struct diff_case *c, const struct diff_outcome *native,
                          const struct diff_outcome *soft, char *text, size_t size);

/* If two outcomes differ: a known difference between the host's make of CPU and ours, by name, or NULL. */
const char *compare_known(const struct judge *j, const struct diff_case *c, const struct diff_outcome *native,
                          const struct diff_outcome *soft);

/* ---- corpus.c ---- */
/* A line that brings the case back: mode, bytes, seeds and every register that matters. */
void corpus_print(const struct diff_case *c, char *text, size_t size);
/* Parses one; false and *why if it cannot be. */
bool corpus_parse(const struct judge *j, const char *line, struct diff_case *c, const char **why);

/* ---- report.c ---- */
struct report;
struct report *report_new(void);
void report_free(struct report *r);
/* Counts one case under the form of its first instruction. `reason`: excluded. */
void report_count(struct report *r, const char *form, bool passed, const char *reason);
void report_print(const struct report *r, bool all_forms);
unsigned long report_failures(const struct report *r);
/* How often this form has failed so far, for printing only the first few. */
unsigned long report_failures_of(const struct report *r, const char *form);
