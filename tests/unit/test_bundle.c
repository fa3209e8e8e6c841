/* Bundles on a real file system: written whole or not at all, what others wrote kept, one process at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/bundle.h"
#include "app/library.h"

typedef struct Folder {
    char *path;
} Folder;

static int setup(void **state)
{
    Folder *folder = g_new0(Folder, 1);
    folder->path = g_dir_make_tmp("espalier-bundle-XXXXXX", NULL);
    *state = folder;
    return folder->path ? 0 : -1;
}

static void remove_tree(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *entry;
    while (dir && (entry = g_dir_read_name(dir))) {
        g_autofree char *child = g_build_filename(path, entry, NULL);
        if (g_file_test(child, G_FILE_TEST_IS_DIR))
            remove_tree(child);
        else
            g_unlink(child);
    }
    if (dir)
        g_dir_close(dir);
    g_rmdir(path);
}

static int teardown(void **state)
{
    Folder *folder = *state;
    remove_tree(folder->path);
    g_free(folder->path);
    g_free(folder);
    return 0;
}

static unsigned count_entries(const char *path)
{
    unsigned n = 0;
    GDir *dir = g_dir_open(path, 0, NULL);
    while (dir && g_dir_read_name(dir))
        n++;
    if (dir)
        g_dir_close(dir);
    return n;
}

static char *read_config(const char *bundle)
{
    g_autofree char *file = g_build_filename(bundle, "config.plist", NULL);
    char *text = NULL;
    assert_true(g_file_get_contents(file, &text, NULL, NULL));
    return text;
}

/* A bundle written by hand; its path is to be freed. */
static char *write_bundle(Folder *folder, const char *name, const char *dict)
{
    char *path = g_build_filename(folder->path, name, NULL);
    g_autofree char *file = g_build_filename(path, "config.plist", NULL);
    g_autofree char *text =
        g_strdup_printf("<?xml version=\"1.0\"?>\n<plist version=\"1.0\">%s</plist>\n", dict);
    assert_int_equal(g_mkdir(path, 0700), 0);
    assert_true(g_file_set_contents(file, text, -1, NULL));
    return path;
}

static EspBundle *make_bundle(Folder *folder, const char *name)
{
    g_autoptr(GError) error = NULL;
    EspBundle *bundle = esp_bundle_new(folder->path, name, &error);
    assert_null(error);
    assert_non_null(bundle);
    return bundle;
}

static void what_is_written_is_read(void **state)
{
    Folder *folder = *state;
    g_autoptr(EspBundle) bundle = make_bundle(folder, "Pear & <Quince>");
    VmcConfig *config = vmc_config_new();
    config->cpus = 3;
    config->memory = 768ull << 20;
    config->cpu = VMC_CPU_SOFT;
    config->soft = (VmcSoftCpuConfig){.engine = VMC_ENGINE_TRANSLATOR, .lockstep = true, .code_cache = 32};
    config->boot.kind = VMC_BOOT_LINUX;
    config->boot.kernel = g_strdup("/boot/vmlinuz");
    config->boot.initrd = esp_bundle_file(bundle, "initrd.img");
    config->boot.cmdline = g_strdup("console=ttyS0,115200 \"a b\"");
    VmcDeviceConfig *disk = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BLOCK);
    disk->block.path = esp_bundle_file(bundle, "disk.img");
    disk->block.id = g_strdup("pears");
    disk->block.readonly = true;
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_GPU)->display.width = 800;
    ((VmcDeviceConfig *)config->devices->pdata[1])->display.height = 600;
    vmc_config_add_device(config, VMC_DEVICE_UART)->serial.log_path = esp_bundle_file(bundle, "serial.log");
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE)->serial.fd_out = 1; /* not of a bundle */
    esp_bundle_set_config(bundle, config);
    vmc_config_free(config);
    assert_true(esp_bundle_add_disk(bundle, "disk.img", 64ull << 20, NULL));
    assert_true(esp_bundle_publish(bundle, NULL));

    g_autoptr(EspBundle) again = esp_bundle_open(esp_bundle_get_path(bundle), NULL);
    assert_non_null(again);
    assert_string_equal(esp_bundle_get_name(again), "Pear & <Quince>");
    config = esp_bundle_get_config(again, NULL);
    assert_non_null(config);
    assert_int_equal(config->cpus, 3);
    assert_int_equal(config->memory, 768ull << 20);
    assert_int_equal(config->cpu, VMC_CPU_SOFT);
    assert_int_equal(config->soft.engine, VMC_ENGINE_TRANSLATOR);
    assert_true(config->soft.lockstep);
    assert_int_equal(config->soft.code_cache, 32);
    assert_string_equal(config->boot.kernel, "/boot/vmlinuz");
    assert_string_equal(config->boot.cmdline, "console=ttyS0,115200 \"a b\"");
    assert_int_equal(config->devices->len, 3);
    disk = config->devices->pdata[0];
    g_autofree char *disk_path = esp_bundle_file(again, "disk.img");
    assert_string_equal(disk->block.path, disk_path);
    assert_string_equal(disk->block.id, "pears");
    assert_true(disk->block.readonly);
    assert_int_equal(((VmcDeviceConfig *)config->devices->pdata[1])->display.height, 600);
    vmc_config_free(config);

    GStatBuf st;
    assert_int_equal(g_stat(disk_path, &st), 0);
    assert_int_equal(st.st_size, 64 << 20);
    assert_true(st.st_blocks < 64); /* sparse */
}

