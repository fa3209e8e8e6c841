/* Machines as files: exported and imported whole, and what hostile archives, folders and images get. */
#include "machine_rig.h"

#include <archive.h>
#include <archive_entry.h>

#include "app/duplicate.h"
#include "app/export.h"
#include "app/import.h"
#include "app/machine_snapshots.h"
#include "full_disk.h"

static char *export(const char *path, const char *name)
{
    const EspExportOptions options = {0};
    char *file = rig_path(name, NULL);
    GError *error = NULL;

    rig_good(rig_await(esp_export_start(path, file, &options), &error), &error);
    return file;
}

static bool import_with(const char *from, const EspImportOptions *options, char **path, char **left_out,
                        GError **error)
{
    g_autofree char *library = rig_path("library", NULL);
    EspJob *job = g_object_ref(esp_import_start(from, library, options));
    bool good = rig_await(job, error);

    if (path)
        *path = g_strdup(esp_import_get_path(job));
    if (left_out)
        *left_out = g_strdup(esp_import_get_left_out(job));
    g_object_unref(job);
    return good;
}

static char *import(const char *from, bool renew)
{
    const EspImportOptions options = {.renew_identity = renew};
    GError *error = NULL;
    char *path = NULL;

    rig_good(import_with(from, &options, &path, NULL, &error), &error);
    assert_non_null(path);
    return path;
}

static void refuse_import(const char *from, const char *what)
{
    const EspImportOptions options = {0};
    g_autofree char *library = rig_path("library", NULL);
    GError *error = NULL;

    rig_refused(import_with(from, &options, NULL, NULL, &error), &error, what);
    GDir *dir = g_dir_open(library, 0, NULL);
    if (dir && g_dir_read_name(dir))
        fail_msg("something half-made is left in the library");
    if (dir)
        g_dir_close(dir);
}

static void what_is_exported_is_imported(void **state)
{
    g_autofree char *path = rig_machine("Ärger mit 机", VMC_DISK_QCOW2);
    g_autofree char *identity = g_build_filename(path, "identity.plist", NULL);
    GError *error = NULL;

    assert_true(g_file_set_contents(identity, "who", -1, NULL));
    rig_write(path, 0, 'a');
    rig_good(esp_machine_snapshot_take(path, "Before", &error), &error);
    rig_write(path, 0, 'b');
    g_autofree char *file = export(path, "one.espalier.tar.zst");
    remove_folder(path);

    g_autofree char *same = import(file, false);
    g_autoptr(EspBundle) bundle = esp_bundle_open(same, NULL);
    g_autofree char *mac = rig_mac(same), *who = rig_text(same, "identity.plist");
    assert_string_equal(esp_bundle_get_name(bundle), "Ärger mit 机");
    assert_string_equal(mac, "52:54:00:01:02:03");
    assert_string_equal(who, "who");
    assert_false(rig_has(same, "serial.log"));
    assert_int_equal(rig_read(same, 0), 'b');
    rig_good(esp_machine_snapshot_go_back(same, "Before", &error), &error);
    assert_int_equal(rig_read(same, 0), 'a');

    g_autofree char *other = import(file, true);
    g_autofree char *other_mac = rig_mac(other);
    assert_string_not_equal(other, same);
    assert_string_not_equal(other_mac, mac);
    assert_false(rig_has(other, "identity.plist"));
}

static void holes_stay_holes(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW),
                    *disk = g_build_filename(path, "disk.img", NULL);
    struct stat st;

    assert_int_equal(truncate(disk, 8ll << 30), 0);
    rig_write(path, 5ull << 30, 'm');
    g_autofree char *file = export(path, "one.espalier.tar.zst");
    assert_int_equal(stat(file, &st), 0);
    assert_true(st.st_size < 1 << 20);
    g_autofree char *copy = import(file, false), *copied = g_build_filename(copy, "disk.img", NULL);
    assert_int_equal(stat(copied, &st), 0);
    assert_int_equal(st.st_size, 8ll << 30);
    assert_true(st.st_blocks * 512 < 1 << 20);
    assert_int_equal(rig_read(copy, 5ull << 30), 'm');
    assert_int_equal(rig_read(copy, 0), 0);
}

