/* The welcome at the first start: what this program is, and a check of this computer in words. */
#pragma once

#include <gtk/gtk.h>
#include <stdbool.h>

G_BEGIN_DECLS

#define ESP_TYPE_WELCOME_WINDOW (esp_welcome_window_get_type())
G_DECLARE_FINAL_TYPE(EspWelcomeWindow, esp_welcome_window, ESP, WELCOME_WINDOW, GtkWindow)

/* `library` is the folder of the machines. `first` says welcome; without, it is only the check. */
GtkWidget *esp_welcome_window_new(GtkWindow *parent, const char *library, bool first);

G_END_DECLS
