/* The library window (see library_window.h). */
#include "ui/library_window.h"

#include <glib/gi18n.h>
#include <string.h>
#include <unistd.h>

#include "ui/library_import.h"
#include "ui/library_order.h"
#include "ui/library_view.h"
#include "ui/message.h"
#include "ui/new_assistant.h"
#include "ui/start_clock.h"
#include "ui/welcome_window.h"

struct _EspLibraryWindow {
    GtkApplicationWindow parent_instance;
    EspLibrary *library;
    EspMachineOpener *opener;
    EspLibraryOrder *order;
    EspMachineHost host;
    GSettings *settings;
    GtkStack *stack;
    EspLibraryView *view;
    GtkSearchBar *search_bar;
    GtkEntry *search_entry;
    GtkLabel *lost_label;
    EspJobList *jobs;
    GtkWidget *search_button;
    GtkWidget *view_button;
    GtkImage *view_image;
    AtkObject *view_accessible;
    GtkWidget *demo_button;
    GtkWidget *try_button;
    GtkLabel *host_label;
    EspToast *toast;
};

G_DEFINE_TYPE(EspLibraryWindow, esp_library_window, GTK_TYPE_APPLICATION_WINDOW)

/* --- Opening machines --------------------------------------------------------------------------- */

static void on_failed(EspLibraryWindow *window, const char *name, const char *why)
{
    if (why) {
        g_autofree char *title = g_strdup_printf(_("“%s” cannot be opened"), name);
        esp_message_show(GTK_WINDOW(window), title, why);
    } else {
        g_autofree char *message = g_strdup_printf(_("The window of “%s” could not be opened."), name);
        esp_toast_show(window->toast, message, NULL, NULL, NULL, NULL);
    }
}

static void open_machine(EspLibraryWindow *window, const char *path, const char *name)
{
    esp_machine_opener_open(window->opener, GTK_WIDGET(window), path, name);
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
        esp_message_show(GTK_WINDOW(window), _("The demo guest cannot be started"), error->message);
        return;
    }
    esp_library_rescan(window->library);
    open_machine(window, path, _("Demo"));
}

static void on_open_new(EspLibraryWindow *window, const char *path)
{
    g_autofree char *name = g_path_get_basename(path);
    if (g_str_has_suffix(name, ESP_BUNDLE_SUFFIX))
        name[strlen(name) - strlen(ESP_BUNDLE_SUFFIX)] = '\0';
    esp_library_rescan(window->library);
    open_machine(window, path, name);
}

static void on_new(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspLibraryWindow *window = data;
    GtkWidget *assistant = esp_new_assistant_new(GTK_WINDOW(window), esp_library_get_dir(window->library));
    g_signal_connect_object(assistant, "open", G_CALLBACK(on_open_new), window, G_CONNECT_SWAPPED);
    gtk_window_present(GTK_WINDOW(assistant));
}

static void on_open_folder(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspLibraryWindow *window = data;
    const char *dir = esp_library_get_dir(window->library);
    g_autoptr(GError) error = NULL;
    g_mkdir_with_parents(dir, 0700);
    g_autofree char *uri = g_filename_to_uri(dir, NULL, &error);
    if (!uri || !gtk_show_uri_on_window(GTK_WINDOW(window), uri, gtk_get_current_event_time(), &error))
        esp_message_show(GTK_WINDOW(window), _("The folder cannot be shown"), error->message);
}

static void on_close(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    gtk_window_close(GTK_WINDOW(data));
}

static void on_import(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    esp_library_import_choose(&((EspLibraryWindow *)data)->host);
}

static void on_check(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspLibraryWindow *window = data;
    gtk_widget_show(esp_welcome_window_new(GTK_WINDOW(window), esp_library_get_dir(window->library), false));
}

static void on_search(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspLibraryWindow *window = data;
    bool on = gtk_widget_get_visible(window->search_button);
    gtk_search_bar_set_search_mode(window->search_bar, on);
    if (on)
        gtk_widget_grab_focus(GTK_WIDGET(window->search_entry));
}

static const GActionEntry actions[] = {
    {.name = "new", .activate = on_new},       {.name = "demo", .activate = on_demo},
    {.name = "import", .activate = on_import}, {.name = "check", .activate = on_check},
    {.name = "search", .activate = on_search}, {.name = "open-folder", .activate = on_open_folder},
    {.name = "close", .activate = on_close},
};

