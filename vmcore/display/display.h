/*
 * The guest's side of a display: what adapters (display/vga.c, virtio/gpu.c) do with it. The front end's side
 * is vmcore/display.h.
 *
 * A display shows either memory the guest draws into without telling, of which changes are found when a front
 * end collects, or what an adapter has pushed. It starts with the latter, black.
 *
 * Threads: any, also vCPUs: nothing here waits for a front end's drawing or takes longer than copying the
 * pixels it is given. Only vmc_display_release waits for a collect under way to end. An adapter that calls
 * from several threads sees to their order itself.
 */
#pragma once

#include "base/memory.h"
#include "display/pixels.h"
#include "vmcore/display.h"

#define VMC_DISPLAY_SIDE_MAX 16384u

/* A picture in a memory slot with a dirty log, of which the display is the taker. All of it lies inside the
 * slot. */
typedef struct VmcLinear {
    VmcMemory *memory;
    unsigned slot;
    uint64_t offset; /* of the first pixel, bytes */
    unsigned width, height;
    unsigned stride; /* bytes per row, at least those of its pixels */
    VmcPixelFormat format;
} VmcLinear;

/* A black display of this size, at most VMC_DISPLAY_SIDE_MAX each way. */
VmcDisplay *vmc_display_new(unsigned width, unsigned height);
/* NULL is fine. No front end may be left. */
void vmc_display_free(VmcDisplay *display);

/* From now on it shows what the guest writes there. */
void vmc_display_show_memory(VmcDisplay *display, const VmcLinear *linear);
/* From now on it shows what is pushed; black until then, unless its size stays the same: then it keeps the
 * picture it has, so that nothing flickers where one adapter follows another. */
void vmc_display_show_pushed(VmcDisplay *display, unsigned width, unsigned height);
/* A rectangle of the picture, cut off at its edges: `pixels` is its first, rows are `stride` bytes apart.
 * Ignored while memory is shown. */
void vmc_display_push(VmcDisplay *display, const VmcRect *rect, const uint8_t *pixels, unsigned stride,
                      VmcPixelFormat format);
/* The screen is off: black, in its present size. */
void vmc_display_blank(VmcDisplay *display);

/* Copies the image. NULL: the guest shows no pointer of its own. */
void vmc_display_set_cursor(VmcDisplay *display, const VmcCursor *cursor);
void vmc_display_move_cursor(VmcDisplay *display, int x, int y);

/* Who is asked by vmc_display_request_size, on its caller's thread; false: it cannot. It is not called any
 * more once another one, or NULL, is set. */
typedef bool (*VmcDisplayResize)(void *opaque, unsigned width, unsigned height);
void vmc_display_set_resize(VmcDisplay *display, VmcDisplayResize resize, void *opaque);

/* An adapter takes the display, which has been new or released. */
void vmc_display_adopt(VmcDisplay *display);
/* The adapter is about to go away, and memory it showed with it: the display keeps its picture, has no
 * pointer, and takes nothing of the above any more until it is adopted again. Waits for a collect under way;
 * not on a vCPU. Once more is harmless. */
void vmc_display_release(VmcDisplay *display);
