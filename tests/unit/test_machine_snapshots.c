/* Snapshots of whole machines: disks, variables and configuration, kept, brought back and forgotten together.
 */
#include "machine_rig.h"

#include "app/machine_snapshots.h"

static GPtrArray *list(const char *path)
{
    GError *error = NULL;
    GPtrArray *all = esp_machine_snapshots_list(path, &error);

    rig_good(all != NULL, &error);
    return all;
}

static void set_variables(const char *path, const char *text)
{
    g_autofree char *file = g_build_filename(path, "nvram.fd", NULL);

    assert_true(g_file_set_contents(file, text, -1, NULL));
}

static void set_memory(const char *path, uint64_t mib)
{
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);
    VmcConfig *config = esp_bundle_get_config(bundle, NULL);

    config->memory = mib << 20;
    esp_bundle_set_config(bundle, config);
    vmc_config_free(config);
    assert_true(esp_bundle_save(bundle, NULL));
}

static void everything_comes_back_together(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2);
    GError *error = NULL;

    rig_write(path, 0, 'a');
    set_memory(path, 700);
    rig_good(esp_machine_snapshot_take(path, "Clean “install”", &error), &error);

    rig_write(path, 0, 'b');
    set_variables(path, "second variables");
    set_memory(path, 900);
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);
    assert_true(esp_bundle_set_name(bundle, "Renamed since", NULL) && esp_bundle_save(bundle, NULL));
    rig_good(esp_machine_snapshot_take(path, "Later", &error), &error);
    rig_good(esp_machine_snapshot_go_back(path, "Clean “install”", &error), &error);

    g_autofree char *variables = rig_text(path, "nvram.fd");
    VmcConfig *config = rig_config(path);
    g_autoptr(EspBundle) again = esp_bundle_open(path, NULL);
    assert_int_equal(rig_read(path, 0), 'a');
    assert_string_equal(variables, "first variables");
    assert_int_equal(config->memory, 700ull << 20);
    assert_string_equal(esp_bundle_get_name(again), "Renamed since");
    vmc_config_free(config);

    /* What was taken later is still there. */
    rig_good(esp_machine_snapshot_go_back(path, "Later", &error), &error);
    g_autofree char *later = rig_text(path, "nvram.fd");
    assert_int_equal(rig_read(path, 0), 'b');
    assert_string_equal(later, "second variables");
}

static void they_are_listed_with_what_they_lie_on(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2);
    GError *error = NULL;

    rig_good(esp_machine_snapshot_take(path, "First", &error), &error);
    rig_good(esp_machine_snapshot_take(path, "Second", &error), &error);
    g_autoptr(GPtrArray) all = list(path);
    assert_int_equal(all->len, 2);
    const EspMachineSnapshot *first = all->pdata[0], *second = all->pdata[1];
    assert_string_equal(first->name, "First");
    assert_null(first->parent);
    assert_false(first->current);
    assert_string_equal(second->parent, "First");
    assert_true(second->current && second->complete && second->whole);
    assert_int_equal(g_strv_length(second->clones), 0);
}

static void one_of_the_disks_alone_is_one_too(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2),
                    *disk = g_build_filename(path, "disk.qcow2", NULL);
    GError *error = NULL;

    rig_write(path, 0, 'a');
    rig_good(vmc_snapshot_take(disk, "By hand", &error), &error);
    set_variables(path, "newer");
    rig_write(path, 0, 'b');
    g_autoptr(GPtrArray) all = list(path);
    assert_false(((EspMachineSnapshot *)all->pdata[0])->complete);
    rig_good(esp_machine_snapshot_go_back(path, "By hand", &error), &error);
    g_autofree char *variables = rig_text(path, "nvram.fd");
    assert_int_equal(rig_read(path, 0), 'a');
    assert_string_equal(variables, "newer");
}

static void forgetting_changes_nothing_else(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2);
    GError *error = NULL;

    rig_write(path, 0, 'a');
    rig_good(esp_machine_snapshot_take(path, "First", &error), &error);
    rig_write(path, 4096, 'b');
    rig_good(esp_machine_snapshot_take(path, "Second", &error), &error);
    rig_write(path, 8192, 'c');
    rig_good(esp_machine_snapshot_delete(path, "First", &error), &error);
    assert_int_equal(rig_read(path, 0), 'a');
    assert_int_equal(rig_read(path, 8192), 'c');
    rig_good(esp_machine_snapshot_go_back(path, "Second", &error), &error);
    assert_int_equal(rig_read(path, 4096), 'b');
    rig_good(esp_machine_snapshot_delete(path, "Second", &error), &error);
    g_autoptr(GPtrArray) none = list(path);
    assert_int_equal(none->len, 0);
    rig_refused(esp_machine_snapshot_go_back(path, "Second", &error), &error, "no snapshot “Second”");
    rig_refused(esp_machine_snapshot_delete(path, "Second", &error), &error, "no snapshot “Second”");
}

