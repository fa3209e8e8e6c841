/*
 * The few pieces of code that all translated blocks share: in, out, and calls into C.
 *
 * Translated code runs on the thread's own stack, aligned as before a call. A thunk that calls C brings the
 * registers to VmcCpu first and takes them from there afterwards, so that C sees and may change the whole
 * state; it may also not come back (a fault's longjmp).
 */
#include "cpu/soft/translate/context.h"

#include "cpu/soft/flags.h"

static const uint8_t saved_by_callee[] = {H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15};

static void push(struct vmc_emit *e, unsigned reg)
{
    if (reg >= 8)
        vmc_put8(e, 0x41);
    vmc_put8(e, 0x50 | (reg & 7));
}

static void pop(struct vmc_emit *e, unsigned reg)
{
    if (reg >= 8)
        vmc_put8(e, 0x41);
    vmc_put8(e, 0x58 | (reg & 7));
}

static void ret(struct vmc_emit *e)
{
    vmc_put8(e, 0xc3);
}

static void each_register(struct vmc_emit *e, bool save)
{
    for (unsigned g = 0; g < 16; g++) {
        unsigned h = vmc_host_reg(g);
        if (h == H_NONE)
            continue;
        if (save)
            vmc_store(e, vmc_gpr_slot(g), h);
        else
            vmc_load(e, h, vmc_gpr_slot(g));
    }
}

static void move_xmm(struct vmc_emit *e, bool save)
{
    for (unsigned i = 0; i < 16; i++)
        vmc_emit(e, VMC_OP0F(save ? 0x29 : 0x28), i,
                 vmc_m(H_RBP, (int32_t)(offsetof(VmcCpu, fx.xmm) + i * 16) - CPU_BIAS));
}

/* Upper halves: VEXTRACTF128, VINSERTF128. */
static void move_high(struct vmc_emit *e, bool save)
{
    for (unsigned i = 0; i < 16; i++) {
        vmc_emit_vex(e, VMC_OP3A(save ? 0x19 : 0x18) | VMC_OP_66, true, save ? 0 : i, i,
                     vmc_m(H_RBP, (int32_t)(offsetof(VmcCpu, ymm_high) + i * 16) - CPU_BIAS));
        vmc_put8(e, 1);
    }
}

static void vzeroupper(struct vmc_emit *e)
{
    vmc_put8(e, 0xc5);
    vmc_put8(e, 0xf8);
    vmc_put8(e, 0x77);
}

/* If vectors_here is at most `level`, jumps: the place of the distance. */
static uint8_t *if_at_most(struct vmc_emit *e, unsigned level)
{
    vmc_emit(e, VMC_OP(0x80), 7, CPU_AT(vectors_here));
    vmc_put8(e, level);
    return vmc_jcc_later(e, 6);
}

static void set_vectors_here(struct vmc_emit *e, unsigned level)
{
    vmc_emit(e, VMC_OP(0xc6), 0, CPU_AT(vectors_here));
    vmc_put8(e, level);
}

/* Vector registers to or from the state if they are here; they stay the block's. */
static void copy_vectors(struct vmc_emit *e, bool save)
{
    uint8_t *none = if_at_most(e, VMC_VECTORS_NONE);
    move_xmm(e, save);
    uint8_t *no_high = if_at_most(e, VMC_VECTORS_XMM);
    move_high(e, save);
    if (save)
        vzeroupper(e);
    vmc_patch(no_high, e->p);
    vmc_patch(none, e->p);
}

/* The same, and the state is where they are from now on. */
static void save_vectors(struct vmc_emit *e)
{
    copy_vectors(e, true);
    set_vectors_here(e, VMC_VECTORS_NONE);
}

static void call_c(struct vmc_emit *e, const void *function)
{
    vmc_put8(e, 0x48); /* mov rax, imm64 */
    vmc_put8(e, 0xb8);
    vmc_put64(e, (uint64_t)function);
    vmc_put8(e, 0xff);
    vmc_put8(e, 0xd0);
}

static void cpu_argument(struct vmc_emit *e)
{
    vmc_lea(e, H_RDI, vmc_m(H_RBP, -CPU_BIAS));
}

