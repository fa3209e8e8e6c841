/*
 * Waiting a moment for the driver before it is asked to notify.
 *
 * A driver that keeps a queue busy has its next buffers there within microseconds of what came back. To be
 * notified of them costs it an exit and a write to an eventfd, and the I/O thread a sleep and a wake-up, each
 * of them more than the device's own work on a small request. So a device that has emptied a queue may look
 * at it for LINGER_NS more.
 *
 * It has to pay. Each wait in vain doubles the number of times that the next one is left out, a wait that
 * brings something makes it none; a driver that does one thing at a time soon costs nothing. A host with one
 * processor never waits: the driver could not run meanwhile.
 *
 * Threads: the device's own, the I/O thread.
 */
#pragma once

#include <stdbool.h>

#include "virtio/queue.h"

typedef struct VmcLinger {
    unsigned skip; /* so many waits are left out now */
    unsigned vain; /* and so many will be after the next one in vain */
} VmcLinger;       /* zero: nothing known */

/* Waits for buffers in `vq`, whose notifications are off. False: there are none. */
bool vmc_linger(VmcLinger *linger, VmcVirtqueue *vq);
