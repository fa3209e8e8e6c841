/*
 * The control queues of a console with several ports (VIRTIO 1.2 s5.3.6.2): which ports there are, which are
 * consoles, what they are called, how large they are and who has them open.
 *
 * What is to be told is kept as a set of bits for each port and not as a list of messages, so that a driver
 * which asks again and again and never reads the answers costs nothing.
 */
#include <glib.h>

#include "virtio/console.h"

#define RUN_MESSAGES 64u

enum {
    EVENT_DEVICE_READY,
    EVENT_PORT_ADD,
    EVENT_PORT_REMOVE,
    EVENT_PORT_READY,
    EVENT_CONSOLE_PORT,
    EVENT_RESIZE,
    EVENT_PORT_OPEN,
    EVENT_PORT_NAME,
};

/* Little-endian. */
typedef struct Control {
    uint32_t id;
    uint16_t event, value;
} Control;

_Static_assert(sizeof(Control) == 8, "as in s5.3.6.2");

/* ---- to the guest ---- */

/* False: the guest has no buffer. One that is too short gets what goes into it. */
static bool send(VmcConsolePortState *state, uint16_t event, uint16_t value, const void *more,
                 size_t more_len)
{
    VmcConsole *console = state->console;
    Control control = {
        .id = GUINT32_TO_LE(state->id),
        .event = GUINT16_TO_LE(event),
        .value = GUINT16_TO_LE(value),
    };

    if (!vmc_virtio_pop(&console->dev, VMC_CONSOLE_QUEUE_CONTROL_IN, &console->control_in))
        return false;
    size_t n = vmc_virtq_element_write(&console->control_in, &control, sizeof(control));
    n += vmc_virtq_element_write(&console->control_in, more, more_len);
    vmc_virtio_push(&console->dev, VMC_CONSOLE_QUEUE_CONTROL_IN, &console->control_in, (uint32_t)n);
    return true;
}

/* s5.3.6.2 has the columns first. Linux took the first number for the rows until that was mended in 6.16, and
 * in the maintained ones before (Debian 12's 6.1 has it). */
static bool send_size(VmcConsolePortState *state)
{
    uint16_t size[2];

    vmc_port_get_size(state->port, &size[0], &size[1]);
    size[0] = GUINT16_TO_LE(size[0]);
    size[1] = GUINT16_TO_LE(size[1]);
    return send(state, EVENT_RESIZE, 0, size, sizeof(size));
}

static bool tell(VmcConsolePortState *state, VmcConsolePending what)
{
    switch (what) {
    case VMC_CONSOLE_TELL_ADD:
        return send(state, EVENT_PORT_ADD, 0, NULL, 0);
    case VMC_CONSOLE_TELL_CONSOLE:
        return send(state, EVENT_CONSOLE_PORT, 1, NULL, 0);
    case VMC_CONSOLE_TELL_NAME:
        return send(state, EVENT_PORT_NAME, 1, state->name, strlen(state->name));
    case VMC_CONSOLE_TELL_SIZE:
        return send_size(state);
    case VMC_CONSOLE_TELL_CLOSED:
        return send(state, EVENT_PORT_OPEN, 0, NULL, 0);
    case VMC_CONSOLE_TELL_OPEN:
        return send(state, EVENT_PORT_OPEN, 1, NULL, 0);
    }
    return true;
}

static bool send_for_port(VmcConsolePortState *state)
{
    while (state->pending) {
        unsigned what = state->pending & -state->pending; /* the lowest bit, the first in order */
        if (!tell(state, what))
            return false;
        state->pending &= ~what;
    }
    return true;
}

void vmc_console_control_send(VmcConsole *console)
{
    VmcVirtioDevice *dev = &console->dev;

    if (!dev->running || !vmc_console_multiport(console))
        return;
    for (unsigned i = 0; i < console->n_ports; i++)
        if (!send_for_port(&console->ports[i]))
            break;
    vmc_virtio_notify(dev, VMC_CONSOLE_QUEUE_CONTROL_IN);
}

/* ---- from the guest ---- */

static void device_ready(VmcConsole *console)
{
    for (unsigned i = 0; i < console->n_ports; i++)
        console->ports[i].pending |= VMC_CONSOLE_TELL_ADD;
}

static void port_ready(VmcConsolePortState *state)
{
    state->ready = true;
    if (state->is_console)
        state->pending |= VMC_CONSOLE_TELL_CONSOLE | VMC_CONSOLE_TELL_SIZE;
    if (state->name)
        state->pending |= VMC_CONSOLE_TELL_NAME;
    if (vmc_port_host_open(state->port))
        state->pending |= VMC_CONSOLE_TELL_OPEN;
}

static void handle(VmcConsole *console, const Control *control)
{
    uint32_t id = GUINT32_FROM_LE(control->id);
    uint16_t value = GUINT16_FROM_LE(control->value);
    VmcConsolePortState *state = id < console->n_ports ? &console->ports[id] : NULL;

    switch (GUINT16_FROM_LE(control->event)) {
    case EVENT_DEVICE_READY:
        if (value)
            device_ready(console);
        break;
    case EVENT_PORT_READY:
        if (state && value)
            port_ready(state);
        break;
    case EVENT_PORT_OPEN:
        if (!state)
            break;
        if (value)
            state->stale = false;
        vmc_port_set_guest_open(state->port, value != 0);
        vmc_port_writable(state->port);
        break;
    default:
        break;
    }
}

static void receive(VmcConsole *console)
{
    VmcVirtioDevice *dev = &console->dev;
    VmcVirtqueue *vq = &dev->queues[VMC_CONSOLE_QUEUE_CONTROL_OUT];

    for (unsigned i = 0; i < RUN_MESSAGES; i++) {
        Control control;
        if (!vmc_virtio_pop(dev, VMC_CONSOLE_QUEUE_CONTROL_OUT, &console->control_out))
            break;
        size_t n = vmc_virtq_element_read(&console->control_out, &control, sizeof(control));
        vmc_virtio_push(dev, VMC_CONSOLE_QUEUE_CONTROL_OUT, &console->control_out, 0);
        if (n == sizeof(control) && vmc_console_multiport(console))
            handle(console, &control);
    }
    vmc_virtqueue_set_notification(vq, true);
    vmc_virtio_notify(dev, VMC_CONSOLE_QUEUE_CONTROL_OUT);
    if (vmc_virtqueue_available(vq))
        vmc_virtio_kick(dev, VMC_CONSOLE_QUEUE_CONTROL_OUT);
}

static void collect_sizes(VmcConsole *console)
{
    for (unsigned i = 0; i < console->n_ports; i++)
        if (atomic_exchange(&console->ports[i].resized, false) && console->ports[i].ready)
            console->ports[i].pending |= VMC_CONSOLE_TELL_SIZE;
}

void vmc_console_control_notified(VmcConsole *console, unsigned queue)
{
    if (queue == VMC_CONSOLE_QUEUE_CONTROL_OUT)
        receive(console);
    else
        collect_sizes(console);
    vmc_console_control_send(console);
}
