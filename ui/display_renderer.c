/*
 * The guest's screen as a textured quad (see display_renderer.h).
 *
 * The texture takes the guest's bytes as they are, B, G, R, X read as R, G, B, A, and the fragment shader
 * puts them in order: no conversion on the way, in any driver. The quad needs no vertex buffer; its corners
 * come from gl_VertexID, and the GL viewport is what places it.
 */
#include "ui/display_renderer.h"

#include <epoxy/gl.h>
#include <gdk/gdk.h>

#define LETTERBOX 0.055f /* a dark grey that is told apart from a guest's black */

struct EspRenderer {
    GLuint program;
    GLuint vertex_array;
    GLuint texture;
    unsigned width, height; /* of the texture; 0 before the first frame */

    /* What the framebuffer has of it. */
    bool whole;          /* all has to be drawn */
    VmcRect changed[64]; /* otherwise only this */
    unsigned n_changed;
    EspViewport viewport;
    int target_width, target_height;
};

static const char vertex_source[] = "#version 150\n"
                                    "out vec2 at;\n"
                                    "void main()\n"
                                    "{\n"
                                    "    vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);\n"
                                    "    at = vec2(corner.x, 1.0 - corner.y);\n"
                                    "    gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);\n"
                                    "}\n";

static const char fragment_source[] = "#version 150\n"
                                      "in vec2 at;\n"
                                      "out vec4 colour;\n"
                                      "uniform sampler2D screen;\n"
                                      "void main()\n"
                                      "{\n"
                                      "    colour = vec4(texture(screen, at).bgr, 1.0);\n"
                                      "}\n";

static GLuint compile(GLenum type, const char *source, GError **error)
{
    GLuint shader = glCreateShader(type);
    glShaderSource(shader, 1, &source, NULL);
    glCompileShader(shader);
    GLint ok = GL_FALSE;
    glGetShaderiv(shader, GL_COMPILE_STATUS, &ok);
    if (!ok) {
        char log[512] = "";
        glGetShaderInfoLog(shader, sizeof(log), NULL, log);
        g_set_error(error, GDK_GL_ERROR, GDK_GL_ERROR_NOT_AVAILABLE, "OpenGL cannot compile a shader: %s",
                    log);
        glDeleteShader(shader);
        return 0;
    }
    return shader;
}

static GLuint link_program(GError **error)
{
    GLuint vertex = compile(GL_VERTEX_SHADER, vertex_source, error);
    GLuint fragment = vertex ? compile(GL_FRAGMENT_SHADER, fragment_source, error) : 0;
    GLuint program = 0;
    if (vertex && fragment) {
        program = glCreateProgram();
        glAttachShader(program, vertex);
        glAttachShader(program, fragment);
        glLinkProgram(program);
        GLint ok = GL_FALSE;
        glGetProgramiv(program, GL_LINK_STATUS, &ok);
        if (!ok) {
            char log[512] = "";
            glGetProgramInfoLog(program, sizeof(log), NULL, log);
            g_set_error(error, GDK_GL_ERROR, GDK_GL_ERROR_NOT_AVAILABLE, "OpenGL cannot link a program: %s",
                        log);
            glDeleteProgram(program);
            program = 0;
        }
    }
    glDeleteShader(vertex);
    glDeleteShader(fragment);
    return program;
}

EspRenderer *esp_renderer_new(GError **error)
{
    if (!epoxy_is_desktop_gl() || epoxy_gl_version() < 32) {
        g_set_error(error, GDK_GL_ERROR, GDK_GL_ERROR_NOT_AVAILABLE, "OpenGL %d.%d is too old; 3.2 is needed",
                    epoxy_gl_version() / 10, epoxy_gl_version() % 10);
        return NULL;
    }
    GLuint program = link_program(error);
    if (!program)
        return NULL;
    EspRenderer *renderer = g_new0(EspRenderer, 1);
    renderer->program = program;
    glGenVertexArrays(1, &renderer->vertex_array);
    glGenTextures(1, &renderer->texture);
    renderer->whole = true;
    return renderer;
}

void esp_renderer_free(EspRenderer *renderer)
{
    if (!renderer)
        return;
    glDeleteTextures(1, &renderer->texture);
    glDeleteVertexArrays(1, &renderer->vertex_array);
    glDeleteProgram(renderer->program);
    g_free(renderer);
}

