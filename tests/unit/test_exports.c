/*
 * Files that clipboards exchange, as a guest finds them: a client of HTTP, spice-webdavd's part between it
 * and the port, and the real server behind that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <libsoup/soup.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/webdav.h"
#include "vmcore/error.h"
#include "tests/unit/folder.h"

#define CLIENTS_MAX 64

/* The machine's side, and spice-webdavd's, which listens where `session` connects to. */
typedef struct Bench {
    VmcIo *io;
    VmcPort *port;
    VmcExports *exports;
    char *dir, *shared, *home; /* what is shared, and where the user's files are */
    GSocketListener *listener;
    GCancellable *stop;
    GThread *thread;
    GMutex lock;
    GSocketConnection *clients[CLIENTS_MAX];
    GThread *readers[CLIENTS_MAX];
    unsigned n;
    GByteArray *got; /* a record that has not come whole */
    SoupSession *session;
} Bench;

/* ---- what spice-webdavd does ---- */

static size_t guest_write(void *opaque, const void *data, size_t len)
{
    Bench *b = opaque;
    uint64_t id;
    uint16_t size;

    g_byte_array_append(b->got, data, (guint)len);
    while (b->got->len >= 10) {
        memcpy(&id, b->got->data, 8);
        memcpy(&size, b->got->data + 8, 2);
        if (b->got->len < 10u + size)
            break;
        g_mutex_lock(&b->lock);
        assert_in_range(id, 1, b->n);
        GSocketConnection *client = b->clients[id - 1];
        g_mutex_unlock(&b->lock);
        GOutputStream *out = g_io_stream_get_output_stream(G_IO_STREAM(client));
        if (size)
            g_output_stream_write_all(out, b->got->data + 10, size, NULL, NULL, NULL);
        else
            g_socket_shutdown(g_socket_connection_get_socket(client), TRUE, TRUE, NULL);
        g_byte_array_remove_range(b->got, 0, 10u + size);
    }
    return len;
}

static size_t guest_room(void *opaque)
{
    return SIZE_MAX;
}

static void guest_resume(void *opaque)
{
}

static void guest_host_open(void *opaque, bool open)
{
}

static const VmcPortGuest guest = {guest_write, guest_room, guest_resume, guest_host_open, guest_resume};

typedef struct Call {
    Bench *b;
    const uint8_t *data;
    size_t len;
    bool open;
} Call;

static void do_open(void *data)
{
    vmc_port_set_guest_open(((Call *)data)->b->port, ((Call *)data)->open);
}

static void guest_opens(Bench *b, bool open)
{
    vmc_io_call_sync(b->io, do_open, &(Call){.b = b, .open = open});
}

static void do_receive(void *data)
{
    Call *call = data;
    size_t taken = vmc_port_receive(call->b->port, call->data, call->len);

    call->data += taken;
    call->len -= taken;
}

typedef struct Reader {
    Bench *b;
    uint64_t id;
} Reader;

/* Passes on what one client sends. */
static void *read_client(void *data)
{
    Reader *reader = data;
    Bench *b = reader->b;
    GInputStream *in = g_io_stream_get_input_stream(G_IO_STREAM(b->clients[reader->id - 1]));
    uint8_t bytes[10 + 4096];
    gssize got;

    do {
        got = g_input_stream_read(in, bytes + 10, 4096, b->stop, NULL);
        uint16_t size = (uint16_t)MAX(got, 0);
        memcpy(bytes, &reader->id, 8);
        memcpy(bytes + 8, &size, 2);
        for (Call call = {b, bytes, 10u + size, false}; call.len;) {
            vmc_io_call_sync(b->io, do_receive, &call);
            g_usleep(call.len ? 500 : 0);
        }
    } while (got > 0);
    g_free(reader);
    return NULL;
}

static void *accept_clients(void *data)
{
    Bench *b = data;
    GSocketConnection *client;

    while ((client = g_socket_listener_accept(b->listener, NULL, b->stop, NULL))) {
        assert_true(b->n < CLIENTS_MAX);
        g_mutex_lock(&b->lock);
        b->clients[b->n++] = client;
        g_mutex_unlock(&b->lock);
        Reader *reader = g_new(Reader, 1);
        *reader = (Reader){b, b->n};
        b->readers[b->n - 1] = g_thread_new("client", read_client, reader);
    }
    return NULL;
}

/* ---- together ---- */

static char *make_file(const char *dir, const char *name, const char *text)
{
    char *path = g_build_filename(dir, name, NULL);
    g_autofree char *above = g_path_get_dirname(path);

    g_mkdir_with_parents(above, 0700);
    assert_true(g_file_set_contents(path, text, -1, NULL));
    return path;
}

