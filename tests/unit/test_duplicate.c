/* Duplicates of machines: whole, apart from their originals, and never in their way. */
#include "machine_rig.h"

#include <sys/wait.h>

#include "app/duplicate.h"
#include "app/machine_snapshots.h"
#include "app/trash.h"

static char *duplicate(const char *path, const char *name, bool linked)
{
    const EspDuplicateOptions options = {.name = name, .linked = linked};
    g_autofree char *folder = g_strconcat(name, ".espalier", NULL);
    GError *error = NULL;

    rig_good(rig_await(esp_duplicate_start(path, &options), &error), &error);
    return rig_path(folder, NULL);
}

static bool try_duplicate(const char *path, const char *name, bool linked, GError **error)
{
    const EspDuplicateOptions options = {.name = name, .linked = linked};

    return rig_await(esp_duplicate_start(path, &options), error);
}

static void a_full_duplicate_is_another_machine(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW);
    g_autofree char *identity = g_build_filename(path, "identity.plist", NULL);
    g_autofree char *saved = g_build_filename(path, "saved-state", NULL);

    assert_true(g_file_set_contents(identity, "who", -1, NULL) &&
                g_file_set_contents(saved, "memory", -1, NULL));
    rig_write(path, 0, 'a');
    g_autofree char *copy = duplicate(path, "Two", false);
    g_autofree char *mac = rig_mac(path), *copy_mac = rig_mac(copy), *notes = rig_text(copy, "notes.txt");
    g_autoptr(EspBundle) bundle = esp_bundle_open(copy, NULL);

    assert_string_equal(esp_bundle_get_name(bundle), "Two");
    assert_int_equal(rig_read(copy, 0), 'a');
    assert_string_equal(mac, "52:54:00:01:02:03");
    assert_string_not_equal(mac, copy_mac);
    assert_true(g_str_has_prefix(copy_mac, "52:54:00:"));
    assert_string_equal(notes, "mine");
    assert_false(rig_has(copy, "serial.log"));
    assert_false(rig_has(copy, "identity.plist"));
    assert_false(rig_has(copy, "saved-state"));
    rig_write(copy, 0, 'b');
    rig_write(path, 4096, 'c');
    assert_int_equal(rig_read(path, 0), 'a');
    assert_int_equal(rig_read(copy, 4096), 0);
    assert_int_equal(rig_entries(), 2);
}

static void holes_stay_holes(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW);
    g_autofree char *disk = g_build_filename(path, "disk.img", NULL);
    struct stat st;

    assert_int_equal(truncate(disk, 1ll << 40), 0);
    rig_write(path, 1ull << 39, 'm');
    g_autofree char *copy = duplicate(path, "Two", false);
    g_autofree char *copied = g_build_filename(copy, "disk.img", NULL);
    assert_int_equal(stat(copied, &st), 0);
    assert_int_equal(st.st_size, 1ll << 40);
    assert_true(st.st_blocks * 512 < 1 << 20);
    assert_int_equal(rig_read(copy, 1ull << 39), 'm');
}

static void a_full_duplicate_keeps_snapshots(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2);
    GError *error = NULL;

    rig_write(path, 0, 'a');
    rig_good(esp_machine_snapshot_take(path, "Before", &error), &error);
    rig_write(path, 0, 'b');
    g_autofree char *copy = duplicate(path, "Two", false);
    assert_int_equal(rig_read(copy, 0), 'b');
    rig_good(esp_machine_snapshot_go_back(copy, "Before", &error), &error);
    assert_int_equal(rig_read(copy, 0), 'a');
    assert_int_equal(rig_read(path, 0), 'b');
}

static void a_linked_duplicate_shares_and_parts(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2);

    rig_write(path, 0, 'a');
    g_autofree char *copy = duplicate(path, "Two", true);
    assert_int_equal(rig_read(copy, 0), 'a');
    rig_write(path, 0, 'b'); /* the original goes its own way */
    rig_write(copy, 4096, 'c');
    assert_int_equal(rig_read(copy, 0), 'a');
    assert_int_equal(rig_read(copy, 4096), 'c');
    assert_int_equal(rig_read(path, 0), 'b');
    assert_int_equal(rig_read(path, 4096), 0);
    g_autofree char *disk = g_build_filename(copy, "disk.qcow2", NULL);
    VmcConfig *config = rig_config(copy);
    GPtrArray *faults = vmc_config_validate(config);
    for (guint i = 0; i < faults->len; i++)
        if (strstr(((VmcFault *)faults->pdata[i])->field, "devices[0]"))
            fail_msg("%s", ((VmcFault *)faults->pdata[i])->message);
    g_ptr_array_unref(faults);
    vmc_config_free(config);
}

static void what_a_linked_duplicate_needs_stays(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2);
    GError *error = NULL;

    g_autofree char *copy = duplicate(path, "Two", true);
    g_auto(GStrv) names = esp_machine_find_duplicates(path);
    assert_int_equal(g_strv_length(names), 1);
    assert_string_equal(names[0], "Two");

    g_autoptr(GPtrArray) list = esp_machine_snapshots_list(path, &error);
    rig_good(list != NULL, &error);
    assert_int_equal(list->len, 1);
    const EspMachineSnapshot *snapshot = list->pdata[0];
    assert_string_equal(snapshot->clones[0], "Two");
    rig_refused(esp_machine_snapshot_delete(path, snapshot->name, &error), &error,
                "the linked duplicate “Two”");
    rig_refused(esp_machine_trash(path, &error), &error, "linked duplicate “Two”");
    assert_true(g_file_test(path, G_FILE_TEST_IS_DIR));

    /* Renamed by hand it is found, too. */
    g_autofree char *elsewhere = rig_path("Elsewhere.espalier", NULL);
    assert_int_equal(g_rename(copy, elsewhere), 0);
    rig_refused(esp_machine_trash(path, &error), &error, "linked duplicate “Two”");

    /* A full duplicate of it needs nobody. */
    rig_write(elsewhere, 0, 'x');
    g_autofree char *whole = duplicate(elsewhere, "Three", false);
    remove_folder(elsewhere);
    g_auto(GStrv) none = esp_machine_find_duplicates(path);
    assert_int_equal(g_strv_length(none), 0);
    remove_folder(path);
    assert_int_equal(rig_read(whole, 0), 'x');
}

