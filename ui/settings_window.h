/*
 * A machine's settings in a window: groups at the side, one page for each. What is changed is written at
 * once.
 */
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define ESP_TYPE_SETTINGS_WINDOW (esp_settings_window_get_type())
G_DECLARE_FINAL_TYPE(EspSettingsWindow, esp_settings_window, ESP, SETTINGS_WINDOW, GtkWindow)

/* For the bundle at `bundle_path`; above `parent` (may be NULL). Show it with gtk_window_present. */
GtkWidget *esp_settings_window_new(GtkWindow *parent, const char *bundle_path);

/* A passing message in the window `window`, as esp_toast_show; nothing if that is another kind of window. */
void esp_settings_window_say(GtkWidget *window, const char *message, const char *button, GCallback func,
                             gpointer data, GDestroyNotify free_data);

G_END_DECLS
