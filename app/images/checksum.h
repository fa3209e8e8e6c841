/*
 * Check sums of files, and the lists in which publishers give them.
 *
 * A list has lines "SUM  NAME" or "SUM *NAME" (sha256sum and its like), "SHA256 (NAME) = SUM" (of BSD), or a
 * sum alone for a file of its own. Which kind of sum it is says its length.
 *
 * Threads: any.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

G_BEGIN_DECLS

/* The sum of the file `name` in `list`, in lower case, or NULL: there is none of a kind that we trust
 * (SHA-256, SHA-512). Free with g_free. */
char *esp_checksum_find(const char *list, const char *name);

/* Whether the file has that sum. `progress` (may be NULL) hears of the bytes read. False with `error` set:
 * ESP_DOWNLOAD_ERROR_DAMAGED if it is another, G_IO_ERROR if it could not be read or was cancelled. */
bool esp_checksum_verify(const char *path, const char *sum,
                         void (*progress)(guint64 done, guint64 total, gpointer data), gpointer data,
                         GCancellable *cancellable, GError **error);

G_END_DECLS