static void a_raw_disk_cannot_be_linked(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW);
    GError *error = NULL;

    rig_refused(try_duplicate(path, "Two", true, &error), &error, "“disk.img” is not a qcow2 image");
    assert_int_equal(rig_entries(), 1);
}

static void a_machine_in_use_is_refused(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW);
    g_autoptr(EspBundle) runner = esp_bundle_open(path, NULL);
    GError *error = NULL;

    assert_true(esp_bundle_lock(runner, NULL));
    esp_bundle_announce(runner, "running");
    rig_refused(try_duplicate(path, "Two", false, &error), &error, "in use at the moment");
    assert_int_equal(rig_entries(), 1);
}

static void bad_names_are_refused(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW), *long_name = g_strnfill(300, 'x');
    const char *const names[] = {"", "  ", "two\nlines", "right\u202eleft", long_name};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        GError *error = NULL;
        rig_refused(try_duplicate(path, names[i], false, &error), &error, "cannot be the name");
    }
    assert_int_equal(rig_entries(), 1);
}

static void odd_names_stay_in_the_library(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW);
    g_autofree char *wide = g_strdup("");
    GError *error = NULL;

    for (int i = 0; i < 80; i++) {
        g_autofree char *old = wide;
        wide = g_strconcat(old, "\U0001F34E", NULL);
    }
    const char *const names[] = {"../../escape", "a/b", ".hidden", wide};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        rig_good(try_duplicate(path, names[i], false, &error), &error);
    assert_int_equal(rig_entries(), 5);
}

static void a_name_twice_gets_a_second_folder(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW), *suggested = esp_duplicate_name(rig_dir, "One");
    GError *error = NULL;

    assert_string_equal(suggested, "One copy");
    rig_good(try_duplicate(path, "One", false, &error), &error);
    g_autofree char *second = rig_path("One 2.espalier", NULL);
    assert_true(g_file_test(second, G_FILE_TEST_IS_DIR));
}

static void a_cancelled_one_leaves_nothing(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2);
    const EspDuplicateOptions options = {.name = "Two", .linked = false};

    for (uint64_t at = 0; at < RIG_DISK_BYTES; at += 65536)
        rig_write(path, at, 'f');
    EspJob *job = esp_duplicate_start(path, &options);
    esp_job_cancel(job);
    assert_false(rig_await(job, NULL));
    assert_int_equal(rig_entries(), 1);
    assert_int_equal(rig_read(path, 0), 'f');
    assert_false(esp_bundle_get_runner(path, NULL, NULL));
}

static void disks_elsewhere_come_along(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW), *elsewhere = rig_path("big.qcow2", NULL);
    const VmcDiskCreate params = {.size = RIG_DISK_BYTES};
    GError *error = NULL;
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);
    VmcConfig *config = esp_bundle_get_config(bundle, NULL);

    rig_good(vmc_disk_create(elsewhere, "qcow2", &params, &error), &error);
    VmcDeviceConfig *device = vmc_config_add_device(config, VMC_DEVICE_NVME);
    device->block.path = g_strdup(elsewhere);
    device->block.format = VMC_DISK_QCOW2;
    esp_bundle_set_config(bundle, config);
    assert_true(esp_bundle_save(bundle, NULL));
    vmc_config_free(config);
    g_autofree char *copy = duplicate(path, "Two", false);
    config = rig_config(copy);
    device = config->devices->pdata[config->devices->len - 1];
    g_autofree char *expected = g_build_filename(copy, "big.qcow2", NULL);
    assert_string_equal(device->block.path, expected);
    assert_true(g_file_test(expected, G_FILE_TEST_IS_REGULAR));
    vmc_config_free(config);
}

static void a_link_is_not_followed(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW), *link = g_build_filename(path, "secret", NULL);

    assert_int_equal(symlink("/etc/passwd", link), 0);
    g_autofree char *copy = duplicate(path, "Two", false);
    assert_false(rig_has(copy, "secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_full_duplicate_is_another_machine),
        RIG_TEST(holes_stay_holes),
        RIG_TEST(a_full_duplicate_keeps_snapshots),
        RIG_TEST(a_linked_duplicate_shares_and_parts),
        RIG_TEST(what_a_linked_duplicate_needs_stays),
        RIG_TEST(a_raw_disk_cannot_be_linked),
        RIG_TEST(a_machine_in_use_is_refused),
        RIG_TEST(bad_names_are_refused),
        RIG_TEST(odd_names_stay_in_the_library),
        RIG_TEST(a_name_twice_gets_a_second_folder),
        RIG_TEST(a_cancelled_one_leaves_nothing),
        RIG_TEST(disks_elsewhere_come_along),
        RIG_TEST(a_link_is_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