static void adjust_stack(struct vmc_emit *e, int32_t by)
{
    vmc_lea(e, H_RSP, vmc_m(H_RSP, by));
}

static void make_enter(struct vmc_translator *t, struct vmc_emit *e)
{
    uint8_t *start = e->p;
    for (unsigned i = 0; i < sizeof saved_by_callee; i++)
        push(e, saved_by_callee[i]);
    adjust_stack(e, -8);
    vmc_lea(e, H_RBP, vmc_m(H_RDI, CPU_BIAS));
    vmc_store(e, vmc_r(S1), H_RSI);
    each_register(e, false);
    vmc_emit(e, VMC_OP(0xff), 4, vmc_r(S1));
    const void *entry = t->rx + (start - t->rw);
    memcpy(&t->enter, &entry, sizeof entry);
}

static void make_leave(struct vmc_translator *t, struct vmc_emit *e)
{
    t->leave_rip = e->p;
    vmc_store(e, CPU_AT(rip), S1);
    t->leave = e->p;
    each_register(e, true);
    save_vectors(e);
    t->leave_saved = e->p;
    adjust_stack(e, 8);
    for (unsigned i = sizeof saved_by_callee; i-- > 0;)
        pop(e, saved_by_callee[i]);
    ret(e);
}

/* Ways out that are called for the sake of what stands behind the call. */
static void make_leave_by_call(struct vmc_translator *t, struct vmc_emit *e)
{
    t->leave_at = e->p;
    pop(e, S1);
    vmc_emit(e, VMC_OP0F(0xb7), S1, vmc_m(S1, 0)); /* movzx */
    vmc_emit(e, VMC_OP(0x03) | VMC_OP_W, S1, CPU_AT(block_rip));
    vmc_jump(e, t->leave_rip);
    t->leave_link = e->p;
    pop(e, S1);
    vmc_store(e, CPU_AT(exit_link), S1);
    vmc_emit(e, VMC_OP(0x8b), S1, vmc_m(S1, (int32_t)offsetof(struct vmc_link, to)));
    vmc_emit(e, VMC_OP(0x81), 4, vmc_r(S1));
    vmc_put32(e, VMC_PAGE_SIZE - 1);
    vmc_emit(e, VMC_OP(0x03) | VMC_OP_W, S1, CPU_AT(block_rip));
    vmc_jump(e, t->leave_rip);
}

/* S2 = the distance of the entry of the RIP in S1 in the table of targets. */
static void target_entry(struct vmc_emit *e)
{
    vmc_emit(e, VMC_OP(0x69), S2, vmc_r(S1)); /* imul: vmc_target_index */
    vmc_put32(e, 0x9e3779b1u);
    vmc_emit(e, VMC_OP(0xc1), 5, vmc_r(S2));
    vmc_put8(e, 32 - VMC_TARGET_BITS);
    vmc_emit(e, VMC_OP(0xc1), 4, vmc_r(S2));
    _Static_assert(sizeof(struct vmc_target) == 1 << 5, "what follows");
    vmc_put8(e, 5);
}

/* Where to, unless the entry at distance S2 from RBP + the table is that of the RIP in S1 and of the running
 * kind, or of its narrow blocks. Leaves the kind in RAX. */
static void compare_entry(const struct vmc_translator *t, struct vmc_emit *e, bool narrow, uint8_t *other[2])
{
    vmc_emit(e, VMC_OP(0x3b) | VMC_OP_W, S1, vmc_mx(H_RBP, S2, 0, t->targets_at));
    other[0] = vmc_jcc_later(e, 5);
    vmc_load(e, H_RAX, CPU_AT(jump_key));
    if (narrow) {
        vmc_emit(e, VMC_OP0F(0xba) | VMC_OP_W, 5, vmc_r(H_RAX)); /* bts: VMC_TARGET_NARROW */
        vmc_put8(e, 63);
    }
    vmc_emit(e, VMC_OP(0x3b) | VMC_OP_W, H_RAX,
             vmc_mx(H_RBP, S2, 0, t->targets_at + (int32_t)offsetof(struct vmc_target, kind)));
    other[1] = vmc_jcc_later(e, 5);
}

