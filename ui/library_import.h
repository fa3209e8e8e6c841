/* Machines that the user brings along: dropped onto the library, opened from the files, or chosen. */
#pragma once

#include "ui/machine_actions.h"

G_BEGIN_DECLS

/* Looks at a file or folder, asks what has to be asked, and imports it. */
void esp_library_import(const EspMachineHost *host, const char *path);
/* Has the user choose one. */
void esp_library_import_choose(const EspMachineHost *host);
/* Lets files be dropped onto `widget`, which has to be in the host's window. */
void esp_library_import_accept_drops(const EspMachineHost *host, GtkWidget *widget);

G_END_DECLS
