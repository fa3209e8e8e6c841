/* One machine of the user's (see vm_session.h). */
#include "app/vm_session.h"

#include <errno.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "app/control.h"
#include "app/cpu_figures.h"
#include "app/isolated.h"
#include "app/library.h"
#include "app/machine_log.h"
#include "app/version.h"

#define LOG_LINES_MAX 400u
#define SAVED_STATE   "saved-state"

struct _EspVmSession {
    GObject parent_instance;
    char *path;
    char *name;
    EspBundle *bundle;
    VmcMachine *machine;
    EspControl *control; /* from when the bundle is ours; or NULL */
    EspControlHost host;
    EspMachineLog *file;      /* the log on disk, as long */
    EspVmPresenter presenter; /* or NULL */
    gpointer presenter_data;
    EspSerialLines *serial;
    GError *error; /* ours: opening, validating, starting. The machine has its own */
    bool has_run;
    bool saved;  /* there is a saved state */
    bool misfit; /* it could not be brought back */
    VmcStopReason stop_reason;
    gint64 started_us;
    GQueue log;    /* of char * */
    bool isolated; /* since the last start */
};

enum { CHANGED, MACHINE_CHANGED, LOG, ATTENTION, N_SIGNALS };
static guint signals[N_SIGNALS];

G_DEFINE_TYPE(EspVmSession, esp_vm_session, G_TYPE_OBJECT)

static void changed(EspVmSession *session)
{
    if (session->control)
        esp_control_set_error(session->control, session->error);
    if (session->bundle)
        esp_bundle_announce(session->bundle, vmc_machine_state_name(esp_vm_session_get_state(session)));
    g_signal_emit(session, signals[CHANGED], 0);
}

static void add_log(EspVmSession *session, const char *line)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *time = g_date_time_format(now, "%H:%M:%S");
    g_autofree char *valid = g_utf8_make_valid(line, -1);
    g_queue_push_tail(&session->log, g_strdup_printf("%s  %s", time, valid));
    if (session->file)
        esp_machine_log_write(session->file, valid);
    while (session->log.length > LOG_LINES_MAX)
        g_free(g_queue_pop_head(&session->log));
    g_signal_emit(session, signals[LOG], 0, valid);
}

static void set_error(EspVmSession *session, GError *error)
{
    g_clear_error(&session->error);
    session->error = error;
    if (error)
        add_log(session, error->message);
    changed(session);
}

/* --- The machine's signals ---------------------------------------------------------------------- */

static void on_state(VmcMachine *machine, int state, EspVmSession *session)
{
    g_autofree char *line =
        g_strdup_printf(_("The machine is now: %s"), vmc_machine_state_text((VmcMachineState)state));
    add_log(session, line);
    changed(session);
}

static void on_stopped(VmcMachine *machine, int reason, EspVmSession *session)
{
    session->stop_reason = (VmcStopReason)reason;
    changed(session);
}

static void on_log(VmcMachine *machine, const char *line, EspVmSession *session)
{
    add_log(session, line);
}

static void on_attention(VmcMachine *machine, const char *why, gboolean paused, EspVmSession *session)
{
    add_log(session, why);
    g_signal_emit(session, signals[ATTENTION], 0, why);
}

static void on_reset(VmcMachine *machine, EspVmSession *session)
{
    add_log(session, _("The guest restarted."));
}

static void drop_machine(EspVmSession *session)
{
    if (!session->machine)
        return;
    VmcMachine *old = session->machine;
    g_signal_handlers_disconnect_by_data(old, session);
    if (session->control)
        esp_control_set_machine(session->control, NULL);
    session->machine = NULL;
    g_signal_emit(session, signals[MACHINE_CHANGED], 0);
    g_object_unref(old);
    g_clear_object(&session->serial);
}

/* --- For other processes ------------------------------------------------------------------------ */

