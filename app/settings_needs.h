/*
 * When a setting or a kind of device cannot be used: with this guest, or next to other settings. Each
 * function is a member `why_not` of the tables (settings.h): a translated sentence, or NULL.
 *
 * What macOS can do since when is from its own virtio drivers; a guest of which no version is known is not
 * refused anything.
 */
#pragma once

#include "app/settings.h"

G_BEGIN_DECLS

typedef const char *EspWhyNot(const EspMachineSettings *machine, const VmcDeviceConfig *device);

/* Settings. */
EspWhyNot esp_needs_kvm_off, esp_needs_translator, esp_needs_efi, esp_needs_kernel, esp_needs_kernel_boot;
EspWhyNot esp_needs_clipboard, esp_needs_nat, esp_needs_tftp, esp_needs_qcow2, esp_needs_virtio_net;
EspWhyNot esp_needs_sound_file;
/* Kinds of devices. */
EspWhyNot esp_needs_virtio_fs, esp_needs_9p, esp_needs_virtio_block, esp_needs_virtio_network,
    esp_needs_virtio_sound, esp_needs_virtio_gpu, esp_needs_virtio_input, esp_needs_macos;

G_END_DECLS
