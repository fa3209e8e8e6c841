/*
 * Where something comes from: a line for a file or a link, a button that chooses a file, and a place where a
 * file or link may be dropped.
 *
 * Signal: changed ().
 */
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define ESP_TYPE_SOURCE_ENTRY (esp_source_entry_get_type())
G_DECLARE_FINAL_TYPE(EspSourceEntry, esp_source_entry, ESP, SOURCE_ENTRY, GtkBox)

/* What is entered: a link, an absolute path, or ""; free with g_free. */
char *esp_source_entry_get(EspSourceEntry *entry);
void esp_source_entry_set(EspSourceEntry *entry, const char *source);
/* The title of the chooser of files, and the patterns of names it shows first: "*.iso;*.img". */
void esp_source_entry_set_files(EspSourceEntry *entry, const char *title, const char *patterns);
/* The widget a label's mnemonic goes to. */
GtkWidget *esp_source_entry_get_entry(EspSourceEntry *entry);

G_END_DECLS
