/* The machines of the library as cards or as a list: two ways to show one model, of which one is there. */
#pragma once

#include <gtk/gtk.h>

#include "ui/machine_actions.h"

G_BEGIN_DECLS

#define ESP_TYPE_LIBRARY_VIEW (esp_library_view_get_type())
G_DECLARE_FINAL_TYPE(EspLibraryView, esp_library_view, ESP, LIBRARY_VIEW, GtkStack)

/* `model` is one of EspLibraryItem. `host` is the caller's, and outlives the view. */
void esp_library_view_show(EspLibraryView *view, const EspMachineHost *host, GListModel *model);
void esp_library_view_set_cards(EspLibraryView *view, bool cards);

G_END_DECLS
