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

/* Calls `lost` once, from the main loop, when the connection to `display` breaks. What is to be done then:
 * destroy the windows on it, free the guard, gdk_display_close it. There is one guard per display. */
EspDisplayGuard *esp_display_guard_new(GdkDisplay *display, void (*lost)(GdkDisplay *display, gpointer data),
                                       gpointer data);
/* NULL is fine. An X display is not missed any more then; a Wayland one ends the process again. */
void esp_display_guard_free(EspDisplayGuard *guard);

G_END_DECLS
