/* The library window (see library_window.h). */
#include "ui/library_window.h"

#include <glib/gi18n.h>
#include <unistd.h>

#include "app/launcher.h"
#include "ui/library_row.h"
#include "ui/toast.h"

struct _EspLibraryWindow {
    GtkApplicationWindow parent_instance;
    EspLibrary *library;
    GSettings *settings;
    GtkStack *stack;
    GtkListBox *list;
    GtkWidget *demo_button;
    GtkWidget *try_button;
    GtkLabel *host_label;
    EspToast *toast;
};

G_DEFINE_TYPE(EspLibraryWindow, esp_library_window, GTK_TYPE_APPLICATION_WINDOW)

/* --- Starting machines -------------------------------------------------------------------------- */

typedef struct Launch {
    EspLibraryWindow *window;
    char *name;
} Launch;

static void complain(EspLibraryWindow *window, const char *title, const char *why)
{
    GtkWidget *dialog =
        gtk_message_dialog_new(GTK_WINDOW(window), GTK_DIALOG_MODAL | GTK_DIALOG_DESTROY_WITH_PARENT,
                               GTK_MESSAGE_ERROR, GTK_BUTTONS_CLOSE, "%s", title);
    gtk_message_dialog_format_secondary_text(GTK_MESSAGE_DIALOG(dialog), "%s", why);
    g_signal_connect(dialog, "response", G_CALLBACK(gtk_widget_destroy), NULL);
    gtk_widget_show(dialog);
}

/* Whatever can go wrong with a machine its own window shows; here arrives only what kept it from doing so. */
static void on_process_ended(GObject *source, GAsyncResult *result, gpointer data)
{
    GSubprocess *process = G_SUBPROCESS(source);
    Launch *launch = data;
    if (g_subprocess_wait_finish(process, result, NULL) &&
        gtk_widget_get_visible(GTK_WIDGET(launch->window))) {
        g_autofree char *message = NULL;
        if (g_subprocess_get_if_signaled(process) && g_subprocess_get_term_sig(process) != SIGTERM)
            message = g_strdup_printf(_("“%s” ended unexpectedly (%s)."), launch->name,
                                      g_strsignal(g_subprocess_get_term_sig(process)));
        else if (g_subprocess_get_if_exited(process) && g_subprocess_get_exit_status(process) != 0)
            message = g_strdup_printf(_("The window of “%s” could not be opened."), launch->name);
        if (message)
            esp_toast_show(launch->window->toast, message, NULL, NULL, NULL, NULL);
    }
    esp_library_rescan(launch->window->library);
    g_object_unref(launch->window);
    g_free(launch->name);
    g_free(launch);
}

/* The desktop's token for "the user asked for this just now". */
static char *startup_id(GtkWidget *widget, const char *bundle_path)
{
    g_autoptr(GdkAppLaunchContext) context =
        gdk_display_get_app_launch_context(gtk_widget_get_display(widget));
    gdk_app_launch_context_set_timestamp(context, gtk_get_current_event_time());
    g_autoptr(GAppInfo) info = g_app_info_create_from_commandline(
        "espalier --run", "Espalier", G_APP_INFO_CREATE_SUPPORTS_STARTUP_NOTIFICATION, NULL);
    return info ? g_app_launch_context_get_startup_notify_id(G_APP_LAUNCH_CONTEXT(context), info, NULL)
                : NULL;
}

static void open_machine(EspLibraryWindow *window, const char *path, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *id = startup_id(GTK_WIDGET(window), path);
    g_autoptr(GSubprocess) process = esp_launch_machine(path, id, &error);
    if (!process) {
        g_autofree char *title = g_strdup_printf(_("“%s” cannot be opened"), name);
        complain(window, title, error->message);
        return;
    }
    Launch *launch = g_new0(Launch, 1);
    launch->window = g_object_ref(window);
    launch->name = g_strdup(name);
    g_subprocess_wait_async(process, NULL, on_process_ended, launch);
}

static void on_row_activated(EspLibraryWindow *window, GtkListBoxRow *row)
{
    EspLibraryItem *item = esp_library_row_get_item(ESP_LIBRARY_ROW(row));
    open_machine(window, esp_library_item_get_path(item), esp_library_item_get_name(item));
}

/* --- Actions ------------------------------------------------------------------------------------ */

static void on_demo(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspLibraryWindow *window = data;
    g_autoptr(GError) error = NULL;
    g_autofree char *demo_dir = esp_library_find_demo(&error);
    g_autofree char *path =
        demo_dir ? esp_library_ensure_demo(esp_library_get_dir(window->library), demo_dir, &error) : NULL;
    if (!path) {
        complain(window, _("The demo guest cannot be started"), error->message);
        return;
    }
    esp_library_rescan(window->library);
    open_machine(window, path, _("Demo"));
}