static void an_empty_disk_keeps_its_size(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW), *file = export(path, "one.espalier.tar.zst");
    g_autofree char *copy = import(file, false), *copied = g_build_filename(copy, "disk.img", NULL);
    struct stat st;

    assert_int_equal(stat(copied, &st), 0);
    assert_int_equal(st.st_size, RIG_DISK_BYTES);
}

static void a_disk_on_another_is_exported_whole(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2),
                    *disk = g_build_filename(path, "disk.qcow2", NULL);
    g_autofree char *base = rig_path("base.qcow2", NULL);
    const VmcDiskCreate params = {.backing = base, .backing_format = "qcow2"};
    GError *error = NULL;

    rig_write(path, 4096, 'w');
    assert_int_equal(g_rename(disk, base), 0);
    rig_good(vmc_disk_create(disk, "qcow2", &params, &error), &error);
    rig_write(path, 0, 'a');
    g_autofree char *file = export(path, "one.espalier.tar.zst");
    remove_folder(path);
    assert_int_equal(g_unlink(base), 0);
    g_autofree char *copy = import(file, false);
    assert_int_equal(rig_read(copy, 0), 'a');
    assert_int_equal(rig_read(copy, 4096), 'w');
}

static void a_file_of_that_name_stays(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW), *file = rig_path("there", NULL);
    EspExportOptions options = {0};
    GError *error = NULL;

    assert_true(g_file_set_contents(file, "mine", -1, NULL));
    rig_refused(rig_await(esp_export_start(path, file, &options), &error), &error, "there");
    g_autofree char *text = rig_text(file, NULL);
    assert_string_equal(text, "mine");
    assert_int_equal(rig_entries(), 2);
    options.replace = true;
    rig_good(rig_await(esp_export_start(path, file, &options), &error), &error);
    g_autofree char *copy = import(file, false);
    assert_true(rig_has(copy, "disk.img"));
}

static void a_cancelled_export_leaves_nothing(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2), *file = rig_path("file", NULL);
    const EspExportOptions options = {0};

    rig_write(path, 0, 'a');
    EspJob *job = esp_export_start(path, file, &options);
    esp_job_cancel(job);
    assert_false(rig_await(job, NULL));
    assert_int_equal(rig_entries(), 1);
}

/* ---- hostile archives ---- */

typedef struct Entry {
    const char *name, *text, *link;
    int type;
} Entry;

static const char plist[] =
    "<?xml version=\"1.0\"?><plist version=\"1.0\"><dict><key>Version</key><integer>1</integer>"
    "<key>Name</key><string>Evil</string>%s</dict></plist>";

static char *write_archive(const Entry *entries, size_t n)
{
    char *file = rig_path("evil.tar.zst", NULL);
    struct archive *a = archive_write_new();

    archive_write_set_format_pax(a);
    archive_write_add_filter_zstd(a);
    assert_int_equal(archive_write_open_filename(a, file), ARCHIVE_OK);
    for (size_t i = 0; i < n; i++) {
        struct archive_entry *entry = archive_entry_new();
        size_t length = entries[i].text ? strlen(entries[i].text) : 0;
        archive_entry_set_pathname(entry, entries[i].name);
        archive_entry_set_filetype(entry, entries[i].type ? (unsigned)entries[i].type : AE_IFREG);
        archive_entry_set_perm(entry, 0600);
        archive_entry_set_size(entry, (gint64)length);
        if (entries[i].link && entries[i].type == AE_IFLNK)
            archive_entry_set_symlink(entry, entries[i].link);
        else if (entries[i].link)
            archive_entry_set_hardlink(entry, entries[i].link);
        archive_write_header(a, entry);
        if (length)
            archive_write_data(a, entries[i].text, length);
        archive_entry_free(entry);
    }
    archive_write_close(a);
    archive_write_free(a);
    return file;
}

