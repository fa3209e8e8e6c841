/*
 * Outliving a display (see display_guard.h).
 *
 * X11: GDK's handler of I/O errors calls _exit. It is replaced by one that returns, and Xlib, which would end
 * the program then, is told by XSetIOErrorExitHandler (libX11 1.7) not to. From then on every call of Xlib
 * with this Display does nothing and returns, so that whoever was in the middle of one gets out of it, and
 * the main loop gets the news with high priority. GDK's own end of the display stays, since closing it leaves
 * timers and devices behind that still ask it: its descriptor becomes one that never has anything to read.
 *
 * Mesa's software renderer then asks for the size of a pixmap in the middle of a frame, does not look whether
 * it was told, and copies as many rows as stood on its stack, which is why XGetGeometry is ours (below).
 *
 * Wayland: GDK's event source calls _exit when it can neither flush nor read. A source of higher priority
 * looks at the connection first, in each of its two phases; once it is ready GLib asks no source of a lower
 * one in that turn of the loop. What is left is a compositor that dies between our look and GDK's flush, some
 * microseconds later.
 */
#include "ui/display_guard.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

#ifdef GDK_WINDOWING_X11
#include <X11/Xlibint.h>
#include <gdk/gdkx.h>
#endif
#ifdef GDK_WINDOWING_WAYLAND
#include <gdk/gdkwayland.h>
#include <wayland-client-core.h>
#endif

struct EspDisplayGuard {
    GdkDisplay *display;
    void (*lost)(GdkDisplay *display, gpointer data);
    gpointer data;
    GSource *watch; /* Wayland */
    guint news_id;  /* X11 */
};

/* Called in place of Xlib's by every library in the process: the same, but that who gets no answer finds
 * zeros. */
#ifdef GDK_WINDOWING_X11
#pragma GCC visibility push(default)
Status XGetGeometry(Display *display, Drawable drawable, Window *root, int *x, int *y, unsigned *width,
                    unsigned *height, unsigned *border_width, unsigned *depth)
{
    typedef Status (*Function)(Display *, Drawable, Window *, int *, int *, unsigned *, unsigned *,
                               unsigned *, unsigned *);
    static Function function; /* the same for all threads */
    Function xlib = __atomic_load_n(&function, __ATOMIC_RELAXED);
    if (!xlib) {
        xlib = (Function)dlsym(RTLD_NEXT, "XGetGeometry");
        __atomic_store_n(&function, xlib, __ATOMIC_RELAXED);
    }
    *root = None;
    *x = *y = 0;
    *width = *height = 1;
    *border_width = *depth = 0;
    return xlib ? xlib(display, drawable, root, x, y, width, height, border_width, depth) : 0;
}
#pragma GCC visibility pop
#endif

static void tell(EspDisplayGuard *guard)
{
    guard->lost(guard->display, guard->data);
}

/* --- X11 ---------------------------------------------------------------------------------------- */

#ifdef GDK_WINDOWING_X11
static gboolean on_news(gpointer data)
{
    EspDisplayGuard *guard = data;
    guard->news_id = 0;
    tell(guard);
    return G_SOURCE_REMOVE;
}

static int on_io_error(Display *display)
{
    return 0;
}

/* After each request of a display that is lost. Xlib sends nothing any more, but it does not throw away
 * either what stands in its buffer, and gives out NULL for a request when that is full. */
static int forget_request(Display *display)
{
    display->bufptr = display->buffer;
    return 0;
}

/* Nothing to read, for ever, in place of an end that would be read again and again. */
static void silence(Display *display)
{
    int quiet = eventfd(0, EFD_CLOEXEC);
    if (quiet < 0)
        return;
    dup3(quiet, ConnectionNumber(display), O_CLOEXEC);
    close(quiet);
}

/* In the middle of a call of Xlib. */
static void on_io_error_exit(Display *display, void *data)
{
    EspDisplayGuard *guard = data;
    silence(display);
    forget_request(display);
    XSetAfterFunction(display, forget_request);
    if (guard && !guard->news_id)
        guard->news_id = g_idle_add_full(G_PRIORITY_HIGH, on_news, guard, NULL);
}

/* NULL: nobody is told any more. */
static void guard_x11(GdkDisplay *display, EspDisplayGuard *guard)
{
    XSetIOErrorHandler(on_io_error);
    XSetIOErrorExitHandler(gdk_x11_display_get_xdisplay(display), on_io_error_exit, guard);
}
#endif

/* --- Wayland ------------------------------------------------------------------------------------ */

#ifdef GDK_WINDOWING_WAYLAND
typedef struct Watch {
    GSource source;
    int fd;
} Watch;

static bool is_broken(GSource *source)
{
    struct pollfd pfd = {.fd = ((Watch *)source)->fd};
    return poll(&pfd, 1, 0) > 0 && (pfd.revents & (POLLHUP | POLLERR));
}

static gboolean watch_prepare(GSource *source, int *timeout)
{
    *timeout = -1;
    return is_broken(source);
}

static gboolean watch_check(GSource *source)
{
    return is_broken(source);
}

static gboolean watch_dispatch(GSource *source, GSourceFunc func, gpointer data)
{
    EspDisplayGuard *guard = data;
    g_autoptr(GdkDisplay) display = g_object_ref(guard->display);
    tell(guard);
    gdk_display_close(display);
    return G_SOURCE_REMOVE;
}

static GSourceFuncs watch_funcs = {
    .prepare = watch_prepare, .check = watch_check, .dispatch = watch_dispatch};

static void guard_wayland(EspDisplayGuard *guard)
{
    int fd = wl_display_get_fd(gdk_wayland_display_get_wl_display(guard->display));
    guard->watch = g_source_new(&watch_funcs, sizeof(Watch));
    ((Watch *)guard->watch)->fd = fd;
    g_source_add_unix_fd(guard->watch, fd, G_IO_HUP | G_IO_ERR);
    g_source_set_priority(guard->watch, G_PRIORITY_HIGH);
    g_source_set_callback(guard->watch, NULL, guard, NULL);
    g_source_attach(guard->watch, NULL);
}
#endif

/* --- Public ------------------------------------------------------------------------------------- */

EspDisplayGuard *esp_display_guard_new(GdkDisplay *display, void (*lost)(GdkDisplay *display, gpointer data),
                                       gpointer data)
{
    EspDisplayGuard *guard = g_new0(EspDisplayGuard, 1);
    guard->display = g_object_ref(display);
    guard->lost = lost;
    guard->data = data;
#ifdef GDK_WINDOWING_X11
    if (GDK_IS_X11_DISPLAY(display))
        guard_x11(display, guard);
#endif
#ifdef GDK_WINDOWING_WAYLAND
    if (GDK_IS_WAYLAND_DISPLAY(display))
        guard_wayland(guard);
#endif
    return guard;
}

void esp_display_guard_free(EspDisplayGuard *guard)
{
    if (!guard)
        return;
#ifdef GDK_WINDOWING_X11
    g_clear_handle_id(&guard->news_id, g_source_remove);
#endif
    if (guard->watch) {
        g_source_destroy(guard->watch);
        g_source_unref(guard->watch);
    }
#ifdef GDK_WINDOWING_X11
    if (GDK_IS_X11_DISPLAY(guard->display) && !gdk_display_is_closed(guard->display))
        guard_x11(guard->display, NULL);
#endif
    g_object_unref(guard->display);
    g_free(guard);
}
