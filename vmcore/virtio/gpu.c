/*
 * Graphics: virtio-gpu in 2D mode (VIRTIO 1.2 s5.7), as the machine's primary adapter.
 *
 * To firmware, and to a kernel without the driver, it is a standard VGA: class 030000, BAR 0 video memory,
 * BAR 2 beginning with the VGA's registers (display/vga.h). The virtio structures lie behind these. Scanout 0
 * and the VGA share a display: it shows the VGA's framebuffer until a driver gives scanout 0 a resource, and
 * again after a reset of the device. Scanouts 1 to 3 are other displays.
 *
 * A picture's way: the guest draws into its memory, TRANSFER_TO_HOST_2D copies to the resource,
 * RESOURCE_FLUSH pushes from the resource to the displays that show it. A display keeps its own copy, so it
 * does not matter to a front end when the guest takes the resource away.
 *
 * Somebody who wants another size (a window) is put down as the monitor's preferred mode, in display info and
 * EDID, and the driver is told that the display changed (s5.7.5); what it makes of it is its decision.
 *
 * Commands are carried out when they come, in order, so a fenced command's reply needs no waiting.
 *
 * Threads: the I/O thread, but for configuration (vCPUs, atomics) and wishes for sizes (any thread, lock).
 */
#include <string.h>

#include "base/seeded.h"
#include "display/edid.h"
#include "virtio/devices.h"
#include "virtio/gpu_resource.h"
#include "virtio/virtio_pci.h"

#define QUEUE_CONTROL 0u
#define QUEUE_CURSOR  1u

#define BAR_VRAM   0u
#define BAR_REGS   2u
#define BAR_MSIX   4u
#define MIN_WIDTH  320u
#define MIN_HEIGHT 200u
#define MAX_SIDE   8192u

typedef struct Scanout {
    VmcDisplay *display;
    uint32_t resource_id; /* 0: off */
    GpuRect rect;         /* of the resource */
    /* The pointer, as it was last set. */
    bool has_cursor;
    uint32_t cursor[GPU_CURSOR_SIDE * GPU_CURSOR_SIDE], hot_x, hot_y, cursor_x, cursor_y;
} Scanout;

typedef struct Gpu {
    VmcVirtioDevice dev;
    VmcVga *vga;
    GpuResources resources;
    unsigned n_scanouts;
    Scanout scanouts[VMC_GPU_SCANOUTS];
    VmcVirtqElement elem;

    _Atomic uint32_t events; /* GPU_EVENT_..., until the driver clears them */
    GMutex lock;             /* all below */
    bool open;               /* there is a driver */
    struct Wish {
        struct Gpu *gpu;
        unsigned width, height;
    } wishes[VMC_GPU_SCANOUTS]; /* the sizes the monitors prefer */
} Gpu;

typedef struct Reply {
    uint32_t length; /* of what is behind the header, bytes */
    union {
        GpuDisplayInfo info;
        GpuEdid edid;
    };
} Reply;

/* ---- configuration (vCPUs) ---- */

static void config_read(VmcVirtioDevice *dev, uint32_t offset, void *buf, size_t len)
{
    Gpu *gpu = (Gpu *)dev;
    GpuConfig config = {
        .events_read = GUINT32_TO_LE(gpu->events),
        .num_scanouts = GUINT32_TO_LE(gpu->n_scanouts),
    };

    memcpy(buf, (uint8_t *)&config + offset, len);
}

static void config_write(VmcVirtioDevice *dev, uint32_t offset, const void *buf, size_t len)
{
    uint32_t bits;

    if (offset != offsetof(GpuConfig, events_clear) || len != sizeof bits)
        return;
    memcpy(&bits, buf, sizeof bits);
    atomic_fetch_and(&((Gpu *)dev)->events, ~GUINT32_FROM_LE(bits));
}

/* ---- sizes (any thread) ---- */

static bool wish_size(void *opaque, unsigned width, unsigned height)
{
    struct Wish *wish = opaque;
    Gpu *gpu = wish->gpu;

    width = CLAMP(width, MIN_WIDTH, MAX_SIDE);
    height = CLAMP(height, MIN_HEIGHT, MAX_SIDE);
    g_mutex_lock(&gpu->lock);
    bool told = gpu->open, changed = wish->width != width || wish->height != height;
    if (told) {
        wish->width = width;
        wish->height = height;
    }
    g_mutex_unlock(&gpu->lock);
    if (told && changed) {
        atomic_fetch_or(&gpu->events, GPU_EVENT_DISPLAY);
        vmc_virtio_config_changed(&gpu->dev);
    }
    return told;
}

