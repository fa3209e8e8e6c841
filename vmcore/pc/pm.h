/*
 * The ICH9's ACPI power management block (ICH9 data sheet s13.8.3; ACPI 6.4 s4.8): PM1 event and control, the
 * 24-bit PM timer of 3.579545 MHz, GPE0, SMI enable, SCI; soft off and the power button.
 *
 * Threads: any. One lock inside; `sci` is set with it held, `power_off` is called without.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/state.h"
#include "base/irq.h"
#include "pc/clock.h"

#define VMC_PM_BASE     0x600u /* where the board puts it */
#define VMC_PM_SIZE     0x80u
#define VMC_PM_TIMER_HZ 3579545u

/* Offsets in the block, for the FADT. */
#define VMC_PM_EVENT   0x00u
#define VMC_PM_CONTROL 0x04u
#define VMC_PM_TIMER   0x08u
#define VMC_PM_GPE0    0x20u /* 8 bytes status, 8 bytes enable */

#define VMC_PM_SLEEP_S5 7u /* SLP_TYP of soft off */

typedef struct VmcPm VmcPm;

typedef struct VmcPmParams {
    VmcBus *pio;
    VmcClock *clock;
    VmcIrq sci;
    void (*power_off)(void *opaque); /* the guest has entered S5 */
    void *opaque;
} VmcPmParams;

VmcPm *vmc_pm_new(const VmcPmParams *params);
void vmc_pm_free(VmcPm *pm);
/* Power-on state, but in ACPI mode (SCI_EN), as there is no firmware to switch it. Not mapped. */
void vmc_pm_reset(VmcPm *pm);
/* Puts the block at a port, or takes it away. */
void vmc_pm_map(VmcPm *pm, uint16_t base, bool enabled);
void vmc_pm_power_button(VmcPm *pm);

/* Saving and loading, while no CPU runs and the clock is paused: base/state.h. */
void vmc_pm_save(VmcPm *pm, VmcStateWriter *w);
bool vmc_pm_load(VmcPm *pm, VmcStateReader *r);