static void names_that_lead_out_are_refused(void **state)
{
    static const Entry hostile[] = {
        {.name = "m.espalier/../../escaped", .text = "x"},
        {.name = "/tmp/escaped", .text = "x"},
        {.name = "m.espalier/.hidden", .text = "x"},
        {.name = "m.espalier/other/deep", .text = "x"},
        {.name = "m.espalier/snapshots/a/b/c", .text = "x"},
        {.name = "m.espalier/snapshots/../x", .text = "x"},
        {.name = "m.espalier/link", .type = AE_IFLNK, .link = "/etc/passwd"},
        {.name = "m.espalier/link", .link = "/etc/passwd"},
        {.name = "m.espalier/pipe", .type = AE_IFIFO},
        {.name = "m.espalier/device", .type = AE_IFCHR},
    };
    g_autofree char *config = g_strdup_printf(plist, "");

    for (size_t i = 0; i < G_N_ELEMENTS(hostile); i++) {
        const Entry entries[] = {{.name = "m.espalier/config.plist", .text = config}, hostile[i]};
        g_autofree char *file = write_archive(entries, G_N_ELEMENTS(entries));
        refuse_import(file, "not one of a virtual machine");
    }
    g_autofree char *escaped = rig_path("escaped", NULL);
    assert_false(g_file_test(escaped, G_FILE_TEST_EXISTS));
}

static void a_name_twice_is_refused(void **state)
{
    g_autofree char *config = g_strdup_printf(plist, "");
    const Entry entries[] = {{.name = "m/config.plist", .text = config},
                             {.name = "m/config.plist", .text = "x"}};
    g_autofree char *file = write_archive(entries, G_N_ELEMENTS(entries));

    refuse_import(file, "config.plist");
}

static void what_points_at_this_computer_is_left_out(void **state)
{
    static const char devices[] =
        "<key>Devices</key><array>"
        "<dict><key>Type</key><string>VirtioFileSystem</string><key>Path</key><string>/</string>"
        "<key>Tag</key><string>host</string></dict>"
        "<dict><key>Type</key><string>VirtioBlock</string><key>Path</key><string>/etc/shadow</string></dict>"
        "<dict><key>Type</key><string>VirtioBlock</string><key>Path</key><string>a/../../../x</string></dict>"
        "<dict><key>Type</key><string>VirtioEntropy</string></dict></array>"
        "<key>BootLoader</key><dict><key>Type</key><string>Linux</string><key>Kernel</key>"
        "<string>kernel</string><key>InitialRamdisk</key><string>/etc/passwd</string></dict>";
    g_autofree char *config = g_strdup_printf(plist, devices);
    const Entry entries[] = {{.name = "m/config.plist", .text = config}, {.name = "m/kernel", .text = "k"}};
    g_autofree char *file = write_archive(entries, G_N_ELEMENTS(entries)), *path = NULL, *left_out = NULL;
    const EspImportOptions options = {0};
    GError *error = NULL;

    rig_good(import_with(file, &options, &path, &left_out, &error), &error);
    VmcConfig *imported = rig_config(path);
    assert_int_equal(imported->devices->len, 1);
    assert_null(imported->boot.initrd);
    assert_non_null(imported->boot.kernel);
    vmc_config_free(imported);
    assert_non_null(strstr(left_out, "/etc/shadow"));
    assert_non_null(strstr(left_out, "/etc/passwd"));
}

static void an_image_on_a_file_of_ours_is_refused(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2),
                    *disk = g_build_filename(path, "disk.qcow2", NULL);
    g_autofree char *secret = rig_path("secret", NULL), *text = g_strnfill(4096, 's');
    const VmcDiskCreate params = {.backing = secret, .backing_format = "raw", .size = RIG_DISK_BYTES};
    GError *error = NULL;

    assert_true(g_file_set_contents(secret, text, -1, NULL));
    assert_int_equal(g_unlink(disk), 0);
    rig_good(vmc_disk_create(disk, "qcow2", &params, &error), &error);
    refuse_import(path, "not part of what is imported");
    refuse_import(disk, "lies on another image");
}

