/* What the files of the KVM backend share: its structs and the ioctl wrapper. */
#pragma once

#include <glib.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "cpu/cpu.h"

struct VmcCpuVm {
    VmcMemory *memory;
    VmcBus *pio, *mmio;
    unsigned n_cpus;
    int kvm_fd, vm_fd;
    size_t run_size; /* bytes of the shared kvm_run area */
    uint64_t tsc_hz;
    bool mapped[VMC_MEM_SLOTS_MAX]; /* KVM knows this slot */
};

struct VmcCpu {
    VmcCpuVm *vm;
    unsigned index;
    int fd;
    struct kvm_run *run;
    pthread_t thread;    /* of the last run; valid while `inside` */
    _Atomic bool inside; /* between run's entry and return: worth a signal */
    _Atomic bool kicked;
    GMutex lock; /* thread, inside against kick */
};

/* ioctl that goes on after EINTR; -1 with *error "cannot WHAT: reason" (error may be NULL). */
int vmc_kvm_ioctl(int fd, unsigned long request, const void *arg, const char *what, GError **error);

/* state.c */
void vmc_kvm_reset(VmcCpu *cpu);
void vmc_kvm_get_state(VmcCpu *cpu, VmcCpuState *state);
bool vmc_kvm_set_state(VmcCpu *cpu, const VmcCpuState *state, GError **error);
/* cpuid.c: what the guest is told: KVM's own offer with our APIC ids. */
bool vmc_kvm_set_cpuid(VmcCpu *cpu, unsigned n_cpus, GError **error);
