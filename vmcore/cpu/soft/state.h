/*
 * One software CPU: its architectural state and what the interpreter keeps beside it.
 *
 * The order matters: handlers address general registers by byte offset from the start of the struct, in one
 * array that also holds a constant zero (an absent base or index) and the RIP of the running block (the
 * base of RIP-relative operands), so that every effective address is the same branch-free sum.
 *
 * Threads: everything here belongs to the CPU's own thread, except `request` and `wake`, which anyone may
 * set.
 */
#pragma once

#include <glib.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu/anchor.h"
#include "cpu/cpu.h"
#include "cpu/model.h"

struct vmc_block;
struct vmc_uop;
struct vmc_block_cache;
struct vmc_debug;

/* Byte offsets into VmcCpu for operands of micro-operations. */
#define VMC_GPR(n)    ((n)*8u)
#define VMC_SLOT_ZERO VMC_GPR(16)
#define VMC_SLOT_RIP  VMC_GPR(17)

/* RFLAGS */
#define FL_CF    0x1ull
#define FL_PF    0x4ull
#define FL_AF    0x10ull
#define FL_ZF    0x40ull
#define FL_SF    0x80ull
#define FL_TF    0x100ull
#define FL_IF    0x200ull
#define FL_DF    0x400ull
#define FL_OF    0x800ull
#define FL_IOPL  0x3000ull
#define FL_NT    0x4000ull
#define FL_RF    0x10000ull
#define FL_VM    0x20000ull
#define FL_AC    0x40000ull
#define FL_VIF   0x80000ull
#define FL_VIP   0x100000ull
#define FL_ID    0x200000ull
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

#define CR0_PE (1ull << 0)
#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_WP (1ull << 16)
#define CR0_AM (1ull << 18)
#define CR0_NW (1ull << 29)
#define CR0_CD (1ull << 30)
#define CR0_PG (1ull << 31)

#define CR4_VME        (1ull << 0)
#define CR4_PVI        (1ull << 1)
#define CR4_TSD        (1ull << 2)
#define CR4_DE         (1ull << 3)
#define CR4_PSE        (1ull << 4)
#define CR4_PAE        (1ull << 5)
#define CR4_MCE        (1ull << 6)
#define CR4_PGE        (1ull << 7)
#define CR4_PCE        (1ull << 8)
#define CR4_OSFXSR     (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_UMIP       (1ull << 11)
#define CR4_FSGSBASE   (1ull << 16)
#define CR4_PCIDE      (1ull << 17)
#define CR4_OSXSAVE    (1ull << 18)
#define CR4_SMEP       (1ull << 20)
#define CR4_SMAP       (1ull << 21)

#define EFER_SCE (1ull << 0)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)

enum {
    EXC_DE = 0,
    EXC_DB = 1,
    EXC_NMI = 2,
    EXC_BP = 3,
    EXC_OF = 4,
    EXC_BR = 5,
    EXC_UD = 6,
    EXC_NM = 7,
    EXC_DF = 8,
    EXC_TS = 10,
    EXC_NP = 11,
    EXC_SS = 12,
    EXC_GP = 13,
    EXC_PF = 14,
    EXC_MF = 16,
    EXC_AC = 17,
    EXC_MC = 18,
    EXC_XM = 19,
};

/* Lazy flags: the last flag-setting operation and enough of its operands to work the flags out when somebody
 * asks (flags.h). The low two bits are log2 of the operand size. */
