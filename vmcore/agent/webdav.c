/*
 * The WebDAV port: spice-webdavd in the guest listens on a TCP port of its own and passes each connection on
 * through this one, as records of client (8 bytes), length (2) and bytes, all little-endian. A record without
 * bytes ends its client's connection.
 *
 * The server is libphodav's, on libsoup. It has a thread of its own, because it waits for the disk, and no
 * port of the network: each client is a socket pair, whose one end the server is given as an accepted
 * connection. What the guest sends waits in the guest while the server does not take it, and the other way
 * round: no more than one record each way is kept here. So is the number of clients capped, and the size of
 * what libphodav would read into memory before it looks at it. Reading files is not left to it
 * (webdav_get.c).
 *
 * Threads: the port and the clients on the I/O thread; the server on its own, to which sockets are handed.
 */
#include "agent/webdav_internal.h"

#include <errno.h>
#include <gio/gunixsocketaddress.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmcore/error.h"

#define CLIENTS_MAX 32u
#define HEADER      10u         /* of a record */
#define RECORD_MAX  16384u      /* bytes that we put into one */
#define BODY_MAX    (64 * 1024) /* of a request that is not the content of a file */

typedef struct WebDav WebDav;

typedef struct Client {
    WebDav *dav;
    uint64_t id;
    int fd;
    GSource *in; /* NULL: not waited for */
} Client;

struct WebDav {
    VmcIo *io;
    VmcPort *port;
    GHashTable *clients; /* id -> Client */

    /* from the guest: a record */
    uint8_t header[HEADER];
    unsigned header_have;
    uint32_t left;
    GSource *out; /* the client of the record will have room, or NULL */

    /* to the guest: a record */
    uint8_t stage[HEADER + RECORD_MAX];
    size_t stage_at, stage_len;

    /* the server's thread */
    GThread *thread;
    GMainContext *context;
    GMainLoop *loop;
    GFile *folder;
    bool readonly;
    PhodavServer *server;

    VmcExports *exports; /* or NULL */
};

static gboolean client_readable(gint fd, GIOCondition condition, gpointer data);

static void drop_source(GSource **source)
{
    if (*source) {
        g_source_destroy(*source);
        g_source_unref(*source);
        *source = NULL;
    }
}

static GSource *watch(WebDav *dav, int fd, GIOCondition condition, GUnixFDSourceFunc func, void *data)
{
    GSource *source = g_unix_fd_source_new(fd, condition);

    g_source_set_callback(source, G_SOURCE_FUNC(func), data, NULL);
    g_source_attach(source, vmc_io_context(dav->io));
    return source;
}

/* ---- the server's thread ---- */

/* Only the content of a file may be large; everything else is collected before it is looked at. */
static void got_chunk(SoupServerMessage *message, GBytes *chunk, gpointer data)
{
    SoupMessageBody *body = soup_server_message_get_request_body(message);

    if (strcmp(soup_server_message_get_method(message), "PUT") == 0 || body->length <= BODY_MAX)
        return;
    soup_message_body_set_accumulate(body, FALSE);
    soup_message_body_truncate(body);
}

static bool path_is_good(const char *path)
{
    return path && path[0] == '/' && path[1] != '/';
}

/* Nor may anything be copied into itself, which libphodav would do until the disk is full. */
static bool destination_is_good(GFile *folder, const char *path, const char *destination)
{
    g_autoptr(GUri) uri = g_uri_parse(destination, SOUP_HTTP_URI_FLAGS, NULL);
    g_autofree char *to = uri ? g_uri_unescape_string(g_uri_get_path(uri), NULL) : NULL;

    if (!path_is_good(to))
        return false;
    g_autoptr(GFile) source = g_file_resolve_relative_path(folder, path + 1);
    g_autoptr(GFile) target = g_file_resolve_relative_path(folder, to + 1);
    return !g_file_equal(source, target) && !g_file_has_prefix(target, source);
}

/* What libphodav answers; of others it complains. */
static bool method_is_known(const char *method)
{
    static const char *const methods[] = {"OPTIONS", "PUT", "PROPFIND", "MKCOL", "DELETE", "MOVE", "COPY"};

    for (unsigned i = 0; i < G_N_ELEMENTS(methods); i++)
        if (strcmp(methods[i], method) == 0)
            return true;
    return false;
}

/* Before libphodav sees a request: what it would take for an absolute path it has no file for, and goes on
 * without one; and what is not for it. */
static void look_early(SoupServer *server, SoupServerMessage *message, const char *path, GHashTable *query,
                       gpointer data)
{
    WebDav *dav = data;
    SoupMessageHeaders *headers = soup_server_message_get_request_headers(message);
    const char *destination = soup_message_headers_get_one(headers, "Destination");
    const char *method = soup_server_message_get_method(message);

    if (!path_is_good(g_uri_get_path(soup_server_message_get_uri(message))) || !path_is_good(path) ||
        (destination && !destination_is_good(dav->folder, path, destination)))
        soup_server_message_set_status(message, SOUP_STATUS_BAD_REQUEST, NULL);
    else if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
        vmc_webdav_get(message, dav->folder, path);
    else if (!vmc_webdav_lock(message, dav->folder, path)) {
        soup_message_headers_remove(headers, "If"); /* webdav_lock.c says why */
        if (method_is_known(method))
            return;
        soup_server_message_set_status(message, SOUP_STATUS_NOT_IMPLEMENTED, NULL);
    }
    g_signal_stop_emission_by_name(message, "got-headers");
}

