/*
 * The program as the desktop sees it.
 *
 * The library is org.espalier.Espalier, once per session: a second start, or the desktop by D-Bus activation,
 * brings its window to the front. A machine's process (machine_process.h) is of the same name but not unique:
 * to the desktop its window belongs to the library's. The bundle's lock is what keeps a machine from running
 * twice.
 */
#pragma once

#include <gtk/gtk.h>
#include <stdbool.h>

G_BEGIN_DECLS

#define ESP_APPLICATION_ID "org.espalier.Espalier"

#define ESP_TYPE_APPLICATION (esp_application_get_type())
G_DECLARE_FINAL_TYPE(EspApplication, esp_application, ESP, APPLICATION, GtkApplication)

/* The library. As a `service` it opens its window only when it is told to, and ends after a while if it never
 * is. */
EspApplication *esp_application_new(bool service);
/* What a machine's window needs of an application: actions, shortcuts, style. It is registered, never run;
 * the default display has to be there. */
EspApplication *esp_application_new_for_machine(void);
/* Our style for the windows on a screen; the library does that for its own. */
void esp_application_load_style(GdkScreen *screen);

G_END_DECLS
