/*
 * CPU state to and from KVM (KVM_SET_REGS, SREGS, FPU, DEBUGREGS, MP_STATE).
 *
 * A CPU that waits for SIPI is KVM_MP_STATE_UNINITIALIZED: INIT and SIPI then come through KVM's own local
 * APIC.
 */
#include <string.h>

#include "base/i18n.h"
#include "cpu/kvm/kvm.h"

static void segment_to_kvm(const VmcSegment *s, struct kvm_segment *k)
{
    memset(k, 0, sizeof *k);
    k->base = s->base;
    k->limit = s->limit;
    k->selector = s->selector;
    k->type = s->attr & 15;
    k->s = s->attr >> 4 & 1;
    k->dpl = s->attr >> 5 & 3;
    k->present = s->attr >> 7 & 1;
    k->avl = s->attr >> 12 & 1;
    k->l = s->attr >> 13 & 1;
    k->db = s->attr >> 14 & 1;
    k->g = s->attr >> 15 & 1;
    k->unusable = !k->present;
}

static void segment_from_kvm(const struct kvm_segment *k, VmcSegment *s)
{
    s->base = k->base;
    s->limit = k->limit;
    s->selector = k->selector;
    s->attr = (uint16_t)(k->type | k->s << 4 | k->dpl << 5 | (k->present && !k->unusable) << 7 |
                         k->avl << 12 | k->l << 13 | k->db << 14 | k->g << 15);
}

/* VmcCpuState has the segments in the order of their encoding, KVM by name. */
static struct kvm_segment *segment_of(struct kvm_sregs *k, unsigned i)
{
    struct kvm_segment *order[VMC_SEG_COUNT] = {&k->es, &k->cs, &k->ss, &k->ds, &k->fs, &k->gs};
    return order[i];
}

/* The general registers, in the order of their encoding. */
static void registers_to_kvm(const VmcCpuState *s, struct kvm_regs *k)
{
    *k = (struct kvm_regs){
        .rax = s->gpr[0],
        .rcx = s->gpr[1],
        .rdx = s->gpr[2],
        .rbx = s->gpr[3],
        .rsp = s->gpr[4],
        .rbp = s->gpr[5],
        .rsi = s->gpr[6],
        .rdi = s->gpr[7],
        .r8 = s->gpr[8],
        .r9 = s->gpr[9],
        .r10 = s->gpr[10],
        .r11 = s->gpr[11],
        .r12 = s->gpr[12],
        .r13 = s->gpr[13],
        .r14 = s->gpr[14],
        .r15 = s->gpr[15],
        .rip = s->rip,
        .rflags = s->rflags | 2,
    };
}

static void registers_from_kvm(const struct kvm_regs *k, VmcCpuState *s)
{
    const uint64_t in_order[16] = {k->rax, k->rcx, k->rdx, k->rbx, k->rsp, k->rbp, k->rsi, k->rdi,
                                   k->r8,  k->r9,  k->r10, k->r11, k->r12, k->r13, k->r14, k->r15};
    memcpy(s->gpr, in_order, sizeof in_order);
    s->rip = k->rip;
    s->rflags = k->rflags;
}

/* FXSAVE image <-> struct kvm_fpu. */
static void fpu_to_kvm(const uint8_t *image, struct kvm_fpu *k)
{
    memset(k, 0, sizeof *k);
    memcpy(&k->fcw, image, 2);
    memcpy(&k->fsw, image + 2, 2);
    k->ftwx = image[4];
    memcpy(&k->last_opcode, image + 6, 2);
    memcpy(&k->last_ip, image + 8, 8);
    memcpy(&k->last_dp, image + 16, 8);
    memcpy(&k->mxcsr, image + 24, 4);
    memcpy(k->fpr, image + 32, 128);
    memcpy(k->xmm, image + 160, 256);
}

