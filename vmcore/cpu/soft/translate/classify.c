/*
 * Which instructions are translated how, and what each reads and writes.
 *
 * Whatever is not named here goes to the interpreter's handler. What is has its registers, memory operand and
 * flags written down, flags with the undefined ones among those certainly overwritten: any value of them is
 * right.
 *
 * Source: Intel SDM vol. 2, instruction pages and appendix A.
 */
#include "cpu/soft/features.h"
#include "cpu/soft/translate/context.h"

#define CF  ((uint16_t)FL_CF)
#define OF  ((uint16_t)FL_OF)
#define ZF  ((uint16_t)FL_ZF)
#define ALL ((uint16_t)FLAGS_ALL)

static unsigned extension(const struct vmc_insn *d)
{
    return d->modrm >> 3 & 7;
}

/* A byte register that is AH, CH, DH or BH. */
static bool high_byte(const struct vmc_insn *d, unsigned n)
{
    return !d->rex && n >= 4 && n < 8;
}

static void flags(struct vmc_plan *p, unsigned read, unsigned write, unsigned kill)
{
    p->flags_read = (uint16_t)read;
    p->flags_write = (uint16_t)write;
    p->flags_kill = (uint16_t)kill;
}

static void generic(struct vmc_plan *p, bool reg_read, bool reg_write, bool rm_read, bool rm_write)
{
    p->form = FORM_GENERIC;
    p->reg_read = reg_read;
    p->reg_write = reg_write;
    p->rm_read = rm_read;
    p->rm_write = rm_write;
}

/* One whose ModRM.reg is part of the opcode. */
static void unary(struct vmc_plan *p, bool rm_read, bool rm_write)
{
    generic(p, false, false, rm_read, rm_write);
    p->extension = true;
}

/* ADD OR ADC SBB AND SUB XOR CMP. */
static void arithmetic(struct vmc_plan *p, unsigned kind)
{
    flags(p, kind == 2 || kind == 3 ? CF : 0, ALL, ALL);
}

static void shift(const struct vmc_insn *d, struct vmc_plan *p)
{
    unsigned op = d->opcode, kind = extension(d);
    unsigned count = op < 0xd0 ? (unsigned)d->imm & (d->opsize == 8 && (op & 1) ? 63u : 31u) : 1;
    unary(p, true, true);
    if (op >= 0xd2) { /* by CL, which may be 0 */
        flags(p, kind == 2 || kind == 3 ? CF : 0, kind < 4 ? CF | OF : ALL, 0);
        return;
    }
    if (count == 0) {
        flags(p, kind == 2 || kind == 3 ? CF : 0, 0, 0);
        return;
    }
    if (kind < 4)
        flags(p, kind >= 2 ? CF : 0, CF | OF, CF | OF);
    else
        flags(p, 0, ALL, ALL);
}

static void stack(struct vmc_plan *p, bool push)
{
    p->memory = true;
    p->stores = push;
    p->size = 8;
    p->base = VMC_RSP;
    p->disp = push ? -8 : 0;
    p->steps = true;
    p->stepped = VMC_RSP;
    p->step = push ? -8 : 8;
    p->gpr_write |= 1u << VMC_RSP;
}

void vmc_plan_push(struct vmc_plan *p)
{
    *p = (struct vmc_plan){.form = p->form, .ends = p->ends, .pushes = true};
    stack(p, true);
}

/* The base register moves by a constant: what else knows an address relative to it can follow. */
static void steps(struct vmc_plan *p, unsigned gpr, int64_t step)
{
    if (step != (int32_t)step) /* SUB of the smallest number */
        return;
    p->steps = true;
    p->stepped = (uint8_t)gpr;
    p->step = (int32_t)step;
}

