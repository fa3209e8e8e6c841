/*
 * Model-specific registers that KVM does not know come to this process, so that nobody has to give KVM's
 * module its ignore_msrs parameter, which is for all machines of a host and hides what it does.
 *
 * They are answered as the software CPU does: by the machine's CPU model, and if that has none such, with a
 * general protection fault. What the model has comes here even where KVM would have an answer of its own
 * (a filter sees to that), because KVM's would be of another model. Kernels try registers and live with a
 * fault; one that does not is the reason for the line in the log, which comes once for each register.
 *
 * Source: Documentation/virt/kvm/api.rst of Linux 6.1, sections 7.21 (KVM_CAP_X86_USER_SPACE_MSR) and 5
 * (KVM_EXIT_X86_RDMSR).
 */
#include <string.h>
#include <sys/ioctl.h>

#include "base/i18n.h"
#include "cpu/kvm/kvm.h"
#include "vmcore/error.h"

/* A guest can try four thousand million registers. */
#define TOLD_MAX 64u

void vmc_kvm_msr_init(VmcCpuVm *vm)
{
    g_mutex_init(&vm->msr_lock);
    vm->msrs_told = g_hash_table_new(g_direct_hash, g_direct_equal);
}

void vmc_kvm_msr_clear(VmcCpuVm *vm)
{
    g_hash_table_unref(vm->msrs_told);
    g_mutex_clear(&vm->msr_lock);
}

/* Has registers of the model come to us. They are all among the first, below those of the local APIC, which
 * cannot be filtered. */
#define FILTERED 0x800u

static bool filter(VmcCpuVm *vm, bool can, GError **error)
{
    uint8_t allowed[FILTERED / 8];
    struct kvm_msr_filter filter = {
        .flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
        .ranges = {{.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
                    .nmsrs = FILTERED,
                    .bitmap = allowed}},
    };
    bool any = false;
    uint64_t value;

    memset(allowed, 0xff, sizeof allowed);
    for (uint32_t msr = 0; msr < FILTERED; msr++)
        if (vmc_cpu_model_read_msr(&vm->model, msr, &value)) {
            allowed[msr / 8] &= (uint8_t) ~(1u << msr % 8);
            any = true;
        }
    if (!any)
        return true;
    if (!can) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CPU,
                    _("the CPU model %s takes KVM of Linux 5.10 or later; give another, or the software CPU"),
                    vmc_cpu_model_name(vm->model.model));
        return false;
    }
    return vmc_kvm_ioctl(vm->vm_fd, KVM_X86_SET_MSR_FILTER, &filter,
                         N_("KVM cannot let a model's registers come to us: %s"), error) >= 0;
}

/* A kernel before 5.10 answers all that it does not know itself, with a fault. */
bool vmc_kvm_take_msrs(VmcCpuVm *vm, GError **error)
{
    struct kvm_enable_cap cap = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
                                 .args = {KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER}};
    bool can = ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_USER_SPACE_MSR) > 0 &&
               ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_MSR_FILTER) > 0;

    if (can && vmc_kvm_ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap,
                             N_("KVM cannot let unknown registers come to us: %s"), error) < 0)
        return false;
    return filter(vm, can, error);
}

/* Whether this is news. */
static bool is_first(VmcCpuVm *vm, uint32_t msr, bool write)
{
    gpointer key = GSIZE_TO_POINTER((gsize)msr << 1 | write);
    bool first;

    g_mutex_lock(&vm->msr_lock);
    first = g_hash_table_size(vm->msrs_told) < TOLD_MAX && g_hash_table_add(vm->msrs_told, key);
    g_mutex_unlock(&vm->msr_lock);
    return first;
}

static void tell(VmcCpu *cpu, uint32_t msr, bool write, uint64_t value)
{
    VmcCpuVm *vm = cpu->vm;
    g_autofree char *line = NULL;

    if (!vm->log || !is_first(vm, msr, write))
        return;
    if (write)
        line = g_strdup_printf("CPU %u wrote 0x%" G_GINT64_MODIFIER
                               "x to the model-specific register 0x%x, which it does not have",
                               cpu->index, value, msr);
    else
        line = g_strdup_printf("CPU %u read the model-specific register 0x%x, which it does not have",
                               cpu->index, msr);
    vm->log(vm->log_opaque, line);
}

void vmc_kvm_msr_exit(VmcCpu *cpu)
{
    struct kvm_run *run = cpu->run;
    bool write = run->exit_reason == KVM_EXIT_X86_WRMSR, known;
    uint64_t value = 0;

    cpu->stats.msr_exits++;
    if (write) {
        known = vmc_cpu_model_write_msr(&cpu->vm->model, run->msr.index);
    } else {
        known = vmc_cpu_model_read_msr(&cpu->vm->model, run->msr.index, &value);
        run->msr.data = value;
    }
    if (!known)
        tell(cpu, run->msr.index, write, run->msr.data);
    run->msr.error = !known; /* #GP */
}

/* ---- ours ---- */

typedef struct Msr {
    struct kvm_msrs head;
    struct kvm_msr_entry entry;
} Msr;

bool vmc_kvm_get_msr(VmcCpu *cpu, uint32_t index, uint64_t *value)
{
    Msr msr = {.head.nmsrs = 1, .entry.index = index};
    bool there = ioctl(cpu->fd, KVM_GET_MSRS, &msr) == 1;

    *value = msr.entry.data;
    return there;
}

bool vmc_kvm_set_msr(VmcCpu *cpu, uint32_t index, uint64_t value)
{
    Msr msr = {.head.nmsrs = 1, .entry = {.index = index, .data = value}};

    return ioctl(cpu->fd, KVM_SET_MSRS, &msr) == 1;
}
