/* Where a debugger can connect: a Unix socket, or a TCP port of this computer for itself. None of it waits.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct VmcGdbListener VmcGdbListener;

/* `address` as vmc_gdb_check_address wants it. */
VmcGdbListener *vmc_gdb_listener_new(const char *address, GError **error);
void vmc_gdb_listener_free(VmcGdbListener *listener); /* NULL is fine */
/* Readable when somebody waits to be accepted; the listener's. */
int vmc_gdb_listener_fd(const VmcGdbListener *listener);
/* A non-blocking descriptor, the caller's to close, or -1. */
int vmc_gdb_listener_accept(VmcGdbListener *listener);
/* What GDB calls it. */
const char *vmc_gdb_listener_target(const VmcGdbListener *listener);
