/*
 * Taking a device away (see settings_remove.h).
 *
 * Only a disk image in the machine's own folder can go with its drive, into the trash, once the settings have
 * let go of it. What the settings forget comes back with Undo as it was.
 */
#include "ui/settings_remove.h"

#include <glib/gi18n.h>
#include <string.h>
#include <vmcore/disk.h>

#include "app/bundle.h"
#include "app/live.h"
#include "ui/settings_disk.h"
#include "ui/settings_window.h"

typedef struct Removal {
    EspSettingsModel *model;
    GtkWidget *window;
    VmcDeviceConfig *device;
    int index;
    bool trash;
} Removal;

static void removal_free(gpointer data)
{
    Removal *removal = data;

    g_clear_weak_pointer(&removal->window);
    g_object_unref(removal->model);
    esp_device_config_free(removal->device);
    g_free(removal);
}

static Removal *removal_new(GtkWidget *window, EspSettingsModel *model, const VmcDeviceConfig *device,
                            int index)
{
    Removal *removal = g_new0(Removal, 1);

    g_set_weak_pointer(&removal->window, window);
    removal->model = g_object_ref(model);
    removal->device = esp_device_config_copy(device);
    removal->index = index;
    return removal;
}

/* ---- undo ---- */

static bool insert(EspMachineSettings *machine, gpointer data, GError **error)
{
    const Removal *removal = data;

    esp_machine_settings_insert(machine, removal->device, removal->index);
    return true;
}

static void attach(const EspMachineSettings *before, gpointer data)
{
    const Removal *removal = data;

    if (esp_live_can_plug(removal->device->kind))
        esp_live_attach(before->path, removal->device, NULL);
}

static void on_inserted(const GError *error, gpointer owner)
{
    if (error)
        esp_settings_window_say(GTK_WIDGET(owner), error->message, NULL, NULL, NULL, NULL);
}

static void undo(gpointer data)
{
    const Removal *removal = data;
    EspSettingsChange change = {.change = insert, .live = attach, .free_data = removal_free};

    if (!removal->window)
        return;
    change.data = removal_new(removal->window, removal->model, removal->device, removal->index);
    esp_settings_model_change(removal->model, &change, on_inserted, G_OBJECT(removal->window));
}

/* ---- removing ---- */

static bool same_device(const VmcDeviceConfig *a, const VmcDeviceConfig *b)
{
    const VmcDeviceInfo *info = vmc_device_info(b->kind);

    if (!a || a->kind != b->kind)
        return false;
    for (unsigned i = 0; i < info->n_fields; i++)
        if (info->fields[i].type == VMC_FIELD_PATH &&
            g_strcmp0(*(char *const *)vmc_field_of(&info->fields[i], a),
                      *(char *const *)vmc_field_of(&info->fields[i], b)))
            return false;
    return true;
}

static bool take_out(EspMachineSettings *machine, gpointer data, GError **error)
{
    const Removal *removal = data;

    if (same_device(esp_machine_settings_device(machine, removal->index), removal->device))
        return esp_machine_settings_remove(machine, removal->index);
    g_set_error_literal(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_BUSY,
                        _("The machine was changed elsewhere meanwhile; please look again."));
    return false;
}

/* What cannot be pulled out now goes at the next start. */
static void detach(const EspMachineSettings *before, gpointer data)
{
    const Removal *removal = data;

    if (esp_live_can_plug(removal->device->kind))
        esp_live_detach(before->path, removal->device, NULL);
}

/* The layers of snapshots go with their disk. */
static bool trash_disk(const char *path, VmcDiskFormat format, GError **error)
{
    g_autoptr(GFile) file = g_file_new_for_path(path);
    g_autoptr(GPtrArray) layers = format == VMC_DISK_QCOW2 ? vmc_snapshots_list(path, NULL) : NULL;

    if (!g_file_trash(file, NULL, error))
        return false;
    for (guint i = 0; layers && i < layers->len; i++) {
        const VmcSnapshot *snapshot = g_ptr_array_index(layers, i);
        g_autoptr(GFile) layer = g_file_new_for_path(snapshot->path);
        g_file_trash(layer, NULL, NULL);
    }
    return true;
}

static void trash_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    const Removal *removal = data;
    GError *error = NULL;

    if (trash_disk(removal->device->block.path, removal->device->block.format, &error))
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

static void on_trashed(GObject *source, GAsyncResult *result, gpointer data)
{
    const Removal *removal = g_task_get_task_data(G_TASK(result));
    g_autoptr(GError) error = NULL;
    bool ok = g_task_propagate_boolean(G_TASK(result), &error);
    g_autofree char *shown = g_filename_display_basename(removal->device->block.path);
    g_autofree char *message =
        ok ? g_strdup_printf(_("“%s” is in the trash."), shown)
           : g_strdup_printf(_("The drive was removed, but its file stays: %s"), error->message);

    if (removal->window)
        esp_settings_window_say(removal->window, message, NULL, NULL, NULL, NULL);
}

