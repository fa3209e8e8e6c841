/* Displays. The plain framebuffer is memory, made with the machine's other memory (build.c). */
#include "machine/devices/kind.h"

#define MIN_WIDTH      320u
#define MIN_HEIGHT     200u
#define MAX_SIDE       8192u
#define DEFAULT_WIDTH  1280u
#define DEFAULT_HEIGHT 800u

static void check_display(VmcCheck *check, const VmcDeviceConfig *device)
{
    unsigned width = device->display.width, height = device->display.height;

    if (width < MIN_WIDTH || height < MIN_HEIGHT || width > MAX_SIDE || height > MAX_SIDE)
        vmc_check_fault(check, NULL, "a display cannot be %u by %u pixels; give %u by %u to %u by %u", width,
                        height, MIN_WIDTH, MIN_HEIGHT, MAX_SIDE, MAX_SIDE);
}

static const VmcField fields[] = {
    VMC_FIELD("width", "Width", NUMBER, display.width, .value = "N", .preset = DEFAULT_WIDTH),
    VMC_FIELD("height", "Height", NUMBER, display.height, .value = "N", .preset = DEFAULT_HEIGHT),
};

const VmcDeviceKindOps vmc_kind_framebuffer = {
    .info = {.name = "virtio-gpu",
             .key = "Framebuffer",
             .help = "display, for now a plain framebuffer",
             VMC_FIELDS(fields)},
    .check = check_display,
};
