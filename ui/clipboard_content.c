/* What is on a clipboard (see clipboard_content.h). */
#include "ui/clipboard_content.h"

#include <string.h>
#include <sys/stat.h>

enum { INFO_TEXT, INFO_IMAGE, INFO_URIS, INFO_GNOME };

struct EspClipContent {
    GObject *owner; /* held while it is on the clipboard */
    char *text;
    GBytes *image;
    VmcClipType image_type;
    VmcFileAction action;
    GPtrArray *uris; /* of char *, or NULL */
};

/* ---- from a guest ---- */

EspClipContent *esp_clip_content_new(void)
{
    return g_new0(EspClipContent, 1);
}

void esp_clip_content_free(EspClipContent *content)
{
    if (!content)
        return;
    g_clear_object(&content->owner);
    g_free(content->text);
    g_clear_pointer(&content->image, g_bytes_unref);
    g_clear_pointer(&content->uris, g_ptr_array_unref);
    g_free(content);
}

bool esp_clip_content_is_empty(const EspClipContent *content)
{
    return !content->text && !content->image && (!content->uris || !content->uris->len);
}

void esp_clip_content_take(EspClipContent *content, VmcClipType type, GBytes *data)
{
    gsize length = 0;
    const char *bytes = g_bytes_get_data(data, &length);

    if (!length)
        return;
    if (type != VMC_CLIP_TEXT) {
        g_clear_pointer(&content->image, g_bytes_unref);
        content->image = g_bytes_ref(data);
        content->image_type = type;
    } else if (length <= ESP_CLIP_TEXT_MAX && g_utf8_validate(bytes, (gssize)length, NULL)) {
        g_free(content->text);
        content->text = g_strndup(bytes, length);
    }
}

void esp_clip_content_take_files(EspClipContent *content, VmcFileAction action, const char *const *paths)
{
    content->action = action;
    g_clear_pointer(&content->uris, g_ptr_array_unref);
    content->uris = g_ptr_array_new_with_free_func(g_free);
    for (; *paths && content->uris->len < VMC_AGENT_FILES_MAX; paths++) {
        struct stat st;
        char *uri = lstat(*paths, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
                        ? g_filename_to_uri(*paths, NULL, NULL)
                        : NULL;
        if (uri)
            g_ptr_array_add(content->uris, uri);
    }
}

static void set_uris(const EspClipContent *content, GtkSelectionData *selection)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new();

    for (guint i = 0; i < content->uris->len; i++)
        g_ptr_array_add(list, content->uris->pdata[i]);
    g_ptr_array_add(list, NULL);
    gtk_selection_data_set_uris(selection, (char **)list->pdata);
}

static void set_gnome_files(const EspClipContent *content, GtkSelectionData *selection)
{
    g_autoptr(GString) text = g_string_new(content->action == VMC_FILES_CUT ? "cut" : "copy");

    for (guint i = 0; i < content->uris->len; i++)
        g_string_append_printf(text, "\n%s", (const char *)content->uris->pdata[i]);
    gtk_selection_data_set(selection, gtk_selection_data_get_target(selection), 8, (const guchar *)text->str,
                           (int)text->len);
}

static void on_get(GtkClipboard *clipboard, GtkSelectionData *selection, guint info, gpointer owner)
{
    const EspClipContent *content = g_object_get_data(owner, "content");

    if (!content)
        return;
    if (info == INFO_TEXT && content->text) {
        gtk_selection_data_set_text(selection, content->text, -1);
    } else if (info == INFO_IMAGE && content->image) {
        gsize length = 0;
        const guchar *bytes = g_bytes_get_data(content->image, &length);
        gtk_selection_data_set(selection, gtk_selection_data_get_target(selection), 8, bytes, (int)length);
    } else if (info == INFO_URIS && content->uris) {
        set_uris(content, selection);
    } else if (info == INFO_GNOME && content->uris) {
        set_gnome_files(content, selection);
    }
}

static void on_clear(GtkClipboard *clipboard, gpointer owner)
{
    g_autoptr(GObject) held = g_object_ref(owner); /* the content's may be the last reference */

    g_object_set_data(held, "content", NULL);
}

static const char *mime_of(VmcClipType type)
{
    switch (type) {
    case VMC_CLIP_BMP:
        return "image/bmp";
    case VMC_CLIP_TIFF:
        return "image/tiff";
    case VMC_CLIP_JPEG:
        return "image/jpeg";
    default:
        return "image/png";
    }
}

