/* The welcome at the first start (see welcome_window.h). */
#include "ui/welcome_window.h"

#include <glib/gi18n.h>

#include "app/check.h"

struct _EspWelcomeWindow {
    GtkWindow parent_instance;
    char *library;
    GtkWidget *greeting;
    GtkListBox *list;
    GtkLabel *verdict;
    GtkWidget *again_button;
    GtkWidget *close_button;
    bool busy;
};

G_DEFINE_TYPE(EspWelcomeWindow, esp_welcome_window, GTK_TYPE_WINDOW)

static const struct {
    const char *icon, *style, *words;
} levels[] = {
    [ESP_CHECK_GOOD] = {"emblem-ok-symbolic", "good", N_("Good")},
    [ESP_CHECK_WARNING] = {"dialog-warning-symbolic", "warning", N_("Warning")},
    [ESP_CHECK_PROBLEM] = {"dialog-error-symbolic", "problem", N_("Problem")},
};

static void add_line(EspWelcomeWindow *window, const EspCheckLine *line)
{
    g_autoptr(GtkBuilder) builder = gtk_builder_new_from_resource("/org/espalier/Espalier/check-row.ui");
    GtkWidget *row = GTK_WIDGET(gtk_builder_get_object(builder, "row"));
    GtkWidget *icon = GTK_WIDGET(gtk_builder_get_object(builder, "icon"));
    GtkWidget *advice = GTK_WIDGET(gtk_builder_get_object(builder, "advice"));
    GtkWidget *level = GTK_WIDGET(gtk_builder_get_object(builder, "level"));

    gtk_image_set_from_icon_name(GTK_IMAGE(icon), levels[line->level].icon, GTK_ICON_SIZE_LARGE_TOOLBAR);
    gtk_style_context_add_class(gtk_widget_get_style_context(icon), levels[line->level].style);
    gtk_label_set_text(GTK_LABEL(level), _(levels[line->level].words));
    gtk_label_set_text(GTK_LABEL(gtk_builder_get_object(builder, "name")), line->name);
    gtk_label_set_text(GTK_LABEL(gtk_builder_get_object(builder, "finding")), line->finding);
    gtk_label_set_text(GTK_LABEL(advice), line->advice ? line->advice : "");
    gtk_widget_set_visible(advice, line->advice != NULL);
    atk_object_set_name(gtk_widget_get_accessible(row), line->name);
    gtk_container_add(GTK_CONTAINER(window->list), row);
}

static const char *verdict_of(GPtrArray *lines)
{
    switch (esp_check_worst(lines)) {
    case ESP_CHECK_GOOD:
        return _("This computer is ready for virtual machines.");
    case ESP_CHECK_WARNING:
        return _("Virtual machines run on this computer. Some things could be better:");
    case ESP_CHECK_PROBLEM:
        return _("Something keeps virtual machines from running on this computer:");
    }
    return "";
}

static void check(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    g_task_return_pointer(task, esp_check_run(data), (GDestroyNotify)g_ptr_array_unref);
}

static void remove_child(GtkWidget *child, gpointer data)
{
    gtk_widget_destroy(child);
}

static void on_checked(GObject *source, GAsyncResult *result, gpointer data)
{
    EspWelcomeWindow *window = ESP_WELCOME_WINDOW(source);
    g_autoptr(GPtrArray) lines = g_task_propagate_pointer(G_TASK(result), NULL);

    if (gtk_widget_in_destruction(GTK_WIDGET(window)) || !window->list)
        return;
    window->busy = false;
    gtk_widget_set_sensitive(window->again_button, TRUE);
    gtk_container_foreach(GTK_CONTAINER(window->list), remove_child, NULL);
    for (guint i = 0; i < lines->len; i++)
        add_line(window, lines->pdata[i]);
    gtk_label_set_text(window->verdict, verdict_of(lines));
}

static void run_check(EspWelcomeWindow *window)
{
    GTask *task;

    if (window->busy)
        return;
    window->busy = true;
    gtk_widget_set_sensitive(window->again_button, FALSE);
    task = g_task_new(window, NULL, on_checked, NULL);
    g_task_set_task_data(task, g_strdup(window->library), g_free);
    g_task_run_in_thread(task, check);
    g_object_unref(task);
}

static void on_again(EspWelcomeWindow *window)
{
    run_check(window);
}

static void on_close(EspWelcomeWindow *window)
{
    gtk_window_close(GTK_WINDOW(window));
}

GtkWidget *esp_welcome_window_new(GtkWindow *parent, const char *library, bool first)
{
    EspWelcomeWindow *window = g_object_new(ESP_TYPE_WELCOME_WINDOW, "transient-for", parent, NULL);

    window->library = g_strdup(library);
    gtk_widget_set_visible(window->greeting, first);
    if (!first)
        gtk_window_set_title(GTK_WINDOW(window), _("Check of This Computer"));
    gtk_button_set_label(GTK_BUTTON(window->close_button), first ? _("_Begin") : _("_Close"));
    gtk_widget_grab_focus(window->close_button);
    run_check(window);
    return GTK_WIDGET(window);
}

static gboolean esp_welcome_window_key_press_event(GtkWidget *widget, GdkEventKey *event)
{
    if (event->keyval == GDK_KEY_Escape) {
        gtk_window_close(GTK_WINDOW(widget));
        return GDK_EVENT_STOP;
    }
    return GTK_WIDGET_CLASS(esp_welcome_window_parent_class)->key_press_event(widget, event);
}

static void esp_welcome_window_finalize(GObject *object)
{
    g_free(ESP_WELCOME_WINDOW(object)->library);
    G_OBJECT_CLASS(esp_welcome_window_parent_class)->finalize(object);
}

static void esp_welcome_window_class_init(EspWelcomeWindowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = esp_welcome_window_finalize;
    widget_class->key_press_event = esp_welcome_window_key_press_event;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/welcome-window.ui");
    gtk_widget_class_bind_template_child(widget_class, EspWelcomeWindow, greeting);
    gtk_widget_class_bind_template_child(widget_class, EspWelcomeWindow, list);
    gtk_widget_class_bind_template_child(widget_class, EspWelcomeWindow, verdict);
    gtk_widget_class_bind_template_child(widget_class, EspWelcomeWindow, again_button);
    gtk_widget_class_bind_template_child(widget_class, EspWelcomeWindow, close_button);
    gtk_widget_class_bind_template_callback(widget_class, on_again);
    gtk_widget_class_bind_template_callback(widget_class, on_close);
}

static void esp_welcome_window_init(EspWelcomeWindow *window)
{
    gtk_widget_init_template(GTK_WIDGET(window));
}
