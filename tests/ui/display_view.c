/*
 * The widget with the guest's screen, fed with pixels of our own and asked what it shows and what it sends
 * on.
 *
 * A real widget in a real window: pixels are read back from the X server, events go in where GTK would put
 * them. Run by test_display_view.py, which gives it a display.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <gtk/gtk.h>
#include <linux/input-event-codes.h>
#include <string.h>

#include "ui/display_view.h"

#define PADDING   32u /* pixels of each row that are not of the screen: they must never be seen */
#define LETTERBOX 0x0e0e0eu

typedef struct Screen {
    unsigned width, height;
    uint32_t *pixels;
    VmcRect damage[4];
    unsigned n_damage;
    bool refresh;
} Screen;

typedef struct Fixture {
    GtkWidget *window;
    EspDisplayView *view;
    Screen screen;
    GString *sent; /* what reached the sink, as text */
    bool released;
    bool mouse; /* the guest has one, and no tablet */
    int right, down;
} Fixture;

/* --- A screen of our own ------------------------------------------------------------------------ */

static bool screen_collect(void *opaque, VmcFrame *frame)
{
    Screen *screen = opaque;
    frame->width = screen->width;
    frame->height = screen->height;
    frame->stride = (screen->width + PADDING) * 4;
    frame->pixels = (const uint8_t *)screen->pixels;
    frame->n_damage = screen->n_damage;
    memcpy(frame->damage, screen->damage, sizeof(screen->damage));
    if (screen->refresh) {
        frame->damage[0] = (VmcRect){0, 0, screen->width, screen->height};
        frame->n_damage = 1;
    }
    bool any = frame->n_damage > 0;
    screen->n_damage = 0;
    screen->refresh = false;
    frame->serial += any;
    return any;
}

static void screen_refresh(void *opaque)
{
    ((Screen *)opaque)->refresh = true;
}

static const EspDisplaySource source = {.collect = screen_collect, .refresh = screen_refresh};

/* Every pixel another colour, the padding a loud one. */
static uint32_t colour(unsigned x, unsigned y, unsigned round)
{
    return ((x * 7 + round * 90) & 0xff) << 16 | ((y * 5 + round * 45) & 0xff) << 8 | ((x ^ y) & 0xff);
}

static void screen_resize(Screen *screen, unsigned width, unsigned height)
{
    screen->width = width;
    screen->height = height;
    screen->pixels = g_renew(uint32_t, screen->pixels, (width + PADDING) * height);
    for (unsigned y = 0; y < height; y++)
        for (unsigned x = 0; x < width + PADDING; x++)
            screen->pixels[y * (width + PADDING) + x] = x < width ? colour(x, y, 0) : 0xff00ff;
}

static void screen_repaint(Screen *screen, unsigned round)
{
    for (unsigned y = 0; y < screen->height; y++)
        for (unsigned x = 0; x < screen->width; x++)
            screen->pixels[y * (screen->width + PADDING) + x] = colour(x, y, round);
}

/* --- A sink that writes down -------------------------------------------------------------------- */

static void sink_key(void *opaque, unsigned keycode, bool down)
{
    g_string_append_printf(opaque, "%c%u ", down ? '+' : '-', keycode);
}

static void sink_pointer(void *opaque, unsigned x, unsigned y)
{
    g_string_append_printf(opaque, "@%u,%u ", x, y);
}

static void sink_button(void *opaque, unsigned button, bool down)
{
    g_string_append_printf(opaque, "%sbutton%#x ", down ? "+" : "-", button);
}

static void sink_wheel(void *opaque, int vertical, int horizontal)
{
    g_string_append_printf(opaque, "wheel%d,%d ", vertical, horizontal);
}

static const EspInputSink sink = {
    .key = sink_key, .pointer = sink_pointer, .button = sink_button, .wheel = sink_wheel};

