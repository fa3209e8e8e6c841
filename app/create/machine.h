/* What a new machine is made of: the devices that users expect, in the order in which guests find them. */
#pragma once

#include "app/bundle.h"
#include "app/create/creation.h"

G_BEGIN_DECLS

/* Files of a new machine, as far as it has them. */
#define ESP_MACHINE_DISK  "disk.qcow2"
#define ESP_MACHINE_IMAGE "image.img" /* a raw image that the disk lies on */
#define ESP_MACHINE_SEED  "seed.iso"
#define ESP_MACHINE_NVRAM "nvram.fd"

/* The machine that `creation` describes, with its files in `bundle`: the disk, if it is there; the seed, if
 * it is there. The caller owns it. NULL with `error` set: the demo's files are not there. */
VmcConfig *esp_machine_make(EspBundle *bundle, const EspCreation *creation, GError **error);

G_END_DECLS