static void get_wish(Gpu *gpu, unsigned scanout, unsigned *width, unsigned *height)
{
    g_mutex_lock(&gpu->lock);
    *width = gpu->wishes[scanout].width;
    *height = gpu->wishes[scanout].height;
    g_mutex_unlock(&gpu->lock);
}

static uint32_t get_display_info(Gpu *gpu, const void *body, Reply *reply)
{
    uint32_t x = 0; /* side by side: front ends tell where the pointer is by that */

    for (unsigned i = 0; i < gpu->n_scanouts; i++) {
        unsigned width, height;

        get_wish(gpu, i, &width, &height);
        reply->info.modes[i].rect.x = GUINT32_TO_LE(x);
        x += width;
        reply->info.modes[i].rect.width = GUINT32_TO_LE(width);
        reply->info.modes[i].rect.height = GUINT32_TO_LE(height);
        reply->info.modes[i].enabled = GUINT32_TO_LE(1);
    }
    reply->length = sizeof reply->info;
    return GPU_OK_DISPLAY_INFO;
}

static uint32_t get_edid(Gpu *gpu, const void *body, Reply *reply)
{
    const GpuGetEdid *request = body;
    uint32_t scanout = GUINT32_FROM_LE(request->scanout);
    unsigned width, height;

    if (scanout >= gpu->n_scanouts)
        return GPU_ERR_SCANOUT;
    get_wish(gpu, scanout, &width, &height);
    size_t size = vmc_edid_make(reply->edid.edid, width, height, scanout);
    reply->edid.size = GUINT32_TO_LE((uint32_t)size);
    reply->length = sizeof reply->edid;
    return GPU_OK_EDID;
}

/* ---- scanouts ---- */

static GpuRect rect_from_le(const GpuRect *le)
{
    return (GpuRect){GUINT32_FROM_LE(le->x), GUINT32_FROM_LE(le->y), GUINT32_FROM_LE(le->width),
                     GUINT32_FROM_LE(le->height)};
}

/* What a scanout shows of a rectangle of its resource. */
static void push(const Scanout *scanout, const GpuResource *resource, const GpuRect *rect)
{
    const GpuRect *shown = &scanout->rect;
    uint32_t left = MAX(rect->x, shown->x), top = MAX(rect->y, shown->y);
    uint32_t right = MIN(rect->x + rect->width, shown->x + shown->width);
    uint32_t bottom = MIN(rect->y + rect->height, shown->y + shown->height);

    if (left >= right || top >= bottom)
        return;
    VmcRect to = {left - shown->x, top - shown->y, right - left, bottom - top};
    vmc_display_push(scanout->display, &to, gpu_resource_pixel(resource, left, top),
                     gpu_resource_stride(resource), resource->format);
}

static void switch_off(Scanout *scanout)
{
    if (!scanout->resource_id)
        return;
    scanout->resource_id = 0;
    vmc_display_blank(scanout->display);
}

static uint32_t set_scanout(Gpu *gpu, const void *body, Reply *reply)
{
    const GpuSetScanout *request = body;
    uint32_t number = GUINT32_FROM_LE(request->scanout_id), id = GUINT32_FROM_LE(request->resource_id);
    GpuRect rect = rect_from_le(&request->rect);

    if (number >= gpu->n_scanouts)
        return GPU_ERR_SCANOUT;
    Scanout *scanout = &gpu->scanouts[number];
    if (!id) {
        switch_off(scanout);
        return GPU_OK;
    }
    const GpuResource *resource = gpu_resource_find(&gpu->resources, id);
    if (!resource)
        return GPU_ERR_RESOURCE;
    if (!gpu_rect_fits(resource, &rect))
        return GPU_ERR_PARAMETER;
    scanout->resource_id = id;
    scanout->rect = rect;
    if (number == 0)
        vmc_vga_hide(gpu->vga, true);
    vmc_display_show_pushed(scanout->display, rect.width, rect.height);
    push(scanout, resource, &rect);
    return GPU_OK;
}

static uint32_t resource_flush(Gpu *gpu, const void *body, Reply *reply)
{
    const GpuFlush *request = body;
    GpuRect rect = rect_from_le(&request->rect);
    const GpuResource *resource = gpu_resource_find(&gpu->resources, GUINT32_FROM_LE(request->resource_id));

    if (!resource)
        return GPU_ERR_RESOURCE;
    if (!gpu_rect_fits(resource, &rect))
        return GPU_ERR_PARAMETER;
    for (unsigned i = 0; i < gpu->n_scanouts; i++)
        if (gpu->scanouts[i].resource_id == resource->id)
            push(&gpu->scanouts[i], resource, &rect);
    return GPU_OK;
}

