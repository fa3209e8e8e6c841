/* The library window (see library_window.h). */
#include "ui/library_window.h"

#include <glib/gi18n.h>
#include <unistd.h>

#include "ui/library_row.h"
#include "ui/machine_opener.h"
#include "ui/toast.h"

struct _EspLibraryWindow {
    GtkApplicationWindow parent_instance;
    EspLibrary *library;
    EspMachineOpener *opener;
    GSettings *settings;
    GtkStack *stack;
    GtkListBox *list;
    GtkWidget *demo_button;
    GtkWidget *try_button;
    GtkLabel *host_label;
    EspToast *toast;
};

G_DEFINE_TYPE(EspLibraryWindow, esp_library_window, GTK_TYPE_APPLICATION_WINDOW)

/* --- Opening machines --------------------------------------------------------------------------- */

static void complain(EspLibraryWindow *window, const char *title, const char *why)
{
    GtkWidget *dialog =
        gtk_message_dialog_new(GTK_WINDOW(window), GTK_DIALOG_MODAL | GTK_DIALOG_DESTROY_WITH_PARENT,
                               GTK_MESSAGE_ERROR, GTK_BUTTONS_CLOSE, "%s", title);
    gtk_message_dialog_format_secondary_text(GTK_MESSAGE_DIALOG(dialog), "%s", why);
    g_signal_connect(dialog, "response", G_CALLBACK(gtk_widget_destroy), NULL);
    gtk_widget_show(dialog);
}

static void on_failed(EspLibraryWindow *window, const char *name, const char *why)
{
    if (why) {
        g_autofree char *title = g_strdup_printf(_("“%s” cannot be opened"), name);
        complain(window, title, why);
    } else {
        g_autofree char *message = g_strdup_printf(_("The window of “%s” could not be opened."), name);
        esp_toast_show(window->toast, message, NULL, NULL, NULL, NULL);
    }
}

static void open_machine(EspLibraryWindow *window, const char *path, const char *name)
{
    esp_machine_opener_open(window->opener, GTK_WIDGET(window), path, name);
}

static void on_row_activated(EspLibraryWindow *window, GtkListBoxRow *row)
{
    EspLibraryItem *item = esp_library_row_get_item(ESP_LIBRARY_ROW(row));
    if (esp_library_item_get_crashed(item)) /* from there it can be started again */
        esp_machine_opener_show_crash(window->opener, esp_library_item_get_path(item));
    else
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
    window->opener = esp_machine_opener_new(application, library);
    g_signal_connect_object(window->opener, "failed", G_CALLBACK(on_failed), window, G_CONNECT_SWAPPED);
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
    g_clear_object(&window->opener);
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
