/*
 * Near control flow and the stack of 16- and 32-bit code (control.c has the 64-bit half).
 *
 * One handler per instruction; operand size, stack width and addresses are settled at run time through u->x.
 * Branch targets are checked against CS before anything is committed.
 */
#include "cpu/soft/exec/control.h"

#define OP(name) static void op_##name(VmcCpu *c, const struct vmc_uop *u)

#define X_16     1u         /* 16-bit operand size */
#define X_CX16   2u         /* LOOP, JCXZ count in CX */
#define X_ARG(x) ((x) >> 4) /* condition, LOOP kind, ENTER level */

static unsigned operand_bytes(const struct vmc_uop *u)
{
    return u->x & X_16 ? 2 : 4;
}

static uint32_t stack_mask(const VmcCpu *c)
{
    return c->stack32 ? 0xffffffffu : 0xffffu;
}

static uint32_t get_sp(const VmcCpu *c)
{
    return (uint32_t)c->gpr[VMC_RSP] & stack_mask(c);
}

static void set_sp(VmcCpu *c, uint32_t sp)
{
    if (c->stack32)
        c->gpr[VMC_RSP] = sp;
    else
        R16(c, VMC_GPR(VMC_RSP)) = (uint16_t)sp;
}

static void store_at(VmcCpu *c, const struct vmc_uop *u, uint32_t sp, unsigned size, uint32_t value)
{
    uint64_t va = vmc_seg_linear(c, u, VMC_SS, sp & stack_mask(c), size, true);
    if (size == 2)
        vmc_st16(c, u, va, (uint16_t)value);
    else
        vmc_st32(c, u, va, value);
}

static uint32_t load_at(VmcCpu *c, const struct vmc_uop *u, uint32_t sp, unsigned size)
{
    uint64_t va = vmc_seg_linear(c, u, VMC_SS, sp & stack_mask(c), size, false);
    return size == 2 ? vmc_ld16(c, u, va) : vmc_ld32(c, u, va);
}

VMC_NOINLINE static void push(VmcCpu *c, const struct vmc_uop *u, uint32_t value)
{
    unsigned size = operand_bytes(u);
    uint32_t sp = get_sp(c) - size;
    store_at(c, u, sp, size, value);
    set_sp(c, sp);
}

VMC_NOINLINE static uint32_t pop(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned size = operand_bytes(u);
    uint32_t value = load_at(c, u, get_sp(c), size);
    set_sp(c, get_sp(c) + size);
    return value;
}

static uint32_t load_operand(VmcCpu *c, const struct vmc_uop *u)
{
    if (u->flags & UF_MEM) {
        uint64_t va = vmc_ea(c, u);
        return u->x & X_16 ? vmc_ld16(c, u, va) : vmc_ld32(c, u, va);
    }
    return u->x & X_16 ? R16(c, u->rm) : R32(c, u->rm);
}

static void store_register(VmcCpu *c, const struct vmc_uop *u, uint32_t value)
{
    if (u->x & X_16)
        R16(c, u->rm) = (uint16_t)value;
    else
        R64(c, u->rm) = value;
}

/* ---- branches ---- */

/* The branch target cut to the operand size; #GP(0) beyond the limit of CS. */
static uint64_t checked_target(VmcCpu *c, const struct vmc_uop *u, uint64_t target)
{
    target = u->x & X_16 ? (uint16_t)target : (uint32_t)target;
    if (target > c->seg[VMC_CS].limit) {
        c->cur = u;
        vmc_gp0(c);
    }
    return target;
}

static uint64_t relative_target(VmcCpu *c, const struct vmc_uop *u)
{
    return checked_target(c, u, vmc_next_rip(c, u) + (uint64_t)u->imm);
}

/* The next instruction's IP: 16-bit code wraps at 64 KiB only by faulting, so just cut to 32 bits. */
static uint64_t fall_through(VmcCpu *c, const struct vmc_uop *u)
{
    return (uint32_t)vmc_next_rip(c, u);
}

