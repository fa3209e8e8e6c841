/*
 * The interrupt wires of the board, GSI 0..23: each may be driven by several devices and is high while any of
 * them is.
 *
 * Threads: any for setting; making wires only before the machine runs. The lock is held while the other end
 * is called, so that levels arrive there in order.
 */
#pragma once

#include <stdbool.h>

#include "base/irq.h"
#include "base/state.h"

#define VMC_GSI_COUNT 24u

typedef struct VmcWires VmcWires;

/* `set` is the other end: called when the level of a GSI changes. */
VmcWires *vmc_wires_new(void (*set)(void *opaque, unsigned gsi, bool level), void *opaque);
void vmc_wires_free(VmcWires *wires);

/* A new driver for a GSI (at most 32 each). */
VmcIrq vmc_wires_add(VmcWires *wires, unsigned gsi);

/* Saving and loading, while no CPU runs and the clock is paused: base/state.h. */
void vmc_wires_save(VmcWires *wires, VmcStateWriter *w);
bool vmc_wires_load(VmcWires *wires, VmcStateReader *r);
