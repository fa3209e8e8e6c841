/*
 * How fast the widget with the guest's screen is: for tests/bench/ui.py, which gives it a display and reads
 * the lines.
 *
 *   display_speed view SECONDS    1920 x 1080, a quarter of which changes with every frame: "frames N
 * SECONDS" display_speed blit SECONDS    a plain GtkGLArea of that size that draws a texture with every
 * frame: the same line display_speed keys SECONDS    "ready", then counts the keys that are pressed: "keys N
 * MEAN_US MAX_US"
 */
#include <epoxy/gl.h>
#include <gtk/gtk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/display_view.h"

#define WIDTH  1920u
#define HEIGHT 1080u

static uint32_t pixels[WIDTH * HEIGHT];
static unsigned round_number;

/* A quarter of the screen, another one each time. */
static bool screen_collect(void *opaque, VmcFrame *frame)
{
    unsigned quarter = round_number++ % 4;
    VmcRect rect = {(quarter & 1) * WIDTH / 2, (quarter >> 1) * HEIGHT / 2, WIDTH / 2, HEIGHT / 2};

    for (unsigned y = 0; y < rect.height; y++)
        memset(&pixels[(rect.y + y) * WIDTH + rect.x], (int)(round_number * 3), rect.width * 4);
    *frame = (VmcFrame){.width = WIDTH,
                        .height = HEIGHT,
                        .stride = WIDTH * 4,
                        .pixels = (const uint8_t *)pixels,
                        .n_damage = 1,
                        .damage = {rect},
                        .serial = round_number};
    return true;
}

static void screen_refresh(void *opaque)
{
}

static const EspDisplaySource source = {.collect = screen_collect, .refresh = screen_refresh};

static void no_key(void *opaque, unsigned keycode, bool down)
{
}

static void no_pointer(void *opaque, unsigned x, unsigned y)
{
}

static void no_button(void *opaque, unsigned button, bool down)
{
}

static void no_wheel(void *opaque, int vertical, int horizontal)
{
}

static const EspInputSink sink = {
    .key = no_key, .pointer = no_pointer, .button = no_button, .wheel = no_wheel};

static double spin(double seconds)
{
    gint64 start = g_get_monotonic_time(), end = start + (gint64)(seconds * G_USEC_PER_SEC);

    while (g_get_monotonic_time() < end)
        g_main_context_iteration(NULL, TRUE);
    return (double)(g_get_monotonic_time() - start) / G_USEC_PER_SEC;
}

static gboolean on_wake(gpointer data)
{
    return G_SOURCE_CONTINUE;
}

static GtkWidget *show(GtkWidget *child)
{
    GtkWidget *window = gtk_window_new(GTK_WINDOW_POPUP);

    gtk_container_add(GTK_CONTAINER(window), child);
    gtk_window_resize(GTK_WINDOW(window), (int)WIDTH, (int)HEIGHT);
    gtk_widget_show_all(window);
    g_timeout_add(100, on_wake, NULL); /* the time is over even if nothing happens */
    return window;
}

static EspDisplayView *show_view(void)
{
    EspDisplayView *view = ESP_DISPLAY_VIEW(esp_display_view_new());

    show(GTK_WIDGET(view));
    esp_display_view_set_source(view, &source, NULL);
    esp_display_view_set_sink(view, &sink, NULL);
    esp_display_view_set_active(view, true);
    spin(0.5);
    return view;
}

static void measure_view(double seconds)
{
    EspDisplayView *view = show_view();
    EspDisplayCounters before, after;

    esp_display_view_get_counters(view, &before);
    seconds = spin(seconds);
    esp_display_view_get_counters(view, &after);
    printf("frames %u %.3f %s\n", (unsigned)(after.drawn - before.drawn), seconds,
           esp_display_view_get_renderer(view, NULL));
}

static void measure_keys(double seconds)
{
    EspDisplayView *view = show_view();
    EspDisplayCounters counters;

    esp_display_view_grab(view);
    printf("ready\n");
    fflush(stdout);
    spin(seconds);
    esp_display_view_get_counters(view, &counters);
    printf("keys %u %u %u\n", (unsigned)counters.keys,
           (unsigned)(counters.keys ? counters.key_sum_us / counters.keys : 0),
           (unsigned)counters.key_max_us);
}

/* ---- what it is measured against ---- */

static GLuint framebuffer;
static unsigned blits;

static void on_realize(GtkGLArea *area)
{
    GLuint texture;

    gtk_gl_area_make_current(area);
    glGenTextures(1, &texture);
    glBindTexture(GL_TEXTURE_2D, texture);
    glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA8, WIDTH, HEIGHT, 0, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
    glGenFramebuffers(1, &framebuffer);
    glBindFramebuffer(GL_READ_FRAMEBUFFER, framebuffer);
    glFramebufferTexture2D(GL_READ_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, texture, 0);
}

static gboolean on_render(GtkGLArea *area, GdkGLContext *context)
{
    glBindFramebuffer(GL_READ_FRAMEBUFFER, framebuffer);
    glBlitFramebuffer(0, 0, WIDTH, HEIGHT, 0, 0, WIDTH, HEIGHT, GL_COLOR_BUFFER_BIT, GL_NEAREST);
    blits++;
    return TRUE;
}

static gboolean on_tick(GtkWidget *widget, GdkFrameClock *clock, gpointer data)
{
    gtk_gl_area_queue_render(GTK_GL_AREA(widget));
    return G_SOURCE_CONTINUE;
}

static void measure_blit(double seconds)
{
    GtkWidget *area = gtk_gl_area_new();

    g_signal_connect(area, "realize", G_CALLBACK(on_realize), NULL);
    g_signal_connect(area, "render", G_CALLBACK(on_render), NULL);
    show(area);
    gtk_widget_add_tick_callback(area, on_tick, NULL, NULL);
    spin(0.5);
    blits = 0;
    seconds = spin(seconds);
    printf("frames %u %.3f OpenGL\n", blits, seconds);
}

int main(int argc, char **argv)
{
    gtk_init(&argc, &argv);
    if (argc != 3) {
        fprintf(stderr, "usage: display_speed view|blit|keys SECONDS\n");
        return 2;
    }
    double seconds = g_ascii_strtod(argv[2], NULL);
    if (!strcmp(argv[1], "view"))
        measure_view(seconds);
    else if (!strcmp(argv[1], "blit"))
        measure_blit(seconds);
    else
        measure_keys(seconds);
    return 0;
}
