/*
 * What memory holds before a snippet runs: the code between breakpoints, and pages of values that are worth
 * trying (small and large integers, floats of every kind, pointers, noise).
 */
#include <string.h>

#include "diff.h"

const struct area diff_areas[AREA_COUNT] = {
    [AREA_CODE] = {CODE_BASE, 2, 0, true, true},
    [AREA_DATA] = {DATA_BASE, 2, 2, true, false},
    [AREA_RO] = {RO_BASE, 1, 4, false, false},
    [AREA_STACK] = {STACK_BASE, 2, 5, true, false},
};

const struct descriptor diff_ldt[LDT_COUNT] = {
    {.base = CODE_BASE, .limit = 0x1fff, .contents = 2},
    {.base = STACK_BASE, .limit = 0x1fff},
    {.base = DATA_BASE, .limit = 0x1fff},
    {.base = DATA_BASE, .limit = 0xfff, .contents = 1},
    {.base = RO_BASE, .limit = 0xfff, .read_only = true},
    {.base = DATA_BASE - 0x1000, .limit = 0x27ff, .wide = true},
    {.base = DATA_BASE, .limit = 0x1fff, .absent = true},
    {.base = 0, .limit = 0x1ffff, .contents = 1, .wide = true, .pages = true},
    {.base = CODE_BASE, .limit = 1, .contents = 2, .wide = true, .pages = true, .read_only = true},
};

uint32_t diff_segment_base(uint16_t selector)
{
    unsigned n = selector >> 3;

    return (selector & 7) == 7 && n < LDT_COUNT ? diff_ldt[n].base : 0;
}

uint64_t diff_start_rip(const struct diff_case *c)
{
    return CODE_BASE + c->offset - diff_segment_base(c->in.cs);
}

uint64_t diff_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* One page of a kind chosen by the seed, in pieces of 16 to 64 bytes. */
static void fill_page(uint8_t *page, uint64_t *random)
{
    static const uint64_t words[] = {
        0,
        1,
        ~0ull,
        0x7fffffffffffffffull,
        0x8000000000000000ull,
        0x80000000ull,
        0x7fffffffull,
        0xffffffffull,
        0x00ff00ff00ff00ffull,
        DATA_BASE + 0x100,
        STACK_BASE + 0x1000,
        CODE_BASE + 0x20,
        /* doubles: 1, -1.5, tiny, denormal, infinity, quiet and signalling NaN, 2^62, 0.1 */
        0x3ff0000000000000ull,
        0xbff8000000000000ull,
        0x0010000000000000ull,
        0x0000000000000fffull,
        0x7ff0000000000000ull,
        0x7ff8000000000001ull,
        0xfff0000000000001ull,
        0x43d0000000000000ull,
        0x3fb999999999999aull,
        /* pairs of floats */
        0x3f800000bf800000ull,
        0x7f80000000000001ull,
        0x7fc00000ff800001ull,
        0x4f00000000800000ull,
        0x0000000180000000ull,
        /* packed decimal, characters */
        0x0123456789987654ull,
        0x6f6c6c6548002121ull,
    };

    for (unsigned at = 0; at < PAGE; at += 8) {
        uint64_t r = diff_random(random), value;

        if ((r & 3) < 2)
            value = words[(r >> 8) % (sizeof(words) / sizeof(words[0]))];
        else
            value = diff_random(random);
        memcpy(page + at, &value, 8);
    }
}

/* The pages that come from a seed; the last few are kept, as cases share seeds. */
static const uint8_t *seeded_pages(uint64_t seed)
{
    static struct {
        uint64_t seed;
        bool made;
        uint8_t pages[IMAGE_SIZE];
    } kept[16];
    __typeof__(kept[0]) *k = &kept[seed % 16];
    uint64_t random = seed;

    if (k->made && k->seed == seed)
        return k->pages;
    for (unsigned a = AREA_DATA; a < AREA_COUNT; a++)
        for (unsigned p = 0; p < diff_areas[a].pages; p++)
            fill_page(k->pages + (diff_areas[a].first + p) * PAGE, &random);
    k->seed = seed;
    k->made = true;
    return k->pages;
}

void diff_image(const struct diff_case *c, bool native, uint8_t image[IMAGE_SIZE])
{
    unsigned code_size = diff_areas[AREA_CODE].pages * PAGE;

    memcpy(image + code_size, seeded_pages(c->memory_seed) + code_size, IMAGE_SIZE - code_size);
    for (unsigned a = AREA_DATA; a < AREA_COUNT; a++)
        for (uint32_t i = 0; i < c->poke_length; i++)
            if (c->poke_at + i - diff_areas[a].base < diff_areas[a].pages * PAGE)
                image[diff_areas[a].first * PAGE + (c->poke_at + i - diff_areas[a].base)] = c->poke[i];
    memset(image, 0xcc, code_size);
    memcpy(image + c->offset, native ? c->native_code : c->code, c->length);
}
