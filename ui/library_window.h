/* The library window: an invitation when there is no machine yet, otherwise they,
 * as cards or as a list, searched and sorted, with all that can be done with them. */
#pragma once

#include <gtk/gtk.h>

#include "app/library.h"

G_BEGIN_DECLS

#define ESP_TYPE_LIBRARY_WINDOW (esp_library_window_get_type())
G_DECLARE_FINAL_TYPE(EspLibraryWindow, esp_library_window, ESP, LIBRARY_WINDOW, GtkApplicationWindow)

/* `settings` may be NULL. */
GtkWidget *esp_library_window_new(GtkApplication *application, EspLibrary *library, GSettings *settings);
/* Imports a file or folder that the user has opened with the program. */
void esp_library_window_import(EspLibraryWindow *window, const char *path);

G_END_DECLS
