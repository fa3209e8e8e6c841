/*
 * String instructions: MOVS CMPS STOS LODS SCAS, with REP, REPE, REPNE.
 *
 * Each step commits registers before the next, so a fault in the middle restarts where it was. REP MOVS and
 * REP STOS go in runs: as much as lies in one page on both sides at once with the host's memcpy and memset,
 * byte-exact with what the steps would do (overlapping forward copies that propagate are done step by step).
 * Between runs a request makes the instruction return to itself, so that interrupts are not held up.
 */
#include "cpu/soft/exec/operand.h"

#define OP(name) static void op_##name(VmcCpu *c, const struct vmc_uop *u)

/* u->x: log2 of the element, address size, prefix. */
#define X_SIZE(x) (1u << ((x)&3))
#define X_A32     4u
#define X_A16     8u
#define X_REP     16u /* any repeat prefix */
#define X_REPNE   32u /* F2 */

#define RUN_LIMIT 65536u /* bytes between looks at requests */

static uint64_t address_mask(const struct vmc_uop *u)
{
    return u->x & X_A16 ? 0xffffull : u->x & X_A32 ? 0xffffffffull : ~0ull;
}

static uint64_t get_counter(const VmcCpu *c, const struct vmc_uop *u, unsigned r)
{
    return c->gpr[r] & address_mask(u);
}

/* Writes an index or count register by address size: 16-bit keeps the rest, 32-bit clears the upper half. */
static void put_counter(VmcCpu *c, const struct vmc_uop *u, unsigned r, uint64_t value)
{
    if (u->x & X_A16)
        R16(c, VMC_GPR(r)) = (uint16_t)value;
    else if (u->x & X_A32)
        c->gpr[r] = (uint32_t)value;
    else
        c->gpr[r] = value;
}

static uint64_t source_va(VmcCpu *c, const struct vmc_uop *u, unsigned size)
{
    uint64_t off = get_counter(c, u, VMC_RSI);
    return u->flags & UF_SEG ? vmc_seg_linear(c, u, u->seg, off, size, false) : off + c->seg_base[u->seg];
}

static uint64_t dest_va(VmcCpu *c, const struct vmc_uop *u, unsigned size, bool write)
{
    uint64_t off = get_counter(c, u, VMC_RDI);
    return u->flags & UF_SEG ? vmc_seg_linear(c, u, VMC_ES, off, size, write) : off;
}

static uint64_t load(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size)
{
    switch (size) {
    case 1:
        return vmc_ld8(c, u, va);
    case 2:
        return vmc_ld16(c, u, va);
    case 4:
        return vmc_ld32(c, u, va);
    }
    return vmc_ld64(c, u, va);
}

static void store(VmcCpu *c, const struct vmc_uop *u, uint64_t va, unsigned size, uint64_t v)
{
    switch (size) {
    case 1:
        vmc_st8(c, u, va, (uint8_t)v);
        break;
    case 2:
        vmc_st16(c, u, va, (uint16_t)v);
        break;
    case 4:
        vmc_st32(c, u, va, (uint32_t)v);
        break;
    default:
        vmc_st64(c, u, va, v);
    }
}

static void advance(VmcCpu *c, const struct vmc_uop *u, unsigned r, int64_t by)
{
    put_counter(c, u, r, c->gpr[r] + (uint64_t)by);
}

static int64_t step_of(const VmcCpu *c, unsigned size)
{
    return c->eflags & FL_DF ? -(int64_t)size : (int64_t)size;
}

static void compare(VmcCpu *c, unsigned size, uint64_t a, uint64_t b)
{
    uint64_t mask = ~0ull >> (64 - 8 * size);
    c->cc_op = CC_SUB | (unsigned)__builtin_ctz(size);
    c->cc_dst = (a - b) & mask;
    c->cc_src = b & mask;
}

/* ---- one element ---- */

