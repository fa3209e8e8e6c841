/*
 * One setting as a row: its label and help, what it is changed with, and what is to be said about it. What is
 * changed is written at once; a value that is refused stays to be mended, with a sentence below it.
 */
#pragma once

#include <gtk/gtk.h>

#include "ui/settings_model.h"

G_BEGIN_DECLS

#define ESP_TYPE_SETTING_ROW (esp_setting_row_get_type())
G_DECLARE_FINAL_TYPE(EspSettingRow, esp_setting_row, ESP, SETTING_ROW, GtkListBoxRow)

/* `index`: the device's number, or -1. */
GtkWidget *esp_setting_row_new(EspSettingsModel *model, const EspSetting *setting, int index);
const EspSetting *esp_setting_row_get_setting(EspSettingRow *row);
/* Puts the cursor into it. */
void esp_setting_row_focus(EspSettingRow *row);

/* Rows in the look of all groups of settings: an empty list, named for screen readers. */
GtkWidget *esp_setting_list_new(const char *name);

G_END_DECLS
