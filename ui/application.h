/*
 * The program as the desktop sees it. One process is either the library or one machine:
 *
 *   - the library is org.espalier.Espalier; a second start brings its window to the front;
 *   - a machine's process has an identity made from its bundle's path, so that opening the same machine again
 *     brings its window to the front instead of starting it twice. The bundle's lock is what truly keeps a
 *     machine from running twice, with or without a session bus.
 */
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define ESP_APPLICATION_ID "org.espalier.Espalier"

#define ESP_TYPE_APPLICATION (esp_application_get_type())
G_DECLARE_FINAL_TYPE(EspApplication, esp_application, ESP, APPLICATION, GtkApplication)

/* `bundle_path` is the machine to run, or NULL for the library. */
EspApplication *esp_application_new(const char *bundle_path);

G_END_DECLS
