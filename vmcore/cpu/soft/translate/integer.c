/*
 * Integer instructions: the guest's own, with other registers and with operands checked before.
 *
 * An instruction that leaves flags somebody may look at, and has an operand in memory, is taken apart: the
 * operand comes to S2 first, so that the flags can be told later from what was computed instead of being
 * saved at once.
 */
#include "cpu/soft/translate/context.h"

static bool high_byte(const struct vmc_insn *d, unsigned n)
{
    return !d->rex && n >= 4 && n < 8;
}

static unsigned size_code(const struct vmc_insn *d, bool byte)
{
    return byte ? 0 : d->opsize == 2 ? 1 : d->opsize == 4 ? 2 : 3;
}

static uint32_t width(const struct vmc_insn *d, bool byte)
{
    return byte ? 0 : d->opsize == 2 ? VMC_OP_66 : d->opsize == 8 ? VMC_OP_W : 0;
}

static uint32_t opcode_word(const struct vmc_insn *d, const struct vmc_plan *p)
{
    uint32_t op = VMC_OP(d->opcode) | (uint32_t)d->map << 8 | width(d, p->byte);
    if (d->map == VMC_MAP_0F && d->opcode == 0xc3) /* MOVNTI: what the host has cached is better kept */
        op = VMC_OP(0x89) | width(d, false);
    if (d->map != VMC_MAP_1 && d->rep == 0xf3)
        op |= VMC_OP_F3; /* POPCNT */
    if (d->lock)
        op |= VMC_OP_LOCK;
    return op;
}

static void immediate(struct vmc_tr *t, const struct vmc_insn *d)
{
    for (unsigned i = 0; i < d->imm_size; i++)
        vmc_put8(&t->e, (unsigned)((uint64_t)d->imm >> (8 * i)) & 0xff);
}

static unsigned extension(const struct vmc_insn *d)
{
    return d->modrm >> 3 & 7;
}

static struct vmc_operand in_gpr(unsigned gpr)
{
    return (struct vmc_operand){.place = PLACE_GPR, .gpr = (uint8_t)gpr};
}
static struct vmc_operand as_imm(int64_t imm)
{
    return (struct vmc_operand){.place = PLACE_IMM, .imm = (int32_t)imm};
}
static const struct vmc_operand stored = {.place = PLACE_STORED};
static const struct vmc_operand nothing = {.place = PLACE_NONE};

/* How the flags of an instruction can be told from its result, 0 if they cannot. */
static uint32_t lazy_kind(const struct vmc_insn *d)
{
    static const uint32_t arithmetic[8] = {CC_RAW_ADD, CC_RAW_LOGIC, 0,         0, CC_RAW_LOGIC,
                                           CC_RAW_SUB, CC_RAW_LOGIC, CC_RAW_CMP};
    unsigned op = d->opcode, ext = extension(d);
    if (d->map != VMC_MAP_1 || d->lock)
        return 0;
    if (op < 0x40)
        return arithmetic[op >> 3];
    switch (op) {
    case 0x80:
    case 0x81:
    case 0x83:
        return arithmetic[ext];
    case 0x84:
    case 0x85:
    case 0xa8:
    case 0xa9:
        return CC_RAW_LOGIC;
    case 0xf6:
    case 0xf7:
        return ext < 2 ? CC_RAW_LOGIC : ext == 3 ? CC_RAW_NEG : 0;
    case 0xfe:
    case 0xff:
        return ext == 0 ? CC_RAW_INC : CC_RAW_DEC;
    case 0xc0:
    case 0xc1:
    case 0xd0:
    case 0xd1:
        return ext == 4 || ext == 6 ? CC_RAW_SHL : ext == 5 ? CC_RAW_SHR : ext == 7 ? CC_RAW_SAR : 0;
    }
    return 0;
}

static bool is_test(const struct vmc_insn *d)
{
    unsigned op = d->opcode;
    return op == 0x84 || op == 0x85 || op == 0xa8 || op == 0xa9 ||
           ((op == 0xf6 || op == 0xf7) && extension(d) < 2);
}

