/* Pixel formats (pixels.h). Those of four bytes differ in the places of their channels only: one table. */
#include "display/pixels.h"

#include <glib.h>
#include <string.h>

#define NO_ALPHA 0xff

static const struct {
    uint8_t bytes, red, green, blue, alpha; /* which byte */
} layouts[] = {
    [VMC_PIXELS_BGRX] = {4, 2, 1, 0, NO_ALPHA}, [VMC_PIXELS_BGRA] = {4, 2, 1, 0, 3},
    [VMC_PIXELS_XRGB] = {4, 1, 2, 3, NO_ALPHA}, [VMC_PIXELS_ARGB] = {4, 1, 2, 3, 0},
    [VMC_PIXELS_RGBX] = {4, 0, 1, 2, NO_ALPHA}, [VMC_PIXELS_RGBA] = {4, 0, 1, 2, 3},
    [VMC_PIXELS_XBGR] = {4, 3, 2, 1, NO_ALPHA}, [VMC_PIXELS_ABGR] = {4, 3, 2, 1, 0},
    [VMC_PIXELS_BGR] = {3, 2, 1, 0, NO_ALPHA},  [VMC_PIXELS_R5G6B5] = {.bytes = 2},
    [VMC_PIXELS_X1R5G5B5] = {.bytes = 2},
};

unsigned vmc_pixels_bytes(VmcPixelFormat format)
{
    return layouts[format].bytes;
}

bool vmc_pixels_has_alpha(VmcPixelFormat format)
{
    return layouts[format].bytes == 4 && layouts[format].alpha != NO_ALPHA;
}

bool vmc_pixels_native(VmcPixelFormat format)
{
    return (format == VMC_PIXELS_BGRX || format == VMC_PIXELS_BGRA) && G_BYTE_ORDER == G_LITTLE_ENDIAN;
}

/* A channel of `bits` at `shift`, widened to eight bits so that full stays full. */
static uint32_t channel(unsigned word, unsigned shift, unsigned bits)
{
    unsigned value = word >> shift & ((1u << bits) - 1);

    return value << (8 - bits) | value >> (2 * bits - 8);
}

static void convert_words(VmcPixelFormat format, uint32_t *to, const uint8_t *from, unsigned n)
{
    bool six = format == VMC_PIXELS_R5G6B5;

    for (unsigned i = 0; i < n; i++, from += 2) {
        unsigned word = from[0] | from[1] << 8;
        to[i] = 0xff000000 | channel(word, six ? 11 : 10, 5) << 16 | channel(word, 5, six ? 6 : 5) << 8 |
                channel(word, 0, 5);
    }
}

void vmc_pixels_convert(VmcPixelFormat format, uint32_t *to, const uint8_t *from, unsigned n)
{
    unsigned bytes = layouts[format].bytes;

    if (bytes == 2) {
        convert_words(format, to, from, n);
        return;
    }
    if (vmc_pixels_native(format)) {
        memcpy(to, from, (size_t)n * 4);
        return;
    }
    unsigned red = layouts[format].red, green = layouts[format].green, blue = layouts[format].blue;
    unsigned alpha = layouts[format].alpha;
    for (unsigned i = 0; i < n; i++, from += bytes)
        to[i] = (alpha == NO_ALPHA ? 0xff000000 : (uint32_t)from[alpha] << 24) | (uint32_t)from[red] << 16 |
                (uint32_t)from[green] << 8 | from[blue];
}