/* --- The window --------------------------------------------------------------------------------- */

static void update_page(EspLibraryWindow *window)
{
    bool empty = g_list_model_get_n_items(G_LIST_MODEL(window->library)) == 0;
    bool lost = esp_library_is_lost(window->library);
    bool none = g_list_model_get_n_items(esp_library_order_get_model(window->order)) == 0;
    const char *page = lost && empty ? "lost" : empty ? "empty" : none ? "nothing" : "list";
    bool changed = g_strcmp0(page, gtk_stack_get_visible_child_name(window->stack)) != 0;
    gtk_stack_set_visible_child_name(window->stack, page);
    gtk_widget_set_visible(window->demo_button, !empty);
    gtk_widget_set_visible(window->search_button, !empty);
    gtk_widget_set_visible(window->view_button, !empty);
    if (empty)
        gtk_search_bar_set_search_mode(window->search_bar, FALSE);
    if (empty && !lost && changed)
        gtk_widget_grab_focus(window->try_button);
}

static void update_lost(EspLibraryWindow *window)
{
    g_autofree char *shown = g_filename_display_name(esp_library_get_dir(window->library));
    g_autofree char *text = g_strdup_printf(
        _("The folder of the virtual machines, “%s”, is not there any more. If it is on a disk that was "
          "taken out, or was moved, bring it back: the machines appear by themselves."),
        shown);
    gtk_label_set_text(window->lost_label, text);
    update_page(window);
}

static void on_search_changed(EspLibraryWindow *window)
{
    if (window->order)
        esp_library_order_set_search(window->order, gtk_entry_get_text(window->search_entry));
}

/* Typing searches, wherever the focus is, unless something is typed into already. */
static gboolean esp_library_window_key_press_event(GtkWidget *widget, GdkEventKey *event)
{
    EspLibraryWindow *window = ESP_LIBRARY_WINDOW(widget);
    GtkWidget *focus = gtk_window_get_focus(GTK_WINDOW(widget));
    if (!GTK_IS_EDITABLE(focus) && gtk_widget_get_visible(window->search_button) &&
        gtk_search_bar_handle_event(window->search_bar, (GdkEvent *)event) == GDK_EVENT_STOP)
        return GDK_EVENT_STOP;
    return GTK_WIDGET_CLASS(esp_library_window_parent_class)->key_press_event(widget, event);
}

/* --- How they are shown ------------------------------------------------------------------------- */

static void update_view(EspLibraryWindow *window)
{
    GActionGroup *group = G_ACTION_GROUP(window);
    g_autoptr(GVariant) view = g_action_group_get_action_state(group, "library-view");
    g_autoptr(GVariant) sort = g_action_group_get_action_state(group, "library-sort");
    bool cards = g_strcmp0(g_variant_get_string(view, NULL), "cards") == 0;
    const char *by = g_variant_get_string(sort, NULL);
    const char *tip = cards ? _("Show as a list") : _("Show as cards");
    esp_library_order_set_sort(window->order, g_strcmp0(by, "last-used") == 0 ? ESP_SORT_LAST_USED
                                              : g_strcmp0(by, "state") == 0   ? ESP_SORT_STATE
                                                                              : ESP_SORT_NAME);
    esp_library_view_set_cards(window->view, cards);
    gtk_image_set_from_icon_name(window->view_image, cards ? "view-list-symbolic" : "view-grid-symbolic",
                                 GTK_ICON_SIZE_BUTTON);
    gtk_widget_set_tooltip_text(window->view_button, tip);
    atk_object_set_name(window->view_accessible, tip);
}

static void on_view_button(EspLibraryWindow *window)
{
    g_autoptr(GVariant) view = g_action_group_get_action_state(G_ACTION_GROUP(window), "library-view");
    bool cards = g_strcmp0(g_variant_get_string(view, NULL), "cards") == 0;
    g_action_group_change_action_state(G_ACTION_GROUP(window), "library-view",
                                       g_variant_new_string(cards ? "list" : "cards"));
}

