/*
 * A device with its settings (see settings_device.h).
 *
 * Where a device has several fields of which exactly one is given (what a network card's cable is plugged
 * into), one row chooses which of them it is, and only that one is shown. Choosing one that is a text changes
 * nothing until the text is there.
 */
#include "ui/settings_device.h"

#include <glib/gi18n.h>

#include "ui/setting_row.h"
#include "ui/settings_disk.h"
#include "ui/settings_remove.h"

struct _EspSettingsDevice {
    GtkBox parent_instance;
    EspSettingsModel *model;
    int index;
    VmcDeviceKind kind;
    GtkImage *icon;
    GtkLabel *title, *subtitle, *trouble;
    GtkWidget *buttons, *remove_button, *rows, *more;
    GtkWidget *mode; /* a combo box, or NULL */
    bool filling;
};

G_DEFINE_TYPE(EspSettingsDevice, esp_settings_device, GTK_TYPE_BOX)

static const VmcDeviceConfig *config_of(EspSettingsDevice *device)
{
    const EspMachineSettings *machine = esp_settings_model_get(device->model);
    const VmcDeviceConfig *config = machine ? esp_machine_settings_device(machine, device->index) : NULL;

    return config && config->kind == device->kind ? config : NULL;
}

static void on_remove(EspSettingsDevice *device)
{
    esp_settings_remove_device(GTK_WIDGET(device), device->model, device->index);
}

/* ---- one of several ---- */

static bool is_one_of(const EspSetting *setting, VmcDeviceKind kind)
{
    const VmcField *field = esp_setting_field(setting, kind);

    return setting->scope == ESP_SCOPE_DEVICE && field && field->one_of;
}

static void show_mode_row(GtkWidget *widget, gpointer data)
{
    EspSettingsDevice *device = data;

    if (!ESP_IS_SETTING_ROW(widget))
        return;
    const EspSetting *setting = esp_setting_row_get_setting(ESP_SETTING_ROW(widget));
    const char *chosen = gtk_combo_box_get_active_id(GTK_COMBO_BOX(device->mode));

    if (is_one_of(setting, device->kind))
        gtk_widget_set_visible(widget, !g_strcmp0(chosen, setting->name));
}

static GtkWidget *list_of(GtkWidget *box)
{
    g_autoptr(GList) children = gtk_container_get_children(GTK_CONTAINER(box));

    return children ? children->data : NULL;
}

static void show_mode_rows(EspSettingsDevice *device)
{
    gtk_container_foreach(GTK_CONTAINER(list_of(device->rows)), show_mode_row, device);
}

static void focus_mode_row(GtkWidget *widget, gpointer data)
{
    if (ESP_IS_SETTING_ROW(widget) && esp_setting_row_get_setting(ESP_SETTING_ROW(widget)) == data)
        esp_setting_row_focus(ESP_SETTING_ROW(widget));
}

static void on_mode_written(const GError *error, gpointer data)
{
    EspSettingsDevice *device = data;

    gtk_label_set_text(device->trouble, error ? error->message : "");
    gtk_widget_set_visible(GTK_WIDGET(device->trouble), error != NULL);
}

static void on_mode(EspSettingsDevice *device)
{
    const char *name = gtk_combo_box_get_active_id(GTK_COMBO_BOX(device->mode));
    const EspSetting *setting = name ? esp_setting_by_name(name) : NULL;

    if (device->filling || !setting)
        return;
    show_mode_rows(device);
    if (esp_setting_type(setting, device->kind) == VMC_FIELD_FLAG)
        esp_settings_model_set(device->model, setting, device->index, "yes", on_mode_written,
                               G_OBJECT(device));
    else
        gtk_container_foreach(GTK_CONTAINER(list_of(device->rows)), focus_mode_row, (gpointer)setting);
}

static void update_mode(EspSettingsDevice *device, const VmcDeviceConfig *config)
{
    const EspSetting *table;
    unsigned n;

    if (!device->mode || gtk_widget_has_focus(device->mode))
        return;
    table = esp_settings_table(&n);
    for (unsigned i = 0; i < n; i++)
        if (esp_setting_is_for(&table[i], device->kind) && is_one_of(&table[i], device->kind) &&
            vmc_field_is_set(esp_setting_field(&table[i], device->kind), config)) {
            device->filling = true;
            gtk_combo_box_set_active_id(GTK_COMBO_BOX(device->mode), table[i].name);
            device->filling = false;
            show_mode_rows(device);
        }
}

static void add_mode_row(EspSettingsDevice *device, GtkWidget *list, const EspSetting *const *settings,
                         unsigned n)
{
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 18);
    GtkWidget *label = gtk_label_new(_("Connected to"));
    GtkWidget *row = gtk_list_box_row_new();

    device->mode = gtk_combo_box_text_new();
    for (unsigned i = 0; i < n; i++)
        gtk_combo_box_text_append(GTK_COMBO_BOX_TEXT(device->mode), settings[i]->name, _(settings[i]->label));
    g_signal_connect_object(device->mode, "changed", G_CALLBACK(on_mode), device, G_CONNECT_SWAPPED);
    atk_object_set_name(gtk_widget_get_accessible(device->mode), _("Connected to"));
    g_object_set(label, "xalign", 0.0, "hexpand", TRUE, NULL);
    g_object_set(box, "margin-start", 12, "margin-end", 12, "margin-top", 9, "margin-bottom", 9, NULL);
    gtk_container_add(GTK_CONTAINER(box), label);
    gtk_container_add(GTK_CONTAINER(box), device->mode);
    gtk_container_add(GTK_CONTAINER(row), box);
    g_object_set(row, "activatable", FALSE, "selectable", FALSE, "can-focus", FALSE, NULL);
    gtk_widget_show_all(row);
    gtk_container_add(GTK_CONTAINER(list), row);
}

