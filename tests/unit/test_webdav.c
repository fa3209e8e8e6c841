/* The WebDAV port as spice-webdavd uses it: HTTP in records, and a folder out of which there is no way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/webdav.h"
#include "tests/unit/folder.h"

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
    b->port = vmc_webdav_port_new(b->io, b->shared, readonly, NULL, NULL);
    assert_non_null(b->port);
    assert_true(vmc_port_host_open(b->port));
    vmc_port_attach(b->port, &guest, b);
    vmc_io_call_sync(b->io, do_open, &(Call){.b = b});
    return b;
}

static void bench_free(Bench *b)
{
    vmc_port_free(b->port);
    vmc_io_free(b->io);
    remove_folder(b->dir);
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

/* Waits for the record without bytes; returns all that came before it. */
static GString *await_end(Bench *b, int64_t id)
{
    int64_t end = g_get_monotonic_time() + TIMEOUT;

    for (;;) {
        bool over = false;
        g_mutex_lock(&b->lock);
        for (size_t at = 0; at + 10 <= b->got->len && !over;) {
            int64_t whose;
            uint16_t len;
            memcpy(&whose, b->got->data + at, 8);
            memcpy(&len, b->got->data + at + 8, 2);
            over = whose == id && !len;
            at += 10u + len;
        }
        g_mutex_unlock(&b->lock);
        if (over)
            return stream_of(b, id);
        if (g_get_monotonic_time() > end)
            fail_msg("client %d is not told the end of its connection", (int)id);
        vmc_io_call_sync(b->io, do_writable, &(Call){.b = b});
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

    record(b, ++id, text, (uint16_t)strlen(text));
    return g_string_free(await_end(b, id), FALSE);
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
    assert_int_equal(status(b, "COPY", "/", "Destination: http://localhost/within\r\n", ""), 400);
    assert_int_equal(status(b, "COPY", "/file.txt/", "Destination: http://localhost/file.txt\r\n", ""), 400);
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

/* Something that does not repeat. */
static GBytes *make_big(Bench *b, const char *name, size_t len)
{
    g_autofree char *path = g_build_filename(b->shared, name, NULL);
    uint32_t *words = g_malloc(len);

    for (size_t i = 0, x = 1; i < len / 4; i++, x = x * 6364136223846793005u + 1442695040888963407u)
        words[i] = (uint32_t)(x >> 32);
    assert_true(g_file_set_contents(path, (char *)words, (gssize)len, NULL));
    return g_bytes_new_take(words, len);
}

static void expect_body(const GString *stream, GBytes *wanted)
{
    const char *body = g_strstr_len(stream->str, (gssize)stream->len, "\r\n\r\n");
    gsize len;
    const void *bytes = g_bytes_get_data(wanted, &len);

    assert_non_null(body);
    assert_int_equal(stream->len - (size_t)(body + 4 - stream->str), len);
    assert_memory_equal(body + 4, bytes, len);
}

static void test_large_file_comes_whole(void **state)
{
    static const char text[] = "GET /big%20one HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    Bench *b = bench_new(true);
    g_autoptr(GBytes) big = make_big(b, "big one", 5000004);

    record(b, 1, text, sizeof(text) - 1);
    GString *stream = await_end(b, 1);
    assert_non_null(strstr(stream->str, "Content-Length: 5000004\r\n"));
    expect_body(stream, big);
    g_string_free(stream, TRUE);
    bench_free(b);
}

/* A mapping of it would end the process. */
static void test_file_that_becomes_shorter_ends_its_connection(void **state)
{
    static const char text[] = "GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n";
    Bench *b = bench_new(true);
    g_autofree char *path = g_build_filename(b->shared, "big", NULL);

    for (off_t left = 0; left <= 3000000; left += 3000000) {
        g_bytes_unref(make_big(b, "big", 8 << 20));
        b->allowance = 1000;
        record(b, 1 + left, text, sizeof(text) - 1);
        while (b->allowance)
            g_usleep(500);
        assert_int_equal(truncate(path, left), 0);
        g_mutex_lock(&b->lock);
        b->allowance = SIZE_MAX;
        g_mutex_unlock(&b->lock);
        GString *stream = await_end(b, 1 + left);
        assert_non_null(strstr(stream->str, "Content-Length: 8388608\r\n"));
        assert_in_range(stream->len, 1000, 4 << 20);
        g_string_free(stream, TRUE);
    }
    g_autofree char *next = ask(b, "GET", "/file.txt", "", "");
    assert_non_null(strstr(next, "\r\n\r\ninside"));
    bench_free(b);
}

static void test_ranges_are_those_asked_for(void **state)
{
    static const struct {
        const char *range, *status, *says;
    } cases[] = {
        {"bytes=1-3", "HTTP/1.1 206", "Content-Range: bytes 1-3/6\r\n"},
        {"bytes=4-", "HTTP/1.1 206", "\r\n\r\nde"},
        {"bytes=-2", "HTTP/1.1 206", "Content-Range: bytes 4-5/6\r\n"},
        {"bytes=-99", "HTTP/1.1 206", "\r\n\r\ninside"},
        {"bytes=2-99", "HTTP/1.1 206", "\r\n\r\nside"},
        {"bytes=6-", "HTTP/1.1 416", "Content-Range: bytes */6\r\n"},
        {"bytes=-0", "HTTP/1.1 416", "Content-Length: 0\r\n"},
        {"bytes=3-1", "HTTP/1.1 200", "\r\n\r\ninside"},
        {"bytes=0-0,2-2", "HTTP/1.1 200", "\r\n\r\ninside"},
        {"bytes=-", "HTTP/1.1 200", "\r\n\r\ninside"},
        {"bytes=99999999999999999999-", "HTTP/1.1 200", "\r\n\r\ninside"},
        {"lines=1-2", "HTTP/1.1 200", "\r\n\r\ninside"},
        {"bytes=1-3\r\nIf-Range: \"other\"", "HTTP/1.1 200", "\r\n\r\ninside"},
    };
    Bench *b = bench_new(true);

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *header = g_strdup_printf("Range: %s\r\n", cases[i].range);
        g_autofree char *got = ask(b, "GET", "/file.txt", header, "");
        if (!g_str_has_prefix(got, cases[i].status) || !strstr(got, cases[i].says))
            fail_msg("%s: %s", cases[i].range, got);
    }
    bench_free(b);
}

/* What follows a name in an answer, up to one of `ends`. */
static char *value_of(const char *answer, const char *name, const char *ends)
{
    const char *at = strstr(answer, name);

    assert_non_null(at);
    at += strlen(name);
    return g_strndup(at, strcspn(at, ends));
}

static void test_client_that_has_the_file_is_told_so(void **state)
{
    Bench *b = bench_new(true);
    g_autofree char *head = ask(b, "HEAD", "/file.txt", "", "");
    g_autofree char *list = ask(b, "PROPFIND", "/file.txt", "Depth: 0\r\n", "");
    g_autofree char *etag = value_of(head, "ETag: ", "\r"), *listed = value_of(list, "getetag>", "<");
    g_autofree char *modified = value_of(head, "Last-Modified: ", "\r");
    g_autofree char *same = g_strdup_printf("If-None-Match: \"x\", W/%s\r\n", etag);
    g_autofree char *since = g_strdup_printf("If-Modified-Since: %s\r\n", modified);
    g_autofree char *go_on = g_strdup_printf("Range: bytes=2-\r\nIf-Range: %s\r\n", etag);

    assert_true(g_str_has_prefix(head, "HTTP/1.1 200"));
    assert_non_null(strstr(head, "Content-Length: 6\r\n"));
    assert_non_null(strstr(head, "Content-Type: text/plain\r\n"));
    assert_true(g_str_has_suffix(head, "\r\n\r\n"));
    assert_string_equal(etag, listed);
    assert_int_equal(status(b, "GET", "/file.txt", same, ""), 304);
    assert_int_equal(status(b, "GET", "/file.txt", since, ""), 304);
    assert_int_equal(status(b, "GET", "/file.txt", go_on, ""), 206);
    assert_int_equal(status(b, "GET", "/file.txt", "If-None-Match: \"x\"\r\n", ""), 200);
    assert_int_equal(
        status(b, "GET", "/file.txt", "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n", ""), 200);
    assert_int_equal(status(b, "HEAD", "/none", "", ""), 404);
    assert_int_equal(status(b, "BREW", "/file.txt", "", ""), 501);
    bench_free(b);
}

static void test_folders_have_a_page(void **state)
{
    Bench *b = bench_new(true);
    g_autofree char *name = g_build_filename(b->shared, "a & <b>", NULL);

    assert_int_equal(g_mkdir(name, 0700), 0);
    g_autofree char *page = ask(b, "GET", "/", "", "");
    assert_non_null(strstr(page, "<a href=\"./a%20%26%20%3Cb%3E/\">a &amp; &lt;b&gt;/</a>"));
    assert_non_null(strstr(page, ">file.txt</a>"));
    assert_null(strstr(page, "link"));
    assert_null(strstr(page, "fifo"));
    bench_free(b);
}

static void test_lock_is_given_to_everyone(void **state)
{
    Bench *b = bench_new(false), *closed = bench_new(true);
    g_autofree char *first = ask(b, "LOCK", "/new.txt", "", "<lockinfo xmlns='DAV:'/>");
    g_autofree char *second = ask(b, "LOCK", "/new.txt", "", "");
    g_autofree char *token = value_of(first, "Lock-Token: <", ">");
    g_autofree char *condition = g_strdup_printf("If: (<%s>)\r\n", token);
    g_autofree char *again = ask(b, "LOCK", "/new.txt", condition, "");
    g_autofree char *made = contents(b, "new.txt");

    assert_string_equal(made, "");
    assert_true(g_str_has_prefix(first, "HTTP/1.1 201"));
    assert_true(g_str_has_prefix(second, "HTTP/1.1 200"));
    assert_null(strstr(second, token));
    assert_true(g_str_has_prefix(again, "HTTP/1.1 200"));
    assert_non_null(strstr(again, token));
    assert_int_equal(status(b, "PUT", "/new.txt", condition, "written"), 200);
    g_autofree char *written = contents(b, "new.txt");
    assert_string_equal(written, "written");
    assert_int_equal(status(b, "UNLOCK", "/new.txt", "Lock-Token: <x>\r\n", ""), 204);
    assert_int_equal(status(b, "UNLOCK", "/new.txt", "", ""), 400);
    assert_int_equal(status(b, "LOCK", "/none/new.txt", "", ""), 409);
    assert_int_equal(status(closed, "LOCK", "/file.txt", "", ""), 403);
    bench_free(closed);
    bench_free(b);
}

/* With what libphodav would loop or end the process. */
static void test_conditions_and_properties_of_any_form_do_no_harm(void **state)
{
    static const char *const conditions[] = {"If: x\r\n",   "If: (\r\n",          "If: (<\r\n",
                                             "If: (x)\r\n", "If: ([\"a\\)\r\n",   "If: <a> (x\r\n",
                                             "If: \r\n",    "If: ([W/\"a\"])\r\n"};
    static const char *const bodies[] = {"<propertyupdate xmlns='DAV:'><set><prop/></set></propertyupdate>",
                                         "<propertyupdate xmlns='DAV:'><remove/></propertyupdate>", "<", ""};
    Bench *b = bench_new(false);

    for (unsigned i = 0; i < G_N_ELEMENTS(conditions); i++) {
        status(b, "LOCK", "/file.txt", conditions[i], "");
        assert_int_equal(status(b, "PUT", "/file.txt", conditions[i], "inside"), 200);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(bodies); i++)
        assert_int_equal(status(b, "PROPPATCH", "/file.txt", "", bodies[i]), 207);
    g_autofree char *text = contents(b, "file.txt");
    assert_string_equal(text, "inside");
    bench_free(b);
}

/* Made in another way: through the port there is none that deep. */
static void test_folders_too_deep_end_before_the_stack_does(void **state)
{
    Bench *b = bench_new(false);
    int at = open(b->shared, O_RDONLY | O_DIRECTORY);

    for (unsigned i = 0; i < 3000; i++) {
        assert_int_equal(mkdirat(at, "d", 0700), 0);
        int below = openat(at, "d", O_RDONLY | O_DIRECTORY);
        assert_true(below >= 0);
        close(at);
        at = below;
    }
    close(at);
    assert_int_equal(status(b, "PROPFIND", "/", "Depth: infinity\r\n", ""), 403);
    assert_true(status(b, "COPY", "/d", "Destination: http://localhost/e\r\n", "") >= 200);
    assert_true(status(b, "DELETE", "/d", "", "") >= 200);
    assert_int_equal(status(b, "GET", "/file.txt", "", ""), 200);
    char *remove[] = {"rm", "-rf", b->shared, NULL};
    assert_true(g_spawn_sync(NULL, remove, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
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
        cmocka_unit_test(test_large_file_comes_whole),
        cmocka_unit_test(test_file_that_becomes_shorter_ends_its_connection),
        cmocka_unit_test(test_ranges_are_those_asked_for),
        cmocka_unit_test(test_client_that_has_the_file_is_told_so),
        cmocka_unit_test(test_folders_have_a_page),
        cmocka_unit_test(test_lock_is_given_to_everyone),
        cmocka_unit_test(test_conditions_and_properties_of_any_form_do_no_harm),
        cmocka_unit_test(test_folders_too_deep_end_before_the_stack_does),
        cmocka_unit_test(test_clients_are_no_more_than_there_may_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
