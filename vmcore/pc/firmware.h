/*
 * The board as UEFI firmware needs it: its code in flash below 4 GiB, the variables in a second chip below
 * that, what the board has told through fw_cfg, and the debug port that OVMF writes to (402h).
 *
 * Threads: made, reset and freed while no vCPU runs.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "base/state.h"
#include "base/bus.h"
#include "base/host.h"
#include "base/io.h"
#include "base/memory.h"
#include "boot/linux.h"
#include "pc/acpi.h"
#include "pc/fw_cfg.h"
#include "vmcore/config.h"

typedef struct VmcFirmware VmcFirmware;

typedef struct VmcFirmwareParams {
    VmcBus *pio, *mmio;
    VmcIo *io;
    VmcMemory *memory;         /* with the code in it: vmc_firmware_add_code */
    const VmcBootConfig *boot; /* of kind VMC_BOOT_EFI; not used after new */
    const VmcHostHooks *hooks; /* must outlive it */
    unsigned n_cpus;
    uint64_t ram;            /* bytes below 4 GiB */
    const VmcE820Entry *map; /* ascending */
    unsigned n_map;
    /* The ACPI tables for the board as firmware has set it up by now; on a vCPU thread, or while none runs.
     * How long they are must not depend on that. */
    VmcAcpiTables *(*acpi)(void *opaque);
    void *opaque;
} VmcFirmwareParams;

/* Adds the code to a machine's memory, before its CPUs are made. */
bool vmc_firmware_add_code(VmcMemory *memory, const VmcBootConfig *boot, GError **error);

VmcFirmware *vmc_firmware_new(const VmcFirmwareParams *params, GError **error);
void vmc_firmware_free(VmcFirmware *firmware); /* NULL is fine. The variables are in their file then */
void vmc_firmware_reset(VmcFirmware *firmware);
/* For more files. */
VmcFwCfg *vmc_firmware_fw_cfg(VmcFirmware *firmware);

/* Saving and loading, while no CPU runs: base/state.h. */
void vmc_firmware_save(VmcFirmware *firmware, VmcStateWriter *w);
bool vmc_firmware_load(VmcFirmware *firmware, VmcStateReader *r);