/* S2: what the access thunk is told. If that span lies across two pages it will fail: the block that checks
 * each access by itself goes on in its place. RAX is on the stack, above the address of the note. */
static void go_narrow(struct vmc_translator *t, struct vmc_emit *e)
{
    uint8_t *other[2];
    vmc_emit(e, VMC_OP(0xf7), 0, vmc_r(S2)); /* test */
    vmc_put32(e, VMC_ACCESS_SEVERAL);
    uint8_t *single = vmc_jcc_later(e, 4);
    vmc_emit(e, VMC_OP(0x8b), H_RAX, vmc_r(S2));
    vmc_emit(e, VMC_OP(0xc1), 5, vmc_r(H_RAX));
    vmc_put8(e, VMC_ACCESS_LENGTH_SHIFT);
    vmc_emit(e, VMC_OP(0x81), 4, vmc_r(H_RAX));
    vmc_put32(e, VMC_ACCESS_LENGTH_MASK);
    push(e, S1);
    vmc_emit(e, VMC_OP(0x81), 4, vmc_r(S1));
    vmc_put32(e, VMC_PAGE_SIZE - 1);
    vmc_emit(e, VMC_OP(0x03), H_RAX, vmc_r(S1));
    pop(e, S1);
    vmc_emit(e, VMC_OP(0x81), 7, vmc_r(H_RAX));
    vmc_put32(e, VMC_PAGE_SIZE - 1);
    uint8_t *within = vmc_jcc_later(e, 6);

    vmc_emit(e, VMC_OP(0x81), 4, vmc_r(S2));
    vmc_put32(e, VMC_PAGE_SIZE - 1);
    vmc_load(e, S1, CPU_AT(block_rip));
    vmc_emit(e, VMC_OP(0x03) | VMC_OP_W, S1, vmc_r(S2));
    target_entry(e);
    vmc_emit(e, VMC_OP(0x83), 6, vmc_r(S2));
    vmc_put8(e, sizeof(struct vmc_target)); /* the neighbour */
    compare_entry(t, e, true, other);
    pop(e, H_RAX);
    adjust_stack(e, 8);
    vmc_emit(e, VMC_OP(0xff), 4,
             vmc_mx(H_RBP, S2, 0, t->targets_at + (int32_t)offsetof(struct vmc_target, code)));

    vmc_patch(other[0], e->p);
    vmc_patch(other[1], e->p);
    pop(e, H_RAX);
    adjust_stack(e, 8);
    vmc_emit(e, VMC_OP(0xc6), 0, CPU_AT(narrow));
    vmc_put8(e, 1);
    vmc_jump(e, t->leave_rip);
    vmc_patch(single, e->p);
    vmc_patch(within, e->p);
}

/* One for each TLB, for reading and for writing, before what they share: the address in S1 again. */
static void make_access_entries(struct vmc_translator *t, struct vmc_emit *e)
{
    uint8_t *common[VMC_TLB_NEVER][2];
    for (unsigned i = 0; i < VMC_TLB_NEVER; i++)
        for (unsigned w = 0; w < 2; w++) {
            size_t tag =
                w ? offsetof(struct vmc_tlb_entry, tag_write) : offsetof(struct vmc_tlb_entry, tag_read);
            t->missed_access[i][w] = e->p;
            vmc_emit(e, VMC_OP(0x33) | VMC_OP_W, S1, vmc_mx(H_RBP, S2, 0, t->tlb_at[i] + (int32_t)tag));
            common[i][w] = vmc_jump_later(e);
        }
    for (unsigned i = 0; i < VMC_TLB_NEVER; i++)
        for (unsigned w = 0; w < 2; w++)
            vmc_patch(common[i][w], e->p);
}

