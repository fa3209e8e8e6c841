/* A big row of the assistant's lists (see new_row.h). */
#include "ui/new_row.h"

struct _EspNewRow {
    GtkListBoxRow parent_instance;
    char *id;
    GtkBox *box;
    GtkImage *icon, *mark;
    GtkLabel *title, *subtitle;
};

G_DEFINE_TYPE(EspNewRow, esp_new_row, GTK_TYPE_LIST_BOX_ROW)

GtkWidget *esp_new_row_new(const char *id, const char *icon_name, const char *title, const char *subtitle)
{
    EspNewRow *row = g_object_new(ESP_TYPE_NEW_ROW, NULL);
    AtkObject *accessible = gtk_widget_get_accessible(GTK_WIDGET(row));

    row->id = g_strdup(id);
    if (icon_name)
        gtk_image_set_from_icon_name(row->icon, icon_name, GTK_ICON_SIZE_DND);
    gtk_widget_set_visible(GTK_WIDGET(row->icon), icon_name != NULL);
    gtk_label_set_text(row->title, title);
    gtk_label_set_text(row->subtitle, subtitle ? subtitle : "");
    gtk_widget_set_visible(GTK_WIDGET(row->subtitle), subtitle && *subtitle);
    atk_object_set_name(accessible, title);
    atk_object_set_description(accessible, subtitle ? subtitle : "");
    return GTK_WIDGET(row);
}

const char *esp_new_row_get_id(EspNewRow *row)
{
    return row->id;
}

void esp_new_row_set_marked(EspNewRow *row, gboolean marked)
{
    gtk_widget_set_opacity(GTK_WIDGET(row->mark), marked ? 1 : 0);
}

GtkWidget *esp_new_row_add_button(EspNewRow *row, const char *icon_name, const char *tooltip)
{
    GtkWidget *button = gtk_button_new_from_icon_name(icon_name, GTK_ICON_SIZE_BUTTON);

    gtk_widget_set_tooltip_text(button, tooltip);
    gtk_widget_set_valign(button, GTK_ALIGN_CENTER);
    atk_object_set_name(gtk_widget_get_accessible(button), tooltip);
    gtk_style_context_add_class(gtk_widget_get_style_context(button), "flat");
    gtk_box_pack_end(row->box, button, FALSE, FALSE, 0);
    gtk_widget_hide(GTK_WIDGET(row->mark)); /* such a row is no choice */
    gtk_widget_show(button);
    return button;
}

static void esp_new_row_finalize(GObject *object)
{
    g_free(ESP_NEW_ROW(object)->id);
    G_OBJECT_CLASS(esp_new_row_parent_class)->finalize(object);
}

static void esp_new_row_class_init(EspNewRowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = esp_new_row_finalize;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/new-row.ui");
    gtk_widget_class_bind_template_child(widget_class, EspNewRow, box);
    gtk_widget_class_bind_template_child(widget_class, EspNewRow, icon);
    gtk_widget_class_bind_template_child(widget_class, EspNewRow, mark);
    gtk_widget_class_bind_template_child(widget_class, EspNewRow, title);
    gtk_widget_class_bind_template_child(widget_class, EspNewRow, subtitle);
}

static void esp_new_row_init(EspNewRow *row)
{
    gtk_widget_init_template(GTK_WIDGET(row));
}
