/*
 * The software CPU as bytes (base/state.h): VmcCpuState, the model-specific registers, and what others have
 * asked of it and it has not done. Everything else it has is made again from these.
 */
#include "base/i18n.h"
#include "cpu/soft/msr.h"
#include "cpu/soft/reset.h"
#include "cpu/soft/save.h"
#include "cpu/soft/segment.h"
#include "cpu/soft/tsc.h"

/* Asked by other CPUs or devices, and not answered. REQ_INTR is asked again after loading. */
#define KEPT_REQUESTS ((uint32_t)(REQ_NMI | REQ_INIT | REQ_SIPI))

/* A guest has measured its TSC and goes by that; so far apart two measurements of ours may be. */
#define TSC_TOLERANCE 2000u /* one in so many */

char *vmc_soft_describe(VmcCpuVm *vm)
{
    return g_strdup_printf("software CPUs with the extensions %04x", vm->features);
}

void vmc_soft_save_vm(VmcCpuVm *vm, VmcStateWriter *w)
{
    vmc_state_begin(w, "soft", 1);
    vmc_state_put_u64(w, vm->tsc_hz);
    vmc_state_put_u64(w, vmc_soft_tsc_now(vm));
    vmc_state_end(w);
}

bool vmc_soft_load_vm(VmcCpuVm *vm, uint64_t elapsed_ns, VmcStateReader *r)
{
    if (!vmc_state_enter(r, "soft", 1))
        return false;
    uint64_t hz = vmc_state_get_u64(r), tsc = vmc_state_get_u64(r);
    uint64_t apart = hz > vm->tsc_hz ? hz - vm->tsc_hz : vm->tsc_hz - hz;
    if (apart > vm->tsc_hz / TSC_TOLERANCE)
        vmc_state_fail(r,
                       _("it is of a computer whose time stamp counter runs at %" PRIu64
                         " MHz, and that of this one does at %" PRIu64),
                       hz / 1000000, vm->tsc_hz / 1000000);
    tsc += (uint64_t)((unsigned __int128)elapsed_ns * vm->tsc_hz / 1000000000u);
    vmc_soft_tsc_load(vm, tsc);
    return vmc_state_leave(r);
}

void vmc_soft_save_cpu(VmcCpu *c, VmcStateWriter *w)
{
    VmcCpuState state;

    vmc_soft_get_state(c, &state);
    vmc_state_begin(w, "soft", 1);
    vmc_cpu_state_save(&state, w);
    vmc_msr_save(c, w);
    vmc_state_put_u32(w, atomic_load(&c->request) & KEPT_REQUESTS);
    vmc_state_put_u8(w, atomic_load(&c->sipi_vector));
    vmc_state_end(w);
}

bool vmc_soft_load_cpu(VmcCpu *c, VmcStateReader *r)
{
    VmcCpuState state;
    GError *error = NULL;

    if (!vmc_state_enter(r, "soft", 1) || !vmc_cpu_state_load(&state, r))
        return false;
    if (!vmc_soft_set_state(c, &state, &error)) {
        vmc_state_fail(r, "%s", error->message);
        g_error_free(error);
        return false;
    }
    vmc_msr_load(c, r);
    uint32_t requests = vmc_state_get_u32(r);
    vmc_state_check(r, !(requests & ~KEPT_REQUESTS), "what is asked of a CPU");
    atomic_store(&c->sipi_vector, vmc_state_get_u8(r));
    if (vmc_state_ok(r))
        vmc_request(c, requests);
    return vmc_state_leave(r);
}
