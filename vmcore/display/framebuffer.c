/*
 * A linear framebuffer as a display: what changed is found by comparing.
 *
 * The guest writes pixels whenever it likes and nobody tells us, so each collect compares the guest's memory
 * with a shadow copy, row by row with memcmp, and copies the tiles that differ. The front end is given the
 * shadow: what it reads does not change under its hands, and a pixel the guest writes while we compare
 * differs from the shadow and is found next time. A still 1280x800 screen costs the comparison of 4 MiB, a
 * fraction of a millisecond.
 *
 * Damaged tiles of TILE_W x TILE_H pixels are joined into rectangles: runs within a band of tiles, then equal
 * runs of neighbouring bands. If that makes more than a frame can carry, one rectangle per band, and at last
 * one for all.
 */
#include "display/framebuffer.h"

#include <string.h>

#include "base/memory.h"

#define TILE_W          64u
#define TILE_H          16u
#define BYTES_PER_PIXEL 4u

struct VmcDisplay {
    unsigned width, height, stride;
    unsigned tiles_x, tiles_y;

    GMutex lock;           /* guards the source, not the shadow, which is the front end's */
    const uint8_t *source; /* the guest's memory, or `kept`, or NULL */
    uint8_t *kept;         /* its last picture, after the machine stopped */

    uint8_t *shadow;
    uint8_t *dirty; /* a byte per tile */
    bool refresh;   /* guarded by lock */
    uint64_t serial;
};

VmcDisplay *vmc_framebuffer_new(unsigned width, unsigned height)
{
    VmcDisplay *display = g_new0(VmcDisplay, 1);

    display->width = width;
    display->height = height;
    display->stride = width * BYTES_PER_PIXEL;
    display->tiles_x = (width + TILE_W - 1) / TILE_W;
    display->tiles_y = (height + TILE_H - 1) / TILE_H;
    display->shadow = g_malloc0((size_t)display->stride * height);
    display->dirty = g_malloc0((size_t)display->tiles_x * display->tiles_y);
    display->refresh = true;
    g_mutex_init(&display->lock);
    return display;
}

void vmc_framebuffer_free(VmcDisplay *display)
{
    if (!display)
        return;
    g_mutex_clear(&display->lock);
    g_free(display->kept);
    g_free(display->shadow);
    g_free(display->dirty);
    g_free(display);
}

unsigned vmc_framebuffer_stride(VmcDisplay *display)
{
    return display->stride;
}

uint64_t vmc_framebuffer_bytes(VmcDisplay *display)
{
    uint64_t bytes = (uint64_t)display->stride * display->height;

    return (bytes + VMC_PAGE_SIZE - 1) & VMC_PAGE_MASK;
}

void vmc_framebuffer_attach(VmcDisplay *display, const uint8_t *pixels)
{
    g_mutex_lock(&display->lock);
    g_clear_pointer(&display->kept, g_free);
    display->source = pixels;
    g_mutex_unlock(&display->lock);
}

void vmc_framebuffer_detach(VmcDisplay *display)
{
    g_mutex_lock(&display->lock);
    if (display->source && !display->kept) {
        display->kept = g_memdup2(display->source, (size_t)display->stride * display->height);
        display->source = display->kept;
    }
    g_mutex_unlock(&display->lock);
}

/* Compares one row of pixels tile by tile and takes over those that differ. */
static void update_row(VmcDisplay *display, unsigned y)
{
    const uint8_t *from = display->source + (size_t)y * display->stride;
    uint8_t *to = display->shadow + (size_t)y * display->stride;
    uint8_t *dirty = display->dirty + (size_t)(y / TILE_H) * display->tiles_x;

    if (memcmp(from, to, display->stride) == 0)
        return;
    for (unsigned tile = 0; tile < display->tiles_x; tile++) {
        size_t at = (size_t)tile * TILE_W * BYTES_PER_PIXEL;
        size_t bytes = MIN(TILE_W * BYTES_PER_PIXEL, display->stride - at);

        if (memcmp(from + at, to + at, bytes) != 0) {
            memcpy(to + at, from + at, bytes);
            dirty[tile] = 1;
        }
    }
}