static void group3(const struct vmc_insn *d, struct vmc_plan *p)
{
    switch (extension(d)) {
    case 0:
        unary(p, true, false);
        flags(p, 0, ALL, ALL);
        break;
    case 2:
        unary(p, true, true);
        break;
    case 3:
        unary(p, true, true);
        flags(p, 0, ALL, ALL);
        break;
    case 4:
    case 5:
        unary(p, true, false);
        flags(p, 0, ALL, ALL);
        p->gpr_write |= 1u << VMC_RAX | (p->byte ? 0u : 1u << VMC_RDX);
        break;
    case 6:
    case 7:
        if (p->byte || d->opsize == 2)
            break;
        p->form = FORM_DIVIDE;
        p->bails = p->extension = p->rm_read = true;
        p->gpr_write |= 1u << VMC_RAX | 1u << VMC_RDX;
        break;
    }
}

static void group5(const struct vmc_insn *d, struct vmc_plan *p)
{
    switch (extension(d)) {
    case 0:
    case 1:
        unary(p, true, true);
        flags(p, 0, ALL & ~CF, ALL & ~CF);
        if (!d->is_mem && d->opsize == 8 && !p->byte)
            steps(p, d->rm, extension(d) ? -1 : 1);
        break;
    case 2:
        if (d->opcode == 0xff && (d->is_mem || d->rm != VMC_RSP)) {
            p->form = FORM_CALL_INDIRECT;
            p->ends = true;
            p->extension = true;
            if (!d->is_mem)
                stack(p, true);
            p->gpr_write |= 1u << VMC_RSP;
        }
        break;
    case 4:
        if (d->opcode == 0xff) {
            p->form = FORM_JMP_INDIRECT;
            p->ends = true;
            p->extension = true;
        }
        break;
    case 6:
        if (d->opcode == 0xff && d->opsize != 2) {
            p->form = FORM_PUSH;
            if (!d->is_mem)
                stack(p, true);
            p->gpr_write |= 1u << VMC_RSP;
        }
        break;
    }
}

static void branch(struct vmc_plan *p, unsigned form)
{
    p->form = (uint8_t)form;
    p->ends = true;
}

static void map_1_high(const struct vmc_insn *d, struct vmc_plan *p)
{
    unsigned op = d->opcode;
    switch (op) {
    case 0xc0:
    case 0xc1:
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        shift(d, p);
        break;
    case 0xc2:
    case 0xc3:
        branch(p, FORM_RET);
        stack(p, false);
        break;
    case 0xc6:
    case 0xc7:
        if (extension(d) == 0)
            unary(p, false, true);
        break;
    case 0xc9:
        if (d->opsize == 2)
            break;
        p->form = FORM_LEAVE;
        p->memory = true;
        p->size = 8;
        p->base = VMC_RBP;
        p->gpr_write = 1u << VMC_RSP | 1u << VMC_RBP;
        break;
    case 0xe8:
        branch(p, FORM_CALL);
        stack(p, true);
        break;
    case 0xe9:
    case 0xeb:
        branch(p, FORM_JMP);
        break;
    case 0xf5:
        p->form = FORM_CARRY;
        flags(p, CF, CF, CF);
        break;
    case 0xf8:
    case 0xf9:
        p->form = FORM_CARRY;
        flags(p, 0, CF, CF);
        break;
    case 0xf6:
    case 0xf7:
        group3(d, p);
        break;
    case 0xfa:
    case 0xfb:
        p->form = op == 0xfa ? FORM_CLI : FORM_STI;
        p->bails = true;
        break;
    case 0xfe:
    case 0xff:
        group5(d, p);
        break;
    }
}

