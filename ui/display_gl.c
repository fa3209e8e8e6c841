/*
 * Whether OpenGL is what a guest's screen should be drawn with (see display_gl.h).
 *
 * Where there is no graphics card Mesa computes OpenGL on the processor. A full-HD screen costs most of a CPU
 * then, which the guest should have, while cairo hands the display what changed and is done. This has to be
 * known before a window has a GL context: from then on GDK draws all of that window with OpenGL. So a window
 * that nobody sees is asked.
 */
#include "ui/display_gl.h"

#include <epoxy/gl.h>
#include <string.h>

#define ANSWER "espalier-without-gl" /* of a display: why not, or "" */

static const char *const software[] = {"llvmpipe", "softpipe", "swrast", "Software Rasterizer", "SWR"};

static char *why_not_renderer(const char *name)
{
    for (gsize i = 0; name && i < G_N_ELEMENTS(software); i++)
        if (strstr(name, software[i]))
            return g_strdup_printf("OpenGL is computed by the processor here (%s), which cairo does faster",
                                   name);
    return g_strdup("");
}

static char *ask(GdkDisplay *display)
{
    GdkWindowAttr attributes = {
        .width = 1, .height = 1, .wclass = GDK_INPUT_OUTPUT, .window_type = GDK_WINDOW_TOPLEVEL};
    GdkWindow *root = gdk_screen_get_root_window(gdk_display_get_default_screen(display));
    GdkWindow *window = gdk_window_new(root, &attributes, 0);
    g_autoptr(GError) error = NULL;
    g_autoptr(GdkGLContext) context = gdk_window_create_gl_context(window, &error);
    char *why;

    if (context && gdk_gl_context_realize(context, &error)) {
        gdk_gl_context_make_current(context);
        why = why_not_renderer((const char *)glGetString(GL_RENDERER));
        gdk_gl_context_clear_current();
    } else {
        why = g_strdup(error->message);
    }
    g_clear_object(&context);
    gdk_window_destroy(window);
    return why;
}

/* For those who want to see the other one; see espalier(1). */
static char *why_not(GdkDisplay *display)
{
    const char *wanted = g_getenv("ESPALIER_RENDERER");

    if (!g_strcmp0(wanted, "opengl"))
        return g_strdup("");
    if (!g_strcmp0(wanted, "cairo"))
        return g_strdup("ESPALIER_RENDERER asks for cairo");
    return ask(display);
}

bool esp_display_gl_is_good(GdkDisplay *display, const char **why)
{
    const char *answer = g_object_get_data(G_OBJECT(display), ANSWER);

    if (!answer) {
        answer = why_not(display);
        g_object_set_data_full(G_OBJECT(display), ANSWER, (char *)answer, g_free);
    }
    *why = answer;
    return !*answer;
}
