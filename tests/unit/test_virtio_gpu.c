/* virtio-gpu, by a driver that uses the kernel's own structures: pictures, the VGA before and after, sizes,
 * the pointer, and what must be refused. */
#include "tests/unit/virtio_rig.h"

#include <linux/virtio_gpu.h>

#include "display/headless.h"
#include "display/vga.h"

#define WIDTH    640u
#define HEIGHT   480u
#define DISPLAYS 2u
#define CONTROL  0u
#define CURSOR   1u

typedef struct Card {
    Rig rig;
    VmcDisplay *displays[DISPLAYS];
    VmcHeadless *frontends[DISPLAYS];
    VmcVga *vga;
    uint64_t request, reply;
} Card;

static int set_up(void **state)
{
    Card *card = g_new0(Card, 1);
    VmcGpuParams params = {.n_displays = DISPLAYS, .width = WIDTH, .height = HEIGHT};

    rig_init(&card->rig);
    for (unsigned i = 0; i < DISPLAYS; i++) {
        params.displays[i] = card->displays[i] = vmc_display_new(WIDTH, HEIGHT);
        card->frontends[i] = vmc_headless_new(card->displays[i]);
    }
    VmcVgaParams vga = {card->rig.memory, card->rig.pio, card->displays[0], WIDTH, HEIGHT};
    params.vga = card->vga = vmc_vga_new(&vga, NULL);
    rig_plug(&card->rig, vmc_virtio_gpu_new(&card->rig.host, &params));
    card->request = rig_alloc(&card->rig, 8192);
    card->reply = rig_alloc(&card->rig, 4096);
    *state = card;
    return 0;
}

static int tear_down(void **state)
{
    Card *card = *state;

    rig_clear(&card->rig);
    for (unsigned i = 0; i < DISPLAYS; i++) {
        vmc_headless_free(card->frontends[i]);
        vmc_display_free(card->displays[i]);
    }
    g_free(card);
    return 0;
}

static void bring_up(Card *card)
{
    rig_bring_up(&card->rig, RIG_FEATURES | 1ull << VIRTIO_GPU_F_EDID, 2, 16);
}

/* Sends a request of `n` bytes; returns the reply's type. */
static uint32_t ask(Card *card, unsigned queue, uint32_t type, void *request, size_t n)
{
    RigBuffer buffers[] = {{card->request, (uint32_t)n}, {card->reply, 4096}};
    struct virtio_gpu_ctrl_hdr *header = request;
    RigQueue *q = &card->rig.queues[queue];

    header->type = type;
    memcpy(rig_host(&card->rig, card->request, n), request, n);
    memset(rig_host(&card->rig, card->reply, 4096), 0, 4096);
    rig_want_interrupt(&card->rig, q);
    rig_add(&card->rig, q, buffers, 1, 1);
    rig_kick(&card->rig, q);
    struct vring_used_elem used = rig_used(&card->rig, q);
    assert_true(used.len >= sizeof *header);
    return ((struct virtio_gpu_ctrl_hdr *)rig_host(&card->rig, card->reply, used.len))->type;
}

#define ASK(card, type, request) ask(card, CONTROL, type, &(request), sizeof(request))

static uint32_t create(Card *card, uint32_t id, uint32_t format, uint32_t width, uint32_t height)
{
    struct virtio_gpu_resource_create_2d request = {
        .resource_id = id, .format = format, .width = width, .height = height};

    return ASK(card, VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, request);
}

typedef struct Attach {
    struct virtio_gpu_resource_attach_backing head;
    struct virtio_gpu_mem_entry entries[256];
} Attach;

static uint32_t attach(Card *card, uint32_t id, uint64_t gpa, uint32_t len)
{
    struct {
        struct virtio_gpu_resource_attach_backing head;
        struct virtio_gpu_mem_entry entry;
    } request = {{.resource_id = id, .nr_entries = 1}, {.addr = gpa, .length = len}};

    return ASK(card, VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, request);
}

