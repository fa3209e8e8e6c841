/*
 * The board's ACPI tables (ACPI 6.4): RSDP, XSDT, FADT, FACS, MADT, MCFG and DSDT.
 *
 * Any thread; no state.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

/* Tables live in the BIOS area, which Linux before 5.0 also searches for the RSDP. */
#define VMC_ACPI_BASE 0xe0000u
#define VMC_ACPI_SIZE 0x20000u

typedef struct VmcAcpiParams {
    unsigned n_cpus;
    unsigned n_uarts;
    uint8_t irq_of_pirq[8]; /* for a guest that does not use the IOAPIC */
} VmcAcpiParams;

/* The tables as they go to `base`; the RSDP is at its start. Free with g_byte_array_unref. */
GByteArray *vmc_acpi_build(const VmcAcpiParams *params, uint64_t base);
