/*
 * What a file is that shall become a disk or a disc, by how it begins; never by its name, which links seldom
 * have right.
 *
 * Threads: any; waits for the file system.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

G_BEGIN_DECLS

typedef enum EspImageKind {
    ESP_IMAGE_UNKNOWN,
    ESP_IMAGE_RAW, /* begins as disks do: with a partition table or a boot sector */
    ESP_IMAGE_QCOW2,
    ESP_IMAGE_ISO,        /* a disc; of hybrid ones also the first sectors are as of disks */
    ESP_IMAGE_COMPRESSED, /* gzip, xz, zstd or bzip2, of who knows what */
    ESP_IMAGE_FOREIGN,    /* a disk of another program: VMDK, VDI, VHDX, VHD, DMG */
    ESP_IMAGE_PAGE,       /* HTML or XML: what a server sends instead of a file */
} EspImageKind;

/* Looks at a regular file. `*what` (may be NULL) is set to the name of a foreign format, static. False with
 * `error` set if it cannot be read. */
bool esp_image_kind(const char *path, EspImageKind *kind, const char **what, GError **error);

G_END_DECLS
