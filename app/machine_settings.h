/*
 * A machine's settings in memory, and how they are changed on disk.
 *
 * A change is a transaction: the bundle is read anew, changed, looked at by the validator, and written at
 * once and whole, while nobody else changes it. So the window, the command line and the machine's own process
 * do not overwrite each other's changes, and whatever fails leaves the file as it was.
 *
 * Threads: any, one at a time per EspMachineSettings; reading and changing wait for the disk.
 */
#pragma once

#include <glib.h>
#include <vmcore/config.h>

#include "app/machine_info.h"

G_BEGIN_DECLS

typedef struct EspMachineSettings {
    char *path; /* the bundle's */
    char *name;
    VmcConfig *config;
    EspMachineInfo info;
} EspMachineSettings;

/* Reads the bundle at `path`. */
EspMachineSettings *esp_machine_settings_read(const char *path, GError **error);
/* NULL is fine. */
void esp_machine_settings_free(EspMachineSettings *machine);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EspMachineSettings, esp_machine_settings_free)

/* The index-th device, or NULL. */
VmcDeviceConfig *esp_machine_settings_device(const EspMachineSettings *machine, int index);

/* Changes `machine`; false with `error` set if it cannot be. */
typedef bool (*EspChange)(EspMachineSettings *machine, gpointer data, GError **error);

/* Carries out a change on the bundle at `path`. Refused if the validator finds something wrong that it did
 * not find before; what was wrong already may stay so, or settings could never be put right one by one.
 * `replaced` (may be NULL) is set to what the machine is now; the caller frees it. */
bool esp_machine_settings_change(const char *path, EspChange change, gpointer data,
                                 EspMachineSettings **replaced, GError **error);

/* Whether a guest is there now. A process may have the bundle open without one. */
bool esp_machine_settings_is_running(const char *path);

/* ---- changes of devices ---- */

/* A copy of a device that is no part of a configuration; esp_device_config_free. */
VmcDeviceConfig *esp_device_config_copy(const VmcDeviceConfig *device);
void esp_device_config_free(VmcDeviceConfig *device);
/* Puts a copy of `device` in before the index-th, or at the end for -1. */
void esp_machine_settings_insert(EspMachineSettings *machine, const VmcDeviceConfig *device, int index);
/* Takes the index-th device out; false: there is none. */
bool esp_machine_settings_remove(EspMachineSettings *machine, int index);
/* Moves what firmware may boot from up (-1) or down (1) in the order in which it tries, by the bootIndex of
 * all; false: it is at that end. */
bool esp_machine_settings_move_boot(EspMachineSettings *machine, int index, int direction);
/* Numbers of the devices that firmware may boot from, in the order in which it tries: of int; free with
 * g_array_unref. */
GArray *esp_machine_settings_boot_order(const EspMachineSettings *machine);

G_END_DECLS
