/* Machines go to the trash and come back, and what keeps them from it is said. */
#include "machine_rig.h"

#include "app/trash.h"

static void what_was_thrown_away_comes_back(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW);
    GError *error = NULL;

    rig_write(path, 0, 'a');
    rig_good(esp_machine_trash(path, &error), &error);
    assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    rig_good(esp_machine_untrash(path, &error), &error);
    assert_int_equal(rig_read(path, 0), 'a');
    rig_refused(esp_machine_untrash(path, &error), &error, "not found in the trash");
}

static void the_latest_of_a_name_comes_back(void **state)
{
    GError *error = NULL;

    for (int i = 0; i < 2; i++) {
        g_autofree char *path = rig_machine("One", VMC_DISK_RAW);
        rig_write(path, 0, i ? 'n' : 'o');
        rig_good(esp_machine_trash(path, &error), &error);
        g_usleep(i ? 0 : 1100000); /* the trash knows seconds */
    }
    g_autofree char *path = rig_path("One.espalier", NULL);
    rig_good(esp_machine_untrash(path, &error), &error);
    assert_int_equal(rig_read(path, 0), 'n');
    rig_refused(esp_machine_untrash(path, &error), &error, "stays");
}

static void one_that_runs_stays(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW);
    g_autoptr(EspBundle) runner = esp_bundle_open(path, NULL);
    GError *error = NULL;

    assert_true(esp_bundle_lock(runner, NULL));
    rig_refused(esp_machine_trash(path, &error), &error, "in use at the moment");
    assert_true(rig_has(path, "disk.img"));
}

static void a_broken_one_can_be_thrown_away(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW),
                    *config = g_build_filename(path, "config.plist", NULL);
    GError *error = NULL;

    assert_true(g_file_set_contents(config, "garbage", -1, NULL));
    rig_good(esp_machine_trash(path, &error), &error);
    assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    rig_refused(esp_machine_trash(path, &error), &error, "no folder of that name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(what_was_thrown_away_comes_back),
        RIG_TEST(the_latest_of_a_name_comes_back),
        RIG_TEST(one_that_runs_stays),
        RIG_TEST(a_broken_one_can_be_thrown_away),
    };
    /* A trash of the test's own, on the file system of its machines. */
    g_autofree char *home = g_dir_make_tmp("espalier-home-XXXXXX", NULL);

    g_setenv("HOME", home, TRUE);
    g_setenv("XDG_DATA_HOME", home, TRUE);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_folder(home);
    return failed;
}