/* ---- resources ---- */

static uint32_t resource_create_2d(Gpu *gpu, const void *body, Reply *reply)
{
    const GpuCreate2d *le = body;
    GpuCreate2d create = {GUINT32_FROM_LE(le->resource_id), GUINT32_FROM_LE(le->format),
                          GUINT32_FROM_LE(le->width), GUINT32_FROM_LE(le->height)};

    return gpu_resource_create(&gpu->resources, &create);
}

static uint32_t resource_unref(Gpu *gpu, const void *body, Reply *reply)
{
    const GpuResourceId *request = body;
    uint32_t id = GUINT32_FROM_LE(request->resource_id);

    if (!gpu_resource_find(&gpu->resources, id))
        return GPU_ERR_RESOURCE;
    for (unsigned i = 0; i < gpu->n_scanouts; i++)
        if (gpu->scanouts[i].resource_id == id)
            switch_off(&gpu->scanouts[i]);
    return gpu_resource_unref(&gpu->resources, id);
}

static uint32_t attach_backing(Gpu *gpu, const void *body, Reply *reply)
{
    const GpuAttach *le = body;
    GpuAttach attach = {GUINT32_FROM_LE(le->resource_id), GUINT32_FROM_LE(le->n_entries)};

    return gpu_resource_attach(&gpu->resources, &attach, &gpu->elem);
}

static uint32_t detach_backing(Gpu *gpu, const void *body, Reply *reply)
{
    const GpuResourceId *request = body;

    return gpu_resource_detach(&gpu->resources, GUINT32_FROM_LE(request->resource_id));
}

static uint32_t transfer_to_host_2d(Gpu *gpu, const void *body, Reply *reply)
{
    const GpuTransfer *le = body;
    GpuTransfer transfer = {
        .rect = rect_from_le(&le->rect),
        .offset = GUINT64_FROM_LE(le->offset),
        .resource_id = GUINT32_FROM_LE(le->resource_id),
    };

    return gpu_resource_transfer(&gpu->resources, &transfer);
}

/* ---- the pointer ---- */

/* Has the display show the pointer as it is here. */
static void show_cursor(const Scanout *scanout)
{
    VmcCursor cursor = {
        .width = GPU_CURSOR_SIDE,
        .height = GPU_CURSOR_SIDE,
        .hot_x = scanout->hot_x,
        .hot_y = scanout->hot_y,
        .pixels = scanout->cursor,
    };

    vmc_display_set_cursor(scanout->display, scanout->has_cursor ? &cursor : NULL);
}

static void define_cursor(Gpu *gpu, Scanout *scanout, const GpuCursor *request)
{
    const GpuResource *resource = gpu_resource_find(&gpu->resources, GUINT32_FROM_LE(request->resource_id));
    uint32_t *image = scanout->cursor;

    /* s5.7.6.10: 64 by 64 pixels; another size would not be what `image` has room for. */
    if (!resource || ((resource->width != GPU_CURSOR_SIDE || resource->height != GPU_CURSOR_SIDE) &&
                      !VMC_SEEDED(CURSOR_SIZE)))
        return;
    vmc_pixels_convert(resource->format, image, resource->pixels, GPU_CURSOR_SIDE * GPU_CURSOR_SIDE);
    for (unsigned i = 0; i < G_N_ELEMENTS(scanout->cursor) && !vmc_pixels_has_alpha(resource->format); i++)
        image[i] |= 0xff000000;
    scanout->hot_x = MIN(GUINT32_FROM_LE(request->hot_x), GPU_CURSOR_SIDE - 1);
    scanout->hot_y = MIN(GUINT32_FROM_LE(request->hot_y), GPU_CURSOR_SIDE - 1);
    scanout->has_cursor = true;
    show_cursor(scanout);
}

static void place_cursor(Scanout *scanout, const GpuCursor *request)
{
    scanout->cursor_x = GUINT32_FROM_LE(request->x);
    scanout->cursor_y = GUINT32_FROM_LE(request->y);
    vmc_display_move_cursor(scanout->display, (int)scanout->cursor_x, (int)scanout->cursor_y);
}

