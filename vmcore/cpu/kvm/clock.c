/*
 * The clocks of a KVM guest.
 *
 * The TSC and KVM's own clock (kvmclock) go on with the host's while a machine is paused. So guests that keep
 * time by one of them, which is what Linux, BSDs and macOS do here, are right again with the first look after
 * a pause, however long it was. What a jump would upset is a guest's watchdogs: Linux' are told through
 * kvmclock that the guest was stopped (KVM_KVMCLOCK_CTRL).
 *
 * While the host sleeps its TSC may stop or begin at 0 again (cpu/anchor.h). KVM sees to it only that no
 * guest's runs back: it goes on where it was, without the time of the sleep. And kvmclock is counted by the
 * TSC from when KVM last looked at the host's clocks, which in a suspend to idle it does not do. So both are
 * looked at after a sleep, and set to where they should be by what they were before. Timers that wait for a
 * TSC are set again: the host's timer behind them stood still.
 *
 * Source: Documentation/virt/kvm/api.rst of Linux 6.1, sections 4.30, 4.55, 4.61; devices/vcpu.rst, section
 * 4; virt/kvm/x86/timekeeping.rst; kvm_arch_hardware_enable and get_kvmclock in arch/x86/kvm/x86.c.
 */
#include <sys/ioctl.h>
#include <x86intrin.h>

#include "cpu/kvm/kvm.h"

#define MSR_TSC          0x10u
#define MSR_TSC_DEADLINE 0x6e0u

/* A clock that is behind by less has lost nothing. */
#define CLOCK_BEHIND_NS 100000000u
/* A TSC that is behind by so much more than the host has slept is one that the guest has set. */
#define BESIDE_SLEEP_NS 10000000000u

/* Guest TSC ticks per second, as KVM knows them. */
uint64_t vmc_kvm_measure_tsc(VmcCpu *cpu)
{
    int khz = ioctl(cpu->fd, KVM_GET_TSC_KHZ, 0);

    return khz > 0 ? (uint64_t)khz * 1000u : 1000000000u;
}

uint64_t vmc_kvm_tsc_hz(VmcCpuVm *vm)
{
    return vm->model.tsc_hz;
}

uint64_t vmc_kvm_tsc_now(VmcCpuVm *vm)
{
    return __rdtsc();
}

/* Fails on a CPU whose guest does not use kvmclock: there is nobody to tell. */
void vmc_kvm_resumed(VmcCpuVm *vm)
{
    for (unsigned i = 0; i < vm->n_cpus; i++)
        if (vm->cpus[i])
            ioctl(vm->cpus[i]->fd, KVM_KVMCLOCK_CTRL, 0);
}

/* ---- the host's sleep ---- */

static bool take_anchor(VmcCpuVm *vm, const VmcHostTime *now)
{
    struct kvm_clock_data clock = {0};

    if (!vmc_kvm_get_msr(vm->cpus[0], MSR_TSC, &vm->anchor.tsc) ||
        ioctl(vm->vm_fd, KVM_GET_CLOCK, &clock) < 0)
        return false;
    vm->anchor_clock = clock.clock;
    vm->anchor.at = *now;
    return true;
}

/* On its thread, outside the guest. After a sleep that nobody has told of yet the old anchor is needed. */
void vmc_kvm_drop_anchor(VmcCpu *cpu)
{
    VmcCpuVm *vm = cpu->vm;
    VmcHostTime now;

    atomic_store(&vm->anchor_due, false);
    vmc_host_time(&now);
    if (!vm->anchor.at.boot_ns || !vmc_host_slept(&vm->anchor.at, &now))
        take_anchor(vm, &now);
}

/* By its offset to the host's where KVM lets us: a value that is written KVM may take for an attempt to make
 * all CPUs the same, and do that. */
static void advance_tsc(VmcCpu *cpu, uint64_t ticks)
{
    uint64_t value;

#ifdef KVM_VCPU_TSC_CTRL
    struct kvm_device_attr attr = {
        .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)&value};

    if (ioctl(cpu->fd, KVM_GET_DEVICE_ATTR, &attr) == 0) {
        value += ticks;
        if (ioctl(cpu->fd, KVM_SET_DEVICE_ATTR, &attr) == 0)
            return;
    }
#endif
    if (vmc_kvm_get_msr(cpu, MSR_TSC, &value))
        vmc_kvm_set_msr(cpu, MSR_TSC, value + ticks);
}

static uint64_t lost_ticks(VmcCpuVm *vm, const VmcHostTime *now)
{
    uint64_t tsc, hz = vm->model.tsc_hz, lost = 0;
    unsigned __int128 most = now->slept_ns - vm->anchor.at.slept_ns + BESIDE_SLEEP_NS;

    if (vmc_kvm_get_msr(vm->cpus[0], MSR_TSC, &tsc))
        lost = vmc_anchor_lost(&vm->anchor, tsc, now, hz);
    return lost <= most * hz / 1000000000u ? lost : 0;
}

/* Whatever it is set to, KVM looks at the host's clocks again for it. */
static void correct_clock(VmcCpuVm *vm, const VmcHostTime *now)
{
    uint64_t should = vm->anchor_clock + vmc_anchor_ahead(&vm->anchor.at, now);
    struct kvm_clock_data clock = {0};

    if (ioctl(vm->vm_fd, KVM_GET_CLOCK, &clock) < 0 || clock.clock + CLOCK_BEHIND_NS >= should)
        return;
    clock = (struct kvm_clock_data){.clock = should};
    ioctl(vm->vm_fd, KVM_SET_CLOCK, &clock);
}

static void set_deadline_again(VmcCpu *cpu)
{
    uint64_t deadline;

    if (vmc_kvm_get_msr(cpu, MSR_TSC_DEADLINE, &deadline) && deadline)
        vmc_kvm_set_msr(cpu, MSR_TSC_DEADLINE, deadline);
}

void vmc_kvm_slept(VmcCpuVm *vm)
{
    VmcHostTime now;

    vmc_host_time(&now);
    if (vm->anchor.at.boot_ns && vmc_host_slept(&vm->anchor.at, &now)) {
        uint64_t lost = lost_ticks(vm, &now);

        for (unsigned i = 0; lost && i < vm->n_cpus; i++)
            advance_tsc(vm->cpus[i], lost);
        correct_clock(vm, &now);
        take_anchor(vm, &now);
    }
    vmc_kvm_resumed(vm); /* which has KVM tell the guest of all this, too */
    for (unsigned i = 0; i < vm->n_cpus; i++)
        set_deadline_again(vm->cpus[i]);
}