/* One that is told how far the pointer moved; its opaque is the fixture. */
static bool mouse_is_relative(void *opaque)
{
    return ((Fixture *)opaque)->mouse;
}

static void mouse_motion(void *opaque, int right, int down)
{
    Fixture *f = opaque;
    f->right += right;
    f->down += down;
}

static void mouse_key(void *opaque, unsigned keycode, bool down)
{
    sink_key(((Fixture *)opaque)->sent, keycode, down);
}

static void mouse_pointer(void *opaque, unsigned x, unsigned y)
{
    sink_pointer(((Fixture *)opaque)->sent, x, y);
}

static void mouse_button(void *opaque, unsigned button, bool down)
{
    sink_button(((Fixture *)opaque)->sent, button, down);
}

static void mouse_wheel(void *opaque, int vertical, int horizontal)
{
    sink_wheel(((Fixture *)opaque)->sent, vertical, horizontal);
}

static const EspInputSink mouse_sink = {.key = mouse_key,
                                        .pointer = mouse_pointer,
                                        .button = mouse_button,
                                        .wheel = mouse_wheel,
                                        .is_relative = mouse_is_relative,
                                        .motion = mouse_motion};

static void assert_sent(Fixture *f, const char *expected)
{
    assert_string_equal(g_strchomp(f->sent->str), expected);
    g_string_truncate(f->sent, 0);
}

/* --- The window --------------------------------------------------------------------------------- */

static void spin(unsigned ms)
{
    gint64 end = g_get_monotonic_time() + (gint64)ms * 1000;
    while (g_get_monotonic_time() < end)
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(2000);
}

static void on_release(Fixture *f)
{
    f->released = true;
}

static int setup_view(void **state)
{
    Fixture *f = g_new0(Fixture, 1);
    f->sent = g_string_new(NULL);
    screen_resize(&f->screen, 320, 200);
    f->screen.refresh = true;
    f->window = gtk_window_new(GTK_WINDOW_POPUP); /* no window manager has a say in its size */
    f->view = ESP_DISPLAY_VIEW(esp_display_view_new());
    gtk_container_add(GTK_CONTAINER(f->window), GTK_WIDGET(f->view));
    gtk_widget_show(GTK_WIDGET(f->view));
    gtk_window_resize(GTK_WINDOW(f->window), 320, 200);
    esp_display_view_set_source(f->view, &source, &f->screen);
    esp_display_view_set_sink(f->view, &sink, f->sent);
    esp_display_view_set_active(f->view, true);
    esp_display_view_set_grab_on_click(f->view, false);
    g_signal_connect_swapped(f->view, "release", G_CALLBACK(on_release), f);
    gtk_widget_show(f->window);
    spin(300);
    *state = f;
    return 0;
}

static int teardown_view(void **state)
{
    Fixture *f = *state;
    gtk_widget_destroy(f->window);
    g_string_free(f->sent, TRUE);
    g_free(f->screen.pixels);
    g_free(f);
    return 0;
}

static void resize_window(Fixture *f, int width, int height)
{
    gtk_window_resize(GTK_WINDOW(f->window), width, height);
    spin(300);
}

