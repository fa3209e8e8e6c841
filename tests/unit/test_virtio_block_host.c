/*
 * virtio-blk and the host's side of a disk: what happens when the host has no room, when a file fails, and
 * when the disk is made larger.
 */
#include "tests/unit/block_rig.h"
#include "tests/unit/full_disk.h"

#include <sys/stat.h>

/* ---- errors ---- */

static void test_an_error_is_told_once(void **state)
{
    Heard *heard = heard_new();
    Block *b = block_new_with(&(BlockOptions){.hooks = &heard->hooks});

    bring_up(b, FEATURES);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, SECTORS, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(heard->logs, 0); /* the guest's own mistake */
    assert_int_equal(truncate(b->path, 10 * 512), 0);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 20, 512), VIRTIO_BLK_S_IOERR);
    await_heard(heard, &heard->logs, 1);
    expect_sentence(heard, b->path, "Reading from disk");
    expect_sentence(heard, b->path, g_strerror(EIO));
    expect_sentence(heard, b->path, "byte 10240");
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(request(b, VIRTIO_BLK_T_IN, 20, 512), VIRTIO_BLK_S_IOERR);
    assert_int_equal(heard->logs, 1);
    assert_int_equal(heard->attentions, 0);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 9, 512), VIRTIO_BLK_S_OK);
    block_end(b);
    heard_free(heard);
}

/* ---- no room ---- */

typedef struct Full {
    Heard *heard;
    Block *b;
} Full;

/* A disk of which nothing has been written yet, on a host's disk that is full. */
static int setup_full(void **state)
{
    if (!small_folder)
        return 0;
    Full *full = g_new0(Full, 1);
    full->heard = heard_new();
    full->b =
        block_new_with(&(BlockOptions){.folder = small_folder, .sparse = true, .hooks = &full->heard->hooks});
    bring_up(full->b, FEATURES | 1ull << VIRTIO_BLK_F_WRITE_ZEROES);
    fill_small_disk();
    *state = full;
    return 0;
}

static int teardown_full(void **state)
{
    Full *full = *state;

    if (!full)
        return 0;
    block_end(full->b);
    heard_free(full->heard);
    g_free(full);
    g_autofree char *path = ballast_path();
    g_remove(path);
    return 0;
}

static Full *full_of(void **state)
{
    if (!*state) {
        print_message("no small file system can be mounted here\n");
        skip();
    }
    return *state;
}

static void send_write(Block *b, uint64_t sector, uint8_t what)
{
    memset(rig_host(&b->rig, b->data, 4096), what, 4096);
    send_request(b, 0, VIRTIO_BLK_T_OUT, sector, 4096);
}

static bool has_come_back(Block *b)
{
    struct vring_used_elem elem;

    return rig_wait_used(&b->rig, &b->rig.queues[0], &elem, G_TIME_SPAN_MILLISECOND);
}

static void test_a_write_without_room_waits(void **state)
{
    Full *full = full_of(state);
    Block *b = full->b;

    send_write(b, 8, 0xaa);
    await_heard(full->heard, &full->heard->attentions, 1);
    expect_sentence(full->heard, b->path, "no room");
    assert_false(has_come_back(b));
    /* Still no room: the user hears of it again, the guest of nothing. */
    vmc_pci_bus_resumed(b->rig.pci);
    await_heard(full->heard, &full->heard->attentions, 2);
    assert_false(has_come_back(b));
    make_room();
    vmc_pci_bus_resumed(b->rig.pci);
    assert_int_equal(await_request(b, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, 8192), VIRTIO_BLK_S_OK);
    expect_all(rig_host(&b->rig, b->data, 4096), 0, 4096);
    expect_all(rig_host(&b->rig, b->data + 4096, 4096), 0xaa, 4096);
    assert_int_equal(full->heard->attentions, 2);
    assert_int_equal(full->heard->logs, 0);
}

static void test_reads_go_on_meanwhile(void **state)
{
    Full *full = full_of(state);
    Block *b = full->b;
    Rig *rig = &b->rig;

    send_write(b, 0, 0xbb);
    await_heard(full->heard, &full->heard->attentions, 1);
    uint64_t header = rig_alloc(rig, 16), data = rig_alloc(rig, 512), status = rig_alloc(rig, 1);
    RigBuffer buffers[3] = {{header, 16}, {data, 512}, {status, 1}};
    put_header(rig, header, VIRTIO_BLK_T_IN, 40);
    unsigned head = rig_add(rig, &rig->queues[0], buffers, 1, 2);
    rig_kick(rig, &rig->queues[0]);
    assert_int_equal(rig_used(rig, &rig->queues[0]).id, head);
    assert_int_equal(*(uint8_t *)rig_host(rig, status, 1), VIRTIO_BLK_S_OK);
    make_room();
    vmc_pci_bus_resumed(rig->pci);
    assert_int_equal(await_request(b, 0), VIRTIO_BLK_S_OK);
}

