/*
 * The window of one further screen of a machine with several. Nothing but the screen: buttons and menus are
 * in the machine's own window. Closing it hides it, with the signal "closed-by-user".
 *
 * Threads: GTK's.
 */
#pragma once

#include <gtk/gtk.h>

#include "ui/display_view.h"

G_BEGIN_DECLS

#define ESP_TYPE_SCREEN_WINDOW (esp_screen_window_get_type())
G_DECLARE_FINAL_TYPE(EspScreenWindow, esp_screen_window, ESP, SCREEN_WINDOW, GtkWindow)

/* `number` is what people call it: the second screen is 2. */
GtkWidget *esp_screen_window_new(const char *machine, unsigned number);
EspDisplayView *esp_screen_window_get_view(EspScreenWindow *window);
void esp_screen_window_set_scaling(EspScreenWindow *window, EspScaling scaling);

G_END_DECLS
