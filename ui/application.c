/* The program as the desktop sees it (see application.h). */
#include "ui/application.h"

#include <glib-unix.h>
#include <glib/gi18n.h>
#include <signal.h>

#include "app/library.h"
#include "ui/library_window.h"
#include "ui/settings.h"
#include "app/vm_session.h"
#include "ui/vm_window.h"

#ifndef ESP_VERSION
#define ESP_VERSION "0.1.0"
#endif

struct _EspApplication {
    GtkApplication parent_instance;
    char *bundle_path;
    GSettings *settings;
    EspLibrary *library;   /* of the library's process */
    EspVmSession *session; /* of a machine's process */
    guint signal_ids[2];
};

G_DEFINE_TYPE(EspApplication, esp_application, GTK_TYPE_APPLICATION)

static void on_about(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    GtkApplication *application = data;
    gtk_show_about_dialog(gtk_application_get_active_window(application), "program-name", "Espalier",
                          "version", ESP_VERSION, "comments", _("Virtual machines, a click away"),
                          "logo-icon-name", ESP_APPLICATION_ID, "license-type", GTK_LICENSE_GPL_3_0,
                          "copyright", "© 2026 The Espalier authors", NULL);
}

static void on_quit(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspApplication *application = data;
    if (!application->session) {
        g_application_quit(data);
        return;
    }
    GtkWindow *window = gtk_application_get_active_window(data);
    if (window)
        gtk_window_close(window);
}

static const GActionEntry actions[] = {
    {.name = "about", .activate = on_about},
    {.name = "quit", .activate = on_quit},
};

static void set_accels(GtkApplication *application)
{
    static const struct {
        const char *action;
        const char *accels[2];
    } table[] = {
        {"app.quit", {"<Primary>q", NULL}},
        {"win.close", {"<Primary>w", NULL}},
        {"win.fullscreen", {"F11", NULL}},
        {"win.show-help-overlay", {"<Primary>question", NULL}},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
        gtk_application_set_accels_for_action(application, table[i].action, table[i].accels);
}

static void load_style(void)
{
    g_autoptr(GtkCssProvider) provider = gtk_css_provider_new();
    gtk_css_provider_load_from_resource(provider, "/org/espalier/Espalier/style.css");
    gtk_style_context_add_provider_for_screen(gdk_screen_get_default(), GTK_STYLE_PROVIDER(provider),
                                              GTK_STYLE_PROVIDER_PRIORITY_APPLICATION);
}

/* Whoever ends us with a signal ends the machine, but in order: disks are flushed. */
static gboolean on_signal(gpointer data)
{
    EspApplication *application = data;
    if (application->session)
        esp_vm_session_stop(application->session);
    g_application_quit(G_APPLICATION(application));
    return G_SOURCE_CONTINUE;
}

static void esp_application_startup(GApplication *gapplication)
{
    EspApplication *application = ESP_APPLICATION(gapplication);
    G_APPLICATION_CLASS(esp_application_parent_class)->startup(gapplication);
    g_action_map_add_action_entries(G_ACTION_MAP(application), actions, G_N_ELEMENTS(actions), application);
    set_accels(GTK_APPLICATION(application));
    load_style();
    gtk_window_set_default_icon_name(ESP_APPLICATION_ID);
    application->settings = esp_settings_new();
    application->signal_ids[0] = g_unix_signal_add(SIGTERM, on_signal, application);
    application->signal_ids[1] = g_unix_signal_add(SIGINT, on_signal, application);
}

static GtkWidget *make_machine_window(EspApplication *application)
{
    application->session = esp_vm_session_new(application->bundle_path);
    GtkWidget *window =
        esp_vm_window_new(GTK_APPLICATION(application), application->session, application->settings);
    return window;
}

static GtkWidget *make_library_window(EspApplication *application)
{
    g_autofree char *dir = esp_library_default_dir();
    application->library = esp_library_new(dir);
    return esp_library_window_new(GTK_APPLICATION(application), application->library, application->settings);
}

static void esp_application_activate(GApplication *gapplication)
{
    EspApplication *application = ESP_APPLICATION(gapplication);
    GList *windows = gtk_application_get_windows(GTK_APPLICATION(application));
    bool first = !windows;
    GtkWidget *window = windows ? windows->data : NULL;
    if (first)
        window =
            application->bundle_path ? make_machine_window(application) : make_library_window(application);
    gtk_window_present(GTK_WINDOW(window));
    /* Opening a machine means to have it: one that could not even be opened says so by itself. */
    if (application->session && !esp_vm_session_is_active(application->session) &&
        esp_vm_session_get_bundle(application->session) &&
        (first || esp_vm_session_get_state(application->session) == VMC_MACHINE_STOPPED))
        esp_vm_session_start(application->session);
}

static void esp_application_shutdown(GApplication *gapplication)
{
    EspApplication *application = ESP_APPLICATION(gapplication);
    if (application->session)
        esp_vm_session_stop(application->session);
    for (size_t i = 0; i < G_N_ELEMENTS(application->signal_ids); i++)
        g_clear_handle_id(&application->signal_ids[i], g_source_remove);
    G_APPLICATION_CLASS(esp_application_parent_class)->shutdown(gapplication);
    g_clear_object(&application->session);
    g_clear_object(&application->library);
    g_clear_object(&application->settings);
}

static void esp_application_finalize(GObject *object)
{
    EspApplication *application = ESP_APPLICATION(object);
    g_free(application->bundle_path);
    G_OBJECT_CLASS(esp_application_parent_class)->finalize(object);
}

static void esp_application_class_init(EspApplicationClass *klass)
{
    GApplicationClass *application_class = G_APPLICATION_CLASS(klass);
    application_class->startup = esp_application_startup;
    application_class->activate = esp_application_activate;
    application_class->shutdown = esp_application_shutdown;
    G_OBJECT_CLASS(klass)->finalize = esp_application_finalize;
}

static void esp_application_init(EspApplication *application)
{
}

EspApplication *esp_application_new(const char *bundle_path)
{
    g_autofree char *path = bundle_path ? g_canonicalize_filename(bundle_path, NULL) : NULL;
    g_autofree char *digest = path ? g_compute_checksum_for_string(G_CHECKSUM_SHA256, path, -1) : NULL;
    g_autofree char *id =
        path ? g_strdup_printf(ESP_APPLICATION_ID ".machine.m%.24s", digest) : g_strdup(ESP_APPLICATION_ID);
    EspApplication *application =
        g_object_new(ESP_TYPE_APPLICATION, "application-id", id, "flags", G_APPLICATION_DEFAULT_FLAGS,
                     "resource-base-path", "/org/espalier/Espalier", NULL);
    application->bundle_path = g_steal_pointer(&path);
    return application;
}
