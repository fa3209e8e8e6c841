/*
 * The inside of virtio-console (VIRTIO 1.2 s5.3): what its three files share.
 *
 *   console.c           the device: features, configuration, emergency writes, lifecycle
 *   console_port.c      a port's two queues, as the guest's side of a VmcPort
 *   console_control.c   the two control queues of a device with several ports
 *
 * Threads: all of it on the I/O thread, except what is atomic or says otherwise.
 */
#pragma once

#include "virtio/device.h"
#include "virtio/port.h"

#define VMC_CONSOLE_PORTS_MAX  30u
#define VMC_CONSOLE_QUEUE_SIZE 64u

/* s5.3.2: port 0 has the first two queues, then come the control queues, then the other ports'. */
#define VMC_CONSOLE_QUEUE_CONTROL_IN  2u /* to the guest */
#define VMC_CONSOLE_QUEUE_CONTROL_OUT 3u

#define VMC_CONSOLE_F_SIZE        (1ull << 0)
#define VMC_CONSOLE_F_MULTIPORT   (1ull << 1)
#define VMC_CONSOLE_F_EMERG_WRITE (1ull << 2)

/* Control messages that wait to be sent for a port, in the order in which they are sent. One of each
 * suffices: all but the two on opening say how things are now. */
typedef enum VmcConsolePending {
    VMC_CONSOLE_TELL_ADD = 1 << 0,
    VMC_CONSOLE_TELL_CONSOLE = 1 << 1,
    VMC_CONSOLE_TELL_NAME = 1 << 2,
    VMC_CONSOLE_TELL_SIZE = 1 << 3,
    VMC_CONSOLE_TELL_CLOSED = 1 << 4,
    VMC_CONSOLE_TELL_OPEN = 1 << 5,
} VmcConsolePending;

typedef struct VmcConsole VmcConsole;

typedef struct VmcConsolePortState {
    VmcConsole *console;
    VmcPort *port;
    char *name; /* or NULL */
    bool is_console;
    unsigned id, rx, tx; /* queues */

    VmcVirtqElement in, out;
    bool out_held;      /* `out` has been taken and not been passed on to its end */
    uint64_t out_total; /* bytes it had */
    uint64_t out_skip;  /* of the next one: they were passed on before the machine was saved */
    bool stale;   /* the guest talks of what it began before it was saved: nobody listens until it opens the
                     port   again */
    bool waiting; /* the host's side has no room; it will say when */

    bool ready;          /* the driver knows of it */
    unsigned pending;    /* VmcConsolePending */
    atomic_bool resized; /* any thread: to become VMC_CONSOLE_TELL_SIZE */
} VmcConsolePortState;

struct VmcConsole {
    VmcVirtioDevice dev; /* first */
    VmcConsolePortState ports[VMC_CONSOLE_PORTS_MAX];
    unsigned n_ports;
    VmcVirtqElement control_in, control_out;
    uint8_t bounce[16 * 1024]; /* what the guest sends, on its way */

    GMutex emergency_lock; /* what vCPUs leave for the I/O thread */
    uint8_t emergency[256];
    unsigned emergency_len;
};

static inline bool vmc_console_multiport(const VmcConsole *console)
{
    return console->dev.features & VMC_CONSOLE_F_MULTIPORT;
}

/* console_port.c. `notified`: there may be chains in a port's queue. */
extern const VmcPortGuest vmc_console_port_guest;
void vmc_console_port_notified(VmcConsolePortState *state, unsigned queue);
void vmc_console_port_reset(VmcConsolePortState *state);
void vmc_console_port_save(VmcConsolePortState *state, VmcStateWriter *w);
void vmc_console_port_load(VmcConsolePortState *state, VmcStateReader *r);

/* console_control.c */
void vmc_console_control_notified(VmcConsole *console, unsigned queue);
/* Sends what is pending as far as the guest has room. */
void vmc_console_control_send(VmcConsole *console);
