/*
 * Starts the process of a machine, `espalier --run BUNDLE`, or reaches the one that runs.
 *
 * Such a process is independent: it ends neither with ours nor by a Ctrl+C in our terminal.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

G_BEGIN_DECLS

typedef enum EspLaunchFlags {
    ESP_LAUNCH_DEFAULT = 0,
    ESP_LAUNCH_NO_WINDOW = 1 << 0,   /* without one, until somebody asks for it */
    ESP_LAUNCH_STDERR_PIPE = 1 << 1, /* for us to read, until the machine runs */
} EspLaunchFlags;

/* Starts it. `startup_id` (NULL is fine) hands on the user's click, so that the desktop lets the window come
 * to the front. Watch the result with g_subprocess_wait_async. Any thread. */
GSubprocess *esp_launch_machine(const char *bundle_path, EspLaunchFlags flags, const char *startup_id,
                                GError **error);

/* Shows the window of the machine at `bundle_path` on `display` (as GDK names it; NULL: that of the
 * environment): asks the process that has the machine open, or starts one. Never waits; `callback` is called
 * on the thread's default context. */
void esp_open_machine(const char *bundle_path, const char *display, const char *startup_id,
                      GCancellable *cancellable, GAsyncReadyCallback callback, gpointer data);
/* False with `error` set. *process is the one that was started, which the caller owns, or NULL: there was one
 * already. */
bool esp_open_machine_finish(GAsyncResult *result, GSubprocess **process, GError **error);

G_END_DECLS