static bool host_start(void *opaque, GError **error)
{
    EspVmSession *session = opaque;
    if (esp_vm_session_is_active(session)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_STATE, _("“%s” has been started already; it is %s."),
                    session->name, vmc_machine_state_text(esp_vm_session_get_state(session)));
        return false;
    }
    esp_vm_session_start(session);
    const GError *why = esp_vm_session_get_error(session);
    if (why)
        g_propagate_error(error, g_error_copy(why));
    return !why;
}

static bool host_present(void *opaque, const char *display, const char *token, GError **error)
{
    EspVmSession *session = opaque;
    if (session->presenter)
        return session->presenter(session, display, token, session->presenter_data, error);
    g_set_error(error, VMC_ERROR, VMC_ERROR_STATE, _("The process that runs “%s” cannot open windows."),
                session->name);
    return false;
}

static char *host_log(void *opaque)
{
    return esp_vm_session_get_log(opaque);
}

/* For the library and espalierctl. A machine without it is a machine all the same. */
static void offer_control(EspVmSession *session)
{
    g_autofree char *path = esp_control_path_of(session->path);
    g_autoptr(GError) error = NULL;

    session->host = (EspControlHost){
        .name = session->name, .start = host_start, .present = host_present, .log = host_log};
    session->control = path ? esp_control_new(path, &session->host, session, &error) : NULL;
    if (error)
        add_log(session, error->message);
}

static void look_for_saved(EspVmSession *session);

/* --- Reading the bundle ------------------------------------------------------------------------- */

/* The demo's kernel moves with the program: look again before each start. What the bundle says is good enough
 * as long as it is there. */
static bool refresh_demo(EspVmSession *session, GError **error)
{
    g_autoptr(GError) missing = NULL;
    g_autofree char *demo_dir = esp_library_find_demo(&missing);
    if (demo_dir)
        return esp_library_update_demo(session->path, demo_dir, error);
    VmcConfig *config = esp_bundle_get_config(session->bundle, error);
    if (!config)
        return false;
    bool there = config->boot.kernel && g_file_test(config->boot.kernel, G_FILE_TEST_EXISTS);
    vmc_config_free(config);
    if (!there)
        g_propagate_error(error, g_steal_pointer(&missing));
    return there;
}

static bool open_bundle(EspVmSession *session, GError **error)
{
    EspBundle *bundle = esp_bundle_open(session->path, error);
    if (!bundle || !esp_bundle_lock(bundle, error)) {
        esp_bundle_free(bundle);
        return false;
    }
    session->bundle = bundle;
    g_free(session->name);
    session->name = g_strdup(esp_bundle_get_name(bundle));
    look_for_saved(session);
    session->file = esp_machine_log_new(bundle);
    g_autofree char *line = g_strdup_printf(_("Process %d of Espalier %s."), (int)getpid(), ESP_VERSION);
    add_log(session, line);
    offer_control(session);
    return true;
}

/* What the file says now; the lock stays with the first handle. */
static VmcConfig *read_config(EspVmSession *session, GError **error)
{
    if (!session->bundle && !open_bundle(session, error))
        return NULL;
    if (!g_strcmp0(esp_bundle_get_origin(session->bundle), "demo") && !refresh_demo(session, error))
        return NULL;
    g_autoptr(EspBundle) fresh = esp_bundle_open(session->path, error);
    EspMachineInfo info = {0};
    if (!fresh || !esp_bundle_get_info(fresh, &info, error))
        return NULL;
    session->isolated = info.isolated;
    esp_machine_info_clear(&info);
    return esp_bundle_get_config(fresh, error);
}

/* All faults in one error: a user mends them in one go. */
static bool check_config(const VmcConfig *config, GError **error)
{
    g_autoptr(GPtrArray) faults = vmc_config_validate(config);
    if (!faults->len)
        return true;
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < faults->len; i++) {
        const VmcFault *fault = faults->pdata[i];
        g_string_append_printf(text, "%s%s: %s", i ? "\n" : "", fault->field, fault->message);
    }
    g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, "%s", text->str);
    g_string_free(text, TRUE);
    return false;
}

