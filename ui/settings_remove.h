/* A device is taken away: asked about where a file is concerned, and put back with Undo. */
#pragma once

#include <gtk/gtk.h>

#include "ui/settings_model.h"

G_BEGIN_DECLS

/* `widget` is any in the settings window. */
void esp_settings_remove_device(GtkWidget *widget, EspSettingsModel *model, int index);

G_END_DECLS
