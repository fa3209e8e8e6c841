/*
 * The widget with the guest's screen (see display_view.h).
 *
 * An event box, for focus and input, around a canvas: a GtkGLArea, or a drawing area where OpenGL is not to
 * be had or slower. A frame is collected on a tick of the frame clock and uploaded when the canvas draws;
 * until that has happened no further frame is collected, because collecting lets the old pixels go.
 */
#include "ui/display_view.h"

#include "ui/display_cairo.h"
#include "ui/display_gl.h"
#include "ui/display_input.h"
#include "ui/display_renderer.h"

struct _EspDisplayView {
    GtkEventBox parent_instance;

    GtkWidget *canvas; /* GtkGLArea or GtkDrawingArea */
    EspRenderer *gl;
    EspCairoRenderer *cairo;
    char *no_gl; /* why there is no OpenGL, or NULL */

    const EspDisplaySource *source;
    void *source_opaque;
    EspDisplayInput *input;

    VmcFrame frame; /* the last one collected */
    bool pending;   /* it has not been uploaded yet */
    guint64 collected, drawn;
    bool content; /* there was a pixel that is not black */
    bool active;
    guint tick_id;
    EspScaling scaling;
};

enum { GRAB_CHANGED, RELEASE, GUEST_RESIZED, FRAME, N_SIGNALS };
static guint signals[N_SIGNALS];

G_DEFINE_TYPE(EspDisplayView, esp_display_view, GTK_TYPE_EVENT_BOX)

/* --- Frames ------------------------------------------------------------------------------------- */

static EspViewport place(EspDisplayView *view)
{
    int scale = gtk_widget_get_scale_factor(view->canvas);
    return esp_viewport_place(view->scaling, gtk_widget_get_allocated_width(view->canvas) * scale,
                              gtk_widget_get_allocated_height(view->canvas) * scale, view->frame.width,
                              view->frame.height);
}

/* Only what changed, where the canvas is not OpenGL's: that keeps what has been drawn, and its renderer
 * knows. */
static void redraw_changed(EspDisplayView *view)
{
    const VmcFrame *frame = &view->frame;
    EspViewport viewport = place(view);
    int scale = gtk_widget_get_scale_factor(view->canvas);

    for (unsigned i = 0; i < frame->n_damage; i++) {
        EspArea area = esp_viewport_area(&viewport, &frame->damage[i], frame->width, frame->height);
        int x = area.x / scale - 1, y = area.y / scale - 1;
        gtk_widget_queue_draw_area(view->canvas, x, y, (area.x + area.width) / scale + 1 - x,
                                   (area.y + area.height) / scale + 1 - y);
    }
}

static void redraw(EspDisplayView *view)
{
    if (GTK_IS_GL_AREA(view->canvas))
        gtk_gl_area_queue_render(GTK_GL_AREA(view->canvas));
    else
        gtk_widget_queue_draw(view->canvas);
}

/* One guest pixel per device pixel wants room; fitting is content with little. */
static void update_request(EspDisplayView *view)
{
    int scale = gtk_widget_get_scale_factor(GTK_WIDGET(view));
    if (view->scaling == ESP_SCALING_ONE_TO_ONE && view->frame.width)
        gtk_widget_set_size_request(view->canvas, ((int)view->frame.width + scale - 1) / scale,
                                    ((int)view->frame.height + scale - 1) / scale);
    else
        gtk_widget_set_size_request(view->canvas, 160, 120);
}

static bool rect_has_content(const VmcFrame *frame, const VmcRect *rect)
{
    for (unsigned y = rect->y; y < rect->y + rect->height && y < frame->height; y++) {
        const uint32_t *row = (const uint32_t *)(frame->pixels + (size_t)y * frame->stride);
        for (unsigned x = rect->x; x < rect->x + rect->width && x < frame->width; x++)
            if (row[x] & 0xffffff)
                return true;
    }
    return false;
}

