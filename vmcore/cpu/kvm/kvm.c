/*
 * CPUs by KVM: a machine's memory slots over its memfds, its CPUs, and what they exit for.
 *
 * A kick is a signal that is blocked in the vCPU thread and let through only inside KVM_RUN
 * (KVM_SET_SIGNAL_MASK): it makes the ioctl return and is then taken off the queue. So the library needs no
 * signal handler, and a kick that comes just before KVM_RUN is not lost.
 *
 * Source: Documentation/virt/kvm/api.rst of Linux 6.1.
 */
#include "cpu/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/i18n.h"
#include "vmcore/error.h"

#define KICK_SIGNAL (SIGRTMIN + 3)

int vmc_kvm_ioctl(int fd, unsigned long request, const void *arg, const char *sentence, GError **error)
{
    int r;
    do
        r = ioctl(fd, request, arg);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        g_set_error(error, VMC_ERROR, VMC_ERROR_CPU, _(sentence), g_strerror(errno));
    return r;
}

static void kvm_vm_free(VmcCpuVm *vm)
{
    if (!vm)
        return;
    vm->memory->ops = NULL;
    g_mutex_clear(&vm->debug_lock);
    vmc_kvm_msr_clear(vm);
    vmc_kvm_clear_routes(vm);
    g_mutex_clear(&vm->wires_lock);
    if (vm->vm_fd >= 0)
        close(vm->vm_fd);
    if (vm->kvm_fd >= 0)
        close(vm->kvm_fd);
    g_free(vm);
}

/* Tells KVM where a slot is, or with `size` 0 that it is nowhere. */
static bool set_region(VmcCpuVm *vm, unsigned slot, uint64_t gpa, uint64_t size, GError **error)
{
    const VmcMemSlot *s = &vm->memory->slots[slot];
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .flags = (s->readonly ? KVM_MEM_READONLY : 0) | (s->dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0),
        .guest_phys_addr = gpa,
        .memory_size = size,
        .userspace_addr = (uint64_t)s->host,
    };
    if (vmc_kvm_ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region, N_("KVM cannot map guest memory: %s"),
                      error) < 0)
        return false;
    vm->mapped[slot] = size != 0;
    return true;
}

static bool add_slots(VmcCpuVm *vm, GError **error)
{
    for (unsigned i = 0; i < vm->memory->n_slots; i++) {
        const VmcMemSlot *s = &vm->memory->slots[i];
        if (s->gpa != VMC_MEM_UNMAPPED && !set_region(vm, i, s->gpa, s->size, error))
            return false;
    }
    return true;
}

/* A slot cannot be moved with its dirty log on: it is taken away and made anew. KVM sees to the CPUs. */
static void slot_moved(void *opaque, unsigned slot)
{
    VmcCpuVm *vm = opaque;
    const VmcMemSlot *s = &vm->memory->slots[slot];
    uint64_t gpa = s->gpa;
    if (vm->mapped[slot])
        set_region(vm, slot, 0, 0, NULL);
    if (gpa != VMC_MEM_UNMAPPED)
        set_region(vm, slot, gpa, s->size, NULL);
}

/* Takes KVM's log, which has it watch the pages again before the ioctl returns. */
static void sync_dirty(void *opaque, unsigned slot)
{
    VmcCpuVm *vm = opaque;
    const VmcMemSlot *s = &vm->memory->slots[slot];
    size_t words = ((s->size >> VMC_PAGE_SHIFT) + 63) / 64;
    g_autofree uint64_t *log = g_new0(uint64_t, words);
    struct kvm_dirty_log request = {.slot = slot, .dirty_bitmap = log};
    if (ioctl(vm->vm_fd, KVM_GET_DIRTY_LOG, &request) < 0) /* nowhere just now */
        return;
    for (size_t i = 0; i < words; i++)
        if (log[i])
            atomic_fetch_or(&s->dirty[i], log[i]);
}

static const VmcMemoryOps slot_ops = {.moved = slot_moved, .sync_dirty = sync_dirty};

