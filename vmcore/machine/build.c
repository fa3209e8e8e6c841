/*
 * A guest put together from a configuration, and taken apart again.
 *
 * The order of both matters. Up: memory first, because a backend maps it when it is made; the board, then
 * CPUs that ask the board's local APICs; devices; the boot image; threads last. Down: vCPUs stop, then the
 * board goes with its devices (they wait for requests in flight, for which the I/O thread must still run) and
 * its timers (they call into CPUs, so before those), then CPUs, I/O thread, memory. vmc_guest_free copes with
 * a guest of which only a part is there, so it is also how a start that failed is undone.
 */
#include <string.h>
#include <unistd.h>

#include "cpu/model.h"
#include "display/display.h"
#include "machine/private.h"

/* A board must only take note of these three; they come from vCPU threads and the I/O thread. */
static void on_power_off(void *opaque)
{
    VmcGuest *guest = opaque;

    vmc_vcpus_request_end(&guest->vcpus, VMC_EVENT_POWER_OFF, NULL);
}

static void on_reset(void *opaque)
{
    VmcGuest *guest = opaque;

    vmc_vcpus_request_reset(&guest->vcpus);
}

static void on_log(void *opaque, const char *line)
{
    VmcGuest *guest = opaque;

    vmc_mailbox_post(guest->vcpus.mailbox, VMC_EVENT_LOG, guest->vcpus.run, line, NULL);
}

static void on_attention(void *opaque, const char *why)
{
    VmcGuest *guest = opaque;

    vmc_mailbox_post(guest->vcpus.mailbox, VMC_EVENT_ATTENTION, guest->vcpus.run, why, NULL);
}

/* What firmware does for a kernel that brings no driver: a mode, and where its picture lies. */
static void set_up_screen(void *opaque, VmcFramebufferInfo *screen)
{
    VmcGuest *guest = opaque;
    uint64_t at = guest->vga ? vmc_pci_device_bar_address(guest->vga_card, 0) : UINT64_MAX;

    if (at == UINT64_MAX)
        return;
    vmc_vga_set_mode(guest->vga);
    screen->gpa = at;
    vmc_vga_get_mode(guest->vga, &screen->width, &screen->height);
    screen->stride = screen->width * 4;
}

static bool reset_board(void *opaque, GError **error)
{
    VmcGuest *guest = opaque;
    VmcBootScreen screen = {set_up_screen, guest};

    return vmc_board_prepare_boot(guest->board, &screen, error);
}

static void on_woken(void *opaque)
{
    VmcGuest *guest = opaque;

    vmc_board_slept(guest->board);
}

static bool build_memory(VmcGuest *guest, GError **error)
{
    guest->memory = vmc_memory_new();
    return vmc_board_add_memory(guest->memory, guest->config->memory, &guest->config->boot, error);
}

static bool build_board(VmcGuest *guest, GError **error)
{
    VmcCpuVmParams vm = {
        .memory = guest->memory,
        .pio = guest->pio,
        .mmio = guest->mmio,
        .n_cpus = guest->config->cpus,
        .model = guest->config->cpu_model,
        .engine = guest->config->soft.engine,
        .lockstep = guest->config->soft.lockstep,
        .code_cache_mib = guest->config->soft.code_cache,
        .log = on_log,
        .log_opaque = guest,
    };
    VmcBoardParams board = {
        .memory = guest->memory,
        .pio = guest->pio,
        .mmio = guest->mmio,
        .io = guest->io,
        .backend = guest->backend,
        .n_cpus = guest->config->cpus,
        .packages = guest->config->cpus / vmc_cpu_model_cores(guest->config->cpu_model, guest->config->cpus),
        .boot = &guest->config->boot,
        .hooks = &guest->hooks,
        .power_off = on_power_off,
        .reset = on_reset,
        .log = on_log,
        .opaque = guest,
    };

    guest->vm = guest->backend->vm_new(&vm, error);
    if (!guest->vm)
        return false;
    board.vm = guest->vm;
    guest->board = vmc_board_new(&board, error);
    return guest->board != NULL;
}

static bool build_cpus(VmcGuest *guest, GError **error)
{
    for (unsigned i = 0; i < guest->vcpus.n; i++) {
        VmcVcpu *vcpu = &guest->vcpus.vcpus[i];

        vcpu->group = &guest->vcpus;
        vcpu->index = i;
        vcpu->cpu = guest->backend->cpu_new(guest->vm, i, vmc_board_lapic(guest->board, i), error);
        if (!vcpu->cpu)
            return false;
        vmc_board_attach_cpu(guest->board, i, vcpu->cpu);
    }
    return true;
}

static void init_vcpus(VmcGuest *guest, uint64_t started_at)
{
    VmcVcpus *group = &guest->vcpus;

    group->backend = guest->backend;
    group->mailbox = guest->machine->mailbox;
    group->run = guest->machine->run;
    group->reset = reset_board;
    group->woken = on_woken;
    group->opaque = guest;
    group->n = guest->config->cpus;
    group->holds = guest->machine->debugger.wait ? VMC_HOLD_DEBUG : 0;
    group->debug_cpu = -1;
    group->vcpus = g_new0(VmcVcpu, group->n);
    group->started_at = started_at;
    g_mutex_init(&group->lock);
    g_cond_init(&group->released);
    g_cond_init(&group->arrived);
}

