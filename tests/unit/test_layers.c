/* Snapshots of disks: taken, gone back to, deleted wherever they are in the chain, cloned; while the disk is
 * used, and cut off in between. */
#include "tests/unit/qcow2_rig.h"

#include <signal.h>
#include <sys/wait.h>

#include "block/layers.h"

#define SIZE (2u << 20)

typedef struct Model {
    uint8_t bytes[SIZE];
} Model;

static char *names[] = {"one", "two", "three", "four"};

static void good(bool result, GError *error)
{
    if (!result)
        fail_msg("%s", error ? error->message : "no error");
}

#define GOOD(call)                                                                                           \
    do {                                                                                                     \
        GError *error = NULL;                                                                                \
        good(call, error);                                                                                   \
    } while (0)

#define REFUSED(call, what)                                                                                  \
    do {                                                                                                     \
        GError *error = NULL;                                                                                \
        assert_false(call);                                                                                  \
        if (!strstr(error->message, what) || strchr(error->message, '\n'))                                   \
            fail_msg("“%s” should say “%s”", error->message, what);                                          \
        g_error_free(error);                                                                                 \
    } while (0)

/* Writes in several places, zeroes others, in the disk and in the model. */
static void change(VmcDisk *disk, Model *model, uint32_t seed)
{
    GRand *rand = g_rand_new_with_seed(seed);

    for (unsigned i = 0; i < 12; i++) {
        size_t offset = (size_t)g_rand_int_range(rand, 0, SIZE / 512) * 512;
        size_t len = (size_t)g_rand_int_range(rand, 1, 200) * 512;
        len = MIN(len, SIZE - offset);
        if (i % 4 == 3) {
            memset(model->bytes + offset, 0, len);
            assert_int_equal(vmc_disk_write_zeroes(disk, offset, len, true), 0);
        } else {
            rig_random(model->bytes + offset, len, g_rand_int(rand));
            rig_write(disk, offset, model->bytes + offset, len);
        }
    }
    g_rand_free(rand);
}

static void change_path(const char *path, Model *model, uint32_t seed)
{
    VmcDisk *disk = rig_open(path, "qcow2", false, true);

    change(disk, model, seed);
    vmc_disk_close(disk);
}

static void check(const Rig *rig, const char *path, const Model *model)
{
    VmcDisk *disk = rig_open(path, "qcow2", true, true);

    rig_compare(disk, model->bytes, SIZE);
    vmc_disk_close(disk);
    rig_run(rig, "qemu-img check -f qcow2 '%s'", path);
}

/* Four snapshots below each other; models[i] is what number i kept, models[4] what the disk is. */
static char *make_chain(const Rig *rig, Model *models)
{
    char *path = rig_path(rig, "disk.qcow2");

    GOOD(vmc_disk_create(path, "qcow2", &(VmcDiskCreate){.size = SIZE, .cluster_size = 4096}, &error));
    memset(&models[0], 0, sizeof(models[0]));
    for (unsigned i = 0; i < 4; i++) {
        change_path(path, &models[i], i);
        GOOD(vmc_snapshot_take(path, names[i], &error));
        models[i + 1] = models[i];
    }
    change_path(path, &models[4], 4);
    return path;
}

static void test_take_and_list(void **state)
{
    const Rig *rig = *state;
    g_autofree Model *models = g_new(Model, 5);
    char *path = make_chain(rig, models);

    check(rig, path, &models[4]);
    g_autoptr(GPtrArray) list = vmc_snapshots_list(path, NULL);
    assert_int_equal(list->len, 4);
    for (unsigned i = 0; i < 4; i++) {
        const VmcSnapshot *s = g_ptr_array_index(list, i);
        assert_string_equal(s->name, names[i]);
        assert_int_equal(s->number, i + 1);
        assert_int_equal(s->parent, i);
        assert_int_equal(s->current, i == 3);
        check(rig, s->path, &models[i]);
    }
    REFUSED(vmc_snapshot_take(path, "two", &error), "already has a snapshot");
    REFUSED(vmc_snapshot_take(path, "", &error), "name");
    REFUSED(vmc_snapshot_go_back(path, "five", &error), "no snapshot “five”");
    VmcDisk *disk = rig_open(path, "qcow2", false, true);
    REFUSED(vmc_snapshot_take(path, "now", &error), "in use");
    REFUSED(vmc_snapshot_go_back(path, "one", &error), "in use");
    REFUSED(vmc_snapshot_delete(path, "one", &error), "in use");
    vmc_disk_close(disk);
    assert_int_equal(rig_count(rig), 6); /* disk, four layers, their names */
    check(rig, path, &models[4]);
    rig_run(rig, "qemu-img info --backing-chain disk.qcow2 | grep -c '^image:' | grep -qx 5");
}

