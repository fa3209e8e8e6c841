/* The order of booting as a list (see boot_order.h). */
#include "ui/boot_order.h"

#include <glib/gi18n.h>

#include "ui/setting_row.h"
#include "ui/settings_window.h"

struct _EspBootOrder {
    GtkBox parent_instance;
    EspSettingsModel *model;
    GtkWidget *rows;
};

G_DEFINE_TYPE(EspBootOrder, esp_boot_order, GTK_TYPE_BOX)

typedef struct Move {
    int index, direction;
} Move;

static bool move(EspMachineSettings *machine, gpointer data, GError **error)
{
    const Move *asked = data;

    esp_machine_settings_move_boot(machine, asked->index, asked->direction);
    return true;
}

static void on_moved(const GError *error, gpointer owner)
{
    if (error)
        esp_settings_window_say(gtk_widget_get_toplevel(GTK_WIDGET(owner)), error->message, NULL, NULL, NULL,
                                NULL);
}

static void on_button(GtkWidget *button, EspBootOrder *order)
{
    Move *asked = g_new(Move, 1);
    EspSettingsChange change = {.change = move, .data = asked, .free_data = g_free};

    asked->index = GPOINTER_TO_INT(g_object_get_data(G_OBJECT(button), "index"));
    asked->direction = GPOINTER_TO_INT(g_object_get_data(G_OBJECT(button), "direction"));
    esp_settings_model_change(order->model, &change, on_moved, G_OBJECT(order));
}

static void add_button(EspBootOrder *order, GtkWidget *box, const char *title, int index, int direction,
                       bool can)
{
    GtkWidget *button = gtk_button_new_from_icon_name(direction < 0 ? "go-up-symbolic" : "go-down-symbolic",
                                                      GTK_ICON_SIZE_BUTTON);
    g_autofree char *name = g_strdup_printf(direction < 0 ? _("Try earlier: %s") : _("Try later: %s"), title);

    g_object_set_data(G_OBJECT(button), "index", GINT_TO_POINTER(index));
    g_object_set_data(G_OBJECT(button), "direction", GINT_TO_POINTER(direction));
    gtk_widget_set_sensitive(button, can);
    gtk_widget_set_tooltip_text(button, name);
    atk_object_set_name(gtk_widget_get_accessible(button), name);
    g_signal_connect_object(button, "clicked", G_CALLBACK(on_button), order, 0);
    gtk_container_add(GTK_CONTAINER(box), button);
}

static void add_row(EspBootOrder *order, GtkWidget *list, const VmcDeviceConfig *device, int index,
                    bool first, bool last)
{
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    g_autofree char *title = esp_device_title(device);
    GtkWidget *label = gtk_label_new(title);
    GtkWidget *row = gtk_list_box_row_new();

    g_object_set(label, "xalign", 0.0, "hexpand", TRUE, "ellipsize", PANGO_ELLIPSIZE_MIDDLE, NULL);
    g_object_set(box, "margin-start", 12, "margin-end", 12, "margin-top", 6, "margin-bottom", 6, NULL);
    gtk_container_add(GTK_CONTAINER(box),
                      gtk_image_new_from_icon_name(esp_device_words(device->kind)->icon, GTK_ICON_SIZE_MENU));
    gtk_container_add(GTK_CONTAINER(box), label);
    add_button(order, box, title, index, -1, !first);
    add_button(order, box, title, index, 1, !last);
    gtk_container_add(GTK_CONTAINER(row), box);
    g_object_set(row, "activatable", FALSE, "selectable", FALSE, "can-focus", FALSE, NULL);
    gtk_widget_show_all(row);
    gtk_container_add(GTK_CONTAINER(list), row);
}

static void update(EspBootOrder *order)
{
    const EspMachineSettings *machine = esp_settings_model_get(order->model);
    g_autoptr(GArray) devices = machine ? esp_machine_settings_boot_order(machine) : NULL;
    GtkWidget *list;

    gtk_widget_set_visible(GTK_WIDGET(order),
                           devices && devices->len > 1 && machine->config->boot.kind == VMC_BOOT_EFI);
    gtk_container_foreach(GTK_CONTAINER(order->rows), (GtkCallback)(void *)gtk_widget_destroy, NULL);
    if (!devices)
        return;
    list = esp_setting_list_new(_("Boot order"));
    gtk_container_add(GTK_CONTAINER(order->rows), list);
    for (guint i = 0; i < devices->len; i++) {
        int index = g_array_index(devices, int, i);
        add_row(order, list, esp_machine_settings_device(machine, index), index, i == 0,
                i + 1 == devices->len);
    }
}

GtkWidget *esp_boot_order_new(EspSettingsModel *model)
{
    EspBootOrder *order = g_object_new(ESP_TYPE_BOOT_ORDER, NULL);

    order->model = g_object_ref(model);
    g_signal_connect_object(model, "changed", G_CALLBACK(update), order, G_CONNECT_SWAPPED);
    update(order);
    return GTK_WIDGET(order);
}

static void esp_boot_order_dispose(GObject *object)
{
    g_clear_object(&ESP_BOOT_ORDER(object)->model);
    G_OBJECT_CLASS(esp_boot_order_parent_class)->dispose(object);
}

static void esp_boot_order_class_init(EspBootOrderClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->dispose = esp_boot_order_dispose;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/boot-order.ui");
    gtk_widget_class_bind_template_child(widget_class, EspBootOrder, rows);
}

static void esp_boot_order_init(EspBootOrder *order)
{
    gtk_widget_init_template(GTK_WIDGET(order));
}
