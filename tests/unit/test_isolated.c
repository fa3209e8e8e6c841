/* The isolated machine: what it is not given, that its disks stay as they are, and what becomes of what
 * changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include <vmcore/disk.h>

#include "app/isolated.h"
#include "tests/unit/folder.h"

typedef struct Rig {
    char *dir, *bundle, *raw, *qcow2;
} Rig;

static int set_up(void **state)
{
    Rig *rig = g_new0(Rig, 1);
    VmcDiskCreate create = {.size = 1 << 20};

    rig->dir = g_dir_make_tmp("espalier-isolated-XXXXXX", NULL);
    g_setenv("XDG_CACHE_HOME", rig->dir, TRUE);
    rig->bundle = g_build_filename(rig->dir, "Pear.espalier", NULL);
    rig->raw = g_build_filename(rig->bundle, "disk.img", NULL);
    rig->qcow2 = g_build_filename(rig->bundle, "disk.qcow2", NULL);
    g_mkdir(rig->bundle, 0700);
    assert_true(vmc_disk_create(rig->raw, "raw", &create, NULL));
    assert_true(vmc_disk_create(rig->qcow2, "qcow2", &create, NULL));
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    Rig *rig = *state;

    remove_folder(rig->dir);
    g_free(rig->dir);
    g_free(rig->bundle);
    g_free(rig->raw);
    g_free(rig->qcow2);
    g_free(rig);
    return 0;
}

static VmcConfig *machine(const Rig *rig)
{
    VmcConfig *config = vmc_config_new();

    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_NET)->net.nat = true;
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BLOCK)->block.path = g_strdup(rig->raw);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_FS)->share.path = g_strdup("/tmp");
    VmcDeviceConfig *second = vmc_config_add_device(config, VMC_DEVICE_NVME);
    second->block.path = g_strdup(rig->qcow2);
    second->block.format = VMC_DISK_QCOW2;
    VmcDeviceConfig *readonly = vmc_config_add_device(config, VMC_DEVICE_USB_STORAGE);
    readonly->block.path = g_strdup(rig->raw);
    readonly->block.readonly = true;
    vmc_config_add_device(config, VMC_DEVICE_SPICE_AGENT);
    vmc_config_add_device(config, VMC_DEVICE_SPICE_WEBDAV)->share.path = g_strdup("/tmp");
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_VSOCK)->vsock.port = 5;
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_CONSOLE)->serial.socket_path = g_strdup("/tmp/socket");
    vmc_config_add_device(config, VMC_DEVICE_UART)->serial.log_path =
        g_build_filename(rig->bundle, "s.log", NULL);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_SOUND)->sound.input = true;
    return config;
}

static const VmcDeviceConfig *device(const VmcConfig *config, guint n)
{
    return g_ptr_array_index(config->devices, n);
}

static VmcConfig *isolate(const Rig *rig)
{
    VmcConfig *config = machine(rig);
    GError *error = NULL;

    if (!esp_isolated_apply(config, rig->bundle, &error))
        fail_msg("%s", error->message);
    return config;
}

static void test_ways_out_are_gone(void **state)
{
    Rig *rig = *state;
    VmcConfig *config = isolate(rig);

    assert_int_equal(config->devices->len, 6);
    assert_int_equal(device(config, 0)->kind, VMC_DEVICE_VIRTIO_BLOCK);
    assert_int_equal(device(config, 1)->kind, VMC_DEVICE_NVME);
    assert_string_equal(device(config, 2)->block.path, rig->raw); /* read-only as it is */
    assert_int_equal(device(config, 3)->agent.clipboard, VMC_CLIPBOARD_OFF);
    assert_int_equal(device(config, 4)->kind, VMC_DEVICE_UART);
    assert_false(g_str_has_prefix(device(config, 4)->serial.log_path, rig->bundle));
    assert_false(device(config, 5)->sound.input);
    vmc_config_free(config);
}

static void assert_lies_on(const VmcDeviceConfig *disk, const char *base, const char *format)
{
    VmcDiskInfo info;

    assert_int_equal(disk->block.format, VMC_DISK_QCOW2);
    assert_true(disk->block.backing);
    assert_true(vmc_disk_info(disk->block.path, "qcow2", &info, NULL));
    assert_string_equal(info.backing, base);
    assert_string_equal(info.backing_format, format);
    assert_int_equal(info.size, 1 << 20);
    vmc_disk_info_clear(&info);
}

static void test_disks_have_a_layer_on_top(void **state)
{
    Rig *rig = *state;
    VmcConfig *config = isolate(rig);

    assert_lies_on(device(config, 0), rig->raw, "raw");
    assert_lies_on(device(config, 1), rig->qcow2, "qcow2");
    vmc_config_free(config);
}

static void test_what_changed_lasts_until_it_is_thrown_away(void **state)
{
    Rig *rig = *state;
    VmcConfig *first, *second;
    struct stat before, after;

    assert_false(esp_isolated_has_changes(rig->bundle));
    first = isolate(rig);
    assert_true(esp_isolated_has_changes(rig->bundle));
    assert_int_equal(stat(device(first, 0)->block.path, &before), 0);
    second = isolate(rig);
    assert_int_equal(stat(device(second, 0)->block.path, &after), 0);
    assert_true(before.st_ino == after.st_ino);
    assert_true(esp_isolated_throw_away(rig->bundle, NULL));
    assert_false(esp_isolated_has_changes(rig->bundle));
    assert_true(access(device(first, 0)->block.path, F_OK) < 0);
    assert_int_equal(access(rig->raw, F_OK), 0);
    assert_true(esp_isolated_throw_away(rig->bundle, NULL)); /* again is fine */
    vmc_config_free(first);
    vmc_config_free(second);
}

static void test_a_disk_that_changed_below_is_refused(void **state)
{
    Rig *rig = *state;
    VmcConfig *config = isolate(rig);
    GError *error = NULL;

    vmc_config_free(config);
    assert_true(g_file_set_contents(rig->raw, "other", -1, NULL));
    config = machine(rig);
    assert_false(esp_isolated_apply(config, rig->bundle, &error));
    assert_non_null(strstr(error->message, "has changed"));
    g_error_free(error);
    vmc_config_free(config);
    assert_true(esp_isolated_throw_away(rig->bundle, NULL));
}

static void test_the_firmwares_memory_is_a_copy(void **state)
{
    Rig *rig = *state;
    VmcConfig *config = machine(rig);
    g_autofree char *store = g_build_filename(rig->bundle, "nvram.fd", NULL);
    g_autofree char *copied = NULL;

    assert_true(g_file_set_contents(store, "variables", -1, NULL));
    config->boot.kind = VMC_BOOT_EFI;
    config->boot.variable_store = g_strdup(store);
    assert_true(esp_isolated_apply(config, rig->bundle, NULL));
    assert_string_not_equal(config->boot.variable_store, store);
    assert_true(g_file_get_contents(config->boot.variable_store, &copied, NULL, NULL));
    assert_string_equal(copied, "variables");
    vmc_config_free(config);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_ways_out_are_gone),
        TEST(test_disks_have_a_layer_on_top),
        TEST(test_what_changed_lasts_until_it_is_thrown_away),
        TEST(test_a_disk_that_changed_below_is_refused),
        TEST(test_the_firmwares_memory_is_a_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
