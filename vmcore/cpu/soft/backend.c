/* The software CPU as a backend of cpu/cpu.h: allocation, wires. */
#include <sys/mman.h>

#include "base/i18n.h"
#include "cpu/soft/block.h"
#include "cpu/soft/cpuid.h"
#include "cpu/soft/debug.h"
#include "cpu/soft/features.h"
#include "cpu/soft/reset.h"
#include "cpu/soft/run.h"
#include "cpu/soft/save.h"
#include "cpu/soft/slots.h"
#include "cpu/soft/translate/translator.h"
#include "cpu/soft/tsc.h"
#include "vmcore/error.h"

/* Most blocks run once or twice; translating one costs as much as interpreting it some dozen times. */
#define TRANSLATE_AFTER 8

/* Code memory of one CPU, however many share what the machine may have. */
#define LEAST_CODE_CACHE_MIB 4u
/* Decoded blocks of one CPU. */
#define BLOCK_ARENA_MIB 24u

/* What ESPALIER_CPU_ENGINE names, for whole test runs with either engine; DEFAULT when it is not set. */
static bool engine_of_environment(VmcCpuEngine *engine, GError **error)
{
    const char *name = g_getenv("ESPALIER_CPU_ENGINE");

    *engine = VMC_ENGINE_DEFAULT;
    if (!name || !*name)
        return true;
    if (vmc_cpu_engine_from_name(name, engine))
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                _("ESPALIER_CPU_ENGINE is “%s” in the environment; make it interpreter or translator"), name);
    return false;
}

/* How much a CPU may cache; ESPALIER_CPU_CACHE_KIB makes it so little that whole runs test eviction. */
static bool sizes_of_caches(VmcCpuVm *vm, unsigned mib, GError **error)
{
    const char *text = g_getenv("ESPALIER_CPU_CACHE_KIB");
    guint64 kib;

    vm->code_cache_kib = MAX((mib ? mib : VMC_CODE_CACHE_DEFAULT) / vm->n_cpus, LEAST_CODE_CACHE_MIB) << 10;
    vm->block_arena_kib = BLOCK_ARENA_MIB << 10;
    if (!text || !*text)
        return true;
    if (!g_ascii_string_to_unsigned(text, 10, 1, VMC_CODE_CACHE_MAX << 10, &kib, NULL)) {
        g_set_error(
            error, VMC_ERROR, VMC_ERROR_CONFIG,
            _("ESPALIER_CPU_CACHE_KIB is “%s” in the environment; make it KiB of each CPU's code, up to %u"),
            text, VMC_CODE_CACHE_MAX << 10);
        return false;
    }
    vm->code_cache_kib = (unsigned)kib;
    vm->block_arena_kib = MIN(vm->block_arena_kib, (unsigned)kib);
    return true;
}

bool vmc_soft_engine(VmcCpuVm *vm, const VmcCpuVmParams *params, GError **error)
{
    VmcCpuEngine engine = params->engine;

    if (engine == VMC_ENGINE_DEFAULT && !engine_of_environment(&engine, error))
        return false;
    if (engine == VMC_ENGINE_DEFAULT)
        engine = VMC_ENGINE_TRANSLATOR;
    if (params->lockstep && engine != VMC_ENGINE_TRANSLATOR) {
        g_set_error_literal(
            error, VMC_ERROR, VMC_ERROR_CONFIG,
            _("lockstep compares the translator with the interpreter, and the interpreter runs "
              "alone; leave it out or use the translator"));
        return false;
    }
    vm->engine = engine;
    vm->lockstep = params->lockstep;
    vm->translate_after = params->lockstep ? 1 : TRANSLATE_AFTER;
    return sizes_of_caches(vm, params->code_cache_mib, error);
}

static VmcCpuVm *soft_vm_new(const VmcCpuVmParams *params, GError **error)
{
    if (params->n_cpus > G_N_ELEMENTS(((VmcCpuVm *)NULL)->cpus)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("%u CPUs: the software CPU has at most %zu"),
                    params->n_cpus, G_N_ELEMENTS(((VmcCpuVm *)NULL)->cpus));
        return NULL;
    }
    VmcCpuVm *vm = g_new0(VmcCpuVm, 1);
    vm->memory = params->memory;
    vm->pio = params->pio;
    vm->mmio = params->mmio;
    vm->n_cpus = params->n_cpus;
    vm->crowded = params->n_cpus > g_get_num_processors();
    if (!vmc_soft_engine(vm, params, error)) {
        g_free(vm);
        return NULL;
    }
    vmc_soft_tsc_init(vm);
    vm->model = (VmcCpuModelParams){params->model, params->n_cpus, vm->tsc_hz, VMC_APIC_TIMER_HZ,
                                    VMC_CPUID_SIGNATURE};
    vm->features = params->baseline_cpu ? 0 : vmc_features_of_model(vmc_features_of_host(), &vm->model);
    g_mutex_init(&vm->split_lock);
    g_mutex_init(&vm->code_lock);
    g_mutex_init(&vm->lockstep_lock);
    vmc_soft_watch_slots(vm);
    return vm;
}

