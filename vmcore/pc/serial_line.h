/*
 * The host's end of a serial line: bytes in from one descriptor, bytes out to another, neither of which may
 * make the guest wait.
 *
 * Input is read on the I/O thread, never more than the device has room for, so what it cannot take stays in
 * the pipe or terminal. Output goes into a ring that the I/O thread drains; when the ring is full the device
 * says "not ready" to the guest instead of losing bytes.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/io.h"
#include "base/state.h"

typedef struct VmcSerialLine VmcSerialLine;

/* All called on the I/O thread with no lock of the line held. */
typedef struct VmcSerialLineOps {
    size_t (*room)(void *opaque); /* bytes the device would take now */
    /* Returns how many it took; the line keeps the others for when there is room. */
    size_t (*received)(void *opaque, const uint8_t *bytes, size_t n);
    void (*drained)(void *opaque); /* there is space again after vmc_serial_line_space was short */
} VmcSerialLineOps;

/* -1 for a descriptor that is not there: no input, or output into the void. Both stay the caller's and must
 * live longer. Their flags are not touched: they may be shared with other programs. */
VmcSerialLine *vmc_serial_line_new(VmcIo *io, int fd_in, int fd_out, const VmcSerialLineOps *ops,
                                   void *opaque, GError **error);
/* Gives output that is still queued a moment (at most 200 ms) to go. */
void vmc_serial_line_free(VmcSerialLine *line);

/* Queues a byte; dropped when there is no space, so look first. Any thread. */
void vmc_serial_line_write(VmcSerialLine *line, uint8_t byte);
/* Free bytes in the ring. After an answer below `wanted`, ops->drained will be called. Any thread. */
bool vmc_serial_line_space(VmcSerialLine *line, size_t wanted);

/* The device has room again. Any thread; cheap when input is not being held back. */
void vmc_serial_line_room(VmcSerialLine *line);

/* What was read and has not been taken, on the I/O thread; loading makes the line look for room. Output is
 * not part of it: it is the host's. */
void vmc_serial_line_save(VmcSerialLine *line, VmcStateWriter *w);
void vmc_serial_line_load(VmcSerialLine *line, VmcStateReader *r);
