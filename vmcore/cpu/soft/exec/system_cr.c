/*
 * Control and debug registers: MOV CR, MOV DR, CLTS, LMSW, SMSW.
 *
 * A write is checked whole, then committed, then whatever hangs on it is brought up to date: EFER.LMA,
 * PDPTEs, TLB, mode.
 *
 * Source: Intel SDM vol. 3 section 2.5, 4.1, 9.8.5 (entering IA-32e mode), 17.2 (debug registers); vol. 2 MOV
 * CR, MOV DR.
 */
#include "cpu/soft/cpuid.h"
#include "cpu/soft/exception.h"
#include "cpu/soft/exec/fx.h"
#include "cpu/soft/segment.h"

#define CR0_BITS                                                                                             \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define CR3_RSVD_LONG (~((1ull << VMC_PHYS_BITS) - 1))
#define DR6_FIXED     0xffff0ff0ull
#define DR6_BITS      0x0000e00full
#define DR7_FIXED     0x00000400ull
#define DR7_BITS      0xffff23ffull

static bool pae_not_long(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

/* ---- CR0 ---- */

static void write_cr0(VmcCpu *c, uint64_t value)
{
    uint64_t old = c->cr0, efer = c->efer;
    if (value >> 32)
        vmc_gp0(c);
    value = (value & CR0_BITS) | CR0_ET;
    uint64_t changed = value ^ old;
    if ((value & (CR0_PG | CR0_PE)) == CR0_PG || (value & (CR0_NW | CR0_CD)) == CR0_NW)
        vmc_gp0(c);
    if ((changed & CR0_PG) && (value & CR0_PG) && (efer & EFER_LME)) {
        unsigned tr = SEG_TYPE(c->tr.attr);
        if (!(c->cr4 & CR4_PAE) || (c->seg[VMC_CS].attr & SEG_L) ||
            ((c->tr.attr & SEG_P) && (tr == SYS_TSS16 || tr == SYS_TSS16_BUSY)))
            vmc_gp0(c);
        efer |= EFER_LMA;
    }
    if ((changed & CR0_PG) && !(value & CR0_PG)) {
        if (c->mode == VMC_MODE_64)
            vmc_gp0(c);
        efer &= ~EFER_LMA;
    }
    if (pae_not_long(value, c->cr4, efer) && (changed & (CR0_PG | CR0_CD | CR0_NW)) &&
        !vmc_load_pdptes(c, c->cr3))
        vmc_gp0(c);

    c->cr0 = value;
    c->efer = efer;
    c->long_mode = efer & EFER_LMA;
    if (changed & CR0_PE)
        c->cpl = 0;
    if (changed & (CR0_PG | CR0_WP | CR0_PE))
        vmc_tlb_flush(c);
    vmc_fx_update(c);
    vmc_mode_changed(c);
}

/* ---- CR3, CR4, CR8 ---- */

static void write_cr3(VmcCpu *c, uint64_t value)
{
    if (c->long_mode && (value & CR3_RSVD_LONG))
        vmc_gp0(c);
    if (pae_not_long(c->cr0, c->cr4, c->efer) && !vmc_load_pdptes(c, value))
        vmc_gp0(c);
    c->cr3 = value;
    vmc_tlb_flush_space(c);
}

static void write_cr4(VmcCpu *c, uint64_t value)
{
    uint64_t changed = value ^ c->cr4;
    if (value & ~vmc_cr4_allowed(c))
        vmc_gp0(c);
    if (c->long_mode && !(value & CR4_PAE))
        vmc_gp0(c);
    if (pae_not_long(c->cr0, value, c->efer) && (changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP)) &&
        !vmc_load_pdptes(c, c->cr3))
        vmc_gp0(c);
    c->cr4 = value;
    if (changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP | CR4_SMAP))
        vmc_tlb_flush(c);
    vmc_fx_update(c);
    vmc_mode_changed(c);
}

static void write_cr8(VmcCpu *c, uint64_t value)
{
    if (value > 15)
        vmc_gp0(c);
    if (c->lapic.ops)
        c->lapic.ops->set_cr8(c->lapic.apic, value);
    vmc_request(c, REQ_INTR); /* a lower priority may let something in */
}

/* x is the control register; rm the general one. */
static void op_to_cr(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_need_cpl0(c, u);
    uint64_t value = R64(c, u->rm), after = vmc_after(c, u);
    if (c->mode != VMC_MODE_64)
        value = (uint32_t)value;
    switch (u->x) {
    case 0:
        write_cr0(c, value);
        break;
    case 2:
        c->cr2 = value;
        break;
    case 3:
        write_cr3(c, value);
        break;
    case 4:
        write_cr4(c, value);
        break;
    case 8:
        write_cr8(c, value);
        break;
    }
    c->rip = after;
}

