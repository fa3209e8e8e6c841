/*
 * A 16550A serial port (National Semiconductor PC16550D data sheet).
 *
 * The line behind it is a pair of descriptors (serial_line.h) that behaves like a modem which is always
 * there: CTS, DSR and DCD are on, and it sends only while the guest asserts RTS, so that nothing typed before
 * the driver is open gets lost when the driver clears its FIFOs. Bytes are not paced to the baud rate.
 *
 * Threads: any. One lock inside; `irq` is set with it held.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "base/bus.h"
#include "base/state.h"
#include "base/irq.h"
#include "pc/clock.h"

typedef struct VmcUart VmcUart;

typedef struct VmcUartParams {
    VmcBus *pio;
    VmcIo *io;
    VmcClock *clock;
    uint16_t port; /* first of eight */
    VmcIrq irq;
    int fd_in, fd_out; /* -1: none; they stay the caller's */
} VmcUartParams;

VmcUart *vmc_uart_new(const VmcUartParams *params, GError **error);
void vmc_uart_free(VmcUart *uart); /* NULL is fine; lets queued output go first */
void vmc_uart_reset(VmcUart *uart);

/* Saving and loading, while no CPU runs and the clock is paused: base/state.h. */
void vmc_uart_save(VmcUart *uart, VmcStateWriter *w);
bool vmc_uart_load(VmcUart *uart, VmcStateReader *r);
