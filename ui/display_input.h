/*
 * Keyboard, pointer and wheel of the widget with the guest's screen: from GTK's events to an EspInputSink.
 *
 * Keys go by their place (keyboard.h). The pointer is absolute, unless the guest has a mouse: then a click
 * takes it captive (pointer_capture.h) together with the keyboard, and is not the guest's. A grab takes the
 * desktop's own combinations too: on X11 no one else sees a key then, and on Wayland GDK asks the compositor
 * to leave its shortcuts to the window for as long as it lasts.
 *
 * Threads: GTK's.
 */
#pragma once

#include <gtk/gtk.h>
#include <stdbool.h>

#include "ui/display_view.h"

G_BEGIN_DECLS

typedef struct EspDisplayInput EspDisplayInput;

/* What the input needs of its widget. */
typedef struct EspDisplayInputHost {
    /* Where the guest's screen lies now, device pixels. */
    EspViewport (*place)(GtkWidget *widget);
    /* The grab has come or gone. */
    void (*grab_changed)(GtkWidget *widget);
    /* The user pressed Ctrl+Alt; the grab has gone already. */
    void (*release)(GtkWidget *widget);
} EspDisplayInputHost;

/* The widget, which must outlive it, passes its events on to the functions below. */
EspDisplayInput *esp_display_input_new(GtkWidget *widget, const EspDisplayInputHost *host);
void esp_display_input_free(EspDisplayInput *input); /* NULL is fine */

/* Lets go of everything in the old sink first. */
void esp_display_input_set_sink(EspDisplayInput *input, const EspInputSink *sink, void *opaque);

void esp_display_input_key(EspDisplayInput *input, const GdkEventKey *event);
void esp_display_input_motion(EspDisplayInput *input, const GdkEventMotion *event);
void esp_display_input_button(EspDisplayInput *input, const GdkEventButton *event);
void esp_display_input_scroll(EspDisplayInput *input, const GdkEventScroll *event);
void esp_display_input_grab_broken(EspDisplayInput *input, const GdkEventGrabBroken *event);

void esp_display_input_set_grab_on_click(EspDisplayInput *input, bool grab);
bool esp_display_input_is_grabbed(EspDisplayInput *input);
void esp_display_input_grab(EspDisplayInput *input);
/* Also lets go of every key and button the guest believes held. */
void esp_display_input_ungrab(EspDisplayInput *input);

/* As esp_display_view_send_chord. */
void esp_display_input_send_chord(EspDisplayInput *input, const unsigned *keycodes, unsigned n);
/* As esp_display_view_type. */
void esp_display_input_type(EspDisplayInput *input, const EspKeyStroke *strokes, unsigned n);
bool esp_display_input_is_typing(EspDisplayInput *input);

/* How long keys took from the X server's or the compositor's time stamp until the machine had them,
 * microseconds: number of keys, sum, longest. */
void esp_display_input_get_key_times(EspDisplayInput *input, guint64 *keys, guint64 *sum_us, guint64 *max_us);

G_END_DECLS
