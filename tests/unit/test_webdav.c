/* The WebDAV port as spice-webdavd uses it: HTTP in records, and a folder out of which there is no way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/webdav.h"

#define TIMEOUT (20 * G_TIME_SPAN_SECOND)

typedef struct Bench {
    VmcIo *io;
    VmcPort *port;
    GMutex lock; /* guards what the guest has got */
    GByteArray *got;
    size_t allowance;
    char *dir, *shared;
} Bench;

static size_t guest_write(void *opaque, const void *data, size_t len)
{
    Bench *b = opaque;

    g_mutex_lock(&b->lock);
    len = MIN(len, b->allowance);
    b->allowance -= len;
    g_byte_array_append(b->got, data, (guint)len);
    g_mutex_unlock(&b->lock);
    return len;
}

static size_t guest_room(void *opaque)
{
    return ((Bench *)opaque)->allowance;
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
} Call;

static void do_open(void *data)
{
    vmc_port_set_guest_open(((Call *)data)->b->port, true);
}

static void do_writable(void *data)
{
    vmc_port_writable(((Call *)data)->b->port);
}

static void do_receive(void *data)
{
    Call *call = data;
    size_t taken = vmc_port_receive(call->b->port, call->data, call->len);

    call->data += taken;
    call->len -= taken;
}

static Bench *bench_new(bool readonly)
{
    Bench *b = g_new0(Bench, 1);

    b->io = vmc_io_new(NULL);
    b->got = g_byte_array_new();
    b->allowance = SIZE_MAX;
    b->dir = g_dir_make_tmp("vmcore-webdav-XXXXXX", NULL);
    b->shared = g_build_filename(b->dir, "shared", NULL);
    g_mkdir(b->shared, 0700);
    g_autofree char *file = g_build_filename(b->shared, "file.txt", NULL);
    g_autofree char *outside = g_build_filename(b->dir, "outside.txt", NULL);
    g_autofree char *link = g_build_filename(b->shared, "link", NULL);
    g_autofree char *up = g_build_filename(b->shared, "up", NULL);
    g_autofree char *fifo = g_build_filename(b->shared, "fifo", NULL);
    assert_true(g_file_set_contents(file, "inside", -1, NULL));
    assert_true(g_file_set_contents(outside, "SECRET", -1, NULL));
    assert_int_equal(symlink("../outside.txt", link), 0);
    assert_int_equal(symlink("..", up), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    b->port = vmc_webdav_port_new(b->io, b->shared, readonly, NULL);
    assert_non_null(b->port);
    assert_true(vmc_port_host_open(b->port));
    vmc_port_attach(b->port, &guest, b);
    vmc_io_call_sync(b->io, do_open, &(Call){.b = b});
    return b;
}

static void remove_all(const char *path)
{
    GDir *dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *below = g_build_filename(path, name, NULL);
        remove_all(below);
    }
    if (dir)
        g_dir_close(dir);
    g_remove(path);
}

static void bench_free(Bench *b)
{
    vmc_port_free(b->port);
    vmc_io_free(b->io);
    remove_all(b->dir);
    g_byte_array_unref(b->got);
    g_free(b->dir);
    g_free(b->shared);
    g_free(b);
}

/* ---- records ---- */

/* A record of a client, taken as the host has room. */
static void record(Bench *b, int64_t id, const void *data, uint16_t len)
{
    g_autofree uint8_t *bytes = g_malloc(10 + len);
    int64_t end = g_get_monotonic_time() + TIMEOUT;

    memcpy(bytes, &id, 8);
    memcpy(bytes + 8, &len, 2);
    memcpy(bytes + 10, data, len);
    Call call = {b, bytes, 10u + len};
    for (;;) {
        vmc_io_call_sync(b->io, do_receive, &call);
        if (!call.len)
            return;
        assert_true(g_get_monotonic_time() < end);
        g_usleep(500);
    }
}

/* What this client has got of records that have come whole. */
static GString *stream_of(Bench *b, int64_t id)
{
    GString *stream = g_string_new("");

    g_mutex_lock(&b->lock);
    for (size_t at = 0; at + 10 <= b->got->len;) {
        int64_t whose;
        uint16_t len;
        memcpy(&whose, b->got->data + at, 8);
        memcpy(&len, b->got->data + at + 8, 2);
        if (at + 10 + len > b->got->len)
            break;
        if (whose == id)
            g_string_append_len(stream, (char *)b->got->data + at + 10, len);
        at += 10u + len;
    }
    g_mutex_unlock(&b->lock);
    return stream;
}

