/*
 * x87: opcodes D8 to DF, and FWAIT.
 *
 * The guest's registers are in the host's x87 while x87 instructions run (fx.h), and each instruction is run
 * as itself, so every result, flag and oddity is the hardware's. x87_fast.c does so in the usual case. Here
 * is the rest: there is one tiny function for every register form and one for every memory form, the latter
 * with its operand at the address it is given, and the binder leaves its address in u->imm. What concerns
 * memory in other ways, or control and status, is here too, or in x87_env.c.
 *
 * Undocumented aliases (FSTP1, FCOM2, FXCH4, FFREEP ...) are what they are on hardware; the rest is #UD.
 *
 * Sources: Intel SDM vol. 1 chapter 8, vol. 2 tables.
 */
#include "cpu/soft/exec/x87.h"

#include "cpu/soft/flags.h"

/* ---- the opcodes as code ---- */

#define CODE(name, rows, columns, shift, body)                                                               \
    __asm__(".pushsection .text\n"                                                                           \
            ".balign 16\n" #name ":\n"                                                                       \
            ".set vmc_i, 0\n"                                                                                \
            ".rept " #rows "\n"                                                                              \
            ".set vmc_j, 0\n"                                                                                \
            ".rept " #columns "\n" body "\n"                                                                 \
            "    ret\n"                                                                                      \
            ".balign 1 << " #shift ", 0xcc\n"                                                                \
            ".set vmc_j, vmc_j + 1\n"                                                                        \
            ".endr\n"                                                                                        \
            ".set vmc_i, vmc_i + 1\n"                                                                        \
            ".endr\n"                                                                                        \
            ".popsection");                                                                                  \
    extern const char name[] __attribute__((visibility("hidden")));

/* void f(void): D8 + i, C0 + j */
CODE(vmc_x87_registers, 8, 64, 2, "    .byte 0xd8 + vmc_i, 0xc0 + vmc_j")
/* void f(void *operand): D8 + i, [RDI] with /j */
CODE(vmc_x87_memory, 8, 8, 2, "    .byte 0xd8 + vmc_i, (vmc_j << 3) + 7")
/* uint32_t f(void): FUCOMI, FCOMI (DB E8-F7), FUCOMIP, FCOMIP (DF E8-F7); the low byte of EFLAGS */
CODE(vmc_x87_compare, 2, 16, 3, "    .byte 0xdb + 4 * vmc_i, 0xe8 + vmc_j\n    lahf\n    movzbl %ah, %eax")
/* uint64_t f(uint64_t flags): the same, EFLAGS whole, before and after */
CODE(vmc_x87_compare_whole, 2, 16, 3,
     "    push %rdi\n    popfq\n    .byte 0xdb + 4 * vmc_i, 0xe8 + vmc_j\n    pushfq\n    pop %rax")
/* void f(uint32_t low_flags << 8): FCMOVcc (DA, DB C0-DF) */
CODE(vmc_x87_move, 2, 32, 3, "    mov %edi, %eax\n    sahf\n    .byte 0xda + vmc_i, 0xc0 + vmc_j")

typedef void (*run_registers)(void);
typedef void (*run_memory)(void *operand);
typedef uint32_t (*run_compare)(void);
typedef uint64_t (*run_compare_whole)(uint64_t flags);
typedef void (*run_move)(uint32_t flags);

/* ---- what every instruction does before and after ---- */

#define X87_IN(c, u)                                                                                         \
    do {                                                                                                     \
        if (vmc_unlikely((c)->fx_guard & FXG_X87))                                                           \
            vmc_x87_in((c), (u));                                                                            \
    } while (0)
#define X87_NO_WAIT(c, u)                                                                                    \
    do {                                                                                                     \
        if (vmc_unlikely((c)->fx_guard & FXG_NO_X87))                                                        \
            vmc_x87_check_nm((c), (u));                                                                      \
    } while (0)
/* u->x is the opcode as FOP holds it. */
#define X87_OUT(c, u)                                                                                        \
    do {                                                                                                     \
        (c)->fx.fip = vmc_rip((c), (u));                                                                     \
        (c)->fx.fop = (u)->x;                                                                                \
        if (vmc_unlikely((c)->fx_guard & FXG_X87_UNMASKED))                                                  \
            vmc_x87_after(c);                                                                                \
    } while (0)

void vmc_x87_slow_registers(VmcCpu *c, const struct vmc_uop *u)
{
    X87_IN(c, u);
    ((run_registers)u->imm)();
    X87_OUT(c, u);
    VMC_NEXT(c, u);
}

/* FCOMI and its kin clear OF, SF and AF. If an unmasked exception comes up the flags may stay as they were:
 * then the host is shown all of them. */
