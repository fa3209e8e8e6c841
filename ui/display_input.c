/* Keyboard, pointer and wheel of the guest's screen (see display_input.h). */
#include "ui/display_input.h"

#include <linux/input-event-codes.h>

#include "ui/keyboard.h"
#include "ui/pointer_capture.h"

#define CHORD_MS      60u
#define STROKE_MS     12u /* between the keys of a text: a guest's console loses none at this pace */
#define BUTTONS_KNOWN 13u
#define TIME_SANE_MS  10000u /* a time stamp further off is of another clock */

struct EspDisplayInput {
    GtkWidget *widget;
    const EspDisplayInputHost *host;
    const EspInputSink *sink;
    void *opaque;

    EspKeyboard keyboard;
    guint buttons;           /* held in the guest, bit n is GDK's button n */
    double wheel_x, wheel_y; /* smooth scrolling short of a click */
    bool grab_on_click;
    GdkSeat *grabbed;           /* the keyboard's; NULL when not */
    EspPointerCapture *capture; /* on: the keyboard is grabbed with it */

    GArray *strokes; /* EspKeyStroke that are still to come */
    guint next_stroke;
    guint strokes_id;
    guint8 typed[ESP_KEYS_MAX / 8]; /* held by strokes */

    guint64 keys, key_sum_us, key_max_us;
};

/* GDK counts buttons as X11 does; 4 to 7 are the wheel there. */
static const unsigned evdev_buttons[BUTTONS_KNOWN] = {
    [1] = BTN_LEFT,  [2] = BTN_MIDDLE,   [3] = BTN_RIGHT, [8] = BTN_SIDE,
    [9] = BTN_EXTRA, [10] = BTN_FORWARD, [11] = BTN_BACK, [12] = BTN_TASK};

static void send_key(void *opaque, unsigned keycode, bool down)
{
    EspDisplayInput *input = opaque;

    if (input->sink)
        input->sink->key(input->opaque, keycode, down);
}

/* ---- strokes: chords and typed texts ---- */

static void stroke(EspDisplayInput *input, const EspKeyStroke *key)
{
    if (key->keycode >= ESP_KEYS_MAX)
        return;
    guint8 *held = &input->typed[key->keycode / 8], bit = (guint8)(1u << (key->keycode % 8));
    *held = key->down ? *held | bit : *held & (guint8)~bit;
    send_key(input, key->keycode, key->down);
}

/* Lets go of what strokes still hold, and forgets those to come. */
static void stop_strokes(EspDisplayInput *input)
{
    g_clear_handle_id(&input->strokes_id, g_source_remove);
    g_array_set_size(input->strokes, 0);
    input->next_stroke = 0;
    for (unsigned keycode = 0; keycode < ESP_KEYS_MAX; keycode++)
        if (input->typed[keycode / 8] >> (keycode % 8) & 1)
            stroke(input, &(EspKeyStroke){.keycode = (guint16)keycode});
}

static gboolean on_stroke(gpointer data)
{
    EspDisplayInput *input = data;

    if (input->next_stroke < input->strokes->len)
        stroke(input, &g_array_index(input->strokes, EspKeyStroke, input->next_stroke++));
    if (input->next_stroke < input->strokes->len)
        return G_SOURCE_CONTINUE;
    input->strokes_id = 0;
    stop_strokes(input);
    return G_SOURCE_REMOVE;
}

static gboolean on_chord_done(gpointer data)
{
    EspDisplayInput *input = data;

    input->strokes_id = 0;
    while (input->strokes->len) {
        EspKeyStroke key = g_array_index(input->strokes, EspKeyStroke, input->strokes->len - 1);
        g_array_set_size(input->strokes, input->strokes->len - 1);
        stroke(input, &key);
    }
    return G_SOURCE_REMOVE;
}

void esp_display_input_send_chord(EspDisplayInput *input, const unsigned *keycodes, unsigned n)
{
    stop_strokes(input);
    esp_keyboard_release_all(&input->keyboard);
    for (unsigned i = 0; i < n; i++) {
        EspKeyStroke key = {.keycode = (guint16)keycodes[i], .down = true};
        stroke(input, &key);
        key.down = false;
        g_array_append_val(input->strokes, key);
    }
    input->strokes_id = g_timeout_add(CHORD_MS, on_chord_done, input);
}