static bool has_high_byte(const struct vmc_insn *d, const struct vmc_plan *p)
{
    return p->byte && ((!p->extension && high_byte(d, d->reg)) || (!d->is_mem && high_byte(d, d->rm)));
}

/* ---- with flags to be told later ---- */

/* S2 = the operand, zero-extended. */
static void load_sized(struct vmc_tr *t, unsigned size, struct vmc_rm rm)
{
    if (size < 2)
        vmc_emit(&t->e, VMC_OP0F(size ? 0xb7 : 0xb6) | (size ? 0 : VMC_OP_RM8), S2, rm);
    else
        vmc_emit(&t->e, VMC_OP(0x8b) | (size == 3 ? VMC_OP_W : 0), S2, rm);
}

/* S2 op= the instruction's second operand: its immediate, or the register. `op` as in opcode bits 5:3. */
static void operate_s2(struct vmc_tr *t, unsigned i, unsigned op)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    uint32_t w = width(d, p->byte);
    if (p->extension) {
        bool small = !p->byte && d->imm_size == 1;
        vmc_emit(&t->e,
                 VMC_OP(p->byte ? 0x80
                        : small ? 0x83
                                : 0x81) |
                     w | (p->byte ? VMC_OP_RM8 : 0),
                 op, vmc_r(S2));
        immediate(t, d);
    } else {
        vmc_emit(&t->e, VMC_OP(op << 3 | (p->byte ? 2 : 3)) | w | (p->byte ? VMC_OP_REG8 | VMC_OP_RM8 : 0),
                 S2, vmc_gpr_rm(d->reg));
    }
}

static struct vmc_operand second_operand(const struct vmc_insn *d, const struct vmc_plan *p)
{
    return p->extension ? as_imm(d->imm) : in_gpr(d->reg);
}

/* [memory] op= register or immediate, CMP and TEST of memory, INC and DEC of it; TEST of two registers. */
static bool taken_apart(struct vmc_tr *t, unsigned i, struct vmc_rm rm, uint32_t kind)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    unsigned size = size_code(d, p->byte), op = d->opcode;
    bool step = kind == CC_RAW_INC || kind == CC_RAW_DEC;
    bool to_rm = p->extension || !(op & 2) || is_test(d);
    if (!to_rm || kind == CC_RAW_NEG || kind >= CC_RAW_SHL)
        return false;
    load_sized(t, size, rm);
    if (step)
        vmc_emit(&t->e, VMC_OP(op) | width(d, p->byte) | (p->byte ? VMC_OP_RM8 : 0), extension(d), vmc_r(S2));
    else
        operate_s2(t, i, is_test(d) ? 4 : op < 0x40 ? op >> 3 : extension(d));
    if (p->rm_write)
        vmc_emit(&t->e, VMC_OP(p->byte ? 0x88 : 0x89) | width(d, p->byte) | (p->byte ? VMC_OP_REG8 : 0), S2,
                 rm);
    vmc_store(&t->e, CPU_AT(cc_dst), S2);
    vmc_flags_after(t, i);
    vmc_flags_describe(t, kind | size, stored, kind == CC_RAW_LOGIC || step ? nothing : second_operand(d, p));
    return true;
}

/* register op= [memory] where the second operand is needed to tell the flags. */
static bool second_from_memory(struct vmc_tr *t, unsigned i, struct vmc_rm rm, uint32_t kind)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    unsigned size = size_code(d, p->byte), reg = vmc_host_reg(d->reg);
    if (p->extension || !(d->opcode & 2) || reg == H_NONE ||
        (kind != CC_RAW_ADD && kind != CC_RAW_SUB && kind != CC_RAW_CMP))
        return false;
    load_sized(t, size, rm);
    vmc_emit(&t->e, opcode_word(d, p) | (p->byte ? VMC_OP_REG8 | VMC_OP_RM8 : 0), reg, vmc_r(S2));
    vmc_store(&t->e, CPU_AT(cc_src), S2);
    vmc_flags_after(t, i);
    vmc_flags_describe(t, kind | size, in_gpr(d->reg), stored);
    return true;
}