static void step_movs(VmcCpu *c, const struct vmc_uop *u, unsigned size)
{
    uint64_t v = load(c, u, source_va(c, u, size), size);
    store(c, u, dest_va(c, u, size, true), size, v);
    advance(c, u, VMC_RSI, step_of(c, size));
    advance(c, u, VMC_RDI, step_of(c, size));
}
static void step_stos(VmcCpu *c, const struct vmc_uop *u, unsigned size)
{
    store(c, u, dest_va(c, u, size, true), size, c->gpr[VMC_RAX]);
    advance(c, u, VMC_RDI, step_of(c, size));
}
static void step_lods(VmcCpu *c, const struct vmc_uop *u, unsigned size)
{
    uint64_t v = load(c, u, source_va(c, u, size), size);
    switch (size) {
    case 1:
        R8(c, VMC_GPR(VMC_RAX)) = (uint8_t)v;
        break;
    case 2:
        R16(c, VMC_GPR(VMC_RAX)) = (uint16_t)v;
        break;
    default:
        c->gpr[VMC_RAX] = v;
    }
    advance(c, u, VMC_RSI, step_of(c, size));
}
static void step_scas(VmcCpu *c, const struct vmc_uop *u, unsigned size)
{
    uint64_t v = load(c, u, dest_va(c, u, size, false), size);
    compare(c, size, c->gpr[VMC_RAX] & (~0ull >> (64 - 8 * size)), v);
    advance(c, u, VMC_RDI, step_of(c, size));
}
static void step_cmps(VmcCpu *c, const struct vmc_uop *u, unsigned size)
{
    uint64_t b =
        load(c, u, dest_va(c, u, size, false), size); /* first: its fault is the one reported if both would */
    uint64_t a = load(c, u, source_va(c, u, size), size);
    compare(c, size, a, b);
    advance(c, u, VMC_RSI, step_of(c, size));
    advance(c, u, VMC_RDI, step_of(c, size));
}

/* ---- runs ---- */

static uint64_t to_page_end(uint64_t va)
{
    return VMC_PAGE_SIZE - (va & ~VMC_PAGE_MASK);
}

/* Elements, at most `count`, that a run may cover; 0: do a single step. 64-bit addresses and DF clear only.
 */
static uint64_t run_length(const VmcCpu *c, const struct vmc_uop *u, uint64_t count, unsigned size,
                           bool with_source)
{
    if ((u->x & (X_A16 | X_A32)) || (u->flags & UF_SEG) || (c->eflags & FL_DF) ||
        c->tlb == c->tlbs[VMC_TLB_NEVER])
        return 0;
    uint64_t bytes = to_page_end(c->gpr[VMC_RDI]);
    if (with_source)
        bytes = MIN(bytes, to_page_end(c->gpr[VMC_RSI] + c->seg_base[u->seg]));
    return MIN(bytes / size, count);
}

static uint64_t run_movs(VmcCpu *c, const struct vmc_uop *u, uint64_t count, unsigned size)
{
    uint64_t n = run_length(c, u, count, size, true), bytes = n * size;
    if (n < 4)
        return 0;
    uint64_t from = c->gpr[VMC_RSI] + c->seg_base[u->seg], to = c->gpr[VMC_RDI];
    const uint8_t *src = vmc_host_r(c, from, 1);
    uint8_t *dst = vmc_host_w(c, to, 1);
    if (!src || !dst || (dst > src && dst < src + bytes))
        return 0; /* the first step fills the TLB; an overlap propagates */
    memmove(dst, src, bytes);
    c->gpr[VMC_RSI] += bytes;
    c->gpr[VMC_RDI] += bytes;
    return n;
}

static uint64_t run_stos(VmcCpu *c, const struct vmc_uop *u, uint64_t count, unsigned size)
{
    uint64_t n = run_length(c, u, count, size, false), v = c->gpr[VMC_RAX];
    if (n < 4)
        return 0;
    uint8_t *dst = vmc_host_w(c, c->gpr[VMC_RDI], 1);
    if (!dst)
        return 0;
    uint64_t ones = size == 1 ? 0 : size == 2 ? 0x0101 : size == 4 ? 0x01010101u : 0x0101010101010101ull;
    if (size == 1 || (v & (~0ull >> (64 - 8 * size))) == (v & 0xff) * ones) {
        memset(dst, (int)(v & 0xff), n * size);
    } else {
        for (uint64_t i = 0; i < n; i++)
            memcpy(dst + i * size, &v, size);
    }
    c->gpr[VMC_RDI] += n * size;
    return n;
}

/* ---- repetition ---- */

typedef void (*step_fn)(VmcCpu *c, const struct vmc_uop *u, unsigned size);
typedef uint64_t (*run_fn)(VmcCpu *c, const struct vmc_uop *u, uint64_t count, unsigned size);