static bool start_vcpus(VmcGuest *guest, GError **error)
{
    if (guest->vcpus.holds)
        vmc_board_pause(guest->board); /* guest time begins when they are let go */
    return vmc_vcpus_start(&guest->vcpus, false, error) && vmc_guest_watch_sleep(guest, error);
}

/* Everything but the boot image and the threads. */
static VmcGuest *assemble(VmcMachine *machine, uint64_t started_at, GError **error)
{
    VmcGuest *guest = g_new0(VmcGuest, 1);

    guest->machine = machine;
    guest->config = machine->config;
    guest->backend = machine->backend;
    guest->hooks = (VmcHostHooks){on_log, on_attention, guest};
    guest->log_fds = g_array_new(FALSE, FALSE, sizeof(int));
    guest->created_logs = g_ptr_array_new_with_free_func(g_free);
    guest->keyboards = g_ptr_array_new();
    guest->pointers = g_ptr_array_new();
    init_vcpus(guest, started_at);
    guest->pio = vmc_bus_new("pio");
    guest->mmio = vmc_bus_new("mmio");
    guest->io = vmc_io_new(error);
    if (!guest->io || !build_memory(guest, error) || !build_board(guest, error) ||
        !build_cpus(guest, error) || !vmc_guest_add_devices(guest, error)) {
        vmc_guest_free(guest);
        return NULL;
    }
    vmc_guest_set_boot_order(guest);
    return guest;
}

VmcGuest *vmc_guest_new(VmcMachine *machine, uint64_t started_at, GError **error)
{
    vmc_machine_look_at_media(machine);
    VmcGuest *guest = assemble(machine, started_at, error);

    if (guest && (!reset_board(guest, error) || !start_vcpus(guest, error))) {
        vmc_guest_free(guest);
        return NULL;
    }
    if (guest)
        guest->started = true;
    return guest;
}

VmcGuest *vmc_guest_new_empty(VmcMachine *machine, uint64_t started_at, GError **error)
{
    VmcGuest *guest = assemble(machine, started_at, error);

    if (!guest)
        return NULL;
    vmc_board_pause(guest->board);
    if (vmc_board_reset(guest->board, error))
        return guest;
    vmc_guest_free(guest);
    return NULL;
}

bool vmc_guest_start_paused(VmcGuest *guest, GError **error)
{
    guest->started = vmc_vcpus_start(&guest->vcpus, true, error) && vmc_guest_watch_sleep(guest, error);
    return guest->started;
}

/* The CPUs' figures outlive them. */
static void keep_stats(const VmcGuest *guest)
{
    const VmcCpuBackend *backend = guest->backend;
    g_autofree VmcCpuStats *stats = g_new0(VmcCpuStats, guest->vcpus.n);

    for (unsigned i = 0; i < guest->vcpus.n; i++)
        if (!backend->get_stats || !backend->get_stats(guest->vcpus.vcpus[i].cpu, &stats[i]))
            return;
    g_free(guest->machine->cpu_stats);
    guest->machine->cpu_stats = g_steal_pointer(&stats);
}

static void free_vcpus(VmcGuest *guest)
{
    VmcVcpus *group = &guest->vcpus;

    for (unsigned i = 0; i < group->n; i++)
        if (group->vcpus[i].cpu)
            guest->backend->cpu_free(group->vcpus[i].cpu);
    g_free(group->vcpus);
    g_cond_clear(&group->arrived);
    g_cond_clear(&group->released);
    g_mutex_clear(&group->lock);
}

static void free_logs(VmcGuest *guest)
{
    for (guint i = 0; i < guest->log_fds->len; i++)
        close(g_array_index(guest->log_fds, int, i));
    g_array_unref(guest->log_fds);
    if (!guest->started)
        for (guint i = 0; i < guest->created_logs->len; i++)
            unlink(g_ptr_array_index(guest->created_logs, i));
    g_ptr_array_unref(guest->created_logs);
}

void vmc_guest_free(VmcGuest *guest)
{
    if (!guest)
        return;
    vmc_guest_unwatch_sleep(guest);
    vmc_vcpus_join(&guest->vcpus);
    if (guest->started)
        keep_stats(guest);
    /* Before the devices are reset on their way out: what is on the screen stays. */
    for (unsigned i = 0; i < guest->machine->n_displays; i++)
        vmc_display_release(guest->machine->displays[i]);
    if (guest->board)
        vmc_board_free(guest->board);
    free_vcpus(guest);
    if (guest->vm)
        guest->backend->vm_free(guest->vm);
    vmc_io_free(guest->io);
    vmc_bus_free(guest->pio);
    vmc_bus_free(guest->mmio);
    vmc_memory_free(guest->memory);
    free_logs(guest);
    g_ptr_array_unref(guest->keyboards);
    g_ptr_array_unref(guest->pointers);
    g_free(guest->usb_devices);
    g_free(guest->pci_devices);
    g_free(guest);
}
