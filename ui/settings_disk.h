/* What is done with a disk beside its settings: how large it is, making it larger, another format. */
#pragma once

#include <gtk/gtk.h>

#include "ui/settings_model.h"

G_BEGIN_DECLS

bool esp_settings_is_disk(VmcDeviceKind kind);

#define ESP_TYPE_SETTINGS_DISK (esp_settings_disk_get_type())
G_DECLARE_FINAL_TYPE(EspSettingsDisk, esp_settings_disk, ESP, SETTINGS_DISK, GtkBox)

/* For the device's section. */
GtkWidget *esp_settings_disk_button_new(EspSettingsModel *model, int index);

G_END_DECLS
