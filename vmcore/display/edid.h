/* What a monitor says of itself: an EDID made for a screen of any size. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define VMC_EDID_MAX 256u

/* Writes the EDID (VESA E-EDID A.2, structure 1.4) of a monitor whose preferred mode has this size, pixels,
 * at 60 Hz; `number` tells the monitors of a machine apart. Returns its length in bytes, 128 or, with a
 * DisplayID block for sizes that the older structure cannot express, 256. `out` is zeroed behind it. Sizes
 * are 64 to 16384 each way. */
size_t vmc_edid_make(uint8_t out[VMC_EDID_MAX], unsigned width, unsigned height, unsigned number);
