/*
 * A machine as one file: a tar archive, compressed with zstd, in which the bundle's folder lies; holes of
 * disks stay holes. It is whole: disks that lie on images elsewhere are in it as what they read as.
 */
#pragma once

#include "app/bundle.h"
#include "app/job.h"

G_BEGIN_DECLS

#define ESP_EXPORT_SUFFIX ".espalier.tar.zst"

typedef struct EspExportOptions {
    bool replace;     /* a file of that name, which stays until the new one is whole */
    bool saved_state; /* with what the machine had in memory */
} EspExportOptions;

/* Starts it, for a machine that does not run. The file is there whole or not at all. */
EspJob *esp_export_start(const char *bundle_path, const char *file, const EspExportOptions *options);

G_END_DECLS
