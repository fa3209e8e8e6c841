/* A port: what stands between its two sides (see port.h). It remembers who is there and keeps no bytes. */
#include "virtio/port.h"

#include <stdatomic.h>

struct VmcPort {
    VmcIo *io;
    const VmcPortOps *ops;
    void *opaque;
    const VmcPortGuest *guest; /* or NULL */
    void *guest_opaque;
    bool guest_open, host_open;
    _Atomic uint32_t size; /* columns, and rows << 16 */
};

VmcPort *vmc_port_new(VmcIo *io, const VmcPortOps *ops, void *opaque)
{
    VmcPort *port = g_new0(VmcPort, 1);

    port->io = io;
    port->ops = ops;
    port->opaque = opaque;
    port->size = 80 | 24u << 16;
    return port;
}

static void end(void *data)
{
    VmcPort *port = data;

    port->guest = NULL;
    vmc_port_set_guest_open(port, false);
    if (port->ops->free)
        port->ops->free(port->opaque);
}

void vmc_port_free(VmcPort *port)
{
    if (!port)
        return;
    vmc_io_call_sync(port->io, end, port);
    g_free(port);
}

/* ---- from the host's side ---- */

size_t vmc_port_write(VmcPort *port, const void *data, size_t len)
{
    if (!port->guest || !port->guest_open || !len)
        return 0;
    return port->guest->write(port->guest_opaque, data, len);
}

size_t vmc_port_room(VmcPort *port)
{
    return port->guest && port->guest_open ? port->guest->room(port->guest_opaque) : 0;
}

void vmc_port_resume(VmcPort *port)
{
    if (port->guest)
        port->guest->resume(port->guest_opaque);
}

void vmc_port_set_host_open(VmcPort *port, bool open)
{
    if (port->host_open == open)
        return;
    port->host_open = open;
    if (port->guest)
        port->guest->host_open(port->guest_opaque, open);
}

bool vmc_port_guest_open(const VmcPort *port)
{
    return port->guest_open;
}

bool vmc_port_host_open(const VmcPort *port)
{
    return port->host_open;
}

void vmc_port_set_size(VmcPort *port, unsigned columns, unsigned rows)
{
    port->size = MIN(columns, 0xffffu) | MIN(rows, 0xffffu) << 16;
    if (port->guest)
        port->guest->resized(port->guest_opaque);
}

/* ---- from the guest's side ---- */

void vmc_port_attach(VmcPort *port, const VmcPortGuest *guest, void *opaque)
{
    port->guest = guest;
    port->guest_opaque = opaque;
}

void vmc_port_set_guest_open(VmcPort *port, bool open)
{
    if (port->guest_open == open)
        return;
    port->guest_open = open;
    if (port->ops->opened)
        port->ops->opened(port->opaque, open);
}

size_t vmc_port_receive(VmcPort *port, const void *data, size_t len)
{
    if (!port->host_open || !port->ops->received)
        return len;
    size_t taken = port->ops->received(port->opaque, data, len);
    return MIN(taken, len);
}

bool vmc_port_begins_anew(const VmcPort *port)
{
    return port->ops->begins_anew;
}

void vmc_port_writable(VmcPort *port)
{
    if (port->guest_open && port->ops->writable)
        port->ops->writable(port->opaque);
}

void vmc_port_get_size(const VmcPort *port, uint16_t *columns, uint16_t *rows)
{
    uint32_t size = port->size;

    *columns = (uint16_t)size;
    *rows = (uint16_t)(size >> 16);
}
