/*
 * What the parts of the translator share while one block is translated, and the register map.
 *
 * Guest registers in host registers: RAX RCX RDX RBX RSI RDI R8 R12 R13 stand for themselves, so that
 * instructions with implicit operands (MUL, CMPXCHG, shifts by CL) need no care; RSP is in R14, RBP in R15,
 * R14 in R9. R9, R10, R11 and R15, which compilers use least, stay in VmcCpu. RBP points 128 bytes into
 * VmcCpu, so that all that is hot is one byte of displacement away. R11 holds host addresses of operands, R10
 * is for everything else; neither survives an instruction of the guest, but for the pointer that struct
 * vmc_pointer describes.
 */
#pragma once

#include "cpu/soft/translate/emit.h"
#include "cpu/soft/translate/translator.h"

#define S1            H_R11
#define S2            H_R10
#define CPU_BIAS      128
#define CPU_AT(field) vmc_m(H_RBP, (int32_t)offsetof(VmcCpu, field) - CPU_BIAS)

/* Room for the largest block, for its code and for what stands apart: more than it can need. */
#define VMC_CODE_WORST_CASE (32u << 10)

/* Places for jumps that one block can need at most. */
#define VMC_SITES_WORST_CASE (4 * VMC_BLOCK_INSNS)

struct vmc_tr;

/* A generation's part of the code memory (offsets) and of the sites (numbers). What a block seldom needs
 * stands apart, from `apart` on, so that the rest lies close together. */
struct vmc_code_part {
    size_t from, used, apart, apart_used, end;
    unsigned first_site, next_site, end_site;
};

struct vmc_translator {
    VmcCpu *cpu;
    uint8_t *rw, *rx; /* the two mappings of the code memory */
    size_t size, thunks_end;
    struct vmc_code_part part[VMC_GENERATIONS], *now; /* the current generation */
    unsigned forgotten;                               /* counts how often code was */
    _Atomic uint32_t no_word;
    struct vmc_tr *work;
    struct vmc_block *none; /* stands for the running block in handlers that look at it */
    struct vmc_target *targets;
    int32_t sites_at;
    int32_t targets_at; /* distances from RBP */
    int32_t tlb_at[VMC_TLB_COUNT];
    bool bmi2;

    /* Thunks, writable addresses (thunks.c). */
    void (*enter)(VmcCpu *c, const uint8_t *code); /* executable */
    uint8_t *leave;                                /* registers to VmcCpu and back to C */
    uint8_t *leave_saved;                          /* the same when they are there */
    uint8_t *leave_rip;                            /* R11 is the RIP to go on at */
    uint8_t *leave_at;   /* called: behind the call its offset from the page, in 16 bits */
    uint8_t *leave_link; /* called: behind the call is the vmc_link of a jump that has no target yet */
    /* Called with struct vmc_access_note behind the call; R11 is the address. Goes on with R11 a host
     * pointer, or never. */
    uint8_t *access;
    uint8_t *missed_access[VMC_TLB_NEVER]
                          [2]; /* R11 and R10 as a look-up in that TLB, to read or to write, left them */
    uint8_t *helper;           /* R11: uop of the interpreter; returns if it went on to the next one */
    uint8_t *load_flags;       /* VmcCpu's flags into the host's */
    uint8_t *load_carry;       /* CF alone; loses S2 */
    uint8_t *indirect;         /* R11: guest RIP to go to */
    uint8_t *missed;           /* the same with S2 the jump's site, to be filled */
    uint8_t *load_xmm;         /* vector registers into the host's */
    uint8_t *load_ymm;
};

/* What the access thunk is told. `info`: offset of the instruction in its page, length - 1 of the bytes
 * checked, and VMC_ACCESS_*. */
struct vmc_access_note {
    uint32_t info;
    int32_t back; /* where to go on, from here */
} __attribute__((packed));
#define VMC_ACCESS_LENGTH_SHIFT 12
#define VMC_ACCESS_LENGTH_MASK  0x1ffu
#define VMC_ACCESS_STORES       (1u << 21) /* this instruction writes */
#define VMC_ACCESS_WRITABLE     (1u << 22) /* this or a later one does */
#define VMC_ACCESS_SEVERAL      (1u << 23) /* there are later ones */
/* Where the operand begins that has to be aligned, modulo 32, and the mask of its address. */
#define VMC_ACCESS_AT_SHIFT      24
#define VMC_ACCESS_AT_MASK       0x1fu
#define VMC_ACCESS_ALIGNED_SHIFT 29
#define VMC_ACCESS_ALIGNED(info)                                                                             \
    ((info) >> VMC_ACCESS_ALIGNED_SHIFT & 3 ? (8u << ((info) >> VMC_ACCESS_ALIGNED_SHIFT & 3)) - 1 : 0)

