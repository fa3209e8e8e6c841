/*
 * The guest's pointer and the window's size (display_follow.h).
 *
 * The display tells on the machine's threads; that is only noted, and looked into when GTK's loop has time. A
 * wish for a size waits until the window has kept its own for a moment, and is repeated while the guest has
 * no driver yet that could hear it. Only a picture that is scaled to fit follows: with one pixel for one, or
 * in a size the guest has chosen itself, the window is what adapts.
 */
#include "ui/display_follow.h"

#include <math.h>

#define SETTLE_MS 250
#define AGAIN_MS  2000

struct EspDisplayFollow {
    EspDisplayView *view;
    VmcDisplay *display;
    gint pointer_news; /* atomic: the idle function is on its way */
    gulong allocated;
    guint wish_id;
    bool resize;
    unsigned width, height; /* the last wish that was heard */
};

/* ---- the pointer ---- */

static GdkCursor *make_cursor(EspDisplayFollow *follow, const VmcCursor *cursor)
{
    GtkWidget *widget = GTK_WIDGET(follow->view);
    int scale = gtk_widget_get_scale_factor(widget);
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_ARGB32, (int)cursor->width, (int)cursor->height);
    cairo_surface_flush(surface);
    for (unsigned y = 0; y < cursor->height; y++)
        memcpy(cairo_image_surface_get_data(surface) + y * (size_t)cairo_image_surface_get_stride(surface),
               cursor->pixels + (size_t)y * cursor->width, (size_t)cursor->width * 4);
    cairo_surface_mark_dirty(surface);
    cairo_surface_set_device_scale(surface, scale, scale);
    GdkCursor *shape = gdk_cursor_new_from_surface(gtk_widget_get_display(widget), surface,
                                                   floor((double)cursor->hot_x / scale),
                                                   floor((double)cursor->hot_y / scale));
    cairo_surface_destroy(surface);
    return shape;
}

static void update_pointer(EspDisplayFollow *follow)
{
    GdkWindow *window = gtk_widget_get_window(GTK_WIDGET(follow->view));
    uint32_t pixels[VMC_CURSOR_SIDE * VMC_CURSOR_SIDE];
    VmcCursor cursor;
    int x, y;

    if (!window)
        return;
    g_autoptr(GdkCursor) shape = NULL;
    if (follow->display && vmc_display_get_cursor(follow->display, &cursor, pixels, &x, &y))
        shape = make_cursor(follow, &cursor);
    gdk_window_set_cursor(window, shape);
}

static gboolean on_pointer_news(gpointer data)
{
    EspDisplayFollow *follow = data;

    g_atomic_int_set(&follow->pointer_news, 0);
    if (follow->view)
        update_pointer(follow);
    return G_SOURCE_REMOVE;
}

/* Any thread. */
static void cursor_defined(void *opaque, const VmcCursor *cursor)
{
    EspDisplayFollow *follow = opaque;

    if (g_atomic_int_compare_and_exchange(&follow->pointer_news, 0, 1))
        g_idle_add_full(G_PRIORITY_DEFAULT, on_pointer_news, g_atomic_rc_box_acquire(follow),
                        g_atomic_rc_box_release);
}

static const VmcDisplayFrontend frontend = {.size = sizeof(VmcDisplayFrontend),
                                            .cursor_defined = cursor_defined};

/* ---- the size ---- */

static gboolean on_settled(gpointer data)
{
    EspDisplayFollow *follow = data;
    GtkWidget *widget = GTK_WIDGET(follow->view);
    int scale = gtk_widget_get_scale_factor(widget);
    unsigned width = (unsigned)(gtk_widget_get_allocated_width(widget) * scale);
    unsigned height = (unsigned)(gtk_widget_get_allocated_height(widget) * scale);
    unsigned guest_width, guest_height;

    follow->wish_id = 0;
    if (!follow->display || !follow->resize ||
        esp_display_view_get_scaling(follow->view) != ESP_SCALING_FIT || !gtk_widget_get_mapped(widget))
        return G_SOURCE_REMOVE;
    vmc_display_get_size(follow->display, &guest_width, &guest_height);
    if ((width == guest_width && height == guest_height) ||
        (width == follow->width && height == follow->height))
        return G_SOURCE_REMOVE;
    if (vmc_display_request_size(follow->display, width, height)) {
        follow->width = width;
        follow->height = height;
    } else {
        follow->wish_id = g_timeout_add(AGAIN_MS, on_settled, follow);
    }
    return G_SOURCE_REMOVE;
}

static void on_allocated(EspDisplayFollow *follow)
{
    if (follow->wish_id)
        g_source_remove(follow->wish_id);
    follow->wish_id = g_timeout_add(SETTLE_MS, on_settled, follow);
}

/* ---- lifecycle ---- */

EspDisplayFollow *esp_display_follow_new(EspDisplayView *view)
{
    EspDisplayFollow *follow = g_atomic_rc_box_new0(EspDisplayFollow);

    follow->view = view;
    follow->resize = true;
    follow->allocated = g_signal_connect_swapped(view, "size-allocate", G_CALLBACK(on_allocated), follow);
    return follow;
}

void esp_display_follow_set_display(EspDisplayFollow *follow, VmcDisplay *display)
{
    if (follow->display)
        vmc_display_set_frontend(follow->display, NULL, NULL);
    follow->display = display;
    follow->width = follow->height = 0;
    if (display)
        vmc_display_set_frontend(display, &frontend, follow);
    else
        update_pointer(follow);
}

void esp_display_follow_set_resize(EspDisplayFollow *follow, bool resize)
{
    follow->resize = resize;
    follow->width = follow->height = 0;
    if (resize)
        on_allocated(follow);
}

void esp_display_follow_free(EspDisplayFollow *follow)
{
    if (!follow)
        return;
    esp_display_follow_set_display(follow, NULL);
    g_signal_handler_disconnect(follow->view, follow->allocated);
    if (follow->wish_id)
        g_source_remove(follow->wish_id);
    follow->view = NULL;
    g_atomic_rc_box_release(follow);
}
