/*
 * What is left of the machine: interrupt flag and HLT, MSRs, time, CPUID, TLB and cache control, hint NOPs;
 * and the binder of the whole family (system_cr.c, system_seg.c, far.c, io.c).
 *
 * Source: Intel SDM vol. 2, each instruction.
 */
#include "cpu/soft/cpuid.h"
#include "cpu/soft/flags.h"
#include "cpu/soft/msr.h"
#include "cpu/soft/segment.h"

/* ---- IF and HLT ---- */

static void check_iopl(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    if (vmc_unlikely(vmc_protected(c) && c->cpl > vmc_iopl(c)))
        vmc_gp0(c);
}

static void op_cli(VmcCpu *c, const struct vmc_uop *u)
{
    check_iopl(c, u);
    c->eflags &= ~FL_IF;
    VMC_NEXT(c, u);
}

/* If it turns interrupts on, the next instruction still runs without them. */
static void op_sti(VmcCpu *c, const struct vmc_uop *u)
{
    check_iopl(c, u);
    if (!(c->eflags & FL_IF)) {
        c->eflags |= FL_IF;
        if (c->translator && !(atomic_load_explicit(&c->request, memory_order_relaxed) & REQ_STEP)) {
            c->sti_shadow = true;
        } else {
            c->inhibit = true;
            vmc_request(c, REQ_STEP);
        }
    }
    c->rip = vmc_after(c, u);
}

static void op_hlt(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_need_cpl0(c, u);
    c->rip = vmc_after(c, u);
    c->halted = true;
    vmc_request(c, REQ_HALT);
}

/* ---- MSRs, time, identity ---- */

static VMC_NOINLINE void rdmsr(VmcCpu *c)
{
    uint64_t value;
    if (!vmc_msr_read(c, (uint32_t)c->gpr[VMC_RCX], &value))
        vmc_gp0(c);
    c->gpr[VMC_RAX] = (uint32_t)value;
    c->gpr[VMC_RDX] = value >> 32;
}

static void op_rdmsr(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_need_cpl0(c, u);
    rdmsr(c);
    VMC_NEXT(c, u);
}

static void op_wrmsr(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_need_cpl0(c, u);
    uint64_t value = (c->gpr[VMC_RDX] << 32) | (uint32_t)c->gpr[VMC_RAX];
    if (!vmc_msr_write(c, (uint32_t)c->gpr[VMC_RCX], value))
        vmc_gp0(c);
    c->rip = vmc_after(c, u);
}

static void rdtsc(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    if (vmc_unlikely((c->cr4 & CR4_TSD) && c->cpl))
        vmc_gp0(c);
    uint64_t tsc = vmc_soft_tsc(c);
    c->gpr[VMC_RAX] = (uint32_t)tsc;
    c->gpr[VMC_RDX] = tsc >> 32;
}

static void op_rdtsc(VmcCpu *c, const struct vmc_uop *u)
{
    rdtsc(c, u);
    VMC_NEXT(c, u);
}

static void op_rdtscp(VmcCpu *c, const struct vmc_uop *u)
{
    rdtsc(c, u);
    c->gpr[VMC_RCX] = (uint32_t)c->msr.tsc_aux;
    VMC_NEXT(c, u);
}

/* There are no performance counters, so no counter number is right. */
static void op_rdpmc(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    vmc_gp0(c);
}

static void op_cpuid(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_cpuid(c);
    VMC_NEXT(c, u);
}

/* ---- TLB, caches, SMAP ---- */

static void op_invlpg(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_need_cpl0(c, u);
    vmc_tlb_flush_page(c, vmc_ea_offset(c, u) + c->seg_base[u->seg]);
    c->rip = vmc_after(c, u);
}

/* INVD, WBINVD: there are no caches. */
static void op_privileged_nop(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_need_cpl0(c, u);
    VMC_NEXT(c, u);
}

/* imm: the new AC. */
static void op_set_ac(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    if (c->cpl)
        vmc_ud(c);
    c->eflags = (c->eflags & ~FL_AC) | (uint64_t)u->imm;
    vmc_soft_update_mode(c);
    VMC_NEXT(c, u);
}

/* ---- odds and ends ---- */

static void op_nop(VmcCpu *c, const struct vmc_uop *u)
{
    VMC_NEXT(c, u);
}

static void op_salc(VmcCpu *c, const struct vmc_uop *u)
{
    R8(c, VMC_GPR(VMC_RAX)) = vmc_flag_carry(c) ? 0xff : 0;
    VMC_NEXT(c, u);
}