static void fpu_from_kvm(const struct kvm_fpu *k, uint8_t *image)
{
    memset(image, 0, 512);
    memcpy(image, &k->fcw, 2);
    memcpy(image + 2, &k->fsw, 2);
    image[4] = k->ftwx;
    memcpy(image + 6, &k->last_opcode, 2);
    memcpy(image + 8, &k->last_ip, 8);
    memcpy(image + 16, &k->last_dp, 8);
    memcpy(image + 24, &k->mxcsr, 4);
    memcpy(image + 32, k->fpr, 128);
    memcpy(image + 160, k->xmm, 256);
}

bool vmc_kvm_set_state(VmcCpu *cpu, const VmcCpuState *state, GError **error)
{
    struct kvm_sregs sregs = {0};
    struct kvm_regs regs;
    struct kvm_fpu fpu;
    struct kvm_debugregs debug = {0};
    struct kvm_mp_state mp = {.mp_state = state->wait_for_sipi ? KVM_MP_STATE_UNINITIALIZED
                                          : state->halted      ? KVM_MP_STATE_HALTED
                                                               : KVM_MP_STATE_RUNNABLE};
    if (vmc_kvm_ioctl(cpu->fd, KVM_GET_SREGS, &sregs, N_("KVM cannot read a CPU's system registers: %s"),
                      error) < 0)
        return false;
    for (unsigned i = 0; i < VMC_SEG_COUNT; i++)
        segment_to_kvm(&state->seg[i], segment_of(&sregs, i));
    segment_to_kvm(&state->ldt, &sregs.ldt);
    segment_to_kvm(&state->tr, &sregs.tr);
    sregs.gdt.base = state->gdt.base;
    sregs.gdt.limit = state->gdt.limit;
    sregs.idt.base = state->idt.base;
    sregs.idt.limit = state->idt.limit;
    sregs.cr0 = state->cr0;
    sregs.cr2 = state->cr2;
    sregs.cr3 = state->cr3;
    sregs.cr4 = state->cr4;
    sregs.cr8 = state->cr8;
    sregs.efer = state->efer;
    if (state->apic_base)
        sregs.apic_base = state->apic_base;
    registers_to_kvm(state, &regs);
    fpu_to_kvm(state->fxsave, &fpu);
    memcpy(debug.db, state->dr, 4 * sizeof(uint64_t));
    debug.dr6 = state->dr[6];
    debug.dr7 = state->dr[7];
    return vmc_kvm_ioctl(cpu->fd, KVM_SET_MP_STATE, &mp, N_("KVM cannot set a CPU's run state: %s"), error) >=
               0 &&
           vmc_kvm_ioctl(cpu->fd, KVM_SET_SREGS, &sregs, N_("KVM cannot set a CPU's system registers: %s"),
                         error) >= 0 &&
           vmc_kvm_ioctl(cpu->fd, KVM_SET_REGS, &regs, N_("KVM cannot set a CPU's registers: %s"), error) >=
               0 &&
           vmc_kvm_ioctl(cpu->fd, KVM_SET_FPU, &fpu, N_("KVM cannot set a CPU's floating-point state: %s"),
                         error) >= 0 &&
           vmc_kvm_ioctl(cpu->fd, KVM_SET_DEBUGREGS, &debug, N_("KVM cannot set a CPU's debug registers: %s"),
                         error) >= 0;
}

