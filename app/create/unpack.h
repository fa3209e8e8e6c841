/*
 * Copying an image into a machine, unpacked if it is compressed.
 *
 * Threads: any; waits for the disk.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

G_BEGIN_DECLS

/* Puts the contents of `from` into the new file `to`: as it is, or unpacked (gzip, xz, zstd, bzip2). Shares
 * the blocks of the original where the file system can; what is zero takes no room. `to` comes into being
 * whole and synced, by a rename of "TO.tmp", which is overwritten if it is there. `progress` counts bytes of
 * `from`. False with `error` set: ESP_CREATION_ERROR or G_IO_ERROR_CANCELLED. */
bool esp_unpack(const char *from, const char *to,
                void (*progress)(guint64 done, guint64 total, gpointer data), gpointer data,
                GCancellable *cancellable, GError **error);

G_END_DECLS
