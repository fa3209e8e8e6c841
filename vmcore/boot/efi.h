/*
 * UEFI firmware images: a read-only one with the code, and each machine's own store of variables, which
 * begins as a copy of the template that comes with the code. Both are firmware volumes (UEFI Platform
 * Initialization 1.7, vol. 3 s3.2.1), which is how a file that is none, or not whole, is told from one that
 * is.
 *
 * Threads: any. Errors are VMC_ERROR_IMAGE, _CONFIG or _RESOURCE and name the file and what would be right.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define VMC_EFI_CODE_MAX      (16u << 20)
#define VMC_EFI_VARIABLES_MAX (1u << 20)

/* The files of a firmware: `wanted` and the template beside it (CODE in its name becomes VARS), or, if that
 * is NULL, those of the first distribution whose package is installed. Free both paths. */
bool vmc_efi_find(const char *wanted, char **code, char **variables, GError **error);

/* Opens and checks the code. Returns a descriptor, or -1. `size` in bytes, a multiple of 4096. */
int vmc_efi_open_code(const char *path, uint64_t *size, GError **error);

/* Opens a machine's variable store for writing and locks it (against other machines; a descriptor's lock,
 * which goes with it); with `template_path`, one that is not there is made from it first, whole or not at
 * all. `code_size` is that of the firmware it must belong to, bytes. -1: error; a store that was there is as
 * it was. */
int vmc_efi_open_variables(const char *path, const char *template_path, uint64_t code_size, uint64_t *size,
                           GError **error);

/* Whether it could be opened, without making or locking it. */
bool vmc_efi_check_variables(const char *path, const char *template_path, uint64_t code_size, GError **error);