void vmc_kvm_get_state(VmcCpu *cpu, VmcCpuState *state)
{
    struct kvm_sregs sregs = {0};
    struct kvm_regs regs = {0};
    struct kvm_fpu fpu = {0};
    struct kvm_debugregs debug = {0};
    struct kvm_mp_state mp = {0};
    memset(state, 0, sizeof *state);
    vmc_kvm_ioctl(cpu->fd, KVM_GET_SREGS, &sregs, "KVM cannot read a CPU's system registers: %s", NULL);
    vmc_kvm_ioctl(cpu->fd, KVM_GET_REGS, &regs, "KVM cannot read a CPU's registers: %s", NULL);
    vmc_kvm_ioctl(cpu->fd, KVM_GET_FPU, &fpu, "KVM cannot read a CPU's floating-point state: %s", NULL);
    vmc_kvm_ioctl(cpu->fd, KVM_GET_DEBUGREGS, &debug, "KVM cannot read a CPU's debug registers: %s", NULL);
    vmc_kvm_ioctl(cpu->fd, KVM_GET_MP_STATE, &mp, "KVM cannot read a CPU's run state: %s", NULL);
    for (unsigned i = 0; i < VMC_SEG_COUNT; i++)
        segment_from_kvm(segment_of(&sregs, i), &state->seg[i]);
    segment_from_kvm(&sregs.ldt, &state->ldt);
    segment_from_kvm(&sregs.tr, &state->tr);
    state->gdt.base = sregs.gdt.base;
    state->gdt.limit = sregs.gdt.limit;
    state->idt.base = sregs.idt.base;
    state->idt.limit = sregs.idt.limit;
    state->cr0 = sregs.cr0;
    state->cr2 = sregs.cr2;
    state->cr3 = sregs.cr3;
    state->cr4 = sregs.cr4;
    state->cr8 = sregs.cr8;
    state->efer = sregs.efer;
    state->apic_base = sregs.apic_base;
    registers_from_kvm(&regs, state);
    fpu_from_kvm(&fpu, state->fxsave);
    memcpy(state->dr, debug.db, 4 * sizeof(uint64_t));
    state->dr[6] = debug.dr6;
    state->dr[7] = debug.dr7;
    state->halted = mp.mp_state == KVM_MP_STATE_HALTED;
    state->wait_for_sipi =
        mp.mp_state == KVM_MP_STATE_UNINITIALIZED || mp.mp_state == KVM_MP_STATE_INIT_RECEIVED;
}

/* What RESET does to MSRs a guest kernel sets (SDM vol. 3 table 9-1). One by one: a host may not know them
 * all. */
void vmc_kvm_reset(VmcCpu *cpu)
{
    static const struct {
        uint32_t index;
        uint64_t value;
    } at_reset[] = {
        {0x174, 0},
        {0x175, 0},
        {0x176, 0},                     /* SYSENTER */
        {0x277, 0x0007040600070406ull}, /* PAT */
        {0x2ff, 0},                     /* MTRR default type */
        {0x6e0, 0},                     /* TSC deadline */
        {0xc0000081, 0},
        {0xc0000082, 0},
        {0xc0000083, 0},
        {0xc0000084, 0}, /* STAR ... SFMASK */
        {0xc0000102, 0},
        {0xc0000103, 0}, /* KERNEL_GS_BASE, TSC_AUX */
        {0x48, 0},       /* SPEC_CTRL */
        /* What the kernel does to memory the guest named: the next one may have something else there. */
        {0x11, 0},
        {0x12, 0}, /* wall clock and clock, old */
        {0x4b564d00, 0},
        {0x4b564d01, 0}, /* the same, new */
        {0x4b564d02, 0}, /* asynchronous page faults */
        {0x4b564d03, 0}, /* steal time */
        {0x4b564d04, 0}, /* end of interrupt */
        {0x4b564d05, 1}, /* host's halt polling: allowed */
        {0x4b564d06, 0}, /* the vector for asynchronous page faults */
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(at_reset); i++) {
        struct {
            struct kvm_msrs head;
            struct kvm_msr_entry entry;
        } msr = {.head.nmsrs = 1, .entry = {.index = at_reset[i].index, .data = at_reset[i].value}};
        vmc_kvm_ioctl(cpu->fd, KVM_SET_MSRS, &msr, "KVM cannot reset a model-specific register: %s", NULL);
    }
    struct kvm_vcpu_events none = {.flags = KVM_VCPUEVENT_VALID_NMI_PENDING};
    struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = 1}}};
    vmc_kvm_ioctl(cpu->fd, KVM_SET_VCPU_EVENTS, &none, "KVM cannot reset what a CPU waits for: %s", NULL);
    vmc_kvm_ioctl(cpu->fd, KVM_SET_XCRS, &xcrs, "KVM cannot reset XCR0: %s", NULL);
}
