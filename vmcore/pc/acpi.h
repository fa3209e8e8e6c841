/*
 * The board's ACPI tables (ACPI 6.4): RSDP, XSDT, FADT, FACS, MADT, MCFG, HPET and DSDT.
 *
 * Any thread; no state.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

/* Tables live in the BIOS area, which Linux before 5.0 also searches for the RSDP; its upper half is for
 * SMBIOS. */
#define VMC_ACPI_BASE 0xe0000u
#define VMC_ACPI_SIZE 0x10000u

typedef struct VmcAcpiParams {
    unsigned n_cpus;
    unsigned n_uarts;
    bool smc;               /* a Mac's controller */
    uint8_t irq_of_pirq[8]; /* for a guest that does not use the IOAPIC */
    uint64_t ecam_base;     /* 256 MiB from there; behind it is the window for PCI devices below 4 GiB */
    uint64_t pci_base;      /* another one from here to ECAM, if lower */
    uint64_t pci64_first, pci64_last; /* and one above 4 GiB; last 0: none */
} VmcAcpiParams;

/* A field of the tables that holds an address: so far an offset from the start of the tables. */
typedef struct VmcAcpiPointer {
    guint at, size; /* bytes */
} VmcAcpiPointer;

/* A byte that makes a range sum up to zero, to be set after the pointers, in this order. */
typedef struct VmcAcpiChecksum {
    guint start, length, at;
} VmcAcpiChecksum;

/* All tables but the RSDP, not yet anywhere in memory. */
typedef struct VmcAcpiTables {
    GByteArray *bytes;
    GArray *pointers;  /* of VmcAcpiPointer */
    GArray *checksums; /* of VmcAcpiChecksum */
    guint xsdt;        /* where it is in `bytes` */
} VmcAcpiTables;

#define VMC_ACPI_RSDP_SIZE 36u
#define VMC_ACPI_ALIGN     64u /* of the place they are put to */

VmcAcpiTables *vmc_acpi_build(const VmcAcpiParams *params);
void vmc_acpi_tables_free(VmcAcpiTables *tables);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VmcAcpiTables, vmc_acpi_tables_free)

/* The RSDP as for an XSDT at this address, with its checksums. */
void vmc_acpi_rsdp(uint8_t rsdp[VMC_ACPI_RSDP_SIZE], uint64_t xsdt);

/* RSDP and tables as they go to `base`, which is aligned. Free with g_byte_array_unref. */
GByteArray *vmc_acpi_place(const VmcAcpiTables *tables, uint64_t base);
