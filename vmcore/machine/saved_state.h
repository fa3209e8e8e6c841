/*
 * The file a saved machine is kept in: one block of state (base/state.h) and guest memory, every part with a
 * checksum.
 *
 * Threads: any one at a time; the machine stands still while its memory is written or filled.
 */
#pragma once

#include <gio/gio.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

/* Writes a file beside `path`, syncs it and puts it in its place: until then, and whenever this fails, what
 * was there before stays. Only this user can read it. `memory`: all slots. False with `error` set
 * (VMC_ERROR_RESOURCE, or G_IO_ERROR_CANCELLED). */
bool vmc_saved_state_write(const char *path, GBytes *state, VmcMemory *memory, GCancellable *cancellable,
                           GError **error);

typedef struct VmcSavedState VmcSavedState;

/* Opens a file and reads its state, which has been checked. NULL with `error` set (VMC_ERROR_RESOURCE: it
 * cannot be read; VMC_ERROR_IMAGE: it is no saved state or a damaged one). */
VmcSavedState *vmc_saved_state_open(const char *path, GError **error);
void vmc_saved_state_close(VmcSavedState *saved); /* NULL is fine */
/* The caller's state, good until it is closed. */
GBytes *vmc_saved_state_get(VmcSavedState *saved);
/* Fills memory that is all zero, of the same slots. After an error some of it may be filled. */
bool vmc_saved_state_load_memory(VmcSavedState *saved, VmcMemory *memory, GCancellable *cancellable,
                                 GError **error);