/* Many writes, one message; all of them are done in the end. */
static void test_many_writes_one_message(void **state)
{
    Full *full = full_of(state);
    Block *b = full->b;
    Rig *rig = &b->rig;
    uint64_t area = rig_alloc(rig, 8 * 8192);

    for (unsigned i = 0; i < 8; i++) {
        uint64_t at = area + i * 8192;
        RigBuffer buffers[3] = {{at, 16}, {at + 4096, 4096}, {at + 16, 1}};
        put_header(rig, at, VIRTIO_BLK_T_OUT, i * 8);
        memset(rig_host(rig, at + 4096, 4096), (int)i + 1, 4096);
        rig_add(rig, &rig->queues[0], buffers, 2, 1);
    }
    rig_kick(rig, &rig->queues[0]);
    await_heard(full->heard, &full->heard->attentions, 1);
    make_room();
    for (unsigned back = 0; back < 8;) {
        struct vring_used_elem elem;
        vmc_pci_bus_resumed(rig->pci); /* some may have failed after the last one */
        while (back < 8 && rig_wait_used(rig, &rig->queues[0], &elem, 20 * G_TIME_SPAN_MILLISECOND))
            back++;
    }
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, SECTORS * 512), VIRTIO_BLK_S_OK);
    for (unsigned i = 0; i < 8; i++)
        expect_all(rig_host(rig, b->data + i * 4096, 4096), (uint8_t)(i + 1), 4096);
}

/* A reset gives the guest its memory back at once, and the end of the machine does not wait for room. */
static void test_reset_lets_go(void **state)
{
    Full *full = full_of(state);
    Block *b = full->b;

    send_write(b, 0, 0xcc);
    await_heard(full->heard, &full->heard->attentions, 1);
    rig_reset(&b->rig);
    bring_up(b, FEATURES);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, 0, 4096), VIRTIO_BLK_S_OK);
    expect_all(rig_host(&b->rig, b->data, 4096), 0, 4096);
    send_write(b, 0, 0xcc);
    await_heard(full->heard, &full->heard->attentions, 2);
}

static void test_without_anybody_to_ask(void **state)
{
    Full *full = full_of(state);

    Block *b = block_new_with(&(BlockOptions){.folder = small_folder, .sparse = true});
    bring_up(b, FEATURES);
    send_write(b, 0, 1);
    assert_int_equal(await_request(b, 0), VIRTIO_BLK_S_IOERR);
    block_end(b);
    assert_int_equal(full->heard->attentions, 0);
}

/* ---- resizing ---- */

static uint64_t capacity(Block *b)
{
    return vmc_bus_read(b->rig.mmio, b->rig.device + offsetof(struct virtio_blk_config, capacity), 8);
}

static void test_resize_while_running(void **state)
{
    Block *b = *state;
    GError *error = NULL;
    struct stat st;
    uint64_t generation = rig_read(&b->rig, RIG_COMMON(config_generation), 1);
    unsigned interrupts = b->rig.interrupts[0];

    assert_int_equal(request(b, VIRTIO_BLK_T_IN, SECTORS, 512), VIRTIO_BLK_S_IOERR);
    assert_true(vmc_disk_change_size(vmc_virtio_block_changes(b->rig.dev), 1 << 20, &error));
    assert_null(error);
    assert_int_equal(capacity(b), (1 << 20) / 512);
    assert_int_equal(b->rig.interrupts[0], interrupts + 1);
    assert_int_not_equal(rig_read(&b->rig, RIG_COMMON(config_generation), 1), generation);
    assert_int_equal(stat(b->path, &st), 0);
    assert_int_equal(st.st_size, 1 << 20);
    assert_int_equal(request(b, VIRTIO_BLK_T_IN, SECTORS - 1, 1024), VIRTIO_BLK_S_OK);
    expect_all(rig_host(&b->rig, b->data, 512), SECTORS - 1, 512);
    expect_all(rig_host(&b->rig, b->data + 512, 512), 0, 512);
    assert_int_equal(request(b, VIRTIO_BLK_T_OUT, (1 << 20) / 512 - 1, 512), VIRTIO_BLK_S_OK);
    assert_int_equal(request(b, VIRTIO_BLK_T_OUT, (1 << 20) / 512, 512), VIRTIO_BLK_S_IOERR);
}