VMC_OUTLINE static uint64_t read_cr(VmcCpu *c, unsigned n)
{
    switch (n) {
    case 0:
        return c->cr0;
    case 2:
        return c->cr2;
    case 3:
        return c->cr3;
    case 4:
        return c->cr4;
    }
    return c->lapic.ops ? c->lapic.ops->get_cr8(c->lapic.apic) : 0;
}

static void op_from_cr(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_need_cpl0(c, u);
    uint64_t value = read_cr(c, u->x);
    R64(c, u->rm) = c->mode == VMC_MODE_64 ? value : (uint32_t)value;
    VMC_NEXT(c, u);
}

static void op_clts(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_need_cpl0(c, u);
    c->cr0 &= ~CR0_TS;
    c->rip = vmc_after(c, u);
    vmc_fx_update(c);
}

/* ---- LMSW, SMSW ---- */

static void op_lmsw(VmcCpu *c, const struct vmc_uop *u)
{
    vmc_need_cpl0(c, u);
    uint16_t value = u->flags & UF_MEM ? vmc_ld16(c, u, vmc_ea(c, u)) : R16(c, u->rm);
    uint64_t keep = c->cr0 & CR0_PE; /* can be set, not cleared */
    uint64_t after = vmc_after(c, u);
    write_cr0(c, (c->cr0 & ~0xfull) | (value & 0xf) | keep);
    c->rip = after;
}

static void check_umip(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    if (vmc_unlikely((c->cr4 & CR4_UMIP) && c->cpl))
        vmc_gp0(c);
}

/* x: operand size of the register form. */
static void op_smsw(VmcCpu *c, const struct vmc_uop *u)
{
    check_umip(c, u);
    if (u->flags & UF_MEM)
        vmc_st16(c, u, vmc_ea(c, u), (uint16_t)c->cr0);
    else if (u->x == 2)
        R16(c, u->rm) = (uint16_t)c->cr0;
    else
        R64(c, u->rm) = c->cr0;
    VMC_NEXT(c, u);
}

/* ---- debug registers ---- */

/* DR4 and DR5 are DR6 and DR7 without CR4.DE, and do not exist with it. */
static unsigned check_dr(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned n = u->x;
    c->cur = u;
    if (n == 4 || n == 5) {
        if (c->cr4 & CR4_DE)
            vmc_ud(c);
        n += 2;
    }
    if (c->cpl)
        vmc_gp0(c);
    if (c->dr[7] & DR7_GD)
        vmc_fault_db(c, DR6_BD);
    return n;
}

static void op_to_dr(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned n = check_dr(c, u);
    uint64_t value = R64(c, u->rm);
    if (c->mode != VMC_MODE_64)
        value = (uint32_t)value;
    if (n >= 6 && value >> 32)
        vmc_gp0(c);
    if (n == 6)
        value = (value & DR6_BITS) | DR6_FIXED;
    else if (n == 7)
        value = (value & DR7_BITS) | DR7_FIXED;
    c->dr[n] = value;
    c->rip = vmc_after(c, u);
    vmc_soft_update_mode(c);
}

static void op_from_dr(VmcCpu *c, const struct vmc_uop *u)
{
    uint64_t value = c->dr[check_dr(c, u)];
    R64(c, u->rm) = c->mode == VMC_MODE_64 ? value : (uint32_t)value;
    VMC_NEXT(c, u);
}

/* ---- binding ---- */

static enum vmc_bound bind_group_7(const struct vmc_insn *d, struct vmc_uop *u)
{
    switch (d->modrm >> 3 & 7) {
    case 4:
        u->fn = op_smsw;
        u->x = d->opsize;
        return VMC_BIND_OK;
    case 6:
        u->fn = op_lmsw;
        return VMC_BIND_END;
    }
    return VMC_BIND_NO;
}

enum vmc_bound vmc_bind_control_regs(const struct vmc_insn *d, struct vmc_uop *u)
{
    if (d->map != VMC_MAP_0F)
        return VMC_BIND_NO;
    switch (d->opcode) {
    case 0x01:
        return bind_group_7(d, u);
    case 0x06:
        u->fn = op_clts;
        return VMC_BIND_END;
    case 0x20:
    case 0x21:
    case 0x22:
    case 0x23:
        break;
    default:
        return VMC_BIND_NO;
    }
    /* ModRM.mod does not matter: the operand is always a register. */
    u->rm = VMC_GPR((d->modrm & 7) | (d->rex & 1) << 3);
    u->x = (d->modrm >> 3 & 7) | (d->rex & 4) << 1;
    u->flags = 0;
    bool debug = d->opcode & 1;
    if (debug ? u->x > 7 : u->x != 0 && (u->x < 2 || u->x > 4) && u->x != 8)
        return VMC_BIND_UD;
    if (d->opcode & 2) {
        u->fn = debug ? op_to_dr : op_to_cr;
        return VMC_BIND_END;
    }
    u->fn = debug ? op_from_dr : op_from_cr;
    return VMC_BIND_OK;
}
