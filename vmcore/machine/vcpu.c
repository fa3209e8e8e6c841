/*
 * vCPU threads and the barrier they stop at.
 *
 * A thread runs its CPU until somebody puts up a hold and kicks it; then it parks. When the last one parks,
 * nothing of the guest runs any more: that is when the owner's pause returns and when a guest's reset is
 * carried out, by that last thread, so that a reboot needs nobody's main loop; or its clocks are set, after
 * the host has slept. Kicks stick (cpu.h): one that comes before run is entered makes run return at once, so
 * none is lost between the check of the holds and the entry.
 *
 * Resets come from the guest (a port, a triple fault) while it runs and only take note here. A guest that
 * triple-faults again and again right after its reset would do so for ever, so the third within a second ends
 * it.
 *
 * A debugger's hold is like a pause, put up also by the first CPU that comes to what it asked for; and it may
 * let some CPUs go while others stay parked.
 */
#include "base/i18n.h"
#include "base/thread.h"
#include "machine/private.h"

#define SHUTDOWN_WINDOW_US G_USEC_PER_SEC

static void kick_all(VmcVcpus *group)
{
    for (unsigned i = 0; i < group->n; i++)
        if (group->vcpus[i].cpu)
            group->backend->kick(group->vcpus[i].cpu);
}

/* Puts up a hold. Called locked. False: it was up already. */
static bool put_up(VmcVcpus *group, unsigned hold)
{
    bool fresh = !(group->holds & hold);

    group->holds |= hold;
    kick_all(group);
    return fresh;
}

void vmc_vcpus_request_reset(VmcVcpus *group)
{
    g_mutex_lock(&group->lock);
    put_up(group, VMC_HOLD_RESET);
    g_mutex_unlock(&group->lock);
}

/* Threads that are parked look again, so that it is done at once in a machine that is paused. */
void vmc_vcpus_request_wake(VmcVcpus *group)
{
    g_mutex_lock(&group->lock);
    group->wakes++;
    put_up(group, VMC_HOLD_WAKE);
    g_cond_broadcast(&group->released);
    g_mutex_unlock(&group->lock);
}

/* Called locked; takes the error over. Only the first end counts. */
static void end_locked(VmcVcpus *group, VmcEventKind kind, GError *error)
{
    if (put_up(group, VMC_HOLD_END))
        vmc_mailbox_post(group->mailbox, kind, group->run, NULL, error);
    else
        g_clear_error(&error);
}

void vmc_vcpus_request_end(VmcVcpus *group, VmcEventKind kind, GError *error)
{
    g_mutex_lock(&group->lock);
    end_locked(group, kind, error);
    g_mutex_unlock(&group->lock);
}

/* A triple fault: processors enter shutdown and a PC's chipset answers with a reset. Called locked. */
static void on_shutdown(VmcVcpus *group)
{
    gint64 now = g_get_monotonic_time();

    if (group->holds & VMC_HOLD_RESET) /* another CPU's fault has been noted already */
        return;
    group->shutdowns[0] = group->shutdowns[1];
    group->shutdowns[1] = group->shutdowns[2];
    group->shutdowns[2] = now;
    if (group->shutdowns[0] && now - group->shutdowns[0] < SHUTDOWN_WINDOW_US) {
        end_locked(
            group, VMC_EVENT_FAILED,
            g_error_new_literal(VMC_ERROR, VMC_ERROR_CPU,
                                _("The guest crashed with a triple fault three times within one second, "
                                  "so it was stopped; its kernel cannot run on this machine")));
        return;
    }
    vmc_mailbox_post(group->mailbox, VMC_EVENT_LOG, group->run,
                     _("The guest crashed with a triple fault and is reset"), NULL);
    put_up(group, VMC_HOLD_RESET);
}

/* All vCPUs are parked. Called locked, unlocks meanwhile: a device's thread may be waiting to ask for
 * something. */
static void reset_guest(VmcVcpus *group)
{
    GError *error = NULL;
    bool ok;

    group->resetting = true;
    g_mutex_unlock(&group->lock);
    ok = group->reset(group->opaque, &error);
    g_mutex_lock(&group->lock);
    group->resetting = false;
    group->holds &= ~VMC_HOLD_RESET;
    if (ok)
        vmc_mailbox_post(group->mailbox, VMC_EVENT_RESET, group->run, NULL, NULL);
    else
        end_locked(group, VMC_EVENT_FAILED, error);
    g_cond_broadcast(&group->released);
}

/* The same. The host may sleep again meanwhile. */
static void wake_guest(VmcVcpus *group)
{
    unsigned told;

    group->resetting = true;
    do {
        told = group->wakes;
        g_mutex_unlock(&group->lock);
        group->woken(group->opaque);
        g_mutex_lock(&group->lock);
    } while (told != group->wakes);
    group->resetting = false;
    group->holds &= ~VMC_HOLD_WAKE;
    g_cond_broadcast(&group->released);
}

/* Does what waited for all vCPUs to be parked. Called locked. */
static void carry_out(VmcVcpus *group)
{
    if (group->holds & VMC_HOLD_END || group->resetting)
        return;
    if (group->holds & VMC_HOLD_WAKE)
        wake_guest(group);
    if ((group->holds & (VMC_HOLD_RESET | VMC_HOLD_END)) == VMC_HOLD_RESET)
        reset_guest(group);
}

