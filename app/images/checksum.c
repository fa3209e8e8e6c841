/* Check sums of files (see checksum.h). */
#include "app/images/checksum.h"

#include <glib/gi18n.h>
#include <string.h>

#include "app/images/download.h"

#define CHUNK (1u << 20)

static bool kind_of(size_t length, GChecksumType *type)
{
    *type = length == 128 ? G_CHECKSUM_SHA512 : G_CHECKSUM_SHA256;
    return length == 64 || length == 128;
}

static size_t hex_length(const char *text)
{
    return strspn(text, "0123456789abcdefABCDEF");
}

/* The sum that begins at `text` and ends with white space or the line. */
static char *take_sum(const char *text)
{
    GChecksumType type;
    size_t n = hex_length(text);

    if (!kind_of(n, &type) || (text[n] && !g_ascii_isspace(text[n])))
        return NULL;
    return g_ascii_strdown(text, (gssize)n);
}

static char *sum_in_line(const char *line, const char *name)
{
    g_autofree char *bsd = g_strdup_printf(" (%s) = ", name);
    const char *at = strstr(line, bsd);

    if (at && (g_str_has_prefix(line, "SHA256") || g_str_has_prefix(line, "SHA512")))
        return take_sum(at + strlen(bsd));
    g_autofree char *sum = take_sum(line);
    if (!sum)
        return NULL;
    const char *rest = line + strlen(sum);
    rest += strspn(rest, " \t*");
    if (g_str_has_prefix(rest, "./"))
        rest += 2;
    return !strcmp(rest, name) ? g_steal_pointer(&sum) : NULL;
}

char *esp_checksum_find(const char *list, const char *name)
{
    g_auto(GStrv) lines = g_strsplit(list, "\n", -1);

    for (char **line = lines; *line; line++) {
        char *sum = sum_in_line(g_strchomp(*line), name);
        if (sum)
            return sum;
    }
    g_autofree char *only = g_strstrip(g_strdup(list));
    return strpbrk(only, " \t\n") ? NULL : take_sum(only);
}

static bool add_file(GChecksum *checksum, GFile *file, void (*progress)(guint64, guint64, gpointer),
                     gpointer data, GCancellable *cancellable, GError **error)
{
    g_autoptr(GFileInputStream) stream = g_file_read(file, cancellable, error);
    g_autoptr(GFileInfo) info =
        stream ? g_file_input_stream_query_info(stream, G_FILE_ATTRIBUTE_STANDARD_SIZE, cancellable, error)
               : NULL;
    if (!info)
        return false;
    guint64 done = 0, total = (guint64)g_file_info_get_size(info);
    g_autofree char *buffer = g_malloc(CHUNK);
    gssize n;
    while ((n = g_input_stream_read(G_INPUT_STREAM(stream), buffer, CHUNK, cancellable, error)) > 0) {
        g_checksum_update(checksum, (const guchar *)buffer, n);
        done += (guint64)n;
        if (progress)
            progress(done, total, data);
    }
    return n == 0;
}

bool esp_checksum_verify(const char *path, const char *sum, void (*progress)(guint64, guint64, gpointer),
                         gpointer data, GCancellable *cancellable, GError **error)
{
    g_autoptr(GFile) file = g_file_new_for_path(path);
    GChecksumType type;

    if (!kind_of(strlen(sum), &type) || hex_length(sum) != strlen(sum)) {
        g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_DAMAGED,
                    _("“%s” is not a check sum of SHA-256 or SHA-512."), sum);
        return false;
    }
    g_autoptr(GChecksum) checksum = g_checksum_new(type);
    if (!add_file(checksum, file, progress, data, cancellable, error))
        return false;
    if (!g_ascii_strcasecmp(g_checksum_get_string(checksum), sum))
        return true;
    g_autofree char *shown = g_filename_display_basename(path);
    g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_DAMAGED,
                _("“%s” is damaged, or not the file that it should be: its check sum is another."), shown);
    return false;
}