/* What the X server has at a point of the window. */
static uint32_t shown(GdkPixbuf *picture, int x, int y)
{
    const guchar *p = gdk_pixbuf_get_pixels(picture) + y * gdk_pixbuf_get_rowstride(picture) +
                      x * gdk_pixbuf_get_n_channels(picture);
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static GdkPixbuf *look(Fixture *f)
{
    GdkWindow *window = gtk_widget_get_window(f->window);
    GdkPixbuf *picture =
        gdk_pixbuf_get_from_window(window, 0, 0, gdk_window_get_width(window), gdk_window_get_height(window));
    assert_non_null(picture);
    return picture;
}

/* Every pixel of `picture` in a rectangle against `round`'s colours, the guest's screen at 1:1 from x0, y0.
 */
static unsigned count_wrong(GdkPixbuf *picture, int x0, int y0, const VmcRect *rect, unsigned round)
{
    unsigned wrong = 0;
    for (unsigned y = rect->y; y < rect->y + rect->height; y++)
        for (unsigned x = rect->x; x < rect->x + rect->width; x++)
            wrong += shown(picture, x0 + (int)x, y0 + (int)y) != colour(x, y, round);
    return wrong;
}

static void point(Fixture *f, double x, double y)
{
    GdkEvent *event = gdk_event_new(GDK_MOTION_NOTIFY);
    event->motion.window = g_object_ref(gtk_widget_get_window(GTK_WIDGET(f->view)));
    event->motion.x = x;
    event->motion.y = y;
    gtk_widget_event(GTK_WIDGET(f->view), event);
    gdk_event_free(event);
}

/* --- Pixels ------------------------------------------------------------------------------------- */

static void every_pixel_is_shown_as_it_is(void **state)
{
    Fixture *f = *state;
    g_autoptr(GdkPixbuf) picture = look(f);
    assert_int_equal(count_wrong(picture, 0, 0, &(VmcRect){0, 0, 320, 200}, 0), 0);
}

static void only_what_is_damaged_is_uploaded(void **state)
{
    Fixture *f = *state;
    const VmcRect damage[] = {{16, 24, 64, 32}, {200, 150, 120, 50}};
    screen_repaint(&f->screen, 1);
    memcpy(f->screen.damage, damage, sizeof(damage));
    f->screen.n_damage = 2;
    spin(200);
    g_autoptr(GdkPixbuf) picture = look(f);
    assert_int_equal(count_wrong(picture, 0, 0, &damage[0], 1), 0);
    assert_int_equal(count_wrong(picture, 0, 0, &damage[1], 1), 0);
    assert_int_equal(count_wrong(picture, 0, 0, &(VmcRect){0, 0, 320, 24}, 0), 0);
    assert_int_equal(count_wrong(picture, 0, 0, &(VmcRect){80, 24, 240, 100}, 0), 0);
}

/* Half way between pixels of the guest's, too, where a pixel shown has something of its neighbours. */
static void what_changed_looks_as_if_all_were_drawn_anew(void **state)
{
    static const int sizes[][2] = {{500, 333}, {960, 600}, {211, 173}};
    Fixture *f = *state;

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        const VmcRect damage[] = {{17, 23, 1, 1}, {101, 50, 64, 33}, {300, 0, 20, 7}, {0, 199, 320, 1}};
        resize_window(f, sizes[i][0], sizes[i][1]);
        g_autoptr(GdkPixbuf) before = look(f);
        for (unsigned n = 0; n < 4; n++)
            for (unsigned y = damage[n].y; y < damage[n].y + damage[n].height; y++)
                for (unsigned x = damage[n].x; x < damage[n].x + damage[n].width; x++)
                    f->screen.pixels[y * (320 + PADDING) + x] ^= 0xf0f0f0;
        memcpy(f->screen.damage, damage, sizeof(damage));
        f->screen.n_damage = 4;
        spin(200);
        g_autoptr(GdkPixbuf) changed = look(f);
        resize_window(f, 400, 400);
        resize_window(f, sizes[i][0], sizes[i][1]);
        g_autoptr(GdkPixbuf) anew = look(f);
        gsize size = gdk_pixbuf_get_byte_length(anew);
        assert_memory_equal(gdk_pixbuf_read_pixels(changed), gdk_pixbuf_read_pixels(anew), size);
        assert_memory_not_equal(gdk_pixbuf_read_pixels(before), gdk_pixbuf_read_pixels(anew), size);
    }
}

static void damage_outside_the_screen_is_ignored(void **state)
{
    Fixture *f = *state;
    f->screen.damage[0] = (VmcRect){300, 190, 100, 100};
    f->screen.damage[1] = (VmcRect){~0u, ~0u, 8, 8};
    f->screen.n_damage = 2;
    spin(200);
    g_autoptr(GdkPixbuf) picture = look(f);
    assert_int_equal(count_wrong(picture, 0, 0, &(VmcRect){0, 0, 320, 200}, 0), 0);
}

