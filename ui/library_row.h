/* A machine in the library's list: picture, name, what it is, how it is, and a button. */
#pragma once

#include <gtk/gtk.h>

#include "app/library.h"

G_BEGIN_DECLS

#define ESP_TYPE_LIBRARY_ROW (esp_library_row_get_type())
G_DECLARE_FINAL_TYPE(EspLibraryRow, esp_library_row, ESP, LIBRARY_ROW, GtkListBoxRow)

/* Follows `item`. The button activates the row. */
GtkWidget *esp_library_row_new(EspLibraryItem *item);
EspLibraryItem *esp_library_row_get_item(EspLibraryRow *row);

G_END_DECLS
