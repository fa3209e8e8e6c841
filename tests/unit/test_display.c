/* Displays: damage (all that changed, nothing twice, never more rectangles than a frame carries), sources
 * that change, what front ends are told; EDIDs and PNGs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <gio/gio.h>
#include <unistd.h>

#include "display/damage.h"
#include "display/display.h"
#include "display/edid.h"
#include "display/headless.h"

#define WIDTH  1000u /* neither a whole number of tiles */
#define HEIGHT 700u

#define VIDEO    (4u << 20)
#define VIDEO_AT 0x80000000ull

typedef struct Screen {
    VmcMemory *memory;
    unsigned slot;
    VmcDisplay *display;
    VmcLinear linear;
    uint32_t *guest, *front; /* what the guest has painted; what a front end shows */
} Screen;

static int set_up(void **state)
{
    Screen *screen = g_new0(Screen, 1);
    VmcFrame frame;

    screen->memory = vmc_memory_new();
    assert_true(vmc_memory_add_movable(screen->memory, "video", VIDEO, &screen->slot, NULL));
    assert_true(vmc_memory_move(screen->memory, screen->slot, VIDEO_AT));
    screen->display = vmc_display_new(WIDTH, HEIGHT);
    screen->guest = vmc_memory_host(screen->memory, VIDEO_AT, VIDEO);
    screen->front = g_malloc0(WIDTH * HEIGHT * 4);
    screen->linear = (VmcLinear){
        .memory = screen->memory,
        .slot = screen->slot,
        .width = WIDTH,
        .height = HEIGHT,
        .stride = WIDTH * 4,
        .format = VMC_PIXELS_BGRX,
    };
    vmc_display_show_memory(screen->display, &screen->linear);
    assert_true(vmc_display_collect(screen->display, &frame));
    vmc_display_collect(screen->display, &frame);
    *state = screen;
    return 0;
}

static int tear_down(void **state)
{
    Screen *screen = *state;

    vmc_display_free(screen->display);
    vmc_memory_free(screen->memory);
    g_free(screen->front);
    g_free(screen);
    return 0;
}

/* A CPU notes the page it writes to. */
static void paint_pixel(Screen *screen, unsigned at, uint32_t colour)
{
    vmc_memory_note_dirty(&screen->memory->slots[screen->slot], at * 4);
    screen->guest[at] = colour;
}

static void note_all(Screen *screen)
{
    vmc_memory_written(screen->memory, VIDEO_AT, VIDEO);
}

static void assert_apart(const VmcRect *a, const VmcRect *b)
{
    assert_true(a->x + a->width <= b->x || b->x + b->width <= a->x || a->y + a->height <= b->y ||
                b->y + b->height <= a->y);
}

/* Takes over the damage, and nothing else, as a front end does. Returns the number of pixels. */
static uint64_t update_front(Screen *screen, VmcFrame *frame)
{
    uint64_t pixels = 0;

    vmc_display_collect(screen->display, frame);
    assert_in_range(frame->n_damage, 0, G_N_ELEMENTS(frame->damage));
    for (unsigned i = 0; i < frame->n_damage; i++) {
        const VmcRect *rect = &frame->damage[i];

        assert_true(rect->width > 0 && rect->height > 0);
        assert_true(rect->x + rect->width <= WIDTH && rect->y + rect->height <= HEIGHT);
        for (unsigned j = 0; j < i; j++)
            assert_apart(rect, &frame->damage[j]);
        for (unsigned y = rect->y; y < rect->y + rect->height; y++)
            memcpy(&screen->front[y * WIDTH + rect->x],
                   frame->pixels + (size_t)y * frame->stride + rect->x * 4, rect->width * 4);
        pixels += (uint64_t)rect->width * rect->height;
    }
    return pixels;
}

static void assert_shown(Screen *screen)
{
    assert_memory_equal(screen->front, screen->guest, WIDTH * HEIGHT * 4);
}

static void test_a_still_screen_has_no_damage(void **state)
{
    VmcFrame frame;
    uint64_t serial;

    assert_false(vmc_display_collect(((Screen *)*state)->display, &frame));
    assert_int_equal(frame.n_damage, 0);
    serial = frame.serial;
    paint_pixel(*state, 5, 1);
    assert_true(vmc_display_collect(((Screen *)*state)->display, &frame));
    assert_true(frame.serial > serial);
}

static void test_one_pixel_costs_one_tile(void **state)
{
    Screen *screen = *state;
    VmcFrame frame;

    paint_pixel(screen, HEIGHT * WIDTH - 1, 0xffffff); /* the tile in the corner is cut off */
    assert_int_equal(update_front(screen, &frame), (WIDTH % 64) * (HEIGHT % 16));
    paint_pixel(screen, 100 * WIDTH + 100, 0xffffff);
    assert_int_equal(update_front(screen, &frame), 64 * 16);
    assert_shown(screen);
}

static void test_everything_is_one_rectangle(void **state)
{
    Screen *screen = *state;
    VmcFrame frame;

    memset(screen->guest, 0x55, WIDTH * HEIGHT * 4);
    note_all(screen);
    assert_int_equal(update_front(screen, &frame), WIDTH * HEIGHT);
    assert_int_equal(frame.n_damage, 1);
    assert_shown(screen);
}

