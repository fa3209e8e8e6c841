/* What can be done with a machine of the library (see machine_actions.h). */
#include "ui/machine_actions.h"

#include <glib/gi18n.h>

#include "app/control.h"
#include "app/duplicate.h"
#include "app/export.h"
#include "app/trash.h"
#include "ui/message.h"
#include "ui/name_dialog.h"
#include "ui/settings_window.h"
#include "ui/snapshots_window.h"
#include "ui/words.h"

#define CALL_MS 20000

/* One machine and the window it is in. */
typedef struct Machine {
    gatomicrefcount refs;
    GWeakRef window;
    EspMachineHost host; /* valid while there is a window */
    EspLibraryItem *item;
    GSimpleActionGroup *group; /* not owned: it owns us */
} Machine;

static Machine *machine_ref(Machine *machine)
{
    g_atomic_ref_count_inc(&machine->refs);
    return machine;
}

static void machine_unref(gpointer data)
{
    Machine *machine = data;

    if (!g_atomic_ref_count_dec(&machine->refs))
        return;
    g_weak_ref_clear(&machine->window);
    g_object_unref(machine->item);
    g_free(machine);
}

/* The host, if its window is still there and open. */
static const EspMachineHost *host_of(Machine *machine)
{
    g_autoptr(GObject) window = g_weak_ref_get(&machine->window);

    return window && !gtk_widget_in_destruction(GTK_WIDGET(window)) ? &machine->host : NULL;
}

static const char *path_of(Machine *machine)
{
    return esp_library_item_get_path(machine->item);
}

static const char *name_of(Machine *machine)
{
    return esp_library_item_get_name(machine->item);
}

/* --- On a thread ---------------------------------------------------------------------------------- */

typedef struct Call {
    Machine *machine;
    char *path, *text; /* text: a name, a method */
    bool (*work)(const char *path, const char *text, GError **error);
    void (*done)(Machine *machine);
    const char *title; /* with the machine's name for %s, if it fails */
} Call;

static void call_free(gpointer data)
{
    Call *call = data;

    machine_unref(call->machine);
    g_free(call->path);
    g_free(call->text);
    g_free(call);
}

static void do_call(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    const Call *call = data;
    GError *error = NULL;

    if (call->work(call->path, call->text, &error))
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

static void on_called(GObject *source, GAsyncResult *result, gpointer data)
{
    const Call *call = g_task_get_task_data(G_TASK(result));
    const EspMachineHost *host = host_of(call->machine);
    g_autoptr(GError) error = NULL;
    bool good = g_task_propagate_boolean(G_TASK(result), &error);

    if (!host)
        return;
    esp_library_rescan(host->library);
    if (good && call->done) {
        call->done(call->machine);
    } else if (!good) {
        g_autofree char *title = g_strdup_printf(call->title, name_of(call->machine));
        esp_message_show(host->window, title, error->message);
    }
}

static void call(Machine *machine, bool (*work)(const char *, const char *, GError **), const char *text,
                 void (*done)(Machine *machine), const char *title)
{
    GTask *task = g_task_new(NULL, NULL, on_called, NULL);
    Call *data = g_new(Call, 1);

    *data = (Call){machine_ref(machine), g_strdup(path_of(machine)), g_strdup(text), work, done, title};
    g_task_set_task_data(task, data, call_free);
    g_task_run_in_thread(task, do_call);
    g_object_unref(task);
}

/* --- Running machines ----------------------------------------------------------------------------- */

static bool call_remote(const char *path, const char *method, GError **error)
{
    g_autofree char *socket = esp_control_path_of(path);
    g_autoptr(GDBusConnection) peer = socket ? esp_control_connect(socket, error) : NULL;
    g_autoptr(GVariant) reply =
        peer ? g_dbus_connection_call_sync(peer, NULL, ESP_CONTROL_PATH, ESP_CONTROL_INTERFACE, method, NULL,
                                           NULL, G_DBUS_CALL_FLAGS_NONE, CALL_MS, NULL, error)
             : NULL;

    if (!reply && error && *error)
        g_dbus_error_strip_remote_error(*error);
    if (!reply && error && !*error)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, _("Its process cannot be reached."));
    return reply != NULL;
}

static void on_open(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    Machine *machine = data;
    const EspMachineHost *host = host_of(machine);

    if (!host)
        return;
    if (esp_library_item_get_crashed(machine->item)) /* from there it can be started again */
        esp_machine_opener_show_crash(host->opener, path_of(machine));
    else
        esp_machine_opener_open(host->opener, GTK_WIDGET(host->window), path_of(machine), name_of(machine));
}

static void on_pause(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    Machine *machine = data;
    bool paused = esp_state_from_name(esp_library_item_get_state(machine->item)) == VMC_MACHINE_PAUSED;

    call(machine, call_remote, paused ? "Resume" : "Pause", NULL,
         paused ? _("“%s” cannot go on") : _("“%s” cannot be paused"));
}

static void on_shut_down(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    call(data, call_remote, "RequestStop", NULL, _("“%s” cannot be shut down"));
}

/* --- Its name ------------------------------------------------------------------------------------- */

