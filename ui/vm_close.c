/* Closing the window of a machine that runs (see vm_close.h). */
#include "ui/vm_close.h"

#include <glib/gi18n.h>

#include "ui/close_dialog.h"
#include "ui/vm_actions.h"

struct EspVmClose {
    EspVmWindow *window;
    gulong changed_id;
    bool when_off; /* the window closes as soon as the machine is off */
};

static EspVmSession *session_of(EspVmClose *close)
{
    return esp_vm_window_get_session(close->window);
}

/* ---- what is remembered ---- */

static EspCloseAction remembered(EspVmClose *close)
{
    g_autoptr(EspBundle) bundle = esp_bundle_open(esp_vm_session_get_path(session_of(close)), NULL);
    EspMachineInfo info = {0};
    EspCloseAction action = ESP_CLOSE_ASK;

    if (bundle && esp_bundle_get_info(bundle, &info, NULL))
        action = info.on_close;
    esp_machine_info_clear(&info);
    return action;
}

typedef struct Memory {
    char *path;
    EspCloseAction action;
} Memory;

static void memory_free(gpointer data)
{
    Memory *memory = data;

    g_free(memory->path);
    g_free(memory);
}

/* Into the file as it is now, on a thread: it is synced. If that fails, the question comes again. */
static void remember_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Memory *memory = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(EspBundle) bundle = esp_bundle_open(memory->path, &error);
    EspMachineInfo info = {0};

    if (bundle && esp_bundle_get_info(bundle, &info, &error)) {
        info.on_close = memory->action;
        esp_bundle_set_info(bundle, &info);
        esp_bundle_save(bundle, &error);
    }
    esp_machine_info_clear(&info);
    if (error)
        g_message("The choice cannot be kept: %s", error->message);
}

static void remember(EspVmClose *close, EspCloseAction action)
{
    Memory *memory = g_new0(Memory, 1);
    g_autoptr(GTask) task = g_task_new(NULL, NULL, NULL, NULL);

    memory->path = g_strdup(esp_vm_session_get_path(session_of(close)));
    memory->action = action;
    g_task_set_task_data(task, memory, memory_free);
    g_task_run_in_thread(task, remember_thread);
}

/* ---- what is done ---- */

