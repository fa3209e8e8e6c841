/*
 * A debugger on a CPU of KVM's: KVM_SET_GUEST_DEBUG.
 *
 * Breakpoints and watchpoints lie in the debug registers that the processor has while the guest runs; the
 * guest's own are kept by KVM and do not work meanwhile. Breakpoints that find no register free, and need not
 * have one, become INT3 in the guest's memory, put there when the first CPU enters the guest and taken out
 * when the last has left it: whoever looks at memory while the machine stands sees the guest's own bytes, but
 * the guest itself could see them, and they only work where their address is mapped when the guest is
 * entered. An INT3 or a debug exception of the guest's own is given back to it.
 *
 * Source: Documentation/virt/kvm/api.rst of Linux 6.1, section 4.87; Intel SDM vol. 3 section 17.2.
 */
#include <string.h>
#include <sys/ioctl.h>

#include "base/i18n.h"
#include "cpu/kvm/kvm.h"
#include "vmcore/error.h"

#define INT3          0xcc
#define EXCEPTION_DB  1
#define EXCEPTION_BP  3
#define DR6_B         0xfull
#define DR6_BS        (1ull << 14)
#define DR7_FIXED     0x400ull
#define DR7_EXACT     0x200ull
#define DR7_GLOBAL(n) (2ull << ((n)*2))

/* ---- what is asked for ---- */

/* Uses a debug register for `event`, if one is left. `length` 1 and `type` 0 for a breakpoint. */
static bool take_register(VmcCpu *cpu, struct kvm_guest_debug *guest, uint64_t address, uint64_t length,
                          unsigned type, const VmcDebugEvent *event)
{
    static const uint8_t length_codes[9] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};

    for (unsigned n = 0; n < G_N_ELEMENTS(cpu->registers); n++) {
        if (cpu->registers[n].reason != VMC_DEBUG_NONE)
            continue;
        cpu->registers[n] = *event;
        guest->control |= KVM_GUESTDBG_USE_HW_BP;
        guest->arch.debugreg[n] = address;
        guest->arch.debugreg[7] |= DR7_GLOBAL(n) | (uint64_t)(type | (unsigned)length_codes[length] << 2)
                                                       << (16 + n * 4);
        return true;
    }
    return false;
}

static void take_breakpoints(VmcCpu *cpu, struct kvm_guest_debug *guest, const VmcCpuDebug *debug,
                             bool hardware)
{
    for (unsigned i = 0; i < debug->n_breakpoints; i++) {
        VmcDebugEvent event = {
            .reason = VMC_DEBUG_BREAKPOINT, .hardware = hardware, .address = debug->breakpoints[i].address};

        if (debug->breakpoints[i].hardware == hardware &&
            !take_register(cpu, guest, event.address, 1, 0, &event))
            cpu->int3[cpu->n_int3++] =
                event.address; /* never of hardware: the caller asked whether they fit */
    }
}

static void take_watchpoints(VmcCpu *cpu, struct kvm_guest_debug *guest, const VmcCpuDebug *debug)
{
    for (unsigned i = 0; i < debug->n_watchpoints; i++) {
        VmcDebugEvent event = {.reason = VMC_DEBUG_WATCHPOINT,
                               .access = debug->watchpoints[i].access,
                               .address = debug->watchpoints[i].address};

        /* There is no type for reads alone: they are told with writes, and the debugger looks whether it was
         * one. */
        take_register(cpu, guest, event.address, debug->watchpoints[i].length,
                      event.access == VMC_DEBUG_WRITE ? 1 : 3, &event);
    }
}

/* A halted CPU steps by taking the interrupt it waits for. */
static uint32_t step_control(VmcCpu *cpu)
{
    struct kvm_mp_state mp = {0};
    int known = ioctl(cpu->vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2);

    vmc_kvm_ioctl(cpu->fd, KVM_GET_MP_STATE, &mp, "KVM cannot read a CPU's run state: %s", NULL);
    bool block = known > 0 && (known & KVM_GUESTDBG_BLOCKIRQ) && mp.mp_state != KVM_MP_STATE_HALTED;
    return KVM_GUESTDBG_SINGLESTEP | (block ? KVM_GUESTDBG_BLOCKIRQ : 0);
}

bool vmc_kvm_set_debug(VmcCpu *cpu, const VmcCpuDebug *debug, GError **error)
{
    struct kvm_guest_debug guest = {0};

    if (!debug && !cpu->guest_debug.control)
        return true;
    if (debug && !vmc_cpu_debug_fits(&vmc_cpu_kvm, debug)) {
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_CPU,
            _("KVM has four debug registers: that many watchpoints and hardware breakpoints together, each "
              "watchpoint of 1, 2, 4 or 8 aligned bytes"));
        return false;
    }
    memset(cpu->registers, 0, sizeof cpu->registers);
    cpu->event = (VmcDebugEvent){.reason = VMC_DEBUG_NONE};
    cpu->n_int3 = 0;
    if (debug) {
        guest.control =
            KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP | (debug->single_step ? step_control(cpu) : 0);
        guest.arch.debugreg[7] = DR7_FIXED | DR7_EXACT;
        take_breakpoints(cpu, &guest, debug, true);
        take_watchpoints(cpu, &guest, debug);
        take_breakpoints(cpu, &guest, debug, false);
    }
    cpu->guest_debug = guest;
    return vmc_kvm_ioctl(cpu->fd, KVM_SET_GUEST_DEBUG, &guest, N_("KVM cannot debug a guest: %s"), error) >=
           0;
}

