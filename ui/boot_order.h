/* In which order firmware tries a machine's drives and network cards, moved up and down with buttons. */
#pragma once

#include <gtk/gtk.h>

#include "ui/settings_model.h"

G_BEGIN_DECLS

#define ESP_TYPE_BOOT_ORDER (esp_boot_order_get_type())
G_DECLARE_FINAL_TYPE(EspBootOrder, esp_boot_order, ESP, BOOT_ORDER, GtkBox)

/* Visible while there is an order to choose. */
GtkWidget *esp_boot_order_new(EspSettingsModel *model);

G_END_DECLS