static void a_guest_may_change_its_size(void **state)
{
    Fixture *f = *state;
    screen_resize(&f->screen, 240, 160);
    f->screen.refresh = true;
    resize_window(f, 240, 160);
    g_autoptr(GdkPixbuf) picture = look(f);
    assert_int_equal(count_wrong(picture, 0, 0, &(VmcRect){0, 0, 240, 160}, 0), 0);
    unsigned width, height;
    esp_display_view_get_guest_size(f->view, &width, &height);
    assert_int_equal(width, 240);
    assert_int_equal(height, 160);
}

static void a_whole_scale_gives_sharp_squares(void **state)
{
    Fixture *f = *state;
    resize_window(f, 960, 600);
    g_autoptr(GdkPixbuf) picture = look(f);
    unsigned wrong = 0;
    for (int y = 0; y < 600; y++)
        for (int x = 0; x < 960; x++)
            wrong += shown(picture, x, y) != colour((unsigned)x / 3, (unsigned)y / 3, 0);
    assert_int_equal(wrong, 0);
}

static void what_is_left_is_letterbox(void **state)
{
    Fixture *f = *state;
    resize_window(f, 640, 500); /* twice the size, 50 rows above and below */
    g_autoptr(GdkPixbuf) picture = look(f);
    assert_int_equal(shown(picture, 0, 0), LETTERBOX);
    assert_int_equal(shown(picture, 320, 49), LETTERBOX);
    assert_int_equal(shown(picture, 0, 50), colour(0, 0, 0));
    assert_int_equal(shown(picture, 639, 449), colour(319, 199, 0));
    assert_int_equal(shown(picture, 639, 450), LETTERBOX);
}

static void one_to_one_stays_one_to_one(void **state)
{
    Fixture *f = *state;
    esp_display_view_set_scaling(f->view, ESP_SCALING_ONE_TO_ONE);
    resize_window(f, 640, 500);
    g_autoptr(GdkPixbuf) picture = look(f);
    assert_int_equal(count_wrong(picture, 160, 150, &(VmcRect){0, 0, 320, 200}, 0), 0);
    assert_int_equal(shown(picture, 159, 150), LETTERBOX);
}

/* Twice the guest's size counted in the host's own pixels, whatever GTK's scale factor is. */
static void the_pixels_of_the_host_are_what_counts(void **state)
{
    Fixture *f = *state;
    int scale = gtk_widget_get_scale_factor(f->window);
    resize_window(f, 640 / scale, 400 / scale);
    g_autoptr(GdkPixbuf) picture = look(f);
    assert_int_equal(gdk_pixbuf_get_width(picture), 640);
    unsigned wrong = 0;
    for (int y = 0; y < 400; y++)
        for (int x = 0; x < 640; x++)
            wrong += shown(picture, x, y) != colour((unsigned)x / 2, (unsigned)y / 2, 0);
    assert_int_equal(wrong, 0);
    g_string_truncate(f->sent, 0);
    point(f, 640 / scale - 1, 400 / scale - 1);
    unsigned x, y;
    assert_int_equal(sscanf(f->sent->str, "@%u,%u", &x, &y), 2);
    assert_true(x > 32600 && y > 32500);
}

static void a_picture_is_all_of_the_screen(void **state)
{
    Fixture *f = *state;
    screen_repaint(&f->screen, 2); /* not even announced as damage */
    g_autoptr(GdkPixbuf) picture = esp_display_view_take_picture(f->view);
    assert_non_null(picture);
    assert_int_equal(gdk_pixbuf_get_width(picture), 320);
    assert_int_equal(count_wrong(picture, 0, 0, &(VmcRect){0, 0, 320, 200}, 2), 0);
}

