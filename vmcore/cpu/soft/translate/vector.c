/*
 * SSE instructions: the guest's own, on the host's registers of the same number.
 *
 * Vector registers come from VmcCpu when a block needs them and they are not here yet, and stay until C code
 * runs that may touch them. The host's MXCSR is the guest's all the time, exceptions masked; a guest that has
 * unmasked one gets blocks of another kind, in which the interpreter does all this (VMC_KIND_NO_SSE).
 *
 * An operand of 16 bytes that has to be aligned is checked, as the fault would be ours otherwise.
 *
 * Source: Intel SDM vol. 2, appendix A tables.
 */
#include "cpu/soft/translate/context.h"

enum { NP = 1, P66 = 2, PF3 = 4, PF2 = 8, PS4 = NP | P66 | PF3 | PF2 };

/* Prefixes with which an opcode of map 0F is one on XMM registers, and xmm, xmm/memory at that. */
static unsigned plain_0f(unsigned op)
{
    static const uint8_t rows[256] = {
        [0x10] = PS4,
        [0x12] = PS4,
        [0x14] = NP | P66,
        [0x15] = NP | P66,
        [0x16] = NP | P66 | PF3,
        [0x28] = NP | P66,
        [0x2e] = NP | P66,
        [0x2f] = NP | P66,
        [0x51] = PS4,
        [0x52] = NP | PF3,
        [0x53] = NP | PF3,
        [0x54] = NP | P66,
        [0x55] = NP | P66,
        [0x56] = NP | P66,
        [0x57] = NP | P66,
        [0x58] = PS4,
        [0x59] = PS4,
        [0x5a] = PS4,
        [0x5b] = NP | P66 | PF3,
        [0x5c] = PS4,
        [0x5d] = PS4,
        [0x5e] = PS4,
        [0x5f] = PS4,
        [0x60 ... 0x6d] = P66,
        [0x6f] = P66 | PF3,
        [0x70] = P66 | PF3 | PF2,
        [0x74 ... 0x76] = P66,
        [0x7c] = P66 | PF2,
        [0x7d] = P66 | PF2,
        [0x7e] = PF3,
        [0xc2] = PS4,
        [0xc6] = NP | P66,
        [0xd0] = P66 | PF2,
        [0xd1 ... 0xd5] = P66,
        [0xd8 ... 0xdf] = P66,
        [0xe0 ... 0xe5] = P66,
        [0xe6] = P66 | PF3 | PF2,
        [0xe8 ... 0xef] = P66,
        [0xf0] = PF2,
        [0xf1 ... 0xf6] = P66,
        [0xf8 ... 0xfe] = P66,
    };
    return rows[op];
}

static unsigned prefix(const struct vmc_insn *d)
{
    return d->rep == 0xf3 ? PF3 : d->rep == 0xf2 ? PF2 : d->prefix66 ? P66 : NP;
}

static bool known_0f(const struct vmc_insn *d, struct vmc_plan *p)
{
    unsigned op = d->opcode, with = prefix(d);
    if (plain_0f(op) & with) {
        if (op == 0x2e || op == 0x2f)
            p->flags_write = p->flags_kill = (uint16_t)FLAGS_ALL;
        return true;
    }
    switch (op) {
    case 0x11: /* stores, and moves to the register that ModRM.rm names */
        p->rm_write = true;
        return true;
    case 0x13:
    case 0x17:
    case 0x29:
    case 0x2b:
    case 0xe7:
    case 0xd6:
    case 0x7f:
        p->rm_write = true;
        return with == P66 || (with == NP && op != 0xe7 && op != 0xd6 && op != 0x7f) ||
               (with == PF3 && op == 0x7f);
    case 0x2a:
        p->gpr_rm = true;
        return with == PF3 || with == PF2;
    case 0x2c:
    case 0x2d:
        p->gpr_reg = true;
        return with == PF3 || with == PF2;
    case 0x50:
        p->gpr_reg = true;
        return with == NP || with == P66;
    case 0x6e:
    case 0xc4:
        p->gpr_rm = true;
        return with == P66;
    case 0x7e:
        p->gpr_rm = p->rm_write = true;
        return with == P66;
    case 0xc5:
    case 0xd7:
        p->gpr_reg = true;
        return with == P66;
    case 0x71:
    case 0x72:
    case 0x73:
        p->extension = true;
        return with == P66;
    }
    return false;
}