static VmcCpuVm *kvm_vm_new(const VmcCpuVmParams *params, GError **error)
{
    VmcCpuVm *vm = g_new0(VmcCpuVm, 1);
    vm->memory = params->memory;
    vm->n_cpus = params->n_cpus;
    vm->pio = params->pio;
    vm->mmio = params->mmio;
    vm->model =
        (VmcCpuModelParams){.model = params->model, .cpus = params->n_cpus, .apic_hz = VMC_KVM_APIC_HZ};
    vm->log = params->log;
    vm->log_opaque = params->log_opaque;
    g_mutex_init(&vm->debug_lock);
    g_mutex_init(&vm->wires_lock);
    atomic_init(&vm->anchor_due, true);
    vmc_kvm_msr_init(vm);
    vm->vm_fd = -1;
    vm->kvm_fd = vmc_kvm_open(VMC_KVM_DEVICE, error);
    if (vm->kvm_fd < 0) {
        kvm_vm_free(vm);
        return NULL;
    }
    vm->vm_fd = vmc_kvm_new_machine(vm->kvm_fd, error);
    int size = vmc_kvm_ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL, "tell its run area's size",
                             vm->vm_fd < 0 ? NULL : error);
    vm->run_size = size > 0 ? (size_t)size : 0;
    if (vm->vm_fd < 0 || size <= 0 || !vmc_kvm_make_chips(vm, error) || !vmc_kvm_take_msrs(vm, error) ||
        !add_slots(vm, error)) {
        kvm_vm_free(vm);
        return NULL;
    }
    vm->memory->ops = &slot_ops;
    vm->memory->ops_opaque = vm;
    return vm;
}

static void kvm_cpu_free(VmcCpu *cpu)
{
    if (!cpu)
        return;
    if (cpu->vm->cpus[cpu->index] == cpu)
        cpu->vm->cpus[cpu->index] = NULL;
    if (cpu->run && cpu->run != MAP_FAILED)
        munmap(cpu->run, cpu->vm->run_size);
    if (cpu->fd >= 0)
        close(cpu->fd);
    g_mutex_clear(&cpu->lock);
    g_free(cpu);
}

/* Lets the kick signal through inside KVM_RUN and nothing else that is blocked outside. */
static bool set_signal_mask(VmcCpu *cpu, GError **error)
{
    struct {
        struct kvm_signal_mask head;
        uint8_t set[8];
    } mask = {.head.len = 8};
    sigset_t set;
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    sigdelset(&set, KICK_SIGNAL);
    memcpy(mask.head.sigset, &set, 8);
    return vmc_kvm_ioctl(cpu->fd, KVM_SET_SIGNAL_MASK, &mask, N_("KVM cannot set a CPU's signal mask: %s"),
                         error) >= 0;
}

static VmcCpu *kvm_cpu_new(VmcCpuVm *vm, unsigned index, const VmcLocalApic *lapic, GError **error)
{
    (void)lapic;
    if (index >= G_N_ELEMENTS(vm->cpus)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("CPU %u: a machine on KVM has at most %zu"), index,
                    G_N_ELEMENTS(vm->cpus));
        return NULL;
    }
    VmcCpu *cpu = g_new0(VmcCpu, 1);
    cpu->vm = vm;
    cpu->index = index;
    g_mutex_init(&cpu->lock);
    cpu->fd = vmc_kvm_ioctl(vm->vm_fd, KVM_CREATE_VCPU, (void *)(uintptr_t)index,
                            N_("KVM cannot make a CPU: %s"), error);
    if (cpu->fd < 0) {
        kvm_cpu_free(cpu);
        return NULL;
    }
    cpu->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd, 0);
    if (cpu->run == MAP_FAILED) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CPU, _("KVM cannot map a CPU's run area: %s"),
                    g_strerror(errno));
        kvm_cpu_free(cpu);
        return NULL;
    }
    if (!vm->model.tsc_hz)
        vm->model.tsc_hz = vmc_kvm_measure_tsc(cpu);
    if (!vmc_kvm_set_cpuid(cpu, error) || !vmc_kvm_keep_apic(cpu, error)) {
        kvm_cpu_free(cpu);
        return NULL;
    }
    vm->cpus[index] = cpu;
    return cpu;
}

/* ---- exits ---- */

