/*
 * Damage in tiles, and tiles joined into rectangles: runs within a band of tiles, then equal runs of
 * neighbouring bands. If that makes more than a frame can carry, one rectangle per band, and at last one for
 * all.
 */
#include "display/damage.h"

#include <string.h>

void vmc_damage_resize(VmcDamage *damage, unsigned width, unsigned height)
{
    vmc_damage_free(damage);
    damage->width = width;
    damage->height = height;
    damage->tiles_x = (width + VMC_TILE_W - 1) / VMC_TILE_W;
    damage->tiles_y = (height + VMC_TILE_H - 1) / VMC_TILE_H;
    damage->dirty = g_malloc0((size_t)damage->tiles_x * damage->tiles_y);
    damage->any = false;
}

void vmc_damage_free(VmcDamage *damage)
{
    g_clear_pointer(&damage->dirty, g_free);
}

void vmc_damage_clear(VmcDamage *damage)
{
    if (damage->any)
        memset(damage->dirty, 0, (size_t)damage->tiles_x * damage->tiles_y);
    damage->any = false;
}

void vmc_damage_add(VmcDamage *damage, const VmcRect *rect)
{
    if (rect->x >= damage->width || rect->y >= damage->height || !rect->width || !rect->height)
        return;
    unsigned right = rect->x + MIN(rect->width, damage->width - rect->x) - 1;
    unsigned bottom = rect->y + MIN(rect->height, damage->height - rect->y) - 1;

    for (unsigned y = rect->y / VMC_TILE_H; y <= bottom / VMC_TILE_H; y++)
        memset(damage->dirty + (size_t)y * damage->tiles_x + rect->x / VMC_TILE_W, 1,
               right / VMC_TILE_W - rect->x / VMC_TILE_W + 1);
    damage->any = true;
}

/* A rectangle of tiles in pixels, cut off at the display's edges. */
static VmcRect tile_rect(const VmcDamage *damage, unsigned x0, unsigned y0, unsigned x1, unsigned y1)
{
    VmcRect rect = {.x = x0 * VMC_TILE_W, .y = y0 * VMC_TILE_H};

    rect.width = MIN(x1 * VMC_TILE_W, damage->width) - rect.x;
    rect.height = MIN(y1 * VMC_TILE_H, damage->height) - rect.y;
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
static bool next_run(const VmcDamage *damage, unsigned y, bool whole, unsigned x, unsigned *x0, unsigned *x1)
{
    const uint8_t *dirty = damage->dirty + (size_t)y * damage->tiles_x;

    while (x < damage->tiles_x && !dirty[x])
        x++;
    if (x == damage->tiles_x)
        return false;
    *x0 = x;
    if (whole)
        for (x = damage->tiles_x; !dirty[x - 1];)
            x--;
    else
        while (x < damage->tiles_x && dirty[x])
            x++;
    *x1 = x;
    return true;
}

static bool join_tiles(const VmcDamage *damage, bool whole, VmcFrame *frame)
{
    frame->n_damage = 0;
    for (unsigned y = 0; y < damage->tiles_y; y++) {
        unsigned x0, x1 = 0;

        while (next_run(damage, y, whole, x1, &x0, &x1)) {
            VmcRect rect = tile_rect(damage, x0, y, x1, y + 1);

            if (!add_rect(frame, &rect))
                return false;
        }
    }
    return true;
}

/* One rectangle around everything dirty. */
static void bound_tiles(const VmcDamage *damage, VmcFrame *frame)
{
    unsigned left = damage->tiles_x, right = 0, top = damage->tiles_y, bottom = 0;

    for (unsigned y = 0; y < damage->tiles_y; y++) {
        unsigned x0, x1;

        if (!next_run(damage, y, true, 0, &x0, &x1))
            continue;
        left = MIN(left, x0);
        right = MAX(right, x1);
        top = MIN(top, y);
        bottom = y + 1;
    }
    frame->damage[0] = tile_rect(damage, left, top, right, bottom);
    frame->n_damage = 1;
}

void vmc_damage_join(const VmcDamage *damage, VmcFrame *frame)
{
    frame->n_damage = 0;
    if (damage->any && !join_tiles(damage, false, frame) && !join_tiles(damage, true, frame))
        bound_tiles(damage, frame);
}