static void it_starts_over_after_being_hidden(void **state)
{
    Fixture *f = *state;
    gtk_widget_hide(f->window);
    gtk_widget_unrealize(f->window);
    spin(50);
    gtk_widget_show(f->window);
    resize_window(f, 320, 200);
    g_autoptr(GdkPixbuf) picture = look(f);
    assert_int_equal(count_wrong(picture, 0, 0, &(VmcRect){0, 0, 320, 200}, 0), 0);
}

/* --- Keys --------------------------------------------------------------------------------------- */

static void key(Fixture *f, unsigned keycode, bool down)
{
    GdkEvent *event = gdk_event_new(down ? GDK_KEY_PRESS : GDK_KEY_RELEASE);
    event->key.window = g_object_ref(gtk_widget_get_window(GTK_WIDGET(f->view)));
    event->key.hardware_keycode = (guint16)(keycode + 8);
    gdk_event_set_device(event,
                         gdk_seat_get_keyboard(gdk_display_get_default_seat(gdk_display_get_default())));
    gtk_widget_event(GTK_WIDGET(f->view), event);
    gdk_event_free(event);
}

static void keys_arrive_by_their_place(void **state)
{
    Fixture *f = *state;
    key(f, KEY_A, true);
    key(f, KEY_A, false);
    key(f, KEY_102ND, true);
    key(f, KEY_102ND, false);
    key(f, KEY_TAB, true);
    key(f, KEY_TAB, false);
    assert_sent(f, "+30 -30 +86 -86 +15 -15");
}

static void the_hosts_repeats_are_dropped(void **state)
{
    Fixture *f = *state;
    key(f, KEY_J, true);
    key(f, KEY_J, true);
    key(f, KEY_J, true);
    key(f, KEY_J, false);
    key(f, KEY_J, false);
    assert_sent(f, "+36 -36");
}

static void focus_out_lets_go_of_all(void **state)
{
    Fixture *f = *state;
    key(f, KEY_LEFTALT, true);
    key(f, KEY_TAB, true);
    GdkEvent *event = gdk_event_new(GDK_FOCUS_CHANGE);
    event->focus_change.window = g_object_ref(gtk_widget_get_window(GTK_WIDGET(f->view)));
    gtk_widget_send_focus_change(GTK_WIDGET(f->view), event);
    gdk_event_free(event);
    assert_sent(f, "+56 +15 -15 -56");
}

static void control_alt_alone_asks_for_release(void **state)
{
    Fixture *f = *state;
    key(f, KEY_LEFTCTRL, true);
    key(f, KEY_LEFTALT, true);
    assert_false(f->released);
    key(f, KEY_LEFTALT, false);
    assert_true(f->released);
    key(f, KEY_LEFTCTRL, false);
    assert_sent(f, "+29 +56 -56 -29");
}

static void control_alt_with_a_key_does_not(void **state)
{
    Fixture *f = *state;
    key(f, KEY_LEFTCTRL, true);
    key(f, KEY_LEFTALT, true);
    key(f, KEY_F2, true);
    key(f, KEY_F2, false);
    key(f, KEY_LEFTALT, false);
    key(f, KEY_LEFTCTRL, false);
    assert_false(f->released);
    assert_sent(f, "+29 +56 +60 -60 -56 -29");
}

static void a_chord_is_pressed_and_let_go(void **state)
{
    Fixture *f = *state;
    const unsigned chord[] = {KEY_LEFTCTRL, KEY_LEFTALT, KEY_DELETE};
    esp_display_view_send_chord(f->view, chord, 3);
    assert_sent(f, "+29 +56 +111");
    spin(200);
    assert_sent(f, "-111 -56 -29");
}