/* Waits until a client's answer has this in it. */
static char *await(Bench *b, int64_t id, const char *text)
{
    int64_t end = g_get_monotonic_time() + TIMEOUT;

    for (;;) {
        GString *stream = stream_of(b, id);
        if (strstr(stream->str, text))
            return g_string_free(stream, FALSE);
        if (g_get_monotonic_time() > end)
            fail_msg("“%s” is not in “%s”", text, stream->str);
        g_string_free(stream, TRUE);
        g_usleep(500);
    }
}

/* One request of a new client; returns all of the answer, whose end is that of the connection. */
static char *ask(Bench *b, const char *method, const char *path, const char *headers, const char *body)
{
    static int64_t id = 1000;
    g_autofree char *text = g_strdup_printf(
        "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n%s", method,
        path, strlen(body), headers, body);
    int64_t end = g_get_monotonic_time() + TIMEOUT, mine = ++id;

    record(b, mine, text, (uint16_t)strlen(text));
    for (;;) { /* the record without bytes */
        bool over = false;
        g_mutex_lock(&b->lock);
        for (size_t at = 0; at + 10 <= b->got->len && !over;) {
            int64_t whose;
            uint16_t len;
            memcpy(&whose, b->got->data + at, 8);
            memcpy(&len, b->got->data + at + 8, 2);
            over = whose == mine && !len;
            at += 10u + len;
        }
        g_mutex_unlock(&b->lock);
        if (over)
            return g_string_free(stream_of(b, mine), FALSE);
        if (g_get_monotonic_time() > end)
            fail_msg("no end of the answer to %s %s", method, path);
        g_usleep(500);
    }
}

static int status(Bench *b, const char *method, const char *path, const char *headers, const char *body)
{
    g_autofree char *answer = ask(b, method, path, headers, body);

    assert_true(g_str_has_prefix(answer, "HTTP/1.1 "));
    return atoi(answer + 9);
}

static char *contents(Bench *b, const char *name)
{
    g_autofree char *path = g_build_filename(b->shared, name, NULL);
    char *text = NULL;

    g_file_get_contents(path, &text, NULL, NULL);
    return text;
}

/* ---- tests ---- */

static void test_files_are_listed_read_written_and_moved(void **state)
{
    Bench *b = bench_new(false);
    g_autofree char *got = ask(b, "GET", "/file.txt", "", "");
    g_autofree char *list = ask(b, "PROPFIND", "/", "Depth: 1\r\n", "");

    assert_non_null(strstr(got, "\r\n\r\ninside"));
    assert_non_null(strstr(list, "file.txt"));
    assert_int_equal(status(b, "PUT", "/new.txt", "", "new"), 201);
    g_autofree char *new = contents(b, "new.txt");
    assert_string_equal(new, "new");
    assert_int_equal(status(b, "PUT", "/new.txt", "", "other"), 200);
    g_autofree char *other = contents(b, "new.txt");
    assert_string_equal(other, "other");
    assert_int_equal(status(b, "MKCOL", "/folder", "", ""), 201);
    assert_int_equal(status(b, "MOVE", "/new.txt", "Destination: http://localhost/folder/moved.txt\r\n", ""),
                     201);
    g_autofree char *moved = contents(b, "folder/moved.txt");
    assert_string_equal(moved, "other");
    assert_int_equal(status(b, "COPY", "/folder/moved.txt", "Destination: http://localhost/copy.txt\r\n", ""),
                     201);
    g_autofree char *copied = contents(b, "copy.txt");
    assert_string_equal(copied, "other");
    assert_int_equal(status(b, "DELETE", "/folder", "", ""), 204);
    assert_null(contents(b, "folder/moved.txt"));
    bench_free(b);
}

