/* The window of a further screen (see screen_window.h). */
#include "ui/screen_window.h"

#include <glib/gi18n.h>

struct _EspScreenWindow {
    GtkWindow parent_instance;
    GtkHeaderBar *header;
    GtkScrolledWindow *scroller;
    EspDisplayView *view;
    GtkToggleButton *fullscreen_button;
};

enum { CLOSED_BY_USER, N_SIGNALS };
static guint signals[N_SIGNALS];

G_DEFINE_TYPE(EspScreenWindow, esp_screen_window, GTK_TYPE_WINDOW)

static void update_subtitle(EspScreenWindow *window)
{
    gtk_header_bar_set_subtitle(window->header, esp_display_view_is_grabbed(window->view)
                                                    ? _("Press Ctrl+Alt to release the keyboard and pointer")
                                                    : NULL);
}

static void on_release(EspScreenWindow *window)
{
    gtk_widget_grab_focus(GTK_WIDGET(window->fullscreen_button));
    if (gdk_window_get_state(gtk_widget_get_window(GTK_WIDGET(window))) & GDK_WINDOW_STATE_FULLSCREEN)
        gtk_window_unfullscreen(GTK_WINDOW(window));
}

static void on_fullscreen(EspScreenWindow *window)
{
    if (gtk_toggle_button_get_active(window->fullscreen_button))
        gtk_window_fullscreen(GTK_WINDOW(window));
    else
        gtk_window_unfullscreen(GTK_WINDOW(window));
}

static gboolean esp_screen_window_state_event(GtkWidget *widget, GdkEventWindowState *event)
{
    EspScreenWindow *window = ESP_SCREEN_WINDOW(widget);
    bool full = event->new_window_state & GDK_WINDOW_STATE_FULLSCREEN;

    gtk_toggle_button_set_active(window->fullscreen_button, full);
    return GTK_WIDGET_CLASS(esp_screen_window_parent_class)->window_state_event(widget, event);
}

static gboolean esp_screen_window_key_event(GtkWidget *widget, GdkEventKey *event)
{
    EspScreenWindow *window = ESP_SCREEN_WINDOW(widget);
    GtkWidgetClass *parent = GTK_WIDGET_CLASS(esp_screen_window_parent_class);

    if (esp_display_view_wants_key(window->view, event))
        return gtk_widget_event(GTK_WIDGET(window->view), (GdkEvent *)event);
    if (event->type == GDK_KEY_PRESS && event->keyval == GDK_KEY_F11) {
        gtk_toggle_button_set_active(window->fullscreen_button,
                                     !gtk_toggle_button_get_active(window->fullscreen_button));
        return GDK_EVENT_STOP;
    }
    return event->type == GDK_KEY_PRESS ? parent->key_press_event(widget, event)
                                        : parent->key_release_event(widget, event);
}

static gboolean esp_screen_window_delete_event(GtkWidget *widget, GdkEventAny *event)
{
    gtk_widget_hide(widget);
    g_signal_emit(widget, signals[CLOSED_BY_USER], 0);
    return GDK_EVENT_STOP;
}

static void esp_screen_window_class_init(EspScreenWindowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    widget_class->window_state_event = esp_screen_window_state_event;
    widget_class->key_press_event = esp_screen_window_key_event;
    widget_class->key_release_event = esp_screen_window_key_event;
    widget_class->delete_event = esp_screen_window_delete_event;
    signals[CLOSED_BY_USER] = g_signal_new("closed-by-user", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0,
                                           NULL, NULL, NULL, G_TYPE_NONE, 0);
    g_type_ensure(ESP_TYPE_DISPLAY_VIEW);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/screen-window.ui");
    gtk_widget_class_bind_template_child(widget_class, EspScreenWindow, header);
    gtk_widget_class_bind_template_child(widget_class, EspScreenWindow, scroller);
    gtk_widget_class_bind_template_child(widget_class, EspScreenWindow, view);
    gtk_widget_class_bind_template_child(widget_class, EspScreenWindow, fullscreen_button);
    gtk_widget_class_bind_template_callback(widget_class, on_fullscreen);
}

static void esp_screen_window_init(EspScreenWindow *window)
{
    gtk_widget_init_template(GTK_WIDGET(window));
    g_signal_connect_swapped(window->view, "grab-changed", G_CALLBACK(update_subtitle), window);
    g_signal_connect_swapped(window->view, "release", G_CALLBACK(on_release), window);
}

GtkWidget *esp_screen_window_new(const char *machine, unsigned number)
{
    EspScreenWindow *window = g_object_new(ESP_TYPE_SCREEN_WINDOW, NULL);
    /* Translators: the title of a window: a machine's name, and the number of its screen. */
    g_autofree char *title = g_strdup_printf(_("%s — Screen %u"), machine, number);
    /* Translators: for screen readers: the area with one of the guest's screens. */
    g_autofree char *accessible = g_strdup_printf(_("Screen %u of “%s”"), number, machine);

    gtk_window_set_title(GTK_WINDOW(window), title);
    gtk_header_bar_set_title(window->header, title);
    atk_object_set_name(gtk_widget_get_accessible(GTK_WIDGET(window->view)), accessible);
    return GTK_WIDGET(window);
}

EspDisplayView *esp_screen_window_get_view(EspScreenWindow *window)
{
    return window->view;
}

void esp_screen_window_set_scaling(EspScreenWindow *window, EspScaling scaling)
{
    GtkPolicyType policy = scaling == ESP_SCALING_FIT ? GTK_POLICY_NEVER : GTK_POLICY_AUTOMATIC;

    gtk_scrolled_window_set_policy(window->scroller, policy, policy);
    esp_display_view_set_scaling(window->view, scaling);
}