static void drop_cursor(Scanout *scanout)
{
    scanout->has_cursor = false;
    show_cursor(scanout);
}

static uint32_t update_cursor(Gpu *gpu, const void *body, Reply *reply)
{
    const GpuCursor *request = body;
    uint32_t number = GUINT32_FROM_LE(request->scanout_id);

    if (number >= gpu->n_scanouts)
        return GPU_ERR_SCANOUT;
    if (request->resource_id)
        define_cursor(gpu, &gpu->scanouts[number], request);
    else
        drop_cursor(&gpu->scanouts[number]);
    place_cursor(&gpu->scanouts[number], request);
    return GPU_OK;
}

static uint32_t move_cursor(Gpu *gpu, const void *body, Reply *reply)
{
    const GpuCursor *request = body;
    uint32_t number = GUINT32_FROM_LE(request->scanout_id);

    if (number >= gpu->n_scanouts)
        return GPU_ERR_SCANOUT;
    place_cursor(&gpu->scanouts[number], request);
    return GPU_OK;
}

/* ---- the queues ---- */

typedef struct Command {
    uint32_t type;
    unsigned queue;
    size_t size; /* of the body */
    uint32_t (*run)(Gpu *gpu, const void *body, Reply *reply);
} Command;

static const Command commands[] = {
    {GPU_GET_DISPLAY_INFO, QUEUE_CONTROL, 0, get_display_info},
    {GPU_GET_EDID, QUEUE_CONTROL, sizeof(GpuGetEdid), get_edid},
    {GPU_RESOURCE_CREATE_2D, QUEUE_CONTROL, sizeof(GpuCreate2d), resource_create_2d},
    {GPU_RESOURCE_UNREF, QUEUE_CONTROL, sizeof(GpuResourceId), resource_unref},
    {GPU_ATTACH_BACKING, QUEUE_CONTROL, sizeof(GpuAttach), attach_backing},
    {GPU_DETACH_BACKING, QUEUE_CONTROL, sizeof(GpuResourceId), detach_backing},
    {GPU_TRANSFER_TO_HOST_2D, QUEUE_CONTROL, sizeof(GpuTransfer), transfer_to_host_2d},
    {GPU_SET_SCANOUT, QUEUE_CONTROL, sizeof(GpuSetScanout), set_scanout},
    {GPU_RESOURCE_FLUSH, QUEUE_CONTROL, sizeof(GpuFlush), resource_flush},
    {GPU_UPDATE_CURSOR, QUEUE_CURSOR, sizeof(GpuCursor), update_cursor},
    {GPU_MOVE_CURSOR, QUEUE_CURSOR, sizeof(GpuCursor), move_cursor},
};

static uint32_t run_command(Gpu *gpu, unsigned queue, const GpuHeader *header, Reply *reply)
{
    uint64_t body[8]; /* the largest and aligned */
    uint32_t type = GUINT32_FROM_LE(header->type);

    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        const Command *command = &commands[i];

        if (command->type != type || command->queue != queue)
            continue;
        if (vmc_virtq_element_read(&gpu->elem, body, command->size) < command->size)
            return GPU_ERR_PARAMETER;
        return command->run(gpu, body, reply);
    }
    return GPU_ERR_UNSPEC;
}

/* The chain's answer. On the cursor's queue drivers give no room for one. */
static uint32_t answer(Gpu *gpu, const GpuHeader *request, uint32_t type, const Reply *reply)
{
    uint32_t flags = GUINT32_FROM_LE(request->flags);
    GpuHeader header = {.type = GUINT32_TO_LE(type)};
    size_t n;

    if (flags & GPU_FLAG_FENCE) {
        header.flags = GUINT32_TO_LE(flags & (GPU_FLAG_FENCE | GPU_FLAG_RING));
        header.fence_id = request->fence_id;
        header.ctx_id = request->ctx_id;
        header.ring_idx = request->ring_idx;
    }
    n = vmc_virtq_element_write(&gpu->elem, &header, sizeof header);
    if (n == sizeof header)
        n += vmc_virtq_element_write(&gpu->elem, &reply->info, reply->length);
    return (uint32_t)n;
}

static void serve(Gpu *gpu, unsigned queue)
{
    GpuHeader header = {0};
    Reply reply = {0};
    uint32_t type = GPU_ERR_PARAMETER;

    if (vmc_virtq_element_read(&gpu->elem, &header, sizeof header) == sizeof header)
        type = run_command(gpu, queue, &header, &reply);
    vmc_virtio_push(&gpu->dev, queue, &gpu->elem, answer(gpu, &header, type, &reply));
}