static bool known_38(const struct vmc_insn *d, struct vmc_plan *p)
{
    unsigned op = d->opcode;
    if (op == 0x17)
        p->flags_write = p->flags_kill = (uint16_t)FLAGS_ALL;
    if (prefix(d) == NP)
        return op >= 0xc8 && op <= 0xcd; /* SHA */
    return prefix(d) == P66 && op < 0xe0;
}

static bool known_3a(const struct vmc_insn *d, struct vmc_plan *p)
{
    unsigned op = d->opcode;
    if (prefix(d) == NP)
        return op == 0xcc;
    if (prefix(d) != P66)
        return false;
    if (op >= 0x14 && op <= 0x17)
        p->gpr_rm = p->rm_write = true;
    else if (op == 0x20 || op == 0x22)
        p->gpr_rm = true;
    else if (op >= 0x60 && op <= 0x63) {
        p->flags_write = p->flags_kill = (uint16_t)FLAGS_ALL;
        p->gpr_write = op & 1 ? 1u << VMC_RCX : 0;
    }
    return true;
}

/* VEX-encoded vector instructions: the binder knows which there are; here is what they do not have in common.
 */
static bool known_vex(const struct vmc_insn *d, struct vmc_plan *p)
{
    unsigned op = d->opcode, with = prefix(d);
    bool compares = false;
    if (d->vex_refused || d->vsib)
        return false;
    if (d->map == VMC_MAP_0F) {
        if (op == 0xae || op == 0xf7)
            return false;
        p->rm_write = op == 0x11 || op == 0x13 || op == 0x17 || op == 0x29 || op == 0x2b || op == 0xe7 ||
                      op == 0xd6 || op == 0x7f || (op == 0x7e && with == P66);
        p->gpr_rm = op == 0x2a || op == 0x6e || op == 0xc4 || (op == 0x7e && with == P66);
        p->gpr_reg = op == 0x2c || op == 0x2d || op == 0x50 || op == 0xc5 || op == 0xd7;
        p->extension = op >= 0x71 && op <= 0x73;
        compares = op == 0x2e || op == 0x2f;
    } else if (d->map == VMC_MAP_0F38) {
        if (op >= 0xf0 || (op >= 0x2c && op <= 0x2f) || op == 0x8c || op == 0x8e)
            return false;
        compares = op == 0x0e || op == 0x0f || op == 0x17;
    } else {
        if (op >= 0xf0)
            return false;
        p->rm_write = (op >= 0x14 && op <= 0x17) || op == 0x19 || op == 0x1d || op == 0x39;
        p->gpr_rm = (op >= 0x14 && op <= 0x17) || op == 0x20 || op == 0x22;
        compares = op >= 0x60 && op <= 0x63;
        p->gpr_write = op == 0x61 || op == 0x63 ? 1u << VMC_RCX : 0;
    }
    if (compares)
        p->flags_write = p->flags_kill = (uint16_t)FLAGS_ALL;
    return true;
}

bool vmc_vector_known(const struct vmc_insn *d, struct vmc_plan *p)
{
    bool known = d->vex                   ? known_vex(d, p)
                 : d->map == VMC_MAP_0F   ? known_0f(d, p)
                 : d->map == VMC_MAP_0F38 ? known_38(d, p)
                                          : known_3a(d, p);
    if (!known || d->lock) {
        memset(p, 0, sizeof *p);
        return false;
    }
    p->form = d->vex ? FORM_AVX : FORM_SSE;
    if (p->gpr_reg)
        p->gpr_write |= (uint16_t)(1u << d->reg);
    if (p->gpr_rm && p->rm_write && !d->is_mem)
        p->gpr_write |= (uint16_t)(1u << d->rm);
    return true;
}