static bool rename_machine(const char *path, const char *name, GError **error)
{
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, error);

    return bundle && esp_bundle_set_name(bundle, name, error) && esp_bundle_save(bundle, error);
}

static void on_name(EspNameDialog *dialog, int response, Machine *machine)
{
    if (response == GTK_RESPONSE_ACCEPT)
        call(machine, rename_machine, esp_name_dialog_get_name(dialog), NULL, _("“%s” cannot be renamed"));
    gtk_widget_destroy(GTK_WIDGET(dialog));
}

static void on_rename(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    const EspMachineHost *host = host_of(data);
    GtkWidget *dialog = host ? esp_name_dialog_new_rename(host->window, name_of(data)) : NULL;

    if (!dialog)
        return;
    g_signal_connect_data(dialog, "response", G_CALLBACK(on_name), machine_ref(data),
                          (GClosureNotify)(void (*)(void))machine_unref, 0);
    gtk_widget_show(dialog);
}

static void on_settings(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    const EspMachineHost *host = host_of(data);

    if (host)
        gtk_window_present(GTK_WINDOW(esp_settings_window_new(host->window, path_of(data))));
}

/* --- Duplicates ----------------------------------------------------------------------------------- */

static void on_duplicate_answer(EspNameDialog *dialog, int response, Machine *machine)
{
    const EspMachineHost *host = host_of(machine);
    const EspDuplicateOptions options = {.name = esp_name_dialog_get_name(dialog),
                                         .linked = esp_name_dialog_get_linked(dialog),
                                         .saved_state = esp_name_dialog_get_saved_state(dialog)};

    if (response == GTK_RESPONSE_ACCEPT && host)
        esp_job_list_add(host->jobs, esp_duplicate_start(path_of(machine), &options));
    gtk_widget_destroy(GTK_WIDGET(dialog));
}

static void on_duplicate(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    Machine *machine = data;
    const EspMachineHost *host = host_of(machine);
    g_autofree char *parent = g_path_get_dirname(path_of(machine));
    g_autofree char *suggestion = esp_duplicate_name(parent, name_of(machine));
    g_autofree char *saved = g_build_filename(path_of(machine), ESP_BUNDLE_SAVED_STATE, NULL);
    g_autoptr(GError) why_not = NULL;
    g_autoptr(EspBundle) bundle = esp_bundle_open(path_of(machine), NULL);

    if (!host || !bundle)
        return;
    esp_duplicate_can_link(bundle, &why_not);
    GtkWidget *dialog = esp_name_dialog_new_duplicate(host->window, name_of(machine), suggestion,
                                                      why_not ? why_not->message : NULL,
                                                      g_file_test(saved, G_FILE_TEST_EXISTS));
    g_signal_connect_data(dialog, "response", G_CALLBACK(on_duplicate_answer), machine_ref(machine),
                          (GClosureNotify)(void (*)(void))machine_unref, 0);
    gtk_widget_show(dialog);
}

/* --- Snapshots, export, files --------------------------------------------------------------------- */

static void on_snapshots(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    Machine *machine = data;
    const EspMachineHost *host = host_of(machine);

    if (host)
        gtk_widget_show(esp_snapshots_window_new(host->window, machine->item));
}

static void on_export_answer(GtkNativeDialog *chooser, int response, Machine *machine)
{
    const EspExportOptions options = {.replace = true}; /* the chooser has asked */
    const EspMachineHost *host = host_of(machine);
    g_autofree char *file =
        response == GTK_RESPONSE_ACCEPT ? gtk_file_chooser_get_filename(GTK_FILE_CHOOSER(chooser)) : NULL;

    if (file && host)
        esp_job_list_add(host->jobs, esp_export_start(path_of(machine), file, &options));
    g_object_unref(chooser);
}

static void on_export(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    Machine *machine = data;
    const EspMachineHost *host = host_of(machine);
    g_autofree char *title = g_strdup_printf(_("Export “%s”"), name_of(machine));
    g_autofree char *safe = g_strdelimit(g_strdup(name_of(machine)), "/", '_');
    g_autofree char *name = g_strconcat(safe, ESP_EXPORT_SUFFIX, NULL);

    if (!host)
        return;
    GtkFileChooserNative *chooser =
        gtk_file_chooser_native_new(title, host->window, GTK_FILE_CHOOSER_ACTION_SAVE, _("_Export"), NULL);
    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(chooser), TRUE);
    gtk_file_chooser_set_do_overwrite_confirmation(GTK_FILE_CHOOSER(chooser), TRUE);
    gtk_file_chooser_set_current_name(GTK_FILE_CHOOSER(chooser), name);
    g_signal_connect_data(chooser, "response", G_CALLBACK(on_export_answer), machine_ref(machine),
                          (GClosureNotify)(void (*)(void))machine_unref, 0);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(chooser));
}

static void on_show_files(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    const EspMachineHost *host = host_of(data);
    g_autoptr(GError) error = NULL;
    g_autofree char *uri = g_filename_to_uri(path_of(data), NULL, &error);

    if (host && (!uri || !gtk_show_uri_on_window(host->window, uri, gtk_get_current_event_time(), &error)))
        esp_message_show(host->window, _("The folder cannot be shown"), error->message);
}