static void test_go_back_and_branch(void **state)
{
    const Rig *rig = *state;
    g_autofree Model *models = g_new(Model, 5);
    g_autofree Model *branch = g_new(Model, 1);
    char *path = make_chain(rig, models);

    GOOD(vmc_snapshot_go_back(path, "two", &error));
    check(rig, path, &models[1]);
    *branch = models[1];
    change_path(path, branch, 30);
    GOOD(vmc_snapshot_take(path, "branch", &error));
    GOOD(vmc_snapshot_go_back(path, "four", &error));
    check(rig, path, &models[3]);
    /* Two lie on it: both are given what they need. */
    GOOD(vmc_snapshot_delete(path, "two", &error));
    check(rig, path, &models[3]);
    GOOD(vmc_snapshot_go_back(path, "branch", &error));
    check(rig, path, branch);
    GOOD(vmc_snapshot_go_back(path, "three", &error));
    check(rig, path, &models[2]);
}

static void test_delete_each(void **state)
{
    static const unsigned orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 1, 3}};
    const Rig *rig = *state;
    g_autofree Model *models = g_new(Model, 5);

    for (unsigned o = 0; o < G_N_ELEMENTS(orders); o++) {
        char *path = make_chain(rig, models);
        bool there[4] = {true, true, true, true};
        for (unsigned i = 0; i < 4; i++) {
            GOOD(vmc_snapshot_delete(path, names[orders[o][i]], &error));
            there[orders[o][i]] = false;
            check(rig, path, &models[4]);
            g_autoptr(GPtrArray) list = vmc_snapshots_list(path, NULL);
            assert_int_equal(list->len, 3 - i);
            for (guint k = 0; k < list->len; k++) {
                const VmcSnapshot *s = g_ptr_array_index(list, k);
                assert_true(there[s->number - 1]);
                check(rig, s->path, &models[s->number - 1]);
            }
        }
        VmcDisk *alone = rig_open(path, "qcow2", true, false); /* nothing below any more */
        vmc_disk_close(alone);
        rig_run(rig, "rm disk.*");
    }
}

/* Without permission for what lies below, which a disk needs no more for having been kept. */
static void test_own_layers_need_no_permission(void **state)
{
    const Rig *rig = *state;
    g_autofree Model *models = g_new(Model, 5);
    char *path = make_chain(rig, models), *clone = rig_path(rig, "clone.qcow2");
    VmcDiskOpen alone = {.path = path, .format = "qcow2", .readonly = true};

    vmc_disk_close(rig_open(path, "qcow2", true, false));
    GOOD(vmc_disk_clone(path, "qcow2", "two", clone, &error));
    alone.path = clone; /* another disk's layer */
    REFUSED(vmc_disk_open(&alone, &error), "may only be used where that is allowed");
    GOOD(vmc_snapshot_take(clone, "own", &error)); /* its own, and below that another disk's */
    REFUSED(vmc_disk_open(&alone, &error), "may only be used where that is allowed");

    assert_true(vmc_disk_is_layer_of("/x/disk.qcow2", "disk.snapshot-1.qcow2"));
    assert_true(vmc_disk_is_layer_of("/x/disk.snapshot-12.qcow2", "disk.snapshot-3.qcow2"));
    assert_true(vmc_disk_is_layer_of("disk", "disk.snapshot-1.qcow2"));
    static const char *const others[] = {"disk.qcow2",
                                         "disc.snapshot-1.qcow2",
                                         "disk.snapshot-0.qcow2",
                                         "/x/disk.snapshot-1.qcow2",
                                         "../disk.snapshot-1.qcow2",
                                         "disk.snapshot-1.raw",
                                         "disk.snapshot-.qcow2",
                                         "disk.snapshot-1.qcow2.img",
                                         ""};
    for (unsigned i = 0; i < G_N_ELEMENTS(others); i++)
        assert_false(vmc_disk_is_layer_of("/x/disk.qcow2", others[i]));
}

