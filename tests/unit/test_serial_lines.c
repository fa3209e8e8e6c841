/* Serial lines as a machine has them at its end, and what comes of it: a log, a history, what is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/serial_lines.h"

typedef struct Fixture {
    char *dir;
    VmcConfig *config;
    EspSerialLines *lines;
    GString *told;
} Fixture;

static char *path_of(Fixture *f, const char *name)
{
    return g_build_filename(f->dir, name, NULL);
}

static VmcSerialConfig *add(Fixture *f, VmcDeviceKind kind, const char *log)
{
    VmcDeviceConfig *device = vmc_config_add_device(f->config, kind);

    device->serial.log_path = log ? path_of(f, log) : NULL;
    return &device->serial;
}

static void on_data(Fixture *f, guint line, GBytes *bytes)
{
    gsize length;
    const char *data = g_bytes_get_data(bytes, &length);

    g_string_append_printf(f->told, "%u:%.*s;", line, (int)length, data);
}

static void start(Fixture *f)
{
    g_autoptr(GError) error = NULL;

    f->lines = esp_serial_lines_new(f->config, &error);
    assert_null(error);
    g_signal_connect_swapped(f->lines, "data", G_CALLBACK(on_data), f);
}

static int setup(void **state)
{
    Fixture *f = g_new0(Fixture, 1);

    f->dir = g_dir_make_tmp("espalier-serial-XXXXXX", NULL);
    f->config = vmc_config_new();
    f->told = g_string_new(NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    g_autofree char *command = g_strdup_printf("rm -rf '%s'", f->dir);

    g_clear_object(&f->lines);
    vmc_config_free(f->config);
    g_string_free(f->told, TRUE);
    assert_int_equal(system(command), 0);
    g_free(f->dir);
    g_free(f);
    return 0;
}

static void wait_told(Fixture *f, const char *wanted)
{
    gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;

    while (strcmp(f->told->str, wanted) && g_get_monotonic_time() < end)
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(500);
    assert_string_equal(f->told->str, wanted);
    g_string_truncate(f->told, 0);
}

static void says(const VmcSerialConfig *serial, const char *text)
{
    assert_int_equal(write(serial->fd_out, text, strlen(text)), (ssize_t)strlen(text));
}

static void assert_log(Fixture *f, const char *name, const char *wanted)
{
    g_autofree char *path = path_of(f, name), *text = NULL;

    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    assert_string_equal(text, wanted);
}

static void test_lines_with_logs_are_taken_over_and_named(void **state)
{
    Fixture *f = *state;

    add(f, VMC_DEVICE_UART, "a.log");
    VmcSerialConfig *console = add(f, VMC_DEVICE_VIRTIO_CONSOLE, NULL);
    console->socket_path = path_of(f, "socket");
    add(f, VMC_DEVICE_VIRTIO_CONSOLE, "b.log");
    add(f, VMC_DEVICE_VIRTIO_CONSOLE, "c.log")->name = g_strdup("org.port");
    start(f);
    assert_int_equal(esp_serial_lines_get_n(f->lines), 3);
    assert_string_equal(esp_serial_lines_get_name(f->lines, 0), "ttyS0");
    assert_string_equal(esp_serial_lines_get_name(f->lines, 1), "hvc1");
    assert_string_equal(esp_serial_lines_get_name(f->lines, 2), "org.port");
    assert_int_equal(esp_serial_lines_get_console(f->lines, 0), -1);
    assert_int_equal(esp_serial_lines_get_console(f->lines, 1), 1);
    assert_int_equal(esp_serial_lines_get_console(f->lines, 2), -1);
    assert_non_null(console->socket_path);
    g_autoptr(GPtrArray) faults = vmc_config_validate(f->config);
    for (guint i = 0; i < faults->len; i++)
        assert_string_equal(((VmcFault *)faults->pdata[i])->field, "boot"); /* nothing else is amiss */
}

static void test_what_a_guest_says_is_told_and_logged(void **state)
{
    Fixture *f = *state;
    VmcSerialConfig *first = add(f, VMC_DEVICE_UART, "a.log");
    VmcSerialConfig *second = add(f, VMC_DEVICE_VIRTIO_CONSOLE, "b.log");
    g_autofree char *path = path_of(f, "a.log");

    assert_true(g_file_set_contents(path, "before\n", -1, NULL));
    start(f);
    says(first, "hello");
    wait_told(f, "0:hello;");
    says(second, "there");
    wait_told(f, "1:there;");
    assert_log(f, "a.log", "before\nhello");
    assert_log(f, "b.log", "there");
    g_autoptr(GBytes) history = esp_serial_lines_get_history(f->lines, 0);
    assert_int_equal(g_bytes_get_size(history), 5);
}

static void test_what_is_typed_arrives(void **state)
{
    Fixture *f = *state;
    VmcSerialConfig *serial = add(f, VMC_DEVICE_VIRTIO_CONSOLE, "a.log");
    char got[8] = "";

    start(f);
    esp_serial_lines_send(f->lines, 0, "ls\n", 3);
    assert_int_equal(read(serial->fd_in, got, sizeof(got)), 3);
    assert_string_equal(got, "ls\n");
    assert_log(f, "a.log", ""); /* the echo is the guest's */
}

static void test_last_words_reach_the_log_without_anybody_listening(void **state)
{
    Fixture *f = *state;
    VmcSerialConfig *serial = add(f, VMC_DEVICE_UART, "a.log");

    start(f);
    says(serial, "panic");
    g_clear_object(&f->lines);
    assert_log(f, "a.log", "panic");
}

static void test_a_guest_that_floods_is_never_held_up_and_fills_no_disk(void **state)
{
    Fixture *f = *state;
    VmcSerialConfig *serial = add(f, VMC_DEVICE_UART, "a.log");
    g_autofree char *block = g_malloc(1 << 20), *path = path_of(f, "a.log"), *old = path_of(f, "a.log.old");
    struct stat st;

    memset(block, 'x', 1 << 20);
    start(f);
    for (unsigned i = 0; i < 20; i++) /* the main context does not run meanwhile */
        for (size_t done = 0; done < 1 << 20;) {
            ssize_t n = write(serial->fd_out, block + done, (1 << 20) - done);
            assert_true(n > 0);
            done += (size_t)n;
        }
    g_clear_object(&f->lines);
    assert_int_equal(stat(path, &st), 0);
    assert_in_range(st.st_size, 1, ESP_SERIAL_LOG_MAX);
    assert_int_equal(stat(old, &st), 0);
    assert_in_range(st.st_size, 1, ESP_SERIAL_LOG_MAX);
}

static void test_a_log_that_cannot_be_opened_is_an_error(void **state)
{
    Fixture *f = *state;
    g_autoptr(GError) error = NULL;

    add(f, VMC_DEVICE_UART, "not/there.log");
    assert_null(esp_serial_lines_new(f->config, &error));
    assert_non_null(strstr(error->message, "not/there.log"));
}

#define LINES_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LINES_TEST(test_lines_with_logs_are_taken_over_and_named),
        LINES_TEST(test_what_a_guest_says_is_told_and_logged),
        LINES_TEST(test_what_is_typed_arrives),
        LINES_TEST(test_last_words_reach_the_log_without_anybody_listening),
        LINES_TEST(test_a_guest_that_floods_is_never_held_up_and_fills_no_disk),
        LINES_TEST(test_a_log_that_cannot_be_opened_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