static VMC_NOINLINE void compare_unmasked(VmcCpu *c, const struct vmc_uop *u)
{
    int64_t which = u->imm - (int64_t)(uintptr_t)vmc_x87_compare;
    run_compare_whole f = (run_compare_whole)(uintptr_t)(vmc_x87_compare_whole + which);
    vmc_set_arith(c, f(vmc_arith_flags(c) | 2));
}
void vmc_x87_slow_compare(VmcCpu *c, const struct vmc_uop *u)
{
    X87_IN(c, u);
    if (vmc_unlikely(c->fx_guard & FXG_X87_UNMASKED))
        compare_unmasked(c, u);
    else
        vmc_set_arith(c, ((run_compare)u->imm)() & (FL_ZF | FL_PF | FL_CF));
    X87_OUT(c, u);
    VMC_NEXT(c, u);
}

void vmc_x87_slow_move(VmcCpu *c, const struct vmc_uop *u)
{
    X87_IN(c, u);
    ((run_move)u->imm)((uint32_t)vmc_arith_flags(c) << 8);
    X87_OUT(c, u);
    VMC_NEXT(c, u);
}

/* ---- memory operands ---- */

/* Room for an operand that is not in one piece of RAM: bytes 416 to 511 of the image are no state of the
 * guest. */
#define SCRATCH(c) ((void *)(c)->fx.rest)

static VMC_NOINLINE void *fetch(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size)
{
    void *p = vmc_host_slow(c, u, va, size, VMC_READ);
    if (p)
        return p;
    if (size <= 8) {
        uint64_t v = vmc_ld_slow(c, u, va, size);
        memcpy(SCRATCH(c), &v, size);
    } else {
        vmc_read_bytes(c, u, va, SCRATCH(c), size);
    }
    return SCRATCH(c);
}

/* The store has been found allowed. An unmasked exception other than precision keeps it from happening. */
static void store_scratch(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size)
{
    uint64_t v = 0;
    uint16_t fsw;
    ((run_memory)u->imm)(SCRATCH(c));
    __asm__ volatile("fnstsw %0" : "=a"(fsw));
    if (fsw & ~c->fx.fcw & FSW_FLAGS & ~0x20u)
        return;
    if (size <= 8) {
        memcpy(&v, SCRATCH(c), size);
        vmc_st_slow(c, u, va, size, v);
    } else {
        vmc_write_bytes(c, u, va, SCRATCH(c), size);
    }
}
static VMC_NOINLINE void store(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size)
{
    void *p = vmc_host_slow(c, u, va, size, VMC_WRITE);
    if (p)
        ((run_memory)u->imm)(p);
    else
        store_scratch(c, u, va, size);
}

#define LOAD(size)                                                                                           \
    void vmc_x87_slow_load##size(VmcCpu *c, const struct vmc_uop *u)                                         \
    {                                                                                                        \
        X87_IN(c, u);                                                                                        \
        uint64_t va = vmc_ea(c, u);                                                                          \
        ((run_memory)u->imm)(fetch(c, u, va, size));                                                         \
        c->fx.fdp = va - c->seg_base[u->seg];                                                                \
        X87_OUT(c, u);                                                                                       \
        VMC_NEXT(c, u);                                                                                      \
    }
#define STORE(size)                                                                                          \
    void vmc_x87_slow_store##size(VmcCpu *c, const struct vmc_uop *u)                                        \
    {                                                                                                        \
        X87_IN(c, u);                                                                                        \
        uint64_t va = vmc_ea(c, u);                                                                          \
        store(c, u, va, size);                                                                               \
        c->fx.fdp = va - c->seg_base[u->seg];                                                                \
        X87_OUT(c, u);                                                                                       \
        VMC_NEXT(c, u);                                                                                      \
    }
LOAD(2)
LOAD(4)
LOAD(8)
LOAD(10)
STORE(2)
STORE(4)
STORE(8)
STORE(10)

/* ---- control and status ---- */

/* The control word is always in the image; the host's copy follows. */
static VMC_NOINLINE void load_control(VmcCpu *c, uint16_t value)
{
    vmc_x87_set_control(c, value);
    if (c->fx_guard & FXG_X87_OUT)
        return;
    value = c->fx.fcw;
    __asm__ volatile("fldcw %0" : : "m"(value));
    vmc_x87_after(c); /* unmasking what was flagged makes it pending */
}
static void op_fldcw(VmcCpu *c, const struct vmc_uop *u)
{
    X87_IN(c, u);
    uint16_t value = vmc_ld16(c, u, vmc_ea(c, u));
    load_control(c, value);
    VMC_NEXT(c, u);
}
static void op_fnstcw(VmcCpu *c, const struct vmc_uop *u)
{
    X87_NO_WAIT(c, u);
    vmc_st16(c, u, vmc_ea(c, u), c->fx.fcw);
    VMC_NEXT(c, u);
}

