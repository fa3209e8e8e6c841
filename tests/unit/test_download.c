/* Downloads, from a real server with bad manners: what lies at the place in the end is the file, or nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/images/checksum.h"
#include "app/images/download.h"
#include "folder.h"
#include "http_server.h"

#define SIZE 300000u

typedef struct Rig {
    HttpServer *server;
    char *folder, *path, *part, *info, *link;
    pid_t child; /* that downloads the link once it is told, or 0 */
    int tell;
    char bytes[SIZE];
} Rig;

static bool download(Rig *rig, unsigned tries, GError **error)
{
    const EspDownload download = {.link = rig->link, .path = rig->path, .tries = tries};

    return esp_download(&download, error);
}

static Rig *rig_new(void)
{
    Rig *rig = g_new0(Rig, 1);

    for (size_t i = 0; i < SIZE; i++)
        rig->bytes[i] = (char)(i * 2654435761u >> 13);
    rig->folder = g_dir_make_tmp("espalier-download-XXXXXX", NULL);
    rig->path = g_build_filename(rig->folder, "file", NULL);
    rig->part = g_strconcat(rig->path, ".part", NULL);
    rig->info = g_strconcat(rig->part, ".info", NULL);
    return rig;
}

static void rig_serve(Rig *rig)
{
    rig->server = http_server_new(rig->bytes, SIZE);
    rig->link = http_link(rig->server, "file");
}

static int set_up(void **state)
{
    Rig *rig = rig_new();

    rig_serve(rig);
    *state = rig;
    return 0;
}

/* A process is only forked while there are no threads, which could hold locks that nobody in it would give
 * back. */
static int set_up_with_child(void **state)
{
    Rig *rig = rig_new();
    int pipe_fds[2];
    char link[100] = "";

    if (pipe(pipe_fds) || (rig->child = fork()) < 0)
        return -1;
    if (!rig->child) {
        close(pipe_fds[1]);
        if (read(pipe_fds[0], link, sizeof link - 1) > 0) {
            rig->link = link;
            download(rig, 1, NULL);
        }
        _exit(0);
    }
    close(pipe_fds[0]);
    rig->tell = pipe_fds[1];
    rig_serve(rig);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    Rig *rig = *state;

    http_server_free(rig->server);
    remove_folder(rig->folder);
    g_free(rig->folder);
    g_free(rig->path);
    g_free(rig->part);
    g_free(rig->info);
    g_free(rig->link);
    g_free(rig);
    return 0;
}

static void expect_file(Rig *rig, const char *bytes, gsize n)
{
    g_autofree char *text = NULL;
    gsize length = 0;

    assert_true(g_file_get_contents(rig->path, &text, &length, NULL));
    assert_int_equal(length, n);
    assert_memory_equal(text, bytes, n);
    assert_false(g_file_test(rig->part, G_FILE_TEST_EXISTS));
    assert_false(g_file_test(rig->info, G_FILE_TEST_EXISTS));
}

static void expect_done(Rig *rig, unsigned tries)
{
    GError *error = NULL;

    if (!download(rig, tries, &error))
        fail_msg("it failed: %s", error->message);
}

static void expect_refused(Rig *rig, int code, const char *words)
{
    GError *error = NULL;

    assert_false(download(rig, 2, &error));
    if (!g_error_matches(error, ESP_DOWNLOAD_ERROR, code) || !strstr(error->message, words))
        fail_msg("it said: %s", error->message);
    g_error_free(error);
    assert_false(g_file_test(rig->path, G_FILE_TEST_EXISTS));
}

static void test_a_file_arrives_whole(void **state)
{
    Rig *rig = *state;

    expect_done(rig, 1);
    expect_file(rig, rig->bytes, SIZE);
    assert_int_equal(rig->server->requests, 1);
}

static void test_a_cut_connection_goes_on_where_it_was(void **state)
{
    Rig *rig = *state;

    rig->server->cut_after = 100000;
    rig->server->cuts = 2;
    expect_done(rig, 3);
    expect_file(rig, rig->bytes, SIZE);
    assert_int_equal(rig->server->requests, 3);
    assert_int_equal(rig->server->range_requests, 2);
    assert_int_equal(rig->server->last_from, 200000);
}

static void test_what_has_come_is_kept_for_the_next_call(void **state)
{
    Rig *rig = *state;
    GStatBuf st;

    rig->server->cut_after = 100000;
    rig->server->cuts = 1;
    assert_false(download(rig, 1, NULL));
    assert_int_equal(g_stat(rig->part, &st), 0);
    assert_int_equal(st.st_size, 100000);
    expect_done(rig, 1);
    expect_file(rig, rig->bytes, SIZE);
    assert_int_equal(rig->server->last_from, 100000);
}

