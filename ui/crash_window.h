/*
 * What is shown when the process of a machine died: how it ended, what is lost and what is not, details to
 * copy, and a button that starts the machine again.
 */
#pragma once

#include <gtk/gtk.h>

#include "app/crash.h"

G_BEGIN_DECLS

#define ESP_TYPE_CRASH_WINDOW (esp_crash_window_get_type())
G_DECLARE_FINAL_TYPE(EspCrashWindow, esp_crash_window, ESP, CRASH_WINDOW, GtkApplicationWindow)

/* Shows what is known of a crash; `crash` stays the caller's. Signal: start-again (), after which the window
 * closes. Closing it otherwise leaves the machine off. */
GtkWidget *esp_crash_window_new(GtkApplication *application, const EspCrash *crash);
/* The bundle's path. */
const char *esp_crash_window_get_path(EspCrashWindow *window);

G_END_DECLS
