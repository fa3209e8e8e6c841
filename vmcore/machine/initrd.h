/* A quick look at the initramfs a Linux boot is given. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether `path` is an initramfs none of which is missing, as far as that can be told without unpacking much.
 * Files above `limit` bytes are refused unread. The error is one sentence. */
bool vmc_initrd_check(const char *path, uint64_t limit, GError **error);
