/* The parts of importing (import.h): each fills a new, hidden bundle, on the job's thread. */
#pragma once

#include "app/import.h"
#include "app/tree.h"

/* Unpacks an archive (import_archive.c). */
bool esp_import_unpack(const char *file, EspBundle *to, EspJob *job, GError **error);
/* A new machine with the image as its disk, or the disc in its drive (import_disk.c). */
bool esp_import_disk(const char *file, EspBundle *to, EspJob *job, GError **error);
bool esp_import_disc(const char *file, EspBundle *to, EspJob *job, GError **error);
