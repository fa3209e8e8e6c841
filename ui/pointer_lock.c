/*
 * A pointer that a Wayland compositor holds in its place (see pointer_lock.h).
 *
 * GDK 3 has no word for it, so it is asked for directly, on GDK's own connection: the list of what the
 * compositor has is read in a queue of its own, and what comes later is dispatched by GDK like everything
 * else.
 */
#include "ui/pointer_lock.h"

#ifdef GDK_WINDOWING_WAYLAND
#include <gdk/gdkwayland.h>
#include <string.h>

#include "gen/pointer-constraints-unstable-v1.h"
#include "gen/relative-pointer-unstable-v1.h"

struct EspPointerLock {
    struct zwp_pointer_constraints_v1 *constraints;
    struct zwp_relative_pointer_manager_v1 *manager;
    struct zwp_locked_pointer_v1 *locked;
    struct zwp_relative_pointer_v1 *relative;
    void (*moved)(void *opaque, double right, double down);
    void *opaque;
};

/* ---- what the compositor has ---- */

static void on_global(void *data, struct wl_registry *registry, uint32_t name, const char *interface,
                      uint32_t version)
{
    EspPointerLock *lock = data;

    if (!strcmp(interface, zwp_pointer_constraints_v1_interface.name) && !lock->constraints)
        lock->constraints = wl_registry_bind(registry, name, &zwp_pointer_constraints_v1_interface, 1);
    else if (!strcmp(interface, zwp_relative_pointer_manager_v1_interface.name) && !lock->manager)
        lock->manager = wl_registry_bind(registry, name, &zwp_relative_pointer_manager_v1_interface, 1);
}

static void on_global_remove(void *data, struct wl_registry *registry, uint32_t name)
{
}

static const struct wl_registry_listener registry_listener = {.global = on_global,
                                                              .global_remove = on_global_remove};

static bool find_globals(EspPointerLock *lock, struct wl_display *display)
{
    struct wl_event_queue *queue = wl_display_create_queue(display);
    struct wl_display *wrapped = wl_proxy_create_wrapper(display);

    wl_proxy_set_queue((struct wl_proxy *)wrapped, queue);
    struct wl_registry *registry = wl_display_get_registry(wrapped);
    wl_registry_add_listener(registry, &registry_listener, lock);
    wl_display_roundtrip_queue(display, queue);
    wl_registry_destroy(registry);
    wl_proxy_wrapper_destroy(wrapped);
    /* What they make belongs to GDK's queue. */
    if (lock->constraints)
        wl_proxy_set_queue((struct wl_proxy *)lock->constraints, NULL);
    if (lock->manager)
        wl_proxy_set_queue((struct wl_proxy *)lock->manager, NULL);
    wl_event_queue_destroy(queue);
    return lock->constraints && lock->manager;
}

/* ---- motions ---- */

static void on_motion(void *data, struct zwp_relative_pointer_v1 *relative, uint32_t time_high,
                      uint32_t time_low, wl_fixed_t right, wl_fixed_t down, wl_fixed_t raw_right,
                      wl_fixed_t raw_down)
{
    EspPointerLock *lock = data;

    lock->moved(lock->opaque, wl_fixed_to_double(right), wl_fixed_to_double(down));
}

static const struct zwp_relative_pointer_v1_listener motion_listener = {.relative_motion = on_motion};

/* ---- lifecycle ---- */

static bool lock_pointer(EspPointerLock *lock, GtkWidget *widget)
{
    GdkDisplay *display = gtk_widget_get_display(widget);
    GdkWindow *window = gtk_widget_get_window(gtk_widget_get_toplevel(widget));
    GdkDevice *device = gdk_seat_get_pointer(gdk_display_get_default_seat(display));
    struct wl_pointer *pointer = gdk_wayland_device_get_wl_pointer(device);
    struct wl_surface *surface = gdk_wayland_window_get_wl_surface(window);

    if (!pointer || !surface || !find_globals(lock, gdk_wayland_display_get_wl_display(display)))
        return false;
    lock->locked = zwp_pointer_constraints_v1_lock_pointer(lock->constraints, surface, pointer, NULL,
                                                           ZWP_POINTER_CONSTRAINTS_V1_LIFETIME_PERSISTENT);
    lock->relative = zwp_relative_pointer_manager_v1_get_relative_pointer(lock->manager, pointer);
    zwp_relative_pointer_v1_add_listener(lock->relative, &motion_listener, lock);
    return true;
}

bool esp_pointer_lock_new(GtkWidget *widget, void (*moved)(void *opaque, double right, double down),
                          void *opaque, EspPointerLock **lock)
{
    *lock = NULL;
    if (!GDK_IS_WAYLAND_DISPLAY(gtk_widget_get_display(widget)))
        return true;
    EspPointerLock *made = g_new0(EspPointerLock, 1);
    made->moved = moved;
    made->opaque = opaque;
    if (lock_pointer(made, widget)) {
        *lock = made;
        return true;
    }
    esp_pointer_lock_free(made);
    return false;
}

void esp_pointer_lock_free(EspPointerLock *lock)
{
    if (!lock)
        return;
    g_clear_pointer(&lock->relative, zwp_relative_pointer_v1_destroy);
    g_clear_pointer(&lock->locked, zwp_locked_pointer_v1_destroy);
    g_clear_pointer(&lock->manager, zwp_relative_pointer_manager_v1_destroy);
    g_clear_pointer(&lock->constraints, zwp_pointer_constraints_v1_destroy);
    g_free(lock);
}

#else /* no Wayland in this GTK */

bool esp_pointer_lock_new(GtkWidget *widget, void (*moved)(void *opaque, double right, double down),
                          void *opaque, EspPointerLock **lock)
{
    *lock = NULL;
    return true;
}

void esp_pointer_lock_free(EspPointerLock *lock)
{
}
#endif
