/*
 * Near control flow and the stack: Jcc JMP CALL RET LOOP JCXZ, PUSH POP PUSHA POPA ENTER LEAVE.
 *
 * 64-bit code gets handlers of its own, chained or found through the jump cache. 16- and 32-bit code, where
 * stack width, segment limits and RIP wrap all matter, shares one slower set that asks at run time: it runs
 * firmware and little else.
 */
#include "cpu/soft/exec/control.h"

#define OP(name) static void op_##name(VmcCpu *c, const struct vmc_uop *u)

#define RSP R64(c, VMC_GPR(VMC_RSP))
#define RBP R64(c, VMC_GPR(VMC_RBP))

/* ---- 64-bit: direct jumps; u->disp is the target relative to the block's start ---- */

#define TARGET (c->block_rip + (uint64_t)(int64_t)u->disp)

OP(jmp_near) /* same page: chained */
{
    VMC_CHAIN(c, 0, TARGET);
}

OP(jcc_any)
{
    if (vmc_condition(c, u->x))
        VMC_CHAIN(c, 0, TARGET);
    VMC_CHAIN(c, 1, vmc_next_rip(c, u));
}

/* A target farther than u->disp can say: 32 bits ahead of the instruction, which stands behind the block's
 * start. u->x is the condition, or FAR_JMP or FAR_CALL. */
enum { FAR_JMP = 16, FAR_CALL };
OP(far_target)
{
    uint64_t target = vmc_next_rip(c, u) + (uint64_t)u->imm;
    if (u->x < FAR_JMP && !vmc_condition(c, u->x))
        target = vmc_next_rip(c, u);
    if (u->x == FAR_CALL) {
        vmc_st64(c, u, RSP - 8, vmc_next_rip(c, u));
        RSP -= 8;
    }
    VMC_JUMP(c, target);
}