static void a_text_is_typed_key_by_key(void **state)
{
    Fixture *f = *state;
    const EspKeyStroke strokes[] = {{KEY_LEFTSHIFT, true},  {KEY_H, true}, {KEY_H, false},
                                    {KEY_LEFTSHIFT, false}, {KEY_I, true}, {KEY_I, false}};
    esp_display_view_type(f->view, strokes, G_N_ELEMENTS(strokes));
    assert_true(esp_display_view_is_typing(f->view));
    spin(400);
    assert_false(esp_display_view_is_typing(f->view));
    assert_sent(f, "+42 +35 -35 -42 +23 -23");
}

static void typing_that_is_cut_short_holds_no_key(void **state)
{
    Fixture *f = *state;
    EspKeyStroke strokes[200] = {{KEY_LEFTSHIFT, true}};
    for (unsigned i = 1; i < G_N_ELEMENTS(strokes); i++)
        strokes[i] = (EspKeyStroke){KEY_Z, i % 2};
    esp_display_view_type(f->view, strokes, G_N_ELEMENTS(strokes));
    spin(100);
    g_string_truncate(f->sent, 0);
    esp_display_view_type(f->view, NULL, 0);
    assert_non_null(strstr(f->sent->str, "-42"));
    g_string_truncate(f->sent, 0);
    spin(100);
    assert_sent(f, "");
}

static void run(const char *command)
{
    g_autoptr(GError) error = NULL;
    int status = -1;
    if (!g_spawn_command_line_sync(command, NULL, NULL, &status, &error) || status)
        fail_msg("%s: %s", command, error ? error->message : "it failed");
    spin(60);
}

/* Real keys of the X server. A German and a French layout have other letters there, and AltGr; a switch while
 * a key is held changes what it would print when it is let go. */
static void a_layout_of_the_hosts_changes_nothing(void **state)
{
    Fixture *f = *state;
    esp_display_view_grab(f->view);
    assert_true(esp_display_view_is_grabbed(f->view));
    run("setxkbmap de");
    run("xdotool keydown 29"); /* Y on an American keyboard, Z on a German one */
    run("setxkbmap fr");
    run("xdotool keyup 29");
    run("xdotool keydown 108 keydown 24 keyup 24 keyup 108"); /* AltGr with Q: @ in Germany */
    run("xdotool key 34 key 94"); /* a dead key, and the one that only ISO keyboards have */
    run("setxkbmap us");
    esp_display_view_ungrab(f->view);
    assert_sent(f, "+21 -21 +100 +16 -16 -100 +26 -26 +86 -86");
}

static void focus_out_leaves_no_modifier_of_a_real_keyboard(void **state)
{
    Fixture *f = *state;
    esp_display_view_grab(f->view);
    run("xdotool keydown 37 keydown 108");
    esp_display_view_ungrab(f->view); /* as Alt+Tab, or a dialog */
    run("xdotool keyup 108 keyup 37");
    assert_sent(f, "+29 +100 -29 -100");
}

/* --- Pointer ------------------------------------------------------------------------------------ */

static void the_pointer_reaches_the_corners(void **state)
{
    Fixture *f = *state;
    point(f, 0, 0);
    point(f, 319, 0);
    point(f, 0, 199);
    point(f, 319, 199);
    assert_sent(f, "@0,0 @32767,0 @0,32767 @32767,32767");
}

static void the_letterbox_is_the_edge(void **state)
{
    Fixture *f = *state;
    resize_window(f, 640, 500);
    g_string_truncate(f->sent, 0);
    point(f, 0, 3);
    point(f, 639, 499);
    point(f, 0, 50);
    assert_sent(f, "@0,0 @32767,32767 @0,0");
}

static void click(Fixture *f, GdkEventType type, guint button)
{
    GdkEvent *event = gdk_event_new(type);
    event->button.window = g_object_ref(gtk_widget_get_window(GTK_WIDGET(f->view)));
    event->button.button = button;
    gtk_widget_event(GTK_WIDGET(f->view), event);
    gdk_event_free(event);
}