static void test_clones(void **state)
{
    const Rig *rig = *state;
    g_autofree Model *models = g_new(Model, 5);
    g_autofree Model *copy = g_new(Model, 1);
    char *path = make_chain(rig, models), *clone = rig_path(rig, "clone.qcow2");

    GOOD(vmc_disk_clone(path, "qcow2", "two", clone, &error));
    check(rig, clone, &models[1]);
    *copy = models[1];
    change_path(clone, copy, 40);
    change_path(path, &models[4], 41);
    check(rig, clone, copy);
    check(rig, path, &models[4]);
    REFUSED(vmc_snapshot_delete(path, "two", &error), "clone.qcow2");
    REFUSED(vmc_disk_clone(path, "qcow2", "two", clone, &error), "there already");
    g_remove(clone);
    GOOD(vmc_snapshot_delete(path, "two", &error));
    GOOD(vmc_disk_clone(path, "qcow2", NULL, clone, &error)); /* as it is now */
    check(rig, clone, &models[4]);

    rig_save(rig_path(rig, "base.img"), models[4].bytes, SIZE);
    char *over = rig_path(rig, "over.qcow2");
    GOOD(vmc_disk_clone(rig_path(rig, "base.img"), "raw", NULL, over, &error));
    check(rig, over, &models[4]);
    struct stat st;
    assert_int_equal(stat(rig_path(rig, "base.img"), &st), 0);
    assert_int_equal(st.st_mode & 0222, 0);
}

/* The disk of a running machine. */
static void test_take_while_open(void **state)
{
    const Rig *rig = *state;
    char *path = rig_path(rig, "disk.qcow2");
    g_autofree Model *models = g_new0(Model, 3);

    GOOD(vmc_disk_create(path, "qcow2", &(VmcDiskCreate){.size = SIZE}, &error));
    VmcDisk *disk = rig_open(path, "qcow2", false, true);
    for (unsigned i = 0; i < 3; i++) {
        change(disk, &models[i], 50 + i);
        if (i < 2) {
            GOOD(vmc_disk_take_snapshot(disk, names[i], &error));
            models[i + 1] = models[i];
        }
        rig_compare(disk, models[i].bytes, SIZE);
    }
    REFUSED(vmc_disk_take_snapshot(disk, "one", &error), "already");
    rig_refused(path, false, true, "in use");
    vmc_disk_close(disk);
    check(rig, path, &models[2]);
    GOOD(vmc_snapshot_go_back(path, "one", &error));
    check(rig, path, &models[0]);
    GOOD(vmc_snapshot_go_back(path, "two", &error));
    check(rig, path, &models[1]);
}

/* What a killed process left between two renames does not confuse the next one. */
static void test_cut_off(void **state)
{
    const Rig *rig = *state;
    g_autofree Model *models = g_new(Model, 5);
    char *path = make_chain(rig, models);

    rig_run(rig, "ln disk.qcow2 disk.snapshot-5.qcow2");
    g_autoptr(GPtrArray) list = vmc_snapshots_list(path, NULL);
    assert_int_equal(list->len, 4);
    check(rig, path, &models[4]);
    GOOD(vmc_snapshot_take(path, "five", &error));
    check(rig, path, &models[4]);
    change_path(path, &models[4], 60);
    GOOD(vmc_snapshot_delete(path, "five", &error));
    check(rig, path, &models[4]);
}

/* Killed at any moment of a merge: the disk and the other snapshots are what they were. */
static void test_killed_while_deleting(void **state)
{
    const Rig *rig = *state;
    g_autofree Model *models = g_new(Model, 5);
    GRand *rand = g_rand_new_with_seed(70);

    for (unsigned round = 0; round < 6; round++) {
        char *path = make_chain(rig, models);
        pid_t pid = fork();
        if (!pid)
            _exit(vmc_snapshot_delete(path, "two", NULL) ? 0 : 1);
        g_usleep((gulong)g_rand_int_range(rand, 100, 12000));
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        VmcDisk *disk = rig_open(path, "qcow2", false, true);
        rig_compare(disk, models[4].bytes, SIZE);
        vmc_disk_close(disk);
        GOOD(vmc_snapshot_go_back(path, "three", &error));
        check(rig, path, &models[2]);
        rig_run(rig, "rm -f disk.*");
    }
    g_rand_free(rand);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_take_and_list, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_go_back_and_branch, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_delete_each, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_own_layers_need_no_permission, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_clones, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_take_while_open, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_cut_off, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_killed_while_deleting, rig_setup, rig_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