bool vmc_vector_may_be_misaligned(const struct vmc_insn *d)
{
    unsigned op = d->opcode, with = prefix(d);
    if (d->vex) /* all but moves that say so */
        return d->map == VMC_MAP_0F38 ? op != 0x2a
               : d->map == VMC_MAP_0F ? op != 0x28 && op != 0x29 && op != 0x2b && op != 0xe7 &&
                                            !(with == P66 && (op == 0x6f || op == 0x7f))
                                      : true;
    if (d->map == VMC_MAP_0F)
        return op == 0x10 || op == 0x11 || op == 0xf0 || (with == PF3 && (op == 0x6f || op == 0x7f));
    return d->map == VMC_MAP_0F3A && op >= 0x60 && op <= 0x63;
}

void vmc_vectors_check(struct vmc_tr *t, unsigned level)
{
    if (t->vectors >= level)
        return;
    vmc_flags_release(t);
    vmc_emit(&t->e, VMC_OP(0x80), 7, CPU_AT(vectors_here));
    vmc_put8(&t->e, level);
    uint8_t *here = vmc_jcc_later(&t->e, 3); /* not below */
    vmc_call(&t->e, level == VMC_VECTORS_XMM ? t->t->load_xmm : t->t->load_ymm);
    vmc_patch(here, t->e.p);
    t->vectors = (uint8_t)level;
}

static void check_alignment(struct vmc_tr *t, unsigned i, struct vmc_rm rm)
{
    unsigned mask = t->plan[i].size - 1u;
    vmc_flags_release(t);
    if ((unsigned)rm.disp & mask) {
        vmc_lea(&t->e, S2, rm);
        vmc_emit(&t->e, VMC_OP(0xf6) | VMC_OP_RM8, 0, vmc_r(S2));
    } else {
        vmc_emit(&t->e, VMC_OP(0xf6) | VMC_OP_RM8, 0, vmc_r(S1));
    }
    vmc_put8(&t->e, mask);
    vmc_add_bail(t, i, vmc_jcc_later(&t->e, 5));
}

void vmc_gen_vector(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    struct vmc_emit *e = &t->e;
    unsigned with = prefix(d);
    uint32_t op = VMC_OP(d->opcode) | (uint32_t)d->map << 8 |
                  (d->vex       ? d->vex_w
                   : d->rex & 8 ? 1
                                : 0) *
                      VMC_OP_W;
    op |= with == P66 ? VMC_OP_66 : with == PF3 ? VMC_OP_F3 : with == PF2 ? VMC_OP_F2 : 0;

    vmc_vectors_check(t, d->vex ? VMC_VECTORS_YMM : VMC_VECTORS_XMM);
    struct vmc_rm rm = d->is_mem ? vmc_operand(t, i) : p->gpr_rm ? vmc_gpr_rm(d->rm) : vmc_r(d->rm);
    if (p->aligned)
        check_alignment(t, i, rm);
    vmc_flags_before(t, i);
    unsigned reg = p->extension ? (d->modrm >> 3 & 7u) : d->reg;
    bool reg_home = p->gpr_reg && vmc_host_reg(d->reg) == H_NONE;
    if (p->gpr_reg)
        reg = reg_home ? S2 : vmc_host_reg(d->reg);
    bool rm_home = p->gpr_rm && p->rm_write && !d->is_mem && rm.reg == H_NONE;
    if (rm_home)
        rm = vmc_r(S2);
    if (d->vex && !d->has_modrm) { /* VZEROUPPER, VZEROALL */
        vmc_put8(e, 0xc5);
        vmc_put8(e, d->vex_l ? 0xfc : 0xf8);
        vmc_put8(e, d->opcode);
    } else if (d->vex) {
        vmc_emit_vex(e, op, d->vex_l, d->vvvv, reg, rm);
    } else {
        vmc_emit(e, op, reg, rm);
    }
    if (d->imm_size)
        vmc_put8(e, (unsigned)d->imm & 0xff);
    if (reg_home)
        vmc_store(e, vmc_gpr_slot(d->reg), S2);
    if (rm_home)
        vmc_store(e, vmc_gpr_slot(d->rm), S2);
    vmc_flags_after(t, i);
}
