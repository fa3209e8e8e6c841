/*
 * A running machine's control socket: GDBus, peer to peer, on a Unix socket.
 *
 * Whoever runs a VmcMachine offers it here; espalierctl and the library window are the clients. The object
 * /org/espalier/Machine has the interface org.espalier.Machine1 (see control.c). Only processes of the same
 * user may connect; the socket is made with mode 0600 and removed at the end. A file of that name that is no
 * socket, or a socket somebody still listens on, is left alone and is an error.
 *
 * Threads: all functions on the thread that owns the machine; calls arrive on its main context.
 */
#pragma once

#include <gio/gio.h>
#include <vmcore/machine.h>

G_BEGIN_DECLS

#define ESP_CONTROL_PATH      "/org/espalier/Machine"
#define ESP_CONTROL_INTERFACE "org.espalier.Machine1"

typedef struct EspControl EspControl;

/* Offers `machine` on the socket `path` (below 108 bytes). NULL with `error` set (VMC_ERROR). `machine` must
 * outlive it. */
EspControl *esp_control_new(VmcMachine *machine, const char *path, GError **error);
/* NULL is fine. */
void esp_control_free(EspControl *control);

/* Where the machine of a bundle is offered: a name of its own in a folder below $XDG_RUNTIME_DIR (or /tmp)
 * that only this user can enter, which is made if need be. NULL if that cannot be. Free with g_free. */
char *esp_control_path_of(const char *bundle);

/* A client's connection to the socket at `path`. */
GDBusConnection *esp_control_connect(const char *path, GError **error);

G_END_DECLS