/* Stays until nothing holds this CPU or the threads shall end. Called locked. */
static void park(VmcVcpu *vcpu)
{
    VmcVcpus *group = vcpu->group;

    while ((group->holds || vcpu->debug_held) && !group->quit) {
        group->parked++;
        if (group->parked == group->n) {
            carry_out(group);
            g_cond_broadcast(&group->arrived);
        }
        if ((group->holds || vcpu->debug_held) && !group->quit)
            g_cond_wait(&group->released, &group->lock);
        group->parked--;
    }
}

static void note_first_entry(VmcVcpus *group)
{
    if (atomic_load_explicit(&group->start_latency, memory_order_relaxed) == 0)
        atomic_store(&group->start_latency, vmc_now_ns() - group->started_at);
}

/* Called locked. The first CPU that comes to something stops them all; others may do so in the same moment.
 */
static void on_debug(VmcVcpu *vcpu)
{
    VmcVcpus *group = vcpu->group;

    group->backend->get_debug_event(vcpu->cpu, &vcpu->debug_event);
    if (!put_up(group, VMC_HOLD_DEBUG))
        return;
    group->debug_cpu = (int)vcpu->index;
    vmc_mailbox_post(group->mailbox, VMC_EVENT_DEBUG, group->run, NULL, NULL);
}

static void on_exit_from_guest(VmcVcpu *vcpu, VmcCpuExit reason, GError *error)
{
    VmcVcpus *group = vcpu->group;

    switch (reason) {
    case VMC_EXIT_KICKED:
        break;
    case VMC_EXIT_SHUTDOWN:
        on_shutdown(group);
        break;
    case VMC_EXIT_DEBUG:
        on_debug(vcpu);
        break;
    case VMC_EXIT_ERROR:
        if (!error)
            error =
                g_error_new_literal(VMC_ERROR, VMC_ERROR_INTERNAL, _("The CPU stopped without saying why"));
        end_locked(group, VMC_EVENT_FAILED, error);
        return;
    }
    g_clear_error(&error);
}

static gpointer vcpu_thread(gpointer data)
{
    VmcVcpu *vcpu = data;
    VmcVcpus *group = vcpu->group;

    g_mutex_lock(&group->lock);
    for (;;) {
        GError *error = NULL;
        VmcCpuExit reason;

        park(vcpu);
        if (group->quit)
            break;
        g_mutex_unlock(&group->lock);
        if (vcpu->index == 0)
            note_first_entry(group);
        reason = group->backend->run(vcpu->cpu, &error);
        g_mutex_lock(&group->lock);
        on_exit_from_guest(vcpu, reason, error);
    }
    g_mutex_unlock(&group->lock);
    return NULL;
}

/* No CPU enters the guest before all threads are there, so a start that fails half way has run nothing. */
bool vmc_vcpus_start(VmcVcpus *group, bool paused, GError **error)
{
    group->holds |= VMC_HOLD_PAUSE;
    for (unsigned i = 0; i < group->n; i++) {
        g_autofree char *name = g_strdup_printf("vmc-cpu%u", i);

        group->vcpus[i].thread = vmc_thread_new(name, vcpu_thread, &group->vcpus[i], error);
        if (!group->vcpus[i].thread) {
            vmc_vcpus_join(group);
            return false;
        }
    }
    if (!paused)
        vmc_vcpus_release(group);
    return true;
}

static void hold(VmcVcpus *group, unsigned why)
{
    g_mutex_lock(&group->lock);
    put_up(group, why);
    while (group->parked < group->n || group->resetting)
        g_cond_wait(&group->arrived, &group->lock);
    g_mutex_unlock(&group->lock);
}

static void release(VmcVcpus *group, unsigned why)
{
    g_mutex_lock(&group->lock);
    group->holds &= ~why;
    g_cond_broadcast(&group->released);
    g_mutex_unlock(&group->lock);
}

void vmc_vcpus_hold(VmcVcpus *group)
{
    hold(group, VMC_HOLD_PAUSE);
}

void vmc_vcpus_release(VmcVcpus *group)
{
    release(group, VMC_HOLD_PAUSE);
}

void vmc_vcpus_debug_hold(VmcVcpus *group)
{
    hold(group, VMC_HOLD_DEBUG);
}

bool vmc_vcpus_debug_held(VmcVcpus *group)
{
    g_mutex_lock(&group->lock);
    bool held = group->holds & VMC_HOLD_DEBUG;
    g_mutex_unlock(&group->lock);
    return held;
}

void vmc_vcpus_debug_release(VmcVcpus *group)
{
    release(group, VMC_HOLD_DEBUG);
}

void vmc_vcpus_join(VmcVcpus *group)
{
    g_mutex_lock(&group->lock);
    group->quit = true;
    kick_all(group);
    g_cond_broadcast(&group->released);
    g_mutex_unlock(&group->lock);
    for (unsigned i = 0; i < group->n; i++)
        if (group->vcpus[i].thread)
            g_thread_join(g_steal_pointer(&group->vcpus[i].thread));
}
