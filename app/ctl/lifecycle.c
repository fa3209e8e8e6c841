/*
 * On, off, and kept: what is done with a whole machine.
 *
 * A machine of the library runs in a process of its own, which start begins and leaves running. It has come
 * up when its control socket says that the machine runs; if the process ends before that, what it said on
 * standard error is why.
 */
#include <glib/gi18n.h>
#include <stdio.h>
#include <string.h>

#include "app/bundle.h"
#include "app/ctl/commands.h"
#include "app/ctl/run.h"
#include "app/ctl/target.h"
#include "app/machine_snapshots.h"
#include "app/launcher.h"

#define LOOK_EVERY_MS 50
#define SAVE_MS       G_MAXINT

/* ---- start ---- */

typedef struct Start {
    GMainLoop *loop;
    EspTarget *target;
    GSubprocess *process;
    bool window;
    bool ended; /* the process, before the machine ran */
    GError *error;
} Start;

static bool has_come_up(EspMachine1 *machine)
{
    const char *state = esp_machine1_get_state(machine);

    return strcmp(state, vmc_machine_state_name(VMC_MACHINE_RUNNING)) == 0 ||
           strcmp(state, vmc_machine_state_name(VMC_MACHINE_PAUSED)) == 0;
}

static gboolean look(gpointer data)
{
    Start *start = data;

    if (!esp_target_connect(start->target))
        return G_SOURCE_CONTINUE;
    const char *error = esp_machine1_get_error(start->target->machine);
    if (has_come_up(start->target->machine)) {
        g_main_loop_quit(start->loop);
    } else if (error && *error && start->window) { /* without one the process ends, and says why */
        start->error = g_error_new_literal(VMC_ERROR, VMC_ERROR_STATE, error);
        g_main_loop_quit(start->loop);
    }
    return G_SOURCE_CONTINUE;
}

/* Its last words, without the name of the program before them. */
static GError *last_words(GSubprocess *process)
{
    GInputStream *pipe = g_subprocess_get_stderr_pipe(process);
    char text[4096] = "";
    gsize got = 0;

    g_input_stream_read_all(pipe, text, sizeof(text) - 1, &got, NULL, NULL);
    text[got] = '\0';
    g_autofree char *valid = g_utf8_make_valid(g_strstrip(text), -1);
    char *line = g_strrstr(valid, "espalier: ");
    const char *said = line ? line + strlen("espalier: ") : valid;
    return g_error_new_literal(VMC_ERROR, VMC_ERROR_STATE,
                               *said ? said : _("the machine's process ended without a word; see its log"));
}

static void on_ended(GObject *source, GAsyncResult *result, gpointer data)
{
    Start *start = data;

    g_subprocess_wait_finish(G_SUBPROCESS(source), result, NULL);
    start->ended = true;
    g_main_loop_quit(start->loop);
}

static bool launch(EspTarget *target, bool window, GError **error)
{
    EspLaunchFlags flags = ESP_LAUNCH_STDERR_PIPE | (window ? 0 : ESP_LAUNCH_NO_WINDOW);
    Start start = {.target = target, .window = window};
    g_autoptr(GCancellable) cancel = g_cancellable_new();

    start.process = esp_launch_machine(target->bundle, flags, NULL, error);
    if (!start.process)
        return false;
    start.loop = g_main_loop_new(NULL, FALSE);
    guint timer = g_timeout_add(LOOK_EVERY_MS, look, &start);
    g_subprocess_wait_async(start.process, cancel, on_ended, &start);
    g_main_loop_run(start.loop);
    g_source_remove(timer);
    if (!start.ended) { /* nobody is to write into `start` later */
        GError *why = g_steal_pointer(&start.error);
        g_cancellable_cancel(cancel);
        while (!start.ended)
            g_main_context_iteration(NULL, TRUE);
        start.error = why;
    } else if (!g_subprocess_get_successful(start.process)) {
        start.error = last_words(start.process);
    }
    g_object_unref(start.process);
    g_main_loop_unref(start.loop);
    if (start.error)
        g_propagate_error(error, start.error);
    return !start.error;
}

