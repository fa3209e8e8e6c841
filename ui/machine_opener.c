/*
 * Opens machines for the library (see machine_opener.h).
 *
 * That a process died is learnt in two ways. Of one that is our child we get the status, and know how it
 * ended; of another one the library notices that nobody holds its lock any more. For a child both come, in
 * either order, so the second is left to the first as long as the child is in `children` or its window is
 * there.
 */
#include "ui/machine_opener.h"

#include <glib/gi18n.h>

#include "app/launcher.h"
#include "ui/crash_window.h"

struct _EspMachineOpener {
    GObject parent_instance;
    GtkApplication *application; /* not owned: it owns us */
    EspLibrary *library;
    GHashTable *children; /* path -> GSubprocess */
};

enum { FAILED, N_SIGNALS };
static guint signals[N_SIGNALS];

G_DEFINE_TYPE(EspMachineOpener, esp_machine_opener, G_TYPE_OBJECT)

typedef struct Opening {
    EspMachineOpener *opener;
    char *path, *name;
} Opening;

static void opening_free(Opening *opening)
{
    g_object_unref(opening->opener);
    g_free(opening->path);
    g_free(opening->name);
    g_free(opening);
}

/* --- Crashes ------------------------------------------------------------------------------------ */

static void on_start_again(EspCrashWindow *window, EspMachineOpener *opener)
{
    g_autoptr(EspCrash) crash = esp_crash_new(esp_crash_window_get_path(window), ESP_STATUS_UNKNOWN);
    if (crash)
        esp_machine_opener_open(opener, GTK_WIDGET(window), crash->path, crash->name);
}

static EspCrashWindow *find_window(EspMachineOpener *opener, const char *path)
{
    for (GList *l = gtk_application_get_windows(opener->application); l; l = l->next)
        if (ESP_IS_CRASH_WINDOW(l->data) && !g_strcmp0(esp_crash_window_get_path(l->data), path))
            return l->data;
    return NULL;
}

static void show_crash(EspMachineOpener *opener, const char *path, int wait_status)
{
    g_autoptr(EspCrash) crash = esp_crash_new(path, wait_status);
    EspCrashWindow *old = find_window(opener, path);
    if (old) /* of an earlier time, or one that knew less */
        gtk_widget_destroy(GTK_WIDGET(old));
    if (!crash)
        return;
    GtkWidget *window = esp_crash_window_new(opener->application, crash);
    g_signal_connect_object(window, "start-again", G_CALLBACK(on_start_again), opener, 0);
    gtk_window_present(GTK_WINDOW(window));
}

void esp_machine_opener_show_crash(EspMachineOpener *opener, const char *path)
{
    show_crash(opener, path, ESP_STATUS_UNKNOWN);
}

/* --- The library's machines --------------------------------------------------------------------- */

static void on_crashed(EspLibraryItem *item, GParamSpec *pspec, EspMachineOpener *opener)
{
    const char *path = esp_library_item_get_path(item);
    EspCrashWindow *window = find_window(opener, path);
    if (esp_library_item_get_crashed(item) && !window && !g_hash_table_contains(opener->children, path))
        show_crash(opener, path, ESP_STATUS_UNKNOWN);
    else if (window && !esp_library_item_get_crashed(item))
        gtk_widget_destroy(GTK_WIDGET(window)); /* somebody has started it again */
}

static void on_items_changed(GListModel *library, guint position, guint removed, guint added,
                             EspMachineOpener *opener)
{
    for (guint i = position; i < position + added; i++) {
        g_autoptr(GObject) item = g_list_model_get_item(library, i);
        /* An item may move, which is going and coming. */
        g_signal_handlers_disconnect_by_func(item, on_crashed, opener);
        g_signal_connect_object(item, "notify::crashed", G_CALLBACK(on_crashed), opener, 0);
    }
}

/* --- Opening ------------------------------------------------------------------------------------ */

