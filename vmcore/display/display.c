/*
 * A display: what adapters show, as frames for a front end.
 *
 * Three copies of a picture, for three owners. The guest's own lies in its memory or in a resource of
 * virtio-gpu. `staging` has what was pushed, or nothing while memory is shown; a lock guards it. `shadow` is
 * the front end's, changed in collect only. Collecting goes over what may have changed - tiles that were
 * pushed, or rows in pages that the dirty log names - compares it with the shadow and takes over the tiles
 * that differ. So damage is what really looks different, a pixel the guest writes while we compare is found
 * next time, and a still screen costs a look at the log: a few words.
 *
 * Locks, in this order: `pull` is held by collect while it reads guest memory, and by release before that
 * memory goes; `lock` guards what is shown, `tell_lock` the front end's functions and what they were last
 * told. `resize_lock` stands alone.
 */
#include "display/display.h"

#include <string.h>

#include "display/damage.h"

struct VmcDisplay {
    GMutex pull;

    GMutex lock;
    unsigned width, height;
    bool released;
    bool in_memory;
    VmcLinear linear;
    uint32_t *staging;  /* width * height */
    VmcDamage staged;   /* what of it has not been collected */
    uint64_t shown;     /* counts changes of source or size */
    bool refresh, told; /* the front end knows that there is damage */

    /* collect's */
    unsigned shadow_width, shadow_height;
    uint32_t *shadow;
    uint32_t *row;   /* one, converted */
    uint64_t *pages; /* of the linear's slot */
    VmcDamage damage;
    uint64_t collected; /* `shown` of the last time */
    uint64_t serial;

    GMutex tell_lock;
    const VmcDisplayFrontend *frontend;
    void *frontend_opaque;
    bool on, has_cursor;
    VmcCursor cursor;
    uint32_t cursor_pixels[VMC_CURSOR_SIDE * VMC_CURSOR_SIDE];
    int cursor_x, cursor_y;

    GMutex resize_lock;
    VmcDisplayResize resize;
    void *resize_opaque;
};

/* ---- telling the front end ---- */