static Bench *bench_new(bool open)
{
    Bench *b = g_new0(Bench, 1);

    b->io = vmc_io_new(NULL);
    b->got = g_byte_array_new();
    b->stop = g_cancellable_new();
    b->dir = g_dir_make_tmp("vmcore-exports-XXXXXX", NULL);
    b->shared = g_build_filename(b->dir, "shared", NULL);
    b->home = g_build_filename(b->dir, "home", NULL);
    g_free(make_file(b->shared, "file.txt", "shared"));
    g_free(make_file(b->home, "one ü.txt", "first"));
    g_free(make_file(b->home, "album/two.txt", "second"));
    g_free(make_file(b->home, "album/deep/three.txt", "third"));
    g_free(make_file(b->home, "secret", "SECRET"));
    g_autofree char *link = g_build_filename(b->home, "album", "way-out", NULL);
    g_autofree char *fifo = g_build_filename(b->home, "album", "fifo", NULL);
    assert_int_equal(symlink("../secret", link), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);

    b->exports = vmc_exports_new();
    b->port = vmc_webdav_port_new(b->io, b->shared, false, b->exports, NULL);
    assert_non_null(b->port);
    vmc_port_attach(b->port, &guest, b);
    guest_opens(b, open);
    g_autofree char *path = g_build_filename(b->dir, "webdavd", NULL);
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    b->listener = g_socket_listener_new();
    assert_true(g_socket_listener_add_address(b->listener, address, G_SOCKET_TYPE_STREAM,
                                              G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL, NULL));
    b->thread = g_thread_new("webdavd", accept_clients, b);
    b->session = soup_session_new_with_options("remote-connectable", address, "timeout", 20, NULL);
    return b;
}

static void bench_free(Bench *b)
{
    g_object_unref(b->session);
    g_cancellable_cancel(b->stop);
    g_thread_join(b->thread);
    for (unsigned i = 0; i < b->n; i++) {
        g_thread_join(b->readers[i]);
    }
    vmc_port_free(b->port);
    for (unsigned i = 0; i < b->n; i++)
        g_object_unref(b->clients[i]);
    vmc_exports_unref(b->exports);
    vmc_io_free(b->io);
    g_object_unref(b->listener);
    g_object_unref(b->stop);
    remove_folder(b->dir);
    g_byte_array_unref(b->got);
    g_free(b->dir);
    g_free(b->shared);
    g_free(b->home);
    g_free(b);
}

/* ---- a client ---- */

/* A request; returns its status, and in `body` the answer's text. */
static unsigned request(Bench *b, const char *method, const char *path, const char *header, const char *value,
                        char **body)
{
    g_autofree char *escaped = g_uri_escape_string(path, "/", FALSE);
    g_autofree char *uri = g_strconcat("http://localhost:9843", escaped, NULL);
    g_autoptr(SoupMessage) message = soup_message_new(method, uri);
    g_autoptr(GError) error = NULL;

    if (header)
        soup_message_headers_append(soup_message_get_request_headers(message), header, value);
    if (strcmp(method, "PUT") == 0) {
        g_autoptr(GBytes) bytes = g_bytes_new_static("changed", 7);
        soup_message_set_request_body_from_bytes(message, NULL, bytes);
    }
    g_autoptr(GBytes) answer = soup_session_send_and_read(b->session, message, NULL, &error);
    if (!answer)
        fail_msg("%s %s: %s", method, path, error->message);
    if (body)
        *body = g_strndup(g_bytes_get_data(answer, NULL) ? g_bytes_get_data(answer, NULL) : "",
                          g_bytes_get_size(answer));
    return soup_message_get_status(message);
}

static unsigned status(Bench *b, const char *method, const char *path)
{
    return request(b, method, path, NULL, NULL, NULL);
}

static void expect_text(Bench *b, const char *path, const char *wanted)
{
    g_autofree char *text = NULL;

    assert_int_equal(request(b, "GET", path, NULL, NULL, &text), 200);
    assert_string_equal(text, wanted);
}

