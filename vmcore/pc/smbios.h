/*
 * What a PC tells about itself: SMBIOS structures (DMTF DSP0134, versions 2.8 and 3.0) and the entry points
 * by which they are found.
 *
 * Firmware that is given them through fw_cfg (etc/smbios/smbios-tables, etc/smbios/smbios-anchor) lays them
 * out itself: OVMF takes the version from the anchor, 2.x or 3.x, and ignores the address in it. macOS and
 * OpenCore look for the 2.x one.
 *
 * Any thread; no state.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* For a guest without firmware: entry points and structures in the BIOS area, where Linux and dmidecode look
 * for them on 16-byte boundaries. */
#define VMC_SMBIOS_BASE 0xf0000u
#define VMC_SMBIOS_SIZE 0x10000u

/* Strings that are NULL or empty are left out. */
typedef struct VmcSmbiosParams {
    const char *manufacturer, *product, *version, *serial, *family;
    uint8_t uuid[16]; /* in the order in which a UUID is written; all 0: none */
    const char *firmware_vendor, *firmware_version, *firmware_date /* "mm/dd/yyyy" */;
    bool uefi;
    uint64_t memory;  /* bytes; laid out as vmc_board_add_ram does */
    unsigned cpus;    /* logical ones of the machine, at least 1 */
    unsigned sockets; /* at least 1; each has cpus / sockets, rounded up, until there are none left */
    const char *cpu_manufacturer, *cpu_version;
    uint32_t cpu_signature, cpu_features; /* CPUID 1: EAX, EDX */
    unsigned cpu_mhz;                     /* 0: unknown */
} VmcSmbiosParams;

/* The structures, up to and including the end-of-table. Free with g_byte_array_unref. */
GByteArray *vmc_smbios_build(const VmcSmbiosParams *params);

typedef enum VmcSmbiosAnchor {
    VMC_SMBIOS_ANCHOR_2, /* "_SM_", 31 bytes, version 2.8 */
    VMC_SMBIOS_ANCHOR_3, /* "_SM3_", 24 bytes, version 3.0 */
} VmcSmbiosAnchor;

/* The entry point of `table`, which a guest finds at physical address `address` (below 4 GiB for 2.x). */
GByteArray *vmc_smbios_anchor(VmcSmbiosAnchor kind, const GByteArray *table, uint64_t address);

/* Both entry points and the structures, as they go to VMC_SMBIOS_BASE. */
GByteArray *vmc_smbios_area(const VmcSmbiosParams *params);