/* A request worth stopping for. That code was written to is not: an instruction that overwrites itself goes
 * on as what it was. */
static bool wanted(VmcCpu *c)
{
    return atomic_load_explicit(&c->request, memory_order_relaxed) & ~(uint32_t)REQ_STALE;
}

/* Repeats until the count is used up (true), a comparison ends it (true), or a request wants attention
 * (false). */
static inline __attribute__((always_inline)) bool repeat(VmcCpu *c, const struct vmc_uop *u, step_fn step,
                                                         run_fn run, bool compares)
{
    unsigned size = X_SIZE(u->x), done = 0;
    for (;;) {
        uint64_t count = get_counter(c, u, VMC_RCX);
        if (count == 0)
            return true;
        if (done && (done >= RUN_LIMIT || wanted(c)))
            return false;
        uint64_t n = run ? run(c, u, count, size) : 0;
        if (n == 0) {
            step(c, u, size);
            n = 1;
        }
        put_counter(c, u, VMC_RCX, count - n);
        done += (unsigned)(n * size);
        if (compares && vmc_condition(c, 4) == !!(u->x & X_REPNE))
            return true;
    }
}

/* A repeated instruction ends its block: it may have to return to itself. */
#define DEFINE_STRING(NAME, RUN, COMPARES)                                                                   \
    VMC_OUTLINE static void once_##NAME(VmcCpu *c, const struct vmc_uop *u)                                  \
    {                                                                                                        \
        step_##NAME(c, u, X_SIZE(u->x));                                                                     \
    }                                                                                                        \
    OP(NAME)                                                                                                 \
    {                                                                                                        \
        once_##NAME(c, u);                                                                                   \
        VMC_NEXT(c, u);                                                                                      \
    }                                                                                                        \
    VMC_OUTLINE static bool repeat_##NAME(VmcCpu *c, const struct vmc_uop *u)                                \
    {                                                                                                        \
        return repeat(c, u, step_##NAME, RUN, COMPARES);                                                     \
    }                                                                                                        \
    OP(rep_##NAME)                                                                                           \
    {                                                                                                        \
        uint64_t rip = repeat_##NAME(c, u) ? vmc_next_rip(c, u) : vmc_rip(c, u);                             \
        if (u->flags & UF_SEG) {                                                                             \
            c->rip = (uint32_t)rip;                                                                          \
            return;                                                                                          \
        }                                                                                                    \
        VMC_JUMP(c, rip);                                                                                    \
    }
DEFINE_STRING(movs, run_movs, false)
DEFINE_STRING(stos, run_stos, false)
DEFINE_STRING(lods, NULL, false)
DEFINE_STRING(scas, NULL, true)
DEFINE_STRING(cmps, NULL, true)

enum vmc_bound vmc_bind_string(const struct vmc_insn *d, struct vmc_uop *u)
{
    static const vmc_op table[5][2] = {
        {op_movs, op_rep_movs}, {op_cmps, op_rep_cmps}, {op_stos, op_rep_stos},
        {op_lods, op_rep_lods}, {op_scas, op_rep_scas},
    };
    static const int8_t by_opcode[16] = {-1, -1, -1, -1, 0, 0, 1, 1, -1, -1, 2, 2, 3, 3, 4, 4};
    if (d->map != VMC_MAP_1 || (d->opcode & 0xf0) != 0xa0 || by_opcode[d->opcode & 15] < 0)
        return VMC_BIND_NO;
    u->x = (uint16_t)vmc_width_index(d, !(d->opcode & 1));
    if (d->addrsize == 2)
        u->x |= X_A16;
    else if (d->addrsize == 4)
        u->x |= X_A32;
    if (d->rep)
        u->x |= X_REP | (d->rep == 0xf2 ? X_REPNE : 0);
    if (d->mode == VMC_MODE_64) {
        u->seg = d->seg == VMC_FS || d->seg == VMC_GS ? d->seg : VMC_SEG_FLAT;
    } else {
        u->seg = d->seg != VMC_NO_REG ? d->seg : VMC_DS;
        u->flags |= UF_SEG;
    }
    u->fn = table[by_opcode[d->opcode & 15]][d->rep != 0];
    return d->rep ? VMC_BIND_END : VMC_BIND_OK;
}
