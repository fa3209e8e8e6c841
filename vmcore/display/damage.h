/*
 * Which parts of a picture have changed: a byte for each tile of TILE_W x TILE_H pixels, joined into few
 * rectangles when asked.
 *
 * Threads: none of its own; the owner locks.
 */
#pragma once

#include "vmcore/display.h"

#define VMC_TILE_W 64u
#define VMC_TILE_H 16u

typedef struct VmcDamage {
    unsigned width, height; /* of the picture, pixels */
    unsigned tiles_x, tiles_y;
    uint8_t *dirty;
    bool any;
} VmcDamage;

/* Starts anew for another size, all clean. `damage` was zeroed or used before. */
void vmc_damage_resize(VmcDamage *damage, unsigned width, unsigned height);
void vmc_damage_free(VmcDamage *damage); /* what it owns */
void vmc_damage_clear(VmcDamage *damage);
/* Every tile that has a pixel of the rectangle, which is cut off at the edges. */
void vmc_damage_add(VmcDamage *damage, const VmcRect *rect);
/* Fills frame->damage and frame->n_damage. */
void vmc_damage_join(const VmcDamage *damage, VmcFrame *frame);

static inline uint8_t *vmc_damage_row(VmcDamage *damage, unsigned y)
{
    return damage->dirty + (size_t)(y / VMC_TILE_H) * damage->tiles_x;
}