/* CMP keeps its first operand, so that one has to be cc_dst: what taken_apart stored is the difference. */
static bool compare_memory(struct vmc_tr *t, unsigned i, struct vmc_rm rm)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    load_sized(t, size_code(d, p->byte), rm);
    vmc_store(&t->e, CPU_AT(cc_dst), S2);
    operate_s2(t, i, 7);
    vmc_flags_after(t, i);
    vmc_flags_describe(t, CC_RAW_CMP | size_code(d, p->byte), stored, second_operand(d, p));
    return true;
}

static bool with_flags(struct vmc_tr *t, unsigned i, struct vmc_rm rm)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    uint32_t kind = lazy_kind(d);
    if (!kind || !(t->need[i] & p->flags_write) || has_high_byte(d, p))
        return false;
    if (!d->is_mem)
        return is_test(d) && (p->extension || d->reg != d->rm) && taken_apart(t, i, rm, kind);
    if (kind == CC_RAW_CMP && (p->extension || !(d->opcode & 2)))
        return compare_memory(t, i, rm);
    return taken_apart(t, i, rm, kind) || second_from_memory(t, i, rm, kind);
}

/* Flags of an instruction that ran as it stands. */
static void describe(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    uint32_t kind = lazy_kind(d), size = size_code(d, p->byte);
    vmc_flags_after(t, i);
    if (!kind || !(t->need[i] & p->flags_write) || has_high_byte(d, p))
        return;
    bool to_reg = !p->extension && d->opcode < 0x40 && (d->opcode & 2);
    if (d->is_mem && !(to_reg && kind == CC_RAW_LOGIC))
        return;
    unsigned dst = to_reg ? d->reg : d->rm, src = to_reg ? d->rm : d->reg;
    struct vmc_operand second = p->extension ? as_imm(d->imm) : in_gpr(src);
    bool same = !p->extension && dst == src;
    if (kind == CC_RAW_LOGIC || kind == CC_RAW_NEG || kind >= CC_RAW_INC)
        vmc_flags_describe(t, kind | size, in_gpr(dst), nothing);
    else if (kind == CC_RAW_SUB && same)
        vmc_flags_describe(t, CC_RAW_LOGIC | size, in_gpr(dst), nothing);
    else if (kind != CC_RAW_ADD || !same)
        vmc_flags_describe(t, kind | size, in_gpr(dst), second);
}

/* ---- the instruction with other registers ---- */

/* The register operand: itself, or S2 with what is needed of it. */
static unsigned register_operand(struct vmc_tr *t, unsigned i, uint32_t *op)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    unsigned reg = vmc_host_reg(d->reg);
    if (p->extension)
        return extension(d);
    if (p->byte && high_byte(d, d->reg))
        return d->reg;
    if (p->byte)
        *op |= VMC_OP_REG8;
    if (reg != H_NONE)
        return reg;
    if (p->reg_read || (p->reg_write && (p->byte || d->opsize == 2)))
        vmc_gpr_to_s2(&t->e, d->reg);
    return S2;
}

/* The operand rm in a register that is kept in VmcCpu: there, or in the scratch register that becomes its
 * home, from which it has to go back if it was written. */
static struct vmc_rm homeless_operand(struct vmc_tr *t, unsigned i, unsigned reg, unsigned *home)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    bool whole = !p->rm_byte && d->opsize >= 4;
    if (!p->rm_write && t->e.r10_holds == d->rm) {
        *home = S2;
    } else if (p->rm_write && whole && (reg != S2 || p->extension)) {
        *home = S2;
        if (p->rm_read)
            vmc_gpr_to_s2(&t->e, d->rm);
    } else if (p->rm_write && whole && d->opsize == 4) { /* which clears the upper half */
        *home = S1;
        t->in_s1 = VMC_NO_SPAN;
        if (p->rm_read)
            vmc_load(&t->e, S1, vmc_gpr_slot(d->rm));
    }
    return *home == H_NONE ? vmc_gpr_slot(d->rm) : vmc_r(*home);
}

