/*
 * The headless front end (headless.h). Its picture is patched from the rectangles of damage, so a display
 * that forgets one gives another hash than one that does not.
 */
#include "display/headless.h"

#include <string.h>

#define POLL_US 5000 /* while the guest draws into memory */

struct VmcHeadless {
    VmcDisplay *display;
    VmcFrame frame;    /* of the picture: ours */
    uint32_t *picture; /* frame.width * frame.height */

    GMutex lock;
    GCond told;
    bool damaged;
    VmcHeadlessNews news;
};

/* ---- what the display tells ---- */

static void damaged(void *opaque)
{
    VmcHeadless *headless = opaque;

    g_mutex_lock(&headless->lock);
    headless->damaged = true;
    headless->news.damaged++;
    g_cond_signal(&headless->told);
    g_mutex_unlock(&headless->lock);
}

static void resized(void *opaque, unsigned width, unsigned height)
{
    VmcHeadless *headless = opaque;

    g_mutex_lock(&headless->lock);
    headless->news.resized++;
    headless->news.width = width;
    headless->news.height = height;
    g_mutex_unlock(&headless->lock);
}

static void cursor_defined(void *opaque, const VmcCursor *cursor)
{
    VmcHeadless *headless = opaque;

    g_mutex_lock(&headless->lock);
    headless->news.cursors++;
    headless->news.has_cursor = cursor != NULL;
    if (cursor) {
        headless->news.cursor = *cursor;
        memcpy(headless->news.pixels, cursor->pixels, (size_t)cursor->width * cursor->height * 4);
    }
    g_mutex_unlock(&headless->lock);
}

static void cursor_moved(void *opaque, int x, int y)
{
    VmcHeadless *headless = opaque;

    g_mutex_lock(&headless->lock);
    headless->news.moves++;
    headless->news.x = x;
    headless->news.y = y;
    g_mutex_unlock(&headless->lock);
}

static void enabled(void *opaque, bool on)
{
    VmcHeadless *headless = opaque;

    g_mutex_lock(&headless->lock);
    headless->news.on = on;
    g_mutex_unlock(&headless->lock);
}

static const VmcDisplayFrontend frontend = {
    .size = sizeof(VmcDisplayFrontend),
    .damaged = damaged,
    .resized = resized,
    .cursor_defined = cursor_defined,
    .cursor_moved = cursor_moved,
    .enabled = enabled,
};

VmcHeadless *vmc_headless_new(VmcDisplay *display)
{
    VmcHeadless *headless = g_new0(VmcHeadless, 1);

    headless->display = display;
    g_mutex_init(&headless->lock);
    g_cond_init(&headless->told);
    vmc_display_set_frontend(display, &frontend, headless);
    return headless;
}

void vmc_headless_free(VmcHeadless *headless)
{
    if (!headless)
        return;
    vmc_display_set_frontend(headless->display, NULL, NULL);
    g_mutex_clear(&headless->lock);
    g_cond_clear(&headless->told);
    g_free(headless->picture);
    g_free(headless);
}

void vmc_headless_news(VmcHeadless *headless, VmcHeadlessNews *news)
{
    g_mutex_lock(&headless->lock);
    *news = headless->news;
    g_mutex_unlock(&headless->lock);
    news->cursor.pixels = news->pixels;
}

/* ---- the picture ---- */

static void patch(VmcHeadless *headless, const VmcFrame *from)
{
    for (unsigned i = 0; i < from->n_damage; i++) {
        const VmcRect *rect = &from->damage[i];

        for (unsigned y = rect->y; y < rect->y + rect->height; y++)
            memcpy(headless->picture + (size_t)y * from->width + rect->x,
                   from->pixels + (size_t)y * from->stride + (size_t)rect->x * 4, (size_t)rect->width * 4);
    }
}

bool vmc_headless_update(VmcHeadless *headless)
{
    VmcFrame from;

    g_mutex_lock(&headless->lock);
    headless->damaged = false;
    g_mutex_unlock(&headless->lock);
    if (!vmc_display_collect(headless->display, &from))
        return false;
    if (!headless->picture || from.width != headless->frame.width || from.height != headless->frame.height) {
        g_free(headless->picture);
        headless->picture = g_new0(uint32_t, (size_t)from.width * from.height);
    }
    patch(headless, &from);
    headless->frame = from;
    headless->frame.stride = from.width * 4;
    headless->frame.pixels = (const uint8_t *)headless->picture;
    return true;
}

const VmcFrame *vmc_headless_frame(VmcHeadless *headless)
{
    return &headless->frame;
}

char *vmc_headless_hash(VmcHeadless *headless)
{
    return vmc_frame_hash(&headless->frame);
}

/* ---- waiting ---- */

/* Sleeps until the display says something or it is time to look, at the latest at `end`. */
static void wait_for_news(VmcHeadless *headless, gint64 end)
{
    if (vmc_display_needs_polling(headless->display))
        end = MIN(end, g_get_monotonic_time() + POLL_US);
    g_mutex_lock(&headless->lock);
    while (!headless->damaged && g_cond_wait_until(&headless->told, &headless->lock, end))
        ;
    g_mutex_unlock(&headless->lock);
}

bool vmc_headless_wait(VmcHeadless *headless, bool (*wanted)(VmcHeadless *headless, void *data), void *data,
                       unsigned timeout_ms)
{
    gint64 end = g_get_monotonic_time() + (gint64)timeout_ms * 1000;

    for (;;) {
        vmc_headless_update(headless);
        if (wanted(headless, data))
            return true;
        if (g_get_monotonic_time() >= end)
            return false;
        wait_for_news(headless, end);
    }
}

char *vmc_headless_wait_still(VmcHeadless *headless, unsigned quiet_ms, unsigned timeout_ms)
{
    gint64 now = g_get_monotonic_time(), end = now + (gint64)timeout_ms * 1000;
    gint64 still = now + (gint64)quiet_ms * 1000;

    vmc_headless_update(headless);
    while ((now = g_get_monotonic_time()) < end) {
        if (now >= still)
            return vmc_headless_hash(headless);
        wait_for_news(headless, MIN(still, end));
        if (vmc_headless_update(headless))
            still = g_get_monotonic_time() + (gint64)quiet_ms * 1000;
    }
    return NULL;
}