/* In the file as it is now. If it cannot be written, the machine runs all the same. */
static void keep_pci_slots(EspVmSession *session)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(EspBundle) fresh = esp_bundle_open(session->path, &error);

    if (fresh)
        esp_bundle_keep_pci_slots(fresh, vmc_machine_get_config(session->machine), &error);
    if (error)
        add_log(session, error->message);
}

/* A guest runs in the machine. */
static void on_started(EspVmSession *session)
{
    session->has_run = true;
    g_signal_emit(session, signals[MACHINE_CHANGED], 0);
    if (!session->isolated) /* it has fewer devices than its bundle */
        keep_pci_slots(session);
    const char *why = vmc_machine_get_cpu_reason(session->machine);
    g_autofree char *cpu = esp_cpu_name(session->machine);
    g_autofree char *line = g_strdup_printf(_("CPU: %s. %s"), cpu, why ? why : "");
    add_log(session, line);
}

/* --- A state that was saved --------------------------------------------------------------------- */

static void look_for_saved(EspVmSession *session)
{
    g_autofree char *path = session->bundle ? esp_bundle_file(session->bundle, SAVED_STATE) : NULL;
    session->saved = path && g_file_test(path, G_FILE_TEST_EXISTS);
}

static bool remove_saved(EspVmSession *session, GError **error)
{
    g_autofree char *path = esp_bundle_file(session->bundle, SAVED_STATE);
    bool gone = g_unlink(path) == 0 || errno == ENOENT;
    if (!gone)
        g_set_error(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FILE,
                    _("The saved state “%s” cannot be removed: %s"), path, g_strerror(errno));
    look_for_saved(session);
    return gone;
}

/* The state goes once the guest runs again, and not before. Should that fail, its disks have changed by the
 * next start, and vmcore refuses it then. */
static void on_restored(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(EspVmSession) session = data;
    VmcMachine *machine = VMC_MACHINE(source);
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) leftover = NULL;
    bool good = vmc_machine_restore_finish(machine, result, &error);
    if (machine != session->machine)
        return;
    if (good && vmc_machine_resume(machine, &error)) {
        on_started(session);
        if (!remove_saved(session, &leftover))
            add_log(session, leftover->message);
        changed(session);
    } else if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        changed(session); /* stopped by the user: the state is still there */
    } else {
        session->misfit = true;
        set_error(session, g_error_new(error->domain, error->code,
                                       _("Its saved state cannot be brought back: %s"), error->message));
    }
}

static void restore(EspVmSession *session)
{
    g_autofree char *path = esp_bundle_file(session->bundle, SAVED_STATE);
    add_log(session, _("Bringing the saved state back."));
    vmc_machine_restore(session->machine, path, NULL, on_restored, g_object_ref(session));
}

typedef struct Saving {
    VmcMachine *machine;
    bool was_running;
} Saving;

static void saving_free(gpointer data)
{
    Saving *saving = data;
    g_object_unref(saving->machine);
    g_free(saving);
}

static void on_saved(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    EspVmSession *session = g_task_get_source_object(task);
    Saving *saving = g_task_get_task_data(task);
    GError *error = NULL;
    bool good = vmc_machine_save_finish(saving->machine, result, &error);
    look_for_saved(session);
    if (good) {
        add_log(session, _("The state is saved."));
        vmc_machine_stop(saving->machine);
        g_task_return_boolean(task, TRUE);
        return;
    }
    if (saving->was_running && vmc_machine_get_state(saving->machine) == VMC_MACHINE_PAUSED)
        vmc_machine_resume(saving->machine, NULL);
    g_task_return_error(task, error);
}