enum vmc_cc {
    CC_FLAGS = 0, /* cc_src holds the six bits themselves */
    CC_ADD = 4,   /* dst = result, src = second operand */
    CC_ADC = 8,   /* like ADD, with a carry in: src2 = carry */
    CC_SUB = 12,  /* dst = result, src = second operand (first = result + second) */
    CC_SBB = 16,
    CC_LOGIC = 20, /* dst = result; CF = OF = AF = 0 */
    CC_INC = 24,   /* dst = result, src = CF as it was */
    CC_DEC = 28,
    CC_SHL = 32, /* dst = result, src = value one step before the last shift: CF is its top bit */
    CC_SAR = 36, /* SHR and SAR: dst = result, src = value one step before: CF is its bit 0 */
    CC_COUNT = 40,
    /* Above the operation: CF and OF set by a later instruction that leaves the other flags alone (rotates,
     * bit tests, STC, multiplications). Any operation that sets all flags clears these bits by the way. */
    CC_OP = 0xff,
    CC_CF_SET = 0x100, /* CF is CC_CF */
    CC_CF = 0x200,
    CC_OF_SET = 0x400, /* OF is CC_OF */
    CC_OF = 0x800,
    /* What translated code leaves: operands not cut to size, to be settled before anyone looks
     * (vmc_cc_settle). From INC on, bit 0 of cc_src is the carry. */
    CC_RAW = 0x1000,
    CC_RAW_KIND = 0x10fc,
    CC_RAW_LOGIC = CC_RAW | 4, /* dst = result */
    CC_RAW_ADD = CC_RAW | 8,   /* dst = result, src = second operand */
    CC_RAW_SUB = CC_RAW | 12,
    CC_RAW_CMP = CC_RAW | 16, /* dst = first operand, src = second */
    CC_RAW_NEG = CC_RAW | 20, /* dst = result */
    CC_RAW_INC = CC_RAW | 24, /* dst = result */
    CC_RAW_DEC = CC_RAW | 28,
    CC_RAW_SHL = CC_RAW | 32, /* dst = result, the last bit shifted out is the carry */
    CC_RAW_SHR = CC_RAW | 36, /* SHR and SAR */
    CC_RAW_SAR = CC_RAW | 40,
    CC_RAW_HOST = CC_RAW | 44, /* the low byte of cc_src: as LAHF gives them, the next: OF */
};

/* Bits of VmcCpu.request; anything set makes the CPU leave its blocks at the next block boundary. */
enum {
    REQ_INTR = 1, /* ask the local APIC */
    REQ_NMI = 2,
    REQ_INIT = 4,
    REQ_SIPI = 8,     /* vector in sipi_vector */
    REQ_KICK = 16,    /* return VMC_EXIT_KICKED */
    REQ_STEP = 32,    /* own: interrupt shadow, TF, RF or a debugger: run one instruction by itself */
    REQ_CODE = 64,    /* drop write permission of pages that now hold code (block.c) */
    REQ_HALT = 128,   /* own: HLT executed or waiting for SIPI */
    REQ_DIRTY = 256,  /* the dirty log of a slot was taken (slots.c) */
    REQ_MOVED = 512,  /* a slot was given another place */
    REQ_STALE = 1024, /* a page of code was written to: translated jumps to it must go */
};

struct vmc_seg {
    uint64_t base;
    uint32_t limit;
    uint16_t selector;
    uint16_t attr; /* as VmcSegment.attr */
};

#define SEG_TYPE(a) ((a)&0xfu)
#define SEG_S       0x10u
#define SEG_DPL(a)  (((a) >> 5) & 3u)
#define SEG_P       0x80u
#define SEG_L       0x2000u
#define SEG_DB      0x4000u
#define SEG_G       0x8000u

/* Index into seg_base[]: the six segment registers, then one that is always zero. */
#define VMC_SEG_FLAT 6

/* Software TLB of data accesses. A tag is the address of the page; one that is not valid is that of a page
 * whose entry is another one, so that neither it nor its neighbour is ever looked for here (VMC_TLB_NO_TAG).
 * `addend` turns a guest linear address into a host address, `host` is the page's.
 *
 * It reaches 64 MiB: arrays that follow each other in memory and are walked side by side have no entries in
 * common unless they are that large. */
#define VMC_PARKED 4 /* of VmcCpu.parked */
struct vmc_tlb_entry {
    uint64_t tag_read, tag_write;
    uint64_t host, addend;
};
#define VMC_TLB_NO_TAG(index) ((uint64_t)((index) ^ 2) << 12)
#define VMC_TLB_BITS          14
#define VMC_TLB_SIZE          (1u << VMC_TLB_BITS)
enum {
    VMC_TLB_SUPER,    /* CPL 0..2, EFLAGS.AC clear (SMAP in force) */
    VMC_TLB_USER,     /* CPL 3 */
    VMC_TLB_SUPER_AC, /* CPL 0..2 with EFLAGS.AC set */
    VMC_TLB_NEVER,    /* never filled: alignment checks, data breakpoints or a debugger's watchpoints are on,
                         every    access goes the slow way */
    VMC_TLB_COUNT,
};