void esp_clip_content_publish(EspClipContent *content, GtkClipboard *clipboard, GObject *owner)
{
    GtkTargetList *list = gtk_target_list_new(NULL, 0);
    int n = 0;

    if (content->text)
        gtk_target_list_add_text_targets(list, INFO_TEXT);
    if (content->image)
        gtk_target_list_add(list, gdk_atom_intern_static_string(mime_of(content->image_type)), 0, INFO_IMAGE);
    if (content->uris && content->uris->len) {
        gtk_target_list_add_uri_targets(list, INFO_URIS);
        gtk_target_list_add(list, gdk_atom_intern_static_string(ESP_CLIP_GNOME_FILES), 0, INFO_GNOME);
    }
    GtkTargetEntry *targets = gtk_target_table_new_from_list(list, &n);
    /* Taking it over from ourselves calls on_clear for the old content: the new one comes after that. */
    if (gtk_clipboard_set_with_owner(clipboard, targets, (guint)n, on_get, on_clear, owner)) {
        g_object_set_data_full(owner, "content", content, (GDestroyNotify)esp_clip_content_free);
        content->owner = g_object_ref(owner);
        gtk_clipboard_set_can_store(clipboard, NULL, 0);
    } else {
        esp_clip_content_free(content);
    }
    gtk_target_table_free(targets, n);
    gtk_target_list_unref(list);
}

/* ---- of the host ---- */

bool esp_clip_has_target(const GdkAtom *targets, int n, const char *name)
{
    GdkAtom atom = gdk_atom_intern(name, FALSE);

    for (int i = 0; i < n; i++)
        if (targets[i] == atom)
            return true;
    return false;
}

unsigned esp_clip_types_of_targets(GdkAtom *targets, int n)
{
    unsigned types = 0;

    if (gtk_targets_include_text(targets, n))
        types |= VMC_CLIP_BIT(VMC_CLIP_TEXT);
    if (gtk_targets_include_image(targets, n, FALSE))
        types |= VMC_CLIP_BIT(VMC_CLIP_PNG);
    if (esp_clip_has_target(targets, n, ESP_CLIP_URI_LIST) ||
        esp_clip_has_target(targets, n, ESP_CLIP_GNOME_FILES))
        types |= VMC_CLIP_BIT(VMC_CLIP_FILES);
    return types;
}

GBytes *esp_clip_text_for_guest(const char *text)
{
    size_t length = strlen(text);
    char *copy = g_malloc(length + 1);
    size_t n = 0;

    for (size_t i = 0; i < length; i++)
        if (text[i] != '\r' || text[i + 1] != '\n')
            copy[n++] = text[i];
    return g_bytes_new_take(copy, n);
}

/* The paths of a list of addresses, one a line; comments and what is not on this computer are left out. */
static char **paths_of_lines(char **lines)
{
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);

    for (; *lines; lines++) {
        g_strstrip(*lines);
        char *path = **lines && **lines != '#' ? g_filename_from_uri(*lines, NULL, NULL) : NULL;
        if (path)
            g_ptr_array_add(paths, path);
    }
    if (!paths->len || paths->len > VMC_AGENT_FILES_MAX)
        return NULL;
    g_ptr_array_add(paths, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&paths), FALSE);
}

char **esp_clip_paths_of_selection(GtkSelectionData *selection, VmcFileAction *action)
{
    int length = -1;
    const char *data = (const char *)gtk_selection_data_get_data_with_length(selection, &length);
    g_autofree char *name = gdk_atom_name(gtk_selection_data_get_target(selection));

    *action = VMC_FILES_COPY;
    if (!data || length <= 0 || length > (int)ESP_CLIP_TEXT_MAX)
        return NULL;
    g_autofree char *text = g_strndup(data, (gsize)length);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    bool gnome = !g_strcmp0(name, ESP_CLIP_GNOME_FILES);
    if (gnome && lines[0] && !strcmp(g_strstrip(lines[0]), "cut"))
        *action = VMC_FILES_CUT;
    return paths_of_lines(gnome && lines[0] ? lines + 1 : lines);
}

static void encode_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    char *png = NULL;
    gsize length = 0;
    GError *error = NULL;

    if (gdk_pixbuf_save_to_buffer(data, &png, &length, "png", &error, NULL))
        g_task_return_pointer(task, g_bytes_new_take(png, length), (GDestroyNotify)g_bytes_unref);
    else
        g_task_return_error(task, error);
}

void esp_clip_encode_png(GdkPixbuf *picture, GAsyncReadyCallback callback, gpointer data)
{
    g_autoptr(GTask) task = g_task_new(NULL, NULL, callback, data);

    g_task_set_task_data(task, g_object_ref(picture), g_object_unref);
    g_task_run_in_thread(task, encode_thread);
}
