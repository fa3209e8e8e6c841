/* Quick looks at the files a Linux boot is given: is it what it should be, and is all of it there? */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct VmcKernelFacts {
    uint64_t file_size;
    uint64_t init_size;   /* bytes the kernel needs to unpack itself; 0: does not say */
    uint32_t cmdline_max; /* bytes of command line it takes, without the NUL */
} VmcKernelFacts;

/* Whether `path` is a whole bzImage with a 64-bit entry. The error is one sentence without a field's name. */
bool vmc_kernel_check(const char *path, VmcKernelFacts *facts, GError **error);

/* Whether `path` is an initramfs none of which is missing, as far as that can be told without unpacking much.
 * Files above `limit` bytes are refused unread. */
bool vmc_initrd_check(const char *path, uint64_t limit, uint64_t *size, GError **error);

/* Opens a regular file for reading without ever waiting (a FIFO, a dead mount's device). -1 with the error
 * set. */
int vmc_image_open(const char *path, uint64_t *size, GError **error);