void esp_display_input_type(EspDisplayInput *input, const EspKeyStroke *strokes, unsigned n)
{
    stop_strokes(input);
    esp_keyboard_release_all(&input->keyboard);
    g_array_append_vals(input->strokes, strokes, n);
    if (n)
        input->strokes_id = g_timeout_add(STROKE_MS, on_stroke, input);
}

bool esp_display_input_is_typing(EspDisplayInput *input)
{
    return input->strokes_id != 0;
}

/* ---- keys ---- */

static void let_go(EspDisplayInput *input)
{
    esp_keyboard_release_all(&input->keyboard);
    for (unsigned i = 0; i < BUTTONS_KNOWN; i++)
        if ((input->buttons & (1u << i)) && input->sink)
            input->sink->button(input->opaque, evdev_buttons[i], false);
    input->buttons = 0;
    input->wheel_x = input->wheel_y = 0;
}

/* Both X servers and compositors stamp with the monotonic clock, in milliseconds that wrap. */
static void count_key(EspDisplayInput *input, guint32 time)
{
    guint64 now = (guint64)g_get_monotonic_time();
    guint32 late_ms = (guint32)(now / 1000) - time;

    if (!time || late_ms > TIME_SANE_MS)
        return;
    guint64 us = (guint64)late_ms * 1000 + now % 1000;
    input->keys++;
    input->key_sum_us += us;
    input->key_max_us = MAX(input->key_max_us, us);
}

void esp_display_input_key(EspDisplayInput *input, const GdkEventKey *event)
{
    bool release = esp_keyboard_event(&input->keyboard, event);

    count_key(input, event->time);
    if (release) {
        esp_display_input_ungrab(input);
        input->host->release(input->widget);
    }
}

/* ---- pointer ---- */

static bool is_relative(EspDisplayInput *input)
{
    return input->sink && input->sink->is_relative && input->sink->is_relative(input->opaque);
}

static void on_captive_motion(void *opaque, int right, int down)
{
    EspDisplayInput *input = opaque;

    if (input->sink && input->sink->motion)
        input->sink->motion(input->opaque, right, down);
}

static void send_pointer(EspDisplayInput *input, double x, double y)
{
    if (esp_pointer_capture_is_on(input->capture))
        return;
    int scale = gtk_widget_get_scale_factor(input->widget);
    EspViewport viewport = input->host->place(input->widget);
    unsigned guest_x, guest_y;

    if (input->sink && esp_viewport_map(&viewport, x * scale, y * scale, &guest_x, &guest_y))
        input->sink->pointer(input->opaque, guest_x, guest_y);
}

void esp_display_input_motion(EspDisplayInput *input, const GdkEventMotion *event)
{
    if (esp_pointer_capture_is_on(input->capture) && !is_relative(input))
        esp_display_input_ungrab(input); /* a driver for a tablet has come */
    esp_pointer_capture_motion(input->capture, event);
    send_pointer(input, event->x, event->y);
}

/* A press that takes the pointer is not the guest's, which may have its own elsewhere. */
static bool take_by_click(EspDisplayInput *input)
{
    if (is_relative(input) && !esp_pointer_capture_is_on(input->capture)) {
        esp_display_input_grab(input);
        return esp_pointer_capture_is_on(input->capture);
    }
    if (input->grab_on_click)
        esp_display_input_grab(input);
    return false;
}

void esp_display_input_button(EspDisplayInput *input, const GdkEventButton *event)
{
    if (event->type != GDK_BUTTON_PRESS && event->type != GDK_BUTTON_RELEASE)
        return; /* double clicks are the guest's to find */
    bool down = event->type == GDK_BUTTON_PRESS;
    if (down) {
        gtk_widget_grab_focus(input->widget);
        if (take_by_click(input))
            return;
    }
    send_pointer(input, event->x, event->y);
    if (event->button >= BUTTONS_KNOWN || !evdev_buttons[event->button])
        return;
    guint bit = 1u << event->button;
    if (down == !!(input->buttons & bit))
        return;
    input->buttons ^= bit;
    if (input->sink)
        input->sink->button(input->opaque, evdev_buttons[event->button], down);
}

static int whole_clicks(double *sum, double delta)
{
    /* Turning round starts afresh: what is left of the other direction would delay it. */
    if (*sum * delta < 0)
        *sum = 0;
    *sum += CLAMP(delta, -64.0, 64.0);
    int clicks = (int)*sum;
    *sum -= clicks;
    return CLAMP(clicks, -16, 16);
}