/* After the instruction: registers kept in VmcCpu go back there, and S2 may still be one. */
static void put_homeless_back(struct vmc_tr *t, unsigned i, unsigned reg, unsigned home)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    struct vmc_emit *e = &t->e;
    bool reg_in_s2 = !p->extension && reg == S2;
    bool written = !d->is_mem && p->rm_write && vmc_host_reg(d->rm) == H_NONE;
    if (written && home == S2)
        vmc_s2_to_gpr(e, d->rm);
    else if (written && home == S1)
        vmc_store(e, vmc_gpr_slot(d->rm), S1);
    if (written && home != S2)
        vmc_s2_forget(e, d->rm);
    if (reg_in_s2 && p->reg_write)
        vmc_s2_to_gpr(e, d->reg);
    else if (!written && home == S2 && !reg_in_s2) /* it was but read */
        e->r10_holds = d->rm;
}

static void generic(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    uint32_t op = opcode_word(d, p);
    struct vmc_rm rm = d->is_mem ? vmc_operand(t, i) : vmc_gpr_rm(d->rm);
    unsigned home = H_NONE;
    vmc_flags_before(t, i);
    if (with_flags(t, i, rm))
        return;

    unsigned reg = register_operand(t, i, &op);
    if (!d->is_mem) {
        if (p->rm_byte && high_byte(d, d->rm))
            rm = vmc_r(d->rm);
        else if (p->rm_byte)
            op |= VMC_OP_RM8;
        if (rm.reg == H_NONE)
            rm = homeless_operand(t, i, reg, &home);
    }
    vmc_emit(&t->e, op, reg, rm);
    immediate(t, d);
    put_homeless_back(t, i, reg, home);
    describe(t, i);
}

/* Opcodes whose operand is (E)AX: their bytes mean the same on the host. */
static void accumulator(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    uint32_t w = width(d, p->byte), kind = lazy_kind(d), size = size_code(d, p->byte);
    bool wanted = t->need[i] & p->flags_write;
    vmc_flags_before(t, i);
    if (wanted && is_test(d)) {
        vmc_store(&t->e, vmc_r(S2), H_RAX);
        vmc_emit(&t->e, VMC_OP(p->byte ? 0x80 : 0x81) | w | (p->byte ? VMC_OP_RM8 : 0), 4, vmc_r(S2));
        immediate(t, d);
        vmc_store(&t->e, CPU_AT(cc_dst), S2);
        vmc_flags_after(t, i);
        vmc_flags_describe(t, kind | size, stored, nothing);
        return;
    }
    if (w & VMC_OP_66)
        vmc_put8(&t->e, 0x66);
    if (w & VMC_OP_W)
        vmc_put8(&t->e, 0x48);
    vmc_put8(&t->e, d->opcode);
    immediate(t, d);
    vmc_flags_after(t, i);
    if (kind && wanted && d->opcode < 0x40)
        vmc_flags_describe(t, kind | size, in_gpr(VMC_RAX), kind == CC_RAW_LOGIC ? nothing : as_imm(d->imm));
}

static void mov_imm(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    const struct vmc_plan *p = &t->plan[i];
    unsigned reg = vmc_host_reg(d->rm);
    bool high = p->byte && high_byte(d, d->rm);
    vmc_flags_before_writes(t, i);
    if (reg == H_NONE && (p->byte || d->opsize == 2)) {
        vmc_emit(&t->e, VMC_OP(p->byte ? 0xc6 : 0xc7) | width(d, p->byte), 0, vmc_gpr_slot(d->rm));
        immediate(t, d);
        vmc_s2_forget(&t->e, d->rm);
        return;
    }
    unsigned to = high ? d->rm : reg == H_NONE ? S2 : reg;
    if (!p->byte && d->opsize == 2)
        vmc_put8(&t->e, 0x66);
    unsigned rex = (d->opsize == 8 && !p->byte ? 8u : 0) | to >> 3;
    if (rex || (p->byte && !high && to >= 4))
        vmc_put8(&t->e, 0x40 | rex);
    vmc_put8(&t->e, (p->byte ? 0xb0 : 0xb8) | (to & 7));
    immediate(t, d);
    if (reg == H_NONE)
        vmc_s2_to_gpr(&t->e, d->rm);
}

/* CLFLUSH is a load to the guest; what the host's caches hold of its memory is none of its business. */
static void fence(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    if (d->is_mem) {
        vmc_operand(t, i);
        return;
    }
    vmc_put8(&t->e, 0x0f);
    vmc_put8(&t->e, d->opcode);
    vmc_put8(&t->e, d->modrm);
}

