/*
 * The process of one machine: its session, for as long as that has something to run or to show, and its
 * window, which comes and goes.
 *
 * The window is all that GTK has a part in. It opens when the process is started with one or when somebody
 * asks for it through the control socket, on any display; it is closed by its user, or lost with the display.
 * Neither stops the machine. The process ends when the machine is off and no window is there to start it
 * again.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

G_BEGIN_DECLS

/* Runs the machine at `bundle_path` until it has ended, and returns the exit status: 0, or 1 if it could not
 * be started or failed. If another process has the machine open, that is asked to show its window, and it is
 * 0. With `window`, and a display for it, a window is opened first. GTK need not have been initialised. */
int esp_machine_process_run(const char *bundle_path, bool window);

G_END_DECLS
