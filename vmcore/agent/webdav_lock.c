/*
 * LOCK, UNLOCK and PROPPATCH of the WebDAV port (RFC 4918 s9.10, s9.11, s9.2).
 *
 * Clients such as those of Windows and macOS write only to a server that gives them locks. Here all clients
 * are of one guest, which may do with the folder as it likes, so that a lock keeps nobody out: everyone who
 * asks is given one, and nothing has to be remembered. Those of libphodav are remembered without end, and the
 * conditions on them (the header If) make it loop or read where there is nothing.
 *
 * Properties of the guest's own are not kept; libphodav would remove extended attributes, also of files that
 * are not to be written to.
 *
 * Threads: the server's.
 */
#include <string.h>

#include "agent/webdav_internal.h"

#define TOKEN_PREFIX "urn:uuid:"

/* The token of a lock that is to be kept up, if the client says a good one; else NULL. */
static char *token_of(const char *condition)
{
    const char *from = condition ? strstr(condition, "<" TOKEN_PREFIX) : NULL;
    const char *to = from ? strchr(from, '>') : NULL;
    g_autofree char *token = to ? g_strndup(from + 1, (gsize)(to - from - 1)) : NULL;

    return token && g_uuid_string_is_valid(token + strlen(TOKEN_PREFIX)) ? g_steal_pointer(&token) : NULL;
}

/* A file that is not there yet is made by being locked. */
static unsigned make_file(GFile *file)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GFileOutputStream) stream = g_file_create(file, G_FILE_CREATE_NONE, NULL, &error);

    if (stream)
        return g_output_stream_close(G_OUTPUT_STREAM(stream), NULL, NULL) ? SOUP_STATUS_CREATED
                                                                          : SOUP_STATUS_CONFLICT;
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_EXISTS))
        return SOUP_STATUS_OK;
    return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ? SOUP_STATUS_CONFLICT
                                                                    : SOUP_STATUS_FORBIDDEN;
}

static void lock(SoupServerMessage *message, GFile *folder, const char *path)
{
    SoupMessageHeaders *request = soup_server_message_get_request_headers(message);
    g_autoptr(GFile) file = g_file_resolve_relative_path(folder, path + 1);
    g_autofree char *token = token_of(soup_message_headers_get_one(request, "If"));
    unsigned status = make_file(file);

    soup_server_message_set_status(message, status, NULL);
    if (!SOUP_STATUS_IS_SUCCESSFUL(status))
        return;
    if (!token) {
        g_autofree char *id = g_uuid_string_random();
        g_autofree char *quoted = g_strconcat("<" TOKEN_PREFIX, id, ">", NULL);
        soup_message_headers_replace(soup_server_message_get_response_headers(message), "Lock-Token", quoted);
        token = g_strconcat(TOKEN_PREFIX, id, NULL);
    }
    char *text = g_strdup_printf("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
                                 "<D:prop xmlns:D=\"DAV:\"><D:lockdiscovery><D:activelock>"
                                 "<D:locktype><D:write/></D:locktype>"
                                 "<D:lockscope><D:exclusive/></D:lockscope>"
                                 "<D:depth>infinity</D:depth><D:timeout>Second-3600</D:timeout>"
                                 "<D:locktoken><D:href>%s</D:href></D:locktoken>"
                                 "</D:activelock></D:lockdiscovery></D:prop>\n",
                                 token);
    soup_server_message_set_response(message, "application/xml; charset=utf-8", SOUP_MEMORY_TAKE, text,
                                     strlen(text));
}

static void unlock(SoupServerMessage *message)
{
    SoupMessageHeaders *request = soup_server_message_get_request_headers(message);
    bool good = soup_message_headers_get_one(request, "Lock-Token");

    soup_server_message_set_status(message, good ? SOUP_STATUS_NO_CONTENT : SOUP_STATUS_BAD_REQUEST, NULL);
}

static void refuse_properties(SoupServerMessage *message, const char *path)
{
    g_autofree char *link = g_uri_escape_string(path, "/", FALSE);
    char *text = g_strdup_printf("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
                                 "<D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>%s</D:href>"
                                 "<D:status>HTTP/1.1 403 Forbidden</D:status></D:response></D:multistatus>\n",
                                 link);

    soup_server_message_set_status(message, SOUP_STATUS_MULTI_STATUS, NULL);
    soup_server_message_set_response(message, "application/xml; charset=utf-8", SOUP_MEMORY_TAKE, text,
                                     strlen(text));
}

bool vmc_webdav_lock(SoupServerMessage *message, GFile *folder, const char *path)
{
    const char *method = soup_server_message_get_method(message);

    if (strcmp(method, "LOCK") == 0)
        lock(message, folder, path);
    else if (strcmp(method, "UNLOCK") == 0)
        unlock(message);
    else if (strcmp(method, "PROPPATCH") == 0)
        refuse_properties(message, path);
    else
        return false;
    return true;
}
