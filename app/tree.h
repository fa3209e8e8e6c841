/*
 * Files and folders of bundles: copied with their holes, counted, removed.
 *
 * Whatever is copied or removed may have been put there by somebody else, so links are never followed, and
 * only regular files are copied.
 *
 * Threads: any; all of them may wait for the disk.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

#include "app/job.h"

G_BEGIN_DECLS

/* How far a work on several files is. */
typedef struct EspProgress {
    EspJob *job; /* or NULL: nobody watches, and nobody cancels */
    guint64 done, total;
} EspProgress;

/* Says that `bytes` more are done. False with `error` set (G_IO_ERROR_CANCELLED) if there is no more to be
 * done.
 */
bool esp_progress_add(EspProgress *progress, guint64 bytes, GError **error);

/* Copies a regular file to a name that is free: shares the blocks where the file system can, keeps holes and
 * the time of the last change, and is on the disk when it returns. When it fails nothing is left of it. */
bool esp_copy_file(const char *from, const char *to, EspProgress *progress, GError **error);
/* Bytes that a file takes on the disk, holes not counted. */
guint64 esp_file_takes(const char *path);
/* Removes a folder with everything in it, or a file. */
bool esp_tree_remove(const char *path, GError **error);

/* Whether `path` lies in the folder `dir`, both absolute, by their names. */
bool esp_path_is_below(const char *path, const char *dir);

G_END_DECLS
