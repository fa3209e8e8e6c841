/* Which CPU backend a machine gets, and why, in words for the log. */
#include "base/i18n.h"
#include "machine/private.h"

const VmcCpuBackend *vmc_choose_cpu(VmcCpuKind kind, char **reason)
{
    if (kind == VMC_CPU_KVM) {
        *reason = g_strdup(_("the configuration asks for it"));
        return &vmc_cpu_kvm;
    }
    if (kind == VMC_CPU_SOFT) {
        *reason = g_strdup(_("the configuration asks for it"));
        return &vmc_cpu_soft;
    }
    *reason = NULL;
    if (vmc_cpu_kvm_probe(reason))
        return &vmc_cpu_kvm;
    return &vmc_cpu_soft;
}
