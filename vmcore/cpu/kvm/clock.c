/*
 * The clocks of a KVM guest.
 *
 * The TSC and KVM's own clock (kvmclock) go on with the host's while a machine is paused. So guests that keep
 * time by one of them, which is what Linux, BSDs and macOS do here, are right again with the first look after
 * a pause, however long it was. What a jump would upset is a guest's watchdogs: Linux' are told through
 * kvmclock that the guest was stopped (KVM_KVMCLOCK_CTRL).
 *
 * Source: Documentation/virt/kvm/api.rst of Linux 6.1, sections 4.55, 4.61; virt/kvm/x86/timekeeping.rst.
 */
#include <sys/ioctl.h>
#include <x86intrin.h>

#include "cpu/kvm/kvm.h"

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

void vmc_kvm_resumed(VmcCpuVm *vm)
{
    /* Fails on a CPU whose guest does not use kvmclock: there is nobody to tell. */
    for (unsigned i = 0; i < vm->n_cpus; i++)
        if (vm->cpus[i])
            ioctl(vm->cpus[i]->fd, KVM_KVMCLOCK_CTRL, 0);
}
