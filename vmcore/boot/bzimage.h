/*
 * The bzImage format: what stands in the setup header, and whether the file keeps its promises.
 *
 * Threads: any.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* The header begins at 1f1h of the file and of boot_params, where it may reach up to 290h. */
#define VMC_BZIMAGE_HEADER     0x1f1u
#define VMC_BZIMAGE_HEADER_END 0x290u

typedef struct VmcBzImage {
    uint8_t setup[VMC_BZIMAGE_HEADER_END]; /* the file's first bytes */
    unsigned header_end;     /* where the header of this version ends, <= VMC_BZIMAGE_HEADER_END */
    uint64_t payload_offset; /* of the protected-mode code in the file */
    uint64_t payload_size;   /* bytes to load */
    uint64_t load_address;   /* where it prefers to be */
    uint64_t memory_size;    /* from load_address on it needs this much, at least payload_size */
    uint64_t initrd_max;     /* highest address an initrd byte may have */
    unsigned cmdline_max;    /* bytes, without the NUL */
} VmcBzImage;

/* Reads and checks the header of an open file. `path` is for errors, which are VMC_ERROR_IMAGE. */
bool vmc_bzimage_read(VmcBzImage *image, int fd, const char *path, GError **error);

/* Opens a regular file that must not be empty; `what` ("kernel", "initrd") and `path` are for the error. -1:
 * error. */
int vmc_boot_file_open(const char *what, const char *path, uint64_t *size, GError **error);
/* Reads all of [offset, offset + size) or fails, naming the file. */
bool vmc_boot_file_read(int fd, const char *what, const char *path, uint64_t offset, void *buffer,
                        uint64_t size, GError **error);