/* Offers what is below the home folder; returns the paths that the guest is told. */
static VmcExport *offer(Bench *b, const char *first, const char *second, char ***paths)
{
    g_autofree char *one = g_build_filename(b->home, first, NULL);
    g_autofree char *two = second ? g_build_filename(b->home, second, NULL) : NULL;
    g_autoptr(GBytes) list = NULL;
    g_autoptr(GError) error = NULL;
    VmcFileAction action;
    VmcExport *export =
        vmc_exports_add(b->exports, VMC_FILES_CUT, (const char *const[]){one, two, NULL}, &list, &error);

    if (!export)
        fail_msg("%s", error->message);
    assert_int_equal(((const char *)g_bytes_get_data(list, NULL))[g_bytes_get_size(list) - 1], 0);
    *paths = vmc_file_list_parse(list, &action);
    assert_non_null(*paths);
    assert_int_equal(action, VMC_FILES_CUT);
    for (char **path = *paths; *path; path++) { /* as they stood there */
        char *full = g_strconcat("/", *path, NULL);
        g_free(*path);
        *path = full;
    }
    return export;
}

/* ---- what the host offers ---- */

static void test_guest_finds_what_is_offered_and_nothing_else(void **state)
{
    static const char *const out[] = {"way-out",         "fifo", "../secret", "../../secret",
                                      "deep/../way-out", "none"};
    Bench *b = bench_new(true);
    g_auto(GStrv) paths = NULL;
    g_autofree char *list = NULL, *top = NULL, *deep = NULL;
    VmcExport *export = offer(b, "one ü.txt", "album", &paths);
    g_autofree char *folder = g_path_get_dirname(paths[0]);
    g_autofree char *three = g_strconcat(paths[1], "/deep/three.txt", NULL);
    g_autofree char *secret = g_strconcat(folder, "/secret", NULL);

    assert_true(g_str_has_prefix(paths[0], "/.spice-clipboard/"));
    assert_true(g_str_has_suffix(paths[0], "/one ü.txt"));
    expect_text(b, paths[0], "first");
    expect_text(b, three, "third");
    expect_text(b, "/file.txt", "shared");
    assert_int_equal(request(b, "PROPFIND", "/", "Depth", "1", &top), 207);
    assert_non_null(strstr(top, "/.spice-clipboard"));
    assert_int_equal(request(b, "PROPFIND", folder, "Depth", "1", &list), 207);
    assert_non_null(strstr(list, "one%20"));
    assert_non_null(strstr(list, "/album"));
    assert_null(strstr(list, "secret"));
    assert_int_equal(request(b, "PROPFIND", paths[1], "Depth", "1", &deep), 207);
    assert_non_null(strstr(deep, "two.txt"));
    assert_null(strstr(deep, "way-out"));
    assert_int_equal(status(b, "GET", "/.spice-clipboard"), 200);
    assert_int_equal(status(b, "GET", secret), 404);
    for (unsigned i = 0; i < G_N_ELEMENTS(out); i++) {
        g_autofree char *path = g_strconcat(paths[1], "/", out[i], NULL);
        assert_int_equal(status(b, "GET", path), 404);
    }
    vmc_exports_end(b->exports, export);
    bench_free(b);
}

static void test_guest_changes_nothing_that_is_offered(void **state)
{
    Bench *b = bench_new(true);
    g_auto(GStrv) paths = NULL;
    VmcExport *export = offer(b, "one ü.txt", "album", &paths);
    g_autofree char *folder = g_path_get_dirname(paths[0]);
    g_autofree char *two = g_strconcat(paths[1], "/two.txt", NULL);
    const char *const targets[] = {paths[0], paths[1], two, folder, "/.spice-clipboard"};
    g_autofree char *new = g_strconcat(paths[1], "/new", NULL);
    g_autofree char *escaped = g_uri_escape_string(new, "/", FALSE);
    g_autofree char *into = g_strconcat("http://localhost:9843", escaped, NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(targets); i++) {
        assert_in_range(status(b, "PUT", targets[i]), 400, 599);
        status(b, "DELETE", targets[i]); /* may say of each part that it could not */
        assert_in_range(request(b, "MOVE", targets[i], "Destination", "http://localhost:9843/moved", NULL),
                        400, 599);
    }
    assert_in_range(status(b, "PUT", new), 400, 599);
    assert_in_range(status(b, "MKCOL", new), 400, 599);
    assert_in_range(status(b, "MKCOL", "/.spice-clipboard/mine"), 400, 599);
    assert_in_range(request(b, "MOVE", "/file.txt", "Destination", into, NULL), 400, 599);
    assert_in_range(request(b, "COPY", "/file.txt", "Destination", into, NULL), 400, 599);
    expect_text(b, paths[0], "first");
    expect_text(b, two, "second");
    expect_text(b, "/file.txt", "shared");
    assert_int_equal(status(b, "GET", new), 404);
    assert_int_equal(request(b, "COPY", two, "Destination", "http://localhost:9843/copied", NULL), 201);
    expect_text(b, "/copied", "second"); /* which is what it is for */
    vmc_exports_end(b->exports, export);
    bench_free(b);
}

