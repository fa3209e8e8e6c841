/*
 * A captive pointer: it stays where it is, unseen, and tells how far it was moved. For guests with a mouse.
 *
 * On X11 it is grabbed and put back to the middle of the widget before it reaches an edge; on Wayland the
 * compositor locks it (pointer_lock.h), and where it cannot there is no capture.
 *
 * Threads: GTK's.
 */
#pragma once

#include <gtk/gtk.h>
#include <stdbool.h>

G_BEGIN_DECLS

typedef struct EspPointerCapture EspPointerCapture;

/* `moved` is told of steps, the host's pixels; right and down are positive. `widget` must outlive it. */
EspPointerCapture *esp_pointer_capture_new(GtkWidget *widget,
                                           void (*moved)(void *opaque, int right, int down), void *opaque);
void esp_pointer_capture_free(EspPointerCapture *capture); /* NULL is fine */

/* Takes the pointer, and the keyboard with it, which a seat gives in one grab. False: the desktop refuses. */
bool esp_pointer_capture_begin(EspPointerCapture *capture);
/* Gives both back. */
void esp_pointer_capture_end(EspPointerCapture *capture);
bool esp_pointer_capture_is_on(const EspPointerCapture *capture);

/* A motion of the widget's while it is on. */
void esp_pointer_capture_motion(EspPointerCapture *capture, const GdkEventMotion *event);

G_END_DECLS