/* The same for instruction fetches, filled and asked by block.c alone. */
struct vmc_tlb_code {
    uint64_t tag; /* 1: not valid */
    const uint8_t *host;
    uint64_t pa;
};
#define VMC_TLB_CODE_SIZE 256u
/* Bits of a set of pages with code: enough for thousands of them. A page that is told to be among them and is
 * not costs all that is known about jumps. */
#define VMC_CODE_PAGES 65536u
enum { VMC_CODE_SUPER, VMC_CODE_USER, VMC_CODE_COUNT };

/* What a jump cache entry is good for: the kind of code (mode, stack, privilege, table, vector unit). Each
 * kind in use has a tag of its own, and a new one when translations of code may have changed. */
#define VMC_KIND_STACK32 0x04u
#define VMC_KIND_USER    0x08u
#define VMC_KIND_AC      0x10u
#define VMC_KIND_NO_SSE  0x20u /* vector instructions fault, or have to look for exceptions */
#define VMC_KIND_NO_AVX  0x40u /* the same of VEX-encoded ones */
#define VMC_KINDS        128u
#define VMC_KIND_NARROW  0x80u /* of blocks alone: see VmcCpu.narrow */

enum { VMC_VECTORS_NONE, VMC_VECTORS_XMM, VMC_VECTORS_YMM };

/* Direct-mapped cache from virtual address to block, in front of the physical one. */
struct vmc_jump_entry {
    uint64_t rip;
    uint64_t key; /* VmcCpu.jump_key at the time */
    struct vmc_block *block;
};
#define VMC_JUMP_BITS 13
#define VMC_JUMP_SIZE (1u << VMC_JUMP_BITS)

/* x87, MMX and SSE state in the 64-bit FXSAVE layout (SDM vol. 1 table 10-2). */
struct vmc_fx {
    uint16_t fcw, fsw;
    uint8_t ftw, reserved; /* abridged tag: bit set = not empty */
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t st[8][16]; /* ST(i)/MMi, physical order is relative to TOP as FXSAVE has it */
    uint8_t xmm[16][16] __attribute__((aligned(16)));
    uint8_t rest[96];
} __attribute__((aligned(16)));

struct VmcCpu {
    /* hot: one cache line after the other */
    uint64_t gpr[16];
    uint64_t slot_zero; /* always 0 */
    uint64_t block_rip; /* RIP (offset in CS) of the first byte of the running block */
    uint64_t rip;       /* valid between blocks and in slow paths that say so */
    uint32_t cc_op;
    _Atomic uint32_t request;
    uint64_t cc_dst, cc_src, cc_src2;
    uint64_t eflags;    /* all but the six arithmetic bits, bit 1 set */
    uint64_t jump_key;  /* tag of the running kind of code, from 1: see vmc_soft_update_mode */
    uint8_t return_top; /* distance of the newest entry in the ring `returns` */
    uint64_t seg_base[8];
    struct vmc_tlb_entry *tlb; /* the one of the current privilege */
    struct vmc_block *block;   /* running */
    const struct vmc_uop *cur; /* the micro-operation a fault belongs to; set on slow paths */
    uint8_t cpl;
    uint8_t mode;     /* enum vmc_width */
    uint8_t kind;     /* of the running code: mode and VMC_KIND_* */
    bool stack32;     /* SS.B */
    bool long_mode;   /* EFER.LMA */
    bool xm_unmasked; /* guest MXCSR unmasks something: SSE arithmetic must look at flags afterwards */
    uint8_t fx_guard; /* FXG_* of exec/fx.h: why an x87, MMX or SSE handler may not run straight through */
    uint8_t
        x87_carry;   /* exception flags taken out of the running x87 while CR0.NE is clear (exec/fxstate.c) */
    bool inhibit;    /* interrupt shadow of STI, MOV SS, POP SS covers the next instruction */
    bool inhibit_db; /* MOV SS, POP SS: debug traps too */
    bool halted, wait_sipi;
    bool split_held; /* vm->split_lock is ours */

    struct vmc_seg seg[VMC_SEG_COUNT], ldt, tr;
    struct {
        uint64_t base;
        uint32_t limit;
    } gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, efer;
    uint64_t dr[8];
    uint64_t pdpte[4]; /* PAE: loaded with CR3 */

