/* Port forwards as rows (see forward_editor.h). */
#include "ui/forward_editor.h"

#include <glib/gi18n.h>
#include <stdbool.h>
#include <string.h>

struct _EspForwardEditor {
    GtkBox parent_instance;
    GtkWidget *rows;
    GtkWidget *add_button;
};

enum { CHANGED, N_SIGNALS };
static guint signals[N_SIGNALS];

G_DEFINE_TYPE(EspForwardEditor, esp_forward_editor, GTK_TYPE_BOX)

/* The parts of a row, kept in it by name. */
#define PROTOCOL "protocol"
#define HERE     "here"
#define THERE    "there"

static void changed(EspForwardEditor *editor)
{
    g_signal_emit(editor, signals[CHANGED], 0);
}

static void on_remove(GtkWidget *button, EspForwardEditor *editor)
{
    gtk_widget_destroy(gtk_widget_get_parent(button));
    gtk_widget_grab_focus(editor->add_button);
    changed(editor);
}

static GtkWidget *add_entry(EspForwardEditor *editor, GtkWidget *row, const char *key, const char *name,
                            const char *text)
{
    GtkWidget *entry = gtk_entry_new();

    gtk_entry_set_text(GTK_ENTRY(entry), text);
    gtk_entry_set_width_chars(GTK_ENTRY(entry), 8);
    gtk_entry_set_placeholder_text(GTK_ENTRY(entry), name);
    gtk_widget_set_hexpand(entry, TRUE);
    atk_object_set_name(gtk_widget_get_accessible(entry), name);
    g_signal_connect_object(entry, "changed", G_CALLBACK(changed), editor, G_CONNECT_SWAPPED);
    gtk_container_add(GTK_CONTAINER(row), entry);
    g_object_set_data(G_OBJECT(row), key, entry);
    return entry;
}

static GtkWidget *add_row(EspForwardEditor *editor, const char *protocol, const char *here, const char *there)
{
    GtkWidget *row = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    GtkWidget *combo = gtk_combo_box_text_new();
    GtkWidget *remove = gtk_button_new_from_icon_name("list-remove-symbolic", GTK_ICON_SIZE_BUTTON);
    GtkWidget *first;

    gtk_combo_box_text_append(GTK_COMBO_BOX_TEXT(combo), "tcp", "TCP");
    gtk_combo_box_text_append(GTK_COMBO_BOX_TEXT(combo), "udp", "UDP");
    gtk_combo_box_set_active_id(GTK_COMBO_BOX(combo), protocol);
    atk_object_set_name(gtk_widget_get_accessible(combo), _("Protocol"));
    g_signal_connect_object(combo, "changed", G_CALLBACK(changed), editor, G_CONNECT_SWAPPED);
    gtk_container_add(GTK_CONTAINER(row), combo);
    g_object_set_data(G_OBJECT(row), PROTOCOL, combo);
    first = add_entry(editor, row, HERE, _("Port of this computer"), here);
    gtk_container_add(GTK_CONTAINER(row),
                      gtk_image_new_from_icon_name("go-next-symbolic", GTK_ICON_SIZE_MENU));
    add_entry(editor, row, THERE, _("Port of the guest"), there);
    gtk_widget_set_tooltip_text(remove, _("No longer forward this port"));
    atk_object_set_name(gtk_widget_get_accessible(remove), _("Remove"));
    g_signal_connect(remove, "clicked", G_CALLBACK(on_remove), editor);
    gtk_container_add(GTK_CONTAINER(row), remove);
    gtk_widget_show_all(row);
    gtk_container_add(GTK_CONTAINER(editor->rows), row);
    return first;
}

static void on_add(EspForwardEditor *editor)
{
    gtk_widget_grab_focus(add_row(editor, "tcp", "", ""));
}

static void add_text(EspForwardEditor *editor, const char *text)
{
    const char *colon = strchr(text, ':');
    const char *dash = strrchr(text, '-');
    bool udp = g_str_has_prefix(text, "udp:");
    const char *start = colon ? colon + 1 : text;
    g_autofree char *here = dash && dash >= start ? g_strndup(start, (gsize)(dash - start)) : g_strdup(start);

    add_row(editor, udp ? "udp" : "tcp", here, dash && dash >= start ? dash + 1 : "");
}

void esp_forward_editor_set(EspForwardEditor *editor, const char *text)
{
    g_auto(GStrv) list = *text ? g_strsplit(text, ",", -1) : NULL;

    gtk_container_foreach(GTK_CONTAINER(editor->rows), (GtkCallback)(void *)gtk_widget_destroy, NULL);
    for (unsigned i = 0; list && list[i]; i++)
        add_text(editor, list[i]);
}

static const char *entry_text(GtkWidget *row, const char *key)
{
    return gtk_entry_get_text(GTK_ENTRY(g_object_get_data(G_OBJECT(row), key)));
}

char *esp_forward_editor_get(EspForwardEditor *editor)
{
    g_autoptr(GList) rows = gtk_container_get_children(GTK_CONTAINER(editor->rows));
    GString *text = g_string_new(NULL);

    for (GList *l = rows; l; l = l->next) {
        const char *here = entry_text(l->data, HERE), *there = entry_text(l->data, THERE);
        GtkComboBox *combo = GTK_COMBO_BOX(g_object_get_data(G_OBJECT(l->data), PROTOCOL));

        /* Half a forward is one that is being typed. */
        if (*here && *there)
            g_string_append_printf(text, "%s%s:%s-%s", text->len ? "," : "",
                                   gtk_combo_box_get_active_id(combo), here, there);
    }
    return g_string_free(text, FALSE);
}

GtkWidget *esp_forward_editor_new(void)
{
    return g_object_new(ESP_TYPE_FORWARD_EDITOR, NULL);
}

static void esp_forward_editor_class_init(EspForwardEditorClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    signals[CHANGED] = g_signal_new("changed", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                    NULL, G_TYPE_NONE, 0);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/forward-editor.ui");
    gtk_widget_class_bind_template_child(widget_class, EspForwardEditor, rows);
    gtk_widget_class_bind_template_child(widget_class, EspForwardEditor, add_button);
    gtk_widget_class_bind_template_callback(widget_class, on_add);
}

static void esp_forward_editor_init(EspForwardEditor *editor)
{
    gtk_widget_init_template(GTK_WIDGET(editor));
}
