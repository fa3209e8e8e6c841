/* Isolated machines in their window (see vm_isolated.h). */
#include "ui/vm_isolated.h"

#include <glib/gi18n.h>

#include "app/isolated.h"
#include "ui/vm_actions.h"

#define WAS_ACTIVE "esp-isolated-was-active"

static void throw_away_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    GError *error = NULL;

    if (esp_isolated_throw_away(data, &error))
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

static void on_thrown_away(GObject *source, GAsyncResult *result, gpointer data)
{
    EspVmWindow *window = ESP_VM_WINDOW(source);
    g_autoptr(GError) error = NULL;
    bool ok = g_task_propagate_boolean(G_TASK(result), &error);

    esp_toast_show(esp_vm_window_get_toast(window),
                   ok ? _("What changed in the isolated machine is gone.") : error->message, NULL, NULL, NULL,
                   NULL);
}

static void on_answer(GtkDialog *dialog, int response, EspVmWindow *window)
{
    EspVmSession *session = esp_vm_window_get_session(window);

    gtk_widget_destroy(GTK_WIDGET(dialog));
    if (response != GTK_RESPONSE_ACCEPT || esp_vm_session_is_active(session))
        return;
    g_autoptr(GTask) task = g_task_new(window, NULL, on_thrown_away, NULL);
    g_task_set_task_data(task, g_strdup(esp_vm_session_get_path(session)), g_free);
    g_task_run_in_thread(task, throw_away_thread);
}

static void ask(EspVmWindow *window)
{
    GtkWidget *dialog =
        gtk_message_dialog_new(GTK_WINDOW(window), GTK_DIALOG_MODAL | GTK_DIALOG_DESTROY_WITH_PARENT,
                               GTK_MESSAGE_QUESTION, GTK_BUTTONS_NONE, _("Throw away what changed?"));
    GtkWidget *button;

    gtk_message_dialog_format_secondary_text(GTK_MESSAGE_DIALOG(dialog),
                                             _("The machine ran isolated: nothing was written to its own "
                                               "disks. If you keep what changed, it goes on "
                                               "from there when it is started again."));
    gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Keep for Now"), GTK_RESPONSE_CANCEL);
    button = gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Throw Away"), GTK_RESPONSE_ACCEPT);
    gtk_style_context_add_class(gtk_widget_get_style_context(button), GTK_STYLE_CLASS_DESTRUCTIVE_ACTION);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), GTK_RESPONSE_CANCEL);
    g_signal_connect_object(dialog, "response", G_CALLBACK(on_answer), window, 0);
    gtk_widget_show(dialog);
}

static void on_changed(EspVmWindow *window)
{
    EspVmSession *session = esp_vm_window_get_session(window);
    bool active = esp_vm_session_is_active(session);
    bool was_active = g_object_get_data(G_OBJECT(window), WAS_ACTIVE) != NULL;

    g_object_set_data(G_OBJECT(window), WAS_ACTIVE, active ? window : NULL);
    if (was_active && !active && esp_vm_session_is_isolated(session) &&
        gtk_widget_get_visible(GTK_WIDGET(window)) &&
        esp_isolated_has_changes(esp_vm_session_get_path(session)))
        ask(window);
}

void esp_vm_isolated_watch(EspVmWindow *window)
{
    g_signal_connect_object(esp_vm_window_get_session(window), "changed", G_CALLBACK(on_changed), window,
                            G_CONNECT_SWAPPED);
}

char *esp_vm_isolated_title(EspVmSession *session, const char *words)
{
    if (!esp_vm_session_is_isolated(session))
        return g_strdup(words);
    /* Translators: in a window's title; %s is the machine's state, such as “Running”. */
    return g_strdup_printf(_("Isolated — %s"), words);
}
