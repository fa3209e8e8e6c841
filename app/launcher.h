/* Starts the process of a machine: this same program, `espalier --run BUNDLE`. */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* Starts it, or lets the process that already runs the bundle show its window. The process is independent: it
 * does not end with ours, nor by a Ctrl+C in our terminal. `startup_id` (NULL is fine) hands on the user's
 * click, so that the desktop lets the window come to the front. Watch the result with
 * g_subprocess_wait_async. */
GSubprocess *esp_launch_machine(const char *bundle_path, const char *startup_id, GError **error);

G_END_DECLS
