/* Machines that the user brings along (see library_import.h). */
#include "ui/library_import.h"

#include <glib/gi18n.h>

#include "app/import.h"
#include "ui/message.h"

#define FILES_MAX 20u /* of one drop */

enum { RESPONSE_SAME = 1, RESPONSE_OTHER };

/* One import, from the look at the file to the end; `window` keeps the host there. */
typedef struct Import {
    GtkWindow *window;
    const EspMachineHost *host;
    char *path;
} Import;

static void import_free(gpointer data)
{
    Import *import = data;

    g_object_unref(import->window);
    g_free(import->path);
    g_free(import);
}

static Import *import_new(const EspMachineHost *host, const char *path)
{
    Import *import = g_new(Import, 1);

    *import = (Import){g_object_ref(host->window), host, g_strdup(path)};
    return import;
}

static bool is_open(const Import *import)
{
    return gtk_widget_get_visible(GTK_WIDGET(import->window));
}

static void on_finished(EspJob *job, const Import *import)
{
    const char *left_out = esp_import_get_left_out(job);

    if (!is_open(import) || esp_job_get_state(job) != ESP_JOB_SUCCEEDED)
        return;
    esp_library_rescan(import->host->library);
    if (left_out) {
        g_autofree char *text = g_strdup_printf(
            _("It pointed at files and folders of this computer, which a machine from elsewhere does "
              "not get by itself:\n\n%s\n\nAdd them again if you want it to have them."),
            left_out);
        esp_message_show(import->window, _("Some of the machine was left out"), text);
    }
}

static void begin(const Import *import, bool renew_identity)
{
    const EspImportOptions options = {.renew_identity = renew_identity};
    EspJob *job = esp_import_start(import->path, esp_library_get_dir(import->host->library), &options);

    g_signal_connect_data(job, "finished", G_CALLBACK(on_finished), import_new(import->host, import->path),
                          (GClosureNotify)(void (*)(void))import_free, 0);
    esp_job_list_add(import->host->jobs, job);
}

/* --- Asking -------------------------------------------------------------------------------------- */

static void on_answer(GtkDialog *dialog, int response, const Import *import)
{
    if (response == RESPONSE_SAME || response == RESPONSE_OTHER)
        begin(import, response == RESPONSE_OTHER);
    gtk_widget_destroy(GTK_WIDGET(dialog));
}

/* A machine that was somewhere else before: two of the same would be in each other's way. Takes it over. */
static void ask(Import *import)
{
    g_autofree char *name = g_filename_display_basename(import->path);
    g_autofree char *title = g_strdup_printf(_("Import “%s”?"), name);
    GtkWidget *dialog =
        gtk_message_dialog_new(import->window, GTK_DIALOG_MODAL | GTK_DIALOG_DESTROY_WITH_PARENT,
                               GTK_MESSAGE_QUESTION, GTK_BUTTONS_NONE, "%s", title);

    gtk_message_dialog_format_secondary_text(
        GTK_MESSAGE_DIALOG(dialog), "%s",
        _("If the machine it was made of is still used somewhere, let this be another one, with a network "
          "address of "
          "its own. What is imported is copied; the file stays as it is."));
    gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Cancel"), GTK_RESPONSE_CANCEL);
    gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Another Machine"), RESPONSE_OTHER);
    gtk_dialog_add_button(GTK_DIALOG(dialog), _("The _Same Machine"), RESPONSE_SAME);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), RESPONSE_SAME);
    g_signal_connect_data(dialog, "response", G_CALLBACK(on_answer), import,
                          (GClosureNotify)(void (*)(void))import_free, 0);
    gtk_widget_show(dialog);
}

static void look(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    GError *error = NULL;
    EspImportKind kind = esp_import_look(((Import *)data)->path, &error);

    if (kind == ESP_IMPORT_KINDS)
        g_task_return_error(task, error);
    else
        g_task_return_int(task, (gssize)kind);
}

static void on_looked(GObject *source, GAsyncResult *result, gpointer data)
{
    const Import *import = g_task_get_task_data(G_TASK(result));
    g_autoptr(GError) error = NULL;
    gssize kind = g_task_propagate_int(G_TASK(result), &error);

    if (!is_open(import))
        return;
    if (error)
        esp_message_show(import->window, _("This cannot be imported"), error->message);
    else if (kind == ESP_IMPORT_BUNDLE || kind == ESP_IMPORT_ARCHIVE)
        ask(import_new(import->host, import->path));
    else
        begin(import, false);
}

void esp_library_import(const EspMachineHost *host, const char *path)
{
    GTask *task = g_task_new(NULL, NULL, on_looked, NULL);

    g_task_set_task_data(task, import_new(host, path), import_free);
    g_task_run_in_thread(task, look);
    g_object_unref(task);
}

/* --- Choosing and dropping ------------------------------------------------------------------------ */

static void on_chosen(GtkNativeDialog *chooser, int response, const Import *import)
{
    g_autofree char *path =
        response == GTK_RESPONSE_ACCEPT ? gtk_file_chooser_get_filename(GTK_FILE_CHOOSER(chooser)) : NULL;

    if (path && is_open(import))
        esp_library_import(import->host, path);
    g_object_unref(chooser);
}

void esp_library_import_choose(const EspMachineHost *host)
{
    GtkFileChooserNative *chooser =
        gtk_file_chooser_native_new(_("Import a Virtual Machine, Disk Image or Disc"), host->window,
                                    GTK_FILE_CHOOSER_ACTION_OPEN, _("_Import"), NULL);

    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(chooser), TRUE);
    g_signal_connect_data(chooser, "response", G_CALLBACK(on_chosen), import_new(host, ""),
                          (GClosureNotify)(void (*)(void))import_free, 0);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(chooser));
}

static void on_dropped(GtkWidget *widget, GdkDragContext *context, int x, int y, GtkSelectionData *selection,
                       guint info, guint time, const EspMachineHost *host)
{
    g_auto(GStrv) uris = gtk_selection_data_get_uris(selection);
    bool taken = false;

    for (guint i = 0; uris && uris[i] && i < FILES_MAX; i++) {
        g_autofree char *path = g_filename_from_uri(uris[i], NULL, NULL);
        if (path)
            esp_library_import(host, path);
        taken = taken || path;
    }
    gtk_drag_finish(context, taken, FALSE, time);
    if (!taken)
        esp_message_show(
            host->window, _("This cannot be imported"),
            _("Drop files or folders of this computer: a virtual machine, a disk image or a disc."));
}

void esp_library_import_accept_drops(const EspMachineHost *host, GtkWidget *widget)
{
    gtk_drag_dest_set(widget, GTK_DEST_DEFAULT_ALL, NULL, 0, GDK_ACTION_COPY);
    gtk_drag_dest_add_uri_targets(widget);
    g_signal_connect(widget, "drag-data-received", G_CALLBACK(on_dropped), (gpointer)host);
}