/* A rectangle of tiles in pixels, cut off at the display's edges. */
static VmcRect tile_rect(const VmcDisplay *display, unsigned x0, unsigned y0, unsigned x1, unsigned y1)
{
    VmcRect rect = {.x = x0 * TILE_W, .y = y0 * TILE_H};

    rect.width = MIN(x1 * TILE_W, display->width) - rect.x;
    rect.height = MIN(y1 * TILE_H, display->height) - rect.y;
    return rect;
}

/* Adds a rectangle of one band, making an equal one that ends right above it longer instead. False: no room.
 */
static bool add_rect(VmcFrame *frame, const VmcRect *rect)
{
    for (unsigned i = frame->n_damage; i-- > 0;) {
        VmcRect *above = &frame->damage[i];

        if (above->x == rect->x && above->width == rect->width && above->y + above->height == rect->y) {
            above->height += rect->height;
            return true;
        }
    }
    if (frame->n_damage == G_N_ELEMENTS(frame->damage))
        return false;
    frame->damage[frame->n_damage++] = *rect;
    return true;
}

/* The next run of dirty tiles of a band from `x` on; with `whole`, everything between the first and the last.
 */
static bool next_run(const VmcDisplay *display, unsigned y, bool whole, unsigned x, unsigned *x0,
                     unsigned *x1)
{
    const uint8_t *dirty = display->dirty + (size_t)y * display->tiles_x;

    while (x < display->tiles_x && !dirty[x])
        x++;
    if (x == display->tiles_x)
        return false;
    *x0 = x;
    if (whole)
        for (x = display->tiles_x; !dirty[x - 1];)
            x--;
    else
        while (x < display->tiles_x && dirty[x])
            x++;
    *x1 = x;
    return true;
}

static bool join_tiles(const VmcDisplay *display, bool whole, VmcFrame *frame)
{
    frame->n_damage = 0;
    for (unsigned y = 0; y < display->tiles_y; y++) {
        unsigned x0, x1 = 0;

        while (next_run(display, y, whole, x1, &x0, &x1)) {
            VmcRect rect = tile_rect(display, x0, y, x1, y + 1);

            if (!add_rect(frame, &rect))
                return false;
        }
    }
    return true;
}

/* One rectangle around everything dirty. */
static void bound_tiles(const VmcDisplay *display, VmcFrame *frame)
{
    unsigned left = display->tiles_x, right = 0, top = display->tiles_y, bottom = 0;

    for (unsigned y = 0; y < display->tiles_y; y++) {
        unsigned x0, x1;

        if (!next_run(display, y, true, 0, &x0, &x1))
            continue;
        left = MIN(left, x0);
        right = MAX(right, x1);
        top = MIN(top, y);
        bottom = y + 1;
    }
    frame->damage[0] = tile_rect(display, left, top, right, bottom);
    frame->n_damage = 1;
}

bool vmc_display_collect(VmcDisplay *display, VmcFrame *frame)
{
    bool refresh;

    g_mutex_lock(&display->lock);
    if (display->source)
        for (unsigned y = 0; y < display->height; y++)
            update_row(display, y);
    refresh = display->refresh;
    display->refresh = false;
    g_mutex_unlock(&display->lock);

    frame->width = display->width;
    frame->height = display->height;
    frame->stride = display->stride;
    frame->pixels = display->shadow;
    if (refresh) {
        frame->damage[0] = (VmcRect){0, 0, display->width, display->height};
        frame->n_damage = 1;
    } else if (!join_tiles(display, false, frame) && !join_tiles(display, true, frame)) {
        bound_tiles(display, frame);
    }
    if (frame->n_damage) {
        memset(display->dirty, 0, (size_t)display->tiles_x * display->tiles_y);
        display->serial++;
    }
    frame->serial = display->serial;
    return frame->n_damage > 0;
}

void vmc_display_refresh(VmcDisplay *display)
{
    g_mutex_lock(&display->lock);
    display->refresh = true;
    g_mutex_unlock(&display->lock);
}

void vmc_display_get_size(VmcDisplay *display, unsigned *width, unsigned *height)
{
    *width = display->width;
    *height = display->height;
}
