/*
 * GET and HEAD of the WebDAV port (RFC 9110 s9.3, s13, s14).
 *
 * libphodav would map a file to send it, and a mapping of a file that somebody makes shorter ends the
 * process. So what is read from files goes through here: by pread, a piece at a time, the next one when the
 * last has gone out. A file that became shorter on the way, or cannot be read any further, ends the
 * connection, by which the client sees that something is missing. Nor do the lists of folders come from
 * libphodav, which counts on a folder that it could look at to be one that it can list.
 *
 * A file is the one that was opened, whatever happens to its name, and is sent as long as it was then. One
 * range of bytes is answered as such; more of them with the whole file, which a server may do.
 *
 * Threads: the server's.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/webdav_internal.h"
#include "fs/internal.h"

#define PIECE      (64 * 1024)
#define LISTED_MAX 10000u /* entries of a folder */

typedef struct Sending {
    int fd;
    uint64_t at, left;
} Sending;

/* ---- a piece at a time ---- */

static void sending_free(gpointer data, GClosure *closure)
{
    Sending *sending = data;

    close(sending->fd);
    g_free(sending);
}

/* A connection that ends before all of what was promised is all that can be said now. */
static void break_off(SoupServerMessage *message)
{
    soup_message_headers_replace(soup_server_message_get_response_headers(message), "Connection", "close");
    soup_message_body_complete(soup_server_message_get_response_body(message));
}

static void send_piece(SoupServerMessage *message, gpointer data)
{
    Sending *sending = data;
    size_t len = (size_t)MIN(sending->left, (uint64_t)PIECE);
    ssize_t got;

    if (!len)
        return;
    uint8_t *piece = g_malloc(len);
    do
        got = pread(sending->fd, piece, len, (off_t)sending->at);
    while (got < 0 && errno == EINTR);
    if (got <= 0) {
        g_free(piece);
        sending->left = 0;
        break_off(message);
        return;
    }
    sending->at += (uint64_t)got;
    sending->left -= (uint64_t)got;
    soup_message_body_append_take(soup_server_message_get_response_body(message), piece, (gsize)got);
}

/* Takes `fd` over. */
static void send_bytes(SoupServerMessage *message, int fd, uint64_t at, uint64_t len)
{
    Sending *sending = g_new(Sending, 1);

    sending->fd = fd;
    sending->at = at;
    sending->left = len;
    soup_message_body_set_accumulate(soup_server_message_get_response_body(message), FALSE);
    g_signal_connect_data(message, "wrote-headers", G_CALLBACK(send_piece), sending, sending_free, 0);
    g_signal_connect(message, "wrote-chunk", G_CALLBACK(send_piece), sending);
}

/* ---- conditions ---- */

/* As GIO makes it, by which PROPFIND says it, with its quotation marks. */
static char *etag_of(int fd)
{
    char path[VMC_FD_PATH];

    vmc_fd_path(fd, path);
    g_autoptr(GFile) file = g_file_new_for_path(path);
    g_autoptr(GFileInfo) info =
        g_file_query_info(file, G_FILE_ATTRIBUTE_ETAG_VALUE, G_FILE_QUERY_INFO_NONE, NULL, NULL);
    const char *value = info ? g_file_info_get_etag(info) : NULL;

    return g_strdup_printf("\"%s\"", value ? value : "");
}

static bool names_etag(const char *list, const char *etag)
{
    size_t len = strlen(etag);

    for (const char *at = list; (at = strstr(at, etag)); at += len)
        if (at == list || strchr(" \t,/", at[-1])) /* “W/” before it makes no difference here */
            return true;
    return strcmp(list, "*") == 0;
}

/* Whether a date of HTTP's is there, and the file not newer than that. */
static bool unchanged_since(const char *text, const struct stat *st)
{
    GDateTime *date = text ? soup_date_time_new_from_http_string(text) : NULL;
    bool unchanged = date && st->st_mtim.tv_sec <= g_date_time_to_unix(date);

    if (date)
        g_date_time_unref(date);
    return unchanged;
}

static bool client_has_it(SoupMessageHeaders *request, const struct stat *st, const char *etag)
{
    const char *list = soup_message_headers_get_list(request, "If-None-Match");

    if (list)
        return names_etag(list, etag);
    return unchanged_since(soup_message_headers_get_one(request, "If-Modified-Since"), st);
}

/* A range that goes on with what the client has is good only if that is of this file. */
static bool range_holds(SoupMessageHeaders *request, const struct stat *st, const char *etag)
{
    const char *condition = soup_message_headers_get_one(request, "If-Range");

    return !condition || strcmp(condition, etag) == 0 || unchanged_since(condition, st);
}

/* ---- ranges ---- */

typedef enum Range { RANGE_NONE, RANGE_GOOD, RANGE_BEYOND } Range;

static bool take_number(const char **text, uint64_t *number)
{
    char *end;

    if (!g_ascii_isdigit(**text))
        return false;
    errno = 0;
    *number = g_ascii_strtoull(*text, &end, 10);
    *text = end;
    return !errno;
}

/* The one range of the header, as bytes of a file with `size` of them. */
static Range find_range(const char *text, uint64_t size, uint64_t *at, uint64_t *len)
{
    uint64_t first = 0, last = UINT64_MAX;

    if (!text || g_ascii_strncasecmp(text, "bytes=", 6) != 0)
        return RANGE_NONE;
    text += 6;
    bool from_start = take_number(&text, &first);
    if (*text++ != '-')
        return RANGE_NONE;
    bool to_end = !take_number(&text, &last);
    if (*text || (!from_start && to_end) || (from_start && first > last))
        return RANGE_NONE;
    if (!from_start) { /* so many at the end */
        first = size - MIN(size, last);
        last = UINT64_MAX;
    }
    if (first >= size)
        return RANGE_BEYOND;
    *at = first;
    *len = MIN(last, size - 1) - first + 1;
    return RANGE_GOOD;
}

