/* The process of one machine (see machine_process.h). */
#include "ui/machine_process.h"

#include <glib-unix.h>
#include <glib/gi18n.h>
#include <signal.h>
#include <stdio.h>

#include "app/control.h"
#include "app/vm_session.h"
#include "ui/application.h"
#include "ui/display_guard.h"
#include "ui/settings.h"
#include "ui/vm_window.h"

#ifdef GDK_WINDOWING_WAYLAND
#include <gdk/gdkwayland.h>
#endif

#define GUARD "esp-display-guard" /* data of a display that is there */

typedef struct Process {
    GMainLoop *loop;
    EspVmSession *session;
    GDBusConnection *bus; /* the session bus, or NULL */

    EspApplication *application; /* from the first window on, whatever display it is on; or NULL */
    GSettings *settings;

    /* The window, and where it is; all NULL without one. */
    GdkDisplay *display; /* not owned */
    GtkWidget *window;

    bool ending; /* by a signal */
} Process;

/* --- The end ------------------------------------------------------------------------------------ */

static bool is_window_open(const Process *process)
{
    return process->window && gtk_widget_get_visible(process->window);
}

static void end_if_done(Process *process)
{
    if (!esp_vm_session_is_active(process->session) && !is_window_open(process))
        g_main_loop_quit(process->loop);
}

static void on_changed(Process *process)
{
    end_if_done(process);
}

/* Whoever ends us with a signal ends the machine, but in order: disks are flushed. */
static gboolean on_signal(gpointer data)
{
    Process *process = data;
    process->ending = true;
    esp_vm_session_add_log(process->session, _("The process was asked to end."));
    esp_vm_session_stop(process->session);
    g_main_loop_quit(process->loop);
    return G_SOURCE_CONTINUE;
}

/* --- The window --------------------------------------------------------------------------------- */

/* A dying session bus ends programs, unless they say that they mind. */
static void outlive_bus(Process *process)
{
    if (!process->bus && g_getenv("DBUS_SESSION_BUS_ADDRESS"))
        process->bus = g_bus_get_sync(G_BUS_TYPE_SESSION, NULL, NULL);
    if (process->bus)
        g_dbus_connection_set_exit_on_close(process->bus, FALSE);
}

static void on_window_destroyed(Process *process)
{
    process->window = NULL;
    end_if_done(process);
}

static void drop_window(Process *process)
{
    if (!process->window)
        return;
    GtkWidget *window = process->window;
    process->window = NULL;
    g_signal_handlers_disconnect_by_data(window, process);
    gtk_widget_destroy(window);
}

/* Leaves the display, which stays open if it is still there: GTK does not like to have one closed. */
static void leave_display(Process *process)
{
    drop_window(process);
    if (process->display)
        gdk_display_flush(process->display); /* the end of the window */
    process->display = NULL;
}

static void on_display_lost(GdkDisplay *display, gpointer data)
{
    Process *process = data;
    g_object_set_data(G_OBJECT(display), GUARD, NULL);
    if (display != process->display)
        return;
    drop_window(process);
    process->display = NULL;
    esp_vm_session_add_log(process->session,
                           _("The display of the window has gone; the machine goes on without."));
    end_if_done(process);
}

/* One that we have been on before. */
static GdkDisplay *find_display(const char *name)
{
    g_autoptr(GSList) displays = gdk_display_manager_list_displays(gdk_display_manager_get());
    for (GSList *l = displays; l; l = l->next)
        if (g_object_get_data(l->data, GUARD) && !g_strcmp0(gdk_display_get_name(l->data), name))
            return l->data;
    return NULL;
}

static void guard_free(gpointer guard)
{
    esp_display_guard_free(guard);
}

/* Never to be closed but by its loss. */
/* `name` NULL or empty: the environment's. */
static GdkDisplay *open_display(const char *name, GError **error)
{
    if (name && !*name)
        name = NULL;
    /* Started without a display, what is found by it (the bus of screen readers, OpenGL) looks at this one.
     */
    if (name && !g_getenv("DISPLAY") && !g_getenv("WAYLAND_DISPLAY"))
        g_setenv(name[0] == ':' ? "DISPLAY" : "WAYLAND_DISPLAY", name, TRUE);
    gtk_parse_args(NULL, NULL); /* once, however often it is called */
    GdkDisplay *display = gdk_display_open(name);
    if (display)
        return display;
    if (name)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, _("The display “%s” cannot be opened."), name);
    else
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                            _("There is no display to open a window on."));
    return NULL;
}

/* Makes the display of that name ours, in place of another one. */
static bool take_display(Process *process, const char *name, GError **error)
{
    bool same =
        process->display && (!name || !*name || !g_strcmp0(gdk_display_get_name(process->display), name));
    if (same)
        return true;
    GdkDisplay *display = name && *name ? find_display(name) : NULL;
    bool known = display != NULL;
    if (!display && !(display = open_display(name, error)))
        return false;
    leave_display(process);
    process->display = display;
    gdk_display_manager_set_default_display(gdk_display_manager_get(), display);
    if (!known) {
        g_object_set_data_full(G_OBJECT(display), GUARD,
                               esp_display_guard_new(display, on_display_lost, process), guard_free);
        esp_application_load_style(gdk_display_get_default_screen(display));
    }
    if (process->application)
        return true;
    outlive_bus(process);
    process->settings = esp_settings_new();
    process->application = esp_application_new_for_machine();
    return g_application_register(G_APPLICATION(process->application), NULL, error);
}