static void what_cannot_be_kept_is_refused(void **state)
{
    g_autofree char *raw = rig_machine("Raw", VMC_DISK_RAW), *path = rig_machine("One", VMC_DISK_QCOW2);
    g_autofree char *saved = g_build_filename(path, "saved-state", NULL), *wide = g_strnfill(300, 'x');
    GError *error = NULL;

    rig_refused(esp_machine_snapshot_take(raw, "A", &error), &error, "“disk.img” is a raw image");
    rig_refused(esp_machine_snapshot_take(path, "", &error), &error, "cannot be the name");
    rig_refused(esp_machine_snapshot_take(path, wide, &error), &error, "cannot be the name");
    rig_refused(esp_machine_snapshot_take(path, "a\u202eb", &error), &error, "cannot be the name");
    rig_good(esp_machine_snapshot_take(path, "../../a/b", &error), &error);
    rig_refused(esp_machine_snapshot_take(path, "../../a/b", &error), &error, "already a snapshot");
    assert_true(g_file_set_contents(saved, "memory", -1, NULL));
    rig_refused(esp_machine_snapshot_take(path, "B", &error), &error, "saved in the middle of its work");
    rig_refused(esp_machine_snapshot_delete(path, "../../a/b", &error), &error, "saved in the middle");
    /* Going back means to give that up. */
    rig_good(esp_machine_snapshot_go_back(path, "../../a/b", &error), &error);
    assert_false(rig_has(path, "saved-state"));
}

static void a_machine_in_use_is_left_alone(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2);
    GError *error = NULL;

    rig_good(esp_machine_snapshot_take(path, "A", &error), &error);
    g_autoptr(EspBundle) runner = esp_bundle_open(path, NULL);
    assert_true(esp_bundle_lock(runner, NULL));
    rig_refused(esp_machine_snapshot_go_back(path, "A", &error), &error, "in use at the moment");
    rig_refused(esp_machine_snapshot_delete(path, "A", &error), &error, "in use at the moment");
    assert_false(esp_machine_snapshot_take(path, "B", &error)); /* nobody answers on its socket */
    g_clear_error(&error);
    g_autofree char *folder = g_build_filename(path, "snapshots", NULL);
    unsigned entries = 0;
    GDir *dir = g_dir_open(folder, 0, NULL);
    while (g_dir_read_name(dir))
        entries++;
    g_dir_close(dir);
    assert_int_equal(entries, 1);
}

/* A snapshot whose configuration was replaced by somebody with one that points at our files. */
static void a_hostile_one_touches_nothing_outside(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2), *victim = rig_path("victim", NULL);
    g_autofree char *folder = g_build_filename(path, "snapshots", NULL);
    GError *error = NULL;

    rig_good(esp_machine_snapshot_take(path, "A", &error), &error);
    assert_true(g_file_set_contents(victim, "precious", -1, NULL));
    GDir *dir = g_dir_open(folder, 0, NULL);
    g_autofree char *file = g_build_filename(folder, g_dir_read_name(dir), "config.plist", NULL);
    g_dir_close(dir);
    g_autofree char *text = NULL;
    assert_true(g_file_get_contents(file, &text, NULL, NULL));
    g_auto(GStrv) parts = g_strsplit(text, "nvram.fd", 2);
    g_autofree char *hostile = g_strjoin(victim, parts[0], parts[1], NULL);
    assert_true(g_file_set_contents(file, hostile, -1, NULL));
    rig_good(esp_machine_snapshot_go_back(path, "A", &error), &error);
    g_autofree char *after = rig_text(victim, NULL);
    assert_string_equal(after, "precious");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(everything_comes_back_together),        RIG_TEST(they_are_listed_with_what_they_lie_on),
        RIG_TEST(one_of_the_disks_alone_is_one_too),     RIG_TEST(forgetting_changes_nothing_else),
        RIG_TEST(what_cannot_be_kept_is_refused),        RIG_TEST(a_machine_in_use_is_left_alone),
        RIG_TEST(a_hostile_one_touches_nothing_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
