/*
 * Port I/O: IN, OUT, INS, OUTS. Ports go to the machine's port bus; who may is decided by IOPL and the TSS's
 * bitmap.
 *
 * All of these end their block, so that an interrupt (or a stop of the machine) that a port access causes is
 * taken right behind it. INS and OUTS with REP do one step after the other with registers up to date in
 * between, and leave between steps as soon as anything is requested; RIP then still names the instruction.
 *
 * Source: Intel SDM vol. 1 chapter 18; vol. 2 IN, INS, OUT, OUTS; I/O breakpoints: vol. 3 17.2.4.
 */
#include "cpu/soft/segment.h"

/* #GP(0) unless all `size` ports from `port` are allowed. */
static void check_ports(VmcCpu *c, unsigned port, unsigned size)
{
    if (!vmc_protected(c) || (!vmc_v86(c) && c->cpl <= vmc_iopl(c)))
        return;
    unsigned type = SEG_TYPE(c->tr.attr);
    if (!(c->tr.attr & SEG_P) || (type != SYS_TSS && type != SYS_TSS_BUSY) || c->tr.limit < 0x67)
        vmc_gp0(c);
    uint32_t at = (uint32_t)vmc_sys_ld(c, c->tr.base + 0x66, 2) + port / 8;
    if (at + 1 > c->tr.limit)
        vmc_gp0(c);
    uint32_t bits = (uint32_t)vmc_sys_ld(c, c->tr.base + at, 2);
    if (bits >> (port & 7) & ((1u << size) - 1))
        vmc_gp0(c);
}

static void check_breakpoints(VmcCpu *c, unsigned port, unsigned size)
{
    static const uint8_t lengths[4] = {1, 2, 8, 4};
    if (!(c->dr[7] & 0xff) || !(c->cr4 & CR4_DE))
        return;
    for (unsigned i = 0; i < 4; i++) {
        unsigned control = (unsigned)(c->dr[7] >> (16 + 4 * i)) & 0xf, len = lengths[control >> 2];
        if (!(c->dr[7] >> (2 * i) & 3) || (control & 3) != 2)
            continue;
        uint64_t start = c->dr[i] & ~(uint64_t)(len - 1);
        if (port < start + len && start < port + size) {
            c->db_pending |= 1u << i;
            vmc_request(c, REQ_STEP);
        }
    }
}

static uint64_t port_in(VmcCpu *c, unsigned port, unsigned size)
{
    uint64_t value = vmc_bus_read(c->vm->pio, port, size);
    check_breakpoints(c, port, size);
    return value;
}

static void port_out(VmcCpu *c, unsigned port, unsigned size, uint64_t value)
{
    vmc_bus_write(c->vm->pio, port, size, value);
    check_breakpoints(c, port, size);
}

/* ---- IN, OUT: imm is the port or -1 for DX; x is the size ---- */

static unsigned port_of(const VmcCpu *c, const struct vmc_uop *u)
{
    return u->imm < 0 ? (uint16_t)c->gpr[VMC_RDX] : (unsigned)u->imm;
}

static void op_in(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned port = port_of(c, u), size = u->x;
    c->cur = u;
    check_ports(c, port, size);
    uint64_t value = port_in(c, port, size);
    if (size == 1)
        R8(c, VMC_GPR(VMC_RAX)) = (uint8_t)value;
    else if (size == 2)
        R16(c, VMC_GPR(VMC_RAX)) = (uint16_t)value;
    else
        c->gpr[VMC_RAX] = (uint32_t)value;
    c->rip = vmc_after(c, u);
}

static void op_out(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned port = port_of(c, u), size = u->x;
    c->cur = u;
    check_ports(c, port, size);
    port_out(c, port, size, c->gpr[VMC_RAX] & ((1ull << (8 * size)) - 1));
    c->rip = vmc_after(c, u);
}

/* ---- INS, OUTS: x is the size, scale the address size, imm nonzero with REP ---- */

static uint64_t address_mask(unsigned size)
{
    return size == 8 ? ~0ull : size == 4 ? 0xffffffffull : 0xffffull;
}

