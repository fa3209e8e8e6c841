/* Damage of a framebuffer: all that changed, nothing twice, never more rectangles than a frame carries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_still_screen_has_no_damage),   TEST(test_one_pixel_costs_one_tile),
        TEST(test_everything_is_one_rectangle),    TEST(test_a_line_of_text_is_one_rectangle),
        TEST(test_too_many_rectangles_are_joined), TEST(test_random_painting_is_shown_exactly),
        TEST(test_refresh_reports_everything),     TEST(test_the_picture_outlives_the_guest),
        TEST(test_painting_goes_on_meanwhile),
    };

    return cmocka_run_group_tests_name("display", tests, NULL, NULL);
}