/* The low six bits of flags as the field numbers them. */
#define FLAGS_ALL ((unsigned)FL_ARITH)

/* How an instruction is translated and what that means for its neighbours (classify.c). */
enum vmc_form {
    FORM_HELPER, /* by the interpreter's handler */
    FORM_NOP,
    FORM_GENERIC, /* the same instruction with other registers */
    FORM_LEA,
    FORM_MOV_IMM,
    FORM_ACCUMULATOR, /* as it stands */
    FORM_BSWAP,
    FORM_PUSH,
    FORM_PUSH_IMM,
    FORM_POP,
    FORM_LEAVE,
    FORM_CARRY, /* CLC STC CMC */
    FORM_FENCE, /* LFENCE MFENCE SFENCE, and CLFLUSH, which only has to be allowed */
    FORM_CLI,   /* from here on: system.c */
    FORM_STI,
    FORM_PUSHF,
    FORM_MOV_FROM_SEG,
    FORM_CMPXCHG16B,
    FORM_DIVIDE,
    FORM_SSE,
    FORM_AVX,
    FORM_BMI,
    FORM_CALL,
    FORM_JMP,
    FORM_JCC,
    FORM_RET,
    FORM_JMP_INDIRECT,
    FORM_CALL_INDIRECT,
};

struct vmc_plan {
    uint8_t form;
    bool ends;          /* the block */
    bool bails;         /* it may be left to the interpreter, also without a memory operand */
    bool leaves;        /* the handler of a FORM_HELPER goes back to the run loop */
    bool byte, rm_byte; /* operand is a byte: both, only rm */
    bool extension;     /* ModRM.reg is part of the opcode */
    bool reg_read, reg_write, rm_read, rm_write;
    bool gpr_reg, gpr_rm; /* of vector instructions: that operand is a general register */
    uint16_t flags_read, flags_write, flags_kill; /* kill: certainly overwritten */
    uint16_t gpr_write;                           /* set of guest registers that change */
    /* Memory operand, explicit or on the stack. */
    bool memory, stores, pushes;
    bool aligned; /* has to be, to its size */
    uint8_t size;
    uint8_t base; /* guest register, VMC_NO_REG or VMC_RIP_REG */
    int32_t disp;
    /* How `base` changes, if that is known: by `step` after the access. */
    bool steps;
    uint8_t stepped;
    int32_t step;
};

/* Where the operand of a lazy flag computation is. */
enum vmc_place { PLACE_NONE, PLACE_GPR, PLACE_IMM, PLACE_STORED };
struct vmc_operand {
    uint8_t place, gpr;
    int32_t imm; /* of a register: what is to be added, because it moved since */
};

/* The guest's flags at some point of the block: in the host's EFLAGS, in VmcCpu, as operands from which to
 * tell them, or dead if none of these. */
struct vmc_flags_state {
    bool host, stored, described;
    bool saved;   /* stored as CC_RAW_HOST */
    bool capture; /* the description lacks the carry, to be taken from the host's flags before they go */
    /* INC or DEC of which only the carry is of older date: it is still told by what VmcCpu has. */
    bool carry_stored, host_but_carry;
    uint32_t op; /* CC_RAW and so on */
    struct vmc_operand dst, src;
};

/* Accesses that are looked up together: [lo, hi) around base and index as they are at the first (spans.c). */
struct vmc_span {
    int64_t lo, hi;
    bool stores, several;
    bool parked; /* the host pointer is in VmcCpu as well, */
    uint8_t slot;
};

/* How an instruction's operand in memory is reached: at `at` of that span, where the host pointer is in S1,
 * or is looked up here, or has to come back from where it is parked. */
struct vmc_reach {
    uint8_t span;
    bool looks_up, reloads;
    int64_t at;
};
#define VMC_NO_SPAN 0xff

struct vmc_stub {
    uint8_t *from, *back;
    uint32_t info;
    uint8_t tlb;
    bool writable;
    struct vmc_flags_state flags;
};

/* Conditional jumps that a block goes on behind. */
#define VMC_SIDE_EXITS  6
#define VMC_MAX_STUBS   (VMC_BLOCK_INSNS * 2)
#define VMC_MAX_HELPERS VMC_BLOCK_INSNS
#define VMC_MAX_BAILS   (VMC_BLOCK_INSNS * 3)