void esp_vm_session_save(EspVmSession *session, GCancellable *cancellable, GAsyncReadyCallback callback,
                         gpointer data)
{
    g_autoptr(GTask) task = g_task_new(session, NULL, callback, data);
    VmcMachineState state = esp_vm_session_get_state(session);
    GError *error = NULL;
    if (state != VMC_MACHINE_RUNNING && state != VMC_MACHINE_PAUSED) {
        g_task_return_new_error(task, VMC_ERROR, VMC_ERROR_STATE, _("“%s” does not run; it is %s."),
                                session->name, vmc_machine_state_text(state));
        return;
    }
    if (state == VMC_MACHINE_RUNNING && !vmc_machine_pause(session->machine, &error)) {
        g_task_return_error(task, error);
        return;
    }
    Saving *saving = g_new0(Saving, 1);
    saving->machine = g_object_ref(session->machine);
    saving->was_running = state == VMC_MACHINE_RUNNING;
    g_task_set_task_data(task, saving, saving_free);
    g_autofree char *path = esp_bundle_file(session->bundle, SAVED_STATE);
    vmc_machine_save(session->machine, path, cancellable, on_saved, g_steal_pointer(&task));
}

bool esp_vm_session_save_finish(EspVmSession *session, GAsyncResult *result, GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}

bool esp_vm_session_has_saved(EspVmSession *session)
{
    return session->saved;
}

bool esp_vm_session_is_misfit(EspVmSession *session)
{
    return session->misfit;
}

bool esp_vm_session_discard_saved(EspVmSession *session, GError **error)
{
    if (!session->bundle || esp_vm_session_is_active(session)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_STATE,
                    _("The saved state of “%s” cannot be thrown away now."), session->name);
        return false;
    }
    if (!remove_saved(session, error))
        return false;
    session->misfit = false;
    g_clear_error(&session->error);
    changed(session);
    return true;
}

/* --- Starting ----------------------------------------------------------------------------------- */

static bool try_start(EspVmSession *session, GError **error)
{
    VmcConfig *config = read_config(session, error);
    if (!config)
        return false;
    bool ok = check_config(config, error);
    if (ok)
        drop_machine(session);
    if (ok && session->isolated)
        ok = esp_isolated_apply(config, session->path, error);
    esp_bundle_rotate_log(session->bundle, "console.log", ESP_LOG_FILE_MAX);
    esp_bundle_rotate_log(session->bundle, "serial.log", ESP_LOG_FILE_MAX);
    EspSerialLines *serial = ok ? esp_serial_lines_new(config, error) : NULL;
    VmcMachine *machine = serial ? vmc_machine_new(config, error) : NULL;
    vmc_config_free(config);
    if (!machine) {
        g_clear_object(&serial);
        return false;
    }

    session->machine = machine;
    session->serial = serial;
    g_signal_connect(machine, "state-changed", G_CALLBACK(on_state), session);
    g_signal_connect(machine, "stopped", G_CALLBACK(on_stopped), session);
    g_signal_connect(machine, "log", G_CALLBACK(on_log), session);
    g_signal_connect(machine, "guest-reset", G_CALLBACK(on_reset), session);
    g_signal_connect(machine, "attention", G_CALLBACK(on_attention), session);
    session->started_us = g_get_monotonic_time();
    if (session->control)
        esp_control_set_machine(session->control, machine);
    look_for_saved(session);
    if (session->saved) {
        restore(session);
        return true;
    }
    if (!vmc_machine_start(machine, error))
        return false;
    on_started(session);
    return true;
}

/* --- Public ------------------------------------------------------------------------------------- */

EspVmSession *esp_vm_session_new(const char *path)
{
    EspVmSession *session = g_object_new(ESP_TYPE_VM_SESSION, NULL);
    session->path = g_canonicalize_filename(path, NULL);
    g_autofree char *basename = g_path_get_basename(session->path);
    if (g_str_has_suffix(basename, ESP_BUNDLE_SUFFIX))
        basename[strlen(basename) - strlen(ESP_BUNDLE_SUFFIX)] = '\0';
    session->name = g_filename_display_name(basename);
    GError *error = NULL;
    if (!open_bundle(session, &error))
        set_error(session, error);
    else
        changed(session);
    return session;
}