static void test_a_server_without_ranges_sends_it_anew(void **state)
{
    Rig *rig = *state;

    rig->server->no_ranges = true;
    rig->server->cut_after = 100000;
    rig->server->cuts = 1;
    expect_done(rig, 3);
    expect_file(rig, rig->bytes, SIZE);
}

static void test_a_file_that_changed_is_not_mixed(void **state)
{
    Rig *rig = *state;
    g_autofree char *other = g_malloc(200000);

    memset(other, 'o', 200000);
    rig->server->cut_after = 100000;
    rig->server->cuts = 1;
    assert_false(download(rig, 1, NULL));
    http_server_change(rig->server, other, 200000, "\"two\"");
    expect_done(rig, 1);
    expect_file(rig, other, 200000);
}

static void test_a_file_that_became_shorter_than_what_we_have(void **state)
{
    Rig *rig = *state;

    rig->server->cut_after = 100000;
    rig->server->cuts = 1;
    assert_false(download(rig, 1, NULL));
    /* The same mark, which is a lie, and nothing behind what we have. */
    http_server_change(rig->server, "short", 5, "\"one\"");
    expect_done(rig, 3);
    expect_file(rig, "short", 5);
}

static void test_without_a_mark_it_begins_anew(void **state)
{
    Rig *rig = *state;

    rig->server->etag = NULL;
    rig->server->cut_after = 100000;
    rig->server->cuts = 1;
    expect_done(rig, 3);
    expect_file(rig, rig->bytes, SIZE);
    assert_int_equal(rig->server->range_requests, 0);
}

static void test_a_weak_mark_is_none(void **state)
{
    Rig *rig = *state;

    rig->server->etag = "W/\"one\"";
    rig->server->cut_after = 100000;
    rig->server->cuts = 1;
    expect_done(rig, 3);
    assert_int_equal(rig->server->range_requests, 0);
}

static void test_another_part_than_asked_for_is_refused(void **state)
{
    Rig *rig = *state;

    rig->server->wrong_range = true;
    rig->server->cut_after = 100000;
    rig->server->cuts = 1;
    expect_refused(rig, ESP_DOWNLOAD_ERROR_ANSWER, "another part");
}

static void test_a_page_is_no_image(void **state)
{
    Rig *rig = *state;

    rig->server->type = "text/html; charset=utf-8";
    expect_refused(rig, ESP_DOWNLOAD_ERROR_ANSWER, "web page");
    GStatBuf st;
    assert_true(g_stat(rig->part, &st) || !st.st_size);
}

static void test_an_error_page_is_not_kept(void **state)
{
    Rig *rig = *state;

    rig->server->status = 404;
    expect_refused(rig, ESP_DOWNLOAD_ERROR_ANSWER, "no file");
    assert_int_equal(rig->server->requests, 1);
    rig->server->status = 503;
    expect_refused(rig, ESP_DOWNLOAD_ERROR_ANSWER, "503");
    assert_int_equal(rig->server->requests, 3);
}

static void test_redirects_end(void **state)
{
    Rig *rig = *state;

    rig->server->redirect = http_link(rig->server, "again");
    expect_refused(rig, ESP_DOWNLOAD_ERROR_ANSWER, "without an end");
    assert_true(rig->server->requests < 15);
}

static void test_a_redirect_does_not_reach_files(void **state)
{
    Rig *rig = *state;

    rig->server->redirect = g_strdup("file:///etc/passwd");
    GError *error = NULL;
    assert_false(download(rig, 1, &error));
    g_error_free(error);
    assert_false(g_file_test(rig->path, G_FILE_TEST_EXISTS));
}

static void test_a_server_that_is_not_there(void **state)
{
    Rig *rig = *state;

    g_free(rig->link);
    rig->link = g_strdup("http://127.0.0.1:1/file");
    expect_refused(rig, ESP_DOWNLOAD_ERROR_NETWORK, "127.0.0.1");
}