OP(jmp_rel)
{
    c->rip = relative_target(c, u);
}
OP(jcc_rel)
{
    c->rip = vmc_condition(c, X_ARG(u->x)) ? relative_target(c, u) : fall_through(c, u);
}
OP(jmp_rm)
{
    c->rip = checked_target(c, u, load_operand(c, u));
}
/* A call finds out that it can push before it looks at its target. */
VMC_NOINLINE static void probe_push(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned size = operand_bytes(u);
    uint32_t sp = (get_sp(c) - size) & stack_mask(c);
    vmc_probe(c, u, vmc_seg_linear(c, u, VMC_SS, sp, size, true), size, VMC_WRITE);
}
OP(call_rel)
{
    probe_push(c, u);
    uint64_t target = relative_target(c, u);
    push(c, u, (uint32_t)vmc_next_rip(c, u));
    c->rip = target;
}
OP(call_rm)
{
    uint64_t target = load_operand(c, u);
    probe_push(c, u);
    target = checked_target(c, u, target);
    push(c, u, (uint32_t)vmc_next_rip(c, u));
    c->rip = target;
}
OP(ret_near)
{
    unsigned size = operand_bytes(u);
    uint64_t target = checked_target(c, u, load_at(c, u, get_sp(c), size));
    set_sp(c, get_sp(c) + size + (uint16_t)u->imm);
    c->rip = target;
}
OP(loop_rel)
{
    unsigned kind = X_ARG(u->x);
    bool narrow = u->x & X_CX16, taken;
    uint32_t count = narrow ? R16(c, VMC_GPR(VMC_RCX)) : R32(c, VMC_GPR(VMC_RCX));
    uint32_t left = narrow ? (uint16_t)(count - 1) : count - 1;
    if (kind == 3)
        taken = count == 0;
    else
        taken = left != 0 && (kind == 2 || vmc_condition(c, 4) == (kind == 1));
    uint64_t next = taken ? relative_target(c, u) : fall_through(c, u);
    if (kind != 3) {
        if (narrow)
            R16(c, VMC_GPR(VMC_RCX)) = (uint16_t)left;
        else
            R64(c, VMC_GPR(VMC_RCX)) = left;
    }
    c->rip = next;
}

/* ---- stack ---- */

OP(push_rm)
{
    push(c, u, load_operand(c, u));
    VMC_NEXT(c, u);
}
OP(push_imm)
{
    push(c, u, (uint32_t)u->imm);
    VMC_NEXT(c, u);
}
OP(pop_reg)
{
    uint32_t v = pop(c, u);
    store_register(c, u, v);
    VMC_NEXT(c, u);
}

/* POP [mem]: the address counts (E)SP after the increment; a fault on the store puts it back. */
VMC_NOINLINE static void pop_memory(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned size = operand_bytes(u);
    uint32_t sp = get_sp(c), v = load_at(c, u, sp, size);
    struct vmc_uop moved = *u;
    if (u->base == VMC_GPR(VMC_RSP))
        moved.disp = (int32_t)((uint32_t)moved.disp + size); /* addresses have 32 bits or less */
    uint64_t va = vmc_ea(c, &moved);
    if (size == 2)
        vmc_st16(c, u, va, (uint16_t)v);
    else
        vmc_st32(c, u, va, v);
    set_sp(c, sp + size);
}
OP(pop_mem)
{
    c->cur = u;
    pop_memory(c, u);
    VMC_NEXT(c, u);
}

VMC_NOINLINE static void push_all(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned size = operand_bytes(u);
    uint32_t sp = get_sp(c);
    for (unsigned i = 0; i < 8; i++)
        store_at(c, u, sp - (i + 1) * size, size, (uint32_t)c->gpr[i]);
    set_sp(c, sp - 8 * size);
}
OP(pusha)
{
    push_all(c, u);
    VMC_NEXT(c, u);
}

VMC_NOINLINE static void pop_all(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned size = operand_bytes(u);
    uint32_t sp = get_sp(c), v[8];
    for (unsigned i = 0; i < 8; i++)
        v[i] = load_at(c, u, sp + i * size, size);
    for (unsigned i = 0; i < 8; i++) {
        unsigned r = 7 - i;
        if (r == VMC_RSP)
            continue;
        if (size == 2)
            R16(c, VMC_GPR(r)) = (uint16_t)v[i];
        else
            c->gpr[r] = v[i];
    }
    set_sp(c, sp + 8 * size);
}
OP(popa)
{
    pop_all(c, u);
    VMC_NEXT(c, u);
}

