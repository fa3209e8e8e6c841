/*
 * One machine in the library, as a card or as a row: its picture, name, what it is, how it is, what it takes
 * of this computer, and buttons to open it and for everything else.
 *
 * It has the action group "machine" (machine_actions.h), so menus that belong to it act on its machine.
 */
#pragma once

#include <gtk/gtk.h>

#include "app/library.h"

G_BEGIN_DECLS

#define ESP_TYPE_LIBRARY_ENTRY (esp_library_entry_get_type())
G_DECLARE_FINAL_TYPE(EspLibraryEntry, esp_library_entry, ESP, LIBRARY_ENTRY, GtkBox)

/* `actions` are those of the machine, referenced. As a card it stands in a GtkFlowBox, as a row in a
 * GtkListBox. */
GtkWidget *esp_library_entry_new(EspLibraryItem *item, bool card, GActionGroup *actions);
EspLibraryItem *esp_library_entry_get_item(EspLibraryEntry *entry);
GActionGroup *esp_library_entry_get_actions(EspLibraryEntry *entry);
/* Shows its menu at a place in it, or, with NULL, at its menu button. */
void esp_library_entry_popup(EspLibraryEntry *entry, const GdkRectangle *at);
/* The entry in a child of a list or flow box. */
EspLibraryEntry *esp_library_entry_in(GtkWidget *child);

G_END_DECLS
