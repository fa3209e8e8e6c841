/*
 * Displays: the primary adapter of a machine, of which there is one at most.
 *
 * The machine's displays are there before the adapter and outlive it (machine.c); here it is given them.
 */
#include <string.h>

#include "display/display.h"
#include "base/i18n.h"
#include "machine/devices/kind.h"

#define MIN_WIDTH      320u
#define MIN_HEIGHT     200u
#define MAX_SIDE       8192u
#define DEFAULT_WIDTH  1280u
#define DEFAULT_HEIGHT 800u

/* ---- making them ---- */

static VmcVga *make_vga(VmcGuest *guest, const VmcDisplayConfig *config, GError **error)
{
    VmcVgaParams params = {
        .memory = guest->memory,
        .pio = guest->pio,
        .display = guest->machine->displays[0],
        .width = config->width,
        .height = config->height,
    };

    return vmc_vga_new(&params, error);
}

static bool add_card(VmcGuest *guest, guint index, VmcVga *vga, VmcPciDevice *card, GError **error)
{
    if (!vmc_guest_add_pci(guest, index, card, error))
        return false;
    guest->vga = vga;
    guest->vga_card = card;
    return true;
}

static bool make_vga_card(VmcGuest *guest, guint index, GError **error)
{
    VmcVga *vga = make_vga(guest, &vmc_guest_config(guest, index)->display, error);

    return vga && add_card(guest, index, vga, vmc_vga_pci_new(vga), error);
}

static bool make_gpu(VmcGuest *guest, guint index, GError **error)
{
    const VmcDisplayConfig *config = &vmc_guest_config(guest, index)->display;
    VmcVirtioHost host = vmc_guest_virtio_host(guest);
    VmcGpuParams params = {
        .vga = make_vga(guest, config, error),
        .n_displays = guest->machine->n_displays,
        .width = config->width,
        .height = config->height,
    };

    if (!params.vga)
        return false;
    memcpy(params.displays, guest->machine->displays, sizeof params.displays);
    return add_card(guest, index, params.vga, vmc_virtio_gpu_new(&host, &params), error);
}

/* ---- what can be done with them ---- */

enum { ACTION_RESIZE, ACTION_SCREENSHOT };

static const VmcAction actions[] = {
    [ACTION_RESIZE] = {"resize", "WIDTH HEIGHT [DISPLAY]", 2, 3,
                       N_("asks the guest for another size in pixels")},
    [ACTION_SCREENSHOT] = {"screenshot", "FILE [DISPLAY]", 1, 2,
                           N_("writes the picture as PNG, says its hash")},
};

/* The display an argument names, from 0 on; the first without one. */
static VmcDisplay *named_display(VmcGuest *guest, const char *argument, GError **error)
{
    guint64 number = 0;

    if (argument &&
        !g_ascii_string_to_unsigned(argument, 10, 0, guest->machine->n_displays - 1, &number, NULL)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG, _("There is no display “%s”; give 0 to %u"), argument,
                    guest->machine->n_displays - 1);
        return NULL;
    }
    return guest->machine->displays[number];
}

static bool resize(VmcGuest *guest, const char *const *arguments, GError **error)
{
    VmcDisplay *display = named_display(guest, arguments[2], error);
    guint64 width, height;

    if (!display)
        return false;
    if (!g_ascii_string_to_unsigned(arguments[0], 10, MIN_WIDTH, MAX_SIDE, &width, NULL) ||
        !g_ascii_string_to_unsigned(arguments[1], 10, MIN_HEIGHT, MAX_SIDE, &height, NULL)) {
        g_set_error(error, VMC_ERROR, VMC_ERROR_CONFIG,
                    _("“%s %s” is no size of a display; give %u by %u to %u by %u pixels"), arguments[0],
                    arguments[1], MIN_WIDTH, MIN_HEIGHT, MAX_SIDE, MAX_SIDE);
        return false;
    }
    if (vmc_display_request_size(display, (unsigned)width, (unsigned)height))
        return true;
    g_set_error_literal(error, VMC_ERROR, VMC_ERROR_STATE,
                        _("The guest has no driver for this display that could change its size"));
    return false;
}

static void describe_pointer(VmcDisplay *display, GString *reply)
{
    uint32_t pixels[VMC_CURSOR_SIDE * VMC_CURSOR_SIDE];
    VmcCursor cursor;
    int x, y;

    if (!vmc_display_get_cursor(display, &cursor, pixels, &x, &y))
        return;
    g_autofree char *hash = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)pixels,
                                                        (gsize)cursor.width * cursor.height * 4);
    g_string_append_printf(reply, "\npointer %u x %u at %d %d, hot spot %u %u, %s", cursor.width,
                           cursor.height, x, y, cursor.hot_x, cursor.hot_y, hash);
}

static bool screenshot(VmcGuest *guest, const char *const *arguments, GString *reply, GError **error)
{
    VmcDisplay *display = named_display(guest, arguments[1], error);
    VmcFrame frame;

    if (!display)
        return false;
    vmc_display_take_picture(display, &frame);
    g_autofree char *hash = vmc_frame_hash(&frame);
    bool ok = vmc_frame_write_png(&frame, arguments[0], error);
    g_string_append_printf(reply, "%u x %u %s", frame.width, frame.height, hash);
    describe_pointer(display, reply);
    vmc_picture_clear(&frame);
    return ok;
}

static bool act_on_display(VmcGuest *guest, guint index, unsigned action, const char *const *arguments,
                           GString *reply, GError **error)
{
    return action == ACTION_RESIZE ? resize(guest, arguments, error)
                                   : screenshot(guest, arguments, reply, error);
}

/* ---- the kinds ---- */

static const VmcField gpu_fields[] = {
    VMC_FIELD("width", "Width", NUMBER, display.width, .value = "N", .preset = DEFAULT_WIDTH,
              .min = MIN_WIDTH, .max = MAX_SIDE),
    VMC_FIELD("height", "Height", NUMBER, display.height, .value = "N", .preset = DEFAULT_HEIGHT,
              .min = MIN_HEIGHT, .max = MAX_SIDE),
    VMC_FIELD("displays", "Displays", NUMBER, display.displays, .value = "N", .preset = 1, .min = 1,
              .max = VMC_GPU_SCANOUTS),
};

static const VmcField vga_fields[] = {
    VMC_FIELD("width", "Width", NUMBER, display.width, .value = "N", .preset = DEFAULT_WIDTH,
              .min = MIN_WIDTH, .max = MAX_SIDE),
    VMC_FIELD("height", "Height", NUMBER, display.height, .value = "N", .preset = DEFAULT_HEIGHT,
              .min = MIN_HEIGHT, .max = MAX_SIDE),
};

const VmcDeviceKindOps vmc_kind_gpu = {
    .info = {.name = "virtio-gpu",
             .key = "VirtioGPU",
             .help = N_("display that follows its window, VGA without a driver"),
             VMC_FIELDS(gpu_fields),
             VMC_ACTIONS(actions)},
    .pci = true,
    .make = make_gpu,
    .act = act_on_display,
};

const VmcDeviceKindOps vmc_kind_vga = {
    .info = {.name = "vga",
             .key = "VGA",
             .help = N_("display, a plain framebuffer"),
             VMC_FIELDS(vga_fields),
             VMC_ACTIONS(actions)},
    .pci = true,
    .make = make_vga_card,
    .act = act_on_display,
};