struct vmc_tr {
    VmcCpu *c;
    struct vmc_translator *t;
    struct vmc_block *b;
    struct vmc_emit e;
    unsigned n;
    unsigned tlb;    /* which */
    bool narrow;     /* check every access by itself */
    uint8_t vectors; /* VMC_VECTORS_*: what is surely here */
    struct vmc_insn insn[VMC_BLOCK_INSNS];
    struct vmc_plan plan[VMC_BLOCK_INSNS];
    uint16_t off[VMC_BLOCK_INSNS + 1]; /* in the page; the last: of what follows */
    uint16_t need[VMC_BLOCK_INSNS];    /* flags that may be looked at after each */
    struct vmc_flags_state flags;
    bool carry_waits; /* the instruction at hand leaves the carry in VmcCpu */
    struct vmc_span spans[VMC_BLOCK_INSNS];
    unsigned n_spans;
    struct vmc_reach reach[VMC_BLOCK_INSNS];
    uint8_t in_s1; /* the span whose host pointer S1 is */
    struct vmc_stub stubs[VMC_MAX_STUBS];
    unsigned n_stubs;
    struct {
        uint8_t *from; /* lea r11, [rip + it] */
        struct vmc_uop uop;
    } helpers[VMC_MAX_HELPERS];
    unsigned n_helpers;
    struct {
        uint8_t *site;
        int32_t target; /* offset from the page */
    } exits[2 * VMC_BLOCK_INSNS + 8];
    unsigned n_exits;
    struct {
        uint8_t *from;
        unsigned insn;
        struct vmc_flags_state flags;
    } bails[VMC_MAX_BAILS];
    unsigned n_bails;
    struct {
        uint8_t *from;
        int32_t at, target;
        struct vmc_flags_state flags;
    } sides[VMC_SIDE_EXITS];
    unsigned n_sides;
    struct vmc_miss {
        uint8_t *requested; /* jumps; the first may be missing */
        uint8_t *other_rip, *other_kind;
        int32_t site;    /* distance from RBP; 0: its address is in S2 */
        uint32_t branch; /* VMC_BRANCH_* */
    } misses[2 * VMC_BLOCK_INSNS + 8];
    unsigned n_misses;
};

/* ---- registers ---- */
static inline unsigned vmc_host_reg(unsigned gpr)
{
    static const uint8_t map[16] = {H_RAX, H_RCX,  H_RDX,  H_RBX,  H_R14, H_R15, H_RSI, H_RDI,
                                    H_R8,  H_NONE, H_NONE, H_NONE, H_R12, H_R13, H_R9,  H_NONE};
    return map[gpr & 15];
}
static inline struct vmc_rm vmc_gpr_slot(unsigned gpr)
{
    return vmc_m(H_RBP, (int32_t)VMC_GPR(gpr) - CPU_BIAS);
}
/* The guest register as an operand, wherever it is. */
static inline struct vmc_rm vmc_gpr_rm(unsigned gpr)
{
    unsigned h = vmc_host_reg(gpr);
    return h == H_NONE ? vmc_gpr_slot(gpr) : vmc_r(h);
}

/* Of a guest register that is kept in VmcCpu a copy stays in S2 for as long as nothing else needs that. */
static inline void vmc_gpr_to_s2(struct vmc_emit *e, unsigned gpr)
{
    if (e->r10_holds == gpr)
        return;
    vmc_load(e, S2, vmc_gpr_slot(gpr));
    e->r10_holds = (uint8_t)gpr;
}
static inline void vmc_s2_to_gpr(struct vmc_emit *e, unsigned gpr)
{
    vmc_store(e, vmc_gpr_slot(gpr), S2);
    e->r10_holds = (uint8_t)gpr;
}
/* Its slot was written by itself. */
static inline void vmc_s2_forget(struct vmc_emit *e, unsigned gpr)
{
    if (e->r10_holds == gpr)
        e->r10_holds = VMC_R10_UNKNOWN;
}

/* ---- classify.c ---- */
/* An instruction with a memory operand of its own pushes as well: from now on the plan is of that. */
void vmc_plan_push(struct vmc_plan *p);
/* `kind` of code, `features` of the machine (features.h). */
void vmc_classify(const struct vmc_insn *d, unsigned kind, uint32_t features, struct vmc_plan *p);

/* ---- lazy.c: flags ---- */
void vmc_flags_liveness(struct vmc_tr *t);
/* Everything that may be looked at is in VmcCpu afterwards; the host's flags stay as they are. */
void vmc_flags_store(struct vmc_tr *t);
/* Before the host's flags are lost at a point where the guest's may be looked at: afterwards they can be told
 * without them. */
void vmc_flags_release(struct vmc_tr *t);
/* The host's flags are the guest's in the bits of `mask`. May use S2. */
void vmc_flags_require(struct vmc_tr *t, unsigned mask);
/* Before instruction i runs on the host: the flags it reads, and those that pass through it, are in the
 * host's. */