/* A choice that is kept, where there is somewhere to keep it. */
static void add_choice(EspLibraryWindow *window, const char *key, const char *preset)
{
    g_autoptr(GAction) action = window->settings
                                    ? g_settings_create_action(window->settings, key)
                                    : G_ACTION(g_simple_action_new_stateful(key, G_VARIANT_TYPE_STRING,
                                                                            g_variant_new_string(preset)));
    g_action_map_add_action(G_ACTION_MAP(window), action);
    g_signal_connect_object(action, "notify::state", G_CALLBACK(update_view), window, G_CONNECT_SWAPPED);
}

/* --- The first time ----------------------------------------------------------------------------- */

static gboolean on_welcome(gpointer data)
{
    EspLibraryWindow *window = data;
    if (gtk_widget_get_visible(GTK_WIDGET(window))) {
        g_settings_set_boolean(window->settings, "welcome-seen", TRUE);
        gtk_widget_show(
            esp_welcome_window_new(GTK_WINDOW(window), esp_library_get_dir(window->library), true));
    }
    g_object_unref(window);
    return G_SOURCE_REMOVE;
}

static void on_first_frame(GdkFrameClock *clock, EspLibraryWindow *window)
{
    g_signal_handlers_disconnect_by_func(clock, on_first_frame, window);
    esp_count("library-cpu-ms", esp_cpu_ms());
    esp_count("library-on-screen-ms", esp_ms_since_start());
    if (window->settings && !g_settings_get_boolean(window->settings, "welcome-seen"))
        g_idle_add_full(G_PRIORITY_LOW, on_welcome, g_object_ref(window), NULL);
}

static void on_realize(EspLibraryWindow *window)
{
    GdkFrameClock *clock = gtk_widget_get_frame_clock(GTK_WIDGET(window));
    g_signal_connect_object(clock, "after-paint", G_CALLBACK(on_first_frame), window, 0);
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
    window->host = (EspMachineHost){GTK_WINDOW(window), library, window->opener, window->jobs, window->toast};
    window->order = esp_library_order_new(library);
    add_choice(window, "library-view", "cards");
    add_choice(window, "library-sort", "name");
    update_view(window);
    esp_library_view_show(window->view, &window->host, esp_library_order_get_model(window->order));
    esp_library_import_accept_drops(&window->host, GTK_WIDGET(window->stack));
    g_signal_connect_object(library, "items-changed", G_CALLBACK(update_page), window, G_CONNECT_SWAPPED);
    g_signal_connect_object(library, "notify::lost", G_CALLBACK(update_lost), window, G_CONNECT_SWAPPED);
    g_signal_connect_object(esp_library_order_get_model(window->order), "items-changed",
                            G_CALLBACK(update_page), window, G_CONNECT_SWAPPED);
    g_signal_connect(window, "realize", G_CALLBACK(on_realize), NULL);
    update_lost(window);
    return GTK_WIDGET(window);
}

void esp_library_window_import(EspLibraryWindow *window, const char *path)
{
    esp_library_import(&window->host, path);
}

static void esp_library_window_dispose(GObject *object)
{
    EspLibraryWindow *window = ESP_LIBRARY_WINDOW(object);
    if (window->order)
        g_signal_handlers_disconnect_by_data(esp_library_order_get_model(window->order), window);
    g_clear_object(&window->order);
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
    widget_class->key_press_event = esp_library_window_key_press_event;
    g_type_ensure(ESP_TYPE_TOAST);
    g_type_ensure(ESP_TYPE_JOB_LIST);
    g_type_ensure(ESP_TYPE_LIBRARY_VIEW);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/library-window.ui");
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, stack);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, view);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, search_bar);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, search_entry);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, lost_label);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, jobs);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, search_button);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, view_button);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, view_image);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, view_accessible);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, demo_button);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, try_button);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, host_label);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryWindow, toast);
    gtk_widget_class_bind_template_callback(widget_class, on_search_changed);
    gtk_widget_class_bind_template_callback(widget_class, on_view_button);
}

static void esp_library_window_init(EspLibraryWindow *window)
{
    gtk_widget_init_template(GTK_WIDGET(window));
    gtk_search_bar_connect_entry(window->search_bar, window->search_entry);
    g_object_bind_property(window->search_button, "active", window->search_bar, "search-mode-enabled",
                           G_BINDING_BIDIRECTIONAL);
    g_action_map_add_action_entries(G_ACTION_MAP(window), actions, G_N_ELEMENTS(actions), window);
    update_host_line(window);
}