static void on_saved(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(EspVmWindow) window = data;
    g_autoptr(GError) error = NULL;
    bool good = esp_vm_session_save_finish(ESP_VM_SESSION(source), result, &error);

    if (!esp_vm_window_is_alive(window))
        return;
    if (good)
        gtk_window_close(GTK_WINDOW(window));
    else if (!g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        esp_vm_complain(window, _("The machine’s state cannot be saved"), error);
}

static void save(EspVmClose *close)
{
    esp_vm_session_save(session_of(close), NULL, on_saved, g_object_ref(close->window));
}

static void shut_down(EspVmClose *close)
{
    g_autoptr(GError) error = NULL;

    if (!esp_vm_session_request_stop(session_of(close), &error)) {
        if (error)
            esp_vm_complain(close->window, _("The guest cannot be asked to shut down"), error);
        return;
    }
    close->when_off = true;
    esp_toast_show(esp_vm_window_get_toast(close->window),
                   _("The guest was asked to shut down; the window closes when it has."), NULL, NULL, NULL,
                   NULL);
}

static void power_off(EspVmClose *close)
{
    esp_vm_session_stop(session_of(close));
    gtk_window_close(GTK_WINDOW(close->window));
}

static void act(EspVmClose *close, EspCloseChoice choice)
{
    switch (choice) {
    case ESP_CHOICE_KEEP_RUNNING:
        esp_vm_window_hide_running(close->window);
        break;
    case ESP_CHOICE_SAVE:
        save(close);
        break;
    case ESP_CHOICE_SHUT_DOWN:
        shut_down(close);
        break;
    case ESP_CHOICE_POWER_OFF:
        power_off(close);
        break;
    }
}

/* ---- asking ---- */

static void on_answer(GtkDialog *dialog, int response, gpointer data)
{
    static const EspCloseAction actions[] = {[ESP_CHOICE_KEEP_RUNNING] = ESP_CLOSE_KEEP_RUNNING,
                                             [ESP_CHOICE_SAVE] = ESP_CLOSE_SAVE,
                                             [ESP_CHOICE_SHUT_DOWN] = ESP_CLOSE_SHUT_DOWN};
    EspVmClose *close = esp_vm_window_get_close(data);
    EspCloseChoice choice = esp_close_dialog_get_choice(ESP_CLOSE_DIALOG(dialog));
    bool always = esp_close_dialog_get_remember(ESP_CLOSE_DIALOG(dialog));

    gtk_widget_destroy(GTK_WIDGET(dialog));
    if (response != GTK_RESPONSE_ACCEPT || !close)
        return;
    if (always && choice != ESP_CHOICE_POWER_OFF)
        remember(close, actions[choice]);
    if (esp_vm_session_is_active(session_of(close)))
        act(close, choice);
    else
        gtk_window_close(GTK_WINDOW(close->window));
}

static void ask(EspVmClose *close)
{
    GtkWidget *dialog =
        esp_close_dialog_new(GTK_WINDOW(close->window), esp_vm_session_get_name(session_of(close)));

    g_signal_connect_object(dialog, "response", G_CALLBACK(on_answer), close->window, 0);
    gtk_widget_show(dialog);
}

bool esp_vm_close_request(EspVmClose *close)
{
    EspVmSession *session = session_of(close);
    VmcMachineState state = esp_vm_session_get_state(session);

    if (!esp_vm_session_is_active(session))
        return false;
    if (state == VMC_MACHINE_SAVING)
        return true; /* it closes by itself */
    if (state != VMC_MACHINE_RUNNING && state != VMC_MACHINE_PAUSED) {
        esp_vm_window_hide_running(close->window);
        return true;
    }
    switch (remembered(close)) {
    case ESP_CLOSE_ASK:
        ask(close);
        break;
    case ESP_CLOSE_KEEP_RUNNING:
        esp_vm_window_hide_running(close->window);
        break;
    case ESP_CLOSE_SAVE:
        save(close);
        break;
    case ESP_CLOSE_SHUT_DOWN:
        if (close->when_off)
            ask(close); /* it was asked before, and does not listen */
        else
            shut_down(close);
        break;
    }
    return true;
}

/* ---- actions ---- */

static void on_save_state(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    save(data);
}

static void on_discard_answer(GtkDialog *dialog, int response, gpointer data)
{
    EspVmWindow *window = data;
    EspVmSession *session = esp_vm_window_get_session(window);
    g_autoptr(GError) error = NULL;

    gtk_widget_destroy(GTK_WIDGET(dialog));
    if (response != GTK_RESPONSE_ACCEPT)
        return;
    if (esp_vm_session_discard_saved(session, &error))
        esp_vm_session_start(session);
    else
        esp_vm_complain(window, _("The saved state cannot be thrown away"), error);
}

static void on_discard(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspVmClose *close = data;
    GtkWidget *dialog = gtk_message_dialog_new(
        GTK_WINDOW(close->window), GTK_DIALOG_MODAL | GTK_DIALOG_DESTROY_WITH_PARENT, GTK_MESSAGE_WARNING,
        GTK_BUTTONS_NONE, _("Throw the saved state of “%s” away?"),
        esp_vm_session_get_name(session_of(close)));

    gtk_message_dialog_format_secondary_text(
        GTK_MESSAGE_DIALOG(dialog),
        _("The machine then starts as after a power cut: what the guest had open and "
          "not written to its disks is lost."));
    gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Cancel"), GTK_RESPONSE_CANCEL);
    GtkWidget *discard =
        gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Throw Away and Start"), GTK_RESPONSE_ACCEPT);
    gtk_style_context_add_class(gtk_widget_get_style_context(discard), GTK_STYLE_CLASS_DESTRUCTIVE_ACTION);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), GTK_RESPONSE_CANCEL);
    g_signal_connect_object(dialog, "response", G_CALLBACK(on_discard_answer), close->window, 0);
    gtk_widget_show(dialog);
}

void esp_vm_close_install(EspVmClose *close)
{
    static const GActionEntry actions[] = {{.name = "save-state", .activate = on_save_state},
                                           {.name = "discard-saved", .activate = on_discard}};

    g_action_map_add_action_entries(G_ACTION_MAP(close->window), actions, G_N_ELEMENTS(actions), close);
}

/* ---- lifecycle ---- */

static void on_changed(EspVmClose *close)
{
    if (!close->when_off || esp_vm_session_is_active(session_of(close)))
        return;
    close->when_off = false;
    gtk_window_close(GTK_WINDOW(close->window));
}

EspVmClose *esp_vm_close_new(EspVmWindow *window)
{
    EspVmClose *close = g_new0(EspVmClose, 1);

    close->window = window;
    close->changed_id =
        g_signal_connect_swapped(esp_vm_window_get_session(window), "changed", G_CALLBACK(on_changed), close);
    return close;
}

void esp_vm_close_free(EspVmClose *close)
{
    if (!close)
        return;
    g_signal_handler_disconnect(session_of(close), close->changed_id);
    g_free(close);
}
