/* A device of a machine with its settings, and the button that takes it away: a section of a page of
 * settings. */
#pragma once

#include <gtk/gtk.h>

#include "ui/settings_model.h"

G_BEGIN_DECLS

#define ESP_TYPE_SETTINGS_DEVICE (esp_settings_device_get_type())
G_DECLARE_FINAL_TYPE(EspSettingsDevice, esp_settings_device, ESP, SETTINGS_DEVICE, GtkBox)

GtkWidget *esp_settings_device_new(EspSettingsModel *model, int index);

G_END_DECLS