void esp_display_input_scroll(EspDisplayInput *input, const GdkEventScroll *event)
{
    int vertical = 0, horizontal = 0;

    switch (event->direction) {
    case GDK_SCROLL_UP:
        vertical = 1;
        break;
    case GDK_SCROLL_DOWN:
        vertical = -1;
        break;
    case GDK_SCROLL_LEFT:
        horizontal = -1;
        break;
    case GDK_SCROLL_RIGHT:
        horizontal = 1;
        break;
    case GDK_SCROLL_SMOOTH: /* down and right are positive */
        vertical = -whole_clicks(&input->wheel_y, event->delta_y);
        horizontal = whole_clicks(&input->wheel_x, event->delta_x);
        if (event->is_stop) /* fingers off: what is short of a click would be added to the next gesture */
            input->wheel_x = input->wheel_y = 0;
        break;
    default:
        break;
    }
    send_pointer(input, event->x, event->y);
    if ((vertical || horizontal) && input->sink)
        input->sink->wheel(input->opaque, vertical, horizontal);
}

/* ---- grab ---- */

bool esp_display_input_is_grabbed(EspDisplayInput *input)
{
    return input->grabbed || esp_pointer_capture_is_on(input->capture);
}

void esp_display_input_set_grab_on_click(EspDisplayInput *input, bool grab)
{
    input->grab_on_click = grab;
}

void esp_display_input_grab(EspDisplayInput *input)
{
    GtkWidget *toplevel = gtk_widget_get_toplevel(input->widget);
    GdkWindow *window = gtk_widget_get_window(toplevel);
    if (!window || esp_pointer_capture_is_on(input->capture))
        return;
    if (is_relative(input)) {
        if (esp_pointer_capture_begin(input->capture)) {
            input->grabbed = NULL; /* that is one grab now */
            input->host->grab_changed(input->widget);
        }
        return;
    }
    if (input->grabbed)
        return;
    GdkSeat *seat = gdk_display_get_default_seat(gtk_widget_get_display(toplevel));
    GdkGrabStatus status =
        gdk_seat_grab(seat, window, GDK_SEAT_CAPABILITY_KEYBOARD, TRUE, NULL, NULL, NULL, NULL);
    if (status != GDK_GRAB_SUCCESS) {
        g_debug("the desktop refuses a keyboard grab (%d)", status);
        return;
    }
    input->grabbed = seat;
    input->host->grab_changed(input->widget);
}

void esp_display_input_ungrab(EspDisplayInput *input)
{
    let_go(input);
    if (!esp_display_input_is_grabbed(input))
        return;
    if (input->grabbed)
        gdk_seat_ungrab(input->grabbed);
    input->grabbed = NULL;
    esp_pointer_capture_end(input->capture);
    input->host->grab_changed(input->widget);
}

void esp_display_input_grab_broken(EspDisplayInput *input, const GdkEventGrabBroken *event)
{
    if (!event->keyboard || !esp_display_input_is_grabbed(input))
        return;
    input->grabbed = NULL;
    esp_pointer_capture_end(input->capture);
    let_go(input);
    input->host->grab_changed(input->widget);
}

/* ---- lifecycle ---- */

EspDisplayInput *esp_display_input_new(GtkWidget *widget, const EspDisplayInputHost *host)
{
    EspDisplayInput *input = g_new0(EspDisplayInput, 1);

    input->widget = widget;
    input->host = host;
    input->grab_on_click = true;
    input->capture = esp_pointer_capture_new(widget, on_captive_motion, input);
    input->strokes = g_array_new(FALSE, FALSE, sizeof(EspKeyStroke));
    esp_keyboard_init(&input->keyboard, send_key, input);
    return input;
}

void esp_display_input_free(EspDisplayInput *input)
{
    if (!input)
        return;
    input->sink = NULL;
    stop_strokes(input);
    g_array_unref(input->strokes);
    esp_pointer_capture_free(input->capture);
    g_free(input);
}

void esp_display_input_set_sink(EspDisplayInput *input, const EspInputSink *sink, void *opaque)
{
    stop_strokes(input);
    let_go(input);
    input->sink = sink;
    input->opaque = opaque;
}

void esp_display_input_get_key_times(EspDisplayInput *input, guint64 *keys, guint64 *sum_us, guint64 *max_us)
{
    *keys = input->keys;
    *sum_us = input->key_sum_us;
    *max_us = input->key_max_us;
}
