/*
 * A machine's control socket: GDBus, peer to peer, on a Unix socket.
 *
 * Whoever runs a VmcMachine offers it here; espalierctl and the library window are the clients. The object
 * /org/espalier/Machine has the interface org.espalier.Machine1 (data/org.espalier.Machine1.xml, from which
 * EspMachine1 in gen/machine1.h is made). Only processes of the same user may connect; the socket is made
 * with mode 0600 and removed at the end. A file of that name that is no socket, or a socket somebody still
 * listens on, is left alone and is an error.
 *
 * The socket may be there before the machine and outlive it: the process of a bundle offers it from its start
 * to its end, while its machine is started and stopped.
 *
 * Threads: all functions on the thread that owns the machine; calls arrive on its main context.
 */
#pragma once

#include <gio/gio.h>
#include <vmcore/machine.h>

#include "gen/machine1.h"

G_BEGIN_DECLS

#define ESP_CONTROL_PATH      "/org/espalier/Machine"
#define ESP_CONTROL_INTERFACE "org.espalier.Machine1"

typedef struct EspControl EspControl;

/* What only the process around a machine can do. A function that is NULL is refused in a sentence. */
typedef struct EspControlHost {
    const char *name; /* the machine's; copied */
    bool (*start)(void *opaque, GError **error);
    bool (*present)(void *opaque, const char *display, const char *token, GError **error);
    char *(*log)(void *opaque); /* freed with g_free */
} EspControlHost;

/* Makes the socket `path` (below 108 bytes). `host` may be NULL, and is the caller's, as is `opaque`; both
 * must outlive it. NULL with `error` set (VMC_ERROR). */
EspControl *esp_control_new(const char *path, const EspControlHost *host, void *opaque, GError **error);
/* NULL is fine. */
void esp_control_free(EspControl *control);

/* Which machine is offered from now on; NULL: none, it is off. The control takes a reference. */
void esp_control_set_machine(EspControl *control, VmcMachine *machine);
/* What the host says is wrong, whatever the machine says; NULL: nothing. */
void esp_control_set_error(EspControl *control, const GError *error);

/* Where the machine of a bundle is offered: a name of its own in a folder below $XDG_RUNTIME_DIR (or /tmp)
 * that only this user can enter, which is made if need be. NULL if that cannot be. Free with g_free. */
char *esp_control_path_of(const char *bundle);

/* A client's connection to the socket at `path`. Waits; any thread. */
GDBusConnection *esp_control_connect(const char *path, GError **error);
/* The machine at the other end of it, with its properties as they are now. Waits; any thread, whose context
 * then brings its signals. */
EspMachine1 *esp_control_proxy(GDBusConnection *peer, GError **error);

G_END_DECLS