/* In: S1 the address, on the stack that of the note. */
static void make_access(struct vmc_translator *t, struct vmc_emit *e)
{
    make_access_entries(t, e);
    t->access = e->p;
    push(e, H_RAX);
    vmc_load(e, S2, vmc_m(H_RSP, 8));
    vmc_emit(e, VMC_OP(0x8b), S2, vmc_m(S2, (int32_t)offsetof(struct vmc_access_note, info)));
    go_narrow(t, e);
    pop(e, H_RAX);
    each_register(e, true);
    vmc_load(e, H_RDX, vmc_m(H_RSP, 0));
    vmc_emit(e, VMC_OP(0x63) | VMC_OP_W, H_RAX, /* movsxd */
             vmc_m(H_RDX, (int32_t)offsetof(struct vmc_access_note, back)));
    vmc_emit(e, VMC_OP(0x01) | VMC_OP_W, H_RDX, vmc_r(H_RAX));
    vmc_store(e, vmc_m(H_RSP, 0), H_RAX);
    vmc_emit(e, VMC_OP(0x8b), H_RDX, vmc_m(H_RDX, (int32_t)offsetof(struct vmc_access_note, info)));
    adjust_stack(e, -8);
    copy_vectors(e, true);
    cpu_argument(e);
    vmc_store(e, vmc_r(H_RSI), S1);
    call_c(e, (const void *)vmc_translated_access);
    vmc_emit(e, VMC_OP(0x85) | VMC_OP_W, H_RAX, vmc_r(H_RAX));
    uint8_t *bail = vmc_jcc_later(e, 4);
    vmc_store(e, vmc_r(S1), H_RAX);
    copy_vectors(e, false);
    each_register(e, false);
    adjust_stack(e, 8);
    ret(e);
    vmc_patch(bail, e->p);
    set_vectors_here(e, VMC_VECTORS_NONE);
    adjust_stack(e, 16);
    vmc_jump(e, t->leave_saved);
}

static void make_helper(struct vmc_translator *t, struct vmc_emit *e)
{
    t->helper = e->p;
    each_register(e, true);
    adjust_stack(e, -8);
    vmc_store(e, vmc_r(H_RBX), S1);
    save_vectors(e);
    cpu_argument(e);
    vmc_store(e, vmc_r(H_RSI), H_RBX);
    call_c(e, (const void *)vmc_translated_helper);
    vmc_emit(e, VMC_OP(0x84) | VMC_OP_REG8 | VMC_OP_RM8, H_RAX, vmc_r(H_RAX));
    uint8_t *gone = vmc_jcc_later(e, 4);
    adjust_stack(e, 8);
    each_register(e, false);
    ret(e);
    vmc_patch(gone, e->p);
    adjust_stack(e, 16);
    vmc_jump(e, t->leave_saved);
}

/* All flags again from dst and src of `size` (0, 2 or 3) and what was done to them, one of `kind`. Loses S2.
 */
static void flags_of_size(struct vmc_emit *e, uint32_t kind, unsigned size)
{
    uint32_t w = (size == 3 ? VMC_OP_W : 0) | (size ? 0 : VMC_OP_REG8);
    unsigned wide = size ? 1 : 0;
    vmc_emit(e, VMC_OP(0x8a + wide) | w, S2, CPU_AT(cc_dst));
    switch (kind) {
    case CC_RAW_CMP:
        vmc_emit(e, VMC_OP(0x3a + wide) | w, S2, CPU_AT(cc_src));
        break;
    case CC_RAW_SUB: /* the first operand, by adding the second to the result */
        vmc_emit(e, VMC_OP(0x02 + wide) | w, S2, CPU_AT(cc_src));
        vmc_emit(e, VMC_OP(0x3a + wide) | w, S2, CPU_AT(cc_src));
        break;
    case CC_RAW_ADD:
        vmc_emit(e, VMC_OP(0x2a + wide) | w, S2, CPU_AT(cc_src));
        vmc_emit(e, VMC_OP(0x02 + wide) | w, S2, CPU_AT(cc_src));
        break;
    case CC_RAW_LOGIC:
        vmc_emit(e, VMC_OP(size ? 0x83 : 0x80) | (size == 3 ? VMC_OP_W : 0) | (size ? 0 : VMC_OP_RM8), 7,
                 vmc_r(S2));
        vmc_put8(e, 0);
        break;
    }
    ret(e);
}

