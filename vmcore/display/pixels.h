/* Pixel formats of guests, and from them to the one that front ends are given. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Named by the bytes of a pixel in memory, the first one first, where a channel is a byte; the three last by
 * bits of a little-endian word. */
typedef enum VmcPixelFormat {
    VMC_PIXELS_BGRX,
    VMC_PIXELS_BGRA,
    VMC_PIXELS_XRGB,
    VMC_PIXELS_ARGB,
    VMC_PIXELS_RGBX,
    VMC_PIXELS_RGBA,
    VMC_PIXELS_XBGR,
    VMC_PIXELS_ABGR,
    VMC_PIXELS_BGR,      /* three bytes */
    VMC_PIXELS_R5G6B5,   /* 16 bits, red on top */
    VMC_PIXELS_X1R5G5B5, /* 16 bits, the top one unused */
} VmcPixelFormat;

unsigned vmc_pixels_bytes(VmcPixelFormat format); /* of a pixel */
/* Whether a row is what front ends are given as it is. */
bool vmc_pixels_native(VmcPixelFormat format);
bool vmc_pixels_has_alpha(VmcPixelFormat format);
/* `n` pixels to words 0xAARRGGBB; A has no meaning where the format has none. `to` is aligned, `from` need
 * not be. */
void vmc_pixels_convert(VmcPixelFormat format, uint32_t *to, const uint8_t *from, unsigned n);