static void lea(struct vmc_tr *t, unsigned i)
{
    unsigned gpr = t->insn[i].reg, reg = vmc_host_reg(gpr);
    vmc_flags_before_writes(t, i);
    vmc_address(t, i, reg == H_NONE ? S2 : reg);
    if (reg == H_NONE)
        vmc_s2_to_gpr(&t->e, gpr);
}

static void bswap(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    unsigned reg = vmc_host_reg(d->rm), to = reg == H_NONE ? S2 : reg;
    vmc_flags_before_writes(t, i);
    if (reg == H_NONE)
        vmc_gpr_to_s2(&t->e, d->rm);
    unsigned rex = (d->opsize == 8 ? 8u : 0) | to >> 3;
    if (rex)
        vmc_put8(&t->e, 0x40 | rex);
    vmc_put8(&t->e, 0x0f);
    vmc_put8(&t->e, 0xc8 | (to & 7));
    if (reg == H_NONE)
        vmc_s2_to_gpr(&t->e, d->rm);
}

/* ---- stack ---- */

static void move_rsp(struct vmc_tr *t, int32_t by)
{
    unsigned rsp = vmc_host_reg(VMC_RSP);
    vmc_lea(&t->e, rsp, vmc_m(rsp, by));
}

static void push(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    bool from_memory = d->has_modrm && d->is_mem;
    if (from_memory) {
        vmc_load(&t->e, S2, vmc_operand(t, i));
        vmc_store(&t->e, CPU_AT(target), S2);
        vmc_plan_push(&t->plan[i]);
    }
    struct vmc_rm slot = vmc_operand(t, i);
    vmc_flags_before_writes(t, i);
    if (t->plan[i].form == FORM_PUSH_IMM) {
        vmc_store_imm64(&t->e, slot, (int32_t)d->imm);
    } else {
        unsigned reg = from_memory ? H_NONE : vmc_host_reg(d->rm);
        if (reg == H_NONE) {
            vmc_load(&t->e, S2, from_memory ? CPU_AT(target) : vmc_gpr_slot(d->rm));
            reg = S2;
        }
        vmc_store(&t->e, slot, reg);
    }
    move_rsp(t, -8);
}

static void pop(struct vmc_tr *t, unsigned i)
{
    const struct vmc_insn *d = &t->insn[i];
    unsigned reg = vmc_host_reg(d->rm);
    struct vmc_rm slot = vmc_operand(t, i);
    vmc_flags_before_writes(t, i);
    vmc_load(&t->e, reg == H_NONE ? S2 : reg, slot);
    if (reg == H_NONE)
        vmc_s2_to_gpr(&t->e, d->rm);
    move_rsp(t, 8);
}

static void leave(struct vmc_tr *t, unsigned i)
{
    unsigned rbp = vmc_host_reg(VMC_RBP);
    struct vmc_rm slot = vmc_operand(t, i);
    vmc_flags_before_writes(t, i);
    vmc_lea(&t->e, vmc_host_reg(VMC_RSP), vmc_m(rbp, 8));
    vmc_load(&t->e, rbp, slot);
}

void vmc_gen_integer(struct vmc_tr *t, unsigned i)
{
    switch (t->plan[i].form) {
    case FORM_GENERIC:
        generic(t, i);
        break;
    case FORM_ACCUMULATOR:
        accumulator(t, i);
        break;
    case FORM_MOV_IMM:
        mov_imm(t, i);
        break;
    case FORM_FENCE:
        fence(t, i);
        break;
    case FORM_LEA:
        lea(t, i);
        break;
    case FORM_BSWAP:
        bswap(t, i);
        break;
    case FORM_PUSH:
    case FORM_PUSH_IMM:
        push(t, i);
        break;
    case FORM_POP:
        pop(t, i);
        break;
    case FORM_LEAVE:
        leave(t, i);
        break;
    case FORM_CARRY:
        if (t->need[i] & FL_CF) {
            vmc_flags_before(t, i);
            vmc_put8(&t->e, t->insn[i].opcode);
            vmc_flags_after(t, i);
        }
        break;
    }
}