/* A process that shows a machine that is off, or one that is on. */
static bool start_in_process(EspTarget *target, bool window, GError **error)
{
    if (window && !esp_machine1_call_present_sync(target->machine, "", "", NULL, error))
        return false;
    return esp_machine1_call_start_sync(target->machine, NULL, error);
}

int esp_ctl_start(int argc, char **argv)
{
    static const EspCommand command = {"start", N_("MACHINE"),
                                       N_("Starts a machine of the library, or goes on where it was saved. "
                                          "Its process does not end with this\n"
                                          "terminal; the library can show its window at any time."),
                                       1, 1};
    gboolean window = FALSE, no_window = FALSE;
    const GOptionEntry entries[] = {{"window", 0, 0, G_OPTION_ARG_NONE, &window, N_("With its window"), NULL},
                                    {"no-window", 0, 0, G_OPTION_ARG_NONE, &no_window,
                                     N_("Without one, which is how it is without either"), NULL},
                                    {0}};
    GError *error = NULL;
    EspTarget target;
    int status;
    g_auto(GStrv) words = esp_command_words(&command, entries, argc, argv, &status);

    if (!words)
        return status;
    if (window && no_window) {
        esp_ctl_say(_("start: give --window or --no-window, not both"));
        return ESP_EXIT_USAGE;
    }
    if (!esp_target_open(&target, words[1]))
        return ESP_EXIT_USAGE;
    bool good = target.machine ? start_in_process(&target, window, &error) : launch(&target, window, &error);
    esp_target_clear(&target);
    return esp_target_status(good, error);
}

/* ---- stop ---- */

typedef struct Wait {
    GMainLoop *loop;
    bool stopped;
} Wait;

static gboolean on_time_over(gpointer data)
{
    g_main_loop_quit(((Wait *)data)->loop);
    return G_SOURCE_REMOVE;
}

static void on_gone(GDBusConnection *peer, gboolean remote, GError *error, Wait *wait)
{
    wait->stopped = true;
    g_main_loop_quit(wait->loop);
}

static void on_state(EspMachine1 *machine, GParamSpec *pspec, Wait *wait)
{
    wait->stopped =
        g_strcmp0(esp_machine1_get_state(machine), vmc_machine_state_name(VMC_MACHINE_STOPPED)) == 0;
    if (wait->stopped)
        g_main_loop_quit(wait->loop);
}

/* False: it has not stopped in that time. */
static bool wait_until_off(EspTarget *target, int seconds)
{
    Wait wait = {.loop = g_main_loop_new(NULL, FALSE)};
    guint timer = g_timeout_add_seconds((guint)seconds, on_time_over, &wait);

    g_signal_connect(target->peer, "closed", G_CALLBACK(on_gone), &wait);
    g_signal_connect(target->machine, "notify::state", G_CALLBACK(on_state), &wait);
    on_state(target->machine, NULL, &wait);
    wait.stopped = wait.stopped || g_dbus_connection_is_closed(target->peer); /* before we listened */
    if (!wait.stopped)
        g_main_loop_run(wait.loop);
    g_signal_handlers_disconnect_by_data(target->peer, &wait);
    g_signal_handlers_disconnect_by_data(target->machine, &wait);
    if (wait.stopped)
        g_source_remove(timer);
    g_main_loop_unref(wait.loop);
    return wait.stopped;
}

int esp_ctl_stop(int argc, char **argv)
{
    static const EspCommand command = {
        "stop", N_("MACHINE"),
        N_("Presses the power button of a running machine, which the guest may ignore."), 1, 1};
    gboolean force = FALSE;
    int seconds = 0;
    const GOptionEntry entries[] = {
        {"force", 0, 0, G_OPTION_ARG_NONE, &force, N_("Pull the plug: what the guest has not saved is lost"),
         NULL},
        {"wait", 0, 0, G_OPTION_ARG_INT, &seconds, N_("Wait that long until it is off"), N_("SECONDS")},
        {0}};
    GError *error = NULL;
    EspTarget target;
    int status;
    g_auto(GStrv) words = esp_command_on_running(&target, &command, entries, argc, argv, &status);

    if (!words)
        return status;
    bool good = force ? esp_machine1_call_stop_sync(target.machine, NULL, &error)
                      : esp_machine1_call_request_stop_sync(target.machine, NULL, &error);
    if (good && seconds > 0 && !wait_until_off(&target, seconds)) {
        error = g_error_new(VMC_ERROR, VMC_ERROR_STATE,
                            ngettext("“%s” has not stopped in %d second",
                                     "“%s” has not stopped in %d seconds", (gulong)seconds),
                            words[1], seconds);
        good = false;
    }
    esp_target_clear(&target);
    return esp_target_status(good, error);
}

