/*
 * VmcMachine: the object, its states and what each public function may do in which of them.
 *
 * States change on the owner's thread only, and each change is announced before anything else happens. A
 * handler may call back into the machine, even stop it; so whoever announces a passing state looks afterwards
 * whether it is still that state, and gives up if not.
 */
#include "base/i18n.h"
#include "machine/private.h"

G_DEFINE_FINAL_TYPE(VmcMachine, vmc_machine, G_TYPE_OBJECT)

enum { PROP_0, PROP_STATE, PROP_ERROR, N_PROPERTIES };
static GParamSpec *properties[N_PROPERTIES];

enum { SIGNAL_STATE_CHANGED, SIGNAL_STOPPED, SIGNAL_LOG, SIGNAL_GUEST_RESET, SIGNAL_ATTENTION, N_SIGNALS };
static guint signals[N_SIGNALS];

/* For programs. */
static const char *const state_names[] = {
    [VMC_MACHINE_STOPPED] = "stopped",     [VMC_MACHINE_STARTING] = "starting",
    [VMC_MACHINE_RUNNING] = "running",     [VMC_MACHINE_PAUSING] = "pausing",
    [VMC_MACHINE_PAUSED] = "paused",       [VMC_MACHINE_RESUMING] = "resuming",
    [VMC_MACHINE_STOPPING] = "stopping",   [VMC_MACHINE_SAVING] = "saving",
    [VMC_MACHINE_RESTORING] = "restoring", [VMC_MACHINE_ERROR] = "in error",
};

const char *vmc_machine_state_name(VmcMachineState state)
{
    return (unsigned)state < G_N_ELEMENTS(state_names) ? state_names[state] : "unknown";
}

/* Translators: states of a machine, in a table, in “it is running”, and behind “The machine is now:”. */
static const char *const state_texts[] = {
    [VMC_MACHINE_STOPPED] = NC_("state of a machine", "stopped"),
    [VMC_MACHINE_STARTING] = NC_("state of a machine", "starting"),
    [VMC_MACHINE_RUNNING] = NC_("state of a machine", "running"),
    [VMC_MACHINE_PAUSING] = NC_("state of a machine", "pausing"),
    [VMC_MACHINE_PAUSED] = NC_("state of a machine", "paused"),
    [VMC_MACHINE_RESUMING] = NC_("state of a machine", "resuming"),
    [VMC_MACHINE_STOPPING] = NC_("state of a machine", "stopping"),
    [VMC_MACHINE_SAVING] = NC_("state of a machine", "saving"),
    [VMC_MACHINE_RESTORING] = NC_("state of a machine", "restoring"),
    [VMC_MACHINE_ERROR] = NC_("state of a machine", "in error"),
};

const char *vmc_machine_state_text(VmcMachineState state)
{
    if ((unsigned)state >= G_N_ELEMENTS(state_texts))
        return vmc_machine_state_name(state);
    return g_dpgettext2(GETTEXT_PACKAGE, "state of a machine", state_texts[state]);
}

VmcMachineState vmc_machine_get_state(VmcMachine *machine)
{
    return (VmcMachineState)atomic_load(&machine->state);
}

bool vmc_machine_set_state(VmcMachine *machine, VmcMachineState state)
{
    atomic_store(&machine->state, (int)state);
    g_object_notify_by_pspec(G_OBJECT(machine), properties[PROP_STATE]);
    g_signal_emit(machine, signals[SIGNAL_STATE_CHANGED], 0, (int)state);
    return vmc_machine_get_state(machine) == state;
}

bool vmc_machine_check_state(VmcMachine *machine, VmcMachineState wanted, const char *sentence,
                             GError **error)
{
    VmcMachineState state = vmc_machine_get_state(machine);

    if (state == wanted)
        return true;
    g_set_error(error, VMC_ERROR, VMC_ERROR_STATE, _(sentence), vmc_machine_state_text(state),
                vmc_machine_state_text(wanted));
    return false;
}

static bool interrupted(const char *sentence, GError **error)
{
    g_set_error_literal(error, VMC_ERROR, VMC_ERROR_STATE, sentence);
    return false;
}

void vmc_machine_set_guest(VmcMachine *machine, VmcGuest *guest)
{
    g_mutex_lock(&machine->guest_lock);
    machine->guest = guest;
    g_mutex_unlock(&machine->guest_lock);
}

