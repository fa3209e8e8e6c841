/* What a KVM guest's CPUID says of topology, clocks and model, whatever the host's says. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu/model.h"

#define VMC_KVM_CPUID_ROOM 64u

typedef struct VmcKvmCpuidParams {
    unsigned apic_id;
    VmcCpuModelParams model; /* with the number of CPUs and the clock rates */
    bool tsc_deadline;       /* the local APIC's timer has that mode */
} VmcKvmCpuidParams;

/* Makes KVM's offer (KVM_GET_SUPPORTED_CPUID) that of one CPU. There must be room for
 * VMC_KVM_CPUID_ROOM more entries. */
void vmc_kvm_adjust_cpuid(struct kvm_cpuid2 *cpuid, const VmcKvmCpuidParams *params);
