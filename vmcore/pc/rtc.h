/*
 * The MC146818 real-time clock and its CMOS memory (MC146818A data sheet; ICH9 data sheet s13.6): ports 70h,
 * 71h, IRQ 8. The clock keeps UTC and follows the host's, plus whatever the guest has set.
 *
 * Threads: any. One lock inside; `irq` is set with it held.
 */
#pragma once

#include "base/bus.h"
#include "base/state.h"
#include "base/irq.h"
#include "pc/clock.h"

typedef struct VmcRtc VmcRtc;

VmcRtc *vmc_rtc_new(VmcBus *pio, VmcClock *clock, const VmcIrq *irq);
void vmc_rtc_free(VmcRtc *rtc);

/* Interrupts off and nothing pending; the time goes on, as it does on a battery. */
void vmc_rtc_reset(VmcRtc *rtc);

/* Writes the memory sizes (bytes below and above 4 GiB) and the number of CPUs where firmware looks for them.
 */
void vmc_rtc_set_memory(VmcRtc *rtc, uint64_t low, uint64_t high, unsigned n_cpus);

/* Saving and loading, while no CPU runs and the clock is paused: base/state.h. */
void vmc_rtc_save(VmcRtc *rtc, VmcStateWriter *w);
bool vmc_rtc_load(VmcRtc *rtc, VmcStateReader *r);