/* The store comes with the first start, so a bundle always asks for it to be made. */
static void firmware_and_its_store_are_kept(void **state)
{
    Folder *folder = *state;
    g_autoptr(EspBundle) bundle = make_bundle(folder, "Plum");
    VmcConfig *config = vmc_config_new();
    config->boot.kind = VMC_BOOT_EFI;
    config->boot.firmware = g_strdup("/usr/share/OVMF/OVMF_CODE_4M.fd");
    config->boot.variable_store = esp_bundle_file(bundle, "nvram.fd");
    esp_bundle_set_config(bundle, config);
    vmc_config_free(config);
    assert_true(esp_bundle_publish(bundle, NULL));
    g_autofree char *text = read_config(esp_bundle_get_path(bundle));
    assert_non_null(strstr(text, "<string>EFI</string>"));
    assert_non_null(strstr(text, "<string>nvram.fd</string>")); /* it moves with the bundle */

    g_autofree char *moved = g_build_filename(folder->path, "moved.espalier", NULL);
    assert_int_equal(g_rename(esp_bundle_get_path(bundle), moved), 0);
    g_autoptr(EspBundle) again = esp_bundle_open(moved, NULL);
    config = esp_bundle_get_config(again, NULL);
    assert_non_null(config);
    g_autofree char *store = g_build_filename(moved, "nvram.fd", NULL);
    assert_int_equal(config->boot.kind, VMC_BOOT_EFI);
    assert_string_equal(config->boot.firmware, "/usr/share/OVMF/OVMF_CODE_4M.fd");
    assert_string_equal(config->boot.variable_store, store);
    assert_true(config->boot.create_variable_store);
    assert_null(config->boot.kernel);
    VmcConfig *copy = vmc_config_copy(config);
    assert_string_equal(copy->boot.firmware, config->boot.firmware);
    assert_string_equal(copy->boot.variable_store, store);
    assert_true(copy->boot.create_variable_store);
    vmc_config_free(copy);

    /* Back to a kernel: nothing of it is left. */
    config->boot.kind = VMC_BOOT_LINUX;
    config->boot.kernel = g_strdup("/boot/vmlinuz");
    g_clear_pointer(&config->boot.firmware, g_free);
    g_clear_pointer(&config->boot.variable_store, g_free);
    esp_bundle_set_config(again, config);
    vmc_config_free(config);
    assert_true(esp_bundle_save(again, NULL));
    g_autofree char *linux_text = read_config(moved);
    assert_null(strstr(linux_text, "EFI"));
    assert_null(strstr(linux_text, "nvram.fd"));
    assert_null(strstr(linux_text, "OVMF"));
}

static void a_moved_bundle_finds_its_disks(void **state)
{
    Folder *folder = *state;
    g_autofree char *old =
        write_bundle(folder, "old.espalier",
                     "<dict><key>Version</key><integer>1</integer><key>Devices</key><array><dict>"
                     "<key>Type</key><string>VirtioBlock</string><key>Path</key>"
                     "<string>disk.img</string></dict></array></dict>");
    g_autofree char *new = g_build_filename(folder->path, "new.espalier", NULL);
    g_autofree char *disk = g_build_filename(new, "disk.img", NULL);
    assert_int_equal(g_rename(old, new), 0);
    g_autoptr(EspBundle) bundle = esp_bundle_open(new, NULL);
    VmcConfig *config = esp_bundle_get_config(bundle, NULL);
    assert_string_equal(((VmcDeviceConfig *)config->devices->pdata[0])->block.path, disk);
    vmc_config_free(config);
}

