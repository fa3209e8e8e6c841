/*
 * The library as the window shows it: those machines that match a search, in an order.
 *
 * A model of EspLibraryItem that changes as little as need be, so that what has the focus keeps it.
 */
#pragma once

#include "app/library.h"

G_BEGIN_DECLS

typedef enum EspLibrarySort { ESP_SORT_NAME, ESP_SORT_LAST_USED, ESP_SORT_STATE } EspLibrarySort;

#define ESP_TYPE_LIBRARY_ORDER (esp_library_order_get_type())
G_DECLARE_FINAL_TYPE(EspLibraryOrder, esp_library_order, ESP, LIBRARY_ORDER, GObject)

EspLibraryOrder *esp_library_order_new(EspLibrary *library);
/* Owned by the order. */
GListModel *esp_library_order_get_model(EspLibraryOrder *order);
void esp_library_order_set_search(EspLibraryOrder *order, const char *text);
void esp_library_order_set_sort(EspLibraryOrder *order, EspLibrarySort sort);

G_END_DECLS