const char *esp_vm_session_get_name(EspVmSession *session)
{
    return session->name;
}

const char *esp_vm_session_get_path(EspVmSession *session)
{
    return session->path;
}

EspBundle *esp_vm_session_get_bundle(EspVmSession *session)
{
    return session->bundle;
}

VmcMachine *esp_vm_session_get_machine(EspVmSession *session)
{
    return session->machine;
}

bool esp_vm_session_is_isolated(EspVmSession *session)
{
    return session->isolated;
}

EspSerialLines *esp_vm_session_get_serial(EspVmSession *session)
{
    return session->serial;
}

VmcMachineState esp_vm_session_get_state(EspVmSession *session)
{
    if (session->error)
        return VMC_MACHINE_ERROR;
    return session->machine ? vmc_machine_get_state(session->machine) : VMC_MACHINE_STOPPED;
}

const GError *esp_vm_session_get_error(EspVmSession *session)
{
    if (session->error)
        return session->error;
    return session->machine ? vmc_machine_get_error(session->machine) : NULL;
}

bool esp_vm_session_is_active(EspVmSession *session)
{
    VmcMachineState state = esp_vm_session_get_state(session);
    return state != VMC_MACHINE_STOPPED && state != VMC_MACHINE_ERROR;
}

VmcStopReason esp_vm_session_get_stop_reason(EspVmSession *session)
{
    return session->stop_reason;
}

bool esp_vm_session_has_run(EspVmSession *session)
{
    return session->has_run;
}

double esp_vm_session_get_uptime(EspVmSession *session)
{
    return esp_vm_session_is_active(session) ? (double)(g_get_monotonic_time() - session->started_us) / 1e6
                                             : 0.0;
}

void esp_vm_session_start(EspVmSession *session)
{
    if (esp_vm_session_is_active(session))
        return;
    GError *error = NULL;
    g_clear_error(&session->error);
    session->misfit = false;
    add_log(session, _("Starting."));
    if (!try_start(session, &error))
        set_error(session, error);
    else
        changed(session);
}

bool esp_vm_session_pause(EspVmSession *session, GError **error)
{
    return session->machine && vmc_machine_pause(session->machine, error);
}

bool esp_vm_session_resume(EspVmSession *session, GError **error)
{
    return session->machine && vmc_machine_resume(session->machine, error);
}

bool esp_vm_session_request_stop(EspVmSession *session, GError **error)
{
    return session->machine && vmc_machine_request_stop(session->machine, error);
}

bool esp_vm_session_reset(EspVmSession *session, GError **error)
{
    return session->machine && vmc_machine_reset(session->machine, error);
}

void esp_vm_session_stop(EspVmSession *session)
{
    if (session->machine && esp_vm_session_is_active(session))
        vmc_machine_stop(session->machine);
}

void esp_vm_session_set_presenter(EspVmSession *session, EspVmPresenter presenter, gpointer data)
{
    session->presenter = presenter;
    session->presenter_data = data;
}

void esp_vm_session_add_log(EspVmSession *session, const char *line)
{
    add_log(session, line);
}

void esp_vm_session_log_stderr(EspVmSession *session)
{
    if (session->file)
        esp_machine_log_take_stderr(session->file);
}

char *esp_vm_session_get_log(EspVmSession *session)
{
    GString *text = g_string_new(NULL);
    for (const GList *l = session->log.head; l; l = l->next)
        g_string_append_printf(text, "%s\n", (const char *)l->data);
    return g_string_free(text, FALSE);
}