static uint32_t transfer(Card *card, uint32_t id, struct virtio_gpu_rect rect, uint64_t offset)
{
    struct virtio_gpu_transfer_to_host_2d request = {.r = rect, .offset = offset, .resource_id = id};

    return ASK(card, VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, request);
}

static uint32_t scanout(Card *card, uint32_t number, uint32_t id, struct virtio_gpu_rect rect)
{
    struct virtio_gpu_set_scanout request = {.r = rect, .scanout_id = number, .resource_id = id};

    return ASK(card, VIRTIO_GPU_CMD_SET_SCANOUT, request);
}

static uint32_t flush(Card *card, uint32_t id, struct virtio_gpu_rect rect)
{
    struct virtio_gpu_resource_flush request = {.r = rect, .resource_id = id};

    return ASK(card, VIRTIO_GPU_CMD_RESOURCE_FLUSH, request);
}

static uint32_t unref(Card *card, uint32_t id)
{
    struct virtio_gpu_resource_unref request = {.resource_id = id};

    return ASK(card, VIRTIO_GPU_CMD_RESOURCE_UNREF, request);
}

static struct virtio_gpu_rect rect(uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    return (struct virtio_gpu_rect){x, y, width, height};
}

static const VmcFrame *look(Card *card, unsigned n)
{
    vmc_headless_update(card->frontends[n]);
    return vmc_headless_frame(card->frontends[n]);
}

static uint32_t pixel(const VmcFrame *frame, unsigned x, unsigned y)
{
    return ((const uint32_t *)(frame->pixels + (size_t)y * frame->stride))[x] & 0xffffff;
}

#define OK VIRTIO_GPU_RESP_OK_NODATA

/* A resource with backing of its size, in one piece. Returns where. */
static uint64_t make_resource(Card *card, uint32_t id, uint32_t format, uint32_t width, uint32_t height)
{
    uint64_t at = rig_alloc(&card->rig, (uint64_t)width * height * 4);

    assert_int_equal(create(card, id, format, width, height), OK);
    assert_int_equal(attach(card, id, at, width * height * 4), OK);
    return at;
}

static void test_a_vga_that_is_virtio_too(void **state)
{
    Card *card = *state;

    assert_int_equal(rig_config(&card->rig, PCI_VENDOR_ID, 4), 0x10501af4);
    assert_int_equal(rig_config(&card->rig, PCI_CLASS_REVISION, 4) >> 8, 0x030000);
    assert_int_equal(vmc_bus_read(card->rig.mmio, rig_bar(&card->rig, 2) + 0x500, 2), 0xb0c5);
    assert_int_equal(card->rig.common, rig_bar(&card->rig, 2) + 4096);
    assert_int_equal(rig_offered(&card->rig) & 0xff, 1 << VIRTIO_GPU_F_EDID);
    assert_int_equal(vmc_bus_read(card->rig.mmio, card->rig.device + 8, 4), DISPLAYS);
}

/* The window notices nothing of who draws but another size. */
static void test_the_driver_takes_over_and_gives_back(void **state)
{
    Card *card = *state;
    VmcHeadlessNews news;

    vmc_vga_set_mode(card->vga);
    uint32_t *video = rig_host(&card->rig, rig_bar(&card->rig, 0), 4096);
    video[3] = 0x010203;
    assert_int_equal(pixel(look(card, 0), 3, 0), 0x010203);
    vmc_headless_news(card->frontends[0], &news);
    unsigned resized = news.resized;

    bring_up(card);
    uint64_t at = make_resource(card, 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, WIDTH, HEIGHT);
    ((uint32_t *)rig_host(&card->rig, at, 16))[3] = 0x445566;
    assert_int_equal(scanout(card, 0, 0, rect(0, 0, 0, 0)), OK); /* nothing of its own is on: the VGA stays */
    assert_int_equal(pixel(look(card, 0), 3, 0), 0x010203);
    assert_int_equal(transfer(card, 1, rect(0, 0, WIDTH, HEIGHT), 0), OK);
    assert_int_equal(scanout(card, 0, 1, rect(0, 0, WIDTH, HEIGHT)), OK);
    assert_int_equal(pixel(look(card, 0), 3, 0), 0x445566);
    assert_false(vmc_display_needs_polling(card->displays[0]));
    video[3] = 0x778899;
    vmc_memory_written(card->rig.memory, rig_bar(&card->rig, 0), 4096);
    assert_int_equal(pixel(look(card, 0), 3, 0), 0x445566);

    rig_reset(&card->rig);
    assert_int_equal(pixel(look(card, 0), 3, 0), 0x778899);
    vmc_headless_news(card->frontends[0], &news);
    assert_int_equal(news.resized, resized);
    assert_true(news.on);
}