void vmc_flags_before(struct vmc_tr *t, unsigned i);
/* Of that, for instructions without flags: a description must not lose its operands. */
void vmc_flags_before_writes(struct vmc_tr *t, unsigned i);
/* After instruction i ran on the host: its flags are in the host's if they are of use. */
void vmc_flags_after(struct vmc_tr *t, unsigned i);
/* Then: they can be told from these operands (CC_RAW and size; INC and later ones with the host's carry). */
void vmc_flags_describe(struct vmc_tr *t, uint32_t op, struct vmc_operand dst, struct vmc_operand src);
/* The stores that make VmcCpu's flags those described. May use S2. */
void vmc_flags_emit_stores(struct vmc_tr *t, const struct vmc_flags_state *f);
unsigned vmc_condition_flags(unsigned cond);
/* EFLAGS from CC_RAW_HOST. Loses RAX. */
void vmc_load_saved_flags(struct vmc_emit *e);

/* ---- spans.c ---- */
/* Decides about t->spans and t->reach. */
void vmc_plan_spans(struct vmc_tr *t);
/* Whether the access of this plan is by ModRM, not the stack's. */
bool vmc_explicit(const struct vmc_insn *d, const struct vmc_plan *p);
/* Whether it has an operand on the stack beside one of its own, which has a plan of its own (vmc_plan_push).
 */
bool vmc_pushes_too(const struct vmc_insn *d, const struct vmc_plan *p);
/* FS, GS, or VMC_NO_REG. */
uint8_t vmc_segment(const struct vmc_insn *d, const struct vmc_plan *p);

/* ---- access.c ---- */
/* Operand in guest memory of instruction i: checked, in S1. Loses the host's flags and S2. */
struct vmc_rm vmc_operand(struct vmc_tr *t, unsigned i);
/* The same without a memory access: S1 is its address (LEA). */
void vmc_address(struct vmc_tr *t, unsigned i, unsigned reg);
/* The jump at `from` leaves instruction i to the interpreter; the host's flags are not the guest's there. */
void vmc_add_bail(struct vmc_tr *t, unsigned i, uint8_t *from);
void vmc_emit_stubs(struct vmc_tr *t);

/* ---- integer.c, control.c, vector.c ---- */
void vmc_gen_integer(struct vmc_tr *t, unsigned i);
void vmc_gen_control(struct vmc_tr *t, unsigned i);
void vmc_gen_end(struct vmc_tr *t); /* the block ends without a jump */
void vmc_emit_sides(struct vmc_tr *t);
void vmc_emit_misses(struct vmc_tr *t);
void vmc_gen_vector(struct vmc_tr *t, unsigned i);
void vmc_gen_system(struct vmc_tr *t, unsigned i); /* system.c */
/* Vector registers as far as `level` are the host's from here on. Loses the host's flags. */
void vmc_vectors_check(struct vmc_tr *t, unsigned level);
/* BMI: VEX-encoded instructions on general registers. */
bool vmc_bmi_known(const struct vmc_insn *d, struct vmc_plan *p);
void vmc_gen_bmi(struct vmc_tr *t, unsigned i);
bool vmc_vector_known(const struct vmc_insn *d, struct vmc_plan *p);
/* Whether an operand in memory of 16 or 32 bytes may lie anywhere. */
bool vmc_vector_may_be_misaligned(const struct vmc_insn *d);

/* ---- thunks.c ---- */
void vmc_make_thunks(struct vmc_translator *t, struct vmc_emit *e);
/* Called by them. */
void *vmc_translated_access(VmcCpu *c, uint64_t va, uint32_t info);
bool vmc_translated_helper(VmcCpu *c, const struct vmc_uop *u);
void vmc_translated_flags(VmcCpu *c);
/* The uop behind one that a helper runs. */
void vmc_translated_return(VmcCpu *c, const struct vmc_uop *u);

/* ---- translator.c ---- */
/* After translated code was left: an indirect jump to where there can be no code is the jump's own fault,
 * which the interpreter raises. */
void vmc_translator_undo_branch(VmcCpu *c);

/* ---- links.c ---- */
/* The jump that left translated code (its executable address) leads to `b`, which has code, from now on. */
void vmc_link_to(const struct vmc_translator *t, const struct vmc_link *link, struct vmc_block *b);

/* ---- block.c ---- */
/* Translates the block at c->rip into the current generation. False: it is not worth it, or there was no
 * room. */
bool vmc_translate(struct vmc_translator *t, struct vmc_block *b);