static void test_a_line_of_text_is_one_rectangle(void **state)
{
    Screen *screen = *state;
    VmcFrame frame;

    for (unsigned y = 320; y < 336; y++)
        memset(&screen->guest[y * WIDTH], 0x77, WIDTH * 4);
    note_all(screen);
    assert_int_equal(update_front(screen, &frame), WIDTH * 16);
    assert_int_equal(frame.n_damage, 1);
}

/* Every second tile, like a chess board: far more than 64. */
static void test_too_many_rectangles_are_joined(void **state)
{
    Screen *screen = *state;
    VmcFrame frame;

    for (unsigned y = 0; y < HEIGHT; y += 16)
        for (unsigned x = (y / 16 % 2) * 64; x < WIDTH; x += 128)
            paint_pixel(screen, y * WIDTH + x, 0x123456);
    update_front(screen, &frame);
    assert_shown(screen);
}

static void test_random_painting_is_shown_exactly(void **state)
{
    Screen *screen = *state;
    GRand *rand = g_rand_new_with_seed(42);
    VmcFrame frame;

    for (unsigned round = 0; round < 200; round++) {
        unsigned dots = 1u << g_rand_int_range(rand, 0, 12);

        while (dots--)
            paint_pixel(screen, (unsigned)g_rand_int_range(rand, 0, WIDTH * HEIGHT), g_rand_int(rand));
        update_front(screen, &frame);
        assert_shown(screen);
    }
    g_rand_free(rand);
}

static void test_refresh_reports_everything(void **state)
{
    Screen *screen = *state;
    VmcFrame frame;

    vmc_display_refresh(screen->display);
    assert_int_equal(update_front(screen, &frame), WIDTH * HEIGHT);
    assert_int_equal(update_front(screen, &frame), 0);
}

static void test_the_picture_outlives_the_guest(void **state)
{
    Screen *screen = *state;
    VmcFrame frame;

    paint_pixel(screen, 77, 0xabcdef); /* nobody has collected this yet */
    vmc_display_release(screen->display);
    memset(screen->guest, 0xee, WIDTH * HEIGHT * 4);
    assert_int_equal(update_front(screen, &frame), 64 * 16);
    assert_int_equal(screen->front[77] & 0xffffff, 0xabcdef);
    vmc_display_release(screen->display);
    vmc_display_show_memory(screen->display, &screen->linear); /* of an adapter that is being taken apart */
    assert_int_equal(update_front(screen, &frame), 0);
    vmc_display_adopt(screen->display);
    vmc_display_show_memory(screen->display, &screen->linear);
    update_front(screen, &frame);
    assert_shown(screen);
}

typedef struct Painter {
    Screen *screen;
    gint stop;
} Painter;

static gpointer paint(gpointer data)
{
    Painter *painter = data;
    uint32_t colour = 0;

    while (!g_atomic_int_get(&painter->stop))
        for (unsigned i = 0; i < WIDTH * 20; i += 7)
            paint_pixel(painter->screen, i, colour += 0x01010101);
    return NULL;
}

/* What the front end was given does not change under its hands, and at the end nothing has been missed. */
static void test_painting_goes_on_meanwhile(void **state)
{
    Screen *screen = *state;
    Painter painter = {screen, 0};
    GThread *thread = g_thread_new("painter", paint, &painter);
    VmcFrame frame;

    for (unsigned i = 0; i < 100; i++) {
        update_front(screen, &frame);
        assert_memory_equal(screen->front, frame.pixels, WIDTH * HEIGHT * 4);
    }
    g_atomic_int_set(&painter.stop, 1);
    g_thread_join(thread);
    update_front(screen, &frame);
    assert_shown(screen);
}

/* Sources follow one another; the front end is told of a size only when it is another. */
static void test_sources_follow_one_another(void **state)
{
    Screen *screen = *state;
    VmcHeadless *headless = vmc_headless_new(screen->display);
    uint32_t colour = 0x00aabbcc;
    VmcHeadlessNews news;
    VmcFrame whole;

    paint_pixel(screen, 3, 0x112233);
    vmc_headless_update(headless);
    vmc_display_show_pushed(screen->display, WIDTH, HEIGHT);
    assert_false(vmc_display_needs_polling(screen->display));
    vmc_headless_update(headless);
    assert_int_equal(((const uint32_t *)vmc_headless_frame(headless)->pixels)[3] & 0xffffff, 0x112233);
    vmc_headless_news(headless, &news);
    assert_int_equal(news.resized, 1);
    unsigned told = news.damaged;
    vmc_display_push(screen->display, &(VmcRect){WIDTH - 1, 0, 5, 1}, (uint8_t *)&colour, 4, VMC_PIXELS_BGRX);
    vmc_display_push(screen->display, &(VmcRect){WIDTH, 0, 1, 1}, (uint8_t *)&colour, 4, VMC_PIXELS_BGRX);
    vmc_headless_news(headless, &news);
    assert_int_equal(news.damaged, told + 1); /* once, until it collects */
    assert_true(vmc_headless_update(headless));
    assert_false(vmc_headless_update(headless));
    assert_int_equal(((const uint32_t *)vmc_headless_frame(headless)->pixels)[WIDTH - 1] & 0xffffff,
                     0xaabbcc);

    vmc_display_show_pushed(screen->display, 30, 20);
    vmc_headless_news(headless, &news);
    assert_int_equal(news.resized, 2);
    assert_int_equal(news.height, 20);
    vmc_display_blank(screen->display);
    vmc_headless_news(headless, &news);
    assert_false(news.on);
    vmc_display_show_memory(screen->display, &screen->linear);
    g_autofree char *still = vmc_headless_wait_still(headless, 1, 10000);
    vmc_display_take_picture(screen->display, &whole);
    g_autofree char *hash = vmc_frame_hash(&whole);
    assert_string_equal(still, hash);
    vmc_picture_clear(&whole);
    vmc_headless_free(headless);
}