static void upload_rect(EspRenderer *renderer, const VmcFrame *frame, const VmcRect *rect)
{
    if (rect->x > frame->width || rect->width > frame->width - rect->x || rect->y > frame->height ||
        rect->height > frame->height - rect->y || !rect->width || !rect->height)
        return;
    if (renderer->n_changed < G_N_ELEMENTS(renderer->changed))
        renderer->changed[renderer->n_changed++] = *rect;
    else
        renderer->whole = true;
    const uint8_t *first = frame->pixels + (size_t)rect->y * frame->stride + (size_t)rect->x * 4;
    glTexSubImage2D(GL_TEXTURE_2D, 0, (GLint)rect->x, (GLint)rect->y, (GLsizei)rect->width,
                    (GLsizei)rect->height, GL_RGBA, GL_UNSIGNED_BYTE, first);
}

void esp_renderer_upload(EspRenderer *renderer, const VmcFrame *frame)
{
    if (!frame->width || !frame->height || !frame->pixels)
        return;
    glBindTexture(GL_TEXTURE_2D, renderer->texture);
    glPixelStorei(GL_UNPACK_ALIGNMENT, 4);
    glPixelStorei(GL_UNPACK_ROW_LENGTH, (GLint)(frame->stride / 4));
    if (frame->width != renderer->width || frame->height != renderer->height) {
        glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA8, (GLsizei)frame->width, (GLsizei)frame->height, 0, GL_RGBA,
                     GL_UNSIGNED_BYTE, frame->pixels);
        glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
        glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
        renderer->width = frame->width;
        renderer->height = frame->height;
        renderer->whole = true;
    } else {
        for (unsigned i = 0; i < MIN(frame->n_damage, G_N_ELEMENTS(frame->damage)); i++)
            upload_rect(renderer, frame, &frame->damage[i]);
    }
    glPixelStorei(GL_UNPACK_ROW_LENGTH, 0);
}

static bool same_place(const EspViewport *a, const EspViewport *b)
{
    return a->x == b->x && a->y == b->y && a->width == b->width && a->height == b->height &&
           a->nearest == b->nearest;
}

void esp_renderer_forget(EspRenderer *renderer)
{
    renderer->whole = true;
}

/* GL counts rows from the bottom. */
static void draw_changed(EspRenderer *renderer, const EspViewport *viewport, int height)
{
    glEnable(GL_SCISSOR_TEST);
    for (unsigned i = 0; i < renderer->n_changed; i++) {
        EspArea area = esp_viewport_area(viewport, &renderer->changed[i], renderer->width, renderer->height);
        glScissor(area.x, height - area.y - area.height, area.width, area.height);
        glDrawArrays(GL_TRIANGLE_STRIP, 0, 4);
    }
    glDisable(GL_SCISSOR_TEST);
}

static void draw_screen(EspRenderer *renderer, const EspViewport *viewport, int height)
{
    glViewport(viewport->x, height - viewport->y - viewport->height, viewport->width, viewport->height);
    glDisable(GL_BLEND);
    glUseProgram(renderer->program);
    glBindVertexArray(renderer->vertex_array);
    glActiveTexture(GL_TEXTURE0);
    glBindTexture(GL_TEXTURE_2D, renderer->texture);
    GLint filter = viewport->nearest ? GL_NEAREST : GL_LINEAR;
    glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, filter);
    glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, filter);
    if (renderer->whole)
        glDrawArrays(GL_TRIANGLE_STRIP, 0, 4);
    else
        draw_changed(renderer, viewport, height);
    glBindVertexArray(0);
    glUseProgram(0);
}

void esp_renderer_draw(EspRenderer *renderer, const EspViewport *viewport, int width, int height)
{
    if (width != renderer->target_width || height != renderer->target_height ||
        !same_place(viewport, &renderer->viewport))
        renderer->whole = true;
    if (renderer->whole) {
        glViewport(0, 0, width, height);
        glClearColor(LETTERBOX, LETTERBOX, LETTERBOX, 1.0f);
        glClear(GL_COLOR_BUFFER_BIT);
    }
    if (renderer->width && viewport->width)
        draw_screen(renderer, viewport, height);
    renderer->whole = false;
    renderer->n_changed = 0;
    renderer->viewport = *viewport;
    renderer->target_width = width;
    renderer->target_height = height;
}
