/*
 * A page of settings (see settings_page.h). Rows follow the settings by themselves; only when there are other
 * devices than before is the page made anew.
 */
#include "ui/settings_page.h"

#include <glib/gi18n.h>

#include "ui/boot_order.h"
#include "ui/setting_row.h"
#include "ui/settings_add.h"
#include "ui/settings_device.h"

struct _EspSettingsPage {
    GtkScrolledWindow parent_instance;
    EspSettingsModel *model;
    EspSettingGroup group;
    GtkWidget *content;
    GtkWidget *devices; /* what is made anew */
    char *shown;        /* the devices it was made for */
};

G_DEFINE_TYPE(EspSettingsPage, esp_settings_page, GTK_TYPE_SCROLLED_WINDOW)

/* Number and kind of each device of the group: "0:2 3:2". */
static char *describe(EspSettingsPage *page)
{
    const EspMachineSettings *machine = esp_settings_model_get(page->model);
    GString *text = g_string_new(NULL);

    for (int i = 0; esp_machine_settings_device(machine, i); i++) {
        VmcDeviceKind kind = esp_machine_settings_device(machine, i)->kind;
        if (esp_device_words(kind)->group == page->group)
            g_string_append_printf(text, "%d:%d ", i, (int)kind);
    }
    return g_string_free(text, FALSE);
}

static void add_devices(EspSettingsPage *page)
{
    const EspMachineSettings *machine = esp_settings_model_get(page->model);

    for (int i = 0; esp_machine_settings_device(machine, i); i++)
        if (esp_device_words(esp_machine_settings_device(machine, i)->kind)->group == page->group)
            gtk_container_add(GTK_CONTAINER(page->devices), esp_settings_device_new(page->model, i));
}

static void update(EspSettingsPage *page)
{
    g_autofree char *now = esp_settings_model_get(page->model) ? describe(page) : NULL;

    if (!now || !g_strcmp0(now, page->shown))
        return;
    gtk_container_foreach(GTK_CONTAINER(page->devices), (GtkCallback)(void *)gtk_widget_destroy, NULL);
    add_devices(page);
    g_free(page->shown);
    page->shown = g_steal_pointer(&now);
}

static void add_machine_settings(EspSettingsPage *page)
{
    GtkWidget *list = NULL;
    unsigned n;
    const EspSetting *table = esp_settings_table(&n);

    for (unsigned i = 0; i < n; i++) {
        if (table[i].group != page->group || table[i].scope == ESP_SCOPE_DEVICE ||
            table[i].scope == ESP_SCOPE_KIND)
            continue;
        if (!list)
            list = esp_setting_list_new(_(esp_setting_group_label(page->group)));
        gtk_container_add(GTK_CONTAINER(list), esp_setting_row_new(page->model, &table[i], -1));
    }
    if (list)
        gtk_container_add(GTK_CONTAINER(page->content), list);
}

GtkWidget *esp_settings_page_new(EspSettingsModel *model, EspSettingGroup group)
{
    EspSettingsPage *page = g_object_new(ESP_TYPE_SETTINGS_PAGE, NULL);

    page->model = g_object_ref(model);
    page->group = group;
    add_machine_settings(page);
    page->devices = gtk_box_new(GTK_ORIENTATION_VERTICAL, 24);
    gtk_widget_show(page->devices);
    gtk_container_add(GTK_CONTAINER(page->content), page->devices);
    if (esp_settings_group_has_devices(group))
        gtk_container_add(GTK_CONTAINER(page->content), esp_settings_add_new(model, group));
    if (group == ESP_GROUP_DRIVES)
        gtk_container_add(GTK_CONTAINER(page->content), esp_boot_order_new(model));
    g_signal_connect_object(model, "changed", G_CALLBACK(update), page, G_CONNECT_SWAPPED);
    update(page);
    return GTK_WIDGET(page);
}

static void esp_settings_page_finalize(GObject *object)
{
    EspSettingsPage *page = ESP_SETTINGS_PAGE(object);

    g_clear_object(&page->model);
    g_free(page->shown);
    G_OBJECT_CLASS(esp_settings_page_parent_class)->finalize(object);
}

static void esp_settings_page_class_init(EspSettingsPageClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = esp_settings_page_finalize;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/settings-page.ui");
    gtk_widget_class_bind_template_child(widget_class, EspSettingsPage, content);
}

static void esp_settings_page_init(EspSettingsPage *page)
{
    gtk_widget_init_template(GTK_WIDGET(page));
}