static void request_started(SoupServer *server, SoupServerMessage *message, gpointer data)
{
    g_signal_connect(message, "got-chunk", G_CALLBACK(got_chunk), NULL);
}

static void *serve(void *data)
{
    WebDav *dav = data;

    g_main_context_push_thread_default(dav->context);
    dav->server = phodav_server_new_for_root_file(dav->folder);
    g_object_set(dav->server, "read-only", dav->readonly, NULL);
    g_signal_connect(phodav_server_get_soup_server(dav->server), "request-started",
                     G_CALLBACK(request_started), NULL);
    soup_server_add_early_handler(phodav_server_get_soup_server(dav->server), "/", look_early, dav, NULL);
    g_main_loop_run(dav->loop);
    soup_server_disconnect(phodav_server_get_soup_server(dav->server));
    g_clear_object(&dav->server);
    while (g_main_context_iteration(dav->context, FALSE))
        ;
    g_main_context_pop_thread_default(dav->context);
    return NULL;
}

typedef struct Handover {
    WebDav *dav;
    GSocket *socket;
} Handover;

static void handover_free(gpointer data)
{
    Handover *handover = data;

    g_object_unref(handover->socket);
    g_free(handover);
}

static gboolean accept_client(gpointer data)
{
    Handover *handover = data;
    g_autoptr(GSocketConnection) connection = g_socket_connection_factory_create_connection(handover->socket);
    g_autoptr(GSocketAddress) nobody = g_inet_socket_address_new_from_string("127.0.0.1", 0);

    /* If that fails the pair's other end sees its end. */
    soup_server_accept_iostream(phodav_server_get_soup_server(handover->dav->server), G_IO_STREAM(connection),
                                nobody, nobody, NULL);
    return G_SOURCE_REMOVE;
}

/* On the I/O thread; takes `fd` over. */
static bool hand_over(WebDav *dav, int fd)
{
    GSocket *socket = g_socket_new_from_fd(fd, NULL);

    if (!socket) {
        close(fd);
        return false;
    }
    Handover *handover = g_new(Handover, 1);
    *handover = (Handover){dav, socket};
    GSource *source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, accept_client, handover, handover_free);
    g_source_attach(source, dav->context);
    g_source_unref(source);
    /* cppcheck-suppress memleak; the source frees it */
    return true;
}

/* ---- clients ---- */

static void client_free(gpointer data)
{
    Client *client = data;

    drop_source(&client->in);
    close(client->fd);
    g_free(client);
}

