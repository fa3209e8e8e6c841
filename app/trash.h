/*
 * A machine goes to the trash, and comes back from it.
 *
 * Threads: any; they may wait for the disk.
 */
#pragma once

#include "app/bundle.h"

G_BEGIN_DECLS

/* Moves the bundle at `path`, whose configuration may be broken, to the user's trash. Refused, with a
 * sentence, while it runs, while linked duplicates need it, and where the file system has no trash: then
 * nothing is changed, and the user may delete it for good in Files. */
bool esp_machine_trash(const char *path, GError **error);
/* Brings back what was moved from `path` last, if it is still in the trash of the home folder and nothing
 * else is at its place now. */
bool esp_machine_untrash(const char *path, GError **error);

G_END_DECLS