/* With `tell_lock` held. A function of the front end's if its header had it. */
#define TELL(display, function, ...)                                                                         \
    do {                                                                                                     \
        const VmcDisplayFrontend *f = (display)->frontend;                                                   \
        if (f && f->size >= offsetof(VmcDisplayFrontend, function) + sizeof f->function && f->function)      \
            f->function((display)->frontend_opaque, ##__VA_ARGS__);                                          \
    } while (0)

static void tell_damaged(VmcDisplay *display)
{
    g_mutex_lock(&display->tell_lock);
    TELL(display, damaged);
    g_mutex_unlock(&display->tell_lock);
}

static void tell_resized(VmcDisplay *display)
{
    unsigned width, height;

    /* Asked anew under this lock, so that of two changes on two threads the later is told last. */
    g_mutex_lock(&display->tell_lock);
    vmc_display_get_size(display, &width, &height);
    TELL(display, resized, width, height);
    g_mutex_unlock(&display->tell_lock);
}

static void tell_enabled(VmcDisplay *display, bool on)
{
    g_mutex_lock(&display->tell_lock);
    if (display->on != on)
        TELL(display, enabled, on);
    display->on = on;
    g_mutex_unlock(&display->tell_lock);
}

void vmc_display_set_frontend(VmcDisplay *display, const VmcDisplayFrontend *frontend, void *opaque)
{
    unsigned width, height;

    g_mutex_lock(&display->tell_lock);
    display->frontend = frontend;
    display->frontend_opaque = opaque;
    vmc_display_get_size(display, &width, &height);
    TELL(display, enabled, display->on);
    TELL(display, resized, width, height);
    TELL(display, cursor_defined, display->has_cursor ? &display->cursor : NULL);
    TELL(display, cursor_moved, display->cursor_x, display->cursor_y);
    g_mutex_unlock(&display->tell_lock);
    vmc_display_refresh(display);
}

/* ---- what is shown ---- */

VmcDisplay *vmc_display_new(unsigned width, unsigned height)
{
    VmcDisplay *display = g_new0(VmcDisplay, 1);

    g_mutex_init(&display->pull);
    g_mutex_init(&display->lock);
    g_mutex_init(&display->tell_lock);
    g_mutex_init(&display->resize_lock);
    display->width = width;
    display->height = height;
    display->staging = g_new0(uint32_t, (size_t)width * height);
    display->shown = 1;
    display->on = true;
    vmc_damage_resize(&display->staged, width, height);
    return display;
}

void vmc_display_free(VmcDisplay *display)
{
    if (!display)
        return;
    g_mutex_clear(&display->pull);
    g_mutex_clear(&display->lock);
    g_mutex_clear(&display->tell_lock);
    g_mutex_clear(&display->resize_lock);
    vmc_damage_free(&display->staged);
    vmc_damage_free(&display->damage);
    g_free(display->staging);
    g_free(display->shadow);
    g_free(display->row);
    g_free(display->pages);
    g_free(display);
}

void vmc_display_get_size(VmcDisplay *display, unsigned *width, unsigned *height)
{
    g_mutex_lock(&display->lock);
    *width = display->width;
    *height = display->height;
    g_mutex_unlock(&display->lock);
}

bool vmc_display_needs_polling(VmcDisplay *display)
{
    g_mutex_lock(&display->lock);
    bool polling = display->in_memory;
    g_mutex_unlock(&display->lock);
    return polling;
}

/* With `lock` held. True: the front end is to be told, after unlocking. */
static bool note_damage(VmcDisplay *display)
{
    bool fresh = !display->told;

    display->told = true;
    return fresh;
}

void vmc_display_refresh(VmcDisplay *display)
{
    g_mutex_lock(&display->lock);
    display->refresh = true;
    bool tell = note_damage(display);
    g_mutex_unlock(&display->lock);
    if (tell)
        tell_damaged(display);
}

/* Locks, unless nobody is to change what is shown. */
static bool begin_switch(VmcDisplay *display)
{
    g_mutex_lock(&display->lock);
    if (!display->released)
        return true;
    g_mutex_unlock(&display->lock);
    return false;
}

/* Unlocks and tells. */
static void end_switch(VmcDisplay *display, bool resized, bool on)
{
    display->shown++;
    bool tell = note_damage(display);
    g_mutex_unlock(&display->lock);
    tell_enabled(display, on);
    if (resized)
        tell_resized(display);
    if (tell)
        tell_damaged(display);
}

/* With `lock` held: room for what is pushed, black. */
static void make_staging(VmcDisplay *display)
{
    g_free(display->staging);
    display->staging = g_new0(uint32_t, (size_t)display->width * display->height);
    vmc_damage_resize(&display->staged, display->width, display->height);
    display->in_memory = false;
}

/* With `lock` held. True: another size. */
static bool change_size(VmcDisplay *display, unsigned width, unsigned height)
{
    bool resized = display->width != width || display->height != height;

    display->width = width;
    display->height = height;
    return resized;
}

void vmc_display_show_memory(VmcDisplay *display, const VmcLinear *linear)
{
    if (!begin_switch(display))
        return;
    bool resized = change_size(display, linear->width, linear->height);
    display->in_memory = true;
    display->linear = *linear;
    g_clear_pointer(&display->staging, g_free);
    end_switch(display, resized, true);
}

/* One row of a picture in memory as words. */
static void convert_row(const VmcLinear *linear, unsigned y, uint32_t *to)
{
    const uint8_t *from =
        linear->memory->slots[linear->slot].host + linear->offset + (size_t)y * linear->stride;

    vmc_pixels_convert(linear->format, to, from, linear->width);
}

/* With `lock` held: the picture in memory becomes one that was pushed. */
static void keep_picture(VmcDisplay *display)
{
    VmcLinear linear = display->linear;

    make_staging(display);
    for (unsigned y = 0; y < linear.height; y++)
        convert_row(&linear, y, display->staging + (size_t)y * linear.width);
    vmc_damage_add(&display->staged, &(VmcRect){0, 0, linear.width, linear.height});
}

void vmc_display_show_pushed(VmcDisplay *display, unsigned width, unsigned height)
{
    if (!begin_switch(display))
        return;
    bool resized = change_size(display, width, height);
    if (resized)
        make_staging(display);
    else if (display->in_memory)
        keep_picture(display);
    end_switch(display, resized, true);
}

void vmc_display_push(VmcDisplay *display, const VmcRect *rect, const uint8_t *pixels, unsigned stride,
                      VmcPixelFormat format)
{
    bool tell = false;

    g_mutex_lock(&display->lock);
    if (!display->released && !display->in_memory && rect->x < display->width && rect->y < display->height &&
        rect->width && rect->height) {
        unsigned width = MIN(rect->width, display->width - rect->x);
        unsigned height = MIN(rect->height, display->height - rect->y);
        uint32_t *to = display->staging + (size_t)rect->y * display->width + rect->x;
        for (unsigned y = 0; y < height; y++, to += display->width, pixels += stride)
            vmc_pixels_convert(format, to, pixels, width);
        vmc_damage_add(&display->staged, rect);
        tell = note_damage(display);
    }
    g_mutex_unlock(&display->lock);
    if (tell)
        tell_damaged(display);
}

void vmc_display_blank(VmcDisplay *display)
{
    if (!begin_switch(display))
        return;
    make_staging(display);
    end_switch(display, false, false);
}

void vmc_display_adopt(VmcDisplay *display)
{
    g_mutex_lock(&display->lock);
    display->released = false;
    g_mutex_unlock(&display->lock);
}

void vmc_display_release(VmcDisplay *display)
{
    vmc_display_set_resize(display, NULL, NULL);
    vmc_display_set_cursor(display, NULL);
    g_mutex_lock(&display->pull);
    g_mutex_lock(&display->lock);
    bool tell = display->in_memory;
    if (display->in_memory) {
        keep_picture(display);
        tell = note_damage(display);
    }
    display->released = true;
    g_mutex_unlock(&display->lock);
    g_mutex_unlock(&display->pull);
    if (tell)
        tell_damaged(display);
}

/* ---- collecting ---- */

/* Compares part of a row with the shadow tile by tile and takes over what differs. */
static void update_row(VmcDisplay *display, unsigned y, const uint32_t *from, const uint8_t *only)
{
    uint32_t *to = display->shadow + (size_t)y * display->shadow_width;
    uint8_t *dirty = vmc_damage_row(&display->damage, y);

    if (!only && memcmp(from, to, (size_t)display->shadow_width * 4) == 0)
        return;
    for (unsigned tile = 0; tile < display->damage.tiles_x; tile++) {
        unsigned x = tile * VMC_TILE_W;
        size_t bytes = MIN(VMC_TILE_W, display->shadow_width - x) * sizeof(uint32_t);

        if ((only && !only[tile]) || memcmp(from + x, to + x, bytes) == 0)
            continue;
        memcpy(to + x, from + x, bytes);
        dirty[tile] = 1;
        display->damage.any = true;
    }
}

/* With `lock` held. */
static void collect_staging(VmcDisplay *display, bool all)
{
    if (!all && !display->staged.any)
        return;
    for (unsigned y = 0; y < display->height; y++)
        update_row(display, y, display->staging + (size_t)y * display->width,
                   all ? NULL : vmc_damage_row(&display->staged, y));
    vmc_damage_clear(&display->staged);
}

static bool page_is_set(const uint64_t *pages, uint64_t page)
{
    return pages[page / 64] >> (page % 64) & 1;
}

/* Whether the log has a page in which bytes of row y lie. */
static bool row_is_dirty(const VmcLinear *linear, const uint64_t *pages, unsigned y)
{
    uint64_t first = linear->offset + (uint64_t)y * linear->stride;
    uint64_t last = first + (uint64_t)linear->width * vmc_pixels_bytes(linear->format) - 1;

    for (uint64_t page = first >> VMC_PAGE_SHIFT; page <= last >> VMC_PAGE_SHIFT; page++)
        if (page_is_set(pages, page))
            return true;
    return false;
}

/* With `pull` held. The log is taken before the pixels are looked at: what is written later is told later. */
static void collect_memory(VmcDisplay *display, const VmcLinear *linear, bool all)
{
    const VmcMemSlot *slot = &linear->memory->slots[linear->slot];
    uint64_t first = linear->offset >> VMC_PAGE_SHIFT;
    uint64_t last = (linear->offset + (uint64_t)linear->height * linear->stride - 1) >> VMC_PAGE_SHIFT;

    if (all)
        display->pages = g_renew(uint64_t, display->pages, ((slot->size >> VMC_PAGE_SHIFT) + 63) / 64);
    if (!vmc_memory_take_dirty(linear->memory, linear->slot, first, last - first + 1, display->pages) && !all)
        return;
    for (unsigned y = 0; y < linear->height; y++) {
        const uint32_t *row;

        if (!all && !row_is_dirty(linear, display->pages, y))
            continue;
        row = (const uint32_t *)(slot->host + linear->offset + (size_t)y * linear->stride);
        if (!vmc_pixels_native(linear->format) || linear->stride % 4 || linear->offset % 4) {
            convert_row(linear, y, display->row);
            row = display->row;
        }
        update_row(display, y, row, NULL);
    }
}

/* A shadow of the size that is shown now. */
static void make_shadow(VmcDisplay *display, unsigned width, unsigned height)
{
    g_free(display->shadow);
    display->shadow = g_new0(uint32_t, (size_t)width * height);
    display->row = g_renew(uint32_t, display->row, width);
    display->shadow_width = width;
    display->shadow_height = height;
    vmc_damage_resize(&display->damage, width, height);
}

bool vmc_display_collect(VmcDisplay *display, VmcFrame *frame)
{
    g_mutex_lock(&display->pull);
    g_mutex_lock(&display->lock);
    bool all = display->collected != display->shown, in_memory = display->in_memory;
    bool whole = display->refresh;
    VmcLinear linear = display->linear;
    display->collected = display->shown;
    display->refresh = display->told = false;
    if (!display->shadow || display->width != display->shadow_width ||
        display->height != display->shadow_height) {
        make_shadow(display, display->width, display->height);
        whole = true;
    }
    if (!in_memory)
        collect_staging(display, all);
    g_mutex_unlock(&display->lock);
    if (in_memory)
        collect_memory(display, &linear, all);
    g_mutex_unlock(&display->pull);

    frame->width = display->shadow_width;
    frame->height = display->shadow_height;
    frame->stride = display->shadow_width * (unsigned)sizeof(uint32_t);
    frame->pixels = (const uint8_t *)display->shadow;
    if (whole)
        vmc_damage_add(&display->damage, &(VmcRect){0, 0, frame->width, frame->height});
    vmc_damage_join(&display->damage, frame);
    vmc_damage_clear(&display->damage);
    if (frame->n_damage)
        display->serial++;
    frame->serial = display->serial;
    return frame->n_damage > 0;
}

void vmc_display_take_picture(VmcDisplay *display, VmcFrame *frame)
{
    g_mutex_lock(&display->pull);
    g_mutex_lock(&display->lock);
    size_t pixels = (size_t)display->width * display->height;
    uint32_t *copy = g_new(uint32_t, pixels);
    *frame = (VmcFrame){.width = display->width, .height = display->height, .stride = display->width * 4};
    frame->pixels = (const uint8_t *)copy;
    if (display->in_memory)
        for (unsigned y = 0; y < display->height; y++)
            convert_row(&display->linear, y, copy + (size_t)y * display->width);
    else
        memcpy(copy, display->staging, pixels * 4);
    g_mutex_unlock(&display->lock);
    g_mutex_unlock(&display->pull);
}

void vmc_picture_clear(VmcFrame *frame)
{
    g_free((void *)frame->pixels);
    frame->pixels = NULL;
}

/* ---- pointer and size ---- */

void vmc_display_set_cursor(VmcDisplay *display, const VmcCursor *cursor)
{
    g_mutex_lock(&display->tell_lock);
    bool had = display->has_cursor;
    display->has_cursor = cursor != NULL;
    if (cursor) {
        display->cursor = *cursor;
        display->cursor.pixels = display->cursor_pixels;
        memcpy(display->cursor_pixels, cursor->pixels, (size_t)cursor->width * cursor->height * 4);
    }
    if (had || cursor)
        TELL(display, cursor_defined, cursor ? &display->cursor : NULL);
    g_mutex_unlock(&display->tell_lock);
}

bool vmc_display_get_cursor(VmcDisplay *display, VmcCursor *cursor,
                            uint32_t pixels[VMC_CURSOR_SIDE * VMC_CURSOR_SIDE], int *x, int *y)
{
    g_mutex_lock(&display->tell_lock);
    bool shown = display->has_cursor;
    if (shown) {
        *cursor = display->cursor;
        cursor->pixels = pixels;
        memcpy(pixels, display->cursor_pixels, (size_t)cursor->width * cursor->height * 4);
    }
    *x = display->cursor_x;
    *y = display->cursor_y;
    g_mutex_unlock(&display->tell_lock);
    return shown;
}

void vmc_display_move_cursor(VmcDisplay *display, int x, int y)
{
    g_mutex_lock(&display->tell_lock);
    display->cursor_x = x;
    display->cursor_y = y;
    TELL(display, cursor_moved, x, y);
    g_mutex_unlock(&display->tell_lock);
}

void vmc_display_set_resize(VmcDisplay *display, VmcDisplayResize resize, void *opaque)
{
    g_mutex_lock(&display->resize_lock);
    display->resize = resize;
    display->resize_opaque = opaque;
    g_mutex_unlock(&display->resize_lock);
}

bool vmc_display_request_size(VmcDisplay *display, unsigned width, unsigned height)
{
    g_mutex_lock(&display->resize_lock);
    bool asked = display->resize && display->resize(display->resize_opaque, width, height);
    g_mutex_unlock(&display->resize_lock);
    return asked;
}
