/*
 * Another machine like one there is.
 *
 * A full duplicate has a copy of everything, made by sharing blocks where the file system can. A linked one
 * has new disks on top of the original's, which are kept as they are for it in a snapshot; from then on each
 * changes its own. While a linked duplicate is there that snapshot cannot be deleted, and the original not be
 * thrown away (esp_machine_find_duplicates says who is in the way); moved within its folder or changed it may
 * be. Either has network addresses and an identity of its own.
 */
#pragma once

#include "app/bundle.h"
#include "app/job.h"

G_BEGIN_DECLS

typedef struct EspDuplicateOptions {
    const char *name;
    bool linked;
    bool saved_state; /* full: with what the original had in memory, so that it goes on there */
} EspDuplicateOptions;

/* Starts it. The new bundle is in the folder of the original, which must not run, and stays as it is if the
 * job fails or is cancelled. */
EspJob *esp_duplicate_start(const char *path, const EspDuplicateOptions *options);

/* Whether a linked duplicate can be made: all disks that the machine writes to are qcow2 images of its own.
 * False with `error` set says which is not. May wait for the disk. */
bool esp_duplicate_can_link(EspBundle *bundle, GError **error);

/* A name for the duplicate of a machine in `parent_dir`, "Debian copy", which no bundle there has. */
char *esp_duplicate_name(const char *parent_dir, const char *name);

/* The names of the machines whose disks lie on disks of the one at `path`: linked duplicates that are noted,
 * or are in the same folder. Free with g_strfreev. May wait for the disk. */
char **esp_machine_find_duplicates(const char *path);

G_END_DECLS
