/*
 * Firmware that wants a system management mode, which our board has not: it would stop without a word.
 * Distributions say so of theirs in descriptors (docs/interop/firmware.json of QEMU), found where that says.
 *
 * Threads: any.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* False: a descriptor says that the firmware `code` needs it. `folders` has those with descriptors,
 * NULL-terminated; NULL: the usual ones. Firmware without a descriptor passes. */
bool vmc_efi_check_smm(const char *code, const char *const *folders, GError **error);
