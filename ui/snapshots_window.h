/* The snapshots of one machine: take one, go back to one, delete one. */
#pragma once

#include <gtk/gtk.h>

#include "app/library.h"

G_BEGIN_DECLS

#define ESP_TYPE_SNAPSHOTS_WINDOW (esp_snapshots_window_get_type())
G_DECLARE_FINAL_TYPE(EspSnapshotsWindow, esp_snapshots_window, ESP, SNAPSHOTS_WINDOW, GtkWindow)

GtkWidget *esp_snapshots_window_new(GtkWindow *parent, EspLibraryItem *item);

G_END_DECLS
