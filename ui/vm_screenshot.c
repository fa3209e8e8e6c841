/*
 * Pictures of a guest's screen (see vm_screenshot.h). A picture is taken at once, as the user saw it, and
 * turned into a PNG on a thread of its own: with a large screen that takes longer than a frame.
 */
#include "ui/vm_screenshot.h"

#include <glib/gi18n.h>
#include <glib/gstdio.h>

#include "ui/vm_actions.h"

typedef struct Shot {
    GdkPixbuf *picture;
    char *dir, *name; /* without the suffix */
} Shot;

static void shot_free(gpointer data)
{
    Shot *shot = data;

    g_object_unref(shot->picture);
    g_free(shot->dir);
    g_free(shot->name);
    g_free(shot);
}

/* A name that is safe in a folder, whatever the machine is called. */
static char *picture_name(const char *machine)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *time = g_date_time_format(now, "%Y-%m-%d %H-%M-%S");
    /* Translators: the file name of a picture: the machine's name and the time. */
    char *name = g_strdup_printf(_("%s from %s"), machine, time);
    g_strdelimit(name, "/", '_');
    if (name[0] == '.')
        name[0] = '_';
    return name;
}

/* ---- a file ---- */

static void save_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Shot *shot = data;
    g_autofree char *png = NULL;
    gsize length = 0;
    GError *error = NULL;

    if (!gdk_pixbuf_save_to_buffer(shot->picture, &png, &length, "png", &error, NULL)) {
        g_task_return_error(task, error);
        return;
    }
    if (g_mkdir_with_parents(shot->dir, 0755) < 0) {
        g_free(shot->dir);
        shot->dir = g_strdup(g_get_home_dir());
    }
    for (unsigned n = 1; n < 1000; n++) {
        g_autofree char *base =
            n > 1 ? g_strdup_printf("%s (%u).png", shot->name, n) : g_strdup_printf("%s.png", shot->name);
        g_autofree char *path = g_build_filename(shot->dir, base, NULL);
        g_autoptr(GFile) file = g_file_new_for_path(path);
        g_clear_error(&error);
        /* Never over anything: creating is what finds out. */
        g_autoptr(GFileOutputStream) stream = g_file_create(file, G_FILE_CREATE_NONE, NULL, &error);
        if (!stream && g_error_matches(error, G_IO_ERROR, G_IO_ERROR_EXISTS))
            continue;
        if (stream && g_output_stream_write_all(G_OUTPUT_STREAM(stream), png, length, NULL, NULL, &error) &&
            g_output_stream_close(G_OUTPUT_STREAM(stream), NULL, &error)) {
            g_task_return_pointer(task, g_steal_pointer(&path), g_free);
            return;
        }
        if (stream)
            g_unlink(path); /* half a picture is none */
        break;
    }
    g_task_return_error(task, error);
}

static void show_file(gpointer data)
{
    GObject *show = data;
    GtkWindow *window = g_object_get_data(show, "window");
    g_autofree char *uri = g_file_get_uri(g_object_get_data(show, "file"));
    g_autoptr(GError) error = NULL;

    if (!gtk_show_uri_on_window(window, uri, gtk_get_current_event_time(), &error))
        esp_vm_complain(ESP_VM_WINDOW(window), _("The picture cannot be shown"), error);
}

static void on_saved(GObject *source, GAsyncResult *result, gpointer data)
{
    EspVmWindow *window = ESP_VM_WINDOW(source);
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_task_propagate_pointer(G_TASK(result), &error);

    if (!esp_vm_window_is_alive(window))
        return;
    if (!path) {
        esp_vm_complain(window, _("The picture cannot be saved"), error);
        return;
    }
    g_autofree char *shown = g_filename_display_name(path);
    g_autofree char *message = g_strdup_printf(_("The picture is saved as “%s”."), shown);
    GObject *show = g_object_new(G_TYPE_OBJECT, NULL);
    g_object_set_data_full(show, "window", g_object_ref(window), g_object_unref);
    g_object_set_data_full(show, "file", g_file_new_for_path(path), g_object_unref);
    esp_toast_show(esp_vm_window_get_toast(window), message, _("_Show"), G_CALLBACK(show_file), show,
                   g_object_unref);
}

static void on_screenshot(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspVmWindow *window = data;
    GdkPixbuf *picture = esp_display_view_take_picture(esp_vm_window_get_view(window));
    const char *dir = g_get_user_special_dir(G_USER_DIRECTORY_PICTURES);

    if (!picture)
        return;
    Shot *shot = g_new0(Shot, 1);
    shot->picture = picture;
    shot->dir = g_strdup(dir ? dir : g_get_home_dir());
    shot->name = picture_name(esp_vm_session_get_name(esp_vm_window_get_session(window)));
    g_autoptr(GTask) task = g_task_new(window, NULL, on_saved, NULL);
    g_task_set_task_data(task, shot, shot_free);
    g_task_run_in_thread(task, save_thread);
}

/* ---- the clipboard ---- */

static void on_screenshot_copy(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    EspVmWindow *window = data;
    g_autoptr(GdkPixbuf) picture = esp_display_view_take_picture(esp_vm_window_get_view(window));

    if (!picture)
        return;
    gtk_clipboard_set_image(gtk_widget_get_clipboard(GTK_WIDGET(window), GDK_SELECTION_CLIPBOARD), picture);
    esp_toast_show(esp_vm_window_get_toast(window), _("The picture is on the clipboard."), NULL, NULL, NULL,
                   NULL);
}

void esp_vm_screenshot_install(EspVmWindow *window)
{
    static const GActionEntry actions[] = {{.name = "screenshot", .activate = on_screenshot},
                                           {.name = "screenshot-copy", .activate = on_screenshot_copy}};

    g_action_map_add_action_entries(G_ACTION_MAP(window), actions, G_N_ELEMENTS(actions), window);
}
