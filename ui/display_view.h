/*
 * A widget that shows a guest's screen and takes the keyboard and pointer for it.
 *
 * It knows neither machine nor bundle: pixels come from an EspDisplaySource, input goes to an EspInputSink.
 * It asks the source once per frame of the monitor while it is visible and `active`.
 *
 * Signals:
 *   grab-changed ()    esp_display_view_is_grabbed has a new answer
 *   release ()         the user pressed Ctrl+Alt to have the keyboard back
 *   guest-resized ()   the guest's screen has another size
 *   frame ()           the guest drew something
 */
#pragma once

#include <gtk/gtk.h>
#include <vmcore/display.h>

#include "app/key_text.h"
#include "ui/viewport.h"

G_BEGIN_DECLS

#define ESP_TYPE_DISPLAY_VIEW (esp_display_view_get_type())
G_DECLARE_FINAL_TYPE(EspDisplayView, esp_display_view, ESP, DISPLAY_VIEW, GtkEventBox)

/* As vmc_display_collect and vmc_display_refresh; called on GTK's thread. */
typedef struct EspDisplaySource {
    bool (*collect)(void *opaque, VmcFrame *frame);
    void (*refresh)(void *opaque);
} EspDisplaySource;

/* As the vmc_machine_send functions; called on GTK's thread. */
typedef struct EspInputSink {
    void (*key)(void *opaque, unsigned keycode, bool down);
    void (*pointer)(void *opaque, unsigned x, unsigned y);
    void (*button)(void *opaque, unsigned button, bool down);
    void (*wheel)(void *opaque, int vertical, int horizontal);
    /* Whether the guest has a mouse now, which is told how far it moved, or a tablet. Both may be NULL: a
     * tablet. */
    bool (*is_relative)(void *opaque);
    void (*motion)(void *opaque, int right, int down);
} EspInputSink;

GtkWidget *esp_display_view_new(void);

/* Both tables must outlive the view; NULL takes the source away, and the last picture stays. */
void esp_display_view_set_source(EspDisplayView *view, const EspDisplaySource *source, void *opaque);
void esp_display_view_set_sink(EspDisplayView *view, const EspInputSink *sink, void *opaque);

/* Whether the guest may be drawing (it runs); off saves looking. The last frame is fetched before it goes
 * off. */
void esp_display_view_set_active(EspDisplayView *view, bool active);

void esp_display_view_set_scaling(EspDisplayView *view, EspScaling scaling);
EspScaling esp_display_view_get_scaling(EspDisplayView *view);

/* Whether a key event of its window is the guest's: while the screen has the focus all are, but for F11,
 * which stays with the window as long as the keyboard is not grabbed. */
bool esp_display_view_wants_key(EspDisplayView *view, const GdkEventKey *event);

/* Whether a click takes the keyboard from the desktop, so that Alt+Tab and the like reach the guest too. */
void esp_display_view_set_grab_on_click(EspDisplayView *view, bool grab);
bool esp_display_view_is_grabbed(EspDisplayView *view);
void esp_display_view_grab(EspDisplayView *view);
/* Gives the keyboard back and lets go of all keys and buttons. */
void esp_display_view_ungrab(EspDisplayView *view);

/* Size of the guest's screen in guest pixels; 0 x 0 before the first frame. */
void esp_display_view_get_guest_size(EspDisplayView *view, unsigned *width, unsigned *height);

/* False until something other than black was shown since the source was set. */
bool esp_display_view_has_content(EspDisplayView *view);

/* A picture of the guest's screen as it is now, or NULL when there is none. The caller owns it. */
GdkPixbuf *esp_display_view_take_picture(EspDisplayView *view);

/* Sends some keys as a chord: all down in order, and up again a moment later. What was being typed ends. */
void esp_display_view_send_chord(EspDisplayView *view, const unsigned *keycodes, unsigned n);

/* Types: one stroke after the other at a pace a guest can follow. Ends with every key let go, also when
 * something else is typed or sent, or the sink is taken away, in between. The strokes are copied. */
void esp_display_view_type(EspDisplayView *view, const EspKeyStroke *strokes, unsigned n);
bool esp_display_view_is_typing(EspDisplayView *view);

/* "OpenGL" or "cairo", with the reason why not OpenGL in *why when it is not (may be NULL; owned by the
 * view). */
const char *esp_display_view_get_renderer(EspDisplayView *view, const char **why);

/* What the view has counted since it was made, for those who measure. */
typedef struct EspDisplayCounters {
    guint64 collected;              /* frames with damage that the source gave */
    guint64 drawn;                  /* of these, those that reached the canvas */
    guint64 keys;                   /* strokes with a time stamp of the host's clock */
    guint64 key_sum_us, key_max_us; /* from that until the sink had them */
} EspDisplayCounters;

void esp_display_view_get_counters(EspDisplayView *view, EspDisplayCounters *counters);

G_END_DECLS
