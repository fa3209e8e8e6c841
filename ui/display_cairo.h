/*
 * Draws a guest's screen with cairo, for a display without OpenGL (a remote X server, a broken driver).
 * Slower, otherwise the same as display_renderer.h.
 */
#pragma once

#include <cairo.h>
#include <vmcore/display.h>

#include "ui/viewport.h"

typedef struct EspCairoRenderer EspCairoRenderer;

EspCairoRenderer *esp_cairo_renderer_new(void);
void esp_cairo_renderer_free(EspCairoRenderer *renderer);
void esp_cairo_renderer_upload(EspCairoRenderer *renderer, const VmcFrame *frame);
/* `cr` is in units of logical pixels, of which one has `scale` device pixels. */
void esp_cairo_renderer_draw(EspCairoRenderer *renderer, cairo_t *cr, const EspViewport *viewport, int scale);
