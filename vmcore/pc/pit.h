/*
 * The 8254 interval timer of a PC and the part of port 61h that belongs to it (Intel 8254 data sheet; ICH9
 * data sheet s13.3, s13.7.1): ports 40h..43h and 61h. OUT of counter 0 is IRQ 0.
 *
 * Threads: any. One lock inside; `irq` is set with it held.
 */
#pragma once

#include "base/bus.h"
#include "base/state.h"
#include "base/irq.h"
#include "pc/clock.h"

#define VMC_PIT_HZ 1193182u

typedef struct VmcPit VmcPit;

VmcPit *vmc_pit_new(VmcBus *pio, VmcClock *clock, const VmcIrq *irq);
void vmc_pit_free(VmcPit *pit);
void vmc_pit_reset(VmcPit *pit);

/* Saving and loading, while no CPU runs and the clock is paused: base/state.h. */
void vmc_pit_save(VmcPit *pit, VmcStateWriter *w);
bool vmc_pit_load(VmcPit *pit, VmcStateReader *r);
