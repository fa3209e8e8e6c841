/*
 * A front end without a screen, for tests and tools: it keeps the picture as a window would, from damage
 * alone, hashes it and waits for it to become what is expected.
 *
 * Threads: one thread at a time, which may wait; what the display tells arrives on any.
 */
#pragma once

#include "vmcore/display.h"

typedef struct VmcHeadless VmcHeadless;

/* Becomes the display's front end. */
VmcHeadless *vmc_headless_new(VmcDisplay *display);
void vmc_headless_free(VmcHeadless *headless); /* and nobody's; NULL is fine */

/* Collects. True if there was damage. */
bool vmc_headless_update(VmcHeadless *headless);
/* The picture as of the last update; good until the next. */
const VmcFrame *vmc_headless_frame(VmcHeadless *headless);
/* vmc_frame_hash of the picture as of the last update. The caller frees it. */
char *vmc_headless_hash(VmcHeadless *headless);

/* Updates until `wanted` says yes, or time is up. */
bool vmc_headless_wait(VmcHeadless *headless, bool (*wanted)(VmcHeadless *headless, void *data), void *data,
                       unsigned timeout_ms);
/* Updates until nothing has changed for `quiet_ms`; the hash then, or NULL when time is up. */
char *vmc_headless_wait_still(VmcHeadless *headless, unsigned quiet_ms, unsigned timeout_ms);

/* What the display has told so far. */
typedef struct VmcHeadlessNews {
    unsigned damaged, resized, cursors, moves; /* how often */
    unsigned width, height;                    /* of the last resized */
    bool on;
    bool has_cursor;
    VmcCursor cursor; /* with `pixels` below */
    uint32_t pixels[VMC_CURSOR_SIDE * VMC_CURSOR_SIDE];
    int x, y;
} VmcHeadlessNews;
void vmc_headless_news(VmcHeadless *headless, VmcHeadlessNews *news);
