/*
 * A device in vfkit's words, by the fields its kind has (vmcore/config.h).
 */
#pragma once

#include <vmcore/config.h>

G_BEGIN_DECLS

/* Adds the device that `items` (of esp_items_split) describe. The config stays as it was on error. */
bool esp_vfkit_add_device(VmcConfig *config, GPtrArray *items, GError **error);

/* A device as one would write it: "virtio-blk,path=/a b,readonly". Free with g_free. */
char *esp_vfkit_device_text(const VmcDeviceConfig *device);

/* A line for each kind of device with all that it takes, for help texts; each begins with `indent`. */
char *esp_vfkit_device_help(const char *indent);

G_END_DECLS
