/* Making images, step by step, for those who put them into the place of others (layers.c). */
#pragma once

#include "block/disk.h"

/* As vmc_disk_create, but the image, whole and synced, keeps a temporary name in the folder of `path`: the
 * caller renames or unlinks it and frees the string. */
bool vmc_disk_create_temporary(const char *path, const char *format, const VmcDiskCreate *params,
                               char **temporary, GError **error);
/* Gives such an image its own name, unless that is taken; it is removed if it cannot have it. */
bool vmc_disk_publish(const char *temporary, const char *path, GError **error);
/* After a rename: so that it survives a power failure. False with errno set. */
bool vmc_sync_folder_of(const char *path);
