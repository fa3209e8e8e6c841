/*
 * Binding: from what an instruction says (decode/insn.h) to what runs (uop.h).
 *
 * Operands are translated once for all families: register numbers become byte offsets, absent ones the
 * constant zero, RIP-relative bases the running block's RIP. Then each family is asked in turn for the
 * handler.
 */
#include "cpu/soft/mmu.h"

void vmc_op_ud(VmcCpu *c, const struct vmc_uop *u)
{
    c->cur = u;
    vmc_ud(c);
}

static uint8_t slot(uint8_t reg)
{
    return reg == VMC_NO_REG ? VMC_SLOT_ZERO : reg == VMC_RIP_REG ? VMC_SLOT_RIP : (uint8_t)VMC_GPR(reg);
}

static void bind_memory(const struct vmc_insn *d, struct vmc_uop *u)
{
    u->base = slot(d->base);
    u->index = slot(d->index);
    u->scale = d->scale;
    u->disp = d->disp;
    if (d->base == VMC_RIP_REG && __builtin_add_overflow(d->disp, u->off + d->length, &u->disp) &&
        d->addrsize == 8)
        u->flags |= UF_EA_SLOW | UF_FAR;
    u->flags |= UF_MEM;
    if (d->addrsize == 4)
        u->flags |= UF_EA_SLOW | UF_A32;
    else if (d->addrsize == 2)
        u->flags |= UF_EA_SLOW | UF_A16;
    if (d->mode == VMC_MODE_64) {
        u->seg = d->seg == VMC_FS || d->seg == VMC_GS ? d->seg : VMC_SEG_FLAT;
        if (d->ss_default && u->seg == VMC_SEG_FLAT)
            u->flags |= UF_SS;
        return;
    }
    u->seg = d->seg != VMC_NO_REG ? d->seg : d->ss_default ? VMC_SS : VMC_DS;
    u->flags |= UF_EA_SLOW | UF_SEG;
    vmc_ea_note_access(d, u);
}

/* LOCK is allowed on a memory destination of the read-modify-write instructions only (SDM vol. 2, LOCK). */
static bool lockable(const struct vmc_insn *d)
{
    if (!d->has_modrm || !d->is_mem)
        return false;
    unsigned op = d->opcode, ext = d->modrm >> 3 & 7;
    if (d->map == VMC_MAP_1) {
        if (op < 0x38 && (op & 7) < 2)
            return true;
        if (op == 0x86 || op == 0x87)
            return true;
        if (op == 0x80 || op == 0x81 || op == 0x82 || op == 0x83)
            return ext != 7;
        if (op == 0xf6 || op == 0xf7)
            return ext == 2 || ext == 3;
        return (op == 0xfe || op == 0xff) && ext < 2;
    }
    if (d->map != VMC_MAP_0F)
        return false;
    switch (op) {
    case 0xab:
    case 0xb3:
    case 0xbb:
    case 0xb0:
    case 0xb1:
    case 0xc0:
    case 0xc1:
        return true;
    case 0xba:
        return ext >= 5;
    case 0xc7:
        return ext == 1;
    }
    return false;
}

enum vmc_bound vmc_bind(const struct vmc_insn *d, uint32_t features, struct vmc_uop *u)
{
    static enum vmc_bound (*const families[])(const struct vmc_insn *, struct vmc_uop *) = {
        vmc_bind_integer, vmc_bind_control, vmc_bind_string, vmc_bind_sse, vmc_bind_x87, vmc_bind_system,
    };
    u->flags = 0;
    u->x = 0;
    u->imm = d->imm;
    u->disp = 0;
    u->reg = slot(d->reg);
    u->rm = slot(d->rm);
    u->base = u->index = VMC_SLOT_ZERO;
    u->scale = 0;
    u->seg = VMC_SEG_FLAT;
    if (d->has_modrm && d->is_mem)
        bind_memory(d, u);
    /* MOV CR, MOV DR with LOCK name CR8 on AMD; there is no such thing here. */
    if (d->vex_refused || (d->lock && !lockable(d)))
        return VMC_BIND_UD;
    enum vmc_bound extension = vmc_bind_extension(d, features, u);
    if (extension != VMC_BIND_NO)
        return extension;
    for (unsigned i = 0; i < G_N_ELEMENTS(families); i++) {
        enum vmc_bound r = families[i](d, u);
        if (r != VMC_BIND_NO)
            return r;
    }
    return VMC_BIND_UD;
}
