/* A big row of the assistant's lists: an icon, what it is, and a sentence on it. */
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define ESP_TYPE_NEW_ROW (esp_new_row_get_type())
G_DECLARE_FINAL_TYPE(EspNewRow, esp_new_row, ESP, NEW_ROW, GtkListBoxRow)

/* `id` says what is behind it; `subtitle` may be NULL. */
GtkWidget *esp_new_row_new(const char *id, const char *icon_name, const char *title, const char *subtitle);
const char *esp_new_row_get_id(EspNewRow *row);
/* The chosen one has a mark. */
void esp_new_row_set_marked(EspNewRow *row, gboolean marked);
/* A button at its end, for a second thing that can be done. The row's. */
GtkWidget *esp_new_row_add_button(EspNewRow *row, const char *icon_name, const char *tooltip);

G_END_DECLS
