/*
 * Shared libraries that are loaded when something first needs them: the sound server's and the WebDAV
 * server's bring forty others with them, which cost every machine 20 ms at its start and 6 MiB, and few
 * machines have the device.
 *
 * A library's functions are members of a struct of pointers, filled once; macros of the same names go through
 * it. It is what the dynamic linker would have written at start, so it is the process's, and constant.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Loads `libraries` (NULL-terminated) for good and writes the addresses of the functions `names`, which are
 * in any of them, to `table`. False with `error` (VMC_ERROR_RESOURCE) that names `what` if one is missing. */
bool vmc_late_load(const char *what, const char *const *libraries, const char *const *names, unsigned n,
                   void **table, GError **error);
