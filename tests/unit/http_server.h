/*
 * A small HTTP server with manners that a test chooses: it cuts connections, ignores ranges, has another file
 * all of a sudden, or sends pages. One connection, one answer.
 */
#pragma once

#include <gio/gio.h>
#include <string.h>

typedef struct HttpServer {
    GSocketService *service;
    GMainContext *context;
    GMainLoop *loop;
    GThread *thread;
    guint16 port;
    GMutex lock;
    /* What it has; changed under the lock. */
    GBytes *file;
    const char *type, *etag; /* NULL: not said */
    gsize cut_after;         /* bytes of a body, then the connection is closed; 0: never */
    unsigned cuts;           /* how often that is done; after that it behaves */
    unsigned status;         /* of every answer; 0: as fits */
    bool no_ranges, wrong_range, no_length;
    unsigned slow_us; /* between two pieces of a body */
    char *redirect;   /* where to */
    /* What was asked of it. */
    unsigned requests, range_requests;
    guint64 last_from;
} HttpServer;

static inline void http_say(GOutputStream *out, const char *format, ...) G_GNUC_PRINTF(2, 3);

static inline void http_say(GOutputStream *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_output_stream_write_all(out, text, strlen(text), NULL, NULL, NULL);
}

static inline void http_body(HttpServer *server, GOutputStream *out, const char *bytes, gsize n, gsize cut)
{
    gsize end = cut && cut < n ? cut : n;

    for (gsize at = 0; at < end; at += 4096) {
        if (!g_output_stream_write_all(out, bytes + at, MIN(4096, end - at), NULL, NULL, NULL))
            return;
        if (server->slow_us)
            g_usleep(server->slow_us);
    }
}

static inline void http_answer(HttpServer *server, GOutputStream *out, gint64 from, const char *if_range)
{
    g_mutex_lock(&server->lock);
    gsize size, cut = server->cuts ? server->cut_after : 0;
    g_autoptr(GBytes) file = g_bytes_ref(server->file);
    const char *bytes = g_bytes_get_data(file, &size);
    bool part = from >= 0 && !server->no_ranges && (!if_range || !g_strcmp0(if_range, server->etag));
    unsigned status = server->status;
    g_autofree char *redirect = g_strdup(server->redirect);

    if (server->cuts)
        server->cuts--;
    server->requests++;
    server->range_requests += from >= 0;
    server->last_from = from >= 0 ? (guint64)from : 0;
    g_mutex_unlock(&server->lock);
    if (redirect) {
        http_say(out, "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
                 redirect);
        return;
    }
    if (status) {
        http_say(out,
                 "HTTP/1.1 %u Sorry\r\nConnection: close\r\nContent-Type: text/html\r\n"
                 "Content-Length: 13\r\n\r\n<html></html>",
                 status);
        return;
    }
    if (part && (gsize)from >= size) {
        http_say(out,
                 "HTTP/1.1 416 No\r\nConnection: close\r\nContent-Range: bytes */%zu\r\n"
                 "Content-Length: 0\r\n\r\n",
                 size);
        return;
    }
    gsize start = part ? (gsize)from : 0;
    http_say(out, "HTTP/1.1 %s\r\nConnection: close\r\n", part ? "206 Partial Content" : "200 OK");
    if (server->type)
        http_say(out, "Content-Type: %s\r\n", server->type);
    if (server->etag)
        http_say(out, "ETag: %s\r\n", server->etag);
    if (part)
        http_say(out, "Content-Range: bytes %zu-%zu/%zu\r\n", server->wrong_range ? start + 1 : start,
                 size - 1, size);
    if (!server->no_length)
        http_say(out, "Content-Length: %zu\r\n", size - start);
    http_say(out, "\r\n");
    http_body(server, out, bytes + start, size - start, cut);
}

static inline gboolean http_on_run(GThreadedSocketService *service, GSocketConnection *connection,
                                   GObject *source, HttpServer *server)
{
    g_autoptr(GDataInputStream) in =
        g_data_input_stream_new(g_io_stream_get_input_stream(G_IO_STREAM(connection)));
    g_autofree char *if_range = NULL;
    gint64 from = -1;
    char *line;

    g_data_input_stream_set_newline_type(in, G_DATA_STREAM_NEWLINE_TYPE_CR_LF);
    while ((line = g_data_input_stream_read_line(in, NULL, NULL, NULL)) && *line) {
        if (!g_ascii_strncasecmp(line, "range: bytes=", 13))
            from = g_ascii_strtoll(line + 13, NULL, 10);
        else if (!g_ascii_strncasecmp(line, "if-range: ", 10))
            if_range = g_strdup(line + 10);
        g_free(line);
    }
    g_free(line);
    http_answer(server, g_io_stream_get_output_stream(G_IO_STREAM(connection)), from, if_range);
    g_io_stream_close(G_IO_STREAM(connection), NULL, NULL);
    return TRUE;
}

static inline gpointer http_thread(gpointer data)
{
    HttpServer *server = data;

    g_main_context_push_thread_default(server->context);
    g_main_loop_run(server->loop);
    g_main_context_pop_thread_default(server->context);
    return NULL;
}

static inline HttpServer *http_server_new(const void *bytes, gsize n)
{
    HttpServer *server = g_new0(HttpServer, 1);

    g_mutex_init(&server->lock);
    server->file = g_bytes_new(bytes, n);
    server->type = "application/octet-stream";
    server->etag = "\"one\"";
    server->context = g_main_context_new();
    g_main_context_push_thread_default(server->context);
    server->service = g_threaded_socket_service_new(8);
    server->port = g_socket_listener_add_any_inet_port(G_SOCKET_LISTENER(server->service), NULL, NULL);
    g_signal_connect(server->service, "run", G_CALLBACK(http_on_run), server);
    g_socket_service_start(server->service);
    g_main_context_pop_thread_default(server->context);
    server->loop = g_main_loop_new(server->context, FALSE);
    server->thread = g_thread_new("http", http_thread, server);
    return server;
}

static inline char *http_link(HttpServer *server, const char *name)
{
    return g_strdup_printf("http://127.0.0.1:%u/%s", server->port, name);
}

/* Another file from now on, with another mark. */
static inline void http_server_change(HttpServer *server, const void *bytes, gsize n, const char *etag)
{
    g_mutex_lock(&server->lock);
    g_bytes_unref(server->file);
    server->file = g_bytes_new(bytes, n);
    server->etag = etag;
    g_mutex_unlock(&server->lock);
}

static inline gboolean http_quit(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

static inline void http_server_free(HttpServer *server)
{
    g_autoptr(GSource) quit = g_idle_source_new();

    g_socket_service_stop(server->service);
    g_socket_listener_close(G_SOCKET_LISTENER(server->service));
    /* From inside: a thread that has not yet come to run the loop would not hear it otherwise. */
    g_source_set_callback(quit, http_quit, server->loop, NULL);
    g_source_attach(quit, server->context);
    g_thread_join(server->thread);
    g_object_unref(server->service);
    g_main_loop_unref(server->loop);
    g_main_context_unref(server->context);
    g_bytes_unref(server->file);
    g_free(server->redirect);
    g_mutex_clear(&server->lock);
    g_free(server);
}
