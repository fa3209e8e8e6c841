/*
 * virtio-gpu: resources with backing anywhere, rectangles of any size, scanouts and pointers, while a front
 * end collects and wishes for sizes; and the VGA's registers at the front of the same BAR.
 *
 * covers: vmcore/virtio/gpu.c vmcore/virtio/gpu_resource.c
 */
#include "tests/fuzz/device.h"
#include "display/headless.h"
#include "display/vga.h"
#include "virtio/gpu_protocol.h"

#define WIDTH  320u
#define HEIGHT 200u
#define IDS    6u /* resources an input mostly uses */

typedef struct World {
    VmcDisplay *displays[VMC_GPU_SCANOUTS];
    VmcHeadless *frontends[VMC_GPU_SCANOUTS];
    unsigned n;
    VmcMemory *video; /* apart from the machine's, which is filled and summed up all the time */
} World;

static VmcVga *make_vga(FuzzMachine *m, VmcMemory *video, VmcDisplay *display)
{
    VmcVgaParams params = {
        .memory = video, .pio = m->pio, .display = display, .width = WIDTH, .height = HEIGHT};

    return vmc_vga_new(&params, NULL);
}

static VmcPciDevice *make(FuzzMachine *m, FuzzInput *in)
{
    World *world = g_new0(World, 1);
    VmcGpuParams params = {.width = WIDTH, .height = HEIGHT};

    m->own = world;
    world->n = params.n_displays = 1 + fuzz_below(in, VMC_GPU_SCANOUTS);
    for (unsigned i = 0; i < world->n; i++) {
        params.displays[i] = world->displays[i] = vmc_display_new(WIDTH, HEIGHT);
        world->frontends[i] = vmc_headless_new(world->displays[i]);
    }
    world->video = vmc_memory_new();
    params.vga = make_vga(m, world->video, world->displays[0]);
    return vmc_virtio_gpu_new(&m->host, &params);
}

static void unmake(FuzzMachine *m)
{
    World *world = m->own;

    for (unsigned i = 0; i < world->n; i++) {
        vmc_headless_free(world->frontends[i]);
        vmc_display_free(world->displays[i]);
    }
    vmc_memory_free(world->video);
    g_free(world);
}

static uint32_t any_id(FuzzInput *in)
{
    return fuzz_below(in, 16) ? 1 + fuzz_below(in, IDS) : fuzz_u32(in);
}

static uint32_t any_side(FuzzInput *in)
{
    static const uint32_t sides[] = {1, 64, 63, 65, 320, 200, 100, 16384, 16385, 0, 0x80000000, 0xffffffff};
    uint8_t choice = fuzz_u8(in);

    return choice < 160 ? 1u + choice : choice < 250 ? sides[choice % G_N_ELEMENTS(sides)] : fuzz_u32(in);
}

static GpuRect any_rect(FuzzInput *in)
{
    GpuRect rect = {0, 0, any_side(in), any_side(in)};

    if (fuzz_u8(in) & 1)
        rect.x = any_side(in);
    if (fuzz_u8(in) & 1)
        rect.y = any_side(in);
    return rect;
}

static size_t put(uint8_t *buf, const void *body, size_t n)
{
    memcpy(buf + sizeof(GpuHeader), body, n);
    return sizeof(GpuHeader) + n;
}

static size_t attach(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    GpuAttach body = {any_id(in), 1 + fuzz_below(in, 8)};
    size_t n = put(buf, &body, sizeof body);

    for (unsigned i = 0; i < body.n_entries; i++, n += sizeof(GpuEntry)) {
        GpuEntry entry = {.length = fuzz_below(in, 4) ? fuzz_u16(in) : any_side(in)};
        entry.address = fuzz_below(in, 4) ? fuzz_alloc(m, entry.length & 0xffff) : fuzz_address(m, in);
        memcpy(buf + n, &entry, sizeof entry);
    }
    if (!fuzz_below(in, 8)) { /* more, or fewer, than there are */
        body.n_entries = fuzz_u32(in);
        put(buf, &body, sizeof body);
    }
    return n;
}

static size_t cursor(FuzzInput *in, uint8_t *buf)
{
    GpuCursor body = {.scanout_id = fuzz_below(in, 6), .x = fuzz_u32(in), .y = fuzz_u16(in)};

    body.resource_id = any_id(in);
    body.hot_x = any_side(in);
    body.hot_y = any_side(in);
    return put(buf, &body, sizeof body);
}

