/* Small pictures with round corners out of PNG files, loaded on threads. */
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

typedef struct EspThumbnailSize {
    int width, height; /* of the tile, in the program's pixels */
    int radius;        /* of its corners */
    int scale;         /* pixels of the screen to one of the program's */
} EspThumbnailSize;

/* Reads `file`, fits it into a tile and calls `callback`, which calls esp_thumbnail_finish. */
void esp_thumbnail_load(const char *file, const EspThumbnailSize *size, GCancellable *cancellable,
                        GAsyncReadyCallback callback, gpointer data);
/* The tile; destroy it. NULL: there is no picture in the file, or it was cancelled. */
cairo_surface_t *esp_thumbnail_finish(GAsyncResult *result);

G_END_DECLS
