/* The program as the desktop sees it (see application.h). */
#include "ui/application.h"

#include <glib-unix.h>
#include <glib/gi18n.h>
#include <signal.h>

#include "app/library.h"
#include "app/version.h"
#include "ui/library_window.h"
#include "ui/settings.h"

struct _EspApplication {
    GtkApplication parent_instance;
    GSettings *settings;
    EspLibrary *library; /* once its window was opened */
    GtkWidget *window;   /* the library's, or NULL */
    guint signal_ids[2];
};

G_DEFINE_TYPE(EspApplication, esp_application, GTK_TYPE_APPLICATION)

static bool is_machine(GApplication *application)
{
    return g_application_get_flags(application) & G_APPLICATION_NON_UNIQUE;
}

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
    GtkWindow *window = gtk_application_get_active_window(data);
    if (!is_machine(data))
        g_application_quit(data);
    else if (window)
        gtk_window_close(window);
}

/* From the desktop's menu: in the library, so that what goes wrong has a window to be said in. */
static void on_demo(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspApplication *application = data;
    g_application_activate(data);
    if (application->window)
        g_action_group_activate_action(G_ACTION_GROUP(application->window), "demo", NULL);
}

/* A file that the desktop opened with us: the first process of the library has it. */
static void on_import(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspApplication *application = data;
    g_application_activate(data);
    if (application->window)
        esp_library_window_import(ESP_LIBRARY_WINDOW(application->window),
                                  g_variant_get_string(parameter, NULL));
}

static const GActionEntry actions[] = {
    {.name = "demo", .activate = on_demo},
    {.name = "import", .activate = on_import, .parameter_type = "s"},
    {.name = "about", .activate = on_about},
    {.name = "quit", .activate = on_quit},
};

static void set_accels(GtkApplication *application)
{
    static const struct {
        const char *action;
        const char *accels[2];
    } table[] = {
        {"app.quit", {"<Primary>q", NULL}}, {"win.close", {"<Primary>w", NULL}},
        {"win.new", {"<Primary>n", NULL}},  {"win.search", {"<Primary>f", NULL}},
        {"win.fullscreen", {"F11", NULL}},  {"win.show-help-overlay", {"<Primary>question", NULL}},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
        gtk_application_set_accels_for_action(application, table[i].action, table[i].accels);
}

void esp_application_load_style(GdkScreen *screen)
{
    g_autoptr(GtkCssProvider) provider = gtk_css_provider_new();
    gtk_css_provider_load_from_resource(provider, "/org/espalier/Espalier/style.css");
    gtk_style_context_add_provider_for_screen(screen, GTK_STYLE_PROVIDER(provider),
                                              GTK_STYLE_PROVIDER_PRIORITY_APPLICATION);
}

static gboolean on_signal(gpointer data)
{
    g_application_quit(data);
    return G_SOURCE_CONTINUE;
}

static void esp_application_startup(GApplication *gapplication)
{
    EspApplication *application = ESP_APPLICATION(gapplication);
    G_APPLICATION_CLASS(esp_application_parent_class)->startup(gapplication);
    g_action_map_add_action_entries(G_ACTION_MAP(application), actions, G_N_ELEMENTS(actions), application);
    set_accels(GTK_APPLICATION(application));
    gtk_window_set_default_icon_name(ESP_APPLICATION_ID);
    if (is_machine(gapplication))
        return; /* its process has the rest */
    esp_application_load_style(gdk_screen_get_default());
    application->settings = esp_settings_new();
    application->signal_ids[0] = g_unix_signal_add(SIGTERM, on_signal, application);
    application->signal_ids[1] = g_unix_signal_add(SIGINT, on_signal, application);
}

static GtkWidget *make_library_window(EspApplication *application)
{
    g_autofree char *dir = esp_library_default_dir();
    if (!application->library)
        application->library = esp_library_new(dir);
    application->window =
        esp_library_window_new(GTK_APPLICATION(application), application->library, application->settings);
    g_object_add_weak_pointer(G_OBJECT(application->window), (gpointer *)&application->window);
    return application->window;
}

static void esp_application_activate(GApplication *gapplication)
{
    EspApplication *application = ESP_APPLICATION(gapplication);
    GtkWidget *window = application->window ? application->window : make_library_window(application);
    gtk_window_present(GTK_WINDOW(window));
}

static void esp_application_shutdown(GApplication *gapplication)
{
    EspApplication *application = ESP_APPLICATION(gapplication);
    for (size_t i = 0; i < G_N_ELEMENTS(application->signal_ids); i++)
        g_clear_handle_id(&application->signal_ids[i], g_source_remove);
    G_APPLICATION_CLASS(esp_application_parent_class)->shutdown(gapplication);
    g_clear_weak_pointer(&application->window);
    g_clear_object(&application->library);
    g_clear_object(&application->settings);
}

static void esp_application_class_init(EspApplicationClass *klass)
{
    GApplicationClass *application_class = G_APPLICATION_CLASS(klass);
    application_class->startup = esp_application_startup;
    application_class->activate = esp_application_activate;
    application_class->shutdown = esp_application_shutdown;
}

static void esp_application_init(EspApplication *application)
{
}

static EspApplication *new_application(GApplicationFlags flags)
{
    return g_object_new(ESP_TYPE_APPLICATION, "application-id", ESP_APPLICATION_ID, "flags", flags,
                        "resource-base-path", "/org/espalier/Espalier", NULL);
}

EspApplication *esp_application_new(bool service)
{
    return new_application(service ? G_APPLICATION_IS_SERVICE : G_APPLICATION_DEFAULT_FLAGS);
}

EspApplication *esp_application_new_for_machine(void)
{
    return new_application(G_APPLICATION_NON_UNIQUE);
}
