/* The guest's agent and its machine's window (see vm_agent.h). */
#include "ui/vm_agent.h"

#include <glib/gi18n.h>

#include "ui/clipboard.h"
#include "ui/vm_actions.h"

struct EspVmAgent {
    EspVmWindow *window;
    VmcAgent *agent; /* or NULL */
    EspClipboard *clipboard;
    gulong active_id;
};

/* ---- what the agent tells ---- */

static void on_connected(void *opaque, unsigned caps)
{
    EspVmAgent *agent = opaque;

    esp_vm_actions_update(agent->window);
}

static void on_disconnected(void *opaque)
{
    EspVmAgent *agent = opaque;

    esp_transfers_set_agent(esp_vm_window_get_transfers(agent->window), agent->agent);
    esp_vm_actions_update(agent->window);
}

/* What else X11 has (the selection of the middle button) stays on its side. */
static void on_grabbed(void *opaque, VmcSelection selection, unsigned types)
{
    EspVmAgent *agent = opaque;

    if (selection == VMC_SELECTION_CLIPBOARD)
        esp_clipboard_guest_has(agent->clipboard, types);
}

static void on_released(void *opaque, VmcSelection selection)
{
    EspVmAgent *agent = opaque;

    if (selection == VMC_SELECTION_CLIPBOARD)
        esp_clipboard_guest_released(agent->clipboard);
}

static void on_requested(void *opaque, VmcSelection selection, VmcClipType type)
{
    EspVmAgent *agent = opaque;

    if (selection == VMC_SELECTION_CLIPBOARD)
        esp_clipboard_guest_wants(agent->clipboard, type);
    else
        vmc_agent_send(agent->agent, selection, type, NULL);
}

static void on_received(void *opaque, VmcSelection selection, VmcClipType type, GBytes *data)
{
    EspVmAgent *agent = opaque;

    if (selection == VMC_SELECTION_CLIPBOARD)
        esp_clipboard_guest_sent(agent->clipboard, type, data);
}

static void on_files_received(void *opaque, VmcSelection selection, VmcFileAction action,
                              const char *const *paths)
{
    EspVmAgent *agent = opaque;

    if (selection == VMC_SELECTION_CLIPBOARD)
        esp_clipboard_guest_sent_files(agent->clipboard, action, paths);
}

static void on_file_progress(void *opaque, unsigned id, uint64_t sent, uint64_t total, bool done,
                             const GError *error)
{
    EspVmAgent *agent = opaque;

    esp_transfers_progress(esp_vm_window_get_transfers(agent->window), id, sent, total, done, error);
}

static const VmcAgentFrontend frontend = {
    .size = sizeof(VmcAgentFrontend),
    .connected = on_connected,
    .disconnected = on_disconnected,
    .grabbed = on_grabbed,
    .released = on_released,
    .requested = on_requested,
    .received = on_received,
    .file_progress = on_file_progress,
    .files_received = on_files_received,
};

/* ---- files ---- */

static void on_told(EspVmAgent *agent, const char *message)
{
    esp_toast_show(esp_vm_window_get_toast(agent->window), message, NULL, NULL, NULL, NULL);
}

/* Without an agent the answer says what to do about that. */
static void on_dropped(EspVmAgent *agent, GdkDragContext *context, int x, int y, GtkSelectionData *selection,
                       guint info, guint time)
{
    g_auto(GStrv) uris = gtk_selection_data_get_uris(selection);
    GSList *files = NULL;

    for (char **uri = uris; uri && *uri; uri++)
        files = g_slist_prepend(files, g_file_new_for_uri(*uri));
    files = g_slist_reverse(files);
    bool good = agent->agent && files;
    if (good)
        esp_transfers_send(esp_vm_window_get_transfers(agent->window), files);
    else
        on_told(agent, _("This machine cannot be sent files: it has no device for the guest’s agent."));
    g_slist_free_full(files, g_object_unref);
    gtk_drag_finish(context, good, FALSE, time);
}

