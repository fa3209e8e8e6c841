/*
 * EDIDs (edid.h). The preferred mode has the timing of VESA's CVT 1.2, reduced blanking: nobody drives a
 * cable with it, but guests work out refresh rates from it and look whether it makes sense. A detailed timing
 * has 12 bits for a side and 16 for the clock, so from about 5K on it goes to a DisplayID 1.3 block behind
 * the base block, as on real monitors.
 */
#include "display/edid.h"

#include <stdbool.h>
#include <string.h>
#include <sys/param.h>

#define BLOCK      128u
#define DPI        96u
#define REFRESH    60u
#define MIN_BLANK  460u /* us, of a vertical blanking in CVT-RB */
#define CLOCK_STEP 25u  /* 10 kHz: clocks are multiples of 250 kHz */
#define DTD_SIDE   4095u
#define DTD_CLOCK  0xffffu
#define CLOCK_MIN  1000u /* 10 kHz: less is not taken for a timing */
#define H_BLANK    160u
#define H_FRONT    48u
#define H_SYNC     32u
#define V_FRONT    3u
#define V_BACK_MIN 6u

typedef struct Timing {
    unsigned width, height;
    unsigned h_blank, v_blank, v_sync;
    unsigned clock;      /* 10 kHz */
    unsigned x_mm, y_mm; /* of the screen */
} Timing;

/* The width of the vertical sync pulse tells the aspect ratio. */
static unsigned v_sync_of(unsigned width, unsigned height)
{
    static const struct {
        unsigned x, y, lines;
    } aspects[] = {{4, 3, 4}, {16, 9, 5}, {16, 10, 6}, {5, 4, 7}, {15, 9, 7}};

    for (unsigned i = 0; i < sizeof aspects / sizeof *aspects; i++)
        if (width * aspects[i].y == height * aspects[i].x)
            return aspects[i].lines;
    return 10;
}

static Timing timing_of(unsigned width, unsigned height)
{
    Timing t = {.width = width, .height = height, .v_sync = v_sync_of(width, height)};

    t.x_mm = width * 254 / (DPI * 10);
    t.y_mm = height * 254 / (DPI * 10);

    /* Time for a line, ns, if blanking had its shortest length. */
    unsigned line = (1000000000u / REFRESH - MIN_BLANK * 1000) / height;
    unsigned least = V_FRONT + t.v_sync + V_BACK_MIN;

    t.v_blank = MIN_BLANK * 1000 / line + 1;
    if (t.v_blank < least)
        t.v_blank = least;
    unsigned lines = (height + t.v_blank) * REFRESH;
    t.h_blank = H_BLANK;
    if ((width + H_BLANK) * (uint64_t)lines < CLOCK_MIN * 10000)
        t.h_blank = (CLOCK_MIN * 10000 / lines + 8 - width) / 8 * 8;
    uint64_t hz = (uint64_t)(width + t.h_blank) * lines;
    t.clock = (unsigned)(hz / 10000 / CLOCK_STEP * CLOCK_STEP);
    return t;
}