static void queue_notified(VmcVirtioDevice *dev, unsigned queue)
{
    Gpu *gpu = (Gpu *)dev;

    /* One ring's worth, then others have their turn. */
    for (unsigned n = 0; n < dev->queues[queue].max_size && vmc_virtio_pop(dev, queue, &gpu->elem); n++)
        serve(gpu, queue);
    vmc_virtqueue_set_notification(&dev->queues[queue], true);
    vmc_virtio_notify(dev, queue);
    if (vmc_virtqueue_available(&dev->queues[queue]))
        vmc_virtio_kick(dev, queue);
}

/* ---- the VGA at the front of the BAR (vCPUs) ---- */

static uint64_t vga_read(VmcVirtioDevice *dev, uint64_t offset, unsigned size)
{
    return vmc_vga_mmio_read(((Gpu *)dev)->vga, offset, size);
}

static void vga_write(VmcVirtioDevice *dev, uint64_t offset, unsigned size, uint64_t value)
{
    vmc_vga_mmio_write(((Gpu *)dev)->vga, offset, size, value);
}

static void power_on(VmcVirtioDevice *dev)
{
    vmc_vga_reset(((Gpu *)dev)->vga);
}

/* ---- lifecycle ---- */

static void set_open(Gpu *gpu, bool open)
{
    g_mutex_lock(&gpu->lock);
    gpu->open = open;
    g_mutex_unlock(&gpu->lock);
}

static void driver_ok(VmcVirtioDevice *dev)
{
    set_open((Gpu *)dev, true);
}

static bool reset(VmcVirtioDevice *dev)
{
    Gpu *gpu = (Gpu *)dev;

    set_open(gpu, false);
    gpu->events = 0;
    for (unsigned i = 0; i < gpu->n_scanouts; i++) {
        Scanout *scanout = &gpu->scanouts[i];

        drop_cursor(scanout);
        if (i == 0)
            scanout->resource_id = 0; /* the VGA's picture follows at once */
        else
            switch_off(scanout);
    }
    vmc_vga_hide(gpu->vga, false);
    gpu_resources_drop_all(&gpu->resources);
    return true;
}

/* ---- saving ---- */

static void save_scanout(const Scanout *scanout, VmcStateWriter *w)
{
    vmc_state_put_u32(w, scanout->resource_id);
    vmc_state_put_u32(w, scanout->rect.x);
    vmc_state_put_u32(w, scanout->rect.y);
    vmc_state_put_u32(w, scanout->rect.width);
    vmc_state_put_u32(w, scanout->rect.height);
    vmc_state_put_bool(w, scanout->has_cursor);
    if (scanout->has_cursor)
        vmc_state_put_bytes(w, scanout->cursor, sizeof scanout->cursor);
    vmc_state_put_u32(w, scanout->hot_x);
    vmc_state_put_u32(w, scanout->hot_y);
    vmc_state_put_u32(w, scanout->cursor_x);
    vmc_state_put_u32(w, scanout->cursor_y);
}

static void save(VmcVirtioDevice *dev, VmcStateWriter *w)
{
    Gpu *gpu = (Gpu *)dev;

    vmc_vga_save(gpu->vga, w);
    gpu_resources_save(&gpu->resources, w);
    vmc_state_put_u32(w, gpu->events);
    vmc_state_put_u8(w, (uint8_t)gpu->n_scanouts);
    for (unsigned i = 0; i < gpu->n_scanouts; i++) {
        unsigned width, height;
        save_scanout(&gpu->scanouts[i], w);
        get_wish(gpu, i, &width, &height);
        vmc_state_put_u32(w, width);
        vmc_state_put_u32(w, height);
    }
}

