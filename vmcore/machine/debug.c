/* A debugger's hold on a machine (debug.h). */
#include "machine/debug.h"

#include "machine/private.h"

void vmc_debug_attach(VmcMachine *machine, const VmcDebuggerOps *ops, void *opaque, bool wait)
{
    machine->debugger.ops = ops;
    machine->debugger.opaque = opaque;
    machine->debugger.wait = wait;
}

static void ask_nothing(VmcVcpus *group)
{
    g_mutex_lock(&group->lock);
    for (unsigned i = 0; i < group->n; i++) {
        group->backend->set_debug(group->vcpus[i].cpu, NULL, NULL);
        group->vcpus[i].debug_held = false;
        group->vcpus[i].debug_event.reason = VMC_DEBUG_NONE;
    }
    group->debug_cpu = -1;
    g_mutex_unlock(&group->lock);
}

/* Takes the brake off. Guest time goes on, too, unless the machine is paused. */
static void let_go(VmcMachine *machine)
{
    if (vmc_machine_get_state(machine) != VMC_MACHINE_PAUSED)
        vmc_board_resume(machine->guest->board);
    vmc_vcpus_debug_release(&machine->guest->vcpus);
}

void vmc_debug_detach(VmcMachine *machine, bool go_on)
{
    VmcDebugStop stop;

    if (vmc_debug_stop(machine, &stop)) {
        ask_nothing(&machine->guest->vcpus);
        if (go_on)
            let_go(machine);
    }
    machine->debugger.ops = NULL;
}

/* Which event to tell: the one that stopped the machine. Locked. */
static void take_stop(VmcVcpus *group, VmcDebugStop *stop)
{
    *stop = (VmcDebugStop){.happened = group->debug_cpu >= 0};
    if (!stop->happened)
        return;
    VmcVcpu *vcpu = &group->vcpus[group->debug_cpu];
    stop->cpu = vcpu->index;
    stop->event = vcpu->debug_event;
    vcpu->debug_event.reason = VMC_DEBUG_NONE;
    group->debug_cpu = -1;
}

bool vmc_debug_stop(VmcMachine *machine, VmcDebugStop *stop)
{
    if (!machine->guest)
        return false;
    VmcVcpus *group = &machine->guest->vcpus;
    vmc_vcpus_debug_hold(group);
    vmc_board_pause(machine->guest->board);
    g_mutex_lock(&group->lock);
    take_stop(group, stop);
    g_mutex_unlock(&group->lock);
    return true;
}

/* Another CPU touched a watched place in the same moment as the one that stopped the machine. It will not do
 * that again by itself, as it would come to a breakpoint again, so it is told now. False: none that is still
 * watched. */
static bool tell_what_waits(VmcVcpus *group, const VmcDebugGo *go, const VmcCpuDebug *points)
{
    for (unsigned i = 0; i < group->n; i++) {
        VmcVcpu *vcpu = &group->vcpus[i];
        VmcDebugEvent *event = &vcpu->debug_event, again;

        if (go[i] == VMC_GO_STAY || event->reason == VMC_DEBUG_NONE)
            continue;
        if (event->reason == VMC_DEBUG_WATCHPOINT &&
            vmc_cpu_debug_watched(points, event->address, 1, event->access, &again)) {
            group->debug_cpu = (int)i;
            return true;
        }
        event->reason = VMC_DEBUG_NONE;
    }
    return false;
}

static bool ask(VmcVcpus *group, const VmcDebugGo *go, const VmcCpuDebug *points, GError **error)
{
    g_autofree VmcCpuDebug *one = g_memdup2(points, sizeof *points);

    for (unsigned i = 0; i < group->n; i++) {
        one->single_step = go[i] == VMC_GO_STEP;
        bool nothing = !one->single_step && !one->n_breakpoints && !one->n_watchpoints;
        if (go[i] != VMC_GO_STAY &&
            !group->backend->set_debug(group->vcpus[i].cpu, nothing ? NULL : one, error))
            return false;
    }
    return true;
}

bool vmc_debug_go(VmcMachine *machine, const VmcDebugGo *go, const VmcCpuDebug *points, GError **error)
{
    if (!machine->guest)
        return true;
    VmcVcpus *group = &machine->guest->vcpus;
    bool waits;

    g_mutex_lock(&group->lock);
    waits = tell_what_waits(group, go, points);
    if (waits)
        vmc_mailbox_post(group->mailbox, VMC_EVENT_DEBUG, group->run, NULL, NULL);
    g_mutex_unlock(&group->lock);
    if (waits)
        return true;
    if (!ask(group, go, points, error))
        return false;
    g_mutex_lock(&group->lock);
    for (unsigned i = 0; i < group->n; i++)
        group->vcpus[i].debug_held = go[i] == VMC_GO_STAY;
    g_mutex_unlock(&group->lock);
    let_go(machine);
    return true;
}

void vmc_debug_on_event(VmcMachine *machine)
{
    VmcVcpus *group = &machine->guest->vcpus;
    bool fresh;

    g_mutex_lock(&group->lock);
    fresh = group->debug_cpu >= 0;
    g_mutex_unlock(&group->lock);
    if (fresh && machine->debugger.ops)
        machine->debugger.ops->stopped(machine->debugger.opaque);
}
