/*
 * The software CPU as a backend of cpu/cpu.h: allocation, clock, wires.
 *
 * The guest's TSC is the host's, counted from the machine's birth, so that time in the guest costs nothing to
 * read.
 */
#include <sys/mman.h>
#include <time.h>
#include <x86intrin.h>

#include "cpu/soft/block.h"
#include "cpu/soft/features.h"
#include "cpu/soft/reset.h"
#include "cpu/soft/run.h"
#include "cpu/soft/slots.h"
#include "vmcore/error.h"

struct instant {
    uint64_t tsc, ns;
};

/* TSC and clock at the same moment: the closest of a few tries, so that being interrupted does not count. */
static struct instant take_instant(void)
{
    struct instant best = {0};
    uint64_t closest = UINT64_MAX;
    for (unsigned i = 0; i < 8; i++) {
        struct timespec t;
        uint64_t before = __rdtsc();
        clock_gettime(CLOCK_MONOTONIC_RAW, &t);
        uint64_t after = __rdtsc();
        if (after - before < closest) {
            closest = after - before;
            best.tsc = before + closest / 2;
            best.ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
        }
    }
    return best;
}

/* Host TSC ticks per second, measured over two milliseconds: good to some ten parts in a million. */
static uint64_t measure_tsc(void)
{
    struct timespec pause = {.tv_nsec = 2000000};
    struct instant a = take_instant();
    nanosleep(&pause, NULL);
    struct instant b = take_instant();
    uint64_t hz = (uint64_t)((unsigned __int128)(b.tsc - a.tsc) * 1000000000u / (b.ns - a.ns));
    return (hz + 50000) / 100000 * 100000;
}

static VmcCpuVm *soft_vm_new(const VmcCpuVmParams *params, GError **error)
{
    if (params->n_cpus > G_N_ELEMENTS(((VmcCpuVm *)NULL)->cpus)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, "%u CPUs: the software CPU has at most %zu",
                    params->n_cpus, G_N_ELEMENTS(((VmcCpuVm *)NULL)->cpus));
        return NULL;
    }
    VmcCpuVm *vm = g_new0(VmcCpuVm, 1);
    vm->memory = params->memory;
    vm->pio = params->pio;
    vm->mmio = params->mmio;
    vm->n_cpus = params->n_cpus;
    vm->features = params->baseline_cpu ? 0 : vmc_features_of_host();
    vm->tsc_hz = measure_tsc();
    vm->tsc_start = __rdtsc();
    g_mutex_init(&vm->split_lock);
    g_mutex_init(&vm->code_lock);
    vmc_soft_watch_slots(vm);
    return vm;
}

static void soft_vm_free(VmcCpuVm *vm)
{
    if (!vm)
        return;
    vm->memory->ops = NULL;
    g_mutex_clear(&vm->split_lock);
    g_mutex_clear(&vm->code_lock);
    g_free(vm);
}

static void soft_cpu_free(VmcCpu *c)
{
    if (!c)
        return;
    c->vm->cpus[c->index] = NULL;
    vmc_blocks_clear(c);
    for (unsigned i = 0; i < VMC_TLB_COUNT; i++)
        if (c->tlbs[i])
            munmap(c->tlbs[i], VMC_TLB_SIZE * sizeof(struct vmc_tlb_entry));
    g_free(c->jump);
    g_mutex_clear(&c->sleep_lock);
    g_cond_clear(&c->sleep_cond);
    g_clear_error(&c->fatal);
    free(c);
}

static VmcCpu *soft_cpu_new(VmcCpuVm *vm, unsigned index, const VmcLocalApic *lapic, GError **error)
{
    VmcCpu *c = aligned_alloc(64, (sizeof(VmcCpu) + 63) & ~63ul);
    bool ok = c != NULL;
    if (ok) {
        memset(c, 0, sizeof *c);
        c->vm = vm;
        c->index = index;
        g_mutex_init(&c->sleep_lock);
        g_cond_init(&c->sleep_cond);
        c->jump = g_new0(struct vmc_jump_entry, VMC_JUMP_SIZE);
        for (unsigned i = 0; i < VMC_TLB_COUNT; i++) {
            void *p = mmap(NULL, VMC_TLB_SIZE * sizeof(struct vmc_tlb_entry), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            c->tlbs[i] = p == MAP_FAILED ? NULL : p;
            ok = ok && c->tlbs[i];
        }
        ok = vmc_blocks_init(c) && ok;
    }
    if (!ok) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, "not enough memory for CPU %u", index);
        if (c)
            soft_cpu_free(c);
        return NULL;
    }
    if (lapic)
        c->lapic = *lapic;
    c->tlb_gen = 1;
    c->delivering = -1;
    vm->cpus[index] = c;
    vmc_soft_reset(c, false);
    return c;
}

static void soft_reset(VmcCpu *c)
{
    /* Interrupts on their way are gone; a kick is the machine's. */
    atomic_fetch_and(&c->request, REQ_KICK | REQ_DIRTY | REQ_MOVED);
    vmc_soft_reset(c, false);
}

static void soft_kick(VmcCpu *c)
{
    vmc_soft_raise(c, REQ_KICK);
}

static void soft_notify(VmcCpu *c)
{
    vmc_soft_raise(c, REQ_INTR);
}

static void soft_nmi(VmcCpu *c)
{
    vmc_soft_raise(c, REQ_NMI);
}

static void soft_init(VmcCpu *c)
{
    vmc_soft_raise(c, REQ_INIT);
}

static void soft_sipi(VmcCpu *c, uint8_t vector)
{
    atomic_store(&c->sipi_vector, vector);
    vmc_soft_raise(c, REQ_SIPI);
}

static uint64_t soft_tsc_hz(VmcCpuVm *vm)
{
    return vm->tsc_hz;
}

static uint64_t soft_tsc_now(VmcCpuVm *vm)
{
    return __rdtsc() - vm->tsc_start;
}

const VmcCpuBackend vmc_cpu_soft = {
    .name = "soft",
    .in_kernel_irqchip = false,
    .vm_new = soft_vm_new,
    .vm_free = soft_vm_free,
    .cpu_new = soft_cpu_new,
    .cpu_free = soft_cpu_free,
    .run = vmc_soft_run,
    .kick = soft_kick,
    .reset = soft_reset,
    .get_state = vmc_soft_get_state,
    .set_state = vmc_soft_set_state,
    .notify = soft_notify,
    .nmi = soft_nmi,
    .init = soft_init,
    .sipi = soft_sipi,
    .tsc_hz = soft_tsc_hz,
    .tsc_now = soft_tsc_now,
};