static void map_1(const struct vmc_insn *d, struct vmc_plan *p)
{
    unsigned op = d->opcode;
    p->byte = p->rm_byte = !(op & 1);
    if (op < 0x40 && (op & 7) < 6) {
        unsigned kind = op >> 3;
        if ((op & 7) >= 4) {
            p->form = FORM_ACCUMULATOR;
            p->gpr_write = kind == 7 ? 0 : 1u << VMC_RAX;
        } else if (op & 2) {
            generic(p, true, kind != 7, true, false);
        } else {
            generic(p, true, false, true, kind != 7);
        }
        arithmetic(p, kind);
        return;
    }
    if (op >= 0x50 && op < 0x58 && d->opsize != 2) {
        p->form = FORM_PUSH;
        stack(p, true);
        return;
    }
    if (op >= 0x58 && op < 0x60 && d->opsize != 2 && d->rm != VMC_RSP) {
        p->form = FORM_POP;
        stack(p, false);
        p->gpr_write |= (uint16_t)(1u << d->rm);
        return;
    }
    if (op >= 0x70 && op < 0x80) {
        branch(p, FORM_JCC);
        p->flags_read = (uint16_t)vmc_condition_flags(op & 15);
        return;
    }
    if (op >= 0xb0 && op < 0xc0) {
        p->byte = op < 0xb8;
        p->form = FORM_MOV_IMM;
        p->gpr_write = (uint16_t)(1u << (p->byte && high_byte(d, d->rm) ? d->rm - 4 : d->rm));
        return;
    }
    switch (op) {
    case 0x63:
        generic(p, d->opsize == 2, true, true, false);
        p->byte = p->rm_byte = false;
        break;
    case 0x68:
    case 0x6a:
        if (d->opsize != 2) {
            p->form = FORM_PUSH_IMM;
            stack(p, true);
        }
        break;
    case 0x69:
    case 0x6b:
        generic(p, false, true, true, false);
        p->byte = p->rm_byte = false;
        flags(p, 0, ALL, ALL);
        break;
    case 0x80:
    case 0x81:
    case 0x83:
        unary(p, true, extension(d) != 7);
        p->byte = p->rm_byte = op == 0x80;
        arithmetic(p, extension(d));
        if (!d->is_mem && d->opsize == 8 && op != 0x80 && (extension(d) == 0 || extension(d) == 5) &&
            d->imm > -0x8000 && d->imm < 0x8000)
            steps(p, d->rm, extension(d) ? -d->imm : d->imm);
        break;
    case 0x84:
    case 0x85:
        generic(p, true, false, true, false);
        flags(p, 0, ALL, ALL);
        break;
    case 0x86:
    case 0x87:
        if (d->is_mem || (vmc_host_reg(d->reg) != H_NONE && vmc_host_reg(d->rm) != H_NONE))
            generic(p, true, true, true, true);
        break;
    case 0x88:
    case 0x89:
        generic(p, true, false, false, true);
        break;
    case 0x8a:
    case 0x8b:
        generic(p, false, true, true, false);
        break;
    case 0x8c:
        p->byte = p->rm_byte = false;
        if (!d->is_mem && extension(d) < VMC_SEG_COUNT && d->opsize != 2) {
            p->form = FORM_MOV_FROM_SEG;
            p->gpr_write = (uint16_t)(1u << d->rm);
        }
        break;
    case 0x8d:
        if (d->is_mem && d->opsize != 2) {
            p->form = FORM_LEA;
            p->gpr_write = (uint16_t)(1u << d->reg);
            if (d->base == d->reg && d->index == VMC_NO_REG && d->opsize == 8 && d->addrsize == 8)
                steps(p, d->reg, d->disp);
        }
        break;
    case 0x90:
        if (d->rm == 0 && !d->rep)
            p->form = FORM_NOP;
        break;
    case 0x98:
    case 0x99:
        p->form = FORM_ACCUMULATOR;
        p->byte = p->rm_byte = false;
        p->gpr_write = op == 0x98 ? 1u << VMC_RAX : 1u << VMC_RDX;
        break;
    case 0x9c:
        if (d->opsize != 2) {
            p->form = FORM_PUSHF;
            stack(p, true);
            flags(p, ALL, 0, 0);
        }
        break;
    case 0xa0:
    case 0xa1:
    case 0xa2:
    case 0xa3:
        break;
    case 0xa8:
    case 0xa9:
        p->form = FORM_ACCUMULATOR;
        flags(p, 0, ALL, ALL);
        break;
    default:
        map_1_high(d, p);
    }
}