static void unknown_keys_survive_a_save(void **state)
{
    Folder *folder = *state;
    g_autofree char *path =
        write_bundle(folder, "a.espalier",
                     "<dict><key>Version</key><integer>1</integer><key>Colour</key>"
                     "<string>crimson</string><key>Devices</key><array><dict><key>Type</key>"
                     "<string>VirtioEntropy</string><key>Depth</key><string>very deep</string>"
                     "</dict></array></dict>");
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);
    VmcConfig *config = esp_bundle_get_config(bundle, NULL);
    config->cpus = 7;
    esp_bundle_set_config(bundle, config);
    vmc_config_free(config);
    assert_true(esp_bundle_save(bundle, NULL));
    g_autofree char *text = read_config(path);
    assert_non_null(strstr(text, "crimson"));
    assert_non_null(strstr(text, "very deep"));
    assert_non_null(strstr(text, "<integer>7</integer>"));
    assert_int_equal(count_entries(path), 1); /* no temporary file is left */
}

/* As written before there were engines; and what is chosen and taken back leaves nothing in it. */
static void an_engine_is_in_a_bundle_only_if_chosen(void **state)
{
    Folder *folder = *state;
    g_autofree char *path = write_bundle(
        folder, "e.espalier",
        "<dict><key>Version</key><integer>1</integer><key>CPU</key><string>soft</string></dict>");
    static const VmcSoftCpuConfig chosen[] = {{VMC_ENGINE_INTERPRETER, true, 16}, {.code_cache = 0}};

    for (size_t i = 0; i < G_N_ELEMENTS(chosen); i++) {
        g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);
        VmcConfig *config = esp_bundle_get_config(bundle, NULL);
        assert_int_equal(config->cpu, VMC_CPU_SOFT);
        assert_int_equal(config->soft.engine, i ? VMC_ENGINE_INTERPRETER : VMC_ENGINE_DEFAULT);
        assert_int_equal(config->soft.lockstep, i);
        assert_int_equal(config->soft.code_cache, i ? 16 : 0);
        assert_int_equal(config->cpu_model, i ? VMC_CPU_MODEL_MACOS : VMC_CPU_MODEL_HOST);
        config->soft = chosen[i];
        config->cpu_model = i ? VMC_CPU_MODEL_HOST : VMC_CPU_MODEL_MACOS;
        esp_bundle_set_config(bundle, config);
        vmc_config_free(config);
        assert_true(esp_bundle_save(bundle, NULL));
        g_autofree char *text = read_config(path);
        assert_int_equal(strstr(text, "<string>interpreter</string>") != NULL, i == 0);
        assert_int_equal(strstr(text, "CPUEngine") != NULL, i == 0);
        assert_int_equal(strstr(text, "CPULockstep") != NULL, i == 0);
        assert_int_equal(strstr(text, "CPUCodeCache") != NULL, i == 0);
        assert_int_equal(strstr(text, "<string>macos</string>") != NULL, i == 0);
        assert_int_equal(strstr(text, "CPUModel") != NULL, i == 0);
    }
}

