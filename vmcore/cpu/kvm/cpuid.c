/*
 * CPUID of a KVM guest: what KVM says the host can give, with our topology and clocks.
 *
 * The topology is the software CPU's: one package with as many cores as the machine has CPUs, one thread to a
 * core, APIC ids counted from 0, the last level of cache shared by all. Every leaf that speaks of it is made
 * here, because the host's speak of the host.
 *
 * What KVM has to say of itself (4000_0000H, 4000_0001H: kvmclock and its other offers) stays, and behind it
 * 4000_0010H gives the rates of TSC and local APIC timer. The TSC is invariant where the host's is. Models
 * other than the host's are made of all that by cpu/model.c.
 *
 * Source: Intel SDM vol. 2, CPUID; AMD APM vol. 3 appendix E.4 and E.5; Documentation/virt/kvm/api.rst,
 * KVM_GET_SUPPORTED_CPUID; virt/kvm/x86/cpuid.rst.
 */
#include "cpu/kvm/cpuid.h"

#include <sys/ioctl.h>

#include "base/i18n.h"
#include "cpu/kvm/kvm.h"
#include "vmcore/error.h"

#define MAX_ENTRIES 256u

#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_RATES      0x40000010u
#define TYPE_THREADS    (1u << 8)
#define TYPE_CORES      (2u << 8)

static unsigned bits_for(unsigned n)
{
    unsigned bits = 0;

    while ((1u << bits) < n)
        bits++;
    return bits;
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *cpuid, uint32_t leaf)
{
    for (unsigned i = 0; i < cpuid->nent; i++)
        if (cpuid->entries[i].function == leaf)
            return &cpuid->entries[i];
    return NULL;
}

static void drop(struct kvm_cpuid2 *cpuid, uint32_t leaf)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < cpuid->nent; i++)
        if (cpuid->entries[i].function != leaf)
            cpuid->entries[kept++] = cpuid->entries[i];
    cpuid->nent = kept;
}

static void add(struct kvm_cpuid2 *cpuid, struct kvm_cpuid_entry2 entry)
{
    cpuid->entries[cpuid->nent++] = entry;
}

static bool is_amd(struct kvm_cpuid2 *cpuid)
{
    const struct kvm_cpuid_entry2 *e = find(cpuid, 0);

    return e && (e->ebx == 0x68747541 /* Auth */ || e->ebx == 0x6f677948 /* Hygo */);
}

/* Deterministic cache parameters, in Intel's leaf and in AMD's. */
static void share_cache(struct kvm_cpuid_entry2 *e, unsigned cores, bool intel)
{
    unsigned level = e->eax >> 5 & 7, sharing = level >= 3 ? cores : 1;

    if (!(e->eax & 31))
        return;
    e->eax = (e->eax & 0x3fffu) | (sharing - 1) << 14 | (intel ? (cores - 1) << 26 : 0);
}

static void adjust(struct kvm_cpuid_entry2 *e, const VmcKvmCpuidParams *p, bool amd)
{
    unsigned bits = bits_for(p->model.cpus), cores = 1u << bits;

    switch (e->function) {
    case 1:
        e->ebx = (e->ebx & 0x0000ffffu) | (p->apic_id & 0xff) << 24 | MIN(cores, 255u) << 16;
        e->ecx |= 1u << 31; /* a hypervisor */
        if (p->tsc_deadline)
            e->ecx |= 1u << 24;
        e->edx = (e->edx & ~(1u << 28)) | (p->model.cpus > 1 ? 1u << 28 : 0);
        break;
    case 4:
        share_cache(e, MIN(cores, 64u), true);
        break;
    case LEAF_HYPERVISOR:
        e->eax = MAX(e->eax, LEAF_RATES);
        break;
    case 0x80000001u:
        e->ecx &= ~2u;
        if (amd && p->model.cpus > 1)
            e->ecx |= 2; /* the logical processors of leaf 1 are cores */
        break;
    case 0x80000008u:
        e->ecx = (e->ecx & ~0xf0ffu) | (amd ? bits << 12 | (p->model.cpus - 1) : 0);
        break;
    case 0x8000001du:
        share_cache(e, cores, false);
        break;
    case 0x8000001eu:
        e->eax = p->apic_id;
        e->ebx = p->apic_id & 0xff; /* the core, of one thread */
        e->ecx = 0;                 /* in the one node there is */
        break;
    }
}

/* Extended topology: leaf 0BH, and 1FH with the same levels. */
static void add_topology(struct kvm_cpuid2 *cpuid, uint32_t leaf, const VmcKvmCpuidParams *p)
{
    for (uint32_t sub = 0; sub < 3; sub++)
        add(cpuid, (struct kvm_cpuid_entry2){
                       .function = leaf,
                       .index = sub,
                       .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                       .eax = sub == 1 ? bits_for(p->model.cpus) : 0,
                       .ebx = sub == 0   ? 1
                              : sub == 1 ? p->model.cpus
                                         : 0,
                       .ecx = sub | (sub == 0   ? TYPE_THREADS
                                     : sub == 1 ? TYPE_CORES
                                                : 0),
                       .edx = p->apic_id,
                   });
}