/* A register as an address-size wide counter: 16-bit forms leave the rest alone. */
static void add_to(VmcCpu *c, unsigned reg, unsigned address_size, int64_t delta)
{
    uint64_t value = c->gpr[reg] + (uint64_t)delta;
    if (address_size == 2)
        R16(c, VMC_GPR(reg)) = (uint16_t)value;
    else
        c->gpr[reg] = value & address_mask(address_size);
}

static uint64_t string_linear(VmcCpu *c, const struct vmc_uop *u, unsigned seg, unsigned reg, bool write)
{
    uint64_t offset = c->gpr[reg] & address_mask(u->scale);
    if (c->mode == VMC_MODE_64)
        return offset + c->seg_base[seg];
    return vmc_seg_linear(c, u, seg, offset, u->x, write);
}

static int64_t step_of(const VmcCpu *c, const struct vmc_uop *u)
{
    return c->eflags & FL_DF ? -(int64_t)u->x : (int64_t)u->x;
}

static void ins_step(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned port = (uint16_t)c->gpr[VMC_RDX], size = u->x;
    check_ports(c, port, size);
    uint64_t va = string_linear(c, u, VMC_ES, VMC_RDI, true);
    vmc_probe(c, u, va, size, VMC_WRITE); /* before the port is read: reading has side effects */
    uint64_t value = port_in(c, port, size);
    if (size == 1)
        vmc_st8(c, u, va, (uint8_t)value);
    else if (size == 2)
        vmc_st16(c, u, va, (uint16_t)value);
    else
        vmc_st32(c, u, va, (uint32_t)value);
    add_to(c, VMC_RDI, u->scale, step_of(c, u));
}

static void outs_step(VmcCpu *c, const struct vmc_uop *u)
{
    unsigned port = (uint16_t)c->gpr[VMC_RDX], size = u->x;
    check_ports(c, port, size);
    uint64_t va = string_linear(c, u, u->seg, VMC_RSI, false);
    uint32_t value = size == 1 ? vmc_ld8(c, u, va) : size == 2 ? vmc_ld16(c, u, va) : vmc_ld32(c, u, va);
    port_out(c, port, size, value);
    add_to(c, VMC_RSI, u->scale, step_of(c, u));
}

static void run_steps(VmcCpu *c, const struct vmc_uop *u, void (*one)(VmcCpu *, const struct vmc_uop *))
{
    uint64_t mask = address_mask(u->scale);
    c->cur = u;
    c->rip = vmc_rip(c, u);
    if (!u->imm) {
        one(c, u);
        c->rip = vmc_after(c, u);
        return;
    }
    check_ports(c, (uint16_t)c->gpr[VMC_RDX], u->x); /* even if nothing is to be moved */
    while (c->gpr[VMC_RCX] & mask) {
        one(c, u);
        add_to(c, VMC_RCX, u->scale, -1);
        if ((c->gpr[VMC_RCX] & mask) && atomic_load_explicit(&c->request, memory_order_relaxed))
            return;
    }
    c->rip = vmc_after(c, u);
}

static void op_ins(VmcCpu *c, const struct vmc_uop *u)
{
    run_steps(c, u, ins_step);
}

static void op_outs(VmcCpu *c, const struct vmc_uop *u)
{
    run_steps(c, u, outs_step);
}

/* ---- binding ---- */

enum vmc_bound vmc_bind_io(const struct vmc_insn *d, struct vmc_uop *u)
{
    if (d->map != VMC_MAP_1)
        return VMC_BIND_NO;
    unsigned size = d->opcode & 1 ? MIN(d->opsize, 4) : 1;
    switch (d->opcode) {
    case 0xe4:
    case 0xe5:
    case 0xec:
    case 0xed:
        u->fn = op_in;
        break;
    case 0xe6:
    case 0xe7:
    case 0xee:
    case 0xef:
        u->fn = op_out;
        break;
    case 0x6c:
    case 0x6d:
        u->fn = op_ins;
        break;
    case 0x6e:
    case 0x6f:
        u->fn = op_outs;
        u->seg = d->seg != VMC_NO_REG ? d->seg : VMC_DS;
        break;
    default:
        return VMC_BIND_NO;
    }
    u->x = (uint16_t)size;
    if ((d->opcode & 0xf0) == 0x60) {
        u->scale = d->addrsize;
        u->imm = d->rep != 0;
    } else {
        u->imm = d->opcode & 8 ? -1 : (uint8_t)d->imm;
    }
    return VMC_BIND_END;
}