VMC_NOINLINE static void enter(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned size = operand_bytes(u), level = X_ARG(u->x) & 31;
    uint32_t sp = get_sp(c), bp = (uint32_t)c->gpr[VMC_RBP] & stack_mask(c), frame;
    sp -= size;
    store_at(c, u, sp, size, (uint32_t)c->gpr[VMC_RBP]);
    frame = ((uint32_t)c->gpr[VMC_RSP] & ~stack_mask(c)) | (sp & stack_mask(c));
    for (unsigned i = 1; i < level; i++) {
        bp -= size;
        sp -= size;
        store_at(c, u, sp, size, load_at(c, u, bp, size));
    }
    if (level) {
        sp -= size;
        store_at(c, u, sp, size, frame);
    }
    sp -= (uint16_t)u->imm;
    vmc_probe(c, u, vmc_seg_linear(c, u, VMC_SS, sp & stack_mask(c), size, true), size, VMC_WRITE);
    if (size == 2)
        R16(c, VMC_GPR(VMC_RBP)) = (uint16_t)frame;
    else
        c->gpr[VMC_RBP] = frame;
    set_sp(c, sp);
}
OP(enter)
{
    enter(c, u);
    VMC_NEXT(c, u);
}
OP(leave)
{
    unsigned size = operand_bytes(u);
    uint32_t bp = (uint32_t)c->gpr[VMC_RBP] & stack_mask(c), v = load_at(c, u, bp, size);
    set_sp(c, bp + size);
    if (size == 2)
        R16(c, VMC_GPR(VMC_RBP)) = (uint16_t)v;
    else
        c->gpr[VMC_RBP] = v;
    VMC_NEXT(c, u);
}

/* ---- binding ---- */

static enum vmc_bound use(struct vmc_uop *u, vmc_op fn)
{
    u->fn = fn;
    return VMC_BIND_OK;
}
static enum vmc_bound end(struct vmc_uop *u, vmc_op fn)
{
    u->fn = fn;
    return VMC_BIND_END;
}

enum vmc_bound vmc_bind_control_legacy(const struct vmc_insn *d, struct vmc_uop *u)
{
    unsigned op = d->opcode, ext = d->modrm >> 3 & 7;
    u->x = d->opsize == 2 ? X_16 : 0;
    if (d->map == VMC_MAP_0F) {
        if ((op & 0xf0) != 0x80)
            return VMC_BIND_NO;
        u->x |= (uint16_t)((op & 15) << 4);
        return end(u, op_jcc_rel);
    }
    if (d->map != VMC_MAP_1)
        return VMC_BIND_NO;
    if (op >= 0x70 && op < 0x80) {
        u->x |= (uint16_t)((op & 15) << 4);
        return end(u, op_jcc_rel);
    }
    if (op >= 0x50 && op < 0x58)
        return use(u, op_push_rm);
    if (op >= 0x58 && op < 0x60)
        return use(u, op_pop_reg);
    switch (op) {
    case 0x60:
        return use(u, op_pusha);
    case 0x61:
        return use(u, op_popa);
    case 0x68:
    case 0x6a:
        return use(u, op_push_imm);
    case 0x8f:
        if (ext)
            return VMC_BIND_UD;
        return use(u, d->is_mem ? op_pop_mem : op_pop_reg);
    case 0xc2:
        return end(u, op_ret_near);
    case 0xc3:
        u->imm = 0;
        return end(u, op_ret_near);
    case 0xc8:
        u->x |= (uint16_t)(d->imm2 << 4);
        return use(u, op_enter);
    case 0xc9:
        return use(u, op_leave);
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
        u->x |= (uint16_t)((op & 3) << 4 | (d->addrsize == 2 ? X_CX16 : 0));
        return end(u, op_loop_rel);
    case 0xe8:
        return end(u, op_call_rel);
    case 0xe9:
    case 0xeb:
        return end(u, op_jmp_rel);
    case 0xff:
        if (ext == 2)
            return end(u, op_call_rm);
        if (ext == 4)
            return end(u, op_jmp_rm);
        return ext == 6 ? use(u, op_push_rm) : VMC_BIND_NO;
    }
    return VMC_BIND_NO;
}