static void soft_vm_free(VmcCpuVm *vm)
{
    if (!vm)
        return;
    vm->memory->ops = NULL;
    vmc_soft_tsc_clear(vm);
    g_mutex_clear(&vm->split_lock);
    g_mutex_clear(&vm->code_lock);
    g_mutex_clear(&vm->lockstep_lock);
    g_free(vm);
}

/* A CPU and what it looks up all the time, at fixed distances from it. */
struct cpu_room {
    VmcCpu cpu;
    struct vmc_tlb_entry tlbs[VMC_TLB_COUNT][VMC_TLB_SIZE] __attribute__((aligned(4096)));
    struct vmc_tlb_code code[VMC_CODE_COUNT][VMC_TLB_CODE_SIZE];
    struct vmc_target targets[VMC_TARGETS], sites[VMC_SITES];
};

static void soft_cpu_free(VmcCpu *c)
{
    if (!c)
        return;
    c->vm->cpus[c->index] = NULL;
    vmc_blocks_clear(c);
    vmc_translator_free(c->translator);
    g_free(c->jump);
    g_free(c->debug);
    g_mutex_clear(&c->sleep_lock);
    g_cond_clear(&c->sleep_cond);
    g_clear_error(&c->fatal);
    munmap(c, sizeof(struct cpu_room));
}

static VmcCpu *soft_cpu_new(VmcCpuVm *vm, unsigned index, const VmcLocalApic *lapic, GError **error)
{
    struct cpu_room *room =
        mmap(NULL, sizeof *room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    VmcCpu *c = room == MAP_FAILED ? NULL : &room->cpu;
    bool ok = c != NULL;
    if (ok) {
        c->vm = vm;
        c->index = index;
        g_mutex_init(&c->sleep_lock);
        g_cond_init(&c->sleep_cond);
        c->jump = g_new0(struct vmc_jump_entry, VMC_JUMP_SIZE);
        for (unsigned i = 0; i < VMC_TLB_COUNT; i++)
            c->tlbs[i] = room->tlbs[i];
        for (unsigned i = 0; i < VMC_CODE_COUNT; i++)
            c->tlb_code[i] = room->code[i];
        c->targets = room->targets;
        c->sites = room->sites;
        vmc_tlb_init(c);
        ok = vmc_blocks_init(c);
    }
    if (ok && vm->engine == VMC_ENGINE_TRANSLATOR) {
        c->translator = vmc_translator_new(c, vm->code_cache_kib, error);
        if (!c->translator) {
            soft_cpu_free(c);
            return NULL;
        }
    }
    if (!ok) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_RESOURCE, _("not enough memory for CPU %u"), index);
        if (c)
            soft_cpu_free(c);
        return NULL;
    }
    if (lapic)
        c->lapic = *lapic;
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
    return vmc_soft_tsc_now(vm);
}

static VmcCpuEngine soft_engine(VmcCpuVm *vm)
{
    return vm->engine;
}

static bool soft_get_stats(VmcCpu *c, VmcCpuStats *stats)
{
    *stats = c->stats;
    if (c->translator)
        stats->code_bytes = vmc_translator_code_bytes(c->translator);
    return true;
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
    .set_debug = vmc_soft_set_debug,
    .get_debug_event = vmc_soft_get_debug_event,
    .translate = vmc_soft_translate,
    .tsc_hz = soft_tsc_hz,
    .tsc_now = soft_tsc_now,
    .keep_time = vmc_soft_keep_time,
    .slept = vmc_soft_slept,
    .engine = soft_engine,
    .get_stats = soft_get_stats,
    .save_vm = vmc_soft_save_vm,
    .load_vm = vmc_soft_load_vm,
    .save_cpu = vmc_soft_save_cpu,
    .load_cpu = vmc_soft_load_cpu,
    .describe = vmc_soft_describe,
};