static VMC_NOINLINE uint16_t saved_status(VmcCpu *c)
{
    vmc_x87_sync(c);
    return c->fx.fsw;
}
static inline uint16_t status(VmcCpu *c)
{
    uint16_t fsw;
    if (c->fx_guard & FXG_X87_OUT)
        return c->fx.fsw;
    if (vmc_unlikely(c->x87_carry))
        return saved_status(c);
    __asm__ volatile("fnstsw %0" : "=a"(fsw));
    return fsw;
}
static void op_fnstsw(VmcCpu *c, const struct vmc_uop *u)
{
    X87_NO_WAIT(c, u);
    vmc_st16(c, u, vmc_ea(c, u), status(c));
    VMC_NEXT(c, u);
}
static void op_fnstsw_ax(VmcCpu *c, const struct vmc_uop *u)
{
    X87_NO_WAIT(c, u);
    R16(c, VMC_GPR(VMC_RAX)) = status(c);
    VMC_NEXT(c, u);
}

static void op_fnclex(VmcCpu *c, const struct vmc_uop *u)
{
    X87_NO_WAIT(c, u);
    vmc_x87_sync(c);
    c->fx.fsw &= (uint16_t) ~(FSW_FLAGS | FSW_SF | FSW_ES | FSW_B);
    VMC_NEXT(c, u);
}
static void op_fninit(VmcCpu *c, const struct vmc_uop *u)
{
    X87_NO_WAIT(c, u);
    vmc_x87_sync(c);
    vmc_x87_init(c);
    VMC_NEXT(c, u);
}
/* FNENI, FNDISI, FNSETPM: of the 8087 and 80287; do nothing. */
static void op_nothing(VmcCpu *c, const struct vmc_uop *u)
{
    X87_NO_WAIT(c, u);
    VMC_NEXT(c, u);
}

static VMC_NOINLINE void wait_check(VmcCpu *c, const struct vmc_uop *u)
{
    if ((c->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)) {
        c->cur = u;
        vmc_fault(c, EXC_NM);
    }
    if ((c->fx_guard & FXG_X87_OUT) && (c->fx.fsw & FSW_ES) && (c->cr0 & CR0_NE)) {
        c->cur = u;
        vmc_fault(c, EXC_MF);
    }
}
static void op_fwait(VmcCpu *c, const struct vmc_uop *u)
{
    if (vmc_unlikely(c->fx_guard & FXG_X87))
        wait_check(c, u);
    VMC_NEXT(c, u);
}

/* ---- binding ---- */

/* Which of C0..FF exist; bit n is C0 + n. */
static const uint64_t registers_exist[8] = {
    0xffffffffffffffff, 0xffff7f33ff01ffff, 0x00000200ffffffff, 0x00ffff1fffffffff,
    0xffffffffffffffff, 0x0000ffffffffffff, 0xffffffff02ffffff, 0x00ffff01ffffffff,
};

static enum vmc_bound ok(struct vmc_uop *u, vmc_op fn)
{
    u->fn = fn;
    return fn ? VMC_BIND_OK : VMC_BIND_UD;
}

static enum vmc_bound bind_registers(unsigned op, unsigned n, struct vmc_uop *u)
{
    const char *code = vmc_x87_registers + ((op * 64 + n) << 2);
    vmc_op fn = vmc_x87_fast_registers[op][n >> 3][n & 7];
    if (!(registers_exist[op] >> n & 1))
        return VMC_BIND_UD;
    if ((op == 2 || op == 3) && n < 32)
        code = vmc_x87_move + (((op - 2) * 32 + n) << 3);
    else if ((op == 3 || op == 7) && n >= 0x28)
        code = vmc_x87_compare + (((op == 7) * 16 + n - 0x28) << 3);
    else if (op == 3)
        fn = n == 0x22 ? op_fnclex : n == 0x23 ? op_fninit : op_nothing;
    else if (op == 7 && n == 0x20)
        fn = op_fnstsw_ax;
    u->imm = (int64_t)(uintptr_t)code;
    return ok(u, fn);
}

static enum vmc_bound bind_memory(unsigned op, unsigned ext, const struct vmc_insn *d, struct vmc_uop *u)
{
    static const vmc_op control[2][4] = {
        {vmc_x87_op_fldenv, op_fldcw, vmc_x87_op_fnstenv, op_fnstcw},
        {vmc_x87_op_frstor, NULL, vmc_x87_op_fnsave, op_fnstsw},
    };
    if ((op == 1 || op == 5) && ext >= 4) {
        u->imm = d->opsize != 2;
        return ok(u, control[op == 5][ext - 4]);
    }
    u->imm = (int64_t)(uintptr_t)(vmc_x87_memory + ((op * 8 + ext) << 2));
    return ok(u, vmc_x87_fast_memory[op][ext]);
}

enum vmc_bound vmc_bind_x87(const struct vmc_insn *d, struct vmc_uop *u)
{
    if (d->map != VMC_MAP_1)
        return VMC_BIND_NO;
    if (d->opcode == 0x9b)
        return ok(u, op_fwait);
    if ((d->opcode & 0xf8) != 0xd8)
        return VMC_BIND_NO;
    unsigned op = d->opcode & 7;
    u->x = (uint16_t)(op << 8 | d->modrm);
    if (d->is_mem)
        return bind_memory(op, d->modrm >> 3 & 7, d, u);
    return bind_registers(op, d->modrm & 0x3f, u);
}
