/*
 * A port: a stream of bytes each way between a guest and something on the host.
 *
 * The guest's side is a port of the virtio console (console.h, VIRTIO 1.2 s5.3), the host's side whatever is
 * made with vmc_port_new: a pair of descriptors, a Unix socket, an agent. Neither knows the other. Nothing is
 * lost and nobody waits: each side takes what it has room for, and says when it has again.
 *
 * A guest reads and writes only while it has the port open. What it sends while the host's side is not open
 * is thrown away, as on a line with nobody at the other end (a guest that cares waits until it is told).
 *
 * Threads: all of it on the I/O thread, where it does not say otherwise. A port may be made and given to its
 * device on another thread, before the machine runs. The host's side may call vmc_port_write and the others
 * from within its own callbacks.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"

typedef struct VmcPort VmcPort;

/* The host's side. Each may be NULL. */
typedef struct VmcPortOps {
    /* The guest has opened or closed the port, or its driver has gone, which closes it. Only changes are
     * told. */
    void (*opened)(void *opaque, bool guest_open);
    /* The guest has sent bytes: a private copy, good during the call. Returns how many are taken; if fewer
     * than `len`, the rest waits in the guest and is offered again after vmc_port_resume. NULL takes all. */
    size_t (*received)(void *opaque, const void *data, size_t len);
    /* The guest has room again after vmc_port_write took less than it was given or vmc_port_room was 0. May
     * also be called without need. */
    void (*writable)(void *opaque);
    /* Its talk with the guest cannot go on in a machine that was restored, where it is another one. */
    bool begins_anew;
    /* The port goes, and with it every use of it; releases `opaque`. The last call, after opened(false) if it
     * was open. */
    void (*free)(void *opaque);
} VmcPortOps;

/* A port with nobody on the guest's side yet. `opaque` is the ops' to use and to free. The host's side is not
 * open at first. The port belongs to the caller until a device has taken it. */
VmcPort *vmc_port_new(VmcIo *io, const VmcPortOps *ops, void *opaque);
/* Calls ops->free and waits for it; any thread but a vCPU's. NULL is fine. */
void vmc_port_free(VmcPort *port);

/* Sends up to `len` bytes to the guest; returns how many it took, 0 while it does not have the port open. */
size_t vmc_port_write(VmcPort *port, const void *data, size_t len);
/* How many bytes vmc_port_write would take now, at least: 0 only if it would take none. */
size_t vmc_port_room(VmcPort *port);
/* There is room again for what `received` did not take. */
void vmc_port_resume(VmcPort *port);
/* Tells the guest that there is somebody on the host's side, or nobody any more. */
void vmc_port_set_host_open(VmcPort *port, bool open);
bool vmc_port_guest_open(const VmcPort *port);
bool vmc_port_host_open(const VmcPort *port);

/* The size in characters of the terminal at the host's side, at most 65535 each way; 80 by 24 until it is
 * known. Any thread. The guest sees it when the port is a console. */
void vmc_port_set_size(VmcPort *port, unsigned columns, unsigned rows);

/* ---- implementations of the host's side ---- */

/* A pair of descriptors: bytes for the guest come from fd_in, its own go to fd_out; -1: none. Both stay the
 * caller's, must outlive the port and are neither closed nor changed: a descriptor in blocking mode is only
 * touched when poll says it is ready. Takes its size from the terminal, if one of them is one. Always open.
 */
VmcPort *vmc_port_fd_new(VmcIo *io, int fd_in, int fd_out);

/* A Unix stream socket at `path` on which one program at a time may talk to the guest; the next one waits
 * until it has gone. Open while there is one. The socket is for this user only; a dead one of that name is
 * replaced, and it is removed with the port. NULL with `error` if it cannot be had. */
VmcPort *vmc_port_socket_new(VmcIo *io, const char *path, GError **error);

/* ---- the guest's side, for the device that carries the port ---- */

typedef struct VmcPortGuest {
    size_t (*write)(void *opaque, const void *data, size_t len);
    size_t (*room)(void *opaque);
    void (*resume)(void *opaque);
    void (*host_open)(void *opaque, bool open);
    void (*resized)(void *opaque); /* any thread */
} VmcPortGuest;

/* Puts `guest` on the guest's side, which owns the port from then on; NULL takes it away. */
void vmc_port_attach(VmcPort *port, const VmcPortGuest *guest, void *opaque);
/* The guest has opened or closed the port. */
void vmc_port_set_guest_open(VmcPort *port, bool open);
/* Offers bytes to the host's side; returns how many it took. All of them if it is not open. */
size_t vmc_port_receive(VmcPort *port, const void *data, size_t len);
/* ops->begins_anew */
bool vmc_port_begins_anew(const VmcPort *port);
/* The guest has room. */
void vmc_port_writable(VmcPort *port);
/* The size, any thread. */
void vmc_port_get_size(const VmcPort *port, uint16_t *columns, uint16_t *rows);
