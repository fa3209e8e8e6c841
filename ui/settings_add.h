/* The button that adds a device of a group of settings, with what has to be asked for each kind. */
#pragma once

#include <gtk/gtk.h>

#include "ui/settings_model.h"

G_BEGIN_DECLS

#define ESP_TYPE_SETTINGS_ADD (esp_settings_add_get_type())
G_DECLARE_FINAL_TYPE(EspSettingsAdd, esp_settings_add, ESP, SETTINGS_ADD, GtkMenuButton)

/* Whether the group has any device. */
bool esp_settings_group_has_devices(EspSettingGroup group);
GtkWidget *esp_settings_add_new(EspSettingsModel *model, EspSettingGroup group);

#define ESP_TYPE_NEW_DISK_DIALOG (esp_new_disk_dialog_get_type())
G_DECLARE_FINAL_TYPE(EspNewDiskDialog, esp_new_disk_dialog, ESP, NEW_DISK_DIALOG, GtkDialog)

G_END_DECLS