static Client *client_new(WebDav *dav, uint64_t id)
{
    int pair[2];

    if (g_hash_table_size(dav->clients) >= CLIENTS_MAX ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return NULL;
    if (!hand_over(dav, pair[1])) {
        close(pair[0]);
        return NULL;
    }
    Client *client = g_new0(Client, 1);
    client->dav = dav;
    client->id = id;
    client->fd = pair[0];
    client->in = watch(dav, client->fd, G_IO_IN | G_IO_HUP | G_IO_ERR, client_readable, client);
    g_hash_table_insert(dav->clients, &client->id, client);
    return client;
}

/* ---- to the guest ---- */

static bool stage_is_busy(const WebDav *dav)
{
    return dav->stage_at < dav->stage_len;
}

static void push_stage(WebDav *dav)
{
    if (stage_is_busy(dav))
        dav->stage_at +=
            vmc_port_write(dav->port, dav->stage + dav->stage_at, dav->stage_len - dav->stage_at);
}

static void stage_record(WebDav *dav, uint64_t id, size_t len)
{
    uint64_t id_le = GUINT64_TO_LE(id);
    uint16_t len_le = GUINT16_TO_LE((uint16_t)len);

    memcpy(dav->stage, &id_le, 8);
    memcpy(dav->stage + 8, &len_le, 2);
    dav->stage_at = 0;
    dav->stage_len = HEADER + len;
    push_stage(dav);
}

static gboolean client_readable(gint fd, GIOCondition condition, gpointer data)
{
    Client *client = data;
    WebDav *dav = client->dav;
    uint64_t id = client->id;

    if (stage_is_busy(dav)) {
        drop_source(&client->in); /* until there is room for a record */
        return G_SOURCE_REMOVE;
    }
    ssize_t got = recv(fd, dav->stage + HEADER, RECORD_MAX, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    if (got > 0) {
        stage_record(dav, id, (size_t)got);
        return G_SOURCE_CONTINUE;
    }
    g_hash_table_remove(dav->clients, &client->id);
    stage_record(dav, id, 0);
    return G_SOURCE_REMOVE;
}

static void writable(void *opaque)
{
    WebDav *dav = opaque;
    GHashTableIter iter;
    gpointer value;

    push_stage(dav);
    if (stage_is_busy(dav))
        return;
    g_hash_table_iter_init(&iter, dav->clients);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Client *client = value;
        if (!client->in)
            client->in = watch(dav, client->fd, G_IO_IN | G_IO_HUP | G_IO_ERR, client_readable, client);
    }
}

/* ---- from the guest ---- */

static gboolean client_has_room(gint fd, GIOCondition condition, gpointer data)
{
    WebDav *dav = data;

    drop_source(&dav->out);
    vmc_port_resume(dav->port);
    return G_SOURCE_REMOVE;
}

/* Passes some of a record on. Bytes of a client that is none, any more, go nowhere. */
static size_t pass_on(WebDav *dav, uint64_t id, const uint8_t *data, size_t len)
{
    Client *client = g_hash_table_lookup(dav->clients, &id);

    if (!client)
        return len;
    ssize_t sent = send(client->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0)
        return (size_t)sent;
    if (errno == EINTR)
        return 0;
    if (errno == EAGAIN) {
        drop_source(&dav->out);
        dav->out = watch(dav, client->fd, G_IO_OUT, client_has_room, dav);
        return 0;
    }
    return len; /* its end is seen in its own time */
}

static uint64_t record_id(const WebDav *dav)
{
    uint64_t id;

    memcpy(&id, dav->header, 8);
    return GUINT64_FROM_LE(id);
}

static size_t take_header(WebDav *dav, const uint8_t *data, size_t len)
{
    size_t here = MIN(len, HEADER - dav->header_have);
    uint16_t size;

    memcpy(dav->header + dav->header_have, data, here);
    dav->header_have += (unsigned)here;
    if (dav->header_have < HEADER)
        return here;
    memcpy(&size, dav->header + 8, 2);
    dav->left = GUINT16_FROM_LE(size);
    uint64_t id = record_id(dav);
    if (!dav->left) {
        dav->header_have = 0;
        g_hash_table_remove(dav->clients, &id);
    } else if (!g_hash_table_contains(dav->clients, &id)) {
        client_new(dav, id); /* one too many: what it sends is not answered */
    }
    return here;
}

static size_t received(void *opaque, const void *data, size_t len)
{
    WebDav *dav = opaque;
    const uint8_t *bytes = data;
    size_t done = 0;

    while (done < len && !dav->out) {
        if (dav->header_have < HEADER) {
            done += take_header(dav, bytes + done, len - done);
            continue;
        }
        size_t taken = pass_on(dav, record_id(dav), bytes + done, MIN(len - done, dav->left));
        done += taken;
        dav->left -= (uint32_t)taken;
        if (!dav->left)
            dav->header_have = 0;
    }
    return done;
}

/* ---- lifecycle ---- */

static void opened(void *opaque, bool guest_open)
{
    WebDav *dav = opaque;

    drop_source(&dav->out);
    g_hash_table_remove_all(dav->clients);
    dav->header_have = 0;
    dav->stage_at = dav->stage_len = 0;
    if (dav->exports)
        vmc_exports_set_open(dav->exports, guest_open);
}

static gboolean stop_serving(gpointer data)
{
    g_main_loop_quit(data);
    return G_SOURCE_REMOVE;
}

static void port_free(void *opaque)
{
    WebDav *dav = opaque;

    opened(dav, false);
    if (dav->exports)
        vmc_exports_unserve(dav->exports);
    GSource *source = g_idle_source_new();
    g_source_set_callback(source, stop_serving, dav->loop, NULL);
    g_source_attach(source, dav->context);
    g_source_unref(source);
    g_thread_join(dav->thread);
    g_hash_table_unref(dav->clients);
    g_object_unref(dav->folder);
    vmc_exports_unref(dav->exports);
    g_main_loop_unref(dav->loop);
    g_main_context_unref(dav->context);
    g_free(dav);
}

static const VmcPortOps port_ops = {
    .begins_anew = true,
    .opened = opened,
    .received = received,
    .writable = writable,
    .free = port_free,
};

VmcPort *vmc_webdav_port_new(VmcIo *io, const char *folder, bool readonly, VmcExports *exports,
                             GError **error)
{
    GFile *root = vmc_dav_load(error) ? vmc_webdav_folder_new(folder, readonly, exports, error) : NULL;

    if (root && exports && !vmc_exports_serve(exports, folder, error))
        g_clear_object(&root);
    if (!root)
        return NULL;
    WebDav *dav = g_new0(WebDav, 1);
    dav->io = io;
    dav->folder = root;
    dav->readonly = readonly;
    dav->exports = vmc_exports_ref(exports);
    dav->clients = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, client_free);
    dav->context = g_main_context_new();
    dav->loop = g_main_loop_new(dav->context, FALSE);
    dav->thread = g_thread_new("webdav", serve, dav);
    dav->port = vmc_port_new(io, &port_ops, dav);
    vmc_port_set_host_open(dav->port, true); /* spice-webdavd waits for that */
    return dav->port;
}