void vmc_kvm_get_debug_event(VmcCpu *cpu, VmcDebugEvent *event)
{
    *event = cpu->event;
}

/* KVM_TRANSLATE would mark pages as accessed. */
bool vmc_kvm_translate(VmcCpu *cpu, uint64_t va, uint64_t *pa)
{
    struct kvm_sregs sregs = {0};

    if (vmc_kvm_ioctl(cpu->fd, KVM_GET_SREGS, &sregs, "KVM cannot read a CPU's system registers: %s", NULL) <
        0)
        return false;
    VmcCpuState state = {.cr0 = sregs.cr0, .cr3 = sregs.cr3, .cr4 = sregs.cr4, .efer = sregs.efer};
    return vmc_cpu_walk(&state, cpu->vm->memory, va, pa);
}

/* ---- breakpoints in memory ---- */

/* Where this CPU has the page, which is the kernel's or that of a program that happens to run. */
static void put_int3(VmcCpu *cpu, uint64_t address)
{
    VmcCpuVm *vm = cpu->vm;
    struct kvm_int3 *at = &vm->int3[vm->n_int3];
    uint8_t int3 = INT3;

    if (vmc_kvm_translate(cpu, address, &at->pa) && vmc_memory_read(vm->memory, at->pa, &at->original, 1) &&
        at->original != INT3 && vmc_memory_write(vm->memory, at->pa, &int3, 1))
        vm->n_int3++;
}

void vmc_kvm_debug_enter(VmcCpu *cpu)
{
    VmcCpuVm *vm = cpu->vm;

    g_mutex_lock(&vm->debug_lock);
    if (vm->n_inside++ == 0)
        for (unsigned i = 0; i < cpu->n_int3; i++)
            put_int3(cpu, cpu->int3[i]);
    g_mutex_unlock(&vm->debug_lock);
}

void vmc_kvm_debug_leave(VmcCpu *cpu)
{
    VmcCpuVm *vm = cpu->vm;

    g_mutex_lock(&vm->debug_lock);
    if (--vm->n_inside == 0)
        while (vm->n_int3 > 0) {
            struct kvm_int3 *at = &vm->int3[--vm->n_int3];
            uint8_t now;

            /* What the guest has put there meanwhile is its own. */
            if (vmc_memory_read(vm->memory, at->pa, &now, 1) && now == INT3)
                vmc_memory_write(vm->memory, at->pa, &at->original, 1);
        }
    g_mutex_unlock(&vm->debug_lock);
}

/* ---- what has happened ---- */

static void find_event(VmcCpu *cpu, const struct kvm_debug_exit_arch *exit)
{
    if (exit->exception == EXCEPTION_DB) {
        for (unsigned n = 0; n < G_N_ELEMENTS(cpu->registers); n++)
            if ((exit->dr6 >> n & 1) && cpu->registers[n].reason != VMC_DEBUG_NONE) {
                cpu->event = cpu->registers[n];
                return;
            }
        if ((exit->dr6 & DR6_BS) && (cpu->guest_debug.control & KVM_GUESTDBG_SINGLESTEP))
            cpu->event.reason = VMC_DEBUG_STEP;
        return;
    }
    for (unsigned i = 0; i < cpu->n_int3; i++)
        if (cpu->int3[i] == exit->pc)
            cpu->event = (VmcDebugEvent){.reason = VMC_DEBUG_BREAKPOINT, .address = exit->pc};
}

/* The exception was the guest's own. */
static void give_back(VmcCpu *cpu, const struct kvm_debug_exit_arch *exit)
{
    struct kvm_guest_debug guest = cpu->guest_debug;
    struct kvm_debugregs registers = {0};

    if (exit->exception == EXCEPTION_DB) {
        if (vmc_kvm_ioctl(cpu->fd, KVM_GET_DEBUGREGS, &registers,
                          "KVM cannot read a CPU's debug registers: %s", NULL) >= 0) {
            registers.dr6 = (registers.dr6 & ~DR6_B) | (exit->dr6 & (DR6_B | DR6_BS));
            vmc_kvm_ioctl(cpu->fd, KVM_SET_DEBUGREGS, &registers,
                          "KVM cannot set a CPU's debug registers: %s", NULL);
        }
        guest.control |= KVM_GUESTDBG_INJECT_DB;
    } else {
        guest.control |= KVM_GUESTDBG_INJECT_BP;
    }
    vmc_kvm_ioctl(cpu->fd, KVM_SET_GUEST_DEBUG, &guest, "KVM cannot give an exception back to the guest: %s",
                  NULL);
}

bool vmc_kvm_debug_exit(VmcCpu *cpu)
{
    const struct kvm_debug_exit_arch *exit = &cpu->run->debug.arch;

    find_event(cpu, exit);
    if (cpu->event.reason != VMC_DEBUG_NONE)
        return true;
    give_back(cpu, exit);
    return false;
}