    struct vmc_fx fx;
    uint8_t ymm_high[16][16] __attribute__((aligned(32)));   /* bits 255:128 of the YMM registers */
    uint8_t vector_operand[32] __attribute__((aligned(32))); /* of exec/avx_slow.c */
    uint8_t vector_result[32] __attribute__((aligned(32)));
    uint64_t xcr0;
    struct {
        uint64_t words[16];
        unsigned left;
    } random; /* exec/random.c */

    /* MSRs that are plain storage */
    struct {
        uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
        uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
        uint64_t tsc_aux, pat, misc_enable, debugctl, xss;
        uint64_t mtrr_def, mtrr_fix[11], mtrr_base[8], mtrr_mask[8];
        int64_t tsc_offset;
        uint64_t tsc_adjust;
        uint64_t spec[4];
    } msr;

    /* A fault on its way from a handler to the run loop (exception.c). */
    struct {
        uint8_t vector;
        bool has_error;
        uint32_t error;
        uint64_t cr2_or_dr6;
    } fault;
    int delivering; /* vector being delivered, -1 none: double-fault rules */
    jmp_buf fault_jmp;
    GError *fatal; /* set with REQ_KICK by what cannot go on */
    bool shutdown; /* triple fault */
    bool nmi_blocked;
    bool nmi_waiting;    /* one came meanwhile; IRET lets it in */
    bool event_taken;    /* set by every delivery: an INT n has no single-step trap behind it */
    uint64_t db_pending; /* DR6 bits of debug traps to deliver after this instruction */

    /* The translator's (translate/translator.h); NULL: there is none. */
    struct vmc_translator *translator;
    struct vmc_target *targets, *sites;
    struct vmc_link *exit_link;     /* the jump that left translated code for want of a target */
    uint8_t across[32];             /* what a load found that lies across two pages */
    uint8_t *parked[VMC_PARKED];    /* host pointers of accesses looked up together */
    struct vmc_target *returns[32]; /* where the callers of what runs go on */
    struct vmc_target *site;        /* of the jump that missed */
    uint64_t target;                /* of an indirect call, while its return address is pushed */
    uint32_t branch;                /* VMC_BRANCH_*: the last jump that missed */
    bool bail;                      /* the instruction at rip is for the interpreter */
    uint8_t vectors_here;           /* vector registers are in the host's, not in fx: VMC_VECTORS_* */
    bool narrow;                    /* the next block is to check every memory access by itself */
    bool helper_done;
    bool sti_shadow; /* inhibit, but the translator sees to it: one block is entered without looking at
                        requests */
    bool lockstep_held;
    struct vmc_journal *journal; /* in lockstep */
    bool noting;                 /* stores, there: every access goes the slow way */

    unsigned index;
    VmcCpuVm *vm;
    VmcLocalApic lapic;
    uint64_t apic_base; /* copy of IA32_APIC_BASE for the MMU's look */
    _Atomic uint8_t sipi_vector;

    /* Hashed sets of the 2 (4) MiB and 1 GiB regions with large pages since the last flush, for the lower and
     * the upper half of the address space: INVLPG inside one must drop all its 4 KiB entries, so it flushes
     * everything. */
    struct vmc_large {
        uint64_t mib[16], gib;
    } large[2];

    /* Entries of each TLB filled since its last flush, and those of them that are global; which words of
     * tlb_used are not zero. */
    uint64_t tlb_used[VMC_TLB_COUNT][VMC_TLB_SIZE / 64], tlb_global[VMC_TLB_COUNT][VMC_TLB_SIZE / 64];
    uint64_t tlb_words[VMC_TLB_COUNT][VMC_TLB_SIZE / 64 / 64];
    /* Hashed sets of pages that code was fetched from, by each privilege, since it last got new tags. */
    uint64_t code_pages[VMC_CODE_COUNT][VMC_CODE_PAGES / 64];
    bool code_not_global; /* some of the supervisor's were not global */
    uint64_t kind_tags[VMC_KINDS], last_tag;

    struct vmc_tlb_entry *tlbs[VMC_TLB_COUNT];
    struct vmc_tlb_code *tlb_code[VMC_CODE_COUNT];
    struct vmc_jump_entry *jump;
    struct vmc_block_cache *blocks; /* block.c */
    struct vmc_debug *debug;        /* what a debugger asks for, or NULL (debug.h) */

