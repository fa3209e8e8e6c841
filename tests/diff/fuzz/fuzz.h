/*
 * fuzzcpu: the software CPU's engines against each other, on random programs in a small guest.
 *
 * A session is a guest of its own that runs a few dozen programs, each made from a seed. Its memory and what
 * the engines keep in their caches go on from one program to the next. Four CPUs run each program, each in a
 * machine of its own that began the same:
 *
 *   step        the interpreter, instruction by instruction. It runs first, on trial: what would not be the
 *               same on all (the time, flags that are undefined) or would end the guest is taken out of the
 *               program, and which flags are undefined where is noted for the others.
 *   blocks      the interpreter as it works alone
 *   translator  as it works alone
 *   lockstep    the translator, every block checked by the interpreter
 *
 * All must see the same exceptions in the same order with the same registers, reach the same devices with the
 * same values, and leave the same registers and memory.
 *
 *   machine.c  the guest's memory, page tables and kernel, and running a CPU in it
 *   kernel.c   what happens behind the guest kernel's port: exceptions resolved, page tables changed, ...
 *   program.c  makes programs
 *   trial.c    the first run, and taking out of a program what cannot be compared
 *   main.c     options, sessions, comparing
 */
#pragma once

#include "tests/diff/diff.h"

#include <glib.h>

#include "base/bus.h"
#include "base/memory.h"
#include "cpu/cpu.h"
#include "cpu/soft/state.h"

/* ---- the guest's memory ---- */

#define AREA_PA    0x200000u /* what programs live in: code pages, then data pages */
#define CODE_PAGES 16u
#define DATA_PAGES 16u
#define AREA_SIZE  ((CODE_PAGES + DATA_PAGES) * PAGE)
#define DATA_PA    (AREA_PA + CODE_PAGES * PAGE)
#define RAM_SIZE   (AREA_PA + AREA_SIZE) /* nothing answers where large pages go on */
#define ROM_PA     0x800000u
#define MMIO_PA    0x900000u

/* Windows of 4 KiB pages on them, user's and supervisor's; large pages on all; pages to leave by; the last
 * page before addresses are no longer canonical. */
#define UCODE    0x10000000ull
#define UDATA    0x20020000ull
#define ULARGE   0x40000000ull
#define UEXIT    0x30000000ull
#define UEDGE    0x7ffffffff000ull
#define TO_SUPER 0xffff800000000000ull /* from a user window to the supervisor's */
#define WINDOW   24u                   /* pages */

#define STACK_TOP (UDATA + 19 * PAGE)

#define PTE_P  1ull
#define PTE_W  2ull
#define PTE_U  4ull
#define PTE_A  0x20ull
#define PTE_D  0x40ull
#define PTE_G  0x100ull
#define PTE_NX (1ull << 63)

/* ---- what a program leaves behind ---- */

/* As the guest's kernel pushes them. */
struct frame {
    uint64_t cr2, gpr[16], vector, error, rip, cs, rflags, rsp, ss;
};

#define EVENTS_MAX 100

/* XSAVE's area: the FXSAVE image, a header, the upper halves of YMM registers. */
#define FX_SIZE   832
#define FX_HEADER 512
#define FX_YMM    576

struct outcome {
    unsigned n_events;
    struct frame events[EVENTS_MAX + 1]; /* exceptions and calls of the kernel; the last is the end */
    uint8_t fx[FX_SIZE];
    uint64_t fs_base, gs_base;
    uint64_t device; /* hash of what devices saw */
    unsigned accesses;
    VmcCpuExit exit; /* KICKED: it ended */
    bool ended;
    char *error; /* of an exit with one */
};

/* ---- program.c ---- */

/* What a session knows of the code that is in memory. */
struct labels {
    uint32_t at[256]; /* offsets from the window's start */
    unsigned n;
};

struct program {
    uint64_t seed;
    struct frame start;
    uint8_t fx[FX_SIZE] __attribute__((aligned(16)));
    uint64_t fs_base, gs_base, cr0, cr4;
    const struct labels *labels;
    uint8_t area[AREA_SIZE]; /* memory as it is at its start */
    /* By the trial: flags that are undefined at each event, not to be shown to anybody. */
    uint64_t undefined[EVENTS_MAX + 1];
    unsigned steps;
};

/* Makes p->start and so on from p->seed, and changes p->area and the labels. */
void program_make(const struct judge *judge, struct program *p, struct labels *labels);

/* ---- kernel.c ---- */