static void buttons_are_pressed_where_the_pointer_is(void **state)
{
    Fixture *f = *state;
    click(f, GDK_BUTTON_PRESS, 1);
    click(f, GDK_2BUTTON_PRESS, 1);
    click(f, GDK_BUTTON_RELEASE, 1);
    click(f, GDK_BUTTON_PRESS, 3);
    esp_display_view_ungrab(f->view);
    click(f, GDK_BUTTON_PRESS, 77);
    assert_sent(f, "@0,0 +button0x110 @0,0 -button0x110 @0,0 +button0x111 -button0x111 @0,0");
}

static void scroll(Fixture *f, GdkScrollDirection direction, double dx, double dy)
{
    GdkEvent *event = gdk_event_new(GDK_SCROLL);
    event->scroll.window = g_object_ref(gtk_widget_get_window(GTK_WIDGET(f->view)));
    event->scroll.direction = direction;
    event->scroll.delta_x = dx;
    event->scroll.delta_y = dy;
    gtk_widget_event(GTK_WIDGET(f->view), event);
    gdk_event_free(event);
}

/* Moves the X server's pointer, from wherever it is. */
static void nudge(Fixture *f, int right, int down)
{
    GdkDisplay *display = gtk_widget_get_display(f->window);
    GdkDevice *pointer = gdk_seat_get_pointer(gdk_display_get_default_seat(display));
    int x, y;
    gdk_device_get_position(pointer, NULL, &x, &y);
    gdk_device_warp(pointer, gtk_widget_get_screen(f->window), x + right, y + down);
    spin(30);
}

static void a_mouse_takes_the_pointer_and_tells_how_far_it_moved(void **state)
{
    Fixture *f = *state;
    f->mouse = true;
    esp_display_view_set_sink(f->view, &mouse_sink, f);
    nudge(f, 3, 3);
    assert_int_equal(f->right, 0); /* not before a click */
    g_string_truncate(f->sent, 0);
    click(f, GDK_BUTTON_PRESS, 1);
    click(f, GDK_BUTTON_RELEASE, 1);
    assert_true(esp_display_view_is_grabbed(f->view));
    assert_sent(f, ""); /* which is not the guest's */
    spin(50);
    nudge(f, 40, -25);
    assert_int_equal(f->right, 40);
    assert_int_equal(f->down, -25);

    /* Further than the window is wide, in which it stays. */
    for (unsigned i = 0; i < 30; i++)
        nudge(f, 50, 10);
    assert_int_equal(f->right, 40 + 1500);
    assert_int_equal(f->down, -25 + 300);
    click(f, GDK_BUTTON_PRESS, 1);
    esp_display_view_ungrab(f->view);
    assert_sent(f, "+button0x110 -button0x110");
    nudge(f, 20, 20);
    assert_int_equal(f->right, 1540);
}

static void a_tablet_that_comes_sets_the_pointer_free(void **state)
{
    Fixture *f = *state;
    f->mouse = true;
    esp_display_view_set_sink(f->view, &mouse_sink, f);
    click(f, GDK_BUTTON_PRESS, 1);
    assert_true(esp_display_view_is_grabbed(f->view));
    f->mouse = false;
    spin(50);
    nudge(f, 5, 5);
    assert_false(esp_display_view_is_grabbed(f->view));
    assert_int_equal(f->sent->str[0], '@');
}

static void the_wheel_turns_in_clicks(void **state)
{
    Fixture *f = *state;
    scroll(f, GDK_SCROLL_UP, 0, 0);
    scroll(f, GDK_SCROLL_SMOOTH, 0, 0.4);
    scroll(f, GDK_SCROLL_SMOOTH, 0, 0.4);
    scroll(f, GDK_SCROLL_SMOOTH, 0, 0.4);
    scroll(f, GDK_SCROLL_SMOOTH, 0, -1.0);
    scroll(f, GDK_SCROLL_SMOOTH, 2.0, 0);
    assert_sent(f, "@0,0 wheel1,0 @0,0 @0,0 @0,0 wheel-1,0 @0,0 wheel1,0 @0,0 wheel0,2");
}

