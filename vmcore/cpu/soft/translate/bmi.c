/*
 * BMI instructions: VEX-encoded ones on general registers.
 *
 * Three operands, of which the one in vvvv cannot be memory: if that register is kept in VmcCpu, it comes to
 * a scratch register, and where there is none left the interpreter does the instruction.
 *
 * Source: Intel SDM vol. 2, ANDN, BEXTR, BLSI, BLSMSK, BLSR, BZHI, MULX, PDEP, PEXT, RORX, SARX, SHLX, SHRX.
 */
#include "cpu/soft/translate/context.h"

/* BLSR, BLSMSK, BLSI write vvvv; MULX writes it too, all others read it, RORX has none. */
static bool writes_vvvv(const struct vmc_insn *d)
{
    return d->map == VMC_MAP_0F38 && (d->opcode == 0xf3 || d->opcode == 0xf6);
}

bool vmc_bmi_known(const struct vmc_insn *d, struct vmc_plan *p)
{
    bool rorx = d->map == VMC_MAP_0F3A && d->opcode == 0xf0;
    bool known = rorx || (d->map == VMC_MAP_0F38 && d->opcode >= 0xf2 && d->opcode <= 0xf7);
    bool vvvv_home = !rorx && vmc_host_reg(d->vvvv) == H_NONE;
    bool reg_home = d->opcode != 0xf3 && vmc_host_reg(d->reg) == H_NONE;
    if (d->vex_refused || !known || d->vex_l || (vvvv_home && (d->is_mem || reg_home)))
        return false;
    p->form = FORM_BMI;
    p->extension = d->map == VMC_MAP_0F38 && d->opcode == 0xf3;
    if (!p->extension)
        p->gpr_write = (uint16_t)(1u << d->reg);
    if (writes_vvvv(d))
        p->gpr_write |= (uint16_t)(1u << d->vvvv);
    /* ANDN, BLSR..., BZHI and BEXTR set flags. */
    bool prefixed = d->prefix66 || d->rep;
    if (!rorx && (d->opcode < 0xf4 || (d->opcode == 0xf5 && !prefixed) || (d->opcode == 0xf7 && !prefixed)))
        p->flags_write = p->flags_kill = (uint16_t)FLAGS_ALL;
    return true;
}

void vmc_gen_bmi(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    struct vmc_emit *e = &t->e;
    uint32_t op = VMC_OP(d->opcode) | (uint32_t)d->map << 8 | (d->vex_w ? VMC_OP_W : 0);
    op |= d->rep == 0xf3 ? VMC_OP_F3 : d->rep == 0xf2 ? VMC_OP_F2 : d->prefix66 ? VMC_OP_66 : 0;
    struct vmc_rm rm = d->is_mem ? vmc_operand(t, i) : vmc_gpr_rm(d->rm);
    vmc_flags_before(t, i);
    unsigned reg = p->extension ? (d->modrm >> 3 & 7u) : vmc_host_reg(d->reg), vvvv = 0;
    bool has_vvvv = !(d->map == VMC_MAP_0F3A);
    if (has_vvvv) {
        vvvv = vmc_host_reg(d->vvvv);
        if (vvvv == H_NONE) {
            vvvv = S2;
            vmc_load(e, S2, vmc_gpr_slot(d->vvvv));
        }
    }
    if (reg == H_NONE)
        reg = S2;
    vmc_emit_vex(e, op, false, vvvv, reg, rm);
    if (d->imm_size)
        vmc_put8(e, (unsigned)d->imm & 0xff);
    if (!p->extension && vmc_host_reg(d->reg) == H_NONE)
        vmc_store(e, vmc_gpr_slot(d->reg), S2);
    else if (has_vvvv && vvvv == S2 && writes_vvvv(d))
        vmc_store(e, vmc_gpr_slot(d->vvvv), S2);
    vmc_flags_after(t, i);
}