static void count_calls(void *opaque)
{
    ++*(unsigned *)opaque;
}

/* A front end of an older header is not called where its table has ended. */
static void test_a_shorter_table(void **state)
{
    Screen *screen = *state;
    unsigned calls = 0;
    VmcDisplayFrontend old = {.size = offsetof(VmcDisplayFrontend, resized),
                              .damaged = count_calls,
                              .resized = (void (*)(void *, unsigned, unsigned))0x1};

    vmc_display_set_frontend(screen->display, &old, &calls);
    vmc_display_show_pushed(screen->display, 40, 30);
    assert_true(calls > 0);
    vmc_display_set_frontend(screen->display, NULL, NULL);
}

static void test_a_picture_as_png(void **state)
{
    Screen *screen = *state;
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "test-display-XXXXXX", NULL);
    g_autofree char *bytes = NULL;
    VmcFrame frame;
    gsize n;
    int fd = g_mkstemp(path);

    close(fd);
    vmc_display_take_picture(screen->display, &frame);
    assert_true(vmc_frame_write_png(&frame, path, NULL));
    assert_true(g_file_get_contents(path, &bytes, &n, NULL));
    assert_memory_equal(bytes, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x03\xe8\0\0\x02\xbc\x08\x02", 26);
    assert_memory_equal(bytes + n - 12, "\0\0\0\0IEND\xae\x42\x60\x82", 12);
    unlink(path);
    assert_false(vmc_frame_write_png(&frame, "/nowhere/at/all.png", NULL));
    vmc_picture_clear(&frame);
}

/* Every block adds up to 0, and the preferred mode is what was asked for. What it means is edid-decode's to
 * judge, where there is one. */
static void test_edids(void **state)
{
    static const unsigned sizes[][2] = {{64, 64},     {320, 200},   {640, 480},    {1003, 617},
                                        {1366, 768},  {1920, 1080}, {3840, 2160},  {4096, 2160},
                                        {5120, 2880}, {8192, 4320}, {16384, 16384}};
    g_autofree char *decoder = g_find_program_in_path("edid-decode");

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        uint8_t edid[VMC_EDID_MAX];
        size_t n = vmc_edid_make(edid, sizes[i][0], sizes[i][1], i);

        assert_true(n == 128 || n == 256);
        assert_int_equal(edid[126], n / 128 - 1);
        for (size_t block = 0; block < n; block += 128) {
            uint8_t sum = 0;
            for (unsigned byte = 0; byte < 128; byte++)
                sum += edid[block + byte];
            assert_int_equal(sum, 0);
        }
        if (!decoder || sizes[i][0] < 640 || sizes[i][0] > 8192)
            continue;
        g_autoptr(GSubprocess) process = g_subprocess_new(
            G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDOUT_PIPE, NULL, decoder, "--check", NULL);
        g_autoptr(GBytes) input = g_bytes_new(edid, n);
        g_autoptr(GBytes) output = NULL;
        assert_true(g_subprocess_communicate(process, input, NULL, &output, NULL, NULL));
        g_autofree char *text = g_strndup(g_bytes_get_data(output, NULL), g_bytes_get_size(output));
        g_autofree char *mode = g_strdup_printf(" %ux%u ", sizes[i][0], sizes[i][1]);
        if (!strstr(text, "EDID conformity: PASS") || !strstr(text, mode))
            fail_msg("edid-decode says of %s: %s", mode, text);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_still_screen_has_no_damage),
        TEST(test_one_pixel_costs_one_tile),
        TEST(test_everything_is_one_rectangle),
        TEST(test_a_line_of_text_is_one_rectangle),
        TEST(test_too_many_rectangles_are_joined),
        TEST(test_random_painting_is_shown_exactly),
        TEST(test_refresh_reports_everything),
        TEST(test_the_picture_outlives_the_guest),
        TEST(test_painting_goes_on_meanwhile),
        TEST(test_sources_follow_one_another),
        TEST(test_a_shorter_table),
        TEST(test_a_picture_as_png),
        TEST(test_edids),
    };

    return cmocka_run_group_tests_name("display", tests, NULL, NULL);
}