static void expect_no_resize(Block *b, uint64_t size, int code, const char *what)
{
    uint64_t before = capacity(b);
    GError *error = NULL;

    assert_false(vmc_disk_change_size(vmc_virtio_block_changes(b->rig.dev), size, &error));
    assert_true(g_error_matches(error, VMC_ERROR, code));
    if (!strstr(error->message, what) || !strstr(error->message, b->path))
        fail_msg("“%s” should name “%s” and say “%s”", error->message, b->path, what);
    g_error_free(error);
    assert_int_equal(capacity(b), before);
}

static void test_sizes_that_cannot_be(void **state)
{
    Block *b = *state;

    expect_no_resize(b, SECTORS * 512 - 512, VMC_ERROR_CONFIG, "smaller");
    expect_no_resize(b, SECTORS * 512 + 1, VMC_ERROR_CONFIG, "whole number of sectors");
    expect_no_resize(b, 0, VMC_ERROR_CONFIG, "whole number of sectors");
    expect_no_resize(b, UINT64_MAX - 511, VMC_ERROR_RESOURCE, g_strerror(EFBIG));
    assert_true(vmc_disk_change_size(vmc_virtio_block_changes(b->rig.dev), SECTORS * 512, NULL));
    assert_int_equal(b->rig.interrupts[0], 0); /* nothing has changed */
    Block *readonly = block_new(true);
    expect_no_resize(readonly, 1 << 20, VMC_ERROR_CONFIG, "read-only");
    block_end(readonly);
}

typedef struct Resizing {
    Block *b;
    bool good;
} Resizing;

static gpointer resize_thread(gpointer data)
{
    Resizing *resizing = data;

    for (unsigned i = 1; i <= 50; i++)
        resizing->good &=
            vmc_disk_change_size(vmc_virtio_block_changes(resizing->b->rig.dev), (SECTORS + i) * 512, NULL);
    return NULL;
}

/* Requests and resizes at the same time: every one of both is done. */
static void test_resize_under_load(void **state)
{
    Block *b = *state;
    Resizing resizing = {b, true};
    GThread *thread = g_thread_new("resize", resize_thread, &resizing);

    for (unsigned i = 0; i < 300; i++) {
        assert_int_equal(request(b, VIRTIO_BLK_T_IN, i % SECTORS, 512), VIRTIO_BLK_S_OK);
        expect_all(rig_host(&b->rig, b->data, 512), (uint8_t)(i % SECTORS), 512);
    }
    g_thread_join(thread);
    assert_true(resizing.good);
    assert_int_equal(capacity(b), SECTORS + 50);
}

static gpointer one_resize_thread(gpointer data)
{
    Resizing *resizing = data;

    resizing->good = vmc_disk_change_size(vmc_virtio_block_changes(resizing->b->rig.dev), 1 << 20, NULL);
    return NULL;
}

/* What waits for room is not in flight: a resize does not wait for the user. */
static void test_resize_while_a_write_waits_for_room(void **state)
{
    Full *full = full_of(state);
    Block *b = full->b;
    Resizing resizing = {b, false};

    send_write(b, 0, 0xdd);
    await_heard(full->heard, &full->heard->attentions, 1);
    g_thread_join(g_thread_new("resize", one_resize_thread, &resizing));
    assert_true(resizing.good);
    make_room();
    vmc_pci_bus_resumed(b->rig.pci);
    assert_int_equal(await_request(b, 0), VIRTIO_BLK_S_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_error_is_told_once),
        cmocka_unit_test_setup_teardown(test_a_write_without_room_waits, setup_full, teardown_full),
        cmocka_unit_test_setup_teardown(test_reads_go_on_meanwhile, setup_full, teardown_full),
        cmocka_unit_test_setup_teardown(test_many_writes_one_message, setup_full, teardown_full),
        cmocka_unit_test_setup_teardown(test_reset_lets_go, setup_full, teardown_full),
        cmocka_unit_test_setup_teardown(test_without_anybody_to_ask, setup_full, teardown_full),
        cmocka_unit_test_setup_teardown(test_resize_while_running, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes_that_cannot_be, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resize_under_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resize_while_a_write_waits_for_room, setup_full, teardown_full),
    };
    bool mounted = mount_small();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    if (mounted)
        unmount_small();
    return failed;
}
