/* A machine in the library's list (see library_row.h). */
#include "ui/library_row.h"

#include <glib/gi18n.h>

#include "ui/words.h"

#define THUMBNAIL_WIDTH  104
#define THUMBNAIL_HEIGHT 78
#define THUMBNAIL_RADIUS 7 /* as .thumbnail in style.css */

struct _EspLibraryRow {
    GtkListBoxRow parent_instance;
    EspLibraryItem *item;
    GtkStack *thumbnail;
    GtkImage *picture;
    GtkLabel *name;
    GtkLabel *summary;
    GtkLabel *state;
    GtkWidget *open_button;
    AtkObject *open_accessible;
    GtkImage *open_image;
};

G_DEFINE_TYPE(EspLibraryRow, esp_library_row, GTK_TYPE_LIST_BOX_ROW)

static void on_open(EspLibraryRow *row)
{
    gtk_widget_activate(GTK_WIDGET(row));
}

/* The picture in a tile of the thumbnail's size, with the tile's round corners. */
static cairo_surface_t *round_tile(const GdkPixbuf *picture, int scale)
{
    const double w = THUMBNAIL_WIDTH, h = THUMBNAIL_HEIGHT, r = THUMBNAIL_RADIUS;
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_ARGB32, THUMBNAIL_WIDTH * scale, THUMBNAIL_HEIGHT * scale);
    cairo_surface_set_device_scale(surface, scale, scale);
    cairo_t *cr = cairo_create(surface);
    cairo_arc(cr, r, r, r, G_PI, 1.5 * G_PI);
    cairo_arc(cr, w - r, r, r, 1.5 * G_PI, 2 * G_PI);
    cairo_arc(cr, w - r, h - r, r, 0, 0.5 * G_PI);
    cairo_arc(cr, r, h - r, r, 0.5 * G_PI, G_PI);
    cairo_clip(cr);
    double width = gdk_pixbuf_get_width(picture), height = gdk_pixbuf_get_height(picture);
    double fit = MIN(w / width, h / height);
    cairo_translate(cr, (w - width * fit) / 2, (h - height * fit) / 2);
    cairo_scale(cr, fit, fit);
    gdk_cairo_set_source_pixbuf(cr, picture, 0, 0);
    cairo_paint(cr);
    cairo_destroy(cr);
    return surface;
}

static void update_picture(EspLibraryRow *row)
{
    const char *file = esp_library_item_get_screenshot(row->item);
    int scale = gtk_widget_get_scale_factor(GTK_WIDGET(row));
    g_autoptr(GdkPixbuf) picture =
        file ? gdk_pixbuf_new_from_file_at_size(file, THUMBNAIL_WIDTH * scale, THUMBNAIL_HEIGHT * scale, NULL)
             : NULL;
    if (picture) {
        cairo_surface_t *surface = round_tile(picture, scale);
        gtk_image_set_from_surface(row->picture, surface);
        cairo_surface_destroy(surface);
    }
    gtk_stack_set_visible_child_name(row->thumbnail, picture ? "picture" : "icon");
}

static void update(EspLibraryRow *row)
{
    const char *state_name = esp_library_item_get_state(row->item);
    VmcMachineState state = esp_state_from_name(state_name);
    bool alive = state_name && state != VMC_MACHINE_STOPPED;
    const char *name = esp_library_item_get_name(row->item);

    gtk_label_set_text(row->name, name);
    gtk_label_set_text(row->summary, esp_library_item_get_summary(row->item));
    bool crashed = esp_library_item_get_crashed(row->item);
    gtk_label_set_text(row->state, alive ? esp_state_words(state) : crashed ? _("Ended unexpectedly") : "");
    gtk_widget_set_visible(GTK_WIDGET(row->state), alive || crashed);

    GtkStyleContext *style = gtk_widget_get_style_context(GTK_WIDGET(row->state));
    gtk_style_context_remove_class(style, "running");
    gtk_style_context_remove_class(style, "trouble");
    if (alive || crashed)
        gtk_style_context_add_class(style, crashed || state == VMC_MACHINE_ERROR ? "trouble" : "running");

    const char *does = alive ? _("Show “%s”") : crashed ? _("See what happened to “%s”") : _("Start “%s”");
    g_autofree char *tip = g_strdup_printf(does, name);
    gtk_widget_set_tooltip_text(row->open_button, tip);
    atk_object_set_name(row->open_accessible, tip);
    atk_object_set_name(gtk_widget_get_accessible(GTK_WIDGET(row)), name);
    gtk_image_set_from_icon_name(row->open_image,
                                 alive || crashed ? "go-next-symbolic" : "media-playback-start-symbolic",
                                 GTK_ICON_SIZE_BUTTON);
    update_picture(row);
}

GtkWidget *esp_library_row_new(EspLibraryItem *item)
{
    EspLibraryRow *row = g_object_new(ESP_TYPE_LIBRARY_ROW, NULL);
    row->item = g_object_ref(item);
    g_signal_connect_object(item, "notify", G_CALLBACK(update), row, G_CONNECT_SWAPPED);
    update(row);
    return GTK_WIDGET(row);
}

EspLibraryItem *esp_library_row_get_item(EspLibraryRow *row)
{
    return row->item;
}

static void esp_library_row_dispose(GObject *object)
{
    EspLibraryRow *row = ESP_LIBRARY_ROW(object);
    g_clear_object(&row->item);
    G_OBJECT_CLASS(esp_library_row_parent_class)->dispose(object);
}

static void esp_library_row_class_init(EspLibraryRowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->dispose = esp_library_row_dispose;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/library-row.ui");
    gtk_widget_class_bind_template_child(widget_class, EspLibraryRow, thumbnail);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryRow, picture);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryRow, name);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryRow, summary);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryRow, state);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryRow, open_button);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryRow, open_accessible);
    gtk_widget_class_bind_template_child(widget_class, EspLibraryRow, open_image);
    gtk_widget_class_bind_template_callback(widget_class, on_open);
}

static void esp_library_row_init(EspLibraryRow *row)
{
    gtk_widget_init_template(GTK_WIDGET(row));
}
