/* A machine and its disks: one is made larger while it runs, and one for which the host has no room pauses
 * it. */
#include "machine/private.h"
#include "tests/unit/tiny_kernel.h"
#include "vmcore/vmcore.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_resize, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_attention_pauses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_attention_of_an_earlier_run, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