static void on_open_folder(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspLibraryWindow *window = data;
    const char *dir = esp_library_get_dir(window->library);
    g_autoptr(GError) error = NULL;
    g_mkdir_with_parents(dir, 0700);
    g_autofree char *uri = g_filename_to_uri(dir, NULL, &error);
    if (!uri || !gtk_show_uri_on_window(GTK_WINDOW(window), uri, gtk_get_current_event_time(), &error))
        complain(window, _("The folder cannot be shown"), error->message);
}

static void on_close(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    gtk_window_close(GTK_WINDOW(data));
}

static const GActionEntry actions[] = {
    {.name = "demo", .activate = on_demo},
    {.name = "open-folder", .activate = on_open_folder},
    {.name = "close", .activate = on_close},
};

/* --- The window --------------------------------------------------------------------------------- */

static GtkWidget *make_row(gpointer item, gpointer data)
{
    return esp_library_row_new(ESP_LIBRARY_ITEM(item));
}

static void update_page(EspLibraryWindow *window)
{
    bool empty = g_list_model_get_n_items(G_LIST_MODEL(window->library)) == 0;
    gtk_stack_set_visible_child_name(window->stack, empty ? "empty" : "list");
    gtk_widget_set_visible(window->demo_button, !empty);
    if (empty)
        gtk_widget_grab_focus(window->try_button);
}

static void update_host_line(EspLibraryWindow *window)
{
    unsigned cpus = g_get_num_processors();
    g_autofree char *memory = g_format_size_full(
        (guint64)sysconf(_SC_PHYS_PAGES) * (guint64)sysconf(_SC_PAGESIZE), G_FORMAT_SIZE_IEC_UNITS);
    bool kvm = access("/dev/kvm", R_OK | W_OK) == 0;
    const char *how =
        kvm ? _("Hardware virtualisation (KVM) was found.")
            : _("There is no hardware virtualisation: guests run on Espalier’s own software CPU.");
    g_autofree char *n = g_strdup_printf(ngettext("%u CPU", "%u CPUs", cpus), cpus);
    /* Translators: "This computer: 8 CPUs, 16 GiB of memory. Hardware virtualisation (KVM) was found." */
    g_autofree char *line = g_strdup_printf(_("This computer: %s, %s of memory. %s"), n, memory, how);
    gtk_label_set_text(window->host_label, line);
}

static gboolean esp_library_window_delete_event(GtkWidget *widget, GdkEventAny *event)
{
    EspLibraryWindow *window = ESP_LIBRARY_WINDOW(widget);
    int width, height;
    gtk_window_get_size(GTK_WINDOW(window), &width, &height);
    if (window->settings && !gtk_window_is_maximized(GTK_WINDOW(window)))
        g_settings_set(window->settings, "library-size", "(ii)", width, height);
    return GDK_EVENT_PROPAGATE;
}

GtkWidget *esp_library_window_new(GtkApplication *application, EspLibrary *library, GSettings *settings)
{
    EspLibraryWindow *window = g_object_new(ESP_TYPE_LIBRARY_WINDOW, "application", application, NULL);
    window->library = g_object_ref(library);
    window->settings = settings ? g_object_ref(settings) : NULL;
    if (settings) {
        int width, height;
        g_settings_get(settings, "library-size", "(ii)", &width, &height);
        gtk_window_set_default_size(GTK_WINDOW(window), CLAMP(width, 360, 8192), CLAMP(height, 300, 8192));
    }
    gtk_list_box_bind_model(window->list, G_LIST_MODEL(library), make_row, window, NULL);
    g_signal_connect_object(library, "items-changed", G_CALLBACK(update_page), window, G_CONNECT_SWAPPED);
    update_page(window);
    return GTK_WIDGET(window);
}

static void esp_library_window_dispose(GObject *object)
{
    EspLibraryWindow *window = ESP_LIBRARY_WINDOW(object);
    g_clear_object(&window->library);
    g_clear_object(&window->settings);
    G_OBJECT_CLASS(esp_library_window_parent_class)->dispose(object);
}

static void esp_library_window_class_init(EspLibraryWindowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->dispose = esp_library_window_dispose;
    widget_class->delete_event = esp_library_window_delete_event;
    g_type_ensure(ESP_TYPE_TOAST);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/library-window.ui");
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, stack);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, list);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, demo_button);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, try_button);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, host_label);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, toast);
    gtk_widget_class_bind_template_callback(widget_class, on_row_activated);
}

static void esp_library_window_init(EspLibraryWindow *window)
{
    gtk_widget_init_template(GTK_WIDGET(window));
    g_action_map_add_action_entries(G_ACTION_MAP(window), actions, G_N_ELEMENTS(actions), window);
    update_host_line(window);
}