/* Its picture is pushed to the display at once, as a driver would. */
static void load_scanout(Gpu *gpu, Scanout *scanout, VmcStateReader *r)
{
    uint32_t id = vmc_state_get_u32(r);
    GpuRect *rect = &scanout->rect;

    rect->x = vmc_state_get_u32(r);
    rect->y = vmc_state_get_u32(r);
    rect->width = vmc_state_get_u32(r);
    rect->height = vmc_state_get_u32(r);
    scanout->has_cursor = vmc_state_get_bool(r);
    if (scanout->has_cursor)
        vmc_state_get_bytes(r, scanout->cursor, sizeof scanout->cursor);
    scanout->hot_x = vmc_state_get_u32_max(r, GPU_CURSOR_SIDE - 1);
    scanout->hot_y = vmc_state_get_u32_max(r, GPU_CURSOR_SIDE - 1);
    scanout->cursor_x = vmc_state_get_u32(r);
    scanout->cursor_y = vmc_state_get_u32(r);
    const GpuResource *resource = id ? gpu_resource_find(&gpu->resources, id) : NULL;
    if (!vmc_state_check(r, !id || (resource && gpu_rect_fits(resource, rect)), "what a display shows"))
        return;
    scanout->resource_id = id;
    if (id) {
        vmc_display_show_pushed(scanout->display, rect->width, rect->height);
        push(scanout, resource, rect);
    }
    show_cursor(scanout);
    vmc_display_move_cursor(scanout->display, (int)scanout->cursor_x, (int)scanout->cursor_y);
}

static bool load(VmcVirtioDevice *dev, VmcStateReader *r)
{
    Gpu *gpu = (Gpu *)dev;

    if (!vmc_vga_load(gpu->vga, r))
        return false;
    gpu_resources_load(&gpu->resources, r);
    gpu->events = vmc_state_get_u32(r);
    vmc_state_check(r, vmc_state_get_u8(r) == gpu->n_scanouts, "how many displays it has");
    for (unsigned i = 0; i < gpu->n_scanouts && vmc_state_ok(r); i++) {
        load_scanout(gpu, &gpu->scanouts[i], r);
        unsigned width = vmc_state_get_u32_max(r, MAX_SIDE), height = vmc_state_get_u32_max(r, MAX_SIDE);
        vmc_state_check(r, width >= MIN_WIDTH && height >= MIN_HEIGHT, "the size of a monitor");
        g_mutex_lock(&gpu->lock);
        gpu->wishes[i].width = width;
        gpu->wishes[i].height = height;
        g_mutex_unlock(&gpu->lock);
    }
    set_open(gpu, dev->running);
    return vmc_state_ok(r);
}

static void gpu_free(VmcVirtioDevice *dev)
{
    Gpu *gpu = (Gpu *)dev;

    for (unsigned i = 0; i < gpu->n_scanouts; i++)
        vmc_display_release(gpu->scanouts[i].display);
    vmc_vga_free(gpu->vga);
    gpu_resources_clear(&gpu->resources);
    vmc_virtq_element_clear(&gpu->elem);
    g_mutex_clear(&gpu->lock);
    g_free(gpu);
}

static const VmcVirtioOps ops = {
    .name = "virtio-gpu",
    .type = VMC_VIRTIO_ID_GPU,
    .pci_class = 0x030000,
    .config_size = sizeof(GpuConfig),
    .n_queues = 2,
    .queue_sizes = {256, 16},
    .config_read = config_read,
    .config_write = config_write,
    .driver_ok = driver_ok,
    .queue_notified = queue_notified,
    .reset = reset,
    .free = gpu_free,
    .save = save,
    .load = load,
};

static const VmcVirtioPciLayout layout = {
    .registers_bar = BAR_REGS,
    .registers_at = VMC_VGA_MMIO_SIZE,
    .msix_bar = BAR_MSIX,
    .read = vga_read,
    .write = vga_write,
    .power_on = power_on,
};

VmcPciDevice *vmc_virtio_gpu_new(const VmcVirtioHost *host, const VmcGpuParams *params)
{
    Gpu *gpu = g_new0(Gpu, 1);

    vmc_virtio_device_init(&gpu->dev, &ops, host->memory, host->io);
    gpu->dev.offered = GPU_F_EDID;
    gpu->vga = params->vga;
    gpu->n_scanouts = MIN(params->n_displays, VMC_GPU_SCANOUTS);
    gpu_resources_init(&gpu->resources, host->memory);
    g_mutex_init(&gpu->lock);
    for (unsigned i = 0; i < gpu->n_scanouts; i++) {
        gpu->scanouts[i].display = params->displays[i];
        vmc_display_adopt(params->displays[i]);
        gpu->wishes[i] = (struct Wish){gpu, params->width, params->height};
    }
    VmcPciDevice *pci = vmc_virtio_pci_new_at(&gpu->dev, &layout);
    if (!pci)
        return NULL;
    vmc_vga_set_bar(gpu->vga, pci, BAR_VRAM);
    for (unsigned i = 0; i < gpu->n_scanouts; i++)
        vmc_display_set_resize(gpu->scanouts[i].display, wish_size, &gpu->wishes[i]);
    return pci;
}