/* The operations that are common. S2 holds the one it is; what is none of them goes on behind. */
static void flags_if_common(struct vmc_emit *e)
{
    static const uint16_t kinds[] = {CC_RAW_CMP, CC_RAW_LOGIC, CC_RAW_ADD, CC_RAW_SUB};
    static const uint8_t sizes[] = {3, 2, 0};
    for (unsigned k = 0; k < 4; k++)
        for (unsigned i = 0; i < 3; i++) {
            vmc_emit(e, VMC_OP(0x81), 7, vmc_r(S2));
            vmc_put32(e, (uint32_t)kinds[k] | sizes[i]);
            uint8_t *other = vmc_jcc_later(e, 5);
            flags_of_size(e, kinds[k], sizes[i]);
            vmc_patch(other, e->p);
        }
}

/* The host's flags from the state, whose form is CC_RAW_HOST afterwards if it was not a common one. */
static void make_load_flags(struct vmc_translator *t, struct vmc_emit *e)
{
    t->load_flags = e->p;
    vmc_emit(e, VMC_OP(0x81), 7, CPU_AT(cc_op));
    vmc_put32(e, CC_RAW_HOST);
    uint8_t *simple = vmc_jcc_later(e, 4);
    vmc_emit(e, VMC_OP(0x8b), S2, CPU_AT(cc_op));
    flags_if_common(e);
    each_register(e, true);
    push(e, S1);
    copy_vectors(e, true);
    cpu_argument(e);
    call_c(e, (const void *)vmc_translated_flags);
    copy_vectors(e, false);
    each_register(e, false);
    pop(e, S1);
    vmc_patch(simple, e->p);
    vmc_store(e, vmc_r(S2), H_RAX);
    vmc_load_saved_flags(e);
    vmc_store(e, vmc_r(H_RAX), S2);
    ret(e);
}

/* CF from dst < src, both of `size` (0, 2 or 3); S2 is dst, or dst + src. */
static void carry_of_size(struct vmc_emit *e, unsigned size, bool sum)
{
    uint32_t w = size == 3 ? VMC_OP_W : 0, byte = size ? 0 : VMC_OP_REG8;
    vmc_emit(e, VMC_OP(size ? 0x8b : 0x8a) | w | byte, S2, CPU_AT(cc_dst));
    if (sum)
        vmc_emit(e, VMC_OP(size ? 0x03 : 0x02) | w | byte, S2, CPU_AT(cc_src));
    vmc_emit(e, VMC_OP(size ? 0x3b : 0x3a) | w | byte, S2, CPU_AT(cc_src));
    ret(e);
}

/* S2 holds the operation: if it is one of this kind, CF by its size. */
static void carry_if_kind(struct vmc_emit *e, uint32_t kind, bool sum)
{
    static const uint8_t sizes[] = {3, 2, 0};
    for (unsigned i = 0; i < 3; i++) {
        vmc_emit(e, VMC_OP(0x81), 7, vmc_r(S2));
        vmc_put32(e, kind | sizes[i]);
        uint8_t *other = vmc_jcc_later(e, 5);
        carry_of_size(e, sizes[i], sum);
        vmc_patch(other, e->p);
    }
}

static void make_load_carry(struct vmc_translator *t, struct vmc_emit *e)
{
    t->load_carry = e->p;
    vmc_emit(e, VMC_OP(0x8b), S2, CPU_AT(cc_op));
    vmc_emit(e, VMC_OP(0x81), 7, vmc_r(S2));
    vmc_put32(e, CC_RAW_INC);
    uint8_t *above = vmc_jcc_later(e, 3);
    vmc_emit(e, VMC_OP(0x85), S2, vmc_r(S2));
    uint8_t *plain = vmc_jcc_later(e, 4);
    carry_if_kind(e, CC_RAW_CMP, false);
    carry_if_kind(e, CC_RAW_ADD, false);
    carry_if_kind(e, CC_RAW_SUB, true);
    vmc_emit(e, VMC_OP(0x83), 4, vmc_r(S2));
    vmc_put8(e, 0xfc);
    vmc_emit(e, VMC_OP(0x81), 7, vmc_r(S2));
    vmc_put32(e, CC_RAW_LOGIC);
    uint8_t *other = vmc_jcc_later(e, 5);
    ret(e); /* equal: CF is clear */
    vmc_patch(other, e->p);
    vmc_jump(e, t->load_flags);
    vmc_patch(above, e->p);
    vmc_patch(plain, e->p);
    vmc_emit(e, VMC_OP0F(0xb6), S2, CPU_AT(cc_src)); /* bit 0 */
    vmc_emit(e, VMC_OP(0xd1), 5, vmc_r(S2));
    ret(e);
}