static void map_0f(const struct vmc_insn *d, struct vmc_plan *p)
{
    unsigned op = d->opcode;
    if ((op & 0xf0) == 0x40) {
        generic(p, true, true, true, false);
        p->flags_read = (uint16_t)vmc_condition_flags(op & 15);
        return;
    }
    if ((op & 0xf0) == 0x80) {
        branch(p, FORM_JCC);
        p->flags_read = (uint16_t)vmc_condition_flags(op & 15);
        return;
    }
    if ((op & 0xf0) == 0x90) {
        unary(p, false, true);
        p->byte = p->rm_byte = true;
        p->flags_read = (uint16_t)vmc_condition_flags(op & 15);
        return;
    }
    if (op >= 0xc8 && op < 0xd0) {
        if (d->opsize != 2) {
            p->form = FORM_BSWAP;
            p->gpr_write = (uint16_t)(1u << d->rm);
        }
        return;
    }
    switch (op) {
    case 0x0d:
    case 0x18:
    case 0x1f:
        if (d->is_mem || op == 0x1f)
            p->form = FORM_NOP;
        break;
    case 0x1e:
        p->form = FORM_NOP;
        break;
    case 0xa3: /* BT and its kin with a register: bits beyond the operand in memory */
    case 0xab:
    case 0xb3:
    case 0xbb:
        if (!d->is_mem && vmc_host_reg(d->rm) != H_NONE) {
            generic(p, true, false, true, op != 0xa3);
            flags(p, 0, ALL & ~ZF, ALL & ~ZF);
        }
        break;
    case 0xba:
        if (extension(d) >= 4) {
            unary(p, true, extension(d) > 4);
            flags(p, 0, ALL & ~ZF, ALL & ~ZF);
        }
        break;
    case 0xa4:
    case 0xac:
        generic(p, true, false, true, true);
        if (d->opsize != 2 && (d->imm & (d->opsize == 8 ? 63 : 31)))
            flags(p, 0, ALL, ALL);
        else
            p->form = FORM_HELPER;
        break;
    case 0xa5:
    case 0xad:
        if (d->opsize != 2) {
            generic(p, true, false, true, true);
            flags(p, 0, ALL, 0);
        }
        break;
    case 0xae:
        if (d->is_mem ? extension(d) == 7 : extension(d) >= 5)
            p->form = FORM_FENCE;
        break;
    case 0xaf:
        generic(p, true, true, true, false);
        flags(p, 0, ALL, ALL);
        break;
    case 0xb0:
    case 0xb1:
        generic(p, true, false, true, true);
        p->byte = p->rm_byte = op == 0xb0;
        flags(p, 0, ALL, ALL);
        p->gpr_write |= 1u << VMC_RAX;
        if (!d->is_mem)
            p->form = FORM_HELPER;
        break;
    case 0xb6:
    case 0xb7:
    case 0xbe:
    case 0xbf:
        generic(p, d->opsize == 2, true, true, false);
        p->rm_byte = !(op & 1);
        break;
    case 0xb8:
        if (d->rep == 0xf3) {
            generic(p, d->opsize == 2, true, true, false);
            flags(p, 0, ALL, ALL);
        }
        break;
    case 0xbc:
    case 0xbd:
        if (d->opsize != 2 && d->rep != 0xf2) {
            generic(p, true, true, true, false);
            flags(p, 0, ALL, ALL);
        }
        break;
    case 0xc0:
    case 0xc1:
        generic(p, true, true, true, true);
        p->byte = p->rm_byte = op == 0xc0;
        flags(p, 0, ALL, ALL);
        if (!d->is_mem)
            p->form = FORM_HELPER;
        break;
    case 0xc3: /* MOVNTI */
        generic(p, true, false, false, true);
        break;
    case 0xc7:
        if (d->is_mem && extension(d) == 1 && d->opsize == 8) {
            p->form = FORM_CMPXCHG16B;
            p->extension = p->bails = p->rm_read = p->rm_write = true;
            p->gpr_write |= 1u << VMC_RAX | 1u << VMC_RDX;
            flags(p, 0, ZF, ZF);
        }
        break;
    }
}

