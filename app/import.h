/*
 * Machines from elsewhere: what Espalier exported, a bundle's folder, a disk image, an installation disc.
 *
 * All of it may be hostile: names that lead out of the folder, links, sizes that fill the disk,
 * configurations and images that point at files of this computer. Nothing is believed, and what leads outside
 * is left out and told.
 */
#pragma once

#include "app/bundle.h"
#include "app/job.h"

G_BEGIN_DECLS

typedef enum EspImportKind {
    ESP_IMPORT_BUNDLE,  /* a folder NAME.espalier */
    ESP_IMPORT_ARCHIVE, /* a file of esp_export_start's */
    ESP_IMPORT_DISK,    /* a raw or qcow2 image */
    ESP_IMPORT_DISC,    /* an ISO 9660 image, to install from */
    ESP_IMPORT_IPSW,    /* Apple's restore image */
    ESP_IMPORT_KINDS
} EspImportKind;

/* What a file or folder is; ESP_IMPORT_KINDS with `error` set if it is nothing we could take. Reads its first
 * bytes. */
EspImportKind esp_import_look(const char *path, GError **error);

typedef struct EspImportOptions {
    const char *name;    /* NULL: the machine's own, or the file's */
    bool renew_identity; /* it is another machine than the one it was exported from, which lives on */
    bool move;           /* a bundle on the same file system is moved instead of copied */
} EspImportOptions;

/* Makes a machine in the folder `library` out of `path`. IPSW is refused with a sentence. */
EspJob *esp_import_start(const char *path, const char *library, const EspImportOptions *options);
/* Once it has succeeded: where the new machine is, and what was left out, in lines (NULL: nothing). The
 * job's. */
const char *esp_import_get_path(EspJob *job);
const char *esp_import_get_left_out(EspJob *job);

G_END_DECLS