/* ---- answers ---- */

static void describe_file(SoupMessageHeaders *response, const char *path, const struct stat *st,
                          const char *etag)
{
    g_autofree char *type = g_content_type_guess(path, NULL, 0, NULL);
    g_autofree char *mime = g_content_type_get_mime_type(type);
    GDateTime *date = g_date_time_new_from_unix_utc(st->st_mtim.tv_sec);
    g_autofree char *modified = date ? soup_date_time_to_string(date, SOUP_DATE_HTTP) : NULL;

    soup_message_headers_replace(response, "ETag", etag);
    soup_message_headers_replace(response, "Accept-Ranges", "bytes");
    soup_message_headers_set_content_type(response, mime ? mime : "application/octet-stream", NULL);
    if (modified)
        soup_message_headers_replace(response, "Last-Modified", modified);
    if (date)
        g_date_time_unref(date);
}

/* Takes `fd` over. */
static unsigned answer_file(SoupServerMessage *message, int fd, const char *path, const struct stat *st)
{
    SoupMessageHeaders *request = soup_server_message_get_request_headers(message);
    SoupMessageHeaders *response = soup_server_message_get_response_headers(message);
    uint64_t size = (uint64_t)st->st_size, at = 0, len = size;
    bool head = strcmp(soup_server_message_get_method(message), "HEAD") == 0;
    Range range = RANGE_NONE;
    g_autofree char *etag = etag_of(fd);

    describe_file(response, path, st, etag);
    if (client_has_it(request, st, etag)) {
        close(fd);
        return SOUP_STATUS_NOT_MODIFIED;
    }
    if (!head && range_holds(request, st, etag))
        range = find_range(soup_message_headers_get_one(request, "Range"), size, &at, &len);
    if (range == RANGE_BEYOND) {
        g_autofree char *all = g_strdup_printf("bytes */%" G_GUINT64_FORMAT, size);
        soup_message_headers_replace(response, "Content-Range", all);
        close(fd);
        return SOUP_STATUS_REQUESTED_RANGE_NOT_SATISFIABLE;
    }
    soup_message_headers_set_content_length(response, (goffset)len);
    if (range == RANGE_GOOD)
        soup_message_headers_set_content_range(response, (goffset)at, (goffset)(at + len - 1), (goffset)size);
    if (head)
        close(fd);
    else
        send_bytes(message, fd, at, len);
    return range == RANGE_GOOD ? SOUP_STATUS_PARTIAL_CONTENT : SOUP_STATUS_OK;
}

static int by_name(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names in a folder, those of folders with a slash; NULL if it cannot be listed. */
static GPtrArray *list_folder(GFile *file)
{
    g_autoptr(GFileEnumerator) entries =
        g_file_enumerate_children(file, "standard::*", G_FILE_QUERY_INFO_NOFOLLOW_SYMLINKS, NULL, NULL);
    GPtrArray *names = entries ? g_ptr_array_new_with_free_func(g_free) : NULL;
    GFileInfo *info;

    while (names && names->len < LISTED_MAX && (info = g_file_enumerator_next_file(entries, NULL, NULL))) {
        bool folder = g_file_info_get_file_type(info) == G_FILE_TYPE_DIRECTORY;
        g_ptr_array_add(names, g_strconcat(g_file_info_get_name(info), folder ? "/" : "", NULL));
        g_object_unref(info);
    }
    if (names)
        g_ptr_array_sort(names, by_name);
    return names;
}

/* For people with a browser. */
static unsigned answer_folder(SoupServerMessage *message, GFile *file)
{
    g_autoptr(GPtrArray) names = list_folder(file);
    GString *page = g_string_new("<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>Folder</title>\n<ul>\n");

    if (!names) {
        g_string_free(page, TRUE);
        return SOUP_STATUS_FORBIDDEN;
    }
    for (unsigned i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autofree char *valid = g_utf8_make_valid(name, -1);
        g_autofree char *shown = g_markup_escape_text(valid, -1);
        g_autofree char *link = g_uri_escape_string(name, "/", FALSE);
        g_string_append_printf(page, "<li><a href=\"./%s\">%s</a>\n", link, shown);
    }
    g_string_append(page, names->len == LISTED_MAX ? "</ul>\n<p>…\n" : "</ul>\n");
    soup_server_message_set_response(message, "text/html; charset=utf-8", SOUP_MEMORY_COPY, page->str,
                                     page->len);
    g_string_free(page, TRUE);
    return SOUP_STATUS_OK;
}

void vmc_webdav_get(SoupServerMessage *message, GFile *folder, const char *path)
{
    g_autoptr(GFile) file = g_file_resolve_relative_path(folder, path + 1);
    unsigned status = SOUP_STATUS_NOT_FOUND;
    struct stat st;
    int fd = vmc_webdav_open(file, &st);

    if (fd >= 0)
        status = answer_file(message, fd, path, &st);
    else if (fd == -EISDIR)
        status = answer_folder(message, file);
    else if (fd == -EACCES || fd == -EPERM)
        status = SOUP_STATUS_FORBIDDEN;
    soup_server_message_set_status(message, status, NULL);
}