static void put16(uint8_t *p, unsigned value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

/* Makes the bytes add up to 0. */
static void put_checksum(uint8_t *bytes, unsigned n)
{
    uint8_t sum = 0;

    for (unsigned i = 0; i < n - 1; i++)
        sum += bytes[i];
    bytes[n - 1] = (uint8_t)-sum;
}

static bool fits_detailed(const Timing *t)
{
    return t->width <= DTD_SIDE && t->height <= DTD_SIDE && t->clock <= DTD_CLOCK;
}

/* 3.10.2: 18 bytes. */
static void put_detailed(uint8_t *p, const Timing *t)
{
    put16(p, t->clock);
    p[2] = (uint8_t)t->width;
    p[3] = (uint8_t)t->h_blank;
    p[4] = (uint8_t)(t->width >> 8 << 4 | t->h_blank >> 8);
    p[5] = (uint8_t)t->height;
    p[6] = (uint8_t)t->v_blank;
    p[7] = (uint8_t)(t->height >> 8 << 4 | t->v_blank >> 8);
    p[8] = H_FRONT;
    p[9] = H_SYNC;
    p[10] = (uint8_t)(V_FRONT << 4 | t->v_sync);
    p[12] = (uint8_t)t->x_mm;
    p[13] = (uint8_t)t->y_mm;
    p[14] = (uint8_t)(t->x_mm >> 8 << 4 | t->y_mm >> 8);
    p[17] = 0x1a; /* digital separate sync, horizontal positive: what marks reduced blanking */
}

/* 3.10.3: a descriptor that is no timing; its text ends with a line feed and is filled up with blanks. */
static void put_text(uint8_t *p, uint8_t tag, const char *text)
{
    size_t length = strlen(text);

    p[3] = tag;
    memset(p + 5, ' ', 13);
    memcpy(p + 5, text, length);
    p[5 + length] = '\n';
}

/* What the monitor can follow: everything, nearly. */
static void put_limits(uint8_t *p)
{
    static const uint8_t limits[] = {0, 0, 0, 0xfd, 8, 50, 75, 15, 255, 255, 1, '\n'};

    memset(p, ' ', 18);
    memcpy(p, limits, sizeof limits);
}

/* 3.9: sizes that drivers offer besides, at 60 Hz: columns / 8 - 31, and the aspect ratio. */
static const uint8_t standard_timings[16] = {
    0x81, 0xc0, /* 1280 x 720 */
    0x81, 0x00, /* 1280 x 800 */
    0x81, 0x80, /* 1280 x 1024 */
    0x95, 0x00, /* 1440 x 900 */
    0xa9, 0xc0, /* 1600 x 900 */
    0xa9, 0x40, /* 1600 x 1200 */
    0xb3, 0x00, /* 1680 x 1050 */
    0xd1, 0xc0, /* 1920 x 1080 */
};

static void put_base(uint8_t *p, const Timing *t, unsigned number)
{
    static const uint8_t header[8] = {0, 255, 255, 255, 255, 255, 255, 0};
    /* sRGB's primaries and white point. */
    static const uint8_t chroma[10] = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
    char name[14] = "Espalier";

    memcpy(p, header, sizeof header);
    p[8] = ('E' - '@') << 2 | ('P' - '@') >> 3;
    p[9] = (uint8_t)(('P' - '@') << 5 | ('L' - '@'));
    put16(p + 10, 1);
    p[12] = (uint8_t)(number + 1); /* serial number */
    p[16] = 255;                   /* no week but a model year: */
    p[17] = 2024 - 1990;
    p[18] = 1;
    p[19] = 4;
    p[20] = 0xa0; /* digital, 8 bits per colour */
    /* Centimetres; 0 by 0 would be a projector. */
    p[21] = (uint8_t)MIN((t->x_mm + 5) / 10, 255);
    p[22] = (uint8_t)MIN((t->y_mm + 5) / 10, 255);
    p[23] = 120;  /* gamma 2.2 */
    p[24] = 0x07; /* RGB, sRGB, the preferred timing is the native one, continuous frequency */
    memcpy(p + 25, chroma, sizeof chroma);
    p[35] = 0x21; /* 640 x 480, 800 x 600 */
    p[36] = 0x08; /* 1024 x 768 */
    memcpy(p + 38, standard_timings, sizeof standard_timings);
    put_detailed(p + 54, t);
    put_limits(p + 72);
    if (number) {
        size_t end = strlen(name);
        name[end] = ' ';
        name[end + 1] = (char)('1' + number % 9);
    }
    put_text(p + 90, 0xfc, name);
    p[108 + 3] = 0x10; /* nothing */
}

/* DisplayID 1.3 in an EDID extension: what it is as the blocks that have to be there say it, and one Type I
 * timing (s4.4.1). */
static void put_display_id(uint8_t *p, const Timing *t, unsigned number)
{
    uint8_t *section = p + 1, *product = section + 4, *screen = product + 15, *wire = screen + 15;
    uint8_t *block = wire + 13, *timing = block + 3;

    p[0] = 0x70;
    section[0] = 0x13;
    section[1] = BLOCK - 1 - 4 - 2; /* bytes of data blocks; the rest is filled with zeros */
    section[2] = 3;                 /* a display by itself */
    product[2] = 12;                /* s4.2.1, without a name */
    memcpy(product + 3, "EPL", 3);
    put16(product + 6, 1);
    product[8] = (uint8_t)(number + 1);
    product[13] = 2024 - 2000;
    screen[0] = 0x01; /* s4.2.2: size in tenths of a millimetre, pixels, gamma, aspect, depth */
    screen[2] = 12;
    put16(screen + 3, MIN(t->x_mm * 10, 0xffff));
    put16(screen + 5, MIN(t->y_mm * 10, 0xffff));
    put16(screen + 7, t->width);
    put16(screen + 9, t->height);
    screen[12] = 120;
    screen[13] = (uint8_t)MIN(MAX(t->width, t->height) * 100 / MIN(t->width, t->height) - 100, 255);
    screen[14] = 0x77;
    wire[0] = 0x0f; /* s4.2.11 */
    wire[2] = 10;
    wire[3] = 0xa1; /* DisplayPort, one link */
    wire[5] = 0x02; /* 8 bits per colour */
    block[0] = 0x03;
    block[2] = 20;
    put16(timing, t->clock - 1);
    timing[2] = (uint8_t)((t->clock - 1) >> 16);
    timing[3] = 0x80 | 0x08; /* preferred; an aspect ratio of its own */
    put16(timing + 4, t->width - 1);
    put16(timing + 6, t->h_blank - 1);
    put16(timing + 8, (H_FRONT - 1) | 0x8000);
    put16(timing + 10, H_SYNC - 1);
    put16(timing + 12, t->height - 1);
    put16(timing + 14, t->v_blank - 1);
    put16(timing + 16, V_FRONT - 1);
    put16(timing + 18, t->v_sync - 1);
    put_checksum(section, BLOCK - 2);
}

size_t vmc_edid_make(uint8_t out[VMC_EDID_MAX], unsigned width, unsigned height, unsigned number)
{
    Timing t = timing_of(width, height);
    bool extended = !fits_detailed(&t);
    Timing base = extended ? timing_of(1920, 1080) : t;

    base.x_mm = t.x_mm;
    base.y_mm = t.y_mm;
    memset(out, 0, VMC_EDID_MAX);
    put_base(out, &base, number);
    out[126] = extended;
    put_checksum(out, BLOCK);
    if (!extended)
        return BLOCK;
    put_display_id(out + BLOCK, &t, number);
    put_checksum(out + BLOCK, BLOCK);
    return 2 * BLOCK;
}
