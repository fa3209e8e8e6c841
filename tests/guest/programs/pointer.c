/*
 * Shows a pointer through the kernel's cursor plane, moves it, and takes it away: a word on standard output
 * after each step, a line from standard input before the next.
 */
#include <drm.h>
#include <drm_mode.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define SIDE 64

static int card;

static void ask(unsigned long request, void *argument, const char *what)
{
    if (ioctl(card, request, argument) < 0) {
        perror(what);
        exit(1);
    }
}

static void step(const char *word)
{
    char line[16];

    puts(word);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        exit(1);
}

int main(void)
{
    uint32_t crtcs[8], connectors[8], encoders[8], fbs[8];
    struct drm_mode_card_res resources = {
        .crtc_id_ptr = (uintptr_t)crtcs,
        .connector_id_ptr = (uintptr_t)connectors,
        .encoder_id_ptr = (uintptr_t)encoders,
        .fb_id_ptr = (uintptr_t)fbs,
        .count_crtcs = 8,
        .count_connectors = 8,
        .count_encoders = 8,
        .count_fbs = 8,
    };
    struct drm_mode_create_dumb image = {.width = SIDE, .height = SIDE, .bpp = 32};
    struct drm_mode_map_dumb map = {0};

    card = open("/dev/dri/card0", O_RDWR);
    ask(DRM_IOCTL_MODE_GETRESOURCES, &resources, "resources");
    ask(DRM_IOCTL_MODE_CREATE_DUMB, &image, "image");
    map.handle = image.handle;
    ask(DRM_IOCTL_MODE_MAP_DUMB, &map, "map");
    uint8_t *pixels = mmap(NULL, image.size, PROT_READ | PROT_WRITE, MAP_SHARED, card, (off_t)map.offset);
    if (pixels == MAP_FAILED)
        return 1;
    for (uint32_t y = 0; y < SIDE; y++)
        for (uint32_t x = 0; x < SIDE; x++)
            ((uint32_t *)(pixels + y * image.pitch))[x] = 0xff000000u | y << 8 | x;

    struct drm_mode_cursor2 cursor = {
        .flags = DRM_MODE_CURSOR_BO | DRM_MODE_CURSOR_MOVE,
        .crtc_id = crtcs[0],
        .x = 100,
        .y = 50,
        .width = SIDE,
        .height = SIDE,
        .handle = image.handle,
        .hot_x = 3,
        .hot_y = 7,
    };
    ask(DRM_IOCTL_MODE_CURSOR2, &cursor, "show");
    step("shown");
    cursor.flags = DRM_MODE_CURSOR_MOVE;
    cursor.x = 200;
    ask(DRM_IOCTL_MODE_CURSOR2, &cursor, "move");
    step("moved");
    cursor.flags = DRM_MODE_CURSOR_BO;
    cursor.handle = 0;
    ask(DRM_IOCTL_MODE_CURSOR2, &cursor, "hide");
    step("hidden");
    return 0;
}