static void test_offer_has_gone_when_its_time_has(void **state)
{
    Bench *b = bench_new(true);
    g_auto(GStrv) paths = NULL;
    g_autofree char *top = NULL;
    VmcExport *export = offer(b, "one ü.txt", NULL, &paths);
    uint64_t start = vmc_now_ns();

    vmc_exports_expire(b->exports, start + 10 * VMC_EXPORTS_LAST_NS);
    expect_text(b, paths[0], "first"); /* while it is offered */
    vmc_exports_end(b->exports, export);
    expect_text(b, paths[0], "first"); /* and a while longer */
    assert_in_range(vmc_exports_expire(b->exports, vmc_now_ns()), start, vmc_now_ns() + VMC_EXPORTS_GRACE_NS);
    assert_int_equal(vmc_exports_expire(b->exports, vmc_now_ns() + VMC_EXPORTS_GRACE_NS), UINT64_MAX);
    assert_int_equal(status(b, "GET", paths[0]), 404);
    assert_int_equal(status(b, "GET", "/.spice-clipboard"), 404);
    assert_int_equal(request(b, "PROPFIND", "/", "Depth", "1", &top), 207);
    assert_null(strstr(top, "/.spice-clipboard"));
    bench_free(b);
}

static void test_of_offers_that_have_ended_the_oldest_make_room(void **state)
{
    Bench *b = bench_new(true);
    char **first, **last, **kept;
    VmcExport *stays = offer(b, "album", NULL, &kept);

    vmc_exports_end(b->exports, offer(b, "one ü.txt", NULL, &first));
    for (unsigned i = 0; i < VMC_EXPORTS_MAX; i++) {
        char **paths;
        vmc_exports_end(b->exports, offer(b, "one ü.txt", NULL, &paths));
        g_strfreev(paths);
    }
    vmc_exports_end(b->exports, offer(b, "one ü.txt", NULL, &last));
    assert_int_equal(status(b, "GET", first[0]), 404);
    expect_text(b, last[0], "first");
    assert_int_equal(status(b, "GET", kept[0]), 200);
    vmc_exports_end(b->exports, stays);
    g_strfreev(first);
    g_strfreev(last);
    g_strfreev(kept);
    bench_free(b);
}

static void expect_refused(Bench *b, const char *const *paths, const char *why)
{
    g_autoptr(GBytes) list = NULL;
    g_autoptr(GError) error = NULL;

    assert_null(vmc_exports_add(b->exports, VMC_FILES_COPY, paths, &list, &error));
    assert_int_equal(error->domain, VMC_ERROR);
    if (!strstr(error->message, why))
        fail_msg("“%s” does not say “%s”", error->message, why);
    assert_null(list);
}

static void test_what_cannot_be_offered_is_said(void **state)
{
    Bench *b = bench_new(false);
    g_autofree char *one = g_build_filename(b->home, "one ü.txt", NULL);
    g_autofree char *none = g_build_filename(b->home, "none", NULL);
    g_autofree char *link = g_build_filename(b->home, "album", "way-out", NULL);
    g_autofree char *fifo = g_build_filename(b->home, "album", "fifo", NULL);
    g_autofree char *same = make_file(b->home, "album/one ü.txt", "");
    g_autofree char *line = make_file(b->home, "li\nne", "");
    g_autofree const char **many = g_new0(const char *, VMC_AGENT_FILES_MAX + 2);

    expect_refused(b, (const char *[]){one, NULL}, "install spice-webdavd");
    guest_opens(b, true);
    expect_refused(b, (const char *[]){NULL}, "0 files");
    expect_refused(b, (const char *[]){one, none, NULL}, "No such file");
    expect_refused(b, (const char *[]){link, NULL}, "neither a file nor a folder");
    expect_refused(b, (const char *[]){fifo, NULL}, "neither a file nor a folder");
    expect_refused(b, (const char *[]){one, same, NULL}, "the same name");
    expect_refused(b, (const char *[]){line, NULL}, "rename it");
    expect_refused(b, (const char *[]){"one ü.txt", NULL}, "whole path");
    expect_refused(b, (const char *[]){"/", NULL}, "rename it");
    for (unsigned i = 0; i <= VMC_AGENT_FILES_MAX; i++)
        many[i] = one;
    expect_refused(b, many, "1025 files");
    guest_opens(b, false);
    expect_refused(b, (const char *[]){one, NULL}, "does not use the WebDAV port");
    vmc_exports_unserve(b->exports);
    expect_refused(b, (const char *[]){one, NULL}, "add a spice-webdav device");
    bench_free(b);
}