/* ---- pause, resume, reset ---- */

typedef gboolean (*Simple)(EspMachine1 *machine, GCancellable *cancellable, GError **error);

static int simple(const EspCommand *command, Simple call, int argc, char **argv)
{
    GError *error = NULL;
    EspTarget target;
    int status;
    g_auto(GStrv) words = esp_command_on_running(&target, command, NULL, argc, argv, &status);

    if (!words)
        return status;
    bool good = call(target.machine, NULL, &error);
    esp_target_clear(&target);
    return esp_target_status(good, error);
}

int esp_ctl_pause(int argc, char **argv)
{
    static const EspCommand command = {"pause", N_("MACHINE"), N_("Holds a running machine."), 1, 1};

    return simple(&command, esp_machine1_call_pause_sync, argc, argv);
}

int esp_ctl_resume(int argc, char **argv)
{
    static const EspCommand command = {"resume", N_("MACHINE"), N_("Lets a paused machine go on."), 1, 1};

    return simple(&command, esp_machine1_call_resume_sync, argc, argv);
}

int esp_ctl_reset(int argc, char **argv)
{
    static const EspCommand command = {
        "reset", N_("MACHINE"),
        N_("Presses the reset button of a running machine: what the guest has not saved is lost."), 1, 1};

    return simple(&command, esp_machine1_call_reset_sync, argc, argv);
}

/* ---- snapshot, save ---- */

int esp_ctl_snapshot(int argc, char **argv)
{
    static const EspCommand command = {"snapshot", N_("MACHINE NAME"),
                                       N_("Keeps a machine as it is at this moment, whether it runs or not: "
                                          "its disks, which have to be qcow2\n"
                                          "images, its firmware’s variables and its configuration. Of one "
                                          "given by its socket only the disks."),
                                       2, 2};
    GError *error = NULL;
    EspTarget target;
    int status;
    g_auto(GStrv) words = esp_command_on(&target, &command, NULL, argc, argv, &status);

    if (!words)
        return status;
    bool good = target.bundle ? esp_machine_snapshot_take(target.bundle, words[2], &error)
                              : esp_machine1_call_snapshot_sync(target.machine, words[2], NULL, &error);
    esp_target_clear(&target);
    return esp_target_status(good, error);
}

int esp_ctl_save(int argc, char **argv)
{
    static const EspCommand command = {"save", N_("MACHINE [FILE]"),
                                       N_("Saves a running machine and stops it: the next start goes on "
                                          "there. With a file the machine knows nothing\n"
                                          "of it; espalierctl run ... --restore FILE brings it back as it "
                                          "was, as long as its disks are as they were."),
                                       1, 2};
    gboolean keep = FALSE;
    const GOptionEntry entries[] = {
        {"keep-running", 0, 0, G_OPTION_ARG_NONE, &keep, N_("Let it go on after it was saved"), NULL}, {0}};
    GError *error = NULL;
    EspTarget target;
    int status;
    g_auto(GStrv) words = esp_command_on_running(&target, &command, entries, argc, argv, &status);

    if (!words)
        return status;
    if (!words[2] && (keep || !target.bundle)) {
        if (keep)
            esp_ctl_say(
                _("save: give a FILE, for a machine that goes on cannot start from where it was saved"));
        else
            esp_ctl_say(_("save: give a FILE, for “%s” is not in the library"), words[1]);
        esp_target_clear(&target);
        return ESP_EXIT_USAGE;
    }
    g_autofree char *path = words[2] ? g_canonicalize_filename(words[2], NULL)
                                     : g_build_filename(target.bundle, ESP_BUNDLE_SAVED_STATE, NULL);
    g_dbus_proxy_set_default_timeout(G_DBUS_PROXY(target.machine), SAVE_MS);
    bool good = esp_machine1_call_save_sync(target.machine, path, keep, NULL, &error);
    esp_target_clear(&target);
    return esp_target_status(good, error);
}