/* Looks only until there is something. */
static void look_for_content(EspDisplayView *view)
{
    const VmcFrame *frame = &view->frame;
    for (unsigned i = 0; frame->pixels && i < frame->n_damage && !view->content; i++)
        view->content = rect_has_content(frame, &frame->damage[i]);
}

static void collect(EspDisplayView *view)
{
    unsigned width = view->frame.width, height = view->frame.height;
    if (view->pending || !view->source || !view->source->collect(view->source_opaque, &view->frame))
        return;
    view->pending = true;
    view->collected++;
    look_for_content(view);
    bool resized = width != view->frame.width || height != view->frame.height;
    if (resized || GTK_IS_GL_AREA(view->canvas))
        redraw(view);
    else
        redraw_changed(view);
    if (resized) {
        update_request(view);
        g_signal_emit(view, signals[GUEST_RESIZED], 0);
    }
    g_signal_emit(view, signals[FRAME], 0);
}

static gboolean on_tick(GtkWidget *widget, GdkFrameClock *clock, gpointer data)
{
    collect(ESP_DISPLAY_VIEW(widget));
    return G_SOURCE_CONTINUE;
}

static void update_tick(EspDisplayView *view)
{
    bool wanted = view->active && view->source && gtk_widget_get_mapped(GTK_WIDGET(view));
    if (wanted && !view->tick_id) {
        view->tick_id = gtk_widget_add_tick_callback(GTK_WIDGET(view), on_tick, NULL, NULL);
    } else if (!wanted && view->tick_id) {
        gtk_widget_remove_tick_callback(GTK_WIDGET(view), view->tick_id);
        view->tick_id = 0;
    }
}

/* --- The canvas --------------------------------------------------------------------------------- */

static gboolean on_draw(GtkWidget *canvas, cairo_t *cr, gpointer data)
{
    EspDisplayView *view = data;
    if (view->pending)
        esp_cairo_renderer_upload(view->cairo, &view->frame);
    view->drawn += view->pending;
    view->pending = false;
    EspViewport viewport = place(view);
    esp_cairo_renderer_draw(view->cairo, cr, &viewport, gtk_widget_get_scale_factor(canvas));
    return TRUE;
}

/* Asks for everything again, for a canvas that has nothing yet. */
static void start_over(EspDisplayView *view)
{
    view->pending = false;
    if (view->source)
        view->source->refresh(view->source_opaque);
    collect(view);
}

static void use_cairo(EspDisplayView *view, const char *why)
{
    g_debug("The screen is drawn without OpenGL: %s", why);
    g_free(view->no_gl);
    view->no_gl = g_strdup(why);
    view->cairo = esp_cairo_renderer_new();
    if (view->canvas)
        gtk_widget_destroy(view->canvas);
    view->canvas = gtk_drawing_area_new();
    g_signal_connect(view->canvas, "draw", G_CALLBACK(on_draw), view);
    gtk_container_add(GTK_CONTAINER(view), view->canvas);
    gtk_widget_show(view->canvas);
    update_request(view);
    start_over(view);
}

static gboolean on_gl_failed(gpointer data)
{
    g_autoptr(EspDisplayView) view = data;
    if (!GTK_IS_GL_AREA(view->canvas))
        return G_SOURCE_REMOVE;
    const GError *failure = gtk_gl_area_get_error(GTK_GL_AREA(view->canvas));
    g_autofree char *why = g_strdup(failure ? failure->message : "there is no GL context");
    use_cairo(view, why);
    return G_SOURCE_REMOVE;
}

static void on_gl_realize(GtkGLArea *area, gpointer data)
{
    EspDisplayView *view = data;
    g_autoptr(GError) error = NULL;
    gtk_gl_area_make_current(area);
    if (!gtk_gl_area_get_error(area)) {
        view->gl = esp_renderer_new(&error);
        if (error)
            gtk_gl_area_set_error(area, error);
    }
    if (view->gl)
        start_over(view);
    else /* the canvas is being realized: it cannot be exchanged from here */
        g_idle_add(on_gl_failed, g_object_ref(view));
}