/* ---- what the guest has ---- */

#define LIST(text) g_bytes_new_static(text, sizeof(text) - 1)

static void test_guests_list_is_what_is_in_the_folder(void **state)
{
    Bench *b = bench_new(true);
    g_autofree char *deep = make_file(b->shared, "folder/ü file", "");
    g_autofree char *file = g_build_filename(b->shared, "file.txt", NULL);
    g_autoptr(GBytes) ended = LIST("cut\0/file.txt\0/folder/ü file\0"), open = LIST("copy\0/folder");
    VmcFileAction action = VMC_FILES_COPY;
    g_auto(GStrv) paths = vmc_exports_resolve(b->exports, ended, &action, NULL);

    assert_non_null(paths);
    assert_int_equal(action, VMC_FILES_CUT);
    assert_string_equal(paths[0], file);
    assert_string_equal(paths[1], deep);
    assert_null(paths[2]);
    g_auto(GStrv) folder = vmc_exports_resolve(b->exports, open, &action, NULL);
    assert_int_equal(action, VMC_FILES_COPY);
    assert_true(g_str_has_suffix(folder[0], "/shared/folder"));
    bench_free(b);
}

static GBytes *long_list(unsigned n, const char *path)
{
    GString *list = g_string_new("copy");

    g_string_append_c(list, 0);
    for (unsigned i = 0; i < n; i++)
        g_string_append_len(list, path, (gssize)strlen(path) + 1);
    return g_string_free_to_bytes(list);
}

static void test_list_with_anything_else_is_void(void **state)
{
    Bench *b = bench_new(true);
    g_auto(GStrv) offered = NULL;
    VmcExport *export = offer(b, "one ü.txt", NULL, &offered);
    g_autofree char *name = g_strnfill(300, 'n'), *mine = g_strconcat("copy%", offered[0], NULL);
    g_autofree char *too_long = g_strconcat("/", name, NULL), *up = g_build_filename(b->shared, "up", NULL);
    g_autofree char *deep = g_strnfill(5000, '/');

    for (unsigned i = 1; i < 4999; i += 2)
        deep[i] = 'd';
    *strchr(mine, '%') = 0;
    assert_int_equal(symlink("..", up), 0);
    GBytes *lists[] = {
        LIST(""),
        LIST("copy"),
        LIST("copy\0"),
        LIST("\0"),
        LIST("move\0/file.txt\0"),
        LIST("/file.txt\0"),
        LIST("copy\0file.txt\0"),
        LIST("copy\0/file.txt\0\0"),
        LIST("copy\0/\0"),
        LIST("copy\0//file.txt\0"),
        LIST("copy\0/file.txt/\0"),
        LIST("copy\0/../home/secret\0"),
        LIST("copy\0/./file.txt\0"),
        LIST("copy\0/file.txt\0/none\0"),
        LIST("copy\0/up\0"),
        LIST("copy\0/up/home/secret\0"),
        LIST("copy\0/\xff\xfe\0"),
        LIST("copy\0/file.txt\n/etc/passwd\0"),
        LIST("copy\0/.spice-clipboard\0"),
        g_bytes_new(mine, 5 + strlen(offered[0])),
        long_list(1, too_long),
        long_list(1, deep),
        long_list(VMC_AGENT_FILES_MAX + 1, "/file.txt"),
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
        g_autoptr(GError) error = NULL;
        VmcFileAction action;
        char **paths = vmc_exports_resolve(b->exports, lists[i], &action, &error);
        if (paths)
            fail_msg("list %u: %s", i, paths[0]);
        assert_non_null(strstr(error->message, "not in the shared folder"));
        g_bytes_unref(lists[i]);
    }
    g_autoptr(GBytes) most = long_list(VMC_AGENT_FILES_MAX, "/file.txt");
    VmcFileAction action;
    g_auto(GStrv) paths = vmc_exports_resolve(b->exports, most, &action, NULL);
    assert_int_equal(g_strv_length(paths), VMC_AGENT_FILES_MAX);
    vmc_exports_end(b->exports, export);
    bench_free(b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guest_finds_what_is_offered_and_nothing_else),
        cmocka_unit_test(test_guest_changes_nothing_that_is_offered),
        cmocka_unit_test(test_offer_has_gone_when_its_time_has),
        cmocka_unit_test(test_of_offers_that_have_ended_the_oldest_make_room),
        cmocka_unit_test(test_what_cannot_be_offered_is_said),
        cmocka_unit_test(test_guests_list_is_what_is_in_the_folder),
        cmocka_unit_test(test_list_with_anything_else_is_void),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
