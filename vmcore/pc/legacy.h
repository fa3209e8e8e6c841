/*
 * The odd ports every PC has: reset control CF9h (ICH9 data sheet s13.7.5), the keyboard controller's reset
 * pulse at 60h/64h, port 92h (fast reset, A20), the DMA page registers 80h..9Fh that serve as delay and POST
 * ports, APM B2h/B3h. There is no keyboard controller beyond that, and the FADT says so.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/state.h"

typedef struct VmcLegacy VmcLegacy;

/* `reset` is called, on the writing CPU's thread, when the guest asks for a reset. */
VmcLegacy *vmc_legacy_new(VmcBus *pio, void (*reset)(void *opaque), void *opaque);
void vmc_legacy_free(VmcLegacy *legacy);
void vmc_legacy_reset(VmcLegacy *legacy);

/* CF9h shares its address with the middle of CONFIG_ADDRESS, so the host bridge passes byte accesses on. */
uint8_t vmc_legacy_read_cf9(VmcLegacy *legacy);
void vmc_legacy_write_cf9(VmcLegacy *legacy, uint8_t value);

/* Saving and loading, while no CPU runs and the clock is paused: base/state.h. */
void vmc_legacy_save(VmcLegacy *legacy, VmcStateWriter *w);
bool vmc_legacy_load(VmcLegacy *legacy, VmcStateReader *r);