/* --- The trash ------------------------------------------------------------------------------------ */

static bool trash(const char *path, const char *text, GError **error)
{
    return esp_machine_trash(path, error);
}

static bool untrash(const char *path, const char *text, GError **error)
{
    return esp_machine_untrash(path, error);
}

static void on_undo(gpointer data)
{
    call(data, untrash, NULL, NULL, _("“%s” cannot be brought back"));
}

static void on_trashed(Machine *machine)
{
    const EspMachineHost *host = host_of(machine);
    g_autofree char *message = g_strdup_printf(_("“%s” was moved to the trash."), name_of(machine));

    if (host)
        esp_toast_show(host->toast, message, _("_Undo"), G_CALLBACK(on_undo), machine_ref(machine),
                       machine_unref);
}

/* It can be undone, so it is not asked. */
static void on_trash(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    call(data, trash, NULL, on_trashed, _("“%s” was not moved to the trash"));
}

/* --- When ----------------------------------------------------------------------------------------- */

static const GActionEntry entries[] = {
    {.name = "open", .activate = on_open},           {.name = "pause", .activate = on_pause},
    {.name = "shut-down", .activate = on_shut_down}, {.name = "rename", .activate = on_rename},
    {.name = "duplicate", .activate = on_duplicate}, {.name = "snapshots", .activate = on_snapshots},
    {.name = "export", .activate = on_export},       {.name = "show-files", .activate = on_show_files},
    {.name = "trash", .activate = on_trash},         {.name = "settings", .activate = on_settings},
};

static void enable(Machine *machine, const char *name, bool on)
{
    GAction *action = g_action_map_lookup_action(G_ACTION_MAP(machine->group), name);

    g_simple_action_set_enabled(G_SIMPLE_ACTION(action), on);
}

static void update(Machine *machine)
{
    const char *state_name = esp_library_item_get_state(machine->item);
    VmcMachineState state = esp_state_from_name(state_name);
    bool runs = state == VMC_MACHINE_RUNNING, held = !g_strcmp0(state_name, ESP_BUNDLE_STATE_HELD);

    enable(machine, "open", !held);
    enable(machine, "pause", runs || state == VMC_MACHINE_PAUSED);
    enable(machine, "shut-down", runs);
    enable(machine, "duplicate", !state_name);
    enable(machine, "snapshots", !held);
    enable(machine, "export", !state_name);
    enable(machine, "trash", !state_name);
}

static void on_item_changed(EspLibraryItem *item, GParamSpec *pspec, GSimpleActionGroup *group)
{
    update(g_object_get_data(G_OBJECT(group), "machine"));
}

GMenuModel *esp_machine_actions_menu(EspLibraryItem *item)
{
    const char *state_name = esp_library_item_get_state(item);
    VmcMachineState state = esp_state_from_name(state_name);
    bool on = state != VMC_MACHINE_STOPPED, crashed = esp_library_item_get_crashed(item);
    GMenu *menu = g_menu_new(), *sections[4];

    for (size_t i = 0; i < G_N_ELEMENTS(sections); i++) {
        sections[i] = g_menu_new();
        g_menu_append_section(menu, NULL, G_MENU_MODEL(sections[i]));
        g_object_unref(sections[i]);
    }
    g_menu_append(sections[0],
                  on        ? _("_Show")
                  : crashed ? _("_See What Happened")
                            : _("_Start"),
                  "machine.open");
    if (on) {
        g_menu_append(sections[0], state == VMC_MACHINE_PAUSED ? _("_Resume") : _("_Pause"), "machine.pause");
        g_menu_append(sections[0], _("Shut _Down"), "machine.shut-down");
    }
    g_menu_append(sections[1], _("S_ettings"), "machine.settings");
    g_menu_append(sections[1], _("_Rename…"), "machine.rename");
    g_menu_append(sections[1], _("D_uplicate…"), "machine.duplicate");
    g_menu_append(sections[1], _("S_napshots…"), "machine.snapshots");
    g_menu_append(sections[2], _("_Export…"), "machine.export");
    g_menu_append(sections[2], _("Show in _Files"), "machine.show-files");
    g_menu_append(sections[3], _("Move to _Trash"), "machine.trash");
    return G_MENU_MODEL(menu);
}

GActionGroup *esp_machine_actions_new(const EspMachineHost *host, EspLibraryItem *item)
{
    Machine *machine = g_new0(Machine, 1);

    g_atomic_ref_count_init(&machine->refs);
    g_weak_ref_init(&machine->window, host->window);
    machine->host = *host;
    machine->item = g_object_ref(item);
    machine->group = g_simple_action_group_new();
    g_object_set_data_full(G_OBJECT(machine->group), "machine", machine, machine_unref);
    g_action_map_add_action_entries(G_ACTION_MAP(machine->group), entries, G_N_ELEMENTS(entries), machine);
    g_signal_connect_object(item, "notify::state", G_CALLBACK(on_item_changed), machine->group, 0);
    update(machine);
    return G_ACTION_GROUP(machine->group);
}