static void a_scroll_gesture_leaves_nothing_for_the_next(void **state)
{
    Fixture *f = *state;
    scroll(f, GDK_SCROLL_SMOOTH, 0, 0.9);
    GdkEvent *event = gdk_event_new(GDK_SCROLL);
    event->scroll.window = g_object_ref(gtk_widget_get_window(GTK_WIDGET(f->view)));
    event->scroll.direction = GDK_SCROLL_SMOOTH;
    event->scroll.is_stop = TRUE;
    gtk_widget_event(GTK_WIDGET(f->view), event);
    gdk_event_free(event);
    scroll(f, GDK_SCROLL_SMOOTH, 0, 0.9);
    scroll(f, GDK_SCROLL_SMOOTH, 0, 1e9); /* nonsense of a driver is not for hours */
    assert_sent(f, "@0,0 @0,0 @0,0 @0,0 wheel-16,0");
}

static void the_buttons_at_the_side_have_names_of_their_own(void **state)
{
    Fixture *f = *state;
    for (guint button = 8; button <= 12; button++) {
        click(f, GDK_BUTTON_PRESS, button);
        click(f, GDK_BUTTON_RELEASE, button);
    }
    for (unsigned i = 0; i < 10; i++) {
        static const unsigned names[] = {BTN_SIDE, BTN_EXTRA, BTN_FORWARD, BTN_BACK, BTN_TASK};
        g_autofree char *wanted = g_strdup_printf("%cbutton%#x", i % 2 ? '-' : '+', names[i / 2]);
        assert_non_null(strstr(f->sent->str, wanted));
    }
}

#define VIEW_TEST(name) cmocka_unit_test_setup_teardown(name, setup_view, teardown_view)

int main(int argc, char **argv)
{
    gtk_init(&argc, &argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        VIEW_TEST(every_pixel_is_shown_as_it_is),
        VIEW_TEST(only_what_is_damaged_is_uploaded),
        VIEW_TEST(what_changed_looks_as_if_all_were_drawn_anew),
        VIEW_TEST(damage_outside_the_screen_is_ignored),
        VIEW_TEST(a_guest_may_change_its_size),
        VIEW_TEST(a_whole_scale_gives_sharp_squares),
        VIEW_TEST(what_is_left_is_letterbox),
        VIEW_TEST(one_to_one_stays_one_to_one),
        VIEW_TEST(the_pixels_of_the_host_are_what_counts),
        VIEW_TEST(a_picture_is_all_of_the_screen),
        VIEW_TEST(it_starts_over_after_being_hidden),
        VIEW_TEST(keys_arrive_by_their_place),
        VIEW_TEST(the_hosts_repeats_are_dropped),
        VIEW_TEST(focus_out_lets_go_of_all),
        VIEW_TEST(control_alt_alone_asks_for_release),
        VIEW_TEST(control_alt_with_a_key_does_not),
        VIEW_TEST(a_chord_is_pressed_and_let_go),
        VIEW_TEST(a_text_is_typed_key_by_key),
        VIEW_TEST(typing_that_is_cut_short_holds_no_key),
        VIEW_TEST(a_layout_of_the_hosts_changes_nothing),
        VIEW_TEST(focus_out_leaves_no_modifier_of_a_real_keyboard),
        VIEW_TEST(the_pointer_reaches_the_corners),
        VIEW_TEST(the_letterbox_is_the_edge),
        VIEW_TEST(buttons_are_pressed_where_the_pointer_is),
        VIEW_TEST(a_mouse_takes_the_pointer_and_tells_how_far_it_moved),
        VIEW_TEST(a_tablet_that_comes_sets_the_pointer_free),
        VIEW_TEST(the_wheel_turns_in_clicks),
        VIEW_TEST(a_scroll_gesture_leaves_nothing_for_the_next),
        VIEW_TEST(the_buttons_at_the_side_have_names_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