/* What a machine gave its devices stays theirs, and is only written where it is news. */
static void slots_of_devices_are_kept(void **state)
{
    Folder *folder = *state;
    g_autofree char *path = write_bundle(
        folder, "s.espalier",
        "<dict><key>Version</key><integer>1</integer><key>Devices</key><array>"
        "<dict><key>Type</key><string>VirtioEntropy</string></dict>"
        "<dict><key>Type</key><string>VirtioBalloon</string><key>PCISlot</key><integer>9</integer></dict>"
        "</array></dict>");
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);
    VmcConfig *running = esp_bundle_get_config(bundle, NULL);
    VmcDeviceConfig *entropy = running->devices->pdata[0], *balloon = running->devices->pdata[1];
    GStatBuf before, after;

    assert_int_equal(entropy->pci_slot, 0);
    assert_int_equal(balloon->pci_slot, 9);
    entropy->pci_slot = 4;
    assert_true(esp_bundle_keep_pci_slots(bundle, running, NULL));
    g_autofree char *text = read_config(path), *file = g_build_filename(path, "config.plist", NULL);
    assert_non_null(strstr(text, "<key>PCISlot</key>\n\t\t\t<integer>4</integer>"));
    assert_int_equal(g_stat(file, &before), 0);
    assert_true(esp_bundle_keep_pci_slots(bundle, running, NULL));
    assert_int_equal(g_stat(file, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    vmc_config_free(running);
}

static void what_was_not_published_leaves_nothing(void **state)
{
    Folder *folder = *state;
    EspBundle *bundle = make_bundle(folder, "Half done");
    assert_true(esp_bundle_add_disk(bundle, "disk.img", 1 << 20, NULL));
    esp_bundle_free(bundle);
    assert_int_equal(count_entries(folder->path), 0);
}

static void nothing_is_overwritten(void **state)
{
    Folder *folder = *state;
    g_autofree char *path = write_bundle(folder, "Mine.espalier", "<dict><key>Precious</key><true/></dict>");
    EspBundle *bundle = make_bundle(folder, "Mine");
    g_autoptr(GError) error = NULL;
    assert_false(esp_bundle_publish(bundle, &error));
    assert_true(g_error_matches(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_EXISTS));
    assert_non_null(strstr(error->message, "Mine"));
    esp_bundle_free(bundle);
    g_autofree char *text = read_config(path);
    assert_non_null(strstr(text, "Precious"));
    assert_int_equal(count_entries(folder->path), 1);
}

static void a_name_stays_inside_the_folder(void **state)
{
    Folder *folder = *state;
    g_autoptr(EspBundle) bundle = make_bundle(folder, "../../etc/passwd");
    assert_true(esp_bundle_publish(bundle, NULL));
    g_autofree char *parent = g_path_get_dirname(esp_bundle_get_path(bundle));
    assert_string_equal(parent, folder->path);
    assert_string_equal(esp_bundle_get_name(bundle), "../../etc/passwd");
}

static void wrong_files_are_refused_in_words(void **state)
{
    static const struct {
        const char *dict, *word;
    } cases[] = {
        {"<dict/>", "Version"},
        {"<dict><key>Version</key><integer>2</integer></dict>", "newer Espalier"},
        {"<dict><key>Version</key><string>1</string></dict>", "Version should be a whole number"},
        {"<dict><key>Version</key><integer>1</integer><key>CPU</key><string>fast</string></dict>",
         "auto, kvm or soft"},
        {"<dict><key>Version</key><integer>1</integer><key>CPUEngine</key><string>jit</string></dict>",
         "CPUEngine is “jit”; it should be interpreter or translator"},
        {"<dict><key>Version</key><integer>1</integer><key>CPUEngine</key><true/></dict>",
         "interpreter or translator"},
        {"<dict><key>Version</key><integer>1</integer><key>CPULockstep</key><string>yes</string></dict>",
         "CPULockstep should be true or false"},
        {"<dict><key>Version</key><integer>1</integer><key>CPUModel</key><string>486</string></dict>",
         "CPUModel is “486”; it should be host"},
        {"<dict><key>Version</key><integer>1</integer><key>CPUCodeCache</key><integer>7</integer></dict>",
         "CPUCodeCache is 7; it should be between 8 and 1024"},
        {"<dict><key>Version</key><integer>1</integer><key>CPUCodeCache</key><string>64M</string></dict>",
         "CPUCodeCache should be a whole number"},
        {"<dict><key>Version</key><integer>1</integer><key>CPUCount</key><integer>99999999999</integer></"
         "dict>",
         "CPUCount"},
        {"<dict><key>Version</key><integer>1</integer><key>MemorySize</key><integer>18446744073709551615</"
         "integer>"
         "</dict>",
         "MemorySize"},
        {"<dict><key>Version</key><integer>1</integer><key>Devices</key><string/></dict>", "Devices"},
        {"<dict><key>Version</key><integer>1</integer><key>Devices</key><array><integer>1</integer></array></"
         "dict>",
         "Devices[0]"},
        {"<dict><key>Version</key><integer>1</integer><key>Devices</key><array><dict><key>Type</key>"
         "<string>Toaster</string></dict></array></dict>",
         "Toaster"},
        {"<dict><key>Version</key><integer>1</integer><key>BootLoader</key><dict><key>Type</key>"
         "<string>Abacus</string></dict></dict>",
         "Abacus"},
    };
    Folder *folder = *state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name = g_strdup_printf("%zu.espalier", i);
        g_autofree char *path = write_bundle(folder, name, cases[i].dict);
        g_autoptr(GError) error = NULL;
        g_autoptr(EspBundle) bundle = esp_bundle_open(path, &error);
        assert_non_null(bundle);
        assert_null(esp_bundle_get_config(bundle, &error));
        if (!strstr(error->message, cases[i].word))
            fail_msg("“%s” does not say “%s”", error->message, cases[i].word);
    }
}

