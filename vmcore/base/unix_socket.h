/*
 * Unix stream sockets with a name in the file system, for whatever offers a guest's channel to other
 * programs.
 *
 * Threads: none of it waits; each listener belongs to one thread at a time.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct VmcUnixListener VmcUnixListener;

/* Whether `path` is of a length that a socket's name may have (unix(7): 1 to 107 bytes). */
bool vmc_unix_path_fits(const char *path);

/* Makes a socket at `path` for this user only (mode 0600) and listens on it with room for `backlog` clients.
 * A socket that is there and that nobody listens on any more is replaced; anything else there is an error. */
VmcUnixListener *vmc_unix_listener_new(const char *path, int backlog, GError **error);
/* Closes it and removes its name, if that is still its own. NULL is fine. */
void vmc_unix_listener_free(VmcUnixListener *listener);
/* To wait on with poll: readable when there is a client. The listener's. */
int vmc_unix_listener_fd(const VmcUnixListener *listener);
/* The next client's descriptor, non-blocking, the caller's to close; -1 with errno when there is none. */
int vmc_unix_listener_accept(VmcUnixListener *listener);

/* Connects to the socket at `path`: a non-blocking descriptor, the caller's to close, or -1 with errno.
 * EAGAIN: its queue of clients is full. */
int vmc_unix_connect(const char *path);
