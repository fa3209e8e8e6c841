/*
 * A pointer that a Wayland compositor holds in its place, by pointer-constraints and relative-pointer of
 * wayland-protocols.
 *
 * Threads: GTK's.
 */
#pragma once

#include <gtk/gtk.h>
#include <stdbool.h>

G_BEGIN_DECLS

typedef struct EspPointerLock EspPointerLock;

/* Locks the pointer to the window of `widget`; *lock stays NULL where the display is not Wayland's. False:
 * the compositor knows no such thing. `moved` gets steps as fast as the user's settings make them, in GTK's
 * pixels. */
bool esp_pointer_lock_new(GtkWidget *widget, void (*moved)(void *opaque, double right, double down),
                          void *opaque, EspPointerLock **lock);
void esp_pointer_lock_free(EspPointerLock *lock); /* NULL is fine */

G_END_DECLS
