/* Downloading one file (see download.h): the part on disk, and one request after the other until it is whole.
 */
#include "app/images/download.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "app/images/transfer.h"

#define TRIES          5
#define PAUSE_MAX_MS   8000
#define TEXT_MAX       (1u << 20)
#define INFO_GROUP     "Part"
#define PERMANENT_ROOM (64ull << 20) /* that we leave on the disk */

/* clang-format would take the name for a subtraction. */
/* clang-format off */
G_DEFINE_QUARK(esp-download-error-quark, esp_download_error)
/* clang-format on */

typedef struct Part {
    const EspDownload *download;
    char *path, *info_path;
    int fd;
    guint64 have;  /* bytes */
    guint64 total; /* 0: not known */
    char *mark;    /* of the version that they are the beginning of, or NULL */
} Part;

bool esp_download_is_link(const char *text)
{
    g_autofree char *scheme = g_uri_parse_scheme(text);
    g_autoptr(GUri) uri =
        scheme ? g_uri_parse(text, G_URI_FLAGS_PARSE_RELAXED | G_URI_FLAGS_ENCODED, NULL) : NULL;

    return uri && (!strcmp(scheme, "http") || !strcmp(scheme, "https")) && g_uri_get_host(uri) &&
           *g_uri_get_host(uri);
}

static bool fail_file(const char *path, GError **error)
{
    int err = errno;
    g_autofree char *shown = g_filename_display_name(path);

    g_set_error(error, ESP_DOWNLOAD_ERROR,
                err == ENOSPC || err == EDQUOT ? ESP_DOWNLOAD_ERROR_SPACE : ESP_DOWNLOAD_ERROR_FILE,
                _("“%s” cannot be written: %s. What has been downloaded is kept."), shown, g_strerror(err));
    return false;
}

/* ---- the part ---- */

static void part_load(Part *part)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    GStatBuf st;

    if (!g_key_file_load_from_file(file, part->info_path, G_KEY_FILE_NONE, NULL) ||
        g_lstat(part->path, &st) || !S_ISREG(st.st_mode))
        return;
    g_autofree char *link = g_key_file_get_string(file, INFO_GROUP, "Link", NULL);
    guint64 total = g_key_file_get_uint64(file, INFO_GROUP, "Size", NULL);
    g_autofree char *mark = g_key_file_get_string(file, INFO_GROUP, "Mark", NULL);
    if (g_strcmp0(link, part->download->link) || !mark || (total && (guint64)st.st_size > total))
        return;
    part->have = (guint64)st.st_size;
    part->total = total;
    part->mark = g_steal_pointer(&mark);
}

static bool part_save_info(Part *part, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();

    g_key_file_set_string(file, INFO_GROUP, "Link", part->download->link);
    g_key_file_set_uint64(file, INFO_GROUP, "Size", part->total);
    if (part->mark)
        g_key_file_set_string(file, INFO_GROUP, "Mark", part->mark);
    g_autofree char *text = g_key_file_to_data(file, NULL, NULL);
    return g_file_set_contents_full(part->info_path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error);
}

static bool part_open(Part *part, const EspDownload *download, GError **error)
{
    *part = (Part){.download = download, .fd = -1};
    part->path = g_strconcat(download->path, ".part", NULL);
    part->info_path = g_strconcat(part->path, ".info", NULL);
    part_load(part);
    part->fd = open(part->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return part->fd >= 0 || fail_file(part->path, error);
}

static void part_close(Part *part)
{
    if (part->fd >= 0)
        close(part->fd);
    g_free(part->path);
    g_free(part->info_path);
    g_free(part->mark);
}

static bool part_restart(Part *part, GError **error)
{
    part->have = part->total = 0;
    g_clear_pointer(&part->mark, g_free);
    return !ftruncate(part->fd, 0) || fail_file(part->path, error);
}

static bool has_room(Part *part, GError **error)
{
    struct statvfs fs;

    if (!part->total || fstatvfs(part->fd, &fs))
        return true;
    guint64 room = (guint64)fs.f_bavail * fs.f_frsize, wanted = part->total - part->have;
    if (room >= wanted + MIN(PERMANENT_ROOM, wanted / 8))
        return true;
    g_autofree char *need = g_format_size(wanted), *free_words = g_format_size(room);
    g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_SPACE,
                /* Translators: both are sizes, "3.1 GB". */
                _("There is not enough room on the disk: the download needs %s more, and %s are free."), need,
                free_words);
    return false;
}

/* ---- one answer ---- */

static bool on_begin(const EspAnswer *answer, gpointer data, GError **error)
{
    Part *part = data;
    bool rest = answer->status == 206;

    if (rest && (answer->from != (gint64)part->have ||
                 (part->total && answer->of >= 0 && answer->of != (gint64)part->total))) {
        g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_ANSWER,
                    _("The server of “%s” sends another part of the file than was asked for."),
                    part->download->link);
        return false;
    }
    if (!rest) {
        if (!part_restart(part, error))
            return false;
        part->mark = g_strdup(answer->mark);
    }
    if (answer->length >= 0)
        part->total = part->have + (guint64)answer->length;
    if (lseek(part->fd, (off_t)part->have, SEEK_SET) < 0)
        return fail_file(part->path, error);
    return has_room(part, error) && part_save_info(part, error);
}