static void test_links(void **state)
{
    static const char *const good[] = {"http://a/b", "https://example.org/x.img", "https://[::1]:8/x"};
    static const char *const bad[] = {"",          "a",     "/etc/passwd", "file:///etc/passwd",
                                      "ftp://a/b", "http:", "https://",    "javascript:alert(1)"};

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
        if (!esp_download_is_link(good[i]))
            fail_msg("“%s” should be a link", good[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        if (esp_download_is_link(bad[i]))
            fail_msg("“%s” should be no link", bad[i]);
}

/* ---- ended in the middle ---- */

static gpointer cancel_soon(gpointer data)
{
    g_usleep(150000);
    g_cancellable_cancel(data);
    return NULL;
}

static void test_cancelled_it_stops_at_once_and_goes_on_later(void **state)
{
    Rig *rig = *state;
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    const EspDownload slow = {.link = rig->link, .path = rig->path, .cancellable = cancellable};
    GError *error = NULL;

    rig->server->slow_us = 10000; /* 0.7 s in all */
    GThread *thread = g_thread_new("cancel", cancel_soon, cancellable);
    assert_false(esp_download(&slow, &error));
    assert_true(g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED));
    g_error_free(error);
    g_thread_join(thread);
    rig->server->slow_us = 0;
    expect_done(rig, 1);
    expect_file(rig, rig->bytes, SIZE);
    assert_true(rig->server->last_from > 0);
}

static void test_killed_it_goes_on_later(void **state)
{
    Rig *rig = *state;
    GStatBuf st = {0};

    rig->server->slow_us = 10000;
    assert_int_equal(write(rig->tell, rig->link, strlen(rig->link)), strlen(rig->link));
    close(rig->tell);
    for (unsigned i = 0; i < 2000 && (g_stat(rig->part, &st) || st.st_size < 40000); i++)
        g_usleep(10000);
    kill(rig->child, SIGKILL);
    waitpid(rig->child, NULL, 0);
    assert_false(g_file_test(rig->path, G_FILE_TEST_EXISTS));
    assert_true(st.st_size >= 40000);
    rig->server->slow_us = 0;
    expect_done(rig, 1);
    expect_file(rig, rig->bytes, SIZE);
    assert_true(rig->server->last_from >= 40000);
}

/* ---- sums ---- */

static void test_sums_are_found_in_lists(void **state)
{
    const char *sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const char *formats[] = {"%s  a.img\n", "junk\n%s *a.img\r\n", "# x\nSHA256 (a.img) = %s\n", "%s\n",
                             "%s  ./a.img\n"};

    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        GString *list = g_string_new(formats[i]);
        g_string_replace(list, "%s", sum, 0);
        g_autofree char *found = esp_checksum_find(list->str, "a.img");
        if (g_strcmp0(found, sum))
            fail_msg("in “%s” there was %s", list->str, found);
        g_string_free(list, TRUE);
    }
    g_autofree char *other = g_strdup_printf("%s  aa.img\n%s  b.img\n", sum, sum);
    assert_null(esp_checksum_find(other, "a.img"));
    assert_null(esp_checksum_find("d41d8cd98f00b204e9800998ecf8427e  a.img\n", "a.img")); /* MD5 */
}

static void test_a_wrong_sum_is_damage(void **state)
{
    Rig *rig = *state;
    GError *error = NULL;

    assert_true(g_file_set_contents(rig->path, "", 0, NULL));
    assert_true(esp_checksum_verify(rig->path,
                                    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", NULL,
                                    NULL, NULL, NULL));
    assert_false(esp_checksum_verify(rig->path,
                                     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b856", NULL,
                                     NULL, NULL, &error));
    assert_true(g_error_matches(error, ESP_DOWNLOAD_ERROR, ESP_DOWNLOAD_ERROR_DAMAGED));
    g_error_free(error);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: it forks. */
        cmocka_unit_test_setup_teardown(test_killed_it_goes_on_later, set_up_with_child, tear_down),
        WITH_SERVER(test_a_file_arrives_whole),
        WITH_SERVER(test_a_cut_connection_goes_on_where_it_was),
        WITH_SERVER(test_what_has_come_is_kept_for_the_next_call),
        WITH_SERVER(test_a_server_without_ranges_sends_it_anew),
        WITH_SERVER(test_a_file_that_changed_is_not_mixed),
        WITH_SERVER(test_a_file_that_became_shorter_than_what_we_have),
        WITH_SERVER(test_without_a_mark_it_begins_anew),
        WITH_SERVER(test_a_weak_mark_is_none),
        WITH_SERVER(test_another_part_than_asked_for_is_refused),
        WITH_SERVER(test_a_page_is_no_image),
        WITH_SERVER(test_an_error_page_is_not_kept),
        WITH_SERVER(test_redirects_end),
        WITH_SERVER(test_a_redirect_does_not_reach_files),
        WITH_SERVER(test_a_server_that_is_not_there),
        cmocka_unit_test(test_links),
        WITH_SERVER(test_cancelled_it_stops_at_once_and_goes_on_later),
        cmocka_unit_test(test_sums_are_found_in_lists),
        WITH_SERVER(test_a_wrong_sum_is_damage),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
