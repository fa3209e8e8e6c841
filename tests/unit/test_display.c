/* Damage of a framebuffer: all that changed, nothing twice, never more rectangles than a frame carries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "display/framebuffer.h"

#define WIDTH  1000u /* neither a whole number of tiles */
#define HEIGHT 700u

typedef struct Screen {
    VmcDisplay *display;
    uint32_t *guest, *front; /* what the guest has painted; what a front end shows */
} Screen;

static int set_up(void **state)
{
    Screen *screen = g_new0(Screen, 1);
    VmcFrame frame;

    screen->display = vmc_framebuffer_new(WIDTH, HEIGHT);
    screen->guest = g_malloc0(vmc_framebuffer_bytes(screen->display));
    screen->front = g_malloc0(WIDTH * HEIGHT * 4);
    vmc_framebuffer_attach(screen->display, (uint8_t *)screen->guest);
    assert_true(vmc_display_collect(screen->display, &frame));
    *state = screen;
    return 0;
}

static int tear_down(void **state)
{
    Screen *screen = *state;

    vmc_framebuffer_free(screen->display);
    g_free(screen->guest);
    g_free(screen->front);
    g_free(screen);
    return 0;
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
    ((Screen *)*state)->guest[5] = 1;
    assert_true(vmc_display_collect(((Screen *)*state)->display, &frame));
    assert_true(frame.serial > serial);
}

static void test_one_pixel_costs_one_tile(void **state)
{
    Screen *screen = *state;
    VmcFrame frame;

    screen->guest[HEIGHT * WIDTH - 1] = 0xffffff; /* the tile in the corner is cut off */
    assert_int_equal(update_front(screen, &frame), (WIDTH % 64) * (HEIGHT % 16));
    screen->guest[100 * WIDTH + 100] = 0xffffff;
    assert_int_equal(update_front(screen, &frame), 64 * 16);
    assert_shown(screen);
}

static void test_everything_is_one_rectangle(void **state)
{
    Screen *screen = *state;
    VmcFrame frame;

    memset(screen->guest, 0x55, WIDTH * HEIGHT * 4);
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
            screen->guest[y * WIDTH + x] = 0x123456;
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
            screen->guest[g_rand_int_range(rand, 0, WIDTH * HEIGHT)] = g_rand_int(rand);
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

    screen->guest[77] = 0xabcdef; /* nobody has collected this yet */
    vmc_framebuffer_detach(screen->display);
    memset(screen->guest, 0xee, WIDTH * HEIGHT * 4);
    assert_int_equal(update_front(screen, &frame), 64 * 16);
    assert_int_equal(screen->front[77], 0xabcdef);
    vmc_framebuffer_detach(screen->display);
    assert_int_equal(update_front(screen, &frame), 0);
    vmc_framebuffer_attach(screen->display, (uint8_t *)screen->guest);
    update_front(screen, &frame);
    assert_shown(screen);
}

typedef struct Painter {
    uint32_t *pixels;
    gint stop;
} Painter;

static gpointer paint(gpointer data)
{
    Painter *painter = data;
    uint32_t colour = 0;

    while (!g_atomic_int_get(&painter->stop))
        for (unsigned i = 0; i < WIDTH * 20; i += 7)
            ((volatile uint32_t *)painter->pixels)[i] = colour += 0x01010101;
    return NULL;
}

/* What the front end was given does not change under its hands, and at the end nothing has been missed. */
static void test_painting_goes_on_meanwhile(void **state)
{
    Screen *screen = *state;
    Painter painter = {screen->guest, 0};
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