static void garbage_is_no_bundle(void **state)
{
    Folder *folder = *state;
    const char *const texts[] = {"", "bplist00", "bplist00\377\377\377\377", "<plist><array/></plist>",
                                 "\001\002\003"};
    g_autofree char *path = g_build_filename(folder->path, "x.espalier", NULL);
    g_autofree char *file = g_build_filename(path, "config.plist", NULL);
    g_mkdir(path, 0700);
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        assert_true(g_file_set_contents(file, texts[i], -1, NULL));
        assert_null(esp_bundle_open(path, &error));
        assert_non_null(error);
        assert_non_null(strstr(error->message, "config.plist"));
    }
    g_unlink(file);
    g_mkdir(file, 0700);
    assert_null(esp_bundle_open(path, NULL));
}

/* In a process of its own, as another program would: exit status 0 if the lock could be taken. */
static int lock_elsewhere(const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        EspBundle *bundle = esp_bundle_open(path, NULL);
        _exit(bundle && esp_bundle_lock(bundle, NULL) ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

static void one_process_at_a_time(void **state)
{
    Folder *folder = *state;
    g_autofree char *path =
        write_bundle(folder, "l.espalier", "<dict><key>Name</key><string>Lock</string></dict>");
    int pid = -1;
    g_autofree char *runner_state = NULL;
    assert_false(esp_bundle_get_runner(path, NULL, NULL));

    EspBundle *bundle = esp_bundle_open(path, NULL);
    assert_true(esp_bundle_lock(bundle, NULL));
    esp_bundle_announce(bundle, "in error");
    assert_int_equal(lock_elsewhere(path), 1);
    assert_true(esp_bundle_get_runner(path, &pid, &runner_state));
    assert_int_equal(pid, getpid());
    assert_string_equal(runner_state, "in error");

    g_autoptr(EspBundle) second = esp_bundle_open(path, NULL);
    g_autoptr(GError) error = NULL;
    assert_false(esp_bundle_lock(second, &error));
    assert_true(g_error_matches(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_BUSY));
    assert_non_null(strstr(error->message, "Lock"));

    esp_bundle_free(bundle);
    assert_false(esp_bundle_get_runner(path, NULL, NULL));
    assert_int_equal(lock_elsewhere(path), 0);
}

static void write_demo_dir(const char *dir)
{
    g_mkdir(dir, 0700);
    const char *const names[] = {"vmlinuz", "initrd.img"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *file = g_build_filename(dir, names[i], NULL);
        assert_true(g_file_set_contents(file, "x", 1, NULL));
    }
}

static void the_demo_follows_its_files(void **state)
{
    Folder *folder = *state;
    g_autofree char *machines = g_build_filename(folder->path, "machines", NULL);
    g_autofree char *first = g_build_filename(folder->path, "first", NULL);
    g_autofree char *second = g_build_filename(folder->path, "second", NULL);
    write_demo_dir(first);
    write_demo_dir(second);
    g_autofree char *path = esp_library_ensure_demo(machines, first, NULL);
    assert_non_null(path);

    /* What the user changed stays, the kernel moves along. */
    EspBundle *bundle = esp_bundle_open(path, NULL);
    VmcConfig *config = esp_bundle_get_config(bundle, NULL);
    config->cpus = 1;
    esp_bundle_set_config(bundle, config);
    assert_true(esp_bundle_save(bundle, NULL));
    vmc_config_free(config);
    esp_bundle_free(bundle);
    g_autofree char *again = esp_library_ensure_demo(machines, second, NULL);
    assert_string_equal(path, again);
    bundle = esp_bundle_open(path, NULL);
    config = esp_bundle_get_config(bundle, NULL);
    assert_int_equal(config->cpus, 1);
    assert_true(g_str_has_prefix(config->boot.kernel, second));
    vmc_config_free(config);
    esp_bundle_free(bundle);
}

#define FOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void name_and_info_are_kept_beside_what_others_wrote(void **state)
{
    Folder *folder = *state;
    g_autofree char *path =
        write_bundle(folder, "a.espalier",
                     "<dict><key>Version</key><integer>1</integer><key>Info</key><dict>"
                     "<key>Notes</key><string>one\ntwo</string><key>System</key>"
                     "<string>linux</string><key>Theirs</key><string>stays</string></dict></dict>");
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);
    EspMachineInfo info = {0}, copy;

    assert_true(esp_bundle_get_info(bundle, &info, NULL));
    assert_string_equal(info.notes, "one\ntwo");
    assert_int_equal(info.system, ESP_GUEST_LINUX);
    info.region.keyboard_layout = g_strdup("ch");
    info.isolated = true;
    esp_machine_info_copy(&copy, &info);
    esp_machine_info_clear(&info);
    esp_bundle_set_info(bundle, &copy);
    esp_machine_info_clear(&copy);
    assert_true(esp_bundle_set_name(bundle, " Büro ", NULL));
    assert_true(esp_bundle_save(bundle, NULL));

    g_autofree char *text = read_config(path);
    assert_non_null(strstr(text, "stays"));
    g_autoptr(EspBundle) again = esp_bundle_open(path, NULL);
    assert_string_equal(esp_bundle_get_name(again), "Büro");
    assert_true(esp_bundle_get_info(again, &info, NULL));
    assert_string_equal(info.region.keyboard_layout, "ch");
    assert_true(info.isolated);
    esp_machine_info_clear(&info);
}

static void a_wrong_info_is_named(void **state)
{
    Folder *folder = *state;
    g_autofree char *path = write_bundle(folder, "a.espalier",
                                         "<dict><key>Version</key><integer>1</integer><key>Info</key><dict>"
                                         "<key>System</key><string>dos</string></dict></dict>");
    g_autoptr(EspBundle) bundle = esp_bundle_open(path, NULL);
    g_autoptr(GError) error = NULL;
    EspMachineInfo info = {0};

    assert_false(esp_bundle_get_info(bundle, &info, &error));
    assert_non_null(strstr(error->message, "Info.System is “dos”; it should be one of other, linux, macos."));
}

static void names_that_would_mislead_are_refused(void **state)
{
    Folder *folder = *state;
    g_autoptr(EspBundle) bundle = esp_bundle_new(folder->path, "Mine", NULL);
    g_autofree char *longest = g_strnfill(ESP_BUNDLE_NAME_MAX, 'n');
    g_autofree char *longer = g_strnfill(ESP_BUNDLE_NAME_MAX + 1, 'n');
    const char *const bad[] = {"", "  ", "two\nlines", "turned\u202e round", "\xff\xfe", longer};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        assert_false(esp_bundle_set_name(bundle, bad[i], &error));
        assert_true(g_error_matches(error, ESP_BUNDLE_ERROR, ESP_BUNDLE_ERROR_FORMAT));
        assert_string_equal(esp_bundle_get_name(bundle), "Mine");
    }
    assert_true(esp_bundle_set_name(bundle, "a/b", NULL));
    assert_true(esp_bundle_set_name(bundle, longest, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(what_is_written_is_read),
        FOLDER_TEST(firmware_and_its_store_are_kept),
        FOLDER_TEST(a_moved_bundle_finds_its_disks),
        FOLDER_TEST(unknown_keys_survive_a_save),
        FOLDER_TEST(an_engine_is_in_a_bundle_only_if_chosen),
        FOLDER_TEST(slots_of_devices_are_kept),
        FOLDER_TEST(what_was_not_published_leaves_nothing),
        FOLDER_TEST(nothing_is_overwritten),
        FOLDER_TEST(a_name_stays_inside_the_folder),
        FOLDER_TEST(wrong_files_are_refused_in_words),
        FOLDER_TEST(garbage_is_no_bundle),
        FOLDER_TEST(one_process_at_a_time),
        FOLDER_TEST(the_demo_follows_its_files),
        FOLDER_TEST(name_and_info_are_kept_beside_what_others_wrote),
        FOLDER_TEST(a_wrong_info_is_named),
        FOLDER_TEST(names_that_would_mislead_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
