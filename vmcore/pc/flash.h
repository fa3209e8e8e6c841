/*
 * The flash chip in which firmware keeps its variables: an Intel-command-set NOR chip (CFI, JEDEC JESD68.01;
 * Intel StrataFlash commands) with blocks of 4 KiB, whose contents are a file.
 *
 * What the guest programs is in our memory at once and in the file a moment later, written by the I/O thread,
 * and at the latest when the chip is freed. While the file cannot be written that is tried again every
 * second.
 *
 * Threads: the guest's accesses come from vCPU threads; new and free while none runs.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"
#include "base/bus.h"
#include "base/host.h"
#include "base/io.h"

#define VMC_FLASH_BLOCK 4096u
#define VMC_FLASH_MAX   (8u << 20)

typedef struct VmcFlash VmcFlash;

typedef struct VmcFlashParams {
    VmcBus *mmio;
    VmcIo *io;
    uint64_t base, size; /* bytes; multiples of VMC_FLASH_BLOCK, size at most VMC_FLASH_MAX */
    int fd;           /* of the file, as long as the chip, open for writing; taken over, also if new fails */
    const char *path; /* for errors */
    const VmcHostHooks *hooks; /* who hears that the file cannot be written; must outlive the chip */
} VmcFlashParams;

VmcFlash *vmc_flash_new(const VmcFlashParams *params, GError **error);
void vmc_flash_free(VmcFlash *flash); /* NULL is fine. Before the I/O thread ends */
/* The reset pin: back to reading the array. */
void vmc_flash_reset(VmcFlash *flash);

/* Saving and loading, while no CPU runs: base/state.h. */
void vmc_flash_save(VmcFlash *flash, VmcStateWriter *w);
bool vmc_flash_load(VmcFlash *flash, VmcStateReader *r);
