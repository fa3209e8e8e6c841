/*
 * The guest's screen as a cairo image (see display_cairo.h). CAIRO_FORMAT_RGB24 is XRGB8888 in the host's
 * byte order, which on the little-endian hosts we run on is what a VmcFrame has.
 */
#include "ui/display_cairo.h"

#include <glib.h>
#include <string.h>

struct EspCairoRenderer {
    cairo_surface_t *surface; /* NULL before the first frame */
};

EspCairoRenderer *esp_cairo_renderer_new(void)
{
    return g_new0(EspCairoRenderer, 1);
}

void esp_cairo_renderer_free(EspCairoRenderer *renderer)
{
    if (!renderer)
        return;
    if (renderer->surface)
        cairo_surface_destroy(renderer->surface);
    g_free(renderer);
}

static void copy_rect(cairo_surface_t *surface, const VmcFrame *frame, const VmcRect *rect)
{
    if (rect->x > frame->width || rect->width > frame->width - rect->x || rect->y > frame->height ||
        rect->height > frame->height - rect->y)
        return;
    size_t stride = (size_t)cairo_image_surface_get_stride(surface);
    uint8_t *to = cairo_image_surface_get_data(surface) + rect->y * stride + (size_t)rect->x * 4;
    const uint8_t *from = frame->pixels + (size_t)rect->y * frame->stride + (size_t)rect->x * 4;
    for (unsigned row = 0; row < rect->height; row++, to += stride, from += frame->stride)
        memcpy(to, from, (size_t)rect->width * 4);
}

void esp_cairo_renderer_upload(EspCairoRenderer *renderer, const VmcFrame *frame)
{
    if (!frame->width || !frame->height || !frame->pixels)
        return;
    cairo_surface_t *surface = renderer->surface;
    bool fresh = !surface || cairo_image_surface_get_width(surface) != (int)frame->width ||
                 cairo_image_surface_get_height(surface) != (int)frame->height;
    if (fresh) {
        if (surface)
            cairo_surface_destroy(surface);
        surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)frame->width, (int)frame->height);
        renderer->surface = surface;
    }
    if (cairo_surface_status(surface) != CAIRO_STATUS_SUCCESS)
        return;
    cairo_surface_flush(surface);
    if (fresh)
        copy_rect(surface, frame, &(VmcRect){0, 0, frame->width, frame->height});
    for (unsigned i = 0; !fresh && i < MIN(frame->n_damage, G_N_ELEMENTS(frame->damage)); i++)
        copy_rect(surface, frame, &frame->damage[i]);
    cairo_surface_mark_dirty(surface);
}

void esp_cairo_renderer_draw(EspCairoRenderer *renderer, cairo_t *cr, const EspViewport *viewport, int scale)
{
    cairo_set_source_rgb(cr, 0.055, 0.055, 0.055);
    cairo_paint(cr);
    if (!renderer->surface || !viewport->width)
        return;
    cairo_scale(cr, 1.0 / scale, 1.0 / scale);
    cairo_translate(cr, viewport->x, viewport->y);
    cairo_scale(cr, (double)viewport->width / cairo_image_surface_get_width(renderer->surface),
                (double)viewport->height / cairo_image_surface_get_height(renderer->surface));
    cairo_set_source_surface(cr, renderer->surface, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cr),
                             viewport->nearest ? CAIRO_FILTER_NEAREST : CAIRO_FILTER_BILINEAR);
    cairo_paint(cr);
}