static void test_only_what_is_flushed_is_shown(void **state)
{
    Card *card = *state;

    bring_up(card);
    uint64_t at = make_resource(card, 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 200, 100);
    uint32_t *pixels = rig_host(&card->rig, at, 200 * 100 * 4);
    assert_int_equal(scanout(card, 0, 1, rect(10, 20, 100, 50)), OK);
    assert_int_equal(look(card, 0)->width, 100);
    for (unsigned i = 0; i < 200 * 100; i++)
        pixels[i] = i;
    assert_int_equal(transfer(card, 1, rect(0, 0, 200, 100), 0), OK);
    assert_int_equal(pixel(look(card, 0), 5, 5), 0);
    assert_int_equal(flush(card, 1, rect(0, 0, 16, 30)), OK);
    assert_int_equal(pixel(look(card, 0), 5, 5), 25 * 200 + 15);
    assert_int_equal(pixel(look(card, 0), 6, 5), 0);
    assert_int_equal(flush(card, 1, rect(0, 0, 200, 100)), OK);
    assert_int_equal(pixel(look(card, 0), 99, 49), 69 * 200 + 109);
    /* A rectangle of its own, from its own place in the backing. */
    pixels[3] = 0xffffff;
    assert_int_equal(transfer(card, 1, rect(12, 22, 1, 1), 12), OK);
    assert_int_equal(flush(card, 1, rect(12, 22, 1, 1)), OK);
    assert_int_equal(pixel(look(card, 0), 2, 2), 0xffffff);
}

/* Pages in any order, and pieces that end within a pixel. */
static void test_backing_in_pieces(void **state)
{
    Card *card = *state;
    g_autofree Attach *request = g_new0(Attach, 1);
    enum { WIDE = 100, HIGH = 50, PIECE = 333, BYTES = WIDE * HIGH * 4 };
    uint64_t at = rig_alloc(&card->rig, 2 * BYTES);
    unsigned n = 0;

    bring_up(card);
    assert_int_equal(create(card, 9, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, WIDE, HIGH), OK);
    for (unsigned done = 0; done < BYTES; done += PIECE, n++) {
        unsigned len = MIN(PIECE, BYTES - done);
        uint64_t gpa = at + 2 * BYTES - done - len;
        uint8_t *bytes = rig_host(&card->rig, gpa, len);
        request->entries[n] = (struct virtio_gpu_mem_entry){.addr = gpa, .length = len};
        for (unsigned i = 0; i < len; i++)
            bytes[i] = (uint8_t)((done + i) * 7);
    }
    request->head.resource_id = 9;
    request->head.nr_entries = n;
    assert_int_equal(ask(card, CONTROL, VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, request,
                         sizeof request->head + n * sizeof *request->entries),
                     OK);
    assert_int_equal(transfer(card, 9, rect(0, 0, WIDE, HIGH), 0), OK);
    assert_int_equal(scanout(card, 1, 9, rect(0, 0, WIDE, HIGH)), OK);
    const uint8_t *seen = look(card, 1)->pixels;
    for (unsigned i = 0; i < BYTES; i++)
        if (i % 4 != 3)
            assert_int_equal(seen[i], (uint8_t)(i * 7));
}

