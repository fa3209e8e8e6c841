/*
 * What a machine's process leaves behind: its lock, by which a death is told from an end, and its log.
 */
#include <signal.h>
#include <sys/wait.h>

#include "app/bundle.h"
#include "app/crash.h"
#include "app/machine_log.h"
#include "tests/unit/tiny_kernel.h"

typedef struct Rig {
    char *dir, *path; /* of the bundle in it */
} Rig;

static int set_up(void **state)
{
    Rig *rig = g_new0(Rig, 1);
    GError *error = NULL;

    rig->dir = tiny_dir();
    EspBundle *bundle = esp_bundle_new(rig->dir, "Apple", &error);
    if (!bundle || !esp_bundle_publish(bundle, &error))
        fail_msg("%s", error->message);
    rig->path = g_strdup(esp_bundle_get_path(bundle));
    esp_bundle_free(bundle);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    Rig *rig = *state;

    tiny_dir_remove(rig->path);
    tiny_dir_remove(rig->dir);
    g_free(rig);
    return 0;
}

/* A process that has the bundle open and says `state` of its machine, until it dies by `signal_number` or,
 * with 0, ends in order. Returns how, as waitpid does. */
static int live_and_die(Rig *rig, const char *state, int signal_number)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        EspBundle *bundle = esp_bundle_open(rig->path, NULL);
        if (!bundle || !esp_bundle_lock(bundle, NULL))
            _exit(99);
        esp_bundle_announce(bundle, state);
        signal(SIGSEGV, SIG_DFL); /* cmocka has its own idea of it */
        if (signal_number)
            raise(signal_number);
        esp_bundle_free(bundle);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_a_process_that_dies_is_told_from_one_that_ends(void **state)
{
    Rig *rig = *state;

    assert_false(esp_crash_happened(rig->path));
    assert_int_equal(live_and_die(rig, "running", 0), 0);
    assert_false(esp_crash_happened(rig->path));
    live_and_die(rig, "running", SIGKILL);
    assert_true(esp_crash_happened(rig->path));
    assert_int_equal(live_and_die(rig, "paused", 0), 0); /* started again */
    assert_false(esp_crash_happened(rig->path));
}

static void test_who_has_nothing_to_lose_does_not_crash(void **state)
{
    Rig *rig = *state;

    live_and_die(rig, "stopped", SIGKILL);
    assert_false(esp_crash_happened(rig->path));
    live_and_die(rig, "in error", SIGKILL);
    assert_false(esp_crash_happened(rig->path));
    live_and_die(rig, ESP_BUNDLE_STATE_HELD, SIGKILL);
    assert_false(esp_crash_happened(rig->path));
}

static void test_a_machine_that_runs_has_not_crashed(void **state)
{
    Rig *rig = *state;
    g_autoptr(EspBundle) bundle = NULL;

    live_and_die(rig, "running", SIGKILL);
    bundle = esp_bundle_open(rig->path, NULL);
    assert_true(esp_bundle_lock(bundle, NULL));
    assert_false(esp_crash_happened(rig->path));
    assert_false(esp_crash_dismiss(rig->path));
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("“%s” is not in: %s", part, text);
}

static void test_a_crash_is_described_and_dismissed(void **state)
{
    Rig *rig = *state;
    g_autoptr(EspBundle) bundle = esp_bundle_open(rig->path, NULL);
    EspMachineLog *log = esp_machine_log_new(bundle);

    esp_machine_log_write(log, "It was a dark night.\nAnd stormy.");
    esp_machine_log_free(log);
    int status = live_and_die(rig, "saving", SIGSEGV);
    g_autoptr(EspCrash) crash = esp_crash_new(rig->path, status);
    assert_non_null(crash);
    assert_string_equal(crash->name, "Apple");
    assert_string_equal(crash->state, "saving");
    g_autofree char *how = esp_crash_explain(crash);
    assert_has(how, "signal 11");
    g_autofree char *all = esp_crash_describe(crash);
    assert_has(all, "gone while the machine was saving");
    assert_has(all, "It was a dark night.\n");
    assert_has(all, "And stormy.");
    assert_true(esp_crash_dismiss(rig->path));
    assert_false(esp_crash_happened(rig->path));
}

static void test_a_log_that_is_a_link_is_left_alone(void **state)
{
    Rig *rig = *state;
    g_autofree char *precious = g_build_filename(rig->dir, "precious", NULL);
    g_autofree char *log_file = g_build_filename(rig->path, ESP_MACHINE_LOG, NULL);
    g_autofree char *text = NULL;
    g_autoptr(EspBundle) bundle = esp_bundle_open(rig->path, NULL);

    assert_true(g_file_set_contents(precious, "data", -1, NULL));
    assert_int_equal(symlink(precious, log_file), 0);
    EspMachineLog *log = esp_machine_log_new(bundle);
    esp_machine_log_write(log, "ours");
    esp_machine_log_free(log);
    assert_true(g_file_get_contents(precious, &text, NULL, NULL));
    assert_string_equal(text, "data");
    assert_null(esp_machine_log_read(rig->path, ESP_MACHINE_LOG, 100, NULL));
}

static void test_a_long_log_is_put_aside_and_its_end_is_read(void **state)
{
    Rig *rig = *state;
    g_autoptr(EspBundle) bundle = esp_bundle_open(rig->path, NULL);
    g_autofree char *old = g_build_filename(rig->path, ESP_MACHINE_LOG ".old", NULL);
    g_autofree char *line = g_strnfill(1000, 'x');
    EspMachineLog *log = esp_machine_log_new(bundle);

    for (unsigned i = 0; i < ESP_LOG_FILE_MAX / 1000 + 2; i++)
        esp_machine_log_write(log, line);
    esp_machine_log_write(log, "first \xff");
    esp_machine_log_write(log, "last");
    esp_machine_log_free(log);
    assert_true(g_file_test(old, G_FILE_TEST_IS_REGULAR));
    g_autofree char *end = esp_machine_log_read(rig->path, ESP_MACHINE_LOG, 40, NULL);
    assert_true(g_utf8_validate(end, -1, NULL));
    assert_true(g_str_has_suffix(end, "  last\n"));
    assert_true(g_ascii_isdigit(*end)); /* from the start of a line */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_process_that_dies_is_told_from_one_that_ends, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_who_has_nothing_to_lose_does_not_crash, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_machine_that_runs_has_not_crashed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_crash_is_described_and_dismissed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_log_that_is_a_link_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_long_log_is_put_aside_and_its_end_is_read, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