static void broken_and_newer_ones_are_refused_in_words(void **state)
{
    const Entry newer[] = {{.name = "m/config.plist",
                            .text = "<?xml version=\"1.0\"?><plist version=\"1.0\"><dict><key>Version</key>"
                                    "<integer>99</integer></dict></plist>"}};
    const Entry broken[] = {{.name = "m/config.plist", .text = "no plist at all"}};
    const Entry without[] = {{.name = "m/other", .text = "x"}};
    g_autofree char *file = write_archive(newer, 1);

    refuse_import(file, "newer Espalier");
    g_free(write_archive(broken, 1));
    refuse_import(file, "not a property list");
    g_free(write_archive(without, 1));
    refuse_import(file, "config.plist");
}

static void one_that_was_cut_off_is_refused(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2), *file = NULL;
    struct stat st;

    for (uint64_t at = 0; at < RIG_DISK_BYTES; at += 65536)
        rig_write(path, at, (char)('a' + at / 65536 % 26));
    file = export(path, "one.tar.zst");
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(truncate(file, st.st_size / 2), 0);
    refuse_import(file, "cut off");
}

static void what_is_nothing_of_ours_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        int length;
        const char *what;
    } files[] = {
        {"KDMV1234", 8, "VMDK"},
        {"conectix", 8, "VHD"},
        {"PK\3\4....", 8, "ZIP archive"},
        {"hello, I am a text", 18, "neither a virtual machine nor"},
    };
    g_autofree char *file = rig_path("file", NULL), *missing = rig_path("missing", NULL);
    g_autofree char *ipsw = rig_path("macOS.ipsw", NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        assert_true(g_file_set_contents(file, files[i].bytes, files[i].length, NULL));
        refuse_import(file, files[i].what);
    }
    refuse_import(missing, "No such file");
    refuse_import(rig_dir, "config.plist");
    assert_true(g_file_set_contents(ipsw, "PK\3\4....", 8, NULL));
    assert_int_equal(esp_import_look(ipsw, NULL), ESP_IMPORT_IPSW);
    refuse_import(ipsw, "choose macOS there");
}

/* ---- images and folders ---- */

static void images_become_machines(void **state)
{
    g_autofree char *raw = rig_path("My disk.img", NULL), *disc = rig_path("debian-12.iso", NULL);
    const VmcDiskCreate params = {.size = RIG_DISK_BYTES};
    GError *error = NULL;

    rig_good(vmc_disk_create(raw, "raw", &params, &error), &error);
    g_autofree char *path = import(raw, false);
    VmcConfig *config = rig_config(path);
    g_autoptr(GPtrArray) faults = vmc_config_validate(config);
    for (guint i = 0; i < faults->len; i++)
        if (!strstr(((VmcFault *)faults->pdata[i])->field, "boot"))
            fail_msg("%s", ((VmcFault *)faults->pdata[i])->message);
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);
    assert_string_equal(esp_bundle_get_name(bundle), "My disk");
    assert_true(g_file_test(raw, G_FILE_TEST_EXISTS) && rig_has(path, "disk.img"));
    vmc_config_free(config);

    FILE *stream = fopen(disc, "w");
    assert_true(stream && !fseek(stream, 32769, SEEK_SET) && fputs("CD001", stream) >= 0);
    fclose(stream);
    assert_int_equal(truncate(disc, 2 << 20), 0);
    g_autofree char *installer = import(disc, false);
    config = rig_config(installer);
    bool found = false;
    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = config->devices->pdata[i];
        found = found || (device->kind == VMC_DEVICE_USB_STORAGE && device->block.cdrom &&
                          strcmp(device->block.path, disc) == 0);
    }
    assert_true(found && rig_has(installer, "disk.qcow2"));
    vmc_config_free(config);
}

static void a_folder_is_copied_or_moved(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW), *copy = import(path, true), *moved = NULL;
    g_autofree char *copy_mac = rig_mac(copy);
    const EspImportOptions options = {.move = true};
    GError *error = NULL;

    assert_string_not_equal(copy_mac, "52:54:00:01:02:03");
    assert_true(rig_has(path, "disk.img"));
    remove_folder(copy);
    rig_good(import_with(path, &options, &moved, NULL, &error), &error);
    assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    assert_true(rig_has(moved, "disk.img"));
    rig_refused(import_with(moved, &options, NULL, NULL, &error), &error, "in the library already");
}

