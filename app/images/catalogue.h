/*
 * What can be installed: a list of versions of a system, as a source knows them.
 *
 * A source is a table of functions, so that what comes from a list in the program, from a publisher's server
 * or from a folder looks the same to who shows it. An entry says what it needs, and, when it cannot be
 * installed on this computer, why not.
 *
 * Threads: a catalogue is filled on the thread that asks for it (it may wait: not GTK's) and is constant
 * then.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

#include "app/machine_info.h"

G_BEGIN_DECLS

/* One version. Strings are the catalogue's; what is not known is NULL or 0. */
typedef struct EspCatalogueEntry {
    char *id;                      /* for programs, "debian-12" */
    char *name;                    /* for people, "Debian 12 “bookworm”" */
    char *build;                   /* "22G120" */
    char *link;                    /* of the image */
    char *sums;                    /* link of the list of its check sums */
    char *os_id;                   /* of libosinfo */
    guint64 size;                  /* of the download, bytes */
    unsigned memory_mib, disk_gib; /* that it needs at least */
    char *why_not;                 /* a sentence: why it cannot be had on this computer; NULL: it can */
} EspCatalogueEntry;

typedef struct EspCatalogueSource {
    const char *name; /* for messages */
    EspGuestSystem system;
    /* Appends entries, newest first. False with `error` set: the source cannot be read. */
    bool (*list)(GPtrArray *entries, GCancellable *cancellable, GError **error);
} EspCatalogueSource;

/* All entries for a system from all sources; an array of EspCatalogueEntry that frees what is in it. A source
 * that fails is left out, with its sentence in `*problem` (may be NULL; g_free). */
GPtrArray *esp_catalogue_list(EspGuestSystem system, GCancellable *cancellable, char **problem);
/* The entry of that id, or NULL. */
const EspCatalogueEntry *esp_catalogue_find(GPtrArray *entries, const char *id);

/* For sources: a new, empty entry; and freeing one. */
EspCatalogueEntry *esp_catalogue_entry_new(const char *id, const char *name);
void esp_catalogue_entry_free(gpointer entry);

/* The cloud images of Linux distributions that the program knows (data/cloud-images.ini). */
extern const EspCatalogueSource esp_catalogue_linux;

G_END_DECLS