static bool on_bytes(const void *bytes, size_t n, gpointer data, GError **error)
{
    Part *part = data;
    const char *at = bytes;

    if (part->total && n > part->total - part->have) {
        g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_ANSWER,
                    _("The server of “%s” sends more than it said."), part->download->link);
        return false;
    }
    while (n) {
        ssize_t written = write(part->fd, at, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return fail_file(part->path, error);
        at += written;
        n -= (size_t)written;
        part->have += (guint64)written;
    }
    if (part->download->progress)
        part->download->progress(part->have, part->total, part->download->data);
    return true;
}

/* ---- all of it ---- */

/* False: cancelled meanwhile. */
static bool pause_for(unsigned ms, GCancellable *cancellable)
{
    GPollFD fd;

    if (!cancellable || !g_cancellable_make_pollfd(cancellable, &fd)) {
        g_usleep(ms * 1000ul);
        return true;
    }
    g_poll(&fd, 1, (int)ms);
    g_cancellable_release_fd(cancellable);
    return !g_cancellable_is_cancelled(cancellable);
}

static bool is_whole(const Part *part)
{
    return part->total && part->have == part->total && part->mark;
}

/* The server has nothing behind what we have: that was all, or the file is another. */
static bool is_beyond(const EspAnswer *answer)
{
    return answer->status == 416;
}

static bool fetch(Part *part, GError **error)
{
    const EspDownload *download = part->download;
    unsigned left = download->tries ? download->tries : TRIES, failures = 0;

    while (!is_whole(part)) {
        const EspTransfer transfer = {.link = download->link,
                                      .from = part->mark ? part->have : 0,
                                      .mark = part->mark,
                                      .begin = on_begin,
                                      .bytes = on_bytes,
                                      .data = part,
                                      .cancellable = download->cancellable};
        g_autoptr(GError) failure = NULL;
        EspAnswer answer;
        guint64 before = part->have;
        bool passing;
        bool good = esp_transfer(&transfer, &answer, &passing, &failure);
        bool beyond = is_beyond(&answer);
        esp_answer_clear(&answer);
        if (good)
            return true;
        if (part->have > before)
            failures = 0;
        if (beyond && transfer.from) {
            if (!part_restart(part, error))
                return false;
        } else if (!passing) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return false;
        }
        if (++failures >= left ||
            !pause_for(MIN(250u << MIN(failures, 8), PAUSE_MAX_MS), download->cancellable)) {
            if (!g_cancellable_set_error_if_cancelled(download->cancellable, error))
                g_propagate_error(error, g_steal_pointer(&failure));
            return false;
        }
    }
    return true;
}

static bool put_into_place(Part *part, GError **error)
{
    if (part->total && part->have != part->total) {
        g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_NETWORK, _("“%s” broke off."),
                    part->download->link);
        return false;
    }
    if (fsync(part->fd) || rename(part->path, part->download->path))
        return fail_file(part->download->path, error);
    unlink(part->info_path);
    return true;
}

bool esp_download(const EspDownload *download, GError **error)
{
    Part part;

    if (!esp_download_is_link(download->link)) {
        g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_LINK,
                    _("“%s” cannot be followed: a link begins with https:// or http://."), download->link);
        return false;
    }
    bool good = part_open(&part, download, error) && fetch(&part, error) && put_into_place(&part, error);
    part_close(&part);
    return good;
}

void esp_download_forget(const char *path)
{
    g_autofree char *part = g_strconcat(path, ".part", NULL);
    g_autofree char *info = g_strconcat(part, ".info", NULL);

    g_unlink(part);
    g_unlink(info);
}

/* ---- texts ---- */

static bool accept_any(const EspAnswer *answer, gpointer data, GError **error)
{
    return true;
}

static bool append(const void *bytes, size_t n, gpointer data, GError **error)
{
    GString *text = data;

    if (n > TEXT_MAX - text->len) {
        g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_ANSWER,
                    _("The server sends far more than a list of check sums."));
        return false;
    }
    g_string_append_len(text, bytes, (gssize)n);
    return true;
}

char *esp_download_text(const char *link, GCancellable *cancellable, GError **error)
{
    GString *text = g_string_new(NULL);
    const EspTransfer transfer = {
        .link = link, .begin = accept_any, .bytes = append, .data = text, .cancellable = cancellable};
    EspAnswer answer = {0};
    bool passing, good = false;

    for (unsigned i = 0; i < TRIES && !good; i++) {
        g_clear_error(error);
        g_string_truncate(text, 0);
        good = esp_transfer(&transfer, &answer, &passing, error);
        esp_answer_clear(&answer);
        if (!good && (!passing || !pause_for(250u << i, cancellable)))
            break;
    }
    if (good && !g_utf8_validate(text->str, (gssize)text->len, NULL)) {
        g_set_error(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_ANSWER, _("“%s” is not a text."), link);
        good = false;
    }
    return g_string_free(text, !good);
}
