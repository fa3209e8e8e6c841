/*
 * The I/O APIC (ICH9 data sheet s13.5; Intel 82093AA): 24 inputs at FEC0_0000h, version 20h with an EOI
 * register.
 *
 * Threads: any. One lock inside, held while messages go to the local APICs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/state.h"
#include "pc/lapic.h"

#define VMC_IOAPIC_BASE 0xfec00000ull
#define VMC_IOAPIC_PINS 24u

typedef struct VmcIoapic VmcIoapic;

VmcIoapic *vmc_ioapic_new(VmcBus *mmio, VmcLapics *lapics);
void vmc_ioapic_free(VmcIoapic *ioapic);
void vmc_ioapic_reset(VmcIoapic *ioapic);

/* `level` is logical: true is asserted, whatever polarity the guest thinks the pin has. */
void vmc_ioapic_set_pin(VmcIoapic *ioapic, unsigned pin, bool level);

/* A local APIC has ended a level-triggered interrupt. */
void vmc_ioapic_eoi(VmcIoapic *ioapic, uint8_t vector);

/* Saving and loading, while no CPU runs and the clock is paused: base/state.h. */
void vmc_ioapic_save(VmcIoapic *ioapic, VmcStateWriter *w);
bool vmc_ioapic_load(VmcIoapic *ioapic, VmcStateReader *r);