static void describe_config(EspVmSession *session, GString *text)
{
    g_autoptr(EspBundle) bundle = esp_bundle_open(session->path, NULL);
    VmcConfig *config = bundle ? esp_bundle_get_config(bundle, NULL) : NULL;
    if (!config)
        return;
    g_string_append_printf(text, "CPUs: %u\nMemory: %" G_GUINT64_FORMAT " MiB\n", config->cpus,
                           config->memory >> 20);
    g_string_append_printf(text, "Kernel: %s\nInitial RAM disk: %s\nCommand line: %s\nDevices:",
                           config->boot.kernel ? config->boot.kernel : "none",
                           config->boot.initrd ? config->boot.initrd : "none",
                           config->boot.cmdline ? config->boot.cmdline : "");
    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = config->devices->pdata[i];
        g_string_append_printf(text, " %s", vmc_device_kind_name(device->kind));
        if (device->kind == VMC_DEVICE_VIRTIO_BLOCK || device->kind == VMC_DEVICE_NVME)
            g_string_append_printf(text, " (%s)", device->block.path ? device->block.path : "no path");
    }
    g_string_append_c(text, '\n');
    vmc_config_free(config);
}

char *esp_vm_session_describe(EspVmSession *session)
{
    /* For whoever helps, not for the eye: English, as programs print it. */
    GString *text = g_string_new(NULL);
    const GError *error = esp_vm_session_get_error(session);
    g_string_append_printf(text, "Machine: %s\nFolder: %s\nState: %s\n", session->name, session->path,
                           vmc_machine_state_name(esp_vm_session_get_state(session)));
    if (error)
        g_string_append_printf(text, "Error: %s\n       (%s, %d)\n", error->message,
                               g_quark_to_string(error->domain), error->code);
    if (session->machine && session->has_run) {
        g_autofree char *cpu = esp_cpu_name(session->machine);
        const char *why = vmc_machine_get_cpu_reason(session->machine);
        g_string_append_printf(text, "CPU: %s. %s\n", cpu, why ? why : "");
    }
    describe_config(session, text);
    struct utsname host;
    if (uname(&host) == 0)
        g_string_append_printf(text, "Host: %s %s %s\n", host.sysname, host.release, host.machine);
    g_autofree char *log = esp_vm_session_get_log(session);
    g_string_append_printf(text, "\nLog:\n%s", log);
    return g_string_free(text, FALSE);
}

static void esp_vm_session_dispose(GObject *object)
{
    EspVmSession *session = ESP_VM_SESSION(object);
    drop_machine(session);
    g_clear_pointer(&session->control, esp_control_free);
    g_clear_pointer(&session->file, esp_machine_log_free);
    g_clear_pointer(&session->bundle, esp_bundle_free);
    G_OBJECT_CLASS(esp_vm_session_parent_class)->dispose(object);
}

static void esp_vm_session_finalize(GObject *object)
{
    EspVmSession *session = ESP_VM_SESSION(object);
    g_free(session->path);
    g_free(session->name);
    g_clear_error(&session->error);
    g_queue_clear_full(&session->log, g_free);
    G_OBJECT_CLASS(esp_vm_session_parent_class)->finalize(object);
}

static void esp_vm_session_class_init(EspVmSessionClass *klass)
{
    G_OBJECT_CLASS(klass)->dispose = esp_vm_session_dispose;
    G_OBJECT_CLASS(klass)->finalize = esp_vm_session_finalize;
    const GType type = G_TYPE_FROM_CLASS(klass);
    signals[CHANGED] = g_signal_new("changed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
    signals[MACHINE_CHANGED] =
        g_signal_new("machine-changed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
    signals[ATTENTION] = g_signal_new("attention", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE,
                                      1, G_TYPE_STRING);
    signals[LOG] =
        g_signal_new("log", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 1, G_TYPE_STRING);
}

static void esp_vm_session_init(EspVmSession *session)
{
    g_queue_init(&session->log);
}