static void handle_io(VmcCpu *cpu)
{
    struct kvm_run *run = cpu->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    unsigned size = run->io.size;
    cpu->stats.port_exits++;
    for (unsigned i = 0; i < run->io.count; i++, data += size) {
        uint64_t value = 0;
        if (run->io.direction == KVM_EXIT_IO_OUT) {
            memcpy(&value, data, size);
            vmc_bus_write(cpu->vm->pio, run->io.port, size, value);
        } else {
            value = vmc_bus_read(cpu->vm->pio, run->io.port, size);
            memcpy(data, &value, size);
        }
    }
}

static void handle_mmio(VmcCpu *cpu)
{
    struct kvm_run *run = cpu->run;
    unsigned size = MIN(run->mmio.len, 8u);
    uint64_t value = 0;
    const VmcMemSlot *slot = vmc_memory_slot(cpu->vm->memory, run->mmio.phys_addr);
    cpu->stats.memory_exits++;
    if (slot && !(slot->readonly && run->mmio.is_write)) { /* a slot that has just arrived there */
        if (run->mmio.is_write)
            vmc_memory_write(cpu->vm->memory, run->mmio.phys_addr, run->mmio.data, size);
        else
            vmc_memory_read(cpu->vm->memory, run->mmio.phys_addr, run->mmio.data, size);
        return;
    }
    if (run->mmio.is_write) {
        memcpy(&value, run->mmio.data, size);
        vmc_bus_write(cpu->vm->mmio, run->mmio.phys_addr, size, value);
    } else {
        value = vmc_bus_read(cpu->vm->mmio, run->mmio.phys_addr, size);
        memcpy(run->mmio.data, &value, size);
    }
}

/* Takes pending kick signals off the thread's queue. */
static void eat_signals(void)
{
    sigset_t set;
    struct timespec none = {0};
    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    while (sigtimedwait(&set, NULL, &none) > 0)
        ;
}

static bool begin_run(VmcCpu *cpu, GError **error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (!set_signal_mask(cpu, error))
        return false;
    g_mutex_lock(&cpu->lock);
    cpu->thread = pthread_self();
    atomic_store(&cpu->inside, true);
    g_mutex_unlock(&cpu->lock);
    return true;
}

static void end_run(VmcCpu *cpu)
{
    g_mutex_lock(&cpu->lock);
    atomic_store(&cpu->inside, false);
    g_mutex_unlock(&cpu->lock);
    eat_signals();
}

/* `sentence` has a place for the number that KVM says. */
static bool fail(GError **error, const char *sentence, uint64_t detail)
{
    g_set_error(error, VMC_ERROR, VMC_ERROR_CPU, _(sentence), detail);
    return false;
}

/* One KVM_RUN and what it asks for. True: go on; false: *exit and maybe *error are set. */
static bool run_once(VmcCpu *cpu, VmcCpuExit *exit, GError **error)
{
    struct kvm_run *run = cpu->run;
    *exit = VMC_EXIT_ERROR;
    cpu->unfinished = false;
    cpu->stats.kernel_entries++;
    if (ioctl(cpu->fd, KVM_RUN, 0) < 0) {
        if (errno == EAGAIN)
            return true;
        if (errno == EINTR) {
            eat_signals();
            return true;
        }
        g_set_error(error, VMC_ERROR, VMC_ERROR_CPU, _("KVM cannot run a CPU: %s"), g_strerror(errno));
        return false;
    }
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        handle_io(cpu);
        cpu->unfinished = true;
        return true;
    case KVM_EXIT_MMIO:
        handle_mmio(cpu);
        cpu->unfinished = true;
        return true;
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR:
        vmc_kvm_msr_exit(cpu);
        cpu->unfinished = true;
        return true;
    case KVM_EXIT_DEBUG:
        *exit = VMC_EXIT_DEBUG;
        return !vmc_kvm_debug_exit(cpu);
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_HLT:
        return true;
    case KVM_EXIT_SHUTDOWN:
        *exit = VMC_EXIT_SHUTDOWN;
        return false;
    case KVM_EXIT_FAIL_ENTRY:
        return fail(error,
                    N_("KVM stopped a CPU: the processor refused to enter the guest (0x%" PRIx64
                       "); try the software CPU"),
                    run->fail_entry.hardware_entry_failure_reason);
    case KVM_EXIT_INTERNAL_ERROR:
        return fail(error,
                    N_("KVM stopped a CPU: it met an instruction it cannot emulate (0x%" PRIx64
                       "); try the software CPU"),
                    run->internal.suberror);
    }
    return fail(error, N_("KVM stopped a CPU: unexpected exit (0x%" PRIx64 "); try the software CPU"),
                run->exit_reason);
}

