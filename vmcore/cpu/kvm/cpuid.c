/*
 * CPUID of a KVM guest: what KVM says the host can give, with each CPU's own APIC id and a topology of one
 * package with as many cores as the machine has CPUs.
 *
 * Source: Intel SDM vol. 2, CPUID; Documentation/virt/kvm/api.rst, KVM_GET_SUPPORTED_CPUID.
 */
#include "cpu/kvm/kvm.h"
#include "vmcore/error.h"

#define MAX_ENTRIES 256

static void adjust(struct kvm_cpuid_entry2 *e, unsigned apic_id, unsigned n_cpus)
{
    switch (e->function) {
    case 1:
        e->ebx = (e->ebx & 0x0000ffffu) | apic_id << 24 | MIN(n_cpus, 255u) << 16;
        e->ecx |= 1u << 31 | 1u << 24; /* a hypervisor; TSC deadline timer (KVM's local APIC has it) */
        if (n_cpus > 1)
            e->edx |= 1u << 28;
        break;
    case 4:
        if (e->eax & 31)
            e->eax = (e->eax & 0x3fffu) | (n_cpus - 1) << 26;
        break;
    case 0xb:
    case 0x1f:
        e->edx = apic_id;
        break;
    case 0x80000008u:
        e->ecx = (e->ecx & ~0xffu) | (n_cpus - 1);
        break;
    case 0x8000001eu:
        e->eax = apic_id;
        break;
    }
}

bool vmc_kvm_set_cpuid(VmcCpu *cpu, unsigned n_cpus, GError **error)
{
    g_autofree struct kvm_cpuid2 *cpuid =
        g_malloc0(sizeof(struct kvm_cpuid2) + MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2));
    cpuid->nent = MAX_ENTRIES;
    if (vmc_kvm_ioctl(cpu->vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid, "tell what CPUs it offers", error) < 0)
        return false;
    for (unsigned i = 0; i < cpuid->nent; i++)
        adjust(&cpuid->entries[i], cpu->index, n_cpus);
    return vmc_kvm_ioctl(cpu->fd, KVM_SET_CPUID2, cpuid, "describe a CPU", error) >= 0;
}
