/* One group of a machine's settings: those of the machine, then its devices of the group, then the button
 * that adds one. */
#pragma once

#include <gtk/gtk.h>

#include "ui/settings_model.h"

G_BEGIN_DECLS

#define ESP_TYPE_SETTINGS_PAGE (esp_settings_page_get_type())
G_DECLARE_FINAL_TYPE(EspSettingsPage, esp_settings_page, ESP, SETTINGS_PAGE, GtkScrolledWindow)

/* `model` must have been read. */
GtkWidget *esp_settings_page_new(EspSettingsModel *model, EspSettingGroup group);

G_END_DECLS
