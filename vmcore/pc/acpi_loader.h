/*
 * The ACPI tables for firmware that places them itself: a script of commands (QEMU's "table loader", as OVMF
 * and SeaBIOS obey it) that says which fw_cfg files to put into memory, which fields to turn into addresses,
 * and which checksums to set.
 *
 * Any thread; no state.
 */
#pragma once

#include "pc/acpi.h"

/* Names of the fw_cfg files. */
#define VMC_ACPI_FILE_RSDP   "etc/acpi/rsdp"
#define VMC_ACPI_FILE_TABLES "etc/acpi/tables"
#define VMC_ACPI_FILE_LOADER "etc/table-loader"

/* What goes into each of them. The caller owns all three. */
typedef struct VmcAcpiFiles {
    GBytes *rsdp, *tables, *loader;
} VmcAcpiFiles;

void vmc_acpi_loader_files(const VmcAcpiTables *tables, VmcAcpiFiles *files);
