/* What can be done in a machine's window (see vm_actions.h). */
#include "ui/vm_actions.h"

#include <glib/gi18n.h>
#include <string.h>

#include "ui/settings_window.h"
#include "ui/status_page.h"
#include "ui/vm_agent.h"
#include "ui/vm_keys.h"
#include "ui/vm_screenshot.h"
#include "ui/vm_typing.h"

void esp_vm_complain(EspVmWindow *window, const char *title, const GError *error)
{
    GtkWidget *dialog =
        gtk_message_dialog_new(GTK_WINDOW(window), GTK_DIALOG_MODAL | GTK_DIALOG_DESTROY_WITH_PARENT,
                               GTK_MESSAGE_ERROR, GTK_BUTTONS_CLOSE, "%s", title);
    gtk_message_dialog_format_secondary_text(GTK_MESSAGE_DIALOG(dialog), "%s", error->message);
    g_signal_connect(dialog, "response", G_CALLBACK(gtk_widget_destroy), NULL);
    gtk_widget_show(dialog);
}

static void set_enabled(EspVmWindow *window, const char *name, bool enabled)
{
    GAction *action = g_action_map_lookup_action(G_ACTION_MAP(window), name);
    g_simple_action_set_enabled(G_SIMPLE_ACTION(action), enabled);
}

static void set_state(EspVmWindow *window, const char *name, GVariant *state)
{
    GAction *action = g_action_map_lookup_action(G_ACTION_MAP(window), name);
    g_simple_action_set_state(G_SIMPLE_ACTION(action), state);
}

void esp_vm_actions_update(EspVmWindow *window)
{
    EspVmSession *session = esp_vm_window_get_session(window);
    EspDisplayView *view = esp_vm_window_get_view(window);
    VmcMachineState state = esp_vm_session_get_state(session);
    bool running = state == VMC_MACHINE_RUNNING;
    bool paused = state == VMC_MACHINE_PAUSED;
    unsigned width, height;
    esp_display_view_get_guest_size(view, &width, &height);

    set_enabled(window, "start", !esp_vm_session_is_active(session));
    set_enabled(window, "pause", running || paused);
    set_enabled(window, "shut-down", running);
    set_enabled(window, "force-off", esp_vm_session_is_active(session) && state != VMC_MACHINE_STOPPING);
    set_enabled(window, "send-key", running);
    set_enabled(window, "paste-typing", running);
    set_enabled(window, "save-state", running || paused);
    set_enabled(window, "discard-saved", esp_vm_session_is_misfit(session));
    bool picture = width > 0 && esp_vm_session_has_run(session);
    set_enabled(window, "send-files", running && esp_vm_window_takes_files(window));
    set_enabled(window, "screenshot", picture);
    set_enabled(window, "screenshot-copy", picture);
    set_enabled(window, "open-folder", esp_vm_session_get_bundle(session) != NULL);

    esp_vm_window_set_menus_sensitive(window, esp_vm_session_is_active(session), running);

    set_state(window, "pause", g_variant_new_boolean(paused));
    set_state(window, "fullscreen", g_variant_new_boolean(esp_vm_window_is_fullscreen(window)));
    bool fit = esp_display_view_get_scaling(view) == ESP_SCALING_FIT;
    set_state(window, "scaling", g_variant_new_string(fit ? "fit" : "one-to-one"));
}

/* --- The machine -------------------------------------------------------------------------------- */

static void on_start(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    esp_vm_session_start(esp_vm_window_get_session(data));
}

static void on_pause(GSimpleAction *action, GVariant *value, gpointer data)
{
    EspVmWindow *window = data;
    EspVmSession *session = esp_vm_window_get_session(window);
    g_autoptr(GError) error = NULL;
    bool paused = esp_vm_session_get_state(session) == VMC_MACHINE_PAUSED;
    bool ok = paused ? esp_vm_session_resume(session, &error) : esp_vm_session_pause(session, &error);
    if (!ok && error)
        esp_vm_complain(window, paused ? _("The machine cannot go on") : _("The machine cannot be paused"),
                        error);
    esp_vm_actions_update(window);
}

static void on_shut_down(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspVmWindow *window = data;
    g_autoptr(GError) error = NULL;
    if (!esp_vm_session_request_stop(esp_vm_window_get_session(window), &error)) {
        if (error)
            esp_vm_complain(window, _("The guest cannot be asked to shut down"), error);
        return;
    }
    esp_toast_show(esp_vm_window_get_toast(window),
                   _("The guest was asked to shut down. If it does not, use “Force Off”."), NULL, NULL, NULL,
                   NULL);
}

static void on_force_off_answer(GtkDialog *dialog, int response, gpointer data)
{
    EspVmWindow *window = data;
    gtk_widget_destroy(GTK_WIDGET(dialog));
    if (response == GTK_RESPONSE_ACCEPT)
        esp_vm_session_stop(esp_vm_window_get_session(window));
}

static void on_force_off(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspVmWindow *window = data;
    const char *name = esp_vm_session_get_name(esp_vm_window_get_session(window));
    GtkWidget *dialog =
        gtk_message_dialog_new(GTK_WINDOW(window), GTK_DIALOG_MODAL | GTK_DIALOG_DESTROY_WITH_PARENT,
                               GTK_MESSAGE_WARNING, GTK_BUTTONS_NONE, _("Force “%s” off?"), name);
    gtk_message_dialog_format_secondary_text(GTK_MESSAGE_DIALOG(dialog),
                                             _("This is like pulling the plug: what the guest has not saved "
                                               "yet is lost. “Shut Down” asks it first."));
    gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Cancel"), GTK_RESPONSE_CANCEL);
    GtkWidget *force = gtk_dialog_add_button(GTK_DIALOG(dialog), _("_Force Off"), GTK_RESPONSE_ACCEPT);
    gtk_style_context_add_class(gtk_widget_get_style_context(force), GTK_STYLE_CLASS_DESTRUCTIVE_ACTION);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), GTK_RESPONSE_CANCEL);
    g_signal_connect_object(dialog, "response", G_CALLBACK(on_force_off_answer), window, 0);
    gtk_widget_show(dialog);
}

