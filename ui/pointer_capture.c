/*
 * A captive pointer (see pointer_capture.h).
 *
 * Put back to the middle it tells of that like of any other motion, some time later and behind motions that
 * were on their way: until the middle is reported all is measured from where it was before.
 */
#include "ui/pointer_capture.h"

#include <math.h>

#include "ui/pointer_lock.h"

struct EspPointerCapture {
    GtkWidget *widget;
    void (*moved)(void *opaque, int right, int down);
    void *opaque;

    GdkSeat *seat;        /* grabbed, or NULL */
    EspPointerLock *lock; /* where a compositor does it */
    double x, y;          /* where it was, of the screen */
    double right, down;   /* less than a step */
    bool returning;       /* it was put back, and has not said so yet */
};

static int whole_steps(double *sum, double delta)
{
    *sum += delta;
    double whole = trunc(CLAMP(*sum, -10000.0, 10000.0));
    *sum -= whole;
    return (int)whole;
}

static void tell(void *opaque, double right, double down)
{
    EspPointerCapture *capture = opaque;
    int scale = gtk_widget_get_scale_factor(capture->widget);
    int steps_right = whole_steps(&capture->right, right * scale);
    int steps_down = whole_steps(&capture->down, down * scale);

    if (steps_right || steps_down)
        capture->moved(capture->opaque, steps_right, steps_down);
}

static void find_middle(EspPointerCapture *capture, int *x, int *y)
{
    GdkWindow *window = gtk_widget_get_window(capture->widget);

    gdk_window_get_root_coords(window, gdk_window_get_width(window) / 2, gdk_window_get_height(window) / 2, x,
                               y);
}

static void put_back(EspPointerCapture *capture)
{
    int x, y;

    find_middle(capture, &x, &y);
    gdk_device_warp(gdk_seat_get_pointer(capture->seat), gtk_widget_get_screen(capture->widget), x, y);
    capture->returning = true;
}

/* A third of the way to the edge is left for motions that are on their way. */
static bool is_far_out(EspPointerCapture *capture)
{
    GdkWindow *window = gtk_widget_get_window(capture->widget);
    int x, y;

    find_middle(capture, &x, &y);
    return fabs(capture->x - x) > gdk_window_get_width(window) / 3.0 ||
           fabs(capture->y - y) > gdk_window_get_height(window) / 3.0;
}

void esp_pointer_capture_motion(EspPointerCapture *capture, const GdkEventMotion *event)
{
    int x, y;

    if (!capture->seat || capture->lock)
        return;
    find_middle(capture, &x, &y);
    if (capture->returning && (int)event->x_root == x && (int)event->y_root == y) {
        capture->returning = false;
    } else {
        tell(capture, event->x_root - capture->x, event->y_root - capture->y);
    }
    capture->x = event->x_root;
    capture->y = event->y_root;
    if (!capture->returning && is_far_out(capture))
        put_back(capture);
}

static bool grab(EspPointerCapture *capture)
{
    GdkWindow *window = gtk_widget_get_window(capture->widget);
    GdkDisplay *display = gtk_widget_get_display(capture->widget);
    GdkSeat *seat = gdk_display_get_default_seat(display);
    g_autoptr(GdkCursor) blank = gdk_cursor_new_for_display(display, GDK_BLANK_CURSOR);
    GdkGrabStatus status =
        gdk_seat_grab(seat, window, GDK_SEAT_CAPABILITY_KEYBOARD | GDK_SEAT_CAPABILITY_ALL_POINTING, FALSE,
                      blank, NULL, NULL, NULL);

    if (status != GDK_GRAB_SUCCESS) {
        g_debug("the desktop refuses a grab of the pointer (%d)", status);
        return false;
    }
    capture->seat = seat;
    return true;
}

bool esp_pointer_capture_begin(EspPointerCapture *capture)
{
    GdkWindow *window = gtk_widget_get_window(capture->widget);
    EspPointerLock *lock = NULL;

    if (capture->seat)
        return true;
    if (!window || !esp_pointer_lock_new(capture->widget, tell, capture, &lock) || !grab(capture)) {
        esp_pointer_lock_free(lock);
        return false;
    }
    capture->lock = lock;
    capture->right = capture->down = 0;
    capture->returning = false;
    if (lock)
        return true;
    gdk_window_set_event_compression(window, FALSE); /* each motion counts */
    gdk_device_get_position_double(gdk_seat_get_pointer(capture->seat), NULL, &capture->x, &capture->y);
    if (is_far_out(capture))
        put_back(capture);
    return true;
}

void esp_pointer_capture_end(EspPointerCapture *capture)
{
    if (!capture->seat)
        return;
    GdkWindow *window = gtk_widget_get_window(capture->widget);
    gdk_seat_ungrab(capture->seat);
    capture->seat = NULL;
    g_clear_pointer(&capture->lock, esp_pointer_lock_free);
    if (window)
        gdk_window_set_event_compression(window, TRUE);
}

bool esp_pointer_capture_is_on(const EspPointerCapture *capture)
{
    return capture->seat != NULL;
}

EspPointerCapture *esp_pointer_capture_new(GtkWidget *widget,
                                           void (*moved)(void *opaque, int right, int down), void *opaque)
{
    EspPointerCapture *capture = g_new0(EspPointerCapture, 1);

    capture->widget = widget;
    capture->moved = moved;
    capture->opaque = opaque;
    return capture;
}

void esp_pointer_capture_free(EspPointerCapture *capture)
{
    if (!capture)
        return;
    esp_pointer_capture_end(capture);
    g_free(capture);
}
