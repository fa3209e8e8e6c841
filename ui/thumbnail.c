/* Small pictures out of PNG files (see thumbnail.h). */
#include "ui/thumbnail.h"

#define PICTURE_MAX 16384 /* pixels a side: more is no screen of a machine's */

typedef struct Wish {
    char *file;
    EspThumbnailSize size;
} Wish;

static void wish_free(gpointer data)
{
    Wish *wish = data;

    g_free(wish->file);
    g_free(wish);
}

/* The picture in a tile, with the tile's round corners. */
static cairo_surface_t *round_tile(const GdkPixbuf *picture, const EspThumbnailSize *size)
{
    const double w = size->width, h = size->height, r = size->radius;
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_ARGB32, size->width * size->scale,
                                                          size->height * size->scale);

    cairo_surface_set_device_scale(surface, size->scale, size->scale);
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

static void load(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    const Wish *wish = data;
    int width = 0, height = 0;

    if (g_task_return_error_if_cancelled(task))
        return;
    g_autoptr(GdkPixbuf) picture =
        gdk_pixbuf_get_file_info(wish->file, &width, &height) && width <= PICTURE_MAX && height <= PICTURE_MAX
            ? gdk_pixbuf_new_from_file_at_size(wish->file, wish->size.width * wish->size.scale,
                                               wish->size.height * wish->size.scale, NULL)
            : NULL;
    g_task_return_pointer(task, picture ? round_tile(picture, &wish->size) : NULL,
                          (GDestroyNotify)cairo_surface_destroy);
}

void esp_thumbnail_load(const char *file, const EspThumbnailSize *size, GCancellable *cancellable,
                        GAsyncReadyCallback callback, gpointer data)
{
    GTask *task = g_task_new(NULL, cancellable, callback, data);
    Wish *wish = g_new0(Wish, 1);

    wish->file = g_strdup(file);
    wish->size = *size;
    g_task_set_task_data(task, wish, wish_free);
    g_task_run_in_thread(task, load);
    g_object_unref(task);
}

cairo_surface_t *esp_thumbnail_finish(GAsyncResult *result)
{
    return g_task_propagate_pointer(G_TASK(result), NULL);
}
