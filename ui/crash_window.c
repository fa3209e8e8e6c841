/* The window about a machine whose process died (see crash_window.h). */
#include "ui/crash_window.h"

#include <glib/gi18n.h>

#include "ui/status_page.h"

struct _EspCrashWindow {
    GtkApplicationWindow parent_instance;
    char *path;
    GtkHeaderBar *header;
    EspStatusPage *page;
};

enum { START_AGAIN, N_SIGNALS };
static guint signals[N_SIGNALS];

G_DEFINE_TYPE(EspCrashWindow, esp_crash_window, GTK_TYPE_APPLICATION_WINDOW)

static void on_start_again(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    g_signal_emit(data, signals[START_AGAIN], 0);
    gtk_widget_destroy(GTK_WIDGET(data));
}

static void on_close(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    gtk_window_close(GTK_WINDOW(data));
}

static const GActionEntry actions[] = {
    {.name = "start-again", .activate = on_start_again},
    {.name = "close", .activate = on_close},
};

/* The log may be long to read from a slow disk. */
static void describe_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    g_task_return_pointer(task, esp_crash_describe(data), g_free);
}

static void on_described(GObject *source, GAsyncResult *result, gpointer data)
{
    EspCrashWindow *window = ESP_CRASH_WINDOW(source);
    g_autofree char *details = g_task_propagate_pointer(G_TASK(result), NULL);
    if (window->page)
        esp_status_page_set_details(window->page, details);
}

static void crash_free(gpointer data)
{
    esp_crash_free(data);
}

static void describe(EspCrashWindow *window, const EspCrash *crash)
{
    g_autoptr(GTask) task = g_task_new(window, NULL, on_described, NULL);
    EspCrash *copy = g_new0(EspCrash, 1);
    *copy = *crash;
    copy->path = g_strdup(crash->path);
    copy->name = g_strdup(crash->name);
    copy->state = g_strdup(crash->state);
    g_task_set_task_data(task, copy, crash_free);
    g_task_run_in_thread(task, describe_thread);
}

const char *esp_crash_window_get_path(EspCrashWindow *window)
{
    return window->path;
}

GtkWidget *esp_crash_window_new(GtkApplication *application, const EspCrash *crash)
{
    EspCrashWindow *window = g_object_new(ESP_TYPE_CRASH_WINDOW, "application", application, NULL);
    g_autofree char *title = g_strdup_printf(_("“%s” ended unexpectedly"), crash->name);
    g_autofree char *how = esp_crash_explain(crash);
    /* Translators: %s is a whole sentence that says how the process ended. */
    g_autofree char *body =
        g_strdup_printf(_("%s The machine and its disks are as they were at that moment, as "
                          "after a power failure; what the guest had not saved is lost."),
                        how);
    window->path = g_strdup(crash->path);
    gtk_header_bar_set_title(window->header, crash->name);
    gtk_window_set_title(GTK_WINDOW(window), title);
    esp_status_page_set(window->page, "dialog-warning-symbolic", title, body);
    esp_status_page_set_action(window->page, _("_Start Again"), "win.start-again");
    esp_status_page_focus(window->page);
    describe(window, crash);
    return GTK_WIDGET(window);
}

static void esp_crash_window_dispose(GObject *object)
{
    ESP_CRASH_WINDOW(object)->page = NULL;
    G_OBJECT_CLASS(esp_crash_window_parent_class)->dispose(object);
}

static void esp_crash_window_finalize(GObject *object)
{
    g_free(ESP_CRASH_WINDOW(object)->path);
    G_OBJECT_CLASS(esp_crash_window_parent_class)->finalize(object);
}

static void esp_crash_window_class_init(EspCrashWindowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->dispose = esp_crash_window_dispose;
    G_OBJECT_CLASS(klass)->finalize = esp_crash_window_finalize;
    signals[START_AGAIN] = g_signal_new("start-again", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0, NULL,
                                        NULL, NULL, G_TYPE_NONE, 0);
    g_type_ensure(ESP_TYPE_STATUS_PAGE);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/espalier/Espalier/crash-window.ui");
    gtk_widget_class_bind_template_child(widget_class, EspCrashWindow, header);
    gtk_widget_class_bind_template_child(widget_class, EspCrashWindow, page);
}

static void esp_crash_window_init(EspCrashWindow *window)
{
    gtk_widget_init_template(GTK_WIDGET(window));
    g_action_map_add_action_entries(G_ACTION_MAP(window), actions, G_N_ELEMENTS(actions), window);
}