/* Out of sight first, so that no input reaches devices that are being freed. */
static void take_apart(VmcMachine *machine)
{
    VmcGuest *guest = machine->guest;

    vmc_saving_abandon(machine);
    if (!guest)
        return;
    vmc_machine_set_guest(machine, NULL);
    machine->start_latency = atomic_load(&guest->vcpus.start_latency);
    vmc_guest_free(guest);
}

static void set_error(VmcMachine *machine, const GError *error)
{
    g_clear_error(&machine->error);
    if (error)
        machine->error = g_error_copy(error);
    g_object_notify_by_pspec(G_OBJECT(machine), properties[PROP_ERROR]);
}

/* Any state but stopped -> stopped. */
static void end_run(VmcMachine *machine, VmcStopReason reason)
{
    g_object_ref(machine);
    if (vmc_machine_set_state(machine, VMC_MACHINE_STOPPING)) {
        take_apart(machine);
        vmc_machine_set_state(machine, VMC_MACHINE_STOPPED);
        g_signal_emit(machine, signals[SIGNAL_STOPPED], 0, (int)reason);
    }
    g_object_unref(machine);
}

static void fail_run(VmcMachine *machine, const GError *error)
{
    take_apart(machine);
    set_error(machine, error);
    vmc_machine_set_state(machine, VMC_MACHINE_ERROR);
    g_signal_emit(machine, signals[SIGNAL_STOPPED], 0, (int)VMC_STOP_ERROR);
}

/* Paused first, so that whoever hears of it may resume. If it is paused already, only the message is news. */
static void get_attention(VmcMachine *machine, const char *why)
{
    unsigned run = machine->run;
    bool paused = vmc_machine_get_state(machine) == VMC_MACHINE_RUNNING && vmc_machine_pause(machine, NULL);

    if (machine->guest && run == machine->run)
        g_signal_emit(machine, signals[SIGNAL_ATTENTION], 0, why, (gboolean)paused);
}

void vmc_machine_on_event(VmcMachine *machine, VmcEventKind kind, unsigned run, const char *text,
                          const GError *error)
{
    bool current = machine->guest && run == machine->run;

    switch (kind) {
    case VMC_EVENT_LOG:
        g_signal_emit(machine, signals[SIGNAL_LOG], 0, text);
        break;
    case VMC_EVENT_ATTENTION:
        if (current)
            get_attention(machine, text);
        break;
    case VMC_EVENT_RESET:
        if (current)
            g_signal_emit(machine, signals[SIGNAL_GUEST_RESET], 0);
        break;
    case VMC_EVENT_POWER_OFF:
        if (current)
            end_run(machine, VMC_STOP_GUEST_POWER_OFF);
        break;
    case VMC_EVENT_FAILED:
        if (current)
            fail_run(machine, error);
        break;
    case VMC_EVENT_DEBUG:
        if (current)
            vmc_debug_on_event(machine);
        break;
    }
}

void vmc_machine_begin_run(VmcMachine *machine)
{
    machine->run++;
    machine->start_latency = 0;
    g_clear_pointer(&machine->cpu_stats, g_free);
    g_free(machine->cpu_reason);
    machine->backend = vmc_choose_cpu(machine->config->cpu, &machine->cpu_reason);
    machine->engine = VMC_ENGINE_DEFAULT;
}

static bool start_guest(VmcMachine *machine, uint64_t started_at, GError **error)
{
    VmcGuest *guest;

    vmc_machine_begin_run(machine);
    guest = vmc_guest_new(machine, started_at, error);
    if (!guest)
        return false;
    machine->engine = guest->backend->engine ? guest->backend->engine(guest->vm) : VMC_ENGINE_DEFAULT;
    vmc_machine_set_guest(machine, guest);
    return true;
}

bool vmc_machine_start(VmcMachine *machine, GError **error)
{
    uint64_t started_at = vmc_now_ns();
    VmcMachineState state = vmc_machine_get_state(machine);
    GError *failure = NULL;
    bool ok = true;

    if (state != VMC_MACHINE_ERROR &&
        !vmc_machine_check_state(machine, VMC_MACHINE_STOPPED,
                                 N_("The machine cannot start: it is %s, not %s"), error))
        return false;
    g_object_ref(machine);
    set_error(machine, NULL);
    if (!vmc_machine_set_state(machine, VMC_MACHINE_STARTING)) {
        ok = interrupted(_("The machine was stopped before it could start"), error);
    } else if (start_guest(machine, started_at, &failure)) {
        vmc_machine_set_state(machine, VMC_MACHINE_RUNNING);
    } else {
        set_error(machine, failure);
        vmc_machine_set_state(machine, VMC_MACHINE_ERROR);
        g_propagate_error(error, failure);
        ok = false;
    }
    g_object_unref(machine);
    return ok;
}

