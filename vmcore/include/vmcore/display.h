/*
 * A display: pixels a guest draws and a front end shows.
 *
 * Pull model. The front end calls vmc_display_collect once per frame it wants to draw; it gets the rectangles
 * that changed since the last call and may then read exactly those pixels until its next call. A display
 * keeps its pixels when the machine stops. Any one thread may be the front end.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

G_BEGIN_DECLS

typedef struct VmcDisplay VmcDisplay;

typedef struct VmcRect {
    unsigned x, y, width, height; /* pixels */
} VmcRect;

typedef struct VmcFrame {
    unsigned width, height; /* pixels */
    unsigned stride;        /* bytes per row */
    const uint8_t *pixels;  /* XRGB8888 little-endian: bytes B, G, R, X */
    unsigned n_damage;
    VmcRect damage[64]; /* changed since the last collect; never overlapping */
    uint64_t serial;    /* grows whenever there was damage */
} VmcFrame;

/* Fills `frame`. True if there is damage (all of it the first time and after vmc_display_refresh). */
bool vmc_display_collect(VmcDisplay *display, VmcFrame *frame);
/* Makes the next collect report everything as damaged (a new window, a lost GL context). */
void vmc_display_refresh(VmcDisplay *display);
void vmc_display_get_size(VmcDisplay *display, unsigned *width, unsigned *height);

G_END_DECLS