static void on_chosen(GtkNativeDialog *dialog, int response, gpointer data)
{
    EspVmWindow *window = data;

    if (response == GTK_RESPONSE_ACCEPT) {
        GSList *files = gtk_file_chooser_get_files(GTK_FILE_CHOOSER(dialog));
        esp_transfers_send(esp_vm_window_get_transfers(window), files);
        g_slist_free_full(files, g_object_unref);
    }
    g_object_unref(dialog);
}

static void on_send_files(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    GtkFileChooserNative *dialog =
        gtk_file_chooser_native_new(_("Send Files to the Guest"), GTK_WINDOW(data),
                                    GTK_FILE_CHOOSER_ACTION_OPEN, _("_Send"), _("_Cancel"));

    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(dialog), TRUE);
    gtk_file_chooser_set_select_multiple(GTK_FILE_CHOOSER(dialog), TRUE);
    g_signal_connect_object(dialog, "response", G_CALLBACK(on_chosen), data, 0);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(dialog));
}

/* ---- lifecycle ---- */

static void on_active(EspVmAgent *agent)
{
    esp_clipboard_set_focused(agent->clipboard, gtk_window_is_active(GTK_WINDOW(agent->window)));
}

EspVmAgent *esp_vm_agent_new(EspVmWindow *window)
{
    EspVmAgent *agent = g_new0(EspVmAgent, 1);
    GtkWidget *view = GTK_WIDGET(esp_vm_window_get_view(window));

    agent->window = window;
    agent->clipboard =
        esp_clipboard_new(gtk_widget_get_clipboard(GTK_WIDGET(window), GDK_SELECTION_CLIPBOARD));
    agent->active_id = g_signal_connect_swapped(window, "notify::is-active", G_CALLBACK(on_active), agent);
    g_signal_connect_swapped(esp_vm_window_get_transfers(window), "told", G_CALLBACK(on_told), agent);
    gtk_drag_dest_set(view, GTK_DEST_DEFAULT_ALL, NULL, 0, GDK_ACTION_COPY);
    gtk_drag_dest_add_uri_targets(view);
    g_signal_connect_swapped(view, "drag-data-received", G_CALLBACK(on_dropped), agent);
    return agent;
}

void esp_vm_agent_free(EspVmAgent *agent)
{
    if (!agent)
        return;
    esp_vm_agent_set_machine(agent, NULL);
    g_signal_handler_disconnect(agent->window, agent->active_id);
    g_signal_handlers_disconnect_by_data(esp_vm_window_get_transfers(agent->window), agent);
    g_signal_handlers_disconnect_by_data(esp_vm_window_get_view(agent->window), agent);
    esp_clipboard_free(agent->clipboard);
    g_free(agent);
}

void esp_vm_agent_set_machine(EspVmAgent *agent, VmcMachine *machine)
{
    /* As the file is now: the settings may have been changed since the session opened it. */
    g_autoptr(EspBundle) bundle =
        machine ? esp_bundle_open(esp_vm_session_get_path(esp_vm_window_get_session(agent->window)), NULL)
                : NULL;
    EspMachineInfo info = {0};

    if (agent->agent)
        vmc_agent_set_frontend(agent->agent, NULL, NULL);
    agent->agent = machine ? vmc_machine_get_agent(machine) : NULL;
    if (bundle && esp_bundle_get_info(bundle, &info, NULL))
        esp_clipboard_set_focus_only(agent->clipboard, info.clipboard_focus_only);
    esp_machine_info_clear(&info);
    esp_clipboard_set_agent(agent->clipboard, agent->agent);
    esp_transfers_set_agent(esp_vm_window_get_transfers(agent->window), agent->agent);
    if (agent->agent)
        vmc_agent_set_frontend(agent->agent, &frontend, agent);
}

bool esp_vm_agent_takes_files(EspVmAgent *agent)
{
    return agent->agent && (vmc_agent_caps(agent->agent) & VMC_AGENT_CAN_FILES);
}

void esp_vm_agent_install(EspVmWindow *window)
{
    static const GActionEntry actions[] = {{.name = "send-files", .activate = on_send_files}};

    g_action_map_add_action_entries(G_ACTION_MAP(window), actions, G_N_ELEMENTS(actions), window);
}