static void make_window(Process *process)
{
    process->window =
        esp_vm_window_new(GTK_APPLICATION(process->application), process->session, process->settings);
    g_signal_connect_swapped(process->window, "destroy", G_CALLBACK(on_window_destroyed), process);
    g_signal_connect_swapped(process->window, "hide", G_CALLBACK(on_changed), process);
}

static bool present(EspVmSession *session, const char *display, const char *token, gpointer data,
                    GError **error)
{
    Process *process = data;
    if (!take_display(process, display, error))
        return false;
    if (!process->window)
        make_window(process);
    if (token && *token) {
#ifdef GDK_WINDOWING_WAYLAND
        if (GDK_IS_WAYLAND_DISPLAY(process->display))
            gdk_wayland_display_set_startup_notification_id(process->display, token);
#endif
        gtk_window_set_startup_id(GTK_WINDOW(process->window), token);
    }
    gtk_window_present(GTK_WINDOW(process->window));
    return true;
}

/* --- The whole of it ---------------------------------------------------------------------------- */

/* True if another process has the machine open; what became of asking it is in `error`. */
static bool ask_other(const char *bundle_path, bool window, GError **error)
{
    g_autofree char *path = esp_control_path_of(bundle_path);
    g_autoptr(GDBusConnection) peer = path ? esp_control_connect(path, NULL) : NULL;
    g_autoptr(EspMachine1) machine = peer ? esp_control_proxy(peer, NULL) : NULL;
    const char *display = g_getenv(g_getenv("WAYLAND_DISPLAY") ? "WAYLAND_DISPLAY" : "DISPLAY");
    const char *token = g_getenv("XDG_ACTIVATION_TOKEN");
    if (!machine || !esp_machine1_get_pid(machine))
        return false;
    if (!token)
        token = g_getenv("DESKTOP_STARTUP_ID");
    if (window)
        esp_machine1_call_present_sync(machine, display ? display : "", token ? token : "", NULL, error);
    else
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                    _("“%s” is already open in another process (number %d)."), esp_machine1_get_name(machine),
                    (int)esp_machine1_get_pid(machine));
    if (error && *error)
        g_dbus_error_strip_remote_error(*error);
    return true;
}

static void complain(const GError *error)
{
    fprintf(stderr, "espalier: %s\n", error->message);
}

static int run(Process *process, bool window)
{
    g_autoptr(GError) no_window = NULL;
    guint signal_ids[] = {g_unix_signal_add(SIGTERM, on_signal, process),
                          g_unix_signal_add(SIGINT, on_signal, process)};
    esp_vm_session_set_presenter(process->session, present, process);
    if (window && !present(process->session, NULL, NULL, process, &no_window)) {
        g_autofree char *line = g_strdup_printf(_("%s The machine runs without one."), no_window->message);
        esp_vm_session_add_log(process->session, line);
        fprintf(stderr, "espalier: %s\n", line);
    }
    /* Opening a machine means to have it: one that could not even be opened says so by itself. */
    if (esp_vm_session_get_bundle(process->session))
        esp_vm_session_start(process->session);
    g_signal_connect_swapped(process->session, "changed", G_CALLBACK(on_changed), process);

    const GError *error = esp_vm_session_get_error(process->session);
    if (error && !is_window_open(process))
        complain(error);
    else
        esp_vm_session_log_stderr(process->session);
    if (esp_vm_session_is_active(process->session) || is_window_open(process))
        g_main_loop_run(process->loop);
    error = esp_vm_session_get_error(process->session);
    g_signal_handlers_disconnect_by_data(process->session, process);
    for (size_t i = 0; i < G_N_ELEMENTS(signal_ids); i++)
        g_source_remove(signal_ids[i]);
    return error && !process->ending ? 1 : 0;
}

int esp_machine_process_run(const char *bundle_path, bool window)
{
    Process process = {.loop = g_main_loop_new(NULL, FALSE)};
    g_autoptr(GError) error = NULL;
    int status;

    signal(SIGHUP, SIG_IGN); /* a terminal that closes, perhaps since its display has gone */
    outlive_bus(&process);
    if (ask_other(bundle_path, window, &error)) {
        if (error)
            complain(error);
        status = error ? 1 : 0;
    } else {
        process.session = esp_vm_session_new(bundle_path);
        status = run(&process, window);
        esp_vm_session_stop(process.session);
        leave_display(&process);
        g_clear_object(&process.settings);
        g_clear_object(&process.application);
        esp_vm_session_set_presenter(process.session, NULL, NULL);
        g_object_unref(process.session);
    }
    g_clear_object(&process.bus);
    g_main_loop_unref(process.loop);
    return status;
}