#define KERNEL      0xffff900000000000ull
#define PHYS_TABLES 0x1000u
#define PHYS_GDT    0x20000u
#define PHYS_IDT    0x21000u
#define PHYS_TSS    0x22000u
#define PHYS_STUBS  0x23000u /* two pages */
#define PHYS_SHARED 0x25000u
#define PHYS_STACKS 0x26000u /* of exceptions, interrupts, NMIs */
#define PHYS_EXIT   0x29000u
#define PHYS_EDGE   0x2a000u
#define FRAME_PA    (PHYS_STACKS + PAGE - (uint32_t)sizeof(struct frame))

/* What the kernel is told in the page it shares with us. */
struct shared {
    uint64_t action; /* 1: load CR0, CR4 and INVLPG; 2: load CR3; 4: load XCR0 */
    uint64_t cr0, cr4, invlpg, fs_base, gs_base, cr2, xcr0;
    uint8_t fx[FX_SIZE] __attribute__((aligned(64)));
};

#define VECTOR_SERVICE 0x80
#define VECTOR_END     0x81
#define PORT_KERNEL    0xe0 /* the kernel asks what to do */
#define PORT_INTERRUPT 0xe1 /* an interrupt's handler runs */
#define PORT_PLAY      0xe2 /* programs write to it */

/* Writes gates and stubs. Returns where a machine begins: right behind the port access of a program's end. */
struct machine;
uint64_t kernel_make(struct machine *m);
extern const VmcRegionOps kernel_ports, kernel_mmio;
extern const VmcLocalApicOps kernel_apic;

/* ---- machine.c ---- */

struct machine {
    const char *name;
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    VmcCpuVm *vm;
    VmcCpu *cpu;
    uint8_t *ram;
    uint32_t next_table; /* physical address of the next unused page table */
    uint64_t start;      /* in the kernel, where programs begin */
    uint64_t xcr0;       /* what the CPU has; 0: no AVX, and nothing to save it by */
    struct program *program;
    struct outcome *outcome;
    bool trial;           /* what is undefined is noted in the program, not taken from there */
    uint64_t undefined;   /* on trial: flags at this moment */
    int interrupts;       /* to come */
    uint64_t taken;       /* that came */
    _Atomic bool give_up; /* the program does not end */
};

struct machine_kind {
    const char *name;
    VmcCpuEngine engine;
    bool lockstep, trial;
    bool baseline; /* x86-64-v2, as on a host without AVX */
    unsigned translate_after;
    unsigned cache_kib; /* of host code, and of decoded blocks; 0: as much as there is */
};

struct machine *machine_new(const struct machine_kind *kind);
void machine_free(struct machine *m);
/* Puts the program's memory and registers in place: the next run begins with it. */
void machine_load(struct machine *m, struct program *p, struct outcome *o);
/* Wherever it is: back to where programs begin. */
void machine_restart(struct machine *m);
/* One instruction. */
void machine_step(struct machine *m);
/* Runs to the program's end, the first `steps` instructions one by one. */
void machine_run(struct machine *m, unsigned steps);
/* Takes over what another machine has in memory; for programs that are not run. */
void machine_copy(struct machine *m, const struct machine *from);
/* Host address of what is at `va` for the guest's kernel, or NULL. */
uint8_t *machine_at(struct machine *m, uint64_t va);
/* Whether it is running the guest's kernel. */
bool machine_in_kernel(const struct machine *m);
/* Where memory is not as expected, stacks of interrupts left out: a physical address, or -1. */
int64_t machine_differs(const struct machine *m, const struct machine *expected);
struct shared *machine_shared(struct machine *m);
/* Saves or restores its page tables. */
#define TABLES_SIZE (PHYS_GDT - PHYS_TABLES)
void machine_tables(struct machine *m, uint8_t *tables, bool put);
/* A page table entry of a window. */
uint64_t *machine_pte(struct machine *m, uint64_t va);

/* ---- trial.c ---- */

/* Runs the program on the machine for trials and mends it until it can be compared. False: it cannot. The
 * outcome and the memory of `m` are those of the mended program. `trace`: print what is executed, and when
 * the byte at the physical address `watch` changes. */
bool trial_run(const struct judge *judge, struct machine *m, struct program *p, struct outcome *o, bool trace,
               uint32_t watch);

/* A number from the program's seed, another for each event and use. */
static inline uint64_t program_random(const struct program *p, unsigned event, unsigned use)
{
    uint64_t state = p->seed ^ (uint64_t)event << 32 ^ (uint64_t)use << 56;
    return diff_random(&state) ^ diff_random(&state);
}
