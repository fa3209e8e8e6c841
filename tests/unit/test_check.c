/* The check of this computer says what is so, and what processes take of it. */
#include "machine_rig.h"

#include "app/check.h"
#include "app/process_use.h"

static const EspCheckLine *line_of(GPtrArray *lines, const char *id)
{
    for (guint i = 0; i < lines->len; i++) {
        const EspCheckLine *line = lines->pdata[i];
        if (strcmp(line->id, id) == 0)
            return line;
    }
    fail_msg("there is no line “%s”", id);
    return NULL;
}

static void every_line_is_a_sentence(void **state)
{
    g_autoptr(GPtrArray) lines = esp_check_run(rig_dir);

    assert_true(lines->len >= 6);
    for (guint i = 0; i < lines->len; i++) {
        const EspCheckLine *line = lines->pdata[i];
        if (!*line->name || !g_str_has_suffix(line->finding, ".") || g_str_has_suffix(line->finding, ".."))
            fail_msg("“%s: %s” should be a sentence", line->name, line->finding);
        if ((line->level == ESP_CHECK_GOOD) == (line->advice != NULL))
            fail_msg("“%s” should have advice if it is not good, and only then", line->name);
    }
}

static void the_processors_are_counted(void **state)
{
    g_autoptr(GPtrArray) lines = esp_check_run(rig_dir);
    g_autofree char *n = g_strdup_printf("%u", g_get_num_processors());

    assert_non_null(strstr(line_of(lines, "cpu")->finding, n));
}

static void a_library_that_cannot_be_written_is_a_problem(void **state)
{
    g_autoptr(GPtrArray) lines = esp_check_run("/proc/machines");

    assert_int_equal(line_of(lines, "disk")->level, ESP_CHECK_PROBLEM);
    assert_non_null(strstr(line_of(lines, "disk")->finding, "/proc"));
    assert_int_equal(esp_check_worst(lines), ESP_CHECK_PROBLEM);
}

static void one_that_is_not_there_yet_is_none(void **state)
{
    g_autofree char *deep = rig_path("not/there/yet", NULL);
    g_autoptr(GPtrArray) lines = esp_check_run(deep);

    assert_non_null(strstr(line_of(lines, "disk")->finding, rig_dir));
}

static void missing_sound_and_display_are_told(void **state)
{
    g_setenv("PULSE_SERVER", "unix:/nowhere/native", TRUE);
    g_unsetenv("DISPLAY");
    g_unsetenv("WAYLAND_DISPLAY");
    g_autoptr(GPtrArray) lines = esp_check_run(rig_dir);

    assert_int_equal(line_of(lines, "sound")->level, ESP_CHECK_WARNING);
    assert_non_null(strstr(line_of(lines, "display")->finding, "no display"));
}

static void a_busy_process_is_seen(void **state)
{
    EspProcessUse use = {0};
    gint64 end;

    assert_true(esp_process_use_look(&use, getpid()));
    assert_true(use.cpu < 0 && use.memory > 100000);
    end = g_get_monotonic_time() + 300000;
    while (g_get_monotonic_time() < end)
        ;
    assert_true(esp_process_use_look(&use, getpid()));
    if (use.cpu < 0.02 || use.cpu > 1.5)
        fail_msg("a process that did nothing but work took %.2f CPUs", use.cpu);
    assert_false(esp_process_use_look(&use, 0));
    assert_true(use.cpu < 0 && !use.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(every_line_is_a_sentence),
        RIG_TEST(the_processors_are_counted),
        RIG_TEST(a_library_that_cannot_be_written_is_a_problem),
        RIG_TEST(one_that_is_not_there_yet_is_none),
        RIG_TEST(missing_sound_and_display_are_told),
        RIG_TEST(a_busy_process_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