static void on_gl_unrealize(GtkGLArea *area, gpointer data)
{
    EspDisplayView *view = data;
    if (!view->gl)
        return;
    gtk_gl_area_make_current(area);
    esp_renderer_free(view->gl);
    view->gl = NULL;
}

/* The area made itself another framebuffer. */
static void on_gl_resize(GtkGLArea *area, int width, int height, gpointer data)
{
    EspDisplayView *view = data;
    if (view->gl)
        esp_renderer_forget(view->gl);
}

static gboolean on_gl_render(GtkGLArea *area, GdkGLContext *context, gpointer data)
{
    EspDisplayView *view = data;
    if (!view->gl)
        return FALSE;
    if (view->pending)
        esp_renderer_upload(view->gl, &view->frame);
    view->drawn += view->pending;
    view->pending = false;
    int scale = gtk_widget_get_scale_factor(view->canvas);
    EspViewport viewport = place(view);
    esp_renderer_draw(view->gl, &viewport, gtk_widget_get_allocated_width(view->canvas) * scale,
                      gtk_widget_get_allocated_height(view->canvas) * scale);
    return TRUE;
}

static void add_gl_canvas(EspDisplayView *view)
{
    view->canvas = gtk_gl_area_new();
    gtk_gl_area_set_required_version(GTK_GL_AREA(view->canvas), 3, 2);
    gtk_gl_area_set_auto_render(GTK_GL_AREA(view->canvas), FALSE);
    g_signal_connect(view->canvas, "realize", G_CALLBACK(on_gl_realize), view);
    g_signal_connect(view->canvas, "unrealize", G_CALLBACK(on_gl_unrealize), view);
    g_signal_connect(view->canvas, "resize", G_CALLBACK(on_gl_resize), view);
    g_signal_connect(view->canvas, "render", G_CALLBACK(on_gl_render), view);
    gtk_container_add(GTK_CONTAINER(view), view->canvas);
    gtk_widget_show(view->canvas);
}

/* --- Input -------------------------------------------------------------------------------------- */

static EspViewport input_place(GtkWidget *widget)
{
    return place(ESP_DISPLAY_VIEW(widget));
}

static void input_grab_changed(GtkWidget *widget)
{
    g_signal_emit(widget, signals[GRAB_CHANGED], 0);
}

static void input_release(GtkWidget *widget)
{
    g_signal_emit(widget, signals[RELEASE], 0);
}

static const EspDisplayInputHost input_host = {
    .place = input_place, .grab_changed = input_grab_changed, .release = input_release};

static gboolean esp_display_view_key(GtkWidget *widget, GdkEventKey *event)
{
    esp_display_input_key(ESP_DISPLAY_VIEW(widget)->input, event);
    return TRUE;
}

static gboolean esp_display_view_focus_out(GtkWidget *widget, GdkEventFocus *event)
{
    esp_display_view_ungrab(ESP_DISPLAY_VIEW(widget));
    gtk_widget_queue_draw(widget);
    return FALSE;
}

static gboolean esp_display_view_grab_broken(GtkWidget *widget, GdkEventGrabBroken *event)
{
    esp_display_input_grab_broken(ESP_DISPLAY_VIEW(widget)->input, event);
    return FALSE;
}

static gboolean esp_display_view_motion(GtkWidget *widget, GdkEventMotion *event)
{
    esp_display_input_motion(ESP_DISPLAY_VIEW(widget)->input, event);
    return TRUE;
}

static gboolean esp_display_view_button(GtkWidget *widget, GdkEventButton *event)
{
    esp_display_input_button(ESP_DISPLAY_VIEW(widget)->input, event);
    return TRUE;
}

static gboolean esp_display_view_scroll(GtkWidget *widget, GdkEventScroll *event)
{
    esp_display_input_scroll(ESP_DISPLAY_VIEW(widget)->input, event);
    return TRUE;
}

/* --- The widget --------------------------------------------------------------------------------- */

static void esp_display_view_map(GtkWidget *widget)
{
    GTK_WIDGET_CLASS(esp_display_view_parent_class)->map(widget);
    update_tick(ESP_DISPLAY_VIEW(widget));
}

