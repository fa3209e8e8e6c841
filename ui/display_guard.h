/*
 * Outliving a display. GTK 3 ends the program when the connection to its display breaks; a process with a
 * machine in it must not end because somebody logged out or a compositor crashed.
 *
 * Threads: GTK's.
 */
#pragma once

#include <gdk/gdk.h>

G_BEGIN_DECLS

typedef struct EspDisplayGuard EspDisplayGuard;

/* Calls `lost` once, from the main loop, when the connection to `display` breaks, which has to destroy the
 * windows on it and forget it; it may free the guard. A display that was lost is an empty shell. There is one
 * guard per display. */
EspDisplayGuard *esp_display_guard_new(GdkDisplay *display, void (*lost)(GdkDisplay *display, gpointer data),
                                       gpointer data);
/* NULL is fine. An X display is not missed any more then; a Wayland one ends the process again. */
void esp_display_guard_free(EspDisplayGuard *guard);

G_END_DECLS