/* --- The window --------------------------------------------------------------------------------- */

static void on_fullscreen(GSimpleAction *action, GVariant *value, gpointer data)
{
    EspVmWindow *window = data;
    if (esp_vm_window_is_fullscreen(window))
        gtk_window_unfullscreen(GTK_WINDOW(window));
    else
        gtk_window_fullscreen(GTK_WINDOW(window));
}

static void on_scaling(GSimpleAction *action, GVariant *value, gpointer data)
{
    EspVmWindow *window = data;
    GSettings *settings = esp_vm_window_get_settings(window);
    const char *name = g_variant_get_string(value, NULL);
    bool one = !strcmp(name, "one-to-one");
    esp_vm_window_set_scaling(window, one ? ESP_SCALING_ONE_TO_ONE : ESP_SCALING_FIT);
    if (settings)
        g_settings_set_string(settings, "scaling", one ? "one-to-one" : "fit");
    esp_vm_actions_update(window);
}

static void on_grab_on_click(GSimpleAction *action, GVariant *value, gpointer data)
{
    EspVmWindow *window = data;
    GSettings *settings = esp_vm_window_get_settings(window);
    bool grab = g_variant_get_boolean(value);
    g_simple_action_set_state(action, value);
    esp_display_view_set_grab_on_click(esp_vm_window_get_view(window), grab);
    if (settings)
        g_settings_set_boolean(settings, "grab-on-click", grab);
}

/* Which CPU the guest runs on and why, or NULL before it ran. */
static char *describe_cpu(EspVmSession *session)
{
    VmcMachine *machine = esp_vm_session_get_machine(session);
    if (!machine || !esp_vm_session_has_run(session))
        return NULL;
    const char *backend = vmc_machine_get_cpu_backend(machine);
    const char *why = vmc_machine_get_cpu_reason(machine);
    const char *what = g_strcmp0(backend, "kvm") ? _("The guest runs on Espalier’s software CPU.")
                                                 : _("The guest runs on this computer’s CPU, through KVM.");
    return why ? g_strdup_printf("%s\n%s", what, why) : g_strdup(what);
}

static void on_settings(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    const char *path = esp_vm_session_get_path(esp_vm_window_get_session(data));
    gtk_window_present(GTK_WINDOW(esp_settings_window_new(data, path)));
}

static void on_details(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspVmWindow *window = data;
    EspVmSession *session = esp_vm_window_get_session(window);
    GtkWidget *dialog =
        gtk_dialog_new_with_buttons(_("Details and Log"), GTK_WINDOW(window),
                                    GTK_DIALOG_DESTROY_WITH_PARENT | GTK_DIALOG_USE_HEADER_BAR, NULL, NULL);
    GtkWidget *page = g_object_new(ESP_TYPE_STATUS_PAGE, "vexpand", TRUE, NULL);
    g_autofree char *details = esp_vm_session_describe(session);
    g_autofree char *cpu = describe_cpu(session);
    esp_status_page_set(ESP_STATUS_PAGE(page), "computer-symbolic", esp_vm_session_get_name(session), cpu);
    esp_status_page_set_details(ESP_STATUS_PAGE(page), details);
    esp_status_page_expand(ESP_STATUS_PAGE(page));
    gtk_container_add(GTK_CONTAINER(gtk_dialog_get_content_area(GTK_DIALOG(dialog))), page);
    gtk_window_set_default_size(GTK_WINDOW(dialog), 680, 620);
    gtk_widget_show(dialog);
}

static void on_open_folder(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspVmWindow *window = data;
    g_autoptr(GError) error = NULL;
    g_autofree char *uri =
        g_filename_to_uri(esp_vm_session_get_path(esp_vm_window_get_session(window)), NULL, &error);
    if (!uri || !gtk_show_uri_on_window(GTK_WINDOW(window), uri, gtk_get_current_event_time(), &error))
        esp_vm_complain(window, _("The folder cannot be shown"), error);
}

static void on_close(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    gtk_window_close(GTK_WINDOW(data));
}

static const GActionEntry actions[] = {
    {.name = "start", .activate = on_start},
    {.name = "pause", .state = "false", .change_state = on_pause},
    {.name = "shut-down", .activate = on_shut_down},
    {.name = "force-off", .activate = on_force_off},
    {.name = "fullscreen", .state = "false", .change_state = on_fullscreen},
    {.name = "scaling", .parameter_type = "s", .state = "'fit'", .change_state = on_scaling},
    {.name = "grab-on-click", .state = "true", .change_state = on_grab_on_click},
    {.name = "settings", .activate = on_settings},
    {.name = "details", .activate = on_details},
    {.name = "open-folder", .activate = on_open_folder},
    {.name = "close", .activate = on_close},
};

void esp_vm_actions_install(EspVmWindow *window)
{
    g_action_map_add_action_entries(G_ACTION_MAP(window), actions, G_N_ELEMENTS(actions), window);
    esp_vm_agent_install(window);
    esp_vm_keys_install(window);
    esp_vm_screenshot_install(window);
    esp_vm_typing_install(window);
    GSettings *settings = esp_vm_window_get_settings(window);
    if (settings) {
        bool grab = g_settings_get_boolean(settings, "grab-on-click");
        set_state(window, "grab-on-click", g_variant_new_boolean(grab));
        esp_display_view_set_grab_on_click(esp_vm_window_get_view(window), grab);
    }
}