static void if_requested(struct vmc_emit *e, const uint8_t *out)
{
    vmc_emit(e, VMC_OP(0x83), 7, CPU_AT(request));
    vmc_put8(e, 0);
    vmc_patch(vmc_jcc_later(e, 5), out);
}

/* The page of the RIP in S1 is what runs from here on. */
static void enter_page(struct vmc_emit *e)
{
    vmc_emit(e, VMC_OP(0x81) | VMC_OP_W, 4, vmc_r(S1));
    vmc_put32(e, (uint32_t)VMC_PAGE_MASK);
    vmc_store(e, CPU_AT(block_rip), S1);
}

static void make_indirect(struct vmc_translator *t, struct vmc_emit *e)
{
    int32_t code = t->targets_at + (int32_t)offsetof(struct vmc_target, code);
    uint8_t *other[2], *no_target[2];
    t->indirect = e->p;
    if_requested(e, t->leave_rip);
    push(e, H_RAX);
    target_entry(e);
    compare_entry(t, e, false, other);
    pop(e, H_RAX);
    enter_page(e);
    vmc_emit(e, VMC_OP(0xff), 4, vmc_mx(H_RBP, S2, 0, code));

    t->missed = e->p;
    vmc_store(e, CPU_AT(site), S2);
    if_requested(e, t->leave_rip);
    push(e, H_RAX);
    push(e, H_RBX);
    target_entry(e);
    compare_entry(t, e, false, no_target);
    vmc_load(e, H_RBX, CPU_AT(site));
    vmc_store(e, vmc_m(H_RBX, (int32_t)offsetof(struct vmc_target, kind)), H_RAX);
    vmc_load(e, S2, vmc_mx(H_RBP, S2, 0, code));
    vmc_store(e, vmc_m(H_RBX, (int32_t)offsetof(struct vmc_target, rip)), S1);
    vmc_store(e, vmc_m(H_RBX, (int32_t)offsetof(struct vmc_target, code)), S2);
    enter_page(e);
    vmc_store(e, vmc_m(H_RBX, (int32_t)offsetof(struct vmc_target, page)), S1);
    pop(e, H_RBX);
    pop(e, H_RAX);
    vmc_emit(e, VMC_OP(0xff), 4, vmc_r(S2));

    vmc_patch(no_target[0], e->p);
    vmc_patch(no_target[1], e->p);
    pop(e, H_RBX);
    vmc_patch(other[0], e->p);
    vmc_patch(other[1], e->p);
    pop(e, H_RAX);
    vmc_jump(e, t->leave_rip);
}

static void make_load_vectors(struct vmc_translator *t, struct vmc_emit *e)
{
    t->load_xmm = e->p;
    move_xmm(e, false);
    set_vectors_here(e, VMC_VECTORS_XMM);
    ret(e);
    t->load_ymm = e->p;
    uint8_t *none = if_at_most(e, VMC_VECTORS_NONE), *have_xmm = vmc_jump_later(e);
    vmc_patch(none, e->p);
    move_xmm(e, false);
    vmc_patch(have_xmm, e->p);
    move_high(e, false);
    set_vectors_here(e, VMC_VECTORS_YMM);
    ret(e);
}

void vmc_make_thunks(struct vmc_translator *t, struct vmc_emit *e)
{
    make_enter(t, e);
    make_leave(t, e);
    make_leave_by_call(t, e);
    make_access(t, e);
    make_helper(t, e);
    make_load_flags(t, e);
    make_load_carry(t, e);
    make_indirect(t, e);
    make_load_vectors(t, e);
}
