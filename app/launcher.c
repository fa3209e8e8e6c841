/* Starts or reaches the process of a machine (see launcher.h). */
#include "app/launcher.h"

#include <glib/gi18n.h>
#include <string.h>
#include <unistd.h>

#include "app/control.h"

#define PROGRAM    "espalier"
#define PRESENT_MS 30000

static void on_child(gpointer data)
{
    setsid();
}

/* Our own file, if that is the program with windows, else the one beside it, else what the shell would find.
 * An upgrade may have replaced the file since we were started: the new one is as good. */
static char *find_program(GError **error)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    if (self && g_str_has_suffix(self, " (deleted)"))
        self[strlen(self) - strlen(" (deleted)")] = '\0';
    g_autofree char *folder = self ? g_path_get_dirname(self) : NULL;
    g_autofree char *beside = folder ? g_build_filename(folder, PROGRAM, NULL) : NULL;
    if (beside && g_file_test(beside, G_FILE_TEST_IS_EXECUTABLE))
        return g_steal_pointer(&beside);
    char *found = g_find_program_in_path(PROGRAM);
    if (!found)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    _("The program “%s”, which runs machines, is neither beside this one nor in PATH."),
                    PROGRAM);
    return found;
}

GSubprocess *esp_launch_machine(const char *bundle_path, EspLaunchFlags flags, const char *startup_id,
                                GError **error)
{
    g_autofree char *program = find_program(error);
    if (!program)
        return NULL;
    bool pipe = flags & ESP_LAUNCH_STDERR_PIPE;
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(
        pipe ? G_SUBPROCESS_FLAGS_STDERR_PIPE | G_SUBPROCESS_FLAGS_STDOUT_SILENCE : G_SUBPROCESS_FLAGS_NONE);
    g_subprocess_launcher_set_child_setup(launcher, on_child, NULL, NULL);
    if (startup_id && *startup_id) {
        g_subprocess_launcher_setenv(launcher, "DESKTOP_STARTUP_ID", startup_id, TRUE);
        g_subprocess_launcher_setenv(launcher, "XDG_ACTIVATION_TOKEN", startup_id, TRUE);
    }
    const char *no_window = flags & ESP_LAUNCH_NO_WINDOW ? "--no-window" : NULL;
    return g_subprocess_launcher_spawn(launcher, error, program, "--run", bundle_path, no_window, NULL);
}

/* --- Opening ------------------------------------------------------------------------------------ */

typedef struct Open {
    char *bundle, *display, *startup_id;
} Open;

static void open_free(gpointer data)
{
    Open *open = data;
    g_free(open->bundle);
    g_free(open->display);
    g_free(open->startup_id);
    g_free(open);
}

/* True: there is a process, and it did or refused (`error`) what was asked of it. */
static bool ask_process(const Open *open, GCancellable *cancellable, GError **error)
{
    g_autofree char *path = esp_control_path_of(open->bundle);
    g_autoptr(GDBusConnection) peer = path ? esp_control_connect(path, NULL) : NULL;
    g_autoptr(GError) failure = NULL;
    if (!peer)
        return false;
    g_autoptr(GVariant) reply =
        g_dbus_connection_call_sync(peer, NULL, ESP_CONTROL_PATH, ESP_CONTROL_INTERFACE, "Present",
                                    g_variant_new("(ss)", open->display, open->startup_id), NULL,
                                    G_DBUS_CALL_FLAGS_NONE, PRESENT_MS, cancellable, &failure);
    g_dbus_connection_close_sync(peer, NULL, NULL);
    if (reply)
        return true;
    /* One that is ending does not answer any more. */
    if (!g_dbus_error_is_remote_error(failure) && !g_error_matches(failure, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
        return false;
    g_dbus_error_strip_remote_error(failure);
    g_propagate_error(error, g_steal_pointer(&failure));
    return true;
}

static void open_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Open *open = data;
    GError *error = NULL;
    GSubprocess *process = NULL;
    if (!ask_process(open, cancellable, &error))
        process = esp_launch_machine(open->bundle, ESP_LAUNCH_DEFAULT, open->startup_id, &error);
    if (error)
        g_task_return_error(task, error);
    else
        g_task_return_pointer(task, process, g_object_unref);
}

void esp_open_machine(const char *bundle_path, const char *display, const char *startup_id,
                      GCancellable *cancellable, GAsyncReadyCallback callback, gpointer data)
{
    g_autoptr(GTask) task = g_task_new(NULL, cancellable, callback, data);
    Open *open = g_new0(Open, 1);
    open->bundle = g_strdup(bundle_path);
    open->display = g_strdup(display ? display : "");
    open->startup_id = g_strdup(startup_id ? startup_id : "");
    g_task_set_task_data(task, open, open_free);
    g_task_run_in_thread(task, open_thread);
}

bool esp_open_machine_finish(GAsyncResult *result, GSubprocess **process, GError **error)
{
    g_autoptr(GError) failure = NULL;
    *process = g_task_propagate_pointer(G_TASK(result), &failure);
    if (!failure)
        return true;
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}
