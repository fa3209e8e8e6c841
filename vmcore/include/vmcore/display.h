/*
 * A display: one screen of a machine, from the side of whoever shows it.
 *
 * A machine keeps its displays for as long as it lives (vmc_machine_get_display); guests come and go. What a
 * display shows may change its source at any time: firmware draws into a linear framebuffer, a driver takes
 * over with virtio-gpu, a reset gives it back. A front end notices no more of that than another size.
 *
 * Pixels are pulled. vmc_display_collect gives the rectangles that changed since the last call, and a frame
 * that stays as it is until the next call: it is the display's own copy, which the guest cannot reach. So a
 * front end draws what it was given without any lock, and must be done with it, or have copied it, when it
 * collects again.
 *
 * Everything else is pushed, to the functions of one VmcDisplayFrontend. They are called on the machine's
 * threads (a vCPU's, the I/O thread) as well as on those that call functions of this file, never two at a
 * time for one display, and must only take note and return: no drawing, no waiting, no call of a vmc_display_
 * function. A front end with a main loop posts to it.
 *
 * Threads: vmc_display_collect on one thread at a time; everything else on any.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

G_BEGIN_DECLS

typedef struct VmcDisplay VmcDisplay;

typedef struct VmcRect {
    unsigned x, y, width, height; /* pixels */
} VmcRect;

typedef struct VmcFrame {
    unsigned width, height; /* pixels */
    unsigned stride;        /* bytes per row */
    const uint8_t *pixels;  /* XRGB8888 little-endian: bytes B, G, R, X; X has no meaning */
    unsigned n_damage;
    VmcRect damage[64]; /* changed since the last collect; never overlapping */
    uint64_t serial;    /* grows whenever there was damage */
} VmcFrame;

/* Fills `frame`. True if there is damage: all of it the first time, with another size, and after
 * vmc_display_refresh. */
bool vmc_display_collect(VmcDisplay *display, VmcFrame *frame);
/* Makes the next collect report everything as damaged (a new window, a lost GL context). */
void vmc_display_refresh(VmcDisplay *display);
/* The size of the picture now, pixels; that of the next frame, unless it changes again. */
void vmc_display_get_size(VmcDisplay *display, unsigned *width, unsigned *height);
/* Whether collect has to be called from time to time to find out if something has changed, because the guest
 * draws into memory. If not, `damaged` tells. */
bool vmc_display_needs_polling(VmcDisplay *display);

#define VMC_CURSOR_SIDE 64u

/* A pointer's shape. */
typedef struct VmcCursor {
    unsigned width, height; /* pixels, 1 to VMC_CURSOR_SIDE */
    unsigned hot_x, hot_y;  /* the pixel that points, inside */
    const uint32_t *pixels; /* ARGB, premultiplied, in host order, row after row without gaps */
} VmcCursor;

/* The pointer the guest shows, its image in `pixels`, and where its hot spot is; false: none. */
bool vmc_display_get_cursor(VmcDisplay *display, VmcCursor *cursor,
                            uint32_t pixels[VMC_CURSOR_SIDE * VMC_CURSOR_SIDE], int *x, int *y);

/* What a front end wants to be told. `size` is sizeof(VmcDisplayFrontend) of the header it was compiled with;
 * functions behind that, and those that are NULL, are not called. `opaque` is what was given with it. */
typedef struct VmcDisplayFrontend {
    uint32_t size;
    uint32_t features; /* none yet; 0 */
    /* There is, or may be, damage to be collected. Once, until the next collect. */
    void (*damaged)(void *opaque);
    /* The picture has another size; the next collect brings all of it. */
    void (*resized)(void *opaque, unsigned width, unsigned height);
    /* The guest draws no pointer into the picture any more but wants this one shown above it, or none (NULL).
     * The image is the display's and goes away when the function returns. */
    void (*cursor_defined)(void *opaque, const VmcCursor *cursor);
    /* Where the guest has put the pointer's hot spot, pixels of the picture; may lie outside. Only of
     * interest where the pointer is not the user's own. */
    void (*cursor_moved)(void *opaque, int x, int y);
    /* The guest has switched the screen on or off. Off, the picture is black. */
    void (*enabled)(void *opaque, bool on);
} VmcDisplayFrontend;

/* Makes `frontend` the one that is told, and tells it at once what there is now; NULL: nobody. Both pointers
 * stay the caller's and must live until another one is set; when the function returns none of the old one's
 * functions runs or will. */
void vmc_display_set_frontend(VmcDisplay *display, const VmcDisplayFrontend *frontend, void *opaque);

/* Asks the guest to make the picture this large, pixels, as when a monitor is exchanged; what is too small or
 * large is brought to the nearest size that goes. It may do so later, or not at all. False: there is no
 * driver that could, and the guest will not be told. */
bool vmc_display_request_size(VmcDisplay *display, unsigned width, unsigned height);

/* What the display shows at this moment, whoever its front end is: `frame`, without damage, has pixels of its
 * own, which the caller gives to vmc_picture_clear. */
void vmc_display_take_picture(VmcDisplay *display, VmcFrame *frame);
void vmc_picture_clear(VmcFrame *frame);

/* SHA-256 of a frame in hexadecimal: its size and the colours of its pixels. The caller frees it. */
char *vmc_frame_hash(const VmcFrame *frame);
/* A frame as the bytes of a PNG file, which the caller owns; NULL with an error of GIO's: no memory for it.
 */
GBytes *vmc_frame_to_png(const VmcFrame *frame, GError **error);
/* Writes a frame as PNG. False with an error of GIO's if the file cannot be written. */
bool vmc_frame_write_png(const VmcFrame *frame, const char *path, GError **error);

G_END_DECLS
