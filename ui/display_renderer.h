/*
 * Draws a guest's screen with OpenGL: one texture, of which only what changed is uploaded, and one quad.
 *
 * Threads: all functions with the same GL context current, desktop GL 3.2 or newer.
 */
#pragma once

#include <glib.h>
#include <vmcore/display.h>

#include "ui/viewport.h"

G_BEGIN_DECLS

typedef struct EspRenderer EspRenderer;

/* Compiles the shaders. NULL with what the driver said when it cannot. */
EspRenderer *esp_renderer_new(GError **error);
void esp_renderer_free(EspRenderer *renderer);

/* Copies the damaged rectangles of `frame` into the texture. After a change of size all of the frame is
 * taken. Rectangles outside the frame are ignored. */
void esp_renderer_upload(EspRenderer *renderer, const VmcFrame *frame);

/* Draws into the bound framebuffer (`width` x `height` device pixels) what was uploaded since the last time;
 * all of the screen and the letterbox around it if it lies elsewhere than then, or after esp_renderer_forget.
 */
void esp_renderer_draw(EspRenderer *renderer, const EspViewport *viewport, int width, int height);
/* The framebuffer has lost what was drawn into it. */
void esp_renderer_forget(EspRenderer *renderer);

G_END_DECLS
