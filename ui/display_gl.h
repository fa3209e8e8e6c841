/* Whether OpenGL is what a guest's screen should be drawn with on this display. */
#pragma once

#include <gdk/gdk.h>
#include <stdbool.h>

/* False, with a sentence that says why (owned by the display), where it is not to be had or slower than
 * cairo. Asked once for each display. GTK's thread. */
bool esp_display_gl_is_good(GdkDisplay *display, const char **why);