static uint32_t mhz(uint64_t hz)
{
    return (uint32_t)((hz + 500000) / 1000000);
}

static void replace(struct kvm_cpuid2 *cpuid, uint32_t leaf, const VmcCpuidRegs *regs)
{
    drop(cpuid, leaf);
    add(cpuid, (struct kvm_cpuid_entry2){
                   .function = leaf, .eax = regs->a, .ebx = regs->b, .ecx = regs->c, .edx = regs->d});
}

/* How fast the clocks are: hypervisors' leaf, and on CPUs of Intel's 15H and 16H, where KVM leaves zeros. */
static void add_rates(struct kvm_cpuid2 *cpuid, uint32_t last, bool amd, const VmcCpuModelParams *model)
{
    VmcCpuidRegs crystal, rates = {mhz(model->tsc_hz), mhz(model->tsc_hz), mhz(model->apic_hz), 0},
                          kilo = {(uint32_t)(model->tsc_hz / 1000), (uint32_t)(model->apic_hz / 1000), 0, 0};

    if (find(cpuid, LEAF_HYPERVISOR))
        replace(cpuid, LEAF_RATES, &kilo);
    if (amd || last < 0x15)
        return;
    vmc_cpu_model_crystal(model->tsc_hz, model->apic_hz, &crystal);
    replace(cpuid, 0x15, &crystal);
    if (last >= 0x16)
        replace(cpuid, 0x16, &rates);
}

/* ---- models ---- */

static struct kvm_cpuid_entry2 *find_sub(struct kvm_cpuid2 *cpuid, uint32_t leaf, uint32_t sub)
{
    for (unsigned i = 0; i < cpuid->nent; i++)
        if (cpuid->entries[i].function == leaf && cpuid->entries[i].index == sub)
            return &cpuid->entries[i];
    return NULL;
}

/* Empty entries for what the model has and KVM does not. */
static void add_leaves(struct kvm_cpuid2 *cpuid, VmcCpuModel model)
{
    unsigned n;
    const VmcCpuidLeaf *leaves = vmc_cpu_model_leaves(model, &n);

    for (unsigned i = 0; i < n; i++)
        for (uint32_t sub = 0; sub < leaves[i].subleaves; sub++)
            if (!find_sub(cpuid, leaves[i].leaf, sub))
                add(cpuid, (struct kvm_cpuid_entry2){
                               .function = leaves[i].leaf,
                               .index = sub,
                               .flags = leaves[i].subleaves > 1 ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
                           });
}

static void apply_model(struct kvm_cpuid2 *cpuid, const VmcKvmCpuidParams *p)
{
    add_leaves(cpuid, p->model.model);
    for (unsigned i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *e = &cpuid->entries[i];
        VmcCpuidRegs regs = {e->eax, e->ebx, e->ecx, e->edx};

        vmc_cpu_model_cpuid(&p->model, p->apic_id, e->function, e->index, &regs);
        e->eax = regs.a;
        e->ebx = regs.b;
        e->ecx = regs.c;
        e->edx = regs.d;
    }
}

void vmc_kvm_adjust_cpuid(struct kvm_cpuid2 *cpuid, const VmcKvmCpuidParams *params)
{
    const struct kvm_cpuid_entry2 *first = find(cpuid, 0);
    uint32_t last = first ? first->eax : 0;
    bool amd = is_amd(cpuid);

    for (unsigned i = 0; i < cpuid->nent; i++)
        adjust(&cpuid->entries[i], params, amd);
    drop(cpuid, 0xb);
    drop(cpuid, 0x1f);
    if (last >= 0xb)
        add_topology(cpuid, 0xb, params);
    if (last >= 0x1f)
        add_topology(cpuid, 0x1f, params);
    add_rates(cpuid, last, amd, &params->model);
    apply_model(cpuid, params);
}

bool vmc_kvm_set_cpuid(VmcCpu *cpu, GError **error)
{
    VmcCpuVm *vm = cpu->vm;
    g_autofree struct kvm_cpuid2 *cpuid = g_malloc0(
        sizeof(struct kvm_cpuid2) + (MAX_ENTRIES + VMC_KVM_CPUID_ROOM) * sizeof(struct kvm_cpuid_entry2));
    VmcKvmCpuidParams params = {
        .apic_id = cpu->index,
        .model = vm->model,
        .tsc_deadline = ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
    };

    cpuid->nent = MAX_ENTRIES;
    if (vmc_kvm_ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid,
                      N_("KVM cannot tell what CPUs it offers: %s"), error) < 0)
        return false;
    vmc_kvm_adjust_cpuid(cpuid, &params);
    return vmc_kvm_ioctl(cpu->fd, KVM_SET_CPUID2, cpuid, N_("KVM cannot describe a CPU: %s"), error) >= 0;
}