bool vmc_machine_pause(VmcMachine *machine, GError **error)
{
    bool ok = true;

    if (!vmc_machine_check_state(machine, VMC_MACHINE_RUNNING,
                                 N_("The machine cannot pause: it is %s, not %s"), error))
        return false;
    g_object_ref(machine);
    if (vmc_machine_set_state(machine, VMC_MACHINE_PAUSING)) {
        vmc_vcpus_hold(&machine->guest->vcpus);
        vmc_board_pause(machine->guest->board);
        vmc_machine_set_state(machine, VMC_MACHINE_PAUSED);
    } else {
        ok = interrupted(_("The machine was stopped before it could pause"), error);
    }
    g_object_unref(machine);
    return ok;
}

bool vmc_machine_resume(VmcMachine *machine, GError **error)
{
    bool ok = true;

    if (!vmc_machine_check_state(machine, VMC_MACHINE_PAUSED,
                                 N_("The machine cannot resume: it is %s, not %s"), error))
        return false;
    g_object_ref(machine);
    if (vmc_machine_set_state(machine, VMC_MACHINE_RESUMING)) {
        if (!vmc_vcpus_debug_held(&machine->guest->vcpus))
            vmc_board_resume(machine->guest->board);
        vmc_vcpus_release(&machine->guest->vcpus);
        vmc_machine_set_state(machine, VMC_MACHINE_RUNNING);
    } else {
        ok = interrupted(_("The machine was stopped before it could resume"), error);
    }
    g_object_unref(machine);
    return ok;
}

bool vmc_machine_request_stop(VmcMachine *machine, GError **error)
{
    if (!vmc_machine_check_state(machine, VMC_MACHINE_RUNNING,
                                 N_("The machine cannot be asked to stop: it is %s, not %s"), error))
        return false;
    vmc_board_power_button(machine->guest->board);
    return true;
}

bool vmc_machine_reset(VmcMachine *machine, GError **error)
{
    if (!vmc_machine_check_state(machine, VMC_MACHINE_RUNNING,
                                 N_("The machine cannot be reset: it is %s, not %s"), error))
        return false;
    vmc_vcpus_request_reset(&machine->guest->vcpus);
    return true;
}

void vmc_machine_stop(VmcMachine *machine)
{
    switch (vmc_machine_get_state(machine)) {
    case VMC_MACHINE_STOPPED:
    case VMC_MACHINE_STOPPING: /* called by a handler of that very change: it goes on after the handler */
        return;
    case VMC_MACHINE_ERROR: /* nothing runs any more */
        vmc_machine_set_state(machine, VMC_MACHINE_STOPPED);
        return;
    default:
        end_run(machine, VMC_STOP_REQUESTED);
    }
}

const GError *vmc_machine_get_error(VmcMachine *machine)
{
    return machine->error;
}

const char *vmc_machine_get_cpu_backend(VmcMachine *machine)
{
    return machine->backend ? machine->backend->name : NULL;
}

const char *vmc_machine_get_cpu_reason(VmcMachine *machine)
{
    return machine->cpu_reason;
}

const char *vmc_machine_get_cpu_engine(VmcMachine *machine)
{
    return vmc_cpu_engine_name(machine->engine);
}

const VmcCpuStats *vmc_machine_get_cpu_stats(VmcMachine *machine, unsigned *n)
{
    *n = machine->cpu_stats ? machine->config->cpus : 0;
    return machine->cpu_stats;
}

uint64_t vmc_machine_get_start_latency_ns(VmcMachine *machine)
{
    return machine->guest ? atomic_load(&machine->guest->vcpus.start_latency) : machine->start_latency;
}

VmcAgent *vmc_machine_get_agent(VmcMachine *machine)
{
    return machine->agent;
}

VmcDisplay *vmc_machine_get_display(VmcMachine *machine, unsigned n)
{
    return n < machine->n_displays ? machine->displays[n] : NULL;
}

