/* The window with a machine's settings (see settings_window.h). */
#include "ui/settings_window.h"

#include <glib/gi18n.h>

#include "ui/settings_model.h"
#include "ui/settings_page.h"
#include "ui/status_page.h"
#include "ui/toast.h"

struct _EspSettingsWindow {
    GtkWindow parent_instance;
    EspSettingsModel *model;
    GtkHeaderBar *header;
    GtkStack *states, *pages;
    GtkListBox *sidebar;
    GtkWidget *running_bar;
    EspStatusPage *status;
    EspToast *toast;
    bool made; /* the pages */
};

G_DEFINE_TYPE(EspSettingsWindow, esp_settings_window, GTK_TYPE_WINDOW)

static const char *const icons[ESP_SETTING_GROUPS] = {
    [ESP_GROUP_GENERAL] = "preferences-system-symbolic",
    [ESP_GROUP_SYSTEM] = "computer-symbolic",
    [ESP_GROUP_DISPLAY] = "video-display-symbolic",
    [ESP_GROUP_INPUT] = "input-keyboard-symbolic",
    [ESP_GROUP_REGION] = "preferences-desktop-locale-symbolic",
    [ESP_GROUP_SHARING] = "folder-remote-symbolic",
    [ESP_GROUP_NETWORK] = "network-wired-symbolic",
    [ESP_GROUP_SOUND] = "audio-speakers-symbolic",
    [ESP_GROUP_DRIVES] = "drive-harddisk-symbolic",
    [ESP_GROUP_SERIAL] = "utilities-terminal-symbolic",
    [ESP_GROUP_ADVANCED] = "applications-engineering-symbolic",
};

void esp_settings_window_say(GtkWidget *window, const char *message, const char *button, GCallback func,
                             gpointer data, GDestroyNotify free_data)
{
    if (ESP_IS_SETTINGS_WINDOW(window))
        esp_toast_show(ESP_SETTINGS_WINDOW(window)->toast, message, button, func, data, free_data);
    else if (free_data)
        free_data(data);
}

static void on_group_selected(EspSettingsWindow *window, GtkListBoxRow *row)
{
    g_autofree char *name = row ? g_strdup_printf("%d", gtk_list_box_row_get_index(row)) : NULL;

    if (name)
        gtk_stack_set_visible_child_name(window->pages, name);
}

static void add_group(EspSettingsWindow *window, EspSettingGroup group)
{
    const char *label = _(esp_setting_group_label(group));
    g_autofree char *name = g_strdup_printf("%d", (int)group);
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 12);
    GtkWidget *row = gtk_list_box_row_new();

    gtk_stack_add_titled(window->pages, esp_settings_page_new(window->model, group), name, label);
    g_object_set(box, "margin", 9, NULL);
    gtk_container_add(GTK_CONTAINER(box), gtk_image_new_from_icon_name(icons[group], GTK_ICON_SIZE_MENU));
    gtk_container_add(GTK_CONTAINER(box), gtk_label_new(label));
    gtk_container_add(GTK_CONTAINER(row), box);
    atk_object_set_name(gtk_widget_get_accessible(row), label);
    gtk_widget_show_all(row);
    gtk_container_add(GTK_CONTAINER(window->sidebar), row);
}

static void make_pages(EspSettingsWindow *window)
{
    window->made = true;
    for (unsigned group = 0; group < ESP_SETTING_GROUPS; group++)
        add_group(window, (EspSettingGroup)group);
    gtk_list_box_select_row(window->sidebar, gtk_list_box_get_row_at_index(window->sidebar, 0));
    gtk_widget_grab_focus(GTK_WIDGET(gtk_list_box_get_row_at_index(window->sidebar, 0)));
}

static void update(EspSettingsWindow *window)
{
    const EspMachineSettings *machine = esp_settings_model_get(window->model);
    const GError *error = esp_settings_model_get_error(window->model);

    if (!machine) {
        esp_status_page_set(window->status, "dialog-warning-symbolic", _("The settings cannot be read"),
                            error ? error->message : NULL);
        gtk_stack_set_visible_child_name(window->states, "trouble");
        return;
    }
    if (!window->made)
        make_pages(window);
    gtk_stack_set_visible_child_name(window->states, "settings");
    gtk_widget_set_visible(window->running_bar, esp_settings_model_is_running(window->model));
    /* Translators: the title of a window; %s is a virtual machine. */
    g_autofree char *title = g_strdup_printf(_("Settings of “%s”"), machine->name);
    gtk_window_set_title(GTK_WINDOW(window), title);
}

/* Esc closes a window in which nothing waits to be confirmed. */
static gboolean on_key(EspSettingsWindow *window, GdkEventKey *event)
{
    bool close = event->keyval == GDK_KEY_Escape ||
                 (event->keyval == GDK_KEY_w &&
                  (event->state & gtk_accelerator_get_default_mod_mask()) == GDK_CONTROL_MASK);

    if (close)
        gtk_window_close(GTK_WINDOW(window));
    return close;
}

GtkWidget *esp_settings_window_new(GtkWindow *parent, const char *bundle_path)
{
    EspSettingsWindow *window = g_object_new(ESP_TYPE_SETTINGS_WINDOW, NULL);

    if (parent) {
        gtk_window_set_transient_for(GTK_WINDOW(window), parent);
        gtk_window_set_destroy_with_parent(GTK_WINDOW(window), TRUE);
    }
    window->model = esp_settings_model_new(bundle_path);
    g_signal_connect_object(window->model, "changed", G_CALLBACK(update), window, G_CONNECT_SWAPPED);
    return GTK_WIDGET(window);
}

static void esp_settings_window_dispose(GObject *object)
{
    EspSettingsWindow *window = ESP_SETTINGS_WINDOW(object);

    if (window->model)
        g_signal_handlers_disconnect_by_data(window->model, window);
    /* The rows write what was typed, so they go first. */
    G_OBJECT_CLASS(esp_settings_window_parent_class)->dispose(object);
    g_clear_object(&window->model);
}

static void esp_settings_window_class_init(EspSettingsWindowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = esp_settings_window_dispose;
    g_type_ensure(ESP_TYPE_STATUS_PAGE);
    g_type_ensure(ESP_TYPE_TOAST);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/settings-window.ui");
    gtk_widget_class_bind_template_child(widget_class, EspSettingsWindow, header);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsWindow, states);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsWindow, pages);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsWindow, sidebar);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsWindow, running_bar);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsWindow, status);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsWindow, toast);
    gtk_widget_class_bind_template_callback(widget_class, on_group_selected);
    gtk_widget_class_bind_template_callback(widget_class, on_key);
}

static void esp_settings_window_init(EspSettingsWindow *window)
{
    gtk_widget_init_template(GTK_WIDGET(window));
}
