/*
 * Opens machines for the library and looks after them: asks the process that runs one to show its window or
 * starts one, watches how it ends, and shows the crash window when it did so badly, whoever started it.
 *
 * Threads: GTK's.
 */
#pragma once

#include <gtk/gtk.h>

#include "app/library.h"

G_BEGIN_DECLS

#define ESP_TYPE_MACHINE_OPENER (esp_machine_opener_get_type())
G_DECLARE_FINAL_TYPE(EspMachineOpener, esp_machine_opener, ESP, MACHINE_OPENER, GObject)

/* Looks after the machines of `library`. Signal: failed (const char *name, const char *why), when a machine
 * could not be opened; `why` is a sentence, or NULL: its process ended without a word. */
EspMachineOpener *esp_machine_opener_new(GtkApplication *application, EspLibrary *library);

/* Shows the window of the machine at `path`, which starts it if it is off. `parent` (NULL is fine) is where
 * the user asked for it. */
void esp_machine_opener_open(EspMachineOpener *opener, GtkWidget *parent, const char *path, const char *name);
/* Shows the crash window of the machine at `path`, if its process died. */
void esp_machine_opener_show_crash(EspMachineOpener *opener, const char *path);

G_END_DECLS