/* ---- all of it ---- */

static void add_rows(EspSettingsDevice *device)
{
    g_autofree char *title = esp_device_title(config_of(device));
    GtkWidget *usual = esp_setting_list_new(title), *rare = esp_setting_list_new(_("More"));
    const EspSetting *one_of[8];
    unsigned n, n_one_of = 0, n_usual = 0, n_rare = 0;
    const EspSetting *table = esp_settings_table(&n);

    for (unsigned i = 0; i < n; i++)
        if (esp_setting_is_for(&table[i], device->kind) && is_one_of(&table[i], device->kind) &&
            n_one_of < G_N_ELEMENTS(one_of))
            one_of[n_one_of++] = &table[i];
    if (n_one_of > 1)
        add_mode_row(device, usual, one_of, n_one_of);
    for (unsigned i = 0; i < n; i++) {
        const EspSetting *setting = &table[i];
        bool in_mode = n_one_of > 1 && is_one_of(setting, device->kind);
        bool is_rare = setting->flags & ESP_SETTING_RARE && !in_mode;

        if (!esp_setting_is_for(setting, device->kind) ||
            (setting->scope == ESP_SCOPE_DEVICE && !esp_setting_field(setting, device->kind)) ||
            (in_mode && esp_setting_type(setting, device->kind) == VMC_FIELD_FLAG))
            continue;
        gtk_container_add(GTK_CONTAINER(is_rare ? rare : usual),
                          esp_setting_row_new(device->model, setting, device->index));
        /* A slot alone is not worth a section. */
        *(is_rare ? &n_rare : &n_usual) += g_strcmp0(setting->field, vmc_pci_slot_field.name) != 0;
    }
    gtk_container_add(GTK_CONTAINER(device->rows), usual);
    gtk_widget_set_visible(usual, n_usual || n_one_of > 1);
    gtk_container_add(GTK_CONTAINER(device->more), rare);
    gtk_widget_set_visible(device->more, n_rare > 0);
}

static void update(EspSettingsDevice *device)
{
    const VmcDeviceConfig *config = config_of(device);
    const EspDeviceWords *words = esp_device_words(device->kind);
    const char *why;

    if (!config)
        return;
    g_autofree char *title = esp_device_title(config);
    g_autofree char *remove = g_strdup_printf(_("Remove: %s"), title);
    why = words->why_not ? words->why_not(esp_settings_model_get(device->model), config) : NULL;
    gtk_label_set_text(device->title, title);
    gtk_label_set_text(device->subtitle, why ? why : _(words->help));
    gtk_widget_show(GTK_WIDGET(device->subtitle));
    gtk_widget_set_tooltip_text(device->remove_button, remove);
    atk_object_set_name(gtk_widget_get_accessible(device->remove_button), remove);
    update_mode(device, config);
}

GtkWidget *esp_settings_device_new(EspSettingsModel *model, int index)
{
    EspSettingsDevice *device = g_object_new(ESP_TYPE_SETTINGS_DEVICE, NULL);
    const VmcDeviceConfig *config = esp_machine_settings_device(esp_settings_model_get(model), index);

    device->model = g_object_ref(model);
    device->index = index;
    device->kind = config->kind;
    gtk_image_set_from_icon_name(device->icon, esp_device_words(config->kind)->icon,
                                 GTK_ICON_SIZE_LARGE_TOOLBAR);
    add_rows(device);
    if (esp_settings_is_disk(config->kind))
        gtk_container_add(GTK_CONTAINER(device->buttons), esp_settings_disk_button_new(model, index));
    g_signal_connect_object(model, "changed", G_CALLBACK(update), device, G_CONNECT_SWAPPED);
    update(device);
    return GTK_WIDGET(device);
}

static void esp_settings_device_dispose(GObject *object)
{
    g_clear_object(&ESP_SETTINGS_DEVICE(object)->model);
    G_OBJECT_CLASS(esp_settings_device_parent_class)->dispose(object);
}

static void esp_settings_device_class_init(EspSettingsDeviceClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = esp_settings_device_dispose;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/settings-device.ui");
    gtk_widget_class_bind_template_child(widget_class, EspSettingsDevice, icon);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsDevice, title);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsDevice, subtitle);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsDevice, trouble);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsDevice, buttons);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsDevice, remove_button);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsDevice, rows);
    gtk_widget_class_bind_template_child(widget_class, EspSettingsDevice, more);
    gtk_widget_class_bind_template_callback(widget_class, on_remove);
}

static void esp_settings_device_init(EspSettingsDevice *device)
{
    gtk_widget_init_template(GTK_WIDGET(device));
}
