/* For tests that work on whole machines: bundles with real disks in a folder of their own, and jobs run to
 * their end. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmcore/disk.h>

#include "app/bundle.h"
#include "app/job.h"
#include "block/disk.h"
#include "folder.h"

#define RIG_DISK_BYTES (8u << 20)

static char *rig_dir; /* the library of the test */

static inline int rig_setup(void **state)
{
    rig_dir = g_dir_make_tmp("espalier-machines-XXXXXX", NULL);
    return rig_dir ? 0 : -1;
}

static inline int rig_teardown(void **state)
{
    remove_folder(rig_dir);
    g_clear_pointer(&rig_dir, g_free);
    return 0;
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

/* `error` is that of the call which is the first argument. */
static inline void rig_good(bool result, GError **error)
{
    if (!result)
        fail_msg("%s", *error ? (*error)->message : "it failed without an error");
    if (*error)
        fail_msg("it succeeded with an error: %s", (*error)->message);
}

/* One sentence with `what` in it; the error is cleared for the next call. */
static inline void rig_refused(bool result, GError **error, const char *what)
{
    if (result || !*error)
        fail_msg("it should have been refused with “%s”", what);
    if (!strstr((*error)->message, what))
        fail_msg("“%s” should say “%s”", (*error)->message, what);
    g_clear_error(error);
}

static inline char *rig_path(const char *a, const char *b)
{
    return g_build_filename(rig_dir, a, b, NULL);
}

/* A machine of a name with a disk (`format`), an address, a log and a variable store; its path. */
static inline char *rig_machine(const char *name, VmcDiskFormat format)
{
    GError *error = NULL;
    g_autoptr(EspBundle) bundle = esp_bundle_new(rig_dir, name, &error);
    VmcConfig *config = vmc_config_new();
    const VmcDiskCreate params = {.size = RIG_DISK_BYTES};
    g_autofree char *disk = NULL, *log = NULL, *variables = NULL, *other = NULL;

    rig_good(bundle != NULL, &error);
    disk = esp_bundle_file(bundle, format == VMC_DISK_QCOW2 ? "disk.qcow2" : "disk.img");
    log = esp_bundle_file(bundle, "serial.log");
    variables = esp_bundle_file(bundle, "nvram.fd");
    other = esp_bundle_file(bundle, "notes.txt");
    rig_good(vmc_disk_create(disk, format == VMC_DISK_QCOW2 ? "qcow2" : "raw", &params, &error), &error);
    assert_true(g_file_set_contents(log, "old words", -1, NULL));
    assert_true(g_file_set_contents(variables, "first variables", -1, NULL));
    assert_true(g_file_set_contents(other, "mine", -1, NULL));

    config->boot.kind = VMC_BOOT_EFI;
    config->boot.variable_store = g_strdup(variables);
    VmcDeviceConfig *device = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BLOCK);
    device->block.path = g_strdup(disk);
    device->block.format = format;
    device = vmc_config_add_device(config, VMC_DEVICE_VIRTIO_NET);
    device->net.nat = true;
    device->net.mac = g_strdup("52:54:00:01:02:03");
    vmc_config_add_device(config, VMC_DEVICE_UART)->serial.log_path = g_strdup(log);
    esp_bundle_set_config(bundle, config);
    vmc_config_free(config);
    rig_good(esp_bundle_publish(bundle, &error), &error);
    return g_strdup(esp_bundle_get_path(bundle));
}

/* A disk of a bundle's that opens as it does for a machine. */
static inline VmcDisk *rig_open(const char *bundle, bool readonly)
{
    GError *error = NULL;
    g_autofree char *qcow2 = g_build_filename(bundle, "disk.qcow2", NULL);
    g_autofree char *raw = g_build_filename(bundle, "disk.img", NULL);
    bool is_qcow2 = g_file_test(qcow2, G_FILE_TEST_EXISTS);
    const VmcDiskOpen params = {.path = is_qcow2 ? qcow2 : raw,
                                .format = is_qcow2 ? "qcow2" : "raw",
                                .readonly = readonly,
                                .backing = true};
    VmcDisk *disk = vmc_disk_open(&params, &error);

    rig_good(disk != NULL, &error);
    return disk;
}

/* A block of one letter at a place, as a guest writes it. */
static inline void rig_write(const char *bundle, uint64_t offset, char letter)
{
    VmcDisk *disk = rig_open(bundle, false);
    char block[4096];
    struct iovec iov = {block, sizeof(block)};

    memset(block, letter, sizeof(block));
    assert_int_equal(vmc_disk_write(disk, offset, &iov, 1), 0);
    assert_int_equal(vmc_disk_flush(disk), 0);
    vmc_disk_close(disk);
}

static inline char rig_read(const char *bundle, uint64_t offset)
{
    VmcDisk *disk = rig_open(bundle, true);
    char block[4096];
    struct iovec iov = {block, sizeof(block)};

    assert_int_equal(vmc_disk_read(disk, offset, &iov, 1), 0);
    vmc_disk_close(disk);
    return block[0];
}

static inline void rig_on_finished(EspJob *job, GMainLoop *loop)
{
    g_main_loop_quit(loop);
}

/* Waits for a job and gives its reference up; true if it succeeded. `error` may be NULL. */
static inline bool rig_await(EspJob *job, GError **error)
{
    GMainLoop *loop = g_main_loop_new(NULL, FALSE);

    g_signal_connect(job, "finished", G_CALLBACK(rig_on_finished), loop);
    g_main_loop_run(loop);
    g_main_loop_unref(loop);
    if (error && esp_job_get_error(job))
        *error = g_error_copy(esp_job_get_error(job));
    bool good = esp_job_get_state(job) == ESP_JOB_SUCCEEDED;
    g_object_unref(job);
    return good;
}

/* All that is in the library, hidden or not. */
static inline unsigned rig_entries(void)
{
    GDir *dir = g_dir_open(rig_dir, 0, NULL);
    unsigned n = 0;

    while (g_dir_read_name(dir))
        n++;
    g_dir_close(dir);
    return n;
}

static inline bool rig_has(const char *bundle, const char *name)
{
    g_autofree char *path = g_build_filename(bundle, name, NULL);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static inline char *rig_text(const char *bundle, const char *name)
{
    g_autofree char *path = g_build_filename(bundle, name, NULL);
    char *text = NULL;

    g_file_get_contents(path, &text, NULL, NULL);
    return text;
}

static inline VmcConfig *rig_config(const char *bundle_path)
{
    GError *error = NULL;
    g_autoptr(EspBundle) bundle = esp_bundle_open(bundle_path, &error);
    VmcConfig *config = bundle ? esp_bundle_get_config(bundle, &error) : NULL;

    rig_good(config != NULL, &error);
    return config;
}

static inline char *rig_mac(const char *bundle_path)
{
    VmcConfig *config = rig_config(bundle_path);
    char *mac = NULL;

    for (guint i = 0; i < config->devices->len; i++) {
        const VmcDeviceConfig *device = config->devices->pdata[i];
        if (device->kind == VMC_DEVICE_VIRTIO_NET)
            mac = g_strdup(device->net.mac);
    }
    vmc_config_free(config);
    return mac;
}