static size_t command(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    static const uint32_t formats[] = {1, 2, 3, 4, 67, 68, 121, 134, 0, 5};
    GpuHeader header = {
        .type = GPU_GET_DISPLAY_INFO + fuzz_below(in, 12), .flags = fuzz_below(in, 4), .fence_id = 7};

    memcpy(buf, &header, sizeof header);
    switch (header.type) {
    case GPU_RESOURCE_CREATE_2D:
        return put(buf,
                   &(GpuCreate2d){any_id(in), formats[fuzz_below(in, G_N_ELEMENTS(formats))], any_side(in),
                                  any_side(in)},
                   sizeof(GpuCreate2d));
    case GPU_SET_SCANOUT:
        return put(buf, &(GpuSetScanout){any_rect(in), fuzz_below(in, 6), any_id(in)}, sizeof(GpuSetScanout));
    case GPU_RESOURCE_FLUSH:
        return put(buf, &(GpuFlush){any_rect(in), any_id(in), 0}, sizeof(GpuFlush));
    case GPU_TRANSFER_TO_HOST_2D: {
        GpuTransfer body = {.rect = any_rect(in), .resource_id = any_id(in)};
        body.offset = fuzz_below(in, 8) ? fuzz_u8(in) : (uint64_t)fuzz_u32(in) << 32 | fuzz_u32(in);
        return put(buf, &body, sizeof body);
    }
    case GPU_ATTACH_BACKING:
        return attach(m, in, buf);
    default:
        return put(buf, &(GpuResourceId){fuzz_below(in, 4) ? any_id(in) : 0, 0}, sizeof(GpuResourceId));
    }
}

static size_t pointer_command(FuzzMachine *m, FuzzInput *in, uint8_t *buf)
{
    GpuHeader header = {.type = GPU_UPDATE_CURSOR + fuzz_below(in, 3)};

    memcpy(buf, &header, sizeof header);
    return cursor(in, buf);
}

static const FuzzMessage messages[] = {{.queue = 0, .make = command}, {.queue = 1, .make = pointer_command}};

/* A front end looks. What it was told of must be inside the picture. */
static void step_collect(FuzzMachine *m, FuzzInput *in)
{
    World *world = m->own;
    unsigned n = fuzz_below(in, world->n);
    VmcHeadlessNews news;

    vmc_headless_update(world->frontends[n]);
    vmc_headless_news(world->frontends[n], &news);
    if (news.has_cursor &&
        (news.cursor.hot_x >= news.cursor.width || news.cursor.hot_y >= news.cursor.height))
        fuzz_finding("the pointer's hot spot is outside its image");
}

static void step_wish(FuzzMachine *m, FuzzInput *in)
{
    World *world = m->own;

    vmc_display_request_size(world->displays[fuzz_below(in, world->n)], any_side(in), any_side(in));
    fuzz_settle(m);
}

/* A picture from nothing to the screen, as drivers do it; the rest of the input can then spoil it. */
static void step_show(FuzzMachine *m, FuzzInput *in)
{
    uint8_t buf[128] = {0};
    unsigned side = fuzz_u8(in) & 1 ? 64 : 48;
    uint32_t id = 1 + fuzz_below(in, IDS);
    GpuRect rect = {0, 0, side, side};
    GpuHeader header = {0};
    struct {
        GpuAttach attach;
        GpuEntry entry;
    } backing = {{id, 1}, {.address = fuzz_alloc(m, side * side * 4), .length = side * side * 4}};
    GpuTransfer transfer = {.rect = rect, .resource_id = id};
    const struct {
        uint32_t type;
        const void *body;
        size_t n;
    } sequence[] = {
        {GPU_RESOURCE_CREATE_2D, &(GpuCreate2d){id, 1 + fuzz_below(in, 4), side, side}, sizeof(GpuCreate2d)},
        {GPU_ATTACH_BACKING, &backing, sizeof backing},
        {GPU_TRANSFER_TO_HOST_2D, &transfer, sizeof transfer},
        {GPU_SET_SCANOUT, &(GpuSetScanout){rect, fuzz_below(in, 2), id}, sizeof(GpuSetScanout)},
        {GPU_RESOURCE_FLUSH, &(GpuFlush){rect, id, 0}, sizeof(GpuFlush)},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(sequence); i++) {
        header.type = sequence[i].type;
        memcpy(buf, &header, sizeof header);
        FuzzChain chain = {.out = buf,
                           .len = (uint32_t)put(buf, sequence[i].body, sequence[i].n),
                           .in_len = sizeof(GpuHeader),
                           .n_out = 1,
                           .n_in = 1};
        fuzz_send(m, 0, &chain);
    }
    fuzz_kick(m, 0);
    fuzz_settle(m);
}

static void (*const steps[])(FuzzMachine *m, FuzzInput *in) = {step_collect, step_wish, step_show};

static const FuzzTarget target = {
    .make = make,
    .unmake = unmake,
    .messages = messages,
    .n_messages = G_N_ELEMENTS(messages),
    .steps = steps,
    .n_steps = G_N_ELEMENTS(steps),
};

FUZZ_DEVICE(target)
