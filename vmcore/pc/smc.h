/*
 * The system management controller of Intel Macs, as far as macOS asks it when it starts: keys of four
 * characters with values of up to 32 bytes, read and written through ports 300h (data), 304h (command,
 * status) and 31Eh (result). Apple has published nothing about it; this follows what Linux' driver for it
 * expects (drivers/hwmon/applesmc.c).
 *
 * Two of the keys, OSK0 and OSK1, are halves of a string that macOS wants to see. It is Apple's, so the user
 * has to bring it.
 *
 * Threads: any. One lock inside.
 */
#pragma once

#include "base/bus.h"
#include "base/state.h"

#define VMC_SMC_BASE     0x300u
#define VMC_SMC_SIZE     0x20u
#define VMC_SMC_IRQ      6u /* as ACPI says; it never interrupts */
#define VMC_SMC_OSK_SIZE 64u

typedef struct VmcSmc VmcSmc;

VmcSmc *vmc_smc_new(VmcBus *pio, const char osk[VMC_SMC_OSK_SIZE]);
void vmc_smc_free(VmcSmc *smc); /* NULL is fine */
void vmc_smc_reset(VmcSmc *smc);
/* base/state.h; into one that was just made. */
void vmc_smc_save(VmcSmc *smc, VmcStateWriter *w);
bool vmc_smc_load(VmcSmc *smc, VmcStateReader *r);

/* Reads the string from a file, in which there may be white space around it. `error` names the file. */
bool vmc_smc_osk_from_file(const char *path, char osk[VMC_SMC_OSK_SIZE], GError **error);

/* Where Linux' driver shows the keys of the SMC in this computer, if it is a Mac. */
#define VMC_SMC_HOST_FOLDER "/sys/devices/platform/applesmc.768"
/* Reads the string through the driver. Whoever reads keys there shares one index with all others, so it is
 * looked whether it was still the right one. */
bool vmc_smc_osk_from_host(const char *folder, char osk[VMC_SMC_OSK_SIZE], GError **error);
