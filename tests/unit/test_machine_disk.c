/* A machine and its disks: one is made larger while it runs, one for which the host has no room pauses it,
 * and all of them are kept as they are at one moment. */
#include "machine/private.h"
#include "tests/unit/tiny_kernel.h"
#include "vmcore/disk.h"
#include "vmcore/vmcore.h"

#include <glib/gstdio.h>
#include <sys/stat.h>

#define MIB         (1 << 20)
#define SECONDS_MAX 20

typedef struct Rig {
    char *dir, *disk;
    VmcMachine *machine;
    unsigned attentions;
    gboolean paused;
    int state; /* of the machine when it came */
    char *why;
} Rig;

static void on_attention(VmcMachine *machine, const char *why, gboolean paused, gpointer data)
{
    Rig *rig = data;

    rig->attentions++;
    rig->paused = paused;
    rig->state = (int)vmc_machine_get_state(machine);
    g_free(rig->why);
    rig->why = g_strdup(why);
}

/* A guest that does nothing, with a disk of 1 MiB as its first device. */
static int set_up(void **state)
{
    Rig *rig = g_new0(Rig, 1);
    TinyCode code = {0};
    GError *error = NULL;

    TINY(&code, 0xf4, 0xeb, 0xfd); /* hlt; jmp to it */
    rig->dir = tiny_dir();
    rig->disk = g_build_filename(rig->dir, "disk.img", NULL);
    char *zeroes = g_malloc0(MIB);
    tiny_write_file(rig->disk, zeroes, MIB);
    g_free(zeroes);
    VmcConfig *config = vmc_config_new();
    config->memory = 16ull << 20;
    config->cpu = VMC_CPU_SOFT;
    config->boot.kind = VMC_BOOT_LINUX;
    config->boot.kernel = tiny_kernel(rig->dir, "kernel", &code);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_BLOCK)->block.path = g_strdup(rig->disk);
    vmc_config_add_device(config, VMC_DEVICE_VIRTIO_RNG);
    rig->machine = vmc_machine_new(config, &error);
    vmc_config_free(config);
    assert_null(error);
    g_signal_connect(rig->machine, "attention", G_CALLBACK(on_attention), rig);
    assert_true(vmc_machine_start(rig->machine, &error));
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    Rig *rig = *state;

    g_object_unref(rig->machine);
    g_free(rig->disk);
    g_free(rig->why);
    tiny_dir_remove(rig->dir);
    g_free(rig);
    return 0;
}

static bool resize(Rig *rig, const char *mib, GError **error)
{
    const char *const arguments[] = {mib, NULL};
    g_autofree char *reply = vmc_machine_act(rig->machine, 0, "resize", arguments, error);

    return reply;
}

static void expect_size(Rig *rig, off_t size)
{
    struct stat st;

    assert_int_equal(stat(rig->disk, &st), 0);
    assert_int_equal(st.st_size, size);
}

static void test_resize(void **state)
{
    Rig *rig = *state;
    GError *error = NULL;

    assert_true(resize(rig, "3", &error));
    expect_size(rig, 3 * MIB);
    assert_true(vmc_machine_pause(rig->machine, NULL));
    assert_true(resize(rig, "4", &error));
    expect_size(rig, 4 * MIB);
    const char *const wrong[] = {"2", "0", "-5", "many", "", "99999999999999999999", "17592186044416"};
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        assert_false(resize(rig, wrong[i], &error));
        assert_non_null(error);
        g_clear_error(&error);
    }
    expect_size(rig, 4 * MIB);
    vmc_machine_stop(rig->machine);
    assert_false(resize(rig, "5", &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_STATE));
    g_clear_error(&error);
}

/* ---- no room ---- */

static void tell(void *data)
{
    const VmcHostHooks *hooks = data;

    hooks->attention(hooks->opaque, "Disk “x” has no room");
}

/* As a device does it, on the I/O thread. */
static void tell_the_machine(Rig *rig)
{
    vmc_io_call_sync(rig->machine->guest->io, tell, &rig->machine->guest->hooks);
}

static void await_attention(Rig *rig, unsigned n)
{
    gint64 end = g_get_monotonic_time() + SECONDS_MAX * G_TIME_SPAN_SECOND;

    while (rig->attentions < n) {
        g_main_context_iteration(NULL, FALSE);
        assert_true(g_get_monotonic_time() < end);
    }
}

static void test_attention_pauses(void **state)
{
    Rig *rig = *state;

    tell_the_machine(rig);
    assert_int_equal(rig->attentions, 0); /* signals come on the owner's thread */
    await_attention(rig, 1);
    assert_true(rig->paused);
    assert_int_equal(rig->state, VMC_MACHINE_PAUSED);
    assert_string_equal(rig->why, "Disk “x” has no room");
    tell_the_machine(rig);
    await_attention(rig, 2);
    assert_false(rig->paused); /* it was already */
    assert_true(vmc_machine_resume(rig->machine, NULL));
    assert_int_equal(vmc_machine_get_state(rig->machine), VMC_MACHINE_RUNNING);
}