/* Has an instruction that waited for a device take the answer, so that the CPU's state is that behind it.
 * False: *exit happened by that. */
static bool finish_instruction(VmcCpu *cpu, VmcCpuExit *exit, GError **error)
{
    bool ok = true;

    cpu->run->immediate_exit = 1;
    while (ok && cpu->unfinished)
        ok = run_once(cpu, exit, error);
    cpu->run->immediate_exit = 0;
    return ok;
}

static VmcCpuExit kvm_run(VmcCpu *cpu, GError **error)
{
    VmcCpuExit exit = VMC_EXIT_ERROR;
    if (!begin_run(cpu, error))
        return exit;
    vmc_kvm_debug_enter(cpu);
    do {
        if (cpu->index == 0 && atomic_load_explicit(&cpu->vm->anchor_due, memory_order_relaxed))
            vmc_kvm_drop_anchor(cpu);
        if (atomic_exchange(&cpu->kicked, false)) {
            if (finish_instruction(cpu, &exit, error))
                exit = VMC_EXIT_KICKED;
            else
                atomic_store(&cpu->kicked, true); /* for the next time */
            break;
        }
    } while (run_once(cpu, &exit, error));
    vmc_kvm_debug_leave(cpu);
    end_run(cpu);
    return exit;
}

/* Has the CPU come out of the guest, if it is there, and look at what it was asked. */
static void nudge(VmcCpu *cpu)
{
    g_mutex_lock(&cpu->lock);
    if (atomic_load(&cpu->inside))
        pthread_kill(cpu->thread, KICK_SIGNAL);
    g_mutex_unlock(&cpu->lock);
}

static void kvm_kick(VmcCpu *cpu)
{
    atomic_store(&cpu->kicked, true);
    nudge(cpu);
}

/* Only its own thread may ask KVM about a CPU that runs. */
static void kvm_keep_time(VmcCpuVm *vm)
{
    atomic_store(&vm->anchor_due, true);
    nudge(vm->cpus[0]);
}

/* The chips are everybody's: they are reset with the first CPU. */
static void kvm_reset(VmcCpu *cpu)
{
    if (cpu->index == 0)
        vmc_kvm_reset_chips(cpu->vm);
    vmc_kvm_reset_apic(cpu);
    vmc_kvm_reset(cpu);
}

const VmcCpuBackend vmc_cpu_kvm = {
    .name = "kvm",
    .in_kernel_irqchip = true,
    .save_vm = vmc_kvm_save_vm,
    .load_vm = vmc_kvm_load_vm,
    .save_cpu = vmc_kvm_save_cpu,
    .load_cpu = vmc_kvm_load_cpu,
    .describe = vmc_kvm_describe,
    .vm_new = kvm_vm_new,
    .vm_free = kvm_vm_free,
    .cpu_new = kvm_cpu_new,
    .cpu_free = kvm_cpu_free,
    .run = kvm_run,
    .kick = kvm_kick,
    .reset = kvm_reset,
    .debug_registers = 4,
    .set_debug = vmc_kvm_set_debug,
    .get_debug_event = vmc_kvm_get_debug_event,
    .translate = vmc_kvm_translate,
    .get_state = vmc_kvm_get_state,
    .set_state = vmc_kvm_set_state,
    .set_gsi = vmc_kvm_set_gsi,
    .send_msi = vmc_kvm_send_msi,
    .wire_msi = vmc_kvm_wire_msi,
    .unwire_msi = vmc_kvm_unwire_msi,
    .mute_pit = vmc_kvm_mute_pit,
    .add_doorbell = vmc_kvm_add_doorbell,
    .remove_doorbell = vmc_kvm_remove_doorbell,
    .tsc_hz = vmc_kvm_tsc_hz,
    .tsc_now = vmc_kvm_tsc_now,
    .resumed = vmc_kvm_resumed,
    .keep_time = kvm_keep_time,
    .slept = vmc_kvm_slept,
    .get_stats = vmc_kvm_get_stats,
};