    GMutex sleep_lock; /* HLT waits here */
    GCond sleep_cond;
    _Atomic bool running;             /* inside run and not asleep: others may have to wait for it */
    bool intr_waiting;                /* the local APIC had something while interrupts were disabled */
    struct vmc_block **link_from;     /* where the next block found may be chained (block.c), or NULL */
    _Atomic uint32_t code_epoch_seen; /* handshake of REQ_CODE */
    _Atomic uint64_t dirty_seen;      /* the last of vm->dirty_epoch that REQ_DIRTY was served for */

    unsigned pauses; /* instructions PAUSE */

    VmcCpuStats stats; /* last: counted off the fast paths only */
};

/* tsc.c */
struct vmc_soft_tsc {
    _Atomic uint64_t start; /* host TSC that is guest 0 */
    _Atomic uint64_t floor; /* the host's is not below this, or has begun anew */
    GMutex lock;            /* guards the anchor and changes of the others */
    VmcAnchor anchor;       /* of the host's */
};

struct VmcCpuVm {
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    unsigned n_cpus;
    bool crowded;        /* more CPUs than the host has for us */
    VmcCpuEngine engine; /* never VMC_ENGINE_DEFAULT */
    bool lockstep;
    unsigned code_cache_kib, block_arena_kib; /* of each CPU; what is too little is rounded up */
    unsigned translate_after; /* how often a block is interpreted before it is worth translating */
    uint32_t features;        /* VMC_HAS_* (features.h) */
    VmcCpuModelParams model;
    VmcCpu *cpus[64];
    uint64_t tsc_hz;
    struct vmc_soft_tsc tsc;
    GMutex lockstep_lock; /* whose turn it is */
    GMutex split_lock;    /* locked accesses that cross a page or touch devices */
    /* Handshake when a page begins to hold code (block.c). */
    GMutex code_lock;
    _Atomic uint32_t code_epoch;
    uintptr_t code_host;          /* host page of the newest epoch */
    _Atomic uint64_t dirty_epoch; /* counts how often dirty logs were taken (slots.c) */
};

/* ---- run.c ---- */
/* Recomputes mode, cpl-dependent TLB, jump_key after any change of CS, SS, CPL, CR0, CR4, EFER, EFLAGS.AC,
 * DR7. */
void vmc_soft_update_mode(VmcCpu *c);

/* ---- exception.c ---- */
/* All of these end the current instruction (c->cur) with nothing committed, longjmp to the run loop, and the
 * exception is delivered with the RIP of that instruction. Slow paths and system handlers set c->cur = u
 * first. */
_Noreturn void vmc_fault(VmcCpu *c, unsigned vector);
_Noreturn void vmc_fault_code(VmcCpu *c, unsigned vector, uint32_t error);
_Noreturn void vmc_page_fault(VmcCpu *c, uint64_t address, uint32_t error);
static inline _Noreturn void vmc_gp0(VmcCpu *c)
{
    vmc_fault_code(c, EXC_GP, 0);
}
static inline _Noreturn void vmc_ud(VmcCpu *c)
{
    vmc_fault(c, EXC_UD);
}
/* Delivers an exception, software interrupt or external interrupt through the IDT with c->rip as the return
 * address (faults: the instruction; traps and interrupts: the next one). Called by the run loop between
 * instructions, under fault_jmp: a fault during delivery comes back through vmc_fault and the run loop calls
 * vmc_deliver_fault again, which applies the double- and triple-fault rules (c->delivering). */
enum vmc_event { VMC_EVENT_FAULT, VMC_EVENT_TRAP, VMC_EVENT_SOFT_INT, VMC_EVENT_EXTERNAL, VMC_EVENT_NMI };
void vmc_deliver(VmcCpu *c, enum vmc_event kind, unsigned vector, bool has_error, uint32_t error);
/* The fault in c->fault, as thrown. Sets c->shutdown on a triple fault. */
void vmc_deliver_fault(VmcCpu *c);

/* ---- reset.c / state conversion ---- */
void vmc_soft_reset(VmcCpu *c, bool init); /* INIT keeps FPU, MSRs, memory caches */