static void vmc_machine_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    VmcMachine *machine = VMC_MACHINE(object);

    switch (id) {
    case PROP_STATE:
        g_value_set_int(value, (int)vmc_machine_get_state(machine));
        break;
    case PROP_ERROR:
        g_value_set_boxed(value, machine->error);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

/* Without signals: there is nobody left to hear them. */
static void vmc_machine_dispose(GObject *object)
{
    VmcMachine *machine = VMC_MACHINE(object);

    take_apart(machine);
    atomic_store(&machine->state, VMC_MACHINE_STOPPED);
    g_clear_pointer(&machine->mailbox, vmc_mailbox_close);
    G_OBJECT_CLASS(vmc_machine_parent_class)->dispose(object);
}

static void vmc_machine_finalize(GObject *object)
{
    VmcMachine *machine = VMC_MACHINE(object);

    for (unsigned i = 0; i < machine->n_displays; i++)
        vmc_display_free(machine->displays[i]);
    vmc_agent_free(machine->agent);
    vmc_config_free(machine->config);
    g_clear_error(&machine->error);
    g_free(machine->cpu_reason);
    g_free(machine->cpu_stats);
    g_clear_pointer(&machine->context, g_main_context_unref);
    g_mutex_clear(&machine->guest_lock);
    G_OBJECT_CLASS(vmc_machine_parent_class)->finalize(object);
}

static void vmc_machine_class_init(VmcMachineClass *class)
{
    GObjectClass *object_class = G_OBJECT_CLASS(class);

    object_class->get_property = vmc_machine_get_property;
    object_class->dispose = vmc_machine_dispose;
    object_class->finalize = vmc_machine_finalize;

    properties[PROP_STATE] =
        g_param_spec_int("state", NULL, NULL, VMC_MACHINE_STOPPED, VMC_MACHINE_ERROR, VMC_MACHINE_STOPPED,
                         G_PARAM_READABLE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
    properties[PROP_ERROR] =
        g_param_spec_boxed("error", NULL, NULL, G_TYPE_ERROR,
                           G_PARAM_READABLE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
    g_object_class_install_properties(object_class, N_PROPERTIES, properties);

    signals[SIGNAL_STATE_CHANGED] = g_signal_new("state-changed", VMC_TYPE_MACHINE, G_SIGNAL_RUN_LAST, 0,
                                                 NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_INT);
    signals[SIGNAL_STOPPED] = g_signal_new("stopped", VMC_TYPE_MACHINE, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                           NULL, G_TYPE_NONE, 1, G_TYPE_INT);
    signals[SIGNAL_LOG] = g_signal_new("log", VMC_TYPE_MACHINE, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                       G_TYPE_NONE, 1, G_TYPE_STRING);
    signals[SIGNAL_ATTENTION] = g_signal_new("attention", VMC_TYPE_MACHINE, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                             NULL, G_TYPE_NONE, 2, G_TYPE_STRING, G_TYPE_BOOLEAN);
    signals[SIGNAL_GUEST_RESET] =
        g_signal_new("guest-reset", VMC_TYPE_MACHINE, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void vmc_machine_init(VmcMachine *machine)
{
    machine->context = g_main_context_ref_thread_default();
    g_mutex_init(&machine->guest_lock);
}

static bool check_config(const VmcConfig *config, GError **error)
{
    g_autoptr(GPtrArray) faults = vmc_config_validate(config);
    const VmcFault *first;

    if (faults->len == 0)
        return true;
    first = g_ptr_array_index(faults, 0);
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, "%s: %s", first->field, first->message);
    return false;
}

/* They outlive guests: a window shows one of them across restarts. */
static void make_displays(VmcMachine *machine)
{
    for (guint i = 0; i < machine->config->devices->len && !machine->n_displays; i++) {
        const VmcDeviceConfig *device = g_ptr_array_index(machine->config->devices, i);

        if (device->kind == VMC_DEVICE_VIRTIO_GPU)
            machine->n_displays = device->display.displays;
        else if (device->kind == VMC_DEVICE_VGA)
            machine->n_displays = 1;
        for (unsigned n = 0; n < machine->n_displays; n++)
            machine->displays[n] = vmc_display_new(device->display.width, device->display.height);
    }
}

/* So does who talks to the guest's agent. */
static void make_agent(VmcMachine *machine)
{
    for (guint i = 0; i < machine->config->devices->len && !machine->agent; i++) {
        const VmcDeviceConfig *device = g_ptr_array_index(machine->config->devices, i);

        if (device->kind == VMC_DEVICE_SPICE_AGENT)
            machine->agent = vmc_agent_new(machine->context, device->agent.clipboard);
    }
}

VmcMachine *vmc_machine_new(const VmcConfig *config, GError **error)
{
    VmcMachine *machine;

    if (!check_config(config, error))
        return NULL;
    machine = g_object_new(VMC_TYPE_MACHINE, NULL);
    machine->config = vmc_config_copy(config);
    machine->mailbox = vmc_mailbox_new(machine, machine->context);
    make_displays(machine);
    make_agent(machine);
    return machine;
}