/* Branches through memory and the stack: like MEM_OP, but with another end. */
#define BRANCH_OP(NAME, BODY)                                                                                \
    VMC_NOINLINE static void slow_##NAME(VmcCpu *c, const struct vmc_uop *u){BODY(SLOW, unused)} OP(NAME)    \
    {                                                                                                        \
        BODY(FAST, slow_##NAME)                                                                              \
    }

/* A target that is not canonical faults before anything is committed. */
VMC_NOINLINE static _Noreturn void bad_target(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    vmc_gp0(c);
}
/* Of calls, after the store has been found possible. */
VMC_NOINLINE static _Noreturn void bad_call_target(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_probe(c, u, RSP - 8, 8, VMC_WRITE);
    bad_target(c, u);
}
/* UF_SS is about the memory operand where there is one: the stack beside it is checked here. */
VMC_NOINLINE static _Noreturn void bad_stack(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    vmc_fault_code(c, EXC_SS, 0);
}
#define CHECK_STACK(va, size)                                                                                \
    if (vmc_unlikely(!CANONICAL(va) || !CANONICAL((va) + (size)-1)))                                         \
        bad_stack(c, u);
#define CANONICAL(va) ((uint64_t)((int64_t)((va) << 16) >> 16) == (va))
#define SLOW_CHECK(S, va)                                                                                    \
    if (vmc_unlikely(!CANONICAL(va)))                                                                        \
        bad_target(c, u);
#define SLOW_CALL_CHECK(S, va)                                                                               \
    if (vmc_unlikely(!CANONICAL(va)))                                                                        \
        bad_call_target(c, u);
#define FAST_CALL_CHECK FAST_CHECK
#define FAST_CHECK(S, va)                                                                                    \
    if (vmc_unlikely(!CANONICAL(va)))                                                                        \
    FAST_LEAVE(S)

#define BODY_CALL_REL(P, S)                                                                                  \
    P##_ST(64, S, RSP - 8, vmc_next_rip(c, u));                                                              \
    RSP -= 8;                                                                                                \
    VMC_JUMP(c, TARGET);
#define BODY_CALL_R(P, S)                                                                                    \
    uint64_t target = R64(c, u->rm);                                                                         \
    P##_CALL_CHECK(S, target) P##_ST(64, S, RSP - 8, vmc_next_rip(c, u));                                    \
    RSP -= 8;                                                                                                \
    VMC_JUMP(c, target);
#define BODY_RET(P, S)                                                                                       \
    uint64_t target = P##_LD(64, S, RSP);                                                                    \
    P##_CHECK(S, target) RSP += 8 + (uint16_t)u->imm;                                                        \
    VMC_JUMP(c, target);
BRANCH_OP(call_rel_64, BODY_CALL_REL)
BRANCH_OP(call_r_64, BODY_CALL_R)
BRANCH_OP(ret_64, BODY_RET)

OP(call_m_64)
{
    uint64_t target = vmc_ld64(c, u, vmc_ea(c, u));
    if (vmc_unlikely(!CANONICAL(target)))
        bad_call_target(c, u);
    CHECK_STACK(RSP - 8, 8)
    vmc_st64(c, u, RSP - 8, vmc_next_rip(c, u));
    RSP -= 8;
    VMC_JUMP(c, target);
}
OP(jmp_r_64)
{
    uint64_t target = R64(c, u->rm);
    SLOW_CHECK(, target)
    VMC_JUMP(c, target);
}
OP(jmp_m_64)
{
    uint64_t target = vmc_ld64(c, u, vmc_ea(c, u));
    SLOW_CHECK(, target)
    VMC_JUMP(c, target);
}
/* LOOPNE, LOOPE, LOOP, JRCXZ: u->x bits 1:0 the opcode's, bit 2: ECX instead of RCX. */
OP(loop_64)
{
    bool wide = !(u->x & 4), taken;
    uint64_t count = wide ? R64(c, VMC_GPR(VMC_RCX)) : R32(c, VMC_GPR(VMC_RCX));
    if ((u->x & 3) == 3) {
        taken = count == 0;
    } else {
        count--;
        R64(c, VMC_GPR(VMC_RCX)) = wide ? count : (uint32_t)count;
        taken = (wide ? count : (uint32_t)count) != 0;
        if ((u->x & 3) == 0)
            taken = taken && !vmc_condition(c, 4);
        else if ((u->x & 3) == 1)
            taken = taken && vmc_condition(c, 4);
    }
    if (taken)
        VMC_CHAIN(c, 0, TARGET);
    VMC_CHAIN(c, 1, vmc_next_rip(c, u));
}

/* ---- 64-bit: stack ---- */

#define BODY_PUSH(P, S, VALUE)                                                                               \
    uint64_t v = (uint64_t)(VALUE);                                                                          \
    P##_ST(64, S, RSP - 8, v);                                                                               \
    RSP -= 8;
#define BODY_POP(P, S, _)                                                                                    \
    uint64_t v = P##_LD(64, S, RSP);                                                                         \
    RSP += 8;                                                                                                \
    R64(c, u->rm) = v;
MEM_OP(push_r_64, BODY_PUSH, R64(c, u->rm))
MEM_OP(push_i_64, BODY_PUSH, u->imm)
MEM_OP(pop_r_64, BODY_POP, )

OP(push_m_64)
{
    uint64_t v = vmc_ld64(c, u, vmc_ea(c, u));
    CHECK_STACK(RSP - 8, 8)
    vmc_st64(c, u, RSP - 8, v);
    RSP -= 8;
    VMC_NEXT(c, u);
}
/* POP [mem]: an address with RSP in it counts RSP after the increment; a fault on the store takes it back. */
OP(pop_m_64)
{
    CHECK_STACK(RSP, 8)
    uint64_t v = vmc_ld64(c, u, RSP);
    uint64_t va = vmc_ea(c, u) + (u->base == VMC_GPR(VMC_RSP) ? 8u : 0u);
    if ((u->flags & UF_A32) && u->seg == VMC_SEG_FLAT)
        va = (uint32_t)va;
    vmc_st64(c, u, va, v);
    RSP += 8;
    VMC_NEXT(c, u);
}
OP(leave_64)
{
    uint64_t v = vmc_ld64(c, u, RBP);
    RSP = RBP + 8;
    RBP = v;
    VMC_NEXT(c, u);
}

#define DEFINE_STACK_16(NAME, VALUE)                                                                         \
    OP(NAME)                                                                                                 \
    {                                                                                                        \
        uint16_t v = (uint16_t)(VALUE);                                                                      \
        vmc_st16(c, u, RSP - 2, v);                                                                          \
        RSP -= 2;                                                                                            \
        VMC_NEXT(c, u);                                                                                      \
    }
DEFINE_STACK_16(push_r_64_16, R16(c, u->rm))
DEFINE_STACK_16(push_i_64_16, u->imm)
OP(push_m_64_16)
{
    uint16_t v = vmc_ld16(c, u, vmc_ea(c, u));
    CHECK_STACK(RSP - 2, 2)
    vmc_st16(c, u, RSP - 2, v);
    RSP -= 2;
    VMC_NEXT(c, u);
}
OP(pop_r_64_16)
{
    uint16_t v = vmc_ld16(c, u, RSP);
    RSP += 2;
    R16(c, u->rm) = v;
    VMC_NEXT(c, u);
}
OP(pop_m_64_16)
{
    CHECK_STACK(RSP, 2)
    uint16_t v = vmc_ld16(c, u, RSP);
    uint64_t va = vmc_ea(c, u) + (u->base == VMC_GPR(VMC_RSP) ? 2u : 0u);
    if ((u->flags & UF_A32) && u->seg == VMC_SEG_FLAT)
        va = (uint32_t)va;
    vmc_st16(c, u, va, v);
    RSP += 2;
    VMC_NEXT(c, u);
}
OP(leave_64_16)
{
    uint16_t v = vmc_ld16(c, u, RBP);
    RSP = RBP + 2;
    R16(c, VMC_GPR(VMC_RBP)) = v;
    VMC_NEXT(c, u);
}

/* ENTER in 64-bit code: u->imm the frame size, u->x bits 4:0 the level, bit 8: 16-bit operands. */
VMC_NOINLINE static void enter_64(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned level = u->x & 31, size = u->x & 0x100 ? 2 : 8;
    uint64_t sp = RSP, bp = RBP, frame;
    c->cur = u;
    /* Stores below RSP may be seen when a later one faults; registers change last. */
    sp -= size;
    if (size == 8)
        vmc_st64(c, u, sp, bp);
    else
        vmc_st16(c, u, sp, (uint16_t)bp);
    frame = sp;
    for (unsigned i = 1; i < level; i++) {
        bp -= size;
        sp -= size;
        if (size == 8)
            vmc_st64(c, u, sp, vmc_ld64(c, u, bp));
        else
            vmc_st16(c, u, sp, vmc_ld16(c, u, bp));
    }
    if (level) {
        sp -= size;
        if (size == 8)
            vmc_st64(c, u, sp, frame);
        else
            vmc_st16(c, u, sp, (uint16_t)frame);
    }
    sp -= (uint16_t)u->imm;
    vmc_probe(c, u, sp, size, VMC_WRITE);
    if (size == 8)
        RBP = frame;
    else
        R16(c, VMC_GPR(VMC_RBP)) = (uint16_t)frame;
    RSP = sp;
}
OP(enter_64)
{
    enter_64(c, u);
    VMC_NEXT(c, u);
}

/* ---- binding ---- */

static enum vmc_bound use(struct vmc_uop *u, vmc_op fn)
{
    u->fn = fn;
    if (!(u->flags & UF_MEM))
        u->flags |= UF_SS; /* stack accesses: #SS for a non-canonical RSP */
    return VMC_BIND_OK;
}

static enum vmc_bound end(struct vmc_uop *u, vmc_op fn)
{
    use(u, fn);
    return VMC_BIND_END;
}

/* A branch to the block's start plus u->disp. Pages are those of the block: its start is the first byte's.
 * `x`: which it is for far_target. */
static enum vmc_bound relative(const struct vmc_insn *d, struct vmc_uop *u, vmc_op fn, unsigned x)
{
    if (!__builtin_add_overflow(u->off + d->length, d->imm, &u->disp))
        return end(u, fn);
    u->x = (uint16_t)x;
    return end(u, op_far_target);
}

static enum vmc_bound bind_group5(const struct vmc_insn *d, struct vmc_uop *u)
{
    switch (d->modrm >> 3 & 7) {
    case 2:
        return end(u, d->is_mem ? op_call_m_64 : op_call_r_64);
    case 4:
        return end(u, d->is_mem ? op_jmp_m_64 : op_jmp_r_64);
    case 6:
        if (d->opsize == 2)
            return use(u, d->is_mem ? op_push_m_64_16 : op_push_r_64_16);
        return use(u, d->is_mem ? op_push_m_64 : op_push_r_64);
    }
    return VMC_BIND_NO;
}

static enum vmc_bound bind_64(const struct vmc_insn *d, struct vmc_uop *u)
{
    unsigned op = d->opcode;
    bool narrow = d->opsize == 2;
    if (d->map == VMC_MAP_0F) {
        if ((op & 0xf0) != 0x80)
            return VMC_BIND_NO;
        u->x = op & 15;
        return relative(d, u, op_jcc_any, u->x);
    }
    if (d->map != VMC_MAP_1)
        return VMC_BIND_NO;
    if (op >= 0x70 && op < 0x80) {
        u->x = op & 15;
        return relative(d, u, op_jcc_any, u->x);
    }
    if (op >= 0x50 && op < 0x58)
        return use(u, narrow ? op_push_r_64_16 : op_push_r_64);
    if (op >= 0x58 && op < 0x60)
        return use(u, narrow ? op_pop_r_64_16 : op_pop_r_64);
    switch (op) {
    case 0x68:
    case 0x6a:
        return use(u, narrow ? op_push_i_64_16 : op_push_i_64);
    case 0x8f:
        if (d->modrm >> 3 & 7)
            return VMC_BIND_UD;
        if (!d->is_mem)
            return use(u, narrow ? op_pop_r_64_16 : op_pop_r_64);
        return use(u, narrow ? op_pop_m_64_16 : op_pop_m_64);
    case 0xc2:
    case 0xc3:
        if (op == 0xc3)
            u->imm = 0;
        return end(u, op_ret_64);
    case 0xc8:
        u->x = (uint16_t)((d->imm2 & 31) | (narrow ? 0x100 : 0));
        return use(u, op_enter_64);
    case 0xc9:
        return use(u, narrow ? op_leave_64_16 : op_leave_64);
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
        u->x = (uint16_t)((op & 3) | (d->addrsize == 4 ? 4 : 0));
        return relative(d, u, op_loop_64, 0); /* never far */
    case 0xe8:
        return relative(d, u, op_call_rel_64, FAR_CALL);
    case 0xe9:
    case 0xeb:
        return relative(d, u, op_jmp_near, FAR_JMP);
    case 0xff:
        return bind_group5(d, u);
    }
    return VMC_BIND_NO;
}

enum vmc_bound vmc_bind_control(const struct vmc_insn *d, struct vmc_uop *u)
{
    return d->mode == VMC_MODE_64 ? bind_64(d, u) : vmc_bind_control_legacy(d, u);
}