/* x: operand size. The bounds are signed and inclusive. */
static void op_bound(VmcCpu *c, const struct vmc_uop *u)
{
    uint64_t va = vmc_ea(c, u);
    int32_t index, low, high;
    if (u->x == 2) {
        index = (int16_t)R16(c, u->reg);
        low = (int16_t)vmc_ld16(c, u, va);
        high = (int16_t)vmc_ld16(c, u, va + 2);
    } else {
        index = (int32_t)R32(c, u->reg);
        low = (int32_t)vmc_ld32(c, u, va);
        high = (int32_t)vmc_ld32(c, u, va + 4);
    }
    c->cur = u;
    if (index < low || index > high)
        vmc_fault(c, EXC_BR);
    VMC_NEXT(c, u);
}

/* ---- binding ---- */

static enum vmc_bound ok(struct vmc_uop *u, vmc_op fn)
{
    u->fn = fn;
    return VMC_BIND_OK;
}

static enum vmc_bound end(struct vmc_uop *u, vmc_op fn)
{
    u->fn = fn;
    return VMC_BIND_END;
}

static enum vmc_bound bind_one_byte(const struct vmc_insn *d, struct vmc_uop *u)
{
    bool is64 = d->mode == VMC_MODE_64;
    switch (d->opcode) {
    case 0x62:
        u->x = d->opsize;
        return is64 || !d->is_mem ? VMC_BIND_UD : ok(u, op_bound);
    case 0xd6:
        return is64 ? VMC_BIND_UD : ok(u, op_salc);
    case 0xf4:
        return end(u, op_hlt);
    case 0xfa:
        return ok(u, op_cli);
    case 0xfb:
        return end(u, op_sti);
    }
    return VMC_BIND_NO;
}

/* 0F 01, what system_cr.c and system_seg.c left: MONITOR, MWAIT, VMX and the rest are not advertised,
 * XGETBV and XSETBV perhaps (xsave.c). */
static enum vmc_bound bind_group_7(const struct vmc_insn *d, struct vmc_uop *u)
{
    if (d->is_mem)
        return (d->modrm >> 3 & 7) == 7 ? end(u, op_invlpg) : VMC_BIND_UD;
    bool plain = !d->prefix66 && !d->rep;
    switch (d->modrm) {
    case 0xca:
    case 0xcb:
        if (!plain)
            return VMC_BIND_UD;
        u->imm = d->modrm & 1 ? FL_AC : 0;
        return ok(u, op_set_ac);
    case 0xf9:
        return ok(u, op_rdtscp);
    }
    return VMC_BIND_UD;
}

static enum vmc_bound bind_0f(const struct vmc_insn *d, struct vmc_uop *u)
{
    switch (d->opcode) {
    case 0x01:
        return bind_group_7(d, u);
    case 0x08:
    case 0x09:
        return ok(u, op_privileged_nop);
    case 0x0d: /* PREFETCHW and kin */
    case 0x18:
    case 0x19:
    case 0x1a:
    case 0x1b:
    case 0x1c: /* prefetches, hint NOPs */
    case 0x1d:
    case 0x1e:
    case 0x1f: /* ENDBR among them */
        return ok(u, op_nop);
    case 0x30:
        return end(u, op_wrmsr);
    case 0x31:
        return ok(u, op_rdtsc);
    case 0x32:
        return ok(u, op_rdmsr);
    case 0x33:
        return ok(u, op_rdpmc);
    case 0xa2:
        return ok(u, op_cpuid);
    case 0x0b:
    case 0xb9:
    case 0xff: /* UD2, UD1, UD0 */
    case 0x37:
    case 0xaa: /* GETSEC, RSM */
        return VMC_BIND_UD;
    }
    return VMC_BIND_NO;
}

enum vmc_bound vmc_bind_system(const struct vmc_insn *d, struct vmc_uop *u)
{
    static enum vmc_bound (*const parts[])(const struct vmc_insn *, struct vmc_uop *) = {
        vmc_bind_far,
        vmc_bind_io,
        vmc_bind_control_regs,
        vmc_bind_segments,
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        enum vmc_bound r = parts[i](d, u);
        if (r != VMC_BIND_NO)
            return r;
    }
    if (d->map == VMC_MAP_1)
        return bind_one_byte(d, u);
    return d->map == VMC_MAP_0F ? bind_0f(d, u) : VMC_BIND_NO;
}
