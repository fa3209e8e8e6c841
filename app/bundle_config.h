/*
 * config.plist <-> VmcConfig.
 *
 * The dictionary has a Version (1) and keys of VZ's vocabulary: CPUCount, MemorySize (MiB), CPU, BootLoader,
 * Devices; how the software CPU works is in CPUEngine, CPULockstep and CPUCodeCache (MiB), what the guest
 * sees in CPUModel, if that was chosen. A newer Version is refused in words; unknown keys, and unknown keys
 * of devices, survive a save.
 */
#pragma once

#include <glib.h>
#include <plist/plist.h>
#include <vmcore/config.h>

G_BEGIN_DECLS

#define ESP_BUNDLE_VERSION 1u

/* Reads `root` (a dictionary) into a new config. Relative paths are taken from `dir`. */
VmcConfig *esp_bundle_config_read(plist_t root, const char *dir, GError **error);
/* Writes `config` into `root`, changing only the keys it knows. Paths below `dir` become relative. */
void esp_bundle_config_write(plist_t root, const char *dir, const VmcConfig *config);

G_END_DECLS