/* A file that another drive has, too, stays. */
static bool is_used_by_another(EspSettingsModel *model, const char *path)
{
    const EspMachineSettings *machine = esp_settings_model_get(model);

    for (int i = 0; machine && esp_machine_settings_device(machine, i); i++) {
        const VmcDeviceConfig *device = esp_machine_settings_device(machine, i);
        if (esp_settings_is_disk(device->kind) && !g_strcmp0(device->block.path, path))
            return true;
    }
    return false;
}

static void trash(const Removal *removal)
{
    g_autoptr(GTask) task = g_task_new(removal->model, NULL, on_trashed, NULL);

    if (is_used_by_another(removal->model, removal->device->block.path))
        return;
    g_task_set_task_data(task, removal_new(removal->window, removal->model, removal->device, removal->index),
                         removal_free);
    g_task_run_in_thread(task, trash_thread);
}

/* `owner` is the window; what was removed hangs on it meanwhile. */
#define PENDING "esp-settings-removal"

static void on_removed(const GError *error, gpointer owner)
{
    Removal *removal = g_object_steal_data(G_OBJECT(owner), PENDING);

    if (error) {
        esp_settings_window_say(GTK_WIDGET(owner), error->message, NULL, NULL, NULL, NULL);
    } else if (removal->trash) {
        trash(removal);
    } else {
        g_autofree char *title = esp_device_title(removal->device);
        /* Translators: %s is a device, such as “Disk “disk.img””. */
        g_autofree char *message = g_strdup_printf(_("Removed: %s"), title);

        esp_settings_window_say(GTK_WIDGET(owner), message, _("_Undo"), G_CALLBACK(undo), removal,
                                removal_free);
        return;
    }
    removal_free(removal);
}

static void remove_now(Removal *removal)
{
    EspSettingsChange change = {.change = take_out, .live = detach, .free_data = removal_free};

    change.data = removal_new(removal->window, removal->model, removal->device, removal->index);
    g_object_set_data_full(G_OBJECT(removal->window), PENDING, removal, removal_free);
    esp_settings_model_change(removal->model, &change, on_removed, G_OBJECT(removal->window));
}

/* ---- asking ---- */

enum { KEEP_FILE = 1, TRASH_FILE };

static void on_answer(GtkDialog *dialog, int response, gpointer data)
{
    Removal *removal = data;
    bool go = removal->window && (response == KEEP_FILE || response == TRASH_FILE);

    removal->trash = response == TRASH_FILE;
    gtk_widget_destroy(GTK_WIDGET(dialog));
    if (go)
        remove_now(removal);
    else
        removal_free(removal);
}

static void ask(Removal *removal, const char *file)
{
    GtkWidget *dialog = gtk_message_dialog_new(
        GTK_WINDOW(removal->window), GTK_DIALOG_MODAL | GTK_DIALOG_DESTROY_WITH_PARENT, GTK_MESSAGE_QUESTION,
        GTK_BUTTONS_NONE, _("Remove the drive and keep its file?"));
    GtkWidget *button;

    gtk_message_dialog_format_secondary_text(
        GTK_MESSAGE_DIALOG(dialog),
        _("What the guest has written is in the file “%s”. If it is kept, it can be added again."), file);
    gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Cancel"), GTK_RESPONSE_CANCEL);
    button = gtk_dialog_add_button(GTK_DIALOG(dialog), _("Move File to _Trash"), TRASH_FILE);
    gtk_style_context_add_class(gtk_widget_get_style_context(button), GTK_STYLE_CLASS_DESTRUCTIVE_ACTION);
    gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Keep File"), KEEP_FILE);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), KEEP_FILE);
    g_signal_connect(dialog, "response", G_CALLBACK(on_answer), removal);
    gtk_widget_show(dialog);
}

void esp_settings_remove_device(GtkWidget *widget, EspSettingsModel *model, int index)
{
    const EspMachineSettings *machine = esp_settings_model_get(model);
    const VmcDeviceConfig *device = machine ? esp_machine_settings_device(machine, index) : NULL;
    Removal *removal;
    const char *path;
    size_t length;

    if (!device)
        return;
    removal = removal_new(gtk_widget_get_toplevel(widget), model, device, index);
    path = esp_settings_is_disk(device->kind) ? device->block.path : NULL;
    length = strlen(machine->path);
    if (path && !strncmp(path, machine->path, length) && path[length] == '/' &&
        !esp_settings_model_is_running(model)) {
        g_autofree char *file = g_filename_display_basename(path);
        ask(removal, file);
    } else {
        remove_now(removal);
    }
}