/* Whatever can go wrong with a machine its own window shows; here arrives only what kept it from doing so. */
static void on_process_ended(GObject *source, GAsyncResult *result, gpointer data)
{
    GSubprocess *process = G_SUBPROCESS(source);
    Opening *opening = data;
    EspMachineOpener *opener = opening->opener;
    bool waited = g_subprocess_wait_finish(process, result, NULL);
    if (g_hash_table_lookup(opener->children, opening->path) == process)
        g_hash_table_remove(opener->children, opening->path);
    if (waited && esp_crash_happened(opening->path))
        show_crash(opener, opening->path, g_subprocess_get_status(process));
    else if (waited && g_subprocess_get_if_exited(process) && g_subprocess_get_exit_status(process) != 0)
        g_signal_emit(opener, signals[FAILED], 0, opening->name, NULL);
    esp_library_rescan(opener->library);
    opening_free(opening);
}

static void on_opened(GObject *source, GAsyncResult *result, gpointer data)
{
    Opening *opening = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GSubprocess) process = NULL;
    if (!esp_open_machine_finish(result, &process, &error))
        g_signal_emit(opening->opener, signals[FAILED], 0, opening->name, error->message);
    if (!process) {
        opening_free(opening);
        return;
    }
    g_hash_table_replace(opening->opener->children, g_strdup(opening->path), g_object_ref(process));
    g_subprocess_wait_async(process, NULL, on_process_ended, opening);
}

/* The desktop's token for "the user asked for this just now". */
static char *startup_id(GdkDisplay *display)
{
    g_autoptr(GdkAppLaunchContext) context = gdk_display_get_app_launch_context(display);
    gdk_app_launch_context_set_timestamp(context, gtk_get_current_event_time());
    g_autoptr(GAppInfo) info = g_app_info_create_from_commandline(
        "espalier --run", "Espalier", G_APP_INFO_CREATE_SUPPORTS_STARTUP_NOTIFICATION, NULL);
    return info ? g_app_launch_context_get_startup_notify_id(G_APP_LAUNCH_CONTEXT(context), info, NULL)
                : NULL;
}

void esp_machine_opener_open(EspMachineOpener *opener, GtkWidget *parent, const char *path, const char *name)
{
    GdkDisplay *display = parent ? gtk_widget_get_display(parent) : gdk_display_get_default();
    g_autofree char *id = startup_id(display);
    Opening *opening = g_new0(Opening, 1);
    opening->opener = g_object_ref(opener);
    opening->path = g_strdup(path);
    opening->name = g_strdup(name);
    esp_open_machine(path, gdk_display_get_name(display), id, NULL, on_opened, opening);
}

/* --- The object --------------------------------------------------------------------------------- */

EspMachineOpener *esp_machine_opener_new(GtkApplication *application, EspLibrary *library)
{
    EspMachineOpener *opener = g_object_new(ESP_TYPE_MACHINE_OPENER, NULL);
    opener->application = application;
    opener->library = g_object_ref(library);
    g_signal_connect_object(library, "items-changed", G_CALLBACK(on_items_changed), opener, 0);
    on_items_changed(G_LIST_MODEL(library), 0, 0, g_list_model_get_n_items(G_LIST_MODEL(library)), opener);
    return opener;
}

static void esp_machine_opener_dispose(GObject *object)
{
    EspMachineOpener *opener = ESP_MACHINE_OPENER(object);
    g_clear_object(&opener->library);
    g_clear_pointer(&opener->children, g_hash_table_unref);
    G_OBJECT_CLASS(esp_machine_opener_parent_class)->dispose(object);
}

static void esp_machine_opener_class_init(EspMachineOpenerClass *klass)
{
    G_OBJECT_CLASS(klass)->dispose = esp_machine_opener_dispose;
    signals[FAILED] = g_signal_new("failed", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                   G_TYPE_NONE, 2, G_TYPE_STRING, G_TYPE_STRING);
}

static void esp_machine_opener_init(EspMachineOpener *opener)
{
    opener->children = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_object_unref);
}
