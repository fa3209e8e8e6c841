/*
 * What the formats of a disk share: the table vmc_disk_open looks into, and how the file below is opened and
 * locked, with the same words for the same mistakes.
 */
#pragma once

#include <sys/stat.h>

#include "block/disk.h"

typedef struct VmcDiskFormatOps {
    const char *name; /* "raw" */
    /* As vmc_disk_open; `disk->path` is set by the caller. */
    VmcDisk *(*open)(const VmcDiskOpen *params, GError **error);
    /* Fills a new, empty file; `path` is for messages. params->size is set and a multiple of a sector. */
    bool (*create)(int fd, const char *path, const VmcDiskCreate *params, GError **error);
    /* As vmc_disk_info, from an open file. */
    bool (*info)(int fd, const char *path, VmcDiskInfo *info, GError **error);
} VmcDiskFormatOps;

/* NULL: no such format. */
const VmcDiskFormatOps *vmc_disk_find_format(const char *name);
/* "raw or qcow2"; the caller frees it. */
char *vmc_disk_format_names(void);

extern const VmcDiskFormatOps vmc_disk_format_raw;
extern const VmcDiskFormatOps vmc_disk_format_qcow2;

/* Opens a regular file or block device and locks the whole of it, for writers alone or readers together. The
 * descriptor, the caller's to close, and its fstat; or -1 with `error` set. */
int vmc_disk_file_open(const char *path, bool readonly, struct stat *st, GError **error);
/* As vmc_disk_file_open, read-only, without a lock: for looking at an image that may be in use. */
int vmc_disk_file_look(const char *path, struct stat *st, GError **error);
/* Reports, in the same words, what went wrong with a file that was opened. Always false. */
bool vmc_disk_file_failed(const char *path, bool readonly, int err, GError **error);
/* The bytes in a file that vmc_disk_file_open opened, and the size of the host's blocks (a power of two, from
 * VMC_DISK_SECTOR to 64 KiB). */
bool vmc_disk_file_measure(int fd, const char *path, bool readonly, uint64_t *size, unsigned *block_size,
                           GError **error);