static void test_there_is_no_way_out_of_the_folder(void **state)
{
    static const char *const paths[] = {
        "/link", "/up/outside.txt",     "/up",          "/../outside.txt",  "/%2e%2e/outside.txt",
        "/fifo", "/up/shared/file.txt", "//etc/passwd", "/./../outside.txt"};
    static const char *const ways[] = {"http://localhost/../moved", "http://localhost/%2e%2e/moved",
                                       "http://localhost/up/moved"};
    Bench *b = bench_new(false);
    g_autofree char *list = ask(b, "PROPFIND", "/", "Depth: 1\r\n", "");

    assert_null(strstr(list, "link"));
    assert_null(strstr(list, "fifo"));
    for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autofree char *got = ask(b, "GET", paths[i], "", "");
        if (strstr(got, "SECRET") || strstr(got, "inside") || strstr(got, "root:") ||
            g_str_has_prefix(got, "HTTP/1.1 2"))
            fail_msg("GET %s: %s", paths[i], got);
        status(b, "PUT", paths[i], "", "overwritten"); /* what has “..” in it may mean a file inside */
        status(b, "DELETE", paths[i], "", "");
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autofree char *header = g_strdup_printf("Destination: %s\r\n", ways[i]);
        status(b, "COPY", "/file.txt", header, ""); /* may be a place inside */
    }
    assert_true(status(b, "MOVE", "/file.txt", "Destination: http://localhost/up/moved\r\n", "") >= 400);
    assert_int_equal(status(b, "COPY", "/file.txt", "Destination: http://localhost//moved\r\n", ""), 400);
    assert_int_equal(status(b, "COPY", "/file.txt", "Destination: http://[\r\n", ""), 400);
    g_autofree char *outside = g_build_filename(b->dir, "outside.txt", NULL);
    g_autofree char *moved = g_build_filename(b->dir, "moved", NULL);
    g_autofree char *link = g_build_filename(b->shared, "link", NULL);
    g_autofree char *text = NULL, *inside = contents(b, "file.txt");
    assert_true(g_file_get_contents(outside, &text, NULL, NULL));
    assert_string_equal(text, "SECRET");
    assert_string_equal(inside, "inside");
    assert_false(g_file_test(moved, G_FILE_TEST_EXISTS));
    assert_true(g_file_test(link, G_FILE_TEST_IS_SYMLINK));
    bench_free(b);
}

static void test_read_only_folder_stays_as_it_is(void **state)
{
    Bench *b = bench_new(true);
    g_autofree char *got = ask(b, "GET", "/file.txt", "", "");

    assert_non_null(strstr(got, "\r\n\r\ninside"));
    assert_int_equal(status(b, "PUT", "/file.txt", "", "x"), 403);
    assert_int_equal(status(b, "PUT", "/new", "", "x"), 403);
    assert_int_equal(status(b, "DELETE", "/file.txt", "", ""), 403);
    assert_int_equal(status(b, "MKCOL", "/folder", "", ""), 403);
    assert_int_equal(status(b, "MOVE", "/file.txt", "Destination: http://localhost/x\r\n", ""), 403);
    g_autofree char *text = contents(b, "file.txt");
    assert_string_equal(text, "inside");
    assert_null(contents(b, "new"));
    bench_free(b);
}

static void test_guest_that_does_not_read_gets_all_of_it_later(void **state)
{
    Bench *b = bench_new(false);
    g_autofree char *big = g_strnfill(2 << 20, 'x'), *path = g_build_filename(b->shared, "big", NULL);
    static const char text[] = "GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int64_t end = g_get_monotonic_time() + TIMEOUT;

    assert_true(g_file_set_contents(path, big, -1, NULL));
    b->allowance = 1000;
    record(b, 1, text, sizeof(text) - 1);
    g_free(await(b, 2, "")); /* nothing is waited for */
    for (;;) {
        GString *stream = stream_of(b, 1);
        const char *body = strstr(stream->str, "\r\n\r\n");
        bool all = body && stream->len - (size_t)(body + 4 - stream->str) == 2 << 20;
        g_string_free(stream, TRUE);
        if (all)
            break;
        assert_true(g_get_monotonic_time() < end);
        g_mutex_lock(&b->lock);
        b->allowance = MIN(b->allowance + 300000, 300000);
        g_mutex_unlock(&b->lock);
        vmc_io_call_sync(b->io, do_writable, &(Call){.b = b});
        g_usleep(1000);
    }
    bench_free(b);
}

static void test_clients_are_no_more_than_there_may_be(void **state)
{
    static const char begin[] = "OPTIONS / HTTP/1.1\r\nHo", end[] = "st: localhost\r\n\r\n";
    Bench *b = bench_new(false);

    for (int64_t id = 1; id <= 40; id++)
        record(b, id, begin, sizeof(begin) - 1);
    record(b, 40, end, sizeof(end) - 1); /* goes nowhere */
    record(b, 32, end, sizeof(end) - 1);
    g_free(await(b, 32, "\r\n\r\n"));
    g_autoptr(GString) none = stream_of(b, 40);
    assert_int_equal(none->len, 0);
    record(b, 1, "", 0); /* one goes, another has its place */
    record(b, 50, begin, sizeof(begin) - 1);
    record(b, 50, end, sizeof(end) - 1);
    g_free(await(b, 50, "\r\n\r\n"));
    bench_free(b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_are_listed_read_written_and_moved),
        cmocka_unit_test(test_there_is_no_way_out_of_the_folder),
        cmocka_unit_test(test_read_only_folder_stays_as_it_is),
        cmocka_unit_test(test_guest_that_does_not_read_gets_all_of_it_later),
        cmocka_unit_test(test_clients_are_no_more_than_there_may_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