/* ---- a full disk ---- */

static void a_full_disk_loses_nothing(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW), *file = NULL;
    const EspExportOptions options = {0};
    const EspImportOptions import_options = {0};
    GError *error = NULL;

    if (!small_folder)
        skip();
    for (uint64_t at = 0; at < RIG_DISK_BYTES; at += 4096)
        rig_write(path, at, (char)g_random_int_range(1, 127));
    g_autofree char *target = g_build_filename(small_folder, "out.tar.zst", NULL);
    fill_small_disk();
    rig_refused(rig_await(esp_export_start(path, target, &options), &error), &error, "No space left");
    file = export(path, "one.tar.zst");
    rig_refused(rig_await(esp_import_start(file, small_folder, &import_options), &error), &error,
                "No space left");
    make_room();
    GDir *dir = g_dir_open(small_folder, 0, NULL);
    const char *entry = g_dir_read_name(dir);
    if (entry)
        fail_msg("“%s” is left", entry);
    g_dir_close(dir);
    assert_int_not_equal(rig_read(path, 0), 0);
}

/* A home on media that can only be read: everything says so, and nothing is changed. */
static void a_disk_that_can_only_be_read_is_named(void **state)
{
    g_autofree char *library = small_folder ? g_build_filename(small_folder, "machines", NULL) : NULL;
    const EspExportOptions options = {0};
    GError *error = NULL;

    if (!small_folder)
        skip();
    g_autofree char *own = g_steal_pointer(&rig_dir);
    assert_int_equal(g_mkdir(library, 0700), 0);
    rig_dir = library;
    g_autofree char *path = rig_machine("One", VMC_DISK_QCOW2), *file = rig_path("file", NULL);
    assert_int_equal(mount(NULL, small_folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    const EspDuplicateOptions duplicate = {.name = "Two"};
    rig_refused(rig_await(esp_duplicate_start(path, &duplicate), &error), &error, "Read-only file system");
    rig_refused(rig_await(esp_export_start(path, file, &options), &error), &error, "Read-only file system");
    rig_refused(esp_machine_snapshot_take(path, "A", &error), &error, "Read-only file system");
    assert_int_equal(mount(NULL, small_folder, NULL, MS_REMOUNT, NULL), 0);
    assert_int_equal(rig_read(path, 0), 0);
    assert_int_equal(rig_entries(), 1);
    rig_dir = g_steal_pointer(&own);
    remove_folder(library);
}

static void a_folder_that_cannot_be_written_is_named(void **state)
{
    g_autofree char *path = rig_machine("One", VMC_DISK_RAW), *file = export(path, "one.tar.zst");
    const EspImportOptions options = {0};
    GError *error = NULL;

    rig_refused(rig_await(esp_import_start(file, "/proc/nowhere", &options), &error), &error,
                "/proc/nowhere");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(what_is_exported_is_imported),
        RIG_TEST(holes_stay_holes),
        RIG_TEST(an_empty_disk_keeps_its_size),
        RIG_TEST(a_disk_on_another_is_exported_whole),
        RIG_TEST(a_file_of_that_name_stays),
        RIG_TEST(a_cancelled_export_leaves_nothing),
        RIG_TEST(names_that_lead_out_are_refused),
        RIG_TEST(a_name_twice_is_refused),
        RIG_TEST(what_points_at_this_computer_is_left_out),
        RIG_TEST(an_image_on_a_file_of_ours_is_refused),
        RIG_TEST(broken_and_newer_ones_are_refused_in_words),
        RIG_TEST(one_that_was_cut_off_is_refused),
        RIG_TEST(what_is_nothing_of_ours_is_refused),
        RIG_TEST(images_become_machines),
        RIG_TEST(a_folder_is_copied_or_moved),
        RIG_TEST(a_full_disk_loses_nothing),
        RIG_TEST(a_disk_that_can_only_be_read_is_named),
        RIG_TEST(a_folder_that_cannot_be_written_is_named),
    };

    mount_small();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (small_folder)
        unmount_small();
    return failed;
}