static void esp_display_view_unmap(GtkWidget *widget)
{
    esp_display_view_ungrab(ESP_DISPLAY_VIEW(widget));
    GTK_WIDGET_CLASS(esp_display_view_parent_class)->unmap(widget);
    update_tick(ESP_DISPLAY_VIEW(widget));
}

static void on_scale_factor(EspDisplayView *view)
{
    update_request(view);
    redraw(view);
}

static void esp_display_view_dispose(GObject *object)
{
    EspDisplayView *view = ESP_DISPLAY_VIEW(object);
    esp_display_view_set_source(view, NULL, NULL);
    esp_display_input_set_sink(view->input, NULL, NULL);
    G_OBJECT_CLASS(esp_display_view_parent_class)->dispose(object);
}

static void esp_display_view_finalize(GObject *object)
{
    EspDisplayView *view = ESP_DISPLAY_VIEW(object);
    esp_cairo_renderer_free(view->cairo);
    esp_display_input_free(view->input);
    g_free(view->no_gl);
    G_OBJECT_CLASS(esp_display_view_parent_class)->finalize(object);
}

static void esp_display_view_class_init(EspDisplayViewClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    object_class->dispose = esp_display_view_dispose;
    object_class->finalize = esp_display_view_finalize;
    widget_class->key_press_event = esp_display_view_key;
    widget_class->key_release_event = esp_display_view_key;
    widget_class->focus_out_event = esp_display_view_focus_out;
    widget_class->grab_broken_event = esp_display_view_grab_broken;
    widget_class->motion_notify_event = esp_display_view_motion;
    widget_class->button_press_event = esp_display_view_button;
    widget_class->button_release_event = esp_display_view_button;
    widget_class->scroll_event = esp_display_view_scroll;
    widget_class->map = esp_display_view_map;
    widget_class->unmap = esp_display_view_unmap;
    gtk_widget_class_set_css_name(widget_class, "display");
    gtk_widget_class_set_accessible_role(widget_class, ATK_ROLE_CANVAS);

    const GType type = G_TYPE_FROM_CLASS(klass);
    signals[GRAB_CHANGED] =
        g_signal_new("grab-changed", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
    signals[RELEASE] = g_signal_new("release", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
    signals[GUEST_RESIZED] =
        g_signal_new("guest-resized", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
    signals[FRAME] = g_signal_new("frame", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void esp_display_view_init(EspDisplayView *view)
{
    GtkWidget *widget = GTK_WIDGET(view);
    view->input = esp_display_input_new(widget, &input_host);
    gtk_widget_set_can_focus(widget, TRUE);
    gtk_event_box_set_above_child(GTK_EVENT_BOX(view), TRUE);
    gtk_widget_add_events(widget, GDK_POINTER_MOTION_MASK | GDK_BUTTON_PRESS_MASK | GDK_BUTTON_RELEASE_MASK |
                                      GDK_SCROLL_MASK | GDK_SMOOTH_SCROLL_MASK | GDK_KEY_PRESS_MASK |
                                      GDK_KEY_RELEASE_MASK | GDK_FOCUS_CHANGE_MASK);
    g_signal_connect(view, "notify::scale-factor", G_CALLBACK(on_scale_factor), NULL);
    const char *why;
    if (esp_display_gl_is_good(gtk_widget_get_display(widget), &why))
        add_gl_canvas(view);
    else
        use_cairo(view, why);
    update_request(view);
}

GtkWidget *esp_display_view_new(void)
{
    return g_object_new(ESP_TYPE_DISPLAY_VIEW, NULL);
}

void esp_display_view_set_source(EspDisplayView *view, const EspDisplaySource *source, void *opaque)
{
    /* The old source's pixels go away with it: what was not uploaded yet is dropped. */
    view->pending = false;
    view->content = false;
    view->frame.pixels = NULL;
    view->source = source;
    view->source_opaque = opaque;
    if (source)
        start_over(view);
    update_tick(view);
}

void esp_display_view_set_sink(EspDisplayView *view, const EspInputSink *sink, void *opaque)
{
    esp_display_input_set_sink(view->input, sink, opaque);
}

void esp_display_view_set_grab_on_click(EspDisplayView *view, bool grab)
{
    esp_display_input_set_grab_on_click(view->input, grab);
}

bool esp_display_view_is_grabbed(EspDisplayView *view)
{
    return esp_display_input_is_grabbed(view->input);
}

void esp_display_view_grab(EspDisplayView *view)
{
    esp_display_input_grab(view->input);
}

void esp_display_view_ungrab(EspDisplayView *view)
{
    esp_display_input_ungrab(view->input);
}

void esp_display_view_send_chord(EspDisplayView *view, const unsigned *keycodes, unsigned n)
{
    esp_display_input_send_chord(view->input, keycodes, n);
}

void esp_display_view_type(EspDisplayView *view, const EspKeyStroke *strokes, unsigned n)
{
    esp_display_input_type(view->input, strokes, n);
}

bool esp_display_view_is_typing(EspDisplayView *view)
{
    return esp_display_input_is_typing(view->input);
}

bool esp_display_view_wants_key(EspDisplayView *view, const GdkEventKey *event)
{
    GtkWidget *toplevel = gtk_widget_get_toplevel(GTK_WIDGET(view));
    guint modifiers = event->state & gtk_accelerator_get_default_mod_mask();

    if (gtk_window_get_focus(GTK_WINDOW(toplevel)) != GTK_WIDGET(view) ||
        !gtk_widget_get_mapped(GTK_WIDGET(view)))
        return false;
    return event->keyval != GDK_KEY_F11 || modifiers || esp_display_view_is_grabbed(view);
}

void esp_display_view_set_active(EspDisplayView *view, bool active)
{
    if (view->active && !active)
        collect(view);
    view->active = active;
    update_tick(view);
}

void esp_display_view_set_scaling(EspDisplayView *view, EspScaling scaling)
{
    view->scaling = scaling;
    update_request(view);
    redraw(view);
}

EspScaling esp_display_view_get_scaling(EspDisplayView *view)
{
    return view->scaling;
}

void esp_display_view_get_guest_size(EspDisplayView *view, unsigned *width, unsigned *height)
{
    *width = view->frame.width;
    *height = view->frame.height;
}

bool esp_display_view_has_content(EspDisplayView *view)
{
    return view->content;
}

GdkPixbuf *esp_display_view_take_picture(EspDisplayView *view)
{
    if (!view->source)
        return NULL;
    /* Everything anew: then all pixels are ours to read, and the next drawing uploads them all. */
    start_over(view);
    const VmcFrame *frame = &view->frame;
    if (!frame->width || !frame->height || !frame->pixels)
        return NULL;
    GdkPixbuf *picture = gdk_pixbuf_new(GDK_COLORSPACE_RGB, FALSE, 8, (int)frame->width, (int)frame->height);
    if (!picture)
        return NULL;
    guchar *to = gdk_pixbuf_get_pixels(picture);
    int stride = gdk_pixbuf_get_rowstride(picture);
    for (unsigned y = 0; y < frame->height; y++) {
        const uint8_t *from = frame->pixels + (size_t)y * frame->stride;
        guchar *row = to + (size_t)y * (size_t)stride;
        for (unsigned x = 0; x < frame->width; x++, from += 4, row += 3) {
            row[0] = from[2];
            row[1] = from[1];
            row[2] = from[0];
        }
    }
    return picture;
}

const char *esp_display_view_get_renderer(EspDisplayView *view, const char **why)
{
    if (why)
        *why = view->no_gl;
    return view->no_gl ? "cairo" : "OpenGL";
}

void esp_display_view_get_counters(EspDisplayView *view, EspDisplayCounters *counters)
{
    counters->collected = view->collected;
    counters->drawn = view->drawn;
    esp_display_input_get_key_times(view->input, &counters->keys, &counters->key_sum_us,
                                    &counters->key_max_us);
}