static void test_every_format(void **state)
{
    static const struct {
        uint32_t format;
        uint8_t red, green, blue;
    } formats[] = {
        {VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 2, 1, 0}, {VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 2, 1, 0},
        {VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, 1, 2, 3}, {VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, 1, 2, 3},
        {VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, 0, 1, 2}, {VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, 3, 2, 1},
        {VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, 3, 2, 1}, {VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, 0, 1, 2},
    };
    Card *card = *state;

    bring_up(card);
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
        uint64_t at = make_resource(card, 10 + i, formats[i].format, 16, 16);
        uint8_t *bytes = rig_host(&card->rig, at, 4);
        bytes[formats[i].red] = 0x11;
        bytes[formats[i].green] = 0x22;
        bytes[formats[i].blue] = 0x33;
        assert_int_equal(transfer(card, 10 + i, rect(0, 0, 16, 16), 0), OK);
        assert_int_equal(scanout(card, 0, 10 + i, rect(0, 0, 16, 16)), OK);
        assert_int_equal(pixel(look(card, 0), 0, 0), 0x112233);
    }
}

static void test_what_is_refused(void **state)
{
    Card *card = *state;

    bring_up(card);
    uint64_t at = make_resource(card, 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 64, 64);
    assert_int_equal(create(card, 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 1, 1),
                     VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(create(card, 0, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 1, 1),
                     VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(create(card, 2, 99, 1, 1), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(create(card, 2, 1, 0, 1), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(create(card, 2, 1, 0x40000001, 4), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(create(card, 2, 1, 16384, 16384), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
    assert_int_equal(attach(card, 1, at, 4), VIRTIO_GPU_RESP_ERR_UNSPEC); /* has some */
    assert_int_equal(attach(card, 7, at, 4), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(create(card, 3, 1, 8, 8), OK);
    assert_int_equal(attach(card, 3, RIG_HOLE, 256), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(attach(card, 3, RIG_RAM - 4, 256), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(attach(card, 3, rig_bar(&card->rig, 2), 256), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(attach(card, 3, at, 0), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    struct virtio_gpu_resource_attach_backing many = {.resource_id = 3, .nr_entries = 0xffffffff};
    assert_int_equal(ASK(card, VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, many),
                     VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(transfer(card, 3, rect(0, 0, 8, 8), 0), VIRTIO_GPU_RESP_ERR_UNSPEC);
    assert_int_equal(transfer(card, 1, rect(1, 0, 64, 1), 0), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(transfer(card, 1, rect(0xffffffff, 0, 2, 1), 0), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(transfer(card, 1, rect(0, 0, 64, 64), 4), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(transfer(card, 1, rect(0, 0, 1, 1), UINT64_MAX), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(flush(card, 1, rect(0, 0, 65, 64)), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(scanout(card, DISPLAYS, 1, rect(0, 0, 64, 64)), VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID);
    assert_int_equal(scanout(card, 0, 1, rect(0, 0, 64, 65)), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
    assert_int_equal(scanout(card, 0, 77, rect(0, 0, 64, 64)), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
    struct virtio_gpu_ctrl_hdr unknown = {0};
    assert_int_equal(ASK(card, 0x4711, unknown), VIRTIO_GPU_RESP_ERR_UNSPEC);
    assert_int_equal(ASK(card, VIRTIO_GPU_CMD_SET_SCANOUT, unknown), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER);
}

/* What all resources together may cost has an end, and comes back. */
static void test_memory_has_a_limit(void **state)
{
    Card *card = *state;
    unsigned n;

    bring_up(card);
    for (n = 1; n < 100 && create(card, n, 1, 4096, 2048) == OK; n++) /* 32 MiB each, never touched */
        ;
    assert_int_equal(n, 17);
    assert_int_equal(unref(card, 5), OK);
    assert_int_equal(create(card, 5, 1, 4096, 2048), OK);
    assert_int_equal(create(card, 99, 1, 1, 1), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
    rig_negotiate(&card->rig, RIG_FEATURES); /* a reset frees them all */
}

static void test_a_resource_that_goes_takes_its_picture(void **state)
{
    Card *card = *state;
    VmcHeadlessNews news;

    bring_up(card);
    uint64_t at = make_resource(card, 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 64, 64);
    memset(rig_host(&card->rig, at, 64), 0x55, 64);
    assert_int_equal(transfer(card, 1, rect(0, 0, 64, 64), 0), OK);
    assert_int_equal(scanout(card, 1, 1, rect(0, 0, 64, 64)), OK);
    assert_int_equal(pixel(look(card, 1), 0, 0), 0x555555);
    assert_int_equal(unref(card, 1), OK);
    assert_int_equal(pixel(look(card, 1), 0, 0), 0);
    vmc_headless_news(card->frontends[1], &news);
    assert_false(news.on);
    assert_int_equal(flush(card, 1, rect(0, 0, 1, 1)), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
}

static uint32_t point(Card *card, uint32_t type, struct virtio_gpu_update_cursor request)
{
    return ask(card, CURSOR, type, &request, sizeof request);
}

static void test_the_pointer(void **state)
{
    Card *card = *state;
    VmcHeadlessNews news;
    struct virtio_gpu_update_cursor request = {
        .pos = {.scanout_id = 0, .x = 30, .y = 40}, .resource_id = 1, .hot_x = 3, .hot_y = 4000};

    bring_up(card);
    uint64_t at = make_resource(card, 1, VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 64, 64);
    ((uint32_t *)rig_host(&card->rig, at, 64 * 64 * 4))[65] = 0x80402010;
    assert_int_equal(transfer(card, 1, rect(0, 0, 64, 64), 0), OK);
    assert_int_equal(point(card, VIRTIO_GPU_CMD_UPDATE_CURSOR, request), OK);
    vmc_headless_news(card->frontends[0], &news);
    assert_true(news.has_cursor);
    assert_int_equal(news.cursor.width, 64);
    assert_int_equal(news.cursor.hot_x, 3);
    assert_int_equal(news.cursor.hot_y, 63); /* inside */
    assert_int_equal(news.pixels[65], 0x80402010);
    assert_int_equal(news.x, 30);
    request.pos.x = (uint32_t)-5;
    assert_int_equal(point(card, VIRTIO_GPU_CMD_MOVE_CURSOR, request), OK);
    vmc_headless_news(card->frontends[0], &news);
    assert_int_equal(news.x, -5);
    request.resource_id = 0;
    assert_int_equal(point(card, VIRTIO_GPU_CMD_UPDATE_CURSOR, request), OK);
    vmc_headless_news(card->frontends[0], &news);
    assert_false(news.has_cursor);
    request.pos.scanout_id = 17;
    assert_int_equal(point(card, VIRTIO_GPU_CMD_MOVE_CURSOR, request),
                     VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID);
}

/* An image of another size would be read, or written, beyond its end. */
static void test_a_pointer_of_another_size_is_no_pointer(void **state)
{
    static const uint32_t sides[][2] = {{1, 1}, {64, 63}, {65, 64}, {128, 128}};
    Card *card = *state;
    VmcHeadlessNews news;

    bring_up(card);
    for (uint32_t i = 0; i < G_N_ELEMENTS(sides); i++) {
        struct virtio_gpu_update_cursor request = {.resource_id = 1 + i};
        make_resource(card, 1 + i, VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, sides[i][0], sides[i][1]);
        point(card, VIRTIO_GPU_CMD_UPDATE_CURSOR, request);
        vmc_headless_news(card->frontends[0], &news);
        assert_false(news.has_cursor);
    }
}

static void test_a_window_asks_for_a_size(void **state)
{
    Card *card = *state;
    struct virtio_gpu_ctrl_hdr ask_info = {0};
    struct virtio_gpu_cmd_get_edid ask_edid = {.scanout = 1};

    assert_false(vmc_display_request_size(card->displays[1], 1000, 700)); /* there is no driver */
    bring_up(card);
    assert_true(vmc_display_request_size(card->displays[1], 1000, 700));
    assert_int_equal(vmc_bus_read(card->rig.mmio, card->rig.device, 4), VIRTIO_GPU_EVENT_DISPLAY);
    assert_int_equal(card->rig.interrupts[0], 1);
    vmc_bus_write(card->rig.mmio, card->rig.device + 4, 4, VIRTIO_GPU_EVENT_DISPLAY);
    assert_int_equal(vmc_bus_read(card->rig.mmio, card->rig.device, 4), 0);
    assert_true(vmc_display_request_size(card->displays[1], 1000, 700)); /* no news */
    assert_int_equal(card->rig.interrupts[0], 1);

    assert_int_equal(ASK(card, VIRTIO_GPU_CMD_GET_DISPLAY_INFO, ask_info), VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
    struct virtio_gpu_resp_display_info *info = rig_host(&card->rig, card->reply, sizeof *info);
    assert_int_equal(info->pmodes[0].r.width, WIDTH);
    assert_int_equal(info->pmodes[1].r.width, 1000);
    assert_int_equal(info->pmodes[1].r.height, 700);
    assert_int_equal(info->pmodes[1].enabled, 1);
    assert_int_equal(info->pmodes[2].enabled, 0);

    assert_int_equal(ASK(card, VIRTIO_GPU_CMD_GET_EDID, ask_edid), VIRTIO_GPU_RESP_OK_EDID);
    struct virtio_gpu_resp_edid *edid = rig_host(&card->rig, card->reply, sizeof *edid);
    assert_int_equal(edid->size, 128);
    assert_int_equal(edid->edid[54 + 2] | (edid->edid[54 + 4] & 0xf0) << 4, 1000);
    assert_int_equal(edid->edid[54 + 5] | (edid->edid[54 + 7] & 0xf0) << 4, 700);
    ask_edid.scanout = DISPLAYS;
    assert_int_equal(ASK(card, VIRTIO_GPU_CMD_GET_EDID, ask_edid), VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID);
}

static void test_a_fence_comes_back(void **state)
{
    Card *card = *state;
    struct virtio_gpu_ctrl_hdr request = {
        .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = 0x123456789a, .ctx_id = 3};

    bring_up(card);
    ASK(card, VIRTIO_GPU_CMD_GET_DISPLAY_INFO, request);
    struct virtio_gpu_ctrl_hdr *reply = rig_host(&card->rig, card->reply, sizeof *reply);
    assert_int_equal(reply->flags, VIRTIO_GPU_FLAG_FENCE);
    assert_int_equal(reply->fence_id, 0x123456789a);
    assert_int_equal(reply->ctx_id, 3);
    request.flags = 0;
    ASK(card, VIRTIO_GPU_CMD_GET_DISPLAY_INFO, request);
    assert_int_equal(reply->fence_id, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_vga_that_is_virtio_too),
        TEST(test_the_driver_takes_over_and_gives_back),
        TEST(test_only_what_is_flushed_is_shown),
        TEST(test_backing_in_pieces),
        TEST(test_every_format),
        TEST(test_what_is_refused),
        TEST(test_memory_has_a_limit),
        TEST(test_a_resource_that_goes_takes_its_picture),
        TEST(test_the_pointer),
        TEST(test_a_pointer_of_another_size_is_no_pointer),
        TEST(test_a_window_asks_for_a_size),
        TEST(test_a_fence_comes_back),
    };

    return cmocka_run_group_tests_name("virtio-gpu", tests, NULL, NULL);
}