/* AH to BH stand for themselves, but not beside a register or address that needs a REX prefix. */
static bool bytes_fit(const struct vmc_insn *d, const struct vmc_plan *p)
{
    bool reg_high = p->byte && !p->extension && high_byte(d, d->reg);
    bool rm_high = p->rm_byte && !d->is_mem && high_byte(d, d->rm);
    if (reg_high && d->is_mem)
        return false;
    if (rm_high && !p->extension && !p->byte && vmc_host_reg(d->reg) >= 8)
        return false;
    return true;
}

static unsigned byte_owner(const struct vmc_insn *d, bool byte, unsigned n)
{
    return byte && high_byte(d, n) ? n - 4 : n;
}

static void registers(const struct vmc_insn *d, struct vmc_plan *p)
{
    if (p->reg_write && !p->extension)
        p->gpr_write |= (uint16_t)(1u << byte_owner(d, p->byte, d->reg));
    if (p->rm_write && !d->is_mem)
        p->gpr_write |= (uint16_t)(1u << byte_owner(d, p->rm_byte, d->rm));
}

static void memory(const struct vmc_insn *d, struct vmc_plan *p)
{
    bool write;
    p->memory = true;
    p->size = (uint8_t)vmc_insn_access(d, &write);
    p->stores = p->rm_write;
    p->base = d->base;
    p->disp = d->disp;
    p->aligned = p->form == FORM_CMPXCHG16B || ((p->form == FORM_SSE || p->form == FORM_AVX) &&
                                                p->size >= 16 && !vmc_vector_may_be_misaligned(d));
}

/* TZCNT and LZCNT where the guest has them; elsewhere their prefix counts for nothing, but not on the host.
 */
static bool prefix_is_the_hosts(const struct vmc_insn *d, uint32_t features)
{
    if (d->map != VMC_MAP_0F || d->rep != 0xf3 || (d->opcode != 0xbc && d->opcode != 0xbd))
        return true;
    return features & (d->opcode == 0xbc ? VMC_HAS_BMI1 : VMC_HAS_LZCNT);
}

static void by_map(const struct vmc_insn *d, unsigned kind, struct vmc_plan *p)
{
    if (d->map != VMC_MAP_1 && vmc_vector_known(d, p)) {
        if (kind & (d->vex ? VMC_KIND_NO_AVX : VMC_KIND_NO_SSE))
            *p = (struct vmc_plan){.form = FORM_HELPER};
    } else if (d->vex) {
        vmc_bmi_known(d, p);
    } else if (d->map == VMC_MAP_1) {
        map_1(d, p);
    } else if (d->map == VMC_MAP_0F) {
        map_0f(d, p);
    }
}

void vmc_classify(const struct vmc_insn *d, unsigned kind, uint32_t features, struct vmc_plan *p)
{
    memset(p, 0, sizeof *p);
    p->form = FORM_HELPER;
    if ((d->lock && !d->is_mem) || !prefix_is_the_hosts(d, features))
        return;
    by_map(d, kind, p);
    if ((kind & VMC_KIND_USER) && (p->form == FORM_CLI || p->form == FORM_STI))
        *p = (struct vmc_plan){.form = FORM_HELPER};
    bool operand = p->form == FORM_GENERIC || p->form == FORM_JMP_INDIRECT || p->form == FORM_CALL_INDIRECT ||
                   p->form == FORM_SSE || p->form == FORM_AVX || p->form == FORM_BMI ||
                   p->form == FORM_PUSH || p->form == FORM_FENCE || p->form == FORM_CMPXCHG16B ||
                   p->form == FORM_DIVIDE;
    if (p->form == FORM_GENERIC && !bytes_fit(d, p)) {
        *p = (struct vmc_plan){.form = FORM_HELPER};
        return;
    }
    if (p->form == FORM_GENERIC)
        registers(d, p);
    if (p->form == FORM_LEA) {
        p->base = d->base;
        p->disp = d->disp;
    }
    if (operand && d->has_modrm && d->is_mem)
        memory(d, p);
}