/* What an earlier run had to say does not pause the next. */
static void test_attention_of_an_earlier_run(void **state)
{
    Rig *rig = *state;

    tell_the_machine(rig);
    vmc_machine_stop(rig->machine);
    assert_true(vmc_machine_start(rig->machine, NULL));
    for (unsigned i = 0; i < 50; i++)
        g_main_context_iteration(NULL, FALSE);
    assert_int_equal(rig->attentions, 0);
    assert_int_equal(vmc_machine_get_state(rig->machine), VMC_MACHINE_RUNNING);
}

/* ---- all disks at one moment ---- */

static char *make_qcow2(Rig *rig, const char *name)
{
    char *path = g_build_filename(rig->dir, name, NULL);

    assert_true(vmc_disk_create(path, "qcow2", &(VmcDiskCreate){.size = MIB}, NULL));
    return path;
}

static void add_disk(VmcConfig *config, VmcDeviceKind kind, const char *path, VmcDiskFormat format,
                     bool readonly)
{
    VmcDeviceConfig *device = vmc_config_add_device(config, kind);

    device->block.path = g_strdup(path);
    device->block.format = format;
    device->block.readonly = readonly;
}

/* Starts another machine in place of the first, with two qcow2 disks of different kinds and a raw one. */
static void restart_with_disks(Rig *rig, const char *a, const char *b, bool raw_readonly)
{
    VmcConfig *config = vmc_config_copy(vmc_machine_get_config(rig->machine));
    GError *error = NULL;

    g_object_unref(rig->machine);
    g_ptr_array_set_size(config->devices, 0);
    add_disk(config, VMC_DEVICE_VIRTIO_BLOCK, a, VMC_DISK_QCOW2, false);
    add_disk(config, VMC_DEVICE_VIRTIO_BLOCK, rig->disk, VMC_DISK_RAW, raw_readonly);
    add_disk(config, VMC_DEVICE_NVME, b, VMC_DISK_QCOW2, false);
    rig->machine = vmc_machine_new(config, &error);
    vmc_config_free(config);
    assert_null(error);
    assert_true(vmc_machine_start(rig->machine, &error));
}

static unsigned snapshots_of(const char *path)
{
    g_autoptr(GPtrArray) list = vmc_snapshots_list(path, NULL);

    return list->len;
}

static void refused(Rig *rig, const char *name, const char *what)
{
    GError *error = NULL;

    assert_false(vmc_machine_take_snapshot(rig->machine, name, &error));
    if (!strstr(error->message, what))
        fail_msg("“%s” should say “%s”", error->message, what);
    g_error_free(error);
    assert_int_equal(vmc_machine_get_state(rig->machine), VMC_MACHINE_RUNNING);
}

static void test_snapshot_of_all_disks(void **state)
{
    Rig *rig = *state;
    g_autofree char *a = make_qcow2(rig, "a.qcow2"), *b = make_qcow2(rig, "b.qcow2");
    GError *error = NULL;

    restart_with_disks(rig, a, b, true);
    assert_true(vmc_machine_take_snapshot(rig->machine, "first", &error));
    assert_int_equal(vmc_machine_get_state(rig->machine), VMC_MACHINE_RUNNING);
    assert_true(vmc_machine_pause(rig->machine, NULL));
    assert_true(vmc_machine_take_snapshot(rig->machine, "second", &error));
    assert_int_equal(vmc_machine_get_state(rig->machine), VMC_MACHINE_PAUSED);
    assert_int_equal(snapshots_of(a), 2);
    assert_int_equal(snapshots_of(b), 2);
    /* The same configuration serves for the next start: what lies below the disks now is their own. */
    vmc_machine_stop(rig->machine);
    assert_true(vmc_machine_start(rig->machine, &error));
    vmc_machine_stop(rig->machine);
    assert_false(vmc_machine_take_snapshot(rig->machine, "third", &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_STATE));
    g_error_free(error);
}

static void test_snapshot_of_all_disks_or_none(void **state)
{
    Rig *rig = *state;
    g_autofree char *a = make_qcow2(rig, "a.qcow2"), *b = make_qcow2(rig, "b.qcow2");

    assert_true(vmc_snapshot_take(b, "taken", NULL));
    restart_with_disks(rig, a, b, true);
    refused(rig, "taken", "already has a snapshot “taken”");
    refused(rig, "", "name");
    restart_with_disks(rig, a, b, false);
    refused(rig, "now", "is a raw image");
    assert_int_equal(snapshots_of(a), 0);
    assert_int_equal(snapshots_of(b), 1);
}

static void test_snapshot_that_fails_on_the_way(void **state)
{
    Rig *rig = *state;
    g_autofree char *a = make_qcow2(rig, "a.qcow2"), *b = make_qcow2(rig, "b.qcow2");
    g_autofree char *index = g_build_filename(rig->dir, "b.snapshots", NULL);

    assert_int_equal(g_mkdir(index, 0700), 0); /* where the names are to be written */
    restart_with_disks(rig, a, b, true);
    refused(rig, "half", "a.qcow2” took it");
    assert_int_equal(snapshots_of(a), 1);
    assert_int_equal(snapshots_of(b), 0);
    assert_int_equal(g_rmdir(index), 0);
    assert_true(vmc_machine_take_snapshot(rig->machine, "whole", NULL));
    assert_int_equal(snapshots_of(a), 2);
    assert_int_equal(snapshots_of(b), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_resize, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_attention_pauses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_attention_of_an_earlier_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_snapshot_of_all_disks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_snapshot_of_all_disks_or_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_snapshot_that_fails_on_the_way, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
